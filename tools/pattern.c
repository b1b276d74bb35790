// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause
#include "pattern.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

/* SplitMix64: 64 random bits */
static vbb_u64 random64(struct vbb_gen *g)
{
	vbb_u64 z;

	g->seed += 0x9e3779b97f4a7c15;
	z = g->seed;
	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
	z = (z ^ z >> 27) * 0x94d049bb133111eb;
	return z ^ z >> 31;
}

/* 0 to n - 1; no n here is large enough for the bias to matter */
static vbb_u64 random_below(struct vbb_gen *g, vbb_u64 n)
{
	return random64(g) % n;
}

static bool random_is_free(struct vbb_gen *g)
{
	return random_below(g, VBB_DENSITY_ONE) < g->density;
}

static void flush(struct vbb_gen *g)
{
	if (g->run.nr_pages && !g->status)
		g->status = g->emit(g->ctx, &g->run);
	g->run.nr_pages = 0;
}

/* The next pages, as far as the guest has them, are free or used */
static void put(struct vbb_gen *g, vbb_u64 nr_pages, bool is_free)
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

static void step_all(struct vbb_gen *g)
{
	put(g, g->nr_pages, true);
}

static void step_every_second(struct vbb_gen *g)
{
	put(g, 1, true);
	put(g, 1, false);
}

static void step_fragmented(struct vbb_gen *g)
{
	put(g, 1, true);
	put(g, vbb_pow2(g->order) - 1, false);
}

static void step_every_second_block(struct vbb_gen *g)
{
	put(g, vbb_pow2(g->order), true);
	put(g, vbb_pow2(g->order), false);
}

static void step_density(struct vbb_gen *g)
{
	put(g, 1, random_is_free(g));
}

/* One block of 32 is in use, but for one page of 32 */
static void step_idle(struct vbb_gen *g)
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
static void step_buddy(struct vbb_gen *g)
{
	vbb_u32 order = (vbb_u32)random_below(g, g->order + 1);

	while (order && (g->pos & (vbb_pow2(order) - 1)))
		order--;
	put(g, vbb_pow2(order), random_is_free(g));
}

/* nr_pages free, and behind them so many used that DENSITY of all are free on average */
static void put_spaced(struct vbb_gen *g, vbb_u64 nr_pages)
{
	/* the gap: even up to twice its mean, which is nr_pages * (1 - density) / density */
	vbb_u64 twice = 2 * nr_pages * (VBB_DENSITY_ONE - g->density) / g->density;

	put(g, nr_pages, true);
	put(g, random_below(g, twice + 1), false);
}

static void step_clusters(struct vbb_gen *g)
{
	put_spaced(g, 1 + random_below(g, vbb_pow2(g->order)));
}

static void step_sparse(struct vbb_gen *g)
{
	put_spaced(g, vbb_pow2(g->order));
	put(g, -g->pos & (vbb_pow2(g->order) - 1), false);
}

static void step_mixed(struct vbb_gen *g)
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

static const struct vbb_pattern patterns[] = {
	{ "all", step_all, 0, VBB_DENSITY_ONE, 1 << 20 },
	{ "idle", step_idle, 10, VBB_DENSITY_ONE, 1 << 20 },
	{ "every-second", step_every_second, 0, VBB_DENSITY_ONE, 1 << 20 },
	{ "fragmented", step_fragmented, 4, VBB_DENSITY_ONE, 1 << 20 },
	{ "every-second-block", step_every_second_block, 9, VBB_DENSITY_ONE, 1 << 20 },
	{ "density", step_density, 0, VBB_DENSITY_ONE / 2, 1 << 20 },
	{ "buddy", step_buddy, 10, VBB_DENSITY_ONE / 2, 1 << 20 },
	{ "clusters", step_clusters, 6, VBB_DENSITY_ONE / 4, 1 << 20 },
	{ "sparse", step_sparse, 0, VBB_DENSITY_ONE / 1000000, 1 << 30 },
	{ "mixed", step_mixed, 12, VBB_DENSITY_ONE / 2, 1 << 20 },
};

const struct vbb_pattern *vbb_pattern_find(const char *name)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(patterns); i++) {
		if (!strcmp(name, patterns[i].name))
			return &patterns[i];
	}
	return NULL;
}

int vbb_gen_pattern(struct vbb_gen *g, const struct vbb_pattern *pattern)
{
	while (g->pos < g->nr_pages && !g->status)
		pattern->step(g);
	flush(g);
	return g->status;
}

/*
 * /proc/kpageflags has 64 flags a page frame. Linux sets BUDDY at every page of a free block (6.1,
 * fs/proc/page.c), though its manual says: at the first alone. Of a block's order it tells nothing,
 * so free blocks that touch come out as one run. Pages on the lists of one CPU are free too, but
 * have no flag.
 */
#define KPF_BUDDY 10

int vbb_gen_kpageflags(struct vbb_gen *g)
{
	vbb_u64 scale = (vbb_u64)sysconf(_SC_PAGESIZE) >> VIRTIO_BALLOON_PAGE_SHIFT_MIN;
	vbb_u64 flags[8192];
	ssize_t len, i;
	int fd, err;

	g->nr_pages = VBB_PFN_END;
	fd = open(VBB_KPAGEFLAGS, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	while ((len = read(fd, flags, sizeof(flags))) > 0 && !g->status) {
		for (i = 0; i < len / (ssize_t)sizeof(flags[0]); i++)
			put(g, scale, flags[i] >> KPF_BUDDY & 1);
	}
	err = len < 0 ? -errno : 0;
	close(fd);
	flush(g);
	return err ? err : g->status;
}
