// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause
/* The socket of a vhost-user front-end, and the transport that it makes with its queues */
#define _GNU_SOURCE
#include "vhu.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include "deadline.h"

#define VIRTIO_STATUS_NEEDS_RESET 0x40

static int frame_error(struct vbb_vhu *v, const char *why)
{
	v->why = why;
	return VBB_E_FRAME;
}

static int reply(struct vbb_vhu *v, struct vhu_msg *m)
{
	struct iovec iov[2] = {
		{ &m->hdr, sizeof(m->hdr) },
		{ &m->p, m->hdr.len },
	};
	struct msghdr msg = { .msg_iov = iov, .msg_iovlen = 2 };

	m->hdr.flags = VHU_VERSION | VHU_REPLY;
	errno = 0;
	if (sendmsg(v->sock, &msg, MSG_DONTWAIT | MSG_NOSIGNAL) ==
	    (ssize_t)(sizeof(m->hdr) + m->hdr.len))
		return 0;
	if (errno == EPIPE || errno == ECONNRESET)
		return VBB_E_CLOSED;
	return frame_error(v, "it does not read our replies");
}

/* Handles the request that was read whole. */
static int handle(struct vbb_vhu *v)
{
	struct vhu_msg m = { .fd = v->rx.fd, .nr_fds = v->rx.nr_fds };
	bool need_reply, replies;
	unsigned int i;
	int err;

	memcpy(&m.hdr, v->rx.buf, sizeof(m.hdr));
	memcpy(&m.p, v->rx.buf + sizeof(m.hdr), m.hdr.len);
	v->rx.len = 0;
	v->nr_requests++;
	need_reply = m.hdr.flags & VHU_NEED_REPLY;
	err = vhu_request_run(v, &m, &replies);
	if (err)
		v->nr_refused++;
	for (i = 0; i < v->rx.nr_fds; i++)
		close_fd(&v->rx.fd[i]);
	v->rx.nr_fds = 0;
	if (replies)
		return err ? VBB_E_FRAME : reply(v, &m);
	if (!need_reply || !(v->protocol & BIT(VHU_PROTOCOL_F_REPLY_ACK)))
		return err ? VBB_E_FRAME : 0;
	m.p.u64 = err ? 1 : 0;
	m.hdr.len = sizeof(m.p.u64);
	return reply(v, &m);
}

/* Keeps the descriptors of one piece of a request. false: there were too many. */
static bool keep_fds(struct vbb_vhu *v, struct msghdr *msg)
{
	bool fits = !(msg->msg_flags & MSG_CTRUNC);
	struct cmsghdr *c;
	size_t i, nr;
	int fd;

	for (c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		nr = (c->cmsg_len - CMSG_LEN(0)) / sizeof(fd);
		for (i = 0; i < nr; i++) {
			memcpy(&fd, CMSG_DATA(c) + i * sizeof(fd), sizeof(fd));
			if (v->rx.nr_fds < VBB_VHU_NR_FDS) {
				v->rx.fd[v->rx.nr_fds++] = fd;
			} else {
				close(fd);
				fits = false;
			}
		}
	}
	return fits;
}

/* How long the request is that is being read, as far as is known; 0: longer than any may be */
static vbb_u32 rx_len(const struct vbb_vhu *v)
{
	struct vhu_hdr hdr;

	if (v->rx.len < sizeof(hdr))
		return sizeof(hdr);
	memcpy(&hdr, v->rx.buf, sizeof(hdr));
	return hdr.len > VBB_VHU_REQUEST_LEN - sizeof(hdr) ? 0 : (vbb_u32)sizeof(hdr) + hdr.len;
}

/* Reads on, up to the end of the header or of the payload. 1: the request is there whole */
static int fill(struct vbb_vhu *v)
{
	char control[CMSG_SPACE(sizeof(int) * VBB_VHU_NR_FDS)] __attribute__((aligned(8)));
	struct iovec iov = { v->rx.buf + v->rx.len, rx_len(v) - v->rx.len };
	struct msghdr msg = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control,
		.msg_controllen = sizeof(control),
	};
	struct vhu_hdr hdr;
	ssize_t got;

	got = recvmsg(v->sock, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	if (got < 0 && (errno == EAGAIN || errno == EINTR))
		return VBB_E_AGAIN;
	if (got <= 0)
		return VBB_E_CLOSED;
	v->rx.len += (vbb_u32)got;
	if (!keep_fds(v, &msg))
		return frame_error(v, "more descriptors than any request can have");
	if (v->rx.len < sizeof(hdr))
		return 0;
	memcpy(&hdr, v->rx.buf, sizeof(hdr));
	if ((hdr.flags & (VHU_VERSION_MASK | VHU_REPLY)) != VHU_VERSION)
		return frame_error(v, "no request of version 1");
	if (!rx_len(v))
		return frame_error(v, "a payload longer than any request's");
	return v->rx.len == rx_len(v);
}

