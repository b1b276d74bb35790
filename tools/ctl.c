// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause
/* vbb ctl: a device's QMP, for a person at a shell. */
#include "ctl.h"

#include <getopt.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

static const char help[] =
	"Usage: vbb ctl --qmp PATH COMMAND [OPTION]...\n"
	"Ask a device that runs, through its QMP socket, and the guest behind it.\n"
	"\n"
	"  unused-pages         which pages does the guest not use?\n"
	"      --first PFN      from this page on, in pages of 4 KiB (0)\n"
	"      --pages N        no more than so many (0: to the end)\n"
	"      -o, --output FILE\n"
	"                       write them as lines '0xPFN COUNT', in order ('-': to stdout)\n"
	"  drop-cache           let the guest drop what it only caches\n"
	"      --mode MODE      page, slab or all (all)\n"
	"      --limit N        no more than so many pages (0: no limit)\n"
	"  cancel ID            stop a request\n"
	"  requests             the newest request, and how far it is\n"
	"  balloon SIZE         let the guest keep so much: bytes, or with K, M, G or T\n"
	"      --wait           wait until it does\n"
	"  query-balloon        how much the guest keeps\n"
	"  counters             what the device has seen and done\n"
	"  stats                what the guest tells of its memory\n"
	"      --interval N     ask it every N seconds from now on (0: no more)\n"
	"  execute NAME [ARGS]  any command, with its arguments as a JSON object\n"
	"\n"
	"  --qmp PATH           the device's QMP socket\n"
	"  --timeout-ms N       how long to wait for the guest, 1 to 3600000 (10000)\n"
	"  --json               print what the device says as JSON\n"
	"  --help               print this and exit\n"
	"\n"
	"Ctrl-C cancels the request that is waited for. Exit status: vbb(1).\n";

enum option_id {
	OPT_QMP, OPT_JSON, OPT_TIMEOUT, OPT_HELP,	/* of every command */
	OPT_FIRST, OPT_PAGES, OPT_OUTPUT, OPT_MODE, OPT_LIMIT, OPT_WAIT, OPT_INTERVAL,
};

#define OPTS_ALWAYS (1u << OPT_QMP | 1u << OPT_JSON | 1u << OPT_TIMEOUT | 1u << OPT_HELP)

/* Past all other options, so that no value of getopt_long()'s own is met */
#define OPT_BASE 256

static const struct option options[] = {
	{ "qmp", required_argument, NULL, OPT_BASE + OPT_QMP },
	{ "json", no_argument, NULL, OPT_BASE + OPT_JSON },
	{ "timeout-ms", required_argument, NULL, OPT_BASE + OPT_TIMEOUT },
	{ "help", no_argument, NULL, OPT_BASE + OPT_HELP },
	{ "first", required_argument, NULL, OPT_BASE + OPT_FIRST },
	{ "pages", required_argument, NULL, OPT_BASE + OPT_PAGES },
	{ "output", required_argument, NULL, OPT_BASE + OPT_OUTPUT },
	{ "mode", required_argument, NULL, OPT_BASE + OPT_MODE },
	{ "limit", required_argument, NULL, OPT_BASE + OPT_LIMIT },
	{ "wait", no_argument, NULL, OPT_BASE + OPT_WAIT },
	{ "interval", required_argument, NULL, OPT_BASE + OPT_INTERVAL },
	{ NULL, 0, NULL, 0 },
};

/* Of a member's name, before its value */
#define MEMBER_FORMAT "%-40s "

void vbb_ctl_progress(const char *text)
{
	static bool shown;

	if (!isatty(STDERR_FILENO) || (!text && !shown))
		return;
	fprintf(stderr, "\r%s\033[K", text ? text : "");
	shown = text;
}

void vbb_ctl_print_json(struct json_object *value)
{
	puts(json_object_to_json_string_ext(value, JSON_C_TO_STRING_PLAIN |
					    JSON_C_TO_STRING_NOSLASHESCAPE));
}

