// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause
/*
 * requests.c and walk.c against the host's half of the conversation, over a ring. Interrupts, the
 * worker and the host take turns as the seed has it, also in the middle of a walk.
 */
#include "test.h"

#include <virtio_balloon_bmap/decode.h>
#include <virtio_balloon_bmap/request.h>

#include "balloon.h"
#include "queue.h"

#define UNITS (1u << (PAGE_SHIFT - VIRTIO_BALLOON_PAGE_SHIFT_MIN))
#define FIRST_PFN MAX_ORDER_NR_PAGES
#define NR_BLOCKS 500	/* about so many are taken, in the long run */
#define NR_IDS 4096

static struct virtio_device vdev = { .features = 1ULL << VIRTIO_BALLOON_F_HOST_REQ_VQ };
static struct vbb_balloon vb;
static struct stub_queue queue;
static uint64_t seed;

/* --- The guest's memory; all of it that is taken is in these */

static struct {
	struct page *page;
	unsigned int order;
} block[NR_BLOCKS];
static size_t nr_blocks;
static u8 was_free[STUB_NR_PAGES];	/* since the request was made */
static u8 named[STUB_NR_PAGES];		/* in its answer */

static void memory_change(void)
{
	size_t i;

	if (test_below(&seed, NR_BLOCKS) < nr_blocks) {
		i = test_index(&seed, nr_blocks);
		memset(was_free + (block[i].page - stub_map), 1, (size_t)1 << block[i].order);
		__free_pages(block[i].page, block[i].order);
		block[i] = block[--nr_blocks];
		return;
	}
	block[nr_blocks].order = (unsigned int)test_below(&seed, 6);
	block[nr_blocks].page = alloc_pages(GFP_KERNEL, block[nr_blocks].order);
	nr_blocks += !!block[nr_blocks].page;
}

/* Caches are pages that are found when they are dropped. */
static u64 drop_pages;
static int drop_err;

int vbb_drop(struct vbb_drop *d, u64 modes)
{
	d->nr_freed = min(d->limit, drop_pages);
	return drop_err;
}

/* --- The host */

struct held {
	struct vbb_seg seg[1];
	struct vbb_chain chain;
};

static struct vbb_host host;
static struct held parked[STUB_QUEUE_MAX], answers[STUB_QUEUE_MAX];
static unsigned int nr_parked, nr_answers;
static bool interrupt;		/* the driver is to be told, and was not */
static unsigned int nr_notified;	/* of those that the driver told, heard */

static struct {
	u64 first, end;		/* of GET_UNUSED_PAGES, in units of the wire */
	u64 limit;		/* of DROP_CACHE */
	u64 target;		/* of CANCEL */
	u16 cmd;
	bool ended, cancelled, stopped, changed;
} asked[NR_IDS];
static unsigned int nr_asked, nr_ended, nr_complete;
static u64 nr_flag[VIRTIO_BALLOON_FLAG_FAILED + 1];

/* Give one back, whichever */
static void host_done(struct held *held, unsigned int *nr, u64 len)
{
	size_t i = test_index(&seed, *nr);

	held[i].chain.seg = held[i].seg;
	assert_int_equal(vbb_vring_dev_done(&queue.dev, &held[i].chain, len), 0);
	held[i] = held[--*nr];
	interrupt |= vbb_vring_dev_should_notify(&queue.dev);
}

static void host_say(const struct vbb_req *req)
{
	struct held last = parked[nr_parked - 1];
	unsigned int one = 1;
	int len;

	len = vbb_req_store(req, last.seg, 1);
	assert_true(len > 0 && req->id < NR_IDS);
	nr_parked--;
	host_done(&last, &one, (u64)len);
	asked[req->id].cmd = req->cmd;
	nr_asked++;
}

