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
#include "sink.h"
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

/* Our queues, in the order in which they are numbered */
enum vbb_device_vq {
	VBB_DEVICE_INFLATE,
	VBB_DEVICE_DEFLATE,
	VBB_DEVICE_REQUESTS,	/* host_request */
	VBB_DEVICE_NR_VQS,
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
	vbb_u64 host_requests;		/* those to the guest, CANCEL included */
	vbb_u64 answers;		/* whose header was good */
	vbb_u64 answers_unwanted;	/* of them: their request was given up */
	vbb_u64 answer_bytes;		/* headers included */
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

/* Buffers of the driver that wait for requests, of which a driver parks two or more */
#define VBB_DEVICE_NR_PARKED 16

/**
 * struct vbb_device_parked - a buffer that waits for a request
 */
struct vbb_device_parked {
	struct vbb_chain chain;
	struct vbb_seg seg[VBB_REQ_LEN];	/* of chain, as far as a request can reach */
};

/* Where a request stands for those who asked */
enum vbb_device_phase {
	VBB_DEVICE_IDLE,	/* there is none, or its end was told */
	VBB_DEVICE_ASKED,	/* the guest is at work */
	VBB_DEVICE_STOPPING,	/* given up; the guest is to say that it has stopped */
	VBB_DEVICE_WRITING,	/* the guest has ended it; what it said is being written */
	VBB_DEVICE_ENDED,	/* to be told */
};

/**
 * struct vbb_device_request - the newest request that means work for the guest
 */
struct vbb_device_request {
	enum vbb_device_phase phase;
	vbb_u64 id;			/* 0: there was none yet */
	vbb_u16 cmd;
	const char *status;		/* how it ends, as soon as that is known; else NULL */
	const char *error;		/* in words, or NULL */
	vbb_u64 asked_ns;		/* when the guest was asked */
	vbb_u64 answered_ns;		/* when the answer that ends it was seen; 0: none */
	vbb_u64 ended_ns;
	vbb_u64 limit_ns;		/* when our patience is over */
	vbb_u64 nr_answers;
	vbb_u64 len;			/* of them in bytes, headers included */
	vbb_u64 nr_freed;		/* pages, as the guest says */
	struct vbb_sink sink;		/* for its runs */
};

/**
 * struct vbb_device_requests - the host_request queue
 */
struct vbb_device_requests {
	struct vbb_host host;
	struct vbb_device_request req;
	bool cancel;			/* to be sent, once there is a buffer for it */
	bool blocked;			/* the sink's descriptor must be waited for */
	struct vbb_device_parked parked[VBB_DEVICE_NR_PARKED];
	unsigned int nr_parked;
	bool busy;			/* there is an answer; else the rest means nothing */
	bool ends;			/* it is the last one of req */
	struct vbb_chain chain;
	struct vbb_seg seg[VBB_VHU_NR_SEGS];	/* of chain */
	struct vbb_dec dec;
};

/**
 * struct vbb_device - the device
 */
struct vbb_device {
	const struct vbb_device_opts *opts;
	struct vbb_vhu vhu;
	int vq[VBB_DEVICE_NR_VQS];	/* index of each virtqueue; -1: it is not offered */
	struct vbb_device_queue inflate, deflate;
	struct vbb_device_requests requests;

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

/**
 * vbb_device_fault() - count a fault
 * @d: the device
 * @err: what a call returned; what is no fault of the peer is not counted
 */
void vbb_device_fault(struct vbb_device *d, int err);

/* Inflate and deflate: device_balloon.c */

/**
 * vbb_device_balloon_init() - set the two queues up
 * @d: the device
 */
void vbb_device_balloon_init(struct vbb_device *d);

/**
 * vbb_device_balloon_work() - work on messages of one queue, for a few milliseconds at most
 * @d: the device
 * @vq: VBB_DEVICE_INFLATE or VBB_DEVICE_DEFLATE
 *
 * Return: true where there is more to do.
 */
bool vbb_device_balloon_work(struct vbb_device *d, enum vbb_device_vq vq);

/**
 * vbb_device_balloon_stopped() - what the queue lent is no longer valid
 * @d: the device
 * @vq: VBB_DEVICE_INFLATE or VBB_DEVICE_DEFLATE
 */
void vbb_device_balloon_stopped(struct vbb_device *d, enum vbb_device_vq vq);

/* Configuration space and the size of the balloon: device_config.c */

/**
 * vbb_device_config_read() - fill in the configuration space
 * @d: the device
 * @config: all zero
 */
void vbb_device_config_read(const struct vbb_device *d, vbb_u8 config[VBB_VHU_CONFIG_LEN]);

/**
 * vbb_device_config_write() - the driver writes
 * @d: the device
 * @off: bytes
 * @data: what it writes; in part not its own, perhaps
 * @len: bytes; off + len is at most VBB_VHU_CONFIG_LEN
 */
void vbb_device_config_write(struct vbb_device *d, vbb_u32 off, const vbb_u8 *data, vbb_u32 len);

/**
 * vbb_device_config_reset() - the driver reset the device
 * @d: the device
 */
void vbb_device_config_reset(struct vbb_device *d);

/* Host requests: device_requests.c. vbb_host is told of all; this device never logs writes. */

/**
 * vbb_device_requests_init() - set the queue up
 * @d: the device
 */
void vbb_device_requests_init(struct vbb_device *d);

/**
 * vbb_device_requests_ready() - could the guest be asked now?
 * @d: the device
 *
 * Return: 0; VBB_E_AGAIN while the request before has not ended; VBB_E_STATE where the guest's
 * driver takes no requests; VBB_E_NOSPC where it has no buffer parked.
 */
int vbb_device_requests_ready(const struct vbb_device *d);

/**
 * vbb_device_requests_open() - ask the guest to work
 * @d: the device
 * @cmd: VIRTIO_BALLOON_CMD_GET_UNUSED_PAGES or VIRTIO_BALLOON_CMD_DROP_CACHE
 * @arg0: by command
 * @arg1: by command
 * @timeout_ns: our patience
 * @fd: where runs of pages go; ours where this gives 0; -1: nowhere
 *
 * Return: 0; what vbb_device_requests_ready() says; VBB_E_INVAL where @fd is of no use; VBB_E_STATE
 * where all ids are used up; VBB_E_BROKEN where the queue is.
 */
int vbb_device_requests_open(struct vbb_device *d, vbb_u16 cmd, vbb_u64 arg0, vbb_u64 arg1,
			     vbb_u64 timeout_ns, int fd);

/**
 * vbb_device_requests_cancel() - give a request up
 * @d: the device
 * @id: of the request
 *
 * Return: 0; VBB_E_STATE where it is not open.
 */
int vbb_device_requests_cancel(struct vbb_device *d, vbb_u64 id);

/**
 * vbb_device_requests_work() - take answers, for a few milliseconds at most, and look at the time
 * @d: the device
 *
 * Return: true where there is more to do.
 */
bool vbb_device_requests_work(struct vbb_device *d);

/**
 * vbb_device_requests_wait_ns() - how long may the device sleep?
 * @d: the device
 *
 * Return: nanoseconds until a time limit is over; ~0: there is none.
 */
vbb_u64 vbb_device_requests_wait_ns(const struct vbb_device *d);

/**
 * vbb_device_requests_fd() - what else is to be waited for, until it can be written?
 * @d: the device
 *
 * Return: a descriptor, ours; -1: nothing.
 */
int vbb_device_requests_fd(const struct vbb_device *d);

/**
 * vbb_device_requests_stopping() - the queue is about to stop
 * @d: the device
 */
void vbb_device_requests_stopping(struct vbb_device *d);

/**
 * vbb_device_requests_stopped() - what the queue lent is no longer valid
 * @d: the device
 */
void vbb_device_requests_stopped(struct vbb_device *d);

/**
 * vbb_device_requests_reset() - the driver begins anew: that closes every request
 * @d: the device
 */
void vbb_device_requests_reset(struct vbb_device *d);

/* QMP; vbb_qmp's opaque is the struct vbb_device */

extern const struct vbb_qmp_cmd vbb_device_cmds[];		/* device_qmp.c */
extern const struct vbb_qmp_cmd vbb_device_request_cmds[];	/* device_requests_qmp.c */

/**
 * vbb_device_requests_tell() - send X_HOST_REQUEST_END where a request has ended
 * @d: the device
 * @q: its QMP server
 */
void vbb_device_requests_tell(struct vbb_device *d, struct vbb_qmp *q);

/**
 * vbb_device_tell() - send the events that are due
 * @d: the device
 * @q: its QMP server
 *
 * Return: nanoseconds until the next one is due; ~0: nothing to tell.
 */
vbb_u64 vbb_device_tell(struct vbb_device *d, struct vbb_qmp *q);

#endif
