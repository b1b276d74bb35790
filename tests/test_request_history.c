// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause
/*
 * The two machines, each by itself, through random histories: against plain models, which remember
 * every request that there ever was, and look through them all to say what is right.
 */
#include "request.h"

#define NR_RUNS 150
#define NR_STEPS 2000

struct past {
	uint64_t id;
	uint16_t cmd;
	uint16_t flag;	/* guest: of its end */
	bool given_up;	/* host: forgotten or cancelled */
	bool over;	/* host: ended or closed. guest: its end was sent */
	bool served;	/* guest: worked on at this time */
};

struct history {
	struct past past[2 * NR_STEPS];
	size_t nr;
};

static struct history history;

static struct past *history_add(uint64_t id, uint16_t cmd)
{
	struct past *p = &history.past[history.nr++];

	assert_true(history.nr <= ARRAY_SIZE(history.past));
	memset(p, 0, sizeof(*p));
	p->id = id;
	p->cmd = cmd;
	return p;
}

static struct past *history_open_id(uint64_t id)
{
	size_t i;

	for (i = 0; i < history.nr; i++)
		if (history.past[i].id == id && !history.past[i].over)
			return &history.past[i];
	return NULL;
}

static struct past *history_open_work(bool work)
{
	size_t i;

	for (i = 0; i < history.nr; i++) {
		bool is_work = history.past[i].cmd != CANCEL;

		if (!history.past[i].over && is_work == work)
			return &history.past[i];
	}
	return NULL;
}

/* Most often one that is open or was so lately */
static uint64_t history_some_id(uint64_t *seed, uint64_t next)
{
	uint64_t back = test_below(seed, test_below(seed, 4) ? 4 : 64);

	if (back == 3)
		return test_below(seed, 2) ? next : test_rand(seed);
	return back < history.nr ? history.past[history.nr - 1 - back].id : 0;
}

static struct vbb_hdr some_answer(uint64_t *seed, uint64_t next)
{
	struct vbb_hdr hdr = { .page_shift = 12 };
	struct past *p;

	hdr.req_id = history_some_id(seed, next);
	p = history_open_id(hdr.req_id);
	hdr.cmd = p && test_below(seed, 8) ? p->cmd : (uint16_t)test_below(seed, 4);
	hdr.flag = test_below(seed, 3) ? CONT : (uint16_t)test_below(seed, NR_FLAGS);
	if (hdr.flag <= DONE && (hdr.flag == CONT || test_below(seed, 2)))
		hdr.bmap_len = 8;
	hdr.format = hdr.cmd == DROP ? VALUES : BITMAP;
	if (!test_below(seed, 8))
		hdr.format = (uint16_t)test_below(seed, 3);
	return hdr;
}

/* Returns the id whose payload may now be applied, or 0 */
static uint64_t host_accept_against_history(struct vbb_host *h, uint64_t *seed, uint64_t next)
{
	const struct vbb_hdr hdr = some_answer(seed, next);
	struct past *p = history_open_id(hdr.req_id);
	enum vbb_host_state state = VBB_HOST_CLOSED;
	int right;

	if (p)
		state = p->given_up ? VBB_HOST_FORGOTTEN : VBB_HOST_OPEN;
	right = right_verdict(p ? p->cmd : 0, state, &hdr);
	assert_int_equal(vbb_host_accept(h, &hdr), right);
	if (right < 0)
		return 0;
	p->over = hdr.flag != CONT;
	return hdr.bmap_len && !p->given_up ? p->id : 0;
}

