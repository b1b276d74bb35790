// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause
/* Pages and numbers to messages. What records a message has is decided in plan.c. */
#include "plan.h"

enum {
	STATE_BAD,	/* the configuration is no good */
	STATE_CLOSED,	/* between messages */
	STATE_OPEN,	/* in a message */
};

#ifdef __FRAMAC__
#include "proof/encode.h"
#endif

/* Number by number: some compilers call memcpy() for all at once. */
/*@ requires \valid(to) && \valid_read(from) && \separated(to, from);
  @ assigns *to;
  @ ensures *to == \old(*from);
  @*/
static void vbb_cur_copy(struct vbb_cur *to, const struct vbb_cur *from)
{
	to->seg = from->seg;
	to->nr_segs = from->nr_segs;
	to->idx = from->idx;
	to->off = from->off;
	to->left = from->left;
}

/* How much of the payload is still free, bytes */
/*@ requires \valid_read(e) && e->len <= e->len_max;
  @ assigns \nothing;
  @ ensures \result == e->len_max - e->len;
  @*/
static vbb_u64 vbb_enc_room(const struct vbb_enc *e)
{
	return e->len_max - e->len;
}

/* Cut a run's front off. */
/*@ requires \valid(r) && r->pfn + r->nr_pages <= 0x8000000000000000 && nr_pages <= r->nr_pages;
  @ assigns *r;
  @ ensures r->pfn == \old(r->pfn) + nr_pages && r->nr_pages == \old(r->nr_pages) - nr_pages;
  @*/
static void vbb_run_cut(struct vbb_range *r, vbb_u64 nr_pages)
{
	r->pfn += nr_pages;
	r->nr_pages -= nr_pages;
}

/* The caller has seen that there is room. */
/*@ requires \valid(e) && vbb_enc_buf(e->cur, e->len, e->len_max) && e->len_max - e->len >= 8;
  @ assigns VBB_ENC_POS_OF(e);
  @ ensures buf: vbb_enc_buf(e->cur, e->len, e->len_max);
  @ ensures pos: vbb_pos(e->cur) - e->len == \old(vbb_pos(e->cur) - e->len);
  @ ensures len: e->len == \old(e->len) + 8 && e->cur.left == \old(e->cur.left) - 8;
  @*/
static void vbb_enc_store64(struct vbb_enc *e, vbb_u64 v)
{
	vbb_cur_store64(&e->cur, v);
	e->len += 8;
}

/* Write the word in hand. */
/*@ requires \valid(e) && vbb_enc_buf(e->cur, e->len, e->len_max) && e->len_max - e->len >= 8;
  @ requires VBB_ENC_WORD_OK(e);
  @ assigns VBB_ENC_POS_OF(e);
  @ ensures buf: vbb_enc_buf(e->cur, e->len, e->len_max);
  @ ensures pos: vbb_pos(e->cur) - e->len == \old(vbb_pos(e->cur) - e->len);
  @ ensures len: e->len == \old(e->len) + 8 && e->cur.left == \old(e->cur.left) - 8;
  @*/
static void vbb_enc_store_word(struct vbb_enc *e)
{
	vbb_enc_store64(e, e->word);
}

/* Has a BITMAP message a first word? It has a bit set as soon as there is one. */
/*@ requires \valid_read(e);
  @ assigns \nothing;
  @ ensures \result != 0 <==> e->len != 0 || e->word != 0;
  @*/
static bool vbb_enc_begun(const struct vbb_enc *e)
{
	return e->len || e->word;
}

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

/*@ requires \valid(e) && vbb_enc_buf(e->cur, e->len, e->len_max) && e->len_max - e->len >= 8;
  @ requires vbb_rec_accepted(pfn, order, VIRTIO_BALLOON_REC_BLOCK);
  @ requires vbb_pages_accepted(pfn, vbb_two(order), vbb_limit);
  @ assigns VBB_ENC_POS_OF(e), e->msg.nr_blocks;
  @ ensures buf: vbb_enc_buf(e->cur, e->len, e->len_max);
  @ ensures pos: vbb_pos(e->cur) - e->len == \old(vbb_pos(e->cur) - e->len);
  @ ensures len: e->len == \old(e->len) + 8 + vbb_rec_rest(VIRTIO_BALLOON_REC_BLOCK);
  @*/
static void vbb_enc_store_block(struct vbb_enc *e, vbb_u64 pfn, vbb_u32 order)
{
	e->msg.nr_blocks = vbb_add(e->msg.nr_blocks, 1);
	e->len += 8;
	vbb_enc_store_rec(&e->cur, pfn, order, VIRTIO_BALLOON_REC_BLOCK);
}

/*@ requires \valid(e) && vbb_enc_buf(e->cur, e->len, e->len_max) && e->len_max - e->len >= 16;
  @ requires vbb_rec_accepted(pfn, 0, VIRTIO_BALLOON_REC_EXTENT);
  @ requires vbb_pages_accepted(pfn, nr_pages, vbb_limit);
  @ assigns VBB_ENC_POS_OF(e), e->msg.nr_extents;
  @ ensures buf: vbb_enc_buf(e->cur, e->len, e->len_max);
  @ ensures pos: vbb_pos(e->cur) - e->len == \old(vbb_pos(e->cur) - e->len);
  @ ensures len: e->len == \old(e->len) + 8 + vbb_rec_rest(VIRTIO_BALLOON_REC_EXTENT);
  @*/
