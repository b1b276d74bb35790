#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause
"""A decoder of page messages written from docs/spec.md alone: it shares no code and no structure with the library.

It reads whole messages, names pages one run at a time in the order of the wire, and says at which message the input
stops being legal. It is slow and plain on purpose.
"""
import dataclasses
import re
import struct

HEADER = struct.Struct("<HHHHQQQ")
PFN_END = 1 << 52
PAYLOAD_MAX = 1 << 20
BITMAP, RECORDS, VALUES = 0, 1, 2
CONT, DONE, FLAG_LAST = 0, 1, 5
LOWEST_FIRST = [format(byte, "08b")[::-1] for byte in range(256)]


class Malformed(Exception):
    """From here on a receiver acts on nothing."""


@dataclasses.dataclass
class Message:
    """What a receiver makes of one message."""
    page_shift: int = 12
    runs: list = dataclasses.field(default_factory=list)      # (first page, number of pages)
    values: list = dataclasses.field(default_factory=list)
    malformed: bool = False


def set_bits(data):
    """The set bits of a byte string, bit b of byte k is 8k + b, as (first, how many)."""
    digits = "".join(LOWEST_FIRST[byte] for byte in data)
    for ones in re.finditer("1+", digits):
        yield ones.start(), ones.end() - ones.start()


class Decoder:
    """One message."""

    def __init__(self, queue, limit):
        self.answer = queue == "host_request"
        self.limit = limit
        self.msg = Message()
        self.end = PFN_END

    def name_pages(self, pfn, count, partly):
        """Pages that a record names: all or nothing, but of a bitmap those before the bad one."""
        good = min(count, max(0, self.end - pfn))
        if good and (partly or good == count):
            self.msg.runs.append((pfn, good))
        if good != count:
            raise Malformed("a page out of range")

    def header(self, chunk):
        """Check all of the header before anything of the payload is acted on."""
        if len(chunk) < HEADER.size:
            raise Malformed("no header")
        cmd, shift, flag, fmt, req_id, start, length = HEADER.unpack_from(chunk)
        if not 12 <= shift <= 30:
            raise Malformed("page_shift")
        if not self.answer and (cmd or flag or req_id):
            raise Malformed("cmd, flag, req_id")
        if flag > FLAG_LAST:
            raise Malformed("flag")
        if fmt > VALUES or (fmt == VALUES and not self.answer):
            raise Malformed("format")
        if start >= PFN_END or (start and fmt != BITMAP):
            raise Malformed("start_pfn")
        if length > PAYLOAD_MAX or length != len(chunk) - HEADER.size:
            raise Malformed("bmap_len")
        if length == 0 and flag == CONT:
            raise Malformed("an empty message")
        if length and flag not in (CONT, DONE):
            raise Malformed("a payload where there must be none")
        if fmt != BITMAP and length % 8:
            raise Malformed("a payload that is not in words")
        return shift, fmt, start

    def record(self, words):
        """Take one record off the front of a list of words."""
        first = words.pop(0)
        pfn, order, code = first & (1 << 52) - 1, first >> 52 & 63, first >> 58
        if order > 51 or pfn % (1 << order):
            raise Malformed("order or alignment")
        if code == 0:
            self.name_pages(pfn, 1 << order, False)
        elif code == 63:
            if order or not words:
                raise Malformed("an extent")
            count = words.pop(0)
            if not 1 <= count <= 1 << 52:
                raise Malformed("a count")
            self.name_pages(pfn, count, False)
        else:
            if len(words) < code:
                raise Malformed("a bitmap that is cut short")
            bitmap = b"".join(word.to_bytes(8, "little") for word in words[:code])
            del words[:code]
            for bit, count in set_bits(bitmap):
                self.name_pages(pfn + (bit << order), count << order, True)

    def payload(self, data, fmt, start):
        """Act as we go."""
        if fmt == BITMAP:
            for bit, count in set_bits(data):
                self.name_pages(start + bit, count, True)
            return
        words = [word for (word,) in struct.iter_unpack("<Q", data)]
        if fmt == VALUES:
            self.msg.values = words
            return
        while words:
            self.record(words)

    def decode(self, chunk):
        """A message to what it says."""
        try:
            shift, fmt, start = self.header(chunk)
            self.msg.page_shift = shift
            self.end = min(PFN_END, (1 << 64) >> shift, self.limit or PFN_END)
            self.payload(chunk[HEADER.size:], fmt, start)
        except Malformed:
            self.msg.malformed = True
        return self.msg


def decode_stream(data, queue="inflate", limit=None):
    """Messages one behind the other, up to the first that is malformed."""
    messages = []
    while data:
        length = HEADER.size
        if len(data) >= length:
            length += HEADER.unpack_from(data)[6]
        messages.append(Decoder(queue, limit).decode(data[:length]))
        data = data[length:]
        if messages[-1].malformed:
            break
    return messages


def decode_pfns(data, limit=None):
    """The old format: le32 numbers of 4 KiB frames."""
    decoder = Decoder("inflate", limit)
    decoder.end = min(PFN_END, limit or PFN_END)
    try:
        for at in range(0, len(data), 4):
            if len(data) - at < 4:
                raise Malformed("part of a frame")
            decoder.name_pages(int.from_bytes(data[at:at + 4], "little"), 1, False)
    except Malformed:
        decoder.msg.malformed = True
    return [decoder.msg]
