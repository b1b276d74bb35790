// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause
#include "oracle.h"

#include <stdlib.h>

static uint64_t load(const uint8_t *p, uint64_t nr_bytes)
{
	uint64_t v = 0, i;

	for (i = 0; i < nr_bytes; i++)
		v |= (uint64_t)p[i] << (8 * i);
	return v;
}

static void may_say(struct oracle *o, int err, uint64_t off)
{
	o->malformed = true;
	o->off[vbb_err_fault(err)] = off;
}

static void add_run(struct oracle *o, uint64_t pfn, uint64_t nr_pages)
{
	struct vbb_range *last = o->nr_runs ? &o->run[o->nr_runs - 1] : NULL;
	uint64_t end = pfn + nr_pages;

	if (last && pfn <= last->pfn + last->nr_pages && last->pfn <= end) {
		if (end < last->pfn + last->nr_pages)
			end = last->pfn + last->nr_pages;
		if (last->pfn > pfn)
			last->pfn = pfn;
		last->nr_pages = end - last->pfn;
		return;
	}
	if (o->nr_runs == o->max_runs) {
		o->max_runs = o->max_runs ? 2 * o->max_runs : 64;
		o->run = realloc(o->run, o->max_runs * sizeof(*o->run));
		if (!o->run)
			abort();
	}
	o->run[o->nr_runs].pfn = pfn;
	o->run[o->nr_runs].nr_pages = nr_pages;
	o->nr_runs++;
}

struct limits {
	uint64_t wire;		/* one past the last pfn that the page size allows */
	uint64_t receiver;	/* one past the last that the receiver takes */
};

/* Is the run in range? Where not, say so; *nr_good: its pages in front of the first bad one. */
static bool check_run(struct oracle *o, const struct limits *l, uint64_t pfn, uint64_t nr_pages,
		      uint64_t off, uint64_t *nr_good)
{
	uint64_t end = pfn + nr_pages;
	uint64_t limit = l->wire < l->receiver ? l->wire : l->receiver;

	*nr_good = pfn >= limit ? 0 : end <= limit ? nr_pages : limit - pfn;
	if (end > l->wire)
		may_say(o, VBB_E_PFN_RANGE, off);
	if (end > l->receiver)
		may_say(o, VBB_E_PFN_LIMIT, off);
	return end <= limit;
}

/* All or nothing */
static bool add_block(struct oracle *o, const struct limits *l, uint64_t pfn, uint64_t nr_pages,
		      uint64_t off)
{
	uint64_t nr_good;

	if (!check_run(o, l, pfn, nr_pages, off, &nr_good))
		return false;
	add_run(o, pfn, nr_pages);
	return true;
}

/* Page by page: each gap-free run of set bits of a word, up to the first bad page */
static bool add_word(struct oracle *o, const struct limits *l, uint64_t word, uint64_t pfn,
		     uint32_t order, uint64_t off)
{
	uint64_t scale = (uint64_t)1 << order;
	uint32_t b, n;

	for (b = 0; b < 64; b += n ? n : 1) {
		uint64_t nr_good;
		bool good;

		for (n = 0; b + n < 64 && word >> (b + n) & 1; n++)
			;
		if (!n)
			continue;
		good = check_run(o, l, pfn + b * scale, n * scale, off, &nr_good);
		if (nr_good)
			add_run(o, pfn + b * scale, nr_good);
		if (!good)
			return false;
	}
	return true;
}

static void decode_pfns(struct oracle *o, const uint8_t *msg, uint64_t len, const struct limits *l)
{
	uint64_t off;

	for (off = 0; off + 4 <= len; off += 4) {
		if (!add_block(o, l, load(msg + off, 4), 1, off))
			return;
	}
	if (off < len)
		may_say(o, VBB_E_LEN_ALIGN, off);
}

