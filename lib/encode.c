// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause
#include <virtio_balloon_bmap/encode.h>

enum { STATE_BAD, STATE_CLOSED, STATE_OPEN };

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

static void vbb_enc_store_rec(struct vbb_enc *e, vbb_u64 pfn, vbb_u32 order, vbb_u32 code)
{
	vbb_enc_store64(e, pfn | (vbb_u64)order << VIRTIO_BALLOON_REC_ORDER_SHIFT |
			(vbb_u64)code << VIRTIO_BALLOON_REC_CODE_SHIFT);
}

/* Begin a bitmap whose bit 0 is unit; the words follow as runs are added. */
static void vbb_enc_bitmap_open(struct vbb_enc *e, vbb_u64 unit)
{
	e->word_unit = unit;
	e->word = 0;
}

/* Add [unit, unit + nr) to the bitmap in hand, at or behind its next word; nr is not 0. */
static void vbb_enc_bitmap_add(struct vbb_enc *e, vbb_u64 unit, vbb_u64 nr)
{
	while (nr) {
		vbb_u64 bit = unit - e->word_unit;

		if (bit > 63) {
			vbb_enc_store64(e, e->word);
			vbb_enc_bitmap_open(e, e->word_unit + 64);
		} else {
			vbb_u64 n = nr < 64 - bit ? nr : 64 - bit;

			e->word |= vbb_mask64((vbb_u32)bit, (vbb_u32)n);
			unit += n;
			nr -= n;
		}
	}
}

/* Can the run be a block? Then it has a power of two of pages, and starts at a multiple of that. */
static bool vbb_run_is_block(const struct vbb_range *r)
{
	return !(r->nr_pages & (r->nr_pages - 1)) && !(r->pfn & (r->nr_pages - 1));
}

/* Words that a run costs in a record of its own */
static vbb_u64 vbb_run_words(const struct vbb_range *r)
{
	return vbb_run_is_block(r) ? 1 : 2;
}

/* How many runs from index i are best put into one bitmap, 0 for none; nr_words is what it costs */
static size_t vbb_enc_best_bitmap(const struct vbb_enc *e, size_t i, vbb_u64 *nr_words)
{
	vbb_u64 alone = 0, gain = 0;
	size_t nr = 0, k;

	for (k = i; k < e->nr_runs; k++) {
		vbb_u64 span = e->run[k].pfn + e->run[k].nr_pages - e->run[i].pfn;
		vbb_u64 words = 1 + (span + 63) / 64;

		if (words > 1 + VIRTIO_BALLOON_REC_BITMAP_MAX)
			break;
		alone += vbb_run_words(&e->run[k]);
		if (alone > words + gain) {
			gain = alone - words;
			nr = k + 1 - i;
			*nr_words = words;
		} else if (words > alone + 2) {
			break;
		}
	}
	return nr;
}

/* Words that the runs held back will cost */
static vbb_u64 vbb_enc_plan(const struct vbb_enc *e)
{
	vbb_u64 total = 0;
	size_t i = 0;

	while (i < e->nr_runs) {
		vbb_u64 words = 0;
		size_t nr = vbb_enc_best_bitmap(e, i, &words);

		total += nr ? words : vbb_run_words(&e->run[i]);
		i += nr ? nr : 1;
	}
	return total;
}

static void vbb_enc_flush_records(struct vbb_enc *e)
{
	size_t i = 0;

	while (i < e->nr_runs) {
		const struct vbb_range *r = &e->run[i];
		vbb_u64 words = 0;
		size_t nr = vbb_enc_best_bitmap(e, i, &words);

		if (nr) {
			vbb_enc_store_rec(e, r->pfn, 0, (vbb_u32)words - 1);
			vbb_enc_bitmap_open(e, r->pfn);
			for (; nr; nr--, i++) {
				vbb_enc_bitmap_add(e, e->run[i].pfn, e->run[i].nr_pages);
				e->msg.nr_pages += e->run[i].nr_pages;
			}
			vbb_enc_store64(e, e->word);
			e->msg.nr_bitmaps++;
		} else {
			if (vbb_run_is_block(r)) {
				vbb_enc_store_rec(e, r->pfn, vbb_ctz64(r->nr_pages), VIRTIO_BALLOON_REC_BLOCK);
				e->msg.nr_blocks++;
			} else {
				vbb_enc_store_rec(e, r->pfn, 0, VIRTIO_BALLOON_REC_EXTENT);
				vbb_enc_store64(e, r->nr_pages);
				e->msg.nr_extents++;
			}
			e->msg.nr_pages += r->nr_pages;
			i++;
		}
	}
	e->nr_runs = 0;
	e->nr_words = 0;
}

static void vbb_enc_flush_bitmap(struct vbb_enc *e)
{
	size_t i;

	for (i = 0; i < e->nr_runs; i++) {
		if (!e->msg.nr_pages) {
			e->start_pfn = e->run[i].pfn & ~(vbb_u64)63;
			vbb_enc_bitmap_open(e, e->start_pfn);
		}
		vbb_enc_bitmap_add(e, e->run[i].pfn, e->run[i].nr_pages);
		e->msg.nr_pages += e->run[i].nr_pages;
	}
	e->nr_runs = 0;
}

static vbb_u64 vbb_enc_bitmap_words(const struct vbb_enc *e)
{
	const struct vbb_range *last = &e->run[e->nr_runs - 1];

	return (last->pfn + last->nr_pages + 63) / 64 - e->run[0].pfn / 64;
}

