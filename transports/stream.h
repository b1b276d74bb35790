/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause */
/*
 * Messages over a socket or a pair of pipes. Both ends are set up with the same nr_queues, nr_msgs
 * and max_len, and can send. What flows is frames, in each direction, one behind the other:
 *
 *  offset  field   type  meaning
 *  0       len     le32  bytes behind this header
 *  4       kind    le16  1: a message. 2: a message comes back
 *  6       queue   le16  below nr_queues
 *  8       id      le32  below nr_msgs, the sender's choice: a message's, until it comes back
 *  12      in_len  le32  1: bytes that the receiver may write. 2: 0
 *  16              len bytes. 1: the message. 2: what was written, at most its in_len
 *
 * A message's len and in_len are at most max_len together, and not both 0. An id is used again only
 * when its message has come back, so a receiver has room for whatever may come, and a message can
 * never stand in the way of what comes back behind it. Anything else is VBB_E_FRAME, and the end:
 * nobody knows where the next frame would begin.
 *
 * Bytes move within the calls. Who has sent or done something and has nothing else to call calls
 * wait(), until the other side has it.
 */
#ifndef VBB_TRANSPORTS_STREAM_H
#define VBB_TRANSPORTS_STREAM_H

#include <virtio_balloon_bmap/transport.h>

#include "fifo.h"

VBB_BEGIN_DECLS

#define VBB_STREAM_HDR_LEN 16
#define VBB_STREAM_MSG 1
#define VBB_STREAM_DONE 2

/**
 * struct vbb_stream_frame - a frame's header, and where the rest lies; private
 */
struct vbb_stream_frame {
	vbb_u32 len;
	vbb_u16 kind;
	vbb_u16 queue;
	vbb_u32 id;
	vbb_u32 in_len;
	const struct vbb_seg *seg;
	size_t nr_segs;
};

/**
 * struct vbb_stream_msg - a message, lent by us or to us; private
 */
struct vbb_stream_msg {
	struct vbb_link link;
	struct vbb_stream_frame frame;	/* goes out: the message, or what comes back */
	vbb_u32 id;
	bool away;			/* the other side has it; theirs: our caller */
	bool used;			/* theirs: not free for another message */
	void *token;			/* ours */
	vbb_u32 in_len;			/* bytes that may be written */
	vbb_u32 len;			/* theirs: bytes of the message; ours: of the answer */
	struct vbb_seg *seg;		/* ours: out, then in; theirs: what was written */
	size_t nr_out, nr_in;		/* ours */
	vbb_u8 *buf;			/* theirs: the message, then what may be written */
};

/**
 * struct vbb_stream_queue - what waits to be taken on a queue; private
 */
struct vbb_stream_queue {
	struct vbb_fifo free;	/* ours, to be sent */
	struct vbb_fifo done;	/* ours, come back */
	struct vbb_fifo recv;	/* theirs */
	struct vbb_stream_msg *ours, *theirs;
};

/**
 * struct vbb_stream_cfg - how large, and in whose memory; all arrays are the caller's, borrowed
 */
struct vbb_stream_cfg {
	int fd_in, fd_out;		/* non-blocking; the same one for a socket */
	unsigned int nr_queues;		/* at most 65536 */
	vbb_u32 nr_msgs;		/* lent at a time, by each end on each queue */
	vbb_u32 max_len;		/* bytes of a message, to read and to write together */
	size_t max_segs;		/* in a message of ours */
	struct vbb_stream_queue *queue;	/* nr_queues */
	struct vbb_stream_msg *msg;	/* 2 * nr_queues * nr_msgs */
	struct vbb_seg *seg;		/* nr_queues * nr_msgs * (max_segs + 1) */
	vbb_u8 *buf;			/* nr_queues * nr_msgs * max_len */
};

/**
 * struct vbb_stream_io - how far a frame is; private
 */
struct vbb_stream_io {
	vbb_u8 hdr[VBB_STREAM_HDR_LEN];
	size_t hdr_off;		/* bytes of hdr that are behind us */
	struct vbb_cur cur;	/* over the rest */
	struct vbb_stream_msg *msg;	/* whose frame it is, as soon as that is known */
	struct vbb_fifo *to;		/* where that goes when it is whole */
};

/**
 * struct vbb_stream - one end; private but for t
 */
struct vbb_stream {
	struct vbb_transport t;
	struct vbb_stream_cfg cfg;
	struct vbb_fifo out;		/* messages whose frame goes out */
	struct vbb_stream_io rd, wr;
	bool is_socket;			/* fd_out */
	bool eof;			/* fd_in */
	int fault;			/* VBB_E_FRAME until it is told */
	int end;			/* what every call says, or 0 */
};

/**
 * vbb_stream_init() - an end over file descriptors
 * @s: the end; the caller's
 * @cfg: sizes, descriptors and arrays; copied
 *
 * To a pipe whose reader is gone the system answers with SIGPIPE, which the caller ignores; sockets
 * are written without. The descriptors stay the caller's, to close when it is done with the end.
 *
 * Return: 0; VBB_E_INVAL where a descriptor is none, or would block, or a size is not allowed.
 */
int vbb_stream_init(struct vbb_stream *s, const struct vbb_stream_cfg *cfg);

VBB_END_DECLS

#endif