/* Print an object's members, those of the objects in it as "outer.inner". */
static void print_members(struct json_object *object, const char *prefix)
{
	char key[200], name[200], text[200];
	vbb_u64 n;

	json_object_object_foreach(object, member, value) {
		vbb_qmp_clean(member, key);
		snprintf(name, sizeof(name), "%.90s%s%.90s", prefix, *prefix ? "." : "", key);
		vbb_qmp_text(object, member, text);
		if (json_object_is_type(value, json_type_object))
			print_members(value, name);
		else if (vbb_qmp_u64(object, member, &n))
			printf(MEMBER_FORMAT "%" PRIu64 "\n", name, n);
		else
			printf(MEMBER_FORMAT "%s\n", name, text);
	}
}

int vbb_ctl_bad_answer(const struct vbb_ctl *c, const char *command)
{
	vbb_warn("%s: the answer to '%s' is not what it should be", c->path, command);
	return VBB_EXIT_DATA;
}

int vbb_ctl_query(struct vbb_ctl *c, const char *command, enum json_type type,
		  struct json_object **result)
{
	int status = vbb_qmp_client_call(&c->qmp, command, NULL, -1, result);

	if (status || json_object_is_type(*result, type))
		return status;
	json_object_put(*result);
	return vbb_ctl_bad_answer(c, command);
}

/* The balloon, and what is counted */

static int query_actual(struct vbb_ctl *c, vbb_u64 *actual, struct json_object **result)
{
	int status = vbb_ctl_query(c, "query-balloon", json_type_object, result);

	if (status || vbb_qmp_u64(*result, "actual", actual))
		return status;
	json_object_put(*result);
	return vbb_ctl_bad_answer(c, "query-balloon");
}

/* "1.5 GiB" of a number of bytes */
static void print_len(FILE *f, vbb_u64 len)
{
	char size[24];

	vbb_size_text(len >> VIRTIO_BALLOON_PAGE_SHIFT_MIN, VIRTIO_BALLOON_PAGE_SHIFT_MIN, size);
	fprintf(f, "%" PRIu64 " bytes, %s\n", len, size);
}

static int cmd_query_balloon(struct vbb_ctl *c)
{
	struct json_object *result;
	vbb_u64 actual;
	int status = query_actual(c, &actual, &result);

	if (status)
		return status;
	if (c->json)
		vbb_ctl_print_json(result);
	else
		print_len(stdout, actual);
	json_object_put(result);
	return 0;
}

/* Until the guest keeps so much, to the page, or the time is over */
static int wait_balloon(struct vbb_ctl *c, vbb_u64 want)
{
	vbb_u64 until_ns = vbb_now_ns() + c->timeout_ms * 1000000, actual;
	struct json_object *object;
	char text[100], size[24];
	int status;

	for (;;) {
		status = query_actual(c, &actual, &object);
		if (status)
			return status;
		json_object_put(object);
		if ((actual > want ? actual - want : want - actual) < 4096)
			break;
		if (vbb_now_ns() >= until_ns) {
			vbb_ctl_progress(NULL);
			vbb_warn("the guest keeps %" PRIu64 " bytes, and the time is over", actual);
			return VBB_EXIT_TEMPFAIL;
		}
		vbb_size_text(actual >> 12, 12, size);
		snprintf(text, sizeof(text), "the guest keeps %s", size);
		vbb_ctl_progress(text);
		status = vbb_qmp_client_event(&c->qmp, "BALLOON_CHANGE",
					      vbb_now_ns() + VBB_CTL_TICK_NS, &object);
		if (!status)
			json_object_put(object);
		else if (status != VBB_QMP_CLIENT_NONE)
			return status;
	}
	vbb_ctl_progress(NULL);
	if (!c->json)
		print_len(stdout, actual);
	return 0;
}

static int cmd_balloon(struct vbb_ctl *c)
{
	struct json_object *args = json_object_new_object();
	int status;

	json_object_object_add(args, "value", json_object_new_uint64(c->number));
	status = vbb_qmp_client_call(&c->qmp, "balloon", args, -1, NULL);
	if (status || !(c->opts & 1u << OPT_WAIT))
		return status;
	return wait_balloon(c, c->number);
}

static int cmd_counters(struct vbb_ctl *c)
{
	struct json_object *result;
	int status = vbb_ctl_query(c, "x-query-balloon-counters", json_type_object, &result);

	if (status)
		return status;
	if (c->json)
		vbb_ctl_print_json(result);
	else
		print_members(result, "");
	json_object_put(result);
	return 0;
}

