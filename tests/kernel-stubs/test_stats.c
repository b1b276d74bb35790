// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause
/* stats.c: the device asks by giving a buffer back, and gets one answer for it. */
#include "test.h"

#include "bus.h"

#define STATS BIT_ULL(VIRTIO_BALLOON_F_STATS_VQ)

static struct vbb_seg seg[1];
static struct vbb_chain chain;

static void start(void)
{
	assert_int_equal(bus_probe(STATS), 0);
}

/* Take what the driver has put into the queue, if it is there. */
static bool device_has(void)
{
	chain = (struct vbb_chain){ .seg = seg, .max_segs = 1 };
	if (vbb_vring_dev_recv(&bus_queue(VBB_VQ_STATS)->dev, &chain))
		return false;
	assert_int_equal(chain.nr_out, 1);
	assert_int_equal(chain.nr_in, 0);
	return true;
}

static void device_asks(void)
{
	chain.seg = seg;
	assert_int_equal(vbb_vring_dev_done(&bus_queue(VBB_VQ_STATS)->dev, &chain, 0), 0);
	bus_used(VBB_VQ_STATS);
}

/* The value of a tag, which is there once */
static u64 value(u16 tag)
{
	const struct virtio_balloon_stat *stat = seg[0].base;
	size_t i, found = SIZE_MAX;

	assert_int_equal(seg[0].len, VIRTIO_BALLOON_S_NR * sizeof(*stat));
	for (i = 0; i < VIRTIO_BALLOON_S_NR; i++) {
		if (le16_to_cpu(stat[i].tag) != tag)
			continue;
		assert_int_equal(found, SIZE_MAX);
		found = i;
	}
	assert_int_not_equal(found, SIZE_MAX);
	return le64_to_cpu(stat[found].val);
}

/* All that the kernel knows, as it is when the device asks */
static void test_values(void **state)
{
	size_t i;

	start();
	/* once the device is ready the work alone is at the queue, also for the first buffer */
	assert_int_equal(vb->vqs[VBB_VQ_STATS]->nr_notified, 0);
	bus_work();
	assert_int_equal(vb->vqs[VBB_VQ_STATS]->nr_notified, 1);
	assert_int_equal(vb->counters.stats_answers, 0);
	assert_true(device_has());
	bus_target(100);
	for (i = 0; i < NR_VM_EVENT_ITEMS; i++)
		stub_events[i] = 10 + i;
	stub_states[NR_FILE_PAGES] = 70;
	stub_reserved = 5;
	device_asks();
	bus_work();
	assert_true(device_has());
	assert_int_equal(value(VIRTIO_BALLOON_S_SWAP_IN), (10 + PSWPIN) << PAGE_SHIFT);
	assert_int_equal(value(VIRTIO_BALLOON_S_SWAP_OUT), (10 + PSWPOUT) << PAGE_SHIFT);
	assert_int_equal(value(VIRTIO_BALLOON_S_MAJFLT), 10 + PGMAJFAULT);
	assert_int_equal(value(VIRTIO_BALLOON_S_MINFLT), 10 + PGFAULT);
	assert_int_equal(value(VIRTIO_BALLOON_S_MEMFREE), (STUB_NR_PAGES - 100) << PAGE_SHIFT);
	assert_int_equal(value(VIRTIO_BALLOON_S_MEMTOT), (STUB_NR_PAGES - 100) << PAGE_SHIFT);
	assert_int_equal(value(VIRTIO_BALLOON_S_AVAIL), (STUB_NR_PAGES - 105) << PAGE_SHIFT);
	assert_int_equal(value(VIRTIO_BALLOON_S_CACHES), 70 << PAGE_SHIFT);
	assert_int_equal(value(VIRTIO_BALLOON_S_HTLB_PGALLOC), 10 + HTLB_BUDDY_PGALLOC);
	assert_int_equal(value(VIRTIO_BALLOON_S_HTLB_PGFAIL), 10 + HTLB_BUDDY_PGALLOC_FAIL);

	/* where the kernel has less than it wants to keep, nothing is available, and not a lot */
	stub_reserved = STUB_NR_PAGES;
	device_asks();
	bus_work();
	assert_true(device_has());
	assert_int_equal(value(VIRTIO_BALLOON_S_AVAIL), 0);
	bus_remove();
}

/* Interrupts come as they like: there is an answer for a buffer, not for each of them. */
static void test_asked_twice(void **state)
{
	start();
	bus_used(VBB_VQ_STATS);
	bus_work();
	assert_int_equal(vb->counters.stats_answers, 0);
	assert_true(device_has());
	assert_false(device_has());
	device_asks();
	bus_used(VBB_VQ_STATS);
	assert_false(device_has());
	bus_work();
	bus_used(VBB_VQ_STATS);
	bus_work();
	assert_int_equal(vb->counters.stats_answers, 1);
	assert_true(device_has());
	assert_false(device_has());
	bus_remove();
}

/* A device that says that it wrote what it could only read, and one that breaks the ring */
static void test_lies(void **state)
{
	start();
	assert_true(device_has());
	device_asks();
	memset(bus_queue(VBB_VQ_STATS)->used + 8, 0xff, sizeof(__le32));
	bus_work();
	assert_true(device_has());
	assert_int_equal(vb->counters.stats_answers, 1);
	bus_queue(VBB_VQ_STATS)->used[2] = 77;
	bus_used(VBB_VQ_STATS);
	bus_work();
	assert_int_equal(vb->counters.stats_answers, 1);
	assert_false(device_has());
	bus_target(10);
	assert_int_equal(vb->actual, 10);
	bus_remove();
}

/* Suspended it answers nothing, and afterwards it answers again. */
static void test_suspended(void **state)
{
	start();
	assert_true(device_has());
	device_asks();
	assert_int_equal(bus_freeze(), 0);
	assert_null(vb->stats.stat);
	assert_int_equal(bus_restore(), 0);
	assert_true(device_has());
	device_asks();
	bus_work();
	assert_true(device_has());
	assert_int_equal(vb->counters.stats_answers, 1);
	bus_remove();
}

static void test_not_offered(void **state)
{
	assert_int_equal(bus_probe(0), 0);
	assert_null(vb->vqs[VBB_VQ_STATS]);
	assert_null(vb->stats.stat);
	bus_remove();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_values),
		cmocka_unit_test(test_asked_twice),
		cmocka_unit_test(test_lies),
		cmocka_unit_test(test_suspended),
		cmocka_unit_test(test_not_offered),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
