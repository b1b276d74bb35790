/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause */
/* What the subcommands of vbb share. */
#ifndef VBB_TOOL_H
#define VBB_TOOL_H

#include <stdio.h>

#include <virtio_balloon_bmap/vbb.h>

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

/* How vbb exits; the numbers of sysexits.h */
enum vbb_exit {
	VBB_EXIT_OK = 0,
	VBB_EXIT_USAGE = 64,	/* a mistake on the command line */
	VBB_EXIT_DATA = 65,	/* the input is malformed */
	VBB_EXIT_NOINPUT = 66,	/* cannot read */
	VBB_EXIT_UNAVAILABLE = 69,	/* no server, or the guest does not do it */
	VBB_EXIT_SOFTWARE = 70,	/* the library refused what it should take */
	VBB_EXIT_OSERR = 71,	/* no memory, no socket */
	VBB_EXIT_IOERR = 74,	/* cannot write */
	VBB_EXIT_TEMPFAIL = 75,	/* not now: it may work later */
	VBB_EXIT_SIGNAL = 128,	/* and the signal's number: it was told to end */
};

/* The subcommands: argv[0] is "vbb NAME". Return: enum vbb_exit; main() closes stdout. */
int vbb_cmd_encode(int argc, char **argv);
int vbb_cmd_decode(int argc, char **argv);
int vbb_cmd_dump(int argc, char **argv);
int vbb_cmd_gen(int argc, char **argv);
int vbb_cmd_bench(int argc, char **argv);
int vbb_cmd_map(int argc, char **argv);
int vbb_cmd_ctl(int argc, char **argv);
int vbb_cmd_device(int argc, char **argv);

/**
 * vbb_warn() - tell stderr what is wrong, behind "vbb: "
 * @fmt: as for printf(), without newline
 */
