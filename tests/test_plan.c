// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause
/*
 * Are records few? Format RECORDS promises at most 1.10 times the fewest words, and one more, for
 * runs that come in ascending order. Held to it pattern by pattern, message by message. This links
 * the library's sources, and looks also at what no caller sees.
 */
#include "../lib/plan.h"
#include "fewest.h"
#include "test.h"

#include <stdio.h>

struct runs {
	struct vbb_range *run;
	size_t nr, max;
};

/* Put pages behind those that are there; what touches becomes one run. */
static void add(struct runs *s, uint64_t pfn, uint64_t nr_pages)
{
	const struct vbb_range r = { pfn, nr_pages };

	if (s->nr && vbb_range_merge(&s->run[s->nr - 1], &r))
		return;
	if (s->nr == s->max) {
		s->max = s->max ? 2 * s->max : 1024;
		s->run = realloc(s->run, s->max * sizeof(*s->run));
		assert_non_null(s->run);
	}
	s->run[s->nr++] = r;
}

static uint64_t end_of(const struct runs *s)
{
	return s->nr ? s->run[s->nr - 1].pfn + s->run[s->nr - 1].nr_pages : 0;
}

/* Is it one of so many in a thousand? */
static bool chance(uint64_t *seed, uint64_t per_mille)
{
	return test_below(seed, 1000) < per_mille;
}

/* Each block of 2^order pages by itself */
static void add_density(struct runs *s, uint64_t *seed, uint64_t pfn, uint64_t nr, uint32_t order,
			uint64_t per_mille)
{
	uint64_t i;

	for (i = 0; i < nr; i++)
		if (chance(seed, per_mille))
			add(s, pfn + (i << order), (uint64_t)1 << order);
}

/* Every second block of 2^order pages */
static void add_every_second(struct runs *s, size_t nr, uint32_t order)
{
	uint64_t i;

	for (i = 0; i < nr && 2 * i + 1 < VBB_PFN_END >> order; i++)
		add(s, 2 * i << order, (uint64_t)1 << order);
}

/* Few large runs, as an idle guest has */
static void add_idle(struct runs *s, uint64_t *seed, size_t nr, uint64_t longest)
{
	size_t i;

	for (i = 0; i < nr; i++)
		add(s, end_of(s) + 1 + test_below(seed, longest), 1 + test_below(seed, longest));
}

/* Blocks of 2^top pages, halved again and again by one chance, and free by another */
static void add_buddies(struct runs *s, uint64_t *seed, size_t nr, uint32_t top, uint64_t split,
			uint64_t is_free)
{
	uint64_t pfn = 0;

	while (pfn < (uint64_t)nr << top) {
		uint32_t order = top;

		while (order && (pfn & (((uint64_t)1 << order) - 1) || chance(seed, split)))
			order--;
		if (chance(seed, is_free))
			add(s, pfn, (uint64_t)1 << order);
		pfn += (uint64_t)1 << order;
	}
}

/* Blocks of any order up to top, as far from each other as the gap says, or touching */
static void add_blocks(struct runs *s, uint64_t *seed, size_t nr, uint32_t top, uint64_t gap)
{
	size_t i;

	for (i = 0; i < nr; i++) {
		uint32_t order = (uint32_t)test_below(seed, top + 1);
		uint64_t mask = ((uint64_t)1 << order) - 1;
		uint64_t pfn = end_of(s) +
			       (test_below(seed, gap) << test_below(seed, (uint64_t)order + 1));

		add(s, (pfn + mask) & ~mask, mask + 1);
	}
}

/* Some pages close to each other, then nothing for a while */
static void add_clusters(struct runs *s, uint64_t *seed, size_t nr, uint64_t span,
			 uint64_t per_mille, uint64_t gap)
{
	uint64_t pfn = 0;
	size_t i;

	for (i = 0; i < nr; i++) {
		uint64_t len = 2 + test_below(seed, span);

		pfn += test_below(seed, gap);
		add_density(s, seed, pfn, len, 0, per_mille);
		pfn += len;
	}
}

