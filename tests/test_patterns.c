// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause
/* A small space tried whole: each set of 16 pages over the border of two words, in every format. */
#include "message.h"
#include "oracle.h"

/* Bit i of a pattern is page first + i; the word in front of the border begins at first - 56. */
static const uint64_t first_pages[] = { 56, VBB_PFN_END - 128 + 56 };

static uint64_t pages_in(struct vbb_dec *d, uint64_t first)
{
	uint64_t pattern = 0;
	struct vbb_range r;

	vbb_dec_for_each(d, &r) {
		uint64_t bits;

		assert_true(r.pfn >= first && r.pfn + r.nr_pages <= first + 16);
		bits = vbb_mask64((vbb_u32)(r.pfn - first), (vbb_u32)r.nr_pages);
		/* a run is as long as it can be: no neighbour comes by itself */
		assert_int_equal(pattern & (bits | bits << 1 | bits >> 1), 0);
		pattern |= bits;
	}
	assert_int_equal(vbb_dec_next(d, &r), 0);
	return pattern;
}

static void assert_pattern(const struct message *m, uint64_t first, uint64_t pattern)
{
	const struct vbb_seg seg = { (void *)(uintptr_t)m->bytes, m->len };
	struct vbb_dec d;

	assert_int_equal(oracle_begin(&d, &m->cfg, m->pfns, &seg, 1), 0);
	assert_int_equal(pages_in(&d, first), pattern);
}

/* VBB-MSG-13 */
static void test_every_pattern_as_bitmap(void **state)
{
	uint64_t pattern;
	struct message m;
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(first_pages); i++) {
		message_begin(&m, VIRTIO_BALLOON_FORMAT_BITMAP);
		message_set(&m, 16, first_pages[i] - 56, 8);
		message_add(&m, 0, 8);
		message_add(&m, 0, 8);
		for (pattern = 0; pattern < 1 << 16; pattern++) {
			message_set(&m, VBB_HDR_LEN, pattern << 56, 8);
			message_set(&m, VBB_HDR_LEN + 8, pattern >> 8, 8);
			assert_pattern(&m, first_pages[i], pattern);
		}
	}
}

static void test_every_pattern_as_bitmap_record(void **state)
{
	uint64_t pattern;
	struct message m;
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(first_pages); i++) {
		message_begin(&m, VIRTIO_BALLOON_FORMAT_RECORDS);
		message_record(&m, first_pages[i] - 56, 0, 2);
		message_add(&m, 0, 8);
		message_add(&m, 0, 8);
		for (pattern = 0; pattern < 1 << 16; pattern++) {
			message_set(&m, VBB_HDR_LEN + 8, pattern << 56, 8);
			message_set(&m, VBB_HDR_LEN + 16, pattern >> 8, 8);
			assert_pattern(&m, first_pages[i], pattern);
		}
	}
}

static void test_every_pattern_as_blocks_and_extents(void **state)
{
	uint64_t pattern;
	struct message m;
	uint32_t b, n;
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(first_pages); i++) {
		for (pattern = 1; pattern < 1 << 16; pattern++) {
			message_begin(&m, VIRTIO_BALLOON_FORMAT_RECORDS);
			for (b = 0; b < 16; b++) {
				if (pattern >> b & 1)
					message_record(&m, first_pages[i] + b, 0, 0);
			}
			assert_pattern(&m, first_pages[i], pattern);

			message_begin(&m, VIRTIO_BALLOON_FORMAT_RECORDS);
			for (b = 0; b < 16; b += n ? n : 1) {
				n = vbb_ones64(pattern, b);
				if (n)
					message_extent(&m, first_pages[i] + b, n);
			}
			assert_pattern(&m, first_pages[i], pattern);
		}
	}
}

static void test_every_pattern_as_old_array(void **state)
{
	uint64_t pattern;
	struct message m;
	uint32_t b;

	(void)state;
	for (pattern = 0; pattern < 1 << 16; pattern++) {
		message_begin_pfns(&m);
		for (b = 0; b < 16; b++) {
			if (pattern >> b & 1)
				message_add(&m, first_pages[0] + b, 4);
		}
		assert_pattern(&m, first_pages[0], pattern);
	}
}

