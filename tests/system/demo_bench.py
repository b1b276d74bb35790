# SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause
"""What scripts/bench makes of the figures of vbb bench: a table with the targets, and pictures."""

import argparse
import json
import math
import pathlib
import statistics
import sys

from demo_common import bars, gnuplot, quote

MANY = 1000    # runs, from which on what a message costs by itself does not count
BARS = ("plan", "quick", "bitmap", "old-format", "frames", "bare-records", "bit-by-bit", "find-next-bit", "CRoaring",
        "CRoaring-runs")
DENSE = ("fragmented-2", "random-0.5")


class Case:
    """A guest, and what each way took for it."""

    def __init__(self, case):
        self.name, self.pages, self.runs, self.case = case["name"], case["pages"], case["runs"], case
        self.ways = {way["name"]: way for way in case["ways"]}

    def each(self, way, what):
        """Nanoseconds of each repetition."""
        way = self.ways[way]
        if what == "both":
            return [encode + decode for encode, decode in zip(way["encode_ns"], way["decode_ns"])]
        return way[what + "_ns"]

    def a_run(self, way, what):
        """Nanoseconds a run, the median."""
        return statistics.median(self.each(way, what)) / self.runs

    def ratios(self, way, ours):
        """How many times as long as one of ours does it take, in the same repetition?"""
        return [other / our for other, our in zip(self.each(way, "both"), self.each(ours, "both"))]

    def size_ratio(self):
        """Our plan's bytes, by those of the shorter of bitmap and fewest records."""
        return max(self.case["sample_len"] / self.case["sample_least_len"],
                   self.ways["plan"]["bytes"] / self.ways["bitmap"]["bytes"])


def spread(values):
    """The median, and the range."""
    return f"{statistics.median(values):.2f} ({min(values):.2f} to {max(values):.2f})"


def size(nbytes):
    """A guest's memory."""
    for unit in ("KiB", "MiB", "GiB"):
        nbytes /= 1024
        if nbytes < 1024:
            return f"{nbytes:.4g} {unit}"
    return f"{nbytes / 1024:.4g} TiB"


