// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause
/* Bitmaps and records, word by word. Which ones is decided in plan.c, and when in encode.c. */
#include "write.h"

/* Begin a bitmap whose bit 0 is unit; the words follow as runs are added. */
/*@ requires \valid(e);
  @ assigns e->word_unit, e->word;
  @ ensures e->word_unit == unit && e->word == 0;
  @*/
static void vbb_enc_bitmap_open(struct vbb_enc *e, vbb_u64 unit)
{
	e->word_unit = unit;
	e->word = 0;
}

/* A record's first word */
/*@ requires vbb_rec_accepted(pfn, order, code);
  @ assigns \nothing;
  @ ensures vbb_pfn_of(\result) == pfn;
  @ ensures vbb_order_of(\result) == order;
  @ ensures vbb_code_of(\result) == code;
  @*/
static vbb_u64 vbb_rec_word(vbb_u64 pfn, vbb_u32 order, vbb_u32 code)
{
	vbb_u64 rec = pfn + vbb_shl(order, VIRTIO_BALLOON_REC_ORDER_SHIFT) +
		      vbb_shl(code, VIRTIO_BALLOON_REC_CODE_SHIFT);

	/*@ assert rec == pfn + 0x10000000000000 * (order + 0x40 * code); */
	/*@ assert rec / 0x10000000000000 == order + 0x40 * code; */
	return rec;
}

/* Write it. The caller has seen that there is room. */
/*@ requires \valid(cur) && vbb_cur_ok(*cur) && vbb_writable(cur->seg, cur->nr_segs);
  @ requires cur->left >= 8 && vbb_rec_accepted(pfn, order, code);
  @ assigns cur->idx, cur->off, cur->left;
  @ ensures vbb_cur_ok(*cur);
  @ ensures left: cur->left == \old(cur->left) - 8;
  @ ensures pos: vbb_pos(*cur) == \old(vbb_pos(*cur)) + 8;
  @*/
static void vbb_enc_store_rec(struct vbb_cur *cur, vbb_u64 pfn, vbb_u32 order, vbb_u32 code)
{
	vbb_cur_store64(cur, vbb_rec_word(pfn, order, code));
}

/*
 * The first word of a run's record: a block's, whose code is 0, or an extent's. Without a
 * condition, since which of the two a run is no processor can foresee.
 */
/*@ requires \valid_read(r) && vbb_run_ok(*r);
  @ requires extent <= 1 && (extent != 0 <==> !vbb_block(r->pfn, r->nr_pages));
  @ assigns \nothing;
  @*/
static vbb_u64 vbb_run_word(const struct vbb_range *r, vbb_u32 extent)
{
	const vbb_u32 ctz = vbb_ctz64(r->nr_pages), block = 1 - extent;
	vbb_u32 order;

	/*@ assert which: extent == 0 && block == 1 || extent == 1 && block == 0; */
	/*@ assert order: ctz * block == (block == 1 ? ctz : 0); */
	order = ctz * block;
	/*@ assert pages: vbb_pages_accepted(r->pfn, extent != 0 ? r->nr_pages : vbb_two(order),
	  @   vbb_limit); */
	return vbb_rec_word(r->pfn, order, VIRTIO_BALLOON_REC_EXTENT * extent);
}

/* A record for a run. The caller has seen that there is room. */
/*@ requires \valid(e) && vbb_enc_buf(e->cur, e->len, e->len_max) && vbb_run_ok(r);
  @ requires room: e->len_max - e->len >= 8 &&
  @   (!vbb_block(r.pfn, r.nr_pages) ==> e->len_max - e->len >= 16);
  @ assigns VBB_ENC_POS_OF(e), e->msg.nr_pages, e->msg.nr_blocks, e->msg.nr_extents;
  @ ensures buf: vbb_enc_buf(e->cur, e->len, e->len_max);
  @ ensures pos: vbb_pos(e->cur) - e->len == \old(vbb_pos(e->cur) - e->len);
  @ ensures block: vbb_block(r.pfn, r.nr_pages) ==>
  @   e->len == \old(e->len) + 8 + vbb_rec_rest(VIRTIO_BALLOON_REC_BLOCK);
  @ ensures extent: !vbb_block(r.pfn, r.nr_pages) ==>
  @   e->len == \old(e->len) + 8 + vbb_rec_rest(VIRTIO_BALLOON_REC_EXTENT);
  @*/
