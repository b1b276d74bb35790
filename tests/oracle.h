/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause */
/*
 * A second decoder, written from docs/spec.md alone: slow, plain, with all of memory at hand. Tests
 * and fuzzers hold the real one against it.
 */
#ifndef ORACLE_H
#define ORACLE_H

#include <virtio_balloon_bmap/decode.h>

/* What a message means, and what may be said of it where it is malformed */
struct oracle {
	struct vbb_range *run;		/* the runs, merged where they follow one another */
	size_t nr_runs;			/* how many */
	size_t max_runs;		/* for how many there is room */
	uint64_t nr_blocks;		/* records, counted only in a message without a fault */
	uint64_t nr_bitmaps;
	uint64_t nr_extents;
	bool malformed;			/* there is a fault */
	bool header;			/* it lies in the header: no run at all */
	uint64_t off[VBB_NR_FAULTS];	/* by fault: where it lies; NO_FAULT: it is not there */
};

#define NO_FAULT UINT64_MAX

/* Format PFNS has no header, and so none that says so. */
void oracle_decode(struct oracle *o, const uint8_t *msg, uint64_t len,
		   const struct vbb_dec_cfg *cfg, bool pfns);

/* Start a real decoder on the same message. */
int oracle_begin(struct vbb_dec *d, const struct vbb_dec_cfg *cfg, bool pfns,
		 const struct vbb_seg *seg, size_t nr_segs);

/*
 * Run a real decoder to its end, budget steps at a time, and compare. err: what oracle_begin()
 * said. Returns NULL where all is the same, else what is not.
 */
const char *oracle_compare(const struct oracle *o, struct vbb_dec *d, int err, uint64_t budget);

void oracle_free(struct oracle *o);

#endif
