// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause
/*
 * The statistics queue runs the other way round: the driver sends a buffer of values that stays
 * here. To ask for new ones, it is given back.
 */
#include "device.h"

#include <time.h>

#define STAT_LEN	10	/* bytes of a value: le16 tag, le64 value, packed */
#define STATS_MAX	64	/* values in a buffer; drivers send some ten */

/* Returns 0, or what is wrong with the buffer. */
static int load(struct vbb_device *d, const struct vbb_chain *chain)
{
	struct vbb_device_stats *s = &d->stats;
	struct vbb_cur c;
	vbb_u16 tag;
	int i;

	vbb_cur_init(&c, chain->seg, chain->nr_out);
	if (c.left > STAT_LEN * STATS_MAX)
		return VBB_E_LEN_MAX;
	if (c.left % STAT_LEN)
		return VBB_E_LEN_ALIGN;
	for (i = 0; i < VBB_DEVICE_NR_STATS; i++)
		s->value[i] = ~(vbb_u64)0;
	while (c.left) {
		tag = vbb_cur_load16(&c);
		if (tag < VBB_DEVICE_NR_STATS) {
			s->value[tag] = vbb_cur_load64(&c);
		} else {
			vbb_cur_skip(&c, 8);
			d->counts.stats_unknown++;
		}
	}
	return 0;
}

static void give_back(struct vbb_device *d)
{
	struct vbb_device_stats *s = &d->stats;
	unsigned int index = d->queue[VBB_DEVICE_STATS].index;

	if (!s->held)
		return;
	s->held = false;
	vbb_transport_done(d->transport, index, &s->chain, 0);
	vbb_transport_kick(d->transport, index);
}

void vbb_device_stats_begin(struct vbb_device *d, enum vbb_device_vq vq)
{
	struct vbb_device_stats *s = &d->stats;
	const struct vbb_chain *chain = &d->queue[vq].chain;
	struct timespec ts;
	int err;

	d->counts.stats++;
	err = load(d, chain);
	vbb_device_fault(d, err);
	if (!err) {
		clock_gettime(CLOCK_REALTIME, &ts);
		s->updated_s = (vbb_u64)ts.tv_sec;
	}
	/* of a driver that sends more than one, the newest is kept */
	give_back(d);
	s->chain.seg = chain->seg;
	s->chain.cookie = chain->cookie;
	s->held = true;
	s->ask_ns = vbb_now_ns() + (vbb_u64)s->interval_s * 1000000000;
}

void vbb_device_stats_poll(struct vbb_device *d, vbb_u32 interval_s)
{
	struct vbb_device_stats *s = &d->stats;

	s->ask_ns = vbb_now_ns();
	/* who begins to ask asks at once */
	if (s->interval_s)
		s->ask_ns += (vbb_u64)interval_s * 1000000000;
	s->interval_s = interval_s;
}

vbb_u64 vbb_device_stats_look(struct vbb_device *d)
{
	const struct vbb_device_stats *s = &d->stats;
	vbb_u64 now_ns = vbb_now_ns();

	if (!s->interval_s || !s->held)
		return ~(vbb_u64)0;
	if (now_ns < s->ask_ns)
		return s->ask_ns - now_ns;
	give_back(d);
	return ~(vbb_u64)0;
}

void vbb_device_stats_stopped(struct vbb_device *d)
{
	d->stats.held = false;
}

void vbb_device_stats_reset(struct vbb_device *d)
{
	int i;

	for (i = 0; i < VBB_DEVICE_NR_STATS; i++)
		d->stats.value[i] = ~(vbb_u64)0;
	d->stats.updated_s = 0;
}
