// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause
/* The picture of vbb map for a terminal. */
#include "map.h"

#include <inttypes.h>

#define LABEL_LEN 10
#define BAR_LEN_MAX 40
#define NR_SHADES 5

/* From all used to all free */
static const char *const unicode[NR_SHADES] = { "\u2588", "\u2593", "\u2592", "\u2591", "\u00b7" };
static const char *const ascii[NR_SHADES] = { "#", "*", "+", "-", "." };

static void print_rows(const struct vbb_map *m, FILE *f, const char *const *shades)
{
	struct vbb_map_cursor cursor = { 0 };
	vbb_u32 row, col, step = (m->nr_rows + 7) / 8;
	vbb_u64 pfn = m->first_pfn;

	for (row = 0; row < m->nr_rows; row++) {
		char label[24] = "";

		if (row % step == 0)
			vbb_size_text(pfn, m->page_shift, label);
		fprintf(f, "%*s  ", LABEL_LEN, label);
		for (col = 0; col < m->nr_cols; col++, pfn += vbb_pow2(m->cell_order)) {
			struct vbb_map_cell cell = vbb_map_next(m, &cursor, pfn);

			fputs(cell.nr_ram ? shades[vbb_map_shade(&cell, NR_SHADES)] : " ", f);
		}
		fputc('\n', f);
	}
}

static void print_orders(const struct vbb_map *m, FILE *f, vbb_u32 nr_cols, const char *block)
{
	vbb_u64 most = 1;
	vbb_u32 order, i, bar_len_max = nr_cols < 80 ? nr_cols - LABEL_LEN - 28 : BAR_LEN_MAX;

	fprintf(f, "\nFree runs by length, and their share of the free memory:\n");
	for (order = 0; order < VBB_MAP_NR_ORDERS; order++) {
		if (m->order[order].nr_pages > most)
			most = m->order[order].nr_pages;
	}
	for (order = 0; order < VBB_MAP_NR_ORDERS; order++) {
		char label[24], share[16];

		if (!m->order[order].nr_runs)
			continue;
		vbb_size_text(vbb_pow2(order), m->page_shift, label);
		vbb_map_percent(m->order[order].nr_pages, m->nr_free, share);
		fprintf(f, "%*s+ %12" PRIu64 " %8s  ", LABEL_LEN - 1, label,
			m->order[order].nr_runs, share);
		for (i = 0; i < (vbb_u32)(m->order[order].nr_pages * bar_len_max / most); i++)
			fputs(block, f);
		fputc('\n', f);
	}
}

void vbb_map_text(const struct vbb_map *m, FILE *f, vbb_u32 nr_cols, bool ascii_only)
{
	const char *const *shades = ascii_only ? ascii : unicode;
	char ram[24], is_free[24], share[16], page[24], cell[24], largest[24];

	vbb_size_text(m->nr_ram, m->page_shift, ram);
	vbb_size_text(m->nr_free, m->page_shift, is_free);
	vbb_size_text(1, m->page_shift, page);
	vbb_size_text(vbb_pow2(m->cell_order), m->page_shift, cell);
	vbb_size_text(m->largest.nr_pages, m->page_shift, largest);
	vbb_map_percent(m->nr_free, m->nr_ram, share);
	fprintf(f, "%s of %s free, %s\n%" PRIu64 " of %" PRIu64 " pages of %s\n\n", is_free, ram,
		share, m->nr_free, m->nr_ram, page);
	print_rows(m, f, shades);
	fprintf(f, "\n%*s  %s used  %s %s %s in part  %s free; each is %s\n", LABEL_LEN, "",
		shades[0], shades[1], shades[2], shades[3], shades[4], cell);
	if (m->nr_free) {
		print_orders(m, f, nr_cols, ascii_only ? "=" : "\u2501");
		fprintf(f, "The longest: %s, %" PRIu64 " pages at pfn 0x%" PRIx64 "\n", largest,
			m->largest.nr_pages, m->largest.pfn);
	}
	if (m->nr_outside)
		fprintf(f, "Not in memory, and left out: %" PRIu64 " pages\n", m->nr_outside);
}
