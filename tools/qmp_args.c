// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause
/* What commands take apart and put together. */
#include "qmp.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

void vbb_qmp_add(struct json_object *to, const char *name, uint64_t value)
{
	json_object_object_add(to, name, json_object_new_uint64(value));
}

void vbb_qmp_add_text(struct json_object *to, const char *name, const char *text)
{
	if (text)
		json_object_object_add(to, name, json_object_new_string(text));
}

void vbb_qmp_add_ms(struct json_object *to, const char *name, uint64_t ns)
{
	char text[32];

	snprintf(text, sizeof(text), "%.3f", (double)ns / 1e6);
	json_object_object_add(to, name, json_object_new_double_s((double)ns / 1e6, text));
}

bool vbb_qmp_arg_number(struct json_object *args, const char *name, uint64_t min, uint64_t max,
			uint64_t *value, struct vbb_qmp_error *err)
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

bool vbb_qmp_arg_file(struct vbb_qmp *q, struct json_object *args, int *fd,
		      struct vbb_qmp_error *err)
{
	struct json_object *file, *fdname;
	const char *name;

	*fd = -1;
	if (json_object_object_get(args, "file") && json_object_object_get(args, "fdname")) {
		vbb_qmp_fail(err, "GenericError", "Either 'file' or 'fdname'");
	} else if (json_object_object_get_ex(args, "file", &file)) {
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
