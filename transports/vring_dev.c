// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause
/* The device's side of a split virtqueue. Everything in shared memory is the driver's word. */
#include "vring_mem.h"

struct desc {
	vbb_u64 gpa;
	vbb_u32 len;
	vbb_u16 flags;
	vbb_u16 next;
};

vbb_u16 vbb_vring_used_idx(const struct vbb_vring *ring)
{
	return vring_load(ring->used + VRING_IDX);
}

int vbb_vring_dev_init(struct vbb_vring_dev *d, const struct vbb_vring *ring,
		       const struct vbb_ram_map *ram, vbb_u8 *lent, vbb_u16 last_avail,
		       vbb_u16 used_idx)
{
	vbb_u32 i;

	if (!vring_valid(ring))
		return VBB_E_INVAL;
	d->ring = *ring;
	d->ram = ram;
	d->lent = lent;
	d->nr_lent = 0;
	d->last_avail = last_avail;
	d->used_idx = used_idx;
	d->nr_untold = 0;
	d->broken = false;
	for (i = 0; i < ring->num; i++)
		lent[i] = 0;
	return 0;
}

static int dev_break(struct vbb_vring_dev *d)
{
	d->broken = true;
	return VBB_E_RING_INDEX;
}

/* Append guest memory to an array of segments, cut at the borders of its blocks. */
static int dev_map(const struct vbb_ram_map *ram, vbb_u64 gpa, vbb_u64 len, struct vbb_seg *seg,
		   size_t max_segs, size_t *nr_segs)
{
	struct vbb_span rest = { .gpa = gpa, .len = len };
	struct vbb_piece piece;

	if (len && len - 1 > ~(vbb_u64)0 - gpa)
		return VBB_E_RING_ADDR;
	while (rest.len) {
		gpa = rest.gpa;
		if (!vbb_ram_map_next(ram, &rest, &piece) || piece.span.gpa != gpa)
			return VBB_E_RING_ADDR;
		if (*nr_segs == max_segs)
			return VBB_E_RING_LOOP;
		seg[*nr_segs].base = (void *)(uintptr_t)piece.addr;
		seg[*nr_segs].len = (size_t)piece.span.len;
		++*nr_segs;
	}
	return 0;
}

static void desc_load(struct desc *desc, const struct vbb_seg *seg, size_t nr_segs)
{
	struct vbb_cur c;

	vbb_cur_init(&c, seg, nr_segs);
	desc->gpa = vbb_cur_load64(&c);
	desc->len = vbb_cur_load32(&c);
	desc->flags = vbb_cur_load16(&c);
	desc->next = vbb_cur_load16(&c);
}

/* The table of a chain: the queue's own, then at most once an indirect one. */
struct table {
	bool indirect;
	vbb_u64 gpa;		/* of an indirect one */
	vbb_u32 nr_descs;
};

static int table_load(const struct vbb_vring_dev *d, const struct table *t, vbb_u32 idx,
		      struct desc *desc)
{
	struct vbb_seg seg[16];	/* a descriptor over borders, of blocks of 1 byte at worst */
	size_t nr_segs = 0;
	int err;

	if (t->indirect) {
		err = dev_map(d->ram, t->gpa + (vbb_u64)16 * idx, 16, seg, 16, &nr_segs);
		if (err)
			return err;
	} else {
		seg[nr_segs++] = (struct vbb_seg){ d->ring.desc + (size_t)16 * idx, 16 };
	}
	desc_load(desc, seg, nr_segs);
	return 0;
}

static int table_enter(const struct vbb_vring_dev *d, struct table *t, const struct desc *desc)
{
	if (t->indirect || !d->ring.indirect || desc->flags & VRING_DESC_F_NEXT || !desc->len ||
	    desc->len % 16)
		return VBB_E_RING_DESC;
	if (desc->len - 1 > ~(vbb_u64)0 - desc->gpa)
		return VBB_E_RING_ADDR;
	t->indirect = true;
	t->gpa = desc->gpa;
	t->nr_descs = desc->len / 16;
	return 0;
}

