// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause
/*
 * The inflate queue of a VMM that has its guest's memory in a few banks, and whose virtqueues give
 * chains of struct iovec. The first half belongs into the VMM; the second plays the guest.
 */
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>
#include <virtio_balloon_bmap/vbb.h>

#define MAX_IOV		8
#define NR_BANKS	2

/* A descriptor chain, as virtqueue code gives it: what the device may read, then may write */
struct chain {
	struct iovec iov[MAX_IOV];
	size_t nr_out;
	size_t nr_in;
	vbb_u32 used_len;
};

struct vmm {
	struct vbb_ram bank[NR_BANKS];
	struct vbb_ram_map ram;
	bool page_bitmap;	/* VIRTIO_BALLOON_F_PAGE_BITMAP was negotiated */
	bool page_records;	/* VIRTIO_BALLOON_F_PAGE_RECORDS, too */
};

/* Gives back what of a run is RAM, in whole pages of the host. Returns bytes. */
static vbb_u64 discard(const struct vmm *vmm, struct vbb_span run, bool *failed)
{
	struct vbb_piece piece;
	vbb_u64 gpa, acted_len = 0;

	while (vbb_ram_map_next(&vmm->ram, &run, &piece)) {
		gpa = piece.span.gpa;
		if (!vbb_span_shrink(&piece.span, piece.ram->gpa, piece.ram->host_shift))
			continue;
		piece.addr += piece.span.gpa - gpa;
		if (madvise((void *)(uintptr_t)piece.addr, (size_t)piece.span.len, MADV_DONTNEED))
			*failed = true;
		else
			acted_len += piece.span.len;
	}
	return acted_len;
}

/* Does what the guest asks in a chain, and writes the result. */
static void inflate(const struct vmm *vmm, struct chain *chain)
{
	const struct vbb_dec_cfg cfg = { .queue = VBB_QUEUE_BALLOON, .records = vmm->page_records };
	struct vbb_result result = { .status = VIRTIO_BALLOON_STATUS_OK };
	vbb_u64 len = 0, acted_len = 0;
	struct vbb_seg seg[MAX_IOV];
	vbb_u32 page_shift = 12;
	struct vbb_range run;
	struct vbb_dec dec;
	bool failed = false;
	int err = 0;

	for (size_t i = 0; i < chain->nr_out + chain->nr_in; i++)
		seg[i] = (struct vbb_seg){ chain->iov[i].iov_base, chain->iov[i].iov_len };
	if (vmm->page_bitmap)
		err = vbb_dec_init(&dec, &cfg, seg, chain->nr_out);
	else
		vbb_dec_init_pfns(&dec, &cfg, seg, chain->nr_out);
	if (!err) {
		page_shift = dec.hdr.page_shift;
		while ((err = vbb_dec_next(&dec, &run)) > 0) {
			struct vbb_span span = vbb_range_span(&run, page_shift);

			len += span.len;
			acted_len += discard(vmm, span, &failed);
		}
	}
	if (err) {
		printf("device: %s at byte %llu\n", vbb_strerror(err),
		       (unsigned long long)vbb_dec_fault_off(&dec));
		result.status = VIRTIO_BALLOON_STATUS_MALFORMED;
	} else if (failed && !acted_len) {
		result.status = VIRTIO_BALLOON_STATUS_INHIBITED;
	} else if (acted_len < len) {
		result.status = VIRTIO_BALLOON_STATUS_PARTIAL;
	}
	result.nr_pages = acted_len >> page_shift;
	/* the old format has no results */
	chain->used_len = vmm->page_bitmap ?
		vbb_result_store(&result, seg + chain->nr_out, chain->nr_in) : 0;
}

/* --- The guest */

#define PAGE		4096u
#define BANK_LEN	(8u << 20)
#define BANK1_GPA	((vbb_u64)1 << 30)

/* The message and the result lie in the guest's memory, here */
#define MSG_OFF		PAGE
#define RESULT_OFF	(2 * PAGE)

static struct vbb_enc enc;

static vbb_u8 *bank_base(const struct vbb_ram *bank)
{
	return (vbb_u8 *)(uintptr_t)bank->addr;
}

/* Every page of the guest gets something to lose. */
static void fill(const struct vmm *vmm)
{
	for (size_t i = 0; i < NR_BANKS; i++)
		memset(bank_base(&vmm->bank[i]), 0xa5, (size_t)vmm->bank[i].len);
}

static bool is_named(const struct vbb_range *run, size_t nr_runs, vbb_u64 pfn)
{
	for (size_t i = 0; i < nr_runs; i++) {
		if (pfn >= run[i].pfn && pfn - run[i].pfn < run[i].nr_pages)
			return true;
	}
	return false;
}

