// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause
/* vbb bench: bytes and time of ways to write down pages, on the same pages, by turns. */
#include "bench.h"
#include "pattern.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <json-c/json.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include "../tests/fewest.h"

static const char help[] =
	"Usage: vbb bench [OPTION]...\n"
	"Encode and decode the same pages in several ways, by turns, and print what they\n"
	"take: bytes, and time of the CPU. What comes out is held against what went in.\n"
	"\n"
	"  --ram SIZE    a guest of the patterns has so much memory, at most 16T (16G)\n"
	"  --curve SIZE  idle guests from 1 GiB up to SIZE, in steps of 4, at most 16T (16T)\n"
	"  --reps N      repetitions, 1 to 100 (5)\n"
	"  --case NAME   only this pattern, or 'scan' (all alike), or 'curve' (idle guests)\n"
	"  --json FILE   all figures of all repetitions\n"
	"  --quick       small guests and few repetitions: do all ways work?\n"
	"  --help        print this and exit\n"
	"\n"
	"Ways:\n";

enum { OPT_RAM = 256, OPT_CURVE, OPT_REPS, OPT_CASE, OPT_JSON, OPT_QUICK, OPT_HELP };

static const struct option options[] = {
	{ "ram", required_argument, NULL, OPT_RAM },
	{ "curve", required_argument, NULL, OPT_CURVE },
	{ "reps", required_argument, NULL, OPT_REPS },
	{ "case", required_argument, NULL, OPT_CASE },
	{ "json", required_argument, NULL, OPT_JSON },
	{ "quick", no_argument, NULL, OPT_QUICK },
	{ "help", no_argument, NULL, OPT_HELP },
	{ NULL, 0, NULL, 0 },
};

/* The guests that are tried */
static const struct guest {
	const char *name;
	const char *pattern;	/* NULL: this machine */
	const char *what;
	vbb_u32 order;
	vbb_u32 density;
} guests[] = {
	{ "machine", NULL, "this machine's free pages", 0, 0 },
	{ "full", "all", "every page", 0, 0 },
	{ "idle", "idle", "31 of 32 blocks of 4 MiB, and single pages of the others", 10, 0 },
	{ "fragmented-64", "fragmented", "one page of 64", 6, 0 },
	{ "fragmented-16", "fragmented", "one page of 16", 4, 0 },
	{ "fragmented-2", "fragmented", "one page of 2", 1, 0 },
	{ "random-0.001", "density", "pages at random, 1 of 1000", 0, VBB_DENSITY_ONE / 1000 },
	{ "random-0.01", "density", "pages at random, 1 of 100", 0, VBB_DENSITY_ONE / 100 },
	{ "random-0.1", "density", "pages at random, 1 of 10", 0, VBB_DENSITY_ONE / 10 },
	{ "random-0.5", "density", "pages at random, 1 of 2", 0, VBB_DENSITY_ONE / 2 },
	{ "random-0.9", "density", "pages at random, 9 of 10", 0, VBB_DENSITY_ONE / 10 * 9 },
	{ "2m-blocks", "every-second-block", "every second block of 2 MiB", 9, 0 },
	{ "buddy", "buddy", "blocks of 4 KiB to 4 MiB, half of them", 10, VBB_DENSITY_ONE / 2 },
};

#define MAX_REPS 100

/* What 32-bit frames can name */
#define MAX_PAGES ((vbb_u64)1 << 32)

/* What one way took, nanoseconds; of each repetition */
struct times {
	double encode[MAX_REPS];
	double decode[MAX_REPS];
	double read[MAX_REPS];
};

struct bench {
	vbb_u64 nr_pages;		/* of a guest of the patterns */
	vbb_u64 curve_pages;		/* of the largest idle guest */
	unsigned int nr_reps;
	double least_ns;		/* what is shorter is done so often that it takes so long */
	size_t sample;			/* of so many runs the fewest records are searched: slow */
	const char *only;		/* NULL: all cases */
	bool quick;
	struct json_object *cases;
	struct json_object *scans;
	struct vbb_bench_wire wire;
	struct vbb_runs pages;		/* of the case at hand */
	struct vbb_runs kept;		/* what came out */
	struct times *times;		/* one for each way */
};

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static volatile vbb_u64 not_optimised;