static void vbb_enc_store_extent(struct vbb_enc *e, vbb_u64 pfn, vbb_u64 nr_pages)
{
	e->msg.nr_extents = vbb_add(e->msg.nr_extents, 1);
	e->len += 8;
	vbb_enc_store_rec(&e->cur, pfn, 0, VIRTIO_BALLOON_REC_EXTENT);
	vbb_enc_store64(e, nr_pages);
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
	vbb_u64 bit = vbb_sub(unit, e->word_unit);

	/*@ assert (unit + nr) * vbb_two(order) <= vbb_limit; */
	/*@ assert vbb_whole(unit + nr, order); */
	e->msg.nr_pages = vbb_add(e->msg.nr_pages, r.nr_pages);
	/* most of many runs lie in the word in hand */
	if (bit < 64 && vbb_sub(nr, 1) < 64 - bit)
		e->word |= vbb_mask64((vbb_u32)bit, (vbb_u32)nr);
	else
		vbb_enc_bitmap_add(e, unit, nr);
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
	size_t i;

	if (vbb_enc_room(e) < 16)
		return;
	vbb_enc_rec_begin(e, vbb_shr(e->plan.one_pfn, order), order);
	/*@ loop invariant 0 <= i <= e->plan.nr_runs;
	  @ loop invariant buf: vbb_enc_buf(e->cur, e->len, e->len_max);
	  @ loop invariant pos: vbb_pos(e->cur) - e->len == \at(vbb_pos(e->cur) - e->len, Pre);
	  @ loop invariant seg: e->cur.seg == \at(e->cur.seg, Pre) &&
	  @   e->cur.nr_segs == \at(e->cur.nr_segs, Pre);
	  @ loop invariant words: \at(e->len, Pre) % 8 == 0 ==> e->len % 8 == 0;
	  @ loop invariant in: VBB_ENC_IN_BITMAP(e);
	  @ loop assigns i, VBB_ENC_POS_OF(e), e->word_unit, e->word, e->msg, e->rec, e->rec_pfn,
	  @   e->rec_words, e->last;
	  @ loop variant e->plan.nr_runs - i;
	  @*/
	for (i = 0; i < e->plan.nr_runs; i++)
		if (!vbb_plan_is_apart(&e->plan, i))
			vbb_enc_add_run(e, e->plan.run[i], order);
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
	for (i = 0; i < e->plan.nr_runs; i++) {
		const struct vbb_range r = e->plan.run[i];

		if (vbb_plan_is_apart(&e->plan, i))
			continue;
		if (vbb_run_is_block(&r) && vbb_enc_room(e) >= 8)
			vbb_enc_store_block(e, r.pfn, vbb_ctz64(r.nr_pages));
		else if (vbb_enc_room(e) >= 16)
			vbb_enc_store_extent(e, r.pfn, r.nr_pages);
		else
			break;
		e->msg.nr_pages = vbb_add(e->msg.nr_pages, r.nr_pages);
	}
}

/* Write the runs held back as records. */
/*@ requires \valid(e) && vbb_enc_buf(e->cur, e->len, e->len_max) && vbb_plan_ok(e->plan);
  @ requires e->format == VBB_FMT_RECORDS && vbb_counted(e->plan);
  @ requires VBB_ENC_LAST_REC(e);
  @ assigns VBB_ENC_RECORDS_OF(e), e->nr_words, e->plan;
  @ ensures buf: vbb_enc_buf(e->cur, e->len, e->len_max);
  @ ensures pos: vbb_pos(e->cur) - e->len == \old(vbb_pos(e->cur) - e->len);
  @ ensures seg: e->cur.seg == \old(e->cur.seg) && e->cur.nr_segs == \old(e->cur.nr_segs);
  @ ensures words: \old(e->len) % 8 == 0 ==> e->len % 8 == 0;
  @ ensures any: VBB_ENC_LAST_REC(e);
  @ ensures none: e->plan.nr_runs == 0 && e->plan.late_sum.nr_words == 0 && e->nr_words == 0;
  @ ensures plan: vbb_plan_ok(e->plan);
  @*/
static void vbb_enc_flush_records(struct vbb_enc *e)
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
		e->msg.nr_pages = vbb_add(e->msg.nr_pages, rec.nr_pages);
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
		if (vbb_rec_words(&rec) == 1)
			vbb_enc_store_block(e, rec.pfn, rec.order);
		else
			vbb_enc_store_extent(e, rec.pfn, rec.nr_pages);
	}
	vbb_plan_clear(&e->plan);
	e->nr_words = 0;
}

/* Write the first of the runs held back into the bitmap, but for its last word. */
/*@ requires \valid(e) && vbb_enc_buf(e->cur, e->len, e->len_max) && vbb_plan_ok(e->plan) &&
  @   nr <= e->plan.nr_runs;
  @ requires e->format == VBB_FMT_BITMAP && e->start_pfn < VBB_PFN_END;
  @ requires VBB_ENC_IN_BITMAP(e);
  @ assigns VBB_ENC_POS_OF(e), e->word_unit, e->word, e->rec_words, e->rec_pfn, e->rec, e->last,
  @   e->msg, e->start_pfn, e->plan.nr_runs, VBB_ENC_HELD_OF(e);
  @ ensures buf: vbb_enc_buf(e->cur, e->len, e->len_max);
  @ ensures pos: vbb_pos(e->cur) - e->len == \old(vbb_pos(e->cur) - e->len);
  @ ensures words: \old(e->len) % 8 == 0 ==> e->len % 8 == 0;
  @ ensures in: VBB_ENC_IN_BITMAP(e);
  @ ensures start: e->start_pfn < VBB_PFN_END;
  @ ensures plan: vbb_plan_ok(e->plan) && e->plan.nr_runs == \old(e->plan.nr_runs) - nr;
  @*/
