// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause
/* What only a stream has: a peer that writes any bytes, in any pieces, and stops anywhere. */
#define _GNU_SOURCE

#include "test.h"
#include "stream.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#define NR_MSGS 4
#define MAX_LEN 1000
#define MAX_SEGS 100

static struct {
	struct vbb_stream s;
	struct vbb_stream_queue queue[2];
	struct vbb_stream_msg msg[2 * 2 * NR_MSGS];
	struct vbb_seg seg[2 * NR_MSGS * (MAX_SEGS + 1)];
	vbb_u8 buf[2 * NR_MSGS * MAX_LEN];
	int fd, peer;
} e;

static struct vbb_transport *const t = &e.s.t;
static struct vbb_seg segs[4];
static struct vbb_chain chain = { .seg = segs, .max_segs = 4 };

static void end_init(int in, int out)
{
	const struct vbb_stream_cfg cfg = {
		.fd_in = in,
		.fd_out = out,
		.nr_queues = 2,
		.nr_msgs = NR_MSGS,
		.max_len = MAX_LEN,
		.max_segs = MAX_SEGS,
		.queue = e.queue,
		.msg = e.msg,
		.seg = e.seg,
		.buf = e.buf,
	};

	assert_int_equal(vbb_stream_init(&e.s, &cfg), 0);
}

