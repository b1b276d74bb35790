// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause
/*
 * Property: whatever is asked of an encoder, in whatever order, for buffers of any size and cut,
 * valid or not: what it leaves of runs or a bitmap, and what it says it took, is what was there;
 * what is refused changes nothing; each call goes by the state, and each message is one that the
 * decoder takes, with just what was taken in it.
 */
#include "set.h"

#define MAX_SEGS	6
#define MAX_LEN		5000	/* of a buffer */
#define MAX_RUNS	2000	/* of a list */
#define MAX_STEPS	8	/* from run to run, before they come again */

static struct {
	struct fuzz_input in;
	struct vbb_enc enc;
	struct vbb_enc_cfg cfg;
	struct vbb_seg seg[MAX_SEGS];
	size_t nr_segs;
	bool open;
	struct fuzz_set put, got;	/* taken by this message, and found in it */
	vbb_u64 nr_values, sum;		/* taken by it: numbers, and what they make */
} f;

static void free_segs(void)
{
	while (f.nr_segs)
		free(f.seg[--f.nr_segs].base);
}

/* Returns how many bytes they have. */
static vbb_u64 make_segs(void)
{
	vbb_u64 nr = fuzz_take(&f.in, 1) % (MAX_SEGS + 1), sum = 0, len;

	free_segs();
	while (f.nr_segs < nr) {
		len = fuzz_take(&f.in, 1);
		if (len >= 0xf0)
			len = fuzz_take(&f.in, 2) % MAX_LEN;
		f.seg[f.nr_segs].base = fuzz_alloc((size_t)len);
		f.seg[f.nr_segs++].len = (size_t)len;
		sum += len;
	}
	return sum;
}

static bool has_pages(void)
{
	return f.cfg.formats != VBB_FMT_VALUES;
}

static void begin_message(int ret, vbb_u64 len)
{
	const vbb_u64 min = f.cfg.formats == VBB_FMT_PFNS ? 4 : VBB_ENC_LEN_MIN;

	fuzz_check(ret == (len < min ? VBB_E_TOOSMALL : 0));
	f.open = !ret;
	f.nr_values = f.sum = 0;
	f.put.nr = f.got.nr = 0;
}

static bool cfg_valid(void)
{
	switch (f.cfg.formats) {
	case VBB_FMT_PFNS:
		return f.cfg.page_shift == 12;
	case VBB_FMT_BITMAP:
	case VBB_FMT_RECORDS:
	case VBB_FMT_AUTO:
	case VBB_FMT_QUICK:
	case VBB_FMT_VALUES:
		return f.cfg.page_shift >= 12 && f.cfg.page_shift <= 30;
	}
	return false;
}

/* Can these pages be named? */
static bool run_valid(vbb_u64 pfn, vbb_u64 nr_pages)
{
	const vbb_u64 end = f.cfg.formats == VBB_FMT_PFNS ? (vbb_u64)1 << 32 :
		(vbb_u64)1 << (f.cfg.page_shift > 12 ? 64 - f.cfg.page_shift : 52);

	return nr_pages && pfn < end && nr_pages <= end - pfn;
}

static void put(vbb_u64 pfn, vbb_u64 nr_pages)
{
	struct vbb_range r = { pfn, nr_pages };
	int ret = vbb_enc_put(&f.enc, &r);

	if (f.open && has_pages() && run_valid(pfn, nr_pages)) {
		fuzz_check(ret == (r.nr_pages ? VBB_E_NOSPC : 0));
		fuzz_check(r.nr_pages <= nr_pages && r.pfn - pfn == nr_pages - r.nr_pages);
		fuzz_set_add(&f.put, pfn, nr_pages - r.nr_pages);
		return;
	}
	fuzz_check(ret == (f.open && has_pages() ? VBB_E_INVAL : VBB_E_STATE));
	fuzz_check(r.pfn == pfn && r.nr_pages == nr_pages);
}

static vbb_u64 some_pfn(vbb_u8 how)
{
	switch (how % 8) {
	case 0:
		return (vbb_u64)1 << fuzz_take(&f.in, 1) % 64;
	case 1:
		return VBB_PFN_END - fuzz_take(&f.in, 1);
	case 2:
		return fuzz_take(&f.in, 8);
	default:
		return fuzz_take(&f.in, 2);
	}
}

/* From pfn on, some steps again and again: ahead, so that they touch, back, or to anywhere */
static struct vbb_range *make_runs(vbb_u64 pfn, size_t nr_runs)
{
	struct vbb_range *run = (void *)fuzz_alloc(nr_runs * sizeof(*run));
	const size_t nr_steps = 1 + (size_t)fuzz_take(&f.in, 1) % MAX_STEPS;
	vbb_u8 step[MAX_STEPS];
	size_t i;

	for (i = 0; i < nr_steps; i++)
		step[i] = (vbb_u8)fuzz_take(&f.in, 1);
	for (i = 0; i < nr_runs; i++) {
		const vbb_u8 s = step[i % nr_steps];

		if (s == 0xff)
			pfn = some_pfn((vbb_u8)fuzz_take(&f.in, 1));
		else
			pfn += s % 16;
		if (s == 0xfe)
			pfn -= fuzz_take(&f.in, 2);
		run[i].pfn = pfn;
		run[i].nr_pages = s == 0xfd ? fuzz_take(&f.in, 8) : s / 16;
		pfn += run[i].nr_pages;
	}
	return run;
}

