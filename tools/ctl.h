/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause */
/* What the commands of vbb ctl share. */
#ifndef VBB_TOOLS_CTL_H
#define VBB_TOOLS_CTL_H

#include "qmp_client.h"
#include "vbb.h"

#define VBB_CTL_TICK_NS 250000000ull	/* how often progress is told */

/**
 * struct vbb_ctl - a connection, and what the command line says
 */
struct vbb_ctl {
	struct vbb_qmp_client qmp;
	const char *self;		/* "vbb ctl" */
	const char *path;
	const char *output;		/* NULL: none */
	const char *mode;
	vbb_u64 timeout_ms, first, pages, limit, interval;
	unsigned int opts;		/* those that were given */
	bool json;
	const char *arg[2];		/* what follows the command's name */
	vbb_u64 number;			/* arg[0], where it is one */
};

/* The commands that ask the guest. Return: enum vbb_exit, which has been said. */
int vbb_ctl_unused_pages(struct vbb_ctl *c);
int vbb_ctl_drop_cache(struct vbb_ctl *c);
int vbb_ctl_cancel(struct vbb_ctl *c);
int vbb_ctl_requests(struct vbb_ctl *c);

/**
 * vbb_ctl_query() - execute a command without arguments
 * @c: the client
 * @command: its name
 * @type: what it must return
 * @result: receives that, handed over
 *
 * Return: 0, or another of enum vbb_exit, which has been said.
 */
int vbb_ctl_query(struct vbb_ctl *c, const char *command, enum json_type type,
		  struct json_object **result);

/**
 * vbb_ctl_bad_answer() - say that a server's answer makes no sense
 * @c: the client
 * @command: what was asked
 *
 * Return: VBB_EXIT_DATA.
 */
int vbb_ctl_bad_answer(const struct vbb_ctl *c, const char *command);

/**
 * vbb_ctl_print_json() - print what a server said, as it came
 * @value: it
 */
void vbb_ctl_print_json(struct json_object *value);

/**
 * vbb_ctl_progress() - show a line that the next one replaces, on a terminal only
 * @text: the line; NULL takes the last one away
 */
void vbb_ctl_progress(const char *text);

#endif
