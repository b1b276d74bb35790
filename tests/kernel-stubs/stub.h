/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause */
/*
 * What the driver needs of Linux 6.1, for a process with one thread: a buddy allocator over pages
 * that are numbers only, locks that see who takes them twice, work that runs when the test says so,
 * and queues that are this project's own ring. The bus is bus.c's affair, file systems are fs.c's.
 * tests/export gives this one file all the names that a kernel has for it.
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

#define CONFIG_BALLOON_COMPACTION
#define CONFIG_CONTIG_ALLOC
#define CONFIG_HUGETLB_PAGE
#define CONFIG_PM_SLEEP
#define CONFIG_VM_EVENT_COUNTERS

/* --- Words */

typedef long long s64;
typedef unsigned int gfp_t;

#define U16_MAX USHRT_MAX
#define U32_MAX UINT_MAX
#define U64_MAX ULLONG_MAX
#define SZ_4K (1U << 12)
#define SZ_16K (1U << 14)
#define SZ_1M (1U << 20)
#define SZ_4M (1U << 22)
#define SZ_16M (1U << 24)
#define SZ_256M (1U << 28)
#define NSEC_PER_USEC 1000L
#define NSEC_PER_SEC 1000000000L
#define BIT(nr) (1UL << (nr))
#define BIT_ULL(nr) (1ULL << (nr))

#define __aligned(x) __attribute__((aligned(x)))
#define __packed __attribute__((packed))
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
#define DIV_ROUND_UP_ULL(n, d) DIV_ROUND_UP((u64)(n), d)
/* Not every kernel can do this with less than a word. */
#define xchg(ptr, v) \
	({ _Static_assert(sizeof(*(ptr)) >= sizeof(int), ""); \
	   __atomic_exchange_n(ptr, v, __ATOMIC_SEQ_CST); })

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

