// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause
/*
 * Property: whatever a driver writes into a virtqueue, also while the device reads it, the device's
 * side lends guest memory only, in segments that fit, with bounded work, and uses each head once.
 */
#define VBB_COUNT_LOADS

#include "fuzz.h"
#include "../transports/vring_dev.c"

#define MAX_NUM 64
#define MAX_SEGS (MAX_NUM + 2)
#define NR_BLOCKS 3
#define BLOCK_LEN 1024
#define GPA 0x10000

static struct {
	struct vbb_ram ram[NR_BLOCKS];
	struct vbb_ram_map map;
	struct vbb_vring ring;
	struct vbb_vring_dev dev;
	struct {
		struct vbb_seg seg[MAX_SEGS];
		struct vbb_chain chain;
	} held[MAX_NUM];
	size_t nr_held;
	vbb_u64 loads;		/* bytes */
	vbb_u64 race;		/* state of what rewrites memory under a load; 0: none */
} f;

/* Called before each load: the driver is always faster. */
void vbb_count_load(const void *p, unsigned int len)
{
	f.loads += len;
	if (!f.race)
		return;
	f.race = f.race * 6364136223846793005u + 1442695040888963407u;
	if (f.race >> 61)
		return;
	((vbb_u8 *)(uintptr_t)p)[(f.race >> 32) % len] ^= (vbb_u8)(1u << (f.race >> 40) % 8);
}

static vbb_u8 *block(unsigned int nr)
{
	return (vbb_u8 *)(uintptr_t)f.ram[nr].addr;
}

static void start(struct fuzz_input *in)
{
	vbb_u32 num = 1u << fuzz_take(in, 1) % 7, len;
	vbb_u8 flags = (vbb_u8)fuzz_take(in, 1);
	vbb_u64 gpa = GPA;
	vbb_u16 base = 0;
	unsigned int i;

	memset(&f, 0, sizeof(f));
	for (i = 0; i < NR_BLOCKS; i++) {
		len = 1 + (vbb_u32)fuzz_take(in, 2) % BLOCK_LEN;
		f.ram[i] = (struct vbb_ram){ gpa, len, (uintptr_t)fuzz_alloc(len), 0 };
		memset(block(i), 0, len);
		/* a hole, or none */
		gpa += len + fuzz_take(in, 1) % 4;
	}
	f.map = (struct vbb_ram_map){ f.ram, NR_BLOCKS };
	fuzz_check(!vbb_ram_map_check(&f.map));
	f.ring.num = num;
	f.ring.indirect = flags & 1;
	f.ring.event_idx = flags & 2;
	f.ring.desc = fuzz_alloc(VBB_VRING_DESC_LEN(num));
	f.ring.avail = fuzz_alloc(VBB_VRING_AVAIL_LEN(num));
	f.ring.used = fuzz_alloc(VBB_VRING_USED_LEN(num));
	memset(f.ring.desc, 0, VBB_VRING_DESC_LEN(num));
	memset(f.ring.avail, 0, VBB_VRING_AVAIL_LEN(num));
	memset(f.ring.used, 0, VBB_VRING_USED_LEN(num));
	if (flags & 4) {
		base = (vbb_u16)(0 - num);
		f.ring.avail[2] = f.ring.used[2] = (vbb_u8)(base & 0xff);
		f.ring.avail[3] = f.ring.used[3] = (vbb_u8)(base >> 8);
	}
	fuzz_check(!vbb_vring_dev_init(&f.dev, &f.ring, &f.map, fuzz_alloc(num), base, base));
}

static void stop(void)
{
	unsigned int i;

	for (i = 0; i < NR_BLOCKS; i++)
		free(block(i));
	free(f.ring.desc);
	free(f.ring.avail);
	free(f.ring.used);
	free(f.dev.lent);
}

/* A descriptor with addresses that are likely to be good */
static void put_desc(struct fuzz_input *in, vbb_u8 *p)
{
	vbb_u64 gpa = GPA + fuzz_take(in, 2) % (NR_BLOCKS * BLOCK_LEN);
	vbb_u64 len = fuzz_take(in, 1), flags = fuzz_take(in, 1), next;

	if (flags & 0x80)
		gpa = fuzz_take(in, 8);
	if (flags & 0x40)
		len = fuzz_take(in, 4);
	if (flags & 0x20)
		len *= 16;
	next = fuzz_take(in, 1);
	if (flags & 0x10)
		next |= fuzz_take(in, 1) << 8;
	vbb_store64(p, gpa);
	vbb_store64(p + 8, (len & 0xffffffff) | (flags & 7) << 32 | next << 48);
}

static void push(vbb_u16 head)
{
	vbb_u16 idx = (vbb_u16)(f.ring.avail[2] | f.ring.avail[3] << 8);
	vbb_u8 *p = f.ring.avail + 4 + 2 * (idx & (f.ring.num - 1));

	p[0] = (vbb_u8)(head & 0xff);
	p[1] = (vbb_u8)(head >> 8);
	idx++;
	f.ring.avail[2] = (vbb_u8)(idx & 0xff);
	f.ring.avail[3] = (vbb_u8)(idx >> 8);
}

