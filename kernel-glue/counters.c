// SPDX-License-Identifier: GPL-2.0-or-later
/* For people and tests: debugfs virtio_balloon_bmap/<device> has a name and a number a line. */
#include <linux/debugfs.h>
#include <linux/device.h>
#include <linux/module.h>
#include <linux/seq_file.h>

#include "balloon.h"

#define VBB_COUNTER(field) { #field, offsetof(struct vbb_counters, field) }

static const struct vbb_counter vbb_counters_table[] = {
	VBB_COUNTER(inflate_pages),
	VBB_COUNTER(inflate_pages_done),
	VBB_COUNTER(deflate_pages),
	VBB_COUNTER(deflate_pages_done),
	VBB_COUNTER(pages_unnamed),
	VBB_COUNTER(messages_bitmap),
	VBB_COUNTER(messages_records),
	VBB_COUNTER(messages_pfns),
	VBB_COUNTER(records_block),
	VBB_COUNTER(records_bitmap),
	VBB_COUNTER(records_extent),
	VBB_COUNTER(bytes),
	VBB_COUNTER(kicks),
	VBB_COUNTER(results_none),
	VBB_COUNTER(results_ok),
	VBB_COUNTER(results_partial),
	VBB_COUNTER(results_inhibited),
	VBB_COUNTER(results_malformed),
	VBB_COUNTER(discard_shift),
	VBB_COUNTER(blocks_taken),
	VBB_COUNTER(blocks_split),
	VBB_COUNTER(out_of_memory),
	VBB_COUNTER(pages_moved),
	VBB_COUNTER(oom_calls),
	VBB_COUNTER(oom_pages),
	VBB_COUNTER(stats_answers),
	VBB_COUNTER(hint_sessions),
	VBB_COUNTER(hint_pages),
	VBB_COUNTER(hint_pages_shrunk),
	VBB_COUNTER(report_calls),
	VBB_COUNTER(report_pages),
	VBB_COUNTER(inflate_ns),
	VBB_COUNTER(deflate_ns),
	VBB_COUNTER(wait_ns),
};

static struct dentry *vbb_counters_root;

/**
 * vbb_counters_print() - show counters, a name and a number a line
 * @m: where to
 * @table: which
 * @nr: how many
 * @counters: what they lie in
 */
void vbb_counters_print(struct seq_file *m, const struct vbb_counter *table, size_t nr,
			const void *counters)
{
	size_t i;

	for (i = 0; i < nr; i++)
		seq_printf(m, "%s %llu\n", table[i].name,
			   *(const u64 *)(counters + table[i].offset));
}

/**
 * vbb_faults_print() - show how often there was a fault, if ever
 * @m: where to
 * @prefix: what the names begin with
 * @fault: counts, by vbb_err_fault()
 */
void vbb_faults_print(struct seq_file *m, const char *prefix, const u64 *fault)
{
	const char *name;
	unsigned int i;

	for (i = 0; i < VBB_NR_FAULTS; i++) {
		name = vbb_err_name(vbb_err_from_fault(i));
		if (name && fault[i])
			seq_printf(m, "%s%s %llu\n", prefix, name, fault[i]);
	}
}

static int vbb_counters_show(struct seq_file *m, void *unused)
{
	struct vbb_balloon *vb = m->private;

	mutex_lock(&vb->lock);
	seq_printf(m, "target_pages %lu\n", vb->target);
	seq_printf(m, "actual_pages %lu\n", vb->actual);
	seq_printf(m, "moving_pages %lu\n", vb->moving[VBB_INFLATE] + vb->moving[VBB_DEFLATE]);
	seq_printf(m, "broken %u\n", vb->broken);
	vbb_counters_print(m, vbb_counters_table, ARRAY_SIZE(vbb_counters_table), &vb->counters);
	vbb_faults_print(m, "fault_", vb->counters.fault);
	mutex_unlock(&vb->lock);
	vbb_requests_show(m, vb);
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(vbb_counters);

void vbb_counters_init(void)
{
	vbb_counters_root = debugfs_create_dir(KBUILD_MODNAME, NULL);
}

void vbb_counters_exit(void)
{
	debugfs_remove(vbb_counters_root);
}

void vbb_counters_add(struct vbb_balloon *vb)
{
	vb->debugfs = debugfs_create_file(dev_name(&vb->vdev->dev), 0444, vbb_counters_root, vb,
					  &vbb_counters_fops);
}

void vbb_counters_remove(struct vbb_balloon *vb)
{
	debugfs_remove(vb->debugfs);
}
