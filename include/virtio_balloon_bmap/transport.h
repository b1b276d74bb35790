/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause */
/*
 * How messages travel. A transport knows nothing of their content: lengths and headers are checked
 * above it, so that every transport is checked alike. Whoever implements one embeds struct
 * vbb_transport and fills in the ops.
 */
#ifndef VIRTIO_BALLOON_BMAP_TRANSPORT_H
#define VIRTIO_BALLOON_BMAP_TRANSPORT_H

#include <virtio_balloon_bmap/error.h>
#include <virtio_balloon_bmap/seg.h>

VBB_BEGIN_DECLS

struct vbb_transport;

/**
 * struct vbb_chain - a message that the other side sent: a descriptor chain
 *
 * The array is the caller's, one for each message that it holds at a time; the memory that it comes
 * to point to is borrowed until done(). The sender may be able to rewrite it meanwhile.
 */
struct vbb_chain {
	/** @seg: the caller's: receives nr_out that the sender wrote, then nr_in to write */
	struct vbb_seg *seg;
	/** @max_segs: the caller's: how many @seg can take */
	size_t max_segs;
	/** @nr_out: segments to read; none is empty */
	size_t nr_out;
	/** @nr_in: segments to write, behind those; none is empty */
	size_t nr_in;
	/** @cookie: the transport's own */
	vbb_u64 cookie;
};

/**
 * struct vbb_transport_ops - what a transport does
 *
 * All or nothing: a call that fails has done nothing. No call spins, and only wait() blocks. Every
 * call returns 0, or a negative number of enum vbb_err. A fault of the peer (VBB_E_RING_INDEX and
 * its like) is told once, by the call that met it, and the transport goes on where it can.
 * VBB_E_CLOSED and VBB_E_BROKEN end the transport: every call says so from then on, and what was
 * lent is given back only by the implementer's own way to reset or destroy it. What came whole
 * before the other side went away can still be taken; only then a call says VBB_E_CLOSED.
 *
 * An op that is absent (NULL, or past @size) is one that this end cannot do: the driver's end of a
 * virtqueue has no recv(). The functions below look for that.
 */
struct vbb_transport_ops {
	/** @size: of this structure as its implementer knew it, bytes; ops past it are absent */
	size_t size;
	/**
	 * @send: lend a message to the other side: @out is what it may read, @in what it may write;
	 * not both empty. The memory is the caller's and stays untouched until reap() gives @token
	 * back; the arrays are copied. Messages of a queue arrive in the order in which they were
	 * sent. VBB_E_NOSPC: no room, which appears only through reap(); VBB_E_INVAL: no such
	 * queue, no bytes at all, more segments or bytes than the transport can ever carry, or
	 * memory that it cannot lend.
	 */
	int (*send)(struct vbb_transport *t, unsigned int queue, const struct vbb_seg *out,
		    size_t nr_out, const struct vbb_seg *in, size_t nr_in, void *token);
	/**
	 * @reap: take back a message that the other side is done with, in the order in which it was
	 * done; @len: bytes that it wrote, never more than @in had. VBB_E_AGAIN: none
	 */
	int (*reap)(struct vbb_transport *t, unsigned int queue, void **token, vbb_u64 *len);
	/**
	 * @recv: borrow the next message of the other side; several can be held, and given back in
	 * any order. VBB_E_AGAIN: none; VBB_E_TOOSMALL: it has more segments than @chain can take,
	 * and is still the next. Where the peer alone decides on the cut, that is its fault instead
	 * (VBB_E_RING_LOOP), and the message goes back: it must not stand in the way of the next.
	 */
	int (*recv)(struct vbb_transport *t, unsigned int queue, struct vbb_chain *chain);
	/**
	 * @done: give a borrowed message back; @written: bytes written into its in-segments, from
	 * the first on. VBB_E_INVAL: more than they have, or no message that is borrowed
	 */
	int (*done)(struct vbb_transport *t, unsigned int queue, const struct vbb_chain *chain,
		    vbb_u64 written);
	/** @kick: tell the other side that something was sent or done, where it wants to know */
	int (*kick)(struct vbb_transport *t, unsigned int queue);
	/**
	 * @wait: sleep until something can be reaped or received on any queue, @timeout_ns
	 * nanoseconds at most; also woken by the end of the transport. VBB_E_AGAIN: the time is
	 * over, or a signal came
	 */
	int (*wait)(struct vbb_transport *t, vbb_u64 timeout_ns);
};

