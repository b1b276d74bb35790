// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause
#include "device.h"

#include <string.h>
#include <time.h>

/* The configuration space: num_pages is ours to write, actual is the driver's. */
#define CONFIG_NUM_PAGES	0
#define CONFIG_ACTUAL		4

#define PAGE_SHIFT		12	/* of num_pages, actual and the counters */

/*
 * No message may keep control waiting. A discard of so much populated memory takes some 4 ms, and
 * as much CPU time a byte as one of any length; its borders are multiples of it, so that no huge
 * page is split. Decoding takes nanoseconds a step.
 */
#define DISCARD_LEN_MAX		((vbb_u64)16 << 20)
#define DECODE_STEPS		1024
#define STEPS_PER_LOOK		64	/* at the clock */
#define WORK_NS			2000000

#define EVENT_NS		1000000000

vbb_u64 vbb_device_now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (vbb_u64)ts.tv_sec * 1000000000 + (vbb_u64)ts.tv_nsec;
}

static void count_fault(struct vbb_device *d, int err)
{
	int fault = vbb_err_fault(err);

	if (fault >= 0)
		d->counts.faults[fault]++;
}

/* Messages */

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
	count_fault(d, err);
	q->busy = false;
	count_fault(d, vbb_transport_done(&d->vhu.transport, q->index, &q->chain, written));
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
				count_fault(d, err);
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

bool vbb_device_work(struct vbb_device *d)
{
	bool more = false;

	if (d->inflate.busy || vbb_vhu_pending(&d->vhu, d->inflate.index))
		more |= queue_work(d, &d->inflate);
	if (d->deflate.busy || vbb_vhu_pending(&d->vhu, d->deflate.index))
		more |= queue_work(d, &d->deflate);
	return more;
}

/* The size of the balloon */

vbb_u64 vbb_device_ram_len(const struct vbb_device *d)
{
	vbb_u64 len = d->opts->ram_len;
	size_t i;

	if (!len)
		for (i = 0; i < d->vhu.nr_regions; i++)
			len += d->vhu.region[i].len;
	return len;
}

static vbb_u32 num_pages(const struct vbb_device *d)
{
	vbb_u64 ram_len = vbb_device_ram_len(d);
	vbb_u64 nr = ram_len > d->keep_len ? (ram_len - d->keep_len) >> PAGE_SHIFT : 0;

	return nr > UINT32_MAX ? UINT32_MAX : (vbb_u32)nr;
}

static void note_reached(struct vbb_device *d)
{
	if (d->asked_ns && !d->reached_ns && d->actual == num_pages(d))
		d->reached_ns = vbb_device_now_ns();
}

void vbb_device_keep(struct vbb_device *d, vbb_u64 len)
{
	d->keep_len = len;
	d->asked_ns = vbb_device_now_ns();
	d->reached_ns = 0;
	note_reached(d);
	vbb_vhu_config_changed(&d->vhu);
}

vbb_u64 vbb_device_actual_len(const struct vbb_device *d)
{
	vbb_u64 ram_len = vbb_device_ram_len(d);
	vbb_u64 len = (vbb_u64)d->actual << PAGE_SHIFT;

	return len < ram_len ? ram_len - len : 0;
}

bool vbb_device_event_due(const struct vbb_device *d, vbb_u64 *wait_ns)
{
	vbb_u64 past_ns = vbb_device_now_ns() - d->told_ns;

	*wait_ns = ~(vbb_u64)0;
	if (!d->untold)
		return false;
	if (d->actual == num_pages(d) || past_ns >= EVENT_NS)
		return true;
	*wait_ns = EVENT_NS - past_ns;
	return false;
}

/* What the protocol asks of the device */

static int on_features(void *dev, vbb_u64 features)
{
	(void)dev;
	return vbb_features_check(features) == features ? 0 : -1;
}

static void set_actual(struct vbb_device *d, vbb_u32 actual)
{
	/* also what comes back to the value told before: a client waits for the last word */
	if (actual != d->actual)
		d->untold = true;
	d->actual = actual;
}

static void put_le32(vbb_u8 *p, vbb_u32 v)
{
	int i;

	for (i = 0; i < 4; i++)
		p[i] = (vbb_u8)(v >> 8 * i);
}

static void on_config_read(void *dev, vbb_u8 config[VBB_VHU_CONFIG_LEN])
{
	const struct vbb_device *d = dev;

	put_le32(config + CONFIG_NUM_PAGES, num_pages(d));
	put_le32(config + CONFIG_ACTUAL, d->actual);
}

static void on_config_write(void *dev, vbb_u32 off, const vbb_u8 *data, vbb_u32 len)
{
	struct vbb_device *d = dev;
	vbb_u8 config[VBB_VHU_CONFIG_LEN] = { 0 };

	on_config_read(d, config);
	memcpy(config + off, data, len);
	set_actual(d, vbb_load32(config + CONFIG_ACTUAL));
	note_reached(d);
}

static void on_stopped(void *dev, unsigned int queue)
{
	struct vbb_device *d = dev;

	/* it goes back as if we had not seen it; what was done already may be done again */
	if (queue == d->inflate.index)
		d->inflate.busy = false;
	if (queue == d->deflate.index)
		d->deflate.busy = false;
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
	set_actual(dev, 0);
}

static const struct vbb_vhu_ops vhu_ops = {
	.features = on_features,
	.config_read = on_config_read,
	.config_write = on_config_write,
	.stopped = on_stopped,
	.memory = on_memory,
	.reset = on_reset,
};

static void queue_init(struct vbb_device_queue *q, unsigned int index, bool inflates)
{
	q->index = index;
	q->inflates = inflates;
	q->chain.seg = q->seg;
	q->chain.max_segs = VBB_VHU_NR_SEGS;
}

int vbb_device_init(struct vbb_device *d, const struct vbb_device_opts *opts)
{
	unsigned int nr_queues = 0;

	memset(d, 0, sizeof(*d));
	d->opts = opts;
	d->map.ram = d->ram;
	d->keep_len = ~(vbb_u64)0;
	/* queues of features that are not offered take no number */
	queue_init(&d->inflate, nr_queues++, true);
	queue_init(&d->deflate, nr_queues++, false);
	return vbb_vhu_init(&d->vhu, opts->features, nr_queues, &vhu_ops, d);
}