static void put_runs(vbb_u64 pfn)
{
	size_t nr_runs = (size_t)fuzz_take(&f.in, 1), begin, i;
	struct vbb_run_list l = { NULL, 0, 0, 0 };
	struct vbb_range *run;
	vbb_u64 taken;
	int ret;

	if (nr_runs >= 0xf0)
		nr_runs = (size_t)fuzz_take(&f.in, 2) % MAX_RUNS;
	l.run = run = make_runs(pfn, nr_runs);
	l.nr_runs = nr_runs;
	l.pos = begin = (size_t)fuzz_take(&f.in, 1) % (nr_runs + 1);
	l.nr_taken = taken = fuzz_take(&f.in, 1) % 4;
	ret = vbb_enc_put_runs(&f.enc, &l);
	fuzz_check(l.run == run && l.nr_runs == nr_runs && l.pos >= begin && l.pos <= nr_runs);
	if (!f.open || !has_pages()) {
		fuzz_check(ret == VBB_E_STATE && l.pos == begin && l.nr_taken == taken);
		free(run);
		return;
	}
	for (i = begin; i < l.pos; i++) {
		fuzz_check(run_valid(run[i].pfn, run[i].nr_pages) && taken < run[i].nr_pages);
		fuzz_set_add(&f.put, run[i].pfn + taken, run[i].nr_pages - taken);
		taken = 0;
	}
	if (i == nr_runs) {
		fuzz_check(!ret && l.nr_taken == taken);
	} else if (run_valid(run[i].pfn, run[i].nr_pages) && taken < run[i].nr_pages) {
		fuzz_check(ret == VBB_E_NOSPC);
		fuzz_check(l.nr_taken >= taken && l.nr_taken < run[i].nr_pages);
		fuzz_set_add(&f.put, run[i].pfn + taken, l.nr_taken - taken);
	} else {
		fuzz_check(ret == VBB_E_INVAL && l.nr_taken == taken);
	}
	free(run);
}

static bool bit(const struct vbb_bitmap *b, vbb_u64 pos)
{
	return b->bits[pos / 8] >> pos % 8 & 1;
}

static void put_bitmap(vbb_u64 pfn)
{
	vbb_u8 *bits;
	struct vbb_bitmap b = { NULL, fuzz_take(&f.in, 1), pfn, 0 };
	vbb_u64 pos, i, begin, len = (b.nr_bits + 7) / 8;
	int ret;

	bits = fuzz_alloc((size_t)len);
	for (i = 0; i < len; i++)
		bits[i] = (vbb_u8)fuzz_take(&f.in, 1);
	b.bits = bits;
	b.pos = begin = fuzz_take(&f.in, 1) % (b.nr_bits + 1);
	ret = vbb_enc_put_bitmap(&f.enc, &b);
	fuzz_check(b.bits == bits && b.pfn == pfn && b.pos >= begin && b.pos <= b.nr_bits);
	if (!f.open || !has_pages()) {
		fuzz_check(ret == VBB_E_STATE && b.pos == begin);
		free(bits);
		return;
	}
	for (pos = begin; pos < b.pos; pos++) {
		if (!bit(&b, pos))
			continue;
		fuzz_check(run_valid(pfn + pos, 1));
		fuzz_set_add(&f.put, pfn + pos, 1);
	}
	if (ret == VBB_E_NOSPC) {
		/* just there it can go on */
		fuzz_check(b.pos < b.nr_bits && bit(&b, b.pos) && run_valid(pfn + b.pos, 1));
	} else if (ret) {
		/* what comes first from here on are pages that cannot all be named */
		while (pos < b.nr_bits && !bit(&b, pos))
			pos++;
		while (pos < b.nr_bits && bit(&b, pos) && run_valid(pfn + pos, 1))
			pos++;
		fuzz_check(ret == VBB_E_INVAL);
		fuzz_check(pfn > VBB_PFN_END || (pos < b.nr_bits && bit(&b, pos)));
	} else {
		fuzz_check(b.pos == b.nr_bits);
	}
	free(bits);
}

static void put_value(vbb_u64 value)
{
	int ret = vbb_enc_put_value(&f.enc, value);

	if (!f.open || has_pages()) {
		fuzz_check(ret == VBB_E_STATE);
	} else if (ret) {
		fuzz_check(ret == VBB_E_NOSPC);
	} else {
		f.nr_values++;
		f.sum = 3 * f.sum + value;
	}
}

static void check_values(struct vbb_dec *d)
{
	vbb_u64 value, sum = 0;

	while (vbb_dec_next_value(d, &value) == 1) {
		sum = 3 * sum + value;
		fuzz_check(f.nr_values--);
	}
	fuzz_check(!f.nr_values && sum == f.sum);
}

