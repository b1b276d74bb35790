// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause
/*
 * What the QEMU device asks, and what a migration makes of the answers. The migration thread, the
 * main loop and the guest take turns as the seed has it, also in the middle of an answer.
 */
#include "memory.h"

#include "hw/virtio/virtio-balloon-bmap.h"

#define GET VIRTIO_BALLOON_CMD_GET_UNUSED_PAGES
#define DROP VIRTIO_BALLOON_CMD_DROP_CACHE
#define CANCEL VIRTIO_BALLOON_CMD_CANCEL

#define CONT VIRTIO_BALLOON_FLAG_CONT
#define DONE VIRTIO_BALLOON_FLAG_DONE
#define CANCELLED VIRTIO_BALLOON_FLAG_CANCELLED

#define MS 1000000
#define NR_ASKED 4096

static VirtIOBalloonBmap dev;
static struct vbb_host *const host = &dev.requests.host;
static VirtQueue *const request_vq = (VirtQueue *)&seed;

bool stub_bql, stub_postcopy, stub_inhibited;
unsigned int stub_target_page_bits = 12;
uint64_t stub_page_size_max = 64 * UNIT;
NotifierWithReturn *stub_precopy;
int stub_nr_refs;

static int64_t now_ns, look_ns;		/* the time, and how long a look at it takes */

int64_t get_clock(void)
{
	return now_ns += look_ns;
}

/* --- The migration: what was collected, and what is left out of it */

static uint64_t nr_collected;
static bool collecting = true;	/* from before a collection until after it, and without migration */
static bool to_ask;		/* one question a collection */
static uint8_t armed[NR_BLOCKS][NR_UNITS];	/* a write is logged, since the last collection */
static uint8_t named[NR_BLOCKS][NR_UNITS];	/* in the answer at hand */
static uint8_t left_out[NR_BLOCKS][NR_UNITS];	/* because of it */
static uint64_t nr_left_out, nr_hinted;		/* in all, and by this device */

/* Nothing that an answer says permits a discard. VBB-DEV-09 */
int ram_block_discard_range(RAMBlock *b, uint64_t offset, size_t len)
{
	fail();
	return -1;
}

static void mark(uint8_t *units, uint64_t offset, uint64_t len)
{
	assert_true(offset + len <= NR_UNITS * UNIT && !(offset % UNIT) && !(len % UNIT));
	memset(units + offset / UNIT, 1, len / UNIT);
}

void memory_region_clear_dirty_bitmap(MemoryRegion *mr, uint64_t offset, uint64_t len)
{
	assert_true(dev.requests.lock.held && mr->ram_block->bmap && len);
	mark(armed[mr->ram_block - block], offset, len);
}

static bool migrates(const MemoryRegion *mr)
{
	return is_ram(mr) && mr->ram_block->bmap;
}

static void assert_armed(void)
{
	size_t i, unit;

	for (i = 0; i < nr_regions; i++)
		for (unit = 0; migrates(&region[i]) && unit < region[i].len / UNIT; unit++)
			assert_true(armed[region[i].ram_block - block]
					 [region[i].offset / UNIT + unit]);
}

static void notify(PrecopyNotifyReason reason)
{
	unsigned int nr_taken = dev.requests.hint_lock.nr_taken;
	PrecopyNotifyData data = { reason };

	collecting = reason != PRECOPY_NOTIFY_AFTER_BITMAP_SYNC;
	to_ask = !collecting && VIRTIO_DEVICE(&dev)->vm_running && dev.ask_unused && !stub_postcopy;
	if (!collecting) {
		nr_collected++;
		memset(armed, 0, sizeof(armed));
	}
	stub_bql = test_below(&seed, 2);
	assert_int_equal(stub_precopy->notify(stub_precopy, &data), 0);
	/* a hint that is on its way is waited for */
	assert_true(!collecting || dev.requests.hint_lock.nr_taken > nr_taken);
	stub_bql = true;
}

static void collect(void)
{
	notify(PRECOPY_NOTIFY_BEFORE_BITMAP_SYNC);
	notify(PRECOPY_NOTIFY_AFTER_BITMAP_SYNC);
}

/* --- The guest: what it was asked, and parks */

struct asked {
	struct vbb_req req;
	uint64_t collection;	/* that was there when it was asked */
	int64_t asked_ns;
	int64_t cancelled_ns;	/* 0: it was not */
	bool given_up;		/* by the host */
	bool over;
};

