// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause
#include "message.h"
#include "oracle.h"

#define MAX_RUNS 8

static void assert_same(const struct oracle *o, const struct message *m, const struct vbb_seg *seg,
			size_t nr_segs, uint64_t budget)
{
	struct vbb_dec d;
	const char *how;
	int err;

	memset(&d, 0xee, sizeof(d));
	err = oracle_begin(&d, &m->cfg, m->pfns, seg, nr_segs);
	how = oracle_compare(o, &d, err, budget);
	if (how)
		fail_msg("%s", how);
}

/* A message in one piece and in many, at once and step by step, against the oracle */
static void check(const struct message *m, uint64_t *seed)
{
	size_t a = test_index(seed, m->len + 1), b = a + test_index(seed, m->len - a + 1);
	struct test_cut cut = { .nr_segs = 0 };
	struct oracle o;

	oracle_decode(&o, m->bytes, m->len, &m->cfg, m->pfns);
	test_cut_add(&cut, m->bytes, m->len);
	assert_same(&o, m, cut.seg, cut.nr_segs, VBB_BUDGET_NONE);
	test_cut_join(&cut, NULL);
	test_cut_at(&cut, m->bytes, m->len, a, b);
	assert_same(&o, m, cut.seg, cut.nr_segs, 1 + test_below(seed, 3));
	test_cut_join(&cut, NULL);
	oracle_free(&o);
}

/* Decode at once. Returns how many runs came out, and in *end why no more did. */
static size_t decode(const struct message *m, struct vbb_dec *d, struct vbb_range *runs, int *end)
{
	struct vbb_seg seg = { (void *)(uintptr_t)m->bytes, m->len };
	struct vbb_range r;
	size_t nr = 0;

	oracle_begin(d, &m->cfg, m->pfns, &seg, 1);
	vbb_dec_for_each(d, &r) {
		assert_true(nr < MAX_RUNS);
		runs[nr++] = r;
	}
	*end = vbb_dec_next(d, &r);
	return nr;
}

static void expect(const struct message *m, const struct vbb_range *runs, size_t nr_runs, int end,
		   uint64_t fault_off)
{
	struct vbb_range got[MAX_RUNS];
	uint64_t seed = 1;
	struct vbb_dec d;
	int got_end;
	size_t i;

	assert_int_equal(decode(m, &d, got, &got_end), nr_runs);
	for (i = 0; i < nr_runs; i++) {
		assert_int_equal(got[i].pfn, runs[i].pfn);
		assert_int_equal(got[i].nr_pages, runs[i].nr_pages);
	}
	assert_int_equal(got_end, end);
	if (end)
		assert_int_equal(vbb_dec_fault_off(&d), fault_off);
	check(m, &seed);
}

#define RUNS(...) ((const struct vbb_range[]){ __VA_ARGS__ }), \
	(sizeof((const struct vbb_range[]){ __VA_ARGS__ }) / sizeof(struct vbb_range))

static void test_vectors_of_the_specification(void **state)
{
	struct message m;

	(void)state;
	message_begin(&m, VIRTIO_BALLOON_FORMAT_BITMAP);
	message_set(&m, 16, 64, 8);
	message_add(&m, 0x8000000000000003, 8);
	expect(&m, RUNS({ 64, 2 }, { 127, 1 }), 0, 0);

	message_begin(&m, VIRTIO_BALLOON_FORMAT_RECORDS);
	message_add(&m, 0x0090000000000200, 8);
	message_add(&m, 0x0000000000012345, 8);
	message_add(&m, 0x0400000000012340, 8);
	message_add(&m, 0x8000000000000003, 8);
	message_add(&m, 0x0490000000040000, 8);
	message_add(&m, 0x0000000000000005, 8);
	message_add(&m, 0xfc00000000000007, 8);
	message_add(&m, 0x0000000000003039, 8);
	expect(&m, RUNS({ 0x200, 512 }, { 0x12345, 1 }, { 0x12340, 2 }, { 0x1237f, 1 },
			{ 0x40000, 512 }, { 0x40400, 512 }, { 7, 12345 }), 0, 0);

	message_begin_pfns(&m);
	message_add(&m, 0x200, 4);
	message_add(&m, 0x201, 4);
	message_add(&m, 0x7ffff, 4);
	expect(&m, RUNS({ 0x200, 2 }, { 0x7ffff, 1 }), 0, 0);
}

static void test_records_are_counted_by_kind(void **state)
{
	struct vbb_range runs[MAX_RUNS];
	struct vbb_dec d;
	struct message m;
	int end;

	(void)state;
	message_begin(&m, VIRTIO_BALLOON_FORMAT_RECORDS);
	message_record(&m, 0, 0, 0);
	message_record(&m, 8, 3, 0);
	message_record(&m, 64, 0, 1);
	message_add(&m, 0, 8);
	message_extent(&m, 1000, 10);
	message_extent(&m, 2000, 10);
	message_extent(&m, 3000, 10);
	assert_int_equal(decode(&m, &d, runs, &end), 5);
	assert_int_equal(end, 0);
	assert_int_equal(d.nr_blocks, 2);
	assert_int_equal(d.nr_bitmaps, 1);
	assert_int_equal(d.nr_extents, 3);
}

