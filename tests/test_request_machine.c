// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause
/* The two machines of the conversation, each by itself: every row of the specification. */
#include "request.h"

static const uint16_t work_cmds[] = { GET, DROP };

static uint64_t host_open(struct vbb_host *h, uint16_t cmd)
{
	struct vbb_req req;

	assert_int_equal(vbb_host_open(h, cmd, 0, 0, &req), 0);
	assert_int_equal(req.cmd, cmd);
	return req.id;
}

static uint64_t host_cancel(struct vbb_host *h)
{
	struct vbb_req req;

	assert_int_equal(vbb_host_cancel(h, &req), 0);
	return req.id;
}

/* An answer with 8 bytes of payload where the command has one with CONT, and without one else */
static int accept(struct vbb_host *h, uint64_t id, uint16_t cmd, uint16_t flag)
{
	const struct vbb_hdr hdr = {
		.cmd = cmd, .page_shift = 12, .flag = flag, .format = cmd == DROP ? VALUES : BITMAP,
		.req_id = id, .bmap_len = flag == CONT ? 8 : 0,
	};

	return vbb_host_accept(h, &hdr);
}

static int take(struct vbb_guest *g, uint16_t cmd, uint64_t id, uint64_t arg0)
{
	const struct vbb_req req = { .cmd = cmd, .id = id, .arg0 = arg0 };

	return vbb_guest_take(g, &req, 0);
}

/* The next end is this one, and it is sent */
static void assert_end(struct vbb_guest *g, uint16_t cmd, uint64_t id, uint16_t flag)
{
	struct vbb_hdr hdr, again;

	memset(&hdr, 0xee, sizeof(hdr));
	assert_true(vbb_guest_next_end(g, &hdr));
	assert_int_equal(hdr.cmd, cmd);
	assert_int_equal(hdr.req_id, id);
	assert_int_equal(hdr.flag, flag);
	assert_int_equal(hdr.page_shift, 12);
	assert_int_equal(hdr.format, BITMAP);
	assert_int_equal(hdr.start_pfn, 0);
	assert_int_equal(hdr.bmap_len, 0);
	/* It stays the next until it is sent. */
	assert_true(vbb_guest_next_end(g, &again));
	assert_int_equal(again.req_id, id);
	vbb_guest_end_sent(g);
}

static void assert_no_end(struct vbb_guest *g)
{
	struct vbb_hdr hdr;

	assert_false(vbb_guest_next_end(g, &hdr));
	vbb_guest_end_sent(g);
	assert_int_equal(g->nr_ends, 0);
}

/* Guest: the rows of the specification */

/* VBB-DRV-09 */
static void test_guest_serves_work_and_ends_it_once(void **state)
{
	static const uint16_t flags[] = { DONE, UNSUPPORTED, BUSY, FAILED };
	struct vbb_guest g;
	size_t i, j;

	(void)state;
	memset(&g, 0xee, sizeof(g));
	vbb_guest_init(&g);
	assert_no_end(&g);
	assert_int_equal(vbb_guest_end(&g, DONE), VBB_E_STATE);
	for (i = 0; i < ARRAY_SIZE(work_cmds); i++) {
		for (j = 0; j < ARRAY_SIZE(flags); j++) {
			const struct vbb_req req = {
				.cmd = work_cmds[i], .id = 7 + j,
				.arg0 = i ? 3 : 0x123456, .arg1 = UINT64_MAX,
			};

			assert_int_equal(vbb_guest_take(&g, &req, 0), VBB_GUEST_SERVE);
			assert_int_equal(g.state, VBB_GUEST_SERVING);
			assert_int_equal(g.req.cmd, req.cmd);
			assert_int_equal(g.req.id, req.id);
			assert_int_equal(g.req.arg0, req.arg0);
			assert_int_equal(g.req.arg1, req.arg1);
			assert_no_end(&g);
			assert_int_equal(vbb_guest_end(&g, CONT), VBB_E_INVAL);
			assert_int_equal(vbb_guest_end(&g, CANCELLED), VBB_E_INVAL);
			assert_int_equal(vbb_guest_end(&g, NR_FLAGS), VBB_E_INVAL);
			assert_int_equal(vbb_guest_end(&g, flags[j]), 0);
			assert_int_equal(vbb_guest_end(&g, flags[j]), VBB_E_STATE);
			assert_end(&g, req.cmd, req.id, flags[j]);
			assert_no_end(&g);
		}
	}
}

