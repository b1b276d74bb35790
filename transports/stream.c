// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause
#define _GNU_SOURCE

#include "stream.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "deadline.h"
#include "pack.h"

/* pieces in one system call */
#define NR_IOV 64

static struct vbb_stream *stream(struct vbb_transport *t)
{
	return (struct vbb_stream *)t;
}

static struct vbb_stream_msg *stream_first(const struct vbb_fifo *f)
{
	return (struct vbb_stream_msg *)f->first;
}

static struct vbb_stream_msg *stream_take(struct vbb_fifo *f)
{
	return (struct vbb_stream_msg *)vbb_fifo_take(f);
}

/* Bytes of the header and the rest that are still to come, as much as fits into iov. */
static size_t io_iov(const struct vbb_stream_io *io, struct iovec *iov)
{
	vbb_u64 left = io->cur.left;
	size_t i, off = io->cur.off, nr = 0, len;

	if (io->hdr_off < VBB_STREAM_HDR_LEN) {
		iov[nr].iov_base = (void *)(uintptr_t)(io->hdr + io->hdr_off);
		iov[nr++].iov_len = VBB_STREAM_HDR_LEN - io->hdr_off;
	}
	for (i = io->cur.idx; left && nr < NR_IOV; i++) {
		len = io->cur.seg[i].len - off;
		if (len > left)
			len = (size_t)left;
		iov[nr].iov_base = (vbb_u8 *)io->cur.seg[i].base + off;
		iov[nr++].iov_len = len;
		left -= len;
		off = 0;
	}
	return nr;
}

static void io_advance(struct vbb_stream_io *io, size_t n)
{
	struct vbb_cur *c = &io->cur;
	size_t len = VBB_STREAM_HDR_LEN - io->hdr_off;

	if (len > n)
		len = n;
	io->hdr_off += len;
	n -= len;
	while (n) {
		vbb_cur_settle(c);
		len = c->seg[c->idx].len - c->off;
		if (len > n)
			len = n;
		vbb_cur_step(c, len);
		n -= len;
	}
}

static bool io_whole(const struct vbb_stream_io *io)
{
	return io->hdr_off == VBB_STREAM_HDR_LEN && !io->cur.left;
}

/* What came whole can be taken still; the rest of the end is told by stream_end(). */
static void stream_stop(struct vbb_stream *s, int fault)
{
	s->eof = true;
	if (s->end)
		return;
	s->fault = fault;
	s->end = fault ? VBB_E_BROKEN : VBB_E_CLOSED;
}

static int stream_end(struct vbb_stream *s)
{
	int fault = s->fault;

	s->fault = 0;
	return fault ? fault : s->end;
}

static int stream_none(struct vbb_stream *s)
{
	int err = stream_end(s);

	return err ? err : VBB_E_AGAIN;
}

/* A header is there: is it one that may come now, and where does the rest go? */
static bool frame_begin(struct vbb_stream *s)
{
	struct vbb_stream_io *io = &s->rd;
	vbb_u32 len = vbb_load32(io->hdr);
	vbb_u16 kind = vbb_load16(io->hdr + 4);
	vbb_u16 queue = vbb_load16(io->hdr + 6);
	vbb_u32 id = vbb_load32(io->hdr + 8);
	vbb_u32 in_len = vbb_load32(io->hdr + 12);
	struct vbb_stream_queue *q;
	struct vbb_stream_msg *m;

	if (queue >= s->cfg.nr_queues || id >= s->cfg.nr_msgs)
		return false;
	q = &s->cfg.queue[queue];
	if (kind == VBB_STREAM_MSG) {
		m = &q->theirs[id];
		if (m->used || len > s->cfg.max_len || in_len > s->cfg.max_len - len ||
		    !(len | in_len))
			return false;
		m->used = true;
		m->in_len = in_len;
		m->seg[0] = (struct vbb_seg){ m->buf, len };
		vbb_cur_init(&io->cur, m->seg, 1);
		io->to = &q->recv;
	} else if (kind == VBB_STREAM_DONE) {
		m = &q->ours[id];
		if (!m->away || in_len || len > m->in_len)
			return false;
		m->away = false;
		vbb_cur_init(&io->cur, m->seg + m->nr_out, m->nr_in);
		io->cur.left = len;
		io->to = &q->done;
	} else {
		return false;
	}
	m->len = len;
	io->msg = m;
	return true;
}

static void stream_read(struct vbb_stream *s)
{
	struct vbb_stream_io *io = &s->rd;
	struct iovec iov[NR_IOV];
	ssize_t n;

	while (!s->eof) {
		n = readv(s->cfg.fd_in, iov, (int)io_iov(io, iov));
		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			return;
		if (n <= 0) {
			stream_stop(s, io->hdr_off ? VBB_E_FRAME : 0);
			return;
		}
		io_advance(io, (size_t)n);
		if (io_whole(io) && !io->msg && !frame_begin(s)) {
			stream_stop(s, VBB_E_FRAME);
			return;
		}
		if (io_whole(io)) {
			vbb_fifo_put(io->to, &io->msg->link);
			io->hdr_off = 0;
			io->msg = NULL;
		}
	}
}

