// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause
/*
 * Property: whatever the other end of a stream writes, each message comes once, within the sizes
 * that were agreed on; each of ours comes back once, with no more than could be written; and after
 * a broken frame nothing comes at all.
 */
#define _GNU_SOURCE

#include <sys/socket.h>
#include <unistd.h>

#include "fuzz.h"
#include "../transports/stream.c"

#define NR_QUEUES 2
#define NR_MSGS 3
#define MAX_LEN 64
#define MAX_SEGS 4

static struct {
	struct vbb_stream s;
	struct vbb_stream_queue queue[NR_QUEUES];
	struct vbb_stream_msg msg[2 * NR_QUEUES * NR_MSGS];
	struct vbb_seg seg[NR_QUEUES * NR_MSGS * (MAX_SEGS + 1)];
	vbb_u8 *buf;
	int fd, peer;
	bool ended;		/* a call said so */
	/* ours that are out */
	struct {
		vbb_u8 *mem;
		vbb_u64 in_len;
		unsigned int queue;
	} sent[NR_QUEUES * NR_MSGS];
	/* theirs that are with us */
	struct {
		struct vbb_seg seg[2];
		struct vbb_chain chain;
		unsigned int queue;
		bool held;
	} held[NR_QUEUES * NR_MSGS];
} f;

static void start(void)
{
	const struct vbb_stream_cfg cfg = {
		.nr_queues = NR_QUEUES, .nr_msgs = NR_MSGS, .max_len = MAX_LEN,
		.max_segs = MAX_SEGS, .queue = f.queue, .msg = f.msg, .seg = f.seg,
	};
	int fds[2];

	memset(&f, 0, sizeof(f));
	fuzz_check(!socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds));
	f.fd = fds[0];
	f.peer = fds[1];
	f.buf = fuzz_alloc(NR_QUEUES * NR_MSGS * MAX_LEN);
	f.s.cfg = cfg;
	f.s.cfg.fd_in = f.fd;
	f.s.cfg.fd_out = f.fd;
	f.s.cfg.buf = f.buf;
	fuzz_check(!vbb_stream_init(&f.s, &f.s.cfg));
}

static void stop(void)
{
	size_t i;

	close(f.fd);
	if (f.peer >= 0)
		close(f.peer);
	for (i = 0; i < NR_QUEUES * NR_MSGS; i++)
		free(f.sent[i].mem);
	free(f.buf);
}

static void peer_write(const void *p, size_t len)
{
	if (f.peer >= 0 && len)
		fuzz_check(write(f.peer, p, len) == (ssize_t)len);
}

static void peer_bytes(struct fuzz_input *in)
{
	size_t len = (size_t)fuzz_take(in, 1) % (2 * MAX_LEN);

	if (len > in->size)
		len = in->size;
	peer_write(in->data, len);
	in->data += len;
	in->size -= len;
}

static void peer_frame(struct fuzz_input *in)
{
	vbb_u64 len = fuzz_take(in, 1) % (MAX_LEN + 2), how = fuzz_take(in, 2);
	vbb_u64 in_len = how >> 8 & 1 ? fuzz_take(in, 1) % (MAX_LEN + 2) : 0;
	vbb_u8 frame[VBB_STREAM_HDR_LEN + MAX_LEN + 2] = { 0 };

	vbb_store64(frame, len | (1 + (how & 1)) << 32 | (how >> 1 & 1) << 48);
	vbb_store64(frame + 8, (how >> 2 & 3) | in_len << 32);
	peer_write(frame, VBB_STREAM_HDR_LEN + (size_t)len);
}

static void peer_read(void)
{
	vbb_u8 bytes[4096];

	while (f.peer >= 0 && read(f.peer, bytes, sizeof(bytes)) > 0)
		;
}

/* A broken frame is told once; from then on nothing comes, and an end stays. */
static void check_err(int err)
{
	fuzz_check(!f.ended || err == VBB_E_BROKEN || err == VBB_E_CLOSED);
	if (err == VBB_E_BROKEN || err == VBB_E_CLOSED)
		f.ended = true;
	else
		fuzz_check(err == VBB_E_AGAIN || err == VBB_E_NOSPC || err == VBB_E_FRAME);
}

