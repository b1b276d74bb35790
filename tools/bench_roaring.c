// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause
/* CRoaring knows no messages: a set is serialised whole. Its pages are 32-bit numbers. */
#include "bench.h"

#include <roaring/roaring.h>
#include <stdlib.h>

static bool grow(struct vbb_bench_wire *w, size_t len)
{
	vbb_u8 *buf;

	if (len <= w->room)
		return true;
	buf = realloc(w->buf, len);
	if (!buf)
		return false;
	w->buf = buf;
	w->room = len;
	return true;
}

size_t vbb_bench_roaring_encode(struct vbb_bench_wire *w, struct vbb_bench_set *set)
{
	roaring_bitmap_t *b;
	size_t len = 0;

	if (!vbb_bench_next(set))
		return 0;
	b = roaring_bitmap_create();
	if (!b)
		return 0;
	while (vbb_bench_next(set)) {
		roaring_bitmap_add_range(b, set->rest.pfn, set->rest.pfn + set->rest.nr_pages);
		set->rest.nr_pages = 0;
	}
	roaring_bitmap_run_optimize(b);
	len = roaring_bitmap_portable_size_in_bytes(b);
	/* as bytes, and as a set that takes about as much */
	w->mem = 2 * len;
	len = grow(w, len) ? roaring_bitmap_portable_serialize(b, (char *)w->buf) : 0;
	roaring_bitmap_free(b);
	return len;
}

static roaring_bitmap_t *load(const struct vbb_bench_wire *w, size_t len)
{
	return roaring_bitmap_portable_deserialize_safe((const char *)w->buf, len);
}

int vbb_bench_roaring_decode(struct vbb_bench_wire *w, size_t len, struct vbb_bench_out *out)
{
	roaring_bitmap_t *b = load(w, len);
	roaring_uint32_iterator_t *it = b ? roaring_create_iterator(b) : NULL;
	vbb_u64 pfn = 0, end = 0;
	uint32_t page[1024], nr, i;

	while (it && (nr = roaring_read_uint32_iterator(it, page, ARRAY_SIZE(page)))) {
		for (i = 0; i < nr; i++)
			vbb_bench_page(out, page[i], &pfn, &end);
	}
	vbb_bench_give(out, pfn, end - pfn);
	if (it)
		roaring_free_uint32_iterator(it);
	if (b)
		roaring_bitmap_free(b);
	return it ? 0 : -1;
}

/* From run to run: where one ends, the next page that is not in the set is, and the other way. */
int vbb_bench_roaring_decode_runs(struct vbb_bench_wire *w, size_t len, struct vbb_bench_out *out)
{
	roaring_bitmap_t *b = load(w, len);
	vbb_u64 past = b ? (vbb_u64)roaring_bitmap_maximum(b) + 1 : 0, end;
	roaring_bitmap_t *gaps = b ? roaring_bitmap_flip(b, 0, past) : NULL;
	roaring_uint32_iterator_t *it = gaps ? roaring_create_iterator(b) : NULL;
	roaring_uint32_iterator_t *gap = it ? roaring_create_iterator(gaps) : NULL;
	bool more = gap && it->has_value;

	while (more) {
		end = past;
		if (roaring_move_uint32_iterator_equalorlarger(gap, it->current_value))
			end = gap->current_value;
		vbb_bench_give(out, it->current_value, end - it->current_value);
		more = end < past && roaring_move_uint32_iterator_equalorlarger(it, (uint32_t)end);
	}
	more = gap;
	if (gap)
		roaring_free_uint32_iterator(gap);
	if (it)
		roaring_free_uint32_iterator(it);
	if (gaps)
		roaring_bitmap_free(gaps);
	if (b)
		roaring_bitmap_free(b);
	return more ? 0 : -1;
}
