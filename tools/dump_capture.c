// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause
/* vbb dump --format capture: what went over a device's queues, message by message. */
#include "dump.h"

#include <getopt.h>
#include <inttypes.h>
#include <search.h>
#include <stdlib.h>

#include "capture.h"

/* So many times what is there makes the longest message. */
#define NR_SEGS (UINT32_MAX / VBB_CAPTURE_MAX + 1)

struct dump {
	struct vbb_in in;
	struct vbb_capture capture;
	struct vbb_capture_hdr hdr;
	vbb_u8 *buf;		/* VBB_CAPTURE_MAX bytes */
	vbb_u64 limit_pfn;
	const struct vbb_dump_style *style;
	void *open;		/* a tree of struct vbb_host_req, by id: no answer ended them yet */
	bool no_memory;		/* for one more of them */
	struct vbb_seg seg[NR_SEGS];
};

static const char *const roles[] = {
	[VBB_CAPTURE_UNKNOWN] = "unknown",
	[VBB_CAPTURE_INFLATE] = "inflate",
	[VBB_CAPTURE_DEFLATE] = "deflate",
	[VBB_CAPTURE_STATS] = "stats",
	[VBB_CAPTURE_HINT] = "hint",
	[VBB_CAPTURE_REPORTING] = "reporting",
	[VBB_CAPTURE_HOST_REQUEST] = "host_request",
};

static void show_packet(const struct dump *d)
{
	const struct vbb_capture_hdr *h = &d->hdr;
	const char *from = h->from == VBB_CAPTURE_DRIVER ? "driver" : "device";
	bool done = h->kind == VBB_CAPTURE_DONE;

	if (d->style->json) {
		printf("{\"packet\":%" PRIu64 ",\"queue\":%u,\"role\":\"%s\"",
		       d->capture.nr_packets, h->queue, roles[h->role]);
		printf(",\"from\":\"%s\",\"kind\":\"%s\",\"id\":%" PRIu32, from,
		       done ? "done" : "message", h->id);
		printf(",\"in_len\":%" PRIu32 ",\"len\":%" PRIu32, h->in_len, h->len);
	} else {
		printf("packet %" PRIu64 ": queue %u, %s, from the %s: ", d->capture.nr_packets,
		       h->queue, roles[h->role], from);
		printf(done ? "chain %" PRIu32 " comes back, " : "message %" PRIu32 ", ", h->id);
		printf("%" PRIu32 " bytes", h->len);
		if (h->in_len)
			printf(", %" PRIu32 " to write", h->in_len);
		putchar('\n');
	}
}

/* Only the header of a message that was cut is looked at: its length is a fault of it. */
static size_t segs_of(struct dump *d, vbb_u32 len)
{
	size_t nr = 0, left, n;

	for (left = len; left; left -= n) {
		n = left < VBB_CAPTURE_MAX ? left : VBB_CAPTURE_MAX;
		d->seg[nr++] = (struct vbb_seg){ d->buf, n };
	}
	return nr;
}

/* The conversation about host requests, in the order in which the device had it */

static int by_id(const void *a, const void *b)
{
	const struct vbb_host_req *x = a, *y = b;

	return (x->id > y->id) - (x->id < y->id);
}

/*
 * Is one with this id open already? Else this one is from now on, however malformed: a driver that
 * finds an id in it owes it an end.
 */
static bool open_request(struct dump *d, const struct vbb_seg *seg)
{
	struct vbb_host_req *r, **there;
	struct vbb_req req;

	vbb_req_load(&req, seg, 1, seg->len);
	if (!req.id)
		return false;
	r = malloc(sizeof(*r));
	if (!r) {
		d->no_memory = true;
		return false;
	}
	*r = (struct vbb_host_req){ VBB_HOST_OPEN, req.cmd, req.id };
	there = tsearch(r, &d->open, by_id);
	if (there && *there == r)
		return false;
	free(r);
	d->no_memory = !there;
	return there;
}

static void close_request(struct dump *d, struct vbb_host_req *r)
{
	tdelete(r, &d->open, by_id);
	free(r);
}

/* As a host judges it that has given nothing up. Return: 0, or the fault of the driver */
static int judge_answer(struct dump *d, const struct vbb_hdr *hdr)
{
	const struct vbb_host_req key = { .id = hdr->req_id };
	struct vbb_host_req **there = tfind(&key, &d->open, by_id);
	struct vbb_host host = { .work.state = VBB_HOST_CLOSED };
	int verdict;

	if (there)
		host.work = **there;
	verdict = vbb_host_accept(&host, hdr);
	if (verdict < 0)
		return verdict;
	if (verdict & VBB_HOST_END)
		close_request(d, *there);
	return 0;
}

