// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause
/* vbb gen: runs of pages by a pattern, the same on every machine; or the free pages of this one. */
#include "pattern.h"

#include <getopt.h>
#include <inttypes.h>
#include <string.h>

static const char help[] =
	"Usage: vbb gen --pattern NAME [OPTION]...\n"
	"       vbb gen --from-kpageflags\n"
	"Write lines 'PFN COUNT' that 'vbb encode' reads: pages that a guest does not need.\n"
	"\n"
	"  --pattern NAME     one of these; the defaults of ORDER and D in parentheses\n"
	"      all                 every page\n"
	"      idle                31 of 32 blocks of 2^ORDER pages (10)\n"
	"      every-second        every second page\n"
	"      fragmented          the first of every 2^ORDER pages (4)\n"
	"      every-second-block  every second block of 2^ORDER pages (9)\n"
	"      density             each page by itself with probability D (0.5)\n"
	"      buddy               blocks of orders 0 to ORDER (10); D of them are free (0.5)\n"
	"      clusters            runs of 1 to 2^ORDER pages (6); D of all pages (0.25)\n"
	"      sparse              blocks of 2^ORDER pages (0); D of all pages (0.000001)\n"
	"      mixed               stretches of 2^ORDER pages (12): each all, none, every\n"
	"                          second, or by density D (0.5)\n"
	"  --pages N          pages of the guest (1048576; sparse: 1073741824)\n"
	"  --first PFN        its first page (0)\n"
	"  --order N          0 to 20\n"
	"  --density D        a decimal fraction, over 0 and at most 1, of at most 9 digits\n"
	"  --seed N           another seed is another guest (1)\n"
	"  --from-kpageflags  the free pages of this machine, in pages of 4 KiB; needs root\n"
	"  --help             print this and exit\n";

enum {
	OPT_PATTERN = 256, OPT_KPAGEFLAGS, OPT_PAGES, OPT_FIRST, OPT_ORDER, OPT_DENSITY, OPT_SEED,
	OPT_HELP,
};

static const struct option options[] = {
	{ "pattern", required_argument, NULL, OPT_PATTERN },
	{ "from-kpageflags", no_argument, NULL, OPT_KPAGEFLAGS },
	{ "pages", required_argument, NULL, OPT_PAGES },
	{ "first", required_argument, NULL, OPT_FIRST },
	{ "order", required_argument, NULL, OPT_ORDER },
	{ "density", required_argument, NULL, OPT_DENSITY },
	{ "seed", required_argument, NULL, OPT_SEED },
	{ "help", no_argument, NULL, OPT_HELP },
	{ NULL, 0, NULL, 0 },
};

static int print_run(void *ctx, const struct vbb_range *r)
{
	(void)ctx;
	printf("0x%" PRIx64 " %" PRIu64 "\n", r->pfn, r->nr_pages);
	return ferror(stdout);
}

static int from_this_machine(struct vbb_gen *g)
{
	int err = vbb_gen_kpageflags(g);

	if (err >= 0)
		return 0;
	vbb_warn("%s: %s", VBB_KPAGEFLAGS, strerror(-err));
	return VBB_EXIT_NOINPUT;
}

/* A decimal fraction in billionths. Return: 0 where it is none */
static vbb_u32 parse_density(const char *s)
{
	vbb_u32 unit = VBB_DENSITY_ONE;
	vbb_u64 sum = 0;

	if (*s == '0' || *s == '1')
		sum = (vbb_u64)(*s++ - '0') * VBB_DENSITY_ONE;
	if (*s == '.') {
		for (s++; *s >= '0' && *s <= '9' && unit > 1; s++) {
			unit /= 10;
			sum += (vbb_u64)(*s - '0') * unit;
		}
	}
	return *s || sum > VBB_DENSITY_ONE ? 0 : (vbb_u32)sum;
}

int vbb_cmd_gen(int argc, char **argv)
{
	const struct vbb_pattern *pattern = NULL;
	vbb_u64 order = ~(vbb_u64)0, nr_pages = 0;
	bool from_kpageflags = false;
	struct vbb_gen g = { .seed = 1, .emit = print_run };
	int opt, status = 0;

	while ((opt = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (opt) {
		case OPT_PATTERN:
			pattern = vbb_pattern_find(optarg);
			if (!pattern)
				return vbb_usage(argv[0], "--pattern %s: no such pattern", optarg);
			break;
		case OPT_KPAGEFLAGS:
			from_kpageflags = true;
			break;
		case OPT_PAGES:
			status = vbb_opt_num(argv[0], "pages", optarg, 1, VBB_PFN_END, &nr_pages);
			break;
		case OPT_FIRST:
			status = vbb_opt_num(argv[0], "first", optarg, 0, VBB_PFN_END - 1,
					     &g.first);
			break;
		case OPT_ORDER:
			status = vbb_opt_num(argv[0], "order", optarg, 0, 20, &order);
			break;
		case OPT_DENSITY:
			g.density = parse_density(optarg);
			if (!g.density)
				return vbb_usage(argv[0], "--density %s: not over 0 and at most 1",
						 optarg);
			break;
		case OPT_SEED:
			status = vbb_opt_num(argv[0], "seed", optarg, 0, ~(vbb_u64)0, &g.seed);
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
	if (optind < argc)
		return vbb_usage(argv[0], "%s: not an option", argv[optind]);
	if (from_kpageflags == !!pattern)
		return vbb_usage(argv[0], "one of --pattern and --from-kpageflags");
	if (from_kpageflags)
		return from_this_machine(&g);
	g.nr_pages = nr_pages ? nr_pages : pattern->nr_pages;
	g.order = order < 64 ? (vbb_u32)order : pattern->order;
	g.density = g.density ? g.density : pattern->density;
	if (g.nr_pages > VBB_PFN_END - g.first)
		return vbb_usage(argv[0], "--first and --pages go past pfn 2^52");
	vbb_gen_pattern(&g, pattern);
	return 0;
}
