// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause
/* What QEMU's users know: a balloon's properties guest-stats and guest-stats-polling-interval */
#include "device.h"

#include <string.h>

/* By tag; the names are QEMU's */
static const char *const names[VBB_DEVICE_NR_STATS] = {
	"stat-swap-in", "stat-swap-out", "stat-major-faults", "stat-minor-faults",
	"stat-free-memory", "stat-total-memory", "stat-available-memory", "stat-disk-caches",
	"stat-htlb-pgalloc", "stat-htlb-pgfail", "stat-oom-kill", "stat-alloc-stall",
	"stat-scan-async", "stat-scan-direct", "stat-reclaim-async", "stat-reclaim-direct",
};

static struct json_object *get_stats(const struct vbb_device *d)
{
	struct json_object *result = json_object_new_object();
	struct json_object *stats = json_object_new_object();
	int i;

	for (i = 0; i < VBB_DEVICE_NR_STATS; i++)
		vbb_qmp_add(stats, names[i], d->stats.value[i]);
	json_object_object_add(result, "stats", stats);
	vbb_qmp_add(result, "last-update", d->stats.updated_s);
	return result;
}

/* Is it the balloon? There is no other object. Its name, or QEMU's path to it. */
static bool path_check(struct json_object *args, struct vbb_qmp_error *err)
{
	const char *path = json_object_get_string(json_object_object_get(args, "path"));

	if (!strcmp(path, "balloon0") || !strcmp(path, "/machine/peripheral/balloon0"))
		return true;
	vbb_qmp_fail(err, "DeviceNotFound", "Device '%.64s' not found", path);
	return false;
}

static const char *property(struct json_object *args)
{
	return json_object_get_string(json_object_object_get(args, "property"));
}

static struct json_object *cmd_qom_get(struct vbb_qmp *q, struct json_object *args,
				       struct vbb_qmp_error *err)
{
	const struct vbb_device *d = q->opaque;

	if (!path_check(args, err))
		return NULL;
	if (!strcmp(property(args), "guest-stats"))
		return get_stats(d);
	if (!strcmp(property(args), "guest-stats-polling-interval"))
		return json_object_new_uint64(d->stats.interval_s);
	return vbb_qmp_fail(err, "GenericError", "Property '%.64s' not found", property(args));
}

static struct json_object *cmd_qom_set(struct vbb_qmp *q, struct json_object *args,
				       struct vbb_qmp_error *err)
{
	struct json_object *value = json_object_object_get(args, "value");
	vbb_u64 interval_s = 0;

	if (!path_check(args, err))
		return NULL;
	if (!strcmp(property(args), "guest-stats"))
		return vbb_qmp_fail(err, "GenericError", "Property 'guest-stats' is not writable");
	if (strcmp(property(args), "guest-stats-polling-interval"))
		return vbb_qmp_fail(err, "GenericError", "Property '%.64s' not found",
				    property(args));
	if (!json_object_is_type(value, json_type_int))
		return vbb_qmp_fail(err, "GenericError",
				    "Invalid parameter type for 'value', expected: int");
	if (!vbb_qmp_arg_number(args, "value", 0, UINT32_MAX, &interval_s, err))
		return NULL;
	vbb_device_stats_poll(q->opaque, (vbb_u32)interval_s);
	return json_object_new_object();
}

static const struct vbb_qmp_arg qom_get_args[] = {
	{ "path", json_type_string, false },
	{ "property", json_type_string, false },
	{ NULL, json_type_null, false },
};

static const struct vbb_qmp_arg qom_set_args[] = {
	{ "path", json_type_string, false },
	{ "property", json_type_string, false },
	{ "value", json_type_null, false },
	{ NULL, json_type_null, false },
};

const struct vbb_qmp_cmd vbb_device_stats_cmds[] = {
	{ "qom-get", qom_get_args, cmd_qom_get },
	{ "qom-set", qom_set_args, cmd_qom_set },
	{ NULL, NULL, NULL },
};
