// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause
#include "hostile.h"

#include <string.h>

#include "pack.h"

static struct vbb_hostile *hostile(struct vbb_transport *t)
{
	return (struct vbb_hostile *)t;
}

static struct vbb_hostile_msg *hostile_take(struct vbb_hostile *h)
{
	return (struct vbb_hostile_msg *)vbb_fifo_take(&h->free);
}

/* splitmix64; 0 to n - 1 */
static vbb_u64 below(struct vbb_hostile *h, vbb_u64 n)
{
	vbb_u64 z = h->state += 0x9e3779b97f4a7c15;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
	z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
	return (z ^ (z >> 31)) % n;
}

static bool chance(struct vbb_hostile *h, vbb_u32 odds, vbb_u64 *count)
{
	bool yes = below(h, 65536) < odds;

	*count += yes;
	return yes;
}

static bool dies(struct vbb_hostile *h)
{
	if (!h->dead)
		h->dead = chance(h, h->cfg.odds.die, &h->count.die);
	return h->dead;
}

/* Change bits within the first len bytes; there is one. */
static void flip(struct vbb_hostile *h, const struct vbb_seg *seg, vbb_u64 len)
{
	vbb_u64 nr = 1 + below(h, 8), off;
	size_t i;

	while (nr--) {
		off = below(h, len);
		for (i = 0; off >= seg[i].len; i++)
			off -= seg[i].len;
		((vbb_u8 *)seg[i].base)[off] ^= (vbb_u8)(1u << below(h, 8));
	}
}

/* Lay a copy in the place of what the sender wrote. */
static void copy(struct vbb_chain *c, vbb_u8 *buf, size_t len)
{
	struct vbb_cur cur;
	size_t i;

	vbb_cur_init(&cur, c->seg, c->nr_out);
	for (i = 0; i < len; i++)
		buf[i] = vbb_cur_load8(&cur);
	memmove(c->seg + 1, c->seg + c->nr_out, c->nr_in * sizeof(*c->seg));
	c->seg[0] = (struct vbb_seg){ buf, len };
	c->nr_out = 1;
}

static void recut(struct vbb_hostile *h, struct vbb_chain *c)
{
	vbb_u64 nr = 1 + below(h, 8);
	size_t i, nr_segs, len;
	struct vbb_seg *seg;

	for (; nr && c->nr_out + c->nr_in < c->max_segs; nr--) {
		nr_segs = c->nr_out + c->nr_in;
		i = (size_t)below(h, nr_segs);
		seg = &c->seg[i];
		if (seg->len < 2)
			continue;
		len = 1 + (size_t)below(h, seg->len - 1);
		memmove(seg + 1, seg, (nr_segs - i) * sizeof(*seg));
		seg[1].base = (vbb_u8 *)seg->base + len;
		seg[1].len -= len;
		seg->len = len;
		if (i < c->nr_out)
			c->nr_out++;
		else
			c->nr_in++;
	}
}

static void spoil(struct vbb_hostile *h, struct vbb_chain *c, vbb_u8 *buf)
{
	vbb_u64 len = vbb_segs_len(c->seg, c->nr_out);
	bool flips, cuts;

	if (len && len <= h->cfg.max_len) {
		flips = chance(h, h->cfg.odds.flip, &h->count.flip);
		cuts = chance(h, h->cfg.odds.cut, &h->count.cut);
		if (cuts)
			len = 1 + below(h, len);
		if (flips || cuts)
			copy(c, buf, (size_t)len);
		if (flips)
			flip(h, c->seg, len);
	}
	if (c->nr_out + c->nr_in && chance(h, h->cfg.odds.recut, &h->count.recut))
		recut(h, c);
}

static int hostile_send(struct vbb_transport *t, unsigned int queue, const struct vbb_seg *out,
			size_t nr_out, const struct vbb_seg *in, size_t nr_in, void *token)
{
	struct vbb_hostile *h = hostile(t);
	struct vbb_hostile_msg *m;
	struct vbb_chain *c;
	int err;

	if (dies(h))
		return VBB_E_CLOSED;
	if (vbb_segs_pack(NULL, out, nr_out) + vbb_segs_pack(NULL, in, nr_in) > h->cfg.max_segs)
		return VBB_E_INVAL;
	if (!h->free.first)
		return VBB_E_NOSPC;
	m = hostile_take(h);
	c = &m->under;
	c->max_segs = h->cfg.max_segs;
	c->nr_out = vbb_segs_pack(c->seg, out, nr_out);
	c->nr_in = vbb_segs_pack(c->seg + c->nr_out, in, nr_in);
	spoil(h, c, m->buf);
	err = vbb_transport_send(h->cfg.under, queue, c->seg, c->nr_out, c->seg + c->nr_out,
				 c->nr_in, m);
	if (err)
		vbb_fifo_put(&h->free, &m->link);
	else
		m->token = token;
	return err;
}