static int by_value(const void *a, const void *b)
{
	const double *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

struct spread {
	double low, median, high;
};

static struct spread spread(const double *v, unsigned int nr)
{
	double sorted[MAX_REPS];
	struct spread s;

	memcpy(sorted, v, nr * sizeof(*v));
	qsort(sorted, nr, sizeof(*sorted), by_value);
	s.low = sorted[0];
	s.median = (sorted[(nr - 1) / 2] + sorted[nr / 2]) / 2;
	s.high = sorted[nr - 1];
	return s;
}

static struct json_object *json_times(const double *v, unsigned int nr)
{
	struct json_object *list = json_object_new_array();
	unsigned int i;

	for (i = 0; i < nr; i++)
		json_object_array_add(list, json_object_new_double(v[i]));
	return list;
}

static void json_u64(struct json_object *o, const char *key, vbb_u64 v)
{
	json_object_object_add(o, key, json_object_new_uint64(v));
}

static void json_str(struct json_object *o, const char *key, const char *s)
{
	json_object_object_add(o, key, json_object_new_string(s));
}

/* What does not change from one repetition to the next */
struct figures {
	vbb_u64 len;		/* bytes of all messages */
	vbb_u64 nr_msgs;
	vbb_u64 nr_runs;	/* that came out */
	vbb_u64 mem;		/* bytes of memory in use, the message's included */
};

/*
 * All of a set, message by message: encode one, decode it. What takes less than least is done
 * often; times receives what once takes.
 */
static int pass(struct bench *b, const struct vbb_bench_way *way, struct vbb_runs *keep,
		unsigned int nr_times, unsigned int rep, struct figures *f, struct times *times)
{
	struct vbb_bench_set set = { .run = b->pages.run, .nr = b->pages.nr };
	struct vbb_bench_out out = { .keep = keep };
	double encode = 0, decode = 0, plain = 0;
	vbb_u64 sum = 0;

	memset(f, 0, sizeof(*f));
	b->wire.mem = 0;
	for (;;) {
		struct vbb_bench_set from = set;
		double t0 = now(), t1, t2, t3;
		unsigned int i;
		size_t len = 0;

		for (i = 0; i < nr_times; i++) {
			set = from;
			len = way->encode(&b->wire, &set);
		}
		t1 = now();
		encode += t1 - t0;
		if (!len)
			break;
		for (i = 0; i < nr_times; i++)
			out.status |= way->decode(&b->wire, len, &out);
		t2 = now();
		for (i = 0; i < nr_times; i++)
			sum |= vbb_bench_read(b->wire.buf, len);
		t3 = now();
		decode += t2 - t1;
		plain += t3 - t2;
		f->len += len;
		f->nr_msgs++;
		if (out.status)
			break;
	}
	not_optimised = sum;
	f->nr_runs = out.nr_runs / nr_times;
	f->mem = b->wire.mem;
	times->encode[rep] = encode / nr_times;
	times->decode[rep] = decode / nr_times;
	times->read[rep] = plain / nr_times;
	if (!out.status && !vbb_bench_next(&set))
		return 0;
	vbb_warn("bench: %s: does not read what it wrote, or no memory", way->name);
	return VBB_EXIT_SOFTWARE;
}

static int compare(struct bench *b, const struct vbb_bench_way *way)
{
	const struct vbb_runs *in = &b->pages, *out = &b->kept;

	vbb_runs_sort(&b->kept);
	if (in->nr == out->nr &&
	    (!in->nr || !memcmp(in->run, out->run, in->nr * sizeof(in->run[0]))))
		return 0;
	vbb_warn("bench: %s: what comes out is not what went in", way->name);
	return VBB_EXIT_SOFTWARE;
}

/* Of the first runs: the shorter of a bitmap and the fewest records, and what the plan takes */
static void sample_size(struct bench *b, struct json_object *o)
{
	const size_t nr = b->pages.nr < b->sample ? b->pages.nr : b->sample;
	struct vbb_bench_set set = { .run = b->pages.run, .nr = nr };
	size_t mem, len;
	double begin = now(), fewest_ns, plan_ns;
	vbb_u64 nr_words = fewest_words(b->pages.run, nr, &mem);
	vbb_u64 first = b->pages.run[0].pfn / 64;
	vbb_u64 bitmap = (b->pages.run[nr - 1].pfn + b->pages.run[nr - 1].nr_pages + 63) / 64 -
			 first;
	vbb_u64 best = nr_words < bitmap ? nr_words : bitmap;

	fewest_ns = now() - begin;
	begin = now();
	len = vbb_bench_ways[0].encode(&b->wire, &set);
	plan_ns = now() - begin;
	json_u64(o, "sample_runs", nr);
	json_u64(o, "sample_len", len);
	json_u64(o, "sample_least_len", VBB_HDR_LEN + 8 * best);
	json_object_object_add(o, "sample_ns", json_object_new_double(plan_ns));
	json_object_object_add(o, "sample_least_ns", json_object_new_double(fewest_ns));
	json_u64(o, "sample_least_memory", mem);
	printf("  plan of the first %zu runs: %zu bytes; bitmap or least records: %" PRIu64 "\n",
	       nr, len, (vbb_u64)(VBB_HDR_LEN + 8 * best));
}

static void print_way(const struct bench *b, const struct vbb_bench_way *way,
		      const struct figures *f, const struct times *plan, const struct times *t,
		      unsigned int nr_reps)
{
	double both[MAX_REPS], ratio[MAX_REPS], runs = (double)b->pages.nr;
	struct spread e, d, s, q;
	unsigned int i;

	for (i = 0; i < nr_reps; i++) {
		both[i] = t->encode[i] + t->decode[i];
		ratio[i] = both[i] / (plan->encode[i] + plan->decode[i]);
	}
	e = spread(t->encode, nr_reps);
	d = spread(t->decode, nr_reps);
	s = spread(both, nr_reps);
	q = spread(ratio, nr_reps);
	printf("  %-13s %11" PRIu64 " %9.2f %9.2f %10.2f  %9.2f to %-9.2f %8.2f  %.2f to %.2f\n",
	       way->name, f->len, e.median / runs, d.median / runs, s.median / 1e3, s.low / 1e3,
	       s.high / 1e3, q.median, q.low, q.high);
}

static int run_case(struct bench *b, const char *name, const char *what, vbb_u64 nr_pages,
		    unsigned int nr_reps)
{
	struct json_object *o, *ways;
	struct figures f[VBB_BENCH_MAX_WAYS];
	unsigned int nr_times[VBB_BENCH_MAX_WAYS], rep;
	vbb_u64 nr_free = 0;
	char size[24];
	size_t i;
	int err;

	for (i = 0; i < b->pages.nr; i++)
		nr_free += b->pages.run[i].nr_pages;
	vbb_size_text(nr_pages, VIRTIO_BALLOON_PAGE_SHIFT_MIN, size);
	printf("\n%s, %s: %s\n", name, size, what);
	printf("  %" PRIu64 " pages are free, in %zu runs\n", nr_free, b->pages.nr);
	for (i = 0; i < vbb_bench_nr_ways; i++) {
		double once;

		vbb_runs_clear(&b->kept);
		err = pass(b, &vbb_bench_ways[i], &b->kept, 1, 0, &f[i], &b->times[i]);
		if (!err)
			err = compare(b, &vbb_bench_ways[i]);
		if (err)
			return err;
		once = b->times[i].encode[0];
		if (b->times[i].decode[0] < once)
			once = b->times[i].decode[0];
		nr_times[i] = once < b->least_ns ? 1 + (unsigned int)(b->least_ns / (once + 1)) : 1;
		/* clocks are looked at for each message, so many messages are long enough */
		if (f[i].nr_msgs > 4)
			nr_times[i] = 1;
	}
	for (rep = 0; rep < nr_reps; rep++) {
		for (i = 0; i < vbb_bench_nr_ways; i++) {
			err = pass(b, &vbb_bench_ways[i], NULL, nr_times[i], rep, &f[i],
				   &b->times[i]);
			if (err)
				return err;
		}
	}
	o = json_object_new_object();
	ways = json_object_new_array();
	json_str(o, "name", name);
	json_str(o, "what", what);
	json_u64(o, "pages", nr_pages);
	json_u64(o, "free_pages", nr_free);
	json_u64(o, "runs", b->pages.nr);
	sample_size(b, o);
	printf("  %-13s %11s %9s %9s %10s  %-22s %8s  %s\n", "way", "bytes", "enc ns", "dec ns",
	       "both us", "range", "by plan's", "range");
	for (i = 0; i < vbb_bench_nr_ways; i++) {
		struct json_object *w = json_object_new_object();

		print_way(b, &vbb_bench_ways[i], &f[i], &b->times[0], &b->times[i], nr_reps);
		json_str(w, "name", vbb_bench_ways[i].name);
		json_u64(w, "bytes", f[i].len);
		json_u64(w, "messages", f[i].nr_msgs);
		json_u64(w, "runs", f[i].nr_runs);
		json_u64(w, "memory", f[i].mem);
		json_object_object_add(w, "encode_ns", json_times(b->times[i].encode, nr_reps));
		json_object_object_add(w, "decode_ns", json_times(b->times[i].decode, nr_reps));
		json_object_object_add(w, "read_ns", json_times(b->times[i].read, nr_reps));
		json_object_array_add(ways, w);
	}
	json_object_object_add(o, "ways", ways);
	json_object_array_add(b->cases, o);
	fflush(stdout);
	return 0;
}

/* Messages of empty or full bitmaps, as long as can be, against a plain read of them */
static int scan(struct bench *b, const char *name, vbb_u8 fill, size_t nr_msgs, size_t nr_rounds)
{
	const size_t len = VBB_BENCH_LEN_MAX, nr = nr_msgs * nr_rounds;
	const double total = (double)nr * (double)VIRTIO_BALLOON_BMAP_LEN_MAX;
	const vbb_u64 nr_bits = 8 * VIRTIO_BALLOON_BMAP_LEN_MAX;
	double decode[MAX_REPS], plain[MAX_REPS], ratio[MAX_REPS];
	struct vbb_bench_out out;
	struct json_object *o;
	struct spread d, r, q;
	unsigned int rep;
	vbb_u64 sum = 0;
	vbb_u8 *buf;
	size_t i;

	buf = malloc(nr_msgs * len);
	if (!buf) {
		vbb_warn("no memory");
		return VBB_EXIT_OSERR;
	}
	for (i = 0; i < nr_msgs; i++) {
		struct vbb_seg seg = { .base = buf + i * len, .len = len };
		const struct vbb_hdr h = { .page_shift = VIRTIO_BALLOON_PAGE_SHIFT_MIN,
					   .start_pfn = i * nr_bits,
					   .bmap_len = VIRTIO_BALLOON_BMAP_LEN_MAX };
		struct vbb_cur cur;

		vbb_cur_init(&cur, &seg, 1);
		vbb_hdr_store(&h, &cur);
		memset(buf + i * len + VBB_HDR_LEN, fill, VIRTIO_BALLOON_BMAP_LEN_MAX);
	}
	for (rep = 0; rep < b->nr_reps; rep++) {
		double t0 = now(), t1, t2;

		memset(&out, 0, sizeof(out));
		for (i = 0; i < nr; i++)
			out.status |= vbb_bench_decode(&b->wire.dec, buf + i % nr_msgs * len, len,
						       &out);
		t1 = now();
		for (i = 0; i < nr; i++)
			sum |= vbb_bench_read(buf + i % nr_msgs * len, len);
		t2 = now();
		decode[rep] = t1 - t0;
		plain[rep] = t2 - t1;
		ratio[rep] = (t2 - t1) / (t1 - t0);
	}
	free(buf);
	not_optimised = sum;
	if (out.status || out.nr_pages != (fill ? nr * nr_bits : 0)) {
		vbb_warn("bench: %s: not the pages that the bitmaps have", name);
		return VBB_EXIT_SOFTWARE;
	}
	d = spread(decode, b->nr_reps);
	r = spread(plain, b->nr_reps);
	q = spread(ratio, b->nr_reps);
	printf("  %-19s %8.2f %8.2f  %5.2f  %.2f to %.2f\n", name, total / d.median,
	       total / r.median, q.median, q.low, q.high);
	o = json_object_new_object();
	json_str(o, "name", name);
	json_object_object_add(o, "bytes", json_object_new_double(total));
	json_object_object_add(o, "decode_ns", json_times(decode, b->nr_reps));
	json_object_object_add(o, "read_ns", json_times(plain, b->nr_reps));
	json_object_array_add(b->scans, o);
	return 0;
}

static bool wanted(const struct bench *b, const char *name)
{
	return !b->only || !strcmp(b->only, name);
}

static bool known_case(const char *name)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(guests); i++) {
		if (!strcmp(guests[i].name, name))
			return true;
	}
	return !strcmp(name, "scan") || !strcmp(name, "curve");
}