static void vbb_enc_flush_bitmap(struct vbb_enc *e, size_t nr)
{
	size_t i;

	/*@ loop invariant 0 <= i <= nr;
	  @ loop invariant buf: vbb_enc_buf(e->cur, e->len, e->len_max);
	  @ loop invariant pos: vbb_pos(e->cur) - e->len == \at(vbb_pos(e->cur) - e->len, Pre);
	  @ loop invariant words: \at(e->len, Pre) % 8 == 0 ==> e->len % 8 == 0;
	  @ loop invariant in: VBB_ENC_IN_BITMAP(e);
	  @ loop invariant start: e->start_pfn < VBB_PFN_END;
	  @ loop assigns i, VBB_ENC_POS_OF(e), e->word_unit, e->word, e->rec_words, e->rec_pfn,
	  @   e->rec, e->last, e->msg, e->start_pfn;
	  @ loop variant nr - i;
	  @*/
	for (i = 0; i < nr; i++) {
		if (!vbb_enc_begun(e)) {
			e->start_pfn = vbb_align_down(e->plan.run[i].pfn, 6);
			vbb_enc_bitmap_open(e, e->start_pfn);
		}
		vbb_enc_add_run(e, e->plan.run[i], 0);
	}
	vbb_plan_drop(&e->plan, nr);
}

/* Words that the runs held back take as one bitmap */
/*@ requires \valid_read(p) && p->nr_runs >= 1 && vbb_plan_ok(*p);
  @ assigns \nothing;
  @*/
static vbb_u64 vbb_enc_bitmap_words(const struct vbb_plan *p)
{
	return vbb_shr(vbb_run_end(&p->run[p->nr_runs - 1]) + 63, 6) - vbb_shr(p->run[0].pfn, 6);
}

/*
 * Write runs held back, at the end all of them, and decide for a format where that is still open.
 * Not for BITMAP before as many runs were taken as VBB_ENC_BOUND() promises, since after that a
 * message takes no runs from far away.
 */
/*@ requires \valid(e) && vbb_enc_open(*e) && e->plan.nr_runs >= 1;
  @ assigns VBB_ENC_OPEN_OF(e);
  @ ensures open: vbb_enc_open(*e);
  @ ensures format: e->format == VBB_FMT_BITMAP || e->format == VBB_FMT_RECORDS;
  @ ensures all: end != 0 ==> e->plan.nr_runs == 0;
  @ ensures less: \old(e->plan.nr_runs) >= 2 ==> e->plan.nr_runs < \old(e->plan.nr_runs);
  @ ensures late: e->plan.late_sum.nr_words == 0 ||
  @   e->plan.late_sum.nr_words == \old(e->plan.late_sum.nr_words);
  @*/
static void vbb_enc_flush(struct vbb_enc *e, bool end)
{
	bool quick = e->cfg.formats == VBB_FMT_QUICK;
	vbb_u64 promised, nr_words, bitmap_words;

	if (e->format != VBB_FMT_BITMAP) {
		/* what was promised when the late runs were taken; of equals what is simple */
		promised = e->nr_words + vbb_plan_late_words(&e->plan);
		nr_words = vbb_plan_count(&e->plan, false, quick);
		if (nr_words > promised ||
		    (nr_words == promised && !e->nr_words && !vbb_plan_is_simple(&e->plan)))
			nr_words = vbb_plan_count(&e->plan, true, quick);
		bitmap_words = vbb_enc_bitmap_words(&e->plan);
		/* a bitmap that is not longer fits where the records would */
		if (e->format == VBB_FMT_AUTO && (end || e->nr_put >= (e->len_max + 15) / 16) &&
		    bitmap_words <= nr_words)
			e->format = VBB_FMT_BITMAP;
		else
			e->format = VBB_FMT_RECORDS;
	}
	if (e->format == VBB_FMT_RECORDS)
		vbb_enc_flush_records(e);
	else
		vbb_enc_flush_bitmap(e, end ? e->plan.nr_runs : e->plan.nr_runs / 2);
}

/* Will the runs held back, and one more, surely find room? */
/*@ requires \valid_read(e) && e->len <= e->len_max && vbb_plan_ok(e->plan);
  @ requires e->nr_words <= 3 * VBB_WORDS_MAX;
  @ requires \valid_read(more) && \separated(e, more) && vbb_range_ok(*more);
  @ assigns \nothing;
  @*/
static bool vbb_enc_fits(const struct vbb_enc *e, const struct vbb_range *more)
{
	return 8 * (e->nr_words + vbb_plan_late_words_with(&e->plan, more)) <= vbb_enc_room(e);
}

/*
 * Make it so, where it is not. Late runs are counted as if they were apart, until that is too much;
 * then all is planned together, so that less is promised. It is written where few runs came since
 * the last time, lest all be planned again for each run when the message is nearly full.
 */
