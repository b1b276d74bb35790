// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause
/*
 * The peer can change a byte between two loads of it, so there must never be two. Held here, with a
 * peer that changes each byte as soon as it was loaded:
 *
 *  - Messages, results, requests: no byte is loaded twice, and what comes out is what comes out of
 *    memory that nobody touches. A good message of pages is loaded whole.
 *  - An encoder's buffer: no byte is ever loaded.
 *  - A virtqueue, a call of either side: no byte is loaded twice, of descriptors in the queue's
 *    table or an indirect one, of entries of either area, of indices, flags and events; and what
 *    comes out is what comes out of memory that nobody touches. Between two calls an index may
 *    change, and a later call loads it anew. Only a chain that names a descriptor again leads to it
 *    again: never more descriptors than the queue has, and one for an indirect table.
 *
 * Arguments: folders of messages in the fuzz targets' format.
 */
#include <dirent.h>
#include <stdio.h>

#include "loads_seeded.h"
#include "message.h"
#include "vring_rig.h"
#include "watch.h"
#include "../fuzz/message.h"

static char **folders;

/* --- Messages */

struct decoder {
	int (*init)(struct vbb_dec *d, const struct vbb_dec_cfg *cfg, const struct vbb_seg *seg,
		    size_t nr_segs);
	void (*init_pfns)(struct vbb_dec *d, const struct vbb_dec_cfg *cfg,
			  const struct vbb_seg *seg, size_t nr_segs);
	int (*next)(struct vbb_dec *d, struct vbb_range *r);
	int (*next_value)(struct vbb_dec *d, vbb_u64 *value);
};

static const struct decoder real = {
	vbb_dec_init, vbb_dec_init_pfns, vbb_dec_next, vbb_dec_next_value
};

static const struct decoder seeded = {
	seeded_dec_init, seeded_dec_init_pfns, seeded_dec_next, seeded_dec_next_value
};

/* What came out of a message */
struct outcome {
	uint64_t sum;		/* of all that is not named below */
	uint64_t fault_off;
	uint64_t nr;		/* runs or values */
	int begin;
	int end;
};

static void outcome_add(struct outcome *o, uint64_t v)
{
	o->sum = (o->sum ^ v) * 0x9e3779b97f4a7c15;
	o->sum ^= o->sum >> 32;
}

static void decode(const struct decoder *dec, const struct message *m, const struct vbb_seg *seg,
		   size_t nr_segs, struct outcome *o)
{
	struct vbb_range r;
	struct vbb_dec d;
	vbb_u64 value;

	memset(o, 0, sizeof(*o));
	if (m->pfns)
		dec->init_pfns(&d, &m->cfg, seg, nr_segs);
	else
		o->begin = dec->init(&d, &m->cfg, seg, nr_segs);
	outcome_add(o, d.hdr.format);
	outcome_add(o, d.hdr.req_id);
	if (d.hdr.format == VIRTIO_BALLOON_FORMAT_VALUES) {
		while ((o->end = dec->next_value(&d, &value)) == 1) {
			outcome_add(o, value);
			o->nr++;
		}
		return;
	}
	/* with pauses */
	do {
		vbb_dec_set_budget(&d, 3);
		while ((o->end = dec->next(&d, &r)) == 1) {
			outcome_add(o, r.pfn);
			outcome_add(o, r.nr_pages);
			o->nr++;
		}
	} while (o->end == VBB_E_BUDGET);
	o->fault_off = vbb_dec_fault_off(&d);
	outcome_add(o, d.nr_blocks);
	outcome_add(o, d.nr_bitmaps);
	outcome_add(o, d.nr_extents);
}

/* Bytes that nobody else has, at an odd place or an even one: up to a page of them */
static uint8_t *share_bytes(const uint8_t *bytes, size_t len, uint64_t *seed)
{
	uint8_t *p = watch.mem + test_index(seed, WATCH_PAGE - len + 1);

	memcpy(p, bytes, len);
	watch_clear();
	watch_share(p, len);
	return p;
}

