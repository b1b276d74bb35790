# SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause
"""Live migration and the balloon, measured: Debian's own kernel in QEMU, without hint, with the stock pair, and with ours.

Every run boots a guest of its own, and looks at its data afterwards: a byte that changed fails the demo. All run in the
same QEMU with the same parameters, and take turns, so that a machine that gets slower or faster meanwhile hurts all of
them alike. scripts/demo-migration builds what this needs and calls it. MiB are meant where a name says mb.
"""

import argparse
import concurrent.futures
import contextlib
import ctypes
import json
import math
import mmap
import os
import pathlib
import signal
import statistics
import sys
import tempfile
import time

from demo_common import bars, first_value, machine, mem_available, say, size, spread, verdict
from harness import HarnessError, MIB
from qemuguest import BALLOON, Guest

GIB = 1 << 30
HELD_MIB = 8
REPS = 3
ROOM_MIB = 96  # what a guest keeps when all its memory is written to

HINT = ("-object", "iothread,id=io0")
# pair: the device, its driver, more arguments
PAIRS = {"none": ("virtio-balloon-pci", "stock", ()),
         "stock": ("virtio-balloon-pci,free-page-hint=on,iothread=io0", "stock", HINT),
         "ours": ("virtio-balloon-bmap-pci", "ours", ())}
BALLOON_PAIRS = ("stock", "ours")
GUESTS = ("idle", "filled", "churn")
MADV_POPULATE_WRITE = 23
NR_CPUS = len(os.sched_getaffinity(0))
EVERY_SECOND = "every-second-page"

# At most: ratio, and what it is. Medians; init is init_on_alloc.
TARGETS = (
    ("total_idle_init{init}_of_none", 0.35, "idle: total, of that without hint"),
    ("total_filled_init{init}_of_none", 0.06, "filled, then freed: total, of that without hint"),
    ("sent_mb_filled_init{init}", 240, "filled, then freed: MiB sent"),
    ("sent_range_filled_init{init}", 0.05, "filled, then freed: range of what was sent, of its median"),
    ("total_filled_init1_of_stock", 0.08, "filled, then freed: total, of that with the stock hint"),
    ("total_churn_init{init}_of_none", 0.5, "churn: total, of that without hint"),
    ("inflate_{three}_filled_init0_of_stock", 0.05, "inflate 3 of 4 GiB filled, of the stock pair"),
    ("inflate_{three}_filled_init1_of_stock", 0.7, "inflate 3 of 4 GiB filled, of the stock pair"),
    ("inflate_{half}_every-second-page_init{init}_of_stock", 1.0, "inflate 1.5 GiB, every second page held, of the stock pair"),
)
WHERE = """\
Where bytes go: "pages" were sent with their 4 KiB, "zero pages" are a few bytes each, "left out" are MiB that the guest named as unused.
Where time goes: total = MiB sent / (MiB/s). With half of all memory in use and written at least half of the bytes have to be sent that are
sent without a hint, and what is written meanwhile is sent again."""
CANNOT_SAY = """\
One machine, both ends of each migration on it, over a Unix socket. {guest} So these figures compare; they do not
say how long anything takes elsewhere. A guest under TCG clears and writes memory several times as slowly as on hardware,
and makes fewer pages dirty meanwhile; with hardware virtualisation each notification of the device costs more."""



