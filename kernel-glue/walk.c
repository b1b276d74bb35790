// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Unused pages are those in the buddy allocator. The walk looks at page frames in ascending order
 * and not at free lists: a frame number stays where it is when a lock is dropped, however blocks
 * split, merge and move between lists meanwhile; runs come out sorted and merged, so that few words
 * name them; and a large block costs one look. What per-CPU lists hold is not seen: where that is
 * much, the kernel is made to give it back before.
 */
#include <linux/align.h>
#include <linux/cpumask.h>
#include <linux/ktime.h>
#include <linux/list.h>
#include <linux/memory_hotplug.h>
#include <linux/mm.h>
#include <linux/mmzone.h>
#include <linux/nodemask.h>
#include <linux/percpu.h>
#include <linux/slab.h>

#include <virtio_balloon_bmap/wire.h>

#include "compat.h"
#include "requests.h"

/* A zone's lock, and with it interrupts, is let go after this; it is well below what may be */
#define VBB_WALK_LOCK_NS (25 * NSEC_PER_USEC)

/* Frames looked at between two looks at the clock */
#define VBB_WALK_CLOCK 64

/* Pages in a zone's per-CPU lists that are worth a drain, and how long there is none after one */
#define VBB_WALK_LISTED_MIN (SZ_4M >> PAGE_SHIFT)
#define VBB_WALK_REST_NS NSEC_PER_SEC

/* log2 of the window's units in a page */
#define VBB_WALK_UNIT_SHIFT (PAGE_SHIFT - VIRTIO_BALLOON_PAGE_SHIFT_MIN)

int vbb_walk_init(struct vbb_walk *w)
{
	w->runs = kvmalloc_array(VBB_WALK_RUNS, sizeof(*w->runs), GFP_KERNEL);
	return w->runs ? 0 : -ENOMEM;
}

void vbb_walk_exit(struct vbb_walk *w)
{
	kvfree(w->runs);
}

/**
 * vbb_walk_begin() - begin a walk
 * @w: the walk
 * @first: the window's first frame, of 4 KiB
 * @nr_frames: frames of 4 KiB in the window; 0: up to the end of memory
 *
 * Where pages are larger, the window's part of a page is none of it.
 */
void vbb_walk_begin(struct vbb_walk *w, u64 first, u64 nr_frames)
{
	u64 end = nr_frames && nr_frames <= U64_MAX - first ? first + nr_frames : U64_MAX;
	u64 mask = (1U << VBB_WALK_UNIT_SHIFT) - 1;

	w->first = min_t(u64, (first >> VBB_WALK_UNIT_SHIFT) + !!(first & mask), ULONG_MAX);
	w->end = min_t(u64, end >> VBB_WALK_UNIT_SHIFT, ULONG_MAX);
	w->pfn = 0;
	w->nid = first_online_node;
	w->zid = 0;
	w->found = (struct vbb_run_list){ .run = w->runs };
	w->over = false;
	w->drains = ktime_get_ns() >= w->rest_until_ns;
	w->nr_drained = 0;
	w->drain_ns = 0;
	w->nr_runs = 0;
	w->nr_steps = 0;
	w->nr_steps_late = 0;
	w->lock_ns = 0;
	w->lock_ns_max = 0;
}

static unsigned long vbb_walk_nr_listed(const struct zone *zone)
{
	unsigned long nr_pages = 0;
	unsigned int cpu;

	for_each_online_cpu(cpu)
		nr_pages += READ_ONCE(per_cpu_ptr(zone->per_cpu_pageset, cpu)->count);
	return nr_pages;
}

/* The free block of an order that is taken last, where all around can be moved; or NULL */
static struct page *vbb_walk_last(struct zone *zone, unsigned int order)
{
	struct list_head *list = &zone->free_area[order].free_list[MIGRATE_MOVABLE];
	struct page *page = NULL;

	spin_lock_irq(&zone->lock);
	if (!list_empty(list))
		page = list_last_entry(list, struct page, buddy_list);
	spin_unlock_irq(&zone->lock);
	return page;
}

/*
 * Empty a zone's per-CPU lists, if they hold much. The kernel does so for whoever wants certain
 * pages, which have to be in no list: so one is wanted that is free already, and at once no longer.
 * Small blocks come first, as the rest of one comes back page by page, into a list. It fails where
 * something around the page cannot be moved, and where others are quicker; then the next may do.
 */
static void vbb_walk_drain(struct vbb_walk *w, struct zone *zone)
{
	unsigned long nr_before = vbb_walk_nr_listed(zone), nr_after;
	u64 begin_ns = ktime_get_ns();
	unsigned int order;
	struct page *page;

	if (nr_before < VBB_WALK_LISTED_MIN)
		return;
	for (order = 0; order < NR_PAGE_ORDERS; order++) {
		page = vbb_walk_last(zone, order);
		if (page && !vbb_alloc_contig_page(page)) {
			__free_page(page);
			break;
		}
		if (vbb_walk_nr_listed(zone) < VBB_WALK_LISTED_MIN)
			break;
	}
	nr_after = vbb_walk_nr_listed(zone);
	w->nr_drained += nr_before - min(nr_before, nr_after);
	w->rest_until_ns = ktime_get_ns() + VBB_WALK_REST_NS;
	w->drain_ns += ktime_get_ns() - begin_ns;
}

