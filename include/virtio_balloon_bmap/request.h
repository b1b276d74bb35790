/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause */
/*
 * What the host asks of the guest on the host_request queue: requests and their bytes, and the conversation, seen from
 * each side, as a machine without allocation, time or locks. docs/model/ has both machines under the same names.
 */
#ifndef VIRTIO_BALLOON_BMAP_REQUEST_H
#define VIRTIO_BALLOON_BMAP_REQUEST_H

#include <virtio_balloon_bmap/msg.h>

VBB_BEGIN_DECLS

#define VBB_REQ_HDR_LEN	sizeof(struct virtio_balloon_req_hdr)
#define VBB_REQ_LEN	sizeof(struct virtio_balloon_req)

/**
 * struct vbb_req - a request in the CPU's byte order
 */
struct vbb_req {
	/** @cmd: VIRTIO_BALLOON_CMD_* */
	vbb_u16 cmd;
	/** @id: not 0 */
	vbb_u64 id;
	/** @arg0: by command */
	vbb_u64 arg0;
	/** @arg1: by command */
	vbb_u64 arg1;
};

/**
 * vbb_req_load() - read a request
 * @req: receives the request; where @used_len is 16 or more, cmd and id are what the buffer says,
 *     also after a failure
 * @seg: the buffer that the device has used; the caller's
 * @nr_segs: how many
 * @used_len: the used length in bytes, as the device said it
 *
 * Spec: "Host requests". Whether the command is known is for the caller to say: it answers
 * UNSUPPORTED, which is no fault of the host.
 *
 * Return: 0; VBB_E_LEN where @used_len is not 16 or 32, or more than the buffer has; VBB_E_REQ_ID
 * where the id is 0; VBB_E_RESERVED where a reserved field is not.
 */
VBB_PUBLIC int vbb_req_load(struct vbb_req *req, const struct vbb_seg *seg, size_t nr_segs,
			    vbb_u64 used_len);

/**
 * vbb_req_store() - write a request
 * @req: the request; its id is not 0
 * @seg: the device-writable buffer that the driver parked; the caller's
 * @nr_segs: how many
 *
 * Return: the used length in bytes: 16 where both arguments are 0, else 32; VBB_E_TOOSMALL where
 * the buffer is smaller; VBB_E_INVAL where the id is 0.
 */
VBB_PUBLIC int vbb_req_store(const struct vbb_req *req, const struct vbb_seg *seg, size_t nr_segs);

/**
 * vbb_vq_host_request() - index of the host_request queue
 * @offered: the feature bits that the device offers
 *
 * The queue comes after every queue that the offered standard features bring; absent queues take no
 * number.
 *
 * Return: the index; meaningless where the device does not offer VIRTIO_BALLOON_F_HOST_REQ_VQ.
 */
static inline vbb_u32 vbb_vq_host_request(vbb_u64 offered)
{
	/* inflate and deflate, then statistics (1), free page hints (3) and reporting (5) */
	return 2 + (vbb_u32)((offered >> 1 & 1) + (offered >> 3 & 1) + (offered >> 5 & 1));
}

/**
 * vbb_features_check() - is a set of feature bits complete?
 * @features: bits offered by a device, or to be accepted by a driver
 *
 * Return: @features without every bit of ours whose needs are not in the set.
 */
static inline vbb_u64 vbb_features_check(vbb_u64 features)
{
	const vbb_u64 version_1 = (vbb_u64)1 << 32;
	const vbb_u64 bitmap = (vbb_u64)1 << VIRTIO_BALLOON_F_PAGE_BITMAP;
	const vbb_u64 req = (vbb_u64)1 << VIRTIO_BALLOON_F_HOST_REQ_VQ;
	const vbb_u64 records = (vbb_u64)1 << VIRTIO_BALLOON_F_PAGE_RECORDS;

	if (!(features & version_1))
		features &= ~bitmap;
	if (!(features & bitmap))
		features &= ~(req | records);
	return features;
}

