/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause */
/* Runs of pages to records: which ones name them in the fewest words. Not installed. */
#ifndef VBB_PLAN_H
#define VBB_PLAN_H

#include <virtio_balloon_bmap/encode.h>

/* A record that the plan has found */
struct vbb_rec {
	vbb_u32 code;		/* VIRTIO_BALLOON_REC_BLOCK, _EXTENT, or words of bitmap */
	vbb_u32 order;		/* log2 of its unit in pages */
	vbb_u64 pfn;		/* first page */
	vbb_u64 nr_pages;	/* block, extent */
};

/* Words that a record takes */
static inline vbb_u64 vbb_rec_words(const struct vbb_rec *rec)
{
	return rec->code == VIRTIO_BALLOON_REC_EXTENT ? 2 : 1 + (vbb_u64)rec->code;
}

static inline struct vbb_range vbb_run(vbb_u64 pfn, vbb_u64 end)
{
	struct vbb_range r = { pfn, end > pfn ? end - pfn : 0 };

	return r;
}

/* One past the last page */
static inline vbb_u64 vbb_run_end(const struct vbb_range *r)
{
	return r->pfn + r->nr_pages;
}

/* A power of two of pages that begins at a multiple of it; 2^52 of them no block can name. */
static inline bool vbb_run_is_block(const struct vbb_range *r)
{
	return !(r->nr_pages & (r->nr_pages - 1)) && !(r->pfn & (r->nr_pages - 1)) &&
	       r->nr_pages < VBB_PFN_END;
}

/* Words of a record of its own; an empty run takes none. */
static inline vbb_u32 vbb_run_words(const struct vbb_range *r)
{
	if (!r->nr_pages)
		return 0;
	return vbb_run_is_block(r) ? 1 : 2;
}

/* Forget all runs. */
void vbb_plan_clear(struct vbb_plan *p);

/* From now on no run is late; returns how many were. */
size_t vbb_plan_keep(struct vbb_plan *p);

/*
 * Cut off the front of r what runs that are not late hold already, and tell the part that may be
 * added at once. False where nothing is left of r.
 */
bool vbb_plan_part(const struct vbb_plan *p, struct vbb_range *r, struct vbb_range *part);

/* Add such a part; it is late. False where there is no place. */
bool vbb_plan_add(struct vbb_plan *p, const struct vbb_range *part);

/* Take the first runs away. Nothing can be planned from then on. */
void vbb_plan_drop(struct vbb_plan *p, size_t nr);

/* Words that late runs take at most, in records that name nothing else; with one more of them */
vbb_u64 vbb_plan_late_words(const struct vbb_plan *p);
vbb_u64 vbb_plan_late_words_with(const struct vbb_plan *p, const struct vbb_range *more);

/*
 * Plan, and count the words. The plan is good until a run is added. Apart: kept runs take what they
 * took when they were counted last, and late ones vbb_plan_late_words().
 */
vbb_u64 vbb_plan_count(struct vbb_plan *p, bool late_apart);

/* Begin to give out the records that were counted last. */
void vbb_plan_start(struct vbb_plan *p);

/* The next record, in no order. False at the end. */
bool vbb_plan_next(struct vbb_plan *p, struct vbb_rec *rec);

/*
 * After a bitmap, until false: the next of its runs, in ascending order. Those that do not begin or
 * end at its units come cut.
 */
bool vbb_plan_next_run(struct vbb_plan *p, struct vbb_range *r);

#endif
