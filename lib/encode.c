// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause
/* Pages and numbers to messages. What records a message has is decided in plan.c. */
#include "plan.h"

enum {
	STATE_BAD,	/* the configuration is no good */
	STATE_CLOSED,	/* between messages */
	STATE_OPEN,	/* in a message */
};

/* How much of the payload is still free, bytes */
static vbb_u64 vbb_enc_room(const struct vbb_enc *e)
{
	return e->len_max - e->len;
}

/* The caller has seen that there is room. */
static void vbb_enc_store64(struct vbb_enc *e, vbb_u64 v)
{
	vbb_cur_store64(&e->cur, v);
	e->len += 8;
}

/* Begin a bitmap whose bit 0 is unit; the words follow as runs are added. */
static void vbb_enc_bitmap_open(struct vbb_enc *e, vbb_u64 unit)
{
	e->word_unit = unit;
	e->word = 0;
}

/* Write a record's first word, where it has two or a bitmap the first of them. */
static void vbb_enc_store_rec(struct vbb_cur *cur, vbb_u64 pfn, vbb_u32 order, vbb_u32 code)
{
	vbb_cur_store64(cur, pfn | (vbb_u64)order << VIRTIO_BALLOON_REC_ORDER_SHIFT |
			     (vbb_u64)code << VIRTIO_BALLOON_REC_CODE_SHIFT);
}

/* Begin a record with a bitmap. How many words it has is written at its end. */
static void vbb_enc_rec_open(struct vbb_enc *e, vbb_u64 unit)
{
	e->msg.nr_bitmaps++;
	e->rec = e->cur;
	e->rec_pfn = vbb_shl(unit, e->rec_order);
	e->rec_words = 1;
	vbb_enc_store64(e, 0);
	vbb_enc_bitmap_open(e, unit);
}

static void vbb_enc_rec_close(struct vbb_enc *e)
{
	struct vbb_cur rec = e->rec;

	e->last = e->cur;
	vbb_enc_store64(e, e->word);
	vbb_enc_store_rec(&rec, e->rec_pfn, e->rec_order, e->rec_words);
}

/* Begin a bitmap at unit, or go on in the last record: where its last word reaches unit. */
static void vbb_enc_rec_begin(struct vbb_enc *e, vbb_u64 unit, vbb_u32 order)
{
	if (e->rec_words && e->rec_order == order && unit >= e->word_unit &&
	    unit - e->word_unit <= 64) {
		e->cur = e->last;
		e->len -= 8;
		return;
	}
	e->rec_order = order;
	vbb_enc_rec_open(e, unit);
}

/* The word in hand is all known, and unit lies behind it. */
static void vbb_enc_bitmap_turn(struct vbb_enc *e, vbb_u64 unit)
{
	if (e->format == VBB_FMT_RECORDS && e->rec_words == VIRTIO_BALLOON_REC_BITMAP_MAX) {
		vbb_enc_rec_close(e);
		vbb_enc_rec_open(e, unit);
		return;
	}
	e->rec_words++;
	vbb_enc_store64(e, e->word);
	vbb_enc_bitmap_open(e, e->word_unit + 64);
}

/* Add [unit, unit + nr) to the bitmap in hand, at or behind its next word; nr is not 0. */
static inline void vbb_enc_bitmap_add(struct vbb_enc *e, vbb_u64 unit, vbb_u64 nr)
{
	while (nr) {
		vbb_u64 bit = unit - e->word_unit;

		if (bit > 63) {
			vbb_enc_bitmap_turn(e, unit);
		} else {
			vbb_u64 n = nr < 64 - bit ? nr : 64 - bit;

			e->word |= vbb_mask64((vbb_u32)bit, (vbb_u32)n);
			unit += n;
			nr -= n;
		}
	}
}

