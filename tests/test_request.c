// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause
#include "test.h"

static const uint8_t req_bytes[VBB_REQ_LEN] = {
	2, 1, 0, 0, 0, 0, 0, 0, 0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11,
	1, 2, 3, 4, 5, 6, 7, 8, 0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 0x18
};

static const struct vbb_req request = {
	.cmd = 0x0102, .id = 0x1122334455667788, .arg0 = 0x0807060504030201,
	.arg1 = 0x1817161514131211
};

static void assert_req_equal(const struct vbb_req *a, const struct vbb_req *b)
{
	assert_int_equal(a->cmd, b->cmd);
	assert_int_equal(a->id, b->id);
	assert_int_equal(a->arg0, b->arg0);
	assert_int_equal(a->arg1, b->arg1);
}

static void test_load_over_every_cut(void **state)
{
	struct vbb_req short_req = request;
	struct test_cut cut;
	size_t a, b;

	(void)state;
	short_req.arg0 = 0;
	short_req.arg1 = 0;
	test_for_each_cut(&cut, req_bytes, VBB_REQ_LEN, a, b) {
		struct vbb_req req;

		memset(&req, 0xee, sizeof(req));
		assert_int_equal(vbb_req_load(&req, cut.seg, cut.nr_segs, 32), 0);
		assert_req_equal(&req, &request);
		memset(&req, 0xee, sizeof(req));
		assert_int_equal(vbb_req_load(&req, cut.seg, cut.nr_segs, 16), 0);
		assert_req_equal(&req, &short_req);
	}
}

/* VBB-DRV-08 */
static void test_wrong_lengths(void **state)
{
	uint8_t bytes[64] = { 0 };
	struct vbb_seg seg = { bytes, 0 };
	struct vbb_req req;
	uint64_t used;

	(void)state;
	memcpy(bytes, req_bytes, VBB_REQ_LEN);
	for (seg.len = 0; seg.len <= sizeof(bytes); seg.len++) {
		for (used = 0; used <= 80; used++) {
			bool good = (used == 16 || used == 32) && used <= seg.len;

			assert_int_equal(vbb_req_load(&req, &seg, 1, used), good ? 0 : VBB_E_LEN);
			/* The answer FAILED to a malformed request needs its id. */
			if (used >= 16 && seg.len >= 16) {
				assert_int_equal(req.cmd, request.cmd);
				assert_int_equal(req.id, request.id);
			}
		}
		assert_int_equal(vbb_req_load(&req, &seg, 1, (uint64_t)1 << 32 | 16), VBB_E_LEN);
		assert_int_equal(vbb_req_load(&req, &seg, 1, UINT64_MAX), VBB_E_LEN);
	}
	assert_int_equal(vbb_req_load(&req, NULL, 0, 0), VBB_E_LEN);
	assert_int_equal(vbb_req_load(&req, NULL, 0, 16), VBB_E_LEN);
}

/* VBB-DRV-08: what is in a buffer that is too short for the used length, and what becomes of it */
static void test_more_than_the_buffer_has(void **state)
{
	static const struct {
		size_t len;
		uint64_t used;
		uint8_t id;
		int err;
		bool answered;
	} rows[] = {
		{ 24, 32, 7, VBB_E_LEN, true },
		{ 16, 32, 7, VBB_E_LEN, true },
		{ 24, UINT64_MAX, 7, VBB_E_LEN, true },
		{ 24, 32, 0, VBB_E_REQ_ID, false },
		{ 15, 32, 7, VBB_E_LEN, false },
		{ 15, 16, 7, VBB_E_LEN, false },
		{ 32, 15, 7, VBB_E_LEN, false },
	};
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(rows); i++) {
		uint8_t bytes[VBB_REQ_LEN] = { 0 };
		const struct vbb_seg seg = { bytes, rows[i].len };
		struct vbb_guest g;
		struct vbb_req req;
		struct vbb_hdr hdr;

		bytes[8] = rows[i].id;
		vbb_guest_init(&g);
		assert_int_equal(vbb_req_load(&req, &seg, 1, rows[i].used), rows[i].err);
		assert_int_equal(vbb_guest_take(&g, &req, rows[i].err), rows[i].err);
		assert_int_equal(vbb_guest_next_end(&g, &hdr), rows[i].answered);
		if (!rows[i].answered)
			continue;
		assert_int_equal(hdr.req_id, rows[i].id);
		assert_int_equal(hdr.flag, VIRTIO_BALLOON_FLAG_FAILED);
		/* not answered yet, so open: which comes before its length */
		assert_int_equal(vbb_guest_take(&g, &req, rows[i].err), VBB_E_REQ_OPEN);
	}
}

/* VBB-MSG-02, VBB-DRV-08 */
static void test_reserved_bits_and_id(void **state)
{
	uint8_t bytes[VBB_REQ_LEN];
	const struct vbb_seg seg = { bytes, sizeof(bytes) };
	struct vbb_req req;
	size_t i;

	(void)state;
	for (i = 16; i < 64; i++) {
		memcpy(bytes, req_bytes, sizeof(bytes));
		bytes[i / 8] = (uint8_t)(1 << i % 8);
		assert_int_equal(vbb_req_load(&req, &seg, 1, 16), VBB_E_RESERVED);
		assert_int_equal(vbb_req_load(&req, &seg, 1, 32), VBB_E_RESERVED);
		assert_int_equal(req.cmd, request.cmd);
		assert_int_equal(req.id, request.id);
	}
	for (i = 0; i < 64; i++) {
		memcpy(bytes, req_bytes, sizeof(bytes));
		memset(bytes + 8, 0, 8);
		assert_int_equal(vbb_req_load(&req, &seg, 1, 32), VBB_E_REQ_ID);
		assert_int_equal(req.id, 0);
		bytes[8 + i / 8] = (uint8_t)(1 << i % 8);
		assert_int_equal(vbb_req_load(&req, &seg, 1, 32), 0);
		assert_int_equal(req.id, vbb_pow2((uint32_t)i));
	}
}

