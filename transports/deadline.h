/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause */
/* Points in time, on the clock that nobody sets */
#ifndef VBB_TRANSPORTS_DEADLINE_H
#define VBB_TRANSPORTS_DEADLINE_H

#include <time.h>

#include <virtio_balloon_bmap/types.h>

#define VBB_NS_PER_S 1000000000u

static inline vbb_u64 vbb_now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (vbb_u64)ts.tv_sec * VBB_NS_PER_S + (vbb_u64)ts.tv_nsec;
}

/* A limit past what a signed time_t holds is no limit. */
static inline struct timespec vbb_timespec(vbb_u64 ns)
{
	const vbb_u64 max = (vbb_u64)0x7fffffff * VBB_NS_PER_S;
	struct timespec ts;

	if (ns > max)
		ns = max;
	ts.tv_sec = (time_t)(ns / VBB_NS_PER_S);
	ts.tv_nsec = (long)(ns % VBB_NS_PER_S);
	return ts;
}

static inline vbb_u64 vbb_deadline(vbb_u64 timeout_ns)
{
	vbb_u64 now = vbb_now_ns();

	return timeout_ns > ~(vbb_u64)0 - now ? ~(vbb_u64)0 : now + timeout_ns;
}

/* Nanoseconds to a deadline, 0 behind it */
static inline vbb_u64 vbb_deadline_left(vbb_u64 deadline)
{
	vbb_u64 now = vbb_now_ns();

	return deadline > now ? deadline - now : 0;
}

#endif