/* Up to 8 pieces of one buffer */
static size_t cut_in_place(uint8_t *p, size_t len, struct vbb_seg *seg, uint64_t *seed)
{
	size_t nr, off = 0, nr_segs = 1 + test_index(seed, 8);

	for (nr = 0; nr < nr_segs; nr++) {
		seg[nr].base = p + off;
		seg[nr].len = nr + 1 == nr_segs ? len - off : test_index(seed, len - off + 1);
		off += seg[nr].len;
	}
	return nr_segs;
}

/* True where it makes no difference that the peer is faster */
static bool decode_both(const struct decoder *dec, const struct message *m, struct outcome *quiet,
			uint64_t *seed)
{
	uint8_t *p = share_bytes(m->bytes, m->len, seed);
	struct outcome disturbed;
	struct vbb_seg seg[8];
	size_t nr_segs = cut_in_place(p, m->len, seg, seed);

	decode(dec, m, seg, nr_segs, quiet);
	watch_begin();
	decode(dec, m, seg, nr_segs, &disturbed);
	watch_end();
	return quiet->sum == disturbed.sum && quiet->fault_off == disturbed.fault_off &&
	       quiet->nr == disturbed.nr && quiet->begin == disturbed.begin &&
	       quiet->end == disturbed.end;
}

static void assert_loaded_once(void)
{
	assert_int_equal(watch.nr_twice, 0);
	assert_int_equal(watch.nr_outside, 0);
	assert_int_equal(watch.nr_stores, 0);
}

static void check_message(const struct message *m, struct outcome *o, uint64_t *seed)
{
	assert_true(decode_both(&real, m, o, seed));
	assert_loaded_once();
	if (!o->begin && !o->end)
		assert_int_equal(watch.nr_loaded, m->len);
}

static void test_a_second_load_is_seen(void **state)
{
	static const uint8_t bytes[10];
	uint64_t seed = 1;
	uint8_t *p = share_bytes(bytes, 9, &seed);

	(void)state;
	watch_begin();
	vbb_load64(p);
	watch_end();
	assert_loaded_once();
	assert_int_equal(watch.nr_loaded, 8);
	assert_true(p[0] && p[7] && !p[8]);

	watch_begin();
	vbb_load64(p);
	vbb_load8(p + 7);
	vbb_load16(p + 8);
	watch_end();
	assert_int_equal(watch.nr_twice, 1);
	assert_int_equal(watch.nr_outside, 1);
}

/* VBB-MSG-03 */
static void test_random_messages(void **state)
{
	uint64_t seed = 6, nr_good = 0, nr_bad = 0;
	struct outcome o;
	struct message m;
	int i;

	(void)state;
	for (i = 0; i < 5000 * watch_effort; i++) {
		message_random(&m, &seed);
		check_message(&m, &o, &seed);
		nr_good += o.end == 0;
		nr_bad += o.end < 0;
	}
	assert_true(nr_good > 500 && nr_bad > 500);
}

static void load_file(struct message *m, const char *path)
{
	uint8_t bytes[FUZZ_PREFIX + sizeof(m->bytes)];
	FILE *file = fopen(path, "rb");
	struct fuzz_message f;

	assert_non_null(file);
	fuzz_message(&f, bytes, fread(bytes, 1, sizeof(bytes), file));
	fclose(file);
	m->cfg = f.cfg;
	m->pfns = f.pfns;
	m->len = f.len;
	memcpy(m->bytes, f.bytes, f.len);
}

