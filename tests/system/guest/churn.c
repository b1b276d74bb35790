// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause
/*
 * Processes that write, check, free and use again memory of each kind that a guest has, until they
 * are told to settle: then each looks at all that it holds. Every page of it says which it is and how
 * often it was written, and has a checksum; what it has to say is in a table of its process.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

#include "guest.h"

/* At a time: mostly few pages, but also more than the kernel keeps at hand for each CPU */
#define RUN_BITS	12
#define RUN_PAGES	(1u << RUN_BITS)
#define HUGE_PAGES	512u
#define SLAB_ITEMS	8192u
#define SLAB_FILES	64u
#define NAME_LEN	24u
#define FILE_PATH	"/mem/churn"

/* Words of a page: the number, the generation, a pattern made of these, and the sum of it all */
#define NUMBER		0
#define GENERATION	1
#define PATTERN		2

static uint64_t sum(const uint64_t *words, size_t nr_words)
{
	uint64_t x = 0;

	for (size_t i = 0; i + 1 < nr_words; i++)
		x += words[i];
	return mix(x);
}

static void make_page(uint64_t *words, size_t nr_words, uint64_t number, uint64_t generation)
{
	uint64_t pattern = mix(number ^ mix(generation));

	words[NUMBER] = number;
	words[GENERATION] = generation;
	for (size_t i = PATTERN; i + 1 < nr_words; i++)
		words[i] = pattern;
	words[nr_words - 1] = sum(words, nr_words);
}

static bool is_page(const uint64_t *words, size_t nr_words, uint64_t number, uint64_t generation)
{
	return words[NUMBER] == number && words[GENERATION] == generation &&
	       words[PATTERN] == mix(number ^ mix(generation)) &&
	       words[nr_words - 1] == sum(words, nr_words);
}

/* What a worker tells the first process */
struct told {
	atomic_bool ready, failed;
	atomic_ullong written, checked, bad;
	char text[160];			/* the first thing that is wrong */
};

struct shared {
	atomic_bool stop;
	struct told told[8];
};

struct worker;

/* A kind of memory, in items that are pages or smaller. -1 is an error, and errno. */
struct kind {
	const char *name;
	unsigned int run;		/* so many items at a time, aligned; 0: less than RUN_PAGES anywhere */
	bool persistent;		/* what was dropped can still be read */
	int (*open)(struct worker *w);
	int (*put)(struct worker *w, uint64_t nr, const void *buf);
	const void *(*get)(struct worker *w, uint64_t nr);
	int (*drop)(struct worker *w, uint64_t first, uint64_t count);
};

struct worker {
	const struct kind *kind;
	struct told *told;
	pid_t pid;
	uint64_t nr;			/* items */
	uint64_t per_s;			/* items that are written in a second; 0: as many as can be */
	uint64_t random;
	uint32_t *generations;		/* of each item; 0: it is not there */
	const char *path;
	char *map;
	int fds[SLAB_FILES];
	uint64_t buf[PAGE_LEN / 8];
};

static struct shared *shared;
static struct worker workers[8];
static size_t nr_workers;

/* Anonymous memory */

