/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What differs between QEMU 7.2 and later releases. */
#ifndef HW_VIRTIO_BALLOON_BMAP_COMPAT_H
#define HW_VIRTIO_BALLOON_BMAP_COMPAT_H

#define QEMU_SINCE(major, minor) \
    (QEMU_VERSION_MAJOR > (major) || \
     (QEMU_VERSION_MAJOR == (major) && QEMU_VERSION_MINOR >= (minor)))

#include "block/thread-pool.h"
#include "exec/target_page.h"
#include "hw/qdev-properties.h"
#include "migration/misc.h"
#if QEMU_SINCE(10, 1)
#include "system/address-spaces.h"
#include "system/ramblock.h"
#else
#include "exec/address-spaces.h"
#include "exec/ramblock.h"
#endif

/* migrate_postcopy_ram() */
#if !QEMU_SINCE(8, 1)
#include "migration/migration.h"
#elif !QEMU_SINCE(10, 0)
#include "migration/options.h"
#endif

/* The last parameter of a NotifierWithReturn's function */
#if QEMU_SINCE(9, 0)
#define NOTIFIER_ERRP   , Error **errp
#else
#define NOTIFIER_ERRP
#endif

/* Whether this thread has the big lock */
#if !QEMU_SINCE(9, 0)
#define bql_locked      qemu_mutex_iothread_locked
#endif

/* Calls a function in a thread of the main loop's pool, then another here */
#if QEMU_SINCE(8, 1)
#define pool_submit     thread_pool_submit_aio
#else
#define pool_submit(...) \
    thread_pool_submit_aio(aio_get_thread_pool(qemu_get_aio_context()), \
                           __VA_ARGS__)
#endif

/* A list of properties, and how it ends */
#if QEMU_SINCE(10, 0)
typedef const Property DeviceProperty;
#define PROPERTIES_END
#else
typedef Property DeviceProperty;
#define PROPERTIES_END  DEFINE_PROP_END_OF_LIST(),
#endif

/* A class_init's data, and what a set_status returns */
#if QEMU_SINCE(10, 1)
typedef const void ClassInitData;
typedef int SetStatusResult;
#define SET_STATUS_DONE 0
#else
typedef void ClassInitData;
typedef void SetStatusResult;
#define SET_STATUS_DONE
#endif

#endif
