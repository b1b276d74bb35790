/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause */
/* A set of pages, as runs in the order in which they came; all 0 is an empty one. */
#ifndef FUZZ_SET_H
#define FUZZ_SET_H

#include "fuzz.h"

struct fuzz_set {
	struct vbb_range *run;
	size_t nr, max;
};

static inline void fuzz_set_add(struct fuzz_set *s, uint64_t pfn, uint64_t nr_pages)
{
	if (!nr_pages)
		return;
	if (s->nr == s->max) {
		s->max = s->max ? 2 * s->max : 64;
		s->run = realloc(s->run, s->max * sizeof(*s->run));
		if (!s->run)
			abort();
	}
	s->run[s->nr].pfn = pfn;
	s->run[s->nr].nr_pages = nr_pages;
	s->nr++;
}

static inline int fuzz_compare_pfn(const void *a, const void *b)
{
	const struct vbb_range *x = a, *y = b;

	return (x->pfn > y->pfn) - (x->pfn < y->pfn);
}

/* Sorted, and as few runs as can be. Returns how many pages; *twice: some were there twice. */
static inline uint64_t fuzz_set_normalize(struct fuzz_set *s, bool *twice)
{
	uint64_t nr_pages = 0;
	size_t i, nr = 0;

	*twice = false;
	if (s->nr)
		qsort(s->run, s->nr, sizeof(*s->run), fuzz_compare_pfn);
	for (i = 0; i < s->nr; i++) {
		struct vbb_range *last = nr ? &s->run[nr - 1] : NULL, r = s->run[i];
		uint64_t end = r.pfn + r.nr_pages;

		if (last && r.pfn <= last->pfn + last->nr_pages) {
			*twice |= r.pfn < last->pfn + last->nr_pages;
			if (end > last->pfn + last->nr_pages)
				last->nr_pages = end - last->pfn;
			continue;
		}
		s->run[nr++] = r;
	}
	s->nr = nr;
	for (i = 0; i < nr; i++)
		nr_pages += s->run[i].nr_pages;
	return nr_pages;
}

/* What was put into a message is what came out of it, and what the encoder says of it. */
static inline void fuzz_set_check(struct fuzz_set *put, struct fuzz_set *got,
				  const struct vbb_msg *msg)
{
	bool put_twice, got_twice;
	uint64_t nr_put = fuzz_set_normalize(put, &put_twice);
	uint64_t nr_got = fuzz_set_normalize(got, &got_twice);

	fuzz_check(nr_put == nr_got);
	fuzz_check(put->nr == got->nr);
	fuzz_check(!put->nr || !memcmp(put->run, got->run, put->nr * sizeof(*put->run)));
	if (!put_twice)
		fuzz_check(!got_twice && msg->nr_pages == nr_put);
}

#endif