/* A good record, then a bad one: what came before stands, and nothing comes after. */
/* VBB-MSG-16, VBB-MSG-17, VBB-MSG-18, VBB-MSG-21, VBB-MSG-23 */
static void test_every_fault_of_a_record(void **state)
{
	const uint64_t top = VBB_PFN_END;
	static const struct {
		int err;
		size_t off;		/* from the bad record */
		size_t nr_words;
		uint64_t words[3];
	} rows[] = {
		{ VBB_E_REC_ALIGN, 0, 1, { 0x0090000000000201 } },
		{ VBB_E_REC_ORDER, 0, 1, { 0x0340000000000000 } },
		{ VBB_E_REC_ORDER, 0, 1, { 0x03f0000000000000 } },
		{ VBB_E_REC_ORDER, 0, 2, { 0x0740000000000000, 1 } },
		{ VBB_E_REC_ALIGN, 0, 2, { 0x0410000000000001, 1 } },
		{ VBB_E_REC_TRUNC, 0, 2, { 0x0800000000000000, 1 } },
		{ VBB_E_REC_TRUNC, 0, 1, { 0x0400000000000000 } },
		{ VBB_E_REC_TRUNC, 0, 3, { 0xf800000000000000, 1, 1 } },
		{ VBB_E_REC_TRUNC, 0, 1, { 0xfc00000000000000 } },
		{ VBB_E_REC_ORDER, 0, 2, { 0xfc10000000000000, 1 } },
		{ VBB_E_REC_COUNT, 8, 2, { 0xfc00000000000000, 0 } },
		{ VBB_E_REC_COUNT, 8, 2, { 0xfc00000000000000, 0x0010000000000001 } },
		{ VBB_E_REC_COUNT, 8, 2, { 0xfc00000000000000, 0xffffffffffffffff } },
		{ VBB_E_PFN_RANGE, 0, 2, { 0xfc0fffffffffffff, 2 } },
		{ VBB_E_PFN_RANGE, 0, 2, { 0xfc00000000000001, 0x0010000000000000 } },
	};
	struct message m;
	size_t i, k;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(rows); i++) {
		message_begin(&m, VIRTIO_BALLOON_FORMAT_RECORDS);
		message_record(&m, 4, 2, 0);
		for (k = 0; k < rows[i].nr_words; k++)
			message_add(&m, rows[i].words[k], 8);
		expect(&m, RUNS({ 4, 4 }), rows[i].err, VBB_HDR_LEN + 8 + rows[i].off);
		/* A record behind it is never looked at, where the bad one does not swallow it. */
		if (rows[i].err == VBB_E_REC_TRUNC)
			continue;
		message_record(&m, 512, 0, 0);
		expect(&m, RUNS({ 4, 4 }), rows[i].err, VBB_HDR_LEN + 8 + rows[i].off);
	}

	/* The last page of all is good; larger pages end earlier. */
	message_begin(&m, VIRTIO_BALLOON_FORMAT_RECORDS);
	message_extent(&m, 0, top);
	expect(&m, RUNS({ 0, top }), 0, 0);
	message_set(&m, 2, 13, 2);
	expect(&m, NULL, 0, VBB_E_PFN_RANGE, VBB_HDR_LEN);
	message_begin(&m, VIRTIO_BALLOON_FORMAT_RECORDS);
	message_set(&m, 2, 30, 2);
	message_record(&m, vbb_pow2(33), 33, 0);
	message_record(&m, vbb_pow2(34), 0, 0);
	expect(&m, RUNS({ vbb_pow2(33), vbb_pow2(33) }), VBB_E_PFN_RANGE, VBB_HDR_LEN + 8);
	/* The largest bitmap reaches to 2^63: no sum may wrap. */
	message_begin(&m, VIRTIO_BALLOON_FORMAT_RECORDS);
	message_record(&m, vbb_pow2(51), 51, 62);
	for (k = 0; k < 61; k++)
		message_add(&m, k == 0, 8);
	message_add(&m, vbb_pow2(63), 8);
	expect(&m, RUNS({ vbb_pow2(51), vbb_pow2(51) }), VBB_E_PFN_RANGE, VBB_HDR_LEN + 8 + 61 * 8);
}

