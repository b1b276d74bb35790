/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause */
/*
 * The balloon device: what is on its queues and in its configuration space, without command line
 * and main loop. It is told what the guest shall keep, and takes what the guest gives.
 */
#ifndef VBB_TOOLS_DEVICE_H
#define VBB_TOOLS_DEVICE_H

#include <virtio_balloon_bmap/vbb.h>

#include "deadline.h"
#include "discard.h"
#include "qmp.h"
#include "replay.h"
#include "sink.h"
#include "vhost_user.h"

/* Features of the virtio specification, by bit number */
#define VBB_BALLOON_F_MUST_TELL_HOST	0
#define VBB_BALLOON_F_STATS_VQ		1
#define VBB_BALLOON_F_DEFLATE_ON_OOM	2
#define VBB_BALLOON_F_FREE_PAGE_HINT	3
#define VBB_BALLOON_F_PAGE_POISON	4
#define VBB_BALLOON_F_REPORTING		5

/**
 * struct vbb_device_opts - what the command line says
 */
struct vbb_device_opts {
	const char *socket;	/* path where front-ends connect */
	const char *qmp;	/* path where QMP clients connect */
	const char *capture;	/* path of the file that all messages go to, or NULL */
	vbb_u64 ram_len;	/* the guest's RAM in bytes; 0: what the front-end shares */
	vbb_u64 features;	/* to offer */
	bool page_by_page;	/* a discard for each host page, as today's devices do it */
	bool no_discard;	/* do all the rest, to see what it costs */
};

/* Our queues, in the order in which they are numbered */
enum vbb_device_vq {
	VBB_DEVICE_INFLATE,
	VBB_DEVICE_DEFLATE,
	VBB_DEVICE_STATS,
	VBB_DEVICE_HINT,
	VBB_DEVICE_REPORTING,
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
	vbb_u64 stats;			/* buffers of statistics */
	vbb_u64 stats_unknown;		/* values in them that have no name here */
	vbb_u64 hints;			/* buffers that are free page hints */
	vbb_u64 hints_unwanted;		/* of them: no round was under way */
	vbb_u64 reports;		/* chains of reported pages */
	vbb_u64 pages_reported;		/* in them */
	vbb_u64 front_ends;
	vbb_u64 faults[VBB_NR_FAULTS];
};

/*
 * What one call discards at most. For so much populated memory it takes some 4 ms, and as much CPU
 * time a byte as for any length.
 */
#define VBB_DEVICE_DISCARD_LEN ((vbb_u64)16 << 20)

/* Decoding takes nanoseconds a step. */
#define VBB_DEVICE_DECODE_STEPS 1024

/**
 * struct vbb_device_area - runs of guest memory, one after the other; all 0 before the first
 */
struct vbb_device_area {
	vbb_u64 acted_len;		/* bytes acted on, of all runs */
	bool failed;			/* a discard failed, of any run */
	vbb_u64 missing_len;		/* bytes of the run not acted on, so far */
	struct vbb_span rest;		/* of the run: not looked up yet */
	struct vbb_piece piece;		/* of the run: RAM, not acted on yet */
};

/**
 * struct vbb_device_queue - a virtqueue of ours, and the chain of it that is being worked on
 */
struct vbb_device_queue {
	unsigned int index;		/* of the virtqueue; one that is not offered has none */
	bool busy;			/* there is work on the chain */
	bool blocked;			/* the last step waits for something else */
	struct vbb_chain chain;		/* taken last */
	struct vbb_seg seg[VBB_VHU_NR_SEGS];	/* of chain */
};

/**
 * struct vbb_device_message - a message that inflates or deflates, while it is worked on
 */
struct vbb_device_message {
	bool page_msg;			/* it is no array of the old format */
	bool partial;			/* a page of it was not acted on */
	vbb_u16 page_shift;		/* of its unit */
	struct vbb_dec dec;
	struct vbb_device_area area;	/* the run that is being acted on */
};

/* Tags of statistics: those that have a name */
#define VBB_DEVICE_NR_STATS 16

/**
 * struct vbb_device_stats - the statistics queue
 */
struct vbb_device_stats {
	bool held;			/* the driver's buffer is with us: it can be asked */
	struct vbb_chain chain;		/* it: only to be given back */
	vbb_u64 value[VBB_DEVICE_NR_STATS];	/* by tag; ~0: not told */
	vbb_u64 updated_s;		/* when, in seconds since 1970; 0: never */
	vbb_u32 interval_s;		/* between two questions; 0: none are asked */
	vbb_u64 ask_ns;			/* when to ask next */
};

