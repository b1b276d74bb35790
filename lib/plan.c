// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause
/*
 * Which records name some runs of pages in the fewest words?
 *
 * A run by itself takes a word as a block, else two as an extent. A bitmap takes a word, and one
 * more for every 64 units of 2^order pages that it spans, however many runs lie there; but it can
 * name only whole units, so runs may be left over at one end: for bitmaps of lower order, or for a
 * record of their own. The orders at which no run begins or ends need no look.
 *
 * The best bitmaps at one order are found by a walk over the runs (order.h), which must know the
 * price of what it leaves to other orders. So it is done three times:
 *  1. From the highest order down, to find where bitmaps may help, and a run's share in them; that
 *     finer ones will take most of what is left over at ends is taken for granted.
 *  2. From the lowest order up, each one on what the one before left over: those are real bitmaps.
 *     What they cover is noted.
 *  3. As 2., but what step 2 covers at a higher order costs nothing. This gives the records.
 *
 * In a mix of many orders the guess of step 1 can lead to patches of several high orders where one
 * throughout would do. So where high orders take much, each is tried in place of the guess.
 */
#include "order.h"

/* Prices of ends left over in steps 1, and 2 and 3 */
#define VBB_ENDS_HOPED (VBB_WORD / 8)
#define VBB_ENDS_REAL VBB_WORD

/* Orders whose runs take less than this share of all words, 1 in so many, need no look. */
#define VBB_FEW 64

/* From this share of all words on, 1 in so many, the highest of the higher orders are tried. */
#define VBB_PATCHES 16
#define VBB_TRIES 4

/* The lowest set bit alone */
/*@ assigns \nothing;
  @ ensures \result <= v;
  @ ensures v != 0 ==> \result >= 1;
  @*/
static vbb_u64 vbb_low_bit(vbb_u64 v)
{
	return v ? vbb_pow2(vbb_ctz64(v)) : 0;
}

/*@ assigns \nothing;
  @ ensures \result != 0 <==> step \in {STEP_OPEN, STEP_TAIL, STEP_BOTH};
  @*/
static bool vbb_step_opens(vbb_u8 step)
{
	return step == STEP_OPEN || step == STEP_TAIL || step == STEP_BOTH;
}

/* What the bitmap that is opened at left[i] spans; returns an index behind its last whole run. */
/*@ requires \valid_read(p) && \valid(span) && \separated(p, span) && i < p->nr_left;
  @ requires vbb_left_ok(*p) && p->order <= VIRTIO_BALLOON_REC_ORDER_MAX;
  @ assigns *span;
  @ ensures next: i < \result <= p->nr_left;
  @ ensures span: vbb_range_ok(*span) && span->pfn < VBB_PFN_END;
  @*/
static size_t vbb_plan_span(const struct vbb_plan *p, size_t i, struct vbb_range *span)
{
	struct vbb_range core = vbb_run_core(&p->left[i], p->order);
	vbb_u64 last = vbb_run_end(&p->left[i]) - 1, end = vbb_run_end(&core);
	/* what a bitmap is opened for begins in the run */
	vbb_u64 pfn = p->step[i] == STEP_OPEN ? vbb_min(core.pfn, last) :
						vbb_tail_pfn(&p->left[i], p->order);

	/*@ loop invariant \at(i, Pre) < i <= p->nr_left && end <= VBB_PFN_END;
	  @ loop assigns i, core, end;
	  @ loop variant p->nr_left - i;
	  @*/
	for (i++; i < p->nr_left && !vbb_step_opens(p->step[i]); i++) {
		if (p->step[i] == STEP_COVER) {
			core = vbb_run_core(&p->left[i], p->order);
			end = vbb_run_end(&core);
		}
	}
	*span = vbb_run(pfn, end);
	return i;
}

/* Words of a bitmap that spans so much; a walk spans no more than a record can have. */
/*@ requires \valid_read(span) && order <= VIRTIO_BALLOON_REC_ORDER_MAX;
  @ assigns \nothing;
  @ ensures 1 <= \result <= VIRTIO_BALLOON_REC_BITMAP_MAX;
  @*/
static vbb_u32 vbb_span_words(const struct vbb_range *span, vbb_u32 order)
{
	return 1 + (vbb_u32)vbb_min(vbb_shr(vbb_sub(span->nr_pages, 1), order + 6),
				    VIRTIO_BALLOON_REC_BITMAP_MAX - 1);
}

/*@ predicate vbb_step_whole(integer step) = step == STEP_OPEN || step == STEP_COVER; */

