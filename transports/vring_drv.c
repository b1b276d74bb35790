// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause
/*
 * The driver's side of a split virtqueue. The device can write all of the shared memory, so which
 * descriptors are free, which belong together and how long they are is kept in slots of our own,
 * and never read back.
 */
#include "vring_mem.h"

/* The guest's address of memory that lies in one block. */
static bool drv_gpa(const struct vbb_ram_map *ram, const void *base, vbb_u64 len, vbb_u64 *gpa)
{
	size_t i;

	for (i = 0; i < ram->nr; i++) {
		const struct vbb_ram *m = &ram->ram[i];
		vbb_u64 off = (uintptr_t)base - m->addr;

		if (off < m->len && len <= m->len - off) {
			*gpa = m->gpa + off;
			return true;
		}
	}
	return false;
}

int vbb_vring_drv_init(struct vbb_vring_drv *d, const struct vbb_vring *ring,
		       const struct vbb_ram_map *ram, struct vbb_vring_slot *slot,
		       const struct vbb_vring_tables *tables)
{
	const struct vbb_vring_tables none = { .nr_descs = 0 };
	size_t i;

	if (!vring_valid(ring))
		return VBB_E_INVAL;
	d->tables = tables ? *tables : none;
	d->tables_gpa = 0;
	if (d->tables.nr_descs &&
	    (!ring->indirect || d->tables.nr_descs > ring->num ||
	     !drv_gpa(ram, d->tables.base, (vbb_u64)16 * d->tables.nr_descs * ring->num,
		      &d->tables_gpa)))
		return VBB_E_INVAL;
	d->ring = *ring;
	d->ram = ram;
	d->slot = slot;
	d->nr_free = ring->num;
	d->nr_lent = 0;
	d->free = 0;
	d->avail_idx = 0;
	d->last_used = 0;
	d->nr_untold = 0;
	d->told = false;
	d->broken = false;
	for (i = 0; i < ring->num; i++) {
		slot[i].next = (vbb_u16)(i + 1);
		slot[i].nr_descs = 0;
	}
	for (i = 0; i < VBB_VRING_AVAIL_LEN(ring->num); i++)
		vbb_store8(ring->avail + i, 0);
	for (i = 0; i < VBB_VRING_USED_LEN(ring->num); i++)
		vbb_store8(ring->used + i, 0);
	return 0;
}

/* What a message needs, before anything is touched. */
struct need {
	size_t nr_descs;
	vbb_u64 len;
};

static int drv_measure(const struct vbb_vring_drv *d, const struct vbb_seg *seg, size_t nr_segs,
		       struct need *need)
{
	vbb_u64 len, gpa;
	size_t i;

	for (i = 0; i < nr_segs; i++) {
		len = seg[i].len;
		if (!len)
			continue;
		if (len > VRING_DESC_LEN_MAX || len > VRING_CHAIN_LEN_MAX - need->len ||
		    !drv_gpa(d->ram, seg[i].base, len, &gpa))
			return VBB_E_INVAL;
		need->len += len;
		need->nr_descs++;
	}
	return 0;
}

static void drv_store(vbb_u8 *desc, vbb_u64 gpa, vbb_u64 len, vbb_u16 flags, vbb_u16 next)
{
	vbb_store64(desc, gpa);
	vbb_store64(desc + 8, len | (vbb_u64)flags << 32 | (vbb_u64)next << 48);
}

/* Where the next descriptor of a chain goes: along an indirect table, or along the free list. */
struct fill {
	vbb_u8 *table;
	vbb_u16 idx;
	bool indirect;
	size_t left;	/* descriptors to come */
};

static void drv_fill(const struct vbb_vring_drv *d, struct fill *f, const struct vbb_seg *seg,
		     size_t nr_segs, vbb_u16 flags)
{
	vbb_u64 gpa = 0;
	vbb_u16 next;
	size_t i;

	for (i = 0; i < nr_segs; i++) {
		if (!seg[i].len)
			continue;
		drv_gpa(d->ram, seg[i].base, seg[i].len, &gpa);
		next = f->indirect ? (vbb_u16)(f->idx + 1) : d->slot[f->idx].next;
		drv_store(f->table + (size_t)16 * f->idx, gpa, seg[i].len,
			  --f->left ? flags | VRING_DESC_F_NEXT : flags, next);
		f->idx = next;
	}
}

