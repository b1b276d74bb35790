// SPDX-License-Identifier: GPL-2.0-or-later
/* What is negotiated, how a balloon starts and stops, and the worker that follows the target. */
#include <linux/delay.h>
#include <linux/ktime.h>
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/virtio_balloon.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ids.h>

#include <virtio_balloon_bmap/request.h>

#include "balloon.h"

/* How long the kernel is left in peace when it had nothing more to give */
#define VBB_RETRY_MS 200

/* How often the device hears how far we are; when nothing is in flight it hears it at once */
#define VBB_ACTUAL_MS 250

/* How long a device that is to be left may work on what it has */
#define VBB_DRAIN_MS 1000

/* No delay: it is for the device to act */
#define VBB_DEVICE_NEXT (-1L)

enum vbb_format {
	VBB_FORMAT_AUTO,
	VBB_FORMAT_BITMAP,
	VBB_FORMAT_RECORDS,
	VBB_FORMAT_PFNS,
};

static const char *const vbb_format_names[] = {
	[VBB_FORMAT_AUTO] = "auto",
	[VBB_FORMAT_BITMAP] = "bitmap",
	[VBB_FORMAT_RECORDS] = "records",
	[VBB_FORMAT_PFNS] = "pfns",
	NULL
};

static int vbb_format = VBB_FORMAT_AUTO;

static int vbb_format_set(const char *val, const struct kernel_param *kp)
{
	int i = sysfs_match_string(vbb_format_names, val);

	if (i >= 0)
		vbb_format = i;
	return min(i, 0);
}

static int vbb_format_get(char *buf, const struct kernel_param *kp)
{
	return sysfs_emit(buf, "%s\n", vbb_format_names[vbb_format]);
}

static const struct kernel_param_ops vbb_format_ops = {
	.set = vbb_format_set,
	.get = vbb_format_get,
};
module_param_cb(format, &vbb_format_ops, NULL, 0444);
MODULE_PARM_DESC(format, "how to name pages, if the device can: auto (default), bitmap, records, pfns");

static u32 vbb_format_mask(struct virtio_device *vdev)
{
	if (!virtio_has_feature(vdev, VIRTIO_BALLOON_F_PAGE_BITMAP))
		return VBB_FMT_PFNS;
	if (vbb_format == VBB_FORMAT_BITMAP ||
	    !virtio_has_feature(vdev, VIRTIO_BALLOON_F_PAGE_RECORDS))
		return VBB_FMT_BITMAP;
	return vbb_format == VBB_FORMAT_RECORDS ? VBB_FMT_RECORDS : VBB_FMT_AUTO;
}

static void vbb_balloon_queue(struct vbb_balloon *vb, unsigned long delay)
{
	spin_lock_irq(&vb->event_lock);
	if (!vb->stopping)
		queue_delayed_work(vb->wq, &vb->work, delay);
	spin_unlock_irq(&vb->event_lock);
}

/* Called in interrupts. */
static void vbb_balloon_event(struct vbb_balloon *vb, bool config_changed)
{
	unsigned long flags;

	spin_lock_irqsave(&vb->event_lock, flags);
	vb->config_changed |= config_changed;
	if (!vb->stopping)
		mod_delayed_work(vb->wq, &vb->work, 0);
	spin_unlock_irqrestore(&vb->event_lock, flags);
}

static void vbb_balloon_used(struct virtqueue *vq)
{
	vbb_balloon_event(vq->vdev->priv, false);
}

static void vbb_balloon_changed(struct virtio_device *vdev)
{
	vbb_balloon_event(vdev->priv, true);
}

static void vbb_target_read(struct vbb_balloon *vb)
{
	bool changed;
	u32 num_pages;

	spin_lock_irq(&vb->event_lock);
	changed = vb->config_changed;
	vb->config_changed = false;
	spin_unlock_irq(&vb->event_lock);
	if (!changed)
		return;
	virtio_cread_le(vb->vdev, struct virtio_balloon_config, num_pages, &num_pages);
	vb->target = DIV_ROUND_UP_ULL(num_pages, PAGE_SIZE >> VIRTIO_BALLOON_PFN_SHIFT);
}

static void vbb_actual_write(struct vbb_balloon *vb)
{
	u64 nr_frames = (u64)vb->actual << (PAGE_SHIFT - VIRTIO_BALLOON_PFN_SHIFT);
	u32 actual = min_t(u64, nr_frames, U32_MAX);

	if (vb->broken || actual == vb->actual_told)
		return;
	virtio_cwrite_le(vb->vdev, struct virtio_balloon_config, actual, &actual);
	vb->actual_told = actual;
	vb->actual_jiffies = jiffies;
}

/*
 * One batch towards the target. The lock is dropped while the kernel looks for pages, for that can
 * take long. Returns after how many jiffies to go on, or VBB_DEVICE_NEXT.
 */
