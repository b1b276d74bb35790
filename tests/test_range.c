// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause
#include "test.h"

/* Small spaces are tried whole; the same again at the top, where sums could wrap. */
#define SIDE 7

static struct vbb_range range(uint64_t pfn, uint64_t nr_pages)
{
	const struct vbb_range r = { pfn, nr_pages };

	return r;
}

static bool has(const struct vbb_range *r, uint64_t pfn)
{
	return pfn >= r->pfn && pfn - r->pfn < r->nr_pages;
}

/* VBB-MSG-11 */
static void test_last_pfn_of_each_page_size(void **state)
{
	uint32_t shift;

	(void)state;
	assert_int_equal(vbb_pfn_end(12), VBB_PFN_END);
	assert_int_equal(vbb_pfn_end(12), (uint64_t)1 << 52);
	for (shift = 12; shift <= 30; shift++) {
		uint64_t last = vbb_pfn_end(shift) - 1;

		assert_int_equal((last << shift) + (((uint64_t)1 << shift) - 1), UINT64_MAX);
	}
}

static void test_valid(void **state)
{
	uint32_t shift;

	(void)state;
	for (shift = 12; shift <= 30; shift++) {
		uint64_t end = vbb_pfn_end(shift);
		const struct vbb_range good[] = {
			range(0, 1), range(0, end), range(1, end - 1), range(end - 1, 1),
		};
		const struct vbb_range bad[] = {
			range(0, 0), range(5, 0), range(end - 1, 0), range(end, 0), range(end, 1),
			range(end - 1, 2), range(0, end + 1), range(1, end), range(1, UINT64_MAX),
			range(end - 1, UINT64_MAX), range(UINT64_MAX, 1), range(UINT64_MAX - 1, 2),
			range(UINT64_MAX, UINT64_MAX),
		};
		size_t i;

		for (i = 0; i < ARRAY_SIZE(good); i++)
			assert_true(vbb_range_valid(&good[i], shift));
		for (i = 0; i < ARRAY_SIZE(bad); i++)
			assert_false(vbb_range_valid(&bad[i], shift));
	}
}

/* Every run in [base, base + SIDE], the empty ones too */
#define for_each_run(base, r) \
	for ((r)->pfn = (base); (r)->pfn <= (base) + SIDE; (r)->pfn++) \
		for ((r)->nr_pages = 0; has_room(r, (base) + SIDE); (r)->nr_pages++)

static bool has_room(const struct vbb_range *r, uint64_t end)
{
	return r->nr_pages <= end - r->pfn;
}

static const uint64_t bases[] = { 0, ((uint64_t)1 << 32) - 3, ((uint64_t)1 << 52) - SIDE };

static void test_clip_keeps_what_both_have(void **state)
{
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(bases); i++) {
		struct vbb_range r, w;

		for_each_run(bases[i], &r) for_each_run(bases[i], &w) {
			struct vbb_range left = r;
			bool any = vbb_range_clip(&left, &w);
			uint64_t pfn, nr = 0;

			assert_int_equal(any, left.nr_pages != 0);
			for (pfn = bases[i]; pfn < bases[i] + SIDE; pfn++) {
				assert_int_equal(has(&left, pfn), has(&r, pfn) && has(&w, pfn));
				nr += has(&left, pfn);
			}
			assert_int_equal(left.nr_pages, nr);
		}
	}
}

static void test_merge_joins_what_touches_or_overlaps(void **state)
{
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(bases); i++) {
		struct vbb_range r, w;

		for_each_run(bases[i], &r) for_each_run(bases[i], &w) {
			struct vbb_range sum = r;
			uint64_t pfn, nr = 0;
			bool gap;

			if (!r.nr_pages || !w.nr_pages)
				continue;
			gap = r.pfn + r.nr_pages < w.pfn || w.pfn + w.nr_pages < r.pfn;
			assert_int_equal(vbb_range_merge(&sum, &w), !gap);
			if (gap) {
				assert_int_equal(sum.pfn, r.pfn);
				assert_int_equal(sum.nr_pages, r.nr_pages);
				continue;
			}
			for (pfn = bases[i]; pfn < bases[i] + SIDE; pfn++) {
				assert_int_equal(has(&sum, pfn), has(&r, pfn) || has(&w, pfn));
				nr += has(&sum, pfn);
			}
			assert_int_equal(sum.nr_pages, nr);
		}
	}
}

