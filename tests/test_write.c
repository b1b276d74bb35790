// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause
/* What the encoder's messages are made of: which bitmaps and records, and their bytes. */
#include "page_set.h"

static struct vbb_enc enc;

static void test_vectors(void **state)
{
	static const struct {
		const char *name;
		struct vbb_enc_cfg cfg;
		struct vbb_range run[3];
		uint16_t flag;
		uint64_t len;
		size_t nr_bytes;	/* of them, as many as follow */
		uint8_t bytes[56];
	} vectors[] = {
		{ "W01", { .page_shift = 12, .formats = VBB_FMT_BITMAP },
		  { { 0x100000, 1 }, { 0x100000 + 262143, 1 } }, 0, VBB_HDR_LEN + 32768, 33,
		  { 0, 0, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10, 0, 0, 0, 0, 0,
		    0, 0x80, 0, 0, 0, 0, 0, 0, 1 } },
		{ "W02",
		  { .page_shift = 12, .req_id = 0x1122334455667788, .formats = VBB_FMT_BITMAP },
		  { { 0x40000, 1 }, { 0x40000 + 262143, 1 } }, VIRTIO_BALLOON_FLAG_DONE,
		  VBB_HDR_LEN + 32768, 33,
		  { 0, 0, 12, 0, 1, 0, 0, 0, 0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11,
		    0, 0, 4, 0, 0, 0, 0, 0, 0, 0x80, 0, 0, 0, 0, 0, 0, 1 } },
		{ "W03", { .page_shift = 12, .formats = VBB_FMT_BITMAP },
		  { { 64, 2 }, { 127, 1 } }, 0, 40, 40,
		  { 0, 0, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x40, 0, 0, 0, 0, 0, 0, 0,
		    8, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0x80 } },
		{ "W05, W06", { .page_shift = 12, .formats = VBB_FMT_RECORDS },
		  { { 0x200, 512 } }, 0, 40, 40,
		  { 0, 0, 12, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
		    8, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0x90, 0 } },
		{ "W07", { .page_shift = 12, .formats = VBB_FMT_RECORDS },
		  { { 0x12345, 1 } }, 0, 40, 40,
		  { 0, 0, 12, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
		    8, 0, 0, 0, 0, 0, 0, 0, 0x45, 0x23, 1, 0, 0, 0, 0, 0 } },
		{ "W08", { .page_shift = 12, .formats = VBB_FMT_RECORDS },
		  { { 0x12340, 2 }, { 0x1237f, 1 } }, 0, 48, 48,
		  { 0, 0, 12, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
		    16, 0, 0, 0, 0, 0, 0, 0, 0x40, 0x23, 1, 0, 0, 0, 0, 4, 3, 0, 0, 0, 0, 0, 0,
		    0x80 } },
		{ "W10", { .page_shift = 12, .formats = VBB_FMT_RECORDS },
		  { { 7, 12345 } }, 0, 48, 48,
		  { 0, 0, 12, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
		    16, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0xfc, 0x39, 0x30, 0, 0, 0, 0, 0,
		    0 } },
		{ "W11", { .page_shift = 12, .formats = VBB_FMT_PFNS },
		  { { 0x200, 2 }, { 0x7ffff, 1 } }, 0, 12, 12,
		  { 0, 2, 0, 0, 1, 2, 0, 0, 0xff, 0xff, 7, 0 } },
	};
	static uint8_t bytes[VBB_HDR_LEN + 32768];
	const struct vbb_seg seg = { bytes, sizeof(bytes) };
	size_t i, k;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(vectors); i++) {
		struct vbb_msg msg;

		print_message("# %s\n", vectors[i].name);
		assert_int_equal(vbb_enc_init(&enc, &vectors[i].cfg, &seg, 1), 0);
		for (k = 0; k < 3 && vectors[i].run[k].nr_pages; k++) {
			struct vbb_range r = vectors[i].run[k];

			assert_int_equal(vbb_enc_put(&enc, &r), 0);
		}
		assert_int_equal(vbb_enc_finish(&enc, vectors[i].flag, &msg), 0);
		assert_int_equal(msg.len, vectors[i].len);
		assert_memory_equal(bytes, vectors[i].bytes, vectors[i].nr_bytes);
	}
}