static void host_ask(void)
{
	u64 first = test_below(&seed, (FIRST_PFN + STUB_NR_PAGES) * UNITS);
	u64 nr = test_below(&seed, 3) ? 0 : 1 + test_below(&seed, STUB_NR_PAGES * UNITS);
	struct vbb_req req;
	size_t i;

	if (test_below(&seed, 3))
		first = 0;
	if (!nr_parked)
		return;
	if (!test_below(&seed, 4)) {
		if (vbb_host_open(&host, VIRTIO_BALLOON_CMD_DROP_CACHE, VIRTIO_BALLOON_DROP_SLAB,
				  nr, &req))
			return;
		asked[req.id].limit = nr ? nr / UNITS : U64_MAX;
		drop_pages = test_below(&seed, STUB_NR_PAGES);
		drop_err = test_below(&seed, 4) ? 0 : -EOPNOTSUPP;
		host_say(&req);
		return;
	}
	if (vbb_host_open(&host, VIRTIO_BALLOON_CMD_GET_UNUSED_PAGES, first, nr, &req))
		return;
	asked[req.id].first = first;
	asked[req.id].end = nr ? first + nr : U64_MAX;
	memset(named, 0, sizeof(named));
	for (i = 0; i < STUB_NR_PAGES; i++)
		was_free[i] = stub_free_order(FIRST_PFN + i) >= 0;
	host_say(&req);
}

static void host_cancel(void)
{
	struct vbb_req req;
	u64 id;

	if (!nr_parked || vbb_host_cancel(&host, &req))
		return;
	id = req.arg0;
	assert_true(id < NR_IDS);
	asked[id].cancelled = true;
	asked[req.id].target = id;
	host_say(&req);
}

static bool in_window(u64 pfn, u64 id)
{
	return pfn * UNITS >= asked[id].first && (pfn + 1) * UNITS <= asked[id].end;
}

static void host_pages(struct vbb_dec *dec)
{
	u64 id = dec->hdr.req_id, pfn;
	struct vbb_range r;

	assert_int_equal(dec->hdr.page_shift, PAGE_SHIFT);
	vbb_dec_for_each(dec, &r) {
		for (pfn = r.pfn; pfn < r.pfn + r.nr_pages; pfn++) {
			assert_true(pfn - FIRST_PFN < STUB_NR_PAGES && was_free[pfn - FIRST_PFN]);
			assert_true(in_window(pfn, id));
			assert_int_equal(named[pfn - FIRST_PFN]++, 0);
		}
	}
	assert_int_equal(vbb_dec_next(dec, &r), 0);
}

/* Nobody changed memory, and the answer is whole: all that is free was named. */
static void host_complete(u64 id)
{
	size_t i;

	for (i = 0; i < STUB_NR_PAGES; i++)
		assert_int_equal(named[i], was_free[i] && in_window(FIRST_PFN + i, id));
	nr_complete++;
}

static void host_answer(const struct vbb_seg *seg)
{
	const struct vbb_dec_cfg cfg = { .queue = VBB_QUEUE_HOST_REQUEST, .records = true };
	struct vbb_dec dec;
	u64 id, value;
	int verdict;

	assert_int_equal(vbb_dec_init(&dec, &cfg, seg, 1), 0);
	verdict = vbb_host_accept(&host, &dec.hdr);
	assert_true(verdict >= 0);
	id = dec.hdr.req_id;
	assert_true(id < NR_IDS && !asked[id].ended);
	if (dec.hdr.format == VIRTIO_BALLOON_FORMAT_VALUES && dec.hdr.bmap_len) {
		assert_int_equal(vbb_dec_next_value(&dec, &value), 1);
		assert_true(value <= asked[id].limit);
	} else if (dec.hdr.bmap_len) {
		host_pages(&dec);
	}
	if (dec.hdr.flag == VIRTIO_BALLOON_FLAG_CONT) {
		assert_false(asked[id].stopped);
		return;
	}
	asked[id].ended = true;
	nr_ended++;
	nr_flag[dec.hdr.flag]++;
	if (dec.hdr.flag == VIRTIO_BALLOON_FLAG_CANCELLED)
		assert_true(asked[id].cancelled);
	if (dec.hdr.flag == VIRTIO_BALLOON_FLAG_DONE && asked[id].cmd == VIRTIO_BALLOON_CMD_CANCEL)
		asked[asked[id].target].stopped = true;
	if (dec.hdr.flag == VIRTIO_BALLOON_FLAG_DONE && !asked[id].changed &&
	    asked[id].cmd == VIRTIO_BALLOON_CMD_GET_UNUSED_PAGES)
		host_complete(id);
}

