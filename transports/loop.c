// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause
#define _GNU_SOURCE

#include "loop.h"

#include "deadline.h"
#include "pack.h"

static struct vbb_loop_end *loop_end(struct vbb_transport *t)
{
	return (struct vbb_loop_end *)t;
}

static struct vbb_loop_msg *loop_take(struct vbb_fifo *f)
{
	return (struct vbb_loop_msg *)vbb_fifo_take(f);
}

static int loop_send(struct vbb_transport *t, unsigned int queue, const struct vbb_seg *out,
		     size_t nr_out, const struct vbb_seg *in, size_t nr_in, void *token)
{
	struct vbb_loop_end *e = loop_end(t);
	struct vbb_loop *l = e->loop;
	struct vbb_loop_queue *q;
	struct vbb_loop_msg *msg;
	size_t nr_segs = vbb_segs_pack(NULL, out, nr_out) + vbb_segs_pack(NULL, in, nr_in);
	int err = 0;

	if (queue >= l->cfg.nr_queues || !nr_segs || nr_segs > l->cfg.max_segs)
		return VBB_E_INVAL;
	q = &e->out[queue];
	pthread_mutex_lock(&l->lock);
	if (l->closed) {
		err = VBB_E_CLOSED;
	} else if (!q->free.first) {
		err = VBB_E_NOSPC;
	} else {
		msg = loop_take(&q->free);
		msg->token = token;
		msg->nr_out = vbb_segs_pack(msg->seg, out, nr_out);
		msg->nr_in = vbb_segs_pack(msg->seg + msg->nr_out, in, nr_in);
		vbb_fifo_put(&q->sent, &msg->link);
	}
	pthread_mutex_unlock(&l->lock);
	return err;
}

static int loop_none(const struct vbb_loop *l)
{
	return l->closed ? VBB_E_CLOSED : VBB_E_AGAIN;
}

static int loop_reap(struct vbb_transport *t, unsigned int queue, void **token, vbb_u64 *len)
{
	struct vbb_loop_end *e = loop_end(t);
	struct vbb_loop *l = e->loop;
	struct vbb_loop_queue *q;
	struct vbb_loop_msg *msg;
	int err = 0;

	if (queue >= l->cfg.nr_queues)
		return VBB_E_INVAL;
	q = &e->out[queue];
	pthread_mutex_lock(&l->lock);
	if (!q->done.first) {
		err = loop_none(l);
	} else {
		msg = loop_take(&q->done);
		*token = msg->token;
		*len = msg->written;
		vbb_fifo_put(&q->free, &msg->link);
	}
	pthread_mutex_unlock(&l->lock);
	return err;
}

static int loop_recv(struct vbb_transport *t, unsigned int queue, struct vbb_chain *chain)
{
	struct vbb_loop_end *e = loop_end(t);
	struct vbb_loop *l = e->loop;
	struct vbb_loop_queue *q;
	struct vbb_loop_msg *msg;
	int err = 0;

	if (queue >= l->cfg.nr_queues)
		return VBB_E_INVAL;
	q = &e->in[queue];
	pthread_mutex_lock(&l->lock);
	msg = (struct vbb_loop_msg *)q->sent.first;
	if (!msg) {
		err = loop_none(l);
	} else if (msg->nr_out + msg->nr_in > chain->max_segs) {
		err = VBB_E_TOOSMALL;
	} else {
		loop_take(&q->sent);
		vbb_segs_pack(chain->seg, msg->seg, msg->nr_out + msg->nr_in);
		chain->nr_out = msg->nr_out;
		chain->nr_in = msg->nr_in;
		chain->cookie = msg->id;
		msg->lent = true;
	}
	pthread_mutex_unlock(&l->lock);
	return err;
}