/* Note for each run which bitmaps at the order at hand cover it, and its share in the cheapest. */
/*@ requires \valid(p) && vbb_left_ok(*p) && p->order <= VIRTIO_BALLOON_REC_ORDER_MAX;
  @ assigns VBB_PRICES_OF(p);
  @*/
static void vbb_plan_share(struct vbb_plan *p)
{
	size_t i = 0, next, k, run;

	/*@ loop invariant 0 <= i <= p->nr_left && vbb_left_ok(*p);
	  @ loop assigns i, next, k, run, VBB_PRICES_OF(p);
	  @ loop variant p->nr_left - i;
	  @*/
	while (i < p->nr_left) {
		struct vbb_range span;
		vbb_u32 nr = 0, price, share;

		if (!vbb_step_opens(p->step[i])) {
			i++;
			continue;
		}
		next = vbb_plan_span(p, i, &span);
		/*@ loop invariant i <= k <= next && nr <= k - i;
		  @ loop invariant \forall integer j; i <= j < k && vbb_step_whole(p->step[j]) ==>
		  @   nr >= 1;
		  @ loop assigns k, nr;
		  @ loop variant next - k;
		  @*/
		for (k = i; k < next; k++)
			nr += p->step[k] == STEP_OPEN || p->step[k] == STEP_COVER;
		price = (1 + vbb_span_words(&span, p->order)) * VBB_WORD;
		/*@ loop invariant i <= k <= next && vbb_left_ok(*p);
		  @ loop assigns k, run, share, VBB_PRICES_OF(p);
		  @ loop variant next - k;
		  @*/
		for (k = i; k < next; k++) {
			if (p->step[k] != STEP_OPEN && p->step[k] != STEP_COVER)
				continue;
			run = p->owner[k];
			share = price / nr;
			if (!p->on[run] || share < p->price[run])
				p->price[run] = (vbb_u16)share;
			p->on[run] |= vbb_pow2(p->order);
		}
		i = next;
	}
}

/* Keep the next of left[] for higher orders. */
/*@ requires \valid(p) && vbb_left_ok(*p) && p->nr_kept <= p->pos < p->nr_left;
  @ assigns p->nr_kept, VBB_LEFT_OF(p);
  @ ensures ok: vbb_left_ok(*p);
  @ ensures kept: p->nr_kept == \old(p->nr_kept) + 1;
  @*/
static void vbb_plan_leave(struct vbb_plan *p)
{
	p->left[p->nr_kept] = p->left[p->pos];
	p->owner[p->nr_kept++] = p->owner[p->pos];
}

/* The next bitmap at the order at hand */
/*@ requires \valid(p) && \valid(rec) && \separated(p, rec) && vbb_plan_ok(*p);
  @ requires vbb_given(*p) && p->phase == VBB_PHASE_ORDERS && p->fresh == 0;
  @ assigns *rec, p->pos, p->nr_kept, p->paid_end, p->fresh, VBB_LEFT_OF(p);
  @ ensures ok: vbb_plan_ok(*p);
  @ ensures given: vbb_given(*p);
  @ ensures rec: \result != 0 ==> vbb_rec_ok(*rec) && rec->nr_words >= 1 && p->fresh != 0;
  @ ensures on: p->pos >= \old(p->pos);
  @ ensures end: \result == 0 ==> p->pos == p->nr_left && p->fresh == 0;
  @*/
static bool vbb_plan_next_bitmap(struct vbb_plan *p, struct vbb_rec *rec)
{
	struct vbb_range span;

	/*@ loop invariant vbb_left_ok(*p) && p->nr_kept <= p->pos <= p->nr_left;
	  @ loop invariant vbb_plan_ok(*p) && p->pos >= \at(p->pos, Pre);
	  @ loop assigns p->pos, p->nr_kept, VBB_LEFT_OF(p);
	  @ loop variant p->nr_left - p->pos;
	  @*/
	for (; p->pos < p->nr_left && !vbb_step_opens(p->step[p->pos]); p->pos++)
		vbb_plan_leave(p);
	if (p->pos == p->nr_left)
		return false;
	vbb_plan_span(p, p->pos, &span);
	p->fresh = true;
	rec->order = p->order;
	rec->pfn = span.pfn;
	rec->nr_pages = 0;
	rec->nr_words = vbb_span_words(&span, p->order);
	/*@ assert rec->nr_words * (64 * vbb_two(p->order)) <=
	  @   VIRTIO_BALLOON_REC_BITMAP_MAX * (64 * vbb_two(p->order)); */
	/*@ assert rec->nr_words * (64 * vbb_two(p->order)) <= 0x7c00000000000000; */
	p->paid_end = span.pfn + rec->nr_words * (64 * vbb_pow2(p->order));
	return true;
}

