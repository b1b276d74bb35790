/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Pages that the driver gives and takes: a discard a run. */
#include "qemu/osdep.h"
#include "qemu/units.h"
#include "qemu/iov.h"
#include "virtio-balloon-bmap-compat.h"
#include "hw/virtio/virtio-access.h"
#include "hw/virtio/virtio-balloon-bmap.h"
#include "migration/misc.h"
#include "trace.h"

/*
 * A discard of so much populated memory takes some 1 ms, 2 ms in a file, and as
 * much time a byte as one of any length; its borders are multiples of it, so
 * that no huge page is split.
 */
#define DISCARD_LEN_MAX (4 * MiB)
#define DECODE_STEPS    1024

QEMU_BUILD_BUG_ON(sizeof(struct vbb_seg) != sizeof(struct iovec));
QEMU_BUILD_BUG_ON(offsetof(struct vbb_seg, len) !=
                  offsetof(struct iovec, iov_len));

static bool section_is_ram(const MemoryRegionSection *s)
{
    return memory_region_is_ram(s->mr) && !memory_region_is_rom(s->mr) &&
           !memory_region_is_romd(s->mr) &&
           !memory_region_is_ram_device(s->mr) &&
           !s->readonly && !s->nonvolatile;
}

/*
 * Cut the first piece off a run that is not empty. It ends at a multiple of
 * @len_max, a power of two, or of its block's page size, at the latest. False
 * where nothing lies in the run, which is then empty.
 */
bool vbmap_piece_get(VBMapPiece *piece, struct vbb_span *rest, uint64_t len_max)
{
    MemoryRegionSection s = memory_region_find(get_system_memory(), rest->gpa,
                                               rest->len);
    uint64_t end;

    if (!s.mr) {
        rest->len = 0;
        return false;
    }
    piece->mr = s.mr;
    piece->block = section_is_ram(&s) ? s.mr->ram_block : NULL;
    piece->offset = s.offset_within_region;
    piece->span.gpa = s.offset_within_address_space;
    piece->span.len = int128_get64(s.size);
    if (piece->block) {
        len_max = MAX(len_max, qemu_ram_pagesize(piece->block));
        len_max -= piece->offset & (len_max - 1);
        piece->span.len = MIN(piece->span.len, len_max);
    }
    end = piece->span.gpa + piece->span.len;
    rest->len -= end - rest->gpa;
    rest->gpa = end;
    return true;
}

void vbmap_piece_put(VBMapPiece *piece)
{
    memory_region_unref(piece->mr);
}

/* Neither VFIO nor postcopy nor a snapshot bears pages that go away. */
static bool discards_inhibited(void)
{
    return ram_block_discard_is_disabled() ||
           migration_in_incoming_postcopy() || migration_in_bg_snapshot();
}

static void piece_discard(VBMapQueue *q, VBMapPiece *piece)
{
    VBMapCounters *c = &q->dev->counters;
    struct vbb_span whole = { piece->offset, piece->span.len };
    int ret;

    if (!vbb_span_shrink(&whole, 0, ctz64(qemu_ram_pagesize(piece->block)))) {
        return;
    }
    if (discards_inhibited()) {
        q->failed = true;
        return;
    }
    ret = ram_block_discard_range(piece->block, whole.gpa, whole.len);
    trace_virtio_balloon_bmap_discard(qemu_ram_get_idstr(piece->block),
                                      whole.gpa, whole.len, ret);
    c->discards++;
    if (ret) {
        c->discard_errors++;
        q->failed = true;
        return;
    }
    c->discarded_bytes += whole.len;
    q->acted_len += whole.len;
    q->missing_len -= whole.len;
}

static uint64_t run_step(VBMapQueue *q)
{
    VBMapPiece piece;

    if (!vbmap_piece_get(&piece, &q->rest, DISCARD_LEN_MAX)) {
        return 0;
    }
    if (!piece.block) {
        piece.span.len = 0;
    } else if (q == &q->dev->inflate) {
        piece_discard(q, &piece);
    } else {
        /* memory comes back when the guest touches it */
        q->acted_len += piece.span.len;
        q->missing_len -= piece.span.len;
        piece.span.len = 0;
    }
    vbmap_piece_put(&piece);
    return piece.span.len;
}

