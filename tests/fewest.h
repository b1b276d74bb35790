/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause */
/*
 * How few record words can name some runs? A second opinion, offline: all ways are tried at once,
 * with all of memory at hand, and without any part of the encoder.
 */
#ifndef FEWEST_H
#define FEWEST_H

#include <stddef.h>
#include <stdint.h>

#include <virtio_balloon_bmap/range.h>

/*
 * Runs: ascending, none touches another. Bitmap records count as if they had no longest length. mem
 * receives, where it is not NULL, the bytes of ways that were in hand at most.
 */
uint64_t fewest_words(const struct vbb_range *run, size_t nr, size_t *mem);

#endif
