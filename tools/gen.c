// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause
/* vbb gen: runs of pages by a pattern, the same on every machine; or the free pages of this one. */
#include "vbb.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

static const char help[] =
	"Usage: vbb gen --pattern NAME [OPTION]...\n"
	"       vbb gen --from-kpageflags\n"
	"Write lines 'PFN COUNT' that 'vbb encode' reads: pages that a guest does not need.\n"
	"\n"
	"  --pattern NAME     one of these; the defaults of ORDER and D in parentheses\n"
	"      all                 every page\n"
	"      idle                31 of 32 blocks of 2^ORDER pages (10)\n"
	"      every-second        every second page\n"
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

/* A density is a count of billionths: no floating point, so that every machine says the same. */
#define DENSITY_ONE 1000000000u

struct gen {
	vbb_u64 pos;		/* pages before it are decided, relative to first */
	vbb_u64 nr_pages;	/* of the guest */
	vbb_u64 first;		/* pfn of page 0 */
	vbb_u32 order;
	vbb_u32 density;
	vbb_u64 seed;		/* state of the random numbers */
	struct vbb_range run;	/* free, and not yet written: it may grow */
};

/* SplitMix64: 64 random bits */
static vbb_u64 random64(struct gen *g)
{
	vbb_u64 z;

	g->seed += 0x9e3779b97f4a7c15;
	z = g->seed;
	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
	z = (z ^ z >> 27) * 0x94d049bb133111eb;
	return z ^ z >> 31;
}

/* 0 to n - 1; no n here is large enough for the bias to matter */
static vbb_u64 random_below(struct gen *g, vbb_u64 n)
{
	return random64(g) % n;
}

static bool random_is_free(struct gen *g)
{
	return random_below(g, DENSITY_ONE) < g->density;
}

static void flush(struct gen *g)
{
	if (g->run.nr_pages)
		printf("0x%" PRIx64 " %" PRIu64 "\n", g->run.pfn, g->run.nr_pages);
	g->run.nr_pages = 0;
}

/* The next pages, as far as the guest has them, are free or used */
static void put(struct gen *g, vbb_u64 nr_pages, bool is_free)
{
	struct vbb_range r = { .pfn = g->first + g->pos };

	r.nr_pages = nr_pages < g->nr_pages - g->pos ? nr_pages : g->nr_pages - g->pos;
	g->pos += r.nr_pages;
	if (!is_free || !r.nr_pages || (g->run.nr_pages && vbb_range_merge(&g->run, &r)))
		return;
	flush(g);
	g->run = r;
}

/* Every pattern's function decides the next pages, at least one. */

static void step_all(struct gen *g)
{
	put(g, g->nr_pages, true);
}

static void step_every_second(struct gen *g)
{
	put(g, 1, true);
	put(g, 1, false);
}

static void step_every_second_block(struct gen *g)
{
	put(g, vbb_pow2(g->order), true);
	put(g, vbb_pow2(g->order), false);
}

static void step_density(struct gen *g)
{
	put(g, 1, random_is_free(g));
}

/* One block of 32 is in use, but for one page of 32 */
static void step_idle(struct gen *g)
{
	vbb_u64 end = g->pos + vbb_pow2(g->order);

	if (random_below(g, 32)) {
		put(g, vbb_pow2(g->order), true);
		return;
	}
	while (g->pos < end && g->pos < g->nr_pages)
		put(g, 1, !random_below(g, 32));
}

/* An order that the position allows; what is put is a whole block */
static void step_buddy(struct gen *g)
{
	vbb_u32 order = (vbb_u32)random_below(g, g->order + 1);

	while (order && (g->pos & (vbb_pow2(order) - 1)))
		order--;
	put(g, vbb_pow2(order), random_is_free(g));
}

/* nr_pages free, and behind them so many used that DENSITY of all are free on average */
static void put_spaced(struct gen *g, vbb_u64 nr_pages)
{
	/* the gap: even up to twice its mean, which is nr_pages * (1 - density) / density */
	vbb_u64 twice = 2 * nr_pages * (DENSITY_ONE - g->density) / g->density;

	put(g, nr_pages, true);
	put(g, random_below(g, twice + 1), false);
}

static void step_clusters(struct gen *g)
{
	put_spaced(g, 1 + random_below(g, vbb_pow2(g->order)));
}

static void step_sparse(struct gen *g)
{
	put_spaced(g, vbb_pow2(g->order));
	put(g, -g->pos & (vbb_pow2(g->order) - 1), false);
}

