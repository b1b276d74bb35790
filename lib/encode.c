// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause
/*
 * Pages and numbers to messages: what is held back, and when it is written. What records a message
 * has is decided in plan.c; write.c writes them.
 */
#include "write.h"

enum {
	STATE_BAD,	/* the configuration is no good */
	STATE_CLOSED,	/* between messages */
	STATE_OPEN,	/* in a message */
};

/*@ predicate vbb_enc_ok(struct vbb_enc e) =
  @   e.state <= STATE_OPEN && (e.state == STATE_OPEN ==> vbb_enc_open(e)) &&
  @   (e.state != STATE_BAD ==> vbb_enc_cfg_ok(e.cfg));
  @*/

/* Cut a run's front off. */
/*@ requires \valid(r) && r->pfn + r->nr_pages <= 0x8000000000000000 && nr_pages <= r->nr_pages;
  @ assigns *r;
  @ ensures r->pfn == \old(r->pfn) + nr_pages && r->nr_pages == \old(r->nr_pages) - nr_pages;
  @*/
static void vbb_run_cut(struct vbb_range *r, vbb_u64 nr_pages)
{
	r->pfn += nr_pages;
	r->nr_pages -= nr_pages;
}

/* Words that the runs held back take as one bitmap */
/*@ requires \valid_read(p) && p->nr_runs >= 1 && vbb_plan_ok(*p);
  @ assigns \nothing;
  @*/
static vbb_u64 vbb_enc_bitmap_words(const struct vbb_plan *p)
{
	return vbb_shr(vbb_run_end(&p->run[p->nr_runs - 1]) + 63, 6) - vbb_shr(p->run[0].pfn, 6);
}

/*
 * Write runs held back, at the end all of them, and decide for a format where that is still open.
 * Not for BITMAP before as many runs were taken as VBB_ENC_BOUND() promises, since after that a
 * message takes no runs from far away.
 */
/*@ requires \valid(e) && vbb_enc_open(*e) && e->plan.nr_runs >= (end != 0 ? 1 : 2);
  @ assigns VBB_ENC_OPEN_OF(e);
  @ ensures open: vbb_enc_open(*e);
  @ ensures format: e->format == VBB_FMT_BITMAP || e->format == VBB_FMT_RECORDS;
  @ ensures all: end != 0 ==> e->plan.nr_runs == 0;
  @ ensures less: e->plan.nr_runs < \old(e->plan.nr_runs);
  @ ensures late: e->plan.late_sum.nr_words == 0 ||
  @   e->plan.late_sum.nr_words == \old(e->plan.late_sum.nr_words);
  @*/
static void vbb_enc_flush(struct vbb_enc *e, bool end)
{
	bool quick = e->cfg.formats == VBB_FMT_QUICK;
	vbb_u64 promised, nr_words, bitmap_words;

	if (e->format != VBB_FMT_BITMAP) {
		/* what was promised when the late runs were taken; of equals what is simple */
		promised = e->nr_words + vbb_plan_late_words(&e->plan);
		nr_words = vbb_plan_count(&e->plan, false, quick);
		if (nr_words > promised ||
		    (nr_words == promised && !e->nr_words && !vbb_plan_is_simple(&e->plan)))
			nr_words = vbb_plan_count(&e->plan, true, quick);
		bitmap_words = vbb_enc_bitmap_words(&e->plan);
		/* a bitmap that is not longer fits where the records would */
		if (e->format == VBB_FMT_AUTO && (end || e->nr_put >= (e->len_max + 15) / 16) &&
		    bitmap_words <= nr_words)
			e->format = VBB_FMT_BITMAP;
		else
			e->format = VBB_FMT_RECORDS;
	}
	if (e->format == VBB_FMT_RECORDS)
		vbb_write_records(e);
	else
		vbb_write_bitmap(e, end ? e->plan.nr_runs : e->plan.nr_runs / 2);
}

/* Will the runs held back, and one more, surely find room? */
/*@ requires \valid_read(e) && e->len <= e->len_max && vbb_plan_ok(e->plan);
  @ requires e->nr_words <= 3 * VBB_WORDS_MAX;
  @ requires \valid_read(more) && \separated(e, more) && vbb_range_ok(*more);
  @ assigns \nothing;
  @*/
