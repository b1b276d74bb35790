/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause */
/* Arrays of segments without the empty ones; private to the transports. */
#ifndef VBB_TRANSPORTS_PACK_H
#define VBB_TRANSPORTS_PACK_H

#include <virtio_balloon_bmap/seg.h>

/* Copies the segments that are not empty, or only counts them where to is NULL. */
static inline size_t vbb_segs_pack(struct vbb_seg *to, const struct vbb_seg *from, size_t nr)
{
	size_t i, n = 0;

	for (i = 0; i < nr; i++) {
		if (!from[i].len)
			continue;
		if (to)
			to[n] = from[i];
		n++;
	}
	return n;
}

#endif
