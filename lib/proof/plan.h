/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause */
/*
 * Runs held back, and what is known of a plan: that runs are valid and in order, that numbers of
 * words are small, and that a plan ends. That what a plan has counted is what it gives is not among
 * it. What is believed here of bits is proved in bit-vectors by tests/proof/leaves.smt2.
 *
 * vbb_limit is the first page that is out of range (VBB-MSG-11). It is one number throughout, as an
 * encoder has one page size; whichever it is, what is proved holds of it.
 */

/* What a call may write that gives out a run, or a record, or that plans */
#define VBB_ALL 0 .. VBB_ENC_NR_PENDING - 1
#define VBB_LEFT_OF(p) (p)->left[VBB_ALL], (p)->owner[VBB_ALL]
#define VBB_STEPS_OF(p) (p)->step[VBB_ALL]
#define VBB_PRICES_OF(p) (p)->on[VBB_ALL], (p)->price[VBB_ALL]
#define VBB_RUN_OF(p) (p)->pos, (p)->nr_kept, (p)->fresh, VBB_LEFT_OF(p), VBB_STEPS_OF(p)
#define VBB_REC_OF(p) (p)->phase, (p)->nr_left, (p)->order, (p)->orders_left, (p)->walked, \
	(p)->paid_end, VBB_RUN_OF(p)
#define VBB_PLAN_OF(p) (p)->late_apart, (p)->kind, (p)->one_words, (p)->one_pfn, \
	(p)->least, (p)->orders, VBB_PRICES_OF(p), VBB_REC_OF(p)

