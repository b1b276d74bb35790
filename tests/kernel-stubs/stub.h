/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause */
/*
 * What the driver's files that are tested here need of a kernel, for a process with one thread: a
 * buddy allocator over pages that are numbers only, locks that see who takes them twice, work that
 * runs when the test says so, and queues that are this project's own ring. tests/export gives this
 * one file all the names that a kernel has for it.
 */
#ifndef VBB_STUB_KERNEL_H
#define VBB_STUB_KERNEL_H

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <asm/byteorder.h>
#include <linux/types.h>

/* --- Words */

typedef long long s64;
typedef unsigned int gfp_t;

#define U16_MAX USHRT_MAX
#define U32_MAX UINT_MAX
#define U64_MAX ULLONG_MAX
#define SZ_4K (1U << 12)
#define SZ_16K (1U << 14)
#define SZ_4M (1U << 22)
#define SZ_16M (1U << 24)
#define SZ_256M (1U << 28)
#define NSEC_PER_USEC 1000L
#define NSEC_PER_SEC 1000000000L
#define BIT(nr) (1UL << (nr))

#define __aligned(x) __attribute__((aligned(x)))
#define READ_ONCE(x) (*(const volatile __typeof__(x) *)&(x))
#define WRITE_ONCE(x, v) (*(volatile __typeof__(x) *)&(x) = (v))
#define container_of(ptr, type, member) ((type *)((char *)(ptr) - offsetof(type, member)))
#ifndef ARRAY_SIZE
#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#endif

#define min(a, b) \
	({ __typeof__(a) _a = (a); __typeof__(b) _b = (b); _a < _b ? _a : (__typeof__(a))_b; })
#define max(a, b) \
	({ __typeof__(a) _a = (a); __typeof__(b) _b = (b); _a > _b ? _a : (__typeof__(a))_b; })
#define min_t(type, a, b) min((type)(a), (type)(b))
#define swap(a, b) \
	do { __typeof__(a) held = (a); (a) = (b); (b) = held; } while (0)
#define min3(a, b, c) min(min(a, b), c)
#define max3(a, b, c) max(max(a, b), c)
#define ALIGN_DOWN(x, a) ((x) & ~((__typeof__(x))(a) - 1))
#define ALIGN(x, a) ALIGN_DOWN((x) + (a) - 1, a)
#define DIV_ROUND_UP(n, d) (((n) + (d) - 1) / (d))

static inline unsigned int ilog2(unsigned long n)
{
	return (unsigned int)(8 * sizeof(n) - 1) - (unsigned int)__builtin_clzl(n);
}

#define KERNEL_VERSION(a, b, c) ((a) << 16 | (b) << 8 | (c))
#define LINUX_VERSION_CODE KERNEL_VERSION(6, 1, 0)

/* --- Lists */

struct list_head {
	struct list_head *next, *prev;
};

static inline void INIT_LIST_HEAD(struct list_head *l)
{
	l->next = l;
	l->prev = l;
}

static inline bool list_empty(const struct list_head *l)
{
	return l->next == l;
}

static inline void list_add(struct list_head *l, struct list_head *head)
{
	l->next = head->next;
	l->prev = head;
	head->next->prev = l;
	head->next = l;
}

static inline void list_del(struct list_head *l)
{
	l->next->prev = l->prev;
	l->prev->next = l->next;
	l->next = NULL;
	l->prev = NULL;
}

static inline void list_splice_init(struct list_head *from, struct list_head *to)
{
	if (list_empty(from))
		return;
	from->prev->next = to->next;
	to->next->prev = from->prev;
	from->next->prev = to;
	to->next = from->next;
	INIT_LIST_HEAD(from);
}

#define list_first_entry(head, type, member) container_of((head)->next, type, member)
#define list_last_entry(head, type, member) container_of((head)->prev, type, member)
#define list_first_entry_or_null(head, type, member) \
	(list_empty(head) ? NULL : list_first_entry(head, type, member))
#define list_for_each_entry_safe(pos, n, head, member) \
	for (pos = list_first_entry(head, __typeof__(*pos), member), \
	     n = list_first_entry(&pos->member, __typeof__(*pos), member); \
	     &pos->member != (head); \
	     pos = n, n = list_first_entry(&n->member, __typeof__(*n), member))

