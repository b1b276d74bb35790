// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause
#include "qmp_client.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define DEPTH_MAX 32			/* how deep a message may be nested */
#define MSG_LEN_MAX (1 << 20)		/* bytes of a message */
#define NR_EVENTS_MAX 1000		/* that wait to be asked for */
#define ANSWER_NS 5000000000ull		/* in which a server must answer */

void vbb_qmp_clean(const char *string, char text[200])
{
	char *p;

	snprintf(text, 200, "%s", string);
	for (p = text; *p; p++) {
		if (*p < ' ' || *p > '~')
			*p = '?';
	}
}

void vbb_qmp_text(struct json_object *object, const char *name, char text[200])
{
	struct json_object *member = object ? json_object_object_get(object, name) : NULL;

	vbb_qmp_clean(json_object_is_type(member, json_type_string) ?
			      json_object_get_string(member) : "", text);
}

bool vbb_qmp_u64(struct json_object *object, const char *name, vbb_u64 *value)
{
	struct json_object *member = object ? json_object_object_get(object, name) : NULL;

	if (!json_object_is_type(member, json_type_int) || json_object_get_int64(member) < 0)
		return false;
	*value = json_object_get_uint64(member);
	return true;
}

static int fault(const struct vbb_qmp_client *c, const char *what)
{
	vbb_warn("%s: %s", c->path, what);
	return VBB_EXIT_DATA;
}

/* Wait until the socket is ready. Return: 0, or NONE where the time is over or a signal came */
static int wait_for(const struct vbb_qmp_client *c, short what, vbb_u64 until_ns)
{
	struct pollfd fd = { .fd = c->fd, .events = what };
	vbb_u64 now = vbb_now_ns();
	struct timespec left;

	/* also from a server that never stops to talk */
	if (now >= until_ns)
		return VBB_QMP_CLIENT_NONE;
	left = vbb_timespec(until_ns - now);
	return ppoll(&fd, 1, &left, c->wait_mask) > 0 ? 0 : VBB_QMP_CLIENT_NONE;
}

/* More bytes. Return: as vbb_qmp_client_event() */
static int receive(struct vbb_qmp_client *c, vbb_u64 until_ns)
{
	int status = wait_for(c, POLLIN, until_ns);
	ssize_t len;

	if (status)
		return status;
	len = recv(c->fd, c->buf, sizeof(c->buf), MSG_DONTWAIT);
	if (len < 0 && (errno == EAGAIN || errno == EINTR))
		return VBB_QMP_CLIENT_NONE;
	if (len <= 0) {
		vbb_warn("%s: the server went%s", c->path,
			 c->msg_len ? ", in the middle of a message" : "");
		return c->msg_len ? VBB_EXIT_DATA : VBB_EXIT_UNAVAILABLE;
	}
	c->off = 0;
	c->len = (size_t)len;
	return 0;
}

/* The next message. Return: as vbb_qmp_client_event() */
static int next(struct vbb_qmp_client *c, vbb_u64 until_ns, struct json_object **msg)
{
	enum json_tokener_error state;
	int status;

	for (;;) {
		while (!c->msg_len && c->off < c->len && strchr(" \t\r\n", c->buf[c->off]) &&
		       c->buf[c->off])
			c->off++;
		if (c->off == c->len) {
			status = receive(c, until_ns);
			if (status)
				return status;
			continue;
		}
		/* to the tokener this would be the end */
		if (memchr(c->buf + c->off, '\0', c->len - c->off))
			return fault(c, "what the server says is no JSON");
		*msg = json_tokener_parse_ex(c->tokener, c->buf + c->off, (int)(c->len - c->off));
		state = json_tokener_get_error(c->tokener);
		c->msg_len += json_tokener_get_parse_end(c->tokener);
		c->off += json_tokener_get_parse_end(c->tokener);
		if (c->msg_len > MSG_LEN_MAX) {
			json_object_put(*msg);
			return fault(c, "what the server says has no end");
		}
		if (state == json_tokener_success)
			break;
		if (state != json_tokener_continue)
			return fault(c, "what the server says is no JSON");
	}
	c->msg_len = 0;
	if (json_object_is_type(*msg, json_type_object))
		return 0;
	json_object_put(*msg);
	return fault(c, "what the server says is no JSON object");
}

/* Of events that nobody asked for the oldest go first. */
static void keep(struct vbb_qmp_client *c, struct json_object *event)
{
	json_object_array_add(c->events, event);
	if (json_object_array_length(c->events) > NR_EVENTS_MAX)
		json_object_array_del_idx(c->events, 0, 1);
}

