#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause
"""Migrates guests with our driver between two QEMUs with our device: nothing is lost. Prints TAP.

test_migration.py [--long] [--churns N] [--qemu PROGRAM] [--filter TEXT] [--list]

After each migration the memory of both machines is compared while neither runs: they differ only in
pages that the guest named as unused. Then the guest checks its data itself: what it holds all the
time, and what its churn (tests/system/guest/churn.c) has written, freed and used again meanwhile.
"""

import contextlib
import re
import subprocess
import sys

import tap
from harness import HarnessError, MIB, PAGE_LEN, QmpError
from qemuguest import BALLOON, Guest
from tap import TOP, Lost, check, poll, script
from test_stock import Kernel

MEM_MIB = 512
HOLD_MIB = 24
CHURN_MIB = 96
ZRAM = "/dev/zram0"
DEVICE = "virtio-balloon-bmap-pci"
DEFAULT = ("init_on_alloc=1",)
# Bytes a second: slower than a churning guest writes, so that there is always another round.
LIMITED = 100 * MIB
UNLIMITED = 0
# Written to all the time, so that more is to be sent again than fits into 100 ms of LIMITED.
KEEP_MIB = 16
# What a guest that has just booted uses, and what migration sends besides pages.
BOOTED_LEN = 96 * MIB
AFTER_BITMAP_SYNC = 2
GET_UNUSED_PAGES = 0
CONT = 0


