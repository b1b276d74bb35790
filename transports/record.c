// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause
#define _GNU_SOURCE
#include <time.h>

#include "pack.h"
#include "replay.h"

static struct vbb_record *record(struct vbb_transport *t)
{
	return (struct vbb_record *)t;
}

static struct vbb_record_msg *record_take(struct vbb_record *r)
{
	return (struct vbb_record_msg *)vbb_fifo_take(&r->free);
}

static vbb_u32 len32(vbb_u64 len)
{
	return len <= UINT32_MAX ? (vbb_u32)len : UINT32_MAX;
}

/* Queues have numbers of 16 bits, and cookies have 32. */
static void record_put(struct vbb_record *r, vbb_u8 kind, bool from_us, unsigned int queue,
		       vbb_u64 id, vbb_u64 in_len, const struct vbb_seg *seg, size_t nr_segs,
		       vbb_u64 len)
{
	const struct vbb_capture_hdr hdr = {
		.kind = kind,
		.from = from_us ? r->cfg.from : !r->cfg.from,
		.queue = (vbb_u16)queue,
		.id = (vbb_u32)id,
		.in_len = len32(in_len),
		.len = len32(len),
		.role = queue < r->cfg.nr_roles ? r->cfg.role[queue] : VBB_CAPTURE_UNKNOWN,
		.modes = r->modes,
	};
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	vbb_capture_put(r->cfg.f, &hdr, seg, nr_segs,
			(vbb_u64)ts.tv_sec * 1000000000 + (vbb_u64)ts.tv_nsec);
}

static int record_send(struct vbb_transport *t, unsigned int queue, const struct vbb_seg *out,
		       size_t nr_out, const struct vbb_seg *in, size_t nr_in, void *token)
{
	struct vbb_record *r = record(t);
	struct vbb_record_msg *m;
	int err;

	if (vbb_segs_pack(NULL, in, nr_in) > r->cfg.max_in)
		return VBB_E_INVAL;
	if (!r->free.first)
		return VBB_E_NOSPC;
	m = record_take(r);
	err = vbb_transport_send(r->cfg.under, queue, out, nr_out, in, nr_in, m);
	if (err) {
		vbb_fifo_put(&r->free, &m->link);
		return err;
	}
	m->token = token;
	m->nr_in = vbb_segs_pack(m->in, in, nr_in);
	record_put(r, VBB_CAPTURE_MSG, true, queue, m->id, vbb_segs_len(in, nr_in), out, nr_out,
		   vbb_segs_len(out, nr_out));
	return 0;
}

static int record_reap(struct vbb_transport *t, unsigned int queue, void **token, vbb_u64 *len)
{
	struct vbb_record *r = record(t);
	struct vbb_record_msg *m;
	void *under;
	int err;

	err = vbb_transport_reap(r->cfg.under, queue, &under, len);
	if (err)
		return err;
	m = (struct vbb_record_msg *)under;
	*token = m->token;
	record_put(r, VBB_CAPTURE_DONE, false, queue, m->id, 0, m->in, m->nr_in, *len);
	vbb_fifo_put(&r->free, &m->link);
	return 0;
}

static int record_recv(struct vbb_transport *t, unsigned int queue, struct vbb_chain *chain)
{
	struct vbb_record *r = record(t);
	int err;

	err = vbb_transport_recv(r->cfg.under, queue, chain);
	if (err)
		return err;
	record_put(r, VBB_CAPTURE_MSG, false, queue, chain->cookie,
		   vbb_segs_len(chain->seg + chain->nr_out, chain->nr_in), chain->seg,
		   chain->nr_out, vbb_segs_len(chain->seg, chain->nr_out));
	return 0;
}

static int record_done(struct vbb_transport *t, unsigned int queue, const struct vbb_chain *chain,
		       vbb_u64 written)
{
	const struct vbb_seg *in = chain->seg + chain->nr_out;
	struct vbb_record *r = record(t);

	if (written > vbb_segs_len(in, chain->nr_in))
		return VBB_E_INVAL;
	/* first, while what was written is ours to read */
	record_put(r, VBB_CAPTURE_DONE, true, queue, chain->cookie, 0, in, chain->nr_in, written);
	return vbb_transport_done(r->cfg.under, queue, chain, written);
}

static int record_kick(struct vbb_transport *t, unsigned int queue)
{
	return vbb_transport_kick(record(t)->cfg.under, queue);
}

static int record_wait(struct vbb_transport *t, vbb_u64 timeout_ns)
{
	return vbb_transport_wait(record(t)->cfg.under, timeout_ns);
}

void vbb_record_init(struct vbb_record *r, const struct vbb_record_cfg *cfg)
{
	static const struct vbb_transport_ops ops = {
		.size = sizeof(ops),
		.send = record_send,
		.reap = record_reap,
		.recv = record_recv,
		.done = record_done,
		.kick = record_kick,
		.wait = record_wait,
	};
	size_t i;

	*r = (struct vbb_record){ .t.ops = &ops, .cfg = *cfg };
	for (i = 0; i < cfg->nr_msgs; i++) {
		cfg->msg[i].id = i;
		cfg->msg[i].in = cfg->seg + i * cfg->max_in;
		vbb_fifo_put(&r->free, &cfg->msg[i].link);
	}
	vbb_capture_start(cfg->f);
}
