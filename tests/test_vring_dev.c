// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause
/* The split virtqueue's device side, against a driver that writes every byte. */
#define _GNU_SOURCE

#include "test_vring.h"

static void *gpa_ptr(vbb_u64 gpa)
{
	return rig.mem + (gpa - RIG_GPA);
}

static int dev_recv(void)
{
	return vbb_vring_dev_recv(&rig.dev, &rig.chain);
}

static void desc(unsigned int idx, vbb_u64 gpa, vbb_u32 len, unsigned int flags, unsigned int next)
{
	rig_desc(rig.ring.desc, idx, gpa, len, flags, next);
}

static void assert_seg(size_t idx, vbb_u64 gpa, size_t len)
{
	assert_ptr_equal(rig.seg[idx].base, gpa_ptr(gpa));
	assert_int_equal(rig.seg[idx].len, len);
}

/* The device's last word in the used ring */
static void assert_used(unsigned int idx, vbb_u32 id, vbb_u32 len)
{
	const vbb_u8 *p = rig.ring.used + 4 + 8 * ((idx - 1) & (rig.ring.num - 1));

	assert_int_equal(rig_get16(rig.ring.used + 2), idx);
	assert_int_equal(rig_get32(p), id);
	assert_int_equal(rig_get32(p + 4), len);
}

static void test_dev_direct(void **state)
{
	(void)state;
	dev_start(8, false, false);
	assert_int_equal(dev_recv(), VBB_E_AGAIN);
	desc(5, data_gpa(0), 100, F_NEXT, 7);
	desc(7, data_gpa(0), 0, F_NEXT, 1);
	desc(1, data_gpa(200), 1, F_NEXT, 0);
	desc(0, data_gpa(300), 16, F_WRITE | F_NEXT, 2);
	desc(2, 7, 0, F_WRITE, 0xffff);
	rig_avail(&rig, 5);
	assert_int_equal(dev_recv(), 0);
	assert_int_equal(rig.chain.nr_out, 2);
	assert_int_equal(rig.chain.nr_in, 1);
	assert_seg(0, data_gpa(0), 100);
	assert_seg(1, data_gpa(200), 1);
	assert_seg(2, data_gpa(300), 16);
	assert_int_equal(dev_recv(), VBB_E_AGAIN);

	assert_int_equal(vbb_vring_dev_done(&rig.dev, &rig.chain, 17), VBB_E_INVAL);
	rig.chain.cookie = 8;
	assert_int_equal(vbb_vring_dev_done(&rig.dev, &rig.chain, 0), VBB_E_INVAL);
	rig.chain.cookie = 4;
	assert_int_equal(vbb_vring_dev_done(&rig.dev, &rig.chain, 0), VBB_E_INVAL);
	rig.chain.cookie = 5;
	assert_int_equal(rig_get16(rig.ring.used + 2), 0);
	assert_int_equal(vbb_vring_dev_done(&rig.dev, &rig.chain, 16), 0);
	assert_used(1, 5, 16);
	assert_int_equal(vbb_vring_used_idx(&rig.ring), 1);
	assert_int_equal(vbb_vring_dev_done(&rig.dev, &rig.chain, 16), VBB_E_INVAL);
}

static void test_dev_indirect(void **state)
{
	unsigned int i;

	(void)state;
	dev_start(8, true, false);
	/* a descriptor in the ring, then a table, which ignores WRITE on the way in */
	desc(3, data_gpa(0), 32, F_NEXT, 4);
	desc(4, table_gpa(2) + 1, 48, F_INDIRECT | F_WRITE, 0);
	rig_desc(table(2) + 1, 0, data_gpa(64), 64, F_NEXT, 2);
	rig_desc(table(2) + 1, 2, data_gpa(512), 8, F_WRITE, 0);
	rig_avail(&rig, 3);
	assert_int_equal(dev_recv(), 0);
	assert_int_equal(rig.chain.nr_out, 2);
	assert_int_equal(rig.chain.nr_in, 1);
	assert_seg(0, data_gpa(0), 32);
	assert_seg(1, data_gpa(64), 64);
	assert_seg(2, data_gpa(512), 8);

	/* as many as the queue has, beside the one that leads there; and one more */
	desc(0, table_gpa(0), 16 * 8, F_INDIRECT, 0);
	for (i = 0; i < 9; i++)
		rig_desc(table(0), i, data_gpa(i), 1, i < 7 ? F_NEXT : 0, i + 1);
	rig_avail(&rig, 0);
	assert_int_equal(dev_recv(), 0);
	assert_int_equal(rig.chain.nr_out, 8);
	assert_int_equal(vbb_vring_dev_done(&rig.dev, &rig.chain, 0), 0);
	desc(0, table_gpa(0), 16 * 9, F_INDIRECT, 0);
	rig_put16(table(0) + 16 * 7 + 12, F_NEXT);
	rig_avail(&rig, 0);
	assert_int_equal(dev_recv(), VBB_E_RING_LOOP);
	assert_used(2, 0, 0);
}

