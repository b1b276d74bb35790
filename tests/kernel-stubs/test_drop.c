// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause
/* drop.c: caches are dropped by the means of a module, and never more of them than the limit. */
#include "test.h"

#include "compat.h"
#include "fs.h"
#include "requests.h"

#define NO_LIMIT U64_MAX

static uint64_t seed;

/* --- Who asks for it */

static unsigned int patience;	/* looks at whether to go on, before it is cancelled */

bool vbb_requests_serving(const struct vbb_requests *r)
{
	if (patience)
		patience--;
	return patience;
}

static u64 nr_in(enum page_state state)
{
	size_t i, j;
	u64 nr = 0;

	for (i = 0; i < NR_FILES; i++)
		for (j = 0; j < FILE_PAGES; j++)
			nr += fs_files[i].page[j] == state;
	return nr;
}

static void start(void)
{
	fs_init(++seed);
	patience = UINT_MAX;
	stub_meanwhile = NULL;
	stub_nr_allocs = UINT_MAX;
}

/* Drop, and see that what is said to be freed is what is gone. */
static int drop(u64 modes, u64 limit, u64 *nr_freed)
{
	u64 before = nr_in(CLEAN) + fs_nr_slab;
	struct vbb_drop d = { .limit = limit };
	size_t i;
	int err;

	err = vbb_drop(&d, modes);
	assert_int_equal(before - nr_in(CLEAN) - fs_nr_slab, d.nr_freed);
	assert_true(d.nr_freed <= limit);
	for (i = 0; i < NR_FILES; i++)
		assert_int_equal(fs_files[i].nr_held, 0);
	assert_int_equal(fs_nr_held, 0);
	assert_false(fs_disk.s_inode_list_lock.held || fs_tmp.s_inode_list_lock.held ||
		     fs_bdevs.s_inode_list_lock.held);
	*nr_freed = d.nr_freed;
	return err;
}

/* All that is clean, also of block devices; what is in use stays. */
static void test_page_cache(void **state)
{
	u64 nr_freed, nr_dirty;

	start();
	nr_dirty = nr_in(DIRTY);
	assert_int_equal(drop(VIRTIO_BALLOON_DROP_PAGE_CACHE, NO_LIMIT, &nr_freed), 0);
	assert_true(nr_freed > NR_FILES * FILE_PAGES / 8);
	assert_int_equal(nr_in(CLEAN), 0);
	assert_int_equal(nr_in(DIRTY), nr_dirty);
	assert_int_equal(fs_nr_slab, 500);
	/* there is nothing left, which is no fault */
	assert_int_equal(drop(VIRTIO_BALLOON_DROP_PAGE_CACHE, NO_LIMIT, &nr_freed), 0);
	assert_int_equal(nr_freed, 0);
}

/* VBB-DRV-17: any limit is kept, and the next drop goes on where this one ended. */
static void test_limit(void **state)
{
	u64 limit, nr_freed, nr;

	for (limit = 0; limit < 3000; limit = limit * 2 + test_below(&seed, 3)) {
		start();
		nr = nr_in(CLEAN);
		assert_int_equal(drop(VIRTIO_BALLOON_DROP_PAGE_CACHE, limit, &nr_freed), 0);
		assert_true(nr_freed <= limit);
		/* shadows go as well, and count for nothing */
		while (limit > 100 && nr_in(CLEAN)) {
			nr = nr_in(CLEAN);
			drop(VIRTIO_BALLOON_DROP_PAGE_CACHE, limit, &nr_freed);
			assert_true(nr_freed == min(nr, limit));
		}
	}
}

/* VBB-DRV-17: slabs go as a whole, and only where all that could go is within the limit. */
static void test_slab(void **state)
{
	static const struct {
		u64 limit;
		int err;
	} row[] = {
		{ 0, 0 },
		{ 499, -EOPNOTSUPP },
		{ 500, 0 },
		{ NO_LIMIT, 0 },
	};
	u64 nr_freed;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(row); i++) {
		start();
		assert_int_equal(drop(VIRTIO_BALLOON_DROP_SLAB, row[i].limit, &nr_freed),
				 row[i].err);
		assert_int_equal(nr_freed, !row[i].err && row[i].limit ? 400 : 0);
	}
	/* they get what the page cache leaves of it */
	start();
	assert_int_equal(drop(VIRTIO_BALLOON_DROP_PAGE_CACHE | VIRTIO_BALLOON_DROP_SLAB,
			      nr_in(CLEAN) + 499, &nr_freed), 0);
	assert_int_equal(fs_nr_slab, 500);
	assert_int_equal(nr_in(CLEAN), 0);
	start();
	assert_int_equal(drop(VIRTIO_BALLOON_DROP_PAGE_CACHE | VIRTIO_BALLOON_DROP_SLAB,
			      nr_in(CLEAN) + 500, &nr_freed), 0);
	assert_int_equal(fs_nr_slab, 100);
}