static struct asked asked[NR_ASKED];
static unsigned int nr_asked, nr_parked, nr_gets, nr_cancels, nr_given_up;
static uint64_t last_id;
static uint8_t parked_bytes[VBB_REQ_LEN];
static struct iovec parked_iov = { parked_bytes, sizeof(parked_bytes) };

static struct asked *open_of(uint16_t cmd)
{
	unsigned int i;

	for (i = 0; i < nr_asked; i++)
		if (!asked[i].over && !asked[i].given_up && asked[i].req.cmd == cmd)
			return &asked[i];
	return NULL;
}

/* What the guest works at, as far as the host waits for it */
static struct asked *open_work(void)
{
	struct asked *get = open_of(GET);

	return get ? get : open_of(DROP);
}

static bool waits_for(const struct vbb_host_req *r, const struct asked *a)
{
	return r->state != VBB_HOST_CLOSED && r->id == a->req.id;
}

/* What the device does not wait for any more was told to stop, or is the telling, a second ago. */
static void look_for_given_up(void)
{
	struct asked *work = open_work(), *cancel = open_of(CANCEL);

	if (work && !waits_for(&host->work, work)) {
		assert_true(work->cancelled_ns && now_ns - work->cancelled_ns >= 1000 * MS);
		work->given_up = true;
		nr_given_up++;
	}
	if (cancel && !waits_for(&host->cancel, cancel)) {
		assert_true(now_ns - cancel->asked_ns >= 1000 * MS);
		cancel->given_up = true;
	}
}

/* The device sends a request. */
void virtqueue_push(VirtQueue *vq, const VirtQueueElement *elem, unsigned int len)
{
	struct vbb_seg seg = { elem->in_sg->iov_base, elem->in_sg->iov_len };
	struct asked *work;
	struct vbb_req req;

	look_for_given_up();
	work = open_work();
	assert_true(vq == request_vq && !elem->out_num && elem->in_num == 1);
	assert_true(dev.requests.lock.held && VIRTIO_DEVICE(&dev)->vm_running);
	assert_int_equal(vbb_req_load(&req, &seg, 1, len), 0);
	assert_true(req.id > last_id && nr_asked < NR_ASKED);
	last_id = req.id;
	nr_parked--;
	switch (req.cmd) {
	case GET:
		assert_null(work);
		assert_true(!collecting && to_ask);
		assert_armed();
		to_ask = false;
		nr_gets++;
		break;
	case CANCEL:
		/* once, and only what is not wanted any more */
		assert_true(work && work->req.id == req.arg0 && !work->cancelled_ns);
		if (work->req.cmd == DROP)
			assert_true(now_ns - work->asked_ns >= 30000LL * MS);
		else
			assert_true(collecting || work->collection != nr_collected);
		work->cancelled_ns = now_ns;
		nr_cancels++;
		break;
	default:
		assert_int_equal(req.cmd, DROP);
		assert_null(work);
		break;
	}
	asked[nr_asked++] = (struct asked){
		.req = req, .collection = nr_collected, .asked_ns = now_ns,
	};
}

void virtqueue_detach_element(VirtQueue *vq, const VirtQueueElement *elem, unsigned int len)
{
	assert_true(vq == request_vq && !elem->out_num);
	nr_parked--;
}

/* --- The thread pool */

static struct {
	int (*func)(void *opaque);
	void *arg;
	void (*cb)(void *opaque, int ret);
	void *opaque;
} job;
static unsigned int nr_jobs;

void thread_pool_submit_aio(void *pool, int (*func)(void *opaque), void *arg,
			    void (*cb)(void *opaque, int ret), void *opaque)
{
	assert_true(!job.cb && dev.request.waits && stub_bql && stub_nr_refs == 1);
	nr_jobs++;
	job.func = func;
	job.arg = arg;
	job.cb = cb;
	job.opaque = opaque;
}

/* What the thread does, then what the main loop does about it */
static void run_job(void)
{
	if (job.func) {
		stub_bql = false;
		assert_int_equal(job.func(job.arg), 0);
		stub_bql = true;
		job.func = NULL;
	} else if (job.cb) {
		job.cb(job.opaque, 0);
		job.cb = NULL;
		assert_false(dev.request.waits);
	}
}