/* How many pages are gone; -1 where it is one that was not named, or one is still there. */
static long long count_gone(const struct vmm *vmm, const struct vbb_range *run, size_t nr_runs)
{
	long long nr_gone = 0;

	for (size_t i = 0; i < NR_BANKS; i++) {
		for (size_t off = 0; off < vmm->bank[i].len; off += PAGE) {
			bool gone = !bank_base(&vmm->bank[i])[off + PAGE - 1];

			if (gone != is_named(run, nr_runs, (vmm->bank[i].gpa + off) / PAGE))
				return -1;
			nr_gone += gone;
		}
	}
	return nr_gone;
}

/* Puts runs into a message in the guest's memory, cut inconveniently. Returns its bytes. */
static size_t guest_send(const struct vmm *vmm, vbb_u32 formats, const struct vbb_range *run,
			 size_t nr_runs, struct chain *chain)
{
	const struct vbb_enc_cfg cfg = { .page_shift = 12, .formats = formats };
	vbb_u8 *base = bank_base(&vmm->bank[0]);
	struct vbb_seg seg = { base + MSG_OFF, PAGE };
	struct vbb_run_list list = { .run = run, .nr_runs = nr_runs };
	struct vbb_msg msg;

	if (vbb_enc_init(&enc, &cfg, &seg, 1) || vbb_enc_put_runs(&enc, &list) ||
	    vbb_enc_finish(&enc, 0, &msg))
		return 0;
	*chain = (struct chain){
		.iov = {
			{ base + MSG_OFF, 3 },
			{ base + MSG_OFF + 3, 18 },
			{ base + MSG_OFF + 21, (size_t)msg.len - 21 },
			{ base + RESULT_OFF, 7 },
			{ base + RESULT_OFF + 7, VBB_RESULT_LEN - 7 },
		},
		.nr_out = 3,
		.nr_in = 2,
	};
	return (size_t)msg.len;
}

/* One message there and back; the device must say what the guest's memory shows. */
static bool try(const struct vmm *vmm, const char *name, const struct vbb_range *run,
		size_t nr_runs, vbb_u16 status, bool spoil)
{
	vbb_u32 formats = vmm->page_bitmap ? VBB_FMT_AUTO : VBB_FMT_PFNS;
	struct vbb_seg in[] = {
		{ bank_base(&vmm->bank[0]) + RESULT_OFF, VBB_RESULT_LEN },
	};
	struct vbb_result result = { .status = VIRTIO_BALLOON_STATUS_OK };
	struct chain chain;
	long long nr_gone;
	size_t len;

	fill(vmm);
	len = guest_send(vmm, formats, run, nr_runs, &chain);
	if (spoil)
		bank_base(&vmm->bank[0])[MSG_OFF + 2] = 11; /* no page size */
	inflate(vmm, &chain);
	nr_gone = count_gone(vmm, run, spoil ? 0 : nr_runs);
	if (vmm->page_bitmap && chain.used_len != VBB_RESULT_LEN)
		return false;
	if (vmm->page_bitmap && vbb_result_load(&result, in, 1))
		return false;
	printf("%-14s %3zu bytes, status %u, %lld pages given back\n", name, len, result.status,
	       nr_gone);
	return len && result.status == status && nr_gone >= 0 &&
	       (!vmm->page_bitmap || result.nr_pages == (vbb_u64)nr_gone);
}

int main(void)
{
	const struct vbb_range runs[] = {
		{ 0x200, 512 },					/* an aligned block */
		{ 0x500, 1 }, { 0x502, 1 }, { 0x504, 2 },	/* a bitmap's case */
		{ BANK1_GPA / PAGE, 100 },			/* the other bank */
		{ BANK_LEN / PAGE - 3, 10 },			/* 3 pages, and a hole */
	};
	const size_t all = sizeof(runs) / sizeof(runs[0]), in_ram = all - 1;
	struct vmm vmm = { .page_bitmap = true, .page_records = true };
	bool ok;

	if (sysconf(_SC_PAGESIZE) != PAGE) {
		printf("SKIP pages here are not 4 KiB\n");
		return 77;
	}
	for (size_t i = 0; i < NR_BANKS; i++) {
		void *base = mmap(NULL, BANK_LEN, PROT_READ | PROT_WRITE,
				  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

		if (base == MAP_FAILED) {
			perror("mmap");
			return 1;
		}
		vmm.bank[i] = (struct vbb_ram){
			.gpa = i * BANK1_GPA,
			.len = BANK_LEN,
			.addr = (uintptr_t)base,
			.host_shift = 12,
		};
	}
	vmm.ram = (struct vbb_ram_map){ vmm.bank, NR_BANKS };
	if (vbb_ram_map_check(&vmm.ram))
		return 1;

	ok = try(&vmm, "all RAM", runs, in_ram, VIRTIO_BALLOON_STATUS_OK, false);
	ok &= try(&vmm, "with a hole", runs, all, VIRTIO_BALLOON_STATUS_PARTIAL, false);
	ok &= try(&vmm, "malformed", runs, in_ram, VIRTIO_BALLOON_STATUS_MALFORMED, true);
	vmm.page_bitmap = false;
	ok &= try(&vmm, "stock driver", runs, in_ram, VIRTIO_BALLOON_STATUS_OK, false);
	return ok ? 0 : 1;
}
