/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause */
/*
 * What is on the wire, and nothing else (docs/spec.md). All little-endian. These structures say how
 * the bytes lie; peers' bytes are never cast to them, but loaded field by field.
 */
#ifndef VIRTIO_BALLOON_BMAP_WIRE_H
#define VIRTIO_BALLOON_BMAP_WIRE_H

#include <virtio_balloon_bmap/types.h>

/* Feature bits: the one table to change when numbers are assigned. All need VIRTIO_F_VERSION_1. */
#define VIRTIO_BALLOON_F_PAGE_BITMAP	60 /* inflate and deflate buffers are page messages */
#define VIRTIO_BALLOON_F_HOST_REQ_VQ	61 /* the host_request queue; needs PAGE_BITMAP */
#define VIRTIO_BALLOON_F_PAGE_RECORDS	62 /* format RECORDS may be used; needs PAGE_BITMAP */

/* struct virtio_balloon_bmap_hdr.format */
#define VIRTIO_BALLOON_FORMAT_BITMAP	0
#define VIRTIO_BALLOON_FORMAT_RECORDS	1
#define VIRTIO_BALLOON_FORMAT_VALUES	2

/* struct virtio_balloon_bmap_hdr.flag, in answers; values, not bit numbers */
#define VIRTIO_BALLOON_FLAG_CONT	0
#define VIRTIO_BALLOON_FLAG_DONE	1
#define VIRTIO_BALLOON_FLAG_UNSUPPORTED	2
#define VIRTIO_BALLOON_FLAG_BUSY	3
#define VIRTIO_BALLOON_FLAG_CANCELLED	4
#define VIRTIO_BALLOON_FLAG_FAILED	5

/* struct virtio_balloon_req_hdr.cmd */
#define VIRTIO_BALLOON_CMD_GET_UNUSED_PAGES	0
#define VIRTIO_BALLOON_CMD_DROP_CACHE		1
#define VIRTIO_BALLOON_CMD_CANCEL		2

/* arg0 of DROP_CACHE */
#define VIRTIO_BALLOON_DROP_PAGE_CACHE	(1 << 0)
#define VIRTIO_BALLOON_DROP_SLAB	(1 << 1)

/* struct virtio_balloon_bmap_result.status */
#define VIRTIO_BALLOON_STATUS_OK	0
#define VIRTIO_BALLOON_STATUS_PARTIAL	1
#define VIRTIO_BALLOON_STATUS_INHIBITED	2
#define VIRTIO_BALLOON_STATUS_MALFORMED	3

#define VIRTIO_BALLOON_PAGE_SHIFT_MIN	12
#define VIRTIO_BALLOON_PAGE_SHIFT_MAX	30
#define VIRTIO_BALLOON_BMAP_LEN_MAX	(1UL << 20) /* bytes of payload */
#define VIRTIO_BALLOON_PFN_BITS		52

/* A record's first word, format RECORDS */
#define VIRTIO_BALLOON_REC_PFN_SHIFT	0
#define VIRTIO_BALLOON_REC_PFN_MASK	0x000fffffffffffffULL
#define VIRTIO_BALLOON_REC_ORDER_SHIFT	52
#define VIRTIO_BALLOON_REC_ORDER_MASK	0x3fULL
#define VIRTIO_BALLOON_REC_CODE_SHIFT	58
#define VIRTIO_BALLOON_REC_CODE_MASK	0x3fULL
#define VIRTIO_BALLOON_REC_ORDER_MAX	51

/* A record's code: what follows the first word */
#define VIRTIO_BALLOON_REC_BLOCK	0  /* nothing */
#define VIRTIO_BALLOON_REC_BITMAP_MAX	62 /* 1 to 62: so many words of bitmap */
#define VIRTIO_BALLOON_REC_EXTENT	63 /* a word with a page count */

/* Head of a page message; bmap_len bytes of payload follow. */
struct virtio_balloon_bmap_hdr {
	vbb_le16 cmd;		/* inflate, deflate: 0; host_request: the command answered */
	vbb_le16 page_shift;	/* a pfn counts units of 1 << page_shift bytes */
	vbb_le16 flag;		/* inflate, deflate: 0; host_request: VIRTIO_BALLOON_FLAG_* */
	vbb_le16 format;	/* VIRTIO_BALLOON_FORMAT_* */
	vbb_le64 req_id;	/* inflate, deflate: 0; host_request: the id answered */
	vbb_le64 start_pfn;	/* format BITMAP: pfn of bit 0; else 0 */
	vbb_le64 bmap_len;	/* bytes of payload */
};

/* What the device made of an inflate or deflate message. */
struct virtio_balloon_bmap_result {
	vbb_le64 nr_pages;	/* pages acted on, in the message's unit */
	vbb_le16 status;	/* VIRTIO_BALLOON_STATUS_* */
	vbb_le16 discard_shift;	/* log2 of the smallest discard in bytes; 0: unknown */
	vbb_le32 reserved;	/* written 0; a driver refuses others */
};

/* A request without arguments. */
struct virtio_balloon_req_hdr {
	vbb_le16 cmd;		/* VIRTIO_BALLOON_CMD_* */
	vbb_le16 reserved[3];	/* written 0; a driver refuses others */
	vbb_le64 param;		/* the request's id, not 0 */
};

/* A request with arguments. */
struct virtio_balloon_req {
	struct virtio_balloon_req_hdr hdr;	/* command and id */
	vbb_le64 arg0;				/* by command */
	vbb_le64 arg1;				/* by command */
};

VBB_STATIC_ASSERT(sizeof(struct virtio_balloon_bmap_hdr) == 32, "header is 32 bytes");
VBB_STATIC_ASSERT(offsetof(struct virtio_balloon_bmap_hdr, format) == 6, "format at 6");
VBB_STATIC_ASSERT(offsetof(struct virtio_balloon_bmap_hdr, bmap_len) == 24, "bmap_len at 24");
VBB_STATIC_ASSERT(sizeof(struct virtio_balloon_bmap_result) == 16, "result is 16 bytes");
VBB_STATIC_ASSERT(sizeof(struct virtio_balloon_req_hdr) == 16, "request is 16 bytes");
VBB_STATIC_ASSERT(sizeof(struct virtio_balloon_req) == 32, "request with arguments is 32 bytes");

#endif
