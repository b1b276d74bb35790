// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause
/* Capture files: what is recorded is played, other tools read it, and bad files are told. */
#define _GNU_SOURCE

#include "test.h"

#include <errno.h>
#include <stdio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "loop.h"
#include "replay.h"

#define SECTION_LEN 28
#define INTERFACE_LEN 76
#define HEAD_LEN (SECTION_LEN + INTERFACE_LEN)
#define PACKET_LEN(len) (32 + VBB_CAPTURE_HDR_LEN + (((len) + 3) & ~3u))

static FILE *file;
static vbb_u8 image[1 << 16];
static size_t image_len;

static void image_start(void)
{
	file = fmemopen(image, sizeof(image), "w+b");
	assert_non_null(file);
	vbb_capture_start(file);
}

static void image_put(vbb_u8 kind, vbb_u8 from, vbb_u16 queue, vbb_u32 id, vbb_u32 in_len,
		      const char *text)
{
	const struct vbb_capture_hdr hdr = {
		kind, from, queue, id, in_len, (vbb_u32)strlen(text), VBB_CAPTURE_HOST_REQUEST,
		VBB_CAPTURE_BITMAP | VBB_CAPTURE_RECORDS
	};
	const struct vbb_seg seg = { (void *)(uintptr_t)text, strlen(text) };

	vbb_capture_put(file, &hdr, &seg, 1, 0x0123456789abcdef);
}

static void image_end(void)
{
	image_len = (size_t)ftell(file);
	assert_false(ferror(file));
	fclose(file);
}

/* One message, and one that comes back */
static void image_two(void)
{
	image_start();
	image_put(VBB_CAPTURE_MSG, VBB_CAPTURE_DRIVER, 1, 0x11223344, 16, "hello");
	image_put(VBB_CAPTURE_DONE, VBB_CAPTURE_DEVICE, 1, 0x11223344, 0, "");
	image_end();
	assert_int_equal(image_len, HEAD_LEN + PACKET_LEN(5) + PACKET_LEN(0));
}

static struct vbb_capture capture;
static struct vbb_capture_hdr hdr;
static vbb_u8 buf[64];

static void image_open(size_t len)
{
	file = fmemopen(image, len, "rb");
	assert_non_null(file);
	vbb_capture_open(&capture, file);
}

static int image_next(void)
{
	return vbb_capture_next(&capture, &hdr, buf, sizeof(buf));
}

static void assert_two(void)
{
	assert_int_equal(image_next(), 0);
	assert_int_equal(hdr.kind, VBB_CAPTURE_MSG);
	assert_int_equal(hdr.from, VBB_CAPTURE_DRIVER);
	assert_int_equal(hdr.queue, 1);
	assert_int_equal(hdr.id, 0x11223344);
	assert_int_equal(hdr.in_len, 16);
	assert_int_equal(hdr.len, 5);
	assert_int_equal(hdr.role, VBB_CAPTURE_HOST_REQUEST);
	assert_int_equal(hdr.modes, VBB_CAPTURE_BITMAP | VBB_CAPTURE_RECORDS);
	assert_memory_equal(buf, "hello", 5);
	assert_int_equal(image_next(), 0);
	assert_int_equal(hdr.kind, VBB_CAPTURE_DONE);
	assert_int_equal(hdr.from, VBB_CAPTURE_DEVICE);
	assert_int_equal(hdr.len, 0);
	assert_int_equal(image_next(), VBB_E_CLOSED);
	assert_int_equal(image_next(), VBB_E_CLOSED);
	fclose(file);
}

static void test_bytes(void **state)
{
	static const vbb_u8 want[] = {
		0x0a, 0x0d, 0x0d, 0x0a, 28, 0, 0, 0, 0x4d, 0x3c, 0x2b, 0x1a, 1, 0, 0, 0,
		0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 28, 0, 0, 0,
		1, 0, 0, 0, 76, 0, 0, 0, 147, 0, 0, 0, 0, 0, 0, 0,
		2, 0, 7, 0, 'b', 'a', 'l', 'l', 'o', 'o', 'n', 0,
		3, 0, 28, 0, 'v', 'i', 'r', 't', 'i', 'o', '-', 'b', 'a', 'l', 'l', 'o', 'o', 'n',
		' ', 'p', 'a', 'g', 'e', ' ', 'm', 'e', 's', 's', 'a', 'g', 'e', 's',
		9, 0, 1, 0, 9, 0, 0, 0, 0, 0, 0, 0, 76, 0, 0, 0,
		6, 0, 0, 0, 64, 0, 0, 0, 0, 0, 0, 0, 0x67, 0x45, 0x23, 0x01,
		0xef, 0xcd, 0xab, 0x89, 29, 0, 0, 0, 29, 0, 0, 0,
		1, 1, 0, 6, 1, 0, 3, 0, 0x44, 0x33, 0x22, 0x11, 16, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0,
		'h', 'e', 'l', 'l', 'o', 0, 0, 0, 64, 0, 0, 0,
	};

	(void)state;
	image_two();
	assert_memory_equal(image, want, sizeof(want));
	image_open(image_len);
	assert_two();
}

