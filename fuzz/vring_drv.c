// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause
/*
 * Property: whatever a device writes into a virtqueue, the driver's side returns each token once,
 * with no more bytes than the device could write, and counts its descriptors right.
 */
#include "fuzz.h"
#include "../transports/vring_drv.c"

#define MAX_NUM 16
#define NR_TABLE 4
#define MEM_LEN 4096
#define GPA 0x10000

static struct {
	struct vbb_ram ram[2];
	struct vbb_ram_map map;
	struct vbb_vring ring;
	struct vbb_vring_drv drv;
	/* by token: what was sent, where it is out */
	struct {
		vbb_u64 in_len;
		size_t nr_descs;
		bool out;
	} sent[256];
	size_t nr_out;
	size_t nr_descs;
} f;

static vbb_u8 *mem(void)
{
	return (vbb_u8 *)(uintptr_t)f.ram[0].addr;
}

static void start(struct fuzz_input *in)
{
	vbb_u32 num = 1u << fuzz_take(in, 1) % 5;
	vbb_u8 flags = (vbb_u8)fuzz_take(in, 1);
	struct vbb_vring_tables tables = { NULL, 0 };
	struct vbb_vring_slot *slot;

	memset(&f, 0, sizeof(f));
	f.ram[0] = (struct vbb_ram){ GPA, MEM_LEN, (uintptr_t)fuzz_alloc(MEM_LEN), 0 };
	f.ram[1] = (struct vbb_ram){ 2 * GPA, 16 * NR_TABLE * num,
				     (uintptr_t)fuzz_alloc((size_t)16 * NR_TABLE * num), 0 };
	f.map = (struct vbb_ram_map){ f.ram, 2 };
	f.ring.num = num;
	f.ring.indirect = flags & 1;
	f.ring.event_idx = flags & 2;
	f.ring.desc = fuzz_alloc(VBB_VRING_DESC_LEN(num));
	f.ring.avail = fuzz_alloc(VBB_VRING_AVAIL_LEN(num));
	f.ring.used = fuzz_alloc(VBB_VRING_USED_LEN(num));
	tables.base = (vbb_u8 *)(uintptr_t)f.ram[1].addr;
	if (f.ring.indirect)
		tables.nr_descs = num < NR_TABLE ? num : NR_TABLE;
	slot = (struct vbb_vring_slot *)(void *)fuzz_alloc(num * sizeof(*slot));
	fuzz_check(!vbb_vring_drv_init(&f.drv, &f.ring, &f.map, slot, &tables));
}

static void stop(void)
{
	free(mem());
	free((void *)(uintptr_t)f.ram[1].addr);
	free(f.ring.desc);
	free(f.ring.avail);
	free(f.ring.used);
	free(f.drv.slot);
}

static void send_one(struct fuzz_input *in)
{
	size_t nr_out = (size_t)fuzz_take(in, 1) % 9, nr_in = (size_t)fuzz_take(in, 1) % 9;
	size_t nr = 0, token, i;
	struct vbb_seg seg[16] = { { NULL, 0 } };
	vbb_u64 off;
	int err;

	for (token = 0; f.sent[token].out; token++)
		;
	for (i = 0; i < nr_out + nr_in; i++) {
		off = fuzz_take(in, 2) % MEM_LEN;
		seg[i].base = mem() + off;
		seg[i].len = (size_t)(fuzz_take(in, 1) % (MEM_LEN - off));
		nr += seg[i].len != 0;
	}
	err = vbb_vring_drv_send(&f.drv, seg, nr_out, seg + nr_out, nr_in, &f.sent[token]);
	if (f.drv.broken) {
		fuzz_check(err == VBB_E_BROKEN);
		return;
	}
	fuzz_check((err == VBB_E_INVAL) == (!nr || nr > f.ring.num));
	if (err == VBB_E_INVAL)
		return;
	if (nr > 1 && nr <= f.drv.tables.nr_descs)
		nr = 1;
	fuzz_check((err == VBB_E_NOSPC) == (nr > f.ring.num - f.nr_descs));
	if (err)
		return;
	f.sent[token].out = true;
	f.sent[token].in_len = vbb_segs_len(seg + nr_out, nr_in);
	f.sent[token].nr_descs = nr;
	f.nr_out++;
	f.nr_descs += nr;
}

static void reap_one(void)
{
	bool broken = f.drv.broken;
	void *token = NULL;
	vbb_u64 len = ~(vbb_u64)0;
	size_t i;
	int err;

	err = vbb_vring_drv_reap(&f.drv, &token, &len);
	fuzz_check(!broken || err == VBB_E_BROKEN);
	if (err) {
		fuzz_check(err == VBB_E_AGAIN || err == VBB_E_RING_DESC || f.drv.broken);
		return;
	}
	for (i = 0; &f.sent[i] != token; i++)
		fuzz_check(i < MAX_NUM);
	fuzz_check(f.sent[i].out && len <= f.sent[i].in_len);
	f.sent[i].out = false;
	f.nr_out--;
	f.nr_descs -= f.sent[i].nr_descs;
	fuzz_check(f.drv.nr_lent == f.nr_out && f.drv.nr_free == f.ring.num - f.nr_descs);
}

static void use(struct fuzz_input *in)
{
	vbb_u16 idx = (vbb_u16)(f.ring.used[2] | f.ring.used[3] << 8);

	vbb_store64(f.ring.used + 4 + 8 * (idx & (f.ring.num - 1)),
		    fuzz_take(in, 1) | fuzz_take(in, 2) << 32);
	idx++;
	f.ring.used[2] = (vbb_u8)(idx & 0xff);
	f.ring.used[3] = (vbb_u8)(idx >> 8);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input in = { data, size };
	size_t off;

	start(&in);
	while (in.size) {
		vbb_u8 op = (vbb_u8)fuzz_take(&in, 1);

		switch (op % 8) {
		case 0:
		case 1:
			send_one(&in);
			break;
		case 2:
			use(&in);
			break;
		case 3:
		case 4:
			reap_one();
			break;
		case 5:
			off = (size_t)fuzz_take(&in, 1) % VBB_VRING_USED_LEN(f.ring.num);
			f.ring.used[off] = (vbb_u8)fuzz_take(&in, 1);
			break;
		case 6:
			/* the whole table, which is the driver's but in the device's reach */
			memset(f.ring.desc, op, VBB_VRING_DESC_LEN(f.ring.num));
			memset(f.ring.avail + 4, op, (size_t)2 * f.ring.num);
			break;
		case 7:
			vbb_vring_drv_should_kick(&f.drv);
			if (op & 8)
				vbb_vring_drv_mute(&f.drv);
			else
				vbb_vring_drv_listen(&f.drv);
			break;
		}
	}
	stop();
	return 0;
}
