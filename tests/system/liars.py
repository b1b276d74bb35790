#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause
"""A guest that lies to the balloon device, `vbb device` or QEMU's. Prints TAP.

liars.py [--vbb PROGRAM] [--qemu PROGRAM] [--filter TEXT] [--list]

The program is the guest's driver, down to the bytes of the rings. After each lie it looks: no
sanitizer has said anything, the fault is counted under its name, memory outside the pages that were
named is byte for byte the same, and the next honest message is served. Both devices get the same
lies; what follows from one may differ, since QEMU's own code reads the rings, and wants a reset
where they are broken.
"""

import mmap
import os
import pathlib
import re
import struct
import sys
import threading
import time

import frontend as fe
import qtest
import tap
from devicerig import ALL, BUFFER, LOW_LEN, MALFORMED, OK, OLD, PARTIAL, Rig, bitmap, block, extent, header, records
from frontend import Memory, Region
from harness import MIB, QmpError
from qtest import Machine
from tap import check, poll
from umlguest import Device

PAGE_LEN = 4096
NEXT, WRITE, INDIRECT = fe.NEXT, fe.WRITE, fe.INDIRECT
INFLATE, DEFLATE, REQUESTS = "inflate", "deflate", "requests"
GET_UNUSED_PAGES, DROP_CACHE = range(2)
CONT, DONE, _, BUSY = range(4)
RESET = "reset"  # instead of a count: the device says that it needs one
REPORT = re.compile(r"Sanitizer|runtime error: ")


class Ring:
    """The driver's side of one virtqueue, without any idea of what belongs into it."""

    def __init__(self, device, place, num, kick):
        self.device, self.num, self.kick = device, num, kick
        self.desc, self.avail, self.used = place.desc, place.avail, place.used
        self.avail_idx = self.used_idx = 0

    def put(self, slot, gpa, length, flags=0, link=0):
        self.device.write(self.desc + 16 * slot, struct.pack("<QIHH", gpa, length, flags, link))

    def set_idx(self, value):
        self.device.write(self.avail + 2, struct.pack("<H", value & 0xffff))

    def offer(self, head):
        self.device.write(self.avail + 4 + 2 * (self.avail_idx % self.num), struct.pack("<H", head))
        self.avail_idx += 1
        self.set_idx(self.avail_idx)

    def back(self):
        """How many chains have come back that were not taken."""
        index, = struct.unpack("<H", self.device.read(self.used + 2, 2))
        return index - self.used_idx & 0xffff

    def take(self, timeout=20):
        poll(self.back, timeout, "no chain comes back")
        slot = self.used + 4 + 8 * (self.used_idx % self.num)
        self.used_idx += 1
        return struct.unpack("<II", self.device.read(slot, 8))

    def send(self, message, at=None):
        """A message and its result: (nr_pages, status, discard_shift, reserved), or None."""
        at = self.device.buffer if at is None else at
        answer = self.device.buffer + self.device.buffer_len - PAGE_LEN
        self.device.write(at, message)
        self.put(0, at, len(message), NEXT, 1)
        self.put(1, answer, 16, WRITE)
        self.offer(0)
        self.kick()
        length = self.take()[1]
        return struct.unpack("<QHHI", self.device.read(answer, 16)) if length == 16 else None


