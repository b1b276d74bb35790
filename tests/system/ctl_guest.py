# SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause
"""A person at a shell and a real guest between them: vbb ctl, vbb device and our driver, part of test_guest.py."""

import os
import pathlib
import re
import subprocess
import tempfile

from harness import MIB, PAGE_LEN
from tap import check

KEPT_MIB = 8


def ctl(rig, *args):
    """vbb ctl: its exit status and what it prints."""
    path = os.path.join(os.path.dirname(rig.device.socket), "qmp")
    done = subprocess.run([rig.options.vbb, "ctl", "--qmp", path, "--timeout-ms", str(1000 * rig.timeout), *map(str, args)],
                          capture_output=True, text=True, timeout=rig.timeout + 30, check=False)
    check(done.returncode == 0, f"vbb ctl {args}: {done.returncode}, {done.stderr}")
    return done.stdout


def pages(path):
    """What a file of lines names: the pages, and the memory that there is."""
    named, ram = set(), set()
    for line in pathlib.Path(path).read_text(encoding="ascii").splitlines():
        to = ram if line.startswith("# ram ") else named
        pfn, count = line.removeprefix("# ram ").split()
        to.update(range(int(pfn, 16), int(pfn, 16) + int(count)))
    return named, ram


def unused(rig, folder):
    """What is named is free by the guest's own count, and is nothing that a program writes to."""
    path = os.path.join(folder, "runs")
    rig.guest.keep(KEPT_MIB)
    kept = {page for pfn, count in rig.guest.kept() for page in range(pfn, pfn + count)}
    nr_free = int(re.search(r"nr_free_pages (\d+)", rig.guest.cat("/proc/vmstat"))[1])
    said = ctl(rig, "unused-pages", "-o", path)
    named, ram = pages(path)
    check(len(kept) == KEPT_MIB * MIB // PAGE_LEN and kept <= ram, f"{len(kept)} pages are kept")
    check(not named & kept, f"{len(named & kept)} pages are named that a program writes to")
    check(named <= ram, f"{len(named - ram)} pages are named that are no memory")
    check(abs(len(named) - nr_free) < nr_free * 0.03, f"{len(named)} pages are named, {nr_free} are free")
    check(f"  {len(named)} pages, " in said, said)
    picture = subprocess.run([rig.options.vbb, "map", "--ascii", path], capture_output=True, text=True, check=True, timeout=60)
    check(f"\n{len(named)} of {len(ram)} pages of 4 KiB\n" in picture.stdout, picture.stdout)
    rig.guest.unkeep()
    # the kept pages are free again, and so are named
    ctl(rig, "unused-pages", "-o", path, "--first", min(kept), "--pages", max(kept) + 1 - min(kept))
    named, _ = pages(path)
    check(named and min(named) >= min(kept) and max(named) <= max(kept), "pages out of the window")
    check(len(named & kept) > len(kept) // 2, f"only {len(named & kept)} of {len(kept)} pages are named when they are free")


def person(rig, driver):
    """All that a person does with a healthy guest."""
    rig.start_device()
    rig.start_guest()
    rig.guest.hold(mib=32)
    rig.load(driver)
    with tempfile.TemporaryDirectory(prefix="vbb-ctl-") as folder:
        unused(rig, folder)
    check(re.search(r"^request \d+, drop-cache: done\n  \d+ pages freed, ", ctl(rig, "drop-cache", "--mode", "page")), "no cache")
    check("get-unused-pages" not in ctl(rig, "requests"), "the newest request is not the last one")
    want = rig.mem_len - rig.inflate_len
    check(f"{want} bytes" in ctl(rig, "balloon", want, "--wait"), "the balloon is not what it shall be")
    ctl(rig, "balloon", rig.mem_len, "--wait")
    check("stat-total-memory" in ctl(rig, "stats"), "no statistics")
    rig.intact()
    rig.unload()
    rig.finish()


def cases(ours):
    """As in test_guest.py."""
    yield "ours, vbb ctl", person, (ours,), {}