def table(rows, indent=""):
    """Columns; the first row is the head, and the first column text."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        first, *more = (cell.ljust(width) if i == 0 else cell.rjust(width) for i, (cell, width) in enumerate(zip(row, widths)))
        print(indent + "  ".join([first, *more]).rstrip())


OURS = ("plan", "quick")
OTHERS = (("CRoaring", "CRoaring, page by page"), ("CRoaring-runs", "CRoaring, from run to run"),
          ("old-format", "array of frames, checked as ours is"), ("frames", "array of frames, bare loop"))


def mark(value, reached, digits=2):
    """A figure; a star where it misses its target."""
    return f"{value:.{digits}f}{' ' if reached else '*'}"


def patterns(cases):
    """A line for each guest. What misses a target has a star."""
    rows = [("guest", "runs", "encode: plan", "quick", "bitmap", "decode: plan", "bitmap",
             *(f"{way} by {ours}" for way, _ in OTHERS for ours in OURS), "size", "quick's")]
    for case in cases:
        row = [case.name, str(case.runs)]
        for what, most, ways in (("encode", 6, ("plan", "quick", "bitmap")), ("decode", 3, ("plan", "bitmap"))):
            for way in ways:
                value = case.a_run(way, what)
                counts = case.runs >= MANY and (what == "encode" or case.name in DENSE)
                row.append(mark(value, not counts or value <= most))
        for way, _ in OTHERS:
            for ours in OURS:
                value = statistics.median(case.ratios(way, ours)) if way in case.ways else math.nan
                row.append(mark(value, not value <= 1))
        row.append(mark(case.size_ratio(), case.size_ratio() <= 1.02, 3))
        row.append(f"{case.ways['quick']['bytes'] / case.ways['plan']['bytes']:.2f}")
        rows.append(row)
    print("Nanoseconds a run of pages; how many times as long as our plan and our quick way others take to encode and decode;\n"
          "our plan's bytes by the smaller of bitmap and fewest records, and quick's bytes by our plan's. A star: the target is missed.\n")
    table(rows)


# What a target that is missed would take, and ways of the same run that show it
TAKES = {
    "alike": ("a decoder that loads more words of a bitmap at a time.", ()),
    "dense": ("no run that goes on in the next word: the last of each waits until that is loaded.", ("find-next-bit",)),
    "plan": ("no search: the plan looks for the fewest records over all orders of blocks, since it has promised few bytes.",
             ("quick", "bare-records", "find-next-bit")),
    "quick": ("none held back: runs are, so that they may come in any order, and what is taken finds room. And no"
              " bitmap: in which of its words a run of random length ends, no processor can foresee.",
              ("bare-records", "find-next-bit")),
    "bitmap": ("no empty words: where runs are far apart, a bitmap's time goes into them, as in the bare loop that writes the same.",
               ("find-next-bit",)),
    "other": ("no search, as above.", ("quick",)),
    "frames": ("no checks, and nothing held back: a frame is one store and one load in loops that trust all they read.",
               ("quick", "bare-records")),
    "size": ("a search over all orders at once (tests/fewest.c); a plan settles one order after the other.", ()),
    "16T": ("no search, as above.", ("quick",)),
}


class Target:
    """A figure of one of our ways, which has to be at most, or at least, so much for each guest."""

    def __init__(self, takes, what, wanted, limit, figure, ours="plan", high=True):
        self.what, self.wanted, self.limit, self.figure, self.ours, self.high = what, wanted, limit, figure, ours, high
        self.takes, self.others = TAKES[takes]

    def seen(self, case, way=None):
        """The median."""
        return statistics.median(self.figure(case, way or self.ours))

    def reached(self, case):
        """Is it, for this guest?"""
        return self.seen(case) <= self.limit if self.high else self.seen(case) >= self.limit

    def row(self, cases):
        """Its line of the table: the guest that is furthest from it"""
        case = (max if self.high else min)(cases, key=self.seen)
        return (self.what, self.wanted, spread(self.figure(case, self.ours)), case.name,
                "reached" if self.reached(case) else "MISSED")

    def show_takes(self, cases):
        """What those guests would take for which it is missed"""
        print(f"\n{self.what}, {self.wanted}:\n  {self.takes}")
        if not self.others:
            return
        others = [way for way in self.others if way != self.ours]
        rows = [("guest", self.ours, *(text for way in others for text in (way, "bytes")))]
        for case in cases:
            if self.reached(case):
                continue
            row = [case.name, f"{self.seen(case):.2f}"]
            for way in others:
                row += [f"{self.seen(case, way):.2f}", f"x {case.ways[way]['bytes'] / case.ways[self.ours]['bytes']:.2f}"]
            rows.append(row)
        table(rows, "  ")


class Scan:
    """Bitmaps of one kind, as a case."""

    def __init__(self, scan):
        self.name, self.ratios = scan["name"], [read / decode for read, decode in zip(scan["read_ns"], scan["decode_ns"])]


def show_search(cases):
    """What the fewest records take to be found, of as many runs as were tried"""
    rows = [("guest", "runs", "plan: size", "ns a run", "fewest: ns a run", "KiB of ways")]
    for case in cases:
        sample = case.case
        rows.append((case.name, str(sample["sample_runs"]), f"{sample['sample_len'] / sample['sample_least_len']:.3f}",
                     f"{sample['sample_ns'] / sample['sample_runs']:.0f}", f"{sample['sample_least_ns'] / sample['sample_runs']:.0f}",
                     f"{sample['sample_least_memory'] / 1024:.0f}"))
    table(rows, "  ")


def targets(data, cases, curve):
    """Each target, and the guest that is furthest from it; then what those would take that are missed."""
    many = [case for case in cases if case.runs >= MANY]
    dense = [case for case in many if case.name in DENSE]

    def a_run(what):
        return lambda case, way: [ns / case.runs for ns in case.each(way, what)]

    def times(other):
        return lambda case, way: case.ratios(other, way)

    found = [(Target("alike", "decode, empty or full bitmap, by a plain read's speed", "at least 0.5", 0.5,
                     lambda scan, way: scan.ratios, high=False), [Scan(scan) for scan in data["scans"]])]
    for way in ("plan", "bitmap"):
        found.append((Target("dense", f"decode, dense runs, {way}", "at most 3 ns a run", 3, a_run("decode"), way), dense))
    for way in ("plan", "quick", "bitmap"):
        found.append((Target(way, f"encode, {way}", "at most 6 ns a run", 6, a_run("encode"), way), many))
    for other, title in OTHERS:
        for way in OURS:
            found.append((Target("frames" if other == "frames" else "other", f"encode and decode, by {way}: {title}", "over 1", 1,
                                 times(other), way, False), [case for case in cases if other in case.ways]))
    size_target = Target("size", "size, by the smaller of bitmap and fewest records", "at most 1.02", 1.02,
                         lambda case, way: [case.size_ratio()])
    found.append((size_target, [*cases, *curve]))
    if curve and curve[-1].pages == 1 << 32:
        for way in OURS:
            found.append((Target("16T", f"encode and decode, idle guest of 16 TiB, {way}", "under 100 ms", 100,
                                 lambda case, way: [ns / 1e6 for ns in case.each(way, "both")], way), curve[-1:]))
        found.append((Target("16T", f"memory for it, by that for {size(curve[0].pages << 12)}", "1", 1,
                             lambda case, way: [case.ways[way]["memory"] / curve[0].ways[way]["memory"]]), curve[-1:]))
    found = [(target, some) for target, some in found if some]
    table([("target", "wanted", "seen: median (range)", "worst", ""), *(target.row(some) for target, some in found)])
    missed = [(target, some) for target, some in found if not all(target.reached(case) for case in some)]
    if missed:
        print("\nWhat it would take, for the guests that miss a target; figures of other ways in the same run, and their bytes by ours:")
    for target, some in missed:
        target.show_takes(some)
        if target is size_target:
            show_search([case for case in some if not target.reached(case)])


def where(data, command):
    """Under a picture's title."""
    machine = data["machine"]
    return f"{machine['cpu']}, Linux {machine['kernel']} {machine['arch']}, {machine['date']}: {command}"


