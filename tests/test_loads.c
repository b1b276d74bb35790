// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause
/*
 * Built, with the core, with VBB_COUNT_LOADS: every load of shared memory tells us where. The peer
 * can change a byte between two loads of it, so there must never be two.
 */
#include "message.h"
#include "oracle.h"

static const uint8_t *watched;
static size_t watched_len;
static uint8_t nr_loads[sizeof(((struct message *)NULL)->bytes)];
static size_t nr_twice, nr_outside;

void vbb_count_load(const void *p, unsigned int len)
{
	size_t off = (size_t)((const uint8_t *)p - watched);

	if (off >= watched_len || len > watched_len - off) {
		nr_outside++;
		return;
	}
	for (; len; len--, off++)
		nr_twice += nr_loads[off]++ != 0;
}

static void watch(const uint8_t *p, size_t len)
{
	watched = p;
	watched_len = len;
	nr_twice = 0;
	nr_outside = 0;
	memset(nr_loads, 0, sizeof(nr_loads));
}

static size_t nr_loaded(void)
{
	size_t i, nr = 0;

	for (i = 0; i < sizeof(nr_loads); i++)
		nr += nr_loads[i];
	return nr;
}

static void assert_loaded_once(void)
{
	assert_int_equal(nr_twice, 0);
	assert_int_equal(nr_outside, 0);
}

/* Up to 8 pieces of one buffer */
static size_t cut_in_place(uint8_t *p, size_t len, struct vbb_seg *seg, uint64_t *seed)
{
	size_t nr, off = 0, nr_segs = 1 + test_index(seed, 8);

	for (nr = 0; nr < nr_segs; nr++) {
		seg[nr].base = p + off;
		seg[nr].len = nr + 1 == nr_segs ? len - off : test_index(seed, len - off + 1);
		off += seg[nr].len;
	}
	return nr_segs;
}

static void test_the_hook_sees_a_second_load(void **state)
{
	static const uint8_t bytes[9];

	(void)state;
	watch(bytes, 8);
	vbb_load64(bytes);
	assert_loaded_once();
	assert_int_equal(nr_loaded(), 8);
	vbb_load8(bytes + 7);
	assert_int_equal(nr_twice, 1);
	vbb_load16(bytes + 7);
	assert_int_equal(nr_outside, 1);
}

static void test_decoder_loads_each_byte_once(void **state)
{
	uint64_t seed = 6, nr_good = 0, nr_bad = 0;
	int i;

	(void)state;
	for (i = 0; i < 100000; i++) {
		struct vbb_seg seg[8];
		struct message m;
		struct vbb_range r;
		struct vbb_dec d;
		size_t nr_segs;
		int end;

		message_random(&m, &seed);
		nr_segs = cut_in_place(m.bytes, m.len, seg, &seed);
		watch(m.bytes, m.len);
		oracle_begin(&d, &m.cfg, m.pfns, seg, nr_segs);
		vbb_dec_for_each(&d, &r)
			;
		end = vbb_dec_next(&d, &r);
		assert_loaded_once();
		nr_good += end == 0;
		nr_bad += end < 0;
		/* A good message of pages is read whole. */
		if (!end)
			assert_int_equal(nr_loaded(), m.len);
	}
	assert_true(nr_good > 10000 && nr_bad > 10000);
}

static void test_values_are_loaded_once(void **state)
{
	struct vbb_seg seg;
	struct message m;
	struct vbb_dec d;
	uint64_t value;
	int i;

	(void)state;
	message_begin(&m, VIRTIO_BALLOON_FORMAT_VALUES);
	m.cfg.queue = VBB_QUEUE_HOST_REQUEST;
	for (i = 0; i < 20; i++)
		message_add(&m, (uint64_t)i, 8);
	seg.base = m.bytes;
	seg.len = m.len;
	watch(m.bytes, m.len);
	assert_int_equal(vbb_dec_init(&d, &m.cfg, &seg, 1), 0);
	while (vbb_dec_next_value(&d, &value) == 1)
		;
	assert_loaded_once();
	assert_int_equal(nr_loaded(), m.len);
}

static void test_results_and_requests_are_loaded_once(void **state)
{
	uint64_t seed = 7;
	uint8_t bytes[40];
	size_t i;

	(void)state;
	for (i = 0; i < 20000; i++) {
		size_t k, len = test_index(&seed, sizeof(bytes) + 1), nr_segs;
		struct vbb_result result;
		struct vbb_seg seg[8];
		struct vbb_req req;

		for (k = 0; k < sizeof(bytes); k++)
			bytes[k] = test_below(&seed, 3) ? 0 : (uint8_t)test_below(&seed, 256);
		nr_segs = cut_in_place(bytes, len, seg, &seed);
		watch(bytes, len);
		vbb_result_load(&result, seg, nr_segs);
		assert_loaded_once();
		watch(bytes, len);
		vbb_req_load(&req, seg, nr_segs, 16 * test_below(&seed, 4));
		assert_loaded_once();
	}
}

/* What the peer may change must not lead the encoder: it never looks at what it wrote. */
static void test_encoder_loads_nothing(void **state)
{
	static const vbb_u32 formats[] = {
		VBB_FMT_BITMAP, VBB_FMT_RECORDS, VBB_FMT_AUTO, VBB_FMT_PFNS
	};
	static struct vbb_enc e;
	uint64_t seed = 8;
	size_t i, k;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(formats); i++) {
		const struct vbb_enc_cfg cfg = { .page_shift = 12, .formats = formats[i] };
		uint8_t bytes[4096];
		struct vbb_seg seg[8];
		size_t nr_segs = cut_in_place(bytes, sizeof(bytes), seg, &seed);
		const struct vbb_result result = { .nr_pages = 1 };
		const struct vbb_req req = { .id = 1, .arg0 = 2 };
		struct vbb_msg msg;

		watch(bytes, sizeof(bytes));
		assert_int_equal(vbb_enc_init(&e, &cfg, seg, nr_segs), 0);
		for (k = 0; k < 100; k++) {
			struct vbb_range r = { 10 * k, 1 + test_below(&seed, 5) };

			assert_int_equal(vbb_enc_put(&e, &r), 0);
		}
		assert_int_equal(vbb_enc_finish(&e, 0, &msg), 0);
		vbb_result_store(&result, seg, nr_segs);
		vbb_req_store(&req, seg, nr_segs);
		assert_int_equal(nr_loaded(), 0);
		assert_int_equal(nr_outside, 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_the_hook_sees_a_second_load),
		cmocka_unit_test(test_decoder_loads_each_byte_once),
		cmocka_unit_test(test_values_are_loaded_once),
		cmocka_unit_test(test_results_and_requests_are_loaded_once),
		cmocka_unit_test(test_encoder_loads_nothing),
	};

	return cmocka_run_group_tests_name("loads", tests, NULL, NULL);
}
