// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause
#include <virtio_balloon_bmap/error.h>

struct vbb_err_row {
	int err;
	const char *name;
	const char *text;
};

/* The row of an error; the last one where there is no such error */
static const struct vbb_err_row *vbb_err_find(int err)
{
	static const struct vbb_err_row rows[] = {
#define VBB_ERR_ROW(name, number, text) { number, #name, text },
		VBB_ERRORS(VBB_ERR_ROW)
#undef VBB_ERR_ROW
		{ 0, NULL, "unknown error" }
	};
	const struct vbb_err_row *row = rows;

	while (row->err && row->err != err)
		row++;
	return row;
}

const char *vbb_err_name(int err)
{
	return err >= 0 ? "OK" : vbb_err_find(err)->name;
}

const char *vbb_strerror(int err)
{
	return err >= 0 ? "success" : vbb_err_find(err)->text;
}