/*@ requires \valid(e) && vbb_enc_open(*e) && (e->format == VBB_FMT_AUTO ||
  @   e->format == VBB_FMT_BITMAP ||
  @   e->format == VBB_FMT_RECORDS);
  @ requires \valid_read(more) && \separated(e, more) && vbb_range_ok(*more);
  @ assigns VBB_ENC_OPEN_OF(e);
  @ ensures open: vbb_enc_open(*e);
  @ ensures format: (e->format == VBB_FMT_AUTO || e->format == VBB_FMT_BITMAP ||
  @   e->format == VBB_FMT_RECORDS);
  @ ensures less: \result != 0 ==> e->plan.nr_runs <= \old(e->plan.nr_runs) &&
  @   e->plan.late_sum.nr_words == 0 && \old(e->plan.late_sum.nr_words) != 0;
  @*/
static bool vbb_enc_make_room(struct vbb_enc *e, const struct vbb_range *more)
{
	vbb_u64 nr_words;
	size_t nr_late;

	if (!e->plan.late_sum.nr_words)
		return false;
	nr_words = vbb_plan_count(&e->plan, false, e->cfg.formats == VBB_FMT_QUICK);
	if (nr_words > e->nr_words + vbb_plan_late_words(&e->plan))
		return false;
	e->nr_words = nr_words;
	nr_late = vbb_plan_keep(&e->plan);
	if (!vbb_enc_fits(e, more))
		return false;
	if (e->plan.nr_runs > 64 && nr_late < e->plan.nr_runs / 8)
		vbb_enc_flush(e, false);
	return true;
}

/* Take the front of r, or change something so that the next call will. */
/*@ requires \valid(e) && \valid(r) && \separated(e, r) && vbb_below(*r) && vbb_enc_open(*e);
  @ requires e->format == VBB_FMT_AUTO || e->format == VBB_FMT_RECORDS;
  @ assigns VBB_ENC_OPEN_OF(e), e->nr_put, *r;
  @ ensures open: vbb_enc_open(*e);
  @ ensures format: (e->format == VBB_FMT_AUTO || e->format == VBB_FMT_BITMAP ||
  @   e->format == VBB_FMT_RECORDS);
  @ ensures rest: r->pfn + r->nr_pages == \old(r->pfn + r->nr_pages) && r->pfn >= \old(r->pfn);
  @ ensures less: \result == 0 && \old(r->nr_pages) != 0 ==>
  @   vbb_enc_todo(r->nr_pages, e->plan.nr_runs, e->plan.late_sum.nr_words) <
  @   \old(vbb_enc_todo(r->nr_pages, e->plan.nr_runs, e->plan.late_sum.nr_words));
  @ ensures \result == 0 || \result == VBB_E_NOSPC;
  @*/
static int vbb_enc_put_records(struct vbb_enc *e, struct vbb_range *r)
{
	struct vbb_range part;

	if (!vbb_plan_part(&e->plan, r, &part))
		return 0;
	if (!vbb_enc_fits(e, &part))
		return vbb_enc_make_room(e, &part) ? 0 : VBB_E_NOSPC;
	if (vbb_plan_add(&e->plan, &part)) {
		e->nr_put = vbb_add(e->nr_put, 1);
		vbb_run_cut(r, part.nr_pages);
	} else {
		vbb_enc_flush(e, false);
	}
	return 0;
}

/* Likewise. A run may also lie behind what the message can name, or before what is written. */
/*@ requires \valid(e) && \valid(r) && \separated(e, r) && vbb_below(*r) && vbb_enc_open(*e);
  @ requires e->format == VBB_FMT_BITMAP;
  @ assigns VBB_ENC_OPEN_OF(e), e->nr_put, *r;
  @ ensures open: vbb_enc_open(*e);
  @ ensures format: (e->format == VBB_FMT_AUTO || e->format == VBB_FMT_BITMAP ||
  @   e->format == VBB_FMT_RECORDS);
  @ ensures rest: r->pfn + r->nr_pages == \old(r->pfn + r->nr_pages) && r->pfn >= \old(r->pfn);
  @ ensures less: \result == 0 && \old(r->nr_pages) != 0 ==>
  @   vbb_enc_todo(r->nr_pages, e->plan.nr_runs, e->plan.late_sum.nr_words) <
  @   \old(vbb_enc_todo(r->nr_pages, e->plan.nr_runs, e->plan.late_sum.nr_words));
  @ ensures \result == 0 || \result == VBB_E_NOSPC;
  @*/
static int vbb_enc_put_pages(struct vbb_enc *e, struct vbb_range *r)
{
	bool begun = vbb_enc_begun(e);
	vbb_u64 pfn, end;
	struct vbb_range part;

	if (!vbb_plan_part(&e->plan, r, &part))
		return 0;
	pfn = begun ? e->start_pfn : part.pfn;
	if (!begun && e->plan.nr_runs && e->plan.run[0].pfn < pfn)
		pfn = e->plan.run[0].pfn;
	end = vbb_align_down(pfn, 6) + 8 * e->len_max;
	if (part.pfn >= end || (begun && part.pfn < e->word_unit) ||
	    (e->plan.nr_runs && vbb_run_end(&e->plan.run[e->plan.nr_runs - 1]) > end))
		return VBB_E_NOSPC;
	if (part.nr_pages > end - part.pfn)
		part.nr_pages = end - part.pfn;
	if (vbb_plan_add(&e->plan, &part))
		vbb_run_cut(r, part.nr_pages);
	else
		vbb_enc_flush(e, false);
	return 0;
}

