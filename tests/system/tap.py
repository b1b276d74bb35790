# SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause
"""Tests with guests, their results printed as TAP."""

import argparse
import multiprocessing
import os
import pathlib
import resource
import subprocess
import tempfile
import time
import traceback

from harness import HarnessError

TOP = pathlib.Path(__file__).resolve().parents[2]
LIB = TOP / "scripts" / "lib"


class Failure(Exception):
    """What a test found wrong."""


class Lost(Failure):
    """A guest's memory is not what it has to be, or could be lost. Such a test gets no second run."""


class Again(Failure):
    """What the tests' own kernel is known to do at times; not our fault as long as it does not happen twice."""


class Skip(Exception):
    """Why a test has nothing to say here."""


def check(condition, what):
    if not condition:
        raise Failure(what)


def safe(condition, what):
    """As check(), of what could cost a guest its memory."""
    if not condition:
        raise Lost(what)


def poll(condition, timeout, what):
    """Waits until condition() holds; polls seldom, as the guest may need this CPU."""
    deadline = time.monotonic() + timeout
    while not condition():
        check(time.monotonic() < deadline, f"{what}: not within {timeout} s")
        time.sleep(0.02)


def intact(guest):
    """What the guest holds is what it wrote."""
    wrong = guest.verify()
    safe(wrong is None, f"the guest's data changed: {wrong}")


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


# A busy machine can make a test fail, but not many of them: so many run once more, by themselves. Those
# of which it is known that it was not their doing always do, and where it comes again a third time.
SECOND_RUNS = 3


def attempt(number):
    """Runs a test of the plan.

    Returns what it raised or None, that as a text, and whether a second run may tell otherwise: True,
    False, or Again where it was not the test's doing.
    """
    _, make_rig, function, args, kwargs = one.plan[number - 1]
    log = one.logs / f"{number:02}.log"
    if log.exists():
        log.replace(log.with_suffix(".first.log"))
    rig = make_rig(log)
    try:
        function(rig, *args, **kwargs)
        return None, "", False
    except Skip as why:
        return why, "", False
    except (Failure, HarnessError, OSError, subprocess.SubprocessError) as error:
        text = str(error) or traceback.format_exc()
        reports = rig.guest.reports() if rig.guest else []
        if reports:
            text += f"\n{len(reports)} reports, the first:\n{reports[0]}"
        if isinstance(error, Again):
            return error, text, Again
        return error, text, not reports and not isinstance(error, Lost)
    finally:
        rig.close()


def cpu_seconds():
    """What this test's processes have used; each test has a process of its own."""
    usage = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in usage)


def one(number):
    """Returns a test's number, whether it passed, whether to run it again, and what to print."""
    begin = time.monotonic()
    raised, text, again = attempt(number)
    note = f" # SKIP {raised}" if isinstance(raised, Skip) else ""
    passed = raised is None or bool(note)
    lines = [f"{'' if passed else 'not '}ok {number} - {one.plan[number - 1][0]}{note}",
             *(f"# {line}" for line in text.splitlines()),
             f"# {time.monotonic() - begin:.1f} s, {cpu_seconds():.1f} s of CPU"]
    return number, passed, again, "\n".join(lines)


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

    def results(numbers, jobs):
        # a process for each test, so that none finds what another left
        with multiprocessing.get_context("fork").Pool(jobs, maxtasksperchild=1) as pool:
            yield from pool.imap_unordered(one, sorted(numbers))

    failed, doubtful, again = 0, 0, {}
    with tempfile.TemporaryDirectory(prefix="vbb-test-") as scratch:
        one.plan, one.logs = plan, options.keep_logs or pathlib.Path(scratch)
        one.logs.mkdir(parents=True, exist_ok=True)
        for old in one.logs.glob("*.log"):
            old.unlink()
        last = {number for number, entry in enumerate(plan, 1) if hasattr(entry[2], "alone")}
        first = set(range(1, len(plan) + 1)) - last
        for numbers, jobs in (first, options.jobs), (last, 1):
            for number, passed, retry, text in results(numbers, jobs):
                if retry:
                    again[number] = text
                    doubtful += retry is not Again
                    print(text.replace("not ok", "# once:", 1), flush=True)
                    continue
                failed += not passed
                print(text, flush=True)
        if doubtful > SECOND_RUNS:
            failed += len(again)
            print(*again.values(), sep="\n", flush=True)
        else:
            for number, passed, retry, text in results(again, 1):
                if retry is Again:
                    _, passed, _, text = next(results([number], 1))
                failed += not passed
                print(text, flush=True)
    print(f"# {len(plan) - failed} of {len(plan)} tests passed")
    return 1 if failed else 0
