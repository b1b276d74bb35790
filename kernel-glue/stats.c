// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The statistics queue runs the other way round: the device has one buffer of ours all the time,
 * and asks by giving it back. So there is one answer under way at most, however fast it asks.
 */
#include <linux/mm.h>
#include <linux/scatterlist.h>
#include <linux/slab.h>
#include <linux/vmstat.h>

#include "balloon.h"

struct vbb_stats_fill {
	struct virtio_device *vdev;
	struct virtio_balloon_stat *next;
};

static void vbb_stats_put(struct vbb_stats_fill *fill, u16 tag, u64 value)
{
	fill->next->tag = cpu_to_virtio16(fill->vdev, tag);
	fill->next->val = cpu_to_virtio64(fill->vdev, value);
	fill->next++;
}

static void vbb_stats_put_pages(struct vbb_stats_fill *fill, u16 tag, u64 nr_pages)
{
	vbb_stats_put(fill, tag, nr_pages << PAGE_SHIFT);
}

static void vbb_stats_put_events(struct vbb_stats_fill *fill)
{
#ifdef CONFIG_VM_EVENT_COUNTERS
	unsigned long event[NR_VM_EVENT_ITEMS];

	all_vm_events(event);
	vbb_stats_put_pages(fill, VIRTIO_BALLOON_S_SWAP_IN, event[PSWPIN]);
	vbb_stats_put_pages(fill, VIRTIO_BALLOON_S_SWAP_OUT, event[PSWPOUT]);
	vbb_stats_put(fill, VIRTIO_BALLOON_S_MAJFLT, event[PGMAJFAULT]);
	vbb_stats_put(fill, VIRTIO_BALLOON_S_MINFLT, event[PGFAULT]);
#ifdef CONFIG_HUGETLB_PAGE
	vbb_stats_put(fill, VIRTIO_BALLOON_S_HTLB_PGALLOC, event[HTLB_BUDDY_PGALLOC]);
	vbb_stats_put(fill, VIRTIO_BALLOON_S_HTLB_PGFAIL, event[HTLB_BUDDY_PGALLOC_FAIL]);
#endif
#endif
}

/* Give the device the buffer, with what is true now. It has room: the buffer is the only one. */
static void vbb_stats_park(struct vbb_balloon *vb)
{
	struct vbb_stats_fill fill = { vb->vdev, vb->stats.stat };
	struct scatterlist sg;
	struct sysinfo info;

	si_meminfo(&info);
	vbb_stats_put_events(&fill);
	vbb_stats_put_pages(&fill, VIRTIO_BALLOON_S_MEMFREE, info.freeram);
	vbb_stats_put_pages(&fill, VIRTIO_BALLOON_S_MEMTOT, info.totalram);
	vbb_stats_put_pages(&fill, VIRTIO_BALLOON_S_AVAIL, max(si_mem_available(), 0L));
	vbb_stats_put_pages(&fill, VIRTIO_BALLOON_S_CACHES, global_node_page_state(NR_FILE_PAGES));
	sg_init_one(&sg, vb->stats.stat, (u8 *)fill.next - (u8 *)vb->stats.stat);
	if (virtqueue_add_outbuf(vb->vqs[VBB_VQ_STATS], &sg, 1, vb->stats.stat, GFP_KERNEL))
		dev_err(&vb->vdev->dev, "the statistics queue is broken\n");
}

static void vbb_stats_work(struct work_struct *work)
{
	struct vbb_balloon *vb = container_of(work, struct vbb_balloon, stats.work);
	struct virtqueue *vq = vb->vqs[VBB_VQ_STATS];
	unsigned int len;

	/* an interrupt means nothing by itself */
	if (virtqueue_get_buf(vq, &len)) {
		vbb_stats_park(vb);
		vb->counters.stats_answers++;
	}
	/* the buffer that was there from the start is told of here, too */
	virtqueue_kick(vq);
}

/**
 * vbb_stats_used() - the device asks; called in interrupts
 * @vq: the statistics queue
 */
void vbb_stats_used(struct virtqueue *vq)
{
	struct vbb_balloon *vb = vq->vdev->priv;
	unsigned long flags;

	spin_lock_irqsave(&vb->event_lock, flags);
	if (!vb->stopping)
		queue_work(system_freezable_wq, &vb->stats.work);
	spin_unlock_irqrestore(&vb->event_lock, flags);
}

/**
 * vbb_stats_start() - put the buffer in the queue
 * @vb: the balloon; its queues are found, and the device is not yet ready
 *
 * Return: 0; -ENOMEM.
 */
int vbb_stats_start(struct vbb_balloon *vb)
{
	INIT_WORK(&vb->stats.work, vbb_stats_work);
	if (!__virtio_test_bit(vb->vdev, VIRTIO_BALLOON_F_STATS_VQ))
		return 0;
	vb->stats.stat = kcalloc(VIRTIO_BALLOON_S_NR, sizeof(*vb->stats.stat), GFP_KERNEL);
	if (!vb->stats.stat)
		return -ENOMEM;
	vbb_stats_park(vb);
	return 0;
}

/**
 * vbb_stats_ready() - have the device told of the buffer
 * @vb: the balloon; the device is ready
 *
 * The work does it, as nobody else may be at the queue: the device may have asked already.
 */
void vbb_stats_ready(struct vbb_balloon *vb)
{
	if (vb->stats.stat)
		vbb_stats_used(vb->vqs[VBB_VQ_STATS]);
}

/**
 * vbb_stats_stop() - answer no more
 * @vb: the balloon; it is stopping
 */
void vbb_stats_stop(struct vbb_balloon *vb)
{
	cancel_work_sync(&vb->stats.work);
}

/**
 * vbb_stats_exit() - give the buffer back
 * @vb: the balloon; the device has no access any more
 */
void vbb_stats_exit(struct vbb_balloon *vb)
{
	kfree(vb->stats.stat);
	vb->stats.stat = NULL;
}
