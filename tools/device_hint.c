// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause
/*
 * Free page hints. The configuration space names a round; the driver says on the queue that it
 * begins it, sends free pages as buffers, which it keeps, and says STOP. It may take the pages back
 * when the configuration space says DONE.
 */
#include "device.h"

#include <errno.h>
#include <string.h>

#define PAGE_SHIFT 12

/* What the configuration space and the driver say beside an id */
#define CMD_ID_STOP	0
#define CMD_ID_DONE	1
#define CMD_ID_MIN	0x80000000	/* the first round's, as elsewhere */

static void command(struct vbb_device *d, vbb_u32 cmd_id)
{
	d->hint.cmd_id = cmd_id;
	vbb_vhu_config_changed(&d->vhu);
}

static void give_up(struct vbb_device_hint *h, const char *status, const char *error)
{
	h->begun = false;
	vbb_device_job_give_up(&h->job, status, error);
	vbb_device_job_end(&h->job);
}

int vbb_device_hint_start(struct vbb_device *d, vbb_u64 timeout_ns, int fd)
{
	struct vbb_device_hint *h = &d->hint;
	int err;

	if (h->job.phase != VBB_DEVICE_IDLE)
		return VBB_E_AGAIN;
	if (!vbb_device_has(d, VBB_BALLOON_F_FREE_PAGE_HINT))
		return VBB_E_STATE;
	err = vbb_device_job_begin(d, &h->job, timeout_ns, fd);
	if (err)
		return err;
	h->id = h->id < CMD_ID_MIN || h->id == UINT32_MAX ? CMD_ID_MIN : h->id + 1;
	h->begun = false;
	h->nr_hints = 0;
	command(d, h->id);
	return 0;
}

int vbb_device_hint_stop(struct vbb_device *d)
{
	if (d->hint.job.phase != VBB_DEVICE_ASKED && d->hint.job.phase != VBB_DEVICE_WRITING)
		return VBB_E_STATE;
	give_up(&d->hint, "stopped", NULL);
	command(d, CMD_ID_STOP);
	return 0;
}

int vbb_device_hint_release(struct vbb_device *d)
{
	if (d->hint.job.phase == VBB_DEVICE_ASKED)
		return VBB_E_AGAIN;
	if (!vbb_device_has(d, VBB_BALLOON_F_FREE_PAGE_HINT))
		return VBB_E_STATE;
	command(d, CMD_ID_DONE);
	return 0;
}

/* The driver names what it is at: the round that was asked for, or anything else, which ends it. */
static void driver_says(struct vbb_device *d, vbb_u32 cmd_id)
{
	struct vbb_device_hint *h = &d->hint;

	if (h->job.phase != VBB_DEVICE_ASKED)
		return;
	if (cmd_id == h->id) {
		h->begun = true;
	} else if (h->begun) {
		/* before that it may be the stop of the round before */
		h->begun = false;
		h->job.status = "complete";
		h->job.phase = VBB_DEVICE_WRITING;
		h->cmd_id = CMD_ID_STOP;
		vbb_device_job_write(&h->job);
	}
}

void vbb_device_hint_begin(struct vbb_device *d, enum vbb_device_vq vq)
{
	struct vbb_device_hint *h = &d->hint;
	const struct vbb_chain *chain = &d->queue[vq].chain;
	struct vbb_cur c;

	vbb_cur_init(&c, chain->seg, chain->nr_out);
	if (c.left && c.left != sizeof(vbb_u32)) {
		vbb_device_done(d, vq, VBB_E_LEN, 0);
		return;
	}
	if (c.left)
		driver_says(d, vbb_cur_load32(&c));
	if (chain->nr_in) {
		d->counts.hints++;
		d->counts.hints_unwanted += !h->begun;
		h->nr_hints += h->begun;
	}
	h->seg = chain->nr_out;
	d->queue[vq].busy = true;
}

/* Whole pages of what a hint names: guests do not hint parts of them. Returns 0, or the fault. */
static int hint_put(struct vbb_device *d, const struct vbb_seg *seg)
{
	struct vbb_span span = vbb_device_span(d, seg);
	struct vbb_range r = { span.gpa >> PAGE_SHIFT, span.len >> PAGE_SHIFT };

	if ((span.gpa | span.len) & (vbb_pow2(PAGE_SHIFT) - 1))
		return VBB_E_LEN_ALIGN;
	vbb_sink_put(&d->hint.job.sink, &r);
	return 0;
}

vbb_u64 vbb_device_hint_step(struct vbb_device *d, enum vbb_device_vq vq)
{
	struct vbb_device_hint *h = &d->hint;
	const struct vbb_chain *chain = &d->queue[vq].chain;
	int err;

	d->queue[vq].blocked = false;
	if (!h->begun || h->seg == chain->nr_out + chain->nr_in) {
		vbb_device_done(d, vq, 0, 0);
		return 0;
	}
	err = vbb_device_job_room(&h->job);
	if (err == -EAGAIN) {
		d->queue[vq].blocked = true;
	} else if (err) {
		give_up(h, "error", strerror(-err));
		command(d, CMD_ID_STOP);
	} else {
		vbb_device_fault(d, hint_put(d, &chain->seg[h->seg++]));
	}
	return 0;
}

void vbb_device_hint_look(struct vbb_device *d)
{
	struct vbb_device_job *job = &d->hint.job;

	vbb_device_job_write(job);
	if (vbb_device_job_wait_ns(job))
		return;
	give_up(&d->hint, "timeout", job->blocked ? "The pages are not read" : NULL);
	command(d, CMD_ID_STOP);
}

void vbb_device_hint_reset(struct vbb_device *d)
{
	if (d->hint.job.phase == VBB_DEVICE_ASKED)
		give_up(&d->hint, "reset", NULL);
	d->hint.cmd_id = CMD_ID_STOP;
}