/* --- What comes on the queue */

static uint8_t message[1 << 16];
static struct iovec out;
static struct asked *hand;	/* what the message answers */
static bool whole;		/* all that it names is to be left out */
static int fault;

void vbmap_fault(VBMapQueue *q, int err)
{
	fault = err;
}

void vbmap_queue_end(VBMapQueue *q, unsigned int written)
{
	assert_true(!written);
	free(q->elem);
	q->elem = NULL;
	if (whole && !collecting && hand->collection == nr_collected)
		assert_memory_equal(left_out, named, sizeof(named));
}

static void begin(struct iovec *in, unsigned int nr_out)
{
	VBMapQueue *q = &dev.request;

	assert_false(q->waits);
	q->elem = malloc(sizeof(*q->elem));
	*q->elem = (VirtQueueElement){ in, &out, in ? 1 : 0, nr_out };
	q->rest.len = 0;
	fault = 0;
	memset(left_out, 0, sizeof(left_out));
	vbmap_request_begin(q);
}

static void step_all(void)
{
	while (dev.request.elem || dev.request.waits) {
		if (dev.request.waits)
			run_job();
		else
			vbmap_request_step(&dev.request);
	}
}

static void park(void)
{
	begin(&parked_iov, 0);
	assert_null(dev.request.elem);
	assert_int_equal(fault, 0);
	nr_parked++;
}

static void run_bh(void)
{
	if (!dev.requests.bh->scheduled)
		return;
	dev.requests.bh->scheduled = false;
	dev.requests.bh->cb(dev.requests.bh->opaque);
}

void qemu_guest_free_page_hint(void *addr, size_t len)
{
	uint8_t *p = addr;
	size_t b;

	/* the answer to what was asked behind the last collection, and before the next one */
	assert_true(!collecting && hand->req.cmd == GET);
	assert_true(dev.requests.hint_lock.held && !dev.requests.lock.held && !stub_bql);
	assert_int_equal(hand->collection, nr_collected);
	for (b = 0; p < block[b].host || (size_t)(p - block[b].host) >= NR_UNITS * UNIT; b++)
		assert_true(b + 1 < NR_BLOCKS);
	mark(left_out[b], (uint64_t)(p - block[b].host), len);
	assert_memory_equal(left_out[b] + (p - block[b].host) / UNIT,
			    named[b] + (p - block[b].host) / UNIT, len / UNIT);
	nr_left_out += len;
	nr_hinted += len;
}

/* The pages of a run, as far as they are in RAM that migrates, and there in whole */
static void name(const struct vbb_span *run)
{
	uint64_t first, end, size = 1ULL << stub_target_page_bits;
	size_t i;

	for (i = 0; i < nr_regions; i++) {
		first = MAX(run->gpa, region[i].gpa);
		end = MIN(run->gpa + run->len, region[i].gpa + region[i].len);
		if (first >= end || !migrates(&region[i]))
			continue;
		first = (first - region[i].gpa + region[i].offset + size - 1) & ~(size - 1);
		end = (end - region[i].gpa + region[i].offset) & ~(size - 1);
		if (first < end)
			mark(named[region[i].ram_block - block], first, end - first);
	}
}

/* Pages, where nr_runs is not 0; else an end. Very many runs are every other page. */
static void make_answer(const struct vbb_req *req, uint16_t flag, unsigned int nr_runs)
{
	bool holes = nr_runs > VBMAP_NR_HINTS;
	const struct vbb_enc_cfg cfg = {
		.cmd = req->cmd, .page_shift = holes || test_below(&seed, 3) ? 12 : 14,
		.req_id = req->id,
		.formats = VBB_FMT_AUTO,
	};
	const struct vbb_dec_cfg dcfg = { .queue = VBB_QUEUE_HOST_REQUEST, .records = true };
	struct vbb_seg seg = { message, sizeof(message) };
	static struct vbb_enc enc;
	struct vbb_range r;
	struct vbb_span span;
	struct vbb_msg msg;
	struct vbb_dec dec;

	assert_int_equal(vbb_enc_init(&enc, &cfg, &seg, 1), 0);
	while (nr_runs--) {
		r.pfn = test_below(&seed, 2 * NR_UNITS) >> (cfg.page_shift - 12);
		r.nr_pages = 1 + test_below(&seed, test_below(&seed, 2) ? 8 : 3000);
		if (holes)
			r = (struct vbb_range){ 2ULL * nr_runs, 1 };
		assert_int_equal(vbb_enc_put(&enc, &r), 0);
	}
	assert_int_equal(vbb_enc_finish(&enc, flag, &msg), 0);
	seg.len = msg.len;
	out = (struct iovec){ message, msg.len };
	memset(named, 0, sizeof(named));
	assert_int_equal(vbb_dec_init(&dec, &dcfg, &seg, 1), 0);
	vbb_dec_for_each(&dec, &r) {
		span = vbb_range_span(&r, cfg.page_shift);
		name(&span);
	}
}