/* All test vectors and the fuzzers' corpus */
/* VBB-MSG-03 */
static void test_messages_of_files(void **state)
{
	char path[4096];
	uint64_t seed = 9, nr;
	struct dirent *entry;
	struct outcome o;
	struct message m;
	char **folder;
	DIR *dir;

	(void)state;
	for (folder = folders; *folder; folder++) {
		dir = opendir(*folder);
		assert_non_null(dir);
		nr = 0;
		while ((entry = readdir(dir))) {
			if (entry->d_name[0] == '.')
				continue;
			snprintf(path, sizeof(path), "%s/%s", *folder, entry->d_name);
			load_file(&m, path);
			check_message(&m, &o, &seed);
			nr++;
		}
		closedir(dir);
		assert_true(nr);
	}
}

static void test_values(void **state)
{
	uint64_t seed = 10;
	struct outcome o;
	struct message m;
	uint64_t i;

	(void)state;
	message_begin(&m, VIRTIO_BALLOON_FORMAT_VALUES);
	m.cfg.queue = VBB_QUEUE_HOST_REQUEST;
	for (i = 0; i < 20; i++)
		message_add(&m, i, 8);
	check_message(&m, &o, &seed);
	assert_int_equal(o.nr, 20);
	assert_int_equal(watch.nr_loaded, m.len);
}

static void test_a_seeded_decoder_is_caught(void **state)
{
	uint64_t seed = 6, nr_twice = 0, nr_other = 0;
	struct outcome o;
	struct message m;
	int i;

	(void)state;
	for (i = 0; i < 1000; i++) {
		message_random(&m, &seed);
		nr_other += !decode_both(&seeded, &m, &o, &seed);
		nr_twice += watch.nr_twice != 0;
	}
	assert_true(nr_twice > 100 && nr_other > 100);
}

/* --- Results, requests, and what is written */

/* VBB-MSG-03 */
static void test_results_and_requests(void **state)
{
	uint64_t seed = 7;
	uint8_t bytes[40], *p;
	int i;

	(void)state;
	for (i = 0; i < 1000 * watch_effort; i++) {
		size_t k, len = test_index(&seed, sizeof(bytes) + 1), nr_segs;
		struct vbb_result result[2] = { { 0 } };
		struct vbb_req req[2] = { { 0 } };
		vbb_u64 used_len = 16 * test_below(&seed, 4);
		struct vbb_seg seg[8];
		int err, again;

		for (k = 0; k < sizeof(bytes); k++)
			bytes[k] = test_below(&seed, 3) ? 0 : (uint8_t)test_below(&seed, 256);
		p = share_bytes(bytes, len, &seed);
		nr_segs = cut_in_place(p, len, seg, &seed);
		err = vbb_result_load(&result[0], seg, nr_segs);
		watch_begin();
		again = vbb_result_load(&result[1], seg, nr_segs);
		watch_end();
		assert_loaded_once();
		assert_int_equal(again, err);
		assert_memory_equal(&result[0], &result[1], sizeof(result[0]));

		memcpy(p, bytes, len);
		err = vbb_req_load(&req[0], seg, nr_segs, used_len);
		watch_begin();
		again = vbb_req_load(&req[1], seg, nr_segs, used_len);
		watch_end();
		assert_loaded_once();
		assert_int_equal(again, err);
		assert_memory_equal(&req[0], &req[1], sizeof(req[0]));
	}
}

/* What the peer may change must not lead the encoder: it never looks at what it wrote. */
static void test_an_encoder_loads_nothing(void **state)
{
	static const vbb_u32 formats[] = {
		VBB_FMT_BITMAP, VBB_FMT_RECORDS, VBB_FMT_AUTO, VBB_FMT_QUICK, VBB_FMT_PFNS,
		VBB_FMT_VALUES
	};
	const struct vbb_result result = { .nr_pages = 1 };
	const struct vbb_req req = { .id = 1, .arg0 = 2 };
	static struct vbb_enc e;
	uint64_t seed = 8;
	size_t i, k, len = 3000;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(formats); i++) {
		const struct vbb_enc_cfg cfg = { .page_shift = 12, .formats = formats[i] };
		struct vbb_seg seg[8];
		size_t nr_segs;
		struct vbb_msg msg;

		watch_clear();
		nr_segs = cut_in_place(watch.mem + 1, len, seg, &seed);
		watch_begin();
		assert_int_equal(vbb_enc_init(&e, &cfg, seg, nr_segs), 0);
		for (k = 0; k < 100; k++) {
			struct vbb_range r = { 10 * k, 1 + test_below(&seed, 5) };

			if (formats[i] == VBB_FMT_VALUES)
				assert_int_equal(vbb_enc_put_value(&e, k), 0);
			else
				assert_int_equal(vbb_enc_put(&e, &r), 0);
		}
		assert_int_equal(vbb_enc_finish(&e, 0, &msg), 0);
		assert_true(msg.len && msg.len <= len);
		vbb_result_store(&result, seg, nr_segs);
		vbb_req_store(&req, seg, nr_segs);
		watch_end();
		assert_int_equal(watch.nr_loaded, 0);
		assert_int_equal(watch.nr_outside, 0);
	}
}

