// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause
/*
 * Runs of pages held back: in order, disjoint, and which of them came since words were last
 * counted. What records they get is decided in plan.c.
 */
#include "plan.h"

/*@ requires \valid_read(late) && vbb_late_ok(*late);
  @ assigns \nothing;
  @ ensures \result <= late->nr_words;
  @*/
static vbb_u64 vbb_late_words(const struct vbb_late *late)
{
	vbb_u64 nr_words = vbb_late_bitmap(late);

	return nr_words ? 1 + nr_words : late->nr_words;
}

vbb_u64 vbb_plan_late_words(const struct vbb_plan *p)
{
	return vbb_late_words(&p->late_sum);
}

vbb_u64 vbb_plan_late_words_with(const struct vbb_plan *p, const struct vbb_range *more)
{
	struct vbb_late late;

	late.nr_words = p->late_sum.nr_words;
	late.pfn = p->late_sum.pfn;
	late.end = p->late_sum.end;
	late.edges = p->late_sum.edges;
	vbb_late_add(&late, more);
	return vbb_late_words(&late);
}

void vbb_plan_clear(struct vbb_plan *p)
{
	p->nr_runs = 0;
	vbb_late_clear(&p->kept_sum);
	vbb_late_clear(&p->late_sum);
}

size_t vbb_plan_keep(struct vbb_plan *p)
{
	size_t nr = 0, i;

	/*@ loop invariant 0 <= i <= p->nr_runs && nr <= 255 * i;
	  @ loop assigns i, nr, p->late[0 .. VBB_ENC_NR_PENDING - 1];
	  @ loop variant p->nr_runs - i;
	  @*/
	for (i = 0; i < p->nr_runs; i++) {
		nr += p->late[i];
		p->late[i] = 0;
	}
	vbb_late_join(&p->kept_sum, &p->late_sum);
	vbb_late_clear(&p->late_sum);
	return nr;
}

/* Index of the first run that begins behind pfn */
/*@ requires \valid_read(p) && vbb_plan_ok(*p);
  @ assigns \nothing;
  @ ensures 0 <= \result <= p->nr_runs;
  @ ensures before: \result >= 1 ==> p->run[\result - 1].pfn <= pfn;
  @ ensures behind: \result < p->nr_runs ==> p->run[\result].pfn > pfn;
  @*/
static size_t vbb_plan_find(const struct vbb_plan *p, vbb_u64 pfn)
{
	size_t i = p->nr_runs;

	/*@ loop invariant 0 <= i <= p->nr_runs && (i < p->nr_runs ==> p->run[i].pfn > pfn);
	  @ loop assigns i;
	  @ loop variant i;
	  @*/
	while (i && p->run[i - 1].pfn > pfn)
		i--;
	return i;
}

bool vbb_plan_part(const struct vbb_plan *p, struct vbb_range *r, struct vbb_range *part)
{
	/*@ loop invariant vbb_range_ok(*r) && r->pfn >= \at(r->pfn, Pre);
	  @ loop invariant r->pfn + r->nr_pages == \at(r->pfn + r->nr_pages, Pre);
	  @ loop assigns *r, *part;
	  @ loop variant r->nr_pages;
	  @*/
	while (r->nr_pages) {
		size_t i = vbb_plan_find(p, r->pfn);
		vbb_u64 end = vbb_run_end(r);

		if (i && !p->late[i - 1] && vbb_run_end(&p->run[i - 1]) > r->pfn) {
			if (end > vbb_run_end(&p->run[i - 1]))
				*r = vbb_run(vbb_run_end(&p->run[i - 1]), end);
			else
				*r = vbb_run(end, end);
			continue;
		}
		/*@ loop invariant i <= p->nr_runs && (i < p->nr_runs ==> p->run[i].pfn > r->pfn);
		  @ loop assigns i;
		  @ loop variant p->nr_runs - i;
		  @*/
		while (i < p->nr_runs && p->late[i] && p->run[i].pfn < end)
			i++;
		if (i < p->nr_runs && p->run[i].pfn < end)
			end = p->run[i].pfn;
		*part = vbb_run(r->pfn, end);
		return true;
	}
	return false;
}

