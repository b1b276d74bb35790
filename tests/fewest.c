// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause
/*
 * Runs are cut into the largest blocks of 2^n pages at multiples of 2^n that they have. From block
 * to block, all ways are kept that no other way is surely as good as. A way is what it cost so far,
 * and how far its bitmaps reach, one for each order. A block is named by a record of its own, by an
 * extent that began in the same run, or by a bitmap of its order or a lower one, which is made
 * longer for it, or opened at it.
 *
 * Ways that name a block in pieces are not tried, nor, at last, ways that have become expensive. So
 * this is no proof; but held against linear programs over single pages, in which every way is open,
 * it has always found the fewest.
 */
#include "fewest.h"

#include <string.h>

#define NR_ORDERS 52
#define MAX_WAYS 4096

/* A way that costs so much more than another one is not followed any further. */
#define WORST 4

struct way {
	uint64_t end[NR_ORDERS];	/* one past the last page that the order's bitmap reaches */
	uint64_t nr_words;
	bool extent;			/* one goes on to the end of the run */
};

struct ways {
	struct way *way;
	size_t nr;
};

struct block {
	uint64_t pfn, end;
	unsigned int order;
	bool last;			/* of its run */
};

/* The largest block at the front of [pfn, end) */
static struct block first_block(uint64_t pfn, uint64_t end)
{
	struct block b = { .pfn = pfn };

	while (b.order < NR_ORDERS - 1 && !(pfn >> b.order & 1) &&
	       end - pfn >= (uint64_t)2 << b.order)
		b.order++;
	b.end = pfn + ((uint64_t)1 << b.order);
	b.last = b.end == end;
	return b;
}

static uint64_t words_to(uint64_t from, uint64_t to, unsigned int order)
{
	return to > from ? ((to - from - 1) >> (order + 6)) + 1 : 0;
}

/* Can a do whatever b can from here on, for no more? It opens bitmaps anew, where it must. */
static bool as_good(const struct way *a, const struct way *b)
{
	uint64_t nr_words = a->nr_words + (b->extent && !a->extent ? 2 : 0);
	unsigned int order;

	for (order = 0; order < NR_ORDERS && nr_words <= b->nr_words; order++)
		if (a->end[order] < b->end[order])
			nr_words += 2;
	return nr_words <= b->nr_words;
}

static void add_way(struct ways *w, struct way from, uint64_t next_pfn)
{
	unsigned int order;
	size_t i, nr = 0;

	/* what ended a word ago is as good as nothing */
	for (order = 0; order < NR_ORDERS; order++)
		if (from.end[order] + ((uint64_t)64 << order) <= next_pfn)
			from.end[order] = 0;
	for (i = 0; i < w->nr; i++)
		if (w->way[i].nr_words + WORST < from.nr_words || as_good(&w->way[i], &from))
			return;
	for (i = 0; i < w->nr; i++)
		if (!as_good(&from, &w->way[i]))
			w->way[nr++] = w->way[i];
	w->nr = nr;
	if (w->nr < MAX_WAYS)
		w->way[w->nr++] = from;
}

/* Add nr_words to a way; an order's bitmap, if any, then reaches end. */
static void add_record(struct ways *to, struct way from, uint64_t next_pfn, uint64_t nr_words,
		       unsigned int order, uint64_t end)
{
	from.nr_words += nr_words;
	from.end[order] = end;
	add_way(to, from, next_pfn);
}

/* Add all ways that go on from this one behind a block. */
static void name_block(struct ways *to, struct way from, const struct block *b, uint64_t next_pfn)
{
	bool named = from.extent;
	unsigned int order;

	for (order = 0; order <= b->order; order++)
		named |= from.end[order] >= b->end;
	if (b->last)
		from.extent = false;
	if (named) {
		add_way(to, from, next_pfn);
		return;
	}
	add_record(to, from, next_pfn, 1, 0, from.end[0]);
	for (order = 0; order <= b->order; order++) {
		uint64_t nr_words = words_to(from.end[order], b->end, order);

		/* more than a record for this block, and a new bitmap behind it, would not pay */
		if (from.end[order] && nr_words <= 3)
			add_record(to, from, next_pfn, nr_words, order,
				   from.end[order] + (nr_words * 64 << order));
		if (words_to(b->pfn, b->end, order) == 1)
			add_record(to, from, next_pfn, 2, order, b->pfn + ((uint64_t)64 << order));
	}
	from.extent = !b->last;
	add_record(to, from, next_pfn, 2, 0, from.end[0]);
}

uint64_t fewest_words(const struct vbb_range *run, size_t nr, size_t *mem)
{
	/* so large that to have them anew for each call would take longer than the call */
	static struct way way[2][MAX_WAYS];
	struct ways from = { way[0], 1 }, to = { way[1], 0 };
	uint64_t nr_words = UINT64_MAX;
	uint64_t next_pfn;
	size_t i, k, most = 0;

	memset(from.way, 0, sizeof(*from.way));
	for (i = 0; i < nr; i++) {
		uint64_t pfn = run[i].pfn, end = run[i].pfn + run[i].nr_pages;

		while (pfn < end) {
			struct block b = first_block(pfn, end);
			struct ways swap = from;

			pfn = b.end;
			next_pfn = pfn;
			if (b.last)
				next_pfn = i + 1 < nr ? run[i + 1].pfn : UINT64_MAX;
			to.nr = 0;
			for (k = 0; k < from.nr; k++)
				name_block(&to, from.way[k], &b, next_pfn);
			if (from.nr + to.nr > most)
				most = from.nr + to.nr;
			from = to;
			to = swap;
		}
	}
	for (k = 0; k < from.nr; k++)
		if (from.way[k].nr_words < nr_words)
			nr_words = from.way[k].nr_words;
	if (mem)
		*mem = most * sizeof(struct way);
	return nr_words;
}