/* --- Virtqueues: each part in a page of its own, then memory with indirect tables */

#define RING_GPA 0x10000u
#define RING_RAM (3 * WATCH_PAGE)
#define RING_RAM_LEN (WATCH_LEN - RING_RAM)
#define TABLE_NR 8
#define NR_TABLES (RING_RAM_LEN / 16 / TABLE_NR)

struct ring {
	struct vbb_ram ram[2];
	struct vbb_ram_map map;
	struct vbb_vring vring;
	struct vbb_vring_dev dev;
	struct vbb_vring_drv drv;
	vbb_u8 lent[RIG_MAX];
	struct vbb_vring_slot slot[RIG_MAX];
	struct vbb_seg seg[RIG_SEGS];
	struct vbb_chain chain;
	bool loops;		/* a chain may name a descriptor again */
};

static vbb_u32 ring_random_num(uint64_t *seed)
{
	return 1u << test_below(seed, 7);
}

static void ring_init(struct ring *r, uint64_t *seed)
{
	/* a border in the middle of descriptors */
	vbb_u64 len = RING_RAM_LEN / 2 + test_below(seed, 16);
	vbb_u8 *ram = watch.mem + RING_RAM;

	memset(r, 0, sizeof(*r));
	memset(watch.mem, 0, sizeof(watch.mem));
	r->ram[0] = (struct vbb_ram){ RING_GPA, len, (uintptr_t)ram, 0 };
	r->ram[1] = (struct vbb_ram){ RING_GPA + len, RING_RAM_LEN - len, (uintptr_t)ram + len, 0 };
	r->map = (struct vbb_ram_map){ r->ram, 2 };
	r->vring = (struct vbb_vring){ watch.mem, watch.mem + WATCH_PAGE,
		watch.mem + 2 * WATCH_PAGE, ring_random_num(seed), test_below(seed, 2),
		test_below(seed, 2) };
	r->chain.seg = r->seg;
	r->chain.max_segs = RIG_SEGS;
	r->loops = test_below(seed, 2);
}

/* Descriptors of which most make sense, in tables of nr entries, one behind the other */
static void ring_random_tables(struct ring *r, vbb_u8 *p, vbb_u32 nr_tables, vbb_u32 nr,
			       uint64_t *seed)
{
	bool written = false;
	vbb_u32 i;

	for (i = 0; i < nr_tables * nr; i++) {
		vbb_u64 gpa = RING_GPA + test_below(seed, RING_RAM_LEN);
		vbb_u32 len = (vbb_u32)test_below(seed, 200);
		unsigned int flags = test_below(seed, 4) ? F_NEXT : 0;
		unsigned int next = i % nr + 1 + (unsigned int)test_below(seed, 2);

		if (!test_below(seed, 6))
			written = !written;
		if (written)
			flags |= F_WRITE;
		if (!test_below(seed, 40))
			gpa = test_rand(seed);
		if (!test_below(seed, 40))
			len = (vbb_u32)test_rand(seed);
		if (!test_below(seed, 6)) {
			flags = F_INDIRECT;
			gpa = RING_GPA + 16 * TABLE_NR * test_below(seed, NR_TABLES);
			len = 16 * (1 + (vbb_u32)test_below(seed, TABLE_NR));
		}
		if (r->loops && !test_below(seed, 4)) {
			gpa += test_below(seed, 16);
			next = (unsigned int)test_below(seed, nr);
		}
		rig_desc(p, i, gpa, len, flags, next);
	}
}

