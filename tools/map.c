// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause
/* vbb map: a picture of guest memory, free against used. */
#include "map.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <langinfo.h>
#include <locale.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

static const char help[] =
	"Usage: vbb map [OPTION]... [FILE]\n"
	"Draw guest memory, free against used. Lines 'PFN COUNT' of FILE (without one, or with\n"
	"'-': of stdin) name the free pages; lines '# ram PFN COUNT' say what memory there is.\n"
	"\n"
	"  --svg FILE      draw as SVG to FILE ('-': to stdout) and not for the terminal\n"
	"  --ram SIZE      the memory, in bytes or with K, M, G or T, whatever FILE says; where\n"
	"                  nothing says it, it reaches from the first page named to the last\n"
	"  --first PFN     where the memory of --ram begins (0)\n"
	"  --page-shift N  a page has 2^N bytes, 12 to 30 (12)\n"
	"  --width N       columns, 40 to 1000 (those of the terminal, or 80)\n"
	"  --ascii         no other characters\n"
	"  --help          print this and exit\n";

#define SVG_NR_COLS 128
#define SVG_NR_ROWS 64
#define TEXT_NR_ROWS 32
#define TEXT_LABEL_LEN 12	/* before each row; an address and a blank */

struct job {
	const char *svg;	/* path; NULL: for the terminal */
	vbb_u64 ram_len;	/* bytes; 0: as the input says */
	vbb_u64 first_pfn;
	vbb_u64 page_shift;
	vbb_u64 width;		/* columns; 0: as it is */
	bool ascii;
};

/* The part of runs, from index *i on, that lies in a window, and where the next window begins */
static vbb_u64 take(const struct vbb_runs *rs, size_t *i, const struct vbb_range *window)
{
	vbb_u64 end = window->pfn + window->nr_pages, sum = 0;

	for (; *i < rs->nr && rs->run[*i].pfn < end; (*i)++) {
		struct vbb_range r = rs->run[*i];

		vbb_range_clip(&r, window);
		sum += r.nr_pages;
		/* it goes on in the next window */
		if (rs->run[*i].pfn + rs->run[*i].nr_pages > end)
			break;
	}
	return sum;
}

struct vbb_map_cell vbb_map_next(const struct vbb_map *m, struct vbb_map_cursor *cursor,
				 vbb_u64 pfn)
{
	struct vbb_range window = { .pfn = pfn, .nr_pages = vbb_pow2(m->cell_order) };
	struct vbb_map_cell cell;

	cell.nr_ram = take(&m->ram, &cursor->ram, &window);
	cell.nr_free = take(&m->free, &cursor->free, &window);
	return cell;
}

vbb_u32 vbb_map_shade(const struct vbb_map_cell *cell, vbb_u32 nr_shades)
{
	if (!cell->nr_free)
		return 0;
	if (cell->nr_free == cell->nr_ram)
		return nr_shades - 1;
	return 1 + (vbb_u32)(cell->nr_free * (nr_shades - 2) / cell->nr_ram);
}

void vbb_map_layout(struct vbb_map *m, vbb_u32 nr_cols, vbb_u32 nr_rows_max)
{
	const struct vbb_range *last = &m->ram.run[m->ram.nr - 1];
	vbb_u64 end = last->pfn + last->nr_pages, row, nr_rows;

	m->nr_cols = nr_cols;
	m->cell_order = 0;
	for (;;) {
		row = (vbb_u64)nr_cols << m->cell_order;
		m->first_pfn = m->ram.run[0].pfn & ~(row - 1);
		nr_rows = (end - m->first_pfn + row - 1) / row;
		if (nr_rows <= nr_rows_max)
			break;
		m->cell_order++;
	}
	m->nr_rows = (vbb_u32)nr_rows;
}

void vbb_map_percent(vbb_u64 part, vbb_u64 whole, char text[16])
{
	vbb_u32 permille = (vbb_u32)(part * 1000 / (whole ? whole : 1));

	snprintf(text, 16, "%u.%u %%", permille / 10, permille % 10);
}

static void count_run(struct vbb_map *m, const struct vbb_range *r)
{
	vbb_u32 order = 0;

	while (r->nr_pages >> order > 1)
		order++;
	m->order[order].nr_runs++;
	m->order[order].nr_pages += r->nr_pages;
	m->nr_free += r->nr_pages;
	if (r->nr_pages > m->largest.nr_pages)
		m->largest = *r;
}

/* Keep of the free runs what lies in the memory, and count it */
static int count(struct vbb_map *m, const struct vbb_runs *named)
{
	size_t i, ram = 0;
	int status = 0;

	for (i = 0; i < m->ram.nr; i++)
		m->nr_ram += m->ram.run[i].nr_pages;
	for (i = 0; i < named->nr && !status; i++) {
		const struct vbb_range *r = &named->run[i];

		m->nr_outside += r->nr_pages;
		while (ram < m->ram.nr && m->ram.run[ram].pfn + m->ram.run[ram].nr_pages <= r->pfn)
			ram++;
		for (; ram < m->ram.nr && !status; ram++) {
			struct vbb_range part = *r;

			if (!vbb_range_clip(&part, &m->ram.run[ram]))
				break;
			count_run(m, &part);
			m->nr_outside -= part.nr_pages;
			status = vbb_runs_add(&m->free, &part);
			if (part.pfn + part.nr_pages == r->pfn + r->nr_pages)
				break;
		}
	}
	return status;
}

