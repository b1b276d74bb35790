// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause
/* The encoder as a caller meets it: arguments, buffers of every size and cut, and the bytes. */
#include "test.h"

/* Sets of pages of a small space, so that any two can be compared */
#define SPACE 4096

struct set {
	bool page[SPACE];
};

static const uint32_t page_formats[] = {
	VBB_FMT_BITMAP, VBB_FMT_RECORDS, VBB_FMT_AUTO, VBB_FMT_QUICK, VBB_FMT_PFNS
};

static struct vbb_enc enc;

static struct vbb_enc_cfg config(uint32_t formats)
{
	const struct vbb_enc_cfg cfg = { .page_shift = 12, .formats = formats };

	return cfg;
}

static size_t len_min(uint32_t formats)
{
	return formats == VBB_FMT_PFNS ? 4 : VBB_ENC_LEN_MIN;
}

static void set_add(struct set *s, const struct vbb_range *r)
{
	uint64_t i;

	assert_true(r->pfn + r->nr_pages <= SPACE);
	for (i = 0; i < r->nr_pages; i++)
		s->page[r->pfn + i] = true;
}

static struct vbb_range random_run(uint64_t *seed)
{
	struct vbb_range r = { test_below(seed, SPACE), 0 };
	uint64_t order = test_below(seed, 10);

	r.pfn &= ~(vbb_pow2((uint32_t)test_below(seed, order + 1)) - 1);
	r.nr_pages = 1 + test_below(seed, (uint64_t)1 << order);
	if (r.nr_pages > SPACE - r.pfn)
		r.nr_pages = SPACE - r.pfn;
	return r;
}

/* What a message names. It is held against what the encoder says of it. */
static void decode(struct set *s, const struct vbb_msg *msg, const struct vbb_seg *seg,
		   size_t nr_segs)
{
	const struct vbb_dec_cfg cfg = { .queue = VBB_QUEUE_BALLOON, .records = true };
	struct vbb_range r;
	struct vbb_dec d;

	if (msg->format == VBB_FMT_PFNS) {
		vbb_dec_init_pfns(&d, &cfg, seg, nr_segs);
	} else {
		assert_int_equal(vbb_dec_init(&d, &cfg, seg, nr_segs), 0);
		assert_int_equal(1u << d.hdr.format, msg->format);
	}
	vbb_dec_for_each(&d, &r)
		set_add(s, &r);
	assert_int_equal(vbb_dec_next(&d, &r), 0);
	assert_int_equal(d.nr_blocks, msg->nr_blocks);
	assert_int_equal(d.nr_bitmaps, msg->nr_bitmaps);
	assert_int_equal(d.nr_extents, msg->nr_extents);
}

static void test_configurations(void **state)
{
	uint8_t bytes[256];
	const struct vbb_seg seg = { bytes, sizeof(bytes) };
	struct vbb_range r = { 1, 1 };
	struct vbb_msg msg;
	uint32_t formats, shift;

	(void)state;
	for (formats = 0; formats < 1 << 17; formats++) {
		for (shift = 11; shift <= 31; shift++) {
			struct vbb_enc_cfg cfg = config(formats);
			bool good = formats == VBB_FMT_BITMAP || formats == VBB_FMT_RECORDS ||
				    formats == VBB_FMT_AUTO || formats == VBB_FMT_QUICK ||
				    formats == VBB_FMT_VALUES ||
				    (formats == VBB_FMT_PFNS && shift == 12);

			if (formats > 64 && formats < 1 << 14 && shift != 12)
				continue;
			good = good && shift >= 12 && shift <= 30;
			cfg.page_shift = (uint16_t)shift;
			assert_int_equal(vbb_enc_init(&enc, &cfg, &seg, 1), good ? 0 : VBB_E_INVAL);
			if (good)
				continue;
			/* and it stays closed, whatever is asked of it */
			assert_int_equal(vbb_enc_put(&enc, &r), VBB_E_STATE);
			assert_int_equal(vbb_enc_put_value(&enc, 1), VBB_E_STATE);
			assert_int_equal(vbb_enc_finish(&enc, 0, &msg), VBB_E_STATE);
			assert_int_equal(vbb_enc_next(&enc, &seg, 1), VBB_E_STATE);
		}
	}
}

