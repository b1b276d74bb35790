# SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause
"""The main job, measured: a real Linux guest gives memory back, by the stock driver and by ours.

Every run boots a guest of its own, lets it inflate and deflate its balloon, and checks that the host's memory went
down and that the guest's data is intact. Runs alternate between the combinations, so that a machine that gets slower
or faster meanwhile hurts all of them alike. scripts/demo builds what this needs and calls it.
"""

import argparse
import ctypes
import json
import math
import mmap
import os
import pathlib
import statistics
import sys
import time

import demo_requests
from demo_common import bars, machine, poweroff, say, size, spread
from harness import HarnessError, MIB, PAGE_LEN
from umlguest import Device, Guest, memory_dir

HELD_MIB = 300
PLAIN_S = 230  # a plain demo begins no round that would end later than this; the requests take most of a minute
PLAIN_REPS = 5
GUEST = "User Mode Linux: one CPU, no VM exits"
PIN_STEP = 16  # fragmented: one page of so many is pinned

# (driver, device, format): who is compared
BASELINE = ("stock", "page-by-page", "pfns")
OURS = ("vbb", "merging", "auto")
PAIRS = (BASELINE, ("stock", "merging", "pfns"), ("vbb", "merging", "bitmap"), ("vbb", "merging", "records"), OURS)
MEMORY = ("touched", "untouched", "fragmented")

FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE = 1, 2