/* Data and an indirect table over the borders of blocks that are apart in the host */
static void test_dev_blocks(void **state)
{
	vbb_u8 *split = rig.mem + RIG_DATA + 4096, entry[32];
	unsigned int i;

	(void)state;
	dev_start(8, true, false);
	/* guest: [0, 1000) [1000, 1001) then a hole of 10 bytes, and the rest */
	rig.ram[0] = (struct vbb_ram){ RIG_GPA, 1000, (uintptr_t)split, 0 };
	rig.ram[1] = (struct vbb_ram){ RIG_GPA + 1000, 1, (uintptr_t)split + 2000, 0 };
	rig.ram[2] = (struct vbb_ram){ RIG_GPA + 1011, 1000, (uintptr_t)split + 3000, 0 };
	rig.map.nr = 3;
	assert_int_equal(vbb_ram_map_check(&rig.map), 0);
	desc(0, RIG_GPA + 500, 501, F_WRITE, 0);
	rig_avail(&rig, 0);
	assert_int_equal(dev_recv(), 0);
	assert_int_equal(rig.chain.nr_out, 0);
	assert_int_equal(rig.chain.nr_in, 2);
	assert_ptr_equal(rig.seg[0].base, split + 500);
	assert_int_equal(rig.seg[0].len, 500);
	assert_ptr_equal(rig.seg[1].base, split + 2000);
	assert_int_equal(rig.seg[1].len, 1);
	assert_int_equal(vbb_vring_dev_done(&rig.dev, &rig.chain, 501), 0);

	/* into, over and out of the hole, and past the end */
	for (i = 0; i < 5; i++) {
		static const vbb_u32 off[] = { 1000, 990, 1005, 1001, 2000 };
		static const vbb_u32 len[] = { 2, 100, 10, 1, 12 };

		desc(0, RIG_GPA + off[i], len[i], 0, 0);
		rig_avail(&rig, 0);
		assert_int_equal(dev_recv(), VBB_E_RING_ADDR);
	}
	/* more segments than the caller can take: one, of two */
	rig.chain.max_segs = 1;
	desc(0, RIG_GPA + 500, 501, 0, 0);
	rig_avail(&rig, 0);
	assert_int_equal(dev_recv(), VBB_E_RING_LOOP);
	rig.chain.max_segs = RIG_SEGS;

	/* a table of two entries, each cut by the end of a block: at bytes 8 and 20 */
	rig_desc(entry, 0, RIG_GPA, 33, F_NEXT, 1);
	rig_desc(entry, 1, RIG_GPA + 7, 9, F_WRITE, 0);
	rig.ram[1].len = 12;
	rig.ram[2].gpa = RIG_GPA + 1012;
	memcpy(split + 992, entry, 8);
	memcpy(split + 2000, entry + 8, 12);
	memcpy(split + 3000, entry + 20, 12);
	desc(0, RIG_GPA + 992, 32, F_INDIRECT, 0);
	rig_avail(&rig, 0);
	assert_int_equal(dev_recv(), 0);
	assert_int_equal(rig.chain.nr_out, 1);
	assert_int_equal(rig.chain.nr_in, 1);
	assert_ptr_equal(rig.seg[0].base, split);
	assert_int_equal(rig.seg[0].len, 33);
	assert_ptr_equal(rig.seg[1].base, split + 7);
	assert_int_equal(rig.seg[1].len, 9);
	/* and with a hole in the second */
	rig.ram[2].gpa++;
	desc(1, RIG_GPA + 992, 32, F_INDIRECT, 0);
	rig_avail(&rig, 1);
	assert_int_equal(dev_recv(), VBB_E_RING_ADDR);
}