/* --- Locks */

typedef struct {
	bool held;	/* with one thread, what is taken twice would be waited for without end */
} spinlock_t;

struct mutex {
	bool held;
};

static inline void spin_lock_init(spinlock_t *lock)
{
	lock->held = false;
}

static inline void spin_lock_irq(spinlock_t *lock)
{
	assert(!lock->held);
	lock->held = true;
}

static inline void spin_unlock_irq(spinlock_t *lock)
{
	assert(lock->held);
	lock->held = false;
}

#define spin_lock_irqsave(lock, flags) ((void)((flags) = 0), spin_lock_irq(lock))
#define spin_unlock_irqrestore(lock, flags) ((void)(flags), spin_unlock_irq(lock))

/* --- Time, and what happens meanwhile */

extern unsigned long jiffies;
extern u64 stub_ns;			/* the clock, which a look at it moves on by */
extern u64 stub_ns_step;
extern void (*stub_meanwhile)(void);	/* when a task lets others run, or waits; or NULL */

#define msecs_to_jiffies(ms) ((unsigned long)(ms))
#define time_before(a, b) ((long)((a) - (b)) < 0)

static inline u64 ktime_get_ns(void)
{
	return stub_ns += stub_ns_step;
}

static inline void cond_resched(void)
{
	if (stub_meanwhile)
		stub_meanwhile();
}

typedef struct {
	unsigned int nr_wakes;
} wait_queue_head_t;

static inline void init_waitqueue_head(wait_queue_head_t *w)
{
	w->nr_wakes = 0;
}

static inline void wake_up(wait_queue_head_t *w)
{
	w->nr_wakes++;
}

#define wait_event_idle(w, condition) \
	do { \
		while (!(condition)) \
			stub_meanwhile(); \
	} while (0)

struct work_struct {
	void (*fn)(struct work_struct *work);
};

struct delayed_work {
	struct work_struct work;
};

struct workqueue_struct;

#define WQ_UNBOUND 1
#define WQ_FREEZABLE 2
#define WQ_MEM_RECLAIM 4
#define alloc_workqueue(format, flags, max_active, name) stub_workqueue(name)
#define destroy_workqueue(wq) free(wq)
#define to_delayed_work(w) container_of(w, struct delayed_work, work)
#define INIT_DELAYED_WORK(dw, function) ((dw)->work.fn = (function))

struct workqueue_struct *stub_workqueue(const char *name);
bool queue_delayed_work(struct workqueue_struct *wq, struct delayed_work *dw, unsigned long delay);
bool mod_delayed_work(struct workqueue_struct *wq, struct delayed_work *dw, unsigned long delay);
bool cancel_delayed_work_sync(struct delayed_work *dw);
/* Run what is queued, once; at whatever time it was to run. Returns whether there was any. */
bool stub_work(void);

/* --- Pages. What is in them is nobody's affair here; a page's address is a number, too. */

#ifndef PAGE_SHIFT
#define PAGE_SHIFT 12
#endif
#define PAGE_SIZE (1UL << PAGE_SHIFT)
#define SMP_CACHE_BYTES 64
#define MAX_ORDER 11
#define MAX_ORDER_NR_PAGES (1UL << (MAX_ORDER - 1))
#define MAX_NR_ZONES 2
#define MAX_NUMNODES 2

#define STUB_NR_PAGES (8 * MAX_ORDER_NR_PAGES)

struct page {
	union {
		struct list_head lru, buddy_list;
	};
	unsigned long private;	/* of the first page of a free block: its order */
	struct zone *zone;
	bool buddy, taken, offline, hole;
};

enum {
	MIGRATE_MOVABLE,
	MIGRATE_TYPES,
};

struct free_area {
	struct list_head free_list[MIGRATE_TYPES];
	unsigned long nr_free;
};

struct per_cpu_pages {
	int count;
};

/* Of its CPU's list there is only the length, and that is what a test says. */
struct zone {
	spinlock_t lock;	/* of free_area */
	unsigned long zone_start_pfn, spanned_pages, present_pages;
	struct free_area free_area[MAX_ORDER];
	struct per_cpu_pages per_cpu_pageset[1];
};

#define for_each_online_cpu(cpu) for ((cpu) = 0; (cpu) < 1; (cpu)++)
#define per_cpu_ptr(p, cpu) (&(p)[cpu])

