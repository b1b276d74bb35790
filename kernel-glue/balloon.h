/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The driver's insides. Pages go one way: from the kernel (pages.c) into a batch, with its messages
 * into slots (tell.c), and, once the device has acknowledged them, into the balloon. And they come
 * back the same way: balloon, batch, slots, kernel. Each page is in exactly one of these places.
 */
#ifndef VBB_BALLOON_H
#define VBB_BALLOON_H

#include <linux/balloon_compaction.h>
#include <linux/list.h>
#include <linux/mmzone.h>
#include <linux/mutex.h>
#include <linux/notifier.h>
#include <linux/page_reporting.h>
#include <linux/sizes.h>
#include <linux/spinlock.h>
#include <linux/virtio.h>
#include <linux/virtio_balloon.h>
#include <linux/wait.h>
#include <linux/workqueue.h>

#include <virtio_balloon_bmap/encode.h>

#include "compat.h"
#include "requests.h"

#define VBB_NR_ORDERS NR_PAGE_ORDERS

/* Pages taken from the kernel that the device has not yet acknowledged: never more than these */
#define VBB_UNTOLD_MAX (SZ_256M >> PAGE_SHIFT)

/* Two batches fit, so that one is collected while the device works on the other */
#define VBB_BATCH_PAGES (VBB_UNTOLD_MAX / 2)
#define VBB_BATCH_BLOCKS 8192

/* Blocks that left the balloon before the device was told, and pages that were moved: the same */
#define VBB_LATE_BLOCKS 2048
#define VBB_MOVED_BLOCKS 512

/* What the guest is left of the memory that it could give, whatever the target is */
#define VBB_LEFT_PAGES (SZ_16M >> PAGE_SHIFT)

#define VBB_NR_SLOTS 4

/* A slot's buffer: the message, and the result in a cache line of its own */
#define VBB_SLOT_LEN SZ_16K
#define VBB_RESULT_OFF (VBB_SLOT_LEN - SMP_CACHE_BYTES)

/* Old devices take 256 frames in one descriptor, and some no more */
#define VBB_PFNS_LEN (256 * sizeof(__le32))

/* The queues in the order in which they take their numbers; those not offered take none */
enum vbb_vq {
	VBB_VQ_INFLATE,
	VBB_VQ_DEFLATE,
	VBB_VQ_STATS,
	VBB_VQ_HINT,
	VBB_VQ_REPORT,
	VBB_VQ_REQUEST,
	VBB_NR_VQS,
};

/* Which way pages go; also the index of the queue that tells it */
enum vbb_dir {
	VBB_INFLATE = VBB_VQ_INFLATE,
	VBB_DEFLATE = VBB_VQ_DEFLATE,
	VBB_NR_DIRS,
};

/* Blocks of 2^order pages, chained through their first page; they are not compound pages */
struct vbb_blocks {
	struct list_head order[VBB_NR_ORDERS];
	unsigned long nr_pages;		/* in all of them */
	bool managed;			/* they count among the guest's memory all the same */
};

/* Blocks on their way into messages */
struct vbb_batch {
	enum vbb_dir dir;		/* where they go */
	struct vbb_blocks blocks;	/* they, until the batch's last message takes them over */
	u64 *keys;			/* pfn and order of each, to be sorted and encoded */
	u64 *spare;			/* as many, for sorting */
	unsigned long nr_wanted;	/* pages that it should yet get */
	unsigned int nr_max;		/* keys that there is room for */
	unsigned int nr;		/* keys in use */
	unsigned int pos;		/* keys that were put into messages */
	struct vbb_range rest;		/* what did not fit of the last key put; wire units */
};

/* A message */
struct vbb_slot {
	u8 *buf;			/* VBB_SLOT_LEN bytes */
	struct vbb_blocks blocks;	/* the batch's, if this is its last message, else none */
	enum vbb_dir dir;		/* the queue it went to */
	bool late;			/* of the batch of that name */
	bool used;			/* the device is done with it */
	u32 used_len;			/* bytes that the device says it wrote */
};

/*
 * What debugfs shows, under these names, all since the device was probed. Pages are of PAGE_SIZE.
 * "Done" is what results say; they come with the new formats only.
 */
