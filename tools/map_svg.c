// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause
/* The picture of vbb map as SVG: the memory in rows, and below it what the colours and runs are. */
#include "map.h"

#include <inttypes.h>

/* Pixels */
#define WIDTH 1000
#define CELL 7
#define LEFT 80
#define TOP 84
#define LEGEND_HEIGHT 200
#define BARS_LEFT 420
#define BARS_WIDTH 556
#define BARS_HEIGHT 96

#define INK "#1f2a44"
#define INK_PALE "#66708a"
#define NR_SHADES 17
#define SHADE_BAR "#358f98"

/* From all used to all free, over a middle that neither can be taken for */
static void shade_colour(vbb_u32 shade, char text[8])
{
	static const vbb_u32 stops[3][3] = {
		{ 0x27, 0x33, 0x57 }, { 0x35, 0x8f, 0x98 }, { 0xd3, 0xf0, 0xdd },
	};
	const vbb_u32 half = (NR_SHADES - 1) / 2;
	const vbb_u32 *from = stops[shade > half], *to = stops[1 + (shade > half)];
	vbb_u32 c[3], i, at = shade > half ? shade - half : shade;

	for (i = 0; i < 3; i++)
		c[i] = (from[i] * (half - at) + to[i] * at) / half;
	snprintf(text, 8, "#%02x%02x%02x", c[0] & 0xff, c[1] & 0xff, c[2] & 0xff);
}

/* 1234567 as 1,234,567 */
static const char *number(vbb_u64 n, char text[32])
{
	char *p = text + 31;
	unsigned int digits = 0;

	*p = '\0';
	do {
		if (digits && digits % 3 == 0)
			*--p = ',';
		*--p = (char)('0' + n % 10);
		n /= 10;
		digits++;
	} while (n);
	return p;
}

static void put_head(const struct vbb_map *m, FILE *f, vbb_u32 height)
{
	char ram[24], is_free[24], page[24], cell[24], row[24], share[16], n[2][32];
	char colour[8];
	vbb_u32 i;

	fprintf(f,
		"<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %u\"\n"
		"width=\"%d\" height=\"%u\" fill=\"" INK "\" font-size=\"12\"\n"
		"font-family=\"system-ui, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif\">\n",
		WIDTH, height, WIDTH, height);
	fputs("<style>.title{font-size:24px;font-weight:600}.big{font-size:16px;font-weight:600}\n"
	      ".pale{fill:" INK_PALE "}.end{text-anchor:end}\n"
	      ".mid{text-anchor:middle;font-size:10px}.bar{fill:" SHADE_BAR "}\n", f);
	for (i = 0; i < NR_SHADES; i++) {
		shade_colour(i, colour);
		fprintf(f, ".s%u{fill:%s}", i, colour);
	}
	fprintf(f,
		"</style>\n"
		"<defs><pattern id=\"grid\" x=\"%d\" y=\"%d\" width=\"%d\" height=\"%d\"\n"
		"patternUnits=\"userSpaceOnUse\"><path d=\"M%d.5 0V%d.5H0\" fill=\"none\"\n"
		"stroke=\"#fff\"/></pattern></defs>\n"
		"<rect width=\"%d\" height=\"%u\" fill=\"#fff\"/>\n",
		LEFT, TOP, CELL, CELL, CELL - 1, CELL - 1, WIDTH, height);
	vbb_size_text(m->nr_ram, m->page_shift, ram);
	vbb_size_text(m->nr_free, m->page_shift, is_free);
	vbb_size_text(1, m->page_shift, page);
	vbb_size_text(vbb_pow2(m->cell_order), m->page_shift, cell);
	vbb_size_text((vbb_u64)m->nr_cols << m->cell_order, m->page_shift, row);
	vbb_map_percent(m->nr_free, m->nr_ram, share);
	fprintf(f, "<text x=\"%d\" y=\"36\" class=\"title\">%s of %s free</text>\n", LEFT, is_free,
		ram);
	fprintf(f,
		"<text x=\"%d\" y=\"60\" class=\"pale\">%s: %s of %s pages of %s. Each cell is %s,\n"
		" each row %s.</text>\n",
		LEFT, share, number(m->nr_free, n[0]), number(m->nr_ram, n[1]), page, cell, row);
}

