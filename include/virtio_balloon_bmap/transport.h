/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause */
/*
 * How messages travel. A transport knows nothing of their content: lengths and headers are checked above it, so that
 * every transport is checked alike. Whoever implements one embeds struct vbb_transport and fills in the ops.
 */
#ifndef VIRTIO_BALLOON_BMAP_TRANSPORT_H
#define VIRTIO_BALLOON_BMAP_TRANSPORT_H

#include <virtio_balloon_bmap/error.h>
#include <virtio_balloon_bmap/seg.h>

VBB_BEGIN_DECLS

struct vbb_transport;

/**
 * struct vbb_chain - a message that the other side sent: a descriptor chain
 */
struct vbb_chain {
	const struct vbb_seg *out;	/* what the sender wrote; the transport's until done() */
	size_t nr_out;			/* segments in out */
	const struct vbb_seg *in;	/* where we may write; the transport's until done() */
	size_t nr_in;			/* segments in in */
	vbb_u64 cookie;			/* the transport's own */
};

/**
 * struct vbb_transport_ops - what a transport does
 *
 * All or nothing: a call that fails has done nothing. No call spins, and only wait() blocks. Every call returns 0, or a
 * negative number of enum vbb_err: VBB_E_CLOSED and VBB_E_BROKEN end the transport, and every call says so from then on;
 * a fault of the peer (VBB_E_RING_INDEX and its like) is told once, by the call that met it, and the transport goes on
 * where it can.
 */
struct vbb_transport_ops {
	/** @size: of this structure as its implementer knew it, bytes; ops past it are absent */
	size_t size;
	/**
	 * @send: lend a message to the other side: @out is what it may read, @in what it may write. The memory is the
	 * caller's and stays untouched until reap() gives @token back; the arrays are copied. VBB_E_NOSPC: no room,
	 * which appears only through reap(); VBB_E_INVAL: more segments than the transport can ever carry.
	 */
	int (*send)(struct vbb_transport *t, unsigned int queue, const struct vbb_seg *out, size_t nr_out,
		    const struct vbb_seg *in, size_t nr_in, void *token);
	/** @reap: take back a message that the other side is done with; @len: bytes that it wrote. VBB_E_AGAIN: none */
	int (*reap)(struct vbb_transport *t, unsigned int queue, void **token, vbb_u64 *len);
	/** @recv: borrow the next message of the other side. VBB_E_AGAIN: none */
	int (*recv)(struct vbb_transport *t, unsigned int queue, struct vbb_chain *chain);
	/** @done: give a borrowed message back; @written: bytes written into its in-segments, from the first on */
	int (*done)(struct vbb_transport *t, unsigned int queue, const struct vbb_chain *chain, vbb_u64 written);
	/** @kick: tell the other side that something was sent or done, where it wants to know */
	int (*kick)(struct vbb_transport *t, unsigned int queue);
	/**
	 * @wait: sleep until something can be reaped or received, @timeout_ns nanoseconds at most; may be absent.
	 * VBB_E_AGAIN: the time is over
	 */
	int (*wait)(struct vbb_transport *t, vbb_u64 timeout_ns);
};

/**
 * struct vbb_transport - one end of a connection, embedded by its implementer
 */
struct vbb_transport {
	const struct vbb_transport_ops *ops;	/* constant for the transport's life */
};

VBB_END_DECLS

#endif
