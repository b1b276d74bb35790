// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause
/* The hostile end: it does what its odds say, no more, and the same again for the same seed. */
#include "test.h"
#include "hostile.h"
#include "loop.h"

#define NR_MSGS 4
#define MAX_SEGS 16
#define MAX_LEN 64
#define LEN 48
#define IN_LEN 32
#define ALWAYS 65536

static struct {
	struct vbb_loop l;
	struct vbb_loop_queue queue[2];
	struct vbb_loop_msg msg[2 * NR_MSGS];
	struct vbb_seg seg[2 * NR_MSGS * MAX_SEGS];
	struct vbb_hostile h[2];
	struct vbb_hostile_msg hmsg[2][NR_MSGS];
	struct vbb_seg hseg[2][NR_MSGS * MAX_SEGS];
	vbb_u8 hbuf[2][NR_MSGS * MAX_LEN];
} rig;

static struct vbb_transport *a, *b;
static vbb_u8 mem[LEN], in_mem[IN_LEN];
static struct vbb_seg segs[MAX_SEGS];
static struct vbb_chain chain;
static void *token;
static vbb_u64 len;

/* Ends that misbehave by these odds, or not where there are none */
static void start(const struct vbb_hostile_odds *from, const struct vbb_hostile_odds *to,
		  vbb_u64 seed)
{
	const struct vbb_hostile_odds *odds[2] = { from, to };
	const struct vbb_loop_cfg loop = {
		.nr_queues = 1,
		.nr_msgs = NR_MSGS,
		.max_segs = MAX_SEGS,
		.queue = rig.queue,
		.msg = rig.msg,
		.seg = rig.seg,
	};
	unsigned int i;

	vbb_loop_init(&rig.l, &loop);
	for (i = 0; i < 2; i++) {
		const struct vbb_hostile_cfg cfg = {
			.under = &rig.l.end[i].t,
			.odds = odds[i] ? *odds[i] : (struct vbb_hostile_odds){ 0 },
			.seed = seed,
			.nr_msgs = NR_MSGS,
			.max_segs = MAX_SEGS,
			.max_len = MAX_LEN,
			.msg = rig.hmsg[i],
			.seg = rig.hseg[i],
			.buf = rig.hbuf[i],
		};

		vbb_hostile_init(&rig.h[i], &cfg);
	}
	a = from ? &rig.h[0].t : &rig.l.end[0].t;
	b = to ? &rig.h[1].t : &rig.l.end[1].t;
	for (i = 0; i < LEN; i++)
		mem[i] = (vbb_u8)i;
	memset(in_mem, 0, sizeof(in_mem));
	chain = (struct vbb_chain){ .seg = segs, .max_segs = MAX_SEGS };
}

static int send_msg(void)
{
	const struct vbb_seg out[] = { { mem, LEN - 1 }, { NULL, 0 }, { mem + LEN - 1, 1 } };
	const struct vbb_seg in = { in_mem, IN_LEN };

	return vbb_transport_send(a, 0, out, 3, &in, 1, mem);
}

static int recv_msg(void)
{
	return vbb_transport_recv(b, 0, &chain);
}

static int done_msg(void)
{
	struct vbb_cur c;

	vbb_cur_init(&c, chain.seg + chain.nr_out, chain.nr_in);
	while (c.left)
		vbb_cur_store8(&c, 0x55);
	return vbb_transport_done(b, 0, &chain, IN_LEN);
}

static int reap(void)
{
	return vbb_transport_reap(a, 0, &token, &len);
}

/* Bits in which what arrived differs from what was sent, as far as it arrived */
static unsigned int bits_off(void)
{
	unsigned int bits = 0, i = 0;
	struct vbb_cur c;

	vbb_cur_init(&c, chain.seg, chain.nr_out);
	assert_true(c.left <= LEN);
	while (c.left)
		bits += (unsigned int)__builtin_popcount(vbb_cur_load8(&c) ^ i++);
	/* the sender's own memory is as it was */
	for (i = 0; i < LEN; i++)
		assert_int_equal(mem[i], i);
	return bits;
}

