// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause
/* Numbers, layouts and rules: "Vhost-user Protocol" in QEMU's documentation. Host byte order. */
#define _GNU_SOURCE
#include "vhost_user.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <poll.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

#define BIT(n) ((vbb_u64)1 << (n))

#define VIRTIO_F_INDIRECT_DESC	28
#define VIRTIO_F_EVENT_IDX	29
#define VIRTIO_STATUS_NEEDS_RESET 0x40

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

static void close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

static int take_fd(struct vhu_msg *m, unsigned int i)
{
	int fd = m->fd[i];

	m->fd[i] = -1;
	return fd;
}

/* Nobody may make us wait on what he gave us. */
static int fd_nonblock(int fd)
{
	int flags = fcntl(fd, F_GETFL);

	return flags < 0 ? -1 : fcntl(fd, F_SETFL, flags | O_NONBLOCK);
}

/* Event descriptor or pipe: 8 bytes. What does not fit into a full one is not needed. */
static bool fd_signal(int fd)
{
	const vbb_u64 one = 1;

	return fd >= 0 && write(fd, &one, sizeof(one)) == sizeof(one);
}

static int refuse(struct vbb_vhu *v, const char *why)
{
	v->why = why;
	return -1;
}

/* Which descriptor an event is of: a queue's kick by index, or the socket */
#define WATCH_SOCK	VBB_VHU_NR_QUEUES

static int watch(struct vbb_vhu *v, int fd, vbb_u32 what)
{
	struct epoll_event ev = { .events = EPOLLIN, .data.u32 = what };

	return epoll_ctl(v->epoll, EPOLL_CTL_ADD, fd, &ev);
}

/* Explicitly: while the peer holds a copy, close() alone would leave it in the set. */
static void unwatch(struct vbb_vhu *v, int *fd)
{
	if (*fd >= 0)
		epoll_ctl(v->epoll, EPOLL_CTL_DEL, *fd, NULL);
	close_fd(fd);
}

/* Memory */

/* A part of a ring, where it lies in one region */
static vbb_u8 *uaddr_map(const struct vbb_vhu *v, vbb_u64 uaddr, vbb_u64 len)
{
	size_t i;

	for (i = 0; i < v->nr_regions; i++) {
		const struct vbb_vhu_region *r = &v->region[i];

		if (uaddr >= r->uaddr && uaddr - r->uaddr < r->len &&
		    len <= r->len - (uaddr - r->uaddr))
			return r->map + r->map_off + (uaddr - r->uaddr);
	}
	return NULL;
}

/* log2 of the size of the pages that a file's memory consists of */
static vbb_u32 host_shift(int fd)
{
	unsigned long size = (unsigned long)sysconf(_SC_PAGESIZE);
	struct statfs fs;

	if (!fstatfs(fd, &fs) && (unsigned long)fs.f_type == HUGETLBFS_MAGIC)
		size = (unsigned long)fs.f_bsize;
	return (vbb_u32)__builtin_ctzl(size);
}

/* Is there an end, and does it lie before 2^64? */
static bool span_valid(vbb_u64 start, vbb_u64 len)
{
	return len && len - 1 <= ~(vbb_u64)0 - start;
}

static int region_map(struct vbb_vhu *v, struct vbb_vhu_region *r, const struct vhu_mem *mem,
		      int fd)
{
	vbb_u64 host_len, end;
	struct stat st;
	void *map;

	if (!span_valid(mem->gpa, mem->len) || !span_valid(mem->uaddr, mem->len))
		return refuse(v, "a region is empty, or wraps");
	if (mem->fd_off > INT64_MAX || mem->len > INT64_MAX - mem->fd_off)
		return refuse(v, "a region lies past the end of every file");
	end = mem->fd_off + mem->len;
	/* touching what a file does not have is a SIGBUS */
	if (fstat(fd, &st) || (S_ISREG(st.st_mode) && end > (vbb_u64)st.st_size))
		return refuse(v, "a region lies past the end of its file");
	r->gpa = mem->gpa;
	r->len = mem->len;
	r->uaddr = mem->uaddr;
	r->fd = fd;
	r->host_shift = host_shift(fd);
	host_len = vbb_pow2(r->host_shift);
	r->map_fd_off = mem->fd_off & ~(host_len - 1);
	r->map_off = mem->fd_off - r->map_fd_off;
	if (end > INT64_MAX - host_len)
		return refuse(v, "a region lies past the end of every file");
	r->map_len = ((end + host_len - 1) & ~(host_len - 1)) - r->map_fd_off;
	if (r->map_len > SIZE_MAX)
		return refuse(v, "a region does not fit into our address space");
	map = mmap(NULL, (size_t)r->map_len, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd,
		   (off_t)r->map_fd_off);
	if (map == MAP_FAILED)
		return refuse(v, "a region cannot be mapped");
	r->map = map;
	return 0;
}

static void region_unmap(struct vbb_vhu_region *r)
{
	munmap(r->map, (size_t)r->map_len);
	close_fd(&r->fd);
}

