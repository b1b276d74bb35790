// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause
/* vbb encode: runs of pages to messages. */
#include "vbb.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static const char help[] =
	"Usage: vbb encode [OPTION]... [FILE]\n"
	"Read lines 'PFN COUNT' (decimal, or 0x and hexadecimal; '#' begins a comment)\n"
	"from FILE (without one, or with '-': from stdin) and write page messages, one\n"
	"behind the other.\n"
	"\n"
	"  --format auto      bitmap or records, whichever is shorter in all (default)\n"
	"  --format quick     the same without a search: one bitmap, or a record for each run\n"
	"  --format bitmap    one bit a page\n"
	"  --format records   blocks, bitmaps and extents\n"
	"  --format pfns      the bare array of the old format, no messages\n"
	"  --page-shift N     a page has 2^N bytes, 12 to 30 (default 12)\n"
	"  --cmd N            the header's cmd (default 0)\n"
	"  --flag N           the last message's flag, 0 to 5 (default 0)\n"
	"  --req-id N         the header's req_id (default 0)\n"
	"  --max-msg BYTES    no message is longer, header included: 48 to 1048608 (default)\n"
	"  -o, --output FILE  write to FILE instead of stdout\n"
	"  --help             print this and exit\n";

enum { OPT_FORMAT = 256, OPT_PAGE_SHIFT, OPT_CMD, OPT_FLAG, OPT_REQ_ID, OPT_MAX_MSG, OPT_HELP };

static const struct option options[] = {
	{ "format", required_argument, NULL, OPT_FORMAT },
	{ "page-shift", required_argument, NULL, OPT_PAGE_SHIFT },
	{ "cmd", required_argument, NULL, OPT_CMD },
	{ "flag", required_argument, NULL, OPT_FLAG },
	{ "req-id", required_argument, NULL, OPT_REQ_ID },
	{ "max-msg", required_argument, NULL, OPT_MAX_MSG },
	{ "output", required_argument, NULL, 'o' },
	{ "help", no_argument, NULL, OPT_HELP },
	{ NULL, 0, NULL, 0 },
};

#define MSG_LEN_MAX (VBB_HDR_LEN + VIRTIO_BALLOON_BMAP_LEN_MAX)

/* Where messages go: a file, or, with none, into a count */
struct sink {
	FILE *f;
	vbb_u64 len;		/* bytes so far */
	vbb_u64 len_max;	/* past it there is no need to go on */
};

struct job {
	struct vbb_enc_cfg cfg;
	vbb_u16 flag;		/* of the last message */
	struct vbb_lines in;
	vbb_u8 *buf;
	size_t buf_len;
};

/* Close a message, and give it to the sink. Return: 0; 1: the sink wants no more; or an error */
static int flush(const struct job *job, struct vbb_enc *enc, vbb_u16 flag, struct sink *s)
{
	struct vbb_msg msg;
	int err = vbb_enc_finish(enc, flag, &msg);

	if (err)
		return err;
	s->len += msg.len;
	if (!s->f)
		return s->len > s->len_max;
	return fwrite(job->buf, 1, (size_t)msg.len, s->f) != msg.len;
}

/* Return: as flush() */
static int encode(const struct job *job, vbb_u32 formats, struct sink *s)
{
	struct vbb_seg seg = { .base = job->buf, .len = job->buf_len };
	struct vbb_enc_cfg cfg = job->cfg;
	struct vbb_run_list list = { job->in.pages.run, job->in.pages.nr, 0, 0 };
	struct vbb_enc enc;
	int err;

	cfg.formats = formats;
	err = vbb_enc_init(&enc, &cfg, &seg, 1);
	while (!err && (err = vbb_enc_put_runs(&enc, &list)) == VBB_E_NOSPC) {
		err = flush(job, &enc, VIRTIO_BALLOON_FLAG_CONT, s);
		if (!err)
			err = vbb_enc_next(&enc, &seg, 1);
	}
	/* only DONE goes with pages; the other flags that end come in a message of their own */
	if (!err && job->in.pages.nr && job->flag > VIRTIO_BALLOON_FLAG_DONE) {
		err = flush(job, &enc, VIRTIO_BALLOON_FLAG_CONT, s);
		if (!err)
			err = vbb_enc_next(&enc, &seg, 1);
	}
	return err ? err : flush(job, &enc, job->flag, s);
}

/* The shorter in all. What is equal goes as BITMAP, which asks less of the receiver. */
static int choose_format(const struct job *job, vbb_u32 *formats)
{
	struct sink bitmap = { .f = NULL }, records = { .f = NULL, .len_max = ~(vbb_u64)0 };
	int err;

	err = encode(job, VBB_FMT_RECORDS, &records);
	bitmap.len_max = records.len;
	if (!err)
		err = encode(job, VBB_FMT_BITMAP, &bitmap);
	*formats = err ? VBB_FMT_RECORDS : VBB_FMT_BITMAP;
	return err < 0 ? err : 0;
}

