/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause */
/*
 * Segments. vbb_before() is how many bytes lie before each: whatever it is, as long as the array
 * says the same. So it stays what it is while the array does.
 */

/*@ axiomatic vbb_segments {
  @   logic integer vbb_before(struct vbb_seg *seg, integer i) reads \nothing;
  @ }
  @ predicate vbb_segs(struct vbb_seg *seg, integer nr) =
  @   \valid_read(seg + (0 .. nr - 1)) &&
  @   (\forall integer i; 0 <= i < nr ==>
  @     vbb_before(seg, i + 1) == vbb_before(seg, i) + seg[i].len) &&
  @   (\forall integer i; 0 <= i < nr ==> vbb_before(seg, i) <= vbb_before(seg, nr));
  @ predicate vbb_readable(struct vbb_seg *seg, integer nr) =
  @   \forall integer i; 0 <= i < nr ==>
  @     \valid_read((vbb_u8 *)seg[i].base +
  @                 (0 .. vbb_before(seg, i + 1) - vbb_before(seg, i) - 1));
  @ predicate vbb_writable(struct vbb_seg *seg, integer nr) =
  @   \forall integer i; 0 <= i < nr ==>
  @     \valid((vbb_u8 *)seg[i].base +
  @            (0 .. vbb_before(seg, i + 1) - vbb_before(seg, i) - 1));
  @ logic integer vbb_pos(struct vbb_cur c) = vbb_before(c.seg, c.idx) + c.off;
  @ predicate vbb_cur_ok(struct vbb_cur c) =
  @   vbb_segs(c.seg, c.nr_segs) &&
  @   c.idx <= c.nr_segs &&
  @   (c.idx < c.nr_segs ? c.off <= c.seg[c.idx].len : c.off == 0) &&
  @   vbb_pos(c) + c.left <= vbb_before(c.seg, c.nr_segs);
  @*/

/*@ requires vbb_segs(seg, nr_segs);
  @ assigns \nothing;
  @ ensures \result <= vbb_before(seg, nr_segs) - vbb_before(seg, 0);
  @*/
static inline vbb_u64 vbb_segs_len(const struct vbb_seg *seg, size_t nr_segs);

/*@ requires \valid(c) && vbb_segs(seg, nr_segs);
  @ assigns *c;
  @ ensures vbb_cur_ok(*c);
  @ ensures c->seg == seg && c->nr_segs == nr_segs;
  @ ensures vbb_pos(*c) == vbb_before(seg, 0);
  @*/
static inline void vbb_cur_init(struct vbb_cur *c, const struct vbb_seg *seg, size_t nr_segs);

/*@ requires \valid(c) && vbb_cur_ok(*c) && c->left >= 1;
  @ assigns c->idx, c->off;
  @ ensures vbb_cur_ok(*c);
  @ ensures c->idx < c->nr_segs && c->off < c->seg[c->idx].len;
  @ ensures same: vbb_pos(*c) == \old(vbb_pos(*c));
  @*/
static inline void vbb_cur_settle(struct vbb_cur *c);

/*@ requires \valid(c) && vbb_cur_ok(*c) && c->left >= 1;
  @ assigns c->idx, c->off;
  @ ensures vbb_cur_ok(*c);
  @ ensures c->idx < c->nr_segs && c->off < c->seg[c->idx].len;
  @ ensures same: vbb_pos(*c) == \old(vbb_pos(*c));
  @ ensures \result != 0 <==> c->seg[c->idx].len - c->off >= len;
  @*/
static inline bool vbb_cur_whole(struct vbb_cur *c, size_t len);

/*@ requires \valid(c) && vbb_cur_ok(*c);
  @ requires c->idx < c->nr_segs && c->off + len <= c->seg[c->idx].len && c->left >= len;
  @ assigns c->off, c->left, \result \from c->seg, c->idx, c->off;
  @ ensures vbb_cur_ok(*c);
  @ ensures left: c->left == \old(c->left) - len;
  @ ensures pos: vbb_pos(*c) == \old(vbb_pos(*c)) + len;
  @ ensures inside: \result == (vbb_u8 *)c->seg[c->idx].base + \old(c->off);
  @*/
static inline vbb_u8 *vbb_cur_step(struct vbb_cur *c, size_t len);

/*@ requires \valid(c) && vbb_cur_ok(*c) && c->left >= len;
  @ assigns c->idx, c->off, c->left;
  @ ensures vbb_cur_ok(*c);
  @ ensures left: c->left == \old(c->left) - len;
  @ ensures pos: vbb_pos(*c) == \old(vbb_pos(*c)) + len;
  @*/
static inline void vbb_cur_skip(struct vbb_cur *c, size_t len);

