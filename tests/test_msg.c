// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause
#include "test.h"

static const struct {
	uint8_t bytes[VBB_HDR_LEN];
	struct vbb_hdr hdr;
} headers[] = {
	{	/* an inflate message: bitmap from pfn 0x100000, 32 KiB */
		{ 0, 0, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
		  0, 0, 0x10, 0, 0, 0, 0, 0, 0, 0x80, 0, 0, 0, 0, 0, 0 },
		{ .page_shift = 12, .start_pfn = 0x100000, .bmap_len = 32768 },
	}, {	/* an answer that ends its request */
		{ 0, 0, 12, 0, 1, 0, 0, 0, 0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11,
		  0, 0, 4, 0, 0, 0, 0, 0, 0, 0x80, 0, 0, 0, 0, 0, 0 },
		{ .page_shift = 12, .flag = VIRTIO_BALLOON_FLAG_DONE, .req_id = 0x1122334455667788,
		  .start_pfn = 0x40000, .bmap_len = 32768 },
	}, {	/* records, 8 bytes */
		{ 0, 0, 12, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0,
		  0, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0 },
		{ .page_shift = 12, .format = VIRTIO_BALLOON_FORMAT_RECORDS, .bmap_len = 8 },
	}, {	/* no field like another: loading checks nothing */
		{ 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16,
		  17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 255 },
		{ .cmd = 0x0201, .page_shift = 0x0403, .flag = 0x0605, .format = 0x0807,
		  .req_id = 0x100f0e0d0c0b0a09, .start_pfn = 0x1817161514131211,
		  .bmap_len = 0xff1f1e1d1c1b1a19 },
	},
};

static void assert_hdr_equal(const struct vbb_hdr *a, const struct vbb_hdr *b)
{
	assert_int_equal(a->cmd, b->cmd);
	assert_int_equal(a->page_shift, b->page_shift);
	assert_int_equal(a->flag, b->flag);
	assert_int_equal(a->format, b->format);
	assert_int_equal(a->req_id, b->req_id);
	assert_int_equal(a->start_pfn, b->start_pfn);
	assert_int_equal(a->bmap_len, b->bmap_len);
}

/* VBB-MSG-04 */
static void test_header_loads_over_every_cut(void **state)
{
	size_t i, a, b;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(headers); i++) {
		struct test_cut cut;

		test_for_each_cut(&cut, headers[i].bytes, VBB_HDR_LEN, a, b) {
			struct vbb_hdr hdr;
			struct vbb_cur c;

			memset(&hdr, 0xee, sizeof(hdr));
			vbb_cur_init(&c, cut.seg, cut.nr_segs);
			assert_int_equal(vbb_hdr_load(&hdr, &c), 0);
			assert_int_equal(c.left, 0);
			assert_hdr_equal(&hdr, &headers[i].hdr);
		}
	}
}

static void test_header_stores_over_every_cut(void **state)
{
	static const uint8_t blank[VBB_HDR_LEN];
	size_t i, a, b;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(headers); i++) {
		for (a = 0; a <= VBB_HDR_LEN; a++) {
			for (b = a; b <= VBB_HDR_LEN; b++) {
				uint8_t out[VBB_HDR_LEN];
				struct test_cut cut;
				struct vbb_cur c;

				test_cut_at(&cut, blank, VBB_HDR_LEN, a, b);
				vbb_cur_init(&c, cut.seg, cut.nr_segs);
				assert_int_equal(vbb_hdr_store(&headers[i].hdr, &c), 0);
				assert_int_equal(c.left, 0);
				test_cut_join(&cut, out);
				assert_memory_equal(out, headers[i].bytes, VBB_HDR_LEN);
			}
		}
	}
}

static void test_header_needs_32_bytes(void **state)
{
	uint8_t bytes[VBB_HDR_LEN];
	size_t len;

	(void)state;
	for (len = 0; len < VBB_HDR_LEN; len++) {
		const struct vbb_seg seg = { bytes, len };
		struct vbb_hdr hdr = headers[1].hdr;
		struct vbb_cur c;

		memset(bytes, 0xee, sizeof(bytes));
		vbb_cur_init(&c, &seg, 1);
		assert_int_equal(vbb_hdr_load(&hdr, &c), VBB_E_SHORT);
		assert_hdr_equal(&hdr, &headers[1].hdr);
		assert_int_equal(vbb_hdr_store(&hdr, &c), VBB_E_TOOSMALL);
		assert_int_equal(c.left, len);
		assert_int_equal(c.off, 0);
		assert_int_equal(bytes[0], 0xee);
	}
}

static void test_header_leaves_the_cursor_before_the_payload(void **state)
{
	uint8_t bytes[VBB_HDR_LEN + 8] = { 0 };
	const struct vbb_seg seg = { bytes, sizeof(bytes) };
	struct vbb_hdr hdr;
	struct vbb_cur c;

	(void)state;
	bytes[VBB_HDR_LEN] = 0x5a;
	vbb_cur_init(&c, &seg, 1);
	assert_int_equal(vbb_hdr_load(&hdr, &c), 0);
	assert_int_equal(c.left, 8);
	assert_int_equal(vbb_cur_load64(&c), 0x5a);
}

