// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause
/* vbb dump: what stands in messages, for a person or as JSON; malformed ones up to the fault. */
#include "dump.h"

#include <getopt.h>
#include <inttypes.h>
#include <string.h>

#include <json-c/json.h>

static const char help[] =
	"Usage: vbb dump [OPTION]... [FILE]\n"
	"Show every field and record of the page messages in FILE (without one, or with\n"
	"'-': in stdin).\n"
	"\n"
	"  --json                 one JSON object a message, each on a line of its own\n"
	"  --format pfns          FILE is an array of the old format, not messages\n"
	"  --format request       FILE is one host request\n"
	"  --format result        FILE is one result of a device\n"
	"  --format capture       FILE is a capture by 'vbb device', or others in that format\n"
	VBB_DEC_HELP
	"  --explain              of a fault, tell the requirement that it violates\n"
	"  --help                 print this and exit\n"
	"\n"
	"A malformed message is shown up to its fault, and makes the exit status 65.\n";

enum { OPT_JSON = VBB_OPT_OTHER, OPT_FORMAT, OPT_EXPLAIN, OPT_HELP };

static const struct option options[] = {
	{ "json", no_argument, NULL, OPT_JSON },
	{ "format", required_argument, NULL, OPT_FORMAT },
	VBB_DEC_OPTIONS,
	{ "explain", no_argument, NULL, OPT_EXPLAIN },
	{ "help", no_argument, NULL, OPT_HELP },
	{ NULL, 0, NULL, 0 },
};

static const char *const format_names[] = { "BITMAP", "RECORDS", "VALUES", NULL };
static const char *const flag_names[] = { "CONT", "DONE", "UNSUPPORTED", "BUSY", "CANCELLED",
					  "FAILED", NULL };
static const char *const cmd_names[] = { "GET_UNUSED_PAGES", "DROP_CACHE", "CANCEL", NULL };
static const char *const status_names[] = { "OK", "PARTIAL", "INHIBITED", "MALFORMED", NULL };

/* A field of a header, a request or a result */
struct field {
	const char *key;
	vbb_u64 value;
	const char *const *names;	/* of the values from 0 on, up to a NULL; may be absent */
};

/* One message, and what the decoder said of it before anything is shown */
struct view {
	const struct vbb_reader *r;
	enum vbb_queue queue;
	const struct vbb_dump_style *style;
	struct vbb_dec dec;
	int fault;		/* 0: none */
	bool refused;		/* it is an answer's among the requests, not the message's own */
	vbb_u64 nr_pages;	/* that a receiver acts on */
	vbb_u64 nr_runs;	/* and in how many runs */
	vbb_u64 nr_items;	/* shown so far */
};

static void json_u64(struct json_object *o, const char *key, vbb_u64 v)
{
	json_object_object_add(o, key, json_object_new_uint64(v));
}

static void json_str(struct json_object *o, const char *key, const char *s)
{
	json_object_object_add(o, key, json_object_new_string(s));
}

/* Bits, not a number */
static struct json_object *json_word(vbb_u64 w)
{
	char s[sizeof("0x0123456789abcdef")];

	snprintf(s, sizeof(s), "0x%016" PRIx64, w);
	return json_object_new_string(s);
}

/* Prints the object and lets it go. */
static void json_print(struct json_object *o)
{
	fputs(json_object_to_json_string_ext(o, JSON_C_TO_STRING_PLAIN), stdout);
	json_object_put(o);
}

static void show_fields(const struct field *f, size_t nr, bool json)
{
	struct json_object *o = json ? json_object_new_object() : NULL;
	size_t i;

	for (; nr; nr--, f++) {
		if (json) {
			json_u64(o, f->key, f->value);
			continue;
		}
		printf("  %-13s %" PRIu64, f->key, f->value);
		if (f->value > 9)
			printf(" 0x%" PRIx64, f->value);
		for (i = 0; f->names && f->names[i]; i++) {
			if (i == f->value)
				printf(" %s", f->names[i]);
		}
		putchar('\n');
	}
	if (json)
		json_print(o);
}

