/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the host asks of the guest, and what migration makes of the answers.
 *
 * After each collection of the log of writes the guest is asked for pages that
 * it does not use; what it answers before the next collection is left out of
 * the migration. Nothing waits for it: answers are read as they come, in the
 * main loop, and applied in a thread of a pool, while the migration thread
 * sends. That one keeps its bitmap to itself for as long as the network takes
 * no more, so who waits for it must not have the big lock.
 */
#include "qemu/osdep.h"
#include "qemu/units.h"
#include "qemu/iov.h"
#include "qemu/lockable.h"
#include "qemu/main-loop.h"
#include "qemu/rcu.h"
#include "qapi/error.h"
#include "qapi/visitor.h"
#include "virtio-balloon-bmap-compat.h"
#include "hw/virtio/virtio-balloon-bmap.h"
#include "trace.h"

#define DECODE_STEPS    1024
#define ARM_LEN_MAX     (1 * GiB)

/* Some 1 ms of counting and clearing bits: one hint */
#define LEAVE_OUT_LEN_MAX   (64 * GiB)

#define ARM_NS          (1 * SCALE_MS)

/* A guest that did not obey for so long is not waited for any more. */
#define GIVE_UP_NS      (1000 * SCALE_MS)

/* A guest that drops its caches for so long gives way to what is asked next. */
#define DROP_NS         (30000LL * SCALE_MS)

static VirtIOBalloonBmap *device_of(VBMapRequests *r)
{
    return container_of(r, VirtIOBalloonBmap, requests);
}

/* Asking: all under the lock */

static bool can_send(VirtIOBalloonBmap *dev)
{
    VirtIODevice *vdev = VIRTIO_DEVICE(dev);

    return vdev->vm_running &&
           virtio_vdev_has_feature(vdev, VIRTIO_BALLOON_F_HOST_REQ_VQ) &&
           !QSIMPLEQ_EMPTY(&dev->requests.parked);
}

static void send_request(VirtIOBalloonBmap *dev, const struct vbb_req *req)
{
    VBMapRequests *r = &dev->requests;
    VBMapParked *parked = QSIMPLEQ_FIRST(&r->parked);
    VirtQueueElement *elem = parked->elem;
    int len = vbb_req_store(req, (struct vbb_seg *)elem->in_sg, elem->in_num);

    /* there is an id, and room: vbmap_park() looked */
    assert(len > 0);
    trace_virtio_balloon_bmap_request(req->cmd, req->id, req->arg0, req->arg1);
    dev->counters.requests++;
    QSIMPLEQ_REMOVE_HEAD(&r->parked, next);
    virtqueue_push(dev->request.vq, elem, len);
    virtio_notify(VIRTIO_DEVICE(dev), dev->request.vq);
    g_free(elem);
    g_free(parked);
}

static int ask(VirtIOBalloonBmap *dev, uint16_t cmd, uint64_t arg0)
{
    struct vbb_req req;
    int err = vbb_host_open(&dev->requests.host, cmd, arg0, 0, &req);

    if (!err) {
        send_request(dev, &req);
    }
    return err;
}

/* The guest is to stop what nobody wants any more, or is given up. */
static void cancel(VirtIOBalloonBmap *dev)
{
    VBMapRequests *r = &dev->requests;
    uint64_t id = r->host.work.id;
    struct vbb_req req;

    if (get_clock() - r->cancelled_ns >= GIVE_UP_NS) {
        /* the work of that CANCEL may have ended, and this be another */
        vbb_host_close(&r->host, r->host.cancel.id);
        if (r->cancelled_id == id) {
            vbb_host_close(&r->host, id);
            return;
        }
    }
    if (r->cancelled_id != id && !vbb_host_cancel(&r->host, &req)) {
        r->cancelled_id = id;
        r->cancelled_ns = get_clock();
        send_request(dev, &req);
    }
}

/* The guest is to be free for another request, unless its work has time yet. */
static void make_way(VirtIOBalloonBmap *dev)
{
    VBMapRequests *r = &dev->requests;
    const struct vbb_host_req *work = &r->host.work;

    if (work->state == VBB_HOST_FORGOTTEN ||
        (work->state == VBB_HOST_OPEN &&
         work->cmd == VIRTIO_BALLOON_CMD_DROP_CACHE &&
         get_clock() - r->dropping_ns >= DROP_NS)) {
        cancel(dev);
    }
}

/*
 * Some accelerators log a page's first write after a collection only once the
 * page's bit was cleared there, which migration puts off until it sends the
 * page. A write between answer and clearing must not be lost, so all bits are
 * cleared before the question; what was collected stays to be sent. Returns
 * false where the time is over.
 */
