// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause
/* Several runs in one call: all is as if each had been put by itself. */
#include "test.h"

#define MAX_RUNS (3 * VBB_ENC_NR_PENDING)

static const uint32_t page_formats[] = {
	VBB_FMT_BITMAP, VBB_FMT_RECORDS, VBB_FMT_AUTO, VBB_FMT_QUICK, VBB_FMT_PFNS
};

static struct vbb_enc enc;
static struct vbb_range runs[MAX_RUNS];

/* One past the last page that can be named */
static uint64_t pages_end(const struct vbb_enc_cfg *cfg)
{
	return cfg->formats == VBB_FMT_PFNS ? vbb_pow2(32) : vbb_pfn_end(cfg->page_shift);
}

/* What vbb_enc_put_runs() is compared with */
static int put_each(struct vbb_enc *e, struct vbb_run_list *l)
{
	for (; l->pos < l->nr_runs; l->pos++) {
		struct vbb_range r = l->run[l->pos];
		int err;

		r.pfn += l->nr_taken;
		r.nr_pages -= l->nr_taken;
		err = vbb_enc_put(e, &r);
		l->nr_taken = err ? l->run[l->pos].nr_pages - r.nr_pages : 0;
		if (err)
			return err;
	}
	return 0;
}

/* Each of the two ways has an encoder and buffers of its own, which are cut at the same places. */
static struct side {
	int (*put)(struct vbb_enc *e, struct vbb_run_list *l);
	struct vbb_enc enc;
	struct vbb_run_list list;
	struct test_cut cut;
	uint8_t *bytes;
	struct vbb_msg msg;
} sides[] = { { .put = put_each }, { .put = vbb_enc_put_runs } };

#define for_each_side(s) for ((s) = sides; (s) < sides + ARRAY_SIZE(sides); (s)++)

static void begin_messages(const struct vbb_enc_cfg *cfg, size_t len, uint64_t *seed, bool first)
{
	const size_t a = test_index(seed, len + 1), b = a + test_index(seed, len - a + 1);
	struct side *s;

	for_each_side(s) {
		memset(s->bytes, 0xa5, len);
		test_cut_at(&s->cut, s->bytes, len, a, b);
		if (first)
			assert_int_equal(vbb_enc_init(&s->enc, cfg, s->cut.seg, s->cut.nr_segs), 0);
		else
			assert_int_equal(vbb_enc_next(&s->enc, s->cut.seg, s->cut.nr_segs), 0);
	}
}

static void end_messages(size_t len)
{
	struct side *s;

	for_each_side(s) {
		memset(&s->msg, 0, sizeof(s->msg));
		assert_int_equal(vbb_enc_finish(&s->enc, 0, &s->msg), 0);
		test_cut_join(&s->cut, s->bytes);
	}
	assert_memory_equal(&sides[0].msg, &sides[1].msg, sizeof(sides[0].msg));
	assert_memory_equal(sides[0].bytes, sides[1].bytes, len);
}

/* How often a call ended so: no room for a run, or its rest; a run that is not valid; all taken */
struct ends {
	size_t nr_full, nr_cut, nr_invalid, nr_all;
};

/* All of runs[], in some calls, and the messages that it takes. Those not valid are passed over. */
static void put_both(const struct vbb_enc_cfg *cfg, size_t len, uint64_t *seed, size_t nr_runs,
		     struct ends *ends)
{
	struct vbb_run_list *const a = &sides[0].list, *const b = &sides[1].list;
	struct side *s;

	for_each_side(s) {
		s->list = (struct vbb_run_list){ .run = runs };
		s->bytes = malloc(len);
		assert_non_null(s->bytes);
	}
	begin_messages(cfg, len, seed, true);
	while (b->pos < nr_runs) {
		int err;

		a->nr_runs = b->nr_runs = b->pos + test_index(seed, nr_runs - b->pos + 1);
		err = sides[1].put(&sides[1].enc, b);
		assert_int_equal(sides[0].put(&sides[0].enc, a), err);
		assert_int_equal(a->pos, b->pos);
		assert_int_equal(a->nr_taken, b->nr_taken);
		if (!err) {
			assert_int_equal(b->pos, b->nr_runs);
			ends->nr_all++;
		} else if (err == VBB_E_INVAL) {
			assert_int_equal(b->nr_taken, 0);
			a->pos++;
			b->pos++;
			ends->nr_invalid++;
		} else {
			assert_int_equal(err, VBB_E_NOSPC);
			end_messages(len);
			/* each takes something, or this would not end */
			assert_true(sides[1].msg.nr_pages > 0);
			begin_messages(cfg, len, seed, false);
			ends->nr_full += !b->nr_taken;
			ends->nr_cut += !!b->nr_taken;
		}
	}
	end_messages(len);
	for_each_side(s)
		free(s->bytes);
}