/* 2^order pages in fragments, then up to nr_whole blocks of 2^order pages, each free or not */
static void add_alternating(struct runs *s, uint64_t *seed, size_t nr, uint32_t order,
			    uint64_t per_mille, uint64_t nr_whole, uint64_t is_free)
{
	uint64_t pfn = 0;
	size_t i;

	for (i = 0; i < nr; i++) {
		uint64_t whole = 1 + test_below(seed, nr_whole);

		add_density(s, seed, pfn, whole, order, is_free);
		pfn += whole << order;
		add_density(s, seed, pfn, (size_t)1 << order, 0, per_mille);
		pfn += (uint64_t)1 << order;
	}
}

/* Blocks here and there in all that can be named */
static void add_sparse(struct runs *s, uint64_t *seed, size_t nr, uint32_t top)
{
	uint64_t step = VBB_PFN_END / (nr + 1), i;

	for (i = 0; i < nr; i++) {
		uint64_t mask = ((uint64_t)1 << test_below(seed, top + 1)) - 1;

		add(s, (i * step + test_below(seed, step / 2)) & ~mask, mask + 1);
	}
}

static struct vbb_enc enc;

struct score {
	double worst;		/* of ours to the fewest; ours less one */
	uint64_t nr_words;
	uint64_t nr_fewest;
	size_t nr_msgs;
};

static int compare(const void *a, const void *b)
{
	const struct vbb_range *x = a, *y = b;

	return (x->pfn > y->pfn) - (x->pfn < y->pfn);
}

/* What a message names, merged */
static void decode(struct runs *s, uint8_t *bytes, const struct vbb_msg *msg)
{
	const struct vbb_dec_cfg cfg = { .queue = VBB_QUEUE_BALLOON, .records = true };
	struct vbb_seg seg = { bytes, (size_t)msg->len };
	struct runs raw = { 0 };
	struct vbb_range r;
	struct vbb_dec d;
	size_t i;

	assert_int_equal(vbb_dec_init(&d, &cfg, &seg, 1), 0);
	vbb_dec_for_each(&d, &r) {
		/* not by add(), which would merge with what comes before in the message only */
		if (raw.nr == raw.max) {
			raw.max = raw.max ? 2 * raw.max : 1024;
			raw.run = realloc(raw.run, raw.max * sizeof(*raw.run));
			assert_non_null(raw.run);
		}
		raw.run[raw.nr++] = r;
	}
	assert_int_equal(vbb_dec_next(&d, &r), 0);
	qsort(raw.run, raw.nr, sizeof(*raw.run), compare);
	for (i = 0; i < raw.nr; i++) {
		assert_true(!i || raw.run[i - 1].pfn + raw.run[i - 1].nr_pages <= raw.run[i].pfn);
		add(s, raw.run[i].pfn, raw.run[i].nr_pages);
	}
	free(raw.run);
}

/* Close the message, and hold it against the fewest words. */
static void judge(struct score *score, struct runs *named, uint8_t *bytes)
{
	struct runs s = { 0 };
	struct vbb_msg msg;
	uint64_t nr_words, fewest;
	size_t i;

	assert_int_equal(vbb_enc_finish(&enc, 0, &msg), 0);
	decode(&s, bytes, &msg);
	nr_words = (msg.len - VBB_HDR_LEN) / 8;
	fewest = fewest_words(s.run, s.nr, NULL);
	if ((double)(nr_words - 1) / (double)fewest > score->worst)
		score->worst = (double)(nr_words - 1) / (double)fewest;
	score->nr_words += nr_words;
	score->nr_fewest += fewest;
	score->nr_msgs++;
	for (i = 0; i < s.nr; i++)
		add(named, s.run[i].pfn, s.run[i].nr_pages);
	free(s.run);
}

static void hold(const char *name, struct runs *s, size_t len)
{
	static uint8_t bytes[VBB_HDR_LEN + VIRTIO_BALLOON_BMAP_LEN_MAX];
	const struct vbb_enc_cfg cfg = { .page_shift = 12, .formats = VBB_FMT_RECORDS };
	struct vbb_seg seg = { bytes, len };
	struct score score = { 0 };
	struct runs named = { 0 };
	struct vbb_run_list l = { .run = s->run, .nr_runs = s->nr };
	int err;

	assert_int_equal(vbb_enc_init(&enc, &cfg, &seg, 1), 0);
	while ((err = vbb_enc_put_runs(&enc, &l))) {
		assert_int_equal(err, VBB_E_NOSPC);
		judge(&score, &named, bytes);
		assert_int_equal(vbb_enc_next(&enc, &seg, 1), 0);
	}
	judge(&score, &named, bytes);
	print_message("%-32s %7zu bytes: %5zu runs, %5llu words, %.3f of the fewest, worst %.3f\n",
		      name, len, s->nr, (unsigned long long)score.nr_words,
		      (double)score.nr_words / (double)score.nr_fewest, score.worst);
	assert_int_equal(named.nr, s->nr);
	assert_memory_equal(named.run, s->run, s->nr * sizeof(*s->run));
	assert_true(score.worst <= 1.10);
	free(named.run);
}

