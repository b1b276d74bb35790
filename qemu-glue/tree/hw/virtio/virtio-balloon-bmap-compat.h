/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What differs between QEMU 7.2 and later releases. */
#ifndef HW_VIRTIO_BALLOON_BMAP_COMPAT_H
#define HW_VIRTIO_BALLOON_BMAP_COMPAT_H

#include "exec/address-spaces.h"
#include "exec/ramblock.h"
#include "exec/target_page.h"
#include "migration/migration.h"
#include "migration/misc.h"

#endif