static int anon_open(struct worker *w)
{
	const size_t run_len = HUGE_PAGES * PAGE_LEN;

	w->map = mmap(NULL, w->nr * PAGE_LEN + run_len, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (w->map == MAP_FAILED)
		return -1;
	/* a huge page is one run, and goes with it */
	w->map += -(uintptr_t)w->map % run_len;
	madvise(w->map, w->nr * PAGE_LEN, w->kind->run ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
	return 0;
}

static int anon_put(struct worker *w, uint64_t nr, const void *buf)
{
	memcpy(w->map + nr * PAGE_LEN, buf, PAGE_LEN);
	return 0;
}

static const void *anon_get(struct worker *w, uint64_t nr)
{
	return w->map + nr * PAGE_LEN;
}

static int anon_drop(struct worker *w, uint64_t first, uint64_t count)
{
	return madvise(w->map + first * PAGE_LEN, count * PAGE_LEN, MADV_DONTNEED);
}

/* A file that is nowhere but in memory */

static int file_open(struct worker *w)
{
	w->fds[0] = open(w->path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	return w->fds[0] < 0 ? -1 : 0;
}

static int file_put(struct worker *w, uint64_t nr, const void *buf)
{
	return pwrite(w->fds[0], buf, PAGE_LEN, (off_t)(nr * PAGE_LEN)) == PAGE_LEN ? 0 : -1;
}

static const void *file_get(struct worker *w, uint64_t nr)
{
	return pread(w->fds[0], w->buf, PAGE_LEN, (off_t)(nr * PAGE_LEN)) == PAGE_LEN ? w->buf : NULL;
}

static int file_drop(struct worker *w, uint64_t first, uint64_t count)
{
	return fallocate(w->fds[0], FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
			 (off_t)(first * PAGE_LEN), (off_t)(count * PAGE_LEN));
}

/* The page cache of a block device, which is written back and read again */

static int cache_drop(struct worker *w, uint64_t first, uint64_t count)
{
	off_t offset = (off_t)(first * PAGE_LEN), len = (off_t)(count * PAGE_LEN);

	if (sync_file_range(w->fds[0], offset, len,
			    SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE |
			    SYNC_FILE_RANGE_WAIT_AFTER))
		return -1;
	errno = posix_fadvise(w->fds[0], offset, len, POSIX_FADV_DONTNEED);
	return errno ? -1 : 0;
}

/* Objects of the slab allocator: attributes of files that are nowhere but in memory */

static size_t slab_len(uint64_t nr)
{
	return 64 + nr % 61 * 64;
}

static int slab_open(struct worker *w)
{
	char path[64];

	for (unsigned int i = 0; i < SLAB_FILES; i++) {
		snprintf(path, sizeof(path), "%s%u", w->path, i);
		w->fds[i] = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
		if (w->fds[i] < 0)
			return -1;
	}
	return 0;
}

static int slab_fd(struct worker *w, char name[NAME_LEN], uint64_t nr)
{
	snprintf(name, NAME_LEN, "trusted.%u", (unsigned int)nr / SLAB_FILES);
	return w->fds[nr % SLAB_FILES];
}

static int slab_put(struct worker *w, uint64_t nr, const void *buf)
{
	char name[NAME_LEN];
	int fd = slab_fd(w, name, nr);

	return fsetxattr(fd, name, buf, slab_len(nr), 0);
}

static const void *slab_get(struct worker *w, uint64_t nr)
{
	char name[NAME_LEN];
	int fd = slab_fd(w, name, nr);

	return fgetxattr(fd, name, w->buf, PAGE_LEN) == (ssize_t)slab_len(nr) ? w->buf : NULL;
}

static int slab_drop(struct worker *w, uint64_t first, uint64_t count)
{
	char name[NAME_LEN];

	for (uint64_t nr = first; nr < first + count; nr++) {
		int fd = slab_fd(w, name, nr);

		if (w->generations[nr] && fremovexattr(fd, name))
			return -1;
	}
	return 0;
}

static const struct kind kinds[] = {
	{ "anonymous", 0, false, anon_open, anon_put, anon_get, anon_drop },
	{ "huge", HUGE_PAGES, false, anon_open, anon_put, anon_get, anon_drop },
	{ "file", 0, false, file_open, file_put, file_get, file_drop },
	{ "slab", 0, false, slab_open, slab_put, slab_get, slab_drop },
	{ "cache", 0, true, file_open, file_put, file_get, cache_drop },
};

/* One worker */

__attribute__((format(printf, 2, 3), noreturn))
static void give_up(struct worker *w, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(w->told->text, sizeof(w->told->text), fmt, ap);
	va_end(ap);
	w->told->failed = true;
	_exit(1);
}

static size_t words_of(struct worker *w, uint64_t nr)
{
	return (w->kind->get == slab_get ? slab_len(nr) : PAGE_LEN) / 8;
}

static void check_run(struct worker *w, uint64_t first, uint64_t count)
{
	for (uint64_t nr = first; nr < first + count; nr++) {
		const uint64_t *words;
		uint32_t due = w->generations[nr];

		if (!due)
			continue;
		words = w->kind->get(w, nr);
		if (!words || !is_page(words, words_of(w, nr), nr, due)) {
			if (!w->told->bad++)
				snprintf(w->told->text, sizeof(w->told->text),
					 "%s %llu of generation %u: there is %llu of %llu%s", w->kind->name,
					 (unsigned long long)nr, due,
					 words ? (unsigned long long)words[NUMBER] : 0,
					 words ? (unsigned long long)words[GENERATION] : 0,
					 words ? "" : ", nothing");
		}
		w->told->checked++;
	}
}

static void write_run(struct worker *w, uint64_t first, uint64_t count)
{
	static uint64_t page[PAGE_LEN / 8];

	for (uint64_t nr = first; nr < first + count; nr++) {
		if (!++w->generations[nr])
			w->generations[nr] = 1;
		make_page(page, words_of(w, nr), nr, w->generations[nr]);
		if (w->kind->put(w, nr, page))
			give_up(w, "%s: cannot write: %s", w->kind->name, strerror(errno));
		w->told->written++;
	}
}

static void drop_run(struct worker *w, uint64_t first, uint64_t count)
{
	if (w->kind->drop(w, first, count))
		give_up(w, "%s: cannot drop: %s", w->kind->name, strerror(errno));
	if (!w->kind->persistent)
		memset(w->generations + first, 0, count * sizeof(*w->generations));
}

static uint64_t next_random(struct worker *w)
{
	w->random = mix(w->random);
	return w->random;
}

static uint64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* What makes a process die may be a lost page, too. */
static void died(struct worker *w, int status)
{
	w->told->bad++;
	snprintf(w->told->text, sizeof(w->told->text), "%s: ended with status 0x%x", w->kind->name,
		 (unsigned int)status);
}

/* A child has the parent's pages until it writes to them, and then its own. */
static void breed(struct worker *w, uint64_t first, uint64_t count)
{
	int status;
	pid_t pid = fork();

	if (!pid) {
		check_run(w, first, count);
		write_run(w, first, count);
		check_run(w, first, count);
		_exit(0);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		give_up(w, "%s: fork: %s", w->kind->name, strerror(errno));
	if (w->told->failed)
		_exit(1);
	if (status)
		died(w, status);
}

static void step(struct worker *w)
{
	uint64_t first, count;

	if (w->kind->run) {
		count = w->kind->run;
		first = next_random(w) % (w->nr / count) * count;
	} else {
		count = 1 + next_random(w) % (1u << next_random(w) % RUN_BITS);
		first = next_random(w) % (w->nr - count);
	}
	check_run(w, first, count);
	if (next_random(w) % 2)
		write_run(w, first, count);
	else
		drop_run(w, first, count);
	if (w->map && next_random(w) % 64 == 0)
		breed(w, first, count);
}

static void work(struct worker *w)
{
	unsigned int run = w->kind->run ? w->kind->run : HUGE_PAGES;
	uint64_t begun;

	signal(SIGCHLD, SIG_DFL);
	w->generations = calloc(w->nr, sizeof(*w->generations));
	if (!w->generations || w->kind->open(w))
		give_up(w, "%s: %s", w->kind->name, strerror(errno));
	for (uint64_t first = 0; first + run <= w->nr; first += run)
		if (next_random(w) % 2)
			write_run(w, first, run);
	w->told->ready = true;
	w->told->written = 0;
	begun = now_ms();
	while (!shared->stop) {
		if (w->per_s && w->told->written * 1000 > w->per_s * (now_ms() - begun))
			usleep(1000);
		else
			step(w);
	}
	check_run(w, 0, w->nr);
	_exit(0);
}

/* All of them */

/*
 * Starts to hold and write about nr_mib in a space of twice that, no more than mib_per_s where that is
 * not 0. cache is a block device for a page cache, or NULL for none. Returns when so much is held.
 */
int churn(uint64_t nr_mib, uint64_t mib_per_s, const char *cache)
{
	size_t nr_kinds = sizeof(kinds) / sizeof(*kinds) - !cache;
	uint64_t nr_pages = 2 * nr_mib * CHUNK_PAGES / (nr_kinds - 1);

	if (nr_workers)
		return fail_with("churn: there is one already");
	if (nr_pages < 2 * RUN_PAGES)
		return fail_with("churn: so little is no fun");
	if (!shared)
		shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
			      -1, 0);
	if (shared == MAP_FAILED) {
		shared = NULL;
		return fail("churn");
	}
	memset(shared, 0, sizeof(*shared));
	for (size_t i = 0; i < nr_kinds; i++) {
		struct worker *w = &workers[i];

		*w = (struct worker){ .kind = &kinds[i], .told = &shared->told[i] };
		w->nr = kinds[i].open == slab_open ? SLAB_ITEMS : nr_pages;
		w->per_s = mib_per_s * CHUNK_PAGES / nr_kinds;
		w->random = i + 1;
		w->path = kinds[i].persistent ? cache : FILE_PATH;
		w->pid = fork();
		if (!w->pid)
			work(w);
		if (w->pid < 0)
			return fail("churn");
		nr_workers++;
	}
	for (size_t i = 0; i < nr_workers; i++)
		while (!shared->told[i].ready && !waitpid(workers[i].pid, NULL, WNOHANG))
			usleep(10000);
	return 0;
}

/* So many pages were written and looked at so far, and so many were not what they have to be. */
int tell_churn(void)
{
	unsigned long long written = 0, checked = 0, bad = 0;

	if (!nr_workers)
		return fail_with("there is no churn");
	for (size_t i = 0; i < nr_workers; i++) {
		written += shared->told[i].written;
		checked += shared->told[i].checked;
		bad += shared->told[i].bad;
	}
	say("written=%llu checked=%llu bad=%llu", written, checked, bad);
	for (size_t i = 0; i < nr_workers; i++)
		if (shared->told[i].text[0])
			say("; %s", shared->told[i].text);
	return 0;
}

/* Ends it, and tells the same after everything that is held was looked at. */
int settle(void)
{
	bool failed = false;
	int status;

	if (!nr_workers)
		return fail_with("there is no churn");
	shared->stop = true;
	for (size_t i = 0; i < nr_workers; i++) {
		struct worker *w = &workers[i];

		if (waitpid(w->pid, &status, 0) != w->pid)
			status = -1;
		if (w->told->failed)
			failed = true;
		else if (status)
			died(w, status);
	}
	tell_churn();
	nr_workers = 0;
	unlink(FILE_PATH);
	for (unsigned int i = 0; i < SLAB_FILES; i++) {
		char path[64];

		snprintf(path, sizeof(path), FILE_PATH "%u", i);
		unlink(path);
	}
	return failed ? -1 : 0;
}

/* A page cache that only lies there. The last one who closes a block device takes the cache along. */

static int cache_fd = -1;

int cache_put(const char *path, uint64_t nr_mib)
{
	uint64_t page[PAGE_LEN / 8];

	if (cache_fd < 0)
		cache_fd = open(path, O_RDWR | O_CLOEXEC);
	if (cache_fd < 0)
		return fail(path);
	for (uint64_t nr = 0; nr < nr_mib * CHUNK_PAGES; nr++) {
		make_page(page, PAGE_LEN / 8, nr, 1);
		if (pwrite(cache_fd, page, PAGE_LEN, (off_t)(nr * PAGE_LEN)) != PAGE_LEN)
			return fail(path);
	}
	return fsync(cache_fd) ? fail(path) : 0;
}

int cache_check(uint64_t nr_mib)
{
	uint64_t page[PAGE_LEN / 8];
	uint64_t nr_bad = 0;

	for (uint64_t nr = 0; nr < nr_mib * CHUNK_PAGES; nr++)
		nr_bad += pread(cache_fd, page, PAGE_LEN, (off_t)(nr * PAGE_LEN)) != PAGE_LEN ||
			  !is_page(page, PAGE_LEN / 8, nr, 1);
	say("pages=%llu bad=%llu", (unsigned long long)nr_mib * CHUNK_PAGES, (unsigned long long)nr_bad);
	return 0;
}
