// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause
/* The configuration space: what the guest shall keep, and what it says that it gave. */
#include "device.h"

#include <string.h>

/* actual and the poison are the driver's to write, the others ours */
#define CONFIG_NUM_PAGES	0
#define CONFIG_ACTUAL		4
#define CONFIG_HINT_CMD_ID	8
#define CONFIG_POISON		12

#define PAGE_SHIFT		12	/* of num_pages and actual */

/* Between two events at least, for the guest decides how often there is something to tell */
#define EVENT_NS		1000000000
#define EVENT_REACHED_NS	100000000

vbb_u64 vbb_device_ram_len(const struct vbb_device *d)
{
	vbb_u64 len = d->opts->ram_len;
	size_t i;

	if (!len)
		for (i = 0; i < d->vhu.nr_regions; i++)
			len += d->vhu.region[i].len;
	return len;
}

static vbb_u32 num_pages(const struct vbb_device *d)
{
	vbb_u64 ram_len = vbb_device_ram_len(d);
	vbb_u64 nr = ram_len > d->keep_len ? (ram_len - d->keep_len) >> PAGE_SHIFT : 0;

	return nr > UINT32_MAX ? UINT32_MAX : (vbb_u32)nr;
}

static void note_reached(struct vbb_device *d)
{
	if (d->asked_ns && !d->reached_ns && d->actual == num_pages(d))
		d->reached_ns = vbb_now_ns();
}

void vbb_device_keep(struct vbb_device *d, vbb_u64 len)
{
	d->keep_len = len;
	d->asked_ns = vbb_now_ns();
	d->reached_ns = 0;
	note_reached(d);
	vbb_vhu_config_changed(&d->vhu);
}

vbb_u64 vbb_device_actual_len(const struct vbb_device *d)
{
	vbb_u64 ram_len = vbb_device_ram_len(d);
	vbb_u64 len = (vbb_u64)d->actual << PAGE_SHIFT;

	return len < ram_len ? ram_len - len : 0;
}

bool vbb_device_event_due(const struct vbb_device *d, vbb_u64 *wait_ns)
{
	vbb_u64 past_ns = vbb_now_ns() - d->told_ns;
	vbb_u64 least_ns = d->actual == num_pages(d) ? EVENT_REACHED_NS : EVENT_NS;

	*wait_ns = ~(vbb_u64)0;
	if (!d->untold)
		return false;
	if (past_ns >= least_ns)
		return true;
	*wait_ns = least_ns - past_ns;
	return false;
}

static void set_actual(struct vbb_device *d, vbb_u32 actual)
{
	/* also what comes back to the value told before: a client waits for the last word */
	if (actual != d->actual)
		d->untold = true;
	d->actual = actual;
}

static void put_le32(vbb_u8 *p, vbb_u32 v)
{
	int i;

	for (i = 0; i < 4; i++)
		p[i] = (vbb_u8)(v >> 8 * i);
}

void vbb_device_config_read(const struct vbb_device *d, vbb_u8 config[VBB_VHU_CONFIG_LEN])
{
	put_le32(config + CONFIG_NUM_PAGES, num_pages(d));
	put_le32(config + CONFIG_ACTUAL, d->actual);
	put_le32(config + CONFIG_HINT_CMD_ID, d->hint.cmd_id);
	put_le32(config + CONFIG_POISON, d->poison);
}

void vbb_device_config_write(struct vbb_device *d, vbb_u32 off, const vbb_u8 *data, vbb_u32 len)
{
	vbb_u8 config[VBB_VHU_CONFIG_LEN] = { 0 };

	vbb_device_config_read(d, config);
	memcpy(config + off, data, len);
	set_actual(d, vbb_load32(config + CONFIG_ACTUAL));
	note_reached(d);
	if (vbb_device_has(d, VBB_BALLOON_F_PAGE_POISON))
		d->poison = vbb_load32(config + CONFIG_POISON);
}

void vbb_device_config_reset(struct vbb_device *d)
{
	set_actual(d, 0);
}
