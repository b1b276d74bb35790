// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause
/* The device as the front-end sees it: its queues, its memory, and what the protocol asks of it. */
#include "device.h"

#include <string.h>

void vbb_device_fault(struct vbb_device *d, int err)
{
	int fault = vbb_err_fault(err);

	if (fault >= 0)
		d->counts.faults[fault]++;
}

struct vbb_span vbb_device_span(const struct vbb_device *d, const struct vbb_seg *seg)
{
	const vbb_u8 *base = seg->base;
	struct vbb_span span = { 0, 0 };
	size_t i;

	for (i = 0; i < d->vhu.nr_regions; i++) {
		const struct vbb_vhu_region *r = &d->vhu.region[i];
		vbb_u64 off = (vbb_u64)((uintptr_t)base - (uintptr_t)r->map) - r->map_off;

		/* chains are cut at the borders of regions */
		if ((uintptr_t)base >= (uintptr_t)r->map && off < r->len)
			span = (struct vbb_span){ r->gpa + off, seg->len };
	}
	return span;
}

/* Queues */

/* No queue may keep the others, or control, waiting. */
#define STEPS_PER_LOOK	64	/* at the clock */
#define WORK_NS		2000000

static const struct vq_ops {
	enum vbb_capture_role role;
	unsigned int feature;	/* that brings it; 0: it is always there */
	void (*begin)(struct vbb_device *d, enum vbb_device_vq vq);
	vbb_u64 (*step)(struct vbb_device *d, enum vbb_device_vq vq);	/* NULL: begin() is all */
	void (*stopping)(struct vbb_device *d);	/* NULL: nothing to do, as below */
	void (*stopped)(struct vbb_device *d);
} vq_ops[VBB_DEVICE_NR_VQS] = {
	[VBB_DEVICE_INFLATE] = { VBB_CAPTURE_INFLATE, 0, vbb_device_balloon_begin,
				 vbb_device_balloon_step, NULL, NULL },
	[VBB_DEVICE_DEFLATE] = { VBB_CAPTURE_DEFLATE, 0, vbb_device_balloon_begin,
				 vbb_device_balloon_step, NULL, NULL },
	[VBB_DEVICE_STATS] = { VBB_CAPTURE_STATS, VBB_BALLOON_F_STATS_VQ, vbb_device_stats_begin,
			       NULL, NULL, vbb_device_stats_stopped },
	[VBB_DEVICE_HINT] = { VBB_CAPTURE_HINT, VBB_BALLOON_F_FREE_PAGE_HINT,
			      vbb_device_hint_begin, vbb_device_hint_step, NULL, NULL },
	[VBB_DEVICE_REPORTING] = { VBB_CAPTURE_REPORTING, VBB_BALLOON_F_REPORTING,
				   vbb_device_reporting_begin, vbb_device_reporting_step, NULL,
				   NULL },
	[VBB_DEVICE_REQUESTS] = { VBB_CAPTURE_HOST_REQUEST, VIRTIO_BALLOON_F_HOST_REQ_VQ,
				  vbb_device_requests_begin, vbb_device_requests_step,
				  vbb_device_requests_stopping, vbb_device_requests_stopped },
};

/* A queue of a feature that is not offered takes no number. Returns how many there are. */
static unsigned int queues_init(struct vbb_device *d)
{
	struct vbb_device_queue *q = d->queue;
	unsigned int nr = 0;
	int i;

	for (i = 0; i < VBB_DEVICE_NR_VQS; i++, q++) {
		q->index = VBB_VHU_NR_QUEUES;
		if (!vq_ops[i].feature || d->opts->features >> vq_ops[i].feature & 1) {
			d->role[nr] = (vbb_u8)vq_ops[i].role;
			q->index = nr++;
		}
		q->chain.seg = q->seg;
		q->chain.max_segs = VBB_VHU_NR_SEGS;
	}
	return nr;
}

/* Which of ours has this index? There is one. */
static enum vbb_device_vq vq_of(const struct vbb_device *d, unsigned int index)
{
	int i = 0;

	while (d->queue[i].index != index)
		i++;
	return (enum vbb_device_vq)i;
}

void vbb_device_done(struct vbb_device *d, enum vbb_device_vq vq, int err, vbb_u64 written)
{
	struct vbb_device_queue *q = &d->queue[vq];

	q->busy = false;
	vbb_device_fault(d, err);
	vbb_device_fault(d, vbb_transport_done(d->transport, q->index, &q->chain, written));
	vbb_transport_kick(d->transport, q->index);
}

