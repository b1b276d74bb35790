/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause */
/* Both ends in one process, over plain memory. Each end is one thread's at a time. */
#ifndef VBB_TRANSPORTS_LOOP_H
#define VBB_TRANSPORTS_LOOP_H

#include <pthread.h>

#include <virtio_balloon_bmap/transport.h>

#include "fifo.h"

VBB_BEGIN_DECLS

/**
 * struct vbb_loop_msg - a message on its way; private
 */
struct vbb_loop_msg {
	struct vbb_link link;
	vbb_u64 id;
	void *token;
	struct vbb_seg *seg;
	size_t nr_out, nr_in;
	vbb_u64 written;
	bool lent;
};

/**
 * struct vbb_loop_queue - one queue in one direction; private
 */
struct vbb_loop_queue {
	struct vbb_fifo free, sent, done;
	struct vbb_loop_msg *msg;
};

/**
 * struct vbb_loop_cfg - how large, and in whose memory; all arrays are the caller's, borrowed
 */
struct vbb_loop_cfg {
	unsigned int nr_queues;		/* at each end */
	size_t nr_msgs;			/* lent at a time, by each end on each queue */
	size_t max_segs;		/* in a message */
	struct vbb_loop_queue *queue;	/* 2 * nr_queues */
	struct vbb_loop_msg *msg;	/* 2 * nr_queues * nr_msgs */
	struct vbb_seg *seg;		/* 2 * nr_queues * nr_msgs * max_segs */
};

struct vbb_loop;

/**
 * struct vbb_loop_end - one end; private but for t
 */
struct vbb_loop_end {
	struct vbb_transport t;
	struct vbb_loop *loop;
	struct vbb_loop_queue *out, *in;
};

/**
 * struct vbb_loop - both ends; private but for end[].t
 */
struct vbb_loop {
	struct vbb_loop_end end[2];
	struct vbb_loop_cfg cfg;
	pthread_mutex_t lock;
	pthread_cond_t kicked;
	bool closed;
};

/**
 * vbb_loop_init() - connect two ends
 * @l: both ends; the caller's
 * @cfg: sizes and arrays; copied
 */
void vbb_loop_init(struct vbb_loop *l, const struct vbb_loop_cfg *cfg);

/**
 * vbb_loop_close() - an end goes away; what was sent and done before can still be taken
 * @l: both ends
 */
void vbb_loop_close(struct vbb_loop *l);

/**
 * vbb_loop_destroy() - give everything back to its owners
 * @l: both ends; nobody uses them any more
 */
void vbb_loop_destroy(struct vbb_loop *l);

VBB_END_DECLS

#endif