class Trace:
    """What a device says of its migrations.

    rounds: of each round the ids with which the guest was asked for its unused pages in it, nr_late:
    how many such questions were answered in a later round, named: the pages that were named.
    """

    def __init__(self, path):
        self.path, self.offset = path, 0
        self.rounds, self.nr_late, self.named = [], 0, set()

    def read(self):
        with open(self.path, "rb") as file:
            file.seek(self.offset)
            text = file.read()
        text = text[:text.rfind(b"\n") + 1]
        self.offset += len(text)
        for event, values in re.findall(r"virtio_balloon_bmap_(\w+) (.*)", text.decode()):
            numbers = [int(value, 0) for value in re.findall(r"\b(?:0x)?[\da-f]+\b", values)]
            getattr(self, event)(*numbers)
        return self

    def precopy(self, reason, *_):
        if reason == AFTER_BITMAP_SYNC:
            self.rounds.append([])

    def request(self, cmd, number, *_):
        if cmd == GET_UNUSED_PAGES:
            self.rounds[-1].append(number)

    def answer(self, cmd, number, flag, *_):
        if cmd == GET_UNUSED_PAGES and flag != CONT and self.rounds and number not in self.rounds[-1]:
            self.nr_late += 1

    def unused(self, offset, length):
        self.named.update(range(offset // PAGE_LEN, (offset + length) // PAGE_LEN))

    def nr_asked(self):
        return sum(map(bool, self.rounds))


class Rig:
    def __init__(self, kernel, options, log):
        self.kernel, self.options, self.log = kernel, options, log
        self.qemu = options.qemu
        self.zram = [kernel.folder / "modules" / f"{name}.ko" for name in ("zsmalloc", "zram")]
        self.files = []  # of the host's that guests have, too
        self.stack = contextlib.ExitStack()
        self.guest = self.destination = None
        self.number = 0
        self.churning = False

    def _guest(self, **kwargs):
        kernel = self.kernel
        self.number += 1
        trace = Trace(f"{self.log}.trace{self.number}")
        arguments = ["-D", trace.path]
        for event in ("precopy", "request", "answer", "unused"):
            arguments += ["-trace", f"virtio_balloon_bmap_{event}"]
        guest = self.stack.enter_context(
            Guest(kernel.folder, kernel.initrd, [kernel.ours.module, *self.zram, *self.files], qemu=self.qemu,
                  log=self.log, arguments=arguments + ["-S"] * ("incoming" in kwargs),
                  **self.machine, **kwargs))
        guest.trace = trace
        return guest

    def start(self, append=DEFAULT, cpus=1, mem_mib=MEM_MIB, module="", used=True, properties=(),
              **kwargs):
        """Boots a guest with our driver and held data; used: half of its memory was, and is free."""
        self.machine = {"append": append, "cpus": cpus, "mem_mib": mem_mib,
                        "device": ",".join((DEVICE, *properties))}
        self.guest = self._guest(**kwargs)
        self.guest.hold(HOLD_MIB)
        self.guest.insmod(self.kernel.ours.module, module)
        if used:
            self.guest.run(f"fill {mem_mib // 2}", 120)

    def start_zram(self, mib):
        """Gives the guest a block device, for page cache."""
        for module in self.zram:
            self.guest.insmod(module)
        self.guest.write("/sys/block/zram0/disksize", f"{mib}M")

    def start_churn(self, **kwargs):
        self.start(**kwargs)
        self.start_zram(CHURN_MIB)
        self.guest.churn(CHURN_MIB, cache=ZRAM)
        self.guest.keep(KEEP_MIB)
        self.churning = True

    def settle(self):
        """Ends the churn; nothing that it holds may be wrong."""
        self.churning = False
        self.guest.unkeep()
        result = self.guest.settle()
        print("# churn: {written} pages written, {checked} checked".format(**result), flush=True)
        if result["bad"]:
            raise Lost(f"{result['bad']} pages of the churn are wrong: {result['first']}")

    def begin(self, bandwidth=UNLIMITED, downtime_ms=1):
        """Begins to migrate to a new machine."""
        self.destination = self._guest(incoming="defer")
        uri = f"unix:{self.destination.trace.path}.socket"
        self.destination.qmp.execute("migrate-incoming", uri=uri)
        self.limit(bandwidth, downtime_ms)
        self.nr_asked_before = self.guest.trace.read().nr_asked()
        self.guest.qmp.execute("migrate", uri=uri)

    def limit(self, bandwidth, downtime_ms):
        self.guest.qmp.execute("migrate-set-parameters", **{"max-bandwidth": bandwidth,
                                                            "downtime-limit": downtime_ms})

    def info(self):
        return self.guest.qmp.execute("query-migrate")

    def ram(self, name):
        return self.info().get("ram", {}).get(name, 0)

    def sent(self, nr_bytes):
        poll(lambda: self.ram("transferred") >= nr_bytes, 60, f"{nr_bytes} bytes are sent")

    def rounds(self, number):
        """Lets so many rounds go by in which the guest is asked anew."""
        trace = self.guest.trace
        poll(lambda: trace.read().nr_asked() >= self.nr_asked_before + number, 120,
             f"{number} rounds")
        check(self.info()["status"] == "active", f"{self.info()}")
        ids = sum(trace.rounds, [])
        check(len(set(ids)) == len(ids) and max(map(len, trace.rounds)) == 1,
              f"not one question a round, with an id of its own: {trace.rounds}")

    def sprint(self, number):
        """Lets rounds go by as fast as they can, so that some answers come too late for theirs."""
        self.limit(UNLIMITED, 1)
        end = self.guest.trace.read().nr_asked() + number
        poll(lambda: self.guest.trace.read().nr_asked() >= end
             or self.info()["status"] == "completed", 120, f"{number} questions")

    def end(self, timeout=120):
        """Lets the migration end; returns what QEMU says of it."""
        self.limit(UNLIMITED, 100000)
        poll(lambda: self.info()["status"] in ("completed", "failed"), timeout, "migration")
        info = self.info()
        check(info["status"] == "completed", f"migration: {info}")
        return info

    def arrive(self):
        """Goes on with the guest where it is now."""
        source, self.guest = self.guest, self.destination
        self.guest.qmp.execute("cont")
        self.guest.arrive(source)
        self.guest._next_id = source._next_id
        source.kill()
        tap.intact(self.guest)
        if self.churning:
            written = self.guest.churned()["written"]
            poll(lambda: self.guest.churned()["written"] > written, 60, "the churn goes on")

    def finish(self):
        """Lets it end, compares the machines, and goes on with the guest where it is now."""
        info = self.end()
        different = self.compare()
        info["left-out"] = self.counter("unused-bytes")
        trace = self.guest.trace
        print("# {:.0f} ms, {:.0f} ms down, {:.0f} MB sent, {} rounds, {} with a question, {} answered late, "
              "{:.0f} MB left out, {} pages differ".format(
                  info["total-time"], info["downtime"], info["ram"]["transferred"] / 1e6,
                  len(trace.rounds), trace.nr_asked(), trace.nr_late, info["left-out"] / 1e6,
                  different), flush=True)
        # an answer to the machine that it was before finds nobody here who asked
        faults = self.counter("faults").keys() - {"REQ_STALE"}
        check(not faults, f"the driver's faults: {faults}")
        self.arrive()
        return info

    def migrate(self, **kwargs):
        self.begin(**kwargs)
        return self.finish()

    def counter(self, name):
        return self.guest.qmp.execute("qom-get", path=BALLOON + "/virtio-backend", property=name)

    def compare(self):
        """Compares all memory of the two; returns how many pages differ."""
        named = self.guest.trace.read().named
        different = 0
        files = [next(iter(machine.memory_files)) for machine in (self.guest, self.destination)]
        with open(files[0], "rb") as source, open(files[1], "rb") as destination:
            for first in range(0, self.guest.mem_len // PAGE_LEN, 256):
                ours, theirs = source.read(MIB), destination.read(MIB)
                if ours == theirs:
                    continue
                for page in range(256):
                    part = slice(page * PAGE_LEN, (page + 1) * PAGE_LEN)
                    if ours[part] != theirs[part]:
                        if first + page not in named:
                            raise Lost(f"page {first + page:x} is not what it was, nor named")
                        different += 1
        return different

    def close(self):
        self.stack.close()


def idle(rig):
    """A guest that has done nothing: what it never used is neither sent nor looked at."""
    rig.start(used=False)
    free = rig.guest.free_len()
    info = rig.migrate()
    check(info["left-out"] > free * 3 // 4, f"{free} bytes are free")
    check(info["ram"]["transferred"] < BOOTED_LEN, "too much was sent")


def used(rig, **kwargs):
    """Memory that was used and freed is not sent."""
    rig.start(**kwargs)
    info = rig.migrate()
    check(info["ram"]["transferred"] < BOOTED_LEN + HOLD_MIB * MIB, "too much was sent")
    check(rig.counter("unused-bytes") == 0, "the destination asked")


def free_pages_matter(rig, append):
    """A kernel that looks at what is in its free pages does not name them; all of them arrive."""
    rig.start_churn(append=(append,))
    rig.begin(bandwidth=LIMITED)
    rig.rounds(2)
    info = rig.finish()
    check(not info["left-out"], "pages were left out")
    rig.settle()
    rig.guest.run(f"fill {MEM_MIB // 2}", 120)
    check(not rig.guest.reports(), f"the kernel reports {rig.guest.reports()}")


def there_and_back(rig):
    """Two migrations in a row, with a churn that goes on all the time."""
    rig.start_churn()
    for _ in range(2):
        rig.begin(bandwidth=LIMITED)
        rig.rounds(1)
        rig.finish()
    rig.settle()


def churn(rig, **kwargs):
    """A guest that keeps using and freeing memory, over several rounds, slow and fast ones."""
    rig.start_churn(**kwargs)
    rig.begin(bandwidth=LIMITED)
    rig.rounds(4)
    rig.sprint(50)
    info = rig.finish()
    check(info["left-out"], "nothing was left out")
    rig.settle()


def page_cache(rig):
    """A guest that is full of page cache: that is memory in use."""
    mem_mib, cached_mib = 256, 128
    rig.start(mem_mib=mem_mib, used=False)
    rig.start_zram(cached_mib)
    rig.guest.run(f"cache {cached_mib} {ZRAM}", 120)
    info = rig.migrate()
    sent = info["ram"]["normal"] * PAGE_LEN
    check(sent > cached_mib * MIB, f"{sent} bytes of pages were sent")
    text = rig.guest.run(f"cached {cached_mib}", 120)
    if not text.endswith(" bad=0"):
        raise Lost(f"the page cache: {text}")


def dropped_cache(rig):
    """The page cache, of files and of a block device, is dropped first, and is not sent."""
    mem_mib, cached_mib = 256, 128
    modules, disk = rig.kernel.folder / "modules", rig.log.with_suffix(".disk")
    brd, minix = modules / "brd.ko", modules / "minix.ko"
    disk.write_bytes(bytes(4 * MIB))
    subprocess.run(["/sbin/mkfs.minix", disk], check=True, stdout=subprocess.DEVNULL)
    rig.files = [brd, minix, disk]
    rig.start(mem_mib=mem_mib, used=False)
    rig.start_zram(cached_mib)
    rig.guest.insmod(brd, "rd_nr=1 rd_size=4096")
    rig.guest.insmod(minix)
    # Block devices are found by a file system on one of them.
    rig.guest.sh(f"dd if=/host{disk.resolve()} of=/dev/ram0 bs=64k; mkdir /minix; "
                 "mount -t minix /dev/ram0 /minix")
    rig.guest.sh("dd if=/dev/urandom of=/minix/file bs=64k count=16; sync; md5sum /minix/file >/mem/sum")
    rig.guest.run(f"cache {cached_mib} {ZRAM}", 120)
    rig.guest.balloon_property("drop-cache", 1)
    # a guest that is full has given up some of it before
    poll(lambda: rig.counter("dropped-pages") * PAGE_LEN > cached_mib * MIB * 3 // 4, 60,
         "the page cache is dropped")
    info = rig.migrate()
    sent = info["ram"]["normal"] * PAGE_LEN
    check(sent < cached_mib * MIB, f"{sent} bytes of pages were sent")
    text = rig.guest.run(f"cached {cached_mib}", 120)
    if not text.endswith(" bad=0"):
        raise Lost(f"the page cache: {text}")
    if rig.guest.sh("md5sum /minix/file") != rig.guest.cat("/mem/sum"):
        raise Lost("a file")


def inflated(rig):
    """The balloon's pages stay where they are: nowhere."""
    rig.start()
    target = MEM_MIB // 2 * MIB
    rig.guest.qmp.execute("balloon", value=target)
    poll(lambda: rig.guest.actual_len() == target, 60, "inflate")
    rig.migrate()
    check(rig.guest.actual_len() == target, "the size of the balloon")
    rig.guest.qmp.execute("balloon", value=MEM_MIB * MIB)
    poll(lambda: rig.guest.actual_len() == MEM_MIB * MIB, 60, "deflate")
    rig.guest.run(f"fill {MEM_MIB // 2}", 120)
    tap.intact(rig.guest)


def inflating(rig):
    """A balloon that is under way goes on at the other side."""
    rig.start(module="format=bitmap")
    target = MEM_MIB // 2 * MIB
    rig.guest.qmp.execute("balloon", value=target)
    rig.migrate()
    poll(lambda: rig.guest.actual_len() == target, 120, "inflate")
    tap.intact(rig.guest)


def cancelled(rig):
    """Cancelled at once, in the first round, and in a later one; the next migration succeeds."""
    rig.start_churn()
    for until in (lambda: None, lambda: rig.sent(MIB), lambda: rig.rounds(2)):
        rig.begin(bandwidth=LIMITED)
        until()
        rig.guest.qmp.execute("migrate_cancel")
        poll(lambda: rig.info()["status"] == "cancelled", 60, "cancel")
        rig.destination.kill()
    rig.migrate()
    rig.settle()


def unloaded(rig):
    """The driver goes in the middle, and comes again."""
    rig.start()
    rig.begin(bandwidth=MIB)
    rig.sent(MIB)
    rig.guest.rmmod("virtio_balloon_bmap")
    rig.guest.run(f"fill {MEM_MIB // 2}", 120)
    rig.guest.insmod(rig.kernel.ours.module)
    rig.finish()
    rig.migrate()


def destination_dies(rig):
    """The source goes on when the destination dies."""
    rig.start_churn()
    rig.begin(bandwidth=LIMITED)
    rig.sent(MIB)
    rig.destination.kill()
    poll(lambda: rig.info()["status"] == "failed", 60, "the failure")
    rig.migrate()
    rig.settle()


def source_dies(rig):
    """The destination ends when the source dies in the middle, and does not need it any more after."""
    rig.start_churn()
    rig.begin(bandwidth=LIMITED)
    rig.rounds(2)
    rig.guest.kill()
    status = rig.destination.wait(60)
    check(status == 1, f"the destination ends with {status}")
    rig.start_churn()
    rig.begin(bandwidth=LIMITED)
    rig.rounds(1)
    rig.end()
    rig.guest.kill()
    rig.arrive()
    rig.settle()


def asleep(rig, state):
    """No migration: a guest goes to sleep with a request that is open, and serves the next one."""
    rig.start(cpus=2, image="vmlinuz")

    def counters():
        text = rig.guest.sh("cat /sys/kernel/debug/virtio_balloon_bmap/virtio*")
        return {name: int(value) for name, value in map(str.split, text.splitlines())}

    def ask():
        """False where the driver is still at an earlier request."""
        try:
            rig.guest.balloon_property("drop-cache", 1)
        except QmpError:
            return False
        return True

    def waiting():
        """Caches are dropped once a second: a request that comes at once has to wait."""
        for _ in range(10):
            before = counters()
            poll(ask, 60, "a request")
            poll(ask, 60, "and one that comes at once")
            now = counters()
            if now["answers_done"] == before["answers_done"] + 1:
                return now
            # on a busy machine a second goes by quickly
            poll(lambda: counters()["answers_done"] == before["answers_done"] + 2, 60, "both are done")
        raise tap.Failure("no request has to wait")

    nr_open = 0
    for _ in range(6):
        before = waiting()
        rig.guest.sleep(state)
        nr_open += counters()["answers_done"] == before["answers_done"]
        tap.intact(rig.guest)
        if nr_open == 2:
            break
    # and that it was done before all slept can happen on a busy machine, but not always
    check(nr_open, "an answer of before")
    done = counters()["answers_done"]
    poll(ask, 60, "a request")
    poll(lambda: counters()["answers_done"] > done, 60, "an answer")
    check(not rig.guest.reports(), "the kernel reports something")
    rig.guest.poweroff()


def control(rig):
    """A device that keeps an id over a collection of the log of writes: these tests see the loss."""
    rig.qemu = rig.options.mutant
    for _ in range(5):
        try:
            churn(rig, cpus=2)
        except (Lost, HarnessError) as loss:
            # a guest whose kernel has lost something may not be able to say so
            reports = rig.guest.reports()
            if isinstance(loss, Lost) or reports:
                print(f"# seen: {loss}", *reports[:1], sep="\n# ", flush=True)
                return
            raise
        rig.guest.kill()
    check(False, "a device that loses data passes")


def cases(options):
    """All tests: (name, function, keyword arguments)."""
    if not options.long:
        yield "idle", idle, {}
        yield "used and freed", used, {}
        yield ("churn, two processors, init_on_alloc=0", churn,
               {"cpus": 2, "append": ("init_on_alloc=0",)})
        yield "page_poison=1", free_pages_matter, {"append": "page_poison=1"}
        yield "page cache", page_cache, {}
        yield "page cache, dropped", dropped_cache, {}
        yield "cancelled", cancelled, {}
        yield "driver unloaded", unloaded, {}
        yield "source dies", source_dies, {}
        yield "there and back", there_and_back, {}
        yield "inflating", inflating, {}
        yield "asleep, freeze", asleep, {"state": "freeze"}
        return
    yield "asleep, mem", asleep, {"state": "mem"}
    yield "used and freed, init_on_alloc=0", used, {"append": ("init_on_alloc=0",)}
    yield "init_on_free=1", free_pages_matter, {"append": "init_on_free=1"}
    yield "inflated", inflated, {}
    yield "destination dies", destination_dies, {}
    yield "control", control, {}
    for number in range(options.churns):
        append = f"init_on_alloc={number // 2 % 2}"
        yield (f"churn {number + 1}, {1 + number % 2} processors, {append}", churn,
               {"cpus": 1 + number % 2, "append": (append,)})


def main():
    parser = tap.arguments(__doc__)
    parser.add_argument("--long", action="store_true", help="instead, the cases that take longer")
    parser.add_argument("--churns", type=int, default=20, metavar="N", help="with --long: churning guests")
    parser.add_argument("--qemu", metavar="PROGRAM", help="else the one that scripts/lib/qemu builds")
    parser.add_argument("--mutant", metavar="PROGRAM", help="the same, with a bug in the device")
    options = parser.parse_args()
    kernel = None
    if not options.list:
        options.qemu = options.qemu or script("qemu")
        if options.long and not options.mutant:
            options.mutant = script("qemu", TOP / "tests" / "system" / "mutants" / "id-rule.patch")
        kernel = Kernel()
    return tap.run([(name, lambda log: Rig(kernel, options, log), function, (), kwargs)
                    for name, function, kwargs in cases(options)], options)


if __name__ == "__main__":
    sys.exit(main())
