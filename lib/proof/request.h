/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause */
/*
 * The two machines. What makes an id that was given up stay so is vbb_host_later(): each call may
 * open ids that were never used, and otherwise only forget and close. So whatever calls follow, an
 * id that is forgotten is never applied, and one that is closed never ends again.
 */

/*@ predicate vbb_host_used(struct vbb_host h, integer id) =
  @   1 <= id && (h.next_id == 0 || id < h.next_id);
  @ predicate vbb_host_open_id(struct vbb_host h, integer id) =
  @   h.work.state == VBB_HOST_OPEN && h.work.id == id ||
  @   h.cancel.state == VBB_HOST_OPEN && h.cancel.id == id;
  @ predicate vbb_host_known(struct vbb_host h, integer id) =
  @   h.work.state != VBB_HOST_CLOSED && h.work.id == id ||
  @   h.cancel.state != VBB_HOST_CLOSED && h.cancel.id == id;
  @ predicate vbb_host_ids_ok(struct vbb_host h) =
  @   (h.work.state != VBB_HOST_CLOSED ==> vbb_host_used(h, h.work.id)) &&
  @   (h.cancel.state != VBB_HOST_CLOSED ==> vbb_host_used(h, h.cancel.id)) &&
  @   (h.work.state != VBB_HOST_CLOSED && h.cancel.state != VBB_HOST_CLOSED ==>
  @     h.work.id != h.cancel.id);
  @ predicate vbb_host_cmds_ok(struct vbb_host h) =
  @   h.work.state <= VBB_HOST_FORGOTTEN && h.cancel.state <= VBB_HOST_OPEN &&
  @   (h.work.state != VBB_HOST_CLOSED ==> h.work.cmd != VIRTIO_BALLOON_CMD_CANCEL) &&
  @   (h.cancel.state != VBB_HOST_CLOSED ==> h.cancel.cmd == VIRTIO_BALLOON_CMD_CANCEL);
  @ predicate vbb_host_applying_ok(struct vbb_host h) =
  @   h.applying_id != 0 ==> vbb_host_used(h, h.applying_id) &&
  @     !(h.work.state == VBB_HOST_FORGOTTEN && h.work.id == h.applying_id);
  @ predicate vbb_host_ok(struct vbb_host h) =
  @   vbb_host_ids_ok(h) && vbb_host_cmds_ok(h) && vbb_host_applying_ok(h);
  @ predicate vbb_host_later(struct vbb_host h, struct vbb_host now) =
  @   \forall integer id; vbb_host_used(h, id) ==> vbb_host_used(now, id) &&
  @     (vbb_host_open_id(now, id) ==> vbb_host_open_id(h, id)) &&
  @     (vbb_host_known(now, id) ==> vbb_host_known(h, id));
  @
  @ predicate vbb_guest_open_id(struct vbb_guest g, integer id) =
  @   g.state != VBB_GUEST_IDLE && g.req.id == id ||
  @   \exists integer i; 0 <= i < g.nr_ends && g.end[i].id == id;
  @ predicate vbb_guest_ids_ok(struct vbb_guest g) =
  @   (\forall integer i, j; 0 <= i < j < g.nr_ends ==> g.end[i].id != g.end[j].id) &&
  @   (\forall integer i; 0 <= i < g.nr_ends && g.state != VBB_GUEST_IDLE ==>
  @     g.end[i].id != g.req.id);
  @ predicate vbb_guest_flags_ok(struct vbb_guest g) =
  @   \forall integer i; 0 <= i < g.nr_ends ==> 1 <= g.end[i].flag <= 5;
  @ logic integer vbb_guest_nr_open(struct vbb_guest g) =
  @   g.nr_ends + (g.state != VBB_GUEST_IDLE ? 1 : 0);
  @ predicate vbb_guest_ok(struct vbb_guest g) =
  @   g.state <= VBB_GUEST_STOPPING && vbb_guest_nr_open(g) <= VBB_GUEST_NR_ENDS &&
  @   vbb_guest_ids_ok(g) && vbb_guest_flags_ok(g);
  @ predicate vbb_guest_keeps(struct vbb_guest g, struct vbb_guest now) =
  @   g.nr_ends <= now.nr_ends &&
  @   \forall integer i; 0 <= i < g.nr_ends ==> now.end[i] == g.end[i];
  @*/

/*@ requires \valid(req) && vbb_segs(seg, nr_segs) && vbb_readable(seg, nr_segs);
  @ assigns *req;
  @ ensures \result \in {0, VBB_E_LEN, VBB_E_REQ_ID, VBB_E_RESERVED};
  @ ensures id: \result == 0 ==> req->id != 0;
  @*/
int vbb_req_load(struct vbb_req *req, const struct vbb_seg *seg, size_t nr_segs, vbb_u64 used_len);

