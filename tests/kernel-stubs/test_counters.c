// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause
/* counters.c: everything that is counted is shown, once and by its name. */
#include "test.h"

#include "bus.h"

#define FEATURES (BUS_FORMATS | BIT_ULL(VIRTIO_BALLOON_F_HOST_REQ_VQ))
#define NR_LINES 256

static struct {
	char name[64];
	unsigned long long value;
} line[NR_LINES];
static size_t nr_lines;

static void start(void)
{
	assert_int_equal(bus_probe(FEATURES), 0);
}

/* Read the file, as it is now: a name and a number a line, and no name twice. */
static void show(void)
{
	struct seq_file m = { tmpfile(), vb->debugfs->data };
	size_t i;

	assert_non_null(m.file);
	assert_int_equal(vb->debugfs->fops->show(&m, NULL), 0);
	rewind(m.file);
	nr_lines = 0;
	while (fscanf(m.file, "%63s %llu\n", line[nr_lines].name, &line[nr_lines].value) == 2) {
		for (i = 0; i < nr_lines; i++)
			assert_string_not_equal(line[i].name, line[nr_lines].name);
		assert_true(++nr_lines < NR_LINES);
	}
	assert_true(feof(m.file));
	fclose(m.file);
}

static unsigned long long shown(const char *name)
{
	size_t i;

	for (i = 0; i < nr_lines; i++)
		if (!strcmp(line[i].name, name))
			return line[i].value;
	fail_msg("no %s", name);
	return 0;
}

static size_t nr_shown(const char *prefix)
{
	size_t i, nr = 0;

	for (i = 0; i < nr_lines; i++)
		nr += !strncmp(line[i].name, prefix, strlen(prefix));
	return nr;
}

static void test_where_it_is(void **state)
{
	start();
	assert_string_equal(vb->debugfs->name, "balloon");
	assert_string_equal(vb->debugfs->parent->name, "virtio_balloon_bmap");
	bus_remove();
}

static void test_each_field(void **state)
{
	const size_t nr = offsetof(struct vbb_counters, fault) / sizeof(u64);
	u64 *field;
	size_t i, j, found;

	start();
	field = (u64 *)&vb->counters;
	for (i = 0; i < nr; i++)
		field[i] = 0xffffffff00000000 + i;
	show();
	for (i = 0; i < nr; i++) {
		for (j = 0, found = 0; j < nr_lines; j++)
			found += line[j].value == field[i];
		assert_int_equal(found, 1);
	}
	bus_remove();
}

/* A fault has a line as soon as there was one of it; VBB-DRV-03 has them counted. */
static void test_faults(void **state)
{
	char name[64];
	u32 i, nr = 0;

	start();
	show();
	assert_int_equal(nr_shown("fault_"), 0);
	for (i = 0; i < VBB_NR_FAULTS; i++)
		vb->counters.fault[i] = 1000 + i;
	show();
	for (i = 0; i < VBB_NR_FAULTS; i++) {
		if (!vbb_err_name(vbb_err_from_fault(i)))
			continue;
		snprintf(name, sizeof(name), "fault_%s", vbb_err_name(vbb_err_from_fault(i)));
		assert_int_equal(shown(name), 1000 + i);
		nr++;
	}
	assert_int_equal(nr_shown("fault_"), nr);
	assert_true(nr > 5);
	bus_remove();
}

static void test_true(void **state)
{
	start();
	bus_target(300);
	device_works();
	config.num_pages = cpu_to_le32(200 * FRAMES);
	bus_changed();
	bus_work();
	show();
	assert_int_equal(shown("target_pages"), 200);
	assert_int_equal(shown("actual_pages"), 300);
	assert_int_equal(shown("moving_pages"), 100);
	assert_int_equal(shown("broken"), 0);
	assert_int_equal(shown("inflate_pages"), 300);
	assert_int_equal(shown("inflate_pages_done"), 300);
	assert_int_equal(shown("bytes"), vb->counters.bytes);
	assert_int_equal(shown("requests_unused_pages"), 0);
	bus_queue(VBB_VQ_INFLATE)->used[2] = 77;
	bus_used(VBB_VQ_INFLATE);
	bus_work();
	show();
	assert_int_equal(shown("broken"), 1);
	bus_remove();
}

/* A balloon is a balloon without it. */
static void test_no_file(void **state)
{
	unsigned int nr_allocs;

	start();
	nr_allocs = UINT_MAX - stub_nr_allocs;
	stub_nr_allocs = UINT_MAX;
	bus_remove();
	/* the file comes last */
	stub_nr_allocs = nr_allocs - 1;
	assert_int_equal(bus_probe(FEATURES), 0);
	stub_nr_allocs = UINT_MAX;
	assert_true(IS_ERR(vb->debugfs));
	bus_target(100);
	assert_int_equal(vb->actual, 100);
	bus_remove();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_no_file),
		cmocka_unit_test(test_where_it_is),
		cmocka_unit_test(test_each_field),
		cmocka_unit_test(test_faults),
		cmocka_unit_test(test_true),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