/* Write the runs held back as records. */
static void vbb_enc_flush_records(struct vbb_enc *e)
{
	struct vbb_plan *p = &e->plan;
	struct vbb_rec rec;
	struct vbb_range r;

	vbb_plan_start(p);
	while (vbb_plan_next(p, &rec)) {
		e->msg.nr_pages += rec.nr_pages;
		if (rec.nr_words) {
			vbb_enc_rec_begin(e, vbb_shr(rec.pfn, rec.order), rec.order);
			while (vbb_plan_next_run(p, &r)) {
				e->msg.nr_pages += r.nr_pages;
				vbb_enc_bitmap_add(e, vbb_shr(r.pfn, rec.order),
						   vbb_shr(r.nr_pages, rec.order));
			}
			vbb_enc_rec_close(e);
			continue;
		}
		e->rec_words = 0;
		e->len += 8;
		if (vbb_rec_words(&rec) == 1) {
			e->msg.nr_blocks++;
			vbb_enc_store_rec(&e->cur, rec.pfn, rec.order, VIRTIO_BALLOON_REC_BLOCK);
		} else {
			e->msg.nr_extents++;
			vbb_enc_store_rec(&e->cur, rec.pfn, 0, VIRTIO_BALLOON_REC_EXTENT);
			vbb_enc_store64(e, rec.nr_pages);
		}
	}
	vbb_plan_clear(p);
	e->nr_words = 0;
}

/* Write the first of the runs held back into the bitmap, but for its last word. */
static void vbb_enc_flush_bitmap(struct vbb_enc *e, size_t nr)
{
	struct vbb_plan *p = &e->plan;
	size_t i;

	for (i = 0; i < nr; i++) {
		if (!e->msg.nr_pages) {
			e->start_pfn = p->run[i].pfn & ~(vbb_u64)63;
			vbb_enc_bitmap_open(e, e->start_pfn);
		}
		vbb_enc_bitmap_add(e, p->run[i].pfn, p->run[i].nr_pages);
		e->msg.nr_pages += p->run[i].nr_pages;
	}
	vbb_plan_drop(p, nr);
}

/* Words that the runs held back take as one bitmap */
static vbb_u64 vbb_enc_bitmap_words(const struct vbb_plan *p)
{
	return vbb_shr(vbb_run_end(&p->run[p->nr_runs - 1]) + 63, 6) - vbb_shr(p->run[0].pfn, 6);
}

/*
 * Write runs held back, at the end all of them, and decide for a format where that is still open.
 * Not for BITMAP before as many runs were taken as VBB_ENC_BOUND() promises, since after that a
 * message takes no runs from far away.
 */
static void vbb_enc_flush(struct vbb_enc *e, bool end)
{
	struct vbb_plan *p = &e->plan;
	vbb_u64 promised, nr_words, bitmap_words;

	if (e->format != VBB_FMT_BITMAP) {
		/* what was promised when the late runs were taken; of equals what is simple */
		promised = e->nr_words + vbb_plan_late_words(p);
		nr_words = vbb_plan_count(p, false);
		if (nr_words > promised ||
		    (nr_words == promised && !e->nr_words && !vbb_plan_is_simple(p)))
			nr_words = vbb_plan_count(p, true);
		bitmap_words = vbb_enc_bitmap_words(p);
		/* a bitmap that is not longer fits where the records would */
		if (e->format == VBB_FMT_AUTO && (end || 16 * e->nr_put >= e->len_max) &&
		    bitmap_words <= nr_words)
			e->format = VBB_FMT_BITMAP;
		else
			e->format = VBB_FMT_RECORDS;
	}
	if (e->format == VBB_FMT_RECORDS)
		vbb_enc_flush_records(e);
	else
		vbb_enc_flush_bitmap(e, end ? p->nr_runs : p->nr_runs / 2);
}

/* Will the runs held back, and one more, surely find room? */
static bool vbb_enc_fits(const struct vbb_enc *e, const struct vbb_range *more)
{
	return 8 * (e->nr_words + vbb_plan_late_words_with(&e->plan, more)) <= vbb_enc_room(e);
}

/*
 * Make it so, where it is not. Late runs are counted as if they were apart, until that is too much;
 * then all is planned together, so that less is promised. It is written where few runs came since
 * the last time, lest all be planned again for each run when the message is nearly full.
 */