/* No table goes on at the other end of the address space. */
static void test_dev_wrap(void **state)
{
	vbb_u8 *end = rig.mem + RIG_DATA, *begin = end + 64;

	(void)state;
	dev_start(8, true, false);
	rig.ram[0] = (struct vbb_ram){ 0, 16, (uintptr_t)begin, 0 };
	rig.ram[1] = (struct vbb_ram){ 0 - (vbb_u64)16, 16, (uintptr_t)end, 0 };
	rig.map.nr = 2;
	assert_int_equal(vbb_ram_map_check(&rig.map), 0);
	rig_desc(end, 0, 0, 16, F_NEXT, 1);
	rig_desc(begin, 0, 0, 16, 0, 0);
	desc(0, 0 - (vbb_u64)16, 32, F_INDIRECT, 0);
	rig_avail(&rig, 0);
	assert_int_equal(dev_recv(), VBB_E_RING_ADDR);
	/* nor does a segment */
	desc(0, 0 - (vbb_u64)16, 32, 0, 0);
	rig_avail(&rig, 0);
	assert_int_equal(dev_recv(), VBB_E_RING_ADDR);
	desc(0, 0 - (vbb_u64)16, 16, 0, 0);
	rig_avail(&rig, 0);
	assert_int_equal(dev_recv(), 0);
	assert_ptr_equal(rig.seg[0].base, end);
	/* nor in a block that has both ends of it; no byte of that is touched */
	rig.ram[0] = (struct vbb_ram){ 0, ~(vbb_u64)0, 0, 0 };
	rig.map.nr = 1;
	assert_int_equal(vbb_ram_map_check(&rig.map), 0);
	rig_avail(&rig, 1);
	desc(1, 0 - (vbb_u64)16, 32, 0, 0);
	assert_int_equal(dev_recv(), VBB_E_RING_ADDR);
}

