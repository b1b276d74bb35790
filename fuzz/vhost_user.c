// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause
/*
 * Property: whatever a front-end sends, with whatever descriptors, and whatever it does to the
 * memory that it shared, the device's side answers what it was asked, lends memory of the front-end
 * only, calls the device as it promises, and holds nothing once the front-end is gone.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include "fuzz.h"
#include "../transports/vring_dev.c"

/* MSan of clang 14 does not know that these write. */
#include <sys/stat.h>
#include <sys/vfs.h>

static int fuzz_fstat(int fd, struct stat *st)
{
	memset(st, 0, sizeof(*st));
	return fstat(fd, st);
}

static int fuzz_fstatfs(int fd, struct statfs *fs)
{
	memset(fs, 0, sizeof(*fs));
	return fstatfs(fd, fs);
}

#define fstat fuzz_fstat
#define fstatfs fuzz_fstatfs
#include "../transports/vhu_memory.c"
#include "../transports/vhu_request.c"

#define NR_QUEUES	3
#define OFFERED		(BIT(VIRTIO_F_INDIRECT_DESC) | BIT(VIRTIO_F_EVENT_IDX) | BIT(32) | BIT(60))
#define MEM_LEN		0x10000
#define MEM_GPA		0x100000
#define MEM_UADDR	((vbb_u64)0x7f << 40)
#define RING_LEN	0x1000		/* what each queue has of the first memory file */
#define MAX_HELD	4
#define MAX_FDS		(VBB_VHU_NR_FDS + 3)

/* What a front-end may send as a descriptor */
enum {
	FD_MEMORY, FD_MORE, FD_READ_ONLY, FD_SEALED, FD_ZERO, FD_EVENT, FD_PIPE_IN, FD_PIPE_OUT,
	FD_PIPE_ALONE, FD_SOCKET_ALONE, FD_EPOLL, FD_FOLDER, FD_PATH, NR_KINDS
};

static int kinds[NR_KINDS];		/* live as long as the process */

static struct {
	struct fuzz_input in;
	struct vbb_vhu v;
	int sock;			/* the front-end's end */
	vbb_u64 asked;			/* of replies that are due: the requests, as bits */
	bool out_of_step;		/* the back-end reads requests where none begins */
	struct {
		struct vbb_seg seg[VBB_VHU_NR_SEGS];
		struct vbb_chain chain;
		unsigned int queue;
	} held[MAX_HELD];
	size_t nr_held;
} f;

static void on_sigbus(int sig, siginfo_t *info, void *context)
{
	(void)context;
	if (!vbb_vhu_fault(&f.v, info->si_addr))
		signal(sig, SIG_DFL);
}

static int some_memory(unsigned int flags)
{
	int fd = memfd_create("fuzz", flags);

	fuzz_check(fd >= 0 && !ftruncate(fd, MEM_LEN));
	return fd;
}

static void begin_process(void)
{
	struct sigaction bus = { .sa_sigaction = on_sigbus, .sa_flags = SA_SIGINFO };
	char path[32];
	int two[2];

	sigaction(SIGBUS, &bus, NULL);
	signal(SIGPIPE, SIG_IGN);
	kinds[FD_MEMORY] = some_memory(0);
	kinds[FD_MORE] = some_memory(0);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", kinds[FD_MORE]);
	kinds[FD_READ_ONLY] = open(path, O_RDONLY);
	kinds[FD_SEALED] = some_memory(MFD_ALLOW_SEALING);
	fcntl(kinds[FD_SEALED], F_ADD_SEALS, F_SEAL_WRITE);
	kinds[FD_ZERO] = open("/dev/zero", O_RDWR);
	kinds[FD_EVENT] = eventfd(0, EFD_NONBLOCK);
	fuzz_check(!pipe2(two, O_NONBLOCK));
	kinds[FD_PIPE_IN] = two[0];
	kinds[FD_PIPE_OUT] = two[1];
	fuzz_check(!pipe(two));
	kinds[FD_PIPE_ALONE] = two[1];
	close(two[0]);
	fuzz_check(!socketpair(AF_UNIX, SOCK_STREAM, 0, two));
	kinds[FD_SOCKET_ALONE] = two[1];
	close(two[0]);
	kinds[FD_EPOLL] = epoll_create1(0);
	kinds[FD_FOLDER] = open("/", O_RDONLY | O_DIRECTORY);
	kinds[FD_PATH] = open("/", O_PATH);
}

