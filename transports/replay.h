/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause */
/*
 * What goes over a transport, written to a capture file, and played again from there. See capture.h
 * for the file. To compare two runs, replay one, record that, and compare the files.
 */
#ifndef VBB_TRANSPORTS_REPLAY_H
#define VBB_TRANSPORTS_REPLAY_H

#include <virtio_balloon_bmap/transport.h>

#include "capture.h"
#include "fifo.h"

VBB_BEGIN_DECLS

/**
 * struct vbb_record_msg - a message of ours under way; private
 */
struct vbb_record_msg {
	struct vbb_link link;
	vbb_u64 id;
	void *token;
	struct vbb_seg *in;
	size_t nr_in;
};

/**
 * struct vbb_record_cfg - what is recorded, and in whose memory; all arrays are the caller's
 */
struct vbb_record_cfg {
	struct vbb_transport *under;	/* the end that is recorded; borrowed */
	FILE *f;			/* where to; borrowed. ferror(): not all was written */
	vbb_u8 from;			/* this end: VBB_CAPTURE_DRIVER, VBB_CAPTURE_DEVICE */
	size_t nr_msgs;			/* that this end lends at a time, over all queues */
	size_t max_in;			/* segments to write in a message of ours */
	const vbb_u8 *role;		/* by queue: enum vbb_capture_role */
	unsigned int nr_roles;		/* queues past that are VBB_CAPTURE_UNKNOWN */
	struct vbb_record_msg *msg;	/* nr_msgs */
	struct vbb_seg *seg;		/* nr_msgs * max_in */
};

/**
 * struct vbb_record - an end that records; private but for t and modes
 */
struct vbb_record {
	struct vbb_transport t;
	vbb_u16 modes;		/* the caller's to set: VBB_CAPTURE_BITMAP, VBB_CAPTURE_RECORDS */
	struct vbb_record_cfg cfg;
	struct vbb_fifo free;
};

/**
 * vbb_record_init() - record what goes over an end of a transport
 * @r: the end to use instead of @cfg->under; the caller's
 * @cfg: what, where to, and arrays; copied
 *
 * A message that the other side lent is read once more, so a peer that rewrites it can make the
 * capture differ from what was acted on.
 */
void vbb_record_init(struct vbb_record *r, const struct vbb_record_cfg *cfg);

/**
 * struct vbb_replay_msg - a message read from the capture; private
 */
struct vbb_replay_msg {
	struct vbb_link link;
	vbb_u64 id;
	struct vbb_capture_hdr hdr;
	vbb_u8 *buf;
	bool lent;
};

/**
 * struct vbb_replay_cfg - what is played, and in whose memory; all arrays are the caller's
 */
struct vbb_replay_cfg {
	FILE *f;		/* the capture; borrowed */
	vbb_u8 from;		/* whose messages: VBB_CAPTURE_DRIVER, VBB_CAPTURE_DEVICE */
	unsigned int nr_queues;	/* messages of queues past that are passed over */
	size_t nr_msgs;		/* that can be borrowed at a time */
	size_t max_len;		/* bytes of a message, to read and to write together */
	struct vbb_replay_msg *msg;	/* nr_msgs */
	vbb_u8 *buf;			/* nr_msgs * max_len */
};

/**
 * struct vbb_replay - an end whose other side is a capture; private but for t
 */
struct vbb_replay {
	struct vbb_transport t;
	struct vbb_replay_cfg cfg;
	struct vbb_capture capture;
	struct vbb_fifo free;
	struct vbb_replay_msg *next;	/* not yet borrowed */
};

/**
 * vbb_replay_init() - play a capture: recv, done, and kick and wait, which have nobody to talk to
 * @r: the end; the caller's
 * @cfg: what, and arrays; copied
 *
 * The messages come in the order of the capture over all queues: until one is taken from its queue,
 * the others have none.
 */
void vbb_replay_init(struct vbb_replay *r, const struct vbb_replay_cfg *cfg);

VBB_END_DECLS

#endif
