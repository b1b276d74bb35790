/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause */
/*
 * Memory that is shared with a peer who is always faster: each byte is changed as soon as it was
 * loaded, so whoever loads it again sees something else; and it is counted. There are two ways to
 * know of a load: the hook in leaf.h, on every machine (watch_hook.c), and a trap, in objects as
 * they are shipped (watch_trap.c).
 */
#ifndef WATCH_H
#define WATCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define WATCH_PAGE 4096
#define WATCH_LEN ((size_t)6 * WATCH_PAGE)

struct watch {
	_Alignas(WATCH_PAGE) uint8_t mem[WATCH_LEN];
	uint8_t shared[WATCH_LEN];	/* by byte: 1 where it may be loaded */
	uint8_t loaded[WATCH_LEN];	/* by byte: 1 where it was */
	size_t nr_loaded;		/* bytes, each time that one was */
	size_t nr_twice;		/* of these not the first time */
	size_t nr_outside;		/* bytes that may not be */
	size_t nr_stores;		/* only a trap knows */
	uint64_t noise;
};

extern struct watch watch;

/* NULL, or why loads cannot be watched */
const char *watch_why_not(void);

/* How much this way can do in the same time */
extern const int watch_effort;

/* Between the two only the code under test may touch watch.mem. */
void watch_begin(void);
void watch_end(void);

/* Nothing is shared any more. */
static inline void watch_clear(void)
{
	memset(watch.shared, 0, sizeof(watch.shared));
}

/* Share a part of watch.mem. */
static inline void watch_share(const uint8_t *p, size_t len)
{
	memset(watch.shared + (p - watch.mem), 1, len);
}

/* For the two ways */
static inline void watch_forget(void)
{
	memset(watch.loaded, 0, sizeof(watch.loaded));
	watch.nr_loaded = 0;
	watch.nr_twice = 0;
	watch.nr_outside = 0;
	watch.nr_stores = 0;
}

static inline void watch_count(size_t off, size_t len)
{
	for (; len; len--, off++) {
		if (off >= WATCH_LEN || !watch.shared[off]) {
			watch.nr_outside++;
			continue;
		}
		watch.nr_loaded++;
		watch.nr_twice += watch.loaded[off];
		watch.loaded[off] = 1;
	}
}

static inline void watch_overwrite(size_t off, size_t len)
{
	for (; len && off < WATCH_LEN; len--, off++) {
		watch.noise = watch.noise * 6364136223846793005 + 1442695040888963407;
		watch.mem[off] ^= (uint8_t)(watch.noise >> 56 | 1);
	}
}

#endif
