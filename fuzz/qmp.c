// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause
/*
 * Property: whatever clients of QMP send, with whatever descriptors, in whatever pieces, each line
 * that comes back is one JSON object of a kind that the protocol knows, no more memory than was
 * promised is held, and the next honest client is served.
 *
 * The input is text for a client, as it stands. A byte of 0xff is none: the one behind it says what
 * happens next. Files and the time are the target's own.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "../tools/device.h"
#include "fuzz.h"

#define ESCAPE		0xff
#define NR_CLIENTS	3
#define TEXT_LEN	4096
#define FEATURES	(~(vbb_u64)0)

static const struct vbb_qmp_cmd *const cmds[] = {
	vbb_device_cmds, vbb_device_request_cmds, vbb_device_stats_cmds, vbb_device_hint_cmds, NULL
};

static const struct vbb_device_opts opts = { .ram_len = 1 << 30, .features = FEATURES };
static struct vbb_device d;
static struct vbb_qmp q;

static struct {
	int listener;
	struct sockaddr_un addr;
	socklen_t addr_len;
	int memory, full_pipe, folder;	/* descriptors; live as long as the process */
	vbb_u64 now_ns;
	int client[NR_CLIENTS];		/* -1: not connected */
	unsigned int now;		/* whose text it is */
	int passed;			/* goes along with the next text; -1: none */
	char text[TEXT_LEN];
	size_t len;
} f;

/* What the sources see in place of the C library's: see meson.build. */
int fuzz_open(const char *path, int flags, ...);
int fuzz_clock_gettime(clockid_t clock, struct timespec *ts);
ssize_t fuzz_getrandom(void *buf, size_t len, unsigned int flags);

int fuzz_open(const char *path, int flags, ...)
{
	(void)flags;
	switch (*path) {
	case 'm':
		return dup(f.memory);
	case 'p':
		return dup(f.full_pipe);
	}
	errno = ENOENT;
	return -1;
}

int fuzz_clock_gettime(clockid_t clock, struct timespec *ts)
{
	(void)clock;
	ts->tv_sec = (time_t)(f.now_ns / 1000000000);
	ts->tv_nsec = (long)(f.now_ns % 1000000000);
	return 0;
}

/* An input does the same each time. */
ssize_t fuzz_getrandom(void *buf, size_t len, unsigned int flags)
{
	(void)flags;
	memset(buf, 0x5a, len);
	return (ssize_t)len;
}

static void begin_process(void)
{
	char zeros[4096] = { 0 };
	int two[2];

	signal(SIGPIPE, SIG_IGN);
	/* else chance has a say in how names are kept, and no run is like another */
	json_global_set_string_hash(JSON_C_STR_HASH_PERLLIKE);
	f.memory = memfd_create("fuzz", 0);
	f.folder = openat(AT_FDCWD, "/", O_RDONLY | O_DIRECTORY);
	fuzz_check(f.memory >= 0 && f.folder >= 0 && !pipe2(two, O_NONBLOCK));
	f.full_pipe = two[1];
	while (write(f.full_pipe, zeros, sizeof(zeros)) > 0)
		;
}

/* A line that came back */
static void check_line(const char *line, size_t len)
{
	static const char *const kinds[] = { "QMP", "return", "error", "event" };
	struct json_tokener *tokener = json_tokener_new();
	struct json_object *msg;
	unsigned int i, nr = 0;

	json_tokener_set_flags(tokener, JSON_TOKENER_STRICT | JSON_TOKENER_VALIDATE_UTF8);
	msg = json_tokener_parse_ex(tokener, line, (int)len);
	fuzz_check(json_tokener_get_error(tokener) == json_tokener_success);
	fuzz_check(json_object_is_type(msg, json_type_object));
	for (i = 0; i < 4; i++)
		nr += json_object_object_get_ex(msg, kinds[i], NULL) ? 1 : 0;
	fuzz_check(nr == 1);
	json_object_put(msg);
	json_tokener_free(tokener);
}

/* Reads all that there is; returns how many lines that was. */
static unsigned int drain(int fd)
{
	static char buf[1 << 20];
	size_t len = 0, begin = 0, i;
	unsigned int nr = 0;
	ssize_t got;

	while (len < sizeof(buf)) {
		got = recv(fd, buf + len, sizeof(buf) - len, MSG_DONTWAIT);
		if (got <= 0)
			break;
		len += (size_t)got;
	}
	for (i = 1; i < len; i++) {
		if (buf[i - 1] != '\r' || buf[i] != '\n')
			continue;
		check_line(buf + begin, i - 1 - begin);
		begin = i + 1;
		nr++;
	}
	return nr;
}

