// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause
/* What people can ask of the guest through the device, and what they are told of it. */
#include "device.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define TIMEOUT_MS_DEFAULT	10000
#define TIMEOUT_MS_MAX		3600000

static void add(struct json_object *to, const char *name, vbb_u64 value)
{
	json_object_object_add(to, name, json_object_new_uint64(value));
}

static void add_text(struct json_object *to, const char *name, const char *text)
{
	if (text)
		json_object_object_add(to, name, json_object_new_string(text));
}

static void add_ms(struct json_object *to, const char *name, vbb_u64 ns)
{
	char text[32];

	snprintf(text, sizeof(text), "%.3f", (double)ns / 1e6);
	json_object_object_add(to, name, json_object_new_double_s((double)ns / 1e6, text));
}

static const char *status(const struct vbb_device_request *req)
{
	if (req->phase == VBB_DEVICE_STOPPING)
		return "cancelling";
	if (req->phase == VBB_DEVICE_ASKED || req->phase == VBB_DEVICE_WRITING)
		return "open";
	return req->status;
}

static struct json_object *summary(const struct vbb_device_request *req)
{
	struct json_object *data = json_object_new_object();
	vbb_u64 end_ns = req->ended_ns ? req->ended_ns : vbb_device_now_ns();
	bool drop = req->cmd == VIRTIO_BALLOON_CMD_DROP_CACHE;

	add(data, "id", req->id);
	add_text(data, "command", drop ? "drop-cache" : "get-unused-pages");
	add_text(data, "status", status(req));
	add_text(data, "error", req->error);
	add(data, "messages", req->nr_answers);
	add(data, "bytes", req->len);
	if (req->answered_ns)
		add_ms(data, "answered-ms", req->answered_ns - req->asked_ns);
	add_ms(data, "total-ms", end_ns - req->asked_ns);
	if (drop) {
		add(data, "freed", req->nr_freed);
	} else {
		add(data, "pages", req->sink.nr_pages);
		add(data, "runs", req->sink.nr_runs);
	}
	return data;
}

void vbb_device_requests_tell(struct vbb_device *d, struct vbb_qmp *q)
{
	struct vbb_device_request *req = &d->requests.req;

	if (req->phase != VBB_DEVICE_ENDED)
		return;
	req->phase = VBB_DEVICE_IDLE;
	vbb_qmp_event(q, "X_HOST_REQUEST_END", summary(req));
}

/* Commands */

/* A number within limits; false, with err told, where it is not */
static bool get_number(struct json_object *args, const char *name, vbb_u64 min, vbb_u64 max,
		       vbb_u64 *value, struct vbb_qmp_error *err)
{
	struct json_object *arg;

	if (!json_object_object_get_ex(args, name, &arg))
		return true;
	*value = json_object_get_uint64(arg);
	if (json_object_get_int64(arg) >= 0 && *value >= min && *value <= max)
		return true;
	vbb_qmp_fail(err, "GenericError", "Parameter '%s' is out of range", name);
	return false;
}

/* What a failure to ask means to people */
static struct json_object *ask_fail(struct vbb_qmp_error *err, int why)
{
	if (why == VBB_E_AGAIN)
		return vbb_qmp_fail(err, "GenericError", "A request is open already");
	if (why == VBB_E_STATE)
		return vbb_qmp_fail(err, "DeviceNotActive",
				    "No guest is there whose driver takes requests");
	if (why == VBB_E_NOSPC)
		return vbb_qmp_fail(err, "GenericError",
				    "The guest's driver has no buffer for a request");
	if (why == VBB_E_INVAL)
		return vbb_qmp_fail(err, "GenericError", "The descriptor cannot be written");
	return vbb_qmp_fail(err, "GenericError", "The queue of the guest's driver is broken");
}

static struct json_object *ask(struct vbb_qmp *q, vbb_u16 cmd, vbb_u64 arg0, vbb_u64 arg1,
			       vbb_u64 timeout_ms, int fd, struct vbb_qmp_error *err)
{
	struct vbb_device *d = q->opaque;
	struct json_object *result;
	int why = vbb_device_requests_open(d, cmd, arg0, arg1, timeout_ms * 1000000, fd);

	if (why) {
		if (fd >= 0)
			close(fd);
		return ask_fail(err, why);
	}
	result = json_object_new_object();
	add(result, "id", d->requests.req.id);
	return result;
}

/* Where the runs go: false, with err told, where they cannot */
static bool open_file(struct vbb_qmp *q, struct json_object *args, int *fd,
		      struct vbb_qmp_error *err)
{
	struct json_object *file, *fdname;
	const char *name;

	*fd = -1;
	if (json_object_object_get_ex(args, "file", &file)) {
		name = json_object_get_string(file);
		/* never to wait for a reader, nor to be led to a terminal */
		*fd = open(name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NONBLOCK | O_NOCTTY,
			   0666);
		if (*fd < 0)
			vbb_qmp_fail(err, "GenericError", "Could not open '%.64s': %s", name,
				     strerror(errno));
	} else if (json_object_object_get_ex(args, "fdname", &fdname)) {
		name = json_object_get_string(fdname);
		*fd = vbb_qmp_take_fd(q, name);
		if (*fd < 0)
			vbb_qmp_fail(err, "GenericError",
				     "File descriptor named '%.64s' not found", name);
	} else {
		return true;
	}
	return *fd >= 0;
}

