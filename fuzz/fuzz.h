/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause */
/* What fuzz targets share: input that is read byte by byte, and how a broken property is said. */
#ifndef FUZZ_H
#define FUZZ_H

#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <virtio_balloon_bmap/vbb.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define fuzz_check(cond) \
	do { \
		if (!(cond)) \
			fuzz_fail(__FILE__, __LINE__, #cond); \
	} while (0)

static inline void fuzz_fail(const char *file, int line, const char *what)
{
	fprintf(stderr, "%s:%d: broken: %s\n", file, line, what);
	abort();
}

/* What is left of an input; past its end there are zeros. */
struct fuzz_input {
	const uint8_t *data;
	size_t size;
};

static inline uint64_t fuzz_take(struct fuzz_input *in, unsigned int nr_bytes)
{
	uint64_t v = 0;
	unsigned int i;

	for (i = 0; i < nr_bytes && in->size; i++) {
		v |= (uint64_t)*in->data++ << 8 * i;
		in->size--;
	}
	return v;
}

/* A block of memory of its own, so that a step over its edge is seen; never NULL. */
static inline uint8_t *fuzz_alloc(size_t size)
{
	uint8_t *p = malloc(size ? size : 1);

	if (!p)
		abort();
	return p;
}

/* How many descriptors are open, of the low ones: all that there are in a fuzzer */
static inline unsigned int fuzz_nr_fds(void)
{
	struct pollfd fds[256];
	unsigned int i, nr = 0;

	for (i = 0; i < 256; i++)
		fds[i] = (struct pollfd){ .fd = (int)i };
	fuzz_check(poll(fds, 256, 0) >= 0);
	for (i = 0; i < 256; i++)
		nr += !(fds[i].revents & POLLNVAL);
	return nr;
}

#endif
