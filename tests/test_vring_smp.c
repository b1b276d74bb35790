// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause
/*
 * A driver and a device that really run at once, in two processes or two threads, over small and
 * large rings: nothing is lost, torn, or slept through. A wait() that reaches its limit has failed.
 */
#define _GNU_SOURCE

#include "test.h"
#include "vring_end.h"

#include <pthread.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define MAX_NUM 256
#define CELL 64
#define LIMIT 60000000000ull
#define LEN ((size_t)1 << 20)

struct ring {
	vbb_u8 *mem;
	struct vbb_ram ram;
	struct vbb_ram_map map;
	struct vbb_vring ring;
	struct vbb_vring_tables tables;
	struct vbb_vring_drv drv;
	struct vbb_vring_dev dev;
	struct vbb_vring_slot slot[MAX_NUM];
	vbb_u8 lent[MAX_NUM];
	struct vbb_vring_fds drv_fds, dev_fds;
	vbb_u64 nr_msgs;
	vbb_u64 sleeps;
};

static vbb_u64 reply(vbb_u64 seq)
{
	return seq * 0x9e3779b97f4a7c15 + 1;
}

/* Says what went wrong; asserts are the parent's. */
static const char *device(struct ring *r)
{
	struct vbb_seg seg[MAX_NUM];
	struct vbb_chain c = { .seg = seg, .max_segs = MAX_NUM };
	struct pollfd pollfd[2];
	struct vbb_vring_end end;
	struct vbb_cur cur;
	vbb_u64 seq = 0;
	size_t i;
	int err;

	vbb_vring_end_init_dev(&end, &r->dev, 1, &r->dev_fds, pollfd, -1);
	while (seq < r->nr_msgs) {
		err = vbb_transport_recv(&end.t, 0, &c);
		if (err == VBB_E_AGAIN) {
			vbb_transport_kick(&end.t, 0);
			if (vbb_transport_wait(&end.t, LIMIT))
				return "the device slept through a kick";
			continue;
		}
		if (err)
			return vbb_strerror(err);
		vbb_cur_init(&cur, c.seg, c.nr_out);
		if (cur.left != 8 + seq % 5 || c.nr_in != 1 || c.seg[c.nr_out].len != 8)
			return "a message has changed its shape";
		if (vbb_cur_load64(&cur) != seq)
			return "a message is not the next one";
		for (i = 0; i < seq % 5; i++)
			if (vbb_cur_load8(&cur) != (seq & 0xff))
				return "a message is torn";
		vbb_store64(c.seg[c.nr_out].base, reply(seq));
		err = vbb_transport_done(&end.t, 0, &c, 8);
		if (err)
			return vbb_strerror(err);
		seq++;
		if (seq % 7 == 0)
			vbb_transport_kick(&end.t, 0);
	}
	vbb_transport_kick(&end.t, 0);
	return NULL;
}

static const char *driver(struct ring *r)
{
	struct pollfd pollfd[2];
	struct vbb_vring_end end;
	vbb_u64 sent = 0, reaped = 0, len;
	vbb_u8 *data = r->mem + LEN / 2, *cell;
	void *token;
	size_t i;
	int err;

	vbb_vring_end_init_drv(&end, &r->drv, 1, &r->drv_fds, pollfd, -1);
	while (reaped < r->nr_msgs) {
		err = VBB_E_NOSPC;
		while (sent < r->nr_msgs && sent - reaped < r->ring.num) {
			cell = data + CELL * (sent % r->ring.num);
			const struct vbb_seg seg[] = {
				{ cell, 3 }, { cell + 3, 5 + (size_t)(sent % 5) }, { cell + 32, 8 }
			};

			vbb_store64(cell, sent);
			for (i = 0; i < sent % 5; i++)
				vbb_store8(cell + 8 + i, (vbb_u8)(sent & 0xff));
			vbb_store64(cell + 32, 0);
			err = vbb_transport_send(&end.t, 0, seg, 2, seg + 2, 1, cell);
			if (err)
				break;
			sent++;
			if (sent % 5 == 0)
				vbb_transport_kick(&end.t, 0);
		}
		if (err && err != VBB_E_NOSPC)
			return vbb_strerror(err);
		vbb_transport_kick(&end.t, 0);
		while (err = vbb_transport_reap(&end.t, 0, &token, &len), !err) {
			cell = data + CELL * (reaped % r->ring.num);
			if (token != cell || len != 8)
				return "a reply is not the next one";
			if (vbb_load64(cell) != reaped || vbb_load64(cell + 32) != reply(reaped))
				return "a reply is torn";
			reaped++;
		}
		if (err != VBB_E_AGAIN)
			return vbb_strerror(err);
		if (reaped < r->nr_msgs && (sent == r->nr_msgs || sent - reaped == r->ring.num ||
					    r->drv.nr_free < 3)) {
			r->sleeps++;
			if (vbb_transport_wait(&end.t, LIMIT))
				return "the driver slept through a call";
		}
	}
	return NULL;
}

