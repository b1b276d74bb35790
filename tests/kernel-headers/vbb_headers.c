// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause
/* A module that has the exported headers, and nothing else of ours. */
#include <virtio_balloon_bmap/msg.h>
#include <virtio_balloon_bmap/range.h>

#include <linux/module.h>

static int __init vbb_headers_init(void)
{
	u8 bytes[sizeof(struct virtio_balloon_bmap_result)] = { };
	const struct vbb_seg seg = { bytes, sizeof(bytes) };
	struct vbb_span span = { 0, PAGE_SIZE };
	struct vbb_result result;

	if (vbb_result_load(&result, &seg, 1) || !vbb_span_shrink(&span, 0, PAGE_SHIFT))
		return -EINVAL;
	return 0;
}
module_init(vbb_headers_init);

MODULE_DESCRIPTION("The header-only part of libvirtio-balloon-bmap");
MODULE_LICENSE("Dual BSD/GPL");