bool vbb_plan_add(struct vbb_plan *p, const struct vbb_range *part)
{
	size_t first = vbb_plan_find(p, part->pfn), last = first, i;
	struct vbb_range r = *part;

	if (first && p->late[first - 1] && vbb_range_merge(&r, &p->run[first - 1]))
		first--;
	/*@ loop invariant first <= last <= p->nr_runs && vbb_run_ok(r);
	  @ loop invariant \forall integer k; 0 <= k < first ==> p->run[k].pfn <= r.pfn;
	  @ loop invariant \forall integer k; last <= k < p->nr_runs ==> r.pfn <= p->run[k].pfn;
	  @ loop assigns last, r;
	  @ loop variant p->nr_runs - last;
	  @*/
	while (last < p->nr_runs && p->late[last] && vbb_range_merge(&r, &p->run[last]))
		last++;
	/*@ loop invariant first <= i <= last && vbb_late_ok(p->late_sum);
	  @ loop invariant i == first ==> p->late_sum.nr_words == \at(p->late_sum.nr_words, Pre);
	  @ loop assigns i, p->late_sum.nr_words;
	  @ loop variant last - i;
	  @*/
	for (i = first; i < last; i++)
		p->late_sum.nr_words -= vbb_min(p->late_sum.nr_words, vbb_run_words(&p->run[i]));
	if (first == last) {
		if (p->nr_runs == VBB_ENC_NR_PENDING)
			return false;
		/*@ loop invariant first <= i < p->nr_runs <= VBB_ENC_NR_PENDING;
		  @ loop invariant \forall integer k; 0 <= k < p->nr_runs && k != i ==>
		  @   p->run[k].nr_pages >= 1 &&
		  @   p->run[k].pfn + p->run[k].nr_pages <= vbb_limit &&
		  @   (k < first ? p->run[k].pfn <= r.pfn : r.pfn <= p->run[k].pfn);
		  @ loop invariant \forall integer j, k;
		  @   0 <= j < k < p->nr_runs && j != i && k != i ==>
		  @   p->run[j].pfn <= p->run[k].pfn;
		  @ loop assigns i, p->run[0 .. VBB_ENC_NR_PENDING - 1],
		  @   p->late[0 .. VBB_ENC_NR_PENDING - 1];
		  @ loop variant i;
		  @*/
		for (i = p->nr_runs++; i > first; i--) {
			p->run[i] = p->run[i - 1];
			p->late[i] = p->late[i - 1];
		}
	} else if (last - first > 1) {
		/*@ loop invariant last <= i <= p->nr_runs;
		  @ loop invariant \forall integer k; 0 <= k < p->nr_runs &&
		  @   (k < first || first < k < i - (last - first - 1) || i <= k) ==>
		  @   p->run[k].nr_pages >= 1 &&
		  @   p->run[k].pfn + p->run[k].nr_pages <= vbb_limit &&
		  @   (k < first ? p->run[k].pfn <= r.pfn : r.pfn <= p->run[k].pfn);
		  @ loop invariant \forall integer j, k; 0 <= j < k < p->nr_runs &&
		  @   (j < first || first < j < i - (last - first - 1) || i <= j) &&
		  @   (k < first || first < k < i - (last - first - 1) || i <= k) ==>
		  @   p->run[j].pfn <= p->run[k].pfn;
		  @ loop assigns i, p->run[0 .. VBB_ENC_NR_PENDING - 1],
		  @   p->late[0 .. VBB_ENC_NR_PENDING - 1];
		  @ loop variant p->nr_runs - i;
		  @*/
		for (i = last; i < p->nr_runs; i++) {
			p->run[i - (last - first - 1)] = p->run[i];
			p->late[i - (last - first - 1)] = p->late[i];
		}
		p->nr_runs -= last - first - 1;
	}
	p->run[first] = r;
	p->late[first] = 1;
	vbb_late_add(&p->late_sum, &r);
	return true;
}

void vbb_plan_drop(struct vbb_plan *p, size_t nr)
{
	size_t i;

	/*@ loop invariant nr <= i <= p->nr_runs;
	  @ loop invariant \forall integer k; 0 <= k < p->nr_runs && (k < i - nr || i <= k) ==>
	  @   p->run[k].nr_pages >= 1 && p->run[k].pfn + p->run[k].nr_pages <= vbb_limit;
	  @ loop invariant \forall integer j, k; 0 <= j < k < p->nr_runs &&
	  @   (j < i - nr || i <= j) && (k < i - nr || i <= k) ==> p->run[j].pfn <= p->run[k].pfn;
	  @ loop assigns i, p->run[0 .. VBB_ENC_NR_PENDING - 1],
	  @   p->late[0 .. VBB_ENC_NR_PENDING - 1];
	  @ loop variant p->nr_runs - i;
	  @*/
	for (i = nr; i < p->nr_runs; i++) {
		p->run[i - nr] = p->run[i];
		p->late[i - nr] = p->late[i];
	}
	p->nr_runs -= nr;
}
