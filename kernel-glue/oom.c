// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Before the kernel kills for memory it asks whether anybody has some: with DEFLATE_ON_OOM, the
 * balloon has. Nothing is allocated here, and nobody waits for the device.
 */
#include <linux/oom.h>

#include "balloon.h"

/* What is given each time: enough to go on, little enough to keep the balloon */
#define VBB_OOM_PAGES (SZ_1M >> PAGE_SHIFT)

/* Ahead of those who free what they can make again */
#define VBB_OOM_PRIORITY 80

/*
 * Move blocks from the balloon into the late batch, the small ones first. When half of it waits to
 * be told the device is slow, or silent, and the rest is for the large ones. Returns pages.
 */
static unsigned long vbb_oom_take(struct vbb_balloon *vb)
{
	unsigned long nr_pages = 0;
	unsigned int order;
	struct page *page;

	vbb_move_pull(vb, VBB_OOM_PAGES);
	while (nr_pages < VBB_OOM_PAGES && vb->late.nr < vb->late.nr_max) {
		page = vbb_blocks_pop(&vb->blocks, vb->late.nr >= vb->late.nr_max / 2, &order);
		if (!page)
			break;
		vbb_batch_add(&vb->late, page, order);
		nr_pages += 1UL << order;
	}
	vbb_move_push(vb);
	vb->counters.oom_pages += nr_pages;
	return nr_pages;
}

static unsigned long vbb_oom_give(struct vbb_balloon *vb)
{
	unsigned long nr_pages;

	if (!vb->must_tell) {
		/* a broken device hears of nothing any more */
		if (vb->broken)
			vb->late.nr = 0;
		nr_pages = vbb_oom_take(vb);
		vbb_blocks_free(&vb->late.blocks);
		vb->actual -= nr_pages;
		return nr_pages;
	}
	/*
	 * The device has to hear of it first, and who wants memory is told to try again. A device
	 * that says nothing for a second is not waited for.
	 */
	if (vb->broken)
		return 0;
	if (!vb->moving[VBB_DEFLATE]) {
		vb->moving[VBB_DEFLATE] += vbb_oom_take(vb);
		vb->deflate_jiffies = jiffies;
	} else if (time_after(jiffies, vb->deflate_jiffies + HZ)) {
		return 0;
	}
	return vb->moving[VBB_DEFLATE];
}

static int vbb_oom_notify(struct notifier_block *nb, unsigned long unused, void *data)
{
	struct vbb_balloon *vb = container_of(nb, struct vbb_balloon, oom);
	unsigned long *freed = data, nr_pages;

	mutex_lock(&vb->lock);
	nr_pages = vbb_oom_give(vb);
	/* the guest needs it: until the host asks anew, the balloon does not grow again */
	vb->target = min(vb->target, vb->actual + vb->moving[VBB_INFLATE] -
				     vb->moving[VBB_DEFLATE]);
	vb->counters.oom_calls++;
	mutex_unlock(&vb->lock);
	*freed += nr_pages;
	vbb_balloon_queue(vb, 0);
	return NOTIFY_OK;
}

/**
 * vbb_oom_ready() - from now on, give
 * @vb: the balloon
 *
 * Return: 0, or a negative error number.
 */
int vbb_oom_ready(struct vbb_balloon *vb)
{
	if (!__virtio_test_bit(vb->vdev, VIRTIO_BALLOON_F_DEFLATE_ON_OOM))
		return 0;
	vb->oom.notifier_call = vbb_oom_notify;
	vb->oom.priority = VBB_OOM_PRIORITY;
	return register_oom_notifier(&vb->oom);
}

/**
 * vbb_oom_stop() - give no more
 * @vb: the balloon
 */
void vbb_oom_stop(struct vbb_balloon *vb)
{
	if (vb->oom.notifier_call)
		unregister_oom_notifier(&vb->oom);
	vb->oom.notifier_call = NULL;
}