/* VBB-DRV-10 */
static void test_guest_says_busy_to_a_second(void **state)
{
	struct vbb_guest g;
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(work_cmds); i++) {
		vbb_guest_init(&g);
		assert_int_equal(take(&g, DROP, 1, 1), VBB_GUEST_SERVE);
		assert_int_equal(take(&g, work_cmds[i], 2, 0), VBB_GUEST_BUSY);
		assert_int_equal(take(&g, CANCEL, 3, 1), VBB_GUEST_CANCEL);
		assert_int_equal(g.state, VBB_GUEST_STOPPING);
		assert_int_equal(g.req.id, 1);
		assert_end(&g, work_cmds[i], 2, BUSY);
		/* One that is stopping is still one. */
		assert_int_equal(take(&g, work_cmds[i], 4, 0), VBB_GUEST_BUSY);
		assert_end(&g, CANCEL, 3, DONE);
		assert_end(&g, work_cmds[i], 4, BUSY);
		assert_int_equal(vbb_guest_end(&g, CANCELLED), 0);
		/* An end that is not sent yet keeps nobody from being served. */
		assert_int_equal(take(&g, work_cmds[i], 5, 0), VBB_GUEST_SERVE);
		assert_end(&g, DROP, 1, CANCELLED);
		assert_no_end(&g);
	}
}

/* VBB-DRV-08 */
static void test_guest_unknown_commands_are_unsupported(void **state)
{
	struct vbb_guest g;
	uint32_t cmd;

	(void)state;
	vbb_guest_init(&g);
	for (cmd = CANCEL + 1; cmd <= UINT16_MAX; cmd++) {
		const struct vbb_req req = {
			.cmd = (uint16_t)cmd, .id = cmd, .arg0 = UINT64_MAX, .arg1 = UINT64_MAX
		};

		assert_int_equal(vbb_guest_take(&g, &req, 0), VBB_GUEST_UNSUPPORTED);
		assert_end(&g, (uint16_t)cmd, cmd, UNSUPPORTED);
		if (cmd == 0x8000)
			assert_int_equal(take(&g, GET, 1, 0), VBB_GUEST_SERVE);
	}
	assert_int_equal(g.req.id, 1);
	assert_no_end(&g);
}

/* VBB-DRV-08 */
static void test_guest_malformed_requests_fail(void **state)
{
	static const int errs[] = { VBB_E_LEN, VBB_E_RESERVED };
	static const uint16_t cmds[] = { GET, DROP, CANCEL, 3, UINT16_MAX };
	struct vbb_guest g;
	size_t i, j;
	int bit;

	(void)state;
	vbb_guest_init(&g);
	assert_int_equal(take(&g, GET, 1, 0), VBB_GUEST_SERVE);
	for (i = 0; i < ARRAY_SIZE(cmds); i++) {
		for (j = 0; j < ARRAY_SIZE(errs); j++) {
			const struct vbb_req req = { .cmd = cmds[i], .id = 2, .arg0 = 1 };

			assert_int_equal(vbb_guest_take(&g, &req, errs[j]), errs[j]);
			assert_int_equal(g.state, VBB_GUEST_SERVING);
			assert_end(&g, cmds[i], 2, FAILED);
		}
	}
	for (bit = 0; bit < 64; bit++) {
		const uint64_t arg = (uint64_t)1 << bit;
		const struct vbb_req cancel = { .cmd = CANCEL, .id = 3, .arg0 = 1, .arg1 = arg };

		assert_int_equal(vbb_guest_take(&g, &cancel, 0), VBB_E_REQ_ARG);
		assert_int_equal(g.state, VBB_GUEST_SERVING);
		assert_end(&g, CANCEL, 3, FAILED);
		/* Bits 0 and 1 are page cache and slab. */
		assert_int_equal(take(&g, DROP, 4, arg), bit < 2 ? VBB_GUEST_BUSY : VBB_E_REQ_ARG);
		assert_end(&g, DROP, 4, bit < 2 ? BUSY : FAILED);
		assert_int_equal(take(&g, GET, 5, arg), VBB_GUEST_BUSY);
		assert_end(&g, GET, 5, BUSY);
	}
	assert_no_end(&g);
}

