// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause
/* What every transport promises, asked of each in the same words. */
#define _GNU_SOURCE

#include "test.h"
#include "test_transport.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <time.h>

#define MIB ((size_t)1 << 20)
#define SEC 1000000000ull

static struct pair *start(void **state)
{
	static struct pair pair;
	const struct kind *kind = *(const struct kind *const *)state;

	memset(&pair, 0, sizeof(pair));
	pair.kind = kind;
	kind->make(&pair);
	assert_true(pair.mem_len >= TEST_MEM_LEN);
	return &pair;
}

static void stop(struct pair *p)
{
	p->kind->destroy(p);
}

/* Bytes move in the calls of either end, so each is called in turn; the count is against hangs. */
static void nudge(struct pair *p, unsigned int *turns)
{
	unsigned int i;

	assert_true(++*turns < 100000);
	for (i = 0; i < NR_QUEUES; i++) {
		vbb_transport_kick(p->drv, i);
		vbb_transport_kick(p->dev, i);
	}
}

static int recv_end(struct pair *p, unsigned int queue, struct vbb_chain *chain)
{
	unsigned int turns = 0;
	int err;

	while (err = vbb_transport_recv(p->dev, queue, chain), err == VBB_E_AGAIN)
		nudge(p, &turns);
	return err;
}

static int reap_end(struct pair *p, unsigned int queue, void **token, vbb_u64 *len)
{
	unsigned int turns = 0;
	int err;

	while (err = vbb_transport_reap(p->drv, queue, token, len), err == VBB_E_AGAIN)
		nudge(p, &turns);
	return err;
}

/* The other side's word that there is nothing: a few times, as it may be late */
static void assert_none(struct pair *p)
{
	struct vbb_chain c = { 0 };
	unsigned int i, turns = 0;
	void *token;
	vbb_u64 len;

	for (i = 0; i < NR_QUEUES; i++) {
		assert_int_equal(vbb_transport_reap(p->drv, i, &token, &len), VBB_E_AGAIN);
		nudge(p, &turns);
		assert_int_equal(vbb_transport_recv(p->dev, i, &c), VBB_E_AGAIN);
	}
}

static void fill(vbb_u8 *p, size_t len, uint64_t seed)
{
	size_t i;

	for (i = 0; i < len; i++)
		p[i] = (vbb_u8)(test_rand(&seed) >> 8);
}

static void assert_filled(const struct vbb_seg *seg, size_t nr_segs, vbb_u64 len, uint64_t seed)
{
	struct vbb_cur cur;

	vbb_cur_init(&cur, seg, nr_segs);
	assert_true(cur.left >= len);
	for (; len; len--)
		if (vbb_cur_load8(&cur) != (vbb_u8)(test_rand(&seed) >> 8))
			fail_msg("the bytes are not those that were sent");
}

static void write_filled(const struct vbb_seg *seg, size_t nr_segs, vbb_u64 len, uint64_t seed)
{
	struct vbb_cur cur;

	vbb_cur_init(&cur, seg, nr_segs);
	for (; len; len--)
		vbb_cur_store8(&cur, (vbb_u8)(test_rand(&seed) >> 8));
}

static struct vbb_chain *chain(void)
{
	static struct vbb_seg seg[MAX_SEGS];
	static struct vbb_chain c;

	c = (struct vbb_chain){ .seg = seg, .max_segs = MAX_SEGS };
	return &c;
}

static void assert_chain(const struct vbb_chain *c, vbb_u64 len, vbb_u64 in_len, uint64_t seed)
{
	size_t i;

	for (i = 0; i < c->nr_out + c->nr_in; i++)
		assert_true(c->seg[i].len);
	assert_int_equal(vbb_segs_len(c->seg, c->nr_out), len);
	assert_int_equal(vbb_segs_len(c->seg + c->nr_out, c->nr_in), in_len);
	assert_filled(c->seg, c->nr_out, len, seed);
}

/* A message of one segment each way, filled from its number, at its own place in memory */
#define MSG_OUT 100
#define MSG_IN 50

static struct vbb_seg msg_out(const struct pair *p, unsigned int nr)
{
	return (struct vbb_seg){ p->mem + nr * 256, MSG_OUT };
}