static void ring_push(struct ring *r, unsigned int head)
{
	unsigned int idx = rig_get16(r->vring.avail + 2);

	rig_put16(r->vring.avail + 4 + 2 * (idx & (r->vring.num - 1)), head);
	rig_put16(r->vring.avail + 2, (idx + 1) & 0xffff);
}

static void ring_use(struct ring *r, vbb_u32 id, vbb_u32 len)
{
	unsigned int idx = rig_get16(r->vring.used + 2);
	vbb_u8 *p = r->vring.used + 4 + 8 * (idx & (r->vring.num - 1));

	rig_put32(p, id);
	rig_put32(p + 4, len);
	rig_put16(r->vring.used + 2, (idx + 1) & 0xffff);
}

/* One call of either side; *out: a number that it gave. Nothing else may come out but in *r. */
typedef int (*ring_call)(struct ring *r, vbb_u64 *out);

static int call_recv(struct ring *r, vbb_u64 *out)
{
	(void)out;
	return vbb_vring_dev_recv(&r->dev, &r->chain);
}

static int call_seeded_recv(struct ring *r, vbb_u64 *out)
{
	(void)out;
	return seeded_vring_dev_recv(&r->dev, &r->chain);
}

static int call_done(struct ring *r, vbb_u64 *out)
{
	(void)out;
	return vbb_vring_dev_done(&r->dev, &r->chain, 0);
}

static int call_notify(struct ring *r, vbb_u64 *out)
{
	*out = vbb_vring_dev_should_notify(&r->dev);
	return 0;
}

static int call_dev_listen(struct ring *r, vbb_u64 *out)
{
	*out = vbb_vring_dev_listen(&r->dev);
	return 0;
}

static int call_dev_mute(struct ring *r, vbb_u64 *out)
{
	(void)out;
	vbb_vring_dev_mute(&r->dev);
	return 0;
}

static int call_send(struct ring *r, vbb_u64 *out)
{
	struct vbb_seg seg[3];
	size_t i;

	(void)out;
	for (i = 0; i < ARRAY_SIZE(seg); i++) {
		seg[i].base = (void *)(uintptr_t)r->ram[0].addr;
		seg[i].len = 1 + i;
	}
	return vbb_vring_drv_send(&r->drv, seg, 1, seg + 1, r->vring.num > 2 ? 2 : 0, r);
}

static int call_reap(struct ring *r, vbb_u64 *out)
{
	void *token;

	return vbb_vring_drv_reap(&r->drv, &token, out);
}

static int call_kick(struct ring *r, vbb_u64 *out)
{
	*out = vbb_vring_drv_should_kick(&r->drv);
	return 0;
}

static int call_drv_listen(struct ring *r, vbb_u64 *out)
{
	*out = vbb_vring_drv_listen(&r->drv);
	return 0;
}

static int call_drv_mute(struct ring *r, vbb_u64 *out)
{
	(void)out;
	vbb_vring_drv_mute(&r->drv);
	return 0;
}