static void test_span_of_a_run(void **state)
{
	uint32_t shift;

	(void)state;
	for (shift = 12; shift <= 30; shift++) {
		const uint64_t end = vbb_pfn_end(shift), size = (uint64_t)1 << shift;
		struct vbb_range r;
		struct vbb_span s;

		r = range(3, 5);
		s = vbb_range_span(&r, shift);
		assert_int_equal(s.gpa, 3 * size);
		assert_int_equal(s.len, 5 * size);
		r = range(end - 1, 1);
		s = vbb_range_span(&r, shift);
		assert_int_equal(s.gpa, ~(size - 1));
		assert_int_equal(s.len, size);
		assert_int_equal(s.gpa + s.len, 0);
		r = range(1, end - 1);
		s = vbb_range_span(&r, shift);
		assert_int_equal(s.gpa, size);
		assert_int_equal(s.len, ~(size - 1));
		r = range(0, end);
		s = vbb_range_span(&r, shift);
		assert_int_equal(s.gpa, 0);
		assert_int_equal(s.len, UINT64_MAX);
		r = range(7, 0);
		s = vbb_range_span(&r, shift);
		assert_int_equal(s.len, 0);
	}
}

/* All host pages of the size, from one that begins below gpa to one that ends behind any run */
static void shrink_one(uint64_t origin, uint64_t gpa, uint64_t len, uint64_t base, uint32_t shift)
{
	uint64_t size = (uint64_t)1 << shift, first = 0, nr = 0, page;
	struct vbb_span s = { origin + gpa, len };
	bool left = vbb_span_shrink(&s, origin + base, shift);

	for (page = base % size; page <= 20; page += size) {
		if (page < gpa || page + size > gpa + len)
			continue;
		if (!nr++)
			first = page;
	}
	assert_int_equal(left, nr != 0);
	assert_int_equal(s.len, nr * size);
	if (nr)
		assert_int_equal(s.gpa, origin + first);
}

/* Bytes count from origin, so that all of it can lie at the top. */
static void shrink_everything(uint64_t origin)
{
	uint64_t gpa, len, base;
	uint32_t shift;

	for (shift = 0; shift <= 3; shift++)
		for (base = 0; base < 8; base++)
			for (gpa = 0; gpa <= 20; gpa++)
				for (len = 0; gpa + len <= 20; len++)
					shrink_one(origin, gpa, len, base, shift);
}

/* VBB-DEV-05 */
static void test_shrink_keeps_whole_host_pages(void **state)
{
	(void)state;
	shrink_everything(0);
	shrink_everything(((uint64_t)1 << 32) - 8);
	shrink_everything(0 - (uint64_t)20);
}

static void test_shrink_to_large_pages(void **state)
{
	const uint64_t kib = 1024, mib = kib * kib, gib = kib * mib, half = (uint64_t)1 << 63;
	const struct {
		uint32_t shift;
		uint64_t base;
		struct vbb_span in, out;
	} rows[] = {
		/* 2 MiB pages: a whole one, one byte short at either end, two in the midst */
		{ 21, 0, { 2 * mib, 2 * mib }, { 2 * mib, 2 * mib } },
		{ 21, 0, { 2 * mib + 4 * kib, 2 * mib }, { 0, 0 } },
		{ 21, 0, { 2 * mib - 4 * kib, 2 * mib }, { 0, 0 } },
		{ 21, 0, { mib, 6 * mib }, { 2 * mib, 4 * mib } },
		{ 21, 0, { 4 * kib, 4 * kib }, { 0, 0 } },
		/* a block whose first page begins at an odd MiB */
		{ 21, mib, { 0, 5 * mib }, { mib, 4 * mib } },
		{ 21, 3 * mib, { 0, 5 * mib }, { mib, 4 * mib } },
		{ 30, 0, { gib - 1, 2 * gib }, { gib, gib } },
		/* the end of the address space, and all of it */
		{ 30, 0, { 0 - 3 * gib, 3 * gib }, { 0 - 3 * gib, 3 * gib } },
		{ 30, 0, { 0 - 3 * gib + 1, 3 * gib - 1 }, { 0 - 2 * gib, 2 * gib } },
		{ 30, 0, { 0, UINT64_MAX }, { 0, 0 - gib } },
		{ 63, 0, { 0, UINT64_MAX }, { 0, half } },
		{ 63, 0, { half, half }, { half, half } },
		{ 63, 0, { 1, UINT64_MAX }, { half, half } },
		{ 63, 5, { 6, UINT64_MAX - 6 }, { 0, 0 } },
	};
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(rows); i++) {
		struct vbb_span s = rows[i].in;

		assert_int_equal(vbb_span_shrink(&s, rows[i].base, rows[i].shift),
				 rows[i].out.len != 0);
		assert_int_equal(s.len, rows[i].out.len);
		if (s.len)
			assert_int_equal(s.gpa, rows[i].out.gpa);
	}
}