static bool arm(VBMapRequests *r)
{
    int64_t end_ns = get_clock() + ARM_NS;
    VBMapPiece piece;

    while (r->unarmed.len && get_clock() < end_ns) {
        if (!vbmap_piece_get(&piece, &r->unarmed, ARM_LEN_MAX)) {
            break;
        }
        if (piece.block && piece.block->bmap) {
            memory_region_clear_dirty_bitmap(piece.mr, piece.offset,
                                             piece.span.len);
        }
        vbmap_piece_put(&piece);
    }
    return !r->unarmed.len;
}

/* Asks and cancels what is to be asked and cancelled, under both locks. */
static void go_on(VirtIOBalloonBmap *dev)
{
    VBMapRequests *r = &dev->requests;

    if (!can_send(dev)) {
        /* again when the guest runs, or parks a buffer */
        return;
    }
    make_way(dev);
    if (!r->wanted || r->host.work.state != VBB_HOST_CLOSED) {
        /* again when the work ends, or at the next collection */
        return;
    }
    if (!arm(r)) {
        qemu_bh_schedule(r->bh);
        return;
    }
    if (can_send(dev)) {
        r->wanted = false;
        ask(dev, VIRTIO_BALLOON_CMD_GET_UNUSED_PAGES, 0);
    }
}

static void requests_bh(void *opaque)
{
    VirtIOBalloonBmap *dev = opaque;

    QEMU_LOCK_GUARD(&dev->requests.lock);
    go_on(dev);
}

/* The last hint was given, if there was one on its way. */
static void stop_hints(VBMapRequests *r)
{
    QEMU_LOCK_GUARD(&r->hint_lock);
    qatomic_set(&r->may_hint, false);
}

/*
 * Called by the migration thread, with the big lock or without it. The pages
 * of an answer are taken out of what was collected before the question; so the
 * answer must be forgotten before there is more.
 */
static int precopy_notified(NotifierWithReturn *n, void *data NOTIFIER_ERRP)
{
    VBMapRequests *r = container_of(n, VBMapRequests, precopy);
    VirtIOBalloonBmap *dev = device_of(r);
    bool running = qatomic_read(&VIRTIO_DEVICE(dev)->vm_running);
    int reason = ((PrecopyNotifyData *)data)->reason;

    QEMU_LOCK_GUARD(&r->lock);
    switch (reason) {
    case PRECOPY_NOTIFY_AFTER_BITMAP_SYNC:
        /* the destination would ask for pages that were never sent */
        r->wanted = running && dev->ask_unused && !migrate_postcopy_ram();
        r->unarmed = (struct vbb_span){ 0, UINT64_MAX };
        break;
    case PRECOPY_NOTIFY_BEFORE_BITMAP_SYNC:
    case PRECOPY_NOTIFY_CLEANUP:
        r->wanted = false;
        vbb_host_forget(&r->host);
        stop_hints(r);
        break;
    default:
        return 0;
    }
    trace_virtio_balloon_bmap_precopy(reason, running, r->host.work.state);
    if (!r->wanted && reason != PRECOPY_NOTIFY_CLEANUP) {
        return 0;
    }
    if (bql_locked()) {
        /* the sooner the guest knows, the less is sent in vain */
        go_on(dev);
    } else {
        qemu_bh_schedule(r->bh);
    }
    return 0;
}

/* Answers */

/* The driver parks a buffer for a request; false: it is none. */
bool vbmap_park(VirtIOBalloonBmap *dev, VirtQueueElement *elem)
{
    VBMapParked *parked;

    if (elem->out_num || iov_size(elem->in_sg, elem->in_num) < VBB_REQ_LEN) {
        return false;
    }
    parked = g_new(VBMapParked, 1);
    parked->elem = elem;
    QSIMPLEQ_INSERT_TAIL(&dev->requests.parked, parked, next);
    return true;
}

/* Does the guest's being free, or its buffer, let us go on? */
static void go_on_soon(VBMapRequests *r)
{
    if (r->wanted || r->host.work.state == VBB_HOST_FORGOTTEN) {
        qemu_bh_schedule(r->bh);
    }
}