static void send_one(struct fuzz_input *in)
{
	unsigned int queue = (unsigned int)fuzz_take(in, 1) % NR_QUEUES;
	size_t out_len = 1 + (size_t)fuzz_take(in, 1) % (MAX_LEN / 2), i;
	size_t in_len = (size_t)fuzz_take(in, 1) % (MAX_LEN / 2);
	struct vbb_seg seg[3];
	vbb_u8 *mem;
	int err;

	for (i = 0; i < NR_QUEUES * NR_MSGS && f.sent[i].mem; i++)
		;
	if (i == NR_QUEUES * NR_MSGS)
		return;
	mem = fuzz_alloc(out_len + in_len);
	memset(mem, 0, out_len + in_len);
	seg[0] = (struct vbb_seg){ mem, out_len };
	seg[1] = (struct vbb_seg){ mem + out_len, in_len / 2 };
	seg[2] = (struct vbb_seg){ mem + out_len + in_len / 2, in_len - in_len / 2 };
	err = vbb_transport_send(&f.s.t, queue, seg, 1, seg + 1, 2, &f.sent[i]);
	if (err) {
		free(mem);
		check_err(err);
		return;
	}
	fuzz_check(!f.ended);
	f.sent[i].mem = mem;
	f.sent[i].in_len = in_len;
	f.sent[i].queue = queue;
}

static void reap_one(unsigned int queue)
{
	void *token = NULL;
	vbb_u64 len = 0;
	size_t i;
	int err;

	err = vbb_transport_reap(&f.s.t, queue, &token, &len);
	if (err) {
		check_err(err);
		return;
	}
	for (i = 0; token != &f.sent[i]; i++)
		fuzz_check(i + 1 < NR_QUEUES * NR_MSGS);
	fuzz_check(f.sent[i].mem && f.sent[i].queue == queue && len <= f.sent[i].in_len);
	free(f.sent[i].mem);
	f.sent[i].mem = NULL;
}

static void recv_one(unsigned int queue)
{
	struct vbb_chain *c;
	vbb_u64 len;
	size_t i, k;
	int err;

	for (i = 0; i < NR_QUEUES * NR_MSGS && f.held[i].held; i++)
		;
	if (i == NR_QUEUES * NR_MSGS)
		return;
	c = &f.held[i].chain;
	c->seg = f.held[i].seg;
	c->max_segs = 2;
	err = vbb_transport_recv(&f.s.t, queue, c);
	if (err) {
		check_err(err);
		return;
	}
	fuzz_check(c->nr_out <= 1 && c->nr_in <= 1 && c->nr_out + c->nr_in);
	len = vbb_segs_len(c->seg, c->nr_out + c->nr_in);
	fuzz_check(len && len <= MAX_LEN);
	for (k = 0; k < c->nr_out + c->nr_in; k++) {
		vbb_u8 *p = c->seg[k].base;

		fuzz_check(p >= f.buf);
		fuzz_check(p + c->seg[k].len <= f.buf + NR_QUEUES * NR_MSGS * MAX_LEN);
	}
	for (k = 0; k < NR_QUEUES * NR_MSGS; k++)
		fuzz_check(!f.held[k].held || f.held[k].queue != queue ||
			   f.held[k].seg[0].base != c->seg[0].base);
	f.held[i].queue = queue;
	f.held[i].held = true;
}

static void done_one(struct fuzz_input *in)
{
	size_t i = (size_t)fuzz_take(in, 1) % (NR_QUEUES * NR_MSGS);
	vbb_u64 written = fuzz_take(in, 1) % (MAX_LEN + 1), len;
	struct vbb_chain *c = &f.held[i].chain;
	int err;

	if (!f.held[i].held)
		return;
	len = vbb_segs_len(c->seg + c->nr_out, c->nr_in);
	if (c->nr_in)
		memset(c->seg[c->nr_out].base, 0x5a, (size_t)len);
	err = vbb_transport_done(&f.s.t, f.held[i].queue, c, written);
	if (err == VBB_E_INVAL) {
		fuzz_check(written > len);
		return;
	}
	if (err)
		check_err(err);
	else
		fuzz_check(written <= len);
	f.held[i].held = false;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input in = { data, size };

	start();
	while (in.size) {
		vbb_u8 op = (vbb_u8)fuzz_take(&in, 1);

		switch (op % 9) {
		case 0:
			peer_bytes(&in);
			break;
		case 1:
		case 2:
			peer_frame(&in);
			break;
		case 3:
			peer_read();
			break;
		case 4:
			send_one(&in);
			break;
		case 5:
			reap_one(op / 9 % NR_QUEUES);
			break;
		case 6:
			recv_one(op / 9 % NR_QUEUES);
			break;
		case 7:
			done_one(&in);
			break;
		case 8:
			if (op / 9 % 8 == 7 && f.peer >= 0) {
				close(f.peer);
				f.peer = -1;
			}
			vbb_transport_kick(&f.s.t, 0);
			break;
		}
	}
	stop();
	return 0;
}