/* VBB-MSG-05, VBB-MSG-06, VBB-MSG-07, VBB-MSG-08, VBB-MSG-09, VBB-MSG-10, VBB-MSG-20 */
static void test_every_fault_of_a_header(void **state)
{
	const enum vbb_queue both = (enum vbb_queue)-1;
	const struct {
		enum vbb_queue queue;
		int err;
		size_t off;
		unsigned int nr_bytes;
		uint64_t value;
	} rows[] = {
		{ VBB_QUEUE_BALLOON, VBB_E_CMD, 0, 2, 1 },
		{ VBB_QUEUE_BALLOON, VBB_E_CMD, 0, 2, 0x8000 },
		{ VBB_QUEUE_HOST_REQUEST, 0, 0, 2, 0xffff },
		{ both, VBB_E_PAGE_SHIFT, 2, 2, 0 },
		{ both, VBB_E_PAGE_SHIFT, 2, 2, 11 },
		{ both, 0, 2, 2, 30 },
		{ both, VBB_E_PAGE_SHIFT, 2, 2, 31 },
		{ both, VBB_E_PAGE_SHIFT, 2, 2, 0x0c00 },
		{ VBB_QUEUE_BALLOON, VBB_E_FLAG, 4, 2, 1 },
		{ VBB_QUEUE_HOST_REQUEST, 0, 4, 2, 1 },
		{ VBB_QUEUE_HOST_REQUEST, VBB_E_PAYLOAD, 4, 2, 2 },
		{ VBB_QUEUE_HOST_REQUEST, VBB_E_PAYLOAD, 4, 2, 5 },
		{ both, VBB_E_FLAG, 4, 2, 6 },
		{ both, VBB_E_FLAG, 4, 2, 0x0100 },
		{ VBB_QUEUE_BALLOON, VBB_E_FORMAT, 6, 2, 2 },
		{ VBB_QUEUE_HOST_REQUEST, 0, 6, 2, 2 },
		{ both, VBB_E_FORMAT, 6, 2, 3 },
		{ both, VBB_E_FORMAT, 6, 2, 0x0100 },
		{ VBB_QUEUE_BALLOON, VBB_E_REQ_ID, 8, 8, 1 },
		{ VBB_QUEUE_BALLOON, VBB_E_REQ_ID, 8, 8, vbb_pow2(63) },
		{ VBB_QUEUE_HOST_REQUEST, 0, 8, 8, UINT64_MAX },
		{ both, VBB_E_START_PFN, 16, 8, 1 },
		{ both, VBB_E_START_PFN, 16, 8, vbb_pow2(63) },
		{ both, VBB_E_LEN, 24, 8, 0 },
		{ both, VBB_E_LEN, 24, 8, 8 },
		{ both, VBB_E_LEN, 24, 8, 24 },
		{ both, VBB_E_LEN, 24, 8, 1 << 20 },
		{ both, VBB_E_LEN_MAX, 24, 8, (1 << 20) + 8 },
		{ both, VBB_E_LEN_MAX, 24, 8, vbb_pow2(32) + 16 },
		{ both, VBB_E_LEN_MAX, 24, 8, UINT64_MAX },
	};
	struct vbb_range runs[MAX_RUNS];
	struct vbb_dec d;
	struct message m;
	uint64_t seed = 5;
	uint32_t queue;
	int end;
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(rows); i++) {
		for (queue = VBB_QUEUE_BALLOON; queue <= VBB_QUEUE_HOST_REQUEST; queue++) {
			if (rows[i].queue != both && rows[i].queue != queue)
				continue;
			message_begin(&m, VIRTIO_BALLOON_FORMAT_RECORDS);
			message_record(&m, 0, 0, 0);
			message_record(&m, 0, 0, 0);
			m.cfg.queue = queue;
			message_set(&m, rows[i].off, rows[i].value, rows[i].nr_bytes);
			decode(&m, &d, runs, &end);
			assert_int_equal(end, rows[i].err);
			/* A payload that the flag forbids is a fault of the length. */
			if (end)
				assert_int_equal(vbb_dec_fault_off(&d),
						 end == VBB_E_PAYLOAD ? 24 : rows[i].off);
			check(&m, &seed);
		}
	}
}

/* VBB-MSG-09 */
static void test_start_pfn_belongs_to_the_bitmap(void **state)
{
	struct message m;

	(void)state;
	message_begin(&m, VIRTIO_BALLOON_FORMAT_BITMAP);
	message_add(&m, 1, 1);
	message_set(&m, 16, VBB_PFN_END - 1, 8);
	expect(&m, RUNS({ VBB_PFN_END - 1, 1 }), 0, 0);
	message_set(&m, 16, VBB_PFN_END, 8);
	expect(&m, NULL, 0, VBB_E_START_PFN, 16);
	message_set(&m, 16, UINT64_MAX, 8);
	expect(&m, NULL, 0, VBB_E_START_PFN, 16);
	/* With larger pages it may name a page that is none: a fault of the bit, if one is set. */
	message_set(&m, 2, 30, 2);
	message_set(&m, 16, VBB_PFN_END - 1, 8);
	expect(&m, NULL, 0, VBB_E_PFN_RANGE, VBB_HDR_LEN);
	message_set(&m, 32, 0, 1);
	expect(&m, NULL, 0, 0, 0);
}