static long vbb_balloon_step(struct vbb_balloon *vb)
{
	struct vbb_batch *batch = &vb->batch;
	unsigned long held, nr_pages;
	bool more = true;

	if (!vbb_tell_send(vb))
		return VBB_DEVICE_NEXT;

	held = vb->actual + vb->moving[VBB_INFLATE] - vb->moving[VBB_DEFLATE];
	if (held < vb->target) {
		nr_pages = min(vb->target - held, (unsigned long)VBB_BATCH_PAGES);
		if (nr_pages > VBB_UNTOLD_MAX - vb->moving[VBB_INFLATE])
			return VBB_DEVICE_NEXT;
		mutex_unlock(&vb->lock);
		more = vbb_batch_inflate(batch, nr_pages, &vb->stopping);
		mutex_lock(&vb->lock);
		vb->counters.blocks_taken += batch->nr;
		vb->counters.out_of_memory += !more;
	} else {
		nr_pages = min3(held - vb->target, vb->blocks.nr_pages,
				(unsigned long)VBB_BATCH_PAGES);
		if (!nr_pages)
			return VBB_DEVICE_NEXT;
		vb->counters.blocks_split += vbb_batch_deflate(batch, &vb->blocks, nr_pages);
	}
	vb->moving[batch->dir] += batch->blocks.nr_pages;
	vbb_tell_send(vb);
	/* after a batch that fell short the device's answer comes first, if there was any batch */
	return more ? 0 : msecs_to_jiffies(VBB_RETRY_MS);
}

static void vbb_balloon_work(struct work_struct *work)
{
	struct vbb_balloon *vb = container_of(to_delayed_work(work), struct vbb_balloon, work);
	u64 in_ns = ktime_get_ns(), out_ns;
	long delay = VBB_DEVICE_NEXT;
	bool idle;

	mutex_lock(&vb->lock);
	vbb_tell_reap(vb);
	if (!vb->broken) {
		vbb_target_read(vb);
		delay = vbb_balloon_step(vb);
	}
	idle = vb->head == vb->tail;
	if (idle || time_after(jiffies, vb->actual_jiffies + msecs_to_jiffies(VBB_ACTUAL_MS)))
		vbb_actual_write(vb);

	out_ns = ktime_get_ns();
	if (vb->batch.dir == VBB_INFLATE)
		vb->counters.inflate_ns += out_ns - in_ns;
	else
		vb->counters.deflate_ns += out_ns - in_ns;
	if (vb->out_ns)
		vb->counters.wait_ns += in_ns - vb->out_ns;
	vb->out_ns = idle ? 0 : out_ns;
	mutex_unlock(&vb->lock);

	if (delay != VBB_DEVICE_NEXT)
		vbb_balloon_queue(vb, delay);
}

static int vbb_balloon_validate(struct virtio_device *vdev)
{
	struct vbb_balloon *vb;

	if (!vdev->config->get) {
		dev_err(&vdev->dev, "no config space\n");
		return -EINVAL;
	}
	/* the codec's old format is that of virtio 1.0, little-endian */
	if (!virtio_is_little_endian(vdev)) {
		dev_err(&vdev->dev, "a legacy device of this byte order is not supported\n");
		return -EINVAL;
	}
	vb = devm_kzalloc(&vdev->dev, sizeof(*vb), GFP_KERNEL);
	if (!vb)
		return -ENOMEM;
	vdev->priv = vb;
	vb->vdev = vdev;
	/* before any is given up: virtio_uml knows afterwards only what was accepted */
	vb->offered = vdev->config->get_features(vdev);
	vdev->features = vbb_features_check(vdev->features);
	/* messages name guest physical pages, whatever addresses the queues use */
	__virtio_clear_bit(vdev, VIRTIO_F_ACCESS_PLATFORM);
	return 0;
}

/* In place of a feature: the queue is always there */
#define VBB_F_NONE 64

static const struct {
	const char *name;
	unsigned int feature;
	vq_callback_t *callback;
} vbb_vqs[VBB_NR_VQS] = {
	[VBB_VQ_INFLATE] = { "inflate", VBB_F_NONE, vbb_balloon_used },
	[VBB_VQ_DEFLATE] = { "deflate", VBB_F_NONE, vbb_balloon_used },
	[VBB_VQ_STATS] = { "stats", VIRTIO_BALLOON_F_STATS_VQ },
	[VBB_VQ_HINT] = { "free_page_vq", VIRTIO_BALLOON_F_FREE_PAGE_HINT },
	[VBB_VQ_REPORT] = { "reporting_vq", VIRTIO_BALLOON_F_REPORTING },
	[VBB_VQ_REQUEST] = { "host_request", VIRTIO_BALLOON_F_HOST_REQ_VQ },
};

/*
 * A queue's number depends on what the device offers, not on what is accepted of it: what is
 * offered is found, so that the next one gets its number, and has no callback where it is not used.
 */
static int vbb_balloon_find_vqs(struct vbb_balloon *vb)
{
	vq_callback_t *callbacks[VBB_NR_VQS] = { };
	const char *names[VBB_NR_VQS] = { };
	unsigned int i, feature;

	for (i = 0; i < VBB_NR_VQS; i++) {
		feature = vbb_vqs[i].feature;
		if (feature != VBB_F_NONE && !(vb->offered & BIT_ULL(feature)))
			continue;
		names[i] = vbb_vqs[i].name;
		if (feature == VBB_F_NONE || virtio_has_feature(vb->vdev, feature))
			callbacks[i] = vbb_vqs[i].callback;
	}
	return virtio_find_vqs(vb->vdev, VBB_NR_VQS, vb->vqs, callbacks, names, NULL);
}

