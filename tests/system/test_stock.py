# SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause
"""Debian's stock kernel, its driver and ours, with the balloon device of Debian's QEMU. Prints TAP.

test_stock.py [--qemu PROGRAM] [--device NAME] [--filter TEXT] [--list]

Each test runs with the stock driver, which shows that it asks for nothing unheard-of, and with ours,
which must do all that the stock driver does. Each boots its own guest.
"""

import contextlib
import os
import pathlib
import subprocess
import sys

import tap
from harness import MIB
from qemuguest import Guest
from tap import TOP, check, poll, script

MEM_MIB = 384
INFLATE_MIB = 192
HOLD_MIB = 48
# What a running guest takes and frees on its own account.
SLACK_LEN = 4 * MIB


class Driver:
    def __init__(self, label, module):
        self.label, self.module = label, pathlib.Path(module)
        self.name = self.module.stem


class Kernel:
    """Debian's kernel, its initial ramdisk and both drivers."""

    def __init__(self):
        self.folder = pathlib.Path(script("stock-kernel"))
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

    def accepted(self):
        """The numbers of the feature bits that the driver accepted."""
        bits = self.guest.cat("/sys/bus/virtio/devices/virtio0/features").strip()
        return {number for number, bit in enumerate(bits) if bit == "1"}

    def intact(self):
        wrong = self.guest.verify()
        check(wrong is None, f"the guest's data changed: {wrong}")

    def clean(self):
        reports = self.guest.reports()
        check(not reports, f"{len(reports)} reports, the first:\n{reports[0] if reports else ''}")

    def finish(self):
        self.intact()
        self.clean()

    def close(self):
        self.stack.close()


def balloon(rig, driver, properties=(), **guest):
    """Inflates and deflates, twice, with the module loaded anew between."""
    rig.start_full(properties, **guest)
    for _ in range(2):
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
    rig.start_full(cpus=2, image="vmlinuz" if state == "mem" else "vmlinux")
    rig.load(driver)
    rig.inflate()
    rig.guest.sleep(state)
    rig.reach(rig.mem_len - INFLATE_MIB * MIB)
    rig.intact()
    rig.deflate()
    rig.guest.populate()
    rig.guest.qmp.execute("balloon", value=rig.mem_len - INFLATE_MIB * MIB)
    rig.guest.sleep(state)
    rig.reach(rig.mem_len - INFLATE_MIB * MIB)
    rig.intact()
    rig.deflate()
    rig.unload()
    rig.finish()


def cases(kernel):
    """All tests: (name, function, arguments, keyword arguments)."""
    for driver in (kernel.stock, kernel.ours):
        def case(name, function, *args, **kwargs):
            return f"{driver.label}, {name}", function, (driver, *args), kwargs

        yield case("modern", balloon, ["disable-legacy=on", "disable-modern=off"])
        yield case("legacy", balloon, ["disable-legacy=off", "disable-modern=on"])
        yield case("init_on_alloc=1, two processors", balloon, append=["init_on_alloc=1"], cpus=2)
        yield case("two nodes", nodes)
        yield case("rmmod_inflated", rmmod_inflated)
        yield case("reset", reset)
        for state in ("freeze", "mem") if driver is kernel.stock else ():
            yield case(f"sleep: {state}", sleep, state)


def main():
    parser = tap.arguments(__doc__)
    parser.add_argument("--qemu", default="qemu-system-x86_64", help="the QEMU to run")
    parser.add_argument("--device", default="virtio-balloon-pci", help="its balloon device")
    options = parser.parse_args()
    try:
        kernel = Kernel()
    except subprocess.CalledProcessError as error:
        print(f"Bail out! {error.cmd[0]} failed")
        return 1
    return tap.run([(name, lambda log: Rig(kernel, options, log), function, args, kwargs)
                    for name, function, args, kwargs in cases(kernel)], options)


if __name__ == "__main__":
    sys.exit(main())