/* Behind the one before, as far as gap; but for a share of disorder / 16, anything. */
static struct vbb_range random_run(const struct vbb_enc_cfg *cfg, uint64_t *seed, uint64_t prev_end,
				   uint64_t gap, uint64_t disorder)
{
	const uint64_t end = pages_end(cfg), order = test_below(seed, 8);
	struct vbb_range r = {
		prev_end + 1 + test_below(seed, gap),
		1 + test_below(seed, vbb_pow2((uint32_t)order))
	};

	if (test_below(seed, 16) >= disorder)
		return r;
	switch (test_below(seed, 8)) {
	case 0:
		r.pfn = prev_end;
		break;
	case 1:
		r.pfn = prev_end - test_below(seed, 300);
		break;
	case 2:
		/* over several that are held back: only what lies between comes to them */
		r.pfn = prev_end - test_below(seed, 300);
		r.nr_pages = 1 + test_below(seed, 600);
		break;
	case 3:
		r.pfn = test_below(seed, end - r.nr_pages);
		break;
	case 4:
		r.pfn = end - r.nr_pages;
		break;
	case 5:
		r.pfn = end - r.nr_pages + 1;
		break;
	case 6:
		r.nr_pages = 0;
		break;
	default:
		r.nr_pages = UINT64_MAX - test_below(seed, r.pfn);
		break;
	}
	return r;
}

static void test_as_one_by_one(void **state)
{
	uint64_t seed = 1;
	size_t i, k;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(page_formats); i++) {
		struct ends ends = { 0 };
		int round;

		for (round = 0; round < 1000; round++) {
			const struct vbb_enc_cfg cfg = {
				.page_shift = page_formats[i] == VBB_FMT_PFNS ? 12 :
					      (uint16_t)(12 + test_below(&seed, 19)),
				.formats = page_formats[i],
			};
			const uint64_t gap = vbb_pow2((uint32_t)test_below(&seed, 9));
			const uint64_t disorder = test_below(&seed, 2) * test_below(&seed, 17);
			const size_t nr_runs = test_index(&seed, round % 8 ? 100 : MAX_RUNS);
			size_t len = VBB_ENC_LEN_MIN + test_index(&seed, round % 4 ? 1000 : 40000);
			uint64_t end = 1000 + test_below(&seed, 1 << 20);

			if (round % 16 == 1)
				len = VBB_ENC_LEN_MIN;
			for (k = 0; k < nr_runs; k++) {
				runs[k] = random_run(&cfg, &seed, end, gap, disorder);
				if (vbb_range_valid(&runs[k], cfg.page_shift) &&
				    runs[k].pfn < vbb_pow2(24))
					end = runs[k].pfn + runs[k].nr_pages;
			}
			put_both(&cfg, len, &seed, nr_runs, &ends);
		}
		assert_true(ends.nr_all > 100 && ends.nr_invalid > 100);
		assert_true(ends.nr_full > 500 && ends.nr_cut > 0);
	}
}

/* More than are held back come in order, so that a call begins anew within. */
static void test_more_than_are_held_back(void **state)
{
	const size_t len = (size_t)VBB_ENC_BOUND(MAX_RUNS);
	uint64_t seed = 2, step;
	size_t i, k;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(page_formats); i++) {
		const struct vbb_enc_cfg cfg = { .page_shift = 12, .formats = page_formats[i] };

		for (step = 2; step <= 128; step *= 2) {
			struct ends ends = { 0 };

			for (k = 0; k < MAX_RUNS; k++)
				runs[k] = (struct vbb_range){ step * k, 1 + k % (step - 1) };
			put_both(&cfg, len, &seed, MAX_RUNS, &ends);
			assert_true(ends.nr_all > 0 && !ends.nr_invalid);
			assert_true(!ends.nr_full || !(page_formats[i] & VBB_FMT_RECORDS));
		}
	}
}

