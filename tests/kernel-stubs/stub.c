// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause
/* See stub.h. */
#include "stub.h"
#include "queue.h"

unsigned long jiffies = 1000;
u64 stub_ns, stub_ns_step = 1;
void (*stub_meanwhile)(void);
unsigned int stub_nr_allocs = UINT_MAX, stub_nr_errors;
struct page_reporting_dev_info *stub_reporting;

/* --- Work: one piece of it can be queued */

static struct delayed_work *stub_queued;

struct workqueue_struct *stub_workqueue(const char *name)
{
	return (struct workqueue_struct *)stub_alloc(strlen(name) + 1);
}

bool queue_delayed_work(struct workqueue_struct *wq, struct delayed_work *dw, unsigned long delay)
{
	bool queued = stub_queued;

	assert(wq && (!queued || stub_queued == dw));
	stub_queued = dw;
	return !queued;
}

bool mod_delayed_work(struct workqueue_struct *wq, struct delayed_work *dw, unsigned long delay)
{
	return !queue_delayed_work(wq, dw, delay);
}

bool cancel_delayed_work_sync(struct delayed_work *dw)
{
	bool queued = stub_queued == dw;

	stub_queued = NULL;
	return queued;
}

bool stub_work(void)
{
	struct delayed_work *dw = stub_queued;

	if (!dw)
		return false;
	stub_queued = NULL;
	dw->work.fn(&dw->work);
	return true;
}

/* --- Pages */

struct page stub_map[STUB_NR_PAGES];
unsigned long stub_first_pfn;
struct pglist_data stub_nodes[MAX_NUMNODES];
unsigned long stub_nr_free;
long stub_managed;
bool stub_init_on_free;

static struct zone *stub_zone(size_t i)
{
	return &stub_nodes[i / MAX_NR_ZONES].node_zones[i % MAX_NR_ZONES];
}

static void stub_free_add(struct page *page, unsigned int order)
{
	struct free_area *area = &page->zone->free_area[order];

	page->buddy = true;
	page->private = order;
	list_add(&page->lru, &area->free_list[MIGRATE_MOVABLE]);
	area->nr_free++;
	stub_nr_free += 1UL << order;
}

static void stub_free_del(struct page *page)
{
	page->buddy = false;
	list_del(&page->lru);
	page->zone->free_area[page->private].nr_free--;
	stub_nr_free -= 1UL << page->private;
}

void stub_pages_init(unsigned long first_pfn)
{
	struct zone *zone = &stub_nodes[0].node_zones[0];
	struct list_head *list;
	size_t i;

	memset(stub_map, 0, sizeof(stub_map));
	memset(stub_nodes, 0, sizeof(stub_nodes));
	for (i = 0; i < MAX_NUMNODES * MAX_NR_ZONES * MAX_ORDER; i++) {
		list = stub_zone(i / MAX_ORDER)->free_area[i % MAX_ORDER].free_list;
		INIT_LIST_HEAD(&list[MIGRATE_MOVABLE]);
	}
	stub_first_pfn = first_pfn;
	stub_nr_free = 0;
	stub_managed = 0;
	stub_init_on_free = false;
	zone->zone_start_pfn = first_pfn;
	zone->spanned_pages = STUB_NR_PAGES;
	zone->present_pages = STUB_NR_PAGES;
	for (i = 0; i < STUB_NR_PAGES; i++)
		stub_map[i].zone = zone;
	for (i = 0; i < STUB_NR_PAGES; i += MAX_ORDER_NR_PAGES)
		stub_free_add(&stub_map[i], MAX_ORDER - 1);
}

void stub_zone_move(unsigned long pfn, int nid, int zid)
{
	struct zone *zone = &stub_nodes[nid].node_zones[zid];
	struct page *page = &stub_map[pfn - stub_first_pfn];
	unsigned long end = max(zone_end_pfn(zone), pfn + MAX_ORDER_NR_PAGES);
	size_t i;

	stub_free_del(page);
	page->zone->present_pages -= MAX_ORDER_NR_PAGES;
	if (!zone->present_pages || pfn < zone->zone_start_pfn)
		zone->zone_start_pfn = pfn;
	zone->spanned_pages = end - zone->zone_start_pfn;
	zone->present_pages += MAX_ORDER_NR_PAGES;
	for (i = 0; i < MAX_ORDER_NR_PAGES; i++)
		page[i].zone = zone;
	stub_free_add(page, MAX_ORDER - 1);
}

void stub_hole(unsigned long pfn)
{
	struct page *page = &stub_map[pfn - stub_first_pfn];
	size_t i;

	stub_free_del(page);
	for (i = 0; i < MAX_ORDER_NR_PAGES; i++)
		page[i].hole = true;
}

int stub_free_order(unsigned long pfn)
{
	const struct page *page;
	int order;

	for (order = 0; order < MAX_ORDER; order++) {
		page = pfn_to_online_page(ALIGN_DOWN(pfn, 1UL << order));
		if (page && page->buddy && (int)page->private >= order)
			return (int)page->private;
	}
	return -1;
}

/* Take a free block out of its list, and give back of it all but these pages. */
static void stub_take(struct page *head, struct page *page, unsigned int order)
{
	unsigned int i = (unsigned int)head->private;
	struct page *half;

	stub_free_del(head);
	while (i-- > order) {
		half = head + (1UL << i);
		if (page < half) {
			stub_free_add(half, i);
		} else {
			stub_free_add(head, i);
			head = half;
		}
	}
	for (i = 0; i < 1U << order; i++)
		page[i].taken = true;
}