static void swap(vbb_u8 *p, unsigned int len)
{
	unsigned int i;
	vbb_u8 c;

	for (i = 0; i < len / 2; i++) {
		c = p[i];
		p[i] = p[len - 1 - i];
		p[len - 1 - i] = c;
	}
}

/* The same file as a machine of the other byte order would write it; our own bytes stay. */
static void test_big_endian(void **state)
{
	static const unsigned int words[] = {
		4, 8, 24, 28, 32, 40, 100, 104, 108, 112, 116, 120, 124, 128, 164, 168, 172, 176,
		180, 184, 188, 192, 220,
	};
	static const unsigned int halves[] = { 36, 44, 46, 56, 58, 88, 90 };
	size_t i;

	(void)state;
	image_two();
	for (i = 0; i < ARRAY_SIZE(words); i++)
		swap(image + words[i], 4);
	for (i = 0; i < ARRAY_SIZE(halves); i++)
		swap(image + halves[i], 2);
	image_open(image_len);
	assert_two();
}

/* Blocks as others write them */
static void put32(vbb_u8 *p, vbb_u32 v)
{
	p[0] = (vbb_u8)(v & 0xff);
	p[1] = (vbb_u8)(v >> 8 & 0xff);
	p[2] = (vbb_u8)(v >> 16 & 0xff);
	p[3] = (vbb_u8)(v >> 24);
}

static size_t put_block(vbb_u8 *p, vbb_u32 type, const vbb_u8 *body, size_t len)
{
	size_t total = 12 + ((len + 3) & ~(size_t)3);

	memset(p, 0, total);
	put32(p, type);
	put32(p + 4, (vbb_u32)total);
	if (len)
		memcpy(p + 8, body, len);
	put32(p + total - 4, (vbb_u32)total);
	return total;
}

/* What is not ours is passed over: other blocks, options, link types, interfaces, sections. */
static void test_others(void **state)
{
	static const vbb_u8 ethernet[8] = { 1 };
	vbb_u8 copy[512], body[1500] = { 0 }, *p;
	unsigned int i;
	size_t len;

	(void)state;
	image_two();
	len = image_len - HEAD_LEN;
	memcpy(copy, image + HEAD_LEN, len);
	p = image + SECTION_LEN;
	/* ours is interface 1 behind one of Ethernet; then more than are remembered */
	p += put_block(p, 1, ethernet, sizeof(ethernet));
	memcpy(p, "\1\0\0\0\24\0\0\0\223\0\0\0\0\0\0\0\24\0\0\0", 20);
	p += 20;
	for (i = 2; i < 80; i++)
		p += put_block(p, 1, ethernet, sizeof(ethernet));
	p += put_block(p, 0x80000001, body, sizeof(body));
	p += put_block(p, 4, NULL, 0);
	/* packets of other interfaces, one of which was never named */
	for (i = 0; i < 90; i += 3) {
		put32(body, i == 1 ? 2 : i);
		p += put_block(p, 6, body, 20);
	}
	/* options behind the packet */
	put32(copy + 8, 1);
	put32(copy + PACKET_LEN(5) + 8, 1);
	memcpy(p, copy, PACKET_LEN(5) - 4);
	p += PACKET_LEN(5) - 4;
	memcpy(p, "\1\0\2\0hi\0\0\0\0\0\0", 12);
	put32(p - PACKET_LEN(5) + 8, PACKET_LEN(5) + 12);
	put32(p + 12, PACKET_LEN(5) + 12);
	p += 16;
	/* in a new section there is only what it names */
	memcpy(p, image, SECTION_LEN);
	p += SECTION_LEN;
	memcpy(p, copy, len);
	p += len;
	memcpy(p, "\1\0\0\0\24\0\0\0\223\0\0\0\0\0\0\0\24\0\0\0", 20);
	p += 20;
	put32(copy + 8, 0);
	put32(copy + PACKET_LEN(5) + 8, 0);
	memcpy(p, copy + PACKET_LEN(5), PACKET_LEN(0));
	p += PACKET_LEN(0);
	/* nor is what was ours before, where the new one has Ethernet */
	memcpy(p, image, SECTION_LEN);
	p += SECTION_LEN;
	p += put_block(p, 1, ethernet, sizeof(ethernet));
	memcpy(p, copy + PACKET_LEN(5), PACKET_LEN(0));
	p += PACKET_LEN(0);
	image_open((size_t)(p - image));
	assert_two();
}