struct vbb_counters {
	u64 inflate_pages;		/* told as inflated */
	u64 inflate_pages_done;		/* of these, acted on by the device */
	u64 deflate_pages;		/* told as deflated */
	u64 deflate_pages_done;		/* of these, acted on by the device */
	u64 pages_unnamed;		/* past what the old format can name, and not told */
	u64 messages_bitmap;		/* messages in format BITMAP */
	u64 messages_records;		/* messages in format RECORDS */
	u64 messages_pfns;		/* messages in the old format */
	u64 records_block;		/* records: single blocks */
	u64 records_bitmap;		/* records: bitmaps */
	u64 records_extent;		/* records: extents */
	u64 bytes;			/* of messages, headers included */
	u64 kicks;			/* notifications, where the device wanted one */
	u64 results_none;		/* messages used without a result */
	u64 results_ok;			/* results: OK */
	u64 results_partial;		/* results: PARTIAL */
	u64 results_inhibited;		/* results: INHIBITED */
	u64 results_malformed;		/* results: MALFORMED */
	u64 discard_shift;		/* no count: what the last result said */
	u64 blocks_taken;		/* blocks taken from the kernel */
	u64 blocks_split;		/* blocks split, because only a part had to go back */
	u64 out_of_memory;		/* times that the kernel had less than the target asks */
	u64 pages_moved;		/* pages that the kernel put others in place of */
	u64 oom_calls;			/* times that the kernel was about to kill for memory */
	u64 oom_pages;			/* pages that it got instead */
	u64 stats_answers;		/* statistics that the device asked for */
	u64 hint_sessions;		/* rounds of free page hints */
	u64 hint_pages;			/* pages hinted */
	u64 hint_pages_shrunk;		/* of these, back early as the guest wanted memory */
	u64 report_calls;		/* times that the kernel had free pages to report */
	u64 report_pages;		/* pages reported */
	u64 inflate_ns;			/* time in the worker, by the last batch's direction */
	u64 deflate_ns;			/* the same */
	u64 wait_ns;			/* time with messages in flight and the worker out */
	u64 fault[VBB_NR_FAULTS];	/* the device's faults, by vbb_err_fault() */
};

/* One of them: a u64, and where it lies */
struct vbb_counter {
	const char *name;
	size_t offset;
};

/* Statistics, see stats.c */
struct vbb_stats {
	struct work_struct work;
	struct virtio_balloon_stat *stat;
};

/* Free page hints, see hint.c */
struct vbb_hint {
	struct work_struct work;
	struct vbb_shrinker shrinker;
	spinlock_t lock;		/* protects blocks */
	struct vbb_blocks blocks;	/* hinted, until the host has done */
	__le32 *cmd;			/* what is sent: the id, and STOP */
	bool busy[2];			/* the device has it */
	bool full;			/* the guest had no more to hint, or wants it back */
	bool changed;			/* the id is to be read anew */
	u32 id;				/* what the host says */
	u32 active;			/* what we hint for, STOP where for none */
	u32 last;			/* what we hinted for last */
};

/* Free page reports, see report.c */
struct vbb_report {
	struct page_reporting_dev_info info;
	wait_queue_head_t wait;
	spinlock_t lock;		/* protects the rest */
	struct virtqueue *vq;		/* NULL where it is not to be used any more */
	unsigned int nr_out;		/* buffers that the device has */
	bool gone;			/* the device can reach nothing of ours */
	bool registered;
};

/*
 * A balloon device. The worker alone moves pages, and it never waits: where the device has to
 * answer first it returns, and the queue's callback starts it again. So a device that is silent,
 * broken or gone holds up nobody.
 */
struct vbb_balloon {
	struct virtio_device *vdev;
	u64 offered;				/* features */
	struct virtqueue *vqs[VBB_NR_VQS];	/* NULL where not offered */
	struct workqueue_struct *wq;
	struct delayed_work work;		/* the worker */
	struct vbb_batch batch;			/* the worker's own */
	bool must_tell;				/* no page is used before the device knows */
	struct vbb_stats stats;
	struct vbb_hint hint;
	struct vbb_report report;
	struct notifier_block oom;
	struct vbb_requests *requests;		/* NULL where not accepted */

	int config_changed;			/* read the target anew; xchg() wants a word */
	u32 actual_told;			/* the config field as the worker last wrote it */
	unsigned long actual_jiffies;		/* when that was */

	spinlock_t event_lock;			/* protects the next one; taken in interrupts */
	bool stopping;				/* no work is to be started any more */

	struct mutex lock;			/* protects all that follows */
	struct vbb_enc *enc;
	struct vbb_slot slots[VBB_NR_SLOTS];	/* a ring: retired in the order of sending */
	unsigned int nr_slots;			/* of them, as many as the queues can hold */
	unsigned int head;			/* slots ever sent */
	unsigned int tail;			/* slots ever retired */
	unsigned int msg_len;			/* bytes of a buffer that a message may use */
	unsigned int unit_shift;		/* log2 of the wire's units in a page */
	bool results;				/* chains end in a result */
	bool broken;				/* nothing more comes from this device */

	struct vbb_batch late;			/* left the balloon; deflate */
	struct vbb_batch moved;			/* came in place of what had to leave; inflate */
	unsigned int nr_late;			/* late's messages in flight */
	unsigned long deflate_jiffies;		/* when deflating began, or got on */