static struct vbb_seg msg_in(const struct pair *p, unsigned int nr)
{
	return (struct vbb_seg){ p->mem + nr * 256 + MSG_OUT, MSG_IN };
}

static int send_msg(struct pair *p, unsigned int queue, unsigned int nr)
{
	struct vbb_seg out = msg_out(p, nr), in = msg_in(p, nr);

	fill(out.base, out.len, nr);
	return vbb_transport_send(p->drv, queue, &out, 1, &in, 1, p->mem + nr);
}

static void assert_reap(struct pair *p, unsigned int queue, unsigned int nr, vbb_u64 len)
{
	struct vbb_seg in = msg_in(p, nr);
	void *token = NULL;
	vbb_u64 got = 0;

	assert_int_equal(reap_end(p, queue, &token, &got), 0);
	assert_ptr_equal(token, p->mem + nr);
	assert_int_equal(got, len);
	assert_filled(&in, 1, len, ~(uint64_t)nr);
}

static void answer(struct pair *p, unsigned int queue, const struct vbb_chain *c, unsigned int nr,
		   vbb_u64 len)
{
	write_filled(c->seg + c->nr_out, c->nr_in, len, ~(uint64_t)nr);
	assert_int_equal(vbb_transport_done(p->dev, queue, c, len), 0);
}

static void flush(struct pair *p)
{
	if (p->kind->flush)
		p->kind->flush(p);
}

static void test_one(void **state)
{
	struct pair *p = start(state);
	struct vbb_chain *c = chain();
	struct vbb_seg out;
	unsigned int queue;

	if (!p->kind->one_way)
		assert_none(p);
	for (queue = 0; queue < NR_QUEUES; queue++)
		assert_int_equal(send_msg(p, queue, queue), 0);
	flush(p);
	for (queue = 0; queue < NR_QUEUES; queue++) {
		assert_int_equal(recv_end(p, queue, c), 0);
		assert_chain(c, MSG_OUT, MSG_IN, queue);
		answer(p, queue, c, queue, MSG_IN - queue);
		if (p->kind->one_way)
			continue;
		assert_reap(p, queue, queue, MSG_IN - queue);
		out = msg_out(p, queue);
		assert_filled(&out, 1, MSG_OUT, queue);
	}
	if (!p->kind->one_way)
		assert_none(p);
	stop(p);
}

/* Only to read, only to write, with empty segments around */
static void test_halves(void **state)
{
	struct pair *p = start(state);
	struct vbb_chain *c = chain();
	struct vbb_seg seg[3] = { { NULL, 0 }, msg_out(p, 0), { NULL, 0 } };

	fill(p->mem, MSG_OUT, 0);
	assert_int_equal(vbb_transport_send(p->drv, 0, seg, 3, NULL, 0, p->mem), 0);
	assert_int_equal(vbb_transport_send(p->drv, 0, seg + 2, 1, seg, 3, p->mem + 1), 0);
	flush(p);
	assert_int_equal(recv_end(p, 0, c), 0);
	assert_chain(c, MSG_OUT, 0, 0);
	assert_int_equal(vbb_transport_done(p->dev, 0, c, 1), VBB_E_INVAL);
	assert_int_equal(vbb_transport_done(p->dev, 0, c, 0), 0);
	assert_int_equal(recv_end(p, 0, c), 0);
	assert_int_equal(c->nr_out, 0);
	assert_chain(c, 0, MSG_OUT, 0);
	assert_int_equal(vbb_transport_done(p->dev, 0, c, MSG_OUT + 1), VBB_E_INVAL);
	assert_int_equal(vbb_transport_done(p->dev, 0, c, 0), 0);
	stop(p);
}

