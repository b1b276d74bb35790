// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause
/* Inflate and deflate: what messages name is discarded, a bounded step at a time. */
#include "device.h"

#define PAGE_SHIFT		12	/* of the counters */

/*
 * No message may keep control waiting. A discard of so much populated memory takes some 4 ms, and
 * as much CPU time a byte as one of any length; its borders are multiples of it, so that no huge
 * page is split. Decoding takes nanoseconds a step.
 */
#define DISCARD_LEN_MAX		((vbb_u64)16 << 20)
#define DECODE_STEPS		1024
#define STEPS_PER_LOOK		64	/* at the clock */
#define WORK_NS			2000000

/* How much of a piece one call may discard */
static vbb_u64 discard_len(const struct vbb_device *d, const struct vbb_piece *piece)
{
	vbb_u64 max = vbb_pow2(piece->ram->host_shift);
	vbb_u64 len;

	if (!d->opts->page_by_page && max < DISCARD_LEN_MAX)
		max = DISCARD_LEN_MAX;
	len = max - (piece->addr & (max - 1));
	return len < piece->span.len ? len : piece->span.len;
}

/* Returns bytes of work. */
static vbb_u64 piece_discard(struct vbb_device *d, struct vbb_device_queue *q)
{
	struct vbb_piece *piece = &q->piece;
	vbb_u64 len = discard_len(d, piece);

	d->counts.discard_calls++;
	if (vbb_discard(&d->backing[piece->ram - d->ram], piece->addr, len)) {
		d->counts.discard_errors++;
		q->failed = true;
	} else {
		d->counts.pages_discarded += len >> PAGE_SHIFT;
		q->acted_len += len;
		q->missing_len -= len;
	}
	piece->span.gpa += len;
	piece->span.len -= len;
	piece->addr += len;
	return len;
}

/* A piece of RAM was found in the run. What cannot, or need not, be discarded is done with here. */
static void piece_begin(struct vbb_device *d, struct vbb_device_queue *q)
{
	struct vbb_piece *piece = &q->piece;
	vbb_u64 gpa = piece->span.gpa;

	if (!q->inflates) {
		/* memory comes back when the guest touches it */
		q->acted_len += piece->span.len;
		q->missing_len -= piece->span.len;
		piece->span.len = 0;
	} else if (d->opts->no_discard) {
		q->failed = true;
		piece->span.len = 0;
	} else if (vbb_span_shrink(&piece->span, piece->ram->gpa, piece->ram->host_shift)) {
		piece->addr += piece->span.gpa - gpa;
	}
}

static void run_begin(struct vbb_device *d, struct vbb_device_queue *q, const struct vbb_range *r)
{
	vbb_u64 nr_pages = r->nr_pages << (q->page_shift - PAGE_SHIFT);

	q->rest = vbb_range_span(r, q->page_shift);
	q->missing_len = q->rest.len;
	d->counts.runs++;
	if (q->inflates)
		d->counts.pages_inflated += nr_pages;
	else
		d->counts.pages_deflated += nr_pages;
}

/* The message is over: err is 0, or what is wrong with it. */
static void message_end(struct vbb_device *d, struct vbb_device_queue *q, int err)
{
	struct vbb_result result = {
		.nr_pages = q->acted_len >> q->page_shift,
		.status = VIRTIO_BALLOON_STATUS_OK,
		.discard_shift = d->discard_shift,
	};
	vbb_u32 written = 0;

	if (err)
		result.status = VIRTIO_BALLOON_STATUS_MALFORMED;
	else if (q->failed && !q->acted_len)
		result.status = VIRTIO_BALLOON_STATUS_INHIBITED;
	else if (q->partial)
		result.status = VIRTIO_BALLOON_STATUS_PARTIAL;
	if (q->page_msg)
		written = vbb_result_store(&result, q->chain.seg + q->chain.nr_out, q->chain.nr_in);
	if (written)
		d->counts.results++;
	d->counts.blocks += q->dec.nr_blocks;
	d->counts.bitmaps += q->dec.nr_bitmaps;
	d->counts.extents += q->dec.nr_extents;
	vbb_device_fault(d, err);
	q->busy = false;
	vbb_device_fault(d, vbb_transport_done(&d->vhu.transport, q->index, &q->chain, written));
	vbb_transport_kick(&d->vhu.transport, q->index);
}