static void vbb_enc_store_run(struct vbb_enc *e, struct vbb_range r)
{
	const vbb_u32 extent = !vbb_run_is_block(&r);

	e->msg.nr_pages = vbb_add(e->msg.nr_pages, r.nr_pages);
	e->msg.nr_blocks = vbb_add(e->msg.nr_blocks, 1 - extent);
	e->msg.nr_extents = vbb_add(e->msg.nr_extents, extent);
	vbb_enc_store64(e, vbb_run_word(&r, extent));
	if (extent)
		vbb_enc_store64(e, r.nr_pages);
}

/*
 * Records for runs held back, from one on, as many as surely find room in the piece of memory at
 * hand, but for the last of all; not for those apart. Returns how many were looked at. A block has
 * both words of an extent written, too, and what comes next takes the second one back.
 */
/*@ requires \valid(e) && vbb_enc_buf(e->cur, e->len, e->len_max) && vbb_plan_ok(e->plan) &&
  @   first <= e->plan.nr_runs;
  @ assigns VBB_ENC_POS_OF(e), e->msg.nr_pages, e->msg.nr_blocks, e->msg.nr_extents;
  @ ensures buf: vbb_enc_buf(e->cur, e->len, e->len_max);
  @ ensures pos: vbb_pos(e->cur) - e->len == \old(vbb_pos(e->cur) - e->len);
  @ ensures words: \old(e->len) % 8 == 0 ==> e->len % 8 == 0;
  @ ensures few: 0 <= \result <= e->plan.nr_runs - first;
  @*/
static size_t vbb_enc_store_runs(struct vbb_enc *e, size_t first)
{
	vbb_u64 room = vbb_enc_room(e), nr_pages = 0, nr_extents = 0;
	size_t nr_words = 0, nr, i;
	vbb_u8 *p;

	if (first == e->plan.nr_runs || room < 16 || !vbb_cur_whole(&e->cur, 16))
		return 0;
	room = vbb_min(room, e->cur.seg[e->cur.idx].len - e->cur.off);
	nr = (size_t)vbb_min(e->plan.nr_runs - first - 1, room / 16);
	p = vbb_cur_step(&e->cur, 0);
	/*@ loop invariant 0 <= i <= nr && nr_words <= 2 * i && nr_extents <= i;
	  @ loop assigns i, nr_words, nr_pages, nr_extents;
	  @ loop variant nr - i;
	  @*/
	for (i = 0; i < nr; i++) {
		const struct vbb_range r = e->plan.run[first + i];
		const vbb_u32 extent = !vbb_run_is_block(&r);

		if (vbb_plan_is_apart(&e->plan, first + i))
			continue;
		vbb_store64(p + 8 * nr_words, vbb_run_word(&r, extent));
		vbb_store64(p + 8 * nr_words + 8, r.nr_pages);
		nr_words += 1 + extent;
		nr_extents = vbb_add(nr_extents, extent);
		nr_pages = vbb_add(nr_pages, r.nr_pages);
	}
	vbb_cur_step(&e->cur, 8 * nr_words);
	e->len += 8 * nr_words;
	e->msg.nr_pages = vbb_add(e->msg.nr_pages, nr_pages);
	e->msg.nr_extents = vbb_add(e->msg.nr_extents, nr_extents);
	e->msg.nr_blocks = vbb_add(e->msg.nr_blocks, vbb_sub(nr_words, 2 * nr_extents));
	return nr;
}

/* Begin a record with a bitmap. How many words it has is written at its end. */
/*@ requires \valid(e) && vbb_enc_buf(e->cur, e->len, e->len_max) && e->len_max - e->len >= 16 &&
  @   e->rec_order <= 51 && unit <= VBB_PFN_END && unit * vbb_two(e->rec_order) < VBB_PFN_END;
  @ assigns VBB_ENC_POS_OF(e), e->word_unit, e->word, e->msg.nr_bitmaps, e->rec, e->rec_pfn,
  @   e->rec_words;
  @ ensures buf: vbb_enc_buf(e->cur, e->len, e->len_max);
  @ ensures pos: vbb_pos(e->cur) - e->len == \old(vbb_pos(e->cur) - e->len);
  @ ensures words: \old(e->len) % 8 == 0 ==> e->len % 8 == 0;
  @ ensures len: e->len == \old(e->len) + 8;
  @ ensures in: vbb_enc_rec_ok(VBB_ENC_REC(e), e->cur);
  @ ensures place: vbb_enc_place_ok(e->rec_pfn, e->rec_order, e->rec_words, e->word_unit);
  @ ensures word: e->word_unit == unit <= VBB_PFN_END && e->word == 0;
  @*/
