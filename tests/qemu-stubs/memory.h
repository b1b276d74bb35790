/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause */
/* Memory that a test of QEMU's device lays out at random. */
#ifndef VBB_STUB_MEMORY_H
#define VBB_STUB_MEMORY_H

#include "test.h"

#include "stub.h"

#define NR_REGIONS 12
#define NR_BLOCKS 3
#define UNIT 4096ULL
#define NR_UNITS 8192		/* of guest memory, and of each block */

static RAMBlock block[NR_BLOCKS];
static MemoryRegion region[NR_REGIONS];
static size_t nr_regions;
static uint64_t seed;

MemoryRegionSection memory_region_find(MemoryRegion *mr, uint64_t gpa, uint64_t len)
{
	uint64_t last = gpa + (len - 1), first;
	size_t i;

	assert_true(len && last >= gpa && !mr);
	for (i = 0; i < nr_regions; i++) {
		mr = &region[i];
		if (mr->gpa + (mr->len - 1) < gpa || mr->gpa > last)
			continue;
		first = MAX(gpa, mr->gpa);
		mr->nr_refs++;
		return (MemoryRegionSection){
			.mr = mr,
			.offset_within_address_space = first,
			.offset_within_region = first - mr->gpa + mr->offset,
			.size = MIN(last, mr->gpa + (mr->len - 1)) - first + 1,
			.readonly = mr->readonly,
		};
	}
	return (MemoryRegionSection){};
}

/* RAM of several page sizes, ROM, what is neither, and nothing */
static inline void memory_map(void)
{
	static const uint64_t sizes[NR_BLOCKS] = { UNIT, 16 * UNIT, 64 * UNIT };
	uint64_t gpa = 0, used[NR_BLOCKS] = { 0 };
	size_t i, b;

	for (b = 0; b < NR_BLOCKS; b++)
		block[b].page_size = sizes[b];
	for (i = 0; i < NR_REGIONS; i++) {
		b = test_index(&seed, NR_BLOCKS);
		region[i] = (MemoryRegion){
			.gpa = gpa + test_below(&seed, 3) * UNIT,
			.len = (1 + test_below(&seed, test_below(&seed, 8) ? 40 : 600)) * 16 * UNIT,
			.offset = used[b],
			.ram_block = test_below(&seed, 8) ? &block[b] : NULL,
			.rom = !test_below(&seed, 12),
			.readonly = !test_below(&seed, 12),
		};
		if (used[b] + region[i].len > NR_UNITS * UNIT)
			break;
		gpa = region[i].gpa + region[i].len;
		used[b] += region[i].len;
	}
	nr_regions = i;
}

/* RAM, all of it */
static inline void memory_flat(uint64_t page_size)
{
	block[0].page_size = page_size;
	region[0] = (MemoryRegion){ .len = 2 * NR_UNITS * UNIT, .ram_block = &block[0] };
	nr_regions = 1;
}

static inline bool is_ram(const MemoryRegion *mr)
{
	return mr->ram_block && !mr->rom && !mr->readonly;
}

#endif