/* VBB-MSG-07 */
static void test_records_must_be_negotiated(void **state)
{
	struct message m;

	(void)state;
	message_begin(&m, VIRTIO_BALLOON_FORMAT_RECORDS);
	message_record(&m, 1, 0, 0);
	expect(&m, RUNS({ 1, 1 }), 0, 0);
	m.cfg.records = false;
	expect(&m, NULL, 0, VBB_E_FORMAT, 6);
	message_begin(&m, VIRTIO_BALLOON_FORMAT_BITMAP);
	message_add(&m, 1, 8);
	m.cfg.records = false;
	expect(&m, RUNS({ 0, 1 }), 0, 0);
}

/* VBB-MSG-05, VBB-MSG-10, VBB-MSG-13, VBB-MSG-15, VBB-MSG-19 */
static void test_lengths(void **state)
{
	struct message m;
	uint16_t format, flag;
	size_t len;

	(void)state;
	/* Shorter than a header: no field of it is believed. */
	message_begin(&m, VIRTIO_BALLOON_FORMAT_BITMAP);
	for (m.len = 0; m.len < VBB_HDR_LEN; m.len++)
		expect(&m, NULL, 0, VBB_E_SHORT, 0);
	/* Nothing behind the header: only where a flag ends the request, in any format. */
	for (format = 0; format <= 2; format++) {
		message_begin(&m, format);
		m.cfg.queue = VBB_QUEUE_HOST_REQUEST;
		for (flag = 0; flag <= 5; flag++) {
			message_set(&m, 4, flag, 2);
			expect(&m, NULL, 0, flag ? 0 : VBB_E_LEN_EMPTY, 24);
		}
	}
	message_begin(&m, VIRTIO_BALLOON_FORMAT_BITMAP);
	expect(&m, NULL, 0, VBB_E_LEN_EMPTY, 24);
	/* A bitmap may have any length in bytes, words may not. */
	for (len = 1; len <= 17; len++) {
		message_begin(&m, VIRTIO_BALLOON_FORMAT_BITMAP);
		while (m.len < VBB_HDR_LEN + len)
			message_add(&m, 0x80, 1);
		memset(m.bytes + VBB_HDR_LEN, 0, len - 1);
		expect(&m, RUNS({ 8 * len - 1, 1 }), 0, 0);
		if (len % 8 == 0)
			continue;
		message_set(&m, 6, VIRTIO_BALLOON_FORMAT_RECORDS, 2);
		expect(&m, NULL, 0, VBB_E_LEN_ALIGN, 24);
		m.cfg.queue = VBB_QUEUE_HOST_REQUEST;
		message_set(&m, 6, VIRTIO_BALLOON_FORMAT_VALUES, 2);
		expect(&m, NULL, 0, VBB_E_LEN_ALIGN, 24);
	}
	/* The old format: what does not make a number is a fault behind the last one. */
	for (len = 0; len <= 9; len++) {
		message_begin_pfns(&m);
		message_add(&m, 5, 4);
		message_add(&m, 0x80000006, 4);
		message_add(&m, 9, 1);
		m.len = len;
		expect(&m, (const struct vbb_range[]){ { 5, 1 }, { 0x80000006, 1 } }, len / 4,
		       len % 4 ? VBB_E_LEN_ALIGN : 0, len / 4 * 4);
	}
}

/* VBB-MSG-05 */
static void test_a_length_that_lies_is_not_believed(void **state)
{
	const struct vbb_dec_cfg cfg = { .queue = VBB_QUEUE_BALLOON };
	struct vbb_seg seg[3] = { { NULL, VBB_HDR_LEN }, { NULL, SIZE_MAX }, { NULL, SIZE_MAX } };
	struct message m;
	struct vbb_dec d;
	size_t nr_segs;

	(void)state;
	/* Segments of absurd lengths, with nothing behind them: refused by the header alone. */
	message_begin(&m, VIRTIO_BALLOON_FORMAT_BITMAP);
	seg[0].base = m.bytes;
	for (nr_segs = 2; nr_segs <= 3; nr_segs++) {
		uint64_t left = vbb_segs_len(seg, nr_segs) - VBB_HDR_LEN;

		message_set(&m, 24, 8, 8);
		assert_int_equal(vbb_dec_init(&d, &cfg, seg, nr_segs), VBB_E_LEN);
		message_set(&m, 24, left, 8);
		assert_int_equal(vbb_dec_init(&d, &cfg, seg, nr_segs), VBB_E_LEN_MAX);
	}
}