static void show_lines(const struct vbb_clause *clause)
{
	const char *line = clause->text;
	size_t len;

	printf("  violates %s:\n", clause->id);
	for (; *line; line += len + 1) {
		len = strcspn(line, "\n");
		printf("    %.*s\n", (int)len, line);
	}
}

/* Lines as one string, with spaces between them */
static void json_lines(struct json_object *o, const char *key, const char *lines)
{
	char s[512];
	size_t i;

	for (i = 0; lines[i] && i < sizeof(s); i++)
		s[i] = lines[i] == '\n' ? ' ' : lines[i];
	json_object_object_add(o, key, json_object_new_string_len(s, i ? (int)i - 1 : 0));
}

static void show_fault(enum vbb_part part, int fault, vbb_u64 byte,
		       const struct vbb_dump_style *style)
{
	const struct vbb_clause *clause = style->explain ? vbb_explain(part, fault) : NULL;
	struct json_object *o;

	if (!style->json) {
		printf("  byte %" PRIu64 ": fault: %s: %s\n", byte, vbb_err_name(fault),
		       vbb_strerror(fault));
		if (clause)
			show_lines(clause);
		return;
	}
	o = json_object_new_object();
	json_u64(o, "byte", byte);
	json_str(o, "name", vbb_err_name(fault));
	json_str(o, "text", vbb_strerror(fault));
	if (clause) {
		json_str(o, "violates", clause->id);
		json_lines(o, "requirement", clause->text);
	}
	fputs(",\"fault\":", stdout);
	json_print(o);
}

static struct json_object *json_new_item(const struct view *v, size_t off, const char *kind)
{
	struct json_object *o = json_object_new_object();

	json_u64(o, "byte", v->r->msg_off + off);
	json_str(o, "kind", kind);
	return o;
}

static void json_show_item(struct view *v, struct json_object *o)
{
	if (v->nr_items++)
		putchar(',');
	json_print(o);
}

/* len bytes of the message, at most 8, as a number */
static vbb_u64 load(const struct view *v, size_t off, size_t len)
{
	vbb_u64 n = 0;

	while (len--)
		n = n << 8 | v->r->buf[off + len];
	return n;
}

static vbb_u64 nr_bits(vbb_u64 w)
{
	vbb_u64 n = 0;

	for (; w; w &= w - 1)
		n++;
	return n;
}

/* A frame of the old format, or a value */
static void show_number(struct view *v, size_t off, const char *kind, const char *key,
			vbb_u64 number)
{
	struct json_object *o;

	if (v->style->json) {
		o = json_new_item(v, off, kind);
		json_u64(o, key, number);
		json_show_item(v, o);
	} else {
		printf("  byte %" PRIu64 ": %s %" PRIu64 " 0x%" PRIx64 "\n", v->r->msg_off + off,
		       kind, number, number);
	}
}

static void show_word(struct view *v, size_t off, vbb_u64 word)
{
	vbb_u64 pfn = v->dec.hdr.start_pfn + 8 * (vbb_u64)(off - VBB_HDR_LEN);
	struct json_object *o;

	if (v->style->json) {
		o = json_new_item(v, off, "word");
		json_u64(o, "pfn", pfn);
		json_u64(o, "nr_pages", nr_bits(word));
		json_object_object_add(o, "word", json_word(word));
		json_show_item(v, o);
	} else {
		printf("  byte %zu: word, pfn 0x%" PRIx64 ": %" PRIu64 " pages: 0x%016" PRIx64 "\n",
		       off, pfn, nr_bits(word), word);
	}
}