/* Mistakes of the caller change nothing. */
static void test_misuse(void **state)
{
	static struct vbb_seg many[MAX_SEGS + 1];
	struct pair *p = start(state);
	struct vbb_chain *c = chain();
	struct vbb_seg seg = msg_out(p, 0), none = { NULL, 0 };
	vbb_u64 len;
	void *token;
	size_t i;

	for (i = 0; i <= MAX_SEGS; i++)
		many[i] = (struct vbb_seg){ p->mem + i, 1 };
	assert_int_equal(vbb_transport_send(p->drv, NR_QUEUES, &seg, 1, NULL, 0, NULL),
			 VBB_E_INVAL);
	assert_int_equal(vbb_transport_send(p->drv, 0, NULL, 0, NULL, 0, NULL), VBB_E_INVAL);
	assert_int_equal(vbb_transport_send(p->drv, 0, &none, 1, &none, 1, NULL), VBB_E_INVAL);
	assert_int_equal(vbb_transport_send(p->drv, 0, many, MAX_SEGS + 1, NULL, 0, NULL),
			 VBB_E_INVAL);
	assert_int_equal(vbb_transport_send(p->drv, 0, many, MAX_SEGS, &seg, 1, NULL), VBB_E_INVAL);
	assert_int_equal(vbb_transport_reap(p->drv, NR_QUEUES, &token, &len), VBB_E_INVAL);
	assert_int_equal(vbb_transport_kick(p->drv, NR_QUEUES), VBB_E_INVAL);
	if (!p->kind->one_way)
		assert_none(p);
	assert_int_equal(send_msg(p, 0, 0), 0);
	flush(p);
	assert_int_equal(vbb_transport_kick(p->dev, NR_QUEUES), VBB_E_INVAL);
	assert_int_equal(vbb_transport_recv(p->dev, NR_QUEUES, c), VBB_E_INVAL);
	c->cookie = 0;
	assert_int_equal(vbb_transport_done(p->dev, 0, c, 0), VBB_E_INVAL);
	assert_int_equal(recv_end(p, 0, c), 0);
	assert_int_equal(vbb_transport_done(p->dev, NR_QUEUES, c, 0), VBB_E_INVAL);
	assert_int_equal(vbb_transport_done(p->dev, 1, c, 0), VBB_E_INVAL);
	assert_int_equal(vbb_transport_done(p->dev, 0, c, MSG_IN + 1), VBB_E_INVAL);
	c->cookie += 1u << 16;
	assert_int_equal(vbb_transport_done(p->dev, 0, c, 0), VBB_E_INVAL);
	c->cookie -= 1u << 16;
	answer(p, 0, c, 0, 1);
	assert_int_equal(vbb_transport_done(p->dev, 0, c, 0), VBB_E_INVAL);
	if (!p->kind->one_way) {
		assert_reap(p, 0, 0, 1);
		assert_none(p);
	}
	stop(p);
}

/* Sent in order, received in order; done in any order, reaped in that. */
static void test_order(void **state)
{
	static const unsigned int turn[] = { 2, 0, 3, 1 };
	struct vbb_chain c[ARRAY_SIZE(turn)];
	struct vbb_seg seg[ARRAY_SIZE(turn)][64];
	struct pair *p = start(state);
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(turn); i++)
		assert_int_equal(send_msg(p, 1, i), 0);
	flush(p);
	for (i = 0; i < ARRAY_SIZE(turn); i++) {
		c[i] = (struct vbb_chain){ .seg = seg[i], .max_segs = ARRAY_SIZE(seg[i]) };
		assert_int_equal(recv_end(p, 1, &c[i]), 0);
		assert_chain(&c[i], MSG_OUT, MSG_IN, i);
	}
	for (i = 0; i < ARRAY_SIZE(turn); i++)
		answer(p, 1, &c[turn[i]], turn[i], MSG_IN);
	for (i = 0; i < ARRAY_SIZE(turn) && !p->kind->one_way; i++)
		assert_reap(p, 1, turn[i], MSG_IN);
	stop(p);
}

