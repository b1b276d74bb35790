// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause
/* What people can ask of the guest through the device, and what they are told of it. */
#include "device.h"

#include <string.h>
#include <unistd.h>

static const char *status(const struct vbb_device_job *job)
{
	if (job->phase == VBB_DEVICE_STOPPING)
		return "cancelling";
	if (job->phase == VBB_DEVICE_ASKED || job->phase == VBB_DEVICE_WRITING)
		return "open";
	return job->status;
}

static struct json_object *summary(const struct vbb_device_requests *r)
{
	struct json_object *data = json_object_new_object();
	vbb_u64 end_ns = r->job.ended_ns ? r->job.ended_ns : vbb_now_ns();
	bool drop = r->cmd == VIRTIO_BALLOON_CMD_DROP_CACHE;

	vbb_qmp_add(data, "id", r->id);
	vbb_qmp_add_text(data, "command", drop ? "drop-cache" : "get-unused-pages");
	vbb_qmp_add_text(data, "status", status(&r->job));
	vbb_qmp_add_text(data, "error", r->job.error);
	vbb_qmp_add(data, "messages", r->nr_answers);
	vbb_qmp_add(data, "bytes", r->len);
	if (r->answered_ns)
		vbb_qmp_add_ms(data, "answered-ms", r->answered_ns - r->job.asked_ns);
	vbb_qmp_add_ms(data, "total-ms", end_ns - r->job.asked_ns);
	if (drop) {
		vbb_qmp_add(data, "freed", r->nr_freed);
	} else {
		vbb_qmp_add(data, "pages", r->job.sink.nr_pages);
		vbb_qmp_add(data, "runs", r->job.sink.nr_runs);
	}
	return data;
}

void vbb_device_requests_tell(struct vbb_device *d, struct vbb_qmp *q)
{
	struct vbb_device_job *job = &d->requests.job;

	if (job->phase != VBB_DEVICE_ENDED)
		return;
	job->phase = VBB_DEVICE_IDLE;
	vbb_qmp_event(q, "X_HOST_REQUEST_END", summary(&d->requests));
}

/* Commands */

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
	vbb_qmp_add(result, "id", d->requests.id);
	return result;
}

static struct json_object *cmd_get_unused_pages(struct vbb_qmp *q, struct json_object *args,
						struct vbb_qmp_error *err)
{
	vbb_u64 first_pfn = 0, nr_pages = 0, timeout_ms = VBB_DEVICE_TIMEOUT_MS;
	const vbb_u64 max = (vbb_u64)1 << VIRTIO_BALLOON_PFN_BITS;
	int why, fd;

	if (!vbb_qmp_arg_number(args, "first-pfn", 0, max - 1, &first_pfn, err) ||
	    !vbb_qmp_arg_number(args, "nr-pages", 0, max, &nr_pages, err) ||
	    !vbb_qmp_arg_number(args, "timeout-ms", 1, VBB_DEVICE_TIMEOUT_MS_MAX, &timeout_ms, err))
		return NULL;
	/* before a file is emptied for nothing */
	why = vbb_device_requests_ready(q->opaque);
	if (why)
		return ask_fail(err, why);
	if (!vbb_qmp_arg_file(q, args, &fd, err))
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
	vbb_u64 limit = 0, timeout_ms = VBB_DEVICE_TIMEOUT_MS;
	struct json_object *mode;
	size_t i = 0;

	if (!vbb_qmp_arg_number(args, "limit", 0, INT64_MAX, &limit, err) ||
	    !vbb_qmp_arg_number(args, "timeout-ms", 1, VBB_DEVICE_TIMEOUT_MS_MAX, &timeout_ms, err))
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

	if (!vbb_qmp_arg_number(args, "id", 0, INT64_MAX, &id, err))
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
	if (d->requests.id)
		json_object_array_add(list, summary(&d->requests));
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

const struct vbb_qmp_cmd vbb_device_request_cmds[] = {
	{ "x-get-unused-pages", get_unused_pages_args, cmd_get_unused_pages },
	{ "x-drop-cache", drop_cache_args, cmd_drop_cache },
	{ "x-cancel", cancel_args, cmd_cancel },
	{ "x-query-requests", vbb_qmp_no_args, cmd_query_requests },
	{ NULL, NULL, NULL },
};