/* Takes the descriptor where it returns 0. */
static int region_add(struct vbb_vhu *v, const struct vhu_mem *mem, int fd)
{
	struct vbb_vhu_region r;
	size_t i = 0;

	if (v->nr_regions == VBB_VHU_NR_REGIONS)
		return refuse(v, "more regions than there are slots");
	if (region_map(v, &r, mem, fd))
		return -1;
	while (i < v->nr_regions && v->region[i].gpa < r.gpa)
		i++;
	if ((i && v->region[i - 1].gpa + (v->region[i - 1].len - 1) >= r.gpa) ||
	    (i < v->nr_regions && r.gpa + (r.len - 1) >= v->region[i].gpa)) {
		munmap(r.map, (size_t)r.map_len);
		return refuse(v, "regions overlap");
	}
	memmove(&v->region[i + 1], &v->region[i], (v->nr_regions - i) * sizeof(r));
	v->region[i] = r;
	v->nr_regions++;
	return 0;
}

static void regions_remove_all(struct vbb_vhu *v)
{
	while (v->nr_regions)
		region_unmap(&v->region[--v->nr_regions]);
}

/* Queues */

static void queue_call(struct vbb_vhu *v, struct vbb_vhu_queue *q)
{
	if (fd_signal(q->call))
		v->nr_calls++;
}

/* What is borrowed counts as never taken: whoever goes on at base sees it again. */
static void queue_stop(struct vbb_vhu *v, unsigned int i)
{
	struct vbb_vhu_queue *q = &v->queue[i];

	if (!q->running)
		return;
	q->base = (vbb_u16)(q->ring.last_avail - q->ring.nr_lent);
	q->running = false;
	q->pending = false;
	v->ops->stopped(v->dev, i);
}

/* Stops a queue whose memory is still the driver's, and there. */
static void queue_pause(struct vbb_vhu *v, unsigned int i)
{
	if (!v->queue[i].running)
		return;
	v->ops->stopping(v->dev, i);
	queue_stop(v, i);
}

/* Starts a queue that lacks nothing. Not to start one that lacks something is no mistake. */
static int queue_start(struct vbb_vhu *v, unsigned int i)
{
	struct vbb_vhu_queue *q = &v->queue[i];
	struct vbb_vring ring = {
		.num = q->num,
		.indirect = v->features & BIT(VIRTIO_F_INDIRECT_DESC),
		.event_idx = v->features & BIT(VIRTIO_F_EVENT_IDX),
	};
	vbb_u16 used_idx;

	if (q->running || !q->num || !q->addressed || q->kick < 0 ||
	    (!q->enabled && v->features & BIT(VHU_F_PROTOCOL_FEATURES)))
		return 0;
	ring.desc = uaddr_map(v, q->desc, VBB_VRING_DESC_LEN(q->num));
	ring.avail = uaddr_map(v, q->avail, VBB_VRING_AVAIL_LEN(q->num));
	ring.used = uaddr_map(v, q->used, VBB_VRING_USED_LEN(q->num));
	if (!ring.desc || !ring.avail || !ring.used)
		return refuse(v, "a ring lies outside the memory");
	if ((uintptr_t)ring.avail % VBB_VRING_AVAIL_ALIGN ||
	    (uintptr_t)ring.used % VBB_VRING_USED_ALIGN)
		return refuse(v, "a ring is not aligned");
	used_idx = vbb_vring_used_idx(&ring);
	if (vbb_vring_dev_init(&q->ring, &ring, &v->map, q->lent, q->base, used_idx))
		return refuse(v, "a ring is not aligned, or its size is no power of 2");
	q->running = true;
	q->pending = true;
	/* nobody knows what the driver was told before we came */
	if (used_idx)
		queue_call(v, q);
	return 0;
}

static void queue_reset(struct vbb_vhu *v, unsigned int i)
{
	struct vbb_vhu_queue *q = &v->queue[i];

	queue_stop(v, i);
	unwatch(v, &q->kick);
	close_fd(&q->call);
	close_fd(&q->err);
	q->num = 0;
	q->base = 0;
	q->addressed = false;
	q->enabled = false;
}