static void stream_write(struct vbb_stream *s)
{
	struct vbb_stream_io *io = &s->wr;
	struct iovec iov[NR_IOV];
	struct msghdr msghdr = { .msg_iov = iov };
	struct vbb_stream_frame *f;
	ssize_t n;

	while (s->out.first && !s->end) {
		f = &stream_first(&s->out)->frame;
		if (!io->msg) {
			io->msg = stream_first(&s->out);
			io->hdr_off = 0;
			vbb_store64(io->hdr, f->len | (vbb_u64)f->kind << 32 |
					     (vbb_u64)f->queue << 48);
			vbb_store64(io->hdr + 8, f->id | (vbb_u64)f->in_len << 32);
			vbb_cur_init(&io->cur, f->seg, f->nr_segs);
		}
		msghdr.msg_iovlen = io_iov(io, iov);
		n = s->is_socket ? sendmsg(s->cfg.fd_out, &msghdr, MSG_NOSIGNAL) :
				   writev(s->cfg.fd_out, iov, (int)msghdr.msg_iovlen);
		if (n < 0) {
			if (errno != EAGAIN && errno != EINTR)
				s->end = VBB_E_CLOSED;
			return;
		}
		io_advance(io, (size_t)n);
		if (io_whole(io)) {
			io->msg->away = f->kind == VBB_STREAM_MSG;
			io->msg->used = false;
			io->msg = NULL;
			vbb_fifo_take(&s->out);
		}
	}
}

static int stream_send(struct vbb_transport *t, unsigned int queue, const struct vbb_seg *out,
		       size_t nr_out, const struct vbb_seg *in, size_t nr_in, void *token)
{
	struct vbb_stream *s = stream(t);
	vbb_u64 len = vbb_segs_len(out, nr_out), in_len = vbb_segs_len(in, nr_in);
	struct vbb_stream_queue *q;
	struct vbb_stream_msg *m;
	int err;

	if (queue >= s->cfg.nr_queues || len > s->cfg.max_len || in_len > s->cfg.max_len - len ||
	    !(len | in_len) ||
	    vbb_segs_pack(NULL, out, nr_out) + vbb_segs_pack(NULL, in, nr_in) > s->cfg.max_segs)
		return VBB_E_INVAL;
	err = stream_end(s);
	if (err)
		return err;
	q = &s->cfg.queue[queue];
	if (!q->free.first)
		return VBB_E_NOSPC;
	m = stream_take(&q->free);
	m->token = token;
	m->in_len = (vbb_u32)in_len;
	m->nr_out = vbb_segs_pack(m->seg, out, nr_out);
	m->nr_in = vbb_segs_pack(m->seg + m->nr_out, in, nr_in);
	m->frame = (struct vbb_stream_frame){
		.len = (vbb_u32)len,
		.kind = VBB_STREAM_MSG,
		.queue = (vbb_u16)queue,
		.id = m->id,
		.in_len = m->in_len,
		.seg = m->seg,
		.nr_segs = m->nr_out,
	};
	vbb_fifo_put(&s->out, &m->link);
	stream_write(s);
	return 0;
}

static int stream_reap(struct vbb_transport *t, unsigned int queue, void **token, vbb_u64 *len)
{
	struct vbb_stream *s = stream(t);
	struct vbb_stream_queue *q;
	struct vbb_stream_msg *m;

	if (queue >= s->cfg.nr_queues)
		return VBB_E_INVAL;
	stream_write(s);
	stream_read(s);
	q = &s->cfg.queue[queue];
	if (!q->done.first)
		return stream_none(s);
	m = stream_take(&q->done);
	*token = m->token;
	*len = m->len;
	vbb_fifo_put(&q->free, &m->link);
	return 0;
}

static int stream_recv(struct vbb_transport *t, unsigned int queue, struct vbb_chain *chain)
{
	struct vbb_stream *s = stream(t);
	struct vbb_stream_queue *q;
	struct vbb_stream_msg *m;

	if (queue >= s->cfg.nr_queues)
		return VBB_E_INVAL;
	stream_write(s);
	stream_read(s);
	q = &s->cfg.queue[queue];
	m = stream_first(&q->recv);
	if (!m)
		return stream_none(s);
	if (chain->max_segs < (size_t)!!m->len + !!m->in_len)
		return VBB_E_TOOSMALL;
	vbb_fifo_take(&q->recv);
	m->away = true;
	chain->nr_out = !!m->len;
	chain->nr_in = !!m->in_len;
	if (m->len)
		chain->seg[0] = (struct vbb_seg){ m->buf, m->len };
	if (m->in_len)
		chain->seg[chain->nr_out] = (struct vbb_seg){ m->buf + m->len, m->in_len };
	chain->cookie = m->id;
	return 0;
}

