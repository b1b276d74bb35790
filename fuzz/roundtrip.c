// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause
/*
 * Property: whatever runs, bitmaps and numbers are put, into whatever buffers, what a decoder takes
 * out of the messages is what the encoder said that it took, each message for itself.
 */
#include "set.h"

struct trip {
	struct fuzz_input in;
	struct vbb_enc_cfg cfg;
	bool answer;
	struct vbb_seg seg[2];		/* the buffer */
	struct fuzz_set put, got;		/* of this message */
	uint64_t nr_values;		/* of this message */
	uint64_t first_value;
	bool empty;			/* nothing has been put into this message */
	uint64_t nr_pages_left;		/* to be put yet, where each takes room of its own */
};

static struct vbb_enc enc;

/* Read the message back. */
static void check_message(struct trip *t, const struct vbb_msg *msg)
{
	const struct vbb_dec_cfg cfg = {
		.queue = t->answer ? VBB_QUEUE_HOST_REQUEST : VBB_QUEUE_BALLOON,
		.records = t->cfg.formats & VBB_FMT_RECORDS,
	};
	struct vbb_seg seg[2] = { t->seg[0], t->seg[1] };
	struct vbb_range r;
	struct vbb_dec d;
	uint64_t value;

	if (seg[0].len > msg->len)
		seg[0].len = (size_t)msg->len;
	seg[1].len = (size_t)msg->len - seg[0].len;
	if (t->cfg.formats == VBB_FMT_PFNS) {
		vbb_dec_init_pfns(&d, &cfg, seg, 2);
	} else {
		fuzz_check(!vbb_dec_init(&d, &cfg, seg, 2));
		fuzz_check(d.hdr.cmd == t->cfg.cmd && d.hdr.req_id == t->cfg.req_id);
		fuzz_check(d.hdr.page_shift == t->cfg.page_shift);
		fuzz_check(msg->format == 1u << d.hdr.format && msg->format & t->cfg.formats);
		fuzz_check(d.hdr.bmap_len % 8 == 0);
	}
	if (t->cfg.formats == VBB_FMT_VALUES) {
		while (vbb_dec_next_value(&d, &value) == 1) {
			fuzz_check(value == t->first_value++);
			fuzz_check(t->nr_values--);
		}
		fuzz_check(!t->nr_values);
		return;
	}
	vbb_dec_for_each(&d, &r)
		fuzz_set_add(&t->got, r.pfn, r.nr_pages);
	fuzz_check(vbb_dec_next(&d, &r) == 0);
	fuzz_check(d.nr_blocks == msg->nr_blocks && d.nr_bitmaps == msg->nr_bitmaps &&
		   d.nr_extents == msg->nr_extents);
	fuzz_set_check(&t->put, &t->got, msg);
}

static void close_message(struct trip *t)
{
	struct vbb_msg msg;

	memset(&msg, 0xee, sizeof(msg));
	fuzz_check(!vbb_enc_finish(&enc, 0, &msg));
	fuzz_check(vbb_enc_finish(&enc, 0, &msg) == VBB_E_STATE);
	fuzz_check(msg.len <= t->seg[0].len + t->seg[1].len);
	fuzz_check(t->empty == !msg.len);
	if (msg.len)
		check_message(t, &msg);
	t->put.nr = 0;
	t->got.nr = 0;
	t->empty = true;
}

static void open_next(struct trip *t)
{
	/* A message that takes nothing at all would never end. */
	fuzz_check(!t->empty);
	close_message(t);
	fuzz_check(!vbb_enc_next(&enc, t->seg, 2));
}

static bool run_valid(const struct trip *t, const struct vbb_range *r)
{
	uint64_t end = t->cfg.formats == VBB_FMT_PFNS ? (uint64_t)1 << 32 :
							vbb_pfn_end(t->cfg.page_shift);

	return r->nr_pages && r->pfn < end && r->nr_pages <= end - r->pfn;
}