/**
 * enum vbb_host_state - how the host stands to a request of its own
 * @VBB_HOST_CLOSED: there is none: an answer to it is a fault
 * @VBB_HOST_OPEN: what its answers say may be applied
 * @VBB_HOST_FORGOTTEN: given up; nothing of it is ever applied, but its end tells that the guest is free again
 */
enum vbb_host_state {
	VBB_HOST_CLOSED,
	VBB_HOST_OPEN,
	VBB_HOST_FORGOTTEN,
};

/* What vbb_host_accept() says of an answer, or of both together; 0: drop it */
#define VBB_HOST_APPLY	(1 << 0) /* its payload may be applied */
#define VBB_HOST_END	(1 << 1) /* it was its request's last */

/**
 * struct vbb_host_req - a request that the host has made
 */
struct vbb_host_req {
	enum vbb_host_state state;
	vbb_u16 cmd;		/* VIRTIO_BALLOON_CMD_* */
	vbb_u64 id;		/* of the last request; the guest may know it still */
};

/**
 * struct vbb_host - the host's side: one request that means work for the guest, and one CANCEL of it
 *
 * The caller's; to be read at any time, written by the calls below only. They neither lock nor wait: the caller makes
 * them under one lock of its own.
 *
 * Time limits are the caller's as well. A guest may never answer; so a limit that is over is followed by
 * vbb_host_cancel(), and a second one by vbb_host_close(), and nothing waits for a guest longer than that.
 */
struct vbb_host {
	vbb_u64 next_id;		/* of the next request; 0: all are used up. Migrates with the device */
	vbb_u64 applying_id;		/* see vbb_host_may_apply() */
	struct vbb_host_req work;	/* GET_UNUSED_PAGES or DROP_CACHE */
	struct vbb_host_req cancel;	/* CANCEL; never FORGOTTEN */
};

/**
 * vbb_host_init() - a new device: nothing is open
 * @h: the machine; the caller's, any content
 * @next_id: the id of the first request; 0 is taken as 1
 *
 * An id must never be used twice in the life of a device, since the guest may answer one late. Migration and snapshots are
 * part of that life: next_id travels in the device's state, and the other side begins with it. What was open does
 * not travel: the answers belong to the old side's log of writes, so that on the new side they are faults, and
 * dropped. A device that cannot carry next_id along begins with a number that none before it reached, for example
 * the nanoseconds since 1970.
 */
VBB_PUBLIC void vbb_host_init(struct vbb_host *h, vbb_u64 next_id);

/**
 * vbb_host_reset() - the device was reset: that ends every request
 * @h: the machine; goes on with fresh ids
 */
VBB_PUBLIC void vbb_host_reset(struct vbb_host *h);

/**
 * vbb_host_open() - make a request
 * @h: the machine
 * @cmd: VIRTIO_BALLOON_CMD_GET_UNUSED_PAGES or VIRTIO_BALLOON_CMD_DROP_CACHE
 * @arg0: by command
 * @arg1: by command
 * @req: receives the request, for vbb_req_store()
 *
 * The caller holds a buffer that the driver parked, so that it can ask at once. Where that fails after all it calls
 * vbb_host_close(), and the id is spent. The write log is on before unused pages are asked for.
 *
 * Return: 0; VBB_E_AGAIN while the request before has not ended, forgotten or not: the guest would say BUSY;
 * VBB_E_INVAL where @cmd or @arg0 is none that a guest serves; VBB_E_STATE where all ids are used up.
 */
VBB_PUBLIC int vbb_host_open(struct vbb_host *h, vbb_u16 cmd, vbb_u64 arg0, vbb_u64 arg1, struct vbb_req *req);

/**
 * vbb_host_cancel() - ask the guest to stop
 * @h: the machine
 * @req: receives the CANCEL request, for vbb_req_store()
 *
 * Cancels h->work, which is forgotten from now on. It stays until its end comes: CANCELLED, or what was ahead.
 *
 * Return: 0; VBB_E_STATE where there is nothing to cancel, or all ids are used up; VBB_E_AGAIN while the CANCEL
 * before has not ended; @req is filled by 0 only.
 */