/* The device */

static void no_queue_runs(void)
{
	unsigned int i;

	for (i = 0; i < VBB_VHU_NR_QUEUES; i++)
		fuzz_check(!f.v.queue[i].running);
}

static int on_features(void *dev, vbb_u64 features)
{
	fuzz_check(dev == &f && !(features & ~OFFERED));
	return features & BIT(60) ? -1 : 0;
}

static void on_config_read(void *dev, vbb_u8 config[VBB_VHU_CONFIG_LEN])
{
	fuzz_check(dev == &f);
	memset(config, 0x5a, VBB_VHU_CONFIG_LEN);
}

static void on_config_write(void *dev, vbb_u32 off, const vbb_u8 *data, vbb_u32 len)
{
	vbb_u8 copy[VBB_VHU_CONFIG_LEN];

	fuzz_check(dev == &f && off <= sizeof(copy) && len <= sizeof(copy) - off);
	memcpy(copy, data, len);
}

static void give_back(size_t nr, vbb_u64 written)
{
	const struct vbb_chain *c = &f.held[nr].chain;
	int err = vbb_transport_done(&f.v.transport, f.held[nr].queue, c, written);

	fuzz_check(!err || err == VBB_E_INVAL || err == VBB_E_BROKEN || err == VBB_E_CLOSED);
	f.nr_held--;
	if (nr == f.nr_held)
		return;
	f.held[nr] = f.held[f.nr_held];
	f.held[nr].chain.seg = f.held[nr].seg;
}

static void on_stopping(void *dev, unsigned int queue)
{
	size_t i;

	fuzz_check(dev == &f && queue < NR_QUEUES && f.v.queue[queue].running);
	for (i = f.nr_held; i--; )
		if (f.held[i].queue == queue && i % 2)
			give_back(i, 0);
}

static void on_stopped(void *dev, unsigned int queue)
{
	size_t i;

	fuzz_check(dev == &f && queue < NR_QUEUES && !f.v.queue[queue].running);
	for (i = f.nr_held; i--; ) {
		if (f.held[i].queue != queue)
			continue;
		f.held[i] = f.held[--f.nr_held];
		f.held[i].chain.seg = f.held[i].seg;
	}
}

static void on_memory(void *dev)
{
	fuzz_check(dev == &f);
	no_queue_runs();
}

static void on_reset(void *dev)
{
	fuzz_check(dev == &f && !f.v.features);
	no_queue_runs();
}

static const struct vbb_vhu_ops ops = {
	on_features, on_config_read, on_config_write, on_stopping, on_stopped, on_memory, on_reset,
};

/* Does it lie in one of the mappings? */
static bool is_mapped(const void *p, vbb_u64 len)
{
	size_t i;

	for (i = 0; i < f.v.nr_regions; i++) {
		const struct vbb_vhu_region *r = &f.v.region[i];
		vbb_u64 off = (uintptr_t)p - (uintptr_t)r->map - r->map_off;

		if (off < r->len && len <= r->len - off)
			return true;
	}
	return false;
}