/* In one message, and in small ones */
static void hold_all(const char *name, struct runs *s)
{
	assert_true(s->nr);
	hold(name, s, VBB_HDR_LEN + VIRTIO_BALLOON_BMAP_LEN_MAX);
	hold(name, s, 4096);
	hold(name, s, 1024);
	free(s->run);
	memset(s, 0, sizeof(*s));
}

static void test_idle(void **state)
{
	struct runs s = { 0 };
	uint64_t seed = 1;

	(void)state;
	add_idle(&s, &seed, 20, 1 << 20);
	hold_all("idle", &s);
	add_idle(&s, &seed, 500, 1 << 14);
	hold_all("ragged runs", &s);
	add_idle(&s, &seed, 1200, 100);
	hold_all("short runs", &s);
}

static void test_every_second(void **state)
{
	struct runs s = { 0 };
	uint32_t order;
	char name[32];

	(void)state;
	add_every_second(&s, 5000, 0);
	hold_all("every second page", &s);
	add_every_second(&s, 5000, 9);
	hold_all("every second 2 MiB", &s);
	for (order = 1; order < VIRTIO_BALLOON_PFN_BITS; order++) {
		snprintf(name, sizeof(name), "every second block of order %u", order);
		add_every_second(&s, 500, order);
		hold_all(name, &s);
	}
}

static void test_densities(void **state)
{
	static const uint16_t per_mille[] = {
		1, 5, 10, 20, 30, 40, 50, 70, 100, 200, 300, 500, 700, 800, 900, 950, 980, 990, 999
	};
	struct runs s = { 0 };
	char name[32];
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(per_mille); i++) {
		uint64_t seed = i;

		snprintf(name, sizeof(name), "density 0.%03u", per_mille[i]);
		add_density(&s, &seed, 0, 12000, 0, per_mille[i]);
		hold_all(name, &s);
		snprintf(name, sizeof(name), "density 0.%03u of 2 MiB", per_mille[i]);
		add_density(&s, &seed, 1 << 20, 6000, 9, per_mille[i]);
		hold_all(name, &s);
	}
}

static void test_buddies(void **state)
{
	static const struct {
		uint16_t split, is_free;
	} p[] = {
		{ 500, 100 }, { 500, 500 }, { 700, 50 }, { 700, 200 }, { 700, 500 }, { 700, 700 },
		{ 800, 100 }, { 800, 300 }, { 800, 500 }, { 800, 700 }, { 850, 500 }, { 900, 100 },
		{ 900, 300 }, { 900, 500 }, { 900, 700 }, { 950, 200 }, { 950, 700 },
	};
	struct runs s = { 0 };
	char name[32];
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(p); i++) {
		uint64_t seed = i;

		snprintf(name, sizeof(name), "buddies 0.%u split 0.%u", p[i].is_free, p[i].split);
		add_buddies(&s, &seed, 20, 10, p[i].split, p[i].is_free);
		hold_all(name, &s);
		add_buddies(&s, &seed, 200, 6, p[i].split, p[i].is_free);
		strcat(name, " of 6");
		hold_all(name, &s);
	}
}

static void test_blocks(void **state)
{
	static const uint16_t gaps[] = { 2, 3, 4, 8, 16, 64 };
	static const uint8_t tops[] = { 1, 3, 6, 10 };
	struct runs s = { 0 };
	char name[32];
	size_t i, k;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(gaps); i++) {
		for (k = 0; k < ARRAY_SIZE(tops); k++) {
			uint64_t seed = 10 * i + k;

			snprintf(name, sizeof(name), "blocks up to %u, gap %u", tops[k], gaps[i]);
			add_blocks(&s, &seed, 400, tops[k], gaps[i]);
			hold_all(name, &s);
		}
	}
}