void vbmap_request_begin(VBMapQueue *q)
{
    VirtIOBalloonBmap *dev = q->dev;
    VBMapRequests *r = &dev->requests;
    VirtQueueElement *elem = q->elem;
    const struct vbb_dec_cfg cfg = {
        .queue = VBB_QUEUE_HOST_REQUEST,
        .records = virtio_vdev_has_feature(VIRTIO_DEVICE(dev),
                                           VIRTIO_BALLOON_F_PAGE_RECORDS),
    };
    const struct vbb_hdr *hdr = &q->dec.hdr;
    int verdict;

    QEMU_LOCK_GUARD(&r->lock);
    r->nr_hints = 0;
    if (vbmap_park(dev, elem)) {
        q->elem = NULL;
        go_on_soon(r);
        return;
    }
    /* what has no message is a buffer that is too small */
    dev->counters.answers += !!elem->out_num;
    verdict = vbb_dec_init(&q->dec, &cfg, (struct vbb_seg *)elem->out_sg,
                           elem->out_num);
    if (!verdict) {
        verdict = vbb_host_accept(&r->host, hdr);
        trace_virtio_balloon_bmap_answer(hdr->cmd, hdr->req_id, hdr->flag,
                                         hdr->format, hdr->bmap_len, verdict);
    }
    if (verdict < 0) {
        vbmap_fault(q, verdict);
    } else if (!verdict) {
        dev->counters.answers_dropped++;
    } else if (r->host.work.state == VBB_HOST_CLOSED) {
        go_on_soon(r);
    }
    if (verdict < 0 || !(verdict & VBB_HOST_APPLY)) {
        vbmap_queue_end(q, 0);
    }
}

/* In a thread of the pool, without any other lock */
static int give_hints(void *opaque)
{
    VirtIOBalloonBmap *dev = opaque;
    VBMapRequests *r = &dev->requests;
    unsigned int i;

    rcu_register_thread();
    for (i = 0; i < r->nr_hints; i++) {
        QEMU_LOCK_GUARD(&r->hint_lock);
        if (!qatomic_read(&r->may_hint)) {
            break;
        }
        qemu_guest_free_page_hint(r->hints[i].addr, r->hints[i].len);
        r->hinted_len += r->hints[i].len;
    }
    rcu_unregister_thread();
    return 0;
}

/* In the main loop again: the queue goes on, if it is still there. */
static void hints_given(void *opaque, int ret)
{
    VirtIOBalloonBmap *dev = opaque;
    VBMapRequests *r = &dev->requests;

    dev->counters.unused_bytes += r->hinted_len;
    r->hinted_len = 0;
    r->nr_hints = 0;
    dev->request.waits = false;
    if (dev->request.timer) {
        timer_mod(dev->request.timer, 0);
    }
    object_unref(OBJECT(dev));
}

/* The queue waits until the hints are given. */
static void send_hints(VirtIOBalloonBmap *dev)
{
    qatomic_set(&dev->requests.may_hint, true);
    dev->request.waits = true;
    object_ref(OBJECT(dev));
    pool_submit(give_hints, dev, hints_given, dev);
}

/*
 * A run of unused pages, or what is left of it: a hint a block of RAM, for all
 * that but the largest guests name. No memory is unplugged while a machine
 * migrates.
 */
static void leave_out(VBMapQueue *q)
{
    VBMapRequests *r = &q->dev->requests;
    struct vbb_span whole;
    VBMapPiece piece;

    if (!vbmap_piece_get(&piece, &q->rest, LEAVE_OUT_LEN_MAX)) {
        return;
    }
    whole = (struct vbb_span){ piece.offset, piece.span.len };
    /* some blocks do not migrate */
    if (piece.block && piece.block->bmap &&
        vbb_span_shrink(&whole, 0, qemu_target_page_bits())) {
        trace_virtio_balloon_bmap_unused(qemu_ram_get_idstr(piece.block),
                                         whole.gpa, whole.len);
        r->hints[r->nr_hints++] = (VBMapHint){
            piece.block->host + whole.gpa, whole.len
        };
    }
    vbmap_piece_put(&piece);
}

/* The next run or value; returns as vbb_dec_next(). */
static int apply(VBMapQueue *q)
{
    VBMapRequests *r = &q->dev->requests;
    struct vbb_range run;
    uint64_t value;
    int err;

    vbb_dec_set_budget(&q->dec, DECODE_STEPS);
    if (q->dec.hdr.format == VIRTIO_BALLOON_FORMAT_VALUES) {
        err = vbb_dec_next_value(&q->dec, &value);
        if (err > 0) {
            r->dropped_pages += value;
        }
    } else {
        err = vbb_dec_next(&q->dec, &run);
        if (err > 0) {
            q->rest = vbb_range_span(&run, q->dec.hdr.page_shift);
            q->dev->counters.unused_runs++;
        }
    }
    return err;
}

