#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause
"""Migrates guests with our driver between two QEMUs with our device: nothing is lost. Prints TAP.

test_migration.py [--qemu PROGRAM] [--churns N] [--filter TEXT] [--list]

After each migration the memory of both machines is compared while neither runs: they differ only in
pages that the guest named as unused. Then the guest checks its data itself.
"""

import contextlib
import re
import sys
import time

import tap
from harness import MIB
from qemuguest import BALLOON, Guest
from tap import check, poll, script
from test_stock import Kernel

MEM_MIB = 512
HOLD_MIB = 24
PAGE_LEN = 4096
DEVICE = "virtio-balloon-bmap-pci"

# Copies of the held data are compared, freed and made anew, and other memory comes and goes.
CHURN = ("(i=0; while [ ! -e /mem/stop ]; do cmp -s /mem/held /mem/c$i || echo $i >>/mem/bad; "
         "rm /mem/c$i; dd if=/dev/zero of=/mem/z bs=1M count=64; rm /mem/z; cp /mem/held /mem/c$i; "
         "i=$(((i + 1) % 4)); done; touch /mem/stopped) >/dev/null 2>&1 &")


class Rig:
    def __init__(self, kernel, options, log):
        self.kernel, self.options, self.log = kernel, options, log
        self.stack = contextlib.ExitStack()
        self.guest = None
        self.number = 0

    def _guest(self, properties, append, **kwargs):
        kernel = self.kernel
        self.number += 1
        named = f"{self.log}.named{self.number}"
        guest = self.stack.enter_context(
            Guest(kernel.folder, kernel.initrd, [kernel.ours.module], mem_mib=MEM_MIB,
                  device=",".join((DEVICE, *properties)), append=append, qemu=self.options.qemu,
                  log=self.log, **kwargs,
                  arguments=["-S"] * bool(kwargs.get("incoming")) +
                  ["-D", named, "-trace", "virtio_balloon_bmap_unused"]))
        guest.named = named
        return guest

    def start(self, properties=(), append=("init_on_alloc=1",), cpus=1, module="", **kwargs):
        """Boots a guest with our driver and held data, whose memory was all written to."""
        self.properties, self.append, self.cpus = properties, append, cpus
        self.guest = self._guest(properties, append, cpus=cpus, **kwargs)
        self.guest.hold(HOLD_MIB)
        self.guest.insmod(self.kernel.ours.module, module)
        self.guest.run(f"fill {MEM_MIB // 2}", 120)

    def begin(self, bandwidth=0, downtime_ms=300):
        """Begins to migrate to a new machine."""
        self.destination = self._guest(self.properties, self.append, cpus=self.cpus,
                                       incoming="defer")
        uri = f"unix:{self.destination.named}.socket"
        self.destination.qmp.execute("migrate-incoming", uri=uri)
        self.guest.qmp.execute("migrate-set-parameters", **{"max-bandwidth": bandwidth,
                                                            "downtime-limit": downtime_ms})
        self.guest.qmp.execute("migrate", uri=uri)

    def info(self):
        return self.guest.qmp.execute("query-migrate")

    def finish(self, timeout=120):
        """Lets it end, compares, and goes on with the guest where it is now."""
        source, destination = self.guest, self.destination
        poll(lambda: self.info()["status"] in ("completed", "failed"), timeout, "migration")
        info = self.info()
        check(info["status"] == "completed", f"migration: {info}")
        print("# {:.0f} ms, {:.0f} ms down, {:.0f} MB sent, {} rounds, {:.0f} MB left out".format(
            info["total-time"], info["downtime"], info["ram"]["transferred"] / 1e6,
            info["ram"]["dirty-sync-count"], self.counter("unused-bytes") / 1e6))
        left_out = self.compare()
        # an answer to the machine that it was before finds nobody here who asked
        faults = self.guest.balloon_property("faults").keys() - {"REQ_STALE"}
        check(not faults, f"the driver's faults: {faults}")
        destination.qmp.execute("cont")
        destination.arrive(source)
        destination._next_id = source._next_id
        self.guest = destination
        source.kill()
        check(self.guest.verify() is None, "the held data")
        return info, left_out

    def migrate(self, **kwargs):
        self.begin(**kwargs)
        return self.finish()

    def counter(self, name):
        return self.guest.qmp.execute("qom-get", path=BALLOON + "/virtio-backend", property=name)

    def named_pages(self):
        """The pages that the source's guest named as unused."""
        pages = set()
        with open(self.guest.named, encoding="ascii") as trace:
            for line in trace:
                match = re.search(r"ram0 offset (0x\w+) len (0x\w+)", line)
                if match:
                    first, length = (int(number, 16) // PAGE_LEN for number in match.groups())
                    pages.update(range(first, first + length))
        return pages

    def compare(self):
        """Compares all memory of the two; returns how many pages differ."""
        named = self.named_pages()
        different = 0
        files = [next(iter(machine.memory_files)) for machine in (self.guest, self.destination)]
        with open(files[0], "rb") as source, open(files[1], "rb") as destination:
            for first in range(0, MEM_MIB * MIB // PAGE_LEN, 256):
                ours, theirs = source.read(MIB), destination.read(MIB)
                if ours == theirs:
                    continue
                for page in range(256):
                    part = slice(page * PAGE_LEN, (page + 1) * PAGE_LEN)
                    if ours[part] != theirs[part]:
                        check(first + page in named, f"page {first + page:x} is lost")
                        different += 1
        return different

    def churn(self):
        self.guest.sh("for i in 0 1 2 3; do cp /mem/held /mem/c$i; done")
        self.guest.sh(CHURN)

    def churned(self):
        """Ends the churn and looks at what it found."""
        self.guest.sh("touch /mem/stop")
        poll(lambda: self.guest.sh("ls /mem/stopped 2>/dev/null; true"), 60, "the churn's end")
        bad = self.guest.sh("cat /mem/bad 2>/dev/null; "
                            "for i in 0 1 2 3; do cmp /mem/held /mem/c$i; done; true")
        check(not bad, f"churn: {bad}")
        self.guest.sh("rm -f /mem/stop /mem/stopped /mem/c*")

    def close(self):
        self.stack.close()


def full(rig, **kwargs):
    """Memory that was used and freed is not sent."""
    rig.start(**kwargs)
    info, _ = rig.migrate()
    check(info["ram"]["transferred"] < 160 * MIB, "too much was sent")
    check(rig.counter("unused-bytes") == 0, "the destination asked")


def there_and_back(rig):
    rig.start()
    for _ in range(2):
        info, _ = rig.migrate()
        check(info["ram"]["transferred"] < 160 * MIB, "too much was sent")


def churn(rig, **kwargs):
    """A guest that keeps using and freeing memory, over several rounds."""
    rig.start(**kwargs)
    rig.churn()
    rig.begin(bandwidth=400 * MIB, downtime_ms=1)
    poll(lambda: rig.info().get("ram", {}).get("dirty-sync-count", 0) >= 5 or
         rig.info()["status"] == "completed", 60, "five rounds")
    rig.guest.qmp.execute("migrate-set-parameters", **{"max-bandwidth": 0, "downtime-limit": 1000})
    rig.finish()
    rig.churned()


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
    check(rig.guest.verify() is None, "the held data")


def inflating(rig):
    """A balloon that is under way goes on at the other side."""
    rig.start(module="format=bitmap")
    target = MEM_MIB // 4 * MIB
    rig.guest.qmp.execute("balloon", value=target)
    rig.migrate()
    poll(lambda: rig.guest.actual_len() == target, 60, "inflate")
    check(rig.guest.verify() is None, "the held data")


def cancelled(rig):
    """Cancelled in the middle, with churn; the next one succeeds."""
    rig.start()
    rig.churn()
    for _ in range(3):
        rig.begin(bandwidth=20 * MIB)
        time.sleep(0.5)
        rig.guest.qmp.execute("migrate_cancel")
        poll(lambda: rig.info()["status"] == "cancelled", 30, "cancel")
        rig.destination.kill()
    rig.migrate()
    rig.churned()


def unloaded(rig):
    """The driver goes in the middle, and comes again."""
    rig.start()
    rig.begin(bandwidth=20 * MIB)
    rig.guest.rmmod("virtio_balloon_bmap")
    rig.guest.run(f"fill {MEM_MIB // 2}", 120)
    rig.guest.insmod(rig.kernel.ours.module)
    rig.guest.qmp.execute("migrate-set-parameters", **{"max-bandwidth": 0})
    rig.finish()
    rig.migrate()


def dead_end(rig):
    """The source goes on when the destination dies."""
    rig.start()
    rig.begin(bandwidth=20 * MIB)
    rig.destination.kill()
    poll(lambda: rig.info()["status"] == "failed", 30, "the failure")
    check(rig.guest.verify() is None, "the held data")
    rig.migrate()


def asleep(rig, state):
    """No migration: a guest goes to sleep with a request that is open, and serves the next one."""
    rig.start(cpus=2, image="vmlinuz")

    def counters():
        text = rig.guest.sh("cat /sys/kernel/debug/virtio_balloon_bmap/virtio*")
        return {name: int(value) for name, value in map(str.split, text.splitlines())}

    for _ in range(3):
        done = counters()["answers_done"]
        rig.guest.balloon_property("drop-cache", 1)
        poll(lambda: counters()["answers_done"] == done + 1, 10, "the answer")
        # caches are dropped once a second, so that this request has to wait
        time.sleep(0.1)
        rig.guest.balloon_property("drop-cache", 1)
        time.sleep(0.1)
        before = counters()
        check(before["answers_done"] == done + 1, f"it does not wait: {before}")
        rig.guest.sleep(state)
        check(counters()["answers_done"] == before["answers_done"], "an answer of before")
        check(rig.guest.verify() is None, "the held data")
        time.sleep(1)
    rig.guest.balloon_property("drop-cache", 1)
    poll(lambda: counters()["answers_done"] == before["answers_done"] + 1, 10, "the answer")
    check(not rig.guest.reports(), "the kernel reports something")
    rig.guest.poweroff()


def cases(nr_churns):
    for state in ("freeze", "mem"):
        yield f"asleep, {state}", asleep, {"state": state}
    yield "used and freed", full, {}
    yield "used and freed, init_on_alloc=0", full, {"append": ("init_on_alloc=0",)}
    yield "there and back", there_and_back, {}
    yield "inflated", inflated, {}
    yield "inflating", inflating, {}
    yield "cancelled", cancelled, {}
    yield "driver unloaded", unloaded, {}
    yield "destination dies", dead_end, {}
    for number in range(nr_churns):
        yield f"churn {number + 1}", churn, {"cpus": 1 + number % 2,
                                             "append": (f"init_on_alloc={number // 2 % 2}",)}


def main():
    parser = tap.arguments(__doc__)
    parser.add_argument("--qemu", metavar="PROGRAM", help="else the one that scripts/lib/qemu builds")
    parser.add_argument("--churns", type=int, default=2, metavar="N", help="churning guests")
    options = parser.parse_args()
    kernel = None
    if not options.list:
        options.qemu = options.qemu or script("qemu")
        kernel = Kernel()
    return tap.run([(name, lambda log: Rig(kernel, options, log), function, (), kwargs)
                    for name, function, kwargs in cases(options.churns)], options)


if __name__ == "__main__":
    sys.exit(main())
