// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause
/* balloon.c, with all of the driver: what is negotiated, the target, and how it all ends. */
#include "test.h"

#include "bus.h"

#define BIT_OF(name) BIT_ULL(VIRTIO_BALLOON_F_##name)
#define VERSION_1 BIT_ULL(VIRTIO_F_VERSION_1)
#define FREE_PAGES (BIT_OF(FREE_PAGE_HINT) | BIT_OF(REPORTING))
#define ALL (BUS_FORMATS | FREE_PAGES | BIT_OF(MUST_TELL_HOST) | BIT_OF(STATS_VQ) | \
	     BIT_OF(DEFLATE_ON_OOM) | BIT_OF(PAGE_POISON) | BIT_OF(HOST_REQ_VQ))
/* As many as the guest can do without */
#define NR_PAGES (STUB_NR_PAGES - VBB_LEFT_PAGES)

static uint64_t seed;

static void start(u64 offered)
{
	stub_meanwhile = NULL;
	assert_int_equal(bus_probe(offered), 0);
}

static void stop(void)
{
	stub_meanwhile = NULL;
	bus_remove();
}

/* VBB-DRV-01, VBB-DRV-02, VBB-DRV-12, VBB-DRV-16: what is accepted of an offer */
static void test_features(void **state)
{
	static const struct {
		u64 offered, accepted;
		bool poisoning;
	} row[] = {
		{ 0, 0, false },
		{ ALL, ALL & ~BIT_OF(PAGE_POISON), false },
		{ ALL, ALL, true },
		{ ALL & ~BIT_OF(PAGE_POISON), ALL & ~FREE_PAGES & ~BIT_OF(PAGE_POISON), true },
		{ ALL & ~VERSION_1,
		  ALL & ~BUS_FORMATS & ~BIT_OF(HOST_REQ_VQ) & ~BIT_OF(PAGE_POISON), false },
		{ VERSION_1 | BIT_OF(HOST_REQ_VQ) | BIT_OF(PAGE_RECORDS), VERSION_1, false },
		{ BUS_FORMATS | BIT_ULL(VIRTIO_RING_F_INDIRECT_DESC) | BIT_ULL(6) | BIT_ULL(63) |
		  BIT_ULL(VIRTIO_F_ACCESS_PLATFORM), BUS_FORMATS, false },
	};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(row); i++) {
		stub_poisoning = row[i].poisoning;
		start(row[i].offered);
		assert_int_equal(vdev.features, row[i].accepted);
		assert_int_equal(vb->must_tell, row[i].accepted & BIT_OF(MUST_TELL_HOST));
		assert_true(!stub_shrinker == !(row[i].accepted & BIT_OF(FREE_PAGE_HINT)));
		assert_true(!stub_reporting == !(row[i].accepted & BIT_OF(REPORTING)));
		assert_true(!stub_oom == !(row[i].accepted & BIT_OF(DEFLATE_ON_OOM)));
		assert_true(!vb->requests == !(row[i].accepted & BIT_OF(HOST_REQ_VQ)));
		bus_target(100);
		assert_int_equal(vb->actual, 100);
		stop();
	}
	stub_poisoning = false;
}

/* VBB-DRV-18: a queue has its number by what is offered, and nobody hears one that is refused. */
static void test_queue_numbers(void **state)
{
	u64 offered = ALL & ~BIT_OF(PAGE_POISON) & ~BIT_OF(STATS_VQ);

	stub_init_on_free = true;
	start(offered);
	assert_string_equal(bus_names[0], "inflate");
	assert_string_equal(bus_names[1], "deflate");
	assert_string_equal(bus_names[2], "free_page_vq");
	assert_string_equal(bus_names[3], "reporting_vq");
	assert_string_equal(bus_names[vbb_vq_host_request(offered)], "host_request");
	assert_null(vb->vqs[VBB_VQ_STATS]);
	assert_null(vb->vqs[VBB_VQ_HINT]->callback);
	assert_null(vb->vqs[VBB_VQ_REPORT]->callback);
	assert_non_null(vb->vqs[VBB_VQ_REQUEST]->callback);
	stop();
	stub_init_on_free = false;
}

