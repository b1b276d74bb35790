/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause */
/* What the parts of the test guest's first process share. */
#ifndef VBB_GUEST_H
#define VBB_GUEST_H

#include <stdint.h>

#define PAGE_LEN	4096u
#define CHUNK_LEN	(1u << 20)
#define CHUNK_PAGES	(CHUNK_LEN / PAGE_LEN)

/* vbb-guest.c: add to the answer; the others make it an error and return -1 */
__attribute__((format(printf, 1, 2))) void say(const char *fmt, ...);
int fail(const char *what);
int fail_with(const char *why);
uint64_t mix(uint64_t x);

/* churn.c */
int churn(uint64_t nr_mib, uint64_t mib_per_s, const char *cache);
int tell_churn(void);
int settle(void);
int cache_put(const char *path, uint64_t nr_mib);
int cache_check(uint64_t nr_mib);

#endif
