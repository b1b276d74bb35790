// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause
#include <virtio_balloon_bmap/error.h>

const char *vbb_err_name(int err)
{
	if (err >= 0)
		return "OK";
	switch (err) {
#define VBB_ERR_NAME(name, number, text) case VBB_E_##name: return #name;
	VBB_ERRORS(VBB_ERR_NAME)
#undef VBB_ERR_NAME
	default:
		return NULL;
	}
}

const char *vbb_strerror(int err)
{
	if (err >= 0)
		return "success";
	switch (err) {
#define VBB_ERR_TEXT(name, number, text) case VBB_E_##name: return text;
	VBB_ERRORS(VBB_ERR_TEXT)
#undef VBB_ERR_TEXT
	default:
		return "unknown error";
	}
}
