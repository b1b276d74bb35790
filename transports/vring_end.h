/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause */
/* The two sides of virtqueues as ends of a transport, notified through eventfds. */
#ifndef VBB_TRANSPORTS_VRING_END_H
#define VBB_TRANSPORTS_VRING_END_H

#include <poll.h>

#include "vring.h"

VBB_BEGIN_DECLS

/**
 * struct vbb_vring_fds - the eventfds of a queue; the caller's, non-blocking
 */
struct vbb_vring_fds {
	int tell;	/* notifies the other side: a driver's kick, a device's call */
	int wake;	/* notifies us */
};

/**
 * struct vbb_vring_end - one end; private but for t
 */
struct vbb_vring_end {
	struct vbb_transport t;
	struct vbb_vring_drv *drv;	/* one of the two, an entry for each queue */
	struct vbb_vring_dev *dev;
	unsigned int nr_queues;
	const struct vbb_vring_fds *fds;
	struct pollfd *pollfd;
	bool closed;
};

/**
 * vbb_vring_end_init_drv() - the driver's end: send, reap, kick, wait
 * @e: the end; the caller's
 * @drv: the driver's side of each queue, set up; the caller's, borrowed
 * @nr_queues: how many
 * @fds: of each queue; the caller's, borrowed
 * @pollfd: room for @nr_queues + 1 entries; the caller's, borrowed
 * @peer: a socket or pipe whose other end closes when the other side goes away; -1: nothing tells
 *
 * wait() is what finds out that the other side is gone.
 */
void vbb_vring_end_init_drv(struct vbb_vring_end *e, struct vbb_vring_drv *drv,
			    unsigned int nr_queues, const struct vbb_vring_fds *fds,
			    struct pollfd *pollfd, int peer);

/**
 * vbb_vring_end_init_dev() - the device's end: recv, done, kick, wait
 * @e: the end; the caller's
 * @dev: the device's side of each queue, set up; the caller's, borrowed
 * @nr_queues: how many
 * @fds: of each queue; the caller's, borrowed
 * @pollfd: room for @nr_queues + 1 entries; the caller's, borrowed
 * @peer: a socket or pipe whose other end closes when the other side goes away; -1: nothing tells
 *
 * wait() is what finds out that the other side is gone.
 */
void vbb_vring_end_init_dev(struct vbb_vring_end *e, struct vbb_vring_dev *dev,
			    unsigned int nr_queues, const struct vbb_vring_fds *fds,
			    struct pollfd *pollfd, int peer);

VBB_END_DECLS

#endif