/* The device is told what free pages are filled with, where it has to know. */
static void test_poison(void **state)
{
	start(ALL);
	assert_int_equal(config.poison_val, 0);
	stop();
	stub_poisoning = true;
	start(ALL);
	assert_int_equal(le32_to_cpu(config.poison_val), 0xaaaaaaaa);
	stop();
	stub_init_on_free = true;
	start(ALL);
	assert_int_equal(config.poison_val, 0);
	stop();
	stub_init_on_free = false;
	stub_poisoning = false;
}

/* The parameter: nothing is named in a format that it does not allow. */
static void test_format(void **state)
{
	static const struct {
		const char *name;
		vbb_u32 formats;
		bool bitmap, records, pfns;
	} row[] = {
		{ "bitmap\n", VBB_FMT_BITMAP, true, false, false },
		{ "records", VBB_FMT_RECORDS, false, true, false },
		{ "pfns\n", VBB_FMT_PFNS, false, false, true },
		{ "quick", VBB_FMT_QUICK, true, true, false },
		{ "auto", VBB_FMT_AUTO, true, true, false },
	};
	char buf[64];
	size_t i;

	for (i = 0; i < ARRAY_SIZE(row); i++) {
		assert_int_equal(stub_param_format->set(row[i].name, NULL), 0);
		assert_int_equal(stub_param_format->set("none", NULL), -EINVAL);
		assert_int_equal(stub_param_format->set("", NULL), -EINVAL);
		stub_param_format->get(buf, NULL);
		assert_int_equal(strncmp(buf, row[i].name, strcspn(row[i].name, "\n")), 0);
		start(BUS_FORMATS | BIT_OF(HOST_REQ_VQ));
		assert_true(!vb->requests == row[i].pfns);
		assert_int_equal(vb->enc->cfg.formats, row[i].formats);
		bus_target(300);
		assert_true(row[i].bitmap || !vb->counters.messages_bitmap);
		assert_true(row[i].records || !vb->counters.messages_records);
		assert_int_equal(vb->counters.messages_pfns != 0, row[i].pfns);
		stop();
	}
}

/* What cannot be driven is left alone, and so is what fails: nothing of it stays. */
static void test_refused(void **state)
{
	const struct virtio_config_ops *ops = vdev.config, none = { 0 };

	vdev.config = &none;
	assert_int_equal(bus_probe(ALL), -EINVAL);
	vdev.config = ops;
	vdev.big_endian = true;
	assert_int_equal(bus_probe(0), -EINVAL);
	vdev.big_endian = false;
	bus_find_err = -ENOENT;
	assert_int_equal(bus_probe(ALL), -ENOENT);
	bus_find_err = 0;
	bus_register_err = -EBUSY;
	assert_int_equal(bus_probe(ALL), -EBUSY);
	bus_register_err = 0;
	bus_num = 1;
	assert_int_equal(bus_probe(BUS_FORMATS), -EINVAL);
	bus_num = 2;
	assert_int_equal(bus_probe(BUS_FORMATS | BIT_OF(HOST_REQ_VQ)), -EINVAL);
	bus_num = STUB_QUEUE_MAX;
}

/* Whichever memory is not to be had, at the beginning or after a suspension */
static void test_no_memory(void **state)
{
	unsigned int nr = 1;
	int err;

	do {
		stub_nr_allocs = nr++;
		err = bus_probe(ALL);
		stub_nr_allocs = UINT_MAX;
	} while (err == -ENOMEM);
	assert_int_equal(err, 0);
	assert_true(nr > 20);
	bus_target(100);
	nr = 0;
	do {
		assert_int_equal(bus_freeze(), 0);
		stub_nr_allocs = nr++;
		err = bus_restore();
		stub_nr_allocs = UINT_MAX;
	} while (err == -ENOMEM);
	assert_int_equal(err, 0);
	assert_true(nr > 10);
	bus_settle();
	assert_int_equal(vb->actual, 100);

	/* the last word is the bus's, too, where it did not come back */
	bus_freeze();
	stub_nr_allocs = 0;
	assert_int_equal(bus_restore(), -ENOMEM);
	stub_nr_allocs = UINT_MAX;
	stop();
}

