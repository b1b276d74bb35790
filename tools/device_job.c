// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause
#include "device.h"

#include <errno.h>
#include <string.h>

#define PAGE_SHIFT 12	/* of what is written */

int vbb_device_job_begin(struct vbb_device *d, struct vbb_device_job *job, vbb_u64 timeout_ns,
			 int fd)
{
	size_t i;

	if (vbb_sink_init(&job->sink, fd))
		return VBB_E_INVAL;
	for (i = 0; i < d->vhu.nr_regions; i++)
		vbb_sink_ram(&job->sink,
			     &(struct vbb_range){ d->vhu.region[i].gpa >> PAGE_SHIFT,
						  d->vhu.region[i].len >> PAGE_SHIFT });
	job->phase = VBB_DEVICE_ASKED;
	job->status = NULL;
	job->error = NULL;
	job->blocked = false;
	job->asked_ns = vbb_now_ns();
	job->ended_ns = 0;
	job->limit_ns = job->asked_ns + timeout_ns;
	return 0;
}

void vbb_device_job_give_up(struct vbb_device_job *job, const char *status, const char *error)
{
	job->status = status;
	job->error = error;
	job->blocked = false;
	vbb_sink_close(&job->sink);
}

void vbb_device_job_end(struct vbb_device_job *job)
{
	vbb_sink_close(&job->sink);
	job->phase = VBB_DEVICE_ENDED;
	job->blocked = false;
	job->ended_ns = vbb_now_ns();
}

int vbb_device_job_room(struct vbb_device_job *job)
{
	int err = vbb_sink_room(&job->sink);

	job->blocked = err == -EAGAIN;
	return err;
}

void vbb_device_job_write(struct vbb_device_job *job)
{
	int err;

	if (job->phase != VBB_DEVICE_WRITING)
		return;
	err = vbb_sink_flush(&job->sink);
	job->blocked = err == -EAGAIN;
	if (job->blocked)
		return;
	if (err)
		vbb_device_job_give_up(job, "error", strerror(-err));
	vbb_device_job_end(job);
}

vbb_u64 vbb_device_job_wait_ns(const struct vbb_device_job *job)
{
	vbb_u64 now_ns = vbb_now_ns();

	if (job->phase == VBB_DEVICE_IDLE || job->phase == VBB_DEVICE_ENDED)
		return ~(vbb_u64)0;
	return now_ns < job->limit_ns ? job->limit_ns - now_ns : 0;
}

int vbb_device_job_fd(const struct vbb_device_job *job)
{
	return job->blocked ? job->sink.fd : -1;
}
