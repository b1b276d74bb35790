/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause */
/*
 * Runs held back, and what the encoder is told of them and of a plan. This is believed, and checked
 * by tests/test_plan.c. It is little: that runs are valid and in order, that numbers of words are
 * small, and that a plan ends. That what a plan has counted is what it gives is not among it.
 */

/*@ axiomatic vbb_plans {
  @   logic integer vbb_records_left(struct vbb_plan p) reads \nothing;
  @   logic integer vbb_runs_left(struct vbb_plan p) reads \nothing;
  @   logic integer vbb_rec_alone_words(struct vbb_rec rec) reads \nothing;
  @ }
  @ predicate vbb_runs_ok(struct vbb_range run[VBB_ENC_NR_PENDING], integer nr) =
  @   0 <= nr <= VBB_ENC_NR_PENDING && (\forall integer i; 0 <= i < nr ==>
  @     run[i].nr_pages >= 1 && run[i].pfn + run[i].nr_pages <= VBB_PFN_END &&
  @     run[0].pfn <= run[i].pfn);
  @ predicate vbb_plan_ok(struct vbb_plan p) =
  @   vbb_runs_ok(p.run, p.nr_runs) && p.late_sum.nr_words <= 2 * VBB_ENC_NR_PENDING;
  @ predicate vbb_rec_ok(struct vbb_rec rec) =
  @   rec.order <= VIRTIO_BALLOON_REC_ORDER_MAX && rec.pfn < VBB_PFN_END &&
  @   rec.nr_pages <= VBB_PFN_END && rec.nr_words <= 0x20000 &&
  @   (rec.nr_words != 0 ==> rec.nr_pages == 0) && (rec.nr_words == 0 ==> rec.nr_pages >= 1);
  @ logic integer vbb_enc_todo(integer nr_pages, integer nr_runs, integer late) =
  @   3 * nr_pages + nr_runs + (late != 0 ? 1 : 0);
  @*/

/*@ requires \valid_read(rec) && vbb_rec_ok(*rec);
  @ assigns \nothing;
  @ ensures rec->nr_words == 0 ==> \result == vbb_rec_alone_words(*rec) && 1 <= \result <= 2;
  @*/
static inline vbb_u64 vbb_rec_words(const struct vbb_rec *rec);

/*@ requires \valid_read(r) && vbb_range_ok(*r);
  @ assigns \nothing;
  @ ensures \result == r->pfn + r->nr_pages;
  @*/
static inline vbb_u64 vbb_run_end(const struct vbb_range *r);

/*@ requires \valid(p);
  @ assigns p->nr_runs, p->late_sum, p->kept_sum;
  @ ensures p->nr_runs == 0 && vbb_plan_ok(*p) && p->late_sum.nr_words == 0;
  @*/
void vbb_plan_clear(struct vbb_plan *p);

/*@ requires \valid(p) && vbb_plan_ok(*p);
  @ assigns p->late[0 .. VBB_ENC_NR_PENDING - 1], p->late_sum, p->kept_sum;
  @ ensures ok: vbb_plan_ok(*p) && p->late_sum.nr_words == 0;
  @*/
size_t vbb_plan_keep(struct vbb_plan *p);

/*@ requires \valid_read(p) && \valid(r) && \valid(part) && \separated(p, r, part);
  @ requires vbb_plan_ok(*p) && vbb_range_ok(*r);
  @ assigns *r, *part;
  @ ensures ok: vbb_range_ok(*r);
  @ ensures rest: r->pfn + r->nr_pages == \old(r->pfn + r->nr_pages) && r->pfn >= \old(r->pfn);
  @ ensures none: \result == 0 ==> r->nr_pages == 0;
  @ ensures part: \result != 0 ==> part->pfn == r->pfn && 1 <= part->nr_pages <= r->nr_pages;
  @*/
bool vbb_plan_part(const struct vbb_plan *p, struct vbb_range *r, struct vbb_range *part);

/*@ requires \valid(p) && \valid_read(r) && \separated(p, r) && vbb_plan_ok(*p);
  @ requires p->nr_runs >= 1 && vbb_range_ok(*r) && r->nr_pages >= 1;
  @ assigns p->nr_runs, p->late_sum, p->run[0 .. VBB_ENC_NR_PENDING - 1],
  @   p->late[0 .. VBB_ENC_NR_PENDING - 1];
  @ ensures ok: vbb_plan_ok(*p);
  @ ensures none: \result == 0 ==> p->nr_runs == \old(p->nr_runs);
  @*/
