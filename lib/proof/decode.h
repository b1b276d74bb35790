/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause */
/*
 * A decoder between two calls: what is left of the message, and the bitmap, the word and the run in
 * hand. After an error that has left no run in hand, nothing but the cursor is promised.
 */

/* An axiom and not the definition itself, so that provers multiply where it helps only */
/*@ axiomatic vbb_dec_inside {
  @   predicate vbb_dec_inside(integer pfn, integer nr, integer scale, integer limit)
  @     reads \nothing;
  @   axiom inside: \forall integer pfn, nr, scale, limit;
  @     vbb_dec_inside(pfn, nr, scale, limit) <==> nr == 0 || pfn + nr * scale <= limit;
  @ }
  @*/

/*@ predicate vbb_dec_bitmap_ok(struct vbb_dec d) =
  @   1 <= d.scale <= vbb_two(51) && d.base_pfn < VBB_PFN_END &&
  @   d.nr_bits + 64 * d.nr_words <= 64 * 0x20000 &&
  @   (d.word != 0 ==> d.nr_bits >= 64);
  @ predicate vbb_dec_inside_ok(struct vbb_dec d) =
  @   vbb_dec_inside(d.base_pfn, d.nr_inside, d.scale, d.limit_pfn);
  @ predicate vbb_dec_payload_ok(struct vbb_dec d) =
  @   d.pfns != 0 ? d.nr_words == 0 && d.word == 0 :
  @   d.hdr.format == VIRTIO_BALLOON_FORMAT_BITMAP ?
  @     d.cur.left <= 8 * d.nr_words < d.cur.left + 8 :
  @     d.cur.left % 8 == 0 && (d.hdr.format == VIRTIO_BALLOON_FORMAT_VALUES ?
  @     d.nr_words == 0 && d.word == 0 : 8 * d.nr_words <= d.cur.left);
  @ predicate vbb_dec_counts_ok(struct vbb_dec d) =
  @   d.cur.left <= d.len && d.mark <= d.len &&
  @   8 * (d.nr_blocks + d.nr_bitmaps + d.nr_extents) <= d.len - d.cur.left;
  @ predicate vbb_dec_limit_ok(struct vbb_dec d) =
  @   12 <= d.hdr.page_shift <= 30 && 1 <= d.limit_pfn <= vbb_two(64 - d.hdr.page_shift) &&
  @   d.limit_pfn <= VBB_PFN_END;
  @ predicate vbb_dec_run_ok(struct vbb_dec d) =
  @   d.run.nr_pages != 0 ==> d.run.pfn + d.run.nr_pages <= d.limit_pfn;
  @ predicate vbb_dec_memory(struct vbb_dec d) =
  @   vbb_readable(d.cur.seg, d.cur.nr_segs);
  @ predicate vbb_dec_alive(struct vbb_dec d) = d.fault >= 0 || d.run.nr_pages != 0;
  @ predicate vbb_dec_ok(struct vbb_dec d) =
  @   vbb_cur_ok(d.cur) && vbb_dec_memory(d) && d.fault <= VBB_DEC_END &&
  @   (d.word != 0 ==> d.fault == 0) && (vbb_dec_alive(d) ==>
  @   vbb_dec_bitmap_ok(d) && vbb_dec_inside_ok(d) && vbb_dec_payload_ok(d) &&
  @   vbb_dec_counts_ok(d) && vbb_dec_limit_ok(d) && vbb_dec_run_ok(d));
  @*/
