# SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause
"""What the host can ask a real guest: the pages that it does not use, how fast, and how true.

Guests that are idle, fragmented and full, and idle ones of up to 64 GiB; next to nothing of their memory is touched. Every
answer is compared with what the guest's allocator counts; and pages that a program in the guest holds and writes all
the time must never be named.
"""

import contextlib
import os
import pathlib
import statistics
import subprocess
import tempfile
import time

from demo_common import gnuplot, mem_available, poweroff, say, spread, verdict
from harness import HarnessError, MIB
from umlguest import Device, Guest, memory_dir, own_time

GIB = 1 << 30
MEM = 8 * GIB
CURVE = [n * GIB for n in (1, 2, 4, 8, 16, 32, 64)]
REPS = 5
# On a busy machine the figures are those of the host, that lets the guest wait for a CPU. So guest and device come first
# while they are at it, where root may say so; and of more requests than wanted those count that waited least.
CALM_MS = 0.05  # a request that waited no longer is as good as any
TRIES = 4 * REPS
# How long a lock is held is asked for window by window: in so short a time the host mostly leaves the guest its CPU.
WINDOWS = 64
LOCK_US_MAX = 200
PIN_STEP = 44  # one page of so many pinned: 8 GiB fall into some 250,000 blocks
KEPT_MIB = 16
CASES = ("idle", "fragmented", "full")

# What is to be reached by the median: case, key, at most, unit
TARGETS = (("idle", "guest_ms", 2, "ms in the guest"), ("idle", "total_ms", 5, "ms until the host has all of it"),
           ("idle", "bytes", 16 << 10, "bytes on the wire"),
           ("fragmented", "lock_us_max", LOCK_US_MAX, "us, the longest that a lock was held"))
NAMED_LEAST = 0.97  # of NR_FREE_PAGES, idle


def has_room(what, need_len):
    """Says SKIP where the machine has not so much memory."""
    if mem_available() >= need_len + GIB:
        return True
    say(f"SKIP {what}: needs {need_len // MIB} MiB and one GiB to spare, {mem_available() // MIB} MiB are available")
    return False


def touched_len(mem_len, init_on_alloc, cases):
    """How much of a guest's memory the host has to give: little more than what describes its pages, unless all is taken
    and the guest clears what it takes."""
    return mem_len if init_on_alloc and cases != ("idle",) else mem_len // 24 + 192 * MIB


def waited_ms(*children):
    """How long processes have waited for a CPU of this machine, in all."""
    return sum(int(pathlib.Path(f"/proc/{child.pid}/schedstat").read_text(encoding="ascii").split()[1]) for child in children) / 1e6


@contextlib.contextmanager
def come_first(*children):
    """Gives processes the CPU before all others for a while; only root may."""
    def schedule(policy, priority):
        try:
            for child in children:
                os.sched_setscheduler(child.pid, policy | os.SCHED_RESET_ON_FORK, os.sched_param(priority))
        except PermissionError:
            pass
    schedule(os.SCHED_FIFO, 1)
    try:
        yield
    finally:
        schedule(os.SCHED_OTHER, 0)


def number(text, name):
    """A line 'NAME NUMBER'."""
    for line in text.splitlines():
        if line.startswith(name + " "):
            return int(line.split()[1])
    raise HarnessError(f"the guest does not tell {name}")


def free_blocks(guest):
    """Blocks on the allocator's lists."""
    return sum(sum(map(int, line.split()[4:])) for line in guest.cat("/proc/buddyinfo").splitlines())


def read_runs(path):
    """What the device wrote: (pfn, count), as the guest named them."""
    with open(path, encoding="ascii") as file:
        return [(int(pfn, 16), int(count)) for pfn, count in (line.split() for line in file if not line.startswith("#"))]


def in_common(runs, others):
    """Pages in both of two lists of runs."""
    runs, others = sorted(runs), sorted(others)
    both = at = 0
    for pfn, count in runs:
        while at < len(others) and sum(others[at]) <= pfn:
            at += 1
        look = at
        while look < len(others) and others[look][0] < pfn + count:
            both += min(pfn + count, sum(others[look])) - max(pfn, others[look][0])
            look += 1
    return both


