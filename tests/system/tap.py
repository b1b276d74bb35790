# SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause
"""Tests with guests, their results printed as TAP."""

import argparse
import multiprocessing
import os
import pathlib
import subprocess
import tempfile
import time
import traceback

from harness import HarnessError

TOP = pathlib.Path(__file__).resolve().parents[2]
LIB = TOP / "scripts" / "lib"


class Failure(Exception):
    """What a test found wrong."""


class Again(Failure):
    """A failure that is another's fault as long as it does not happen twice."""


class Skip(Exception):
    """Why a test has nothing to say here."""


def check(condition, what):
    if not condition:
        raise Failure(what)


def poll(condition, timeout, what):
    """Waits until condition() holds; polls seldom, as the guest may need this CPU."""
    deadline = time.monotonic() + timeout
    while not condition():
        check(time.monotonic() < deadline, f"{what}: not within {timeout} s")
        time.sleep(0.02)


def script(name, *args):
    return subprocess.run([LIB / name, *args], stdout=subprocess.PIPE, text=True,
                          check=True).stdout.strip()


def arguments(doc):
    """A parser with the options of every such program, whose first line of text is in doc."""
    parser = argparse.ArgumentParser(description=doc.splitlines()[0])
    parser.add_argument("--filter", default="", help="only tests whose names contain this")
    parser.add_argument("--list", action="store_true", help="print the names and stop")
    parser.add_argument("--jobs", type=int, metavar="N", default=2 * len(os.sched_getaffinity(0)),
                        help="so many tests at a time: a guest leaves its CPU idle half of the time")
    parser.add_argument("--keep-logs", type=pathlib.Path, metavar="DIR",
                        help="keep what guests and devices say, one file a test")
    return parser


def alone(function):
    """Marks a test that measures time: no other runs meanwhile."""
    function.alone = True
    return function


def attempt(number):
    """Runs a test of the plan, and returns what it raised, with what the kernel reported, or None."""
    _, make_rig, function, args, kwargs = one.plan[number - 1]
    log = one.logs / f"{number:02}.log"
    log.unlink(missing_ok=True)
    rig = make_rig(log)
    try:
        function(rig, *args, **kwargs)
        return None, ""
    except Skip as why:
        return why, ""
    except (Failure, HarnessError, OSError, subprocess.SubprocessError) as error:
        text = str(error) or traceback.format_exc()
        if rig.guest and (reports := rig.guest.reports()):
            text += f"\n{len(reports)} reports, the first:\n{reports[0]}"
        return error, text
    finally:
        rig.close()


def one(number):
    """Returns whether a test of the plan passed, and what is to be printed."""
    begin = time.monotonic()
    raised, text = attempt(number)
    if isinstance(raised, Again):
        raised, text = attempt(number)
    note = f" # SKIP {raised}" if isinstance(raised, Skip) else ""
    passed = raised is None or bool(note)
    lines = [f"{'' if passed else 'not '}ok {number} - {one.plan[number - 1][0]}{note}",
             *(f"# {line}" for line in text.splitlines()), f"# {time.monotonic() - begin:.1f} s"]
    return passed, "\n".join(lines)


def run(plan, options):
    """Runs tests and returns the program's exit status.

    plan: of each test the name, a function that makes its rig and is given the path of a log, the
    test's function, which is given the rig, its further arguments and its keyword arguments.
    """
    plan = [entry for entry in plan if options.filter in entry[0]]
    if options.list:
        print("\n".join(entry[0] for entry in plan))
        return 0
    print(f"1..{len(plan)}", flush=True)
    failed = 0
    with tempfile.TemporaryDirectory(prefix="vbb-test-") as scratch:
        one.plan, one.logs = plan, options.keep_logs or pathlib.Path(scratch)
        one.logs.mkdir(parents=True, exist_ok=True)
        last = {number for number, entry in enumerate(plan, 1) if hasattr(entry[2], "alone")}
        first = set(range(1, len(plan) + 1)) - last
        for numbers, jobs in (first, options.jobs), (last, 1):
            # a process for each test, so that none finds what another left
            with multiprocessing.get_context("fork").Pool(jobs, maxtasksperchild=1) as pool:
                for passed, text in pool.imap_unordered(one, sorted(numbers)):
                    failed += not passed
                    print(text, flush=True)
    print(f"# {len(plan) - failed} of {len(plan)} tests passed")
    return 1 if failed else 0