static void vbb_enc_rec_open(struct vbb_enc *e, vbb_u64 unit)
{
	e->msg.nr_bitmaps = vbb_add(e->msg.nr_bitmaps, 1);
	vbb_cur_copy(&e->rec, &e->cur);
	e->rec_pfn = vbb_shl(unit, e->rec_order);
	e->rec_words = 1;
	vbb_enc_store64(e, 0);
	vbb_enc_bitmap_open(e, unit);
}

/*@ requires \valid(e) && vbb_enc_buf(e->cur, e->len, e->len_max) && e->len_max - e->len >= 8;
  @ requires vbb_enc_rec_ok(VBB_ENC_REC(e), e->cur) && VBB_ENC_WORD_OK(e);
  @ assigns VBB_ENC_POS_OF(e), e->last;
  @ ensures buf: vbb_enc_buf(e->cur, e->len, e->len_max);
  @ ensures pos: vbb_pos(e->cur) - e->len == \old(vbb_pos(e->cur) - e->len);
  @ ensures words: \old(e->len) % 8 == 0 ==> e->len % 8 == 0;
  @ ensures len: e->len == \old(e->len) + 8;
  @ ensures rec: vbb_enc_rec_ok(VBB_ENC_REC(e), e->last);
  @ ensures last: vbb_enc_last_ok(e->last, e->cur, e->len);
  @*/
static void vbb_enc_rec_close(struct vbb_enc *e)
{
	struct vbb_cur rec;

	vbb_cur_copy(&rec, &e->rec);
	vbb_cur_copy(&e->last, &e->cur);
	vbb_enc_store_word(e);
	vbb_enc_store_rec(&rec, e->rec_pfn, e->rec_order, e->rec_words);
}

/* Begin a bitmap at unit, or go on in the last record: where its last word reaches unit. */
/*@ requires \valid(e) && vbb_enc_buf(e->cur, e->len, e->len_max) && e->len_max - e->len >= 16;
  @ requires e->format == VBB_FMT_RECORDS && order <= 51 && unit <= VBB_PFN_END &&
  @   unit * vbb_two(order) < VBB_PFN_END;
  @ requires VBB_ENC_LAST_REC(e);
  @ assigns e->cur, e->len, e->word_unit, e->word, e->msg.nr_bitmaps, e->rec, e->rec_order,
  @   e->rec_pfn, e->rec_words;
  @ ensures buf: vbb_enc_buf(e->cur, e->len, e->len_max);
  @ ensures pos: vbb_pos(e->cur) - e->len == \old(vbb_pos(e->cur) - e->len);
  @ ensures seg: e->cur.seg == \old(e->cur.seg) && e->cur.nr_segs == \old(e->cur.nr_segs);
  @ ensures words: \old(e->len) % 8 == 0 ==> e->len % 8 == 0;
  @ ensures in: VBB_ENC_IN_BITMAP(e) && e->rec_order == order;
  @*/
static void vbb_enc_rec_begin(struct vbb_enc *e, vbb_u64 unit, vbb_u32 order)
{
	if (e->rec_words && e->rec_order == order && unit >= e->word_unit &&
	    unit - e->word_unit <= 64) {
		vbb_cur_copy(&e->cur, &e->last);
		e->len -= 8;
		return;
	}
	e->rec_order = order;
	vbb_enc_rec_open(e, unit);
}

/* The word in hand is all known, and unit lies behind it. False where there is no room to go on. */
/*@ requires \valid(e) && vbb_enc_buf(e->cur, e->len, e->len_max);
  @ requires VBB_ENC_IN_BITMAP(e) && unit <= VBB_PFN_END &&
  @   vbb_whole(unit + 1, vbb_enc_order(e->format, e->rec_order));
  @ assigns VBB_ENC_BITMAP_OF(e);
  @ ensures buf: vbb_enc_buf(e->cur, e->len, e->len_max);
  @ ensures pos: vbb_pos(e->cur) - e->len == \old(vbb_pos(e->cur) - e->len);
  @ ensures words: \old(e->len) % 8 == 0 ==> e->len % 8 == 0;
  @ ensures in: VBB_ENC_IN_BITMAP(e);
  @ ensures on: \result != 0 ==> e->len > \old(e->len) && e->word == 0;
  @*/
