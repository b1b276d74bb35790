/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The device: what it has, and how its time under the big lock is bounded. */
#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qemu/error-report.h"
#include "qapi/visitor.h"
#include "qemu/main-loop.h"
#include "qemu/module.h"
#include "qemu/units.h"
#include "virtio-balloon-bmap-compat.h"
#include "hw/core/cpu.h"
#include "hw/virtio/virtio-balloon-bmap.h"
#include "migration/qemu-file-types.h"
#include "trace.h"

#define QUEUE_SIZE      128

/*
 * A slice, and the pause after it in which others get the big lock. The last
 * step may take 2 ms more, see DISCARD_LEN_MAX.
 */
#define SLICE_NS        (2 * SCALE_MS)
#define PAUSE_NS        (100 * SCALE_US)
#define STEPS_PER_LOOK  64 /* at the clock */
#define WORK_PER_LOOK   (1 * MiB)

static VirtioDeviceClass *parent_class(void)
{
    return VIRTIO_DEVICE_CLASS(object_class_by_name(TYPE_VIRTIO_BALLOON));
}

/* Queues */

void vbmap_fault(VBMapQueue *q, int err)
{
    int fault = vbb_err_fault(err);

    if (fault >= 0) {
        q->dev->counters.faults[fault]++;
    }
    trace_virtio_balloon_bmap_fault(virtio_get_queue_index(q->vq),
                                    vbb_err_name(err),
                                    vbb_dec_fault_off(&q->dec));
}

/* The message at hand goes back to the driver. */
void vbmap_queue_end(VBMapQueue *q, unsigned int written)
{
    virtqueue_push(q->vq, q->elem, written);
    virtio_notify(VIRTIO_DEVICE(q->dev), q->vq);
    g_free(q->elem);
    q->elem = NULL;
}

/* The next message, where none is at hand; false where there is none. */
static bool queue_pop(VBMapQueue *q)
{
    if (!q->elem) {
        q->elem = virtqueue_pop(q->vq, sizeof(VirtQueueElement));
        q->begun = false;
    }
    return q->elem;
}

/* Work on messages until there is none, or the time is over. */
void vbmap_queue_work(VBMapQueue *q)
{
    VBMapCounters *c = &q->dev->counters;
    int64_t begin_ns = get_clock();
    int64_t past_ns = 0;
    uint64_t len;
    int i;

    while (VIRTIO_DEVICE(q->dev)->vm_running && !q->waits && queue_pop(q)) {
        if (past_ns >= SLICE_NS) {
            timer_mod(q->timer,
                      qemu_clock_get_ns(QEMU_CLOCK_REALTIME) + PAUSE_NS);
            break;
        }
        if (!q->begun) {
            q->begun = true;
            q->rest.len = 0;
            q->begin(q);
        }
        for (i = 0, len = 0; q->elem && !q->waits &&
             i < STEPS_PER_LOOK && len < WORK_PER_LOOK; i++) {
            len += q->step(q);
        }
        past_ns = get_clock() - begin_ns;
    }
    c->slices++;
    c->slice_max_ns = MAX(c->slice_max_ns, past_ns);
}

static void queue_on_cpu(CPUState *cpu, run_on_cpu_data data)
{
    VBMapQueue **held = data.host_ptr;
    VBMapQueue *q = *held;

    g_free(held);
    if (q) {
        q->on_cpu = NULL;
        vbmap_queue_work(q);
    }
}

/*
 * Where a CPU of the guest's has brought a message its thread goes on with it:
 * else that CPU would run meanwhile, and each discard have to interrupt it. A
 * CPU that is being unplugged takes no work.
 */
static void queue_timer(void *opaque)
{
    VBMapQueue *q = opaque;
    CPUState *cpu = q->cpu_index < 0 ? NULL : qemu_get_cpu(q->cpu_index);

    if (!cpu || cpu->unplug) {
        vbmap_queue_work(q);
    } else if (!q->on_cpu) {
        q->on_cpu = g_new(VBMapQueue *, 1);
        *q->on_cpu = q;
        async_run_on_cpu(cpu, queue_on_cpu, RUN_ON_CPU_HOST_PTR(q->on_cpu));
    }
}

