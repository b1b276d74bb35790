// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause
/* The device's commands, as people know them from QEMU. */
#include "device.h"

#include <time.h>

static struct json_object *cmd_balloon(struct vbb_qmp *q, struct json_object *args,
				       struct vbb_qmp_error *err)
{
	struct json_object *value = json_object_object_get(args, "value");
	int64_t len = json_object_get_int64(value);

	if (len <= 0)
		return vbb_qmp_fail(err, "GenericError", "Parameter 'value' expects a size");
	vbb_device_keep(q->opaque, (vbb_u64)len);
	return json_object_new_object();
}

static struct json_object *cmd_query_balloon(struct vbb_qmp *q, struct json_object *args,
					     struct vbb_qmp_error *err)
{
	const struct vbb_device *d = q->opaque;
	struct json_object *result;

	(void)args;
	if (!vbb_device_ram_len(d))
		return vbb_qmp_fail(err, "DeviceNotActive",
				    "No guest is connected, and there is no option --ram");
	result = json_object_new_object();
	json_object_object_add(result, "actual", json_object_new_uint64(vbb_device_actual_len(d)));
	return result;
}

static struct json_object *cmd_quit(struct vbb_qmp *q, struct json_object *args,
				    struct vbb_qmp_error *err)
{
	struct vbb_device *d = q->opaque;

	(void)args;
	(void)err;
	d->quit = true;
	return json_object_new_object();
}

static void add(struct json_object *to, const char *name, vbb_u64 value)
{
	json_object_object_add(to, name, json_object_new_uint64(value));
}

static vbb_u64 cpu_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
	return (vbb_u64)ts.tv_sec * 1000000000 + (vbb_u64)ts.tv_nsec;
}

static struct json_object *faults(const struct vbb_device_counts *c)
{
	struct json_object *result = json_object_new_object();
	const char *name;
	int i;

	for (i = 0; i < VBB_NR_FAULTS; i++) {
		name = vbb_err_name(vbb_err_from_fault(i));
		if (name)
			add(result, name, c->faults[i]);
	}
	return result;
}

static struct json_object *requests(const struct vbb_device_counts *c)
{
	struct json_object *result = json_object_new_object();

	add(result, "asked", c->host_requests);
	add(result, "answers", c->answers);
	add(result, "unwanted", c->answers_unwanted);
	add(result, "bytes", c->answer_bytes);
	return result;
}

static struct json_object *cmd_query_counters(struct vbb_qmp *q, struct json_object *args,
					      struct vbb_qmp_error *err)
{
	const struct vbb_device *d = q->opaque;
	const struct vbb_device_counts *c = &d->counts;
	struct json_object *result = json_object_new_object();
	struct json_object *messages = json_object_new_object();
	struct json_object *records = json_object_new_object();

	(void)args;
	(void)err;
	add(messages, "pfns", c->messages[VBB_DEVICE_PFNS]);
	add(messages, "bitmap", c->messages[VBB_DEVICE_BITMAP]);
	add(messages, "records", c->messages[VBB_DEVICE_RECORDS]);
	json_object_object_add(result, "messages", messages);
	add(records, "blocks", c->blocks);
	add(records, "bitmaps", c->bitmaps);
	add(records, "extents", c->extents);
	json_object_object_add(result, "records", records);
	json_object_object_add(result, "faults", faults(c));
	add(result, "bytes", c->bytes);
	add(result, "runs", c->runs);
	add(result, "pages_inflated", c->pages_inflated);
	add(result, "pages_discarded", c->pages_discarded);
	add(result, "pages_deflated", c->pages_deflated);
	add(result, "discard_calls", c->discard_calls);
	add(result, "discard_errors", c->discard_errors);
	add(result, "results", c->results);
	json_object_object_add(result, "host_requests", requests(c));
	add(result, "kicks", d->vhu.nr_kicks);
	add(result, "calls", d->vhu.nr_calls);
	add(result, "front_ends", c->front_ends);
	add(result, "requests", d->vhu.nr_requests);
	add(result, "requests_refused", d->vhu.nr_refused);
	add(result, "cpu_ns", cpu_ns());
	/* of the last 'balloon': when it came, by CLOCK_MONOTONIC, and how long the guest took */
	add(result, "last_balloon_at_ns", d->asked_ns);
	add(result, "last_balloon_ns", d->reached_ns ? d->reached_ns - d->asked_ns : 0);
	return result;
}

vbb_u64 vbb_device_tell(struct vbb_device *d, struct vbb_qmp *q)
{
	struct json_object *data;
	vbb_u64 wait_ns;

	vbb_device_requests_tell(d, q);
	if (!vbb_device_event_due(d, &wait_ns))
		return wait_ns;
	d->untold = false;
	d->told_ns = vbb_device_now_ns();
	data = json_object_new_object();
	add(data, "actual", vbb_device_actual_len(d));
	vbb_qmp_event(q, "BALLOON_CHANGE", data);
	return ~(vbb_u64)0;
}

static const struct vbb_qmp_arg no_args[] = {
	{ NULL, json_type_null, false },
};

static const struct vbb_qmp_arg balloon_args[] = {
	{ "value", json_type_int, false },
	{ NULL, json_type_null, false },
};

const struct vbb_qmp_cmd vbb_device_cmds[] = {
	{ "balloon", balloon_args, cmd_balloon },
	{ "query-balloon", no_args, cmd_query_balloon },
	{ "quit", no_args, cmd_quit },
	{ "x-query-balloon-counters", no_args, cmd_query_counters },
	{ NULL, NULL, NULL },
};