static void test_store_over_every_cut(void **state)
{
	size_t a, b;

	(void)state;
	for (a = 0; a <= VBB_REQ_LEN; a++) {
		for (b = a; b <= VBB_REQ_LEN; b++) {
			uint8_t out[VBB_REQ_LEN];
			struct test_cut cut;

			memset(out, 0xee, sizeof(out));
			test_cut_at(&cut, out, sizeof(out), a, b);
			assert_int_equal(vbb_req_store(&request, cut.seg, cut.nr_segs),
					 VBB_REQ_LEN);
			test_cut_join(&cut, out);
			assert_memory_equal(out, req_bytes, sizeof(out));
		}
	}
}

/* VBB-DEV-17 */
static void test_store_takes_as_little_as_it_can(void **state)
{
	/* GET_UNUSED_PAGES, id 0x1122334455667788, no arguments */
	static const uint8_t wire[VBB_REQ_HDR_LEN] = {
		0, 0, 0, 0, 0, 0, 0, 0, 0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11
	};
	struct vbb_req req = {
		.cmd = VIRTIO_BALLOON_CMD_GET_UNUSED_PAGES, .id = 0x1122334455667788
	};
	uint8_t bytes[VBB_REQ_LEN];
	struct vbb_seg seg = { bytes, 0 };
	size_t i;

	(void)state;
	for (seg.len = 0; seg.len <= sizeof(bytes); seg.len++) {
		size_t written = seg.len < 16 ? 0 : 16;

		memset(bytes, 0xee, sizeof(bytes));
		assert_int_equal(vbb_req_store(&req, &seg, 1), written ? 16 : VBB_E_TOOSMALL);
		assert_memory_equal(bytes, wire, written);
		for (i = written; i < sizeof(bytes); i++)
			assert_int_equal(bytes[i], 0xee);
	}
	for (i = 0; i < 2; i++) {
		req.arg0 = i == 0;
		req.arg1 = i == 1;
		seg.len = sizeof(bytes);
		assert_int_equal(vbb_req_store(&req, &seg, 1), 32);
		assert_int_equal(bytes[16 + 8 * i], 1);
		seg.len--;
		memset(bytes, 0xee, sizeof(bytes));
		assert_int_equal(vbb_req_store(&req, &seg, 1), VBB_E_TOOSMALL);
		assert_int_equal(bytes[0], 0xee);
	}
	req.id = 0;
	seg.len = sizeof(bytes);
	assert_int_equal(vbb_req_store(&req, &seg, 1), VBB_E_INVAL);
	assert_int_equal(bytes[0], 0xee);
}

/* VBB-DRV-18, VBB-DEV-15 */
static void test_queue_comes_after_those_of_standard_features(void **state)
{
	/* statistics, hints and reporting bring a queue; deflate-on-oom and poison do not */
	static const struct {
		uint64_t offered;
		uint32_t index;
	} rows[] = {
		{ 0, 2 }, { 1 << 1, 3 }, { 1 << 3, 3 }, { 1 << 5, 3 }, { 1 << 1 | 1 << 3, 4 },
		{ 1 << 1 | 1 << 5, 4 }, { 1 << 3 | 1 << 5, 4 }, { 1 << 1 | 1 << 3 | 1 << 5, 5 },
	};
	const uint64_t others = ~(uint64_t)(1 << 1 | 1 << 3 | 1 << 5);
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(rows); i++) {
		assert_int_equal(vbb_vq_host_request(rows[i].offered), rows[i].index);
		assert_int_equal(vbb_vq_host_request(rows[i].offered | others), rows[i].index);
	}
}

/* VBB-DRV-01, VBB-DEV-01 */
static void test_features_without_what_they_need_go(void **state)
{
	const uint64_t ours = (uint64_t)7 << 60 | (uint64_t)1 << 32;
	uint32_t set;

	(void)state;
	for (set = 0; set < 16; set++) {
		bool version_1 = set & 1, bitmap = set & 2, req = set & 4, records = set & 8;
		uint64_t in = (uint64_t)version_1 << 32 | (uint64_t)bitmap << 60 |
			      (uint64_t)req << 61 | (uint64_t)records << 62;
		uint64_t out = (uint64_t)version_1 << 32;

		if (version_1 && bitmap)
			out = in;
		assert_int_equal(vbb_features_check(in), out);
		/* The bits of others stay as they are. */
		assert_int_equal(vbb_features_check(in | ~ours), out | ~ours);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_load_over_every_cut),
		cmocka_unit_test(test_wrong_lengths),
		cmocka_unit_test(test_more_than_the_buffer_has),
		cmocka_unit_test(test_reserved_bits_and_id),
		cmocka_unit_test(test_store_over_every_cut),
		cmocka_unit_test(test_store_takes_as_little_as_it_can),
		cmocka_unit_test(test_queue_comes_after_those_of_standard_features),
		cmocka_unit_test(test_features_without_what_they_need_go),
	};

	return cmocka_run_group_tests_name("request", tests, NULL, NULL);
}
