#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause
"""vbb map from outside: what its pictures show, against a model of the memory that they are drawn from.

usage: test_map.py VBB [unittest's arguments]; VBB_CASES=N: N / 10 random memories (50)
"""
import fcntl
import os
import pathlib
import pty
import random
import re
import struct
import subprocess
import sys
import tempfile
import termios
import unittest
import xml.etree.ElementTree as tree

import test_cli as cli

SVG = "{http://www.w3.org/2000/svg}"
NR_SHADES, NR_COLS, CELL = 17, 128, 7  # of the SVG
ASCII = "#*+-."


def picture(*args, data=b"", **env):
    """vbb map in a locale that is known."""
    return cli.vbb("map", *args, data=data, env={**os.environ, "LC_ALL": "C", **env})


def pages_in(runs, window):
    """Pages of merged runs, as (first, end), between two."""
    return sum(max(0, min(end, window[1]) - max(first, window[0])) for first, end in runs)


def intersect(runs, others):
    """What two sets of merged runs have in common."""
    both = [(max(a, c), min(b, d)) for a, b in runs for c, d in others]
    return sorted((a, b) for a, b in both if a < b)


def shade(nr_free, nr_ram, nr_shades):
    """The ends of the scale are for cells that are all used and all free."""
    if nr_free in (0, nr_ram):
        return nr_shades - 1 if nr_free else 0
    return 1 + nr_free * (nr_shades - 2) // nr_ram


def expected(free, ram, first, cell_len, nr_shades):
    """A function from a cell's index to its shade, or None where there is no memory."""
    def at(index):
        window = (first + index * cell_len, first + (index + 1) * cell_len)
        nr_ram = pages_in(ram, window)
        return shade(pages_in(free, window), nr_ram, nr_shades) if nr_ram else None
    return at