static inline bool vbb_enc_bitmap_turn(struct vbb_enc *e, vbb_u64 unit)
{
	bool full = e->format == VBB_FMT_RECORDS && e->rec_words == VIRTIO_BALLOON_REC_BITMAP_MAX;

	if (vbb_enc_room(e) < (full ? 24 : 16))
		return false;
	if (full) {
		vbb_enc_rec_close(e);
		vbb_enc_rec_open(e, unit);
		return true;
	}
	e->rec_words++;
	vbb_enc_store_word(e);
	vbb_enc_bitmap_open(e, vbb_add(e->word_unit, 64));
	/*@ assert next: e->word_unit == \at(e->word_unit, Pre) + 64; */
	/*@ assert place: e->format == VBB_FMT_RECORDS ==>
	  @   vbb_enc_place_ok(e->rec_pfn, e->rec_order, e->rec_words, e->word_unit); */
	return true;
}

/*
 * The word in hand is empty. Write words that are all v in its place, nr at most, while there is
 * room to go on in the same bitmap. How many?
 */
/*@ requires \valid(e) && vbb_enc_buf(e->cur, e->len, e->len_max);
  @ requires VBB_ENC_IN_BITMAP(e) && e->word == 0;
  @ requires v != 0 ==> vbb_whole(e->word_unit + 64 * nr, vbb_enc_order(e->format, e->rec_order));
  @ assigns VBB_ENC_POS_OF(e), e->word_unit, e->rec_words;
  @ ensures buf: vbb_enc_buf(e->cur, e->len, e->len_max);
  @ ensures pos: vbb_pos(e->cur) - e->len == \old(vbb_pos(e->cur) - e->len);
  @ ensures words: \old(e->len) % 8 == 0 ==> e->len % 8 == 0;
  @ ensures in: VBB_ENC_IN_BITMAP(e);
  @ ensures few: 0 <= \result <= nr && e->word_unit == \old(e->word_unit) + 64 * \result;
  @ ensures len: e->len == \old(e->len) + 8 * \result;
  @*/
static __attribute__((__noinline__)) vbb_u64 vbb_enc_bitmap_fill(struct vbb_enc *e, vbb_u64 v,
								    vbb_u64 nr)
{
	nr = vbb_min(nr, vbb_enc_room(e) / 8 - 1);
	if (e->format == VBB_FMT_RECORDS)
		nr = vbb_min(nr, VIRTIO_BALLOON_REC_BITMAP_MAX - e->rec_words);
	if (!nr)
		return 0;
	vbb_cur_fill64(&e->cur, v, nr);
	e->len += 8 * nr;
	e->rec_words += (vbb_u32)nr;
	e->word_unit += 64 * nr;
	return nr;
}

/* Add [unit, unit + nr) to the bitmap in hand, at or behind its next word. */
/*@ requires \valid(e) && vbb_enc_buf(e->cur, e->len, e->len_max) && unit + nr <= VBB_PFN_END;
  @ requires VBB_ENC_IN_BITMAP(e) && vbb_whole(unit + nr, vbb_enc_order(e->format, e->rec_order));
  @ assigns VBB_ENC_BITMAP_OF(e);
  @ ensures buf: vbb_enc_buf(e->cur, e->len, e->len_max);
  @ ensures pos: vbb_pos(e->cur) - e->len == \old(vbb_pos(e->cur) - e->len);
  @ ensures words: \old(e->len) % 8 == 0 ==> e->len % 8 == 0;
  @ ensures in: VBB_ENC_IN_BITMAP(e);
  @*/