/*@ requires \valid(c) && vbb_cur_ok(*c) && vbb_readable(c->seg, c->nr_segs) && c->left >= 1;
  @ assigns c->idx, c->off, c->left;
  @ ensures vbb_cur_ok(*c);
  @ ensures left: c->left == \old(c->left) - 1;
  @ ensures pos: vbb_pos(*c) == \old(vbb_pos(*c)) + 1;
  @*/
static inline vbb_u8 vbb_cur_load8(struct vbb_cur *c);

/*@ requires \valid(c) && vbb_cur_ok(*c) && vbb_readable(c->seg, c->nr_segs) && c->left >= 2;
  @ assigns c->idx, c->off, c->left;
  @ ensures vbb_cur_ok(*c);
  @ ensures left: c->left == \old(c->left) - 2;
  @ ensures pos: vbb_pos(*c) == \old(vbb_pos(*c)) + 2;
  @*/
static inline vbb_u16 vbb_cur_load16(struct vbb_cur *c);

/*@ requires \valid(c) && vbb_cur_ok(*c) && vbb_readable(c->seg, c->nr_segs) && c->left >= 4;
  @ assigns c->idx, c->off, c->left;
  @ ensures vbb_cur_ok(*c);
  @ ensures left: c->left == \old(c->left) - 4;
  @ ensures pos: vbb_pos(*c) == \old(vbb_pos(*c)) + 4;
  @*/
static inline vbb_u32 vbb_cur_load32(struct vbb_cur *c);

/*@ requires \valid(c) && vbb_cur_ok(*c) && vbb_readable(c->seg, c->nr_segs) && c->left >= 8;
  @ assigns c->idx, c->off, c->left;
  @ ensures vbb_cur_ok(*c);
  @ ensures left: c->left == \old(c->left) - 8;
  @ ensures pos: vbb_pos(*c) == \old(vbb_pos(*c)) + 8;
  @*/
static inline vbb_u64 vbb_cur_load64(struct vbb_cur *c);

/*@ requires \valid(v) && \valid_read(p + (0 .. 31));
  @ assigns *v;
  @ ensures 1 <= \result <= 4;
  @*/
static inline size_t vbb_scan_four(const vbb_u8 *p, vbb_u64 same, vbb_u64 *v);

/*@ requires \valid(c) && vbb_cur_ok(*c) && vbb_readable(c->seg, c->nr_segs);
  @ requires nr >= 1 && c->left >= 8 * nr;
  @ assigns c->idx, c->off, c->left;
  @ ensures vbb_cur_ok(*c);
  @ ensures left: \old(c->left) - 8 * nr <= c->left <= \old(c->left) - 8;
  @ ensures numbers: (\old(c->left) - c->left) % 8 == 0;
  @ ensures pos: vbb_pos(*c) == \old(vbb_pos(*c)) + (\old(c->left) - c->left);
  @*/
static inline vbb_u64 vbb_cur_scan64(struct vbb_cur *c, vbb_u64 nr, vbb_u64 same);

/*@ requires \valid(c) && vbb_cur_ok(*c) && vbb_writable(c->seg, c->nr_segs) && c->left >= 1;
  @ assigns c->idx, c->off, c->left;
  @ ensures vbb_cur_ok(*c);
  @ ensures left: c->left == \old(c->left) - 1;
  @ ensures pos: vbb_pos(*c) == \old(vbb_pos(*c)) + 1;
  @*/
static inline void vbb_cur_store8(struct vbb_cur *c, vbb_u8 v);

/*@ requires \valid(c) && vbb_cur_ok(*c) && vbb_writable(c->seg, c->nr_segs) && c->left >= len;
  @ assigns c->idx, c->off, c->left;
  @ ensures vbb_cur_ok(*c);
  @ ensures left: c->left == \old(c->left) - len;
  @ ensures pos: vbb_pos(*c) == \old(vbb_pos(*c)) + len;
  @*/
static inline void vbb_cur_store(struct vbb_cur *c, vbb_u64 v, unsigned int len);

/*@ requires \valid(c) && vbb_cur_ok(*c) && vbb_writable(c->seg, c->nr_segs) && c->left >= 8;
  @ assigns c->idx, c->off, c->left;
  @ ensures vbb_cur_ok(*c);
  @ ensures left: c->left == \old(c->left) - 8;
  @ ensures pos: vbb_pos(*c) == \old(vbb_pos(*c)) + 8;
  @*/
static inline void vbb_cur_store64(struct vbb_cur *c, vbb_u64 v);

/*@ requires \valid(c) && vbb_cur_ok(*c) && vbb_writable(c->seg, c->nr_segs);
  @ requires c->left >= 8 * nr;
  @ assigns c->idx, c->off, c->left;
  @ ensures vbb_cur_ok(*c);
  @ ensures left: c->left == \old(c->left) - 8 * nr;
  @ ensures pos: vbb_pos(*c) == \old(vbb_pos(*c)) + 8 * nr;
  @*/
static inline void vbb_cur_fill64(struct vbb_cur *c, vbb_u64 v, vbb_u64 nr);