/* An end anywhere but between two blocks is told, once. */
static void test_truncated(void **state)
{
	size_t len;
	bool border;
	int err;

	(void)state;
	image_two();
	for (len = 0; len < image_len; len++) {
		/* a file of no bytes cannot be opened in memory */
		if (len) {
			image_open(len);
		} else {
			file = fopen("/dev/null", "rb");
			assert_non_null(file);
			vbb_capture_open(&capture, file);
		}
		border = len == SECTION_LEN || len == HEAD_LEN || len == HEAD_LEN + PACKET_LEN(5);
		while (err = image_next(), !err)
			;
		assert_int_equal(err, border ? VBB_E_CLOSED : VBB_E_FRAME);
		assert_int_equal(image_next(), border ? VBB_E_CLOSED : VBB_E_BROKEN);
		fclose(file);
	}
	/* an error of the file is no end of it */
	file = fopen("/", "rb");
	assert_non_null(file);
	vbb_capture_open(&capture, file);
	capture.begun = true;
	assert_int_equal(image_next(), VBB_E_FRAME);
	fclose(file);
}

static void test_bad(void **state)
{
	static const struct {
		unsigned int off;
		vbb_u32 value;
	} bad[] = {
		{ 0, 1 },			/* no section first */
		{ 8, 0x1a2b3c4e },		/* byte order */
		{ 4, 12 }, { 4, 29 }, { 4, 0xfffffffc }, { 24, 32 },
		{ 32, 0 }, { 32, 8 }, { 32, 12 }, { 32, 16 }, { 32, 33 }, { 100, 28 },
		{ 108, 28 }, { 108, 52 }, { 108, 62 }, { 164, 60 }, { 164, 0xffffffff },
		{ 124, 28 }, { 128, 28 }, { 128, 30 },
		{ 132, 0x00000102 }, { 132, 0x00000001 }, { 132, 0x00000301 }, { 132, 0x00020101 },
		{ 132, 0x07000101 }, { 136, 0x00040001 }, { 136, 0x01000001 },
		{ 132, 0x00000201 },		/* comes back with in_len */
		{ 148, 4 }, { 148, 6 }, { 148, 0xffffffff }, { 152, 1 }, { 152, 0xffffffff },
	};
	char text[100];
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		image_two();
		put32(image + bad[i].off, bad[i].value);
		image_open(image_len);
		assert_int_equal(image_next(), VBB_E_FRAME);
		assert_int_equal(image_next(), VBB_E_BROKEN);
		fclose(file);
	}
	/* both lengths of a packet wrong alike: past its block, less than our header */
	for (i = 0; i < 2; i++) {
		image_two();
		put32(image + 124, i ? 23 : 33);
		put32(image + 128, i ? 23 : 33);
		image_open(image_len);
		assert_int_equal(image_next(), VBB_E_FRAME);
		fclose(file);
	}
	/* both lengths of a block that is no multiple of 4 */
	image_two();
	memcpy(image + HEAD_LEN, "\1\0\0\200\15\0\0\0x\15\0\0\0", 13);
	image_open(HEAD_LEN + 13);
	assert_int_equal(image_next(), VBB_E_FRAME);
	fclose(file);
	/* more bytes in the packet than in the message, and than in our memory */
	image_start();
	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = 0;
	image_put(VBB_CAPTURE_MSG, 0, 0, 0, 0, text);
	image_end();
	put32(image + 148, 5);
	image_open(image_len);
	assert_int_equal(image_next(), VBB_E_FRAME);
	fclose(file);
	/* a message in three packets, of which one brings nothing */
	image_start();
	image_put(VBB_CAPTURE_MSG, 0, 0, 0, 0, "abc");
	image_put(VBB_CAPTURE_MSG, 0, 0, 0, 0, "");
	image_put(VBB_CAPTURE_MSG, 0, 0, 0, 0, "de");
	image_end();
	put32(image + 148, 5);
	put32(image + 148 + PACKET_LEN(3), 5);
	put32(image + 152 + PACKET_LEN(3), 3);
	put32(image + 148 + PACKET_LEN(3) + PACKET_LEN(0), 5);
	put32(image + 152 + PACKET_LEN(3) + PACKET_LEN(0), 3);
	image_open(image_len);
	assert_int_equal(image_next(), VBB_E_FRAME);
	fclose(file);
	/* and a header that is there, of a packet that is not: block and packet are too short */
	image_two();
	put_block(image + HEAD_LEN, 6, image + HEAD_LEN + 8, 20);
	put32(image + HEAD_LEN + 20, 24);
	put32(image + HEAD_LEN + 24, 24);
	image_open(HEAD_LEN + 32);
	assert_int_equal(image_next(), VBB_E_FRAME);
	fclose(file);
}