/*@ requires \valid(e) && \valid(r) && \separated(e, r) && vbb_range_ok(*r) && vbb_enc_open(*e);
  @ requires e->format == VBB_FMT_PFNS;
  @ assigns VBB_ENC_POS_OF(e), e->msg.nr_pages, *r;
  @ ensures open: vbb_enc_open(*e);
  @ ensures rest: r->pfn + r->nr_pages == \old(r->pfn + r->nr_pages) && r->pfn >= \old(r->pfn);
  @ ensures done: \result == 0 ==> r->nr_pages == 0;
  @ ensures untouched: \result == VBB_E_INVAL ==> *r == \old(*r);
  @ ensures \result == 0 || \result == VBB_E_NOSPC || \result == VBB_E_INVAL;
  @*/
static int vbb_enc_put_pfns(struct vbb_enc *e, struct vbb_range *r)
{
	if (r->pfn + r->nr_pages > vbb_pow2(32))
		return VBB_E_INVAL;
	/*@ loop invariant buf: vbb_enc_buf(e->cur, e->len, e->len_max) && e->len >= \at(e->len,
	  @   Pre);
	  @ loop invariant r->pfn + r->nr_pages == \at(r->pfn + r->nr_pages, Pre);
	  @ loop invariant r->pfn >= \at(r->pfn, Pre);
	  @ loop assigns VBB_ENC_POS_OF(e), e->msg.nr_pages, *r;
	  @ loop variant r->nr_pages;
	  @*/
	while (r->nr_pages) {
		if (vbb_enc_room(e) < 4)
			return VBB_E_NOSPC;
		vbb_cur_store(&e->cur, r->pfn, 4);
		e->len += 4;
		e->msg.nr_pages = vbb_add(e->msg.nr_pages, 1);
		vbb_run_cut(r, 1);
	}
	return 0;
}

/* Where pages begin that a BITMAP message cannot name, as it has begun or will with run[0] */
/*@ requires \valid_read(e) && vbb_plan_ok(e->plan) && e->plan.nr_runs >= 1;
  @ requires e->start_pfn < VBB_PFN_END && e->len_max <= VIRTIO_BALLOON_BMAP_LEN_MAX;
  @ assigns \nothing;
  @*/
static vbb_u64 vbb_enc_end(const struct vbb_enc *e)
{
	vbb_u64 pfn = vbb_enc_begun(e) ? e->start_pfn : e->plan.run[0].pfn;

	return vbb_align_down(pfn, 6) + 8 * e->len_max;
}

/*
 * Take the first of some runs: those that lie behind all that are held back, and find room without
 * a plan. Returns how many.
 */
/*@ requires \valid(e) && \valid_read(r + (0 .. nr - 1)) && \separated(e, r + (0 .. nr - 1));
  @ requires vbb_enc_open(*e) && nr >= 1;
  @ assigns e->plan.nr_runs, e->plan.late_sum, VBB_ENC_HELD_OF(e), e->nr_put;
  @ ensures open: vbb_enc_open(*e);
  @ ensures few: 0 <= \result <= nr;
  @ ensures first: \result >= 1 ==> r->pfn + r->nr_pages <= vbb_limit;
  @*/
static size_t vbb_enc_append(struct vbb_enc *e, const struct vbb_range *r, size_t nr)
{
	vbb_u64 limit = vbb_pfn_end(e->cfg.page_shift), nr_words = vbb_enc_room(e) / 8;

	/* the old format holds none back */
	if (!e->plan.nr_runs)
		return 0;
	if (e->format == VBB_FMT_BITMAP) {
		limit = vbb_min(limit, vbb_enc_end(e));
		nr_words = ~(vbb_u64)0;
	} else {
		nr_words -= vbb_min(nr_words, e->nr_words);
	}
	nr = vbb_plan_append(&e->plan, r, nr, limit, nr_words);
	e->nr_put = vbb_add(e->nr_put, nr);
	return nr;
}

/* Out of line, since what it needs in registers would cost the others time. */
/*@ requires \valid(e) && \valid(r) && \separated(e, r) && vbb_below(*r) && vbb_enc_open(*e) &&
  @   e->format != VBB_FMT_VALUES;
  @ assigns VBB_ENC_OPEN_OF(e), e->nr_put, *r;
  @ ensures open: vbb_enc_open(*e);
  @ ensures rest: r->pfn + r->nr_pages == \old(r->pfn + r->nr_pages) && r->pfn >= \old(r->pfn);
  @ ensures all: \result == 0 ==> r->nr_pages == 0;
  @ ensures untouched: \result == VBB_E_INVAL || \result == VBB_E_STATE ==> *r == \old(*r);
  @ ensures  \result == 0 || \result == VBB_E_NOSPC || \result == VBB_E_INVAL;
  @*/
static __attribute__((__noinline__)) int vbb_enc_put_slowly(struct vbb_enc *e, struct vbb_range *r)
{
	int err = 0;

	if (e->format == VBB_FMT_PFNS)
		return vbb_enc_put_pfns(e, r);
	/*@ loop invariant open: vbb_enc_open(*e) && vbb_below(*r);
	  @ loop invariant format: (e->format == VBB_FMT_AUTO || e->format == VBB_FMT_BITMAP ||
	  @   e->format == VBB_FMT_RECORDS);
	  @ loop invariant r->pfn + r->nr_pages == \at(r->pfn + r->nr_pages, Pre);
	  @ loop invariant r->pfn >= \at(r->pfn, Pre);
	  @ loop invariant err == 0 || err == VBB_E_NOSPC;
	  @ loop assigns err, VBB_ENC_OPEN_OF(e), e->nr_put, *r;
	  @ loop variant err != 0 ? 0 : 1 + vbb_enc_todo(r->nr_pages, e->plan.nr_runs,
	  @   e->plan.late_sum.nr_words);
	  @*/
	while (r->nr_pages && !err)
		err = e->format == VBB_FMT_BITMAP ? vbb_enc_put_pages(e, r) :
						    vbb_enc_put_records(e, r);
	return err;
}

