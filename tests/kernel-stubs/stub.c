// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause
/* See stub.h. */
#include "stub.h"
#include "queue.h"

unsigned long jiffies = 1000;
u64 stub_ns, stub_ns_step = 1;
void (*stub_meanwhile)(void);
void (*stub_unlocked)(void);
unsigned int stub_nr_allocs = UINT_MAX, stub_nr_errors;
struct page_reporting_dev_info *stub_reporting;
struct notifier_block *stub_oom;
struct shrinker *stub_shrinker;
unsigned long stub_events[NR_VM_EVENT_ITEMS], stub_states[STUB_NR_STATES];

/* --- Work, in the order in which it was queued last */

static struct work_struct *stub_queued[8];
static size_t stub_nr_queued;

struct workqueue_struct *stub_workqueue(const char *name)
{
	return (struct workqueue_struct *)stub_alloc(strlen(name) + 1);
}

bool cancel_work_sync(struct work_struct *work)
{
	size_t i;

	for (i = 0; i < stub_nr_queued; i++) {
		if (stub_queued[i] != work)
			continue;
		memmove(&stub_queued[i], &stub_queued[i + 1],
			(--stub_nr_queued - i) * sizeof(stub_queued[0]));
		return true;
	}
	return false;
}

static bool stub_queue_work(struct work_struct *work, unsigned long delay, bool anew)
{
	bool queued = cancel_work_sync(work);

	assert(work->fn && stub_nr_queued < ARRAY_SIZE(stub_queued));
	if (!queued || anew)
		work->delay = delay;
	stub_queued[stub_nr_queued++] = work;
	return queued;
}

bool queue_work(struct workqueue_struct *wq, struct work_struct *work)
{
	assert(wq);
	return !stub_queue_work(work, 0, false);
}

bool queue_delayed_work(struct workqueue_struct *wq, struct delayed_work *dw, unsigned long delay)
{
	assert(wq);
	return !stub_queue_work(&dw->work, delay, false);
}

bool mod_delayed_work(struct workqueue_struct *wq, struct delayed_work *dw, unsigned long delay)
{
	assert(wq);
	return stub_queue_work(&dw->work, delay, true);
}

bool cancel_delayed_work_sync(struct delayed_work *dw)
{
	return cancel_work_sync(&dw->work);
}

static bool stub_work_within(unsigned long delay)
{
	struct work_struct *work;
	size_t i;

	for (i = 0; i < stub_nr_queued; i++) {
		work = stub_queued[i];
		if (work->delay > delay)
			continue;
		cancel_work_sync(work);
		work->fn(work);
		return true;
	}
	return false;
}

bool stub_work(void)
{
	return stub_work_within(ULONG_MAX);
}

bool stub_work_now(void)
{
	return stub_work_within(0);
}

/* --- Pages */

struct page stub_map[STUB_NR_PAGES];
unsigned long stub_first_pfn;
struct pglist_data stub_nodes[MAX_NUMNODES];
unsigned long stub_nr_free;
long stub_managed, stub_reserved, stub_swap;
bool stub_init_on_free, stub_poisoning;

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
	stub_reserved = 0;
	stub_swap = 0;
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
	page->count = 1;
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

void split_page(struct page *page, unsigned int order)
{
	size_t i;

	for (i = 1; i < (size_t)1 << order; i++)
		page[i].count = page->count;
}