static void answer(struct asked *a, uint16_t flag, unsigned int nr_runs)
{
	make_answer(&a->req, flag, nr_runs);
	hand = a;
	whole = nr_runs && a->req.cmd == GET && !a->given_up && !a->over;
	a->over |= flag != CONT;
	begin(NULL, 1);
	assert_int_equal(fault, a->given_up ? VBB_E_REQ_STALE : 0);
}

/* --- A machine */

static struct {
	const char *name;
	ObjectPropertyAccessor *get, *set;
} property[2];
static size_t nr_properties;

void object_property_add(Object *obj, const char *name, const char *type,
			 ObjectPropertyAccessor *get, ObjectPropertyAccessor *set, void *release,
			 void *opaque)
{
	property[nr_properties].name = name;
	property[nr_properties].get = get;
	property[nr_properties++].set = set;
}

bool visit_type_uint64(Visitor *v, const char *name, uint64_t *value, Error **errp)
{
	if (v->get)
		v->value = *value;
	else
		*value = v->value;
	if (v->wrong)
		error_setg(errp, "no number");
	return !v->wrong;
}

static void start(void)
{
	static int bits;
	size_t i;

	memset(&dev, 0xee, sizeof(dev));
	dev = (VirtIOBalloonBmap){ .ask_unused = true };
	VIRTIO_DEVICE(&dev)->features = 7ULL << 60;
	VIRTIO_DEVICE(&dev)->vm_running = true;
	dev.request.dev = &dev;
	dev.request.vq = request_vq;
	nr_asked = 0;
	nr_parked = 0;
	nr_properties = 0;
	nr_hinted = 0;
	last_id = 0;
	collecting = true;
	whole = false;
	stub_bql = true;
	stub_postcopy = false;
	now_ns = 1;
	look_ns = 0;
	memory_map();
	for (i = 0; i < NR_BLOCKS; i++) {
		block[i].host = (uint8_t *)(uintptr_t)((i + 1) << 30);
		block[i].bmap = i || test_below(&seed, 2) ? &bits : NULL;
	}
	vbmap_requests_init(&dev);
	vbmap_requests_realize(&dev);
}

static void stop(void)
{
	unsigned int nr_taken;

	step_all();
	nr_taken = dev.requests.hint_lock.nr_taken;
	vbmap_requests_unrealize(&dev);
	/* a hint that is on its way is waited for, while there still is who tells of collections */
	assert_true(dev.requests.hint_lock.nr_taken > nr_taken);
	vbmap_requests_finalize(&dev);
	assert_true(!stub_precopy && !stub_nr_refs);
	assert_int_equal(dev.counters.unused_bytes, nr_hinted);
	assert_int_equal(nr_parked, 0);
}

static bool silent;	/* the guest does not answer for some time, */
static bool deaf;	/* or never to CANCEL */

/* The guest says something of what it was asked, as it should. */
static void guest_answers(void)
{
	struct asked *a = open_of(test_below(&seed, 2) ? GET : CANCEL);
	unsigned int i, nr_runs = (unsigned int)test_below(&seed, 20);

	/* or of what nobody waits for */
	for (i = 0; i < nr_asked && !test_below(&seed, 8); i++)
		if (asked[i].given_up && !asked[i].over)
			a = &asked[i];
	if (!a || (a->req.cmd == CANCEL && deaf))
		return;
	if (a->req.cmd == CANCEL)
		answer(a, DONE, 0);
	else if (a->cancelled_ns && test_below(&seed, 2))
		answer(a, CANCELLED, 0);
	else if (test_below(&seed, 3))
		answer(a, CONT, 1 + nr_runs);
	else
		answer(a, DONE, nr_runs);
}

