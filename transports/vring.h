/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause */
/*
 * A split virtqueue of virtio 1.x (VIRTIO_F_VERSION_1, little-endian) in shared memory: the
 * device's side and the driver's side. Neither allocates, sleeps or calls back; each keeps what it
 * must be sure of in its own memory, and loads every shared byte once. Kicks and calls are the
 * caller's: should_notify() and should_kick() say when.
 *
 * Faults come in two classes. Where the ring itself cannot be followed (an index that went too far,
 * a head or an id that is no queue entry or in the wrong hands), the call says VBB_E_RING_INDEX,
 * and every later one VBB_E_BROKEN until the ring is set up anew: this is what NEEDS_RESET is for.
 * A chain that makes no sense is one message's affair: the call names the fault, the chain has gone
 * back with length 0, and the next call goes on behind it.
 *
 * One side is one thread's at a time. The two sides need nothing in common but the memory.
 */
#ifndef VBB_TRANSPORTS_VRING_H
#define VBB_TRANSPORTS_VRING_H

#include <virtio_balloon_bmap/range.h>
#include <virtio_balloon_bmap/transport.h>

VBB_BEGIN_DECLS

#define VBB_VRING_MAX 32768u	/* entries of the largest queue */

/* Bytes of each part of a queue, and how they are aligned */
#define VBB_VRING_DESC_LEN(num) ((size_t)16 * (num))
#define VBB_VRING_DESC_ALIGN 16
#define VBB_VRING_AVAIL_LEN(num) ((size_t)6 + (size_t)2 * (num))
#define VBB_VRING_AVAIL_ALIGN 2
#define VBB_VRING_USED_LEN(num) ((size_t)6 + (size_t)8 * (num))
#define VBB_VRING_USED_ALIGN 4

/**
 * struct vbb_vring - where a queue lies, for whoever uses it
 */
struct vbb_vring {
	vbb_u8 *desc;		/* descriptor table, shared */
	vbb_u8 *avail;		/* driver area, shared */
	vbb_u8 *used;		/* device area, shared */
	vbb_u32 num;		/* entries: a power of 2, 1 to VBB_VRING_MAX */
	bool indirect;		/* VIRTIO_RING_F_INDIRECT_DESC was negotiated */
	bool event_idx;		/* VIRTIO_RING_F_EVENT_IDX was negotiated */
};

/**
 * vbb_vring_used_idx() - what the device area says of how much was used, for a ring that is taken
 * up again
 * @ring: the queue
 *
 * Return: the index; a stopped device wrote it, but others could.
 */
vbb_u16 vbb_vring_used_idx(const struct vbb_vring *ring);

/**
 * struct vbb_vring_dev - the device's side; all fields are private but last_avail, which may be
 * read
 */
struct vbb_vring_dev {
	struct vbb_vring ring;
	const struct vbb_ram_map *ram;
	vbb_u8 *lent;		/* by head: 1 while the chain is with us */
	vbb_u32 nr_lent;	/* how many are */
	vbb_u16 last_avail;	/* the next entry of the driver area to look at */
	vbb_u16 used_idx;	/* what we told the driver last */
	vbb_u64 nr_untold;	/* entries used since should_notify() was last asked */
	bool broken;
};

/**
 * vbb_vring_dev_init() - set up the device's side, also after a reset
 * @d: the device's side; the caller's
 * @ring: the queue; copied. Its three parts lie in mapped memory
 * @ram: guest memory, where addr is the host's address of a block's first byte; the caller's,
 *	borrowed. It may change between calls, but for what a borrowed chain lies in
 * @lent: @ring->num bytes of private memory; the caller's, borrowed
 * @last_avail: index to go on at: 0 for a new ring
 * @used_idx: index to go on at: 0 for a new ring, else vbb_vring_used_idx()
 *
 * Return: 0; VBB_E_INVAL where the size is not allowed or a part is not aligned.
 */
int vbb_vring_dev_init(struct vbb_vring_dev *d, const struct vbb_vring *ring,
		       const struct vbb_ram_map *ram, vbb_u8 *lent, vbb_u16 last_avail,
		       vbb_u16 used_idx);

/**
 * vbb_vring_dev_recv() - borrow the next chain
 * @d: the device's side
 * @chain: seg and max_segs are set; receives the chain. A descriptor over a border of @ram blocks
 *	becomes several segments, an empty one none. num + nr of blocks - 1 segments take every
 *	chain that names no memory twice
 *
 * Several chains can be borrowed at once. A chain that is faulty, or does not fit into @chain, was
 * given back with length 0, which should_notify() counts.
 *
 * Return: 0; VBB_E_AGAIN where there is none; VBB_E_RING_INDEX where an index is out of range or in
 * use; VBB_E_RING_LOOP where a chain has more than num descriptors, or more segments than fit;
 * VBB_E_RING_ADDR where one is not wholly in
 * @ram; VBB_E_RING_DESC where flags or lengths make no sense; VBB_E_BROKEN after an index of the
 *	ring itself was wrong.
 */
int vbb_vring_dev_recv(struct vbb_vring_dev *d, struct vbb_chain *chain);

/**
 * vbb_vring_dev_done() - give a chain back, in any order
 * @d: the device's side
 * @chain: what recv() lent
 * @written: bytes written into its in-segments, from the first on
 *
 * Return: 0; VBB_E_INVAL where it is not borrowed, or @written is more than its in-segments have,
 * or than 2^32 - 1; VBB_E_BROKEN.
 */
int vbb_vring_dev_done(struct vbb_vring_dev *d, const struct vbb_chain *chain, vbb_u64 written);

