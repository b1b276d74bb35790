# SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause
"""What `vbb device --capture` wrote while a guest ran, part of test_guest.py."""

import collections
import contextlib
import os
import sys
import tempfile

from tap import TOP, Failure, check

sys.path.append(str(TOP / "tests"))
import wireshark  # noqa: E402  # pylint: disable=wrong-import-position

FORMATS = ("bitmap", "records", "values")


@contextlib.contextmanager
def folder():
    """A path for a capture."""
    with tempfile.TemporaryDirectory(prefix="vbb-capture-") as path:
        yield os.path.join(path, "guest.pcapng")


def kind_of(packet):
    """As the device counts it, or None."""
    if packet["kind"] == "done":
        return next((name for name in ("result", "request") if name in packet), None)
    if packet["role"] in ("inflate", "deflate"):
        return FORMATS[packet["header"]["format"]] if "header" in packet else "pfns"
    if packet["role"] == "host_request" and packet["len"]:
        return "answer"
    return {"stats": "stats", "reporting": "report"}.get(packet["role"])


def agree(vbb, path, counters):
    """The capture holds what the device counted, and Wireshark sees in it what vbb sees."""
    if wireshark.available():
        try:
            packets, frames = wireshark.compare(vbb, path)
        except AssertionError as error:
            raise Failure(f"vbb dump and Wireshark differ: {error}") from None
        answers = [frame for frame in frames.values() if frame["request_frame"]]
        check(len(answers) == counters["host_requests"]["answers"],
              f"{len(answers)} answers have a request, of {counters['host_requests']}")
    else:
        print("SKIP captures of guests in Wireshark: no tshark that runs Lua", flush=True)
        packets, status, complaint = wireshark.dump(vbb, path)
        check(not status and not complaint, f"{status} {complaint}")
    check(not any("fault" in packet for packet in packets.values()), "there is a fault in the capture")
    seen = collections.Counter(map(kind_of, packets.values()))
    want = {"result": counters["results"], "request": counters["host_requests"]["asked"],
            "answer": counters["host_requests"]["answers"],
            "stats": counters["stats"], "report": counters["reports"], **counters["messages"]}
    differ = {name: (seen[name], count) for name, count in want.items() if seen[name] != count}
    check(not differ, f"in the capture, and counted: {differ}")