static bool vbb_enc_fits(const struct vbb_enc *e, const struct vbb_range *more)
{
	return 8 * (e->nr_words + vbb_plan_late_words_with(&e->plan, more)) <= vbb_enc_room(e);
}

/*
 * Make it so, where it is not. Late runs are counted as if they were apart, until that is too much;
 * then all is planned together, so that less is promised. It is written where few runs came since
 * the last time, lest all be planned again for each run when the message is nearly full.
 */
/*@ requires \valid(e) && vbb_enc_open(*e) && (e->format == VBB_FMT_AUTO ||
  @   e->format == VBB_FMT_BITMAP ||
  @   e->format == VBB_FMT_RECORDS);
  @ requires \valid_read(more) && \separated(e, more) && vbb_range_ok(*more);
  @ assigns VBB_ENC_OPEN_OF(e);
  @ ensures open: vbb_enc_open(*e);
  @ ensures format: (e->format == VBB_FMT_AUTO || e->format == VBB_FMT_BITMAP ||
  @   e->format == VBB_FMT_RECORDS);
  @ ensures less: \result != 0 ==> e->plan.nr_runs <= \old(e->plan.nr_runs) &&
  @   e->plan.late_sum.nr_words == 0 && \old(e->plan.late_sum.nr_words) != 0;
  @*/
static bool vbb_enc_make_room(struct vbb_enc *e, const struct vbb_range *more)
{
	vbb_u64 nr_words;
	size_t nr_late;

	if (!e->plan.late_sum.nr_words)
		return false;
	nr_words = vbb_plan_count(&e->plan, false, e->cfg.formats == VBB_FMT_QUICK);
	if (nr_words > e->nr_words + vbb_plan_late_words(&e->plan))
		return false;
	e->nr_words = nr_words;
	nr_late = vbb_plan_keep(&e->plan);
	if (!vbb_enc_fits(e, more))
		return false;
	if (e->plan.nr_runs > 64 && nr_late < e->plan.nr_runs / 8)
		vbb_enc_flush(e, false);
	return true;
}

/* Take the front of r, or change something so that the next call will. */
/*@ requires \valid(e) && \valid(r) && \separated(e, r) && vbb_below(*r) && vbb_enc_open(*e);
  @ requires e->format == VBB_FMT_AUTO || e->format == VBB_FMT_RECORDS;
  @ assigns VBB_ENC_OPEN_OF(e), e->nr_put, *r;
  @ ensures open: vbb_enc_open(*e);
  @ ensures format: (e->format == VBB_FMT_AUTO || e->format == VBB_FMT_BITMAP ||
  @   e->format == VBB_FMT_RECORDS);
  @ ensures rest: r->pfn + r->nr_pages == \old(r->pfn + r->nr_pages) && r->pfn >= \old(r->pfn);
  @ ensures less: \result == 0 && \old(r->nr_pages) != 0 ==>
  @   vbb_enc_todo(r->nr_pages, e->plan.nr_runs, e->plan.late_sum.nr_words) <
  @   \old(vbb_enc_todo(r->nr_pages, e->plan.nr_runs, e->plan.late_sum.nr_words));
  @ ensures \result == 0 || \result == VBB_E_NOSPC;
  @*/
static int vbb_enc_put_records(struct vbb_enc *e, struct vbb_range *r)
{
	struct vbb_range part;

	if (!vbb_plan_part(&e->plan, r, &part))
		return 0;
	if (!vbb_enc_fits(e, &part))
		return vbb_enc_make_room(e, &part) ? 0 : VBB_E_NOSPC;
	if (vbb_plan_add(&e->plan, &part)) {
		e->nr_put = vbb_add(e->nr_put, 1);
		vbb_run_cut(r, part.nr_pages);
	} else {
		vbb_enc_flush(e, false);
	}
	return 0;
}

/* Likewise. A run may also lie behind what the message can name, or before what is written. */
/*@ requires \valid(e) && \valid(r) && \separated(e, r) && vbb_below(*r) && vbb_enc_open(*e);
  @ requires e->format == VBB_FMT_BITMAP;
  @ assigns VBB_ENC_OPEN_OF(e), e->nr_put, *r;
  @ ensures open: vbb_enc_open(*e);
  @ ensures format: (e->format == VBB_FMT_AUTO || e->format == VBB_FMT_BITMAP ||
  @   e->format == VBB_FMT_RECORDS);
  @ ensures rest: r->pfn + r->nr_pages == \old(r->pfn + r->nr_pages) && r->pfn >= \old(r->pfn);
  @ ensures less: \result == 0 && \old(r->nr_pages) != 0 ==>
  @   vbb_enc_todo(r->nr_pages, e->plan.nr_runs, e->plan.late_sum.nr_words) <
  @   \old(vbb_enc_todo(r->nr_pages, e->plan.nr_runs, e->plan.late_sum.nr_words));
  @ ensures \result == 0 || \result == VBB_E_NOSPC;
  @*/