/* Every byte changed in every bit: it is read, or told, and never hurts. */
static void test_flipped(void **state)
{
	unsigned int bit;
	size_t i;
	int err;

	(void)state;
	image_two();
	for (i = 0; i < image_len; i++) {
		for (bit = 0; bit < 8; bit++) {
			image[i] ^= (vbb_u8)(1u << bit);
			image_open(image_len);
			while (err = image_next(), !err)
				assert_true(hdr.len <= sizeof(buf));
			assert_true(err == VBB_E_CLOSED || err == VBB_E_FRAME);
			fclose(file);
			image[i] ^= (vbb_u8)(1u << bit);
		}
	}
}

/* More than a packet holds */
static void test_parts(void **state)
{
	static vbb_u8 msg[300000], got[sizeof(msg)];
	static vbb_u8 bytes[400000], part[PACKET_LEN(VBB_CAPTURE_PACKET)];
	const struct vbb_seg seg[] = { { msg, 1 }, { msg + 1, 199999 }, { msg + 200000, 100000 } };
	struct vbb_capture_hdr put = {
		VBB_CAPTURE_MSG, VBB_CAPTURE_DEVICE, 0, 5, 0xffffffff, sizeof(msg), 0, 0
	};
	uint64_t seed = 1;
	size_t i, len;

	(void)state;
	for (i = 0; i < sizeof(msg); i++)
		msg[i] = (vbb_u8)test_rand(&seed);
	file = fmemopen(bytes, sizeof(bytes), "w+b");
	assert_non_null(file);
	vbb_capture_start(file);
	vbb_capture_put(file, &put, seg, 3, 0);
	len = (size_t)ftell(file);
	fclose(file);
	assert_int_equal(len, HEAD_LEN + 2 * sizeof(part) +
			      PACKET_LEN(sizeof(msg) - 2 * VBB_CAPTURE_PACKET));
	for (i = 0; i < 6; i++) {
		memcpy(part, bytes + HEAD_LEN + sizeof(part), sizeof(part));
		switch (i) {
		case 2:	/* another message in between */
			bytes[HEAD_LEN + sizeof(part) + 28 + 8] ^= 1;
			break;
		case 3:	/* a part twice */
			memcpy(bytes + HEAD_LEN + sizeof(part), bytes + HEAD_LEN, sizeof(part));
			break;
		case 4:	/* a part without bytes */
			put_block(bytes + HEAD_LEN + sizeof(part), 6, part + 8, 44);
			put32(bytes + HEAD_LEN + sizeof(part) + 20, 24);
			put32(bytes + HEAD_LEN + sizeof(part) + 24, 24);
			break;
		}
		/* the end behind a part */
		file = fmemopen(bytes, i == 5 ? HEAD_LEN + sizeof(part) : len, "rb");
		assert_non_null(file);
		vbb_capture_open(&capture, file);
		if (!i) {
			assert_int_equal(vbb_capture_next(&capture, &hdr, got, sizeof(got)), 0);
			assert_memory_equal(&hdr, &put, sizeof(hdr));
			assert_memory_equal(got, msg, sizeof(msg));
			assert_int_equal(vbb_capture_next(&capture, &hdr, got, sizeof(got)),
					 VBB_E_CLOSED);
		} else {
			/* 1: larger than the caller's buffer */
			assert_int_equal(vbb_capture_next(&capture, &hdr, got,
							  sizeof(got) - (i == 1)), VBB_E_FRAME);
		}
		fclose(file);
		memcpy(bytes + HEAD_LEN + sizeof(part), part, sizeof(part));
	}
}

