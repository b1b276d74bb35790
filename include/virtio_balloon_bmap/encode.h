/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause */
/* Page messages, runs of pages to bytes: in few bytes, and never reading the buffer. */
#ifndef VIRTIO_BALLOON_BMAP_ENCODE_H
#define VIRTIO_BALLOON_BMAP_ENCODE_H

#include <virtio_balloon_bmap/msg.h>
#include <virtio_balloon_bmap/range.h>

VBB_BEGIN_DECLS

/* struct vbb_enc_cfg.formats: what may be used; AUTO takes for each message what is shorter. */
#define VBB_FMT_BITMAP	(1u << VIRTIO_BALLOON_FORMAT_BITMAP)
#define VBB_FMT_RECORDS	(1u << VIRTIO_BALLOON_FORMAT_RECORDS)
#define VBB_FMT_VALUES	(1u << VIRTIO_BALLOON_FORMAT_VALUES)
#define VBB_FMT_PFNS	(1u << 15) /* the old format, alone: no header, page_shift 12 */
#define VBB_FMT_AUTO	(VBB_FMT_BITMAP | VBB_FMT_RECORDS)

/*
 * AUTO without a search for the fewest words: each run in a record of its own, or, where that is
 * clearly shorter, one bitmap, of all that are held back at a time. For who would rather have more
 * bytes than more work.
 */
#define VBB_FMT_QUICK	(VBB_FMT_AUTO | 1u << 14)

/**
 * struct vbb_enc_cfg - what all messages of an encoder have in common
 */
struct vbb_enc_cfg {
	/** @cmd: header field */
	vbb_u16 cmd;
	/** @page_shift: header field; the unit of every run put in, 12 to 30 */
	vbb_u16 page_shift;
	/** @req_id: header field */
	vbb_u64 req_id;
	/** @formats: one of VBB_FMT_* */
	vbb_u32 formats;
};

/* Runs that the encoder holds back to see what comes; this is what its size is made of. */
#define VBB_ENC_NR_PENDING 1024

/**
 * VBB_ENC_BOUND() - bytes of a message that is sure to take so many runs: RECORDS, AUTO, QUICK
 * @nr_ranges: runs, whatever they are and in whatever order; at most 2^15 (above, the payload's own
 *     limit may bind)
 */
#define VBB_ENC_BOUND(nr_ranges) \
	(sizeof(struct virtio_balloon_bmap_hdr) + 16 * (vbb_u64)(nr_ranges))

/* The smallest buffer that an encoder accepts: a header and one extent. Old format: 4 bytes. */
#define VBB_ENC_LEN_MIN VBB_ENC_BOUND(1)

/**
 * struct vbb_msg - a message that was closed
 */
struct vbb_msg {
	/** @len: bytes in the buffer, header included; 0: nothing to send */
	vbb_u64 len;
	/** @nr_pages: pages named in it, where no page was put twice */
	vbb_u64 nr_pages;
	/** @nr_blocks: records: single blocks */
	vbb_u64 nr_blocks;
	/** @nr_bitmaps: records: bitmaps */
	vbb_u64 nr_bitmaps;
	/** @nr_extents: records: extents */
	vbb_u64 nr_extents;
	/** @format: the one VBB_FMT_* that it has, never AUTO or QUICK */
	vbb_u32 format;
};

/**
 * struct vbb_bitmap - a bitmap of the caller's, and how far it has been put
 */
struct vbb_bitmap {
	/** @bits: bit b of byte k is page pfn + 8k + b; the caller's, not shared with a peer */
	const vbb_u8 *bits;
	/** @nr_bits: how many bits count */
	vbb_u64 nr_bits;
	/** @pfn: of bit 0 */
	vbb_u64 pfn;
	/** @pos: bits before it have been taken; the caller begins with 0 */
	vbb_u64 pos;
};

/**
 * struct vbb_run_list - runs of the caller's, and how far they have been put
 */
struct vbb_run_list {
	/** @run: the caller's, not shared with a peer */
	const struct vbb_range *run;
	/** @nr_runs: how many */
	size_t nr_runs;
	/** @pos: runs before it have been taken; the caller begins with 0 */
	size_t pos;
	/** @nr_taken: pages of run[pos] that have been taken, too; the caller begins with 0 */
	vbb_u64 nr_taken;
};

