// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The host_request queue. The conversation goes on in interrupts, so that a CANCEL is heard and a
 * second request is told to come later whatever the guest is at; a worker serves the one that it
 * is at. The worker never waits for the device: where all messages are on their way it returns, and
 * starts again when one comes back.
 */
#include <linux/ktime.h>
#include <linux/mm.h>
#include <linux/scatterlist.h>
#include <linux/seq_file.h>
#include <linux/slab.h>
#include <linux/virtio_config.h>

#include <virtio_balloon_bmap/encode.h>
#include <virtio_balloon_bmap/request.h>

#include "balloon.h"
#include "requests.h"

/* Buffers of each kind */
#define VBB_REQ_NR_EACH 4
#define VBB_REQ_NR_BUFS (VBB_REQ_NR_KINDS * VBB_REQ_NR_EACH)

/* What a queue must hold: two that are parked, and one of the others */
#define VBB_REQ_NR_BUFS_MIN (VBB_REQ_NR_KINDS + 1)

/* How long an answer with payload can be */
#define VBB_REQ_MSG_LEN SZ_16K

/* A host that goes on asking is heard on by the worker, not in the interrupt */
#define VBB_REQ_NR_ROUNDS 16

/* Caches are dropped no more often than this */
#define VBB_REQ_DROP_MS 1000

enum vbb_req_kind {
	VBB_REQ_PARKED,		/* for a request */
	VBB_REQ_END,		/* for an answer that ends one */
	VBB_REQ_MSG,		/* for an answer with payload */
	VBB_REQ_NR_KINDS,
};

struct vbb_req_buf {
	enum vbb_req_kind kind;
	u8 *data;
	u32 used_len;		/* PARKED: bytes that the device says it wrote */
	bool busy;		/* END, MSG: it is the device's, or being written */
};

/* The short ones; a cache line each, as the device writes to some while we write to others */
struct vbb_req_small {
	u8 data[VBB_REQ_LEN] __aligned(SMP_CACHE_BYTES);
};

/* What debugfs shows, under these names */
struct vbb_requests_counters {
	u64 requests_unused_pages;	/* taken to be served: GET_UNUSED_PAGES */
	u64 requests_drop_cache;	/* the same: DROP_CACHE */
	u64 requests_cancel;		/* CANCEL of an open request */
	u64 requests_cancel_none;	/* CANCEL of anything else */
	u64 requests_busy;		/* came while another was served */
	u64 requests_unknown;		/* commands that there are not */
	u64 answers_done;		/* requests ended so, and so on */
	u64 answers_unsupported;
	u64 answers_busy;
	u64 answers_cancelled;
	u64 answers_failed;
	u64 answers_bitmap;		/* messages with payload, by format */
	u64 answers_records;
	u64 answers_values;
	u64 answers_bytes;		/* of all answers, headers included */
	u64 walk_steps;			/* GET_UNUSED_PAGES: times that a zone's lock was taken */
	u64 walk_steps_late_max;	/* ended after the request's CANCEL, at most */
	u64 walk_pages;			/* named */
	u64 walk_runs;			/* runs of pages found in all steps */
	u64 walk_drained_pages;		/* that were in per-CPU lists at the start */
	u64 walk_drain_ns;		/* time to empty these, which is part of walk_ns */
	u64 walk_ns;			/* time in the worker */
	u64 walk_last_ns;		/* of it, for the last request */
	u64 walk_lock_ns;		/* time with a zone's lock held */
	u64 walk_lock_ns_max;		/* at most in one go */
	u64 walk_last_lock_ns_max;	/* the same, for the last request */
	u64 drop_pages;			/* DROP_CACHE: freed */
	u64 drop_ns;			/* time in the worker */
};

struct vbb_requests {
	struct vbb_balloon *vb;
	struct virtqueue *vq;
	struct workqueue_struct *wq;
	struct delayed_work work;	/* serves the request */

