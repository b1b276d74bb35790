#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause
"""`vbb device` and what it asks of the guest: requests, answers, files, time limits, and drivers that lie.

usage: test_requests.py VBB [unittest's arguments]
"""

import collections
import os
import pathlib
import socket
import struct
import sys
import tempfile
import threading
import time

import frontend as fe
from frontend import bits
from devicerig import (ALL, BUFFER, LOW_LEN, OK, OLD, RAM_LEN, TABLES, Case, Latencies, bitmap, block, extent,
                       header, main)
from harness import QmpError

sys.path.append(str(pathlib.Path(__file__).resolve().parent.parent))
import wireshark  # noqa: E402  # pylint: disable=wrong-import-position

GET_UNUSED_PAGES, DROP_CACHE, CANCEL = 0, 1, 2
CONT, DONE, UNSUPPORTED, BUSY, CANCELLED, FAILED = range(6)
BITMAP, RECORDS, VALUES = range(3)

FEATURES = ALL | bits(fe.HOST_REQ)
RING = 0x20000  # where the ring lies
PARKED = TABLES  # and the buffers for requests
NUM = 256

Request = collections.namedtuple("Request", "cmd id arg0 arg1 len")


def words(*numbers):
    return struct.pack(f"<{len(numbers)}Q", *numbers)


class Driver:
    """The guest's end of the host_request queue."""

    def __init__(self, rig, nr_parked=2, park_len=32, cut=None):
        self.rig, self.nr_parked, self.park_len, self.cut = rig, nr_parked, park_len, cut
        self.index = 2 + sum(rig.offered >> bit & 1 for bit in (1, 3, 5))
        self.ring = rig.front.ring(self.index, RING, NUM)
        self.ring.set_up()
        self.requests = collections.deque()
        self.sent = 0
        self.unused = 0  # parked buffers that came back without a request
        self.parks()

    def parks(self):
        for i in range(self.nr_parked):
            self.park(i)
        self.ring.kick()

    def park(self, i):
        """Makes buffer i available: one descriptor, or a table of pieces."""
        gpa = PARKED + 4096 * i
        self.rig.front.write(gpa, b"\xa5" * 64)
        if self.cut:
            pieces = [(gpa + off, min(self.cut, self.park_len - off)) for off in range(0, self.park_len, self.cut)]
            self.rig.front.write(gpa + 64, b"".join(
                struct.pack("<QIHH", at, length, fe.WRITE | (fe.NEXT if n + 1 < len(pieces) else 0), n + 1)
                for n, (at, length) in enumerate(pieces)))
            self.ring.put_desc(i, gpa + 64, 16 * len(pieces), fe.INDIRECT, 0)
        else:
            self.ring.put_desc(i, gpa, self.park_len, fe.WRITE, 0)
        self.ring.offer(i)

    def pump(self, timeout=10):
        """Takes one chain back; a request is kept, and its buffer parked anew."""
        used = self.ring.wait(timeout)
        if used is None:
            return False
        head, length = used
        if head >= self.nr_parked:
            assert length == 0, "an answer has no room for one"
            self.sent -= 1
            return True
        if length:
            text = self.rig.front.read(PARKED + 4096 * head, 64)
            assert text[length:] == b"\xa5" * (64 - length)
            cmd, *reserved = struct.unpack("<4H", text[:8])
            assert reserved == [0] * 3
            args = struct.unpack("<3Q", text[8:32]) if length == 32 else (*struct.unpack("<Q", text[8:16]), 0, 0)
            self.requests.append(Request(cmd, *args, length))
        else:
            self.unused += 1
        self.park(head)
        self.ring.kick()
        return True

    def request(self, timeout=10):
        """The next request; None after a time without one."""
        while not self.requests:
            if not self.pump(timeout):
                return None
        return self.requests.popleft()

    def send(self, message, at=BUFFER):
        """Makes an answer available. Up to NUM - nr_parked can be under way."""
        self.rig.front.write(at, message)
        slot = self.nr_parked + self.sent
        self.sent += 1
        self.ring.put_desc(slot, at, len(message), 0, 0)
        self.ring.offer(slot)
        self.ring.kick()

    def answer(self, request, flag=DONE, fmt=BITMAP, payload=b"", wait=True, **more):
        message = header(fmt, payload, cmd=more.pop("cmd", request.cmd), flag=flag,
                         req_id=more.pop("req_id", request.id), **more)
        self.send(message)
        while wait and self.sent:
            assert self.pump(), "the answer does not come back"
        return len(message)