static void step_mixed(struct gen *g)
{
	vbb_u64 end = g->pos + vbb_pow2(g->order);
	vbb_u64 kind = random_below(g, 4);

	if (kind < 2)
		put(g, vbb_pow2(g->order), kind);
	while (g->pos < end && g->pos < g->nr_pages) {
		if (kind == 2)
			step_every_second(g);
		else
			step_density(g);
	}
}

static const struct pattern {
	const char *name;
	void (*step)(struct gen *g);
	vbb_u32 order;		/* the default */
	vbb_u32 density;	/* the default */
	vbb_u64 nr_pages;	/* the default */
} patterns[] = {
	{ "all", step_all, 0, DENSITY_ONE, 1 << 20 },
	{ "idle", step_idle, 10, DENSITY_ONE, 1 << 20 },
	{ "every-second", step_every_second, 0, DENSITY_ONE, 1 << 20 },
	{ "every-second-block", step_every_second_block, 9, DENSITY_ONE, 1 << 20 },
	{ "density", step_density, 0, DENSITY_ONE / 2, 1 << 20 },
	{ "buddy", step_buddy, 10, DENSITY_ONE / 2, 1 << 20 },
	{ "clusters", step_clusters, 6, DENSITY_ONE / 4, 1 << 20 },
	{ "sparse", step_sparse, 0, DENSITY_ONE / 1000000, 1 << 30 },
	{ "mixed", step_mixed, 12, DENSITY_ONE / 2, 1 << 20 },
};

static const struct pattern *find_pattern(const char *name)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(patterns); i++) {
		if (!strcmp(name, patterns[i].name))
			return &patterns[i];
	}
	return NULL;
}

/*
 * /proc/kpageflags has 64 flags a page frame. Linux sets BUDDY at every page of a free block (6.1,
 * fs/proc/page.c), though its manual says: at the first alone. Of a block's order it tells nothing,
 * so free blocks that touch come out as one run. Pages on the lists of one CPU are free too, but
 * have no flag.
 */
#define KPF_BUDDY 10

static int gen_from_kpageflags(void)
{
	static const char path[] = "/proc/kpageflags";
	vbb_u64 scale = (vbb_u64)sysconf(_SC_PAGESIZE) >> VIRTIO_BALLOON_PAGE_SHIFT_MIN;
	struct gen g = { .nr_pages = VBB_PFN_END };
	vbb_u64 flags[8192];
	ssize_t len, i;
	int fd, err;

	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0) {
		vbb_warn("%s: %s", path, strerror(errno));
		return VBB_EXIT_NOINPUT;
	}
	while ((len = read(fd, flags, sizeof(flags))) > 0) {
		for (i = 0; i < len / (ssize_t)sizeof(flags[0]); i++)
			put(&g, scale, flags[i] >> KPF_BUDDY & 1);
	}
	err = len ? errno : 0;
	close(fd);
	flush(&g);
	if (!err)
		return 0;
	vbb_warn("%s: %s", path, strerror(err));
	return VBB_EXIT_NOINPUT;
}

/* A decimal fraction in billionths. Return: 0 where it is none */
static vbb_u32 parse_density(const char *s)
{
	vbb_u32 unit = DENSITY_ONE;
	vbb_u64 sum = 0;

	if (*s == '0' || *s == '1')
		sum = (vbb_u64)(*s++ - '0') * DENSITY_ONE;
	if (*s == '.') {
		for (s++; *s >= '0' && *s <= '9' && unit > 1; s++) {
			unit /= 10;
			sum += (vbb_u64)(*s - '0') * unit;
		}
	}
	return *s || sum > DENSITY_ONE ? 0 : (vbb_u32)sum;
}

int vbb_cmd_gen(int argc, char **argv)
{
	const struct pattern *pattern = NULL;
	vbb_u64 order = ~(vbb_u64)0, nr_pages = 0;
	bool from_kpageflags = false;
	struct gen g = { .seed = 1 };
	int opt, status = 0;

	while ((opt = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (opt) {
		case OPT_PATTERN:
			pattern = find_pattern(optarg);
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
		return gen_from_kpageflags();
	g.nr_pages = nr_pages ? nr_pages : pattern->nr_pages;
	g.order = order < 64 ? (vbb_u32)order : pattern->order;
	g.density = g.density ? g.density : pattern->density;
	if (g.nr_pages > VBB_PFN_END - g.first)
		return vbb_usage(argv[0], "--first and --pages go past pfn 2^52");
	while (g.pos < g.nr_pages && !ferror(stdout))
		pattern->step(&g);
	flush(&g);
	return 0;
}