static unsigned int in_bits_off(void)
{
	unsigned int bits = 0, i;

	for (i = 0; i < IN_LEN; i++)
		bits += (unsigned int)__builtin_popcount(in_mem[i] ^ 0x55);
	return bits;
}

/* Either end may be the bad one; the other sees the same. */
static void test_flip(void **state)
{
	const struct vbb_hostile_odds odds = { .flip = ALWAYS };
	unsigned int end, round, bits, sum;

	(void)state;
	for (end = 0; end < 2; end++) {
		sum = 0;
		start(end ? NULL : &odds, end ? &odds : NULL, 1);
		for (round = 0; round < 100; round++) {
			assert_int_equal(send_msg(), 0);
			assert_int_equal(recv_msg(), 0);
			assert_int_equal(vbb_segs_len(chain.seg, chain.nr_out), LEN);
			bits = bits_off();
			assert_in_range(bits, 0, 8);
			sum += bits;
			assert_int_equal(done_msg(), 0);
			assert_int_equal(reap(), 0);
			assert_ptr_equal(token, mem);
			assert_int_equal(len, IN_LEN);
			/* what the receiver wrote goes bad at the sender's end */
			assert_in_range(in_bits_off(), 0, end ? 0 : 8);
			if (!end)
				sum += in_bits_off();
		}
		assert_in_range(sum, 100, 1600);
		assert_int_equal(rig.h[end].count.flip, end ? 100 : 200);
		vbb_loop_destroy(&rig.l);
	}
}

static void test_cut(void **state)
{
	const struct vbb_hostile_odds odds = { .cut = ALWAYS };
	unsigned int end, round, nr_short = 0, nr_in_short = 0;
	vbb_u64 got;

	(void)state;
	for (end = 0; end < 2; end++) {
		start(end ? NULL : &odds, end ? &odds : NULL, 2);
		for (round = 0; round < 100; round++) {
			assert_int_equal(send_msg(), 0);
			assert_int_equal(recv_msg(), 0);
			got = vbb_segs_len(chain.seg, chain.nr_out);
			assert_in_range(got, 1, LEN);
			nr_short += got < LEN;
			assert_int_equal(bits_off(), 0);
			assert_int_equal(done_msg(), 0);
			assert_int_equal(reap(), 0);
			assert_in_range(len, 0, end ? IN_LEN : IN_LEN - 1);
			nr_in_short += len < IN_LEN;
			assert_int_equal(in_bits_off(), 0);
		}
		vbb_loop_destroy(&rig.l);
	}
	assert_in_range(nr_short, 150, 200);
	assert_int_equal(nr_in_short, 100);
}

/* Longer than its buffers: nothing is changed, and it is cut into more segments all the same. */
static void test_long(void **state)
{
	const struct vbb_hostile_odds odds = { ALWAYS, ALWAYS, ALWAYS, 0, 0 };
	static vbb_u8 big[MAX_LEN + 1];
	const struct vbb_seg seg = { big, sizeof(big) };
	struct vbb_cur c;

	(void)state;
	start(&odds, NULL, 3);
	assert_int_equal(vbb_transport_send(a, 0, &seg, 1, NULL, 0, big), 0);
	assert_int_equal(recv_msg(), 0);
	assert_true(chain.nr_out > 1);
	vbb_cur_init(&c, chain.seg, chain.nr_out);
	assert_int_equal(c.left, sizeof(big));
	while (c.left)
		assert_int_equal(vbb_cur_load8(&c), 0);
	assert_int_equal(rig.h[0].count.flip, 0);
	assert_int_equal(rig.h[0].count.cut, 0);
	assert_int_equal(rig.h[0].count.recut, 1);
	/* nothing to change in a message without bytes */
	assert_int_equal(vbb_transport_send(a, 0, NULL, 0, &seg, 1, big), 0);
	assert_int_equal(vbb_transport_send(a, 0, NULL, 0, NULL, 0, big), VBB_E_INVAL);
	assert_int_equal(rig.h[0].count.recut, 2);
	vbb_loop_destroy(&rig.l);
}