	/* the worker's own, for the request that it serves */
	struct vbb_enc *enc;
	struct vbb_enc_cfg cfg;
	u32 formats;			/* VBB_FMT_*, for pages */
	bool opened;			/* a message was opened for it */
	struct vbb_req_buf *msg;	/* the open one, or NULL */
	struct vbb_seg seg;		/* its memory */
	struct vbb_walk walk;
	u64 walk_ns;
	u64 drop_jiffies;		/* when caches may be dropped again; these do not wrap */

	spinlock_t lock;		/* protects all that follows; taken in interrupts */
	bool running;			/* since ready, until stop, and the device is not broken */
	bool fresh;			/* the worker has not seen the request */
	bool waiting;			/* it waits for a message to come back */
	struct vbb_guest guest;
	struct vbb_req_buf bufs[VBB_REQ_NR_BUFS];
	unsigned int nr_bufs;		/* of them, as many as the queue can hold */
	struct vbb_req_buf *unread[VBB_REQ_NR_EACH];	/* requests, the oldest first */
	unsigned int nr_unread;
	struct vbb_requests_counters counters;
	u64 fault[VBB_NR_FAULTS];	/* the device's, by vbb_err_fault() */
	struct vbb_req_small small[VBB_REQ_NR_BUFS];
};

/* A buffer that may be written, or NULL */
static struct vbb_req_buf *vbb_requests_buf(struct vbb_requests *r, enum vbb_req_kind kind)
{
	unsigned int i;

	for (i = 0; i < r->nr_bufs; i++)
		if (r->bufs[i].kind == kind && !r->bufs[i].busy)
			return &r->bufs[i];
	return NULL;
}

static void vbb_requests_break(struct vbb_requests *r)
{
	if (r->running)
		dev_err(&r->vb->vdev->dev, "the device is broken; its requests are not served\n");
	WRITE_ONCE(r->running, false);
}

/* The queue has room: it can hold all buffers. And one segment takes no memory. */
static void vbb_requests_submit(struct vbb_requests *r, struct vbb_req_buf *buf, size_t len)
{
	struct scatterlist sg;
	int err;

	sg_init_one(&sg, buf->data, len);
	if (buf->kind == VBB_REQ_PARKED)
		err = virtqueue_add_inbuf(r->vq, &sg, 1, buf, GFP_ATOMIC);
	else
		err = virtqueue_add_outbuf(r->vq, &sg, 1, buf, GFP_ATOMIC);
	buf->busy = !err;
	if (err)
		vbb_requests_break(r);
}

static void vbb_requests_count(struct vbb_requests *r, int verdict)
{
	struct vbb_requests_counters *c = &r->counters;

	if (verdict < 0)
		r->fault[vbb_err_fault(verdict)]++;
	else if (verdict == VBB_GUEST_BUSY)
		c->requests_busy++;
	else if (verdict == VBB_GUEST_CANCEL)
		c->requests_cancel++;
	else if (verdict == VBB_GUEST_CANCEL_NONE)
		c->requests_cancel_none++;
	else if (verdict == VBB_GUEST_UNSUPPORTED)
		c->requests_unknown++;
	else if (r->guest.req.cmd == VIRTIO_BALLOON_CMD_DROP_CACHE)
		c->requests_drop_cache++;
	else
		c->requests_unused_pages++;
}

/* Take the oldest request that was not read, and park its buffer anew. */
static void vbb_requests_read(struct vbb_requests *r)
{
	struct vbb_req_buf *buf = r->unread[0];
	struct vbb_seg seg = { .base = buf->data, .len = VBB_REQ_LEN };
	struct vbb_req req;
	int verdict;

	r->nr_unread--;
	memmove(r->unread, r->unread + 1, r->nr_unread * sizeof(*r->unread));
	verdict = vbb_req_load(&req, &seg, 1, buf->used_len);
	vbb_requests_submit(r, buf, VBB_REQ_LEN);
	verdict = vbb_guest_take(&r->guest, &req, verdict);
	vbb_requests_count(r, verdict);
	if (verdict == VBB_GUEST_SERVE)
		r->fresh = true;
	if (verdict == VBB_GUEST_SERVE || verdict == VBB_GUEST_CANCEL)
		mod_delayed_work(r->wq, &r->work, 0);
}

