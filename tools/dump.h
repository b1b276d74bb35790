/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause */
/* What shows messages: for files of them (dump.c), and for captures (dump_capture.c). */
#ifndef VBB_TOOLS_DUMP_H
#define VBB_TOOLS_DUMP_H

#include "vbb.h"

/**
 * struct vbb_dump_style - how it is shown
 */
struct vbb_dump_style {
	bool json;
	bool explain;		/* a fault, by the requirement that it violates */
};

/*
 * The caller has shown what comes before it, where JSON as the first members of an object, and
 * shows what comes behind it.
 */

/**
 * vbb_dump_msg() - show a page message, or an array of the old format
 * @r: framing, msg_off, and in buf and len the bytes to show
 * @cfg: what the receiver knows
 * @refused: what vbb_host_accept() says against an answer whose header has no fault; else 0
 * @seg: what is decoded
 * @nr_segs: how many
 * @style: how; as JSON, with a comma in front
 *
 * Return: 0, or the peer's fault.
 */
int vbb_dump_msg(const struct vbb_reader *r, const struct vbb_dec_cfg *cfg, int refused,
		 const struct vbb_seg *seg, size_t nr_segs, const struct vbb_dump_style *style);

/**
 * vbb_dump_request() - show a host request
 * @seg: its bytes
 * @open: a request with its id is open
 * @style: how
 *
 * Return: 0, or the peer's fault.
 */
int vbb_dump_request(const struct vbb_seg *seg, bool open, const struct vbb_dump_style *style);

/**
 * vbb_dump_result() - show a device's result
 * @seg: its bytes
 * @style: how
 *
 * Return: 0, or the peer's fault.
 */
int vbb_dump_result(const struct vbb_seg *seg, const struct vbb_dump_style *style);

/**
 * vbb_dump_capture() - show all messages of a capture
 * @argc: as for vbb_in_open()
 * @argv: as for vbb_in_open()
 * @limit_pfn: pages at or past it are faults; 0: none
 * @style: how
 *
 * Return: enum vbb_exit.
 */
int vbb_dump_capture(int argc, char **argv, vbb_u64 limit_pfn, const struct vbb_dump_style *style);

#endif