static void test_recut(void **state)
{
	const struct vbb_hostile_odds odds = { .recut = ALWAYS };
	struct vbb_seg seg[MAX_SEGS + 1];
	unsigned int round, i;
	size_t most = 0;

	(void)state;
	start(&odds, &odds, 4);
	for (round = 0; round < 200; round++) {
		assert_int_equal(send_msg(), 0);
		assert_int_equal(recv_msg(), 0);
		assert_int_equal(vbb_segs_len(chain.seg, chain.nr_out), LEN);
		assert_int_equal(vbb_segs_len(chain.seg + chain.nr_out, chain.nr_in), IN_LEN);
		for (i = 0; i < chain.nr_out + chain.nr_in; i++)
			assert_true(chain.seg[i].len);
		if (most < chain.nr_out + chain.nr_in)
			most = chain.nr_out + chain.nr_in;
		assert_int_equal(bits_off(), 0);
		assert_int_equal(done_msg(), 0);
		assert_int_equal(reap(), 0);
		assert_int_equal(in_bits_off(), 0);
	}
	assert_int_equal(most, MAX_SEGS);
	/* as many segments as there may be, and bytes that cannot be cut */
	for (i = 0; i <= MAX_SEGS; i++)
		seg[i] = (struct vbb_seg){ mem + i, 1 };
	assert_int_equal(vbb_transport_send(a, 0, seg, MAX_SEGS, seg, 1, mem), VBB_E_INVAL);
	assert_int_equal(vbb_transport_send(a, 0, seg, MAX_SEGS, NULL, 0, mem), 0);
	assert_int_equal(recv_msg(), 0);
	assert_int_equal(chain.nr_out, MAX_SEGS);
	assert_int_equal(vbb_transport_send(a, 0, seg, 1, NULL, 0, mem), 0);
	chain.max_segs = 2;
	assert_int_equal(recv_msg(), 0);
	assert_int_equal(chain.nr_out, 1);
	vbb_loop_destroy(&rig.l);
}

/* Late, but it comes: there is something to wait for all the time. */
static void test_delay(void **state)
{
	const struct vbb_hostile_odds odds = { .delay = ALWAYS * 3 / 4 };
	unsigned int round, nr_late = 0;

	(void)state;
	start(&odds, &odds, 5);
	for (round = 0; round < 100; round++) {
		assert_int_equal(send_msg(), 0);
		while (assert_int_equal(vbb_transport_wait(b, 0), 0), recv_msg())
			nr_late++;
		assert_int_equal(done_msg(), 0);
		while (assert_int_equal(vbb_transport_wait(a, 0), 0), reap())
			nr_late++;
	}
	assert_in_range(nr_late, 400, 800);
	assert_int_equal(rig.h[0].count.delay + rig.h[1].count.delay, nr_late);
	vbb_loop_destroy(&rig.l);
}

static int call(unsigned int nr)
{
	switch (nr) {
	case 0: return send_msg();
	case 1: return reap();
	case 2: return recv_msg();
	case 3: return done_msg();
	case 4: return vbb_transport_kick(b, 0);
	default: return vbb_transport_wait(b, 0);
	}
}

/* In any call; and then for good */
static void test_die(void **state)
{
	const struct vbb_hostile_odds odds = { .die = ALWAYS };
	unsigned int i, j;

	(void)state;
	for (i = 0; i < 6; i++) {
		start(&odds, &odds, 6);
		for (j = 0; j < 6; j++)
			assert_int_equal(call((i + j) % 6), VBB_E_CLOSED);
		assert_int_equal(rig.h[0].count.die, 1);
		assert_int_equal(rig.h[1].count.die, 1);
		vbb_loop_destroy(&rig.l);
	}
}

static void pass_one(void)
{
	assert_int_equal(send_msg(), 0);
	assert_int_equal(recv_msg(), 0);
	assert_int_equal(done_msg(), 0);
	assert_int_equal(reap(), 0);
}

