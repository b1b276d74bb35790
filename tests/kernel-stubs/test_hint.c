// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause
/* hint.c: free blocks go between an id and STOP; they come back when host or guest say so. */
#include "test.h"

#include "bus.h"

#define HINT BIT_ULL(VIRTIO_BALLOON_F_FREE_PAGE_HINT)
#define NR_LENT STUB_QUEUE_MAX
#define BLOCK_MIN ((1UL << 21) / PAGE_SIZE)

/* What the device has of the queue, the oldest first */
static struct {
	struct vbb_seg seg[1];
	struct vbb_chain chain;
} lent[NR_LENT];
static size_t nr_lent;

static uint64_t seed;
static bool in_round;
static u32 last_id;
static unsigned int nr_ids, nr_stops;
static unsigned long nr_hinted;		/* pages, since the last id */

static void start(u32 num)
{
	nr_lent = 0;
	in_round = false;
	last_id = 0;
	nr_ids = 0;
	nr_stops = 0;
	stub_meanwhile = NULL;
	bus_num = num;
	assert_int_equal(bus_probe(HINT), 0);
	bus_settle();
}

static void stop(void)
{
	bus_remove();
	bus_num = STUB_QUEUE_MAX;
}

static void host_says(u32 id)
{
	config.free_page_hint_cmd_id = cpu_to_le32(id);
	bus_changed();
}

static void host_hears(u32 id)
{
	if (id == VIRTIO_BALLOON_CMD_ID_STOP) {
		assert_true(in_round);
		in_round = false;
		nr_stops++;
		return;
	}
	assert_false(in_round);
	assert_int_not_equal(id, VIRTIO_BALLOON_CMD_ID_DONE);
	assert_int_not_equal(id, last_id);
	last_id = id;
	in_round = true;
	nr_ids++;
	nr_hinted = 0;
}

/* Take one, and see that it is what may come now. */
static bool host_takes(void)
{
	struct vbb_chain *chain = &lent[nr_lent].chain;
	struct vbb_seg *seg = lent[nr_lent].seg;
	__le32 id;

	if (nr_lent == NR_LENT)
		return false;
	*chain = (struct vbb_chain){ .seg = seg, .max_segs = 1 };
	if (vbb_vring_dev_recv(&bus_queue(VBB_VQ_HINT)->dev, chain))
		return false;
	if (chain->nr_out) {
		assert_int_equal(seg->len, sizeof(id));
		memcpy(&id, seg->base, sizeof(id));
		host_hears(le32_to_cpu(id));
	} else {
		assert_true(in_round && seg->len / PAGE_SIZE >= BLOCK_MIN);
		nr_hinted += seg->len / PAGE_SIZE;
	}
	nr_lent++;
	return true;
}

/* Give one back, whichever, and say so where the driver wants it. */
static void host_gives(size_t i)
{
	struct vbb_chain *chain = &lent[i].chain;

	chain->seg = lent[i].seg;
	/* what it says that it wrote is of no use to anybody */
	assert_int_equal(vbb_vring_dev_done(&bus_queue(VBB_VQ_HINT)->dev, chain,
					    chain->nr_in ? test_below(&seed, PAGE_SIZE) : 0), 0);
	lent[i] = lent[--nr_lent];
	if (vbb_vring_dev_should_notify(&bus_queue(VBB_VQ_HINT)->dev))
		bus_used(VBB_VQ_HINT);
}

static void settle(void)
{
	unsigned int i = 0;
	bool more;

	do {
		more = stub_work_now();
		while (host_takes())
			more = true;
		for (; nr_lent; more = true)
			host_gives(0);
		assert_true(i++ < 1000);
	} while (more);
}

static unsigned long shrink(unsigned long nr_pages)
{
	struct shrink_control sc = { .nr_to_scan = nr_pages };

	return stub_shrinker->scan_objects(stub_shrinker, &sc);
}

static unsigned long nr_kept(void)
{
	struct shrink_control sc = { 0 };

	return stub_shrinker->count_objects(stub_shrinker, &sc);
}