static void decode_bitmap(struct oracle *o, const uint8_t *msg, uint64_t len,
			  const struct limits *l)
{
	uint64_t off, start_pfn = load(msg + 16, 8);

	for (off = 32; off < len; off += 8) {
		uint64_t word = load(msg + off, len - off < 8 ? len - off : 8);

		if (!add_word(o, l, word, start_pfn + 8 * (off - 32), 0, off))
			return;
	}
}

/* One record at off. Returns its length, or 0 for a fault. */
static uint64_t decode_record(struct oracle *o, const uint8_t *msg, uint64_t len, uint64_t off,
			      const struct limits *l)
{
	uint64_t word = load(msg + off, 8), pfn = word & (((uint64_t)1 << 52) - 1);
	uint32_t order = word >> 52 & 63, code = (uint32_t)(word >> 58), w;
	uint64_t nr_words = code == 63 ? 1 : code;
	uint64_t nr_pages;

	if (order > 51 || (code == 63 && order))
		may_say(o, VBB_E_REC_ORDER, off);
	if (pfn % ((uint64_t)1 << order))
		may_say(o, VBB_E_REC_ALIGN, off);
	if (nr_words * 8 > len - off - 8)
		may_say(o, VBB_E_REC_TRUNC, off);
	if (o->malformed)
		return 0;
	if (code == 0) {
		o->nr_blocks++;
		add_block(o, l, pfn, (uint64_t)1 << order, off);
	} else if (code == 63) {
		o->nr_extents++;
		nr_pages = load(msg + off + 8, 8);
		if (!nr_pages || nr_pages > (uint64_t)1 << 52)
			may_say(o, VBB_E_REC_COUNT, off + 8);
		else
			add_block(o, l, pfn, nr_pages, off);
	} else {
		o->nr_bitmaps++;
		for (w = 0; w < code; w++) {
			uint64_t word_off = off + 8 + 8 * w;

			if (!add_word(o, l, load(msg + word_off, 8),
				      pfn + ((uint64_t)(64 * w) << order), order, word_off))
				break;
		}
	}
	return o->malformed ? 0 : 8 + 8 * nr_words;
}

static void decode_records(struct oracle *o, const uint8_t *msg, uint64_t len,
			   const struct limits *l)
{
	uint64_t off = 32, rec_len = 1;

	while (off < len && rec_len) {
		rec_len = decode_record(o, msg, len, off, l);
		off += rec_len;
	}
}

static void check_header(struct oracle *o, const uint8_t *msg, uint64_t len,
			 const struct vbb_dec_cfg *cfg)
{
	bool answer = cfg->queue == VBB_QUEUE_HOST_REQUEST;
	uint64_t cmd, page_shift, flag, format, req_id, start_pfn, bmap_len;

	o->header = true;
	if (len < 32) {
		may_say(o, VBB_E_SHORT, 0);
		return;
	}
	cmd = load(msg, 2);
	page_shift = load(msg + 2, 2);
	flag = load(msg + 4, 2);
	format = load(msg + 6, 2);
	req_id = load(msg + 8, 8);
	start_pfn = load(msg + 16, 8);
	bmap_len = load(msg + 24, 8);
	if (cmd && !answer)
		may_say(o, VBB_E_CMD, 0);
	if (page_shift < 12 || page_shift > 30)
		may_say(o, VBB_E_PAGE_SHIFT, 2);
	if (flag > 5 || (flag && !answer))
		may_say(o, VBB_E_FLAG, 4);
	if (format > 2 || (format == 1 && !cfg->records) || (format == 2 && !answer))
		may_say(o, VBB_E_FORMAT, 6);
	if (req_id && !answer)
		may_say(o, VBB_E_REQ_ID, 8);
	if (format ? start_pfn : start_pfn >> 52)
		may_say(o, VBB_E_START_PFN, 16);
	if (bmap_len > 1 << 20)
		may_say(o, VBB_E_LEN_MAX, 24);
	if (bmap_len != len - 32)
		may_say(o, VBB_E_LEN, 24);
	if (bmap_len % 8 && format)
		may_say(o, VBB_E_LEN_ALIGN, 24);
	if (!bmap_len && !(flag && answer))
		may_say(o, VBB_E_LEN_EMPTY, 24);
	if (bmap_len && flag > 1)
		may_say(o, VBB_E_PAYLOAD, 24);
	o->header = o->malformed;
}

