#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause
"""Guests with our driver, and both devices, for as long as it is wanted. Prints what they did.

soak.py --vbb PROGRAM [--qemu PROGRAM] [--only device|qemu] [--minutes N] [--seed N] [--log FILE]

Two guests take turns: one of `vbb device`, and one of QEMU's device, which migrates from one QEMU to
the next. Sizes of the balloon, host requests, cancels, drivers that go and come, devices and guests
that are reset, front-ends that connect anew, migrations, and such as fail, follow each other as
chance has it; the same seed brings the same steps. After each turn the balloon is emptied and the
driver unloaded: then the guest has as much free memory as at the beginning, and the data that it
holds is what it wrote. At the end a slope says whether a device has grown. Nothing depends on how
fast it goes.
"""

import argparse
import collections
import itertools
import os
import pathlib
import random
import statistics
import sys
import tempfile
import time
import types

import tap
import test_guest
import test_migration
from harness import HarnessError, MIB, QmpError
from tap import check, poll, script
from test_guest import Flavour
from test_stock import SLACK_LEN, Kernel

PLATFORM = "/sys/bus/platform/drivers/virtio-uml"
# Steps between two looks at everything
TURN = 25
# Steps after which a process has what it needs
WARM = 10


def slope(lives):
    """Bytes a step: the median of what any two samples of the same process say, None without any.

    lives: of each process what it had after so many steps, as (steps, bytes).
    """
    slopes = [(one[1] - other[1]) / (one[0] - other[0]) for life in lives
              for other, one in itertools.combinations([sample for sample in life if sample[0] >= WARM], 2)]
    return statistics.median(slopes) if slopes else None


