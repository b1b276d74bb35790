# SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause
"""What the tests of `vbb device` stand on: messages, a device with a front-end, and what each test checks.

Messages are built here from the wire format's definition, not by the library.
"""

import os
import pathlib
import random
import struct
import sys
import time
import unittest

import frontend as fe
from frontend import FrontEnd, Memory, Region, bits
from harness import MIB
from umlguest import Device

OLD = bits(fe.VERSION_1, fe.PROTOCOL_FEATURES)
BITMAP = OLD | bits(fe.PAGE_BITMAP)
RECORDS = BITMAP | bits(fe.PAGE_RECORDS)
ALL = RECORDS | bits(fe.INDIRECT_DESC, fe.EVENT_IDX)

OK, PARTIAL, INHIBITED, MALFORMED = 0, 1, 2, 3  # a result's status

LOW_LEN = 6 * MIB  # rings and messages, at guest physical 0
RAM_LEN = 10 * MIB  # all other memory of a rig, unless it is told otherwise
BUFFER, BUFFER_LEN = 2 * MIB, 3 * MIB
TABLES = 5 * MIB


# Messages

def header(fmt, payload, start_pfn=0, page_shift=12, cmd=0, flag=0, req_id=0, bmap_len=None):
    return struct.pack("<4H3Q", cmd, page_shift, flag, fmt, req_id, start_pfn,
                       len(payload) if bmap_len is None else bmap_len) + payload


