/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause */
/* Guest memory with a queue in it, whose every byte a test can write, as the worst peer would. */
#ifndef VRING_RIG_H
#define VRING_RIG_H

#include <string.h>

#include <virtio_balloon_bmap/leaf.h>

#include "vring.h"

#define RIG_MAX 64	/* entries */
#define RIG_SEGS (RIG_MAX + 16)
#define F_NEXT 1
#define F_WRITE 2
#define F_INDIRECT 4

/* where the parts lie in guest memory, which begins at guest address RIG_GPA */
#define RIG_GPA 0x100000000u
#define RIG_AVAIL (16 * RIG_MAX)
#define RIG_USED (RIG_AVAIL + 256)
#define RIG_TABLES 4096			/* of RIG_MAX entries, one for each entry */
#define RIG_DATA (RIG_TABLES + 16 * RIG_MAX * RIG_MAX)
#define RIG_SIZE (RIG_DATA + 65536)

struct rig {
	_Alignas(4096) vbb_u8 mem[RIG_SIZE];
	struct vbb_ram ram[3];
	struct vbb_ram_map map;
	struct vbb_vring ring;
	struct vbb_vring_dev dev;
	struct vbb_vring_drv drv;
	vbb_u8 lent[RIG_MAX];
	struct vbb_vring_slot slot[RIG_MAX];
	struct vbb_seg seg[RIG_SEGS];
	struct vbb_chain chain;
};

static inline void rig_put16(vbb_u8 *p, unsigned int v)
{
	p[0] = (vbb_u8)(v & 0xff);
	p[1] = (vbb_u8)(v >> 8);
}

static inline void rig_put32(vbb_u8 *p, vbb_u32 v)
{
	rig_put16(p, v & 0xffff);
	rig_put16(p + 2, v >> 16);
}

static inline void rig_put64(vbb_u8 *p, vbb_u64 v)
{
	rig_put32(p, (vbb_u32)v);
	rig_put32(p + 4, (vbb_u32)(v >> 32));
}

static inline unsigned int rig_get16(const vbb_u8 *p)
{
	return p[0] | (unsigned int)p[1] << 8;
}

static inline vbb_u32 rig_get32(const vbb_u8 *p)
{
	return rig_get16(p) | (vbb_u32)rig_get16(p + 2) << 16;
}

static inline vbb_u64 rig_get64(const vbb_u8 *p)
{
	return rig_get32(p) | (vbb_u64)rig_get32(p + 4) << 32;
}

/* A new ring; both sides are set up by the test that wants them. */
static inline void rig_init(struct rig *r, vbb_u32 num, bool indirect, bool event_idx)
{
	memset(r, 0, sizeof(*r));
	r->ram[0] = (struct vbb_ram){ RIG_GPA, RIG_SIZE, (uintptr_t)r->mem, 0 };
	r->map = (struct vbb_ram_map){ r->ram, 1 };
	r->ring = (struct vbb_vring){ r->mem, r->mem + RIG_AVAIL, r->mem + RIG_USED, num, indirect,
				      event_idx };
	r->chain.seg = r->seg;
	r->chain.max_segs = RIG_SEGS;
}

static inline void rig_desc(vbb_u8 *table, unsigned int idx, vbb_u64 gpa, vbb_u32 len,
			    unsigned int flags, unsigned int next)
{
	table += 16 * idx;
	rig_put64(table, gpa);
	rig_put32(table + 8, len);
	rig_put16(table + 12, flags);
	rig_put16(table + 14, next);
}

/* Make a head available, whatever it is. */
static inline void rig_avail(struct rig *r, unsigned int head)
{
	unsigned int idx = rig_get16(r->ring.avail + 2);

	rig_put16(r->ring.avail + 4 + 2 * (idx & (r->ring.num - 1)), head);
	rig_put16(r->ring.avail + 2, (idx + 1) & 0xffff);
}

/* Use an id, whatever it is. */
static inline void rig_used(struct rig *r, vbb_u32 id, vbb_u32 len)
{
	unsigned int idx = rig_get16(r->ring.used + 2);
	vbb_u8 *p = r->ring.used + 4 + 8 * (idx & (r->ring.num - 1));

	rig_put32(p, id);
	rig_put32(p + 4, len);
	rig_put16(r->ring.used + 2, (idx + 1) & 0xffff);
}

#endif
