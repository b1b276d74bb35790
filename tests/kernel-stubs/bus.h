/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause */
/*
 * A virtio bus, and on it a balloon that the whole driver drives. What the device does on its
 * queues is device.h's affair for inflate and deflate, and the test's for the others.
 */
#ifndef VBB_STUB_BUS_H
#define VBB_STUB_BUS_H

#include "device.h"

/* What a device offers that knows messages in the formats of docs/spec.md */
#define BUS_FORMATS (BIT_ULL(VIRTIO_F_VERSION_1) | BIT_ULL(VIRTIO_BALLOON_F_PAGE_BITMAP) | \
		     BIT_ULL(VIRTIO_BALLOON_F_PAGE_RECORDS))

extern struct virtio_device vdev;
extern struct vbb_balloon *vb;			/* the driver's, once it has one */
extern struct virtio_balloon_config config;

extern u32 bus_num;				/* entries of each queue */
extern int bus_register_err, bus_find_err;	/* what ends with them; or 0 */
extern unsigned int bus_nr_written;		/* times that actual was written */
extern const char *bus_names[VBB_NR_VQS];	/* of the device's queues, by their number */

/* As the kernel does it, with a device that offers these features. All pages are free before. */
int bus_probe(u64 offered);
/* Whatever is where, the guest has all its memory afterwards. */
void bus_remove(void);
int bus_freeze(void);
int bus_restore(void);

/* The device says that its configuration changed. */
void bus_changed(void);
/* The device gave something back. */
void bus_used(enum vbb_vq nr);
/* All work that is to be done at once, with no device that does anything */
void bus_work(void);
/* The host has a target, and device and driver work until nothing is to be done at once. */
void bus_target(unsigned long nr_pages);
void bus_settle(void);
/* Every page is in one place only, and the device's opinion of it is not ahead of ours. */
void bus_check(void);

static inline struct stub_queue *bus_queue(enum vbb_vq nr)
{
	return stub_queue(vb->vqs[nr]);
}

#endif
