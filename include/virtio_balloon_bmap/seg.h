/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause */
/* A message may be cut anywhere, also inside a field. A cursor walks over the cuts, forwards. */
#ifndef VIRTIO_BALLOON_BMAP_SEG_H
#define VIRTIO_BALLOON_BMAP_SEG_H

#include <virtio_balloon_bmap/leaf.h>

VBB_BEGIN_DECLS

/**
 * struct vbb_seg - a piece of memory, laid out as struct iovec
 */
struct vbb_seg {
	/** @base: first byte; may be NULL where len is 0 */
	void *base;
	/** @len: bytes */
	size_t len;
};

/**
 * struct vbb_cur - a cursor over segments
 *
 * The array of segments is the caller's, is private to it (never shared with the peer), and stays
 * as it is while the cursor is in use. The memory that it points to may be shared.
 */
struct vbb_cur {
	/** @seg: the segments */
	const struct vbb_seg *seg;
	/** @nr_segs: how many */
	size_t nr_segs;
	/** @idx: the segment that we are in */
	size_t idx;
	/** @off: bytes of it that are behind us */
	size_t off;
	/** @left: bytes ahead, over all segments */
	vbb_u64 left;
};

#ifdef __FRAMAC__
#include "proof/seg.h"
#endif

/**
 * vbb_segs_len() - bytes in all segments together
 * @seg: the segments; the caller's
 * @nr_segs: how many
 *
 * Return: the sum, or the largest 64-bit number where the sum would be larger.
 */
static inline vbb_u64 vbb_segs_len(const struct vbb_seg *seg, size_t nr_segs)
{
	vbb_u64 len = 0;
	size_t i;

	/*@ loop invariant 0 <= i <= nr_segs;
	  @ loop invariant len == vbb_before(seg, i) - vbb_before(seg, 0);
	  @ loop assigns i, len;
	  @ loop variant nr_segs - i;
	  @*/
	for (i = 0; i < nr_segs; i++) {
		if (seg[i].len > ~(vbb_u64)0 - len)
			return ~(vbb_u64)0;
		len += seg[i].len;
	}
	return len;
}

/**
 * vbb_cur_init() - set a cursor before the first byte
 * @c: the cursor
 * @seg: the segments; the caller's, borrowed while @c is in use
 * @nr_segs: how many
 */
static inline void vbb_cur_init(struct vbb_cur *c, const struct vbb_seg *seg, size_t nr_segs)
{
	c->seg = seg;
	c->nr_segs = nr_segs;
	c->idx = 0;
	c->off = 0;
	c->left = vbb_segs_len(seg, nr_segs);
}

/* Pass over segments that hold nothing more; the caller knows that a byte is left. */
static inline void vbb_cur_settle(struct vbb_cur *c)
{
	/*@ loop invariant vbb_cur_ok(*c);
	  @ loop invariant vbb_pos(*c) == \at(vbb_pos(*c), Pre);
	  @ loop assigns c->idx, c->off;
	  @ loop variant c->nr_segs - c->idx;
	  @*/
	while (c->off == c->seg[c->idx].len) {
		c->idx++;
		c->off = 0;
	}
}

/* Is the next thing of len bytes in one piece? One is left at least. Settles the cursor. */
static inline bool vbb_cur_whole(struct vbb_cur *c, size_t len)
{
	vbb_cur_settle(c);
	return c->seg[c->idx].len - c->off >= len;
}

static inline vbb_u8 *vbb_cur_step(struct vbb_cur *c, size_t len)
{
	vbb_u8 *p = (vbb_u8 *)c->seg[c->idx].base + c->off;

	c->off += len;
	c->left -= len;
	return p;
}

/**
 * vbb_cur_skip() - go on without a look
 * @c: the cursor; at least @len bytes are left
 * @len: bytes
 */
