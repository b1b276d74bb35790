// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause
/* Property: what comes out depends neither on how a message is cut nor on pauses of its reader. */
#include "message.h"
#include "oracle.h"

#define NR_SEGS (FUZZ_NR_CUTS + 2)

static int compare_size(const void *a, const void *b)
{
	size_t x = *(const size_t *)a, y = *(const size_t *)b;

	return (x > y) - (x < y);
}

/* The pieces, the first one empty, each in memory of its own */
static void cut(struct fuzz_message *m, struct vbb_seg *seg)
{
	size_t i, begin = 0;

	qsort(m->cut, FUZZ_NR_CUTS, sizeof(m->cut[0]), compare_size);
	seg[0].base = NULL;
	seg[0].len = 0;
	for (i = 1; i < NR_SEGS; i++) {
		size_t end = i <= FUZZ_NR_CUTS ? m->cut[i - 1] : m->len;

		seg[i].base = fuzz_alloc(end - begin);
		seg[i].len = end - begin;
		if (seg[i].len)
			memcpy(seg[i].base, m->bytes + begin, seg[i].len);
		begin = end;
	}
}

static int next(struct vbb_dec *d, uint64_t budget, struct vbb_range *r)
{
	int ret;

	while ((ret = vbb_dec_next(d, r)) == VBB_E_BUDGET)
		vbb_dec_set_budget(d, budget);
	return ret;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct vbb_seg seg[NR_SEGS], whole;
	struct fuzz_message m;
	struct vbb_dec a, b;
	struct vbb_range x, y;
	uint64_t value, other;
	int ret, i;

	fuzz_message(&m, data, size);
	whole.base = (void *)(uintptr_t)m.bytes;
	whole.len = m.len;
	cut(&m, seg);

	ret = oracle_begin(&a, &m.cfg, m.pfns, &whole, 1);
	fuzz_check(oracle_begin(&b, &m.cfg, m.pfns, seg, NR_SEGS) == ret);
	vbb_dec_set_budget(&b, m.budget);
	do {
		ret = vbb_dec_next(&a, &x);
		fuzz_check(next(&b, m.budget, &y) == ret);
		if (ret == 1)
			fuzz_check(x.pfn == y.pfn && x.nr_pages == y.nr_pages);
	} while (ret == 1);
	fuzz_check(vbb_dec_fault_off(&a) == vbb_dec_fault_off(&b));
	fuzz_check(a.nr_blocks == b.nr_blocks && a.nr_bitmaps == b.nr_bitmaps &&
		   a.nr_extents == b.nr_extents);

	oracle_begin(&a, &m.cfg, m.pfns, &whole, 1);
	oracle_begin(&b, &m.cfg, m.pfns, seg, NR_SEGS);
	do {
		ret = vbb_dec_next_value(&a, &value);
		fuzz_check(vbb_dec_next_value(&b, &other) == ret);
		if (ret == 1)
			fuzz_check(value == other);
	} while (ret == 1);

	for (i = 0; i < NR_SEGS; i++)
		free(seg[i].base);
	return 0;
}
