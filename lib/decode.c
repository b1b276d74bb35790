// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause
#include <virtio_balloon_bmap/decode.h>

/* struct vbb_dec.fault at the end of a message without fault */
#define VBB_DEC_END 1

#ifdef __FRAMAC__
#include "proof/decode.h"
#endif

/*@ assigns \nothing;
  @ ensures \result == vbb_pfn_of(rec);
  @*/
static inline vbb_u64 vbb_rec_pfn(vbb_u64 rec)
{
	return rec >> VIRTIO_BALLOON_REC_PFN_SHIFT & VIRTIO_BALLOON_REC_PFN_MASK;
}

/*@ assigns \nothing;
  @ ensures \result == vbb_order_of(rec);
  @*/
static inline vbb_u32 vbb_rec_order(vbb_u64 rec)
{
	return (vbb_u32)(vbb_shr(rec, VIRTIO_BALLOON_REC_ORDER_SHIFT) &
			 VIRTIO_BALLOON_REC_ORDER_MASK);
}

/*@ assigns \nothing;
  @ ensures \result == vbb_code_of(rec);
  @*/
static inline vbb_u32 vbb_rec_code(vbb_u64 rec)
{
	return (vbb_u32)(vbb_shr(rec, VIRTIO_BALLOON_REC_CODE_SHIFT) &
			 VIRTIO_BALLOON_REC_CODE_MASK);
}

/* What is wrong with a record, of whose payload so many bytes are left behind its first word? */
/*@ requires pfn < VBB_PFN_END && order <= 63 && code <= 63;
  @ assigns \nothing;
  @ ensures \result <= 0;
  @ ensures accepted: \result == 0 <==>
  @   vbb_rec_accepted(pfn, order, code) && vbb_rec_rest(code) <= left;
  @*/
static inline int vbb_rec_check(vbb_u64 pfn, vbb_u32 order, vbb_u32 code, vbb_u64 left)
{
	bool extent = code == VIRTIO_BALLOON_REC_EXTENT;

	if (order > (extent ? 0 : VIRTIO_BALLOON_REC_ORDER_MAX))
		return VBB_E_REC_ORDER;
	if (pfn & (vbb_pow2(order) - 1))
		return VBB_E_REC_ALIGN;
	if ((extent ? 1 : code) > left / 8)
		return VBB_E_REC_TRUNC;
	return 0;
}

/* Nothing is taken from here on. Returns what the callers return: no run was found. */
/*@ requires \valid(d);
  @ assigns d->fault, d->fault_off, d->word;
  @ ensures d->fault == fault && d->word == 0 && \result == 0;
  @*/
static int vbb_dec_stop(struct vbb_dec *d, int fault, vbb_u64 off)
{
	d->fault = fault;
	d->fault_off = off;
	d->word = 0;
	return 0;
}

/*@ requires \valid_read(d) && d->cur.left <= d->len;
  @ assigns \nothing;
  @ ensures \result == d->len - d->cur.left;
  @*/
static vbb_u64 vbb_dec_pos(const struct vbb_dec *d)
{
	return d->len - d->cur.left;
}

/*@ requires \valid(d) && 12 <= d->hdr.page_shift <= 30;
  @ assigns d->fault, d->fault_off, d->word;
  @ ensures d->fault < 0 && d->word == 0 && \result == 0;
  @*/
static int vbb_dec_stop_pfn(struct vbb_dec *d)
{
	vbb_u64 end = vbb_pfn_end(d->hdr.page_shift);

	return vbb_dec_stop(d, d->limit_pfn < end ? VBB_E_PFN_LIMIT : VBB_E_PFN_RANGE, d->mark);
}

/*@ requires \valid(d) && \valid_read(cfg) && \separated(d, cfg);
  @ requires vbb_segs(seg, nr_segs) && vbb_readable(seg, nr_segs);
  @ assigns *d;
  @ ensures vbb_cur_ok(d->cur);
  @ ensures vbb_dec_memory(*d);
  @ ensures vbb_dec_bitmap_ok(*d);
  @ ensures vbb_dec_counts_ok(*d);
  @ ensures d->cur.seg == seg && d->cur.nr_segs == nr_segs;
  @ ensures vbb_pos(d->cur) == vbb_before(seg, 0);
  @ ensures d->hdr.page_shift == 12 && d->hdr.format == 0 && d->pfns == 0;
  @ ensures d->hdr.flag == 0 && d->hdr.bmap_len == 0;
  @ ensures d->nr_words == 0 && d->nr_bits == 0 && d->word == 0 && d->nr_inside == 0;
  @ ensures d->run.nr_pages == 0 && d->fault == 0;
  @ ensures d->cur.left == d->len && d->limit_pfn == cfg->limit_pfn;
  @*/
static void vbb_dec_reset(struct vbb_dec *d, const struct vbb_dec_cfg *cfg,
			  const struct vbb_seg *seg, size_t nr_segs)
{
	vbb_cur_init(&d->cur, seg, nr_segs);
	d->len = d->cur.left;
	d->hdr.cmd = 0;
	d->hdr.page_shift = VIRTIO_BALLOON_PAGE_SHIFT_MIN;
	d->hdr.flag = 0;
	d->hdr.format = 0;
	d->hdr.req_id = 0;
	d->hdr.start_pfn = 0;
	d->hdr.bmap_len = 0;
	d->nr_blocks = 0;
	d->nr_bitmaps = 0;
	d->nr_extents = 0;
	d->mark = 0;
	d->fault_off = 0;
	d->budget = VBB_BUDGET_NONE;
	d->limit_pfn = cfg->limit_pfn;
	d->base_pfn = 0;
	d->scale = 1;
	d->nr_inside = 0;
	d->nr_words = 0;
	d->nr_bits = 0;
	d->word = 0;
	d->run.pfn = 0;
	d->run.nr_pages = 0;
	d->fault = 0;
	d->pfns = false;
}

/*@ requires \valid(d) && 12 <= d->hdr.page_shift <= 30;
  @ assigns d->limit_pfn;
  @ ensures vbb_dec_limit_ok(*d);
  @ ensures \old(d->limit_pfn) != 0 ==> d->limit_pfn <= \old(d->limit_pfn);
  @*/
/* The receiver's limit, where it set one that is lower than the wire's own */
static void vbb_dec_set_limit(struct vbb_dec *d)
{
	vbb_u64 end = vbb_pfn_end(d->hdr.page_shift);

	if (!d->limit_pfn || d->limit_pfn > end)
		d->limit_pfn = end;
}

