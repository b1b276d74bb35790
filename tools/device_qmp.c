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
			vbb_qmp_add(result, name, c->faults[i]);
	}
	return result;
}

static struct json_object *requests(const struct vbb_device_counts *c)
{
	struct json_object *result = json_object_new_object();

	vbb_qmp_add(result, "asked", c->host_requests);
	vbb_qmp_add(result, "answers", c->answers);
	vbb_qmp_add(result, "unwanted", c->answers_unwanted);
	vbb_qmp_add(result, "bytes", c->answer_bytes);
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
	vbb_qmp_add(messages, "pfns", c->messages[VBB_DEVICE_PFNS]);
	vbb_qmp_add(messages, "bitmap", c->messages[VBB_DEVICE_BITMAP]);
	vbb_qmp_add(messages, "records", c->messages[VBB_DEVICE_RECORDS]);
	json_object_object_add(result, "messages", messages);
	vbb_qmp_add(records, "blocks", c->blocks);
	vbb_qmp_add(records, "bitmaps", c->bitmaps);
	vbb_qmp_add(records, "extents", c->extents);
	json_object_object_add(result, "records", records);
	json_object_object_add(result, "faults", faults(c));
	vbb_qmp_add(result, "bytes", c->bytes);
	vbb_qmp_add(result, "runs", c->runs);
	vbb_qmp_add(result, "pages_inflated", c->pages_inflated);
	vbb_qmp_add(result, "pages_discarded", c->pages_discarded);
	vbb_qmp_add(result, "pages_deflated", c->pages_deflated);
	vbb_qmp_add(result, "discard_calls", c->discard_calls);
	vbb_qmp_add(result, "discard_errors", c->discard_errors);
	vbb_qmp_add(result, "results", c->results);
	json_object_object_add(result, "host_requests", requests(c));
	vbb_qmp_add(result, "stats", c->stats);
	vbb_qmp_add(result, "stats_unknown", c->stats_unknown);
	vbb_qmp_add(result, "hints", c->hints);
	vbb_qmp_add(result, "hints_unwanted", c->hints_unwanted);
	vbb_qmp_add(result, "reports", c->reports);
	vbb_qmp_add(result, "pages_reported", c->pages_reported);
	vbb_qmp_add(result, "kicks", d->vhu.nr_kicks);
	vbb_qmp_add(result, "calls", d->vhu.nr_calls);
	vbb_qmp_add(result, "front_ends", c->front_ends);
	vbb_qmp_add(result, "requests", d->vhu.nr_requests);
	vbb_qmp_add(result, "requests_refused", d->vhu.nr_refused);
	vbb_qmp_add(result, "cpu_ns", cpu_ns());
	/* of the last 'balloon': when it came, by CLOCK_MONOTONIC, and how long the guest took */
	vbb_qmp_add(result, "last_balloon_at_ns", d->asked_ns);
	vbb_qmp_add(result, "last_balloon_ns", d->reached_ns ? d->reached_ns - d->asked_ns : 0);
	return result;
}

vbb_u64 vbb_device_tell(struct vbb_device *d, struct vbb_qmp *q)
{
	struct json_object *data;
	vbb_u64 wait_ns;

	vbb_device_requests_tell(d, q);
	vbb_device_hint_tell(d, q);
	if (!vbb_device_event_due(d, &wait_ns))
		return wait_ns;
	d->untold = false;
	d->told_ns = vbb_now_ns();
	data = json_object_new_object();
	vbb_qmp_add(data, "actual", vbb_device_actual_len(d));
	vbb_qmp_event(q, "BALLOON_CHANGE", data);
	return ~(vbb_u64)0;
}

static const struct vbb_qmp_arg balloon_args[] = {
	{ "value", json_type_int, false },
	{ NULL, json_type_null, false },
};

const struct vbb_qmp_cmd vbb_device_cmds[] = {
	{ "balloon", balloon_args, cmd_balloon },
	{ "query-balloon", vbb_qmp_no_args, cmd_query_balloon },
	{ "quit", vbb_qmp_no_args, cmd_quit },
	{ "x-query-balloon-counters", vbb_qmp_no_args, cmd_query_counters },
	{ NULL, NULL, NULL },
};