static inline void vbb_enc_bitmap_add(struct vbb_enc *e, vbb_u64 unit, vbb_u64 nr)
{
	/*@ loop invariant unit + nr == \at(unit + nr, Pre);
	  @ loop invariant buf: vbb_enc_buf(e->cur, e->len, e->len_max);
	  @ loop invariant pos: vbb_pos(e->cur) - e->len == \at(vbb_pos(e->cur) - e->len, Pre);
	  @ loop invariant words: \at(e->len, Pre) % 8 == 0 ==> e->len % 8 == 0;
	  @ loop invariant in: VBB_ENC_IN_BITMAP(e);
	  @ loop assigns unit, nr, VBB_ENC_BITMAP_OF(e);
	  @ loop variant nr + (e->len_max - e->len);
	  @*/
	while (nr) {
		vbb_u64 bit = vbb_sub(unit, e->word_unit), n = 0;

		if (bit > 63) {
			if (!vbb_enc_bitmap_turn(e, unit))
				return;
			bit = vbb_sub(unit, e->word_unit);
			if (bit > 63)
				vbb_enc_bitmap_fill(e, 0, bit / 64);
			continue;
		}
		/* full words, of which the one in hand is one; the last a run to come may share */
		if (nr > 128 && !bit) {
			e->word = 0;
			n = 64 * vbb_enc_bitmap_fill(e, ~(vbb_u64)0, (nr - 1) / 64);
		}
		if (!n) {
			n = nr < 64 - bit ? nr : 64 - bit;
			e->word |= vbb_mask64((vbb_u32)bit, (vbb_u32)n);
		}
		unit += n;
		nr -= n;
	}
}

/* Add a run to the bitmap in hand, whose units have that order. */
/*@ requires \valid(e) && vbb_enc_buf(e->cur, e->len, e->len_max) && vbb_below(r);
  @ requires VBB_ENC_IN_BITMAP(e) && order == vbb_enc_order(e->format, e->rec_order) <= 51;
  @ assigns VBB_ENC_POS_OF(e), e->word_unit, e->word, e->msg, e->rec, e->rec_pfn, e->rec_words,
  @   e->last;
  @ ensures buf: vbb_enc_buf(e->cur, e->len, e->len_max);
  @ ensures pos: vbb_pos(e->cur) - e->len == \old(vbb_pos(e->cur) - e->len);
  @ ensures words: \old(e->len) % 8 == 0 ==> e->len % 8 == 0;
  @ ensures in: VBB_ENC_IN_BITMAP(e);
  @*/
static inline void vbb_enc_add_run(struct vbb_enc *e, struct vbb_range r, vbb_u32 order)
{
	vbb_u64 unit = vbb_shr(r.pfn, order), nr = vbb_shr(r.nr_pages, order);

	/*@ assert (unit + nr) * vbb_two(order) <= vbb_limit; */
	/*@ assert vbb_whole(unit + nr, order); */
	e->msg.nr_pages = vbb_add(e->msg.nr_pages, r.nr_pages);
	vbb_enc_bitmap_add(e, unit, nr);
}

/*
 * Add the first of the runs held back to the bitmap in hand, whose units have that order; all, or
 * not those apart. Most of many lie in the word in hand, which is in a register meanwhile.
 */
/*@ requires \valid(e) && vbb_enc_buf(e->cur, e->len, e->len_max) && vbb_plan_ok(e->plan) &&
  @   nr <= e->plan.nr_runs;
  @ requires VBB_ENC_IN_BITMAP(e) && order == vbb_enc_order(e->format, e->rec_order) <= 51;
  @ assigns VBB_ENC_POS_OF(e), e->word_unit, e->word, e->msg, e->rec, e->rec_pfn, e->rec_words,
  @   e->last;
  @ ensures buf: vbb_enc_buf(e->cur, e->len, e->len_max);
  @ ensures pos: vbb_pos(e->cur) - e->len == \old(vbb_pos(e->cur) - e->len);
  @ ensures words: \old(e->len) % 8 == 0 ==> e->len % 8 == 0;
  @ ensures in: VBB_ENC_IN_BITMAP(e);
  @*/