void oracle_decode(struct oracle *o, const uint8_t *msg, uint64_t len,
		   const struct vbb_dec_cfg *cfg, bool pfns)
{
	struct limits l = { (uint64_t)1 << 52, cfg->limit_pfn ? cfg->limit_pfn : UINT64_MAX };
	size_t i;

	o->run = NULL;
	o->nr_runs = 0;
	o->max_runs = 0;
	o->nr_blocks = 0;
	o->nr_bitmaps = 0;
	o->nr_extents = 0;
	o->malformed = false;
	o->header = false;
	for (i = 0; i < VBB_NR_FAULTS; i++)
		o->off[i] = NO_FAULT;

	if (pfns) {
		decode_pfns(o, msg, len, &l);
		return;
	}
	check_header(o, msg, len, cfg);
	if (o->malformed)
		return;
	l.wire = (uint64_t)1 << (64 - load(msg + 2, 2));
	switch (load(msg + 6, 2)) {
	case 0:
		decode_bitmap(o, msg, len, &l);
		break;
	case 1:
		decode_records(o, msg, len, &l);
		break;
	}
}

int oracle_begin(struct vbb_dec *d, const struct vbb_dec_cfg *cfg, bool pfns,
		 const struct vbb_seg *seg, size_t nr_segs)
{
	if (!pfns)
		return vbb_dec_init(d, cfg, seg, nr_segs);
	vbb_dec_init_pfns(d, cfg, seg, nr_segs);
	return 0;
}

/* Several, or as most callers do it: none stands for that. */
static int next_runs(struct vbb_dec *d, struct vbb_range *r, size_t nr)
{
	return nr ? vbb_dec_next_runs(d, r, (vbb_u16)nr) : vbb_dec_next(d, r);
}

const char *oracle_compare(const struct oracle *o, struct vbb_dec *d, int err, uint64_t budget)
{
	/* a step for each word, one for each of up to 32 runs in it, one for the end */
	uint64_t steps = 33 * (d->len / 4 + 1) + 1;
	struct vbb_range r[8];
	bool failed = err < 0, faulty;
	size_t nr = 0;
	int end, fault, i;

	if (o->header != failed)
		return "the header is good for one, malformed for the other";
	for (;;) {
		if (budget > steps)
			budget = steps;
		steps -= budget;
		vbb_dec_set_budget(d, budget);
		while ((end = next_runs(d, r, nr % 9)) > 0) {
			for (i = 0; i < end; i++, nr++) {
				if (nr == o->nr_runs)
					return "a run too many";
				if (r[i].pfn != o->run[nr].pfn ||
				    r[i].nr_pages != o->run[nr].nr_pages)
					return "another run";
			}
		}
		if (end != VBB_E_BUDGET)
			break;
		if (!steps)
			return "more steps than the message's length allows";
	}
	if (nr != o->nr_runs)
		return "a run is missing";
	if (failed && end != err)
		return "what ended it is not what init said";
	fault = vbb_err_fault(end);
	faulty = fault >= 0;
	if (end && !faulty)
		return "ended by something that is no fault of the peer";
	if (o->malformed != faulty)
		return "well-formed for one, malformed for the other";
	if (faulty && o->off[fault] == NO_FAULT)
		return "a fault that the message does not have";
	if (faulty && o->off[fault] != vbb_dec_fault_off(d))
		return "the fault lies elsewhere";
	if (!o->malformed && (d->nr_blocks != o->nr_blocks || d->nr_bitmaps != o->nr_bitmaps ||
			      d->nr_extents != o->nr_extents))
		return "other counts of records";
	if (next_runs(d, r, 0) != end || next_runs(d, r, 8) != end)
		return "the end does not stay";
	return NULL;
}

void oracle_free(struct oracle *o)
{
	free(o->run);
	o->run = NULL;
}