/* VBB-DRV-08 */
static void test_guest_is_silent_where_the_id_is_0_or_open(void **state)
{
	static const uint16_t cmds[] = { GET, DROP, CANCEL, 3 };
	static const int errs[] = { 0, VBB_E_LEN, VBB_E_RESERVED };
	struct vbb_guest g;
	size_t i, j;

	(void)state;
	vbb_guest_init(&g);
	assert_int_equal(take(&g, GET, 1, 0), VBB_GUEST_SERVE);
	assert_int_equal(take(&g, DROP, 2, 0), VBB_GUEST_BUSY);
	for (i = 0; i < ARRAY_SIZE(cmds); i++) {
		for (j = 0; j < ARRAY_SIZE(errs); j++) {
			struct vbb_req req = { .cmd = cmds[i], .arg0 = 1 };

			for (req.id = 0; req.id < 3; req.id++) {
				int err = errs[j] ? errs[j] : VBB_E_REQ_ID;

				assert_int_equal(vbb_guest_take(&g, &req, errs[j]),
						 req.id ? VBB_E_REQ_OPEN : err);
			}
			req.id = 0;
			assert_int_equal(vbb_guest_take(&g, &req, VBB_E_REQ_ID), VBB_E_REQ_ID);
			assert_int_equal(g.state, VBB_GUEST_SERVING);
		}
	}
	assert_int_equal(vbb_guest_end(&g, DONE), 0);
	assert_int_equal(take(&g, GET, 1, 0), VBB_E_REQ_OPEN);
	assert_end(&g, DROP, 2, BUSY);
	assert_end(&g, GET, 1, DONE);
	assert_no_end(&g);
	/* Sent, so closed: the guest need not know which ids were used in its life. */
	assert_int_equal(take(&g, GET, 1, 0), VBB_GUEST_SERVE);
}

/* VBB-DRV-10 */
static void test_guest_cancel(void **state)
{
	struct vbb_guest g;

	(void)state;
	vbb_guest_init(&g);
	/* Nothing is open: another's id, none, its own. */
	assert_int_equal(take(&g, CANCEL, 1, 9), VBB_GUEST_CANCEL_NONE);
	assert_int_equal(take(&g, CANCEL, 2, 0), VBB_GUEST_CANCEL_NONE);
	assert_int_equal(take(&g, CANCEL, 3, 3), VBB_GUEST_CANCEL_NONE);
	assert_end(&g, CANCEL, 1, FAILED);
	assert_end(&g, CANCEL, 2, FAILED);
	assert_end(&g, CANCEL, 3, FAILED);

	/* What is served ends with CANCELLED, or with DONE where that was ahead. */
	assert_int_equal(take(&g, GET, 4, 0), VBB_GUEST_SERVE);
	assert_int_equal(take(&g, CANCEL, 5, 9), VBB_GUEST_CANCEL_NONE);
	assert_int_equal(g.state, VBB_GUEST_SERVING);
	assert_int_equal(take(&g, CANCEL, 6, 4), VBB_GUEST_CANCEL);
	assert_int_equal(g.state, VBB_GUEST_STOPPING);
	assert_end(&g, CANCEL, 5, FAILED);
	assert_end(&g, CANCEL, 6, DONE);
	assert_int_equal(take(&g, CANCEL, 7, 4), VBB_GUEST_CANCEL);
	assert_int_equal(g.state, VBB_GUEST_STOPPING);
	assert_int_equal(vbb_guest_end(&g, CANCELLED), 0);
	assert_end(&g, CANCEL, 7, DONE);
	/* Its end is not sent, so it is open, and the end stays what it is. */
	assert_int_equal(take(&g, CANCEL, 8, 4), VBB_GUEST_CANCEL);
	assert_int_equal(g.state, VBB_GUEST_IDLE);
	assert_end(&g, GET, 4, CANCELLED);
	assert_end(&g, CANCEL, 8, DONE);
	assert_int_equal(take(&g, CANCEL, 9, 4), VBB_GUEST_CANCEL_NONE);
	assert_end(&g, CANCEL, 9, FAILED);

	assert_int_equal(take(&g, DROP, 10, 0), VBB_GUEST_SERVE);
	assert_int_equal(take(&g, CANCEL, 11, 10), VBB_GUEST_CANCEL);
	assert_int_equal(vbb_guest_end(&g, DONE), 0);
	assert_end(&g, CANCEL, 11, DONE);
	assert_end(&g, DROP, 10, DONE);

	/* Those that were refused, and a CANCEL, are open until their ends are sent. */
	assert_int_equal(take(&g, 77, 12, 0), VBB_GUEST_UNSUPPORTED);
	assert_int_equal(take(&g, CANCEL, 13, 12), VBB_GUEST_CANCEL);
	assert_int_equal(take(&g, CANCEL, 14, 13), VBB_GUEST_CANCEL);
	assert_int_equal(g.state, VBB_GUEST_IDLE);
	assert_end(&g, 77, 12, UNSUPPORTED);
	assert_end(&g, CANCEL, 13, DONE);
	assert_end(&g, CANCEL, 14, DONE);
	assert_no_end(&g);
}

