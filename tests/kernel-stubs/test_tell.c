// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause
/* pages.c and tell.c: blocks of a kernel that has them, through a ring to a device, and back. */
#include "test.h"

#include "device.h"

#define FIRST_PFN 0x1000

static struct virtio_device vdev;
static struct vbb_balloon vb;
static struct stub_queue queue[VBB_NR_DIRS];

/* Nothing moves here but what a test moves. */
void vbb_balloon_queue(struct vbb_balloon *balloon, unsigned long delay)
{
}

static int start(u32 num, u32 formats, unsigned long first_pfn)
{
	unsigned int dir;
	int err;

	stub_pages_init(first_pfn);
	memset(&vb, 0, sizeof(vb));
	vb.vdev = &vdev;
	vb.must_tell = true;
	vdev.priv = &vb;
	vbb_blocks_init(&vb.blocks, false);
	for (dir = 0; dir < VBB_NR_DIRS; dir++) {
		stub_queue_init(&queue[dir], &vdev, num);
		vb.vqs[dir] = &queue[dir].vq;
	}
	device_init(&vb);
	vbb_move_init(&vb);
	/* each of them, so that each can be ended */
	err = vbb_batch_init(&vb.batch, VBB_INFLATE, VBB_BATCH_BLOCKS, false);
	err = vbb_batch_init(&vb.late, VBB_DEFLATE, VBB_LATE_BLOCKS, false) ?: err;
	err = vbb_batch_init(&vb.moved, VBB_INFLATE, VBB_MOVED_BLOCKS, false) ?: err;
	return err ?: vbb_tell_init(&vb, formats);
}

/* All goes back to the kernel, wherever it was. */
static void stop(void)
{
	vbb_move_exit(&vb);
	vbb_blocks_free(&vb.blocks);
	vbb_tell_exit(&vb);
	vbb_batch_exit(&vb.batch);
	vbb_batch_exit(&vb.late);
	vbb_batch_exit(&vb.moved);
	assert_int_equal(stub_nr_free, STUB_NR_PAGES);
	assert_int_equal(stub_managed, 0);
}

static bool wants(enum vbb_dir dir, unsigned long nr_pages)
{
	const bool never = false;

	if (!vbb_tell_send(&vb))
		return false;
	if (dir == VBB_INFLATE) {
		vbb_batch_inflate(&vb.batch, nr_pages, &never);
	} else {
		vbb_move_pull(&vb, nr_pages);
		vbb_batch_deflate(&vb.batch, &vb.blocks, nr_pages);
		vbb_move_push(&vb);
	}
	vb.moving[dir] += vb.batch.blocks.nr_pages;
	vbb_tell_send(&vb);
	return true;
}

/* What must be so at any time */
static void check(void)
{
	unsigned long nr_taken = 0;
	size_t i;

	for (i = 0; i < STUB_NR_PAGES; i++) {
		nr_taken += stub_map[i].taken;
		assert_true(stub_map[i].taken == stub_map[i].offline);
		/* no page is used before the device knows that it left the balloon */
		assert_true(stub_map[i].taken || !frames[i]);
	}
	assert_int_equal(vb.actual + vb.moving[VBB_INFLATE], nr_taken);
	assert_int_equal(vb.blocks.nr_pages + vb.nr_singles + vb.moving[VBB_DEFLATE], vb.actual);
	assert_int_equal(stub_managed, -(long)nr_taken);
}

static void drain(void)
{
	bool more;

	do {
		more = device_works();
		vbb_tell_reap(&vb);
		more |= !vbb_tell_send(&vb);
	} while (more);
	assert_int_equal(vb.head, vb.tail);
}

static void turn(uint64_t *seed)
{
	switch (test_below(seed, 6)) {
	case 0:
		wants(VBB_INFLATE, 1 + test_below(seed, STUB_NR_PAGES / 4));
		break;
	case 1:
		wants(VBB_DEFLATE, 1 + test_below(seed, STUB_NR_PAGES / 4));
		break;
	case 2:
		device_take(VBB_INFLATE);
		break;
	case 3:
		device_take(VBB_DEFLATE);
		break;
	case 4:
		device_done(test_index(seed, NR_HELD));
		break;
	default:
		vbb_tell_reap(&vb);
		vbb_tell_send(&vb);
	}
}

