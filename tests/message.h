/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause */
/* Page messages put together field by field, good and bad ones. */
#ifndef MESSAGE_H
#define MESSAGE_H

#include "test.h"

struct message {
	struct vbb_dec_cfg cfg;		/* for whom it is meant */
	bool pfns;			/* the old format */
	uint8_t bytes[4096];
	size_t len;
};

static inline void message_set(struct message *m, size_t off, uint64_t v, unsigned int nr_bytes)
{
	unsigned int i;

	for (i = 0; i < nr_bytes; i++)
		m->bytes[off + i] = (uint8_t)(v >> 8 * i & 0xff);
}

static inline void message_add(struct message *m, uint64_t v, unsigned int nr_bytes)
{
	assert_true(m->len + nr_bytes <= sizeof(m->bytes));
	message_set(m, m->len, v, nr_bytes);
	m->len += nr_bytes;
	if (!m->pfns)
		message_set(m, 24, m->len - VBB_HDR_LEN, 8);
}

/* A header for whoever takes records and sets no limit; bmap_len follows what is added. */
static inline void message_begin(struct message *m, uint16_t format)
{
	memset(m, 0, sizeof(*m));
	m->cfg.queue = VBB_QUEUE_BALLOON;
	m->cfg.records = true;
	m->len = VBB_HDR_LEN;
	message_set(m, 2, 12, 2);
	message_set(m, 6, format, 2);
}

static inline void message_begin_pfns(struct message *m)
{
	memset(m, 0, sizeof(*m));
	m->pfns = true;
}

static inline void message_record(struct message *m, uint64_t pfn, uint32_t order, uint32_t code)
{
	message_add(m, pfn | (uint64_t)order << 52 | (uint64_t)code << 58, 8);
}

static inline void message_extent(struct message *m, uint64_t pfn, uint64_t nr_pages)
{
	message_record(m, pfn, 0, 63);
	message_add(m, nr_pages, 8);
}

/* A pfn that is near others, or near an end, or anywhere */
static inline uint64_t message_random_pfn(uint64_t *seed)
{
	switch (test_below(seed, 8)) {
	case 0:
		return test_rand(seed) >> 12;
	case 1:
		return VBB_PFN_END - 1 - test_below(seed, 300);
	case 2:
		return ((uint64_t)1 << 32) - 100 + test_below(seed, 200);
	default:
		return test_below(seed, 600);
	}
}

static inline uint64_t message_random_word(uint64_t *seed)
{
	switch (test_below(seed, 4)) {
	case 0:
		return 0;
	case 1:
		return UINT64_MAX;
	case 2:
		return test_rand(seed) & test_rand(seed) & test_rand(seed);
	default:
		return UINT64_MAX << test_below(seed, 64);
	}
}

static inline void message_random_record(struct message *m, uint64_t *seed)
{
	uint32_t order = test_below(seed, 4) ? (uint32_t)test_below(seed, 12) :
					       (uint32_t)test_below(seed, 64);
	uint64_t pfn = message_random_pfn(seed) & VIRTIO_BALLOON_REC_PFN_MASK;
	uint32_t code = (uint32_t)test_below(seed, 5), i;

	if (test_below(seed, 20))
		pfn &= ~(vbb_pow2(order) - 1);
	switch (test_below(seed, 4)) {
	case 0:
		message_record(m, pfn, order, 0);
		break;
	case 1:
		message_extent(m, pfn, test_below(seed, 20) ? 1 + test_below(seed, 600) :
							      test_rand(seed) >> 11);
		break;
	default:
		message_record(m, pfn, order, code);
		for (i = 0; i < code; i++)
			message_add(m, message_random_word(seed), 8);
		break;
	}
}

/* Something like a message: mostly well-formed, whatever the format */
static inline void message_random(struct message *m, uint64_t *seed)
{
	uint64_t nr = test_below(seed, 12), kind = test_below(seed, 8);

	if (kind == 0)
		message_begin_pfns(m);
	else
		message_begin(m, kind <= 2 ? VIRTIO_BALLOON_FORMAT_BITMAP :
					     VIRTIO_BALLOON_FORMAT_RECORDS);
	for (; nr; nr--) {
		if (kind == 0)
			message_add(m, message_random_pfn(seed) & UINT32_MAX, 4);
		else if (kind <= 2)
			message_add(m, message_random_word(seed), 8);
		else
			message_random_record(m, seed);
	}
	if (kind == 1 || kind == 2)
		message_set(m, 16, message_random_pfn(seed), 8);
	if (!test_below(seed, 4))
		m->cfg.limit_pfn = 1 + message_random_pfn(seed);
	if (kind && !test_below(seed, 4))
		message_set(m, 2, 12 + test_below(seed, 19), 2);
	if (kind && !test_below(seed, 8)) {
		m->cfg.queue = VBB_QUEUE_HOST_REQUEST;
		message_set(m, 0, test_below(seed, 3), 2);
		message_set(m, 4, test_below(seed, 6), 2);
		message_set(m, 8, test_rand(seed), 8);
	}
	/* a few bytes less, or a bit flipped */
	if (!test_below(seed, 8) && m->len) {
		m->len -= test_index(seed, m->len < 12 ? m->len : 12);
		if (!m->pfns && m->len >= VBB_HDR_LEN && test_below(seed, 4))
			message_set(m, 24, m->len - VBB_HDR_LEN, 8);
	}
	if (!test_below(seed, 8) && m->len)
		m->bytes[test_index(seed, m->len)] ^= (uint8_t)(1 << test_below(seed, 8));
}

#endif