class Requests(Case):
    """Common to the tests here."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="vbb-runs-")
        self.addCleanup(folder.cleanup)
        self.file = os.path.join(folder.name, "runs")
        self.capture = os.path.join(folder.name, "capture.pcapng")

    def driver(self, *options, features=FEATURES, device=None, **more):
        rig = self.rig(device, *options, features=features)
        driver = Driver(rig, **more)
        if more.get("nr_parked", 2):
            # the device has to have seen what is parked
            self.wait_for(lambda: self.ready(rig.device))
        return driver

    def faults_captured(self):
        """By name, what readers of the capture find, once the device was asked for its counters."""
        packets, *_ = (wireshark.compare if wireshark.available() else wireshark.dump)(self.vbb, self.capture)
        return collections.Counter(packet["fault"]["name"] for packet in packets.values() if "fault" in packet)

    @staticmethod
    def ready(device):
        try:
            device.qmp.execute("x-get-unused-pages", file="/nowhere/at/all")
        except QmpError as error:
            return "Could not open" in str(error)
        return False

    def ask(self, driver, **arguments):
        """Asks for unused pages; returns the request as the guest sees it."""
        answer = driver.rig.device.qmp.execute("x-get-unused-pages", **arguments)
        request = driver.request()
        self.assertEqual((request.cmd, request.id), (GET_UNUSED_PAGES, answer["id"]))
        return request

    def ended(self, driver, request, status, timeout=30, **want):
        """The event that tells of the end; the rest of it must be so."""
        data = driver.rig.device.qmp.wait_event("X_HOST_REQUEST_END", timeout)
        self.assertIsNotNone(data, "no event")
        self.assertEqual((data["id"], data["status"]), (request.id, status), data)
        self.assertEqual({key: data[key] for key in want}, want)
        self.assertGreaterEqual(data["total-ms"], data.get("answered-ms", 0))
        listed = driver.rig.device.qmp.execute("x-query-requests")
        self.assertEqual(listed, [data])
        return data

    def refused(self, device, what, command, **arguments):
        with self.assertRaises(QmpError) as caught:
            device.qmp.execute(command, **arguments)
        self.assertIn(what, str(caught.exception))

    def lines(self):
        """What the file says: (comments, [(pfn, count)])."""
        text = pathlib.Path(self.file).read_text(encoding="ascii").splitlines()
        notes = [line for line in text if line.startswith("#")]
        return notes, [(int(pfn, 16), int(count)) for pfn, count in (
            line.split() for line in text if not line.startswith("#"))]


class UnusedPages(Requests):
    """GET_UNUSED_PAGES: what the guest names is in the file, and nothing is done to it."""

    def test_whole_memory(self):
        driver = self.driver()
        rig = driver.rig
        first = rig.ram[0].gpa >> 12
        request = self.ask(driver, file=self.file)
        self.assertEqual(request, Request(GET_UNUSED_PAGES, request.id, 0, 0, 16))
        length = driver.answer(request, CONT, RECORDS, words(*extent(first, 7), block(first + 64, 4), first + 128 | 1 << 58, 5))
        length += driver.answer(request, CONT, BITMAP, words(3), start_pfn=first + 256)
        length += driver.answer(request, DONE, RECORDS, words(*extent(first + 2, 3)))
        runs = [(first, 7), (first + 64, 16), (first + 128, 1), (first + 130, 1), (first + 256, 2), (first + 2, 3)]
        data = self.ended(driver, request, "done", command="get-unused-pages", messages=3, bytes=length, runs=len(runs),
                          pages=sum(count for _, count in runs))
        self.assertGreater(data["answered-ms"], 0)
        notes, got = self.lines()
        self.assertEqual(got, runs)
        self.assertEqual(notes, [f"# ram 0x{region.gpa >> 12:x} {region.len >> 12}" for region in rig.front.regions])
        self.assertEqual(rig.differences([]), [], "an answer is no permission to discard")
        self.assertEqual(self.faults(rig.device), {})
        counters = rig.device.counters()
        self.assertEqual(counters["host_requests"], {"asked": 1, "answers": 3, "unwanted": 0, "bytes": length})
        self.assertEqual(counters["discard_calls"], 0)

    def test_window_and_next_request(self):
        driver = self.driver()
        request = self.ask(driver, **{"first-pfn": 0x1234, "nr-pages": 1 << 52})
        self.assertEqual(request[2:], (0x1234, 1 << 52, 32))
        self.refused(driver.rig.device, "open already", "x-get-unused-pages")
        self.refused(driver.rig.device, "open already", "x-drop-cache")
        driver.answer(request)
        self.ended(driver, request, "done", pages=0, runs=0, messages=1, bytes=32)
        again = self.ask(driver, **{"nr-pages": 1})
        self.assertEqual(again[1:], (request.id + 1, 0, 1, 32))
        driver.answer(again)
        self.ended(driver, again, "done")

    def test_unit_of_the_answer(self):
        """Pages of 16 KiB and of 1 GiB come out as pages of 4 KiB."""
        driver = self.driver()
        request = self.ask(driver, file=self.file)
        driver.answer(request, CONT, RECORDS, words(*extent(5, 3)), page_shift=14)
        driver.answer(request, DONE, RECORDS, words(block((1 << 34) - 1)), page_shift=30)
        self.ended(driver, request, "done", pages=12 + (1 << 18), runs=2)
        self.assertEqual(self.lines()[1], [(20, 12), ((1 << 52) - (1 << 18), 1 << 18)])

    def test_without_records(self):
        driver = self.driver("--no-records", features=FEATURES & ~bits(fe.PAGE_RECORDS))
        request = self.ask(driver, file=self.file)
        driver.answer(request, CONT, RECORDS, words(block(5)))
        driver.answer(request, DONE, BITMAP, words(1), start_pfn=9)
        self.ended(driver, request, "done", pages=1)
        self.assertEqual(self.faults(driver.rig.device), {"FORMAT": 1})

    def test_what_the_guest_says(self):
        for flag, status in ((UNSUPPORTED, "unsupported"), (BUSY, "busy"), (CANCELLED, "cancelled"), (FAILED, "failed")):
            driver = self.driver()
            request = self.ask(driver, file=self.file)
            driver.answer(request, flag)
            self.ended(driver, request, status, pages=0)

    def test_progress(self):
        driver = self.driver()
        device = driver.rig.device
        self.assertEqual(device.qmp.execute("x-query-requests"), [])
        request = self.ask(driver)
        driver.answer(request, CONT, RECORDS, words(*extent(100, 5), *extent(200, 6)))
        listed, = device.qmp.execute("x-query-requests")
        self.assertEqual((listed["id"], listed["status"], listed["pages"], listed["bytes"]), (request.id, "open", 5, 64))
        self.assertNotIn("answered-ms", listed)
        driver.answer(request)
        self.ended(driver, request, "done", pages=11)

    def test_many_under_way(self):
        """More answers in the ring than the device looks at in one go."""
        driver = self.driver()
        request = self.ask(driver, file=self.file)
        message = header(RECORDS, words(*(block(2 * i) for i in range(1000))), req_id=request.id)
        for _ in range(200):
            driver.send(message)
        driver.send(header(BITMAP, b"", flag=DONE, req_id=request.id), BUFFER + len(message))
        self.ended(driver, request, "done", runs=200 * 1000, messages=201)
        self.assertEqual(len(self.lines()[1]), 200 * 1000)

    def test_control_goes_on(self):
        """The longest message there is: 4 million runs."""
        driver = self.driver()
        rig = driver.rig
        request = self.ask(driver, file="/dev/null")
        size = pathlib.Path(f"/proc/{rig.device.pid}/status")
        rss = lambda: next(int(line.split()[1]) for line in size.read_text().splitlines() if line.startswith("VmHWM"))
        before = rss()
        driver.answer(request, DONE, BITMAP, b"\x55" * (1 << 20), wait=False)
        latencies = Latencies(rig.device)
        while not driver.ring.wait(0):
            latencies.measure()
        data = self.ended(driver, request, "done", runs=1 << 22, pages=1 << 22)
        latencies.check(self, data)
        # the runs would take 64 MiB; the message itself was read, 1 MiB of it
        self.assertLess(rss() - before, 8192)

    def test_refused(self):
        device = self.device()
        self.refused(device, "No guest", "x-get-unused-pages")
        self.rig(device, features=ALL).front.close()
        self.refused(device, "No guest", "x-drop-cache")
        driver = self.driver(device=device, nr_parked=0)
        self.refused(device, "no buffer", "x-get-unused-pages")
        self.assertFalse(os.path.exists(self.file))
        driver.nr_parked = 1
        driver.parks()
        self.wait_for(lambda: self.ready(device))
        for arguments in ({"first-pfn": -1}, {"first-pfn": 1 << 52}, {"nr-pages": (1 << 52) + 1}, {"timeout-ms": 0},
                          {"timeout-ms": 3600001}, {"first-pfn": 1 << 63}):
            self.refused(device, "out of range", "x-get-unused-pages", **arguments)
        for arguments in ({"first-pfn": "1"}, {"file": 1}, {"x": 1}):
            self.refused(device, "arameter", "x-get-unused-pages", **arguments)
        self.refused(device, "Either", "x-get-unused-pages", file="x", fdname="y")
        self.refused(device, "not found", "x-get-unused-pages", fdname="y")
        self.refused(device, "expects", "x-drop-cache", mode="some")
        self.refused(device, "out of range", "x-drop-cache", limit=-1)
        self.refused(device, "No such request", "x-cancel", id=1)
        self.refused(device, "missing", "x-cancel")
        request = self.ask(driver)
        driver.answer(request)
        self.ended(driver, request, "done")
        self.refused(device, "No such request", "x-cancel", id=request.id)

    def test_not_offered(self):
        for options in (("--no-requests",), ("--no-bitmap",)):
            rig = self.rig(None, *options, features=OLD)
            self.assertFalse(rig.offered & bits(fe.HOST_REQ))
            with self.assertRaises(fe.Refused):
                rig.front.request(fe.SET_FEATURES, struct.pack("=Q", OLD | bits(fe.HOST_REQ)))

    # VBB-DEV-01
    def test_needs_bitmap(self):
        rig = self.rig(features=OLD)
        self.assertTrue(rig.offered & bits(fe.HOST_REQ))
        with self.assertRaises(fe.Refused):
            rig.front.request(fe.SET_FEATURES, struct.pack("=Q", OLD | bits(fe.HOST_REQ)))


class Files(Requests):
    """Where the runs go; whatever that is, nothing waits for it."""

    RUNS = 20000  # more than a pipe takes

    def pass_fd(self, driver, fd, name="runs"):
        """Names a descriptor to the device, which keeps its own copy."""
        qmp = driver.rig.device.qmp
        socket.send_fds(qmp._socket, [b" "], [fd])  # pylint: disable=protected-access
        qmp.execute("getfd", fdname=name)

    def pipe(self, driver):
        read, write = os.pipe()
        self.addCleanup(os.close, read)
        self.pass_fd(driver, write)
        os.close(write)
        return read

    def answer_much(self, driver, request, wait=False):
        driver.answer(request, DONE, RECORDS, words(*(block(2 * i) for i in range(self.RUNS))), wait=wait)

    def test_pipe(self):
        driver = self.driver()
        read = self.pipe(driver)
        request = self.ask(driver, fdname="runs")
        self.refused(driver.rig.device, "not found", "closefd", fdname="runs")
        self.answer_much(driver, request)
        # full by now; the rest of the device does not notice
        time.sleep(0.1)
        self.assertEqual(driver.rig.device.qmp.execute("x-query-requests")[0]["status"], "open")
        page = driver.rig.ram[0].gpa >> 12
        driver.rig.front.write(TABLES + 0x10000, bitmap([page]))
        driver.rig.inflate.add([(TABLES + 0x10000, 40)])
        driver.rig.inflate.kick()
        self.assertEqual(driver.rig.inflate.wait(), (0, 0))
        cpu = driver.rig.device.cpu_seconds()
        time.sleep(0.3)
        self.assertLess(driver.rig.device.cpu_seconds() - cpu, 0.1, "it spins")
        with os.fdopen(os.dup(read)) as file:
            text = file.read()
        self.ended(driver, request, "done", runs=self.RUNS)
        lines = [line for line in text.splitlines() if not line.startswith("#")]
        self.assertEqual(lines, [f"0x{2 * i:x} 1" for i in range(self.RUNS)])

    def test_pipe_that_nobody_reads(self):
        """The time limit ends it, also when the guest has said all."""
        for waits in (False, True):
            driver = self.driver()
            read = self.pipe(driver)
            request = self.ask(driver, fdname="runs", **{"timeout-ms": 300})
            self.answer_much(driver, request)
            if waits:
                # one more, which stays in the ring
                driver.send(header(BITMAP, b"", flag=DONE, req_id=request.id), TABLES + 0x20000)
            data = self.ended(driver, request, "timeout")
            self.assertLess(data["total-ms"], 5000)
            text = b""
            while piece := os.read(read, 1 << 20):
                text += piece
            self.assertGreater(len(text), 32768)
            self.assertEqual(driver.rig.send(driver.rig.inflate, bitmap([driver.rig.ram[0].gpa >> 12]))[1], (1, OK, 12, 0))

    def test_pipe_whose_reader_goes(self):
        driver = self.driver()
        read, write = os.pipe()
        self.pass_fd(driver, write)
        os.close(write)
        request = self.ask(driver, fdname="runs")
        os.close(read)
        self.answer_much(driver, request)
        data = self.ended(driver, request, "error")
        self.assertEqual(data["error"], "Broken pipe")

    def test_full_disk(self):
        """Told at the first answer; the guest is stopped."""
        driver = self.driver()
        request = self.ask(driver, file="/dev/full")
        driver.answer(request, CONT, RECORDS, words(*(block(2 * i) for i in range(self.RUNS))), wait=False)
        cancel = driver.request()
        self.assertEqual(cancel[0::2], (CANCEL, request.id, 32))
        driver.answer(request, CANCELLED)
        driver.answer(cancel, DONE)
        data = self.ended(driver, request, "error")
        self.assertEqual(data["error"], "No space left on device")
        # and where little is written, at the end
        request = self.ask(driver, file="/dev/full")
        driver.answer(request, DONE, RECORDS, words(block(1)))
        self.ended(driver, request, "error", error="No space left on device")

    def test_what_cannot_be_opened(self):
        driver = self.driver()
        os.mkfifo(self.file)
        for path in (self.file, "/", "/nowhere/at/all", ""):
            self.refused(driver.rig.device, "Could not open", "x-get-unused-pages", file=path)
        read_only = os.open("/dev/null", os.O_RDONLY)
        self.pass_fd(driver, read_only)
        os.close(read_only)
        request = self.ask(driver, fdname="runs")
        driver.answer(request, DONE, RECORDS, words(block(1)))
        self.ended(driver, request, "error", error="Bad file descriptor")

    def test_names_of_descriptors(self):
        driver = self.driver()
        device = driver.rig.device
        fds = lambda: len(os.listdir(f"/proc/{device.pid}/fd"))
        before = fds()
        self.refused(device, "SCM_RIGHTS", "getfd", fdname="x")
        for name in "abcd":
            self.pass_fd(driver, 0, name)
        self.assertEqual(fds(), before + 4)
        self.pass_fd(driver, 0, "a")
        self.assertEqual(fds(), before + 4)
        for name in ("e", "1", "", "x" * 32):
            with self.assertRaises(QmpError):
                self.pass_fd(driver, 0, name)
        # the last one that was passed still waits for its name
        self.assertEqual(fds(), before + 5)
        device.qmp.execute("closefd", fdname="b")
        device.qmp.execute("getfd", fdname="y")
        self.assertEqual(fds(), before + 4)
        self.refused(device, "not found", "closefd", fdname="b")
        # many at once: only the last one is kept
        socket.send_fds(device.qmp._socket, [b" "], [0] * 20)  # pylint: disable=protected-access
        self.assertEqual(device.qmp.execute("query-balloon")["actual"], LOW_LEN + RAM_LEN)
        self.assertEqual(fds(), before + 5)


class DropCache(Requests):
    """DROP_CACHE: how much, and what the guest says of it."""

    def drop(self, driver, **arguments):
        answer = driver.rig.device.qmp.execute("x-drop-cache", **arguments)
        request = driver.request()
        self.assertEqual((request.cmd, request.id), (DROP_CACHE, answer["id"]))
        return request

    def test_modes(self):
        driver = self.driver()
        for arguments, want in (({}, (3, 0)), ({"mode": "page"}, (1, 0)), ({"mode": "slab", "limit": 77}, (2, 77)),
                                ({"mode": "all", "limit": 1}, (3, 1))):
            request = self.drop(driver, **arguments)
            self.assertEqual((request.arg0, request.arg1), want)
            driver.answer(request, CONT, VALUES, words(5))
            driver.answer(request, DONE, VALUES, words(7, 8))
            data = self.ended(driver, request, "done", command="drop-cache", freed=20, messages=2)
            self.assertNotIn("pages", data)
        self.assertEqual(self.faults(driver.rig.device), {})

    def test_unsupported(self):
        driver = self.driver()
        request = self.drop(driver)
        driver.answer(request, UNSUPPORTED)
        self.ended(driver, request, "unsupported", freed=0)


class Ends(Requests):
    """Cancels, time limits and resets."""

    def test_cancel(self):
        driver = self.driver()
        device = driver.rig.device
        request = self.ask(driver, file=self.file)
        driver.answer(request, CONT, RECORDS, words(block(1)))
        device.qmp.execute("x-cancel", id=request.id)
        self.refused(device, "No such request", "x-cancel", id=request.id)
        cancel = driver.request()
        self.assertEqual(cancel, Request(CANCEL, request.id + 1, request.id, 0, 32))
        self.assertEqual(device.qmp.execute("x-query-requests")[0]["status"], "cancelling")
        # what comes now is not wanted, and no fault
        driver.answer(request, CONT, RECORDS, words(block(3)))
        driver.answer(request, CANCELLED)
        driver.answer(cancel, DONE)
        self.ended(driver, request, "cancelled")
        self.assertEqual(self.faults(device), {})
        self.assertEqual(device.counters()["host_requests"]["unwanted"], 1)
        request = self.ask(driver)
        driver.answer(request)
        self.ended(driver, request, "done")

    def test_done_before_the_cancel(self):
        driver = self.driver()
        device = driver.rig.device
        request = self.ask(driver, file=self.file)
        device.qmp.execute("x-cancel", id=request.id)
        driver.answer(request, DONE, RECORDS, words(block(3)))
        driver.answer(driver.request(), DONE)
        self.ended(driver, request, "cancelled", pages=0)
        self.assertEqual(self.faults(device), {})

    def test_cancel_waits_for_a_buffer(self):
        driver = self.driver(nr_parked=1)
        device = driver.rig.device
        park, driver.park = driver.park, lambda i: None
        request = self.ask(driver)
        device.qmp.execute("x-cancel", id=request.id)
        self.assertIsNone(driver.request(0.1))
        driver.park = park
        driver.parks()
        cancel = driver.request()
        self.assertEqual((cancel.cmd, cancel.arg0), (CANCEL, request.id))
        driver.answer(request, CANCELLED)
        self.ended(driver, request, "cancelled")

    # VBB-DEV-13
    def test_guest_that_does_not_obey(self):
        """A second of grace; then its answers are faults, and it is asked anew. A capture does not tell when it is over."""
        driver = self.driver("--capture", self.capture)
        device = driver.rig.device
        request = self.ask(driver, **{"timeout-ms": 200})
        cancel = driver.request()
        self.assertEqual((cancel.cmd, cancel.arg0), (CANCEL, request.id))
        data = self.ended(driver, request, "timeout")
        self.assertGreater(data["total-ms"], 1200)
        self.assertLess(data["total-ms"], 4000)
        self.assertNotIn("answered-ms", data)
        driver.answer(request, CONT, RECORDS, words(block(1)))
        driver.answer(request, DONE)
        self.assertEqual(self.faults(device), {"REQ_STALE": 2})
        self.assertEqual(self.faults_captured(), {})
        again = self.ask(driver, **{"timeout-ms": 200})
        driver.answer(again, BUSY)
        self.ended(driver, again, "busy")
        # the cancel that was never answered is not in the way of the next
        third = self.ask(driver)
        device.qmp.execute("x-cancel", id=third.id)
        cancel = driver.request()
        self.assertEqual((cancel.cmd, cancel.arg0), (CANCEL, third.id))
        driver.answer(third, CANCELLED)
        self.ended(driver, third, "cancelled")

    # VBB-DEV-13
    def test_timeout_and_guest_obeys(self):
        driver = self.driver()
        request = self.ask(driver, **{"timeout-ms": 100})
        cancel = driver.request()
        driver.answer(request, CANCELLED)
        driver.answer(cancel, DONE)
        data = self.ended(driver, request, "timeout")
        self.assertLess(data["total-ms"], 1000)

    # VBB-DEV-18
    def test_reset(self):
        for reset in (lambda front: front.request(fe.RESET_DEVICE), lambda front: front.close(),
                      lambda front: front.request(fe.SET_FEATURES, struct.pack("=Q", FEATURES)),
                      lambda front: front.request(fe.SET_STATUS, bytes(8))):
            driver = self.driver()
            request = self.ask(driver, file=self.file)
            reset(driver.rig.front)
            self.ended(driver, request, "reset")
            self.refused(driver.rig.device, "", "x-get-unused-pages")

    def test_reset_while_the_guest_stops(self):
        driver = self.driver()
        request = self.ask(driver)
        driver.rig.device.qmp.execute("x-cancel", id=request.id)
        driver.rig.front.request(fe.RESET_DEVICE)
        data = self.ended(driver, request, "cancelled")
        self.assertLess(data["total-ms"], 900)

    def test_sigterm_in_the_middle(self):
        driver = self.driver()
        self.ask(driver, file=self.file)
        driver.rig.device.stop(1)

    def pauses(self, driver):
        front, ring = driver.rig.front, driver.ring

        def disable():
            ring.enable(False)
            ring.enable(True)

        def base():
            _, at = struct.unpack("=II", front.ask(fe.GET_VRING_BASE, struct.pack("=II", driver.index, 0)))
            front.request(fe.SET_VRING_BASE, struct.pack("=II", driver.index, at))
            front.request(fe.SET_VRING_KICK, struct.pack("=Q", driver.index), [ring.kick_fd])

        return disable, base, lambda: front.share(front.regions)

    # VBB-DEV-14
    def test_pause(self):
        """What is parked comes back unused, and is not seen again where it once was; the request goes on."""
        # also more than the device has places for
        for i, nr_parked in ((0, 5), (1, 5), (2, 5), (0, 40), (1, 40), (2, 40)):
            driver = self.driver(nr_parked=nr_parked)
            request = self.ask(driver)
            driver.answer(request, CONT, RECORDS, words(*extent(10, 2)))
            pause = self.pauses(driver)[i]
            for _ in range(3):
                pause()
                while driver.pump(0.1):
                    pass
            self.assertGreaterEqual(driver.unused, 3 * (nr_parked - 1))
            driver.answer(request, DONE, RECORDS, words(*extent(20, 2)))
            self.ended(driver, request, "done", pages=4)
            self.assertEqual(self.faults(driver.rig.device), {})
            self.wait_for(lambda driver=driver: self.ready(driver.rig.device))
            request = self.ask(driver)
            driver.answer(request)
            self.ended(driver, request, "done")

    def test_pause_in_the_middle_of_an_answer(self):
        for flag in (CONT, DONE):
            driver = self.driver()
            request = self.ask(driver)
            driver.answer(request, flag, BITMAP, b"\x55" * (1 << 20), wait=False)
            self.wait_for(lambda driver=driver: driver.rig.device.qmp.execute("x-query-requests")[0]["pages"])
            driver.ring.enable(False)
            driver.ring.enable(True)
            while driver.sent:
                self.assertTrue(driver.pump())
            if flag == CONT:
                self.assertEqual(driver.request().cmd, CANCEL)
                driver.answer(request, CANCELLED)
            data = self.ended(driver, request, "error")
            self.assertIn("middle of an answer", data["error"])
            while driver.pump(0.1):
                pass
            self.wait_for(lambda driver=driver: self.ready(driver.rig.device))
            request = self.ask(driver)
            driver.answer(request)
            self.ended(driver, request, "done")


class Lies(Requests):
    """What a driver should not send: named, counted, and the queue goes on."""

    # VBB-DEV-08
    def test_answers(self):
        """Who reads a capture of it counts as the device does."""
        driver = self.driver("--capture", self.capture)
        device = driver.rig.device
        no_request = Request(GET_UNUSED_PAGES, 4711, 0, 0, 16)
        driver.answer(no_request)
        want = {"REQ_STALE": 1}
        self.assertEqual(self.faults(device), want)
        request = self.ask(driver, file=self.file)
        some = words(block(5))
        for name, arguments in (
                ("REQ_STALE", {"req_id": request.id + 1}), ("REQ_STALE", {"req_id": 0}), ("REQ_CMD", {"cmd": 1}),
                ("REQ_CMD", {"cmd": 99}), ("REQ_STALE", {"req_id": (1 << 64) - 1, "cmd": 2}),
                ("FORMAT", {"fmt": VALUES}), ("FLAG", {"flag": 6}), ("PAGE_SHIFT", {"page_shift": 11}),
                ("PAYLOAD", {"flag": CANCELLED}), ("LEN", {"bmap_len": 16}), ("FORMAT", {"fmt": 3})):
            arguments = {"flag": CONT, "fmt": RECORDS, "payload": some, **arguments}
            driver.answer(request, **arguments)
            want[name] = want.get(name, 0) + 1
            self.assertEqual(self.faults(device), want, arguments)
        driver.answer(request, CONT, BITMAP, b"")
        driver.send(b"\0" * 31)
        self.wait_for(lambda: self.faults(device) == {**want, "LEN_EMPTY": 1, "SHORT": 1})
        while driver.sent:
            driver.pump()
        # the request is still open
        driver.answer(request, DONE, RECORDS, some)
        self.ended(driver, request, "done", pages=1)
        driver.answer(request, DONE)
        self.assertEqual(self.faults(device)["REQ_STALE"], want["REQ_STALE"] + 1)
        self.assertEqual(self.faults_captured(), self.faults(device))

    def test_payload(self):
        """What came before the fault is in the file; whoever asked is told that it is not all."""
        for flag in (CONT, DONE):
            driver = self.driver()
            request = self.ask(driver, file=self.file)
            driver.answer(request, flag, RECORDS, words(block(0x200, 9), block(0x201, 9)))
            if flag == CONT:
                cancel = driver.request()
                driver.answer(request, CANCELLED)
                driver.answer(cancel, DONE)
            data = self.ended(driver, request, "error")
            self.assertIn("multiple of 2^order", data["error"])
            self.assertEqual(self.faults(driver.rig.device), {"REC_ALIGN": 1})

    # VBB-DEV-08
    def test_cancel_with_payload(self):
        driver = self.driver("--capture", self.capture)
        request = self.ask(driver)
        driver.rig.device.qmp.execute("x-cancel", id=request.id)
        cancel = driver.request()
        driver.answer(cancel, DONE, BITMAP, words(1))
        driver.answer(request, CANCELLED)
        self.ended(driver, request, "cancelled")
        self.assertEqual(self.faults(driver.rig.device), {"PAYLOAD": 1})
        self.assertEqual(self.faults_captured(), {"PAYLOAD": 1})

    # VBB-DEV-09
    def test_pages_that_are_not_there(self):
        """They are what the guest says; no address is touched for it."""
        driver = self.driver()
        request = self.ask(driver, file=self.file)
        driver.answer(request, DONE, RECORDS, words(*extent(0, 1 << 52)))
        self.ended(driver, request, "done", pages=1 << 52, runs=1)
        self.assertEqual(driver.rig.differences([]), [])

    # VBB-DEV-17
    def test_small_buffers(self):
        driver = self.driver(nr_parked=0)
        driver.nr_parked, driver.park_len = 1, 31
        driver.parks()
        self.assertTrue(driver.pump())
        self.assertGreaterEqual(self.faults(driver.rig.device)["SHORT"], 1)
        driver.park_len = 40
        self.wait_for(lambda: driver.pump(0.05) or self.ready(driver.rig.device))
        self.wait_for(lambda: self.ready(driver.rig.device))
        request = self.ask(driver)
        driver.answer(request)
        self.ended(driver, request, "done")

    def test_buffers_in_pieces(self):
        for cut in (1, 3, 16):
            driver = self.driver(cut=cut)
            request = self.ask(driver, **{"first-pfn": 0x1122334455667})
            self.assertEqual(request.arg0, 0x1122334455667)
            driver.answer(request)
            self.ended(driver, request, "done")

    def test_many_buffers(self):
        """More than the device has places for: the others wait in its hands."""
        driver = self.driver(nr_parked=100)
        for _ in range(150):
            request = self.ask(driver)
            driver.answer(request)
            self.ended(driver, request, "done")
        self.assertEqual(self.faults(driver.rig.device), {})

    def test_broken_ring(self):
        driver = self.driver()
        request = self.ask(driver, **{"timeout-ms": 300})
        driver.ring.offer(NUM + 1)
        driver.ring.kick()
        self.ended(driver, request, "timeout")
        self.assertEqual(self.faults(driver.rig.device), {"RING_INDEX": 1})
        self.assertEqual(driver.rig.send(driver.rig.inflate, bitmap([driver.rig.ram[0].gpa >> 12]))[1], (1, OK, 12, 0))

    def test_answer_that_changes_while_it_is_read(self):
        """A guest that writes while the device reads: some fault or none, and the device lives."""
        driver = self.driver()
        stop = threading.Event()

        def scribble():
            while not stop.is_set():
                driver.rig.front.write(BUFFER + 32 + driver.rig.rng.randrange(8192) * 8, driver.rig.rng.randbytes(8))

        thread = threading.Thread(target=scribble)
        thread.start()
        try:
            for _ in range(30):
                request = self.ask(driver, **{"timeout-ms": 2000})
                driver.answer(request, DONE, RECORDS, words(*(block(2 * i) for i in range(8192))))
                data = driver.rig.device.qmp.wait_event("X_HOST_REQUEST_END", 5)
                self.assertIn(data["status"], ("done", "error"))
        finally:
            stop.set()
            thread.join()
        self.assertEqual(driver.rig.send(driver.rig.inflate, bitmap([driver.rig.ram[0].gpa >> 12]))[1],
                         (1, OK, 12, 0))


if __name__ == "__main__":
    main(__name__)