static bool vbb_enc_make_room(struct vbb_enc *e, const struct vbb_range *more)
{
	struct vbb_plan *p = &e->plan;
	vbb_u64 nr_words;
	size_t nr_late;

	nr_words = vbb_plan_count(p, false);
	if (nr_words > e->nr_words + vbb_plan_late_words(p))
		return false;
	e->nr_words = nr_words;
	nr_late = vbb_plan_keep(p);
	if (!vbb_enc_fits(e, more))
		return false;
	if (p->nr_runs > 64 && nr_late < p->nr_runs / 8)
		vbb_enc_flush(e, false);
	return true;
}

/* Cut a run's front off. */
static void vbb_run_cut(struct vbb_range *r, vbb_u64 nr_pages)
{
	r->pfn += nr_pages;
	r->nr_pages -= nr_pages;
}

/* Take the front of r, or change something so that the next call will. */
static int vbb_enc_put_records(struct vbb_enc *e, struct vbb_range *r)
{
	struct vbb_range part;

	if (!vbb_plan_part(&e->plan, r, &part))
		return 0;
	if (!vbb_enc_fits(e, &part))
		return vbb_enc_make_room(e, &part) ? 0 : VBB_E_NOSPC;
	if (vbb_plan_add(&e->plan, &part)) {
		e->nr_put++;
		vbb_run_cut(r, part.nr_pages);
	} else {
		vbb_enc_flush(e, false);
	}
	return 0;
}

/* Likewise. A run may also lie behind what the message can name, or before what is written. */
static int vbb_enc_put_pages(struct vbb_enc *e, struct vbb_range *r)
{
	struct vbb_plan *p = &e->plan;
	bool begun = e->msg.nr_pages;
	vbb_u64 pfn, end;
	struct vbb_range part;

	if (!vbb_plan_part(p, r, &part))
		return 0;
	pfn = begun ? e->start_pfn : part.pfn;
	if (!begun && p->nr_runs && p->run[0].pfn < pfn)
		pfn = p->run[0].pfn;
	end = (pfn & ~(vbb_u64)63) + 8 * e->len_max;
	if (part.pfn >= end || (begun && part.pfn < e->word_unit) ||
	    (p->nr_runs && vbb_run_end(&p->run[p->nr_runs - 1]) > end))
		return VBB_E_NOSPC;
	if (part.nr_pages > end - part.pfn)
		part.nr_pages = end - part.pfn;
	if (vbb_plan_add(p, &part))
		vbb_run_cut(r, part.nr_pages);
	else
		vbb_enc_flush(e, false);
	return 0;
}

static int vbb_enc_put_pfns(struct vbb_enc *e, struct vbb_range *r)
{
	if (r->pfn + r->nr_pages > vbb_pow2(32))
		return VBB_E_INVAL;
	for (; r->nr_pages; r->nr_pages--, r->pfn++) {
		if (vbb_enc_room(e) < 4)
			return VBB_E_NOSPC;
		vbb_cur_store(&e->cur, r->pfn, 4);
		e->len += 4;
		e->msg.nr_pages++;
	}
	return 0;
}

/* Where pages begin that a BITMAP message cannot name, as it has begun or will with run[0] */
static vbb_u64 vbb_enc_end(const struct vbb_enc *e)
{
	vbb_u64 pfn = e->msg.nr_pages ? e->start_pfn : e->plan.run[0].pfn;

	return (pfn & ~(vbb_u64)63) + 8 * e->len_max;
}

/* Take a run that lies behind all that are held back, where it finds room without a plan. */
static bool vbb_enc_append(struct vbb_enc *e, struct vbb_range *r)
{
	struct vbb_plan *p = &e->plan;

	/* the old format holds none back */
	if (!p->nr_runs)
		return false;
	if (e->format == VBB_FMT_BITMAP) {
		if (vbb_run_end(r) > vbb_enc_end(e))
			return false;
	} else if (8 * (e->nr_words + p->late_sum.nr_words + 2) > vbb_enc_room(e)) {
		return false;
	}
	if (!vbb_plan_append(p, r))
		return false;
	e->nr_put++;
	vbb_run_cut(r, r->nr_pages);
	return true;
}

