// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause
/* Lines 'PFN COUNT', as vbb decode writes them. */
#include "vbb.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define NOT_NUMBERS "NUMBER: not two numbers, decimal or 0x and hexadecimal"

/* A number, and the blanks before it */
static const char *parse_field(const char **s, vbb_u64 *v)
{
	*s += strspn(*s, " \t");
	switch (vbb_num_parse(s, v)) {
	case 0:
		return NULL;
	case -ERANGE:
		return "OVERFLOW: a number of 2^64 or more";
	default:
		return NOT_NUMBERS;
	}
}

/* One line, without its comment. Return: NULL, or what is wrong; a blank line leaves *r empty */
static const char *parse_line(const char *s, struct vbb_range *r, vbb_u64 end_pfn)
{
	const char *wrong;

	r->nr_pages = 0;
	if (!s[strspn(s, " \t\r\n")])
		return NULL;
	wrong = parse_field(&s, &r->pfn);
	if (!wrong && !strspn(s, " \t"))
		wrong = NOT_NUMBERS;
	if (!wrong)
		wrong = parse_field(&s, &r->nr_pages);
	if (!wrong && s[strspn(s, " \t\r\n")])
		wrong = "TRAILING: something follows the count";
	if (!wrong && !r->nr_pages)
		wrong = "COUNT: the count is 0";
	if (!wrong && (r->pfn >= end_pfn || r->nr_pages > end_pfn - r->pfn))
		wrong = "PFN_RANGE: a page past the last that the format or the page size allows";
	return wrong;
}

static int read_line(struct vbb_lines *l, char *line, size_t len, const char **wrong)
{
	static const char ram_mark[] = "# ram ";
	struct vbb_runs *to = &l->pages;
	struct vbb_range r;

	*wrong = memchr(line, '\0', len) ? "NUMBER: a byte 0" : NULL;
	if (*wrong)
		return 0;
	if (l->with_ram && !strncmp(line, ram_mark, strlen(ram_mark))) {
		to = &l->ram;
		line += strlen(ram_mark);
	}
	line[strcspn(line, "#")] = '\0';
	*wrong = parse_line(line, &r, l->end_pfn);
	return *wrong || !r.nr_pages ? 0 : vbb_runs_add(to, &r);
}

int vbb_lines_take(struct vbb_lines *l, struct vbb_in *in)
{
	const char *wrong = NULL;
	vbb_u64 line_nr = 0;
	char *line = NULL;
	int err, status = 0;
	size_t room = 0;
	ssize_t len;

	while (!status && (len = getline(&line, &room, in->f)) > 0) {
		line_nr++;
		status = read_line(l, line, (size_t)len, &wrong);
		if (wrong) {
			vbb_warn("%s: line %" PRIu64 ": %s", in->name, line_nr, wrong);
			status = VBB_EXIT_DATA;
		}
	}
	free(line);
	err = vbb_in_close(in);
	vbb_runs_sort(&l->pages);
	vbb_runs_sort(&l->ram);
	return err ? err : status;
}

int vbb_lines_read(struct vbb_lines *l, int argc, char **argv, int optind)
{
	struct vbb_in in;
	int status = vbb_in_open(&in, argc, argv, optind);

	return status ? status : vbb_lines_take(l, &in);
}

void vbb_lines_fini(struct vbb_lines *l)
{
	vbb_runs_fini(&l->pages);
	vbb_runs_fini(&l->ram);
}
