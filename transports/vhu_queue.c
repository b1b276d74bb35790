// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause
/* The virtqueues of a vhost-user front-end */
#define _GNU_SOURCE
#include "vhu.h"

#include <errno.h>

void vhu_queue_call(struct vbb_vhu *v, struct vbb_vhu_queue *q)
{
	if (fd_signal(q->call))
		v->nr_calls++;
}

void vhu_queue_stop(struct vbb_vhu *v, unsigned int i)
{
	struct vbb_vhu_queue *q = &v->queue[i];

	if (!q->running)
		return;
	q->base = (vbb_u16)(q->ring.last_avail - q->ring.nr_lent);
	q->running = false;
	q->pending = false;
	v->ops->stopped(v->dev, i);
}

void vhu_queue_pause(struct vbb_vhu *v, unsigned int i)
{
	if (!v->queue[i].running)
		return;
	v->ops->stopping(v->dev, i);
	vhu_queue_stop(v, i);
}

int vhu_queue_start(struct vbb_vhu *v, unsigned int i)
{
	struct vbb_vhu_queue *q = &v->queue[i];
	struct vbb_vring ring = {
		.num = q->num,
		.indirect = v->features & BIT(VIRTIO_F_INDIRECT_DESC),
		.event_idx = v->features & BIT(VIRTIO_F_EVENT_IDX),
	};
	vbb_u16 used_idx;

	if (q->running || !q->num || !q->addressed || q->kick < 0 ||
	    (!q->enabled && v->features & BIT(VHU_F_PROTOCOL_FEATURES)))
		return 0;
	ring.desc = vhu_uaddr_map(v, q->desc, VBB_VRING_DESC_LEN(q->num));
	ring.avail = vhu_uaddr_map(v, q->avail, VBB_VRING_AVAIL_LEN(q->num));
	ring.used = vhu_uaddr_map(v, q->used, VBB_VRING_USED_LEN(q->num));
	if (!ring.desc || !ring.avail || !ring.used)
		return refuse(v, "a ring lies outside the memory");
	if ((uintptr_t)ring.avail % VBB_VRING_AVAIL_ALIGN ||
	    (uintptr_t)ring.used % VBB_VRING_USED_ALIGN)
		return refuse(v, "a ring is not aligned");
	used_idx = vbb_vring_used_idx(&ring);
	if (vbb_vring_dev_init(&q->ring, &ring, &v->map, q->lent, q->base, used_idx))
		return refuse(v, "a ring is not aligned, or its size is no power of 2");
	q->running = true;
	q->pending = true;
	/* nobody knows what the driver was told before we came */
	if (used_idx)
		vhu_queue_call(v, q);
	return 0;
}

static void queue_reset(struct vbb_vhu *v, unsigned int i)
{
	struct vbb_vhu_queue *q = &v->queue[i];

	vhu_queue_stop(v, i);
	unwatch(v, &q->kick);
	close_fd(&q->call);
	close_fd(&q->err);
	q->num = 0;
	q->base = 0;
	q->addressed = false;
	q->enabled = false;
}

void vhu_queue_kicked(struct vbb_vhu *v, unsigned int i)
{
	struct vbb_vhu_queue *q = &v->queue[i];
	vbb_u64 n[64];
	ssize_t got;
	size_t k;

	if (q->kick < 0 || !fd_nonblock(q->kick))
		return;
	got = read(q->kick, n, sizeof(n));
	if (got < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (got <= 0) {
		/* an end that is closed would wake us for ever */
		unwatch(v, &q->kick);
		return;
	}
	for (k = 0; k < (size_t)got / sizeof(n[0]); k++)
		v->nr_kicks += n[k];
	if (q->running && !q->pending) {
		q->pending = true;
		vbb_vring_dev_mute(&q->ring);
	}
}

void vhu_device_reset(struct vbb_vhu *v)
{
	unsigned int i;

	for (i = 0; i < v->nr_queues; i++)
		queue_reset(v, i);
	v->features = 0;
	v->status = 0;
	v->ops->reset(v->dev);
}
