// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause
/*
 * The QEMU device's work on pages: what it discards of any memory map is what a model says, which
 * goes page by page.
 */
#include "memory.h"

#include "hw/virtio/virtio-balloon-bmap.h"

static uint8_t got[NR_BLOCKS][2 * NR_UNITS], want[NR_BLOCKS][2 * NR_UNITS];
static uint64_t want_pages, nr_runs_partial;
static unsigned int fail_in, nr_fails;	/* discards that succeed before one does not */

bool stub_inhibited;
uint64_t stub_page_size_max = 64 * UNIT;

int ram_block_discard_range(RAMBlock *b, uint64_t offset, size_t len)
{
	size_t i = offset / UNIT;

	assert_true(!stub_inhibited && len && !(offset % b->page_size) && !(len % b->page_size));
	/* what takes long is done in pieces */
	assert_true(len <= MAX(4 * MiB, b->page_size));
	if (!fail_in--) {
		nr_fails++;
		return -1;
	}
	for (; len; len -= UNIT, i++) {
		assert_true(i < 2 * NR_UNITS);
		got[b - block][i]++;
	}
	return 0;
}

/* Does the page that a block has at an offset lie in the run and in the region, in whole? */
static bool whole(const MemoryRegion *mr, uint64_t offset, const struct vbb_span *run)
{
	uint64_t size = mr->ram_block->page_size, first = offset - offset % size;
	uint64_t gpa = mr->gpa + (first - mr->offset);

	return first >= mr->offset && first + size <= mr->offset + mr->len && gpa >= run->gpa &&
	       gpa + size <= run->gpa + run->len;
}

/* The model of a run; returns whether all of it was discarded */
static bool expect(const struct vbb_span *run, bool inflate)
{
	uint64_t gpa, offset;
	bool all = true;
	size_t i;

	for (gpa = run->gpa; gpa < run->gpa + run->len; gpa += UNIT) {
		for (i = 0; i < nr_regions; i++)
			if (gpa >= region[i].gpa && gpa - region[i].gpa < region[i].len)
				break;
		if (i == nr_regions || !is_ram(&region[i])) {
			all = false;
			continue;
		}
		offset = gpa - region[i].gpa + region[i].offset;
		if (inflate && !whole(&region[i], offset, run)) {
			all = false;
			continue;
		}
		want[region[i].ram_block - block][offset / UNIT] += inflate;
		want_pages++;
	}
	return all;
}

/* --- A message, and what becomes of it */

static VirtIOBalloonBmap dev;
static VirtQueueElement elem;
static uint8_t message[1 << 16], answer[VBB_RESULT_LEN];
static struct iovec out = { message, 0 }, in = { answer, sizeof(answer) };
static bool ended;
static int fault;

void vbmap_queue_end(VBMapQueue *q, unsigned int written)
{
	assert_int_equal(written, q->page_msg ? VBB_RESULT_LEN : 0);
	ended = true;
}

void vbmap_fault(VBMapQueue *q, int err)
{
	fault = err;
}

static void make_message(unsigned int shift, bool inflate)
{
	const struct vbb_enc_cfg cfg = { .page_shift = shift, .formats = VBB_FMT_AUTO };
	const struct vbb_dec_cfg dcfg = { .queue = VBB_QUEUE_BALLOON, .records = true };
	struct vbb_seg seg = { message, sizeof(message) };
	static struct vbb_enc enc;
	struct vbb_range r;
	struct vbb_span span;
	struct vbb_msg msg;
	struct vbb_dec dec;
	unsigned int i;

	assert_int_equal(vbb_enc_init(&enc, &cfg, &seg, 1), 0);
	for (i = 0; i < 20; i++) {
		r.pfn = test_below(&seed, NR_UNITS) >> (shift - 12);
		r.nr_pages = test_below(&seed, test_below(&seed, 2) ? 8 : 3000);
		r.nr_pages = 1 + (r.nr_pages >> (shift - 12));
		assert_int_equal(vbb_enc_put(&enc, &r), 0);
	}
	assert_int_equal(vbb_enc_finish(&enc, 0, &msg), 0);
	out.iov_len = msg.len;
	memset(got, 0, sizeof(got));
	memset(want, 0, sizeof(want));
	want_pages = 0;
	nr_runs_partial = 0;
	seg.len = msg.len;
	assert_int_equal(vbb_dec_init(&dec, &dcfg, &seg, 1), 0);
	vbb_dec_for_each(&dec, &r) {
		span = vbb_range_span(&r, shift);
		nr_runs_partial += !expect(&span, inflate);
	}
}

