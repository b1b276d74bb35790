/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause */
/* A picture of guest memory, before it is drawn: cells in rows, and what the legend says. */
#ifndef VBB_TOOLS_MAP_H
#define VBB_TOOLS_MAP_H

#include "vbb.h"

#define VBB_MAP_NR_ORDERS (VIRTIO_BALLOON_PFN_BITS + 1)

/**
 * struct vbb_map - guest memory, cut into rows of cells of one size, and the free pages in it
 */
struct vbb_map {
	struct vbb_runs free;	/* inside ram, in order and merged */
	struct vbb_runs ram;	/* likewise */
	vbb_u32 page_shift;	/* log2 of the page size in bytes */
	vbb_u64 nr_ram;		/* pages */
	vbb_u64 nr_free;	/* pages */
	vbb_u64 nr_outside;	/* pages that were called free, and are not in ram */
	struct vbb_range largest;	/* the first of the longest runs, or empty */
	struct {
		vbb_u64 nr_runs;
		vbb_u64 nr_pages;
	} order[VBB_MAP_NR_ORDERS];	/* free runs of 2^order pages to 2^(order + 1) - 1 */
	vbb_u64 first_pfn;	/* where the first row begins, a multiple of a row */
	vbb_u32 cell_order;	/* log2 of a cell's pages */
	vbb_u32 nr_cols;	/* cells in a row */
	vbb_u32 nr_rows;
};

/**
 * struct vbb_map_cursor - how far the cells of a map are read; all 0 at first
 */
struct vbb_map_cursor {
	size_t ram;		/* index of the run to look at next */
	size_t free;		/* likewise */
};

/**
 * struct vbb_map_cell - what is in a cell, or in some that follow one another
 */
struct vbb_map_cell {
	vbb_u64 nr_ram;		/* pages; 0: there is no memory */
	vbb_u64 nr_free;	/* pages */
};

/**
 * vbb_map_layout() - decide of how many pages a cell is, and how many rows there are
 * @m: a map with ram
 * @nr_cols: cells in a row, a power of two
 * @nr_rows_max: most rows, 2 or more
 */
void vbb_map_layout(struct vbb_map *m, vbb_u32 nr_cols, vbb_u32 nr_rows_max);

/**
 * vbb_map_next() - look into the next cell
 * @m: the map
 * @cursor: how far it is read
 * @pfn: where the cell begins; cells are looked into in ascending order
 *
 * Return: what is in it.
 */
struct vbb_map_cell vbb_map_next(const struct vbb_map *m, struct vbb_map_cursor *cursor,
				 vbb_u64 pfn);

/**
 * vbb_map_shade() - how light a cell is
 * @cell: a cell
 * @nr_shades: how many there are, 3 or more
 *
 * The first and the last are kept for cells that are all used and all free.
 *
 * Return: 0 (all used) to nr_shades - 1 (all free).
 */
vbb_u32 vbb_map_shade(const struct vbb_map_cell *cell, vbb_u32 nr_shades);

/**
 * vbb_map_percent() - write a share, never more than it is
 * @part: of the whole, at most 2^52
 * @whole: the whole; 0 counts as 1
 * @text: receives a text such as "97.3 %"
 */
void vbb_map_percent(vbb_u64 part, vbb_u64 whole, char text[16]);

/**
 * vbb_map_text() - draw for a terminal
 * @m: the map, laid out
 * @f: where to
 * @nr_cols: columns of the terminal
 * @ascii: no other characters
 */
void vbb_map_text(const struct vbb_map *m, FILE *f, vbb_u32 nr_cols, bool ascii);

/**
 * vbb_map_svg() - draw as SVG
 * @m: the map, laid out
 * @f: where to
 */
void vbb_map_svg(const struct vbb_map *m, FILE *f);

#endif
