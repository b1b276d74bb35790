// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause
/*
 * Property: whatever bytes the other side sends, the host accepts answers only to requests that it
 * made and that are open, applies none that it gave up, and sees one end of each at most; the guest
 * ends each request that it takes exactly once, and never has more ends waiting than it can hold.
 */
#include "fuzz.h"

#define NR_IDS 256
#define NR_OPEN (VBB_GUEST_NR_ENDS + 1)

static struct {
	struct vbb_host host;
	struct vbb_guest guest;
	/* the host's requests, by id: first_id, and those after it */
	vbb_u64 first_id;
	size_t nr_ids;
	struct {
		vbb_u16 cmd;
		bool open, given_up;
	} id[NR_IDS];
	struct vbb_req last;	/* the one made last */
	/* what the guest owes an end */
	struct {
		vbb_u64 id;
		vbb_u16 cmd;
	} owed[NR_OPEN];
	size_t nr_owed;
} f;

static void made(const struct vbb_req *req)
{
	fuzz_check(req->id == f.first_id + f.nr_ids && req->id);
	f.id[f.nr_ids].cmd = req->cmd;
	f.id[f.nr_ids].open = true;
	f.nr_ids++;
	f.last = *req;
}

static size_t nr_open(bool cancel)
{
	size_t i, nr = 0;

	for (i = 0; i < f.nr_ids; i++)
		nr += f.id[i].open && (f.id[i].cmd == VIRTIO_BALLOON_CMD_CANCEL) == cancel;
	return nr;
}

static void host_open(struct fuzz_input *in)
{
	vbb_u16 cmd = (vbb_u16)fuzz_take(in, 1) % 4;
	vbb_u64 arg0 = fuzz_take(in, 1);
	struct vbb_req req;
	int err;

	err = vbb_host_open(&f.host, cmd, arg0, 0, &req);
	if (err == VBB_E_AGAIN)
		fuzz_check(nr_open(false) == 1);
	if (err)
		return;
	fuzz_check(!nr_open(false) && req.cmd == cmd && req.arg0 == arg0);
	fuzz_check(cmd != VIRTIO_BALLOON_CMD_CANCEL && cmd < 3);
	made(&req);
}

static void host_cancel(void)
{
	struct vbb_req req;
	size_t i;

	if (vbb_host_cancel(&f.host, &req))
		return;
	fuzz_check(nr_open(false) == 1 && !nr_open(true));
	i = (size_t)(req.arg0 - f.first_id);
	fuzz_check(i < f.nr_ids && f.id[i].open);
	f.id[i].given_up = true;
	made(&req);
}

static void host_forget(void)
{
	size_t i;

	vbb_host_forget(&f.host);
	fuzz_check(!vbb_host_may_apply(&f.host));
	for (i = 0; i < f.nr_ids; i++)
		f.id[i].given_up |= f.id[i].cmd == VIRTIO_BALLOON_CMD_GET_UNUSED_PAGES;
}

/* One of ours, most likely; or anything */
static vbb_u64 some_id(struct fuzz_input *in)
{
	vbb_u8 back = (vbb_u8)fuzz_take(in, 1);

	return back == 255 ? fuzz_take(in, 8) : f.first_id + f.nr_ids - back % 8;
}

static void host_close(struct fuzz_input *in)
{
	vbb_u64 id = some_id(in), i = id - f.first_id;

	fuzz_check(!vbb_host_close(&f.host, id) == (i < f.nr_ids && f.id[i].open));
	fuzz_check(f.host.applying_id != id || !id);
	if (i < f.nr_ids)
		f.id[i].open = false;
}

/* An answer, as bytes */
static void host_answer(struct fuzz_input *in)
{
	const struct vbb_dec_cfg cfg = { .queue = VBB_QUEUE_HOST_REQUEST, .records = true };
	vbb_u64 i, how = fuzz_take(in, 2);
	vbb_u8 bytes[VBB_HDR_LEN + 8] = { 0 };
	struct vbb_seg seg = { bytes, VBB_HDR_LEN + (how & 8) };
	struct vbb_hdr hdr = {
		.cmd = how >> 4 & 3, .page_shift = 12, .flag = how & 7, .format = how >> 6 & 3,
		.req_id = some_id(in), .bmap_len = how & 8,
	};
	struct vbb_cur cur;
	struct vbb_dec d;
	int verdict;

	i = hdr.req_id - f.first_id;
	if (i < f.nr_ids && how & 256)
		hdr.cmd = f.id[i].cmd;
	vbb_cur_init(&cur, &seg, 1);
	fuzz_check(!vbb_hdr_store(&hdr, &cur));
	if (vbb_dec_init(&d, &cfg, &seg, 1))
		return;
	verdict = vbb_host_accept(&f.host, &d.hdr);
	fuzz_check(vbb_host_may_apply(&f.host) == (verdict > 0 && verdict & VBB_HOST_APPLY));
	if (verdict < 0) {
		fuzz_check((verdict != VBB_E_REQ_STALE) == (i < f.nr_ids && f.id[i].open));
		return;
	}
	fuzz_check(i < f.nr_ids && f.id[i].open && f.id[i].cmd == hdr.cmd);
	fuzz_check(!(verdict & VBB_HOST_APPLY) || (hdr.bmap_len && !f.id[i].given_up));
	fuzz_check(!!(verdict & VBB_HOST_END) == vbb_flag_ends(hdr.flag));
	if (verdict & VBB_HOST_END)
		f.id[i].open = false;
}