/* Room comes back with reap(), and with nothing else; what was refused never arrives. */
static void test_full(void **state)
{
	struct pair *p = start(state);
	struct vbb_chain *c = chain();
	unsigned int nr = 0, sent, i, turns = 0;

	while (!send_msg(p, 0, nr))
		assert_true(++nr < 4000);
	assert_true(nr >= 4);
	assert_int_equal(send_msg(p, 0, nr), VBB_E_NOSPC);
	/* another queue has its own room */
	if (!p->kind->shared_room) {
		assert_int_equal(send_msg(p, 1, nr), 0);
		assert_int_equal(recv_end(p, 1, c), 0);
		assert_chain(c, MSG_OUT, MSG_IN, nr);
		answer(p, 1, c, nr, 0);
		assert_reap(p, 1, nr, 0);
	}
	sent = nr;
	for (i = 0; i < nr; i++) {
		assert_int_equal(recv_end(p, 0, c), 0);
		assert_chain(c, MSG_OUT, MSG_IN, i);
		answer(p, 0, c, i, 0);
		nudge(p, &turns);
		if (!i) {
			assert_int_equal(send_msg(p, 0, sent), VBB_E_NOSPC);
			assert_reap(p, 0, 0, 0);
			assert_int_equal(send_msg(p, 0, sent), 0);
			assert_int_equal(send_msg(p, 0, sent + 1), VBB_E_NOSPC);
		}
	}
	assert_int_equal(recv_end(p, 0, c), 0);
	assert_chain(c, MSG_OUT, MSG_IN, sent);
	answer(p, 0, c, sent, 0);
	for (i = 1; i <= nr; i++)
		assert_reap(p, 0, i, 0);
	assert_none(p);
	stop(p);
}

/* 1 MiB in pieces of every size from 0 on, and an answer in pieces */
static void test_big(void **state)
{
	static struct vbb_seg seg[MAX_SEGS * 2];
	struct pair *p = start(state);
	struct vbb_chain *c = chain();
	size_t nr = 0, nr_in, off, len;
	unsigned int round;
	void *token;
	vbb_u64 got;

	fill(p->mem, MIB, 7);
	for (off = 0; off < MIB; off += len, nr++) {
		len = nr % 3 ? nr * 3 : 0;
		if (len > MIB - off)
			len = MIB - off;
		seg[nr] = (struct vbb_seg){ p->mem + off, len };
	}
	assert_true(nr > 1000);
	for (nr_in = 0; nr_in < 10; nr_in++)
		seg[nr + nr_in] = (struct vbb_seg){ p->mem + MIB + nr_in * 1000, 999 };
	for (round = 0; round < (p->kind->one_way ? 1 : 3); round++) {
		assert_int_equal(vbb_transport_send(p->drv, 0, seg, nr, seg + nr, nr_in, &seg), 0);
		flush(p);
		assert_int_equal(recv_end(p, 0, c), 0);
		assert_chain(c, MIB, 9990, 7);
		write_filled(c->seg + c->nr_out, c->nr_in, 9989, round);
		assert_int_equal(vbb_transport_done(p->dev, 0, c, 9989), 0);
		if (p->kind->one_way)
			break;
		assert_int_equal(reap_end(p, 0, &token, &got), 0);
		assert_ptr_equal(token, &seg);
		assert_int_equal(got, 9989);
		assert_filled(seg + nr, nr_in, 9989, round);
		assert_filled(seg, nr, MIB, 7);
	}
	stop(p);
}

/* A chain that does not fit into what the receiver has */
static void test_toosmall(void **state)
{
	struct pair *p = start(state);
	struct vbb_seg seg[64];
	struct vbb_chain c = { .seg = seg, .max_segs = 1 };

	assert_int_equal(send_msg(p, 0, 0), 0);
	flush(p);
	assert_int_equal(recv_end(p, 0, &c), p->kind->toosmall);
	c.max_segs = ARRAY_SIZE(seg);
	if (p->kind->toosmall == VBB_E_TOOSMALL) {
		assert_int_equal(recv_end(p, 0, &c), 0);
		assert_chain(&c, MSG_OUT, MSG_IN, 0);
		answer(p, 0, &c, 0, 0);
	}
	if (!p->kind->one_way)
		assert_reap(p, 0, 0, 0);
	stop(p);
}

/*
 * Thousands of messages of every shape, held and given back at random: each token comes back once,
 * lent memory is untouched but for what was written, and every byte arrives.
 */
#define CELL 4096
#define CELLS 64

