// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause
/* oom.c: a guest that is out of memory gets some of the balloon's, at once, and not all of it. */
#include "test.h"

#include "bus.h"

#define OOM BIT_ULL(VIRTIO_BALLOON_F_DEFLATE_ON_OOM)
#define MUST_TELL BIT_ULL(VIRTIO_BALLOON_F_MUST_TELL_HOST)
#define AT_LEAST (SZ_1M >> PAGE_SHIFT)
#define NR_PAGES 3000

static void start(u64 features, unsigned long nr_pages)
{
	stub_meanwhile = NULL;
	assert_int_equal(bus_probe(BUS_FORMATS | features), 0);
	stub_swap = STUB_NR_PAGES;
	bus_target(nr_pages);
	assert_int_equal(vb->actual, nr_pages);
}

static void stop(void)
{
	stub_meanwhile = NULL;
	bus_remove();
}

/* The kernel asks, and has nothing left to allocate. Returns pages that it may count on. */
static unsigned long ask(void)
{
	unsigned long freed = 7, nr_free = stub_nr_free;
	unsigned int nr_allocs = stub_nr_allocs;

	stub_nr_allocs = 0;
	assert_int_equal(stub_oom->notifier_call(stub_oom, 0, &freed), NOTIFY_OK);
	stub_nr_allocs = nr_allocs;
	/* what others gave is counted already */
	assert_true(freed >= 7);
	freed -= 7;
	if (!vb->must_tell)
		assert_int_equal(stub_nr_free, nr_free + freed);
	else
		assert_int_equal(stub_nr_free, nr_free);
	return freed;
}

static void test_not_negotiated(void **state)
{
	start(0, NR_PAGES);
	assert_null(stub_oom);
	assert_int_equal(stub_managed, -NR_PAGES);
	stop();
}

/* It gets a part each time until nothing is left, and the pages count as its own all the time. */
static void test_gives(void **state)
{
	unsigned long nr_pages, left = NR_PAGES, calls = 0;

	start(OOM, NR_PAGES);
	while (left) {
		assert_int_equal(stub_managed, 0);
		nr_pages = ask();
		calls++;
		assert_true(nr_pages >= min_t(unsigned long, left, AT_LEAST));
		assert_true(nr_pages < AT_LEAST + MAX_ORDER_NR_PAGES);
		left -= nr_pages;
		assert_int_equal(vb->actual, left);
		bus_settle();
		bus_check();
		assert_int_equal(le32_to_cpu(config.actual), left * FRAMES);
	}
	assert_int_equal(ask(), 0);
	assert_true(calls >= 3);
	assert_int_equal(vb->counters.oom_calls, calls + 1);
	assert_int_equal(vb->counters.oom_pages, NR_PAGES);
	assert_int_equal(vb->counters.deflate_pages, NR_PAGES);
	stop();
}

/* VBB-DRV-15: what it got it keeps, until the host says something. */
static void test_keeps(void **state)
{
	unsigned long nr_pages;

	start(OOM, NR_PAGES);
	nr_pages = ask();
	bus_settle();
	vbb_balloon_queue(vb, 0);
	bus_settle();
	assert_int_equal(vb->actual, NR_PAGES - nr_pages);
	bus_changed();
	bus_settle();
	assert_int_equal(vb->actual, NR_PAGES);
	bus_check();
	stop();
}

/* VBB-DRV-04: where the device must know before, the guest has the pages when it does. */
static void test_must_tell(void **state)
{
	unsigned long nr_pages;

	start(OOM | MUST_TELL, NR_PAGES);
	nr_pages = ask();
	assert_true(nr_pages >= AT_LEAST);
	assert_int_equal(vb->actual, NR_PAGES);
	/* who asks again meanwhile is told to wait for the same pages */
	assert_int_equal(ask(), nr_pages);
	assert_int_equal(vb->counters.oom_pages, nr_pages);
	bus_work();
	bus_check();
	bus_settle();
	assert_int_equal(vb->actual, NR_PAGES - nr_pages);
	assert_int_equal(stub_nr_free, STUB_NR_PAGES - vb->actual);
	bus_check();
	stop();
}