class Target:
    """Common to both devices.

    first: a page of RAM; window: so many pages from there on are RAM; ram_end: the byte where it ends;
    holes: pages that are none, and how many.
    """

    guest = None

    def snapshot(self):
        """Random content everywhere, to be compared with."""
        chunk = os.urandom(MIB)
        for _, view in self.areas():
            for off in range(0, len(view), MIB):
                view[off:off + MIB] = chunk[:len(view) - off]
        self.before = [bytes(view) for _, view in self.areas()]

    def changed(self):
        """Pages whose bytes are others than before, all of them zeros; else it is a loss."""
        pages = set()
        for (first, view), old in zip(self.areas(), self.before):
            for chunk in range(0, len(old), 64 << 10):
                if view[chunk:chunk + (64 << 10)] == old[chunk:chunk + (64 << 10)]:
                    continue
                for off in range(chunk, min(chunk + (64 << 10), len(old)), PAGE_LEN):
                    now = view[off:off + PAGE_LEN]
                    if now == old[off:off + PAGE_LEN]:
                        continue
                    if any(now):
                        raise tap.Lost(f"page {first + off // PAGE_LEN:#x} was written to")
                    pages.add(first + off // PAGE_LEN)
        return pages

    def unchanged_but(self, named, what):
        wrong = self.changed() - set(named)
        if wrong:
            raise tap.Lost(f"{what}: {len(wrong)} pages changed that nobody named, {min(wrong):#x} first")

    def reports(self):
        text = pathlib.Path(self.log).read_text(errors="replace")
        return [text[max(0, found.start() - 200):found.start() + 2000] for found in REPORT.finditer(text)]

    def honest(self, what):
        """The next honest message is served, and does what it says."""
        self.snapshot()
        page = self.first + 7
        got = self.ring(INFLATE).send(bitmap([page, page + 2]))
        check(got == (2, OK, 12, 0), f"{what}: the next honest message: {got}")
        check(self.changed() == {page, page + 2}, f"{what}: the next honest message, pages")
        self.snapshot()
        said = self.reports()
        if said:
            raise tap.Lost(f"{what}: {said[0]}")

    def counted(self, name, before, what, nr=1):
        if name is None:
            check(self.faults() == before, f"{what}: counted: {self.faults()}, before {before}")
            return
        if name == RESET:
            poll(self.needs_reset, 10, f"{what}: no reset is asked for")
            return
        want = {**before, name: before.get(name, 0) + nr}
        poll(lambda: self.faults() == want, 10, f"{what}: {self.faults()}, not {want}")


class VbbDevice(Target):
    """`vbb device`, told of memory and queues by a front-end."""

    foreign_rings = False  # the code that reads them is not the device's own

    def __init__(self, options, log):
        self.log = f"{log}.device"
        self.device = Device(options.vbb, log=self.log)
        self.rig = None
        self.start()

    def start(self, features=ALL | fe.bits(fe.HOST_REQ)):
        """A new driver, and all that it has."""
        if self.rig:
            self.rig.close()
        self.rig = Rig(self.device, features)
        front = self.rig.front
        self.read, self.write = front.read, front.write
        self.buffer, self.buffer_len = BUFFER, 2 * MIB
        self.table = BUFFER + 2 * MIB
        self.first, self.window = self.rig.ram[0].gpa >> 12, 6 * MIB // PAGE_LEN
        self.ram_end = self.rig.ram[2].gpa + self.rig.ram[2].len
        self.holes = [(0x3ffff, 1), (LOW_LEN >> 12, 1000), (0x90000, 1 << 20), ((1 << 52) - 1, 1)]
        rings = {INFLATE: self.rig.inflate, DEFLATE: self.rig.deflate}
        if features >> fe.HOST_REQ & 1:
            rings[REQUESTS] = front.ring(2 + sum(self.rig.offered >> bit & 1 for bit in (1, 3, 5)), 0x20000)
            rings[REQUESTS].set_up()
        self.rings = {name: Ring(self, ring, ring.num, ring.kick) for name, ring in rings.items()}
        self.ring = self.rings.__getitem__
        self.snapshot()

    def areas(self):
        return [(region.gpa >> 12, memoryview(region.memory.map)[region.fd_off:region.fd_off + region.len])
                for region in self.rig.ram]

    def faults(self):
        return {name: count for name, count in self.device.counters()["faults"].items() if count}

    def needs_reset(self):
        return self.rig.front.ask_u64(fe.GET_STATUS) & 0x40

    def ask(self, timeout_ms=20000):
        return self.device.qmp.execute("x-drop-cache", **{"timeout-ms": timeout_ms})["id"]

    def ended(self, status):
        data = self.device.qmp.wait_event("X_HOST_REQUEST_END", 30)
        check(data and data["status"] == status, f"the request's end: {data}")

    def own_len(self):
        return self.device.own_len()

    def close(self):
        self.rig.close()
        try:
            self.device.stop()
        finally:
            self.device.kill()


class QemuDevice(Target):
    """QEMU's device of ours, its driver played through the test protocol."""

    foreign_rings = True

    def __init__(self, options, log):
        self.log = f"{log}.qemu"
        self.machine = Machine(options.qemu, mem_mib=32, log=self.log)
        with open(self.machine.memory_file(), "r+b") as file:
            self.map = mmap.mmap(file.fileno(), self.machine.mem_len)
        self.start()

    def start(self, features=~0):
        machine = self.machine
        machine.start(features)
        self.buffer_len = 2 * MIB
        self.buffer, self.table = machine.alloc(self.buffer_len), machine.alloc(MIB)
        end = machine.mem_len // PAGE_LEN
        self.first, self.window = 0x400, 8 * MIB // PAGE_LEN
        self.ram_end = machine.mem_len
        self.holes = [(end, 1000), (0xfeb00, 1), (1 << 40, 1 << 20), ((1 << 52) - 1, 1)]
        places = {INFLATE: machine.queues[0], DEFLATE: machine.queues[1]}
        if machine.requests:
            places[REQUESTS] = machine.requests
        self.rings = {name: Ring(self, place, qtest.QUEUE_SIZE, place.kick) for name, place in places.items()}
        self.ring = self.rings.__getitem__
        self.snapshot()

    def read(self, gpa, length):
        return self.map[gpa:gpa + length]

    def write(self, gpa, data):
        self.map[gpa:gpa + len(data)] = data

    def areas(self):
        return [(0, memoryview(self.map)[:self.machine.mem_len - qtest.ARENA_LEN])]

    def faults(self):
        return self.machine.property("faults")

    def needs_reset(self):
        return self.machine.reg(0x70) & 0x40

    def ask(self, timeout_ms=None):
        self.machine.qmp.execute("qom-set", path=qtest.BALLOON, property="drop-cache", value=3)

    def ended(self, status):
        pass

    def own_len(self):
        return self.machine.own_len()

    def close(self):
        self.machine.kill()


# Messages that are none

def messages(page):
    """The fault's name, the message, and the pages that it names before the fault."""
    nothing, good = bytes(8), block(page)
    yield "SHORT", header(0, nothing, page)[:31], ()
    yield "SHORT", b"\0", ()
    yield "LEN", header(0, nothing, page, bmap_len=9), ()
    yield "LEN", header(0, nothing, page, bmap_len=0), ()
    yield "LEN", header(0, nothing, page) + b"\0", ()
    yield "LEN_MAX", header(0, nothing, page, bmap_len=(1 << 20) + 8), ()
    yield "LEN_MAX", header(0, nothing, page, bmap_len=(1 << 64) - 32), ()
    yield "LEN_EMPTY", header(0, b"", page), ()
    yield "LEN_ALIGN", header(1, bytes(12)), ()
    yield "CMD", header(0, nothing, page, cmd=1), ()
    yield "PAGE_SHIFT", header(0, nothing, page, page_shift=11), ()
    yield "PAGE_SHIFT", header(0, nothing, page, page_shift=31), ()
    yield "FLAG", header(0, nothing, page, flag=1), ()
    yield "FORMAT", header(2, nothing), ()
    yield "FORMAT", header(0xffff, nothing), ()
    yield "REQ_ID", header(0, nothing, page, req_id=1), ()
    yield "START_PFN", header(0, nothing, 1 << 52), ()
    yield "START_PFN", header(1, nothing, 1), ()
    yield "REC_ALIGN", records(good, block(page | 1, 1)), (page,)
    yield "REC_ORDER", records(good, 52 << 52), (page,)
    yield "REC_ORDER", records(good, 63 << 58 | 1 << 52, 1), (page,)
    yield "REC_TRUNC", records(good, 2 << 58, 1), (page,)
    yield "REC_TRUNC", records(good, 63 << 58), (page,)
    yield "REC_COUNT", records(good, 63 << 58, 0), (page,)
    yield "REC_COUNT", records(good, 63 << 58, (1 << 52) + 1), (page,)
    yield "PFN_RANGE", records(good, *extent((1 << 52) - 1, 2)), (page,)
    yield "PFN_RANGE", records(block(1 << 51, 51), page_shift=13), ()


def test_messages(target):
    page = target.first + 100
    for queue in (INFLATE, DEFLATE):
        for number, (fault, message, named) in enumerate(messages(page)):
            what = f"{queue}, {number}, {fault}"
            before = target.faults()
            got = target.ring(queue).send(message)
            check(got and got[:2] == (len(named), MALFORMED), f"{what}: {got}")
            target.counted(fault, before, what)
            target.unchanged_but(named if queue == INFLATE else (), what)
            if named:
                target.snapshot()
        target.honest(queue)


def test_pages(target):
    """Pages that are no RAM, beside pages that are, in each format and a larger unit."""
    page = target.first + 300
    last = target.first + target.window - 1
    for first, nr in target.holes:
        before = target.faults()
        for message, acted in (
                (records(*extent(first, nr)), ()),
                (records(block(page), *extent(first, nr), block(last)), (page, last)),
                (header(0, b"\xff" * 8, first & ~63) if nr >= 64 and not first & 63 else None, ())):
            if not message:
                continue
            got = target.ring(INFLATE).send(message)
            check(got == (len(acted), PARTIAL, 12, 0), f"{first:#x}: {got}")
            check(target.changed() == set(acted), f"{first:#x}: pages")
            target.snapshot()
        target.counted(None, before, f"{first:#x}")
        target.honest(f"{first:#x}")


def test_old_format(target):
    """Numbers of 32 bits of which the highest is set, of holes, and half of one."""
    target.start(OLD)
    page = target.first + 20
    before = target.faults()
    array = struct.pack("<4I", page, 0x80000000 | page, 0xffffffff, page + 1)
    check(target.ring(INFLATE).send(array) is None, "a result")
    check(target.changed() == {page, page + 1}, "pages")
    target.counted(None, before, "an array")
    target.snapshot()
    target.ring(INFLATE).send(array[:-1])
    target.counted("LEN_ALIGN", before, "half a number")
    target.unchanged_but((page,), "half a number")
    target.start()
    target.honest("the old format")


# Rings that are none

def indirect(target, ring, entries, slot=0, length=None, flags=0):
    """A descriptor that leads to a table."""
    table = b"".join(struct.pack("<QIHH", *entry) for entry in entries)
    target.write(target.table, table)
    ring.put(slot, target.table, len(table) if length is None else length, INDIRECT | flags, 1)
    ring.offer(slot)


def rings(target):
    """The name, the fault, whether the chain comes back, and what the driver does to a ring."""
    at, num = target.buffer, target.ring(INFLATE).num
    hole = target.holes[0][0] << 12

    def chain(*entries):
        def lie(ring):
            for slot, entry in enumerate(entries):
                ring.put(slot, *entry)
            ring.offer(0)
        return lie

    def table(*entries, **more):
        return lambda ring: indirect(target, ring, entries, **more)

    def loop(ring):
        for slot in range(ring.num):
            ring.put(slot, at, 8, NEXT, (slot + 1) % ring.num)
        ring.offer(0)

    yield "a descriptor that leads to itself", "RING_LOOP", True, chain((at, 8, NEXT, 0))
    yield "two that lead to each other", "RING_LOOP", True, chain((at, 8, NEXT, 1), (at, 8, NEXT, 0))
    yield "all of them, in a circle", "RING_LOOP", True, loop
    yield "a table that leads to itself", "RING_LOOP", True, table((at, 8, NEXT, 0))
    yield "a table in a table", "RING_DESC", True, table((target.table, 16, INDIRECT, 0))
    yield "a table and more", "RING_DESC", True, table((at, 8, 0, 0), flags=NEXT)
    yield "a table of 17 bytes", "RING_DESC", True, table((at, 8, 0, 0), length=17)
    yield "a table of nothing", "RING_DESC", True, table((at, 8, 0, 0), length=0)
    yield "a table that is not there", "RING_ADDR", True, chain((hole, 32, INDIRECT, 0))
    yield "a table at the end of the address space", "RING_ADDR", True, chain(((1 << 64) - 16, 32, INDIRECT, 0))
    yield "a table longer than any queue", "RING_LOOP", True, table(
        *((at, 1, NEXT, slot + 1) for slot in range(1100)), (at, 1, 0, 0))
    yield "one to read behind one to write", "RING_DESC", True, chain((at, 8, NEXT | WRITE, 1), (at, 8, 0, 0))
    yield "the next one past the ring", "RING_INDEX", True, chain((at, 8, NEXT, num))
    yield "the next one past the table", "RING_INDEX", True, table((at, 8, NEXT, 1))
    yield "an address that wraps", "RING_ADDR", True, chain(((1 << 64) - 32, 64, 0, 0))
    yield "a head past the ring", "RING_INDEX", False, lambda ring: ring.offer(num)
    yield "an index that jumps", "RING_INDEX", False, lambda ring: ring.set_idx(ring.avail_idx + num + 1)
    yield "an index that goes back", "RING_INDEX", False, lambda ring: ring.set_idx(ring.avail_idx - 1)


# QEMU's own code reads its rings: it overlooks some lies, and what it finds there is a bad message.
QEMU_READS = {"a table in a table": "SHORT", "a table and more": "SHORT", "an address that wraps": "PAGE_SHIFT"}


def test_rings(target):
    for queue in (INFLATE, DEFLATE, REQUESTS):
        for what, fault, comes_back, lie in rings(target):
            if target.foreign_rings:
                fault = QEMU_READS.get(what, RESET)
            what = f"{queue}, {what}"
            before = target.faults()
            ring = target.ring(queue)
            lie(ring)
            ring.kick()
            target.counted(fault, before, what)
            if comes_back and not target.foreign_rings:
                check(ring.take()[1] == 0, f"{what}: something is written")
            target.unchanged_but((), what)
            if not comes_back or target.foreign_rings:
                target.start()
            elif queue != INFLATE:
                # the other queues do not notice either
                check(ring.back() == 0, f"{what}: given back twice")
            target.honest(what)


def test_buffers(target):
    """Buffers that are no RAM, or not all; and 4 GiB of them. QEMU reads what is there of other memory."""
    ring, hole = target.ring(INFLATE), target.holes[0][0] << 12
    message = bitmap([target.first + 5])
    for what, gpa, length in (("no RAM", hole, 40), ("the end of RAM", target.ram_end - 16, 40),
                              ("4 GiB", target.buffer, 0xffffffff), ("4 GiB from 0 on", 0, 0xffffffff)):
        before, ring = target.faults(), target.ring(INFLATE)
        target.write(target.buffer, message)
        ring.put(0, gpa, length, 0, 0)
        ring.offer(0)
        ring.kick()
        if target.foreign_rings:
            poll(lambda: target.needs_reset() or target.faults() != before, 10, f"{what}: not noticed")
        else:
            target.counted("RING_ADDR", before, what)
        target.unchanged_but((), what)
        target.start()
        target.honest(what)
    # together more than 32 bits can count; header and payload are the first 40 bytes
    before, ring = target.faults(), target.ring(INFLATE)
    if target.foreign_rings:
        gpa, length, nr = 0, target.machine.mem_len, 62
    else:
        sparse = Memory(1 << 30)
        region = Region(1 << 36, sparse)
        target.rig.memories.append(sparse)
        target.rig.front.request(fe.ADD_MEM_REG, bytes(8) + region.pack(), [sparse.fd])
        gpa, length, nr = region.gpa, region.len, 5
        ring = target.ring(INFLATE)
    target.write(target.buffer, header(0, bytes(8), target.first, bmap_len=(nr * length + 8) & 0xffffffff))
    target.write(target.table, struct.pack("<QIHH", target.buffer, 40, NEXT, 1) + b"".join(
        struct.pack("<QIHH", gpa, length, NEXT if i < nr else 0, i + 1) for i in range(1, nr + 1)))
    ring.put(0, target.table, 16 * (nr + 1), INDIRECT, 0)
    ring.offer(0)
    ring.kick()
    if target.foreign_rings:
        poll(lambda: target.needs_reset() or target.faults() != before, 10, "4 GiB in pieces: not noticed")
    else:
        target.counted("RING_DESC", before, "4 GiB in pieces")
    target.unchanged_but((), "4 GiB in pieces")
    target.start()
    target.honest("4 GiB in pieces")


# Memory that changes while it is read

class Scribbler:
    """Writes these pairs (address, choices of bytes) all the time."""

    def __init__(self, target, pairs):
        self.target, self.pairs = target, pairs
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self):
        while not self._stop.is_set():
            for address, choices in self.pairs:
                for data in choices:
                    self.target.write(address, data)

    def __enter__(self):
        self._thread.start()

    def __exit__(self, *_):
        self._stop.set()
        self._thread.join()


