// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause
/* Which clause of docs/spec.md a fault violates: its appendix A. */
#include "vbb.h"

#include <string.h>

/* In the words of the specification; tests/test_cli.py compares them. */
static const struct vbb_clause clauses[] = {
	{ "VBB-MSG-02",
	  "A bit or field that is called reserved MUST be written 0. A reader MUST\n"
	  "treat what carries one that is not 0 as malformed.\n" },
	{ "VBB-MSG-05",
	  "bmap_len MUST be 2^20 at most, and MUST be the number of device-readable\n"
	  "bytes of the chain less 32. A chain with fewer than 32 is malformed.\n" },
	{ "VBB-MSG-06",
	  "page_shift MUST be 12 to 30.\n" },
	{ "VBB-MSG-07",
	  "format MUST be BITMAP (0), RECORDS (1) or VALUES (2); RECORDS MUST NOT be\n"
	  "used unless bit 62 was negotiated; VALUES MUST NOT be used on the inflate\n"
	  "and deflate queues.\n" },
	{ "VBB-MSG-08",
	  "On the inflate and deflate queues cmd, flag and req_id MUST be 0. On\n"
	  "host_request, flag MUST be 0 to 5.\n" },
	{ "VBB-MSG-09",
	  "start_pfn MUST be below 2^52 in format BITMAP, and 0 in the others.\n" },
	{ "VBB-MSG-10",
	  "bmap_len MUST NOT be 0, except in an answer whose flag is not CONT. It\n"
	  "MUST be 0 where flag is UNSUPPORTED, BUSY, CANCELLED or FAILED.\n" },
	{ "VBB-MSG-11",
	  "A page is out of range when its pfn is 2^52 or more, or when its last byte\n"
	  "lies at or past 2^64, or when it lies at or past the limit that the reader\n"
	  "set, where it set one. A message MUST NOT name a page that is out of\n"
	  "range; one that does is malformed.\n" },
	{ "VBB-MSG-15",
	  "bmap_len MUST be a multiple of 8 in format RECORDS.\n" },
	{ "VBB-MSG-16",
	  "order MUST be 51 at most, and 0 in an extent. pfn MUST be a multiple of\n"
	  "2^order.\n" },
	{ "VBB-MSG-17",
	  "All words of a record MUST lie inside the payload.\n" },
	{ "VBB-MSG-18",
	  "The page count of an extent MUST be 1 to 2^52.\n" },
	{ "VBB-MSG-19",
	  "bmap_len MUST be a multiple of 8 in format VALUES.\n" },
	{ "VBB-MSG-24",
	  "Of an array whose length is no multiple of 4 a reader MUST act on whole\n"
	  "numbers only, and MUST treat the rest as malformed.\n" },
	{ "VBB-DRV-09",
	  "A driver MUST answer with page messages on the same queue that carry the\n"
	  "request's cmd and id, and no payload but what the command answers with:\n"
	  "any number with flag CONT, then exactly one with another flag. It owes that\n"
	  "one to each request that it answers at all, whatever happens to it, and\n"
	  "until the device is reset.\n" },
	{ "VBB-DEV-02",
	  "Where the device-writable part has 16 bytes or more, and bit 60 was\n"
	  "negotiated, a device MUST write the result to its first 16 bytes and use\n"
	  "the chain with length 16. Else it MUST use the chain with length 0.\n" },
	{ "VBB-DEV-16",
	  "A device MUST write 0 to 3 to status, and 0 to reserved.\n" },
	{ "VBB-DEV-17",
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
	{ VBB_PART_VALUES, VBB_E_LEN_ALIGN, "VBB-MSG-19" },
	{ VBB_PART_MSG, VBB_E_SHORT, "VBB-MSG-05" },
	{ VBB_PART_MSG, VBB_E_CMD, "VBB-MSG-08" },
	{ VBB_PART_MSG, VBB_E_PAGE_SHIFT, "VBB-MSG-06" },
	{ VBB_PART_MSG, VBB_E_FLAG, "VBB-MSG-08" },
	{ VBB_PART_MSG, VBB_E_FORMAT, "VBB-MSG-07" },
	{ VBB_PART_MSG, VBB_E_REQ_ID, "VBB-MSG-08" },
	{ VBB_PART_MSG, VBB_E_START_PFN, "VBB-MSG-09" },
	{ VBB_PART_MSG, VBB_E_LEN_MAX, "VBB-MSG-05" },
	{ VBB_PART_MSG, VBB_E_LEN, "VBB-MSG-05" },
	{ VBB_PART_MSG, VBB_E_LEN_EMPTY, "VBB-MSG-10" },
	{ VBB_PART_MSG, VBB_E_PAYLOAD, "VBB-MSG-10" },
	{ VBB_PART_MSG, VBB_E_LEN_ALIGN, "VBB-MSG-15" },
	{ VBB_PART_MSG, VBB_E_REC_ORDER, "VBB-MSG-16" },
	{ VBB_PART_MSG, VBB_E_REC_ALIGN, "VBB-MSG-16" },
	{ VBB_PART_MSG, VBB_E_REC_TRUNC, "VBB-MSG-17" },
	{ VBB_PART_MSG, VBB_E_REC_COUNT, "VBB-MSG-18" },
	{ VBB_PART_MSG, VBB_E_PFN_RANGE, "VBB-MSG-11" },
	{ VBB_PART_MSG, VBB_E_PFN_LIMIT, "VBB-MSG-11" },
	{ VBB_PART_PFNS, VBB_E_LEN_ALIGN, "VBB-MSG-24" },
	{ VBB_PART_PFNS, VBB_E_PFN_RANGE, "VBB-MSG-11" },
	{ VBB_PART_PFNS, VBB_E_PFN_LIMIT, "VBB-MSG-11" },
	{ VBB_PART_REQUEST, VBB_E_LEN, "VBB-DEV-17" },
	{ VBB_PART_REQUEST, VBB_E_REQ_ID, "VBB-DEV-17" },
	{ VBB_PART_REQUEST, VBB_E_RESERVED, "VBB-MSG-02" },
	{ VBB_PART_REQUEST, VBB_E_REQ_OPEN, "VBB-DEV-17" },
	{ VBB_PART_REQUEST, VBB_E_REQ_ARG, "VBB-MSG-02" },
	{ VBB_PART_ANSWER, VBB_E_REQ_STALE, "VBB-DRV-09" },
	{ VBB_PART_ANSWER, VBB_E_REQ_CMD, "VBB-DRV-09" },
	{ VBB_PART_ANSWER, VBB_E_PAYLOAD, "VBB-DRV-09" },
	{ VBB_PART_ANSWER, VBB_E_FORMAT, "VBB-DRV-09" },
	{ VBB_PART_RESULT, VBB_E_SHORT, "VBB-DEV-02" },
	{ VBB_PART_RESULT, VBB_E_LEN, "VBB-DEV-02" },
	{ VBB_PART_RESULT, VBB_E_RESERVED, "VBB-DEV-16" },
	{ VBB_PART_RESULT, VBB_E_STATUS, "VBB-DEV-16" },
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
