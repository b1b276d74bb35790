# SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause
"""The system test: real Linux guests, the stock driver and ours, against `vbb device`. Prints TAP.

test_guest.py --vbb PATH [--flavour release|debug] [--filter TEXT] [--list]

Each test boots its own guest. On a debug kernel each one also fails on any report by KASAN, lockdep
and the others.
"""

import argparse
import contextlib
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time
import traceback

from umlguest import CommandError, Device, Guest, HarnessError, MIB

TOP = pathlib.Path(__file__).resolve().parents[2]
LIB = TOP / "scripts" / "lib"


class Failure(Exception):
    """What a test found wrong."""


class Skip(Exception):
    """Why a test has nothing to say here."""


def check(condition, what):
    if not condition:
        raise Failure(what)


def poll(condition, timeout, what):
    """Waits until condition() holds; polls seldom, as the guest may need this CPU."""
    deadline = time.monotonic() + timeout
    while not condition():
        check(time.monotonic() < deadline, f"{what}: not within {timeout} s")
        time.sleep(0.02)


class Driver:
    """A driver as a test uses it: the module, its parameters and its name."""

    def __init__(self, label, module, params=""):
        self.label, self.module, self.params = label, pathlib.Path(module), params
        self.name = self.module.stem
        self.stock = self.name == "virtio_balloon"


class Flavour:
    """A kernel, its drivers, and how large the guests are that it is tested with."""

    def __init__(self, name):
        self.name = name
        self.build = script("uml-kernel", name)
        self.mem_mib, self.inflate_mib = (2048, 1024) if name == "release" else (1024, 384)
        stock = pathlib.Path(self.build) / "drivers" / "virtio" / "virtio_balloon.ko"
        ours = pathlib.Path(script("uml-module", self.build, TOP / "kernel-glue"))
        ours /= "virtio_balloon_bmap.ko"
        self.stock = Driver("stock", stock)
        self.ours = Driver("ours", ours)
        self.formats = [Driver(f"ours-{name}", ours, f"format={name}")
                        for name in ("pfns", "bitmap", "records")]


def script(name, *args):
    return subprocess.run([LIB / name, *args], stdout=subprocess.PIPE, text=True,
                          check=True).stdout.strip()


class Rig:
    """A flavour's device and guests in one test, with the questions that tests ask."""

    def __init__(self, flavour, options, log):
        self.flavour, self.options, self.log = flavour, options, log
        self.mem_len = flavour.mem_mib * MIB
        self.inflate_len = flavour.inflate_mib * MIB
        self.stack = contextlib.ExitStack()
        self.guest = self.device = None
        # A debug kernel is ten times as slow.
        self.timeout = 60 if flavour.name == "release" else 240

    def start_device(self, *options):
        self.device = self.stack.enter_context(
            Device(self.options.vbb, ["--ram", str(self.mem_len), *options], log=self.log))
        return self.device

    def start_guest(self, append=("init_on_alloc=0",), **kwargs):
        self.guest = self.stack.enter_context(
            Guest(self.flavour.build, self.options.initrd, mem_mib=self.flavour.mem_mib,
                  devices=[self.device.socket], append=append, log=self.log, **kwargs))
        return self.guest

    def load(self, driver):
        self.guest.insmod(driver.module, driver.params)

    def target(self, target_len):
        """Asks for a size and waits until the guest has it."""
        self.device.qmp.events.clear()
        self.device.qmp.execute("balloon", value=target_len)
        self.wait(target_len)

    def wait(self, target_len):
        if self.device.qmp.wait_event("BALLOON_CHANGE", self.timeout,
                                      lambda data: data["actual"] == target_len) is None:
            raise Failure(f"the guest has {self.device.actual_len()} bytes, not {target_len}, "
                          f"after {self.timeout} s\n{self.guest.tail()}")

    def inflate(self, nr_bytes=None, resident=True):
        """Inflates, and holds the host's memory against what was asked for, within 1 %."""
        nr_bytes = nr_bytes or self.inflate_len
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

    def expect_free(self, nr_bytes, when):
        """The guest's free memory comes back, but for the few pages that a running system moves."""
        allowed = 8 * MIB
        poll(lambda: abs(self.guest.free_len() - nr_bytes) < allowed, 10,
             f"{when} the guest has {nr_bytes // MIB} MiB free again")

    def intact(self):
        wrong = self.guest.verify()
        check(wrong is None, f"the guest's data changed: {wrong}")

    def finish(self):
        """Ends guest and device in good order; nothing may have been reported meanwhile."""
        self.clean()
        self.guest.poweroff()
        self.device.stop()
        self.clean()

    def clean(self):
        reports = self.guest.reports()
        check(not reports, f"{len(reports)} reports, the first:\n{reports[0] if reports else ''}")
        if self.flavour.name == "debug" and self.guest.alive():
            stats = self.guest.cat("/proc/lockdep_stats")
            check("debug_locks:                             1" in stats, "lockdep turned itself off")

    def driver_dir(self):
        """Where sysfs has the driver that is bound to the balloon device."""
        return self.guest.sh("readlink -f /sys/bus/virtio/devices/virtio0/driver").strip()

    def close(self):
        self.stack.close()


