// SPDX-License-Identifier: GPL-2.0-or-later
/* Messages: a batch goes out in as many as it takes, and they are retired in that order. */
#include <linux/gfp.h>
#include <linux/mm.h>
#include <linux/scatterlist.h>

#include "balloon.h"

/**
 * vbb_tell_init() - take all buffers that telling ever needs
 * @vb: the balloon; its queues are found
 * @formats: VBB_FMT_*, what the messages may use
 *
 * Return: 0; -ENOMEM; -EINVAL where a queue is too short for a message.
 */
int vbb_tell_init(struct vbb_balloon *vb, u32 formats)
{
	struct vbb_enc_cfg cfg = { .page_shift = PAGE_SHIFT, .formats = formats };
	unsigned int i, nr_desc;
	struct vbb_seg seg;
	struct vbb_msg msg;

	vb->results = formats != VBB_FMT_PFNS;
	vb->msg_len = VBB_RESULT_OFF;
	if (formats == VBB_FMT_PFNS) {
		vb->msg_len = VBB_PFNS_LEN;
		cfg.page_shift = VIRTIO_BALLOON_PAGE_SHIFT_MIN;
	}
	vb->unit_shift = PAGE_SHIFT - cfg.page_shift;
	nr_desc = min(virtqueue_get_vring_size(vb->vqs[VBB_INFLATE]),
		      virtqueue_get_vring_size(vb->vqs[VBB_DEFLATE]));
	vb->nr_slots = min_t(unsigned int, nr_desc / (1 + vb->results), VBB_NR_SLOTS);
	if (!vb->nr_slots)
		return -EINVAL;
	for (i = 0; i < vb->nr_slots; i++) {
		vbb_blocks_init(&vb->slots[i].blocks, vb->blocks.managed);
		vb->slots[i].buf = (u8 *)__get_free_pages(GFP_KERNEL, get_order(VBB_SLOT_LEN));
		if (!vb->slots[i].buf)
			return -ENOMEM;
	}
	vb->enc = kvzalloc(sizeof(*vb->enc), GFP_KERNEL);
	if (!vb->enc)
		return -ENOMEM;
	seg.base = vb->slots[0].buf;
	seg.len = vb->msg_len;
	/* init opens a message; it is closed at once, so that all begin with next */
	if (vbb_enc_init(vb->enc, &cfg, &seg, 1) || vbb_enc_finish(vb->enc, 0, &msg))
		return -EINVAL;
	return 0;
}

/**
 * vbb_tell_exit() - give buffers back, and the pages in flight
 * @vb: the balloon; the device has no access any more
 */
void vbb_tell_exit(struct vbb_balloon *vb)
{
	unsigned int i;

	for (i = 0; i < vb->nr_slots && vb->slots[i].buf; i++) {
		vbb_blocks_free(&vb->slots[i].blocks);
		free_pages((unsigned long)vb->slots[i].buf, get_order(VBB_SLOT_LEN));
		vb->slots[i].buf = NULL;
	}
	kvfree(vb->enc);
	vb->enc = NULL;
}

/* Put as much of the batch into a message as it takes; msg->len is 0 where nothing can be named. */
static void vbb_tell_encode(struct vbb_balloon *vb, struct vbb_batch *batch, struct vbb_slot *slot,
			    struct vbb_msg *msg)
{
	struct vbb_seg seg = { .base = slot->buf, .len = vb->msg_len };
	int err;

	*msg = (struct vbb_msg){};
	vbb_enc_next(vb->enc, &seg, 1);
	while (vbb_batch_left(batch)) {
		if (!batch->rest.nr_pages)
			vbb_batch_next(batch, vb->unit_shift);
		err = vbb_enc_put(vb->enc, &batch->rest);
		if (err == VBB_E_NOSPC)
			break;
		if (err) {
			/* the old format ends at 16 TiB; such pages are held, and not told */
			vb->counters.pages_unnamed += batch->rest.nr_pages >> vb->unit_shift;
			batch->rest.nr_pages = 0;
		}
	}
	vbb_enc_finish(vb->enc, 0, msg);
}

static void vbb_tell_count(struct vbb_balloon *vb, enum vbb_dir dir, const struct vbb_msg *msg)
{
	struct vbb_counters *c = &vb->counters;

	if (dir == VBB_INFLATE)
		c->inflate_pages += msg->nr_pages >> vb->unit_shift;
	else
		c->deflate_pages += msg->nr_pages >> vb->unit_shift;
	if (msg->format == VBB_FMT_BITMAP)
		c->messages_bitmap++;
	else if (msg->format == VBB_FMT_RECORDS)
		c->messages_records++;
	else
		c->messages_pfns++;
	c->records_block += msg->nr_blocks;
	c->records_bitmap += msg->nr_bitmaps;
	c->records_extent += msg->nr_extents;
	c->bytes += msg->len;
}

static int vbb_tell_queue(struct vbb_balloon *vb, struct vbb_slot *slot, const struct vbb_msg *msg)
{
	struct scatterlist out, in, *sgs[] = { &out, &in };
	struct virtqueue *vq = vb->vqs[slot->dir];
	int err;

	sg_init_one(&out, slot->buf, msg->len);
	sg_init_one(&in, slot->buf + VBB_RESULT_OFF, VBB_RESULT_LEN);
	/* the ring has room, and nothing is allocated */
	err = virtqueue_add_sgs(vq, sgs, 1, vb->results, slot, GFP_ATOMIC);
	if (err)
		return err;
	vbb_tell_count(vb, slot->dir, msg);
	if (virtqueue_kick_prepare(vq)) {
		vb->counters.kicks++;
		virtqueue_notify(vq);
	}
	return 0;
}

