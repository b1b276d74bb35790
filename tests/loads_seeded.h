/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause */
/* The decoder and the device's side of a virtqueue, with one double fetch each put in. */
#ifndef LOADS_SEEDED_H
#define LOADS_SEEDED_H

#include <virtio_balloon_bmap/decode.h>

#include "vring.h"

int seeded_dec_init(struct vbb_dec *d, const struct vbb_dec_cfg *cfg, const struct vbb_seg *seg,
		    size_t nr_segs);
void seeded_dec_init_pfns(struct vbb_dec *d, const struct vbb_dec_cfg *cfg,
			  const struct vbb_seg *seg, size_t nr_segs);
int seeded_dec_next(struct vbb_dec *d, struct vbb_range *r);
int seeded_dec_next_value(struct vbb_dec *d, vbb_u64 *value);
int seeded_vring_dev_recv(struct vbb_vring_dev *d, struct vbb_chain *chain);

#endif
