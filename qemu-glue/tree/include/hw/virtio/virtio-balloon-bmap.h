/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A virtio balloon whose driver names pages in bitmaps and records, and which
 * asks the guest for its unused pages while it migrates. For a driver that
 * knows nothing of this it is the virtio-balloon device, which it inherits.
 */
#ifndef HW_VIRTIO_BALLOON_BMAP_H
#define HW_VIRTIO_BALLOON_BMAP_H

#include "hw/virtio/virtio-balloon.h"
#include "qemu/queue.h"
#include "qemu/thread.h"
#include "qemu/timer.h"

#include <virtio_balloon_bmap/vbb.h>

#define TYPE_VIRTIO_BALLOON_BMAP "virtio-balloon-bmap-device"
OBJECT_DECLARE_SIMPLE_TYPE(VirtIOBalloonBmap, VIRTIO_BALLOON_BMAP)

typedef struct VBMapQueue VBMapQueue;

/* A queue whose messages are worked on in slices, under the big lock */
struct VBMapQueue {
    VirtIOBalloonBmap *dev;
    VirtQueue *vq;                  /* NULL: the device does not have it */
    QEMUTimer *timer;               /* the next slice */
    int cpu_index;                  /* whose thread brought a message, or -1 */
    VBMapQueue **on_cpu;            /* what that CPU is to work on, or NULL */
    VirtQueueElement *elem;         /* the message at hand, or NULL */
    bool begun;                     /* its header was looked at */
    bool waits;                     /* nothing is done but elsewhere, for it */
    struct vbb_dec dec;             /* it */
    struct vbb_span rest;           /* the run at hand: what is left of it */
    /* looks at the header; ends the message where that is all there is to do */
    void (*begin)(VBMapQueue *q);
    /* a bounded step on the message; returns bytes of work */
    uint64_t (*step)(VBMapQueue *q);

    /* inflate and deflate: what the result will say */
    bool page_msg;                  /* no array of frames */
    bool partial, failed;
    unsigned int page_shift;
    uint64_t acted_len;             /* bytes acted on, in all runs */
    uint64_t missing_len;           /* the run at hand: bytes not acted on */
};

typedef struct VBMapParked {
    VirtQueueElement *elem;         /* a buffer for a request */
    QSIMPLEQ_ENTRY(VBMapParked) next;
} VBMapParked;

#define VBMAP_NR_HINTS  1024

/* Memory of the guest's that migration may leave out */
typedef struct VBMapHint {
    void *addr;
    uint64_t len;                   /* bytes */
} VBMapHint;

/* What the host asks of the guest */
typedef struct VBMapRequests {
    QSIMPLEQ_HEAD(, VBMapParked) parked;
    QEMUBH *bh;                     /* asks and cancels */
    NotifierWithReturn precopy;
    int64_t cancelled_ns;           /* when cancelled_id was */
    uint64_t cancelled_id;
    int64_t dropping_ns;            /* DROP_CACHE: when it was asked, */
    uint64_t dropped_pages;         /* and what the guest told of */

    /* taken under the big lock or without it, never the other way round */
    QemuMutex lock;
    struct vbb_host host;
    bool wanted;                    /* GET_UNUSED_PAGES is to be asked */
    struct vbb_span unarmed;        /* where writes are not logged anew yet */

    /* of the answer at hand; while the queue waits, a thread's to give */
    VBMapHint hints[VBMAP_NR_HINTS];
    unsigned int nr_hints;
    uint64_t hinted_len;            /* bytes in those given */
    QemuMutex hint_lock;            /* held over a hint, or under lock */
    bool may_hint;                  /* there was no collection since */
} VBMapRequests;

/* In bytes, runs and messages, since the device was made */
typedef struct VBMapCounters {
    uint64_t messages_pfns, messages_bitmap, messages_records;
    uint64_t runs;
    uint64_t discards, discard_errors, discarded_bytes;
    uint64_t results;
    uint64_t requests, answers, answers_dropped;
    uint64_t unused_runs, unused_bytes;
    uint64_t slices, slice_max_ns;
    uint64_t faults[VBB_NR_FAULTS];
} VBMapCounters;

struct VirtIOBalloonBmap {
    VirtIOBalloon parent_obj;

    uint64_t page_features;         /* bits of ours, as the user wants them */
    bool ask_unused;                /* migration asks for unused pages */

    VBMapQueue inflate, deflate, request;
    VBMapRequests requests;
    VBMapCounters counters;
};

/* virtio-balloon-bmap.c */
void vbmap_queue_work(VBMapQueue *q);
void vbmap_queue_end(VBMapQueue *q, unsigned int written);
void vbmap_fault(VBMapQueue *q, int err);

/* virtio-balloon-bmap-pages.c */

/* The part of a run that lies in one memory region */
typedef struct VBMapPiece {
    struct vbb_span span;
    MemoryRegion *mr;               /* referenced until vbmap_piece_put() */
    RAMBlock *block;                /* NULL where it is no RAM of the guest's */
    uint64_t offset;                /* in it */
} VBMapPiece;

bool vbmap_piece_get(VBMapPiece *piece, struct vbb_span *rest,
                     uint64_t len_max);
void vbmap_piece_put(VBMapPiece *piece);
void vbmap_pages_begin(VBMapQueue *q);
uint64_t vbmap_pages_step(VBMapQueue *q);

/* virtio-balloon-bmap-request.c */
void vbmap_requests_init(VirtIOBalloonBmap *dev);
void vbmap_requests_finalize(VirtIOBalloonBmap *dev);
void vbmap_requests_realize(VirtIOBalloonBmap *dev);
void vbmap_requests_unrealize(VirtIOBalloonBmap *dev);
void vbmap_requests_reset(VirtIOBalloonBmap *dev);
void vbmap_request_begin(VBMapQueue *q);
uint64_t vbmap_request_step(VBMapQueue *q);
bool vbmap_park(VirtIOBalloonBmap *dev, VirtQueueElement *elem);

#endif
