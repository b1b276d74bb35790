// SPDX-License-Identifier: GPL-2.0-or-later
/* Blocks of pages: taken from the kernel, kept, sorted, given back. */
#include <linux/gfp.h>
#include <linux/log2.h>
#include <linux/mm.h>
#include <linux/sched.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/swap.h>
#include <linux/vmstat.h>

#include "balloon.h"

/* A block is a single number while it is sorted and encoded: its pfn, and below that its order */
#define VBB_KEY_ORDER_BITS 4
#define VBB_KEY_ORDER_MASK ((1U << VBB_KEY_ORDER_BITS) - 1)
static_assert(VBB_NR_ORDERS <= 1 << VBB_KEY_ORDER_BITS);

/**
 * vbb_free_pages_matter() - does the kernel rely on what it left in free pages?
 *
 * Return: true where it checks that, or takes it for zeros.
 */
bool vbb_free_pages_matter(void)
{
	return want_init_on_free() || page_poisoning_enabled_static();
}

/**
 * vbb_blocks_init() - no blocks
 * @b: for blocks; any content
 * @managed: they shall count among the guest's memory, as it can have them at any time
 */
void vbb_blocks_init(struct vbb_blocks *b, bool managed)
{
	unsigned int order;

	for (order = 0; order < VBB_NR_ORDERS; order++)
		INIT_LIST_HEAD(&b->order[order]);
	b->nr_pages = 0;
	b->managed = managed;
}

/**
 * vbb_blocks_add() - add a block
 * @b: the blocks
 * @page: its first page
 * @order: log2 of its pages
 */
void vbb_blocks_add(struct vbb_blocks *b, struct page *page, unsigned int order)
{
	list_add(&page->lru, &b->order[order]);
	b->nr_pages += 1UL << order;
}

/**
 * vbb_blocks_pop() - take out one of the smallest blocks, or of the largest
 * @b: the blocks
 * @largest: one of these
 * @order: receives log2 of its pages
 *
 * Return: its first page, or NULL where there is no block.
 */
struct page *vbb_blocks_pop(struct vbb_blocks *b, bool largest, unsigned int *order)
{
	unsigned int i, n;
	struct page *page;

	for (n = 0; n < VBB_NR_ORDERS; n++) {
		i = largest ? VBB_NR_ORDERS - 1 - n : n;
		page = list_first_entry_or_null(&b->order[i], struct page, lru);
		if (!page)
			continue;
		list_del(&page->lru);
		b->nr_pages -= 1UL << i;
		*order = i;
		return page;
	}
	return NULL;
}

/**
 * vbb_blocks_move() - move all blocks
 * @to: where to; keeps what it has
 * @from: where from; is empty afterwards
 */
void vbb_blocks_move(struct vbb_blocks *to, struct vbb_blocks *from)
{
	unsigned int order;

	for (order = 0; order < VBB_NR_ORDERS; order++)
		list_splice_init(&from->order[order], &to->order[order]);
	to->nr_pages += from->nr_pages;
	from->nr_pages = 0;
}

static void vbb_blocks_split(struct vbb_blocks *b, struct page *page, unsigned int order)
{
	unsigned int i;

	list_del(&page->lru);
	split_page(page, order);
	for (i = 0; i < 1U << order; i++)
		list_add(&page[i].lru, &b->order[0]);
}

/* Take out the largest block of at most nr_pages; where all are larger, split the smallest. */
static struct page *vbb_blocks_take(struct vbb_blocks *b, unsigned long nr_pages,
				    unsigned int *order, bool *split)
{
	const unsigned int top = min_t(unsigned int, ilog2(nr_pages), VBB_NR_ORDERS - 1);
	unsigned int i = top + 1;
	struct page *page;

	while (i--) {
		page = list_first_entry_or_null(&b->order[i], struct page, lru);
		if (page)
			goto found;
	}
	for (i = top + 1; i < VBB_NR_ORDERS; i++) {
		page = list_first_entry_or_null(&b->order[i], struct page, lru);
		if (page)
			break;
	}
	if (i == VBB_NR_ORDERS)
		return NULL;
	vbb_blocks_split(b, page, i);
	*split = true;
	i = 0;
found:
	list_del(&page->lru);
	b->nr_pages -= 1UL << i;
	*order = i;
	return page;
}

