// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause
/*
 * Walks over runs at one order, with the best way so far to have a bitmap open, and to have none:
 * either begins with the cheaper of the two before, so that after the last run one is the best.
 */
#include "order.h"

#define VBB_NEVER (1u << 30)

/* During a walk: the step to no open bitmap, above it that to an open one; each with its origin */
enum {
	STEP_KIND = 7,
	STEP_FROM_OPEN = 8,
	STEP_OPENS = 16,
};

/* The best ways up to a run */
struct vbb_ways {
	vbb_u32 closed;		/* price without an open bitmap */
	vbb_u32 open;		/* price with one, VBB_NEVER where there is no such way */
	vbb_u64 paid_end;	/* open: one past the last page of its words */
	vbb_u64 nr_words;	/* open: its words */
};

/*@ predicate vbb_ways_ok(struct vbb_ways w, integer nr) =
  @   w.closed <= 0x8000 * nr && w.open <= VBB_NEVER && w.paid_end <= 0x400000000000000 &&
  @   (w.open < VBB_NEVER ==> w.open <= 0x8000 * nr && w.nr_words <= VIRTIO_BALLOON_REC_BITMAP_MAX);
  @ predicate vbb_least_ok(struct vbb_ways w, integer nr) =
  @   w.closed <= nr && (w.open <= nr || w.open == VBB_NEVER) && w.paid_end <= VBB_PFN_END + 64;
  @*/

/* The price of what is left of a run without its core, where a word costs word */
/*@ requires \valid_read(r) && \valid_read(core) && vbb_range_ok(*r) && vbb_range_ok(*core);
  @ requires word <= VBB_WORD;
  @ assigns \nothing;
  @ ensures \result <= 4 * VBB_WORD;
  @*/
static vbb_u32 vbb_ends_price(const struct vbb_range *r, const struct vbb_range *core, vbb_u32 word)
{
	struct vbb_range head = vbb_run(r->pfn, core->pfn);
	struct vbb_range tail = vbb_run(vbb_run_end(core), vbb_run_end(r));

	vbb_u32 nr_words = vbb_run_words(&head) + vbb_run_words(&tail);

	/*@ assert 0 <= (4 - nr_words) * word; */
	return nr_words * word;
}

/* The price of leaving a part of run[i] to higher orders, or to a record of its own */
/*@ requires \valid_read(p) && \valid_read(part) && vbb_range_ok(*part);
  @ requires i < VBB_ENC_NR_PENDING && word <= VBB_WORD;
  @ requires p->order <= VIRTIO_BALLOON_REC_ORDER_MAX;
  @ assigns \nothing;
  @ ensures \result <= 2 * VBB_WORD;
  @*/
static vbb_u32 vbb_plan_price(const struct vbb_plan *p, size_t i, const struct vbb_range *part,
			      vbb_u32 word)
{
	vbb_u32 alone = vbb_run_words(part) * VBB_WORD, price;
	vbb_u64 higher = p->on[i] & ~(vbb_pow2(p->order + 1) - 1);
	struct vbb_range core;

	if (!higher)
		return alone;
	core = vbb_run_core(part, vbb_ctz64(higher));
	if (!core.nr_pages)
		return alone;
	price = p->price[i] + vbb_ends_price(part, &core, word);
	return price < alone ? price : alone;
}

/* Only the way without an open bitmap is known. */
/*@ requires \valid(w);
  @ assigns *w;
  @ ensures w->closed == price && w->open == VBB_NEVER && w->paid_end == 0 && w->nr_words == 0;
  @*/
static void vbb_ways_close(struct vbb_ways *w, vbb_u32 price)
{
	w->closed = price;
	w->open = VBB_NEVER;
	w->paid_end = 0;
	w->nr_words = 0;
}

/* Is this a better way to have a bitmap open? Of two with the same price the longer one is. */
/*@ requires \valid(w);
  @ assigns w->open, w->paid_end, w->nr_words;
  @ ensures worse: \result == 0 ==> *w == \old(*w);
  @ ensures better: \result != 0 ==> w->open == price <= \old(w->open) &&
  @   w->paid_end == paid_end && w->nr_words == nr_words <= VIRTIO_BALLOON_REC_BITMAP_MAX;
  @*/
static bool vbb_ways_open(struct vbb_ways *w, vbb_u32 price, vbb_u64 paid_end, vbb_u64 nr_words)
{
	if (price > w->open || (price == w->open && paid_end <= w->paid_end) ||
	    nr_words > VIRTIO_BALLOON_REC_BITMAP_MAX)
		return false;
	w->open = price;
	w->paid_end = paid_end;
	w->nr_words = nr_words;
	return true;
}

/* The cheaper way, and whether that is the one with an open bitmap */
/*@ requires \valid_read(w);
  @ assigns \nothing;
  @ ensures \result == (w->closed < w->open ? w->closed : w->open);
  @*/
static vbb_u32 vbb_ways_best(const struct vbb_ways *w)
{
	return w->closed < w->open ? w->closed : w->open;
}

