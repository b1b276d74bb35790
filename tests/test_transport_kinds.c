// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause
/* Each transport as a pair of ends. */
#define _GNU_SOURCE

#include "test.h"
#include "test_transport.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "hostile.h"
#include "loop.h"
#include "replay.h"
#include "stream.h"
#include "vring_end.h"

#define NR_MSGS 8

static void *get(size_t nr, size_t size)
{
	void *p = calloc(nr, size);

	assert_non_null(p);
	return p;
}

static void pair_mem(struct pair *p, size_t more)
{
	p->mem_len = TEST_MEM_LEN;
	p->mem = aligned_alloc(4096, p->mem_len + more);
	assert_non_null(p->mem);
	memset(p->mem, 0, p->mem_len + more);
}

/* loop */

static void loop_start(struct vbb_loop *l)
{
	size_t nr = (size_t)2 * NR_QUEUES * NR_MSGS;
	const struct vbb_loop_cfg cfg = {
		.nr_queues = NR_QUEUES,
		.nr_msgs = NR_MSGS,
		.max_segs = MAX_SEGS,
		.queue = get(2 * NR_QUEUES, sizeof(*cfg.queue)),
		.msg = get(nr, sizeof(*cfg.msg)),
		.seg = get(nr * MAX_SEGS, sizeof(*cfg.seg)),
	};

	vbb_loop_init(l, &cfg);
}

static void loop_stop(struct vbb_loop *l)
{
	vbb_loop_destroy(l);
	free(l->cfg.queue);
	free(l->cfg.msg);
	free(l->cfg.seg);
}

static void loop_make(struct pair *p)
{
	struct vbb_loop *l = get(1, sizeof(*l));

	loop_start(l);
	p->own = l;
	p->drv = &l->end[0].t;
	p->dev = &l->end[1].t;
	pair_mem(p, 0);
}

static void loop_destroy(struct pair *p)
{
	loop_stop(p->own);
	free(p->own);
	free(p->mem);
}

static void loop_close(struct pair *p)
{
	vbb_loop_close(p->own);
}

/* vring: 1024 entries, the queues behind the memory that is lent */

#define RING_LEN 65536
#define TABLES_LEN ((size_t)1024 * 16 * 1024)

struct rings {
	struct vbb_ram ram;
	struct vbb_ram_map map;
	struct vbb_vring_drv drv[NR_QUEUES];
	struct vbb_vring_dev dev[NR_QUEUES];
	struct vbb_vring_slot slot[NR_QUEUES][MAX_SEGS];
	vbb_u8 lent[NR_QUEUES][MAX_SEGS];
	struct vbb_vring_fds drv_fds[NR_QUEUES], dev_fds[NR_QUEUES];
	struct pollfd drv_poll[NR_QUEUES + 1], dev_poll[NR_QUEUES + 1];
	int peer[2];
	struct vbb_vring_end drv_end, dev_end;
};

static void rings_make(struct pair *p, vbb_u32 nr_table, bool event_idx)
{
	struct rings *r = get(1, sizeof(*r));
	struct vbb_vring_tables tables = { .nr_descs = nr_table };
	struct vbb_vring ring = { .num = MAX_SEGS, .indirect = nr_table, .event_idx = event_idx };
	vbb_u8 *mem;
	unsigned int i;

	pair_mem(p, NR_QUEUES * (RING_LEN + TABLES_LEN));
	p->own = r;
	r->ram = (struct vbb_ram){ 0x40000000, p->mem_len + NR_QUEUES * (RING_LEN + TABLES_LEN),
				   (uintptr_t)p->mem, 12 };
	r->map = (struct vbb_ram_map){ &r->ram, 1 };
	mem = p->mem + p->mem_len;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, r->peer), 0);
	for (i = 0; i < NR_QUEUES; i++) {
		ring.desc = mem;
		ring.avail = mem + VBB_VRING_DESC_LEN(ring.num);
		ring.used = mem + RING_LEN / 2;
		tables.base = mem + RING_LEN;
		mem += RING_LEN + TABLES_LEN;
		assert_int_equal(vbb_vring_drv_init(&r->drv[i], &ring, &r->map, r->slot[i],
						    nr_table ? &tables : NULL), 0);
		assert_int_equal(vbb_vring_dev_init(&r->dev[i], &ring, &r->map, r->lent[i], 0, 0),
				 0);
		r->drv_fds[i].tell = eventfd(0, EFD_NONBLOCK);
		r->drv_fds[i].wake = eventfd(0, EFD_NONBLOCK);
		r->dev_fds[i].tell = r->drv_fds[i].wake;
		r->dev_fds[i].wake = r->drv_fds[i].tell;
	}
	vbb_vring_end_init_drv(&r->drv_end, r->drv, NR_QUEUES, r->drv_fds, r->drv_poll,
			       r->peer[0]);
	vbb_vring_end_init_dev(&r->dev_end, r->dev, NR_QUEUES, r->dev_fds, r->dev_poll,
			       r->peer[1]);
	p->drv = &r->drv_end.t;
	p->dev = &r->dev_end.t;
}