def test_changing_message(target):
    """Header and payload change: some fault or none, and only pages of the window go."""
    ring, at = target.ring(INFLATE), target.buffer
    first = target.first & ~63
    nr_bytes = target.window // 2 // 8 & ~7
    word = [b"\0" * 8, b"\xff" * 8, b"\x55" * 8]
    with Scribbler(target, [(at + 16, [struct.pack("<Q", pfn) for pfn in (first, first + 64, 1 << 52)]),
                            (at + 24, [struct.pack("<Q", n) for n in (nr_bytes, nr_bytes + 8, 1 << 40)]),
                            *((at + 32 + 8 * i, word) for i in range(0, nr_bytes // 8, 3))]):
        for _ in range(30):
            got = ring.send(header(0, b"\x55" * nr_bytes, first))
            check(got and got[1] in (OK, PARTIAL, MALFORMED), f"the result: {got}")
    target.unchanged_but(range(first, first + target.window // 2 + 64), "a message that changes")
    target.honest("a message that changes")


def test_changing_ring(target):
    """Descriptors change: what is taken is one or the other."""
    page = target.first + 9
    message = bitmap([page])
    for _ in range(20):
        ring = target.ring(INFLATE)
        target.write(target.buffer, message)
        choices = [struct.pack("<QIHH", *entry) for entry in (
            (target.buffer, len(message), 0, 0), (target.holes[1][0] << 12, len(message), 0, 0),
            (target.buffer, len(message), NEXT, 0), (target.buffer, len(message), NEXT, 200),
            (target.table, 16, INDIRECT, 0))]
        target.write(target.table, choices[0])
        ring.put(0, target.buffer, len(message))
        with Scribbler(target, [(ring.desc, choices), (target.table, choices)]):
            for _ in range(8):
                ring.offer(0)
                ring.kick()
                poll(lambda: ring.back() or target.needs_reset(), 10, "neither comes back nor breaks")
                if target.needs_reset():
                    break
                ring.take()
        target.unchanged_but((page,), "a ring that changes")
        if target.needs_reset():
            target.start()
    target.start()
    target.honest("a ring that changes")


# In the middle of a message

def begin_long(target):
    """A message of a MiB, each second page of the window; the rest of it is holes."""
    message = bytearray(b"\x55" * (1 << 20))
    if target.foreign_rings:
        # the driver's own rings are RAM, too
        arena = (target.machine.mem_len - qtest.ARENA_LEN) // PAGE_LEN - (target.first & ~63)
        message[arena // 8:arena // 8 + qtest.ARENA_LEN // PAGE_LEN // 8] = bytes(qtest.ARENA_LEN // PAGE_LEN // 8)
    ring = target.ring(INFLATE)
    target.write(target.buffer, header(0, bytes(message), target.first & ~63))
    ring.put(0, target.buffer, 32 + len(message), NEXT, 1)
    ring.put(1, target.buffer + target.buffer_len - 2 * PAGE_LEN, 16, WRITE)
    ring.offer(0)
    ring.kick()


def test_midway(target):
    """Queues, features and memory that are taken away in the middle of a message, again and again."""
    before = target.faults()

    def reset():
        if target.foreign_rings:
            target.machine.set_reg(0x70, 0)
        else:
            target.rig.front.request(fe.SET_STATUS, bytes(8))

    def stop_queue():
        if target.foreign_rings:
            target.machine.set_reg(0x30, 0)
            target.machine.set_reg(0x44, 0)
        else:
            target.rig.front.ask(fe.GET_VRING_BASE, struct.pack("=II", 0, 0))

    def features():
        if target.foreign_rings:
            target.machine.set_reg(0x24, 1)
            target.machine.set_reg(0x20, 1)
        else:
            target.rig.front.request(fe.SET_FEATURES, struct.pack("=Q", OLD))

    def memory():
        if target.foreign_rings:
            target.machine.qmp.execute("system_reset")
        else:
            target.rig.front.share(target.rig.front.regions[:1])

    def move_ring():
        if target.foreign_rings:
            target.machine.set_reg(0x30, 0)
            target.machine.set_reg(0x80, 0)
        else:
            target.rig.front.request(fe.SET_VRING_ADDR, struct.pack("=II4Q", 0, 0, 0, 0, 0, 0))

    def die():
        if not target.foreign_rings:
            target.rig.front.sock.close()

    for lie in (reset, stop_queue, features, memory, move_ring, die):
        for _ in range(3):
            begin_long(target)
            lie()
            target.unchanged_but(range(1 << 20), lie.__name__)
            target.start()
            target.honest(lie.__name__)
    target.counted(None, before, "midway")


# Host requests

def park(target):
    ring = target.ring(REQUESTS)
    for slot in (0, 1):
        ring.put(slot, target.table + 64 * slot, 32, WRITE)
        ring.offer(slot)
    ring.kick()


def asked(target, **more):
    """The next request, as the guest sees it: its id. The buffer is parked anew."""
    ring = target.ring(REQUESTS)
    deadline = time.monotonic() + 20
    while True:
        try:
            target.ask(**more)
            break
        except QmpError:
            # the device has not looked at the queue yet
            check(time.monotonic() < deadline, "it does not ask")
            time.sleep(0.02)
    while True:
        head, length = ring.take()
        if head < 2 and length:
            break
    cmd, _, _, _, ident = struct.unpack("<4HQ", target.read(target.table + 64 * head, 16))
    ring.offer(head)
    ring.kick()
    check(cmd == DROP_CACHE, f"a request {cmd}")
    return ident


def answer(target, message):
    ring = target.ring(REQUESTS)
    target.write(target.buffer, message)
    ring.put(8, target.buffer, len(message))
    ring.offer(8)
    ring.kick()
    while ring.take()[0] != 8:
        pass


def values(ident, *numbers, flag=CONT, cmd=DROP_CACHE):
    return header(2, struct.pack(f"<{len(numbers)}Q", *numbers), cmd=cmd, req_id=ident, flag=flag)


def end(ident, flag=DONE, cmd=DROP_CACHE):
    return header(0, b"", cmd=cmd, req_id=ident, flag=flag)


def test_answers(target):
    """Answers that nobody asked for, of old ids, of other commands, and malformed ones."""
    park(target)
    before = target.faults()
    answer(target, end(4711))
    target.counted("REQ_STALE", before, "nobody asked")
    old = None
    for _ in range(2):
        ident = asked(target)
        for fault, message in (
                ("REQ_STALE", end(ident + 1)), ("REQ_STALE", end((1 << 64) - 1)), ("REQ_STALE", values(0, 1)),
                ("REQ_STALE", end(old) if old else end(ident - 1)),
                ("REQ_CMD", end(ident, cmd=GET_UNUSED_PAGES)), ("REQ_CMD", end(ident, cmd=99)),
                ("FORMAT", header(1, bytes(8), cmd=DROP_CACHE, req_id=ident)),
                ("FLAG", end(ident, 6)), ("PAYLOAD", values(ident, 1, flag=BUSY)),
                ("LEN", values(ident, 1)[:-1]), ("SHORT", end(ident)[:31]), ("LEN_EMPTY", end(ident, CONT))):
            before = target.faults()
            answer(target, message)
            target.counted(fault, before, f"{fault}, {len(message)} bytes")
        target.unchanged_but((), "answers")
        answer(target, values(ident, 5, flag=DONE))
        target.ended("done")
        before = target.faults()
        answer(target, end(ident))
        target.counted("REQ_STALE", before, "twice")
        old = ident
    target.honest("answers")


def test_endless(target):
    """Answers without an end: others are served meanwhile, nothing grows, and patience ends."""
    park(target)
    ident = asked(target, timeout_ms=500)
    for _ in range(200):
        answer(target, values(ident, 1, 2, 3))
    grown = target.own_len()
    for number in range(2000):
        answer(target, values(ident, number))
        if number % 500 == 0:
            target.honest("answers without an end")
    grown = target.own_len() - grown
    check(grown < 4 * MIB, f"{grown} bytes more")
    target.ended("timeout")
    target.start()
    target.honest("answers without an end")


def test_result_room(target):
    """A result's room that lies in the message itself, or in the ring."""
    page, message = target.first + 11, bitmap([target.first + 11])
    for what, gpa in (("the message", target.buffer), ("the ring", target.ring(INFLATE).desc)):
        ring = target.ring(INFLATE)
        target.write(target.buffer, message)
        ring.put(0, target.buffer, len(message), NEXT, 1)
        ring.put(1, gpa, 16, WRITE)
        ring.offer(0)
        ring.kick()
        check(ring.take()[1] == 16, f"{what}: no result")
        target.unchanged_but((page,), what)
        target.honest(what)


def test_slices(target):
    """While a message of a MiB is worked on, the other queue and the control are served, again and again.

    How often depends on what else this host does: one of some times tells.
    """
    served = []
    for _ in range(10):
        begin_long(target)
        ring, other = target.ring(INFLATE), target.ring(DEFLATE)
        served.append(0)
        while not ring.back():
            got = other.send(bitmap([target.first]), at=target.table)
            check(got == (1, OK, 12, 0), f"the other queue: {got}")
            target.faults()
            served[-1] += 1
        check(ring.take()[1] == 16, "no result")
        if served[-1] > 3:
            break
    print(f"# {served} messages and commands meanwhile", flush=True)
    check(max(served) > 3, f"{served} messages were served meanwhile")
    target.honest("a message of a MiB")


def test_own_registers(target):
    """A message, and a result's room, that are the registers of the device itself."""
    hole, page = target.holes[0][0], target.first + 13
    for offset in (0x20, 0x30, 0x38, 0x44, 0x50, 0x64, 0x70, 0x80, 0x90, 0xa0, 0x100):
        for message, named in ((records(*extent(hole, 1)), ()), (bitmap([page, page + 2]), (page, page + 2))):
            what = f"register {offset:#x}, {len(named)} pages"
            ring = target.ring(INFLATE)
            target.write(target.buffer, message)
            for slot in (0, 2, 4):
                ring.put(slot, target.buffer, len(message), NEXT, slot + 1)
                ring.put(slot + 1, qtest.REGISTERS + offset, 16, WRITE)
                ring.offer(slot)
            ring.put(6, qtest.REGISTERS, 256)
            ring.offer(6)
            ring.kick()
            # what is written there may take the queue away, or ask for it again
            target.faults()
            target.unchanged_but(named, what)
            target.start()
            target.honest(what)


def test_queue_numbers(target):
    """Queues that the device does not have are set up, and kicked."""
    before = target.faults()
    for index in (6, 255, 256, 1024, 1 << 16, (1 << 31) + 1, (1 << 32) - 1):
        if target.foreign_rings:
            for register in (0x30, 0x50):
                target.machine.set_reg(register, index)
            for register in (0x38, 0x80, 0x90, 0xa0, 0x44):
                target.machine.set_reg(register, 1)
        else:
            try:
                target.rig.front.request(fe.SET_VRING_NUM, struct.pack("=II", index, 8))
                check(False, f"queue {index} is taken")
            except (fe.Refused, OSError):
                pass
            target.start()
        target.unchanged_but((), f"queue {index}")
        target.honest(f"queue {index}")
    target.counted(None, before, "queues that are none")


def test_unaligned(target):
    """Messages and results at any byte are as good as others; a table and its message overlap."""
    ring, page = target.ring(INFLATE), target.first + 17
    message = bitmap([page, page + 2])
    for shift in (1, 2, 3, 5, 7, PAGE_LEN - 31, PAGE_LEN - 1):
        at, room = target.buffer + shift, target.buffer + 8 * PAGE_LEN - shift
        target.write(at, message)
        ring.put(0, at, len(message), NEXT, 1)
        ring.put(1, room, 16, WRITE)
        ring.offer(0)
        ring.kick()
        check(ring.take()[1] == 16, f"{shift}: no result")
        got = struct.unpack("<QHHI", target.read(room, 16))
        check(got == (2, OK, 12, 0), f"{shift}: {got}")
        target.unchanged_but((page, page + 2), f"{shift}")
        target.snapshot()
    before = target.faults()
    # the table is the message: its first bytes are a command that there is not
    indirect(target, ring, [(target.table, 32, 0, 0)])
    ring.kick()
    ring.take()
    poll(lambda: target.faults() != before, 10, "a table that is its own message")
    target.unchanged_but((), "a table that is its own message")
    target.honest("unaligned")


TESTS = (test_messages, test_pages, test_old_format, test_rings, test_buffers, test_changing_message,
         test_changing_ring, test_midway, test_answers, test_endless, test_result_room, test_queue_numbers,
         test_unaligned, test_slices)
# A front-end shares memory, and no registers.
QEMU_TESTS = (*TESTS, test_own_registers)


def main():
    parser = tap.arguments(__doc__)
    parser.add_argument("--vbb", metavar="PROGRAM", help="its device is lied to")
    parser.add_argument("--qemu", metavar="PROGRAM", help="its device is lied to; as scripts/lib/qemu prints it")
    options = parser.parse_args()
    plan = [(f"{name}: {test.__name__[5:].replace('_', ' ')}", lambda log, kind=kind: kind(options, log), test, (), {})
            for name, kind, given, tests in (("vbb", VbbDevice, options.vbb, TESTS),
                                             ("qemu", QemuDevice, options.qemu, QEMU_TESTS))
            if given or options.list
            for test in tests]
    return tap.run(plan, options)


if __name__ == "__main__":
    sys.exit(main())