static void history(u32 num, u32 formats, uint64_t seed)
{
	unsigned int i;

	assert_int_equal(start(num, formats, FIRST_PFN), 0);
	for (i = 0; i < 400; i++) {
		turn(&seed);
		check();
	}
	drain();
	for (i = 0; i < STUB_NR_PAGES; i++)
		assert_int_equal(frames[i], stub_map[i].taken ? FRAMES : 0);
	while (vb.actual) {
		wants(VBB_DEFLATE, vb.actual);
		drain();
		check();
	}
	assert_int_equal(vb.counters.inflate_pages, vb.counters.deflate_pages);
	assert_int_equal(vb.counters.inflate_pages_done, nr_said[VBB_INFLATE]);
	assert_int_equal(vb.counters.deflate_pages_done, nr_said[VBB_DEFLATE]);
	assert_int_equal(vb.counters.bytes, nr_bytes);
	assert_true(vb.counters.inflate_pages > 100);
	stop();
}

static void test_pages_go_and_come_back(void **state)
{
	static const u32 formats[] = { VBB_FMT_AUTO, VBB_FMT_BITMAP, VBB_FMT_RECORDS,
				       VBB_FMT_PFNS };
	size_t i;

	for (i = 0; i < 3 * ARRAY_SIZE(formats); i++)
		history(i % 3 == 0 ? 2 : 16, formats[i % ARRAY_SIZE(formats)], i);
}

/*
 * Pages that left the balloon before the device was told are told of first: they may be taken again
 * at once, and a device that hears of that before takes the news for the end of the new.
 */
static void test_late(void **state)
{
	unsigned int order, i;
	struct page *page;

	assert_int_equal(start(16, VBB_FMT_AUTO, FIRST_PFN), 0);
	wants(VBB_INFLATE, 100);
	drain();
	for (i = 0; i < 3; i++) {
		page = vbb_blocks_pop(&vb.blocks, false, &order);
		vbb_batch_name(&vb.late, page, order);
		vb.actual -= 1UL << order;
		vbb_blocks_add(&vb.batch.blocks, page, order);
		vbb_batch_name(&vb.batch, page, order);
	}
	vb.batch.dir = VBB_INFLATE;
	vb.moving[VBB_INFLATE] = vb.batch.blocks.nr_pages;
	assert_false(vbb_tell_send(&vb));
	assert_false(device_take(VBB_INFLATE));
	assert_true(device_take(VBB_DEFLATE));
	assert_false(vbb_tell_send(&vb));
	assert_false(device_take(VBB_INFLATE));
	drain();
	check();
	assert_int_equal(vb.actual, 100);
	stop();
}

/* A batch ends with its last message, though the device be done with that one first. */
static void test_out_of_order(void **state)
{
	assert_int_equal(start(16, VBB_FMT_PFNS, FIRST_PFN), 0);
	wants(VBB_INFLATE, 2 * VBB_PFNS_LEN / sizeof(__le32) / FRAMES);
	while (device_take(VBB_INFLATE))
		;
	assert_true(nr_held >= 2);
	device_done(nr_held - 1);
	vbb_tell_reap(&vb);
	assert_int_equal(vb.actual, 0);
	drain();
	assert_int_equal(vb.actual, 2 * VBB_PFNS_LEN / sizeof(__le32) / FRAMES);
	stop();
}

static void test_results_with_faults(void **state)
{
	static const struct {
		u16 status;
		u8 reserved, len;
		int err;
	} row[] = {
		{ VIRTIO_BALLOON_STATUS_OK, 0, VBB_RESULT_LEN, 0 },
		{ VIRTIO_BALLOON_STATUS_MALFORMED, 0, VBB_RESULT_LEN, 0 },
		{ VIRTIO_BALLOON_STATUS_MALFORMED + 1, 0, VBB_RESULT_LEN, VBB_E_STATUS },
		{ 0xffff, 0, VBB_RESULT_LEN, VBB_E_STATUS },
		{ VIRTIO_BALLOON_STATUS_OK, 1, VBB_RESULT_LEN, VBB_E_RESERVED },
		{ VIRTIO_BALLOON_STATUS_OK, 0, VBB_RESULT_LEN - 1, VBB_E_LEN },
		{ VIRTIO_BALLOON_STATUS_OK, 0, 1, VBB_E_LEN },
	};
	struct vbb_result result = { .nr_pages = 1 };
	size_t i;

	for (i = 0; i < ARRAY_SIZE(row); i++) {
		assert_int_equal(start(16, VBB_FMT_AUTO, FIRST_PFN), 0);
		wants(VBB_INFLATE, 1);
		assert_true(device_take(VBB_INFLATE));
		result.status = row[i].status;
		vbb_result_store(&result, held[0].seg + 1, 1);
		((u8 *)held[0].seg[1].base)[VBB_RESULT_LEN - 1] = row[i].reserved;
		held[0].chain.seg = held[0].seg;
		vbb_vring_dev_done(&queue[VBB_INFLATE].dev, &held[0].chain, row[i].len);
		vbb_tell_reap(&vb);
		if (row[i].err)
			assert_int_equal(vb.counters.fault[vbb_err_fault(row[i].err)], 1);
		assert_int_equal(vb.counters.inflate_pages_done, !row[i].err);
		/* the page is the device's all the same */
		assert_int_equal(vb.actual, 1);
		assert_false(vb.broken);
		stop();
	}
}

