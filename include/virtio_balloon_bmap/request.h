/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause */
/* What the host asks of the guest: the fixed parts of the host_request queue. */
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
	vbb_u16 cmd;	/* VIRTIO_BALLOON_CMD_* */
	vbb_u64 id;	/* not 0 */
	vbb_u64 arg0;	/* by command */
	vbb_u64 arg1;	/* by command */
};

/**
 * vbb_req_load() - read a request
 * @req: receives the request; where @used_len is 16 or more, cmd and id are what the buffer says, also after a failure
 * @seg: the buffer that the device has used; the caller's
 * @nr_segs: how many
 * @used_len: the used length in bytes, as the device said it
 *
 * Spec: "Host requests". Whether the command is known is for the caller to say: it answers UNSUPPORTED, which is no
 * fault of the host.
 *
 * Return: 0; VBB_E_LEN where @used_len is not 16 or 32, or more than the buffer has; VBB_E_REQ_ID where the id is 0;
 * VBB_E_RESERVED where a reserved field is not.
 */
VBB_PUBLIC int vbb_req_load(struct vbb_req *req, const struct vbb_seg *seg, size_t nr_segs, vbb_u64 used_len);

/**
 * vbb_req_store() - write a request
 * @req: the request; its id is not 0
 * @seg: the device-writable buffer that the driver parked; the caller's
 * @nr_segs: how many
 *
 * Return: the used length in bytes: 16 where both arguments are 0, else 32; VBB_E_TOOSMALL where the buffer is
 * smaller; VBB_E_INVAL where the id is 0.
 */
VBB_PUBLIC int vbb_req_store(const struct vbb_req *req, const struct vbb_seg *seg, size_t nr_segs);

/**
 * vbb_vq_host_request() - index of the host_request queue
 * @offered: the feature bits that the device offers
 *
 * The queue comes after every queue that the offered standard features bring; absent queues take no number.
 *
 * Return: the index; meaningless where the device does not offer VIRTIO_BALLOON_F_HOST_REQ_VQ.
 */
static inline vbb_u32 vbb_vq_host_request(vbb_u64 offered)
{
	/* inflate and deflate are always there; then statistics (1), free page hints (3), reporting (5) */
	return 2 + (vbb_u32)(offered >> 1 & 1) + (vbb_u32)(offered >> 3 & 1) + (vbb_u32)(offered >> 5 & 1);
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

VBB_END_DECLS

#endif