/* The rest of a run that was cut is what the next message begins with. */
static void test_rest_of_a_run(void **state)
{
	/* a buffer of 128 pages: from 960 on, and from 1088 */
	static const struct vbb_range list[] = { { 1000, 1 }, { 1080, 100 }, { 1200, 1 } };
	const struct vbb_enc_cfg cfg = { .page_shift = 12, .formats = VBB_FMT_BITMAP };
	struct vbb_run_list l = { list, ARRAY_SIZE(list), 0, 0 };
	uint8_t bytes[VBB_HDR_LEN + 16];
	const struct vbb_seg seg = { bytes, sizeof(bytes) };
	struct vbb_msg msg;

	(void)state;
	assert_int_equal(vbb_enc_init(&enc, &cfg, &seg, 1), 0);
	assert_int_equal(vbb_enc_put_runs(&enc, &l), VBB_E_NOSPC);
	assert_int_equal(l.pos, 1);
	assert_int_equal(l.nr_taken, 8);
	/* nothing comes of asking again */
	assert_int_equal(vbb_enc_put_runs(&enc, &l), VBB_E_NOSPC);
	assert_int_equal(l.pos, 1);
	assert_int_equal(l.nr_taken, 8);
	assert_int_equal(vbb_enc_finish(&enc, 0, &msg), 0);
	assert_int_equal(msg.nr_pages, 1 + 8);
	assert_int_equal(vbb_enc_next(&enc, &seg, 1), 0);
	assert_int_equal(vbb_enc_put_runs(&enc, &l), 0);
	assert_int_equal(l.pos, 3);
	assert_int_equal(l.nr_taken, 0);
	assert_int_equal(vbb_enc_finish(&enc, 0, &msg), 0);
	assert_int_equal(msg.nr_pages, 92 + 1);
}

/* Behind a run that is held back. More than the next has cannot have been taken, nor all of it. */
static void test_begun_within_a_run(void **state)
{
	static const struct vbb_range list[] = { { 1000, 5 }, { 1010, 0 } };
	static const struct {
		size_t pos;
		uint64_t nr_taken;
		int err;
	} kinds[] = {
		{ 0, 4, 0 }, { 0, 5, VBB_E_INVAL }, { 0, 6, VBB_E_INVAL },
		{ 0, UINT64_MAX, VBB_E_INVAL }, { 1, 0, VBB_E_INVAL }, { 1, 1, VBB_E_INVAL },
	};
	uint8_t bytes[256];
	const struct vbb_seg seg = { bytes, sizeof(bytes) };
	size_t i, k;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(page_formats); i++) {
		const struct vbb_enc_cfg cfg = { .page_shift = 12, .formats = page_formats[i] };

		for (k = 0; k < ARRAY_SIZE(kinds); k++) {
			struct vbb_run_list l = {
				list, kinds[k].pos + 1, kinds[k].pos, kinds[k].nr_taken
			};
			struct vbb_range held = { 990, 1 };
			struct vbb_msg msg;

			assert_int_equal(vbb_enc_init(&enc, &cfg, &seg, 1), 0);
			assert_int_equal(vbb_enc_put(&enc, &held), 0);
			assert_int_equal(vbb_enc_put_runs(&enc, &l), kinds[k].err);
			assert_int_equal(l.pos, kinds[k].pos + !kinds[k].err);
			assert_int_equal(l.nr_taken, kinds[k].err ? kinds[k].nr_taken : 0);
			assert_int_equal(vbb_enc_finish(&enc, 0, &msg), 0);
			assert_int_equal(msg.nr_pages, 1 + !kinds[k].err);
		}
	}
}

/* Two that touch are one run, as if they had come so. */
static void test_runs_that_touch(void **state)
{
	static const struct vbb_range list[] = { { 1, 1 }, { 512, 256 }, { 768, 256 } };
	const struct vbb_enc_cfg cfg = { .page_shift = 12, .formats = VBB_FMT_RECORDS };
	struct vbb_run_list l = { list, ARRAY_SIZE(list), 0, 0 };
	uint8_t bytes[256];
	const struct vbb_seg seg = { bytes, sizeof(bytes) };
	struct vbb_msg msg;

	(void)state;
	assert_int_equal(vbb_enc_init(&enc, &cfg, &seg, 1), 0);
	assert_int_equal(vbb_enc_put_runs(&enc, &l), 0);
	assert_int_equal(vbb_enc_finish(&enc, 0, &msg), 0);
	assert_int_equal(msg.nr_blocks, 2);
	assert_int_equal(msg.nr_pages, 1 + 512);
	assert_int_equal(msg.len, VBB_HDR_LEN + 2 * 8);
}

static void test_no_runs(void **state)
{
	static const struct vbb_range list[] = { { 7, 1 } };
	static const struct vbb_run_list empty[] = { { NULL, 0, 0, 0 }, { list, 1, 1, 0 } };
	uint8_t bytes[256];
	const struct vbb_seg seg = { bytes, sizeof(bytes) };
	size_t i, k;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(page_formats); i++) {
		const struct vbb_enc_cfg cfg = { .page_shift = 12, .formats = page_formats[i] };
		struct vbb_msg msg;

		assert_int_equal(vbb_enc_init(&enc, &cfg, &seg, 1), 0);
		for (k = 0; k < ARRAY_SIZE(empty); k++) {
			struct vbb_run_list l = empty[k];

			assert_int_equal(vbb_enc_put_runs(&enc, &l), 0);
			assert_int_equal(l.pos, empty[k].pos);
			assert_int_equal(l.nr_taken, 0);
		}
		assert_int_equal(vbb_enc_finish(&enc, 0, &msg), 0);
		assert_int_equal(msg.len, 0);
	}
}