/* Is there time for it? A run that is not valid takes none. */
static bool run_affordable(struct trip *t, const struct vbb_range *r)
{
	if (!run_valid(t, r) || t->cfg.formats & VBB_FMT_RECORDS)
		return true;
	if (r->nr_pages > t->nr_pages_left)
		return false;
	t->nr_pages_left -= r->nr_pages;
	return true;
}

static void put_run(struct trip *t, uint64_t pfn, uint64_t nr_pages)
{
	struct vbb_range r = { pfn, nr_pages }, before;
	bool valid = run_valid(t, &r);
	int ret;

	if (!run_affordable(t, &r))
		return;
	do {
		before = r;
		ret = vbb_enc_put(&enc, &r);
		if (!valid) {
			fuzz_check(ret == VBB_E_INVAL && !memcmp(&r, &before, sizeof(r)));
			return;
		}
		fuzz_check(!ret || ret == VBB_E_NOSPC);
		fuzz_check(r.nr_pages <= before.nr_pages);
		fuzz_check(r.pfn + r.nr_pages == before.pfn + before.nr_pages);
		fuzz_set_add(&t->put, before.pfn, before.nr_pages - r.nr_pages);
		t->empty &= before.nr_pages == r.nr_pages;
		if (ret)
			open_next(t);
	} while (ret == VBB_E_NOSPC);
	fuzz_check(!r.nr_pages);
}

/* From pfn on, each a few pages further, touching the one before, or back in it; where they end */
static uint64_t put_runs(struct trip *t, uint64_t pfn)
{
	size_t nr = (size_t)fuzz_take(&t->in, 1) % 64, i;
	struct vbb_range *run = (void *)fuzz_alloc(nr * sizeof(*run));
	struct vbb_run_list l = { .run = run };

	for (; l.nr_runs < nr; l.nr_runs++) {
		uint64_t step = fuzz_take(&t->in, 1);

		pfn += step % 16 - 2;
		run[l.nr_runs] = (struct vbb_range){ pfn, step / 16 };
		if (!run_affordable(t, &run[l.nr_runs]))
			break;
		pfn += step / 16;
	}
	for (;;) {
		uint64_t taken = l.nr_taken;
		size_t first = l.pos;
		int ret = vbb_enc_put_runs(&enc, &l);

		fuzz_check(l.run == run && l.pos >= first && l.pos <= l.nr_runs);
		for (i = first; i < l.pos; i++) {
			fuzz_check(run_valid(t, &run[i]));
			fuzz_set_add(&t->put, run[i].pfn + taken, run[i].nr_pages - taken);
			t->empty = false;
			taken = 0;
		}
		if (l.pos == l.nr_runs) {
			fuzz_check(!ret && !l.nr_taken);
			break;
		}
		if (!run_valid(t, &run[i])) {
			fuzz_check(ret == VBB_E_INVAL && !l.nr_taken);
			l.pos++;
			continue;
		}
		fuzz_check(ret == VBB_E_NOSPC);
		fuzz_check(l.nr_taken >= taken && l.nr_taken < run[i].nr_pages);
		fuzz_set_add(&t->put, run[i].pfn + taken, l.nr_taken - taken);
		t->empty &= l.nr_taken == taken;
		open_next(t);
	}
	free(run);
	return pfn;
}

static void put_bitmap(struct trip *t, uint64_t pfn, uint64_t nr_bits)
{
	size_t size = (size_t)(nr_bits + 7) / 8, i;
	struct vbb_range whole = { pfn, nr_bits };
	uint8_t *bits = fuzz_alloc(size);
	struct vbb_bitmap b = { .bits = bits, .nr_bits = nr_bits, .pfn = pfn };
	int ret;

	for (i = 0; i < size; i++)
		bits[i] = (uint8_t)fuzz_take(&t->in, 1);
	if (!vbb_range_valid(&whole, t->cfg.page_shift) ||
	    (t->cfg.formats == VBB_FMT_PFNS && pfn + nr_bits > (uint64_t)1 << 32)) {
		free(bits);
		return;
	}
	do {
		uint64_t pos = b.pos;

		ret = vbb_enc_put_bitmap(&enc, &b);
		fuzz_check(!ret || ret == VBB_E_NOSPC);
		fuzz_check(b.pos >= pos && b.pos <= nr_bits);
		for (; pos < b.pos; pos++) {
			if (!(bits[pos / 8] >> pos % 8 & 1))
				continue;
			fuzz_set_add(&t->put, pfn + pos, 1);
			t->empty = false;
		}
		if (ret)
			open_next(t);
	} while (ret == VBB_E_NOSPC);
	for (i = (size_t)b.pos; i < nr_bits; i++)
		fuzz_check(!(bits[i / 8] >> i % 8 & 1));
	free(bits);
}

