// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause
/* vbb: page messages from the command line. */
#include "vbb.h"

#include <string.h>

static const struct vbb_cmd {
	const char *name;	/* as on the command line */
	int (*run)(int argc, char **argv);
	const char *what;	/* one line of help */
} cmds[] = {
	{ "encode", vbb_cmd_encode, "runs of pages to messages" },
	{ "decode", vbb_cmd_decode, "messages to runs of pages" },
	{ "dump", vbb_cmd_dump, "every field and record of messages" },
	{ "gen", vbb_cmd_gen, "runs of pages by a pattern, or of this machine" },
	{ "bench", vbb_cmd_bench, "what formats cost: bytes and time, on the same pages" },
	{ "map", vbb_cmd_map, "a picture of a guest's memory, free against used" },
	{ "ctl", vbb_cmd_ctl, "a device that runs, asked through its QMP socket" },
#ifdef VBB_HAVE_DEVICE
	{ "device", vbb_cmd_device, "a balloon device that speaks vhost-user" },
#endif
};

static void print_help(FILE *f)
{
	size_t i;

	fputs("Usage: vbb COMMAND [OPTION]... [FILE]\n"
	      "Encode, decode and show virtio-balloon page messages.\n\n", f);
	for (i = 0; i < ARRAY_SIZE(cmds); i++)
		fprintf(f, "  %-8s %s\n", cmds[i].name, cmds[i].what);
	fputs("\n'vbb COMMAND --help' says more, and vbb(1) says all.\n"
	      "\n"
	      "  --help     print this and exit\n"
	      "  --version  print the version and exit\n"
	      "\n"
	      "Exit status: 0; 64 usage; 65 malformed input; 66 cannot read; 74 cannot write;\n"
	      "others by vbb(1).\n",
	      f);
}

static int run(int argc, char **argv)
{
	static char argv0[32];
	size_t i;

	if (argc < 2) {
		print_help(stderr);
		return VBB_EXIT_USAGE;
	}
	if (!strcmp(argv[1], "--help")) {
		print_help(stdout);
		return 0;
	}
	if (!strcmp(argv[1], "--version")) {
		puts("vbb " VBB_VERSION);
		return 0;
	}
	for (i = 0; i < ARRAY_SIZE(cmds); i++) {
		if (!strcmp(argv[1], cmds[i].name)) {
			/* what getopt_long() and vbb_usage() begin with */
			snprintf(argv0, sizeof(argv0), "vbb %s", cmds[i].name);
			argv[1] = argv0;
			return cmds[i].run(argc - 1, argv + 1);
		}
	}
	return vbb_usage("vbb", "%s: no such command", argv[1]);
}

int main(int argc, char **argv)
{
	int status = run(argc, argv);
	int err = vbb_out_close(stdout, "<stdout>");

	/* what could not be written matters more than what was wrong with the input before it */
	return err ? err : status;
}
