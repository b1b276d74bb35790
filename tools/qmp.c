// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause
#include "qmp.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

/* How deep a request may be nested */
#define QMP_DEPTH 16

/* What epoll says of the listener; clients are told by their index */
#define WATCH_LISTENER VBB_QMP_NR_CLIENTS

struct json_object *vbb_qmp_fail(struct vbb_qmp_error *err, const char *class, const char *fmt, ...)
{
	va_list ap;
	char *p;

	err->class = class;
	va_start(ap, fmt);
	vsnprintf(err->desc, sizeof(err->desc), fmt, ap);
	va_end(ap);
	/* what was cut in the middle of a character is no JSON */
	for (p = err->desc; *p; p++)
		if (*p & 0x80)
			*p = '?';
	return NULL;
}

static void close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

static void client_close(struct vbb_qmp_client *c)
{
	int i;

	if (c->fd < 0)
		return;
	close(c->fd);
	close_fd(&c->passed);
	for (i = 0; i < VBB_QMP_NR_FDS; i++)
		close_fd(&c->fds[i].fd);
	if (c->tokener)
		json_tokener_free(c->tokener);
	c->fd = -1;
}

/* Sends a message, and lets go of it. */
static void client_send(struct vbb_qmp_client *c, struct json_object *msg)
{
	const char *text = json_object_to_json_string_length(msg, JSON_C_TO_STRING_PLAIN, NULL);
	struct iovec iov[2] = {
		{ (void *)(uintptr_t)text, text ? strlen(text) : 0 },
		{ (char[]){ '\r', '\n' }, 2 },
	};
	struct msghdr hdr = { .msg_iov = iov, .msg_iovlen = 2 };

	if (sendmsg(c->fd, &hdr, MSG_DONTWAIT | MSG_NOSIGNAL) != (ssize_t)(iov[0].iov_len + 2))
		client_close(c);
	json_object_put(msg);
}

static struct json_object *error_msg(const struct vbb_qmp_error *err)
{
	struct json_object *msg = json_object_new_object();
	struct json_object *error = json_object_new_object();

	json_object_object_add(error, "class", json_object_new_string(err->class));
	json_object_object_add(error, "desc", json_object_new_string(err->desc));
	json_object_object_add(msg, "error", error);
	return msg;
}

static void client_greet(struct vbb_qmp_client *c)
{
	struct json_object *msg = json_object_new_object(), *qmp = json_object_new_object();
	struct json_object *version = json_object_new_object(), *qemu = json_object_new_object();
	int major = 0, minor = 0, micro = 0;

	sscanf(VBB_VERSION, "%d.%d.%d", &major, &minor, &micro);
	json_object_object_add(qemu, "micro", json_object_new_int(micro));
	json_object_object_add(qemu, "minor", json_object_new_int(minor));
	json_object_object_add(qemu, "major", json_object_new_int(major));
	/* the protocol knows no other place for a version; "package" says whose it is */
	json_object_object_add(version, "qemu", qemu);
	json_object_object_add(version, "package",
			       json_object_new_string("virtio-balloon-bmap " VBB_VERSION));
	json_object_object_add(qmp, "version", version);
	json_object_object_add(qmp, "capabilities", json_object_new_array());
	json_object_object_add(msg, "QMP", qmp);
	client_send(c, msg);
}

/* Commands */

static struct json_object *list_add(struct json_object *list, const char *name)
{
	struct json_object *entry = json_object_new_object();

	json_object_object_add(entry, "name", json_object_new_string(name));
	json_object_array_add(list, entry);
	return list;
}

const struct vbb_qmp_arg vbb_qmp_no_args[] = { { NULL, json_type_null, false } };

/* true where args has just what a command takes */
static bool args_check(struct json_object *args, const struct vbb_qmp_arg *want,
		       struct vbb_qmp_error *err)
{
	const struct vbb_qmp_arg *a;
	struct json_object *value;

	for (a = want; a->name; a++) {
		if (!json_object_object_get_ex(args, a->name, &value)) {
			if (a->optional)
				continue;
			vbb_qmp_fail(err, "GenericError", "Parameter '%s' is missing", a->name);
			return false;
		}
		if (a->type != json_type_null && !json_object_is_type(value, a->type)) {
			vbb_qmp_fail(err, "GenericError",
				     "Invalid parameter type for '%s', expected: %s", a->name,
				     json_type_to_name(a->type));
			return false;
		}
	}
	json_object_object_foreach(args, name, unused) {
		(void)unused;
		for (a = want; a->name && strcmp(a->name, name); a++)
			;
		if (!a->name) {
			vbb_qmp_fail(err, "GenericError", "Parameter '%.64s' is unexpected", name);
			return false;
		}
	}
	return true;
}

