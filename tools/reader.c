// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause
#include "vbb.h"

#include <stdlib.h>

/* A whole number of frames, so that a cut between pieces never falls into one */
#define PIECE_LEN 65536
#define BUF_LEN (VBB_HDR_LEN + VIRTIO_BALLOON_BMAP_LEN_MAX)

int vbb_reader_init(struct vbb_reader *r, int argc, char **argv, int optind)
{
	int err = vbb_in_open(&r->in, argc, argv, optind);

	if (err)
		return err;
	r->len = 0;
	r->nr = 0;
	r->file_off = 0;
	r->msg_off = 0;
	r->lost = false;
	r->buf = malloc(BUF_LEN);
	if (r->buf)
		return 0;
	vbb_warn("no memory");
	vbb_in_close(&r->in);
	return VBB_EXIT_OSERR;
}

static bool next_piece(struct vbb_reader *r)
{
	r->msg_off = r->file_off;
	r->nr = 1;
	r->len = fread(r->buf, 1, PIECE_LEN, r->in.f);
	return r->len && !ferror(r->in.f);
}

static bool next_msg(struct vbb_reader *r)
{
	struct vbb_hdr hdr;
	struct vbb_seg seg;
	struct vbb_cur cur;

	if (r->lost)
		return false;
	r->nr++;
	r->len = fread(r->buf, 1, VBB_HDR_LEN, r->in.f);
	if (!r->len || ferror(r->in.f))
		return false;
	seg.base = r->buf;
	seg.len = r->len;
	vbb_cur_init(&cur, &seg, 1);
	if (vbb_hdr_load(&hdr, &cur))
		return true;
	r->lost = hdr.bmap_len > VIRTIO_BALLOON_BMAP_LEN_MAX;
	if (!r->lost)
		r->len += fread(r->buf + VBB_HDR_LEN, 1, (size_t)hdr.bmap_len, r->in.f);
	return !ferror(r->in.f);
}

bool vbb_reader_next(struct vbb_reader *r)
{
	r->file_off += r->len;
	return r->framing == VBB_FRAMING_PFNS ? next_piece(r) : next_msg(r);
}

int vbb_reader_dec_init(const struct vbb_reader *r, struct vbb_dec *d,
			const struct vbb_dec_cfg *cfg, struct vbb_seg *seg)
{
	seg->base = r->buf;
	seg->len = r->len;
	if (r->framing == VBB_FRAMING_MSGS)
		return vbb_dec_init(d, cfg, seg, 1);
	vbb_dec_init_pfns(d, cfg, seg, 1);
	return 0;
}

int vbb_reader_fini(struct vbb_reader *r)
{
	free(r->buf);
	return vbb_in_close(&r->in);
}
