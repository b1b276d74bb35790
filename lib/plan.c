// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause
/*
 * Which records name some runs of pages in the fewest words?
 *
 * A run by itself takes a word as a block, else two as an extent. A bitmap takes a word, and one
 * more for every 64 units of 2^order pages that it spans, however many runs lie there; but it can
 * name only whole units, so runs may be left over at one end: for bitmaps of lower order, or for a
 * record of their own. The orders at which no run begins or ends need no look.
 *
 * At one order the best bitmaps are found by walking over the runs with the best way so far to have
 * a bitmap open, and to have none. What that walk must know is the price of what it leaves to other
 * orders. So it is done three times:
 *  1. From the highest order down, to find where bitmaps may help, and a run's share in them; that
 *     finer ones will take most of what is left over at ends is taken for granted.
 *  2. From the lowest order up, each one on what the one before left over: those are real bitmaps.
 *     What they cover is noted.
 *  3. As 2., but what step 2 covers at a higher order costs nothing. This gives the records.
 *
 * In a mix of many orders the guess of step 1 can lead to patches of several high orders where one
 * throughout would do. So where high orders take much, each is tried in place of the guess.
 */
#include "plan.h"

/* The price of a word; shares in a bitmap are less. */
#define VBB_WORD 256u
#define VBB_NEVER (1u << 30)

/* Prices of ends left over in steps 1, and 2 and 3 */
#define VBB_ENDS_HOPED (VBB_WORD / 8)
#define VBB_ENDS_REAL VBB_WORD

/* Orders whose runs take less than this share of all words, 1 in so many, need no look. */
#define VBB_FEW 64

/* From this share of all words on, 1 in so many, the highest of the higher orders are tried. */
#define VBB_PATCHES 16
#define VBB_TRIES 4

/* What a walk does with a run, with a bitmap open behind it or none; from which state it came */
enum {
	STEP_LEAVE,	/* nothing */
	STEP_COVER,	/* take its units into the open bitmap */
	STEP_OPEN,	/* open a bitmap, and take its units into that */
	STEP_HEAD,	/* fill the open bitmap's last word with its head, and close */
	STEP_TAIL,	/* open a bitmap of one word for its tail */
	STEP_BOTH,	/* HEAD, then TAIL */
	STEP_KIND = 7,
	STEP_FROM_OPEN = 8,
	STEP_OPEN_SHIFT = 4,
};

/* The best ways up to a run */
struct vbb_ways {
	vbb_u32 closed;		/* price without an open bitmap */
	vbb_u32 open;		/* price with one, VBB_NEVER where there is no such way */
	vbb_u64 paid_end;	/* open: one past the last page of its words */
	vbb_u64 nr_words;	/* open: its words */
};

static vbb_u64 vbb_unit_down(vbb_u64 pfn, vbb_u64 unit)
{
	return pfn & ~(unit - 1);
}

static vbb_u64 vbb_unit_up(vbb_u64 pfn, vbb_u64 unit)
{
	return vbb_unit_down(pfn + unit - 1, unit);
}

/* Words of a bitmap over [pfn, end) */
static vbb_u64 vbb_words(vbb_u64 pfn, vbb_u64 end, vbb_u32 order)
{
	return end > pfn ? vbb_shr(end - pfn - 1, order + 6) + 1 : 0;
}

/* Of (low, high] the number that divides by the highest power of two; low is below high. */
static vbb_u64 vbb_roundest(vbb_u64 low, vbb_u64 high)
{
	while ((high & (high - 1)) > low)
		high &= high - 1;
	return high;
}

/* The lowest set bit alone */
static vbb_u64 vbb_low_bit(vbb_u64 v)
{
	return v ? vbb_pow2(vbb_ctz64(v)) : 0;
}

/* What a bitmap of this order can name of a run; empty where that is nothing */
static struct vbb_range vbb_run_core(const struct vbb_range *r, vbb_u32 order)
{
	vbb_u64 unit = vbb_pow2(order);

	return vbb_run(vbb_unit_up(r->pfn, unit), vbb_unit_down(vbb_run_end(r), unit));
}

/* The price of what is left of a run without its core, where a word costs word */
static vbb_u32 vbb_ends_price(const struct vbb_range *r, const struct vbb_range *core, vbb_u32 word)
{
	struct vbb_range head = vbb_run(r->pfn, core->pfn);
	struct vbb_range tail = vbb_run(vbb_run_end(core), vbb_run_end(r));

	return (vbb_run_words(&head) + vbb_run_words(&tail)) * word;
}

