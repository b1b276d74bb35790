// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause
/* move.c: the kernel has another page in place of any single one, and the device knows of both. */
#include "test.h"

#include "bus.h"

#define MUST_TELL BIT_ULL(VIRTIO_BALLOON_F_MUST_TELL_HOST)
#define NR_SINGLES 1000

static uint64_t seed;
static struct page *held_back[8];	/* that the kernel has its hands on */
static size_t nr_held_back;

/* A balloon of single pages only */
static void start(u64 features)
{
	nr_held_back = 0;
	stub_meanwhile = NULL;
	assert_int_equal(bus_probe(BUS_FORMATS | features), 0);
	stub_comb(0);
	stub_swap = STUB_NR_PAGES;
	bus_target(NR_SINGLES);
	assert_int_equal(vb->actual, NR_SINGLES);
	assert_int_equal(vb->nr_singles, NR_SINGLES);
}

static void stop(void)
{
	stub_meanwhile = NULL;
	stub_comb_end();
	bus_remove();
}

/* Some page that can be moved, and is in nobody's hands */
static struct page *some_page(void)
{
	size_t i = test_index(&seed, STUB_NR_PAGES), n;

	for (n = 0; n < STUB_NR_PAGES; n++, i++)
		if (stub_isolate(&stub_map[i % STUB_NR_PAGES]))
			return &stub_map[i % STUB_NR_PAGES];
	return NULL;
}

static void hold(void)
{
	struct page *page = nr_held_back < ARRAY_SIZE(held_back) ? some_page() : NULL;

	if (page)
		held_back[nr_held_back++] = page;
}

/* Move it, or, where it may not be, or not now, put it back. */
static void let_go(bool migrate)
{
	struct page *page;
	size_t i;

	if (!nr_held_back)
		return;
	i = test_index(&seed, nr_held_back);
	page = held_back[i];
	held_back[i] = held_back[--nr_held_back];
	if (!migrate || stub_migrate(page))
		stub_putback(page);
}

/* The device has every page of the balloon, and no other. */
static void check_known(void)
{
	size_t i;

	bus_check();
	assert_int_equal(vb->head, vb->tail);
	for (i = 0; i < STUB_NR_PAGES; i++)
		assert_int_equal(frames[i], stub_map[i].offline ? FRAMES : 0);
}

static void turn(void)
{
	switch (test_below(&seed, 8)) {
	case 0:
	case 1:
		hold();
		break;
	case 2:
	case 3:
		let_go(test_below(&seed, 4));
		break;
	case 4:
		device_take(VBB_INFLATE);
		device_take(VBB_DEFLATE);
		break;
	case 5:
		if (device_done(test_index(&seed, NR_HELD)))
			bus_used(VBB_VQ_INFLATE);
		break;
	case 6:
		if (!test_below(&seed, 4)) {
			config.num_pages = cpu_to_le32(test_below(&seed, NR_SINGLES) * FRAMES);
			bus_changed();
		}
		break;
	default:
		stub_work();
	}
}

/* VBB-DRV-04, VBB-DRV-05: moves, the target, and a device that takes its time, in any order */
static void test_moves(void **state)
{
	unsigned int i;
	uint64_t s;

	for (s = 0; s < 40; s++) {
		seed = s;
		start(s % 2 ? MUST_TELL : 0);
		for (i = 0; i < 500; i++) {
			turn();
			bus_check();
		}
		while (nr_held_back)
			let_go(false);
		bus_target(NR_SINGLES / 2);
		assert_int_equal(vb->actual, NR_SINGLES / 2);
		check_known();
		assert_true(vb->counters.pages_moved > 10);
		assert_int_equal(vb->singles.isolated_pages, 0);
		stop();
	}
}