def bitmap(pages, page_shift=12):
    start = min(pages)
    field = sum(1 << page - start for page in pages)
    return header(0, field.to_bytes((field.bit_length() + 63) // 64 * 8, "little"), start, page_shift)


def records(*words, page_shift=12):
    return header(1, struct.pack(f"<{len(words)}Q", *words), page_shift=page_shift)


def block(pfn, order=0):
    return pfn | order << 52


def extent(pfn, nr_pages):
    return pfn | 63 << 58, nr_pages


def pfns(pages):
    return struct.pack(f"<{len(pages)}I", *pages)


def record_mix(rng, pages):
    """The same pages as blocks, bitmaps and extents, as chance has it."""
    words, left = [], sorted(pages)
    while left:
        first, kind = left[0], rng.randrange(3)
        run = 1
        while run < len(left) and left[run] == first + run:
            run += 1
        if kind == 0:
            words.append(block(first))
            del left[0]
        elif kind == 1:
            words += extent(first, run)
            del left[:run]
        else:
            nr_words = rng.randint(1, 3)
            here = [page for page in left if page < first + 64 * nr_words]
            field = sum(1 << page - first for page in here)
            words.append(first | nr_words << 58)
            words += [field >> 64 * i & (1 << 64) - 1 for i in range(nr_words)]
            del left[:len(here)]
    return records(*words)


# What the tests stand on

class Rig:
    """A device, a front-end that has set up both queues, and RAM with random content."""

    def __init__(self, device, features=ALL, ram=None, seed=1):
        self.device = device
        self.low = Memory(LOW_LEN)
        self.memories = [self.low]
        if ram is None:
            a, b, c = Memory(4 * MIB), Memory(3 * MIB), Memory(4 * MIB)
            self.memories += [a, b, c]
            # two that touch, one of them from the middle of its file; one apart
            ram = [Region(0x40000000, a), Region(0x40400000, b, fd_off=MIB), Region(0x80000000, c)]
        else:
            self.memories += {id(region.memory): region.memory for region in ram}.values()
        self.ram = ram
        self.rng = random.Random(seed)
        self.front = FrontEnd(device.socket)
        self.offered = self.front.negotiate(features)
        self.front.share([Region(0, self.low), *ram])
        self.inflate = self.front.ring(0, 0)
        self.deflate = self.front.ring(1, 64 * 1024)
        self.inflate.set_up()
        self.deflate.set_up()
        self.fill()

    def fill(self):
        """Random content everywhere, and a copy of it to compare with."""
        for memory in self.memories[1:]:
            memory.map[:] = self.rng.randbytes(memory.len)
        self.before = {id(memory): memory.map[:] for memory in self.memories[1:]}
        self.before_len = sum(memory.host_len() for memory in self.memories[1:])

    def ram_pages(self):
        """Every page of the RAM."""
        return [region.gpa // fe.PAGE_LEN + i for region in self.ram
                for i in range(region.len // fe.PAGE_LEN)]

    def differences(self, pages):
        """What is not as it must be once these pages, and no others, were discarded."""
        # first: to look at a hole fills it
        freed = self.before_len - sum(memory.host_len() for memory in self.memories[1:])
        wrong = []
        want = {key: bytearray(content) for key, content in self.before.items()}
        for page in pages:
            for region in self.ram:
                off = page * fe.PAGE_LEN - region.gpa
                if 0 <= off < region.len:
                    off += region.fd_off
                    want[id(region.memory)][off:off + fe.PAGE_LEN] = bytes(fe.PAGE_LEN)
        for memory in self.memories[1:]:
            if memory.map[:] != want[id(memory)]:
                wrong.append("content")
        if freed != len(pages) * fe.PAGE_LEN:
            wrong.append(f"{freed} bytes freed, not {len(pages) * fe.PAGE_LEN}")
        return wrong

    def send(self, ring, message, into=16, cuts=(), indirect=False, timeout=60):
        """A message and its result: (used length, result or None)."""
        self.front.write(BUFFER, message)
        edges = [0, *sorted(cuts), len(message)]
        out = [(BUFFER + a, b - a) for a, b in zip(edges, edges[1:]) if b > a]
        answer = BUFFER + BUFFER_LEN - 4096
        self.front.write(answer, b"\xa5" * 64)
        parts = into if isinstance(into, tuple) else (into,) if into else ()
        pieces, at = [], answer
        for length in parts:
            pieces.append((at, length))
            at += length
        head = ring.add(out, pieces, TABLES if indirect else None)
        ring.kick()
        used = ring.wait(timeout)
        assert used and used[0] == head, used
        text = self.front.read(answer, 64)
        result = struct.unpack("<QHHI", text[:16]) if used[1] else None
        assert text[used[1]:] == b"\xa5" * (64 - used[1])
        return used[1], result

    def close(self):
        self.front.close()
        for memory in self.memories:
            memory.close()


class Latencies:
    """How much CPU time a device uses before it answers on its control socket: what others use does not count."""

    def __init__(self, device):
        self.device, self.seconds = device, []

    def measure(self):
        begin = self.device.cpu_seconds()
        self.device.qmp.execute("query-balloon")
        self.seconds.append(self.device.cpu_seconds() - begin)

    def check(self, case, what=None):
        """20 ms are promised."""
        case.assertGreater(len(self.seconds), 3, what)
        case.assertLess(sorted(self.seconds)[len(self.seconds) * 9 // 10], 0.02)


class Case(unittest.TestCase):
    """Every device of a test must end with status 0 on SIGTERM and leave nothing behind."""

    vbb = "vbb"

    def device(self, *options):
        device = Device(self.vbb, options)
        self.addCleanup(device.kill)
        self.addCleanup(self.end, device)
        return device

    def end(self, device):
        if device.alive():
            device.process.terminate()
            self.assertEqual(device.wait(60), 0, pathlib.Path(device.log).read_text(encoding="utf-8"))
            self.assertEqual(os.listdir(os.path.dirname(device.socket)), ["log"], "a socket was left")

    def rig(self, device=None, *options, **more):
        rig = Rig(device or self.device(*options), **more)
        self.addCleanup(rig.close)
        return rig

    def faults(self, device):
        return {name: count for name, count in device.counters()["faults"].items() if count}

    def wait_for(self, condition, timeout=60):
        deadline = time.monotonic() + timeout
        while not condition():
            self.assertLess(time.monotonic(), deadline, "not in time")
            time.sleep(0.005)

    def alive(self, device):
        """A new front-end is served."""
        rig = Rig(device)
        try:
            page = rig.ram[0].gpa // fe.PAGE_LEN
            self.assertEqual(rig.send(rig.inflate, bitmap([page])), (16, (1, OK, 12, 0)))
        finally:
            rig.close()


def main(module):
    """Take the path of vbb off the arguments, and run the tests of a module."""
    if len(sys.argv) < 2:
        sys.exit(sys.modules[module].__doc__)
    Case.vbb = sys.argv.pop(1)
    unittest.main(module)
