/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause */
/*
 * The client's side of QMP: one connection, one command at a time. Whatever the server says, or
 * does not say, a call ends: within its time, and with a bounded amount of memory.
 */
#ifndef VBB_TOOLS_QMP_CLIENT_H
#define VBB_TOOLS_QMP_CLIENT_H

#include <json-c/json.h>
#include <signal.h>

#include "deadline.h"
#include "vbb.h"

/* What vbb_qmp_client_event() returns beside 0 and enum vbb_exit */
#define VBB_QMP_CLIENT_NONE 1

/**
 * struct vbb_qmp_client - a connection; private but for wait_mask
 */
struct vbb_qmp_client {
	const sigset_t *wait_mask;	/* the signals blocked while it waits; NULL: as ever */
	const char *path;		/* of the socket, for messages; the caller's */
	int fd;
	struct json_tokener *tokener;
	char buf[4096];			/* bytes that came */
	size_t off, len;		/* of them, those from off to len are not yet read */
	size_t msg_len;			/* bytes of the message that is being read */
	vbb_u64 nr_calls;
	struct json_object *events;	/* that came and nobody asked for, yet */
};

/**
 * vbb_qmp_client_init() - connect and negotiate
 * @c: the caller's, any content
 * @path: the server's Unix socket; borrowed
 *
 * Return: 0, or another of enum vbb_exit, which has been said; nothing is to be closed then.
 */
int vbb_qmp_client_init(struct vbb_qmp_client *c, const char *path);

/**
 * vbb_qmp_client_fini() - close
 * @c: what vbb_qmp_client_init() made
 */
void vbb_qmp_client_fini(struct vbb_qmp_client *c);

/**
 * vbb_qmp_client_call() - execute a command
 * @c: the client
 * @command: its name
 * @args: its arguments, handed over; NULL: none
 * @fd: a descriptor to send along, which stays the caller's; -1: none
 * @result: receives what it returns, handed over; NULL: nobody wants it
 *
 * Return: 0, or another of enum vbb_exit, which has been said.
 */
int vbb_qmp_client_call(struct vbb_qmp_client *c, const char *command, struct json_object *args,
			int fd, struct json_object **result);

/**
 * vbb_qmp_client_event() - wait for an event
 * @c: the client
 * @name: of the event; others are kept
 * @until_ns: how long, by vbb_now_ns()
 * @data: receives its data, handed over
 *
 * Return: 0; VBB_QMP_CLIENT_NONE where none came in time, or before a signal; or another of enum
 * vbb_exit, which has been said.
 */
int vbb_qmp_client_event(struct vbb_qmp_client *c, const char *name, vbb_u64 until_ns,
			 struct json_object **data);

/**
 * vbb_qmp_clean() - make a server's string fit for a terminal
 * @string: the string
 * @text: receives it, cut short, with '?' for what is not printable ASCII
 */
void vbb_qmp_clean(const char *string, char text[200]);

/**
 * vbb_qmp_text() - a server's string, made fit for a terminal
 * @object: an object, or NULL
 * @name: of its member
 * @text: receives the member; empty where it is none
 */
void vbb_qmp_text(struct json_object *object, const char *name, char text[200]);

/**
 * vbb_qmp_u64() - a server's number
 * @object: an object, or NULL
 * @name: of its member
 * @value: receives it; else it stays
 *
 * Return: true where it is a number, and not negative.
 */
bool vbb_qmp_u64(struct json_object *object, const char *name, vbb_u64 *value);

#endif