/* All large blocks are hinted, once for an id, and kept until the host has done. */
static void test_rounds(void **state)
{
	u32 id;

	start(STUB_QUEUE_MAX);
	settle();
	assert_int_equal(nr_ids, 0);
	for (id = 2; id < 5; id++) {
		host_says(id);
		settle();
		assert_int_equal(last_id, id);
		assert_false(in_round);
		assert_int_equal(nr_hinted, STUB_NR_PAGES);
		assert_int_equal(nr_kept(), STUB_NR_PAGES);
		assert_int_equal(stub_nr_free, 0);
		/* said once more, which is no new round */
		host_says(id);
		settle();
		host_says(VIRTIO_BALLOON_CMD_ID_STOP);
		settle();
		assert_int_equal(nr_kept(), STUB_NR_PAGES);
		host_says(VIRTIO_BALLOON_CMD_ID_DONE);
		settle();
		assert_int_equal(nr_kept(), 0);
		assert_int_equal(stub_nr_free, STUB_NR_PAGES);
		assert_int_equal(nr_ids, id - 1);
		assert_int_equal(nr_stops, id - 1);
	}
	assert_int_equal(vb->counters.hint_sessions, 3);
	assert_int_equal(vb->counters.hint_pages, 3 * STUB_NR_PAGES);
	stop();
}

/* What lies in pieces stays with the guest. */
static void test_small_blocks(void **state)
{
	start(STUB_QUEUE_MAX);
	stub_comb(ilog2(BLOCK_MIN) - 1);
	host_says(2);
	settle();
	assert_int_equal(nr_hinted, 0);
	assert_int_equal(nr_stops, 1);
	assert_int_equal(stub_nr_free, STUB_NR_PAGES / 2);
	stub_comb_end();
	stop();
}

/* The guest has back what it wants, at any time and not much more, and is not asked again. */
static void test_shrinker(void **state)
{
	unsigned long nr_pages, left = STUB_NR_PAGES;

	start(STUB_QUEUE_MAX);
	assert_int_equal(shrink(1), SHRINK_STOP);
	host_says(2);
	settle();
	while (left) {
		nr_pages = shrink(BLOCK_MIN);
		assert_true(nr_pages >= BLOCK_MIN);
		assert_true(nr_pages < BLOCK_MIN + MAX_ORDER_NR_PAGES);
		left -= nr_pages;
		assert_int_equal(nr_kept(), left);
		assert_int_equal(stub_nr_free, STUB_NR_PAGES - left);
		settle();
	}
	assert_int_equal(nr_kept(), 0);
	assert_int_equal(shrink(1), SHRINK_STOP);
	assert_int_equal(vb->counters.hint_pages_shrunk, STUB_NR_PAGES);
	stop();
}

/* In the middle of a round, that is the round's end. */
static void test_shrunk_in_a_round(void **state)
{
	start(4);
	host_says(2);
	bus_work();
	assert_true(host_takes());
	assert_true(in_round);
	assert_true(nr_kept() > 0 && nr_kept() < STUB_NR_PAGES);
	shrink(1);
	settle();
	assert_false(in_round);
	assert_true(nr_hinted < STUB_NR_PAGES);
	stop();
}

/* The balloon goes before hints, as the host asks for it. */
static void test_balloon_wants(void **state)
{
	unsigned long nr_pages = STUB_NR_PAGES - 2 * VBB_LEFT_PAGES + 1;
	unsigned int i;

	if (STUB_NR_PAGES <= 2 * VBB_LEFT_PAGES)
		nr_pages = 1;
	start(STUB_QUEUE_MAX);
	host_says(2);
	settle();
	assert_int_equal(stub_nr_free, 0);
	bus_target(nr_pages);
	for (i = 0; i < 20 && vb->actual < nr_pages; i++) {
		stub_work();
		bus_settle();
	}
	assert_int_equal(vb->actual, nr_pages);
	assert_true(vb->counters.hint_pages_shrunk >= nr_pages);
	bus_check();
	stop();
}