def plot_bars(path, cases, what, label, title, value):
    """A group of bars for each guest."""
    ways = [way for way in BARS if all(way in case.ways for case in cases)]
    groups = [(case.name, [max(value(case, way), math.ulp(0)) for way in ways]) for case in cases]
    bars(path, "1280,560", ways, groups, [
        "set logscale y", f"set ylabel {quote(label)}", "set xtics rotate by -25", "set bmargin 6", "set format y '10^{%L}'",
        f"set title {title} noenhanced", f"set xlabel {quote(what)}"])


def plot_curve(path, curve, title, label):
    """Lines: what each way takes, by the guest's memory."""
    ways = [way for way in BARS if way in curve[0].ways]
    rows = []
    for case in curve:
        values = (statistics.median(case.each(way, "both")) / 1e6 for way in ways)
        rows.append(" ".join([str((case.pages << 12) / (1 << 30)), *(f"{value:.6f}" for value in values)]))
    tics = ", ".join(f"'{size(case.pages << 12)}' {(case.pages << 12) / (1 << 30)}" for case in curve)
    gnuplot(path, "900,560", [
        "set logscale xy", "set grid", "set format y '10^{%L}'", "set key outside right", f"set xtics ({tics}) rotate by -25",
        f"set xlabel {quote(label)}", "set ylabel 'milliseconds to encode and decode, median (log scale)'",
        f"set title {title} noenhanced", "$data << EOD", *rows, "EOD",
        "plot " + ", ".join(f"$data using 1:{i + 2} with linespoints linewidth 2 title {quote(way)}" for i, way in enumerate(ways))])


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("json", type=pathlib.Path, help="what vbb bench --json wrote")
    parser.add_argument("--plot", type=pathlib.Path, metavar="PREFIX", help="pictures: PREFIX-time.svg and others")
    parser.add_argument("--command", default="scripts/bench", help="what the pictures say that made them")
    args = parser.parse_args()
    data = json.loads(args.json.read_text(encoding="utf-8"))
    everything = [Case(case) for case in data["cases"]]
    cases = [case for case in everything if case.name != "curve"]
    curve = [case for case in everything if case.name == "curve"]
    print()
    if cases:
        patterns(cases)
        print()
    targets(data, cases, curve)
    if args.plot:
        def title(text):
            lines = (text.replace("\\", "").replace('"', "") for text in (text, where(data, args.command)))
            return '"' + "\\n".join(lines) + '"'

        def picture(name):
            return args.plot.with_name(f"{args.plot.name}-{name}.svg")

        if cases:
            guest = "what of the guest's memory is free (machine: what is free in this machine)"
            plot_bars(picture("time"), cases, guest, "microseconds to encode and decode (log scale)",
                      title(f"Time of the CPU, guests of {size(cases[-1].pages << 12)}: median of {data['reps']} repetitions"),
                      lambda case, way: statistics.median(case.each(way, "both")) / 1e3)
            plot_bars(picture("bytes"), cases, guest, "bytes of all messages (log scale)",
                      title(f"Bytes on the wire, guests of {size(cases[-1].pages << 12)}"),
                      lambda case, way: case.ways[way]["bytes"])
        if curve:
            plot_curve(picture("curve"), curve, title("Idle guests, from small to large"), "memory of the guest (log scale)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