static void test_clusters(void **state)
{
	static const struct {
		uint16_t span, per_mille, gap;
	} p[] = {
		{ 20, 200, 100 }, { 40, 300, 300 }, { 64, 500, 200 }, { 70, 100, 100 },
		{ 100, 200, 200 }, { 130, 100, 500 }, { 200, 300, 100 }, { 20, 900, 20 },
		{ 64, 900, 64 }, { 128, 500, 50000 },
	};
	struct runs s = { 0 };
	char name[32];
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(p); i++) {
		uint64_t seed = i;

		snprintf(name, sizeof(name), "clusters of %u, 0.%u", p[i].span, p[i].per_mille);
		add_clusters(&s, &seed, 150, p[i].span, p[i].per_mille, p[i].gap);
		hold_all(name, &s);
	}
}

static void test_alternating(void **state)
{
	static const uint16_t per_mille[] = { 20, 50, 100, 200, 300, 500, 700, 900 };
	struct runs s = { 0 };
	char name[32];
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(per_mille); i++) {
		uint64_t seed = i;

		snprintf(name, sizeof(name), "fragments 0.%03u and 2 MiB", per_mille[i]);
		add_alternating(&s, &seed, 20, 9, per_mille[i], 3, 1000);
		hold_all(name, &s);
		add_alternating(&s, &seed, 10, 9, per_mille[i], 8, 500);
		hold_all(name, &s);
		snprintf(name, sizeof(name), "fragments 0.%03u and 256 KiB", per_mille[i]);
		add_alternating(&s, &seed, 60, 6, per_mille[i], 6, 700);
		hold_all(name, &s);
		snprintf(name, sizeof(name), "fragments 0.%03u and 64 KiB", per_mille[i]);
		add_alternating(&s, &seed, 150, 4, per_mille[i], 6, 700);
		hold_all(name, &s);
	}
}

static void test_two_densities(void **state)
{
	static const uint16_t pages[] = { 5, 10, 30, 100, 300 }, blocks[] = { 100, 400, 800 };
	char name[32];
	uint32_t order;
	size_t i, k;

	(void)state;
	for (order = 3; order < 10; order++) {
		for (i = 0; i < ARRAY_SIZE(pages); i++) {
			for (k = 0; k < ARRAY_SIZE(blocks); k++) {
				uint64_t seed = order + 10 * i + 100 * k, pfn;
				struct runs s = { 0 };

				for (pfn = 0; pfn < 8192; pfn += (uint64_t)1 << order) {
					if (chance(&seed, blocks[k]))
						add(&s, pfn, (uint64_t)1 << order);
					else
						add_density(&s, &seed, pfn, (size_t)1 << order, 0,
							    pages[i]);
				}
				snprintf(name, sizeof(name), "pages 0.%03u, order %u 0.%u",
					 pages[i], order, blocks[k]);
				hold(name, &s, VBB_HDR_LEN + VIRTIO_BALLOON_BMAP_LEN_MAX);
				free(s.run);
			}
		}
	}
}

static void test_sparse(void **state)
{
	struct runs s = { 0 };
	uint64_t seed = 1;

	(void)state;
	add_sparse(&s, &seed, 2000, 0);
	hold_all("sparse pages", &s);
	add_sparse(&s, &seed, 2000, 30);
	hold_all("sparse blocks", &s);
	add_clusters(&s, &seed, 300, 64, 500, (uint64_t)1 << 40);
	hold_all("sparse clusters", &s);
}

/* More runs than are held back */
static void test_long(void **state)
{
	struct runs s = { 0 };
	uint64_t seed = 1;

	(void)state;
	add_density(&s, &seed, 0, 30000, 0, 300);
	hold_all("density 0.300, long", &s);
	add_density(&s, &seed, 0, 60000, 0, 950);
	hold_all("density 0.950, long", &s);
	add_buddies(&s, &seed, 150, 10, 850, 400);
	hold_all("buddies 0.400, long", &s);
	add_alternating(&s, &seed, 60, 9, 400, 3, 1000);
	hold_all("fragments and 2 MiB, long", &s);
	add_blocks(&s, &seed, 3000, 4, 4);
	hold_all("blocks up to 4, long", &s);
}

