/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause */
/*
 * The balloon device: what is on its queues and in its configuration space, without command line
 * and main loop. It is told what the guest shall keep, and takes what the guest gives.
 */
#ifndef VBB_TOOLS_DEVICE_H
#define VBB_TOOLS_DEVICE_H

#include <virtio_balloon_bmap/vbb.h>

#include "discard.h"
#include "qmp.h"
#include "vhost_user.h"

/**
 * struct vbb_device_opts - what the command line says
 */
struct vbb_device_opts {
	const char *socket;	/* path where front-ends connect */
	const char *qmp;	/* path where QMP clients connect */
	vbb_u64 ram_len;	/* the guest's RAM in bytes; 0: what the front-end shares */
	vbb_u64 features;	/* to offer */
	bool page_by_page;	/* a discard for each host page, as today's devices do it */
	bool no_discard;	/* do all the rest, to see what it costs */
};

/* Formats, as they are counted */
enum vbb_device_format {
	VBB_DEVICE_PFNS,
	VBB_DEVICE_BITMAP,
	VBB_DEVICE_RECORDS,
	VBB_DEVICE_NR_FORMATS,
};

/**
 * struct vbb_device_counts - what happened since the device was started; pages of 4 KiB
 */
struct vbb_device_counts {
	vbb_u64 messages[VBB_DEVICE_NR_FORMATS];	/* whose header was good */
	vbb_u64 blocks, bitmaps, extents;		/* records */
	vbb_u64 bytes;			/* of messages, headers included */
	vbb_u64 runs;
	vbb_u64 pages_inflated;		/* named in messages that inflate */
	vbb_u64 pages_discarded;	/* of them */
	vbb_u64 pages_deflated;		/* named in messages that deflate */
	vbb_u64 discard_calls;
	vbb_u64 discard_errors;		/* of them */
	vbb_u64 results;
	vbb_u64 front_ends;
	vbb_u64 faults[VBB_NR_FAULTS];
};

/**
 * struct vbb_device_queue - a virtqueue of ours, and the message of it that is being worked on
 */
struct vbb_device_queue {
	unsigned int index;		/* of the virtqueue */
	bool inflates;			/* discard what it names */
	bool busy;			/* there is a message; else the rest means nothing */
	bool page_msg;			/* it is no array of the old format */
	bool partial;			/* a page of it was not acted on */
	bool failed;			/* a discard of it failed */
	vbb_u16 page_shift;		/* of its unit */
	struct vbb_chain chain;
	struct vbb_seg seg[VBB_VHU_NR_SEGS];	/* of chain */
	struct vbb_dec dec;
	vbb_u64 acted_len;		/* bytes acted on */
	vbb_u64 missing_len;		/* bytes of the run not acted on, so far */
	struct vbb_span rest;		/* of the run: not looked up yet */
	struct vbb_piece piece;		/* of the run: RAM, not acted on yet */
};

/**
 * struct vbb_device - the device
 */
struct vbb_device {
	const struct vbb_device_opts *opts;
	struct vbb_vhu vhu;
	struct vbb_device_queue inflate, deflate;

	/* guest RAM as the host can discard it: by block, and what backs it */
	struct vbb_ram ram[VBB_VHU_NR_REGIONS];
	struct vbb_backing backing[VBB_VHU_NR_REGIONS];
	struct vbb_ram_map map;
	vbb_u16 discard_shift;		/* blocks of this size can all be discarded; 0: unknown */

	vbb_u64 keep_len;		/* what the guest shall keep, bytes */
	vbb_u32 actual;			/* pages in the balloon, as the driver says */
	bool untold;			/* another value was written since the last event */
	vbb_u64 told_ns;		/* when that was */
	vbb_u64 asked_ns;		/* when keep_len was set; 0: never */
	vbb_u64 reached_ns;		/* when actual was first what it shall be; 0: not yet */
	bool quit;			/* a client wants the device to end */

	struct vbb_device_counts counts;
};

/**
 * vbb_device_init() - make a device
 * @d: the caller's, any content; large
 * @opts: borrowed
 *
 * Return: as vbb_vhu_init().
 */
int vbb_device_init(struct vbb_device *d, const struct vbb_device_opts *opts);

/**
 * vbb_device_work() - work on messages, for a few milliseconds at most
 * @d: the device
 *
 * Return: true where there is more to do.
 */
bool vbb_device_work(struct vbb_device *d);

/**
 * vbb_device_ram_len() - what the guest has in bytes while its balloon is empty
 * @d: the device
 *
 * Return: what the command line says, else the sum of the memory that the front-end shares; 0: not
 * known.
 */
vbb_u64 vbb_device_ram_len(const struct vbb_device *d);

/**
 * vbb_device_keep() - set what the guest shall keep
 * @d: the device
 * @len: bytes
 */
void vbb_device_keep(struct vbb_device *d, vbb_u64 len);

/**
 * vbb_device_actual_len() - what the guest has left
 * @d: the device
 *
 * Return: bytes.
 */
vbb_u64 vbb_device_actual_len(const struct vbb_device *d);

/**
 * vbb_device_event_due() - is it time to tell of the balloon's size?
 * @d: the device
 * @wait_ns: receives how long it is till then, where it is not time; ~0: nothing to tell
 *
 * At once where the balloon is as large as it shall be, else once a second, as QEMU does.
 *
 * Return: true where it is time; the caller tells, clears untold and sets told_ns.
 */
bool vbb_device_event_due(const struct vbb_device *d, vbb_u64 *wait_ns);

/**
 * vbb_device_now_ns() - the clock of all times here
 *
 * Return: CLOCK_MONOTONIC in nanoseconds.
 */
vbb_u64 vbb_device_now_ns(void);

/* The QMP commands, on a struct vbb_device */
extern const struct vbb_qmp_cmd vbb_device_cmds[];

/**
 * vbb_device_tell() - send BALLOON_CHANGE where it is due
 * @d: the device
 * @q: its QMP server
 *
 * Return: nanoseconds until it is due; ~0: nothing to tell.
 */
vbb_u64 vbb_device_tell(struct vbb_device *d, struct vbb_qmp *q);

#endif