/* Behind the record's first word nr_words are there. What is legal, the decoder has said. */
static void show_record(struct view *v, size_t off, vbb_u64 rec, size_t nr_words)
{
	vbb_u64 pfn = rec >> VIRTIO_BALLOON_REC_PFN_SHIFT & VIRTIO_BALLOON_REC_PFN_MASK;
	vbb_u64 order = rec >> VIRTIO_BALLOON_REC_ORDER_SHIFT & VIRTIO_BALLOON_REC_ORDER_MASK;
	vbb_u64 code = rec >> VIRTIO_BALLOON_REC_CODE_SHIFT & VIRTIO_BALLOON_REC_CODE_MASK;
	bool bitmap = code && code != VIRTIO_BALLOON_REC_EXTENT;
	const char *kind = bitmap ? "bitmap" : code ? "extent" : "block";
	struct json_object *o = NULL, *words = NULL;
	vbb_u64 scale = vbb_pow2((vbb_u32)order);
	vbb_u64 nr_pages = code ? 0 : scale;
	size_t i;

	for (i = 1; i <= nr_words; i++) {
		vbb_u64 word = load(v, off + 8 * i, 8);

		nr_pages += bitmap ? nr_bits(word) * scale : word;
	}
	if (v->style->json) {
		o = json_new_item(v, off, kind);
		json_u64(o, "pfn", pfn);
		json_u64(o, "order", order);
		json_u64(o, "nr_pages", nr_pages);
	} else {
		printf("  byte %zu: %s, pfn 0x%" PRIx64 ", order %" PRIu64 ": %" PRIu64 " pages\n",
		       off, kind, pfn, order, nr_pages);
	}
	if (v->style->json && bitmap)
		words = json_object_new_array();
	for (i = 1; bitmap && i <= nr_words; i++) {
		vbb_u64 word = load(v, off + 8 * i, 8);

		if (words)
			json_object_array_add(words, json_word(word));
		else
			printf("    0x%016" PRIx64 "\n", word);
	}
	if (words)
		json_object_object_add(o, "words", words);
	if (o)
		json_show_item(v, o);
}

/* What begins at a byte of a payload with len bytes to its end. Return: how many it takes */
static size_t show_item(struct view *v, size_t off, size_t len)
{
	size_t unit = v->r->framing == VBB_FRAMING_PFNS ? 4 : 8;
	vbb_u64 first = load(v, off, len < unit ? len : unit);
	size_t nr_words;

	if (v->r->framing == VBB_FRAMING_PFNS) {
		if (len >= unit)
			show_number(v, off, "frame", "pfn", first);
		return unit;
	}
	if (v->dec.hdr.format == VIRTIO_BALLOON_FORMAT_BITMAP) {
		if (first)
			show_word(v, off, first);
		return unit;
	}
	if (v->dec.hdr.format == VIRTIO_BALLOON_FORMAT_VALUES) {
		show_number(v, off, "value", "value", first);
		return unit;
	}
	nr_words = (size_t)(first >> VIRTIO_BALLOON_REC_CODE_SHIFT);
	if (nr_words == VIRTIO_BALLOON_REC_EXTENT)
		nr_words = 1;
	if (nr_words > len / unit - 1)
		nr_words = len / unit - 1;
	show_record(v, off, first, nr_words);
	return unit + unit * nr_words;
}

/* From the start of the message, in bytes */
static vbb_u64 fault_off(const struct view *v)
{
	if (!v->refused)
		return vbb_dec_fault_off(&v->dec);
	switch (v->fault) {
	case VBB_E_REQ_STALE:
		return offsetof(struct virtio_balloon_bmap_hdr, req_id);
	case VBB_E_FORMAT:
		return offsetof(struct virtio_balloon_bmap_hdr, format);
	case VBB_E_PAYLOAD:
		return offsetof(struct virtio_balloon_bmap_hdr, bmap_len);
	default: /* VBB_E_REQ_CMD */
		return offsetof(struct virtio_balloon_bmap_hdr, cmd);
	}
}

/* The payload, up to and with what is at fault; none of it where the header is */
static void show_payload(struct view *v)
{
	size_t off = v->r->framing == VBB_FRAMING_PFNS ? 0 : VBB_HDR_LEN;
	vbb_u64 last = v->fault ? fault_off(v) : v->r->len;

	if (v->fault && last < off)
		return;
	while (off < v->r->len && off <= last)
		off += show_item(v, off, v->r->len - off);
}

