/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause */
/* Between the tests that every transport passes and the transports that are put to them. */
#ifndef TEST_TRANSPORT_H
#define TEST_TRANSPORT_H

#include <virtio_balloon_bmap/transport.h>

#define NR_QUEUES 2
#define MAX_SEGS 1024			/* in a message; one more is refused */
#define TEST_MEM_LEN ((size_t)2 << 20)	/* bytes of a pair's memory, at least */
#define TEST_MAX_KINDS 32

struct kind;

/* Two ends */
struct pair {
	const struct kind *kind;
	struct vbb_transport *drv, *dev;
	vbb_u8 *mem;		/* what may be lent */
	size_t mem_len;
	void *own;		/* the kind's */
};

struct kind {
	const char *name;
	void (*make)(struct pair *p);
	void (*destroy)(struct pair *p);
	void (*close_drv)(struct pair *p);
	void (*close_dev)(struct pair *p);
	void (*flush)(struct pair *p);	/* all is sent, now the device can take it; or NULL */
	bool duplex;			/* the device's end can send, too */
	bool one_way;			/* nothing comes back to the sender */
	bool deaf;			/* no signal ends a wait */
	bool shared_room;		/* one queue's messages take another one's room */
	int toosmall;			/* what recv() says to an array that is too small */
};

extern const struct kind test_kinds[];
extern const size_t test_nr_kinds;

#endif