static void test_ram_map_is_checked(void **state)
{
	const uint64_t big = (uint64_t)1 << 63;
	const struct {
		int err;
		size_t nr;
		struct vbb_ram ram[3];
	} rows[] = {
		{ 0, 0, { { 0, 0, 0, 0 } } },
		{ 0, 1, { { 0, 1, 0, 0 } } },
		{ 0, 1, { { 5, 1, 0x1000, 12 } } },
		{ 0, 1, { { 0, UINT64_MAX, 0, 0 } } },
		{ 0, 1, { { 1, UINT64_MAX, 0, 0 } } },
		{ 0, 1, { { 0, big, big, 63 } } },
		{ 0, 2, { { 0, 10, 50, 0 }, { 10, 10, 0, 0 } } },
		{ 0, 3, { { 0, 10, 0, 0 }, { 20, 10, 0, 0 }, { UINT64_MAX, 1, 0, 0 } } },
		/* empty */
		{ VBB_E_INVAL, 1, { { 0, 0, 0, 0 } } },
		{ VBB_E_INVAL, 2, { { 0, 1, 0, 0 }, { 1, 0, 0, 0 } } },
		/* wraps */
		{ VBB_E_INVAL, 1, { { 2, UINT64_MAX, 0, 0 } } },
		{ VBB_E_INVAL, 1, { { UINT64_MAX, 2, 0, 0 } } },
		{ VBB_E_INVAL, 1, { { 0, 2, UINT64_MAX, 0 } } },
		/* overlaps, not sorted */
		{ VBB_E_INVAL, 2, { { 0, 10, 0, 0 }, { 9, 10, 0, 0 } } },
		{ VBB_E_INVAL, 2, { { 0, 10, 0, 0 }, { 0, 10, 0, 0 } } },
		{ VBB_E_INVAL, 2, { { 10, 10, 0, 0 }, { 0, 10, 0, 0 } } },
		{ VBB_E_INVAL, 2, { { 1, UINT64_MAX, 0, 0 }, { 0, 1, 0, 0 } } },
		{ VBB_E_INVAL, 3, { { 0, 10, 0, 0 }, { 30, 10, 0, 0 }, { 20, 5, 0, 0 } } },
		/* not aligned to its page, no such page */
		{ VBB_E_INVAL, 1, { { 0, 0x10000, 0x800, 12 } } },
		{ VBB_E_INVAL, 1, { { 0, 1, 1, 63 } } },
		{ VBB_E_INVAL, 1, { { 0, 1, 0, 64 } } },
	};
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(rows); i++) {
		const struct vbb_ram_map map = { rows[i].ram, rows[i].nr };

		assert_int_equal(vbb_ram_map_check(&map), rows[i].err);
	}
}

/* The block that holds a byte, found the slow way */
static const struct vbb_ram *ram_at(const struct vbb_ram_map *map, uint64_t gpa)
{
	size_t i;

	for (i = 0; i < map->nr; i++) {
		if (gpa >= map->ram[i].gpa && gpa - map->ram[i].gpa < map->ram[i].len)
			return &map->ram[i];
	}
	return NULL;
}

/* Cut [gpa, gpa + len) and look at every byte of it. */
static void cut_span(const struct vbb_ram_map *map, uint64_t gpa, uint64_t len)
{
	struct vbb_span rest = { gpa, len };
	uint64_t pos = 0; /* bytes that have been looked at */
	struct vbb_piece piece;

	while (vbb_ram_map_next(map, &rest, &piece)) {
		uint64_t start = piece.span.gpa - gpa, i;

		assert_true(start >= pos && start < len);
		for (; pos < start; pos++)
			assert_null(ram_at(map, gpa + pos));
		assert_true(piece.span.len > 0 && piece.span.len <= len - start);
		for (i = 0; i < piece.span.len; i++, pos++) {
			assert_ptr_equal(ram_at(map, gpa + pos), piece.ram);
			assert_int_equal(piece.addr + i - piece.ram->addr,
					 gpa + pos - piece.ram->gpa);
		}
		/* As long as can be: the run ends here, or the block does. */
		assert_true(pos == len || ram_at(map, gpa + pos) != piece.ram);
		assert_int_equal(rest.len, len - pos);
		if (rest.len)
			assert_int_equal(rest.gpa, gpa + pos);
	}
	for (; pos < len; pos++)
		assert_null(ram_at(map, gpa + pos));
	assert_int_equal(rest.len, 0);
	assert_false(vbb_ram_map_next(map, &rest, &piece));
}