static void vbb_requests_send_end(struct vbb_requests *r, struct vbb_req_buf *buf,
				  const struct vbb_hdr *hdr)
{
	struct vbb_seg seg = { .base = buf->data, .len = VBB_HDR_LEN };
	u64 *const by_flag[] = {
		[VIRTIO_BALLOON_FLAG_DONE] = &r->counters.answers_done,
		[VIRTIO_BALLOON_FLAG_UNSUPPORTED] = &r->counters.answers_unsupported,
		[VIRTIO_BALLOON_FLAG_BUSY] = &r->counters.answers_busy,
		[VIRTIO_BALLOON_FLAG_CANCELLED] = &r->counters.answers_cancelled,
		[VIRTIO_BALLOON_FLAG_FAILED] = &r->counters.answers_failed,
	};
	struct vbb_cur c;

	vbb_cur_init(&c, &seg, 1);
	vbb_hdr_store(hdr, &c);
	vbb_requests_submit(r, buf, VBB_HDR_LEN);
	vbb_guest_end_sent(&r->guest);
	(*by_flag[hdr->flag])++;
	r->counters.answers_bytes += VBB_HDR_LEN;
}

static bool vbb_requests_reap(struct vbb_requests *r)
{
	struct vbb_req_buf *buf;
	bool moved = false;
	unsigned int len;

	while ((buf = virtqueue_get_buf(r->vq, &len))) {
		moved = true;
		buf->busy = false;
		buf->used_len = len;
		if (buf->kind == VBB_REQ_PARKED)
			r->unread[r->nr_unread++] = buf;
		if (buf->kind == VBB_REQ_MSG && r->waiting) {
			r->waiting = false;
			mod_delayed_work(r->wq, &r->work, 0);
		}
	}
	if (virtqueue_is_broken(r->vq))
		vbb_requests_break(r);
	return moved;
}

/* The conversation, as far as it goes now. Returns whether to notify the device. */
static bool vbb_requests_talk(struct vbb_requests *r)
{
	unsigned int nr_rounds = 0;
	struct vbb_req_buf *buf;
	struct vbb_hdr hdr;
	bool moved;

	do {
		moved = vbb_requests_reap(r);
		while ((buf = vbb_requests_buf(r, VBB_REQ_END)) &&
		       vbb_guest_next_end(&r->guest, &hdr)) {
			vbb_requests_send_end(r, buf, &hdr);
			moved = true;
		}
		while (r->nr_unread && vbb_guest_ready(&r->guest)) {
			vbb_requests_read(r);
			moved = true;
		}
	} while (moved && r->running && nr_rounds++ < VBB_REQ_NR_ROUNDS);
	if (moved && r->running)
		mod_delayed_work(r->wq, &r->work, 0);
	return r->running && virtqueue_kick_prepare(r->vq);
}

/**
 * vbb_requests_used() - the queue's callback
 * @vq: the queue
 */
void vbb_requests_used(struct virtqueue *vq)
{
	struct vbb_balloon *vb = vq->vdev->priv;
	struct vbb_requests *r = vb->requests;
	unsigned long flags;
	bool kick = false;

	spin_lock_irqsave(&r->lock, flags);
	if (r->running)
		kick = vbb_requests_talk(r);
	spin_unlock_irqrestore(&r->lock, flags);
	if (kick)
		virtqueue_notify(vq);
}

/**
 * vbb_requests_serving() - is the request to be gone on with?
 * @r: the requests; the worker asks
 *
 * Return: false where it was cancelled, and where nothing is to be served any more.
 */
bool vbb_requests_serving(const struct vbb_requests *r)
{
	return READ_ONCE(r->running) && READ_ONCE(r->guest.state) == VBB_GUEST_SERVING;
}

