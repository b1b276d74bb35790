// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause
/*
 * What must be caught: the sources as they are, but for one load in each that looks at a number
 * before it takes it.
 */
#define vbb_dec_init seeded_dec_init
#define vbb_dec_init_pfns seeded_dec_init_pfns
#define vbb_dec_next seeded_dec_next
#define vbb_dec_next_runs seeded_dec_next_runs
#define vbb_dec_next_value seeded_dec_next_value
#define vbb_vring_used_idx seeded_vring_used_idx
#define vbb_vring_dev_init seeded_vring_dev_init
#define vbb_vring_dev_recv seeded_vring_dev_recv
#define vbb_vring_dev_done seeded_vring_dev_done
#define vbb_vring_dev_should_notify seeded_vring_dev_should_notify
#define vbb_vring_dev_mute seeded_vring_dev_mute
#define vbb_vring_dev_listen seeded_vring_dev_listen
#include "loads_seeded.h"

static inline vbb_u64 load64_twice(struct vbb_cur *c)
{
	struct vbb_cur ahead = *c;

	if (vbb_cur_load64(&ahead))
		return vbb_cur_load64(c);
	vbb_cur_skip(c, 8);
	return 0;
}

static inline vbb_u16 load16_twice(struct vbb_cur *c)
{
	struct vbb_cur ahead = *c;

	if (vbb_cur_load16(&ahead))
		return vbb_cur_load16(c);
	vbb_cur_skip(c, 2);
	return 0;
}

#define vbb_cur_load64(c) load64_twice(c)
#include "../lib/decode.c"
#undef vbb_cur_load64

#define vbb_cur_load16(c) load16_twice(c)
#include "../transports/vring_dev.c"
