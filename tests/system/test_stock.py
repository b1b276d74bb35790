# SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause
"""Debian's stock kernel, its driver and ours, with the balloon device of Debian's QEMU. Prints TAP.

test_stock.py [--new] [--qemu PROGRAM] [--device NAME] [--filter TEXT] [--list]

Each test runs with the stock driver, which shows that it asks for nothing unheard-of, and with
ours, which must do all that the stock driver does. Each boots its own guest.
"""

import contextlib
import functools
import os
import pathlib
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time

import tap
from harness import MIB, PAGE_LEN
from qemuguest import Guest
from tap import TOP, check, poll, safe, script

MEM_MIB = 320
INFLATE_MIB = 128
HOLD_MIB = 24
UNSET = (1 << 64) - 1
F_PAGE_POISON = 4
OUR_BITS = {60, 61, 62}
HINT = ("free-page-hint=on", "iothread=io0")
IOTHREAD = ("-object", "iothread,id=io0")
# What a running guest takes and frees on its own account.
SLACK_LEN = 4 * MIB


class Driver:
    def __init__(self, label, module):
        self.label, self.module = label, pathlib.Path(module)
        self.name = self.module.stem


class Kernel:
    """Debian's kernel, its initial ramdisk and both drivers."""

    def __init__(self, *arguments):
        self.folder = pathlib.Path(script("stock-kernel", *arguments))
        self.initrd = script("guest-initramfs")
        ours = pathlib.Path(script("guest-module", self.folder / "build", TOP / "kernel-glue"))
        self.stock = Driver("stock", self.folder / "modules" / "virtio_balloon.ko")
        self.ours = Driver("ours", ours / "virtio_balloon_bmap.ko")


class Rig:
    """The guest of one test, with the questions that tests ask."""

    def __init__(self, kernel, options, log):
        self.kernel, self.options, self.log = kernel, options, log
        self.stack = contextlib.ExitStack()
        self.guest = None
        self.mem_len = MEM_MIB * MIB

    def start(self, properties=(), append=("init_on_alloc=0",), **kwargs):
        """Boots a guest; the properties are those of its balloon device."""
        kernel = self.kernel
        kwargs.setdefault("mem_mib", MEM_MIB)
        self.guest = self.stack.enter_context(
            Guest(kernel.folder, kernel.initrd, [kernel.stock.module, kernel.ours.module],
                  device=",".join((self.options.device, *properties)), append=append,
                  qemu=self.options.qemu, log=self.log, **kwargs))
        self.mem_len = self.guest.mem_len

    def start_full(self, properties=(), **kwargs):
        """Boots a guest whose memory the host has given whole, part of it filled with test data."""
        self.start(properties, **kwargs)
        self.guest.hold(HOLD_MIB)
        self.guest.populate()

    def load(self, driver):
        """Loads a driver, and remembers what is to be the same when it is gone."""
        self.driver = driver
        self.total = self.guest.total_len()
        self.free = self.guest.free_len()
        self.guest.insmod(driver.module)

    def unload(self):
        self.guest.rmmod(self.driver.name, 60)
        self.returned("with the module unloaded")

    def target(self, target_len, timeout=60):
        self.guest.qmp.execute("balloon", value=target_len)
        self.reach(target_len, timeout)

    def reach(self, target_len, timeout=60):
        poll(lambda: self.guest.actual_len() == target_len, timeout,
             f"the guest has {target_len // MIB} MiB")

    def inflate(self, mib=INFLATE_MIB):
        """Inflates; so much less of the host's memory is then in use."""
        self.guest.populate()
        before = self.guest.host_len()
        self.target(self.mem_len - mib * MIB)
        freed = before - self.guest.host_len()
        check(abs(freed - mib * MIB) <= SLACK_LEN,
              f"the host's memory went down by {freed // 1024} KiB, not {mib * 1024}")

    def deflate(self):
        """Deflates; the guest has it all back, and can use it."""
        self.target(self.mem_len)
        self.expect_free(self.free, "deflated")

    def expect_free(self, nr_bytes, when, timeout=20):
        poll(lambda: abs(self.guest.free_len() - nr_bytes) <= SLACK_LEN, timeout,
             f"{when}, {nr_bytes // MIB} MiB of the guest are free")

    def returned(self, when):
        """No page is missing of those that the guest had before the driver was loaded."""
        # Sysfs forgets a device before its driver has.
        poll(lambda: self.guest.total_len() == self.total, 20,
             f"{when} the guest has {self.total} bytes in all")
        self.expect_free(self.free, when)

    def statistics(self):
        """What the guest says of itself, not before it was asked."""
        asked = time.time()
        read = functools.partial(self.guest.balloon_property, "guest-stats")
        # The time is one of whole seconds.
        poll(lambda: read()["last-update"] > asked, 20, "the guest sends statistics")
        return read()["stats"]

    def accepted(self):
        """The numbers of the feature bits that the driver accepted."""
        bits = self.guest.cat("/sys/bus/virtio/devices/virtio0/features").strip()
        return {number for number, bit in enumerate(bits) if bit == "1"}

    def pages_moved(self):
        """The balloon's pages that the kernel has moved since it booted."""
        return int(re.search(r"balloon_migrate (\d+)", self.guest.cat("/proc/vmstat"))[1])

    def intact(self):
        tap.intact(self.guest)

    def clean(self):
        reports = self.guest.reports()
        check(not reports, f"{len(reports)} reports, the first:\n{reports[0] if reports else ''}")

    def finish(self):
        self.intact()
        self.clean()

    def close(self):
        self.stack.close()