/* VBB-MSG-05 */
static void test_the_longest_message(void **state)
{
	const struct vbb_dec_cfg cfg = { .queue = VBB_QUEUE_BALLOON };
	const size_t len = VIRTIO_BALLOON_BMAP_LEN_MAX;
	uint8_t *payload = malloc(len + 8);
	struct vbb_seg seg[2] = { { NULL, VBB_HDR_LEN }, { payload, len } };
	struct vbb_range r;
	struct message m;
	struct vbb_dec d;
	uint64_t nr = 0;

	(void)state;
	assert_non_null(payload);
	message_begin(&m, VIRTIO_BALLOON_FORMAT_BITMAP);
	seg[0].base = m.bytes;
	message_set(&m, 24, len, 8);
	/* as many runs as a message can have, each word a step and each run one */
	memset(payload, 0x55, len + 8);
	assert_int_equal(vbb_dec_init(&d, &cfg, seg, 2), 0);
	vbb_dec_set_budget(&d, len / 8 * 33 + 1);
	vbb_dec_for_each(&d, &r) {
		assert_int_equal(r.pfn, 2 * nr);
		assert_int_equal(r.nr_pages, 1);
		nr++;
	}
	assert_int_equal(vbb_dec_next(&d, &r), 0);
	assert_int_equal(nr, 4 * len);
	/* and as few */
	memset(payload, 0xff, len);
	assert_int_equal(vbb_dec_init(&d, &cfg, seg, 2), 0);
	assert_int_equal(vbb_dec_next(&d, &r), 1);
	assert_int_equal(r.nr_pages, 8 * len);
	assert_int_equal(vbb_dec_next(&d, &r), 0);
	/* one byte more is too many */
	seg[1].len++;
	message_set(&m, 24, len + 1, 8);
	assert_int_equal(vbb_dec_init(&d, &cfg, seg, 2), VBB_E_LEN_MAX);
	free(payload);
}

static void test_neighbours_come_out_as_one(void **state)
{
	struct message m;
	uint32_t i;

	(void)state;
	message_begin(&m, VIRTIO_BALLOON_FORMAT_RECORDS);
	message_record(&m, 0, 3, 0);		/* a block, */
	message_extent(&m, 8, 120);		/* an extent that begins where it ends, */
	message_record(&m, 128, 0, 3);		/* a bitmap behind that */
	message_add(&m, UINT64_MAX, 8);
	message_add(&m, UINT64_MAX, 8);
	message_add(&m, 0x00000000ffffffff, 8);
	message_record(&m, 288, 5, 0);		/* and a block that touches its last bit */
	message_record(&m, 321, 0, 0);		/* but not one behind a gap */
	expect(&m, RUNS({ 0, 320 }, { 321, 1 }), 0, 0);

	/* overlapping, the same twice, one inside the other, and in front of what is there */
	message_begin(&m, VIRTIO_BALLOON_FORMAT_RECORDS);
	message_extent(&m, 100, 10);
	message_extent(&m, 105, 10);
	message_extent(&m, 105, 10);
	message_extent(&m, 101, 2);
	message_extent(&m, 95, 5);
	message_extent(&m, 90, 4);
	expect(&m, RUNS({ 95, 20 }, { 90, 4 }), 0, 0);

	/* order 9: bits are neighbours when their blocks are */
	message_begin(&m, VIRTIO_BALLOON_FORMAT_RECORDS);
	message_record(&m, 512, 9, 2);
	message_add(&m, 0xc000000000000000, 8);
	message_add(&m, 0x0000000000000005, 8);
	expect(&m, RUNS({ 512 * 63, 512 * 3 }, { 512 * 67, 512 }), 0, 0);

	message_begin_pfns(&m);
	for (i = 0; i < 20; i++)
		message_add(&m, 0x7ffffff6 + i, 4);
	message_add(&m, UINT32_MAX, 4);
	message_add(&m, 0, 4);
	expect(&m, RUNS({ 0x7ffffff6, 20 }, { UINT32_MAX, 1 }, { 0, 1 }), 0, 0);
}