static void run_begin(VBMapQueue *q, const struct vbb_range *run)
{
    q->rest = vbb_range_span(run, q->page_shift);
    q->missing_len = q->rest.len;
    q->dev->counters.runs++;
    trace_virtio_balloon_bmap_run(virtio_get_queue_index(q->vq), q->rest.gpa,
                                  q->rest.len);
}

/* The message is over: err is 0, or what is wrong with it. */
static void pages_end(VBMapQueue *q, int err)
{
    VirtQueueElement *elem = q->elem;
    struct vbb_result result = {
        .nr_pages = q->acted_len >> q->page_shift,
        .status = VIRTIO_BALLOON_STATUS_OK,
        .discard_shift = ctz64(qemu_ram_pagesize_largest()),
    };
    uint32_t written = 0;

    if (err) {
        vbmap_fault(q, err);
        result.status = VIRTIO_BALLOON_STATUS_MALFORMED;
    } else if (q->failed && !q->acted_len) {
        result.status = VIRTIO_BALLOON_STATUS_INHIBITED;
    } else if (q->partial) {
        result.status = VIRTIO_BALLOON_STATUS_PARTIAL;
    }
    if (q->page_msg) {
        written = vbb_result_store(&result, (struct vbb_seg *)elem->in_sg,
                                   elem->in_num);
    }
    if (written) {
        q->dev->counters.results++;
        trace_virtio_balloon_bmap_result(virtio_get_queue_index(q->vq),
                                         result.nr_pages, result.status,
                                         result.discard_shift);
    }
    vbmap_queue_end(q, written);
}

void vbmap_pages_begin(VBMapQueue *q)
{
    VirtIODevice *vdev = VIRTIO_DEVICE(q->dev);
    VBMapCounters *c = &q->dev->counters;
    const struct vbb_seg *seg = (struct vbb_seg *)q->elem->out_sg;
    unsigned int nr_segs = q->elem->out_num;
    const struct vbb_dec_cfg cfg = {
        .queue = VBB_QUEUE_BALLOON,
        .records = virtio_vdev_has_feature(vdev,
                                           VIRTIO_BALLOON_F_PAGE_RECORDS),
        /* no limit: what is not RAM is skipped */
    };
    int err = 0;

    q->page_msg = virtio_vdev_has_feature(vdev, VIRTIO_BALLOON_F_PAGE_BITMAP);
    q->partial = false;
    q->failed = false;
    q->acted_len = 0;
    q->missing_len = 0;
    q->page_shift = VIRTIO_BALLOON_PFN_SHIFT;
    if (q->page_msg) {
        err = vbb_dec_init(&q->dec, &cfg, seg, nr_segs);
    } else if (virtio_access_is_big_endian(vdev)) {
        /* the codec reads little-endian frames only, so none is acted on */
        err = VBB_E_FORMAT;
    } else {
        vbb_dec_init_pfns(&q->dec, &cfg, seg, nr_segs);
    }
    if (err) {
        pages_end(q, err);
        return;
    }
    if (!q->page_msg) {
        c->messages_pfns++;
    } else if (q->dec.hdr.format == VIRTIO_BALLOON_FORMAT_RECORDS) {
        c->messages_records++;
    } else {
        c->messages_bitmap++;
    }
    q->page_shift = q->dec.hdr.page_shift;
    trace_virtio_balloon_bmap_message(virtio_get_queue_index(q->vq),
                                      q->dec.hdr.format, q->page_shift,
                                      iov_size(q->elem->out_sg, nr_segs));
}

uint64_t vbmap_pages_step(VBMapQueue *q)
{
    struct vbb_range run;
    int err;

    if (q->rest.len) {
        return run_step(q);
    }
    if (q->missing_len) {
        q->partial = true;
    }
    q->missing_len = 0;
    vbb_dec_set_budget(&q->dec, DECODE_STEPS);
    err = vbb_dec_next(&q->dec, &run);
    if (err > 0) {
        run_begin(q, &run);
    } else if (err != VBB_E_BUDGET) {
        pages_end(q, err);
    }
    return 0;
}