static int sock_ready(struct vbb_vhu *v)
{
	int i, err;

	for (i = 0; i < VHU_BATCH; i++) {
		err = fill(v);
		if (err == VBB_E_AGAIN)
			return 0;
		if (err > 0)
			err = handle(v);
		if (err)
			return err;
	}
	return 0;
}

static struct vbb_vhu *to_vhu(struct vbb_transport *t)
{
	return (struct vbb_vhu *)((char *)t - offsetof(struct vbb_vhu, transport));
}

static int vhu_recv(struct vbb_transport *t, unsigned int queue, struct vbb_chain *chain)
{
	struct vbb_vhu *v = to_vhu(t);
	struct vbb_vhu_queue *q;
	int err;

	if (queue >= v->nr_queues)
		return VBB_E_INVAL;
	q = &v->queue[queue];
	if (!q->running)
		return v->gone ? VBB_E_CLOSED : VBB_E_AGAIN;
	err = vbb_vring_dev_recv(&q->ring, chain);
	if (err == VBB_E_AGAIN && vbb_vring_dev_listen(&q->ring)) {
		vbb_vring_dev_mute(&q->ring);
		err = vbb_vring_dev_recv(&q->ring, chain);
	}
	switch (err) {
	case 0:
		return 0;
	case VBB_E_AGAIN:
		q->pending = false;
		return v->gone ? VBB_E_CLOSED : VBB_E_AGAIN;
	case VBB_E_RING_INDEX:
		v->status |= VIRTIO_STATUS_NEEDS_RESET;
		vbb_vhu_config_changed(v);
		break;
	case VBB_E_BROKEN:
		q->pending = false;
		return err;
	}
	fd_signal(q->err);
	return err;
}

static int vhu_done(struct vbb_transport *t, unsigned int queue, const struct vbb_chain *chain,
		    vbb_u64 written)
{
	struct vbb_vhu *v = to_vhu(t);

	if (v->gone)
		return VBB_E_CLOSED;
	if (queue >= v->nr_queues || !v->queue[queue].running)
		return VBB_E_INVAL;
	return vbb_vring_dev_done(&v->queue[queue].ring, chain, written);
}

static int vhu_kick(struct vbb_transport *t, unsigned int queue)
{
	struct vbb_vhu *v = to_vhu(t);
	struct vbb_vhu_queue *q;

	if (v->gone)
		return VBB_E_CLOSED;
	if (queue >= v->nr_queues)
		return VBB_E_INVAL;
	q = &v->queue[queue];
	if (q->running && vbb_vring_dev_should_notify(&q->ring))
		vhu_queue_call(v, q);
	return 0;
}

/* Is there something to take? If not, drivers notify us of what comes. */
static bool look(struct vbb_vhu *v)
{
	bool found = false;
	unsigned int i;

	for (i = 0; i < v->nr_queues; i++) {
		struct vbb_vhu_queue *q = &v->queue[i];

		q->pending = q->running && vbb_vring_dev_listen(&q->ring);
		found |= q->pending;
	}
	return found;
}

static int vhu_wait(struct vbb_transport *t, vbb_u64 timeout_ns)
{
	struct vbb_vhu *v = to_vhu(t);
	struct pollfd pfd = { .fd = v->epoll, .events = POLLIN };
	vbb_u64 deadline = vbb_deadline(timeout_ns), left_ns;
	struct timespec left;
	bool over = false;

	while (!look(v)) {
		if (v->gone)
			return VBB_E_CLOSED;
		/* also for a front-end that always says something */
		if (over)
			return VBB_E_AGAIN;
		left_ns = vbb_deadline_left(deadline);
		over = !left_ns;
		left = vbb_timespec(left_ns);
		if (ppoll(&pfd, 1, &left, NULL) <= 0)
			return VBB_E_AGAIN;
		vbb_vhu_dispatch(v);
	}
	return 0;
}

static const struct vbb_transport_ops vhu_transport_ops = {
	.size = sizeof(struct vbb_transport_ops),
	.recv = vhu_recv,
	.done = vhu_done,
	.kick = vhu_kick,
	.wait = vhu_wait,
};

