// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause
/* A mutator that knows what a page message looks like: most that it makes gets past the header. */
#include "message.h"

#define HDR FUZZ_PREFIX
#define PAYLOAD (FUZZ_PREFIX + VBB_HDR_LEN)

size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max_size);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned int seed);

struct mutation {
	uint8_t *data;
	size_t size;
	size_t max_size;
	uint64_t seed;
};

static uint64_t random_below(struct mutation *m, uint64_t n)
{
	m->seed = m->seed * 6364136223846793005 + 1442695040888963407;
	return (m->seed >> 33) % n;
}

static void set(struct mutation *m, size_t off, uint64_t v, unsigned int nr_bytes)
{
	unsigned int i;

	for (i = 0; i < nr_bytes; i++)
		m->data[off + i] = (uint8_t)(v >> 8 * i & 0xff);
}

/* A number that is near an edge of something */
static uint64_t edge(struct mutation *m)
{
	static const uint8_t bits[] = { 0, 3, 5, 6, 9, 16, 20, 31, 32, 33, 34, 40, 51, 52, 53, 63 };
	uint64_t v = (uint64_t)1 << bits[random_below(m, sizeof(bits))];

	return v + random_below(m, 5) - 2;
}

static uint64_t pfn(struct mutation *m)
{
	switch (random_below(m, 4)) {
	case 0:
		return edge(m);
	case 1:
		return VBB_PFN_END - 1 - random_below(m, 200);
	default:
		return random_below(m, 1000);
	}
}

static uint64_t bits(struct mutation *m)
{
	uint64_t v = random_below(m, 1u << 31) * random_below(m, 1u << 31) * random_below(m, 8);

	switch (random_below(m, 4)) {
	case 0:
		return ~(uint64_t)0;
	case 1:
		return ~(uint64_t)0 << random_below(m, 64);
	case 2:
		return v & (v >> 7) & (v << 11);
	default:
		return v;
	}
}

static uint64_t record(struct mutation *m, uint64_t code)
{
	uint64_t order = random_below(m, 3) ? random_below(m, 12) : random_below(m, 64);
	uint64_t p = pfn(m) & VIRTIO_BALLOON_REC_PFN_MASK;

	if (code == VIRTIO_BALLOON_REC_EXTENT && random_below(m, 8))
		order = 0;
	if (random_below(m, 16))
		p &= ~(((uint64_t)1 << order) - 1);
	return p | order << VIRTIO_BALLOON_REC_ORDER_SHIFT | code << VIRTIO_BALLOON_REC_CODE_SHIFT;
}

/* Make room for some words at the place of a random one. Returns where, or 0. */
static size_t insert(struct mutation *m, size_t nr_words)
{
	size_t off = PAYLOAD + 8 * (size_t)random_below(m, (m->size - PAYLOAD) / 8 + 1);

	if (m->max_size - m->size < 8 * nr_words)
		return 0;
	memmove(m->data + off + 8 * nr_words, m->data + off, m->size - off);
	m->size += 8 * nr_words;
	return off;
}

static void insert_record(struct mutation *m)
{
	uint64_t code = random_below(m, 3) * random_below(m, 4);
	size_t nr_words, off, i;

	if (!random_below(m, 3))
		code = VIRTIO_BALLOON_REC_EXTENT;
	nr_words = code == VIRTIO_BALLOON_REC_EXTENT ? 1 : (size_t)code;
	off = insert(m, 1 + nr_words);
	if (!off)
		return;
	set(m, off, record(m, code), 8);
	for (i = 1; i <= nr_words; i++)
		set(m, off + 8 * i, code == VIRTIO_BALLOON_REC_EXTENT ? pfn(m) : bits(m), 8);
}

static void insert_word(struct mutation *m)
{
	size_t off = insert(m, 1);

	if (off)
		set(m, off, bits(m), 8);
}

static void remove_word(struct mutation *m)
{
	size_t nr_words = (m->size - PAYLOAD) / 8, off;

	if (!nr_words)
		return;
	off = PAYLOAD + 8 * (size_t)random_below(m, nr_words);
	memmove(m->data + off, m->data + off + 8, m->size - off - 8);
	m->size -= 8;
}

static void change_word(struct mutation *m)
{
	size_t nr_words = (m->size - PAYLOAD) / 8, off;

	if (!nr_words)
		return;
	off = PAYLOAD + 8 * (size_t)random_below(m, nr_words);
	switch (random_below(m, 4)) {
	case 0:
		set(m, off, record(m, random_below(m, 64)), 8);
		break;
	case 1:
		set(m, off, pfn(m), 8);
		break;
	case 2:
		set(m, off, bits(m), 8);
		break;
	default:
		LLVMFuzzerMutate(m->data + off, 8, 8);
		break;
	}
}

static void change_header(struct mutation *m)
{
	switch (random_below(m, 6)) {
	case 0:
		set(m, HDR, random_below(m, 4), 2);
		break;
	case 1:
		set(m, HDR + 2, 11 + random_below(m, 21), 2);
		break;
	case 2:
		set(m, HDR + 4, random_below(m, 7), 2);
		break;
	case 3:
		set(m, HDR + 6, random_below(m, 4), 2);
		break;
	case 4:
		set(m, HDR + 8, edge(m), 8);
		break;
	default:
		set(m, HDR + 16, random_below(m, 2) ? pfn(m) : 0, 8);
		break;
	}
}

/* Who receives it, with what limit, and how it is cut */
static void change_prefix(struct mutation *m)
{
	if (random_below(m, 2))
		set(m, 0, random_below(m, 16), 1);
	if (random_below(m, 2))
		set(m, 1, random_below(m, 40), 1);
	set(m, 2 + 2 * (size_t)random_below(m, FUZZ_NR_CUTS), random_below(m, m->size), 2);
	if (random_below(m, 2))
		set(m, 8, pfn(m), 8);
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned int seed)
{
	struct mutation m = { data, size, max_size, seed };

	if (size < PAYLOAD || !random_below(&m, 8))
		return LLVMFuzzerMutate(data, size, max_size);
	do {
		switch (random_below(&m, 8)) {
		case 0:
			change_prefix(&m);
			break;
		case 1:
			change_header(&m);
			break;
		case 2:
			remove_word(&m);
			break;
		case 3:
			insert_word(&m);
			break;
		case 4:
			change_word(&m);
			break;
		default:
			insert_record(&m);
			break;
		}
	} while (random_below(&m, 2));
	if (random_below(&m, 16))
		set(&m, HDR + 24, m.size - PAYLOAD, 8);
	return m.size;
}