/*@ requires \valid_read(req) && vbb_segs(seg, nr_segs) && vbb_writable(seg, nr_segs);
  @ assigns \nothing;
  @ ensures \result \in {16, 32, VBB_E_INVAL, VBB_E_TOOSMALL};
  @*/
int vbb_req_store(const struct vbb_req *req, const struct vbb_seg *seg, size_t nr_segs);

/*@ assigns \nothing;
  @ ensures 2 <= \result <= 5;
  @*/
static inline vbb_u32 vbb_vq_host_request(vbb_u64 offered);

/*@ assigns \nothing; */
static inline vbb_u64 vbb_features_check(vbb_u64 features);

/*@ requires \valid(h);
  @ assigns *h;
  @ ensures ok: vbb_host_ok(*h);
  @ ensures none: \forall integer id; !vbb_host_known(*h, id);
  @ ensures h->next_id >= 1;
  @*/
void vbb_host_init(struct vbb_host *h, vbb_u64 next_id);

/*@ requires \valid(h);
  @ assigns h->applying_id, h->work.state, h->cancel.state;
  @ ensures ok: vbb_host_ok(*h);
  @ ensures later: vbb_host_later(\old(*h), *h);
  @ ensures none: h->applying_id == 0 && \forall integer id; !vbb_host_known(*h, id);
  @*/
void vbb_host_reset(struct vbb_host *h);

/*@ requires \valid(h) && \valid(req) && \separated(h, req) && vbb_host_ok(*h);
  @ assigns h->work, h->next_id, *req;
  @ ensures ok: vbb_host_ok(*h);
  @ ensures later: vbb_host_later(\old(*h), *h);
  @ ensures \result \in {0, VBB_E_INVAL, VBB_E_STATE, VBB_E_AGAIN};
  @ ensures new: \result == 0 ==> \old(h->work.state) == VBB_HOST_CLOSED &&
  @   !\old(vbb_host_used(*h, h->next_id)) && req->id == \old(h->next_id) &&
  @   vbb_host_open_id(*h, req->id);
  @ ensures not: \result != 0 ==> *h == \old(*h);
  @*/
int vbb_host_open(struct vbb_host *h, vbb_u16 cmd, vbb_u64 arg0, vbb_u64 arg1, struct vbb_req *req);

/*@ requires \valid(h) && \valid(req) && \separated(h, req) && vbb_host_ok(*h);
  @ assigns *h, *req;
  @ ensures ok: vbb_host_ok(*h);
  @ ensures later: vbb_host_later(\old(*h), *h);
  @ ensures \result \in {0, VBB_E_STATE, VBB_E_AGAIN};
  @ ensures new: \result == 0 ==> req->id == \old(h->next_id) && vbb_host_open_id(*h, req->id);
  @ ensures forgotten: \result == 0 ==>
  @   h->work.state == VBB_HOST_FORGOTTEN && h->applying_id != h->work.id;
  @ ensures not: \result != 0 ==> *h == \old(*h);
  @*/
int vbb_host_cancel(struct vbb_host *h, struct vbb_req *req);

/*@ requires \valid(h) && vbb_host_ok(*h);
  @ assigns h->applying_id, h->work.state;
  @ ensures ok: vbb_host_ok(*h);
  @ ensures later: vbb_host_later(\old(*h), *h);
  @ ensures forgotten: h->applying_id == 0 &&
  @   (h->work.state == VBB_HOST_OPEN ==> h->work.cmd != VIRTIO_BALLOON_CMD_GET_UNUSED_PAGES);
  @*/
void vbb_host_forget(struct vbb_host *h);

/*@ requires \valid(h) && vbb_host_ok(*h);
  @ assigns *h;
  @ ensures ok: vbb_host_ok(*h);
  @ ensures later: vbb_host_later(\old(*h), *h);
  @ ensures \result == 0 || \result == VBB_E_STATE;
  @ ensures known: \result == 0 <==> \old(vbb_host_known(*h, id));
  @ ensures closed: !vbb_host_known(*h, id) && (id != 0 ==> h->applying_id != id);
  @*/
int vbb_host_close(struct vbb_host *h, vbb_u64 id);

/*@ requires \valid(h) && \valid_read(hdr) && \separated(h, hdr) && vbb_host_ok(*h);
  @ assigns *h;
  @ ensures ok: vbb_host_ok(*h);
  @ ensures later: vbb_host_later(\old(*h), *h);
  @ ensures \result \in {VBB_E_REQ_STALE, VBB_E_REQ_CMD, VBB_E_PAYLOAD, VBB_E_FORMAT,
  @   0, VBB_HOST_APPLY, VBB_HOST_END, VBB_HOST_APPLY + VBB_HOST_END};
  @ ensures stale: \result == VBB_E_REQ_STALE <==> !\old(vbb_host_known(*h, hdr->req_id));
  @ ensures apply: \result \in {VBB_HOST_APPLY, VBB_HOST_APPLY + VBB_HOST_END} ==>
  @   \old(vbb_host_open_id(*h, hdr->req_id)) && h->applying_id == hdr->req_id;
  @ ensures drop: !(\result \in {VBB_HOST_APPLY, VBB_HOST_APPLY + VBB_HOST_END}) ==>
  @   h->applying_id == 0;
  @ ensures end: \result \in {VBB_HOST_END, VBB_HOST_APPLY + VBB_HOST_END} <==>
  @   \old(vbb_host_known(*h, hdr->req_id)) && !vbb_host_known(*h, hdr->req_id);
  @ ensures fault: \result < 0 ==> h->work == \old(h->work) && h->cancel == \old(h->cancel);
  @*/