static void queue_kicked(struct vbb_vhu *v, unsigned int i)
{
	struct vbb_vhu_queue *q = &v->queue[i];
	vbb_u64 n[64];
	ssize_t got;
	size_t k;

	if (q->kick < 0)
		return;
	got = read(q->kick, n, sizeof(n));
	if (got < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (got <= 0) {
		/* an end that is closed would wake us for ever */
		unwatch(v, &q->kick);
		return;
	}
	for (k = 0; k < (size_t)got / sizeof(n[0]); k++)
		v->nr_kicks += n[k];
	if (q->running && !q->pending) {
		q->pending = true;
		vbb_vring_dev_mute(&q->ring);
	}
}

static void device_reset(struct vbb_vhu *v)
{
	unsigned int i;

	for (i = 0; i < v->nr_queues; i++)
		queue_reset(v, i);
	v->features = 0;
	v->status = 0;
	v->ops->reset(v->dev);
}

/* Between the two the regions may change. */
static void memory_begin(struct vbb_vhu *v, bool ran[VBB_VHU_NR_QUEUES])
{
	unsigned int i;

	for (i = 0; i < v->nr_queues; i++) {
		ran[i] = v->queue[i].running;
		queue_pause(v, i);
	}
}

static void memory_end(struct vbb_vhu *v, const bool ran[VBB_VHU_NR_QUEUES])
{
	unsigned int i;
	size_t k;

	for (k = 0; k < v->nr_regions; k++) {
		const struct vbb_vhu_region *r = &v->region[k];

		v->ram[k].gpa = r->gpa;
		v->ram[k].len = r->len;
		v->ram[k].addr = (uintptr_t)r->map + r->map_off;
		v->ram[k].host_shift = 0;
	}
	v->map.ram = v->ram;
	v->map.nr = v->nr_regions;
	v->ops->memory(v->dev);
	/* one whose memory went stays stopped */
	for (i = 0; i < v->nr_queues; i++)
		if (ran[i])
			queue_start(v, i);
}

/* Requests */

static int do_nothing(struct vbb_vhu *v, struct vhu_msg *m)
{
	(void)v;
	(void)m;
	return 0;
}

static int get_features(struct vbb_vhu *v, struct vhu_msg *m)
{
	m->p.u64 = v->offered | BIT(VHU_F_PROTOCOL_FEATURES);
	m->hdr.len = sizeof(m->p.u64);
	return 0;
}

/*
 * Features are set after a reset only, and Linux in user mode tells of some resets in no other way:
 * then what we know of the rings is memory that the driver has freed. Whoever offers to log writes
 * (bit 26, set while rings run) has to do without this.
 */
static int set_features(struct vbb_vhu *v, struct vhu_msg *m)
{
	vbb_u64 features = m->p.u64;
	unsigned int i;

	if (features & ~(v->offered | BIT(VHU_F_PROTOCOL_FEATURES)))
		return refuse(v, "a feature that was not offered");
	if (v->ops->features(v->dev, features & ~BIT(VHU_F_PROTOCOL_FEATURES)))
		return refuse(v, "a feature without another that it needs");
	for (i = 0; i < v->nr_queues; i++) {
		queue_stop(v, i);
		v->queue[i].addressed = false;
	}
	v->features = features;
	return 0;
}

static int get_protocol_features(struct vbb_vhu *v, struct vhu_msg *m)
{
	(void)v;
	m->p.u64 = VHU_PROTOCOL_FEATURES;
	m->hdr.len = sizeof(m->p.u64);
	return 0;
}

static int set_protocol_features(struct vbb_vhu *v, struct vhu_msg *m)
{
	if (m->p.u64 & ~VHU_PROTOCOL_FEATURES)
		return refuse(v, "a protocol feature that was not offered");
	v->protocol = m->p.u64;
	return 0;
}

static int get_queue_num(struct vbb_vhu *v, struct vhu_msg *m)
{
	m->p.u64 = v->nr_queues;
	m->hdr.len = sizeof(m->p.u64);
	return 0;
}

static int reset_device(struct vbb_vhu *v, struct vhu_msg *m)
{
	(void)m;
	device_reset(v);
	return 0;
}

static int get_status(struct vbb_vhu *v, struct vhu_msg *m)
{
	m->p.u64 = v->status;
	m->hdr.len = sizeof(m->p.u64);
	return 0;
}

static int set_status(struct vbb_vhu *v, struct vhu_msg *m)
{
	if (m->p.u64 > 0xff)
		return refuse(v, "a device status of more than 8 bits");
	if (!m->p.u64)
		device_reset(v);
	v->status = (vbb_u8)m->p.u64;
	return 0;
}

static int set_mem_table(struct vbb_vhu *v, struct vhu_msg *m)
{
	const struct vhu_mem *mem = m->p.table.mem;
	bool ran[VBB_VHU_NR_QUEUES];
	unsigned int i;
	int err = 0;

	/* a longer payload is legal: a table of fixed size that is not full */
	if (m->p.table.nr > VHU_TABLE_REGIONS ||
	    m->hdr.len < TABLE_LEN(m->p.table.nr))
		return refuse(v, "a memory table that is not as long as it says");
	if (m->nr_fds != m->p.table.nr)
		return refuse(v, "not one descriptor for each region");
	memory_begin(v, ran);
	regions_remove_all(v);
	for (i = 0; i < m->nr_fds && !err; i++) {
		err = region_add(v, &mem[i], m->fd[i]);
		if (!err)
			take_fd(m, i);
	}
	if (err)
		regions_remove_all(v);
	memory_end(v, ran);
	return err;
}

static int get_max_mem_slots(struct vbb_vhu *v, struct vhu_msg *m)
{
	(void)v;
	m->p.u64 = VBB_VHU_NR_REGIONS;
	m->hdr.len = sizeof(m->p.u64);
	return 0;
}

static int add_mem_reg(struct vbb_vhu *v, struct vhu_msg *m)
{
	bool ran[VBB_VHU_NR_QUEUES];
	int err;

	if (m->nr_fds != 1)
		return refuse(v, "not one descriptor for the region");
	memory_begin(v, ran);
	err = region_add(v, &m->p.slot.mem, m->fd[0]);
	if (!err)
		take_fd(m, 0);
	memory_end(v, ran);
	return err;
}

static int rem_mem_reg(struct vbb_vhu *v, struct vhu_msg *m)
{
	const struct vhu_mem *mem = &m->p.slot.mem;
	bool ran[VBB_VHU_NR_QUEUES];
	size_t i = 0;

	while (i < v->nr_regions && v->region[i].gpa != mem->gpa)
		i++;
	if (i == v->nr_regions || v->region[i].len != mem->len || v->region[i].uaddr != mem->uaddr)
		return refuse(v, "no such region");
	memory_begin(v, ran);
	region_unmap(&v->region[i]);
	v->nr_regions--;
	memmove(&v->region[i], &v->region[i + 1], (v->nr_regions - i) * sizeof(v->region[0]));
	memory_end(v, ran);
	return 0;
}

static struct vbb_vhu_queue *queue_get(struct vbb_vhu *v, vbb_u64 index)
{
	if (index < v->nr_queues)
		return &v->queue[index];
	refuse(v, "no such queue");
	return NULL;
}

/* A queue whose place or size changes stops, until it is enabled or given a kick. */
static int set_vring_num(struct vbb_vhu *v, struct vhu_msg *m)
{
	struct vbb_vhu_queue *q = queue_get(v, m->p.state.index);

	if (!q)
		return -1;
	if (!m->p.state.num || m->p.state.num > VBB_VHU_QUEUE_LEN)
		return refuse(v, "a queue size that is 0, or more than 1024");
	queue_stop(v, m->p.state.index);
	q->num = m->p.state.num;
	return 0;
}

static int set_vring_addr(struct vbb_vhu *v, struct vhu_msg *m)
{
	struct vbb_vhu_queue *q = queue_get(v, m->p.addr.index);

	if (!q)
		return -1;
	queue_stop(v, m->p.addr.index);
	q->desc = m->p.addr.desc;
	q->avail = m->p.addr.avail;
	q->used = m->p.addr.used;
	q->addressed = true;
	return 0;
}

static int set_vring_base(struct vbb_vhu *v, struct vhu_msg *m)
{
	struct vbb_vhu_queue *q = queue_get(v, m->p.state.index);

	if (!q)
		return -1;
	if (m->p.state.num > 0xffff)
		return refuse(v, "a ring index of more than 16 bits");
	queue_stop(v, m->p.state.index);
	q->base = (vbb_u16)m->p.state.num;
	return 0;
}

static int get_vring_base(struct vbb_vhu *v, struct vhu_msg *m)
{
	struct vbb_vhu_queue *q = queue_get(v, m->p.state.index);

	if (!q)
		return -1;
	queue_pause(v, m->p.state.index);
	unwatch(v, &q->kick);
	m->p.state.num = q->base;
	return 0;
}

static int set_vring_enable(struct vbb_vhu *v, struct vhu_msg *m)
{
	struct vbb_vhu_queue *q = queue_get(v, m->p.state.index);

	if (!q)
		return -1;
	if (m->p.state.num > 1)
		return refuse(v, "a queue that is neither enabled nor disabled");
	q->enabled = m->p.state.num;
	if (q->enabled)
		return queue_start(v, m->p.state.index);
	/* its descriptors stay: Linux in user mode enables it again without new ones */
	queue_pause(v, m->p.state.index);
	return 0;
}

/* The descriptor of SET_VRING_KICK and its like, or -1 for none; 0 where the request is sound */
static int vring_fd(struct vbb_vhu *v, struct vhu_msg *m, struct vbb_vhu_queue **q, int *fd)
{
	bool none = m->p.u64 & VHU_VRING_NOFD;

	*q = queue_get(v, m->p.u64 & VHU_VRING_INDEX);
	if (!*q)
		return -1;
	if (m->nr_fds != (none ? 0 : 1))
		return refuse(v, "a ring's descriptor is missing, or is one too many");
	*fd = -1;
	if (none)
		return 0;
	if (fd_nonblock(m->fd[0]))
		return refuse(v, "a ring's descriptor is of no use");
	*fd = take_fd(m, 0);
	return 0;
}

static int set_vring_kick(struct vbb_vhu *v, struct vhu_msg *m)
{
	vbb_u32 index = m->p.u64 & VHU_VRING_INDEX;
	struct vbb_vhu_queue *q;
	int fd;

	if (vring_fd(v, m, &q, &fd))
		return -1;
	if (fd < 0)
		return refuse(v, "a queue without kicks would have to be polled");
	if (watch(v, fd, index)) {
		close(fd);
		return refuse(v, "a kick that cannot be waited for");
	}
	unwatch(v, &q->kick);
	q->kick = fd;
	q->pending = q->running;
	return queue_start(v, index);
}

static int set_vring_call(struct vbb_vhu *v, struct vhu_msg *m)
{
	struct vbb_vhu_queue *q;
	int fd;

	if (vring_fd(v, m, &q, &fd))
		return -1;
	close_fd(&q->call);
	q->call = fd;
	/* what went to the old one may have been lost */
	if (q->running)
		queue_call(v, q);
	return 0;
}

static int set_vring_err(struct vbb_vhu *v, struct vhu_msg *m)
{
	struct vbb_vhu_queue *q;
	int fd;

	if (vring_fd(v, m, &q, &fd))
		return -1;
	close_fd(&q->err);
	q->err = fd;
	return 0;
}

static int set_backend_req_fd(struct vbb_vhu *v, struct vhu_msg *m)
{
	if (m->nr_fds != 1 || fd_nonblock(m->fd[0]))
		return refuse(v, "a channel for our requests that is of no use");
	close_fd(&v->backend_req);
	v->backend_req = take_fd(m, 0);
	return 0;
}

static bool config_valid(const struct vhu_msg *m)
{
	const struct vhu_config *c = &m->p.config;

	return c->off <= VBB_VHU_CONFIG_LEN && c->len <= VBB_VHU_CONFIG_LEN - c->off &&
	       m->hdr.len == CONFIG_LEN(c->len);
}

static int get_config(struct vbb_vhu *v, struct vhu_msg *m)
{
	vbb_u8 config[VBB_VHU_CONFIG_LEN] = { 0 };

	if (!config_valid(m)) {
		/* this is how a back-end says no here */
		m->hdr.len = 0;
		return 0;
	}
	v->ops->config_read(v->dev, config);
	memcpy(m->p.config.data, config + m->p.config.off, m->p.config.len);
	return 0;
}

static int set_config(struct vbb_vhu *v, struct vhu_msg *m)
{
	if (!config_valid(m))
		return refuse(v, "a part of the configuration space that does not exist");
	v->ops->config_write(v->dev, m->p.config.off, m->p.config.data, m->p.config.len);
	return 0;
}

static const struct vhu_request {
	int (*run)(struct vbb_vhu *v, struct vhu_msg *m);
	bool replies;		/* the payload goes back, hdr.len bytes of it */
	size_t len_min, len_max;	/* of the payload, bytes */
	unsigned int max_fds;
	vbb_u64 needs;		/* a protocol feature, as a mask */
} requests[] = {
	[1] = { get_features, true, 0, 0, 0, 0 },
	[2] = { set_features, false, U64_LEN, U64_LEN, 0, 0 },
	[3] = { do_nothing, false, 0, 0, 0, 0 }, /* SET_OWNER */
	[4] = { reset_device, false, 0, 0, 0, 0 }, /* RESET_OWNER */
	[5] = { set_mem_table, false, TABLE_LEN(0), TABLE_LEN(VHU_TABLE_REGIONS),
		VHU_TABLE_REGIONS, 0 },
	[8] = { set_vring_num, false, STATE_LEN, STATE_LEN, 0, 0 },
	[9] = { set_vring_addr, false, ADDR_LEN, ADDR_LEN, 0, 0 },
	[10] = { set_vring_base, false, STATE_LEN, STATE_LEN, 0, 0 },
	[11] = { get_vring_base, true, STATE_LEN, STATE_LEN, 0, 0 },
	[12] = { set_vring_kick, false, U64_LEN, U64_LEN, 1, 0 },
	[13] = { set_vring_call, false, U64_LEN, U64_LEN, 1, 0 },
	[14] = { set_vring_err, false, U64_LEN, U64_LEN, 1, 0 },
	[15] = { get_protocol_features, true, 0, 0, 0, 0 },
	[16] = { set_protocol_features, false, U64_LEN, U64_LEN, 0, 0 },
	[17] = { get_queue_num, true, 0, 0, 0, BIT(VHU_PROTOCOL_F_MQ) },
	[18] = { set_vring_enable, false, STATE_LEN, STATE_LEN, 0, 0 },
	[21] = { set_backend_req_fd, false, 0, 0, 1, BIT(VHU_PROTOCOL_F_BACKEND_REQ) },
	[24] = { get_config, true, CONFIG_LEN(0), CONFIG_LEN(VBB_VHU_CONFIG_LEN), 0,
		 BIT(VHU_PROTOCOL_F_CONFIG) },
	[25] = { set_config, false, CONFIG_LEN(0), CONFIG_LEN(VBB_VHU_CONFIG_LEN), 0,
		 BIT(VHU_PROTOCOL_F_CONFIG) },
	[34] = { reset_device, false, 0, 0, 0, BIT(VHU_PROTOCOL_F_RESET_DEVICE) },
	[36] = { get_max_mem_slots, true, 0, 0, 0, BIT(VHU_PROTOCOL_F_MEM_SLOTS) },
	[37] = { add_mem_reg, false, SLOT_LEN, SLOT_LEN, 1, BIT(VHU_PROTOCOL_F_MEM_SLOTS) },
	/* some front-ends send the descriptor here too */
	[38] = { rem_mem_reg, false, SLOT_LEN, SLOT_LEN, 1, BIT(VHU_PROTOCOL_F_MEM_SLOTS) },
	[39] = { set_status, false, U64_LEN, U64_LEN, 0, BIT(VHU_PROTOCOL_F_STATUS) },
	[40] = { get_status, true, 0, 0, 0, BIT(VHU_PROTOCOL_F_STATUS) },
};

#define NR_REQUESTS (sizeof(requests) / sizeof(requests[0]))

/* The socket */

static int frame_error(struct vbb_vhu *v, const char *why)
{
	v->why = why;
	return VBB_E_FRAME;
}

static int reply(struct vbb_vhu *v, struct vhu_msg *m)
{
	struct iovec iov[2] = {
		{ &m->hdr, sizeof(m->hdr) },
		{ &m->p, m->hdr.len },
	};
	struct msghdr msg = { .msg_iov = iov, .msg_iovlen = 2 };

	m->hdr.flags = VHU_VERSION | VHU_REPLY;
	errno = 0;
	if (sendmsg(v->sock, &msg, MSG_DONTWAIT | MSG_NOSIGNAL) ==
	    (ssize_t)(sizeof(m->hdr) + m->hdr.len))
		return 0;
	if (errno == EPIPE || errno == ECONNRESET)
		return VBB_E_CLOSED;
	return frame_error(v, "it does not read our replies");
}

static int run_request(struct vbb_vhu *v, const struct vhu_request *r, struct vhu_msg *m)
{
	if (!r || !r->run)
		return refuse(v, "no such request");
	if (r->needs & ~v->protocol)
		return refuse(v, "a request of a protocol feature that was not acknowledged");
	if (m->hdr.len < r->len_min || m->hdr.len > r->len_max)
		return refuse(v, "a payload of another length");
	if (m->nr_fds > r->max_fds)
		return refuse(v, "more descriptors than the request can have");
	return r->run(v, m);
}

/* Handles the request that was read whole. */
static int handle(struct vbb_vhu *v)
{
	const struct vhu_request *r = NULL;
	struct vhu_msg m = { .fd = v->rx.fd, .nr_fds = v->rx.nr_fds };
	bool need_reply;
	unsigned int i;
	int err;

	memcpy(&m.hdr, v->rx.buf, sizeof(m.hdr));
	memcpy(&m.p, v->rx.buf + sizeof(m.hdr), m.hdr.len);
	v->rx.len = 0;
	v->nr_requests++;
	if (m.hdr.request < NR_REQUESTS)
		r = &requests[m.hdr.request];
	need_reply = m.hdr.flags & VHU_NEED_REPLY;
	err = run_request(v, r, &m);
	if (err)
		v->nr_refused++;
	for (i = 0; i < v->rx.nr_fds; i++)
		close_fd(&v->rx.fd[i]);
	v->rx.nr_fds = 0;
	if (r && r->replies)
		return err ? VBB_E_FRAME : reply(v, &m);
	if (!need_reply || !(v->protocol & BIT(VHU_PROTOCOL_F_REPLY_ACK)))
		return err ? VBB_E_FRAME : 0;
	m.p.u64 = err ? 1 : 0;
	m.hdr.len = sizeof(m.p.u64);
	return reply(v, &m);
}

/* Keeps the descriptors of one piece of a request. false: there were too many. */
static bool keep_fds(struct vbb_vhu *v, struct msghdr *msg)
{
	bool fits = !(msg->msg_flags & MSG_CTRUNC);
	struct cmsghdr *c;
	size_t i, nr;
	int fd;

	for (c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		nr = (c->cmsg_len - CMSG_LEN(0)) / sizeof(fd);
		for (i = 0; i < nr; i++) {
			memcpy(&fd, CMSG_DATA(c) + i * sizeof(fd), sizeof(fd));
			if (v->rx.nr_fds < VBB_VHU_NR_FDS) {
				v->rx.fd[v->rx.nr_fds++] = fd;
			} else {
				close(fd);
				fits = false;
			}
		}
	}
	return fits;
}

/* How long the request is that is being read, as far as is known; 0: longer than any may be */
static vbb_u32 rx_len(const struct vbb_vhu *v)
{
	struct vhu_hdr hdr;

	if (v->rx.len < sizeof(hdr))
		return sizeof(hdr);
	memcpy(&hdr, v->rx.buf, sizeof(hdr));
	return hdr.len > VBB_VHU_REQUEST_LEN - sizeof(hdr) ? 0 : (vbb_u32)sizeof(hdr) + hdr.len;
}

/* Reads on, up to the end of the header or of the payload. 1: the request is there whole */
static int fill(struct vbb_vhu *v)
{
	char control[CMSG_SPACE(sizeof(int) * VBB_VHU_NR_FDS)] __attribute__((aligned(8)));
	struct iovec iov = { v->rx.buf + v->rx.len, rx_len(v) - v->rx.len };
	struct msghdr msg = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control,
		.msg_controllen = sizeof(control),
	};
	struct vhu_hdr hdr;
	ssize_t got;

	got = recvmsg(v->sock, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	if (got < 0 && (errno == EAGAIN || errno == EINTR))
		return VBB_E_AGAIN;
	if (got <= 0)
		return VBB_E_CLOSED;
	v->rx.len += (vbb_u32)got;
	if (!keep_fds(v, &msg))
		return frame_error(v, "more descriptors than any request can have");
	if (v->rx.len < sizeof(hdr))
		return 0;
	memcpy(&hdr, v->rx.buf, sizeof(hdr));
	if ((hdr.flags & (VHU_VERSION_MASK | VHU_REPLY)) != VHU_VERSION)
		return frame_error(v, "no request of version 1");
	if (!rx_len(v))
		return frame_error(v, "a payload longer than any request's");
	return v->rx.len == rx_len(v);
}

static int sock_ready(struct vbb_vhu *v)
{
	int i, err;

	for (i = 0; i < VHU_BATCH; i++) {
		err = fill(v);
		if (err == VBB_E_AGAIN)
			return 0;
		if (err > 0)
			err = handle(v);
		if (err)
			return err;
	}
	return 0;
}

/* The transport */

static struct vbb_vhu *to_vhu(struct vbb_transport *t)
{
	return (struct vbb_vhu *)((char *)t - offsetof(struct vbb_vhu, transport));
}

static int vhu_recv(struct vbb_transport *t, unsigned int queue, struct vbb_chain *chain)
{
	struct vbb_vhu *v = to_vhu(t);
	struct vbb_vhu_queue *q;
	int err;

	if (queue >= v->nr_queues)
		return VBB_E_INVAL;
	q = &v->queue[queue];
	if (!q->running)
		return v->gone ? VBB_E_CLOSED : VBB_E_AGAIN;
	err = vbb_vring_dev_recv(&q->ring, chain);
	if (err == VBB_E_AGAIN && vbb_vring_dev_listen(&q->ring)) {
		vbb_vring_dev_mute(&q->ring);
		err = vbb_vring_dev_recv(&q->ring, chain);
	}
	switch (err) {
	case 0:
		return 0;
	case VBB_E_AGAIN:
		q->pending = false;
		return v->gone ? VBB_E_CLOSED : VBB_E_AGAIN;
	case VBB_E_RING_INDEX:
		v->status |= VIRTIO_STATUS_NEEDS_RESET;
		vbb_vhu_config_changed(v);
		break;
	case VBB_E_BROKEN:
		q->pending = false;
		return err;
	}
	fd_signal(q->err);
	return err;
}

static int vhu_done(struct vbb_transport *t, unsigned int queue, const struct vbb_chain *chain,
		    vbb_u64 written)
{
	struct vbb_vhu *v = to_vhu(t);

	if (v->gone)
		return VBB_E_CLOSED;
	if (queue >= v->nr_queues || !v->queue[queue].running)
		return VBB_E_INVAL;
	return vbb_vring_dev_done(&v->queue[queue].ring, chain, written);
}

static int vhu_kick(struct vbb_transport *t, unsigned int queue)
{
	struct vbb_vhu *v = to_vhu(t);
	struct vbb_vhu_queue *q;

	if (v->gone)
		return VBB_E_CLOSED;
	if (queue >= v->nr_queues)
		return VBB_E_INVAL;
	q = &v->queue[queue];
	if (q->running && vbb_vring_dev_should_notify(&q->ring))
		queue_call(v, q);
	return 0;
}

/* Is there something to take? If not, drivers notify us of what comes. */
static bool look(struct vbb_vhu *v)
{
	bool found = false;
	unsigned int i;

	for (i = 0; i < v->nr_queues; i++) {
		struct vbb_vhu_queue *q = &v->queue[i];

		q->pending = q->running && vbb_vring_dev_listen(&q->ring);
		found |= q->pending;
	}
	return found;
}

static vbb_u64 now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (vbb_u64)ts.tv_sec * 1000000000 + (vbb_u64)ts.tv_nsec;
}