/* The worker is through with the request. */
static void vbb_requests_end(struct vbb_requests *r, u16 flag)
{
	bool kick = false;

	spin_lock_irq(&r->lock);
	if (r->running) {
		vbb_guest_end(&r->guest, flag);
		kick = vbb_requests_talk(r);
	}
	spin_unlock_irq(&r->lock);
	if (kick)
		virtqueue_notify(r->vq);
}

/* Have a message open. Returns false where all are on their way: the worker is to come back. */
static bool vbb_requests_open(struct vbb_requests *r)
{
	if (r->msg)
		return true;
	spin_lock_irq(&r->lock);
	r->msg = vbb_requests_buf(r, VBB_REQ_MSG);
	r->waiting = !r->msg;
	if (r->msg)
		r->msg->busy = true;
	spin_unlock_irq(&r->lock);
	if (!r->msg)
		return false;
	r->seg.base = r->msg->data;
	r->seg.len = VBB_REQ_MSG_LEN;
	if (r->opened)
		vbb_enc_next(r->enc, &r->seg, 1);
	else
		vbb_enc_init(r->enc, &r->cfg, &r->seg, 1);
	r->opened = true;
	return true;
}

static void vbb_requests_count_msg(struct vbb_requests *r, const struct vbb_msg *msg)
{
	struct vbb_requests_counters *c = &r->counters;

	if (msg->format == VBB_FMT_BITMAP)
		c->answers_bitmap++;
	else if (msg->format == VBB_FMT_RECORDS)
		c->answers_records++;
	else
		c->answers_values++;
	c->answers_bytes += msg->len;
	c->walk_pages += msg->nr_pages;
}

/* Close the open message, if there is one, and send it, if it is still wanted. */
static void vbb_requests_send(struct vbb_requests *r)
{
	struct vbb_req_buf *buf = r->msg;
	struct vbb_msg msg;
	bool kick = false;

	if (!buf)
		return;
	r->msg = NULL;
	vbb_enc_finish(r->enc, VIRTIO_BALLOON_FLAG_CONT, &msg);
	spin_lock_irq(&r->lock);
	buf->busy = false;
	if (msg.len && vbb_requests_serving(r)) {
		vbb_requests_count_msg(r, &msg);
		vbb_requests_submit(r, buf, msg.len);
		kick = r->running && virtqueue_kick_prepare(r->vq);
	}
	spin_unlock_irq(&r->lock);
	if (kick)
		virtqueue_notify(r->vq);
}

static void vbb_requests_count_walk(struct vbb_requests *r)
{
	struct vbb_requests_counters *c = &r->counters;
	const struct vbb_walk *w = &r->walk;

	spin_lock_irq(&r->lock);
	c->walk_ns += r->walk_ns;
	c->walk_last_ns = r->walk_ns;
	c->walk_steps += w->nr_steps;
	c->walk_steps_late_max = max(c->walk_steps_late_max, w->nr_steps_late);
	c->walk_runs += w->nr_runs;
	c->walk_drained_pages += w->nr_drained;
	c->walk_drain_ns += w->drain_ns;
	c->walk_lock_ns += w->lock_ns;
	c->walk_lock_ns_max = max(c->walk_lock_ns_max, w->lock_ns_max);
	c->walk_last_lock_ns_max = w->lock_ns_max;
	spin_unlock_irq(&r->lock);
}

/* Returns false where it is to go on when a message has come back. */
static bool vbb_requests_walk(struct vbb_requests *r)
{
	struct vbb_walk *w = &r->walk;
	int err;

	for (; vbb_requests_serving(r); cond_resched()) {
		if (!vbb_requests_open(r))
			return false;
		if (w->found.pos < w->found.nr_runs) {
			err = vbb_enc_put_runs(r->enc, &w->found);
			if (err == VBB_E_NOSPC)
				vbb_requests_send(r);
			else if (err)
				w->found.pos++;
		} else if (!w->over) {
			vbb_walk_step(w);
			w->nr_steps_late += !vbb_requests_serving(r);
		} else {
			break;
		}
	}
	return true;
}