static void handle_output(VirtIODevice *vdev, VirtQueue *vq)
{
    VirtIOBalloonBmap *dev = VIRTIO_BALLOON_BMAP(vdev);
    VBMapQueue *q = vq == dev->inflate.vq ? &dev->inflate :
                    vq == dev->deflate.vq ? &dev->deflate : &dev->request;

    q->cpu_index = current_cpu ? current_cpu->cpu_index : -1;
    vbmap_queue_work(q);
}

static void queue_init(VirtIOBalloonBmap *dev, VBMapQueue *q,
                       void (*begin)(VBMapQueue *q),
                       uint64_t (*step)(VBMapQueue *q))
{
    q->dev = dev;
    q->vq = virtio_add_queue(VIRTIO_DEVICE(dev), QUEUE_SIZE, handle_output);
    q->timer = timer_new_ns(QEMU_CLOCK_REALTIME, queue_timer, q);
    q->cpu_index = -1;
    q->begin = begin;
    q->step = step;
}

/* The message at hand is forgotten: the driver takes the queue back. */
static void queue_drop(VBMapQueue *q)
{
    if (q->timer) {
        timer_del(q->timer);
    }
    if (q->on_cpu) {
        *q->on_cpu = NULL;
        q->on_cpu = NULL;
    }
    if (q->elem) {
        virtqueue_detach_element(q->vq, q->elem, 0);
        g_free(q->elem);
        q->elem = NULL;
    }
}

static void queue_free(VBMapQueue *q)
{
    queue_drop(q);
    timer_free(q->timer);
    q->timer = NULL;
}

/* The device */

static bool has_request_queue(const VirtIOBalloonBmap *dev)
{
    uint64_t features = dev->page_features | BIT_ULL(VIRTIO_F_VERSION_1);

    return virtio_has_feature(vbb_features_check(features),
                              VIRTIO_BALLOON_F_HOST_REQ_VQ);
}

static uint64_t vbmap_get_features(VirtIODevice *vdev, uint64_t f, Error **errp)
{
    VirtIOBalloonBmap *dev = VIRTIO_BALLOON_BMAP(vdev);

    f = parent_class()->get_features(vdev, f, errp);
    return vbb_features_check(f | dev->page_features);
}

static void vbmap_reset(VirtIODevice *vdev)
{
    VirtIOBalloonBmap *dev = VIRTIO_BALLOON_BMAP(vdev);

    parent_class()->reset(vdev);
    queue_drop(&dev->inflate);
    queue_drop(&dev->deflate);
    queue_drop(&dev->request);
    vbmap_requests_reset(dev);
}

static void vbmap_queue_reset(VirtIODevice *vdev, uint32_t index)
{
    VirtIOBalloonBmap *dev = VIRTIO_BALLOON_BMAP(vdev);
    VirtQueue *vq = virtio_get_queue(vdev, index);

    if (vq == dev->inflate.vq) {
        queue_drop(&dev->inflate);
    } else if (vq == dev->deflate.vq) {
        queue_drop(&dev->deflate);
    } else if (vq == dev->request.vq) {
        queue_drop(&dev->request);
        vbmap_requests_reset(dev);
    }
}

/* Whether the guest runs or its driver is ready may have changed. */
static SetStatusResult vbmap_set_status(VirtIODevice *vdev, uint8_t status)
{
    VirtIOBalloonBmap *dev = VIRTIO_BALLOON_BMAP(vdev);

    parent_class()->set_status(vdev, status);
    if (!vdev->vm_running) {
        /* other messages wait, or go along to another machine */
        if (dev->request.elem) {
            vbmap_queue_end(&dev->request, 0);
        }
    } else if (status & VIRTIO_CONFIG_S_DRIVER_OK) {
        timer_mod(dev->inflate.timer, 0);
        timer_mod(dev->deflate.timer, 0);
        if (dev->request.vq) {
            timer_mod(dev->request.timer, 0);
            qemu_bh_schedule(dev->requests.bh);
        }
    }
    return SET_STATUS_DONE;
}

