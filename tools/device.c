// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause
/* vbb device: a balloon device that speaks vhost-user, its command line and its main loop. */
#include "device.h"
#include "vbb.h"

#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

/* poll() counts milliseconds in an int. */
#define WAIT_NS_MAX		((vbb_u64)INT_MAX * 1000000)

/* For the handler of SIGBUS only */
static struct vbb_vhu *guarded;

static void on_sigbus(int sig, siginfo_t *info, void *context)
{
	(void)context;
	if (guarded && vbb_vhu_fault(guarded, info->si_addr))
		return;
	/* not guest memory: back to the access, and to the end */
	signal(sig, SIG_DFL);
}

/* A descriptor that tells of SIGTERM and SIGINT, or -1 */
static int signals_init(struct vbb_device *d)
{
	struct sigaction bus = { .sa_sigaction = on_sigbus, .sa_flags = SA_SIGINFO };
	sigset_t set;

	guarded = &d->vhu;
	sigaction(SIGBUS, &bus, NULL);
	signal(SIGPIPE, SIG_IGN);
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigprocmask(SIG_BLOCK, &set, NULL);
	return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

/* Is this a socket on which nobody listens any longer? */
static bool is_stale(const struct sockaddr_un *addr)
{
	struct stat st;
	bool stale;
	int fd;

	if (lstat(addr->sun_path, &st) || !S_ISSOCK(st.st_mode))
		return false;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return false;
	stale = connect(fd, (const struct sockaddr *)addr, sizeof(*addr)) && errno == ECONNREFUSED;
	close(fd);
	return stale;
}

/* A listening Unix socket, or -1, which has been said */
static int listen_at(const char *path)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int fd;

	if (strlen(path) >= sizeof(addr.sun_path)) {
		vbb_warn("%s: too long for a socket's path", path);
		return -1;
	}
	memcpy(addr.sun_path, path, strlen(path));
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0) {
		vbb_warn("%s: %s", path, strerror(errno));
		return -1;
	}
	if (bind(fd, (struct sockaddr *)&addr, sizeof(addr))) {
		int err = errno;

		if (err != EADDRINUSE || !is_stale(&addr) || unlink(path) ||
		    bind(fd, (struct sockaddr *)&addr, sizeof(addr))) {
			vbb_warn("%s: %s", path, strerror(err));
			close(fd);
			return -1;
		}
	}
	if (listen(fd, 8)) {
		vbb_warn("%s: %s", path, strerror(errno));
		close(fd);
		unlink(path);
		return -1;
	}
	return fd;
}

static void front_end_accept(struct vbb_device *d, int listener)
{
	int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);

	if (fd < 0)
		return;
	if (vbb_vhu_attach(&d->vhu, fd))
		vbb_warn("a front-end cannot be served: %s", strerror(errno));
	else
		d->counts.front_ends++;
}

static void front_end_dispatch(struct vbb_device *d)
{
	int err = vbb_vhu_dispatch(&d->vhu);

	if (!err)
		return;
	if (err == VBB_E_FRAME) {
		vbb_warn("front-end: %s", d->vhu.why);
		d->counts.faults[vbb_err_fault(err)]++;
	}
	vbb_vhu_detach(&d->vhu);
	d->untold = false;
}

/* The sooner of two waits, as poll() wants it */
static int wait_ms(vbb_u64 work_ns, vbb_u64 tell_ns)
{
	vbb_u64 ns = work_ns < tell_ns ? work_ns : tell_ns;

	if (!ns)
		return 0;
	if (ns == ~(vbb_u64)0)
		return -1;
	return ns < WAIT_NS_MAX ? (int)(ns / 1000000) + 1 : INT_MAX;
}

/* The file that messages go to */
struct capture {
	FILE *f;		/* NULL: none, or no longer */
	const char *name;
	int status;		/* enum vbb_exit */
};

static int capture_open(struct capture *c, struct vbb_device *d, const char *name)
{
	c->name = name;
	c->f = fopen(name, "wbe");
	if (!c->f) {
		vbb_warn("%s: %s", name, strerror(errno));
		return VBB_EXIT_IOERR;
	}
	vbb_device_record(d, c->f);
	return 0;
}

static void capture_close(struct capture *c, struct vbb_device *d)
{
	if (!c->f)
		return;
	vbb_device_record(d, NULL);
	c->status = vbb_out_close(c->f, c->name);
	c->f = NULL;
}

/* What was written is there for readers before we sleep. A full disk does not end the device. */
static void capture_flush(struct capture *c, struct vbb_device *d)
{
	if (c->f && fflush(c->f))
		capture_close(c, d);
}