static inline void vbb_cur_skip(struct vbb_cur *c, size_t len)
{
	/*@ loop invariant vbb_cur_ok(*c) && c->left >= len;
	  @ loop invariant c->left == \at(c->left, Pre) - (\at(len, Pre) - len);
	  @ loop invariant vbb_pos(*c) == \at(vbb_pos(*c), Pre) + (\at(len, Pre) - len);
	  @ loop assigns len, c->idx, c->off, c->left;
	  @ loop variant len;
	  @*/
	for (; len; len--) {
		vbb_cur_settle(c);
		vbb_cur_step(c, 1);
	}
}

/**
 * vbb_cur_load8() - load a byte and go on
 * @c: the cursor; at least 1 byte is left
 *
 * Return: the byte; each byte of the segments is loaded at most once.
 */
static inline vbb_u8 vbb_cur_load8(struct vbb_cur *c)
{
	vbb_cur_settle(c);
	return vbb_load8(vbb_cur_step(c, 1));
}

/**
 * vbb_cur_load16() - load a little-endian number and go on
 * @c: the cursor; at least 2 bytes are left
 *
 * Return: the number.
 */
static inline vbb_u16 vbb_cur_load16(struct vbb_cur *c)
{
	vbb_u32 v;

	if (vbb_cur_whole(c, 2))
		return vbb_load16(vbb_cur_step(c, 2));
	v = vbb_cur_load8(c);
	v += 0x100 * (vbb_u32)vbb_cur_load8(c);
	return (vbb_u16)v;
}

/**
 * vbb_cur_load32() - load a little-endian number and go on
 * @c: the cursor; at least 4 bytes are left
 *
 * Return: the number.
 */
static inline vbb_u32 vbb_cur_load32(struct vbb_cur *c)
{
	vbb_u32 v;

	if (vbb_cur_whole(c, 4))
		return vbb_load32(vbb_cur_step(c, 4));
	v = vbb_cur_load16(c);
	v += 0x10000 * (vbb_u32)vbb_cur_load16(c);
	return v;
}

/**
 * vbb_cur_load64() - load a little-endian number and go on
 * @c: the cursor; at least 8 bytes are left
 *
 * Return: the number.
 */
static inline vbb_u64 vbb_cur_load64(struct vbb_cur *c)
{
	vbb_u64 v;

	if (vbb_cur_whole(c, 8))
		return vbb_load64(vbb_cur_step(c, 8));
	v = vbb_cur_load32(c);
	v += 0x100000000 * (vbb_u64)vbb_cur_load32(c);
	return v;
}

/* Load up to four numbers, as long as they are the same; *v is the last one. Returns how many. */
static inline size_t vbb_scan_four(const vbb_u8 *p, vbb_u64 same, vbb_u64 *v)
{
	*v = vbb_load64(p);
	if (*v != same)
		return 1;
	*v = vbb_load64(p + 8);
	if (*v != same)
		return 2;
	*v = vbb_load64(p + 16);
	if (*v != same)
		return 3;
	*v = vbb_load64(p + 24);
	return 4;
}

/**
 * vbb_cur_scan64() - load little-endian numbers as long as they are the same
 * @c: the cursor; at least 8 * @nr bytes are left
 * @nr: how many at most, at least 1
 * @same: a number
 *
 * Stops behind the first number that is another, and may stop earlier: where the memory is cut.
 *
 * Return: the last number that was loaded; how far the cursor went on tells how many there were.
 */