/**
 * vbb_block_enter() - mark pages that were allocated as the balloon's
 * @page: the block's first page
 * @order: log2 of its pages
 * @managed: they go on to count among the guest's memory
 */
void vbb_block_enter(struct page *page, unsigned int order, bool managed)
{
	unsigned int i;

	/* crash dumps and /proc/kcore keep off such pages; reading them would fill them again */
	for (i = 0; i < 1U << order; i++)
		__SetPageOffline(page + i);
	if (!managed)
		adjust_managed_page_count(page, -(1L << order));
}

/*
 * A block is taken if it is free; nobody's page cache is given up for its order. For a single page
 * it is, since the host asks for memory and not only for free memory. Nobody is killed for either.
 * Single pages come several at a time, which is much faster. Returns how many came.
 */
static unsigned long vbb_blocks_alloc(struct page **pages, unsigned long nr, unsigned int order,
				      gfp_t gfp, bool managed)
{
	unsigned long i;

	gfp |= __GFP_NORETRY | __GFP_NOWARN | __GFP_NOMEMALLOC;
	if (order) {
		pages[0] = alloc_pages(gfp & ~__GFP_RECLAIM, order);
		nr = !!pages[0];
	} else {
		/* it fills the places that are empty */
		memset(pages, 0, nr * sizeof(*pages));
		nr = alloc_pages_bulk_array(gfp, nr, pages);
	}
	for (i = 0; i < nr; i++)
		vbb_block_enter(pages[i], order, managed);
	count_vm_events(BALLOON_INFLATE, nr << order);
	return nr;
}

static void vbb_block_free(struct page *page, unsigned int order, bool managed)
{
	unsigned int i;

	for (i = 0; i < 1U << order; i++)
		__ClearPageOffline(page + i);
	if (!managed)
		adjust_managed_page_count(page, 1L << order);
	count_vm_events(BALLOON_DEFLATE, 1L << order);
	__free_pages(page, order);
}

/**
 * vbb_blocks_free() - give all blocks back to the kernel
 * @b: the blocks; none is left
 */
void vbb_blocks_free(struct vbb_blocks *b)
{
	unsigned int order = VBB_NR_ORDERS;
	struct page *page, *next;

	while (order--) {
		list_for_each_entry_safe(page, next, &b->order[order], lru) {
			vbb_block_free(page, order, b->managed);
			cond_resched();
		}
		INIT_LIST_HEAD(&b->order[order]);
	}
	b->nr_pages = 0;
}

/**
 * vbb_batch_init() - an empty batch
 * @batch: the batch; any content
 * @dir: where its blocks go
 * @nr_max: blocks that it shall have room for
 * @managed: see vbb_blocks_init()
 *
 * Return: 0; -ENOMEM.
 */
int vbb_batch_init(struct vbb_batch *batch, enum vbb_dir dir, unsigned int nr_max, bool managed)
{
	*batch = (struct vbb_batch){ .dir = dir, .nr_max = nr_max };
	vbb_blocks_init(&batch->blocks, managed);
	batch->keys = kvmalloc_array(nr_max, sizeof(*batch->keys), GFP_KERNEL);
	batch->spare = kvmalloc_array(nr_max, sizeof(*batch->spare), GFP_KERNEL);
	return batch->keys && batch->spare ? 0 : -ENOMEM;
}

/**
 * vbb_batch_exit() - give the blocks that a batch has back to the kernel
 * @batch: the batch
 */
void vbb_batch_exit(struct vbb_batch *batch)
{
	vbb_blocks_free(&batch->blocks);
	kvfree(batch->keys);
	batch->keys = NULL;
	kvfree(batch->spare);
	batch->spare = NULL;
}