static void serve(struct vbb_device *d, struct vbb_qmp *qmp, int listener, int signals,
		  struct capture *capture)
{
	struct pollfd fds[] = {
		{ .fd = signals, .events = POLLIN },
		{ .fd = vbb_qmp_fd(qmp), .events = POLLIN },
		{ .fd = listener, .events = POLLIN },
		{ .events = POLLOUT },
		{ .events = POLLOUT },
	};
	struct pollfd *front_end = &fds[2];
	vbb_u64 wait_ns = 0;

	while (!d->quit && !fds[0].revents) {
		fds[3].fd = vbb_device_job_fd(&d->requests.job);
		fds[4].fd = vbb_device_job_fd(&d->hint.job);
		capture_flush(capture, d);
		if (poll(fds, ARRAY_SIZE(fds), wait_ms(wait_ns, vbb_device_tell(d, qmp))) < 0 &&
		    errno != EINTR)
			break;
		if (fds[1].revents)
			vbb_qmp_dispatch(qmp);
		if (front_end->revents && front_end->fd == listener)
			front_end_accept(d, listener);
		else if (front_end->revents)
			front_end_dispatch(d);
		/* one at a time: the next one waits until this one has gone */
		front_end->fd = d->vhu.sock >= 0 ? vbb_vhu_fd(&d->vhu) : listener;
		wait_ns = vbb_device_work(d);
	}
}

static int run(struct vbb_device *d, const struct vbb_device_opts *opts)
{
	int status = VBB_EXIT_OSERR;
	static const struct vbb_qmp_cmd *const cmds[] = {
		vbb_device_cmds, vbb_device_request_cmds, vbb_device_stats_cmds,
		vbb_device_hint_cmds, NULL
	};
	struct capture capture = { .status = VBB_EXIT_OK };
	struct vbb_qmp qmp;
	int signals, listener, control;

	if (vbb_device_init(d, opts)) {
		vbb_warn("cannot set up the device: %s", strerror(errno));
		return status;
	}
	signals = signals_init(d);
	listener = listen_at(opts->socket);
	if (signals < 0 || listener < 0)
		goto out;
	control = listen_at(opts->qmp);
	if (control < 0)
		goto out_listener;
	if (vbb_qmp_init(&qmp, control, cmds, d)) {
		vbb_warn("cannot serve QMP");
		goto out_control;
	}
	if (opts->capture) {
		status = capture_open(&capture, d, opts->capture);
		if (status)
			goto out_qmp;
	}
	serve(d, &qmp, listener, signals, &capture);
	capture_close(&capture, d);
	status = capture.status;
out_qmp:
	vbb_qmp_fini(&qmp);
out_control:
	unlink(opts->qmp);
out_listener:
	close(listener);
	unlink(opts->socket);
out:
	if (signals >= 0)
		close(signals);
	vbb_vhu_fini(&d->vhu);
	return status;
}

static void print_help(FILE *f)
{
	fputs("Usage: vbb device --socket PATH --qmp PATH [OPTION]...\n"
	      "Be a virtio balloon device for a front-end that speaks vhost-user.\n"
	      "\n"
	      "  --socket PATH    where front-ends connect, one after the other\n"
	      "  --qmp PATH       where clients of QMP connect: balloon, query-balloon,\n"
	      "                   x-get-unused-pages, x-drop-cache, qom-get and more\n"
	      "  --ram SIZE       the guest's RAM, from which 'balloon' counts; SIZE in bytes, or with\n"
	      "                   K, M, G or T; without it, the memory that the front-end shares\n"
	      "  --no-bitmap      offer no page messages, only the old format; nor what needs them\n"
	      "  --no-records     offer no records: page messages are bitmaps\n"
	      "  --no-requests    offer no host requests\n"
	      "  --no-stats       offer no statistics\n"
	      "  --must-tell-host, and\n"
	      "  --deflate-on-oom\n"
	      "  --free-page-hint\n"
	      "  --page-poison\n"
	      "  --free-page-reporting\n"
	      "                   offer the feature of that name\n"
	      "  --capture FILE   write all messages to FILE, for 'vbb dump' and Wireshark\n"
	      "  --page-by-page   discard each page by a call of its own\n"
	      "  --no-discard     discard nothing, to measure all the rest\n"
	      "  --help           print this and exit\n"
	      "\n"
	      "SIGTERM and SIGINT end it. vbb(1) says more.\n", f);
}