/* True where all that came out is the same, and what was written as well */
static bool ring_same(const struct ring *a, const struct ring *b, const uint8_t *mem, int err)
{
	size_t i, nr = err ? 0 : a->chain.nr_out + a->chain.nr_in;

	if (memcmp(&a->dev, &b->dev, sizeof(a->dev)) || memcmp(&a->drv, &b->drv, sizeof(a->drv)) ||
	    memcmp(a->lent, b->lent, sizeof(a->lent)) ||
	    memcmp(a->slot, b->slot, sizeof(a->slot)) || a->chain.nr_out != b->chain.nr_out ||
	    a->chain.nr_in != b->chain.nr_in || a->chain.cookie != b->chain.cookie)
		return false;
	for (i = 0; i < nr; i++)
		if (a->seg[i].base != b->seg[i].base || a->seg[i].len != b->seg[i].len)
			return false;
	for (i = 0; i < WATCH_LEN; i++)
		if (!watch.loaded[i] && watch.mem[i] != mem[i])
			return false;
	return true;
}

/*
 * Call it with memory that nobody touches, and with a peer that is faster; go on with what the
 * first call made. *same: it makes no difference.
 */
static int ring_both(struct ring *r, ring_call call, bool *same)
{
	static uint8_t before[WATCH_LEN], after[WATCH_LEN];
	static struct ring old, quiet;
	vbb_u64 out[2] = { 0 };
	int err[2];

	memcpy(&old, r, sizeof(old));
	memcpy(before, watch.mem, WATCH_LEN);
	err[0] = call(r, &out[0]);
	memcpy(&quiet, r, sizeof(quiet));
	memcpy(after, watch.mem, WATCH_LEN);
	memcpy(r, &old, sizeof(*r));
	memcpy(watch.mem, before, WATCH_LEN);
	watch_begin();
	err[1] = call(r, &out[1]);
	watch_end();
	*same = err[0] == err[1] && out[0] == out[1] && ring_same(r, &quiet, after, err[0]);
	memcpy(r, &quiet, sizeof(*r));
	memcpy(watch.mem, after, WATCH_LEN);
	return err[0];
}

static int ring_check(struct ring *r, ring_call call)
{
	bool same;
	int err = ring_both(r, call, &same);

	assert_int_equal(watch.nr_outside, 0);
	if (r->loops) {
		/* index, head, descriptors, one of which leads to a table */
		assert_true(watch.nr_loaded <= 2 + 2 + 16 * (r->vring.num + 1));
		return err;
	}
	assert_int_equal(watch.nr_twice, 0);
	assert_true(same);
	return err;
}

static void device_begin(struct ring *r, uint64_t *seed)
{
	vbb_u8 *ram = watch.mem + RING_RAM;
	vbb_u32 num, i;

	ring_init(r, seed);
	num = r->vring.num;
	ring_random_tables(r, r->vring.desc, 1, num, seed);
	ring_random_tables(r, ram, NR_TABLES, TABLE_NR, seed);
	assert_int_equal(vbb_vring_dev_init(&r->dev, &r->vring, &r->map, r->lent, 0, 0), 0);
	for (i = 0; i < num; i++)
		ring_push(r, test_below(seed, 200) ? i : (unsigned int)test_below(seed, 2 * num));
	rig_put16(r->vring.avail, (unsigned int)test_below(seed, 2));
	rig_put16(r->vring.avail + 4 + 2 * num, (unsigned int)test_below(seed, 3));
	watch_clear();
	watch_share(r->vring.desc, VBB_VRING_DESC_LEN(num));
	watch_share(r->vring.avail, VBB_VRING_AVAIL_LEN(num));
	watch_share(ram, RING_RAM_LEN);
}

static bool any_loaded(size_t off)
{
	while (off < WATCH_LEN && !watch.loaded[off])
		off++;
	return off < WATCH_LEN;
}

static void test_device_side(void **state)
{
	uint64_t seed = 11, nr_good = 0, nr_bad = 0, nr_indirect = 0;
	static struct ring r;
	int i, err;

	(void)state;
	for (i = 0; i < 60 * watch_effort; i++) {
		device_begin(&r, &seed);
		ring_check(&r, call_dev_mute);
		do {
			err = ring_check(&r, call_recv);
			nr_good += !err;
			nr_bad += err && err != VBB_E_AGAIN;
			nr_indirect += any_loaded(RING_RAM);
			if (!err)
				assert_int_equal(ring_check(&r, call_done), 0);
			ring_check(&r, call_notify);
		} while (err != VBB_E_AGAIN && err != VBB_E_BROKEN);
		ring_check(&r, call_dev_listen);
	}
	assert_true(nr_good > 200 && nr_bad > 200 && nr_indirect > 50);
}

