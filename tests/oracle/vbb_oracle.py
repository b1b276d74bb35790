#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause
"""A decoder and an encoder written from docs/spec.md alone: they share no code and no structure with the library.

The decoder reads whole messages, names pages one run at a time in the order of the wire, and says by what name, and where, the
input stops being legal. The encoder writes legal messages, in whatever way its caller likes. Both are slow and plain on purpose.
"""
import dataclasses
import re
import struct

HEADER = struct.Struct("<HHHHQQQ")
REQUEST = struct.Struct("<HHHHQQQ")
RESULT = struct.Struct("<QHHI")
FIELDS = ("cmd", "page_shift", "flag", "format", "req_id", "start_pfn", "bmap_len")
PFN_END = 1 << 52
PAYLOAD_MAX = 1 << 20
BITMAP, RECORDS, VALUES = 0, 1, 2
CONT, DONE, FLAG_LAST = 0, 1, 5
DROP_CACHE, CANCEL = 1, 2
BLOCK, EXTENT = 0, 63
LOWEST_FIRST = [format(byte, "08b")[::-1] for byte in range(256)]


class Malformed(Exception):
    """From here on a reader acts on nothing. The name is one of appendix A; the clause is what is violated."""

    def __init__(self, name, clause, byte=0):
        super().__init__(name, clause, byte)
        self.name, self.clause, self.byte = name, clause, byte


@dataclasses.dataclass
class Message:
    """What a reader makes of one message."""
    page_shift: int = 12
    header: dict = None
    runs: list = dataclasses.field(default_factory=list)      # (first page, number of pages)
    values: list = dataclasses.field(default_factory=list)
    fault: Malformed = None

    @property
    def malformed(self):
        """Is anything wrong with it?"""
        return self.fault is not None


def set_bits(data):
    """The set bits of a byte string, bit b of byte k is 8k + b, as (first, how many)."""
    digits = "".join(LOWEST_FIRST[byte] for byte in data)
    for ones in re.finditer("1+", digits):
        yield ones.start(), ones.end() - ones.start()


