// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause
/* Our formats, and what they replace. */
#include "bench.h"

#include <endian.h>
#include <string.h>

/* The longest message that the library makes of what is left */
static size_t encode(struct vbb_bench_wire *w, struct vbb_bench_set *set, vbb_u32 formats)
{
	const struct vbb_seg seg = { .base = w->buf, .len = VBB_BENCH_LEN_MAX };
	const struct vbb_enc_cfg cfg = { .page_shift = VIRTIO_BALLOON_PAGE_SHIFT_MIN,
					 .formats = formats };
	struct vbb_run_list list = { set->run, set->nr, set->i, 0 };
	struct vbb_msg msg;

	w->mem = sizeof(w->enc) + sizeof(w->dec) + VBB_BENCH_LEN_MAX;
	if (vbb_enc_init(&w->enc, &cfg, &seg, 1))
		return 0;
	if (set->rest.nr_pages) {
		list.pos--;
		list.nr_taken = set->run[list.pos].nr_pages - set->rest.nr_pages;
	}
	vbb_enc_put_runs(&w->enc, &list);
	set->i = list.pos;
	set->rest.nr_pages = 0;
	if (list.nr_taken) {
		set->rest = set->run[set->i++];
		set->rest.pfn += list.nr_taken;
		set->rest.nr_pages -= list.nr_taken;
	}
	return vbb_enc_finish(&w->enc, 0, &msg) ? 0 : (size_t)msg.len;
}

static size_t encode_plan(struct vbb_bench_wire *w, struct vbb_bench_set *set)
{
	return encode(w, set, VBB_FMT_AUTO);
}

static size_t encode_quick(struct vbb_bench_wire *w, struct vbb_bench_set *set)
{
	return encode(w, set, VBB_FMT_QUICK);
}

static size_t encode_bitmap(struct vbb_bench_wire *w, struct vbb_bench_set *set)
{
	return encode(w, set, VBB_FMT_BITMAP);
}

static size_t encode_records(struct vbb_bench_wire *w, struct vbb_bench_set *set)
{
	return encode(w, set, VBB_FMT_RECORDS);
}

static size_t encode_pfns(struct vbb_bench_wire *w, struct vbb_bench_set *set)
{
	return encode(w, set, VBB_FMT_PFNS);
}

static const struct vbb_dec_cfg dec_cfg = { .queue = VBB_QUEUE_BALLOON, .records = true };

static int give_all(struct vbb_dec *dec, struct vbb_bench_out *out)
{
	struct vbb_range r[64];
	int nr, i;

	while ((nr = vbb_dec_next_runs(dec, r, ARRAY_SIZE(r))) > 0)
		for (i = 0; i < nr; i++)
			vbb_bench_give(out, r[i].pfn, r[i].nr_pages);
	return nr;
}

int vbb_bench_decode(struct vbb_dec *dec, vbb_u8 *buf, size_t len, struct vbb_bench_out *out)
{
	const struct vbb_seg seg = { .base = buf, .len = len };
	int err = vbb_dec_init(dec, &dec_cfg, &seg, 1);

	return err ? err : give_all(dec, out);
}

static int decode(struct vbb_bench_wire *w, size_t len, struct vbb_bench_out *out)
{
	return vbb_bench_decode(&w->dec, w->buf, len, out);
}

static int decode_pfns(struct vbb_bench_wire *w, size_t len, struct vbb_bench_out *out)
{
	const struct vbb_seg seg = { .base = w->buf, .len = len };

	vbb_dec_init_pfns(&w->dec, &dec_cfg, &seg, 1);
	return give_all(&w->dec, out);
}

/* An array of frames, by the shortest loops that there are: nothing is checked. */
static size_t encode_frames(struct vbb_bench_wire *w, struct vbb_bench_set *set)
{
	const size_t room = VIRTIO_BALLOON_BMAP_LEN_MAX / sizeof(uint32_t);
	uint32_t *frame = (void *)w->buf;
	size_t nr = 0;

	w->mem = VIRTIO_BALLOON_BMAP_LEN_MAX;
	while (nr < room && vbb_bench_next(set)) {
		struct vbb_range *r = &set->rest;
		size_t more = r->nr_pages < room - nr ? (size_t)r->nr_pages : room - nr, i;

		for (i = 0; i < more; i++)
			frame[nr + i] = htole32((uint32_t)(r->pfn + i));
		nr += more;
		r->pfn += more;
		r->nr_pages -= more;
	}
	return nr * sizeof(*frame);
}

