/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause */
#ifndef VBB_STUB_BYTEORDER_H
#define VBB_STUB_BYTEORDER_H

#include <endian.h>

#define le16_to_cpu(v) le16toh(v)
#define le32_to_cpu(v) le32toh(v)
#define le64_to_cpu(v) le64toh(v)
#define cpu_to_le16(v) htole16(v)
#define cpu_to_le32(v) htole32(v)
#define cpu_to_le64(v) htole64(v)

#endif
