/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause */
/*
 * What the QEMU device's work on pages needs of QEMU, for a process: memory regions that a test
 * lays out, and discards that it sees. tests/export gives this one file all the names that QEMU has
 * for it.
 */
#ifndef VBB_STUB_QEMU_H
#define VBB_STUB_QEMU_H

#include <assert.h>
#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/uio.h>

#define QEMU_VERSION_MAJOR 7
#define QEMU_VERSION_MINOR 2

#define MiB (1ULL << 20)
#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define MAX(a, b) ((a) > (b) ? (a) : (b))
#define ctz64(v) ((unsigned int)__builtin_ctzll(v))
#define QEMU_BUILD_BUG_ON(x) _Static_assert(!(x), #x)

/* --- Memory, as the guest sees it */

typedef struct RAMBlock {
	uint64_t page_size;
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
#define ram_block_discard_is_disabled() stub_inhibited
#define migration_in_incoming_postcopy() false
#define migration_in_bg_snapshot() false

/* --- The device and its queues */

#define VIRTIO_BALLOON_PFN_SHIFT 12

typedef struct VirtIODevice {
	uint64_t features;
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
typedef struct QEMUBH QEMUBH;
typedef struct Property Property;

typedef struct QemuMutex {
	int unused;
} QemuMutex;

typedef struct NotifierWithReturn {
	int unused;
} NotifierWithReturn;

#define OBJECT_DECLARE_SIMPLE_TYPE(type, name) typedef struct type type;
#define QSIMPLEQ_HEAD(name, type) struct name { struct type *first; }
#define QSIMPLEQ_ENTRY(type) struct { struct type *next; }
#define VIRTIO_DEVICE(dev) (&(dev)->parent_obj.vdev)
#define virtio_vdev_has_feature(vdev, bit) ((vdev)->features >> (bit) & 1)
#define virtio_access_is_big_endian(vdev) false

#define trace_virtio_balloon_bmap_discard(...) ((void)0)
#define trace_virtio_balloon_bmap_run(...) ((void)0)
#define trace_virtio_balloon_bmap_result(...) ((void)0)
#define trace_virtio_balloon_bmap_message(...) ((void)0)

#endif
