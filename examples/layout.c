// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause
/* What a language without C's headers has to know of the structures: it becomes layout.rs. */
#include <stdio.h>
#include <virtio_balloon_bmap/vbb.h>

#define SHOW(name, number) \
	printf("pub const %s: usize = %zu;\n", name, (size_t)(number))

int main(void)
{
	SHOW("DEC_LEN", sizeof(struct vbb_dec));
	SHOW("DEC_HDR", offsetof(struct vbb_dec, hdr));
	SHOW("DEC_CFG_LEN", sizeof(struct vbb_dec_cfg));
	SHOW("ENC_LEN", sizeof(struct vbb_enc));
	SHOW("ENC_CFG_LEN", sizeof(struct vbb_enc_cfg));
	SHOW("HDR_LEN", sizeof(struct vbb_hdr));
	SHOW("MSG_LEN", sizeof(struct vbb_msg));
	SHOW("RUN_LIST_LEN", sizeof(struct vbb_run_list));
	return 0;
}
