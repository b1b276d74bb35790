// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause
/* The commands of vbb ctl that ask the guest, and wait for its answer. */
#include "ctl.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#define GRACE_NS 5000000000ull	/* for what a device does behind its own time limit */

/* The signal that shall end it; 0: none */
static volatile sig_atomic_t stop;

static void on_signal(int sig)
{
	stop = sig;
}

/* Signals come only while it waits, and only once: the second one ends it the hard way. */
static void catch_signals(sigset_t *wait_mask)
{
	static const int caught[] = { SIGINT, SIGTERM, SIGHUP };
	struct sigaction action = { .sa_handler = on_signal, .sa_flags = (int)SA_RESETHAND };
	sigset_t set;
	size_t i;

	sigemptyset(&set);
	for (i = 0; i < ARRAY_SIZE(caught); i++) {
		sigaction(caught[i], &action, NULL);
		sigaddset(&set, caught[i]);
	}
	sigprocmask(SIG_BLOCK, &set, wait_mask);
}

static void print_ms(FILE *f, struct json_object *data, const char *name, const char *format)
{
	struct json_object *member = json_object_object_get(data, name);

	if (json_object_is_type(member, json_type_double))
		fprintf(f, format, json_object_get_double(member));
}

/* What is known of a request, open or ended */
static void print_request(FILE *f, struct json_object *data)
{
	char command[200], status[200], error[200], size[24];
	vbb_u64 id = 0, pages, runs = 0, bytes, messages = 0;

	vbb_qmp_u64(data, "id", &id);
	vbb_qmp_text(data, "command", command);
	vbb_qmp_text(data, "status", status);
	vbb_qmp_text(data, "error", error);
	fprintf(f, "request %" PRIu64 ", %s: %s%s%s\n", id, command, status, *error ? ": " : "",
		error);
	if (vbb_qmp_u64(data, "freed", &pages)) {
		vbb_size_text(pages, VIRTIO_BALLOON_PAGE_SHIFT_MIN, size);
		fprintf(f, "  %" PRIu64 " pages freed, %s\n", pages, size);
	}
	if (vbb_qmp_u64(data, "pages", &pages)) {
		vbb_size_text(pages, VIRTIO_BALLOON_PAGE_SHIFT_MIN, size);
		vbb_qmp_u64(data, "runs", &runs);
		fprintf(f, "  %" PRIu64 " pages, %s, in %" PRIu64 " runs\n", pages, size, runs);
	}
	if (vbb_qmp_u64(data, "bytes", &bytes)) {
		vbb_qmp_u64(data, "messages", &messages);
		fprintf(f, "  %" PRIu64 " bytes in %" PRIu64 " messages\n", bytes, messages);
	}
	print_ms(f, data, "answered-ms", "  %.3f ms until the guest had answered\n");
	print_ms(f, data, "total-ms", "  %.3f ms in all\n");
}

/* How far the open request is */
static int show_progress(struct vbb_ctl *c)
{
	struct json_object *list, *last;
	char text[100];
	vbb_u64 pages = 0, bytes = 0;
	int status;

	if (!isatty(STDERR_FILENO))
		return 0;
	status = vbb_ctl_query(c, "x-query-requests", json_type_array, &list);
	if (status)
		return status;
	if (json_object_array_length(list)) {
		last = json_object_array_get_idx(list, json_object_array_length(list) - 1);
		vbb_qmp_u64(last, "pages", &pages);
		vbb_qmp_u64(last, "freed", &pages);
		vbb_qmp_u64(last, "bytes", &bytes);
		snprintf(text, sizeof(text), "%" PRIu64 " pages, %" PRIu64 " bytes", pages, bytes);
		vbb_ctl_progress(text);
	}
	json_object_put(list);
	return 0;
}

