// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause
/*
 * The host_request queue: requests go out, answers come in, and the pages they name go to a file.
 * Nothing is discarded because of an answer. This device keeps no log of writes, so that no answer
 * can outlive a collection of it.
 */
#include "device.h"

#include <errno.h>
#include <string.h>
#include <time.h>

#define PAGE_SHIFT	12

/* How long a guest that was told to stop may take */
#define GRACE_NS	1000000000

/* No answer may keep control waiting. */
#define DECODE_STEPS	1024
#define STEPS_PER_LOOK	64	/* at the clock */
#define WORK_NS		2000000

static unsigned int vq_index(const struct vbb_device *d)
{
	return (unsigned int)d->vq[VBB_DEVICE_REQUESTS];
}

/* Requests */

/* Uses one of the parked buffers, of which there is one. */
static int send(struct vbb_device *d, const struct vbb_req *req)
{
	struct vbb_device_requests *r = &d->requests;
	const struct vbb_chain *chain = &r->parked[--r->nr_parked].chain;
	int err;

	err = vbb_req_store(req, chain->seg, chain->nr_in);
	if (err > 0)
		err = vbb_transport_done(&d->vhu.transport, vq_index(d), chain, (vbb_u64)err);
	if (err) {
		vbb_host_close(&r->host, req->id);
		return err;
	}
	vbb_transport_kick(&d->vhu.transport, vq_index(d));
	d->counts.host_requests++;
	return 0;
}

static void send_cancel(struct vbb_device *d)
{
	struct vbb_device_requests *r = &d->requests;
	struct vbb_req req;

	if (!r->cancel || !r->nr_parked)
		return;
	r->cancel = false;
	/* one of an earlier request, which was never answered */
	if (r->host.cancel.state != VBB_HOST_CLOSED)
		vbb_host_close(&r->host, r->host.cancel.id);
	if (!vbb_host_cancel(&r->host, &req))
		send(d, &req);
}

static void request_end(struct vbb_device *d)
{
	struct vbb_device_requests *r = &d->requests;

	vbb_host_close(&r->host, r->req.id);
	vbb_sink_close(&r->req.sink);
	r->req.phase = VBB_DEVICE_ENDED;
	r->req.ended_ns = vbb_device_now_ns();
	r->cancel = false;
	r->blocked = false;
}

/* Nobody wants its answers any longer. A guest that is still at work is told to stop. */
static void request_stop(struct vbb_device *d, const char *status, const char *error)
{
	struct vbb_device_requests *r = &d->requests;

	r->req.status = status;
	r->req.error = error;
	if (r->host.work.state == VBB_HOST_CLOSED) {
		request_end(d);
		return;
	}
	vbb_sink_close(&r->req.sink);
	r->req.phase = VBB_DEVICE_STOPPING;
	r->req.limit_ns = vbb_device_now_ns() + GRACE_NS;
	r->blocked = false;
	r->cancel = true;
	send_cancel(d);
}

/* The guest has ended it; what waits for the file is all that is left. */
static void request_write(struct vbb_device *d)
{
	struct vbb_device_requests *r = &d->requests;
	int err = vbb_sink_flush(&r->req.sink);

	r->blocked = err == -EAGAIN;
	if (r->blocked)
		return;
	if (err) {
		r->req.status = "error";
		r->req.error = strerror(-err);
	}
	request_end(d);
}

static void request_look_at_time(struct vbb_device *d)
{
	const struct vbb_device_request *req = &d->requests.req;

	if (vbb_device_requests_wait_ns(d))
		return;
	if (req->phase == VBB_DEVICE_STOPPING)
		request_end(d);
	else
		request_stop(d, "timeout", d->requests.blocked ? "The runs are not read" : NULL);
}

int vbb_device_requests_ready(const struct vbb_device *d)
{
	if (d->requests.req.phase != VBB_DEVICE_IDLE)
		return VBB_E_AGAIN;
	if (!(d->vhu.features >> VIRTIO_BALLOON_F_HOST_REQ_VQ & 1))
		return VBB_E_STATE;
	return d->requests.nr_parked ? 0 : VBB_E_NOSPC;
}

int vbb_device_requests_open(struct vbb_device *d, vbb_u16 cmd, vbb_u64 arg0, vbb_u64 arg1,
			     vbb_u64 timeout_ns, int fd)
{
	struct vbb_device_requests *r = &d->requests;
	vbb_u64 now_ns = vbb_device_now_ns();
	struct vbb_req req;
	size_t i;
	int err;

	err = vbb_device_requests_ready(d);
	if (err)
		return err;
	if (vbb_sink_init(&r->req.sink, fd))
		err = VBB_E_INVAL;
	if (!err)
		err = vbb_host_open(&r->host, cmd, arg0, arg1, &req);
	if (!err)
		err = send(d, &req);
	if (err) {
		r->req.sink.fd = -1;
		return err;
	}
	r->req.phase = VBB_DEVICE_ASKED;
	r->req.id = req.id;
	r->req.cmd = cmd;
	r->req.status = NULL;
	r->req.error = NULL;
	r->req.asked_ns = now_ns;
	r->req.answered_ns = 0;
	r->req.ended_ns = 0;
	r->req.limit_ns = now_ns + timeout_ns;
	r->req.nr_answers = 0;
	r->req.len = 0;
	r->req.nr_freed = 0;
	for (i = 0; i < d->vhu.nr_regions; i++)
		vbb_sink_ram(&r->req.sink,
			     &(struct vbb_range){ d->vhu.region[i].gpa >> PAGE_SHIFT,
						  d->vhu.region[i].len >> PAGE_SHIFT });
	return 0;
}