static int stream_done(struct vbb_transport *t, unsigned int queue, const struct vbb_chain *chain,
		       vbb_u64 written)
{
	struct vbb_stream *s = stream(t);
	struct vbb_stream_msg *m;
	int err;

	if (queue >= s->cfg.nr_queues || chain->cookie >= s->cfg.nr_msgs)
		return VBB_E_INVAL;
	m = &s->cfg.queue[queue].theirs[chain->cookie];
	if (!m->away || written > m->in_len)
		return VBB_E_INVAL;
	err = stream_end(s);
	if (err)
		return err;
	m->away = false;
	m->seg[0] = (struct vbb_seg){ m->buf + m->len, (size_t)written };
	m->frame = (struct vbb_stream_frame){
		.len = (vbb_u32)written,
		.kind = VBB_STREAM_DONE,
		.queue = (vbb_u16)queue,
		.id = m->id,
		.seg = m->seg,
		.nr_segs = 1,
	};
	vbb_fifo_put(&s->out, &m->link);
	stream_write(s);
	return 0;
}

static int stream_kick(struct vbb_transport *t, unsigned int queue)
{
	struct vbb_stream *s = stream(t);

	if (queue >= s->cfg.nr_queues)
		return VBB_E_INVAL;
	stream_write(s);
	return stream_end(s);
}

static int stream_look(struct vbb_stream *s)
{
	unsigned int i;

	stream_write(s);
	stream_read(s);
	for (i = 0; i < s->cfg.nr_queues; i++)
		if (s->cfg.queue[i].done.first || s->cfg.queue[i].recv.first)
			return 0;
	return stream_none(s);
}

static int stream_wait(struct vbb_transport *t, vbb_u64 timeout_ns)
{
	struct vbb_stream *s = stream(t);
	vbb_u64 deadline = vbb_deadline(timeout_ns);
	struct pollfd fds[2];
	struct timespec left;
	int err;

	while (err = stream_look(s), err == VBB_E_AGAIN) {
		fds[0] = (struct pollfd){ .fd = s->cfg.fd_in, .events = POLLIN };
		fds[1] = (struct pollfd){ .fd = s->cfg.fd_out,
					  .events = s->out.first ? POLLOUT : 0 };
		left = vbb_timespec(vbb_deadline_left(deadline));
		if (ppoll(fds, 2, &left, NULL) <= 0)
			break;
		/* nobody reads any more; what is still to be read comes first */
		if (fds[1].revents & (POLLERR | POLLHUP))
			s->end = VBB_E_CLOSED;
	}
	return err;
}

static const struct vbb_transport_ops stream_ops = {
	.size = sizeof(stream_ops),
	.send = stream_send,
	.reap = stream_reap,
	.recv = stream_recv,
	.done = stream_done,
	.kick = stream_kick,
	.wait = stream_wait,
};

static bool fd_valid(int fd)
{
	int flags = fcntl(fd, F_GETFL);

	return flags >= 0 && flags & O_NONBLOCK;
}

int vbb_stream_init(struct vbb_stream *s, const struct vbb_stream_cfg *cfg)
{
	struct vbb_stream_msg *msg = cfg->msg;
	struct vbb_seg *seg = cfg->seg;
	struct vbb_stream_queue *q;
	vbb_u8 *buf = cfg->buf;
	int type;
	socklen_t type_len = sizeof(type);
	unsigned int i;
	vbb_u32 j;

	if (cfg->nr_queues > 65536 || !fd_valid(cfg->fd_in) || !fd_valid(cfg->fd_out))
		return VBB_E_INVAL;
	*s = (struct vbb_stream){ .t.ops = &stream_ops, .cfg = *cfg };
	s->is_socket = !getsockopt(cfg->fd_out, SOL_SOCKET, SO_TYPE, &type, &type_len);
	for (i = 0; i < cfg->nr_queues; i++) {
		q = &cfg->queue[i];
		*q = (struct vbb_stream_queue){ .ours = msg, .theirs = msg + cfg->nr_msgs };
		for (j = 0; j < cfg->nr_msgs; j++) {
			q->ours[j] = (struct vbb_stream_msg){ .id = j, .seg = seg };
			vbb_fifo_put(&q->free, &q->ours[j].link);
			seg += cfg->max_segs;
			q->theirs[j] = (struct vbb_stream_msg){ .id = j, .seg = seg, .buf = buf };
			seg++;
			buf += cfg->max_len;
		}
		msg += (size_t)2 * cfg->nr_msgs;
	}
	return 0;
}