static void host_against_history(uint64_t seed)
{
	/* not so near the end that it comes */
	uint64_t next = 1 + test_below(&seed, UINT64_MAX / 2), applying = 0;
	struct vbb_host h;
	int step;

	history.nr = 0;
	vbb_host_init(&h, next);
	for (step = 0; step < NR_STEPS; step++) {
		struct past *work = history_open_work(true), *cancel = history_open_work(false);
		uint16_t cmd = test_below(&seed, 2) ? DROP : GET;
		struct vbb_req req;
		struct past *p;
		uint64_t id;
		size_t i;
		int right;

		switch (test_below(&seed, 16)) {
		case 0:
		case 1:
		case 2:
			right = work ? VBB_E_AGAIN : 0;
			assert_int_equal(vbb_host_open(&h, cmd, 1, 2, &req), right);
			if (right)
				break;
			assert_int_equal(req.id, next);
			history_add(next++, cmd);
			break;
		case 3:
			right = !work ? VBB_E_STATE : cancel ? VBB_E_AGAIN : 0;
			assert_int_equal(vbb_host_cancel(&h, &req), right);
			if (right)
				break;
			assert_int_equal(req.id, next);
			assert_int_equal(req.arg0, work->id);
			work->given_up = true;
			history_add(next++, CANCEL);
			if (applying == work->id)
				applying = 0;
			break;
		case 4:
			vbb_host_forget(&h);
			for (i = 0; i < history.nr; i++)
				history.past[i].given_up |= history.past[i].cmd == GET;
			applying = 0;
			break;
		case 5:
			id = history_some_id(&seed, next);
			p = history_open_id(id);
			assert_int_equal(vbb_host_close(&h, id), p ? 0 : VBB_E_STATE);
			if (p)
				p->over = true;
			if (id == applying)
				applying = 0;
			break;
		case 6:
			if (test_below(&seed, 8))
				break;
			vbb_host_reset(&h);
			for (i = 0; i < history.nr; i++)
				history.past[i].over = true;
			applying = 0;
			break;
		default:
			applying = host_accept_against_history(&h, &seed, next);
			break;
		}
		assert_int_equal(h.applying_id, applying);
		assert_int_equal(h.work.state != VBB_HOST_CLOSED, !!history_open_work(true));
		assert_int_equal(h.cancel.state != VBB_HOST_CLOSED, !!history_open_work(false));
		assert_int_equal(h.next_id, next);
	}
}

static void test_host_against_history(void **state)
{
	uint64_t seed;

	(void)state;
	for (seed = 1; seed <= NR_RUNS; seed++)
		host_against_history(seed);
}

/* What is right for a request? *flag: how it ends; CONT: it is served; NR_FLAGS: it has no end */
static int right_take(const struct vbb_req *req, int err, struct past *served, uint16_t *flag)
{
	size_t i, nr_open = 0;

	for (i = 0; i < history.nr; i++)
		nr_open += !history.past[i].over;
	*flag = NR_FLAGS;
	if (nr_open >= VBB_GUEST_NR_ENDS)
		return VBB_E_STATE;
	if (!req->id)
		return err ? err : VBB_E_REQ_ID;
	if (history_open_id(req->id))
		return VBB_E_REQ_OPEN;
	*flag = FAILED;
	if (err)
		return err;
	if (req->cmd == CANCEL ? req->arg1 : req->cmd == DROP && req->arg0 > 3)
		return VBB_E_REQ_ARG;
	if (req->cmd == CANCEL && !history_open_id(req->arg0))
		return VBB_GUEST_CANCEL_NONE;
	*flag = req->cmd > CANCEL ? UNSUPPORTED : req->cmd == CANCEL ? DONE : served ? BUSY : CONT;
	if (req->cmd > CANCEL)
		return VBB_GUEST_UNSUPPORTED;
	if (req->cmd == CANCEL)
		return VBB_GUEST_CANCEL;
	return served ? VBB_GUEST_BUSY : VBB_GUEST_SERVE;
}

/* The ends in the order in which they became due */
struct dues {
	struct past *end[NR_STEPS];
	size_t nr, nr_sent;
};