/* Every second block of order 9, as in vector W09: from three on a bitmap is shorter. */
static void test_bitmap_of_an_order(void **state)
{
	static const uint8_t expected[] = {
		0, 0, 4, 0, 0, 0, 0x90, 4, 0x15, 0, 0, 0, 0, 0, 0, 0,
	};
	const struct vbb_enc_cfg cfg = config(VBB_FMT_RECORDS);
	uint8_t bytes[128];
	const struct vbb_seg seg = { bytes, sizeof(bytes) };
	struct vbb_msg msg;
	uint64_t i;

	(void)state;
	assert_int_equal(vbb_enc_init(&enc, &cfg, &seg, 1), 0);
	for (i = 0; i < 3; i++) {
		struct vbb_range r = { 0x40000 + 1024 * i, 512 };

		assert_int_equal(vbb_enc_put(&enc, &r), 0);
	}
	assert_int_equal(vbb_enc_finish(&enc, 0, &msg), 0);
	assert_int_equal(msg.len, VBB_HDR_LEN + sizeof(expected));
	assert_memory_equal(bytes + VBB_HDR_LEN, expected, sizeof(expected));
}

/*
 * Long runs and long gaps take many words at a time: a bitmap has those words that its pages need,
 * and none behind them, and a run that ends with a word leaves the next one to others.
 */
static void test_full_and_empty_words(void **state)
{
	const struct vbb_enc_cfg cfg = config(VBB_FMT_BITMAP);
	uint8_t bytes[256], want[256];
	uint64_t first, nr, gap, i;

	(void)state;
	for (first = 0; first < 70; first += 23) {
		for (nr = 60; nr < 400; nr++) {
			for (gap = 1; gap < 400; gap += 57) {
				const uint64_t behind = first + nr + gap, base = first / 64 * 64;
				const size_t len = (size_t)((behind - base) / 64 + 1) * 8;
				struct vbb_range run[] = { { first, nr }, { behind, 1 } };
				struct vbb_run_list list = { run, 2, 0, 0 };
				struct vbb_seg seg = { bytes, sizeof(bytes) };
				struct vbb_msg msg;

				memset(want, 0, sizeof(want));
				for (i = first - base; i < first - base + nr; i++)
					want[i / 8] |= (uint8_t)(1 << i % 8);
				want[(behind - base) / 8] |= (uint8_t)(1 << behind % 8);
				memset(bytes, 0xee, sizeof(bytes));
				assert_int_equal(vbb_enc_init(&enc, &cfg, &seg, 1), 0);
				assert_int_equal(vbb_enc_put_runs(&enc, &list), 0);
				assert_int_equal(vbb_enc_finish(&enc, 0, &msg), 0);
				assert_int_equal(msg.len, VBB_HDR_LEN + len);
				assert_memory_equal(bytes + VBB_HDR_LEN, want, len);

				list = (struct vbb_run_list){ run, 1, 0, 0 };
				assert_int_equal(vbb_enc_init(&enc, &cfg, &seg, 1), 0);
				assert_int_equal(vbb_enc_put_runs(&enc, &list), 0);
				assert_int_equal(vbb_enc_finish(&enc, 0, &msg), 0);
				assert_int_equal(msg.len, VBB_HDR_LEN +
						 ((first - base + nr + 63) / 64) * 8);
			}
		}
	}
}

/* Half of those that are held back is written then; what is kept can be put again. */
static void test_more_runs_than_are_held_back(void **state)
{
	static const struct {
		uint32_t formats;
		uint64_t gap, nr_runs;
		size_t len;
	} kinds[] = {
		{ VBB_FMT_BITMAP, 2, 2000, 600 },
		/* no bitmap of the late ones can span them, records of the kept ones are longer */
		{ VBB_FMT_AUTO, 4, VBB_ENC_NR_PENDING, 800 },
		{ VBB_FMT_QUICK, 4, VBB_ENC_NR_PENDING, 800 },
	};
	uint8_t bytes[800];
	uint64_t k;
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(kinds); i++) {
		const struct vbb_enc_cfg cfg = config(kinds[i].formats);
		struct vbb_seg seg = { bytes, kinds[i].len };
		struct set put = { 0 }, got = { 0 };
		struct vbb_range r;
		struct vbb_msg msg;

		assert_int_equal(vbb_enc_init(&enc, &cfg, &seg, 1), 0);
		for (k = 0; k < kinds[i].nr_runs; k++) {
			r = (struct vbb_range){ kinds[i].gap * k, 1 };
			set_add(&put, &r);
			assert_int_equal(vbb_enc_put(&enc, &r), 0);
		}
		/* one that has no place, one that was written, one that is held back */
		for (k = 0; k < 3; k++) {
			static const uint64_t pfn[] = { SPACE - 1, 0, 3000 };

			r = (struct vbb_range){ pfn[k], 1 };
			set_add(&put, &r);
			assert_int_equal(vbb_enc_put(&enc, &r), k == 1 ? VBB_E_NOSPC : 0);
		}
		assert_int_equal(vbb_enc_finish(&enc, 0, &msg), 0);
		assert_int_equal(msg.format, VBB_FMT_BITMAP);
		seg.len = (size_t)msg.len;
		set_decode(&got, &msg, &seg, 1);
		assert_memory_equal(&put, &got, sizeof(put));
	}
}