/* There is no capability to be had: an "enable" may only be empty. */
static struct json_object *qmp_capabilities(struct vbb_qmp_client *c, struct json_object *args,
					    struct vbb_qmp_error *err)
{
	struct json_object *enable;

	if (c->ready)
		return vbb_qmp_fail(err, "CommandNotFound",
				    "Capabilities negotiation is already complete, command ignored");
	if (json_object_object_get_ex(args, "enable", &enable)) {
		if (!json_object_is_type(enable, json_type_array) ||
		    json_object_array_length(enable))
			return vbb_qmp_fail(err, "GenericError", "No capability is available");
		json_object_object_del(args, "enable");
	}
	if (!args_check(args, vbb_qmp_no_args, err))
		return NULL;
	c->ready = true;
	return json_object_new_object();
}

static struct json_object *query_commands(struct vbb_qmp *q, struct json_object *args,
					  struct vbb_qmp_error *err);

/* Descriptors that a client passes, then names; a command takes them by name. */

static struct vbb_qmp_fd *fd_find(struct vbb_qmp_client *c, const char *name)
{
	struct vbb_qmp_fd *f;

	for (f = c->fds; f < c->fds + VBB_QMP_NR_FDS; f++)
		if (f->fd >= 0 && !strcmp(f->name, name))
			return f;
	return NULL;
}

static const char *fd_name(struct json_object *args)
{
	return json_object_get_string(json_object_object_get(args, "fdname"));
}

static struct json_object *getfd(struct vbb_qmp *q, struct json_object *args,
				 struct vbb_qmp_error *err)
{
	struct vbb_qmp_client *c = q->now;
	const char *name = fd_name(args);
	struct vbb_qmp_fd *f = fd_find(c, name);
	int i;

	if (c->passed < 0)
		return vbb_qmp_fail(err, "GenericError",
				    "No file descriptor supplied via SCM_RIGHTS");
	if (!*name || strchr("0123456789", *name) || strlen(name) >= VBB_QMP_FDNAME_LEN)
		return vbb_qmp_fail(err, "GenericError",
				    "Parameter 'fdname' expects a short name not starting with a digit");
	for (i = 0; !f && i < VBB_QMP_NR_FDS; i++)
		if (c->fds[i].fd < 0)
			f = &c->fds[i];
	if (!f)
		return vbb_qmp_fail(err, "GenericError", "No more than %d descriptors can be named",
				    VBB_QMP_NR_FDS);
	close_fd(&f->fd);
	strcpy(f->name, name);
	f->fd = c->passed;
	c->passed = -1;
	return json_object_new_object();
}

int vbb_qmp_take_fd(struct vbb_qmp *q, const char *name)
{
	struct vbb_qmp_fd *f = fd_find(q->now, name);
	int fd = -1;

	if (f) {
		fd = f->fd;
		f->fd = -1;
	}
	return fd;
}

static struct json_object *closefd(struct vbb_qmp *q, struct json_object *args,
				   struct vbb_qmp_error *err)
{
	int fd = vbb_qmp_take_fd(q, fd_name(args));

	if (fd < 0)
		return vbb_qmp_fail(err, "GenericError", "File descriptor named '%.64s' not found",
				    fd_name(args));
	close(fd);
	return json_object_new_object();
}

static const struct vbb_qmp_arg fd_args[] = {
	{ "fdname", json_type_string, false },
	{ NULL, json_type_null, false },
};

static const struct vbb_qmp_cmd own_cmds[] = {
	{ "query-commands", vbb_qmp_no_args, query_commands },
	{ "getfd", fd_args, getfd },
	{ "closefd", fd_args, closefd },
	{ NULL, NULL, NULL },
};

/* Table 0 is our own, then come the device's; NULL behind the last */
static const struct vbb_qmp_cmd *cmds(const struct vbb_qmp *q, size_t table)
{
	return table ? q->cmds[table - 1] : own_cmds;
}

static struct json_object *query_commands(struct vbb_qmp *q, struct json_object *args,
					  struct vbb_qmp_error *err)
{
	struct json_object *list = json_object_new_array();
	const struct vbb_qmp_cmd *cmd;
	size_t i;

	(void)args;
	(void)err;
	list_add(list, "qmp_capabilities");
	for (i = 0; cmds(q, i); i++)
		for (cmd = cmds(q, i); cmd->name; cmd++)
			list_add(list, cmd->name);
	return list;
}

static struct json_object *execute(struct vbb_qmp *q, struct vbb_qmp_client *c, const char *name,
				   struct json_object *args, struct vbb_qmp_error *err)
{
	const struct vbb_qmp_cmd *cmd;
	size_t i;