static int run_scans(struct bench *b)
{
	/* more than any cache has; and what stays in one */
	const size_t many = b->quick ? 4 : 256;
	int err;

	if (!wanted(b, "scan"))
		return 0;
	printf("\nbitmaps of 1 MiB, all bits alike; GB/s: decoded, read; the first by the other\n");
	err = scan(b, "empty, from memory", 0, many, 1);
	if (!err)
		err = scan(b, "full, from memory", 0xff, many, 1);
	if (!err)
		err = scan(b, "empty, from cache", 0, 1, many);
	if (!err)
		err = scan(b, "full, from cache", 0xff, 1, many);
	return err;
}

static int keep_run(void *ctx, const struct vbb_range *r)
{
	return vbb_runs_add(ctx, r);
}

/* The pages of a guest. Return: 0; -errno where this machine does not tell; or it was said */
static int make_pages(struct bench *b, const struct guest *guest, vbb_u64 nr_pages)
{
	struct vbb_gen g = { .nr_pages = nr_pages, .order = guest->order, .seed = 1,
			     .density = guest->density, .emit = keep_run, .ctx = &b->pages };

	vbb_runs_clear(&b->pages);
	if (!guest->pattern)
		return vbb_gen_kpageflags(&g);
	return vbb_gen_pattern(&g, vbb_pattern_find(guest->pattern));
}

