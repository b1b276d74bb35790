/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause */
/*
 * What the parts of the vhost-user transport share. Numbers, layouts and rules: "Vhost-user
 * Protocol" in QEMU's documentation. Host byte order.
 */
#ifndef VBB_TRANSPORTS_VHU_H
#define VBB_TRANSPORTS_VHU_H

#include "vhost_user.h"

#include <fcntl.h>
#include <sys/epoll.h>
#include <unistd.h>

#define BIT(n) ((vbb_u64)1 << (n))

/* Feature bit that stands for the protocol features, which are negotiated apart */
#define VHU_F_PROTOCOL_FEATURES	30

#define VHU_PROTOCOL_F_MQ		0
#define VHU_PROTOCOL_F_REPLY_ACK	3
#define VHU_PROTOCOL_F_BACKEND_REQ	5
#define VHU_PROTOCOL_F_CONFIG		9
#define VHU_PROTOCOL_F_RESET_DEVICE	13
#define VHU_PROTOCOL_F_MEM_SLOTS	15
#define VHU_PROTOCOL_F_STATUS		16

/*
 * Not INBAND_NOTIFICATIONS: Linux in user mode (6.1) loses a config change that arrives together
 * with an in-band call.
 */
#define VHU_PROTOCOL_FEATURES \
	(BIT(VHU_PROTOCOL_F_MQ) | BIT(VHU_PROTOCOL_F_REPLY_ACK) | \
	 BIT(VHU_PROTOCOL_F_BACKEND_REQ) | BIT(VHU_PROTOCOL_F_CONFIG) | \
	 BIT(VHU_PROTOCOL_F_RESET_DEVICE) | BIT(VHU_PROTOCOL_F_MEM_SLOTS) | \
	 BIT(VHU_PROTOCOL_F_STATUS))

/* Header flags */
#define VHU_VERSION		1u
#define VHU_VERSION_MASK	3u
#define VHU_REPLY		4u
#define VHU_NEED_REPLY		8u

/* A ring's descriptor, with its index: bits 0 to 7 index, bit 8 there is none */
#define VHU_VRING_INDEX		0xffu
#define VHU_VRING_NOFD		0x100u

/* A request of ours, on the back-end's own channel */
#define VHU_BACKEND_CONFIG_CHANGE	2

#define VHU_TABLE_REGIONS	8	/* at most, in SET_MEM_TABLE */

/* Requests taken in one dispatch() */
#define VHU_BATCH		16

struct vhu_hdr {
	vbb_u32 request;
	vbb_u32 flags;
	vbb_u32 len;	/* of the payload, bytes */
};

struct vhu_mem {
	vbb_u64 gpa, len, uaddr, fd_off;
};

struct vhu_config {
	vbb_u32 off, len, flags;
	vbb_u8 data[VBB_VHU_CONFIG_LEN];
};

union vhu_payload {
	vbb_u64 u64;
	struct {
		vbb_u32 index, num;
	} state;
	struct {
		vbb_u32 index, flags;
		vbb_u64 desc, used, avail, log;
	} addr;
	struct {
		vbb_u32 nr, pad;
		struct vhu_mem mem[VHU_TABLE_REGIONS];
	} table;
	struct {
		vbb_u64 pad;
		struct vhu_mem mem;
	} slot;
	struct vhu_config config;
};

/* Bytes of payloads */
#define U64_LEN		sizeof(vbb_u64)
#define STATE_LEN	sizeof(((union vhu_payload *)NULL)->state)
#define ADDR_LEN	sizeof(((union vhu_payload *)NULL)->addr)
#define TABLE_LEN(nr)	(offsetof(union vhu_payload, table.mem) + (nr) * sizeof(struct vhu_mem))
#define SLOT_LEN	sizeof(((union vhu_payload *)NULL)->slot)
#define CONFIG_LEN(len)	(offsetof(struct vhu_config, data) + (len))