/* A bounded step on the message. Returns bytes of work. */
static vbb_u64 message_step(struct vbb_device *d, struct vbb_device_queue *q)
{
	struct vbb_range run;
	int err;

	if (q->piece.span.len)
		return piece_discard(d, q);
	if (vbb_ram_map_next(&d->map, &q->rest, &q->piece)) {
		piece_begin(d, q);
		return 0;
	}
	if (q->missing_len)
		q->partial = true;
	q->missing_len = 0;
	vbb_dec_set_budget(&q->dec, DECODE_STEPS);
	err = vbb_dec_next(&q->dec, &run);
	if (err > 0)
		run_begin(d, q, &run);
	else if (err != VBB_E_BUDGET)
		message_end(d, q, err);
	return 0;
}

/* A message came: look at its header. */
static void message_begin(struct vbb_device *d, struct vbb_device_queue *q)
{
	const struct vbb_dec_cfg cfg = {
		.queue = VBB_QUEUE_BALLOON,
		.records = d->vhu.features >> VIRTIO_BALLOON_F_PAGE_RECORDS & 1,
		/* no limit: what is not RAM is skipped */
	};
	enum vbb_device_format format = VBB_DEVICE_PFNS;
	int err = 0;

	q->busy = true;
	q->page_msg = d->vhu.features >> VIRTIO_BALLOON_F_PAGE_BITMAP & 1;
	q->partial = false;
	q->failed = false;
	q->acted_len = 0;
	q->missing_len = 0;
	q->rest.len = 0;
	q->piece.span.len = 0;
	q->page_shift = PAGE_SHIFT;
	d->counts.bytes += vbb_segs_len(q->chain.seg, q->chain.nr_out);
	if (q->page_msg) {
		err = vbb_dec_init(&q->dec, &cfg, q->chain.seg, q->chain.nr_out);
		format = q->dec.hdr.format == VIRTIO_BALLOON_FORMAT_RECORDS ? VBB_DEVICE_RECORDS :
									       VBB_DEVICE_BITMAP;
	} else {
		vbb_dec_init_pfns(&q->dec, &cfg, q->chain.seg, q->chain.nr_out);
	}
	if (err) {
		message_end(d, q, err);
		return;
	}
	q->page_shift = q->dec.hdr.page_shift;
	d->counts.messages[format]++;
}

/* Returns true where there is more to do. */
static bool queue_work(struct vbb_device *d, struct vbb_device_queue *q)
{
	vbb_u64 end_ns = vbb_device_now_ns() + WORK_NS;
	vbb_u64 len;
	int i, err;

	do {
		if (!q->busy) {
			err = vbb_transport_recv(&d->vhu.transport, q->index, &q->chain);
			if (!err) {
				message_begin(d, q);
			} else if (vbb_vhu_pending(&d->vhu, q->index)) {
				/* the ring gave it back by itself */
				vbb_device_fault(d, err);
				vbb_transport_kick(&d->vhu.transport, q->index);
			} else {
				return false;
			}
		}
		for (i = 0, len = 0; q->busy && i < STEPS_PER_LOOK && len < DISCARD_LEN_MAX; i++)
			len += message_step(d, q);
	} while (vbb_device_now_ns() < end_ns);
	return true;
}

static struct vbb_device_queue *queue_of(struct vbb_device *d, enum vbb_device_vq vq)
{
	return vq == VBB_DEVICE_INFLATE ? &d->inflate : &d->deflate;
}

bool vbb_device_balloon_work(struct vbb_device *d, enum vbb_device_vq vq)
{
	struct vbb_device_queue *q = queue_of(d, vq);

	return (q->busy || vbb_vhu_pending(&d->vhu, q->index)) && queue_work(d, q);
}

void vbb_device_balloon_stopped(struct vbb_device *d, enum vbb_device_vq vq)
{
	/* the message goes back as if we had not seen it; what was done already may be done again */
	queue_of(d, vq)->busy = false;
}

static void queue_init(struct vbb_device_queue *q, int index, bool inflates)
{
	q->index = (unsigned int)index;
	q->inflates = inflates;
	q->chain.seg = q->seg;
	q->chain.max_segs = VBB_VHU_NR_SEGS;
}

void vbb_device_balloon_init(struct vbb_device *d)
{
	queue_init(&d->inflate, d->vq[VBB_DEVICE_INFLATE], true);
	queue_init(&d->deflate, d->vq[VBB_DEVICE_DEFLATE], false);
}
