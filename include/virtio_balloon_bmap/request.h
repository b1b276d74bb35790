/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause */
/*
 * What the host asks of the guest on the host_request queue: the fixed parts; and the conversation
 * as two machines, one a side, without allocation, time or locks, modelled by name in docs/model/.
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
 * @req: receives the request; where @used_len and the buffer are 16 bytes or more, cmd and id are
 *     what the buffer says, also after a failure
 * @seg: the buffer that the device has used; the caller's
 * @nr_segs: how many
 * @used_len: the used length in bytes, as the device said it
 *
 * Spec: 5.1 "Requests". Whether the command is known is for the caller to say: it answers
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
 * @VBB_HOST_FORGOTTEN: given up: nothing of it is applied any more, but its end, when it comes,
 *     tells that the guest is free again
 */
enum vbb_host_state {
	VBB_HOST_CLOSED,
	VBB_HOST_OPEN,
	VBB_HOST_FORGOTTEN,
};

/* What vbb_host_accept() says of an answer; both together, or 0: drop it */
#define VBB_HOST_APPLY	(1 << 0) /* its payload may be applied */
#define VBB_HOST_END	(1 << 1) /* it was its request's last */

/**
 * struct vbb_host_req - a request that the host has made
 */
struct vbb_host_req {
	/** @state: how the host stands to it */
	enum vbb_host_state state;
	/** @cmd: VIRTIO_BALLOON_CMD_* */
	vbb_u16 cmd;
	/** @id: its id; not to be read where the state is CLOSED */
	vbb_u64 id;
};

/**
 * struct vbb_host - the host's side: one request that means work for the guest, one CANCEL of it
 *
 * The caller's: to be read at any time, written by the calls below only. They neither lock nor
 * wait: the caller makes them, and applies what they let it apply, under one lock of its own.
 *
 * Time limits are the caller's as well, since a guest may never answer: vbb_host_cancel() when one
 * is over, vbb_host_close() when the guest did not obey, and nothing waits for a guest any longer.
 */
struct vbb_host {
	/** @next_id: the next request's; 0: all are used up. Part of the device's saved state */
	vbb_u64 next_id;
	/** @applying_id: of the answer accepted last, while it may be applied; else 0 */
	vbb_u64 applying_id;
	/** @work: GET_UNUSED_PAGES or DROP_CACHE */
	struct vbb_host_req work;
	/** @cancel: CANCEL; never FORGOTTEN */
	struct vbb_host_req cancel;
};

/**
 * vbb_host_init() - a new device: nothing is open
 * @h: the machine; the caller's, any content
 * @next_id: the id of the first request; 0 is taken as 1
 *
 * An id must never come twice in the life of a device, since a guest may answer one late.
 * Migration and snapshots are part of that life: next_id travels in the device's state, and the
 * other side begins with it. What was open does not travel: it belongs to the old side's log of
 * writes, and an answer that comes to the new side is a fault, and dropped. A device that cannot
 * carry next_id along begins with a number that none reached before it, such as the nanoseconds
 * since 1970.
 */
VBB_PUBLIC void vbb_host_init(struct vbb_host *h, vbb_u64 next_id);

/**
 * vbb_host_reset() - the device was reset: that closes every request
 * @h: the machine; it goes on with ids never used before
 */
VBB_PUBLIC void vbb_host_reset(struct vbb_host *h);

/**
 * vbb_host_open() - make a request that means work for the guest
 * @h: the machine
 * @cmd: VIRTIO_BALLOON_CMD_GET_UNUSED_PAGES or VIRTIO_BALLOON_CMD_DROP_CACHE
 * @arg0: by command
 * @arg1: by command
 * @req: receives the request, for vbb_req_store(); only where the call gives 0
 *
 * The caller has a buffer at hand that the driver parked; where vbb_req_store() fails after all it
 * calls vbb_host_close(), and the id is spent. Before unused pages are asked for, the write log is
 * on, and what was collected of it is merged.
 *
 * Return: 0; VBB_E_AGAIN while the request before it has not ended, forgotten or not, as the guest
 * would say BUSY; VBB_E_INVAL where no guest serves such a @cmd, or @arg0; VBB_E_STATE where all
 * ids are used up.
 */
