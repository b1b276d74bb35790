/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause */
/* A queue of links that lie first in whatever is queued; private to the transports. */
#ifndef VBB_TRANSPORTS_FIFO_H
#define VBB_TRANSPORTS_FIFO_H

#include <stddef.h>

struct vbb_link {
	struct vbb_link *next;
};

struct vbb_fifo {
	struct vbb_link *first, *last;	/* last counts only while there is a first */
};

static inline void vbb_fifo_put(struct vbb_fifo *f, struct vbb_link *l)
{
	l->next = NULL;
	if (f->first)
		f->last->next = l;
	else
		f->first = l;
	f->last = l;
}

/* Takes the first; there is one. */
static inline struct vbb_link *vbb_fifo_take(struct vbb_fifo *f)
{
	struct vbb_link *l = f->first;

	f->first = l->next;
	return l;
}

#endif