static void rings_direct(struct pair *p)
{
	rings_make(p, 0, false);
}

static void rings_indirect(struct pair *p)
{
	rings_make(p, MAX_SEGS, false);
}

static void rings_event(struct pair *p)
{
	rings_make(p, MAX_SEGS, true);
}

static void close_one(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

static void rings_destroy(struct pair *p)
{
	struct rings *r = p->own;
	unsigned int i;

	for (i = 0; i < NR_QUEUES; i++) {
		close(r->drv_fds[i].tell);
		close(r->drv_fds[i].wake);
	}
	close_one(&r->peer[0]);
	close_one(&r->peer[1]);
	free(r);
	free(p->mem);
}

static void rings_close_drv(struct pair *p)
{
	struct rings *r = p->own;

	close_one(&r->peer[0]);
}

static void rings_close_dev(struct pair *p)
{
	struct rings *r = p->own;

	close_one(&r->peer[1]);
}

/* stream: a socket pair, or two pipes */

struct streams {
	struct vbb_stream end[2];
	int in[2], out[2];
};

static void stream_start(struct vbb_stream *s, int in, int out)
{
	size_t nr = (size_t)NR_QUEUES * NR_MSGS;
	const struct vbb_stream_cfg cfg = {
		.fd_in = in,
		.fd_out = out,
		.nr_queues = NR_QUEUES,
		.nr_msgs = NR_MSGS,
		.max_len = (1 << 20) + 65536,
		.max_segs = MAX_SEGS,
		.queue = get(NR_QUEUES, sizeof(*cfg.queue)),
		.msg = get(2 * nr, sizeof(*cfg.msg)),
		.seg = get(nr * (MAX_SEGS + 1), sizeof(*cfg.seg)),
		.buf = get(nr, (1 << 20) + 65536),
	};

	assert_int_equal(vbb_stream_init(s, &cfg), 0);
}

static void streams_make(struct pair *p, bool pipes)
{
	struct streams *s = get(1, sizeof(*s));
	int fds[2], back[2];

	if (pipes) {
		assert_int_equal(pipe2(fds, O_NONBLOCK), 0);
		assert_int_equal(pipe2(back, O_NONBLOCK), 0);
		s->in[0] = back[0];
		s->out[0] = fds[1];
		s->in[1] = fds[0];
		s->out[1] = back[1];
	} else {
		assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
		s->in[0] = s->out[0] = fds[0];
		s->in[1] = s->out[1] = fds[1];
	}
	stream_start(&s->end[0], s->in[0], s->out[0]);
	stream_start(&s->end[1], s->in[1], s->out[1]);
	p->own = s;
	p->drv = &s->end[0].t;
	p->dev = &s->end[1].t;
	pair_mem(p, 0);
}

static void streams_socket(struct pair *p)
{
	streams_make(p, false);
}

static void streams_pipes(struct pair *p)
{
	streams_make(p, true);
}

static void streams_close(struct streams *s, unsigned int i)
{
	if (s->out[i] != s->in[i])
		close_one(&s->out[i]);
	close_one(&s->in[i]);
	s->out[i] = -1;
}

static void streams_close_drv(struct pair *p)
{
	streams_close(p->own, 0);
}

static void streams_close_dev(struct pair *p)
{
	streams_close(p->own, 1);
}

static void streams_destroy(struct pair *p)
{
	struct streams *s = p->own;
	unsigned int i;

	for (i = 0; i < 2; i++) {
		streams_close(s, i);
		free(s->end[i].cfg.queue);
		free(s->end[i].cfg.msg);
		free(s->end[i].cfg.seg);
		free(s->end[i].cfg.buf);
	}
	free(s);
	free(p->mem);
}

/* A wrapper around both ends of another kind, which knows how to do the rest */

struct wrapped {
	struct pair under;
	struct vbb_record record[2];
	struct vbb_hostile hostile[2];
	FILE *f[2];
	struct vbb_replay replay;
	bool flushed;
};

static struct wrapped *wrap(struct pair *p, void (*make)(struct pair *p))
{
	struct wrapped *w = get(1, sizeof(*w));

	make(&w->under);
	p->mem = w->under.mem;
	p->mem_len = w->under.mem_len;
	p->own = w;
	return w;
}

#define RECORD_MSGS 64

static void record_start(struct wrapped *w, unsigned int end, FILE *f)
{
	const struct vbb_record_cfg cfg = {
		.under = end ? w->under.dev : w->under.drv,
		.f = f,
		.from = end ? VBB_CAPTURE_DEVICE : VBB_CAPTURE_DRIVER,
		.nr_msgs = RECORD_MSGS,
		.max_in = MAX_SEGS,
		.msg = get(RECORD_MSGS, sizeof(*cfg.msg)),
		.seg = get(RECORD_MSGS * MAX_SEGS, sizeof(*cfg.seg)),
	};

	assert_non_null(f);
	w->f[end] = f;
	vbb_record_init(&w->record[end], &cfg);
}

static void record_make(struct pair *p)
{
	struct wrapped *w = wrap(p, loop_make);
	unsigned int i;

	for (i = 0; i < 2; i++)
		record_start(w, i, tmpfile());
	p->drv = &w->record[0].t;
	p->dev = &w->record[1].t;
}

static void record_destroy(struct pair *p)
{
	struct wrapped *w = p->own;
	unsigned int i;

	for (i = 0; i < 2; i++) {
		if (!w->f[i])
			continue;
		assert_false(ferror(w->f[i]));
		fclose(w->f[i]);
		free(w->record[i].cfg.msg);
		free(w->record[i].cfg.seg);
	}
	loop_destroy(&w->under);
	free(w);
}

static void record_close(struct pair *p)
{
	struct wrapped *w = p->own;

	loop_close(&w->under);
}

/* What was recorded at the driver's end is played to whoever would have been the device. */
#define REPLAY_LEN ((1 << 20) + 65536)

static void replay_make(struct pair *p)
{
	struct wrapped *w = wrap(p, loop_make);

	record_start(w, 0, tmpfile());
	p->drv = &w->record[0].t;
	p->dev = w->under.dev;
}

static void replay_flush(struct pair *p)
{
	struct wrapped *w = p->own;
	const struct vbb_replay_cfg cfg = {
		.f = w->f[0],
		.from = VBB_CAPTURE_DRIVER,
		.nr_queues = NR_QUEUES,
		.nr_msgs = NR_MSGS,
		.max_len = REPLAY_LEN,
		.msg = get(NR_MSGS, sizeof(*cfg.msg)),
		.buf = get(NR_MSGS, REPLAY_LEN),
	};

	rewind(w->f[0]);
	vbb_replay_init(&w->replay, &cfg);
	p->dev = &w->replay.t;
	w->flushed = true;
}

static void replay_destroy(struct pair *p)
{
	struct wrapped *w = p->own;

	if (w->flushed) {
		free(w->replay.cfg.msg);
		free(w->replay.cfg.buf);
	}
	record_destroy(p);
}

/* Hostile, as far as the suite's promises allow: cut elsewhere, and late */

#define HOSTILE_MSGS 64

static void hostile_start(struct wrapped *w, struct pair *p)
{
	struct vbb_hostile_cfg cfg = {
		.odds = { .recut = 32768, .delay = 16384 },
		.nr_msgs = HOSTILE_MSGS,
		.max_segs = MAX_SEGS,
		.max_len = 1,
	};
	unsigned int i;

	for (i = 0; i < 2; i++) {
		cfg.buf = get(HOSTILE_MSGS, 1);
		cfg.under = i ? w->under.dev : w->under.drv;
		cfg.seed = i;
		cfg.msg = get(HOSTILE_MSGS, sizeof(*cfg.msg));
		cfg.seg = get(HOSTILE_MSGS * MAX_SEGS, sizeof(*cfg.seg));
		vbb_hostile_init(&w->hostile[i], &cfg);
	}
	p->drv = &w->hostile[0].t;
	p->dev = &w->hostile[1].t;
}

static void hostile_stop(struct wrapped *w)
{
	unsigned int i;

	for (i = 0; i < 2; i++) {
		free(w->hostile[i].cfg.msg);
		free(w->hostile[i].cfg.seg);
		free(w->hostile[i].cfg.buf);
	}
	free(w);
}

static void hostile_loop(struct pair *p)
{
	hostile_start(wrap(p, loop_make), p);
}

static void hostile_loop_destroy(struct pair *p)
{
	struct wrapped *w = p->own;

	loop_destroy(&w->under);
	hostile_stop(w);
}

static void hostile_rings(struct pair *p)
{
	hostile_start(wrap(p, rings_event), p);
}

static void hostile_rings_destroy(struct pair *p)
{
	struct wrapped *w = p->own;

	rings_destroy(&w->under);
	hostile_stop(w);
}

static void hostile_rings_close_drv(struct pair *p)
{
	struct wrapped *w = p->own;

	rings_close_drv(&w->under);
}

static void hostile_rings_close_dev(struct pair *p)
{
	struct wrapped *w = p->own;

	rings_close_dev(&w->under);
}

const struct kind test_kinds[] = {
	{
		.name = "loop",
		.make = loop_make,
		.destroy = loop_destroy,
		.close_drv = loop_close,
		.close_dev = loop_close,
		.duplex = true,
		.deaf = true,
		.toosmall = VBB_E_TOOSMALL,
	}, {
		.name = "vring, direct",
		.make = rings_direct,
		.destroy = rings_destroy,
		.close_drv = rings_close_drv,
		.close_dev = rings_close_dev,
		.toosmall = VBB_E_RING_LOOP,
	}, {
		.name = "vring, indirect",
		.make = rings_indirect,
		.destroy = rings_destroy,
		.close_drv = rings_close_drv,
		.close_dev = rings_close_dev,
		.toosmall = VBB_E_RING_LOOP,
	}, {
		.name = "vring, event index",
		.make = rings_event,
		.destroy = rings_destroy,
		.close_drv = rings_close_drv,
		.close_dev = rings_close_dev,
		.toosmall = VBB_E_RING_LOOP,
	}, {
		.name = "stream, socket",
		.make = streams_socket,
		.destroy = streams_destroy,
		.close_drv = streams_close_drv,
		.close_dev = streams_close_dev,
		.duplex = true,
		.toosmall = VBB_E_TOOSMALL,
	}, {
		.name = "stream, pipes",
		.make = streams_pipes,
		.destroy = streams_destroy,
		.close_drv = streams_close_drv,
		.close_dev = streams_close_dev,
		.duplex = true,
		.toosmall = VBB_E_TOOSMALL,
	}, {
		.name = "record, loop",
		.make = record_make,
		.destroy = record_destroy,
		.close_drv = record_close,
		.close_dev = record_close,
		.duplex = true,
		.deaf = true,
		.toosmall = VBB_E_TOOSMALL,
	}, {
		.name = "replay",
		.make = replay_make,
		.destroy = replay_destroy,
		.flush = replay_flush,
		.one_way = true,
		.toosmall = VBB_E_TOOSMALL,
	}, {
		.name = "hostile, loop",
		.make = hostile_loop,
		.destroy = hostile_loop_destroy,
		.close_drv = record_close,
		.close_dev = record_close,
		.duplex = true,
		.deaf = true,
		.toosmall = VBB_E_TOOSMALL,
	}, {
		.name = "hostile, vring",
		.make = hostile_rings,
		.destroy = hostile_rings_destroy,
		.close_drv = hostile_rings_close_drv,
		.close_dev = hostile_rings_close_dev,
		.shared_room = true,
		.toosmall = VBB_E_RING_LOOP,
	},
};

const size_t test_nr_kinds = ARRAY_SIZE(test_kinds);