/* The smallest block that will do */
struct page *alloc_pages(gfp_t gfp, unsigned int order)
{
	struct list_head *list;
	struct page *page;
	unsigned int i;
	size_t zone;

	for (i = order; i < MAX_ORDER; i++) {
		for (zone = 0; zone < MAX_NUMNODES * MAX_NR_ZONES; zone++) {
			list = &stub_zone(zone)->free_area[i].free_list[MIGRATE_MOVABLE];
			page = list_first_entry_or_null(list, struct page, lru);
			if (!page)
				continue;
			stub_take(page, page, order);
			return page;
		}
	}
	return NULL;
}

unsigned long alloc_pages_bulk_array(gfp_t gfp, unsigned long nr, struct page **pages)
{
	unsigned long i;

	for (i = 0; i < nr && i < 21; i++) {
		assert(!pages[i]);
		pages[i] = alloc_pages(gfp, 0);
		if (!pages[i])
			break;
	}
	return i;
}

int alloc_contig_range(unsigned long start, unsigned long end, unsigned int type, gfp_t gfp)
{
	struct page *page = pfn_to_online_page(start);
	int order = stub_free_order(start);

	assert(end == start + 1);
	if (order < 0)
		return -EBUSY;
	page->zone->per_cpu_pageset[0].count = 0;
	stub_take(pfn_to_online_page(ALIGN_DOWN(start, 1UL << order)), page, 0);
	return 0;
}

void __free_pages(struct page *page, unsigned int order)
{
	size_t pos = (size_t)(page - stub_map), i;
	struct page *buddy;

	for (i = 0; i < (size_t)1 << order; i++) {
		assert(page[i].taken && !page[i].offline);
		page[i].taken = false;
	}
	for (; order < MAX_ORDER - 1; order++) {
		buddy = &stub_map[pos ^ (size_t)1 << order];
		if (!buddy->buddy || buddy->private != order || buddy->zone != stub_map[pos].zone)
			break;
		stub_free_del(buddy);
		pos &= ~((size_t)1 << order);
	}
	stub_free_add(&stub_map[pos], order);
}

int page_reporting_register(struct page_reporting_dev_info *info)
{
	if (stub_reporting)
		return -EBUSY;
	stub_reporting = info;
	return 0;
}

void page_reporting_unregister(struct page_reporting_dev_info *info)
{
	assert(stub_reporting == info);
	stub_reporting = NULL;
}

/* --- Queues: both sides see all of the process, each byte where it lies */

static const struct vbb_ram stub_ram = { 0, 1ULL << 47, 0, 0 };
static const struct vbb_ram_map stub_ram_map = { &stub_ram, 1 };

void stub_queue_init(struct stub_queue *q, struct virtio_device *vdev, u32 num)
{
	int err;

	assert(num <= STUB_QUEUE_MAX);
	memset(q, 0, sizeof(*q));
	q->vq.vdev = vdev;
	q->ring = (struct vbb_vring){ q->desc, q->avail, q->used, num, false, false };
	err = vbb_vring_drv_init(&q->drv, &q->ring, &stub_ram_map, q->slot, NULL) ?:
	      vbb_vring_dev_init(&q->dev, &q->ring, &stub_ram_map, q->lent, 0, 0);
	assert(!err);
}

static struct stub_queue *stub_queue(const struct virtqueue *vq)
{
	return container_of(vq, struct stub_queue, vq);
}

int virtqueue_add_sgs(struct virtqueue *vq, struct scatterlist **sgs, unsigned int nr_out,
		      unsigned int nr_in, void *token, gfp_t gfp)
{
	struct vbb_seg seg[2];
	unsigned int i;

	assert(nr_out + nr_in <= ARRAY_SIZE(seg));
	for (i = 0; i < nr_out + nr_in; i++) {
		seg[i].base = sgs[i]->addr;
		if (sgs[i]->page)
			seg[i].base = (void *)(page_to_pfn(sgs[i]->page) << PAGE_SHIFT);
		seg[i].len = sgs[i]->length;
	}
	switch (vbb_vring_drv_send(&stub_queue(vq)->drv, seg, nr_out, seg + nr_out, nr_in, token)) {
	case 0:
		return 0;
	case VBB_E_NOSPC:
		return -ENOSPC;
	default:
		return -EIO;
	}
}

int virtqueue_add_inbuf(struct virtqueue *vq, struct scatterlist *sg, unsigned int nr, void *token,
			gfp_t gfp)
{
	return virtqueue_add_sgs(vq, &sg, 0, nr, token, gfp);
}

int virtqueue_add_outbuf(struct virtqueue *vq, struct scatterlist *sg, unsigned int nr, void *token,
			 gfp_t gfp)
{
	return virtqueue_add_sgs(vq, &sg, nr, 0, token, gfp);
}

void *virtqueue_get_buf(struct virtqueue *vq, unsigned int *len)
{
	struct stub_queue *q = stub_queue(vq);
	void *token;
	vbb_u64 n;
	int err;

	do {
		err = vbb_vring_drv_reap(&q->drv, &token, &n);
	} while (err == VBB_E_RING_DESC); /* a length beyond what the device could write */
	if (err && err != VBB_E_AGAIN)
		q->broken = true;
	if (err)
		return NULL;
	*len = (unsigned int)n;
	return token;
}

bool virtqueue_is_broken(const struct virtqueue *vq)
{
	return stub_queue(vq)->broken;
}

unsigned int virtqueue_get_vring_size(const struct virtqueue *vq)
{
	return stub_queue(vq)->ring.num;
}

bool virtqueue_kick_prepare(struct virtqueue *vq)
{
	return vbb_vring_drv_should_kick(&stub_queue(vq)->drv);
}