static int vbb_enc_put_pages(struct vbb_enc *e, struct vbb_range *r)
{
	bool begun = e->len;
	vbb_u64 pfn, end;
	struct vbb_range part;

	if (!vbb_plan_part(&e->plan, r, &part))
		return 0;
	pfn = begun ? e->start_pfn : part.pfn;
	if (!begun && e->plan.nr_runs && e->plan.run[0].pfn < pfn)
		pfn = e->plan.run[0].pfn;
	end = vbb_align_down(pfn, 6) + 8 * e->len_max;
	if (part.pfn >= end || (begun && part.pfn < e->word_unit) ||
	    (e->plan.nr_runs && vbb_run_end(&e->plan.run[e->plan.nr_runs - 1]) > end))
		return VBB_E_NOSPC;
	if (part.nr_pages > end - part.pfn)
		part.nr_pages = end - part.pfn;
	if (vbb_plan_add(&e->plan, &part))
		vbb_run_cut(r, part.nr_pages);
	else
		vbb_enc_flush(e, false);
	return 0;
}

/*@ requires \valid(e) && \valid(r) && \separated(e, r) && vbb_range_ok(*r) && vbb_enc_open(*e);
  @ requires e->format == VBB_FMT_PFNS;
  @ assigns VBB_ENC_POS_OF(e), e->msg.nr_pages, *r;
  @ ensures open: vbb_enc_open(*e);
  @ ensures rest: r->pfn + r->nr_pages == \old(r->pfn + r->nr_pages) && r->pfn >= \old(r->pfn);
  @ ensures done: \result == 0 ==> r->nr_pages == 0;
  @ ensures untouched: \result == VBB_E_INVAL ==> *r == \old(*r);
  @ ensures \result == 0 || \result == VBB_E_NOSPC || \result == VBB_E_INVAL;
  @*/
static int vbb_enc_put_pfns(struct vbb_enc *e, struct vbb_range *r)
{
	if (r->pfn + r->nr_pages > vbb_pow2(32))
		return VBB_E_INVAL;
	/*@ loop invariant buf: vbb_enc_buf(e->cur, e->len, e->len_max) && e->len >= \at(e->len,
	  @   Pre);
	  @ loop invariant r->pfn + r->nr_pages == \at(r->pfn + r->nr_pages, Pre);
	  @ loop invariant r->pfn >= \at(r->pfn, Pre);
	  @ loop assigns VBB_ENC_POS_OF(e), e->msg.nr_pages, *r;
	  @ loop variant r->nr_pages;
	  @*/
	while (r->nr_pages) {
		if (vbb_enc_room(e) < 4)
			return VBB_E_NOSPC;
		vbb_cur_store(&e->cur, r->pfn, 4);
		e->len += 4;
		e->msg.nr_pages = vbb_add(e->msg.nr_pages, 1);
		vbb_run_cut(r, 1);
	}
	return 0;
}

/* Where pages begin that a BITMAP message cannot name, as it has begun or will with run[0] */
/*@ requires \valid_read(e) && vbb_plan_ok(e->plan) && e->plan.nr_runs >= 1;
  @ requires e->start_pfn < VBB_PFN_END && e->len_max <= VIRTIO_BALLOON_BMAP_LEN_MAX;
  @ assigns \nothing;
  @*/
static vbb_u64 vbb_enc_end(const struct vbb_enc *e)
{
	vbb_u64 pfn = e->len ? e->start_pfn : e->plan.run[0].pfn;

	return vbb_align_down(pfn, 6) + 8 * e->len_max;
}

/*
 * Take the first of some runs: those that lie behind all that are held back, and find room without
 * a plan. Returns how many.
 */
