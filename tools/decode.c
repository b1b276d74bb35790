// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause
/* vbb decode: messages to runs of pages. */
#include "vbb.h"

#include <getopt.h>
#include <inttypes.h>
#include <string.h>

static const char help[] =
	"Usage: vbb decode [OPTION]... [FILE]\n"
	"Read page messages, one behind the other, from FILE (without one, or with '-':\n"
	"from stdin) and print the pages that they name, '0xPFN COUNT', one merged run a\n"
	"line.\n"
	"\n"
	"  --format pfns          FILE is an array of the old format, not messages\n"
	VBB_DEC_HELP
	"  --help                 print this and exit\n"
	"\n"
	"The first fault ends it, with exit status 65, behind the runs before it.\n";

enum { OPT_FORMAT = VBB_OPT_OTHER, OPT_HELP };

static const struct option options[] = {
	{ "format", required_argument, NULL, OPT_FORMAT },
	VBB_DEC_OPTIONS,
	{ "help", no_argument, NULL, OPT_HELP },
	{ NULL, 0, NULL, 0 },
};

/* What is printed; the last run waits here for what touches it */
struct printer {
	struct vbb_range run;
	vbb_u32 page_shift;	/* 0 before the first message */
	struct vbb_runs msg;	/* of a message */
};

static void print_pending(struct printer *p)
{
	if (p->run.nr_pages)
		printf("0x%" PRIx64 " %" PRIu64 "\n", p->run.pfn, p->run.nr_pages);
	p->run.nr_pages = 0;
}

static void print_run(struct printer *p, const struct vbb_range *r)
{
	if (p->run.nr_pages && vbb_range_merge(&p->run, r))
		return;
	print_pending(p);
	p->run = *r;
}

/* Senders write records in any order; people want them in one. */
static void print_msg(struct printer *p)
{
	size_t i;

	vbb_runs_sort(&p->msg);
	for (i = 0; i < p->msg.nr; i++)
		print_run(p, &p->msg.run[i]);
	vbb_runs_clear(&p->msg);
}

/* Runs of different units do not merge, and whoever reads on must know. */
static void print_unit(struct printer *p, vbb_u32 page_shift)
{
	if (p->page_shift && p->page_shift != page_shift) {
		print_pending(p);
		printf("# page_shift %" PRIu32 "\n", page_shift);
	}
	p->page_shift = page_shift;
}

/* The pages of a message. An array of frames can be longer than memory, and comes as it stands. */
static int take_runs(const struct vbb_reader *r, struct vbb_dec *dec, struct printer *p)
{
	struct vbb_range run;
	int status = 0;

	vbb_dec_for_each(dec, &run) {
		if (r->framing == VBB_FRAMING_PFNS)
			print_run(p, &run);
		else
			status = vbb_runs_add(&p->msg, &run);
		if (status)
			return status;
	}
	print_msg(p);
	return 0;
}

static int decode_msg(const struct vbb_reader *r, const struct vbb_dec_cfg *cfg, struct printer *p)
{
	struct vbb_range run;
	struct vbb_dec dec;
	struct vbb_seg seg;
	vbb_u64 value;
	int err, status;

	err = vbb_reader_dec_init(r, &dec, cfg, &seg);
	if (!err) {
		print_unit(p, dec.hdr.page_shift);
		status = take_runs(r, &dec, p);
		if (status)
			return status;
		err = vbb_dec_next(&dec, &run);
	}
	while (!err && vbb_dec_next_value(&dec, &value) > 0) {
		print_pending(p);
		printf("# value %" PRIu64 "\n", value);
	}
	if (!err)
		return 0;
	print_pending(p);
	fflush(stdout);
	vbb_warn("%s: message %" PRIu64 ", byte %" PRIu64 ": %s: %s", r->in.name, r->nr,
		 r->msg_off + vbb_dec_fault_off(&dec), vbb_err_name(err), vbb_strerror(err));
	return VBB_EXIT_DATA;
}

static int decode(struct vbb_reader *r, const struct vbb_dec_cfg *cfg)
{
	struct printer p = { .page_shift = 0 };
	int status = 0, err;

	while (!status && !ferror(stdout) && vbb_reader_next(r))
		status = decode_msg(r, cfg, &p);
	print_pending(&p);
	vbb_runs_fini(&p.msg);
	err = vbb_reader_fini(r);
	return err ? err : status;
}

int vbb_cmd_decode(int argc, char **argv)
{
	struct vbb_dec_cfg cfg = { .queue = VBB_QUEUE_BALLOON, .records = true };
	struct vbb_reader r = { .framing = VBB_FRAMING_MSGS };
	int opt, err = 0;

	while ((opt = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (opt) {
		case OPT_FORMAT:
			if (strcmp(optarg, "pfns"))
				return vbb_usage(argv[0], "--format %s: not pfns", optarg);
			r.framing = VBB_FRAMING_PFNS;
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
	err = vbb_reader_init(&r, argc, argv, optind);
	return err ? err : decode(&r, &cfg);
}
