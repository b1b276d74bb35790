# SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause
"""What both parts of the demo use."""

import statistics
import subprocess
import sys


def say(text):
    """Progress, for whoever waits."""
    print(text, file=sys.stderr, flush=True)


def spread(values, digits=1):
    """The median, and the range."""
    return f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f} to {max(values):.{digits}f})"


def gnuplot(path, size, lines):
    """An SVG."""
    head = [f"set terminal svg size {size} dynamic; set output {quote(path)}"]
    subprocess.run(["gnuplot"], input="\n".join([*head, *lines]), text=True, check=True)


def quote(path):
    """A path, for gnuplot."""
    return "'" + str(path).replace("'", "''") + "'"