/* VBB-MSG-11, VBB-MSG-21 */
static void test_limit_to_the_page(void **state)
{
	struct message m;
	uint64_t limit;

	(void)state;
	for (limit = 1; limit <= 300; limit++) {
		/* pages 60 to 187 of a bitmap, in two words */
		message_begin(&m, VIRTIO_BALLOON_FORMAT_BITMAP);
		message_set(&m, 16, 60, 8);
		message_add(&m, UINT64_MAX, 8);
		message_add(&m, UINT64_MAX, 8);
		m.cfg.limit_pfn = limit;
		if (limit >= 188)
			expect(&m, RUNS({ 60, 128 }), 0, 0);
		else if (limit <= 60)
			expect(&m, NULL, 0, VBB_E_PFN_LIMIT, VBB_HDR_LEN);
		else
			expect(&m, RUNS({ 60, limit - 60 }), VBB_E_PFN_LIMIT,
			       VBB_HDR_LEN + (limit < 60 + 64 ? 0 : 8));

		/* the same pages as four bits of 32, where a limit can cut a bit in two */
		message_begin(&m, VIRTIO_BALLOON_FORMAT_RECORDS);
		message_record(&m, 64, 5, 1);
		message_add(&m, 0xf, 8);
		m.cfg.limit_pfn = limit;
		if (limit >= 192)
			expect(&m, RUNS({ 64, 128 }), 0, 0);
		else if (limit <= 64)
			expect(&m, NULL, 0, VBB_E_PFN_LIMIT, VBB_HDR_LEN + 8);
		else
			expect(&m, RUNS({ 64, limit - 64 }), VBB_E_PFN_LIMIT, VBB_HDR_LEN + 8);

		/* blocks and extents: all or nothing */
		message_begin(&m, VIRTIO_BALLOON_FORMAT_RECORDS);
		message_record(&m, 64, 5, 0);
		message_extent(&m, 100, 50);
		m.cfg.limit_pfn = limit;
		if (limit >= 150)
			expect(&m, RUNS({ 64, 32 }, { 100, 50 }), 0, 0);
		else if (limit >= 96)
			expect(&m, RUNS({ 64, 32 }), VBB_E_PFN_LIMIT, VBB_HDR_LEN + 8);
		else
			expect(&m, NULL, 0, VBB_E_PFN_LIMIT, VBB_HDR_LEN);

		message_begin_pfns(&m);
		message_add(&m, 64, 4);
		message_add(&m, 100, 4);
		m.cfg.limit_pfn = limit;
		if (limit > 100)
			expect(&m, RUNS({ 64, 1 }, { 100, 1 }), 0, 0);
		else if (limit > 64)
			expect(&m, RUNS({ 64, 1 }), VBB_E_PFN_LIMIT, 4);
		else
			expect(&m, NULL, 0, VBB_E_PFN_LIMIT, 0);
	}
	/* A limit above the wire's own changes nothing, nor what its fault is called. */
	message_begin(&m, VIRTIO_BALLOON_FORMAT_BITMAP);
	message_set(&m, 16, VBB_PFN_END - 4, 8);
	message_add(&m, 0xff, 8);
	for (limit = VBB_PFN_END; limit <= VBB_PFN_END + 2; limit++) {
		m.cfg.limit_pfn = limit;
		expect(&m, RUNS({ VBB_PFN_END - 4, 4 }), VBB_E_PFN_RANGE, VBB_HDR_LEN);
	}
	m.cfg.limit_pfn = UINT64_MAX;
	expect(&m, RUNS({ VBB_PFN_END - 4, 4 }), VBB_E_PFN_RANGE, VBB_HDR_LEN);
}

/* Every kind of record, in 104 bytes of payload */
static void build_medley(struct message *m)
{
	message_begin(m, VIRTIO_BALLOON_FORMAT_RECORDS);
	message_record(m, 0x400, 10, 0);
	message_record(m, 0x800, 0, 3);
	message_add(m, 0x8000000000000001, 8);
	message_add(m, 0x00ff00ff00ff00ff, 8);
	message_add(m, 0x8000000000000000, 8);
	message_extent(m, 0x8c0, 0x123456);
	message_record(m, 0x200000, 9, 1);
	message_add(m, 0xf0f0, 8);
	message_record(m, 0x333333, 0, 0);
	message_extent(m, 0xfffffffffffff, 1);
	message_record(m, 0x12345678, 3, 0);
}

static void check_every_cut(const struct message *m)
{
	struct test_cut cut = { .nr_segs = 0 };
	struct vbb_seg bytes[200];
	struct oracle o;
	size_t a, b;

	assert_true(m->len <= ARRAY_SIZE(bytes));
	oracle_decode(&o, m->bytes, m->len, &m->cfg, m->pfns);
	test_for_each_cut(&cut, m->bytes, m->len, a, b)
		assert_same(&o, m, cut.seg, cut.nr_segs, VBB_BUDGET_NONE);
	/* each byte by itself, with empty pieces between */
	for (a = 0; a < m->len; a++) {
		bytes[a].base = malloc(1);
		assert_non_null(bytes[a].base);
		*(uint8_t *)bytes[a].base = m->bytes[a];
		bytes[a].len = 1;
	}
	assert_same(&o, m, bytes, m->len, VBB_BUDGET_NONE);
	for (a = 0; a < m->len; a++)
		free(bytes[a].base);
	oracle_free(&o);
}

/* VBB-MSG-04 */
static void test_cuts_change_nothing(void **state)
{
	struct message m;
	size_t i;

	(void)state;
	build_medley(&m);
	check_every_cut(&m);
	/* malformed at the end; in the midst; in the header */
	message_record(&m, 1, 1, 0);
	check_every_cut(&m);
	m.cfg.limit_pfn = 0x800 + 100;
	check_every_cut(&m);
	m.cfg.records = false;
	check_every_cut(&m);
	message_begin(&m, VIRTIO_BALLOON_FORMAT_BITMAP);
	for (i = 0; i < 21; i++)
		message_add(&m, 0x5f * i, 1);
	check_every_cut(&m);
	message_begin_pfns(&m);
	for (i = 0; i < 7; i++)
		message_add(&m, 0x01020304 * i, 3);
	check_every_cut(&m);
}