VBB_PUBLIC int vbb_host_cancel(struct vbb_host *h, struct vbb_req *req);

/**
 * vbb_host_forget() - the write log is about to be collected
 * @h: the machine
 *
 * Forgets an open GET_UNUSED_PAGES, and the answer being applied. To be called before what was collected is merged,
 * every time, the last time included. The request stays until its end comes. The time to ask again is after the merge.
 */
VBB_PUBLIC void vbb_host_forget(struct vbb_host *h);

/**
 * vbb_host_close() - expect nothing more of a request
 * @h: the machine
 * @id: the request, or the CANCEL
 *
 * For a time limit that is over, and for a request that never reached the guest. Each answer from now on is a fault. Where
 * the guest is still at work it will answer the next request with BUSY.
 *
 * Return: 0; VBB_E_STATE where the id is not open.
 */
VBB_PUBLIC int vbb_host_close(struct vbb_host *h, vbb_u64 id);

/**
 * vbb_host_accept() - judge an answer
 * @h: the machine
 * @hdr: its header, of which vbb_dec_init() said nothing bad
 *
 * Answers are judged in the order in which they come. The caller counts what is dropped and what is a fault, and goes on
 * with the next in each case. After a fault the request is as it was.
 *
 * Return: VBB_HOST_APPLY, VBB_HOST_END, both, or 0: drop it, its request is forgotten; or the peer's fault:
 * VBB_E_REQ_STALE: the id is not open; VBB_E_REQ_CMD: cmd is not that of the request; VBB_E_PAYLOAD, VBB_E_FORMAT: a
 * payload that this command does not answer with.
 */
VBB_PUBLIC int vbb_host_accept(struct vbb_host *h, const struct vbb_hdr *hdr);

/**
 * vbb_host_may_apply() - may the payload of the answer accepted last still be applied?
 * @h: the machine
 *
 * A caller that applies a payload in slices, and lets go of its lock in between, asks before each slice.
 *
 * Return: true from VBB_HOST_APPLY until the next answer, or until the request is forgotten, cancelled or closed.
 */
static inline bool vbb_host_may_apply(const struct vbb_host *h)
{
	return h->applying_id != 0;
}

/**
 * enum vbb_guest_state - what the guest is at
 * @VBB_GUEST_IDLE: no request is being served
 * @VBB_GUEST_SERVING: one is
 * @VBB_GUEST_STOPPING: one is, and it was cancelled: it ends with the next step
 */
enum vbb_guest_state {
	VBB_GUEST_IDLE,
	VBB_GUEST_SERVING,
	VBB_GUEST_STOPPING,
};

/**
 * enum vbb_guest_verdict - what a request turned out to be; each is worth a counter
 * @VBB_GUEST_SERVE: to be served, from now on; it is in struct vbb_guest
 * @VBB_GUEST_CANCEL: a CANCEL; answered with DONE. Where the state is STOPPING, there is something to stop
 * @VBB_GUEST_CANCEL_NONE: a CANCEL of a request that is not open; answered with FAILED
 * @VBB_GUEST_BUSY: answered with BUSY
 * @VBB_GUEST_UNSUPPORTED: its command is unknown; answered with UNSUPPORTED
 * @VBB_GUEST_NR_VERDICTS: how many there are
 */
enum vbb_guest_verdict {
	VBB_GUEST_SERVE,
	VBB_GUEST_CANCEL,
	VBB_GUEST_CANCEL_NONE,
	VBB_GUEST_BUSY,
	VBB_GUEST_UNSUPPORTED,
	VBB_GUEST_NR_VERDICTS,
};

/* Ends that wait to be sent, one place being kept for that of the request that is served */
#define VBB_GUEST_NR_ENDS 4

/**
 * struct vbb_guest_end - the end of a request
 */