int vbb_host_accept(struct vbb_host *h, const struct vbb_hdr *hdr);

/*@ requires \valid_read(h);
  @ assigns \nothing;
  @ ensures \result != 0 <==> h->applying_id != 0;
  @*/
static inline bool vbb_host_may_apply(const struct vbb_host *h);

/*@ requires \valid(g);
  @ assigns g->state, g->nr_ends;
  @ ensures ok: vbb_guest_ok(*g);
  @ ensures vbb_guest_nr_open(*g) == 0;
  @*/
void vbb_guest_init(struct vbb_guest *g);

/*@ requires \valid_read(g) && g->nr_ends <= VBB_GUEST_NR_ENDS;
  @ assigns \nothing;
  @ ensures \result != 0 <==> vbb_guest_nr_open(*g) < VBB_GUEST_NR_ENDS;
  @*/
static inline bool vbb_guest_ready(const struct vbb_guest *g);

/*@ requires \valid(g) && \valid_read(req) && \separated(g, req) && vbb_guest_ok(*g) && err <= 0;
  @ assigns *g;
  @ ensures ok: vbb_guest_ok(*g);
  @ ensures keeps: vbb_guest_keeps(\old(*g), *g);
  @ ensures \result < VBB_GUEST_NR_VERDICTS;
  @ ensures one: vbb_guest_nr_open(*g) == vbb_guest_nr_open(\old(*g)) + 1 &&
  @     !\old(vbb_guest_open_id(*g, req->id)) && vbb_guest_open_id(*g, req->id) ||
  @   \result < 0 && *g == \old(*g);
  @ ensures answered: \result >= 0 ==> vbb_guest_nr_open(*g) == vbb_guest_nr_open(\old(*g)) + 1;
  @ ensures served: \result == VBB_GUEST_SERVE <==>
  @   \old(g->state) == VBB_GUEST_IDLE && g->state != VBB_GUEST_IDLE;
  @*/
int vbb_guest_take(struct vbb_guest *g, const struct vbb_req *req, int err);

/*@ requires \valid(g) && vbb_guest_ok(*g);
  @ assigns *g;
  @ ensures ok: vbb_guest_ok(*g);
  @ ensures keeps: vbb_guest_keeps(\old(*g), *g);
  @ ensures \result \in {0, VBB_E_STATE, VBB_E_INVAL};
  @ ensures one: \result == 0 ==> \old(g->state) != VBB_GUEST_IDLE &&
  @   g->state == VBB_GUEST_IDLE && g->nr_ends == \old(g->nr_ends) + 1 &&
  @   g->end[g->nr_ends - 1].id == \old(g->req.id) && g->end[g->nr_ends - 1].flag == flag;
  @ ensures not: \result != 0 ==> *g == \old(*g);
  @*/
int vbb_guest_end(struct vbb_guest *g, vbb_u16 flag);

/*@ requires \valid_read(g) && \valid(hdr) && \separated(g, hdr) && vbb_guest_ok(*g);
  @ assigns *hdr;
  @ ensures \result != 0 <==> g->nr_ends >= 1;
  @ ensures \result != 0 ==> hdr->req_id == g->end[0].id && hdr->cmd == g->end[0].cmd &&
  @   hdr->flag == g->end[0].flag && hdr->bmap_len == 0;
  @*/
bool vbb_guest_next_end(const struct vbb_guest *g, struct vbb_hdr *hdr);

/*@ requires \valid(g) && vbb_guest_ok(*g);
  @ assigns g->nr_ends, g->end[0 .. VBB_GUEST_NR_ENDS - 1];
  @ ensures ok: vbb_guest_ok(*g);
  @ ensures none: \old(g->nr_ends) == 0 ==> *g == \old(*g);
  @ ensures less: \old(g->nr_ends) >= 1 ==> g->nr_ends == \old(g->nr_ends) - 1;
  @ ensures first: \forall integer i; 0 <= i < g->nr_ends && \old(g->nr_ends) >= 1 ==>
  @   g->end[i] == \old(*g).end[i + 1];
  @*/
void vbb_guest_end_sent(struct vbb_guest *g);