/* Take [pfn, end) of the next of left[], and keep the rest, which lies on one side. */
/*@ requires \valid(p) && vbb_left_ok(*p) && p->nr_kept <= p->pos < p->nr_left;
  @ requires pfn <= p->left[p->pos].pfn + p->left[p->pos].nr_pages;
  @ requires end <= p->left[p->pos].pfn + p->left[p->pos].nr_pages;
  @ assigns p->pos, p->nr_kept, VBB_LEFT_OF(p);
  @ ensures ok: vbb_left_ok(*p);
  @ ensures kept: p->nr_kept <= p->pos == \old(p->pos) + 1;
  @ ensures taken: vbb_below(\result);
  @*/
static struct vbb_range vbb_plan_take(struct vbb_plan *p, vbb_u64 pfn, vbb_u64 end)
{
	const struct vbb_range whole = p->left[p->pos];
	struct vbb_range rest = vbb_run(whole.pfn, pfn);

	if (!rest.nr_pages)
		rest = vbb_run(end, vbb_run_end(&whole));
	if (rest.nr_pages) {
		p->left[p->nr_kept] = rest;
		p->owner[p->nr_kept++] = p->owner[p->pos];
	}
	p->pos++;
	return vbb_run(pfn, end);
}

/* As vbb_plan_next_run(), of the one bitmap for late runs */
/*@ requires \valid(p) && \valid(r) && \separated(p, r) && vbb_plan_ok(*p) && p->pos <= p->nr_runs;
  @ assigns *r, p->pos;
  @ ensures p->pos <= p->nr_runs;
  @ ensures run: \result != 0 ==> vbb_run_ok(*r) && p->pos > \old(p->pos);
  @ ensures end: \result == 0 ==> p->pos == p->nr_runs;
  @*/
static bool vbb_plan_next_late(struct vbb_plan *p, struct vbb_range *r)
{
	/*@ loop invariant \at(p->pos, Pre) <= p->pos <= p->nr_runs;
	  @ loop assigns *r, p->pos;
	  @ loop variant p->nr_runs - p->pos;
	  @*/
	while (p->pos < p->nr_runs) {
		*r = p->run[p->pos];
		if (p->late[p->pos++])
			return true;
	}
	return false;
}

bool vbb_plan_next_run(struct vbb_plan *p, struct vbb_range *r)
{
	if (p->phase == VBB_PHASE_LATE)
		return vbb_plan_next_late(p, r);
	/*@ loop invariant vbb_given(*p) && vbb_plan_ok(*p) && p->pos >= \at(p->pos, Pre);
	  @ loop invariant p->pos == \at(p->pos, Pre) ? p->fresh == \at(p->fresh, Pre) :
	  @   p->fresh == 0;
	  @ loop assigns p->pos, p->nr_kept, VBB_LEFT_OF(p);
	  @ loop variant p->nr_left - p->pos;
	  @*/
	for (; p->pos < p->nr_left; p->pos++) {
		const struct vbb_range left = p->left[p->pos];
		struct vbb_range core = vbb_run_core(&left, p->order);
		vbb_u64 end = vbb_run_end(&left);

		switch (p->step[p->pos]) {
		case STEP_OPEN:
		case STEP_TAIL:
			if (!p->fresh)
				return false;
			p->fresh = false;
			if (p->step[p->pos] == STEP_OPEN)
				*r = vbb_plan_take(p, core.pfn, vbb_run_end(&core));
			else
				*r = vbb_plan_take(p, vbb_tail_pfn(&left, p->order), end);
			return true;
		case STEP_COVER:
			*r = vbb_plan_take(p, core.pfn, vbb_run_end(&core));
			return true;
		case STEP_HEAD:
			*r = vbb_plan_take(p, left.pfn, vbb_head_end(&left, p->paid_end));
			return true;
		case STEP_BOTH:
			/* the tail is the next bitmap's */
			*r = vbb_run(left.pfn, vbb_head_end(&left, p->paid_end));
			p->left[p->pos] = vbb_run(vbb_run_end(r), end);
			p->step[p->pos] = STEP_TAIL;
			return true;
		default:
			vbb_plan_leave(p);
		}
	}
	return false;
}