/* A bitmap of so many words, whose bit 0 is 2^order pages from pfn on, comes next */
/*@ requires \valid(d) && pfn < VBB_PFN_END && order <= 51 && d->limit_pfn <= VBB_PFN_END;
  @ assigns d->base_pfn, d->scale, d->nr_inside, d->nr_words, d->nr_bits;
  @ ensures d->base_pfn == pfn && 1 <= d->scale == vbb_two(order) <= vbb_two(51);
  @ ensures d->nr_words == nr_words && d->nr_bits == 0;
  @ ensures vbb_dec_inside_ok(*d);
  @*/
static void vbb_dec_begin_bitmap(struct vbb_dec *d, vbb_u64 pfn, vbb_u32 order, vbb_u64 nr_words)
{
	d->base_pfn = pfn;
	d->scale = vbb_pow2(order);
	d->nr_inside = pfn < d->limit_pfn ? vbb_shr(d->limit_pfn - pfn, order) : 0;
	d->nr_words = nr_words;
	d->nr_bits = 0;
}

/* What is wrong with the fields of a header before bmap_len? 0: nothing; *off: where it stands */
/*@ requires \valid_read(h) && \valid_read(cfg) && \valid(off);
  @ requires \separated(off, h) && \separated(off, cfg);
  @ assigns *off;
  @ ensures \result <= 0;
  @ ensures \result == 0 ==> 12 <= h->page_shift <= 30;
  @ ensures \result == 0 ==> h->format == 0 || h->start_pfn == 0;
  @ ensures \result == 0 ==> h->format <= 2 && h->start_pfn < VBB_PFN_END;
  @ ensures accepted: \result == 0 <==> vbb_accepted_fields(cfg->queue, cfg->records, h->cmd,
  @   h->page_shift, h->flag, h->format, h->req_id, h->start_pfn);
  @*/
static int vbb_hdr_check(const struct vbb_hdr *h, const struct vbb_dec_cfg *cfg, vbb_u64 *off)
{
	bool answer = cfg->queue != VBB_QUEUE_BALLOON;

	*off = offsetof(struct virtio_balloon_bmap_hdr, cmd);
	if (!answer && h->cmd)
		return VBB_E_CMD;
	*off = offsetof(struct virtio_balloon_bmap_hdr, page_shift);
	if (h->page_shift < VIRTIO_BALLOON_PAGE_SHIFT_MIN ||
	    h->page_shift > VIRTIO_BALLOON_PAGE_SHIFT_MAX)
		return VBB_E_PAGE_SHIFT;
	*off = offsetof(struct virtio_balloon_bmap_hdr, flag);
	if (h->flag && !(answer && vbb_flag_ends(h->flag)))
		return VBB_E_FLAG;
	*off = offsetof(struct virtio_balloon_bmap_hdr, format);
	if (h->format > VIRTIO_BALLOON_FORMAT_VALUES ||
	    (h->format == VIRTIO_BALLOON_FORMAT_VALUES && !answer) ||
	    (h->format == VIRTIO_BALLOON_FORMAT_RECORDS && !cfg->records))
		return VBB_E_FORMAT;
	*off = offsetof(struct virtio_balloon_bmap_hdr, req_id);
	if (!answer && h->req_id)
		return VBB_E_REQ_ID;
	*off = offsetof(struct virtio_balloon_bmap_hdr, start_pfn);
	if (h->start_pfn >= (h->format == VIRTIO_BALLOON_FORMAT_BITMAP ? VBB_PFN_END : 1))
		return VBB_E_START_PFN;
	return 0;
}

/* What is wrong with bmap_len? 0: nothing */
/*@ requires \valid_read(h);
  @ assigns \nothing;
  @ ensures \result <= 0;
  @ ensures \result == 0 ==> h->bmap_len == left <= 0x100000;
  @ ensures \result == 0 && h->format != 0 ==> left % 8 == 0;
  @ ensures accepted: h->flag <= 5 ==>
  @   (\result == 0 <==> vbb_accepted_len(h->flag, h->format, h->bmap_len, left));
  @*/
static int vbb_hdr_check_len(const struct vbb_hdr *h, vbb_u64 left)
{
	if (h->bmap_len > VIRTIO_BALLOON_BMAP_LEN_MAX)
		return VBB_E_LEN_MAX;
	if (h->bmap_len != left)
		return VBB_E_LEN;
	if (!h->bmap_len && !vbb_flag_ends(h->flag))
		return VBB_E_LEN_EMPTY;
	if (h->bmap_len && h->flag > VIRTIO_BALLOON_FLAG_DONE)
		return VBB_E_PAYLOAD;
	if (h->format != VIRTIO_BALLOON_FORMAT_BITMAP && h->bmap_len % 8)
		return VBB_E_LEN_ALIGN;
	return 0;
}

/*@ requires \valid(d) && \valid_read(cfg) && \separated(d, cfg);
  @ requires vbb_segs(seg, nr_segs) && vbb_readable(seg, nr_segs);
  @ assigns *d;
  @ ensures safe: vbb_dec_ok(*d);
  @ ensures \result <= 0 && d->fault == \result;
  @ ensures limit: \result == 0 && cfg->limit_pfn != 0 ==> d->limit_pfn <= cfg->limit_pfn;
  @ ensures accepted: \result == 0 <==>
  @   vbb_accepted(cfg->queue, cfg->records, d->hdr.cmd, d->hdr.page_shift, d->hdr.flag,
  @     d->hdr.format, d->hdr.req_id, d->hdr.start_pfn, d->hdr.bmap_len, d->cur.left);
  @*/
int vbb_dec_init(struct vbb_dec *d, const struct vbb_dec_cfg *cfg, const struct vbb_seg *seg,
		 size_t nr_segs)
{
	vbb_u64 off = 0;
	int err;

	vbb_dec_reset(d, cfg, seg, nr_segs);
	err = vbb_hdr_load(&d->hdr, &d->cur);
	if (!err)
		err = vbb_hdr_check(&d->hdr, cfg, &off);
	if (!err) {
		off = offsetof(struct virtio_balloon_bmap_hdr, bmap_len);
		err = vbb_hdr_check_len(&d->hdr, d->cur.left);
	}
	if (err) {
		vbb_dec_stop(d, err, off);
		return err;
	}
	vbb_dec_set_limit(d);
	if (d->hdr.format == VIRTIO_BALLOON_FORMAT_BITMAP)
		vbb_dec_begin_bitmap(d, d->hdr.start_pfn, 0, (d->cur.left + 7) / 8);
	return 0;
}