static void test_a_seeded_device_side_is_caught(void **state)
{
	uint64_t seed = 11, nr_twice = 0, nr_other = 0;
	static struct ring r;
	bool same;
	int i, err;

	(void)state;
	for (i = 0; i < 50; i++) {
		device_begin(&r, &seed);
		do {
			err = ring_both(&r, call_seeded_recv, &same);
			if (r.loops)
				continue;
			nr_twice += watch.nr_twice != 0;
			nr_other += !same;
		} while (err != VBB_E_AGAIN && err != VBB_E_BROKEN);
	}
	assert_true(nr_twice > 50 && nr_other > 50);
}

static void driver_begin(struct ring *r, uint64_t *seed)
{
	struct vbb_vring_tables tables = { watch.mem + RING_RAM, 0 };

	ring_init(r, seed);
	r->loops = false;
	if (r->vring.indirect && r->vring.num >= 4)
		tables.nr_descs = 4;
	/* 64 tables of 4 fit in front of the border */
	assert_int_equal(vbb_vring_drv_init(&r->drv, &r->vring, &r->map, r->slot, &tables), 0);
	/* what the device writes; all else is ours, and never read back */
	watch_clear();
	watch_share(r->vring.used, VBB_VRING_USED_LEN(r->vring.num));
}

/* Mostly of a chain that the device has */
static vbb_u32 driver_random_id(const struct ring *r, uint64_t *seed)
{
	vbb_u32 id = (vbb_u32)test_below(seed, r->vring.num), n;

	if (!test_below(seed, 100))
		return id;
	for (n = 0; n < r->vring.num && !r->slot[id].nr_descs; n++)
		id = (id + 1) % r->vring.num;
	return id;
}

static void test_driver_side(void **state)
{
	uint64_t seed = 12, nr_good = 0, nr_bad = 0;
	static struct ring r;
	int i, k, err;

	(void)state;
	for (i = 0; i < 60 * watch_effort; i++) {
		driver_begin(&r, &seed);
		ring_check(&r, call_drv_mute);
		for (k = 0; k < 40; k++) {
			err = ring_check(&r, call_send);
			assert_int_equal(watch.nr_loaded, 0);
			ring_check(&r, call_kick);
			if (test_below(&seed, 3))
				ring_use(&r, driver_random_id(&r, &seed),
					 (vbb_u32)test_below(&seed, 7));
			if (!test_below(&seed, 200))
				rig_put16(r.vring.used + 2, (unsigned int)test_below(&seed, 65536));
			rig_put16(r.vring.used, (unsigned int)test_below(&seed, 2));
			err = ring_check(&r, call_reap);
			nr_good += !err;
			nr_bad += err && err != VBB_E_AGAIN;
			ring_check(&r, call_drv_listen);
		}
	}
	assert_true(nr_good > 200 && nr_bad > 20);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_second_load_is_seen),
		cmocka_unit_test(test_random_messages),
		cmocka_unit_test(test_messages_of_files),
		cmocka_unit_test(test_values),
		cmocka_unit_test(test_a_seeded_decoder_is_caught),
		cmocka_unit_test(test_results_and_requests),
		cmocka_unit_test(test_an_encoder_loads_nothing),
		cmocka_unit_test(test_device_side),
		cmocka_unit_test(test_a_seeded_device_side_is_caught),
		cmocka_unit_test(test_driver_side),
	};

	(void)argc;
	if (watch_why_not()) {
		printf("1..0 # SKIP %s\n", watch_why_not());
		return 0;
	}
	folders = argv + 1;
	return cmocka_run_group_tests_name("loads", tests, NULL, NULL);
}