int vbb_vhu_init(struct vbb_vhu *v, vbb_u64 features, unsigned int nr_queues,
		 const struct vbb_vhu_ops *ops, void *dev)
{
	unsigned int i;

	if (nr_queues > VBB_VHU_NR_QUEUES)
		return VBB_E_INVAL;
	memset(v, 0, sizeof(*v));
	v->transport.ops = &vhu_transport_ops;
	v->ops = ops;
	v->dev = dev;
	v->offered = features;
	v->nr_queues = nr_queues;
	v->map.ram = v->ram;
	v->sock = -1;
	v->gone = true;
	v->backend_req = -1;
	for (i = 0; i < VBB_VHU_NR_QUEUES; i++) {
		v->queue[i].kick = -1;
		v->queue[i].call = -1;
		v->queue[i].err = -1;
	}
	v->epoll = epoll_create1(EPOLL_CLOEXEC);
	return v->epoll < 0 ? VBB_E_BROKEN : 0;
}

void vbb_vhu_fini(struct vbb_vhu *v)
{
	vbb_vhu_detach(v);
	close_fd(&v->epoll);
}

int vbb_vhu_attach(struct vbb_vhu *v, int sock)
{
	if (v->sock >= 0 || watch(v, sock, WATCH_SOCK)) {
		close(sock);
		return v->sock >= 0 ? VBB_E_STATE : VBB_E_BROKEN;
	}
	v->sock = sock;
	v->gone = false;
	v->torn = false;
	v->why = NULL;
	return 0;
}

void vbb_vhu_detach(struct vbb_vhu *v)
{
	bool ran[VBB_VHU_NR_QUEUES];
	unsigned int i;

	if (v->sock < 0)
		return;
	v->gone = true;
	vhu_device_reset(v);
	vhu_memory_begin(v, ran);
	vhu_regions_remove_all(v);
	vhu_memory_end(v, ran);
	unwatch(v, &v->sock);
	close_fd(&v->backend_req);
	for (i = 0; i < v->rx.nr_fds; i++)
		close_fd(&v->rx.fd[i]);
	v->rx.nr_fds = 0;
	v->rx.len = 0;
	v->protocol = 0;
}

int vbb_vhu_fd(const struct vbb_vhu *v)
{
	return v->epoll;
}

int vbb_vhu_dispatch(struct vbb_vhu *v)
{
	struct epoll_event ev[VBB_VHU_NR_QUEUES + 1];
	int i, nr, err = 0;
	unsigned int k;

	if (v->gone)
		return VBB_E_CLOSED;
	nr = epoll_wait(v->epoll, ev, VBB_VHU_NR_QUEUES + 1, 0);
	for (i = 0; i < nr; i++) {
		if (ev[i].data.u32 == WATCH_SOCK)
			err = sock_ready(v);
		else
			vhu_queue_kicked(v, ev[i].data.u32);
	}
	if (v->torn)
		err = frame_error(v, "its memory went away");
	if (!err)
		return 0;
	/* what drivers had sent by now can still be taken */
	for (k = 0; k < v->nr_queues; k++)
		v->queue[k].pending = v->queue[k].running;
	v->gone = true;
	return err;
}

bool vbb_vhu_pending(const struct vbb_vhu *v, unsigned int queue)
{
	return queue < v->nr_queues && v->queue[queue].pending;
}

void vbb_vhu_config_changed(struct vbb_vhu *v)
{
	const struct vhu_hdr hdr = { VHU_BACKEND_CONFIG_CHANGE, VHU_VERSION, 0 };

	/* one that does not fit into a full socket is not needed: the same is in there already */
	if (v->backend_req >= 0 && v->protocol & BIT(VHU_PROTOCOL_F_CONFIG) &&
	    send(v->backend_req, &hdr, sizeof(hdr), MSG_DONTWAIT | MSG_NOSIGNAL) < 0 &&
	    errno != EAGAIN)
		close_fd(&v->backend_req);
}

bool vbb_vhu_fault(struct vbb_vhu *v, void *addr)
{
	size_t i;

	for (i = 0; i < v->nr_regions; i++) {
		const struct vbb_vhu_region *r = &v->region[i];
		vbb_u64 off = (uintptr_t)addr - (uintptr_t)r->map;
		size_t len = (size_t)vbb_pow2(r->host_shift);

		if ((uintptr_t)addr < (uintptr_t)r->map || off >= r->map_len)
			continue;
		/* dispatch() is to hear of it */
		v->torn = true;
		shutdown(v->sock, SHUT_RDWR);
		return mmap(r->map + (off & ~((vbb_u64)len - 1)), len, PROT_READ | PROT_WRITE,
			    MAP_FIXED | MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) != MAP_FAILED;
	}
	return false;
}