static void guest_take_against_history(struct vbb_guest *g, uint64_t *seed, uint64_t next,
				       struct past *served, struct dues *dues)
{
	struct vbb_req req = {
		.cmd = (uint16_t)test_below(seed, 4),
		.id = test_below(seed, 8) ? next : history_some_id(seed, next),
		.arg1 = !test_below(seed, 16),
	};
	int err = test_below(seed, 12) ? 0 : VBB_E_RESERVED;
	struct past *p;
	uint16_t flag;
	int right;

	if (req.cmd == CANCEL)
		req.arg0 = history_some_id(seed, next);
	else if (!test_below(seed, 8))
		req.arg0 = test_rand(seed);
	right = right_take(&req, err, served, &flag);
	assert_int_equal(vbb_guest_take(g, &req, err), right);
	if (flag == NR_FLAGS)
		return;
	if (right == VBB_GUEST_CANCEL && served && served->id == req.arg0)
		served->given_up = true;
	p = history_add(req.id, req.cmd);
	p->flag = flag;
	p->served = flag == CONT;
	if (flag != CONT)
		dues->end[dues->nr++] = p;
}

static void guest_end_against_history(struct vbb_guest *g, uint16_t flag, struct past *served,
				      struct dues *dues)
{
	int right = 0;

	if (!served)
		right = VBB_E_STATE;
	else if (flag == CONT || flag >= NR_FLAGS || (flag == CANCELLED && !served->given_up))
		right = VBB_E_INVAL;
	assert_int_equal(vbb_guest_end(g, flag), right);
	if (right)
		return;
	served->served = false;
	served->flag = flag;
	dues->end[dues->nr++] = served;
}

static void guest_send_against_history(struct vbb_guest *g, struct dues *dues)
{
	struct vbb_hdr hdr;
	struct past *p;

	assert_int_equal(vbb_guest_next_end(g, &hdr), dues->nr_sent < dues->nr);
	vbb_guest_end_sent(g);
	if (dues->nr_sent == dues->nr)
		return;
	p = dues->end[dues->nr_sent++];
	assert_int_equal(hdr.req_id, p->id);
	assert_int_equal(hdr.cmd, p->cmd);
	assert_int_equal(hdr.flag, p->flag);
	p->over = true;
}

static void guest_against_history(uint64_t seed)
{
	static struct dues dues;
	struct vbb_guest g;
	uint64_t next;

	history.nr = 0;
	dues.nr = 0;
	dues.nr_sent = 0;
	vbb_guest_init(&g);
	for (next = 1; next <= NR_STEPS; next++) {
		struct past *served = NULL;
		uint16_t flag;
		size_t i;

		for (i = 0; i < history.nr; i++)
			if (history.past[i].served)
				served = &history.past[i];
		assert_int_equal(g.nr_ends, dues.nr - dues.nr_sent);
		assert_int_equal(vbb_guest_ready(&g), g.nr_ends + !!served < VBB_GUEST_NR_ENDS);
		assert_int_equal(g.state, !served ? VBB_GUEST_IDLE :
				 served->given_up ? VBB_GUEST_STOPPING : VBB_GUEST_SERVING);
		if (served)
			assert_int_equal(g.req.id, served->id);
		switch (test_below(&seed, 8)) {
		case 0:
			flag = (uint16_t)test_below(&seed, NR_FLAGS + 2);
			guest_end_against_history(&g, flag, served, &dues);
			break;
		case 1:
		case 2:
		case 3:
			guest_send_against_history(&g, &dues);
			break;
		default:
			guest_take_against_history(&g, &seed, next, served, &dues);
			break;
		}
	}
	assert_true(dues.nr_sent > NR_STEPS / 8);
}

/* VBB-DRV-09 */
static void test_guest_against_history(void **state)
{
	uint64_t seed;

	(void)state;
	for (seed = 1; seed <= NR_RUNS; seed++)
		guest_against_history(seed);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_host_against_history),
		cmocka_unit_test(test_guest_against_history),
	};

	return cmocka_run_group_tests_name("request_history", tests, NULL, NULL);
}
