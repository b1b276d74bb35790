/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause */
/* Runs of pages and of bytes, and the map of RAM */

/*@ predicate vbb_range_ok(struct vbb_range r) = r.pfn + r.nr_pages <= VBB_PFN_END;
  @ predicate vbb_in_range(integer page, struct vbb_range r) =
  @   r.pfn <= page < r.pfn + r.nr_pages;
  @ predicate vbb_span_ok(struct vbb_span s) = s.gpa + s.len <= 0x10000000000000000;
  @ predicate vbb_ram_ok(struct vbb_ram *m) =
  @   1 <= m->len && m->gpa + m->len <= 0x10000000000000000 &&
  @   m->addr + m->len <= 0x10000000000000000;
  @ predicate vbb_ram_map_ok(struct vbb_ram *ram, integer nr) =
  @   (\forall integer i; 0 <= i < nr ==> vbb_ram_ok(&ram[i])) &&
  @   (\forall integer i; 1 <= i < nr ==> ram[i - 1].gpa + ram[i - 1].len <= ram[i].gpa);
  @*/

/*@ requires 12 <= page_shift <= 30;
  @ assigns \nothing;
  @ ensures \result == vbb_two(64 - page_shift);
  @ ensures 1 <= \result <= VBB_PFN_END;
  @*/
static inline vbb_u64 vbb_pfn_end(vbb_u32 page_shift);

/*@ requires \valid_read(r) && 12 <= page_shift <= 30;
  @ assigns \nothing;
  @ ensures \result != 0 <==>
  @   r->nr_pages >= 1 && r->pfn + r->nr_pages <= vbb_two(64 - page_shift);
  @*/
static inline bool vbb_range_valid(const struct vbb_range *r, vbb_u32 page_shift);

/*@ requires \valid(r) && \valid_read(window) && \separated(r, window);
  @ requires vbb_range_ok(*r) && vbb_range_ok(*window);
  @ assigns *r;
  @ ensures \result != 0 <==> r->nr_pages >= 1;
  @ ensures in_both: \forall integer page;
  @   vbb_in_range(page, *r) <==> \old(vbb_in_range(page, *r)) && vbb_in_range(page, *window);
  @*/
static inline bool vbb_range_clip(struct vbb_range *r, const struct vbb_range *window);

/*@ requires \valid(r) && \valid_read(more) && \separated(r, more);
  @ requires vbb_range_ok(*r) && vbb_range_ok(*more) && r->nr_pages >= 1 && more->nr_pages >= 1;
  @ assigns *r;
  @ ensures vbb_range_ok(*r) && r->nr_pages >= 1;
  @ ensures apart: \result == 0 ==> *r == \old(*r) &&
  @   (r->pfn + r->nr_pages < more->pfn || more->pfn + more->nr_pages < r->pfn);
  @ ensures union: \result != 0 ==> \forall integer page;
  @   vbb_in_range(page, *r) <==> \old(vbb_in_range(page, *r)) || vbb_in_range(page, *more);
  @ ensures end: \result != 0 ==> r->pfn + r->nr_pages == \old(r->pfn + r->nr_pages) ||
  @   r->pfn + r->nr_pages == more->pfn + more->nr_pages;
  @ ensures pfn: \result != 0 ==> r->pfn == (\old(r->pfn) < more->pfn ? \old(r->pfn) : more->pfn);
  @*/
static inline bool vbb_range_merge(struct vbb_range *r, const struct vbb_range *more);

/*@ requires \valid_read(r) && 12 <= page_shift <= 30;
  @ requires r->pfn + r->nr_pages <= vbb_two(64 - page_shift) && r->pfn < vbb_two(64 - page_shift);
  @ assigns \nothing;
  @ ensures \result.gpa == r->pfn * vbb_two(page_shift);
  @ ensures \result.len == r->nr_pages * vbb_two(page_shift) ||
  @   \result.len == 0xffffffffffffffff && r->nr_pages == vbb_two(64 - page_shift);
  @ ensures \result.gpa + \result.len <= 0x10000000000000000;
  @*/
static inline struct vbb_span vbb_range_span(const struct vbb_range *r, vbb_u32 page_shift);

/*@ requires \valid(s) && vbb_span_ok(*s) && host_shift <= 63;
  @ assigns *s;
  @ ensures \result != 0 <==> s->len >= 1;
  @ ensures inside: \result != 0 ==>
  @   \old(s->gpa) <= s->gpa && s->gpa + s->len <= \old(s->gpa + s->len);
  @ ensures whole: \result != 0 ==> (s->gpa - base) % vbb_two(host_shift) == 0 &&
  @   s->len % vbb_two(host_shift) == 0;
  @*/
static inline bool vbb_span_shrink(struct vbb_span *s, vbb_u64 base, vbb_u32 host_shift);

/*@ requires \valid_read(map) && \valid_read(map->ram + (0 .. map->nr - 1));
  @ assigns \nothing;
  @ ensures \result == 0 || \result == VBB_E_INVAL;
  @ ensures \result == 0 ==> vbb_ram_map_ok(map->ram, map->nr);
  @*/
static inline int vbb_ram_map_check(const struct vbb_ram_map *map);

/*@ requires \valid_read(map) && \valid_read(map->ram + (0 .. map->nr - 1));
  @ requires \valid(rest) && \valid(piece) && \separated(rest, piece, map) &&
  @   \separated(rest, map->ram + (0 .. map->nr - 1)) &&
  @   \separated(piece, map->ram + (0 .. map->nr - 1));
  @ requires vbb_ram_map_ok(map->ram, map->nr) && vbb_span_ok(*rest);
  @ assigns *rest, *piece;
  @ ensures vbb_span_ok(*rest);
  @ ensures none: \result == 0 ==> rest->len == 0;
  @ ensures block: \result != 0 ==>
  @   \exists integer i; 0 <= i < map->nr && piece->ram == &map->ram[i];
  @ ensures in_block: \result != 0 ==> piece->span.len >= 1 &&
  @   piece->ram->gpa <= piece->span.gpa &&
  @   piece->span.gpa + piece->span.len <= piece->ram->gpa + piece->ram->len;
  @ ensures addr: \result != 0 ==>
  @   piece->addr - piece->ram->addr == piece->span.gpa - piece->ram->gpa;
  @ ensures in_run: \result != 0 ==> \old(rest->gpa) <= piece->span.gpa &&
  @   piece->span.gpa + piece->span.len <= \old(rest->gpa + rest->len);
  @ ensures rest: \result != 0 && rest->len != 0 ==>
  @   rest->gpa == piece->span.gpa + piece->span.len &&
  @   rest->gpa + rest->len == \old(rest->gpa + rest->len);
  @ ensures shorter: \result != 0 ==> rest->len < \old(rest->len);
  @*/
static inline bool vbb_ram_map_next(const struct vbb_ram_map *map, struct vbb_span *rest,
				    struct vbb_piece *piece);
