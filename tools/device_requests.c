// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause
/*
 * The host_request queue: requests go out, answers come in, and the pages they name go to a file.
 * Nothing is discarded because of an answer. This device keeps no log of writes, so that no answer
 * can outlive a collection of it.
 */
#include "device.h"

#include <errno.h>
#include <string.h>
#include <sys/random.h>

#define PAGE_SHIFT	12

/* How long a guest that was told to stop may take */
#define GRACE_NS	1000000000

static unsigned int vq_index(const struct vbb_device *d)
{
	return d->queue[VBB_DEVICE_REQUESTS].index;
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
		err = vbb_transport_done(d->transport, vq_index(d), chain, (vbb_u64)err);
	if (err) {
		vbb_host_close(&r->host, req->id);
		return err;
	}
	vbb_transport_kick(d->transport, vq_index(d));
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

	vbb_host_close(&r->host, r->id);
	r->cancel = false;
	vbb_device_job_end(&r->job);
}

/* Nobody wants its answers any longer. A guest that is still at work is told to stop. */
static void request_stop(struct vbb_device *d, const char *status, const char *error)
{
	struct vbb_device_requests *r = &d->requests;

	vbb_device_job_give_up(&r->job, status, error);
	if (r->host.work.state == VBB_HOST_CLOSED) {
		request_end(d);
		return;
	}
	r->job.phase = VBB_DEVICE_STOPPING;
	r->job.limit_ns = vbb_now_ns() + GRACE_NS;
	r->cancel = true;
	send_cancel(d);
}

void vbb_device_requests_look(struct vbb_device *d)
{
	struct vbb_device_job *job = &d->requests.job;

	vbb_device_job_write(job);
	if (vbb_device_job_wait_ns(job))
		return;
	if (job->phase == VBB_DEVICE_STOPPING)
		request_end(d);
	else
		request_stop(d, "timeout", job->blocked ? "The pages are not read" : NULL);
}

int vbb_device_requests_ready(const struct vbb_device *d)
{
	if (d->requests.job.phase != VBB_DEVICE_IDLE)
		return VBB_E_AGAIN;
	if (!vbb_device_has(d, VIRTIO_BALLOON_F_HOST_REQ_VQ))
		return VBB_E_STATE;
	return d->requests.nr_parked ? 0 : VBB_E_NOSPC;
}

int vbb_device_requests_open(struct vbb_device *d, vbb_u16 cmd, vbb_u64 arg0, vbb_u64 arg1,
			     vbb_u64 timeout_ns, int fd)
{
	struct vbb_device_requests *r = &d->requests;
	struct vbb_req req;
	int err;

	err = vbb_device_requests_ready(d);
	if (!err)
		err = vbb_device_job_begin(d, &r->job, timeout_ns, fd);
	if (err)
		return err;
	err = vbb_host_open(&r->host, cmd, arg0, arg1, &req);
	if (!err)
		err = send(d, &req);
	if (err) {
		/* the caller's again */
		r->job.sink.fd = -1;
		r->job.phase = VBB_DEVICE_IDLE;
		return err;
	}
	r->id = req.id;
	r->cmd = cmd;
	r->answered_ns = 0;
	r->nr_answers = 0;
	r->len = 0;
	r->nr_freed = 0;
	return 0;
}

int vbb_device_requests_cancel(struct vbb_device *d, vbb_u64 id)
{
	const struct vbb_device_requests *r = &d->requests;

	if (r->id != id ||
	    (r->job.phase != VBB_DEVICE_ASKED && r->job.phase != VBB_DEVICE_WRITING))
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

	vbb_device_done(d, VBB_DEVICE_REQUESTS, err, 0);
	if (!r->ends || r->job.phase != VBB_DEVICE_ASKED)
		return;
	r->job.phase = VBB_DEVICE_WRITING;
	vbb_device_job_write(&r->job);
}

/* An answer to the newest request; it may be one that nobody wants any longer. */
static void answer_note(struct vbb_device *d, vbb_u64 len, int verdict)
{
	struct vbb_device_requests *r = &d->requests;

	r->nr_answers++;
	r->len += len;
	if (!(verdict & VBB_HOST_END))
		return;
	r->answered_ns = vbb_now_ns();
	if (r->job.phase == VBB_DEVICE_STOPPING) {
		request_end(d);
		return;
	}
	r->job.status = status_of(r->dec.hdr.flag);
	r->ends = true;
}

static void answer_begin(struct vbb_device *d, const struct vbb_chain *chain)
{
	struct vbb_device_requests *r = &d->requests;
	const struct vbb_dec_cfg cfg = {
		.queue = VBB_QUEUE_HOST_REQUEST,
		.records = vbb_device_has(d, VIRTIO_BALLOON_F_PAGE_RECORDS),
	};
	vbb_u64 len = vbb_segs_len(chain->seg, chain->nr_out);
	int err;

	d->counts.answer_bytes += len;
	err = vbb_dec_init(&r->dec, &cfg, chain->seg, chain->nr_out);
	if (!err) {
		d->counts.answers++;
		err = vbb_host_accept(&r->host, &r->dec.hdr);
	}
	if (!err)
		d->counts.answers_unwanted++;
	if (err >= 0 && r->dec.hdr.req_id == r->id)
		answer_note(d, len, err);
	if (err > 0 && err & VBB_HOST_APPLY)
		d->queue[VBB_DEVICE_REQUESTS].busy = true;
	else
		answer_end(d, err < 0 ? err : 0);
}

