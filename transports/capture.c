// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause
#include "capture.h"

#include <string.h>

#define BLOCK_SECTION	0x0a0d0d0au	/* the same in either byte order */
#define BLOCK_INTERFACE	1
#define BLOCK_OLD_PACKET 2
#define BLOCK_SIMPLE_PACKET 3
#define BLOCK_PACKET	6
#define BYTE_ORDER_MAGIC 0x1a2b3c4du
#define LINKTYPE_USER0	147

/* Fixed bytes of a block: all kinds, and what each adds behind type and length */
#define BLOCK_LEN	12
#define MAGIC_LEN	4
#define INTERFACE_LEN	8
#define PACKET_LEN	20

static vbb_u8 *put16(vbb_u8 *p, vbb_u32 v)
{
	p[0] = (vbb_u8)(v & 0xff);
	p[1] = (vbb_u8)(v >> 8 & 0xff);
	return p + 2;
}

static vbb_u8 *put32(vbb_u8 *p, vbb_u32 v)
{
	return put16(put16(p, v), v >> 16);
}

void vbb_capture_start(FILE *f)
{
	/* a section of unknown length; an interface without a limit: name, text, nanoseconds */
	static const vbb_u8 blocks[] = {
		0x0a, 0x0d, 0x0d, 0x0a, 28, 0, 0, 0, 0x4d, 0x3c, 0x2b, 0x1a, 1, 0, 0, 0,
		0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 28, 0, 0, 0,
		BLOCK_INTERFACE, 0, 0, 0, 76, 0, 0, 0, LINKTYPE_USER0, 0, 0, 0, 0, 0, 0, 0,
		2, 0, 7, 0, 'b', 'a', 'l', 'l', 'o', 'o', 'n', 0,
		3, 0, 28, 0, 'v', 'i', 'r', 't', 'i', 'o', '-', 'b', 'a', 'l', 'l', 'o', 'o', 'n',
		' ', 'p', 'a', 'g', 'e', ' ', 'm', 'e', 's', 's', 'a', 'g', 'e', 's',
		9, 0, 1, 0, 9, 0, 0, 0, 0, 0, 0, 0, 76, 0, 0, 0,
	};

	fwrite(blocks, 1, sizeof(blocks), f);
}

static void put_packet(FILE *f, const struct vbb_capture_hdr *hdr, struct vbb_cur *cur,
		       vbb_u32 off, vbb_u32 len, vbb_u64 time_ns)
{
	vbb_u8 head[8 + PACKET_LEN + VBB_CAPTURE_HDR_LEN], tail[3 + 4] = { 0 }, *p = head;
	vbb_u32 pad = -len & 3, block_len = (vbb_u32)sizeof(head) + len + pad + 4;
	size_t n;

	p = put32(p, BLOCK_PACKET);
	p = put32(p, block_len);
	p = put32(p, 0);
	p = put32(p, (vbb_u32)(time_ns >> 32));
	p = put32(p, (vbb_u32)(time_ns & 0xffffffff));
	p = put32(p, VBB_CAPTURE_HDR_LEN + len);
	p = put32(p, VBB_CAPTURE_HDR_LEN + len);
	*p++ = 1;
	*p++ = hdr->kind;
	*p++ = hdr->from;
	*p++ = (vbb_u8)hdr->role;
	p = put16(p, hdr->queue);
	p = put16(p, hdr->modes);
	p = put32(p, hdr->id);
	p = put32(p, hdr->in_len);
	p = put32(p, hdr->len);
	p = put32(p, off);
	fwrite(head, 1, (size_t)(p - head), f);
	for (; len; len -= (vbb_u32)n) {
		vbb_cur_settle(cur);
		n = cur->seg[cur->idx].len - cur->off;
		if (n > len)
			n = len;
		fwrite(vbb_cur_step(cur, n), 1, n, f);
	}
	put32(tail + pad, block_len);
	fwrite(tail, 1, pad + 4, f);
}

void vbb_capture_put(FILE *f, const struct vbb_capture_hdr *hdr, const struct vbb_seg *seg,
		     size_t nr_segs, vbb_u64 time_ns)
{
	vbb_u32 off = 0, all = vbb_capture_len(hdr), len;
	struct vbb_cur cur;

	vbb_cur_init(&cur, seg, nr_segs);
	do {
		len = all - off;
		if (len > VBB_CAPTURE_PACKET)
			len = VBB_CAPTURE_PACKET;
		put_packet(f, hdr, &cur, off, len, time_ns);
		off += len;
	} while (off < all);
}

void vbb_capture_open(struct vbb_capture *c, FILE *f)
{
	memset(c, 0, sizeof(*c));
	c->f = f;
}

static vbb_u32 get32(const struct vbb_capture *c, const vbb_u8 *p)
{
	vbb_u32 v = vbb_load32(p);

	return c->swapped ? __builtin_bswap32(v) : v;
}

static vbb_u32 get16(const struct vbb_capture *c, const vbb_u8 *p)
{
	vbb_u16 v = vbb_load16(p);

	return c->swapped ? __builtin_bswap16(v) : v;
}

static bool take(struct vbb_capture *c, vbb_u8 *p, size_t len)
{
	return fread(p, 1, len, c->f) == len;
}

/* A block that is being read */
struct block {
	vbb_u32 type;
	vbb_u32 len;	/* as it says itself, bytes */
	vbb_u32 left;	/* bytes of it before its end, which is its length again */
};

static bool section_begin(struct vbb_capture *c)
{
	vbb_u8 magic[MAGIC_LEN];

	c->swapped = false;
	if (!take(c, magic, sizeof(magic)))
		return false;
	c->swapped = get32(c, magic) != BYTE_ORDER_MAGIC;
	c->begun = true;
	c->ours = 0;
	c->nr_ifs = 0;
	return get32(c, magic) == BYTE_ORDER_MAGIC;
}