static void any_turn(void)
{
	uint64_t turn = test_below(&seed, 40);
	VirtIODevice *vdev = VIRTIO_DEVICE(&dev);

	/* the network may take no more meanwhile: but for migration nobody waits for a hint */
	dev.requests.hint_lock.held = turn > 1 && turn != 9 && turn != 10 && job.func;
	switch (turn) {
	case 0:
		notify(collecting ? PRECOPY_NOTIFY_AFTER_BITMAP_SYNC :
				    PRECOPY_NOTIFY_BEFORE_BITMAP_SYNC);
		break;
	case 1:
		if (!test_below(&seed, 8))
			notify(PRECOPY_NOTIFY_CLEANUP);
		break;
	case 2:
		/* what the device does where the guest goes on, and where it stops */
		vdev->vm_running = !vdev->vm_running || test_below(&seed, 2);
		if (vdev->vm_running) {
			qemu_bh_schedule(dev.requests.bh);
		} else if (dev.request.elem) {
			whole = false;
			vbmap_queue_end(&dev.request, 0);
		}
		break;
	case 3:
		now_ns += 700 * MS;
		break;
	case 4:
		stub_postcopy = !test_below(&seed, 8);
		dev.ask_unused = test_below(&seed, 8);
		break;
	case 5:
		silent = !test_below(&seed, 3);
		break;
	case 6:
	case 7:
	case 8:
		run_bh();
		break;
	case 9:
	case 10:
		run_job();
		break;
	default:
		if (!vdev->vm_running || dev.request.waits)
			break;
		if (dev.request.elem)
			vbmap_request_step(&dev.request);
		else if (nr_parked < 2)
			park();
		else if (!silent)
			guest_answers();
	}
	dev.requests.hint_lock.held = false;
	look_for_given_up();
}

/* VBB-DEV-09, VBB-DEV-10 */
static void test_any_turns(void **state)
{
	unsigned int i, k;

	nr_gets = nr_cancels = nr_given_up = 0;
	nr_left_out = 0;
	for (i = 0; i < 300; i++) {
		seed = i;
		stub_target_page_bits = i % 3 ? 12 : 14;
		start();
		look_ns = test_below(&seed, 2) ? MS / 4 : 0;
		deaf = !test_below(&seed, 4);
		for (k = 0; k < 5000; k++)
			any_turn();

		/* whatever came before: the guest is asked, after a collection or a few */
		VIRTIO_DEVICE(&dev)->vm_running = true;
		dev.ask_unused = true;
		stub_postcopy = false;
		step_all();
		collect();
		while (nr_parked < 4)
			park();
		for (k = 0; k < 100; k++) {
			struct asked *a, *cancel;

			look_for_given_up();
			a = open_of(GET);
			cancel = open_of(CANCEL);
			if (a && a->collection == nr_collected)
				break;
			if (deaf) {
				/* and says nothing at all any more */
				now_ns += 1100 * MS;
				collect();
			} else {
				if (a)
					answer(a, DONE, 0);
				if (cancel)
					answer(cancel, DONE, 0);
			}
			while (dev.requests.bh->scheduled)
				run_bh();
		}
		assert_true(k < 100);
		stop();
	}
	stub_target_page_bits = 12;
	assert_true(nr_gets > 2000 && nr_cancels > 500 && nr_given_up > 100);
	assert_true(nr_left_out > 4 * GiB);
}

/* More hints than are given in one go, and a collection that comes between */
static void test_many_hints(void **state)
{
	unsigned int nr_runs = 5 * VBMAP_NR_HINTS / 2;

	seed = 4;
	start();
	memory_flat(UNIT);
	region[0].len = NR_UNITS * UNIT;
	block[0].bmap = block[1].bmap;	/* it migrates */
	park();
	park();
	collect();
	run_bh();
	nr_jobs = 0;
	answer(&asked[0], DONE, nr_runs);
	step_all();
	assert_int_equal(nr_jobs, 3);

	collect();
	run_bh();
	nr_jobs = 0;
	answer(&asked[1], DONE, nr_runs);
	while (!nr_jobs)
		vbmap_request_step(&dev.request);
	run_job();
	collect();
	step_all();
	assert_int_equal(nr_jobs, 1);
	assert_int_equal(dev.counters.answers_dropped, 1);
	stop();
}