/*@ axiomatic vbb_limits {
  @   logic integer vbb_limit;
  @   axiom limit: 1 <= vbb_limit <= VBB_PFN_END;
  @   predicate vbb_whole(integer nr, integer order) reads \nothing;
  @   axiom whole: \forall integer nr, order;
  @     vbb_whole(nr, order) <==> nr * vbb_two(order) <= vbb_limit;
  @   axiom whole_fewer: \forall integer fewer, nr, order;
  @     0 <= order <= 63 && fewer <= nr && vbb_whole(nr, order) ==> vbb_whole(fewer, order);
  @ }
  @ axiomatic vbb_bits {
  @   axiom and_below: \forall integer a, b; 0 <= a && 0 <= b ==>
  @     0 <= (a & b) && (a & b) <= a && (a & b) <= b;
  @   axiom or_above: \forall integer a, b; 0 <= a && 0 <= b ==>
  @     a <= (a | b) && b <= (a | b) && (a | b) <= a + b;
  @   axiom two_53: vbb_two(53) == 0x20000000000000;
  @   axiom two_next: \forall integer n; 0 <= n < 64 ==> vbb_two(n + 1) == 2 * vbb_two(n);
  @   axiom two_word: \forall integer n; 0 <= n <= 58 ==> vbb_two(n + 6) == 64 * vbb_two(n);
  @ }
  @ axiomatic vbb_blocks {
  @   predicate vbb_block(integer pfn, integer nr) reads \nothing;
  @   axiom block: \forall integer pfn, nr; vbb_block(pfn, nr) <==>
  @     nr == vbb_two(vbb_lowest(nr)) && nr != VBB_PFN_END && vbb_aligned(pfn, vbb_lowest(nr));
  @   axiom block_bits: \forall integer first, nr;
  @     0 <= first <= 0xffffffffffffffff && 1 <= nr <= 0xffffffffffffffff ==>
  @     (vbb_block(first, nr) <==> ((first | nr) & (nr - 1)) == 0 && (nr & VBB_PFN_END) == 0);
  @ }
  @ predicate vbb_below(struct vbb_range r) = r.pfn + r.nr_pages <= vbb_limit;
  @ predicate vbb_run_ok(struct vbb_range r) = r.nr_pages >= 1 && vbb_below(r);
  @ predicate vbb_runs_ok(struct vbb_range run[VBB_ENC_NR_PENDING], integer nr) =
  @   0 <= nr <= VBB_ENC_NR_PENDING && (\forall integer i; 0 <= i < nr ==>
  @     run[i].nr_pages >= 1 && run[i].pfn + run[i].nr_pages <= vbb_limit) &&
  @   (\forall integer i, j; 0 <= i < j < nr ==> run[i].pfn <= run[j].pfn);
  @ predicate vbb_late_ok(struct vbb_late l) =
  @   l.nr_words <= VBB_WORDS_MAX && l.pfn <= VBB_PFN_END && l.end <= VBB_PFN_END &&
  @   (l.nr_words != 0 ==> l.edges != 0 && l.pfn < VBB_PFN_END);
  @ predicate vbb_plan_ok(struct vbb_plan p) =
  @   vbb_runs_ok(p.run, p.nr_runs) && vbb_late_ok(p.late_sum) && vbb_late_ok(p.kept_sum);
  @ predicate vbb_parts_ok(struct vbb_range left[VBB_ENC_NR_PENDING],
  @     vbb_u16 owner[VBB_ENC_NR_PENDING], integer nr) =
  @   0 <= nr <= VBB_ENC_NR_PENDING &&
  @   \forall integer i; 0 <= i < nr ==> owner[i] < VBB_ENC_NR_PENDING &&
  @     left[i].nr_pages >= 1 && left[i].pfn + left[i].nr_pages <= vbb_limit;
  @ predicate vbb_left_ok(struct vbb_plan p) = vbb_parts_ok(p.left, p.owner, p.nr_left);
  @ predicate vbb_one_ok(struct vbb_plan p) =
  @   p.order <= VIRTIO_BALLOON_REC_ORDER_MAX && p.one_pfn < VBB_PFN_END &&
  @   1 <= p.one_words <= VBB_WORDS_MAX;
  @ predicate vbb_counted(struct vbb_plan p) =
  @   p.kind <= VBB_PLAN_ORDERS && (p.kind == VBB_PLAN_ONE ==> vbb_one_ok(p)) &&
  @   (p.kind == VBB_PLAN_ORDERS ==> p.order <= VIRTIO_BALLOON_REC_ORDER_MAX &&
  @     p.orders < VBB_PFN_END);
  @ predicate vbb_in_orders(struct vbb_plan p) =
  @   vbb_left_ok(p) && p.nr_kept <= p.pos <= p.nr_left &&
  @   p.order <= VIRTIO_BALLOON_REC_ORDER_MAX && p.orders_left < VBB_PFN_END &&
  @   (p.fresh != 0 ==> p.pos < p.nr_left && p.step[p.pos] \in {2, 4, 5});
  @ predicate vbb_given(struct vbb_plan p) =
  @   p.phase <= VBB_PHASE_LATE && (p.phase == VBB_PHASE_ORDERS ==> vbb_in_orders(p)) &&
  @   (p.phase == VBB_PHASE_LEFT ? vbb_left_ok(p) && p.pos <= p.nr_left :
  @    p.phase != VBB_PHASE_ORDERS ==> p.pos <= p.nr_runs);
  @ predicate vbb_between(struct vbb_plan p) = p.phase == VBB_PHASE_ORDERS ==> p.fresh == 0;
  @ predicate vbb_in_bitmap(struct vbb_plan p) =
  @   p.phase == VBB_PHASE_ORDERS || p.phase == VBB_PHASE_LATE;
  @ predicate vbb_rec_ok(struct vbb_rec rec) =
  @   rec.order <= VIRTIO_BALLOON_REC_ORDER_MAX && (rec.nr_words != 0 ?
  @   rec.pfn < VBB_PFN_END && rec.nr_pages == 0 && rec.nr_words <= VBB_WORDS_MAX :
  @   rec.nr_pages >= 1 && rec.pfn + rec.nr_pages <= vbb_limit &&
  @   (vbb_block(rec.pfn, rec.nr_pages) ==>
  @    rec.nr_pages == vbb_two(rec.order) && vbb_aligned(rec.pfn, rec.order)));
  @ logic integer vbb_orders_left(struct vbb_plan p) =
  @   4096 * p.orders_left + 2 * (p.nr_left - p.pos) + (p.fresh != 0 ? 0 : 1);
  @ logic integer vbb_records_left(struct vbb_plan p) =
  @   p.phase == VBB_PHASE_ORDERS ? 8192 + vbb_orders_left(p) :
  @   p.phase == VBB_PHASE_LEFT ? 2048 + (p.nr_left - p.pos) : p.nr_runs - p.pos;
  @ logic integer vbb_runs_left(struct vbb_plan p) =
  @   p.phase == VBB_PHASE_ORDERS ?
  @     2 * (p.nr_left - p.pos) + (p.pos < p.nr_left && p.step[p.pos] == 5 ? 1 : 0) :
  @   p.phase == VBB_PHASE_LATE ? p.nr_runs - p.pos : 0;
  @ logic integer vbb_enc_todo(integer nr_pages, integer nr_runs, integer late) =
  @   3 * nr_pages + nr_runs + (late != 0 ? 1 : 0);
  @*/

/*@ assigns \nothing;
  @ ensures \result == (a < b ? a : b);
  @*/