static int decode_frames(struct vbb_bench_wire *w, size_t len, struct vbb_bench_out *out)
{
	const uint32_t *frame = (const void *)w->buf;
	vbb_u64 pfn = 0, end = 0;
	size_t i;

	for (i = 0; i < len / sizeof(*frame); i++)
		vbb_bench_page(out, le32toh(frame[i]), &pfn, &end);
	vbb_bench_give(out, pfn, end - pfn);
	return 0;
}

/* A record for each run, by bare loops: none is held back for something shorter. */
static size_t encode_bare(struct vbb_bench_wire *w, struct vbb_bench_set *set)
{
	const size_t room = VIRTIO_BALLOON_BMAP_LEN_MAX / sizeof(uint64_t) - 1;
	uint64_t *word = (void *)w->buf;
	size_t nr = 0;

	w->mem = VIRTIO_BALLOON_BMAP_LEN_MAX;
	for (; nr < room && vbb_bench_next(set); set->rest.nr_pages = 0) {
		const struct vbb_range *r = &set->rest;

		if (!((r->pfn | r->nr_pages) & (r->nr_pages - 1))) {
			vbb_u64 order = vbb_ctz64(r->nr_pages);

			word[nr++] = htole64(r->pfn | order << VIRTIO_BALLOON_REC_ORDER_SHIFT);
			continue;
		}
		word[nr++] = htole64(r->pfn | (vbb_u64)VIRTIO_BALLOON_REC_EXTENT
						      << VIRTIO_BALLOON_REC_CODE_SHIFT);
		word[nr++] = htole64(r->nr_pages);
	}
	return nr * sizeof(*word);
}

static int decode_bare(struct vbb_bench_wire *w, size_t len, struct vbb_bench_out *out)
{
	const uint64_t *word = (const void *)w->buf;
	size_t nr = len / sizeof(*word), i;

	for (i = 0; i < nr; i++) {
		vbb_u64 rec = le64toh(word[i]), pfn = rec & (VBB_PFN_END - 1);

		if (rec >> VIRTIO_BALLOON_REC_CODE_SHIFT)
			vbb_bench_give(out, pfn, le64toh(word[++i]));
		else
			vbb_bench_give(out, pfn,
				       vbb_pow2(rec >> VIRTIO_BALLOON_REC_ORDER_SHIFT & 63));
	}
	return 0;
}

/*
 * One flat bitmap a message, as long as ours may be. The page of its first bit stands in front;
 * nothing is checked here either.
 */
#define NR_BITS (8 * (vbb_u64)VIRTIO_BALLOON_BMAP_LEN_MAX)

/* What is left of a run, as far as it fits into the bitmap; its words are set to 0 up to there. */
static bool next_part(struct vbb_bench_wire *w, struct vbb_bench_set *set, vbb_u64 first,
		      vbb_u64 *nr_bits, vbb_u64 *bit, vbb_u64 *nr)
{
	struct vbb_range *r = &set->rest;
	vbb_u64 end;

	if (!vbb_bench_next(set) || r->pfn - first >= NR_BITS)
		return false;
	*bit = r->pfn - first;
	*nr = r->nr_pages < NR_BITS - *bit ? r->nr_pages : NR_BITS - *bit;
	end = (*bit + *nr + 63) & ~(vbb_u64)63;
	if (end > *nr_bits) {
		memset(w->buf + VBB_HDR_LEN + *nr_bits / 8, 0, (size_t)(end - *nr_bits) / 8);
		*nr_bits = end;
	}
	r->pfn += *nr;
	r->nr_pages -= *nr;
	return true;
}

static vbb_u64 flat_begin(struct vbb_bench_wire *w, struct vbb_bench_set *set)
{
	vbb_u64 first = set->rest.pfn & ~(vbb_u64)63;

	w->mem = VBB_BENCH_LEN_MAX;
	memset(w->buf, 0, VBB_HDR_LEN);
	memcpy(w->buf, &first, sizeof(first));
	return first;
}

static size_t encode_bits(struct vbb_bench_wire *w, struct vbb_bench_set *set)
{
	vbb_u8 *bits = w->buf + VBB_HDR_LEN;
	vbb_u64 first, nr_bits = 0, bit, nr;

	if (!vbb_bench_next(set))
		return 0;
	first = flat_begin(w, set);
	while (next_part(w, set, first, &nr_bits, &bit, &nr)) {
		for (; nr; nr--, bit++)
			bits[bit / 8] |= (vbb_u8)(1 << bit % 8);
	}
	return VBB_HDR_LEN + (size_t)nr_bits / 8;
}

