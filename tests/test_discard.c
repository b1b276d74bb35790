// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause
/* Memory of every kind: what is discarded is gone from the host, and what lies beside it is not. */
#include "test.h"

#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

#include "../tools/discard.h"

#define NR_PAGES 16

static size_t page_len(void)
{
	return (size_t)sysconf(_SC_PAGESIZE);
}

/* Is the page in memory? */
static bool resident(uint8_t *page)
{
	unsigned char v;

	assert_int_equal(mincore(page, page_len(), &v), 0);
	return v & 1;
}

/* Discards pages 3 to 8 of 16, and looks at all of them. */
static void check(const struct vbb_backing *b)
{
	size_t len = page_len(), i, k;

	for (i = 0; i < NR_PAGES * len; i++)
		b->base[i] = (uint8_t)(1 + i % 251);
	assert_int_equal(vbb_discard(b, 3 * len, 6 * len), 0);
	for (i = 0; i < NR_PAGES; i++) {
		bool gone = i >= 3 && i < 9;

		assert_int_equal(resident(b->base + i * len), !gone);
		for (k = i * len; k < (i + 1) * len; k++)
			assert_int_equal(b->base[k], gone ? 0 : 1 + k % 251);
	}
}

static uint8_t *map(int flags, int fd, off_t off)
{
	void *p = mmap(NULL, NR_PAGES * page_len(), PROT_READ | PROT_WRITE, flags, fd, off);

	assert_ptr_not_equal(p, MAP_FAILED);
	return p;
}

static void test_file(void **state)
{
	int fd = memfd_create("test", MFD_CLOEXEC);
	off_t off = (off_t)(5 * page_len());
	struct vbb_backing b = { vbb_discard_how(fd, true), NULL, fd, (uint64_t)off };

	(void)state;
	assert_int_equal(b.how, VBB_DISCARD_PUNCH);
	assert_int_equal(ftruncate(fd, off + (off_t)(NR_PAGES * page_len())), 0);
	b.base = map(MAP_SHARED, fd, off);
	check(&b);
	/* the other way to the same end */
	b.how = VBB_DISCARD_REMOVE;
	check(&b);
	munmap(b.base, NR_PAGES * page_len());
	close(fd);
}

static void test_shared(void **state)
{
	struct vbb_backing b = { vbb_discard_how(-1, true), NULL, -1, 0 };

	(void)state;
	assert_int_equal(b.how, VBB_DISCARD_REMOVE);
	b.base = map(MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	check(&b);
	munmap(b.base, NR_PAGES * page_len());
}

static void test_private(void **state)
{
	struct vbb_backing b = { vbb_discard_how(-1, false), NULL, -1, 0 };

	(void)state;
	assert_int_equal(b.how, VBB_DISCARD_DONTNEED);
	assert_int_equal(vbb_discard_how(0, false), VBB_DISCARD_DONTNEED);
	b.base = map(MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	check(&b);
	munmap(b.base, NR_PAGES * page_len());
}

static void test_cannot(void **state)
{
	struct vbb_backing b = { VBB_DISCARD_PUNCH, NULL, -1, 0 };
	int fds[2];

	(void)state;
	assert_int_equal(vbb_discard(&b, 0, page_len()), -EBADF);
	assert_int_equal(pipe(fds), 0);
	b.fd = fds[1];
	assert_int_equal(vbb_discard(&b, 0, page_len()), -ESPIPE);
	close(fds[0]);
	close(fds[1]);
	/* private memory has no file to make a hole in */
	b.how = VBB_DISCARD_REMOVE;
	b.base = map(MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_int_equal(vbb_discard(&b, 0, page_len()), -EINVAL);
	munmap(b.base, NR_PAGES * page_len());
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_file),
		cmocka_unit_test(test_shared),
		cmocka_unit_test(test_private),
		cmocka_unit_test(test_cannot),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
