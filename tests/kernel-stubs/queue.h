/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause */
/* A queue of the driver under test, of which a test has the device's side. */
#ifndef VBB_STUB_QUEUE_H
#define VBB_STUB_QUEUE_H

#include "stub.h"
#include "vring.h"

#define STUB_QUEUE_MAX 64

struct stub_queue {
	struct virtqueue vq;
	bool broken;		/* also by who takes the device away */
	struct vbb_vring ring;
	struct vbb_vring_drv drv;
	struct vbb_vring_dev dev;
	struct vbb_vring_slot slot[STUB_QUEUE_MAX];
	u8 lent[STUB_QUEUE_MAX];
	u8 desc[VBB_VRING_DESC_LEN(STUB_QUEUE_MAX)] __aligned(VBB_VRING_DESC_ALIGN);
	u8 avail[VBB_VRING_AVAIL_LEN(STUB_QUEUE_MAX)] __aligned(VBB_VRING_AVAIL_ALIGN);
	u8 used[VBB_VRING_USED_LEN(STUB_QUEUE_MAX)] __aligned(VBB_VRING_USED_ALIGN);
};

static inline struct stub_queue *stub_queue(const struct virtqueue *vq)
{
	return container_of(vq, struct stub_queue, vq);
}

/* A new queue, with both its sides; @num: entries */
void stub_queue_init(struct stub_queue *q, struct virtio_device *vdev, u32 num);

#endif
