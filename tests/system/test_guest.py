# SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause
"""The system test: real Linux guests, the stock driver and ours, against `vbb device`. Prints TAP.

test_guest.py --vbb PATH [--flavour release|debug] [--filter TEXT] [--list]

Each test boots its own guest. On a debug kernel each one also fails on any report by KASAN, lockdep
and the others.
"""

import contextlib
import errno
import pathlib
import random
import re
import signal
import struct
import subprocess
import sys
import time

import ctl_guest
import device_guest
import hostile
import requests_guest
import standard
import tap
from harness import CommandError, HarnessError, MIB, PAGE_LEN
from tap import TOP, Again, Failure, check, poll, safe, script
from umlguest import Device, Guest, HaltError


class Driver:
    """A driver as a test uses it: the module, and the formats in which it may name pages."""

    def __init__(self, label, module, params="", formats=("bitmap", "records")):
        self.label, self.module, self.params = label, pathlib.Path(module), params
        self.formats = formats
        self.name = self.module.stem


OUR_FEATURES = (hostile.F_VERSION_1, hostile.F_PAGE_BITMAP, hostile.F_PAGE_RECORDS)


class Flavour:
    """A kernel, its drivers, and how large the guests are that it is tested with."""

    def __init__(self, name):
        self.name = name
        self.build = script("uml-kernel", name)
        self.mem_mib, self.inflate_mib = (1024, 512) if name == "release" else (1024, 384)
        stock = pathlib.Path(self.build) / "drivers" / "virtio" / "virtio_balloon.ko"
        ours = pathlib.Path(script("guest-module", self.build, TOP / "kernel-glue"))
        ours /= "virtio_balloon_bmap.ko"
        self.stock = Driver("stock", stock, formats=("pfns",))
        self.ours = Driver("ours", ours)
        self.formats = [Driver(f"ours-{name}", ours, f"format={name}", (name,))
                        for name in ("pfns", "bitmap", "records")]
        self.formats.append(Driver("ours-quick", ours, "format=quick"))


UML_FAULT = "DEBUG_LOCKS_WARN_ON(lockdep_hardirq_context())"