/* Its own room, both ways, and what is no message of it */
static void test_limits(void **state)
{
	const struct vbb_hostile_odds odds = { 0 };
	const struct vbb_seg seg = { mem, 1 };
	struct vbb_chain first;
	unsigned int i;

	(void)state;
	start(&odds, &odds, 7);
	for (i = 0; i < NR_MSGS; i++) {
		assert_int_equal(send_msg(), 0);
		assert_int_equal(recv_msg(), 0);
	}
	assert_int_equal(send_msg(), VBB_E_NOSPC);
	/* all that it can hold is held: room for one more message comes with done() */
	assert_int_equal(vbb_transport_send(&rig.l.end[1].t, 0, &seg, 1, NULL, 0, mem), 0);
	assert_int_equal(vbb_transport_recv(a, 0, &chain), VBB_E_AGAIN);
	chain.cookie = NR_MSGS;
	assert_int_equal(done_msg(), VBB_E_INVAL);
	chain.cookie = 0;
	assert_int_equal(vbb_transport_done(b, 0, &chain, IN_LEN + 1), VBB_E_INVAL);
	assert_int_equal(done_msg(), 0);
	assert_int_equal(done_msg(), VBB_E_INVAL);
	assert_int_equal(reap(), 0);
	vbb_loop_destroy(&rig.l);
	/* given back already, while its number under us is another message's again */
	start(NULL, &odds, 9);
	b = &rig.l.end[1].t;
	pass_one();
	b = &rig.h[1].t;
	assert_int_equal(send_msg(), 0);
	assert_int_equal(recv_msg(), 0);
	first = chain;
	assert_int_equal(done_msg(), 0);
	assert_int_equal(reap(), 0);
	b = &rig.l.end[1].t;
	pass_one();
	b = &rig.h[1].t;
	pass_one();
	pass_one();
	assert_int_equal(send_msg(), 0);
	assert_int_equal(recv_msg(), 0);
	assert_int_equal(rig.hmsg[1][chain.cookie].under.cookie,
			 rig.hmsg[1][first.cookie].under.cookie);
	assert_int_equal(vbb_transport_done(b, 0, &first, 0), VBB_E_INVAL);
	assert_int_equal(done_msg(), 0);
	vbb_loop_destroy(&rig.l);
	/* there is room here, but not under it */
	start(&odds, NULL, 8);
	for (i = 0; i < NR_MSGS; i++)
		assert_int_equal(vbb_transport_send(&rig.l.end[0].t, 0, &seg, 1, NULL, 0, mem), 0);
	assert_int_equal(send_msg(), VBB_E_NOSPC);
	assert_ptr_not_equal(rig.h[0].free.first, NULL);
	vbb_loop_destroy(&rig.l);
}

/* The same again: a digest of all that arrives */
static vbb_u64 misery(vbb_u64 seed)
{
	const struct vbb_hostile_odds odds = { 20000, 20000, 20000, 20000, 10 };
	vbb_u64 digest = 0;
	unsigned int round;
	struct vbb_cur c;
	int err;

	start(&odds, &odds, seed);
	for (round = 0; round < 500; round++) {
		err = send_msg();
		digest = digest * 31 + (vbb_u64)err;
		err = recv_msg();
		digest = digest * 31 + (vbb_u64)err;
		if (!err) {
			vbb_cur_init(&c, chain.seg, chain.nr_out);
			while (c.left)
				digest = digest * 31 + vbb_cur_load8(&c);
			digest = digest * 31 + chain.nr_out * 17 + chain.nr_in;
			done_msg();
		}
		err = reap();
		digest = digest * 31 + (vbb_u64)err + (err ? 0 : len);
	}
	vbb_loop_destroy(&rig.l);
	return digest;
}

static void test_same_seed(void **state)
{
	(void)state;
	assert_true(misery(1) == misery(1));
	assert_true(misery(1) != misery(2));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_flip),
		cmocka_unit_test(test_cut),
		cmocka_unit_test(test_long),
		cmocka_unit_test(test_recut),
		cmocka_unit_test(test_delay),
		cmocka_unit_test(test_die),
		cmocka_unit_test(test_limits),
		cmocka_unit_test(test_same_seed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
