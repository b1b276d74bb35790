// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause
#define _GNU_SOURCE

#include "replay.h"

#include "deadline.h"

static struct vbb_replay *replay(struct vbb_transport *t)
{
	return (struct vbb_replay *)t;
}

/* Read on to the next message that somebody can have. */
static int replay_read(struct vbb_replay *r)
{
	struct vbb_replay_msg *m = (struct vbb_replay_msg *)r->free.first;
	int err;

	if (r->next)
		return 0;
	if (!m)
		return VBB_E_AGAIN;
	do {
		err = vbb_capture_next(&r->capture, &m->hdr, m->buf, r->cfg.max_len);
		if (err)
			return err;
	} while (m->hdr.kind != VBB_CAPTURE_MSG || m->hdr.from != r->cfg.from ||
		 m->hdr.queue >= r->cfg.nr_queues);
	/* nor can it play what was not recorded whole */
	if (m->hdr.len > r->cfg.max_len || m->hdr.in_len > r->cfg.max_len - m->hdr.len) {
		r->capture.end = VBB_E_BROKEN;
		return VBB_E_FRAME;
	}
	vbb_fifo_take(&r->free);
	r->next = m;
	return 0;
}

static int replay_recv(struct vbb_transport *t, unsigned int queue, struct vbb_chain *chain)
{
	struct vbb_replay *r = replay(t);
	struct vbb_replay_msg *m;
	int err;

	if (queue >= r->cfg.nr_queues)
		return VBB_E_INVAL;
	err = replay_read(r);
	if (err)
		return err;
	m = r->next;
	if (m->hdr.queue != queue)
		return VBB_E_AGAIN;
	chain->nr_out = !!m->hdr.len;
	chain->nr_in = !!m->hdr.in_len;
	if (chain->nr_out + chain->nr_in > chain->max_segs)
		return VBB_E_TOOSMALL;
	if (chain->nr_out)
		chain->seg[0] = (struct vbb_seg){ m->buf, m->hdr.len };
	if (chain->nr_in)
		chain->seg[chain->nr_out] = (struct vbb_seg){ m->buf + m->hdr.len, m->hdr.in_len };
	chain->cookie = m->id;
	m->lent = true;
	r->next = NULL;
	return 0;
}

static int replay_done(struct vbb_transport *t, unsigned int queue, const struct vbb_chain *chain,
		       vbb_u64 written)
{
	struct vbb_replay *r = replay(t);
	struct vbb_replay_msg *m;

	if (chain->cookie >= r->cfg.nr_msgs)
		return VBB_E_INVAL;
	m = &r->cfg.msg[chain->cookie];
	if (!m->lent || m->hdr.queue != queue || written > m->hdr.in_len)
		return VBB_E_INVAL;
	m->lent = false;
	vbb_fifo_put(&r->free, &m->link);
	return 0;
}

static int replay_kick(struct vbb_transport *t, unsigned int queue)
{
	return queue < replay(t)->cfg.nr_queues ? 0 : VBB_E_INVAL;
}

/* Nothing comes while we sleep: all messages are borrowed. */
static int replay_wait(struct vbb_transport *t, vbb_u64 timeout_ns)
{
	struct timespec ts = vbb_timespec(timeout_ns);
	int err = replay_read(replay(t));

	if (err == VBB_E_AGAIN)
		nanosleep(&ts, NULL);
	return err;
}

void vbb_replay_init(struct vbb_replay *r, const struct vbb_replay_cfg *cfg)
{
	static const struct vbb_transport_ops ops = {
		.size = sizeof(ops),
		.recv = replay_recv,
		.done = replay_done,
		.kick = replay_kick,
		.wait = replay_wait,
	};
	size_t i;

	*r = (struct vbb_replay){ .t.ops = &ops, .cfg = *cfg };
	for (i = 0; i < cfg->nr_msgs; i++) {
		cfg->msg[i].id = i;
		cfg->msg[i].buf = cfg->buf + i * cfg->max_len;
		cfg->msg[i].lent = false;
		vbb_fifo_put(&r->free, &cfg->msg[i].link);
	}
	vbb_capture_open(&r->capture, cfg->f);
}