static void test_traffic(void **state)
{
	static struct vbb_seg held_seg[CELLS][64];
	struct {
		vbb_u64 out_len, in_len, written;
		unsigned int queue;
		bool busy;
	} cell[CELLS] = { 0 };
	struct {
		struct vbb_chain c;
		unsigned int nr, queue;
		bool busy;
	} held[CELLS] = { 0 };
	unsigned int fifo[NR_QUEUES][CELLS], nr_fifo[NR_QUEUES] = { 0 };
	unsigned int i, j, nr, q, sent = 0, reaped = 0, steps = 0;
	struct pair *p = start(state);
	uint64_t seed = 11;
	struct vbb_chain *c;
	struct vbb_cur cur;
	vbb_u64 len;
	void *token;
	int err;

	memset(p->mem, 0xa5, CELL * CELLS);
	while (reaped < 3000) {
		assert_true(++steps < 3000000);
		q = (unsigned int)test_below(&seed, NR_QUEUES);
		nr = (unsigned int)test_below(&seed, CELLS);
		if (test_below(&seed, 2) && sent < 3000 && !cell[nr].busy) {
			vbb_u8 *mem = p->mem + CELL * nr;
			struct vbb_seg seg[8];
			size_t at = 0;

			for (i = 0; i < 8; i++) {
				size_t max = test_below(&seed, 3) ? CELL / 8 : 4;

				seg[i].base = mem + at;
				seg[i].len = (size_t)test_below(&seed, max);
				at += seg[i].len;
			}
			i = (unsigned int)test_below(&seed, 9);
			cell[nr].out_len = vbb_segs_len(seg, i);
			cell[nr].in_len = vbb_segs_len(seg + i, 8 - i);
			fill(mem, (size_t)cell[nr].out_len, nr);
			memset(mem + cell[nr].out_len, 0xa5, CELL - (size_t)cell[nr].out_len);
			err = vbb_transport_send(p->drv, q, seg, i, seg + i, 8 - i, mem);
			if (!err) {
				cell[nr].busy = true;
				cell[nr].queue = q;
				fifo[q][nr_fifo[q]++] = nr;
				sent++;
			} else {
				assert_int_equal(err, at ? VBB_E_NOSPC : VBB_E_INVAL);
			}
		}
		for (i = 0; i < CELLS && held[i].busy; i++)
			;
		c = &held[i].c;
		*c = (struct vbb_chain){ .seg = held_seg[i], .max_segs = 64 };
		err = vbb_transport_recv(p->dev, q, c);
		if (!err) {
			nr = fifo[q][0];
			memmove(fifo[q], fifo[q] + 1, --nr_fifo[q] * sizeof(fifo[q][0]));
			assert_chain(c, cell[nr].out_len, cell[nr].in_len, nr);
			held[i].busy = true;
			held[i].nr = nr;
			held[i].queue = q;
		} else {
			assert_int_equal(err, VBB_E_AGAIN);
		}
		i = (unsigned int)test_below(&seed, CELLS);
		if (held[i].busy) {
			nr = held[i].nr;
			len = test_below(&seed, cell[nr].in_len + 1);
			c = &held[i].c;
			write_filled(c->seg + c->nr_out, c->nr_in, len, nr + 1000);
			cell[nr].written = len;
			assert_int_equal(vbb_transport_done(p->dev, held[i].queue, c, len), 0);
			held[i].busy = false;
		}
		if (test_below(&seed, 2)) {
			vbb_transport_kick(p->drv, q);
			vbb_transport_kick(p->dev, q);
		}
		err = vbb_transport_reap(p->drv, q, &token, &len);
		if (err) {
			assert_int_equal(err, VBB_E_AGAIN);
			continue;
		}
		reaped++;
		nr = (unsigned int)(((vbb_u8 *)token - p->mem) / CELL);
		assert_true(cell[nr].busy);
		assert_int_equal(cell[nr].queue, q);
		assert_int_equal(cell[nr].written, len);
		cell[nr].busy = false;
		vbb_cur_init(&cur, &(struct vbb_seg){ token, CELL }, 1);
		assert_filled(cur.seg, 1, cell[nr].out_len, nr);
		assert_filled(&(struct vbb_seg){ (vbb_u8 *)token + cell[nr].out_len, CELL }, 1, len,
			      nr + 1000);
		for (j = (unsigned int)(cell[nr].out_len + len); j < CELL; j++)
			assert_int_equal(((vbb_u8 *)token)[j], 0xa5);
	}
	assert_int_equal(sent, 3000);
	stop(p);
}

