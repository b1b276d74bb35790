/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause */
/* How the host gets memory back, by what backs it. */
#ifndef VBB_TOOLS_DISCARD_H
#define VBB_TOOLS_DISCARD_H

#include <stdbool.h>
#include <stdint.h>

enum vbb_discard_how {
	VBB_DISCARD_PUNCH,	/* a file, a memfd, hugetlbfs, mapped shared: a hole in the file */
	VBB_DISCARD_REMOVE,	/* shared, and no descriptor at hand: MADV_REMOVE */
	VBB_DISCARD_DONTNEED,	/* private to this process: MADV_DONTNEED */
};

/**
 * struct vbb_backing - a piece of memory and what backs it
 */
struct vbb_backing {
	enum vbb_discard_how how;
	uint8_t *base;		/* where it is mapped; the caller's */
	int fd;			/* its file, or -1; the caller's */
	uint64_t fd_off;	/* where base lies in the file, bytes */
};

/**
 * vbb_discard_how() - what gives such memory back
 * @fd: its file, or -1
 * @shared: mapped MAP_SHARED
 *
 * Return: the way.
 */
enum vbb_discard_how vbb_discard_how(int fd, bool shared);

/**
 * vbb_discard() - drop memory; it reads as zeroes afterwards
 * @b: the memory
 * @off: first byte from its base, a multiple of the host page
 * @len: bytes, a multiple of the host page
 *
 * Return: 0, or -errno; -EOPNOTSUPP where what backs it cannot give memory back.
 */
int vbb_discard(const struct vbb_backing *b, uint64_t off, uint64_t len);

#endif
