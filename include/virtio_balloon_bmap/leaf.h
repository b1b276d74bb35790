/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause */
/*
 * The leaves: loads and stores of memory that a peer may share, and bit tricks, one line each. They
 * are the trusted base of every proof above them, so nothing else belongs here. A load reads its
 * bytes exactly once, and promises nothing of the value: the peer may rewrite it between any two
 * calls.
 */
#ifndef VIRTIO_BALLOON_BMAP_LEAF_H
#define VIRTIO_BALLOON_BMAP_LEAF_H

#include <virtio_balloon_bmap/types.h>

VBB_BEGIN_DECLS

/* volatile: one access each, whatever the optimiser thinks; packed: no alignment is promised */
struct vbb_una16 { vbb_le16 v; } __attribute__((packed, may_alias));
struct vbb_una32 { vbb_le32 v; } __attribute__((packed, may_alias));
struct vbb_una64 { vbb_le64 v; } __attribute__((packed, may_alias));

#ifdef VBB_COUNT_LOADS
/* A test that counts loads defines this. */
void vbb_count_load(const void *p, unsigned int len);
#else
#define vbb_count_load(p, len) ((void)0)
#endif

#ifdef __FRAMAC__
#include "proof/leaf.h"
#endif

static inline vbb_u8 vbb_load8(const vbb_u8 *p)
{
	vbb_count_load(p, 1);
	return *(const volatile vbb_u8 *)p;
}

static inline vbb_u16 vbb_load16(const vbb_u8 *p)
{
	vbb_count_load(p, 2);
	return vbb_le16_to_cpu(((const volatile struct vbb_una16 *)p)->v);
}

static inline vbb_u32 vbb_load32(const vbb_u8 *p)
{
	vbb_count_load(p, 4);
	return vbb_le32_to_cpu(((const volatile struct vbb_una32 *)p)->v);
}

static inline vbb_u64 vbb_load64(const vbb_u8 *p)
{
	vbb_count_load(p, 8);
	return vbb_le64_to_cpu(((const volatile struct vbb_una64 *)p)->v);
}

static inline void vbb_store8(vbb_u8 *p, vbb_u8 v)
{
	*(volatile vbb_u8 *)p = v;
}

static inline void vbb_store64(vbb_u8 *p, vbb_u64 v)
{
	((volatile struct vbb_una64 *)p)->v = vbb_cpu_to_le64(v);
}

/* 2^n, n at most 63 */
static inline vbb_u64 vbb_pow2(vbb_u32 n)
{
	return (vbb_u64)1 << n;
}

/* v with its n lowest bits dropped, moved down; n at most 63 */
static inline vbb_u64 vbb_shr(vbb_u64 v, vbb_u32 n)
{
	return v >> n;
}

/* v moved up, n bits at the top dropped; n at most 63 */
static inline vbb_u64 vbb_shl(vbb_u64 v, vbb_u32 n)
{
	return v << n;
}

/* Number of the lowest set bit; v is not 0 */
static inline vbb_u32 vbb_ctz64(vbb_u64 v)
{
#if __SIZEOF_LONG__ == 8
	return (vbb_u32)__builtin_ctzll(v);
#else
	/* two halves, since 32-bit compilers call a library for the whole */
	return (vbb_u32)v ? (vbb_u32)__builtin_ctz((vbb_u32)v) :
			    32 + (vbb_u32)__builtin_ctz((vbb_u32)(v >> 32));
#endif
}

/* How many bits are set from bit b upwards without a gap; b at most 63 */
static inline vbb_u32 vbb_ones64(vbb_u64 v, vbb_u32 b)
{
	return ~(v >> b) ? vbb_ctz64(~(v >> b)) : 64;
}

/* Length of the lowest run of set bits, which begins at bit b: a carry goes through the run */
static inline vbb_u32 vbb_run64(vbb_u64 v, vbb_u32 b)
{
	return (v + (v & (0 - v)) ? vbb_ctz64(v + (v & (0 - v))) : 64) - b;
}

/* v without that run */
static inline vbb_u64 vbb_drop64(vbb_u64 v)
{
	return v & (v + (v & (0 - v)));
}

/* Bits [b, b + n) set; b + n at most 64, n at least 1 */
static inline vbb_u64 vbb_mask64(vbb_u32 b, vbb_u32 n)
{
	return (~(vbb_u64)0 >> (64 - n)) << b;
}

/* Sum and difference modulo 2^64: of counts that no access hangs on */
static inline vbb_u64 vbb_add(vbb_u64 a, vbb_u64 b)
{
	return a + b;
}

static inline vbb_u64 vbb_sub(vbb_u64 a, vbb_u64 b)
{
	return a - b;
}

/* v with its n lowest bits cleared; n at most 63 */
static inline vbb_u64 vbb_align_down(vbb_u64 v, vbb_u32 n)
{
	return v >> n << n;
}

/* From v up to the next number that is a multiple of 2^n away from base; n at most 63 */
static inline vbb_u64 vbb_gap(vbb_u64 v, vbb_u64 base, vbb_u32 n)
{
	return (base - v) & (((vbb_u64)1 << n) - 1);
}

VBB_END_DECLS

#endif
