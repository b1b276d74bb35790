/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause */
/* The input of the targets that decode: who receives, in how many pieces, then the message. */
#ifndef FUZZ_MESSAGE_H
#define FUZZ_MESSAGE_H

#include "fuzz.h"

#define FUZZ_ANSWER	1	/* the host_request queue */
#define FUZZ_RECORDS	2	/* format RECORDS was negotiated */
#define FUZZ_PFNS	4	/* the old format */
#define FUZZ_LIMIT	8	/* limit_pfn counts */

#define FUZZ_NR_CUTS	3
#define FUZZ_PREFIX	16

struct fuzz_message {
	struct vbb_dec_cfg cfg;
	bool pfns;
	uint64_t budget;		/* steps at a time */
	size_t cut[FUZZ_NR_CUTS];	/* where it is cut, not sorted */
	const uint8_t *bytes;
	size_t len;
};

static inline void fuzz_message(struct fuzz_message *m, const uint8_t *data, size_t size)
{
	struct fuzz_input in = { data, size };
	uint64_t flags = fuzz_take(&in, 1), limit_pfn;
	int i;

	m->budget = fuzz_take(&in, 1) + 1;
	for (i = 0; i < FUZZ_NR_CUTS; i++)
		m->cut[i] = (size_t)fuzz_take(&in, 2);
	limit_pfn = fuzz_take(&in, 8);
	m->cfg.queue = flags & FUZZ_ANSWER ? VBB_QUEUE_HOST_REQUEST : VBB_QUEUE_BALLOON;
	m->cfg.records = flags & FUZZ_RECORDS;
	m->cfg.limit_pfn = flags & FUZZ_LIMIT ? limit_pfn : 0;
	m->pfns = flags & FUZZ_PFNS;
	m->bytes = in.data;
	m->len = in.size;
	for (i = 0; i < FUZZ_NR_CUTS; i++)
		m->cut[i] %= m->len + 1;
}

#endif