/* What memory there is: as the options say, else the input, else as far as free pages are named */
static int find_ram(struct vbb_map *m, const struct job *job, struct vbb_lines *in, const char *cmd)
{
	struct vbb_range all = { .pfn = job->first_pfn };

	if (!job->ram_len && in->ram.nr) {
		m->ram = in->ram;
		in->ram = (struct vbb_runs){ .nr = 0 };
		return 0;
	}
	if (job->ram_len) {
		all.nr_pages = job->ram_len >> m->page_shift;
	} else if (in->pages.nr) {
		const struct vbb_range *last = &in->pages.run[in->pages.nr - 1];

		all.pfn = in->pages.run[0].pfn;
		all.nr_pages = last->pfn + last->nr_pages - all.pfn;
	} else {
		vbb_warn("no page is named and no memory: what there is must be said by --ram");
		return VBB_EXIT_DATA;
	}
	if (!vbb_range_valid(&all, m->page_shift))
		return vbb_usage(cmd, "--ram and --first: less than a page, or past the last");
	return vbb_runs_add(&m->ram, &all);
}

static vbb_u32 terminal_width(void)
{
	const char *columns = getenv("COLUMNS");
	struct winsize size;
	vbb_u64 nr;

	if (!ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) && size.ws_col)
		return size.ws_col;
	if (columns && !vbb_num_parse(&columns, &nr) && !*columns && nr && nr <= 1000)
		return (vbb_u32)nr;
	return 80;
}

static int draw_svg(struct vbb_map *m, const char *path)
{
	FILE *f = stdout;

	vbb_map_layout(m, SVG_NR_COLS, SVG_NR_ROWS);
	if (!strcmp(path, "-")) {
		vbb_map_svg(m, f);
		return 0;
	}
	f = fopen(path, "w");
	if (!f) {
		vbb_warn("%s: %s", path, strerror(errno));
		return VBB_EXIT_IOERR;
	}
	vbb_map_svg(m, f);
	return vbb_out_close(f, path);
}

static void draw_text(struct vbb_map *m, const struct job *job)
{
	vbb_u32 width = job->width ? (vbb_u32)job->width : terminal_width();
	vbb_u32 nr_cols = 16;

	setlocale(LC_CTYPE, "");
	while (2 * nr_cols + TEXT_LABEL_LEN <= width)
		nr_cols *= 2;
	vbb_map_layout(m, nr_cols, TEXT_NR_ROWS);
	vbb_map_text(m, stdout, width, job->ascii || strcmp(nl_langinfo(CODESET), "UTF-8"));
}

static int run(const struct job *job, int argc, char **argv)
{
	struct vbb_map m = { .page_shift = (vbb_u32)job->page_shift };
	struct vbb_lines in = { .end_pfn = vbb_pfn_end(m.page_shift), .with_ram = true };
	int status = vbb_lines_read(&in, argc, argv, optind);

	if (!status)
		status = find_ram(&m, job, &in, argv[0]);
	if (!status)
		status = count(&m, &in.pages);
	if (!status && job->svg)
		status = draw_svg(&m, job->svg);
	else if (!status)
		draw_text(&m, job);
	vbb_lines_fini(&in);
	vbb_runs_fini(&m.free);
	vbb_runs_fini(&m.ram);
	return status;
}

int vbb_cmd_map(int argc, char **argv)
{
	enum { OPT_SVG = 1, OPT_RAM, OPT_FIRST, OPT_PAGE_SHIFT, OPT_WIDTH, OPT_ASCII, OPT_HELP };
	static const struct option options[] = {
		{ "svg", required_argument, NULL, OPT_SVG },
		{ "ram", required_argument, NULL, OPT_RAM },
		{ "first", required_argument, NULL, OPT_FIRST },
		{ "page-shift", required_argument, NULL, OPT_PAGE_SHIFT },
		{ "width", required_argument, NULL, OPT_WIDTH },
		{ "ascii", no_argument, NULL, OPT_ASCII },
		{ "help", no_argument, NULL, OPT_HELP },
		{ NULL, 0, NULL, 0 },
	};
	struct job job = { .page_shift = VIRTIO_BALLOON_PAGE_SHIFT_MIN };
	bool first = false;
	int opt, status = 0;

	while ((opt = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (opt) {
		case OPT_SVG:
			job.svg = optarg;
			break;
		case OPT_RAM:
			status = vbb_opt_size(argv[0], "ram", optarg, &job.ram_len);
			break;
		case OPT_FIRST:
			status = vbb_opt_num(argv[0], "first", optarg, 0, VBB_PFN_END - 1,
					     &job.first_pfn);
			first = true;
			break;
		case OPT_PAGE_SHIFT:
			status = vbb_opt_num(argv[0], "page-shift", optarg,
					     VIRTIO_BALLOON_PAGE_SHIFT_MIN,
					     VIRTIO_BALLOON_PAGE_SHIFT_MAX, &job.page_shift);
			break;
		case OPT_WIDTH:
			status = vbb_opt_num(argv[0], "width", optarg, 40, 1000, &job.width);
			break;
		case OPT_ASCII:
			job.ascii = true;
			break;
		case OPT_HELP:
			fputs(help, stdout);
			return 0;
		default:
			return vbb_usage(argv[0], NULL);
		}
		if (status)
			return status;
	}
	if (first && !job.ram_len)
		return vbb_usage(argv[0], "--first goes with --ram");
	return run(&job, argc, argv);
}