/* Go to the next higher order. False where there is none. */
/*@ requires \valid(p) && vbb_plan_ok(*p) && vbb_given(*p) && p->phase == VBB_PHASE_ORDERS;
  @ requires p->fresh == 0;
  @ assigns p->nr_left, p->nr_kept, p->pos, p->order, p->orders_left, p->walked, VBB_STEPS_OF(p);
  @ ensures ok: vbb_plan_ok(*p);
  @ ensures given: vbb_given(*p);
  @ ensures less: \result != 0 ==> p->orders_left < \old(p->orders_left);
  @ ensures pos: p->pos == 0;
  @*/
static bool vbb_plan_next_order(struct vbb_plan *p)
{
	p->nr_left = p->nr_kept;
	p->nr_kept = 0;
	p->pos = 0;
	if (!p->orders_left)
		return false;
	p->order = vbb_ctz64(p->orders_left);
	p->orders_left &= p->orders_left - 1;
	if (!p->walked)
		vbb_plan_walk(p, VBB_ENDS_REAL);
	p->walked = false;
	return true;
}

/* Put back into left[] all that is to be planned. */
/*@ requires \valid(p) && vbb_plan_ok(*p);
  @ assigns p->nr_left, VBB_LEFT_OF(p);
  @ ensures ok: vbb_plan_ok(*p);
  @ ensures left: vbb_left_ok(*p);
  @*/
static void vbb_plan_load(struct vbb_plan *p)
{
	size_t i;

	p->nr_left = 0;
	/*@ loop invariant 0 <= i <= p->nr_runs && p->nr_left <= i && vbb_left_ok(*p);
	  @ loop invariant vbb_plan_ok(*p);
	  @ loop assigns i, p->nr_left, VBB_LEFT_OF(p);
	  @ loop variant p->nr_runs - i;
	  @*/
	for (i = 0; i < p->nr_runs; i++) {
		if (vbb_plan_is_apart(p, i))
			continue;
		p->left[p->nr_left] = p->run[i];
		p->owner[p->nr_left++] = (vbb_u16)i;
	}
}

/* Words of runs at an order, given as a power of two; all at 0 to begin with would be memset(). */
/*@ requires \valid(nr_words + (0 .. VIRTIO_BALLOON_REC_ORDER_MAX + 1));
  @ requires 1 <= unit <= VBB_PFN_END && nr <= 2;
  @ assigns nr_words[0 .. VIRTIO_BALLOON_REC_ORDER_MAX + 1];
  @*/
static void vbb_order_add(vbb_u32 *nr_words, vbb_u64 seen, vbb_u64 unit, vbb_u32 nr)
{
	vbb_u32 order = vbb_ctz64(unit);

	if (!(seen & unit))
		nr_words[order] = 0;
	nr_words[order] = (vbb_u32)vbb_min((vbb_u64)nr_words[order] + nr, VBB_WORDS_MAX);
}

/*
 * Orders at which a run begins or ends that is not too short for them. Not those, highest first,
 * whose runs take but few words in records of their own.
 */
/*@ requires \valid_read(p) && vbb_left_ok(*p);
  @ assigns \nothing;
  @ ensures \result < VBB_PFN_END;
  @*/
static vbb_u64 vbb_plan_orders(const struct vbb_plan *p, vbb_u64 few)
{
	vbb_u32 nr_words[VIRTIO_BALLOON_REC_ORDER_MAX + 2], order;
	vbb_u64 orders = 0, seen = 0;
	size_t i;

	/*@ loop invariant 0 <= i <= p->nr_left;
	  @ loop assigns i, nr_words[0 .. VIRTIO_BALLOON_REC_ORDER_MAX + 1], seen;
	  @ loop variant p->nr_left - i;
	  @*/
	for (i = 0; i < p->nr_left; i++) {
		const struct vbb_range r = p->left[i];
		vbb_u64 low = vbb_low_bit(r.pfn), end_low = vbb_low_bit(vbb_run_end(&r));

		if (low && low <= r.nr_pages) {
			vbb_order_add(nr_words, seen, low, vbb_run_words(&r));
			seen |= low;
		}
		if (end_low <= r.nr_pages) {
			vbb_order_add(nr_words, seen, end_low, vbb_run_words(&r));
			seen |= end_low;
		}
	}
	/*@ loop invariant order <= VIRTIO_BALLOON_REC_ORDER_MAX + 1;
	  @ loop invariant orders + vbb_two(order) <= vbb_two(VIRTIO_BALLOON_REC_ORDER_MAX + 1);
	  @ loop assigns order, orders, few;
	  @ loop variant order;
	  @*/
	for (order = VIRTIO_BALLOON_REC_ORDER_MAX + 1; order; order--) {
		if (!(seen & vbb_pow2(order - 1)))
			continue;
		if (nr_words[order - 1] > few)
			orders |= vbb_pow2(order - 1);
		else
			few -= nr_words[order - 1];
	}
	return orders;
}