/* Of what is longer than any good message, the rest is left out, and replay cannot play it. */
static void test_cut(void **state)
{
	static vbb_u8 msg[1 << 16], got[VBB_CAPTURE_MAX];
	struct vbb_capture_hdr put = {
		VBB_CAPTURE_MSG, VBB_CAPTURE_DRIVER, 0, 5, 0, 0, VBB_CAPTURE_INFLATE, 0
	};
	static const vbb_u32 lens[] = {
		VBB_CAPTURE_MAX, VBB_CAPTURE_MAX + 1, 0xffffffff,
	};
	static struct vbb_replay r;
	struct vbb_replay_msg one;
	struct vbb_seg seg[17];
	struct vbb_chain chain = { .seg = seg, .max_segs = 1 };
	const struct vbb_replay_cfg cfg = {
		.nr_queues = 1, .nr_msgs = 1, .max_len = sizeof(got), .msg = &one, .buf = got,
	};
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(seg); i++)
		seg[i] = (struct vbb_seg){ msg, sizeof(msg) };
	for (i = 0; i < ARRAY_SIZE(lens); i++) {
		struct vbb_replay_cfg with_file = cfg;

		file = tmpfile();
		assert_non_null(file);
		vbb_capture_start(file);
		put.len = lens[i];
		vbb_capture_put(file, &put, seg, ARRAY_SIZE(seg), 0);
		put.len = 3;
		vbb_capture_put(file, &put, seg, 1, 0);
		rewind(file);
		vbb_capture_open(&capture, file);
		assert_int_equal(vbb_capture_next(&capture, &hdr, got, sizeof(got) - 1),
				 VBB_E_FRAME);
		rewind(file);
		vbb_capture_open(&capture, file);
		assert_int_equal(vbb_capture_next(&capture, &hdr, got, sizeof(got)), 0);
		assert_int_equal(hdr.len, lens[i]);
		assert_int_equal(vbb_capture_len(&hdr), VBB_CAPTURE_MAX);
		assert_int_equal(capture.nr_packets, 9);
		assert_int_equal(vbb_capture_next(&capture, &hdr, got, sizeof(got)), 0);
		assert_int_equal(hdr.len, 3);
		assert_int_equal(capture.nr_packets, 10);
		assert_int_equal(vbb_capture_next(&capture, &hdr, got, sizeof(got)), VBB_E_CLOSED);
		rewind(file);
		with_file.f = file;
		vbb_replay_init(&r, &with_file);
		assert_int_equal(vbb_transport_recv(&r.t, 0, &chain),
				 lens[i] == VBB_CAPTURE_MAX ? 0 : VBB_E_FRAME);
		fclose(file);
	}
}

/* A disk that is full is told by the file. */
static void test_full(void **state)
{
	FILE *full = fopen("/dev/full", "wb");

	(void)state;
	assert_non_null(full);
	setbuf(full, NULL);
	assert_false(ferror(full));
	vbb_capture_start(full);
	assert_true(ferror(full));
	fclose(full);
}

#define NR_MSGS 4

static struct {
	struct vbb_loop l;
	struct vbb_loop_queue queue[4];
	struct vbb_loop_msg msg[4 * NR_MSGS];
	struct vbb_seg seg[4 * NR_MSGS * 4];
	struct vbb_record r[2];
	struct vbb_record_msg rmsg[2][NR_MSGS - 1];
	struct vbb_seg rseg[2][(NR_MSGS - 1) * 2];
	FILE *f[2];
	vbb_u8 role[1];
	struct vbb_replay p;
	struct vbb_replay_msg pmsg[2];
	vbb_u8 pbuf[2 * 64];
} rig;

