/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause */
/*
 * An end that makes another one misbehave, as a peer or a bad line could: what comes through it is
 * cut elsewhere, changed, shortened, late, or nothing any more. It keeps to the contract of
 * transports: tokens come back once, and lent memory stays as it is, but for what the other side
 * wrote. The same seed and the same calls give the same misery.
 */
#ifndef VBB_TRANSPORTS_HOSTILE_H
#define VBB_TRANSPORTS_HOSTILE_H

#include <virtio_balloon_bmap/transport.h>

#include "fifo.h"

VBB_BEGIN_DECLS

/**
 * struct vbb_hostile_odds - how often, of 65536 times
 */
struct vbb_hostile_odds {
	vbb_u32 recut;	/* a message's segments are cut into more */
	vbb_u32 flip;	/* up to 8 bits of a message, or of what was written, are changed */
	vbb_u32 cut;	/* the end of a message, or of what was written, is missing */
	vbb_u32 delay;	/* a call of reap() or recv() finds nothing */
	vbb_u32 die;	/* a call finds the transport at its end */
};

/**
 * struct vbb_hostile_count - how often it was done
 */
struct vbb_hostile_count {
	vbb_u64 recut, flip, cut, delay, die;
};

/**
 * struct vbb_hostile_msg - a message under way; private
 */
struct vbb_hostile_msg {
	struct vbb_link link;
	vbb_u64 id;
	void *token;		/* ours */
	struct vbb_chain under;	/* theirs as it came, ours as it went */
	vbb_u8 *buf;		/* a copy that may be changed */
	bool lent;		/* theirs */
};

/**
 * struct vbb_hostile_cfg - over what, and in whose memory; all arrays are the caller's
 */
struct vbb_hostile_cfg {
	struct vbb_transport *under;
	struct vbb_hostile_odds odds;
	vbb_u64 seed;
	size_t nr_msgs;			/* under way at a time, both ways, over all queues */
	size_t max_segs;		/* in a message, after what is done to it */
	size_t max_len;			/* longer messages are not changed, bytes */
	struct vbb_hostile_msg *msg;	/* nr_msgs */
	struct vbb_seg *seg;		/* nr_msgs * max_segs */
	vbb_u8 *buf;			/* nr_msgs * max_len; memory that under can lend */
};

/**
 * struct vbb_hostile - the end; private but for t and count
 */
struct vbb_hostile {
	struct vbb_transport t;
	struct vbb_hostile_count count;
	struct vbb_hostile_cfg cfg;
	struct vbb_fifo free;
	vbb_u64 state;
	bool dead;
};

/**
 * vbb_hostile_init() - put an end before another one
 * @h: the end to use instead of @cfg->under; the caller's
 * @cfg: over what, odds and arrays; copied
 */
void vbb_hostile_init(struct vbb_hostile *h, const struct vbb_hostile_cfg *cfg);

VBB_END_DECLS

#endif
