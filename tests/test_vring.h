/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause */
/* A queue for the tests of either side. */
#ifndef TEST_VRING_H
#define TEST_VRING_H

#include "test.h"
#include "vring_end.h"
#include "vring_rig.h"

static struct rig rig;

static inline vbb_u64 data_gpa(unsigned int off)
{
	return RIG_GPA + RIG_DATA + off;
}

static inline vbb_u8 *table(unsigned int nr)
{
	return rig.mem + RIG_TABLES + 16 * RIG_MAX * nr;
}

static inline vbb_u64 table_gpa(unsigned int nr)
{
	return RIG_GPA + RIG_TABLES + 16 * RIG_MAX * nr;
}

static inline void dev_start(vbb_u32 num, bool indirect, bool event_idx)
{
	rig_init(&rig, num, indirect, event_idx);
	assert_int_equal(vbb_vring_dev_init(&rig.dev, &rig.ring, &rig.map, rig.lent, 0, 0), 0);
}

#endif