/* Empty and full words, which are taken many at once, with a limit, cuts and budgets anywhere */
static void test_words_that_are_alike(void **state)
{
	uint64_t seed = 5, budget, nr, word;
	struct test_cut cut;
	struct message m;
	struct oracle o;
	size_t a, b;
	int i;

	(void)state;
	for (i = 0; i < 3000; i++) {
		bool record = test_below(&seed, 2);

		message_begin(&m, record ? VIRTIO_BALLOON_FORMAT_RECORDS :
					   VIRTIO_BALLOON_FORMAT_BITMAP);
		m.cfg.limit_pfn = test_below(&seed, 2) ? 0 : 1 + test_below(&seed, 2000);
		nr = 1 + test_below(&seed, 20);
		if (record) {
			message_record(&m, test_below(&seed, 2000), 0, 0);
			message_record(&m, 8 * test_below(&seed, 50),
				       (uint32_t)test_below(&seed, 4), (uint32_t)nr);
		}
		for (word = 0; nr; nr--) {
			if (!test_below(&seed, 4))
				word = message_random_word(&seed);
			message_add(&m, word, 8);
		}
		if (!record && test_below(&seed, 2))
			message_add(&m, test_rand(&seed) & 0xffffff, 3);
		a = test_index(&seed, m.len + 1);
		b = a + test_index(&seed, m.len - a + 1);
		oracle_decode(&o, m.bytes, m.len, &m.cfg, m.pfns);
		test_cut_at(&cut, m.bytes, m.len, a, b);
		for (budget = 1; budget <= 16; budget++)
			assert_same(&o, &m, cut.seg, cut.nr_segs, budget);
		test_cut_join(&cut, NULL);
		oracle_free(&o);
	}
}

/* VBB-DEV-07 */
static void test_budget_changes_nothing(void **state)
{
	struct message m;
	struct oracle o;
	uint64_t budget;

	(void)state;
	build_medley(&m);
	oracle_decode(&o, m.bytes, m.len, &m.cfg, m.pfns);
	for (budget = 1; budget <= 60; budget++) {
		const struct vbb_seg seg = { m.bytes, m.len };

		assert_same(&o, &m, &seg, 1, budget);
	}
	oracle_free(&o);
}

static void test_no_work_without_budget(void **state)
{
	struct vbb_range r = { 1, 2 };
	struct message m;
	struct vbb_dec d;
	struct vbb_seg seg;
	uint64_t value = 3;
	int i;

	(void)state;
	build_medley(&m);
	seg.base = m.bytes;
	seg.len = m.len;
	assert_int_equal(vbb_dec_init(&d, &m.cfg, &seg, 1), 0);
	vbb_dec_set_budget(&d, 0);
	for (i = 0; i < 3; i++)
		assert_int_equal(vbb_dec_next(&d, &r), VBB_E_BUDGET);
	assert_int_equal(r.pfn, 1);
	assert_int_equal(r.nr_pages, 2);
	vbb_dec_set_budget(&d, VBB_BUDGET_NONE);
	assert_int_equal(vbb_dec_next(&d, &r), 1);
	assert_int_equal(r.pfn, 0x400);

	/* A bitmap of nothing is work, too. */
	message_begin(&m, VIRTIO_BALLOON_FORMAT_BITMAP);
	for (i = 0; i < 100; i++)
		message_add(&m, 0, 8);
	seg.len = m.len;
	assert_int_equal(vbb_dec_init(&d, &m.cfg, &seg, 1), 0);
	vbb_dec_set_budget(&d, 99);
	assert_int_equal(vbb_dec_next(&d, &r), VBB_E_BUDGET);
	vbb_dec_set_budget(&d, 2);
	assert_int_equal(vbb_dec_next(&d, &r), 0);

	/* So are records that are all one run. */
	message_begin(&m, VIRTIO_BALLOON_FORMAT_RECORDS);
	for (i = 0; i < 100; i++)
		message_record(&m, 5 + (uint64_t)i, 0, 0);
	seg.len = m.len;
	assert_int_equal(vbb_dec_init(&d, &m.cfg, &seg, 1), 0);
	vbb_dec_set_budget(&d, 99);
	assert_int_equal(vbb_dec_next(&d, &r), VBB_E_BUDGET);
	vbb_dec_set_budget(&d, 2);
	assert_int_equal(vbb_dec_next(&d, &r), 1);
	assert_int_equal(r.pfn, 5);
	assert_int_equal(r.nr_pages, 100);

	message_begin(&m, VIRTIO_BALLOON_FORMAT_VALUES);
	m.cfg.queue = VBB_QUEUE_HOST_REQUEST;
	message_add(&m, 7, 8);
	seg.len = m.len;
	assert_int_equal(vbb_dec_init(&d, &m.cfg, &seg, 1), 0);
	vbb_dec_set_budget(&d, 0);
	assert_int_equal(vbb_dec_next_value(&d, &value), VBB_E_BUDGET);
	assert_int_equal(value, 3);
	vbb_dec_set_budget(&d, 1);
	assert_int_equal(vbb_dec_next_value(&d, &value), 1);
	assert_int_equal(value, 7);
}