/**
 * struct vbb_transport - one end of a connection, embedded by its implementer
 */
struct vbb_transport {
	/** @ops: constant for the transport's life */
	const struct vbb_transport_ops *ops;
};

/* Does this end have that op? */
#define VBB_TRANSPORT_HAS(t, op) \
	((t)->ops->size >= offsetof(struct vbb_transport_ops, op) + sizeof((t)->ops->op) && \
	 (t)->ops->op)

/**
 * vbb_transport_send() - lend a message to the other side, see struct vbb_transport_ops
 * @t: the transport
 * @queue: its queue, from 0
 * @out: what the other side may read; the memory is lent, the array is not
 * @nr_out: segments in @out
 * @in: what the other side may write; the memory is lent, the array is not
 * @nr_in: segments in @in
 * @token: comes back from reap()
 *
 * Return: 0; what the op says; VBB_E_STATE where this end has no such op.
 */
static inline int vbb_transport_send(struct vbb_transport *t, unsigned int queue,
				     const struct vbb_seg *out, size_t nr_out,
				     const struct vbb_seg *in, size_t nr_in, void *token)
{
	if (!VBB_TRANSPORT_HAS(t, send))
		return VBB_E_STATE;
	return t->ops->send(t, queue, out, nr_out, in, nr_in, token);
}

/**
 * vbb_transport_reap() - take a message back, see struct vbb_transport_ops
 * @t: the transport
 * @queue: its queue, from 0
 * @token: receives what send() was given
 * @len: receives the bytes that the other side wrote
 *
 * Return: 0; what the op says; VBB_E_STATE where this end has no such op.
 */
static inline int vbb_transport_reap(struct vbb_transport *t, unsigned int queue, void **token,
				     vbb_u64 *len)
{
	if (!VBB_TRANSPORT_HAS(t, reap))
		return VBB_E_STATE;
	return t->ops->reap(t, queue, token, len);
}

/**
 * vbb_transport_recv() - borrow the next message of the other side, see struct vbb_transport_ops
 * @t: the transport
 * @queue: its queue, from 0
 * @chain: seg and max_segs are set; receives the rest
 *
 * Return: 0; what the op says; VBB_E_STATE where this end has no such op.
 */
static inline int vbb_transport_recv(struct vbb_transport *t, unsigned int queue,
				     struct vbb_chain *chain)
{
	if (!VBB_TRANSPORT_HAS(t, recv))
		return VBB_E_STATE;
	return t->ops->recv(t, queue, chain);
}

/**
 * vbb_transport_done() - give a borrowed message back, see struct vbb_transport_ops
 * @t: the transport
 * @queue: the queue that it came from
 * @chain: the message
 * @written: bytes written into its in-segments, from the first on
 *
 * Return: 0; what the op says; VBB_E_STATE where this end has no such op.
 */
static inline int vbb_transport_done(struct vbb_transport *t, unsigned int queue,
				     const struct vbb_chain *chain, vbb_u64 written)
{
	if (!VBB_TRANSPORT_HAS(t, done))
		return VBB_E_STATE;
	return t->ops->done(t, queue, chain, written);
}

/**
 * vbb_transport_kick() - notify the other side, see struct vbb_transport_ops
 * @t: the transport
 * @queue: its queue, from 0
 *
 * Return: 0; what the op says; VBB_E_STATE where this end has no such op.
 */
static inline int vbb_transport_kick(struct vbb_transport *t, unsigned int queue)
{
	if (!VBB_TRANSPORT_HAS(t, kick))
		return VBB_E_STATE;
	return t->ops->kick(t, queue);
}

/**
 * vbb_transport_wait() - sleep until something can be taken, see struct vbb_transport_ops
 * @t: the transport
 * @timeout_ns: nanoseconds, at most
 *
 * Return: 0; what the op says; VBB_E_STATE where this end has no such op.
 */
static inline int vbb_transport_wait(struct vbb_transport *t, vbb_u64 timeout_ns)
{
	if (!VBB_TRANSPORT_HAS(t, wait))
		return VBB_E_STATE;
	return t->ops->wait(t, timeout_ns);
}

VBB_END_DECLS

#endif