/*@ requires \valid(d) && \valid_read(cfg) && \separated(d, cfg);
  @ requires vbb_segs(seg, nr_segs) && vbb_readable(seg, nr_segs);
  @ assigns *d;
  @ ensures safe: vbb_dec_ok(*d);
  @ ensures limit: cfg->limit_pfn != 0 ==> d->limit_pfn <= cfg->limit_pfn;
  @*/
void vbb_dec_init_pfns(struct vbb_dec *d, const struct vbb_dec_cfg *cfg, const struct vbb_seg *seg,
		       size_t nr_segs)
{
	vbb_dec_reset(d, cfg, seg, nr_segs);
	vbb_dec_set_limit(d);
	d->pfns = true;
}

/* A run is found: it lengthens the run in hand, or takes its place. 1: *r is the one that was */
/*@ requires \valid(d) && \valid(r) && \separated(d, r);
  @ requires vbb_dec_limit_ok(*d) && vbb_dec_run_ok(*d);
  @ requires nr_pages >= 1 && pfn + nr_pages <= d->limit_pfn;
  @ assigns d->run, *r;
  @ ensures vbb_dec_run_ok(*d);
  @ ensures \result == 0 || \result == 1;
  @ ensures found: \result == 1 ==> r->nr_pages >= 1 && r->pfn + r->nr_pages <= d->limit_pfn;
  @*/
static int vbb_dec_give(struct vbb_dec *d, vbb_u64 pfn, vbb_u64 nr_pages, struct vbb_range *r)
{
	bool in_hand = d->run.nr_pages != 0;
	struct vbb_range found;

	found.pfn = pfn;
	found.nr_pages = nr_pages;
	if (in_hand) {
		if (vbb_range_merge(&d->run, &found))
			return 0;
		/* number by number: a copy of both at once would wait for their stores */
		r->pfn = d->run.pfn;
		r->nr_pages = d->run.nr_pages;
	}
	d->run.pfn = pfn;
	d->run.nr_pages = nr_pages;
	return in_hand;
}

/* A block, an extent or a frame: all of it or nothing */
/*@ requires \valid(d) && \valid(r) && \separated(d, r);
  @ requires vbb_dec_limit_ok(*d) && vbb_dec_run_ok(*d) && nr_pages >= 1 && d->fault == 0;
  @ assigns d->run, d->fault, d->fault_off, d->word, *r;
  @ ensures vbb_dec_run_ok(*d);
  @ ensures \result == 0 || \result == 1;
  @ ensures found: \result == 1 ==> r->nr_pages >= 1 && r->pfn + r->nr_pages <= d->limit_pfn;
  @ ensures d->fault == 0 || d->fault < 0;
  @ ensures d->word == 0 || d->word == \old(d->word) && d->fault == 0;
  @ ensures accepted: d->fault == 0 <==> pfn + nr_pages <= d->limit_pfn;
  @*/
static int vbb_dec_give_all(struct vbb_dec *d, vbb_u64 pfn, vbb_u64 nr_pages, struct vbb_range *r)
{
	if (pfn >= d->limit_pfn || nr_pages > d->limit_pfn - pfn)
		return vbb_dec_stop_pfn(d);
	return vbb_dec_give(d, pfn, nr_pages, r);
}

/* Bits [first, first + n), which lie wholly below the limit, in pages */
/*@ requires \valid(found) && \valid_read(d) && \separated(d, found);
  @ requires vbb_dec_bitmap_ok(*d) && vbb_dec_inside_ok(*d) && vbb_dec_limit_ok(*d);
  @ requires n >= 1 && first + n <= d->nr_inside;
  @ assigns *found;
  @ ensures found->nr_pages >= 1 && found->pfn + found->nr_pages <= d->limit_pfn;
  @*/
static inline void vbb_dec_bits(const struct vbb_dec *d, vbb_u64 first, vbb_u64 n,
				struct vbb_range *found)
{
	/*@ assert 0 <= (d->nr_inside - (first + n)) * d->scale; */
	found->pfn = d->base_pfn + first * d->scale;
	found->nr_pages = n * d->scale;
}

/* The lowest run of set bits of the word, which lies wholly below the limit */
/*@ requires \valid(found) && \valid_read(d) && \separated(d, found);
  @ requires vbb_dec_bitmap_ok(*d) && vbb_dec_inside_ok(*d) && vbb_dec_limit_ok(*d);
  @ requires d->word != 0 && d->nr_bits <= d->nr_inside;
  @ assigns *found;
  @ ensures found->nr_pages >= 1 && found->pfn + found->nr_pages <= d->limit_pfn;
  @*/
static inline void vbb_dec_find(const struct vbb_dec *d, struct vbb_range *found)
{
	vbb_u32 b = vbb_ctz64(d->word);

	vbb_dec_bits(d, d->nr_bits - 64 + b, vbb_run64(d->word, b), found);
}

/* The same where the limit may lie in the word: up to the first page that is out of range */
/*@ requires \valid(d) && \valid(r) && \separated(d, r);
  @ requires vbb_dec_bitmap_ok(*d) && vbb_dec_inside_ok(*d) && vbb_dec_limit_ok(*d);
  @ requires vbb_dec_run_ok(*d) && d->word != 0 && d->fault == 0;
  @ assigns d->run, d->word, d->fault, d->fault_off, *r;
  @ ensures vbb_dec_run_ok(*d);
  @ ensures \result == 0 || \result == 1;
  @ ensures found: \result == 1 ==> r->nr_pages >= 1 && r->pfn + r->nr_pages <= d->limit_pfn;
  @ ensures d->fault < 0 && d->word == 0 || d->fault == 0;
  @*/
static int vbb_dec_give_cut(struct vbb_dec *d, struct vbb_range *r)
{
	vbb_u32 b = vbb_ctz64(d->word);
	vbb_u64 first = d->nr_bits - 64 + b;
	vbb_u64 n = vbb_run64(d->word, b);
	struct vbb_range found;

	d->word = vbb_drop64(d->word);
	/* a bit that begins in range is at most bit nr_inside, up to which nothing overflows */
	if (first > d->nr_inside)
		return vbb_dec_stop_pfn(d);
	/*@ assert 0 <= (d->nr_inside - first) * d->scale; */
	/*@ assert 0 <= (64 - n) * d->scale; */
	found.pfn = d->base_pfn + first * d->scale;
	found.nr_pages = n * d->scale;
	if (found.pfn >= d->limit_pfn)
		return vbb_dec_stop_pfn(d);
	if (found.nr_pages > d->limit_pfn - found.pfn) {
		found.nr_pages = d->limit_pfn - found.pfn;
		vbb_dec_stop_pfn(d);
	}
	return vbb_dec_give(d, found.pfn, found.nr_pages, r);
}

