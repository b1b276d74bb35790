// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause
/* The split virtqueue's driver side, against a device that writes every byte; then both sides. */
#define _GNU_SOURCE

#include "test_vring.h"

static void test_init(void **state)
{
	static const vbb_u32 bad[] = { 0, 3, 12, 32767, 65536, 0x80000000 };
	struct vbb_vring_tables tables = { rig.mem + RIG_TABLES, RIG_MAX };
	struct vbb_vring ring;
	vbb_u8 lent[1];
	size_t i;

	(void)state;
	rig_init(&rig, 1, true, false);
	for (i = 0; i < ARRAY_SIZE(bad) + 3; i++) {
		ring = rig.ring;
		if (i < ARRAY_SIZE(bad))
			ring.num = bad[i];
		ring.desc += i == ARRAY_SIZE(bad) ? 8 : 0;
		ring.avail += i == ARRAY_SIZE(bad) + 1 ? 1 : 0;
		ring.used += i == ARRAY_SIZE(bad) + 2 ? 2 : 0;
		assert_int_equal(vbb_vring_dev_init(&rig.dev, &ring, &rig.map, lent, 0, 0),
				 VBB_E_INVAL);
		assert_int_equal(vbb_vring_drv_init(&rig.drv, &ring, &rig.map, rig.slot, NULL),
				 VBB_E_INVAL);
	}
	assert_int_equal(vbb_vring_dev_init(&rig.dev, &rig.ring, &rig.map, lent, 0, 0), 0);

	/* more entries than the queue has; not in RAM; not negotiated */
	rig_init(&rig, RIG_MAX, true, false);
	tables.nr_descs = RIG_MAX + 1;
	assert_int_equal(vbb_vring_drv_init(&rig.drv, &rig.ring, &rig.map, rig.slot, &tables),
			 VBB_E_INVAL);
	tables.nr_descs = RIG_MAX;
	tables.base = rig.mem + RIG_SIZE - 16 * RIG_MAX * RIG_MAX + 1;
	assert_int_equal(vbb_vring_drv_init(&rig.drv, &rig.ring, &rig.map, rig.slot, &tables),
			 VBB_E_INVAL);
	tables.base--;
	assert_int_equal(vbb_vring_drv_init(&rig.drv, &rig.ring, &rig.map, rig.slot, &tables), 0);
	rig.ring.indirect = false;
	assert_int_equal(vbb_vring_drv_init(&rig.drv, &rig.ring, &rig.map, rig.slot, &tables),
			 VBB_E_INVAL);
}

static void drv_start(vbb_u32 num, vbb_u32 nr_table, bool event_idx)
{
	struct vbb_vring_tables tables = { rig.mem + RIG_TABLES, nr_table };

	rig_init(&rig, num, nr_table, event_idx);
	assert_int_equal(vbb_vring_drv_init(&rig.drv, &rig.ring, &rig.map, rig.slot, &tables), 0);
}

static struct vbb_seg data_seg(unsigned int off, size_t len)
{
	return (struct vbb_seg){ rig.mem + RIG_DATA + off, len };
}

static int drv_send(unsigned int nr_out, unsigned int nr_in, void *token)
{
	struct vbb_seg seg[RIG_MAX + 1];
	unsigned int i;

	for (i = 0; i < nr_out + nr_in; i++)
		seg[i] = data_seg(16 * i, 1 + i);
	return vbb_vring_drv_send(&rig.drv, seg, nr_out, seg + nr_out, nr_in, token);
}