class Rig:
    """A flavour's device and guests in one test, with the questions that tests ask.

    A test that needs a larger guest sets mem_len before it starts anything.
    """

    def __init__(self, flavour, options, log):
        self.flavour, self.options, self.log = flavour, options, log
        self.mem_len = flavour.mem_mib * MIB
        self.inflate_len = flavour.inflate_mib * MIB
        self.stack = contextlib.ExitStack()
        self.guest = self.device = None
        # A debug kernel is slow, and KASAN keeps freed objects, up to a 32nd of the memory.
        self.timeout, self.slack = 60, 2 * MIB
        if flavour.name == "debug":
            self.timeout, self.slack = 240, self.mem_len // 32 + 8 * MIB

    def start_device(self, *options):
        self.device = self.stack.enter_context(
            Device(self.options.vbb, ["--ram", str(self.mem_len), *options], log=self.log))

    def start_hostile(self, features=OUR_FEATURES):
        self.device = self.stack.enter_context(hostile.HostileDevice(features))
        return self.device

    def start_guest(self, append=("init_on_alloc=0",), **kwargs):
        self.guest = self.stack.enter_context(
            Guest(self.flavour.build, self.options.initrd, mem_mib=self.mem_len // MIB,
                  devices=[self.device.socket], append=append, log=self.log, **kwargs))

    def load(self, driver):
        """Loads a driver, and remembers what is to be the same when it is gone."""
        self.total = self.guest.total_len()
        self.free = self.settled_free_len()
        self.driver = driver
        if isinstance(self.device, Device):
            self.counters = self.device.counters()
        self.insmod()

    def insmod(self):
        """Loads the driver, at first or again."""
        self.guest.insmod(self.driver.module, self.driver.params)
        if self.flavour.name == "debug":
            # What a module needed for its start is freed soon after; an interrupt just then makes User Mode Linux complain.
            poll(lambda: self.guest.cat("/proc/vmallocinfo").count(" load_module+") <=
                 len(self.guest.cat("/proc/modules").splitlines()), self.timeout, "the start of the module is freed")

    def settled_free_len(self):
        """Free memory, once the kernel has freed what it frees later."""
        before, now = -1, self.guest.free_len()
        while before != now:
            time.sleep(0.2)
            before, now = now, self.guest.free_len()
        return now

    def unload(self):
        if isinstance(self.device, Device):
            self.agree()
        self.rmmod()
        self.expect_returned("with the module unloaded")

    def agree(self):
        """The device found nothing wrong, got what the driver says, and in the right format."""
        now = self.device.counters()
        faults = {name: count for name, count in now["faults"].items() if count}
        safe(not faults and not now["discard_errors"],
             f"the device counts {faults}, {now['discard_errors']} discards failed")
        used = {name for name, count in now["messages"].items()
                if count > self.counters["messages"][name]}
        check(used <= set(self.driver.formats), f"messages came in the formats {used}")
        if self.driver.name == "virtio_balloon":
            return
        text = self.guest.sh(f"cat /sys/kernel/debug/{self.driver.name}/virtio*")
        ours = {name: int(value) for name, value in (line.split() for line in text.splitlines())}
        for name in ("inflate", "deflate"):
            device = now[f"pages_{name}d"] - self.counters[f"pages_{name}d"]
            told = ours[f"{name}_pages"]
            check(told == device, f"{name}: the driver told {told} pages, the device got {device}")
        acted = ours["inflate_pages_done"], ours["deflate_pages_done"]
        told = ours["inflate_pages"], ours["deflate_pages"]
        check(acted == told or "pfns" in used, f"of {told} pages told, {acted} were acted on")
        check(not ours["results_partial"] and not ours["results_malformed"]
              and not ours["results_inhibited"], f"the driver got bad results:\n{text}")

    def target(self, target_len):
        """Asks for a size and waits until the guest has it."""
        self.device.qmp.events.clear()
        self.device.qmp.execute("balloon", value=target_len)
        if self.device.qmp.wait_event("BALLOON_CHANGE", self.timeout,
                                      lambda data: data["actual"] == target_len) is None:
            raise Failure(f"the guest has {self.device.actual_len()} bytes, not {target_len}, "
                          f"after {self.timeout} s\n{self.guest.tail()}")

    def inflate(self, resident=True):
        """Inflates, and holds the host's memory against what was asked for, within 1 %."""
        nr_bytes = self.inflate_len
        if resident:
            self.guest.populate()
        before = self.guest.host_len()
        self.target(self.mem_len - nr_bytes)
        freed = before - self.guest.host_len()
        expected = nr_bytes if resident else 0
        check(abs(freed - expected) <= nr_bytes // 100,
              f"the host's memory went down by {freed // 1024} KiB, not {expected // 1024}")

    def deflate(self):
        free = self.guest.free_len()
        inflated = self.mem_len - self.device.actual_len()
        self.target(self.mem_len)
        self.expect_free(free + inflated, "after deflating")

    def expect_free(self, nr_bytes, when, timeout=20):
        """So much is free in the guest, but for the few pages that a running system moves."""
        try:
            poll(lambda: abs(self.guest.free_len() - nr_bytes) < self.slack, timeout, "")
        except Failure:
            raise Failure(f"{when} the guest has {self.guest.free_len() // 1024} KiB free, "
                          f"not {nr_bytes // 1024}, after {timeout} s") from None

    def expect_inflated(self, when):
        """A driver that was started anew has found the target that stands."""
        poll(lambda: self.device.actual_len() == self.mem_len - self.inflate_len, self.timeout,
             f"{when} the balloon is inflated")
        self.expect_free(self.free - self.inflate_len, when)

    def expect_returned(self, when):
        """No page is missing of those that the guest had before the driver was loaded."""
        # Sysfs forgets a device before its driver has.
        poll(lambda: self.guest.total_len() == self.total, 20,
             f"{when} the guest has {self.total} bytes in all")
        self.expect_free(self.free, when)

    def intact(self):
        tap.intact(self.guest)

    def soon(self, command):
        """Whatever a device does that lies, the driver goes and the guest answers within 5 s."""
        self.guest.run(command, timeout=30 if isinstance(self.device, Device) else 5)

    def rmmod(self):
        self.soon(f"rmmod {self.driver.name}")

    def unbind(self):
        self.soon(f"write {self.driver_dir()}/unbind virtio0")

    def lives(self):
        """The guest answers."""
        self.soon("ping")

    def finish(self):
        """Ends guest and device in good order; nothing may have been reported meanwhile."""
        self.clean()
        self.poweroff()
        if isinstance(self.device, Device):
            self.device.stop()
        self.clean()

    def poweroff(self):
        try:
            self.guest.poweroff()
        except HaltError as error:
            raise Again(str(error)) from None

    def clean(self):
        reports = self.guest.reports()
        # User Mode Linux enables interrupts where a page of a module is seen for the first time, in
        # an interrupt, too. A driver that does so does it again.
        if reports and UML_FAULT in reports[0]:
            raise Again(reports[0])
        check(not reports, f"{len(reports)} reports, the first:\n{reports[0] if reports else ''}")
        if self.flavour.name == "debug" and self.guest.alive():
            check(re.search(r"debug_locks: +1\n", self.guest.cat("/proc/lockdep_stats")),
                  "lockdep turned itself off")

    def driver_dir(self):
        """Where sysfs has the driver that is bound to the balloon device."""
        return self.guest.sh("readlink -f /sys/bus/virtio/devices/virtio0/driver").strip()

    def gone(self):
        """What has to be so after the device has died."""
        self.lives()
        poll(lambda: not self.guest.sh("ls /sys/bus/virtio/devices"), 30,
             "the dead device is removed")
        self.expect_returned("without its device")
        self.rmmod()
        self.intact()
        self.clean()
        self.poweroff()

    def inject(self, what, **settings):
        """Sets up one of the kernel's fault injections, so that it looks at every allocation."""
        settings = {"verbose": 0, "ignore-gfp-wait": "N", **settings}
        for name, value in settings.items():
            self.guest.write(f"/sys/kernel/debug/{what}/{name}", str(value))

    def close(self):
        self.stack.close()