/* Encode then decode is the identity, for every pattern and format that names pages. */
static void test_every_pattern_through_the_encoder(void **state)
{
	static const vbb_u32 formats[] = {
		VBB_FMT_BITMAP, VBB_FMT_RECORDS, VBB_FMT_AUTO, VBB_FMT_QUICK, VBB_FMT_PFNS
	};
	static struct vbb_enc e;
	uint64_t pattern;
	struct message m;
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(formats); i++) {
		const struct vbb_enc_cfg cfg = { .page_shift = 12, .formats = formats[i] };

		message_begin(&m, VIRTIO_BALLOON_FORMAT_BITMAP);
		m.pfns = formats[i] == VBB_FMT_PFNS;
		for (pattern = 0; pattern < 1 << 16; pattern++) {
			const struct vbb_seg seg = { m.bytes, sizeof(m.bytes) };
			struct vbb_range runs[8];
			struct vbb_run_list l = { .run = runs };
			struct vbb_msg msg;
			uint32_t b, n;

			for (b = 0; b < 16; b += n ? n : 1) {
				n = vbb_ones64(pattern, b);
				if (n)
					runs[l.nr_runs++] =
						(struct vbb_range){ first_pages[0] + b, n };
			}
			assert_int_equal(vbb_enc_init(&e, &cfg, &seg, 1), 0);
			/* half of them one after the other, the others in one call */
			for (; l.pos < l.nr_runs / 2; l.pos++)
				assert_int_equal(vbb_enc_put(&e, &runs[l.pos]), 0);
			assert_int_equal(vbb_enc_put_runs(&e, &l), 0);
			assert_int_equal(vbb_enc_finish(&e, 0, &msg), 0);
			assert_int_equal(msg.len != 0, pattern != 0);
			if (!msg.len)
				continue;
			m.len = (size_t)msg.len;
			assert_pattern(&m, first_pages[0], pattern);
		}
	}
}

/* The largest runs that there are, and the last pages */
static void test_ends_of_the_space_through_the_encoder(void **state)
{
	static const struct vbb_range runs[] = {
		{ 0, VBB_PFN_END }, { 0, VBB_PFN_END / 2 }, { VBB_PFN_END / 2, VBB_PFN_END / 2 },
		{ 1, VBB_PFN_END - 1 }, { 0, VBB_PFN_END - 1 }, { VBB_PFN_END - 1, 1 },
		{ VBB_PFN_END - 512, 512 }, { VBB_PFN_END / 2 - 1, 2 },
	};
	static const vbb_u32 formats[] = { VBB_FMT_RECORDS, VBB_FMT_AUTO, VBB_FMT_QUICK };
	static struct vbb_enc e;
	struct message m;
	size_t i, k;

	(void)state;
	message_begin(&m, VIRTIO_BALLOON_FORMAT_RECORDS);
	for (i = 0; i < ARRAY_SIZE(runs) * ARRAY_SIZE(formats); i++) {
		const struct vbb_range *put = &runs[i / ARRAY_SIZE(formats)];
		const struct vbb_enc_cfg cfg = {
			.page_shift = 12, .formats = formats[i % ARRAY_SIZE(formats)]
		};
		struct vbb_seg seg = { m.bytes, sizeof(m.bytes) };
		struct vbb_range r = *put;
		struct vbb_msg msg;
		struct vbb_dec d;

		assert_int_equal(vbb_enc_init(&e, &cfg, &seg, 1), 0);
		assert_int_equal(vbb_enc_put(&e, &r), 0);
		assert_int_equal(vbb_enc_finish(&e, 0, &msg), 0);
		/* One run costs one record, two words at most. */
		assert_true(msg.len <= VBB_ENC_BOUND(1));
		seg.len = (size_t)msg.len;
		assert_int_equal(vbb_dec_init(&d, &m.cfg, &seg, 1), 0);
		for (k = 0; k < 2; k++) {
			assert_int_equal(vbb_dec_next(&d, &r), k == 0);
			assert_int_equal(r.pfn, put->pfn);
			assert_int_equal(r.nr_pages, put->nr_pages);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_pattern_as_bitmap),
		cmocka_unit_test(test_every_pattern_as_bitmap_record),
		cmocka_unit_test(test_every_pattern_as_blocks_and_extents),
		cmocka_unit_test(test_every_pattern_as_old_array),
		cmocka_unit_test(test_every_pattern_through_the_encoder),
		cmocka_unit_test(test_ends_of_the_space_through_the_encoder),
	};

	return cmocka_run_group_tests_name("patterns", tests, NULL, NULL);
}
