/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause */
/*
 * Runs held back to words of a message. That they find room, the plan has promised. Not installed.
 */
#ifndef VBB_WRITE_H
#define VBB_WRITE_H

#include "plan.h"

#ifdef __FRAMAC__
#include "proof/encode.h"
#endif

/* Number by number: some compilers call memcpy() for all at once. */
/*@ requires \valid(to) && \valid_read(from) && \separated(to, from);
  @ assigns *to;
  @ ensures *to == \old(*from);
  @*/
static inline void vbb_cur_copy(struct vbb_cur *to, const struct vbb_cur *from)
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
static inline vbb_u64 vbb_enc_room(const struct vbb_enc *e)
{
	return e->len_max - e->len;
}

/* The caller has seen that there is room. */
/*@ requires \valid(e) && vbb_enc_buf(e->cur, e->len, e->len_max) && e->len_max - e->len >= 8;
  @ assigns VBB_ENC_POS_OF(e);
  @ ensures buf: vbb_enc_buf(e->cur, e->len, e->len_max);
  @ ensures pos: vbb_pos(e->cur) - e->len == \old(vbb_pos(e->cur) - e->len);
  @ ensures len: e->len == \old(e->len) + 8 && e->cur.left == \old(e->cur.left) - 8;
  @*/
static inline void vbb_enc_store64(struct vbb_enc *e, vbb_u64 v)
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
static inline void vbb_enc_store_word(struct vbb_enc *e)
{
	vbb_enc_store64(e, e->word);
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
void vbb_write_records(struct vbb_enc *e);

/*
 * Write the first of the runs held back into the message's bitmap, but for its last word. Where
 * there is no word yet, it begins with the first of them.
 */
/*@ requires \valid(e) && vbb_enc_buf(e->cur, e->len, e->len_max) && vbb_plan_ok(e->plan) &&
  @   1 <= nr <= e->plan.nr_runs;
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
void vbb_write_bitmap(struct vbb_enc *e, size_t nr);

#endif
