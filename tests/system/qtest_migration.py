# SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause
"""Migrations between two real QEMUs with our device, moment by moment; part of test_qemu.py."""

import fcntl
import socket
import struct
import termios
import time

from harness import MIB, QmpError
from qtest import (ARENA_LEN, BALLOON, BUSY, CANCEL, CANCELLED, DATA, DROP_CACHE, GET_UNUSED_PAGES,
                   INFLATE, INHIBITED, NR_HOSTILE, OK, PAGE_LEN, PAGES_PER_MIB, PARTIAL, Peer, RECORDS,
                   UNSUPPORTED, VALUES, bitmap, extents, header, hostile, no_faults)
from tap import Skip, check, poll


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


# VBB-DEV-09
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


# VBB-DEV-10
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


# VBB-DEV-13
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


# VBB-DEV-08
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


def test_long_answer(rig):
    """An answer of a MiB is read in pieces: the monitor is served meanwhile, and migration goes on.

    How often depends on what else this host does: one of some times tells.
    """
    migration, peer = filled(rig)
    source = migration.source
    migration.begin()
    _, ident, _, _ = peer.next()
    # nothing but holes, each of them a run
    message = bitmap(1 << 32, b"\x55" * (1 << 20), cmd=GET_UNUSED_PAGES, req_id=ident)
    addr, answers = source.buffer(message), []
    for _ in range(10):
        peer.queue.put([(addr, len(message))])
        answers.append(0)
        while peer.queue.pending() == 0:
            source.qmp.execute("query-status")
            answers[-1] += 1
        peer.queue.get()
        if answers[-1] > 3:
            break
    print(f"# {answers} commands meanwhile", flush=True)
    check(max(answers) > 3, f"{answers} commands were served meanwhile")
    check(source.property("unused-bytes") == 0, "holes are applied")
    peer.end(ident)
    migration.finish()
    migration.compare()
    no_faults(source)


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


def unread(connection):
    return struct.unpack("i", fcntl.ioctl(connection, termios.FIONREAD, bytes(4)))[0]


# VBB-DEV-13
def test_stalled(rig):
    """While the network takes no more an answer waits for migration, and nobody for the answer."""
    migration, peer = filled(rig)
    source = migration.source
    path = f"{source.folder}/stalled"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        source.qmp.execute("migrate-set-parameters", **{"max-bandwidth": 0})
        source.qmp.execute("migrate", uri=f"unix:{path}")
        connection, _ = listener.accept()
        with connection:
            _, ident, _, _ = peer.next()
            before = -1
            while (now := unread(connection)) != before or not now:
                before = now
                time.sleep(0.2)
            message = extents([(DATA, 64)], cmd=GET_UNUSED_PAGES, req_id=ident)
            source.requests.put([(source.buffer(message), len(message))])
            check(source.qmp.execute("query-status")["running"], "not served")
            check(source.property("unused-bytes") == 0, "applied")
            source.qmp.execute("migrate_cancel")
            poll(lambda: migration.info()["status"] == "cancelled", 20, "not cancelled")
    no_faults(source)


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


# VBB-DEV-12
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


TESTS = (test_unused, test_later_write, test_late_answer, test_silent, test_nonsense, test_long_answer,
         test_cancelled, test_stopped, test_stalled, test_busy, test_migrate_message, test_there_and_back,
         test_postcopy, test_postcopy_inflate, test_switched_off, test_snapshot, test_drop_cache)