static void assert_all_closed(struct pair *p, bool drv)
{
	struct vbb_chain *c = chain();
	void *token;
	vbb_u64 len;
	int i;

	for (i = 0; i < 2; i++) {
		assert_int_equal(vbb_transport_wait(drv ? p->drv : p->dev, 10 * SEC), VBB_E_CLOSED);
		if (drv) {
			assert_int_equal(send_msg(p, 0, 9), VBB_E_CLOSED);
			assert_int_equal(reap_end(p, 1, &token, &len), VBB_E_CLOSED);
			assert_int_equal(vbb_transport_kick(p->drv, 1), VBB_E_CLOSED);
		} else {
			assert_int_equal(recv_end(p, 0, c), VBB_E_CLOSED);
			assert_int_equal(vbb_transport_kick(p->dev, 0), VBB_E_CLOSED);
		}
	}
}

/* The driver goes: the device can still take what came, and then learns it. */
static void test_driver_goes(void **state)
{
	struct pair *p = start(state);
	struct vbb_chain *c = chain(), *held;
	struct vbb_seg seg[64];
	unsigned int i;

	for (i = 0; i < 3; i++)
		assert_int_equal(send_msg(p, 0, i), 0);
	held = &(struct vbb_chain){ .seg = seg, .max_segs = ARRAY_SIZE(seg) };
	assert_int_equal(recv_end(p, 0, held), 0);
	p->kind->close_drv(p);
	for (i = 1; i < 3; i++) {
		assert_int_equal(vbb_transport_wait(p->dev, 10 * SEC), 0);
		assert_int_equal(recv_end(p, 0, c), 0);
		assert_chain(c, MSG_OUT, MSG_IN, i);
	}
	assert_all_closed(p, false);
	assert_int_equal(vbb_transport_done(p->dev, 0, held, 0), VBB_E_CLOSED);
	stop(p);
}

/* The device goes: the driver can still reap what was done, and then learns it. */
static void test_device_goes(void **state)
{
	struct pair *p = start(state);
	struct vbb_chain *c = chain();
	unsigned int i, turns = 0;

	for (i = 0; i < 3; i++)
		assert_int_equal(send_msg(p, 0, i), 0);
	for (i = 0; i < 2; i++) {
		assert_int_equal(recv_end(p, 0, c), 0);
		answer(p, 0, c, i, i);
	}
	nudge(p, &turns);
	p->kind->close_dev(p);
	for (i = 0; i < 2; i++) {
		assert_int_equal(vbb_transport_wait(p->drv, 10 * SEC), 0);
		assert_reap(p, 0, i, i);
	}
	assert_all_closed(p, true);
	stop(p);
}

static vbb_u64 clock_ns(clockid_t id)
{
	struct timespec ts;

	clock_gettime(id, &ts);
	return (vbb_u64)ts.tv_sec * SEC + (vbb_u64)ts.tv_nsec;
}

/* What the machine takes for itself is counted as ours: one quiet wait is enough. */
static void assert_sleeps(struct vbb_transport *t)
{
	vbb_u64 wall, cpu, least = SEC;

	for (int i = 0; i < 5 && least > SEC / 100; i++) {
		wall = clock_ns(CLOCK_MONOTONIC);
		cpu = clock_ns(CLOCK_THREAD_CPUTIME_ID);
		assert_int_equal(vbb_transport_wait(t, SEC / 50), VBB_E_AGAIN);
		cpu = clock_ns(CLOCK_THREAD_CPUTIME_ID) - cpu;
		assert_in_range(clock_ns(CLOCK_MONOTONIC) - wall, SEC / 50, 10 * SEC);
		least = cpu < least ? cpu : least;
	}
	assert_in_range(least, 0, SEC / 100);
}

struct sleeper {
	struct vbb_transport *t;
	int err;
};