class Svg:
    """What an SVG shows."""

    def __init__(self, text):
        root = tree.fromstring(text)
        self.rows, self.cells = [], []
        for row in root.find(f"{SVG}g[@id='memory']").findall(f"{SVG}g"):
            self.rows.append((int(row.get("data-pfn"), 16), int(row.get("data-ram")), int(row.get("data-free"))))
            cells = [None] * NR_COLS
            for rect in row.findall(f"{SVG}rect"):
                assert rect.get("height") == str(CELL)
                left, width = int(rect.get("x")), int(rect.get("width"))
                assert left % CELL == width % CELL == 0
                for col in range(left // CELL, (left + width) // CELL):
                    assert cells[col] is None, "two rectangles on one cell"
                    cells[col] = int(rect.get("class")[1:])
            self.cells += cells
        orders = root.find(f"{SVG}g[@id='orders']")
        self.orders = {int(bar.get("data-order")): (int(bar.get("data-runs")), int(bar.get("data-pages")))
                       for bar in orders if int(bar.get("data-runs"))} if orders is not None else {}
        self.text = [text for element in root.iter(f"{SVG}text") for text in ["".join(element.itertext())]]


class Map(unittest.TestCase):
    """Pictures, against a model."""

    def draw_svg(self, free, ram, *args):
        """Draw and compare all that can be counted; returns the picture."""
        data = "".join(f"# ram {a} {b - a}\n" for a, b in ram if not args).encode() + cli.lines(free)
        result = picture("--svg", "-", *args, data=data)
        self.assertEqual((result.returncode, result.stderr), (0, b""))
        svg = Svg(result.stdout)
        inside = intersect(cli.as_set(free), ram)
        self.assertEqual(sum(row[1] for row in svg.rows), pages_in(ram, (0, 1 << 52)))
        self.assertEqual(sum(row[2] for row in svg.rows), pages_in(inside, (0, 1 << 52)))
        self.assertLessEqual(len(svg.rows), 64)
        row_len = svg.rows[1][0] - svg.rows[0][0] if len(svg.rows) > 1 else self.row_len(svg)
        self.assertEqual(row_len & (row_len - 1), 0)
        self.assertEqual(svg.rows[0][0], ram[0][0] // row_len * row_len)
        for number, row in enumerate(svg.rows):
            window = (svg.rows[0][0] + number * row_len, svg.rows[0][0] + (number + 1) * row_len)
            self.assertEqual(row, (window[0], pages_in(ram, window), pages_in(inside, window)))
        at = expected(inside, ram, svg.rows[0][0], row_len // NR_COLS, NR_SHADES)
        self.assertEqual(svg.cells, [at(i) for i in range(len(svg.cells))])
        orders = {}
        for first, end in inside:
            order = (end - first).bit_length() - 1
            nr_runs, nr_pages = orders.get(order, (0, 0))
            orders[order] = nr_runs + 1, nr_pages + end - first
        self.assertEqual(svg.orders, orders)
        return svg

    @staticmethod
    def row_len(svg):
        """Of one row alone the subtitle tells it: of pages of 4 KiB."""
        size, unit = re.search(r"each row ([\d.]+) (\w+)\.", svg.text[1]).groups()
        return int(float(size) * 1024 ** ("KiB", "MiB", "GiB", "TiB", "PiB", "EiB").index(unit)) // 4

    def draw_text(self, free, ram, width):
        """Likewise for a terminal without Unicode."""
        data = "".join(f"# ram 0x{a:x} {b - a}\n" for a, b in ram).encode() + cli.lines(free)
        result = picture("--width", width, data=data)
        self.assertEqual((result.returncode, result.stderr), (0, b""))
        text = result.stdout.decode("ascii")
        inside = intersect(cli.as_set(free), ram)
        nr_free, nr_ram = pages_in(inside, (0, 1 << 52)), pages_in(ram, (0, 1 << 52))
        self.assertIn(f"\n{nr_free} of {nr_ram} pages of 4 KiB\n", text)
        rows = text.split("\n\n")[1].split("\n")
        nr_cols = len(rows[0]) - 12
        self.assertLessEqual(max(map(len, text.split("\n"))), max(width, 72))
        self.assertTrue(nr_cols <= width - 12 < 2 * nr_cols, (nr_cols, width))
        self.assertLessEqual(len(rows), 32)
        size, unit = re.search(r"; each is ([\d.]+) (\w+)\n", text).groups()
        cell_len = int(size) * 1024 ** ("KiB", "MiB", "GiB", "TiB", "PiB", "EiB").index(unit) // 4
        first = ram[0][0] // (nr_cols * cell_len) * nr_cols * cell_len
        at = expected(inside, ram, first, cell_len, len(ASCII))
        found = "".join(row[12:] for row in rows)
        shades = [at(i) for i in range(len(found))]
        self.assertEqual(found, "".join(" " if s is None else ASCII[s] for s in shades))
        listed = re.findall(r"^ +[\d.]+ .iB\+ +(\d+) +[\d.]+ %", text, re.MULTILINE)
        self.assertEqual(sum(map(int, listed)), len(inside))

    def test_one_run(self):
        """A run's cells are free, and no others."""
        svg = self.draw_svg([(0x8000, 0x8000)], [(0, 0x200000)], "--ram", "8G")
        self.assertEqual(svg.text[0], "128 MiB of 8 GiB free")
        self.assertEqual([i for i, s in enumerate(svg.cells) if s], list(range(128, 256)))
        self.assertEqual(set(svg.cells), {0, NR_SHADES - 1})

    def test_all_but_one(self):
        """One page is enough for a cell to be neither all free nor all used."""
        free = self.draw_svg([(0, 12345), (12346, 1 << 20)], [(0, 1 << 20)])
        used = self.draw_svg([(12345, 1)], [(0, 1 << 20)])
        cell = 12345 * len(free.cells) >> 20
        self.assertEqual([i for i, s in enumerate(free.cells) if s != NR_SHADES - 1], [cell])
        self.assertEqual([i for i, s in enumerate(used.cells) if s], [cell])

    def test_golden(self):
        """Each character of a small one."""
        result = picture("--width", 40, "--ram", "2M", "--first", "0x100", data=b"0x100 16\n0x120 8\n0x12a 1\n0x1000 3\n")
        self.assertEqual(result.stdout.decode(), (
            "100 KiB of 2 MiB free, 4.8 %\n25 of 512 pages of 4 KiB\n\n"
            "     1 MiB  ................\n            ################\n            ........##.#####\n"
            "            ################\n" + "".join(
                (f"{label:>10}  " + "#" * 16 + "\n") for label in ("1.25 MiB", "", "", "", "1.5 MiB", "", "", "",
                                                                    "1.75 MiB", "", "", "", "2 MiB", "", "", "",
                                                                    "2.25 MiB", "", "", "", "2.5 MiB", "", "", "",
                                                                    "2.75 MiB", "", "", ""))
            + "\n            # used  * + - in part  . free; each is 4 KiB\n"
            "\nFree runs by length, and their share of the free memory:\n"
            "    4 KiB+            1    4.0 %  \n   32 KiB+            1   32.0 %  =\n"
            "   64 KiB+            1   64.0 %  ==\nThe longest: 64 KiB, 16 pages at pfn 0x100\n"
            "Not in memory, and left out: 3 pages\n"))

    def test_random(self):
        """Memory of some blocks, free runs inside and outside of them."""
        rng = random.Random(4)
        for case in range(cli.CASES // 10):
            space = 1 << rng.randint(3, 44)
            first = rng.randrange(min(space * 4, (1 << 52) - space))
            ram = []
            for _ in range(rng.randint(1, 4)):
                pfn = first + rng.randrange(space)
                ram.append((pfn, rng.randint(1, min(space, (1 << 52) - pfn))))
            free = []
            for _ in range(rng.randint(0, 60)):
                pfn = max(0, first + rng.randrange(-10, space))
                free.append((pfn, rng.randint(1, max(1, space >> rng.randint(0, 12)))))
            ram = [tuple(block) for block in cli.as_set(ram)]
            with self.subTest(case=case, ram=ram, free=free):
                self.draw_svg(free, ram)
                self.draw_text(free, ram, rng.randint(40, 300))

    def test_patterns(self):
        for pattern in cli.PATTERNS[:-2]:
            with self.subTest(pattern):
                text = cli.vbb("gen", "--pattern", pattern, "--pages", 5000, "--first", 77).stdout
                self.draw_svg(cli.parse_runs(text)[0][0], [(70, 5100)])

    def test_all_of_it(self):
        """The most that can be named is drawn as fast and short as anything."""
        svg = self.draw_svg([(0, 1 << 52)], [(0, 1 << 52)])
        self.assertEqual(svg.text[0], "16 EiB of 16 EiB free")
        self.draw_text([(0, 1 << 52)], [(0, 1 << 52)], 80)
        result = picture("--svg", "-", data=b"0 1\n0xfffffffffffff 1")
        self.assertLess(len(result.stdout), 1 << 16)

    def test_without_ram(self):
        """Then memory is what lies between the first page that is named and the last."""
        data = b"0x1000 16\n0x2000 16\n"
        self.assertEqual(picture(data=data).stdout, picture(data=data + b"# ram 0x1000 0x1010").stdout)
        none = picture(data=b"# nothing\n")
        self.assertEqual(none.returncode, cli.DATA)
        self.assertRegex(none.stderr.decode(), r"\Avbb: [^\n]*--ram[^\n]*\n\Z")
        full = picture("--ram", "1M")
        self.assertEqual(full.returncode, 0)
        self.assertTrue(full.stdout.startswith(b"0 of 1 MiB free, 0.0 %\n0 of 256 pages of 4 KiB\n"))
        self.draw_svg([], [(0, 256)], "--ram", "1M")

    def test_page_shift(self):
        result = picture("--page-shift", 21, "--ram", "1G", data=b"0 256\n")
        self.assertTrue(result.stdout.startswith(b"512 MiB of 1 GiB free, 50.0 %\n256 of 512 pages of 2 MiB\n"))

    def test_characters(self):
        """What the locale and the terminal have."""
        plain = picture("--ram", "1G", data=b"0 9999")
        self.assertTrue(plain.stdout.isascii())
        wide = picture("--ram", "1G", data=b"0 9999", LC_ALL="C.UTF-8")
        self.assertIn("\u2588", wide.stdout.decode())
        self.assertEqual(picture("--ascii", "--ram", "1G", data=b"0 9999", LC_ALL="C.UTF-8").stdout, plain.stdout)
        self.assertIn(b"." * 128, picture("--ram", "1G", data=b"0 262144", COLUMNS="140").stdout)
        for nonsense in ("", "0", "x", "-1", "99999999999999999999"):
            self.assertEqual(picture("--ram", "1G", data=b"0 9999", COLUMNS=nonsense).stdout, plain.stdout)
        ours, theirs = pty.openpty()
        try:
            fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("4H", 50, 300, 0, 0))
            subprocess.run([cli.VBB, "map", "--ascii", "--ram", "4M"], input=b"0 1024", stdout=theirs, check=True, timeout=60)
            seen = b""
            while b"longest" not in seen:
                seen += os.read(ours, 1 << 16)
            self.assertIn(b"  " + b"." * 256 + b"\r\n", seen)
        finally:
            os.close(ours)
            os.close(theirs)

    def test_statuses(self):
        for args in (["--nothing"], ["a", "b"], ["--ram", "0"], ["--ram", "1X"], ["--first", "1"], ["--width", "39"],
                     ["--page-shift", "11"], ["--ram", "1K"], ["--ram", "2T", "--first", "0xffffffffffff0"]):
            with self.subTest(args):
                result = picture(*args)
                self.assertEqual((result.returncode, result.stdout), (cli.USAGE, b""))
                self.assertIn(b"vbb map --help", result.stderr)
        self.assertTrue(picture("--help").stdout.startswith(b"Usage: vbb map"))
        self.assertEqual(picture("/nonexistent/file").returncode, cli.NOINPUT)
        self.assertEqual(picture("/").returncode, cli.NOINPUT)
        for data, where in ((b"1", "1: NUMBER"), (b"# ram 1\n", "1: NUMBER"), (b"# ram 1 0\n", "1: COUNT"),
                            (b"# ram 0 0x10000000000001\n", "1: PFN_RANGE"), (b"\n# ram 1 1 1\n", "2: TRAILING"),
                            (b"1 1\n1 \0 1\n", "2: NUMBER")):
            with self.subTest(data):
                result = picture(data=data)
                self.assertEqual((result.returncode, result.stdout), (cli.DATA, b""))
                self.assertRegex(result.stderr.decode(), rf"\Avbb: <stdin>: line {where}: [^\n]+\n\Z")
        for path in ("/dev/full", "/nonexistent/file"):
            result = picture("--svg", path, data=b"1 1\n")
            self.assertEqual(result.returncode, cli.IOERR)
            self.assertIn(f"vbb: {path}: ".encode(), result.stderr)
        with tempfile.TemporaryDirectory() as tmp:
            path = pathlib.Path(tmp, "a.svg")
            self.assertEqual(picture("--svg", path, data=b"junk").returncode, cli.DATA)
            self.assertFalse(path.exists())
            self.assertEqual(picture("--svg", path, data=b"1 1").returncode, 0)
            self.assertEqual(path.read_bytes(), picture("--svg", "-", data=b"1 1").stdout)


def main():
    """Take the path of vbb off the arguments."""
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    cli.VBB = sys.argv.pop(1)
    unittest.main()


if __name__ == "__main__":
    main()
