# SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause
"""What the demos share."""

import argparse
import os
import pathlib
import platform
import statistics
import subprocess
import sys

from umlguest import HaltError


def size(text):
    """'4G', '512M' or bytes."""
    units = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
    unit = units.get(text[-1:].upper())
    try:
        return int(float(text[:-1]) * unit) if unit else int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"not a size: {text}") from None


def first_value(path, key):
    """What follows the first 'KEY...:' of a file in /proc."""
    for line in pathlib.Path(path).read_text(encoding="utf-8").splitlines():
        if line.startswith(key):
            return line.split(":", 1)[1].strip()
    return "unknown"


def machine(guest):
    """Where figures come from."""
    return {"cpu": first_value("/proc/cpuinfo", "model name"), "cpus": os.cpu_count(),
            "memory": first_value("/proc/meminfo", "MemTotal"), "kernel": platform.release(), "guest": guest}


def mem_available():
    """Bytes of memory that this machine can still give."""
    return int(first_value("/proc/meminfo", "MemAvailable").split()[0]) << 10


def say(text):
    """Progress, for whoever waits."""
    print(text, file=sys.stderr, flush=True)


def poweroff(guest):
    """What the guest had to do is done by then."""
    try:
        guest.poweroff()
    except HaltError as error:
        say(f"({str(error).splitlines()[0]}, after its kernel had halted)")


def spread(values, digits=1):
    """The median, and the range."""
    return f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f} to {max(values):.{digits}f})"


def verdict(what, value, most, unit=""):
    """A line that says whether a target was reached."""
    return f"{what}: {value:.4g}{unit}; wanted: at most {most}: {'reached' if value <= most else 'MISSED'}"


def bars(path, dimensions, titles, groups, lines):
    """Values as bars. titles: of the bars of each group, groups: (label, values, NaN for none), lines: more for gnuplot."""
    rows = []
    for label, values in groups:
        label = label.replace("_", "\\\\_").replace("\n", "\\n")
        rows.append(" ".join([f'"{label}"', *(f"{value:.3f}" for value in values)]))
    gnuplot(path, dimensions, [
        "set style data histograms", "set style histogram clustered gap 1", "set style fill solid 0.9", "set grid y",
        "set key outside top center horizontal", "set bmargin 4", *lines, "$data << EOD", *rows, "EOD",
        "plot " + ", ".join(f"$data using {i + 2}:xtic(1) title {quote(title)}" for i, title in enumerate(titles))])


def gnuplot(path, dimensions, lines):
    """An SVG."""
    head = [f"set terminal svg size {dimensions} dynamic background 'white'; set output {quote(path)}"]
    subprocess.run(["gnuplot"], input="\n".join([*head, *lines]), text=True, check=True)


def quote(text):
    """A text, for gnuplot."""
    return "'" + str(text).replace("'", "''") + "'"
