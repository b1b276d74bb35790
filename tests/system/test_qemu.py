#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause
"""QEMU's device of ours, byte by byte and moment by moment. Prints TAP.

test_qemu.py [--qemu PROGRAM] [--filter TEXT] [--list]

The tests play the driver themselves (qtest.py), so that they can do what no guest does, and know
what every byte of the guest's memory must be. Migrations run between two real QEMUs.
"""

import contextlib
import os
import struct
import sys
import tempfile
import time

import tap
from harness import MIB, QmpError
from qtest import (ARENA_LEN, BALLOON, BITMAP, BUSY, CANCEL, CANCELLED, CONT, DEFLATE, DONE, DROP_CACHE, FAILED,
                   GET_UNUSED_PAGES, HOST_REQ_VQ, INFLATE, INHIBITED, MALFORMED, Machine, OK,
                   PAGE_BITMAP, PAGE_LEN, PAGE_RECORDS, PARTIAL, PciMachine, RECORDS, RING_RESET,
                   UNSUPPORTED, VALUES, VERSION_1, bitmap, extents, header)
from tap import Skip, check, poll, script

DEVICE = "virtio-balloon-bmap-device"
PCI_DEVICE = "virtio-balloon-bmap-pci"
STATS = 2
PAGES_PER_MIB = MIB // PAGE_LEN
# The longest that the device may keep the big lock
STALL_MS = 20


class Rig:
    def __init__(self, options, log):
        self.options, self.log = options, log
        self.stack = contextlib.ExitStack()
        self.guest = None

    def machine(self, properties=(), device=DEVICE, kind=Machine, **kwargs):
        machine = self.stack.enter_context(
            kind(self.options.qemu, ",".join((device, *properties)), log=self.log, **kwargs))
        self.guest = self.guest or machine
        return machine

    def started(self, properties=(), accept=~0, **kwargs):
        machine = self.machine(properties, **kwargs)
        machine.start(accept)
        return machine

    def close(self):
        self.stack.close()


def no_faults(machine):
    faults = machine.property("faults")
    check(not faults, f"faults: {faults}")


# What the device offers

# DEV-1
def test_features(rig):
    ours = 1 << PAGE_BITMAP | 1 << HOST_REQ_VQ | 1 << PAGE_RECORDS
    for properties, expected in (((), ours), (("page-records=off",), ours & ~(1 << PAGE_RECORDS)),
                                 (("host-requests=off",), ours & ~(1 << HOST_REQ_VQ)),
                                 (("page-bitmap=off",), 0)):
        with rig.machine(properties) as machine:
            offered = machine.offered()
            check(offered >> VERSION_1 & 1, "no VERSION_1")
            check(offered & ours == expected, f"{properties}: offered {offered:x}")
            machine.start()


def test_stock_features(rig):
    """All but our three bits, and the configuration, are those of QEMU's own device."""
    iothread = ["-object", "iothread,id=io0"]
    for properties in ((), ("free-page-hint=on", "iothread=io0"), ("free-page-reporting=on",),
                       ("deflate-on-oom=on", "page-poison=off"), ("qemu-4-0-config-size=on",)):
        seen = []
        for device in ("virtio-balloon-device", DEVICE):
            with rig.machine((*properties, *(("page-bitmap=off",) if device == DEVICE else ())),
                             device, arguments=iothread) as machine:
                config = [machine.reg(0x100 + 4 * word) for word in range(4)]
                seen.append((machine.offered(), config))
        check(seen[0] == seen[1], f"{properties}: {seen[0]} and {seen[1]}")


# DEV-15
def test_request_queue(rig):
    """Its number depends on what is offered; it is the last one."""
    iothread = ["-object", "iothread,id=io0"]
    for properties, index in (((), 3), (("free-page-reporting=on",), 4),
                              (("free-page-reporting=on", "free-page-hint=on", "iothread=io0"), 5)):
        with rig.machine(properties, arguments=iothread) as machine:
            machine.start()
            check(machine.requests.index == index, f"{properties}: {machine.requests.index}")
            machine.set_reg(0x30, index + 1)
            check(not machine.reg(0x34), f"{properties}: one queue more")


# Inflate and deflate