/* Takes the next chain, if there is one; one that is faulty was given back by the ring itself. */
static bool queue_take(struct vbb_device *d, enum vbb_device_vq vq)
{
	struct vbb_device_queue *q = &d->queue[vq];
	int err = vbb_transport_recv(d->transport, q->index, &q->chain);

	if (!err) {
		vq_ops[vq].begin(d, vq);
		return true;
	}
	if (!vbb_vhu_pending(&d->vhu, q->index))
		return false;
	vbb_device_fault(d, err);
	vbb_transport_kick(d->transport, q->index);
	return true;
}

/* Returns true where there is more to do. */
static bool queue_work(struct vbb_device *d, enum vbb_device_vq vq)
{
	struct vbb_device_queue *q = &d->queue[vq];
	vbb_u64 end_ns = vbb_now_ns() + WORK_NS;
	vbb_u64 len;
	int i;

	do {
		if (!q->busy && !queue_take(d, vq))
			return false;
		len = 0;
		for (i = 0; q->busy && i < STEPS_PER_LOOK && len < VBB_DEVICE_DISCARD_LEN; i++) {
			len += vq_ops[vq].step(d, vq);
			if (q->blocked)
				return false;
		}
	} while (vbb_now_ns() < end_ns);
	return true;
}

static vbb_u64 sooner(vbb_u64 a_ns, vbb_u64 b_ns)
{
	return a_ns < b_ns ? a_ns : b_ns;
}

vbb_u64 vbb_device_work(struct vbb_device *d)
{
	vbb_u64 wait_ns = ~(vbb_u64)0;
	int i;

	vbb_device_requests_look(d);
	vbb_device_hint_look(d);
	for (i = 0; i < VBB_DEVICE_NR_VQS; i++)
		if ((d->queue[i].busy || vbb_vhu_pending(&d->vhu, d->queue[i].index)) &&
		    queue_work(d, (enum vbb_device_vq)i))
			wait_ns = 0;
	wait_ns = sooner(wait_ns, vbb_device_stats_look(d));
	wait_ns = sooner(wait_ns, vbb_device_job_wait_ns(&d->requests.job));
	return sooner(wait_ns, vbb_device_job_wait_ns(&d->hint.job));
}

/* What the protocol asks of the device */

/* A driver begins anew. */
static void driver_reset(struct vbb_device *d)
{
	vbb_device_requests_reset(d);
	vbb_device_hint_reset(d);
	vbb_device_stats_reset(d);
	d->poison = 0;
}

static int on_features(void *dev, vbb_u64 features)
{
	struct vbb_device *d = dev;

	if (vbb_features_check(features) != features)
		return -1;
	d->record.modes = (features >> VIRTIO_BALLOON_F_PAGE_BITMAP & 1) * VBB_CAPTURE_BITMAP |
			  (features >> VIRTIO_BALLOON_F_PAGE_RECORDS & 1) * VBB_CAPTURE_RECORDS;
	/* also one whose predecessor went without a word */
	driver_reset(dev);
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
	enum vbb_device_vq vq = vq_of(dev, queue);

	if (vq_ops[vq].stopping)
		vq_ops[vq].stopping(dev);
}

static void on_stopped(void *dev, unsigned int queue)
{
	struct vbb_device *d = dev;
	enum vbb_device_vq vq = vq_of(d, queue);

	/* the chain goes back as if we had not seen it; what was done already may be done again */
	d->queue[vq].busy = false;
	if (vq_ops[vq].stopped)
		vq_ops[vq].stopped(d);
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
	driver_reset(dev);
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
	unsigned int nr_queues;

	memset(d, 0, sizeof(*d));
	d->opts = opts;
	d->transport = &d->vhu.transport;
	d->map.ram = d->ram;
	d->keep_len = ~(vbb_u64)0;
	nr_queues = queues_init(d);
	d->requests.job.sink.fd = -1;
	d->hint.job.sink.fd = -1;
	if (vbb_device_requests_init(d))
		return VBB_E_BROKEN;
	driver_reset(d);
	return vbb_vhu_init(&d->vhu, opts->features, nr_queues, &vhu_ops, d);
}

void vbb_device_record(struct vbb_device *d, FILE *f)
{
	/* our end sends nothing, but gives back what it took */
	const struct vbb_record_cfg cfg = {
		.under = &d->vhu.transport,
		.f = f,
		.from = VBB_CAPTURE_DEVICE,
		.role = d->role,
		.nr_roles = VBB_VHU_NR_QUEUES,
	};

	d->transport = &d->vhu.transport;
	if (!f)
		return;
	vbb_record_init(&d->record, &cfg);
	d->transport = &d->record.t;
}
