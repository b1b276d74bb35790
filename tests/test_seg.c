// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause
#include "test.h"

/* 1 + 2 + 4 + 8 bytes: each load once, in one piece or over any cut */
static const uint8_t bytes[15] = {
	0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff
};

static void test_loads_do_not_depend_on_cuts(void **state)
{
	struct test_cut cut;
	size_t a, b;

	(void)state;
	test_for_each_cut(&cut, bytes, sizeof(bytes), a, b) {
		struct vbb_cur c;

		vbb_cur_init(&c, cut.seg, cut.nr_segs);
		assert_int_equal(c.left, 15);
		assert_int_equal(vbb_cur_load8(&c), 0x11);
		assert_int_equal(c.left, 14);
		assert_int_equal(vbb_cur_load16(&c), 0x3322);
		assert_int_equal(c.left, 12);
		assert_int_equal(vbb_cur_load32(&c), 0x77665544);
		assert_int_equal(c.left, 8);
		assert_int_equal(vbb_cur_load64(&c), 0xffeeddccbbaa9988);
		assert_int_equal(c.left, 0);
	}
}

/* Each number is taken once and in order, and no number is passed over that is another. */
static void test_a_scan_stops_at_what_is_another(void **state)
{
	uint64_t seen, nr, got;
	uint8_t numbers[5 * 8];
	struct test_cut cut;
	size_t a, b, other;

	(void)state;
	for (other = 0; other <= 5; other++) {
		memset(numbers, 0xee, sizeof(numbers));
		if (other < 5)
			numbers[8 * other + 7] = 0x12;
		test_for_each_cut(&cut, numbers, sizeof(numbers), a, b) {
			for (nr = 1; nr <= 5; nr++) {
				struct vbb_cur c;
				uint64_t left;

				vbb_cur_init(&c, cut.seg, cut.nr_segs);
				for (seen = 0; seen < nr; seen += (left - c.left) / 8) {
					left = c.left;
					got = vbb_cur_scan64(&c, nr - seen, 0xeeeeeeeeeeeeeeee);
					assert_true(c.left < left && (left - c.left) % 8 == 0);
					if (got != 0xeeeeeeeeeeeeeeee)
						break;
				}
				if (other < nr) {
					assert_int_equal(got, 0x12eeeeeeeeeeeeee);
					assert_int_equal(c.left, sizeof(numbers) - 8 * (other + 1));
				} else {
					assert_int_equal(got, 0xeeeeeeeeeeeeeeee);
					assert_int_equal(c.left, sizeof(numbers) - 8 * nr);
				}
			}
		}
	}
}

static void test_stores_do_not_depend_on_cuts(void **state)
{
	static const uint8_t blank[15];
	struct test_cut cut;
	size_t a, b;

	(void)state;
	for (a = 0; a <= sizeof(bytes); a++) {
		for (b = a; b <= sizeof(bytes); b++) {
			uint8_t out[15];
			struct vbb_cur c;

			test_cut_at(&cut, blank, sizeof(blank), a, b);
			vbb_cur_init(&c, cut.seg, cut.nr_segs);
			vbb_cur_store8(&c, 0x11);
			vbb_cur_store(&c, 0xffff3322, 2);
			vbb_cur_store(&c, 0x77665544, 4);
			vbb_cur_store64(&c, 0xffeeddccbbaa9988);
			assert_int_equal(c.left, 0);
			test_cut_join(&cut, out);
			assert_memory_equal(out, bytes, sizeof(bytes));
		}
	}
}

/* As if each number were stored by itself; what lies behind them stays. */
static void test_a_fill_does_not_depend_on_cuts(void **state)
{
	uint8_t blank[3 + 6 * 8], want[sizeof(blank)], out[sizeof(blank)];
	struct test_cut cut;
	size_t a, b, nr;

	(void)state;
	memset(blank, 0xee, sizeof(blank));
	for (nr = 0; nr <= 6; nr++) {
		memset(want, 0xee, sizeof(want));
		memset(want, 0, 3);
		for (a = 0; a < 8 * nr; a++)
			want[3 + a] = (uint8_t)(1 + a % 8);
		for (a = 0; a <= sizeof(blank); a++) {
			for (b = a; b <= sizeof(blank); b++) {
				struct vbb_cur c;

				test_cut_at(&cut, blank, sizeof(blank), a, b);
				vbb_cur_init(&c, cut.seg, cut.nr_segs);
				vbb_cur_store(&c, 0, 3);
				vbb_cur_fill64(&c, 0x0807060504030201, nr);
				assert_int_equal(c.left, 8 * (6 - nr));
				test_cut_join(&cut, out);
				assert_memory_equal(out, want, sizeof(want));
			}
		}
	}
}

static void test_length_is_a_sum_that_does_not_wrap(void **state)
{
	struct vbb_seg seg[600];
	size_t i;

	(void)state;
	assert_int_equal(vbb_segs_len(NULL, 0), 0);
	for (i = 0; i < ARRAY_SIZE(seg); i++) {
		seg[i].base = NULL;
		seg[i].len = i;
	}
	assert_int_equal(vbb_segs_len(seg, ARRAY_SIZE(seg)), 600 * 599 / 2);
	seg[0].len = SIZE_MAX;
	seg[1].len = SIZE_MAX;
	if (sizeof(size_t) == 8) {
		assert_int_equal(vbb_segs_len(seg, 1), UINT64_MAX);
		assert_int_equal(vbb_segs_len(seg, 2), UINT64_MAX);
		seg[1].len = 1;
		assert_int_equal(vbb_segs_len(seg, 2), UINT64_MAX);
		seg[0].len -= 1;
		assert_int_equal(vbb_segs_len(seg, 2), UINT64_MAX);
		seg[1].len = 0;
		assert_int_equal(vbb_segs_len(seg, 2), UINT64_MAX - 1);
	} else {
		assert_int_equal(vbb_segs_len(seg, 2), 2 * (uint64_t)SIZE_MAX);
	}
}

/* VBB-MSG-04 */
static void test_only_empty_segments(void **state)
{
	const struct vbb_seg seg[3] = { { NULL, 0 }, { NULL, 0 }, { NULL, 0 } };
	struct vbb_cur c;

	(void)state;
	vbb_cur_init(&c, seg, 3);
	assert_int_equal(c.left, 0);
	vbb_cur_init(&c, NULL, 0);
	assert_int_equal(c.left, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_loads_do_not_depend_on_cuts),
		cmocka_unit_test(test_a_scan_stops_at_what_is_another),
		cmocka_unit_test(test_stores_do_not_depend_on_cuts),
		cmocka_unit_test(test_a_fill_does_not_depend_on_cuts),
		cmocka_unit_test(test_length_is_a_sum_that_does_not_wrap),
		cmocka_unit_test(test_only_empty_segments),
	};

	return cmocka_run_group_tests_name("seg", tests, NULL, NULL);
}