static void vbb_requests_count_drop(struct vbb_requests *r, u64 nr_freed, u64 ns)
{
	spin_lock_irq(&r->lock);
	r->counters.drop_pages += nr_freed;
	r->counters.drop_ns += ns;
	spin_unlock_irq(&r->lock);
}

/* Returns the flag that ends the request; CONT where the worker is to come back. */
static u16 vbb_requests_drop(struct vbb_requests *r, const struct vbb_req *req)
{
	struct vbb_drop drop = { .requests = r, .limit = U64_MAX };
	u64 begin_ns, now = get_jiffies_64();
	int err;

	if (!vbb_requests_serving(r))
		return VIRTIO_BALLOON_FLAG_CANCELLED;
	if (now < r->drop_jiffies) {
		queue_delayed_work(r->wq, &r->work, r->drop_jiffies - now);
		return VIRTIO_BALLOON_FLAG_CONT;
	}
	if (!vbb_requests_open(r))
		return VIRTIO_BALLOON_FLAG_CONT;
	begin_ns = ktime_get_ns();
	if (req->arg1)
		drop.limit = req->arg1 >> (PAGE_SHIFT - VIRTIO_BALLOON_PAGE_SHIFT_MIN);
	err = vbb_drop(&drop, req->arg0);
	vbb_requests_count_drop(r, drop.nr_freed, ktime_get_ns() - begin_ns);
	r->drop_jiffies = get_jiffies_64() + msecs_to_jiffies(VBB_REQ_DROP_MS);
	if (err)
		return VIRTIO_BALLOON_FLAG_UNSUPPORTED;
	vbb_enc_put_value(r->enc, drop.nr_freed);
	return VIRTIO_BALLOON_FLAG_DONE;
}

/* The same for GET_UNUSED_PAGES */
static u16 vbb_requests_unused_pages(struct vbb_requests *r, const struct vbb_req *req, bool fresh)
{
	u64 begin_ns = ktime_get_ns();
	bool ended;

	if (vbb_free_pages_matter())
		return VIRTIO_BALLOON_FLAG_UNSUPPORTED;
	if (fresh) {
		r->walk_ns = 0;
		vbb_walk_begin(&r->walk, req->arg0, req->arg1);
	}
	ended = vbb_requests_walk(r);
	r->walk_ns += ktime_get_ns() - begin_ns;
	if (!ended)
		return VIRTIO_BALLOON_FLAG_CONT;
	vbb_requests_count_walk(r);
	return VIRTIO_BALLOON_FLAG_DONE;
}

static void vbb_requests_serve(struct vbb_requests *r, const struct vbb_req *req, bool fresh)
{
	bool drop = req->cmd == VIRTIO_BALLOON_CMD_DROP_CACHE;
	u16 flag;

	if (fresh) {
		r->opened = false;
		r->cfg.cmd = req->cmd;
		r->cfg.req_id = req->id;
		r->cfg.formats = drop ? VBB_FMT_VALUES : r->formats;
	}
	flag = drop ? vbb_requests_drop(r, req) : vbb_requests_unused_pages(r, req, fresh);
	if (flag == VIRTIO_BALLOON_FLAG_CONT)
		return;
	/* what is named so far is sent, or no longer wanted */
	vbb_requests_send(r);
	if (!vbb_requests_serving(r))
		flag = VIRTIO_BALLOON_FLAG_CANCELLED;
	vbb_requests_end(r, flag);
}

static void vbb_requests_work(struct work_struct *work)
{
	struct vbb_requests *r = container_of(to_delayed_work(work), struct vbb_requests, work);
	bool fresh = false, open = false, kick = false;
	struct vbb_req req;

	spin_lock_irq(&r->lock);
	if (r->running)
		kick = vbb_requests_talk(r);
	if (r->running && r->guest.state != VBB_GUEST_IDLE) {
		open = true;
		req = r->guest.req;
		fresh = r->fresh;
		r->fresh = false;
	}
	spin_unlock_irq(&r->lock);
	if (kick)
		virtqueue_notify(r->vq);
	if (open)
		vbb_requests_serve(r, &req, fresh);
}

