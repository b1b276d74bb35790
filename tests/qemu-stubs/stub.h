/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause */
/*
 * What the QEMU device's work on pages, and its requests, need of QEMU, for a process: a test lays
 * out memory, and sees what becomes of it. tests/export gives this one file all the names that QEMU
 * has for it.
 */
#ifndef VBB_STUB_QEMU_H
#define VBB_STUB_QEMU_H

#include <assert.h>
#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>

#define QEMU_VERSION_MAJOR 7
#define QEMU_VERSION_MINOR 2

#define MiB (1ULL << 20)
#define GiB (1ULL << 30)
#define SCALE_MS 1000000
#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define MAX(a, b) ((a) > (b) ? (a) : (b))
#define ctz64(v) ((unsigned int)__builtin_ctzll(v))
#define QEMU_BUILD_BUG_ON(x) _Static_assert(!(x), #x)
#define container_of(ptr, type, member) ((type *)((char *)(ptr) - offsetof(type, member)))
#define qatomic_read(ptr) (*(ptr))
#define g_new(type, n) ((type *)malloc((n) * sizeof(type)))
#define g_free(ptr) free(ptr)
#define qatomic_set(ptr, v) (*(ptr) = (v))

#define QSIMPLEQ_HEAD(name, type) struct name { struct type *first; }
#define QSIMPLEQ_ENTRY(type) struct { struct type *next; }
#define QSIMPLEQ_INIT(head) ((head)->first = NULL)
#define QSIMPLEQ_EMPTY(head) (!(head)->first)
#define QSIMPLEQ_FIRST(head) ((head)->first)
#define QSIMPLEQ_REMOVE_HEAD(head, field) ((head)->first = (head)->first->field.next)
#define QSIMPLEQ_INSERT_TAIL(head, elem, field) \
	do { \
		__typeof__(&(head)->first) at_ = &(head)->first; \
		while (*at_) \
			at_ = &(*at_)->field.next; \
		(elem)->field.next = NULL; \
		*at_ = (elem); \
	} while (0)

/* --- Time, locks, and what is put off */

int64_t get_clock(void);

typedef struct QemuMutex {
	bool held;
	unsigned int nr_taken;
} QemuMutex;

/* All tests have one thread: who takes a lock twice would wait for ever. */
static inline QemuMutex *stub_lock(QemuMutex *m)
{
	assert(!m->held);
	m->held = true;
	m->nr_taken++;
	return m;
}

static inline void stub_unlock(QemuMutex **m)
{
	(*m)->held = false;
}

#define QEMU_LOCK_GUARD(m) \
	__attribute__((cleanup(stub_unlock), unused)) QemuMutex *guard_ = stub_lock(m)
#define qemu_mutex_init(m) ((m)->held = false, (m)->nr_taken = 0)
#define qemu_mutex_destroy(m) assert(!(m)->held)
#define qemu_mutex_iothread_locked() stub_bql

extern bool stub_bql;

typedef struct QEMUBH {
	void (*cb)(void *opaque);
	void *opaque;
	bool scheduled;
} QEMUBH;

static inline QEMUBH *qemu_bh_new_guarded(void (*cb)(void *opaque), void *opaque, int *guard)
{
	QEMUBH *bh = malloc(sizeof(*bh));

	*bh = (QEMUBH){ cb, opaque, false };
	return bh;
}

#define qemu_bh_schedule(bh) ((bh)->scheduled = true)
#define qemu_bh_delete(bh) free(bh)

/* A function that a thread of a pool is to call, and what is called here behind it */
void thread_pool_submit_aio(void *pool, int (*func)(void *opaque), void *arg,
			    void (*cb)(void *opaque, int ret), void *opaque);

#define aio_get_thread_pool(ctx) NULL
#define rcu_register_thread() ((void)0)
#define rcu_unregister_thread() ((void)0)

/* --- Memory, as the guest sees it */

typedef struct RAMBlock {
	uint64_t page_size;
	uint8_t *host;
	void *bmap;		/* NULL: it does not migrate */
} RAMBlock;

typedef struct MemoryRegion {
	uint64_t gpa, len;
	uint64_t offset;	/* in the block */
	RAMBlock *ram_block;
	bool rom, readonly;
	int nr_refs;
} MemoryRegion;

typedef uint64_t Int128;

typedef struct MemoryRegionSection {
	MemoryRegion *mr;
	uint64_t offset_within_region, offset_within_address_space;
	Int128 size;
	bool readonly, nonvolatile;
} MemoryRegionSection;

/* The first of what lies in a run, with a reference */
MemoryRegionSection memory_region_find(MemoryRegion *mr, uint64_t gpa, uint64_t len);
int ram_block_discard_range(RAMBlock *block, uint64_t offset, size_t len);

void memory_region_clear_dirty_bitmap(MemoryRegion *mr, uint64_t offset, uint64_t len);
void qemu_guest_free_page_hint(void *addr, size_t len);

