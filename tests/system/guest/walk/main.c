// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The driver's walk for unused pages (kernel-glue/walk.c) without a device: to read debugfs
 * vbb_walk walks once, and tells what came of it. Some pages in between are held, and must not be
 * named. vbb_walk_listed are single pages that are taken and given back before.
 */
#include <linux/bitmap.h>
#include <linux/debugfs.h>
#include <linux/gfp.h>
#include <linux/list.h>
#include <linux/mm.h>
#include <linux/mmzone.h>
#include <linux/module.h>
#include <linux/nodemask.h>
#include <linux/seq_file.h>
#include <linux/vm_event_item.h>
#include <linux/vmalloc.h>
#include <linux/vmstat.h>

#include "requests.h"

#define NR_PAGES 32768
#define NR_PFNS (1UL << 24)

static struct vbb_walk walk;
static unsigned long *held;
static LIST_HEAD(held_pages);
static struct dentry *file;
static u32 nr_listed;

/* What NR_FREE_PAGES says lags behind: each processor counts up to 125 pages a zone for itself. */
static u64 vbb_walk_test_nr_free(void)
{
	struct zone *zones;
	u64 nr = 0;
	int nid, i;

	for_each_online_node(nid) {
		zones = NODE_DATA(nid)->node_zones;
		for (i = 0; i < MAX_NR_ZONES; i++)
			if (populated_zone(&zones[i]))
				nr += zone_page_state_snapshot(&zones[i], NR_FREE_PAGES);
	}
	return nr;
}

/* They go into per-CPU lists, and stay there as far as these may be so long. */
static void vbb_walk_test_list(void)
{
	struct page *page, *next;
	LIST_HEAD(pages);
	u32 i;

	for (i = 0; i < nr_listed; i++) {
		page = alloc_page(GFP_KERNEL | __GFP_NORETRY | __GFP_NOWARN);
		if (page)
			list_add(&page->lru, &pages);
	}
	list_for_each_entry_safe(page, next, &pages, lru)
		__free_page(page);
}

/* Pages that went to anybody, and came back, since the guest booted */
static u64 vbb_walk_test_nr_moved(void)
{
	unsigned long events[NR_VM_EVENT_ITEMS];
	u64 nr;
	int i;

	all_vm_events(events);
	nr = events[PGFREE];
	for (i = 0; i < MAX_NR_ZONES; i++)
		nr += events[PGALLOC_NORMAL - ZONE_NORMAL + i];
	return nr;
}

static int vbb_walk_test_show(struct seq_file *m, void *unused)
{
	u64 nr_named = 0, nr_held = 0, nr_back = 0, last = 0;
	u64 nr_free, nr_moved;
	unsigned int i;

	vbb_walk_test_list();
	nr_free = vbb_walk_test_nr_free();
	nr_moved = vbb_walk_test_nr_moved();
	for (vbb_walk_begin(&walk, 0, 0); !walk.over; cond_resched()) {
		vbb_walk_step(&walk);
		for (i = 0; i < walk.found.nr_runs; i++) {
			const struct vbb_range *run = &walk.runs[i];
			u64 end = run->pfn + run->nr_pages;

			nr_named += run->nr_pages;
			nr_back += run->pfn < last;
			nr_held += end > NR_PFNS || find_next_bit(held, end, run->pfn) < end;
			last = end;
		}
	}
	seq_printf(m, "named %llu\nheld %llu\nback %llu\n", nr_named, nr_held, nr_back);
	seq_printf(m, "free %llu\nfree_after %llu\nmoved %llu\n", nr_free, vbb_walk_test_nr_free(),
		   vbb_walk_test_nr_moved() - nr_moved);
	seq_printf(m, "drained %llu\ndrain_ns %llu\n", walk.nr_drained, walk.drain_ns);
	seq_printf(m, "runs %llu\nsteps %llu\n", walk.nr_runs, walk.nr_steps);
	seq_printf(m, "lock_ns %llu\nlock_ns_max %llu\n", walk.lock_ns, walk.lock_ns_max);
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(vbb_walk_test);

static void vbb_walk_test_free(void)
{
	struct page *page, *next;

	list_for_each_entry_safe(page, next, &held_pages, lru)
		__free_page(page);
	vfree(held);
	vbb_walk_exit(&walk);
}

/* Of all pages taken, each third is held: some are alone among free ones, some are not. */
static int __init vbb_walk_test_init(void)
{
	struct page *page, *next;
	unsigned int i;

	held = vzalloc(BITS_TO_LONGS(NR_PFNS) * sizeof(long));
	if (!held || vbb_walk_init(&walk))
		goto fail;
	for (i = 0; i < NR_PAGES; i++) {
		page = alloc_page(GFP_KERNEL);
		if (!page || page_to_pfn(page) >= NR_PFNS)
			goto fail;
		list_add(&page->lru, &held_pages);
	}
	i = 0;
	list_for_each_entry_safe(page, next, &held_pages, lru) {
		if (i++ % 3) {
			list_del(&page->lru);
			__free_page(page);
		} else {
			__set_bit(page_to_pfn(page), held);
		}
	}
	file = debugfs_create_file("vbb_walk", 0444, NULL, NULL, &vbb_walk_test_fops);
	debugfs_create_u32("vbb_walk_listed", 0644, NULL, &nr_listed);
	return 0;

fail:
	vbb_walk_test_free();
	return -ENOMEM;
}
module_init(vbb_walk_test_init);

static void __exit vbb_walk_test_exit(void)
{
	debugfs_remove(file);
	debugfs_lookup_and_remove("vbb_walk_listed", NULL);
	vbb_walk_test_free();
}
module_exit(vbb_walk_test_exit);

MODULE_DESCRIPTION("Test of the balloon's walk for unused pages");
MODULE_LICENSE("GPL");