/* A target out of reach: something is left to the guest, and now and then it is tried again. */
static void test_out_of_reach(void **state)
{
	start(BUS_FORMATS);
	config.num_pages = cpu_to_le32(U32_MAX);
	bus_changed();
	bus_settle();
	assert_int_equal(vb->actual, NR_PAGES);
	assert_int_equal(stub_nr_free, VBB_LEFT_PAGES);
	assert_int_equal(vb->target, DIV_ROUND_UP((u64)U32_MAX, FRAMES));
	assert_int_equal(vb->work.work.delay, msecs_to_jiffies(200));
	assert_true(stub_work());
	bus_settle();
	assert_int_equal(vb->actual, NR_PAGES);
	assert_true(vb->counters.out_of_memory >= 2);
	bus_check();
	/* somebody gave something back */
	stub_swap = 50;
	assert_true(stub_work());
	bus_settle();
	assert_int_equal(vb->actual, NR_PAGES + 50);
	assert_int_equal(le32_to_cpu(config.actual), vb->actual * FRAMES);
	bus_target(0);
	assert_int_equal(stub_nr_free, STUB_NR_PAGES);
	bus_check();
	stop();
}

/* A target in units of the wire is rounded up to whole pages. */
static void test_rounding(void **state)
{
	start(BUS_FORMATS);
	config.num_pages = cpu_to_le32(7 * FRAMES + 1);
	bus_changed();
	bus_settle();
	assert_int_equal(vb->actual, 8);
	stop();
}

/* VBB-DRV-06: of a device that says nothing the guest loses no more than it was to be told of. */
static void test_silent_device(void **state)
{
	unsigned long begin;

	start(BUS_FORMATS);
	config.num_pages = cpu_to_le32(U32_MAX);
	bus_changed();
	bus_work();
	assert_true(vb->moving[VBB_INFLATE] > 0);
	assert_true(vb->moving[VBB_INFLATE] <= VBB_UNTOLD_MAX);
	assert_true(vb->head - vb->tail <= VBB_NR_SLOTS);
	assert_int_equal(vb->actual, 0);
	assert_int_equal(config.actual, 0);
	bus_check();
	begin = jiffies;
	assert_int_equal(bus_freeze(), 0);
	assert_true(jiffies - begin <= msecs_to_jiffies(1001));
	/* another device is another matter */
	assert_int_equal(bus_restore(), 0);
	bus_settle();
	assert_int_equal(vb->actual, NR_PAGES);
	assert_int_equal(vb->moving[VBB_INFLATE], 0);
	bus_check();
	stop();
}

/* The same with pages that it was to be told of afterwards */
static void test_silent_device_and_oom(void **state)
{
	unsigned long freed = 0;

	start(ALL & ~BIT_OF(MUST_TELL_HOST));
	bus_target(500);
	stub_oom->notifier_call(stub_oom, 0, &freed);
	bus_work();
	assert_true(freed && vb->nr_late);
	assert_int_equal(bus_freeze(), 0);
	assert_int_equal(bus_restore(), 0);
	bus_target(600);
	assert_int_equal(vb->actual, 600);
	bus_check();
	stop();
}

static void device_meanwhile(void)
{
	device_works();
}

/* Before it is suspended the guest has all of its memory, and the balloon comes back after it. */
static void test_suspended(void **state)
{
	unsigned long begin;
	int i;

	start(ALL);
	for (i = 0; i < 3; i++) {
		bus_target(1000);
		config.num_pages = cpu_to_le32(500 * FRAMES);
		bus_changed();
		stub_work_now();
		stub_meanwhile = device_meanwhile;
		begin = jiffies;
		assert_int_equal(bus_freeze(), 0);
		assert_true(jiffies - begin < msecs_to_jiffies(10));
		assert_int_equal(config.actual, 0);
		assert_int_equal(vb->actual, 0);
		/* a device that works is let finish what it was told */
		assert_int_equal(vb->counters.deflate_pages_done, 500 * (i + 1));
		stub_meanwhile = NULL;
		/* what changes while nobody is there is seen afterwards */
		config.num_pages = cpu_to_le32(700 * FRAMES);
		assert_int_equal(bus_restore(), 0);
		bus_settle();
		assert_int_equal(vb->actual, 700);
		assert_int_equal(le32_to_cpu(config.actual), 700 * FRAMES);
		bus_check();
	}
	stop();
}