static void vbb_enc_add_runs(struct vbb_enc *e, size_t nr, vbb_u32 order, bool all)
{
	vbb_u64 word = e->word, nr_pages = 0;
	size_t i;

	/*@ loop invariant 0 <= i <= nr;
	  @ loop invariant buf: vbb_enc_buf(e->cur, e->len, e->len_max);
	  @ loop invariant pos: vbb_pos(e->cur) - e->len == \at(vbb_pos(e->cur) - e->len, Pre);
	  @ loop invariant words: \at(e->len, Pre) % 8 == 0 ==> e->len % 8 == 0;
	  @ loop invariant in: vbb_enc_in_bitmap(e->format, VBB_ENC_REC(e), e->cur, e->len,
	  @   e->len_max, e->start_pfn, e->word_unit, word);
	  @ loop assigns i, word, nr_pages, VBB_ENC_POS_OF(e), e->word_unit, e->word, e->msg,
	  @   e->rec, e->rec_pfn, e->rec_words, e->last;
	  @ loop variant nr - i;
	  @*/
	for (i = 0; i < nr; i++) {
		const struct vbb_range r = e->plan.run[i];
		vbb_u64 unit = vbb_shr(r.pfn, order), bit = vbb_sub(unit, e->word_unit);
		vbb_u64 nr_units = vbb_shr(r.nr_pages, order);

		if (!all && vbb_plan_is_apart(&e->plan, i))
			continue;
		if (bit > 63 || vbb_sub(nr_units, 1) >= 64 - bit) {
			e->word = word;
			vbb_enc_add_run(e, r, order);
			word = e->word;
			continue;
		}
		/*@ assert (unit + nr_units) * vbb_two(order) <= vbb_limit; */
		/*@ assert vbb_whole(unit + nr_units, order); */
		nr_pages = vbb_add(nr_pages, r.nr_pages);
		word |= vbb_mask64((vbb_u32)bit, (vbb_u32)nr_units);
	}
	e->word = word;
	e->msg.nr_pages = vbb_add(e->msg.nr_pages, nr_pages);
}

/* The plan has promised that what it names finds room; it is asked for where that matters. */
/*@ requires \valid_read(e) && \valid_read(rec) && \separated(e, rec) && vbb_rec_ok(*rec);
  @ requires e->len <= e->len_max;
  @ assigns \nothing;
  @ ensures \result != 0 ==> e->len_max - e->len >= (rec->nr_words != 0 ? 16 : 8);
  @ ensures \result != 0 && rec->nr_words == 0 && !vbb_block(rec->pfn, rec->nr_pages) ==>
  @   e->len_max - e->len >= 16;
  @*/
static bool vbb_enc_has_room(const struct vbb_enc *e, const struct vbb_rec *rec)
{
	return vbb_enc_room(e) >= (rec->nr_words ? 16 : 8 * vbb_rec_words(rec));
}

/* Write the runs held back as one bitmap; not those apart. */
/*@ requires \valid(e) && vbb_enc_buf(e->cur, e->len, e->len_max) && vbb_plan_ok(e->plan);
  @ requires e->format == VBB_FMT_RECORDS && vbb_one_ok(e->plan);
  @ requires VBB_ENC_LAST_REC(e);
  @ assigns VBB_ENC_RECORDS_OF(e);
  @ ensures buf: vbb_enc_buf(e->cur, e->len, e->len_max);
  @ ensures pos: vbb_pos(e->cur) - e->len == \old(vbb_pos(e->cur) - e->len);
  @ ensures seg: e->cur.seg == \old(e->cur.seg) && e->cur.nr_segs == \old(e->cur.nr_segs);
  @ ensures words: \old(e->len) % 8 == 0 ==> e->len % 8 == 0;
  @ ensures any: VBB_ENC_LAST_REC(e);
  @*/
static void vbb_enc_flush_one(struct vbb_enc *e)
{
	const vbb_u32 order = e->plan.order;

	if (vbb_enc_room(e) < 16)
		return;
	vbb_enc_rec_begin(e, vbb_shr(e->plan.one_pfn, order), order);
	vbb_enc_add_runs(e, e->plan.nr_runs, order, false);
	vbb_enc_rec_close(e);
}

/* Write each of the runs held back as a record of its own; not those apart. */
/*@ requires \valid(e) && vbb_enc_buf(e->cur, e->len, e->len_max) && vbb_plan_ok(e->plan);
  @ requires e->format == VBB_FMT_RECORDS;
  @ assigns VBB_ENC_POS_OF(e), e->rec_words, e->msg;
  @ ensures buf: vbb_enc_buf(e->cur, e->len, e->len_max);
  @ ensures pos: vbb_pos(e->cur) - e->len == \old(vbb_pos(e->cur) - e->len);
  @ ensures words: \old(e->len) % 8 == 0 ==> e->len % 8 == 0;
  @ ensures any: e->rec_words == 0;
  @*/
