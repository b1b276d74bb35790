# SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause
"""Tests of real drivers against `vbb device` with every feature on, part of test_guest.py."""

import os
import pathlib
import re
import tempfile
import time

import capture_guest
from harness import MIB, PAGE_LEN
from tap import check, poll

EVERYTHING = ("--must-tell-host", "--deflate-on-oom", "--free-page-hint", "--page-poison",
              "--free-page-reporting")
BALLOON = "/machine/peripheral/balloon0"


def runs(path):
    """What a file of runs names: (first pfn, count)."""
    lines = pathlib.Path(path).read_text(encoding="ascii").splitlines()
    return [(int(pfn, 16), int(count)) for pfn, count in (
        line.split() for line in lines if not line.startswith("#"))]


def begin(rig, driver, *options, append=("init_on_alloc=0",)):
    rig.start_device(*(options or EVERYTHING))
    rig.start_guest(append=append)
    rig.guest.hold(mib=32)
    rig.load(driver)
    return rig.device.qmp


def settle(rig):
    rig.intact()
    rig.unload()
    rig.intact()
    rig.finish()


def stats(rig, qmp):
    """The device asks once a second, and knows what the guest knows."""
    def get():
        return qmp.execute("qom-get", path=BALLOON, property="guest-stats")

    qmp.execute("qom-set", path=BALLOON, property="guest-stats-polling-interval", value=1)
    before = rig.device.counters()["stats"]
    poll(lambda: rig.device.counters()["stats"] > before + 1, 30, "statistics come")
    got = get()["stats"]
    total, = re.findall(r"MemTotal: *(\d+) kB", rig.guest.cat("/proc/meminfo"))
    check(got["stat-total-memory"] == int(total) << 10, f"{total} kB in all, not {got}")
    qmp.execute("qom-set", path=BALLOON, property="guest-stats-polling-interval", value=0)


def reclaims(rig):
    """How often something in the guest had to wait for memory."""
    return sum(map(int, re.findall(r"allocstall\w* (\d+)", rig.guest.cat("/proc/vmstat"))))


def hint(rig, qmp):
    """A round names most of the free memory, which is the guest's again afterwards."""
    free, before = rig.settled_free_len(), reclaims(rig)
    with tempfile.TemporaryDirectory(prefix="vbb-hints-") as folder:
        path = os.path.join(folder, "runs")
        number = qmp.execute("x-free-page-hint", action="start", file=path,
                             **{"timeout-ms": 1000 * rig.timeout})["id"]
        data = qmp.wait_event("X_FREE_PAGE_HINT_END", rig.timeout)
        check(data and data["id"] == number and data["status"] == "complete", f"{data}")
        named = {page for pfn, count in runs(path) for page in range(pfn, pfn + count)}
    check(len(named) == data["pages"], f"{len(named)} pages in the file, not {data}")
    check(len(named) * PAGE_LEN > free // 2, f"{len(named)} pages were hinted, {free} bytes free")
    # The little that is left can be too little: then the guest takes it all back.
    poll(lambda: abs(rig.guest.free_len() - free + len(named) * PAGE_LEN) < rig.slack
         or reclaims(rig) > before, 20, "what was hinted is kept")
    rig.intact()
    qmp.execute("x-free-page-hint", action="done")
    rig.expect_free(free, "after DONE")


def report(rig):
    """What was used and is free again goes back to the host by itself."""
    before = rig.device.counters()["pages_reported"]
    rig.guest.fill()
    free = rig.guest.free_len()
    poll(lambda: (rig.device.counters()["pages_reported"] - before) * PAGE_LEN > free // 2,
         rig.timeout, "free pages are reported")
    poll(lambda: rig.guest.host_len() < rig.mem_len - free // 2, rig.timeout,
         "the host has memory back")
    rig.intact()


def unused(rig, qmp):
    """Ours alone: the answer is what the guest's kernel counts as free, but for per-CPU lists."""
    free = rig.settled_free_len()
    qmp.execute("x-get-unused-pages", **{"timeout-ms": 1000 * rig.timeout})
    data = qmp.wait_event("X_HOST_REQUEST_END", rig.timeout)
    check(data and data["status"] == "done", f"{data}")
    # What is being reported is nobody's for a moment.
    check(data["pages"] * PAGE_LEN > free // 10 * 9, f"{free} bytes are free, but {data}")
    qmp.execute("x-drop-cache", mode="page", **{"timeout-ms": 1000 * rig.timeout})
    data = qmp.wait_event("X_HOST_REQUEST_END", rig.timeout)
    check(data and data["status"] == "done", f"{data}")


def everything(rig, driver):
    """All features at once, in one guest; twice, as the module is loaded anew; and all of it in a capture."""
    with capture_guest.folder() as path:
        counters = use_everything(rig, driver, path)
        capture_guest.agree(rig.options.vbb, path, counters)


def use_everything(rig, driver, capture):
    """Returns the device's counters at the end."""
    qmp = begin(rig, driver, *EVERYTHING, "--capture", capture)
    for again in (True, False):
        stats(rig, qmp)
        hint(rig, qmp)
        report(rig)
        rig.target(rig.mem_len - rig.inflate_len)
        rig.intact()
        stats(rig, qmp)
        rig.deflate()
        if driver.name == "virtio_balloon_bmap":
            unused(rig, qmp)
        if again:
            rig.unload()
            rig.load(driver)
    rig.intact()
    rig.unload()
    rig.intact()
    counters = rig.device.counters()
    rig.finish()
    return counters


def oom(rig, driver):
    """A guest that has too little memory takes it from the balloon, and the device hears of it."""
    qmp = begin(rig, driver, "--deflate-on-oom")
    left = 160 * MIB
    rig.target(rig.mem_len - rig.guest.free_len() // MIB * MIB + left)
    inflated = rig.mem_len - rig.device.actual_len()
    qmp.events.clear()
    check(not rig.guest.use(300, timeout=rig.timeout), "the kernel killed a process")
    poll(lambda: inflated - (rig.mem_len - rig.device.actual_len()) > 100 * MIB, 20,
         "the device knows of the balloon's size")
    check(qmp.wait_event("BALLOON_CHANGE", 5), "no event")
    rig.target(rig.mem_len)
    settle(rig)


def poison(rig, driver):
    """What a guest has filled with a pattern is not discarded when it is reported."""
    begin(rig, driver, "--page-poison", "--free-page-reporting", append=("page_poison=1",))
    rig.guest.fill()
    poll(lambda: rig.device.counters()["pages_reported"] > 1000, rig.timeout, "pages are reported")
    time.sleep(1)
    counters = rig.device.counters()
    check(not counters["pages_discarded"], f"{counters['pages_discarded']} pages were discarded")
    settle(rig)


def cases(flavour):
    """As in test_guest.py."""
    for driver in (flavour.stock, flavour.ours):
        yield f"{driver.label}, everything", everything, (driver,), {}
        yield f"{driver.label}, vbb device, oom", oom, (driver,), {}
        if flavour.name == "debug":
            yield f"{driver.label}, vbb device, poison", poison, (driver,), {}