/* The price of leaving a part of run[i] to higher orders, or to a record of its own */
static vbb_u32 vbb_plan_price(const struct vbb_plan *p, size_t i, const struct vbb_range *part,
			      vbb_u32 word)
{
	vbb_u32 alone = vbb_run_words(part) * VBB_WORD, price;
	vbb_u64 higher = p->on[i] & ~(vbb_pow2(p->order + 1) - 1);
	struct vbb_range core;

	if (!higher)
		return alone;
	core = vbb_run_core(part, vbb_ctz64(higher));
	if (!core.nr_pages)
		return alone;
	price = p->price[i] + vbb_ends_price(part, &core, word);
	return price < alone ? price : alone;
}

/* Where in a run STEP_HEAD ends: the rest is as round as can be, so that others may take it. */
static vbb_u64 vbb_head_end(const struct vbb_range *r, vbb_u64 paid_end)
{
	return vbb_roundest(r->pfn, paid_end);
}

/* Where in a run STEP_TAIL begins */
static vbb_u64 vbb_tail_pfn(const struct vbb_range *r, vbb_u32 order)
{
	vbb_u64 span = 64 * vbb_pow2(order), last = vbb_run_end(r) - 1;

	return vbb_roundest(r->nr_pages > span ? last - span : r->pfn, last);
}

/* Only the way without an open bitmap is known. */
static void vbb_ways_close(struct vbb_ways *w, vbb_u32 price)
{
	w->closed = price;
	w->open = VBB_NEVER;
	w->paid_end = 0;
	w->nr_words = 0;
}

/* Is this a better way to have a bitmap open? Of two with the same price the longer one is. */
static bool vbb_ways_open(struct vbb_ways *w, vbb_u32 price, vbb_u64 paid_end, vbb_u64 nr_words)
{
	if (price > w->open || (price == w->open && paid_end <= w->paid_end) ||
	    nr_words > VIRTIO_BALLOON_REC_BITMAP_MAX)
		return false;
	w->open = price;
	w->paid_end = paid_end;
	w->nr_words = nr_words;
	return true;
}

/* Go past left[i], and note how: the best step to either state. */
static void vbb_plan_walk_step(struct vbb_plan *p, size_t i, struct vbb_ways *w, vbb_u32 word)
{
	const vbb_u64 unit = vbb_pow2(p->order), span = 64 * unit;
	const struct vbb_range *r = &p->left[i];
	const vbb_u64 end = vbb_run_end(r);
	struct vbb_range core = vbb_run_core(r, p->order);
	vbb_u64 core_end = vbb_run_end(&core), head_end = 0, tail_pfn, more;
	vbb_u32 price;
	vbb_u32 leave = vbb_plan_price(p, p->owner[i], r, word);
	vbb_u32 ends = vbb_ends_price(r, &core, word);
	vbb_u32 best = w->closed < w->open ? w->closed : w->open;
	vbb_u32 from = w->closed <= w->open ? 0 : STEP_FROM_OPEN;
	vbb_u32 closed = STEP_LEAVE | from, open = STEP_LEAVE | STEP_FROM_OPEN;
	struct vbb_ways next;
	struct vbb_range rest;

	vbb_ways_close(&next, best + leave);
	if (!core.nr_pages || ends >= 2 * VBB_WORD) {
		if (w->open < VBB_NEVER)
			vbb_ways_open(&next, w->open + leave, w->paid_end, w->nr_words);
	} else {
		more = vbb_words(w->paid_end, core_end, p->order);
		if (w->open < VBB_NEVER && more <= VIRTIO_BALLOON_REC_BITMAP_MAX &&
		    vbb_ways_open(&next, w->open + (vbb_u32)more * VBB_WORD + ends,
				  w->paid_end + more * span, w->nr_words + more))
			open = STEP_COVER | STEP_FROM_OPEN;
		more = vbb_words(core.pfn, core_end, p->order);
		if (more <= VIRTIO_BALLOON_REC_BITMAP_MAX &&
		    vbb_ways_open(&next, best + (1 + (vbb_u32)more) * VBB_WORD + ends,
				  core.pfn + more * span, more))
			open = STEP_OPEN | from;
	}
	if (w->open < VBB_NEVER && core.pfn == r->pfn && r->pfn < w->paid_end &&
	    w->paid_end < end) {
		head_end = vbb_head_end(r, w->paid_end);
		rest = vbb_run(head_end, end);
		price = w->open + vbb_plan_price(p, p->owner[i], &rest, word);
		if (price < next.closed) {
			next.closed = price;
			closed = STEP_HEAD | STEP_FROM_OPEN;
		}
	}
	if (core_end == end && r->nr_pages > unit) {
		tail_pfn = vbb_tail_pfn(r, p->order);
		rest = vbb_run(r->pfn, tail_pfn);
		if (vbb_ways_open(&next, best + 2 * VBB_WORD +
				  vbb_plan_price(p, p->owner[i], &rest, word), tail_pfn + span, 1))
			open = STEP_TAIL | from;
		rest = vbb_run(head_end, tail_pfn);
		if (head_end && head_end < tail_pfn &&
		    vbb_ways_open(&next, w->open + 2 * VBB_WORD +
				  vbb_plan_price(p, p->owner[i], &rest, word), tail_pfn + span, 1))
			open = STEP_BOTH | STEP_FROM_OPEN;
	}
	p->step[i] = (vbb_u8)(closed | open << STEP_OPEN_SHIFT);
	w->closed = next.closed;
	w->open = next.open;
	w->paid_end = next.paid_end;
	w->nr_words = next.nr_words;
}