/* Cells of one shade are one rectangle; what is no memory stays white. */
static void put_rect(FILE *f, vbb_u32 from, vbb_u32 to, vbb_u32 shade)
{
	if (to > from && shade < NR_SHADES)
		fprintf(f, "<rect class=\"s%u\" x=\"%u\" width=\"%u\" height=\"%d\"/>", shade,
			from * CELL, (to - from) * CELL, CELL);
}

static void put_row(const struct vbb_map *m, FILE *f, struct vbb_map_cursor *cursor, vbb_u32 row)
{
	vbb_u64 pfn = m->first_pfn + ((vbb_u64)row * m->nr_cols << m->cell_order);
	struct vbb_map_cursor ahead = *cursor;
	struct vbb_map_cell all = { .nr_ram = 0 }, cell;
	vbb_u32 col, from = 0, last = NR_SHADES, shade;
	char at[24], is_free[24];

	for (col = 0; col < m->nr_cols; col++) {
		cell = vbb_map_next(m, &ahead, pfn + ((vbb_u64)col << m->cell_order));
		all.nr_ram += cell.nr_ram;
		all.nr_free += cell.nr_free;
	}
	vbb_size_text(pfn, m->page_shift, at);
	vbb_size_text(all.nr_free, m->page_shift, is_free);
	fprintf(f,
		"<g transform=\"translate(%d %u)\" data-pfn=\"0x%" PRIx64 "\" data-ram=\"%" PRIu64
		"\" data-free=\"%" PRIu64 "\"><title>%s free at %s, pfn 0x%" PRIx64 "</title>",
		LEFT, TOP + row * CELL, pfn, all.nr_ram, all.nr_free, is_free, at, pfn);
	for (col = 0; col < m->nr_cols; col++) {
		cell = vbb_map_next(m, cursor, pfn + ((vbb_u64)col << m->cell_order));
		shade = cell.nr_ram ? vbb_map_shade(&cell, NR_SHADES) : NR_SHADES;
		if (shade != last) {
			put_rect(f, from, col, last);
			from = col;
			last = shade;
		}
	}
	put_rect(f, from, col, last);
	fputs("</g>\n", f);
}

static void put_rows(const struct vbb_map *m, FILE *f)
{
	struct vbb_map_cursor cursor = { 0 };
	vbb_u32 row, step = 1;
	char label[24];

	while (m->nr_rows > 16 * step)
		step *= 2;
	fputs("<g id=\"memory\">\n", f);
	for (row = 0; row < m->nr_rows; row++)
		put_row(m, f, &cursor, row);
	fprintf(f, "</g>\n<rect x=\"%d\" y=\"%d\" width=\"%u\" height=\"%u\" fill=\"url(#grid)\"\n"
		"pointer-events=\"none\"/>\n", LEFT, TOP, m->nr_cols * CELL, m->nr_rows * CELL);
	for (row = 0; row < m->nr_rows; row += step) {
		vbb_size_text(m->first_pfn + ((vbb_u64)row * m->nr_cols << m->cell_order),
			      m->page_shift, label);
		fprintf(f,
			"<text x=\"%d\" y=\"%u\" class=\"end pale\" font-size=\"10\">%s</text>\n",
			LEFT - 8, TOP + row * CELL + CELL, label);
	}
}

static void put_scale(FILE *f, vbb_u32 top)
{
	vbb_u32 i;

	fprintf(f, "<text x=\"%d\" y=\"%u\" class=\"pale\">used</text>\n", LEFT, top);
	for (i = 0; i < NR_SHADES; i++)
		fprintf(f, "<rect class=\"s%u\" x=\"%u\" y=\"%u\" width=\"12\" height=\"12\"/>", i,
			LEFT + 36 + 12 * i, top - 10);
	fprintf(f, "\n<text x=\"%d\" y=\"%u\" class=\"pale\">free</text>\n",
		LEFT + 36 + 12 * NR_SHADES + 8, top);
}