/* VBB-DRV-13 */
static void test_guest_takes_no_more_than_it_can_end(void **state)
{
	struct vbb_guest g, before;
	uint64_t id = 1, sent = 1;
	int served;

	(void)state;
	for (served = 0; served < 2; served++) {
		vbb_guest_init(&g);
		id = 1;
		sent = 1 + (uint64_t)served;
		assert_int_equal(take(&g, served ? GET : 9, id++, 0),
				 served ? VBB_GUEST_SERVE : VBB_GUEST_UNSUPPORTED);
		/* A thousand at once: it never grows, and never loses one. */
		while (sent <= 1000) {
			while (vbb_guest_ready(&g))
				assert_int_equal(take(&g, 9, id++, 0), VBB_GUEST_UNSUPPORTED);
			assert_int_equal(id - sent, VBB_GUEST_NR_ENDS - served);
			before = g;
			assert_int_equal(take(&g, CANCEL, id, 1), VBB_E_STATE);
			assert_memory_equal(&g, &before, sizeof(g));
			assert_end(&g, 9, sent++, UNSUPPORTED);
		}
		if (served) {
			/* There was always room for its end. */
			while (vbb_guest_ready(&g))
				assert_int_equal(take(&g, 9, id++, 0), VBB_GUEST_UNSUPPORTED);
			assert_int_equal(vbb_guest_end(&g, DONE), 0);
			assert_false(vbb_guest_ready(&g));
			while (sent < id)
				assert_end(&g, 9, sent++, UNSUPPORTED);
			assert_end(&g, GET, 1, DONE);
		}
	}
}

/* VBB-DRV-20 */
static void test_guest_reset_forgets_all(void **state)
{
	struct vbb_guest g;

	(void)state;
	vbb_guest_init(&g);
	assert_int_equal(take(&g, GET, 1, 0), VBB_GUEST_SERVE);
	assert_int_equal(take(&g, CANCEL, 2, 1), VBB_GUEST_CANCEL);
	vbb_guest_init(&g);
	assert_no_end(&g);
	assert_int_equal(vbb_guest_end(&g, CANCELLED), VBB_E_STATE);
	assert_int_equal(take(&g, CANCEL, 3, 1), VBB_GUEST_CANCEL_NONE);
	assert_int_equal(take(&g, GET, 1, 0), VBB_GUEST_SERVE);
	assert_int_equal(g.state, VBB_GUEST_SERVING);
}

/* Host: the rows of the specification */