def balloon(rig, driver, properties=(), **guest):
    """Inflates and deflates, as in test_matrix.py, where something is out of the ordinary."""
    rig.start_full(properties, **guest)
    rig.load(driver)
    rig.inflate()
    rig.intact()
    rig.deflate()
    rig.unload()
    rig.guest.fill()
    rig.finish()
    rig.guest.poweroff()


def nodes(rig, driver):
    """The balloon takes memory of either node, and gives it back to it."""
    mem_mib = 512
    rig.start_full(cpus=2, nodes=2, mem_mib=mem_mib)
    rig.load(driver)
    rig.inflate(mem_mib * 5 // 8)
    shares = [os.stat(path).st_blocks * 512 // MIB for path in rig.guest.memory_files]
    check(len(shares) == 2 and max(shares) < mem_mib // 2 - 32,
          f"the nodes still have {shares} MiB of the host")
    rig.deflate()
    rig.unload()
    rig.finish()


def rmmod_inflated(rig, driver):
    """A driver that goes takes no page along; the next one finds the target that stands."""
    rig.start_full()
    rig.load(driver)
    rig.inflate()
    rig.unload()
    for following in (rig.kernel.ours, rig.kernel.stock, driver):
        rig.load(following)
        rig.reach(rig.mem_len - INFLATE_MIB * MIB)
        rig.unload()
    rig.finish()


def reset(rig, driver):
    """The reset button is pushed in the middle of an inflation, and after it."""
    target_len = rig.mem_len - INFLATE_MIB * MIB
    rig.start_full(cpus=2)
    rig.load(driver)
    rig.guest.qmp.execute("balloon", value=target_len)
    for _ in range(2):
        rig.guest.reset()
        rig.guest.hold(HOLD_MIB)
        rig.load(driver)
        rig.reach(target_len)
        rig.intact()
    rig.deflate()
    rig.unload()
    rig.finish()


def sleep(rig, driver, state):
    """Sleeps with an inflated balloon, and in the middle of an inflation."""
    rig.start_full(("deflate-on-oom=on", "page-poison=on", *HINT), cpus=2, arguments=IOTHREAD,
                   image="vmlinuz" if state == "mem" else "vmlinux")
    rig.guest.balloon_property("guest-stats-polling-interval", 1)
    rig.load(driver)
    rig.inflate()
    rig.guest.sleep(state)
    rig.reach(rig.mem_len - INFLATE_MIB * MIB)
    rig.intact()
    rig.deflate()
    rig.guest.qmp.execute("balloon", value=rig.mem_len - INFLATE_MIB * MIB)
    rig.guest.sleep(state)
    rig.reach(rig.mem_len - INFLATE_MIB * MIB)
    rig.intact()
    rig.statistics()
    rig.deflate()
    rig.unload()
    rig.finish()


def statistics(rig, driver):
    """All ten figures, what they are, and that they follow what happens."""
    rig.start_full()
    rig.guest.balloon_property("guest-stats-polling-interval", 1)
    for _ in range(2):
        rig.load(driver)
        before = rig.statistics()
        check(len(before) == 10 and UNSET not in before.values(), f"the guest says {before}")
        info = dict(re.findall(r"(\w+): +(\d+) kB", rig.guest.cat("/proc/meminfo")))
        for name, meminfo in (("free", "MemFree"), ("total", "MemTotal"),
                              ("available", "MemAvailable")):
            said, real = before[f"stat-{name}-memory"], int(info[meminfo]) * 1024
            check(abs(said - real) <= SLACK_LEN, f"{name}: {said} bytes, but {meminfo} is {real}")
        check(before["stat-disk-caches"] >= HOLD_MIB * MIB, f"caches: {before}")
        rig.inflate()
        after = rig.statistics()
        for name in ("total", "free"):
            fallen = before[f"stat-{name}-memory"] - after[f"stat-{name}-memory"]
            check(abs(fallen - INFLATE_MIB * MIB) <= SLACK_LEN,
                  f"{name} memory went down by {fallen // MIB} MiB")
        check(after["stat-minor-faults"] >= before["stat-minor-faults"], f"{before}, then {after}")
        rig.deflate()
        rig.unload()
    rig.finish()


def out_of_memory(rig, driver, deflate):
    """A process needs what the balloon has: it gets it, or it is killed."""
    rig.start_full(("deflate-on-oom=on",) if deflate else ())
    rig.load(driver)
    rig.target(rig.mem_len - rig.guest.free_len() + 64 * MIB)
    before = rig.guest.actual_len()
    killed = rig.guest.use(128)
    check(killed != deflate, "the process was killed" if killed else "nothing was killed")
    given = rig.guest.actual_len() - before
    check((given > 0) == deflate, f"the balloon gave {given} bytes")
    if deflate:
        rig.clean()
    rig.target(rig.mem_len)
    rig.intact()
    rig.unload()


def reporting(rig, driver):
    """What the guest frees comes free on the host without anyone asking."""
    rig.start_full(("free-page-reporting=on",))
    used = rig.mem_len - rig.guest.free_len()
    rig.load(driver)
    for _ in range(2):
        # A block that has been reported is so again when it has been used.
        poll(lambda: rig.guest.host_len() < used + 48 * MIB, 60, "the host gets memory back")
        rig.intact()
        rig.guest.fill()
        check(rig.guest.host_len() > rig.mem_len - 64 * MIB, "the guest uses its memory again")
    rig.unload()
    rig.guest.fill()
    rig.finish()


def hint(rig, driver):
    """Migrates with free page hints: what is free does not travel, and nothing else is lost."""
    rig.start_full(HINT, arguments=IOTHREAD)
    rig.guest.fill()
    rig.load(driver)
    used = rig.mem_len - rig.guest.free_len()
    # The hints come while the first round goes on.
    rig.guest.qmp.execute("migrate-set-parameters", **{"max-bandwidth": 64 * MIB})
    with tempfile.TemporaryDirectory(prefix="vbb-test-") as folder:
        ram = rig.guest.migrate(f"exec:cat >{folder}/state")["ram"]
        sent = ram["normal"] * PAGE_LEN
        check(sent < used + 64 * MIB, f"{sent // MIB} MiB were sent, {used // MIB} are in use")
        source = rig.guest
        # On to the state's other end, and back to life on this one.
        rig.start(HINT, arguments=IOTHREAD, incoming=f"exec:cat {folder}/state")
        rig.guest.arrive(source)
        for guest in (rig.guest, source):
            rig.guest = guest
            if guest is source:
                guest.qmp.execute("cont")
            rig.intact()
            rig.expect_free(rig.free, "migrated")
            rig.guest.fill()
            rig.target(rig.mem_len - INFLATE_MIB * MIB)
            rig.deflate()
            rig.unload()
            rig.finish()


def poison(rig, driver):
    """A guest that writes a pattern into free pages, which the device hears of."""
    rig.start_full(("page-poison=on", "free-page-reporting=on", *HINT), arguments=IOTHREAD,
                   append=["init_on_alloc=0", "page_poison=1"])
    rig.load(driver)
    check(F_PAGE_POISON in rig.accepted(), "PAGE_POISON is not accepted")
    rig.inflate()
    rig.intact()
    rig.deflate()
    rig.unload()
    rig.guest.fill()
    rig.finish()


def features(rig, properties, append):
    """Our driver accepts each bit that the stock driver accepts, and of others what our device adds."""
    rig.start(properties, append=[append], arguments=IOTHREAD)
    accepted = {}
    for driver in (rig.kernel.stock, rig.kernel.ours):
        rig.load(driver)
        accepted[driver.label] = rig.accepted()
        rig.unload()
    more = OUR_BITS if "bmap" in rig.options.device else set()
    check(accepted["ours"] == accepted["stock"] | more, f"accepted are {accepted}")


def compaction(rig, driver):
    """The balloon's single pages move where the kernel makes larger blocks of free memory.

    It moves what is at the low end of memory to where something is free at the high end, so the
    balloon has to be at both: it takes most of what is not pinned.
    """
    mib = 96
    rig.start_full()
    rig.guest.fragment(2)
    rig.load(driver)
    rig.inflate(mib)
    rig.guest.unpin()
    rig.free = rig.guest.free_len() + mib * MIB
    rig.guest.write("/proc/sys/vm/compact_memory", "1")
    moved = rig.pages_moved()
    check(moved * PAGE_LEN > mib * MIB // 12, f"{moved} pages moved")
    rig.intact()
    rig.deflate()
    rig.guest.fill()
    rig.unload()
    rig.finish()


def unplug(rig, driver):
    """Memory is plugged in, given to the balloon to the last page, and pulled out again."""
    dimm_len = 128 * MIB
    rig.start_full(arguments=["-m", f"{MEM_MIB}M,slots=1,maxmem=1G"])
    guest = rig.guest
    rig.load(driver)
    guest.write("/sys/devices/system/memory/auto_online_blocks", "online_movable")
    guest.qmp.execute("object-add", **{"qom-type": "memory-backend-memfd", "id": "dimm-ram",
                                       "size": dimm_len, "share": True})
    guest.qmp.execute("device_add", driver="pc-dimm", id="dimm", memdev="dimm-ram")
    poll(lambda: guest.total_len() >= rig.total + dimm_len, 30, "the memory is there")
    rig.target(rig.mem_len + dimm_len - guest.free_len() + 48 * MIB)
    # Now there is room for what has to move.
    rig.target(rig.mem_len + dimm_len - 96 * MIB)
    guest.qmp.execute("device_del", id="dimm")
    check(guest.qmp.wait_event("DEVICE_DELETED", 60) is not None, "the memory is not given up")
    rig.reach(rig.mem_len - 96 * MIB)
    rig.intact()
    rig.deflate()
    rig.unload()
    rig.finish()


def churn(rig, driver):
    """Two processors: one uses memory all the time, while the target jumps."""
    rig.start_full(("deflate-on-oom=on", "free-page-reporting=on", "page-poison=on", *HINT), cpus=2,
                   arguments=IOTHREAD)
    rig.guest.balloon_property("guest-stats-polling-interval", 1)
    rig.load(driver)
    generator = random.Random(1)
    command = rig.guest.start("sh for i in $(seq 10); do head -c 24m /dev/zero >/tmp/x; rm /tmp/x; "
                              "done")
    for _ in range(15):
        rig.guest.qmp.execute("balloon",
                              value=rig.mem_len - generator.randrange(INFLATE_MIB) * MIB)
        time.sleep(0.1)
    rig.guest.finish(command, 240)
    rig.target(rig.mem_len - INFLATE_MIB * MIB)
    rig.intact()
    rig.deflate()
    rig.unload()
    rig.finish()


def reload_often(rig, driver):
    """What one start or one end of the driver forgets adds up."""
    rig.start_full(("deflate-on-oom=on", "page-poison=on", "free-page-reporting=on", *HINT),
                   arguments=IOTHREAD)
    rig.guest.balloon_property("guest-stats-polling-interval", 1)
    rig.guest.qmp.execute("balloon", value=rig.mem_len - 16 * MIB)
    rig.load(driver)
    rig.unload()
    for _ in range(30):
        rig.guest.insmod(driver.module)
        rig.guest.rmmod(driver.name)
    rig.returned("loaded and unloaded 30 times")
    rig.finish()


def walk(rig, **guest):
    """The walk that finds unused pages, in all zones and nodes, and while all processors take some."""
    kernel = rig.kernel
    with tempfile.TemporaryDirectory(prefix="vbb-walk-") as folder:
        folder = pathlib.Path(folder)
        shutil.copytree(TOP / "include", folder / "include")
        shutil.copytree(TOP / "tests" / "system" / "guest" / "walk", folder / "walk")
        for name in ("walk.c", "requests.h", "compat.h"):
            shutil.copy(TOP / "kernel-glue" / name, folder / "walk")
        module = script("guest-module", kernel.folder / "build", folder / "walk") + "/vbb_walk.ko"
    rig.guest = rig.stack.enter_context(
        Guest(kernel.folder, kernel.initrd, [module], device="", qemu=rig.options.qemu, log=rig.log,
              append=["init_on_alloc=0"], **guest))
    rig.guest.hold(HOLD_MIB)
    rig.guest.insmod(module)

    def once():
        text = rig.guest.cat("/sys/kernel/debug/vbb_walk")
        result = {name: int(value) for name, value in (line.split() for line in text.splitlines())}
        safe(not result["held"], f"{result['held']} runs with pages in use: {result}")
        return result

    nr_quiet = 0

    def quiet():
        """Where nothing came or went meanwhile, what is named is what is free, to the page."""
        nonlocal nr_quiet
        result = once()
        safe(not result["back"], f"pages are named twice, or out of order: {result}")
        check(result["runs"] > 1000, f"memory is hardly in pieces: {result}")
        if not result["moved"] and result["free"] == result["free_after"]:
            check(result["named"] == result["free"], f"named is not what is free: {result}")
            nr_quiet += 1
        return nr_quiet == 5

    poll(quiet, 60, "the guest is quiet")
    # what lies in per-CPU lists is not seen: they are emptied before, where that is much
    listed = 4 * MIB // PAGE_LEN
    rig.guest.write("/proc/sys/vm/percpu_pagelist_high_fraction", "8")
    rig.guest.write("/sys/kernel/debug/vbb_walk_listed", str(2 * listed))
    poll(lambda: once()["drained"] > listed, 60, "per-CPU lists are emptied")
    # but no more often than once a second
    begin, nr_drains = time.monotonic(), 0
    rig.guest.sh("for i in 1 2 3 4; do (while dd if=/dev/zero of=/mem/$i bs=1M count=40; "
                 "do rm /mem/$i; done) >/dev/null 2>&1 & done")
    for _ in range(30):
        nr_drains += once()["drained"] > 0
    seconds = time.monotonic() - begin
    check(nr_drains <= seconds + 1, f"lists were emptied {nr_drains} times in {seconds:.1f} s")
    rig.finish()


def cases(kernel):
    """All tests: (name, function, arguments, keyword arguments)."""
    for driver in (kernel.stock, kernel.ours):
        def case(name, function, *args, **kwargs):
            return f"{driver.label}, {name}", function, (driver, *args), kwargs

        yield case("legacy", balloon, ["disable-legacy=off", "disable-modern=on"])
        yield case("init_on_alloc=1, two processors", balloon, append=["init_on_alloc=1"], cpus=2)
        yield case("two nodes", nodes)
        yield case("rmmod_inflated", rmmod_inflated)
        yield case("reset", reset)
        for state in ("freeze", "mem"):
            yield case(f"sleep: {state}", sleep, state)
        yield case("statistics", statistics)
        yield case("deflate-on-oom=on", out_of_memory, True)
        yield case("deflate-on-oom=off", out_of_memory, False)
        for test in (reporting, hint, poison, compaction, unplug, churn, reload_often):
            yield case(test.__name__, test)
    yield "walk", walk, (), {"mem_mib": 1024}
    yield "walk, four processors, four nodes", walk, (), {"mem_mib": 1024, "cpus": 4, "nodes": 4}
    every = ("deflate-on-oom=on", "page-poison=on", "free-page-reporting=on", *HINT)
    for properties, append in ((every, "init_on_alloc=1"), (every, "page_poison=1"),
                               (every, "init_on_free=1"), (every[2:], "init_on_free=1"),
                               ((), "init_on_alloc=1")):
        name = f"features: {' '.join((*properties, append))}"
        yield name, features, (properties, append), {}


def main():
    parser = tap.arguments(__doc__)
    parser.add_argument("--qemu", default="qemu-system-x86_64", help="the QEMU to run")
    parser.add_argument("--device", default="virtio-balloon-pci", help="its balloon device")
    parser.add_argument("--new", action="store_true", help="the newest kernel that Debian backports")
    options = parser.parse_args()
    try:
        kernel = Kernel(*["--new"] * options.new)
    except subprocess.CalledProcessError as error:
        print(f"Bail out! {error.cmd[0]} failed")
        return 1
    return tap.run([(name, lambda log: Rig(kernel, options, log), function, args, kwargs)
                    for name, function, args, kwargs in cases(kernel)], options)


if __name__ == "__main__":
    sys.exit(main())