static void check_state(void)
{
	const struct vbb_vhu *v = &f.v;
	unsigned int i;
	size_t k;

	fuzz_check(v->nr_regions <= VBB_VHU_NR_REGIONS && v->map.nr == v->nr_regions);
	fuzz_check(!vbb_ram_map_check(&v->map));
	for (k = 0; k < v->nr_regions; k++) {
		const struct vbb_vhu_region *r = &v->region[k];

		fuzz_check(r->map_off < r->map_len && r->len <= r->map_len - r->map_off);
	}
	for (i = 0; i < VBB_VHU_NR_QUEUES; i++) {
		const struct vbb_vhu_queue *q = &v->queue[i];

		if (!q->running)
			continue;
		fuzz_check(i < NR_QUEUES && q->num <= VBB_VHU_QUEUE_LEN);
		fuzz_check(is_mapped(q->ring.ring.desc, VBB_VRING_DESC_LEN(q->num)));
		fuzz_check(is_mapped(q->ring.ring.avail, VBB_VRING_AVAIL_LEN(q->num)));
		fuzz_check(is_mapped(q->ring.ring.used, VBB_VRING_USED_LEN(q->num)));
	}
}

static void recv_one(unsigned int queue)
{
	struct vbb_chain *c;
	size_t i;

	if (f.nr_held == MAX_HELD)
		return;
	c = &f.held[f.nr_held].chain;
	c->seg = f.held[f.nr_held].seg;
	c->max_segs = VBB_VHU_NR_SEGS;
	if (vbb_transport_recv(&f.v.transport, queue, c))
		return;
	fuzz_check(queue < NR_QUEUES && c->nr_out + c->nr_in <= VBB_VHU_NR_SEGS);
	for (i = 0; i < c->nr_out + c->nr_in; i++) {
		vbb_u8 *p = c->seg[i].base;

		fuzz_check(is_mapped(p, c->seg[i].len));
		if (i >= c->nr_out)
			p[c->seg[i].len - 1] ^= p[0];
	}
	f.held[f.nr_held++].queue = queue;
}

/* The front-end */

static void attach(bool small)
{
	int two[2], len = 1;

	fuzz_check(!socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, two));
	f.sock = two[0];
	/* one that does not read what it asked for has little room */
	if (small)
		setsockopt(two[1], SOL_SOCKET, SO_SNDBUF, &len, sizeof(len));
	fuzz_check(!vbb_vhu_attach(&f.v, two[1]));
	fuzz_check(vbb_vhu_attach(&f.v, dup(f.sock)) == VBB_E_STATE);
	f.asked = 0;
	f.out_of_step = false;
}

static void detach(void)
{
	unsigned int i;

	vbb_vhu_detach(&f.v);
	close(f.sock);
	fuzz_check(!f.v.nr_regions && !f.v.features && !f.v.status && !f.nr_held);
	no_queue_runs();
	for (i = 0; i < NR_QUEUES; i++)
		fuzz_check(vbb_transport_kick(&f.v.transport, i) == VBB_E_CLOSED);
}

/* Reads replies; each is to something that was asked. */
static void drain(void)
{
	vbb_u8 buf[VBB_VHU_REQUEST_LEN];
	struct vhu_hdr hdr;

	while (recv(f.sock, &hdr, sizeof(hdr), MSG_DONTWAIT) == sizeof(hdr)) {
		fuzz_check(hdr.flags == (VHU_VERSION | VHU_REPLY));
		fuzz_check(f.out_of_step || (hdr.request < 64 && f.asked >> hdr.request & 1));
		fuzz_check(hdr.len <= sizeof(buf) - sizeof(hdr));
		fuzz_check(!hdr.len ||
			   recv(f.sock, buf, hdr.len, MSG_DONTWAIT) == (ssize_t)hdr.len);
	}
}

static void dispatch(void)
{
	vbb_u64 nr = f.v.nr_requests;
	bool gone = f.v.gone;
	int err = vbb_vhu_dispatch(&f.v);

	fuzz_check(f.v.nr_requests - nr <= VHU_BATCH);
	fuzz_check(!err || err == VBB_E_CLOSED || err == VBB_E_FRAME);
	fuzz_check(!gone || err == VBB_E_CLOSED);
	fuzz_check(err != VBB_E_FRAME || f.v.why);
	if (err) {
		detach();
		attach(false);
	}
}

/*
 * Bytes, and descriptors with the first of them. What does not fit into the socket is lost, and
 * what comes after it is read as something else.
 */