static void vbmap_realize(DeviceState *qdev, Error **errp)
{
    ERRP_GUARD();
    VirtIOBalloonBmap *dev = VIRTIO_BALLOON_BMAP(qdev);
    VirtIOBalloon *parent = VIRTIO_BALLOON(qdev);

    parent_class()->realize(qdev, errp);
    if (*errp) {
        return;
    }
    /* A queue that is deleted leaves its number to the next one. */
    virtio_delete_queue(parent->ivq);
    queue_init(dev, &dev->inflate, vbmap_pages_begin, vbmap_pages_step);
    virtio_delete_queue(parent->dvq);
    queue_init(dev, &dev->deflate, vbmap_pages_begin, vbmap_pages_step);
    assert(dev->inflate.vq == parent->ivq && dev->deflate.vq == parent->dvq);

    if (has_request_queue(dev)) {
        uint64_t features = parent->host_features |
                            BIT_ULL(VIRTIO_BALLOON_F_STATS_VQ);

        queue_init(dev, &dev->request, vbmap_request_begin, vbmap_request_step);
        assert(virtio_get_queue_index(dev->request.vq) ==
               vbb_vq_host_request(features));
        vbmap_requests_realize(dev);
    }
}

static void vbmap_unrealize(DeviceState *qdev)
{
    VirtIOBalloonBmap *dev = VIRTIO_BALLOON_BMAP(qdev);

    queue_free(&dev->inflate);
    queue_free(&dev->deflate);
    if (dev->request.vq) {
        vbmap_requests_unrealize(dev);
        queue_free(&dev->request);
        virtio_delete_queue(dev->request.vq);
        dev->request.vq = NULL;
    }
    parent_class()->unrealize(qdev);
}

/* Counters as properties */

static const struct {
    const char *name;
    size_t offset;
} counters[] = {
#define COUNTER(name, field) { name, offsetof(VBMapCounters, field) }
    COUNTER("messages-pfns", messages_pfns),
    COUNTER("messages-bitmap", messages_bitmap),
    COUNTER("messages-records", messages_records),
    COUNTER("runs", runs),
    COUNTER("discards", discards),
    COUNTER("discard-errors", discard_errors),
    COUNTER("discarded-bytes", discarded_bytes),
    COUNTER("results", results),
    COUNTER("requests", requests),
    COUNTER("answers", answers),
    COUNTER("answers-dropped", answers_dropped),
    COUNTER("unused-runs", unused_runs),
    COUNTER("unused-bytes", unused_bytes),
    COUNTER("slices", slices),
    COUNTER("slice-max-ns", slice_max_ns),
#undef COUNTER
};

/* Each fault that the driver has made, by name */
static void get_faults(Object *obj, Visitor *v, const char *name, void *opaque,
                       Error **errp)
{
    VirtIOBalloonBmap *dev = VIRTIO_BALLOON_BMAP(obj);
    const char *fault_name;
    bool ok = true;
    int i;

    if (!visit_start_struct(v, name, NULL, 0, errp)) {
        return;
    }
    for (i = 0; ok && i < VBB_NR_FAULTS; i++) {
        fault_name = vbb_err_name(vbb_err_from_fault(i));
        if (fault_name && dev->counters.faults[i]) {
            ok = visit_type_uint64(v, fault_name, &dev->counters.faults[i],
                                   errp);
        }
    }
    if (ok) {
        visit_check_struct(v, errp);
    }
    visit_end_struct(v, NULL);
}

static void vbmap_instance_init(Object *obj)
{
    VirtIOBalloonBmap *dev = VIRTIO_BALLOON_BMAP(obj);
    size_t i;

    vbmap_requests_init(dev);
    for (i = 0; i < ARRAY_SIZE(counters); i++) {
        object_property_add_uint64_ptr(obj, counters[i].name,
            (uint64_t *)((char *)&dev->counters + counters[i].offset),
            OBJ_PROP_FLAG_READ);
    }
    object_property_add(obj, "faults", "struct", get_faults, NULL, NULL, NULL);
}

static void vbmap_instance_finalize(Object *obj)
{
    vbmap_requests_finalize(VIRTIO_BALLOON_BMAP(obj));
}

/*
 * The state: the next request's id, and the messages and buffers of the driver
 * that the device holds. A message that is worked on begins anew on the other
 * side, where nothing of it has been done.
 */

static void put_element(VirtIOBalloonBmap *dev, QEMUFile *f,
                        VirtQueueElement *elem)
{
    qemu_put_be32(f, elem ? 1 : 0);
    if (elem) {
        qemu_put_virtqueue_element(VIRTIO_DEVICE(dev), f, elem);
    }
}