/*@ requires \valid(e) && \valid(r) && \separated(e, r) && vbb_enc_ok(*e);
  @ assigns VBB_ENC_OPEN_OF(e), e->nr_put, *r;
  @ ensures ok: vbb_enc_ok(*e);
  @ ensures rest: r->pfn + r->nr_pages == \old(r->pfn + r->nr_pages) && r->pfn >= \old(r->pfn);
  @ ensures all: \result == 0 ==> r->nr_pages == 0;
  @ ensures untouched: \result == VBB_E_INVAL || \result == VBB_E_STATE ==> *r == \old(*r);
  @ ensures \result == VBB_E_STATE || \result == 0 || \result == VBB_E_NOSPC ||
  @   \result == VBB_E_INVAL;
  @*/
int vbb_enc_put(struct vbb_enc *e, struct vbb_range *r)
{
	struct vbb_range whole;

	if (e->state != STATE_OPEN || e->format == VBB_FMT_VALUES)
		return VBB_E_STATE;
	whole = *r;
	if (vbb_enc_append(e, &whole, 1)) {
		vbb_run_cut(r, r->nr_pages);
		return 0;
	}
	if (!vbb_range_valid(r, e->cfg.page_shift))
		return VBB_E_INVAL;
	return vbb_enc_put_slowly(e, r);
}

/*@ requires \valid(e) && \valid(l) && \separated(e, l) && vbb_enc_ok(*e);
  @ requires \valid_read(l->run + (0 .. l->nr_runs - 1));
  @ requires \separated(e, l, l->run + (0 .. l->nr_runs - 1));
  @ assigns VBB_ENC_OPEN_OF(e), e->nr_put, l->pos, l->nr_taken;
  @ ensures ok: vbb_enc_ok(*e);
  @ ensures all: \result == 0 ==> l->pos >= l->nr_runs;
  @ ensures forward: l->pos >= \old(l->pos);
  @ ensures untouched: \result == VBB_E_STATE ==>
  @   l->pos == \old(l->pos) && l->nr_taken == \old(l->nr_taken);
  @*/
int vbb_enc_put_runs(struct vbb_enc *e, struct vbb_run_list *l)
{
	struct vbb_range r;
	int err;

	if (e->state != STATE_OPEN || e->format == VBB_FMT_VALUES)
		return VBB_E_STATE;
	/*@ loop invariant ok: vbb_enc_ok(*e) && e->state == STATE_OPEN;
	  @ loop invariant format: e->format != VBB_FMT_VALUES;
	  @ loop invariant forward: l->pos >= \at(l->pos, Pre);
	  @ loop assigns err, r, VBB_ENC_OPEN_OF(e), e->nr_put, l->pos, l->nr_taken;
	  @ loop variant l->nr_runs - l->pos;
	  @*/
	while (l->pos < l->nr_runs) {
		if (!l->nr_taken)
			l->pos += vbb_enc_append(e, l->run + l->pos, l->nr_runs - l->pos);
		if (l->pos == l->nr_runs)
			break;
		r = l->run[l->pos];
		if (!vbb_range_valid(&r, e->cfg.page_shift) || r.nr_pages <= l->nr_taken)
			return VBB_E_INVAL;
		vbb_run_cut(&r, l->nr_taken);
		err = vbb_enc_put_slowly(e, &r);
		if (err) {
			l->nr_taken = l->run[l->pos].nr_pages - r.nr_pages;
			return err;
		}
		l->nr_taken = 0;
		l->pos++;
	}
	return 0;
}

/*@ predicate vbb_bitmap_ok(struct vbb_bitmap b) =
  @   b.nr_bits <= VBB_PFN_END && \valid_read(b.bits + (0 .. (b.nr_bits + 7) / 8 - 1));
  @*/
/* Bits from b->pos on, 64 or as many as there are, in the low end; b->pos is below b->nr_bits. */
/*@ requires \valid_read(b) && \valid(nr) && \separated(b, nr) && vbb_bitmap_ok(*b);
  @ requires b->pos < b->nr_bits;
  @ assigns *nr;
  @ ensures 1 <= *nr <= 64 && b->pos + *nr <= b->nr_bits;
  @*/
static vbb_u64 vbb_bitmap_peek(const struct vbb_bitmap *b, vbb_u32 *nr)
{
	vbb_u64 byte = b->pos / 8, last = (b->nr_bits - 1) / 8, v = 0;
	vbb_u32 skip = (vbb_u32)(b->pos % 8), i;

	if (last - byte >= 7)
		v = vbb_load64(b->bits + byte);
	else
		/*@ loop invariant 0 <= i <= last - byte + 1 <= 7;
		  @ loop assigns i, v;
		  @ loop variant last - byte + 1 - i;
		  @*/
		for (i = 0; i <= last - byte; i++)
			v |= vbb_shl(vbb_load8(b->bits + byte + i), 8 * i);
	*nr = 64 - skip;
	if (b->nr_bits - b->pos < *nr)
		*nr = (vbb_u32)(b->nr_bits - b->pos);
	return vbb_shr(v, skip) & vbb_mask64(0, *nr);
}