	if (!strcmp(name, "qmp_capabilities"))
		return qmp_capabilities(c, args, err);
	if (!c->ready)
		return vbb_qmp_fail(err, "CommandNotFound",
				    "Expecting capabilities negotiation with 'qmp_capabilities'");
	q->now = c;
	for (i = 0; cmds(q, i); i++)
		for (cmd = cmds(q, i); cmd->name; cmd++)
			if (!strcmp(name, cmd->name))
				return args_check(args, cmd->args, err) ?
				       cmd->run(q, args, err) : NULL;
	return vbb_qmp_fail(err, "CommandNotFound", "The command %.64s has not been found", name);
}

/* Takes a request apart and executes it; NULL, with err told, where that failed. */
static struct json_object *client_execute(struct vbb_qmp *q, struct vbb_qmp_client *c,
					  struct json_object *request, struct vbb_qmp_error *err)
{
	struct json_object *name, *args = NULL, *empty, *result;

	if (!json_object_is_type(request, json_type_object))
		return vbb_qmp_fail(err, "GenericError", "QMP input must be a JSON object");
	json_object_object_foreach(request, key, unused) {
		(void)unused;
		if (strcmp(key, "execute") && strcmp(key, "arguments") && strcmp(key, "id"))
			return vbb_qmp_fail(err, "GenericError",
					    "QMP input member '%.64s' is unexpected", key);
	}
	if (!json_object_object_get_ex(request, "execute", &name))
		return vbb_qmp_fail(err, "GenericError", "QMP input lacks member 'execute'");
	if (!json_object_is_type(name, json_type_string))
		return vbb_qmp_fail(err, "GenericError",
				    "QMP input member 'execute' must be a string");
	if (json_object_object_get_ex(request, "arguments", &args) &&
	    !json_object_is_type(args, json_type_object))
		return vbb_qmp_fail(err, "GenericError",
				    "QMP input member 'arguments' must be an object");
	empty = json_object_new_object();
	result = execute(q, c, json_object_get_string(name), args ? args : empty, err);
	json_object_put(empty);
	return result;
}

static void client_answer(struct vbb_qmp *q, struct vbb_qmp_client *c, struct json_object *request)
{
	struct vbb_qmp_error err;
	struct json_object *result, *answer, *id;

	result = client_execute(q, c, request, &err);
	if (result) {
		answer = json_object_new_object();
		json_object_object_add(answer, "return", result);
	} else {
		answer = error_msg(&err);
	}
	if (json_object_is_type(request, json_type_object) &&
	    json_object_object_get_ex(request, "id", &id))
		json_object_object_add(answer, "id", json_object_get(id));
	client_send(c, answer);
}

/* Bytes of requests */

static void client_nonsense(struct vbb_qmp_client *c, const char *what)
{
	struct vbb_qmp_error err;

	json_tokener_reset(c->tokener);
	c->len = 0;
	c->skip = true;
	vbb_qmp_fail(&err, "GenericError", "%s", what);
	client_send(c, error_msg(&err));
}

/* Takes some bytes, at least one, off what came in. */
static size_t client_take(struct vbb_qmp *q, struct vbb_qmp_client *c, const char *p, size_t len)
{
	struct json_object *request;
	enum json_tokener_error state;
	const char *eol, *nul;
	size_t used;

	if (c->skip) {
		eol = memchr(p, '\n', len);
		c->skip = !eol;
		return eol ? (size_t)(eol - p) + 1 : len;
	}
	/* to the tokener this would be the end */
	nul = memchr(p, '\0', len);
	if (nul == p) {
		client_nonsense(c, "JSON parse error");
		return 1;
	}
	if (nul)
		len = (size_t)(nul - p);
	if (!c->len && strchr(" \t\r\n", *p))
		return 1;
	request = json_tokener_parse_ex(c->tokener, p, (int)len);
	state = json_tokener_get_error(c->tokener);
	used = json_tokener_get_parse_end(c->tokener);
	c->len += used;
	if (state == json_tokener_continue) {
		if (c->len > VBB_QMP_LEN_MAX)
			client_nonsense(c, "JSON token size limit exceeded");
		return len;
	}
	if (state != json_tokener_success) {
		client_nonsense(c, "JSON parse error");
		return used;
	}
	c->len = 0;
	client_answer(q, c, request);
	json_object_put(request);
	return used;
}