static void test_drv_send(void **state)
{
	struct vbb_seg seg[3];
	void *token = NULL;
	vbb_u64 len;

	(void)state;
	drv_start(8, 0, false);
	assert_int_equal(vbb_vring_drv_reap(&rig.drv, &token, &len), VBB_E_AGAIN);
	/* nothing; nothing in segments; memory that is no guest's, in part, and at once too long */
	assert_int_equal(drv_send(0, 0, NULL), VBB_E_INVAL);
	seg[0] = (struct vbb_seg){ NULL, 0 };
	assert_int_equal(vbb_vring_drv_send(&rig.drv, seg, 1, seg, 1, NULL), VBB_E_INVAL);
	seg[0] = (struct vbb_seg){ &token, sizeof(token) };
	assert_int_equal(vbb_vring_drv_send(&rig.drv, seg, 1, NULL, 0, NULL), VBB_E_INVAL);
	assert_int_equal(vbb_vring_drv_send(&rig.drv, NULL, 0, seg, 1, NULL), VBB_E_INVAL);
	seg[0] = data_seg(65535, 2);
	assert_int_equal(vbb_vring_drv_send(&rig.drv, seg, 1, NULL, 0, NULL), VBB_E_INVAL);
	assert_int_equal(drv_send(5, 4, NULL), VBB_E_INVAL);
	assert_int_equal(rig_get16(rig.ring.avail + 2), 0);

	seg[0] = data_seg(0, 3);
	seg[1] = (struct vbb_seg){ NULL, 0 };
	seg[2] = data_seg(9, 7);
	assert_int_equal(vbb_vring_drv_send(&rig.drv, seg, 3, seg + 1, 2, seg), 0);
	assert_int_equal(rig_get16(rig.ring.avail + 2), 1);
	assert_int_equal(rig_get16(rig.ring.avail + 4), 0);
	assert_int_equal(rig_get64(rig.ring.desc), data_gpa(0));
	assert_int_equal(rig_get32(rig.ring.desc + 8), 3);
	assert_int_equal(rig_get16(rig.ring.desc + 12), F_NEXT);
	assert_int_equal(rig_get16(rig.ring.desc + 14), 1);
	assert_int_equal(rig_get64(rig.ring.desc + 16), data_gpa(9));
	assert_int_equal(rig_get16(rig.ring.desc + 28), F_NEXT);
	assert_int_equal(rig_get64(rig.ring.desc + 32), data_gpa(9));
	assert_int_equal(rig_get32(rig.ring.desc + 40), 7);
	assert_int_equal(rig_get16(rig.ring.desc + 44), F_WRITE);

	assert_int_equal(drv_send(3, 3, NULL), VBB_E_NOSPC);
	assert_int_equal(drv_send(3, 2, &rig), 0);
	assert_int_equal(drv_send(1, 0, NULL), VBB_E_NOSPC);
	rig_used(&rig, 3, 9);
	rig_used(&rig, 0, 7);
	assert_int_equal(vbb_vring_drv_reap(&rig.drv, &token, &len), 0);
	assert_ptr_equal(token, &rig);
	assert_int_equal(len, 9);
	assert_int_equal(vbb_vring_drv_reap(&rig.drv, &token, &len), 0);
	assert_ptr_equal(token, seg);
	assert_int_equal(len, 7);
	assert_int_equal(drv_send(4, 4, NULL), 0);
}

/* A chain has 2^32 bytes at most, a descriptor one less. No byte of them is touched. */
static void test_drv_len(void **state)
{
	struct vbb_seg seg[2];

	(void)state;
	if (sizeof(size_t) < 8)
		test_skip("no length of 2^32 in 32 bit");
	drv_start(8, 0, false);
	rig.ram[0].len = (vbb_u64)1 << 33;
	seg[0] = data_seg(0, 0xffffffff);
	seg[1] = data_seg(0, 2);
	assert_int_equal(vbb_vring_drv_send(&rig.drv, seg, 2, NULL, 0, NULL), VBB_E_INVAL);
	assert_int_equal(vbb_vring_drv_send(&rig.drv, seg, 1, seg + 1, 1, NULL), VBB_E_INVAL);
	seg[1].len = 1;
	assert_int_equal(vbb_vring_drv_send(&rig.drv, seg, 1, seg + 1, 1, NULL), 0);
	seg[0].len++;
	assert_int_equal(vbb_vring_drv_send(&rig.drv, seg, 1, NULL, 0, NULL), VBB_E_INVAL);
}

static void test_drv_indirect(void **state)
{
	unsigned int i;

	(void)state;
	drv_start(8, 4, false);
	/* one segment needs no table, five do not fit into one; each of the rest takes one entry */
	assert_int_equal(drv_send(1, 0, NULL), 0);
	assert_int_equal(rig_get16(rig.ring.desc + 12), 0);
	assert_int_equal(drv_send(3, 2, NULL), 0);
	assert_int_equal(rig_get16(rig.ring.desc + 16 + 12), F_NEXT);
	assert_int_equal(drv_send(3, 1, NULL), 0);
	assert_int_equal(rig_get64(rig.ring.desc + 96), table_gpa(0) + 6 * 64);
	assert_int_equal(rig_get32(rig.ring.desc + 96 + 8), 64);
	assert_int_equal(rig_get16(rig.ring.desc + 96 + 12), F_INDIRECT);
	for (i = 0; i < 4; i++) {
		const vbb_u8 *p = table(0) + 64 * 6 + 16 * i;

		assert_int_equal(rig_get64(p), data_gpa(16 * i));
		assert_int_equal(rig_get32(p + 8), i + 1);
		assert_int_equal(rig_get16(p + 12), (i == 3 ? F_WRITE : F_NEXT));
		if (i < 3)
			assert_int_equal(rig_get16(p + 14), i + 1);
	}
	assert_int_equal(drv_send(0, 2, NULL), 0);
	assert_int_equal(drv_send(1, 1, NULL), VBB_E_NOSPC);
}