struct pglist_data {
	struct zone node_zones[MAX_NR_ZONES];
};

extern struct page stub_map[STUB_NR_PAGES];
extern unsigned long stub_first_pfn;
extern struct pglist_data stub_nodes[MAX_NUMNODES];
extern unsigned long stub_nr_free;	/* pages */
extern long stub_managed;		/* pages, since stub_pages_init() */
extern bool stub_init_on_free;

/* All pages are node 0's, zone 0's, and free; @first_pfn: the first of them */
void stub_pages_init(unsigned long first_pfn);
/* Of the MAX_ORDER_NR_PAGES pages from @pfn on, all free, make another zone's. */
void stub_zone_move(unsigned long pfn, int nid, int zid);
/* Where these pages are there is no memory. They are all free. */
void stub_hole(unsigned long pfn);
/* The order of the free block that a page lies in, or -1 */
int stub_free_order(unsigned long pfn);

#define NODE_DATA(nid) (&stub_nodes[nid])
#define first_online_node 0
#define next_online_node(nid) ((nid) + 1)
#define populated_zone(z) ((z)->present_pages != 0)
#define zone_end_pfn(z) ((z)->zone_start_pfn + (z)->spanned_pages)
#define page_to_pfn(p) ((unsigned long)((p) - stub_map) + stub_first_pfn)
#define page_zone(p) ((p)->zone)
#define page_private(p) ((p)->private)
#define PageBuddy(p) ((p)->buddy)
#define compound_order(p) ((void)(p), 0)
#define __SetPageOffline(p) ((p)->offline = true)
#define __ClearPageOffline(p) ((p)->offline = false)

static inline struct page *pfn_to_online_page(unsigned long pfn)
{
	unsigned long i = pfn - stub_first_pfn;

	return pfn < stub_first_pfn || i >= STUB_NR_PAGES || stub_map[i].hole ? NULL : &stub_map[i];
}

#define GFP_KERNEL 0
#define GFP_ATOMIC 0
#define GFP_HIGHUSER 0
#define __GFP_NORETRY 0
#define __GFP_NOWARN 0
#define __GFP_NOMEMALLOC 0
#define __GFP_RECLAIM 0
#define balloon_mapping_gfp_mask() 0

struct page *alloc_pages(gfp_t gfp, unsigned int order);
/* Fewer than nr at times, as the kernel's */
unsigned long alloc_pages_bulk_array(gfp_t gfp, unsigned long nr, struct page **pages);
void __free_pages(struct page *page, unsigned int order);
/* Of one page, which empties the CPU's list of its zone */
#define CONFIG_CONTIG_ALLOC
int alloc_contig_range(unsigned long start, unsigned long end, unsigned int type, gfp_t gfp);
#define __free_page(page) __free_pages(page, 0)
#define split_page(page, order) ((void)0)
#define adjust_managed_page_count(page, nr) (stub_managed += (nr))
#define count_vm_events(event, nr) ((void)0)
#define si_mem_available() ((long)stub_nr_free)
#define get_nr_swap_pages() 0L
#define want_init_on_free() stub_init_on_free
#define page_poisoning_enabled_static() false

/* Memory that has content is the C library's. */
extern unsigned int stub_nr_allocs;	/* that succeed before one does not */

static inline void *stub_alloc(size_t len)
{
	return stub_nr_allocs && stub_nr_allocs-- ? aligned_alloc(64, ALIGN(len, 64)) : NULL;
}

static inline void *kvzalloc(size_t len, gfp_t gfp)
{
	void *p = stub_alloc(len);

	return p ? memset(p, 0, len) : NULL;
}

static inline int get_order(unsigned long len)
{
	return len > PAGE_SIZE ? (int)ilog2(len - 1) + 1 - PAGE_SHIFT : 0;
}

#define kzalloc(len, gfp) kvzalloc(len, gfp)
#define kvmalloc_array(nr, len, gfp) stub_alloc((nr) * (len))
#define kfree(p) free(p)
#define kvfree(p) free(p)
#define __get_free_pages(gfp, order) ((unsigned long)stub_alloc(PAGE_SIZE << (order)))
#define free_pages(addr, order) free((void *)(addr))

/* --- Segments of a message */