static void test_states(void **state)
{
	const struct vbb_enc_cfg cfg = config(VBB_FMT_RECORDS), old = config(VBB_FMT_PFNS);
	uint8_t bytes[VBB_ENC_LEN_MIN];
	const struct vbb_seg seg = { bytes, sizeof(bytes) }, small = { bytes, sizeof(bytes) - 1 };
	struct vbb_bitmap b = { .bits = bytes, .nr_bits = 8 };
	struct vbb_range r = { 1, 1 };
	struct vbb_msg msg;

	(void)state;
	assert_int_equal(vbb_enc_init(&enc, &old, NULL, 0), VBB_E_TOOSMALL);
	assert_int_equal(vbb_enc_init(&enc, &cfg, &small, 1), VBB_E_TOOSMALL);
	assert_int_equal(vbb_enc_put(&enc, &r), VBB_E_STATE);
	assert_int_equal(vbb_enc_put_bitmap(&enc, &b), VBB_E_STATE);
	assert_int_equal(vbb_enc_finish(&enc, 0, &msg), VBB_E_STATE);
	assert_int_equal(vbb_enc_next(&enc, &small, 1), VBB_E_TOOSMALL);
	assert_int_equal(vbb_enc_next(&enc, NULL, 0), VBB_E_TOOSMALL);
	assert_int_equal(vbb_enc_next(&enc, &seg, 1), 0);
	assert_int_equal(vbb_enc_next(&enc, &seg, 1), VBB_E_STATE);
	assert_int_equal(vbb_enc_put_value(&enc, 1), VBB_E_STATE);
	assert_int_equal(vbb_enc_put(&enc, &r), 0);
	assert_int_equal(r.nr_pages, 0);
	assert_int_equal(vbb_enc_finish(&enc, 0, &msg), 0);
	assert_int_equal(msg.len, VBB_HDR_LEN + 8);
	assert_int_equal(vbb_enc_finish(&enc, 0, &msg), VBB_E_STATE);
	r.nr_pages = 1;
	assert_int_equal(vbb_enc_put(&enc, &r), VBB_E_STATE);
	assert_int_equal(r.nr_pages, 1);
	assert_int_equal(b.pos, 0);
}

static void test_runs_that_are_none(void **state)
{
	static const struct vbb_range bad[] = {
		{ 0, 0 }, { 5, 0 }, { VBB_PFN_END, 1 }, { VBB_PFN_END, 0 }, { UINT64_MAX, 1 },
		{ 1, UINT64_MAX }, { UINT64_MAX, UINT64_MAX }, { 0, VBB_PFN_END + 1 },
		{ 1, VBB_PFN_END }, { VBB_PFN_END - 1, 2 },
	};
	uint8_t bytes[256];
	const struct vbb_seg seg = { bytes, sizeof(bytes) };
	struct vbb_msg msg;
	uint16_t shift;
	size_t i, k;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(page_formats); i++) {
		struct vbb_enc_cfg cfg = config(page_formats[i]);

		assert_int_equal(vbb_enc_init(&enc, &cfg, &seg, 1), 0);
		for (k = 0; k < ARRAY_SIZE(bad); k++) {
			struct vbb_range r = bad[k];

			assert_int_equal(vbb_enc_put(&enc, &r), VBB_E_INVAL);
			assert_memory_equal(&r, &bad[k], sizeof(r));
		}
		assert_int_equal(vbb_enc_finish(&enc, 0, &msg), 0);
		assert_int_equal(msg.len, 0);
	}
	/* larger pages have fewer numbers, frames of the old format 32 bits */
	for (shift = 12; shift <= 30; shift++) {
		struct vbb_enc_cfg cfg = config(VBB_FMT_RECORDS);
		const uint64_t end = vbb_pfn_end(shift);
		struct vbb_range r = { end - 1, 2 };

		cfg.page_shift = shift;
		assert_int_equal(vbb_enc_init(&enc, &cfg, &seg, 1), 0);
		assert_int_equal(vbb_enc_put(&enc, &r), VBB_E_INVAL);
		r.nr_pages = 1;
		assert_int_equal(vbb_enc_put(&enc, &r), 0);
	}
	for (i = 0; i < 2; i++) {
		const struct vbb_enc_cfg cfg = config(VBB_FMT_PFNS);
		struct vbb_range r = { UINT32_MAX, 1 + i };

		assert_int_equal(vbb_enc_init(&enc, &cfg, &seg, 1), 0);
		assert_int_equal(vbb_enc_put(&enc, &r), i ? VBB_E_INVAL : 0);
		assert_int_equal(vbb_enc_finish(&enc, 0, &msg), 0);
		assert_int_equal(msg.len, i ? 0 : 4);
	}
}