static void vbb_tell_break(struct vbb_balloon *vb)
{
	if (!vb->broken)
		dev_err(&vb->vdev->dev, "the device is broken; the balloon stands still\n");
	vb->broken = true;
}

/* Returns true where nothing is left of the batch. */
static bool vbb_tell_batch(struct vbb_balloon *vb, struct vbb_batch *batch)
{
	struct vbb_slot *slot;
	struct vbb_msg msg;

	if (!batch->pos)
		vbb_batch_sort(batch);
	while (vbb_batch_left(batch)) {
		if (vb->head - vb->tail == vb->nr_slots)
			return false;
		/* a page that the device does not yet know to have left may be among these again */
		if (batch->dir == VBB_INFLATE && vb->nr_late)
			return false;
		slot = &vb->slots[vb->head++ % vb->nr_slots];
		slot->dir = batch->dir;
		slot->late = batch == &vb->late;
		slot->used = false;
		vb->nr_late += slot->late;
		vbb_tell_encode(vb, batch, slot, &msg);
		if (!vbb_batch_left(batch))
			vbb_blocks_move(&slot->blocks, &batch->blocks);
		if (!msg.len) {
			slot->used = true;
			continue;
		}
		if (vbb_tell_queue(vb, slot, &msg)) {
			vbb_tell_break(vb);
			return false;
		}
	}
	batch->pos = 0;
	batch->nr = 0;
	return true;
}

/**
 * vbb_tell_send() - send what is left of the batches, as far as slots are free
 * @vb: the balloon
 *
 * Return: true where nothing is left.
 */
bool vbb_tell_send(struct vbb_balloon *vb)
{
	return vbb_tell_batch(vb, &vb->late) && vbb_tell_batch(vb, &vb->moved) &&
	       vbb_tell_batch(vb, &vb->batch);
}

static void vbb_tell_fault(struct vbb_balloon *vb, int err)
{
	vb->counters.fault[vbb_err_fault(err)]++;
	dev_warn_ratelimited(&vb->vdev->dev, "the device's result: %s\n", vbb_strerror(err));
}

static void vbb_tell_result(struct vbb_balloon *vb, struct vbb_slot *slot)
{
	struct vbb_seg seg = { .base = slot->buf + VBB_RESULT_OFF, .len = VBB_RESULT_LEN };
	struct vbb_counters *c = &vb->counters;
	u64 *const by_status[] = {
		[VIRTIO_BALLOON_STATUS_OK] = &c->results_ok,
		[VIRTIO_BALLOON_STATUS_PARTIAL] = &c->results_partial,
		[VIRTIO_BALLOON_STATUS_INHIBITED] = &c->results_inhibited,
		[VIRTIO_BALLOON_STATUS_MALFORMED] = &c->results_malformed,
	};
	struct vbb_result result;
	int err;

	if (!vb->results || !slot->used_len) {
		c->results_none++;
		return;
	}
	err = slot->used_len == VBB_RESULT_LEN ? vbb_result_load(&result, &seg, 1) : VBB_E_LEN;
	if (err) {
		vbb_tell_fault(vb, err);
		return;
	}
	(*by_status[result.status])++;
	c->discard_shift = result.discard_shift;
	if (slot->dir == VBB_INFLATE)
		c->inflate_pages_done += result.nr_pages;
	else
		c->deflate_pages_done += result.nr_pages;
}

static void vbb_tell_retire(struct vbb_balloon *vb, struct vbb_slot *slot)
{
	unsigned long nr_pages = slot->blocks.nr_pages;

	vbb_tell_result(vb, slot);
	vb->nr_late -= slot->late;
	vb->moving[slot->dir] -= nr_pages;
	if (slot->dir == VBB_INFLATE) {
		vb->actual += nr_pages;
		vbb_blocks_move(&vb->blocks, &slot->blocks);
		vbb_move_push(vb);
	} else {
		vb->actual -= nr_pages;
		vb->deflate_jiffies = jiffies;
		vbb_blocks_free(&slot->blocks);
	}
}

/**
 * vbb_tell_reap() - take back the messages that the device is done with
 * @vb: the balloon
 *
 * A batch ends with its last message, so what is used out of order waits for what was sent before.
 */
void vbb_tell_reap(struct vbb_balloon *vb)
{
	struct vbb_slot *slot;
	unsigned int dir, len;

	for (dir = 0; dir < VBB_NR_DIRS; dir++) {
		while ((slot = virtqueue_get_buf(vb->vqs[dir], &len))) {
			slot->used_len = len;
			slot->used = true;
		}
		if (virtqueue_is_broken(vb->vqs[dir]))
			vbb_tell_break(vb);
	}
	while (vb->tail != vb->head) {
		slot = &vb->slots[vb->tail % vb->nr_slots];
		if (!slot->used)
			break;
		vbb_tell_retire(vb, slot);
		vb->tail++;
	}
}
