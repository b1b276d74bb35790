/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause */
/* The kernel's types, as it has them: u64 is not what <stdint.h> calls uint64_t. */
#ifndef VBB_STUB_TYPES_H
#define VBB_STUB_TYPES_H

#include <linux/stddef.h>

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef unsigned long uintptr_t;

typedef u16 __le16;
typedef u32 __le32;
typedef u64 __le64;

#endif