/*
 * Runs in any order, in messages as large as a buffer lets them be: no page is lost, none comes to
 * it, no byte behind a message is touched. The buffer is the allocation, so that sanitizers watch.
 */
static void put_all(uint32_t formats, size_t len, uint64_t *seed, size_t nr_runs)
{
	const struct vbb_enc_cfg cfg = config(formats);
	struct set put = { 0 }, got = { 0 };
	size_t nr_msgs = 0, i;
	struct vbb_seg seg = { malloc(len ? len : 1), len };
	struct vbb_msg msg;
	bool more = true;

	assert_non_null(seg.base);
	assert_int_equal(vbb_enc_init(&enc, &cfg, &seg, 1),
			 len < len_min(formats) ? VBB_E_TOOSMALL : 0);
	if (len >= len_min(formats)) {
		struct vbb_range r = random_run(seed);

		set_add(&put, &r);
		while (more) {
			int err;

			memset(seg.base, 0xa5, len);
			while (!(err = vbb_enc_put(&enc, &r)) && (more = --nr_runs > 0)) {
				assert_int_equal(r.nr_pages, 0);
				r = random_run(seed);
				set_add(&put, &r);
			}
			assert_true(!err || err == VBB_E_NOSPC);
			assert_int_equal(vbb_enc_finish(&enc, 0, &msg), 0);
			/* each message takes something, or this would not end */
			assert_true(msg.len > (formats == VBB_FMT_PFNS ? 0 : VBB_HDR_LEN));
			assert_true(msg.len <= len);
			for (i = (size_t)msg.len; i < len; i++)
				assert_int_equal(((uint8_t *)seg.base)[i], 0xa5);
			seg.len = (size_t)msg.len;
			decode(&got, &msg, &seg, 1);
			seg.len = len;
			nr_msgs++;
			if (more)
				assert_int_equal(vbb_enc_next(&enc, &seg, 1), 0);
		}
		assert_true(nr_msgs > 0);
		assert_memory_equal(&put, &got, sizeof(put));
	}
	free(seg.base);
}

static void test_buffers_of_every_size(void **state)
{
	uint64_t seed = 1;
	size_t len, i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(page_formats); i++) {
		for (len = 0; len < 600; len += len < 160 ? 1 : 13)
			put_all(page_formats[i], len, &seed, 60);
		put_all(page_formats[i], 8192, &seed, 3000);
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
		decode(&got, &msg, &seg, 1);
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
		decode(&got, &msg, &seg, 1);
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
	decode(&got, &msg, &seg, 1);
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
	decode(&got, &msg, &seg, 1);
	assert_memory_equal(&put, &got, sizeof(put));
}