/* Step 1 */
/*@ requires \valid(p) && vbb_left_ok(*p) && p->order <= VIRTIO_BALLOON_REC_ORDER_MAX;
  @ assigns p->order, VBB_STEPS_OF(p), VBB_PRICES_OF(p);
  @ ensures p->order <= VIRTIO_BALLOON_REC_ORDER_MAX;
  @*/
static void vbb_plan_guess(struct vbb_plan *p)
{
	vbb_u32 nr;

	/*@ loop invariant nr <= VIRTIO_BALLOON_REC_ORDER_MAX + 1 && vbb_left_ok(*p);
	  @ loop invariant p->order <= VIRTIO_BALLOON_REC_ORDER_MAX;
	  @ loop assigns nr, p->order, VBB_STEPS_OF(p), VBB_PRICES_OF(p);
	  @ loop variant nr;
	  @*/
	for (nr = VIRTIO_BALLOON_REC_ORDER_MAX + 1; nr; nr--) {
		if (!(p->orders & vbb_pow2(nr - 1)))
			continue;
		p->order = nr - 1;
		vbb_plan_walk(p, VBB_ENDS_HOPED);
		vbb_plan_share(p);
	}
}

/* Step 2 */
/*@ requires \valid(p) && vbb_plan_ok(*p) && vbb_counted(*p) && p->kind == VBB_PLAN_ORDERS;
  @ assigns VBB_REC_OF(p), VBB_PRICES_OF(p);
  @ ensures ok: vbb_plan_ok(*p);
  @ ensures order: p->order <= VIRTIO_BALLOON_REC_ORDER_MAX;
  @*/
static void vbb_plan_note(struct vbb_plan *p)
{
	struct vbb_range r, core;
	struct vbb_rec rec;
	size_t first, i;

	vbb_plan_start(p);
	/*@ loop invariant vbb_plan_ok(*p) && vbb_given(*p) && p->phase == VBB_PHASE_ORDERS;
	  @ loop invariant p->fresh == 0;
	  @ loop assigns i, first, rec, r, core, VBB_REC_OF(p), p->on[0 .. VBB_ENC_NR_PENDING - 1];
	  @ loop variant p->orders_left;
	  @*/
	while (vbb_plan_next_order(p)) {
		/*@ loop invariant 0 <= i <= p->nr_runs;
		  @ loop assigns i, p->on[0 .. VBB_ENC_NR_PENDING - 1];
		  @ loop variant p->nr_runs - i;
		  @*/
		for (i = 0; i < p->nr_runs; i++)
			p->on[i] &= ~vbb_pow2(p->order);
		first = 0;
		/*@ loop invariant vbb_plan_ok(*p) && vbb_given(*p) && p->phase == VBB_PHASE_ORDERS;
		  @ loop invariant p->fresh == 0 && first <= p->nr_runs;
		  @ loop assigns i, first, rec, r, core, p->paid_end, VBB_RUN_OF(p),
		  @   p->on[0 .. VBB_ENC_NR_PENDING - 1];
		  @ loop variant p->nr_left - p->pos;
		  @*/
		while (vbb_plan_next_bitmap(p, &rec)) {
			/*@ loop invariant first <= i <= p->nr_runs;
			  @ loop assigns i, first, core, p->on[0 .. VBB_ENC_NR_PENDING - 1];
			  @ loop variant p->nr_runs - i;
			  @*/
			for (i = first; i < p->nr_runs && p->run[i].pfn < p->paid_end; i++) {
				core = vbb_run_core(&p->run[i], p->order);
				if (vbb_run_end(&p->run[i]) <= rec.pfn)
					first = i + 1;
				else if (core.nr_pages && core.pfn >= rec.pfn &&
					 vbb_run_end(&core) <= p->paid_end)
					p->on[i] |= vbb_pow2(p->order);
			}
			/*@ loop invariant vbb_plan_ok(*p) && vbb_given(*p);
			  @ loop invariant vbb_records_left(*p) <=
			  @   \at(vbb_records_left(*p), LoopEntry);
			  @ loop assigns r, VBB_RUN_OF(p);
			  @ loop variant vbb_runs_left(*p);
			  @*/
			while (vbb_plan_next_run(p, &r))
				;
		}
	}
	/*@ loop invariant 0 <= i <= p->nr_runs;
	  @ loop assigns i, p->price[0 .. VBB_ENC_NR_PENDING - 1];
	  @ loop variant p->nr_runs - i;
	  @*/
	for (i = 0; i < p->nr_runs; i++)
		p->price[i] = 0;
}