static void start(void)
{
	int fds[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
	e.fd = fds[0];
	e.peer = fds[1];
	end_init(e.fd, e.fd);
}

static void stop(void)
{
	close(e.fd);
	if (e.peer >= 0)
		close(e.peer);
}

static void peer_write(const void *p, size_t len)
{
	assert_int_equal(write(e.peer, p, len), len);
}

static void header(vbb_u8 *p, vbb_u32 len, unsigned int kind, unsigned int queue, vbb_u32 id,
		   vbb_u32 in_len)
{
	vbb_store64(p, len | (vbb_u64)kind << 32 | (vbb_u64)queue << 48);
	vbb_store64(p + 8, id | (vbb_u64)in_len << 32);
}

static void peer_header(vbb_u32 len, unsigned int kind, unsigned int queue, vbb_u32 id,
			vbb_u32 in_len)
{
	vbb_u8 p[VBB_STREAM_HDR_LEN];

	header(p, len, kind, queue, id, in_len);
	peer_write(p, sizeof(p));
}

static int recv_msg(unsigned int queue)
{
	return vbb_transport_recv(t, queue, &chain);
}

static int reap(void)
{
	void *token;
	vbb_u64 len;

	return vbb_transport_reap(t, 0, &token, &len);
}

static int send_msg(size_t len, size_t in_len)
{
	static vbb_u8 mem[2 * MAX_LEN + 2];
	const struct vbb_seg out = { mem, len }, in = { mem + MAX_LEN + 1, in_len };

	return vbb_transport_send(t, 0, &out, 1, &in, 1, mem);
}

static void test_init(void **state)
{
	struct vbb_stream_cfg cfg = { .nr_queues = 1 };
	int fds[2];

	(void)state;
	start();
	cfg.fd_in = cfg.fd_out = -1;
	assert_int_equal(vbb_stream_init(&e.s, &cfg), VBB_E_INVAL);
	cfg.fd_in = e.fd;
	assert_int_equal(vbb_stream_init(&e.s, &cfg), VBB_E_INVAL);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	cfg.fd_out = fds[0];
	assert_int_equal(vbb_stream_init(&e.s, &cfg), VBB_E_INVAL);
	cfg.fd_out = e.fd;
	cfg.nr_queues = 65537;
	assert_int_equal(vbb_stream_init(&e.s, &cfg), VBB_E_INVAL);
	close(fds[0]);
	close(fds[1]);
	stop();
}

/* The bytes themselves, as the header says */
static void test_bytes(void **state)
{
	static const vbb_u8 want[] = {
		5, 0, 0, 0, 1, 0, 1, 0, 0, 0, 0, 0, 0x02, 0x01, 0, 0, 'h', 'e', 'l', 'l', 'o',
	};
	static const vbb_u8 want_done[] = {
		2, 0, 0, 0, 2, 0, 1, 0, 3, 0, 0, 0, 0, 0, 0, 0, 'o', 'k',
	};
	vbb_u8 got[64], mem[300];
	char he[] = "he", llo[] = "llo";
	const struct vbb_seg out[] = { { he, 2 }, { llo, 3 } };
	const struct vbb_seg in[] = { { mem, 1 }, { mem + 20, 0x101 } };
	void *token;
	vbb_u64 len;

	(void)state;
	start();
	assert_int_equal(vbb_transport_send(t, 1, out, 2, in, 2, mem), 0);
	assert_int_equal(read(e.peer, got, sizeof(got)), sizeof(want));
	assert_memory_equal(got, want, sizeof(want));
	peer_header(3, VBB_STREAM_DONE, 1, 0, 0);
	peer_write("abc", 3);
	assert_int_equal(vbb_transport_reap(t, 1, &token, &len), 0);
	assert_ptr_equal(token, mem);
	assert_int_equal(len, 3);
	assert_int_equal(mem[0], 'a');
	assert_memory_equal(mem + 20, "bc", 2);

	peer_header(4, VBB_STREAM_MSG, 1, 3, 2);
	peer_write("ping", 4);
	assert_int_equal(recv_msg(0), VBB_E_AGAIN);
	assert_int_equal(recv_msg(1), 0);
	assert_int_equal(chain.nr_out, 1);
	assert_int_equal(chain.seg[0].len, 4);
	assert_memory_equal(chain.seg[0].base, "ping", 4);
	assert_int_equal(chain.nr_in, 1);
	assert_int_equal(chain.seg[1].len, 2);
	memcpy(chain.seg[1].base, "ok", 2);
	assert_int_equal(vbb_transport_done(t, 1, &chain, 2), 0);
	assert_int_equal(read(e.peer, got, sizeof(got)), sizeof(want_done));
	assert_memory_equal(got, want_done, sizeof(want_done));
	stop();
}

/* Three frames, a byte at a time: nothing comes before it is whole. */
static void test_dribble(void **state)
{
	vbb_u8 bytes[3 * VBB_STREAM_HDR_LEN + 7 + 9], *p = bytes;
	size_t i, got = 0;

	(void)state;
	start();
	header(p, 7, VBB_STREAM_MSG, 0, 0, 0);
	memset(p += VBB_STREAM_HDR_LEN, 1, 7);
	header(p += 7, 0, VBB_STREAM_MSG, 0, 1, 5);
	header(p += VBB_STREAM_HDR_LEN, 9, VBB_STREAM_MSG, 0, 2, 0);
	memset(p + VBB_STREAM_HDR_LEN, 3, 9);
	for (i = 0; i < sizeof(bytes); i++) {
		assert_int_equal(recv_msg(0), VBB_E_AGAIN);
		peer_write(bytes + i, 1);
		if (i + 1 == VBB_STREAM_HDR_LEN + 7 || i + 1 == 2 * VBB_STREAM_HDR_LEN + 7 ||
		    i + 1 == sizeof(bytes)) {
			assert_int_equal(recv_msg(0), 0);
			assert_int_equal(chain.cookie, got++);
		}
	}
	assert_int_equal(got, 3);
	stop();
}

/* A pipe that takes little at a time, and a reader who takes a few bytes at a time */
static void test_short_writes(void **state)
{
	struct vbb_seg seg[MAX_SEGS];
	vbb_u8 mem[MAX_LEN], got[4 * (MAX_LEN + VBB_STREAM_HDR_LEN)];
	size_t i, nr, total = 0, len;
	int fds[2], nothing[2];
	uint64_t seed = 5;
	ssize_t n;

	(void)state;
	assert_int_equal(pipe2(fds, O_NONBLOCK), 0);
	assert_int_equal(pipe2(nothing, O_NONBLOCK), 0);
	end_init(nothing[0], fds[1]);
	/* full but for what is read */
	while (write(fds[1], "x", 1) == 1)
		total++;
	for (i = 0; i < MAX_LEN; i++)
		mem[i] = (vbb_u8)i;
	for (nr = 0; nr < NR_MSGS; nr++) {
		for (i = 0; i < MAX_SEGS; i++)
			seg[i] = (struct vbb_seg){ mem + 10 * i, 10 };
		assert_int_equal(vbb_transport_send(t, 0, seg, MAX_SEGS, NULL, 0, mem), 0);
	}
	assert_int_equal(vbb_transport_send(t, 0, seg, MAX_SEGS, NULL, 0, mem), VBB_E_NOSPC);
	for (; total; total -= (size_t)n) {
		n = read(fds[0], got, total < sizeof(got) ? total : sizeof(got));
		assert_true(n > 0);
	}
	for (len = 0; len < sizeof(got); len += (size_t)n) {
		size_t want = 1 + (size_t)test_below(&seed, 300);

		assert_int_equal(vbb_transport_kick(t, 0), 0);
		n = read(fds[0], got + len, want < sizeof(got) - len ? want : sizeof(got) - len);
		assert_true(n > 0);
	}
	assert_int_equal(read(fds[0], got, 1), -1);
	for (nr = 0; nr < NR_MSGS; nr++) {
		const vbb_u8 *p = got + nr * (MAX_LEN + VBB_STREAM_HDR_LEN);

		assert_int_equal(vbb_load32(p), MAX_LEN);
		assert_int_equal(vbb_load32(p + 8), nr);
		assert_memory_equal(p + VBB_STREAM_HDR_LEN, mem, MAX_LEN);
	}
	for (i = 0; i < 2; i++) {
		close(fds[i]);
		close(nothing[i]);
	}
}

static void assert_broken(void)
{
	assert_int_equal(vbb_transport_wait(t, 0), VBB_E_BROKEN);
	assert_int_equal(recv_msg(0), VBB_E_BROKEN);
	assert_int_equal(reap(), VBB_E_BROKEN);
	assert_int_equal(send_msg(1, 1), VBB_E_BROKEN);
	assert_int_equal(vbb_transport_kick(t, 0), VBB_E_BROKEN);
	stop();
}

/* Frames that may not come: told once, and the end; what came before can be taken. */
static void test_faults(void **state)
{
	static const struct {
		vbb_u32 len;
		unsigned int kind, queue;
		vbb_u32 id, in_len;
	} bad[] = {
		{ 1, 0, 0, 1, 0 },
		{ 1, 3, 0, 1, 0 },
		{ 1, 0x101, 0, 1, 0 },
		{ 1, VBB_STREAM_MSG, 2, 1, 0 },
		{ 1, VBB_STREAM_MSG, 0, NR_MSGS, 0 },
		{ 1, VBB_STREAM_MSG, 0, 0, 0 },		/* not come back yet */
		{ 0, VBB_STREAM_MSG, 0, 1, 0 },
		{ MAX_LEN + 1, VBB_STREAM_MSG, 0, 1, 0 },
		{ MAX_LEN, VBB_STREAM_MSG, 0, 1, 1 },
		{ 1, VBB_STREAM_MSG, 0, 1, 0xffffffff },
		{ 0xffffffff, VBB_STREAM_MSG, 0, 1, 1 },
		{ 0, VBB_STREAM_DONE, 0, 1, 0 },	/* never sent */
		{ 0, VBB_STREAM_DONE, 1, 0, 0 },
		{ 0, VBB_STREAM_DONE, 0, 0, 1 },
		{ 11, VBB_STREAM_DONE, 0, 0, 0 },
	};
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		start();
		assert_int_equal(send_msg(1, 10), 0);
		peer_header(1, VBB_STREAM_MSG, 0, 0, 0);
		peer_write("x", 1);
		peer_header(bad[i].len, bad[i].kind, bad[i].queue, bad[i].id, bad[i].in_len);
		assert_int_equal(recv_msg(0), 0);
		assert_int_equal(recv_msg(0), VBB_E_FRAME);
		assert_broken();
	}
	/* an answer to a message that has not gone out whole */
	start();
	while (write(e.fd, "0123456789abcdef", 16) == 16)
		;
	assert_int_equal(send_msg(MAX_LEN, 0), 0);
	peer_header(0, VBB_STREAM_DONE, 0, 0, 0);
	assert_int_equal(reap(), VBB_E_FRAME);
	assert_broken();
	/* an answer given twice */
	start();
	assert_int_equal(send_msg(1, 0), 0);
	peer_header(0, VBB_STREAM_DONE, 0, 0, 0);
	peer_header(0, VBB_STREAM_DONE, 0, 0, 0);
	assert_int_equal(reap(), 0);
	assert_int_equal(reap(), VBB_E_FRAME);
	assert_broken();
	/* each call tells the fault that another one met */
	start();
	peer_header(1, VBB_STREAM_MSG, 0, 0, 0);
	peer_write("x", 1);
	peer_header(1, 0, 0, 0, 0);
	assert_int_equal(recv_msg(0), 0);
	assert_int_equal(vbb_transport_done(t, 0, &chain, 0), VBB_E_FRAME);
	assert_int_equal(vbb_transport_done(t, 0, &chain, 0), VBB_E_BROKEN);
	assert_broken();
}