static int vhu_wait(struct vbb_transport *t, vbb_u64 timeout_ns)
{
	struct vbb_vhu *v = to_vhu(t);
	struct pollfd pfd = { .fd = v->epoll, .events = POLLIN };
	vbb_u64 begin = now_ns(), past = 0;
	struct timespec ts;

	while (!look(v)) {
		if (v->gone)
			return VBB_E_CLOSED;
		if (past > timeout_ns)
			return VBB_E_AGAIN;
		ts.tv_sec = (time_t)((timeout_ns - past) / 1000000000);
		ts.tv_nsec = (long)((timeout_ns - past) % 1000000000);
		if (ppoll(&pfd, 1, &ts, NULL) == 0)
			return VBB_E_AGAIN;
		vbb_vhu_dispatch(v);
		past = now_ns() - begin;
	}
	return 0;
}

static const struct vbb_transport_ops vhu_transport_ops = {
	.size = sizeof(struct vbb_transport_ops),
	.recv = vhu_recv,
	.done = vhu_done,
	.kick = vhu_kick,
	.wait = vhu_wait,
};

int vbb_vhu_init(struct vbb_vhu *v, vbb_u64 features, unsigned int nr_queues,
		 const struct vbb_vhu_ops *ops, void *dev)
{
	unsigned int i;

	if (nr_queues > VBB_VHU_NR_QUEUES)
		return VBB_E_INVAL;
	memset(v, 0, sizeof(*v));
	v->transport.ops = &vhu_transport_ops;
	v->ops = ops;
	v->dev = dev;
	v->offered = features;
	v->nr_queues = nr_queues;
	v->map.ram = v->ram;
	v->sock = -1;
	v->gone = true;
	v->backend_req = -1;
	for (i = 0; i < VBB_VHU_NR_QUEUES; i++) {
		v->queue[i].kick = -1;
		v->queue[i].call = -1;
		v->queue[i].err = -1;
	}
	v->epoll = epoll_create1(EPOLL_CLOEXEC);
	return v->epoll < 0 ? VBB_E_BROKEN : 0;
}