/* Hold a run back, sorted and merged; false where the list is full. */
static bool vbb_enc_hold(struct vbb_enc *e, struct vbb_range r)
{
	size_t i = e->nr_runs, k, gone = 0;

	while (i && e->run[i - 1].pfn > r.pfn)
		i--;
	if (i && vbb_range_merge(&r, &e->run[i - 1])) {
		i--;
		gone = 1;
	}
	while (i + gone < e->nr_runs && vbb_range_merge(&r, &e->run[i + gone]))
		gone++;
	if (!gone) {
		if (e->nr_runs == VBB_ENC_NR_PENDING)
			return false;
		for (k = e->nr_runs; k > i; k--)
			e->run[k] = e->run[k - 1];
		e->nr_runs++;
	} else if (gone > 1) {
		for (k = i + gone; k < e->nr_runs; k++)
			e->run[k + 1 - gone] = e->run[k];
		e->nr_runs -= gone - 1;
	}
	e->run[i] = r;
	e->nr_words += 2;
	return true;
}

static int vbb_enc_put_records(struct vbb_enc *e, struct vbb_range *r)
{
	if (8 * (e->nr_words + 2) > vbb_enc_room(e)) {
		e->nr_words = 2 * e->nr_runs;
		if (8 * (e->nr_words + 2) > vbb_enc_room(e)) {
			vbb_enc_flush_records(e);
			e->format = VBB_FMT_RECORDS;
			if (vbb_enc_room(e) < 16)
				return VBB_E_NOSPC;
		}
	}
	if (!vbb_enc_hold(e, *r)) {
		vbb_enc_flush_records(e);
		e->format = VBB_FMT_RECORDS;
		vbb_enc_hold(e, *r);
	}
	r->pfn += r->nr_pages;
	r->nr_pages = 0;
	return 0;
}

static int vbb_enc_put_in_bitmap(struct vbb_enc *e, struct vbb_range *r)
{
	vbb_u64 start = r->pfn & ~(vbb_u64)63, end;
	struct vbb_range part = *r;

	if (e->msg.nr_pages) {
		if (r->pfn < e->word_unit)
			return VBB_E_NOSPC;
		start = e->start_pfn;
	} else if (e->nr_runs && e->run[0].pfn < start) {
		start = e->run[0].pfn & ~(vbb_u64)63;
	}
	end = start + e->len_max / 8 * 64;
	if (r->pfn >= end)
		return VBB_E_NOSPC;
	if (e->nr_runs && e->run[e->nr_runs - 1].pfn + e->run[e->nr_runs - 1].nr_pages > end)
		return VBB_E_NOSPC;
	if (part.nr_pages > end - part.pfn)
		part.nr_pages = end - part.pfn;
	if (!vbb_enc_hold(e, part)) {
		if (r->pfn < e->run[0].pfn)
			return VBB_E_NOSPC;
		vbb_enc_flush_bitmap(e);
		if (r->pfn < e->word_unit)
			return VBB_E_NOSPC;
		vbb_enc_hold(e, part);
	}
	r->pfn += part.nr_pages;
	r->nr_pages -= part.nr_pages;
	return r->nr_pages ? VBB_E_NOSPC : 0;
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

int vbb_enc_put(struct vbb_enc *e, struct vbb_range *r)
{
	if (e->state != STATE_OPEN || e->format == VBB_FMT_VALUES)
		return VBB_E_STATE;
	if (!vbb_range_valid(r, e->cfg.page_shift))
		return VBB_E_INVAL;
	if (e->format == VBB_FMT_PFNS)
		return vbb_enc_put_pfns(e, r);
	if (e->format == VBB_FMT_BITMAP)
		return vbb_enc_put_in_bitmap(e, r);
	return vbb_enc_put_records(e, r);
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
	while (b->pos < b->nr_bits) {
		struct vbb_range r = { 0, 0 };
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
	if (cfg->page_shift < VIRTIO_BALLOON_PAGE_SHIFT_MIN || cfg->page_shift > VIRTIO_BALLOON_PAGE_SHIFT_MAX)
		return false;
	return cfg->formats == VBB_FMT_AUTO || cfg->formats == VBB_FMT_BITMAP || cfg->formats == VBB_FMT_RECORDS ||
	       cfg->formats == VBB_FMT_VALUES ||
	       (cfg->formats == VBB_FMT_PFNS && cfg->page_shift == VIRTIO_BALLOON_PAGE_SHIFT_MIN);
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
	e->nr_words = 0;
	e->nr_runs = 0;
	e->msg = (struct vbb_msg){ 0, 0, 0, 0, 0, 0 };
	e->state = STATE_OPEN;
	return 0;
}

int vbb_enc_init(struct vbb_enc *e, const struct vbb_enc_cfg *cfg, const struct vbb_seg *seg, size_t nr_segs)
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
	empty = !e->len && !e->nr_runs && !e->msg.nr_pages;
	if (flag > VIRTIO_BALLOON_FLAG_FAILED || (flag > VIRTIO_BALLOON_FLAG_DONE && !empty) ||
	    (flag && e->format == VBB_FMT_PFNS))
		return VBB_E_INVAL;
	if (e->format == VBB_FMT_AUTO)
		e->format = empty || (8 * vbb_enc_bitmap_words(e) <= e->len_max &&
			vbb_enc_bitmap_words(e) <= vbb_enc_plan(e)) ? VBB_FMT_BITMAP : VBB_FMT_RECORDS;
	if (e->format == VBB_FMT_RECORDS)
		vbb_enc_flush_records(e);
	if (e->format == VBB_FMT_BITMAP && !empty) {
		vbb_enc_flush_bitmap(e);
		vbb_enc_store64(e, e->word);
	}
	e->state = STATE_CLOSED;
	*msg = e->msg;
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