struct scatterlist {
	struct page *page;	/* or NULL, and an address */
	void *addr;
	unsigned int length, offset;
};

static inline void sg_init_table(struct scatterlist *sg, unsigned int nr)
{
	memset(sg, 0, nr * sizeof(*sg));
}

static inline void sg_init_one(struct scatterlist *sg, void *addr, unsigned int len)
{
	*sg = (struct scatterlist){ .addr = addr, .length = len };
}

static inline void sg_set_page(struct scatterlist *sg, struct page *page, unsigned int len,
			       unsigned int offset)
{
	*sg = (struct scatterlist){ .page = page, .length = len, .offset = offset };
}

#define sg_page(sg) ((sg)->page)
#define sg_next(sg) ((sg) + 1)

/* --- Devices and queues; what a queue is, stub.c knows */

struct device;
struct virtqueue;
struct virtqueue_info;
struct irq_affinity;

struct virtio_device {
	int dev;		/* of no use */
	void *priv;
	u64 features;
};

struct virtqueue {
	struct virtio_device *vdev;
	unsigned int nr_notified;
};

typedef void vq_callback_t(struct virtqueue *vq);

#define dev_name(dev) ((void)(dev), "balloon")
#define dev_err(dev, ...) ((void)(dev), stub_nr_errors++)
#define dev_warn(dev, ...) ((void)(dev), (void)(stub_nr_errors++, ##__VA_ARGS__))
#define dev_warn_ratelimited(...) dev_warn(__VA_ARGS__)

extern unsigned int stub_nr_errors;	/* lines in the log */

static inline bool __virtio_test_bit(const struct virtio_device *vdev, unsigned int bit)
{
	return vdev->features >> bit & 1;
}

int virtio_find_vqs(struct virtio_device *vdev, unsigned int nr, struct virtqueue **vqs,
		    vq_callback_t **callbacks, const char *const *names, struct irq_affinity *desc);
int virtqueue_add_sgs(struct virtqueue *vq, struct scatterlist **sgs, unsigned int nr_out,
		      unsigned int nr_in, void *token, gfp_t gfp);
int virtqueue_add_inbuf(struct virtqueue *vq, struct scatterlist *sg, unsigned int nr, void *token,
			gfp_t gfp);
int virtqueue_add_outbuf(struct virtqueue *vq, struct scatterlist *sg, unsigned int nr, void *token,
			 gfp_t gfp);
void *virtqueue_get_buf(struct virtqueue *vq, unsigned int *len);
bool virtqueue_is_broken(const struct virtqueue *vq);
unsigned int virtqueue_get_vring_size(const struct virtqueue *vq);
bool virtqueue_kick_prepare(struct virtqueue *vq);

static inline bool virtqueue_notify(struct virtqueue *vq)
{
	vq->nr_notified++;
	return true;
}

static inline bool virtqueue_kick(struct virtqueue *vq)
{
	return !virtqueue_kick_prepare(vq) || virtqueue_notify(vq);
}

#define VIRTIO_BALLOON_F_REPORTING 5

struct virtio_balloon_stat;

#define PAGE_REPORTING_CAPACITY 32

struct page_reporting_dev_info {
	int (*report)(struct page_reporting_dev_info *info, struct scatterlist *sg,
		      unsigned int nr);
};

extern struct page_reporting_dev_info *stub_reporting;	/* who is registered */

int page_reporting_register(struct page_reporting_dev_info *info);
void page_reporting_unregister(struct page_reporting_dev_info *info);

/* --- What headers name, and no file that is tested here uses */

struct dentry;
struct super_block;

struct notifier_block {
	int unused;
};

struct inode {
	struct super_block *i_sb;
};

struct block_device {
	struct inode *bd_inode;
};

struct shrinker;
struct shrink_control;

struct shrinker {
	unsigned long (*count_objects)(struct shrinker *shrinker, struct shrink_control *sc);
	unsigned long (*scan_objects)(struct shrinker *shrinker, struct shrink_control *sc);
	int seeks;
};

#define DEFAULT_SEEKS 2
#define register_shrinker(shrinker, ...) 0
#define unregister_shrinker(shrinker) ((void)(shrinker))

struct seq_file {
	FILE *file;
};

#define seq_printf(m, ...) fprintf((m)->file, __VA_ARGS__)

#endif