static inline vbb_u64 vbb_min(vbb_u64 a, vbb_u64 b);

/*@ assigns \nothing;
  @ ensures \result == (a > b ? a : b);
  @*/
static inline vbb_u64 vbb_max(vbb_u64 a, vbb_u64 b);

/*@ requires nr_words <= VBB_WORDS_MAX;
  @ assigns \nothing;
  @ ensures nr_words <= \result <= 2 * nr_words;
  @*/
static inline vbb_u32 vbb_bitmap_words(vbb_u32 nr_words);

/*@ assigns \nothing;
  @ ensures \result.pfn == pfn;
  @ ensures \result.nr_pages == (end > pfn ? end - pfn : 0);
  @*/
static inline struct vbb_range vbb_run(vbb_u64 pfn, vbb_u64 end);

/*@ requires \valid_read(r) && vbb_range_ok(*r);
  @ assigns \nothing;
  @ ensures \result == r->pfn + r->nr_pages;
  @*/
static inline vbb_u64 vbb_run_end(const struct vbb_range *r);

/*@ requires \valid_read(r) && r->nr_pages >= 1;
  @ assigns \nothing;
  @ ensures \result != 0 <==> vbb_block(r->pfn, r->nr_pages);
  @ ensures r->nr_pages == VBB_PFN_END ==> \result == 0;
  @*/
static inline bool vbb_run_is_block(const struct vbb_range *r);

/*@ requires \valid_read(r);
  @ assigns \nothing;
  @ ensures \result <= 2 && (r->nr_pages == 0 ==> \result == 0);
  @ ensures r->nr_pages >= 1 ==>
  @   (vbb_block(r->pfn, r->nr_pages) ? \result == 1 : \result == 2);
  @*/
static inline vbb_u32 vbb_run_words(const struct vbb_range *r);

/*@ requires \valid_read(rec) && vbb_rec_ok(*rec);
  @ assigns \nothing;
  @ ensures rec->nr_words == 0 ==>
  @   (vbb_block(rec->pfn, rec->nr_pages) ? \result == 1 : \result == 2);
  @ ensures \result <= 2 * VBB_WORDS_MAX;
  @*/
static inline vbb_u64 vbb_rec_words(const struct vbb_rec *rec);

/*@ requires pfn <= 0x400000000000000 && end <= VBB_PFN_END;
  @ requires order <= VIRTIO_BALLOON_REC_ORDER_MAX;
  @ assigns \nothing;
  @ ensures none: end <= pfn ==> \result == 0;
  @ ensures some: end > pfn ==> 1 <= \result <= VBB_PFN_END &&
  @   \result * (64 * vbb_two(order)) < end - pfn + 64 * vbb_two(order);
  @*/
static inline vbb_u64 vbb_words(vbb_u64 pfn, vbb_u64 end, vbb_u32 order);

/*@ requires \valid(late);
  @ assigns *late;
  @ ensures late->nr_words == 0 && vbb_late_ok(*late);
  @*/
static inline void vbb_late_clear(struct vbb_late *late);

/*@ requires \valid(late) && \valid_read(more) && \separated(late, more);
  @ requires vbb_late_ok(*late) && vbb_late_ok(*more);
  @ assigns *late;
  @ ensures vbb_late_ok(*late);
  @*/
static inline void vbb_late_join(struct vbb_late *late, const struct vbb_late *more);

/*@ requires \valid_read(late) && vbb_late_ok(*late);
  @ assigns \nothing;
  @ ensures \result <= VIRTIO_BALLOON_REC_BITMAP_MAX;
  @ ensures \result != 0 ==> \result < late->nr_words && late->edges != 0 &&
  @   vbb_lowest(late->edges) <= VIRTIO_BALLOON_REC_ORDER_MAX;
  @*/
static inline vbb_u64 vbb_late_bitmap(const struct vbb_late *late);

/*@ requires \valid(late) && \valid_read(r) && \separated(late, r);
  @ requires vbb_late_ok(*late) && vbb_range_ok(*r);
  @ assigns *late;
  @ ensures vbb_late_ok(*late);
  @*/
static inline void vbb_late_add(struct vbb_late *late, const struct vbb_range *r);

/*@ requires \valid(p);
  @ assigns p->nr_runs, p->late_sum, p->kept_sum;
  @ ensures p->nr_runs == 0 && vbb_plan_ok(*p) && p->late_sum.nr_words == 0;
  @*/
void vbb_plan_clear(struct vbb_plan *p);

/*@ requires \valid_read(p) && i < VBB_ENC_NR_PENDING;
  @ assigns \nothing;
  @ ensures p->late_apart == 0 ==> \result == 0;
  @*/