/* Both ends of a loop are recorded. */
static void record_start(void)
{
	const struct vbb_loop_cfg loop = {
		.nr_queues = 2,
		.nr_msgs = NR_MSGS,
		.max_segs = 4,
		.queue = rig.queue,
		.msg = rig.msg,
		.seg = rig.seg,
	};
	unsigned int i;

	vbb_loop_init(&rig.l, &loop);
	rig.role[0] = VBB_CAPTURE_DEFLATE;
	for (i = 0; i < 2; i++) {
		const struct vbb_record_cfg record = {
			.under = &rig.l.end[i].t,
			.f = rig.f[i] = tmpfile(),
			.from = i ? VBB_CAPTURE_DEVICE : VBB_CAPTURE_DRIVER,
			.nr_msgs = NR_MSGS - 1,
			.max_in = 2,
			.role = rig.role,
			.nr_roles = 1,
			.msg = rig.rmsg[i],
			.seg = rig.rseg[i],
		};

		assert_non_null(rig.f[i]);
		vbb_record_init(&rig.r[i], &record);
		rig.r[i].modes = VBB_CAPTURE_RECORDS;
	}
}

static void record_stop(void)
{
	fclose(rig.f[0]);
	fclose(rig.f[1]);
	vbb_loop_destroy(&rig.l);
}

static void replay_start(unsigned int end, vbb_u8 from, unsigned int nr_queues)
{
	const struct vbb_replay_cfg cfg = {
		.f = rig.f[end],
		.from = from,
		.nr_queues = nr_queues,
		.nr_msgs = 2,
		.max_len = 64,
		.msg = rig.pmsg,
		.buf = rig.pbuf,
	};

	rewind(rig.f[end]);
	vbb_replay_init(&rig.p, &cfg);
}

static struct vbb_seg segs[2][4];
static struct vbb_chain chains[2];

static struct vbb_chain *chain(unsigned int i)
{
	chains[i] = (struct vbb_chain){ .seg = segs[i], .max_segs = 4 };
	return &chains[i];
}

static void test_record_limits(void **state)
{
	struct vbb_transport *t = &rig.r[0].t;
	vbb_u8 mem[16];
	const struct vbb_seg seg[] = { { mem, 4 }, { mem + 4, 4 }, { NULL, 0 }, { mem + 8, 4 } };
	unsigned int i;
	long len;

	(void)state;
	record_start();
	assert_int_equal(vbb_transport_send(t, 0, seg, 1, seg, 4, NULL), VBB_E_INVAL);
	assert_int_equal(vbb_transport_send(t, 2, seg, 1, seg, 3, NULL), VBB_E_INVAL);
	len = ftell(rig.f[0]);
	for (i = 0; i < NR_MSGS - 1; i++)
		assert_int_equal(vbb_transport_send(t, 0, seg, 1, seg + 1, 3, &mem[i]), 0);
	/* not one byte for what failed */
	assert_int_equal(ftell(rig.f[0]) - len, (NR_MSGS - 1) * PACKET_LEN(4));
	assert_int_equal(vbb_transport_send(t, 0, seg, 1, seg + 1, 1, mem), VBB_E_NOSPC);
	assert_int_equal(vbb_transport_recv(&rig.r[1].t, 0, chain(0)), 0);
	assert_int_equal(vbb_transport_done(&rig.r[1].t, 0, &chains[0], 9), VBB_E_INVAL);
	assert_int_equal(vbb_transport_done(&rig.r[1].t, 0, &chains[0], 8), 0);
	record_stop();
}