static void send_bytes(const void *p, size_t len, const int *fd, unsigned int nr_fds)
{
	char control[CMSG_SPACE(sizeof(int) * MAX_FDS)] __attribute__((aligned(8)));
	struct iovec iov = { (void *)(uintptr_t)p, len };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	struct cmsghdr *c;

	if (nr_fds) {
		memset(control, 0, sizeof(control));
		msg.msg_control = control;
		msg.msg_controllen = CMSG_SPACE(sizeof(int) * nr_fds);
		c = CMSG_FIRSTHDR(&msg);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int) * nr_fds);
		memcpy(CMSG_DATA(c), fd, sizeof(int) * nr_fds);
	}
	if (sendmsg(f.sock, &msg, MSG_DONTWAIT | MSG_NOSIGNAL) != (ssize_t)len)
		f.out_of_step = true;
}

static void send_request(vbb_u32 request, vbb_u32 flags, const void *p, vbb_u32 len,
			 const int *fd, unsigned int nr_fds)
{
	vbb_u8 buf[sizeof(struct vhu_hdr) + sizeof(union vhu_payload)];
	const struct vhu_hdr hdr = { request, flags, len };
	size_t there = len < sizeof(union vhu_payload) ? len : sizeof(union vhu_payload);

	if (request < 64)
		f.asked |= BIT(request);
	/* the end of a payload that is not there is the next request's begin */
	if (there < len)
		f.out_of_step = true;
	memcpy(buf, &hdr, sizeof(hdr));
	memcpy(buf + sizeof(hdr), p, there);
	send_bytes(buf, sizeof(hdr) + there, fd, nr_fds);
}

/* A number: one that is near an edge of something, or any */
static vbb_u64 number(void)
{
	static const vbb_u64 known[] = {
		0, 1, 2, 3, 4, 8, 16, 64, 0xff, VHU_VRING_NOFD, VHU_VRING_NOFD | 1, 1024, 1025,
		0x1000, 0x2000, 0x10000, MEM_GPA, MEM_GPA + 0x8000, MEM_UADDR, MEM_UADDR + 0x400,
		MEM_UADDR + 0x800, MEM_UADDR + RING_LEN, BIT(31), BIT(32), BIT(40), BIT(47),
		BIT(62), BIT(63), ~(vbb_u64)0, ~(vbb_u64)0xfff, INT64_MAX - 0xfff,
		VHU_PROTOCOL_FEATURES, BIT(VHU_F_PROTOCOL_FEATURES), OFFERED & ~BIT(60), OFFERED,
	};
	vbb_u64 nr = fuzz_take(&f.in, 1);

	return nr < sizeof(known) / sizeof(known[0]) ? known[nr] :
	       nr < 0xf0 ? nr - sizeof(known) / sizeof(known[0]) : fuzz_take(&f.in, 8);
}

static void numbers(vbb_u64 *p, unsigned int nr)
{
	while (nr--)
		*p++ = number();
}

/* Is the payload a queue and a number? */
static bool names_queue(const struct vhu_request *r)
{
	return r->run == set_vring_num || r->run == set_vring_base || r->run == get_vring_base ||
	       r->run == set_vring_enable;
}

