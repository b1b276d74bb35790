/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause */
/* What both sides of a split virtqueue do with shared memory; private to them. */
#ifndef VBB_TRANSPORTS_VRING_MEM_H
#define VBB_TRANSPORTS_VRING_MEM_H

#include "vring.h"

#define VRING_DESC_F_NEXT	1
#define VRING_DESC_F_WRITE	2
#define VRING_DESC_F_INDIRECT	4

/* The flag of either area that asks the other side for no notifications */
#define VRING_F_QUIET		1

/* Offsets in the driver area and the device area alike */
#define VRING_FLAGS		0
#define VRING_IDX		2
#define VRING_RING		4

/* Bytes of a descriptor, of a chain, and of what a device can say that it wrote */
#define VRING_DESC_LEN_MAX	0xffffffffu
#define VRING_CHAIN_LEN_MAX	((vbb_u64)1 << 32)
#define VRING_USED_LEN_MAX	0xffffffffu

typedef vbb_u16 __attribute__((may_alias)) vring_u16;

static inline vbb_u16 vring_load_order(const vbb_u8 *p, int order)
{
	vbb_count_load(p, 2);
	return vbb_le16_to_cpu((VBB_FORCE vbb_le16)
			       __atomic_load_n((const vring_u16 *)(const void *)p, order));
}

static inline void vring_store_order(vbb_u8 *p, vbb_u16 v, int order)
{
	__atomic_store_n((vring_u16 *)(void *)p, (VBB_FORCE vbb_u16)vbb_cpu_to_le16(v), order);
}

static inline vbb_u16 vring_load(const vbb_u8 *p)
{
	return vring_load_order(p, __ATOMIC_RELAXED);
}

/* All that the other side wrote before it stored this can be read after. */
static inline vbb_u16 vring_load_acquire(const vbb_u8 *p)
{
	return vring_load_order(p, __ATOMIC_ACQUIRE);
}

static inline void vring_store(vbb_u8 *p, vbb_u16 v)
{
	vring_store_order(p, v, __ATOMIC_RELAXED);
}

/* Whoever loads this can read all that we wrote before. */
static inline void vring_store_release(vbb_u8 *p, vbb_u16 v)
{
	vring_store_order(p, v, __ATOMIC_RELEASE);
}

/*
 * Each side stores, then looks at what the other side stored: an index and a wish to be notified.
 * Without a full barrier between the two both could miss the other's store, and sleep.
 */
static inline void vring_barrier(void)
{
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
}

static inline vbb_u8 *vring_avail_entry(const struct vbb_vring *r, vbb_u16 idx)
{
	return r->avail + VRING_RING + 2 * (idx & (r->num - 1));
}

static inline vbb_u8 *vring_used_entry(const struct vbb_vring *r, vbb_u16 idx)
{
	return r->used + VRING_RING + 8 * (idx & (r->num - 1));
}

/* With event index: the used index behind which the driver wants to be told */
static inline vbb_u8 *vring_used_event(const struct vbb_vring *r)
{
	return r->avail + VRING_RING + (size_t)2 * r->num;
}

/* With event index: the available index behind which the device wants to be told */
static inline vbb_u8 *vring_avail_event(const struct vbb_vring *r)
{
	return r->used + VRING_RING + (size_t)8 * r->num;
}

static inline bool vring_valid(const struct vbb_vring *r)
{
	return r->num && r->num <= VBB_VRING_MAX && !(r->num & (r->num - 1)) &&
	       !((uintptr_t)r->desc % VBB_VRING_DESC_ALIGN) &&
	       !((uintptr_t)r->avail % VBB_VRING_AVAIL_ALIGN) &&
	       !((uintptr_t)r->used % VBB_VRING_USED_ALIGN);
}

/*
 * Does the other side want to be told that our index went on to idx, by nr_new steps? What it wants
 * lies in its own area: flags there, or the event behind which it sleeps.
 */
static inline bool vring_wanted(const struct vbb_vring *r, const vbb_u8 *flags,
				const vbb_u8 *event, vbb_u16 idx, vbb_u64 nr_new)
{
	if (!nr_new)
		return false;
	vring_barrier();
	if (!r->event_idx)
		return !(vring_load(flags) & VRING_F_QUIET);
	return (vbb_u16)(idx - vring_load(event) - 1) < nr_new;
}

#endif