class Asked:
    """A guest, its device, and where the answers go."""

    def __init__(self, args, begin, mem_len, init_on_alloc, touched):
        self.seconds = lambda: time.monotonic() - begin
        self.args, self.mem_len, self.init = args, mem_len, init_on_alloc
        self.folder = tempfile.TemporaryDirectory(prefix="vbb-demo-", dir=memory_dir(MIB))
        self.path = os.path.join(self.folder.name, "runs")
        self.device = Device(args.vbb, ["--ram", str(mem_len)])
        try:
            self.guest = Guest(args.uml, args.initrd, mem_mib=mem_len // MIB, devices=[self.device.socket],
                               append=[f"init_on_alloc={init_on_alloc}"], touched_mib=touched // MIB)
            self.guest.insmod(args.module)
            self.counters = "/sys/kernel/debug/virtio_balloon_bmap/" + \
                self.guest.sh("ls /sys/kernel/debug/virtio_balloon_bmap").strip()
        except BaseException:
            self.end()
            raise

    def request(self, first=0, nr_pages=0):
        """The unused pages of a window, or of all memory: what the device says of it."""
        with come_first(self.guest, self.device):
            asked = self.device.qmp.execute("x-get-unused-pages", file=self.path, **{
                "first-pfn": first, "nr-pages": nr_pages, "timeout-ms": 60000})
            data = self.device.qmp.wait_event("X_HOST_REQUEST_END", 70, lambda data: data["id"] == asked["id"])
        if data is None or data["status"] != "done":
            raise HarnessError(f"unused pages: {data and data['status']}")
        return data

    def ask(self):
        """One request for all: what the device and the guest's counters say of it."""
        nr_free = number(self.guest.cat("/proc/vmstat"), "nr_free_pages")
        waited = waited_ms(self.guest, self.device)
        data = self.request()
        waited = waited_ms(self.guest, self.device) - waited
        counters = self.guest.cat(self.counters)
        return {"guest_ms": number(counters, "walk_last_ns") / 1e6, "total_ms": data["total-ms"],
                "pages": data["pages"], "runs": data["runs"], "bytes": data["bytes"], "nr_free_pages": nr_free,
                "host_wait_ms": waited}

    def locks(self):
        """The longest lock of walks over all memory, how many were counted, and how many not: the host's time is in them."""
        nr_pages = self.mem_len // 4096 // WINDOWS
        locks, nr_not = [], 0
        for first in REPS * list(range(0, self.mem_len // 4096, nr_pages)):
            lock_us, nr = own_time(self.guest, LOCK_US_MAX, lambda: self.request(first, nr_pages),
                                   lambda: number(self.guest.cat(self.counters), "walk_last_lock_ns_max") / 1e3)
            nr_not += nr
            locks += [] if lock_us is None else [lock_us]
        if not locks:
            raise HarnessError("the host leaves the guest no time")
        return {"lock_us_max": max(locks), "lock_walks": len(locks), "lock_walks_not_counted": nr_not}

    def measure(self, case):
        """REPS requests; those that the host kept from their CPUs are tried again, up to a limit."""
        blocks, locks = free_blocks(self.guest), self.locks()
        tried = []
        while len(tried) < TRIES and sum(run["host_wait_ms"] < CALM_MS for run in tried) < REPS:
            tried.append(self.ask())
        tried.sort(key=lambda run: run["host_wait_ms"])
        runs = [{"case": case, "guest_mem": self.mem_len, "init_on_alloc": self.init, "rep": rep, "free_blocks": blocks,
                 "tries": len(tried), **run, **locks} for rep, run in enumerate(tried[:REPS])]

        def median(key):
            return statistics.median(run[key] for run in runs)
        say(f"{self.seconds():5.0f} s  {case:10} {self.mem_len // GIB:3} GiB init_on_alloc={self.init}  {median('guest_ms'):.2f} ms in the "
            f"guest, {median('total_ms'):.2f} ms in all, {runs[0]['pages']} pages in {runs[0]['runs']} runs")
        return runs

    def keep_writing(self, case, nr_requests):
        """A program holds memory and writes to it, without end: none of its pages may be named."""
        self.guest.keep(KEPT_MIB)
        kept = self.guest.kept()
        nr_named = wrong = 0
        for _ in range(nr_requests):
            nr_named += self.ask()["pages"]
            wrong += in_common(read_runs(self.path), kept)
        if self.guest.kept() != kept:
            raise HarnessError("the held pages moved")
        self.guest.unkeep()
        if wrong:
            raise HarnessError(f"{wrong} pages were named that a program held")
        nr_kept = sum(count for _, count in kept)
        say(f"{self.seconds():5.0f} s  {case:10} {nr_requests} answers with {nr_named} pages: none of {nr_kept} that a program writes to")
        return {"case": case, "guest_mem": self.mem_len, "init_on_alloc": self.init, "requests": nr_requests,
                "pages_named": nr_named, "pages_held": nr_kept, "pages_named_of_held": wrong}

    def draw(self, case):
        """The last answer as a picture beside the plot."""
        path = self.args.plot.with_name(f"{self.args.plot.stem}-{case}.svg")
        subprocess.run([self.args.vbb, "map", "--svg", path, self.path], check=True)

    def finish(self):
        poweroff(self.guest)
        self.device.stop()

    def end(self):
        if hasattr(self, "guest"):
            self.guest.kill()
        self.device.kill()
        self.folder.cleanup()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.end()


def states(guest, cases):
    """Brings a guest from one case to the next."""
    for case in cases:
        if case == "fragmented":
            guest.scatter(PIN_STEP)
        elif case == "full":
            guest.unpin()
            guest.occupy()
        yield case


def measure(args):
    """All requests, and what became of held pages."""
    runs, held = [], []
    begin = time.monotonic()
    say("-- unused pages")
    plan = [(mem_len, 0, ("idle",)) for mem_len in CURVE if mem_len != MEM]
    plan += [(MEM, 0, CASES), (MEM, 1, CASES if args.full else ("idle",))]
    for mem_len, init, cases in plan:
        touched = touched_len(mem_len, init, cases)
        if not has_room(f"a guest of {mem_len // GIB} GiB, init_on_alloc={init}: {', '.join(cases)}", touched):
            continue
        with Asked(args, begin, mem_len, init, touched) as asked:
            for case in states(asked.guest, cases):
                runs += asked.measure(case)
                if mem_len == MEM:
                    if args.plot and not init:
                        asked.draw(case)
                    if case != "full":
                        held.append(asked.keep_writing(case, 100 if args.full else 20))
            asked.finish()
    return runs, held


def pick(runs, case, key, mem_len=MEM, init=0):
    return [run[key] for run in runs
            if (run["case"], run["guest_mem"], run["init_on_alloc"]) == (case, mem_len, init)]


def table(runs, held):
    """For a person: medians and ranges, against what is to be reached."""
    lines = [f"{'unused pages':12} {'GiB':>4} {'init':>4} | {'ms in the guest (range)':>24} {'ms in all (range)':>24} "
             f"{'longest lock, us':>16} {'of the free':>11} {'blocks':>8} {'runs':>7} {'KiB':>7}"]
    for case, mem_len, init in sorted({(run["case"], run["guest_mem"], run["init_on_alloc"]) for run in runs},
                                      key=lambda key: (CASES.index(key[0]), key[2], key[1])):
        def column(key):
            return pick(runs, case, key, mem_len, init)  # pylint: disable=cell-var-from-loop
        named = min(pages / free for pages, free in zip(column("pages"), column("nr_free_pages")))
        lines.append(f"{case:12} {mem_len // GIB:4} {init:4} | {spread(column('guest_ms'), 2):>24} "
                     f"{spread(column('total_ms'), 2):>24} {column('lock_us_max')[0]:16.0f} {100 * named:9.2f} % "
                     f"{column('free_blocks')[0]:8} {statistics.median(column('runs')):7.0f} "
                     f"{statistics.median(column('bytes')) / 1024:7.1f}")
    for case, key, most, what in TARGETS:
        for init in (0, 1):
            got = pick(runs, case, key, init=init)
            if got:
                lines.append(verdict(f"{case} 8 GiB, init_on_alloc={init}", statistics.median(got), most, f" {what}"))
    for init in (0, 1):
        got = [pages / free for pages, free in zip(pick(runs, "idle", "pages", init=init),
                                                   pick(runs, "idle", "nr_free_pages", init=init))]
        if got:
            lines.append(f"idle 8 GiB, init_on_alloc={init}: {100 * min(got):.2f} % of NR_FREE_PAGES named; wanted: at least "
                         f"{100 * NAMED_LEAST:.0f} %: {'reached' if min(got) >= NAMED_LEAST else 'MISSED'}")
    for entry in held:
        lines.append(f"{entry['case']}, init_on_alloc={entry['init_on_alloc']}: {entry['requests']} answers named "
                     f"{entry['pages_named']} pages; none of the {entry['pages_held']} that a program wrote to all the time")
    tries = sum({(run["case"], run["guest_mem"], run["init_on_alloc"]): run["tries"] for run in runs}.values())
    lines.append(f"These are {len(runs)} requests of {tries}, those that this machine let wait least for a CPU: at most "
                 f"{max(run['host_wait_ms'] for run in runs):.2f} ms")
    walks = {(run["case"], run["guest_mem"], run["init_on_alloc"]): (run["lock_walks"], run["lock_walks_not_counted"])
             for run in runs}.values()
    lines.append(f"The locks are those of {sum(walk[0] for walk in walks)} walks over parts of memory; {sum(walk[1] for walk in walks)} "
                 "with the host's time in them are not counted, but were made again")
    return "\n".join(lines)


def plot(runs, path):
    """What an idle guest's size costs."""
    rows = [f"{mem_len // GIB} {statistics.median(pick(runs, 'idle', 'guest_ms', mem_len)):.4f} "
            f"{statistics.median(pick(runs, 'idle', 'total_ms', mem_len)):.4f}"
            for mem_len in CURVE if pick(runs, "idle", "guest_ms", mem_len)]
    gnuplot(path.with_name(f"{path.stem}-requests.svg"), "800,480", [
        "set logscale x 2", 'set xlabel "GiB of an idle guest"', 'set ylabel "milliseconds, median"', "set yrange [0:]",
        "set key top left", "set grid", 'set title "Which pages does the guest not use?"', "$data << EOD", *rows, "EOD",
        'plot $data using 1:3 with linespoints pt 7 lw 2 lc rgb "#273357" title "until the host has the answer", '
        '$data using 1:2 with linespoints pt 7 lw 2 lc rgb "#358f98" title "in the guest"'])