static int hostile_reap(struct vbb_transport *t, unsigned int queue, void **token, vbb_u64 *len)
{
	struct vbb_hostile *h = hostile(t);
	struct vbb_hostile_msg *m;
	void *under;
	int err;

	if (dies(h))
		return VBB_E_CLOSED;
	if (chance(h, h->cfg.odds.delay, &h->count.delay))
		return VBB_E_AGAIN;
	err = vbb_transport_reap(h->cfg.under, queue, &under, len);
	if (err)
		return err;
	m = (struct vbb_hostile_msg *)under;
	if (*len && chance(h, h->cfg.odds.flip, &h->count.flip))
		flip(h, m->under.seg + m->under.nr_out, *len);
	if (*len && chance(h, h->cfg.odds.cut, &h->count.cut))
		*len = below(h, *len);
	*token = m->token;
	vbb_fifo_put(&h->free, &m->link);
	return 0;
}

static int hostile_recv(struct vbb_transport *t, unsigned int queue, struct vbb_chain *chain)
{
	struct vbb_hostile *h = hostile(t);
	struct vbb_hostile_msg *m;
	struct vbb_chain *c;
	int err;

	if (dies(h))
		return VBB_E_CLOSED;
	if (!h->free.first || chance(h, h->cfg.odds.delay, &h->count.delay))
		return VBB_E_AGAIN;
	m = (struct vbb_hostile_msg *)h->free.first;
	c = &m->under;
	/* what we take must fit on both sides of us */
	c->max_segs = chain->max_segs < h->cfg.max_segs ? chain->max_segs : h->cfg.max_segs;
	err = vbb_transport_recv(h->cfg.under, queue, c);
	if (err)
		return err;
	hostile_take(h);
	m->lent = true;
	chain->nr_out = c->nr_out;
	chain->nr_in = c->nr_in;
	memcpy(chain->seg, c->seg, (c->nr_out + c->nr_in) * sizeof(*c->seg));
	spoil(h, chain, m->buf);
	chain->cookie = m->id;
	return 0;
}

static int hostile_done(struct vbb_transport *t, unsigned int queue, const struct vbb_chain *chain,
			vbb_u64 written)
{
	struct vbb_hostile *h = hostile(t);
	struct vbb_hostile_msg *m;
	int err;

	if (dies(h))
		return VBB_E_CLOSED;
	if (chain->cookie >= h->cfg.nr_msgs || !h->cfg.msg[chain->cookie].lent)
		return VBB_E_INVAL;
	m = &h->cfg.msg[chain->cookie];
	err = vbb_transport_done(h->cfg.under, queue, &m->under, written);
	if (err)
		return err;
	m->lent = false;
	vbb_fifo_put(&h->free, &m->link);
	return 0;
}

static int hostile_kick(struct vbb_transport *t, unsigned int queue)
{
	struct vbb_hostile *h = hostile(t);

	return dies(h) ? VBB_E_CLOSED : vbb_transport_kick(h->cfg.under, queue);
}

static int hostile_wait(struct vbb_transport *t, vbb_u64 timeout_ns)
{
	struct vbb_hostile *h = hostile(t);

	return dies(h) ? VBB_E_CLOSED : vbb_transport_wait(h->cfg.under, timeout_ns);
}

void vbb_hostile_init(struct vbb_hostile *h, const struct vbb_hostile_cfg *cfg)
{
	static const struct vbb_transport_ops ops = {
		.size = sizeof(ops),
		.send = hostile_send,
		.reap = hostile_reap,
		.recv = hostile_recv,
		.done = hostile_done,
		.kick = hostile_kick,
		.wait = hostile_wait,
	};
	size_t i;

	*h = (struct vbb_hostile){ .t.ops = &ops, .cfg = *cfg, .state = cfg->seed };
	for (i = 0; i < cfg->nr_msgs; i++) {
		cfg->msg[i].id = i;
		cfg->msg[i].under.seg = cfg->seg + i * cfg->max_segs;
		cfg->msg[i].buf = cfg->buf + i * cfg->max_len;
		cfg->msg[i].lent = false;
		vbb_fifo_put(&h->free, &cfg->msg[i].link);
	}
}