/* Pages as far from each other as a word is long, or nearly: one bitmap, or each by itself? */
static void test_gaps(void **state)
{
	static const uint8_t orders[] = { 0, 3, 9 };
	struct runs s = { 0 };
	uint64_t gap, i;
	char name[32];
	size_t k;

	(void)state;
	for (k = 0; k < ARRAY_SIZE(orders); k++) {
		for (gap = 60; gap <= 68; gap++) {
			snprintf(name, sizeof(name), "gaps of %u, order %u", (unsigned int)gap,
				 orders[k]);
			for (i = 0; i < 300; i++)
				add(&s, gap * i << orders[k], (uint64_t)1 << orders[k]);
			hold(name, &s, VBB_HDR_LEN + VIRTIO_BALLOON_BMAP_LEN_MAX);
			free(s.run);
			memset(&s, 0, sizeof(s));
		}
	}
}

/* The payload of a message that has room for all, bytes */
static uint64_t payload(const struct runs *s, uint32_t formats)
{
	static uint8_t bytes[VBB_HDR_LEN + VIRTIO_BALLOON_BMAP_LEN_MAX];
	const struct vbb_enc_cfg cfg = { .page_shift = 12, .formats = formats };
	const struct vbb_seg seg = { bytes, sizeof(bytes) };
	struct vbb_msg msg;
	size_t i;

	assert_int_equal(vbb_enc_init(&enc, &cfg, &seg, 1), 0);
	for (i = 0; i < s->nr; i++) {
		struct vbb_range r = s->run[i];

		assert_int_equal(vbb_enc_put(&enc, &r), 0);
	}
	assert_int_equal(vbb_enc_finish(&enc, 0, &msg), 0);
	return msg.len - VBB_HDR_LEN;
}

/* Records of dense pages go on over what is held back, and so are hardly longer than a bitmap. */
static void test_dense(void **state)
{
	static const uint16_t per_mille[] = { 60, 100, 300, 500, 700, 900, 950 };
	struct runs s = { 0 };
	uint64_t seed = 1;
	size_t i;

	(void)state;
	for (i = 0; i <= ARRAY_SIZE(per_mille); i++) {
		uint64_t nr_records, nr_bitmap;

		if (i == ARRAY_SIZE(per_mille))
			add_every_second(&s, 100000, 0);
		else
			add_density(&s, &seed, 77, 200000, 0, per_mille[i]);
		nr_records = payload(&s, VBB_FMT_RECORDS) / 8;
		nr_bitmap = payload(&s, VBB_FMT_BITMAP) / 8;
		assert_true(50 * nr_records <= 51 * nr_bitmap);
		free(s.run);
		memset(&s, 0, sizeof(s));
	}
}

/* Every set of 16 pages over the border between two words has the fewest words, exactly. */
static void test_every_pattern(void **state)
{
	const struct vbb_enc_cfg cfg = { .page_shift = 12, .formats = VBB_FMT_RECORDS };
	uint8_t bytes[256];
	struct vbb_seg seg = { bytes, sizeof(bytes) };
	uint32_t pattern, bit;

	(void)state;
	for (pattern = 1; pattern < 1 << 16; pattern++) {
		struct runs s = { 0 }, named = { 0 };
		struct score score = { 0 };

		assert_int_equal(vbb_enc_init(&enc, &cfg, &seg, 1), 0);
		for (bit = 0; bit < 16; bit++)
			if (pattern >> bit & 1)
				add(&s, 56 + bit, 1);
		for (bit = 0; bit < s.nr; bit++) {
			struct vbb_range r = s.run[bit];

			assert_int_equal(vbb_enc_put(&enc, &r), 0);
		}
		judge(&score, &named, bytes);
		assert_int_equal(score.nr_words, score.nr_fewest);
		assert_int_equal(score.nr_words, 1 + !(s.nr == 1 && vbb_run_is_block(s.run)));
		assert_int_equal(named.nr, s.nr);
		assert_memory_equal(named.run, s.run, s.nr * sizeof(*s.run));
		free(s.run);
		free(named.run);
	}
}