/* All is as with a new device. */
static void vbb_requests_reset(struct vbb_requests *r)
{
	unsigned int i;

	vbb_guest_init(&r->guest);
	r->msg = NULL;
	r->waiting = false;
	r->nr_unread = 0;
	for (i = 0; i < VBB_REQ_NR_BUFS; i++)
		r->bufs[i].busy = false;
}

/* Kinds take turns, so that a short queue has the first of each. */
static int vbb_requests_alloc_bufs(struct vbb_requests *r)
{
	struct vbb_req_buf *buf;
	unsigned int i;

	for (i = 0; i < VBB_REQ_NR_BUFS; i++) {
		buf = &r->bufs[i];
		buf->kind = i % VBB_REQ_NR_KINDS;
		buf->data = r->small[i].data;
		if (buf->kind == VBB_REQ_MSG)
			buf->data = (u8 *)__get_free_pages(GFP_KERNEL, get_order(VBB_REQ_MSG_LEN));
		if (!buf->data)
			return -ENOMEM;
	}
	return 0;
}

static void vbb_requests_free(struct vbb_requests *r)
{
	unsigned int i;

	for (i = 0; i < VBB_REQ_NR_BUFS; i++)
		if (r->bufs[i].kind == VBB_REQ_MSG)
			free_pages((unsigned long)r->bufs[i].data, get_order(VBB_REQ_MSG_LEN));
	if (r->wq)
		destroy_workqueue(r->wq);
	vbb_walk_exit(&r->walk);
	kvfree(r->enc);
	kfree(r);
}

/**
 * vbb_requests_init() - take all memory that host requests ever need
 * @vb: the balloon; features are negotiated
 * @formats: VBB_FMT_*, what answers may use
 *
 * Where the queue was not negotiated this does nothing, nor does any other call.
 *
 * Return: 0 or -ENOMEM.
 */
int vbb_requests_init(struct vbb_balloon *vb, u32 formats)
{
	struct vbb_requests *r;

	if (!__virtio_test_bit(vb->vdev, VIRTIO_BALLOON_F_HOST_REQ_VQ))
		return 0;
	r = kzalloc(sizeof(*r), GFP_KERNEL);
	if (!r)
		return -ENOMEM;
	r->vb = vb;
	r->cfg.page_shift = PAGE_SHIFT;
	r->formats = formats;
	spin_lock_init(&r->lock);
	INIT_DELAYED_WORK(&r->work, vbb_requests_work);
	/* one of its own, as to drop caches can take long */
	r->wq = alloc_workqueue("vbb-req-%s", WQ_UNBOUND | WQ_FREEZABLE | WQ_MEM_RECLAIM, 1,
				dev_name(&vb->vdev->dev));
	r->enc = kvzalloc(sizeof(*r->enc), GFP_KERNEL);
	if (!r->wq || !r->enc || vbb_walk_init(&r->walk) || vbb_requests_alloc_bufs(r)) {
		vbb_requests_free(r);
		return -ENOMEM;
	}
	vb->requests = r;
	return 0;
}

/**
 * vbb_requests_start() - park buffers in a queue that is new
 * @vb: the balloon; its queues are found, and the device is not ready yet
 *
 * Return: 0; -EINVAL where the queue is too short.
 */