/* Out of line, since what it needs in registers would cost the others time. */
static __attribute__((__noinline__)) int vbb_enc_put_slowly(struct vbb_enc *e, struct vbb_range *r)
{
	int err = 0;

	if (e->format == VBB_FMT_PFNS)
		return vbb_enc_put_pfns(e, r);
	while (r->nr_pages && !err)
		err = e->format == VBB_FMT_BITMAP ? vbb_enc_put_pages(e, r) :
						    vbb_enc_put_records(e, r);
	return err;
}

int vbb_enc_put(struct vbb_enc *e, struct vbb_range *r)
{
	if (e->state != STATE_OPEN || e->format == VBB_FMT_VALUES)
		return VBB_E_STATE;
	if (!vbb_range_valid(r, e->cfg.page_shift))
		return VBB_E_INVAL;
	return vbb_enc_append(e, r) ? 0 : vbb_enc_put_slowly(e, r);
}

/* Bits from b->pos on, 64 or as many as there are, in the low end; b->pos is below b->nr_bits. */
static vbb_u64 vbb_bitmap_peek(const struct vbb_bitmap *b, vbb_u32 *nr)
{
	vbb_u64 byte = b->pos / 8, last = (b->nr_bits - 1) / 8, v = 0;
	vbb_u32 skip = (vbb_u32)(b->pos % 8), i;

	if (last - byte >= 7)
		v = vbb_load64(b->bits + byte);
	else
		for (i = 0; i <= last - byte; i++)
			v |= (vbb_u64)vbb_load8(b->bits + byte + i) << (8 * i);
	*nr = 64 - skip;
	if (b->nr_bits - b->pos < *nr)
		*nr = (vbb_u32)(b->nr_bits - b->pos);
	return vbb_shr(v, skip) & vbb_mask64(0, *nr);
}

int vbb_enc_put_bitmap(struct vbb_enc *e, struct vbb_bitmap *b)
{
	if (e->state != STATE_OPEN || e->format == VBB_FMT_VALUES)
		return VBB_E_STATE;
	if (b->pfn > VBB_PFN_END || b->nr_bits > VBB_PFN_END)
		return VBB_E_INVAL;
	while (b->pos < b->nr_bits) {
		struct vbb_range r;
		vbb_u64 pos = b->pos;
		vbb_u32 nr, n;
		vbb_u64 v = vbb_bitmap_peek(b, &nr);
		int err;

		if (!v) {
			b->pos += nr;
			continue;
		}
		n = vbb_ctz64(v);
		r.pfn = b->pfn + b->pos + n;
		r.nr_pages = vbb_ones64(v, n);
		b->pos += n + r.nr_pages;
		while (n + r.nr_pages >= nr && b->pos < b->nr_bits) {
			v = vbb_bitmap_peek(b, &nr);
			n = vbb_ones64(v, 0);
			b->pos += n;
			r.nr_pages += n;
			if (n < nr)
				break;
		}
		err = vbb_enc_put(e, &r);
		if (err) {
			b->pos = err == VBB_E_NOSPC ? r.pfn - b->pfn : pos;
			return err;
		}
	}
	return 0;
}

int vbb_enc_put_value(struct vbb_enc *e, vbb_u64 value)
{
	if (e->state != STATE_OPEN || e->format != VBB_FMT_VALUES)
		return VBB_E_STATE;
	if (vbb_enc_room(e) < 8)
		return VBB_E_NOSPC;
	vbb_enc_store64(e, value);
	return 0;
}

static bool vbb_cfg_valid(const struct vbb_enc_cfg *cfg)
{
	switch (cfg->formats) {
	case VBB_FMT_PFNS:
		return cfg->page_shift == VIRTIO_BALLOON_PAGE_SHIFT_MIN;
	case VBB_FMT_BITMAP:
	case VBB_FMT_RECORDS:
	case VBB_FMT_AUTO:
	case VBB_FMT_VALUES:
		return cfg->page_shift >= VIRTIO_BALLOON_PAGE_SHIFT_MIN &&
		       cfg->page_shift <= VIRTIO_BALLOON_PAGE_SHIFT_MAX;
	default:
		return false;
	}
}