static inline bool vbb_plan_append(struct vbb_plan *p, const struct vbb_range *r);

/*@ requires \valid(p) && \valid_read(part) && \separated(p, part) && vbb_plan_ok(*p);
  @ requires vbb_range_ok(*part) && part->nr_pages >= 1;
  @ assigns p->nr_runs, p->late_sum, p->run[0 .. VBB_ENC_NR_PENDING - 1],
  @   p->late[0 .. VBB_ENC_NR_PENDING - 1];
  @ ensures ok: vbb_plan_ok(*p);
  @ ensures added: \result != 0 ==> p->nr_runs <= \old(p->nr_runs) + 1;
  @ ensures full: \result == 0 ==> p->nr_runs == \old(p->nr_runs) == VBB_ENC_NR_PENDING &&
  @   p->late_sum.nr_words == \old(p->late_sum.nr_words);
  @*/
bool vbb_plan_add(struct vbb_plan *p, const struct vbb_range *part);

/*@ requires \valid(p) && vbb_plan_ok(*p) && nr <= p->nr_runs;
  @ assigns p->nr_runs, p->run[0 .. VBB_ENC_NR_PENDING - 1],
  @   p->late[0 .. VBB_ENC_NR_PENDING - 1];
  @ ensures ok: vbb_plan_ok(*p) && p->nr_runs == \old(p->nr_runs) - nr;
  @*/
void vbb_plan_drop(struct vbb_plan *p, size_t nr);

/*@ requires \valid_read(p) && vbb_plan_ok(*p);
  @ assigns \nothing;
  @ ensures \result <= p->late_sum.nr_words;
  @*/
vbb_u64 vbb_plan_late_words(const struct vbb_plan *p);

/*@ requires \valid_read(p) && vbb_plan_ok(*p) && \valid_read(more) && vbb_range_ok(*more);
  @ assigns \nothing;
  @ ensures \result <= 0x10000;
  @*/
vbb_u64 vbb_plan_late_words_with(const struct vbb_plan *p, const struct vbb_range *more);

/*@ requires \valid(p) && vbb_plan_ok(*p);
  @ assigns *p;
  @ ensures ok: vbb_plan_ok(*p);
  @ ensures same: p->nr_runs == \old(p->nr_runs) &&
  @   p->late_sum.nr_words == \old(p->late_sum.nr_words);
  @ ensures \result <= 0x10000;
  @*/
vbb_u64 vbb_plan_count(struct vbb_plan *p, bool late_apart);

/*@ requires \valid_read(p);
  @ assigns \nothing;
  @*/
static inline bool vbb_plan_is_simple(const struct vbb_plan *p);

/*@ requires \valid(p) && vbb_plan_ok(*p);
  @ assigns *p;
  @ ensures ok: vbb_plan_ok(*p);
  @*/
void vbb_plan_start(struct vbb_plan *p);

/*@ requires \valid(p) && \valid(rec) && \separated(p, rec) && vbb_plan_ok(*p);
  @ assigns *rec, *p;
  @ ensures ok: vbb_plan_ok(*p);
  @ ensures rec: \result != 0 ==> vbb_rec_ok(*rec);
  @ ensures ends: 0 <= vbb_records_left(*p) <= \old(vbb_records_left(*p)) &&
  @   (\result != 0 ==> vbb_records_left(*p) < \old(vbb_records_left(*p)));
  @*/
bool vbb_plan_next(struct vbb_plan *p, struct vbb_rec *rec);

/*@ requires \valid(p) && \valid(r) && \separated(p, r) && vbb_plan_ok(*p);
  @ assigns *r, *p;
  @ ensures ok: vbb_plan_ok(*p);
  @ ensures run: \result != 0 ==> vbb_range_ok(*r);
  @ ensures ends: vbb_records_left(*p) == \old(vbb_records_left(*p)) && vbb_runs_left(*p) >= 0 &&
  @   (\result != 0 ==> vbb_runs_left(*p) < \old(vbb_runs_left(*p)));
  @*/
static inline bool vbb_plan_next_run(struct vbb_plan *p, struct vbb_range *r);
