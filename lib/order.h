/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause */
/*
 * Of a plan what concerns one order: the best bitmaps there, and what no plan can take less than.
 * Not installed.
 */
#ifndef VBB_ORDER_H
#define VBB_ORDER_H

#include "plan.h"

/* The price of a word; shares in a bitmap are less. */
#define VBB_WORD 256u

/* What a walk does with a run */
enum {
	STEP_LEAVE,	/* nothing */
	STEP_COVER,	/* take its units into the open bitmap */
	STEP_OPEN,	/* open a bitmap, and take its units into that */
	STEP_HEAD,	/* fill the open bitmap's last word with its head, and close */
	STEP_TAIL,	/* open a bitmap of one word for its tail */
	STEP_BOTH,	/* HEAD, then TAIL */
};

/*@ requires 1 <= unit <= 0x8000000000000000;
  @ assigns \nothing;
  @ ensures pfn - unit < \result <= pfn;
  @*/
static inline vbb_u64 vbb_unit_down(vbb_u64 pfn, vbb_u64 unit)
{
	return pfn - (pfn & (unit - 1));
}

/*@ requires 1 <= unit <= 0x8000000000000000 && pfn <= VBB_PFN_END;
  @ assigns \nothing;
  @ ensures pfn <= \result < pfn + unit;
  @*/
static inline vbb_u64 vbb_unit_up(vbb_u64 pfn, vbb_u64 unit)
{
	return vbb_unit_down(pfn + unit - 1, unit);
}

/* Of (low, high] the number that divides by the highest power of two; low is below high. */
/*@ assigns \nothing;
  @ ensures \result <= high;
  @ ensures low <= high ==> low <= \result;
  @*/
static inline vbb_u64 vbb_roundest(vbb_u64 low, vbb_u64 high)
{
	/*@ loop invariant high <= \at(high, Pre) && (low <= \at(high, Pre) ==> low <= high);
	  @ loop assigns high;
	  @ loop variant high;
	  @*/
	while ((high & vbb_sub(high, 1)) > low)
		high &= high - 1;
	return high;
}

/* What a bitmap of this order can name of a run; where that is nothing, empty, in the run */
/*@ requires \valid_read(r) && vbb_range_ok(*r) && order <= 63;
  @ assigns \nothing;
  @ ensures r->pfn <= \result.pfn;
  @ ensures \result.pfn + \result.nr_pages <= r->pfn + r->nr_pages;
  @*/
static inline struct vbb_range vbb_run_core(const struct vbb_range *r, vbb_u32 order)
{
	vbb_u64 unit = vbb_pow2(order), end = vbb_run_end(r);

	return vbb_run(vbb_min(vbb_unit_up(r->pfn, unit), end), vbb_unit_down(end, unit));
}

/*
 * Where in a run STEP_HEAD ends: the rest is as round as can be, so that others may take it, and
 * not empty.
 */
/*@ requires \valid_read(r) && vbb_run_ok(*r);
  @ assigns \nothing;
  @ ensures \result < r->pfn + r->nr_pages;
  @ ensures paid_end >= r->pfn ==> \result >= r->pfn;
  @*/
static inline vbb_u64 vbb_head_end(const struct vbb_range *r, vbb_u64 paid_end)
{
	return vbb_roundest(r->pfn, vbb_min(paid_end, vbb_run_end(r) - 1));
}

/* Where in a run STEP_TAIL begins */
/*@ requires \valid_read(r) && vbb_run_ok(*r) && order <= VIRTIO_BALLOON_REC_ORDER_MAX;
  @ assigns \nothing;
  @ ensures r->pfn <= \result < r->pfn + r->nr_pages;
  @*/
static inline vbb_u64 vbb_tail_pfn(const struct vbb_range *r, vbb_u32 order)
{
	vbb_u64 span = 64 * vbb_pow2(order), last = vbb_run_end(r) - 1;

	return vbb_roundest(r->nr_pages > span ? last - span : r->pfn, last);
}

/* Find the best bitmaps at the order at hand: one step for each of left[]; returns the price. */
/*@ requires \valid(p) && vbb_left_ok(*p);
  @ requires p->order <= VIRTIO_BALLOON_REC_ORDER_MAX && word <= VBB_WORD;
  @ assigns VBB_STEPS_OF(p);
  @ ensures \result <= 0x2000000;
  @*/
vbb_u32 vbb_plan_walk(struct vbb_plan *p, vbb_u32 word);

/*
 * What no plan can take less than, in 64ths of words. All runs begin and end at multiples of the
 * unit at hand. Where one begins or ends at an odd multiple, the unit inside can only be named by
 * itself, at the end of an extent, or by a bitmap of this unit or less. Let those units be points.
 * Points that one bitmap names one after the other cost at least a word for 64 units of way between
 * them; any others a word each. So all of them together cost a word and, for each way from one to
 * the next, a 64th of it, but a word at most.
 */
/*@ requires \valid_read(p) && vbb_plan_ok(*p) && p->order <= VIRTIO_BALLOON_REC_ORDER_MAX;
  @ assigns \nothing;
  @ ensures \result <= 128 * VBB_ENC_NR_PENDING;
  @*/
vbb_u64 vbb_plan_bound(const struct vbb_plan *p);

/* The fewest words of records that name all points, at the order at hand: a finer bound */
/*@ requires \valid_read(p) && vbb_plan_ok(*p) && p->order <= VIRTIO_BALLOON_REC_ORDER_MAX;
  @ assigns \nothing;
  @ ensures \result <= 0x2000;
  @*/
vbb_u64 vbb_plan_least(const struct vbb_plan *p);

#endif
