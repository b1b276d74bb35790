// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause
/* The device's end of vhost-user, and a front-end as small as can be, for test_transport.c. */
#define _GNU_SOURCE

#include "test.h"
#include "test_transport.h"

#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "vhost_user.h"
#include "vring_end.h"

#define BIT(n) ((vbb_u64)1 << (n))

/* Behind the memory that is lent: for each queue its ring, then its indirect tables */
#define RING_LEN 65536
#define TABLES_LEN ((size_t)MAX_SEGS * 16 * MAX_SEGS)
#define MEM_LEN (TEST_MEM_LEN + NR_QUEUES * (RING_LEN + TABLES_LEN))
#define GPA 0x40000000ull
#define UADDR 0x7f0000000000ull

struct guest {
	struct vbb_vhu vhu;
	struct vbb_ram ram;
	struct vbb_ram_map map;
	struct vbb_vring_drv drv[NR_QUEUES];
	struct vbb_vring_slot slot[NR_QUEUES][MAX_SEGS];
	struct vbb_vring_fds fds[NR_QUEUES];
	struct pollfd poll[NR_QUEUES + 1];
	struct vbb_vring_end end;
	int sock;
};

static int no_features(void *dev, vbb_u64 features)
{
	(void)dev;
	(void)features;
	return 0;
}

static void no_config(void *dev, vbb_u8 config[VBB_VHU_CONFIG_LEN])
{
	(void)dev;
	(void)config;
}

static void no_write(void *dev, vbb_u32 off, const vbb_u8 *data, vbb_u32 len)
{
	(void)dev;
	(void)off;
	(void)data;
	(void)len;
}

static void no_stop(void *dev, unsigned int queue)
{
	(void)dev;
	(void)queue;
}

static void no_change(void *dev)
{
	(void)dev;
}

static const struct vbb_vhu_ops no_device = {
	.features = no_features,
	.config_read = no_config,
	.config_write = no_write,
	.stopping = no_stop,
	.stopped = no_stop,
	.memory = no_change,
	.reset = no_change,
};

/* A request, with a descriptor where fd is one, up to its effect */
static void say(struct guest *g, vbb_u32 request, const void *payload, size_t len, int fd)
{
	vbb_u32 hdr[3] = { request, 1, (vbb_u32)len };
	char control[CMSG_SPACE(sizeof(fd))] = { 0 };
	struct iovec iov[2] = { { hdr, sizeof(hdr) }, { (void *)(uintptr_t)payload, len } };
	struct msghdr msg = { .msg_iov = iov, .msg_iovlen = 2 };
	vbb_u64 before = g->vhu.nr_requests;
	struct cmsghdr *c;

	if (fd >= 0) {
		msg.msg_control = control;
		msg.msg_controllen = sizeof(control);
		c = CMSG_FIRSTHDR(&msg);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(fd));
		memcpy(CMSG_DATA(c), &fd, sizeof(fd));
	}
	assert_int_equal(sendmsg(g->sock, &msg, MSG_NOSIGNAL), sizeof(hdr) + len);
	while (g->vhu.nr_requests == before)
		assert_int_equal(vbb_vhu_dispatch(&g->vhu), 0);
	assert_int_equal(g->vhu.nr_refused, 0);
}

static void say_u64(struct guest *g, vbb_u32 request, vbb_u64 v, int fd)
{
	say(g, request, &v, sizeof(v), fd);
}

static void say_state(struct guest *g, vbb_u32 request, vbb_u32 index, vbb_u32 num)
{
	const vbb_u32 state[2] = { index, num };

	say(g, request, state, sizeof(state), -1);
}