/* Is it guest memory? Touch it, so that a sanitizer has a say. */
static void check_seg(const struct vbb_seg *seg, bool writable)
{
	vbb_u8 *p = seg->base;
	unsigned int i;

	for (i = 0; i < NR_BLOCKS; i++)
		if (p >= block(i) && p < block(i) + f.ram[i].len)
			break;
	fuzz_check(i < NR_BLOCKS);
	fuzz_check(seg->len && seg->len <= f.ram[i].len - (size_t)(p - block(i)));
	if (writable)
		p[seg->len - 1] ^= p[0];
}

static void recv_one(void)
{
	struct vbb_chain *c = &f.held[f.nr_held].chain;
	bool broken = f.dev.broken;
	vbb_u16 used = f.dev.used_idx;
	size_t i;
	int err;

	if (f.nr_held == MAX_NUM)
		return;
	c->seg = f.held[f.nr_held].seg;
	c->max_segs = MAX_SEGS;
	f.loads = 0;
	err = vbb_vring_dev_recv(&f.dev, c);
	/* index, head, and each descriptor once, an indirect table's own too */
	fuzz_check(f.loads <= 2 + 2 + 16 * (f.ring.num + 1));
	fuzz_check(!broken || err == VBB_E_BROKEN);
	fuzz_check(err != VBB_E_BROKEN || broken);
	if (err) {
		/* a faulty chain went back; an index that was wrong did not */
		bool back = err != VBB_E_AGAIN && err != VBB_E_BROKEN && !f.dev.broken;

		fuzz_check(!f.dev.broken || broken || err == VBB_E_RING_INDEX);
		fuzz_check((vbb_u16)(f.dev.used_idx - used) == back);
		return;
	}
	fuzz_check(f.dev.used_idx == used);
	fuzz_check(c->nr_out + c->nr_in <= MAX_SEGS);
	for (i = 0; i < c->nr_out + c->nr_in; i++)
		check_seg(&c->seg[i], i >= c->nr_out);
	for (i = 0; i < f.nr_held; i++)
		fuzz_check(f.held[i].chain.cookie != c->cookie);
	f.nr_held++;
	fuzz_check(f.dev.nr_lent == f.nr_held);
}

static void done_one(size_t nr, vbb_u64 written)
{
	struct vbb_chain *c = &f.held[nr].chain;
	vbb_u64 len = vbb_segs_len(c->seg + c->nr_out, c->nr_in);
	vbb_u16 used = f.dev.used_idx;
	const vbb_u8 *p = f.ring.used + 4 + 8 * (used & (f.ring.num - 1));
	int err;

	err = vbb_vring_dev_done(&f.dev, c, written);
	if (f.dev.broken) {
		fuzz_check(err == VBB_E_BROKEN);
		return;
	}
	fuzz_check(err == (written > len ? VBB_E_INVAL : 0));
	if (err)
		return;
	fuzz_check(p[0] == c->cookie && p[4] == (written & 0xff));
	fuzz_check(f.dev.used_idx == (vbb_u16)(used + 1));
	/* once */
	fuzz_check(vbb_vring_dev_done(&f.dev, c, 0) == VBB_E_INVAL);
	f.nr_held--;
	if (nr != f.nr_held) {
		memcpy(f.held[nr].seg, f.held[f.nr_held].seg, sizeof(f.held[nr].seg));
		*c = f.held[f.nr_held].chain;
		c->seg = f.held[nr].seg;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input in = { data, size };
	unsigned int nr;
	size_t off;

	start(&in);
	while (in.size) {
		vbb_u8 op = (vbb_u8)fuzz_take(&in, 1);

		switch (op % 8) {
		case 0:
			off = (size_t)fuzz_take(&in, 1) % f.ring.num;
			put_desc(&in, f.ring.desc + 16 * off);
			break;
		case 1:
			nr = op / 8 % NR_BLOCKS;
			off = (size_t)(fuzz_take(&in, 2) % f.ram[nr].len);
			if (f.ram[nr].len - off >= 16)
				put_desc(&in, block(nr) + off);
			break;
		case 2:
			push((vbb_u16)(fuzz_take(&in, 1) | (op & 0x80 ? 0x100 : 0)));
			break;
		case 3:
			off = (size_t)fuzz_take(&in, 1) % VBB_VRING_AVAIL_LEN(f.ring.num);
			f.ring.avail[off] = (vbb_u8)fuzz_take(&in, 1);
			break;
		case 4:
			recv_one();
			break;
		case 5:
			if (f.nr_held)
				done_one((size_t)fuzz_take(&in, 1) % f.nr_held, fuzz_take(&in, 1));
			break;
		case 6:
			vbb_vring_dev_should_notify(&f.dev);
			if (op & 8)
				vbb_vring_dev_mute(&f.dev);
			else
				vbb_vring_dev_listen(&f.dev);
			break;
		case 7:
			f.race = fuzz_take(&in, 2);
			break;
		}
	}
	stop();
	return 0;
}
