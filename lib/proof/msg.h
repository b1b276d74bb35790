/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause */
/*
 * Headers, records and results. What a reader takes of a record: vbb_rec_accepted() is VBB-MSG-16
 * of its first word, vbb_rec_rest() the bytes that VBB-MSG-17 wants behind it, and
 * vbb_pages_accepted() is VBB-MSG-11 and VBB-MSG-18 of a block or an extent.
 */

/*@ predicate vbb_accepted_fields(integer queue, integer records, integer cmd, integer page_shift,
  @     integer flag, integer format, integer req_id, integer start_pfn) =
  @   12 <= page_shift <= 30 && 0 <= flag <= 5 && 0 <= format <= 2 &&
  @   (queue == VBB_QUEUE_BALLOON ==> cmd == 0 && flag == 0 && req_id == 0 && format != 2) &&
  @   (format == 1 ==> records != 0) &&
  @   0 <= start_pfn < (format == 0 ? 0x10000000000000 : 1);
  @ predicate vbb_accepted_len(integer flag, integer format, integer bmap_len, integer left) =
  @   bmap_len == left <= 0x100000 && (bmap_len == 0 ==> 1 <= flag <= 5) &&
  @   (bmap_len != 0 ==> flag <= 1) && (format != 0 ==> bmap_len % 8 == 0);
  @ predicate vbb_accepted(integer queue, integer records, integer cmd, integer page_shift,
  @     integer flag, integer format, integer req_id, integer start_pfn, integer bmap_len,
  @     integer left) =
  @   vbb_accepted_fields(queue, records, cmd, page_shift, flag, format, req_id, start_pfn) &&
  @   vbb_accepted_len(flag, format, bmap_len, left);
  @ logic integer vbb_pfn_of(integer rec) = rec % 0x10000000000000;
  @ logic integer vbb_order_of(integer rec) = rec / 0x10000000000000 % 0x40;
  @ logic integer vbb_code_of(integer rec) = rec / 0x400000000000000;
  @ predicate vbb_rec_accepted(integer pfn, integer order, integer code) =
  @   0 <= pfn < 0x10000000000000 && 0 <= code <= 63 && 0 <= order <= (code == 63 ? 0 : 51) &&
  @   vbb_aligned(pfn, order);
  @ logic integer vbb_rec_rest(integer code) = code == 63 ? 8 : 8 * code;
  @ predicate vbb_word_accepted(integer rec, integer left) =
  @   vbb_rec_accepted(vbb_pfn_of(rec), vbb_order_of(rec), vbb_code_of(rec)) &&
  @   vbb_rec_rest(vbb_code_of(rec)) <= left;
  @ predicate vbb_pages_accepted(integer pfn, integer nr_pages, integer limit) =
  @   1 <= nr_pages <= 0x10000000000000 && pfn + nr_pages <= limit;
  @*/

/*@ assigns \nothing;
  @ ensures \result != 0 <==> 1 <= flag <= 5;
  @*/
static inline bool vbb_flag_ends(vbb_u16 flag);

/*@ requires \valid(h) && \valid(c) && \separated(h, c) && vbb_cur_ok(*c);
  @ requires vbb_readable(c->seg, c->nr_segs);
  @ assigns *h, c->idx, c->off, c->left;
  @ ensures vbb_cur_ok(*c);
  @ ensures \result == 0 || \result == VBB_E_SHORT;
  @ ensures \result == 0 <==> \old(c->left) >= 32;
  @ ensures left: \result == 0 ==> c->left == \old(c->left) - 32;
  @ ensures pos: \result == 0 ==> vbb_pos(*c) == \old(vbb_pos(*c)) + 32;
  @ ensures short: \result != 0 ==> *h == \old(*h) && *c == \old(*c);
  @*/
static inline int vbb_hdr_load(struct vbb_hdr *h, struct vbb_cur *c);

/*@ requires \valid_read(h) && \valid(c) && \separated(h, c) && vbb_cur_ok(*c);
  @ requires vbb_writable(c->seg, c->nr_segs);
  @ assigns c->idx, c->off, c->left;
  @ ensures vbb_cur_ok(*c);
  @ ensures \result == 0 || \result == VBB_E_TOOSMALL;
  @ ensures \result == 0 <==> \old(c->left) >= 32;
  @ ensures left: \result == 0 ==> c->left == \old(c->left) - 32;
  @ ensures pos: \result == 0 ==> vbb_pos(*c) == \old(vbb_pos(*c)) + 32;
  @*/
static inline int vbb_hdr_store(const struct vbb_hdr *h, struct vbb_cur *c);

/*@ requires \valid(r);
  @ requires vbb_segs(seg, nr_segs) && vbb_readable(seg, nr_segs);
  @ assigns *r;
  @ ensures \result \in {0, VBB_E_SHORT, VBB_E_STATUS, VBB_E_RESERVED};
  @ ensures \result == 0 ==> r->status <= 3;
  @*/
static inline int vbb_result_load(struct vbb_result *r, const struct vbb_seg *seg, size_t nr_segs);

/*@ requires \valid_read(r) && vbb_segs(seg, nr_segs) && vbb_writable(seg, nr_segs);
  @ assigns \nothing;
  @ ensures \result == 0 || \result == 16;
  @*/
static inline vbb_u32 vbb_result_store(const struct vbb_result *r, const struct vbb_seg *seg,
				       size_t nr_segs);