static int decode_bits(struct vbb_bench_wire *w, size_t len, struct vbb_bench_out *out)
{
	const vbb_u8 *bits = w->buf + VBB_HDR_LEN;
	vbb_u64 nr_bits = 8 * (vbb_u64)(len - VBB_HDR_LEN);
	vbb_u64 first, bit, pfn = 0, end = 0;

	memcpy(&first, w->buf, sizeof(first));
	for (bit = 0; bit < nr_bits; bit++) {
		if (bits[bit / 8] >> bit % 8 & 1)
			vbb_bench_page(out, first + bit, &pfn, &end);
	}
	vbb_bench_give(out, pfn, end - pfn);
	return 0;
}

/* Words in the way of Linux's bitmaps: a run is set by masks, and found by its next bit */
static size_t encode_words(struct vbb_bench_wire *w, struct vbb_bench_set *set)
{
	uint64_t *words = (void *)(w->buf + VBB_HDR_LEN);
	vbb_u64 first, nr_bits = 0, bit, nr;

	if (!vbb_bench_next(set))
		return 0;
	first = flat_begin(w, set);
	while (next_part(w, set, first, &nr_bits, &bit, &nr)) {
		while (nr) {
			vbb_u32 b = (vbb_u32)(bit % 64);
			vbb_u32 n = nr < 64 - b ? (vbb_u32)nr : 64 - b;

			words[bit / 64] |= htole64(vbb_mask64(b, n));
			bit += n;
			nr -= n;
		}
	}
	return VBB_HDR_LEN + (size_t)nr_bits / 8;
}

/* The first bit from bit on that is set, or, with all ones in flip, that is not; nr_bits: none */
static vbb_u64 next_bit(const uint64_t *words, vbb_u64 nr_bits, vbb_u64 bit, uint64_t flip)
{
	uint64_t w;

	if (bit >= nr_bits)
		return nr_bits;
	w = (le64toh(words[bit / 64]) ^ flip) & ~(uint64_t)0 << bit % 64;
	while (!w) {
		bit = (bit | 63) + 1;
		if (bit >= nr_bits)
			return nr_bits;
		w = le64toh(words[bit / 64]) ^ flip;
	}
	return (bit & ~(vbb_u64)63) + (vbb_u64)__builtin_ctzll(w);
}

static int decode_words(struct vbb_bench_wire *w, size_t len, struct vbb_bench_out *out)
{
	const uint64_t *words = (const void *)(w->buf + VBB_HDR_LEN);
	vbb_u64 nr_bits = 8 * (vbb_u64)(len - VBB_HDR_LEN);
	vbb_u64 first, bit, end;

	memcpy(&first, w->buf, sizeof(first));
	for (bit = next_bit(words, nr_bits, 0, 0); bit < nr_bits;
	     bit = next_bit(words, nr_bits, end, 0)) {
		end = next_bit(words, nr_bits, bit, ~(uint64_t)0);
		vbb_bench_give(out, first + bit, end - bit);
	}
	return 0;
}

struct word {
	vbb_u64 v;
} __attribute__((may_alias));

vbb_u64 vbb_bench_read(const vbb_u8 *buf, size_t len)
{
	const struct word *word = (const void *)buf;
	vbb_u64 sum = 0;
	size_t i;

	for (i = 0; i < len / sizeof(*word); i++)
		sum |= word[i].v;
	return sum;
}

const struct vbb_bench_way vbb_bench_ways[] = {
	{ "plan", "ours: bitmap or records, whichever is planned", encode_plan, decode },
	{ "quick", "ours: bitmap or a record for each run, no search", encode_quick, decode },
	{ "bitmap", "ours: always bitmaps", encode_bitmap, decode },
	{ "records", "ours: always records", encode_records, decode },
	{ "old-format", "ours: the old array of frames, checked", encode_pfns, decode_pfns },
	{ "frames", "an array of frames, by a bare loop", encode_frames, decode_frames },
	{ "bare-records", "a record for each run, by a bare loop", encode_bare, decode_bare },
	{ "bit-by-bit", "a flat bitmap, a bit at a time", encode_bits, decode_bits },
	{ "find-next-bit", "a flat bitmap, a word at a time", encode_words, decode_words },
#ifdef VBB_HAVE_ROARING
	{ "CRoaring", "run-optimised, serialised whole; pages iterated", vbb_bench_roaring_encode,
	  vbb_bench_roaring_decode },
	{ "CRoaring-runs", "the same; ends of runs searched", vbb_bench_roaring_encode,
	  vbb_bench_roaring_decode_runs },
#endif
};

const size_t vbb_bench_nr_ways = ARRAY_SIZE(vbb_bench_ways);
_Static_assert(ARRAY_SIZE(vbb_bench_ways) <= VBB_BENCH_MAX_WAYS, "figures of a case have room");
