// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause
#define _GNU_SOURCE

#include "vring_end.h"

#include <sys/eventfd.h>

#include "deadline.h"

static struct vbb_vring_end *vring_end(struct vbb_transport *t)
{
	return (struct vbb_vring_end *)t;
}

/* Once the other side is gone, nothing more comes. */
static int end_result(const struct vbb_vring_end *e, int err)
{
	return err == VBB_E_AGAIN && e->closed ? VBB_E_CLOSED : err;
}

static int end_send(struct vbb_transport *t, unsigned int queue, const struct vbb_seg *out,
		    size_t nr_out, const struct vbb_seg *in, size_t nr_in, void *token)
{
	struct vbb_vring_end *e = vring_end(t);

	if (queue >= e->nr_queues)
		return VBB_E_INVAL;
	if (e->closed)
		return VBB_E_CLOSED;
	return vbb_vring_drv_send(&e->drv[queue], out, nr_out, in, nr_in, token);
}

static int end_reap(struct vbb_transport *t, unsigned int queue, void **token, vbb_u64 *len)
{
	struct vbb_vring_end *e = vring_end(t);

	if (queue >= e->nr_queues)
		return VBB_E_INVAL;
	return end_result(e, vbb_vring_drv_reap(&e->drv[queue], token, len));
}

static int end_recv(struct vbb_transport *t, unsigned int queue, struct vbb_chain *chain)
{
	struct vbb_vring_end *e = vring_end(t);

	if (queue >= e->nr_queues)
		return VBB_E_INVAL;
	return end_result(e, vbb_vring_dev_recv(&e->dev[queue], chain));
}

static int end_done(struct vbb_transport *t, unsigned int queue, const struct vbb_chain *chain,
		    vbb_u64 written)
{
	struct vbb_vring_end *e = vring_end(t);

	if (queue >= e->nr_queues)
		return VBB_E_INVAL;
	if (e->closed)
		return VBB_E_CLOSED;
	return vbb_vring_dev_done(&e->dev[queue], chain, written);
}

static int end_kick(struct vbb_transport *t, unsigned int queue)
{
	struct vbb_vring_end *e = vring_end(t);

	if (queue >= e->nr_queues)
		return VBB_E_INVAL;
	if (e->closed)
		return VBB_E_CLOSED;
	if (e->drv ? vbb_vring_drv_should_kick(&e->drv[queue]) :
		     vbb_vring_dev_should_notify(&e->dev[queue]))
		eventfd_write(e->fds[queue].tell, 1);
	return 0;
}

/* Is something there? If not, whatever comes from now on is notified. */
static int end_look(struct vbb_vring_end *e)
{
	unsigned int i;

	for (i = 0; i < e->nr_queues; i++) {
		if (e->drv ? e->drv[i].broken : e->dev[i].broken)
			return VBB_E_BROKEN;
		if (e->drv ? vbb_vring_drv_listen(&e->drv[i]) : vbb_vring_dev_listen(&e->dev[i]))
			return 0;
	}
	return end_result(e, VBB_E_AGAIN);
}

static void end_mute(struct vbb_vring_end *e)
{
	unsigned int i;

	for (i = 0; i < e->nr_queues; i++) {
		if (e->drv)
			vbb_vring_drv_mute(&e->drv[i]);
		else
			vbb_vring_dev_mute(&e->dev[i]);
	}
}

static int end_wait(struct vbb_transport *t, vbb_u64 timeout_ns)
{
	struct vbb_vring_end *e = vring_end(t);
	vbb_u64 deadline = vbb_deadline(timeout_ns);
	struct timespec left;
	eventfd_t count;
	unsigned int i;
	int err;

	while (err = end_look(e), err == VBB_E_AGAIN) {
		left = vbb_timespec(vbb_deadline_left(deadline));
		if (ppoll(e->pollfd, e->nr_queues + 1, &left, NULL) <= 0)
			break;
		for (i = 0; i < e->nr_queues; i++)
			if (e->pollfd[i].revents)
				eventfd_read(e->fds[i].wake, &count);
		/* what comes behind a hang-up is nobody's affair */
		if (e->pollfd[e->nr_queues].revents)
			e->closed = true;
	}
	end_mute(e);
	return err;
}

static void end_init(struct vbb_vring_end *e, unsigned int nr_queues,
		     const struct vbb_vring_fds *fds, struct pollfd *pollfd, int peer)
{
	unsigned int i;

	e->nr_queues = nr_queues;
	e->fds = fds;
	e->pollfd = pollfd;
	e->closed = false;
	for (i = 0; i < nr_queues; i++)
		pollfd[i] = (struct pollfd){ .fd = fds[i].wake, .events = POLLIN };
	/* no events asked for: hang-ups and errors come anyway */
	pollfd[nr_queues] = (struct pollfd){ .fd = peer };
}

void vbb_vring_end_init_drv(struct vbb_vring_end *e, struct vbb_vring_drv *drv,
			    unsigned int nr_queues, const struct vbb_vring_fds *fds,
			    struct pollfd *pollfd, int peer)
{
	static const struct vbb_transport_ops ops = {
		.size = sizeof(ops),
		.send = end_send,
		.reap = end_reap,
		.kick = end_kick,
		.wait = end_wait,
	};

	e->t.ops = &ops;
	e->drv = drv;
	e->dev = NULL;
	end_init(e, nr_queues, fds, pollfd, peer);
}

void vbb_vring_end_init_dev(struct vbb_vring_end *e, struct vbb_vring_dev *dev,
			    unsigned int nr_queues, const struct vbb_vring_fds *fds,
			    struct pollfd *pollfd, int peer)
{
	static const struct vbb_transport_ops ops = {
		.size = sizeof(ops),
		.recv = end_recv,
		.done = end_done,
		.kick = end_kick,
		.wait = end_wait,
	};

	e->t.ops = &ops;
	e->drv = NULL;
	e->dev = dev;
	end_init(e, nr_queues, fds, pollfd, peer);
}