/*
 * Every map of up to 8 bytes and every run over it. Bit 2i of shape: byte i is RAM; bit 2i + 1: a
 * block begins there.
 */
static void cut_small_maps(uint64_t origin)
{
	uint32_t shape;

	for (shape = 0; shape < 1 << 16; shape++) {
		struct vbb_ram ram[8];
		struct vbb_ram_map map = { ram, 0 };
		uint64_t gpa, len;
		uint32_t i;

		for (i = 0; i < 8; i++) {
			bool is_ram = shape >> 2 * i & 1, begins = shape >> (2 * i + 1) & 1;

			if (!is_ram)
				continue;
			if (begins || !i || !(shape >> (2 * i - 2) & 1)) {
				ram[map.nr].gpa = origin + i;
				ram[map.nr].len = 0;
				ram[map.nr].addr = 1000 + 100 * (uint64_t)map.nr;
				ram[map.nr].host_shift = 0;
				map.nr++;
			}
			ram[map.nr - 1].len++;
		}
		assert_int_equal(vbb_ram_map_check(&map), 0);
		for (gpa = 0; gpa <= 8; gpa++) {
			for (len = 0; gpa + len <= 8; len++)
				cut_span(&map, origin + gpa, len);
		}
	}
}

/* VBB-DEV-04 */
static void test_ram_map_cuts_at_borders_and_holes(void **state)
{
	(void)state;
	cut_small_maps(0);
}

static void test_ram_map_up_to_the_last_byte(void **state)
{
	(void)state;
	cut_small_maps(0 - (uint64_t)8);
}

static void test_ram_map_of_many_blocks(void **state)
{
	struct vbb_ram ram[100];
	const struct vbb_ram_map map = { ram, ARRAY_SIZE(ram) };
	uint64_t seed = 3, gpa = ((uint64_t)1 << 32) - 500;
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(ram); i++) {
		ram[i].gpa = gpa += test_below(&seed, 4);
		ram[i].len = 1 + test_below(&seed, 20);
		ram[i].addr = test_rand(&seed) >> 1;
		ram[i].host_shift = 0;
		gpa += ram[i].len;
	}
	assert_int_equal(vbb_ram_map_check(&map), 0);
	cut_span(&map, ram[0].gpa - 10, gpa - ram[0].gpa + 20);
	for (i = 0; i < 2000; i++)
		cut_span(&map, ram[0].gpa + test_below(&seed, gpa - ram[0].gpa),
			 test_below(&seed, 200));
}

static void test_whole_address_space_as_one_block(void **state)
{
	const struct vbb_ram ram[2] = { { 0, 1, 7, 0 }, { 1, UINT64_MAX, 0, 0 } };
	const struct vbb_ram_map map = { ram, 2 };
	const struct vbb_range all = { 0, VBB_PFN_END }, last = { VBB_PFN_END - 1, 1 };
	struct vbb_span rest = vbb_range_span(&all, 12);
	struct vbb_piece piece;

	(void)state;
	assert_int_equal(vbb_ram_map_check(&map), 0);
	assert_true(vbb_ram_map_next(&map, &rest, &piece));
	assert_int_equal(piece.addr, 7);
	assert_int_equal(piece.span.len, 1);
	assert_true(vbb_ram_map_next(&map, &rest, &piece));
	assert_int_equal(piece.span.gpa, 1);
	assert_int_equal(piece.span.len, UINT64_MAX - 1);
	assert_false(vbb_ram_map_next(&map, &rest, &piece));
	rest = vbb_range_span(&last, 12);
	assert_true(vbb_ram_map_next(&map, &rest, &piece));
	assert_int_equal(piece.addr, UINT64_MAX - 4096);
	assert_int_equal(piece.span.len, 4096);
	assert_false(vbb_ram_map_next(&map, &rest, &piece));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_last_pfn_of_each_page_size),
		cmocka_unit_test(test_valid),
		cmocka_unit_test(test_clip_keeps_what_both_have),
		cmocka_unit_test(test_merge_joins_what_touches_or_overlaps),
		cmocka_unit_test(test_span_of_a_run),
		cmocka_unit_test(test_shrink_keeps_whole_host_pages),
		cmocka_unit_test(test_shrink_to_large_pages),
		cmocka_unit_test(test_ram_map_is_checked),
		cmocka_unit_test(test_ram_map_cuts_at_borders_and_holes),
		cmocka_unit_test(test_ram_map_up_to_the_last_byte),
		cmocka_unit_test(test_ram_map_of_many_blocks),
		cmocka_unit_test(test_whole_address_space_as_one_block),
	};

	return cmocka_run_group_tests_name("range", tests, NULL, NULL);
}
