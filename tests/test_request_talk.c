// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause
/*
 * Both machines, and the bytes between them: queues that lose nothing, steps in any order. Of each
 * id the test remembers what must not happen to it again.
 */
#include "request.h"

#define NR_PARKED 2	/* buffers for requests */
#define NR_CHAINS 3	/* answers that the queue holds */
#define NR_IDS 4096

struct bytes {
	uint8_t b[VBB_HDR_LEN + 8];
	size_t len;
};

struct fifo {
	struct bytes slot[NR_CHAINS];
	size_t nr;
};

struct talk {
	uint64_t seed;
	struct vbb_host host;
	struct vbb_guest guest;
	struct fifo asked, answered;	/* NR_PARKED and NR_CHAINS at most */
	uint64_t first_id;
	uint64_t hand;			/* the id whose answer the host applies in slices */
	uint64_t nr_walked;		/* answers with payload to what is being served */
	struct {
		uint16_t cmd;
		bool asked, taken, ended, given_up, cancelled, seen_end;
	} id[NR_IDS];
	size_t nr_applied, nr_dropped, nr_ended, nr_busy, nr_cancelled;
};

static void fifo_put(struct fifo *f, const struct bytes *b)
{
	assert_true(f->nr < NR_CHAINS);
	f->slot[f->nr++] = *b;
}

static void fifo_get(struct fifo *f, struct bytes *b)
{
	assert_true(f->nr > 0);
	*b = f->slot[0];
	memmove(f->slot, f->slot + 1, --f->nr * sizeof(f->slot[0]));
}

static size_t talk_idx(const struct talk *t, uint64_t id)
{
	uint64_t idx = id - t->first_id;

	assert_true(idx < NR_IDS);
	return (size_t)idx;
}

static void talk_ask(struct talk *t, const struct vbb_req *req)
{
	size_t idx = talk_idx(t, req->id);
	struct bytes b;
	struct vbb_seg seg = { b.b, VBB_REQ_LEN };
	int len = vbb_req_store(req, &seg, 1);

	assert_true(len > 0);
	b.len = (size_t)len;
	assert_false(t->id[idx].asked);
	t->id[idx].asked = true;
	t->id[idx].cmd = req->cmd;
	fifo_put(&t->asked, &b);
}

static bool talk_host_open(struct talk *t)
{
	struct vbb_req req;

	if (t->asked.nr == NR_PARKED || t->host.next_id - t->first_id > NR_IDS - 2)
		return false;
	if (vbb_host_open(&t->host, test_below(&t->seed, 2) ? GET : DROP, 1, 0, &req))
		return false;
	talk_ask(t, &req);
	return true;
}

static bool talk_host_cancel(struct talk *t)
{
	struct vbb_req req;

	if (t->asked.nr == NR_PARKED || t->host.next_id - t->first_id > NR_IDS - 2)
		return false;
	if (vbb_host_cancel(&t->host, &req))
		return false;
	t->id[talk_idx(t, req.arg0)].given_up = true;
	t->id[talk_idx(t, req.arg0)].cancelled = true;
	talk_ask(t, &req);
	return true;
}

static void talk_host_forget(struct talk *t)
{
	size_t i;

	vbb_host_forget(&t->host);
	assert_false(vbb_host_may_apply(&t->host));
	t->hand = 0;
	for (i = 0; i < NR_IDS; i++)
		if (t->id[i].asked && t->id[i].cmd == GET)
			t->id[i].given_up = true;
}

static void talk_host_close(struct talk *t)
{
	const struct vbb_host_req *r = test_below(&t->seed, 2) ? &t->host.work : &t->host.cancel;

	if (r->state == VBB_HOST_CLOSED)
		return;
	t->id[talk_idx(t, r->id)].given_up = true;
	assert_int_equal(vbb_host_close(&t->host, r->id), 0);
}

static void talk_reset(struct talk *t)
{
	size_t i;

	vbb_host_reset(&t->host);
	vbb_guest_init(&t->guest);
	t->asked.nr = 0;
	t->answered.nr = 0;
	t->nr_walked = 0;
	for (i = 0; i < NR_IDS; i++)
		t->id[i].given_up |= t->id[i].asked;
}

