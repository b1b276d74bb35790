// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause
/* The encoder as a caller meets it: arguments, states, and buffers of every size and cut. */
#include "page_set.h"

static const uint32_t page_formats[] = {
	VBB_FMT_BITMAP, VBB_FMT_RECORDS, VBB_FMT_AUTO, VBB_FMT_QUICK, VBB_FMT_PFNS
};

static struct vbb_enc enc;

static size_t len_min(uint32_t formats)
{
	return formats == VBB_FMT_PFNS ? 4 : VBB_ENC_LEN_MIN;
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
			set_decode(&got, &msg, &seg, 1);
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

				set_decode(&got, &msg, &out, 1);
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

/* Which flag goes with what: CONT and DONE with a payload, none at all in the old format */
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_configurations),
		cmocka_unit_test(test_states),
		cmocka_unit_test(test_runs_that_are_none),
		cmocka_unit_test(test_buffers_of_every_size),
		cmocka_unit_test(test_every_cut),
		cmocka_unit_test(test_bound),
		cmocka_unit_test(test_bitmap_out_of_order),
		cmocka_unit_test(test_put_bitmap),
		cmocka_unit_test(test_put_bitmap_past_the_end),
		cmocka_unit_test(test_values),
		cmocka_unit_test(test_largest_payload),
		cmocka_unit_test(test_flags),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