/**
 * vbb_batch_left() - is there something that was not put into messages?
 * @batch: the batch
 *
 * Return: true where there is.
 */
bool vbb_batch_left(const struct vbb_batch *batch)
{
	return batch->rest.nr_pages || batch->pos < batch->nr;
}

/* What was not put into messages stays. */
static void vbb_batch_open(struct vbb_batch *batch, enum vbb_dir dir, unsigned long nr_pages)
{
	batch->dir = dir;
	batch->nr_wanted = nr_pages;
}

static bool vbb_batch_wants(const struct vbb_batch *batch)
{
	return batch->nr_wanted && batch->nr < batch->nr_max;
}

/**
 * vbb_batch_name() - have a block named in a message that is not the batch's own
 * @batch: the batch; has room
 * @page: its first page
 * @order: log2 of its pages
 */
void vbb_batch_name(struct vbb_batch *batch, struct page *page, unsigned int order)
{
	batch->keys[batch->nr++] = (u64)page_to_pfn(page) << VBB_KEY_ORDER_BITS | order;
}

/**
 * vbb_batch_add() - add a block to a batch
 * @batch: the batch; has room
 * @page: its first page
 * @order: log2 of its pages
 */
void vbb_batch_add(struct vbb_batch *batch, struct page *page, unsigned int order)
{
	vbb_batch_name(batch, page, order);
	vbb_blocks_add(&batch->blocks, page, order);
}

/* Have keys in the order of the byte at shift, and as they came where it is the same. */
static void vbb_keys_deal(u64 *to, const u64 *from, unsigned int nr, unsigned int shift)
{
	u16 place[256] = { }, next = 0;
	unsigned int i;

	static_assert(VBB_BATCH_BLOCKS <= U16_MAX);
	for (i = 0; i < nr; i++)
		place[(u8)(from[i] >> shift)]++;
	for (i = 0; i < ARRAY_SIZE(place); i++) {
		next += place[i];
		place[i] = next - place[i];
	}
	for (i = 0; i < nr; i++)
		to[place[(u8)(from[i] >> shift)]++] = from[i];
}

/**
 * vbb_batch_sort() - have a batch's blocks named in ascending order
 * @batch: the batch, of which nothing was put into messages
 *
 * The encoder is at its best with ascending runs, and the device discards more at a time. Where
 * memory is in pieces this is a good part of all work, so it goes by bytes: sort() would call a
 * function a dozen times a block.
 */
void vbb_batch_sort(struct vbb_batch *batch)
{
	unsigned int i, shift;
	bool sorted = true;
	u64 differ = 0;

	for (i = 1; i < batch->nr; i++) {
		sorted &= batch->keys[i - 1] <= batch->keys[i];
		differ |= batch->keys[i - 1] ^ batch->keys[i];
	}
	for (shift = 0; !sorted && differ; shift += 8, differ >>= 8) {
		if (!(u8)differ)
			continue;
		vbb_keys_deal(batch->spare, batch->keys, batch->nr, shift);
		swap(batch->keys, batch->spare);
	}
}

/* Take up to nr blocks of an order from the kernel, and no more pages than are wanted. */
static unsigned long vbb_batch_take(struct vbb_batch *batch, unsigned int order, gfp_t gfp,
				    unsigned long nr, const bool *stop)
{
	struct page *pages[32];
	unsigned long nr_taken = 0, i, n;

	nr = min3(nr, batch->nr_wanted >> order, (unsigned long)batch->nr_max - batch->nr);
	while (nr_taken < nr && !READ_ONCE(*stop)) {
		n = vbb_blocks_alloc(pages, min_t(unsigned long, nr - nr_taken, ARRAY_SIZE(pages)),
				     order, gfp, batch->blocks.managed);
		if (!n)
			break;
		for (i = 0; i < n; i++)
			vbb_batch_add(batch, pages[i], order);
		batch->nr_wanted -= n << order;
		nr_taken += n;
		cond_resched();
	}
	return nr_taken;
}