def floor_ms(nr_bytes):
    """One fallocate that drops so much populated and mapped memory: what no guest can beat where all was touched."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.fallocate.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64]
    fd = os.open(memory_dir(nr_bytes), os.O_TMPFILE | os.O_RDWR)
    try:
        os.ftruncate(fd, nr_bytes)
        with mmap.mmap(fd, nr_bytes, flags=mmap.MAP_SHARED | mmap.MAP_POPULATE) as memory:
            for offset in range(0, nr_bytes, PAGE_LEN):
                memory[offset] = 1
            begin = time.monotonic()
            if libc.fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, nr_bytes):
                raise OSError(ctypes.get_errno(), "fallocate")
            return (time.monotonic() - begin) * 1e3
    finally:
        os.close(fd)


class Bench:
    """What the runs have in common."""

    def __init__(self, args):
        self.args = args
        self.ram_len = args.guest_mem
        self.inflate_len = args.inflate

    def driver(self, guest, driver, fmt):
        if driver == "stock":
            guest.insmod(self.args.stock_module)
        else:
            guest.insmod(self.args.module, f"format={fmt}")

    def resize(self, device, guest, target):
        """Lets the guest reach the target; returns what that took."""
        cpu = guest.cpu_seconds(), device.cpu_seconds()
        before = device.counters()
        device.qmp.events.clear()
        device.qmp.execute("balloon", value=target)
        if device.qmp.wait_event("BALLOON_CHANGE", self.args.timeout, lambda data: data["actual"] == target) is None:
            raise HarnessError(f"the guest stopped at {device.actual_len()} bytes on its way to {target}")
        after = device.counters()
        return {"ms": after["last_balloon_ns"] / 1e6,
                "guest_cpu_ms": (guest.cpu_seconds() - cpu[0]) * 1e3,
                "device_cpu_ms": (device.cpu_seconds() - cpu[1]) * 1e3,
                "kicks": after["kicks"] - before["kicks"],
                "ring_bytes": after["bytes"] - before["bytes"],
                "discard_calls": after["discard_calls"] - before["discard_calls"]}

    def run(self, pair, memory, init_on_alloc):
        """One guest from boot to shutdown."""
        driver, kind, fmt = pair
        options = ["--ram", str(self.ram_len)] + (["--page-by-page"] if kind == "page-by-page" else [])
        with Device(self.args.vbb, options) as device, \
                Guest(self.args.uml, self.args.initrd, mem_mib=self.ram_len // MIB, devices=[device.socket],
                      append=[f"init_on_alloc={init_on_alloc}"]) as guest:
            guest.hold(HELD_MIB)
            if memory == "touched":
                guest.fill()
            elif memory == "fragmented":
                guest.fragment(PIN_STEP)
            self.driver(guest, driver, fmt)
            host_before = guest.host_len()
            inflate = self.resize(device, guest, self.ram_len - self.inflate_len)
            host_after = guest.host_len()
            bad = guest.verify()
            deflate = self.resize(device, guest, self.ram_len)
            bad = bad or guest.verify()
            poweroff(guest)
            device.stop()
        freed = host_before - host_after
        # Memory that was never touched was not the host's to free, and must not be taken by the inflation either.
        expected = 0 if memory == "untouched" else self.inflate_len
        if abs(freed - expected) > self.inflate_len // 100:
            raise HarnessError(f"the host's memory went down by {freed >> 10} KiB, not {expected >> 10}")
        if bad:
            raise HarnessError(f"the guest's data changed: {bad}")
        return {"inflate_ms": inflate["ms"], "deflate_ms": deflate["ms"],
                **{key: inflate[key] for key in ("guest_cpu_ms", "device_cpu_ms", "kicks", "ring_bytes",
                                                 "discard_calls")},
                "freed_kib": freed >> 10, "intact": True}


def plan(args):
    """The combinations, in the order in which a round runs them."""
    if args.full:
        return [(pair, memory, init) for init in (0, 1) for memory in MEMORY for pair in PAIRS]
    chosen = [(pair, "touched", 0) for pair in PAIRS]
    chosen += [(pair, memory, init) for memory, init in (("touched", 1), ("untouched", 0), ("fragmented", 0))
               for pair in (BASELINE, OURS)]
    return chosen


def measure(args):
    bench = Bench(args)
    runs, floors = [], []
    combinations = plan(args)
    reps = args.reps or PLAIN_REPS
    begin = time.monotonic()
    for rep in range(reps):
        now = time.monotonic() - begin
        if not args.reps and rep and now * (rep + 1) / rep > PLAIN_S:
            reps = rep
            break
        say(f"-- round {rep + 1}")
        floors.append(floor_ms(args.inflate))
        # every round begins elsewhere, so that no combination always follows the same one
        shift = rep * 4 % len(combinations)
        for pair, memory, init in combinations[shift:] + combinations[:shift]:
            result = bench.run(pair, memory, init)
            driver, device, fmt = pair
            runs.append({"driver": driver, "device": device, "format": fmt, "memory": memory, "init_on_alloc": init,
                         "rep": rep, **result})
            say(f"{time.monotonic() - begin:5.0f} s  {driver:5} {device:12} {fmt:7} {memory:10} "
                f"init_on_alloc={init}  inflate {result['inflate_ms']:7.1f} ms, deflate {result['deflate_ms']:6.1f} ms, "
                f"freed {result['freed_kib'] >> 10} MiB, data intact")
    return {"machine": machine(GUEST), "guest_mem": args.guest_mem, "inflate": args.inflate, "reps": reps,
            "runs": runs, "floor_ms": floors, "ratios": ratios(runs, floors)}


def values(runs, pair, memory, init, key):
    driver, device, fmt = pair
    return [run[key] for run in runs if (run["driver"], run["device"], run["format"]) == (driver, device, fmt)
            and run["memory"] == memory and run["init_on_alloc"] == init]


def ratios(runs, floors):
    """Medians of the baseline over medians of ours, for all that was run."""
    result = {}
    for init in (0, 1):
        for memory in MEMORY:
            for name in ("inflate", "deflate"):
                stock = values(runs, BASELINE, memory, init, f"{name}_ms")
                ours = values(runs, OURS, memory, init, f"{name}_ms")
                if stock and ours:
                    result[f"{name}_{memory}_init{init}"] = statistics.median(stock) / statistics.median(ours)
    ours = values(runs, OURS, "touched", 0, "inflate_ms")
    if ours:
        result["floor_touched"] = statistics.median(ours) / statistics.median(floors)
    return result


def table(data):
    """The table for a person: medians, and the range of the times."""
    runs = data["runs"]
    lines = [f"{'driver':6} {'device':12} {'format':7} | {'inflate ms (range)':>26} {'deflate ms (range)':>24} "
             f"{'guest':>7} {'device':>7} {'kicks':>6} {'KiB in':>8} {'discard':>7}",
             f"{'':27} | {'':26} {'':24} {'CPU ms':>7} {'CPU ms':>7} {'':>6} {'the ring':>8} {'calls':>7}"]
    for init in (0, 1):
        for memory in MEMORY:
            if not any(run["memory"] == memory and run["init_on_alloc"] == init for run in runs):
                continue
            lines.append(f"-- {memory} memory, init_on_alloc={init}")
            for pair in PAIRS:
                def column(key):
                    return values(runs, pair, memory, init, key)

                if not column("inflate_ms"):
                    continue
                medians = {key: statistics.median(column(key)) for key in
                           ("guest_cpu_ms", "device_cpu_ms", "kicks", "ring_bytes", "discard_calls")}
                lines.append(f"{pair[0]:6} {pair[1]:12} {pair[2]:7} | {spread(column('inflate_ms')):>26} "
                             f"{spread(column('deflate_ms')):>24} {medians['guest_cpu_ms']:7.1f} {medians['device_cpu_ms']:7.1f} "
                             f"{medians['kicks']:6.0f} {medians['ring_bytes'] / 1024:8.1f} {medians['discard_calls']:7.0f}")
    floors = data["floor_ms"]
    lines.append(f"floor: one fallocate of as much mapped memory, no guest: {spread(floors)} ms")
    for key, ratio in data["ratios"].items():
        if key != "floor_touched":
            lines.append(f"{key.replace('_', ', ')}: ours is {ratio:.1f} times as fast as the stock driver with a "
                         "page-by-page device")
    if "floor_touched" in data["ratios"]:
        lines.append(f"inflate, touched: {data['ratios']['floor_touched']:.2f} times the floor")
    lines.append(f"{data['reps']} repetitions a line, alternating; {data['inflate'] // MIB} of {data['guest_mem'] // MIB} MiB; "
                 f"{data['machine']['cpu']}, {data['machine']['cpus']} CPUs")
    lines.append("The guest is User Mode Linux: one CPU and no VM exits, so a kick costs less here than on hardware.")
    return "\n".join(lines)


def plot(data, path):
    """Inflation times as bars, one group a combination of memory and init_on_alloc."""
    groups = []
    for init in (0, 1):
        for memory in MEMORY:
            columns = [values(data["runs"], pair, memory, init, "inflate_ms") for pair in PAIRS]
            if columns[-1]:
                groups.append((f"{memory}\ninit_on_alloc={init}",
                               [statistics.median(column) if column else math.nan for column in columns]))
    bars(path, "1000,560", [" ".join(pair) for pair in PAIRS], groups, [
        "set logscale y", 'set ylabel "milliseconds to inflate, median (log scale)"',
        f'set title "{data["inflate"] // MIB} of {data["guest_mem"] // MIB} MiB, User Mode Linux"'])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--full", action="store_true", help="every combination, and 5 repetitions")
    parser.add_argument("--guest-mem", type=size, default=4 << 30, metavar="SIZE", help="the guest's RAM (4G)")
    parser.add_argument("--inflate", type=size, default=3 << 30, metavar="SIZE", help="how much of it is asked for (3G)")
    parser.add_argument("--reps", type=int, metavar="N", help="repetitions (as many as fit into four minutes, at most 5; with --full 5)")
    parser.add_argument("--only", choices=("balloon", "requests"), help="one part of it: inflation and deflation, or unused pages")
    parser.add_argument("--json", type=pathlib.Path, metavar="FILE", help="all figures")
    parser.add_argument("--plot", type=pathlib.Path, metavar="FILE.svg", help="a picture, and others beside it")
    parser.add_argument("--timeout", type=int, default=120, help=argparse.SUPPRESS)
    for name in ("vbb", "uml", "initrd", "module", "stock-module"):
        parser.add_argument(f"--{name}", required=True, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.full and args.reps is None:
        args.reps = 5
    if args.inflate % MIB or args.guest_mem % MIB or (args.reps is not None and args.reps < 1) or \
            args.inflate + (HELD_MIB + 256) * MIB > args.guest_mem * 15 // 16:
        parser.error("sizes are whole MiB, and what is asked for must leave the guest room")
    try:
        data = {"machine": machine(GUEST)} if args.only == "requests" else measure(args)
        if args.only != "balloon":
            data["requests"], data["requests_held"] = demo_requests.measure(args)
    except HarnessError as error:
        say(f"demo: {error}")
        return 1
    if "runs" in data:
        print(table(data))
    if "requests" in data:
        print(demo_requests.table(data["requests"], data["requests_held"]))
    if args.json:
        args.json.write_text(json.dumps(data, indent=1) + "\n")
    if args.plot and "runs" in data:
        plot(data, args.plot)
    if args.plot and "requests" in data:
        demo_requests.plot(data["requests"], args.plot)
    return 0


if __name__ == "__main__":
    sys.exit(main())