static struct json_object *cmd_get_unused_pages(struct vbb_qmp *q, struct json_object *args,
						struct vbb_qmp_error *err)
{
	vbb_u64 first_pfn = 0, nr_pages = 0, timeout_ms = TIMEOUT_MS_DEFAULT;
	const vbb_u64 max = (vbb_u64)1 << VIRTIO_BALLOON_PFN_BITS;
	int why, fd;

	if (!get_number(args, "first-pfn", 0, max - 1, &first_pfn, err) ||
	    !get_number(args, "nr-pages", 0, max, &nr_pages, err) ||
	    !get_number(args, "timeout-ms", 1, TIMEOUT_MS_MAX, &timeout_ms, err))
		return NULL;
	if (json_object_object_get(args, "file") && json_object_object_get(args, "fdname"))
		return vbb_qmp_fail(err, "GenericError", "Either 'file' or 'fdname'");
	/* before a file is emptied for nothing */
	why = vbb_device_requests_ready(q->opaque);
	if (why)
		return ask_fail(err, why);
	if (!open_file(q, args, &fd, err))
		return NULL;
	return ask(q, VIRTIO_BALLOON_CMD_GET_UNUSED_PAGES, first_pfn, nr_pages, timeout_ms, fd,
		   err);
}

static struct json_object *cmd_drop_cache(struct vbb_qmp *q, struct json_object *args,
					  struct vbb_qmp_error *err)
{
	static const struct {
		const char *name;
		vbb_u64 mask;
	} modes[] = {
		{ "all", VIRTIO_BALLOON_DROP_PAGE_CACHE | VIRTIO_BALLOON_DROP_SLAB },
		{ "page", VIRTIO_BALLOON_DROP_PAGE_CACHE },
		{ "slab", VIRTIO_BALLOON_DROP_SLAB },
	};
	vbb_u64 limit = 0, timeout_ms = TIMEOUT_MS_DEFAULT;
	struct json_object *mode;
	size_t i = 0;

	if (!get_number(args, "limit", 0, INT64_MAX, &limit, err) ||
	    !get_number(args, "timeout-ms", 1, TIMEOUT_MS_MAX, &timeout_ms, err))
		return NULL;
	if (json_object_object_get_ex(args, "mode", &mode))
		while (i < 3 && strcmp(json_object_get_string(mode), modes[i].name))
			i++;
	if (i == 3)
		return vbb_qmp_fail(err, "GenericError",
				    "Parameter 'mode' expects 'page', 'slab' or 'all'");
	return ask(q, VIRTIO_BALLOON_CMD_DROP_CACHE, modes[i].mask, limit, timeout_ms, -1, err);
}

static struct json_object *cmd_cancel(struct vbb_qmp *q, struct json_object *args,
				      struct vbb_qmp_error *err)
{
	vbb_u64 id = 0;

	if (!get_number(args, "id", 0, INT64_MAX, &id, err))
		return NULL;
	if (vbb_device_requests_cancel(q->opaque, id))
		return vbb_qmp_fail(err, "GenericError", "No such request is open");
	return json_object_new_object();
}

static struct json_object *cmd_query_requests(struct vbb_qmp *q, struct json_object *args,
					      struct vbb_qmp_error *err)
{
	const struct vbb_device *d = q->opaque;
	struct json_object *list = json_object_new_array();

	(void)args;
	(void)err;
	if (d->requests.req.id)
		json_object_array_add(list, summary(&d->requests.req));
	return list;
}

static const struct vbb_qmp_arg get_unused_pages_args[] = {
	{ "first-pfn", json_type_int, true },
	{ "nr-pages", json_type_int, true },
	{ "timeout-ms", json_type_int, true },
	{ "file", json_type_string, true },
	{ "fdname", json_type_string, true },
	{ NULL, json_type_null, false },
};

static const struct vbb_qmp_arg drop_cache_args[] = {
	{ "mode", json_type_string, true },
	{ "limit", json_type_int, true },
	{ "timeout-ms", json_type_int, true },
	{ NULL, json_type_null, false },
};

static const struct vbb_qmp_arg cancel_args[] = {
	{ "id", json_type_int, false },
	{ NULL, json_type_null, false },
};

static const struct vbb_qmp_arg no_args[] = {
	{ NULL, json_type_null, false },
};

const struct vbb_qmp_cmd vbb_device_request_cmds[] = {
	{ "x-get-unused-pages", get_unused_pages_args, cmd_get_unused_pages },
	{ "x-drop-cache", drop_cache_args, cmd_drop_cache },
	{ "x-cancel", cancel_args, cmd_cancel },
	{ "x-query-requests", no_args, cmd_query_requests },
	{ NULL, NULL, NULL },
};