/* Take all records out of a plan; returns their words. */
static uint64_t take_all(struct vbb_plan *p, struct runs *raw)
{
	struct vbb_rec rec;
	struct vbb_range r;
	uint64_t nr_words = 0;
	size_t i;

	/* what is simple the encoder takes as it stands */
	if (p->kind == VBB_PLAN_ONE)
		nr_words = vbb_bitmap_words(p->one_words);
	for (i = 0; i < p->nr_runs && vbb_plan_is_simple(p); i++) {
		r = p->run[i];
		if (vbb_plan_is_apart(p, i))
			continue;
		add(raw, r.pfn, r.nr_pages);
		if (p->kind == VBB_PLAN_ALONE)
			nr_words += vbb_run_words(&r);
		else
			assert_true(vbb_words(p->one_pfn, r.pfn + r.nr_pages, p->order) <=
				    p->one_words);
	}
	vbb_plan_start(p);
	while (vbb_plan_next(p, &rec)) {
		uint64_t unit = vbb_pow2(rec.order), end = rec.pfn;

		nr_words += vbb_rec_words(&rec);
		assert_int_equal(rec.pfn % unit, 0);
		if (rec.nr_pages) {
			assert_int_equal(rec.nr_words, 0);
			add(raw, rec.pfn, rec.nr_pages);
			continue;
		}
		assert_true(rec.nr_words);
		while (vbb_plan_next_run(p, &r)) {
			assert_true(r.pfn >= end && r.nr_pages);
			assert_int_equal((r.pfn | r.nr_pages) % unit, 0);
			end = r.pfn + r.nr_pages;
			assert_true((end - rec.pfn) / unit <= 64 * (uint64_t)rec.nr_words);
			add(raw, r.pfn, r.nr_pages);
		}
		/* no empty word at the end */
		assert_true((end - rec.pfn) / unit > 64 * ((uint64_t)rec.nr_words - 1));
	}
	return nr_words;
}

static uint64_t nr_pages_of(const struct runs *s)
{
	uint64_t nr_pages = 0;
	size_t i;

	for (i = 0; i < s->nr; i++)
		nr_pages += s->run[i].nr_pages;
	return nr_pages;
}

/*
 * What was counted and kept never costs more later, whatever comes late: the encoder's word that
 * what it took has room rests on that.
 */
static void test_promise(void **state)
{
	static struct vbb_plan p;
	uint64_t seed = 7;
	int i, k;

	(void)state;
	for (i = 0; i < 2000; i++) {
		uint64_t space = (uint64_t)1 << (8 + test_below(&seed, 14)), kept = 0;
		uint32_t top = (uint32_t)test_below(&seed, 8);

		vbb_plan_clear(&p);
		for (k = 0; k < 4; k++) {
			size_t nr = test_index(&seed, 100);
			uint64_t nr_pages = 0, late, together, apart;
			struct runs raw = { 0 };
			size_t n;

			while (nr--) {
				uint64_t mask = ((uint64_t)1 << test_below(&seed, top + 1)) - 1;
				struct vbb_range r = { test_below(&seed, space) & ~mask,
						       1 + test_below(&seed, mask + 1) }, part;

				while (vbb_plan_part(&p, &r, &part)) {
					assert_true(vbb_plan_add(&p, &part));
					r.pfn += part.nr_pages;
					r.nr_pages -= part.nr_pages;
				}
			}
			for (n = 0; n < p.nr_runs; n++) {
				nr_pages += p.run[n].nr_pages;
				assert_true(!n || p.run[n - 1].pfn + p.run[n - 1].nr_pages <=
					    p.run[n].pfn);
			}
			late = vbb_plan_late_words(&p);
			apart = vbb_plan_count(&p, true, false);
			assert_true(apart <= kept + late);
			assert_int_equal(take_all(&p, &raw), apart);
			assert_int_equal(nr_pages_of(&raw), nr_pages);
			raw.nr = 0;
			together = vbb_plan_count(&p, false, false);
			assert_int_equal(take_all(&p, &raw), together);
			assert_int_equal(nr_pages_of(&raw), nr_pages);
			free(raw.run);
			if (together <= kept + late) {
				kept = together;
				vbb_plan_keep(&p);
				assert_int_equal(vbb_plan_late_words(&p), 0);
			}
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_idle),
		cmocka_unit_test(test_every_second),
		cmocka_unit_test(test_densities),
		cmocka_unit_test(test_buddies),
		cmocka_unit_test(test_blocks),
		cmocka_unit_test(test_clusters),
		cmocka_unit_test(test_alternating),
		cmocka_unit_test(test_two_densities),
		cmocka_unit_test(test_sparse),
		cmocka_unit_test(test_long),
		cmocka_unit_test(test_gaps),
		cmocka_unit_test(test_dense),
		cmocka_unit_test(test_every_pattern),
		cmocka_unit_test(test_promise),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