/*@ requires \valid_read(w);
  @ assigns \nothing;
  @ ensures \result == 0 || \result == STEP_FROM_OPEN;
  @*/
static vbb_u32 vbb_ways_from(const struct vbb_ways *w)
{
	return w->closed <= w->open ? 0 : STEP_FROM_OPEN;
}

/* Take a core: into the open bitmap, or open one for it. Returns the step to *next that does. */
/*@ requires \valid(next) && \valid_read(w) && \valid_read(core) && \separated(next, w, core);
  @ requires vbb_ways_ok(*w, 1024) && vbb_run_ok(*core) && ends <= 4 * VBB_WORD;
  @ requires order <= VIRTIO_BALLOON_REC_ORDER_MAX && next->open == VBB_NEVER;
  @ assigns next->open, next->paid_end, next->nr_words;
  @ ensures step: \result <= STEP_OPEN + STEP_FROM_OPEN;
  @ ensures same: next->open == VBB_NEVER ==> next->paid_end == \old(next->paid_end);
  @ ensures price: next->open < VBB_NEVER ==>
  @   (next->open <= w->closed + 64 * VBB_WORD + ends ||
  @    next->open <= w->open + 64 * VBB_WORD + ends && w->open < VBB_NEVER) &&
  @   next->paid_end <= 0x400000000000000 && next->nr_words <= VIRTIO_BALLOON_REC_BITMAP_MAX;
  @ ensures never: next->open <= VBB_NEVER;
  @*/
static vbb_u32 vbb_ways_cover(struct vbb_ways *next, const struct vbb_ways *w,
			      const struct vbb_range *core, vbb_u32 order, vbb_u32 ends)
{
	vbb_u64 span = 64 * vbb_pow2(order), end = vbb_run_end(core);
	vbb_u64 more = vbb_words(w->paid_end, end, order), words = vbb_words(core->pfn, end, order);
	vbb_u32 step = STEP_LEAVE + STEP_FROM_OPEN;

	if (w->open < VBB_NEVER && more <= VIRTIO_BALLOON_REC_BITMAP_MAX &&
	    vbb_ways_open(next, w->open + (vbb_u32)more * VBB_WORD + ends,
			  w->paid_end + more * span, w->nr_words + more))
		step = STEP_COVER + STEP_FROM_OPEN;
	if (words <= VIRTIO_BALLOON_REC_BITMAP_MAX &&
	    vbb_ways_open(next, vbb_ways_best(w) + (1 + (vbb_u32)words) * VBB_WORD + ends,
			  core->pfn + words * span, words))
		step = STEP_OPEN + vbb_ways_from(w);
	return step;
}

/* Go past left[i], and note how: the best step to either state. */
/*@ requires \valid(p) && \valid(w) && \separated(p, w) && i < p->nr_left && vbb_left_ok(*p);
  @ requires p->order <= VIRTIO_BALLOON_REC_ORDER_MAX && word <= VBB_WORD && vbb_ways_ok(*w, i);
  @ assigns *w, p->step[i];
  @ ensures vbb_ways_ok(*w, i + 1);
  @*/
static void vbb_plan_walk_step(struct vbb_plan *p, size_t i, struct vbb_ways *w, vbb_u32 word)
{
	const vbb_u64 unit = vbb_pow2(p->order), span = 64 * unit;
	const struct vbb_range r = p->left[i];
	const vbb_u64 end = vbb_run_end(&r);
	struct vbb_range core = vbb_run_core(&r, p->order);
	vbb_u64 head_end = 0, tail_pfn;
	vbb_u32 price;
	vbb_u32 leave = vbb_plan_price(p, p->owner[i], &r, word);
	vbb_u32 ends = vbb_ends_price(&r, &core, word);
	vbb_u32 best = vbb_ways_best(w), from = vbb_ways_from(w);
	vbb_u32 closed = STEP_LEAVE + from, open = STEP_LEAVE + STEP_FROM_OPEN;
	struct vbb_ways next;
	struct vbb_range rest;

	vbb_ways_close(&next, best + leave);
	if (core.nr_pages && ends < 2 * VBB_WORD)
		open = vbb_ways_cover(&next, w, &core, p->order, ends);
	else if (w->open < VBB_NEVER)
		vbb_ways_open(&next, w->open + leave, w->paid_end, w->nr_words);
	if (w->open < VBB_NEVER && core.pfn == r.pfn && r.pfn < w->paid_end && w->paid_end < end) {
		head_end = vbb_head_end(&r, w->paid_end);
		rest = vbb_run(head_end, end);
		price = w->open + vbb_plan_price(p, p->owner[i], &rest, word);
		if (price < next.closed) {
			next.closed = price;
			closed = STEP_HEAD + STEP_FROM_OPEN;
		}
	}
	if (vbb_run_end(&core) == end && r.nr_pages > unit) {
		tail_pfn = vbb_tail_pfn(&r, p->order);
		rest = vbb_run(r.pfn, tail_pfn);
		if (vbb_ways_open(&next, best + 2 * VBB_WORD +
				  vbb_plan_price(p, p->owner[i], &rest, word), tail_pfn + span, 1))
			open = STEP_TAIL + from;
		rest = vbb_run(head_end, tail_pfn);
		if (head_end && head_end < tail_pfn &&
		    vbb_ways_open(&next, w->open + 2 * VBB_WORD +
				  vbb_plan_price(p, p->owner[i], &rest, word), tail_pfn + span, 1))
			open = STEP_BOTH + STEP_FROM_OPEN;
	}
	p->step[i] = (vbb_u8)(closed + STEP_OPENS * open);
	w->closed = next.closed;
	w->open = next.open;
	w->paid_end = next.paid_end;
	w->nr_words = next.nr_words;
}