/* Take what the driver has put into the queue. */
static bool host_take(void)
{
	struct held h = { .chain.max_segs = 1 };
	int err;

	h.chain.seg = h.seg;
	err = vbb_vring_dev_recv(&queue.dev, &h.chain);
	if (err == VBB_E_AGAIN)
		return false;
	assert_int_equal(err, 0);
	if (h.chain.nr_in) {
		parked[nr_parked++] = h;
	} else {
		host_answer(h.seg);
		answers[nr_answers++] = h;
	}
	return true;
}

/* --- Turns */

static bool still;	/* nobody changes memory */

static void turn(void)
{
	size_t i;

	switch (test_below(&seed, 10)) {
	case 0:
		host_ask();
		break;
	case 1:
		if (!test_below(&seed, 4))
			host_cancel();
		break;
	case 2:
	case 3:
		host_take();
		break;
	case 4:
		if (still)
			break;
		for (i = 0; i <= nr_asked; i++)
			asked[i].changed = true;
		memory_change();
		break;
	case 5:
	case 6:
		if (nr_answers)
			host_done(answers, &nr_answers, 0);
		break;
	default:
		/* others may share the interrupt */
		interrupt = false;
		vbb_requests_used(&queue.vq);
	}
}

static bool nested;

/* The worker lets others run: they do as they like, but there is one worker. */
static void meanwhile(void)
{
	if (nested)
		return;
	nested = true;
	turn();
	nested = false;
}

static void start(u32 num)
{
	size_t i;

	stub_pages_init(FIRST_PFN);
	for (i = 0; i < 1500; i++)
		memory_change();
	memset(&vb, 0, sizeof(vb));
	memset(asked, 0, sizeof(asked));
	memset(nr_flag, 0, sizeof(nr_flag));
	nr_parked = 0;
	nr_answers = 0;
	nr_notified = 0;
	interrupt = false;
	nr_asked = 0;
	nr_ended = 0;
	vb.vdev = &vdev;
	vdev.priv = &vb;
	stub_queue_init(&queue, &vdev, num);
	vb.vqs[VBB_VQ_REQUEST] = &queue.vq;
	vbb_host_init(&host, 1);
	assert_int_equal(vbb_requests_init(&vb, VBB_FMT_AUTO), 0);
	assert_int_equal(vbb_requests_start(&vb), 0);
	vbb_requests_ready(&vb);
	stub_meanwhile = meanwhile;
}

static void stop(void)
{
	stub_meanwhile = NULL;
	vbb_requests_stop(&vb);
	assert_false(stub_work());
	vbb_requests_exit(&vb);
	while (nr_blocks--)
		__free_pages(block[nr_blocks].page, block[nr_blocks].order);
	nr_blocks = 0;
	assert_int_equal(stub_nr_free, STUB_NR_PAGES);
}

/* A counter as debugfs shows it */
static u64 counter(const char *wanted)
{
	struct seq_file m = { .file = tmpfile() };
	unsigned long long value;
	char name[64];

	assert_non_null(m.file);
	vbb_requests_show(&m, &vb);
	rewind(m.file);
	while (fscanf(m.file, "%63s %llu", name, &value) == 2) {
		if (!strcmp(name, wanted)) {
			fclose(m.file);
			return value;
		}
	}
	fail_msg("no counter %s", wanted);
	return 0;
}