/* VBB-DEV-08: what was not asked for, or is malformed, is counted, and leaves no page out. */
static void test_lies(void **state)
{
	static const struct {
		size_t off;	/* of the byte that differs */
		uint8_t xor;
		int err;
	} lies[] = {
		{ 0, DROP, VBB_E_REQ_CMD }, { 2, 8, VBB_E_PAGE_SHIFT }, { 6, 2, VBB_E_FORMAT },
		{ 8, 0x80, VBB_E_REQ_STALE }, { 24, 8, VBB_E_LEN },
	};
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(lies); i++) {
		seed = i;
		start();
		park();
		collect();
		run_bh();
		assert_int_equal(nr_asked, 1);
		hand = &asked[0];
		make_answer(&hand->req, CONT, 10);
		memset(named, 0, sizeof(named));
		message[lies[i].off] ^= lies[i].xor;
		begin(NULL, 1);
		assert_int_equal(fault, lies[i].err);
		assert_null(dev.request.elem);
		/* the true one still counts */
		answer(&asked[0], DONE, 10);
		step_all();
		stop();
	}
	/* a buffer that is too small for a request is none, and no answer */
	start();
	parked_iov.iov_len--;
	begin(&parked_iov, 0);
	parked_iov.iov_len++;
	assert_int_equal(fault, VBB_E_SHORT);
	assert_null(dev.request.elem);
	assert_int_equal(dev.counters.answers, 0);
	begin(NULL, 1);
	assert_int_equal(dev.counters.answers, 1);
	stop();
}

/* Buffers that another machine had: none that has no room for a request, or is a message */
static void test_park(void **state)
{
	VirtQueueElement *elem = malloc(sizeof(*elem));

	start();
	*elem = (VirtQueueElement){ &parked_iov, &out, 1, 1 };
	assert_false(vbmap_park(&dev, elem));
	elem->out_num = 0;
	parked_iov.iov_len--;
	assert_false(vbmap_park(&dev, elem));
	parked_iov.iov_len++;
	elem->in_num = 0;
	assert_false(vbmap_park(&dev, elem));
	elem->in_num = 1;
	assert_true(vbmap_park(&dev, elem));
	nr_parked++;
	stop();
}

static Error *drop(uint64_t what, bool wrong)
{
	Visitor v = { .value = what, .wrong = wrong };
	Error *err = NULL;

	assert_string_equal(property[0].name, "drop-cache");
	property[0].set(OBJECT(&dev), &v, "drop-cache", NULL, &err);
	return err;
}

static uint64_t dropped(void)
{
	Visitor v = { .get = true };
	Error *err = NULL;

	assert_string_equal(property[1].name, "dropped-pages");
	property[1].get(OBJECT(&dev), &v, "dropped-pages", NULL, &err);
	assert_null(err);
	return v.value;
}

static void answer_values(const struct vbb_req *req, uint16_t flag)
{
	const struct vbb_enc_cfg cfg = {
		.cmd = DROP, .page_shift = 12, .req_id = req->id, .formats = VBB_FMT_VALUES,
	};
	struct vbb_seg seg = { message, sizeof(message) };
	static struct vbb_enc enc;
	struct vbb_msg msg;

	assert_int_equal(vbb_enc_init(&enc, &cfg, &seg, 1), 0);
	assert_int_equal(vbb_enc_put_value(&enc, 5), 0);
	assert_int_equal(vbb_enc_put_value(&enc, 7), 0);
	assert_int_equal(vbb_enc_finish(&enc, flag, &msg), 0);
	out = (struct iovec){ message, msg.len };
	begin(NULL, 1);
	step_all();
	assert_int_equal(fault, 0);
}

