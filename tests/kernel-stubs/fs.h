/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause */
/* File systems with cached files, slabs, and what /proc says of them. All is empty at first. */
#ifndef VBB_STUB_FS_H
#define VBB_STUB_FS_H

#include "stub.h"

#define NR_FILES 6
#define FILE_PAGES 3000
#define I_FREEING 32

enum page_state {
	NONE,
	CLEAN,
	DIRTY,		/* or in use: it stays */
	SHADOW,		/* of a page that was there: no page, but an entry */
	NR_PAGE_STATES,
};

struct fs_file {
	struct inode inode;
	struct address_space mapping;
	u8 page[FILE_PAGES];
	int nr_held;
};

extern struct fs_file fs_files[NR_FILES];
/* On a disk, in memory, and of block devices, which no type of file system has */
extern struct super_block fs_disk, fs_tmp, fs_bdevs;
extern const char *fs_names;			/* /proc/filesystems; NULL: no such file */
extern bool fs_no_slab, fs_slab_fails;		/* /proc/sys/vm/drop_caches */
extern unsigned long fs_nr_slab, fs_nr_slab_kept;	/* pages, and those that stay */
extern int fs_nr_held;				/* types, and files of /proc, that somebody has */

/* Files on each, of pages in any state, and slabs */
void fs_init(u64 seed);

#endif