static void test_every_cut(void **state)
{
	/* a block, an extent, a bitmap */
	static const struct vbb_range runs[] = {
		{ 0x200, 8 }, { 7, 5 }, { 0x100, 3 }, { 0x110, 2 }
	};
	size_t a, b, i, k;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(page_formats); i++) {
		const struct vbb_enc_cfg cfg = config(page_formats[i]);
		uint8_t whole[160] = { 0 }, cut_bytes[160] = { 0 };
		const struct vbb_seg seg = { whole, sizeof(whole) };
		struct vbb_msg msg, cut_msg;
		struct test_cut cut;
		struct vbb_range r;

		assert_int_equal(vbb_enc_init(&enc, &cfg, &seg, 1), 0);
		for (k = 0; k < ARRAY_SIZE(runs); k++) {
			r = runs[k];
			assert_int_equal(vbb_enc_put(&enc, &r), 0);
		}
		assert_int_equal(vbb_enc_finish(&enc, 0, &msg), 0);
		for (a = 0; a <= sizeof(whole); a++) {
			for (b = a; b <= sizeof(whole); b++) {
				test_cut_at(&cut, cut_bytes, sizeof(cut_bytes), a, b);
				assert_int_equal(vbb_enc_init(&enc, &cfg, cut.seg, cut.nr_segs), 0);
				for (k = 0; k < ARRAY_SIZE(runs); k++) {
					r = runs[k];
					assert_int_equal(vbb_enc_put(&enc, &r), 0);
				}
				assert_int_equal(vbb_enc_finish(&enc, 0, &cut_msg), 0);
				assert_int_equal(cut_msg.len, msg.len);
				test_cut_join(&cut, cut_bytes);
				assert_memory_equal(cut_bytes, whole, sizeof(whole));
				memset(cut_bytes, 0, sizeof(cut_bytes));
			}
		}
	}
}

/* A buffer as large as the bound takes so many runs, wherever they lie. */
static void test_bound(void **state)
{
	static const uint32_t formats[] = { VBB_FMT_RECORDS, VBB_FMT_AUTO, VBB_FMT_QUICK };
	uint64_t seed = 3, nr, i;
	size_t k;

	(void)state;
	for (nr = 0; nr <= 1 << 15; nr++)
		assert_int_equal(vbb_enc_bound(nr), VBB_ENC_BOUND(nr));
	assert_int_equal(vbb_enc_bound(1 << 16), VBB_HDR_LEN + VIRTIO_BALLOON_BMAP_LEN_MAX);
	assert_int_equal(vbb_enc_bound((1 << 16) + 1), VBB_HDR_LEN + VIRTIO_BALLOON_BMAP_LEN_MAX);
	assert_int_equal(vbb_enc_bound(UINT64_MAX), VBB_HDR_LEN + VIRTIO_BALLOON_BMAP_LEN_MAX);
	for (k = 0; k < ARRAY_SIZE(formats); k++) {
		const struct vbb_enc_cfg cfg = config(formats[k]);

		for (nr = 1; nr < 6000; nr += 1 + nr / 3) {
			size_t len = (size_t)VBB_ENC_BOUND(nr);
			struct vbb_seg seg = { malloc(len), len };
			uint64_t gap = 4 + ((VBB_PFN_END / nr - 4) >> test_below(&seed, 53));
			uint64_t nr_pages = 0;
			struct vbb_msg msg;

			assert_non_null(seg.base);
			assert_int_equal(vbb_enc_init(&enc, &cfg, &seg, 1), 0);
			for (i = 0; i < nr; i++) {
				/* from both ends inwards, none touches another */
				struct vbb_range r = { gap * (i % 2 ? nr - 1 - i / 2 : i / 2),
						       1 + test_below(&seed, 3) };

				nr_pages += r.nr_pages;
				assert_int_equal(vbb_enc_put(&enc, &r), 0);
			}
			assert_int_equal(vbb_enc_finish(&enc, 0, &msg), 0);
			assert_true(msg.len <= len);
			assert_int_equal(msg.nr_pages, nr_pages);
			free(seg.base);
		}
	}
}