/* Where something that the guest does stands for those who asked for it */
enum vbb_device_phase {
	VBB_DEVICE_IDLE,	/* there is nothing, or its end was told */
	VBB_DEVICE_ASKED,	/* the guest is at work */
	VBB_DEVICE_STOPPING,	/* given up; the guest is to say that it has stopped */
	VBB_DEVICE_WRITING,	/* the guest has ended it; what it said is being written */
	VBB_DEVICE_ENDED,	/* to be told */
};

/**
 * struct vbb_device_job - something that the guest does, and the file for the pages that it names
 */
struct vbb_device_job {
	enum vbb_device_phase phase;
	const char *status;		/* how it ends, as soon as that is known; else NULL */
	const char *error;		/* in words, or NULL */
	bool blocked;			/* the sink's descriptor must be waited for */
	vbb_u64 asked_ns;		/* when the guest was asked */
	vbb_u64 ended_ns;		/* 0: not yet */
	vbb_u64 limit_ns;		/* when our patience is over */
	struct vbb_sink sink;
};

/**
 * struct vbb_device_hint - free page hints; a round is a job
 */
struct vbb_device_hint {
	struct vbb_device_job job;
	vbb_u32 id;			/* of the newest round; 0: there was none */
	vbb_u32 cmd_id;			/* what the configuration space says: an id, STOP or DONE */
	bool begun;			/* the driver has taken the round up */
	vbb_u64 nr_hints;		/* of it: buffers */
	size_t seg;			/* of the chain, worked on next */
};

/**
 * struct vbb_device_reporting - pages that the guest reports as free
 */
struct vbb_device_reporting {
	struct vbb_device_area area;	/* a piece of the report */
	size_t seg;			/* of the chain, worked on next */
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

/**
 * struct vbb_device_requests - the host_request queue; the newest request is a job
 */
struct vbb_device_requests {
	struct vbb_device_job job;
	struct vbb_host host;
	vbb_u64 id;			/* of the newest request; 0: there was none */
	vbb_u16 cmd;			/* of it */
	vbb_u64 answered_ns;		/* when the answer that ends it was seen; 0: none */
	vbb_u64 nr_answers;		/* to it */
	vbb_u64 len;			/* of them in bytes, headers included */
	vbb_u64 nr_freed;		/* pages, as they say */
	bool cancel;			/* to be sent, once there is a buffer for it */
	struct vbb_device_parked parked[VBB_DEVICE_NR_PARKED];
	unsigned int nr_parked;
	vbb_u64 spare[VBB_VHU_QUEUE_LEN];	/* more of them: their cookies */
	unsigned int nr_spare;
	bool ends;			/* the answer that is being read is the last one */
	struct vbb_dec dec;		/* it */
};

/**
 * struct vbb_device - the device
 */
struct vbb_device {
	const struct vbb_device_opts *opts;
	struct vbb_vhu vhu;
	struct vbb_transport *transport;	/* its queues: vhu, or what records them */
	struct vbb_record record;
	vbb_u8 role[VBB_VHU_NR_QUEUES];		/* by index of the queue, for the capture */
	struct vbb_device_queue queue[VBB_DEVICE_NR_VQS];
	struct vbb_device_message inflate, deflate;
	struct vbb_device_stats stats;
	struct vbb_device_hint hint;
	struct vbb_device_reporting reporting;
	struct vbb_device_requests requests;

	/* guest RAM as the host can discard it: by block, and what backs it */
	struct vbb_ram ram[VBB_VHU_NR_REGIONS];
	struct vbb_backing backing[VBB_VHU_NR_REGIONS];
	struct vbb_ram_map map;
	vbb_u16 discard_shift;		/* blocks of this size can all be discarded; 0: unknown */