/* A conversation both ways; each end's capture holds all of it, and plays each side's part. */
static void test_replay(void **state)
{
	static const struct {
		unsigned int end, queue;
		const char *out;
		unsigned int in_len;
		const char *reply;
	} talk[] = {
		{ 0, 0, "one", 4, "1" },
		{ 0, 1, "two", 0, "" },
		{ 1, 0, "three", 9, "threefold" },
		{ 0, 0, "", 3, "abc" },
		{ 1, 1, "five", 1, "" },
		{ 0, 0, "six", 61, "!" },
	};
	vbb_u8 in[64];
	struct vbb_seg seg[2];
	unsigned int i, end, from, held;
	struct vbb_chain *c;
	void *token;
	vbb_u64 len;

	(void)state;
	record_start();
	for (i = 0; i < ARRAY_SIZE(talk); i++) {
		struct vbb_transport *a = &rig.r[talk[i].end].t, *b = &rig.r[!talk[i].end].t;

		seg[0] = (struct vbb_seg){ (void *)(uintptr_t)talk[i].out, strlen(talk[i].out) };
		seg[1] = (struct vbb_seg){ in, talk[i].in_len };
		assert_int_equal(vbb_transport_send(a, talk[i].queue, seg, 1, seg + 1, 1, in), 0);
		c = chain(0);
		assert_int_equal(vbb_transport_recv(b, talk[i].queue, c), 0);
		len = strlen(talk[i].reply);
		if (c->nr_in)
			memcpy(c->seg[c->nr_out].base, talk[i].reply, (size_t)len);
		assert_int_equal(vbb_transport_done(b, talk[i].queue, c, len), 0);
		assert_int_equal(vbb_transport_reap(a, talk[i].queue, &token, &len), 0);
	}
	for (end = 0; end < 2; end++) {
		/* the file holds messages and what came back, in order, whoever wrote it */
		rewind(rig.f[end]);
		vbb_capture_open(&capture, rig.f[end]);
		for (i = 0; i < 2 * ARRAY_SIZE(talk); i++) {
			const char *want = i % 2 ? talk[i / 2].reply : talk[i / 2].out;

			assert_int_equal(image_next(), 0);
			assert_int_equal(hdr.kind, i % 2 ? VBB_CAPTURE_DONE : VBB_CAPTURE_MSG);
			assert_int_equal(hdr.from, talk[i / 2].end ^ (i % 2));
			assert_int_equal(hdr.queue, talk[i / 2].queue);
			assert_int_equal(hdr.in_len, i % 2 ? 0 : talk[i / 2].in_len);
			assert_int_equal(hdr.len, strlen(want));
			assert_int_equal(hdr.role, hdr.queue ? VBB_CAPTURE_UNKNOWN :
							       VBB_CAPTURE_DEFLATE);
			assert_int_equal(hdr.modes, VBB_CAPTURE_RECORDS);
			assert_memory_equal(buf, want, hdr.len);
		}
		assert_int_equal(image_next(), VBB_E_CLOSED);
		for (from = 0; from < 2; from++) {
			replay_start(end, (vbb_u8)from, 2);
			held = 0;
			for (i = 0; i < ARRAY_SIZE(talk); i++) {
				if (talk[i].end != from)
					continue;
				c = chain(held % 2);
				assert_int_equal(vbb_transport_recv(&rig.p.t, !talk[i].queue, c),
						 VBB_E_AGAIN);
				assert_int_equal(vbb_transport_wait(&rig.p.t, 0), 0);
				assert_int_equal(vbb_transport_recv(&rig.p.t, talk[i].queue, c), 0);
				len = strlen(talk[i].out);
				assert_int_equal(vbb_segs_len(c->seg, c->nr_out), len);
				if (len)
					assert_memory_equal(c->seg->base, talk[i].out, (size_t)len);
				assert_int_equal(vbb_segs_len(c->seg + c->nr_out, c->nr_in),
						 talk[i].in_len);
				assert_int_equal(vbb_transport_done(&rig.p.t, !talk[i].queue, c, 0),
						 VBB_E_INVAL);
				assert_int_equal(vbb_transport_done(&rig.p.t, talk[i].queue, c,
								    talk[i].in_len), 0);
				held++;
			}
			assert_int_equal(vbb_transport_wait(&rig.p.t, 0), VBB_E_CLOSED);
			assert_int_equal(vbb_transport_recv(&rig.p.t, 0, c), VBB_E_CLOSED);
		}
	}
	/* the first queue alone */
	replay_start(0, VBB_CAPTURE_DRIVER, 1);
	assert_int_equal(vbb_transport_kick(&rig.p.t, 0), 0);
	assert_int_equal(vbb_transport_kick(&rig.p.t, 1), VBB_E_INVAL);
	for (i = 0; i < 3; i++) {
		assert_int_equal(vbb_transport_recv(&rig.p.t, 0, chain(0)), 0);
		assert_int_equal(vbb_transport_done(&rig.p.t, 0, &chains[0], 0), 0);
	}
	assert_int_equal(vbb_transport_recv(&rig.p.t, 0, chain(0)), VBB_E_CLOSED);
	record_stop();
}