/* A page that left is the kernel's at once, or, where the device must know before, not earlier. */
static void test_when_it_is_free(void **state)
{
	struct page *page;
	int tell;

	for (tell = 0; tell < 2; tell++) {
		start(tell ? MUST_TELL : 0);
		page = some_page();
		assert_int_equal(stub_migrate(page), 0);
		assert_int_equal(page->offline, tell);
		assert_int_equal(page->taken, tell);
		assert_int_equal(vb->actual + vb->moving[VBB_INFLATE], NR_SINGLES + tell);
		bus_settle();
		assert_false(page->taken);
		assert_int_equal(vb->actual, NR_SINGLES);
		assert_int_equal(vb->counters.pages_moved, 1);
		check_known();
		stop();
	}
}

/* Who looks at the old page still has it: it is told of when it is ours alone, and not before. */
static void test_looked_at(void **state)
{
	struct page *page;

	start(MUST_TELL);
	page = some_page();
	get_page(page);
	assert_int_equal(stub_migrate(page), 0);
	bus_settle();
	assert_int_equal(frames[page - stub_map], FRAMES);
	assert_int_equal(vb->work.work.delay, msecs_to_jiffies(10));
	put_page(page);
	assert_true(page->taken);
	assert_true(stub_work());
	bus_settle();
	assert_false(page->taken);
	check_known();

	/* the same, and the driver goes */
	page = some_page();
	assert_int_equal(stub_migrate(page), 0);
	stop();
}

/*
 * A page that goes bad, and is moved out of the way for that, is never ours alone: who found it
 * keeps a hold of it, and it is told of all the same.
 */
static void test_bad_page(void **state)
{
	struct page *page;

	start(MUST_TELL);
	page = some_page();
	get_page(page);
	page->poisoned = true;
	assert_int_equal(stub_migrate(page), 0);
	bus_settle();
	assert_int_equal(vb->actual, NR_SINGLES);
	assert_int_equal(page->count, 1);
	check_known();
	/* nothing is left to be done later */
	assert_false(stub_work());
	page->poisoned = false;
	put_page(page);
	stop();
}

/* With a device that is silent there is an end to moves, and it comes before the memory's. */
static void test_silent_device(void **state)
{
	unsigned int nr;
	int tell;

	for (tell = 0; tell < 2; tell++) {
		start(tell ? MUST_TELL : 0);
		for (nr = 0; nr <= NR_SINGLES; nr++) {
			held_back[0] = some_page();
			if (stub_migrate(held_back[0]))
				break;
			bus_work();
		}
		stub_putback(held_back[0]);
		assert_true(nr >= VBB_MOVED_BLOCKS && nr <= 2 * VBB_MOVED_BLOCKS);
		assert_int_equal(vb->counters.pages_moved, nr);
		bus_settle();
		assert_int_equal(vb->actual, NR_SINGLES);
		check_known();
		assert_int_equal(stub_migrate(some_page()), 0);
		bus_settle();
		check_known();
		stop();
	}
}

static unsigned int nr_meanwhile;

static void move_meanwhile(void)
{
	struct page *page = vb->lock.held ? some_page() : NULL;

	if (!page)
		return;
	assert_int_equal(stub_migrate(page), -EAGAIN);
	stub_putback(page);
	nr_meanwhile++;
}

/* Who moves a page has its lock, and waits for nobody: where the driver is at work, not now. */
static void test_at_work(void **state)
{
	start(0);
	nr_meanwhile = 0;
	stub_meanwhile = move_meanwhile;
	bus_target(NR_SINGLES / 2);
	assert_true(nr_meanwhile > 10);
	stub_meanwhile = NULL;
	check_known();
	assert_int_equal(vb->counters.pages_moved, 0);
	stop();
}

/* Somebody has these pages locked, for a moment, wherever they are. */
static bool is_locked(size_t i)
{
	return i % 3 == 0 && (!stub_map[i].taken || stub_map[i].offline);
}

static void lock_some(void)
{
	size_t i;

	for (i = 0; i < STUB_NR_PAGES; i++)
		stub_map[i].locked = is_locked(i);
}

static void unlock_all(void)
{
	size_t i;

	for (i = 0; i < STUB_NR_PAGES; i++)
		stub_map[i].locked = false;
}

