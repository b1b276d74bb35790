// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause
/* A run of guest memory: cut to the host pages that it covers whole, discarded in bounded steps */
#include "device.h"

#define PAGE_SHIFT 12	/* of the counters */

/* How much of a piece one call may discard */
static vbb_u64 discard_len(const struct vbb_device *d, const struct vbb_piece *piece)
{
	vbb_u64 max = vbb_pow2(piece->ram->host_shift);
	vbb_u64 len;

	/* its borders are multiples of it, so that no huge page is split */
	if (!d->opts->page_by_page && max < VBB_DEVICE_DISCARD_LEN)
		max = VBB_DEVICE_DISCARD_LEN;
	len = max - (piece->addr & (max - 1));
	return len < piece->span.len ? len : piece->span.len;
}

/* Returns bytes of work. */
static vbb_u64 piece_discard(struct vbb_device *d, struct vbb_device_area *a)
{
	struct vbb_piece *piece = &a->piece;
	vbb_u64 len = discard_len(d, piece);

	d->counts.discard_calls++;
	if (vbb_discard(&d->backing[piece->ram - d->ram], piece->addr, len)) {
		d->counts.discard_errors++;
		a->failed = true;
	} else {
		d->counts.pages_discarded += len >> PAGE_SHIFT;
		a->acted_len += len;
		a->missing_len -= len;
	}
	piece->span.gpa += len;
	piece->span.len -= len;
	piece->addr += len;
	return len;
}

/* A piece of RAM was found in the run. What cannot, or need not, be discarded is done with here. */
static void piece_begin(struct vbb_device *d, struct vbb_device_area *a, bool discard)
{
	struct vbb_piece *piece = &a->piece;
	vbb_u64 gpa = piece->span.gpa;

	if (!discard) {
		a->acted_len += piece->span.len;
		a->missing_len -= piece->span.len;
		piece->span.len = 0;
	} else if (d->opts->no_discard) {
		a->failed = true;
		piece->span.len = 0;
	} else if (vbb_span_shrink(&piece->span, piece->ram->gpa, piece->ram->host_shift)) {
		piece->addr += piece->span.gpa - gpa;
	}
}

void vbb_device_area_begin(struct vbb_device_area *a, struct vbb_span run)
{
	a->rest = run;
	a->missing_len = run.len;
}

bool vbb_device_area_step(struct vbb_device *d, struct vbb_device_area *a, bool discard,
			  vbb_u64 *len)
{
	*len = 0;
	if (a->piece.span.len)
		*len = piece_discard(d, a);
	else if (vbb_ram_map_next(&d->map, &a->rest, &a->piece))
		piece_begin(d, a, discard);
	else
		return false;
	return true;
}