/*@ requires \valid(e) && \valid_read(r + (0 .. nr - 1)) && \separated(e, r + (0 .. nr - 1));
  @ requires vbb_enc_open(*e) && nr >= 1;
  @ assigns e->plan.nr_runs, e->plan.late_sum, VBB_ENC_HELD_OF(e), e->nr_put;
  @ ensures open: vbb_enc_open(*e);
  @ ensures few: 0 <= \result <= nr;
  @ ensures first: \result >= 1 ==> r->pfn + r->nr_pages <= vbb_limit;
  @*/
static size_t vbb_enc_append(struct vbb_enc *e, const struct vbb_range *r, size_t nr)
{
	vbb_u64 limit = vbb_pfn_end(e->cfg.page_shift), nr_words = vbb_enc_room(e) / 8;

	/* the old format holds none back */
	if (!e->plan.nr_runs)
		return 0;
	if (e->format == VBB_FMT_BITMAP) {
		limit = vbb_min(limit, vbb_enc_end(e));
		nr_words = ~(vbb_u64)0;
	} else {
		nr_words -= vbb_min(nr_words, e->nr_words);
	}
	nr = vbb_plan_append(&e->plan, r, nr, limit, nr_words);
	e->nr_put = vbb_add(e->nr_put, nr);
	return nr;
}

/* Out of line, since what it needs in registers would cost the others time. */
/*@ requires \valid(e) && \valid(r) && \separated(e, r) && vbb_below(*r) && vbb_enc_open(*e) &&
  @   e->format != VBB_FMT_VALUES;
  @ assigns VBB_ENC_OPEN_OF(e), e->nr_put, *r;
  @ ensures open: vbb_enc_open(*e);
  @ ensures rest: r->pfn + r->nr_pages == \old(r->pfn + r->nr_pages) && r->pfn >= \old(r->pfn);
  @ ensures all: \result == 0 ==> r->nr_pages == 0;
  @ ensures untouched: \result == VBB_E_INVAL || \result == VBB_E_STATE ==> *r == \old(*r);
  @ ensures  \result == 0 || \result == VBB_E_NOSPC || \result == VBB_E_INVAL;
  @*/
static __attribute__((__noinline__)) int vbb_enc_put_slowly(struct vbb_enc *e, struct vbb_range *r)
{
	int err = 0;

	if (e->format == VBB_FMT_PFNS)
		return vbb_enc_put_pfns(e, r);
	/*@ loop invariant open: vbb_enc_open(*e) && vbb_below(*r);
	  @ loop invariant format: (e->format == VBB_FMT_AUTO || e->format == VBB_FMT_BITMAP ||
	  @   e->format == VBB_FMT_RECORDS);
	  @ loop invariant r->pfn + r->nr_pages == \at(r->pfn + r->nr_pages, Pre);
	  @ loop invariant r->pfn >= \at(r->pfn, Pre);
	  @ loop invariant err == 0 || err == VBB_E_NOSPC;
	  @ loop assigns err, VBB_ENC_OPEN_OF(e), e->nr_put, *r;
	  @ loop variant err != 0 ? 0 : 1 + vbb_enc_todo(r->nr_pages, e->plan.nr_runs,
	  @   e->plan.late_sum.nr_words);
	  @*/
	while (r->nr_pages && !err)
		err = e->format == VBB_FMT_BITMAP ? vbb_enc_put_pages(e, r) :
						    vbb_enc_put_records(e, r);
	return err;
}

/*@ requires \valid(e) && \valid(r) && \separated(e, r) && vbb_enc_ok(*e);
  @ assigns VBB_ENC_OPEN_OF(e), e->nr_put, *r;
  @ ensures ok: vbb_enc_ok(*e);
  @ ensures rest: r->pfn + r->nr_pages == \old(r->pfn + r->nr_pages) && r->pfn >= \old(r->pfn);
  @ ensures all: \result == 0 ==> r->nr_pages == 0;
  @ ensures untouched: \result == VBB_E_INVAL || \result == VBB_E_STATE ==> *r == \old(*r);
  @ ensures \result == VBB_E_STATE || \result == 0 || \result == VBB_E_NOSPC ||
  @   \result == VBB_E_INVAL;
  @*/
int vbb_enc_put(struct vbb_enc *e, struct vbb_range *r)
{
	struct vbb_range whole;

	if (e->state != STATE_OPEN || e->format == VBB_FMT_VALUES)
		return VBB_E_STATE;
	whole = *r;
	if (vbb_enc_append(e, &whole, 1)) {
		vbb_run_cut(r, r->nr_pages);
		return 0;
	}
	if (!vbb_range_valid(r, e->cfg.page_shift))
		return VBB_E_INVAL;
	return vbb_enc_put_slowly(e, r);
}