static void dispatch(void)
{
	int i;

	vbb_qmp_dispatch(&q);
	vbb_device_tell(&d, &q);
	vbb_device_work(&d);
	for (i = 0; i < VBB_QMP_NR_CLIENTS; i++)
		if (q.client[i].fd >= 0)
			fuzz_check(q.client[i].len <= VBB_QMP_LEN_MAX + TEXT_LEN);
}

static int connect_client(void)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);

	fuzz_check(!connect(fd, (struct sockaddr *)&f.addr, f.addr_len));
	dispatch();
	return fd;
}

/* Sends the text so far, with a descriptor if there is one. */
static void flush(void)
{
	char control[CMSG_SPACE(2 * sizeof(int))] __attribute__((aligned(8))) = { 0 };
	struct iovec iov = { f.text, f.len };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	int fds[2] = { f.passed, f.memory };
	struct cmsghdr *c;

	if (!f.len)
		return;
	if (f.client[f.now] < 0) {
		f.client[f.now] = connect_client();
		/* the last of them has little room for what comes back, and does not read it */
		if (f.now == NR_CLIENTS - 1)
			setsockopt(q.client[0].fd, SOL_SOCKET, SO_SNDBUF, &(int){ 1 }, sizeof(int));
	}
	if (f.passed >= 0) {
		msg.msg_control = control;
		msg.msg_controllen = sizeof(control);
		c = CMSG_FIRSTHDR(&msg);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(fds));
		memcpy(CMSG_DATA(c), fds, sizeof(fds));
	}
	sendmsg(f.client[f.now], &msg, MSG_DONTWAIT | MSG_NOSIGNAL);
	f.passed = -1;
	f.len = 0;
	dispatch();
	if (f.now != NR_CLIENTS - 1)
		drain(f.client[f.now]);
}

static void add(uint8_t byte)
{
	f.text[f.len++] = (char)byte;
	if (f.len == TEXT_LEN)
		flush();
}

static void escape(uint8_t op)
{
	const int passed[] = { f.memory, f.full_pipe, f.folder };

	if (op % 8 == 7) {
		add(ESCAPE);
		return;
	}
	flush();
	switch (op % 8) {
	case 0:
		f.now = op / 8 % NR_CLIENTS;
		break;
	case 1:
		f.passed = passed[op / 8 % 3];
		break;
	case 2:
		if (f.client[f.now] >= 0)
			close(f.client[f.now]);
		f.client[f.now] = -1;
		dispatch();
		break;
	case 3:
		f.now_ns += (vbb_u64)1000000 << op / 8;
		dispatch();
		break;
	case 4:
		/* a driver comes, or goes */
		d.vhu.features = op & 8 ? FEATURES : 0;
		if (!d.vhu.features)
			d.vhu.ops->reset(&d);
		dispatch();
		break;
	}
}

static void honest_client(void)
{
	static const char text[] = "{\"execute\": \"qmp_capabilities\"}\r\n"
				   "{\"execute\": \"query-commands\", \"id\": 1}\r\n";
	int fd = connect_client();

	fuzz_check(send(fd, text, sizeof(text) - 1, 0) == sizeof(text) - 1);
	dispatch();
	/* its greeting, and two answers */
	fuzz_check(drain(fd) == 3);
	close(fd);
	dispatch();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static bool begun;
	unsigned int nr;
	size_t i;

	if (!begun)
		begin_process();
	begun = true;
	nr = fuzz_nr_fds();
	f.now_ns = 1000000000000000000;
	f.now = 0;
	f.passed = -1;
	f.len = 0;
	for (i = 0; i < NR_CLIENTS; i++)
		f.client[i] = -1;
	/* the system gives it a name */
	f.addr.sun_family = AF_UNIX;
	f.addr_len = sizeof(f.addr);
	f.listener = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
	fuzz_check(!bind(f.listener, (struct sockaddr *)&f.addr, sizeof(sa_family_t)));
	fuzz_check(!listen(f.listener, NR_CLIENTS));
	fuzz_check(!getsockname(f.listener, (struct sockaddr *)&f.addr, &f.addr_len));
	fuzz_check(!vbb_device_init(&d, &opts));
	fuzz_check(!vbb_qmp_init(&q, f.listener, cmds, &d));

	for (i = 0; i < size; i++) {
		if (data[i] != ESCAPE)
			add(data[i]);
		else if (++i < size)
			escape(data[i]);
	}
	flush();
	honest_client();
	for (i = 0; i < NR_CLIENTS; i++) {
		if (f.client[i] < 0)
			continue;
		drain(f.client[i]);
		close(f.client[i]);
	}
	vbb_qmp_fini(&q);
	vbb_device_job_end(&d.requests.job);
	vbb_device_job_end(&d.hint.job);
	vbb_vhu_fini(&d.vhu);
	fuzz_check(fuzz_nr_fds() == nr);
	return 0;
}