/* Any request, most of them well formed */
static void any_request(vbb_u8 how)
{
	vbb_u32 request = (vbb_u32)fuzz_take(&f.in, 1) % (NR_REQUESTS + 2), len = 0, i;
	const struct vhu_request *r = request < NR_REQUESTS ? &requests[request] : NULL;
	vbb_u32 flags = VHU_VERSION | (how & 1 ? VHU_NEED_REPLY : 0);
	union vhu_payload p;
	unsigned int nr_fds;
	int fd[MAX_FDS];

	memset(&p, 0, sizeof(p));
	switch (r ? r->len_min : 0) {
	case U64_LEN:
		/* as long as a table's begin */
		if (r->run != set_mem_table) {
			len = U64_LEN;
			p.u64 = number();
			if (names_queue(r)) {
				p.state.index = (vbb_u32)p.u64 % 8;
				p.state.num = (vbb_u32)number();
			}
			break;
		}
		p.table.nr = (vbb_u32)fuzz_take(&f.in, 1) % (VHU_TABLE_REGIONS + 2);
		for (i = 0; i < p.table.nr && i < VHU_TABLE_REGIONS; i++)
			numbers(&p.table.mem[i].gpa, 4);
		len = (vbb_u32)TABLE_LEN(i);
		break;
	case ADDR_LEN: /* as long as a slot */
		len = ADDR_LEN;
		p.addr.index = (vbb_u32)fuzz_take(&f.in, 1) % 8;
		numbers(&p.addr.desc, 4);
		break;
	case CONFIG_LEN(0):
		p.config.off = (vbb_u32)number();
		p.config.len = (vbb_u32)number();
		len = CONFIG_LEN(p.config.len <= VBB_VHU_CONFIG_LEN ? p.config.len : 0);
		break;
	}
	nr_fds = r ? r->max_fds : 0;
	if (r && r->run == set_mem_table)
		nr_fds = p.table.nr;
	else if (nr_fds && p.u64 & VHU_VRING_NOFD)
		nr_fds = 0;
	/* ill formed */
	if (how & 2)
		nr_fds = (unsigned int)fuzz_take(&f.in, 1) % (MAX_FDS + 1);
	if (how & 4)
		len = (vbb_u32)number();
	if (how & 8)
		flags = (vbb_u32)number();
	for (i = 0; i < nr_fds; i++)
		fd[i] = kinds[fuzz_take(&f.in, 1) % NR_KINDS];
	/* a connection that is handed over itself, and a peer that hears itself */
	if (nr_fds && how & 16) {
		fd[0] = f.sock;
		f.out_of_step = true;
	}
	send_request(request, flags, &p, len, fd, nr_fds);
}

/* All that is needed for a queue to run, but what the input leaves out */
static void honest(vbb_u8 queue, vbb_u8 without)
{
	const vbb_u64 ring = MEM_UADDR + RING_LEN * queue;
	union vhu_payload p;
	int i;

	for (i = 0; i < 8; i++) {
		static const vbb_u8 order[] = { 16, 2, 5, 8, 9, 13, 12, 18 };

		if (without >> i & 1)
			continue;
		memset(&p, 0, sizeof(p));
		switch (order[i]) {
		case 16:
			p.u64 = VHU_PROTOCOL_FEATURES;
			break;
		case 2:
			p.u64 = (OFFERED & ~BIT(60)) | BIT(VHU_F_PROTOCOL_FEATURES);
			break;
		case 5:
			p.table.nr = 2;
			p.table.mem[0] = (struct vhu_mem){ MEM_GPA, MEM_LEN, MEM_UADDR, 0 };
			p.table.mem[1] = (struct vhu_mem){ MEM_GPA + MEM_LEN, MEM_LEN / 2,
							   MEM_UADDR + MEM_LEN, 0x1234 };
			send_request(5, VHU_VERSION, &p, TABLE_LEN(2), kinds, 2);
			continue;
		case 9:
			p.addr.index = queue;
			p.addr.desc = ring;
			p.addr.avail = ring + 0x400;
			p.addr.used = ring + 0x800;
			send_request(9, VHU_VERSION, &p, ADDR_LEN, NULL, 0);
			continue;
		case 12:
		case 13:
			p.u64 = queue;
			send_request(order[i], VHU_VERSION, &p, U64_LEN, &kinds[FD_EVENT], 1);
			continue;
		default:
			p.state.index = queue;
			p.state.num = order[i] == 8 ? 16 : 1;
		}
		send_request(order[i], VHU_VERSION, &p, U64_LEN, NULL, 0);
	}
	dispatch();
	drain();
}

static void write_memory(size_t off, const void *p, size_t len)
{
	fuzz_check(pwrite(kinds[FD_MEMORY], p, len, (off_t)off) == (ssize_t)len);
}