/* The run in hand, where a word of several lies behind it: those then find nothing in hand */
/*@ requires \valid(d) && \valid(r) && \separated(d, r);
  @ requires vbb_dec_bitmap_ok(*d) && vbb_dec_inside_ok(*d) && vbb_dec_limit_ok(*d);
  @ requires vbb_dec_run_ok(*d);
  @ assigns d->run, *r;
  @ ensures vbb_dec_run_ok(*d);
  @ ensures \result == 0 || \result == 1;
  @ ensures found: \result == 1 ==> r->nr_pages >= 1 && r->pfn + r->nr_pages <= d->limit_pfn;
  @*/
static int vbb_dec_give_before(struct vbb_dec *d, struct vbb_range *r)
{
	struct vbb_range found;

	if (!d->run.nr_pages || !vbb_drop64(d->word) || d->nr_bits > d->nr_inside)
		return 0;
	vbb_dec_find(d, &found);
	if (found.pfn <= d->run.pfn + d->run.nr_pages)
		return 0;
	r->pfn = d->run.pfn;
	r->nr_pages = d->run.nr_pages;
	d->run.nr_pages = 0;
	return 1;
}

/* The lowest run of the word */
/*@ requires \valid(d) && \valid(r) && \separated(d, r);
  @ requires vbb_dec_bitmap_ok(*d) && vbb_dec_inside_ok(*d) && vbb_dec_limit_ok(*d);
  @ requires vbb_dec_run_ok(*d) && d->word != 0 && d->fault == 0;
  @ assigns d->run, d->word, d->fault, d->fault_off, *r;
  @ ensures vbb_dec_run_ok(*d);
  @ ensures \result == 0 || \result == 1;
  @ ensures found: \result == 1 ==> r->nr_pages >= 1 && r->pfn + r->nr_pages <= d->limit_pfn;
  @ ensures d->fault < 0 && d->word == 0 || d->fault == 0;
  @*/
static int vbb_dec_give_bits(struct vbb_dec *d, struct vbb_range *r)
{
	struct vbb_range found;

	if (d->nr_bits > d->nr_inside)
		return vbb_dec_give_cut(d, r);
	vbb_dec_find(d, &found);
	d->word = vbb_drop64(d->word);
	return vbb_dec_give(d, found.pfn, found.nr_pages, r) || vbb_dec_give_before(d, r);
}

/* The next word of a bitmap; only the last of format BITMAP can have less than 8 bytes */
/*@ requires \valid(d) && d->nr_words >= 1;
  @ requires vbb_cur_ok(d->cur) && vbb_dec_memory(*d) && vbb_dec_bitmap_ok(*d);
  @ requires vbb_dec_payload_ok(*d) && vbb_dec_counts_ok(*d) && vbb_dec_limit_ok(*d);
  @ requires d->fault == 0 && d->word == 0;
  @ assigns d->mark, d->nr_words, d->nr_bits, d->word, d->cur.idx, d->cur.off, d->cur.left;
  @ ensures vbb_cur_ok(d->cur);
  @ ensures vbb_dec_bitmap_ok(*d);
  @ ensures payload: vbb_dec_payload_ok(*d);
  @ ensures vbb_dec_counts_ok(*d);
  @ ensures forward: vbb_pos(d->cur) >= \old(vbb_pos(d->cur));
  @ ensures d->nr_bits == \old(d->nr_bits) + 64;
  @*/
static void vbb_dec_load_word(struct vbb_dec *d)
{
	vbb_u32 shift;

	d->mark = vbb_dec_pos(d);
	d->nr_words--;
	d->nr_bits += 64;
	if (d->cur.left >= 8) {
		d->word = vbb_cur_load64(&d->cur);
		return;
	}
	/*@ loop invariant vbb_cur_ok(d->cur);
	  @ loop invariant shift % 8 == 0 && 8 * d->cur.left + shift == 8 * \at(d->cur.left, Pre);
	  @ loop invariant vbb_pos(d->cur) >= \at(vbb_pos(d->cur), Pre);
	  @ loop assigns shift, d->word, d->cur.idx, d->cur.off, d->cur.left;
	  @ loop variant 64 - shift;
	  @*/
	for (shift = 0; d->cur.left; shift += 8)
		d->word |= vbb_shl(vbb_cur_load8(&d->cur), shift);
}

/* Loads the words behind this one, nr at most, up to the first that is another. How many? */
/*@ requires \valid(d) && d->nr_bits >= 64;
  @ requires vbb_cur_ok(d->cur) && vbb_dec_memory(*d) && vbb_dec_bitmap_ok(*d);
  @ requires vbb_dec_payload_ok(*d) && vbb_dec_counts_ok(*d) && vbb_dec_limit_ok(*d);
  @ requires d->fault == 0;
  @ assigns d->mark, d->nr_words, d->nr_bits, d->word, d->cur.idx, d->cur.off, d->cur.left;
  @ ensures vbb_cur_ok(d->cur);
  @ ensures vbb_dec_bitmap_ok(*d);
  @ ensures payload: vbb_dec_payload_ok(*d);
  @ ensures vbb_dec_counts_ok(*d);
  @ ensures forward: vbb_pos(d->cur) >= \old(vbb_pos(d->cur));
  @ ensures \result <= nr && d->nr_bits == \old(d->nr_bits) + 64 * \result;
  @ ensures \result == 0 ==> d->word == \old(d->word);
  @*/
static vbb_u64 vbb_dec_load_alike(struct vbb_dec *d, vbb_u64 nr)
{
	vbb_u64 left = d->cur.left, n;

	if (nr > d->nr_words)
		nr = d->nr_words;
	if (nr > left / 8)
		nr = left / 8;
	if (!nr)
		return 0;
	d->word = vbb_cur_scan64(&d->cur, nr, d->word);
	n = (left - d->cur.left) / 8;
	d->mark = vbb_dec_pos(d) - 8;
	d->nr_words -= n;
	d->nr_bits += 64 * n;
	return n;
}

