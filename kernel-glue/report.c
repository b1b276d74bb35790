// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Free page reports: the kernel takes free blocks out of its lists, hands them over, and may not
 * have them back before the device is done with them. So who brings them waits, if need be until
 * the driver leaves the device; it brings no more than PAGE_REPORTING_CAPACITY blocks meanwhile.
 */
#include <linux/scatterlist.h>
#include <linux/virtio_config.h>

#include "balloon.h"

/* The lock is held. */
static void vbb_report_reap(struct vbb_report *r)
{
	unsigned int len;

	while (r->vq && r->nr_out && virtqueue_get_buf(r->vq, &len))
		r->nr_out--;
}

/* Is there nothing that the device may yet touch? */
static bool vbb_report_done(struct vbb_report *r)
{
	unsigned long flags;
	bool done;

	spin_lock_irqsave(&r->lock, flags);
	vbb_report_reap(r);
	done = r->gone || !r->nr_out;
	spin_unlock_irqrestore(&r->lock, flags);
	return done;
}

/* Put as many blocks in the queue as it takes, each a buffer, so that no table is needed for it. */
static unsigned int vbb_report_add(struct vbb_balloon *vb, struct scatterlist *sg, unsigned int nr)
{
	struct vbb_report *r = &vb->report;
	struct scatterlist one;
	unsigned long flags;
	unsigned int i;

	spin_lock_irqsave(&r->lock, flags);
	for (i = 0; i < nr && r->vq && !vb->stopping; i++, sg = sg_next(sg)) {
		sg_init_table(&one, 1);
		sg_set_page(&one, sg_page(sg), sg->length, sg->offset);
		if (virtqueue_add_inbuf(r->vq, &one, 1, r, GFP_ATOMIC))
			break;
		r->nr_out++;
		vb->counters.report_pages += sg->length >> PAGE_SHIFT;
	}
	if (i)
		virtqueue_kick(r->vq);
	spin_unlock_irqrestore(&r->lock, flags);
	return i;
}

static int vbb_report_pages(struct page_reporting_dev_info *info, struct scatterlist *sg,
			    unsigned int nr)
{
	struct vbb_balloon *vb = container_of(info, struct vbb_balloon, report.info);
	unsigned int nr_added;

	vb->counters.report_calls++;
	for (; nr; nr -= nr_added) {
		nr_added = vbb_report_add(vb, sg, nr);
		/* however long it takes: nobody is to take this for a task that hangs */
		wait_event_idle(vb->report.wait, vbb_report_done(&vb->report));
		if (!nr_added || READ_ONCE(vb->report.gone))
			return -EIO;
		sg += nr_added;
	}
	return 0;
}

/**
 * vbb_report_used() - the device is done with a block; called in interrupts
 * @vq: the reporting queue
 */
void vbb_report_used(struct virtqueue *vq)
{
	struct vbb_balloon *vb = vq->vdev->priv;

	wake_up(&vb->report.wait);
}

/**
 * vbb_report_start() - prepare for reports
 * @vb: the balloon; its queues are found
 */
void vbb_report_start(struct vbb_balloon *vb)
{
	struct vbb_report *r = &vb->report;

	memset(r, 0, sizeof(*r));
	spin_lock_init(&r->lock);
	init_waitqueue_head(&r->wait);
	r->info.report = vbb_report_pages;
	if (__virtio_test_bit(vb->vdev, VIRTIO_BALLOON_F_REPORTING))
		r->vq = vb->vqs[VBB_VQ_REPORT];
}

/**
 * vbb_report_ready() - have the kernel report its free pages
 * @vb: the balloon; the device is ready
 *
 * The kernel reports to one device only. Another balloon does all the rest.
 */
void vbb_report_ready(struct vbb_balloon *vb)
{
	struct vbb_report *r = &vb->report;
	int err;

	if (!r->vq)
		return;
	err = page_reporting_register(&r->info);
	r->registered = !err;
	if (err)
		dev_warn(&vb->vdev->dev, "free pages are not reported: error %d\n", err);
}

/**
 * vbb_report_idle() - is the device done with all that was reported?
 * @vb: the balloon; it is stopping
 *
 * Return: true where it is.
 */
bool vbb_report_idle(struct vbb_balloon *vb)
{
	return vbb_report_done(&vb->report);
}

/**
 * vbb_report_stop() - use the queue no more
 * @vb: the balloon; the device is about to be reset
 */
void vbb_report_stop(struct vbb_balloon *vb)
{
	spin_lock_irq(&vb->report.lock);
	vb->report.vq = NULL;
	spin_unlock_irq(&vb->report.lock);
}

/**
 * vbb_report_exit() - let the kernel have its pages back
 * @vb: the balloon; the device has no access any more
 */
void vbb_report_exit(struct vbb_balloon *vb)
{
	struct vbb_report *r = &vb->report;

	spin_lock_irq(&r->lock);
	r->gone = true;
	spin_unlock_irq(&r->lock);
	wake_up(&r->wait);
	if (r->registered)
		page_reporting_unregister(&r->info);
	r->registered = false;
}
