/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause */
/* Runs of pages: clipped, cut to whole host pages, merged, and laid over RAM. All header-only. */
#ifndef VIRTIO_BALLOON_BMAP_RANGE_H
#define VIRTIO_BALLOON_BMAP_RANGE_H

#include <virtio_balloon_bmap/error.h>
#include <virtio_balloon_bmap/leaf.h>
#include <virtio_balloon_bmap/wire.h>

VBB_BEGIN_DECLS

/* One past the largest pfn that the wire can name */
#define VBB_PFN_END ((vbb_u64)1 << VIRTIO_BALLOON_PFN_BITS)

/**
 * struct vbb_range - a run of pages, half-open: [pfn, pfn + nr_pages)
 *
 * Valid where pfn + nr_pages does not pass VBB_PFN_END; what a decoder gives is valid and not
 * empty.
 */
struct vbb_range {
	/** @pfn: first page, in the unit that goes with it */
	vbb_u64 pfn;
	/** @nr_pages: how many; 0 is the empty run */
	vbb_u64 nr_pages;
};

/**
 * struct vbb_span - a run of bytes, [gpa, gpa + len); gpa + len may be 2^64, written 0
 */
struct vbb_span {
	/** @gpa: first byte, guest physical */
	vbb_u64 gpa;
	/** @len: bytes */
	vbb_u64 len;
};

/**
 * struct vbb_ram - a block of guest RAM
 */
struct vbb_ram {
	/** @gpa: first byte, guest physical */
	vbb_u64 gpa;
	/** @len: bytes, at least 1; gpa + len - 1 does not wrap */
	vbb_u64 len;
	/** @addr: where it lies for the host: an address, or an offset, as the caller likes */
	vbb_u64 addr;
	/** @host_shift: log2 of the host page size that backs it; addr is a multiple of it */
	vbb_u32 host_shift;
};

/**
 * struct vbb_ram_map - all of guest RAM
 *
 * The caller's array, sorted by gpa, without overlaps; vbb_ram_map_check() says whether it is.
 */
struct vbb_ram_map {
	/** @ram: the blocks */
	const struct vbb_ram *ram;
	/** @nr: how many */
	size_t nr;
};

/**
 * struct vbb_piece - the part of a run that lies in one block of RAM
 */
struct vbb_piece {
	/** @span: guest physical */
	struct vbb_span span;
	/** @addr: of its first byte, in the block's own terms */
	vbb_u64 addr;
	/** @ram: the block */
	const struct vbb_ram *ram;
};

#ifdef __FRAMAC__
#include "proof/range.h"
#endif

/**
 * vbb_pfn_end() - one past the last pfn that a page size allows
 * @page_shift: log2 of the page size in bytes, 12 to 30
 *
 * Spec: a page's last byte lies below 2^64, and its pfn below 2^52.
 *
 * Return: the pfn; 2^52 for 4 KiB pages, less for larger ones.
 */
static inline vbb_u64 vbb_pfn_end(vbb_u32 page_shift)
{
	return vbb_pow2(64 - page_shift);
}

/**
 * vbb_range_valid() - may this run stand on the wire?
 * @r: the run
 * @page_shift: log2 of its page size in bytes, 12 to 30
 *
 * Return: true where it is not empty and ends at or below vbb_pfn_end().
 */
static inline bool vbb_range_valid(const struct vbb_range *r, vbb_u32 page_shift)
{
	vbb_u64 end = vbb_pfn_end(page_shift);

	return r->nr_pages && r->pfn < end && r->nr_pages <= end - r->pfn;
}

/**
 * vbb_range_clip() - keep what lies in a window
 * @r: a valid or empty run; becomes its part inside the window, empty where there is none
 * @window: a valid or empty run in the same unit
 *
 * Return: true where something is left.
 */
static inline bool vbb_range_clip(struct vbb_range *r, const struct vbb_range *window)
{
	vbb_u64 end = r->pfn + r->nr_pages;
	vbb_u64 window_end = window->pfn + window->nr_pages;

	if (r->pfn < window->pfn)
		r->pfn = window->pfn;
	if (end > window_end)
		end = window_end;
	r->nr_pages = end > r->pfn ? end - r->pfn : 0;
	return r->nr_pages != 0;
}

/**
 * vbb_range_merge() - join two runs that touch or overlap
 * @r: a valid run; becomes the union
 * @more: a valid run in the same unit
 *
 * Return: true where they were joined; false leaves @r as it was.
 */
static inline bool vbb_range_merge(struct vbb_range *r, const struct vbb_range *more)
{
	vbb_u64 end = r->pfn + r->nr_pages;
	vbb_u64 more_end = more->pfn + more->nr_pages;

	if (more->pfn > end || r->pfn > more_end)
		return false;
	if (more->pfn < r->pfn)
		r->pfn = more->pfn;
	if (more_end > end)
		end = more_end;
	r->nr_pages = end - r->pfn;
	return true;
}

