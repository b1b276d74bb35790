// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause
/* What a vhost-user front-end asks, one function each */
#define _GNU_SOURCE
#include "vhu.h"

#include <string.h>
#include <sys/stat.h>

static int take_fd(struct vhu_msg *m, unsigned int i)
{
	int fd = m->fd[i];

	m->fd[i] = -1;
	return fd;
}

/* S_IFSOCK and its like; an event descriptor has no type: 0 */
static mode_t fd_type(int fd)
{
	struct stat st;

	return fstat(fd, &st) ? S_IFMT : st.st_mode & S_IFMT;
}

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
		vhu_queue_stop(v, i);
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
	vhu_device_reset(v);
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
		vhu_device_reset(v);
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
	vhu_memory_begin(v, ran);
	vhu_regions_remove_all(v);
	for (i = 0; i < m->nr_fds && !err; i++) {
		err = vhu_region_add(v, &mem[i], m->fd[i]);
		if (!err)
			take_fd(m, i);
	}
	if (err)
		vhu_regions_remove_all(v);
	vhu_memory_end(v, ran);
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
	vhu_memory_begin(v, ran);
	err = vhu_region_add(v, &m->p.slot.mem, m->fd[0]);
	if (!err)
		take_fd(m, 0);
	vhu_memory_end(v, ran);
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
	vhu_memory_begin(v, ran);
	vhu_region_unmap(&v->region[i]);
	v->nr_regions--;
	memmove(&v->region[i], &v->region[i + 1], (v->nr_regions - i) * sizeof(v->region[0]));
	vhu_memory_end(v, ran);
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
	vhu_queue_stop(v, m->p.state.index);
	q->num = m->p.state.num;
	return 0;
}

static int set_vring_addr(struct vbb_vhu *v, struct vhu_msg *m)
{
	struct vbb_vhu_queue *q = queue_get(v, m->p.addr.index);

	if (!q)
		return -1;
	vhu_queue_stop(v, m->p.addr.index);
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
	vhu_queue_stop(v, m->p.state.index);
	q->base = (vbb_u16)m->p.state.num;
	return 0;
}

static int get_vring_base(struct vbb_vhu *v, struct vhu_msg *m)
{
	struct vbb_vhu_queue *q = queue_get(v, m->p.state.index);

	if (!q)
		return -1;
	vhu_queue_pause(v, m->p.state.index);
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
		return vhu_queue_start(v, m->p.state.index);
	/* its descriptors stay: Linux in user mode enables it again without new ones */
	vhu_queue_pause(v, m->p.state.index);
	return 0;
}

/* The descriptor of SET_VRING_KICK and its like, or -1 for none; 0 where the request is sound */
static int vring_fd(struct vbb_vhu *v, struct vhu_msg *m, struct vbb_vhu_queue **q, int *fd)
{
	bool none = m->p.u64 & VHU_VRING_NOFD;
	mode_t type;

	*q = queue_get(v, m->p.u64 & VHU_VRING_INDEX);
	if (!*q)
		return -1;
	if (m->nr_fds != (none ? 0 : 1))
		return refuse(v, "a ring's descriptor is missing, or is one too many");
	*fd = -1;
	if (none)
		return 0;
	/* of other files some make us wait whatever their flags say */
	type = fd_type(m->fd[0]);
	if (type && type != S_IFIFO && type != S_IFSOCK)
		return refuse(v, "a ring's descriptor is not one of events, a pipe or a socket");
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
	return vhu_queue_start(v, index);
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
		vhu_queue_call(v, q);
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
	if (m->nr_fds != 1 || fd_type(m->fd[0]) != S_IFSOCK)
		return refuse(v, "a channel for our requests that is no socket");
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

int vhu_request_run(struct vbb_vhu *v, struct vhu_msg *m, bool *replies)
{
	const struct vhu_request *r = NULL;

	if (m->hdr.request < NR_REQUESTS)
		r = &requests[m->hdr.request];
	*replies = r && r->replies;
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
