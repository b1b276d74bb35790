#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause
"""A guest with our driver, and `vbb device`, for as long as it is wanted. Prints what it did.

soak.py --vbb PATH [--minutes N] [--seed N] [--flavour release|debug] [--log FILE]

Sizes of the balloon, host requests, cancels, drivers that go and come, devices that are reset and
front-ends that connect anew follow each other as chance has it. From time to time the balloon is
emptied and the driver unloaded: then the guest has as much free memory as at the beginning, the data
that it holds is what it wrote, and the device has not grown. Nothing depends on how fast it goes.
"""

import argparse
import os
import pathlib
import random
import sys
import tempfile
import time
import types

import tap
from harness import MIB, QmpError
from liars import resident
from tap import check, script
from test_guest import Flavour, Rig

PLATFORM = "/sys/bus/platform/drivers/virtio-uml"
# Steps between two looks at everything, and what the device may have grown by then
ROUND = 25
GROWTH = MIB // 2


class Soak:
    def __init__(self, rig, rng, folder):
        self.rig, self.rng = rig, rng
        self.file = os.path.join(folder, "runs")
        self.steps = {name: 0 for name in ("size", "sizes", "unused", "drop", "cancel", "use", "reload", "rebind",
                                           "reconnect")}
        self.ends = {}

    def lowest(self):
        return self.rig.mem_len - self.rig.inflate_len

    def some_size(self):
        """A size that the guest can be made to have."""
        return self.lowest() + self.rng.randrange(self.rig.inflate_len // 4096 + 1) * 4096

    def ask(self, command, **arguments):
        """Makes a request, as soon as the driver has a buffer for it; returns its id."""
        deadline = time.monotonic() + self.rig.timeout
        while True:
            try:
                return self.rig.device.qmp.execute(command, **arguments)["id"]
            except QmpError as error:
                check(time.monotonic() < deadline, f"{command}: {error}")
                time.sleep(0.05)

    def ended(self, ident, *statuses):
        data = self.rig.device.qmp.wait_event("X_HOST_REQUEST_END", self.rig.timeout, lambda data: data["id"] == ident)
        check(data and data["status"] in statuses, f"request {ident}: {data}")
        self.ends[data["status"]] = self.ends.get(data["status"], 0) + 1

    # Steps

    def size(self):
        self.rig.target(self.some_size())

    def sizes(self):
        """Nobody waits for any but the last."""
        for _ in range(self.rng.randrange(2, 8)):
            self.rig.device.qmp.execute("balloon", value=self.some_size())
            time.sleep(self.rng.random() / 50)
        self.size()

    def unused(self):
        window = {}
        if self.rng.random() < 0.5:
            window = {"first-pfn": self.rng.randrange(1 << 20), "nr-pages": self.rng.randrange(1, 1 << 18)}
        self.ended(self.ask("x-get-unused-pages", file=self.file, **window), "done")

    def drop(self):
        mode, limit = self.rng.choice(("page", "slab", "all")), self.rng.choice((0, 1, 64 << 10, 1 << 30))
        # there may be no way to free only some of the slabs
        also = ("unsupported",) if mode == "slab" and limit else ()
        self.ended(self.ask("x-drop-cache", mode=mode, limit=limit), "done", *also)

    def cancel(self):
        ident = self.ask(self.rng.choice(("x-get-unused-pages", "x-drop-cache")))
        try:
            self.rig.device.qmp.execute("x-cancel", id=ident)
        except QmpError:
            pass  # it has ended
        self.ended(ident, "done", "cancelled")

    def use(self):
        """A process takes memory and ends."""
        self.rig.guest.use(self.rng.randrange(1, max(2, self.rig.guest.free_len() // MIB // 2)))

    def reload(self):
        self.rig.guest.rmmod(self.rig.driver.name, self.rig.timeout)
        self.rig.guest.insmod(self.rig.driver.module, self.rng.choice(("", "format=bitmap", "format=records")))

    def rebind(self):
        bound = self.rig.driver_dir()
        self.rig.guest.write(f"{bound}/unbind", "virtio0", self.rig.timeout)
        self.rig.guest.write(f"{bound}/bind", "virtio0", self.rig.timeout)

    def reconnect(self):
        name = self.rig.guest.sh(f"basename {PLATFORM}/virtio-uml.*").strip()
        self.rig.guest.write(f"{PLATFORM}/unbind", name, self.rig.timeout)
        self.rig.guest.write(f"{PLATFORM}/bind", name, self.rig.timeout)

    def step(self):
        name = self.rng.choice(list(self.steps))
        self.steps[name] += 1
        getattr(self, name)()

    # Looks

    def bare(self):
        """Free memory of the guest without the driver, and without what the kernel can drop."""
        self.rig.guest.write("/proc/sys/vm/drop_caches", "3")
        return self.rig.settled_free_len()

    def look(self):
        """Empties the balloon, unloads the driver, and looks at everything."""
        rig = self.rig
        rig.target(rig.mem_len)
        rig.guest.rmmod(rig.driver.name, rig.timeout)
        rig.expect_returned("without the driver")
        free = self.bare()
        check(abs(free - self.free) < rig.slack, f"{free >> 10} KiB are free, not {self.free >> 10}")
        rig.intact()
        rig.clean()
        now = rig.device.counters()
        faults = {name: count for name, count in now["faults"].items() if count}
        check(not faults and not now["discard_errors"], f"the device counts {faults}, {now['discard_errors']}")
        rig.guest.insmod(rig.driver.module)
        return free, resident(rig.device.pid)

    def run(self, minutes):
        rig = self.rig
        rig.start_device()
        rig.start_guest()
        rig.guest.hold(mib=64)
        rig.guest.fill()
        self.free = self.bare()
        rig.load(rig.flavour.ours)
        end = time.monotonic() + minutes * 60
        first = None
        while True:
            for _ in range(ROUND):
                self.step()
            free, length = self.look()
            first = first or length
            print(f"{sum(self.steps.values())} steps: {free >> 10} KiB free, at the beginning {self.free >> 10}; "
                  f"the device has {length >> 10} KiB, after the first round {first >> 10}", flush=True)
            check(length - first <= GROWTH, f"the device has grown by {length - first} bytes")
            if time.monotonic() > end:
                break
        rig.guest.rmmod(rig.driver.name, rig.timeout)
        now = rig.device.counters()
        print(f"steps: {self.steps}; requests: {self.ends}; messages: {now['messages']}; "
              f"pages: {now['pages_inflated']} in, {now['pages_deflated']} out; front-ends: {now['front_ends']}")
        rig.finish()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--vbb", required=True, type=pathlib.Path, help="the tool that was built")
    parser.add_argument("--minutes", type=float, default=60, metavar="N")
    parser.add_argument("--seed", type=int, metavar="N", help="else one by chance; it is printed")
    parser.add_argument("--flavour", choices=("release", "debug"), default="release")
    parser.add_argument("--log", type=pathlib.Path, metavar="FILE", help="what guest and device say")
    options = parser.parse_args()
    seed = random.SystemRandom().randrange(1 << 32) if options.seed is None else options.seed
    print(f"seed {seed}", flush=True)
    with tempfile.TemporaryDirectory(prefix="vbb-soak-") as folder:
        rig = Rig(Flavour(options.flavour), types.SimpleNamespace(vbb=options.vbb, initrd=script("guest-initramfs")),
                  options.log or pathlib.Path(folder, "log"))
        try:
            Soak(rig, random.Random(seed), folder).run(options.minutes)
        except tap.Failure as failure:
            print(f"FAIL: {failure}")
            return 1
        finally:
            rig.close()
    print("ok")
    return 0


if __name__ == "__main__":
    sys.exit(main())
