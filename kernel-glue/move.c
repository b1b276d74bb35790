// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Single pages of the balloon can be moved: where the kernel wants one, for a large block or for
 * memory that is to be taken away, it brings another in its place. The device hears of both later,
 * from the worker, and of the page that left before any other is named as inflated.
 *
 * Larger blocks stay where they are. They lie in memory for what cannot be moved.
 */
#include <linux/delay.h>
#include <linux/mm.h>
#include <linux/vmstat.h>

#include "balloon.h"

#ifdef CONFIG_BALLOON_COMPACTION

/* Pages looked at with interrupts off */
#define VBB_MOVE_LOOKS 64

/**
 * vbb_move_push() - let the kernel move the balloon's single pages
 * @vb: the balloon, locked
 */
void vbb_move_push(struct vbb_balloon *vb)
{
	struct page *page, *next;
	unsigned long flags;

	list_for_each_entry_safe(page, next, &vb->blocks.order[0], lru) {
		/* who has it locked, as those who look for bad memory may, has it a moment only */
		if (!trylock_page(page))
			continue;
		spin_lock_irqsave(&vb->singles.pages_lock, flags);
		list_del(&page->lru);
		balloon_page_insert(&vb->singles, page);
		spin_unlock_irqrestore(&vb->singles.pages_lock, flags);
		unlock_page(page);
		vb->blocks.nr_pages--;
		vb->nr_singles++;
	}
}

/* Look at so many of the single pages, and take those that can be had. Returns how many. */
static unsigned long vbb_move_pull_some(struct vbb_balloon *vb, unsigned long nr_looks)
{
	struct list_head *pages = &vb->singles.pages;
	unsigned long nr_taken = 0;
	struct page *page;

	spin_lock_irq(&vb->singles.pages_lock);
	for (; nr_looks && !list_empty(pages); nr_looks--) {
		page = list_first_entry(pages, struct page, lru);
		if (!trylock_page(page)) {
			list_move_tail(&page->lru, pages);
			continue;
		}
		list_del(&page->lru);
		balloon_page_finalize(page);
		unlock_page(page);
		__SetPageOffline(page);
		vbb_blocks_add(&vb->blocks, page, 0);
		nr_taken++;
	}
	spin_unlock_irq(&vb->singles.pages_lock);
	vb->nr_singles -= nr_taken;
	return nr_taken;
}

/**
 * vbb_move_pull() - take single pages back from where the kernel can move them
 * @vb: the balloon, locked
 * @nr_pages: pages wanted; those that the kernel has its hands on cannot be had now
 */
void vbb_move_pull(struct vbb_balloon *vb, unsigned long nr_pages)
{
	unsigned long nr_left = vb->nr_singles, nr_looks;

	/* each is looked at once: what is locked goes to the end */
	while (nr_pages && nr_left) {
		nr_looks = min3(nr_pages, nr_left, (unsigned long)VBB_MOVE_LOOKS);
		nr_pages -= vbb_move_pull_some(vb, nr_looks);
		nr_left -= nr_looks;
		cond_resched();
	}
}

/* Both pages are locked; the new one is free, the old one is on a list of the caller's. */
static int vbb_move_page(struct balloon_dev_info *singles, struct page *to, struct page *from,
			 enum migrate_mode mode)
{
	struct vbb_balloon *vb = container_of(singles, struct vbb_balloon, singles);

	/* the holder may wait for this page's lock, or be about to take it */
	if (!mutex_trylock(&vb->lock))
		return -EAGAIN;
	if (READ_ONCE(vb->stopping) || vb->broken || vb->moved.nr == vb->moved.nr_max ||
	    vb->late.nr == vb->late.nr_max || vb->nr_leaving == VBB_MOVED_BLOCKS) {
		mutex_unlock(&vb->lock);
		vbb_balloon_queue(vb, 0);
		return -EAGAIN;
	}
	vb->nr_singles--;

	get_page(to);
	vbb_block_enter(to, 0, vb->blocks.managed);
	vbb_batch_add(&vb->moved, to, 0);
	vb->moving[VBB_INFLATE]++;

	balloon_page_finalize(from);
	if (vb->must_tell) {
		__SetPageOffline(from);
		vb->leaving[vb->nr_leaving++] = from;
		vb->moving[VBB_DEFLATE]++;
	} else {
		if (!vb->blocks.managed)
			adjust_managed_page_count(from, 1);
		vbb_batch_name(&vb->late, from, 0);
		vb->actual--;
		put_page(from);
	}
	count_vm_event(BALLOON_MIGRATE);
	vb->counters.pages_moved++;
	mutex_unlock(&vb->lock);
	vbb_balloon_queue(vb, 0);

	/* this comes last: the balloon stays until no page is isolated */
	spin_lock_irq(&singles->pages_lock);
	singles->isolated_pages--;
	spin_unlock_irq(&singles->pages_lock);
	return MIGRATEPAGE_SUCCESS;
}

/**
 * vbb_move_settle() - tell of the pages that left, once they are ours alone
 * @vb: the balloon, locked
 *
 * Return: false where there are some that are not, so that this is to be tried again soon.
 */
bool vbb_move_settle(struct vbb_balloon *vb)
{
	unsigned int i, nr = vb->nr_leaving;
	struct page *page;
	bool ours;

	vb->nr_leaving = 0;
	for (i = 0; i < nr; i++) {
		page = vb->leaving[i];
		/* who takes a page out of use because it is bad keeps a hold of it for good */
		ours = page_count(page) == 1 || PageHWPoison(page);
		if (ours && vb->late.nr < vb->late.nr_max)
			vbb_batch_add(&vb->late, page, 0);
		else
			vb->leaving[vb->nr_leaving++] = page;
	}
	return !vb->nr_leaving;
}

/**
 * vbb_move_init() - let the kernel know how to move
 * @vb: the balloon
 */
void vbb_move_init(struct vbb_balloon *vb)
{
	balloon_devinfo_init(&vb->singles);
	vb->singles.migratepage = vbb_move_page;
}

/* Has the kernel its hands on a page, be it one that was moved a moment ago? */
static bool vbb_move_isolated(struct vbb_balloon *vb)
{
	bool isolated;

	spin_lock_irq(&vb->singles.pages_lock);
	isolated = vb->singles.isolated_pages;
	spin_unlock_irq(&vb->singles.pages_lock);
	return isolated;
}

/**
 * vbb_move_exit() - give all single pages back to the kernel
 * @vb: the balloon; it is stopping, and the device has no access any more
 *
 * What the kernel has its hands on comes back within moments, as it cannot be moved any more.
 * Afterwards nobody is moving a page, so that the balloon can go.
 */
void vbb_move_exit(struct vbb_balloon *vb)
{
	while (vb->nr_leaving)
		vbb_blocks_add(&vb->blocks, vb->leaving[--vb->nr_leaving], 0);
	while (vb->nr_singles || vbb_move_isolated(vb)) {
		mutex_lock(&vb->lock);
		vbb_move_pull(vb, VBB_BATCH_BLOCKS);
		if (!vb->blocks.nr_pages)
			usleep_range(100, 1000);
		vbb_blocks_free(&vb->blocks);
		mutex_unlock(&vb->lock);
	}
}

#endif