/* The order of the free block that begins with a page, under the zone's lock; or -1 */
static int vbb_walk_order(const struct zone *zone, struct page *page)
{
	/* where zones are interleaved the page may be another's, and its lock is not held */
	return PageBuddy(page) && page_zone(page) == zone ? (int)page_private(page) : -1;
}

/*
 * The end of the free block that a page lies in, or the page's own number. It may be in the middle
 * of one: a window can begin there, and blocks merge while nobody holds the lock.
 */
static unsigned long vbb_walk_block_end(const struct zone *zone, unsigned long pfn)
{
	unsigned long head;
	struct page *page;
	int i, order;

	for (i = 0; i < NR_PAGE_ORDERS; i++) {
		head = ALIGN_DOWN(pfn, 1UL << i);
		page = pfn_to_online_page(head);
		order = page ? vbb_walk_order(zone, page) : -1;
		if (order >= i)
			return head + (1UL << order);
	}
	return pfn;
}

/* False where there is no room for another run. */
static bool vbb_walk_add(struct vbb_walk *w, unsigned long pfn, unsigned long end)
{
	struct vbb_range *run = w->runs + w->found.nr_runs;

	if (w->found.nr_runs && run[-1].pfn + run[-1].nr_pages == pfn) {
		run[-1].nr_pages += end - pfn;
		return true;
	}
	if (w->found.nr_runs == VBB_WALK_RUNS)
		return false;
	run->pfn = pfn;
	run->nr_pages = end - pfn;
	w->found.nr_runs++;
	return true;
}

/*
 * Look at a zone's frames from pfn on, under its lock, until time or room is over. Returns how far
 * it came. The order of a page in use is read while its owner may give it back, so it can be any
 * number: pages may then be left out, but none is named that is not free now.
 */
static unsigned long vbb_walk_locked(struct vbb_walk *w, const struct zone *zone,
				     unsigned long pfn, unsigned long end)
{
	const u64 until_ns = ktime_get_ns() + VBB_WALK_LOCK_NS;
	unsigned long next, map_pfn = 0, map_end = 0;
	struct page *page, *map = NULL;
	unsigned int nr_looks = 0;
	int order;

	next = min(vbb_walk_block_end(zone, pfn), end);
	if (next > pfn)
		vbb_walk_add(w, pfn, next);
	for (pfn = next; pfn < end; pfn = next) {
		if (++nr_looks % VBB_WALK_CLOCK == 0 && ktime_get_ns() >= until_ns)
			break;
		if (pfn >= map_end) {
			/* no block crosses such a border, and the map in between is in one piece */
			map_end = ALIGN(pfn + 1, MAX_ORDER_NR_PAGES);
			map_pfn = pfn;
			map = pfn_to_online_page(pfn);
		}
		if (!map) {
			next = map_end;
			continue;
		}
		page = map + (pfn - map_pfn);
		order = vbb_walk_order(zone, page);
		if (order < 0) {
			order = min_t(int, compound_order(page), MAX_PAGE_ORDER);
			next = pfn + (1UL << order);
			continue;
		}
		next = pfn + (1UL << order);
		if (!vbb_walk_add(w, pfn, min(next, end)))
			break;
	}
	return min(pfn, end);
}

static void vbb_walk_zone(struct vbb_walk *w, struct zone *zone, unsigned long end)
{
	u64 lock_ns;

	spin_lock_irq(&zone->lock);
	lock_ns = ktime_get_ns();
	w->pfn = vbb_walk_locked(w, zone, w->pfn, end);
	lock_ns = ktime_get_ns() - lock_ns;
	spin_unlock_irq(&zone->lock);
	w->nr_runs += w->found.nr_runs;
	w->nr_steps++;
	w->lock_ns += lock_ns;
	w->lock_ns_max = max(w->lock_ns_max, lock_ns);
}

/**
 * vbb_walk_step() - look a little further
 * @w: the walk; what the step before found was taken
 *
 * Finds any number of runs, also none. Each page was free while the step had the zone's lock.
 */
void vbb_walk_step(struct vbb_walk *w)
{
	struct zone *zone = &NODE_DATA(w->nid)->node_zones[w->zid];
	unsigned long end = min(zone_end_pfn(zone), w->end);

	w->found = (struct vbb_run_list){ .run = w->runs };
	if (w->drains && !w->pfn && populated_zone(zone) && w->first <= zone->zone_start_pfn &&
	    end == zone_end_pfn(zone))
		vbb_walk_drain(w, zone);
	w->pfn = max3(w->pfn, w->first, zone->zone_start_pfn);
	if (populated_zone(zone) && w->pfn < end) {
		vbb_walk_zone(w, zone, end);
		if (w->pfn < end)
			return;
	}
	w->pfn = 0;
	if (++w->zid == MAX_NR_ZONES) {
		w->zid = 0;
		w->nid = next_online_node(w->nid);
		w->over = w->nid >= MAX_NUMNODES;
	}
}
