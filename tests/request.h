/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause */
/* Requests and answers: short names, and what is right for an answer. */
#ifndef REQUEST_H
#define REQUEST_H

#include "test.h"

#define GET VIRTIO_BALLOON_CMD_GET_UNUSED_PAGES
#define DROP VIRTIO_BALLOON_CMD_DROP_CACHE
#define CANCEL VIRTIO_BALLOON_CMD_CANCEL

#define CONT VIRTIO_BALLOON_FLAG_CONT
#define DONE VIRTIO_BALLOON_FLAG_DONE
#define UNSUPPORTED VIRTIO_BALLOON_FLAG_UNSUPPORTED
#define BUSY VIRTIO_BALLOON_FLAG_BUSY
#define CANCELLED VIRTIO_BALLOON_FLAG_CANCELLED
#define FAILED VIRTIO_BALLOON_FLAG_FAILED
#define NR_FLAGS (FAILED + 1)

#define BITMAP VIRTIO_BALLOON_FORMAT_BITMAP
#define RECORDS VIRTIO_BALLOON_FORMAT_RECORDS
#define VALUES VIRTIO_BALLOON_FORMAT_VALUES

/* What is right for an answer, told from the tables of the specification alone */
static inline int right_verdict(uint16_t cmd, enum vbb_host_state state, const struct vbb_hdr *hdr)
{
	static const struct {
		uint16_t cmd, format;
	} payload[] = { { GET, BITMAP }, { GET, RECORDS }, { DROP, VALUES } };
	bool known = !hdr->bmap_len;
	size_t i;

	if (state == VBB_HOST_CLOSED)
		return VBB_E_REQ_STALE;
	if (hdr->cmd != cmd)
		return VBB_E_REQ_CMD;
	for (i = 0; i < ARRAY_SIZE(payload); i++)
		known |= payload[i].cmd == cmd && payload[i].format == hdr->format;
	if (!known)
		return cmd == CANCEL ? VBB_E_PAYLOAD : VBB_E_FORMAT;
	return (hdr->bmap_len && state == VBB_HOST_OPEN ? VBB_HOST_APPLY : 0) |
	       (hdr->flag != CONT ? VBB_HOST_END : 0);
}

#endif