static void work(VBMapQueue *q)
{
	unsigned int nr_steps;
	size_t i;

	dev.parent_obj.vdev.features = 7ULL << 60;
	elem = (VirtQueueElement){ &in, &out, 1, 1 };
	dev.inflate.dev = &dev;
	dev.deflate.dev = &dev;
	q->elem = &elem;
	ended = false;
	fault = 0;
	nr_fails = 0;
	vbmap_pages_begin(q);
	for (nr_steps = 0; !ended; nr_steps++) {
		assert_true(nr_steps < 1000000);
		assert_true(vbmap_pages_step(q) <= MAX(4 * MiB, block[0].page_size));
	}
	for (i = 0; i < nr_regions; i++)
		assert_int_equal(region[i].nr_refs, 0);
}

static struct vbb_result result(void)
{
	struct vbb_seg seg = { answer, sizeof(answer) };
	struct vbb_result r;

	assert_int_equal(vbb_result_load(&r, &seg, 1), 0);
	return r;
}

static unsigned int nr_ok, nr_partial;
static uint64_t nr_pages;

static void check_result(unsigned int shift)
{
	struct vbb_result r = result();

	assert_int_equal(fault, 0);
	assert_int_equal(r.nr_pages, want_pages >> (shift - 12));
	assert_int_equal(r.status, nr_runs_partial ? VIRTIO_BALLOON_STATUS_PARTIAL :
						     VIRTIO_BALLOON_STATUS_OK);
	nr_ok += !nr_runs_partial;
	nr_partial += nr_runs_partial != 0;
	nr_pages += r.nr_pages;
}

static void test_any_map(void **state)
{
	unsigned int i, shift;

	for (i = 0; i < 300; i++) {
		seed = i;
		shift = test_below(&seed, 3) ? 12 : 14;
		if (test_below(&seed, 8))
			memory_map();
		else
			memory_flat(test_below(&seed, 2) ? UNIT : 8 * MiB);
		make_message(shift, true);
		fail_in = UINT_MAX;
		work(&dev.inflate);
		assert_memory_equal(got, want, sizeof(got));
		check_result(shift);
	}
	assert_true(nr_ok > 10 && nr_partial > 200 && nr_pages > 100000);
}

/* What is to be given back was never taken: nothing is discarded, all that is RAM counts. */
static void test_deflate(void **state)
{
	unsigned int i;

	for (i = 0; i < 100; i++) {
		seed = i;
		memory_map();
		make_message(12, false);
		work(&dev.deflate);
		assert_memory_equal(got, want, sizeof(got));
		check_result(12);
	}
}

static void test_inhibited(void **state)
{
	seed = 1;
	memory_flat(UNIT);
	make_message(12, true);
	stub_inhibited = true;
	work(&dev.inflate);
	stub_inhibited = false;
	assert_int_equal(result().status, VIRTIO_BALLOON_STATUS_INHIBITED);
	assert_int_equal(result().nr_pages, 0);
}

/* A discard that fails is none; the others are done all the same. */
static void test_failures(void **state)
{
	uint64_t nr_got;
	unsigned int i;
	size_t k;

	for (i = 0; i < 40; i++) {
		seed = 3;
		memory_flat(UNIT);
		make_message(12, true);
		fail_in = i;
		work(&dev.inflate);
		for (k = 0, nr_got = 0; k < sizeof(got); k++)
			nr_got += ((uint8_t *)got)[k];
		assert_int_equal(result().nr_pages, nr_got);
		assert_true(nr_fails ? nr_got < want_pages : nr_got == want_pages);
		if (nr_fails)
			assert_int_equal(result().status, VIRTIO_BALLOON_STATUS_PARTIAL);
	}
}

static void test_malformed(void **state)
{
	seed = 1;
	memory_flat(UNIT);
	make_message(12, true);
	message[0] ^= 0x80;
	fail_in = UINT_MAX;
	work(&dev.inflate);
	assert_true(fault < 0);
	assert_int_equal(result().status, VIRTIO_BALLOON_STATUS_MALFORMED);
	assert_int_equal(result().nr_pages, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_any_map),
		cmocka_unit_test(test_deflate),
		cmocka_unit_test(test_inhibited),
		cmocka_unit_test(test_failures),
		cmocka_unit_test(test_malformed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
