// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause
/*
 * The first process of the test guest. It reads commands from the terminal that the kernel command
 * line names (vbb_tty=), "ID COMMAND ARGUMENTS", and answers each with one line, "ID ok TEXT" or
 * "ID err TEXT"; in TEXT \\, \n and \xHH stand for what a line cannot hold.
 *
 * Test memory lives in tmpfs files that are read and written but hardly ever mapped: a mapped page
 * costs a fault through ptrace and, where its neighbours are elsewhere, a mapping of the host.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include "guest.h"

#define WINDOW_PAGES	4096u
#define PIPE_PAGES	1024u
#define MAX_PIPES	448u
#define REPLY_LEN	(1u << 20)
/* Left to the kernel by whatever takes all memory. */
#define RESERVE_LEN	(24ull << 20)

#define HELD_PATH	"/mem/held"
#define FILL_PATH	"/mem/fill"

static char reply[REPLY_LEN];
static size_t reply_len;
static uint64_t chunk[CHUNK_LEN / 8];
static uint64_t expected[CHUNK_LEN / 8];
static uint64_t held_seed;
static int pipes[MAX_PIPES][2];
static size_t nr_pipes;
static int occupied = -1;
static pid_t keeper;
static char *kept;
static uint64_t kept_len;

void say(const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(reply + reply_len, sizeof(reply) - reply_len, fmt, ap);
	va_end(ap);
	if (n > 0)
		reply_len += (size_t)n < sizeof(reply) - reply_len ? (size_t)n : 0;
}

int fail(const char *what)
{
	reply_len = 0;
	say("%s: %s", what, strerror(errno));
	return -1;
}

int fail_with(const char *why)
{
	reply_len = 0;
	say("%s", why);
	return -1;
}

static void answer(unsigned long id, int rc)
{
	printf("%lu %s ", id, rc ? "err" : "ok");
	for (size_t i = 0; i < reply_len; i++) {
		unsigned char c = (unsigned char)reply[i];

		if (c == '\\')
			fputs("\\\\", stdout);
		else if (c == '\n')
			fputs("\\n", stdout);
		else if (c < 0x20 || c > 0x7e)
			printf("\\x%02x", c);
		else
			putchar(c);
	}
	putchar('\n');
	fflush(stdout);
}

static int read_file(const char *path)
{
	ssize_t n;
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return fail(path);
	while ((n = read(fd, reply + reply_len, sizeof(reply) - reply_len)) > 0)
		reply_len += (size_t)n;
	close(fd);
	return n < 0 ? fail(path) : 0;
}

static int write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		return fail(path);
	n = write(fd, text, strlen(text));
	close(fd);
	return n < 0 ? fail(path) : 0;
}

/*
 * Like write_file(), but the nth allocation that the kernel makes for the write itself fails. Says
 * whether there were so many, and what the write returned.
 */
static int write_failing(const char *path, const char *nth, const char *text)
{
	char left[24] = "";
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	int fail_nth = open("/proc/thread-self/fail-nth", O_RDWR | O_CLOEXEC);
	int err = 0;
	int rc = 0;

	if (fd < 0 || fail_nth < 0 || write(fail_nth, nth, strlen(nth)) < 0) {
		rc = fail("fail-nth");
	} else {
		err = write(fd, text, strlen(text)) < 0 ? errno : 0;
		if (pread(fail_nth, left, sizeof(left) - 1, 0) < 0 || write(fail_nth, "0", 1) < 0)
			rc = fail("fail-nth");
		else
			say("failed=%d error=%d", strtoul(left, NULL, 10) == 0, err);
	}
	close(fail_nth);
	close(fd);
	return rc;
}

