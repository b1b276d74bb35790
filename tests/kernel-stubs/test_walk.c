// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause
/* walk.c: what it names of a memory that is cut into zones, with holes, and changes meanwhile. */
#include "test.h"

#include "requests.h"
#include "stub.h"

#define UNITS (1u << (PAGE_SHIFT - VIRTIO_BALLOON_PAGE_SHIFT_MIN))
#define FIRST_PFN (5 * MAX_ORDER_NR_PAGES)
#define NR_BLOCKS 400

static struct {
	struct page *page;
	unsigned int order;
} block[NR_BLOCKS];
static size_t nr_blocks;
static struct vbb_walk walk;
static u8 named[STUB_NR_PAGES];

/* Zones that lie in one another, and now and then no memory at all */
static void zones(uint64_t *seed)
{
	unsigned long pfn;

	stub_pages_init(FIRST_PFN);
	for (pfn = FIRST_PFN; pfn < FIRST_PFN + STUB_NR_PAGES; pfn += MAX_ORDER_NR_PAGES) {
		stub_zone_move(pfn, (int)test_below(seed, MAX_NUMNODES),
			       (int)test_below(seed, MAX_NR_ZONES));
		if (!test_below(seed, 5))
			stub_hole(pfn);
	}
}

/* Somebody takes memory, or gives it back. */
static void change(uint64_t *seed)
{
	size_t i = test_index(seed, NR_BLOCKS);

	if (i < nr_blocks) {
		__free_pages(block[i].page, block[i].order);
		block[i] = block[--nr_blocks];
		return;
	}
	block[nr_blocks].order = (unsigned int)test_below(seed, test_below(seed, MAX_ORDER) + 1);
	block[nr_blocks].page = alloc_pages(GFP_KERNEL, block[nr_blocks].order);
	nr_blocks += !!block[nr_blocks].page;
}

static void give_back(void)
{
	while (nr_blocks--)
		__free_pages(block[nr_blocks].page, block[nr_blocks].order);
	nr_blocks = 0;
}

static bool in_window(u64 pfn, u64 first, u64 end)
{
	return pfn * UNITS >= first && (pfn + 1) * UNITS <= end;
}

/* What a step found: free now, in the window, in order, and never named twice */
static void check_step(u64 first, u64 end)
{
	unsigned long pfn, pos = 0;
	size_t i;

	for (i = 0; i < walk.found.nr_runs; i++) {
		assert_true(walk.runs[i].nr_pages && walk.runs[i].pfn >= pos);
		pos = (unsigned long)(walk.runs[i].pfn + walk.runs[i].nr_pages);
		for (pfn = (unsigned long)walk.runs[i].pfn; pfn < pos; pfn++) {
			assert_true(stub_free_order(pfn) >= 0);
			assert_true(in_window(pfn, first, end));
			assert_int_equal(named[pfn - FIRST_PFN]++, 0);
		}
	}
}

/* Walk over a window, in units of the wire, while so many changes happen after each step. */
static void walk_over(uint64_t *seed, u64 first, u64 nr, u64 nr_changes)
{
	u64 end = nr && nr <= U64_MAX - first ? first + nr : U64_MAX;
	unsigned int nr_steps = 0;
	unsigned long pfn;
	u64 i;

	memset(named, 0, sizeof(named));
	for (vbb_walk_begin(&walk, first, nr); !walk.over; nr_steps++) {
		vbb_walk_step(&walk);
		assert_true(walk.found.nr_runs <= VBB_WALK_RUNS);
		check_step(first, end);
		for (i = test_below(seed, nr_changes + 1); i; i--)
			change(seed);
		/* each step gets on, or the host would wait for ever */
		assert_true(nr_steps < 4 * STUB_NR_PAGES);
	}
	if (nr_changes)
		return;
	for (pfn = FIRST_PFN; pfn < FIRST_PFN + STUB_NR_PAGES; pfn++)
		assert_int_equal(named[pfn - FIRST_PFN],
				 stub_free_order(pfn) >= 0 && in_window(pfn, first, end));
}

