// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause
#include "vbb.h"

#include <stdlib.h>

static bool grow(struct vbb_runs *rs)
{
	size_t room = rs->room ? 2 * rs->room : 1024;
	struct vbb_range *run = reallocarray(rs->run, room, sizeof(*run));

	if (!run)
		return false;
	rs->run = run;
	rs->room = room;
	return true;
}

int vbb_runs_add(struct vbb_runs *rs, const struct vbb_range *r)
{
	struct vbb_range *last = rs->nr ? &rs->run[rs->nr - 1] : NULL;

	if (last && r->pfn < last->pfn)
		rs->unsorted = true;
	if (last && vbb_range_merge(last, r))
		return 0;
	if (rs->nr == rs->room && !grow(rs)) {
		vbb_warn("no memory");
		return VBB_EXIT_OSERR;
	}
	rs->run[rs->nr++] = *r;
	return 0;
}

static int compare(const void *a, const void *b)
{
	const struct vbb_range *x = a, *y = b;

	return (x->pfn > y->pfn) - (x->pfn < y->pfn);
}

void vbb_runs_sort(struct vbb_runs *rs)
{
	size_t i, last = 0;

	if (!rs->unsorted)
		return;
	qsort(rs->run, rs->nr, sizeof(rs->run[0]), compare);
	for (i = 1; i < rs->nr; i++) {
		if (!vbb_range_merge(&rs->run[last], &rs->run[i]))
			rs->run[++last] = rs->run[i];
	}
	rs->nr = last + 1;
	rs->unsorted = false;
}

void vbb_runs_clear(struct vbb_runs *rs)
{
	rs->nr = 0;
	rs->unsorted = false;
}

void vbb_runs_fini(struct vbb_runs *rs)
{
	free(rs->run);
}