int vbb_device_requests_cancel(struct vbb_device *d, vbb_u64 id)
{
	const struct vbb_device_request *req = &d->requests.req;

	if (req->id != id || (req->phase != VBB_DEVICE_ASKED && req->phase != VBB_DEVICE_WRITING))
		return VBB_E_STATE;
	request_stop(d, "cancelled", NULL);
	return 0;
}

/* Answers */

static const char *status_of(vbb_u16 flag)
{
	static const char *const names[] = {
		[VIRTIO_BALLOON_FLAG_DONE] = "done",
		[VIRTIO_BALLOON_FLAG_UNSUPPORTED] = "unsupported",
		[VIRTIO_BALLOON_FLAG_BUSY] = "busy",
		[VIRTIO_BALLOON_FLAG_CANCELLED] = "cancelled",
		[VIRTIO_BALLOON_FLAG_FAILED] = "failed",
	};

	return names[flag];
}

/* The answer is over: err is 0, or what is wrong with it. */
static void answer_end(struct vbb_device *d, int err)
{
	struct vbb_device_requests *r = &d->requests;

	r->busy = false;
	vbb_device_fault(d, err);
	vbb_device_fault(d, vbb_transport_done(&d->vhu.transport, vq_index(d), &r->chain, 0));
	vbb_transport_kick(&d->vhu.transport, vq_index(d));
	if (!r->ends || r->req.phase != VBB_DEVICE_ASKED)
		return;
	r->req.phase = VBB_DEVICE_WRITING;
	request_write(d);
}

/* An answer of the newest request; it may be one that nobody wants any longer. */
static void answer_note(struct vbb_device *d, int verdict)
{
	struct vbb_device_requests *r = &d->requests;

	r->req.nr_answers++;
	r->req.len += vbb_segs_len(r->chain.seg, r->chain.nr_out);
	if (!(verdict & VBB_HOST_END))
		return;
	r->req.answered_ns = vbb_device_now_ns();
	if (r->req.phase == VBB_DEVICE_STOPPING) {
		request_end(d);
		return;
	}
	r->req.status = status_of(r->dec.hdr.flag);
	r->ends = true;
}

static void answer_begin(struct vbb_device *d)
{
	struct vbb_device_requests *r = &d->requests;
	const struct vbb_dec_cfg cfg = {
		.queue = VBB_QUEUE_HOST_REQUEST,
		.records = d->vhu.features >> VIRTIO_BALLOON_F_PAGE_RECORDS & 1,
	};
	int err;

	r->busy = true;
	r->ends = false;
	d->counts.answer_bytes += vbb_segs_len(r->chain.seg, r->chain.nr_out);
	err = vbb_dec_init(&r->dec, &cfg, r->chain.seg, r->chain.nr_out);
	if (!err) {
		d->counts.answers++;
		err = vbb_host_accept(&r->host, &r->dec.hdr);
	}
	if (!err)
		d->counts.answers_unwanted++;
	if (err >= 0 && r->dec.hdr.req_id == r->req.id)
		answer_note(d, err);
	if (err <= 0 || !(err & VBB_HOST_APPLY))
		answer_end(d, err < 0 ? err : 0);
}

static void run_put(struct vbb_device_requests *r, const struct vbb_range *run)
{
	unsigned int shift = r->dec.hdr.page_shift - PAGE_SHIFT;

	vbb_sink_put(&r->req.sink,
		     &(struct vbb_range){ run->pfn << shift, run->nr_pages << shift });
}

/* A bounded step on the answer. */
static void answer_step(struct vbb_device *d)
{
	struct vbb_device_requests *r = &d->requests;
	struct vbb_range run;
	vbb_u64 value;
	int err;

	if (!vbb_host_may_apply(&r->host)) {
		answer_end(d, 0);
		return;
	}
	err = vbb_sink_room(&r->req.sink);
	r->blocked = err == -EAGAIN;
	if (r->blocked)
		return;
	if (err) {
		request_stop(d, "error", strerror(-err));
		return;
	}
	vbb_dec_set_budget(&r->dec, DECODE_STEPS);
	if (r->dec.hdr.format == VIRTIO_BALLOON_FORMAT_VALUES) {
		err = vbb_dec_next_value(&r->dec, &value);
		if (err > 0)
			r->req.nr_freed += value;
	} else {
		err = vbb_dec_next(&r->dec, &run);
		if (err > 0)
			run_put(r, &run);
	}
	if (err > 0 || err == VBB_E_BUDGET)
		return;
	if (err)
		request_stop(d, "error", vbb_strerror(err));
	answer_end(d, err);
}