static void queue_make(struct guest *g, unsigned int i, vbb_u8 *mem, vbb_u64 uaddr,
		       vbb_u64 features)
{
	struct vbb_vring ring = {
		.num = MAX_SEGS,
		.desc = mem,
		.avail = mem + VBB_VRING_DESC_LEN(MAX_SEGS),
		.used = mem + RING_LEN / 2,
		.indirect = features & BIT(28),
		.event_idx = features & BIT(29),
	};
	const struct vbb_vring_tables tables = { mem + RING_LEN, MAX_SEGS };
	const struct {
		vbb_u32 index, flags;
		vbb_u64 desc, used, avail, log;
	} addr = { i, 0, uaddr, uaddr + RING_LEN / 2, uaddr + VBB_VRING_DESC_LEN(MAX_SEGS), 0 };

	assert_int_equal(vbb_vring_drv_init(&g->drv[i], &ring, &g->map, g->slot[i],
					    ring.indirect ? &tables : NULL), 0);
	g->fds[i].tell = eventfd(0, EFD_NONBLOCK);
	g->fds[i].wake = eventfd(0, EFD_NONBLOCK);
	say_state(g, 8, i, MAX_SEGS); /* SET_VRING_NUM */
	say_state(g, 10, i, 0); /* SET_VRING_BASE */
	say(g, 9, &addr, sizeof(addr), -1); /* SET_VRING_ADDR */
	say_u64(g, 13, i, g->fds[i].wake); /* SET_VRING_CALL */
	say_u64(g, 12, i, g->fds[i].tell); /* SET_VRING_KICK */
}

static void guest_make(struct pair *p, vbb_u64 features)
{
	const struct {
		vbb_u32 nr, pad;
		vbb_u64 gpa, len, uaddr, fd_off;
	} table = { 1, 0, GPA, MEM_LEN, UADDR, 0 };
	struct guest *g = calloc(1, sizeof(*g));
	size_t off = TEST_MEM_LEN;
	unsigned int i;
	int sock[2], fd;

	assert_non_null(g);
	p->own = g;
	p->mem_len = TEST_MEM_LEN;
	fd = memfd_create("guest", MFD_CLOEXEC);
	assert_int_equal(ftruncate(fd, (off_t)MEM_LEN), 0);
	p->mem = mmap(NULL, MEM_LEN, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	assert_ptr_not_equal(p->mem, MAP_FAILED);
	g->ram = (struct vbb_ram){ GPA, MEM_LEN, (uintptr_t)p->mem, 12 };
	g->map = (struct vbb_ram_map){ &g->ram, 1 };
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, sock), 0);
	g->sock = sock[0];
	assert_int_equal(vbb_vhu_init(&g->vhu, features, NR_QUEUES, &no_device, NULL), 0);
	assert_int_equal(vbb_vhu_attach(&g->vhu, sock[1]), 0);
	say_u64(g, 2, features, -1); /* SET_FEATURES */
	say(g, 5, &table, sizeof(table), fd); /* SET_MEM_TABLE */
	close(fd);
	for (i = 0; i < NR_QUEUES; i++) {
		queue_make(g, i, p->mem + off, UADDR + off, features);
		off += RING_LEN + TABLES_LEN;
	}
	vbb_vring_end_init_drv(&g->end, g->drv, NR_QUEUES, g->fds, g->poll, g->sock);
	p->drv = &g->end.t;
	p->dev = &g->vhu.transport;
}

static void guest_direct(struct pair *p)
{
	guest_make(p, BIT(32));
}

static void guest_event(struct pair *p)
{
	guest_make(p, BIT(32) | BIT(28) | BIT(29));
}

static void guest_close_drv(struct pair *p)
{
	struct guest *g = p->own;

	if (g->sock >= 0)
		close(g->sock);
	g->sock = -1;
}

static void guest_close_dev(struct pair *p)
{
	struct guest *g = p->own;

	vbb_vhu_detach(&g->vhu);
}

static void guest_destroy(struct pair *p)
{
	struct guest *g = p->own;
	unsigned int i;

	guest_close_drv(p);
	vbb_vhu_fini(&g->vhu);
	for (i = 0; i < NR_QUEUES; i++) {
		close(g->fds[i].tell);
		close(g->fds[i].wake);
	}
	munmap(p->mem, MEM_LEN);
	free(g);
}

const struct kind test_kinds[] = {
	{
		.name = "vhost-user, direct",
		.make = guest_direct,
		.destroy = guest_destroy,
		.close_drv = guest_close_drv,
		.close_dev = guest_close_dev,
		.toosmall = VBB_E_RING_LOOP,
	}, {
		.name = "vhost-user, indirect, event index",
		.make = guest_event,
		.destroy = guest_destroy,
		.close_drv = guest_close_drv,
		.close_dev = guest_close_dev,
		.toosmall = VBB_E_RING_LOOP,
	},
};

const size_t test_nr_kinds = ARRAY_SIZE(test_kinds);
