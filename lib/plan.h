/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause */
/* Runs of pages to records: which ones name them in the fewest words. Not installed. */
#ifndef VBB_PLAN_H
#define VBB_PLAN_H

#include <virtio_balloon_bmap/encode.h>

/* A record that the plan has found */
struct vbb_rec {
	vbb_u32 order;		/* log2 of its unit in pages */
	vbb_u64 pfn;		/* first page */
	vbb_u64 nr_pages;	/* block or extent, else 0 */
	vbb_u32 nr_words;	/* bitmap, else 0; may be more than one record can have */
};

/* More words than any plan takes: sums end there, so that none can wrap. */
#define VBB_WORDS_MAX 0x10000u

/* What a plan is */
enum {
	VBB_PLAN_ONE,		/* one bitmap that names all */
	VBB_PLAN_ALONE,		/* a record for each run */
	VBB_PLAN_ORDERS,	/* bitmaps of some orders, and a record for each run that is left */
};

/* What records are given out */
enum {
	VBB_PHASE_ORDERS,	/* bitmaps, order by order, */
	VBB_PHASE_LEFT,		/* then what is left, */
	VBB_PHASE_LATE,		/* and late runs apart */
};

#ifdef __FRAMAC__
#include "proof/plan.h"
#endif

static inline vbb_u64 vbb_min(vbb_u64 a, vbb_u64 b)
{
	return a < b ? a : b;
}

static inline vbb_u64 vbb_max(vbb_u64 a, vbb_u64 b)
{
	return a > b ? a : b;
}