/* VBB-DRV-06: to a device that takes everything and gives nothing back STOP can still be said. */
static void test_silent_device(void **state)
{
	u32 num;

	for (num = 2; num <= 8; num *= 2) {
		start(num);
		host_says(2);
		bus_work();
		while (host_takes())
			;
		assert_true(in_round);
		assert_int_equal(nr_lent, num - 1);
		host_says(VIRTIO_BALLOON_CMD_ID_DONE);
		bus_work();
		assert_true(host_takes());
		assert_false(in_round);
		assert_int_equal(nr_kept(), 0);
		/* and no more than that */
		host_says(3);
		bus_work();
		assert_false(host_takes());
		/* the id's place alone is not enough: STOP needs one as well */
		host_gives(0);
		bus_work();
		assert_false(host_takes());
		settle();
		assert_int_equal(nr_ids, 2);
		stop();
	}
}

static u64 nr_seen;

static void host_is_quick(void)
{
	bool stuck = nr_seen == vb->counters.hint_pages;

	nr_seen = vb->counters.hint_pages;
	while (stuck && host_takes())
		;
	while (stuck && nr_lent)
		host_gives(0);
}

/* What comes back while the driver is about to go to sleep is seen. */
static void test_quick_device(void **state)
{
	start(4);
	host_says(2);
	nr_seen = 0;
	stub_meanwhile = host_is_quick;
	bus_work();
	stub_meanwhile = NULL;
	assert_int_equal(vb->counters.hint_pages, STUB_NR_PAGES);
	settle();
	assert_int_equal(nr_stops, 1);
	stop();
}

static void turn(void)
{
	switch (test_below(&seed, 8)) {
	case 0:
		host_says((u32)test_below(&seed, 6));
		break;
	case 1:
		if (!test_below(&seed, 4))
			shrink(1 + test_below(&seed, 2 * MAX_ORDER_NR_PAGES));
		break;
	case 2:
	case 3:
		host_takes();
		break;
	case 4:
	case 5:
		if (nr_lent)
			host_gives(test_index(&seed, nr_lent));
		break;
	default:
		stub_work_now();
	}
}

static void test_any_order(void **state)
{
	unsigned int i;
	uint64_t s;

	for (s = 0; s < 60; s++) {
		seed = s;
		start(s % 3 == 0 ? 2 : s % 3 == 1 ? 4 : STUB_QUEUE_MAX);
		for (i = 0; i < 400; i++) {
			turn();
			assert_int_equal(nr_kept(), STUB_NR_PAGES - stub_nr_free);
		}
		if (s % 2) {
			host_says(VIRTIO_BALLOON_CMD_ID_DONE);
			settle();
			assert_int_equal(nr_kept(), 0);
			assert_int_equal(nr_ids, nr_stops);
			assert_true(nr_ids > 3);
		}
		stop();
	}
}

static void test_suspended(void **state)
{
	start(STUB_QUEUE_MAX);
	host_says(2);
	settle();
	assert_int_equal(nr_kept(), STUB_NR_PAGES);
	assert_int_equal(bus_freeze(), 0);
	/* the device begins anew, and so do we */
	last_id = 0;
	assert_int_equal(bus_restore(), 0);
	settle();
	assert_int_equal(nr_ids, 2);
	assert_int_equal(nr_hinted, STUB_NR_PAGES);
	stop();
}

static void test_short_queue(void **state)
{
	bus_num = 1;
	assert_int_equal(bus_probe(HINT), -EINVAL);
	assert_int_equal(bus_probe(0), 0);
	assert_null(stub_shrinker);
	/* who does not hint is not asked to */
	bus_changed();
	bus_remove();
	bus_num = STUB_QUEUE_MAX;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rounds),
		cmocka_unit_test(test_small_blocks),
		cmocka_unit_test(test_shrinker),
		cmocka_unit_test(test_shrunk_in_a_round),
		cmocka_unit_test(test_balloon_wants),
		cmocka_unit_test(test_silent_device),
		cmocka_unit_test(test_quick_device),
		cmocka_unit_test(test_any_order),
		cmocka_unit_test(test_suspended),
		cmocka_unit_test(test_short_queue),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