/* A BITMAP message has one stretch of pages: what lies before or far behind waits for the next. */
static void test_bitmap_out_of_order(void **state)
{
	const struct vbb_enc_cfg cfg = config(VBB_FMT_BITMAP);
	uint8_t bytes[VBB_HDR_LEN + 16];
	const struct vbb_seg seg = { bytes, sizeof(bytes) };
	struct vbb_range r = { 1000, 1 };
	struct vbb_msg msg;

	(void)state;
	assert_int_equal(vbb_enc_init(&enc, &cfg, &seg, 1), 0);
	assert_int_equal(vbb_enc_put(&enc, &r), 0);
	/* before it, still in the buffer's reach */
	r = (struct vbb_range){ 970, 2 };
	assert_int_equal(vbb_enc_put(&enc, &r), 0);
	r = (struct vbb_range){ 100, 1 };
	assert_int_equal(vbb_enc_put(&enc, &r), VBB_E_NOSPC);
	/* 128 pages from 960 on: its front is taken */
	r = (struct vbb_range){ 1080, 100 };
	assert_int_equal(vbb_enc_put(&enc, &r), VBB_E_NOSPC);
	assert_int_equal(r.pfn, 1088);
	assert_int_equal(r.nr_pages, 92);
	assert_int_equal(vbb_enc_finish(&enc, 0, &msg), 0);
	assert_int_equal(msg.nr_pages, 11);
	assert_int_equal(msg.len, sizeof(bytes));
	assert_int_equal(bytes[16] | bytes[17] << 8, 960);
	assert_int_equal(vbb_enc_next(&enc, &seg, 1), 0);
	assert_int_equal(vbb_enc_put(&enc, &r), 0);
	assert_int_equal(vbb_enc_finish(&enc, 0, &msg), 0);
	assert_int_equal(msg.nr_pages, 92);
}

/* A bitmap is what its bits are, from every bit and to every bit. */
static void test_put_bitmap(void **state)
{
	const struct vbb_enc_cfg cfg = config(VBB_FMT_RECORDS);
	uint8_t bytes[VBB_ENC_LEN_MIN + 64];
	uint64_t seed = 5;
	int i, k;

	(void)state;
	for (i = 0; i < 4000; i++) {
		struct vbb_seg seg = { bytes, VBB_ENC_LEN_MIN + test_index(&seed, 64) };
		struct set put = { 0 }, got = { 0 };
		uint64_t nr_bits = test_below(&seed, 400), dense = test_below(&seed, 3), bit;
		size_t len = (size_t)(nr_bits + 7) / 8;
		uint8_t *bits = malloc(len ? len : 1);
		struct vbb_bitmap b = { .bits = bits, .nr_bits = nr_bits };
		struct vbb_msg msg;
		int err;

		assert_non_null(bits);
		b.pfn = test_below(&seed, SPACE - 400);
		b.pos = nr_bits ? test_below(&seed, nr_bits) : 0;
		/* bits behind the last one do not count */
		for (k = 0; k < (int)len; k++)
			bits[k] = (uint8_t)(dense == 0 ? test_rand(&seed) :
					    dense == 1 ? test_rand(&seed) & test_rand(&seed) :
							 test_rand(&seed) | test_rand(&seed) |
							 test_rand(&seed));
		for (bit = b.pos; bit < nr_bits; bit++)
			put.page[b.pfn + bit] = bits[bit / 8] >> bit % 8 & 1;
		assert_int_equal(vbb_enc_init(&enc, &cfg, &seg, 1), 0);
		do {
			err = vbb_enc_put_bitmap(&enc, &b);
			assert_true(!err || err == VBB_E_NOSPC);
			assert_int_equal(vbb_enc_finish(&enc, 0, &msg), 0);
			assert_true(msg.len || !err);
			if (msg.len) {
				const struct vbb_seg out = { bytes, (size_t)msg.len };

				decode(&got, &msg, &out, 1);
			}
			assert_int_equal(vbb_enc_next(&enc, &seg, 1), 0);
		} while (err);
		assert_int_equal(b.pos, nr_bits);
		assert_memory_equal(&put, &got, sizeof(put));
		free(bits);
	}
}

