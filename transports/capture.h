/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause */
/*
 * Messages in a capture file: pcapng, one interface of link type USER0 (147). Wireshark, tshark,
 * mergecap and editcap take such files. Each packet begins with these 24 bytes:
 *
 *  offset  field    type  meaning
 *  0       version  u8    1
 *  1       kind     u8    1: a message. 2: a message comes back
 *  2       from     u8    who sent this packet. 0: the driver, 1: the device
 *  3       role     u8    what the queue is for, see enum vbb_capture_role
 *  4       queue    le16  its index
 *  6       modes    le16  how its messages are to be read, see VBB_CAPTURE_BITMAP
 *  8       id       le32  of a message in its queue, until it has come back
 *  12      in_len   le32  1: bytes that the receiver may write. 2: 0
 *  16      len      le32  bytes of the message, or that were written
 *  20      off      le32  how many of them lie in packets before this one
 *
 * and goes on with bytes of the message, or of what was written. What is longer than
 * VBB_CAPTURE_PACKET bytes lies in several packets, one behind the other: Wireshark takes no packet
 * over 256 KiB. What is longer than VBB_CAPTURE_MAX is no good page message: the rest is left out,
 * so that nobody fills a disk with a few chains of 4 GiB. What has 2^32 bytes says one less.
 */
#ifndef VBB_TRANSPORTS_CAPTURE_H
#define VBB_TRANSPORTS_CAPTURE_H

#include <stdio.h>

#include <virtio_balloon_bmap/error.h>
#include <virtio_balloon_bmap/seg.h>
#include <virtio_balloon_bmap/wire.h>

VBB_BEGIN_DECLS

#define VBB_CAPTURE_HDR_LEN 24
#define VBB_CAPTURE_PACKET 131072
#define VBB_CAPTURE_MAX (32 + VIRTIO_BALLOON_BMAP_LEN_MAX)
#define VBB_CAPTURE_MSG 1
#define VBB_CAPTURE_DONE 2
#define VBB_CAPTURE_DRIVER 0
#define VBB_CAPTURE_DEVICE 1

/* Modes: the driver has accepted the feature of that name */
#define VBB_CAPTURE_BITMAP (1 << 0)
#define VBB_CAPTURE_RECORDS (1 << 1)

/**
 * enum vbb_capture_role - what a queue is for
 * @VBB_CAPTURE_UNKNOWN: not told
 * @VBB_CAPTURE_INFLATE: messages that inflate, and their results
 * @VBB_CAPTURE_DEFLATE: messages that deflate, and their results
 * @VBB_CAPTURE_STATS: statistics
 * @VBB_CAPTURE_HINT: free page hints
 * @VBB_CAPTURE_REPORTING: free page reports
 * @VBB_CAPTURE_HOST_REQUEST: answers; a buffer without bytes comes back as a request
 * @VBB_CAPTURE_NR_ROLES: how many there are
 */
enum vbb_capture_role {
	VBB_CAPTURE_UNKNOWN,
	VBB_CAPTURE_INFLATE,
	VBB_CAPTURE_DEFLATE,
	VBB_CAPTURE_STATS,
	VBB_CAPTURE_HINT,
	VBB_CAPTURE_REPORTING,
	VBB_CAPTURE_HOST_REQUEST,
	VBB_CAPTURE_NR_ROLES,
};

/* Interfaces in a section whose link type is remembered; packets of more are passed over */
#define VBB_CAPTURE_IFS 64

/**
 * struct vbb_capture_hdr - what a capture says of a message
 */
struct vbb_capture_hdr {
	vbb_u8 kind;	/* VBB_CAPTURE_MSG, VBB_CAPTURE_DONE */
	vbb_u8 from;	/* VBB_CAPTURE_DRIVER, VBB_CAPTURE_DEVICE */
	vbb_u16 queue;
	vbb_u32 id;
	vbb_u32 in_len;	/* bytes */
	vbb_u32 len;	/* bytes */
	vbb_u16 role;	/* enum vbb_capture_role */
	vbb_u16 modes;	/* VBB_CAPTURE_BITMAP, VBB_CAPTURE_RECORDS */
};

/**
 * vbb_capture_len() - how much of a message is there
 * @hdr: the message
 *
 * Return: bytes, all of them but for a message that is longer than any good one.
 */
static inline vbb_u32 vbb_capture_len(const struct vbb_capture_hdr *hdr)
{
	return hdr->len < VBB_CAPTURE_MAX ? hdr->len : (vbb_u32)VBB_CAPTURE_MAX;
}

/**
 * vbb_capture_start() - write what a capture begins with
 * @f: the file, open for binary writing; ferror() says later whether a write failed
 */
void vbb_capture_start(FILE *f);

/**
 * vbb_capture_put() - write a message
 * @f: the file
 * @hdr: the message; of @seg the first hdr->len bytes, which are there, are its own
 * @seg: the message's bytes; the caller's
 * @nr_segs: how many
 * @time_ns: when, in nanoseconds since 1970
 */
void vbb_capture_put(FILE *f, const struct vbb_capture_hdr *hdr, const struct vbb_seg *seg,
		     size_t nr_segs, vbb_u64 time_ns);

/**
 * struct vbb_capture - a capture that is read; private
 */
struct vbb_capture {
	FILE *f;
	bool swapped;		/* this section is big-endian; our own bytes never are */
	bool begun;		/* a section is there */
	vbb_u64 ours;		/* by interface of this section: link type USER0 */
	unsigned int nr_ifs;
	vbb_u64 nr_packets;	/* of all interfaces; Wireshark's number of the packet read last */
	int end;		/* what every call says, or 0 */
};

/**
 * vbb_capture_open() - begin to read a capture
 * @c: the reader; the caller's
 * @f: the file, open for binary reading; the caller's, borrowed
 */
void vbb_capture_open(struct vbb_capture *c, FILE *f);

/**
 * vbb_capture_next() - read the next message
 * @c: the reader
 * @hdr: receives what the capture says of it
 * @buf: receives its bytes: vbb_capture_len() of them
 * @max_len: bytes that @buf can take
 *
 * Blocks of other kinds, and packets of other link types, are passed over.
 *
 * Return: 0; VBB_E_CLOSED at the end; VBB_E_FRAME, once, where the file is no such capture, or ends
 * in the middle, or a message does not fit into @max_len; VBB_E_BROKEN from then on.
 */
int vbb_capture_next(struct vbb_capture *c, struct vbb_capture_hdr *hdr, vbb_u8 *buf,
		     size_t max_len);

VBB_END_DECLS

#endif