/*@ requires \valid(e) && \valid(l) && \separated(e, l) && vbb_enc_ok(*e);
  @ requires \valid_read(l->run + (0 .. l->nr_runs - 1));
  @ requires \separated(e, l, l->run + (0 .. l->nr_runs - 1));
  @ assigns VBB_ENC_OPEN_OF(e), e->nr_put, l->pos, l->nr_taken;
  @ ensures ok: vbb_enc_ok(*e);
  @ ensures all: \result == 0 ==> l->pos >= l->nr_runs;
  @ ensures forward: l->pos >= \old(l->pos);
  @ ensures untouched: \result == VBB_E_STATE ==>
  @   l->pos == \old(l->pos) && l->nr_taken == \old(l->nr_taken);
  @*/
int vbb_enc_put_runs(struct vbb_enc *e, struct vbb_run_list *l)
{
	struct vbb_range r;
	int err;

	if (e->state != STATE_OPEN || e->format == VBB_FMT_VALUES)
		return VBB_E_STATE;
	/*@ loop invariant ok: vbb_enc_ok(*e) && e->state == STATE_OPEN;
	  @ loop invariant format: e->format != VBB_FMT_VALUES;
	  @ loop invariant forward: l->pos >= \at(l->pos, Pre);
	  @ loop assigns err, r, VBB_ENC_OPEN_OF(e), e->nr_put, l->pos, l->nr_taken;
	  @ loop variant l->nr_runs - l->pos;
	  @*/
	while (l->pos < l->nr_runs) {
		if (!l->nr_taken)
			l->pos += vbb_enc_append(e, l->run + l->pos, l->nr_runs - l->pos);
		if (l->pos == l->nr_runs)
			break;
		r = l->run[l->pos];
		if (!vbb_range_valid(&r, e->cfg.page_shift) || r.nr_pages <= l->nr_taken)
			return VBB_E_INVAL;
		vbb_run_cut(&r, l->nr_taken);
		err = vbb_enc_put_slowly(e, &r);
		if (err) {
			l->nr_taken = l->run[l->pos].nr_pages - r.nr_pages;
			return err;
		}
		l->nr_taken = 0;
		l->pos++;
	}
	return 0;
}

/*@ predicate vbb_bitmap_ok(struct vbb_bitmap b) =
  @   b.nr_bits <= VBB_PFN_END && \valid_read(b.bits + (0 .. (b.nr_bits + 7) / 8 - 1));
  @*/
/* Bits from b->pos on, 64 or as many as there are, in the low end; b->pos is below b->nr_bits. */
/*@ requires \valid_read(b) && \valid(nr) && \separated(b, nr) && vbb_bitmap_ok(*b);
  @ requires b->pos < b->nr_bits;
  @ assigns *nr;
  @ ensures 1 <= *nr <= 64 && b->pos + *nr <= b->nr_bits;
  @*/
static vbb_u64 vbb_bitmap_peek(const struct vbb_bitmap *b, vbb_u32 *nr)
{
	vbb_u64 byte = b->pos / 8, last = (b->nr_bits - 1) / 8, v = 0;
	vbb_u32 skip = (vbb_u32)(b->pos % 8), i;

	if (last - byte >= 7)
		v = vbb_load64(b->bits + byte);
	else
		/*@ loop invariant 0 <= i <= last - byte + 1 <= 7;
		  @ loop assigns i, v;
		  @ loop variant last - byte + 1 - i;
		  @*/
		for (i = 0; i <= last - byte; i++)
			v |= vbb_shl(vbb_load8(b->bits + byte + i), 8 * i);
	*nr = 64 - skip;
	if (b->nr_bits - b->pos < *nr)
		*nr = (vbb_u32)(b->nr_bits - b->pos);
	return vbb_shr(v, skip) & vbb_mask64(0, *nr);
}

/*@ requires \valid(e) && \valid(b) && \separated(e, b) && vbb_enc_ok(*e);
  @ requires b->nr_bits <= VBB_PFN_END ==> vbb_bitmap_ok(*b);
  @ assigns VBB_ENC_OPEN_OF(e), e->nr_put, b->pos;
  @ ensures ok: vbb_enc_ok(*e);
  @ ensures all: \result == 0 ==> b->pos >= b->nr_bits;
  @ ensures forward: b->pos >= \old(b->pos);
  @*/