static void assert_closed(void)
{
	assert_int_equal(recv_msg(0), VBB_E_CLOSED);
	assert_int_equal(reap(), VBB_E_CLOSED);
	assert_int_equal(send_msg(1, 1), VBB_E_CLOSED);
	assert_int_equal(vbb_transport_kick(t, 0), VBB_E_CLOSED);
	assert_int_equal(vbb_transport_wait(t, 0), VBB_E_CLOSED);
	stop();
}

/* The other side stops after every number of bytes of a frame. */
static void test_eof(void **state)
{
	vbb_u8 bytes[VBB_STREAM_HDR_LEN + 3];
	size_t len;

	(void)state;
	header(bytes, 3, VBB_STREAM_MSG, 0, 1, 0);
	memcpy(bytes + VBB_STREAM_HDR_LEN, "end", 3);
	for (len = 0; len <= sizeof(bytes); len++) {
		start();
		peer_write(bytes, len);
		close(e.peer);
		e.peer = -1;
		if (len && len < sizeof(bytes)) {
			assert_int_equal(vbb_transport_wait(t, 0), VBB_E_FRAME);
			assert_broken();
			continue;
		}
		if (len)
			assert_int_equal(recv_msg(0), 0);
		assert_closed();
	}
}

/* More than a message may have; and a peer that goes with something unread */
static void test_reset(void **state)
{
	vbb_u8 mem[MAX_LEN + 1];
	const struct vbb_seg seg = { mem, sizeof(mem) }, whole = { mem, MAX_LEN }, one = { mem, 1 };

	(void)state;
	start();
	assert_int_equal(vbb_transport_send(t, 0, &seg, 1, NULL, 0, NULL), VBB_E_INVAL);
	assert_int_equal(vbb_transport_send(t, 0, NULL, 0, &seg, 1, NULL), VBB_E_INVAL);
	assert_int_equal(vbb_transport_send(t, 0, &whole, 1, &one, 1, NULL), VBB_E_INVAL);
	memset(mem, 0, sizeof(mem));
	assert_int_equal(vbb_transport_send(t, 0, &whole, 1, NULL, 0, NULL), 0);
	peer_header(0, VBB_STREAM_MSG, 0, 0, 1);
	close(e.peer);
	e.peer = -1;
	assert_int_equal(recv_msg(0), 0);
	assert_closed();
}