/*
 * A message's last bitmap is longer at no cost where the pages that come after a plan follow at
 * once; but no bitmap is longer than a record's.
 */
static void test_a_bitmap_that_goes_on(void **state)
{
	static const struct {
		uint64_t stride, nr_runs, gap, nr_bitmaps;
	} kinds[] = {
		{ 2, 1664, 0, 1 }, { 2, 1664, 1, 2 }, { 2, 1664, 100, 2 }, { 2, 2048, 0, 2 },
		{ 4, VBB_ENC_NR_PENDING, 0, 2 },
	};
	const struct vbb_enc_cfg cfg = config(VBB_FMT_RECORDS);
	uint8_t bytes[1000];
	uint64_t k;
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(kinds); i++) {
		struct vbb_seg seg = { bytes, sizeof(bytes) };
		struct set put = { 0 }, got = { 0 };
		struct vbb_range r;
		struct vbb_msg msg;

		assert_int_equal(vbb_enc_init(&enc, &cfg, &seg, 1), 0);
		for (k = 0; k < kinds[i].nr_runs; k++) {
			r = (struct vbb_range){ kinds[i].stride * k, 1 };
			if (k >= VBB_ENC_NR_PENDING)
				r.pfn += kinds[i].gap;
			set_add(&put, &r);
			assert_int_equal(vbb_enc_put(&enc, &r), 0);
		}
		assert_int_equal(vbb_enc_finish(&enc, 0, &msg), 0);
		assert_int_equal(msg.nr_bitmaps, kinds[i].nr_bitmaps);
		seg.len = (size_t)msg.len;
		set_decode(&got, &msg, &seg, 1);
		assert_memory_equal(&put, &got, sizeof(put));
	}
}

/*
 * There is room for a bitmap of the pages below, whose words were counted when there seemed to be
 * none, and one of those above. Together they are no less than the two.
 */
static void test_a_bitmap_and_late_runs(void **state)
{
	static const struct vbb_range runs[] = {
		{ 2, 1 }, { 11, 4 }, { 0, 1 }, { 4, 1 }, { 1024, 1 }, { 1092, 8 }, { 1033, 1 },
		{ 1120, 4 }, { 1041, 1 }, { 1054, 1 },
	};
	const struct vbb_enc_cfg cfg = config(VBB_FMT_RECORDS);
	uint8_t bytes[VBB_HDR_LEN + 5 * 8];
	const struct vbb_seg seg = { bytes, sizeof(bytes) };
	struct set put = { 0 }, got = { 0 };
	struct vbb_range r;
	struct vbb_msg msg;
	size_t i;

	(void)state;
	assert_int_equal(vbb_enc_init(&enc, &cfg, &seg, 1), 0);
	for (i = 0; i < ARRAY_SIZE(runs); i++) {
		r = runs[i];
		set_add(&put, &r);
		assert_int_equal(vbb_enc_put(&enc, &r), 0);
	}
	assert_int_equal(vbb_enc_finish(&enc, 0, &msg), 0);
	assert_int_equal(msg.nr_bitmaps, 2);
	assert_int_equal(msg.len, sizeof(bytes));
	set_decode(&got, &msg, &seg, 1);
	assert_memory_equal(&put, &got, sizeof(put));
}

/* Two ways that nothing lies in are not worth three bitmaps. */
static void test_a_bitmap_that_is_nearly_the_least(void **state)
{
	const struct vbb_enc_cfg cfg = config(VBB_FMT_RECORDS);
	uint8_t bytes[1000];
	struct vbb_seg seg = { bytes, sizeof(bytes) };
	struct set put = { 0 }, got = { 0 };
	struct vbb_range r = { 1, 1 };
	struct vbb_msg msg;
	uint64_t k;

	(void)state;
	assert_int_equal(vbb_enc_init(&enc, &cfg, &seg, 1), 0);
	for (k = 0; k < 64; k++) {
		r.nr_pages = 1;
		set_add(&put, &r);
		assert_int_equal(vbb_enc_put(&enc, &r), 0);
		r.pfn += k == 31 ? 209 : 59;
	}
	assert_int_equal(vbb_enc_finish(&enc, 0, &msg), 0);
	assert_int_equal(msg.nr_bitmaps, 1);
	seg.len = (size_t)msg.len;
	set_decode(&got, &msg, &seg, 1);
	assert_memory_equal(&put, &got, sizeof(put));
}