/*@ requires \valid(e) && \valid(b) && \separated(e, b) && vbb_enc_ok(*e);
  @ requires b->nr_bits <= VBB_PFN_END ==> vbb_bitmap_ok(*b);
  @ assigns VBB_ENC_OPEN_OF(e), e->nr_put, b->pos;
  @ ensures ok: vbb_enc_ok(*e);
  @ ensures all: \result == 0 ==> b->pos >= b->nr_bits;
  @ ensures forward: b->pos >= \old(b->pos);
  @*/
int vbb_enc_put_bitmap(struct vbb_enc *e, struct vbb_bitmap *b)
{
	if (e->state != STATE_OPEN || e->format == VBB_FMT_VALUES)
		return VBB_E_STATE;
	if (b->pfn > VBB_PFN_END || b->nr_bits > VBB_PFN_END)
		return VBB_E_INVAL;
	/*@ loop invariant vbb_enc_ok(*e) && e->state == STATE_OPEN;
	  @ loop invariant b->pos >= \at(b->pos, Pre);
	  @ loop assigns VBB_ENC_OPEN_OF(e), e->nr_put, b->pos;
	  @ loop variant b->nr_bits + 128 - b->pos;
	  @*/
	while (b->pos < b->nr_bits) {
		struct vbb_range r;
		vbb_u64 pos = b->pos;
		vbb_u32 nr, n;
		vbb_u64 v = vbb_bitmap_peek(b, &nr);
		int err;

		if (!v) {
			b->pos += nr;
			continue;
		}
		n = vbb_ctz64(v);
		r.pfn = b->pfn + b->pos + n;
		r.nr_pages = vbb_run64(v, n);
		b->pos += n + r.nr_pages;
		/*@ loop invariant r.pfn + r.nr_pages == b->pfn + b->pos && n <= 64;
		  @ loop invariant r.nr_pages >= 1 && b->pos <= b->nr_bits + 128;
		  @ loop invariant b->pos > pos && r.pfn >= b->pfn + pos;
		  @ loop assigns v, n, nr, b->pos, r.nr_pages;
		  @ loop variant b->nr_bits + 128 - b->pos;
		  @*/
		while (n + r.nr_pages >= nr && b->pos < b->nr_bits) {
			v = vbb_bitmap_peek(b, &nr);
			n = vbb_ones64(v, 0);
			b->pos += n;
			r.nr_pages += n;
			if (n < nr)
				break;
		}
		err = vbb_enc_put(e, &r);
		if (err) {
			b->pos = err == VBB_E_NOSPC ? r.pfn - b->pfn : pos;
			return err;
		}
	}
	return 0;
}

/*@ requires \valid(e) && vbb_enc_ok(*e);
  @ assigns VBB_ENC_POS_OF(e);
  @ ensures ok: vbb_enc_ok(*e);
  @*/
int vbb_enc_put_value(struct vbb_enc *e, vbb_u64 value)
{
	if (e->state != STATE_OPEN || e->format != VBB_FMT_VALUES)
		return VBB_E_STATE;
	if (vbb_enc_room(e) < 8)
		return VBB_E_NOSPC;
	vbb_enc_store64(e, value);
	return 0;
}

/*@ requires \valid_read(cfg) && vbb_enc_limit(*cfg);
  @ assigns \nothing;
  @ ensures \result != 0 ==> vbb_enc_cfg_ok(*cfg);
  @*/
static bool vbb_cfg_valid(const struct vbb_enc_cfg *cfg)
{
	switch (cfg->formats) {
	case VBB_FMT_PFNS:
		return cfg->page_shift == VIRTIO_BALLOON_PAGE_SHIFT_MIN;
	case VBB_FMT_BITMAP:
	case VBB_FMT_RECORDS:
	case VBB_FMT_AUTO:
	case VBB_FMT_QUICK:
	case VBB_FMT_VALUES:
		return cfg->page_shift >= VIRTIO_BALLOON_PAGE_SHIFT_MIN &&
		       cfg->page_shift <= VIRTIO_BALLOON_PAGE_SHIFT_MAX;
	default:
		return false;
	}
}

/*@ requires \valid(e) && vbb_segs(seg, nr_segs) && vbb_writable(seg, nr_segs);
  @ requires vbb_enc_ok(*e);
  @ assigns VBB_ENC_NEXT_OF(e);
  @ ensures ok: vbb_enc_ok(*e);
  @ ensures opened: \result == 0 <==> \old(e->state) == STATE_CLOSED && e->state == STATE_OPEN;
  @ ensures front: \result == 0 && e->format != VBB_FMT_PFNS ==>
  @   e->hdr.seg == seg && e->hdr.nr_segs == nr_segs && vbb_pos(e->hdr) == vbb_before(seg, 0);
  @*/
int vbb_enc_next(struct vbb_enc *e, const struct vbb_seg *seg, size_t nr_segs)
{
	if (e->state != STATE_CLOSED)
		return VBB_E_STATE;
	vbb_cur_init(&e->cur, seg, nr_segs);
	vbb_cur_copy(&e->hdr, &e->cur);
	if (e->cfg.formats == VBB_FMT_PFNS) {
		if (e->cur.left < 4)
			return VBB_E_TOOSMALL;
		e->len_max = e->cur.left / 4 * 4;
	} else {
		if (e->cur.left < VBB_ENC_LEN_MIN)
			return VBB_E_TOOSMALL;
		vbb_cur_skip(&e->cur, VBB_HDR_LEN);
		e->len_max = e->cur.left / 8 * 8;
	}
	if (e->len_max > VIRTIO_BALLOON_BMAP_LEN_MAX)
		e->len_max = VIRTIO_BALLOON_BMAP_LEN_MAX;
	e->format = e->cfg.formats == VBB_FMT_QUICK ? VBB_FMT_AUTO : e->cfg.formats;
	e->start_pfn = 0;
	e->len = 0;
	e->word_unit = 0;
	e->word = 0;
	e->rec_words = 0;
	e->nr_words = 0;
	e->nr_put = 0;
	vbb_plan_clear(&e->plan);
	e->msg.nr_pages = 0;
	e->msg.nr_blocks = 0;
	e->msg.nr_bitmaps = 0;
	e->msg.nr_extents = 0;
	e->state = STATE_OPEN;
	return 0;
}