static void *sleeper_run(void *arg)
{
	struct sleeper *s = arg;

	s->err = vbb_transport_wait(s->t, ~(vbb_u64)0);
	return NULL;
}

static void sleeper_start(struct sleeper *s, pthread_t *thread, struct vbb_transport *t)
{
	const struct timespec nap = { .tv_nsec = 20000000 };

	s->t = t;
	s->err = 1;
	assert_int_equal(pthread_create(thread, NULL, sleeper_run, s), 0);
	nanosleep(&nap, NULL);
}

static void test_wait(void **state)
{
	struct pair *p = start(state);
	struct vbb_chain *c = chain();
	struct sleeper sleeper;
	pthread_t thread;

	assert_int_equal(vbb_transport_wait(p->drv, 0), VBB_E_AGAIN);
	assert_int_equal(vbb_transport_wait(p->dev, 0), VBB_E_AGAIN);
	assert_sleeps(p->drv);
	assert_sleeps(p->dev);

	sleeper_start(&sleeper, &thread, p->dev);
	assert_int_equal(send_msg(p, 1, 0), 0);
	assert_int_equal(vbb_transport_kick(p->drv, 1), 0);
	pthread_join(thread, NULL);
	assert_int_equal(sleeper.err, 0);
	/* it is there, so there is nothing to wait for */
	assert_int_equal(vbb_transport_wait(p->dev, ~(vbb_u64)0), 0);
	assert_sleeps(p->drv);
	assert_int_equal(recv_end(p, 1, c), 0);
	assert_sleeps(p->dev);

	sleeper_start(&sleeper, &thread, p->drv);
	answer(p, 1, c, 0, 3);
	assert_int_equal(vbb_transport_kick(p->dev, 1), 0);
	pthread_join(thread, NULL);
	assert_int_equal(sleeper.err, 0);
	assert_reap(p, 1, 0, 3);
	assert_sleeps(p->drv);

	sleeper_start(&sleeper, &thread, p->dev);
	p->kind->close_drv(p);
	pthread_join(thread, NULL);
	assert_int_equal(sleeper.err, VBB_E_CLOSED);
	stop(p);
}

static void on_alarm(int sig)
{
	(void)sig;
}

static void test_signal(void **state)
{
	const struct sigaction act = { .sa_handler = on_alarm };
	/* again and again: the first may come before we sleep */
	const struct itimerspec when = { { .tv_nsec = 20000000 }, { .tv_nsec = 20000000 } };
	struct pair *p = start(state);
	timer_t timer;

	sigaction(SIGALRM, &act, NULL);
	assert_int_equal(timer_create(CLOCK_MONOTONIC, NULL, &timer), 0);
	assert_int_equal(timer_settime(timer, 0, &when, NULL), 0);
	assert_int_equal(vbb_transport_wait(p->drv, ~(vbb_u64)0), VBB_E_AGAIN);
	assert_int_equal(vbb_transport_wait(p->dev, ~(vbb_u64)0), VBB_E_AGAIN);
	timer_delete(timer);
	stop(p);
}

/* The device's end is a sender too, where the transport is one for both. */
static void test_duplex(void **state)
{
	struct pair *p = start(state);
	struct vbb_transport *t;
	struct vbb_chain *c = chain();

	assert_int_equal(send_msg(p, 0, 0), 0);
	t = p->drv;
	p->drv = p->dev;
	p->dev = t;
	assert_int_equal(send_msg(p, 0, 1), 0);
	assert_int_equal(recv_end(p, 0, c), 0);
	assert_chain(c, MSG_OUT, MSG_IN, 1);
	answer(p, 0, c, 1, 5);
	assert_reap(p, 0, 1, 5);
	t = p->drv;
	p->drv = p->dev;
	p->dev = t;
	assert_int_equal(recv_end(p, 0, c), 0);
	assert_chain(c, MSG_OUT, MSG_IN, 0);
	answer(p, 0, c, 0, 6);
	assert_reap(p, 0, 0, 6);
	assert_none(p);
	stop(p);
}

/* What an end cannot do, because it says so or was built before there was such an op */
static int op_kick(struct vbb_transport *t, unsigned int queue)
{
	(void)t;
	return (int)queue;
}