static void put_values(struct trip *t)
{
	uint64_t value = fuzz_take(&t->in, 8);

	t->first_value = value;
	for (; t->in.size; fuzz_take(&t->in, 1)) {
		int ret = vbb_enc_put_value(&enc, value);

		if (ret == VBB_E_NOSPC) {
			open_next(t);
			ret = vbb_enc_put_value(&enc, value);
		}
		fuzz_check(!ret);
		t->empty = false;
		t->nr_values++;
		value++;
	}
}

static void put_pages(struct trip *t)
{
	uint64_t pos = 0;

	while (t->in.size) {
		uint64_t op = fuzz_take(&t->in, 1), nr_pages;

		switch (op % 8) {
		case 0:
		case 1:
			pos += fuzz_take(&t->in, 1);
			nr_pages = 1 + fuzz_take(&t->in, 1);
			break;
		case 2:
			pos = put_runs(t, pos);
			continue;
		case 3:
			pos += fuzz_take(&t->in, 2);
			nr_pages = fuzz_take(&t->in, 2);
			break;
		case 4:
			nr_pages = (uint64_t)1 << op / 8;
			pos = (pos + nr_pages * (1 + fuzz_take(&t->in, 1))) & ~(nr_pages - 1);
			break;
		case 5:
			pos = fuzz_take(&t->in, 8) >> 11;
			nr_pages = fuzz_take(&t->in, 2);
			break;
		case 6:
			nr_pages = fuzz_take(&t->in, 1);
			put_bitmap(t, pos, nr_pages + op / 8);
			pos += nr_pages;
			continue;
		default:
			pos -= fuzz_take(&t->in, 2);
			nr_pages = 1 + op / 8;
			break;
		}
		put_run(t, pos, nr_pages);
		pos += nr_pages;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const vbb_u32 formats[] = {
		VBB_FMT_BITMAP, VBB_FMT_RECORDS, VBB_FMT_AUTO, VBB_FMT_PFNS, VBB_FMT_VALUES,
		VBB_FMT_QUICK
	};
	struct trip t = { .in = { data, size }, .empty = true, .nr_pages_left = 20000 };
	size_t len, cut;

	t.cfg.formats = formats[fuzz_take(&t.in, 1) % 6];
	t.cfg.page_shift = (vbb_u16)(12 + fuzz_take(&t.in, 1) % 19);
	if (t.cfg.formats == VBB_FMT_PFNS)
		t.cfg.page_shift = 12;
	t.answer = fuzz_take(&t.in, 1) % 2 || t.cfg.formats == VBB_FMT_VALUES;
	if (t.answer && t.cfg.formats != VBB_FMT_PFNS) {
		t.cfg.cmd = 1;
		t.cfg.req_id = 0x0123456789abcdef;
	}
	len = VBB_ENC_LEN_MIN + (size_t)fuzz_take(&t.in, 2) % 2048;
	cut = (size_t)fuzz_take(&t.in, 2) % (len + 1);
	t.seg[0].base = fuzz_alloc(cut);
	t.seg[0].len = cut;
	t.seg[1].base = fuzz_alloc(len - cut);
	t.seg[1].len = len - cut;

	memset(&enc, 0xee, sizeof(enc));
	fuzz_check(!vbb_enc_init(&enc, &t.cfg, t.seg, 2));
	if (t.cfg.formats == VBB_FMT_VALUES)
		put_values(&t);
	else
		put_pages(&t);
	close_message(&t);

	free(t.seg[0].base);
	free(t.seg[1].base);
	free(t.put.run);
	free(t.got.run);
	return 0;
}