static void run_put(struct vbb_device_requests *r, const struct vbb_range *run)
{
	unsigned int shift = r->dec.hdr.page_shift - PAGE_SHIFT;

	vbb_sink_put(&r->job.sink,
		     &(struct vbb_range){ run->pfn << shift, run->nr_pages << shift });
}

/* Applies what comes next of the answer. Returns as vbb_dec_next(). */
static int answer_apply(struct vbb_device_requests *r)
{
	struct vbb_range run;
	vbb_u64 value;
	int err;

	vbb_dec_set_budget(&r->dec, VBB_DEVICE_DECODE_STEPS);
	if (r->dec.hdr.format == VIRTIO_BALLOON_FORMAT_VALUES) {
		err = vbb_dec_next_value(&r->dec, &value);
		if (err > 0)
			r->nr_freed += value;
	} else {
		err = vbb_dec_next(&r->dec, &run);
		if (err > 0)
			run_put(r, &run);
	}
	return err;
}

vbb_u64 vbb_device_requests_step(struct vbb_device *d, enum vbb_device_vq vq)
{
	struct vbb_device_requests *r = &d->requests;
	int err;

	d->queue[vq].blocked = false;
	if (!vbb_host_may_apply(&r->host)) {
		answer_end(d, 0);
		return 0;
	}
	err = vbb_device_job_room(&r->job);
	if (err == -EAGAIN) {
		d->queue[vq].blocked = true;
	} else if (err) {
		request_stop(d, "error", strerror(-err));
	} else {
		err = answer_apply(r);
		if (err > 0 || err == VBB_E_BUDGET)
			return 0;
		if (err)
			request_stop(d, "error", vbb_strerror(err));
		answer_end(d, err);
	}
	return 0;
}

/* The queue */

/* The driver parked a buffer. Of those that find no place here enough is kept to give them back. */
static void park(struct vbb_device *d, const struct vbb_chain *chain)
{
	struct vbb_device_requests *r = &d->requests;
	struct vbb_device_parked *p = &r->parked[r->nr_parked];

	if (r->nr_parked == VBB_DEVICE_NR_PARKED) {
		r->spare[r->nr_spare++] = chain->cookie;
		return;
	}
	p->chain = *chain;
	p->chain.seg = p->seg;
	/* none is empty: so many take a request */
	if (p->chain.nr_in > VBB_REQ_LEN)
		p->chain.nr_in = VBB_REQ_LEN;
	memcpy(p->seg, chain->seg, p->chain.nr_in * sizeof(p->seg[0]));
	r->nr_parked++;
	send_cancel(d);
}

void vbb_device_requests_begin(struct vbb_device *d, enum vbb_device_vq vq)
{
	const struct vbb_chain *chain = &d->queue[vq].chain;

	d->requests.ends = false;
	if (chain->nr_out)
		answer_begin(d, chain);
	else if (vbb_segs_len(chain->seg, chain->nr_in) < VBB_REQ_LEN)
		vbb_device_done(d, vq, VBB_E_SHORT, 0);
	else
		park(d, chain);
}

void vbb_device_requests_stopping(struct vbb_device *d)
{
	struct vbb_device_requests *r = &d->requests;
	bool parked = r->nr_parked || r->nr_spare;
	struct vbb_chain spare = { .seg = r->parked[0].seg };

	if (d->queue[VBB_DEVICE_REQUESTS].busy) {
		if (vbb_host_may_apply(&r->host))
			request_stop(d, "error", "Stopped in the middle of an answer");
		answer_end(d, 0);
	}
	/* unused: a driver parks them anew */
	while (r->nr_parked)
		vbb_transport_done(d->transport, vq_index(d), &r->parked[--r->nr_parked].chain,
				   0);
	while (r->nr_spare) {
		spare.cookie = r->spare[--r->nr_spare];
		vbb_transport_done(d->transport, vq_index(d), &spare, 0);
	}
	if (parked)
		vbb_transport_kick(d->transport, vq_index(d));
}

void vbb_device_requests_stopped(struct vbb_device *d)
{
	d->requests.nr_parked = 0;
	d->requests.nr_spare = 0;
}

void vbb_device_requests_reset(struct vbb_device *d)
{
	struct vbb_device_requests *r = &d->requests;

	vbb_host_reset(&r->host);
	if (r->job.phase == VBB_DEVICE_ASKED)
		request_stop(d, "reset", NULL);
	else if (r->job.phase == VBB_DEVICE_STOPPING)
		request_end(d);
}

int vbb_device_requests_init(struct vbb_device *d)
{
	vbb_u64 id;

	/*
	 * No device before had this id, nor one soon to come: 52 bits of chance see to that, which
	 * no clock does that can be set back. More of them would not survive every reader of JSON.
	 */
	if (getrandom(&id, sizeof(id), 0) != sizeof(id))
		return VBB_E_BROKEN;
	vbb_host_init(&d->requests.host, id >> 12);
	return 0;
}
