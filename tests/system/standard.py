# SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause
"""Tests of the features that the virtio specification has, part of test_guest.py.

The device is one that keeps account of what it is told. What a test asks of our driver it asks of
the stock driver too, but for what is said to be ours alone.
"""

import re
import struct
import time

import hostile
from harness import MIB, PAGE_LEN
from hostile import (F_DEFLATE_ON_OOM, F_FREE_PAGE_HINT, F_MUST_TELL_HOST, F_PAGE_POISON,
                     F_REPORTING, F_STATS_VQ)
from tap import check, poll, safe

MIB_PAGES = MIB // PAGE_LEN
STOP, DONE = 0, 1
NR_STATS = 8  # of ten, as there are no huge pages in this kernel
SWAP_IN, SWAP_OUT, MAJOR_FAULTS, MINOR_FAULTS, FREE, TOTAL, AVAILABLE, CACHES = range(NR_STATS)


class Device(hostile.HostileDevice):
    """An honest device, but for the queues in `held`, on which it does nothing until it is told to.

    It knows which pages the balloon has, where they are named in the old format, and notes in
    `faults` what a driver must not do.
    """

    def __init__(self, features):
        self.held = set()
        self.pages = set()
        self.faults = []
        self.hint_log = []  # commands as numbers, blocks as (address, length)
        self.reported_len = 0
        super().__init__((*features, hostile.F_VERSION_1, hostile.F_PAGE_BITMAP,
                          hostile.F_PAGE_RECORDS), self.serve)
        numbers = {F_STATS_VQ: "stats", F_FREE_PAGE_HINT: "hint", F_REPORTING: "report"}
        self.names = {self.queue_of(bit): name for bit, name in numbers.items() if bit in features}
        self.names |= {0: "inflate", 1: "deflate"}

    def serve(self, chain):
        name = self.names[chain.queue]
        # The statistics buffer stays until the device asks.
        if name in self.held or name == "stats":
            return
        if name in ("inflate", "deflate"):
            if not self.accepted >> hostile.F_PAGE_BITMAP & 1:
                self.account(name, chain.out)
            self.answer(chain)
        elif name == "hint":
            if chain.out:
                self.hint_log.append(struct.unpack("<I", chain.out)[0])
            self.hint_log += chain.room
            self.use(chain, length=0)
        else:
            value = 0x5a5a5a5a
            if self.accepted >> F_PAGE_POISON & 1:
                value = self.poison_val
            for gpa, length in chain.room:
                # The content is lost, at both ends as well as between them.
                for at in (0, length - PAGE_LEN):
                    self.write_gpa(gpa + at, struct.pack("<I", value) * (PAGE_LEN // 4))
                self.reported_len += length
            self.use(chain, length=sum(length for _, length in chain.room))

    # VBB-DRV-14
    def account(self, name, out):
        frames = [frame for frame, in struct.iter_unpack("<I", out)]
        named = set(frames)
        wrong = named & self.pages if name == "inflate" else named - self.pages
        if wrong or len(named) != len(frames):
            self.faults.append(f"{name}: {len(wrong)} of {len(frames)} frames, {sorted(wrong)[:4]}")
        if name == "inflate":
            self.pages |= named
        else:
            self.pages -= named

    def release(self):
        """Serves what was held, and holds nothing any more."""
        with self.changed:
            self.held.clear()
            for chain in list(self.chains):
                self.serve(chain)

    def waiting(self, name):
        """The chains of a queue that the device has not used."""
        with self.changed:
            return [chain for chain in self.chains if self.names[chain.queue] == name]


def begin(rig, driver, features, append=("init_on_alloc=0",), held=()):
    device = rig.device = rig.stack.enter_context(Device(features))
    device.held |= set(held)
    rig.start_guest(append=append)
    rig.guest.hold(mib=32)
    rig.load(driver)
    return device


def reach(rig, num_pages):
    rig.device.set_target(num_pages)
    check(rig.device.wait(lambda: rig.device.actual == num_pages, rig.timeout),
          f"the balloon has {rig.device.actual} pages, not {num_pages}")


def settle(rig):
    """Ends a test in which the device had nothing to complain about."""
    rig.unload()
    safe(not rig.device.faults, f"{len(rig.device.faults)} faults, {rig.device.faults[:3]}")
    rig.intact()
    rig.finish()


def rebind(rig):
    bound = rig.driver_dir()
    rig.unbind()
    rig.expect_returned("unbound")
    rig.device.pages.clear()
    rig.guest.write(f"{bound}/bind", "virtio0")


def counters(rig):
    text = rig.guest.sh("cat /sys/kernel/debug/virtio_balloon_bmap/virtio*")
    return {name: int(value) for name, value in (line.split() for line in text.splitlines())}


def end(rig, how):
    """Ends what is going on in the middle: the device dies, or the driver goes, for good or not."""
    rig.lives()
    if how == "dies":
        rig.device.close()
        rig.gone()
        return
    if how == "rebind":
        rebind(rig)
        rig.device.release()
        reach(rig, 16 * MIB_PAGES)
        reach(rig, 0)
    settle(rig)


ENDS = ("rmmod", "rebind", "dies")


# Statistics

def statistics(chain):
    return dict(struct.iter_unpack("<HQ", chain.out))


def next_statistics(rig, **how):
    """The device asks, and gets an answer."""
    device = rig.device
    check(device.wait(lambda: device.waiting("stats"), rig.timeout), "the device has no statistics buffer")
    old, = device.waiting("stats")
    device.use(old, **{"length": 0, **how})
    check(device.wait(lambda: device.waiting("stats"), rig.timeout), "the driver does not answer")
    return statistics(device.waiting("stats")[0])


def meminfo(rig):
    text = rig.guest.cat("/proc/meminfo")
    return {name: int(kib) << 10 for name, kib in re.findall(r"(\w+): *(\d+) kB", text)}


def vmstat(rig):
    lines = rig.guest.cat("/proc/vmstat").splitlines()
    return {name: int(value) for name, value in (line.split() for line in lines)}


def stats(rig, driver):
    """Each number is what the guest says of itself, whenever it is asked."""
    begin(rig, driver, [F_STATS_VQ])
    for hold in (96, 32):
        rig.guest.hold(mib=hold)
        time.sleep(1)
        before, memory = vmstat(rig), meminfo(rig)
        got = next_statistics(rig)
        after = vmstat(rig)
        check(set(got) == set(range(NR_STATS)), f"the tags are {sorted(got)}")
        check(got[TOTAL] == memory["MemTotal"], f"{got[TOTAL]} bytes in all, not {memory}")
        for tag, name in ((FREE, "MemFree"), (AVAILABLE, "MemAvailable"), (CACHES, "Cached")):
            check(abs(got[tag] - memory[name]) < 8 * MIB, f"{name}: {got[tag]}, not {memory}")
        for tag, name, unit in ((SWAP_IN, "pswpin", PAGE_LEN), (SWAP_OUT, "pswpout", PAGE_LEN),
                                (MAJOR_FAULTS, "pgmajfault", 1), (MINOR_FAULTS, "pgfault", 1)):
            check(before[name] <= got[tag] // unit <= after[name],
                  f"{name}: {got[tag]}, not {before[name]} to {after[name]}")
    # A device that asks all the time.
    for _ in range(300):
        got = next_statistics(rig)
        check(set(got) == set(range(NR_STATS)), f"the tags are {sorted(got)}")
    reach(rig, 16 * MIB_PAGES)
    reach(rig, 0)
    rebind(rig)
    next_statistics(rig)
    settle(rig)


def stats_wrong(rig, driver):
    """The device claims to have written to the buffer, and interrupts for nothing."""
    device = begin(rig, driver, [F_STATS_VQ])
    for length in (1, 80, 0xffffffff):
        next_statistics(rig, length=length)
    for _ in range(100):
        device.interrupt(device.queue_of(F_STATS_VQ))
    time.sleep(0.2)
    check(len(device.waiting("stats")) == 1, "the driver answers without having been asked")
    next_statistics(rig)
    reach(rig, 16 * MIB_PAGES)
    device.use(device.waiting("stats")[0], head=200)
    time.sleep(0.5)
    rig.lives()
    reach(rig, 0)
    settle(rig)


def stats_end(rig, driver, how):
    begin(rig, driver, [F_STATS_VQ])
    next_statistics(rig)
    end(rig, how)


# Who gets the pages, and when

# VBB-DRV-04
def must_tell(rig, driver):
    """No page comes back before the device has said that it knows."""
    device = begin(rig, driver, [F_MUST_TELL_HOST])
    nr = 64 * MIB_PAGES
    reach(rig, nr)
    free = rig.guest.free_len()
    device.held.add("deflate")
    device.set_target(0)
    check(device.wait(lambda: device.waiting("deflate"), rig.timeout), "the driver does not deflate")
    time.sleep(1)
    check(rig.guest.free_len() < free + 2 * MIB, "pages came back before the device knew")
    rig.lives()
    device.release()
    check(device.wait(lambda: device.actual == 0, rig.timeout), "the balloon is not given back")
    rig.expect_free(free + nr * PAGE_LEN, "deflated")
    settle(rig)


# VBB-DRV-05
def unseen(rig, driver):
    """Pages that the device has not taken yet are not given back."""
    device = begin(rig, driver, [])
    nr = 64 * MIB_PAGES
    reach(rig, nr)
    device.held.add("inflate")
    device.set_target(2 * nr)
    check(device.wait(lambda: device.waiting("inflate"), rig.timeout), "the driver does not inflate")
    device.set_target(0)
    # A driver may give back what the device has taken; neither of the two does.
    device.wait(lambda: not device.pages, 2)
    rig.lives()
    device.release()
    reach(rig, 0)
    check(not device.pages, f"the device has {len(device.pages)} pages left")
    settle(rig)


# VBB-DRV-06
def must_tell_end(rig, driver, how):
    """Ours alone: the stock driver waits for such a device for ever."""
    device = begin(rig, driver, [F_MUST_TELL_HOST])
    reach(rig, 64 * MIB_PAGES)
    device.held.add("deflate")
    device.set_target(0)
    check(device.wait(lambda: device.waiting("deflate"), rig.timeout), "the driver does not deflate")
    end(rig, how)


def inflate_leaving(rig, mib):
    """Leaves the guest so much free memory, and returns the balloon's size."""
    nr = (rig.guest.free_len() // MIB - mib) * MIB_PAGES
    reach(rig, nr)
    return nr


# VBB-DRV-14, VBB-DRV-15
def oom(rig, driver, features):
    """The guest gets memory instead of a killed process, and keeps it till the host asks anew."""
    device = begin(rig, driver, [F_DEFLATE_ON_OOM, *features])
    nr = inflate_leaving(rig, 160)
    check(rig.guest.total_len() == rig.total, "what the guest can have does not count as its own")
    for _ in range(2):
        check(not rig.guest.use(300, timeout=rig.timeout), "the kernel killed a process")
        left = device.actual
        check(nr - left > 100 * MIB_PAGES, f"the balloon gave {nr - left} pages only")
        time.sleep(1)
        check(device.actual <= left, "the balloon grew again unasked")
        reach(rig, nr)
    reach(rig, 0)
    settle(rig)


def oom_silent(rig, driver):
    """Ours alone: a device that must be told, and is silent, holds the guest up for a second."""
    device = begin(rig, driver, [F_DEFLATE_ON_OOM, F_MUST_TELL_HOST])
    nr = inflate_leaving(rig, 160)
    device.held.add("deflate")
    if rig.guest.use(300, timeout=rig.timeout):
        # User Mode Linux's console may be behind where much is said at a time.
        rig.guest.wait_line("Out of memory: Killed", 0, rig.timeout)
    rig.lives()
    device.release()
    reach(rig, nr)
    reach(rig, 0)
    # That the kernel killed is what is expected here, and has been reported.
    rig.guest.console.clear()
    settle(rig)


def oom_late(rig, driver):
    """Ours alone: no page is inflated again while the device may not know that it had left.

    The queues are two, so that a device could take the second message for the first.
    """
    device = begin(rig, driver, [F_DEFLATE_ON_OOM])
    nr = inflate_leaving(rig, 160)
    device.held |= {"inflate", "deflate"}
    check(not rig.guest.use(200, timeout=rig.timeout), "the kernel killed a process")
    check(device.wait(lambda: device.waiting("deflate"), rig.timeout), "the device hears of nothing")
    taken = counters(rig)["blocks_taken"]
    device.set_target(nr)

    def inflates():
        """With only one message left that the device has not used."""
        nr = len(device.waiting("deflate"))
        with device.changed:
            device.held.remove("deflate")
            for chain in device.waiting("deflate")[:-1]:
                device.serve(chain)
            device.held.add("deflate")
        return nr == 1 and counters(rig)["blocks_taken"] > taken

    poll(inflates, rig.timeout, "the driver takes pages")
    check(not device.wait(lambda: device.waiting("inflate"), 0.5), "the device hears of them early")
    device.release()
    reach(rig, nr)
    reach(rig, 0)
    settle(rig)


def oom_end(rig, driver, how):
    """What the device was not told in time it is never told."""
    device = begin(rig, driver, [F_DEFLATE_ON_OOM])
    inflate_leaving(rig, 160)
    device.held.add("deflate")
    check(not rig.guest.use(200, timeout=rig.timeout), "the kernel killed a process")
    end(rig, how)


# What is in free pages

# VBB-DRV-16
def poison(rig, driver):
    """A kernel that relies on what is in free pages says so, or does not let them be seen."""
    word, value = {"release": ("init_on_free=1", 0),
                   "debug": ("page_poison=1", 0xaaaaaaaa)}[rig.flavour.name]
    queues = {F_REPORTING, F_FREE_PAGE_HINT}
    refused = queues if driver.name != "virtio_balloon" else {F_REPORTING}
    for append, offered, expected in (
            ("init_on_alloc=0", queues, queues),
            ("init_on_alloc=0", queues | {F_PAGE_POISON}, queues),
            (word, queues, queues - refused),
            (word, queues | {F_PAGE_POISON}, queues | {F_PAGE_POISON})):
        device = begin(rig, driver, offered, append=[append])
        accepted = {bit for bit in offered if device.accepted >> bit & 1}
        check(accepted == expected, f"{append}: offered {offered}, accepted {accepted}")
        if F_PAGE_POISON in accepted:
            check(device.poison_val == value, f"{append}: the value is {device.poison_val:#x}")
        if F_REPORTING in accepted:
            poll(lambda: device.reported_len > rig.free // 2, 30, "free pages are reported")
            rig.guest.fill()
        reach(rig, 64 * MIB_PAGES)
        reach(rig, 0)
        settle(rig)
        device.close()


# Free page hints

def hint_session(rig, hint_id):
    """One round. Returns the bytes that were hinted."""
    device = rig.device
    device.hint_log.clear()
    device.set_hint(hint_id)
    check(device.wait(lambda: device.hint_log[-1:] == [STOP], rig.timeout),
          f"the driver sent {len(device.hint_log)} buffers and no STOP")
    check(device.hint_log[0] == hint_id, f"the round began with {device.hint_log[0]}")
    blocks = device.hint_log[1:-1]
    check(all(isinstance(block, tuple) for block in blocks), "a command lies between the blocks")
    frames = sorted(blocks)
    check(all(one[0] + one[1] <= other[0] for one, other in zip(frames, frames[1:])),
          "blocks overlap")
    return sum(length for _, length in blocks)


def hint(rig, driver):
    """Free memory is named between id and STOP, and kept until DONE or until it is wanted."""
    device = begin(rig, driver, [F_FREE_PAGE_HINT])
    for hint_id in (0x80000000, 0x80000001):
        free = rig.settled_free_len()
        hinted = hint_session(rig, hint_id)
        check(hinted > free // 2, f"only {hinted // MIB} of {free // MIB} MiB were hinted")
        rig.expect_free(free - hinted, "hinted")
        rig.intact()
        device.set_hint(DONE)
        rig.expect_free(free, "after DONE")
    # The host's id stands, and nothing is sent for it twice.
    device.hint_log.clear()
    device.set_target(0)
    time.sleep(0.5)
    check(not device.hint_log, "a round began that nobody asked for")
    hinted = hint_session(rig, 0x80000002)
    check(not rig.guest.use(free // MIB // 2, timeout=rig.timeout), "the kernel killed a process")
    if driver.name == "virtio_balloon_bmap":
        now = counters(rig)
        check(now["hint_sessions"] == 3 and now["hint_pages_shrunk"] > 0, f"the driver says {now}")
    device.set_hint(DONE)
    rig.expect_free(free, "after DONE")
    settle(rig)


def hint_yields(rig, driver):
    """Ours alone: the balloon gets the memory that is kept for the host, before DONE."""
    device = begin(rig, driver, [F_FREE_PAGE_HINT])
    free = rig.settled_free_len()
    hinted = hint_session(rig, 0x80000000)
    check(hinted > free // 2, f"only {hinted // MIB} of {free // MIB} MiB were hinted")
    reach(rig, hinted // 2 // PAGE_LEN)
    now = counters(rig)
    check(now["hint_pages_shrunk"], f"the driver says {now}")
    rig.intact()
    reach(rig, 0)
    device.set_hint(DONE)
    rig.expect_free(free, "after DONE")
    settle(rig)


def hint_stopped(rig, driver):
    """Ours alone, as the stock driver allocates and frees without end while its queue is full."""
    rig.mem_len = 2048 * MIB
    device = begin(rig, driver, [F_FREE_PAGE_HINT], held=["hint"])
    device.set_hint(0x80000000)
    device.wait(lambda: len(device.waiting("hint")) >= 255, rig.timeout)
    nr = len(device.waiting("hint"))
    check(nr == 255, f"{nr} buffers are in the queue")
    rig.lives()
    device.set_hint(STOP)
    device.release()
    check(device.wait(lambda: device.hint_log[-1:] == [STOP], rig.timeout), "no STOP")
    check(device.hint_log.count(STOP) == 1 and len(device.hint_log) < nr + 10,
          f"{len(device.hint_log)} buffers")
    # Ids that come faster than anybody can follow.
    for i in range(100):
        device.set_hint((0x80000001 + i, STOP, DONE)[i % 3])
    device.set_hint(DONE)
    rig.expect_free(rig.free, "after DONE")
    hint_session(rig, 0xffffffff)
    settle(rig)


def hint_end(rig, driver, how):
    begin(rig, driver, [F_FREE_PAGE_HINT])
    hint_session(rig, 0x80000000)
    end(rig, how)


def hint_held_end(rig, driver, how):
    """Ours alone, see above."""
    device = begin(rig, driver, [F_FREE_PAGE_HINT], held=["hint"])
    device.set_hint(0x80000000)
    check(device.wait(lambda: len(device.waiting("hint")) > 20, rig.timeout), "nothing is hinted")
    end(rig, how)


# Free page reports

def report(rig, driver):
    """Free memory is reported, and what the device does to it harms nobody."""
    device = begin(rig, driver, [F_REPORTING])
    for _ in range(2):
        poll(lambda: device.reported_len > rig.free * 2 // 3, 30, "free pages are reported")
        rig.intact()
        rig.guest.fill()
        device.reported_len = 0
    reach(rig, 64 * MIB_PAGES)
    reach(rig, 0)
    settle(rig)


def report_end(rig, driver, how):
    """Ours alone, as the stock driver waits for ever: the device takes reports, and is silent."""
    device = begin(rig, driver, [F_REPORTING], held=["report"])
    check(device.wait(lambda: device.waiting("report"), 30), "nothing is reported")
    time.sleep(1)
    # The kernel brings 32 blocks at a time.
    missing = rig.free - rig.guest.free_len()
    check(missing < 130 * MIB + rig.slack, f"{missing // MIB} MiB are with the device")
    reach(rig, 16 * MIB_PAGES)
    end(rig, how)


def report_ring(rig, driver):
    """Ours alone: the ring breaks while the device has pages: nobody gets them till it is reset."""
    device = begin(rig, driver, [F_REPORTING], held=["report"])
    check(device.wait(lambda: device.waiting("report"), 30), "nothing is reported")
    device.use(device.waiting("report")[0], head=200)
    time.sleep(1)
    rig.lives()
    settle(rig)


# Pages that the kernel moves

def every_other_page(rig, nr):
    """The balloon has every other page of a part of the memory, and what lies between is free."""
    rig.guest.fragment(2)
    reach(rig, nr)
    rig.guest.unpin()


def compact(rig):
    """The kernel makes large blocks. Returns how many of the balloon's pages it has moved."""
    before = vmstat(rig)["balloon_migrate"]
    rig.guest.write("/proc/sys/vm/compact_memory", "1", timeout=rig.timeout)
    return vmstat(rig)["balloon_migrate"] - before


def compacted(rig, driver, features):
    """The kernel makes large blocks out of what a balloon has left; the device hears of all."""
    device = begin(rig, driver, features)
    nr = rig.flavour.inflate_mib * MIB_PAGES // 2
    every_other_page(rig, nr)
    moved = 0
    for _ in range(10):
        moved += compact(rig)
        time.sleep(0.1)
    check(moved > 1000, f"{moved} pages were moved")
    if driver.name == "virtio_balloon_bmap":
        # the kernel also moves some unasked
        check(counters(rig)["pages_moved"] >= moved, f"the driver says {counters(rig)}")
    rig.intact()
    reach(rig, nr // 2 + 1)
    check(len(device.pages) == nr // 2 + 1, f"the device has {len(device.pages)} pages")
    rig.guest.fill()
    rig.intact()
    reach(rig, 0)
    check(not device.pages, f"the device has {len(device.pages)} pages left")
    settle(rig)


def compacted_end(rig, driver, how):
    """Ours alone: pages are moved while the device is silent."""
    device = begin(rig, driver, [])
    every_other_page(rig, rig.flavour.inflate_mib * MIB_PAGES // 2)
    device.held |= {"inflate", "deflate"}
    check(compact(rig) > 100, "nothing was moved")
    end(rig, how)


def movable_zone(rig, driver):
    """Memory that has to stay movable is taken too, in single pages."""
    device = begin(rig, driver, [], append=["init_on_alloc=0", "movablecore=512M"])
    zones = rig.guest.cat("/proc/zoneinfo")
    check("Movable" in zones, f"there is no such zone:\n{zones}")
    nr = (rig.free // MIB - 160) * MIB_PAGES
    reach(rig, nr)
    rig.intact()
    reach(rig, 0)
    check(not device.pages, f"the device has {len(device.pages)} pages left")
    settle(rig)


def cases(flavour):
    """As in test_guest.py."""
    stock, ours = flavour.stock, flavour.ours
    pfns = flavour.formats[0]
    for driver in (stock, ours):
        label = driver.label
        for test in (stats, stats_wrong, must_tell, poison, hint, report):
            yield f"{label}, {test.__name__}", test, (driver,), {}
        for how in ENDS:
            yield f"{label}, stats, {how}", stats_end, (driver, how), {}
            yield f"{label}, hint, {how}", hint_end, (driver, how), {}
    for driver in (stock, ours, pfns):
        yield f"{driver.label}, oom", oom, (driver, []), {}
        yield f"{driver.label}, oom, must tell", oom, (driver, [F_MUST_TELL_HOST]), {}
    for driver in (ours, pfns):
        yield f"{driver.label}, oom_late", oom_late, (driver,), {}
    for driver in (stock, pfns):
        yield f"{driver.label}, unseen", unseen, (driver,), {}
    for test in (oom_silent, hint_stopped, hint_yields, report_ring):
        yield f"ours, {test.__name__}", test, (ours,), {}
    for how in ENDS:
        for test in (must_tell_end, oom_end, hint_held_end, report_end):
            yield f"ours, {test.__name__}, {how}", test, (ours, how), {}
    if flavour.name == "debug":
        for driver in (stock, pfns):
            yield f"{driver.label}, movable_zone", movable_zone, (driver,), {}
            yield f"{driver.label}, compacted", compacted, (driver, []), {}
            yield (f"{driver.label}, compacted, must tell", compacted,
                   (driver, [F_MUST_TELL_HOST]), {})
        yield "ours, movable_zone", movable_zone, (ours,), {}
        for how in ENDS:
            yield f"ours-pfns, compacted_end, {how}", compacted_end, (pfns, how), {}