static void assert_state(struct vbb_run_list l)
{
	const struct vbb_run_list before = l;

	assert_int_equal(vbb_enc_put_runs(&enc, &l), VBB_E_STATE);
	assert_ptr_equal(l.run, before.run);
	assert_int_equal(l.nr_runs, before.nr_runs);
	assert_int_equal(l.pos, before.pos);
	assert_int_equal(l.nr_taken, before.nr_taken);
}

static void test_states(void **state)
{
	static const struct vbb_range list[] = { { 7, 1 }, { 9, 3 } };
	static const struct vbb_run_list lists[] = {
		{ list, 2, 0, 0 }, { list, 2, 1, 2 }, { NULL, 0, 0, 0 },
	};
	struct vbb_enc_cfg cfg = { .page_shift = 12, .formats = VBB_FMT_VALUES };
	uint8_t bytes[256];
	const struct vbb_seg seg = { bytes, sizeof(bytes) };
	struct vbb_msg msg;
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(lists); i++) {
		/* the format has no pages; no message can be opened; none is open */
		cfg.formats = VBB_FMT_VALUES;
		assert_int_equal(vbb_enc_init(&enc, &cfg, &seg, 1), 0);
		assert_state(lists[i]);
		cfg.formats = VBB_FMT_VALUES | VBB_FMT_RECORDS;
		assert_int_equal(vbb_enc_init(&enc, &cfg, &seg, 1), VBB_E_INVAL);
		assert_state(lists[i]);
		cfg.formats = VBB_FMT_RECORDS;
		assert_int_equal(vbb_enc_init(&enc, &cfg, NULL, 0), VBB_E_TOOSMALL);
		assert_state(lists[i]);
		assert_int_equal(vbb_enc_next(&enc, &seg, 1), 0);
		assert_int_equal(vbb_enc_finish(&enc, 0, &msg), 0);
		assert_state(lists[i]);
	}
}

/* Behind a run that is held back: up to the last page, and not a page further */
static void test_last_pages(void **state)
{
	size_t i, k;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(page_formats); i++) {
		struct vbb_enc_cfg cfg = { .formats = page_formats[i] };

		for (cfg.page_shift = 12; cfg.page_shift <= 30; cfg.page_shift++) {
			const uint64_t end = pages_end(&cfg);
			const struct vbb_range bad[] = {
				{ end - 1, 2 }, { end, 1 }, { end + 1, 1 }, { UINT64_MAX, 1 },
				{ end - 1, UINT64_MAX }, { end - 1, 0 }, { end - 1, 1 - end },
			};
			uint8_t bytes[256];
			const struct vbb_seg seg = { bytes, sizeof(bytes) };
			struct vbb_msg msg;

			if (cfg.formats == VBB_FMT_PFNS && cfg.page_shift > 12)
				break;
			for (k = 0; k < ARRAY_SIZE(bad); k++) {
				struct vbb_range list[] = { { end - 3, 1 }, bad[k] };
				struct vbb_run_list l = { list, ARRAY_SIZE(list), 0, 0 };

				assert_int_equal(vbb_enc_init(&enc, &cfg, &seg, 1), 0);
				assert_int_equal(vbb_enc_put_runs(&enc, &l), VBB_E_INVAL);
				assert_int_equal(l.pos, 1);
				assert_int_equal(l.nr_taken, 0);
				list[1] = (struct vbb_range){ end - 1, 1 };
				assert_int_equal(vbb_enc_put_runs(&enc, &l), 0);
				assert_int_equal(l.pos, 2);
				assert_int_equal(vbb_enc_finish(&enc, 0, &msg), 0);
				assert_int_equal(msg.nr_pages, 2);
			}
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_as_one_by_one),
		cmocka_unit_test(test_more_than_are_held_back),
		cmocka_unit_test(test_rest_of_a_run),
		cmocka_unit_test(test_begun_within_a_run),
		cmocka_unit_test(test_runs_that_touch),
		cmocka_unit_test(test_no_runs),
		cmocka_unit_test(test_states),
		cmocka_unit_test(test_last_pages),
	};

	return cmocka_run_group_tests_name("put_runs", tests, NULL, NULL);
}
