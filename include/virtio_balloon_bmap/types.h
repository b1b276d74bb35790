/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause */
/* The one place that knows whether we live in a kernel or in user space. */
#ifndef VIRTIO_BALLOON_BMAP_TYPES_H
#define VIRTIO_BALLOON_BMAP_TYPES_H

#ifdef __KERNEL__

#include <linux/stddef.h>
#include <linux/types.h>
#include <asm/byteorder.h>

typedef u8 vbb_u8;
typedef u16 vbb_u16;
typedef u32 vbb_u32;
typedef u64 vbb_u64;
typedef __le16 vbb_le16;
typedef __le32 vbb_le32;
typedef __le64 vbb_le64;

#define vbb_le16_to_cpu(v) le16_to_cpu(v)
#define vbb_le32_to_cpu(v) le32_to_cpu(v)
#define vbb_le64_to_cpu(v) le64_to_cpu(v)
#define vbb_cpu_to_le16(v) cpu_to_le16(v)
#define vbb_cpu_to_le32(v) cpu_to_le32(v)
#define vbb_cpu_to_le64(v) cpu_to_le64(v)

#else

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __CHECKER__
#define VBB_BITWISE __attribute__((bitwise))
#define VBB_FORCE __attribute__((force))
#else
#define VBB_BITWISE
#define VBB_FORCE
#endif

typedef uint8_t vbb_u8;
typedef uint16_t vbb_u16;
typedef uint32_t vbb_u32;
typedef uint64_t vbb_u64;
typedef vbb_u16 VBB_BITWISE vbb_le16;
typedef vbb_u32 VBB_BITWISE vbb_le32;
typedef vbb_u64 VBB_BITWISE vbb_le64;

#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
#define VBB_SWAP(bits, v) __builtin_bswap##bits(v)
#else
#define VBB_SWAP(bits, v) (v)
#endif

#define vbb_le16_to_cpu(v) VBB_SWAP(16, (VBB_FORCE vbb_u16)(v))
#define vbb_le32_to_cpu(v) VBB_SWAP(32, (VBB_FORCE vbb_u32)(v))
#define vbb_le64_to_cpu(v) VBB_SWAP(64, (VBB_FORCE vbb_u64)(v))
#define vbb_cpu_to_le16(v) ((VBB_FORCE vbb_le16)VBB_SWAP(16, (vbb_u16)(v)))
#define vbb_cpu_to_le32(v) ((VBB_FORCE vbb_le32)VBB_SWAP(32, (vbb_u32)(v)))
#define vbb_cpu_to_le64(v) ((VBB_FORCE vbb_le64)VBB_SWAP(64, (vbb_u64)(v)))

#endif /* __KERNEL__ */

#ifdef __cplusplus
#define VBB_BEGIN_DECLS extern "C" {
#define VBB_END_DECLS }
#define VBB_STATIC_ASSERT(cond, msg) static_assert(cond, msg)
#else
#define VBB_BEGIN_DECLS
#define VBB_END_DECLS
#define VBB_STATIC_ASSERT(cond, msg) _Static_assert(cond, msg)
#endif

/* The shared library hides all that is not marked; a static one and the kernel do not care. */
#if defined(__GNUC__) && !defined(__KERNEL__)
#define VBB_PUBLIC __attribute__((visibility("default")))
#else
#define VBB_PUBLIC
#endif

#endif
