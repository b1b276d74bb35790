// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause
/* Property: the decoder says of any message what the slow one says: runs, faults, and where. */
#include "message.h"
#include "oracle.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_message m;
	struct vbb_seg seg;
	struct vbb_dec d;
	struct oracle o;
	const char *how;
	uint64_t value;
	int err;

	fuzz_message(&m, data, size);
	seg.base = fuzz_alloc(m.len);
	seg.len = m.len;
	if (m.len)
		memcpy(seg.base, m.bytes, m.len);
	oracle_decode(&o, seg.base, m.len, &m.cfg, m.pfns);
	err = oracle_begin(&d, &m.cfg, m.pfns, &seg, 1);
	how = oracle_compare(&o, &d, err, VBB_BUDGET_NONE);
	if (how)
		fuzz_fail(__FILE__, __LINE__, how);
	oracle_free(&o);

	if (!m.pfns && !err && d.hdr.format == VIRTIO_BALLOON_FORMAT_VALUES) {
		size_t nr = 0;

		fuzz_check(!vbb_dec_init(&d, &m.cfg, &seg, 1));
		while (vbb_dec_next_value(&d, &value) == 1)
			nr++;
		fuzz_check(8 * nr == d.hdr.bmap_len);
	}
	free(seg.base);
	return 0;
}