/* Find the best bitmaps at the order at hand: one step for each of left[]; returns the price. */
static vbb_u32 vbb_plan_walk(struct vbb_plan *p, vbb_u32 word)
{
	struct vbb_ways w;
	bool open;
	size_t i;

	vbb_ways_close(&w, 0);
	for (i = 0; i < p->nr_left; i++)
		vbb_plan_walk_step(p, i, &w, word);
	open = w.open < w.closed;
	for (; i; i--) {
		vbb_u32 step = p->step[i - 1];

		if (open)
			step >>= STEP_OPEN_SHIFT;
		p->step[i - 1] = (vbb_u8)(step & STEP_KIND);
		open = step & STEP_FROM_OPEN;
	}
	return w.open < w.closed ? w.open : w.closed;
}

static bool vbb_step_opens(vbb_u8 step)
{
	return step == STEP_OPEN || step == STEP_TAIL || step == STEP_BOTH;
}

/* What the bitmap that is opened at left[i] spans; returns an index behind its last whole run. */
static size_t vbb_plan_span(const struct vbb_plan *p, size_t i, struct vbb_range *span)
{
	struct vbb_range core = vbb_run_core(&p->left[i], p->order);
	vbb_u64 pfn = p->step[i] == STEP_OPEN ? core.pfn : vbb_tail_pfn(&p->left[i], p->order);
	vbb_u64 end = vbb_run_end(&core);

	for (i++; i < p->nr_left && !vbb_step_opens(p->step[i]); i++) {
		if (p->step[i] == STEP_COVER) {
			core = vbb_run_core(&p->left[i], p->order);
			end = vbb_run_end(&core);
		}
	}
	*span = vbb_run(pfn, end);
	return i;
}