/* The queue */

/* The driver parked a buffer. Those that find no place here stay with us until there is a reset. */
static void park(struct vbb_device *d)
{
	struct vbb_device_requests *r = &d->requests;
	struct vbb_device_parked *p = &r->parked[r->nr_parked];

	if (vbb_segs_len(r->chain.seg, r->chain.nr_in) < VBB_REQ_LEN) {
		answer_end(d, VBB_E_SHORT);
		return;
	}
	if (r->nr_parked == VBB_DEVICE_NR_PARKED)
		return;
	p->chain = r->chain;
	p->chain.seg = p->seg;
	/* none is empty: so many take a request */
	if (p->chain.nr_in > VBB_REQ_LEN)
		p->chain.nr_in = VBB_REQ_LEN;
	memcpy(p->seg, r->seg, p->chain.nr_in * sizeof(p->seg[0]));
	r->nr_parked++;
	send_cancel(d);
}

/* Takes what comes next. Returns false where there is nothing. */
static bool take(struct vbb_device *d)
{
	struct vbb_device_requests *r = &d->requests;
	int err;

	err = vbb_transport_recv(&d->vhu.transport, vq_index(d), &r->chain);
	if (!err && r->chain.nr_out) {
		answer_begin(d);
	} else if (!err) {
		r->ends = false;
		park(d);
	} else if (vbb_vhu_pending(&d->vhu, vq_index(d))) {
		/* the ring gave it back by itself */
		vbb_device_fault(d, err);
		vbb_transport_kick(&d->vhu.transport, vq_index(d));
	} else {
		return false;
	}
	return true;
}

bool vbb_device_requests_work(struct vbb_device *d)
{
	struct vbb_device_requests *r = &d->requests;
	vbb_u64 end_ns = vbb_device_now_ns() + WORK_NS;
	int i;

	request_look_at_time(d);
	if (r->req.phase == VBB_DEVICE_WRITING)
		request_write(d);
	do {
		for (i = 0; i < STEPS_PER_LOOK; i++) {
			if (!r->busy && (!vbb_vhu_pending(&d->vhu, vq_index(d)) || !take(d)))
				return false;
			if (r->busy)
				answer_step(d);
			if (r->busy && r->blocked)
				return false;
		}
	} while (vbb_device_now_ns() < end_ns);
	return true;
}

vbb_u64 vbb_device_requests_wait_ns(const struct vbb_device *d)
{
	const struct vbb_device_request *req = &d->requests.req;
	vbb_u64 now_ns = vbb_device_now_ns();

	if (req->phase == VBB_DEVICE_IDLE || req->phase == VBB_DEVICE_ENDED)
		return ~(vbb_u64)0;
	return now_ns < req->limit_ns ? req->limit_ns - now_ns : 0;
}

int vbb_device_requests_fd(const struct vbb_device *d)
{
	return d->requests.blocked ? d->requests.req.sink.fd : -1;
}

void vbb_device_requests_stopping(struct vbb_device *d)
{
	struct vbb_device_requests *r = &d->requests;
	bool parked = r->nr_parked;

	if (r->busy) {
		if (vbb_host_may_apply(&r->host))
			request_stop(d, "error", "The queue was stopped in the middle of an answer");
		answer_end(d, 0);
	}
	/* unused: a driver parks them anew */
	while (r->nr_parked)
		vbb_transport_done(&d->vhu.transport, vq_index(d), &r->parked[--r->nr_parked].chain,
				   0);
	if (parked)
		vbb_transport_kick(&d->vhu.transport, vq_index(d));
}

void vbb_device_requests_stopped(struct vbb_device *d)
{
	d->requests.nr_parked = 0;
	d->requests.busy = false;
}

void vbb_device_requests_reset(struct vbb_device *d)
{
	struct vbb_device_requests *r = &d->requests;

	vbb_host_reset(&r->host);
	if (r->req.phase == VBB_DEVICE_ASKED)
		request_stop(d, "reset", NULL);
	else if (r->req.phase == VBB_DEVICE_STOPPING)
		request_end(d);
}

void vbb_device_requests_init(struct vbb_device *d)
{
	struct vbb_device_requests *r = &d->requests;
	struct timespec ts;

	r->chain.seg = r->seg;
	r->chain.max_segs = VBB_VHU_NR_SEGS;
	r->req.sink.fd = -1;
	/* no device before had this id: none of them made a request a microsecond */
	clock_gettime(CLOCK_REALTIME, &ts);
	vbb_host_init(&r->host, (vbb_u64)ts.tv_sec * 1000000 + (vbb_u64)ts.tv_nsec / 1000);
}