/* The full word that was loaded, and the full words behind it: as if they came one by one */
/*@ requires \valid(d) && \valid(r) && \separated(d, r);
  @ requires vbb_cur_ok(d->cur) && vbb_dec_memory(*d) && vbb_dec_bitmap_ok(*d);
  @ requires vbb_dec_payload_ok(*d) && vbb_dec_counts_ok(*d) && vbb_dec_limit_ok(*d);
  @ requires vbb_dec_inside_ok(*d) && vbb_dec_run_ok(*d) && d->fault == 0;
  @ requires d->nr_bits >= 64 && d->nr_bits <= d->nr_inside;
  @ assigns d->run, d->budget, d->mark, d->nr_words, d->nr_bits, d->word, d->cur.idx, d->cur.off,
  @   d->cur.left, *r;
  @ ensures vbb_cur_ok(d->cur);
  @ ensures vbb_dec_bitmap_ok(*d);
  @ ensures payload: vbb_dec_payload_ok(*d);
  @ ensures vbb_dec_counts_ok(*d);
  @ ensures forward: vbb_pos(d->cur) >= \old(vbb_pos(d->cur));
  @ ensures vbb_dec_run_ok(*d);
  @ ensures \result == 0 || \result == 1;
  @ ensures found: \result == 1 ==> r->nr_pages >= 1 && r->pfn + r->nr_pages <= d->limit_pfn;
  @ ensures d->budget <= \old(d->budget);
  @*/
static int vbb_dec_load_full(struct vbb_dec *d, struct vbb_range *r)
{
	vbb_u64 first = d->nr_bits - 64, n = (d->nr_inside - first) / 64;
	struct vbb_range found;

	vbb_dec_bits(d, first, 64, &found);
	if (d->run.nr_pages && d->run.pfn + d->run.nr_pages != found.pfn)
		return 0;
	/* each takes a step to find it and one to load the word behind it */
	n = vbb_dec_load_alike(d, n < d->budget / 2 ? n : d->budget / 2);
	if (!n)
		return 0;
	d->budget -= 2 * n;
	vbb_dec_bits(d, first, 64 * n, &found);
	return vbb_dec_give(d, found.pfn, found.nr_pages, r);
}

/* The next word of a bitmap, and all behind it that are empty or full as it is */
/*@ requires \valid(d) && \valid(r) && \separated(d, r) && d->nr_words >= 1;
  @ requires vbb_cur_ok(d->cur) && vbb_dec_memory(*d) && vbb_dec_bitmap_ok(*d);
  @ requires vbb_dec_payload_ok(*d) && vbb_dec_counts_ok(*d) && vbb_dec_limit_ok(*d);
  @ requires vbb_dec_inside_ok(*d) && vbb_dec_run_ok(*d) && d->fault == 0 && d->word == 0;
  @ assigns d->run, d->budget, d->mark, d->nr_words, d->nr_bits, d->word, d->cur.idx, d->cur.off,
  @   d->cur.left, *r;
  @ ensures vbb_cur_ok(d->cur);
  @ ensures vbb_dec_bitmap_ok(*d);
  @ ensures payload: vbb_dec_payload_ok(*d);
  @ ensures vbb_dec_counts_ok(*d);
  @ ensures forward: vbb_pos(d->cur) >= \old(vbb_pos(d->cur));
  @ ensures vbb_dec_run_ok(*d);
  @ ensures \result == 0 || \result == 1;
  @ ensures found: \result == 1 ==> r->nr_pages >= 1 && r->pfn + r->nr_pages <= d->limit_pfn;
  @ ensures d->budget <= \old(d->budget);
  @*/
static int vbb_dec_load_words(struct vbb_dec *d, struct vbb_range *r)
{
	vbb_dec_load_word(d);
	if (!d->word)
		d->budget -= vbb_dec_load_alike(d, d->budget);
	else if (d->word == ~(vbb_u64)0 && d->nr_bits <= d->nr_inside)
		return vbb_dec_load_full(d, r);
	return vbb_dec_give_before(d, r);
}

/*@ requires \valid(d) && \valid(r) && \separated(d, r) && d->pfns != 0;
  @ requires vbb_cur_ok(d->cur) && vbb_dec_memory(*d) && vbb_dec_bitmap_ok(*d);
  @ requires vbb_dec_payload_ok(*d) && vbb_dec_counts_ok(*d) && vbb_dec_limit_ok(*d);
  @ requires vbb_dec_run_ok(*d) && d->fault == 0 && d->word == 0;
  @ assigns d->run, d->mark, d->fault, d->fault_off, d->word, d->cur.idx, d->cur.off, d->cur.left,
  @   *r;
  @ ensures vbb_cur_ok(d->cur);
  @ ensures vbb_dec_bitmap_ok(*d);
  @ ensures payload: vbb_dec_payload_ok(*d);
  @ ensures vbb_dec_counts_ok(*d);
  @ ensures forward: vbb_pos(d->cur) >= \old(vbb_pos(d->cur));
  @ ensures vbb_dec_run_ok(*d);
  @ ensures \result == 0 || \result == 1;
  @ ensures found: \result == 1 ==> r->nr_pages >= 1 && r->pfn + r->nr_pages <= d->limit_pfn;
  @ ensures d->fault <= VBB_DEC_END && d->word == 0;
  @*/
static int vbb_dec_load_pfn(struct vbb_dec *d, struct vbb_range *r)
{
	d->mark = vbb_dec_pos(d);
	if (d->cur.left < 4)
		return vbb_dec_stop(d, VBB_E_LEN_ALIGN, d->mark);
	return vbb_dec_give_all(d, vbb_cur_load32(&d->cur), 1, r);
}

/* An extent whose words were both loaded */
/*@ requires \valid(d) && \valid(r) && \separated(d, r) && pfn < VBB_PFN_END;
  @ requires vbb_dec_limit_ok(*d) && vbb_dec_run_ok(*d) && d->fault == 0 && d->word == 0;
  @ requires d->mark + 16 == d->len - d->cur.left;
  @ requires 8 * (d->nr_blocks + d->nr_bitmaps + d->nr_extents) <= d->mark;
  @ assigns d->run, d->fault, d->fault_off, d->word, d->nr_extents, *r;
  @ ensures vbb_dec_run_ok(*d);
  @ ensures \result == 0 || \result == 1;
  @ ensures found: \result == 1 ==> r->nr_pages >= 1 && r->pfn + r->nr_pages <= d->limit_pfn;
  @ ensures d->fault <= 0 && d->word == 0 && d->nr_extents <= \old(d->nr_extents) + 1;
  @ ensures accepted: d->fault == 0 <==> vbb_pages_accepted(pfn, nr_pages, d->limit_pfn);
  @*/
