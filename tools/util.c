// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause
#include "vbb.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <string.h>

static void say(const char *fmt, va_list ap)
{
	fputs("vbb: ", stderr);
	vfprintf(stderr, fmt, ap);
	fputc('\n', stderr);
}

void vbb_warn(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	say(fmt, ap);
	va_end(ap);
}

int vbb_usage(const char *cmd, const char *fmt, ...)
{
	va_list ap;

	if (fmt) {
		va_start(ap, fmt);
		say(fmt, ap);
		va_end(ap);
	}
	fprintf(stderr, "Try '%s --help'.\n", cmd);
	return VBB_EXIT_USAGE;
}

/* -1: no digit of that base */
static int digit(char c, unsigned int base)
{
	int v = -1;

	if (c >= '0' && c <= '9')
		v = c - '0';
	else if (base == 16 && c >= 'a' && c <= 'f')
		v = c - 'a' + 10;
	else if (base == 16 && c >= 'A' && c <= 'F')
		v = c - 'A' + 10;
	return v;
}

int vbb_num_parse(const char **s, vbb_u64 *v)
{
	unsigned int base = 10;
	const char *p = *s;
	vbb_u64 sum = 0;
	int err = 0;

	if (p[0] == '0' && (p[1] == 'x' || p[1] == 'X')) {
		base = 16;
		p += 2;
	}
	if (digit(*p, base) < 0)
		return -EINVAL;
	for (; digit(*p, base) >= 0; p++) {
		vbb_u64 add = (vbb_u64)digit(*p, base);

		if (sum > (~(vbb_u64)0 - add) / base)
			err = -ERANGE;
		sum = sum * base + add;
	}
	*s = p;
	*v = sum;
	return err;
}

int vbb_opt_num(const char *cmd, const char *opt, const char *arg, vbb_u64 min, vbb_u64 max,
		vbb_u64 *v)
{
	const char *s = arg;

	if (vbb_num_parse(&s, v) || *s || *v < min || *v > max)
		return vbb_usage(cmd, "--%s %s: not a number from %" PRIu64 " to %" PRIu64, opt,
				 arg, min, max);
	return 0;
}

int vbb_opt_size(const char *cmd, const char *opt, const char *arg, vbb_u64 *len)
{
	static const char units[] = "KMGT";
	const char *s = arg, *unit;
	unsigned int shift = 0;

	if (vbb_num_parse(&s, len))
		return vbb_usage(cmd, "--%s %s: not a size", opt, arg);
	unit = *s ? strchr(units, *s) : NULL;
	if (unit) {
		shift = 10 * (unsigned int)(unit - units + 1);
		s++;
	}
	if (*s || !*len || *len > (~(vbb_u64)0 >> 1) >> shift)
		return vbb_usage(cmd, "--%s %s: not a size", opt, arg);
	*len <<= shift;
	return 0;
}

void vbb_size_text(vbb_u64 nr_pages, vbb_u32 page_shift, char text[24])
{
	static const char units[][4] = { "KiB", "MiB", "GiB", "TiB", "PiB", "EiB" };
	double size = (double)nr_pages * (double)vbb_pow2(page_shift - 10);
	unsigned int unit = 0;
	size_t len;

	for (; size >= 1024 && unit < ARRAY_SIZE(units) - 1; unit++)
		size /= 1024;
	len = (size_t)snprintf(text, 24, "%.2f", size);
	while (text[len - 1] == '0')
		len--;
	if (text[len - 1] == '.')
		len--;
	if (nr_pages)
		snprintf(text + len, 24 - len, " %s", units[unit]);
	else
		strcpy(text, "0");
}

int vbb_opt_dec(const char *cmd, int opt, const char *arg, struct vbb_dec_cfg *cfg)
{
	switch (opt) {
	case VBB_OPT_QUEUE:
		if (!strcmp(arg, "inflate"))
			cfg->queue = VBB_QUEUE_BALLOON;
		else if (!strcmp(arg, "host_request"))
			cfg->queue = VBB_QUEUE_HOST_REQUEST;
		else
			return vbb_usage(cmd, "--queue %s: not inflate or host_request", arg);
		return 0;
	case VBB_OPT_MAX_PFN:
		return vbb_opt_num(cmd, "max-pfn", arg, 1, ~(vbb_u64)0, &cfg->limit_pfn);
	case VBB_OPT_NO_RECORDS:
		cfg->records = false;
		return 0;
	default:
		return vbb_usage(cmd, NULL);
	}
}

int vbb_in_open(struct vbb_in *in, int argc, char **argv, int optind)
{
	if (argc - optind > 1)
		return vbb_usage(argv[0], "more than one FILE");
	if (optind == argc || !strcmp(argv[optind], "-")) {
		in->f = stdin;
		in->name = "<stdin>";
		return 0;
	}
	in->name = argv[optind];
	in->f = fopen(in->name, "rb");
	if (in->f)
		return 0;
	vbb_warn("%s: %s", in->name, strerror(errno));
	return VBB_EXIT_NOINPUT;
}

int vbb_in_close(struct vbb_in *in)
{
	bool failed = ferror(in->f);

	if (failed)
		vbb_warn("%s: cannot read", in->name);
	fclose(in->f);
	return failed ? VBB_EXIT_NOINPUT : 0;
}

int vbb_out_close(FILE *f, const char *name)
{
	bool failed = ferror(f);

	errno = 0;
	if (fclose(f))
		failed = true;
	if (!failed)
		return 0;
	vbb_warn("%s: cannot write%s%s", name, errno ? ": " : "", errno ? strerror(errno) : "");
	return VBB_EXIT_IOERR;
}
