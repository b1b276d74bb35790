#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause
"""QEMU's device of ours, byte by byte and moment by moment. Prints TAP.

test_qemu.py [--qemu PROGRAM] [--filter TEXT] [--list]

The tests play the driver themselves (qtest.py), so that they can do what no guest does, and know
what every byte of the guest's memory must be. qtest_migration.py has those of two QEMUs.
"""

import contextlib
import struct
import sys
import tempfile
import time

import qtest_migration
import tap
from harness import MIB, QmpError
from qtest import (BALLOON, DATA, DEFLATE, DROP_CACHE, HOST_REQ_VQ, INFLATE, INHIBITED, MALFORMED,
                   Machine, NR_HOSTILE, OK, PAGE_BITMAP, PAGE_LEN, PAGES_PER_MIB, PAGE_RECORDS, PARTIAL,
                   PciMachine, Peer, RECORDS, RING_RESET, VALUES, VERSION_1, bitmap, extents,
                   header, hostile, no_faults)
from tap import Skip, check, poll, script

DEVICE = "virtio-balloon-bmap-device"
PCI_DEVICE = "virtio-balloon-bmap-pci"
STATS = 2
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


# What the device offers

# VBB-DEV-01
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


# VBB-DEV-15
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


# VBB-DEV-11
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


# VBB-DEV-04
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


# VBB-DEV-05, VBB-DEV-06
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


# VBB-MSG-22, VBB-DEV-03
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


def test_inhibited(rig):
    """While anyone forbids discards nothing goes, and the result says so; afterwards all is as before."""
    machine = rig.machine()
    machine.populate()
    machine.start()
    machine.fill(0, 24 * MIB, 0xa5)
    before = machine.host_len()

    def refused():
        for runs in ([(DATA, 64)], [(0x100, 1), (0x1000, 2048)], [(DATA, 64), (machine.mem_len // PAGE_LEN, 1)]):
            check(machine.inflate(extents(runs))[:2] == (0, INHIBITED), f"{runs}: the result")
        check(machine.inflate(extents([(DATA, 64)]), DEFLATE)[:2] == (64, OK), "deflate's result")
        check(machine.read(0, 24 * MIB) == b"\xa5" * (24 * MIB), "memory is not what it was")
        check(machine.host_len() == before and not machine.property("discards"), "something was discarded")

    machine.discards(False)
    machine.discards(False)
    refused()
    machine.discards(True)
    refused()
    machine.discards(True)
    check(machine.inflate(extents([(DATA, 64)])) == (64, OK, 12), "and then")
    check(before - machine.host_len() == 64 * PAGE_LEN, "not freed")
    check(not any(machine.read(DATA * PAGE_LEN, 64 * PAGE_LEN)), "not empty")
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


# VBB-DEV-14
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
        migration, peer = qtest_migration.filled(rig, arguments=arguments)
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


def main():
    parser = tap.arguments(__doc__)
    parser.add_argument("--qemu", metavar="PROGRAM", help="else the one that scripts/lib/qemu builds")
    options = parser.parse_args()
    if not options.list and not options.qemu:
        options.qemu = script("qemu")
    tests = [test_features, test_stock_features, test_request_queue, test_inflate, test_old_format, test_not_ram,
             test_rom, test_backends, test_host_pages, test_inhibited, test_malformed, test_cuts, test_stall, test_reset,
             test_queue_reset, test_unplug, test_broken_ring, test_balloon, test_trace, test_old_machines,
             test_stop, *qtest_migration.TESTS]
    plan = [(test.__name__[5:].replace("_", " "), lambda log: Rig(options, log), test, (), {})
            for test in tests]
    return tap.run(plan, options)


if __name__ == "__main__":
    sys.exit(main())