extern unsigned int stub_target_page_bits;
extern bool stub_inhibited;
extern uint64_t stub_page_size_max;

#define get_system_memory() NULL
#define int128_get64(v) (v)
#define memory_region_is_ram(mr) (!!(mr)->ram_block)
#define memory_region_is_rom(mr) ((mr)->rom)
#define memory_region_is_romd(mr) false
#define memory_region_is_ram_device(mr) false
#define memory_region_unref(mr) ((mr)->nr_refs--)
#define qemu_ram_pagesize(block) ((block)->page_size)
#define qemu_ram_pagesize_largest() stub_page_size_max
#define qemu_target_page_bits() stub_target_page_bits
#define ram_block_discard_is_disabled() stub_inhibited
#define migration_in_incoming_postcopy() false
#define migration_in_bg_snapshot() false

/* --- The device and its queues */

#define VIRTIO_BALLOON_PFN_SHIFT 12

typedef struct DeviceState {
	int mem_reentrancy_guard;
} DeviceState;

typedef struct VirtIODevice {
	DeviceState qdev;
	uint64_t features;
	bool vm_running;
} VirtIODevice;

typedef struct VirtIOBalloon {
	VirtIODevice vdev;
} VirtIOBalloon;

typedef struct VirtQueueElement {
	struct iovec *in_sg, *out_sg;
	unsigned int in_num, out_num;
} VirtQueueElement;

typedef struct VirtQueue VirtQueue;
typedef struct QEMUTimer QEMUTimer;
typedef struct Property Property;

#define timer_mod(timer, ns) ((void)(timer))

#define OBJECT_DECLARE_SIMPLE_TYPE(type, name) typedef struct type type;
#define VIRTIO_DEVICE(dev) (&(dev)->parent_obj.vdev)
#define DEVICE(dev) (&VIRTIO_DEVICE(dev)->qdev)
#define virtio_vdev_has_feature(vdev, bit) ((vdev)->features >> (bit) & 1)
#define virtio_access_is_big_endian(vdev) false

void virtqueue_push(VirtQueue *vq, const VirtQueueElement *elem, unsigned int len);
void virtqueue_detach_element(VirtQueue *vq, const VirtQueueElement *elem, unsigned int len);

#define virtio_notify(vdev, vq) ((void)0)

static inline size_t iov_size(const struct iovec *iov, unsigned int nr)
{
	size_t len = 0;

	while (nr--)
		len += iov++->iov_len;
	return len;
}

/* --- Migration */

typedef enum PrecopyNotifyReason {
	PRECOPY_NOTIFY_SETUP,
	PRECOPY_NOTIFY_BEFORE_BITMAP_SYNC,
	PRECOPY_NOTIFY_AFTER_BITMAP_SYNC,
	PRECOPY_NOTIFY_COMPLETE,
	PRECOPY_NOTIFY_CLEANUP,
} PrecopyNotifyReason;

typedef struct PrecopyNotifyData {
	PrecopyNotifyReason reason;
} PrecopyNotifyData;

typedef struct NotifierWithReturn {
	int (*notify)(struct NotifierWithReturn *n, void *data);
} NotifierWithReturn;

extern NotifierWithReturn *stub_precopy;
extern bool stub_postcopy;

#define precopy_add_notifier(n) (stub_precopy = (n))
#define precopy_remove_notifier(n) (stub_precopy = NULL)
#define migrate_postcopy_ram() stub_postcopy

/* --- Properties, which a test sets and gets by name */

typedef struct Object Object;
extern int stub_nr_refs;
typedef const char Error;

typedef struct Visitor {
	uint64_t value;
	bool get;
	bool wrong;	/* what is to be set is no number */
} Visitor;

typedef void ObjectPropertyAccessor(Object *obj, Visitor *v, const char *name, void *opaque,
				    Error **errp);

void object_property_add(Object *obj, const char *name, const char *type,
			 ObjectPropertyAccessor *get, ObjectPropertyAccessor *set, void *release,
			 void *opaque);
bool visit_type_uint64(Visitor *v, const char *name, uint64_t *value, Error **errp);

#define OBJECT(dev) ((Object *)(dev))
#define object_ref(obj) stub_nr_refs++
#define object_unref(obj) stub_nr_refs--
#define VIRTIO_BALLOON_BMAP(obj) ((VirtIOBalloonBmap *)(obj))
#define error_setg(errp, text) (*(errp) = (text))

#define trace_virtio_balloon_bmap_request(...) ((void)0)
#define trace_virtio_balloon_bmap_answer(...) ((void)0)
#define trace_virtio_balloon_bmap_unused(...) ((void)0)
#define trace_virtio_balloon_bmap_precopy(...) ((void)0)
#define trace_virtio_balloon_bmap_discard(...) ((void)0)
#define trace_virtio_balloon_bmap_run(...) ((void)0)
#define trace_virtio_balloon_bmap_result(...) ((void)0)
#define trace_virtio_balloon_bmap_message(...) ((void)0)

#endif