/**
 * vbb_vring_dev_should_notify() - does the driver want to know of what was used since this was last
 * asked?
 * @d: the device's side
 *
 * To be asked once for each batch of done() and of faults. Behind a start with a used_idx that is
 * not 0 the caller notifies once unasked, since nobody knows what the driver was told before.
 *
 * Return: true where the caller is to notify it.
 */
bool vbb_vring_dev_should_notify(struct vbb_vring_dev *d);

/**
 * vbb_vring_dev_mute() - ask the driver for no notifications, while we look anyway
 * @d: the device's side
 *
 * A hint: some may come.
 */
void vbb_vring_dev_mute(struct vbb_vring_dev *d);

/**
 * vbb_vring_dev_listen() - ask the driver for notifications, before we sleep
 * @d: the device's side
 *
 * Return: true where something came meanwhile that may never be notified: call recv() again, do not
 * sleep.
 */
bool vbb_vring_dev_listen(struct vbb_vring_dev *d);

/**
 * struct vbb_vring_slot - what the driver's side remembers of a descriptor; private
 */
struct vbb_vring_slot {
	void *token;		/* of a head that is with the device */
	vbb_u64 in_len;		/* bytes that the device may write, of such a head */
	vbb_u16 next;		/* the next free descriptor, or the next of the chain */
	vbb_u16 nr_descs;	/* in the chain of such a head; else 0 */
};

/**
 * struct vbb_vring_tables - shared memory for indirect descriptors, one table for each entry of the
 * queue
 */
struct vbb_vring_tables {
	/* num tables of nr_descs * 16 bytes; the caller's, in one block of the RAM map */
	vbb_u8 *base;
	vbb_u32 nr_descs;	/* in each table, at most num; 0: all chains lie in the ring */
};

/**
 * struct vbb_vring_drv - the driver's side; all fields are private
 */
struct vbb_vring_drv {
	struct vbb_vring ring;
	const struct vbb_ram_map *ram;
	struct vbb_vring_slot *slot;
	struct vbb_vring_tables tables;
	vbb_u64 tables_gpa;
	vbb_u32 nr_free;	/* descriptors */
	vbb_u32 nr_lent;	/* chains with the device */
	vbb_u16 free;		/* first free descriptor */
	vbb_u16 avail_idx;	/* what we told the device last */
	vbb_u16 last_used;	/* the next entry of the device area to look at */
	vbb_u64 nr_untold;	/* entries made available since should_kick() was last asked */
	bool told;		/* the fault of the entry at last_used was named */
	bool broken;
};

/**
 * vbb_vring_drv_init() - set up the driver's side, also after a reset; clears the driver area and
 * the device area
 * @d: the driver's side; the caller's
 * @ring: the queue; copied
 * @ram: guest memory, where addr is the address of a block's first byte in this process; the
 *	caller's, borrowed
 * @slot: @ring->num slots of private memory; the caller's, borrowed
 * @tables: memory for indirect descriptors; copied; NULL for none
 *
 * What was with the device comes back no more: the memory is the caller's again once the device was
 * reset.
 *
 * Return: 0; VBB_E_INVAL where a size is not allowed, a part is not aligned, or tables are not in
 * @ram or not negotiated.
 */
int vbb_vring_drv_init(struct vbb_vring_drv *d, const struct vbb_vring *ring,
		       const struct vbb_ram_map *ram, struct vbb_vring_slot *slot,
		       const struct vbb_vring_tables *tables);

/**
 * vbb_vring_drv_send() - make a chain available
 * @d: the driver's side
 * @out: what the device may read; each segment in one block of the RAM map; empty ones are left out
 * @nr_out: segments in @out
 * @in: what the device may write, likewise
 * @nr_in: segments in @in
 * @token: comes back from reap()
 *
 * Return: 0; VBB_E_NOSPC where descriptors must be reaped first; VBB_E_INVAL where it has no byte,
 * can never fit, has more than 2^32 bytes, or lies outside the RAM map; VBB_E_BROKEN.
 */
int vbb_vring_drv_send(struct vbb_vring_drv *d, const struct vbb_seg *out, size_t nr_out,
		       const struct vbb_seg *in, size_t nr_in, void *token);

/**
 * vbb_vring_drv_reap() - take back a chain that the device has used
 * @d: the driver's side
 * @token: receives what send() was given
 * @len: receives the bytes that the device says it wrote, at most what it could
 *
 * Return: 0; VBB_E_AGAIN where there is none; VBB_E_RING_INDEX where the used index went too far or
 * names a chain that the device does not have; VBB_E_RING_DESC, once, where it says that it wrote
 * more than it could: the next call gives that chain, with all that it could; VBB_E_BROKEN.
 */
int vbb_vring_drv_reap(struct vbb_vring_drv *d, void **token, vbb_u64 *len);

/**
 * vbb_vring_drv_should_kick() - does the device want to know of what was sent since this was last
 * asked?
 * @d: the driver's side
 *
 * Return: true where the caller is to notify it.
 */
bool vbb_vring_drv_should_kick(struct vbb_vring_drv *d);

/**
 * vbb_vring_drv_mute() - ask the device for no notifications, while we look anyway
 * @d: the driver's side
 *
 * A hint: some may come.
 */
void vbb_vring_drv_mute(struct vbb_vring_drv *d);

/**
 * vbb_vring_drv_listen() - ask the device for notifications, before we sleep
 * @d: the driver's side
 *
 * Return: true where something was used meanwhile that may never be notified: call reap() again, do
 * not sleep.
 */
bool vbb_vring_drv_listen(struct vbb_vring_drv *d);

VBB_END_DECLS

#endif