static int show_msg(struct dump *d)
{
	const struct vbb_capture_hdr *h = &d->hdr;
	bool answer = h->role == VBB_CAPTURE_HOST_REQUEST;
	bool pfns = !answer && !(h->modes & VBB_CAPTURE_BITMAP);
	vbb_u32 len = vbb_capture_len(h);
	const struct vbb_reader r = {
		.framing = pfns ? VBB_FRAMING_PFNS : VBB_FRAMING_MSGS,
		.buf = d->buf,
		.len = len,
	};
	const struct vbb_dec_cfg cfg = {
		.queue = answer ? VBB_QUEUE_HOST_REQUEST : VBB_QUEUE_BALLOON,
		.records = h->modes & VBB_CAPTURE_RECORDS,
		.limit_pfn = d->limit_pfn,
	};
	size_t nr_segs = segs_of(d, pfns ? len : h->len);
	int fault, refused = 0;
	struct vbb_dec dec;

	if (answer && !vbb_dec_init(&dec, &cfg, d->seg, nr_segs))
		refused = judge_answer(d, &dec.hdr);
	fault = vbb_dump_msg(&r, &cfg, refused, d->seg, nr_segs, d->style);
	if (len < h->len && !d->style->json)
		printf("  %" PRIu32 " bytes more are not in the capture\n", h->len - len);
	return fault;
}

/* What came back: a result, or a request */
static int show_done(struct dump *d)
{
	const struct vbb_seg seg = { d->buf, vbb_capture_len(&d->hdr) };

	if (d->style->json)
		putchar(',');
	return d->hdr.role == VBB_CAPTURE_HOST_REQUEST ?
		       vbb_dump_request(&seg, open_request(d, &seg), d->style) :
		       vbb_dump_result(&seg, d->style);
}

/* Messages of the standard's other queues are told, but what is in them is not shown. */
static int show_content(struct dump *d)
{
	const struct vbb_capture_hdr *h = &d->hdr;
	bool ours = h->role == VBB_CAPTURE_INFLATE || h->role == VBB_CAPTURE_DEFLATE ||
		    h->role == VBB_CAPTURE_HOST_REQUEST;

	if (!ours)
		return 0;
	if (h->kind == VBB_CAPTURE_DONE)
		return h->len ? show_done(d) : 0;
	/* a buffer that is parked for a request */
	if (h->role == VBB_CAPTURE_HOST_REQUEST && !h->len)
		return 0;
	return show_msg(d);
}

static int show_all(struct dump *d)
{
	int err, status = 0;

	vbb_capture_open(&d->capture, d->in.f);
	while (err = ferror(stdout) ? VBB_E_CLOSED :
		     vbb_capture_next(&d->capture, &d->hdr, d->buf, VBB_CAPTURE_MAX), !err) {
		show_packet(d);
		if (show_content(d))
			status = VBB_EXIT_DATA;
		if (d->style->json)
			puts("}");
		if (d->no_memory) {
			vbb_warn("no memory");
			return VBB_EXIT_OSERR;
		}
	}
	if (err == VBB_E_CLOSED)
		return status;
	fflush(stdout);
	vbb_warn("%s: behind packet %" PRIu64 ": %s: %s", d->in.name, d->capture.nr_packets,
		 vbb_err_name(err), vbb_strerror(err));
	return VBB_EXIT_DATA;
}

int vbb_dump_capture(int argc, char **argv, vbb_u64 limit_pfn, const struct vbb_dump_style *style)
{
	struct dump *d = calloc(1, sizeof(*d));
	int err, status;

	if (d)
		d->buf = malloc(VBB_CAPTURE_MAX);
	if (!d || !d->buf) {
		free(d);
		vbb_warn("no memory");
		return VBB_EXIT_OSERR;
	}
	d->limit_pfn = limit_pfn;
	d->style = style;
	err = vbb_in_open(&d->in, argc, argv, optind);
	if (!err) {
		status = show_all(d);
		err = vbb_in_close(&d->in);
		if (!err)
			err = status;
	}
	while (d->open)
		close_request(d, *(struct vbb_host_req **)d->open);
	free(d->buf);
	free(d);
	return err;
}