/* Bytes of free memory, without a fork and without memory of its own. */
static uint64_t free_len(void)
{
	char text[4096];
	const char *p;
	ssize_t n;
	int fd = open("/proc/vmstat", O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return 0;
	n = read(fd, text, sizeof(text) - 1);
	close(fd);
	text[n > 0 ? n : 0] = '\0';
	p = strstr(text, "nr_free_pages ");
	return p ? strtoull(p + strlen("nr_free_pages "), NULL, 10) * PAGE_LEN : 0;
}

uint64_t mix(uint64_t x)
{
	x += 0x9e3779b97f4a7c15ull;
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
	return x ^ (x >> 31);
}

/* Every page of the held data is a random sequence of its own. */
static void make_chunk(uint64_t *words, uint64_t first_page)
{
	for (uint64_t page = 0; page < CHUNK_PAGES; page++) {
		uint64_t x = mix(held_seed ^ mix(first_page + page));

		for (size_t i = 0; i < PAGE_LEN / 8; i++) {
			x ^= x << 13;
			x ^= x >> 7;
			x ^= x << 17;
			*words++ = x;
		}
	}
}

/* One chunk at the file's position, whole or not at all. */
static int write_chunk(int fd, const void *buf)
{
	ssize_t n = write(fd, buf, CHUNK_LEN);

	if (n >= 0 && n != (ssize_t)CHUNK_LEN)
		errno = ENOSPC;
	return n == (ssize_t)CHUNK_LEN ? 0 : -1;
}

static int hold(uint64_t nr_mib, uint64_t seed)
{
	int fd = open(HELD_PATH, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	if (fd < 0)
		return fail(HELD_PATH);
	held_seed = seed;
	for (uint64_t i = 0; i < nr_mib; i++) {
		make_chunk(chunk, i * CHUNK_PAGES);
		if (write_chunk(fd, chunk)) {
			close(fd);
			return fail(HELD_PATH);
		}
	}
	close(fd);
	say("%llu", (unsigned long long)nr_mib * CHUNK_LEN);
	return 0;
}

static int verify(void)
{
	const char *got = (const char *)chunk;
	const char *want = (const char *)expected;
	uint64_t offset = 0;
	uint64_t nr_bad = 0;
	uint64_t first_bad = 0;
	ssize_t n;
	int fd = open(HELD_PATH, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return fail(HELD_PATH);
	while ((n = read(fd, chunk, CHUNK_LEN)) == (ssize_t)CHUNK_LEN) {
		make_chunk(expected, offset / PAGE_LEN);
		for (size_t i = memcmp(got, want, CHUNK_LEN) ? 0 : CHUNK_LEN; i < CHUNK_LEN; i++) {
			if (got[i] == want[i])
				continue;
			if (!nr_bad++)
				first_bad = offset + i;
		}
		offset += CHUNK_LEN;
	}
	close(fd);
	if (n)
		return n < 0 ? fail(HELD_PATH) : fail_with("the held data got shorter");
	say("bytes=%llu bad=%llu first_bad=%llu", (unsigned long long)offset,
	    (unsigned long long)nr_bad, (unsigned long long)first_bad);
	return 0;
}

/*
 * Takes memory by the MiB until there are nr_mib or no more may be taken; the file stays open. What
 * is not to be touched, the kernel takes without a look at it, unless it was told to clear all.
 */
static int take(uint64_t nr_mib, bool touch, uint64_t *taken_mib)
{
	int fd = open(FILL_PATH, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	if (fd < 0)
		return fail(FILL_PATH);
	unlink(FILL_PATH);
	memset(chunk, 0x5a, CHUNK_LEN);
	for (*taken_mib = 0; *taken_mib < nr_mib; ++*taken_mib) {
		if (free_len() < RESERVE_LEN + CHUNK_LEN)
			break;
		if (touch ? write_chunk(fd, chunk) :
			    fallocate(fd, 0, (off_t)(*taken_mib * CHUNK_LEN), CHUNK_LEN)) {
			close(fd);
			return fail(FILL_PATH);
		}
	}
	return fd;
}

static int fill(uint64_t nr_mib)
{
	uint64_t taken_mib;
	int fd = take(nr_mib, true, &taken_mib);

	if (fd < 0)
		return -1;
	close(fd);
	say("%llu", (unsigned long long)taken_mib);
	return 0;
}

/* Takes all memory that may be taken, until vacate(). */
static int occupy(void)
{
	uint64_t taken_mib;

	if (occupied >= 0)
		return fail_with("occupied");
	occupied = take(UINT64_MAX, false, &taken_mib);
	if (occupied < 0)
		return -1;
	say("%llu", (unsigned long long)taken_mib);
	return 0;
}

static int vacate(void)
{
	close(occupied);
	occupied = -1;
	return 0;
}

/* Writes to kept memory without end, and takes and drops as much beside it; tells after a round. */
static void write_kept(int tell)
{
	for (uint64_t round = 1;; round++) {
		for (uint64_t at = 0; at < kept_len; at += PAGE_LEN)
			*(volatile uint64_t *)(kept + at) = round;
		madvise(kept + kept_len, kept_len, MADV_DONTNEED);
		for (uint64_t at = kept_len; at < 2 * kept_len; at += PAGE_LEN)
			*(volatile uint64_t *)(kept + at) = round;
		if (round == 1 && write(tell, "", 1) != 1)
			_exit(1);
	}
}

static int unkeep(void)
{
	if (keeper) {
		kill(keeper, SIGKILL);
		waitpid(keeper, NULL, 0);
	}
	keeper = 0;
	return 0;
}

/* A process that has so much memory and keeps writing to it. */
static int keep(uint64_t nr_mib)
{
	int tell[2];
	ssize_t n;
	char byte;

	unkeep();
	kept_len = nr_mib * CHUNK_LEN;
	kept = mmap(NULL, 2 * kept_len, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (kept == MAP_FAILED || pipe2(tell, O_CLOEXEC))
		return fail("keep");
	keeper = fork();
	if (!keeper)
		write_kept(tell[1]);
	munmap(kept, 2 * kept_len);
	close(tell[1]);
	n = keeper > 0 ? read(tell[0], &byte, 1) : -1;
	close(tell[0]);
	return n == 1 ? 0 : fail("keep");
}

/* The page frames of the kept memory, in runs */
static int tell_kept(void)
{
	char path[40];
	uint64_t entry, pfn, first = 0, count = 0;
	int fd, rc = 0;

	snprintf(path, sizeof(path), "/proc/%d/pagemap", (int)keeper);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return fail(path);
	for (uint64_t at = 0; !rc && at < kept_len; at += PAGE_LEN) {
		if (pread(fd, &entry, 8, (off_t)((uintptr_t)(kept + at) / PAGE_LEN * 8)) != 8)
			rc = fail("pagemap");
		else if (!(entry >> 63))
			rc = fail_with("a kept page is not there");
		pfn = entry & ((1ull << 55) - 1);
		if (count && pfn == first + count) {
			count++;
			continue;
		}
		if (!rc && count)
			say("0x%llx %llu\n", (unsigned long long)first, (unsigned long long)count);
		first = pfn;
		count = 1;
	}
	if (!rc && count)
		say("0x%llx %llu\n", (unsigned long long)first, (unsigned long long)count);
	close(fd);
	return rc;
}

/* A process that takes so much memory, writes to all of it and ends; the kernel may end it first. */
static int use(uint64_t nr_mib)
{
	int status;
	pid_t pid = fork();

	if (!pid) {
		char *map = mmap(NULL, nr_mib * CHUNK_LEN, PROT_READ | PROT_WRITE,
				 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

		if (map == MAP_FAILED)
			_exit(1);
		for (uint64_t i = 0; i < nr_mib * CHUNK_PAGES; i++)
			map[i * PAGE_LEN] = 1;
		_exit(0);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		return fail("use");
	say("killed=%d", WIFSIGNALED(status));
	return WIFEXITED(status) && WEXITSTATUS(status) ? fail_with("use: no address space") : 0;
}

static void unpin(void)
{
	while (nr_pipes) {
		nr_pipes--;
		close(pipes[nr_pipes][0]);
		close(pipes[nr_pipes][1]);
	}
}

/* A page that a pipe refers to can be neither moved nor reclaimed. */
static int pin(const struct iovec *iov, size_t nr_iov, uint64_t *nr_pinned)
{
	size_t pipe = *nr_pinned / PIPE_PAGES;
	ssize_t n;

	while (nr_iov) {
		size_t room = PIPE_PAGES - *nr_pinned % PIPE_PAGES;
		size_t nr = nr_iov < room ? nr_iov : room;

		if (pipe == nr_pipes)
			return fail_with("too few pipes");
		n = vmsplice(pipes[pipe][1], iov, nr, SPLICE_F_NONBLOCK);
		if (n != (ssize_t)(nr * PAGE_LEN))
			return fail("vmsplice");
		*nr_pinned += nr;
		iov += nr;
		nr_iov -= nr;
		pipe++;
	}
	return 0;
}

/* Pins every step'th page of one window of the file; no other is touched. */
static int pin_some(int fd, uint64_t first_page, size_t nr_pages, uint64_t step,
		    uint64_t *nr_pinned)
{
	static struct iovec iov[WINDOW_PAGES];
	size_t nr_iov = 0;
	int rc;
	char *map = mmap(NULL, nr_pages * PAGE_LEN, PROT_READ, MAP_SHARED, fd,
			 (off_t)(first_page * PAGE_LEN));

	if (map == MAP_FAILED)
		return fail("mmap");
	for (size_t i = 0; i < nr_pages; i++)
		if ((first_page + i) % step == 0)
			iov[nr_iov++] = (struct iovec){ map + i * PAGE_LEN, PAGE_LEN };
	rc = pin(iov, nr_iov, nr_pinned);
	munmap(map, nr_pages * PAGE_LEN);
	return rc;
}

/* Pins the pages of one window of the file whose frame numbers are multiples of step. */
static int pin_window(int fd, int pagemap, uint64_t first_page, size_t nr_pages, uint64_t step,
		      uint64_t *nr_pinned)
{
	static uint64_t entries[WINDOW_PAGES];
	static struct iovec iov[WINDOW_PAGES];
	size_t nr_iov = 0;
	int rc = 0;
	char *map = mmap(NULL, nr_pages * PAGE_LEN, PROT_READ, MAP_SHARED | MAP_POPULATE, fd,
			 (off_t)(first_page * PAGE_LEN));

	if (map == MAP_FAILED)
		return fail("mmap");
	if (pread(pagemap, entries, nr_pages * 8, (off_t)((uintptr_t)map / PAGE_LEN * 8)) !=
	    (ssize_t)(nr_pages * 8))
		rc = fail("pagemap");
	for (size_t i = 0; !rc && i < nr_pages; i++) {
		if (!(entries[i] >> 63))
			rc = fail_with("a page was not mapped");
		else if (!((entries[i] & ((1ull << 55) - 1)) % step))
			iov[nr_iov++] = (struct iovec){ map + i * PAGE_LEN, PAGE_LEN };
	}
	if (!rc)
		rc = pin(iov, nr_iov, nr_pinned);
	munmap(map, nr_pages * PAGE_LEN);
	return rc;
}

/*
 * Takes nr_mib, or all memory there is, and gives back all but every step'th frame; or, untouched,
 * every step'th page.
 */
static int fragment(uint64_t step, uint64_t nr_mib, bool touch)
{
	uint64_t taken_mib = 0;
	uint64_t nr_pinned = 0;
	uint64_t nr_pages;
	size_t want;
	int pagemap;
	int fd = -1;
	int rc = 0;

	unpin();
	pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	if (pagemap < 0)
		return fail("/proc/self/pagemap");
	/* A pipe's own memory is many pages in one piece: taken while there are such. */
	want = (size_t)(free_len() / PAGE_LEN / step / PIPE_PAGES + 1);
	for (; !rc && nr_pipes < want; nr_pipes++) {
		if (nr_pipes == MAX_PIPES) {
			rc = fail_with("too many pages to pin");
			break;
		}
		if (pipe2(pipes[nr_pipes], O_CLOEXEC)) {
			rc = fail("pipe2");
			break;
		}
		if (fcntl(pipes[nr_pipes][1], F_SETPIPE_SZ, PIPE_PAGES * PAGE_LEN) < 0)
			rc = fail("F_SETPIPE_SZ");
	}
	if (!rc) {
		fd = take(nr_mib, touch, &taken_mib);
		rc = fd < 0 ? -1 : 0;
	}
	nr_pages = taken_mib * CHUNK_PAGES;
	for (uint64_t page = 0; !rc && page < nr_pages; page += WINDOW_PAGES) {
		uint64_t left = nr_pages - page;
		size_t nr = (size_t)(left < WINDOW_PAGES ? left : WINDOW_PAGES);

		rc = touch ? pin_window(fd, pagemap, page, nr, step, &nr_pinned) :
			     pin_some(fd, page, nr, step, &nr_pinned);
	}
	if (fd >= 0)
		close(fd);
	close(pagemap);
	if (rc) {
		unpin();
		return rc;
	}
	say("taken=%llu pinned=%llu", (unsigned long long)nr_pages, (unsigned long long)nr_pinned);
	return 0;
}

static int run(const char *command)
{
	int out[2];
	int status;
	pid_t pid;
	ssize_t n;

	if (pipe2(out, O_CLOEXEC))
		return fail("pipe2");
	pid = fork();
	if (!pid) {
		dup2(out[1], 1);
		dup2(out[1], 2);
		execl("/bin/sh", "sh", "-c", command, (char *)NULL);
		_exit(127);
	}
	close(out[1]);
	while (pid > 0 && (n = read(out[0], reply + reply_len, sizeof(reply) - reply_len)) > 0)
		reply_len += (size_t)n;
	close(out[0]);
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		return fail("sh");
	return status ? -1 : 0;
}

static int insmod(const char *path, const char *params)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	int rc;

	if (fd < 0)
		return fail(path);
	rc = syscall(SYS_finit_module, fd, params, 0) ? fail("finit_module") : 0;
	close(fd);
	return rc;
}

static int execute(char *line)
{
	const char *command = strsep(&line, " ");
	const char *rest = line;
	uint64_t number = rest ? strtoull(rest, NULL, 0) : 0;

	reply_len = 0;
	if (!strcmp(command, "ping"))
		return 0;
	if (!strcmp(command, "verify"))
		return verify();
	if (!strcmp(command, "unpin")) {
		unpin();
		return 0;
	}
	if (!strcmp(command, "occupy"))
		return occupy();
	if (!strcmp(command, "vacate"))
		return vacate();
	if (!strcmp(command, "unkeep"))
		return unkeep();
	if (!strcmp(command, "kept"))
		return tell_kept();
	if (!strcmp(command, "churned"))
		return tell_churn();
	if (!strcmp(command, "settle"))
		return settle();
	if (!strcmp(command, "poweroff"))
		return 0;
	if (!rest)
		return fail_with("unknown command, or an argument is missing");
	if (!strcmp(command, "sh"))
		return run(rest);
	if (!strcmp(command, "cat"))
		return read_file(rest);
	if (!strcmp(command, "fill"))
		return fill(number);
	if (!strcmp(command, "use"))
		return use(number);
	if (!strcmp(command, "keep"))
		return keep(number);
	if (!strcmp(command, "churn")) {
		uint64_t rate;

		strsep(&line, " ");
		rate = line ? strtoull(line, &line, 0) : 0;
		return churn(number, rate, line && *line == ' ' ? line + 1 : NULL);
	}
	if (!strcmp(command, "cache")) {
		strsep(&line, " ");
		return line ? cache_put(line, number) : fail_with("cache: of what?");
	}
	if (!strcmp(command, "cached"))
		return cache_check(number);
	if (!strcmp(command, "fragment"))
		return number ? fragment(number, UINT64_MAX, true) : fail_with("fragment: the step is 0");
	if (!strcmp(command, "scatter")) {
		strsep(&line, " ");
		return number ? fragment(number, line ? strtoull(line, NULL, 0) : UINT64_MAX, false) :
				fail_with("scatter: the step is 0");
	}
	if (!strcmp(command, "rmmod"))
		return syscall(SYS_delete_module, rest, O_NONBLOCK) ? fail("delete_module") : 0;
	if (!strcmp(command, "hold")) {
		strsep(&line, " ");
		return hold(number, line ? strtoull(line, NULL, 0) : 0);
	}
	if (!strcmp(command, "insmod")) {
		strsep(&line, " ");
		return insmod(rest, line ? line : "");
	}
	if (!strcmp(command, "write")) {
		strsep(&line, " ");
		return line ? write_file(rest, line) : fail_with("write: nothing to write");
	}
	if (!strcmp(command, "write-failing")) {
		const char *nth;

		strsep(&line, " ");
		nth = strsep(&line, " ");
		return line ? write_failing(rest, nth, line) : fail_with("write-failing: what?");
	}
	return fail_with("unknown command");
}

static int mount_at(const char *type, const char *dir, const char *options)
{
	mkdir(dir, 0755);
	return mount(type, dir, type, 0, options);
}

/* Commands come over a terminal of their own, so that kernel messages cannot fall into them. */
static int open_terminal(void)
{
	const char *path = getenv("vbb_tty");
	struct termios tio;
	int fd = open(path ? path : "/dev/tty1", O_RDWR | O_NOCTTY);

	if (fd < 0 || tcgetattr(fd, &tio))
		return -1;
	cfmakeraw(&tio);
	if (tcsetattr(fd, TCSANOW, &tio))
		return -1;
	dup2(fd, 0);
	dup2(fd, 1);
	return 0;
}

int main(void)
{
	static char line[8192];

	if (mount_at("proc", "/proc", NULL) || mount_at("sysfs", "/sys", NULL) ||
	    mount_at("devtmpfs", "/dev", NULL) || mount_at("debugfs", "/sys/kernel/debug", NULL) ||
	    mount_at("tmpfs", "/tmp", NULL) || mount_at("tmpfs", "/mem", "size=100%") ||
	    /* the host's files: where the kernel has no such thing, the initial ramdisk brings some */
	    (mount_at("hostfs", "/host", "/") && errno != ENODEV)) {
		perror("vbb-guest: mount");
		return 1;
	}
	if (open_terminal()) {
		perror("vbb-guest: terminal");
		return 1;
	}
	setenv("PATH", "/bin", 1);
	answer(0, 0);
	while (fgets(line, sizeof(line), stdin)) {
		char *command;
		unsigned long id = strtoul(line, &command, 10);

		line[strcspn(line, "\n")] = '\0';
		command += strspn(command, " ");
		answer(id, execute(command));
		while (waitpid(-1, NULL, WNOHANG) > 0)
			;
		if (!strcmp(command, "poweroff"))
			break;
	}
	reboot(RB_POWER_OFF);
	return 1;
}
