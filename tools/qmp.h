/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause */
/*
 * The server's side of QMP, QEMU's control protocol: JSON objects on a stream. A few clients at
 * once, none of which can make it wait, or hold more than a bounded amount of its memory: one that
 * does not read its answers is cut off.
 */
#ifndef VBB_TOOLS_QMP_H
#define VBB_TOOLS_QMP_H

#include <json-c/json.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define VBB_QMP_NR_CLIENTS	8
#define VBB_QMP_LEN_MAX		16384	/* bytes of one request */
#define VBB_QMP_NR_FDS		4	/* that a client can name at once */
#define VBB_QMP_FDNAME_LEN	32	/* bytes, NUL included */

struct vbb_qmp;

/**
 * struct vbb_qmp_error - why a command failed
 */
struct vbb_qmp_error {
	const char *class;	/* one of QMP's error classes */
	char desc[160];
};

/**
 * vbb_qmp_fail() - say why a command failed
 * @err: receives it
 * @class: one of QMP's error classes, such as "GenericError"; constant
 * @fmt: as for printf()
 *
 * Return: NULL, for the command to return.
 */
struct json_object *vbb_qmp_fail(struct vbb_qmp_error *err, const char *class, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/**
 * struct vbb_qmp_arg - an argument of a command
 */
struct vbb_qmp_arg {
	const char *name;	/* NULL ends the array */
	enum json_type type;	/* json_type_null: any */
	bool optional;
};

extern const struct vbb_qmp_arg vbb_qmp_no_args[];	/* of a command that takes none */

/**
 * struct vbb_qmp_cmd - a command
 */
struct vbb_qmp_cmd {
	const char *name;	/* NULL ends the array */
	const struct vbb_qmp_arg *args;
	/**
	 * @run: do it. @args has what the array says, and nothing else. Returns what goes under
	 * "return", handed over; or NULL, with @err told
	 */
	struct json_object *(*run)(struct vbb_qmp *q, struct json_object *args,
				   struct vbb_qmp_error *err);
};

/**
 * struct vbb_qmp - the server; private but for opaque
 */
struct vbb_qmp {
	void *opaque;			/* what vbb_qmp_init() was given */
	const struct vbb_qmp_cmd *const *cmds;
	struct vbb_qmp_client *now;	/* whose command runs */
	int listener;
	int epoll;
	struct vbb_qmp_client {
		int fd;				/* -1: free */
		struct json_tokener *tokener;
		size_t len;			/* bytes of the request that is being read */
		bool skip;			/* up to the end of the line, after nonsense */
		bool ready;			/* qmp_capabilities was executed */
		int passed;			/* the descriptor that came last, or -1 */
		struct vbb_qmp_fd {
			char name[VBB_QMP_FDNAME_LEN];
			int fd;			/* -1: free */
		} fds[VBB_QMP_NR_FDS];
	} client[VBB_QMP_NR_CLIENTS];
};

/**
 * vbb_qmp_init() - begin to serve
 * @q: the caller's, any content
 * @listener: a listening Unix socket; ours until vbb_qmp_fini()
 * @cmds: arrays of what clients can execute, beside qmp_capabilities, query-commands, getfd and
 *	closefd; NULL ends them; borrowed
 * @opaque: for the commands
 *
 * Return: 0, or -errno; @listener is closed then.
 */
int vbb_qmp_init(struct vbb_qmp *q, int listener, const struct vbb_qmp_cmd *const *cmds,
		 void *opaque);

/**
 * vbb_qmp_fini() - end
 * @q: what vbb_qmp_init() made
 */
void vbb_qmp_fini(struct vbb_qmp *q);

/**
 * vbb_qmp_fd() - what a main loop polls for reading
 * @q: the server
 *
 * Return: a descriptor, ours.
 */
int vbb_qmp_fd(const struct vbb_qmp *q);

/**
 * vbb_qmp_dispatch() - do what is to be done now, without blocking
 * @q: the server
 */
void vbb_qmp_dispatch(struct vbb_qmp *q);

/**
 * vbb_qmp_take_fd() - take the descriptor that a client has named by "getfd"; for a command's run()
 * @q: the server
 * @name: as the client says it
 *
 * Return: the descriptor, the caller's from here on; -1: there is none of that name.
 */
int vbb_qmp_take_fd(struct vbb_qmp *q, const char *name);

/**
 * vbb_qmp_add() - add a number to an object
 * @to: the object
 * @name: of the member
 * @value: of the member
 */
void vbb_qmp_add(struct json_object *to, const char *name, uint64_t value);

/**
 * vbb_qmp_add_text() - add a text to an object
 * @to: the object
 * @name: of the member
 * @text: of the member; NULL: there is none
 */
void vbb_qmp_add_text(struct json_object *to, const char *name, const char *text);

/**
 * vbb_qmp_add_ms() - add a time to an object, in milliseconds with three decimals
 * @to: the object
 * @name: of the member
 * @ns: nanoseconds
 */
void vbb_qmp_add_ms(struct json_object *to, const char *name, uint64_t ns);

/**
 * vbb_qmp_arg_number() - look at a number that may be among the arguments
 * @args: of the command
 * @name: of the number
 * @min: the least allowed
 * @max: the most allowed, 2^63 - 1 at most
 * @value: receives it; stays where there is none
 * @err: told where it is out of range
 *
 * Return: false where it is.
 */
bool vbb_qmp_arg_number(struct json_object *args, const char *name, uint64_t min, uint64_t max,
			uint64_t *value, struct vbb_qmp_error *err);

/**
 * vbb_qmp_arg_file() - open the path "file", or take the descriptor "fdname", if one is there
 * @q: the server
 * @args: of the command
 * @fd: receives the descriptor, the caller's; -1: there is neither
 * @err: told where that is not possible
 *
 * Return: false where it is not.
 */
bool vbb_qmp_arg_file(struct vbb_qmp *q, struct json_object *args, int *fd,
		      struct vbb_qmp_error *err);

/**
 * vbb_qmp_event() - tell every client of an event
 * @q: the server
 * @name: of the event
 * @data: of the event; handed over
 */
void vbb_qmp_event(struct vbb_qmp *q, const char *name, struct json_object *data);

#endif