static int dev_walk(const struct vbb_vring_dev *d, vbb_u32 idx, struct vbb_chain *chain)
{
	struct table table = { .nr_descs = d->ring.num };
	bool writable = false;
	vbb_u64 len = 0;
	vbb_u32 nr_descs = 0;	/* without the one that leads to an indirect table */
	size_t nr_segs = 0;
	struct desc desc;
	int err;

	chain->nr_out = 0;
	while (nr_descs < d->ring.num) {
		err = table_load(d, &table, idx, &desc);
		if (err)
			return err;
		if (desc.flags & VRING_DESC_F_INDIRECT) {
			err = table_enter(d, &table, &desc);
			if (err)
				return err;
			idx = 0;
			continue;
		}
		nr_descs++;
		len += desc.len;
		if (len > VRING_CHAIN_LEN_MAX || (writable && !(desc.flags & VRING_DESC_F_WRITE)))
			return VBB_E_RING_DESC;
		writable = desc.flags & VRING_DESC_F_WRITE;
		err = dev_map(d->ram, desc.gpa, desc.len, chain->seg, chain->max_segs, &nr_segs);
		if (err)
			return err;
		if (!writable)
			chain->nr_out = nr_segs;
		if (!(desc.flags & VRING_DESC_F_NEXT)) {
			chain->nr_in = nr_segs - chain->nr_out;
			return 0;
		}
		idx = desc.next;
		if (idx >= table.nr_descs)
			return VBB_E_RING_INDEX;
	}
	return VBB_E_RING_LOOP;
}

static void dev_use(struct vbb_vring_dev *d, vbb_u32 head, vbb_u64 written)
{
	/* id and length, both 32 bits */
	vbb_store64(vring_used_entry(&d->ring, d->used_idx), head | written << 32);
	d->used_idx++;
	vring_store_release(d->ring.used + VRING_IDX, d->used_idx);
	d->nr_untold++;
}

int vbb_vring_dev_recv(struct vbb_vring_dev *d, struct vbb_chain *chain)
{
	vbb_u16 nr_new, head;
	int err;

	if (d->broken)
		return VBB_E_BROKEN;
	nr_new = (vbb_u16)(vring_load_acquire(d->ring.avail + VRING_IDX) - d->last_avail);
	if (!nr_new)
		return VBB_E_AGAIN;
	if (nr_new > d->ring.num - d->nr_lent)
		return dev_break(d);
	head = vbb_load16(vring_avail_entry(&d->ring, d->last_avail));
	if (head >= d->ring.num || d->lent[head])
		return dev_break(d);
	d->last_avail++;
	err = dev_walk(d, head, chain);
	if (err) {
		dev_use(d, head, 0);
		return err;
	}
	d->lent[head] = 1;
	d->nr_lent++;
	chain->cookie = head;
	return 0;
}

int vbb_vring_dev_done(struct vbb_vring_dev *d, const struct vbb_chain *chain, vbb_u64 written)
{
	if (d->broken)
		return VBB_E_BROKEN;
	if (chain->cookie >= d->ring.num || !d->lent[chain->cookie] ||
	    written > VRING_USED_LEN_MAX ||
	    written > vbb_segs_len(chain->seg + chain->nr_out, chain->nr_in))
		return VBB_E_INVAL;
	d->lent[chain->cookie] = 0;
	d->nr_lent--;
	dev_use(d, (vbb_u32)chain->cookie, written);
	return 0;
}

bool vbb_vring_dev_should_notify(struct vbb_vring_dev *d)
{
	vbb_u64 nr_new = d->nr_untold;

	d->nr_untold = 0;
	return vring_wanted(&d->ring, d->ring.avail + VRING_FLAGS, vring_used_event(&d->ring),
			    d->used_idx, nr_new);
}

void vbb_vring_dev_mute(struct vbb_vring_dev *d)
{
	/* with event index the event that we do not move is behind the driver soon */
	if (!d->ring.event_idx)
		vring_store(d->ring.used + VRING_FLAGS, VRING_F_QUIET);
}

bool vbb_vring_dev_listen(struct vbb_vring_dev *d)
{
	if (d->ring.event_idx)
		vring_store(vring_avail_event(&d->ring), d->last_avail);
	else
		vring_store(d->ring.used + VRING_FLAGS, 0);
	vring_barrier();
	return !d->broken && vring_load(d->ring.avail + VRING_IDX) != d->last_avail;
}