static inline void list_move_tail(struct list_head *l, struct list_head *head)
{
	list_del(l);
	list_add(l, head->prev);
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
#define list_for_each_entry(pos, head, member) \
	for (pos = list_first_entry(head, __typeof__(*pos), member); &pos->member != (head); \
	     pos = list_first_entry(&pos->member, __typeof__(*pos), member))
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

extern void (*stub_unlocked)(void);	/* when a mutex was unlocked; or NULL */

static inline void stub_lock(bool *held)
{
	assert(!*held);
	*held = true;
}

static inline void stub_unlock(bool *held)
{
	assert(*held);
	*held = false;
}

#define spin_lock_init(lock) ((void)((lock)->held = false))
#define spin_lock(lock) stub_lock(&(lock)->held)
#define spin_unlock(lock) stub_unlock(&(lock)->held)
#define spin_lock_irq(lock) spin_lock(lock)
#define spin_unlock_irq(lock) spin_unlock(lock)
#define spin_lock_irqsave(lock, flags) ((void)((flags) = 0), spin_lock(lock))
#define spin_unlock_irqrestore(lock, flags) ((void)(flags), spin_unlock(lock))
#define mutex_init(lock) ((void)((lock)->held = false))
#define mutex_lock(lock) stub_lock(&(lock)->held)
#define mutex_trylock(lock) (!(lock)->held && (mutex_lock(lock), true))

static inline void mutex_unlock(struct mutex *lock)
{
	stub_unlock(&lock->held);
	if (stub_unlocked)
		stub_unlocked();
}

/* --- Time, and what happens meanwhile */

extern unsigned long jiffies;
extern u64 stub_ns;			/* the clock, which a look at it moves on by */
extern u64 stub_ns_step;
extern void (*stub_meanwhile)(void);	/* when a task lets others run, or waits; or NULL */

#define HZ 1000
#define msecs_to_jiffies(ms) ((unsigned long)(ms))
#define get_jiffies_64() ((u64)jiffies)
#define time_before(a, b) ((long)((a) - (b)) < 0)
#define time_after(a, b) time_before(b, a)
#define need_resched() false

static inline u64 ktime_get_ns(void)
{
	return stub_ns += stub_ns_step;
}

static inline void cond_resched(void)
{
	if (stub_meanwhile)
		stub_meanwhile();
}

static inline void usleep_range(unsigned long min, unsigned long max)
{
	jiffies++;
	cond_resched();
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
	unsigned long delay;	/* as it was queued last */
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
#define system_freezable_wq ((struct workqueue_struct *)&jiffies)
#define to_delayed_work(w) container_of(w, struct delayed_work, work)
#define INIT_WORK(w, function) (*(w) = (struct work_struct){ .fn = (function) })
#define INIT_DELAYED_WORK(dw, function) INIT_WORK(&(dw)->work, function)

struct workqueue_struct *stub_workqueue(const char *name);
bool queue_work(struct workqueue_struct *wq, struct work_struct *work);
bool cancel_work_sync(struct work_struct *work);
bool queue_delayed_work(struct workqueue_struct *wq, struct delayed_work *dw, unsigned long delay);
bool mod_delayed_work(struct workqueue_struct *wq, struct delayed_work *dw, unsigned long delay);
bool cancel_delayed_work_sync(struct delayed_work *dw);
/* Run what was queued first, at whatever time it was to run. Returns whether there was any. */
bool stub_work(void);
/* The same of what was to run at once */
bool stub_work_now(void);

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
	unsigned int count;	/* of the first page of a block in use: who has it */
	bool buddy, taken, offline, hole, locked, movable, isolated, poisoned;
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
extern long stub_reserved;		/* pages that are free, and not to be had */
extern long stub_swap;			/* pages that are free there */
extern bool stub_init_on_free, stub_poisoning;

/* All pages are node 0's, zone 0's, and free; @first_pfn: the first of them */
void stub_pages_init(unsigned long first_pfn);
/* Of the MAX_ORDER_NR_PAGES pages from @pfn on, all free, make another zone's. */
void stub_zone_move(unsigned long pfn, int nid, int zid);
/* Where these pages are there is no memory. They are all free. */
void stub_hole(unsigned long pfn);
/* Others take every second block of so many free pages, and give them back. */
void stub_comb(unsigned int order);
void stub_comb_end(void);
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
#define set_page_private(p, v) ((p)->private = (v))
#define page_count(p) ((p)->count)
#define get_page(p) ((void)(p)->count++)
#define put_page(p) __free_pages(p, 0)
#define trylock_page(p) (!(p)->locked && ((p)->locked = true))
#define unlock_page(p) stub_unlock(&(p)->locked)
#define PageBuddy(p) ((p)->buddy)
#define PageHWPoison(p) ((p)->poisoned)
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
int alloc_contig_range(unsigned long start, unsigned long end, unsigned int type, gfp_t gfp);
#define __free_page(page) __free_pages(page, 0)
void split_page(struct page *page, unsigned int order);
#define adjust_managed_page_count(page, nr) (stub_managed += (nr))
#define si_mem_available() ((long)stub_nr_free - stub_reserved)
#define get_nr_swap_pages() stub_swap
#define want_init_on_free() stub_init_on_free
#define page_poisoning_enabled_static() stub_poisoning

/* What the kernel counts, for everybody to see */
enum {
	PGFAULT,
	PGMAJFAULT,
	PSWPIN,
	PSWPOUT,
	BALLOON_INFLATE,
	BALLOON_DEFLATE,
	BALLOON_MIGRATE,
	HTLB_BUDDY_PGALLOC,
	HTLB_BUDDY_PGALLOC_FAIL,
	NR_VM_EVENT_ITEMS,
};

enum {
	NR_FILE_PAGES,
	NR_SLAB_RECLAIMABLE_B,
	STUB_NR_STATES,
};

struct sysinfo {
	unsigned long totalram, freeram;	/* pages */
};

extern unsigned long stub_events[NR_VM_EVENT_ITEMS];
extern unsigned long stub_states[STUB_NR_STATES];	/* pages */

#define count_vm_events(event, nr) ((void)(stub_events[event] += (nr)))
#define count_vm_event(event) count_vm_events(event, 1)
#define all_vm_events(to) ((void)memcpy(to, stub_events, sizeof(stub_events)))
#define global_node_page_state(item) READ_ONCE(stub_states[item])
#define global_node_page_state_pages(item) READ_ONCE(stub_states[item])

static inline void si_meminfo(struct sysinfo *info)
{
	info->totalram = STUB_NR_PAGES + (unsigned long)stub_managed;
	info->freeram = stub_nr_free;
}

/* --- Pages that move: as a driver sees it, and what the kernel does */

#define MIGRATEPAGE_SUCCESS 0

enum migrate_mode {
	MIGRATE_ASYNC,
};

struct balloon_dev_info {
	unsigned long isolated_pages;
	spinlock_t pages_lock;	/* of the list */
	struct list_head pages;
	int (*migratepage)(struct balloon_dev_info *info, struct page *to, struct page *from,
			   enum migrate_mode mode);
};

static inline void balloon_devinfo_init(struct balloon_dev_info *info)
{
	memset(info, 0, sizeof(*info));
	INIT_LIST_HEAD(&info->pages);
}

static inline void balloon_page_insert(struct balloon_dev_info *info, struct page *page)
{
	assert(page->locked && info->pages_lock.held);
	page->offline = true;
	page->movable = true;
	page->private = (unsigned long)info;
	list_add(&page->lru, &info->pages);
}

static inline void balloon_page_finalize(struct page *page)
{
	assert(page->locked);
	page->offline = false;
	page->movable = false;
	page->private = 0;
}

/* Take a page off its owner's list. Returns false where it cannot be had. */
bool stub_isolate(struct page *page);
/* Have another page in place of one that was isolated; after an error it has to be put back. */
int stub_migrate(struct page *page);
void stub_putback(struct page *page);

/* --- Memory that has content is the C library's. */

extern unsigned int stub_nr_allocs;	/* that succeed before one does not */

#define MAX_ERRNO 4095
#define ERR_PTR(err) ((void *)(long)(err))
#define IS_ERR(ptr) ((unsigned long)(ptr) >= (unsigned long)-MAX_ERRNO)

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
#define kcalloc(nr, len, gfp) kvzalloc((nr) * (len), gfp)
#define kmalloc(len, gfp) stub_alloc(len)
#define devm_kzalloc(dev, len, gfp) kvzalloc(len, gfp) /* goes with the test's device */
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

struct virtqueue;
struct virtqueue_info;
struct irq_affinity;
struct virtio_device;

typedef void vq_callback_t(struct virtqueue *vq);

struct virtio_config_ops {
	void (*get)(struct virtio_device *vdev, unsigned int off, void *buf, unsigned int len);
	void (*set)(struct virtio_device *vdev, unsigned int off, const void *buf,
		    unsigned int len);
	u8 (*get_status)(struct virtio_device *vdev);
	void (*set_status)(struct virtio_device *vdev, u8 status);
	void (*reset)(struct virtio_device *vdev);
	int (*find_vqs)(struct virtio_device *vdev, unsigned int nr, struct virtqueue **vqs,
			vq_callback_t **callbacks, const char *const *names, const bool *ctx,
			struct irq_affinity *desc);
	void (*del_vqs)(struct virtio_device *vdev);
	u64 (*get_features)(struct virtio_device *vdev);
};

struct device {
	int unused;
};

struct virtio_device {
	struct device dev;
	void *priv;
	u64 features;
	const struct virtio_config_ops *config;
	bool big_endian;	/* a legacy device, where the CPU is such a one */
};

struct virtqueue {
	struct virtio_device *vdev;
	vq_callback_t *callback;
	unsigned int num_free;
	unsigned int nr_notified;
};

#define dev_name(dev) ((void)(dev), "balloon")
#define dev_err(dev, ...) ((void)(dev), stub_nr_errors++)
#define dev_warn(dev, ...) ((void)(dev), (void)(stub_nr_errors++, ##__VA_ARGS__))
#define dev_warn_ratelimited(...) dev_warn(__VA_ARGS__)

extern unsigned int stub_nr_errors;	/* lines in the log */

static inline bool __virtio_test_bit(const struct virtio_device *vdev, unsigned int bit)
{
	return vdev->features >> bit & 1;
}

#define __virtio_clear_bit(vdev, bit) ((void)((vdev)->features &= ~BIT_ULL(bit)))
#define virtio_is_little_endian(vdev) (!(vdev)->big_endian)
#define cpu_to_virtio16(vdev, v) ((void)(vdev), cpu_to_le16(v))
#define cpu_to_virtio64(vdev, v) ((void)(vdev), cpu_to_le64(v))

static inline u32 stub_cread_le32(struct virtio_device *vdev, unsigned int off)
{
	__le32 v;

	vdev->config->get(vdev, off, &v, sizeof(v));
	return le32_to_cpu(v);
}

static inline void stub_cwrite_le32(struct virtio_device *vdev, unsigned int off, u32 val)
{
	__le32 v = cpu_to_le32(val);

	vdev->config->set(vdev, off, &v, sizeof(v));
}

/* All fields of a balloon are of one size. */
#define virtio_cread_le(vdev, structname, member, ptr) \
	(*(ptr) = stub_cread_le32(vdev, offsetof(structname, member)))
#define virtio_cwrite_le(vdev, structname, member, ptr) \
	stub_cwrite_le32(vdev, offsetof(structname, member), *(ptr))

#define VIRTIO_CONFIG_S_DRIVER_OK 4
#define virtio_find_vqs(vdev, nr, vqs, callbacks, names, desc) \
	((vdev)->config->find_vqs(vdev, nr, vqs, callbacks, names, NULL, desc))
#define virtio_reset_device(vdev) ((vdev)->config->reset(vdev))

static inline void virtio_device_ready(struct virtio_device *vdev)
{
	vdev->config->set_status(vdev, vdev->config->get_status(vdev) | VIRTIO_CONFIG_S_DRIVER_OK);
}

int virtqueue_add_sgs(struct virtqueue *vq, struct scatterlist **sgs, unsigned int nr_out,
		      unsigned int nr_in, void *token, gfp_t gfp);
int virtqueue_add_inbuf(struct virtqueue *vq, struct scatterlist *sg, unsigned int nr, void *token,
			gfp_t gfp);
int virtqueue_add_outbuf(struct virtqueue *vq, struct scatterlist *sg, unsigned int nr, void *token,
			 gfp_t gfp);
void *virtqueue_get_buf(struct virtqueue *vq, unsigned int *len);
void *virtqueue_detach_unused_buf(struct virtqueue *vq);
void virtqueue_disable_cb(struct virtqueue *vq);
bool virtqueue_enable_cb(struct virtqueue *vq);
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

/* --- What the virtio specification says of a balloon */

#define VIRTIO_ID_BALLOON 5
#define VIRTIO_DEV_ANY_ID 0xffffffff
#define VIRTIO_RING_F_INDIRECT_DESC 28
#define VIRTIO_F_VERSION_1 32
#define VIRTIO_F_ACCESS_PLATFORM 33
#define VIRTIO_BALLOON_F_MUST_TELL_HOST 0
#define VIRTIO_BALLOON_F_STATS_VQ 1
#define VIRTIO_BALLOON_F_DEFLATE_ON_OOM 2
#define VIRTIO_BALLOON_F_FREE_PAGE_HINT 3
#define VIRTIO_BALLOON_F_PAGE_POISON 4
#define VIRTIO_BALLOON_F_REPORTING 5
#define VIRTIO_BALLOON_PFN_SHIFT 12
#define VIRTIO_BALLOON_CMD_ID_STOP 0
#define VIRTIO_BALLOON_CMD_ID_DONE 1
#define PAGE_POISON 0xaa

struct virtio_balloon_config {
	__le32 num_pages, actual, free_page_hint_cmd_id, poison_val;
};

enum {
	VIRTIO_BALLOON_S_SWAP_IN,
	VIRTIO_BALLOON_S_SWAP_OUT,
	VIRTIO_BALLOON_S_MAJFLT,
	VIRTIO_BALLOON_S_MINFLT,
	VIRTIO_BALLOON_S_MEMFREE,
	VIRTIO_BALLOON_S_MEMTOT,
	VIRTIO_BALLOON_S_AVAIL,
	VIRTIO_BALLOON_S_CACHES,
	VIRTIO_BALLOON_S_HTLB_PGALLOC,
	VIRTIO_BALLOON_S_HTLB_PGFAIL,
	VIRTIO_BALLOON_S_NR,
};

struct virtio_balloon_stat {
	__le16 tag;
	__le64 val;
} __packed;

/* --- Who else asks a driver for something */

#define PAGE_REPORTING_CAPACITY 32

struct page_reporting_dev_info {
	int (*report)(struct page_reporting_dev_info *info, struct scatterlist *sg,
		      unsigned int nr);
};

extern struct page_reporting_dev_info *stub_reporting;	/* who is registered */

int page_reporting_register(struct page_reporting_dev_info *info);
void page_reporting_unregister(struct page_reporting_dev_info *info);

struct notifier_block {
	int (*notifier_call)(struct notifier_block *nb, unsigned long action, void *data);
	int priority;
};

extern struct notifier_block *stub_oom;	/* who is registered */

#define NOTIFY_OK 1
int register_oom_notifier(struct notifier_block *nb);
int unregister_oom_notifier(struct notifier_block *nb);

struct shrink_control {
	unsigned long nr_to_scan;
};

struct shrinker {
	unsigned long (*count_objects)(struct shrinker *shrinker, struct shrink_control *sc);
	unsigned long (*scan_objects)(struct shrinker *shrinker, struct shrink_control *sc);
	int seeks;
};

extern struct shrinker *stub_shrinker;	/* who is registered */

#define DEFAULT_SEEKS 2
#define SHRINK_STOP (~0UL)
#define register_shrinker(shrinker, format, name) ((void)(name), stub_shrinker_add(shrinker))
int stub_shrinker_add(struct shrinker *shrinker);
void unregister_shrinker(struct shrinker *shrinker);

/* --- Files that show something */

struct seq_file {
	FILE *file;
	void *private;
};

struct file_operations {
	int (*show)(struct seq_file *m, void *unused);
};

struct dentry {
	const char *name;
	struct dentry *parent;
	void *data;
	const struct file_operations *fops;
};

#define seq_printf(m, ...) fprintf((m)->file, __VA_ARGS__)
#define DEFINE_SHOW_ATTRIBUTE(name) \
	static const struct file_operations name##_fops = { .show = name##_show }

struct dentry *debugfs_create_dir(const char *name, struct dentry *parent);
struct dentry *debugfs_create_file(const char *name, unsigned short mode, struct dentry *parent,
				   void *data, const struct file_operations *fops);
void debugfs_remove(struct dentry *dentry);

/* --- File systems, which fs.c plays */

#define O_RDONLY 00
#define O_WRONLY 01
#define I_NEW 8
#define XA_PRESENT 8U

struct xarray {
	int unused;
};

struct address_space {
	struct xarray i_pages;
	unsigned long nrpages;
};

struct inode {
	struct super_block *i_sb;
	struct list_head i_sb_list;
	struct address_space *i_mapping;
	unsigned long i_state;
};

struct block_device {
	struct inode *bd_inode;
};

struct super_block {
	struct block_device *s_bdev;
	spinlock_t s_inode_list_lock;	/* of the list */
	struct list_head s_inodes;
};

struct file_system_type {
	struct module *owner;
};

struct file;

bool mapping_empty(struct address_space *mapping);
void *xa_find(struct xarray *xa, unsigned long *index, unsigned long max, unsigned int filter);
unsigned long invalidate_mapping_pages(struct address_space *mapping, unsigned long start,
				       unsigned long end);
struct inode *igrab(struct inode *inode);
void iput(struct inode *inode);
struct file_system_type *get_fs_type(const char *name);
void module_put(struct module *module);
void iterate_supers_type(struct file_system_type *type, void (*fn)(struct super_block *, void *),
			 void *arg);
struct file *filp_open(const char *name, int flags, unsigned short mode);
int filp_close(struct file *file, void *id);
ssize_t kernel_read(struct file *file, void *buf, size_t len, loff_t *pos);
ssize_t kernel_write(struct file *file, const void *buf, size_t len, loff_t *pos);

/* --- A module, its parameter, and its driver, for a bus that bus.c plays */

struct module;
struct kernel_param;

struct kernel_param_ops {
	int (*set)(const char *val, const struct kernel_param *kp);
	int (*get)(char *buf, const struct kernel_param *kp);
};

struct virtio_device_id {
	u32 device, vendor;
};

struct virtio_driver {
	struct {
		const char *name;
		struct module *owner;
	} driver;
	const struct virtio_device_id *id_table;
	const unsigned int *feature_table;
	unsigned int feature_table_size;
	int (*validate)(struct virtio_device *vdev);
	int (*probe)(struct virtio_device *vdev);
	void (*remove)(struct virtio_device *vdev);
	void (*config_changed)(struct virtio_device *vdev);
	int (*freeze)(struct virtio_device *vdev);
	int (*restore)(struct virtio_device *vdev);
};

#define KBUILD_MODNAME "virtio_balloon_bmap"
#define THIS_MODULE NULL
#define __init
#define __exit
#define module_init(fn) int (*const stub_module_init)(void) = (fn)
#define module_exit(fn) void (*const stub_module_exit)(void) = (fn)
#define module_param_cb(name, ops, arg, mode) \
	const struct kernel_param_ops *const stub_param_##name = (ops)
#define MODULE_PARM_DESC(name, text) struct module
#define MODULE_DEVICE_TABLE(bus, ids) struct module
#define MODULE_DESCRIPTION(text) struct module
#define MODULE_LICENSE(text) struct module
#define sysfs_emit(buf, ...) sprintf(buf, __VA_ARGS__)

extern int (*const stub_module_init)(void);
extern void (*const stub_module_exit)(void);
extern const struct kernel_param_ops *const stub_param_format;

/* The index of a name in an array that ends with NULL, or -EINVAL */
int sysfs_match_string(const char *const *names, const char *name);
int register_virtio_driver(struct virtio_driver *driver);
void unregister_virtio_driver(struct virtio_driver *driver);

#endif