/* Each time, with a file that is large */
static void start_the_same(void)
{
	seed = 0;
	start();
	memset(fs_files[0].page, CLEAN, FILE_PAGES);
	fs_files[0].mapping.nrpages = FILE_PAGES;
}

/* A request that is cancelled ends soon, wherever it is. */
static void test_cancelled(void **state)
{
	u64 nr, all, nr_freed;
	unsigned int looks;

	start_the_same();
	all = nr_in(CLEAN) + 400;
	for (looks = 1, nr = 0; looks < 64 && nr < all; looks++) {
		start_the_same();
		patience = looks;
		drop(VIRTIO_BALLOON_DROP_PAGE_CACHE | VIRTIO_BALLOON_DROP_SLAB, NO_LIMIT,
		     &nr_freed);
		/* what goes between two looks */
		assert_true(nr_freed - nr <= max(1UL << MAX_PAGE_ORDER, 400UL));
		nr = nr_freed;
	}
	assert_int_equal(nr, all);
	assert_true(looks > NR_FILES);
}

/* What cannot be had is not had; and what can of two is enough. */
static void test_unsupported(void **state)
{
	const u64 both = VIRTIO_BALLOON_DROP_PAGE_CACHE | VIRTIO_BALLOON_DROP_SLAB;
	u64 nr_freed;

	start();
	assert_int_equal(drop(0, NO_LIMIT, &nr_freed), 0);
	assert_int_equal(nr_freed, 0);
	fs_names = NULL;
	assert_int_equal(drop(VIRTIO_BALLOON_DROP_PAGE_CACHE, NO_LIMIT, &nr_freed), -EOPNOTSUPP);
	fs_names = "";
	assert_int_equal(drop(VIRTIO_BALLOON_DROP_PAGE_CACHE, NO_LIMIT, &nr_freed), -EOPNOTSUPP);
	fs_no_slab = true;
	assert_int_equal(drop(both, NO_LIMIT, &nr_freed), -EOPNOTSUPP);
	fs_no_slab = false;
	fs_slab_fails = true;
	assert_int_equal(drop(both, NO_LIMIT, &nr_freed), -EOPNOTSUPP);
	fs_slab_fails = false;
	assert_int_equal(drop(both, NO_LIMIT, &nr_freed), 0);
	assert_int_equal(nr_freed, 400);
	start();
	fs_no_slab = true;
	assert_int_equal(drop(both, NO_LIMIT, &nr_freed), 0);
	assert_int_equal(nr_in(CLEAN), 0);
	start();
	stub_nr_allocs = 0;
	assert_int_equal(drop(VIRTIO_BALLOON_DROP_PAGE_CACHE, NO_LIMIT, &nr_freed), -EOPNOTSUPP);
	stub_nr_allocs = UINT_MAX;
}

/* Files that come or go at the moment are left alone, and names of any kind do no harm. */
static void test_files_in_between(void **state)
{
	static char longest[2 * SZ_4K];
	u64 nr_freed;
	size_t i;

	start();
	fs_files[0].inode.i_state = I_NEW;
	fs_files[1].inode.i_state = I_FREEING;
	memset(longest, 'x', sizeof(longest) - 1);
	fs_names = longest;
	assert_int_equal(drop(VIRTIO_BALLOON_DROP_PAGE_CACHE, NO_LIMIT, &nr_freed), 0);
	assert_int_equal(nr_freed, 0);
	fs_names = "tmp\n\n\t\nnodev\ttmp\ndisk\n\tdisk";
	assert_int_equal(drop(VIRTIO_BALLOON_DROP_PAGE_CACHE, NO_LIMIT, &nr_freed), 0);
	for (i = 0; i < NR_FILES; i++)
		assert_true(i < 2 || fs_files[i].mapping.nrpages < FILE_PAGES / 3);
	assert_true(fs_files[0].mapping.nrpages > FILE_PAGES / 3);
	assert_true(fs_files[1].mapping.nrpages > FILE_PAGES / 3);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_page_cache),
		cmocka_unit_test(test_limit),
		cmocka_unit_test(test_slab),
		cmocka_unit_test(test_cancelled),
		cmocka_unit_test(test_unsupported),
		cmocka_unit_test(test_files_in_between),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