class Decoder:
    """One message."""

    def __init__(self, queue, limit, records=True):
        self.answer = queue == "host_request"
        self.limit = limit
        self.records = records
        self.msg = Message()
        self.end = PFN_END

    def set_end(self, shift):
        """The first page that is out of range, and what the fault is called (VBB-MSG-11)."""
        self.end = min(PFN_END, 1 << 64 - shift)
        self.out_of_range = "PFN_RANGE"
        if self.limit and self.limit < self.end:
            self.end, self.out_of_range = self.limit, "PFN_LIMIT"

    def name_pages(self, pfn, count, byte):
        """Pages of a block, an extent or a frame: all or nothing."""
        if pfn + count > self.end:
            raise Malformed(self.out_of_range, "VBB-MSG-11", byte)
        self.msg.runs.append((pfn, count))

    def name_bits(self, data, pfn, order, byte):
        """Pages of a bitmap that begins at this byte of the message: those before the bad one."""
        for bit, count in set_bits(data):
            first, pages = pfn + (bit << order), count << order
            good = min(pages, max(0, self.end - first))
            if good:
                self.msg.runs.append((first, good))
            if good != pages:
                raise Malformed(self.out_of_range, "VBB-MSG-11", byte + (bit + (good >> order)) // 64 * 8)

    def header(self, chunk):
        """Check all of the header before anything of the payload is acted on, in the order of appendix A."""
        if len(chunk) < HEADER.size:
            raise Malformed("SHORT", "VBB-MSG-05")
        cmd, shift, flag, fmt, req_id, start, length = HEADER.unpack_from(chunk)
        self.msg.header = dict(zip(FIELDS, HEADER.unpack_from(chunk)))
        rest = len(chunk) - HEADER.size
        for wrong, name, clause, byte in (
                (cmd and not self.answer, "CMD", "VBB-MSG-08", 0),
                (not 12 <= shift <= 30, "PAGE_SHIFT", "VBB-MSG-06", 2),
                (flag > (FLAG_LAST if self.answer else 0), "FLAG", "VBB-MSG-08", 4),
                (fmt > VALUES or fmt == VALUES and not self.answer or fmt == RECORDS and not self.records,
                 "FORMAT", "VBB-MSG-07", 6),
                (req_id and not self.answer, "REQ_ID", "VBB-MSG-08", 8),
                (start >= PFN_END if fmt == BITMAP else start, "START_PFN", "VBB-MSG-09", 16),
                (length > PAYLOAD_MAX, "LEN_MAX", "VBB-MSG-05", 24),
                (length != rest, "LEN", "VBB-MSG-05", 24),
                (length == 0 and flag == CONT, "LEN_EMPTY", "VBB-MSG-10", 24),
                (length and flag > DONE, "PAYLOAD", "VBB-MSG-10", 24),
                (fmt == RECORDS and length % 8, "LEN_ALIGN", "VBB-MSG-15", 24),
                (fmt == VALUES and length % 8, "LEN_ALIGN", "VBB-MSG-19", 24)):
            if wrong:
                raise Malformed(name, clause, byte)
        return shift, fmt, start

    def record(self, data, at):
        """One record at an offset of the message. Return the offset behind it."""
        def word(offset):
            return int.from_bytes(data[offset:offset + 8], "little")
        pfn, order, code = word(at) & (1 << 52) - 1, word(at) >> 52 & 63, word(at) >> 58
        if order > 51 or (code == EXTENT and order):
            raise Malformed("REC_ORDER", "VBB-MSG-16", at)
        if pfn % (1 << order):
            raise Malformed("REC_ALIGN", "VBB-MSG-16", at)
        behind = at + 8 + 8 * (1 if code == EXTENT else code)
        if behind > len(data):
            raise Malformed("REC_TRUNC", "VBB-MSG-17", at)
        if code == BLOCK:
            self.name_pages(pfn, 1 << order, at)
        elif code == EXTENT:
            if not 1 <= word(at + 8) <= 1 << 52:
                raise Malformed("REC_COUNT", "VBB-MSG-18", at + 8)
            self.name_pages(pfn, word(at + 8), at)
        else:
            self.name_bits(data[at + 8:behind], pfn, order, at + 8)
        return behind

    def payload(self, data, fmt, start):
        """Act as we go."""
        if fmt == BITMAP:
            self.name_bits(data[HEADER.size:], start, 0, HEADER.size)
        elif fmt == VALUES:
            self.msg.values = [number for (number,) in struct.iter_unpack("<Q", data[HEADER.size:])]
        else:
            at = HEADER.size
            while at < len(data):
                at = self.record(data, at)

    def decode(self, chunk):
        """A message to what it says."""
        try:
            shift, fmt, start = self.header(chunk)
            self.msg.page_shift = shift
            self.set_end(shift)
            self.payload(chunk, fmt, start)
        except Malformed as fault:
            self.msg.fault = fault
        return self.msg


def decode_stream(data, queue="inflate", limit=None, records=True):
    """Messages one behind the other, up to the first that is malformed."""
    messages = []
    while data:
        length = HEADER.size
        if len(data) >= length:
            length += HEADER.unpack_from(data)[6]
        messages.append(Decoder(queue, limit, records).decode(data[:length]))
        data = data[length:]
        if messages[-1].malformed:
            break
    return messages


def decode_pfns(data, limit=None):
    """The old format: le32 numbers of 4 KiB frames."""
    decoder = Decoder("inflate", limit)
    decoder.set_end(12)
    try:
        for at in range(0, len(data), 4):
            if len(data) - at < 4:
                raise Malformed("LEN_ALIGN", "VBB-MSG-24", at)
            decoder.name_pages(int.from_bytes(data[at:at + 4], "little"), 1, at)
    except Malformed as fault:
        decoder.msg.fault = fault
    return [decoder.msg]


def decode_request(data):
    """A buffer that was used with this length, to ({field: number}, fault)."""
    there = len(data) if len(data) in (16, 32) else min(len(data), 16) // 16 * 16
    cmd, res0, res1, res2, req_id, arg0, arg1 = REQUEST.unpack(data[:there].ljust(REQUEST.size, b"\0"))
    request = {"cmd": cmd, "id": req_id, "arg0": arg0, "arg1": arg1}
    for wrong, name, clause in ((len(data) < 16, "LEN", "VBB-DEV-17"), (req_id == 0, "REQ_ID", "VBB-DEV-17"),
                                (len(data) not in (16, 32), "LEN", "VBB-DEV-17"),
                                (res0 or res1 or res2, "RESERVED", "VBB-MSG-02"),
                                (cmd == DROP_CACHE and arg0 > 3 or cmd == CANCEL and arg1, "REQ_ARG", "VBB-MSG-02")):
        if wrong:
            return request, Malformed(name, clause)
    return request, None


def decode_result(data):
    """What a device wrote, to ({field: number}, fault)."""
    if len(data) != RESULT.size:
        return {}, Malformed("SHORT" if len(data) < RESULT.size else "LEN", "VBB-DEV-02")
    nr_pages, status, discard_shift, reserved = RESULT.unpack(data)
    result = {"nr_pages": nr_pages, "status": status, "discard_shift": discard_shift}
    if reserved:
        return result, Malformed("RESERVED", "VBB-DEV-16")
    return result, Malformed("STATUS", "VBB-DEV-16") if status > 3 else None


def message(fmt, payload, start_pfn=0, page_shift=12, cmd=0, flag=0, req_id=0):
    """A header and a payload."""
    return HEADER.pack(cmd, page_shift, flag, fmt, req_id, start_pfn, len(payload)) + payload


def bitmap_of(numbers, unit=8):
    """Bytes in which these bits are set, in whole units."""
    numbers = set(numbers)
    bits = bytearray((max(numbers, default=-1) // 8 + unit) // unit * unit)
    for number in numbers:
        bits[number // 8] |= 1 << number % 8
    return bytes(bits)


def word_record(pfn, order, code, *words):
    """A record."""
    return b"".join(word.to_bytes(8, "little") for word in (pfn | order << 52 | code << 58, *words))


class Encoder:
    """Runs of pages to messages. choose(sequence) takes the decisions that a sender is free to take."""

    def __init__(self, choose, page_shift=12, cmd=0, req_id=0, last_flag=0):
        self.choose = choose
        self.fields = {"page_shift": page_shift, "cmd": cmd, "req_id": req_id}
        self.last_flag = last_flag

    def blocks(self, pfn, count):
        """Aligned blocks."""
        while count:
            order = min((pfn & -pfn).bit_length() - 1 if pfn else 51, count.bit_length() - 1, 51)
            yield word_record(pfn, order, BLOCK)
            pfn, count = pfn + (1 << order), count - (1 << order)

    def records(self, runs):
        """Runs as records."""
        for pfn, count in runs:
            how = self.choose(("block", "extent", "bitmap") if count <= 3968 else ("block", "extent"))
            if how == "extent":
                yield word_record(pfn, 0, EXTENT, count)
            elif how == "block":
                yield from self.blocks(pfn, count)
            else:
                # any order of which the run is made of whole units
                step = (pfn | count) & -(pfn | count)
                order = self.choose(range(min(step.bit_length(), 52)))
                first = pfn - self.choose(range(8)) * (1 << order) * 8
                first = pfn if first < 0 or (pfn + count - first >> order) > 3968 else first
                bits = bitmap_of(range(pfn - first >> order, pfn + count - first >> order))
                yield word_record(first, order, len(bits) // 8, *(word for (word,) in struct.iter_unpack("<Q", bits)))

    def encode(self, runs, fmt):
        """Messages that name these runs; those of format BITMAP must lie close together."""
        if fmt == BITMAP:
            start = min(pfn for pfn, _ in runs) // 8 * 8 if self.choose((False, True)) else min(pfn for pfn, _ in runs)
            payloads = [bitmap_of((pfn + i - start for pfn, count in runs for i in range(count)), self.choose((1, 8)))]
        else:
            start, payloads = 0, [b""]
            for record in self.records(runs):
                if payloads[-1] and (self.choose(range(20)) == 0 or len(payloads[-1] + record) > PAYLOAD_MAX):
                    payloads.append(b"")
                payloads[-1] += record
        messages = [message(fmt, payload, start, **self.fields) for payload in payloads[:-1]]
        messages.append(message(fmt, payloads[-1], start, flag=min(self.last_flag, DONE), **self.fields))
        return b"".join(messages)