/* A wrong chain goes back with length 0, its fault is named once, and the next one is fine. */
static void test_dev_chain_faults(void **state)
{
	static const struct {
		vbb_u64 gpa;
		vbb_u32 len;
		unsigned int flags, next;
		bool indirect;
		int err;
	} bad[] = {
		{ RIG_GPA, 1, F_NEXT, 0, false, VBB_E_RING_LOOP },
		{ RIG_GPA, 0, F_NEXT, 0, false, VBB_E_RING_LOOP },
		{ RIG_GPA, 1, F_NEXT, 8, false, VBB_E_RING_INDEX },
		{ RIG_GPA, 1, F_NEXT, 0xffff, false, VBB_E_RING_INDEX },
		{ RIG_GPA, 1, F_WRITE | F_NEXT, 1, false, VBB_E_RING_DESC },
		{ RIG_GPA, 0, F_WRITE | F_NEXT, 1, false, VBB_E_RING_DESC },
		{ RIG_GPA - 1, 1, 0, 0, false, VBB_E_RING_ADDR },
		{ RIG_GPA - 1, 2, 0, 0, false, VBB_E_RING_ADDR },
		{ RIG_GPA + RIG_SIZE, 1, 0, 0, false, VBB_E_RING_ADDR },
		{ RIG_GPA + RIG_SIZE - 1, 2, 0, 0, false, VBB_E_RING_ADDR },
		{ ~(vbb_u64)0, 2, 0, 0, false, VBB_E_RING_ADDR },
		{ ~(vbb_u64)0, 1, 0, 0, false, VBB_E_RING_ADDR },
		{ ~(vbb_u64)0 - 0xfffffffe, 0xffffffff, 0, 0, false, VBB_E_RING_ADDR },
		{ RIG_GPA, 0xffffffff, 0, 0, false, VBB_E_RING_ADDR },
		{ 0, 16, 0, 0, false, VBB_E_RING_ADDR },
		/* indirect: not negotiated; with NEXT; of no, odd, wrapping length; outside */
		{ RIG_GPA + RIG_TABLES, 16, F_INDIRECT, 0, false, VBB_E_RING_DESC },
		{ RIG_GPA + RIG_TABLES, 16, F_INDIRECT | F_NEXT, 1, true, VBB_E_RING_DESC },
		{ RIG_GPA + RIG_TABLES, 0, F_INDIRECT, 0, true, VBB_E_RING_DESC },
		{ RIG_GPA + RIG_TABLES, 15, F_INDIRECT, 0, true, VBB_E_RING_DESC },
		{ RIG_GPA + RIG_TABLES, 0xfffffff1, F_INDIRECT, 0, true, VBB_E_RING_DESC },
		{ 0 - (vbb_u64)16, 32, F_INDIRECT, 0, true, VBB_E_RING_ADDR },
		{ 0 - (vbb_u64)16, 16, F_INDIRECT, 0, true, VBB_E_RING_ADDR },
		{ RIG_GPA + RIG_SIZE - 15, 16, F_INDIRECT, 0, true, VBB_E_RING_ADDR },
		{ RIG_GPA, 128, F_INDIRECT, 0, true, VBB_E_RING_DESC },
		/* in the table: next past its end, which is inside the queue */
		{ RIG_GPA + RIG_TABLES, 16, F_INDIRECT, 0, true, VBB_E_RING_INDEX },
		/* and a loop there */
		{ RIG_GPA + RIG_TABLES, 32, F_INDIRECT, 0, true, VBB_E_RING_LOOP },
	};
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		dev_start(8, bad[i].indirect, false);
		desc(0, bad[i].gpa, bad[i].len, bad[i].flags, bad[i].next);
		desc(1, data_gpa(0), 1, 0, 0);
		rig_desc(table(0), 0, data_gpa(0), 1, F_NEXT, 1);
		rig_desc(table(0), 1, data_gpa(0), 1, F_NEXT, 0);
		rig_avail(&rig, 0);
		rig_avail(&rig, 1);
		assert_int_equal(dev_recv(), bad[i].err);
		assert_used(1, 0, 0);
		assert_true(vbb_vring_dev_should_notify(&rig.dev));
		assert_int_equal(dev_recv(), 0);
		assert_int_equal(rig.chain.nr_out, 1);
		assert_seg(0, data_gpa(0), 1);
		assert_int_equal(vbb_vring_dev_done(&rig.dev, &rig.chain, 0), 0);
		assert_int_equal(dev_recv(), VBB_E_AGAIN);
	}
}

/* A chain has 2^32 bytes at most, and the device can say 2^32 - 1. No byte of them is touched. */
static void test_dev_chain_len(void **state)
{
	(void)state;
	if (sizeof(size_t) < 8)
		test_skip("no length of 2^32 in 32 bit");
	dev_start(8, false, false);
	rig.ram[0].len = (vbb_u64)1 << 33;
	desc(0, RIG_GPA, 0xffffffff, F_WRITE | F_NEXT, 1);
	desc(1, RIG_GPA, 1, F_WRITE, 0);
	rig_avail(&rig, 0);
	assert_int_equal(dev_recv(), 0);
	assert_int_equal(vbb_vring_dev_done(&rig.dev, &rig.chain, (vbb_u64)1 << 32), VBB_E_INVAL);
	assert_int_equal(vbb_vring_dev_done(&rig.dev, &rig.chain, 0xffffffff), 0);
	assert_used(1, 0, 0xffffffff);
	desc(1, RIG_GPA, 2, F_WRITE, 0);
	rig_avail(&rig, 0);
	assert_int_equal(dev_recv(), VBB_E_RING_DESC);
}

static void assert_dev_broken(void)
{
	assert_int_equal(dev_recv(), VBB_E_RING_INDEX);
	assert_int_equal(dev_recv(), VBB_E_BROKEN);
	assert_int_equal(vbb_vring_dev_done(&rig.dev, &rig.chain, 0), VBB_E_BROKEN);
	assert_false(vbb_vring_dev_listen(&rig.dev));
	assert_int_equal(vbb_vring_dev_init(&rig.dev, &rig.ring, &rig.map, rig.lent, 0, 0), 0);
}