def balloon(rig, driver, device_options=(), **guest):
    """Inflate and deflate; twice, and with the module loaded anew between."""
    rig.start_device(*device_options)
    rig.start_guest(**guest)
    rig.guest.hold()
    rig.guest.fill()
    free = rig.guest.free_len()
    for _ in range(2):
        rig.load(driver)
        rig.inflate()
        rig.intact()
        rig.deflate()
        rig.intact()
        rig.guest.rmmod(driver.name)
        rig.expect_free(free, "with the module unloaded")
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
    rig.start_device()
    rig.start_guest()
    rig.guest.hold()
    pinned = rig.guest.fragment(16)
    check(pinned * 4096 * 16 > rig.inflate_len, f"only {pinned} pages were pinned")
    rig.load(driver)
    rig.inflate()
    rig.intact()
    rig.deflate()
    rig.intact()
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
        rig.device.qmp.execute("balloon", value=rig.mem_len - nr_pages * 4096)
    rig.target(rig.mem_len - 33333 * 4096)
    freed = before - rig.guest.host_len()
    check(freed >= 33333 * 4096 * 99 // 100, f"only {freed // 1024} KiB came free")
    rig.intact()
    rig.deflate()
    rig.finish()


def rmmod_inflated(rig, driver):
    """A driver that goes takes no page along."""
    rig.start_device()
    rig.start_guest()
    rig.guest.hold()
    rig.guest.populate()
    free = rig.guest.free_len()
    rig.load(driver)
    rig.inflate()
    rig.guest.rmmod(driver.name)
    rig.expect_free(free, "with the module unloaded")
    rig.intact()
    # The target stands, and the next driver finds it.
    rig.load(driver)
    rig.wait(rig.mem_len - rig.inflate_len)
    rig.deflate()
    rig.finish()


def rebind(rig, driver):
    """The device is reset under an inflated balloon, and probed again."""
    rig.start_device()
    rig.start_guest()
    rig.guest.hold()
    rig.guest.populate()
    rig.load(driver)
    free = rig.guest.free_len()
    for _ in range(3):
        rig.inflate()
        bound = rig.driver_dir()
        rig.guest.write(f"{bound}/unbind", "virtio0")
        rig.expect_free(free, "unbound")
        rig.guest.write(f"{bound}/bind", "virtio0")
        rig.wait(rig.mem_len - rig.inflate_len)
        rig.deflate()
    rig.intact()
    rig.finish()


def reconnect(rig, driver):
    """The guest closes the connection and opens another: a new front-end for the same device."""
    platform = "/sys/bus/platform/drivers/virtio-uml"
    rig.start_device()
    rig.start_guest()
    rig.guest.hold()
    rig.guest.populate()
    rig.load(driver)
    name = rig.guest.sh(f"basename {platform}/virtio-uml.*").strip()
    for _ in range(3):
        rig.inflate()
        rig.guest.write(f"{platform}/unbind", name)
        rig.guest.write(f"{platform}/bind", name)
        rig.wait(rig.mem_len - rig.inflate_len)
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
    rig.finish()


def device_killed(rig, driver):
    """The device stops in the middle of an inflation and dies: nothing in the guest may hang."""
    rig.start_device()
    rig.start_guest()
    rig.guest.hold()
    rig.guest.populate()
    free = rig.guest.free_len()
    before = rig.guest.host_len()
    rig.load(driver)
    rig.device.qmp.execute("balloon", value=rig.mem_len - rig.inflate_len)
    rig.device.process.send_signal(signal.SIGSTOP)
    time.sleep(0.3)
    check(before - rig.guest.host_len() < rig.inflate_len * 9 // 10, "the device was too fast")
    rig.guest.run("ping", timeout=10)
    # Pages that were taken and not told are bounded, whatever the target says.
    check(free - rig.guest.free_len() < before - rig.guest.host_len() + 256 * MIB + 16 * MIB,
          "more than 256 MiB wait for the device")
    rig.device.kill()
    poll(lambda: not rig.guest.sh("ls /sys/bus/virtio/devices"), 20, "the dead device is removed")
    rig.expect_free(free, "without its device")
    rig.guest.rmmod(driver.name)
    rig.intact()
    rig.clean()
    rig.guest.poweroff()


def rmmod_stopped(rig, driver):
    """The module is unloaded while the device owes answers that never come."""
    rig.start_device()
    rig.start_guest()
    rig.guest.populate()
    free = rig.guest.free_len()
    rig.load(driver)
    rig.device.qmp.execute("balloon", value=rig.mem_len - rig.inflate_len)
    rig.device.process.send_signal(signal.SIGSTOP)
    time.sleep(0.3)
    unload = rig.guest.start(f"rmmod {driver.name}")
    time.sleep(1)
    # A reset needs the device's word (vhost-user has no other way), so it may wait; it must not for ever.
    rig.device.process.send_signal(signal.SIGCONT)
    rig.guest.finish(unload, 20)
    rig.expect_free(free, "with the module unloaded")
    rig.finish()


def too_much(rig, driver):
    """More is asked for than the guest has: it gives what it can and lives, and gets it back."""
    rig.start_device()
    rig.start_guest()
    rig.guest.hold()
    rig.guest.populate()
    rig.load(driver)
    rig.device.qmp.execute("balloon", value=0)
    poll(lambda: rig.guest.free_len() < 128 * MIB, rig.timeout, "the guest gives nearly all")
    time.sleep(1)
    rig.guest.run("ping", timeout=10)
    check("Out of memory" not in "\n".join(rig.guest.console), "the guest ran out of memory")
    rig.intact()
    rig.target(rig.mem_len)
    rig.guest.fill()
    rig.intact()
    rig.finish()


def cases(flavour):
    """All tests of a flavour: (name, function, arguments)."""
    stock, ours = flavour.stock, flavour.ours
    release = flavour.name == "release"
    page_by_page = {"device_options": ["--page-by-page"]}
    for append in ("init_on_alloc=0", "init_on_alloc=1" if release else "page_poison=1"):
        for driver in (stock, ours, *flavour.formats):
            yield f"{driver.label}, {append}", balloon, (driver,), {"append": [append]}
    yield "stock, page by page", balloon, (stock,), page_by_page
    yield "ours, page by page", balloon, (ours,), page_by_page
    for driver in (stock, ours):
        yield f"{driver.label}, memory at a random place", balloon, (driver,), {"random_base": True}
        for test in (fragmented, steps, rmmod_inflated, rebind, reconnect, next_guest):
            yield f"{driver.label}, {test.__name__}", test, (driver,), {}
        if release:
            yield f"{driver.label}, untouched", untouched, (driver,), {}
    yield "ours, device_killed", device_killed, (ours,), {}
    yield "ours, rmmod_stopped", rmmod_stopped, (ours,), {}
    yield "ours, too_much", too_much, (ours,), {}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--vbb", required=True, type=pathlib.Path, help="the tool that was built")
    parser.add_argument("--flavour", choices=("release", "debug"), action="append",
                        help="the kernel to test with; both by default")
    parser.add_argument("--filter", default="", help="only tests whose names contain this")
    parser.add_argument("--list", action="store_true", help="print the names and stop")
    parser.add_argument("--keep-logs", type=pathlib.Path, metavar="DIR",
                        help="keep what guests and devices say, one file a test")
    options = parser.parse_args()
    try:
        options.initrd = script("guest-initramfs")
        plan = [(f"{flavour.name}: {name}", flavour, function, args, kwargs)
                for flavour in map(Flavour, options.flavour or ("release", "debug"))
                for name, function, args, kwargs in cases(flavour)]
    except subprocess.CalledProcessError as error:
        print(f"Bail out! {error.cmd[0]} failed")
        return 1
    plan = [entry for entry in plan if options.filter in entry[0]]
    if options.list:
        print("\n".join(entry[0] for entry in plan))
        return 0
    print(f"1..{len(plan)}", flush=True)
    failed = 0
    with tempfile.TemporaryDirectory(prefix="vbb-test-") as scratch:
        logs = options.keep_logs or pathlib.Path(scratch)
        logs.mkdir(parents=True, exist_ok=True)
        for number, (name, flavour, function, args, kwargs) in enumerate(plan, 1):
            log = logs / f"{number:02}.log"
            log.unlink(missing_ok=True)
            rig = Rig(flavour, options, log)
            begin = time.monotonic()
            try:
                function(rig, *args, **kwargs)
                verdict, note = "ok", ""
            except Skip as why:
                verdict, note = "ok", f" # SKIP {why}"
            except (Failure, HarnessError, OSError, subprocess.SubprocessError) as error:
                verdict, note = "not ok", ""
                failed += 1
                text = str(error) or traceback.format_exc()
                if rig.guest and (reports := rig.guest.reports()):
                    text += f"\n{len(reports)} reports, the first:\n{reports[0]}"
            finally:
                rig.close()
            print(f"{verdict} {number} - {name}{note}", flush=True)
            if verdict == "not ok":
                print("".join(f"# {line}\n" for line in text.splitlines()), end="")
            print(f"# {time.monotonic() - begin:.1f} s", flush=True)
    print(f"# {len(plan) - failed} of {len(plan)} tests passed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