/* The host takes an answer, unless it is at work on one */
static bool talk_host_take(struct talk *t)
{
	const struct vbb_dec_cfg cfg = { .queue = VBB_QUEUE_HOST_REQUEST, .records = true };
	struct vbb_dec dec;
	struct vbb_seg seg;
	struct bytes b;
	int verdict;
	size_t idx;

	if (!t->answered.nr || t->hand)
		return false;
	fifo_get(&t->answered, &b);
	seg.base = b.b;
	seg.len = b.len;
	assert_int_equal(vbb_dec_init(&dec, &cfg, &seg, 1), 0);
	verdict = vbb_host_accept(&t->host, &dec.hdr);
	idx = talk_idx(t, dec.hdr.req_id);
	/* What is open is answered by what was asked; only what was closed is no longer known. */
	assert_true(verdict >= 0 || (verdict == VBB_E_REQ_STALE && t->id[idx].given_up));
	assert_false(t->id[idx].seen_end);
	t->id[idx].seen_end = dec.hdr.flag != CONT;
	if (verdict > 0 && verdict & VBB_HOST_APPLY) {
		assert_false(t->id[idx].given_up);
		t->hand = dec.hdr.req_id;
		t->nr_applied++;
	}
	t->nr_ended += verdict > 0 && verdict & VBB_HOST_END;
	t->nr_dropped += verdict <= 0;
	t->nr_busy += dec.hdr.flag == BUSY;
	t->nr_cancelled += dec.hdr.flag == CANCELLED;
	if (dec.hdr.flag == CANCELLED)
		assert_true(t->id[idx].cancelled);
	return true;
}

/* A slice of the answer in hand */
static bool talk_host_apply(struct talk *t)
{
	if (!t->hand)
		return false;
	assert_int_equal(vbb_host_may_apply(&t->host), !t->id[talk_idx(t, t->hand)].given_up);
	if (!vbb_host_may_apply(&t->host) || test_below(&t->seed, 2))
		t->hand = 0;
	return true;
}

/* The driver sends an end, or takes a request */
static bool talk_guest_send(struct talk *t)
{
	struct bytes b = { .len = VBB_HDR_LEN };
	struct vbb_seg seg = { b.b, VBB_HDR_LEN };
	struct vbb_hdr hdr;
	struct vbb_cur cur;
	size_t idx;

	if (t->answered.nr == NR_CHAINS || !vbb_guest_next_end(&t->guest, &hdr))
		return false;
	vbb_cur_init(&cur, &seg, 1);
	assert_int_equal(vbb_hdr_store(&hdr, &cur), 0);
	fifo_put(&t->answered, &b);
	vbb_guest_end_sent(&t->guest);
	idx = talk_idx(t, hdr.req_id);
	assert_true(t->id[idx].taken);
	assert_false(t->id[idx].ended);
	t->id[idx].ended = true;
	return true;
}

static bool talk_guest_take(struct talk *t)
{
	bool idle = t->guest.state == VBB_GUEST_IDLE;
	struct vbb_req req;
	struct vbb_seg seg;
	struct bytes b;
	int verdict;

	if (!t->asked.nr || !vbb_guest_ready(&t->guest))
		return false;
	fifo_get(&t->asked, &b);
	seg.base = b.b;
	seg.len = b.len;
	verdict = vbb_guest_take(&t->guest, &req, vbb_req_load(&req, &seg, 1, b.len));
	assert_true(verdict >= 0);
	assert_false(t->id[talk_idx(t, req.id)].taken);
	t->id[talk_idx(t, req.id)].taken = true;
	/* Never two at once. */
	assert_true(verdict != VBB_GUEST_SERVE || idle);
	if (verdict == VBB_GUEST_SERVE)
		t->nr_walked = 0;
	return true;
}

/* A step of the work: some payload, or the end */
static bool talk_guest_work(struct talk *t)
{
	struct vbb_hdr hdr = { .page_shift = 12, .flag = CONT, .bmap_len = 8 };
	struct bytes b = { .len = VBB_HDR_LEN + 8 };
	struct vbb_seg seg = { b.b, VBB_HDR_LEN };
	uint16_t flag = DONE;
	struct vbb_cur cur;

	if (t->guest.state == VBB_GUEST_IDLE)
		return false;
	if (t->guest.state == VBB_GUEST_SERVING && t->nr_walked < 4 && test_below(&t->seed, 8)) {
		if (t->answered.nr == NR_CHAINS)
			return false;
		assert_false(t->id[talk_idx(t, t->guest.req.id)].ended);
		hdr.cmd = t->guest.req.cmd;
		hdr.req_id = t->guest.req.id;
		hdr.format = hdr.cmd == DROP ? VALUES : RECORDS;
		vbb_cur_init(&cur, &seg, 1);
		assert_int_equal(vbb_hdr_store(&hdr, &cur), 0);
		fifo_put(&t->answered, &b);
		t->nr_walked++;
		return true;
	}
	if (t->guest.state == VBB_GUEST_STOPPING && test_below(&t->seed, 4))
		flag = CANCELLED;
	else if (!test_below(&t->seed, 4))
		flag = FAILED;
	assert_int_equal(vbb_guest_end(&t->guest, flag), 0);
	return true;
}

