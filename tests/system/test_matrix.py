#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause
"""Who works with whom: each driver with each device, the same test for all. Prints TAP.

test_matrix.py --vbb PATH [--qemu PROGRAM] [--filter TEXT] [--list]

Drivers: Linux's own and ours; devices: that of Debian's QEMU, ours in QEMU (with guests of one and
of two processors), and `vbb device` with User Mode Linux.
"""

import pathlib
import sys
import types

import tap
import test_guest
import test_stock
from harness import MIB
from tap import check, poll, script

HOLD_MIB = 24


class QemuRig(test_stock.Rig):
    """A guest in QEMU."""

    def __init__(self, kernel, qemu, device, log):
        super().__init__(kernel, types.SimpleNamespace(qemu=qemu, device=device), log)
        self.inflate_len = test_stock.INFLATE_MIB * MIB

    def boot(self, cpus):
        self.start(cpus=cpus)
        self.qmp, self.balloon = self.guest.qmp, "/machine/peripheral/balloon"

    def reboot(self):
        self.guest.reset()

    def actual_len(self):
        return self.guest.actual_len()


class UmlRig(test_guest.Rig):
    """A guest in User Mode Linux, with `vbb device`."""

    def boot(self, cpus):
        check(cpus == 1, "User Mode Linux has one processor")
        self.start_device()
        self.start_guest()
        self.qmp, self.balloon = self.device.qmp, "/machine/peripheral/balloon0"

    def reboot(self):
        """This kernel ends where others begin anew, and the next one finds the same device."""
        self.guest.kill()
        self.start_guest()

    def actual_len(self):
        return self.device.actual_len()


def statistics(rig):
    """The guest says what its kernel says."""
    rig.qmp.execute("qom-set", path=rig.balloon, property="guest-stats-polling-interval", value=1)

    def total():
        stats = rig.qmp.execute("qom-get", path=rig.balloon, property="guest-stats")["stats"]
        return stats.get("stat-total-memory")

    poll(lambda: total() == rig.guest.total_len(), 60, "statistics")
    rig.qmp.execute("qom-set", path=rig.balloon, property="guest-stats-polling-interval", value=0)


def pair(rig, driver, cpus):
    """All that either device and either driver can do."""
    rig.boot(cpus)
    rig.guest.hold(HOLD_MIB)
    rig.guest.populate()
    for _ in range(2):
        rig.load(driver)
        statistics(rig)
        rig.inflate()
        rig.intact()
        rig.deflate()
        rig.unload()
        rig.guest.fill()
        rig.intact()
    rig.load(driver)
    rig.inflate()
    rig.reboot()
    rig.guest.hold(HOLD_MIB)
    rig.load(driver)
    poll(lambda: rig.actual_len() == rig.mem_len - rig.inflate_len, 60, "inflated after the reboot")
    rig.intact()
    rig.deflate()
    rig.unload()
    rig.finish()


def main():
    parser = tap.arguments(__doc__)
    parser.add_argument("--vbb", required=True, type=pathlib.Path, help="the tool that was built")
    parser.add_argument("--qemu", metavar="PROGRAM", help="else the one that scripts/lib/qemu builds")
    options = parser.parse_args()
    options.initrd = script("guest-initramfs")
    kernel = test_stock.Kernel()
    flavour = test_guest.Flavour("release")
    devices = {"QEMU's device": ("qemu-system-x86_64", "virtio-balloon-pci"),
               "our device in QEMU": (options.qemu or script("qemu"), "virtio-balloon-bmap-pci")}
    plan = []
    for label in ("stock", "ours"):
        for name, device in devices.items():
            for cpus in (1, 2):
                plan.append((f"{label} driver, {name}, processors: {cpus}",
                             lambda log, device=device: QemuRig(kernel, *device, log), pair,
                             (getattr(kernel, label), cpus), {}))
        plan.append((f"{label} driver, vbb device", lambda log: UmlRig(flavour, options, log), pair,
                     (getattr(flavour, label), 1), {}))
    return tap.run(plan, options)


if __name__ == "__main__":
    sys.exit(main())