static void test_host_opens_one_at_a_time(void **state)
{
	struct vbb_host h;
	struct vbb_req req, before;
	uint32_t cmd;
	uint64_t id;
	int bit;

	(void)state;
	memset(&h, 0xee, sizeof(h));
	vbb_host_init(&h, 40);
	memset(&req, 0xee, sizeof(req));
	before = req;
	assert_int_equal(vbb_host_cancel(&h, &req), VBB_E_STATE);
	for (cmd = CANCEL; cmd <= UINT16_MAX; cmd++)
		assert_int_equal(vbb_host_open(&h, (uint16_t)cmd, 0, 0, &req), VBB_E_INVAL);
	for (bit = 2; bit < 64; bit++)
		assert_int_equal(vbb_host_open(&h, DROP, (uint64_t)1 << bit, 0, &req), VBB_E_INVAL);
	assert_memory_equal(&req, &before, sizeof(req));
	assert_int_equal(h.next_id, 40);

	assert_int_equal(vbb_host_open(&h, GET, UINT64_MAX, 12, &req), 0);
	assert_int_equal(req.cmd, GET);
	assert_int_equal(req.id, 40);
	assert_int_equal(req.arg0, UINT64_MAX);
	assert_int_equal(req.arg1, 12);
	before = req;
	assert_int_equal(vbb_host_open(&h, DROP, 3, 0, &req), VBB_E_AGAIN);
	vbb_host_forget(&h);
	assert_int_equal(vbb_host_open(&h, DROP, 3, 0, &req), VBB_E_AGAIN);
	assert_memory_equal(&req, &before, sizeof(req));

	assert_int_equal(vbb_host_cancel(&h, &req), 0);
	assert_int_equal(req.cmd, CANCEL);
	assert_int_equal(req.id, 41);
	assert_int_equal(req.arg0, 40);
	assert_int_equal(req.arg1, 0);
	before = req;
	assert_int_equal(vbb_host_cancel(&h, &req), VBB_E_AGAIN);
	assert_memory_equal(&req, &before, sizeof(req));
	assert_int_equal(accept(&h, 40, GET, CANCELLED), VBB_HOST_END);
	/* The guest is free again, whatever the CANCEL waits for. */
	id = host_open(&h, DROP);
	assert_int_equal(id, 42);
	assert_int_equal(vbb_host_cancel(&h, &req), VBB_E_AGAIN);
	assert_int_equal(h.work.state, VBB_HOST_OPEN);
	assert_int_equal(accept(&h, 41, CANCEL, DONE), VBB_HOST_END);
	assert_int_equal(host_cancel(&h), 43);
}

/* One answer to one request in one state */
static void judge(uint16_t cmd, enum vbb_host_state was, struct vbb_hdr hdr)
{
	struct vbb_host_req *r;
	struct vbb_host h;
	int verdict;

	vbb_host_init(&h, 0);
	host_open(&h, cmd == CANCEL ? DROP : cmd);
	if (cmd == CANCEL || (cmd == DROP && was == VBB_HOST_FORGOTTEN))
		host_cancel(&h);
	r = cmd == CANCEL ? &h.cancel : &h.work;
	hdr.req_id = r->id;
	if (cmd == GET && was == VBB_HOST_FORGOTTEN)
		vbb_host_forget(&h);
	if (was == VBB_HOST_CLOSED)
		assert_int_equal(vbb_host_close(&h, r->id), 0);
	assert_int_equal(r->state, was);
	verdict = vbb_host_accept(&h, &hdr);
	assert_int_equal(verdict, right_verdict(cmd, was, &hdr));
	assert_int_equal(r->state, verdict >= 0 && hdr.flag != CONT ? VBB_HOST_CLOSED : was);
	assert_int_equal(vbb_host_may_apply(&h), verdict > 0 && verdict & VBB_HOST_APPLY);
}

static void judge_in_all_states(const struct vbb_hdr *hdr)
{
	judge(GET, VBB_HOST_OPEN, *hdr);
	judge(GET, VBB_HOST_FORGOTTEN, *hdr);
	judge(GET, VBB_HOST_CLOSED, *hdr);
	judge(DROP, VBB_HOST_OPEN, *hdr);
	judge(DROP, VBB_HOST_FORGOTTEN, *hdr);
	judge(DROP, VBB_HOST_CLOSED, *hdr);
	judge(CANCEL, VBB_HOST_OPEN, *hdr);
	judge(CANCEL, VBB_HOST_CLOSED, *hdr);
}

/* Every answer that vbb_dec_init() lets through, to every request in every state */
/* VBB-DEV-08 */
static void test_host_judges_every_answer(void **state)
{
	static const uint64_t lens[] = { 0, 8, VIRTIO_BALLOON_BMAP_LEN_MAX };
	static const uint16_t cmds[] = { GET, DROP, CANCEL, 3, UINT16_MAX };
	struct vbb_hdr hdr = { .page_shift = 12 };
	size_t i, j;

	(void)state;
	for (hdr.flag = CONT; hdr.flag < NR_FLAGS; hdr.flag++) {
		for (i = 0; i < ARRAY_SIZE(lens); i++) {
			if (lens[i] ? hdr.flag > DONE : hdr.flag == CONT)
				continue;
			hdr.bmap_len = lens[i];
			for (j = 0; j < ARRAY_SIZE(cmds); j++) {
				hdr.cmd = cmds[j];
				for (hdr.format = BITMAP; hdr.format <= VALUES; hdr.format++)
					judge_in_all_states(&hdr);
			}
		}
	}
}

