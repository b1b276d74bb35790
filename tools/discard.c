// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause
#include "discard.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>

enum vbb_discard_how vbb_discard_how(int fd, bool shared)
{
	if (!shared)
		return VBB_DISCARD_DONTNEED;
	return fd >= 0 ? VBB_DISCARD_PUNCH : VBB_DISCARD_REMOVE;
}

static int discard_once(const struct vbb_backing *b, uint64_t off, uint64_t len)
{
	if (b->how == VBB_DISCARD_PUNCH)
		return fallocate(b->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
				 (off_t)(b->fd_off + off), (off_t)len);
	return madvise(b->base + off, (size_t)len,
		       b->how == VBB_DISCARD_REMOVE ? MADV_REMOVE : MADV_DONTNEED);
}

int vbb_discard(const struct vbb_backing *b, uint64_t off, uint64_t len)
{
	int err;

	do {
		err = discard_once(b, off, len) ? -errno : 0;
	} while (err == -EINTR);
	return err;
}