/* The arguments of QEMU's property commands, for a property of the balloon */
static struct json_object *property(const char *name)
{
	struct json_object *args = json_object_new_object();

	json_object_object_add(args, "path", json_object_new_string("balloon0"));
	json_object_object_add(args, "property", json_object_new_string(name));
	return args;
}

static int set_interval(struct vbb_ctl *c)
{
	struct json_object *args = property("guest-stats-polling-interval");

	json_object_object_add(args, "value", json_object_new_uint64(c->interval));
	return vbb_qmp_client_call(&c->qmp, "qom-set", args, -1, NULL);
}

/* What the guest did not tell is 2^64 - 1 there. */
static void print_stats(struct json_object *stats)
{
	char name[200];
	vbb_u64 n;

	json_object_object_foreach(stats, member, value) {
		vbb_qmp_clean(member, name);
		if (!json_object_is_type(value, json_type_int))
			continue;
		if (vbb_qmp_u64(stats, member, &n) && n != ~(vbb_u64)0)
			printf(MEMBER_FORMAT "%" PRIu64 "\n", name, n);
		else
			printf(MEMBER_FORMAT "unknown\n", name);
	}
}

static int cmd_stats(struct vbb_ctl *c)
{
	struct json_object *result, *stats;
	int status;

	if (c->opts & 1u << OPT_INTERVAL)
		return set_interval(c);
	status = vbb_qmp_client_call(&c->qmp, "qom-get", property("guest-stats"), -1, &result);
	if (status)
		return status;
	stats = json_object_is_type(result, json_type_object) ?
			json_object_object_get(result, "stats") : NULL;
	if (!json_object_is_type(stats, json_type_object))
		status = vbb_ctl_bad_answer(c, "qom-get");
	else if (c->json)
		vbb_ctl_print_json(result);
	else
		print_stats(stats);
	json_object_put(result);
	return status;
}

static int cmd_execute(struct vbb_ctl *c)
{
	struct json_object *args = NULL, *result = NULL;
	int status;

	if (c->arg[1]) {
		args = json_tokener_parse(c->arg[1]);
		if (!json_object_is_type(args, json_type_object)) {
			json_object_put(args);
			return vbb_usage(c->self, "%s: no JSON object", c->arg[1]);
		}
	}
	status = vbb_qmp_client_call(&c->qmp, c->arg[0], args, -1, &result);
	if (!status)
		vbb_ctl_print_json(result);
	json_object_put(result);
	return status;
}

/* The command line */

enum arg_kind { ARG_NONE, ARG_NUMBER, ARG_SIZE, ARG_NAME };

static const struct ctl_cmd {
	const char *name;
	int (*run)(struct vbb_ctl *c);
	enum arg_kind arg;
	unsigned int opts;	/* beside OPTS_ALWAYS */
} cmds[] = {
	{ "unused-pages", vbb_ctl_unused_pages, ARG_NONE,
	  1u << OPT_FIRST | 1u << OPT_PAGES | 1u << OPT_OUTPUT },
	{ "drop-cache", vbb_ctl_drop_cache, ARG_NONE, 1u << OPT_MODE | 1u << OPT_LIMIT },
	{ "cancel", vbb_ctl_cancel, ARG_NUMBER, 0 },
	{ "requests", vbb_ctl_requests, ARG_NONE, 0 },
	{ "balloon", cmd_balloon, ARG_SIZE, 1u << OPT_WAIT },
	{ "query-balloon", cmd_query_balloon, ARG_NONE, 0 },
	{ "counters", cmd_counters, ARG_NONE, 0 },
	{ "stats", cmd_stats, ARG_NONE, 1u << OPT_INTERVAL },
	{ "execute", cmd_execute, ARG_NAME, 0 },
};

static int find_command(struct vbb_ctl *c, const char *name, const struct ctl_cmd **cmd)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(cmds); i++) {
		if (!strcmp(cmds[i].name, name)) {
			*cmd = &cmds[i];
			return 0;
		}
	}
	return vbb_usage(c->self, "%s: no such command", name);
}