static void test_drop_cache(void **state)
{
	seed = 1;
	start();
	assert_string_equal(drop(1, false), "the guest takes no requests");
	park();
	park();
	VIRTIO_DEVICE(&dev)->vm_running = false;
	assert_string_equal(drop(1, false), "the guest takes no requests");
	VIRTIO_DEVICE(&dev)->vm_running = true;
	VIRTIO_DEVICE(&dev)->features = 0;
	assert_string_equal(drop(1, false), "the guest takes no requests");
	VIRTIO_DEVICE(&dev)->features = 7ULL << 60;
	dev.request.vq = NULL;
	assert_string_equal(drop(1, false), "the guest takes no requests");
	dev.request.vq = request_vq;
	assert_string_equal(drop(1, true), "no number");
	assert_string_equal(drop(0, false), "what to drop is 1 (page cache), 2 (slab) or 3");
	assert_string_equal(drop(4, false), "what to drop is 1 (page cache), 2 (slab) or 3");
	assert_int_equal(nr_asked, 0);

	assert_null(drop(3, false));
	assert_int_equal(asked[0].req.cmd, DROP);
	assert_int_equal(asked[0].req.arg0, 3);
	assert_string_equal(drop(1, false), "the guest is still at an earlier request");
	answer_values(&asked[0].req, CONT);
	assert_int_equal(dropped(), 12);
	/* a collection has nothing to do with it */
	collect();
	run_bh();
	assert_int_equal(nr_asked, 1);
	answer_values(&asked[0].req, DONE);
	assert_int_equal(dropped(), 24);
	asked[0].over = true;
	/* the guest is free for what migration wants */
	run_bh();
	assert_int_equal(nr_asked, 2);
	assert_int_equal(asked[1].req.cmd, GET);
	assert_string_equal(drop(1, false), "the guest takes no requests");
	park();
	assert_string_equal(drop(1, false), "the guest is still at an earlier request");
	answer(&asked[1], DONE, 0);
	assert_int_equal(dropped(), 24);
	assert_null(drop(2, false));
	assert_int_equal(dropped(), 0);
	answer(&asked[2], DONE, 0);
	park();
	host->next_id = 0;
	assert_string_equal(drop(1, false), "all ids of requests are used up");
	stop();
}

/* A guest that never ends what it drops: what comes next is not refused for ever. VBB-DEV-13 */
static void test_drop_cache_silent(void **state)
{
	seed = 3;
	start();
	now_ns += 60000LL * MS;
	park();
	park();
	park();
	assert_null(drop(3, false));
	now_ns += 29000LL * MS;
	assert_string_equal(drop(1, false), "the guest is still at an earlier request");
	collect();
	run_bh();
	assert_int_equal(nr_asked, 1);
	now_ns += 1000 * MS;
	assert_string_equal(drop(1, false), "the guest is still at an earlier request");
	assert_int_equal(nr_asked, 2);
	assert_int_equal(asked[1].req.cmd, CANCEL);
	/* what it says now, nobody counts */
	answer_values(&asked[0].req, CONT);
	assert_int_equal(dropped(), 0);
	now_ns += 1000 * MS;
	/* migration has waited longer */
	run_bh();
	assert_int_equal(nr_asked, 2);
	collect();
	run_bh();
	look_for_given_up();
	assert_int_equal(nr_asked, 3);
	assert_int_equal(asked[2].req.cmd, GET);
	answer(&asked[2], DONE, 0);
	park();

	/* and one that obeys */
	assert_null(drop(1, false));
	park();
	now_ns += 30000LL * MS;
	assert_string_equal(drop(1, false), "the guest is still at an earlier request");
	assert_int_equal(asked[4].req.cmd, CANCEL);
	answer(&asked[3], CANCELLED, 0);
	answer(&asked[4], DONE, 0);
	park();
	assert_null(drop(2, false));
	stop();
}

/* A new driver knows no id of the old one's, parked nothing, and is told nothing: VBB-DEV-18. */
static void test_reset(void **state)
{
	seed = 2;
	start();
	park();
	park();
	park();
	collect();
	run_bh();
	make_answer(&asked[0].req, CONT, 10);
	hand = &asked[0];
	begin(NULL, 1);
	while (!dev.request.waits)
		vbmap_request_step(&dev.request);
	/* while the network takes no more */
	dev.requests.hint_lock.held = true;
	vbmap_requests_reset(&dev);
	dev.requests.hint_lock.held = false;
	assert_int_equal(nr_parked, 0);
	step_all();
	assert_int_equal(nr_hinted, 0);
	asked[0].given_up = true;
	park();
	answer(&asked[0], DONE, 0);
	assert_int_equal(nr_asked, 1);
	collect();
	run_bh();
	assert_int_equal(nr_asked, 2);
	stop();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_any_turns),
		cmocka_unit_test(test_many_hints),
		cmocka_unit_test(test_lies),
		cmocka_unit_test(test_park),
		cmocka_unit_test(test_drop_cache),
		cmocka_unit_test(test_drop_cache_silent),
		cmocka_unit_test(test_reset),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