class Soak:
    """A guest and its device, which does a step after the other.

    steps: how often each was done, lives: see slope(), free: free memory without the driver.
    """

    def __init__(self, rig, seed, folder, *steps):
        self.rig, self.rng = rig, random.Random(f"{seed} {self.name}")
        self.file = os.path.join(folder, "runs")
        self.choices = ("size", "sizes", "drop", "use", "reload", "rebind", *steps)
        self.steps = dict.fromkeys(self.choices, 0)
        self.lives = [[]]
        self.age = 0
        self.free = None
        self.last = collections.deque(maxlen=TURN)  # what was done, to be told where it fails

    def below(self, limit):
        """A number that chance has, which does not depend on what was drawn before for other limits."""
        return int(self.rng.random() * limit)

    def some_size(self):
        """A size that the guest can be made to have."""
        return self.rig.mem_len - self.below(self.rig.inflate_len // 4096 + 1) * 4096

    def retry(self, command):
        """Does what the device refuses as long as the driver has no buffer for it, or it is busy."""
        deadline = time.monotonic() + self.rig.timeout
        while True:
            try:
                return command()
            except QmpError as error:
                check(time.monotonic() < deadline, str(error))
                time.sleep(0.05)

    # Steps

    def size(self):
        self.rig.target(self.some_size())

    def sizes(self):
        """Nobody waits for any but the last."""
        for _ in range(2 + self.below(6)):
            self.qmp().execute("balloon", value=self.some_size())
            time.sleep(self.rng.random() / 50)
        self.size()

    def use(self):
        """A process takes memory and ends."""
        share = self.rng.random()
        self.rig.guest.use(max(1, int(share * self.rig.guest.free_len() / MIB / 2)))

    def load(self):
        self.rig.guest.insmod(self.driver.module, self.rng.choice(("", "format=quick", "format=bitmap", "format=records")))

    def reload(self):
        self.rig.guest.rmmod(self.driver.name, self.rig.timeout)
        self.load()

    def rebind(self):
        guest = self.rig.guest
        bound = guest.sh("readlink -f /sys/bus/virtio/devices/virtio0/driver").strip()
        guest.write(f"{bound}/unbind", "virtio0", self.rig.timeout)
        guest.write(f"{bound}/bind", "virtio0", self.rig.timeout)

    def do(self, name):
        self.steps[name] += 1
        self.last.append(name)
        getattr(self, name)()

    def step(self):
        self.do(self.rng.choice(self.choices))
        self.age += 1
        self.lives[-1].append((self.age, self.process().own_len()))

    # Looks

    def turn(self):
        """Some steps; then it empties the balloon, unloads the driver, and looks at everything."""
        for _ in range(TURN):
            self.step()
        rig, guest = self.rig, self.rig.guest
        self.rest()
        rig.target(rig.mem_len)
        guest.rmmod(self.driver.name, rig.timeout)
        free = self.bare()
        print(f"{self.name}: {sum(self.steps.values())} steps: {free >> 10} KiB free, at the beginning "
              f"{self.free >> 10}; the device has {self.process().own_len() >> 10} KiB", flush=True)
        check(abs(free - self.free) < rig.slack, f"{free >> 10} KiB are free, not {self.free >> 10}")
        check(guest.total_len() == self.total, f"{guest.total_len()} bytes in all, not {self.total}")
        tap.intact(guest)
        self.clean()
        self.load()
        self.go_on()

    def bare(self):
        """Free memory of the guest without the driver, and without what the kernel can drop."""
        guest = self.rig.guest
        guest.write("/proc/sys/vm/drop_caches", "3")
        guest.sh("for cache in /sys/kernel/slab/*; do echo 1 >$cache/shrink; done", self.rig.timeout)
        before, now = -1, guest.free_len()
        while before != now:
            time.sleep(0.2)
            before, now = now, guest.free_len()
        return now

    def begin(self):
        self.total, self.free = self.rig.guest.total_len(), self.bare()
        self.load()
        self.go_on()

    def rest(self):
        """Ends what else goes on in the guest, until go_on()."""

    def go_on(self):
        pass

    def end(self):
        print(f"{self.name}: {', '.join(f'{name} {count}' for name, count in self.steps.items())}")
        rate = slope(self.lives)
        if rate is None:
            print(f"{self.name}: too short to say whether the device grows")
            return
        longest = max(life[-1][0] for life in self.lives if life)
        print(f"{self.name}: the device grows by {rate:.1f} bytes a step, of {longest} at most in one process")
        check(rate * longest <= self.GROWTH, f"it has grown by {rate * longest:.0f} bytes")


def resize(qmp, who, target_len, timeout):
    """Waits for the size and not for an event: a guest that comes anew may have it already."""
    qmp.execute("balloon", value=target_len)
    poll(lambda: who.actual_len() == target_len, timeout, f"the guest has {target_len} bytes")


class DeviceRig(test_guest.Rig):
    def target(self, target_len):
        resize(self.device.qmp, self.device, target_len, self.timeout)


class DeviceSoak(Soak):
    """`vbb device`, and a guest of User Mode Linux."""

    name = "device"
    GROWTH = MIB // 2  # that is none

    def __init__(self, options, log, seed, folder):
        rig = DeviceRig(Flavour(options.flavour), types.SimpleNamespace(
            vbb=options.vbb, initrd=script("guest-initramfs")), log)
        super().__init__(rig, seed, folder, "unused", "cancel", "reconnect")
        self.driver = rig.flavour.ours
        self.ends = {}
        rig.start_device()
        rig.start_guest()
        rig.guest.hold(mib=64)
        rig.guest.fill()
        self.begin()

    def qmp(self):
        return self.rig.device.qmp

    def process(self):
        return self.rig.device

    def ask(self, command, **arguments):
        """Makes a request and returns its id."""
        return self.retry(lambda: self.qmp().execute(command, **arguments))["id"]

    def ended(self, ident, *statuses):
        data = self.qmp().wait_event("X_HOST_REQUEST_END", self.rig.timeout, lambda data: data["id"] == ident)
        check(data and data["status"] in statuses, f"request {ident}: {data}")
        self.ends[data["status"]] = self.ends.get(data["status"], 0) + 1

    def unused(self):
        window = {}
        if self.rng.random() < 0.5:
            window = {"first-pfn": self.below(1 << 20), "nr-pages": 1 + self.below(1 << 18)}
        self.ended(self.ask("x-get-unused-pages", file=self.file, **window), "done")

    def drop(self):
        mode, limit = self.rng.choice(("page", "slab", "all")), self.rng.choice((0, 1, 64 << 10, 1 << 30))
        # there may be no way to free only some of the slabs
        also = ("unsupported",) if mode == "slab" and limit else ()
        self.ended(self.ask("x-drop-cache", mode=mode, limit=limit), "done", *also)

    def cancel(self):
        ident = self.ask(self.rng.choice(("x-get-unused-pages", "x-drop-cache")))
        try:
            self.qmp().execute("x-cancel", id=ident)
        except QmpError:
            pass  # it has ended
        self.ended(ident, "done", "cancelled")

    def reconnect(self):
        guest = self.rig.guest
        name = guest.sh(f"basename {PLATFORM}/virtio-uml.*").strip()
        guest.write(f"{PLATFORM}/unbind", name, self.rig.timeout)
        guest.write(f"{PLATFORM}/bind", name, self.rig.timeout)

    def clean(self):
        self.rig.clean()
        now = self.rig.device.counters()
        faults = {name: count for name, count in now["faults"].items() if count}
        check(not faults and not now["discard_errors"], f"the device counts {faults}, {now['discard_errors']}")

    def end(self):
        self.rig.guest.rmmod(self.driver.name, self.rig.timeout)
        now = self.rig.device.counters()
        print(f"{self.name}: requests: {self.ends}; messages: {now['messages']}; pages: {now['pages_inflated']} in, "
              f"{now['pages_deflated']} out; front-ends: {now['front_ends']}")
        super().end()
        self.rig.finish()


class QemuRig(test_migration.Rig):
    timeout, slack = 300, SLACK_LEN
    mem_len, inflate_len = test_migration.MEM_MIB * MIB, test_migration.MEM_MIB * MIB // 3

    def target(self, target_len):
        resize(self.guest.qmp, self.guest, target_len, self.timeout)


class QemuSoak(Soak):
    """QEMU's device, and a guest of Debian's kernel with a churn in it, which migrates."""

    name = "qemu"
    GROWTH = 16 * MIB  # for what QEMU knows of the code that it has translated
    CHURN_MIB, CHURN_MIB_PER_S = 64, 16

    def __init__(self, options, log, seed, folder):
        rig = QemuRig(Kernel(), options, log)
        super().__init__(rig, seed, folder, "cancelled", "failed")
        self.driver = rig.kernel.ours
        self.steps |= {"migrate": 0, "reboot": 0}
        self.arrivals = []
        self.left_out = self.sent = self.nr_checked = 0
        # of code that was translated there soon is as much as there may be
        rig.start(append=("init_on_alloc=1", "nokaslr"), accel="tcg,thread=multi,tb-size=32")
        rig.machine["accel"] = "tcg,thread=multi,tb-size=32"
        rig.guest.rmmod(self.driver.name, rig.timeout)
        self.new_life()
        self.begin()

    def new_life(self):
        """A process that is another, or has other code of its guest to translate, has another size."""
        self.lives.append([])
        self.age, self.life = 0, self.rng.choice((1, 3, 10, 40))

    def qmp(self):
        return self.rig.guest.qmp

    def process(self):
        return self.rig.guest

    def step(self):
        if self.age < self.life:
            super().step()
        else:
            self.do(self.rng.choice(("migrate", "migrate", "migrate", "reboot")))
            self.new_life()

    def drop(self):
        what = 1 + self.below(3)
        self.retry(lambda: self.rig.guest.balloon_property("drop-cache", what))

    def under_way(self):
        """Begins to migrate; and what else the guest may do meanwhile."""
        meanwhile = self.rng.choice((None, "balloon", "reload", "rebind", "use"))
        self.last.append(f"meanwhile {meanwhile}")
        if meanwhile in (None, "balloon"):
            self.rig.begin(bandwidth=self.rng.choice((test_migration.LIMITED, test_migration.UNLIMITED)))
            if meanwhile:
                self.qmp().execute("balloon", value=self.some_size())
        else:
            # so slow that it cannot come to its end before the guest does
            self.rig.begin(bandwidth=MIB)
            getattr(self, meanwhile)()

    def migrate(self):
        self.under_way()
        trace = self.rig.guest.trace.path
        info = self.rig.finish()
        os.unlink(trace)
        self.left_out += info["left-out"]
        self.sent += info["ram"]["transferred"]
        self.arrivals.append(self.process().own_len())

    def cancelled(self):
        """A migration that is cancelled, unless it is faster."""
        self.rig.begin(bandwidth=10 * MIB)
        time.sleep(self.rng.random())
        self.qmp().execute("migrate_cancel")
        poll(lambda: self.rig.info()["status"] == "cancelled", self.rig.timeout, "cancel")
        self.rig.destination.kill()

    def failed(self):
        """A migration whose other side dies."""
        self.rig.begin(bandwidth=10 * MIB)
        time.sleep(self.rng.random())
        self.rig.destination.kill()
        poll(lambda: self.rig.info()["status"] == "failed", self.rig.timeout, "the failure")

    def reboot(self):
        """The reset button is pushed in the middle of it all."""
        tap.intact(self.rig.guest)
        self.rig.churning = False
        self.rig.guest.reset(self.rig.timeout)
        self.rig.guest.hold(test_migration.HOLD_MIB)
        self.rig.guest.run(f"fill {test_migration.MEM_MIB // 2}", self.rig.timeout)
        self.load()
        self.go_on()

    def go_on(self):
        self.rig.start_zram(self.CHURN_MIB)
        self.rig.guest.churn(self.CHURN_MIB, self.CHURN_MIB_PER_S, test_migration.ZRAM)
        self.rig.churning = True

    def rest(self):
        self.rig.churning = False
        result = self.rig.guest.settle()
        self.nr_checked += result["checked"]
        if result["bad"]:
            raise tap.Lost(f"{result['bad']} pages of the churn are wrong: {result['first']}")
        for module in reversed(self.rig.zram):
            self.rig.guest.rmmod(module.stem, self.rig.timeout)

    def clean(self):
        reports = self.rig.guest.reports()
        check(not reports, f"{len(reports)} reports, the first:\n{reports[0] if reports else ''}")
        faults = self.rig.counter("faults").keys() - {"REQ_STALE"}
        check(not faults, f"the device counts {faults}")

    def end(self):
        print(f"{self.name}: {self.sent >> 20} MiB sent, {self.left_out >> 20} left out, {self.nr_checked} pages of the "
              f"churn checked; as they arrive devices have {[length >> 10 for length in self.arrivals]} KiB")
        super().end()
        self.rig.guest.poweroff()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--vbb", required=True, type=pathlib.Path, metavar="PROGRAM", help="the tool that was built")
    parser.add_argument("--qemu", metavar="PROGRAM", help="else the one that scripts/lib/qemu builds")
    parser.add_argument("--only", choices=("device", "qemu"), help="one of the two devices")
    parser.add_argument("--minutes", type=float, default=60, metavar="N")
    parser.add_argument("--seed", type=int, metavar="N", help="else one by chance; it is printed")
    parser.add_argument("--flavour", choices=("release", "debug"), default="release", help="User Mode Linux")
    parser.add_argument("--log", type=pathlib.Path, metavar="FILE", help="what guests and devices say")
    options = parser.parse_args()
    seed = random.SystemRandom().randrange(1 << 32) if options.seed is None else options.seed
    print(f"seed {seed}", flush=True)
    kinds = [kind for kind in (DeviceSoak, QemuSoak) if options.only in (None, kind.name)]
    if QemuSoak in kinds:
        options.qemu = options.qemu or script("qemu")
    soaks = []
    with tempfile.TemporaryDirectory(prefix="vbb-soak-") as folder:
        try:
            for kind in kinds:
                log = options.log or pathlib.Path(folder, "log")
                soaks.append(kind(options, log.with_suffix(f".{kind.name}"), seed, folder))
            end = time.monotonic() + options.minutes * 60
            while time.monotonic() < end:
                for soak in soaks:
                    soak.turn()
            for soak in soaks:
                soak.end()
        except (tap.Failure, HarnessError) as failure:
            print(f"FAIL: {failure}")
            for soak in soaks:
                print(f"{soak.name}: the last steps: {', '.join(soak.last)}")
            return 1
        finally:
            for soak in soaks:
                soak.rig.close()
    print("ok")
    return 0


if __name__ == "__main__":
    sys.exit(main())