	vbb_u64 keep_len;		/* what the guest shall keep, bytes */
	vbb_u32 actual;			/* pages in the balloon, as the driver says */
	vbb_u32 poison;			/* what the guest fills free pages with, as it says */
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
 * Return: as vbb_vhu_init(); VBB_E_BROKEN also where the system gives no random number.
 */
int vbb_device_init(struct vbb_device *d, const struct vbb_device_opts *opts);

/**
 * vbb_device_record() - write all messages to a capture from now on
 * @d: the device, without a front-end
 * @f: the file; borrowed; NULL: no longer
 */
void vbb_device_record(struct vbb_device *d, FILE *f);

/**
 * vbb_device_work() - work on messages, a few milliseconds a queue at most, and look at the time
 * @d: the device
 *
 * Return: nanoseconds until there is more to do, if nothing happens; ~0: there is nothing.
 */
vbb_u64 vbb_device_work(struct vbb_device *d);

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
 * The first time at once, then once a second, as QEMU does; but a tenth of a second after the one
 * before is enough where the balloon is as large as it shall be.
 *
 * Return: true where it is time; the caller tells, clears untold and sets told_ns.
 */
bool vbb_device_event_due(const struct vbb_device *d, vbb_u64 *wait_ns);

/**
 * vbb_device_fault() - count a fault
 * @d: the device
 * @err: what a call returned; what is no fault of the peer is not counted
 */
void vbb_device_fault(struct vbb_device *d, int err);

/**
 * vbb_device_span() - where a piece of a chain lies in guest memory
 * @d: the device
 * @seg: not empty, from a chain that is borrowed
 *
 * Return: the bytes.
 */
struct vbb_span vbb_device_span(const struct vbb_device *d, const struct vbb_seg *seg);

/**
 * vbb_device_done() - give the chain of a queue back, and end the work on it
 * @d: the device
 * @vq: the queue
 * @err: what was wrong with the chain, which is counted; or 0
 * @written: bytes
 */
void vbb_device_done(struct vbb_device *d, enum vbb_device_vq vq, int err, vbb_u64 written);

/**
 * vbb_device_has() - is a feature in use?
 * @d: the device
 * @feature: its bit number
 *
 * Return: true where the driver has accepted it.
 */
static inline bool vbb_device_has(const struct vbb_device *d, unsigned int feature)
{
	return d->vhu.features >> feature & 1;
}

/*
 * What follows works on one kind of queue each. begin() looks at the chain that was taken last: it
 * gives it back, keeps it, or makes the queue busy. Then step() does a bounded step at a time, and
 * returns bytes of work. stopped() hears that what was borrowed is no longer valid.
 */

/* Discards: device_discard.c */

/**
 * vbb_device_area_begin() - begin with a run
 * @a: the one before is done with
 * @run: bytes of guest memory, RAM or not
 */
void vbb_device_area_begin(struct vbb_device_area *a, struct vbb_span run);

/**
 * vbb_device_area_step() - do a bounded step on the run
 * @d: the device
 * @a: the run
 * @discard: discard its host pages; else only count what is RAM
 * @len: receives bytes of work
 *
 * Return: true while there is more to do.
 */
bool vbb_device_area_step(struct vbb_device *d, struct vbb_device_area *a, bool discard,
			  vbb_u64 *len);

/* Inflate and deflate: device_balloon.c */
void vbb_device_balloon_begin(struct vbb_device *d, enum vbb_device_vq vq);
vbb_u64 vbb_device_balloon_step(struct vbb_device *d, enum vbb_device_vq vq);

/* Statistics: device_stats.c */
void vbb_device_stats_begin(struct vbb_device *d, enum vbb_device_vq vq);
void vbb_device_stats_stopped(struct vbb_device *d);
void vbb_device_stats_reset(struct vbb_device *d);

/**
 * vbb_device_stats_poll() - set how often the guest is asked
 * @d: the device
 * @interval_s: seconds; 0: not at all
 */
void vbb_device_stats_poll(struct vbb_device *d, vbb_u32 interval_s);

/**
 * vbb_device_stats_look() - ask, where it is time
 * @d: the device
 *
 * Return: nanoseconds until it is time; ~0: that depends on the guest.
 */
vbb_u64 vbb_device_stats_look(struct vbb_device *d);

/* Something that the guest does for someone: device_job.c */

/**
 * vbb_device_job_begin() - begin
 * @d: the device
 * @job: one that is IDLE; becomes ASKED
 * @timeout_ns: our patience
 * @fd: where pages go; ours where this gives 0; -1: nowhere
 *
 * Return: 0; VBB_E_INVAL where @fd is of no use.
 */
int vbb_device_job_begin(struct vbb_device *d, struct vbb_device_job *job, vbb_u64 timeout_ns,
			 int fd);

/**
 * vbb_device_job_room() - is there room for a run in the file?
 * @job: the job
 *
 * Return: 0; -EAGAIN: not before vbb_device_job_fd() can be written; or -errno of what went wrong.
 */
int vbb_device_job_room(struct vbb_device_job *job);

/**
 * vbb_device_job_write() - where the guest has ended it: write what waits, and end it when all is
 * @job: the job
 */
void vbb_device_job_write(struct vbb_device_job *job);

/**
 * vbb_device_job_give_up() - write no more
 * @job: the job; stays in its phase
 * @status: how it ends; constant
 * @error: in words, or NULL
 */
void vbb_device_job_give_up(struct vbb_device_job *job, const char *status, const char *error);

/**
 * vbb_device_job_end() - end it, whatever waits
 * @job: the job
 */
void vbb_device_job_end(struct vbb_device_job *job);

/**
 * vbb_device_job_wait_ns() - how long does our patience last?
 * @job: the job
 *
 * Return: nanoseconds; ~0: there is nothing to wait for.
 */
vbb_u64 vbb_device_job_wait_ns(const struct vbb_device_job *job);

/**
 * vbb_device_job_fd() - what is to be waited for until it can be written?
 * @job: the job
 *
 * Return: a descriptor, ours; -1: nothing.
 */
int vbb_device_job_fd(const struct vbb_device_job *job);

/* Free page hints: device_hint.c. Nothing is ever discarded because of one. */
void vbb_device_hint_begin(struct vbb_device *d, enum vbb_device_vq vq);
vbb_u64 vbb_device_hint_step(struct vbb_device *d, enum vbb_device_vq vq);
void vbb_device_hint_reset(struct vbb_device *d);
void vbb_device_hint_look(struct vbb_device *d);

/**
 * vbb_device_hint_start() - begin a round
 * @d: the device
 * @timeout_ns: our patience
 * @fd: where the pages go; ours where this gives 0; -1: nowhere
 *
 * Return: 0; VBB_E_AGAIN while a round is under way; VBB_E_STATE where the guest's driver gives no
 * hints; VBB_E_INVAL where @fd is of no use.
 */
int vbb_device_hint_start(struct vbb_device *d, vbb_u64 timeout_ns, int fd);

/**
 * vbb_device_hint_stop() - tell the driver to stop
 * @d: the device
 *
 * Return: 0; VBB_E_STATE where no round is under way.
 */
int vbb_device_hint_stop(struct vbb_device *d);

/**
 * vbb_device_hint_release() - tell the driver that it may take back all that it has hinted
 * @d: the device
 *
 * Return: 0; VBB_E_AGAIN while a round is under way; VBB_E_STATE where the guest's driver gives no
 * hints.
 */
int vbb_device_hint_release(struct vbb_device *d);

/* Free page reporting: device_reporting.c */
void vbb_device_reporting_begin(struct vbb_device *d, enum vbb_device_vq vq);
vbb_u64 vbb_device_reporting_step(struct vbb_device *d, enum vbb_device_vq vq);

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

/* Host requests: device_requests.c */
int vbb_device_requests_init(struct vbb_device *d);	/* VBB_E_BROKEN: see vbb_device_init() */
void vbb_device_requests_begin(struct vbb_device *d, enum vbb_device_vq vq);
vbb_u64 vbb_device_requests_step(struct vbb_device *d, enum vbb_device_vq vq);
void vbb_device_requests_stopped(struct vbb_device *d);

/* The driver begins anew: that closes every request. */
void vbb_device_requests_reset(struct vbb_device *d);

/* The queue is about to stop: what is borrowed goes back. */
void vbb_device_requests_stopping(struct vbb_device *d);

/* Look at the time, and go on writing. */
void vbb_device_requests_look(struct vbb_device *d);

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

/* QMP; vbb_qmp's opaque is the struct vbb_device */

#define VBB_DEVICE_TIMEOUT_MS		10000	/* unless it is told */
#define VBB_DEVICE_TIMEOUT_MS_MAX	3600000

extern const struct vbb_qmp_cmd vbb_device_cmds[];		/* device_qmp.c */
extern const struct vbb_qmp_cmd vbb_device_request_cmds[];	/* device_requests_qmp.c */
extern const struct vbb_qmp_cmd vbb_device_stats_cmds[];	/* device_stats_qmp.c */
extern const struct vbb_qmp_cmd vbb_device_hint_cmds[];		/* device_hint_qmp.c */

/**
 * vbb_device_requests_tell() - send X_HOST_REQUEST_END where a request has ended
 * @d: the device
 * @q: its QMP server
 */
void vbb_device_requests_tell(struct vbb_device *d, struct vbb_qmp *q);

/**
 * vbb_device_hint_tell() - send X_FREE_PAGE_HINT_END where a round has ended
 * @d: the device
 * @q: its QMP server
 */
void vbb_device_hint_tell(struct vbb_device *d, struct vbb_qmp *q);

/**
 * vbb_device_tell() - send the events that are due
 * @d: the device
 * @q: its QMP server
 *
 * Return: nanoseconds until the next one is due; ~0: nothing to tell.
 */
vbb_u64 vbb_device_tell(struct vbb_device *d, struct vbb_qmp *q);

#endif