/* The last of the descriptors that came along stays, until it gets a name or another one comes. */
static void client_keep_fds(struct vbb_qmp_client *c, struct msghdr *msg)
{
	struct cmsghdr *m;
	size_t i, nr;

	for (m = CMSG_FIRSTHDR(msg); m; m = CMSG_NXTHDR(msg, m)) {
		if (m->cmsg_level != SOL_SOCKET || m->cmsg_type != SCM_RIGHTS)
			continue;
		nr = (m->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (i = 0; i < nr; i++) {
			close_fd(&c->passed);
			memcpy(&c->passed, CMSG_DATA(m) + i * sizeof(int), sizeof(int));
		}
	}
}

static void client_read(struct vbb_qmp *q, struct vbb_qmp_client *c)
{
	char control[CMSG_SPACE(sizeof(int) * VBB_QMP_NR_FDS)] __attribute__((aligned(8)));
	char buf[4096];
	struct iovec iov = { buf, sizeof(buf) };
	struct msghdr msg = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control,
		.msg_controllen = sizeof(control),
	};
	size_t off = 0;
	ssize_t got = recvmsg(c->fd, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);

	if (got < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (got <= 0) {
		client_close(c);
		return;
	}
	client_keep_fds(c, &msg);
	while (off < (size_t)got && c->fd >= 0)
		off += client_take(q, c, buf + off, (size_t)got - off);
}

/* The server */

static void server_accept(struct vbb_qmp *q)
{
	struct epoll_event ev = { .events = EPOLLIN };
	int fd = accept4(q->listener, NULL, NULL, SOCK_CLOEXEC);
	struct vbb_qmp_client *c = q->client;
	int i;

	if (fd < 0)
		return;
	while (c < q->client + VBB_QMP_NR_CLIENTS && c->fd >= 0)
		c++;
	ev.data.u32 = (uint32_t)(c - q->client);
	if (ev.data.u32 == VBB_QMP_NR_CLIENTS || epoll_ctl(q->epoll, EPOLL_CTL_ADD, fd, &ev)) {
		close(fd);
		return;
	}
	memset(c, 0, sizeof(*c));
	c->fd = fd;
	c->passed = -1;
	for (i = 0; i < VBB_QMP_NR_FDS; i++)
		c->fds[i].fd = -1;
	c->tokener = json_tokener_new_ex(QMP_DEPTH);
	if (!c->tokener) {
		client_close(c);
		return;
	}
	json_tokener_set_flags(c->tokener, JSON_TOKENER_STRICT | JSON_TOKENER_ALLOW_TRAILING_CHARS |
			       JSON_TOKENER_VALIDATE_UTF8);
	client_greet(c);
}

int vbb_qmp_init(struct vbb_qmp *q, int listener, const struct vbb_qmp_cmd *const *cmds,
		 void *opaque)
{
	struct epoll_event ev = { .events = EPOLLIN, .data.u32 = WATCH_LISTENER };
	int i, err;

	memset(q, 0, sizeof(*q));
	q->cmds = cmds;
	q->opaque = opaque;
	q->listener = listener;
	for (i = 0; i < VBB_QMP_NR_CLIENTS; i++)
		q->client[i].fd = -1;
	q->epoll = epoll_create1(EPOLL_CLOEXEC);
	if (q->epoll >= 0 && !epoll_ctl(q->epoll, EPOLL_CTL_ADD, listener, &ev))
		return 0;
	err = -errno;
	if (q->epoll >= 0)
		close(q->epoll);
	close(listener);
	return err;
}

void vbb_qmp_fini(struct vbb_qmp *q)
{
	int i;

	for (i = 0; i < VBB_QMP_NR_CLIENTS; i++)
		client_close(&q->client[i]);
	close(q->listener);
	close(q->epoll);
}

int vbb_qmp_fd(const struct vbb_qmp *q)
{
	return q->epoll;
}

void vbb_qmp_dispatch(struct vbb_qmp *q)
{
	struct epoll_event ev[VBB_QMP_NR_CLIENTS + 1];
	int i, nr = epoll_wait(q->epoll, ev, VBB_QMP_NR_CLIENTS + 1, 0);

	for (i = 0; i < nr; i++) {
		if (ev[i].data.u32 == WATCH_LISTENER)
			server_accept(q);
		else if (q->client[ev[i].data.u32].fd >= 0)
			client_read(q, &q->client[ev[i].data.u32]);
	}
}

void vbb_qmp_event(struct vbb_qmp *q, const char *name, struct json_object *data)
{
	struct json_object *stamp, *msg;
	struct timespec ts;
	int i;

	clock_gettime(CLOCK_REALTIME, &ts);
	stamp = json_object_new_object();
	json_object_object_add(stamp, "seconds", json_object_new_int64(ts.tv_sec));
	json_object_object_add(stamp, "microseconds", json_object_new_int64(ts.tv_nsec / 1000));
	msg = json_object_new_object();
	json_object_object_add(msg, "timestamp", stamp);
	json_object_object_add(msg, "event", json_object_new_string(name));
	json_object_object_add(msg, "data", data);
	for (i = 0; i < VBB_QMP_NR_CLIENTS; i++)
		if (q->client[i].fd >= 0 && q->client[i].ready)
			client_send(&q->client[i], json_object_get(msg));
	json_object_put(msg);
}
