/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause */
/* What the unit tests share. */
#ifndef TEST_H
#define TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <virtio_balloon_bmap/vbb.h>

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

/* splitmix64: the same numbers on every machine */
static inline uint64_t test_rand(uint64_t *state)
{
	uint64_t z = *state += 0x9e3779b97f4a7c15;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
	z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
	return z ^ (z >> 31);
}

/* 0 to n - 1 */
static inline uint64_t test_below(uint64_t *state, uint64_t n)
{
	return test_rand(state) % n;
}

static inline size_t test_index(uint64_t *state, size_t n)
{
	return (size_t)test_below(state, n);
}

/* CMocka 1.1.5 reports its own skip() as a failure where its output is TAP. */
#define test_skip(why) \
	do { \
		print_message("# SKIP %s: %s\n", __func__, why); \
		return; \
	} while (0)

/* A buffer in pieces of their own, so that a sanitizer sees a step over an edge. */
struct test_cut {
	struct vbb_seg seg[16];
	size_t nr_segs;
};

static inline void test_cut_add(struct test_cut *cut, const uint8_t *p, size_t len)
{
	struct vbb_seg *seg = &cut->seg[cut->nr_segs++];

	assert_true(cut->nr_segs <= ARRAY_SIZE(cut->seg));
	seg->len = len;
	seg->base = len ? malloc(len) : NULL;
	if (len) {
		assert_non_null(seg->base);
		memcpy(seg->base, p, len);
	}
}

/* Cut at two places, a <= b <= len, with a piece of no bytes at the first one */
static inline void test_cut_at(struct test_cut *cut, const uint8_t *p, size_t len, size_t a,
			       size_t b)
{
	cut->nr_segs = 0;
	test_cut_add(cut, p, a);
	test_cut_add(cut, NULL, 0);
	test_cut_add(cut, p + a, b - a);
	test_cut_add(cut, p + b, len - b);
}

/* Put the pieces together again, and free them. */
static inline void test_cut_join(struct test_cut *cut, uint8_t *p)
{
	size_t i;

	for (i = 0; i < cut->nr_segs; i++) {
		if (p && cut->seg[i].len) {
			memcpy(p, cut->seg[i].base, cut->seg[i].len);
			p += cut->seg[i].len;
		}
		free(cut->seg[i].base);
	}
	cut->nr_segs = 0;
}

/* Every cut of len bytes in three; the body leaves the pieces to the loop. */
#define test_for_each_cut(cut, p, len, a, b) \
	for ((a) = 0; (a) <= (len); (a)++) \
		for ((b) = (a); (b) <= (len) && (test_cut_at((cut), (p), (len), (a), (b)), true); \
		     (b)++, test_cut_join((cut), NULL))

#endif