int vbb_requests_start(struct vbb_balloon *vb)
{
	struct vbb_requests *r = vb->requests;
	unsigned int i;

	if (!r)
		return 0;
	r->vq = vb->vqs[VBB_VQ_REQUEST];
	r->nr_bufs = min_t(unsigned int, virtqueue_get_vring_size(r->vq), VBB_REQ_NR_BUFS);
	if (r->nr_bufs < VBB_REQ_NR_BUFS_MIN)
		return -EINVAL;
	spin_lock_irq(&r->lock);
	vbb_requests_reset(r);
	for (i = 0; i < r->nr_bufs; i++)
		if (r->bufs[i].kind == VBB_REQ_PARKED)
			vbb_requests_submit(r, &r->bufs[i], VBB_REQ_LEN);
	spin_unlock_irq(&r->lock);
	return 0;
}

/**
 * vbb_requests_ready() - requests are served from now on
 * @vb: the balloon; the device is ready
 */
void vbb_requests_ready(struct vbb_balloon *vb)
{
	struct vbb_requests *r = vb->requests;
	bool kick;

	if (!r)
		return;
	spin_lock_irq(&r->lock);
	WRITE_ONCE(r->running, true);
	/* nobody listened so far, and the device may have asked */
	kick = vbb_requests_talk(r);
	spin_unlock_irq(&r->lock);
	if (kick)
		virtqueue_notify(r->vq);
}

/**
 * vbb_requests_stop() - requests are not served any more
 * @vb: the balloon; its device is about to be reset, which ends all that are open
 *
 * Does not wait for the device, but for a step of the worker.
 */
void vbb_requests_stop(struct vbb_balloon *vb)
{
	struct vbb_requests *r = vb->requests;

	if (!r)
		return;
	spin_lock_irq(&r->lock);
	WRITE_ONCE(r->running, false);
	spin_unlock_irq(&r->lock);
	cancel_delayed_work_sync(&r->work);
}

/**
 * vbb_requests_exit() - give all memory back
 * @vb: the balloon; requests are not served, and its queues are gone
 */
void vbb_requests_exit(struct vbb_balloon *vb)
{
	if (vb->requests)
		vbb_requests_free(vb->requests);
	vb->requests = NULL;
}

#define VBB_COUNTER(field) { #field, offsetof(struct vbb_requests_counters, field) }

static const struct vbb_counter vbb_requests_table[] = {
	VBB_COUNTER(requests_unused_pages),
	VBB_COUNTER(requests_drop_cache),
	VBB_COUNTER(requests_cancel),
	VBB_COUNTER(requests_cancel_none),
	VBB_COUNTER(requests_busy),
	VBB_COUNTER(requests_unknown),
	VBB_COUNTER(answers_done),
	VBB_COUNTER(answers_unsupported),
	VBB_COUNTER(answers_busy),
	VBB_COUNTER(answers_cancelled),
	VBB_COUNTER(answers_failed),
	VBB_COUNTER(answers_bitmap),
	VBB_COUNTER(answers_records),
	VBB_COUNTER(answers_values),
	VBB_COUNTER(answers_bytes),
	VBB_COUNTER(walk_steps),
	VBB_COUNTER(walk_steps_late_max),
	VBB_COUNTER(walk_pages),
	VBB_COUNTER(walk_runs),
	VBB_COUNTER(walk_drained_pages),
	VBB_COUNTER(walk_drain_ns),
	VBB_COUNTER(walk_ns),
	VBB_COUNTER(walk_last_ns),
	VBB_COUNTER(walk_lock_ns),
	VBB_COUNTER(walk_lock_ns_max),
	VBB_COUNTER(walk_last_lock_ns_max),
	VBB_COUNTER(drop_pages),
	VBB_COUNTER(drop_ns),
};

/**
 * vbb_requests_show() - the counters, a name and a number a line
 * @m: where to
 * @vb: the balloon
 */
void vbb_requests_show(struct seq_file *m, struct vbb_balloon *vb)
{
	struct vbb_requests *r = vb->requests;

	if (!r)
		return;
	spin_lock_irq(&r->lock);
	vbb_counters_print(m, vbb_requests_table, ARRAY_SIZE(vbb_requests_table), &r->counters);
	vbb_faults_print(m, "request_fault_", r->fault);
	spin_unlock_irq(&r->lock);
}