static void show_header(const struct view *v)
{
	bool answer = v->queue == VBB_QUEUE_HOST_REQUEST;
	const struct vbb_hdr *h = &v->dec.hdr;
	const struct field fields[] = {
		{ "cmd", h->cmd, answer ? cmd_names : NULL },
		{ "page_shift", h->page_shift, NULL },
		{ "flag", h->flag, answer ? flag_names : NULL },
		{ "format", h->format, format_names },
		{ "req_id", h->req_id, NULL },
		{ "start_pfn", h->start_pfn, NULL },
		{ "bmap_len", h->bmap_len, NULL },
	};

	show_fields(fields, ARRAY_SIZE(fields), v->style->json);
}

/* Nothing, where there is none */
static void show_msg_fault(const struct view *v)
{
	bool values = v->dec.hdr.format == VIRTIO_BALLOON_FORMAT_VALUES;
	enum vbb_part part = v->r->framing == VBB_FRAMING_PFNS ? VBB_PART_PFNS :
			     v->refused ? VBB_PART_ANSWER :
			     values ? VBB_PART_VALUES : VBB_PART_MSG;

	if (v->fault)
		show_fault(part, v->fault, v->r->msg_off + fault_off(v), v->style);
}

static void show_text(struct view *v, bool has_header)
{
	if (has_header)
		show_header(v);
	show_payload(v);
	show_msg_fault(v);
	printf("  %" PRIu64 " pages in %" PRIu64 " runs\n", v->nr_pages, v->nr_runs);
}

/* Item by item, since a message can have hundreds of thousands */
static void show_json(struct view *v, bool has_header)
{
	if (has_header) {
		fputs(",\"header\":", stdout);
		show_header(v);
	}
	fputs(",\"items\":[", stdout);
	show_payload(v);
	printf("],\"nr_pages\":%" PRIu64 ",\"nr_runs\":%" PRIu64, v->nr_pages, v->nr_runs);
	show_msg_fault(v);
}

int vbb_dump_msg(const struct vbb_reader *r, const struct vbb_dec_cfg *cfg, int refused,
		 const struct vbb_seg *seg, size_t nr_segs, const struct vbb_dump_style *style)
{
	bool has_header = r->framing == VBB_FRAMING_MSGS && r->len >= VBB_HDR_LEN;
	struct view v = { .r = r, .queue = cfg->queue, .style = style, .refused = refused };
	struct vbb_range run;

	if (r->framing == VBB_FRAMING_MSGS)
		v.fault = vbb_dec_init(&v.dec, cfg, seg, nr_segs);
	else
		vbb_dec_init_pfns(&v.dec, cfg, seg, nr_segs);
	if (refused) {
		v.fault = refused;
	} else if (!v.fault) {
		vbb_dec_for_each(&v.dec, &run) {
			v.nr_pages += run.nr_pages;
			v.nr_runs++;
		}
		v.fault = vbb_dec_next(&v.dec, &run);
	}
	if (style->json)
		show_json(&v, has_header);
	else
		show_text(&v, has_header);
	return v.fault;
}

static int dump_msgs(struct vbb_reader *r, const struct vbb_dec_cfg *cfg,
		     const struct vbb_dump_style *style)
{
	struct vbb_seg seg = { .base = r->buf };
	int status = 0;
	int err;

	while (!ferror(stdout) && vbb_reader_next(r)) {
		seg.len = r->len;
		if (style->json)
			printf("{\"message\":%" PRIu64 ",\"offset\":%" PRIu64 ",\"len\":%zu", r->nr,
			       r->file_off, r->len);
		else
			printf("message %" PRIu64 ": %zu bytes at %" PRIu64 "\n", r->nr, r->len,
			       r->file_off);
		if (vbb_dump_msg(r, cfg, 0, &seg, 1, style))
			status = VBB_EXIT_DATA;
		if (style->json)
			puts("}");
	}
	err = vbb_reader_fini(r);
	return err ? err : status;
}

/* A request or a result. Return: its fault, or 0 */
static int show_fixed(enum vbb_part part, const struct field *fields, size_t nr, int fault,
		      const struct vbb_dump_style *style)
{
	const char *title = part == VBB_PART_REQUEST ? "request" : "result";

	if (style->json)
		printf("\"%s\":", title);
	else
		puts(title);
	show_fields(fields, nr, style->json);
	if (fault)
		show_fault(part, fault, 0, style);
	return fault;
}