int vbb_cmd_device(int argc, char **argv)
{
	static struct vbb_device device;
	struct vbb_device_opts opts = {
		.features = vbb_pow2(VIRTIO_F_VERSION_1) | vbb_pow2(VIRTIO_F_INDIRECT_DESC) |
			    vbb_pow2(VIRTIO_F_EVENT_IDX) | vbb_pow2(VBB_BALLOON_F_STATS_VQ) |
			    vbb_pow2(VIRTIO_BALLOON_F_PAGE_BITMAP) |
			    vbb_pow2(VIRTIO_BALLOON_F_PAGE_RECORDS) |
			    vbb_pow2(VIRTIO_BALLOON_F_HOST_REQ_VQ),
	};
	enum { OPT_SOCKET = 1, OPT_QMP, OPT_RAM, OPT_NO_BITMAP, OPT_NO_RECORDS, OPT_NO_REQUESTS,
	       OPT_NO_STATS, OPT_CAPTURE, OPT_PAGE_BY_PAGE, OPT_NO_DISCARD, OPT_HELP,
	       OPT_FEATURE /* and a feature's bit number */ };
	static const struct option options[] = {
		{ "socket", required_argument, NULL, OPT_SOCKET },
		{ "qmp", required_argument, NULL, OPT_QMP },
		{ "ram", required_argument, NULL, OPT_RAM },
		{ "no-bitmap", no_argument, NULL, OPT_NO_BITMAP },
		{ "no-records", no_argument, NULL, OPT_NO_RECORDS },
		{ "no-requests", no_argument, NULL, OPT_NO_REQUESTS },
		{ "no-stats", no_argument, NULL, OPT_NO_STATS },
		{ "must-tell-host", no_argument, NULL, OPT_FEATURE + VBB_BALLOON_F_MUST_TELL_HOST },
		{ "deflate-on-oom", no_argument, NULL, OPT_FEATURE + VBB_BALLOON_F_DEFLATE_ON_OOM },
		{ "free-page-hint", no_argument, NULL, OPT_FEATURE + VBB_BALLOON_F_FREE_PAGE_HINT },
		{ "page-poison", no_argument, NULL, OPT_FEATURE + VBB_BALLOON_F_PAGE_POISON },
		{ "free-page-reporting", no_argument, NULL, OPT_FEATURE + VBB_BALLOON_F_REPORTING },
		{ "capture", required_argument, NULL, OPT_CAPTURE },
		{ "page-by-page", no_argument, NULL, OPT_PAGE_BY_PAGE },
		{ "no-discard", no_argument, NULL, OPT_NO_DISCARD },
		{ "help", no_argument, NULL, OPT_HELP },
		{ NULL, 0, NULL, 0 },
	};
	int c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (c) {
		case OPT_SOCKET:
			opts.socket = optarg;
			break;
		case OPT_QMP:
			opts.qmp = optarg;
			break;
		case OPT_RAM:
			if (vbb_opt_size(argv[0], "ram", optarg, &opts.ram_len))
				return VBB_EXIT_USAGE;
			break;
		case OPT_NO_BITMAP:
			opts.features &= ~vbb_pow2(VIRTIO_BALLOON_F_PAGE_BITMAP);
			break;
		case OPT_NO_RECORDS:
			opts.features &= ~vbb_pow2(VIRTIO_BALLOON_F_PAGE_RECORDS);
			break;
		case OPT_NO_REQUESTS:
			opts.features &= ~vbb_pow2(VIRTIO_BALLOON_F_HOST_REQ_VQ);
			break;
		case OPT_NO_STATS:
			opts.features &= ~vbb_pow2(VBB_BALLOON_F_STATS_VQ);
			break;
		case OPT_CAPTURE:
			opts.capture = optarg;
			break;
		case OPT_PAGE_BY_PAGE:
			opts.page_by_page = true;
			break;
		case OPT_NO_DISCARD:
			opts.no_discard = true;
			break;
		case OPT_HELP:
			print_help(stdout);
			return VBB_EXIT_OK;
		default:
			if (c < OPT_FEATURE)
				return vbb_usage(argv[0], NULL);
			opts.features |= vbb_pow2((vbb_u32)(c - OPT_FEATURE));
		}
	}
	if (optind < argc)
		return vbb_usage(argv[0], "%s: what for?", argv[optind]);
	if (!opts.socket || !opts.qmp)
		return vbb_usage(argv[0], "--socket and --qmp are needed");
	/* what needs a feature that is not offered is not offered either */
	opts.features = vbb_features_check(opts.features);
	return run(&device, &opts);
}