void __free_pages(struct page *page, unsigned int order)
{
	size_t pos = (size_t)(page - stub_map), i;
	struct page *buddy;

	assert(page->count);
	if (--page->count)
		return;
	for (i = 0; i < (size_t)1 << order; i++) {
		assert(page[i].taken && !page[i].offline && !page[i].locked && !page[i].movable);
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

static struct page *stub_others[STUB_NR_PAGES];
static unsigned int stub_others_order;

void stub_comb(unsigned int order)
{
	struct page *page;
	size_t i, nr = 0;

	stub_others_order = order;
	while ((page = alloc_pages(GFP_KERNEL, order)))
		stub_others[nr++] = page;
	for (i = 0; i < nr; i++) {
		page = stub_others[i];
		if ((page_to_pfn(page) >> order) % 2)
			continue;
		__free_pages(page, order);
		stub_others[i] = NULL;
	}
}

void stub_comb_end(void)
{
	size_t i;

	for (i = 0; i < STUB_NR_PAGES; i++) {
		if (stub_others[i])
			__free_pages(stub_others[i], stub_others_order);
		stub_others[i] = NULL;
	}
}

/* --- Pages that move */

static struct balloon_dev_info *stub_owner(const struct page *page)
{
	return (struct balloon_dev_info *)page->private;
}

bool stub_isolate(struct page *page)
{
	if (!page->movable || page->isolated || !trylock_page(page))
		return false;
	get_page(page);
	spin_lock(&stub_owner(page)->pages_lock);
	list_del(&page->lru);
	stub_owner(page)->isolated_pages++;
	spin_unlock(&stub_owner(page)->pages_lock);
	page->isolated = true;
	unlock_page(page);
	/* it is on a list of the kernel's now */
	INIT_LIST_HEAD(&page->lru);
	return true;
}

int stub_migrate(struct page *page)
{
	struct page *to = alloc_pages(GFP_KERNEL, 0);
	int err;

	assert(page->isolated && page->movable);
	if (!to)
		return -ENOMEM;
	if (!trylock_page(page)) {
		put_page(to);
		return -EAGAIN;
	}
	to->locked = true;
	err = stub_owner(page)->migratepage(stub_owner(page), to, page, MIGRATE_ASYNC);
	unlock_page(to);
	if (!err)
		page->isolated = false;
	unlock_page(page);
	put_page(to);
	if (!err) {
		list_del(&page->lru);
		put_page(page);
	}
	return err;
}

void stub_putback(struct page *page)
{
	struct balloon_dev_info *owner = stub_owner(page);

	list_del(&page->lru);
	page->locked = true;
	spin_lock(&owner->pages_lock);
	list_add(&page->lru, &owner->pages);
	owner->isolated_pages--;
	spin_unlock(&owner->pages_lock);
	page->isolated = false;
	unlock_page(page);
	put_page(page);
}

/* --- Who else asks a driver for something */

int register_oom_notifier(struct notifier_block *nb)
{
	assert(!stub_oom);
	stub_oom = nb;
	return 0;
}

int unregister_oom_notifier(struct notifier_block *nb)
{
	assert(stub_oom == nb);
	stub_oom = NULL;
	return 0;
}

int stub_shrinker_add(struct shrinker *shrinker)
{
	if (!stub_nr_allocs || !stub_nr_allocs--)
		return -ENOMEM;
	assert(!stub_shrinker);
	stub_shrinker = shrinker;
	return 0;
}

void unregister_shrinker(struct shrinker *shrinker)
{
	assert(stub_shrinker == shrinker);
	stub_shrinker = NULL;
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

/* --- Files that show something */

struct dentry *debugfs_create_file(const char *name, unsigned short mode, struct dentry *parent,
				   void *data, const struct file_operations *fops)
{
	struct dentry *dentry;

	if (parent && IS_ERR(parent))
		return parent;
	dentry = (struct dentry *)stub_alloc(sizeof(*dentry));
	if (!dentry)
		return ERR_PTR(-ENOMEM);
	*dentry = (struct dentry){ name, parent, data, fops };
	return dentry;
}

struct dentry *debugfs_create_dir(const char *name, struct dentry *parent)
{
	return debugfs_create_file(name, 0755, parent, NULL, NULL);
}

void debugfs_remove(struct dentry *dentry)
{
	if (dentry && !IS_ERR(dentry))
		free(dentry);
}

int sysfs_match_string(const char *const *names, const char *name)
{
	int i;

	for (i = 0; names[i]; i++)
		if (strlen(names[i]) == strcspn(name, "\n") &&
		    !strncmp(names[i], name, strlen(names[i])))
			return i;
	return -EINVAL;
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
	q->vq.num_free = num;
	q->ring = (struct vbb_vring){ q->desc, q->avail, q->used, num, false, false };
	err = vbb_vring_drv_init(&q->drv, &q->ring, &stub_ram_map, q->slot, NULL) ?:
	      vbb_vring_dev_init(&q->dev, &q->ring, &stub_ram_map, q->lent, 0, 0);
	assert(!err);
}

int virtqueue_add_sgs(struct virtqueue *vq, struct scatterlist **sgs, unsigned int nr_out,
		      unsigned int nr_in, void *token, gfp_t gfp)
{
	struct vbb_vring_drv *drv = &stub_queue(vq)->drv;
	struct vbb_seg seg[2];
	unsigned int i;
	int err;

	assert(nr_out + nr_in <= ARRAY_SIZE(seg));
	for (i = 0; i < nr_out + nr_in; i++) {
		seg[i].base = sgs[i]->addr;
		if (sgs[i]->page)
			seg[i].base = (void *)(page_to_pfn(sgs[i]->page) << PAGE_SHIFT);
		seg[i].len = sgs[i]->length;
	}
	if (stub_queue(vq)->broken)
		return -EIO;
	err = vbb_vring_drv_send(drv, seg, nr_out, seg + nr_out, nr_in, token);
	vq->num_free = drv->nr_free;
	return err == VBB_E_NOSPC ? -ENOSPC : err ? -EIO : 0;
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

	if (q->broken)
		return NULL;
	do {
		err = vbb_vring_drv_reap(&q->drv, &token, &n);
	} while (err == VBB_E_RING_DESC); /* a length beyond what the device could write */
	if (err && err != VBB_E_AGAIN)
		q->broken = true;
	if (err)
		return NULL;
	vq->num_free = q->drv.nr_free;
	*len = (unsigned int)n;
	return token;
}

void *virtqueue_detach_unused_buf(struct virtqueue *vq)
{
	struct stub_queue *q = stub_queue(vq);
	u32 i;

	for (i = 0; i < q->ring.num; i++) {
		if (!q->slot[i].nr_descs)
			continue;
		q->slot[i].nr_descs = 0;
		return q->slot[i].token;
	}
	return NULL;
}

void virtqueue_disable_cb(struct virtqueue *vq)
{
	vbb_vring_drv_mute(&stub_queue(vq)->drv);
}

/* A device may be quick: it acts just before, and need not say so. */
bool virtqueue_enable_cb(struct virtqueue *vq)
{
	cond_resched();
	return !vbb_vring_drv_listen(&stub_queue(vq)->drv);
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
