/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause */
/* What tests of the encoder share: what was put, and what its messages name. */
#ifndef PAGE_SET_H
#define PAGE_SET_H

#include "test.h"

/* Sets of pages of a small space, so that any two can be compared */
#define SPACE 4096

struct set {
	bool page[SPACE];
};

static inline struct vbb_enc_cfg config(uint32_t formats)
{
	const struct vbb_enc_cfg cfg = { .page_shift = 12, .formats = formats };

	return cfg;
}

static inline void set_add(struct set *s, const struct vbb_range *r)
{
	uint64_t i;

	assert_true(r->pfn + r->nr_pages <= SPACE);
	for (i = 0; i < r->nr_pages; i++)
		s->page[r->pfn + i] = true;
}

/* What a message names. It is held against what the encoder says of it. */
static inline void set_decode(struct set *s, const struct vbb_msg *msg, const struct vbb_seg *seg,
			      size_t nr_segs)
{
	const struct vbb_dec_cfg cfg = { .queue = VBB_QUEUE_BALLOON, .records = true };
	struct vbb_range r;
	struct vbb_dec d;

	if (msg->format == VBB_FMT_PFNS) {
		vbb_dec_init_pfns(&d, &cfg, seg, nr_segs);
	} else {
		assert_int_equal(vbb_dec_init(&d, &cfg, seg, nr_segs), 0);
		assert_int_equal(1u << d.hdr.format, msg->format);
	}
	vbb_dec_for_each(&d, &r)
		set_add(s, &r);
	assert_int_equal(vbb_dec_next(&d, &r), 0);
	assert_int_equal(d.nr_blocks, msg->nr_blocks);
	assert_int_equal(d.nr_bitmaps, msg->nr_bitmaps);
	assert_int_equal(d.nr_extents, msg->nr_extents);
}

#endif
