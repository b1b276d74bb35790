/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause */
/*
 * Runs of pages as lines "0xPFN COUNT", to a descriptor whose reader may be slow, or go: nothing
 * here waits.
 */
#ifndef VBB_TOOLS_SINK_H
#define VBB_TOOLS_SINK_H

#include <virtio_balloon_bmap/range.h>

#define VBB_SINK_LEN		65536	/* bytes that wait */
#define VBB_SINK_LINE_LEN	48	/* bytes of a line, at most */

/**
 * struct vbb_sink - a file that is written; private but for nr_runs and nr_pages
 */
struct vbb_sink {
	int fd;			/* -1: only count */
	vbb_u64 nr_runs;	/* so far: lines, but for those of vbb_sink_ram() */
	vbb_u64 nr_pages;	/* in them */
	struct vbb_range run;	/* the last one, which may still grow; empty: none */
	size_t len;		/* bytes that wait */
	size_t done;		/* of them, written */
	char buf[VBB_SINK_LEN];
};

/**
 * vbb_sink_init() - begin
 * @s: the caller's, any content
 * @fd: where to write; ours where this gives 0, and never to be waited for; -1: nowhere
 *
 * Return: 0, or -errno.
 */
int vbb_sink_init(struct vbb_sink *s, int fd);

/**
 * vbb_sink_ram() - write a line "# ram 0xPFN COUNT": pages that exist
 * @s: with room
 * @r: in pages of 4 KiB
 */
void vbb_sink_ram(struct vbb_sink *s, const struct vbb_range *r);

/**
 * vbb_sink_put() - add a run
 * @s: with room
 * @r: valid; in pages of 4 KiB. One that touches the run before it becomes one with it
 */
void vbb_sink_put(struct vbb_sink *s, const struct vbb_range *r);

/**
 * vbb_sink_room() - is there room for a line?
 * @s: the sink
 *
 * Return: 0; -EAGAIN where the descriptor must be waited for, see vbb_sink_fd(); or -errno of what
 * went wrong.
 */
int vbb_sink_room(struct vbb_sink *s);

/**
 * vbb_sink_flush() - nothing more comes: write what waits
 * @s: the sink
 *
 * Return: 0: all is written; or as vbb_sink_room().
 */
int vbb_sink_flush(struct vbb_sink *s);

/**
 * vbb_sink_close() - let go of the descriptor, and of what waits
 * @s: the sink; the counts stay
 */
void vbb_sink_close(struct vbb_sink *s);

#endif
