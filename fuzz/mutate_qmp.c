// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause
/* A mutator that knows the device's commands and their arguments, from its own tables. */
#include "../tools/device.h"
#include "fuzz.h"

#define ESCAPE 0xff

size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max_size);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned int seed);

static uint64_t state;

static uint32_t random_below(uint32_t n)
{
	state = state * 6364136223846793005 + 1442695040888963407;
	return (uint32_t)(state >> 33) % n;
}

static const char *one_of(const char *const *list, uint32_t nr)
{
	return list[random_below(nr)];
}

#define ONE_OF(list) one_of(list, sizeof(list) / sizeof(*(list)))

/* What stands for a value of this type, most of the time */
static const char *value(enum json_type type)
{
	static const char *const ints[] = {
		"0", "1", "5", "4096", "1073741824", "9223372036854775807", "-1",
		"4503599627370496", "18446744073709551616", "3600001"
	};
	static const char *const texts[] = {
		"\"m\"", "\"p\"", "\"x\"", "\"\"", "\"all\"", "\"page\"", "\"start\"", "\"stop\"",
		"\"done\"", "\"balloon0\"", "\"guest-stats\"", "\"guest-stats-polling-interval\"",
		"\"\\u0000\"", "\"1\""
	};
	static const char *const others[] = { "null", "true", "1.5e300", "[]", "{}", "[[{}]]" };

	if (!random_below(12))
		return ONE_OF(others);
	return type == json_type_int || (type == json_type_null && random_below(2)) ?
	       ONE_OF(ints) : ONE_OF(texts);
}

static size_t command(char *p, size_t size)
{
	static const struct vbb_qmp_arg fd_args[] = {
		{ "fdname", json_type_string, false }, { NULL, json_type_null, false }
	};
	static const struct vbb_qmp_cmd own[] = {
		{ "getfd", fd_args, NULL }, { "closefd", fd_args, NULL },
		{ "query-commands", fd_args + 1, NULL }, { NULL, NULL, NULL }
	};
	const struct vbb_qmp_cmd *const all[] = {
		own, vbb_device_cmds, vbb_device_request_cmds, vbb_device_stats_cmds,
		vbb_device_hint_cmds
	};
	const struct vbb_qmp_cmd *cmd = all[random_below(5)];
	const struct vbb_qmp_arg *arg;
	const char *comma = "";
	size_t len = 0, nr = 0;

#define SAY(...) (len += (size_t)snprintf(p + len, size - len, __VA_ARGS__))
	if (!random_below(6))
		return (size_t)snprintf(p, size, "{\"execute\":\"qmp_capabilities\"}");
	while (cmd[nr].name)
		nr++;
	cmd += random_below((uint32_t)nr);
	SAY("{\"execute\":\"%s\",\"arguments\":{", cmd->name);
	for (arg = cmd->args; arg->name; arg++) {
		if (!random_below(arg->optional ? 2 : 16))
			continue;
		SAY("%s\"%s\":%s", comma, arg->name, value(arg->type));
		comma = ",";
	}
	SAY("}%s}", random_below(4) ? "" : ",\"id\":[1]");
#undef SAY
	return len;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned int seed)
{
	char text[600] = { (char)ESCAPE };
	size_t len, off = 0;

	state = seed;
	if (!random_below(3))
		return LLVMFuzzerMutate(data, size, max_size);
	/* between two things */
	if (size)
		off = random_below((uint32_t)size + 1);
	while (off && off < size && data[off] != '{' && data[off] != ESCAPE)
		off++;
	if (random_below(3)) {
		len = command(text, sizeof(text));
	} else {
		text[1] = (char)random_below(128);
		len = 2;
	}
	if (len > max_size - size)
		return LLVMFuzzerMutate(data, size, max_size);
	memmove(data + off + len, data + off, size - off);
	memcpy(data + off, text, len);
	return size + len;
}