/* The device rewrites every descriptor; the driver does not look. */
static void test_drv_scribble(void **state)
{
	uint64_t seed = 2;
	unsigned int i, round, lent = 0, tokens[8] = { 0 };
	vbb_u32 heads[8], head;
	void *token = NULL;
	vbb_u64 len;

	(void)state;
	drv_start(8, 0, false);
	for (round = 0; round < 20000; round++) {
		unsigned int out = 1 + (unsigned int)test_below(&seed, 2);

		if (test_below(&seed, 2) &&
		    !drv_send(out, (unsigned int)test_below(&seed, 2), &tokens[rig.drv.free])) {
			head = rig_get16(rig.ring.avail + 4 +
					 2 * ((rig_get16(rig.ring.avail + 2) - 1) & 7));
			assert_int_equal(tokens[head]++, 0);
			heads[lent++] = head;
		} else if (lent) {
			i = (unsigned int)test_below(&seed, lent);
			head = heads[i];
			heads[i] = heads[--lent];
			rig_used(&rig, head, 0);
			assert_int_equal(vbb_vring_drv_reap(&rig.drv, &token, &len), 0);
			assert_ptr_equal(token, &tokens[head]);
			assert_int_equal(tokens[head]--, 1);
		}
		for (i = 0; i < 16 * 8; i++)
			rig.ring.desc[i] = (vbb_u8)test_rand(&seed);
	}
}

static void assert_drv_broken(void)
{
	void *token;
	vbb_u64 len;

	assert_int_equal(vbb_vring_drv_reap(&rig.drv, &token, &len), VBB_E_RING_INDEX);
	assert_int_equal(vbb_vring_drv_reap(&rig.drv, &token, &len), VBB_E_BROKEN);
	assert_int_equal(drv_send(1, 0, NULL), VBB_E_BROKEN);
	assert_false(vbb_vring_drv_listen(&rig.drv));
}

static void test_drv_faults(void **state)
{
	static const struct {
		unsigned int nr_out;
		vbb_u32 id;
	} wrong[] = { { 1, 8 }, { 1, 0x10000 }, { 2, 1 }, { 1, 1 } };
	void *token = NULL;
	vbb_u64 len;
	size_t i;

	(void)state;
	/* an index that goes too far, and back */
	drv_start(8, 0, false);
	rig_used(&rig, 0, 0);
	assert_drv_broken();
	drv_start(8, 0, false);
	assert_int_equal(drv_send(1, 0, NULL), 0);
	rig_used(&rig, 0, 0);
	rig_used(&rig, 0, 0);
	assert_drv_broken();
	drv_start(8, 0, false);
	rig_put16(rig.ring.used + 2, 0xffff);
	assert_drv_broken();
	/* ids: no entry, with 32 bits; not the head of a chain; not lent; given twice */
	for (i = 0; i < ARRAY_SIZE(wrong); i++) {
		drv_start(8, 0, false);
		assert_int_equal(drv_send(wrong[i].nr_out, 0, NULL), 0);
		rig_used(&rig, wrong[i].id, 0);
		assert_drv_broken();
	}
	drv_start(8, 0, false);
	assert_int_equal(drv_send(1, 0, NULL), 0);
	assert_int_equal(drv_send(1, 0, NULL), 0);
	rig_used(&rig, 0, 0);
	rig_used(&rig, 0, 0);
	assert_int_equal(vbb_vring_drv_reap(&rig.drv, &token, &len), 0);
	assert_drv_broken();

	/* more than it could write: told once a chain, then all that it could */
	drv_start(8, 0, false);
	assert_int_equal(drv_send(1, 1, &rig), 0);
	assert_int_equal(drv_send(1, 1, NULL), 0);
	rig_used(&rig, 0, 3);
	rig_used(&rig, 2, 0xffffffff);
	assert_int_equal(vbb_vring_drv_reap(&rig.drv, &token, &len), VBB_E_RING_DESC);
	assert_int_equal(vbb_vring_drv_reap(&rig.drv, &token, &len), 0);
	assert_ptr_equal(token, &rig);
	assert_int_equal(len, 2);
	assert_int_equal(vbb_vring_drv_reap(&rig.drv, &token, &len), VBB_E_RING_DESC);
	assert_int_equal(vbb_vring_drv_reap(&rig.drv, &token, &len), 0);
	assert_int_equal(len, 2);
	assert_int_equal(vbb_vring_drv_reap(&rig.drv, &token, &len), VBB_E_AGAIN);

	/* also where the device has thought better of one that was told */
	drv_start(8, 0, false);
	assert_int_equal(drv_send(1, 1, &rig), 0);
	assert_int_equal(drv_send(1, 1, NULL), 0);
	rig_used(&rig, 0, 3);
	assert_int_equal(vbb_vring_drv_reap(&rig.drv, &token, &len), VBB_E_RING_DESC);
	rig_put32(rig.ring.used + 8, 1);
	assert_int_equal(vbb_vring_drv_reap(&rig.drv, &token, &len), 0);
	assert_int_equal(len, 1);
	rig_used(&rig, 2, 3);
	assert_int_equal(vbb_vring_drv_reap(&rig.drv, &token, &len), VBB_E_RING_DESC);
}

