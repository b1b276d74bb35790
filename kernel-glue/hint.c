// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Free page hints: while the host copies the guest's memory it names an id, and the guest takes
 * free blocks and sends them, between the id and STOP. What was in them need not be copied. They
 * are kept until the host says DONE, so that they are not written to and copied after all; but a
 * guest that wants its memory takes them back at any time, which does no harm: the host copies
 * what is written to after it named the id.
 */
#include <linux/gfp.h>
#include <linux/mm.h>
#include <linux/scatterlist.h>
#include <linux/slab.h>
#include <linux/virtio_config.h>

#include "balloon.h"

/* Blocks smaller than a huge page are not worth their place in the queue */
#define VBB_HINT_ORDER_MIN min(VBB_NR_ORDERS - 1, 21 - PAGE_SHIFT)

/* A place in the queue is kept for STOP */
#define VBB_HINT_RING_MIN 2

/* The two commands that are sent */
enum vbb_hint_cmd {
	VBB_HINT_ID,
	VBB_HINT_STOP,
};

static struct vbb_balloon *vbb_hint_balloon(struct vbb_hint *h)
{
	return container_of(h, struct vbb_balloon, hint);
}

/* Take out a block, or NULL where there is none. */
static struct page *vbb_hint_pop(struct vbb_hint *h, unsigned int *order)
{
	struct page *page;

	spin_lock(&h->lock);
	page = vbb_blocks_pop(&h->blocks, false, order);
	spin_unlock(&h->lock);
	return page;
}

/* Give pages back to the kernel, whether the device has seen them or not. */
static unsigned long vbb_hint_release(struct vbb_hint *h, unsigned long nr_pages)
{
	unsigned long nr_freed = 0;
	unsigned int order;
	struct page *page;

	while (nr_freed < nr_pages) {
		page = vbb_hint_pop(h, &order);
		if (!page)
			break;
		__free_pages(page, order);
		nr_freed += 1UL << order;
	}
	return nr_freed;
}

static struct vbb_hint *vbb_hint_of(struct shrinker *shrinker)
{
	return container_of(vbb_shrinker_of(shrinker), struct vbb_hint, shrinker);
}

static unsigned long vbb_hint_count(struct shrinker *shrinker, struct shrink_control *sc)
{
	struct vbb_hint *h = vbb_hint_of(shrinker);

	return READ_ONCE(h->blocks.nr_pages);
}

static unsigned long vbb_hint_shrink(struct vbb_hint *h, unsigned long nr_pages)
{
	unsigned long nr_freed;

	/* what the guest wants back is not taken from it again */
	WRITE_ONCE(h->full, true);
	nr_freed = vbb_hint_release(h, nr_pages);
	spin_lock(&h->lock);
	vbb_hint_balloon(h)->counters.hint_pages_shrunk += nr_freed;
	spin_unlock(&h->lock);
	return nr_freed;
}

static unsigned long vbb_hint_scan(struct shrinker *shrinker, struct shrink_control *sc)
{
	unsigned long nr_freed = vbb_hint_shrink(vbb_hint_of(shrinker), sc->nr_to_scan);

	return nr_freed ? nr_freed : SHRINK_STOP;
}

/**
 * vbb_hint_yield() - give pages back to the kernel, for the balloon to take
 * @vb: the balloon
 * @nr_pages: pages that are missing; all that there is will do
 *
 * The kernel does not count these pages as available, so the balloon would never ask for them.
 */
void vbb_hint_yield(struct vbb_balloon *vb, unsigned long nr_pages)
{
	if (vb->hint.cmd && nr_pages)
		vbb_hint_shrink(&vb->hint, nr_pages);
}

static void vbb_hint_reap(struct vbb_hint *h, struct virtqueue *vq)
{
	unsigned int len;
	void *token;

	while ((token = virtqueue_get_buf(vq, &len))) {
		if (token == &h->cmd[VBB_HINT_ID])
			h->busy[VBB_HINT_ID] = false;
		else if (token == &h->cmd[VBB_HINT_STOP])
			h->busy[VBB_HINT_STOP] = false;
	}
}