static int run_guests(struct bench *b)
{
	size_t i;
	int err;

	for (i = 0; i < ARRAY_SIZE(guests); i++) {
		const struct guest *guest = &guests[i];
		vbb_u64 nr_pages = b->nr_pages;

		if (!wanted(b, guest->name))
			continue;
		err = make_pages(b, guest, nr_pages);
		if (!err && !guest->pattern && b->pages.nr) {
			const struct vbb_range *last;

			if (b->quick && b->pages.nr > 4096)
				b->pages.nr = 4096;
			last = &b->pages.run[b->pages.nr - 1];
			nr_pages = last->pfn + last->nr_pages;
		}
		if (err < 0 || (!err && !b->pages.nr)) {
			printf("SKIP %s: %s: %s\n", guest->name, VBB_KPAGEFLAGS,
			       err ? strerror(-err) : "no page is free");
			continue;
		}
		if (!err)
			err = run_case(b, guest->name, guest->what, nr_pages, b->nr_reps);
		if (err)
			return err;
	}
	return 0;
}

/* Idle guests, each four times as large as the one before */
static int run_curve(struct bench *b)
{
	const struct guest *idle = &guests[2];
	vbb_u64 nr_pages;
	int err = 0;

	if (!wanted(b, "curve"))
		return 0;
	for (nr_pages = (vbb_u64)1 << (b->quick ? 12 : 18); !err && nr_pages <= b->curve_pages;
	     nr_pages *= 4) {
		err = make_pages(b, idle, nr_pages);
		/* what takes long varies less */
		if (!err)
			err = run_case(b, "curve", idle->what, nr_pages,
				       nr_pages >> 26 > 1 && b->nr_reps > 3 ? 3 : b->nr_reps);
	}
	return err;
}

