// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause
#include <virtio_balloon_bmap/request.h>

int vbb_req_load(struct vbb_req *req, const struct vbb_seg *seg, size_t nr_segs, vbb_u64 used_len)
{
	vbb_u64 reserved;
	struct vbb_cur c;

	vbb_cur_init(&c, seg, nr_segs);
	req->cmd = 0;
	req->id = 0;
	req->arg0 = 0;
	req->arg1 = 0;
	if (c.left < used_len || used_len < VBB_REQ_HDR_LEN)
		return VBB_E_LEN;
	req->cmd = vbb_cur_load16(&c);
	reserved = vbb_cur_load16(&c);
	reserved |= vbb_cur_load32(&c);
	req->id = vbb_cur_load64(&c);
	if (!req->id)
		return VBB_E_REQ_ID;
	if (used_len == VBB_REQ_LEN) {
		req->arg0 = vbb_cur_load64(&c);
		req->arg1 = vbb_cur_load64(&c);
	} else if (used_len != VBB_REQ_HDR_LEN) {
		return VBB_E_LEN;
	}
	return reserved ? VBB_E_RESERVED : 0;
}

int vbb_req_store(const struct vbb_req *req, const struct vbb_seg *seg, size_t nr_segs)
{
	vbb_u64 len = req->arg0 || req->arg1 ? VBB_REQ_LEN : VBB_REQ_HDR_LEN;
	struct vbb_cur c;

	vbb_cur_init(&c, seg, nr_segs);
	if (!req->id)
		return VBB_E_INVAL;
	if (c.left < len)
		return VBB_E_TOOSMALL;
	vbb_cur_store(&c, req->cmd, 2);
	vbb_cur_store(&c, 0, 6);
	vbb_cur_store64(&c, req->id);
	if (len == VBB_REQ_LEN) {
		vbb_cur_store64(&c, req->arg0);
		vbb_cur_store64(&c, req->arg1);
	}
	return (int)len;
}