VBB_STATIC_ASSERT(sizeof(struct vhu_hdr) == 12, "a request's header is 12 bytes");
VBB_STATIC_ASSERT(sizeof(struct vhu_hdr) + sizeof(struct vhu_config) == VBB_VHU_REQUEST_LEN,
		  "a config space is the largest payload");
VBB_STATIC_ASSERT(sizeof(union vhu_payload) >= sizeof(struct vhu_config), "it fits");

/* A request while it is handled; a handler that keeps a descriptor puts -1 in its place. */
struct vhu_msg {
	struct vhu_hdr hdr;
	union vhu_payload p;
	int *fd;
	unsigned int nr_fds;
};

static inline void close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

/*
 * Before each use of a ring's descriptor: the flag is one of the open file, which the peer has too.
 * It may have cleared it since.
 */
static inline bool fd_nonblock(int fd)
{
	int flags = fcntl(fd, F_GETFL);

	return flags >= 0 && (flags & O_NONBLOCK || !fcntl(fd, F_SETFL, flags | O_NONBLOCK));
}

/* Event descriptor, pipe or socket: 8 bytes. What does not fit into a full one is not needed. */
static inline bool fd_signal(int fd)
{
	const vbb_u64 one = 1;

	return fd >= 0 && fd_nonblock(fd) && write(fd, &one, sizeof(one)) == sizeof(one);
}

static inline int refuse(struct vbb_vhu *v, const char *why)
{
	v->why = why;
	return -1;
}

/* Which descriptor an event is of: a queue's kick by index, or the socket */
#define WATCH_SOCK	VBB_VHU_NR_QUEUES

static inline int watch(struct vbb_vhu *v, int fd, vbb_u32 what)
{
	struct epoll_event ev = { .events = EPOLLIN, .data.u32 = what };

	return epoll_ctl(v->epoll, EPOLL_CTL_ADD, fd, &ev);
}

/* Explicitly: while the peer holds a copy, close() alone would leave it in the set. */
static inline void unwatch(struct vbb_vhu *v, int *fd)
{
	if (*fd >= 0)
		epoll_ctl(v->epoll, EPOLL_CTL_DEL, *fd, NULL);
	close_fd(fd);
}

/* vhu_memory.c */

/* Takes the descriptor where it returns 0. */
int vhu_region_add(struct vbb_vhu *v, const struct vhu_mem *mem, int fd);
void vhu_region_unmap(struct vbb_vhu_region *r);
void vhu_regions_remove_all(struct vbb_vhu *v);

/* A part of a ring, where it lies in one region, or NULL */
vbb_u8 *vhu_uaddr_map(const struct vbb_vhu *v, vbb_u64 uaddr, vbb_u64 len);

/* Between the two the regions may change. */
void vhu_memory_begin(struct vbb_vhu *v, bool ran[VBB_VHU_NR_QUEUES]);
void vhu_memory_end(struct vbb_vhu *v, const bool ran[VBB_VHU_NR_QUEUES]);

/* vhu_queue.c */

void vhu_queue_call(struct vbb_vhu *v, struct vbb_vhu_queue *q);
void vhu_queue_kicked(struct vbb_vhu *v, unsigned int i);

/* Starts a queue that lacks nothing. Not to start one that lacks something is no mistake. */
int vhu_queue_start(struct vbb_vhu *v, unsigned int i);

/* What is borrowed counts as never taken: whoever goes on at base sees it again. */
void vhu_queue_stop(struct vbb_vhu *v, unsigned int i);

/* Stops a queue whose memory is still the driver's, and there. */
void vhu_queue_pause(struct vbb_vhu *v, unsigned int i);

void vhu_device_reset(struct vbb_vhu *v);

/* vhu_request.c */

/* Does what a request asks. What is returned is 0, or the request is refused. */
int vhu_request_run(struct vbb_vhu *v, struct vhu_msg *m, bool *replies);

#endif