static void test_drv_notify(void **state)
{
	vbb_u8 *used_event, *avail_event;
	vbb_u64 len;
	void *token;

	(void)state;
	drv_start(4, 0, false);
	assert_false(vbb_vring_drv_should_kick(&rig.drv));
	assert_int_equal(drv_send(1, 0, NULL), 0);
	assert_true(vbb_vring_drv_should_kick(&rig.drv));
	assert_false(vbb_vring_drv_should_kick(&rig.drv));
	rig_put16(rig.ring.used, 1);
	assert_int_equal(drv_send(1, 0, NULL), 0);
	assert_false(vbb_vring_drv_should_kick(&rig.drv));
	vbb_vring_drv_mute(&rig.drv);
	assert_int_equal(rig_get16(rig.ring.avail), 1);
	assert_false(vbb_vring_drv_listen(&rig.drv));
	assert_int_equal(rig_get16(rig.ring.avail), 0);
	rig_used(&rig, 0, 0);
	assert_true(vbb_vring_drv_listen(&rig.drv));

	drv_start(4, 0, true);
	used_event = rig.ring.avail + 4 + 2 * 4;
	avail_event = rig.ring.used + 4 + 8 * 4;
	rig_put16(avail_event, 1);
	assert_int_equal(drv_send(1, 0, NULL), 0);
	assert_false(vbb_vring_drv_should_kick(&rig.drv));
	assert_int_equal(drv_send(1, 0, NULL), 0);
	assert_true(vbb_vring_drv_should_kick(&rig.drv));
	vbb_vring_drv_mute(&rig.drv);
	assert_int_equal(rig_get16(rig.ring.avail), 0);
	assert_false(vbb_vring_drv_listen(&rig.drv));
	rig_used(&rig, 1, 0);
	assert_true(vbb_vring_drv_listen(&rig.drv));
	assert_int_equal(vbb_vring_drv_reap(&rig.drv, &token, &len), 0);
	assert_false(vbb_vring_drv_listen(&rig.drv));
	assert_int_equal(rig_get16(used_event), 1);
}