void vbb_warn(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/**
 * vbb_usage() - tell stderr of a mistake on the command line
 * @cmd: "vbb NAME"
 * @fmt: as for printf(); NULL where getopt_long() has said it
 *
 * Return: VBB_EXIT_USAGE.
 */
int vbb_usage(const char *cmd, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/**
 * vbb_num_parse() - read a number: decimal, or 0x and hexadecimal digits
 * @s: the text; moves behind the number
 * @v: receives the number
 *
 * Return: 0; -EINVAL where there is none; -ERANGE where it is 2^64 or more.
 */
int vbb_num_parse(const char **s, vbb_u64 *v);

/**
 * vbb_opt_num() - read an option's number
 * @cmd: "vbb NAME", for the message
 * @opt: the option's name, for the message
 * @arg: the text
 * @min: the least allowed
 * @max: the most allowed
 * @v: receives the number
 *
 * Return: 0, or VBB_EXIT_USAGE, which has been said.
 */
int vbb_opt_num(const char *cmd, const char *opt, const char *arg, vbb_u64 min, vbb_u64 max,
		vbb_u64 *v);

/**
 * vbb_opt_size() - read an option's size in bytes: a number, maybe with K, M, G or T behind it
 * @cmd: "vbb NAME", for the message
 * @opt: the option's name, for the message
 * @arg: the text
 * @len: receives the size, 1 to 2^63 - 1
 *
 * Return: 0, or VBB_EXIT_USAGE, which has been said.
 */
int vbb_opt_size(const char *cmd, const char *opt, const char *arg, vbb_u64 *len);

/**
 * vbb_size_text() - write a number of pages as a size
 * @nr_pages: the number, at most 2^52
 * @page_shift: log2 of the page size in bytes, 12 to 30
 * @text: receives a text such as "1.5 GiB"
 */
void vbb_size_text(vbb_u64 nr_pages, vbb_u32 page_shift, char text[24]);

/* The options of whoever decodes: help, rows for getopt_long(), and values below VBB_OPT_OTHER */
#define VBB_DEC_HELP \
	"  --queue inflate        what an inflate or deflate queue carries (default)\n" \
	"  --queue host_request   answers to host requests\n" \
	"  --max-pfn N            pages at or past N are faults\n" \
	"  --no-records           as without the feature for records, which are faults then\n"

#define VBB_DEC_OPTIONS \
	{ "queue", required_argument, NULL, VBB_OPT_QUEUE }, \
	{ "max-pfn", required_argument, NULL, VBB_OPT_MAX_PFN }, \
	{ "no-records", no_argument, NULL, VBB_OPT_NO_RECORDS }

enum { VBB_OPT_QUEUE = 256, VBB_OPT_MAX_PFN, VBB_OPT_NO_RECORDS, VBB_OPT_OTHER };

/**
 * vbb_opt_dec() - take an option of VBB_DEC_OPTIONS
 * @cmd: "vbb NAME", for the message
 * @opt: what getopt_long() has given
 * @arg: the option's argument
 * @cfg: receives what the option says
 *
 * Return: 0, or VBB_EXIT_USAGE, which has been said, also where @opt is none of them.
 */
int vbb_opt_dec(const char *cmd, int opt, const char *arg, struct vbb_dec_cfg *cfg);

/**
 * struct vbb_in - a file that is read
 */
struct vbb_in {
	FILE *f;		/* open while in use */
	const char *name;	/* for messages */
};

/**
 * vbb_in_open() - open the file that the command line names
 * @in: receives the file
 * @argc: as for main()
 * @argv: as for main()
 * @optind: index of the first argument that is no option; without one, or with "-", stdin is read
 *
 * Return: 0; VBB_EXIT_USAGE or VBB_EXIT_NOINPUT, which have been said.
 */
int vbb_in_open(struct vbb_in *in, int argc, char **argv, int optind);

/**
 * vbb_in_close() - close a file that was read
 * @in: the file
 *
 * Return: 0, or VBB_EXIT_NOINPUT, which has been said, where reading failed at any time.
 */
int vbb_in_close(struct vbb_in *in);

/**
 * vbb_out_close() - bring out what is buffered, and close
 * @f: the file
 * @name: its name, for the message
 *
 * Return: 0, or VBB_EXIT_IOERR, which has been said, where writing failed at any time.
 */
int vbb_out_close(FILE *f, const char *name);

/**
 * struct vbb_runs - a set of pages that fits into memory; all 0 is the empty set
 */
struct vbb_runs {
	struct vbb_range *run;	/* ascending, and none touches another, after vbb_runs_sort() */
	size_t nr;		/* how many */
	size_t room;		/* for how many there is memory */
	bool unsorted;		/* or they overlap */
};

/**
 * vbb_runs_add() - add a run to a set
 * @rs: the set
 * @r: a valid run
 *
 * Return: 0, or VBB_EXIT_OSERR, which has been said.
 */
int vbb_runs_add(struct vbb_runs *rs, const struct vbb_range *r);

/**
 * vbb_runs_sort() - bring the runs of a set into order, and merge them
 * @rs: the set
 */
void vbb_runs_sort(struct vbb_runs *rs);

/**
 * vbb_runs_clear() - empty a set, and keep its memory
 * @rs: the set
 */
void vbb_runs_clear(struct vbb_runs *rs);

/**
 * vbb_runs_fini() - free a set's memory
 * @rs: the set
 */
void vbb_runs_fini(struct vbb_runs *rs);

/**
 * struct vbb_lines - what a file of lines 'PFN COUNT' says; all 0 before, but for the caller's part
 */
struct vbb_lines {
	vbb_u64 end_pfn;	/* the caller's: no page at or past it is legal */
	bool with_ram;		/* the caller's: lines '# ram PFN COUNT' are no comments */
	struct vbb_runs pages;	/* named by the lines, in order and merged */
	struct vbb_runs ram;	/* likewise by those that begin with '# ram' */
};

/**
 * vbb_lines_read() - read the file that the command line names
 * @l: receives what it says; the caller calls vbb_lines_fini() in any case
 * @argc: as for vbb_in_open()
 * @argv: as for vbb_in_open()
 * @optind: as for vbb_in_open()
 *
 * Return: 0, or another of enum vbb_exit, which has been said.
 */
int vbb_lines_read(struct vbb_lines *l, int argc, char **argv, int optind);

/**
 * vbb_lines_take() - read a file that is open, and close it
 * @l: as for vbb_lines_read()
 * @in: the file
 *
 * Return: as vbb_lines_read().
 */
int vbb_lines_take(struct vbb_lines *l, struct vbb_in *in);

/**
 * vbb_lines_fini() - free what was read
 * @l: the lines
 */
void vbb_lines_fini(struct vbb_lines *l);

/* What a file that is decoded holds */
enum vbb_framing {
	VBB_FRAMING_MSGS,	/* messages, one behind the other */
	VBB_FRAMING_PFNS,	/* one array of the old format */
};

/**
 * struct vbb_reader - messages taken from a file, one at a time, in constant memory
 */
struct vbb_reader {
	struct vbb_in in;		/* the file */
	enum vbb_framing framing;	/* what is in it */
	vbb_u8 *buf;			/* the message, or a piece of the array */
	size_t len;			/* bytes in buf */
	vbb_u64 nr;			/* the message's number, from 1 */
	vbb_u64 file_off;		/* where buf begins in the file, bytes */
	vbb_u64 msg_off;		/* where buf begins in the message, bytes */
	bool lost;			/* where the next message begins is not known */
};

/**
 * vbb_reader_init() - begin to read
 * @r: the reader; the caller sets framing
 * @argc: as for vbb_in_open()
 * @argv: as for vbb_in_open()
 * @optind: as for vbb_in_open()
 *
 * Return: 0, or as vbb_in_open(), or VBB_EXIT_OSERR, which has been said.
 */
int vbb_reader_init(struct vbb_reader *r, int argc, char **argv, int optind);

/**
 * vbb_reader_next() - take the next message
 * @r: the reader
 *
 * A header's bmap_len is believed only up to 2^20; a message that the file's end cuts short is
 * given as it is.
 *
 * Return: true with a message; false at the end, or where reading failed.
 */
bool vbb_reader_next(struct vbb_reader *r);

/**
 * vbb_reader_dec_init() - begin to decode the message that was taken
 * @r: the reader, with a message
 * @d: the decoder
 * @cfg: as for vbb_dec_init()
 * @seg: the caller's, in use as long as @d
 *
 * Return: as vbb_dec_init().
 */
int vbb_reader_dec_init(const struct vbb_reader *r, struct vbb_dec *d,
			const struct vbb_dec_cfg *cfg, struct vbb_seg *seg);

/**
 * vbb_reader_fini() - end reading
 * @r: the reader
 *
 * Return: as vbb_in_close().
 */
int vbb_reader_fini(struct vbb_reader *r);

/* Where a fault was found, as far as its name does not tell what it violates */
enum vbb_part {
	VBB_PART_MSG,		/* a page message */
	VBB_PART_VALUES,	/* a page message of format VALUES */
	VBB_PART_ANSWER,	/* a page message, among the requests that are open */
	VBB_PART_PFNS,		/* an array of the old format */
	VBB_PART_REQUEST,
	VBB_PART_RESULT,
};

/**
 * struct vbb_clause - a requirement of the specification
 */
struct vbb_clause {
	const char *id;
	const char *text;	/* without markup, in lines */
};

/**
 * vbb_explain() - what does a fault violate?
 * @part: where it was found
 * @fault: what it is
 *
 * Return: the requirement, constant; NULL where there is none.
 */
const struct vbb_clause *vbb_explain(enum vbb_part part, int fault);

#endif