void vbb_vhu_fini(struct vbb_vhu *v)
{
	vbb_vhu_detach(v);
	close_fd(&v->epoll);
}

int vbb_vhu_attach(struct vbb_vhu *v, int sock)
{
	if (v->sock >= 0 || watch(v, sock, WATCH_SOCK)) {
		close(sock);
		return v->sock >= 0 ? VBB_E_STATE : VBB_E_BROKEN;
	}
	v->sock = sock;
	v->gone = false;
	v->torn = false;
	v->why = NULL;
	return 0;
}

void vbb_vhu_detach(struct vbb_vhu *v)
{
	bool ran[VBB_VHU_NR_QUEUES];
	unsigned int i;

	if (v->sock < 0)
		return;
	v->gone = true;
	device_reset(v);
	memory_begin(v, ran);
	regions_remove_all(v);
	memory_end(v, ran);
	unwatch(v, &v->sock);
	close_fd(&v->backend_req);
	for (i = 0; i < v->rx.nr_fds; i++)
		close_fd(&v->rx.fd[i]);
	v->rx.nr_fds = 0;
	v->rx.len = 0;
	v->protocol = 0;
}

int vbb_vhu_fd(const struct vbb_vhu *v)
{
	return v->epoll;
}

int vbb_vhu_dispatch(struct vbb_vhu *v)
{
	struct epoll_event ev[VBB_VHU_NR_QUEUES + 1];
	int i, nr, err = 0;
	unsigned int k;

	if (v->gone)
		return VBB_E_CLOSED;
	nr = epoll_wait(v->epoll, ev, VBB_VHU_NR_QUEUES + 1, 0);
	for (i = 0; i < nr; i++) {
		if (ev[i].data.u32 == WATCH_SOCK)
			err = sock_ready(v);
		else
			queue_kicked(v, ev[i].data.u32);
	}
	if (v->torn)
		err = frame_error(v, "its memory went away");
	if (!err)
		return 0;
	/* what drivers had sent by now can still be taken */
	for (k = 0; k < v->nr_queues; k++)
		v->queue[k].pending = v->queue[k].running;
	v->gone = true;
	return err;
}