/* Nobody asks any more: everything comes to its end, whatever the order. */
static void talk_drain(struct talk *t)
{
	int idle = 0, steps;

	for (steps = 0; idle < 200; steps++) {
		bool moved = false;

		assert_true(steps < 5000);
		switch (test_below(&t->seed, 5)) {
		case 0:
			moved = talk_host_take(t);
			break;
		case 1:
			moved = talk_host_apply(t);
			break;
		case 2:
			moved = talk_guest_send(t);
			break;
		case 3:
			moved = talk_guest_take(t);
			break;
		default:
			moved = talk_guest_work(t);
			break;
		}
		idle = moved ? 0 : idle + 1;
	}
	assert_int_equal(t->host.work.state, VBB_HOST_CLOSED);
	assert_int_equal(t->host.cancel.state, VBB_HOST_CLOSED);
	assert_int_equal(t->guest.state, VBB_GUEST_IDLE);
	assert_int_equal(t->guest.nr_ends, 0);
	assert_int_equal(t->asked.nr + t->answered.nr, 0);
}

static void talk(struct talk *t, uint64_t seed)
{
	size_t i;
	int step;

	memset(t, 0, sizeof(*t));
	t->seed = seed;
	t->first_id = 1 + test_below(&t->seed, UINT64_MAX / 2);
	vbb_host_init(&t->host, t->first_id);
	vbb_guest_init(&t->guest);
	for (step = 0; step < 20000; step++) {
		switch (test_below(&t->seed, 64)) {
		case 0:
			if (!test_below(&t->seed, 8))
				talk_reset(t);
			break;
		case 1:
			talk_host_forget(t);
			break;
		case 2:
			talk_host_close(t);
			break;
		case 3:
		case 4:
		case 5:
			talk_host_cancel(t);
			break;
		case 6:
			if (!test_below(&t->seed, 8))
				talk_drain(t);
			break;
		default:
			switch (test_below(&t->seed, 6)) {
			case 0:
				talk_host_open(t);
				break;
			case 1:
				talk_host_take(t);
				break;
			case 2:
				talk_host_apply(t);
				break;
			case 3:
				talk_guest_send(t);
				break;
			case 4:
				talk_guest_take(t);
				break;
			default:
				talk_guest_work(t);
				break;
			}
		}
	}
	talk_drain(t);
	for (i = 0; i < NR_IDS; i++) {
		/* Ids come one after another, and what was not given up has its end. */
		assert_true(t->id[i].asked || i == NR_IDS - 1 || !t->id[i + 1].asked);
		assert_true(!t->id[i].asked || t->id[i].seen_end || t->id[i].given_up);
		assert_true(!t->id[i].seen_end || t->id[i].ended);
	}
}

/* VBB-DRV-09 */
static void test_everything_ends(void **state)
{
	static struct talk t;
	size_t sum[5] = { 0 };
	uint64_t seed;

	(void)state;
	for (seed = 1; seed <= 50; seed++) {
		talk(&t, seed);
		sum[0] += t.nr_applied;
		sum[1] += t.nr_dropped;
		sum[2] += t.nr_ended;
		sum[3] += t.nr_busy;
		sum[4] += t.nr_cancelled;
	}
	/* The steps were such that everything did happen. */
	print_message("# applied %zu, dropped %zu, ended %zu, busy %zu, cancelled %zu\n",
		      sum[0], sum[1], sum[2], sum[3], sum[4]);
	assert_true(sum[0] > 10000 && sum[1] > 1000 && sum[2] > 10000);
	assert_true(sum[3] > 100 && sum[4] > 1000);
}

/* VBB-DRV-10, VBB-DRV-13 */
static void test_cancel_is_served_while_payloads_fill_the_queue(void **state)
{
	static struct talk t;

	(void)state;
	memset(&t, 0, sizeof(t));
	t.first_id = 1;
	vbb_host_init(&t.host, 1);
	vbb_guest_init(&t.guest);
	assert_true(talk_host_open(&t));
	assert_true(talk_guest_take(&t));
	while (t.answered.nr < NR_CHAINS)
		assert_true(talk_guest_work(&t));
	assert_int_equal(t.guest.state, VBB_GUEST_SERVING);
	assert_true(talk_host_cancel(&t));
	assert_true(talk_guest_take(&t));
	assert_int_equal(t.guest.state, VBB_GUEST_STOPPING);
	talk_drain(&t);
	assert_true(t.id[0].ended && t.id[1].ended);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_everything_ends),
		cmocka_unit_test(test_cancel_is_served_while_payloads_fill_the_queue),
	};

	return cmocka_run_group_tests_name("request_talk", tests, NULL, NULL);
}
