/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause */
/* Every way in which a call can fail. The range of a number says whose fault it is. */
#ifndef VIRTIO_BALLOON_BMAP_ERROR_H
#define VIRTIO_BALLOON_BMAP_ERROR_H

#include <virtio_balloon_bmap/types.h>

VBB_BEGIN_DECLS

/*
 * One table: X(name, number, what is wrong).
 *  -1 to -15  retry: nobody's fault; make room or call again
 * -16 to -63  peer: what the other side sent is malformed; the numbers index fault counters
 * -64 to -79  dead: the other side or the transport is gone
 * -80 to -95  caller: a mistake in the program that calls us
 */
#define VBB_ERRORS(X) \
	X(NOSPC, -1, "the buffer is full") \
	X(BUDGET, -2, "the work budget is used up") \
	X(AGAIN, -3, "not yet: try again later") \
	X(SHORT, -16, "shorter than its fixed part") \
	X(LEN, -17, "a length is not what it must be") \
	X(LEN_MAX, -18, "more than 2^20 bytes of payload") \
	X(LEN_EMPTY, -19, "no payload, and no flag that ends") \
	X(LEN_ALIGN, -20, "length is not a multiple of the unit") \
	X(CMD, -21, "cmd is not one of this queue's") \
	X(PAGE_SHIFT, -22, "page_shift is not 12 to 30") \
	X(FLAG, -23, "flag has no such value here") \
	X(FORMAT, -24, "format unknown, or not negotiated") \
	X(REQ_ID, -25, "req_id is not 0 where it must be, or 0 where it must not") \
	X(START_PFN, -26, "start_pfn is not 0, or is 2^52 or more") \
	X(PAYLOAD, -27, "a payload where none is allowed") \
	X(RESERVED, -28, "a reserved field is not 0") \
	X(REC_ORDER, -29, "a record's order is over 51, or not 0 in an extent") \
	X(REC_ALIGN, -30, "a record's pfn is not a multiple of 2^order") \
	X(REC_TRUNC, -31, "a record runs past the payload") \
	X(REC_COUNT, -32, "an extent's page count is 0 or over 2^52") \
	X(PFN_RANGE, -33, "a page at or past pfn 2^52 or byte 2^64") \
	X(PFN_LIMIT, -34, "a page at or past the receiver's limit") \
	X(STATUS, -35, "a result's status is unknown") \
	X(RING_INDEX, -36, "a ring index is out of range or went too far") \
	X(RING_LOOP, -37, "a descriptor chain is longer than the queue, or loops") \
	X(RING_ADDR, -38, "a descriptor lies outside the shared memory") \
	X(RING_DESC, -39, "a descriptor's flags or length make no sense") \
	X(FRAME, -40, "a stream's or a capture's framing is broken") \
	X(REQ_OPEN, -41, "a request's id is that of one still open") \
	X(REQ_ARG, -42, "a request's argument has no such value") \
	X(REQ_STALE, -43, "an answer to no open request") \
	X(REQ_CMD, -44, "an answer's cmd is not its request's") \
	X(CLOSED, -64, "the other side is gone") \
	X(BROKEN, -65, "the transport cannot go on") \
	X(INVAL, -80, "an argument is out of range") \
	X(STATE, -81, "not a call for this state") \
	X(TOOSMALL, -82, "the buffer is smaller than the smallest message")

/* What a call returns when it fails: negative. 0 and more are successes, told by each function. */
enum vbb_err {
#define VBB_ERR_ENUM(name, number, text) VBB_E_##name = (number),
	VBB_ERRORS(VBB_ERR_ENUM)
#undef VBB_ERR_ENUM
	VBB_OK = 0 /* success */
};

/* Counters of faults by name are arrays of this size, indexed by vbb_err_fault(). */
#define VBB_NR_FAULTS 48

/**
 * vbb_err_fault() - index of a peer's fault in an array of counters
 * @err: what a call returned
 *
 * Return: 0 to VBB_NR_FAULTS - 1 where @err is a fault of the peer, else -1.
 */
static inline int vbb_err_fault(int err)
{
	return err <= -16 && err > -16 - VBB_NR_FAULTS ? -16 - err : -1;
}

/**
 * vbb_err_from_fault() - the error that an index of a fault counter stands for
 * @fault: 0 to VBB_NR_FAULTS - 1
 *
 * Return: the error number, negative; not every number has a name.
 */
static inline int vbb_err_from_fault(int fault)
{
	return -16 - fault;
}

/**
 * vbb_err_name() - the name of an error, without its prefix
 * @err: what a call returned
 *
 * Return: a constant string such as "REC_ORDER"; "OK" for 0 and more; NULL where there is no such
 * error.
 */
VBB_PUBLIC const char *vbb_err_name(int err);

/**
 * vbb_strerror() - an error in words
 * @err: what a call returned
 *
 * Return: a constant string, never NULL.
 */
VBB_PUBLIC const char *vbb_strerror(int err);

VBB_END_DECLS

#endif