/*@ requires \valid(e) && \valid_read(cfg) && \separated(e, cfg) && vbb_enc_limit(*cfg);
  @ requires vbb_segs(seg, nr_segs) && vbb_writable(seg, nr_segs);
  @ assigns e->cfg, VBB_ENC_NEXT_OF(e);
  @ ensures ok: vbb_enc_ok(*e);
  @ ensures opened: \result == 0 ==> e->state == STATE_OPEN;
  @*/
int vbb_enc_init(struct vbb_enc *e, const struct vbb_enc_cfg *cfg, const struct vbb_seg *seg,
		 size_t nr_segs)
{
	e->cfg = *cfg;
	e->state = vbb_cfg_valid(cfg) ? STATE_CLOSED : STATE_BAD;
	return e->state == STATE_BAD ? VBB_E_INVAL : vbb_enc_next(e, seg, nr_segs);
}

/*@ predicate vbb_enc_accepted(struct vbb_enc_cfg cfg, integer flag, integer format,
  @     integer start_pfn, integer len, integer left) =
  @   vbb_accepted(VBB_QUEUE_HOST_REQUEST, 1, cfg.cmd, cfg.page_shift, flag, format, cfg.req_id,
  @     start_pfn, len, left) &&
  @   (cfg.cmd == 0 && flag == 0 && cfg.req_id == 0 && format != 2 ==>
  @     vbb_accepted(VBB_QUEUE_BALLOON, 1, cfg.cmd, cfg.page_shift, flag, format, cfg.req_id,
  @       start_pfn, len, left));
  @*/

/*@ requires \valid(e) && \valid(msg) && \separated(e, msg) && vbb_enc_ok(*e);
  @ assigns *e, *msg;
  @ ensures ok: vbb_enc_ok(*e);
  @ ensures closed: \result == 0 <==> \old(e->state) == STATE_OPEN && e->state == STATE_CLOSED;
  @ ensures len: \result == 0 && msg->len != 0 ==>
  @   msg->len == e->len + (e->format == VBB_FMT_PFNS ? 0 : 32);
  @ ensures accepted: \result == 0 && msg->len != 0 && e->format != VBB_FMT_PFNS ==>
  @   vbb_enc_accepted(e->cfg, flag, e->format / 2, e->start_pfn, e->len, msg->len - 32);
  @*/
int vbb_enc_finish(struct vbb_enc *e, vbb_u16 flag, struct vbb_msg *msg)
{
	struct vbb_hdr h;
	bool empty;

	if (e->state != STATE_OPEN)
		return VBB_E_STATE;
	empty = !e->len && !e->plan.nr_runs;
	if (flag > VIRTIO_BALLOON_FLAG_FAILED || (flag > VIRTIO_BALLOON_FLAG_DONE && !empty) ||
	    (flag && e->format == VBB_FMT_PFNS))
		return VBB_E_INVAL;
	if (e->plan.nr_runs)
		vbb_enc_flush(e, true);
	if (e->format == VBB_FMT_AUTO)
		e->format = VBB_FMT_BITMAP;
	if (e->format == VBB_FMT_BITMAP && !empty)
		vbb_enc_store_word(e);
	e->state = STATE_CLOSED;
	msg->len = 0;
	msg->nr_pages = e->msg.nr_pages;
	msg->nr_blocks = e->msg.nr_blocks;
	msg->nr_bitmaps = e->msg.nr_bitmaps;
	msg->nr_extents = e->msg.nr_extents;
	msg->format = e->format;
	if (!e->len && !vbb_flag_ends(flag))
		return 0;
	msg->len = e->len;
	if (e->format == VBB_FMT_PFNS)
		return 0;
	msg->len += VBB_HDR_LEN;
	h.cmd = e->cfg.cmd;
	h.page_shift = e->cfg.page_shift;
	h.flag = flag;
	/* VBB_FMT_BITMAP, _RECORDS and _VALUES are 1, 2 and 4 */
	h.format = (vbb_u16)(e->format / 2);
	h.req_id = e->cfg.req_id;
	h.start_pfn = e->start_pfn;
	h.bmap_len = e->len;
	/*@ assert vbb_enc_accepted(e->cfg, h.flag, h.format, h.start_pfn, h.bmap_len, e->len); */
	return vbb_hdr_store(&h, &e->hdr);
}

/*@ assigns \nothing;
  @ ensures 32 <= \result <= 32 + VIRTIO_BALLOON_BMAP_LEN_MAX;
  @*/
vbb_u64 vbb_enc_bound(vbb_u64 nr_ranges)
{
	const vbb_u64 max = VIRTIO_BALLOON_BMAP_LEN_MAX / 16;

	return VBB_ENC_BOUND(nr_ranges < max ? nr_ranges : max);
}
