/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What changed from Linux 6.1 to 6.12; all else is the same for both. */
#ifndef VBB_COMPAT_H
#define VBB_COMPAT_H

#include <linux/blk_types.h>
#include <linux/err.h>
#include <linux/fs.h>
#include <linux/gfp.h>
#include <linux/kernel.h>
#include <linux/mm.h>
#include <linux/mmzone.h>
#include <linux/shrinker.h>
#include <linux/version.h>
#include <linux/virtio_config.h>

/* 6.8 named the orders anew; MAX_ORDER was their number, and from 6.4 on the largest of them */
#ifndef NR_PAGE_ORDERS
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 4, 0)
#define MAX_PAGE_ORDER (MAX_ORDER - 1)
#else
#define MAX_PAGE_ORDER MAX_ORDER
#endif
#define NR_PAGE_ORDERS (MAX_PAGE_ORDER + 1)
#endif

/*
 * Take one certain page, which is free; __free_page() gives it back. Nothing is reclaimed, and the
 * page need not stay free. Memory's type is no longer said where there are ACR_FLAGS.
 */
static inline int vbb_alloc_contig_page(const struct page *page)
{
#ifdef CONFIG_CONTIG_ALLOC
	const unsigned long pfn = page_to_pfn(page);
#ifdef ACR_FLAGS_NONE
	return alloc_contig_range(pfn, pfn + 1, ACR_FLAGS_NONE, __GFP_NOWARN);
#else
	return alloc_contig_range(pfn, pfn + 1, MIGRATE_MOVABLE, __GFP_NOWARN);
#endif
#else
	return -EOPNOTSUPP;
#endif
}

/* 6.10: a block device's inode is found by its mapping. All of them are in one file system. */
static inline struct super_block *vbb_bdev_super(struct block_device *bdev)
{
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 10, 0)
	return bdev->bd_inode->i_sb;
#else
	return bdev->bd_mapping->host->i_sb;
#endif
}

/* 6.7: the kernel allocates shrinkers */
struct vbb_shrinker {
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 7, 0)
	struct shrinker own;
#else
	struct shrinker *own;
#endif
};

typedef unsigned long vbb_shrinker_fn(struct shrinker *shrinker, struct shrink_control *sc);

#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 7, 0)

static inline int vbb_shrinker_start(struct vbb_shrinker *s, vbb_shrinker_fn *count,
				     vbb_shrinker_fn *scan, struct device *dev)
{
	s->own.count_objects = count;
	s->own.scan_objects = scan;
	s->own.seeks = DEFAULT_SEEKS;
	return register_shrinker(&s->own, "vbb-hint:%s", dev_name(dev));
}

static inline void vbb_shrinker_stop(struct vbb_shrinker *s)
{
	unregister_shrinker(&s->own);
}

static inline struct vbb_shrinker *vbb_shrinker_of(struct shrinker *shrinker)
{
	return container_of(shrinker, struct vbb_shrinker, own);
}

#else

static inline int vbb_shrinker_start(struct vbb_shrinker *s, vbb_shrinker_fn *count,
				     vbb_shrinker_fn *scan, struct device *dev)
{
	s->own = shrinker_alloc(0, "vbb-hint:%s", dev_name(dev));
	if (!s->own)
		return -ENOMEM;
	s->own->count_objects = count;
	s->own->scan_objects = scan;
	s->own->private_data = s;
	shrinker_register(s->own);
	return 0;
}

static inline void vbb_shrinker_stop(struct vbb_shrinker *s)
{
	shrinker_free(s->own);
}

static inline struct vbb_shrinker *vbb_shrinker_of(struct shrinker *shrinker)
{
	return shrinker->private_data;
}

#endif

#define VBB_FIND_VQS_MAX 8

/* 6.11 made one array of the queues' names and callbacks; @nr_vqs: at most VBB_FIND_VQS_MAX */
static inline int vbb_find_vqs(struct virtio_device *vdev, unsigned int nr_vqs,
			       struct virtqueue **vqs, vq_callback_t **callbacks,
			       const char **names)
{
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 11, 0)
	return virtio_find_vqs(vdev, nr_vqs, vqs, callbacks, names, NULL);
#else
	struct virtqueue_info info[VBB_FIND_VQS_MAX] = { };
	struct virtqueue *found[VBB_FIND_VQS_MAX];
	unsigned int i, nr = 0;
	int err;

	/* without gaps: with one before a queue, 6.12 oopses when that queue goes */
	for (i = 0; i < nr_vqs; i++) {
		if (!names[i])
			continue;
		info[nr].name = names[i];
		info[nr++].callback = callbacks[i];
	}
	err = virtio_find_vqs(vdev, nr, found, info, NULL);
	if (err)
		return err;
	for (i = 0, nr = 0; i < nr_vqs; i++)
		vqs[i] = names[i] ? found[nr++] : NULL;
	return 0;
#endif
}

#endif