/* What some runs would take in records of their own, or in one bitmap. All private. */
struct vbb_late {
	vbb_u64 nr_words;	/* of them all, if each gets a record of its own */
	vbb_u64 pfn, end;	/* what they span, */
	vbb_u64 edges;		/* and all their bounds or-ed: zeros below are the order */
};

/* Runs held back (lib/held.c), and what records name them best (lib/plan.c). All private. */
struct vbb_plan {
	size_t nr_runs;			/* in run[] */
	struct vbb_late late_sum;	/* of the late ones */
	struct vbb_late kept_sum;	/* of the others */
	bool late_apart;		/* they get records that name nothing else */
	vbb_u32 kind;			/* of the plan: one bitmap, each run alone, or by orders */
	vbb_u32 one_words;		/* the one bitmap: its words, */
	vbb_u64 one_pfn;		/* and its first page */
	vbb_u32 phase;			/* what records are given out */
	vbb_u64 least;			/* no plan takes fewer words */
	bool walked;			/* the only order was looked at when words were counted */
	vbb_u64 orders;			/* set bits: orders whose bitmaps may help */
	vbb_u64 orders_left;		/* those that are still to be looked at */
	vbb_u32 order;			/* the one at hand */
	size_t nr_left;			/* in left[] */
	size_t pos;			/* the next one there */
	size_t nr_kept;			/* in front of pos: what the next order will find */
	vbb_u64 paid_end;		/* bitmap at hand: one past the last page of its words */
	bool fresh;			/* bitmap at hand: none of its runs was given yet */
	/* run: sorted, disjoint; late ones do not touch one another */
	struct vbb_range run[VBB_ENC_NR_PENDING];
	vbb_u8 late[VBB_ENC_NR_PENDING];	/* run: put since words were last counted */
	vbb_u64 on[VBB_ENC_NR_PENDING];		/* run: set bits: orders whose bitmaps cover it */
	vbb_u16 price[VBB_ENC_NR_PENDING];	/* run: of being covered by one of them */
	struct vbb_range left[VBB_ENC_NR_PENDING];	/* what no record names yet */
	vbb_u16 owner[VBB_ENC_NR_PENDING];	/* left: the run that it is a part of */
	vbb_u8 step[VBB_ENC_NR_PENDING];	/* left: what is done with it at this order */
};

/**
 * struct vbb_enc - an encoder
 *
 * The caller's, and all private. It is large (46 KiB): not for a kernel's stack.
 */
struct vbb_enc {
	/* private: */
	struct vbb_enc_cfg cfg;
	vbb_u32 state;		/* no good, between messages, or in one */
	vbb_u32 format;		/* VBB_FMT_* of the open message; AUTO until it is decided */
	struct vbb_cur hdr;	/* before the header, which is written last */
	struct vbb_cur cur;	/* behind the payload written so far */
	vbb_u64 len_max;	/* bytes of payload that the message may have */
	vbb_u64 len;		/* bytes of payload written */
	vbb_u64 start_pfn;	/* BITMAP: of bit 0, once a word was begun */
	vbb_u64 word_unit;	/* the bitmap in hand: what bit 0 of its next word stands for */
	vbb_u64 word;		/* the bitmap in hand: its next word, as far as it is known */
	vbb_u32 rec_words;	/* RECORDS: words of the bitmap that is the last record; or 0 */
	vbb_u32 rec_order;	/* of that record */
	vbb_u64 rec_pfn;	/* of that record */
	struct vbb_cur rec;	/* before that record, */
	struct vbb_cur last;	/* and before its last word */
	vbb_u64 nr_put;		/* runs taken */
	vbb_u64 nr_words;	/* RECORDS: for the runs held back that are not late */
	struct vbb_msg msg;	/* what has been written */
	struct vbb_plan plan;
};

/**
 * vbb_enc_init() - make an encoder, and open its first message
 * @e: the encoder; the caller's, any content
 * @cfg: what all messages have in common; copied
 * @seg: the buffer: segments of any size; borrowed until vbb_enc_finish(); only written, never read
 * @nr_segs: how many
 *
 * Return: 0; VBB_E_TOOSMALL where the buffer has no room for VBB_ENC_LEN_MIN bytes (old format: 4);
 * VBB_E_INVAL where @cfg has a field out of range: no message can be opened then.
 */
VBB_PUBLIC int vbb_enc_init(struct vbb_enc *e, const struct vbb_enc_cfg *cfg,
			    const struct vbb_seg *seg, size_t nr_segs);