/* Both sides over one memory: what goes in comes out, in order, whatever the cut and the size */
static void test_both(void **state)
{
	static vbb_u8 tokens[64];
	struct vbb_chain held[RIG_MAX];
	struct vbb_seg seg[8], held_seg[RIG_MAX][24];
	unsigned int round, i, nr_held, sent, reaped, step;
	uint64_t seed = 3, sum;
	vbb_u64 len;
	void *token;
	int err;

	(void)state;
	for (round = 0; round < 200; round++) {
		vbb_u32 num = 1u << (2 + test_below(&seed, 5));
		vbb_u64 cut = test_below(&seed, RIG_DATA + 65536);
		vbb_u64 nr_out_bytes[64] = { 0 }, answer[64] = { 0 };

		drv_start(num, (vbb_u32)test_below(&seed, 2) * 4, test_below(&seed, 2));
		assert_int_equal(vbb_vring_dev_init(&rig.dev, &rig.ring, &rig.map, rig.lent, 0, 0),
				 0);
		nr_held = sent = reaped = 0;
		for (step = 0; reaped < 64; step++) {
			unsigned int nr_out = (unsigned int)test_below(&seed, 4);
			unsigned int nr_in = (unsigned int)test_below(&seed, 4 - (nr_out == 3));
			vbb_u64 in_len;

			for (i = 0; i < nr_out + nr_in; i++)
				seg[i] = data_seg((unsigned int)test_below(&seed, 60000),
						  (size_t)test_below(&seed, 5000));
			in_len = vbb_segs_len(seg + nr_out, nr_in);
			if (sent < 64 && num >= nr_out + nr_in) {
				err = vbb_vring_drv_send(&rig.drv, seg, nr_out, seg + nr_out, nr_in,
							 &tokens[sent]);
				if (!err) {
					nr_out_bytes[sent] = vbb_segs_len(seg, nr_out);
					answer[sent] = in_len;
					sent++;
				}
			}
			held[nr_held].seg = held_seg[nr_held];
			held[nr_held].max_segs = 24;
			/* the device sees memory as two blocks, cut anywhere */
			if (cut) {
				rig.ram[0].len = cut;
				rig.ram[1] = (struct vbb_ram){ RIG_GPA + cut, RIG_SIZE - cut,
							       (uintptr_t)rig.mem + cut, 0 };
				rig.map.nr = 2;
			}
			err = vbb_vring_dev_recv(&rig.dev, &held[nr_held]);
			rig.ram[0].len = RIG_SIZE;
			rig.map.nr = 1;
			if (!err) {
				sum = vbb_segs_len(held[nr_held].seg, held[nr_held].nr_out);
				/* in order: the next one that was sent */
				assert_int_equal(sum, nr_out_bytes[reaped + nr_held]);
				nr_held++;
			} else {
				assert_int_equal(err, VBB_E_AGAIN);
			}
			if (nr_held && test_below(&seed, 2)) {
				sum = vbb_segs_len(held[0].seg + held[0].nr_out, held[0].nr_in);
				assert_int_equal(sum, answer[reaped]);
				assert_int_equal(vbb_vring_dev_done(&rig.dev, &held[0], sum), 0);
				nr_held--;
				for (i = 0; i < nr_held; i++) {
					memcpy(held_seg[i], held_seg[i + 1], sizeof(held_seg[i]));
					held[i] = held[i + 1];
					held[i].seg = held_seg[i];
				}
				assert_int_equal(vbb_vring_drv_reap(&rig.drv, &token, &len), 0);
				assert_ptr_equal(token, &tokens[reaped]);
				assert_int_equal(len, answer[reaped]);
				reaped++;
			}
		}
	}
}

/* Nobody sleeps on a ring that is broken. */
static void test_end_broken(void **state)
{
	const struct vbb_vring_fds fds = { -1, -1 };
	struct vbb_vring_end end;
	struct pollfd pollfd[2];
	vbb_u64 len;
	void *token;

	(void)state;
	dev_start(4, false, false);
	vbb_vring_end_init_dev(&end, &rig.dev, 1, &fds, pollfd, -1);
	rig_avail(&rig, 4);
	assert_int_equal(vbb_transport_wait(&end.t, ~(vbb_u64)0), 0);
	assert_int_equal(vbb_transport_recv(&end.t, 0, &rig.chain), VBB_E_RING_INDEX);
	assert_int_equal(vbb_transport_wait(&end.t, ~(vbb_u64)0), VBB_E_BROKEN);
	drv_start(4, 0, false);
	vbb_vring_end_init_drv(&end, &rig.drv, 1, &fds, pollfd, -1);
	rig_used(&rig, 0, 0);
	assert_int_equal(vbb_transport_wait(&end.t, ~(vbb_u64)0), 0);
	assert_int_equal(vbb_transport_reap(&end.t, 0, &token, &len), VBB_E_RING_INDEX);
	assert_int_equal(vbb_transport_wait(&end.t, ~(vbb_u64)0), VBB_E_BROKEN);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_init),
		cmocka_unit_test(test_drv_send),
		cmocka_unit_test(test_drv_len),
		cmocka_unit_test(test_drv_indirect),
		cmocka_unit_test(test_drv_scribble),
		cmocka_unit_test(test_drv_faults),
		cmocka_unit_test(test_drv_notify),
		cmocka_unit_test(test_both),
		cmocka_unit_test(test_end_broken),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