uint64_t vbmap_request_step(VBMapQueue *q)
{
    VBMapRequests *r = &q->dev->requests;
    int err;

    QEMU_LOCK_GUARD(&r->lock);
    if (!vbb_host_may_apply(&r->host)) {
        q->dev->counters.answers_dropped++;
        vbmap_queue_end(q, 0);
        return 0;
    }
    if (r->nr_hints == VBMAP_NR_HINTS) {
        send_hints(q->dev);
        return 0;
    }
    if (q->rest.len) {
        leave_out(q);
        return 0;
    }
    err = apply(q);
    if (err > 0 || err == VBB_E_BUDGET) {
        return 0;
    }
    if (r->nr_hints) {
        /* the end is seen again, behind them */
        send_hints(q->dev);
        return 0;
    }
    if (err) {
        vbmap_fault(q, err);
    }
    vbmap_queue_end(q, 0);
    return 0;
}

/* The user's hand: DROP_CACHE */

static void get_dropped(Object *obj, Visitor *v, const char *name, void *opaque,
                        Error **errp)
{
    VirtIOBalloonBmap *dev = VIRTIO_BALLOON_BMAP(obj);

    visit_type_uint64(v, name, &dev->requests.dropped_pages, errp);
}

static void set_drop_cache(Object *obj, Visitor *v, const char *name,
                           void *opaque, Error **errp)
{
    VirtIOBalloonBmap *dev = VIRTIO_BALLOON_BMAP(obj);
    uint64_t what;
    int err;

    if (!visit_type_uint64(v, name, &what, errp)) {
        return;
    }
    QEMU_LOCK_GUARD(&dev->requests.lock);
    if (!dev->request.vq || !can_send(dev)) {
        error_setg(errp, "the guest takes no requests");
        return;
    }
    make_way(dev);
    err = what ? ask(dev, VIRTIO_BALLOON_CMD_DROP_CACHE, what) : VBB_E_INVAL;
    switch (err) {
    case 0:
        dev->requests.dropping_ns = get_clock();
        dev->requests.dropped_pages = 0;
        break;
    case VBB_E_AGAIN:
        error_setg(errp, "the guest is still at an earlier request");
        break;
    case VBB_E_STATE:
        error_setg(errp, "all ids of requests are used up");
        break;
    default:
        error_setg(errp, "what to drop is 1 (page cache), 2 (slab) or 3");
    }
}

/* The device's life */

void vbmap_requests_init(VirtIOBalloonBmap *dev)
{
    VBMapRequests *r = &dev->requests;

    qemu_mutex_init(&r->lock);
    qemu_mutex_init(&r->hint_lock);
    QSIMPLEQ_INIT(&r->parked);
    vbb_host_init(&r->host, 1);
    r->precopy.notify = precopy_notified;
    object_property_add(OBJECT(dev), "drop-cache", "uint64", NULL,
                        set_drop_cache, NULL, NULL);
    object_property_add(OBJECT(dev), "dropped-pages", "uint64", get_dropped,
                        NULL, NULL, NULL);
}

void vbmap_requests_finalize(VirtIOBalloonBmap *dev)
{
    qemu_mutex_destroy(&dev->requests.hint_lock);
    qemu_mutex_destroy(&dev->requests.lock);
}

void vbmap_requests_realize(VirtIOBalloonBmap *dev)
{
    VBMapRequests *r = &dev->requests;

    r->bh = qemu_bh_new_guarded(requests_bh, dev,
                                &DEVICE(dev)->mem_reentrancy_guard);
    precopy_add_notifier(&r->precopy);
}

void vbmap_requests_unrealize(VirtIOBalloonBmap *dev)
{
    VBMapRequests *r = &dev->requests;

    /* we are not told of the next collection */
    stop_hints(r);
    precopy_remove_notifier(&r->precopy);
    qemu_bh_delete(r->bh);
    r->bh = NULL;
    vbmap_requests_reset(dev);
}

/* The driver takes its buffers back, and forgets what it was asked. */
void vbmap_requests_reset(VirtIOBalloonBmap *dev)
{
    VBMapRequests *r = &dev->requests;
    VBMapParked *parked;

    QEMU_LOCK_GUARD(&r->lock);
    vbb_host_reset(&r->host);
    /* one may be on its way, as a write may be that a log will tell of */
    qatomic_set(&r->may_hint, false);
    while ((parked = QSIMPLEQ_FIRST(&r->parked))) {
        QSIMPLEQ_REMOVE_HEAD(&r->parked, next);
        virtqueue_detach_element(dev->request.vq, parked->elem, 0);
        g_free(parked->elem);
        g_free(parked);
    }
}