static void put_desc(unsigned int queue)
{
	size_t slot = (size_t)fuzz_take(&f.in, 1) % 17;
	vbb_u64 gpa = MEM_GPA + 16 * fuzz_take(&f.in, 2), rest = fuzz_take(&f.in, 4);
	vbb_u8 desc[16];

	/* length, flags and next in few bytes */
	rest = (rest & 0x3fff) | (rest >> 14 & 7) << 32 | (rest >> 17 & 31) << 48 |
	       (rest >> 22 & 1) << 31;
	vbb_store64(desc, gpa);
	vbb_store64(desc + 8, rest);
	write_memory(RING_LEN * queue + 16 * slot, desc, sizeof(desc));
}

/* Available: some heads, and the index */
static void put_avail(unsigned int queue)
{
	vbb_u8 slot = (vbb_u8)fuzz_take(&f.in, 1), head[2] = { slot >> 4, 0 };
	vbb_u8 idx[2] = { (vbb_u8)fuzz_take(&f.in, 1), 0 };

	write_memory(RING_LEN * queue + 0x400 + 4 + 2 * (slot % 16), head, 2);
	write_memory(RING_LEN * queue + 0x400 + 2, idx, 2);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static bool begun;
	unsigned int nr, queue;
	vbb_u64 value;
	int i;

	if (!begun)
		begin_process();
	begun = true;
	nr = fuzz_nr_fds();
	/* as new: what was in the files is gone */
	for (i = FD_MEMORY; i <= FD_MORE; i++)
		fuzz_check(!ftruncate(kinds[i], 0) && !ftruncate(kinds[i], MEM_LEN));
	memset(&f, 0, sizeof(f));
	f.in = (struct fuzz_input){ data, size };
	fuzz_check(!vbb_vhu_init(&f.v, OFFERED, NR_QUEUES, &ops, &f));
	attach(fuzz_take(&f.in, 1) & 1);
	while (f.in.size) {
		vbb_u8 op = (vbb_u8)fuzz_take(&f.in, 1);

		queue = op / 16 % NR_QUEUES;
		switch (op % 16) {
		case 0:
		case 1:
		case 2:
			any_request((vbb_u8)(op / 16 * 2 + (op & 1)));
			break;
		case 3:
			honest((vbb_u8)queue, (vbb_u8)fuzz_take(&f.in, 1));
			break;
		case 4:
			value = fuzz_take(&f.in, 8);
			f.out_of_step = true;
			send_bytes(&value, 1 + op / 16 % 8, &kinds[FD_EVENT], op >> 7);
			break;
		case 5:
			dispatch();
			break;
		case 6:
			dispatch();
			drain();
			break;
		case 7:
			put_desc(queue);
			break;
		case 8:
			put_avail(queue);
			break;
		case 9:
			value = 1 + op / 16;
			fuzz_check(write(kinds[FD_EVENT], &value, 8) == 8 || errno == EAGAIN);
			break;
		case 10:
			recv_one(op / 16 % (NR_QUEUES + 1));
			break;
		case 11:
			if (f.nr_held)
				give_back((size_t)fuzz_take(&f.in, 1) % f.nr_held, op / 16);
			vbb_transport_kick(&f.v.transport, queue);
			break;
		case 12:
			vbb_vhu_config_changed(&f.v);
			break;
		case 13:
			/* it does not wait */
			if (vbb_transport_wait(&f.v.transport, 0) == VBB_E_CLOSED) {
				detach();
				attach(false);
			}
			break;
		case 14:
			i = ftruncate(kinds[op / 16 % 2], (off_t)(number() % (2 * MEM_LEN)));
			break;
		default:
			if (op & 16)
				shutdown(f.sock, SHUT_WR);
			if (op & 32)
				break;
			detach();
			attach(op >> 7);
			break;
		}
		check_state();
	}
	detach();
	vbb_vhu_fini(&f.v);
	/* what it left in the pipe and the event counter is nobody's */
	while (read(kinds[FD_PIPE_IN], &value, 8) > 0)
		;
	i = (int)read(kinds[FD_EVENT], &value, 8);
	fuzz_check(fuzz_nr_fds() == nr);
	return 0;
}