/* Nothing more comes from a broken device: the balloon stands still, and can be left. */
static void test_broken_device(void **state)
{
	unsigned int nr_written;

	start(BUS_FORMATS);
	bus_target(500);
	bus_queue(VBB_VQ_DEFLATE)->used[2] = 77;
	nr_written = bus_nr_written;
	bus_target(100);
	bus_target(1000);
	assert_true(vb->broken);
	assert_int_equal(stub_nr_errors, 1);
	assert_int_equal(vb->actual, 500);
	bus_check();
	assert_int_equal(bus_freeze(), 0);
	assert_int_equal(bus_nr_written, nr_written);
	assert_int_equal(bus_restore(), 0);
	bus_settle();
	assert_int_equal(vb->actual, 1000);
	stop();
}

/* The device hears how far we are when all is done, and a few times a second; no more often. */
static void test_actual(void **state)
{
	unsigned int i;

	start(BUS_FORMATS);
	bus_settle();
	assert_int_equal(bus_nr_written, 1);
	for (i = 1; i <= 20; i++) {
		config.num_pages = cpu_to_le32(10 * i * FRAMES);
		bus_changed();
		bus_work();
		/* it always has one */
		assert_true(device_take(VBB_INFLATE));
		if (i == 1)
			continue;
		assert_true(device_done(0));
		bus_used(VBB_VQ_INFLATE);
		bus_work();
		assert_int_equal(vb->actual, 10 * (i - 1));
	}
	assert_int_equal(bus_nr_written, 1);
	jiffies += msecs_to_jiffies(251);
	vbb_balloon_queue(vb, 0);
	bus_work();
	assert_int_equal(le32_to_cpu(config.actual), 190 * FRAMES);
	bus_settle();
	assert_int_equal(le32_to_cpu(config.actual), 200 * FRAMES);
	bus_changed();
	bus_settle();
	assert_int_equal(bus_nr_written, 3);
	stop();
}

/* Whatever the field says when the driver comes, it says what is so soon. */
static void test_actual_of_before(void **state)
{
	start(BUS_FORMATS);
	bus_settle();
	bus_freeze();
	config.actual = cpu_to_le32(77);
	assert_int_equal(bus_restore(), 0);
	bus_settle();
	assert_int_equal(config.actual, 0);
	stop();
}

static unsigned int nr_jumps;

/* The host has another target each time that somebody looks. */
static void host_jumps(void)
{
	if (vb->lock.held || nr_jumps == 20)
		return;
	nr_jumps++;
	config.num_pages = cpu_to_le32(test_below(&seed, 3) ? test_below(&seed, NR_PAGES * FRAMES) :
				       test_below(&seed, 2) ? 0 : U32_MAX);
	bus_changed();
}

static void test_target_jumps(void **state)
{
	uint64_t s;

	for (s = 0; s < 20; s++) {
		seed = s;
		start(s % 2 ? ALL : BUS_FORMATS);
		nr_jumps = 0;
		stub_meanwhile = host_jumps;
		bus_target(NR_PAGES);
		assert_true(nr_jumps > 1);
		stub_meanwhile = NULL;
		bus_check();
		bus_target(123);
		assert_int_equal(vb->actual, 123);
		stop();
	}
}

static struct {
	struct page *page;
	unsigned int order;
} block[100];
static size_t nr_blocks;

/* Somebody takes memory, or gives it back. */
static void others(void)
{
	size_t i = test_index(&seed, ARRAY_SIZE(block));

	if (i < nr_blocks) {
		__free_pages(block[i].page, block[i].order);
		block[i] = block[--nr_blocks];
		return;
	}
	block[nr_blocks].order = (unsigned int)test_below(&seed, 6);
	block[nr_blocks].page = alloc_pages(GFP_KERNEL, block[nr_blocks].order);
	nr_blocks += !!block[nr_blocks].page;
}