int vbb_enc_put_bitmap(struct vbb_enc *e, struct vbb_bitmap *b)
{
	if (e->state != STATE_OPEN || e->format == VBB_FMT_VALUES)
		return VBB_E_STATE;
	if (b->pfn > VBB_PFN_END || b->nr_bits > VBB_PFN_END)
		return VBB_E_INVAL;
	/*@ loop invariant vbb_enc_ok(*e) && e->state == STATE_OPEN;
	  @ loop invariant b->pos >= \at(b->pos, Pre);
	  @ loop assigns VBB_ENC_OPEN_OF(e), e->nr_put, b->pos;
	  @ loop variant b->nr_bits + 128 - b->pos;
	  @*/
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
		r.nr_pages = vbb_run64(v, n);
		b->pos += n + r.nr_pages;
		/*@ loop invariant r.pfn + r.nr_pages == b->pfn + b->pos && n <= 64;
		  @ loop invariant r.nr_pages >= 1 && b->pos <= b->nr_bits + 128;
		  @ loop invariant b->pos > pos && r.pfn >= b->pfn + pos;
		  @ loop assigns v, n, nr, b->pos, r.nr_pages;
		  @ loop variant b->nr_bits + 128 - b->pos;
		  @*/
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

/*@ requires \valid(e) && vbb_enc_ok(*e);
  @ assigns VBB_ENC_POS_OF(e);
  @ ensures ok: vbb_enc_ok(*e);
  @*/
int vbb_enc_put_value(struct vbb_enc *e, vbb_u64 value)
{
	if (e->state != STATE_OPEN || e->format != VBB_FMT_VALUES)
		return VBB_E_STATE;
	if (vbb_enc_room(e) < 8)
		return VBB_E_NOSPC;
	vbb_enc_store64(e, value);
	return 0;
}

/*@ requires \valid_read(cfg) && vbb_enc_limit(*cfg);
  @ assigns \nothing;
  @ ensures \result != 0 ==> vbb_enc_cfg_ok(*cfg);
  @*/
static bool vbb_cfg_valid(const struct vbb_enc_cfg *cfg)
{
	switch (cfg->formats) {
	case VBB_FMT_PFNS:
		return cfg->page_shift == VIRTIO_BALLOON_PAGE_SHIFT_MIN;
	case VBB_FMT_BITMAP:
	case VBB_FMT_RECORDS:
	case VBB_FMT_AUTO:
	case VBB_FMT_QUICK:
	case VBB_FMT_VALUES:
		return cfg->page_shift >= VIRTIO_BALLOON_PAGE_SHIFT_MIN &&
		       cfg->page_shift <= VIRTIO_BALLOON_PAGE_SHIFT_MAX;
	default:
		return false;
	}
}

/*@ requires \valid(e) && vbb_segs(seg, nr_segs) && vbb_writable(seg, nr_segs);
  @ requires vbb_enc_ok(*e);
  @ assigns VBB_ENC_NEXT_OF(e);
  @ ensures ok: vbb_enc_ok(*e);
  @ ensures opened: \result == 0 <==> \old(e->state) == STATE_CLOSED && e->state == STATE_OPEN;
  @ ensures front: \result == 0 && e->format != VBB_FMT_PFNS ==>
  @   e->hdr.seg == seg && e->hdr.nr_segs == nr_segs && vbb_pos(e->hdr) == vbb_before(seg, 0);
  @*/
int vbb_enc_next(struct vbb_enc *e, const struct vbb_seg *seg, size_t nr_segs)
{
	if (e->state != STATE_CLOSED)
		return VBB_E_STATE;
	vbb_cur_init(&e->cur, seg, nr_segs);
	vbb_cur_copy(&e->hdr, &e->cur);
	if (e->cfg.formats == VBB_FMT_PFNS) {
		if (e->cur.left < 4)
			return VBB_E_TOOSMALL;
		e->len_max = e->cur.left / 4 * 4;
	} else {
		if (e->cur.left < VBB_ENC_LEN_MIN)
			return VBB_E_TOOSMALL;
		vbb_cur_skip(&e->cur, VBB_HDR_LEN);
		e->len_max = e->cur.left / 8 * 8;
	}
	if (e->len_max > VIRTIO_BALLOON_BMAP_LEN_MAX)
		e->len_max = VIRTIO_BALLOON_BMAP_LEN_MAX;
	e->format = e->cfg.formats == VBB_FMT_QUICK ? VBB_FMT_AUTO : e->cfg.formats;
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

/*@ requires \valid(e) && \valid_read(cfg) && \separated(e, cfg) && vbb_enc_limit(*cfg);
  @ requires vbb_segs(seg, nr_segs) && vbb_writable(seg, nr_segs);
  @ assigns e->cfg, VBB_ENC_NEXT_OF(e);
  @ ensures ok: vbb_enc_ok(*e);
  @ ensures opened: \result == 0 ==> e->state == STATE_OPEN;
  @*/
int vbb_enc_init(struct vbb_enc *e, const struct vbb_enc_cfg *cfg, const struct vbb_seg *seg,
		 size_t nr_segs)
{
	e->cfg = *cfg;
	e->state = vbb_cfg_valid(cfg) ? STATE_CLOSED : STATE_BAD;
	return e->state == STATE_BAD ? VBB_E_INVAL : vbb_enc_next(e, seg, nr_segs);
}

/*@ predicate vbb_enc_accepted(struct vbb_enc_cfg cfg, integer flag, integer format,
  @     integer start_pfn, integer len, integer left) =
  @   vbb_accepted(VBB_QUEUE_HOST_REQUEST, 1, cfg.cmd, cfg.page_shift, flag, format, cfg.req_id,
  @     start_pfn, len, left) &&
  @   (cfg.cmd == 0 && flag == 0 && cfg.req_id == 0 && format != 2 ==>
  @     vbb_accepted(VBB_QUEUE_BALLOON, 1, cfg.cmd, cfg.page_shift, flag, format, cfg.req_id,
  @       start_pfn, len, left));
  @*/

/*@ requires \valid(e) && \valid(msg) && \separated(e, msg) && vbb_enc_ok(*e);
  @ assigns *e, *msg;
  @ ensures ok: vbb_enc_ok(*e);
  @ ensures closed: \result == 0 <==> \old(e->state) == STATE_OPEN && e->state == STATE_CLOSED;
  @ ensures len: \result == 0 && msg->len != 0 ==>
  @   msg->len == e->len + (e->format == VBB_FMT_PFNS ? 0 : 32);
  @ ensures accepted: \result == 0 && msg->len != 0 && e->format != VBB_FMT_PFNS ==>
  @   vbb_enc_accepted(e->cfg, flag, e->format / 2, e->start_pfn, e->len, msg->len - 32);
  @*/
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
		vbb_enc_store_word(e);
	e->state = STATE_CLOSED;
	msg->len = 0;
	msg->nr_pages = e->msg.nr_pages;
	msg->nr_blocks = e->msg.nr_blocks;
	msg->nr_bitmaps = e->msg.nr_bitmaps;
	msg->nr_extents = e->msg.nr_extents;
	msg->format = e->format;
	if (!e->len && !vbb_flag_ends(flag))
		return 0;
	msg->len = e->len;
	if (e->format == VBB_FMT_PFNS)
		return 0;
	msg->len += VBB_HDR_LEN;
	h.cmd = e->cfg.cmd;
	h.page_shift = e->cfg.page_shift;
	h.flag = flag;
	/* VBB_FMT_BITMAP, _RECORDS and _VALUES are 1, 2 and 4 */
	h.format = (vbb_u16)(e->format / 2);
	h.req_id = e->cfg.req_id;
	h.start_pfn = e->start_pfn;
	h.bmap_len = e->len;
	/*@ assert vbb_enc_accepted(e->cfg, h.flag, h.format, h.start_pfn, h.bmap_len, e->len); */
	return vbb_hdr_store(&h, &e->hdr);
}

/*@ assigns \nothing;
  @ ensures 32 <= \result <= 32 + VIRTIO_BALLOON_BMAP_LEN_MAX;
  @*/
vbb_u64 vbb_enc_bound(vbb_u64 nr_ranges)
{
	const vbb_u64 max = VIRTIO_BALLOON_BMAP_LEN_MAX / 16;

	return VBB_ENC_BOUND(nr_ranges < max ? nr_ranges : max);
}
