// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause
/* See fs.h. */
#include "test.h"

#include "fs.h"

struct fs_file fs_files[NR_FILES];
struct super_block fs_disk, fs_tmp, fs_bdevs;
const char *fs_names;
bool fs_no_slab, fs_slab_fails;
unsigned long fs_nr_slab, fs_nr_slab_kept;
int fs_nr_held;

static struct inode fs_bdev_inode;
static struct block_device fs_bdev;
static struct file_system_type fs_types[2];

/* --- File systems, of which each file has pages */

static struct fs_file *fs_file(struct address_space *mapping)
{
	return container_of(mapping, struct fs_file, mapping);
}

bool mapping_empty(struct address_space *mapping)
{
	unsigned long index = 0;

	return !xa_find(&mapping->i_pages, &index, ULONG_MAX, XA_PRESENT);
}

void *xa_find(struct xarray *xa, unsigned long *index, unsigned long last, unsigned int filter)
{
	struct fs_file *file = fs_file(container_of(xa, struct address_space, i_pages));
	unsigned long i;

	for (i = *index; i < FILE_PAGES && i <= last; i++) {
		if (file->page[i] == NONE)
			continue;
		*index = i;
		return &file->page[i];
	}
	return NULL;
}

unsigned long invalidate_mapping_pages(struct address_space *mapping, unsigned long start,
				       unsigned long end)
{
	struct fs_file *file = fs_file(mapping);
	unsigned long i, nr = 0;

	/* who holds no reference may find the file gone */
	assert_true(file->nr_held > 0);
	for (i = start; i < FILE_PAGES && i <= end; i++) {
		if (file->page[i] != CLEAN && file->page[i] != SHADOW)
			continue;
		mapping->nrpages -= file->page[i] == CLEAN;
		file->page[i] = NONE;
		nr++;
	}
	return nr;
}

struct inode *igrab(struct inode *inode)
{
	assert_true(inode->i_sb->s_inode_list_lock.held);
	if (inode->i_state & I_FREEING)
		return NULL;
	container_of(inode, struct fs_file, inode)->nr_held++;
	return inode;
}

/* It may sleep. */
void iput(struct inode *inode)
{
	if (!inode)
		return;
	assert_false(inode->i_sb->s_inode_list_lock.held);
	assert_true(container_of(inode, struct fs_file, inode)->nr_held-- > 0);
}

struct file_system_type *get_fs_type(const char *name)
{
	fs_nr_held += !strcmp(name, "disk") || !strcmp(name, "tmp");
	return !strcmp(name, "disk") ? &fs_types[0] : !strcmp(name, "tmp") ? &fs_types[1] : NULL;
}

void module_put(struct module *module)
{
	fs_nr_held--;
}

void iterate_supers_type(struct file_system_type *type, void (*fn)(struct super_block *, void *),
			 void *arg)
{
	fn(type == &fs_types[0] ? &fs_disk : &fs_tmp, arg);
}

/* --- /proc: two files, one open at a time, of which any may not be there, or fail */

struct file {
	const char *name;
	int flags;
};

static struct file fs_opened;

struct file *filp_open(const char *name, int flags, unsigned short mode)
{
	bool there = false;

	if (!strcmp(name, "/proc/filesystems"))
		there = fs_names;
	else if (!strcmp(name, "/proc/sys/vm/drop_caches"))
		there = !fs_no_slab;
	if (!there)
		return ERR_PTR(-ENOENT);
	fs_nr_held++;
	fs_opened = (struct file){ name, flags };
	return &fs_opened;
}

int filp_close(struct file *file, void *id)
{
	fs_nr_held--;
	return 0;
}

ssize_t kernel_read(struct file *file, void *buf, size_t len, loff_t *pos)
{
	assert_int_equal(file->flags, O_RDONLY);
	len = min(len, strlen(fs_names));
	memcpy(buf, fs_names, len);
	*pos += (loff_t)len;
	return (ssize_t)len;
}

ssize_t kernel_write(struct file *file, const void *buf, size_t len, loff_t *pos)
{
	assert_int_equal(file->flags, O_WRONLY);
	assert_int_equal(len, 1);
	/* not the page cache as well, for which it knows no limit */
	assert_int_equal(*(const char *)buf, '2');
	if (fs_slab_fails)
		return -EINTR;
	fs_nr_slab = min(fs_nr_slab, fs_nr_slab_kept);
	stub_states[NR_SLAB_RECLAIMABLE_B] = fs_nr_slab;
	return 1;
}

/* --- All of it */

static void fs_file_init(struct fs_file *file, struct super_block *sb, uint64_t *seed)
{
	size_t i;

	memset(file, 0, sizeof(*file));
	file->inode.i_sb = sb;
	file->inode.i_mapping = &file->mapping;
	list_add(&file->inode.i_sb_list, &sb->s_inodes);
	for (i = 0; i < FILE_PAGES; i++) {
		file->page[i] = (u8)test_below(seed, NR_PAGE_STATES);
		file->mapping.nrpages += file->page[i] == CLEAN || file->page[i] == DIRTY;
	}
}

void fs_init(u64 seed)
{
	struct super_block *sb[] = { &fs_disk, &fs_tmp, &fs_bdevs };
	uint64_t s = seed;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(sb); i++) {
		memset(sb[i], 0, sizeof(*sb[i]));
		INIT_LIST_HEAD(&sb[i]->s_inodes);
	}
	for (i = 0; i < NR_FILES; i++)
		fs_file_init(&fs_files[i], sb[i % ARRAY_SIZE(sb)], &s);
	fs_bdev_inode.i_sb = &fs_bdevs;
	fs_bdev.bd_inode = &fs_bdev_inode;
	fs_disk.s_bdev = &fs_bdev;
	fs_names = "nodev\tsysfs\nnodev\ttmp\n\tdisk\n";
	fs_no_slab = false;
	fs_slab_fails = false;
	fs_nr_slab = 500;
	fs_nr_slab_kept = 100;
	fs_nr_held = 0;
	stub_states[NR_SLAB_RECLAIMABLE_B] = fs_nr_slab;
}
