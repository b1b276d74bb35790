// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause
/*
 * Property: whatever a capture file holds, it is read within the caller's buffer and to an end, and
 * what was read is the same when it is written and read again.
 */
#define _GNU_SOURCE

#include "fuzz.h"
#include "../transports/capture.c"

#define MAX_LEN 4096

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct vbb_capture_hdr hdr, again;
	uint8_t *buf = fuzz_alloc(MAX_LEN), *buf2 = fuzz_alloc(MAX_LEN);
	struct vbb_capture first, second;
	struct vbb_seg seg = { buf, 0 };
	size_t nr = 0, len, max_len;
	FILE *in, *out;
	char *copy;
	int err;

	max_len = size ? (size_t)16 * *data : 0;
	in = size ? fmemopen((void *)(uintptr_t)data, size, "rb") : fopen("/dev/null", "rb");
	out = open_memstream(&copy, &len);
	if (!in || !out)
		abort();
	vbb_capture_open(&first, in);
	vbb_capture_start(out);
	while (err = vbb_capture_next(&first, &hdr, buf, max_len), !err) {
		fuzz_check(hdr.len <= max_len);
		seg.len = hdr.len;
		vbb_capture_put(out, &hdr, &seg, 1, nr++);
	}
	fuzz_check(err == VBB_E_CLOSED || err == VBB_E_FRAME);
	fuzz_check(vbb_capture_next(&first, &hdr, buf, max_len) ==
		   (err == VBB_E_CLOSED ? VBB_E_CLOSED : VBB_E_BROKEN));
	fclose(out);

	/* side by side: the same messages, and then the end */
	rewind(in);
	vbb_capture_open(&first, in);
	out = fmemopen(copy, len, "rb");
	if (!out)
		abort();
	vbb_capture_open(&second, out);
	while (nr--) {
		fuzz_check(!vbb_capture_next(&first, &hdr, buf, max_len));
		fuzz_check(!vbb_capture_next(&second, &again, buf2, max_len));
		fuzz_check(!memcmp(&hdr, &again, sizeof(hdr)) && !memcmp(buf, buf2, hdr.len));
	}
	fuzz_check(vbb_capture_next(&second, &again, buf2, max_len) == VBB_E_CLOSED);
	fclose(in);
	fclose(out);
	free(copy);
	free(buf);
	free(buf2);
	return 0;
}