static int write_msgs(const struct job *job, const char *path)
{
	struct sink sink = { .f = stdout };
	vbb_u32 formats = job->cfg.formats;
	int err = 0, status = 0;

	if (formats == VBB_FMT_AUTO)
		err = choose_format(job, &formats);
	if (path) {
		sink.f = fopen(path, "wb");
		if (!sink.f) {
			vbb_warn("%s: %s", path, strerror(errno));
			return VBB_EXIT_IOERR;
		}
	}
	if (!err)
		err = encode(job, formats, &sink);
	if (path)
		status = vbb_out_close(sink.f, path);
	if (err >= 0)
		return status;
	vbb_warn("%s: %s", vbb_err_name(err), vbb_strerror(err));
	return VBB_EXIT_SOFTWARE;
}

static int run(struct job *job, int argc, char **argv, const char *path)
{
	int status;

	job->in.end_pfn = vbb_pfn_end(job->cfg.page_shift);
	if (job->cfg.formats == VBB_FMT_PFNS)
		job->in.end_pfn = vbb_pow2(32);
	/* the set is what counts: in ascending order, as it comes, it encodes shortest */
	status = vbb_lines_read(&job->in, argc, argv, optind);
	if (status)
		return status;
	job->buf = malloc(job->buf_len);
	if (job->buf)
		return write_msgs(job, path);
	vbb_warn("no memory");
	return VBB_EXIT_OSERR;
}

static int parse_format(const char *cmd, const char *arg, vbb_u32 *formats)
{
	static const struct {
		const char *name;
		vbb_u32 formats;
	} known[] = {
		{ "auto", VBB_FMT_AUTO },
		{ "quick", VBB_FMT_QUICK },
		{ "bitmap", VBB_FMT_BITMAP },
		{ "records", VBB_FMT_RECORDS },
		{ "pfns", VBB_FMT_PFNS },
	};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(known); i++) {
		if (!strcmp(arg, known[i].name)) {
			*formats = known[i].formats;
			return 0;
		}
	}
	return vbb_usage(cmd, "--format %s: not auto, quick, bitmap, records or pfns", arg);
}

int vbb_cmd_encode(int argc, char **argv)
{
	vbb_u64 page_shift = VIRTIO_BALLOON_PAGE_SHIFT_MIN, max_msg = MSG_LEN_MAX;
	struct job job = { .cfg = { .formats = VBB_FMT_AUTO } };
	vbb_u64 cmd = 0, flag = 0, req_id = 0;
	const char *path = NULL;
	int opt, status = 0;

	while ((opt = getopt_long(argc, argv, "o:", options, NULL)) != -1) {
		switch (opt) {
		case OPT_FORMAT:
			status = parse_format(argv[0], optarg, &job.cfg.formats);
			break;
		case OPT_PAGE_SHIFT:
			status = vbb_opt_num(argv[0], "page-shift", optarg,
					     VIRTIO_BALLOON_PAGE_SHIFT_MIN,
					     VIRTIO_BALLOON_PAGE_SHIFT_MAX, &page_shift);
			break;
		case OPT_CMD:
			status = vbb_opt_num(argv[0], "cmd", optarg, 0, UINT16_MAX, &cmd);
			break;
		case OPT_FLAG:
			status = vbb_opt_num(argv[0], "flag", optarg, 0, VIRTIO_BALLOON_FLAG_FAILED,
					     &flag);
			break;
		case OPT_REQ_ID:
			status = vbb_opt_num(argv[0], "req-id", optarg, 0, ~(vbb_u64)0, &req_id);
			break;
		case OPT_MAX_MSG:
			status = vbb_opt_num(argv[0], "max-msg", optarg, VBB_ENC_LEN_MIN,
					     MSG_LEN_MAX, &max_msg);
			break;
		case 'o':
			path = optarg;
			break;
		case OPT_HELP:
			fputs(help, stdout);
			return 0;
		default:
			return vbb_usage(argv[0], NULL);
		}
		if (status)
			return status;
	}
	if (job.cfg.formats == VBB_FMT_PFNS &&
	    (page_shift != VIRTIO_BALLOON_PAGE_SHIFT_MIN || cmd || flag || req_id))
		return vbb_usage(argv[0], "--format pfns has no header and only 4 KiB pages");
	job.cfg.cmd = (vbb_u16)cmd;
	job.cfg.page_shift = (vbb_u16)page_shift;
	job.cfg.req_id = req_id;
	job.flag = (vbb_u16)flag;
	job.buf_len = (size_t)max_msg;
	status = run(&job, argc, argv, path);
	vbb_lines_fini(&job.in);
	free(job.buf);
	return status;
}