/*
 * Where memory is in pieces, the free pages between two that are in use lie in blocks of several
 * orders. Lists grow as memory is freed, so what is at the head of one lies near to what is at the
 * head of another: a batch that takes as many of each smaller order as of this one, without
 * splitting any, gets many of these pieces whole, and the device discards each in one go.
 */
static void vbb_batch_take_near(struct vbb_batch *batch, unsigned int order, unsigned long nr,
				const bool *stop)
{
	struct page *page = list_first_entry(&batch->blocks.order[order], struct page, lru);
	struct free_area *area = page_zone(page)->free_area;

	while (order--)
		vbb_batch_take(batch, order, GFP_HIGHUSER, min(nr, READ_ONCE(area[order].nr_free)),
			       stop);
}

/**
 * vbb_pages_spare() - what the kernel has to spare
 *
 * A balloon that takes more grows by killing, and a target that is out of reach must not be the
 * guest's end.
 *
 * Return: pages.
 */
unsigned long vbb_pages_spare(void)
{
	return max(si_mem_available() + get_nr_swap_pages() - VBB_LEFT_PAGES, 0L);
}

/**
 * vbb_batch_inflate() - take blocks from the kernel into an empty batch, the largest first
 * @batch: the batch
 * @nr_pages: pages wanted; a batch may be full with fewer
 * @stop: ends it early when it becomes true
 *
 * Return: false where the kernel has no more to give.
 */
bool vbb_batch_inflate(struct vbb_batch *batch, unsigned long nr_pages, const bool *stop)
{
	unsigned long nr, nr_spare = vbb_pages_spare();
	unsigned int order = VBB_NR_ORDERS - 1;

	vbb_batch_open(batch, VBB_INFLATE, min(nr_pages, nr_spare));
	while (vbb_batch_wants(batch) && !READ_ONCE(*stop)) {
		order = min_t(unsigned int, order, ilog2(batch->nr_wanted));
		nr = batch->nr_wanted >> order;
		/* leave room for as many of each smaller order */
		if (order < VBB_NR_ORDERS - 1)
			nr = DIV_ROUND_UP(nr, 2);
		/* what the kernel may have to move can be of single pages only */
		nr = vbb_batch_take(batch, order, order ? GFP_HIGHUSER : balloon_mapping_gfp_mask(),
				    nr, stop);
		if (nr && order < VBB_NR_ORDERS - 1)
			vbb_batch_take_near(batch, order, nr, stop);
		else if (!nr && !order--)
			break;
	}
	return READ_ONCE(*stop) || (nr_pages <= nr_spare && !vbb_batch_wants(batch));
}

/**
 * vbb_batch_deflate() - take blocks from the balloon into a batch
 * @batch: the batch
 * @from: the balloon's blocks
 * @nr_pages: pages wanted; a batch may be full with fewer, and the balloon empty
 *
 * Return: blocks that had to be split.
 */
unsigned int vbb_batch_deflate(struct vbb_batch *batch, struct vbb_blocks *from,
			       unsigned long nr_pages)
{
	unsigned int order, nr_split = 0;
	struct page *page;

	vbb_batch_open(batch, VBB_DEFLATE, nr_pages);
	while (vbb_batch_wants(batch)) {
		bool split = false;

		page = vbb_blocks_take(from, batch->nr_wanted, &order, &split);
		if (!page)
			break;
		vbb_batch_add(batch, page, order);
		batch->nr_wanted -= 1UL << order;
		nr_split += split;
		cond_resched();
	}
	return nr_split;
}

/**
 * vbb_batch_next() - make the next block the batch's rest
 * @batch: the batch; has a block that was not yet put, and no rest
 * @unit_shift: log2 of the message's units in a page
 */
void vbb_batch_next(struct vbb_batch *batch, unsigned int unit_shift)
{
	u64 key = batch->keys[batch->pos++];

	batch->rest.pfn = key >> VBB_KEY_ORDER_BITS << unit_shift;
	batch->rest.nr_pages = 1ULL << ((key & VBB_KEY_ORDER_MASK) + unit_shift);
}