/**
 * vbb_range_span() - a run of pages in bytes
 * @r: a valid or empty run
 * @page_shift: log2 of its page size in bytes, 12 to 30
 *
 * Return: the bytes. Where @r is not empty and ends at 2^64, gpa + len wraps to 0; len itself is
 * exact but for the whole address space, which is one byte short of it.
 */
static inline struct vbb_span vbb_range_span(const struct vbb_range *r, vbb_u32 page_shift)
{
	struct vbb_span s;

	s.gpa = r->pfn * vbb_pow2(page_shift);
	s.len = r->nr_pages == vbb_pfn_end(page_shift) ? ~(vbb_u64)0 :
							 r->nr_pages * vbb_pow2(page_shift);
	return s;
}

/**
 * vbb_span_shrink() - keep only the host pages that a run covers whole
 * @s: a run of bytes; becomes its whole host pages, len 0 where there is none
 * @base: a byte at which some host page begins, for blocks that are not aligned to the host's
 *     pages; else 0
 * @host_shift: log2 of the host page size in bytes, 0 to 63
 *
 * Return: true where something is left.
 */
static inline bool vbb_span_shrink(struct vbb_span *s, vbb_u64 base, vbb_u32 host_shift)
{
	vbb_u64 size = vbb_pow2(host_shift);
	vbb_u64 head = vbb_gap(s->gpa, base, host_shift);

	if (s->len < head || s->len - head < size) {
		s->len = 0;
		return false;
	}
	s->gpa += head;
	s->len = vbb_align_down(s->len - head, host_shift);
	return true;
}

/**
 * vbb_ram_map_check() - is an array of blocks a map?
 * @map: the map; the caller's
 *
 * Return: 0, or VBB_E_INVAL where a block is empty, wraps, is not sorted, overlaps, or is not
 * aligned to its page.
 */
static inline int vbb_ram_map_check(const struct vbb_ram_map *map)
{
	size_t i;

	/*@ loop invariant 0 <= i <= map->nr;
	  @ loop invariant vbb_ram_map_ok(map->ram, i);
	  @ loop assigns i;
	  @ loop variant map->nr - i;
	  @*/
	for (i = 0; i < map->nr; i++) {
		const struct vbb_ram *m = &map->ram[i];

		if (!m->len || m->len - 1 > ~(vbb_u64)0 - m->gpa || m->host_shift > 63)
			return VBB_E_INVAL;
		if (m->len - 1 > ~(vbb_u64)0 - m->addr || (m->addr & (vbb_pow2(m->host_shift) - 1)))
			return VBB_E_INVAL;
		if (i && map->ram[i - 1].gpa + (map->ram[i - 1].len - 1) >= m->gpa)
			return VBB_E_INVAL;
	}
	return 0;
}

/**
 * vbb_ram_map_next() - cut the next piece that is RAM off a run
 * @map: a map that vbb_ram_map_check() found good; the caller's
 * @rest: the run in bytes, from vbb_range_span(); what comes before the piece's end is taken off it
 * @piece: receives the piece; as long as block and run allow
 *
 * Holes, and block borders, never lie inside a piece. Two searches a piece at most; a run over N
 * blocks takes N calls.
 *
 * Return: true with a piece; false where no RAM is left in the run, which is then empty.
 */
static inline bool vbb_ram_map_next(const struct vbb_ram_map *map, struct vbb_span *rest,
				    struct vbb_piece *piece)
{
	size_t lo = 0, hi = map->nr;
	vbb_u64 last, ram_last, skip = 0;
	const struct vbb_ram *m;

	if (!rest->len)
		return false;
	last = rest->gpa + (rest->len - 1);
	/* the first block that ends at or behind the run's first byte */
	/*@ loop invariant 0 <= lo <= hi <= map->nr;
	  @ loop invariant hi < map->nr ==> map->ram[hi].gpa + (map->ram[hi].len - 1) >= rest->gpa;
	  @ loop assigns lo, hi;
	  @ loop variant hi - lo;
	  @*/
	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (map->ram[mid].gpa + (map->ram[mid].len - 1) < rest->gpa)
			lo = mid + 1;
		else
			hi = mid;
	}
	if (lo == map->nr || map->ram[lo].gpa > last) {
		rest->len = 0;
		return false;
	}
	m = &map->ram[lo];
	ram_last = m->gpa + (m->len - 1);
	if (m->gpa > rest->gpa)
		skip = m->gpa - rest->gpa;
	piece->ram = m;
	piece->span.gpa = rest->gpa + skip;
	piece->span.len = (last < ram_last ? last : ram_last) - piece->span.gpa + 1;
	piece->addr = m->addr + (piece->span.gpa - m->gpa);
	rest->len -= skip + piece->span.len;
	if (rest->len)
		rest->gpa = piece->span.gpa + piece->span.len;
	return true;
}

VBB_END_DECLS

#endif
