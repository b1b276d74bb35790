// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause
/* Inflate and deflate: what messages name is discarded, a bounded step at a time. */
#include "device.h"

#define PAGE_SHIFT		12	/* of the counters */

static struct vbb_device_message *message(struct vbb_device *d, enum vbb_device_vq vq)
{
	return vq == VBB_DEVICE_INFLATE ? &d->inflate : &d->deflate;
}

static void run_begin(struct vbb_device *d, struct vbb_device_message *m, bool inflates,
		      const struct vbb_range *r)
{
	vbb_u64 nr_pages = r->nr_pages << (m->page_shift - PAGE_SHIFT);

	vbb_device_area_begin(&m->area, vbb_range_span(r, m->page_shift));
	d->counts.runs++;
	if (inflates)
		d->counts.pages_inflated += nr_pages;
	else
		d->counts.pages_deflated += nr_pages;
}

/* The message is over: err is 0, or what is wrong with it. */
static void message_end(struct vbb_device *d, enum vbb_device_vq vq, int err)
{
	const struct vbb_device_message *m = message(d, vq);
	const struct vbb_chain *chain = &d->queue[vq].chain;
	struct vbb_result result = {
		.nr_pages = m->area.acted_len >> m->page_shift,
		.status = VIRTIO_BALLOON_STATUS_OK,
		.discard_shift = d->discard_shift,
	};
	vbb_u32 written = 0;

	if (err)
		result.status = VIRTIO_BALLOON_STATUS_MALFORMED;
	else if (m->area.failed && !m->area.acted_len)
		result.status = VIRTIO_BALLOON_STATUS_INHIBITED;
	else if (m->partial)
		result.status = VIRTIO_BALLOON_STATUS_PARTIAL;
	if (m->page_msg)
		written = vbb_result_store(&result, chain->seg + chain->nr_out, chain->nr_in);
	if (written)
		d->counts.results++;
	d->counts.blocks += m->dec.nr_blocks;
	d->counts.bitmaps += m->dec.nr_bitmaps;
	d->counts.extents += m->dec.nr_extents;
	vbb_device_done(d, vq, err, written);
}

vbb_u64 vbb_device_balloon_step(struct vbb_device *d, enum vbb_device_vq vq)
{
	struct vbb_device_message *m = message(d, vq);
	bool inflates = vq == VBB_DEVICE_INFLATE;
	struct vbb_range run;
	vbb_u64 len;
	int err;

	/* what deflates needs no work: memory comes back when the guest touches it */
	if (vbb_device_area_step(d, &m->area, inflates, &len))
		return len;
	if (m->area.missing_len)
		m->partial = true;
	m->area.missing_len = 0;
	vbb_dec_set_budget(&m->dec, VBB_DEVICE_DECODE_STEPS);
	err = vbb_dec_next(&m->dec, &run);
	if (err > 0)
		run_begin(d, m, inflates, &run);
	else if (err != VBB_E_BUDGET)
		message_end(d, vq, err);
	return 0;
}

void vbb_device_balloon_begin(struct vbb_device *d, enum vbb_device_vq vq)
{
	const struct vbb_dec_cfg cfg = {
		.queue = VBB_QUEUE_BALLOON,
		.records = vbb_device_has(d, VIRTIO_BALLOON_F_PAGE_RECORDS),
		/* no limit: what is not RAM is skipped */
	};
	struct vbb_device_queue *q = &d->queue[vq];
	struct vbb_device_message *m = message(d, vq);
	enum vbb_device_format format = VBB_DEVICE_PFNS;
	int err = 0;

	m->page_msg = vbb_device_has(d, VIRTIO_BALLOON_F_PAGE_BITMAP);
	m->partial = false;
	m->page_shift = PAGE_SHIFT;
	m->area = (struct vbb_device_area){ .failed = false };
	d->counts.bytes += vbb_segs_len(q->chain.seg, q->chain.nr_out);
	if (m->page_msg) {
		err = vbb_dec_init(&m->dec, &cfg, q->chain.seg, q->chain.nr_out);
		format = m->dec.hdr.format == VIRTIO_BALLOON_FORMAT_RECORDS ? VBB_DEVICE_RECORDS :
									       VBB_DEVICE_BITMAP;
	} else {
		vbb_dec_init_pfns(&m->dec, &cfg, q->chain.seg, q->chain.nr_out);
	}
	if (err) {
		message_end(d, vq, err);
		return;
	}
	q->busy = true;
	m->page_shift = m->dec.hdr.page_shift;
	d->counts.messages[format]++;
}