/* VBB-MSG-19 */
static void test_values(void **state)
{
	static const uint64_t values[] = { 0, 1, 0x123456789abcdef0, UINT64_MAX };
	struct vbb_range r;
	struct message m;
	struct vbb_dec d;
	uint64_t value;
	size_t i, a, b;
	struct test_cut cut;

	(void)state;
	message_begin(&m, VIRTIO_BALLOON_FORMAT_VALUES);
	m.cfg.queue = VBB_QUEUE_HOST_REQUEST;
	message_set(&m, 0, VIRTIO_BALLOON_CMD_DROP_CACHE, 2);
	message_set(&m, 4, VIRTIO_BALLOON_FLAG_DONE, 2);
	message_set(&m, 8, 77, 8);
	for (i = 0; i < ARRAY_SIZE(values); i++)
		message_add(&m, values[i], 8);
	test_for_each_cut(&cut, m.bytes, m.len, a, b) {
		assert_int_equal(vbb_dec_init(&d, &m.cfg, cut.seg, cut.nr_segs), 0);
		assert_int_equal(d.hdr.req_id, 77);
		for (i = 0; i < ARRAY_SIZE(values); i++) {
			assert_int_equal(vbb_dec_next_value(&d, &value), 1);
			assert_int_equal(value, values[i]);
		}
		assert_int_equal(vbb_dec_next_value(&d, &value), 0);
		assert_int_equal(vbb_dec_next_value(&d, &value), 0);
	}
	expect(&m, NULL, 0, 0, 0);
	/* numbers are not pages, pages are not numbers */
	build_medley(&m);
	test_cut_at(&cut, m.bytes, m.len, 1, 2);
	assert_int_equal(vbb_dec_init(&d, &m.cfg, cut.seg, cut.nr_segs), 0);
	assert_int_equal(vbb_dec_next_value(&d, &value), VBB_E_STATE);
	assert_int_equal(vbb_dec_next(&d, &r), 1);
	test_cut_join(&cut, NULL);
	message_begin_pfns(&m);
	message_add(&m, 1, 4);
	message_add(&m, 2, 4);
	test_cut_at(&cut, m.bytes, m.len, 1, 2);
	vbb_dec_init_pfns(&d, &m.cfg, cut.seg, cut.nr_segs);
	assert_int_equal(vbb_dec_next_value(&d, &value), VBB_E_STATE);
	test_cut_join(&cut, NULL);
}

/* VBB-MSG-20 */
static void test_a_bad_header_gives_nothing_for_ever(void **state)
{
	struct vbb_range r = { 11, 22 };
	uint64_t value = 33;
	struct vbb_seg seg;
	struct message m;
	struct vbb_dec d;
	int i;

	(void)state;
	build_medley(&m);
	message_set(&m, 2, 11, 2);
	seg.base = m.bytes;
	seg.len = m.len;
	memset(&d, 0xff, sizeof(d));
	assert_int_equal(vbb_dec_init(&d, &m.cfg, &seg, 1), VBB_E_PAGE_SHIFT);
	for (i = 0; i < 3; i++) {
		assert_int_equal(vbb_dec_next(&d, &r), VBB_E_PAGE_SHIFT);
		assert_int_equal(vbb_dec_next_value(&d, &value), VBB_E_PAGE_SHIFT);
		vbb_dec_set_budget(&d, 100);
	}
	seg.len = 31;
	assert_int_equal(vbb_dec_init(&d, &m.cfg, &seg, 1), VBB_E_SHORT);
	assert_int_equal(vbb_dec_next(&d, &r), VBB_E_SHORT);
	assert_int_equal(vbb_dec_next_value(&d, &value), VBB_E_SHORT);
	assert_int_equal(r.pfn, 11);
	assert_int_equal(r.nr_pages, 22);
	assert_int_equal(value, 33);
}

static void test_random_messages_mean_what_the_oracle_says(void **state)
{
	uint64_t seed = 4;
	struct message m;
	int i;

	(void)state;
	for (i = 0; i < 100000; i++) {
		message_random(&m, &seed);
		check(&m, &seed);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_vectors_of_the_specification),
		cmocka_unit_test(test_records_are_counted_by_kind),
		cmocka_unit_test(test_every_fault_of_a_record),
		cmocka_unit_test(test_every_fault_of_a_header),
		cmocka_unit_test(test_start_pfn_belongs_to_the_bitmap),
		cmocka_unit_test(test_records_must_be_negotiated),
		cmocka_unit_test(test_lengths),
		cmocka_unit_test(test_a_length_that_lies_is_not_believed),
		cmocka_unit_test(test_the_longest_message),
		cmocka_unit_test(test_neighbours_come_out_as_one),
		cmocka_unit_test(test_limit_to_the_page),
		cmocka_unit_test(test_cuts_change_nothing),
		cmocka_unit_test(test_words_that_are_alike),
		cmocka_unit_test(test_budget_changes_nothing),
		cmocka_unit_test(test_no_work_without_budget),
		cmocka_unit_test(test_values),
		cmocka_unit_test(test_a_bad_header_gives_nothing_for_ever),
		cmocka_unit_test(test_random_messages_mean_what_the_oracle_says),
	};

	return cmocka_run_group_tests_name("decode", tests, NULL, NULL);
}