VBB_PUBLIC int vbb_host_open(struct vbb_host *h, vbb_u16 cmd, vbb_u64 arg0, vbb_u64 arg1,
			     struct vbb_req *req);

/**
 * vbb_host_cancel() - ask the guest to stop its work
 * @h: the machine
 * @req: receives the CANCEL, as in vbb_host_open()
 *
 * Forgets the work, which ends when the guest says so: with CANCELLED, or what was ahead of it.
 *
 * Return: 0; VBB_E_STATE where no work is open or forgotten, or all ids are used up; VBB_E_AGAIN
 * while the CANCEL before it has not ended.
 */
VBB_PUBLIC int vbb_host_cancel(struct vbb_host *h, struct vbb_req *req);

/**
 * vbb_host_forget() - the write log is about to be collected
 * @h: the machine
 *
 * To be called at each collection, the last one included, before anything of it is merged. Forgets
 * an open GET_UNUSED_PAGES, and the answer that is being applied.
 */
VBB_PUBLIC void vbb_host_forget(struct vbb_host *h);

/**
 * vbb_host_close() - expect no more of a request
 * @h: the machine
 * @id: of the work or of the CANCEL
 *
 * For a time limit that is over, and for a request that never reached the guest. Any answer to it
 * is a fault from now on, and a guest that is still at work says BUSY to the next request.
 *
 * Return: 0; VBB_E_STATE where no such request is open or forgotten.
 */
VBB_PUBLIC int vbb_host_close(struct vbb_host *h, vbb_u64 id);

/**
 * vbb_host_accept() - judge an answer
 * @h: the machine
 * @hdr: its header, with which vbb_dec_init() found no fault
 *
 * To be called for each answer in the order in which they come. What is dropped and what is a fault
 * is counted by the caller, and the next answer is judged.
 *
 * Return: VBB_HOST_APPLY, VBB_HOST_END, or both; 0: drop it, since its request is forgotten; or the
 * peer's fault, which leaves the request as it was: VBB_E_REQ_STALE: no such id is open;
 * VBB_E_REQ_CMD: cmd is not that of the request; VBB_E_PAYLOAD, VBB_E_FORMAT: no answer to this
 * command.
 */
VBB_PUBLIC int vbb_host_accept(struct vbb_host *h, const struct vbb_hdr *hdr);

/**
 * vbb_host_may_apply() - may the answer accepted last still be applied?
 * @h: the machine
 *
 * A caller that applies a payload in slices, and lets go of its lock in between, asks before each.
 *
 * Return: true from VBB_HOST_APPLY on, until vbb_host_accept() is called again or one of the other
 * calls withdraws the permission.
 */
static inline bool vbb_host_may_apply(const struct vbb_host *h)
{
	return h->applying_id != 0;
}

/**
 * enum vbb_guest_state - what the guest is at
 * @VBB_GUEST_IDLE: it serves no request
 * @VBB_GUEST_SERVING: it serves one
 * @VBB_GUEST_STOPPING: it serves one that was cancelled, and is to end it with the next step
 */
enum vbb_guest_state {
	VBB_GUEST_IDLE,
	VBB_GUEST_SERVING,
	VBB_GUEST_STOPPING,
};

/**
 * enum vbb_guest_verdict - what a request turned out to be; each is worth a counter
 * @VBB_GUEST_SERVE: to be served from now on
 * @VBB_GUEST_CANCEL: a CANCEL, to which the machine answers DONE; may have made the state STOPPING
 * @VBB_GUEST_CANCEL_NONE: a CANCEL of what is not open, to which the machine answers FAILED
 * @VBB_GUEST_BUSY: one too many, to which the machine answers BUSY
 * @VBB_GUEST_UNSUPPORTED: an unknown command, to which the machine answers UNSUPPORTED
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

/* Ends that can wait to be sent; one place is kept for that of the request being served */
#define VBB_GUEST_NR_ENDS 4

/**
 * struct vbb_guest_end - the end of a request, not sent yet
 */