static void ring_start(struct ring *r, vbb_u32 num, bool indirect, bool event_idx, vbb_u64 nr_msgs)
{
	memset(r, 0, sizeof(*r));
	r->mem = mmap(NULL, LEN, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	assert_ptr_not_equal(r->mem, MAP_FAILED);
	r->ram = (struct vbb_ram){ 0x1000, LEN, (uintptr_t)r->mem, 12 };
	r->map = (struct vbb_ram_map){ &r->ram, 1 };
	r->ring = (struct vbb_vring){ r->mem, r->mem + 65536, r->mem + 131072, num, indirect,
				      event_idx };
	r->tables = (struct vbb_vring_tables){ r->mem + 262144, indirect ? 4 : 0 };
	assert_int_equal(vbb_vring_drv_init(&r->drv, &r->ring, &r->map, r->slot, &r->tables), 0);
	assert_int_equal(vbb_vring_dev_init(&r->dev, &r->ring, &r->map, r->lent, 0, 0), 0);
	r->drv_fds.tell = r->dev_fds.wake = eventfd(0, EFD_NONBLOCK);
	r->drv_fds.wake = r->dev_fds.tell = eventfd(0, EFD_NONBLOCK);
	r->nr_msgs = nr_msgs;
}

static void ring_stop(struct ring *r)
{
	close(r->drv_fds.tell);
	close(r->drv_fds.wake);
	munmap(r->mem, LEN);
}

static void assert_fine(const char *who, const char *fault)
{
	if (fault)
		fail_msg("%s: %s", who, fault);
}

static void in_processes(vbb_u32 num, bool indirect, bool event_idx)
{
	const char *fault;
	struct ring r;
	int status;
	pid_t pid;

	ring_start(&r, num, indirect, event_idx, 250000);
	pid = fork();
	assert_true(pid >= 0);
	if (!pid) {
		fault = device(&r);
		if (fault)
			fprintf(stderr, "device: %s\n", fault);
		_exit(fault ? 1 : 0);
	}
	fault = driver(&r);
	assert_fine("driver", fault);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	print_message("# num %u, indirect %d, event index %d: driver slept %llu times\n",
		      (unsigned int)num, indirect, event_idx, (unsigned long long)r.sleeps);
	ring_stop(&r);
}

static void *device_thread(void *arg)
{
	return (void *)(uintptr_t)device(arg);
}

static void in_threads(vbb_u32 num, bool indirect, bool event_idx)
{
	pthread_t thread;
	const char *fault;
	struct ring r;
	void *ret;

	ring_start(&r, num, indirect, event_idx, 50000);
	assert_int_equal(pthread_create(&thread, NULL, device_thread, &r), 0);
	fault = driver(&r);
	assert_fine("driver", fault);
	assert_int_equal(pthread_join(thread, &ret), 0);
	assert_fine("device", ret);
	ring_stop(&r);
}

static void test_processes(void **state)
{
	(void)state;
	in_processes(MAX_NUM, true, false);
	in_processes(MAX_NUM, true, true);
}

static void test_processes_small(void **state)
{
	(void)state;
	in_processes(4, false, false);
	in_processes(4, false, true);
}

static void test_threads(void **state)
{
	unsigned int i;

	(void)state;
	for (i = 0; i < 8; i++)
		in_threads(i & 1 ? MAX_NUM : 4, i & 2, i & 4);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_processes),
		cmocka_unit_test(test_processes_small),
		cmocka_unit_test(test_threads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