static void test_dev_ring_faults(void **state)
{
	unsigned int i;

	(void)state;
	dev_start(8, false, false);
	for (i = 0; i < 8; i++)
		desc(i, data_gpa(i), 1, 0, 0);
	/* forwards too far, and backwards */
	rig_put16(rig.ring.avail + 2, 9);
	assert_dev_broken();
	rig_put16(rig.ring.avail + 2, 0xffff);
	assert_dev_broken();
	/* as many as there are, but one of them is with us */
	rig_put16(rig.ring.avail + 2, 0);
	for (i = 0; i < 8; i++)
		rig_avail(&rig, i);
	assert_int_equal(dev_recv(), 0);
	rig_avail(&rig, 1);
	assert_dev_broken();
	/* no entry of the queue */
	rig_put16(rig.ring.avail + 2, 0);
	rig_avail(&rig, 8);
	assert_dev_broken();
	/* one that we have */
	rig_put16(rig.ring.avail + 2, 0);
	rig_avail(&rig, 6);
	rig_avail(&rig, 6);
	assert_int_equal(dev_recv(), 0);
	assert_dev_broken();
}

/* Going on where another device stopped, over the wrap of the index */
static void test_dev_resume(void **state)
{
	unsigned int i;

	(void)state;
	rig_init(&rig, 4, false, false);
	rig_put16(rig.ring.avail + 2, 0xfffe);
	rig_put16(rig.ring.used + 2, 0xfffd);
	desc(2, data_gpa(0), 1, 0, 0);
	assert_int_equal(vbb_vring_dev_init(&rig.dev, &rig.ring, &rig.map, rig.lent, 0xfffe,
					    vbb_vring_used_idx(&rig.ring)), 0);
	for (i = 0xfffe; i < 0x10005; i++) {
		assert_int_equal(dev_recv(), VBB_E_AGAIN);
		rig_avail(&rig, 2);
		assert_int_equal(dev_recv(), 0);
		assert_int_equal(vbb_vring_dev_done(&rig.dev, &rig.chain, 0), 0);
		assert_used(i & 0xffff, 2, 0);
	}
	assert_int_equal(rig.dev.last_avail, 5);
}

static void dev_turn(unsigned int nr)
{
	while (nr--) {
		rig_avail(&rig, 0);
		assert_int_equal(dev_recv(), 0);
		assert_int_equal(vbb_vring_dev_done(&rig.dev, &rig.chain, 0), 0);
	}
}

static void test_dev_notify(void **state)
{
	vbb_u8 *used_event, *avail_event;

	(void)state;
	dev_start(4, false, false);
	assert_false(vbb_vring_dev_should_notify(&rig.dev));
	dev_turn(1);
	assert_true(vbb_vring_dev_should_notify(&rig.dev));
	assert_false(vbb_vring_dev_should_notify(&rig.dev));
	rig_put16(rig.ring.avail, 1);
	dev_turn(1);
	assert_false(vbb_vring_dev_should_notify(&rig.dev));
	vbb_vring_dev_mute(&rig.dev);
	assert_int_equal(rig_get16(rig.ring.used), 1);
	assert_false(vbb_vring_dev_listen(&rig.dev));
	assert_int_equal(rig_get16(rig.ring.used), 0);
	rig_avail(&rig, 0);
	assert_true(vbb_vring_dev_listen(&rig.dev));

	dev_start(4, false, true);
	used_event = rig.ring.avail + 4 + 2 * 4;
	avail_event = rig.ring.used + 4 + 8 * 4;
	rig_put16(rig.ring.avail, 1);	/* means nothing now */
	/* the driver wants to know when entry 2 is used */
	rig_put16(used_event, 2);
	dev_turn(2);
	assert_false(vbb_vring_dev_should_notify(&rig.dev));
	dev_turn(1);
	assert_true(vbb_vring_dev_should_notify(&rig.dev));
	dev_turn(1);
	assert_false(vbb_vring_dev_should_notify(&rig.dev));
	/* stepped over in a batch */
	rig_put16(used_event, 5);
	dev_turn(7);
	assert_true(vbb_vring_dev_should_notify(&rig.dev));
	/* all the way round: whatever the event is, it was passed */
	rig_put16(used_event, 11);
	dev_turn(0x10000);
	assert_true(vbb_vring_dev_should_notify(&rig.dev));
	vbb_vring_dev_mute(&rig.dev);
	assert_int_equal(rig_get16(rig.ring.used), 0);
	assert_false(vbb_vring_dev_listen(&rig.dev));
	assert_int_equal(rig_get16(avail_event), 11);
	assert_int_equal(rig_get16(rig.ring.used), 0);
	rig_avail(&rig, 0);
	assert_true(vbb_vring_dev_listen(&rig.dev));
	assert_int_equal(rig_get16(avail_event), 11);
}