def balloon(rig, driver, device_options=(), **guest):
    """Inflate and deflate; twice, and with the module loaded anew between."""
    rig.start_device(*device_options)
    rig.start_guest(**guest)
    rig.guest.hold()
    rig.guest.fill()
    for _ in range(2):
        rig.load(driver)
        rig.inflate()
        rig.intact()
        rig.deflate()
        rig.intact()
        rig.unload()
    # What came back can be used.
    rig.guest.fill()
    rig.intact()
    rig.finish()


def untouched(rig, driver):
    """Memory that the host never gave need not be given back, nor taken on the way."""
    rig.start_device()
    rig.start_guest()
    rig.guest.hold()
    rig.load(driver)
    rig.inflate(resident=False)
    rig.deflate()
    rig.intact()
    rig.finish()


def fragmented(rig, driver):
    """No block of more than 8 pages is free."""
    rig.start_device()
    rig.start_guest()
    rig.guest.hold()
    pinned = rig.guest.fragment(16)
    check(pinned * PAGE_LEN * 16 > rig.inflate_len, f"only {pinned} pages were pinned")
    rig.load(driver)
    rig.inflate()
    rig.intact()
    rig.deflate()
    rig.intact()
    rig.unload()
    rig.guest.unpin()
    rig.finish()


def steps(rig, driver):
    """Targets that change before they are reached, sizes that are no round number."""
    rig.start_device()
    rig.start_guest()
    rig.guest.hold()
    rig.guest.populate()
    rig.load(driver)
    before = rig.guest.host_len()
    for nr_pages in (1, 0, 513, 77777, 12345, 0, 4097, 1):
        rig.device.qmp.execute("balloon", value=rig.mem_len - nr_pages * PAGE_LEN)
    rig.target(rig.mem_len - 33333 * PAGE_LEN)
    freed = before - rig.guest.host_len()
    check(freed >= 33333 * PAGE_LEN * 99 // 100, f"only {freed // 1024} KiB came free")
    rig.intact()
    rig.deflate()
    rig.unload()
    rig.finish()


def rmmod_inflated(rig, driver):
    """A driver that goes takes no page along, and the next one finds the target that stands."""
    rig.start_device()
    rig.start_guest()
    rig.guest.hold()
    rig.guest.populate()
    rig.load(driver)
    rig.inflate()
    rig.unload()
    rig.intact()
    rig.load(driver)
    rig.expect_inflated("loaded again")
    rig.deflate()
    rig.unload()
    rig.finish()


def reload_often(rig, driver):
    """What one start or one end of the driver forgets adds up."""
    rig.start_device()
    rig.start_guest()
    rig.load(driver)
    rig.unload()
    free = rig.free
    for _ in range(200):
        rig.insmod()
        rig.guest.rmmod(driver.name)
    rig.expect_free(free, "loaded and unloaded 200 times")
    rig.finish()


def rebind(rig, driver):
    """The device is reset under an inflated balloon, and probed again."""
    rig.start_device()
    rig.start_guest()
    rig.guest.hold()
    rig.load(driver)
    for _ in range(3):
        rig.inflate()
        bound = rig.guest.sh("readlink -f /sys/bus/virtio/devices/virtio0/driver").strip()
        rig.guest.write(f"{bound}/unbind", "virtio0")
        rig.expect_returned("unbound")
        rig.guest.write(f"{bound}/bind", "virtio0")
        rig.expect_inflated("bound again")
        rig.deflate()
    rig.intact()
    rig.finish()


def reconnect(rig, driver):
    """The guest closes the connection and opens another: a new front-end for the same device."""
    platform = "/sys/bus/platform/drivers/virtio-uml"
    rig.start_device()
    rig.start_guest()
    rig.guest.hold()
    rig.load(driver)
    name = rig.guest.sh(f"basename {platform}/virtio-uml.*").strip()
    for _ in range(3):
        rig.inflate()
        rig.guest.write(f"{platform}/unbind", name)
        rig.expect_returned("disconnected")
        rig.guest.write(f"{platform}/bind", name)
        rig.expect_inflated("connected again")
        rig.deflate()
    rig.intact()
    rig.finish()


def next_guest(rig, driver):
    """The guest is killed in the middle of an inflation; the device serves the next one."""
    rig.start_device()
    for _ in range(2):
        rig.start_guest()
        rig.guest.populate()
        rig.load(driver)
        rig.device.qmp.execute("balloon", value=rig.mem_len - rig.inflate_len)
        rig.guest.kill()
    rig.device.qmp.execute("balloon", value=rig.mem_len)
    rig.start_guest()
    rig.guest.hold()
    rig.load(driver)
    rig.inflate()
    rig.deflate()
    rig.intact()
    rig.unload()
    rig.finish()


def device_killed(rig, driver):
    """The device stops in the middle of an inflation and dies: nothing in the guest may hang."""
    rig.start_device("--page-by-page")
    rig.start_guest()
    rig.guest.hold()
    rig.guest.populate()
    before = rig.guest.host_len()
    rig.load(driver)
    rig.device.qmp.execute("balloon", value=rig.mem_len - rig.inflate_len)
    poll(lambda: rig.guest.host_len() < before, 10, "the device begins")
    rig.device.process.send_signal(signal.SIGSTOP)
    time.sleep(0.5)
    check(before - rig.guest.host_len() < rig.inflate_len, "the device was too fast")
    rig.device.kill()
    rig.gone()


def too_much(rig, driver):
    """More is asked for than the guest has: it gives what it can and lives, and gets it back."""
    rig.start_device()
    rig.start_guest()
    rig.guest.hold()
    rig.guest.populate()
    rig.load(driver)
    rig.device.qmp.execute("balloon", value=MIB)
    poll(lambda: rig.guest.free_len() < 128 * MIB, rig.timeout, "the guest gives nearly all")
    time.sleep(2)
    rig.lives()
    rig.intact()
    rig.target(rig.mem_len)
    rig.unload()
    rig.guest.fill()
    rig.intact()
    rig.finish()


def probe_fails(rig, driver, part, parts):
    """Each allocation of the driver's start fails once: it starts all the same, or leaves no trace.

    A guest each, as this kernel's own front-end does leave traces. Of the allocations every parts-th.
    """
    rig.start_device()
    failed, nth, refused = True, part - parts, 0
    while failed:
        nth += parts
        rig.start_guest()
        rig.load(driver)
        bound = rig.guest.sh("readlink -f /sys/bus/virtio/devices/virtio0/driver").strip()
        rig.guest.write(f"{bound}/unbind", "virtio0")
        rig.inject("failslab")
        rig.inject("fail_page_alloc", **{"ignore-gfp-highmem": "N", "min-order": 0})
        failed, error = rig.guest.write_failing(f"{bound}/bind", nth, "virtio0")
        check(error in (0, errno.ENOMEM, errno.ENODEV), f"allocation {nth} failed: error {error}")
        refused += error != 0
        if not error:
            rig.guest.write(f"{bound}/unbind", "virtio0")
        rig.guest.rmmod(driver.name)
        rig.expect_returned(f"with allocation {nth} failing")
        rig.clean()
        rig.guest.poweroff()
    check(nth > 5 and refused > 1, f"of {nth} failing allocations only {refused} were fatal")
    rig.device.stop()


def blocks_fail(rig, driver):
    """The kernel refuses most blocks of more than one page: the balloon is filled nevertheless."""
    rig.start_device()
    rig.start_guest()
    rig.guest.hold()
    rig.load(driver)
    rig.inject("fail_page_alloc", **{"ignore-gfp-highmem": "N", "min-order": 1, "times": -1,
                                     "probability": 90})
    rig.inflate()

    def stopped():
        """Turning it off needs memory, too."""
        try:
            rig.guest.write("/sys/kernel/debug/fail_page_alloc/probability", "0")
            return True
        except CommandError:
            return False
    poll(stopped, 10, "the kernel has memory again")
    rig.deflate()
    rig.intact()
    rig.unload()
    rig.finish()


def rmmod_wanting(rig, driver):
    """The driver goes while it wants more memory than the guest has."""
    rig.start_device()
    rig.start_guest()
    rig.guest.hold()
    for _ in range(3):
        rig.load(driver)
        rig.device.qmp.execute("balloon", value=MIB)
        poll(lambda: rig.guest.free_len() < 128 * MIB, rig.timeout, "the guest gives nearly all")
        time.sleep(0.5)
        rig.guest.rmmod(driver.name)
        rig.expect_returned("with the module unloaded")
        rig.device.qmp.execute("balloon", value=rig.mem_len)
    rig.intact()
    rig.finish()


# From here on the device is one that a test holds by the hand.

MIB_PAGES = MIB // PAGE_LEN


def begin(rig, driver, mib=None, features=OUR_FEATURES):
    """A guest that was asked for so many MiB, and whose first message has arrived."""
    device = rig.start_hostile(features)
    rig.start_guest()
    rig.guest.hold(mib=32)
    rig.load(driver)
    device.set_target((mib or rig.flavour.inflate_mib) * MIB_PAGES)
    check(device.wait(lambda: any(chain.queue == 0 for chain in device.chains), rig.timeout),
          "the driver sends no message")
    return device


def reach(rig, num_pages):
    """The device becomes honest, and the driver reaches the target."""
    device = rig.device
    with device.changed:
        device.policy = device.answer
        for chain in list(device.chains):
            device.answer(chain)
    device.set_target(num_pages)
    check(device.wait(lambda: device.actual == num_pages, rig.timeout),
          f"the balloon has {device.actual} pages, not {num_pages}")


def settle(rig):
    """Ends a test after which the driver still works, or at least goes."""
    rig.unload()
    rig.intact()
    rig.finish()


# VBB-DRV-06
def silent(rig, driver):
    """The device takes everything and says nothing."""
    begin(rig, driver)
    time.sleep(2)
    rig.lives()
    taken = rig.free - rig.guest.free_len()
    check(taken < (256 + 8) * MIB, f"{taken // MIB} MiB wait for a device that is silent")
    rig.intact()
    settle(rig)


def silent_twice(rig, driver):
    """The device is silent, the driver goes, comes, and finds an honest device in its place."""
    begin(rig, driver)
    rig.unload()
    rig.load(driver)
    reach(rig, 64 * MIB_PAGES)
    reach(rig, 0)
    settle(rig)


def backwards(rig, driver):
    """The device uses what it has in the reverse order, as virtio allows."""
    device = begin(rig, driver)
    for num_pages in (rig.flavour.inflate_mib * MIB_PAGES, 0):
        device.set_target(num_pages)
        deadline = time.monotonic() + rig.timeout
        while device.actual != num_pages:
            check(time.monotonic() < deadline, f"the balloon stays at {device.actual} pages")
            time.sleep(0.02)
            with device.changed:
                for chain in reversed(list(device.chains)):
                    device.answer(chain)
    settle(rig)


def mislead(rig, driver, use):
    """The device ends each chain by use(device, chain), and is honest later."""
    device = begin(rig, driver)
    device.policy = lambda chain: use(device, chain)
    for chain in list(device.chains):
        device.policy(chain)
    time.sleep(1)
    rig.lives()
    reach(rig, 64 * MIB_PAGES)
    reach(rig, 0)
    settle(rig)


# VBB-DRV-03
def lengths(rig, driver):
    """The device claims to have written too little, too much, and what is no result."""
    wrong = [0, 1, 8, 15, 17, 32, 4096, 1 << 31, (1 << 32) - 1]
    mislead(rig, driver, lambda device, chain: device.use(chain, hostile.result(), length=random.choice(wrong)))


# VBB-DRV-03
def results(rig, driver):
    """The device writes results that say the impossible."""
    top = (1 << 64) - 1
    wrong = [hostile.result(top, hostile.OK), hostile.result(0, 0xffff),
             hostile.result(1, hostile.MALFORMED, 0xffff), hostile.result(top, 4, 64, 0xffffffff),
             hostile.result(5, hostile.INHIBITED), bytes(16), b"\xff" * 16]
    mislead(rig, driver, lambda device, chain: device.use(chain, random.choice(wrong)))


def ring(rig, driver, lie):
    """The device's half of the ring is nonsense: the driver gives up, and goes when told to."""
    device = begin(rig, driver)
    chain = device.chains[0]
    if lie == "a head that is not outstanding":
        device.use(chain, hostile.result(), head=200)
    elif lie == "a head past the ring":
        device.use(chain, hostile.result(), head=0xfffffff0)
    elif lie == "one chain twice":
        device.use(chain, hostile.result())
        device.use(chain, hostile.result())
    elif lie == "an index that runs ahead":
        device.set_used(chain.queue, 1000)
    time.sleep(1)
    rig.lives()
    device.set_target(0)
    time.sleep(0.5)
    settle(rig)


def targets(rig, driver):
    """The target changes faster than anything can follow."""
    device = begin(rig, driver)
    device.policy = device.answer
    for chain in list(device.chains):
        device.answer(chain)
    generator = random.Random(1)
    for _ in range(300):
        device.set_target(generator.randrange(rig.flavour.inflate_mib * MIB_PAGES))
        time.sleep(generator.random() / 100)
    rig.intact()
    reach(rig, 12345)
    reach(rig, 0)
    settle(rig)


# VBB-DRV-03, VBB-DRV-06
def beyond(rig, driver):
    """The target is more than the guest has, and than there can be; it jumps from one end to the other."""
    device = begin(rig, driver)
    reach(rig, 64 * MIB_PAGES)
    for num_pages in (0xffffffff, 0, 0x80000000, 1, rig.mem_len // PAGE_LEN, 0x7fffffff, rig.mem_len // PAGE_LEN + 1):
        device.set_target(num_pages)
        time.sleep(0.2)
        rig.lives()
    poll(lambda: rig.guest.free_len() < 128 * MIB, rig.timeout, "the guest gives nearly all")
    rig.lives()
    check(device.actual < rig.mem_len // PAGE_LEN, f"the balloon has {device.actual} pages")
    rig.intact()
    reach(rig, 0)
    device.set_target(0xffffffff)
    poll(lambda: rig.guest.free_len() < 128 * MIB, rig.timeout, "the guest gives nearly all")
    # it goes while it wants more
    settle(rig)


def dies(rig, driver, after):
    """The connection ends when so many messages have come."""
    device = begin(rig, driver)
    for _ in range(after):
        with device.changed:
            if device.chains:
                device.answer(device.chains[0])
        check(device.wait(lambda: device.chains, 10), "the driver sends no more messages")
    device.close()
    rig.gone()


# VBB-DRV-01, VBB-DRV-02, VBB-DRV-12
def features(rig, driver):
    """The driver accepts no bit that needs one which is not offered, and speaks as was agreed."""
    bits = (hostile.F_VERSION_1, hostile.F_PAGE_BITMAP, hostile.F_HOST_REQ_VQ,
            hostile.F_PAGE_RECORDS)
    for choice in range(1 << len(bits)):
        offered = {bit for i, bit in enumerate(bits) if choice >> i & 1}
        device = begin(rig, driver, 64, offered)
        accepted = {bit for bit in bits if device.accepted >> bit & 1}
        legal = offered & {hostile.F_VERSION_1}
        if hostile.F_PAGE_BITMAP in offered and legal:
            legal |= offered
        check(accepted == legal, f"offered {offered}, accepted {accepted}, not {legal}")
        why = f"with the features {accepted}"
        chain = next(chain for chain in device.chains if chain.queue == 0)
        message = chain.out
        if hostile.F_PAGE_BITMAP in accepted:
            cmd, shift, flag, fmt, req_id, _, length = struct.unpack_from("<HHHHQQQ", message)
            check((cmd, shift, flag, req_id) == (0, 12, 0, 0) and length == len(message) - 32,
                  f"{why}: a wrong header {message[:32].hex(' ')}")
            check(fmt == 0 or fmt == 1 and hostile.F_PAGE_RECORDS in accepted,
                  f"{why}: format {fmt}")
        else:
            check(len(message) % 4 == 0 and not chain.room, f"{why}: not the old format")
        reach(rig, 64 * MIB_PAGES)
        reach(rig, 0)
        rig.unload()
        rig.finish()
        device.close()


# VBB-DRV-02
def taken_back(rig, driver):
    """The device comes back with less than it had, and with all of it, under an inflated balloon."""
    platform = "/sys/bus/platform/drivers/virtio-uml"
    device = begin(rig, driver, 64, (*OUR_FEATURES, hostile.F_HOST_REQ_VQ))
    name = rig.guest.sh(f"basename {platform}/virtio-uml.*").strip()
    reach(rig, 64 * MIB_PAGES)
    every = device.features
    for gone in ({hostile.F_PAGE_RECORDS}, {hostile.F_PAGE_BITMAP}, {hostile.F_HOST_REQ_VQ}, {hostile.F_VERSION_1},
                 set()):
        rig.guest.write(f"{platform}/unbind", name)
        rig.expect_returned(f"without {gone}")
        device.features = every & ~sum(1 << bit for bit in gone)
        device.actual = 0
        rig.guest.write(f"{platform}/bind", name)
        reach(rig, 64 * MIB_PAGES)
        accepted = {bit for bit in (*OUR_FEATURES, hostile.F_HOST_REQ_VQ) if device.accepted >> bit & 1}
        check(not accepted & gone, f"{accepted & gone} were taken back, and accepted")
    reach(rig, 0)
    settle(rig)


PROBE_PARTS = 4  # so that they need not follow each other

LIES = ("a head that is not outstanding", "a head past the ring", "one chain twice",
        "an index that runs ahead")


def cases(flavour):
    """All tests of a flavour: (name, function, arguments)."""
    stock, ours = flavour.stock, flavour.ours
    release = flavour.name == "release"
    for append in ("init_on_alloc=0", "init_on_alloc=1" if release else "page_poison=1"):
        for driver in (stock, ours, *flavour.formats):
            yield f"{driver.label}, {append}", balloon, (driver,), {"append": [append]}
    for driver in (stock, ours):
        yield f"{driver.label}, page by page", balloon, (driver, ["--page-by-page"]), {}
        yield f"{driver.label}, memory at a random place", balloon, (driver,), {"random_base": True}
        for test in (fragmented, steps, rmmod_inflated, rebind, reconnect, next_guest):
            yield f"{driver.label}, {test.__name__}", test, (driver,), {}
        if release:
            yield f"{driver.label}, untouched", untouched, (driver,), {}
        else:
            yield f"{driver.label}, blocks_fail", blocks_fail, (driver,), {}
    if not release:
        for part in range(1, PROBE_PARTS + 1):
            yield f"ours, probe_fails, {part} of {PROBE_PARTS}", probe_fails, (ours, part, PROBE_PARTS), {}
    old = Driver("ours", ours.module, formats=("pfns",))
    yield "ours, a device without our features", balloon, (old, ["--no-bitmap"]), {}
    bitmap = Driver("ours", ours.module, formats=("bitmap",))
    yield "ours, a device without records", balloon, (bitmap, ["--no-records"]), {}
    for test in (reload_often, device_killed, too_much, rmmod_wanting, silent, silent_twice,
                 backwards, lengths, results, targets, beyond, features, taken_back):
        yield f"ours, {test.__name__}", test, (ours,), {}
    for lie in LIES:
        yield f"ours, ring: {lie}", ring, (ours, lie), {}
    for after in (0, 1, 2):
        yield f"ours, dies after {after} messages", dies, (ours, after), {}
    yield from device_guest.cases(flavour)
    yield from standard.cases(flavour)
    yield from requests_guest.cases(flavour, ours)
    yield from ctl_guest.cases(ours)


def chosen(flavour, every):
    """The tests of a flavour. Stock driver and fixed formats have to meet one kernel only."""
    plan = list(cases(flavour))
    if every or flavour.name == "release":
        return plan
    met = {(function, args[0].label) for _, function, args, _ in cases(Flavour("release"))}
    return [case for case in plan if case[2][0].label == "ours" or (case[1], case[2][0].label) not in met]


def main():
    parser = tap.arguments(__doc__)
    parser.add_argument("--vbb", required=True, type=pathlib.Path, help="the tool that was built")
    parser.add_argument("--flavour", choices=("release", "debug"), action="append",
                        help="the kernel to test with; both by default")
    parser.add_argument("--every", action="store_true",
                        help="on the debug kernel also what only a driver needs that is not ours")
    options = parser.parse_args()
    try:
        options.initrd = script("guest-initramfs")
        plan = [(f"{flavour.name}: {name}", lambda log, flavour=flavour: Rig(flavour, options, log),
                 function, args, kwargs)
                for flavour in map(Flavour, options.flavour or ("release", "debug"))
                for name, function, args, kwargs in chosen(flavour, options.every)]
    except subprocess.CalledProcessError as error:
        print(f"Bail out! {error.cmd[0]} failed")
        return 1
    return tap.run(plan, options)


if __name__ == "__main__":
    sys.exit(main())
