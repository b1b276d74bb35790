// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause
#include "test.h"

/* VBB-MSG-01 */
static void test_loads_are_little_endian_at_any_address(void **state)
{
	uint8_t buf[16];
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(buf); i++)
		buf[i] = (uint8_t)(0x10 + i);
	for (i = 0; i < 8; i++) {
		assert_int_equal(vbb_load8(buf + i), 0x10 + i);
		assert_int_equal(vbb_load16(buf + i), 0x1110 + 0x0101 * i);
		assert_int_equal(vbb_load32(buf + i), 0x13121110 + 0x01010101 * i);
		assert_int_equal(vbb_load64(buf + i), 0x1716151413121110 + 0x0101010101010101 * i);
	}
}

/* VBB-MSG-01 */
static void test_stores_are_little_endian_at_any_address(void **state)
{
	size_t i, k;

	(void)state;
	for (i = 0; i < 8; i++) {
		uint8_t buf[24];

		memset(buf, 0xee, sizeof(buf));
		vbb_store64(buf + i, 0x8877665544332211);
		vbb_store8(buf + i + 8, 0x99);
		for (k = 0; k < sizeof(buf); k++)
			assert_int_equal(buf[k], k < i || k > i + 8 ? 0xee : 0x11 * (k - i + 1));
	}
}

static void test_shifts(void **state)
{
	uint64_t v = 1;
	uint32_t n;

	(void)state;
	for (n = 0; n < 64; n++, v *= 2) {
		assert_int_equal(vbb_pow2(n), v);
		assert_int_equal(vbb_shr(v, n), 1);
		assert_int_equal(vbb_shr(v - 1, n), 0);
		assert_int_equal(vbb_shr(UINT64_MAX, n), UINT64_MAX / v);
	}
}

static void test_lowest_bit(void **state)
{
	uint64_t seed = 1;
	uint32_t n;

	(void)state;
	for (n = 0; n < 64; n++) {
		assert_int_equal(vbb_ctz64(vbb_pow2(n)), n);
		assert_int_equal(vbb_ctz64(UINT64_MAX << n), n);
		assert_int_equal(vbb_ctz64((test_rand(&seed) | 1) << n), n);
	}
}

static uint32_t count_ones(uint64_t v, uint32_t b)
{
	uint32_t n = 0;

	while (b + n < 64 && v >> (b + n) & 1)
		n++;
	return n;
}

static void test_run_of_ones(void **state)
{
	uint64_t seed = 2;
	uint32_t b, n;

	(void)state;
	for (b = 0; b < 64; b++) {
		assert_int_equal(vbb_ones64(UINT64_MAX, b), 64 - b);
		assert_int_equal(vbb_ones64(0, b), 0);
		for (n = 1; b + n <= 64; n++) {
			uint64_t noise = test_rand(&seed), mask = vbb_mask64(b, n), v;

			assert_int_equal(count_ones(mask, b), n);
			assert_int_equal(mask & ~(UINT64_MAX << b), 0);
			v = mask | (noise & ~(n + b < 64 ? vbb_pow2(b + n) : 0));
			assert_int_equal(vbb_ones64(v, b), count_ones(v, b));
			assert_int_equal(vbb_ones64(v, b), n);
			v &= ~(vbb_pow2(b) - 1);
			assert_int_equal(vbb_run64(v, b), n);
			assert_int_equal(vbb_drop64(v), v & ~mask);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_loads_are_little_endian_at_any_address),
		cmocka_unit_test(test_stores_are_little_endian_at_any_address),
		cmocka_unit_test(test_shifts),
		cmocka_unit_test(test_lowest_bit),
		cmocka_unit_test(test_run_of_ones),
	};

	return cmocka_run_group_tests_name("leaf", tests, NULL, NULL);
}