/* What follows the command's name */
static int parse_args(struct vbb_ctl *c, const struct ctl_cmd *cmd, int argc, char **argv)
{
	static const int most[] = {
		[ARG_NONE] = 0, [ARG_NUMBER] = 1, [ARG_SIZE] = 1, [ARG_NAME] = 2,
	};
	const char *s;
	int i;

	for (i = 0; i < argc && i < most[cmd->arg]; i++)
		c->arg[i] = argv[i];
	if (i < argc)
		return vbb_usage(c->self, "%s: what for?", argv[i]);
	if (cmd->arg != ARG_NONE && !argc)
		return vbb_usage(c->self, "%s: of what?", cmd->name);
	if (cmd->arg == ARG_SIZE)
		return vbb_opt_size(c->self, cmd->name, argv[0], &c->number);
	if (cmd->arg != ARG_NUMBER)
		return 0;
	s = argv[0];
	if (vbb_num_parse(&s, &c->number) || *s)
		return vbb_usage(c->self, "%s: not a number", argv[0]);
	return 0;
}

static int parse_option(struct vbb_ctl *c, enum option_id opt)
{
	switch (opt) {
	case OPT_QMP:
		c->path = optarg;
		break;
	case OPT_JSON:
		c->json = true;
		break;
	case OPT_TIMEOUT:
		return vbb_opt_num(c->self, "timeout-ms", optarg, 1, 3600000, &c->timeout_ms);
	case OPT_FIRST:
		return vbb_opt_num(c->self, "first", optarg, 0, VBB_PFN_END - 1, &c->first);
	case OPT_PAGES:
		return vbb_opt_num(c->self, "pages", optarg, 0, VBB_PFN_END, &c->pages);
	case OPT_OUTPUT:
		c->output = optarg;
		break;
	case OPT_MODE:
		c->mode = optarg;
		if (strcmp(optarg, "page") && strcmp(optarg, "slab") && strcmp(optarg, "all"))
			return vbb_usage(c->self, "--mode %s: not page, slab or all", optarg);
		break;
	case OPT_LIMIT:
		return vbb_opt_num(c->self, "limit", optarg, 0, INT64_MAX, &c->limit);
	case OPT_INTERVAL:
		return vbb_opt_num(c->self, "interval", optarg, 0, UINT32_MAX, &c->interval);
	default:
		break;
	}
	return 0;
}

/* Return: 0 with the command; or another of enum vbb_exit, which has been said */
static int parse(struct vbb_ctl *c, const struct ctl_cmd **cmd, int argc, char **argv)
{
	unsigned int i, unwanted;
	int opt, status = 0;

	while (!status && (opt = getopt_long(argc, argv, "o:", options, NULL)) != -1) {
		if (opt == 'o')
			opt = OPT_BASE + OPT_OUTPUT;
		if (opt < OPT_BASE)
			return vbb_usage(c->self, NULL);
		c->opts |= 1u << (opt - OPT_BASE);
		status = parse_option(c, (enum option_id)(opt - OPT_BASE));
	}
	if (status || c->opts & 1u << OPT_HELP)
		return status;
	if (optind == argc)
		return vbb_usage(c->self, "no command");
	status = find_command(c, argv[optind], cmd);
	if (!status)
		status = parse_args(c, *cmd, argc - optind - 1, argv + optind + 1);
	if (status)
		return status;
	unwanted = c->opts & ~(OPTS_ALWAYS | (*cmd)->opts);
	for (i = 0; unwanted >> i; i++) {
		if (unwanted >> i & 1)
			return vbb_usage(c->self, "%s: takes no --%s", (*cmd)->name,
					 options[i].name);
	}
	return c->path ? 0 : vbb_usage(c->self, "--qmp is needed");
}

int vbb_cmd_ctl(int argc, char **argv)
{
	struct vbb_ctl c = { .self = argv[0], .mode = "all", .timeout_ms = 10000 };
	const struct ctl_cmd *cmd = NULL;
	int status = parse(&c, &cmd, argc, argv);

	if (status)
		return status;
	if (c.opts & 1u << OPT_HELP) {
		fputs(help, stdout);
		return 0;
	}
	status = vbb_qmp_client_init(&c.qmp, c.path);
	if (status)
		return status;
	status = cmd->run(&c);
	vbb_qmp_client_fini(&c.qmp);
	return status;
}