/* Returns false where the device has to give something back first. */
static bool vbb_hint_send(struct vbb_hint *h, struct virtqueue *vq, enum vbb_hint_cmd cmd, u32 id)
{
	struct scatterlist sg;

	/* an id needs the place of STOP besides its own */
	if (h->busy[cmd] || vq->num_free < (cmd == VBB_HINT_ID ? VBB_HINT_RING_MIN : 1))
		return false;
	h->cmd[cmd] = cpu_to_le32(id);
	sg_init_one(&sg, &h->cmd[cmd], sizeof(h->cmd[cmd]));
	if (virtqueue_add_outbuf(vq, &sg, 1, &h->cmd[cmd], GFP_KERNEL))
		return false;
	h->busy[cmd] = true;
	virtqueue_kick(vq);
	return true;
}

/* A block, and only one that is free: nothing is reclaimed for a hint. */
static struct page *vbb_hint_alloc(unsigned int *order)
{
	const gfp_t gfp = (GFP_HIGHUSER & ~__GFP_RECLAIM) | __GFP_NORETRY | __GFP_NOWARN |
			  __GFP_NOMEMALLOC;
	struct page *page;

	for (*order = VBB_NR_ORDERS - 1; *order >= VBB_HINT_ORDER_MIN; --*order) {
		page = alloc_pages(gfp, *order);
		if (page)
			return page;
	}
	return NULL;
}

/* Hint blocks until there are no more, or the device has to say something. */
static void vbb_hint_blocks(struct vbb_hint *h, struct virtqueue *vq)
{
	struct vbb_balloon *vb = vbb_hint_balloon(h);
	struct scatterlist sg;
	unsigned int order;
	struct page *page;

	while (!READ_ONCE(h->full) && !READ_ONCE(h->changed) && !READ_ONCE(vb->stopping)) {
		vbb_hint_reap(h, vq);
		if (vq->num_free < VBB_HINT_RING_MIN)
			break;
		page = vbb_hint_alloc(&order);
		if (!page) {
			WRITE_ONCE(h->full, true);
			break;
		}
		sg_init_table(&sg, 1);
		sg_set_page(&sg, page, PAGE_SIZE << order, 0);
		if (virtqueue_add_inbuf(vq, &sg, 1, page, GFP_KERNEL)) {
			__free_pages(page, order);
			WRITE_ONCE(h->full, true);
			break;
		}
		virtqueue_kick(vq);
		vb->counters.hint_pages += 1UL << order;
		spin_lock(&h->lock);
		vbb_blocks_add(&h->blocks, page, order);
		spin_unlock(&h->lock);
		cond_resched();
	}
}

static void vbb_hint_queue(struct vbb_balloon *vb, bool changed)
{
	unsigned long flags;

	spin_lock_irqsave(&vb->event_lock, flags);
	if (changed)
		WRITE_ONCE(vb->hint.changed, true);
	if (!vb->stopping)
		queue_work(system_freezable_wq, &vb->hint.work);
	spin_unlock_irqrestore(&vb->event_lock, flags);
}