/* We learn by writing that nobody reads; no signal comes, and what came before can be taken. */
static void test_no_reader(void **state)
{
	int fds[2], back[2];

	(void)state;
	start();
	signal(SIGPIPE, SIG_DFL);
	peer_header(1, VBB_STREAM_MSG, 0, 0, 0);
	peer_write("x", 1);
	shutdown(e.peer, SHUT_RD);
	assert_int_equal(send_msg(1, 1), 0);
	assert_int_equal(send_msg(1, 1), VBB_E_CLOSED);
	assert_int_equal(recv_msg(0), 0);
	assert_int_equal(vbb_transport_done(t, 0, &chain, 0), VBB_E_CLOSED);
	close(e.peer);
	e.peer = -1;
	assert_closed();

	/* a pipe tells while we sleep */
	signal(SIGPIPE, SIG_IGN);
	assert_int_equal(pipe2(fds, O_NONBLOCK), 0);
	assert_int_equal(pipe2(back, O_NONBLOCK), 0);
	end_init(back[0], fds[1]);
	close(fds[0]);
	assert_int_equal(vbb_transport_wait(t, ~(vbb_u64)0), VBB_E_CLOSED);
	e.fd = fds[1];
	e.peer = back[0];
	close(back[1]);
	assert_closed();

	/* nothing is told of half a frame behind an end that was told */
	assert_int_equal(pipe2(fds, O_NONBLOCK), 0);
	assert_int_equal(pipe2(back, O_NONBLOCK), 0);
	end_init(back[0], fds[1]);
	close(fds[0]);
	assert_int_equal(send_msg(1, 1), 0);
	assert_int_equal(vbb_transport_kick(t, 0), VBB_E_CLOSED);
	e.fd = fds[1];
	e.peer = back[1];
	peer_write("half", 4);
	close(back[1]);
	e.peer = back[0];
	assert_closed();
}

