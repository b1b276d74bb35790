/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the host asks of the guest: the conversation on the host_request queue (requests.c), the
 * walk that finds unused pages (walk.c), and the dropping of caches (drop.c).
 */
#ifndef VBB_REQUESTS_H
#define VBB_REQUESTS_H

#include <linux/types.h>

#include <virtio_balloon_bmap/encode.h>

struct seq_file;
struct vbb_balloon;
struct vbb_requests;
struct virtqueue;

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
	struct vbb_range *runs;		/* room for VBB_WALK_RUNS */
	struct vbb_run_list found;	/* what the last step left there, less what was taken */
	bool over;			/* there is nothing more to look at */
	bool drains;			/* per-CPU lists are emptied where they hold much */
	u64 rest_until_ns;		/* after a walk with such a one */
	u64 nr_drained;			/* pages that were in them, and are no longer */
	u64 drain_ns;			/* time that this took */
	u64 nr_runs;			/* found in all steps */
	u64 nr_steps;			/* times that a zone's lock was taken */
	u64 nr_steps_late;		/* of them, ended after the request had */
	u64 lock_ns;			/* time with a zone's lock held, in all */
	u64 lock_ns_max;		/* and at most in one go */
};

/* walk.c */
int vbb_walk_init(struct vbb_walk *w);
void vbb_walk_exit(struct vbb_walk *w);
void vbb_walk_begin(struct vbb_walk *w, u64 first, u64 nr_frames);
void vbb_walk_step(struct vbb_walk *w);

/* A drop of caches */
struct vbb_drop {
	struct vbb_requests *requests;	/* that it is done for */
	u64 limit;			/* pages that it may free */
	u64 nr_freed;
	struct super_block *bdevs;	/* of block devices, once it is found */
};

/* drop.c */
int vbb_drop(struct vbb_drop *d, u64 modes);

/* requests.c */
int vbb_requests_init(struct vbb_balloon *vb, u32 formats);
int vbb_requests_start(struct vbb_balloon *vb);
void vbb_requests_ready(struct vbb_balloon *vb);
void vbb_requests_stop(struct vbb_balloon *vb);
void vbb_requests_exit(struct vbb_balloon *vb);
void vbb_requests_used(struct virtqueue *vq);
bool vbb_requests_serving(const struct vbb_requests *r);
void vbb_requests_show(struct seq_file *m, struct vbb_balloon *vb);

#endif