bool vbb_vhu_pending(const struct vbb_vhu *v, unsigned int queue)
{
	return queue < v->nr_queues && v->queue[queue].pending;
}

void vbb_vhu_config_changed(struct vbb_vhu *v)
{
	const struct vhu_hdr hdr = { VHU_BACKEND_CONFIG_CHANGE, VHU_VERSION, 0 };

	/* one that does not fit into a full pipe is not needed: the same is in there already */
	if (v->backend_req >= 0 && v->protocol & BIT(VHU_PROTOCOL_F_CONFIG) &&
	    write(v->backend_req, &hdr, sizeof(hdr)) < 0 && errno != EAGAIN)
		close_fd(&v->backend_req);
}

bool vbb_vhu_fault(struct vbb_vhu *v, void *addr)
{
	size_t i;

	for (i = 0; i < v->nr_regions; i++) {
		const struct vbb_vhu_region *r = &v->region[i];
		vbb_u64 off = (uintptr_t)addr - (uintptr_t)r->map;
		size_t len = (size_t)vbb_pow2(r->host_shift);

		if ((uintptr_t)addr < (uintptr_t)r->map || off >= r->map_len)
			continue;
		/* dispatch() is to hear of it */
		v->torn = true;
		shutdown(v->sock, SHUT_RDWR);
		return mmap(r->map + (off & ~((vbb_u64)len - 1)), len, PROT_READ | PROT_WRITE,
			    MAP_FIXED | MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) != MAP_FAILED;
	}
	return false;
}