static int send_all(const struct vbb_qmp_client *c, const char *text, int fd, vbb_u64 until_ns)
{
	union {
		struct cmsghdr align;
		char buf[CMSG_SPACE(sizeof(int))];
	} control;
	size_t off = 0, len = strlen(text);

	while (off < len) {
		struct iovec iov = { (void *)(uintptr_t)(text + off), len - off };
		struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
		ssize_t sent;

		if (fd >= 0 && !off) {
			memset(&control, 0, sizeof(control));
			control.align.cmsg_level = SOL_SOCKET;
			control.align.cmsg_type = SCM_RIGHTS;
			control.align.cmsg_len = CMSG_LEN(sizeof(int));
			memcpy(CMSG_DATA(&control.align), &fd, sizeof(fd));
			msg.msg_control = &control;
			msg.msg_controllen = sizeof(control.buf);
		}
		sent = sendmsg(c->fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (sent > 0) {
			off += (size_t)sent;
		} else if (errno == EAGAIN && vbb_now_ns() < until_ns) {
			wait_for(c, POLLOUT, until_ns);
		} else {
			vbb_warn("%s: the server takes no command: %s", c->path, strerror(errno));
			return VBB_EXIT_UNAVAILABLE;
		}
	}
	return 0;
}

/* Is this the answer to the last call? Return: 0 with the result, or another of enum vbb_exit */
static int take_answer(const struct vbb_qmp_client *c, const char *command, struct json_object *msg,
		       struct json_object **result)
{
	struct json_object *error = json_object_object_get(msg, "error"), *value;
	char class[200], desc[200];
	vbb_u64 id;

	if (json_object_is_type(error, json_type_object)) {
		vbb_qmp_text(error, "class", class);
		vbb_qmp_text(error, "desc", desc);
		vbb_warn("%s: %s: %s", command, class, desc);
		return VBB_EXIT_UNAVAILABLE;
	}
	if (!vbb_qmp_u64(msg, "id", &id) || id != c->nr_calls)
		return fault(c, "the server answers what was not asked");
	if (!json_object_object_get_ex(msg, "return", &value))
		return fault(c, "the server's answer is neither a result nor an error");
	if (result)
		*result = json_object_get(value);
	return 0;
}

int vbb_qmp_client_call(struct vbb_qmp_client *c, const char *command, struct json_object *args,
			int fd, struct json_object **result)
{
	struct json_object *request = json_object_new_object(), *msg;
	vbb_u64 until_ns = vbb_now_ns() + ANSWER_NS;
	int status;

	json_object_object_add(request, "execute", json_object_new_string(command));
	if (args)
		json_object_object_add(request, "arguments", args);
	json_object_object_add(request, "id", json_object_new_uint64(++c->nr_calls));
	status = send_all(c, json_object_to_json_string_ext(request, JSON_C_TO_STRING_PLAIN), fd,
			  until_ns);
	json_object_put(request);
	if (status)
		return status;
	while (vbb_now_ns() < until_ns) {
		status = next(c, until_ns, &msg);
		if (status == VBB_QMP_CLIENT_NONE)
			continue;
		if (status)
			return status;
		if (!json_object_object_get_ex(msg, "event", NULL)) {
			status = take_answer(c, command, msg, result);
			json_object_put(msg);
			return status;
		}
		keep(c, msg);
	}
	vbb_warn("%s: no answer to '%s' in %llu s", c->path, command, ANSWER_NS / 1000000000);
	return VBB_EXIT_UNAVAILABLE;
}

int vbb_qmp_client_event(struct vbb_qmp_client *c, const char *name, vbb_u64 until_ns,
			 struct json_object **data)
{
	struct json_object *msg, *event;
	char text[200];
	size_t i = 0;
	int status;

	for (;;) {
		for (; i < json_object_array_length(c->events); i++) {
			event = json_object_array_get_idx(c->events, i);
			vbb_qmp_text(event, "event", text);
			if (!strcmp(text, name)) {
				*data = json_object_get(json_object_object_get(event, "data"));
				json_object_array_del_idx(c->events, i, 1);
				return 0;
			}
		}
		status = next(c, until_ns, &msg);
		if (status)
			return status;
		keep(c, msg);
		/* what was looked at may be one place further on */
		i = 0;
	}
}

/* The server speaks first. Return: 0, or another of enum vbb_exit, which has been said */
static int greet(struct vbb_qmp_client *c)
{
	struct json_object *msg;
	int status = next(c, vbb_now_ns() + ANSWER_NS, &msg);

	if (status == VBB_QMP_CLIENT_NONE) {
		vbb_warn("%s: no greeting", c->path);
		return VBB_EXIT_UNAVAILABLE;
	}
	if (status)
		return status;
	if (!json_object_object_get_ex(msg, "QMP", NULL))
		status = fault(c, "the server does not speak QMP");
	json_object_put(msg);
	return status ? status : vbb_qmp_client_call(c, "qmp_capabilities", NULL, -1, NULL);
}

int vbb_qmp_client_init(struct vbb_qmp_client *c, const char *path)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int status;

	memset(c, 0, sizeof(*c));
	c->path = path;
	if (strlen(path) >= sizeof(addr.sun_path)) {
		vbb_warn("%s: too long for a socket's path", path);
		return VBB_EXIT_UNAVAILABLE;
	}
	memcpy(addr.sun_path, path, strlen(path));
	c->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (c->fd < 0 || connect(c->fd, (const struct sockaddr *)&addr, sizeof(addr))) {
		vbb_warn("%s: %s", path, strerror(errno));
		if (c->fd >= 0)
			close(c->fd);
		return VBB_EXIT_UNAVAILABLE;
	}
	c->tokener = json_tokener_new_ex(DEPTH_MAX);
	c->events = json_object_new_array();
	if (c->tokener && c->events) {
		json_tokener_set_flags(c->tokener, JSON_TOKENER_STRICT |
				       JSON_TOKENER_ALLOW_TRAILING_CHARS |
				       JSON_TOKENER_VALIDATE_UTF8);
		status = greet(c);
	} else {
		vbb_warn("no memory");
		status = VBB_EXIT_OSERR;
	}
	if (status)
		vbb_qmp_client_fini(c);
	return status;
}

void vbb_qmp_client_fini(struct vbb_qmp_client *c)
{
	json_object_put(c->events);
	if (c->tokener)
		json_tokener_free(c->tokener);
	close(c->fd);
}
