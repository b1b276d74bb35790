// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause
/* Free page reporting: a report's buffers are the free pages themselves, which are discarded. */
#include "device.h"

#define PAGE_SHIFT 12	/* of the counters */

/*
 * A discarded page reads as zeroes. A guest that fills its free pages with something else would
 * miss that.
 */
static bool may_discard(const struct vbb_device *d)
{
	return !vbb_device_has(d, VBB_BALLOON_F_PAGE_POISON) || !d->poison;
}

void vbb_device_reporting_begin(struct vbb_device *d, enum vbb_device_vq vq)
{
	struct vbb_device_reporting *r = &d->reporting;

	d->counts.reports++;
	d->counts.pages_reported += vbb_segs_len(d->queue[vq].chain.seg + d->queue[vq].chain.nr_out,
						 d->queue[vq].chain.nr_in) >> PAGE_SHIFT;
	r->area = (struct vbb_device_area){ .failed = false };
	r->seg = d->queue[vq].chain.nr_out;
	d->queue[vq].busy = true;
}

vbb_u64 vbb_device_reporting_step(struct vbb_device *d, enum vbb_device_vq vq)
{
	struct vbb_device_reporting *r = &d->reporting;
	const struct vbb_chain *chain = &d->queue[vq].chain;
	vbb_u64 len;

	if (vbb_device_area_step(d, &r->area, true, &len))
		return len;
	if (may_discard(d) && r->seg < chain->nr_out + chain->nr_in)
		vbb_device_area_begin(&r->area, vbb_device_span(d, &chain->seg[r->seg++]));
	else
		vbb_device_done(d, vq, 0, 0);
	return 0;
}
