/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause */
/* The device's side of a balloon's two queues: it knows what is in the balloon, as it was told. */
#ifndef VBB_STUB_DEVICE_H
#define VBB_STUB_DEVICE_H

#include "balloon.h"
#include "queue.h"

/* Of the old format, in a page */
#define FRAMES (1u << (PAGE_SHIFT - VIRTIO_BALLOON_PAGE_SHIFT_MIN))
#define NR_HELD 4

/* A message that the device has */
struct held {
	enum vbb_dir dir;
	struct vbb_seg seg[2];
	struct vbb_chain chain;
	struct vbb_result result;
};

extern struct held held[NR_HELD];
extern unsigned int nr_held;
extern u8 frames[STUB_NR_PAGES];	/* of each page, that the device has in the balloon */
extern u64 nr_bytes, nr_said[VBB_NR_DIRS];

/* A device that was told nothing; with no @vb it does nothing, too. */
void device_init(const struct vbb_balloon *vb);
/* Take a message, if there is one and a place for it. */
bool device_take(enum vbb_dir dir);
/* Give one back, whichever. Returns false where there is none of that number. */
bool device_done(size_t idx);
/* What the driver has put into the queues so far, whatever it is. Returns whether there was any. */
bool device_works(void);

#endif