static int block_begin(struct vbb_capture *c, struct block *b)
{
	vbb_u32 min = BLOCK_LEN;
	vbb_u8 head[8];
	size_t n;

	n = fread(head, 1, sizeof(head), c->f);
	if (!n && c->begun && !ferror(c->f))
		return VBB_E_CLOSED;
	if (n < sizeof(head))
		return VBB_E_FRAME;
	b->type = get32(c, head);
	if (b->type == BLOCK_SECTION) {
		if (!section_begin(c))
			return VBB_E_FRAME;
		min += MAGIC_LEN;
	}
	b->len = get32(c, head + 4);
	if (!c->begun || b->len < min || b->len % 4)
		return VBB_E_FRAME;
	b->left = b->len - min;
	return 0;
}

static bool block_take(struct vbb_capture *c, struct block *b, vbb_u8 *p, size_t len)
{
	if (len > b->left || !take(c, p, len))
		return false;
	b->left -= (vbb_u32)len;
	return true;
}

static bool block_end(struct vbb_capture *c, struct block *b)
{
	vbb_u8 waste[512], tail[4];

	while (b->left)
		if (!block_take(c, b, waste, b->left < sizeof(waste) ? b->left : sizeof(waste)))
			return false;
	return take(c, tail, sizeof(tail)) && get32(c, tail) == b->len;
}

static bool interface_begin(struct vbb_capture *c, struct block *b)
{
	vbb_u8 p[INTERFACE_LEN];

	if (!block_take(c, b, p, sizeof(p)))
		return false;
	if (c->nr_ifs < VBB_CAPTURE_IFS)
		c->ours |= (vbb_u64)(get16(c, p) == LINKTYPE_USER0) << c->nr_ifs++;
	return true;
}

/* Our own bytes in a packet: its place in a message */
struct part {
	struct vbb_capture_hdr hdr;
	vbb_u32 off;
	vbb_u32 len;
};

static bool part_begin(struct vbb_capture *c, struct block *b, const vbb_u8 *packet,
		       struct part *part)
{
	struct vbb_capture_hdr *hdr = &part->hdr;
	vbb_u32 captured = get32(c, packet + 12);
	vbb_u8 p[VBB_CAPTURE_HDR_LEN];

	/* a capture that left out the ends of packets is no use */
	if (captured != get32(c, packet + 16) || captured < sizeof(p) ||
	    !block_take(c, b, p, sizeof(p)))
		return false;
	part->len = captured - VBB_CAPTURE_HDR_LEN;
	hdr->kind = p[1];
	hdr->from = p[2];
	hdr->role = p[3];
	hdr->queue = vbb_load16(p + 4);
	hdr->modes = vbb_load16(p + 6);
	hdr->id = vbb_load32(p + 8);
	hdr->in_len = vbb_load32(p + 12);
	hdr->len = vbb_load32(p + 16);
	part->off = vbb_load32(p + 20);
	return p[0] == 1 && hdr->from <= VBB_CAPTURE_DEVICE && hdr->role < VBB_CAPTURE_NR_ROLES &&
	       !(hdr->modes & ~(VBB_CAPTURE_BITMAP | VBB_CAPTURE_RECORDS)) &&
	       (hdr->kind == VBB_CAPTURE_MSG ||
		(hdr->kind == VBB_CAPTURE_DONE && !hdr->in_len));
}

/* The next packet of ours; the caller takes its bytes, and ends its block. */
static int part_next(struct vbb_capture *c, struct block *b, struct part *part)
{
	vbb_u8 p[PACKET_LEN];
	vbb_u32 interface;
	int err;

	while (err = block_begin(c, b), !err) {
		if (b->type == BLOCK_INTERFACE && !interface_begin(c, b))
			return VBB_E_FRAME;
		if (b->type == BLOCK_PACKET || b->type == BLOCK_OLD_PACKET ||
		    b->type == BLOCK_SIMPLE_PACKET)
			c->nr_packets++;
		if (b->type == BLOCK_PACKET) {
			if (!block_take(c, b, p, sizeof(p)))
				return VBB_E_FRAME;
			interface = get32(c, p);
			if (interface < c->nr_ifs && c->ours >> interface & 1)
				return part_begin(c, b, p, part) ? 0 : VBB_E_FRAME;
		}
		if (!block_end(c, b))
			return VBB_E_FRAME;
	}
	return err;
}

static int msg_read(struct vbb_capture *c, struct vbb_capture_hdr *hdr, vbb_u8 *buf,
		    size_t max_len)
{
	struct block block;
	struct part part;
	vbb_u32 len = 0, all;
	int err;

	err = part_next(c, &block, &part);
	if (err)
		return err;
	*hdr = part.hdr;
	all = vbb_capture_len(hdr);
	if (all > max_len)
		return VBB_E_FRAME;
	for (;;) {
		if (part.off != len || part.len > all - len || (!part.len && all) ||
		    !block_take(c, &block, buf + len, part.len) || !block_end(c, &block))
			return VBB_E_FRAME;
		len += part.len;
		if (len == all)
			return 0;
		if (part_next(c, &block, &part) || memcmp(hdr, &part.hdr, sizeof(*hdr)))
			return VBB_E_FRAME;
	}
}

int vbb_capture_next(struct vbb_capture *c, struct vbb_capture_hdr *hdr, vbb_u8 *buf,
		     size_t max_len)
{
	int err;

	if (c->end)
		return c->end;
	err = msg_read(c, hdr, buf, max_len);
	if (err)
		c->end = err == VBB_E_CLOSED ? VBB_E_CLOSED : VBB_E_BROKEN;
	return err;
}