static int cancel_request(struct vbb_ctl *c, vbb_u64 id)
{
	struct json_object *args = json_object_new_object();

	json_object_object_add(args, "id", json_object_new_uint64(id));
	return vbb_qmp_client_call(&c->qmp, "x-cancel", args, -1, NULL);
}

/* Wait for a request's end; a signal cancels it. Return: 0 with *end; or enum vbb_exit, said */
static int wait_end(struct vbb_ctl *c, vbb_u64 id, struct json_object **end)
{
	vbb_u64 until_ns = vbb_now_ns() + c->timeout_ms * 1000000 + GRACE_NS;
	vbb_u64 now, tick_ns, ended;
	bool cancelled = false;
	int status;

	for (;;) {
		if (stop && !cancelled) {
			cancelled = true;
			until_ns = vbb_now_ns() + GRACE_NS;
			/* where it has ended meanwhile, that is said, and the end follows */
			status = cancel_request(c, id);
			if (status && status != VBB_EXIT_UNAVAILABLE)
				return status;
		}
		now = vbb_now_ns();
		if (now >= until_ns) {
			vbb_warn("%s: no end of request %" PRIu64 " in time", c->path, id);
			return VBB_EXIT_UNAVAILABLE;
		}
		tick_ns = now + VBB_CTL_TICK_NS < until_ns ? now + VBB_CTL_TICK_NS : until_ns;
		status = vbb_qmp_client_event(&c->qmp, "X_HOST_REQUEST_END", tick_ns, end);
		if (!status) {
			if (vbb_qmp_u64(*end, "id", &ended) && ended == id)
				return 0;
			json_object_put(*end);
		} else if (status == VBB_QMP_CLIENT_NONE) {
			status = stop ? 0 : show_progress(c);
		}
		if (status)
			return status;
	}
}

/* How it exits by how a request ended */
static int end_status(const struct vbb_ctl *c, struct json_object *end)
{
	static const struct {
		const char *name;
		int status;
	} known[] = {
		{ "done", VBB_EXIT_OK },
		{ "unsupported", VBB_EXIT_UNAVAILABLE },
		{ "failed", VBB_EXIT_UNAVAILABLE },
		{ "busy", VBB_EXIT_TEMPFAIL },
		{ "timeout", VBB_EXIT_TEMPFAIL },
		{ "reset", VBB_EXIT_TEMPFAIL },
		{ "cancelled", VBB_EXIT_TEMPFAIL },
		{ "error", VBB_EXIT_DATA },
	};
	char text[200];
	size_t i;

	vbb_qmp_text(end, "status", text);
	for (i = 0; i < ARRAY_SIZE(known); i++) {
		if (strcmp(text, known[i].name))
			continue;
		if (stop && known[i].status == VBB_EXIT_TEMPFAIL)
			return VBB_EXIT_SIGNAL + stop;
		return known[i].status;
	}
	return vbb_ctl_bad_answer(c, "X_HOST_REQUEST_END");
}

/* Ask the guest, and wait for the end of its answers. */
static int request(struct vbb_ctl *c, const char *command, struct json_object *args, FILE *runs,
		   struct json_object **end)
{
	struct json_object *result = NULL, *name;
	sigset_t wait_mask;
	int status = 0;
	vbb_u64 id;

	catch_signals(&wait_mask);
	c->qmp.wait_mask = &wait_mask;
	json_object_object_add(args, "timeout-ms", json_object_new_uint64(c->timeout_ms));
	if (runs) {
		name = json_object_new_object();
		json_object_object_add(name, "fdname", json_object_new_string("runs"));
		status = vbb_qmp_client_call(&c->qmp, "getfd", name, fileno(runs), NULL);
		json_object_object_add(args, "fdname", json_object_new_string("runs"));
	}
	if (status) {
		json_object_put(args);
		return status;
	}
	status = vbb_qmp_client_call(&c->qmp, command, args, -1, &result);
	if (status)
		return status;
	if (vbb_qmp_u64(result, "id", &id))
		status = wait_end(c, id, end);
	else
		status = vbb_ctl_bad_answer(c, command);
	json_object_put(result);
	vbb_ctl_progress(NULL);
	return status;
}

