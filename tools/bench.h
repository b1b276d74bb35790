/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause */
/* Ways to write down pages, so that they can be held against one another. */
#ifndef VBB_TOOLS_BENCH_H
#define VBB_TOOLS_BENCH_H

#include "vbb.h"

/* No message of any way is longer, but for those that know no messages. */
#define VBB_BENCH_LEN_MAX (VBB_HDR_LEN + VIRTIO_BALLOON_BMAP_LEN_MAX)

/**
 * struct vbb_bench_set - pages to be encoded, and how far they are
 *
 * In a cache line of its own: where what is left lies across two, a bare loop takes ten times as
 * long.
 */
struct vbb_bench_set {
	_Alignas(64) const struct vbb_range *run;	/* ascending, apart from each other */
	size_t nr;			/* how many */
	size_t i;			/* the next one */
	struct vbb_range rest;		/* what is left of the one before it; empty at first */
};

/**
 * struct vbb_bench_out - who receives what is decoded
 */
struct vbb_bench_out {
	vbb_u64 nr_runs;
	vbb_u64 nr_pages;
	struct vbb_runs *keep;		/* where they are kept; NULL while time counts */
	int status;			/* not 0: no memory for that */
};

/**
 * struct vbb_bench_wire - memory that one way works with
 */
struct vbb_bench_wire {
	vbb_u8 *buf;			/* the message */
	size_t room;			/* bytes in buf */
	size_t mem;			/* bytes of all memory in use: the most so far */
	struct vbb_enc enc;
	struct vbb_dec dec;
};

/**
 * struct vbb_bench_way - a way to write down pages
 */
struct vbb_bench_way {
	const char *name;
	const char *what;		/* one line of help */
	/* The next message of a set into w->buf. Return: its bytes; 0: none is left, no memory */
	size_t (*encode)(struct vbb_bench_wire *w, struct vbb_bench_set *set);
	/* Give all runs of the message in w->buf. Return: 0, or not where it is malformed */
	int (*decode)(struct vbb_bench_wire *w, size_t len, struct vbb_bench_out *out);
};

/* The first is what the others are held against. */
extern const struct vbb_bench_way vbb_bench_ways[];
extern const size_t vbb_bench_nr_ways;
#define VBB_BENCH_MAX_WAYS 11

/* Give all runs of a message of ours. Return: as decode */
int vbb_bench_decode(struct vbb_dec *dec, vbb_u8 *buf, size_t len, struct vbb_bench_out *out);

/* What a memory gives at best: each byte is read, and nothing is done with it. */
vbb_u64 vbb_bench_read(const vbb_u8 *buf, size_t len);

#ifdef VBB_HAVE_ROARING
size_t vbb_bench_roaring_encode(struct vbb_bench_wire *w, struct vbb_bench_set *set);
int vbb_bench_roaring_decode(struct vbb_bench_wire *w, size_t len, struct vbb_bench_out *out);
int vbb_bench_roaring_decode_runs(struct vbb_bench_wire *w, size_t len, struct vbb_bench_out *out);
#endif

/* The rest of a run that was begun, or the next run; false: none is left */
static inline bool vbb_bench_next(struct vbb_bench_set *set)
{
	if (set->rest.nr_pages)
		return true;
	if (set->i == set->nr)
		return false;
	set->rest = set->run[set->i++];
	return true;
}

/* What every way does with a run that it found */
static inline void vbb_bench_give(struct vbb_bench_out *out, vbb_u64 pfn, vbb_u64 nr_pages)
{
	out->nr_runs++;
	out->nr_pages += nr_pages;
	if (out->keep) {
		struct vbb_range r = { .pfn = pfn, .nr_pages = nr_pages };

		out->status |= vbb_runs_add(out->keep, &r);
	}
}

/* The same for ways that find pages, and merge them: [pfn, *end) is the run in hand */
static inline void vbb_bench_page(struct vbb_bench_out *out, vbb_u64 page, vbb_u64 *pfn,
				  vbb_u64 *end)
{
	if (page != *end) {
		if (*end > *pfn)
			vbb_bench_give(out, *pfn, *end - *pfn);
		*pfn = page;
	}
	*end = page + 1;
}

#endif
