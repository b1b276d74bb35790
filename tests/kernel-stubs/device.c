// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause
/* See device.h. */
#include "test.h"

#include <virtio_balloon_bmap/decode.h>

#include "device.h"

struct held held[NR_HELD];
unsigned int nr_held;
u8 frames[STUB_NR_PAGES];
u64 nr_bytes, nr_said[VBB_NR_DIRS];

static const struct vbb_balloon *vb;

void device_init(const struct vbb_balloon *balloon)
{
	vb = balloon;
	memset(frames, 0, sizeof(frames));
	nr_held = 0;
	nr_bytes = 0;
	nr_said[VBB_INFLATE] = 0;
	nr_said[VBB_DEFLATE] = 0;
}

/*
 * The device counts frames. What it is told must be true while it is told, but for what left the
 * balloon before it was told, where that may be.
 */
static void device_name(const struct held *m, u64 frame, u64 nr)
{
	bool early = m->dir == VBB_DEFLATE && !vb->must_tell;
	size_t i;

	for (; nr--; frame++) {
		i = (size_t)(frame / FRAMES - stub_first_pfn);
		assert_true(i < STUB_NR_PAGES);
		assert_true(early || (stub_map[i].taken && stub_map[i].offline));
		if (m->dir == VBB_INFLATE)
			assert_true(frames[i]++ < FRAMES);
		else
			assert_true(frames[i]-- > 0);
	}
}

bool device_take(enum vbb_dir dir)
{
	const struct vbb_dec_cfg cfg = { .queue = VBB_QUEUE_BALLOON, .records = true };
	struct held *m = &held[nr_held];
	struct vbb_range r;
	struct vbb_dec dec;
	int err;

	if (!vb || nr_held == NR_HELD)
		return false;
	*m = (struct held){ .dir = dir, .chain.seg = m->seg, .chain.max_segs = 2 };
	err = vbb_vring_dev_recv(&stub_queue(vb->vqs[dir])->dev, &m->chain);
	if (err == VBB_E_AGAIN)
		return false;
	assert_int_equal(err, 0);
	assert_int_equal(m->chain.nr_out, 1);
	assert_int_equal(m->chain.nr_in, vb->results);
	assert_true(m->seg[0].len <= vb->msg_len);
	nr_bytes += m->seg[0].len;
	if (vb->results)
		assert_int_equal(vbb_dec_init(&dec, &cfg, m->seg, 1), 0);
	else
		vbb_dec_init_pfns(&dec, &cfg, m->seg, 1);
	assert_int_equal(dec.hdr.page_shift, PAGE_SHIFT - vb->unit_shift);
	vbb_dec_for_each(&dec, &r) {
		r.pfn <<= dec.hdr.page_shift - VIRTIO_BALLOON_PAGE_SHIFT_MIN;
		r.nr_pages <<= dec.hdr.page_shift - VIRTIO_BALLOON_PAGE_SHIFT_MIN;
		device_name(m, r.pfn, r.nr_pages);
		m->result.nr_pages += r.nr_pages / FRAMES;
	}
	assert_int_equal(vbb_dec_next(&dec, &r), 0);
	nr_held++;
	return true;
}

bool device_done(size_t idx)
{
	struct held m;
	u32 len = 0;

	if (idx >= nr_held)
		return false;
	m = held[idx];
	held[idx] = held[--nr_held];
	m.chain.seg = m.seg;
	if (m.chain.nr_in) {
		len = vbb_result_store(&m.result, m.seg + 1, 1);
		nr_said[m.dir] += m.result.nr_pages;
	}
	assert_int_equal(vbb_vring_dev_done(&stub_queue(vb->vqs[m.dir])->dev, &m.chain, len), 0);
	return true;
}

bool device_works(void)
{
	bool any = false;

	while (device_take(VBB_INFLATE) | device_take(VBB_DEFLATE) | device_done(0))
		any = true;
	return any;
}