/* A line of a file of /proc, behind its first colon */
static void proc_line(const char *path, const char *head, char *text, size_t room)
{
	FILE *f = fopen(path, "r");
	char line[256];

	snprintf(text, room, "unknown");
	while (f && fgets(line, sizeof(line), f)) {
		if (!strncmp(line, head, strlen(head)) && strchr(line, ':')) {
			const char *s = strchr(line, ':') + 1;

			s += strspn(s, " \t");
			snprintf(text, room, "%.*s", (int)strcspn(s, "\n"), s);
			break;
		}
	}
	if (f)
		fclose(f);
}

#ifdef __VERSION__
#define COMPILER __VERSION__
#else
#define COMPILER "unknown"
#endif

static struct json_object *machine(void)
{
	struct json_object *o = json_object_new_object();
	char cpu[128], mem[128], date[32];
	time_t t = time(NULL);
	struct utsname u;

	proc_line("/proc/cpuinfo", "model name", cpu, sizeof(cpu));
	proc_line("/proc/meminfo", "MemTotal", mem, sizeof(mem));
	uname(&u);
	strftime(date, sizeof(date), "%Y-%m-%d", gmtime(&t));
	json_str(o, "cpu", cpu);
	json_object_object_add(o, "cpus", json_object_new_int64(sysconf(_SC_NPROCESSORS_ONLN)));
	json_str(o, "memory", mem);
	json_str(o, "kernel", u.release);
	json_str(o, "arch", u.machine);
	json_str(o, "compiler", COMPILER);
	json_str(o, "version", VBB_VERSION);
	json_str(o, "date", date);
	printf("%s, %ld CPUs, %s; Linux %s %s; compiler %s; vbb %s; %s\n", cpu,
	       sysconf(_SC_NPROCESSORS_ONLN), mem, u.release, u.machine, COMPILER, VBB_VERSION,
	       date);
	return o;
}