class Reserve:
    """Memory for guests, held from when the last one had it until the next one wants it.

    Where this machine is itself a guest, its host may take free memory away at once, and be a hundred times slower to
    give it than the kernel: that is not what is to be measured.
    """

    def __init__(self):
        self.wanted = "hypervisor" in first_value("/proc/cpuinfo", "flags").split()
        self.maps = []

    def take(self, *lengths):
        for length in lengths if self.wanted else ():
            memory = mmap.mmap(-1, length, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
            memory.madvise(mmap.MADV_HUGEPAGE)
            self.populate(memory, length)
            self.maps.append(memory)

    @staticmethod
    def populate(memory, length):
        """All CPUs do it; Python's own madvise() would keep them from that."""
        madvise = ctypes.CDLL(None, use_errno=True).madvise

        def touch(start, end):
            if madvise(ctypes.c_void_p(start), ctypes.c_size_t(end - start), MADV_POPULATE_WRITE):
                raise OSError(ctypes.get_errno(), "no memory for guests")

        address, part = ctypes.addressof(ctypes.c_char.from_buffer(memory)), length // NR_CPUS & -mmap.PAGESIZE
        with concurrent.futures.ThreadPoolExecutor(NR_CPUS) as pool:
            starts = [address + part * number for number in range(NR_CPUS)]
            list(pool.map(touch, starts, [*starts[1:], address + length]))

    def give(self):
        """Frees one of these lengths."""
        if self.maps:
            self.maps.pop().close()


class Bench:
    """What the runs have in common."""

    def __init__(self, args, accel):
        self.args, self.accel, self.reserve = args, accel, Reserve()
        self.modules = {"stock": args.kernel / "modules" / "virtio_balloon.ko", "ours": args.module}

    def guest(self, pair, mem_len, init, arguments=(), incoming=None):
        device, _, more = PAIRS[pair]
        return Guest(self.args.kernel, self.args.initrd, list(self.modules.values()), mem_mib=mem_len // MIB, device=device,
                     append=[f"init_on_alloc={init}"], arguments=[*more, *arguments], incoming=incoming,
                     qemu=self.args.qemu, in_file=False, **self.accel)

    def insmod(self, guest, pair):
        guest.insmod(self.modules[PAIRS[pair][1]])

    def migrate(self, pair, kind, init):
        """One migration of a guest that was just booted."""
        mem_len = self.args.guest_mem
        with contextlib.ExitStack() as stack:
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="vbb-demo-"))
            few, touched = mem_len // 16, mem_len // 16 if kind == "idle" else mem_len
            # of a guest that was filled, ours sends less than that
            self.reserve.take(few if (pair, kind) == ("ours", "filled") else touched, touched)
            source = stack.enter_context(self.guest(pair, mem_len, init))
            self.reserve.give()
            source.hold(HELD_MIB)
            if kind != "idle":
                fill(source, mem_len * 9 // 10 if kind == "filled" else mem_len)
            if kind == "churn":
                in_use = mem_len - source.free_len()
                source.churn((mem_len // 2 - in_use) // MIB, mem_len // 128 // MIB, self.args.timeout)
            self.insmod(source, pair)
            uri = f"unix:{folder}/migration"
            destination = stack.enter_context(self.guest(pair, mem_len, init, incoming=uri))
            source.qmp.execute("migrate-set-parameters", **{"max-bandwidth": 0})
            self.reserve.give()
            info = source.migrate(uri, self.args.timeout)
            left_out = 0
            if pair == "ours":
                left_out = source.qmp.execute("qom-get", path=f"{BALLOON}/virtio-backend", property="unused-bytes")
            destination.arrive(source)
            wrong = destination.verify()
            if kind == "churn":
                settled = destination.settle(self.args.timeout)
                wrong = wrong or (settled["bad"] and settled["first"])
            look_for_reports(source, destination)
            ram = info["ram"]
            return {"total_ms": info["total-time"], "downtime_ms": info["downtime"],
                    "sent_mb": round(ram["transferred"] / MIB, 1), "normal_pages": ram["normal"],
                    "zero_pages": ram["duplicate"], "rounds": ram["dirty-sync-count"], "left_out_mb": left_out // MIB,
                    "intact": not wrong}, wrong

    def resize(self, guest, target_len):
        """Lets the guest reach the target; returns how many ms that took, and how many of the kernel's QEMU took."""
        begin, device_ms = time.monotonic(), kernel_ms(guest)
        guest.qmp.execute("balloon", value=target_len)
        while guest.actual_len() != target_len:
            past = time.monotonic() - begin
            if past > self.args.timeout:
                raise HarnessError(f"the guest stopped at {guest.actual_len()} bytes on its way to {target_len}")
            # no more than two in a hundred too late, and few questions
            time.sleep(max(past / 50, 0.0005))
        return (time.monotonic() - begin) * 1e3, kernel_ms(guest) - device_ms

    def balloon(self, pair, case, init):
        """One inflation and deflation."""
        kind, mem_len, inflate_len = case
        given = [] if kind == "idle" else [
            "-object", f"memory-backend-ram,id=ram,size={mem_len},prealloc=on", "-machine", "memory-backend=ram"]
        self.reserve.take(mem_len)
        if given:
            self.reserve.give()
        with self.guest(pair, mem_len, init, given) as guest:
            self.reserve.give()
            guest.hold(HELD_MIB)
            if kind == EVERY_SECOND:
                guest.scatter(2, usable(guest) // MIB)
            self.insmod(guest, pair)
            before = guest.host_len()
            inflate_ms, device_ms = self.resize(guest, mem_len - inflate_len)
            freed = before - guest.host_len()
            wrong = guest.verify()
            deflate_ms, _ = self.resize(guest, mem_len)
            wrong = wrong or guest.verify()
            look_for_reports(guest)
            expected = 0 if kind == "idle" else inflate_len
            if abs(freed - expected) > inflate_len // 100 + 32 * MIB:
                raise HarnessError(f"the host's memory went down by {freed // MIB} MiB, not {expected // MIB}")
            return {"inflate_ms": round(inflate_ms, 2), "deflate_ms": round(deflate_ms, 2),
                    "device_ms": round(device_ms, 2), "freed_mb": round(freed / MIB, 1)}, wrong


def usable(guest):
    """What a guest can do without: page tables, and what the kernel keeps free, grow with its memory."""
    return guest.free_len() - ROOM_MIB * MIB - guest.mem_len // 64


def fill(guest, nr_bytes):
    """A process writes to so much memory, or all there is, and ends."""
    if guest.use(min(nr_bytes, usable(guest)) // MIB, timeout=300):
        raise HarnessError("the guest has less memory than it said")


def kernel_ms(guest):
    """CPU time that QEMU has spent in the kernel, discards above all: a device works in more than one thread."""
    fields = pathlib.Path(f"/proc/{guest.pid}/stat").read_text(encoding="ascii").rsplit(")", 1)[1].split()
    return int(fields[12]) * 1000 / os.sysconf("SC_CLK_TCK")


def look_for_reports(*guests):
    for guest in guests:
        if guest.reports():
            raise HarnessError(f"a guest's kernel reports:\n{guest.reports()[0]}")


def accelerator(args):
    """Hardware virtualisation where a guest boots with it; it may be there, and not work."""
    kvm = {"accel": "kvm", "cpu": "host"}
    if os.access("/dev/kvm", os.R_OK | os.W_OK):
        try:
            with Guest(args.kernel, args.initrd, device="", qemu=args.qemu, boot_timeout=20, **kvm):
                return kvm
        except (HarnessError, OSError) as error:
            say(f"there is a /dev/kvm, but no guest boots with it: {str(error).splitlines()[0]}")
    # the default; with the features of "max" a guest clears memory byte by byte, and TCG takes that word for word
    return {"accel": "tcg,thread=multi", "cpu": "qemu64"}


def balloon_cases(mem_len):
    """(whether the host has given the guest's memory, its length, how much of it is inflated)"""
    return (("idle", mem_len // 2, mem_len * 3 // 8), ("filled", mem_len // 2, mem_len * 3 // 8),
            ("filled", mem_len, mem_len * 7 // 8), (EVERY_SECOND, mem_len * 7 // 16, mem_len * 3 // 16))


def plan(args):
    """All that a round does: a group of runs that take turns is a function's name, a case and init_on_alloc."""
    cases = balloon_cases(args.guest_mem)
    if args.quick:
        groups = [("migrate", "filled", 1), ("migrate", "churn", 1), ("balloon", cases[1], 1)]
    else:
        groups = [("migrate", kind, init) for kind in GUESTS for init in (1, 0)] + \
            [("balloon", case, init) for case in cases for init in (1, 0) if case[0] != EVERY_SECOND or not init]
    return [group for group in groups if args.only in (None, group[0])]


def measure(args):
    begin = time.monotonic()
    accel = accelerator(args)
    bench = Bench(args, accel)
    say(f"accelerator: {accel['accel']}")
    results = {"migrate": [], "balloon": []}
    lost = []
    try:
        for rep in range(args.reps):
            say(f"-- round {rep + 1} of {args.reps}")
            for function, case, init in plan(args):
                pairs = list(PAIRS if function == "migrate" else BALLOON_PAIRS)
                for pair in pairs[rep % len(pairs):] + pairs[:rep % len(pairs)]:
                    result, wrong = getattr(bench, function)(pair, case, init)
                    keys = {"guest": case} if function == "migrate" else {"guest": case[0], "inflate_mb": case[2] // MIB}
                    run = {"pair": pair, **keys, "init_on_alloc": init, "rep": rep, **result}
                    results[function].append(run)
                    if wrong:
                        lost.append(f"{run}: {wrong}")
                    say(f"{time.monotonic() - begin:5.0f} s  {pair:5} {progress(run)}, {'DATA LOST' if wrong else 'data intact'}")
    except KeyboardInterrupt:
        say("interrupted: the figures are those of the runs so far")
    data = {"machine": machine(accel["accel"] + ", " + accel["cpu"]), "guest_mem_mb": args.guest_mem // MIB, "reps": args.reps,
            "seconds": round(time.monotonic() - begin), "migrations": results["migrate"], "balloon": results["balloon"]}
    data["ratios"] = ratios(data)
    return data, lost


def progress(run):
    what = f"{run['guest']:6} init_on_alloc={run['init_on_alloc']}"
    if "total_ms" in run:
        return f"migrate {what}: {run['total_ms']} ms, {run['downtime_ms']} ms down, {run['sent_mb']:.0f} MiB sent"
    return f"inflate {run['inflate_mb']} MiB {what}: {run['inflate_ms']:.0f} ms, deflate {run['deflate_ms']:.0f} ms, " \
        f"{run['freed_mb']:.0f} MiB freed"


def column(runs, key, **where):
    """One figure of all runs of one kind."""
    return [run[key] for run in runs if all(run[name] == value for name, value in where.items())]


def balloon_kinds(runs):
    """(what the guest's memory is like, MiB to inflate), in their order"""
    return list(dict.fromkeys((run["guest"], run["inflate_mb"]) for run in runs))


def ratios(data):
    """Ours over the others, of medians; and how much of a filled guest ours sent."""
    result = {}

    def add(name, ours, other):
        if ours and other:
            result[name] = round(statistics.median(ours) / statistics.median(other), 4)
    for init in (0, 1):
        for kind in GUESTS:
            for key in ("total", "downtime"):
                got = {pair: column(data["migrations"], f"{key}_ms", pair=pair, guest=kind, init_on_alloc=init) for pair in PAIRS}
                for pair in ("none", "stock"):
                    add(f"{key}_{kind}_init{init}_of_{pair}", got["ours"], got[pair])
        sent = column(data["migrations"], "sent_mb", pair="ours", guest="filled", init_on_alloc=init)
        if sent:
            result[f"sent_mb_filled_init{init}"] = statistics.median(sent)
            result[f"sent_range_filled_init{init}"] = round((max(sent) - min(sent)) / statistics.median(sent), 4)
        for kind, inflate_mb in balloon_kinds(data["balloon"]):
            for key in ("inflate", "deflate"):
                got = [column(data["balloon"], f"{key}_ms", pair=pair, guest=kind, inflate_mb=inflate_mb, init_on_alloc=init)
                       for pair in ("ours", "stock")]
                add(f"{key}_{inflate_mb}_{kind}_init{init}_of_stock", *got)
    return result


def table(data):
    """For a person: medians and ranges, what was to be reached, and what all this cannot say."""
    lines = [f"{'migrate':9} init {'pair':5} | {'total, ms (range)':>26} {'down, ms (range)':>21} {'MiB sent (range)':>27} "
             f"{'pages':>8} {'zero pages':>10} {'rounds':>6} {'left out':>8} {'MiB/s':>6}"]
    for kind in GUESTS:
        for init in (0, 1):
            for pair in PAIRS:
                runs = [run for run in data["migrations"]
                        if (run["guest"], run["init_on_alloc"], run["pair"]) == (kind, init, pair)]
                if runs:
                    lines.append(f"{kind:9} {init:4} {pair:5} | {spread(column(runs, 'total_ms'), 0):>26} "
                                 f"{spread(column(runs, 'downtime_ms'), 0):>21} {spread(column(runs, 'sent_mb')):>27} "
                                 f"{statistics.median(column(runs, 'normal_pages')):8.0f} "
                                 f"{statistics.median(column(runs, 'zero_pages')):10.0f} "
                                 f"{statistics.median(column(runs, 'rounds')):6.0f} "
                                 f"{statistics.median(column(runs, 'left_out_mb')):8.0f} "
                                 f"{statistics.median(run['sent_mb'] * 1e3 / run['total_ms'] for run in runs):6.0f}")
    lines.append(f"{'inflate':17} {'MiB':>5} init {'pair':5} | {'inflate, ms (range)':>30} {'deflate, ms (range)':>27} "
                 f"{'device, ms':>10} {'MiB freed':>9}")
    for kind, inflate_mb in balloon_kinds(data["balloon"]):
        for init in (0, 1):
            for pair in BALLOON_PAIRS:
                runs = [run for run in data["balloon"] if (run["guest"], run["inflate_mb"], run["init_on_alloc"], run["pair"])
                        == (kind, inflate_mb, init, pair)]
                if runs:
                    lines.append(f"{kind:17} {inflate_mb:5} {init:4} {pair:5} | {spread(column(runs, 'inflate_ms')):>30} "
                                 f"{spread(column(runs, 'deflate_ms')):>27} {statistics.median(column(runs, 'device_ms')):10.0f} "
                                 f"{statistics.median(column(runs, 'freed_mb')):9.0f}")
    for name, most, what in TARGETS:
        for init in (0, 1):
            key = name.format(init=init, three=data["guest_mem_mb"] * 3 // 8, half=data["guest_mem_mb"] * 3 // 16)
            if key in data["ratios"] and f"init{init}" in key:
                lines.append(verdict(f"{what}, init_on_alloc={init}", data["ratios"][key], most))
    if data["guest_mem_mb"] != 8 * GIB // MIB:
        lines.append(f"The sizes meant are those of a guest of 8 GiB; this one has {data['guest_mem_mb']} MiB, and all sizes are "
                     "smaller or larger by as much.")
    nr_runs = len(data["migrations"]) + len(data["balloon"])
    lines.append(WHERE)
    lines.append(f"{nr_runs} guests in {data['seconds']} s, {data['reps']} a line, taking turns; medians, and ranges")
    lines.append(", ".join(f"{name}: {value}" for name, value in data["machine"].items()))
    tcg = data["machine"]["guest"].startswith("tcg")
    lines.append(CANNOT_SAY.format(guest="The guest ran under TCG, without hardware virtualisation." if tcg else
                                   "The guest ran under KVM."))
    return "\n".join(lines)


def plot(data, path):
    """Migration times; inflation times in a second file."""
    def draw(to, titles, groups, what):
        groups = [group for group in groups if not math.isnan(group[1][-1])]
        if groups:
            bars(to, "1000,480", titles, groups, [
                f'set ylabel "milliseconds to {what}, median (log scale)"', "set logscale y",
                f'set title "a guest of {data["guest_mem_mb"]} MiB, {data["machine"]["guest"].split(",")[0]}"'])

    def median(runs, key, **where):
        got = column(runs, key, **where)
        return statistics.median(got) if got else math.nan

    draw(path, ["no hint", "stock hint", "ours"],
         [(f"{kind}\ninit_on_alloc={init}",
           [median(data["migrations"], "total_ms", pair=pair, guest=kind, init_on_alloc=init) for pair in PAIRS])
          for kind in GUESTS for init in (0, 1)], "migrate")
    draw(path.with_name(f"{path.stem}-balloon.svg"), ["stock pair", "ours"],
         [(f"{kind}, {inflate_mb} MiB\ninit_on_alloc={init}",
           [median(data["balloon"], "inflate_ms", pair=pair, guest=kind, inflate_mb=inflate_mb, init_on_alloc=init)
            for pair in BALLOON_PAIRS])
          for kind, inflate_mb in balloon_kinds(data["balloon"]) for init in (0, 1)], "inflate")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--guest-mem", type=size, metavar="SIZE", help="the guest's RAM (8G)")
    parser.add_argument("--reps", type=int, metavar="N", help=f"repetitions ({REPS})")
    parser.add_argument("--quick", action="store_true", help="few cases of a guest of 1G, once: does it work?")
    parser.add_argument("--json", type=pathlib.Path, metavar="FILE", help="all figures")
    parser.add_argument("--plot", type=pathlib.Path, metavar="FILE.svg", help="a picture, and another beside it")
    parser.add_argument("--timeout", type=int, default=300, help=argparse.SUPPRESS)
    parser.add_argument("--only", choices=("migrate", "balloon"), help="one part of it")
    for name in ("qemu", "kernel", "initrd", "module"):
        parser.add_argument(f"--{name}", type=pathlib.Path, required=True, help=argparse.SUPPRESS)
    args = parser.parse_args()
    args.guest_mem = args.guest_mem or (GIB if args.quick else 8 * GIB)
    args.reps = args.reps or (1 if args.quick else REPS)
    if args.guest_mem % (16 * MIB) or args.guest_mem < (1 if args.quick else 4) * GIB or args.reps < 1:
        parser.error("a guest has 4G at least, with --quick 1G, in multiples of 16M")
    need_len = 2 * args.guest_mem + GIB
    if mem_available() < need_len:
        parser.error(f"two guests need {need_len // MIB} MiB, {mem_available() // MIB} MiB are available: --guest-mem?")
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    try:
        data, lost = measure(args)
    except HarnessError as error:
        say(f"demo-migration: {error}")
        return 1
    print(table(data))
    if args.json:
        args.json.write_text(json.dumps(data, indent=1) + "\n")
    if args.plot:
        plot(data, args.plot)
    for line in lost:
        say(f"demo-migration: DATA LOST: {line}")
    return 1 if lost else 0


if __name__ == "__main__":
    sys.exit(main())