static VirtQueueElement *get_element(VirtIOBalloonBmap *dev, QEMUFile *f)
{
    if (!qemu_get_be32(f)) {
        return NULL;
    }
    return qemu_get_virtqueue_element(VIRTIO_DEVICE(dev), f,
                                      sizeof(VirtQueueElement));
}

static int put_held(QEMUFile *f, void *pv, size_t size,
                    const VMStateField *field, JSONWriter *vmdesc)
{
    VirtIOBalloonBmap *dev = VIRTIO_BALLOON_BMAP(pv);
    VBMapParked *parked;

    put_element(dev, f, dev->inflate.elem);
    put_element(dev, f, dev->deflate.elem);
    QSIMPLEQ_FOREACH(parked, &dev->requests.parked, next) {
        put_element(dev, f, parked->elem);
    }
    put_element(dev, f, NULL);
    return 0;
}

static int get_held(QEMUFile *f, void *pv, size_t size,
                    const VMStateField *field)
{
    VirtIOBalloonBmap *dev = VIRTIO_BALLOON_BMAP(pv);
    VirtQueueElement *elem;

    dev->inflate.elem = get_element(dev, f);
    dev->inflate.begun = false;
    dev->deflate.elem = get_element(dev, f);
    dev->deflate.begun = false;
    while ((elem = get_element(dev, f))) {
        if (!dev->request.vq) {
            error_report("%s: the source has a request queue",
                         TYPE_VIRTIO_BALLOON_BMAP);
            g_free(elem);
            return -EINVAL;
        }
        if (!vbmap_park(dev, elem)) {
            error_report("%s: the source kept what is no buffer for a request",
                         TYPE_VIRTIO_BALLOON_BMAP);
            g_free(elem);
            return -EINVAL;
        }
    }
    return qemu_file_get_error(f);
}

static const VMStateInfo vmstate_info_held = {
    .name = "virtio-balloon-bmap held elements",
    .get = get_held,
    .put = put_held,
};

static const VMStateDescription vmstate_vbmap = {
    .name = "virtio-balloon-bmap",
    .version_id = 1,
    .minimum_version_id = 1,
    .fields = (VMStateField[]) {
        VMSTATE_VIRTIO_DEVICE,
        VMSTATE_UINT64(requests.host.next_id, VirtIOBalloonBmap),
        {
            .name = "held",
            .info = &vmstate_info_held,
            .flags = VMS_SINGLE,
        },
        VMSTATE_END_OF_LIST()
    },
};

static DeviceProperty vbmap_properties[] = {
    DEFINE_PROP_BIT64("page-bitmap", VirtIOBalloonBmap, page_features,
                      VIRTIO_BALLOON_F_PAGE_BITMAP, true),
    DEFINE_PROP_BIT64("page-records", VirtIOBalloonBmap, page_features,
                      VIRTIO_BALLOON_F_PAGE_RECORDS, true),
    DEFINE_PROP_BIT64("host-requests", VirtIOBalloonBmap, page_features,
                      VIRTIO_BALLOON_F_HOST_REQ_VQ, true),
    DEFINE_PROP_BOOL("unused-pages", VirtIOBalloonBmap, ask_unused, true),
    PROPERTIES_END
};

static void vbmap_class_init(ObjectClass *klass, ClassInitData *data)
{
    DeviceClass *dc = DEVICE_CLASS(klass);
    VirtioDeviceClass *vdc = VIRTIO_DEVICE_CLASS(klass);

    device_class_set_props(dc, vbmap_properties);
    dc->desc = "balloon of page bitmaps and records, and of host requests";
    dc->vmsd = &vmstate_vbmap;
    vdc->realize = vbmap_realize;
    vdc->unrealize = vbmap_unrealize;
    vdc->get_features = vbmap_get_features;
    vdc->reset = vbmap_reset;
    vdc->queue_reset = vbmap_queue_reset;
    vdc->set_status = vbmap_set_status;
}

static const TypeInfo vbmap_info = {
    .name = TYPE_VIRTIO_BALLOON_BMAP,
    .parent = TYPE_VIRTIO_BALLOON,
    .instance_size = sizeof(VirtIOBalloonBmap),
    .instance_init = vbmap_instance_init,
    .instance_finalize = vbmap_instance_finalize,
    .class_init = vbmap_class_init,
};

static void vbmap_register_types(void)
{
    type_register_static(&vbmap_info);
}

type_init(vbmap_register_types)