static int loop_done(struct vbb_transport *t, unsigned int queue, const struct vbb_chain *chain,
		     vbb_u64 written)
{
	struct vbb_loop_end *e = loop_end(t);
	struct vbb_loop *l = e->loop;
	struct vbb_loop_queue *q;
	struct vbb_loop_msg *msg;
	int err = 0;

	if (queue >= l->cfg.nr_queues || chain->cookie >= l->cfg.nr_msgs)
		return VBB_E_INVAL;
	q = &e->in[queue];
	pthread_mutex_lock(&l->lock);
	msg = &q->msg[chain->cookie];
	if (l->closed) {
		err = VBB_E_CLOSED;
	} else if (!msg->lent || written > vbb_segs_len(msg->seg + msg->nr_out, msg->nr_in)) {
		err = VBB_E_INVAL;
	} else {
		msg->lent = false;
		msg->written = written;
		vbb_fifo_put(&q->done, &msg->link);
	}
	pthread_mutex_unlock(&l->lock);
	return err;
}

static int loop_kick(struct vbb_transport *t, unsigned int queue)
{
	struct vbb_loop *l = loop_end(t)->loop;
	int err;

	if (queue >= l->cfg.nr_queues)
		return VBB_E_INVAL;
	pthread_mutex_lock(&l->lock);
	pthread_cond_broadcast(&l->kicked);
	err = l->closed ? VBB_E_CLOSED : 0;
	pthread_mutex_unlock(&l->lock);
	return err;
}

static bool loop_ready(const struct vbb_loop_end *e)
{
	unsigned int i;

	for (i = 0; i < e->loop->cfg.nr_queues; i++)
		if (e->out[i].done.first || e->in[i].sent.first)
			return true;
	return false;
}

static int loop_wait(struct vbb_transport *t, vbb_u64 timeout_ns)
{
	struct timespec end = vbb_timespec(vbb_deadline(timeout_ns));
	struct vbb_loop_end *e = loop_end(t);
	struct vbb_loop *l = e->loop;
	bool ready;
	int err = 0;

	pthread_mutex_lock(&l->lock);
	ready = loop_ready(e);
	while (!ready && !l->closed && !err) {
		/* any error ends the sleep; the usual one is the time */
		err = pthread_cond_timedwait(&l->kicked, &l->lock, &end);
		ready = loop_ready(e);
	}
	err = ready ? 0 : loop_none(l);
	pthread_mutex_unlock(&l->lock);
	return err;
}

static const struct vbb_transport_ops loop_ops = {
	.size = sizeof(loop_ops),
	.send = loop_send,
	.reap = loop_reap,
	.recv = loop_recv,
	.done = loop_done,
	.kick = loop_kick,
	.wait = loop_wait,
};

void vbb_loop_init(struct vbb_loop *l, const struct vbb_loop_cfg *cfg)
{
	struct vbb_loop_queue *q;
	struct vbb_loop_msg *msg = cfg->msg;
	struct vbb_seg *seg = cfg->seg;
	pthread_condattr_t attr;
	unsigned int i;
	size_t j;

	l->cfg = *cfg;
	l->closed = false;
	for (i = 0; i < 2; i++) {
		l->end[i].t.ops = &loop_ops;
		l->end[i].loop = l;
		l->end[i].out = cfg->queue + i * cfg->nr_queues;
		l->end[i].in = cfg->queue + (1 - i) * cfg->nr_queues;
	}
	for (i = 0; i < 2 * cfg->nr_queues; i++) {
		q = &cfg->queue[i];
		*q = (struct vbb_loop_queue){ .msg = msg };
		for (j = 0; j < cfg->nr_msgs; j++) {
			*msg = (struct vbb_loop_msg){ .id = j, .seg = seg };
			vbb_fifo_put(&q->free, &msg->link);
			msg++;
			seg += cfg->max_segs;
		}
	}
	pthread_mutex_init(&l->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&l->kicked, &attr);
	pthread_condattr_destroy(&attr);
}

void vbb_loop_close(struct vbb_loop *l)
{
	pthread_mutex_lock(&l->lock);
	l->closed = true;
	pthread_cond_broadcast(&l->kicked);
	pthread_mutex_unlock(&l->lock);
}

void vbb_loop_destroy(struct vbb_loop *l)
{
	pthread_cond_destroy(&l->kicked);
	pthread_mutex_destroy(&l->lock);
}
