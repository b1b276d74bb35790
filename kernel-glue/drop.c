// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Caches are dropped by the means that modules have. The page cache goes file by file, so that it
 * can end at any page and at any time, and the next drop finds what this one has left. For the
 * slabs there is only the administrator's switch, which knows neither limit nor end.
 */
#include <linux/err.h>
#include <linux/fs.h>
#include <linux/minmax.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/pagemap.h>
#include <linux/sched.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/vmstat.h>
#include <linux/xarray.h>

#include <virtio_balloon_bmap/wire.h>

#include "compat.h"
#include "requests.h"

/* Pages of a file looked at in one go; a power of two, no folio of the cache is larger */
#define VBB_DROP_PAGES BIT(MAX_PAGE_ORDER)

/* The names of all file systems that the kernel knows */
#define VBB_DROP_NAMES_LEN SZ_4K

static bool vbb_drop_goes_on(const struct vbb_drop *d)
{
	return d->nr_freed < d->limit && vbb_requests_serving(d->requests);
}

static void vbb_drop_file(struct vbb_drop *d, struct address_space *mapping)
{
	unsigned long last, before, after, index = 0;

	while (vbb_drop_goes_on(d) &&
	       xa_find(&mapping->i_pages, &index, ULONG_MAX, XA_PRESENT)) {
		last = index | (VBB_DROP_PAGES - 1);
		if (last - index >= d->limit - d->nr_freed)
			last = index + (d->limit - d->nr_freed) - 1;
		before = READ_ONCE(mapping->nrpages);
		/* what it returns counts shadows of pages as well */
		invalidate_mapping_pages(mapping, index, last);
		after = READ_ONCE(mapping->nrpages);
		d->nr_freed += before - min(before, after);
		if (last == ULONG_MAX)
			break;
		index = last + 1;
		cond_resched();
	}
}

/* A file that is held keeps its place in the list. */
static void vbb_drop_files(struct super_block *sb, void *arg)
{
	struct inode *inode, *held = NULL;
	struct vbb_drop *d = arg;

	if (sb->s_bdev)
		d->bdevs = vbb_bdev_super(sb->s_bdev);
	spin_lock(&sb->s_inode_list_lock);
	list_for_each_entry(inode, &sb->s_inodes, i_sb_list) {
		if (!vbb_drop_goes_on(d))
			break;
		if (mapping_empty(inode->i_mapping) && !need_resched())
			continue;
		if (READ_ONCE(inode->i_state) & I_NEW || !igrab(inode))
			continue;
		spin_unlock(&sb->s_inode_list_lock);
		vbb_drop_file(d, inode->i_mapping);
		iput(held);
		held = inode;
		cond_resched();
		spin_lock(&sb->s_inode_list_lock);
	}
	spin_unlock(&sb->s_inode_list_lock);
	iput(held);
}

static int vbb_drop_page_cache(struct vbb_drop *d)
{
	struct file_system_type *type;
	struct file *file;
	char *names, *name, *next;
	loff_t pos = 0;
	ssize_t len;

	file = filp_open("/proc/filesystems", O_RDONLY, 0);
	if (IS_ERR(file))
		return -EOPNOTSUPP;
	names = kmalloc(VBB_DROP_NAMES_LEN, GFP_KERNEL);
	len = names ? kernel_read(file, names, VBB_DROP_NAMES_LEN - 1, &pos) : -ENOMEM;
	filp_close(file, NULL);
	if (len > 0) {
		names[len] = '\0';
		for (next = names; (name = strsep(&next, "\n"));) {
			/* "nodev", or nothing, a tab, the name */
			name = strchr(name, '\t');
			type = name ? get_fs_type(name + 1) : NULL;
			if (!type)
				continue;
			iterate_supers_type(type, vbb_drop_files, d);
			module_put(type->owner);
		}
		/* that of block devices has no name there, and is never unmounted */
		if (d->bdevs)
			vbb_drop_files(d->bdevs, d);
	}
	kfree(names);
	return len > 0 ? 0 : -EOPNOTSUPP;
}

static u64 vbb_drop_nr_slab(void)
{
	return global_node_page_state_pages(NR_SLAB_RECLAIMABLE_B);
}

static int vbb_drop_slab(struct vbb_drop *d)
{
	u64 nr_pages = vbb_drop_nr_slab();
	struct file *file;
	loff_t pos = 0;
	ssize_t len;

	if (!vbb_drop_goes_on(d))
		return 0;
	if (nr_pages > d->limit - d->nr_freed)
		return -EOPNOTSUPP;
	file = filp_open("/proc/sys/vm/drop_caches", O_WRONLY, 0);
	if (IS_ERR(file))
		return -EOPNOTSUPP;
	len = kernel_write(file, "2", 1, &pos);
	filp_close(file, NULL);
	if (len != 1)
		return -EOPNOTSUPP;
	d->nr_freed += nr_pages - min(nr_pages, vbb_drop_nr_slab());
	return 0;
}

/**
 * vbb_drop() - drop caches
 * @d: what to drop, and how much of it at most; receives what was freed
 * @modes: VIRTIO_BALLOON_DROP_*
 *
 * Ends early when the request is not to be gone on with. Slabs stay where more could be freed of
 * them than the limit allows.
 *
 * Return: 0; -EOPNOTSUPP where nothing of what was asked for can be done.
 */
int vbb_drop(struct vbb_drop *d, u64 modes)
{
	bool done = !modes;

	d->nr_freed = 0;
	d->bdevs = NULL;
	if (modes & VIRTIO_BALLOON_DROP_PAGE_CACHE && !vbb_drop_page_cache(d))
		done = true;
	if (modes & VIRTIO_BALLOON_DROP_SLAB && !vbb_drop_slab(d))
		done = true;
	return done ? 0 : -EOPNOTSUPP;
}