static void test_windows(void **state)
{
	static const struct {
		u64 first, nr;
	} row[] = {
		{ 0, 0 },
		{ 0, U64_MAX },
		{ U64_MAX, 0 },
		{ U64_MAX, U64_MAX },
		{ FIRST_PFN * UNITS, 1 },
		{ FIRST_PFN * UNITS, UNITS },
		{ FIRST_PFN * UNITS + 1, UNITS },
		{ FIRST_PFN * UNITS - 1, 2 * UNITS },
		{ FIRST_PFN * UNITS + 1, 2 * UNITS - 1 },
		{ (FIRST_PFN + 3) * UNITS, U64_MAX - (FIRST_PFN + 3) * UNITS },
		{ (FIRST_PFN + 3) * UNITS, U64_MAX - (FIRST_PFN + 3) * UNITS + 1 },
		{ (FIRST_PFN + STUB_NR_PAGES) * UNITS, 0 },
		{ (FIRST_PFN + STUB_NR_PAGES - 1) * UNITS, UNITS },
	};
	uint64_t seed = 1;
	size_t i;

	assert_int_equal(vbb_walk_init(&walk), 0);
	for (i = 0; i < ARRAY_SIZE(row); i++) {
		stub_pages_init(FIRST_PFN);
		walk_over(&seed, row[i].first, row[i].nr, 0);
	}
	vbb_walk_exit(&walk);
}

/* @nr_changes: 0: all that is free is named; else what is named was free */
static void histories(unsigned int nr, u64 nr_changes)
{
	u64 first, end;
	uint64_t seed;
	unsigned int i;

	assert_int_equal(vbb_walk_init(&walk), 0);
	for (seed = 0; seed < nr; seed++) {
		uint64_t s = seed;

		zones(&s);
		for (i = 0; i < 1000; i++)
			change(&s);
		/* 64 looks cost what a lock may be held, or nothing */
		stub_ns_step = test_below(&s, 2) * 30000;
		first = test_below(&s, (FIRST_PFN + STUB_NR_PAGES) * UNITS);
		end = first + 1 + test_below(&s, STUB_NR_PAGES * UNITS);
		walk_over(&s, test_below(&s, 3) ? first : 0, test_below(&s, 3) ? end - first : 0,
			  nr_changes);
		give_back();
	}
	vbb_walk_exit(&walk);
}

static void test_still(void **state)
{
	histories(60, 0);
}

static void test_changing(void **state)
{
	histories(60, 10);
}

/* More runs than a step has room for */
static void test_comb(void **state)
{
	static struct page *page[STUB_NR_PAGES];
	uint64_t seed = 1;
	size_t i;

	assert_int_equal(vbb_walk_init(&walk), 0);
	stub_pages_init(FIRST_PFN);
	stub_ns_step = 0;
	for (i = 0; i < STUB_NR_PAGES; i++)
		page[i] = alloc_pages(GFP_KERNEL, 0);
	for (i = 0; i < STUB_NR_PAGES; i += 2)
		__free_pages(page[i], 0);
	walk_over(&seed, 0, 0, 0);
	assert_int_equal(walk.nr_runs, STUB_NR_PAGES / 2);
	assert_true(walk.nr_steps >= STUB_NR_PAGES / 2 / VBB_WALK_RUNS);
	vbb_walk_exit(&walk);
}

/* Lists of a CPU that hold much are emptied, not too often, and all that was free still is. */
static void test_lists(void **state)
{
	const int nr_min = SZ_4M >> PAGE_SHIFT;
	const struct {
		int count;
		u64 first, wait_ns;
		bool drained;
	} row[] = {
		{ nr_min - 1, 0, 0, false },
		{ nr_min, (FIRST_PFN + 1) * UNITS, 0, false },
		{ nr_min, 0, 0, true },
		{ nr_min, 0, NSEC_PER_SEC / 2, false },
		{ nr_min, 0, NSEC_PER_SEC, true },
	};
	struct zone *zone = &stub_nodes[0].node_zones[0];
	uint64_t seed = 1;
	size_t i;

	assert_int_equal(vbb_walk_init(&walk), 0);
	stub_pages_init(FIRST_PFN);
	stub_ns_step = 0;
	walk.drain_ns = 0;
	for (i = 0; i < ARRAY_SIZE(row); i++) {
		zone->per_cpu_pageset[0].count = row[i].count;
		stub_ns += row[i].wait_ns;
		walk_over(&seed, row[i].first, 0, 0);
		assert_int_equal(zone->per_cpu_pageset[0].count, row[i].drained ? 0 : row[i].count);
		assert_int_equal(walk.nr_drained, row[i].drained ? nr_min : 0);
		assert_int_equal(stub_nr_free, STUB_NR_PAGES);
	}
	vbb_walk_exit(&walk);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_windows),
		cmocka_unit_test(test_still),
		cmocka_unit_test(test_changing),
		cmocka_unit_test(test_comb),
		cmocka_unit_test(test_lists),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