static void test_absent_ops(void **state)
{
	struct vbb_transport_ops ops = { .size = sizeof(ops) };
	struct vbb_transport t = { &ops };
	struct vbb_chain c = { 0 };
	void *token;
	vbb_u64 len;

	(void)state;
	assert_int_equal(vbb_transport_send(&t, 0, NULL, 0, NULL, 0, NULL), VBB_E_STATE);
	assert_int_equal(vbb_transport_reap(&t, 0, &token, &len), VBB_E_STATE);
	assert_int_equal(vbb_transport_recv(&t, 0, &c), VBB_E_STATE);
	assert_int_equal(vbb_transport_done(&t, 0, &c, 0), VBB_E_STATE);
	assert_int_equal(vbb_transport_kick(&t, 0), VBB_E_STATE);
	assert_int_equal(vbb_transport_wait(&t, 0), VBB_E_STATE);
	ops.kick = op_kick;
	assert_int_equal(vbb_transport_kick(&t, 3), 3);
	ops.size = offsetof(struct vbb_transport_ops, wait);
	assert_int_equal(vbb_transport_kick(&t, 3), 3);
	ops.size = offsetof(struct vbb_transport_ops, kick);
	assert_int_equal(vbb_transport_kick(&t, 3), VBB_E_STATE);
	ops.size += sizeof(ops.kick) - 1;
	assert_int_equal(vbb_transport_kick(&t, 3), VBB_E_STATE);
	/* an implementer who knew none of them */
	ops.size = sizeof(ops.size);
	assert_int_equal(vbb_transport_send(&t, 0, NULL, 0, NULL, 0, NULL), VBB_E_STATE);
	assert_int_equal(vbb_transport_reap(&t, 0, &token, &len), VBB_E_STATE);
	assert_int_equal(vbb_transport_recv(&t, 0, &c), VBB_E_STATE);
	assert_int_equal(vbb_transport_done(&t, 0, &c, 0), VBB_E_STATE);
	assert_int_equal(vbb_transport_wait(&t, 0), VBB_E_STATE);
}

int main(void)
{
	static const struct {
		const char *name;
		CMUnitTestFunction test;
		bool two_way;	/* needs answers */
		bool duplex;	/* needs ends that can both send */
		bool hears;	/* needs waits that a signal ends */
	} suite[] = {
		{ "one", test_one, false, false, false },
		{ "halves", test_halves, false, false, false },
		{ "misuse", test_misuse, false, false, false },
		{ "order", test_order, false, false, false },
		{ "full", test_full, true, false, false },
		{ "big", test_big, false, false, false },
		{ "toosmall", test_toosmall, false, false, false },
		{ "traffic", test_traffic, true, false, false },
		{ "driver goes", test_driver_goes, true, false, false },
		{ "device goes", test_device_goes, true, false, false },
		{ "wait", test_wait, true, false, false },
		{ "signal", test_signal, true, false, true },
		{ "duplex", test_duplex, true, true, false },
	};
	static struct CMUnitTest tests[TEST_MAX_KINDS * ARRAY_SIZE(suite) + 1];
	static char names[ARRAY_SIZE(tests)][64];
	size_t i, j, nr = 0;

	for (i = 0; i < test_nr_kinds; i++) {
		for (j = 0; j < ARRAY_SIZE(suite); j++) {
			if ((suite[j].two_way && test_kinds[i].one_way) ||
			    (suite[j].duplex && !test_kinds[i].duplex) ||
			    (suite[j].hears && test_kinds[i].deaf))
				continue;
			snprintf(names[nr], sizeof(names[nr]), "%s: %s", test_kinds[i].name,
				 suite[j].name);
			tests[nr].name = names[nr];
			tests[nr].test_func = suite[j].test;
			tests[nr].initial_state = (void *)(uintptr_t)&test_kinds[i];
			nr++;
		}
	}
	signal(SIGPIPE, SIG_IGN);
	tests[nr].name = "absent ops";
	tests[nr++].test_func = test_absent_ops;
	return _cmocka_run_group_tests("transports", tests, nr, NULL, NULL);
}