static inline vbb_u64 vbb_cur_scan64(struct vbb_cur *c, vbb_u64 nr, vbb_u64 same)
{
	size_t whole, n = 0;
	const vbb_u8 *p;
	vbb_u64 v = same;

	if (!vbb_cur_whole(c, 8))
		return vbb_cur_load64(c);
	whole = (c->seg[c->idx].len - c->off) / 8;
	if (whole > nr)
		whole = (size_t)nr;
	p = vbb_cur_step(c, 0);
	/* a look at how many are left takes as long as a number */
	/*@ loop invariant 0 <= n <= whole && (n == 0 ==> v == same);
	  @ loop assigns v, n;
	  @ loop variant whole - n;
	  @*/
	while (v == same && whole - n >= 4)
		n += vbb_scan_four(p + 8 * n, same, &v);
	/*@ loop invariant 0 <= n <= whole && (n == 0 ==> v == same);
	  @ loop assigns v, n;
	  @ loop variant whole - n;
	  @*/
	while (v == same && n < whole) {
		v = vbb_load64(p + 8 * n);
		n++;
	}
	vbb_cur_step(c, 8 * n);
	return v;
}

/**
 * vbb_cur_store8() - store a byte and go on
 * @c: the cursor; at least 1 byte is left
 * @v: the byte
 */
static inline void vbb_cur_store8(struct vbb_cur *c, vbb_u8 v)
{
	vbb_cur_settle(c);
	vbb_store8(vbb_cur_step(c, 1), v);
}

/**
 * vbb_cur_store() - store the low bytes of a number, lowest first, and go on
 * @c: the cursor; at least @len bytes are left
 * @v: the number
 * @len: bytes, at most 8
 */
static inline void vbb_cur_store(struct vbb_cur *c, vbb_u64 v, unsigned int len)
{
	unsigned int i;

	/*@ loop invariant 0 <= i <= len;
	  @ loop invariant vbb_cur_ok(*c);
	  @ loop invariant c->left == \at(c->left, Pre) - i;
	  @ loop invariant vbb_pos(*c) == \at(vbb_pos(*c), Pre) + i;
	  @ loop assigns i, v, c->idx, c->off, c->left;
	  @ loop variant len - i;
	  @*/
	for (i = 0; i < len; i++) {
		vbb_cur_store8(c, (vbb_u8)(v & 0xff));
		v >>= 8;
	}
}

/**
 * vbb_cur_store64() - store a little-endian number and go on
 * @c: the cursor; at least 8 bytes are left
 * @v: the number
 */
static inline void vbb_cur_store64(struct vbb_cur *c, vbb_u64 v)
{
	if (vbb_cur_whole(c, 8))
		vbb_store64(vbb_cur_step(c, 8), v);
	else
		vbb_cur_store(c, v, 8);
}

/**
 * vbb_cur_fill64() - store a little-endian number again and again
 * @c: the cursor; at least 8 * @nr bytes are left
 * @v: the number
 * @nr: how many times
 */
static inline void vbb_cur_fill64(struct vbb_cur *c, vbb_u64 v, vbb_u64 nr)
{
	/*@ loop invariant vbb_cur_ok(*c) && c->left >= 8 * nr;
	  @ loop invariant 0 <= nr <= \at(nr, Pre);
	  @ loop invariant c->left == \at(c->left, Pre) - 8 * (\at(nr, Pre) - nr);
	  @ loop invariant vbb_pos(*c) == \at(vbb_pos(*c), Pre) + 8 * (\at(nr, Pre) - nr);
	  @ loop assigns nr, c->idx, c->off, c->left;
	  @ loop variant nr;
	  @*/
	while (nr) {
		size_t whole, i;
		vbb_u8 *p;

		if (!vbb_cur_whole(c, 8)) {
			vbb_cur_store(c, v, 8);
			nr--;
			continue;
		}
		whole = (c->seg[c->idx].len - c->off) / 8;
		if (whole > nr)
			whole = (size_t)nr;
		p = vbb_cur_step(c, 0);
		/*@ loop invariant 0 <= i <= whole;
		  @ loop assigns i;
		  @ loop variant whole - i;
		  @*/
		for (i = 0; i < whole; i++)
			vbb_store64(p + 8 * i, v);
		vbb_cur_step(c, 8 * whole);
		nr -= whole;
	}
}

VBB_END_DECLS

#endif