static void history(uint64_t first_seed, u32 num)
{
	unsigned int i;
	bool more;

	seed = first_seed;
	still = test_below(&seed, 2);
	stub_ns_step = test_below(&seed, 2) * 30000;
	start(num);
	for (i = 0; i < 600; i++) {
		jiffies += test_below(&seed, 100);
		turn();
		if (!test_below(&seed, 3))
			stub_work();
	}
	/* From here on everybody waits to be told. */
	stub_meanwhile = NULL;
	do {
		jiffies += 2000;
		more = stub_work();
		while (queue.vq.nr_notified != nr_notified && host_take())
			more = true;
		nr_notified = queue.vq.nr_notified;
		while (nr_answers)
			host_done(answers, &nr_answers, 0);
		if (interrupt) {
			interrupt = false;
			vbb_requests_used(&queue.vq);
			more = true;
		}
	} while (more);
	/* each request has ended once, and all buffers are parked again */
	assert_int_equal(nr_ended, nr_asked);
	assert_true(nr_asked > 5);
	assert_int_equal(nr_parked, (min(num, 12U) + 2) / 3);
	assert_true(counter("walk_steps_late_max") <= 1);
	assert_int_equal(counter("answers_done"), nr_flag[VIRTIO_BALLOON_FLAG_DONE]);
	assert_int_equal(counter("answers_cancelled"), nr_flag[VIRTIO_BALLOON_FLAG_CANCELLED]);
	assert_int_equal(counter("answers_busy"), nr_flag[VIRTIO_BALLOON_FLAG_BUSY]);
	assert_int_equal(counter("answers_failed"), nr_flag[VIRTIO_BALLOON_FLAG_FAILED]);
	assert_int_equal(counter("requests_unused_pages") + counter("requests_drop_cache") +
			 counter("requests_busy") + counter("requests_cancel") +
			 counter("requests_cancel_none"), nr_asked);
	assert_int_equal(stub_nr_errors, 0);
	stop();
}

static void test_everything_ends(void **state)
{
	uint64_t s;

	nr_complete = 0;
	for (s = 0; s < 60; s++)
		history(s, s % 3 == 0 ? 4 : s % 3 == 1 ? 8 : STUB_QUEUE_MAX);
	assert_true(nr_complete > 100);
}

/* Whenever it stops, nothing of it goes on; and it can start again. */
static void test_stop(void **state)
{
	uint64_t s;
	int i;

	for (s = 0; s < 60; s++) {
		seed = s;
		start(8);
		for (i = (int)test_below(&seed, 60); i; i--) {
			turn();
			if (!test_below(&seed, 3))
				stub_work();
		}
		stop();
	}
}

/* A host that writes anything, and says any length of it */
static void test_nonsense(void **state)
{
	struct vbb_seg *seg;
	unsigned int i;
	size_t n;

	seed = 1;
	start(16);
	stub_meanwhile = NULL;
	for (i = 0; i < 5000; i++) {
		struct held h = { .chain.max_segs = 1 };

		h.chain.seg = h.seg;
		while (!nr_parked && !vbb_vring_dev_recv(&queue.dev, &h.chain)) {
			if (h.chain.nr_in)
				parked[nr_parked++] = h;
			else
				assert_int_equal(vbb_vring_dev_done(&queue.dev, &h.chain, 0), 0);
		}
		if (nr_parked) {
			seg = parked[0].seg;
			memset(seg->base, 0, seg->len);
			for (n = test_below(&seed, 4) + 1; n; n--)
				((u8 *)seg->base)[test_index(&seed, seg->len)] =
					(u8)test_below(&seed, 4);
			n = test_below(&seed, 2) ? VBB_REQ_LEN : test_index(&seed, VBB_REQ_LEN);
			host_done(parked, &nr_parked, n);
		}
		vbb_requests_used(&queue.vq);
		stub_work();
	}
	assert_true(counter("requests_unused_pages") > 10);
	assert_true(counter("answers_failed") > 10);
	assert_true(counter("request_fault_LEN") > 10);
	stop();
}