int vbb_enc_next(struct vbb_enc *e, const struct vbb_seg *seg, size_t nr_segs)
{
	if (e->state != STATE_CLOSED)
		return VBB_E_STATE;
	vbb_cur_init(&e->hdr, seg, nr_segs);
	vbb_cur_init(&e->cur, seg, nr_segs);
	if (e->cfg.formats == VBB_FMT_PFNS) {
		if (e->cur.left < 4)
			return VBB_E_TOOSMALL;
		e->len_max = e->cur.left & ~(vbb_u64)3;
	} else {
		if (e->cur.left < VBB_ENC_LEN_MIN)
			return VBB_E_TOOSMALL;
		vbb_cur_skip(&e->cur, VBB_HDR_LEN);
		e->len_max = e->cur.left & ~(vbb_u64)7;
	}
	if (e->len_max > VIRTIO_BALLOON_BMAP_LEN_MAX)
		e->len_max = VIRTIO_BALLOON_BMAP_LEN_MAX;
	e->format = e->cfg.formats;
	e->start_pfn = 0;
	e->len = 0;
	e->word_unit = 0;
	e->word = 0;
	e->rec_words = 0;
	e->nr_words = 0;
	e->nr_put = 0;
	vbb_plan_clear(&e->plan);
	e->msg.nr_pages = 0;
	e->msg.nr_blocks = 0;
	e->msg.nr_bitmaps = 0;
	e->msg.nr_extents = 0;
	e->state = STATE_OPEN;
	return 0;
}

int vbb_enc_init(struct vbb_enc *e, const struct vbb_enc_cfg *cfg, const struct vbb_seg *seg,
		 size_t nr_segs)
{
	e->cfg = *cfg;
	e->state = vbb_cfg_valid(cfg) ? STATE_CLOSED : STATE_BAD;
	return e->state == STATE_BAD ? VBB_E_INVAL : vbb_enc_next(e, seg, nr_segs);
}

int vbb_enc_finish(struct vbb_enc *e, vbb_u16 flag, struct vbb_msg *msg)
{
	struct vbb_hdr h;
	bool empty;

	if (e->state != STATE_OPEN)
		return VBB_E_STATE;
	empty = !e->len && !e->plan.nr_runs;
	if (flag > VIRTIO_BALLOON_FLAG_FAILED || (flag > VIRTIO_BALLOON_FLAG_DONE && !empty) ||
	    (flag && e->format == VBB_FMT_PFNS))
		return VBB_E_INVAL;
	if (e->plan.nr_runs)
		vbb_enc_flush(e, true);
	if (e->format == VBB_FMT_AUTO)
		e->format = VBB_FMT_BITMAP;
	if (e->format == VBB_FMT_BITMAP && !empty)
		vbb_enc_store64(e, e->word);
	e->state = STATE_CLOSED;
	msg->len = 0;
	msg->nr_pages = e->msg.nr_pages;
	msg->nr_blocks = e->msg.nr_blocks;
	msg->nr_bitmaps = e->msg.nr_bitmaps;
	msg->nr_extents = e->msg.nr_extents;
	msg->format = e->format;
	if (empty && !vbb_flag_ends(flag))
		return 0;
	msg->len = e->len;
	if (e->format == VBB_FMT_PFNS)
		return 0;
	msg->len += VBB_HDR_LEN;
	h.cmd = e->cfg.cmd;
	h.page_shift = e->cfg.page_shift;
	h.flag = flag;
	h.format = (vbb_u16)vbb_ctz64(e->format);
	h.req_id = e->cfg.req_id;
	h.start_pfn = e->start_pfn;
	h.bmap_len = e->len;
	return vbb_hdr_store(&h, &e->hdr);
}

vbb_u64 vbb_enc_bound(vbb_u64 nr_ranges)
{
	const vbb_u64 max = VIRTIO_BALLOON_BMAP_LEN_MAX / 16;

	return VBB_ENC_BOUND(nr_ranges < max ? nr_ranges : max);
}