/* VBB-DEV-08 */
static void test_host_one_end_and_no_answer_after_it(void **state)
{
	struct vbb_host h;
	uint16_t flag;
	uint64_t id;

	(void)state;
	vbb_host_init(&h, 1);
	for (flag = DONE; flag < NR_FLAGS; flag++) {
		id = host_open(&h, GET);
		assert_int_equal(accept(&h, id, GET, CONT), VBB_HOST_APPLY);
		assert_int_equal(accept(&h, id, GET, CONT), VBB_HOST_APPLY);
		assert_int_equal(accept(&h, id, GET, flag), VBB_HOST_END);
		assert_int_equal(accept(&h, id, GET, CONT), VBB_E_REQ_STALE);
		assert_int_equal(accept(&h, id, GET, flag), VBB_E_REQ_STALE);
		assert_int_equal(accept(&h, id + 1, GET, flag), VBB_E_REQ_STALE);
		assert_int_equal(accept(&h, 0, GET, flag), VBB_E_REQ_STALE);
	}
}

/* VBB-DEV-10 */
static void test_host_forgets_pages_at_a_collection(void **state)
{
	struct vbb_host h;
	uint64_t id, cancel;

	(void)state;
	vbb_host_init(&h, 1);
	vbb_host_forget(&h);
	id = host_open(&h, GET);
	assert_int_equal(accept(&h, id, GET, CONT), VBB_HOST_APPLY);
	vbb_host_forget(&h);
	assert_false(vbb_host_may_apply(&h));
	assert_int_equal(accept(&h, id, GET, CONT), 0);
	assert_false(vbb_host_may_apply(&h));
	/* It can still be stopped, so that the guest is free the sooner. */
	cancel = host_cancel(&h);
	assert_int_equal(accept(&h, id, GET, CONT), 0);
	assert_int_equal(accept(&h, cancel, CANCEL, DONE), VBB_HOST_END);
	assert_int_equal(h.work.state, VBB_HOST_FORGOTTEN);
	assert_int_equal(accept(&h, id, GET, CANCELLED), VBB_HOST_END);
	assert_int_equal(accept(&h, id, GET, CANCELLED), VBB_E_REQ_STALE);

	/* What was freed is true whatever happens to the log. */
	id = host_open(&h, DROP);
	vbb_host_forget(&h);
	assert_int_equal(accept(&h, id, DROP, CONT), VBB_HOST_APPLY);
	host_cancel(&h);
	assert_int_equal(accept(&h, id, DROP, CONT), 0);
}

/* VBB-DEV-10 */
static void test_host_withdraws_an_answer_in_hand(void **state)
{
	const struct vbb_hdr last = {
		.cmd = GET, .page_shift = 12, .flag = DONE, .format = RECORDS, .bmap_len = 8,
		.req_id = 1,
	};
	struct vbb_host h;
	int how;

	(void)state;
	for (how = 0; how < 8; how++) {
		struct vbb_req req;

		vbb_host_init(&h, 1);
		assert_false(vbb_host_may_apply(&h));
		assert_int_equal(host_open(&h, GET), 1);
		assert_false(vbb_host_may_apply(&h));
		if (how < 6)
			assert_int_equal(vbb_host_accept(&h, &last), VBB_HOST_APPLY | VBB_HOST_END);
		else
			assert_int_equal(accept(&h, 1, GET, CONT), VBB_HOST_APPLY);
		assert_true(vbb_host_may_apply(&h));
		switch (how) {
		case 0:
			vbb_host_forget(&h);
			break;
		case 1:
			vbb_host_reset(&h);
			break;
		case 2:
			/* It ended, and may be applied; then its caller gave up. */
			assert_int_equal(vbb_host_close(&h, 1), VBB_E_STATE);
			break;
		case 3:
			/* The next one is asked for already. */
			assert_int_equal(host_open(&h, GET), 2);
			assert_true(vbb_host_may_apply(&h));
			assert_int_equal(vbb_host_close(&h, 2), 0);
			assert_true(vbb_host_may_apply(&h));
			assert_int_equal(vbb_host_cancel(&h, &req), VBB_E_STATE);
			assert_true(vbb_host_may_apply(&h));
			assert_int_equal(host_open(&h, DROP), 3);
			host_cancel(&h);
			assert_true(vbb_host_may_apply(&h));
			vbb_host_forget(&h);
			break;
		case 4:
			assert_int_equal(accept(&h, 1, GET, CONT), VBB_E_REQ_STALE);
			break;
		case 5:
			assert_int_equal(accept(&h, 12345, CANCEL, DONE), VBB_E_REQ_STALE);
			break;
		case 6:
			host_cancel(&h);
			break;
		default:
			assert_int_equal(vbb_host_close(&h, 1), 0);
			break;
		}
		assert_false(vbb_host_may_apply(&h));
	}
}