/* VBB-DRV-11: a kernel that relies on what is in free pages names none; it does all the rest. */
static void test_free_pages_matter(void **state)
{
	bool *const matter[] = { &stub_init_on_free, &stub_poisoning };
	struct vbb_req req;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(matter); i++) {
		*matter[i] = true;
		start(8);
		stub_meanwhile = NULL;
		while (host_take())
			;
		vbb_host_open(&host, VIRTIO_BALLOON_CMD_GET_UNUSED_PAGES, 0, 0, &req);
		asked[req.id].end = U64_MAX;
		host_say(&req);
		vbb_requests_used(&queue.vq);
		while (stub_work() || host_take())
			;
		assert_int_equal(nr_ended, 1);
		assert_int_equal(nr_flag[VIRTIO_BALLOON_FLAG_UNSUPPORTED], 1);
		assert_int_equal(counter("walk_pages"), 0);
		while (nr_answers)
			host_done(answers, &nr_answers, 0);
		stop();
		*matter[i] = false;
	}
}

/* From one drop to the next a second goes by; of years there is nothing to wait for. */
static void test_drop_again(void **state)
{
	static const struct {
		unsigned long after;
		bool waits;
	} row[] = {
		{ 0, false },
		{ 999, true },
		{ 1000, false },
		{ LONG_MAX + 2000UL, false },
	};
	struct vbb_req req;
	size_t i;

	start(8);
	stub_meanwhile = NULL;
	for (i = 0; i < ARRAY_SIZE(row); i++) {
		while (host_take())
			;
		jiffies += row[i].after;
		vbb_host_open(&host, VIRTIO_BALLOON_CMD_DROP_CACHE, VIRTIO_BALLOON_DROP_SLAB, 0,
			      &req);
		asked[req.id].limit = U64_MAX;
		host_say(&req);
		vbb_requests_used(&queue.vq);
		while (stub_work_now() || host_take())
			;
		assert_int_equal(nr_ended, i + !row[i].waits);
		jiffies += row[i].waits;
		while (stub_work() || host_take())
			;
		assert_int_equal(nr_ended, i + 1);
		while (nr_answers)
			host_done(answers, &nr_answers, 0);
		vbb_requests_used(&queue.vq);
	}
	stop();
}

static void test_no_memory(void **state)
{
	unsigned int nr = 0;
	int err;

	memset(&vb, 0, sizeof(vb));
	vb.vdev = &vdev;
	do {
		stub_nr_allocs = nr++;
		err = vbb_requests_init(&vb, VBB_FMT_AUTO);
		stub_nr_allocs = UINT_MAX;
		assert_true(!err == !!vb.requests);
		vbb_requests_exit(&vb);
	} while (err == -ENOMEM);
	assert_int_equal(err, 0);
	assert_true(nr > 4);
}

static void test_short_queue(void **state)
{
	memset(&vb, 0, sizeof(vb));
	vb.vdev = &vdev;
	stub_queue_init(&queue, &vdev, 2);
	vb.vqs[VBB_VQ_REQUEST] = &queue.vq;
	assert_int_equal(vbb_requests_init(&vb, VBB_FMT_AUTO), 0);
	assert_int_equal(vbb_requests_start(&vb), -EINVAL);
	vbb_requests_exit(&vb);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_everything_ends),
		cmocka_unit_test(test_stop),
		cmocka_unit_test(test_nonsense),
		cmocka_unit_test(test_free_pages_matter),
		cmocka_unit_test(test_drop_again),
		cmocka_unit_test(test_no_memory),
		cmocka_unit_test(test_short_queue),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