/* Another walk over a chain, by plain loads from one block: it says what the device must say. */
struct walked {
	int err;
	size_t nr_out, nr_in;
	vbb_u64 gpa[RIG_MAX];
	vbb_u32 len[RIG_MAX];
};

static bool in_ram(vbb_u64 gpa, vbb_u64 len)
{
	return gpa >= RIG_GPA && gpa - RIG_GPA <= RIG_SIZE && len <= RIG_SIZE - (gpa - RIG_GPA);
}

static void oracle(unsigned int head, struct walked *w)
{
	const vbb_u8 *tbl = rig.ring.desc, *p;
	vbb_u32 limit = rig.ring.num, idx = head, len;
	bool nested = false, writable = false;
	unsigned int nr, flags;
	vbb_u64 gpa;

	memset(w, 0, sizeof(*w));
	for (nr = 0;;) {
		if (idx >= limit) {
			w->err = VBB_E_RING_INDEX;
			return;
		}
		if (nr == rig.ring.num) {
			w->err = VBB_E_RING_LOOP;
			return;
		}
		p = tbl + 16 * idx;
		if (nested && !in_ram(RIG_GPA + (vbb_u64)(p - rig.mem), 16)) {
			w->err = VBB_E_RING_ADDR;
			return;
		}
		gpa = rig_get64(p);
		len = rig_get32(p + 8);
		flags = rig_get16(p + 12);
		if (flags & F_INDIRECT) {
			if (nested || (flags & F_NEXT) || !rig.ring.indirect || !len ||
			    len % 16) {
				w->err = VBB_E_RING_DESC;
				return;
			}
			if (!in_ram(gpa, 16)) {
				w->err = VBB_E_RING_ADDR;
				return;
			}
			nested = true;
			tbl = gpa_ptr(gpa);
			limit = len / 16;
			idx = 0;
			continue;
		}
		nr++;
		if (writable && !(flags & F_WRITE)) {
			w->err = VBB_E_RING_DESC;
			return;
		}
		writable = flags & F_WRITE;
		if (len && !in_ram(gpa, len)) {
			w->err = VBB_E_RING_ADDR;
			return;
		}
		if (len) {
			w->gpa[w->nr_out + w->nr_in] = gpa;
			w->len[w->nr_out + w->nr_in] = len;
			if (writable)
				w->nr_in++;
			else
				w->nr_out++;
		}
		if (!(flags & F_NEXT))
			return;
		idx = rig_get16(p + 14);
	}
}

/* A random descriptor, likelier right than wrong in each of its fields */
static void random_desc(uint64_t *seed, vbb_u8 *p, vbb_u32 limit)
{
	vbb_u64 gpa = data_gpa(0) + test_below(seed, 65536);
	vbb_u32 len = (vbb_u32)test_below(seed, 300);
	unsigned int flags = test_below(seed, 8) ? F_NEXT : 0;

	if (!test_below(seed, 40))
		gpa = test_rand(seed);
	if (!test_below(seed, 40))
		len = (vbb_u32)test_rand(seed);
	if (!test_below(seed, 12))
		flags |= F_WRITE;
	if (!test_below(seed, 12)) {
		flags = test_below(seed, 8) ? F_INDIRECT : F_INDIRECT | F_NEXT;
		gpa = table_gpa((unsigned int)test_below(seed, RIG_MAX));
		len = 16 * (vbb_u32)test_below(seed, RIG_MAX + 2);
		if (!test_below(seed, 8))
			gpa = RIG_GPA + RIG_SIZE - test_below(seed, 100);
	}
	if (!test_below(seed, 40))
		flags = (unsigned int)test_below(seed, 65536);
	rig_desc(p, 0, gpa, len, flags,
		 (unsigned int)(test_below(seed, 20) ? test_below(seed, limit) : limit));
}

