/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause */
#ifndef VBB_STUB_STDDEF_H
#define VBB_STUB_STDDEF_H

#include <stdbool.h>
#include <stddef.h>

#endif
