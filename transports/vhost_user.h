/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause */
/*
 * The device's side of vhost-user: a front-end (QEMU, a kernel in user mode) hands over the guest's
 * memory and its virtqueues by messages on a Unix socket. One object serves one front-end at a
 * time, one after the other. It allocates no memory, starts no thread and blocks in wait() only.
 *
 * It is a transport whose end is the device's: recv(), done(), kick() and wait(). A main loop polls
 * vbb_vhu_fd() for reading and calls vbb_vhu_dispatch().
 *
 * Nothing that a guest sends, and no request of a front-end, can do more than end the connection. A
 * front-end that cuts its file short under the mapping is met with SIGBUS: see vbb_vhu_fault(). The
 * process ignores SIGPIPE.
 *
 * What is not promised is never to wait for a front-end that works at it, since it shares open
 * files with us. It may clear O_NONBLOCK of an event descriptor that is full in the moment between
 * our look at the flag and our write, or have a file system of its own, which brings in the pages
 * of its memory when it likes. Only a signal that ends the process ends such a wait.
 */
#ifndef VBB_TRANSPORTS_VHOST_USER_H
#define VBB_TRANSPORTS_VHOST_USER_H

#include "vring.h"

VBB_BEGIN_DECLS

/* Features that are about rings, by bit number: what a device may offer of them */
#define VIRTIO_F_INDIRECT_DESC	28
#define VIRTIO_F_EVENT_IDX	29
#define VIRTIO_F_VERSION_1	32	/* to be offered always */

#define VBB_VHU_NR_QUEUES	8	/* at most; the balloon's are 6 */
#define VBB_VHU_QUEUE_LEN	1024	/* entries of the largest queue, as elsewhere */
#define VBB_VHU_NR_REGIONS	509	/* memory slots, as many as KVM has for users */
#define VBB_VHU_CONFIG_LEN	256	/* bytes of configuration space, as in the protocol */

#define VBB_VHU_NR_FDS		8	/* with one request, at most */
#define VBB_VHU_REQUEST_LEN	280	/* bytes of the largest: a whole config space */

/* Segments that take every chain */
#define VBB_VHU_NR_SEGS		(VBB_VHU_QUEUE_LEN + VBB_VHU_NR_REGIONS)

/**
 * struct vbb_vhu_region - a piece of the guest's memory, mapped shared
 */
struct vbb_vhu_region {
	vbb_u64 gpa;		/* first byte, guest physical */
	vbb_u64 len;		/* bytes */
	vbb_u64 uaddr;		/* first byte, as the front-end names it in ring addresses */
	int fd;			/* the file that backs it */
	vbb_u32 host_shift;	/* log2 of the size in bytes of the pages that it consists of */
	vbb_u8 *map;		/* the mapping: whole host pages */
	vbb_u64 map_len;	/* bytes */
	vbb_u64 map_fd_off;	/* where the mapping begins in the file, bytes */
	vbb_u64 map_off;	/* where the region begins in the mapping, bytes */
};

/**
 * struct vbb_vhu_ops - the device behind the protocol; called in dispatch() only
 */
struct vbb_vhu_ops {
	/** @features: the driver wants these, all of them offered. Return: 0; else it is refused */
	int (*features)(void *dev, vbb_u64 features);
	/** @config_read: fill in the configuration space, all zero before */
	void (*config_read)(void *dev, vbb_u8 config[VBB_VHU_CONFIG_LEN]);
	/** @config_write: the driver writes; bytes that are not its own are to be ignored */
	void (*config_write)(void *dev, vbb_u32 off, const vbb_u8 *data, vbb_u32 len);
	/**
	 * @stopping: this queue is about to stop, and may go on later where it was: what is given
	 * back now is done with. Of the rest, whoever goes on sees as many messages again as are
	 * still borrowed, the last ones: so a device that keeps older ones gives them back
	 */
	void (*stopping)(void *dev, unsigned int queue);
	/** @stopped: nothing that was borrowed from this queue is valid any longer */
	void (*stopped)(void *dev, unsigned int queue);
	/** @memory: the regions are others than before; every queue is stopped */
	void (*memory)(void *dev);
	/** @reset: the driver reset the device; every queue is stopped */
	void (*reset)(void *dev);
};

/**
 * struct vbb_vhu_queue - a virtqueue; private
 */
struct vbb_vhu_queue {
	struct vbb_vring_dev ring;		/* while it runs */
	vbb_u8 lent[VBB_VHU_QUEUE_LEN];		/* the ring's */
	vbb_u64 desc, avail, used;		/* as the front-end names them */
	vbb_u32 num;				/* entries; 0: not told */
	vbb_u16 base;				/* where to go on */
	bool addressed;				/* desc, avail and used are told */
	bool enabled;				/* as SET_VRING_ENABLE said */
	bool running;
	bool pending;				/* recv() may find something */
	int kick, call, err;			/* descriptors, or -1 */
};

