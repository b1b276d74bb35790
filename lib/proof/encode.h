/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause */
/*
 * An open message. vbb_enc_in_bitmap() holds while a bitmap is written, whose word in hand comes
 * where the cursor is; vbb_enc_last_rec() between records, of a bitmap that was the last one and
 * may be gone on with. What bit 0 of the word in hand stands for is what a decoder makes of its
 * place.
 */

/* Of an encoder; all of one in a predicate would be too much for the provers. */
#define VBB_ENC_REC(e) (e)->rec, (e)->rec_pfn, (e)->rec_order, (e)->rec_words
#define VBB_ENC_IN_BITMAP(e) \
	vbb_enc_in_bitmap((e)->format, VBB_ENC_REC(e), (e)->cur, (e)->len, (e)->len_max, \
			  (e)->start_pfn, (e)->word_unit, (e)->word)
#define VBB_ENC_LAST_REC(e) \
	vbb_enc_last_rec((e)->format, VBB_ENC_REC(e), (e)->last, (e)->cur, (e)->len, \
			 (e)->word_unit, (e)->word)
#define VBB_ENC_WORD_OK(e) \
	vbb_enc_word_ok((e)->word_unit, (e)->word, vbb_enc_order((e)->format, (e)->rec_order))

/* What a call may write that stores a number, adds to a bitmap, writes held runs, or takes one */
#define VBB_ENC_POS_OF(e) (e)->cur.idx, (e)->cur.off, (e)->cur.left, (e)->len
#define VBB_ENC_BITMAP_OF(e) VBB_ENC_POS_OF(e), (e)->word_unit, (e)->word, (e)->msg.nr_bitmaps, \
	(e)->rec, (e)->rec_pfn, (e)->rec_words, (e)->last
#define VBB_ENC_RECORDS_OF(e) (e)->cur, (e)->len, (e)->word_unit, (e)->word, (e)->rec_words, \
	(e)->rec_order, (e)->rec_pfn, (e)->rec, (e)->last, (e)->msg
#define VBB_ENC_OPEN_OF(e) VBB_ENC_RECORDS_OF(e), (e)->start_pfn, (e)->nr_words, (e)->format, \
	(e)->plan
#define VBB_ENC_HELD_OF(e) (e)->plan.run[VBB_ALL], (e)->plan.late[VBB_ALL]
/* or opens a message */
#define VBB_ENC_NEXT_OF(e) (e)->state, (e)->format, (e)->hdr, (e)->cur, (e)->len_max, (e)->len, \
	(e)->start_pfn, (e)->word_unit, (e)->word, (e)->rec_words, (e)->nr_put, (e)->nr_words, \
	(e)->msg, (e)->plan.nr_runs, (e)->plan.late_sum, (e)->plan.kept_sum

