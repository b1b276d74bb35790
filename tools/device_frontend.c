// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause
/* The device as the front-end sees it: its queues, its memory, and what the protocol asks of it. */
#include "device.h"

#include <string.h>
#include <time.h>

vbb_u64 vbb_device_now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (vbb_u64)ts.tv_sec * 1000000000 + (vbb_u64)ts.tv_nsec;
}

void vbb_device_fault(struct vbb_device *d, int err)
{
	int fault = vbb_err_fault(err);

	if (fault >= 0)
		d->counts.faults[fault]++;
}

/* Queues, in the order of enum vbb_device_vq, and the features that bring them; 0: always there */
static const unsigned int vq_feature[VBB_DEVICE_NR_VQS] = {
	[VBB_DEVICE_REQUESTS] = VIRTIO_BALLOON_F_HOST_REQ_VQ,
};

/* A queue of a feature that is not offered takes no number. Returns how many there are. */
static unsigned int vqs_number(struct vbb_device *d)
{
	unsigned int nr = 0;
	int i;

	for (i = 0; i < VBB_DEVICE_NR_VQS; i++) {
		d->vq[i] = -1;
		if (!vq_feature[i] || d->opts->features >> vq_feature[i] & 1)
			d->vq[i] = (int)nr++;
	}
	return nr;
}

/* Which of ours has this index? There is one. */
static enum vbb_device_vq vq_of(const struct vbb_device *d, unsigned int index)
{
	int i = 0;

	while (d->vq[i] != (int)index)
		i++;
	return (enum vbb_device_vq)i;
}

bool vbb_device_work(struct vbb_device *d)
{
	bool more = false;

	more |= vbb_device_balloon_work(d, VBB_DEVICE_INFLATE);
	more |= vbb_device_balloon_work(d, VBB_DEVICE_DEFLATE);
	more |= vbb_device_requests_work(d);
	return more;
}

/* What the protocol asks of the device */

static int on_features(void *dev, vbb_u64 features)
{
	if (vbb_features_check(features) != features)
		return -1;
	/* a driver begins with them, also one whose predecessor went without a word */
	vbb_device_requests_reset(dev);
	return 0;
}

static void on_config_read(void *dev, vbb_u8 config[VBB_VHU_CONFIG_LEN])
{
	vbb_device_config_read(dev, config);
}

static void on_config_write(void *dev, vbb_u32 off, const vbb_u8 *data, vbb_u32 len)
{
	vbb_device_config_write(dev, off, data, len);
}

static void on_stopping(void *dev, unsigned int queue)
{
	if (vq_of(dev, queue) == VBB_DEVICE_REQUESTS)
		vbb_device_requests_stopping(dev);
}

static void on_stopped(void *dev, unsigned int queue)
{
	enum vbb_device_vq vq = vq_of(dev, queue);

	if (vq == VBB_DEVICE_REQUESTS)
		vbb_device_requests_stopped(dev);
	else
		vbb_device_balloon_stopped(dev, vq);
}

static void on_memory(void *dev)
{
	struct vbb_device *d = dev;
	vbb_u16 shift = 0;
	bool aligned = true;
	size_t i, nr = 0;

	for (i = 0; i < d->vhu.nr_regions; i++) {
		const struct vbb_vhu_region *r = &d->vhu.region[i];
		vbb_u64 host_len = vbb_pow2(r->host_shift);
		vbb_u64 head = -r->map_off & (host_len - 1);

		/* the rest of a host page is another region's, or nobody's */
		if (head >= r->len)
			continue;
		d->ram[nr] = (struct vbb_ram){ r->gpa + head, r->len - head, r->map_off + head,
					       r->host_shift };
		d->backing[nr] = (struct vbb_backing){ vbb_discard_how(r->fd, true), r->map, r->fd,
						       r->map_fd_off };
		if (d->ram[nr].gpa & (host_len - 1))
			aligned = false;
		if (shift < r->host_shift)
			shift = (vbb_u16)r->host_shift;
		nr++;
	}
	d->map.nr = nr;
	d->discard_shift = aligned ? shift : 0;
	/* what the guest shall give depends on what it has */
	if (d->asked_ns)
		vbb_vhu_config_changed(&d->vhu);
}

static void on_reset(void *dev)
{
	vbb_device_config_reset(dev);
	vbb_device_requests_reset(dev);
}

static const struct vbb_vhu_ops vhu_ops = {
	.features = on_features,
	.config_read = on_config_read,
	.config_write = on_config_write,
	.stopping = on_stopping,
	.stopped = on_stopped,
	.memory = on_memory,
	.reset = on_reset,
};

int vbb_device_init(struct vbb_device *d, const struct vbb_device_opts *opts)
{
	unsigned int nr_vqs;

	memset(d, 0, sizeof(*d));
	d->opts = opts;
	d->map.ram = d->ram;
	d->keep_len = ~(vbb_u64)0;
	nr_vqs = vqs_number(d);
	vbb_device_balloon_init(d);
	vbb_device_requests_init(d);
	return vbb_vhu_init(&d->vhu, opts->features, nr_vqs, &vhu_ops, d);
}
