/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the host asks of the guest: the conversation on the host_request queue (requests.c), the walk
 * that finds unused pages (walk.c), and the dropping of caches (drop.c).
 */
#ifndef VBB_REQUESTS_H
#define VBB_REQUESTS_H

#include <linux/types.h>

#include <virtio_balloon_bmap/range.h>

/* Runs that one step can find; as many as the encoder holds back are well named together */
#define VBB_WALK_RUNS 1024

/*
 * A walk over all page frames of a window, zone by zone, in steps. Between two steps no lock is
 * held, and all that is kept of the one before is how far it came.
 */
struct vbb_walk {
	unsigned long first, end;	/* the window, in pages of the guest */
	unsigned long pfn;		/* the zone at hand was looked at up to here */
	int nid, zid;			/* the zone at hand */
	struct vbb_range *runs;		/* what the last step found: VBB_WALK_RUNS at most */
	unsigned int nr;		/* of them in use */
	unsigned int pos;		/* of these, taken by the caller */
	u64 lock_ns;			/* time with a zone's lock held, in all */
	u64 lock_ns_max;		/* and at most in one go */
};

int vbb_walk_init(struct vbb_walk *w);
void vbb_walk_exit(struct vbb_walk *w);
bool vbb_walk_allowed(void);
void vbb_walk_begin(struct vbb_walk *w, u64 first, u64 nr_frames);
bool vbb_walk_step(struct vbb_walk *w);

/* A drop of caches: what it may do, and what it did */
struct vbb_drop {
	u64 modes;			/* VIRTIO_BALLOON_DROP_* */
	u64 nr_left;			/* pages that it may still free */
	u64 nr_freed;
	bool (*stop)(void *arg);	/* asked now and then */
	void *arg;
};

int vbb_drop(struct vbb_drop *d);

#endif