static int run_all(struct bench *b)
{
	int err;

#ifndef VBB_HAVE_ROARING
	printf("SKIP CRoaring: vbb was built without libroaring\n");
#endif
	err = run_scans(b);
	if (!err)
		err = run_guests(b);
	if (!err)
		err = run_curve(b);
	return err;
}

static int run(struct bench *b, const char *path)
{
	struct json_object *o = json_object_new_object();
	int err = 0;

	b->cases = json_object_new_array();
	b->scans = json_object_new_array();
	json_object_object_add(o, "machine", machine());
	json_object_object_add(o, "reps", json_object_new_int((int)b->nr_reps));
	json_object_object_add(o, "quick", json_object_new_boolean(b->quick));
	json_object_object_add(o, "scans", b->scans);
	json_object_object_add(o, "cases", b->cases);
	b->wire.room = VBB_BENCH_LEN_MAX;
	b->wire.buf = malloc(b->wire.room);
	b->times = calloc(vbb_bench_nr_ways, sizeof(*b->times));
	if (b->wire.buf && b->times) {
		err = run_all(b);
	} else {
		vbb_warn("no memory");
		err = VBB_EXIT_OSERR;
	}
	if (!err && path && json_object_to_file_ext(path, o, JSON_C_TO_STRING_PRETTY)) {
		vbb_warn("%s: cannot write", path);
		err = VBB_EXIT_IOERR;
	}
	free(b->times);
	free(b->wire.buf);
	vbb_runs_fini(&b->pages);
	vbb_runs_fini(&b->kept);
	json_object_put(o);
	return err;
}

static void print_help(void)
{
	size_t i;

	fputs(help, stdout);
	for (i = 0; i < vbb_bench_nr_ways; i++)
		printf("  %-13s %s\n", vbb_bench_ways[i].name, vbb_bench_ways[i].what);
	fputs("\nPatterns:\n", stdout);
	for (i = 0; i < ARRAY_SIZE(guests); i++)
		printf("  %-13s %s\n", guests[i].name, guests[i].what);
}

int vbb_cmd_bench(int argc, char **argv)
{
	vbb_u64 ram = 0, curve = 0, reps = 0;
	const char *path = NULL;
	static struct bench b;
	int opt, err = 0;

	while ((opt = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (opt) {
		case OPT_RAM:
			err = vbb_opt_size(argv[0], "ram", optarg, &ram);
			break;
		case OPT_CURVE:
			err = vbb_opt_size(argv[0], "curve", optarg, &curve);
			break;
		case OPT_REPS:
			err = vbb_opt_num(argv[0], "reps", optarg, 1, MAX_REPS, &reps);
			break;
		case OPT_CASE:
			b.only = optarg;
			if (!known_case(optarg))
				return vbb_usage(argv[0], "--case %s: no such case", optarg);
			break;
		case OPT_JSON:
			path = optarg;
			break;
		case OPT_QUICK:
			b.quick = true;
			break;
		case OPT_HELP:
			print_help();
			return 0;
		default:
			return vbb_usage(argv[0], NULL);
		}
		if (err)
			return err;
	}
	if (optind < argc)
		return vbb_usage(argv[0], "%s: not an option", argv[optind]);
	b.nr_pages = ram ? ram >> VIRTIO_BALLOON_PAGE_SHIFT_MIN :
			   (vbb_u64)1 << (b.quick ? 14 : 22);
	b.curve_pages = curve ? curve >> VIRTIO_BALLOON_PAGE_SHIFT_MIN :
				(vbb_u64)1 << (b.quick ? 16 : 32);
	if (!b.nr_pages || b.nr_pages > MAX_PAGES || b.curve_pages > MAX_PAGES)
		return vbb_usage(argv[0], "--ram and --curve go from 4K to 16T");
	b.nr_reps = reps ? (unsigned int)reps : b.quick ? 2 : 5;
	b.sample = b.quick ? 64 : 512;
	b.least_ns = b.quick ? 1e5 : 5e6;
	return run(&b, path);
}