static size_t find_owed(vbb_u64 id)
{
	size_t i;

	for (i = 0; i < f.nr_owed && f.owed[i].id != id; i++)
		;
	return i;
}

/* A request, as bytes: what the host made last, or anything */
static void guest_take(struct fuzz_input *in)
{
	const struct vbb_guest old = f.guest;
	vbb_u64 used_len = 8 * (fuzz_take(in, 1) % 6);
	vbb_u8 bytes[VBB_REQ_LEN] = { 0 }, how = (vbb_u8)fuzz_take(in, 1);
	struct vbb_seg seg = { bytes, sizeof(bytes) };
	struct vbb_req req;
	size_t i;
	int err, ret;

	if (how & 1 && f.nr_ids) {
		used_len = (vbb_u64)vbb_req_store(&f.last, &seg, 1);
	} else {
		bytes[0] = how >> 1 & 7;
		bytes[2] = how >> 4 == 15;
		bytes[8] = (vbb_u8)fuzz_take(in, 1) % 8;
		bytes[16] = (vbb_u8)fuzz_take(in, 1) % 8;
		bytes[24] = how >> 4 == 14;
	}
	err = vbb_req_load(&req, &seg, 1, used_len);
	ret = vbb_guest_take(&f.guest, &req, err);
	i = find_owed(req.id);
	if (!vbb_guest_ready(&old) || !req.id || i < f.nr_owed) {
		fuzz_check(ret < 0 && !memcmp(&old, &f.guest, sizeof(old)));
		return;
	}
	fuzz_check(f.nr_owed < NR_OPEN);
	f.owed[i].id = req.id;
	f.owed[i].cmd = req.cmd;
	f.nr_owed++;
	fuzz_check((ret == VBB_GUEST_SERVE) == (f.guest.nr_ends == old.nr_ends));
	fuzz_check(!err || ret < 0);
}

static void guest_end(vbb_u16 flag)
{
	const struct vbb_guest old = f.guest;

	if (vbb_guest_end(&f.guest, flag))
		return;
	fuzz_check(old.state != VBB_GUEST_IDLE && f.guest.state == VBB_GUEST_IDLE);
	fuzz_check(flag != VIRTIO_BALLOON_FLAG_CANCELLED || old.state == VBB_GUEST_STOPPING);
	fuzz_check(vbb_flag_ends(flag) && f.guest.nr_ends == old.nr_ends + 1);
}

static void guest_send(void)
{
	struct vbb_hdr hdr;
	size_t i;

	if (!vbb_guest_next_end(&f.guest, &hdr))
		return;
	i = find_owed(hdr.req_id);
	fuzz_check(i < f.nr_owed && f.owed[i].cmd == hdr.cmd && vbb_flag_ends(hdr.flag));
	f.owed[i] = f.owed[--f.nr_owed];
	vbb_guest_end_sent(&f.guest);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input in = { data, size };
	size_t i;

	memset(&f, 0, sizeof(f));
	f.first_id = fuzz_take(&in, 1) & 1 ? ~(vbb_u64)0 - 5 : 1;
	vbb_host_init(&f.host, f.first_id);
	vbb_guest_init(&f.guest);
	while (in.size && f.nr_ids < NR_IDS - 1) {
		vbb_u8 op = (vbb_u8)fuzz_take(&in, 1);

		switch (op % 11) {
		case 0:
		case 1:
			host_open(&in);
			break;
		case 2:
			host_cancel();
			break;
		case 3:
			host_forget();
			break;
		case 4:
			host_close(&in);
			break;
		case 5:
			vbb_host_reset(&f.host);
			for (i = 0; i < f.nr_ids; i++)
				f.id[i].open = false;
			break;
		case 6:
		case 7:
			host_answer(&in);
			break;
		case 8:
			guest_take(&in);
			break;
		case 9:
			guest_end((vbb_u16)fuzz_take(&in, 1) % 8);
			break;
		case 10:
			guest_send();
			break;
		}
		/* owed: those that wait, and the one being served */
		fuzz_check(f.nr_owed == f.guest.nr_ends + (f.guest.state != VBB_GUEST_IDLE));
		fuzz_check(f.nr_owed <= VBB_GUEST_NR_ENDS);
	}
	return 0;
}