static void test_broken_ring(void **state)
{
	assert_int_equal(start(16, VBB_FMT_AUTO, FIRST_PFN), 0);
	wants(VBB_INFLATE, 100);
	queue[VBB_INFLATE].used[2] = 77;
	stub_nr_errors = 0;
	vbb_tell_reap(&vb);
	vbb_tell_reap(&vb);
	assert_true(vb.broken);
	assert_int_equal(stub_nr_errors, 1);
	assert_int_equal(vb.actual, 0);
	stop();
}

static void test_sizes(void **state)
{
	assert_int_equal(start(1, VBB_FMT_AUTO, FIRST_PFN), -EINVAL);
	stop();
	assert_int_equal(start(1, VBB_FMT_PFNS, FIRST_PFN), 0);
	assert_int_equal(vb.nr_slots, 1);
	stop();
	assert_int_equal(start(4, VBB_FMT_AUTO, FIRST_PFN), 0);
	assert_int_equal(vb.nr_slots, 2);
	stop();
}

/* Whichever memory is not to be had, what was had is given back. */
static void test_no_memory(void **state)
{
	unsigned int nr = 0;
	int err;

	do {
		stub_nr_allocs = nr++;
		err = start(16, VBB_FMT_AUTO, FIRST_PFN);
		stub_nr_allocs = UINT_MAX;
		stop();
	} while (err == -ENOMEM);
	assert_int_equal(err, 0);
	assert_true(nr > 3 + VBB_NR_SLOTS);
}

/* The old format ends at 2^32 frames. Pages past that are held, and nobody is told. */
static void test_unnamed(void **state)
{
	const unsigned long border = (unsigned long)((1ULL << 32) / FRAMES);
	size_t i;

	assert_int_equal(start(16, VBB_FMT_PFNS, border - STUB_NR_PAGES / 8), 0);
	for (i = 0; i < 64 && vb.actual < STUB_NR_PAGES - VBB_LEFT_PAGES; i++) {
		wants(VBB_INFLATE, STUB_NR_PAGES - VBB_LEFT_PAGES - vb.actual);
		drain();
	}
	for (i = 0; i < STUB_NR_PAGES / 8; i++)
		assert_int_equal(frames[i], stub_map[i].taken ? FRAMES : 0);
	for (; i < STUB_NR_PAGES; i++)
		assert_int_equal(frames[i], 0);
	assert_true(vb.counters.pages_unnamed > 0);
	assert_int_equal(vb.counters.pages_unnamed + vb.counters.inflate_pages, vb.actual);
	stop();
}

/* Which keys there are is not changed by sorting: of each the number, and a sum. */
static void test_sorted(void **state)
{
	uint64_t seed = 1;
	size_t round, i;
	u64 sum, key, bits;

	assert_int_equal(start(16, VBB_FMT_AUTO, FIRST_PFN), 0);
	for (round = 0; round < 200; round++) {
		bits = ~0ULL >> test_below(&seed, 64);
		/* some byte may be the same in all of them */
		bits &= ~(0xffULL << 8 * test_below(&seed, 8));
		vb.batch.nr = (u32)test_index(&seed, round % 10 ? 20 : VBB_BATCH_BLOCKS + 1);
		for (i = 0, sum = 0; i < vb.batch.nr; i++) {
			key = (test_rand(&seed) & bits) | (round % 2 ? 0x50 : 0);
			vb.batch.keys[i] = key;
			sum += key * (key | 1);
		}
		vbb_batch_sort(&vb.batch);
		for (i = 0; i < vb.batch.nr; i++) {
			key = vb.batch.keys[i];
			sum -= key * (key | 1);
			assert_true(!i || vb.batch.keys[i - 1] <= key);
		}
		assert_int_equal(sum, 0);
	}
	vb.batch.nr = 0;
	stop();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_pages_go_and_come_back),
		cmocka_unit_test(test_late),
		cmocka_unit_test(test_out_of_order),
		cmocka_unit_test(test_results_with_faults),
		cmocka_unit_test(test_broken_ring),
		cmocka_unit_test(test_sizes),
		cmocka_unit_test(test_no_memory),
		cmocka_unit_test(test_unnamed),
		cmocka_unit_test(test_sorted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
