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
	if (c.left < VBB_REQ_HDR_LEN || used_len < VBB_REQ_HDR_LEN)
		return VBB_E_LEN;
	req->cmd = vbb_cur_load16(&c);
	reserved = vbb_cur_load16(&c);
	reserved |= vbb_cur_load32(&c);
	req->id = vbb_cur_load64(&c);
	if (!req->id)
		return VBB_E_REQ_ID;
	if (used_len == VBB_REQ_LEN && c.left >= VBB_REQ_LEN - VBB_REQ_HDR_LEN) {
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

/*@ assigns \nothing;
  @ ensures \result \in {0, VBB_E_CMD, VBB_E_REQ_ARG};
  @ ensures \result != VBB_E_CMD <==> cmd == VIRTIO_BALLOON_CMD_GET_UNUSED_PAGES ||
  @   cmd == VIRTIO_BALLOON_CMD_DROP_CACHE || cmd == VIRTIO_BALLOON_CMD_CANCEL;
  @*/
/* Is there such a command, with such arguments? 0, or VBB_E_CMD or VBB_E_REQ_ARG */
static int vbb_req_check(vbb_u16 cmd, vbb_u64 arg0, vbb_u64 arg1)
{
	const vbb_u64 drop = VIRTIO_BALLOON_DROP_PAGE_CACHE | VIRTIO_BALLOON_DROP_SLAB;

	if (cmd == VIRTIO_BALLOON_CMD_GET_UNUSED_PAGES)
		return 0;
	if (cmd == VIRTIO_BALLOON_CMD_DROP_CACHE)
		return arg0 & ~drop ? VBB_E_REQ_ARG : 0;
	if (cmd == VIRTIO_BALLOON_CMD_CANCEL)
		return arg1 ? VBB_E_REQ_ARG : 0;
	return VBB_E_CMD;
}

void vbb_host_reset(struct vbb_host *h)
{
	h->applying_id = 0;
	h->work.state = VBB_HOST_CLOSED;
	h->cancel.state = VBB_HOST_CLOSED;
}

void vbb_host_init(struct vbb_host *h, vbb_u64 next_id)
{
	h->next_id = next_id ? next_id : 1;
	vbb_host_reset(h);
}

/*@ requires \valid(h) && \valid(r) && \valid(req) && \separated(r, req);
  @ requires r == &h->work || r == &h->cancel;
  @ requires \separated(h, req) && h->next_id != 0;
  @ assigns *r, req->id, h->next_id;
  @ ensures r->state == VBB_HOST_OPEN && r->cmd == req->cmd;
  @ ensures r->id == req->id == \old(h->next_id);
  @ ensures h->next_id == (\old(h->next_id) == 0xffffffffffffffff ? 0 : \old(h->next_id) + 1);
  @*/
/* Give a request an id. The counter stops at 0, so that no id comes twice. */
static void vbb_host_ask(struct vbb_host *h, struct vbb_host_req *r, struct vbb_req *req)
{
	r->state = VBB_HOST_OPEN;
	r->cmd = req->cmd;
	r->id = h->next_id;
	req->id = h->next_id;
	h->next_id = h->next_id == ~(vbb_u64)0 ? 0 : h->next_id + 1;
}

int vbb_host_open(struct vbb_host *h, vbb_u16 cmd, vbb_u64 arg0, vbb_u64 arg1, struct vbb_req *req)
{
	if (cmd == VIRTIO_BALLOON_CMD_CANCEL || vbb_req_check(cmd, arg0, arg1))
		return VBB_E_INVAL;
	if (!h->next_id)
		return VBB_E_STATE;
	if (h->work.state != VBB_HOST_CLOSED)
		return VBB_E_AGAIN;
	req->cmd = cmd;
	req->arg0 = arg0;
	req->arg1 = arg1;
	vbb_host_ask(h, &h->work, req);
	return 0;
}

int vbb_host_cancel(struct vbb_host *h, struct vbb_req *req)
{
	if (!h->next_id || h->work.state == VBB_HOST_CLOSED)
		return VBB_E_STATE;
	if (h->cancel.state != VBB_HOST_CLOSED)
		return VBB_E_AGAIN;
	h->work.state = VBB_HOST_FORGOTTEN;
	if (h->applying_id == h->work.id)
		h->applying_id = 0;
	req->cmd = VIRTIO_BALLOON_CMD_CANCEL;
	req->arg0 = h->work.id;
	req->arg1 = 0;
	vbb_host_ask(h, &h->cancel, req);
	return 0;
}

void vbb_host_forget(struct vbb_host *h)
{
	h->applying_id = 0;
	if (h->work.state == VBB_HOST_OPEN && h->work.cmd == VIRTIO_BALLOON_CMD_GET_UNUSED_PAGES)
		h->work.state = VBB_HOST_FORGOTTEN;
}

/*@ requires \valid(h);
  @ assigns \result \from h, *h, id;
  @ ensures \result == &h->work || \result == &h->cancel || \result == \null;
  @ ensures \result != \null <==> vbb_host_known(*h, id);
  @ ensures \result != \null ==> \result->id == id && \result->state != VBB_HOST_CLOSED;
  @*/
static struct vbb_host_req *vbb_host_find(struct vbb_host *h, vbb_u64 id)
{
	if (h->work.state != VBB_HOST_CLOSED && h->work.id == id)
		return &h->work;
	if (h->cancel.state != VBB_HOST_CLOSED && h->cancel.id == id)
		return &h->cancel;
	return NULL;
}

int vbb_host_close(struct vbb_host *h, vbb_u64 id)
{
	struct vbb_host_req *r = vbb_host_find(h, id);

	/* an answer that ended it may still be applied */
	if (h->applying_id == id)
		h->applying_id = 0;
	if (!r)
		return VBB_E_STATE;
	r->state = VBB_HOST_CLOSED;
	return 0;
}

/*@ requires \valid_read(hdr);
  @ assigns \nothing;
  @ ensures \result \in {0, VBB_E_PAYLOAD, VBB_E_FORMAT};
  @ ensures \result == 0 && cmd == VIRTIO_BALLOON_CMD_CANCEL ==> hdr->bmap_len == 0;
  @*/
/* Does a command answer with such a payload? 0, or the fault */
static int vbb_req_check_payload(vbb_u16 cmd, const struct vbb_hdr *hdr)
{
	bool values = hdr->format == VIRTIO_BALLOON_FORMAT_VALUES;

	if (!hdr->bmap_len)
		return 0;
	if (cmd == VIRTIO_BALLOON_CMD_CANCEL)
		return VBB_E_PAYLOAD;
	return values == (cmd == VIRTIO_BALLOON_CMD_DROP_CACHE) ? 0 : VBB_E_FORMAT;
}

int vbb_host_accept(struct vbb_host *h, const struct vbb_hdr *hdr)
{
	struct vbb_host_req *r = vbb_host_find(h, hdr->req_id);
	int verdict = 0;
	int err;

	h->applying_id = 0;
	if (!r)
		return VBB_E_REQ_STALE;
	if (hdr->cmd != r->cmd)
		return VBB_E_REQ_CMD;
	err = vbb_req_check_payload(r->cmd, hdr);
	if (err)
		return err;
	if (hdr->bmap_len && r->state == VBB_HOST_OPEN) {
		verdict |= VBB_HOST_APPLY;
		h->applying_id = r->id;
	}
	if (vbb_flag_ends(hdr->flag)) {
		verdict |= VBB_HOST_END;
		r->state = VBB_HOST_CLOSED;
	}
	return verdict;
}

void vbb_guest_init(struct vbb_guest *g)
{
	g->state = VBB_GUEST_IDLE;
	g->nr_ends = 0;
}

/*@ requires \valid_read(g) && g->nr_ends <= VBB_GUEST_NR_ENDS;
  @ assigns \nothing;
  @ ensures \result != 0 <==> vbb_guest_open_id(*g, id);
  @*/
/* Is a request open: served, or its end not sent yet? */
static bool vbb_guest_is_open(const struct vbb_guest *g, vbb_u64 id)
{
	vbb_u32 i;

	if (g->state != VBB_GUEST_IDLE && g->req.id == id)
		return true;
	/*@ loop invariant 0 <= i <= g->nr_ends;
	  @ loop invariant \forall integer k; 0 <= k < i ==> g->end[k].id != id;
	  @ loop assigns i;
	  @ loop variant g->nr_ends - i;
	  @*/
	for (i = 0; i < g->nr_ends; i++)
		if (g->end[i].id == id)
			return true;
	return false;
}

/*@ requires \valid(g) && \valid_read(req) && g->nr_ends < VBB_GUEST_NR_ENDS;
  @ assigns g->nr_ends, g->end[g->nr_ends];
  @ ensures g->nr_ends == \old(g->nr_ends) + 1;
  @ ensures g->end[\old(g->nr_ends)].id == req->id && g->end[\old(g->nr_ends)].flag == flag;
  @*/
/* There is room: vbb_guest_ready() kept it. */
static void vbb_guest_put_end(struct vbb_guest *g, const struct vbb_req *req, vbb_u16 flag)
{
	struct vbb_guest_end *end = &g->end[g->nr_ends];

	end->id = req->id;
	end->cmd = req->cmd;
	end->flag = flag;
	g->nr_ends++;
}

/*@ requires \valid(g) && \valid_read(req) && \separated(g, req) && vbb_guest_ok(*g);
  @ requires vbb_guest_nr_open(*g) < VBB_GUEST_NR_ENDS && !vbb_guest_open_id(*g, req->id);
  @ assigns g->state, g->nr_ends, g->end[g->nr_ends];
  @ ensures ok: vbb_guest_ok(*g);
  @ ensures keeps: vbb_guest_keeps(\old(*g), *g);
  @ ensures \result == VBB_GUEST_CANCEL || \result == VBB_GUEST_CANCEL_NONE;
  @ ensures one: g->nr_ends == \old(g->nr_ends) + 1 && g->end[g->nr_ends - 1].id == req->id;
  @ ensures state: g->state == VBB_GUEST_IDLE <==> \old(g->state) == VBB_GUEST_IDLE;
  @*/
static int vbb_guest_cancel(struct vbb_guest *g, const struct vbb_req *req)
{
	if (!vbb_guest_is_open(g, req->arg0)) {
		vbb_guest_put_end(g, req, VIRTIO_BALLOON_FLAG_FAILED);
		return VBB_GUEST_CANCEL_NONE;
	}
	/* one that has ended already keeps its end */
	if (g->state != VBB_GUEST_IDLE && g->req.id == req->arg0)
		g->state = VBB_GUEST_STOPPING;
	vbb_guest_put_end(g, req, VIRTIO_BALLOON_FLAG_DONE);
	return VBB_GUEST_CANCEL;
}

int vbb_guest_take(struct vbb_guest *g, const struct vbb_req *req, int err)
{
	if (!vbb_guest_ready(g))
		return VBB_E_STATE;
	if (!req->id)
		return err ? err : VBB_E_REQ_ID;
	if (vbb_guest_is_open(g, req->id))
		return VBB_E_REQ_OPEN;
	if (!err)
		err = vbb_req_check(req->cmd, req->arg0, req->arg1);
	if (err == VBB_E_CMD) {
		vbb_guest_put_end(g, req, VIRTIO_BALLOON_FLAG_UNSUPPORTED);
		return VBB_GUEST_UNSUPPORTED;
	}
	if (err) {
		vbb_guest_put_end(g, req, VIRTIO_BALLOON_FLAG_FAILED);
		return err;
	}
	if (req->cmd == VIRTIO_BALLOON_CMD_CANCEL)
		return vbb_guest_cancel(g, req);
	if (g->state != VBB_GUEST_IDLE) {
		vbb_guest_put_end(g, req, VIRTIO_BALLOON_FLAG_BUSY);
		return VBB_GUEST_BUSY;
	}
	g->state = VBB_GUEST_SERVING;
	g->req.cmd = req->cmd;
	g->req.id = req->id;
	g->req.arg0 = req->arg0;
	g->req.arg1 = req->arg1;
	return VBB_GUEST_SERVE;
}

int vbb_guest_end(struct vbb_guest *g, vbb_u16 flag)
{
	if (g->state == VBB_GUEST_IDLE)
		return VBB_E_STATE;
	if (!vbb_flag_ends(flag))
		return VBB_E_INVAL;
	if (flag == VIRTIO_BALLOON_FLAG_CANCELLED && g->state != VBB_GUEST_STOPPING)
		return VBB_E_INVAL;
	g->state = VBB_GUEST_IDLE;
	vbb_guest_put_end(g, &g->req, flag);
	return 0;
}

bool vbb_guest_next_end(const struct vbb_guest *g, struct vbb_hdr *hdr)
{
	if (!g->nr_ends)
		return false;
	hdr->cmd = g->end[0].cmd;
	hdr->page_shift = VIRTIO_BALLOON_PAGE_SHIFT_MIN;
	hdr->flag = g->end[0].flag;
	hdr->format = VIRTIO_BALLOON_FORMAT_BITMAP;
	hdr->req_id = g->end[0].id;
	hdr->start_pfn = 0;
	hdr->bmap_len = 0;
	return true;
}

void vbb_guest_end_sent(struct vbb_guest *g)
{
	vbb_u32 i;

	if (!g->nr_ends)
		return;
	g->nr_ends--;
	/*@ loop invariant 0 <= i <= g->nr_ends;
	  @ loop invariant \forall integer k; 0 <= k < i ==> g->end[k] == \at(*g, Pre).end[k + 1];
	  @ loop invariant \forall integer k; i <= k <= g->nr_ends ==>
	  @   g->end[k] == \at(*g, Pre).end[k];
	  @ loop assigns i, g->end[0 .. VBB_GUEST_NR_ENDS - 1];
	  @ loop variant g->nr_ends - i;
	  @*/
	for (i = 0; i < g->nr_ends; i++)
		g->end[i] = g->end[i + 1];
}