struct vbb_guest_end {
	/** @id: the request's */
	vbb_u64 id;
	/** @cmd: the request's */
	vbb_u16 cmd;
	/** @flag: VIRTIO_BALLOON_FLAG_*, not CONT */
	vbb_u16 flag;
};

/**
 * struct vbb_guest - the guest's side: one request that is served, and ends that wait to be sent
 *
 * The caller's: to be read at any time, written by the calls below only. They neither lock nor
 * wait: the caller makes them under one lock of its own, which it need not hold while it works.
 *
 * A request that was taken gets exactly one end, and the machine keeps the end until it was sent.
 * As it never grows, a request may be taken only when vbb_guest_ready(). Until then the request
 * stays in the queue, unread, and waits for nothing but the host's own taking of earlier ends;
 * payloads under way do not matter, so CANCEL is served however full the queue is of them. So,
 * whenever the device gave a buffer back, whether a request or an answer, and after
 * vbb_guest_end(), repeat until nothing moves:
 *
 * - vbb_guest_next_end(), while the queue takes it; then vbb_guest_end_sent();
 * - vbb_guest_ready(), while there is a request; then vbb_req_load(), park the buffer anew,
 *   vbb_guest_take().
 */
struct vbb_guest {
	/** @state: what the guest is at */
	enum vbb_guest_state state;
	/** @req: the request that it serves; not to be read where the state is IDLE */
	struct vbb_req req;
	/** @nr_ends: ends that wait to be sent */
	vbb_u32 nr_ends;
	/** @end: they, the oldest first */
	struct vbb_guest_end end[VBB_GUEST_NR_ENDS];
};

/**
 * vbb_guest_init() - a new device, or one that was reset: nothing is open
 * @g: the machine; the caller's, any content
 *
 * Whoever worked on a request has stopped before this.
 */
VBB_PUBLIC void vbb_guest_init(struct vbb_guest *g);

/**
 * vbb_guest_ready() - may a request be taken?
 * @g: the machine
 *
 * Return: true where there is room for its end, besides that of the request being served.
 */
static inline bool vbb_guest_ready(const struct vbb_guest *g)
{
	return g->nr_ends + (g->state != VBB_GUEST_IDLE) < VBB_GUEST_NR_ENDS;
}

/**
 * vbb_guest_take() - judge a request
 * @g: the machine, ready
 * @req: what vbb_req_load() stored; copied
 * @err: what vbb_req_load() returned
 *
 * Return: 0 and more: enum vbb_guest_verdict; the peer's fault, to which the machine answers
 * FAILED: @err or VBB_E_REQ_ARG; the peer's fault, not to be answered: VBB_E_REQ_OPEN, or @err
 * where there is no id; VBB_E_STATE where the machine was not ready: the request is lost.
 */
VBB_PUBLIC int vbb_guest_take(struct vbb_guest *g, const struct vbb_req *req, int err);

/**
 * vbb_guest_end() - the work on the request is over
 * @g: the machine
 * @flag: DONE; UNSUPPORTED; BUSY; FAILED; or CANCELLED, where the state is STOPPING
 *
 * Before that, each message with payload was put in the queue, or dropped; all of them with flag
 * CONT. The end is a message of its own without payload. The next request can be served at once.
 *
 * Return: 0; VBB_E_STATE where no request is served; VBB_E_INVAL where @flag is another.
 */
VBB_PUBLIC int vbb_guest_end(struct vbb_guest *g, vbb_u16 flag);

/**
 * vbb_guest_next_end() - the end that is to be sent next
 * @g: the machine
 * @hdr: receives the whole message: a header, for vbb_hdr_store(); only where there is one
 *
 * Return: true where there is one; it stays the next until vbb_guest_end_sent().
 */
VBB_PUBLIC bool vbb_guest_next_end(const struct vbb_guest *g, struct vbb_hdr *hdr);

/**
 * vbb_guest_end_sent() - the end that vbb_guest_next_end() gave is in the queue
 * @g: the machine
 */
VBB_PUBLIC void vbb_guest_end_sent(struct vbb_guest *g);

#ifdef __FRAMAC__
#include "proof/request.h"
#endif

VBB_END_DECLS

#endif
