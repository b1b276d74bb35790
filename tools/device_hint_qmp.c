// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause
/* Rounds of free page hints, by hand: QEMU begins them when it migrates. */
#include "device.h"

#include <string.h>
#include <unistd.h>

void vbb_device_hint_tell(struct vbb_device *d, struct vbb_qmp *q)
{
	struct vbb_device_hint *h = &d->hint;
	struct json_object *data;

	if (h->job.phase != VBB_DEVICE_ENDED)
		return;
	h->job.phase = VBB_DEVICE_IDLE;
	data = json_object_new_object();
	vbb_qmp_add(data, "id", h->id);
	vbb_qmp_add_text(data, "status", h->job.status);
	vbb_qmp_add_text(data, "error", h->job.error);
	vbb_qmp_add(data, "hints", h->nr_hints);
	vbb_qmp_add(data, "pages", h->job.sink.nr_pages);
	vbb_qmp_add(data, "runs", h->job.sink.nr_runs);
	vbb_qmp_add_ms(data, "total-ms", h->job.ended_ns - h->job.asked_ns);
	vbb_qmp_event(q, "X_FREE_PAGE_HINT_END", data);
}

static struct json_object *fail(struct vbb_qmp_error *err, int why)
{
	if (why == VBB_E_AGAIN)
		return vbb_qmp_fail(err, "GenericError", "A round is under way");
	if (why == VBB_E_INVAL)
		return vbb_qmp_fail(err, "GenericError", "The descriptor cannot be written");
	return vbb_qmp_fail(err, "DeviceNotActive", "No guest is there whose driver gives hints");
}

static struct json_object *start(struct vbb_qmp *q, struct json_object *args,
				 struct vbb_qmp_error *err)
{
	struct vbb_device *d = q->opaque;
	vbb_u64 timeout_ms = VBB_DEVICE_TIMEOUT_MS;
	struct json_object *result;
	int fd, why;

	if (!vbb_qmp_arg_number(args, "timeout-ms", 1, VBB_DEVICE_TIMEOUT_MS_MAX, &timeout_ms,
				err) ||
	    !vbb_qmp_arg_file(q, args, &fd, err))
		return NULL;
	why = vbb_device_hint_start(d, timeout_ms * 1000000, fd);
	if (why) {
		if (fd >= 0)
			close(fd);
		return fail(err, why);
	}
	result = json_object_new_object();
	vbb_qmp_add(result, "id", d->hint.id);
	return result;
}

static struct json_object *cmd_free_page_hint(struct vbb_qmp *q, struct json_object *args,
					      struct vbb_qmp_error *err)
{
	const char *action = json_object_get_string(json_object_object_get(args, "action"));
	int why;

	if (!strcmp(action, "start"))
		return start(q, args, err);
	if (json_object_object_length(args) > 1)
		return vbb_qmp_fail(err, "GenericError", "Only 'start' takes more parameters");
	if (!strcmp(action, "stop")) {
		if (vbb_device_hint_stop(q->opaque))
			return vbb_qmp_fail(err, "GenericError", "No round is under way");
	} else if (!strcmp(action, "done")) {
		why = vbb_device_hint_release(q->opaque);
		if (why)
			return fail(err, why);
	} else {
		return vbb_qmp_fail(err, "GenericError",
				    "Parameter 'action' expects 'start', 'stop' or 'done'");
	}
	return json_object_new_object();
}

static const struct vbb_qmp_arg free_page_hint_args[] = {
	{ "action", json_type_string, false },
	{ "timeout-ms", json_type_int, true },
	{ "file", json_type_string, true },
	{ "fdname", json_type_string, true },
	{ NULL, json_type_null, false },
};

const struct vbb_qmp_cmd vbb_device_hint_cmds[] = {
	{ "x-free-page-hint", free_page_hint_args, cmd_free_page_hint },
	{ NULL, NULL, NULL },
};
