// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause
#include "sink.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

int vbb_sink_init(struct vbb_sink *s, int fd)
{
	int flags = fd < 0 ? 0 : fcntl(fd, F_GETFL);

	if (flags < 0 || (fd >= 0 && fcntl(fd, F_SETFL, flags | O_NONBLOCK)))
		return -errno;
	s->fd = fd;
	s->nr_runs = 0;
	s->nr_pages = 0;
	s->run.nr_pages = 0;
	s->len = 0;
	s->done = 0;
	return 0;
}

void vbb_sink_close(struct vbb_sink *s)
{
	if (s->fd >= 0)
		close(s->fd);
	s->fd = -1;
	s->len = 0;
	s->done = 0;
}

static void line(struct vbb_sink *s, const char *head, const struct vbb_range *r)
{
	if (s->fd >= 0)
		s->len += (size_t)snprintf(s->buf + s->len, VBB_SINK_LEN - s->len,
					   "%s0x%" PRIx64 " %" PRIu64 "\n", head, r->pfn,
					   r->nr_pages);
}

void vbb_sink_ram(struct vbb_sink *s, const struct vbb_range *r)
{
	line(s, "# ram ", r);
}

static void run_end(struct vbb_sink *s)
{
	if (!s->run.nr_pages)
		return;
	s->nr_runs++;
	s->nr_pages += s->run.nr_pages;
	line(s, "", &s->run);
	s->run.nr_pages = 0;
}

void vbb_sink_put(struct vbb_sink *s, const struct vbb_range *r)
{
	if (s->run.nr_pages && vbb_range_merge(&s->run, r))
		return;
	run_end(s);
	s->run = *r;
}

static int write_out(struct vbb_sink *s)
{
	ssize_t n;

	while (s->done < s->len) {
		n = write(s->fd, s->buf + s->done, s->len - s->done);
		if (n >= 0)
			s->done += (size_t)n;
		else if (errno != EINTR)
			return errno == EWOULDBLOCK ? -EAGAIN : -errno;
	}
	s->len = 0;
	s->done = 0;
	return 0;
}

int vbb_sink_room(struct vbb_sink *s)
{
	return s->len <= VBB_SINK_LEN - VBB_SINK_LINE_LEN ? 0 : write_out(s);
}

int vbb_sink_flush(struct vbb_sink *s)
{
	/* a line of its own: there is room, or it has to be made first */
	int err = vbb_sink_room(s);

	if (err)
		return err;
	run_end(s);
	return write_out(s);
}
