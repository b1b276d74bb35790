// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause
/* Which clause of docs/spec.md a fault violates: its appendix A. */
#include "vbb.h"

#include <string.h>

/* In the words of the specification; tests/test_cli.py compares them. */
static const struct vbb_clause clauses[] = {
	{ "MSG-2",
	  "A bit or field that is called reserved MUST be written 0. A reader MUST\n"
	  "treat what carries one that is not 0 as malformed.\n" },
	{ "MSG-5",
	  "bmap_len MUST be 2^20 at most, and MUST be the number of device-readable\n"
	  "bytes of the chain less 32. A chain with fewer than 32 is malformed.\n" },
	{ "MSG-6",
	  "page_shift MUST be 12 to 30.\n" },
	{ "MSG-7",
	  "format MUST be BITMAP (0), RECORDS (1) or VALUES (2); RECORDS MUST NOT be\n"
	  "used unless bit 62 was negotiated; VALUES MUST NOT be used on the inflate\n"
	  "and deflate queues.\n" },
	{ "MSG-8",
	  "On the inflate and deflate queues cmd, flag and req_id MUST be 0. On\n"
	  "host_request, flag MUST be 0 to 5.\n" },
	{ "MSG-9",
	  "start_pfn MUST be below 2^52 in format BITMAP, and 0 in the others.\n" },
	{ "MSG-10",
	  "bmap_len MUST NOT be 0, except in an answer whose flag is not CONT. It\n"
	  "MUST be 0 where flag is UNSUPPORTED, BUSY, CANCELLED or FAILED.\n" },
	{ "MSG-11",
	  "A page is out of range when its pfn is 2^52 or more, or when its last byte\n"
	  "lies at or past 2^64, or when it lies at or past the limit that the reader\n"
	  "set, where it set one. A message MUST NOT name a page that is out of\n"
	  "range; one that does is malformed.\n" },
	{ "MSG-15",
	  "bmap_len MUST be a multiple of 8 in format RECORDS.\n" },
	{ "MSG-16",
	  "order MUST be 51 at most, and 0 in an extent. pfn MUST be a multiple of\n"
	  "2^order.\n" },
	{ "MSG-17",
	  "All words of a record MUST lie inside the payload.\n" },
	{ "MSG-18",
	  "The page count of an extent MUST be 1 to 2^52.\n" },
	{ "MSG-19",
	  "bmap_len MUST be a multiple of 8 in format VALUES.\n" },
	{ "MSG-24",
	  "Of an array whose length is no multiple of 4 a reader MUST act on whole\n"
	  "numbers only, and MUST treat the rest as malformed.\n" },
	{ "DEV-2",
	  "Where the device-writable part has 16 bytes or more, and bit 60 was\n"
	  "negotiated, a device MUST write the result to its first 16 bytes and use\n"
	  "the chain with length 16. Else it MUST use the chain with length 0.\n" },
	{ "DEV-16",
	  "A device MUST write 0 to 3 to status, and 0 to reserved.\n" },
	{ "DEV-17",
	  "A device MUST set param to a number that is not 0 and not the id of a\n"
	  "request that is open. It MUST use the buffer with length 32, or, where\n"
	  "both arguments are 0, with length 16 or 32. It MUST NOT write a request to\n"
	  "a buffer that has no room for it.\n" },
};

struct row {
	enum vbb_part part;
	int fault;
	const char *id;
};

/* Format VALUES has what is its own first, and shares the rest. */
static const struct row rows[] = {
	{ VBB_PART_VALUES, VBB_E_LEN_ALIGN, "MSG-19" },
	{ VBB_PART_MSG, VBB_E_SHORT, "MSG-5" },
	{ VBB_PART_MSG, VBB_E_CMD, "MSG-8" },
	{ VBB_PART_MSG, VBB_E_PAGE_SHIFT, "MSG-6" },
	{ VBB_PART_MSG, VBB_E_FLAG, "MSG-8" },
	{ VBB_PART_MSG, VBB_E_FORMAT, "MSG-7" },
	{ VBB_PART_MSG, VBB_E_REQ_ID, "MSG-8" },
	{ VBB_PART_MSG, VBB_E_START_PFN, "MSG-9" },
	{ VBB_PART_MSG, VBB_E_LEN_MAX, "MSG-5" },
	{ VBB_PART_MSG, VBB_E_LEN, "MSG-5" },
	{ VBB_PART_MSG, VBB_E_LEN_EMPTY, "MSG-10" },
	{ VBB_PART_MSG, VBB_E_PAYLOAD, "MSG-10" },
	{ VBB_PART_MSG, VBB_E_LEN_ALIGN, "MSG-15" },
	{ VBB_PART_MSG, VBB_E_REC_ORDER, "MSG-16" },
	{ VBB_PART_MSG, VBB_E_REC_ALIGN, "MSG-16" },
	{ VBB_PART_MSG, VBB_E_REC_TRUNC, "MSG-17" },
	{ VBB_PART_MSG, VBB_E_REC_COUNT, "MSG-18" },
	{ VBB_PART_MSG, VBB_E_PFN_RANGE, "MSG-11" },
	{ VBB_PART_MSG, VBB_E_PFN_LIMIT, "MSG-11" },
	{ VBB_PART_PFNS, VBB_E_LEN_ALIGN, "MSG-24" },
	{ VBB_PART_PFNS, VBB_E_PFN_RANGE, "MSG-11" },
	{ VBB_PART_PFNS, VBB_E_PFN_LIMIT, "MSG-11" },
	{ VBB_PART_REQUEST, VBB_E_LEN, "DEV-17" },
	{ VBB_PART_REQUEST, VBB_E_REQ_ID, "DEV-17" },
	{ VBB_PART_REQUEST, VBB_E_RESERVED, "MSG-2" },
	{ VBB_PART_REQUEST, VBB_E_REQ_ARG, "MSG-2" },
	{ VBB_PART_RESULT, VBB_E_SHORT, "DEV-2" },
	{ VBB_PART_RESULT, VBB_E_LEN, "DEV-2" },
	{ VBB_PART_RESULT, VBB_E_RESERVED, "DEV-16" },
	{ VBB_PART_RESULT, VBB_E_STATUS, "DEV-16" },
};

const struct vbb_clause *vbb_explain(enum vbb_part part, int fault)
{
	enum vbb_part shared = part == VBB_PART_VALUES ? VBB_PART_MSG : part;
	const char *id = NULL;
	size_t i;

	for (i = 0; !id && i < ARRAY_SIZE(rows); i++) {
		if (rows[i].fault == fault && (rows[i].part == part || rows[i].part == shared))
			id = rows[i].id;
	}
	for (i = 0; id && i < ARRAY_SIZE(clauses); i++) {
		if (!strcmp(clauses[i].id, id))
			return &clauses[i];
	}
	return NULL;
}