void vbb_plan_start(struct vbb_plan *p)
{
	p->phase = VBB_PHASE_LEFT;
	p->fresh = false;
	p->pos = 0;
	p->nr_left = 0;
	if (vbb_plan_is_simple(p))
		return;
	p->phase = VBB_PHASE_ORDERS;
	vbb_plan_load(p);
	p->nr_kept = p->nr_left;
	p->pos = p->nr_left;
	p->orders_left = p->orders;
}

/* All orders were looked at. */
/*@ requires \valid(p);
  @ assigns p->phase, p->pos;
  @ ensures p->phase == VBB_PHASE_LEFT && p->pos == 0;
  @*/
static void vbb_plan_begin_left(struct vbb_plan *p)
{
	p->phase = VBB_PHASE_LEFT;
	p->pos = 0;
}

/* Late runs that were left out come now. True where they have a bitmap. */
/*@ requires \valid(p) && \valid(rec) && \separated(p, rec) && vbb_plan_ok(*p);
  @ assigns *rec, p->phase, p->pos;
  @ ensures p->phase == VBB_PHASE_LATE && p->pos <= p->nr_runs;
  @ ensures rec: \result != 0 ==> vbb_rec_ok(*rec) && rec->nr_words >= 1;
  @*/
static bool vbb_plan_begin_late(struct vbb_plan *p, struct vbb_rec *rec)
{
	vbb_u64 nr_words = vbb_late_bitmap(&p->late_sum);

	p->phase = VBB_PHASE_LATE;
	p->pos = p->late_apart ? 0 : p->nr_runs;
	if (!p->late_apart || !nr_words)
		return false;
	rec->order = vbb_ctz64(p->late_sum.edges);
	rec->pfn = p->late_sum.pfn;
	rec->nr_pages = 0;
	rec->nr_words = (vbb_u32)nr_words;
	return true;
}

/* A run's own record */
/*@ requires \valid_read(r) && \valid(rec) && \separated(r, rec) && vbb_run_ok(*r);
  @ assigns *rec;
  @ ensures vbb_rec_ok(*rec) && rec->nr_words == 0;
  @*/
static void vbb_run_rec(const struct vbb_range *r, struct vbb_rec *rec)
{
	rec->order = vbb_run_is_block(r) ? vbb_ctz64(r->nr_pages) : 0;
	rec->pfn = r->pfn;
	rec->nr_pages = r->nr_pages;
	rec->nr_words = 0;
}

bool vbb_plan_next(struct vbb_plan *p, struct vbb_rec *rec)
{
	struct vbb_range r;

	/*@ loop invariant vbb_plan_ok(*p) && vbb_given(*p) && vbb_between(*p);
	  @ loop invariant p->order == \at(p->order, Pre) ||
	  @   p->order <= VIRTIO_BALLOON_REC_ORDER_MAX;
	  @ loop invariant vbb_records_left(*p) <= \at(vbb_records_left(*p), Pre);
	  @ loop assigns *rec, VBB_REC_OF(p);
	  @ loop variant vbb_records_left(*p);
	  @*/
	while (p->phase == VBB_PHASE_ORDERS) {
		if (vbb_plan_next_bitmap(p, rec))
			return true;
		if (!vbb_plan_next_order(p))
			vbb_plan_begin_left(p);
	}
	if (p->phase == VBB_PHASE_LEFT && p->pos < p->nr_left) {
		vbb_run_rec(&p->left[p->pos++], rec);
		return true;
	}
	if (p->phase == VBB_PHASE_LEFT && vbb_plan_begin_late(p, rec))
		return true;
	/* a bitmap of late runs was all of them */
	if (!vbb_plan_next_late(p, &r))
		return false;
	vbb_run_rec(&r, rec);
	return true;
}