static int vbb_dec_take_extent(struct vbb_dec *d, vbb_u64 pfn, vbb_u64 nr_pages,
			       struct vbb_range *r)
{
	if (!nr_pages || nr_pages > VBB_PFN_END)
		return vbb_dec_stop(d, VBB_E_REC_COUNT, d->mark + 8);
	d->nr_extents++;
	return vbb_dec_give_all(d, pfn, nr_pages, r);
}

/* A record of format RECORDS whose first word was loaded */
/*@ requires \valid(d) && \valid(r) && \separated(d, r) && d->pfns == 0;
  @ requires vbb_cur_ok(d->cur) && vbb_dec_memory(*d) && vbb_dec_bitmap_ok(*d);
  @ requires vbb_dec_payload_ok(*d) && vbb_dec_counts_ok(*d) && vbb_dec_limit_ok(*d);
  @ requires vbb_dec_inside_ok(*d) && vbb_dec_run_ok(*d) && d->fault == 0 && d->word == 0;
  @ requires d->nr_words == 0 && d->hdr.format != VIRTIO_BALLOON_FORMAT_BITMAP;
  @ requires d->hdr.format != VIRTIO_BALLOON_FORMAT_VALUES;
  @ requires d->mark + 8 == d->len - d->cur.left;
  @ requires 8 * (d->nr_blocks + d->nr_bitmaps + d->nr_extents) <= d->mark;
  @ assigns d->run, d->fault, d->fault_off, d->word, d->cur.idx, d->cur.off, d->cur.left,
  @   d->nr_blocks, d->nr_bitmaps, d->nr_extents, d->base_pfn, d->scale, d->nr_inside,
  @   d->nr_words, d->nr_bits, *r;
  @ ensures vbb_cur_ok(d->cur);
  @ ensures vbb_dec_bitmap_ok(*d);
  @ ensures payload: vbb_dec_payload_ok(*d);
  @ ensures vbb_dec_counts_ok(*d);
  @ ensures forward: vbb_pos(d->cur) >= \old(vbb_pos(d->cur));
  @ ensures vbb_dec_inside_ok(*d);
  @ ensures vbb_dec_run_ok(*d);
  @ ensures \result == 0 || \result == 1;
  @ ensures found: \result == 1 ==> r->nr_pages >= 1 && r->pfn + r->nr_pages <= d->limit_pfn;
  @ ensures d->fault <= VBB_DEC_END && d->word == 0;
  @ ensures accepted: d->fault == 0 ==> vbb_word_accepted(rec, \old(d->cur.left));
  @ ensures bitmap: vbb_word_accepted(rec, \old(d->cur.left)) && 1 <= vbb_code_of(rec) <= 62 ==>
  @   d->fault == 0 && d->nr_words == vbb_code_of(rec) && d->base_pfn == vbb_pfn_of(rec) &&
  @   d->scale == vbb_two(vbb_order_of(rec)) && d->nr_bits == 0;
  @ ensures block: vbb_word_accepted(rec, \old(d->cur.left)) && vbb_code_of(rec) == 0 ==>
  @   (d->fault == 0 <==>
  @    vbb_pages_accepted(vbb_pfn_of(rec), vbb_two(vbb_order_of(rec)), d->limit_pfn));
  @*/
static int vbb_dec_take_record(struct vbb_dec *d, vbb_u64 rec, struct vbb_range *r)
{
	vbb_u64 pfn = vbb_rec_pfn(rec);
	vbb_u32 order = vbb_rec_order(rec), code = vbb_rec_code(rec);
	int fault = vbb_rec_check(pfn, order, code, d->cur.left);

	if (fault)
		return vbb_dec_stop(d, fault, d->mark);
	if (code == VIRTIO_BALLOON_REC_BLOCK) {
		d->nr_blocks++;
		return vbb_dec_give_all(d, pfn, vbb_pow2(order), r);
	}
	if (code == VIRTIO_BALLOON_REC_EXTENT)
		return vbb_dec_take_extent(d, pfn, vbb_cur_load64(&d->cur), r);
	d->nr_bitmaps++;
	vbb_dec_begin_bitmap(d, pfn, order, code);
	return 0;
}

/* The next record; at least 8 bytes are left, since what is left is a multiple of 8 */
/*@ requires \valid(d) && \valid(r) && \separated(d, r) && d->pfns == 0;
  @ requires vbb_cur_ok(d->cur) && vbb_dec_memory(*d) && vbb_dec_bitmap_ok(*d);
  @ requires vbb_dec_payload_ok(*d) && vbb_dec_counts_ok(*d) && vbb_dec_limit_ok(*d);
  @ requires vbb_dec_inside_ok(*d) && vbb_dec_run_ok(*d) && d->fault == 0 && d->word == 0;
  @ requires d->nr_words == 0 && d->cur.left >= 8;
  @ requires d->hdr.format != VIRTIO_BALLOON_FORMAT_BITMAP;
  @ requires d->hdr.format != VIRTIO_BALLOON_FORMAT_VALUES;
  @ assigns d->run, d->mark, d->fault, d->fault_off, d->word, d->cur.idx, d->cur.off, d->cur.left,
  @   d->nr_blocks, d->nr_bitmaps, d->nr_extents, d->base_pfn, d->scale, d->nr_inside,
  @   d->nr_words, d->nr_bits, *r;
  @ ensures vbb_cur_ok(d->cur);
  @ ensures vbb_dec_bitmap_ok(*d);
  @ ensures payload: vbb_dec_payload_ok(*d);
  @ ensures vbb_dec_counts_ok(*d);
  @ ensures forward: vbb_pos(d->cur) >= \old(vbb_pos(d->cur));
  @ ensures vbb_dec_inside_ok(*d);
  @ ensures vbb_dec_run_ok(*d);
  @ ensures \result == 0 || \result == 1;
  @ ensures found: \result == 1 ==> r->nr_pages >= 1 && r->pfn + r->nr_pages <= d->limit_pfn;
  @ ensures d->fault <= VBB_DEC_END && d->word == 0;
  @*/