/* All is held: nothing more can come, and we sleep; then it goes on where it was. */
static void test_replay_held(void **state)
{
	struct timespec before, after;
	unsigned int i;

	(void)state;
	image_start();
	for (i = 0; i < 3; i++)
		image_put(VBB_CAPTURE_MSG, VBB_CAPTURE_DRIVER, 0, i, i, "x");
	image_put(VBB_CAPTURE_MSG, VBB_CAPTURE_DRIVER, 0, 3, 64, "x");
	image_end();
	rig.f[0] = fmemopen(image, image_len, "rb");
	assert_non_null(rig.f[0]);
	replay_start(0, VBB_CAPTURE_DRIVER, 1);
	assert_int_equal(vbb_transport_recv(&rig.p.t, 0, chain(0)), 0);
	assert_int_equal(vbb_transport_recv(&rig.p.t, 0, chain(1)), 0);
	clock_gettime(CLOCK_MONOTONIC, &before);
	assert_int_equal(vbb_transport_wait(&rig.p.t, 20000000), VBB_E_AGAIN);
	clock_gettime(CLOCK_MONOTONIC, &after);
	assert_true((after.tv_sec - before.tv_sec) * 1000000000 + after.tv_nsec - before.tv_nsec >=
		    20000000);
	assert_int_equal(vbb_transport_done(&rig.p.t, 0, &chains[0], 0), 0);
	assert_int_equal(vbb_transport_recv(&rig.p.t, 0, chain(0)), 0);
	assert_int_equal(chains[0].seg[1].len, 2);
	assert_int_equal(vbb_transport_done(&rig.p.t, 0, &chains[1], 1), 0);
	/* what it may write does not fit into our memory */
	assert_int_equal(vbb_transport_recv(&rig.p.t, 0, chain(1)), VBB_E_FRAME);
	assert_int_equal(vbb_transport_recv(&rig.p.t, 0, chain(1)), VBB_E_BROKEN);
	assert_int_equal(vbb_transport_wait(&rig.p.t, 0), VBB_E_BROKEN);
	fclose(rig.f[0]);
}

/* Another reader: what tshark says of our file */
static void test_tshark(void **state)
{
	static vbb_u8 big[300000];
	const struct vbb_capture_hdr put = {
		VBB_CAPTURE_MSG, VBB_CAPTURE_DRIVER, 0, 1, 0, sizeof(big), 0, 0
	};
	const struct vbb_seg seg = { big, sizeof(big) };
	char path[] = "/tmp/vbb-capture-XXXXXX", command[256], line[256];
	FILE *out;
	int fd;

	(void)state;
	if (system("command -v tshark >/dev/null 2>&1"))
		test_skip("tshark is not installed");
	fd = mkstemp(path);
	assert_true(fd >= 0);
	file = fdopen(fd, "wb");
	assert_non_null(file);
	vbb_capture_start(file);
	image_put(VBB_CAPTURE_MSG, VBB_CAPTURE_DRIVER, 1, 2, 16, "hello");
	vbb_capture_put(file, &put, &seg, 1, 1234567890123456789);
	assert_int_equal(fclose(file), 0);
	snprintf(command, sizeof(command),
		 "tshark -n -r %s -T fields -e frame.encap_type -e frame.len -e frame.time_epoch "
		 "-e data.data 2>&1 | cut -c1-110", path);
	out = popen(command, "r");
	assert_non_null(out);
	assert_non_null(fgets(line, sizeof(line), out));
	while (strstr(line, "as user"))	/* a warning of its own about root */
		assert_non_null(fgets(line, sizeof(line), out));
	assert_string_equal(line, "45\t29\t81985529.216486895\t"
				  "01010006010003000200000010000000050000000000000068656c6c6f\n");
	assert_non_null(fgets(line, sizeof(line), out));
	assert_memory_equal(line, "45\t131096\t1234567890.123456789\t010100", 37);
	assert_non_null(fgets(line, sizeof(line), out));
	assert_memory_equal(line, "45\t131096\t", 10);
	assert_non_null(fgets(line, sizeof(line), out));
	assert_memory_equal(line, "45\t37880\t", 9);
	assert_null(fgets(line, sizeof(line), out));
	assert_int_equal(pclose(out), 0);
	unlink(path);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_bytes),
		cmocka_unit_test(test_big_endian),
		cmocka_unit_test(test_others),
		cmocka_unit_test(test_truncated),
		cmocka_unit_test(test_bad),
		cmocka_unit_test(test_flipped),
		cmocka_unit_test(test_parts),
		cmocka_unit_test(test_cut),
		cmocka_unit_test(test_full),
		cmocka_unit_test(test_record_limits),
		cmocka_unit_test(test_replay),
		cmocka_unit_test(test_replay_held),
		cmocka_unit_test(test_tshark),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
