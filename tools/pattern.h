/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause */
/* Guests: runs of pages by a pattern, the same on every machine; or the free pages of this one. */
#ifndef VBB_TOOLS_PATTERN_H
#define VBB_TOOLS_PATTERN_H

#include "vbb.h"

/* A density is a count of billionths: no floating point, so that every machine says the same. */
#define VBB_DENSITY_ONE 1000000000u

#define VBB_KPAGEFLAGS "/proc/kpageflags"

/**
 * struct vbb_gen - a guest that is being made; what is not the caller's is 0 at first
 */
struct vbb_gen {
	vbb_u64 nr_pages;	/* the caller's: pages of the guest */
	vbb_u64 first;		/* the caller's: pfn of page 0 */
	vbb_u32 order;		/* the caller's: by pattern */
	vbb_u32 density;	/* the caller's: by pattern */
	vbb_u64 seed;		/* the caller's; then the state of the random numbers */
	/* the caller's: takes a run; not 0: stop */
	int (*emit)(void *ctx, const struct vbb_range *r);
	void *ctx;		/* the caller's, for emit */
	vbb_u64 pos;		/* pages before it are decided, relative to first */
	struct vbb_range run;	/* free, and not yet given: it may grow */
	int status;		/* what emit said */
};

/**
 * struct vbb_pattern - a kind of guest
 */
struct vbb_pattern {
	const char *name;
	void (*step)(struct vbb_gen *g);
	vbb_u32 order;		/* the default */
	vbb_u32 density;	/* the default */
	vbb_u64 nr_pages;	/* the default */
};

/**
 * vbb_pattern_find() - a kind of guest by its name
 * @name: as 'vbb gen --help' lists them
 *
 * Return: it, constant; NULL where there is none of that name.
 */
const struct vbb_pattern *vbb_pattern_find(const char *name);

/**
 * vbb_gen_pattern() - give all runs of a guest, ascending, apart from each other
 * @g: the guest
 * @pattern: its kind
 *
 * Return: 0, or what emit said where that is not 0.
 */
int vbb_gen_pattern(struct vbb_gen *g, const struct vbb_pattern *pattern);

/**
 * vbb_gen_kpageflags() - give the free pages of this machine, in pages of 4 KiB
 * @g: only emit and ctx count
 *
 * Return: 0; -errno where VBB_KPAGEFLAGS cannot be read; or what emit said.
 */
int vbb_gen_kpageflags(struct vbb_gen *g);

#endif