/* As a driver judges it that has no other one open, but maybe one of this id */
int vbb_dump_request(const struct vbb_seg *seg, bool open, const struct vbb_dump_style *style)
{
	struct vbb_guest guest;
	struct vbb_req req;
	int fault = vbb_req_load(&req, seg, 1, seg->len);
	const struct field fields[] = {
		{ "cmd", req.cmd, cmd_names },
		{ "id", req.id, NULL },
		{ "arg0", req.arg0, NULL },
		{ "arg1", req.arg1, NULL },
	};

	vbb_guest_init(&guest);
	if (open)
		vbb_guest_take(&guest, &req, 0);
	fault = vbb_guest_take(&guest, &req, fault);
	return show_fixed(VBB_PART_REQUEST, fields, ARRAY_SIZE(fields), fault < 0 ? fault : 0,
			  style);
}

static int dump_request(const struct vbb_seg *seg, const struct vbb_dump_style *style)
{
	return vbb_dump_request(seg, false, style);
}

int vbb_dump_result(const struct vbb_seg *seg, const struct vbb_dump_style *style)
{
	struct vbb_result result = { .nr_pages = 0 };
	int fault = seg->len > VBB_RESULT_LEN ? VBB_E_LEN : vbb_result_load(&result, seg, 1);
	const struct field fields[] = {
		{ "nr_pages", result.nr_pages, NULL },
		{ "status", result.status, status_names },
		{ "discard_shift", result.discard_shift, NULL },
	};

	return show_fixed(VBB_PART_RESULT, fields, ARRAY_SIZE(fields), fault, style);
}

typedef int (*dump_fixed_fn)(const struct vbb_seg *seg, const struct vbb_dump_style *style);

/* One that is the whole file. Return: enum vbb_exit */
static int dump_fixed(int argc, char **argv, dump_fixed_fn dump, const struct vbb_dump_style *style)
{
	vbb_u8 buf[VBB_REQ_LEN + 1]; /* one byte more than any has */
	struct vbb_seg seg = { .base = buf };
	struct vbb_in in;
	int fault, err = vbb_in_open(&in, argc, argv, optind);

	if (err)
		return err;
	seg.len = fread(buf, 1, sizeof(buf), in.f);
	err = vbb_in_close(&in);
	if (err)
		return err;
	if (style->json)
		putchar('{');
	fault = dump(&seg, style);
	if (style->json)
		puts("}");
	return fault ? VBB_EXIT_DATA : 0;
}

int vbb_cmd_dump(int argc, char **argv)
{
	struct vbb_dec_cfg cfg = { .queue = VBB_QUEUE_BALLOON, .records = true };
	dump_fixed_fn fixed = NULL;
	bool capture = false;
	struct vbb_reader r = { .framing = VBB_FRAMING_MSGS };
	struct vbb_dump_style style = { .json = false };
	int opt, err = 0;

	while ((opt = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (opt) {
		case OPT_JSON:
			style.json = true;
			break;
		case OPT_FORMAT:
			if (!strcmp(optarg, "pfns"))
				r.framing = VBB_FRAMING_PFNS;
			else if (!strcmp(optarg, "request"))
				fixed = dump_request;
			else if (!strcmp(optarg, "result"))
				fixed = vbb_dump_result;
			else if (!strcmp(optarg, "capture"))
				capture = true;
			else
				return vbb_usage(argv[0], "--format %s: no such format",
						 optarg);
			break;
		case OPT_EXPLAIN:
			style.explain = true;
			break;
		case OPT_HELP:
			fputs(help, stdout);
			return 0;
		default:
			err = vbb_opt_dec(argv[0], opt, optarg, &cfg);
			break;
		}
		if (err)
			return err;
	}
	if (fixed)
		return dump_fixed(argc, argv, fixed, &style);
	if (capture)
		return vbb_dump_capture(argc, argv, cfg.limit_pfn, &style);
	err = vbb_reader_init(&r, argc, argv, optind);
	return err ? err : dump_msgs(&r, &cfg, &style);
}