/**
 * struct vbb_vhu - the protocol's state
 *
 * All private, but what a device may read: features, regions and nr_regions, why, and the counters,
 * which go on from one front-end to the next.
 */
struct vbb_vhu {
	struct vbb_transport transport;
	vbb_u64 features;			/* acknowledged by the driver */
	struct vbb_vhu_region region[VBB_VHU_NR_REGIONS];	/* sorted by gpa */
	size_t nr_regions;
	vbb_u64 nr_requests;			/* of front-ends */
	vbb_u64 nr_refused;			/* of them: malformed, or not possible */
	vbb_u64 nr_kicks;			/* by drivers */
	vbb_u64 nr_calls;			/* to drivers */
	const char *why;			/* what was wrong with the last one refused */
	/* private */
	const struct vbb_vhu_ops *ops;
	void *dev;
	vbb_u64 offered;			/* features */
	vbb_u64 protocol;			/* protocol features that were acknowledged */
	unsigned int nr_queues;
	int epoll;
	int sock;				/* -1: no front-end */
	int backend_req;			/* where we tell of config changes, or -1 */
	vbb_u8 status;				/* as SET_STATUS said */
	bool torn;				/* it took memory away from under us */
	bool gone;				/* its end of the socket is closed, or of no use */
	struct vbb_ram ram[VBB_VHU_NR_REGIONS];	/* the regions, for the rings */
	struct vbb_ram_map map;
	struct vbb_vhu_queue queue[VBB_VHU_NR_QUEUES];
	struct {				/* the request that is being read */
		vbb_u32 len;			/* bytes so far */
		unsigned int nr_fds;
		int fd[VBB_VHU_NR_FDS];
		vbb_u8 buf[VBB_VHU_REQUEST_LEN];
	} rx;
};

/**
 * vbb_vhu_init() - make the protocol's end, without a front-end
 * @v: the caller's, any content
 * @features: bits to offer, all of the device's; VHOST_USER_F_PROTOCOL_FEATURES comes by itself
 * @nr_queues: how many, at most VBB_VHU_NR_QUEUES
 * @ops: the device; borrowed
 * @dev: given to @ops
 *
 * Return: 0; VBB_E_INVAL for too many queues; VBB_E_BROKEN where the system gives no descriptor.
 */
int vbb_vhu_init(struct vbb_vhu *v, vbb_u64 features, unsigned int nr_queues,
		 const struct vbb_vhu_ops *ops, void *dev);

/**
 * vbb_vhu_fini() - end it all
 * @v: what vbb_vhu_init() made; it holds nothing afterwards
 */
void vbb_vhu_fini(struct vbb_vhu *v);

/**
 * vbb_vhu_attach() - serve a front-end
 * @v: without a front-end
 * @sock: a connected Unix stream socket; ours from here on, also after a failure
 *
 * Return: 0; VBB_E_STATE where there is one already; VBB_E_BROKEN where the system is out of
 * resources.
 */
int vbb_vhu_attach(struct vbb_vhu *v, int sock);

/**
 * vbb_vhu_detach() - let go of the front-end and of all that it gave
 * @v: with or without a front-end
 *
 * The device hears of it: stopped(), reset(), memory().
 */
void vbb_vhu_detach(struct vbb_vhu *v);

/**
 * vbb_vhu_fd() - what a main loop polls
 * @v: the protocol's end
 *
 * Return: a descriptor, ours; it stays the same from init() to fini().
 */
int vbb_vhu_fd(const struct vbb_vhu *v);

/**
 * vbb_vhu_dispatch() - do what is to be done now, without blocking, and not for long
 * @v: the protocol's end
 *
 * Return: 0; VBB_E_CLOSED where there is no front-end, or it went; VBB_E_FRAME where it broke the
 * protocol, see @why. After an error the caller detaches.
 */
int vbb_vhu_dispatch(struct vbb_vhu *v);

/**
 * vbb_vhu_pending() - may recv() find something?
 * @v: the protocol's end
 * @queue: from 0
 *
 * Return: true until recv() has said VBB_E_AGAIN.
 */
bool vbb_vhu_pending(const struct vbb_vhu *v, unsigned int queue);

/**
 * vbb_vhu_config_changed() - tell the driver that the configuration space is another
 * @v: the protocol's end; nothing happens where the front-end gave no way to be told
 */
void vbb_vhu_config_changed(struct vbb_vhu *v);

/**
 * vbb_vhu_fault() - from a handler of SIGBUS: was it guest memory that is no longer there?
 * @v: the protocol's end
 * @addr: where the fault was
 *
 * Puts zeroes in its place, so that the access can be done again; the next dispatch() says
 * VBB_E_FRAME. Safe in a signal handler.
 *
 * Return: true where it was.
 */
bool vbb_vhu_fault(struct vbb_vhu *v, void *addr);

VBB_END_DECLS

#endif