static void test_put_bitmap_past_the_end(void **state)
{
	static const uint8_t bits[] = { 0x01, 0x80, 0x01 };
	static const struct {
		uint64_t pfn, pos;
	} bad[] = {
		/* where it stops: at bit 15, at bit 16, at once, and at a pfn that would wrap */
		{ VBB_PFN_END - 15, 15 }, { VBB_PFN_END - 16, 15 }, { VBB_PFN_END, 0 },
		{ UINT64_MAX - 10, 0 }, { UINT64_MAX, 0 },
	};
	static const struct vbb_bitmap never[] = {
		{ bits + 1, 16, UINT64_MAX - 6, 0 }, { bits, VBB_PFN_END + 1, 0, 0 },
		{ bits, UINT64_MAX, 64, 0 }, { bits, 0, VBB_PFN_END + 1, 0 },
	};
	const struct vbb_enc_cfg cfg = config(VBB_FMT_RECORDS);
	uint8_t bytes[256];
	const struct vbb_seg seg = { bytes, sizeof(bytes) };
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		struct vbb_bitmap b = { .bits = bits, .nr_bits = 24, .pfn = bad[i].pfn };

		assert_int_equal(vbb_enc_init(&enc, &cfg, &seg, 1), 0);
		assert_int_equal(vbb_enc_put_bitmap(&enc, &b), VBB_E_INVAL);
		assert_true(b.pos <= bad[i].pos);
		assert_true(b.pos > 0 || bad[i].pos == 0);
		assert_int_equal(vbb_enc_put_bitmap(&enc, &b), VBB_E_INVAL);
	}
	for (i = 0; i < ARRAY_SIZE(never); i++) {
		struct vbb_bitmap b = never[i];

		assert_int_equal(vbb_enc_put_bitmap(&enc, &b), VBB_E_INVAL);
		assert_int_equal(b.pos, 0);
	}
}

static void test_values(void **state)
{
	struct vbb_enc_cfg cfg = config(VBB_FMT_VALUES);
	static const uint8_t expected[] = {
		1, 0, 12, 0, 1, 0, 2, 0, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
		16, 0, 0, 0, 0, 0, 0, 0, 0xef, 0xcd, 0xab, 0x89, 0x67, 0x45, 0x23, 0x01,
		0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
	};
	uint8_t bytes[VBB_HDR_LEN + 23];
	const struct vbb_seg seg = { bytes, sizeof(bytes) };
	struct vbb_bitmap b = { .bits = bytes, .nr_bits = 8 };
	struct vbb_range r = { 1, 1 };
	struct vbb_msg msg;

	(void)state;
	cfg.cmd = VIRTIO_BALLOON_CMD_DROP_CACHE;
	cfg.req_id = 9;
	assert_int_equal(vbb_enc_init(&enc, &cfg, &seg, 1), 0);
	assert_int_equal(vbb_enc_put(&enc, &r), VBB_E_STATE);
	assert_int_equal(vbb_enc_put_bitmap(&enc, &b), VBB_E_STATE);
	assert_int_equal(vbb_enc_put_value(&enc, 0x0123456789abcdef), 0);
	assert_int_equal(vbb_enc_put_value(&enc, UINT64_MAX), 0);
	assert_int_equal(vbb_enc_put_value(&enc, 1), VBB_E_NOSPC);
	assert_int_equal(vbb_enc_finish(&enc, VIRTIO_BALLOON_FLAG_DONE, &msg), 0);
	assert_int_equal(msg.len, sizeof(expected));
	assert_int_equal(msg.format, VBB_FMT_VALUES);
	assert_int_equal(msg.nr_pages, 0);
	assert_memory_equal(bytes, expected, sizeof(expected));
}