/* Note for each run which bitmaps at the order at hand cover it, and its share in the cheapest. */
static void vbb_plan_share(struct vbb_plan *p)
{
	size_t i = 0, next, k, run;

	while (i < p->nr_left) {
		struct vbb_range span;
		vbb_u32 nr = 0, price, share;

		if (!vbb_step_opens(p->step[i])) {
			i++;
			continue;
		}
		next = vbb_plan_span(p, i, &span);
		for (k = i; k < next; k++)
			nr += p->step[k] == STEP_OPEN || p->step[k] == STEP_COVER;
		price = (1 + (vbb_u32)vbb_words(span.pfn, vbb_run_end(&span), p->order)) * VBB_WORD;
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

/* The next bitmap at the order at hand */
static bool vbb_plan_next_bitmap(struct vbb_plan *p, struct vbb_rec *rec)
{
	struct vbb_range span;
	vbb_u64 nr_words;

	for (; p->pos < p->nr_left && !vbb_step_opens(p->step[p->pos]); p->pos++) {
		p->left[p->nr_kept] = p->left[p->pos];
		p->owner[p->nr_kept++] = p->owner[p->pos];
	}
	if (p->pos == p->nr_left)
		return false;
	vbb_plan_span(p, p->pos, &span);
	nr_words = vbb_words(span.pfn, vbb_run_end(&span), p->order);
	p->paid_end = span.pfn + nr_words * 64 * vbb_pow2(p->order);
	p->fresh = true;
	rec->order = p->order;
	rec->pfn = span.pfn;
	rec->nr_pages = 0;
	rec->nr_words = (vbb_u32)nr_words;
	return true;
}

/* Take [pfn, end) of the next of left[], and keep the rest, which lies on one side. */
static void vbb_plan_take(struct vbb_plan *p, vbb_u64 pfn, vbb_u64 end, struct vbb_range *r)
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
	*r = vbb_run(pfn, end);
}

/* As vbb_plan_next_part(), of the one bitmap for late runs */
static bool vbb_plan_next_late(struct vbb_plan *p, struct vbb_range *r)
{
	while (p->pos < p->nr_runs) {
		*r = p->run[p->pos];
		if (p->late[p->pos++])
			return true;
	}
	return false;
}

bool vbb_plan_next_part(struct vbb_plan *p, struct vbb_range *r)
{
	if (p->phase == VBB_PHASE_LATE)
		return vbb_plan_next_late(p, r);
	for (; p->phase == VBB_PHASE_ORDERS && p->pos < p->nr_left; p->pos++) {
		struct vbb_range *left = &p->left[p->pos], core = vbb_run_core(left, p->order);
		vbb_u64 end = vbb_run_end(left);

		switch (p->step[p->pos]) {
		case STEP_OPEN:
		case STEP_TAIL:
			if (!p->fresh)
				return false;
			p->fresh = false;
			if (p->step[p->pos] == STEP_OPEN)
				vbb_plan_take(p, core.pfn, vbb_run_end(&core), r);
			else
				vbb_plan_take(p, vbb_tail_pfn(left, p->order), end, r);
			return true;
		case STEP_COVER:
			vbb_plan_take(p, core.pfn, vbb_run_end(&core), r);
			return true;
		case STEP_HEAD:
			vbb_plan_take(p, left->pfn, vbb_head_end(left, p->paid_end), r);
			return true;
		case STEP_BOTH:
			/* the tail is the next bitmap's */
			*r = vbb_run(left->pfn, vbb_head_end(left, p->paid_end));
			*left = vbb_run(vbb_run_end(r), end);
			p->step[p->pos] = STEP_TAIL;
			return true;
		default:
			p->left[p->nr_kept] = *left;
			p->owner[p->nr_kept++] = p->owner[p->pos];
		}
	}
	return false;
}

/* Go to the next higher order. False where there is none. */
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
static void vbb_plan_load(struct vbb_plan *p)
{
	size_t i;

	p->nr_left = 0;
	for (i = 0; i < p->nr_runs; i++) {
		if (vbb_plan_is_apart(p, i))
			continue;
		p->left[p->nr_left] = p->run[i];
		p->owner[p->nr_left++] = (vbb_u16)i;
	}
}

/* Words of the one bitmap that could name all late runs; 0 where there is none that is shorter */
static vbb_u64 vbb_late_bitmap(const struct vbb_late *late)
{
	vbb_u64 nr_words;

	/* the whole space has no edge that an order could have */
	if (!late->nr_words || vbb_ctz64(late->edges) > VIRTIO_BALLOON_REC_ORDER_MAX)
		return 0;
	nr_words = vbb_words(late->pfn, late->end, vbb_ctz64(late->edges));
	if (nr_words > VIRTIO_BALLOON_REC_BITMAP_MAX || 1 + nr_words > late->nr_words)
		return 0;
	return nr_words;
}

static void vbb_late_clear(struct vbb_late *late)
{
	late->nr_words = 0;
	late->pfn = VBB_PFN_END;
	late->end = 0;
	late->edges = 0;
}

static void vbb_late_join(struct vbb_late *late, const struct vbb_late *more)
{
	late->nr_words += more->nr_words;
	late->edges |= more->edges;
	if (more->pfn < late->pfn)
		late->pfn = more->pfn;
	if (more->end > late->end)
		late->end = more->end;
}

static vbb_u64 vbb_late_words(const struct vbb_late *late)
{
	vbb_u64 nr_words = vbb_late_bitmap(late);

	return nr_words ? 1 + nr_words : late->nr_words;
}

vbb_u64 vbb_plan_late_words(const struct vbb_plan *p)
{
	return vbb_late_words(&p->late_sum);
}

vbb_u64 vbb_plan_late_words_with(const struct vbb_plan *p, const struct vbb_range *more)
{
	struct vbb_late late;

	late.nr_words = p->late_sum.nr_words;
	late.pfn = p->late_sum.pfn;
	late.end = p->late_sum.end;
	late.edges = p->late_sum.edges;
	vbb_late_add(&late, more);
	return vbb_late_words(&late);
}

/* Words of runs at an order, given as a power of two; all at 0 to begin with would be memset(). */
static void vbb_order_add(vbb_u32 *nr_words, vbb_u64 *seen, vbb_u64 unit, vbb_u32 nr)
{
	vbb_u32 order = vbb_ctz64(unit);

	nr_words[order] = (*seen & unit ? nr_words[order] : 0) + nr;
	*seen |= unit;
}

/*
 * Orders at which a run begins or ends that is not too short for them. Not those, highest first,
 * whose runs take but few words in records of their own.
 */
static vbb_u64 vbb_plan_orders(const struct vbb_plan *p, vbb_u64 few)
{
	vbb_u32 nr_words[VIRTIO_BALLOON_REC_ORDER_MAX + 2], order;
	vbb_u64 orders = 0, seen = 0;
	size_t i;

	for (i = 0; i < p->nr_left; i++) {
		const struct vbb_range *r = &p->left[i];
		vbb_u64 low = vbb_low_bit(r->pfn), end_low = vbb_low_bit(vbb_run_end(r));

		if (low && low <= r->nr_pages)
			vbb_order_add(nr_words, &seen, low, vbb_run_words(r));
		if (end_low <= r->nr_pages)
			vbb_order_add(nr_words, &seen, end_low, vbb_run_words(r));
	}
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
static void vbb_plan_guess(struct vbb_plan *p)
{
	vbb_u32 nr;

	for (nr = VIRTIO_BALLOON_REC_ORDER_MAX + 1; nr; nr--) {
		if (!(p->orders & vbb_pow2(nr - 1)))
			continue;
		p->order = nr - 1;
		vbb_plan_walk(p, VBB_ENDS_HOPED);
		vbb_plan_share(p);
	}
}

/* Step 2 */
static void vbb_plan_note(struct vbb_plan *p)
{
	struct vbb_range r, core;
	struct vbb_rec rec;
	size_t first, i;

	vbb_plan_start(p);
	while (vbb_plan_next_order(p)) {
		for (i = 0; i < p->nr_runs; i++)
			p->on[i] &= ~vbb_pow2(p->order);
		first = 0;
		while (vbb_plan_next_bitmap(p, &rec)) {
			/* some run does not end before a bitmap that names it */
			while (vbb_run_end(&p->run[first]) <= rec.pfn)
				first++;
			for (i = first; i < p->nr_runs && p->run[i].pfn < p->paid_end; i++) {
				core = vbb_run_core(&p->run[i], p->order);
				if (core.nr_pages && core.pfn >= rec.pfn &&
				    vbb_run_end(&core) <= p->paid_end)
					p->on[i] |= vbb_pow2(p->order);
			}
			while (vbb_plan_next_run(p, &r))
				;
		}
	}
	for (i = 0; i < p->nr_runs; i++)
		p->price[i] = 0;
}

void vbb_plan_start(struct vbb_plan *p)
{
	p->phase = p->first_phase;
	p->fresh = true;
	p->pos = 0;
	p->nr_left = 0;
	if (p->phase != VBB_PHASE_ORDERS)
		return;
	vbb_plan_load(p);
	p->nr_kept = p->nr_left;
	p->pos = p->nr_left;
	p->orders_left = p->orders;
}

/*
 * All orders were looked at. Late runs that were left out come now. There is place for them, since
 * of any other run one part is left at most.
 */
static void vbb_plan_begin_left(struct vbb_plan *p)
{
	size_t i;

	p->phase = VBB_PHASE_LEFT;
	p->pos = 0;
	if (!p->late_apart || vbb_late_bitmap(&p->late_sum))
		return;
	for (i = 0; i < p->nr_runs; i++)
		if (p->late[i])
			p->left[p->nr_left++] = p->run[i];
}

static bool vbb_plan_begin_late(struct vbb_plan *p, struct vbb_rec *rec)
{
	vbb_u64 nr_words = vbb_late_bitmap(&p->late_sum);

	if (p->phase == VBB_PHASE_LATE || !p->late_apart || !nr_words)
		return false;
	p->phase = VBB_PHASE_LATE;
	p->pos = 0;
	rec->order = vbb_ctz64(p->late_sum.edges);
	rec->pfn = p->late_sum.pfn;
	rec->nr_pages = 0;
	rec->nr_words = (vbb_u32)nr_words;
	return true;
}

/* A run's own record */
static void vbb_run_rec(const struct vbb_range *r, struct vbb_rec *rec)
{
	rec->order = vbb_run_is_block(r) ? vbb_ctz64(r->nr_pages) : 0;
	rec->pfn = r->pfn;
	rec->nr_pages = r->nr_pages;
	rec->nr_words = 0;
}

/* The next record of a simple plan, without those of late runs apart */
static bool vbb_plan_next_simple(struct vbb_plan *p, struct vbb_rec *rec)
{
	if (p->phase == VBB_PHASE_ONE) {
		if (!p->fresh)
			return false;
		p->fresh = false;
		rec->order = p->order;
		rec->pfn = p->one_pfn;
		rec->nr_pages = 0;
		rec->nr_words = p->one_words;
		return true;
	}
	while (p->pos < p->nr_runs) {
		size_t i = p->pos++;

		if (vbb_plan_is_apart(p, i))
			continue;
		vbb_run_rec(&p->run[i], rec);
		return true;
	}
	return false;
}

bool vbb_plan_next(struct vbb_plan *p, struct vbb_rec *rec)
{
	if (p->phase == VBB_PHASE_ONE || p->phase == VBB_PHASE_ALONE) {
		if (vbb_plan_next_simple(p, rec))
			return true;
		vbb_plan_begin_left(p);
	}
	while (p->phase == VBB_PHASE_ORDERS) {
		if (vbb_plan_next_bitmap(p, rec))
			return true;
		if (!vbb_plan_next_order(p))
			vbb_plan_begin_left(p);
	}
	if (p->phase == VBB_PHASE_LATE || p->pos == p->nr_left)
		return vbb_plan_begin_late(p, rec);
	vbb_run_rec(&p->left[p->pos++], rec);
	return true;
}

/* All words; those of bitmaps of other orders than the lowest in use; and which orders that are */
static vbb_u64 vbb_plan_words(struct vbb_plan *p, vbb_u64 *higher_words, vbb_u64 *higher)
{
	vbb_u64 nr_words = 0, lowest = 0;
	struct vbb_range r;
	struct vbb_rec rec;

	*higher_words = 0;
	*higher = 0;
	vbb_plan_start(p);
	while (vbb_plan_next(p, &rec)) {
		nr_words += vbb_rec_words(&rec);
		while (vbb_plan_next_run(p, &r))
			;
		if (p->phase != VBB_PHASE_ORDERS)
			continue;
		if (!lowest)
			lowest = vbb_pow2(rec.order);
		if (lowest == vbb_pow2(rec.order))
			continue;
		*higher_words += vbb_rec_words(&rec);
		*higher |= vbb_pow2(rec.order);
	}
	return nr_words;
}

/* Steps 1 and 2. Or, in place of the guess: an order whose bitmaps cover all that they can. */
static void vbb_plan_prepare(struct vbb_plan *p, vbb_u64 on)
{
	size_t i;

	for (i = 0; i < p->nr_runs; i++) {
		p->on[i] = on;
		p->price[i] = 0;
	}
	/* a single order has nothing to leave to others */
	if (!(p->orders & (p->orders - 1)))
		return;
	if (!on)
		vbb_plan_guess(p);
	vbb_plan_note(p);
}

/* Name one more point by itself or by a bitmap, of any length. Prices are words here. */
static void vbb_plan_least_step(struct vbb_ways *w, vbb_u64 point)
{
	vbb_u32 best = w->closed < w->open ? w->closed : w->open;
	vbb_u64 more;

	w->closed = best + 1;
	if (w->open < VBB_NEVER && point < w->paid_end) {
		if (w->open < w->closed)
			w->closed = w->open;
		return;
	}
	more = w->open < VBB_NEVER ? vbb_shr(point - w->paid_end, 6) + 1 : VBB_NEVER;
	w->paid_end += 64 * more;
	/* of equals the new one, since it reaches further */
	if (more > 2 || w->open + more >= best + 2) {
		w->open = best + 2;
		w->paid_end = point + 64;
	} else {
		w->open += (vbb_u32)more;
	}
}

/* The fewest words of records that name all points, as below, at the order at hand */
static vbb_u64 vbb_plan_least(const struct vbb_plan *p)
{
	struct vbb_ways w;
	size_t i;

	vbb_ways_close(&w, 0);
	for (i = 0; i < p->nr_runs; i++) {
		vbb_u64 unit = vbb_shr(p->run[i].pfn, p->order);
		vbb_u64 unit_end = vbb_shr(vbb_run_end(&p->run[i]), p->order);

		if (vbb_plan_is_apart(p, i))
			continue;
		if (unit & 1)
			vbb_plan_least_step(&w, unit);
		if (unit_end & 1)
			vbb_plan_least_step(&w, unit_end - 1);
	}
	return w.closed < w.open ? w.closed : w.open;
}

/*
 * Is one bitmap, or each run alone, nearly as good as any plan can be? Let all runs begin and end
 * at multiples of a unit. Where one begins or ends at an odd multiple, the unit inside can only be
 * named by itself, at the end of an extent, or by a bitmap of this unit or less. Let those units be
 * points. Points that one bitmap names one after the other cost at least a word for 64 units of way
 * between them; any others a word each. So all of them together cost a word and, for each way from
 * one to the next, a 64th of it, but a word at most. No plan takes less. Where that is too rough a
 * bound, the points' own best plan is a finer one.
 */
static bool vbb_plan_count_simple(struct vbb_plan *p, vbb_u64 *nr_words)
{
	struct vbb_late all = p->kept_sum;
	vbb_u64 least = 0, point, gap, one;
	size_t i;

	if (!p->late_apart)
		vbb_late_join(&all, &p->late_sum);
	p->first_phase = VBB_PHASE_ALONE;
	*nr_words = all.nr_words;
	if (all.nr_words <= 1)
		return true;
	p->order = vbb_ctz64(all.edges);
	if (p->order > VIRTIO_BALLOON_REC_ORDER_MAX)
		return true;
	/* no branches, which nothing could foresee; the first point has much way behind it */
	point = -(vbb_u64)64;
	for (i = 0; i < p->nr_runs; i++) {
		const struct vbb_range *r = &p->run[i];
		vbb_u64 unit = vbb_shr(r->pfn, p->order);
		vbb_u64 unit_end = vbb_shr(vbb_run_end(r), p->order);

		if (vbb_plan_is_apart(p, i))
			continue;
		gap = (unit - point) & -(unit & 1);
		point += gap;
		least += gap < 64 ? gap : 64;
		gap = (unit_end - 1 - point) & -(unit_end & 1);
		point += gap;
		least += gap < 64 ? gap : 64;
	}
	/* least is 64ths of words; a plan of whole words may have as many as it says, rounded up */
	one = vbb_words(all.pfn, all.end, p->order);
	p->one_pfn = all.pfn;
	p->one_words = one < all.nr_words ? (vbb_u32)one : 0;
	if (p->one_words && vbb_bitmap_words(p->one_words) <= all.nr_words) {
		p->first_phase = VBB_PHASE_ONE;
		*nr_words = vbb_bitmap_words(p->one_words);
		if (64 * (1 + one) <= least + vbb_shr(least, 8) + 63)
			return true;
		least = vbb_plan_least(p);
		if (1 + one <= least || 50 * *nr_words <= 51 * least)
			return true;
	} else {
		if (64 * all.nr_words <= least + vbb_shr(least, 6) + 63)
			return true;
		least = vbb_shr(least, 6);
	}
	p->least = least;
	p->first_phase = VBB_PHASE_ORDERS;
	return false;
}

vbb_u64 vbb_plan_count(struct vbb_plan *p, bool late_apart)
{
	vbb_u64 nr_words, late_words, higher_words, higher, more, ignored, on = 0, best = 0;
	vbb_u32 nr, nr_tries = 0;

	p->late_apart = late_apart;
	p->walked = false;
	late_words = late_apart ? vbb_plan_late_words(p) : 0;
	if (vbb_plan_count_simple(p, &nr_words))
		return nr_words + late_words;
	vbb_plan_load(p);
	p->orders = vbb_plan_orders(p, p->least / VBB_FEW);
	vbb_plan_prepare(p, 0);
	/* there is at least one: all runs have more words than the few of those left out */
	if (!(p->orders & (p->orders - 1))) {
		p->order = vbb_ctz64(p->orders);
		p->walked = true;
		return vbb_plan_walk(p, VBB_ENDS_REAL) / VBB_WORD + late_words;
	}
	nr_words = vbb_plan_words(p, &higher_words, &higher);
	/* kept runs must take what they took, so late ones apart have no say in this */
	if (higher_words * VBB_PATCHES <= nr_words - late_words)
		return nr_words;
	for (nr = VIRTIO_BALLOON_REC_ORDER_MAX + 1; nr && nr_tries < VBB_TRIES; nr--) {
		if (!(higher & vbb_pow2(nr - 1)))
			continue;
		nr_tries++;
		on = vbb_pow2(nr - 1);
		vbb_plan_prepare(p, on);
		more = vbb_plan_words(p, &ignored, &ignored);
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

void vbb_plan_clear(struct vbb_plan *p)
{
	p->nr_runs = 0;
	vbb_late_clear(&p->kept_sum);
	vbb_late_clear(&p->late_sum);
}

size_t vbb_plan_keep(struct vbb_plan *p)
{
	size_t nr = 0, i;

	for (i = 0; i < p->nr_runs; i++) {
		nr += p->late[i];
		p->late[i] = 0;
	}
	vbb_late_join(&p->kept_sum, &p->late_sum);
	vbb_late_clear(&p->late_sum);
	return nr;
}

/* Index of the first run that begins behind pfn */
static size_t vbb_plan_find(const struct vbb_plan *p, vbb_u64 pfn)
{
	size_t i = p->nr_runs;

	while (i && p->run[i - 1].pfn > pfn)
		i--;
	return i;
}

bool vbb_plan_part(const struct vbb_plan *p, struct vbb_range *r, struct vbb_range *part)
{
	while (r->nr_pages) {
		size_t i = vbb_plan_find(p, r->pfn);
		vbb_u64 end = vbb_run_end(r);

		if (i && !p->late[i - 1] && vbb_run_end(&p->run[i - 1]) > r->pfn) {
			if (end > vbb_run_end(&p->run[i - 1]))
				*r = vbb_run(vbb_run_end(&p->run[i - 1]), end);
			else
				*r = vbb_run(end, end);
			continue;
		}
		while (i < p->nr_runs && p->late[i] && p->run[i].pfn < end)
			i++;
		if (i < p->nr_runs && p->run[i].pfn < end)
			end = p->run[i].pfn;
		*part = vbb_run(r->pfn, end);
		return true;
	}
	return false;
}

bool vbb_plan_add(struct vbb_plan *p, const struct vbb_range *part)
{
	size_t first = vbb_plan_find(p, part->pfn), last = first, i;
	struct vbb_range r = *part;

	if (first && p->late[first - 1] && vbb_range_merge(&r, &p->run[first - 1]))
		first--;
	while (last < p->nr_runs && p->late[last] && vbb_range_merge(&r, &p->run[last]))
		last++;
	for (i = first; i < last; i++)
		p->late_sum.nr_words -= vbb_run_words(&p->run[i]);
	if (first == last) {
		if (p->nr_runs == VBB_ENC_NR_PENDING)
			return false;
		for (i = p->nr_runs++; i > first; i--) {
			p->run[i] = p->run[i - 1];
			p->late[i] = p->late[i - 1];
		}
	} else if (last - first > 1) {
		for (i = last; i < p->nr_runs; i++) {
			p->run[i - (last - first - 1)] = p->run[i];
			p->late[i - (last - first - 1)] = p->late[i];
		}
		p->nr_runs -= last - first - 1;
	}
	p->run[first] = r;
	p->late[first] = 1;
	vbb_late_add(&p->late_sum, &r);
	return true;
}

void vbb_plan_drop(struct vbb_plan *p, size_t nr)
{
	size_t i;

	for (i = nr; i < p->nr_runs; i++) {
		p->run[i - nr] = p->run[i];
		p->late[i - nr] = p->late[i];
	}
	p->nr_runs -= nr;
}
