// SPDX-License-Identifier: GPL-2.0-or-later
/* What is negotiated, how a balloon starts and stops, and the worker that follows the target. */
#include <linux/delay.h>
#include <linux/ktime.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/poison.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/virtio_balloon.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ids.h>
#include <linux/virtio_ring.h>

#include <virtio_balloon_bmap/request.h>

#include "balloon.h"

/* How long the kernel is left in peace when it had nothing more to give */
#define VBB_RETRY_MS 200

/* How long who moved a page may need to let go of the old one */
#define VBB_SETTLE_MS 10

/* How often the device hears how far we are; when nothing is in flight it hears it at once */
#define VBB_ACTUAL_MS 250

/* How long a device that is to be left may work on what it has */
#define VBB_DRAIN_MS 1000

/* No delay: it is for the device to act */
#define VBB_DEVICE_NEXT (-1L)

enum vbb_format {
	VBB_FORMAT_AUTO,
	VBB_FORMAT_QUICK,
	VBB_FORMAT_BITMAP,
	VBB_FORMAT_RECORDS,
	VBB_FORMAT_PFNS,
};

static const char *const vbb_format_names[] = {
	[VBB_FORMAT_AUTO] = "auto",
	[VBB_FORMAT_QUICK] = "quick",
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
MODULE_PARM_DESC(format, "how to name pages, if the device can: auto (default), quick, bitmap, records, pfns");

static u32 vbb_format_mask(struct virtio_device *vdev)
{
	if (!__virtio_test_bit(vdev, VIRTIO_BALLOON_F_PAGE_BITMAP))
		return VBB_FMT_PFNS;
	if (vbb_format == VBB_FORMAT_BITMAP ||
	    !__virtio_test_bit(vdev, VIRTIO_BALLOON_F_PAGE_RECORDS))
		return VBB_FMT_BITMAP;
	if (vbb_format == VBB_FORMAT_RECORDS)
		return VBB_FMT_RECORDS;
	return vbb_format == VBB_FORMAT_QUICK ? VBB_FMT_QUICK : VBB_FMT_AUTO;
}

/**
 * vbb_balloon_queue() - start the worker, if it is not to start before that anyway
 * @vb: the balloon
 * @delay: jiffies till then
 */
void vbb_balloon_queue(struct vbb_balloon *vb, unsigned long delay)
{
	unsigned long flags;

	spin_lock_irqsave(&vb->event_lock, flags);
	if (!vb->stopping) {
		if (delay)
			queue_delayed_work(vb->wq, &vb->work, delay);
		else
			mod_delayed_work(vb->wq, &vb->work, 0);
	}
	spin_unlock_irqrestore(&vb->event_lock, flags);
}

/* Called in interrupts. */
static void vbb_balloon_used(struct virtqueue *vq)
{
	vbb_balloon_queue(vq->vdev->priv, 0);
}

/* Called in interrupts. */
static void vbb_balloon_changed(struct virtio_device *vdev)
{
	struct vbb_balloon *vb = vdev->priv;

	WRITE_ONCE(vb->config_changed, 1);
	vbb_balloon_queue(vb, 0);
	vbb_hint_changed(vb);
}

/*
 * The device may take its time to say what is in its configuration, or to take what is written to
 * it, so the lock is not held.
 */
static bool vbb_target_read(struct vbb_balloon *vb, unsigned long *target)
{
	u32 num_pages;

	if (vb->broken || !xchg(&vb->config_changed, 0))
		return false;
	virtio_cread_le(vb->vdev, struct virtio_balloon_config, num_pages, &num_pages);
	*target = DIV_ROUND_UP_ULL(num_pages, PAGE_SIZE >> VIRTIO_BALLOON_PFN_SHIFT);
	return true;
}

static void vbb_actual_write(struct vbb_balloon *vb, unsigned long nr_pages)
{
	u64 nr_frames = (u64)nr_pages << (PAGE_SHIFT - VIRTIO_BALLOON_PFN_SHIFT);
	u32 actual = min_t(u64, nr_frames, U32_MAX);

	if (vb->broken || actual == vb->actual_told)
		return;
	virtio_cwrite_le(vb->vdev, struct virtio_balloon_config, actual, &actual);
	vb->actual_told = actual;
	vb->actual_jiffies = jiffies;
}

static unsigned long vbb_balloon_held(const struct vbb_balloon *vb)
{
	return vb->actual + vb->moving[VBB_INFLATE] - vb->moving[VBB_DEFLATE];
}

/* Take blocks from the kernel, without the lock. Returns false where it had not enough. */
static bool vbb_balloon_inflate(struct vbb_balloon *vb, unsigned long nr_pages)
{
	struct vbb_batch *batch = &vb->batch;
	bool enough;

	mutex_unlock(&vb->lock);
	vbb_hint_yield(vb, nr_pages - min(nr_pages, vbb_pages_spare()));
	enough = vbb_batch_inflate(batch, nr_pages, &vb->stopping);
	mutex_lock(&vb->lock);
	vb->counters.blocks_taken += batch->nr;
	vb->counters.out_of_memory += !enough;
	if (vbb_balloon_held(vb) >= vb->target) {
		/* the guest ran out of memory meanwhile */
		vbb_blocks_free(&batch->blocks);
		batch->nr = 0;
	}
	return enough;
}

/* Take blocks from the balloon. Returns false where the kernel has its hands on what there is. */
static bool vbb_balloon_deflate(struct vbb_balloon *vb, unsigned long nr_pages)
{
	/* single pages for what the larger blocks cannot give, and lest one of these is split */
	unsigned long nr_singles = max(nr_pages - min(nr_pages, vb->blocks.nr_pages),
				       (1UL << (VBB_NR_ORDERS - 1)) - 1);

	vbb_move_pull(vb, min3(nr_singles, nr_pages, (unsigned long)VBB_BATCH_BLOCKS));
	vb->counters.blocks_split += vbb_batch_deflate(&vb->batch, &vb->blocks, nr_pages);
	vbb_move_push(vb);
	if (!vb->moving[VBB_DEFLATE])
		vb->deflate_jiffies = jiffies;
	return vb->batch.nr;
}

/*
 * One batch towards the target. The lock is dropped while the kernel looks for pages, for that can
 * take long. Returns after how many jiffies to go on, or VBB_DEVICE_NEXT.
 */
static long vbb_balloon_step(struct vbb_balloon *vb)
{
	unsigned long held, nr_pages;
	bool more;

	if (!vbb_tell_send(vb))
		return VBB_DEVICE_NEXT;

	held = vbb_balloon_held(vb);
	if (held < vb->target) {
		nr_pages = min(vb->target - held, (unsigned long)VBB_BATCH_PAGES);
		if (nr_pages > VBB_UNTOLD_MAX - min(vb->moving[VBB_INFLATE], VBB_UNTOLD_MAX))
			return VBB_DEVICE_NEXT;
		more = vbb_balloon_inflate(vb, nr_pages);
	} else {
		nr_pages = min3(held - vb->target, vb->blocks.nr_pages + vb->nr_singles,
				(unsigned long)VBB_BATCH_PAGES);
		if (!nr_pages)
			return VBB_DEVICE_NEXT;
		more = vbb_balloon_deflate(vb, nr_pages);
	}
	vb->moving[vb->batch.dir] += vb->batch.blocks.nr_pages;
	vbb_tell_send(vb);
	/* after a batch that fell short the device's answer comes first, if there was any batch */
	return more ? 0 : msecs_to_jiffies(VBB_RETRY_MS);
}

static void vbb_balloon_work(struct work_struct *work)
{
	struct vbb_balloon *vb = container_of(to_delayed_work(work), struct vbb_balloon, work);
	long delay = VBB_DEVICE_NEXT, settle = VBB_DEVICE_NEXT;
	unsigned long target, actual;
	u64 in_ns = ktime_get_ns(), out_ns;
	bool changed, idle;

	changed = vbb_target_read(vb, &target);
	mutex_lock(&vb->lock);
	if (changed)
		vb->target = target;
	vbb_tell_reap(vb);
	if (!vb->broken) {
		if (!vbb_move_settle(vb))
			settle = msecs_to_jiffies(VBB_SETTLE_MS);
		delay = vbb_balloon_step(vb);
	}
	idle = vb->head == vb->tail;
	actual = vb->actual;

	out_ns = ktime_get_ns();
	if (vb->batch.dir == VBB_INFLATE)
		vb->counters.inflate_ns += out_ns - in_ns;
	else
		vb->counters.deflate_ns += out_ns - in_ns;
	if (vb->out_ns)
		vb->counters.wait_ns += in_ns - vb->out_ns;
	vb->out_ns = idle ? 0 : out_ns;
	mutex_unlock(&vb->lock);

	if (idle || time_after(jiffies, vb->actual_jiffies + msecs_to_jiffies(VBB_ACTUAL_MS)))
		vbb_actual_write(vb, actual);
	if (settle != VBB_DEVICE_NEXT && (delay == VBB_DEVICE_NEXT || delay > settle))
		delay = settle;
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
	/* a device that does not know what is in free pages may return them with something else */
	if (vbb_free_pages_matter() && !__virtio_test_bit(vdev, VIRTIO_BALLOON_F_PAGE_POISON)) {
		__virtio_clear_bit(vdev, VIRTIO_BALLOON_F_FREE_PAGE_HINT);
		__virtio_clear_bit(vdev, VIRTIO_BALLOON_F_REPORTING);
	}
	/* what is sent has one or two descriptors: no memory is spent on a table for them */
	__virtio_clear_bit(vdev, VIRTIO_RING_F_INDIRECT_DESC);
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
	[VBB_VQ_STATS] = { "stats", VIRTIO_BALLOON_F_STATS_VQ, vbb_stats_used },
	[VBB_VQ_HINT] = { "free_page_vq", VIRTIO_BALLOON_F_FREE_PAGE_HINT, vbb_hint_used },
	[VBB_VQ_REPORT] = { "reporting_vq", VIRTIO_BALLOON_F_REPORTING, vbb_report_used },
	[VBB_VQ_REQUEST] = { "host_request", VIRTIO_BALLOON_F_HOST_REQ_VQ,
			     vbb_requests_used },
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

	static_assert(VBB_NR_VQS <= VBB_FIND_VQS_MAX);
	for (i = 0; i < VBB_NR_VQS; i++) {
		feature = vbb_vqs[i].feature;
		if (feature != VBB_F_NONE && !(vb->offered & BIT_ULL(feature)))
			continue;
		names[i] = vbb_vqs[i].name;
		if (feature == VBB_F_NONE || __virtio_test_bit(vb->vdev, feature))
			callbacks[i] = vbb_vqs[i].callback;
	}
	return vbb_find_vqs(vb->vdev, VBB_NR_VQS, vb->vqs, callbacks, names);
}

/*
 * Let the device finish what it has begun, or give it up. A reset ends it as well, but not on every
 * transport: virtio_uml's device goes on until its queues are gone.
 */
static void vbb_balloon_drain(struct vbb_balloon *vb)
{
	unsigned long end = jiffies + msecs_to_jiffies(VBB_DRAIN_MS);

	for (;;) {
		mutex_lock(&vb->lock);
		vbb_tell_reap(vb);
		mutex_unlock(&vb->lock);
		if (vb->broken || (vb->head == vb->tail && vbb_report_idle(vb)) ||
		    time_after(jiffies, end))
			break;
		usleep_range(100, 1000);
	}
}

/* Take the device away from all that uses it, then give back all that it had. */
static void vbb_balloon_reset(struct vbb_balloon *vb)
{
	struct virtio_device *vdev = vb->vdev;
	unsigned int i;

	vbb_report_stop(vb);
	virtio_reset_device(vdev);
	for (i = 0; i < VBB_NR_VQS; i++)
		while (vb->vqs[i] && virtqueue_detach_unused_buf(vb->vqs[i]))
			;
	vdev->config->del_vqs(vdev);

	/* the device can reach nothing of ours any more */
	vbb_report_exit(vb);
	vbb_hint_exit(vb);
	vbb_stats_exit(vb);
	vbb_move_exit(vb);
	vbb_blocks_free(&vb->blocks);
	vbb_tell_exit(vb);
	vb->actual = 0;
	vb->moving[VBB_INFLATE] = 0;
	vb->moving[VBB_DEFLATE] = 0;
}

static void vbb_batches_exit(struct vbb_balloon *vb)
{
	vbb_batch_exit(&vb->batch);
	vbb_batch_exit(&vb->late);
	vbb_batch_exit(&vb->moved);
}

static int vbb_batches_init(struct vbb_balloon *vb)
{
	bool managed = vb->blocks.managed;
	int err;

	/* each of them, so that each can be ended */
	err = vbb_batch_init(&vb->batch, VBB_INFLATE, VBB_BATCH_BLOCKS, managed);
	err = vbb_batch_init(&vb->late, VBB_DEFLATE, VBB_LATE_BLOCKS, managed) ?: err;
	return vbb_batch_init(&vb->moved, VBB_INFLATE, VBB_MOVED_BLOCKS, managed) ?: err;
}

static void vbb_poison_write(struct vbb_balloon *vb)
{
	u32 val = want_init_on_free() ? 0 : PAGE_POISON * 0x01010101U;

	if (__virtio_test_bit(vb->vdev, VIRTIO_BALLOON_F_PAGE_POISON))
		virtio_cwrite_le(vb->vdev, struct virtio_balloon_config, poison_val, &val);
}

/* The device was just found, or comes back from suspension. */
static int vbb_balloon_start(struct vbb_balloon *vb)
{
	struct virtio_device *vdev = vb->vdev;
	int err;

	vb->config_changed = 1;
	vb->actual_told = U32_MAX;
	vb->broken = false;
	vb->head = 0;
	vb->tail = 0;
	vb->nr_late = 0;
	vb->out_ns = 0;
	vbb_move_init(vb);
	err = vbb_batches_init(vb);
	if (err)
		goto exit;
	err = vbb_balloon_find_vqs(vb);
	if (err)
		goto exit;
	vbb_report_start(vb);
	err = vbb_hint_start(vb) ?: vbb_stats_start(vb) ?:
	      vbb_tell_init(vb, vbb_format_mask(vdev)) ?: vbb_requests_start(vb) ?:
	      vbb_oom_ready(vb);
	if (err)
		goto reset;
	vbb_poison_write(vb);
	spin_lock_irq(&vb->event_lock);
	vb->stopping = false;
	spin_unlock_irq(&vb->event_lock);

	virtio_device_ready(vdev);
	vbb_stats_ready(vb);
	vbb_hint_ready(vb);
	vbb_report_ready(vb);
	vbb_requests_ready(vb);
	vbb_balloon_queue(vb, 0);
	return 0;

reset:
	vbb_balloon_reset(vb);
exit:
	vbb_batches_exit(vb);
	return err;
}

/* The device is about to go. Afterwards the guest has all that was in the balloon. */
static void vbb_balloon_stop(struct vbb_balloon *vb)
{
	if (vb->stopping)
		return;
	vbb_oom_stop(vb);
	vbb_requests_stop(vb);
	/* who is moving a page has the lock, and sees it afterwards */
	mutex_lock(&vb->lock);
	spin_lock_irq(&vb->event_lock);
	WRITE_ONCE(vb->stopping, true);
	spin_unlock_irq(&vb->event_lock);
	mutex_unlock(&vb->lock);
	cancel_delayed_work_sync(&vb->work);
	vbb_stats_stop(vb);
	vbb_hint_stop(vb);
	vbb_balloon_drain(vb);

	/* the field outlives the reset; the pages go back when the device cannot reach them */
	vbb_actual_write(vb, 0);
	vbb_balloon_reset(vb);
	vbb_batches_exit(vb);
}

static int vbb_balloon_probe(struct virtio_device *vdev)
{
	struct vbb_balloon *vb = vdev->priv;
	int err;

	INIT_DELAYED_WORK(&vb->work, vbb_balloon_work);
	spin_lock_init(&vb->event_lock);
	mutex_init(&vb->lock);
	vb->stopping = true;
	vb->must_tell = __virtio_test_bit(vdev, VIRTIO_BALLOON_F_MUST_TELL_HOST);
	/* what the guest gets when it is in need counts among its memory */
	vbb_blocks_init(&vb->blocks, __virtio_test_bit(vdev, VIRTIO_BALLOON_F_DEFLATE_ON_OOM));

	/* deflating must go on where there is no memory for another thread */
	vb->wq = alloc_workqueue("vbb-%s", WQ_UNBOUND | WQ_FREEZABLE | WQ_MEM_RECLAIM, 1,
				 dev_name(&vdev->dev));
	if (!vb->wq)
		return -ENOMEM;
	err = vbb_requests_init(vb, vbb_format_mask(vdev));
	if (err)
		goto free_wq;
	err = vbb_balloon_start(vb);
	if (err)
		goto free_requests;
	vbb_counters_add(vb);
	return 0;

free_requests:
	vbb_requests_exit(vb);
free_wq:
	destroy_workqueue(vb->wq);
	return err;
}

static void vbb_balloon_remove(struct virtio_device *vdev)
{
	struct vbb_balloon *vb = vdev->priv;

	vbb_counters_remove(vb);
	vbb_balloon_stop(vb);
	vbb_requests_exit(vb);
	destroy_workqueue(vb->wq);
}

#ifdef CONFIG_PM_SLEEP
static int vbb_balloon_freeze(struct virtio_device *vdev)
{
	vbb_balloon_stop(vdev->priv);
	return 0;
}

static int vbb_balloon_restore(struct virtio_device *vdev)
{
	return vbb_balloon_start(vdev->priv);
}
#endif

static const struct virtio_device_id vbb_balloon_ids[] = {
	{ VIRTIO_ID_BALLOON, VIRTIO_DEV_ANY_ID },
	{ }
};
MODULE_DEVICE_TABLE(virtio, vbb_balloon_ids);

static const unsigned int vbb_features_all[] = {
	VIRTIO_BALLOON_F_MUST_TELL_HOST,
	VIRTIO_BALLOON_F_STATS_VQ,
	VIRTIO_BALLOON_F_DEFLATE_ON_OOM,
	VIRTIO_BALLOON_F_FREE_PAGE_HINT,
	VIRTIO_BALLOON_F_PAGE_POISON,
	VIRTIO_BALLOON_F_REPORTING,
	VIRTIO_BALLOON_F_PAGE_BITMAP,
	VIRTIO_BALLOON_F_HOST_REQ_VQ,
	VIRTIO_BALLOON_F_PAGE_RECORDS,
};

static unsigned int vbb_features[ARRAY_SIZE(vbb_features_all)];

static struct virtio_driver vbb_balloon_driver = {
	.driver.name = KBUILD_MODNAME,
	.driver.owner = THIS_MODULE,
	.id_table = vbb_balloon_ids,
	.feature_table = vbb_features,
	.validate = vbb_balloon_validate,
	.probe = vbb_balloon_probe,
	.remove = vbb_balloon_remove,
	.config_changed = vbb_balloon_changed,
#ifdef CONFIG_PM_SLEEP
	.freeze = vbb_balloon_freeze,
	.restore = vbb_balloon_restore,
#endif
};

/*
 * What we never want is left out here and not in validate: virtio_uml loses a feature of its own
 * when they are written twice.
 */
static unsigned int vbb_features_init(void)
{
	unsigned int i, nr = 0, feature;

	for (i = 0; i < ARRAY_SIZE(vbb_features_all); i++) {
		feature = vbb_features_all[i];
		if (feature == VIRTIO_BALLOON_F_PAGE_POISON && !vbb_free_pages_matter())
			continue;
		if (feature > VIRTIO_BALLOON_F_REPORTING && vbb_format == VBB_FORMAT_PFNS)
			continue;
		vbb_features[nr++] = feature;
	}
	return nr;
}

static int __init vbb_init(void)
{
	int err;

	vbb_balloon_driver.feature_table_size = vbb_features_init();
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