/* An order that few runs have is not looked at: they get records of their own beside bitmaps. */
static void test_an_order_of_few(void **state)
{
	static const struct vbb_range block = { 1 << 20, 512 };
	const struct vbb_dec_cfg dec_cfg = { .queue = VBB_QUEUE_BALLOON, .records = true };
	const struct vbb_enc_cfg cfg = config(VBB_FMT_RECORDS);
	uint8_t bytes[1 << 14];
	struct vbb_seg seg = { bytes, sizeof(bytes) };
	struct vbb_range r = block;
	uint64_t k, nr_pages = 0;
	struct vbb_msg msg;
	struct vbb_dec d;

	(void)state;
	assert_int_equal(vbb_enc_init(&enc, &cfg, &seg, 1), 0);
	assert_int_equal(vbb_enc_put(&enc, &r), 0);
	/* every 20th page, in clusters far apart */
	for (k = 0; k < 900; k++) {
		r = (struct vbb_range){ ((k / 45 + 1) << 30) + k % 45 * 20 + 1, 1 };
		assert_int_equal(vbb_enc_put(&enc, &r), 0);
	}
	assert_int_equal(vbb_enc_finish(&enc, 0, &msg), 0);
	assert_int_equal(msg.nr_blocks, 1);
	assert_int_equal(msg.nr_extents, 0);
	assert_int_equal(msg.nr_bitmaps, 900 / 45);
	assert_int_equal(msg.len, VBB_HDR_LEN + 8 * (1 + 900 / 45 * (1 + (44 * 20 + 64) / 64)));
	seg.len = (size_t)msg.len;
	assert_int_equal(vbb_dec_init(&d, &dec_cfg, &seg, 1), 0);
	vbb_dec_for_each(&d, &r)
		nr_pages += r.nr_pages;
	assert_int_equal(vbb_dec_next(&d, &r), 0);
	assert_int_equal(nr_pages, 900 + block.nr_pages);
}

/* QUICK is one bitmap, or each run by itself, whichever is shorter. */
static void test_quick(void **state)
{
	const struct vbb_dec_cfg dec_cfg = { .queue = VBB_QUEUE_BALLOON, .records = true };
	const struct vbb_enc_cfg cfg = config(VBB_FMT_QUICK);
	static uint8_t bytes[1 << 16];
	uint64_t seed = 11, i, k;

	(void)state;
	for (i = 0; i < 3000; i++) {
		const uint64_t order = test_below(&seed, 12), gap = 1 + test_below(&seed, 200);
		const uint64_t first = test_below(&seed, 1 << 20) << order;
		const uint64_t nr_runs = 1 + test_below(&seed, VBB_ENC_NR_PENDING);
		struct vbb_seg seg = { bytes, sizeof(bytes) };
		uint64_t pfn = first, edges = 0, alone = 0, flat, one, words, end = 0;
		struct vbb_range r;
		struct vbb_msg msg;
		struct vbb_dec d;

		assert_int_equal(vbb_enc_init(&enc, &cfg, &seg, 1), 0);
		for (k = 0; k < nr_runs; k++) {
			uint64_t nr = (1 + test_below(&seed, 3)) << order;

			r = (struct vbb_range){ pfn, nr };
			end = pfn + nr;
			edges |= pfn | end;
			alone += nr & (nr - 1) || pfn & (nr - 1) ? 2 : 1;
			pfn = end + ((1 + test_below(&seed, gap)) << order);
			assert_int_equal(vbb_enc_put(&enc, &r), 0);
		}
		assert_int_equal(vbb_enc_finish(&enc, 0, &msg), 0);
		/* a bitmap of blocks, in records of 62 words, which end early before empty ones */
		one = ((end - first - 1) >> (vbb_ctz64(edges) + 6)) + 1;
		words = one + (one + 61) / 62;
		flat = (end + 63) / 64 - first / 64;
		/* one record does where it is shorter at all, several where they save an eighth */
		if ((one > 62 || words > alone) && words + alone / 8 > alone)
			words = alone;
		words = words < flat ? words : flat;
		assert_true(msg.len <= VBB_HDR_LEN + 8 * words);
		if (words == alone)
			assert_int_equal(msg.len, VBB_HDR_LEN + 8 * alone);
		seg.len = (size_t)msg.len;
		assert_int_equal(vbb_dec_init(&d, &dec_cfg, &seg, 1), 0);
		k = 0;
		vbb_dec_for_each(&d, &r)
			k += r.nr_pages;
		assert_int_equal(vbb_dec_next(&d, &r), 0);
		assert_int_equal(k, msg.nr_pages);
	}
}