static void vbb_enc_flush_alone(struct vbb_enc *e)
{
	size_t i;

	e->rec_words = 0;
	/*@ loop invariant 0 <= i <= e->plan.nr_runs;
	  @ loop invariant buf: vbb_enc_buf(e->cur, e->len, e->len_max);
	  @ loop invariant pos: vbb_pos(e->cur) - e->len == \at(vbb_pos(e->cur) - e->len, Pre);
	  @ loop invariant words: \at(e->len, Pre) % 8 == 0 ==> e->len % 8 == 0;
	  @ loop assigns i, VBB_ENC_POS_OF(e), e->msg;
	  @ loop variant e->plan.nr_runs - i;
	  @*/
	for (i = vbb_enc_store_runs(e, 0); i < e->plan.nr_runs;
	     i += 1 + vbb_enc_store_runs(e, i + 1)) {
		const struct vbb_range r = e->plan.run[i];

		if (vbb_plan_is_apart(&e->plan, i))
			continue;
		if (vbb_enc_room(e) < 8 * (vbb_u64)vbb_run_words(&r))
			break;
		vbb_enc_store_run(e, r);
	}
}

void vbb_write_records(struct vbb_enc *e)
{
	struct vbb_rec rec;
	struct vbb_range r;

	if (e->plan.kind == VBB_PLAN_ONE)
		vbb_enc_flush_one(e);
	else if (e->plan.kind == VBB_PLAN_ALONE)
		vbb_enc_flush_alone(e);
	vbb_plan_start(&e->plan);
	/*@ loop invariant buf: vbb_enc_buf(e->cur, e->len, e->len_max);
	  @ loop invariant pos: vbb_pos(e->cur) - e->len == \at(vbb_pos(e->cur) - e->len, Pre);
	  @ loop invariant seg: e->cur.seg == \at(e->cur.seg, Pre) &&
	  @   e->cur.nr_segs == \at(e->cur.nr_segs, Pre);
	  @ loop invariant words: \at(e->len, Pre) % 8 == 0 ==> e->len % 8 == 0;
	  @ loop invariant any: VBB_ENC_LAST_REC(e);
	  @ loop invariant plan: vbb_plan_ok(e->plan);
	  @ loop invariant given: vbb_given(e->plan) && vbb_between(e->plan);
	  @ loop assigns rec, r, VBB_ENC_RECORDS_OF(e), e->plan;
	  @ loop variant vbb_records_left(e->plan);
	  @*/
	while (vbb_plan_next(&e->plan, &rec) && vbb_enc_has_room(e, &rec)) {
		if (rec.nr_words) {
			vbb_enc_rec_begin(e, vbb_shr(rec.pfn, rec.order), rec.order);
			/*@ loop invariant buf: vbb_enc_buf(e->cur, e->len, e->len_max);
			  @ loop invariant pos: vbb_pos(e->cur) - e->len ==
			  @   \at(vbb_pos(e->cur) - e->len, Pre);
			  @ loop invariant seg: e->cur.seg == \at(e->cur.seg, Pre) &&
			  @   e->cur.nr_segs == \at(e->cur.nr_segs, Pre);
			  @ loop invariant words: \at(e->len, Pre) % 8 == 0 ==> e->len % 8 == 0;
			  @ loop invariant in: VBB_ENC_IN_BITMAP(e);
			  @ loop invariant plan: vbb_plan_ok(e->plan);
			  @ loop invariant given: vbb_given(e->plan) && vbb_in_bitmap(e->plan);
			  @ loop invariant left: 0 <= vbb_records_left(e->plan) <=
			  @   \at(vbb_records_left(e->plan), LoopEntry);
			  @ loop assigns r, VBB_ENC_POS_OF(e), e->word_unit, e->word, e->msg,
			  @   e->rec, e->rec_pfn, e->rec_words, e->last, e->plan;
			  @ loop variant vbb_runs_left(e->plan);
			  @*/
			while (vbb_plan_next_run(&e->plan, &r))
				vbb_enc_add_run(e, r, rec.order);
			vbb_enc_rec_close(e);
			continue;
		}
		e->rec_words = 0;
		r.pfn = rec.pfn;
		r.nr_pages = rec.nr_pages;
		vbb_enc_store_run(e, r);
	}
	vbb_plan_clear(&e->plan);
	e->nr_words = 0;
}

void vbb_write_bitmap(struct vbb_enc *e, size_t nr)
{
	if (!e->len) {
		e->start_pfn = vbb_align_down(e->plan.run[0].pfn, 6);
		vbb_enc_bitmap_open(e, e->start_pfn);
	}
	vbb_enc_add_runs(e, nr, 0, true);
	vbb_plan_drop(&e->plan, nr);
}