struct vbb_guest_end {
	vbb_u64 id;	/* the request */
	vbb_u16 cmd;	/* its command */
	vbb_u16 flag;	/* VIRTIO_BALLOON_FLAG_*, one that ends */
};

/**
 * struct vbb_guest - the guest's side: one request that is served, and the ends of others
 *
 * The caller's; state and req may be read at any time. The calls neither lock nor wait: the caller makes them under one
 * lock of its own, which it need not hold while it walks or drops.
 *
 * A request that was taken gets exactly one end, whatever happens, and the machine keeps the end until it was sent.
 * That needs one rule: a request is taken only when vbb_guest_ready(). Else it stays in the queue, unread, and the
 * host, which has not taken the answers to its earlier requests, waits for itself. So, whenever a buffer came back from the
 * device, a request or an answer, and after vbb_guest_end(), in a loop until nothing moves:
 *
 * - while the queue has room: vbb_guest_next_end(), send it, vbb_guest_end_sent();
 * - while vbb_guest_ready() and there is a request: vbb_req_load(), park the buffer anew, vbb_guest_take().
 *
 * Nothing but unsent ends keeps requests from being taken, so a CANCEL is served while payloads fill the queue.
 */
struct vbb_guest {
	enum vbb_guest_state state;
	struct vbb_req req;	/* the request that is served, where state is not IDLE */
	/* private */
	vbb_u32 nr_ends;
	struct vbb_guest_end end[VBB_GUEST_NR_ENDS];	/* the oldest first */
};

/**
 * vbb_guest_init() - a new queue, or one that was reset: nothing is open
 * @g: the machine; the caller's, any content
 *
 * Whoever was serving a request has stopped before.
 */
VBB_PUBLIC void vbb_guest_init(struct vbb_guest *g);

/**
 * vbb_guest_ready() - may a request be taken out of the queue?
 * @g: the machine
 *
 * Return: true where vbb_guest_take() has room for one more end.
 */
static inline bool vbb_guest_ready(const struct vbb_guest *g)
{
	return g->nr_ends + (g->state != VBB_GUEST_IDLE) < VBB_GUEST_NR_ENDS;
}

/**
 * vbb_guest_take() - judge a request
 * @g: the machine; ready
 * @req: what vbb_req_load() made of it; copied
 * @err: what vbb_req_load() returned
 *
 * Return: 0 or more: enum vbb_guest_verdict; the peer's fault, answered with FAILED: @err, or VBB_E_REQ_ARG; the
 * peer's fault, not answered: VBB_E_REQ_OPEN, or @err where the id is 0 or not to be had; VBB_E_STATE where the machine is
 * not ready, which leaves it as it was.
 */
VBB_PUBLIC int vbb_guest_take(struct vbb_guest *g, const struct vbb_req *req, int err);

/**
 * vbb_guest_end() - the request that was served is over
 * @g: the machine
 * @flag: DONE, UNSUPPORTED, BUSY or FAILED; CANCELLED where the state is STOPPING
 *
 * Each message with payload, the last one included, carries flag CONT and was given to the queue, or dropped, before.
 * The end is a message of its own, so that it needs no buffer but a header's. The machine can serve another
 * request at once.
 *
 * Return: 0; VBB_E_STATE where no request is served; VBB_E_INVAL where @flag is another.
 */
VBB_PUBLIC int vbb_guest_end(struct vbb_guest *g, vbb_u16 flag);

/**
 * vbb_guest_next_end() - the end that is to be sent next
 * @g: the machine
 * @hdr: receives the message: a header without payload
 *
 * Return: true where there is one; the same again until vbb_guest_end_sent().
 */
VBB_PUBLIC bool vbb_guest_next_end(const struct vbb_guest *g, struct vbb_hdr *hdr);

/**
 * vbb_guest_end_sent() - the end that vbb_guest_next_end() gave is in the queue
 * @g: the machine; where there is no such end nothing happens
 */
VBB_PUBLIC void vbb_guest_end_sent(struct vbb_guest *g);

VBB_END_DECLS

#endif