int vbb_vring_drv_send(struct vbb_vring_drv *d, const struct vbb_seg *out, size_t nr_out,
		       const struct vbb_seg *in, size_t nr_in, void *token)
{
	struct need need = { 0 };
	struct vbb_vring_slot *slot;
	vbb_u32 head = d->free;
	struct fill fill;
	size_t table;
	vbb_u64 out_len;
	int err;

	if (d->broken)
		return VBB_E_BROKEN;
	err = drv_measure(d, out, nr_out, &need);
	if (err)
		return err;
	out_len = need.len;
	err = drv_measure(d, in, nr_in, &need);
	if (err)
		return err;
	if (!need.nr_descs || need.nr_descs > d->ring.num)
		return VBB_E_INVAL;
	fill.left = need.nr_descs;
	fill.indirect = need.nr_descs > 1 && need.nr_descs <= d->tables.nr_descs;
	if (fill.indirect)
		need.nr_descs = 1;
	if (need.nr_descs > d->nr_free)
		return VBB_E_NOSPC;
	slot = &d->slot[head];
	if (fill.indirect) {
		table = (size_t)16 * d->tables.nr_descs * head;
		drv_store(d->ring.desc + (size_t)16 * head, d->tables_gpa + table, 16 * fill.left,
			  VRING_DESC_F_INDIRECT, 0);
		fill.table = d->tables.base + table;
		fill.idx = 0;
	} else {
		fill.table = d->ring.desc;
		fill.idx = (vbb_u16)head;
	}
	drv_fill(d, &fill, out, nr_out, 0);
	drv_fill(d, &fill, in, nr_in, VRING_DESC_F_WRITE);
	d->free = fill.indirect ? slot->next : fill.idx;
	d->nr_free -= (vbb_u32)need.nr_descs;
	d->nr_lent++;
	slot->token = token;
	slot->in_len = need.len - out_len;
	slot->nr_descs = (vbb_u16)need.nr_descs;
	vring_store(vring_avail_entry(&d->ring, d->avail_idx), (vbb_u16)head);
	d->avail_idx++;
	vring_store_release(d->ring.avail + VRING_IDX, d->avail_idx);
	d->nr_untold++;
	return 0;
}

static void drv_free(struct vbb_vring_drv *d, vbb_u32 head)
{
	struct vbb_vring_slot *slot = &d->slot[head], *last = slot;
	vbb_u16 n;

	for (n = 1; n < slot->nr_descs; n++)
		last = &d->slot[last->next];
	last->next = d->free;
	d->free = (vbb_u16)head;
	d->nr_free += slot->nr_descs;
	slot->nr_descs = 0;
	d->nr_lent--;
}

static int drv_break(struct vbb_vring_drv *d)
{
	d->broken = true;
	return VBB_E_RING_INDEX;
}

int vbb_vring_drv_reap(struct vbb_vring_drv *d, void **token, vbb_u64 *len)
{
	vbb_u64 entry, written;
	vbb_u16 nr_new;
	vbb_u32 head;

	if (d->broken)
		return VBB_E_BROKEN;
	nr_new = (vbb_u16)(vring_load_acquire(d->ring.used + VRING_IDX) - d->last_used);
	if (!nr_new)
		return VBB_E_AGAIN;
	if (nr_new > d->nr_lent)
		return drv_break(d);
	entry = vbb_load64(vring_used_entry(&d->ring, d->last_used));
	head = (vbb_u32)(entry & 0xffffffff);
	written = entry >> 32;
	if (head >= d->ring.num || !d->slot[head].nr_descs)
		return drv_break(d);
	if (written > d->slot[head].in_len) {
		d->told = !d->told;
		if (d->told)
			return VBB_E_RING_DESC;
		written = d->slot[head].in_len;
	}
	d->told = false;
	*token = d->slot[head].token;
	*len = written;
	d->last_used++;
	drv_free(d, head);
	return 0;
}

bool vbb_vring_drv_should_kick(struct vbb_vring_drv *d)
{
	vbb_u64 nr_new = d->nr_untold;

	d->nr_untold = 0;
	return vring_wanted(&d->ring, d->ring.used + VRING_FLAGS, vring_avail_event(&d->ring),
			    d->avail_idx, nr_new);
}

void vbb_vring_drv_mute(struct vbb_vring_drv *d)
{
	/* with event index the event that we do not move is behind the device soon */
	if (!d->ring.event_idx)
		vring_store(d->ring.avail + VRING_FLAGS, VRING_F_QUIET);
}

bool vbb_vring_drv_listen(struct vbb_vring_drv *d)
{
	if (d->ring.event_idx)
		vring_store(vring_used_event(&d->ring), d->last_used);
	else
		vring_store(d->ring.avail + VRING_FLAGS, 0);
	vring_barrier();
	return !d->broken && vring_load(d->ring.used + VRING_IDX) != d->last_used;
}