static int vbb_dec_load_record(struct vbb_dec *d, struct vbb_range *r)
{
	d->mark = vbb_dec_pos(d);
	return vbb_dec_take_record(d, vbb_cur_load64(&d->cur), r);
}

/*@ requires \valid(d) && \valid(r) && \separated(d, r) && vbb_dec_ok(*d);
  @ requires d->fault == 0;
  @ assigns d->run, d->budget, d->mark, d->fault, d->fault_off, d->word, d->cur.idx, d->cur.off,
  @   d->cur.left, d->nr_blocks, d->nr_bitmaps, d->nr_extents, d->base_pfn, d->scale,
  @   d->nr_inside, d->nr_words, d->nr_bits, *r;
  @ ensures vbb_cur_ok(d->cur);
  @ ensures vbb_dec_bitmap_ok(*d);
  @ ensures payload: vbb_dec_payload_ok(*d);
  @ ensures vbb_dec_counts_ok(*d);
  @ ensures forward: vbb_pos(d->cur) >= \old(vbb_pos(d->cur));
  @ ensures vbb_dec_inside_ok(*d);
  @ ensures vbb_dec_run_ok(*d);
  @ ensures \result == 0 || \result == 1;
  @ ensures found: \result == 1 ==> r->nr_pages >= 1 && r->pfn + r->nr_pages <= d->limit_pfn;
  @ ensures d->fault <= VBB_DEC_END && (d->word != 0 ==> d->fault == 0);
  @ ensures d->budget <= \old(d->budget);
  @*/
/* A step: something is loaded, or a run found in what is loaded. 1: *r is a run that is whole */
static int vbb_dec_step(struct vbb_dec *d, struct vbb_range *r)
{
	if (d->word)
		return vbb_dec_give_bits(d, r);
	if (d->nr_words)
		return vbb_dec_load_words(d, r);
	if (!d->cur.left || d->hdr.format == VIRTIO_BALLOON_FORMAT_VALUES)
		return vbb_dec_stop(d, VBB_DEC_END, 0);
	return d->pfns ? vbb_dec_load_pfn(d, r) : vbb_dec_load_record(d, r);
}

/* All of vbb_dec_next(); apart from it, since it needs more registers */
/*@ requires \valid(d) && \valid(r) && \separated(d, r) && vbb_dec_ok(*d);
  @ assigns *d, *r;
  @ ensures safe: vbb_dec_ok(*d);
  @ ensures same: d->cur.seg == \old(d->cur.seg) && d->cur.nr_segs == \old(d->cur.nr_segs) &&
  @   d->limit_pfn == \old(d->limit_pfn);
  @ ensures code: \result <= 1;
  @ ensures run: \result == 1 ==> r->nr_pages >= 1 && r->pfn + r->nr_pages <= d->limit_pfn;
  @ ensures forward: vbb_pos(d->cur) >= \old(vbb_pos(d->cur));
  @ ensures budget: d->budget <= \old(d->budget);
  @ ensures \result == VBB_E_BUDGET ==> d->budget == 0 || d->fault == VBB_E_BUDGET;
  @*/
static __attribute__((__noinline__)) int vbb_dec_next_any(struct vbb_dec *d, struct vbb_range *r)
{
	/*@ loop invariant safe: vbb_dec_ok(*d);
	  @ loop invariant vbb_pos(d->cur) >= \at(vbb_pos(d->cur), Pre);
	  @ loop invariant d->budget <= \at(d->budget, Pre);
	  @ loop assigns d->run, d->budget, d->mark, d->fault, d->fault_off, d->word, d->cur.idx,
	  @   d->cur.off, d->cur.left, d->nr_blocks, d->nr_bitmaps, d->nr_extents, d->base_pfn,
	  @   d->scale, d->nr_inside, d->nr_words, d->nr_bits, *r;
	  @ loop variant d->budget;
	  @*/
	while (!d->fault) {
		if (!d->budget)
			return VBB_E_BUDGET;
		d->budget--;
		if (vbb_dec_step(d, r))
			return 1;
	}
	if (d->run.nr_pages) {
		*r = d->run;
		d->run.nr_pages = 0;
		return 1;
	}
	return d->fault == VBB_DEC_END ? 0 : d->fault;
}

/* n units from b on, of 64 that begin at pfn */
/*@ requires \valid(r) && 1 <= n && b + n <= 64 && 1 <= scale && pfn + 64 * scale <= VBB_PFN_END;
  @ assigns *r;
  @ ensures 1 <= r->nr_pages && r->pfn + r->nr_pages <= pfn + 64 * scale;
  @*/
static inline void vbb_dec_put(struct vbb_range *r, vbb_u64 pfn, vbb_u64 scale, vbb_u32 b,
			       vbb_u32 n)
{
	/*@ assert 0 <= b * scale <= 64 * scale && 1 <= n * scale <= 64 * scale; */
	/*@ assert 0 <= (64 - b - n) * scale; */
	r->pfn = pfn + b * scale;
	r->nr_pages = n * scale;
}

/*
 * The runs of the word at hand but for its last, where nothing else is in hand, from r[i] on.
 * Returns the index past them.
 */
/*@ requires \valid(d) && \valid(r + (0 .. nr - 1)) && \separated(d, r + (0 .. nr - 1)) && i <= nr;
  @ requires \separated(r + (0 .. nr - 1), d->cur.seg + (0 .. d->cur.nr_segs - 1));
  @ requires vbb_dec_ok(*d);
  @ assigns d->word, d->budget, r[i .. nr - 1];
  @ ensures safe: vbb_dec_ok(*d);
  @ ensures few: i <= \result <= nr;
  @ ensures runs: \forall integer k; i <= k < \result ==>
  @   r[k].nr_pages >= 1 && r[k].pfn + r[k].nr_pages <= d->limit_pfn;
  @ ensures budget: d->budget <= \old(d->budget);
  @*/
