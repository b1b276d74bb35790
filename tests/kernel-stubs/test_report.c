// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause
/* report.c: the kernel gets its free pages back when the device has done with them, not before. */
#include "test.h"

#include "balloon.h"
#include "queue.h"

#define NR_HELD 8
#define FIRST_PFN 0x1000

static struct virtio_device vdev = { .features = 1ULL << VIRTIO_BALLOON_F_REPORTING };
static struct vbb_balloon vb;
static struct stub_queue queue;
static uint64_t seed;

static struct {
	struct vbb_seg seg[1];
	struct vbb_chain chain;
} held[NR_HELD];
static size_t nr_held;
static u8 told[STUB_NR_PAGES];		/* to the device */
static unsigned int nr_told;

static void start(u32 num)
{
	stub_pages_init(FIRST_PFN);
	memset(&vb, 0, sizeof(vb));
	memset(told, 0, sizeof(told));
	nr_held = 0;
	nr_told = 0;
	stub_nr_errors = 0;
	vb.vdev = &vdev;
	vdev.priv = &vb;
	stub_queue_init(&queue, &vdev, num);
	vb.vqs[VBB_VQ_REPORT] = &queue.vq;
	vbb_report_start(&vb);
	vbb_report_ready(&vb);
}

static void device_take(void)
{
	size_t i, nr;

	if (nr_held == NR_HELD)
		return;
	held[nr_held].chain = (struct vbb_chain){ .seg = held[nr_held].seg, .max_segs = 1 };
	if (vbb_vring_dev_recv(&queue.dev, &held[nr_held].chain))
		return;
	assert_true(queue.vq.nr_notified > 0);
	assert_int_equal(held[nr_held].chain.nr_out, 0);
	i = ((size_t)held[nr_held].seg[0].base >> PAGE_SHIFT) - FIRST_PFN;
	nr = held[nr_held].seg[0].len >> PAGE_SHIFT;
	for (; nr--; i++) {
		assert_true(i < STUB_NR_PAGES && !told[i]);
		told[i] = 1;
		nr_told++;
	}
	nr_held++;
}

static void device_done(void)
{
	size_t i = test_index(&seed, NR_HELD);

	if (i >= nr_held)
		return;
	held[i].chain.seg = held[i].seg;
	assert_int_equal(vbb_vring_dev_done(&queue.dev, &held[i].chain, held[i].seg[0].len), 0);
	held[i] = held[--nr_held];
	vbb_report_used(&queue.vq);
}

static void device_works(void)
{
	if (test_below(&seed, 2))
		device_take();
	else
		device_done();
}

/* As many free blocks as the kernel brings at once, of any order */
static unsigned int blocks(struct scatterlist *sg, unsigned int *nr_pages)
{
	unsigned int i, order, nr = 1 + (unsigned int)test_below(&seed, PAGE_REPORTING_CAPACITY);

	*nr_pages = 0;
	for (i = 0; i < nr; i++) {
		order = (unsigned int)test_below(&seed, 6);
		sg_set_page(&sg[i], alloc_pages(GFP_KERNEL, order), PAGE_SIZE << order, 0);
		*nr_pages += 1U << order;
	}
	return nr;
}

static void test_reports(void **state)
{
	struct scatterlist sg[PAGE_REPORTING_CAPACITY];
	unsigned int nr, nr_pages, i;

	for (i = 0; i < 200; i++) {
		seed = i;
		start(i % 2 ? 4 : STUB_QUEUE_MAX);
		assert_ptr_equal(stub_reporting, &vb.report.info);
		nr = blocks(sg, &nr_pages);
		stub_meanwhile = device_works;
		assert_int_equal(stub_reporting->report(stub_reporting, sg, nr), 0);
		assert_int_equal(nr_told, nr_pages);
		assert_int_equal(nr_held, 0);
		assert_int_equal(vb.counters.report_pages, nr_pages);
		assert_true(vbb_report_idle(&vb));
		vbb_report_stop(&vb);
		vbb_report_exit(&vb);
		assert_null(stub_reporting);
	}
}

static unsigned int patience;

/* The device says nothing; in the end the driver leaves it. */
static void driver_leaves(void)
{
	struct page_reporting_dev_info *info = stub_reporting;

	device_take();
	if (patience-- || vb.report.gone)
		return;
	assert_false(vbb_report_idle(&vb));
	vbb_report_stop(&vb);
	assert_false(vbb_report_idle(&vb));
	vbb_report_exit(&vb);
	assert_true(vbb_report_idle(&vb));
	assert_null(stub_reporting);
	assert_ptr_equal(info, &vb.report.info);
}

static void test_silent_device(void **state)
{
	struct scatterlist sg[PAGE_REPORTING_CAPACITY];
	unsigned int nr, nr_pages, i;

	for (i = 0; i < 50; i++) {
		seed = i;
		start(4);
		nr = blocks(sg, &nr_pages);
		patience = i;
		stub_meanwhile = driver_leaves;
		assert_int_equal(stub_reporting->report(stub_reporting, sg, nr), -EIO);
		assert_true(vb.report.gone);
	}
}

/* When it stops the device gets nothing more. */
static void test_stopping(void **state)
{
	struct scatterlist sg[PAGE_REPORTING_CAPACITY];
	unsigned int nr, nr_pages;

	seed = 1;
	start(STUB_QUEUE_MAX);
	nr = blocks(sg, &nr_pages);
	vb.stopping = true;
	stub_meanwhile = NULL;
	assert_int_equal(stub_reporting->report(stub_reporting, sg, nr), -EIO);
	assert_int_equal(vb.counters.report_pages, 0);
	vbb_report_stop(&vb);
	vbb_report_exit(&vb);
}

/* The kernel reports to one device only, and a balloon is a balloon without it. */
static void test_second_balloon(void **state)
{
	struct page_reporting_dev_info other;

	stub_reporting = &other;
	start(4);
	assert_int_equal(stub_nr_errors, 1);
	vbb_report_stop(&vb);
	vbb_report_exit(&vb);
	assert_ptr_equal(stub_reporting, &other);
	stub_reporting = NULL;

	vdev.features = 0;
	start(4);
	assert_null(stub_reporting);
	vbb_report_exit(&vb);
	vdev.features = 1ULL << VIRTIO_BALLOON_F_REPORTING;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_reports),
		cmocka_unit_test(test_silent_device),
		cmocka_unit_test(test_stopping),
		cmocka_unit_test(test_second_balloon),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
