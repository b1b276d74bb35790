/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause */
/* Everything of libvirtio-balloon-bmap but the transports' interface. */
#ifndef VIRTIO_BALLOON_BMAP_VBB_H
#define VIRTIO_BALLOON_BMAP_VBB_H

#include <virtio_balloon_bmap/types.h>
#include <virtio_balloon_bmap/error.h>
#include <virtio_balloon_bmap/wire.h>
#include <virtio_balloon_bmap/leaf.h>
#include <virtio_balloon_bmap/seg.h>
#include <virtio_balloon_bmap/range.h>
#include <virtio_balloon_bmap/msg.h>
#include <virtio_balloon_bmap/decode.h>
#include <virtio_balloon_bmap/encode.h>
#include <virtio_balloon_bmap/request.h>

#endif
