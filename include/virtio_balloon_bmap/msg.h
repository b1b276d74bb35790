/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause */
/* The fixed parts of messages, as the CPU likes them: headers of page messages, and results. */
#ifndef VIRTIO_BALLOON_BMAP_MSG_H
#define VIRTIO_BALLOON_BMAP_MSG_H

#include <virtio_balloon_bmap/error.h>
#include <virtio_balloon_bmap/seg.h>
#include <virtio_balloon_bmap/wire.h>

VBB_BEGIN_DECLS

#define VBB_HDR_LEN	sizeof(struct virtio_balloon_bmap_hdr)
#define VBB_RESULT_LEN	sizeof(struct virtio_balloon_bmap_result)

/**
 * enum vbb_queue - the kind of queue that a message travels on, by which header fields are legal
 * @VBB_QUEUE_BALLOON: inflate and deflate: cmd, flag and req_id are 0
 * @VBB_QUEUE_HOST_REQUEST: answers to the host's requests
 */
enum vbb_queue {
	VBB_QUEUE_BALLOON,
	VBB_QUEUE_HOST_REQUEST,
};

/**
 * struct vbb_hdr - a page message's header in the CPU's byte order
 */
struct vbb_hdr {
	/** @cmd: VIRTIO_BALLOON_CMD_*, or 0 */
	vbb_u16 cmd;
	/** @page_shift: log2 of the page size in bytes */
	vbb_u16 page_shift;
	/** @flag: VIRTIO_BALLOON_FLAG_* */
	vbb_u16 flag;
	/** @format: VIRTIO_BALLOON_FORMAT_* */
	vbb_u16 format;
	/** @req_id: the request answered, or 0 */
	vbb_u64 req_id;
	/** @start_pfn: pfn of bit 0, format BITMAP */
	vbb_u64 start_pfn;
	/** @bmap_len: bytes of payload */
	vbb_u64 bmap_len;
};

/**
 * struct vbb_result - a result in the CPU's byte order
 */
struct vbb_result {
	/** @nr_pages: pages acted on, in the message's unit */
	vbb_u64 nr_pages;
	/** @status: VIRTIO_BALLOON_STATUS_* */
	vbb_u16 status;
	/** @discard_shift: log2 of the smallest discard in bytes; 0: unknown */
	vbb_u16 discard_shift;
};

#ifdef __FRAMAC__
#include "proof/msg.h"
#endif

/**
 * vbb_flag_ends() - does an answer with this flag end its request?
 * @flag: VIRTIO_BALLOON_FLAG_*
 *
 * Return: true for every known flag but CONT.
 */
static inline bool vbb_flag_ends(vbb_u16 flag)
{
	return flag >= VIRTIO_BALLOON_FLAG_DONE && flag <= VIRTIO_BALLOON_FLAG_FAILED;
}

/**
 * vbb_hdr_load() - take a header off the front of a message
 * @h: receives the header, unchecked
 * @c: a cursor; moves behind the header where there is one
 *
 * Return: 0, or VBB_E_SHORT, which leaves both as they were.
 */
static inline int vbb_hdr_load(struct vbb_hdr *h, struct vbb_cur *c)
{
	if (c->left < VBB_HDR_LEN)
		return VBB_E_SHORT;
	h->cmd = vbb_cur_load16(c);
	h->page_shift = vbb_cur_load16(c);
	h->flag = vbb_cur_load16(c);
	h->format = vbb_cur_load16(c);
	h->req_id = vbb_cur_load64(c);
	h->start_pfn = vbb_cur_load64(c);
	h->bmap_len = vbb_cur_load64(c);
	return 0;
}

/**
 * vbb_hdr_store() - put a header at the front of a message
 * @h: the header
 * @c: a cursor; moves behind the header where there is room
 *
 * Return: 0, or VBB_E_TOOSMALL, which writes nothing.
 */
static inline int vbb_hdr_store(const struct vbb_hdr *h, struct vbb_cur *c)
{
	if (c->left < VBB_HDR_LEN)
		return VBB_E_TOOSMALL;
	vbb_cur_store(c, h->cmd, 2);
	vbb_cur_store(c, h->page_shift, 2);
	vbb_cur_store(c, h->flag, 2);
	vbb_cur_store(c, h->format, 2);
	vbb_cur_store64(c, h->req_id);
	vbb_cur_store64(c, h->start_pfn);
	vbb_cur_store64(c, h->bmap_len);
	return 0;
}

/**
 * vbb_result_load() - read the device's result
 * @r: receives the result
 * @seg: the device-writable segments of the chain; the caller's
 * @nr_segs: how many
 *
 * The caller has seen that the chain was used with length VBB_RESULT_LEN; with 0 there is no
 * result.
 *
 * Return: 0; VBB_E_SHORT; VBB_E_STATUS where the status is unknown; VBB_E_RESERVED. Only 0 makes
 * *@r meaningful.
 */
static inline int vbb_result_load(struct vbb_result *r, const struct vbb_seg *seg, size_t nr_segs)
{
	struct vbb_cur c;

	vbb_cur_init(&c, seg, nr_segs);
	if (c.left < VBB_RESULT_LEN)
		return VBB_E_SHORT;
	r->nr_pages = vbb_cur_load64(&c);
	r->status = vbb_cur_load16(&c);
	r->discard_shift = vbb_cur_load16(&c);
	if (vbb_cur_load32(&c))
		return VBB_E_RESERVED;
	return r->status > VIRTIO_BALLOON_STATUS_MALFORMED ? VBB_E_STATUS : 0;
}

/**
 * vbb_result_store() - write a result
 * @r: the result
 * @seg: the device-writable segments of the chain; the caller's
 * @nr_segs: how many
 *
 * Return: bytes written: VBB_RESULT_LEN, or 0 where the segments have no room for it; this is the
 * chain's used length.
 */
static inline vbb_u32 vbb_result_store(const struct vbb_result *r, const struct vbb_seg *seg,
				       size_t nr_segs)
{
	struct vbb_cur c;

	vbb_cur_init(&c, seg, nr_segs);
	if (c.left < VBB_RESULT_LEN)
		return 0;
	vbb_cur_store64(&c, r->nr_pages);
	vbb_cur_store(&c, r->status, 2);
	vbb_cur_store(&c, r->discard_shift, 2);
	vbb_cur_store(&c, 0, 4);
	return VBB_RESULT_LEN;
}

VBB_END_DECLS

#endif