/*@ predicate vbb_enc_buf(struct vbb_cur c, integer len, integer len_max) =
  @   vbb_cur_ok(c) && vbb_writable(c.seg, c.nr_segs) &&
  @   0 <= len <= len_max <= VIRTIO_BALLOON_BMAP_LEN_MAX && len_max - len <= c.left;
  @ predicate vbb_enc_hdr_ok(struct vbb_cur hdr, struct vbb_cur c, integer len) =
  @   vbb_cur_ok(hdr) && hdr.seg == c.seg && hdr.nr_segs == c.nr_segs && hdr.left >= 32 &&
  @   vbb_pos(c) == vbb_pos(hdr) + 32 + len;
  @ predicate vbb_enc_rec_ok(struct vbb_cur rec, integer pfn, integer order, integer nr_words,
  @     struct vbb_cur c) =
  @   1 <= nr_words <= 62 && vbb_rec_accepted(pfn, order, nr_words) &&
  @   vbb_cur_ok(rec) && rec.seg == c.seg && rec.nr_segs == c.nr_segs && rec.left >= 8 &&
  @   vbb_pos(c) == vbb_pos(rec) + 8 * nr_words;
  @ predicate vbb_enc_last_ok(struct vbb_cur last, struct vbb_cur c, integer len) =
  @   vbb_cur_ok(last) && last.seg == c.seg && last.nr_segs == c.nr_segs && len >= 8 &&
  @   vbb_pos(last) + 8 == vbb_pos(c) && last.left == c.left + 8;
  @ predicate vbb_enc_limit(struct vbb_enc_cfg cfg) =
  @   12 <= cfg.page_shift <= 30 ==> vbb_limit == vbb_two(64 - cfg.page_shift);
  @ predicate vbb_enc_cfg_ok(struct vbb_enc_cfg cfg) =
  @   12 <= cfg.page_shift <= 30 && vbb_enc_limit(cfg) &&
  @   cfg.formats \in {VBB_FMT_BITMAP, VBB_FMT_RECORDS, VBB_FMT_AUTO, VBB_FMT_QUICK,
  @     VBB_FMT_VALUES, VBB_FMT_PFNS};
  @ predicate vbb_enc_format_ok(integer format, integer formats) =
  @   format \in {VBB_FMT_BITMAP, VBB_FMT_RECORDS, VBB_FMT_AUTO, VBB_FMT_VALUES, VBB_FMT_PFNS} &&
  @   (format == formats ||
  @    formats == VBB_FMT_AUTO && format \in {VBB_FMT_BITMAP, VBB_FMT_RECORDS} ||
  @    formats == VBB_FMT_QUICK && format \in {VBB_FMT_BITMAP, VBB_FMT_RECORDS, VBB_FMT_AUTO});
  @ predicate vbb_enc_words(integer len, integer len_max) = len % 8 == 0 && len_max % 8 == 0;
  @ logic integer vbb_enc_order(integer format, integer order) =
  @   format == VBB_FMT_RECORDS ? order : 0;
  @ predicate vbb_enc_word_ok(integer unit, integer word, integer order) =
  @   word != 0 ==> vbb_whole(unit + vbb_top(word), order);
  @ predicate vbb_enc_place_ok(integer pfn, integer order, integer nr_words, integer unit) =
  @   pfn == (unit - 64 * (nr_words - 1)) * vbb_two(order);
  @ predicate vbb_enc_last_rec(integer format, struct vbb_cur rec, integer pfn, integer order,
  @     integer nr_words, struct vbb_cur last, struct vbb_cur c, integer len, integer unit,
  @     integer word) =
  @   format == VBB_FMT_RECORDS ? (nr_words != 0 ==>
  @     vbb_enc_rec_ok(rec, pfn, order, nr_words, last) && vbb_enc_last_ok(last, c, len) &&
  @     vbb_enc_place_ok(pfn, order, nr_words, unit) && vbb_enc_word_ok(unit, word, order) &&
  @     unit + 64 <= VBB_PFN_END + 8 * len) :
  @   8 * nr_words <= len;
  @ predicate vbb_enc_in_bitmap(integer format, struct vbb_cur rec, integer pfn, integer order,
  @     integer nr_words, struct vbb_cur c, integer len, integer len_max, integer start_pfn,
  @     integer unit, integer word) =
  @   len + 8 <= len_max && vbb_enc_word_ok(unit, word, vbb_enc_order(format, order)) &&
  @   unit <= VBB_PFN_END + 8 * len && (format == VBB_FMT_RECORDS ?
  @     vbb_enc_rec_ok(rec, pfn, order, nr_words, c) &&
  @     vbb_enc_place_ok(pfn, order, nr_words, unit) :
  @     8 * nr_words <= len && unit == start_pfn + 8 * len);
  @ predicate vbb_enc_open(struct vbb_enc e) =
  @   vbb_enc_cfg_ok(e.cfg) && vbb_enc_format_ok(e.format, e.cfg.formats) &&
  @   vbb_enc_buf(e.cur, e.len, e.len_max) && vbb_plan_ok(e.plan) &&
  @   e.nr_words <= 3 * VBB_WORDS_MAX &&
  @   (e.format == VBB_FMT_PFNS ||
  @     vbb_enc_hdr_ok(e.hdr, e.cur, e.len) && vbb_enc_words(e.len, e.len_max)) &&
  @   (e.format == VBB_FMT_PFNS || e.format == VBB_FMT_VALUES ==> e.plan.nr_runs == 0) &&
  @   (e.format == VBB_FMT_BITMAP ? e.start_pfn < VBB_PFN_END : e.start_pfn == 0) &&
  @   (e.format == VBB_FMT_BITMAP || e.format == VBB_FMT_AUTO ==> e.len + 8 <= e.len_max &&
  @     e.word_unit == e.start_pfn + 8 * e.len && vbb_enc_word_ok(e.word_unit, e.word, 0)) &&
  @   (e.format == VBB_FMT_AUTO ==> e.rec_words == 0 && e.len == 0 && e.word == 0) &&
  @   vbb_enc_last_rec(e.format, e.rec, e.rec_pfn, e.rec_order, e.rec_words, e.last, e.cur, e.len,
  @     e.word_unit, e.word);
  @*/