/**
 * vbb_enc_next() - open another message, after vbb_enc_finish()
 * @e: the encoder
 * @seg: the buffer, as in vbb_enc_init(); the old one or another
 * @nr_segs: how many
 *
 * Return: 0; VBB_E_TOOSMALL, after which another buffer may be tried; VBB_E_STATE where a message
 * is open.
 */
VBB_PUBLIC int vbb_enc_next(struct vbb_enc *e, const struct vbb_seg *seg, size_t nr_segs);

/**
 * vbb_enc_put() - put a run of pages into the message
 * @e: the encoder, with a message open
 * @r: the run, valid in the message's page_shift, in any order; what is taken is cut off its front
 *
 * What is taken is in this message: vbb_enc_finish() never fails for want of room. Messages come
 * out shortest where runs come in ascending order; then a RECORDS message has at most 1.10 times
 * the fewest words possible, plus one (held by tests/test_plan.c, not proved). An AUTO message of
 * more than VBB_ENC_NR_PENDING runs, in a buffer that VBB_ENC_BOUND() gives for more, is always
 * RECORDS: 1 in 62 longer than a BITMAP at most, where that would be shorter. Of QUICK none of this
 * is promised but that what is taken finds room.
 * The work of a call is bounded by VBB_ENC_NR_PENDING and by what it writes, not by what was put
 * before.
 *
 * Return: 0: all taken, and @r is empty; VBB_E_NOSPC: @r holds what is left: finish, send,
 * vbb_enc_next(), and put @r again; VBB_E_INVAL: @r is not valid (old format: past pfn 2^32),
 * nothing taken; VBB_E_STATE: no message is open, or the format has no pages.
 */
VBB_PUBLIC int vbb_enc_put(struct vbb_enc *e, struct vbb_range *r);

/**
 * vbb_enc_put_runs() - put runs of pages into the message, several in one call
 * @e: the encoder, with a message open
 * @l: the runs; pos and nr_taken move behind what was taken
 *
 * The message comes out as if vbb_enc_put() had taken one after the other. Where runs come in
 * ascending order most of the time of vbb_enc_put() goes into the call.
 *
 * Return: as vbb_enc_put(); after VBB_E_NOSPC the rest is put by calling again with @l as it is;
 * VBB_E_INVAL: pos is at a run that is not valid, and none of it was taken, or @l->nr_taken was not
 * less than the run.
 */
VBB_PUBLIC int vbb_enc_put_runs(struct vbb_enc *e, struct vbb_run_list *l);

/**
 * vbb_enc_put_bitmap() - put every set bit of a bitmap into the message
 * @e: the encoder, with a message open
 * @b: the bitmap; pos moves behind what was taken
 *
 * Return: as vbb_enc_put(); after VBB_E_NOSPC the rest is put by calling again with @b as it is;
 * VBB_E_INVAL: pos is at the first run that is not valid; or has not moved, where pfn or nr_bits is
 * over 2^52.
 */
VBB_PUBLIC int vbb_enc_put_bitmap(struct vbb_enc *e, struct vbb_bitmap *b);

/**
 * vbb_enc_put_value() - put a number into a message of format VALUES
 * @e: the encoder, with a message open
 * @value: the number
 *
 * Return: 0; VBB_E_NOSPC; VBB_E_STATE where no message is open or the format is another.
 */
VBB_PUBLIC int vbb_enc_put_value(struct vbb_enc *e, vbb_u64 value);

/**
 * vbb_enc_finish() - close the message
 * @e: the encoder, with a message open
 * @flag: header field: 0 on inflate and deflate queues, else VIRTIO_BALLOON_FLAG_*
 * @msg: receives what the message holds
 *
 * Writes what was held back, pads to 8 bytes, and writes the header. With nothing put, and a @flag
 * that does not end a request, there is no message: msg->len is 0. The old format knows flag 0
 * only.
 *
 * Return: 0; VBB_E_STATE where no message is open; VBB_E_INVAL where @flag is unknown, or does not
 * go with a payload that was put, or with the format; the message then stays open.
 */
VBB_PUBLIC int vbb_enc_finish(struct vbb_enc *e, vbb_u16 flag, struct vbb_msg *msg);

/**
 * vbb_enc_bound() - bytes of a message that is sure to take so many runs
 * @nr_ranges: runs, whatever they are and in whatever order
 *
 * Return: VBB_ENC_BOUND(), but never more than the largest message.
 */
VBB_PUBLIC vbb_u64 vbb_enc_bound(vbb_u64 nr_ranges);

VBB_END_DECLS

#endif