static inline size_t vbb_dec_next_of_word(struct vbb_dec *d, struct vbb_range *r, size_t i,
					  size_t nr)
{
	vbb_u64 word = d->word, rest = vbb_drop64(word), budget = d->budget, scale = d->scale, pfn;
	size_t first = i;
	vbb_u32 b;

	if (!rest || d->run.nr_pages || d->nr_bits > d->nr_inside)
		return i;
	/*@ assert 0 <= (d->nr_inside - d->nr_bits) * scale; */
	/*@ assert 0 <= (d->nr_inside - (d->nr_bits - 64)) * scale; */
	/*@ assert d->base_pfn + d->nr_inside * scale <= d->limit_pfn; */
	/*@ assert d->base_pfn + d->nr_bits * scale <= d->limit_pfn; */
	pfn = d->base_pfn + (d->nr_bits - 64) * scale;
	/*@ assert inside: pfn + 64 * scale <= d->limit_pfn; */
	if (budget < nr - i)
		nr = i + (size_t)budget;
	/*@ loop invariant few: first <= i <= nr <= \at(nr, Pre) && nr - first <= budget;
	  @ loop invariant same: *d == \at(*d, Pre);
	  @ loop invariant seg: \forall integer k; 0 <= k < d->cur.nr_segs ==>
	  @   d->cur.seg[k].len == \at(d->cur.seg[k].len, Pre);
	  @ loop invariant word: word != 0;
	  @ loop invariant runs: \forall integer k; \at(i, Pre) <= k < i ==>
	  @   r[k].nr_pages >= 1 && r[k].pfn + r[k].nr_pages <= d->limit_pfn;
	  @ loop assigns i, b, word, rest, r[\at(i, Pre) .. nr - 1];
	  @ loop variant nr - i;
	  @*/
	while (rest && i < nr) {
		/*@ assert apart: \separated(d, r + i); */
		b = vbb_ctz64(word);
		vbb_dec_put(r + i, pfn, scale, b, vbb_run64(word, b));
		i++;
		word = rest;
		rest = vbb_drop64(word);
	}
	d->word = word;
	d->budget = budget - (i - first);
	return i;
}

/*@ requires \valid(d) && \valid(r) && \separated(d, r) && vbb_dec_ok(*d);
  @ requires \separated(r, d->cur.seg + (0 .. d->cur.nr_segs - 1));
  @ assigns *d, *r;
  @ ensures safe: vbb_dec_ok(*d);
  @ ensures same: d->cur.seg == \old(d->cur.seg) && d->cur.nr_segs == \old(d->cur.nr_segs) &&
  @   d->limit_pfn == \old(d->limit_pfn);
  @ ensures code: \result <= 1;
  @ ensures run: \result == 1 ==> r->nr_pages >= 1 && r->pfn + r->nr_pages <= d->limit_pfn;
  @ ensures forward: vbb_pos(d->cur) >= \old(vbb_pos(d->cur));
  @ ensures budget: d->budget <= \old(d->budget);
  @ ensures \result == VBB_E_BUDGET ==> d->budget == 0 || d->fault == VBB_E_BUDGET;
  @*/
int vbb_dec_next(struct vbb_dec *d, struct vbb_range *r)
{
	/* most runs have another behind them in their word, so that they are whole */
	return vbb_dec_next_of_word(d, r, 0, 1) ? 1 : vbb_dec_next_any(d, r);
}

/*@ requires \valid(d) && \valid(r + (0 .. nr - 1)) && \separated(d, r + (0 .. nr - 1));
  @ requires \separated(r + (0 .. nr - 1), d->cur.seg + (0 .. d->cur.nr_segs - 1));
  @ requires vbb_dec_ok(*d);
  @ assigns *d, r[0 .. nr - 1];
  @ ensures safe: vbb_dec_ok(*d);
  @ ensures same: d->cur.seg == \old(d->cur.seg) && d->cur.nr_segs == \old(d->cur.nr_segs) &&
  @   d->limit_pfn == \old(d->limit_pfn);
  @ ensures code: \result <= nr;
  @ ensures runs: \forall integer k; 0 <= k < \result ==>
  @   r[k].nr_pages >= 1 && r[k].pfn + r[k].nr_pages <= d->limit_pfn;
  @ ensures forward: vbb_pos(d->cur) >= \old(vbb_pos(d->cur));
  @ ensures budget: d->budget <= \old(d->budget);
  @*/
int vbb_dec_next_runs(struct vbb_dec *d, struct vbb_range *r, vbb_u16 nr)
{
	size_t i = 0, past;
	int err;

	/*@ loop invariant safe: vbb_dec_ok(*d);
	  @ loop invariant few: 0 <= i <= nr;
	  @ loop invariant same: d->cur.seg == \at(d->cur.seg, Pre) &&
	  @   d->cur.nr_segs == \at(d->cur.nr_segs, Pre) && d->limit_pfn == \at(d->limit_pfn, Pre);
	  @ loop invariant runs: \forall integer k; 0 <= k < i ==>
	  @   r[k].nr_pages >= 1 && r[k].pfn + r[k].nr_pages <= d->limit_pfn;
	  @ loop invariant forward: vbb_pos(d->cur) >= \at(vbb_pos(d->cur), Pre);
	  @ loop invariant budget: d->budget <= \at(d->budget, Pre);
	  @ loop assigns i, past, err, *d, r[0 .. nr - 1];
	  @ loop variant nr - i;
	  @*/
	while (i < nr) {
		past = vbb_dec_next_of_word(d, r, i, nr);
		/*@ assert before: \forall integer k; 0 <= k < past ==>
		  @   r[k].nr_pages >= 1 && r[k].pfn + r[k].nr_pages <= d->limit_pfn; */
		if (past == i) {
			/*@ assert apart: \separated(d, r + i); */
			err = vbb_dec_next_any(d, r + i);
			/*@ assert before: \forall integer k; 0 <= k < i ==>
			  @   r[k].nr_pages >= 1 && r[k].pfn + r[k].nr_pages <= d->limit_pfn; */
			if (err <= 0)
				return i ? (int)i : err;
			past++;
		}
		i = past;
	}
	return (int)i;
}

/*@ requires \valid(d) && \valid(value) && \separated(d, value) && vbb_dec_ok(*d);
  @ assigns d->budget, d->cur.idx, d->cur.off, d->cur.left, *value;
  @ ensures safe: vbb_dec_ok(*d);
  @ ensures code: \result <= 1;
  @ ensures forward: vbb_pos(d->cur) >= \old(vbb_pos(d->cur));
  @*/
int vbb_dec_next_value(struct vbb_dec *d, vbb_u64 *value)
{
	if (d->fault < 0)
		return d->fault;
	if (d->pfns || d->hdr.format != VIRTIO_BALLOON_FORMAT_VALUES)
		return VBB_E_STATE;
	if (!d->cur.left)
		return 0;
	if (!d->budget)
		return VBB_E_BUDGET;
	d->budget--;
	*value = vbb_cur_load64(&d->cur);
	return 1;
}