/* All words; those of bitmaps of other orders than the lowest in use; and which orders that are */
/*@ requires \valid(p) && \valid(higher_words) && \valid(higher);
  @ requires \separated(p, higher_words, higher);
  @ requires vbb_plan_ok(*p) && vbb_counted(*p);
  @ assigns *higher_words, *higher, VBB_REC_OF(p);
  @ ensures ok: vbb_plan_ok(*p);
  @ ensures order: \old(p->kind) == VBB_PLAN_ORDERS ==>
  @   p->order <= VIRTIO_BALLOON_REC_ORDER_MAX;
  @ ensures few: \result <= VBB_WORDS_MAX;
  @ ensures higher: *higher_words <= VBB_WORDS_MAX;
  @*/
static vbb_u64 vbb_plan_words(struct vbb_plan *p, vbb_u64 *higher_words, vbb_u64 *higher)
{
	vbb_u64 nr_words = 0, lowest = 0;
	struct vbb_range r;
	struct vbb_rec rec;

	*higher_words = 0;
	*higher = 0;
	vbb_plan_start(p);
	/*@ loop invariant vbb_plan_ok(*p) && vbb_given(*p) && vbb_between(*p);
	  @ loop invariant nr_words <= VBB_WORDS_MAX && *higher_words <= VBB_WORDS_MAX;
	  @ loop invariant p->kind == VBB_PLAN_ORDERS ==>
	  @   p->order <= VIRTIO_BALLOON_REC_ORDER_MAX;
	  @ loop assigns nr_words, lowest, r, rec, *higher_words, *higher, VBB_REC_OF(p);
	  @ loop variant vbb_records_left(*p);
	  @*/
	while (vbb_plan_next(p, &rec)) {
		nr_words = vbb_min(nr_words + vbb_rec_words(&rec), VBB_WORDS_MAX);
		/*@ loop invariant vbb_plan_ok(*p) && vbb_given(*p);
		  @ loop invariant rec.nr_words == 0 ==> vbb_between(*p);
		  @ loop invariant vbb_records_left(*p) <= \at(vbb_records_left(*p), LoopEntry);
		  @ loop assigns r, VBB_RUN_OF(p);
		  @ loop variant vbb_runs_left(*p);
		  @*/
		while (rec.nr_words && vbb_plan_next_run(p, &r))
			;
		if (p->phase != VBB_PHASE_ORDERS)
			continue;
		if (!lowest)
			lowest = vbb_pow2(rec.order);
		if (lowest == vbb_pow2(rec.order))
			continue;
		*higher_words = vbb_min(*higher_words + vbb_rec_words(&rec), VBB_WORDS_MAX);
		*higher |= vbb_pow2(rec.order);
	}
	return nr_words;
}

/* Steps 1 and 2. Or, in place of the guess: an order whose bitmaps cover all that they can. */
/*@ requires \valid(p) && vbb_plan_ok(*p) && vbb_counted(*p) && p->kind == VBB_PLAN_ORDERS;
  @ requires on == 0 ==> vbb_left_ok(*p);
  @ assigns VBB_REC_OF(p), VBB_PRICES_OF(p);
  @ ensures ok: vbb_plan_ok(*p);
  @ ensures order: p->order <= VIRTIO_BALLOON_REC_ORDER_MAX;
  @ ensures single: on == 0 && (p->orders & (p->orders - 1)) == 0 ==> vbb_left_ok(*p);
  @*/
static void vbb_plan_prepare(struct vbb_plan *p, vbb_u64 on)
{
	size_t i;

	/*@ loop invariant 0 <= i <= p->nr_runs;
	  @ loop assigns i, VBB_PRICES_OF(p);
	  @ loop variant p->nr_runs - i;
	  @*/
	for (i = 0; i < p->nr_runs; i++) {
		p->on[i] = on;
		p->price[i] = 0;
	}
	/* a single order has nothing to leave to others */
	if (!(p->orders & vbb_sub(p->orders, 1)))
		return;
	if (!on)
		vbb_plan_guess(p);
	vbb_plan_note(p);
}

/*
 * Words of one bitmap, or of each run alone. Where that is not nearly as good as any plan can be,
 * and there is time for a search, the orders are looked at. Where the bound is too rough to tell,
 * the points' own best plan is a finer one.
 */
/*@ requires \valid(p) && vbb_plan_ok(*p);
  @ assigns p->kind, p->order, p->one_pfn, p->one_words, p->least;
  @ ensures ok: vbb_plan_ok(*p);
  @ ensures simple: p->kind != VBB_PLAN_ORDERS ==> vbb_counted(*p);
  @ ensures orders: p->kind == VBB_PLAN_ORDERS ==>
  @   p->order <= VIRTIO_BALLOON_REC_ORDER_MAX;
  @ ensures \result <= 2 * VBB_WORDS_MAX;
  @*/