/* Clusters of pages far apart are a bitmap each for who searches, and a record each page if not. */
static void test_quick_does_not_search(void **state)
{
	static const uint32_t formats[] = { VBB_FMT_AUTO, VBB_FMT_QUICK };
	uint8_t bytes[4096];
	const struct vbb_seg seg = { bytes, sizeof(bytes) };
	uint64_t i, k, nr_words[2];

	(void)state;
	for (i = 0; i < 2; i++) {
		const struct vbb_enc_cfg cfg = config(formats[i]);
		struct vbb_msg msg;

		assert_int_equal(vbb_enc_init(&enc, &cfg, &seg, 1), 0);
		for (k = 0; k < 160; k++) {
			struct vbb_range r = { (k / 40 << 30) + k % 40 * 2, 1 };

			assert_int_equal(vbb_enc_put(&enc, &r), 0);
		}
		assert_int_equal(vbb_enc_finish(&enc, 0, &msg), 0);
		nr_words[i] = (msg.len - VBB_HDR_LEN) / 8;
		assert_int_equal(msg.nr_blocks, i ? 160 : 0);
	}
	assert_int_equal(nr_words[0], 4 * 3);
	assert_int_equal(nr_words[1], 160);
}

/*
 * What is taken finds room: the plan has promised it. Where the promise is broken, which is done to
 * the encoder here, pages are left out, and nothing is written behind the room that there is.
 */
static void test_broken_promise(void **state)
{
	static const uint32_t formats[] = {
		VBB_FMT_BITMAP, VBB_FMT_RECORDS, VBB_FMT_AUTO, VBB_FMT_QUICK
	};
	static uint8_t buf[4096];
	const struct vbb_seg seg = { buf, sizeof(buf) };
	/* a bitmap, extents, and blocks that lie too far apart for one */
	static const struct vbb_range kinds[] = {
		{ 2, 1 }, { 151, 150 }, { 300, 299 }, { 1 << 20, 1 }
	};
	uint64_t len_max, pfn;
	size_t f, i, k;

	(void)state;
	for (f = 0; f < ARRAY_SIZE(formats); f++) {
		const struct vbb_enc_cfg cfg = config(formats[f]);

		for (k = 0; k < ARRAY_SIZE(kinds); k++) {
			const uint64_t step = kinds[k].pfn;

			if (formats[f] == VBB_FMT_BITMAP && k == 3)
				continue;
			for (len_max = 8; len_max <= 2400; len_max += 8) {
				struct vbb_msg msg;

				memset(buf, 0xaa, sizeof(buf));
				assert_int_equal(vbb_enc_init(&enc, &cfg, &seg, 1), 0);
				for (pfn = 1; pfn < 100 * step; pfn += step) {
					struct vbb_range r = { pfn, kinds[k].nr_pages };

					assert_int_equal(vbb_enc_put(&enc, &r), 0);
				}
				enc.len_max = len_max;
				assert_int_equal(vbb_enc_finish(&enc, 0, &msg), 0);
				assert_true(msg.len <= VBB_HDR_LEN + len_max);
				for (i = VBB_HDR_LEN + (size_t)len_max; i < sizeof(buf); i++)
					assert_int_equal(buf[i], 0xaa);
			}
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_vectors),
		cmocka_unit_test(test_bitmap_of_an_order),
		cmocka_unit_test(test_full_and_empty_words),
		cmocka_unit_test(test_more_runs_than_are_held_back),
		cmocka_unit_test(test_a_bitmap_that_goes_on),
		cmocka_unit_test(test_a_bitmap_and_late_runs),
		cmocka_unit_test(test_a_bitmap_that_is_nearly_the_least),
		cmocka_unit_test(test_an_order_of_few),
		cmocka_unit_test(test_quick),
		cmocka_unit_test(test_quick_does_not_search),
		cmocka_unit_test(test_broken_promise),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