static void write_runs(FILE *f, const char *prefix, const struct vbb_runs *rs)
{
	size_t i;

	for (i = 0; i < rs->nr; i++)
		fprintf(f, "%s0x%" PRIx64 " %" PRIu64 "\n", prefix, rs->run[i].pfn,
			rs->run[i].nr_pages);
}

/* The device wrote the runs as they came; here they come into order. */
static int write_output(const struct vbb_ctl *c, struct vbb_in *runs)
{
	struct vbb_lines lines = { .end_pfn = VBB_PFN_END, .with_ram = true };
	FILE *f = stdout;
	int status;

	rewind(runs->f);
	status = vbb_lines_take(&lines, runs);
	if (!status && strcmp(c->output, "-")) {
		f = fopen(c->output, "w");
		if (!f) {
			vbb_warn("%s: %s", c->output, strerror(errno));
			status = VBB_EXIT_IOERR;
		}
	}
	if (!status) {
		write_runs(f, "# ram ", &lines.ram);
		write_runs(f, "", &lines.pages);
		if (f != stdout)
			status = vbb_out_close(f, c->output);
	}
	vbb_lines_fini(&lines);
	return status;
}

/* What is said of a request's end, where the runs do not go */
static int tell_end(const struct vbb_ctl *c, struct json_object *end)
{
	bool to_stdout = c->output && !strcmp(c->output, "-");

	if (c->json && !to_stdout)
		vbb_ctl_print_json(end);
	else
		print_request(to_stdout ? stderr : stdout, end);
	return end_status(c, end);
}

int vbb_ctl_unused_pages(struct vbb_ctl *c)
{
	struct vbb_in runs = { .name = "<the device's runs>" };
	struct json_object *args, *end = NULL;
	int status;

	if (c->output) {
		runs.f = tmpfile();
		if (!runs.f) {
			vbb_warn("no temporary file: %s", strerror(errno));
			return VBB_EXIT_OSERR;
		}
	}
	args = json_object_new_object();
	json_object_object_add(args, "first-pfn", json_object_new_uint64(c->first));
	json_object_object_add(args, "nr-pages", json_object_new_uint64(c->pages));
	status = request(c, "x-get-unused-pages", args, runs.f, &end);
	if (end) {
		status = tell_end(c, end);
		json_object_put(end);
	}
	/* a part of the answer could be taken for all of it */
	if (runs.f && !status)
		return write_output(c, &runs);
	if (runs.f)
		fclose(runs.f);
	return status;
}

int vbb_ctl_drop_cache(struct vbb_ctl *c)
{
	struct json_object *args = json_object_new_object(), *end = NULL;
	int status;

	json_object_object_add(args, "mode", json_object_new_string(c->mode));
	json_object_object_add(args, "limit", json_object_new_uint64(c->limit));
	status = request(c, "x-drop-cache", args, NULL, &end);
	if (!end)
		return status;
	status = tell_end(c, end);
	json_object_put(end);
	return status;
}

int vbb_ctl_cancel(struct vbb_ctl *c)
{
	return cancel_request(c, c->number);
}

int vbb_ctl_requests(struct vbb_ctl *c)
{
	struct json_object *list;
	int status = vbb_ctl_query(c, "x-query-requests", json_type_array, &list);
	size_t i;

	if (status)
		return status;
	if (c->json)
		vbb_ctl_print_json(list);
	for (i = 0; i < json_object_array_length(list) && !c->json; i++) {
		if (!json_object_is_type(json_object_array_get_idx(list, i), json_type_object))
			status = vbb_ctl_bad_answer(c, "x-query-requests");
		else
			print_request(stdout, json_object_array_get_idx(list, i));
	}
	json_object_put(list);
	return status;
}