def test_inflate(rig):
    """What is named is freed, and nothing else changes, in every format."""
    runs = ((0x100, 1), (0x180, 300), (0x1000, 2048))
    pages = [pfn + i for pfn, nr in runs for i in range(nr)]
    bits = bytearray(0x2000 // 8)
    for page in pages:
        bits[page // 8] |= 1 << page % 8
    for message in (extents(runs), bitmap(0, bytes(bits))):
        with rig.machine() as machine:
            machine.populate()
            machine.start()
            machine.fill(0, 48 * MIB, 0xa5)
            before = machine.host_len()
            check(machine.inflate(message) == (len(pages), OK, 12), "the result")
            freed = before - machine.host_len()
            check(freed == len(pages) * PAGE_LEN, f"{freed} bytes freed")
            memory = machine.read(0, 48 * MIB)
            for page in range(48 * PAGES_PER_MIB):
                expected = 0 if page in pages else 0xa5
                check(memory[page * PAGE_LEN:(page + 1) * PAGE_LEN] == bytes([expected]) * PAGE_LEN,
                      f"page {page:x}")
            check(machine.inflate(message, DEFLATE)[:2] == (len(pages), OK), "deflate's result")
            check(machine.property("discards") == len(runs) + 1, "one discard a run, and 4 MiB")
            no_faults(machine)


# DEV-11
def test_old_format(rig):
    """Without the feature a buffer is an array of frames."""
    machine = rig.started(accept=1 << VERSION_1)
    machine.populate()
    machine.start(accept=1 << VERSION_1)
    message = machine.buffer(struct.pack("<4I", 0x100, 0x101, 0x102, 0x200))
    result = machine.alloc(16)
    machine.fill(result, 16, 0x77)
    before = machine.host_len()
    machine.queues[INFLATE].put([(message, 16)], [(result, 16)])
    check(machine.queues[INFLATE].get()[1] == 0, "a length")
    check(machine.read(result, 16) == b"\x77" * 16, "a result that nobody asked for")
    check(before - machine.host_len() == 4 * PAGE_LEN, "not freed")
    check(machine.property("discards") == 2, "not merged")


# DEV-4
def test_not_ram(rig):
    """Registers and holes are passed over."""
    machine = rig.started()
    end = machine.mem_len // PAGE_LEN
    # the last page of RAM and what follows, the device's own registers, and what no machine has
    for runs, acted in (((end - 1, 1 << 16), 1), ((0xfeb00, 1), 0), ((1 << 40, 1 << 51), 0)):
        result = machine.inflate(extents([runs]))
        check(result == (acted, PARTIAL, 12), f"{runs}: {result}")
    no_faults(machine)


def huge_backends():
    """Memory of larger host pages, as far as this host has any."""
    yield "memory-backend-memfd,share=on,hugetlb=on,hugetlbsize=2M", 21


# DEV-5, DEV-6
def test_host_pages(rig):
    """Of huge pages only whole ones go; a message that covers half of one frees nothing."""
    path = "/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages"
    try:
        with open(path, "r+", encoding="ascii") as file:
            before = file.read()
            file.seek(0)
            file.write(str(int(before) + 32))
    except OSError as error:
        raise Skip(f"no huge pages: {error}") from None
    try:
        for backend, shift in huge_backends():
            try:
                machine = rig.machine(backend=backend)
            except Exception as error:
                raise Skip(f"no memory of huge pages: {error}") from None
            machine.start()
            machine.fill(0, 48 * MIB, 0xa5)
            whole = 1 << shift - 12
            # half, half, all of one and a page more, from the middle of one on
            for runs, acted in (([(2 * whole, whole // 2)], 0), ([(whole * 5 // 2, whole // 2)], 0),
                                ([(4 * whole, whole + 1)], whole),
                                ([(8 * whole + 1, 3 * whole)], 2 * whole)):
                status = OK if acted == sum(nr for _, nr in runs) else PARTIAL
                result = machine.inflate(extents(runs))
                check(result == (acted, status, shift), f"{runs}: {result}")
            memory = machine.read(0, 48 * MIB)
            gone = [4, 9, 10]
            for number in range(24):
                page = memory[number << shift:number + 1 << shift]
                check(page == bytes([0 if number in gone else 0xa5]) * len(page), f"{number}")
    finally:
        with open(path, "w", encoding="ascii") as file:
            file.write(before)


# MSG-22, DEV-3
def test_rom(rig):
    """ROM is passed over, and stays what it is."""
    machine = rig.machine(device=PCI_DEVICE, kind=PciMachine)
    machine.start()
    before = machine.read(machine.ROM, 2 * PAGE_LEN)
    check(any(before), "no ROM")
    for queue in (INFLATE, DEFLATE):
        result = machine.inflate(extents([(machine.ROM // PAGE_LEN, 2)]), queue)
        check(result == (0, PARTIAL, 12), f"{result}")
    check(machine.read(machine.ROM, 2 * PAGE_LEN) == before, "ROM was discarded")
    both = machine.inflate(extents([(DATA, 2), (machine.ROM // PAGE_LEN, 1)]))
    check(both == (2, PARTIAL, 12), f"RAM and ROM: {both}")
    check(machine.property("discards") == 1, "discards")
    no_faults(machine)


def test_backends(rig):
    """Memory of each kind: a file that is shared, one that is not, and no file."""
    with tempfile.TemporaryDirectory(dir="/dev/shm", prefix="vbb-") as folder:
        for backend in (f"memory-backend-file,share=on,mem-path={folder}/shared",
                        f"memory-backend-file,share=off,mem-path={folder}/private", "memory-backend-ram"):
            with rig.machine(backend=backend) as machine:
                machine.start()
                machine.fill(0, 48 * MIB, 0xa5)
                check(machine.inflate(extents([(0x100, 3), (0x1000, 2048)])) == (2051, OK, 12),
                      f"{backend}: the result")
                memory = machine.read(0, 48 * MIB)
                for page in range(48 * PAGES_PER_MIB):
                    gone = 0x100 <= page < 0x103 or 0x1000 <= page < 0x1800
                    # what lies below a private file is not the device's to empty
                    expected = 0 if gone else 0xa5
                    check(memory[page * PAGE_LEN] == expected, f"{backend}: page {page:x}")
                no_faults(machine)


def test_malformed(rig):
    """A fault is named, counted and survived; what came before it stands."""
    machine = rig.started()
    machine.fill(0, 16 * MIB, 0xa5)
    words = struct.pack("<3Q", 0x100, 0x101, 63 << 58 | 52 << 52)
    for message, fault, acted in (
            (header(words, form=RECORDS), "REC_ORDER", 2),
            (header(b"", form=RECORDS), "LEN_EMPTY", 0),
            (bitmap(1 << 52, bytes(8)), "START_PFN", 0),
            (bitmap(0, bytes(8), page_shift=31), "PAGE_SHIFT", 0),
            (bitmap(0, bytes(8), req_id=1), "REQ_ID", 0),
            (bitmap(0, bytes(8), flag=1), "FLAG", 0),
            (header(bytes(8), form=VALUES), "FORMAT", 0),
            (bitmap(0, bytes(8))[:-1], "LEN", 0),
            (bitmap(0, bytes(8))[:31], "SHORT", 0),
            (header(bytes(8), form=3), "FORMAT", 0)):
        before = machine.property("faults").get(fault, 0)
        check(machine.inflate(message)[:2] == (acted, MALFORMED), f"the result of {fault}")
        check(machine.property("faults").get(fault) == before + 1, f"{fault} not counted")
    check(machine.inflate(extents([(0x300, 1)]))[:2] == (1, OK), "and then")
    check(not machine.reg(0x70) & 0x40, "the device wants a reset")


def test_cuts(rig):
    """A message may be cut anywhere, and the result too."""
    machine = rig.started()
    message = machine.buffer(extents([(0x100, 1), (0x200, 7)]))
    result = machine.alloc(16)
    for cut in (1, 5, 31, 32, 33, 47):
        machine.queues[INFLATE].put([(message, cut), (message + cut, 64 - cut)],
                                    [(result, 3), (result + 3, 13)])
        check(machine.queues[INFLATE].get()[1] == 16, f"cut at {cut}")
        check(struct.unpack("<QHHI", machine.read(result, 16)) == (8, OK, 12, 0), f"{cut}: result")
    # a result that has no room is none
    machine.queues[INFLATE].put([(message, 64)], [(result, 15)])
    check(machine.queues[INFLATE].get()[1] == 0, "a short result")
    machine.queues[INFLATE].put([(message, 64)])
    check(machine.queues[INFLATE].get()[1] == 0, "no result")
    no_faults(machine)


def hostile(machine):
    """A message of 4 million runs of a page each, none of which is of the driver's own rings."""
    bits = bytearray(b"\x55" * (1 << 20))
    arena = (machine.mem_len - ARENA_LEN) // PAGE_LEN // 8
    bits[arena:machine.mem_len // PAGE_LEN // 8] = bytes(ARENA_LEN // PAGE_LEN // 8)
    return bitmap(0, bytes(bits))


NR_HOSTILE = (8 * (1 << 20) - ARENA_LEN // PAGE_LEN) // 2


@tap.alone
def test_stall(rig):
    """The worst message does not keep the big lock, nor does a discard of all memory.

    What else this host does cannot be held against the device: one of three runs tells.
    """
    for name, make in (("one run", lambda machine: extents([(0, 1000 * PAGES_PER_MIB)])),
                       ("4 million runs", hostile)):
        longest = []
        for _ in range(3):
            with rig.machine(mem_mib=1024) as machine:
                machine.populate()
                machine.start()
                machine.hurry()
                message, result = make(machine), machine.alloc(16)
                queue = machine.queues[INFLATE]
                queue.put([(machine.buffer(message), len(message))], [(result, 16)])
                answers = 0
                while not queue.pending():
                    machine.qmp.execute("query-status")
                    answers += 1
                check(struct.unpack("<QHHI", machine.read(result, 16))[1] in (OK, PARTIAL), "the result")
                check(answers > 2, f"the monitor answered {answers} times meanwhile")
                check(machine.property("runs") == (1 if name == "one run" else NR_HOSTILE), "runs")
                longest.append(machine.property("slice-max-ns") / 1e6)
            print(f"# {name}: the lock was kept for {longest[-1]:.1f} ms at most, {answers} answers meanwhile")
            if longest[-1] < STALL_MS:
                break
        check(min(longest) < STALL_MS, f"{name}: the lock was kept for {longest} ms")


# In the middle of a message

def test_reset(rig):
    """A reset takes the message back; afterwards all is as new."""
    machine = rig.started()
    for _ in range(5):
        queue = machine.queues[INFLATE]
        message = hostile(machine)
        queue.put([(machine.buffer(message), len(message))])
        machine.qmp.execute("query-status")
        machine.set_reg(0x70, 0)
        time.sleep(0.01)
        check(not queue.pending(), "given back after the reset")
        machine.start()
        check(machine.inflate(extents([(0x100, 1)]))[:2] == (1, OK), "after the reset")
    machine.qmp.execute("system_reset")
    time.sleep(0.1)
    machine.start()
    check(machine.inflate(extents([(0x100, 1)]))[:2] == (1, OK), "after the machine's reset")
    no_faults(machine)


# DEV-14
def test_stop(rig):
    """A machine that stops keeps the message, and goes on with it."""
    machine = rig.started()
    result = machine.alloc(16)
    queue = machine.queues[INFLATE]
    message = hostile(machine)
    queue.put([(machine.buffer(message), len(message))], [(result, 16)])
    machine.qmp.execute("stop")
    runs = machine.property("runs")
    time.sleep(0.2)
    check(machine.property("runs") == runs, "works while the machine is stopped")
    check(not queue.pending(), "given back while the machine is stopped")
    machine.qmp.execute("cont")
    check(queue.get(60)[1] == 16, "the result")
    check(machine.property("runs") == NR_HOSTILE, "runs")


def test_queue_reset(rig):
    """The driver takes one queue back, in the middle of a message; the others do not notice."""
    machine = rig.machine(device=PCI_DEVICE, kind=PciMachine)
    if not machine.offered() >> RING_RESET & 1:
        raise Skip("this QEMU cannot reset a queue")
    machine.start()
    peer = Peer(machine)
    for _ in range(3):
        message = hostile(machine)
        queue = machine.queues[INFLATE]
        queue.put([(machine.buffer(message), len(message))])
        machine.reset_queue(INFLATE)
        runs = machine.property("runs")
        check(runs % NR_HOSTILE, "not in the middle")
        check(machine.inflate(extents([(DATA, 1)]), DEFLATE)[:2] == (1, OK), "the other queue")
        check(machine.inflate(extents([(DATA, 1)]))[:2] == (1, OK), "the queue, anew")
        check(machine.property("runs") == runs + 2, "the message goes on")
        check(not queue.pending(), "given back after the reset")
    # requests: what is asked is forgotten, and the buffers are
    machine.qmp.execute("qom-set", path=BALLOON, property="drop-cache", value=1)
    cmd, ident, _, _ = peer.next()
    check(cmd == DROP_CACHE, "no request")
    old = machine.reset_queue(machine.requests.index)
    try:
        machine.qmp.execute("qom-set", path=BALLOON, property="drop-cache", value=1)
        check(False, "a request without a buffer")
    except QmpError:
        pass
    peer = Peer(machine)
    machine.qmp.execute("qom-set", path=BALLOON, property="drop-cache", value=2)
    cmd, again, arg0, _ = peer.next()
    check((cmd, arg0) == (DROP_CACHE, 2) and again > ident, "no request after the reset")
    check(not old.pending(), "a buffer from before the reset is used")
    peer.end(again, cmd=DROP_CACHE)
    no_faults(machine)


def test_unplug(rig):
    """The device goes in the middle of a message, with buffers parked; then there is a new one."""
    machine = rig.machine(device=PCI_DEVICE, kind=PciMachine)
    for _ in range(3):
        machine.start()
        Peer(machine)
        message = hostile(machine)
        machine.queues[INFLATE].put([(machine.buffer(message), len(message))])
        check(machine.property("runs") < NR_HOSTILE, "not in the middle")
        machine.unplug()
        machine.plug(PCI_DEVICE)
        machine.start()
        check(machine.inflate(extents([(DATA, 1)]))[:2] == (1, OK), "the new one")
        no_faults(machine)


def test_broken_ring(rig):
    """Where the ring itself is broken the device wants a reset, and a reset is all it needs."""
    machine = rig.started()
    queue = machine.queues[INFLATE]

    def break_it():
        """Makes a descriptor available that the ring does not have."""
        machine.write(queue.avail + 4 + 2 * queue.next_avail, struct.pack("<H", 0x4000))
        machine.write(queue.avail + 2, struct.pack("<H", queue.next_avail + 1))

    break_it()
    queue.kick()
    poll(lambda: machine.reg(0x70) & 0x40, 5, "the device does not say so")
    check(not queue.pending(), "used")
    machine.start()
    check(not machine.reg(0x70) & 0x40, "after the reset")
    check(machine.inflate(extents([(0x100, 1)]))[:2] == (1, OK), "after the reset")
    # in the middle of a message
    message = hostile(machine)
    queue = machine.queues[INFLATE]
    queue.put([(machine.buffer(message), len(message))])
    break_it()
    poll(lambda: machine.reg(0x70) & 0x40, 60, "the device does not say so, after a message")
    machine.start()
    check(machine.inflate(extents([(0x100, 1)]))[:2] == (1, OK), "after the second reset")
    no_faults(machine)


# What the device inherits

def test_balloon(rig):
    """The target, the event, the monitor's commands and statistics, as with QEMU's own device."""
    machine = rig.machine()
    machine.start(queues=(INFLATE, DEFLATE, STATS))
    target = machine.mem_len // 2
    machine.qmp.execute("balloon", value=target)
    check(machine.reg(0x100) == target // PAGE_LEN, "num_pages")
    machine.set_reg(0x104, 1000)
    event = machine.qmp.wait_event("BALLOON_CHANGE", 10)
    actual = machine.mem_len - 1000 * PAGE_LEN
    check(event and event["actual"] == actual, f"BALLOON_CHANGE: {event}")
    check(machine.qmp.execute("query-balloon")["actual"] == actual, "query-balloon")
    check(machine.monitor("info balloon").strip() == f"balloon: actual={actual // MIB}", "info balloon")
    machine.monitor("balloon 48")
    check(machine.reg(0x100) == 16 * PAGES_PER_MIB, "balloon by hand")

    # tag 4: free memory
    stats = machine.queues[STATS]
    stats.put([(machine.buffer(struct.pack("<HQHQ", 4, 12345, 5, 67890)), 20)])
    machine.qmp.execute("qom-set", path=BALLOON, property="guest-stats-polling-interval", value=1)
    seen = machine.property("guest-stats")["stats"]
    check((seen["stat-free-memory"], seen["stat-total-memory"]) == (12345, 67890), f"{seen}")
    # the buffer comes back when the device wants figures again; its clock is the test's
    machine.command("clock_step", 1_500_000_000)
    poll(stats.pending, 10, "no question for statistics")
    no_faults(machine)


def test_trace(rig):
    """Each of the trace events can be seen."""
    with tempfile.NamedTemporaryFile() as file:
        arguments = ["-D", file.name, "-trace", "virtio_balloon_bmap_*"]
        migration, peer = filled(rig, arguments=arguments)
        source = migration.source
        source.inflate(extents([(0x100, 1)]))
        source.inflate(header(b"", form=RECORDS))
        migration.begin()
        _, ident, _, _ = peer.next()
        peer.unused(ident, [(DATA, 64)])
        peer.end(ident)
        migration.finish()
        text = file.read().decode()
    for event in ("message queue 0 format 1 page_shift 12 len 48", "run queue 0 gpa 0x100000 len 0x1000",
                  "discard ram0 offset 0x100000 len 0x1000 ret 0",
                  "result queue 0 nr_pages 1 status 0 discard_shift 12",
                  "fault queue 0 LEN_EMPTY", f"request cmd 0 id {ident} ", f"answer cmd 0 id {ident} ",
                  "unused ram0 offset 0x1000000 len 0x40000", "precopy reason "):
        check(f"virtio_balloon_bmap_{event}" in text, f"no trace of {event!r}")


def test_old_machines(rig):
    """For old machine types the configuration is as long as it was."""
    probe = rig.machine()
    known = {machine["name"] for machine in probe.qmp.execute("query-machines")}
    probe.kill()
    machines = [f"pc-i440fx-{version}" for version in ("3.1", "4.0", "4.1", "5.2")
                if f"pc-i440fx-{version}" in known]
    check(machines, f"none of {sorted(known)}")
    lengths = set()
    for name in machines:
        seen = []
        for device in ("virtio-balloon-pci", f"{PCI_DEVICE},page-bitmap=off"):
            for more in ("", ",page-poison=off"):
                with rig.machine(device=device + more, kind=PciMachine, machine=name) as machine:
                    # what is behind the end reads as ones
                    config = [machine.reg(0x100 + 4 * word) for word in range(5)]
                    seen.append((machine.offered(), config))
                    lengths.add(tuple(config))
        check(seen[:2] == seen[2:], f"{name}: {seen}")
    check(len(lengths) > 1, f"the length is always the same: {lengths}")


# Migration

class Migration:
    """A source and a destination; the source's CPUs and driver are the test's."""

    def __init__(self, rig, properties=(), mem_mib=96, bandwidth=0, **kwargs):
        self.rig = rig
        self.properties, self.mem_mib, self.kwargs = properties, mem_mib, kwargs
        self.source = rig.machine(properties, mem_mib=mem_mib, **kwargs)
        self.destination = None
        self.bandwidth = bandwidth

    def begin(self, capabilities=("events",), **parameters):
        """Begins to migrate, slowly if wanted: then the end is for finish()."""
        source = self.source
        capabilities = [{"capability": name, "state": True} for name in capabilities]
        self.destination = self.rig.machine(self.properties, mem_mib=self.mem_mib,
                                            **{**self.kwargs, "arguments": ["-incoming", "defer"]})
        uri = f"unix:{self.destination.folder}/migration"
        for machine in (source, self.destination):
            machine.qmp.execute("migrate-set-capabilities", capabilities=capabilities)
        self.destination.qmp.execute("migrate-incoming", uri=uri)
        source.qmp.execute("migrate-set-parameters",
                           **{"max-bandwidth": self.bandwidth, "downtime-limit": 300, **parameters})
        source.qmp.execute("migrate", uri=uri)

    def info(self):
        return self.source.qmp.execute("query-migrate")

    def rounds(self):
        """Collections of the log of writes so far."""
        return self.info().get("ram", {}).get("dirty-sync-count", 0)

    def finish(self, timeout=60):
        """Lets it end; the destination then runs, if the source did, and has the driver."""
        self.source.qmp.execute("migrate-set-parameters", **{"max-bandwidth": 0})
        poll(lambda: self.info()["status"] in ("completed", "failed", "cancelled"), timeout,
             "migration")
        check(self.info()["status"] == "completed", f"migration: {self.info()}")
        poll(lambda: self.destination.qmp.execute("query-status")["status"] != "inmigrate", 10,
             "the destination")
        self.destination.adopt(self.source)

    def compare(self, left_out=()):
        """Every page of the destination is the source's, or was left out and is 0."""
        missing = []
        with open(self.source.memory_file(), "rb") as source, \
             open(self.destination.memory_file(), "rb") as destination:
            for page in range(self.source.mem_len // PAGE_LEN):
                ours, theirs = source.read(PAGE_LEN), destination.read(PAGE_LEN)
                if ours != theirs:
                    check(not any(theirs), f"page {page:x} is another's")
                    missing.append(page)
        lost = sorted(set(missing) - set(left_out))
        check(not lost, f"{len(lost)} pages are lost, the first {lost[:8]}")
        return missing


class Peer:
    """The driver's side of the request queue of a machine."""

    def __init__(self, machine, nr_parked=4):
        self.machine, self.queue = machine, machine.requests
        self.parked = {}
        for _ in range(nr_parked):
            self.park(machine.alloc(32))

    def park(self, addr):
        self.parked[self.queue.put([], [(addr, 32)])] = addr

    def moved(self, machine):
        peer = Peer.__new__(Peer)
        peer.__dict__.update(self.__dict__, machine=machine, queue=machine.requests)
        return peer

    def next(self, timeout=10):
        """The next request: command, id and arguments; the buffer is parked anew."""
        while True:
            head, length = self.queue.get(timeout)
            if head in self.parked:
                break
        addr = self.parked.pop(head)
        cmd, *reserved, ident, arg0, arg1 = struct.unpack("<4H3Q", self.machine.read(addr, 32))
        check(length in (16, 32) and not any(reserved), "a malformed request")
        self.park(addr)
        return (cmd, ident, arg0, arg1) if length == 32 else (cmd, ident, 0, 0)

    def none(self, seconds=0.2):
        """There is no request."""
        time.sleep(seconds)
        while self.queue.pending():
            head, _ = self.queue.get()
            check(head not in self.parked, "a request")

    def answer(self, message):
        self.queue.put([(self.machine.buffer(message), len(message))])
        count = self.machine.property("answers")
        poll(lambda: self.machine.property("answers") >= count, 5, "the answer is not read")

    def unused(self, ident, runs, flag=CONT):
        self.answer(extents(runs, cmd=GET_UNUSED_PAGES, req_id=ident, flag=flag))

    def end(self, ident, flag=DONE, cmd=GET_UNUSED_PAGES):
        self.answer(header(b"", cmd=cmd, req_id=ident, flag=flag))


# The first MiB has nothing of ours; data lies from here on
DATA = 16 * PAGES_PER_MIB
NR_DATA = 48 * PAGES_PER_MIB
SLOW = 4 * MIB


def filled(rig, properties=(), bandwidth=SLOW, **kwargs):
    """A migration that is to be, of a machine full of data, and its driver."""
    migration = Migration(rig, properties, bandwidth=bandwidth, **kwargs)
    source = migration.source
    source.start()
    source.fill(DATA * PAGE_LEN, NR_DATA * PAGE_LEN, 0x5a)
    return migration, Peer(source)


def test_unused(rig):
    """Pages that the guest does not use are not sent, all others are."""
    migration, peer = filled(rig)
    peer.none()
    migration.begin()
    cmd, ident, arg0, arg1 = peer.next()
    check((cmd, arg0, arg1) == (GET_UNUSED_PAGES, 0, 0) and ident, "the request")
    runs = [(DATA + 16 * PAGES_PER_MIB, 16 * PAGES_PER_MIB), (DATA + 40 * PAGES_PER_MIB, 3)]
    peer.unused(ident, runs)
    peer.end(ident)
    # whatever was named: holes, firmware, the device's registers, past all memory
    migration.finish()
    named = [page for pfn, nr in runs for page in range(pfn, pfn + nr)]
    missing = migration.compare(named)
    check(len(missing) > len(named) * 0.9, f"only {len(missing)} of {len(named)} left out")
    check(migration.source.property("unused-runs") == 2, "a call a run")
    no_faults(migration.source)


# DEV-9
def test_later_write(rig):
    """A write after the question wins over the answer, before it or after it."""
    migration, peer = filled(rig)
    source = migration.source
    last = DATA + NR_DATA - 64
    migration.begin()
    _, ident, _, _ = peer.next()
    source.fill((last + 1) * PAGE_LEN, PAGE_LEN, 0x11)
    peer.unused(ident, [(last, 64)])
    source.fill((last + 2) * PAGE_LEN, PAGE_LEN, 0x22)
    poll(lambda: source.property("unused-bytes") == 64 * PAGE_LEN, 5, "the answer is not applied")
    source.fill((last + 3) * PAGE_LEN, 1, 0x33)
    peer.end(ident)
    migration.finish()
    missing = migration.compare(range(last, last + 64))
    check(sorted(missing) == [last, *range(last + 4, last + 64)], f"left out: {missing}")


def next_round(migration, peer, pages):
    """Goes on until the log of writes has been collected again; pages are written meanwhile."""
    source = migration.source
    before = migration.rounds()
    source.qmp.execute("migrate-set-parameters", **{"max-bandwidth": 0, "downtime-limit": 1})
    deadline = time.monotonic() + 30
    while migration.rounds() == before:
        for first, nr in pages:
            source.fill(first * PAGE_LEN, nr * PAGE_LEN, int(time.monotonic() * 100) & 0x7f | 0x80)
        check(time.monotonic() < deadline, "no further round")
    source.qmp.execute("migrate-set-parameters", **{"max-bandwidth": SLOW})


# DEV-10
def test_late_answer(rig):
    """An answer to a question before the last collection is dropped."""
    migration, peer = filled(rig)
    source = migration.source
    busy = (DATA, 16 * PAGES_PER_MIB)
    late = (DATA + 32 * PAGES_PER_MIB, 64)
    migration.begin()
    _, ident, _, _ = peer.next()
    # the pages named come into use, and into what is collected; then the answer arrives
    source.fill(late[0] * PAGE_LEN, late[1] * PAGE_LEN, 0x44)
    next_round(migration, peer, [busy, late])
    dropped = source.property("answers-dropped")
    peer.unused(ident, [late])
    poll(lambda: source.property("answers-dropped") == dropped + 1, 5, "not dropped")
    check(source.property("unused-bytes") == 0, "applied")
    # what is no longer wanted is cancelled, before more is asked for
    cmd, cancel, arg0, _ = peer.next()
    check((cmd, arg0) == (CANCEL, ident), "no CANCEL")
    peer.end(cancel, cmd=CANCEL)
    peer.end(ident, CANCELLED)
    cmd, again, _, _ = peer.next()
    check(cmd == GET_UNUSED_PAGES and again > cancel > ident, "no new question")
    peer.unused(again, [(DATA + 40 * PAGES_PER_MIB, 64)])
    peer.end(again)
    migration.finish()
    migration.compare(range(DATA + 40 * PAGES_PER_MIB, DATA + 40 * PAGES_PER_MIB + 64))
    no_faults(source)


# DEV-13
def test_silent(rig):
    """Migration does not wait for a guest that says nothing, or has no buffer to ask with."""
    for nr_parked in (4, 0):
        migration = Migration(rig)
        migration.source.start()
        migration.source.fill(DATA * PAGE_LEN, NR_DATA * PAGE_LEN, 0x5a)
        peer = Peer(migration.source, nr_parked)
        begin = time.monotonic()
        migration.begin()
        migration.finish()
        print(f"# {time.monotonic() - begin:.1f} s")
        migration.compare()
        # it is not waited for afterwards either
        machine, peer = migration.destination, peer.moved(migration.destination)
        check(machine.inflate(extents([(DATA, 1)]))[:2] == (1, OK), "the destination inflates")


# DEV-8
def test_nonsense(rig):
    """Whatever the guest answers, migration goes on and the device counts."""
    migration, peer = filled(rig)
    source = migration.source
    migration.begin()
    _, ident, _, _ = peer.next()
    for message in (
            extents([(0, 1)], cmd=GET_UNUSED_PAGES, req_id=ident + 1),
            extents([(0, 1)], cmd=DROP_CACHE, req_id=ident),
            header(bytes(8), form=VALUES, cmd=GET_UNUSED_PAGES, req_id=ident),
            header(bytes(7), form=RECORDS, cmd=GET_UNUSED_PAGES, req_id=ident),
            header(bytes(8), cmd=GET_UNUSED_PAGES, req_id=ident, flag=6),
            header(bytes(8), cmd=GET_UNUSED_PAGES, req_id=ident, flag=BUSY),
            extents([(0, 1)], cmd=GET_UNUSED_PAGES, req_id=0), b"", bytes(31)):
        if message:
            peer.answer(message)
    peer.queue.put([], [(source.alloc(16), 16)])
    faults = source.property("faults")
    for name in ("REQ_STALE", "REQ_CMD", "FORMAT", "LEN_ALIGN", "FLAG", "PAYLOAD", "SHORT"):
        check(faults.get(name), f"{name} is not counted: {faults}")
    check(source.property("unused-bytes") == 0, "applied")
    # registers, holes and the end of all memory are named, too; the firmware is RAM
    end = source.mem_len // PAGE_LEN
    peer.unused(ident, [(end, 0xff000 - end), (1 << 20, (1 << 52) - (1 << 20))])
    peer.end(ident, UNSUPPORTED)
    peer.end(ident, UNSUPPORTED)
    migration.finish()
    migration.compare()
    check(migration.destination.inflate(extents([(DATA, 1)]))[:2] == (1, OK), "afterwards")


def test_cancelled(rig):
    """A migration that is cancelled, or whose other side dies, leaves nothing behind."""
    migration, peer = filled(rig)
    source = migration.source
    for end in ("cancel", "death"):
        migration.begin()
        while (request := peer.next())[0] != GET_UNUSED_PAGES:
            peer.end(request[1], cmd=CANCEL)
        ident = request[1]
        peer.unused(ident, [(DATA, 64)])
        if end == "cancel":
            source.qmp.execute("migrate_cancel")
        else:
            migration.destination.kill()
        poll(lambda: migration.info()["status"] in ("cancelled", "failed"), 20, end)
        cmd, cancel, arg0, _ = peer.next()
        check((cmd, arg0) == (CANCEL, ident), "the guest is not told")
        bytes_before = source.property("unused-bytes")
        peer.unused(ident, [(DATA, 64)])
        peer.end(cancel, cmd=CANCEL)
        peer.end(ident, CANCELLED)
        check(source.property("unused-bytes") == bytes_before, "applied without a migration")
    migration.begin()
    cmd, ident, _, _ = peer.next()
    check(cmd == GET_UNUSED_PAGES, "no question")
    peer.end(ident)
    migration.finish()
    migration.compare()
    no_faults(source)


def test_stopped(rig):
    """A machine that is stopped is not asked, and one that stops is not believed any more."""
    migration, peer = filled(rig)
    source = migration.source
    migration.begin()
    _, ident, _, _ = peer.next()
    source.qmp.execute("stop")
    before = source.property("answers")
    source.requests.put([(source.buffer(extents([(DATA, 64)], cmd=0, req_id=ident)), 48)])
    time.sleep(0.1)
    check(source.property("answers") == before, "an answer is read while the machine is stopped")
    migration.finish()
    migration.compare()
    machine = migration.destination
    machine.qmp.execute("cont")
    poll(lambda: machine.property("faults") == {"REQ_STALE": 1}, 5, "the answer is not dropped")


def test_busy(rig):
    """A guest that is busy is asked again at the next collection, not sooner."""
    migration, peer = filled(rig)
    migration.begin()
    _, ident, _, _ = peer.next()
    peer.end(ident, BUSY)
    peer.none()
    next_round(migration, peer, [(DATA, 16 * PAGES_PER_MIB)])
    cmd, again, _, _ = peer.next()
    check(cmd == GET_UNUSED_PAGES and again > ident, "not asked again")
    peer.end(again)
    migration.finish()
    migration.compare()


def test_migrate_message(rig):
    """A message in the middle of being worked on is worked on to its end on the other side."""
    migration, peer = filled(rig, bandwidth=0)
    source = migration.source
    result = source.alloc(16)
    migration.begin(**{"max-bandwidth": SLOW})
    _, ident, _, _ = peer.next()
    message = hostile(source)
    source.queues[INFLATE].put([(source.buffer(message), len(message))], [(result, 16)])
    source.qmp.execute("stop")
    check(0 < source.property("runs") < NR_HOSTILE, "not in the middle")
    migration.finish()
    check(not source.queues[INFLATE].pending(), "given back twice")
    machine = migration.destination
    machine.qmp.execute("cont")
    check(machine.queues[INFLATE].get(60)[1] == 16, "the result's length")
    nr_pages, status, _, _ = struct.unpack("<QHHI", machine.read(result, 16))
    expected = (machine.mem_len - ARENA_LEN) // PAGE_LEN // 2
    # the firmware, below 4 GiB, is RAM, too
    check(expected <= nr_pages < expected + 1024 and status == PARTIAL, f"{nr_pages}, {status}")
    # what the source asked is nobody's here, and its buffers are here
    peer = peer.moved(machine)
    peer.end(ident)
    check(machine.property("faults") == {"REQ_STALE": 1}, "an answer to the source")


# DEV-12
def test_there_and_back(rig):
    """Ids go along with the device, and never come twice."""
    migration, peer = filled(rig)
    seen = []
    for _ in range(3):
        migration.begin()
        cmd, ident, _, _ = peer.next()
        check(cmd == GET_UNUSED_PAGES and ident not in seen, f"{ident} after {seen}")
        seen.append(ident)
        unused = range(DATA + 40 * PAGES_PER_MIB, DATA + 40 * PAGES_PER_MIB + 64)
        peer.unused(ident, [(unused[0], 64)])
        peer.end(ident)
        migration.finish()
        migration.compare(unused)
        migration.source.kill()
        migration.source = migration.destination
        peer = peer.moved(migration.source)


def test_postcopy(rig):
    """With postcopy nothing is asked: the other side could ask for what was never sent."""
    migration, peer = filled(rig)
    migration.begin(("events", "postcopy-ram"))
    peer.none(0.5)
    migration.finish()
    migration.compare()


def test_postcopy_inflate(rig):
    """While postcopy comes in nothing is discarded, and the result says so."""
    migration, _ = filled(rig, bandwidth=MIB)
    source = migration.source
    result = source.alloc(16)
    try:
        migration.begin(("postcopy-ram",))
    except QmpError as error:
        raise Skip(f"no postcopy: {error}") from None
    poll(lambda: migration.info()["status"] == "active", 10, "begin")
    message = extents([(DATA, 64)])
    source.queues[INFLATE].put([(source.buffer(message), len(message))], [(result, 16)], kick=False)
    source.qmp.execute("migrate-set-parameters", **{"max-postcopy-bandwidth": MIB})
    source.qmp.execute("migrate-start-postcopy")
    machine = migration.destination
    poll(lambda: machine.qmp.execute("query-status")["status"] == "running", 30, "postcopy")
    check(migration.info()["status"] == "postcopy-active", f"{migration.info()['status']}")
    machine.adopt(source)
    machine.queues[INFLATE].kick()
    length = machine.queues[INFLATE].get(60)[1]
    check(migration.info()["status"] == "postcopy-active", "too late")
    check(length == 16, "the result's length")
    check(struct.unpack("<QHHI", machine.read(result, 16)) == (0, INHIBITED, 12, 0), "the result")
    source.qmp.execute("migrate-set-parameters", **{"max-postcopy-bandwidth": 0})
    poll(lambda: migration.info()["status"] == "completed", 60, "the end")
    check(machine.read(DATA * PAGE_LEN, 64 * PAGE_LEN) == b"\x5a" * (64 * PAGE_LEN), "discarded")
    poll(lambda: machine.inflate(message)[1] == OK, 10, "afterwards")


def test_switched_off(rig):
    for properties in (("unused-pages=off",), ("host-requests=off",)):
        migration = Migration(rig, properties)
        migration.source.start()
        migration.source.fill(DATA * PAGE_LEN, NR_DATA * PAGE_LEN, 0x5a)
        migration.begin()
        migration.finish()
        migration.compare()
        check(not migration.source.property("requests"), f"{properties}: a request")


def test_snapshot(rig):
    """While a snapshot is made in the background nothing is discarded, and the result says so."""
    machine = rig.started(backend="memory-backend-ram")
    machine.fill(DATA * PAGE_LEN, 16 * MIB, 0x5a)
    try:
        machine.qmp.execute("migrate-set-capabilities", capabilities=[
            {"capability": "background-snapshot", "state": True}])
    except QmpError as error:
        raise Skip(f"no background snapshots: {error}") from None
    machine.qmp.execute("migrate-set-parameters", **{"max-bandwidth": MIB})
    machine.qmp.execute("migrate", uri="exec:cat >/dev/null")
    poll(lambda: machine.qmp.execute("query-migrate")["status"] in ("active", "failed"), 10, "begin")
    if machine.qmp.execute("query-migrate")["status"] == "failed":
        raise Skip("no background snapshots here")
    check(machine.inflate(extents([(DATA, 64)])) == (0, INHIBITED, 12), "the result")
    check(machine.read(DATA * PAGE_LEN, PAGE_LEN) == b"\x5a" * PAGE_LEN, "discarded")


def test_drop_cache(rig):
    """The user's hand: a property that asks, and one that tells."""
    machine = rig.started()
    peer = Peer(machine)
    for what in (4, 0xff):
        try:
            machine.qmp.execute("qom-set", path=BALLOON, property="drop-cache", value=what)
            check(False, f"{what} was taken")
        except QmpError:
            pass
    machine.qmp.execute("qom-set", path=BALLOON, property="drop-cache", value=3)
    cmd, ident, arg0, arg1 = peer.next()
    check((cmd, arg0, arg1) == (DROP_CACHE, 3, 0), "the request")
    peer.answer(header(struct.pack("<Q", 1234), cmd=DROP_CACHE, form=VALUES, req_id=ident))
    poll(lambda: machine.property("dropped-pages") == 1234, 5, "the number so far")
    try:
        machine.qmp.execute("qom-set", path=BALLOON, property="drop-cache", value=1)
        check(False, "a second request was taken")
    except QmpError:
        pass
    peer.end(ident, cmd=DROP_CACHE)
    poll(lambda: machine.property("dropped-pages") == 1234, 5, "the number")
    no_faults(machine)


def main():
    parser = tap.arguments(__doc__)
    parser.add_argument("--qemu", metavar="PROGRAM", help="else the one that scripts/lib/qemu builds")
    options = parser.parse_args()
    if not options.list and not options.qemu:
        options.qemu = script("qemu")
    tests = [test_features, test_stock_features, test_request_queue, test_inflate, test_old_format, test_not_ram,
             test_rom, test_backends, test_host_pages, test_malformed, test_cuts, test_stall, test_reset,
             test_queue_reset, test_unplug, test_broken_ring, test_balloon, test_trace, test_old_machines,
             test_stop, test_unused, test_later_write, test_late_answer, test_silent, test_nonsense,
             test_cancelled, test_stopped, test_busy, test_migrate_message, test_there_and_back, test_postcopy,
             test_postcopy_inflate, test_switched_off, test_snapshot, test_drop_cache]
    plan = [(test.__name__[5:].replace("_", " "), lambda log: Rig(options, log), test, (), {})
            for test in tests]
    return tap.run(plan, options)


if __name__ == "__main__":
    sys.exit(main())