static vbb_u64 vbb_plan_count_simple(struct vbb_plan *p, bool quick)
{
	vbb_u64 nr_words, least, one, few;
	struct vbb_late all;

	vbb_late_clear(&all);
	vbb_late_join(&all, &p->kept_sum);
	if (!p->late_apart)
		vbb_late_join(&all, &p->late_sum);
	p->kind = VBB_PLAN_ALONE;
	nr_words = all.nr_words;
	if (nr_words <= 1)
		return nr_words;
	p->order = vbb_ctz64(all.edges);
	if (p->order > VIRTIO_BALLOON_REC_ORDER_MAX)
		return nr_words;
	one = vbb_words(all.pfn, all.end, p->order);
	p->one_pfn = all.pfn;
	p->one_words = one < nr_words ? (vbb_u32)one : 0;
	/* time is spent on each word, also on an empty one; so in a hurry some must be saved */
	few = quick ? nr_words / 8 : 0;
	if (p->one_words && vbb_bitmap_words(p->one_words) + few <= nr_words) {
		p->kind = VBB_PLAN_ONE;
		nr_words = vbb_bitmap_words(p->one_words);
	}
	if (quick)
		return nr_words;
	/* a plan of whole words may have as many as the bound says, rounded up */
	least = vbb_plan_bound(p);
	if (p->kind == VBB_PLAN_ONE) {
		if (64 * (1 + one) <= least + vbb_shr(least, 8) + 63)
			return nr_words;
		least = vbb_plan_least(p);
		if (1 + one <= least || 50 * nr_words <= 51 * least)
			return nr_words;
	} else {
		if (64 * nr_words <= least + vbb_shr(least, 6) + 63)
			return nr_words;
		least = vbb_shr(least, 6);
	}
	p->least = least;
	p->kind = VBB_PLAN_ORDERS;
	return nr_words;
}

vbb_u64 vbb_plan_count(struct vbb_plan *p, bool late_apart, bool quick)
{
	vbb_u64 nr_words, late_words, higher_words, higher, more, on = 0, best = 0;
	vbb_u64 ignored_words, ignored;
	vbb_u32 nr, nr_tries = 0;

	p->late_apart = late_apart;
	p->walked = false;
	late_words = late_apart ? vbb_plan_late_words(p) : 0;
	nr_words = vbb_plan_count_simple(p, quick);
	if (vbb_plan_is_simple(p))
		return nr_words + late_words;
	vbb_plan_load(p);
	p->orders = vbb_plan_orders(p, p->least / VBB_FEW);
	vbb_plan_prepare(p, 0);
	/* there is at least one: all runs have more words than the few of those left out */
	if (!(p->orders & vbb_sub(p->orders, 1))) {
		p->order = vbb_ctz64(vbb_max(p->orders, 1));
		p->walked = true;
		return vbb_plan_walk(p, VBB_ENDS_REAL) / VBB_WORD + late_words;
	}
	nr_words = vbb_plan_words(p, &higher_words, &higher);
	/* kept runs must take what they took, so late ones apart have no say in this */
	if (higher_words * VBB_PATCHES <= vbb_sub(nr_words, late_words))
		return nr_words;
	/*@ loop invariant nr <= VIRTIO_BALLOON_REC_ORDER_MAX + 1 && nr_tries <= VBB_TRIES;
	  @ loop invariant vbb_plan_ok(*p) && vbb_counted(*p) && nr_words <= VBB_WORDS_MAX;
	  @ loop assigns nr, nr_tries, on, more, nr_words, best, ignored_words, ignored,
	  @   VBB_REC_OF(p), VBB_PRICES_OF(p);
	  @ loop variant nr;
	  @*/
	for (nr = VIRTIO_BALLOON_REC_ORDER_MAX + 1; nr && nr_tries < VBB_TRIES; nr--) {
		if (!(higher & vbb_pow2(nr - 1)))
			continue;
		nr_tries++;
		on = vbb_pow2(nr - 1);
		vbb_plan_prepare(p, on);
		more = vbb_plan_words(p, &ignored_words, &ignored);
		if (more < nr_words) {
			nr_words = more;
			best = on;
		}
	}
	if (best != on) {
		vbb_plan_load(p);
		vbb_plan_prepare(p, best);
	}
	return nr_words;
}