/* Which flag goes with what: CONT and DONE with a payload, none at all in the old format */
/* However large the buffer is, a payload has 2^20 bytes at most. */
static void test_largest_payload(void **state)
{
	const uint64_t nr_bits = 8 * (uint64_t)VIRTIO_BALLOON_BMAP_LEN_MAX;
	const size_t len = VBB_HDR_LEN + VIRTIO_BALLOON_BMAP_LEN_MAX;
	struct vbb_enc_cfg cfg = config(VBB_FMT_BITMAP);
	struct vbb_seg seg = { malloc(len + 8), len + 8 };
	struct vbb_range r = { 0, nr_bits + 1 };
	struct vbb_msg msg;
	uint64_t i;

	(void)state;
	assert_non_null(seg.base);
	assert_int_equal(vbb_enc_init(&enc, &cfg, &seg, 1), 0);
	assert_int_equal(vbb_enc_put(&enc, &r), VBB_E_NOSPC);
	assert_int_equal(r.pfn, nr_bits);
	assert_int_equal(r.nr_pages, 1);
	assert_int_equal(vbb_enc_finish(&enc, 0, &msg), 0);
	assert_int_equal(msg.len, len);

	cfg.formats = VBB_FMT_VALUES;
	assert_int_equal(vbb_enc_init(&enc, &cfg, &seg, 1), 0);
	for (i = 0; i < VIRTIO_BALLOON_BMAP_LEN_MAX / 8; i++)
		assert_int_equal(vbb_enc_put_value(&enc, i), 0);
	assert_int_equal(vbb_enc_put_value(&enc, i), VBB_E_NOSPC);
	assert_int_equal(vbb_enc_finish(&enc, 1, &msg), 0);
	assert_int_equal(msg.len, len);
	free(seg.base);
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

static void test_flags(void **state)
{
	static const uint32_t formats[] = {
		VBB_FMT_BITMAP, VBB_FMT_RECORDS, VBB_FMT_AUTO, VBB_FMT_QUICK, VBB_FMT_VALUES,
		VBB_FMT_PFNS
	};
	uint8_t bytes[256];
	const struct vbb_seg seg = { bytes, sizeof(bytes) };
	uint32_t flag, put;
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(formats); i++) {
		for (flag = 0; flag < 1 << 16; flag += flag < 16 ? 1 : 4093) {
			for (put = 0; put < 2; put++) {
				struct vbb_enc_cfg cfg = config(formats[i]);
				struct vbb_range r = { 3, 2 };
				struct vbb_msg msg;
				bool good = flag <= (put ? VIRTIO_BALLOON_FLAG_DONE :
							   VIRTIO_BALLOON_FLAG_FAILED);

				if (formats[i] == VBB_FMT_PFNS)
					good = !flag;
				assert_int_equal(vbb_enc_init(&enc, &cfg, &seg, 1), 0);
				if (put && formats[i] == VBB_FMT_VALUES)
					assert_int_equal(vbb_enc_put_value(&enc, 7), 0);
				else if (put)
					assert_int_equal(vbb_enc_put(&enc, &r), 0);
				assert_int_equal(vbb_enc_finish(&enc, (uint16_t)flag, &msg),
						 good ? 0 : VBB_E_INVAL);
				/* refused: the message is still there */
				if (!good)
					assert_int_equal(vbb_enc_finish(&enc, 0, &msg), 0);
				assert_int_equal(msg.len > 0, put || (good && flag));
				if (!put && msg.len)
					assert_int_equal(msg.len, VBB_HDR_LEN);
			}
		}
	}
}

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
		cmocka_unit_test(test_configurations),
		cmocka_unit_test(test_states),
		cmocka_unit_test(test_runs_that_are_none),
		cmocka_unit_test(test_buffers_of_every_size),
		cmocka_unit_test(test_more_runs_than_are_held_back),
		cmocka_unit_test(test_a_bitmap_that_goes_on),
		cmocka_unit_test(test_a_bitmap_and_late_runs),
		cmocka_unit_test(test_a_bitmap_that_is_nearly_the_least),
		cmocka_unit_test(test_every_cut),
		cmocka_unit_test(test_bound),
		cmocka_unit_test(test_bitmap_out_of_order),
		cmocka_unit_test(test_put_bitmap),
		cmocka_unit_test(test_put_bitmap_past_the_end),
		cmocka_unit_test(test_values),
		cmocka_unit_test(test_largest_payload),
		cmocka_unit_test(test_full_and_empty_words),
		cmocka_unit_test(test_flags),
		cmocka_unit_test(test_vectors),
		cmocka_unit_test(test_an_order_of_few),
		cmocka_unit_test(test_quick),
		cmocka_unit_test(test_quick_does_not_search),
		cmocka_unit_test(test_broken_promise),
		cmocka_unit_test(test_bitmap_of_an_order),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