/* A message too long for the buffers of the socket goes on while we wait for its answer. */
static void *drain(void *arg)
{
	vbb_u8 buf[128];
	size_t len = 0;
	ssize_t n;

	(void)arg;
	while (len < (MAX_LEN + VBB_STREAM_HDR_LEN) * NR_MSGS) {
		n = read(e.peer, buf, sizeof(buf));
		if (n > 0)
			len += (size_t)n;
		else
			usleep(100);
	}
	peer_header(0, VBB_STREAM_DONE, 0, NR_MSGS - 1, 0);
	return NULL;
}

static void test_wait_writes(void **state)
{
	int small = 2048;
	pthread_t thread;
	unsigned int i;

	(void)state;
	start();
	setsockopt(e.fd, SOL_SOCKET, SO_SNDBUF, &small, sizeof(small));
	for (i = 0; i < NR_MSGS; i++)
		assert_int_equal(send_msg(MAX_LEN, 0), 0);
	assert_non_null(e.s.out.first);
	assert_int_equal(pthread_create(&thread, NULL, drain, NULL), 0);
	assert_int_equal(vbb_transport_wait(t, 60000000000u), 0);
	pthread_join(thread, NULL);
	assert_int_equal(reap(), 0);
	stop();
}

/* Any bytes at all: never outside the buffers, never without an end */
static void test_noise(void **state)
{
	vbb_u8 bytes[200];
	uint64_t seed = 9;
	unsigned int round, i, nr_faults = 0, nr_done = 0;
	size_t len;
	int err;

	(void)state;
	for (round = 0; round < 3000; round++) {
		start();
		for (i = 0; i < 3; i++)
			send_msg(5, 100);
		for (i = 0; i < 8; i++) {
			header(bytes, (vbb_u32)test_below(&seed, 150),
			       1 + (unsigned int)(test_below(&seed, 40) % 3),
			       (unsigned int)test_below(&seed, 2),
			       (vbb_u32)test_below(&seed, NR_MSGS + 1),
			       (vbb_u32)(test_below(&seed, 3) ? 0 : test_below(&seed, 1200)));
			len = 1 + (size_t)test_below(&seed, sizeof(bytes));
			peer_write(bytes, len);
			while (err = recv_msg((unsigned int)test_below(&seed, 2)), !err)
				vbb_transport_done(t, 0, &chain, 0);
			if (err == VBB_E_FRAME)
				nr_faults++;
			while (err = reap(), !err)
				nr_done++;
			if (err != VBB_E_FRAME && err != VBB_E_BROKEN)
				assert_int_equal(err, VBB_E_AGAIN);
		}
		stop();
	}
	assert_in_range(nr_faults, 1000, 3000);
	assert_in_range(nr_done, 100, 30000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_init),
		cmocka_unit_test(test_bytes),
		cmocka_unit_test(test_dribble),
		cmocka_unit_test(test_short_writes),
		cmocka_unit_test(test_faults),
		cmocka_unit_test(test_eof),
		cmocka_unit_test(test_reset),
		cmocka_unit_test(test_no_reader),
		cmocka_unit_test(test_wait_writes),
		cmocka_unit_test(test_noise),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