static void check_message(const struct vbb_msg *msg, vbb_u16 flag)
{
	const struct vbb_dec_cfg cfg = {
		.queue = f.cfg.req_id ? VBB_QUEUE_HOST_REQUEST : VBB_QUEUE_BALLOON, .records = true,
	};
	struct vbb_seg seg[MAX_SEGS];
	vbb_u64 left = msg->len;
	struct vbb_range r;
	struct vbb_dec d;
	size_t i;

	for (i = 0; i < f.nr_segs; i++) {
		seg[i] = f.seg[i];
		if (seg[i].len > left)
			seg[i].len = (size_t)left;
		left -= seg[i].len;
	}
	fuzz_check(!left);
	if (f.cfg.formats == VBB_FMT_PFNS) {
		vbb_dec_init_pfns(&d, &cfg, seg, f.nr_segs);
	} else {
		fuzz_check(!vbb_dec_init(&d, &cfg, seg, f.nr_segs));
		fuzz_check(d.hdr.cmd == f.cfg.cmd && d.hdr.page_shift == f.cfg.page_shift &&
			   d.hdr.req_id == f.cfg.req_id && d.hdr.flag == flag &&
			   d.hdr.bmap_len == msg->len - VBB_HDR_LEN);
		fuzz_check(1u << d.hdr.format == msg->format && msg->format & f.cfg.formats);
	}
	if (!has_pages()) {
		check_values(&d);
		return;
	}
	vbb_dec_for_each(&d, &r)
		fuzz_set_add(&f.got, r.pfn, r.nr_pages);
	fuzz_check(!vbb_dec_next(&d, &r));
	fuzz_set_check(&f.put, &f.got, msg);
}

static void finish(vbb_u16 flag)
{
	bool empty = !f.put.nr && !f.nr_values;
	struct vbb_msg msg;
	int ret = vbb_enc_finish(&f.enc, flag, &msg);

	if (!f.open) {
		fuzz_check(ret == VBB_E_STATE);
		return;
	}
	/* CONT and DONE go with a payload, the other ends do not */
	if (flag > 5 || (flag > 1 && !empty) || (flag && f.cfg.formats == VBB_FMT_PFNS)) {
		fuzz_check(ret == VBB_E_INVAL);
		return;
	}
	fuzz_check(!ret);
	f.open = false;
	fuzz_check(!msg.len == (empty && !flag));
	/* on the queues that inflate there are neither flags nor ids */
	if (msg.len && (f.cfg.req_id || !flag))
		check_message(&msg, flag);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const vbb_u32 formats[] = {
		VBB_FMT_BITMAP, VBB_FMT_RECORDS, VBB_FMT_AUTO, VBB_FMT_PFNS, VBB_FMT_VALUES,
		VBB_FMT_QUICK,
		VBB_FMT_VALUES | VBB_FMT_RECORDS, ~0u
	};
	vbb_u64 pfn;
	int ret;

	memset(&f, 0xee, sizeof(f));
	f.in = (struct fuzz_input){ data, size };
	f.nr_segs = 0;
	f.put = f.got = (struct fuzz_set){ NULL, 0, 0 };
	f.cfg.formats = formats[fuzz_take(&f.in, 1) % 8];
	f.cfg.page_shift = (vbb_u16)(f.cfg.formats == VBB_FMT_PFNS ? 12 :
				     10 + fuzz_take(&f.in, 1) % 24);
	f.cfg.req_id = fuzz_take(&f.in, 1) & 1 || f.cfg.formats == VBB_FMT_VALUES ? 77 : 0;
	f.cfg.cmd = f.cfg.req_id ? VIRTIO_BALLOON_CMD_DROP_CACHE : 0;
	pfn = make_segs();
	ret = vbb_enc_init(&f.enc, &f.cfg, f.seg, f.nr_segs);
	if (!cfg_valid()) {
		fuzz_check(ret == VBB_E_INVAL);
		fuzz_check(vbb_enc_next(&f.enc, f.seg, f.nr_segs) == VBB_E_STATE);
		f.open = false;
	} else {
		begin_message(ret, pfn);
	}
	while (f.in.size) {
		vbb_u8 op = (vbb_u8)fuzz_take(&f.in, 1);

		pfn = some_pfn(op / 32);
		switch (op % 32) {
		case 0:
			finish((vbb_u16)(op / 32 ? 0 : fuzz_take(&f.in, 1) % 8));
			break;
		case 1:
			if (f.open) {
				fuzz_check(vbb_enc_next(&f.enc, f.seg, f.nr_segs) == VBB_E_STATE);
			} else if (cfg_valid()) {
				pfn = make_segs();
				begin_message(vbb_enc_next(&f.enc, f.seg, f.nr_segs), pfn);
			}
			break;
		case 2:
			put_value(pfn);
			break;
		case 3:
		case 5:
			put_bitmap(pfn);
			break;
		case 4:
			put_runs(pfn);
			break;
		case 6:
			put(pfn, fuzz_take(&f.in, 8));
			break;
		case 7:
			put(pfn, fuzz_take(&f.in, 2));
			break;
		default:
			put(pfn, op % 32 - 7);
			break;
		}
	}
	finish(0);
	free_segs();
	free(f.put.run);
	free(f.got.run);
	return 0;
}