vbb_u32 vbb_plan_walk(struct vbb_plan *p, vbb_u32 word)
{
	struct vbb_ways w;
	bool open;
	size_t i;

	vbb_ways_close(&w, 0);
	/*@ loop invariant 0 <= i <= p->nr_left && vbb_ways_ok(w, i) && vbb_left_ok(*p);
	  @ loop assigns i, w, VBB_STEPS_OF(p);
	  @ loop variant p->nr_left - i;
	  @*/
	for (i = 0; i < p->nr_left; i++)
		vbb_plan_walk_step(p, i, &w, word);
	open = w.open < w.closed;
	/*@ loop invariant 0 <= i <= p->nr_left <= VBB_ENC_NR_PENDING;
	  @ loop assigns i, open, VBB_STEPS_OF(p);
	  @ loop variant i;
	  @*/
	for (; i; i--) {
		vbb_u32 step = p->step[i - 1];

		if (open)
			step /= STEP_OPENS;
		p->step[i - 1] = (vbb_u8)(step & STEP_KIND);
		open = step & STEP_FROM_OPEN;
	}
	return w.open < w.closed ? w.open : w.closed;
}

/* Name one more point by itself or by a bitmap, of any length. Prices are words here. */
/*@ requires \valid(w) && point <= VBB_PFN_END && vbb_least_ok(*w, 0x10000);
  @ assigns w->closed, w->open, w->paid_end;
  @ ensures w->closed <= \old(w->closed) + 1;
  @ ensures w->open <= \old(w->closed) + 2 || w->open == \old(w->open);
  @ ensures w->paid_end <= VBB_PFN_END + 64;
  @*/
static void vbb_plan_least_step(struct vbb_ways *w, vbb_u64 point)
{
	vbb_u32 best = vbb_ways_best(w);
	vbb_u64 more;

	w->closed = best + 1;
	if (w->open < VBB_NEVER && point < w->paid_end) {
		if (w->open < w->closed)
			w->closed = w->open;
		return;
	}
	more = w->open < VBB_NEVER ? vbb_shr(point - w->paid_end, 6) + 1 : VBB_NEVER;
	w->paid_end += 64 * more;
	/* of equals the new one, since it reaches further */
	if (more > 2 || w->open + more >= best + 2) {
		w->open = best + 2;
		w->paid_end = point + 64;
	} else {
		w->open += (vbb_u32)more;
	}
}

vbb_u64 vbb_plan_least(const struct vbb_plan *p)
{
	struct vbb_ways w;
	size_t i;

	vbb_ways_close(&w, 0);
	/*@ loop invariant 0 <= i <= p->nr_runs && vbb_least_ok(w, 4 * i);
	  @ loop assigns i, w;
	  @ loop variant p->nr_runs - i;
	  @*/
	for (i = 0; i < p->nr_runs; i++) {
		const struct vbb_range r = p->run[i];
		vbb_u64 unit = vbb_shr(r.pfn, p->order);
		vbb_u64 unit_end = vbb_shr(vbb_run_end(&r), p->order);

		if (vbb_plan_is_apart(p, i))
			continue;
		if (unit & 1)
			vbb_plan_least_step(&w, unit);
		if (unit_end & 1)
			vbb_plan_least_step(&w, unit_end - 1);
	}
	return w.closed < w.open ? w.closed : w.open;
}

vbb_u64 vbb_plan_bound(const struct vbb_plan *p)
{
	/* no branches, which nothing could foresee; the first point has much way behind it */
	vbb_u64 point = vbb_sub(0, 64), least = 0, gap;
	size_t i;

	/*@ loop invariant 0 <= i <= p->nr_runs && least <= 128 * i;
	  @ loop assigns i, gap, point, least;
	  @ loop variant p->nr_runs - i;
	  @*/
	for (i = 0; i < p->nr_runs; i++) {
		const struct vbb_range r = p->run[i];
		vbb_u64 unit = vbb_shr(r.pfn, p->order);
		vbb_u64 unit_end = vbb_shr(vbb_run_end(&r), p->order);

		if (vbb_plan_is_apart(p, i))
			continue;
		gap = vbb_sub(unit, point) & vbb_sub(0, unit & 1);
		point = vbb_add(point, gap);
		least += vbb_min(gap, 64);
		gap = vbb_sub(vbb_sub(unit_end, 1), point) & vbb_sub(0, unit_end & 1);
		point = vbb_add(point, gap);
		least += vbb_min(gap, 64);
	}
	return least;
}