static void turn(void)
{
	unsigned long freed = 0;

	jiffies += test_below(&seed, 100);
	switch (test_below(&seed, 10)) {
	case 0:
		config.num_pages = cpu_to_le32(test_below(&seed, STUB_NR_PAGES * FRAMES));
		bus_changed();
		break;
	case 1:
	case 2:
		device_take(VBB_INFLATE);
		device_take(VBB_DEFLATE);
		break;
	case 3:
	case 4:
		if (device_done(test_index(&seed, NR_HELD)))
			bus_used(VBB_VQ_INFLATE);
		break;
	case 5:
		others();
		break;
	case 6:
		if (stub_oom && !test_below(&seed, 4))
			stub_oom->notifier_call(stub_oom, 0, &freed);
		break;
	default:
		stub_work();
	}
}

/* Whoever is how quick, each page is in one place, and at any time it can all end. */
static void test_any_order(void **state)
{
	static const u64 offers[] = { ALL, ALL & ~BIT_OF(MUST_TELL_HOST), BUS_FORMATS, 0,
				      BIT_OF(MUST_TELL_HOST) | BIT_OF(DEFLATE_ON_OOM) };
	unsigned int i;
	uint64_t s;

	for (s = 0; s < 50; s++) {
		seed = s;
		nr_blocks = 0;
		bus_num = s % 3 ? STUB_QUEUE_MAX : 4;
		start(offers[s % ARRAY_SIZE(offers)]);
		for (i = 0; i < 300; i++) {
			turn();
			bus_check();
		}
		while (nr_blocks--)
			__free_pages(block[nr_blocks].page, block[nr_blocks].order);
		if (s % 4) {
			bus_target(321);
			assert_int_equal(vb->actual, 321);
			bus_check();
		}
		stop();
	}
	bus_num = STUB_QUEUE_MAX;
}

static unsigned int nr_looks;

/* Somebody pulls the device out: the kernel marks all queues as broken, whoever uses them. */
static void device_gone(void)
{
	unsigned int i;

	if (nr_looks && --nr_looks)
		return;
	for (i = 0; i < VBB_NR_VQS; i++)
		if (vb->vqs[i])
			bus_queue(i)->broken = true;
}

/* VBB-DRV-06: it may go in the middle of anything, and nobody waits for it. */
static void test_device_gone(void **state)
{
	unsigned long begin;
	unsigned int i;
	uint64_t s;

	for (s = 0; s < 100; s++) {
		seed = s;
		nr_blocks = 0;
		start(ALL);
		bus_target(300);
		nr_looks = 1 + (unsigned int)test_below(&seed, 60);
		stub_meanwhile = device_gone;
		config.free_page_hint_cmd_id = cpu_to_le32(2);
		bus_changed();
		for (i = 0; i < 60 && nr_looks; i++)
			turn();
		nr_looks = 0;
		device_gone();
		config.free_page_hint_cmd_id = cpu_to_le32(3);
		config.num_pages = cpu_to_le32(1000 * FRAMES);
		bus_changed();
		for (i = 0; i < VBB_NR_VQS; i++)
			bus_used(i);
		bus_work();
		assert_true(vb->broken);
		bus_check();
		while (nr_blocks--)
			__free_pages(block[nr_blocks].page, block[nr_blocks].order);
		begin = jiffies;
		stop();
		assert_true(jiffies - begin < msecs_to_jiffies(10));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_features),
		cmocka_unit_test(test_queue_numbers),
		cmocka_unit_test(test_poison),
		cmocka_unit_test(test_format),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_no_memory),
		cmocka_unit_test(test_out_of_reach),
		cmocka_unit_test(test_rounding),
		cmocka_unit_test(test_silent_device),
		cmocka_unit_test(test_silent_device_and_oom),
		cmocka_unit_test(test_suspended),
		cmocka_unit_test(test_broken_device),
		cmocka_unit_test(test_actual),
		cmocka_unit_test(test_actual_of_before),
		cmocka_unit_test(test_target_jumps),
		cmocka_unit_test(test_any_order),
		cmocka_unit_test(test_device_gone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