/* They are gone round, and their time comes when they are unlocked. */
static void test_locked(void **state)
{
	size_t i;

	start(0);
	lock_some();
	bus_target(0);
	assert_true(vb->actual && vb->actual < NR_SINGLES);
	for (i = 0; i < STUB_NR_PAGES; i++)
		assert_true(!stub_map[i].offline || stub_map[i].locked);
	bus_check();
	unlock_all();
	/* it tries again by itself */
	assert_true(stub_work());
	bus_settle();
	assert_int_equal(vb->actual, 0);
	check_known();

	/* those that are locked when they come cannot be moved yet */
	lock_some();
	bus_target(NR_SINGLES);
	assert_int_equal(vb->actual, NR_SINGLES);
	assert_true(vb->nr_singles && vb->nr_singles < NR_SINGLES);
	for (i = 0; i < STUB_NR_PAGES; i++)
		assert_int_equal(stub_map[i].locked, is_locked(i));
	unlock_all();
	bus_target(NR_SINGLES - 1);
	assert_int_equal(vb->nr_singles, NR_SINGLES - 1);
	check_known();
	stop();
}

static unsigned long last_nr_singles;

static void check_pace(void)
{
	assert_false(vb->singles.pages_lock.held);
	assert_true(last_nr_singles - vb->nr_singles <= 64);
	last_nr_singles = vb->nr_singles;
	nr_meanwhile++;
}

/* Interrupts are off for no more than some pages, however many are to leave. */
static void test_pace(void **state)
{
	start(0);
	nr_meanwhile = 0;
	last_nr_singles = NR_SINGLES;
	stub_meanwhile = check_pace;
	bus_target(0);
	assert_int_equal(vb->actual, 0);
	assert_true(nr_meanwhile > NR_SINGLES / 64);
	stop();
}

static unsigned int patience, nr_waits;

static void put_back_late(void)
{
	/* until all others are given back there is nothing to wait for */
	if (!vb->stopping || vb->nr_singles > nr_held_back || vb->blocks.nr_pages)
		return;
	nr_waits++;
	if (patience) {
		patience--;
		return;
	}
	let_go(true);
}

/* VBB-DRV-06: the driver goes while the kernel has its hands on pages; it lets go soon. */
static void test_held_back_at_the_end(void **state)
{
	start(0);
	while (nr_held_back < ARRAY_SIZE(held_back))
		hold();
	patience = 5;
	nr_waits = 0;
	stub_meanwhile = put_back_late;
	stub_comb_end();
	bus_remove();
	assert_int_equal(nr_held_back, 0);
	assert_int_equal(nr_waits, ARRAY_SIZE(held_back) + 5);
}

static void check_stays(void)
{
	assert_int_equal(vb->singles.isolated_pages, 1);
	nr_meanwhile++;
}

static void leave_late(void)
{
	nr_waits++;
	if (!patience--)
		vb->singles.isolated_pages = 0;
}

/*
 * Who moved a page gives the lock back before it is through: until then there is a page isolated,
 * and as long as there is one the balloon does not go, be it empty.
 */
static void test_moved_at_the_end(void **state)
{
	start(0);
	nr_meanwhile = 0;
	stub_unlocked = check_stays;
	assert_int_equal(stub_migrate(some_page()), 0);
	stub_unlocked = NULL;
	assert_int_equal(nr_meanwhile, 1);
	assert_int_equal(vb->singles.isolated_pages, 0);
	bus_target(0);
	assert_int_equal(vb->nr_singles, 0);

	vb->singles.isolated_pages = 1;
	patience = 5;
	nr_waits = 0;
	stub_meanwhile = leave_late;
	stub_comb_end();
	bus_remove();
	assert_int_equal(nr_waits, 6);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_moves),
		cmocka_unit_test(test_when_it_is_free),
		cmocka_unit_test(test_looked_at),
		cmocka_unit_test(test_bad_page),
		cmocka_unit_test(test_silent_device),
		cmocka_unit_test(test_at_work),
		cmocka_unit_test(test_locked),
		cmocka_unit_test(test_pace),
		cmocka_unit_test(test_held_back_at_the_end),
		cmocka_unit_test(test_moved_at_the_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