/* Afterwards the device can reach nothing of ours. */
static void vbb_balloon_stop(struct vbb_balloon *vb)
{
	struct virtio_device *vdev = vb->vdev;
	unsigned int i;

	virtio_reset_device(vdev);
	for (i = 0; i < VBB_NR_VQS; i++)
		while (vb->vqs[i] && virtqueue_detach_unused_buf(vb->vqs[i]))
			;
	vdev->config->del_vqs(vdev);
}

/*
 * Let the device finish what it has begun, or give it up. A reset ends it as well, but not on every
 * transport: virtio_uml's device goes on until its queues are gone.
 */
static void vbb_balloon_drain(struct vbb_balloon *vb)
{
	unsigned long end = jiffies + msecs_to_jiffies(VBB_DRAIN_MS);

	for (;;) {
		vbb_tell_reap(vb);
		if (vb->broken || vb->head == vb->tail || time_after(jiffies, end))
			break;
		usleep_range(100, 1000);
	}
}

static int vbb_balloon_probe(struct virtio_device *vdev)
{
	struct vbb_balloon *vb = vdev->priv;
	int err;

	INIT_DELAYED_WORK(&vb->work, vbb_balloon_work);
	spin_lock_init(&vb->event_lock);
	mutex_init(&vb->lock);
	vbb_blocks_init(&vb->blocks);
	vb->config_changed = true;
	vb->actual_told = U32_MAX;

	/* deflating must go on where there is no memory for another thread */
	vb->wq = alloc_workqueue("vbb-%s", WQ_UNBOUND | WQ_FREEZABLE | WQ_MEM_RECLAIM, 1,
				 dev_name(&vdev->dev));
	if (!vb->wq)
		return -ENOMEM;
	err = vbb_batch_init(&vb->batch);
	if (err)
		goto free_wq;
	err = vbb_balloon_find_vqs(vb);
	if (err)
		goto free_batch;
	err = vbb_tell_init(vb, vbb_format_mask(vdev));
	if (err)
		goto stop;

	virtio_device_ready(vdev);
	vbb_counters_add(vb);
	vbb_balloon_queue(vb, 0);
	return 0;

stop:
	vbb_balloon_stop(vb);
	vbb_tell_exit(vb);
free_batch:
	vbb_batch_exit(&vb->batch);
free_wq:
	destroy_workqueue(vb->wq);
	return err;
}

static void vbb_balloon_remove(struct virtio_device *vdev)
{
	struct vbb_balloon *vb = vdev->priv;

	vbb_counters_remove(vb);
	spin_lock_irq(&vb->event_lock);
	WRITE_ONCE(vb->stopping, true);
	spin_unlock_irq(&vb->event_lock);
	cancel_delayed_work_sync(&vb->work);

	vbb_balloon_drain(vb);

	/* the field outlives the reset; the pages go back when the device cannot reach them */
	vb->actual = 0;
	vbb_actual_write(vb);

	vbb_balloon_stop(vb);
	vbb_blocks_free(&vb->blocks);
	vbb_tell_exit(vb);
	vbb_batch_exit(&vb->batch);
	destroy_workqueue(vb->wq);
}

static const struct virtio_device_id vbb_balloon_ids[] = {
	{ VIRTIO_ID_BALLOON, VIRTIO_DEV_ANY_ID },
	{ }
};
MODULE_DEVICE_TABLE(virtio, vbb_balloon_ids);

static const unsigned int vbb_balloon_features[] = {
	VIRTIO_BALLOON_F_PAGE_BITMAP,
	VIRTIO_BALLOON_F_PAGE_RECORDS,
};

static struct virtio_driver vbb_balloon_driver = {
	.driver.name = KBUILD_MODNAME,
	.driver.owner = THIS_MODULE,
	.id_table = vbb_balloon_ids,
	.feature_table = vbb_balloon_features,
	.feature_table_size = ARRAY_SIZE(vbb_balloon_features),
	.validate = vbb_balloon_validate,
	.probe = vbb_balloon_probe,
	.remove = vbb_balloon_remove,
	.config_changed = vbb_balloon_changed,
};

static int __init vbb_init(void)
{
	int err;

	/* not in validate: virtio_uml loses a feature of its own when they are written twice */
	if (vbb_format == VBB_FORMAT_PFNS)
		vbb_balloon_driver.feature_table_size = 0;
	vbb_counters_init();
	err = register_virtio_driver(&vbb_balloon_driver);
	if (err)
		vbb_counters_exit();
	return err;
}
module_init(vbb_init);

static void __exit vbb_exit(void)
{
	unregister_virtio_driver(&vbb_balloon_driver);
	vbb_counters_exit();
}
module_exit(vbb_exit);

MODULE_DESCRIPTION("Virtio balloon that names pages in bitmaps and records");
MODULE_LICENSE("GPL");