static void test_dev_random(void **state)
{
	unsigned int round, i, idx = 0, seen[VBB_NR_FAULTS + 1] = { 0 };
	uint64_t seed = 1;
	struct walked want;
	int err, fault;
	size_t j;

	(void)state;
	for (round = 0; round < 3000; round++) {
		vbb_u32 num = 1u << test_below(&seed, 7);

		dev_start(num, test_below(&seed, 4), false);
		for (i = 0; i < num; i++)
			random_desc(&seed, rig.ring.desc + 16 * i, num);
		for (i = 0; i < RIG_MAX * RIG_MAX; i++)
			random_desc(&seed, table(0) + 16 * i, 1 + i % RIG_MAX);
		for (i = 0; i < num; i++) {
			idx = (unsigned int)test_below(&seed, num);
			oracle(idx, &want);
			rig_avail(&rig, idx);
			err = dev_recv();
			assert_int_equal(err, want.err);
			fault = vbb_err_fault(err);
			seen[fault < 0 ? VBB_NR_FAULTS : fault]++;
			if (err) {
				assert_used(i + 1, idx, 0);
				continue;
			}
			assert_int_equal(rig.chain.nr_out, want.nr_out);
			assert_int_equal(rig.chain.nr_in, want.nr_in);
			for (j = 0; j < want.nr_out + want.nr_in; j++)
				assert_seg(j, want.gpa[j], want.len[j]);
			assert_int_equal(vbb_vring_dev_done(&rig.dev, &rig.chain, 0), 0);
		}
	}
	/* each kind was there */
	assert_in_range(seen[VBB_NR_FAULTS], 500, ~0u);
	assert_in_range(seen[vbb_err_fault(VBB_E_RING_INDEX)], 500, ~0u);
	assert_in_range(seen[vbb_err_fault(VBB_E_RING_LOOP)], 500, ~0u);
	assert_in_range(seen[vbb_err_fault(VBB_E_RING_ADDR)], 500, ~0u);
	assert_in_range(seen[vbb_err_fault(VBB_E_RING_DESC)], 500, ~0u);
}

/* What came before a hang-up can be taken, also where both were found at once. */
static void test_end_closed(void **state)
{
	const struct vbb_vring_fds fds = { -1, -1 };
	struct vbb_vring_end end;
	struct pollfd pollfd[2];

	(void)state;
	dev_start(4, false, false);
	vbb_vring_end_init_dev(&end, &rig.dev, 1, &fds, pollfd, -1);
	desc(0, data_gpa(0), 1, 0, 0);
	rig_avail(&rig, 0);
	end.closed = true;
	assert_int_equal(vbb_transport_wait(&end.t, ~(vbb_u64)0), 0);
	assert_int_equal(vbb_transport_recv(&end.t, 0, &rig.chain), 0);
	assert_int_equal(vbb_transport_wait(&end.t, ~(vbb_u64)0), VBB_E_CLOSED);
	assert_int_equal(vbb_transport_recv(&end.t, 0, &rig.chain), VBB_E_CLOSED);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_dev_direct),
		cmocka_unit_test(test_dev_indirect),
		cmocka_unit_test(test_dev_blocks),
		cmocka_unit_test(test_dev_wrap),
		cmocka_unit_test(test_dev_chain_faults),
		cmocka_unit_test(test_dev_chain_len),
		cmocka_unit_test(test_dev_ring_faults),
		cmocka_unit_test(test_dev_resume),
		cmocka_unit_test(test_dev_notify),
		cmocka_unit_test(test_dev_random),
		cmocka_unit_test(test_end_closed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