/* Words of bitmap, with a word in front of as many as a record can have */
static inline vbb_u32 vbb_bitmap_words(vbb_u32 nr_words)
{
	return nr_words + (nr_words + VIRTIO_BALLOON_REC_BITMAP_MAX - 1) /
	       VIRTIO_BALLOON_REC_BITMAP_MAX;
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

/*
 * A power of two of pages that begins at a multiple of it; 2^52 of them no block can name. One
 * condition, since what comes next no processor can foresee.
 */
static inline bool vbb_run_is_block(const struct vbb_range *r)
{
	return !(((r->pfn | r->nr_pages) & (r->nr_pages - 1)) | (r->nr_pages & VBB_PFN_END));
}

/* Words of a record of its own; an empty run takes none. */
static inline vbb_u32 vbb_run_words(const struct vbb_range *r)
{
	if (!r->nr_pages)
		return 0;
	return 2 - (vbb_u32)vbb_run_is_block(r);
}

/* Words that a record takes */
static inline vbb_u64 vbb_rec_words(const struct vbb_rec *rec)
{
	const struct vbb_range r = { rec->pfn, rec->nr_pages };

	return vbb_run_words(&r) + vbb_bitmap_words(rec->nr_words);
}

/* Words of a bitmap over [pfn, end) */
static inline vbb_u64 vbb_words(vbb_u64 pfn, vbb_u64 end, vbb_u32 order)
{
	/*@ assert vbb_two(order + 6) == 64 * vbb_two(order); */
	return end > pfn ? vbb_shr(end - pfn - 1, order + 6) + 1 : 0;
}

static inline void vbb_late_clear(struct vbb_late *late)
{
	late->nr_words = 0;
	late->pfn = VBB_PFN_END;
	late->end = 0;
	late->edges = 0;
}

static inline void vbb_late_join(struct vbb_late *late, const struct vbb_late *more)
{
	late->nr_words = vbb_min(late->nr_words + more->nr_words, VBB_WORDS_MAX);
	late->edges |= more->edges;
	late->pfn = vbb_min(late->pfn, more->pfn);
	late->end = vbb_max(late->end, more->end);
}

/* Words of the one bitmap that could name all late runs; 0 where there is none that is shorter */
static inline vbb_u64 vbb_late_bitmap(const struct vbb_late *late)
{
	vbb_u64 nr_words;

	/* the whole space has no edge that an order could have */
	if (!late->nr_words || vbb_ctz64(late->edges) > VIRTIO_BALLOON_REC_ORDER_MAX)
		return 0;
	nr_words = vbb_words(late->pfn, late->end, vbb_ctz64(late->edges));
	if (nr_words > VIRTIO_BALLOON_REC_BITMAP_MAX || 1 + nr_words > late->nr_words)
		return 0;
	return nr_words;
}

static inline void vbb_late_add(struct vbb_late *late, const struct vbb_range *r)
{
	vbb_u64 end = vbb_run_end(r);

	late->nr_words = vbb_min(late->nr_words + vbb_run_words(r), VBB_WORDS_MAX);
	late->edges |= r->pfn | end;
	late->pfn = vbb_min(late->pfn, r->pfn);
	late->end = vbb_max(late->end, end);
}

/* Forget all runs. */
void vbb_plan_clear(struct vbb_plan *p);

/* Is this a run that does not count, since the late ones are apart? */
static inline bool vbb_plan_is_apart(const struct vbb_plan *p, size_t i)
{
	return p->late_apart && p->late[i];
}

/* From now on no run is late; returns how many were. */
size_t vbb_plan_keep(struct vbb_plan *p);

/*
 * Cut off the front of r what runs that are not late hold already, and tell the part that may be
 * added at once. False where nothing is left of r.
 */
bool vbb_plan_part(const struct vbb_plan *p, struct vbb_range *r, struct vbb_range *part);

/*
 * Add the first of some runs, up to one that is not valid below limit, or does not lie behind all
 * others, of which there is one, or touches one, or could make late runs take more than nr_words.
 * They are late. Returns how many were added.
 */
static inline size_t vbb_plan_append(struct vbb_plan *p, const struct vbb_range *r, size_t nr,
				     vbb_u64 limit, vbb_u64 nr_words)
{
	/* sums in registers: this is done for every run that comes */
	size_t first = p->nr_runs, i;
	vbb_u64 words = p->late_sum.nr_words, edges = p->late_sum.edges;
	vbb_u64 end = vbb_run_end(&p->run[first - 1]);

	if (nr > VBB_ENC_NR_PENDING - first)
		nr = VBB_ENC_NR_PENDING - first;
	/*@ loop invariant few: 0 <= i <= nr;
	  @ loop invariant runs: vbb_runs_ok(p->run, first + i);
	  @ loop invariant end: end == p->run[first + i - 1].pfn + p->run[first + i - 1].nr_pages;
	  @ loop invariant words: words <= VBB_WORDS_MAX + 2 * i && (words != 0 ==> edges != 0);
	  @ loop invariant first: i >= 1 ==> r->nr_pages >= 1 && r->pfn + r->nr_pages <= limit;
	  @ loop assigns i, words, edges, end, p->run[VBB_ALL], p->late[VBB_ALL];
	  @ loop variant nr - i;
	  @*/
	for (i = 0; i < nr; i++) {
		vbb_u64 pfn = r[i].pfn, nr_pages = r[i].nr_pages;

		if (pfn <= end || pfn >= limit || !nr_pages || nr_pages > limit - pfn ||
		    words + 2 > nr_words)
			break;
		end = pfn + nr_pages;
		p->run[first + i].pfn = pfn;
		p->run[first + i].nr_pages = nr_pages;
		p->late[first + i] = 1;
		words += vbb_run_words(&p->run[first + i]);
		edges |= pfn | end;
	}
	if (!i)
		return 0;
	p->nr_runs = first + i;
	p->late_sum.nr_words = vbb_min(words, VBB_WORDS_MAX);
	p->late_sum.pfn = vbb_min(p->late_sum.pfn, r->pfn);
	p->late_sum.end = end;
	p->late_sum.edges = edges;
	return i;
}

/* Add such a part; it is late. False where there is no place. */
bool vbb_plan_add(struct vbb_plan *p, const struct vbb_range *part);

/* Take the first runs away. Nothing can be planned from then on. */
void vbb_plan_drop(struct vbb_plan *p, size_t nr);

/* Words that late runs take at most, in records that name nothing else; with one more of them */
vbb_u64 vbb_plan_late_words(const struct vbb_plan *p);
vbb_u64 vbb_plan_late_words_with(const struct vbb_plan *p, const struct vbb_range *more);

/*
 * Plan, and count the words. The plan is good until a run is added. Apart: kept runs take what they
 * took when they were counted last, as quickly, and late ones vbb_plan_late_words(). Quick: one
 * bitmap, or each run by itself, without a look at the runs.
 */
vbb_u64 vbb_plan_count(struct vbb_plan *p, bool late_apart, bool quick);

/* Is what was counted last so simple that nothing simpler is worth a look? */
static inline bool vbb_plan_is_simple(const struct vbb_plan *p)
{
	return p->kind != VBB_PLAN_ORDERS;
}

/* Begin to give out the records counted last; of a simple plan, those of late runs apart. */
void vbb_plan_start(struct vbb_plan *p);

/* The next record, in no order. False at the end. */
bool vbb_plan_next(struct vbb_plan *p, struct vbb_rec *rec);

/*
 * After a bitmap, until false: the next of its runs, in ascending order. Those that do not begin or
 * end at its units come cut.
 */
bool vbb_plan_next_run(struct vbb_plan *p, struct vbb_range *r);

#endif