static void test_flags_that_end(void **state)
{
	uint32_t flag;

	(void)state;
	for (flag = 0; flag <= UINT16_MAX; flag++)
		assert_int_equal(vbb_flag_ends((vbb_u16)flag), flag >= 1 && flag <= 5);
	assert_false(vbb_flag_ends(VIRTIO_BALLOON_FLAG_CONT));
	assert_true(vbb_flag_ends(VIRTIO_BALLOON_FLAG_DONE));
	assert_true(vbb_flag_ends(VIRTIO_BALLOON_FLAG_FAILED));
}

/* 0x8877665544332211 pages, PARTIAL, 2 MiB at a time */
static const uint8_t result_bytes[VBB_RESULT_LEN] = {
	0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88, 1, 0, 21, 0, 0, 0, 0, 0
};

static const struct vbb_result result = {
	.nr_pages = 0x8877665544332211, .status = VIRTIO_BALLOON_STATUS_PARTIAL, .discard_shift = 21
};

static void test_result_loads_over_every_cut(void **state)
{
	struct test_cut cut;
	size_t a, b;

	(void)state;
	test_for_each_cut(&cut, result_bytes, sizeof(result_bytes), a, b) {
		struct vbb_result r = { 0 };

		assert_int_equal(vbb_result_load(&r, cut.seg, cut.nr_segs), 0);
		assert_int_equal(r.nr_pages, result.nr_pages);
		assert_int_equal(r.status, result.status);
		assert_int_equal(r.discard_shift, result.discard_shift);
	}
}

static void test_result_stores_over_every_cut(void **state)
{
	size_t a, b;

	(void)state;
	for (a = 0; a <= VBB_RESULT_LEN; a++) {
		for (b = a; b <= VBB_RESULT_LEN; b++) {
			uint8_t out[VBB_RESULT_LEN];
			struct test_cut cut;

			memset(out, 0xee, sizeof(out));
			test_cut_at(&cut, out, sizeof(out), a, b);
			assert_int_equal(vbb_result_store(&result, cut.seg, cut.nr_segs),
					 VBB_RESULT_LEN);
			test_cut_join(&cut, out);
			assert_memory_equal(out, result_bytes, VBB_RESULT_LEN);
		}
	}
}

/* VBB-DEV-02, VBB-DEV-16 */
static void test_result_writes_16_bytes_of_more_and_none_of_less(void **state)
{
	size_t len, i;

	(void)state;
	for (len = 0; len <= 2 * VBB_RESULT_LEN; len++) {
		uint8_t bytes[2 * VBB_RESULT_LEN];
		const struct vbb_seg seg = { bytes, len };
		size_t written = len < VBB_RESULT_LEN ? 0 : VBB_RESULT_LEN;
		struct vbb_result r;

		memset(bytes, 0xee, sizeof(bytes));
		assert_int_equal(vbb_result_store(&result, &seg, 1), written);
		assert_memory_equal(bytes, result_bytes, written);
		for (i = written; i < sizeof(bytes); i++)
			assert_int_equal(bytes[i], 0xee);
		assert_int_equal(vbb_result_load(&r, &seg, 1), written ? 0 : VBB_E_SHORT);
	}
}

/* VBB-DRV-03, VBB-MSG-02 */
static void test_result_faults(void **state)
{
	uint8_t bytes[VBB_RESULT_LEN];
	const struct vbb_seg seg = { bytes, sizeof(bytes) };
	struct vbb_result r;
	uint32_t status;
	size_t i;

	(void)state;
	for (i = 12; i < VBB_RESULT_LEN; i++) {
		memcpy(bytes, result_bytes, sizeof(bytes));
		bytes[i] = 0x80;
		assert_int_equal(vbb_result_load(&r, &seg, 1), VBB_E_RESERVED);
	}
	memcpy(bytes, result_bytes, sizeof(bytes));
	for (status = 0; status <= UINT16_MAX; status++) {
		bytes[8] = (uint8_t)(status & 0xff);
		bytes[9] = (uint8_t)(status >> 8);
		assert_int_equal(vbb_result_load(&r, &seg, 1), status <= 3 ? 0 : VBB_E_STATUS);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_header_loads_over_every_cut),
		cmocka_unit_test(test_header_stores_over_every_cut),
		cmocka_unit_test(test_header_needs_32_bytes),
		cmocka_unit_test(test_header_leaves_the_cursor_before_the_payload),
		cmocka_unit_test(test_flags_that_end),
		cmocka_unit_test(test_result_loads_over_every_cut),
		cmocka_unit_test(test_result_stores_over_every_cut),
		cmocka_unit_test(test_result_writes_16_bytes_of_more_and_none_of_less),
		cmocka_unit_test(test_result_faults),
	};

	return cmocka_run_group_tests_name("msg", tests, NULL, NULL);
}