static inline bool vbb_plan_is_apart(const struct vbb_plan *p, size_t i);

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

/*@ requires \valid(p) && \valid_read(r + (0 .. nr - 1)) && vbb_plan_ok(*p);
  @ requires \separated(p, r + (0 .. nr - 1));
  @ requires p->nr_runs >= 1 && limit <= vbb_limit;
  @ assigns p->nr_runs, p->late_sum, p->run[VBB_ALL], p->late[VBB_ALL];
  @ ensures ok: vbb_plan_ok(*p);
  @ ensures added: 0 <= \result <= nr && p->nr_runs == \old(p->nr_runs) + \result;
  @ ensures first: \result >= 1 ==> r->pfn + r->nr_pages <= vbb_limit;
  @*/
static inline size_t vbb_plan_append(struct vbb_plan *p, const struct vbb_range *r, size_t nr,
				     vbb_u64 limit, vbb_u64 nr_words);

/*@ requires \valid(p) && \valid_read(part) && \separated(p, part) && vbb_plan_ok(*p);
  @ requires vbb_run_ok(*part);
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
  @ ensures \result <= VBB_WORDS_MAX;
  @*/
vbb_u64 vbb_plan_late_words_with(const struct vbb_plan *p, const struct vbb_range *more);

/*@ requires \valid(p) && vbb_plan_ok(*p);
  @ assigns VBB_PLAN_OF(p);
  @ ensures ok: vbb_plan_ok(*p);
  @ ensures counted: vbb_counted(*p);
  @ ensures \result <= 3 * VBB_WORDS_MAX;
  @*/
vbb_u64 vbb_plan_count(struct vbb_plan *p, bool late_apart, bool quick);

/*@ requires \valid_read(p);
  @ assigns \nothing;
  @ ensures \result != 0 <==> p->kind != VBB_PLAN_ORDERS;
  @*/
static inline bool vbb_plan_is_simple(const struct vbb_plan *p);

/*@ requires \valid(p) && vbb_plan_ok(*p) && vbb_counted(*p);
  @ assigns p->phase, p->fresh, p->pos, p->nr_left, p->nr_kept, p->orders_left, VBB_LEFT_OF(p);
  @ ensures ok: vbb_plan_ok(*p);
  @ ensures given: vbb_given(*p) && vbb_between(*p);
  @ ensures phase: p->phase == (p->kind == VBB_PLAN_ORDERS ? VBB_PHASE_ORDERS : VBB_PHASE_LEFT);
  @*/
void vbb_plan_start(struct vbb_plan *p);

/*@ requires \valid(p) && \valid(rec) && \separated(p, rec) && vbb_plan_ok(*p);
  @ requires vbb_given(*p) && vbb_between(*p);
  @ assigns *rec, VBB_REC_OF(p);
  @ ensures ok: vbb_plan_ok(*p);
  @ ensures given: vbb_given(*p);
  @ ensures between: \result == 0 || rec->nr_words == 0 ==> vbb_between(*p);
  @ ensures rec: \result != 0 ==> vbb_rec_ok(*rec);
  @ ensures bitmap: \result != 0 && rec->nr_words != 0 ==> vbb_in_bitmap(*p);
  @ ensures order: p->order == \old(p->order) || p->order <= VIRTIO_BALLOON_REC_ORDER_MAX;
  @ ensures ends: 0 <= vbb_records_left(*p) <= \old(vbb_records_left(*p));
  @ ensures less: \result != 0 ==> vbb_records_left(*p) < \old(vbb_records_left(*p));
  @*/
bool vbb_plan_next(struct vbb_plan *p, struct vbb_rec *rec);

/*@ requires \valid(p) && \valid(r) && \separated(p, r) && vbb_plan_ok(*p) && vbb_given(*p);
  @ requires vbb_in_bitmap(*p);
  @ assigns *r, VBB_RUN_OF(p);
  @ ensures ok: vbb_plan_ok(*p);
  @ ensures given: vbb_given(*p);
  @ ensures between: \result == 0 ==> vbb_between(*p);
  @ ensures run: \result != 0 ==> vbb_below(*r);
  @ ensures records: 0 <= vbb_records_left(*p) <= \old(vbb_records_left(*p));
  @ ensures ends: vbb_runs_left(*p) >= 0;
  @ ensures less: \result != 0 ==> vbb_runs_left(*p) < \old(vbb_runs_left(*p));
  @*/
bool vbb_plan_next_run(struct vbb_plan *p, struct vbb_range *r);
