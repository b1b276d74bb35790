/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause */
/* Page messages, bytes to runs of pages. Decoding is checking: a run that comes out is legal. */
#ifndef VIRTIO_BALLOON_BMAP_DECODE_H
#define VIRTIO_BALLOON_BMAP_DECODE_H

#include <virtio_balloon_bmap/msg.h>
#include <virtio_balloon_bmap/range.h>

VBB_BEGIN_DECLS

/**
 * struct vbb_dec_cfg - what the receiver knows before it sees a message
 */
struct vbb_dec_cfg {
	/** @queue: decides which header fields are legal */
	enum vbb_queue queue;
	/** @records: VIRTIO_BALLOON_F_PAGE_RECORDS was negotiated */
	bool records;
	/** @limit_pfn: pages at or past it are faults, in the message's unit; 0: none */
	vbb_u64 limit_pfn;
};

/**
 * struct vbb_dec - a message that is being decoded
 *
 * The caller's; hdr and the counters may be read at any time, the rest is private.
 */
struct vbb_dec {
	/** @hdr: the header, once vbb_dec_init() gave 0 */
	struct vbb_hdr hdr;
	/** @nr_blocks: records seen: single blocks */
	vbb_u64 nr_blocks;
	/** @nr_bitmaps: records seen: bitmaps */
	vbb_u64 nr_bitmaps;
	/** @nr_extents: records seen: extents */
	vbb_u64 nr_extents;
	/* private: */
	struct vbb_cur cur;		/* where we read */
	vbb_u64 len;			/* of the whole message, bytes */
	vbb_u64 mark;			/* offset in the message of what was loaded last */
	vbb_u64 fault_off;		/* see vbb_dec_fault_off() */
	vbb_u64 budget;			/* see vbb_dec_set_budget() */
	vbb_u64 limit_pfn;		/* the lower of the receiver's limit and the wire's */
	vbb_u64 base_pfn;		/* bitmap: pfn of bit 0 */
	vbb_u64 scale;			/* bitmap: pages of a bit */
	vbb_u64 nr_inside;		/* bitmap: so many bits lie wholly below the limit */
	vbb_u64 nr_words;		/* bitmap: words not yet loaded */
	vbb_u64 nr_bits;		/* bitmap: bits loaded so far, those of word included */
	vbb_u64 word;			/* bitmap: bits loaded and not yet given */
	struct vbb_range run;		/* found, not yet given; may still grow */
	int fault;			/* what ended it: 0 nothing yet, 1 the end, < 0 a fault */
	bool pfns;			/* the old format */
};

/* Steps that no message can use up */
#define VBB_BUDGET_NONE (~(vbb_u64)0)

/**
 * vbb_dec_init() - begin to decode a page message, and check its header
 * @d: the decoder; the caller's, any content
 * @cfg: what the receiver knows; only read during the call
 * @seg: the message: the readable segments of its chain, cut anywhere; borrowed until the last call
 *     with @d
 * @nr_segs: how many
 *
 * Loads each byte of the header once. After a failure @d gives no run.
 *
 * Spec: 3.1 "Any message" and 3.5 "Malformed messages".
 *
 * Return: 0; the peer's fault: VBB_E_SHORT, VBB_E_LEN, VBB_E_LEN_MAX, VBB_E_LEN_EMPTY,
 * VBB_E_LEN_ALIGN, VBB_E_CMD, VBB_E_PAGE_SHIFT, VBB_E_FLAG, VBB_E_FORMAT, VBB_E_REQ_ID,
 * VBB_E_START_PFN, VBB_E_PAYLOAD.
 */
VBB_PUBLIC int vbb_dec_init(struct vbb_dec *d, const struct vbb_dec_cfg *cfg,
			    const struct vbb_seg *seg, size_t nr_segs);

/**
 * vbb_dec_init_pfns() - begin to decode a buffer of the old format: le32 numbers of 4 KiB frames
 * @d: the decoder; the caller's, any content
 * @cfg: what the receiver knows; only limit_pfn counts
 * @seg: the readable segments of the chain, cut anywhere; borrowed until the last call with @d
 * @nr_segs: how many
 *
 * A length that is no multiple of 4 is a fault behind the last whole number, which vbb_dec_next()
 * tells.
 */
VBB_PUBLIC void vbb_dec_init_pfns(struct vbb_dec *d, const struct vbb_dec_cfg *cfg,
				  const struct vbb_seg *seg, size_t nr_segs);

/**
 * vbb_dec_set_budget() - bound the work of the calls that follow
 * @d: the decoder
 * @steps: a word loaded is a step, and a run found is one; VBB_BUDGET_NONE after vbb_dec_init()
 *
 * A receiver that must not hold a lock for long sets a budget, works until VBB_E_BUDGET, lets go,
 * and sets it anew.
 */
static inline void vbb_dec_set_budget(struct vbb_dec *d, vbb_u64 steps)
{
	d->budget = steps;
}

/**
 * vbb_dec_next() - the next run of pages
 * @d: the decoder
 * @r: receives the run: valid, not empty, below the limit, in units of the message's page_shift;
 *     runs that follow one another in the message and touch or overlap come out as one
 *
 * Act on each run as it comes: what came before a fault stands, and nothing comes after one. Format
 * VALUES names no pages: 0 at once.
 *
 * Return: 1 with a run; 0 at the end; VBB_E_BUDGET: set a budget and call again; or the peer's
 * fault, which stays: VBB_E_REC_ORDER, VBB_E_REC_ALIGN, VBB_E_REC_TRUNC, VBB_E_REC_COUNT,
 * VBB_E_PFN_RANGE, VBB_E_PFN_LIMIT, VBB_E_LEN_ALIGN (old format), or what vbb_dec_init() said.
 */
VBB_PUBLIC int vbb_dec_next(struct vbb_dec *d, struct vbb_range *r);

/**
 * vbb_dec_next_runs() - the next runs of pages, several in one call
 * @d: the decoder
 * @r: the caller's array, receives the runs as vbb_dec_next() gives them
 * @nr: how many runs @r has room for, 1 at least
 *
 * Where runs are short most of the time of vbb_dec_next() goes into the call. A step of the budget
 * still is at most one run. The runs that come before a fault or the end are given first; the next
 * call tells which it was.
 *
 * Return: 1 to @nr with so many runs; else as vbb_dec_next().
 */
VBB_PUBLIC int vbb_dec_next_runs(struct vbb_dec *d, struct vbb_range *r, vbb_u16 nr);

/**
 * vbb_dec_next_value() - the next number of a message of format VALUES
 * @d: the decoder
 * @value: receives the number
 *
 * Return: 1 with a number; 0 at the end; VBB_E_BUDGET; VBB_E_STATE where the format is another; or
 * what vbb_dec_init() said.
 */
VBB_PUBLIC int vbb_dec_next_value(struct vbb_dec *d, vbb_u64 *value);

/**
 * vbb_dec_fault_off() - where the fault lies
 * @d: the decoder, after a fault of the peer
 *
 * Return: bytes from the start of the message to the field, record or word at fault.
 */
static inline vbb_u64 vbb_dec_fault_off(const struct vbb_dec *d)
{
	return d->fault_off;
}

/* Every run of a message; afterwards vbb_dec_next() says again why it ended. */
#define vbb_dec_for_each(d, r) for (; vbb_dec_next((d), (r)) > 0;)

VBB_END_DECLS

#endif