/* VBB-DEV-18, VBB-DEV-13 */
static void test_host_reset_and_close(void **state)
{
	struct vbb_host h;
	uint64_t id, cancel;

	(void)state;
	vbb_host_init(&h, 0);
	assert_int_equal(h.next_id, 1);
	id = host_open(&h, GET);
	cancel = host_cancel(&h);
	assert_int_equal(vbb_host_close(&h, 0), VBB_E_STATE);
	assert_int_equal(vbb_host_close(&h, cancel + 1), VBB_E_STATE);
	assert_int_equal(vbb_host_close(&h, cancel), 0);
	assert_int_equal(vbb_host_close(&h, cancel), VBB_E_STATE);
	assert_int_equal(accept(&h, cancel, CANCEL, DONE), VBB_E_REQ_STALE);
	assert_int_equal(h.work.state, VBB_HOST_FORGOTTEN);
	cancel = host_cancel(&h);
	vbb_host_reset(&h);
	assert_int_equal(vbb_host_close(&h, id), VBB_E_STATE);
	assert_int_equal(accept(&h, id, GET, DONE), VBB_E_REQ_STALE);
	assert_int_equal(accept(&h, cancel, CANCEL, DONE), VBB_E_REQ_STALE);
	/* A new driver, and no id of the old one's. */
	assert_int_equal(host_open(&h, GET), cancel + 1);
}

/* VBB-DEV-12, VBB-DEV-17 */
static void test_host_ids_end_before_they_repeat(void **state)
{
	struct vbb_host h, moved;
	struct vbb_req req;

	(void)state;
	vbb_host_init(&h, UINT64_MAX - 2);
	assert_int_equal(host_open(&h, GET), UINT64_MAX - 2);
	assert_int_equal(host_cancel(&h), UINT64_MAX - 1);
	assert_int_equal(accept(&h, UINT64_MAX - 2, GET, CANCELLED), VBB_HOST_END);
	/* The device moves: what was open is a fault there, and the ids go on. */
	vbb_host_init(&moved, h.next_id);
	assert_int_equal(accept(&moved, UINT64_MAX - 1, CANCEL, DONE), VBB_E_REQ_STALE);
	assert_int_equal(host_open(&moved, GET), UINT64_MAX);
	assert_int_equal(vbb_host_cancel(&moved, &req), VBB_E_STATE);
	assert_int_equal(moved.work.state, VBB_HOST_OPEN);
	assert_int_equal(accept(&moved, UINT64_MAX, GET, DONE), VBB_HOST_END);
	assert_int_equal(vbb_host_open(&moved, GET, 0, 0, &req), VBB_E_STATE);
	vbb_host_reset(&moved);
	assert_int_equal(vbb_host_open(&moved, GET, 0, 0, &req), VBB_E_STATE);
	assert_int_equal(accept(&moved, 0, GET, DONE), VBB_E_REQ_STALE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_guest_serves_work_and_ends_it_once),
		cmocka_unit_test(test_guest_says_busy_to_a_second),
		cmocka_unit_test(test_guest_unknown_commands_are_unsupported),
		cmocka_unit_test(test_guest_malformed_requests_fail),
		cmocka_unit_test(test_guest_is_silent_where_the_id_is_0_or_open),
		cmocka_unit_test(test_guest_cancel),
		cmocka_unit_test(test_guest_takes_no_more_than_it_can_end),
		cmocka_unit_test(test_guest_reset_forgets_all),
		cmocka_unit_test(test_host_opens_one_at_a_time),
		cmocka_unit_test(test_host_judges_every_answer),
		cmocka_unit_test(test_host_one_end_and_no_answer_after_it),
		cmocka_unit_test(test_host_forgets_pages_at_a_collection),
		cmocka_unit_test(test_host_withdraws_an_answer_in_hand),
		cmocka_unit_test(test_host_reset_and_close),
		cmocka_unit_test(test_host_ids_end_before_they_repeat),
	};

	return cmocka_run_group_tests_name("request_machine", tests, NULL, NULL);
}