static void put_numbers(const struct vbb_map *m, FILE *f, vbb_u32 top)
{
	char largest[24], n[32];
	vbb_u64 nr_runs = 0;
	vbb_u32 order;

	for (order = 0; order < VBB_MAP_NR_ORDERS; order++)
		nr_runs += m->order[order].nr_runs;
	fprintf(f, "<text x=\"%d\" y=\"%u\"><tspan class=\"big\">%s</tspan> free runs</text>\n",
		LEFT, top, number(nr_runs, n));
	if (!nr_runs)
		return;
	vbb_size_text(m->largest.nr_pages, m->page_shift, largest);
	fprintf(f,
		"<text x=\"%d\" y=\"%u\"><tspan class=\"big\">%s</tspan> the longest</text>\n"
		"<text x=\"%d\" y=\"%u\" class=\"pale\">%s pages at pfn 0x%" PRIx64 "</text>\n",
		LEFT, top + 30, largest, LEFT, top + 48, number(m->largest.nr_pages, n),
		m->largest.pfn);
	if (m->nr_outside)
		fprintf(f, "<text x=\"%d\" y=\"%u\" class=\"pale\">\n"
			"not in memory, and left out: %s pages</text>\n", LEFT, top + 74,
			number(m->nr_outside, n));
}

static void put_bar(const struct vbb_map *m, FILE *f, vbb_u32 order, vbb_u64 most, vbb_u32 x,
		    vbb_u32 width, vbb_u32 bottom)
{
	vbb_u64 nr_pages = m->order[order].nr_pages;
	vbb_u32 height = (vbb_u32)(nr_pages * BARS_HEIGHT / most);
	char size[24], share[16], n[32];

	/* what is there is seen */
	if (nr_pages && !height)
		height = 1;
	vbb_size_text(vbb_pow2(order), m->page_shift, size);
	vbb_map_percent(nr_pages, m->nr_free, share);
	fprintf(f,
		"<g data-order=\"%u\" data-runs=\"%" PRIu64 "\" data-pages=\"%" PRIu64 "\">\n"
		"<title>%s runs of %s or more, less than twice that: %s</title>\n"
		"<rect class=\"bar\" x=\"%u\" y=\"%u\" width=\"%u\" height=\"%u\"/>",
		order, m->order[order].nr_runs, nr_pages, number(m->order[order].nr_runs, n), size,
		share, x, bottom - height, width - 3, height);
	if (nr_pages == most)
		fprintf(f, "<text x=\"%u\" y=\"%u\" class=\"mid\">%s</text>", x + (width - 3) / 2,
			bottom - height - 4, share);
	fputs("</g>\n", f);
}

static void put_bars(const struct vbb_map *m, FILE *f, vbb_u32 top)
{
	vbb_u32 bottom = top + 28 + BARS_HEIGHT, first = VBB_MAP_NR_ORDERS, last = 0, order, width;
	vbb_u64 most = 1;
	char size[24];

	for (order = 0; order < VBB_MAP_NR_ORDERS; order++) {
		if (!m->order[order].nr_runs)
			continue;
		if (first > order)
			first = order;
		last = order;
		if (most < m->order[order].nr_pages)
			most = m->order[order].nr_pages;
	}
	if (first > last)
		return;
	width = BARS_WIDTH / (last - first + 1);
	if (width > 60)
		width = 60;
	fprintf(f, "<text x=\"%d\" y=\"%u\" class=\"pale\">\n"
		"Free memory by the length of its runs</text>\n<g id=\"orders\">\n", BARS_LEFT,
		top);
	for (order = first; order <= last; order++)
		put_bar(m, f, order, most, BARS_LEFT + (order - first) * width, width, bottom);
	fprintf(f, "</g>\n<path d=\"M%d %u.5h%u\" stroke=\"" INK_PALE "\"/>\n", BARS_LEFT, bottom,
		(last - first + 1) * width - 3);
	for (order = first; order <= last; order += 1 + 48 / width) {
		vbb_size_text(vbb_pow2(order), m->page_shift, size);
		fprintf(f, "<text x=\"%u\" y=\"%u\" class=\"mid pale\">%s</text>\n",
			BARS_LEFT + (order - first) * width + (width - 3) / 2, bottom + 14, size);
	}
}

void vbb_map_svg(const struct vbb_map *m, FILE *f)
{
	vbb_u32 legend = TOP + m->nr_rows * CELL + 36;

	put_head(m, f, TOP + m->nr_rows * CELL + LEGEND_HEIGHT);
	put_rows(m, f);
	put_scale(f, legend);
	put_numbers(m, f, legend + 44);
	put_bars(m, f, legend);
	fputs("</svg>\n", f);
}