/* Do what can be done. Returns false where that is not all, as the device has to act first. */
static bool vbb_hint_step(struct vbb_hint *h, struct virtqueue *vq)
{
	struct vbb_balloon *vb = vbb_hint_balloon(h);

	vbb_hint_reap(h, vq);
	if (READ_ONCE(h->changed)) {
		WRITE_ONCE(h->changed, false);
		virtio_cread_le(vb->vdev, struct virtio_balloon_config, free_page_hint_cmd_id,
				&h->id);
	}
	if (h->active != VIRTIO_BALLOON_CMD_ID_STOP && h->active == h->id)
		vbb_hint_blocks(h, vq);
	if (h->active != VIRTIO_BALLOON_CMD_ID_STOP && (h->active != h->id || READ_ONCE(h->full))) {
		if (!vbb_hint_send(h, vq, VBB_HINT_STOP, VIRTIO_BALLOON_CMD_ID_STOP))
			return false;
		h->active = VIRTIO_BALLOON_CMD_ID_STOP;
	}
	if (h->active != VIRTIO_BALLOON_CMD_ID_STOP)
		return false;
	if (h->id == VIRTIO_BALLOON_CMD_ID_DONE)
		vbb_hint_release(h, ULONG_MAX);
	if (h->id == VIRTIO_BALLOON_CMD_ID_DONE || h->id == VIRTIO_BALLOON_CMD_ID_STOP ||
	    h->id == h->last)
		return true;
	if (!vbb_hint_send(h, vq, VBB_HINT_ID, h->id))
		return false;
	h->last = h->id;
	h->active = h->id;
	WRITE_ONCE(h->full, false);
	vb->counters.hint_sessions++;
	vbb_hint_queue(vb, false);
	return true;
}

static void vbb_hint_work(struct work_struct *work)
{
	struct vbb_hint *h = container_of(work, struct vbb_hint, work);
	struct vbb_balloon *vb = vbb_hint_balloon(h);
	struct virtqueue *vq = vb->vqs[VBB_VQ_HINT];

	virtqueue_disable_cb(vq);
	if (!vbb_hint_step(h, vq) && !virtqueue_enable_cb(vq))
		vbb_hint_queue(vb, false);
}

/**
 * vbb_hint_used() - the device gave something back; called in interrupts
 * @vq: the hint queue
 */
void vbb_hint_used(struct virtqueue *vq)
{
	vbb_hint_queue(vq->vdev->priv, false);
}

/**
 * vbb_hint_changed() - the configuration changed; called in interrupts
 * @vb: the balloon
 */
void vbb_hint_changed(struct vbb_balloon *vb)
{
	if (vb->hint.cmd)
		vbb_hint_queue(vb, true);
}

/**
 * vbb_hint_start() - take what hinting needs
 * @vb: the balloon; its queues are found, and the device is not yet ready
 *
 * Return: 0; -ENOMEM; -EINVAL where the queue is too short.
 */
int vbb_hint_start(struct vbb_balloon *vb)
{
	struct vbb_hint *h = &vb->hint;
	int err;

	memset(h, 0, sizeof(*h));
	INIT_WORK(&h->work, vbb_hint_work);
	spin_lock_init(&h->lock);
	vbb_blocks_init(&h->blocks, true);
	if (!__virtio_test_bit(vb->vdev, VIRTIO_BALLOON_F_FREE_PAGE_HINT))
		return 0;
	if (virtqueue_get_vring_size(vb->vqs[VBB_VQ_HINT]) < VBB_HINT_RING_MIN)
		return -EINVAL;
	err = vbb_shrinker_start(&h->shrinker, vbb_hint_count, vbb_hint_scan, &vb->vdev->dev);
	if (err)
		return err;
	h->cmd = kcalloc(2, sizeof(*h->cmd), GFP_KERNEL);
	if (!h->cmd) {
		vbb_shrinker_stop(&h->shrinker);
		return -ENOMEM;
	}
	return 0;
}

/**
 * vbb_hint_ready() - see what the host wants
 * @vb: the balloon; the device is ready
 */
void vbb_hint_ready(struct vbb_balloon *vb)
{
	vbb_hint_changed(vb);
}

/**
 * vbb_hint_stop() - hint no more
 * @vb: the balloon; it is stopping
 */
void vbb_hint_stop(struct vbb_balloon *vb)
{
	cancel_work_sync(&vb->hint.work);
}

/**
 * vbb_hint_exit() - give back what is left
 * @vb: the balloon; the device has no access any more
 */
void vbb_hint_exit(struct vbb_balloon *vb)
{
	struct vbb_hint *h = &vb->hint;

	if (!h->cmd)
		return;
	vbb_shrinker_stop(&h->shrinker);
	vbb_hint_release(h, ULONG_MAX);
	kfree(h->cmd);
	h->cmd = NULL;
}