/* VBB-DRV-06: a device that says nothing for a second is not waited for; one that does again is. */
static void test_silent_device(void **state)
{
	start(OOM | MUST_TELL, NR_PAGES);
	assert_true(ask() > 0);
	bus_work();
	jiffies += HZ;
	assert_true(ask() > 0);
	jiffies++;
	assert_int_equal(ask(), 0);
	bus_settle();
	assert_true(ask() > 0);
	bus_settle();
	bus_check();
	stop();
}

/* A balloon of single pages */
static void start_singles(u64 features)
{
	start(features, 0);
	stub_comb(0);
	bus_target(NR_PAGES);
	assert_int_equal(vb->nr_singles, NR_PAGES);
}

/*
 * Nothing comes from a broken device, so nothing that it must know of is given. Of all else it is
 * told nothing, so there is an end only with the balloon.
 */
static void test_broken_device(void **state)
{
	unsigned long nr_pages, nr;
	int tell;

	for (tell = 0; tell < 2; tell++) {
		start_singles(OOM | (tell ? MUST_TELL : 0));
		bus_queue(VBB_VQ_DEFLATE)->used[2] = 77;
		bus_used(VBB_VQ_DEFLATE);
		stub_work();
		assert_true(vb->broken);
		for (nr = 0; (nr_pages = ask()); nr += nr_pages)
			bus_work();
		assert_int_equal(nr, tell ? 0 : NR_PAGES);
		stub_comb_end();
		stop();
	}
}

/* The device hears of it later; what it has not heard of has an end, or there would be no room. */
static void test_late_is_full(void **state)
{
	unsigned long nr_pages, nr = 0;

	start_singles(OOM);
	while ((nr_pages = ask()))
		nr += nr_pages;
	assert_int_equal(nr, min(NR_PAGES, VBB_LATE_BLOCKS));
	assert_int_equal(vb->actual, NR_PAGES - nr);
	bus_settle();
	bus_check();
	assert_true(ask() > 0);
	bus_settle();
	bus_check();
	stub_comb_end();
	stop();
}

/* Before that end come the large blocks, which were spared so far. */
static void test_late_is_half_full(void **state)
{
	unsigned long nr_pages, nr = 0, nr_large;

	start_singles(OOM);
	stub_comb_end();
	bus_target(NR_PAGES + 2 * MAX_ORDER_NR_PAGES);
	nr_large = vb->blocks.nr_pages;
	assert_true(nr_large > MAX_ORDER_NR_PAGES);
	while (nr < VBB_LATE_BLOCKS / 2)
		nr += ask();
	assert_int_equal(vb->blocks.nr_pages, nr_large);
	while ((nr_pages = ask()))
		nr += nr_pages;
	assert_int_equal(vb->blocks.nr_pages, 0);
	assert_true(nr > VBB_LATE_BLOCKS + MAX_ORDER_NR_PAGES / 2);
	bus_settle();
	bus_check();
	stop();
}

static bool asked;

static void ask_meanwhile(void)
{
	if (asked || vb->lock.held || stub_nr_free == STUB_NR_PAGES - vb->actual)
		return;
	asked = true;
	ask();
}

/* The guest runs out of memory because the balloon takes it: what it took goes back as well. */
static void test_while_it_grows(void **state)
{
	start(OOM, NR_PAGES);
	asked = false;
	stub_meanwhile = ask_meanwhile;
	bus_target(2 * NR_PAGES);
	assert_true(asked);
	assert_true(vb->actual < NR_PAGES);
	assert_int_equal(vb->counters.inflate_pages, NR_PAGES);
	assert_int_equal(stub_nr_free, STUB_NR_PAGES - vb->actual);
	bus_check();
	stop();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_not_negotiated),
		cmocka_unit_test(test_gives),
		cmocka_unit_test(test_keeps),
		cmocka_unit_test(test_must_tell),
		cmocka_unit_test(test_silent_device),
		cmocka_unit_test(test_broken_device),
		cmocka_unit_test(test_late_is_full),
		cmocka_unit_test(test_late_is_half_full),
		cmocka_unit_test(test_while_it_grows),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