	struct vbb_blocks blocks;		/* what the device knows to be in the balloon */
#ifdef CONFIG_BALLOON_COMPACTION
	struct balloon_dev_info singles;	/* single pages of it, which the kernel can move */
	struct page *leaving[VBB_MOVED_BLOCKS];	/* moved, but who did it is not yet through */
	unsigned int nr_leaving;
#endif
	unsigned long nr_singles;		/* also those that the kernel has its hands on */
	unsigned long target;			/* pages that the device wants */
	unsigned long actual;			/* pages that it has: not until told, until freed */
	unsigned long moving[VBB_NR_DIRS];	/* pages in batch and slots */
	u64 out_ns;				/* when the worker left slots in flight, or 0 */
	struct vbb_counters counters;
	struct dentry *debugfs;
};

/* counters.c */
void vbb_counters_print(struct seq_file *m, const struct vbb_counter *table, size_t nr,
			const void *counters);
void vbb_faults_print(struct seq_file *m, const char *prefix, const u64 *fault);
void vbb_counters_init(void);
void vbb_counters_exit(void);
void vbb_counters_add(struct vbb_balloon *vb);
void vbb_counters_remove(struct vbb_balloon *vb);

/* balloon.c */
void vbb_balloon_queue(struct vbb_balloon *vb, unsigned long delay);

/* hint.c */
void vbb_hint_used(struct virtqueue *vq);
void vbb_hint_changed(struct vbb_balloon *vb);
void vbb_hint_yield(struct vbb_balloon *vb, unsigned long nr_pages);
int vbb_hint_start(struct vbb_balloon *vb);
void vbb_hint_ready(struct vbb_balloon *vb);
void vbb_hint_stop(struct vbb_balloon *vb);
void vbb_hint_exit(struct vbb_balloon *vb);

/* move.c */
#ifdef CONFIG_BALLOON_COMPACTION
void vbb_move_init(struct vbb_balloon *vb);
void vbb_move_push(struct vbb_balloon *vb);
void vbb_move_pull(struct vbb_balloon *vb, unsigned long nr_pages);
bool vbb_move_settle(struct vbb_balloon *vb);
void vbb_move_exit(struct vbb_balloon *vb);
#else
static inline void vbb_move_init(struct vbb_balloon *vb)
{
}

static inline void vbb_move_push(struct vbb_balloon *vb)
{
}

static inline void vbb_move_pull(struct vbb_balloon *vb, unsigned long nr_pages)
{
}

static inline bool vbb_move_settle(struct vbb_balloon *vb)
{
	return true;
}

static inline void vbb_move_exit(struct vbb_balloon *vb)
{
}
#endif

/* oom.c */
int vbb_oom_ready(struct vbb_balloon *vb);
void vbb_oom_stop(struct vbb_balloon *vb);

/* pages.c */
bool vbb_free_pages_matter(void);
void vbb_blocks_init(struct vbb_blocks *b, bool managed);
void vbb_blocks_move(struct vbb_blocks *to, struct vbb_blocks *from);
void vbb_blocks_free(struct vbb_blocks *b);
struct page *vbb_blocks_pop(struct vbb_blocks *b, bool largest, unsigned int *order);
void vbb_blocks_add(struct vbb_blocks *b, struct page *page, unsigned int order);
void vbb_block_enter(struct page *page, unsigned int order, bool managed);
int vbb_batch_init(struct vbb_batch *batch, enum vbb_dir dir, unsigned int nr_max, bool managed);
void vbb_batch_exit(struct vbb_batch *batch);
bool vbb_batch_left(const struct vbb_batch *batch);
void vbb_batch_name(struct vbb_batch *batch, struct page *page, unsigned int order);
void vbb_batch_add(struct vbb_batch *batch, struct page *page, unsigned int order);
void vbb_batch_sort(struct vbb_batch *batch);
unsigned long vbb_pages_spare(void);
bool vbb_batch_inflate(struct vbb_batch *batch, unsigned long nr_pages, const bool *stop);
unsigned int vbb_batch_deflate(struct vbb_batch *batch, struct vbb_blocks *from,
			       unsigned long nr_pages);
void vbb_batch_next(struct vbb_batch *batch, unsigned int unit_shift);

/* report.c */
void vbb_report_used(struct virtqueue *vq);
void vbb_report_start(struct vbb_balloon *vb);
void vbb_report_ready(struct vbb_balloon *vb);
bool vbb_report_idle(struct vbb_balloon *vb);
void vbb_report_stop(struct vbb_balloon *vb);
void vbb_report_exit(struct vbb_balloon *vb);

/* stats.c */
void vbb_stats_used(struct virtqueue *vq);
int vbb_stats_start(struct vbb_balloon *vb);
void vbb_stats_ready(struct vbb_balloon *vb);
void vbb_stats_stop(struct vbb_balloon *vb);
void vbb_stats_exit(struct vbb_balloon *vb);

/* tell.c */
int vbb_tell_init(struct vbb_balloon *vb, u32 formats);
void vbb_tell_exit(struct vbb_balloon *vb);
bool vbb_tell_send(struct vbb_balloon *vb);
void vbb_tell_reap(struct vbb_balloon *vb);

#endif
