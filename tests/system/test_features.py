#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause
"""`vbb device` and the features of the virtio specification: statistics, free page hints, reporting, poison.

usage: test_features.py VBB [unittest's arguments]
"""

import os
import pathlib
import struct
import tempfile
import time

import frontend as fe
from devicerig import ALL, BUFFER, MIB, OK, TABLES, Case, Latencies, Rig, bitmap, main
from frontend import Memory, Region, bits
from harness import QmpError

STATS, HINT, POISON, REPORTING = 1, 3, 4, 5
UNKNOWN = (1 << 64) - 1
STOP, DONE, FIRST_ID = 0, 1, 0x80000000
RING, NUM = 0x20000, 64  # where the ring lies that a test is about
HUGE_LEN = 2 * MIB


def stat(tag, value):
    return struct.pack("<HQ", tag, value)


class FeatureCase(Case):
    """A device that offers all, and a front-end with one more ring."""

    options = ()
    feature = None

    def driver(self, *options, device=None, features=None, **more):
        """A rig, with the ring of the feature."""
        options = options or self.options
        features = ALL | bits(self.feature) if features is None else features
        rig = self.rig(device, *options, features=features, **more)
        rig.ring = rig.front.ring(2 + sum(rig.offered >> bit & 1 for bit in (1, 3, 5) if bit < self.feature), RING, NUM)
        rig.ring.set_up()
        return rig

    def refused(self, device, what, command, **arguments):
        with self.assertRaises(QmpError) as caught:
            device.qmp.execute(command, **arguments)
        self.assertIn(what, str(caught.exception))

    def chain(self, rig, out=(), into=(), wait=True):
        """Makes a chain available, and waits until it is back, with length 0."""
        head = rig.ring.add(out, into)
        rig.ring.kick()
        if wait:
            self.assertEqual(rig.ring.wait(), (head, 0))


class Statistics(FeatureCase):
    """As QEMU has it: the driver's buffer stays with the device until it wants new values."""

    feature = STATS

    def send(self, rig, *stats, text=None):
        """The driver's one buffer, with these values."""
        text = b"".join(stat(*pair) for pair in stats) if text is None else text
        rig.front.write(BUFFER, text)
        before = rig.device.counters()["stats"]
        rig.ring.free = 0
        self.chain(rig, [(BUFFER, len(text))], wait=False)
        self.wait_for(lambda: rig.device.counters()["stats"] == before + 1)

    def get(self, device, name="guest-stats"):
        return device.qmp.execute("qom-get", path="/machine/peripheral/balloon0", property=name)

    def poll(self, device, interval):
        device.qmp.execute("qom-set", path="/machine/peripheral/balloon0", property="guest-stats-polling-interval",
                           value=interval)

    def test_values(self):
        rig = self.driver()
        got = self.get(rig.device)
        self.assertEqual(got["last-update"], 0)
        self.assertEqual(set(got["stats"].values()), {UNKNOWN})
        names = ["stat-swap-in", "stat-swap-out", "stat-major-faults", "stat-minor-faults", "stat-free-memory",
                 "stat-total-memory", "stat-available-memory", "stat-disk-caches", "stat-htlb-pgalloc",
                 "stat-htlb-pgfail", "stat-oom-kill", "stat-alloc-stall", "stat-scan-async", "stat-scan-direct",
                 "stat-reclaim-async", "stat-reclaim-direct"]
        self.send(rig, *((tag, 1000 + tag) for tag in range(16)))
        got = self.get(rig.device)
        self.assertEqual(got["stats"], {name: 1000 + tag for tag, name in enumerate(names)})
        self.assertLess(abs(got["last-update"] - time.time()), 5)
        self.assertIsNone(rig.ring.wait(0.2), "nobody has asked")
        self.assertEqual(self.faults(rig.device), {})

    def test_polling(self):
        rig = self.driver()
        self.send(rig, (4, 5))
        self.assertEqual(self.get(rig.device, "guest-stats-polling-interval"), 0)
        begin = time.monotonic()
        self.poll(rig.device, 1)
        self.assertEqual(self.get(rig.device, "guest-stats-polling-interval"), 1)
        # at once, then once a second
        self.assertEqual(rig.ring.wait(), (0, 0))
        for i in range(2):
            self.send(rig, (4, 6 + i), (4, 7 + i))
            self.assertEqual(rig.ring.wait(), (0, 0))
            self.assertGreater(time.monotonic() - begin, 0.9 * (i + 1))
            stats = self.get(rig.device)["stats"]
            self.assertEqual((stats["stat-free-memory"], stats["stat-swap-in"]), (7 + i, UNKNOWN))
        # a guest that takes its time is asked when it has answered
        time.sleep(1.2)
        self.send(rig, (4, 9))
        self.assertEqual(rig.ring.wait(), (0, 0))
        self.send(rig, (4, 9))
        self.poll(rig.device, 0)
        if rig.ring.wait(0):
            # a busy machine was not told within the second
            self.send(rig, (4, 9))
        self.assertIsNone(rig.ring.wait(1.2))
        # the longest interval is no trouble
        self.poll(rig.device, (1 << 32) - 1)
        self.assertEqual(rig.ring.wait(), (0, 0))
        self.send(rig, (4, 9))
        self.assertIsNone(rig.ring.wait(0.2))

    def test_lies(self):
        rig = self.driver()
        self.send(rig, (0, 1))
        self.poll(rig.device, 3600)
        self.assertEqual(rig.ring.wait(), (0, 0))
        self.poll(rig.device, 0)
        want = {}
        updated = self.get(rig.device)["last-update"]
        self.wait_for(lambda: time.time() >= updated + 1)
        for name, text in (("LEN_ALIGN", bytes(9)), ("LEN_ALIGN", stat(0, 2) + b"x"), ("LEN_MAX", stat(0, 3) * 65)):
            want[name] = want.get(name, 0) + 1
            self.send(rig, text=text)
            self.assertEqual(self.faults(rig.device), want)
            got = self.get(rig.device)
            self.assertEqual((got["stats"]["stat-swap-in"], got["last-update"]), (1, updated))
            self.poll(rig.device, 3600)
            self.assertEqual(rig.ring.wait(), (0, 0))
            self.poll(rig.device, 0)
        self.send(rig, (16, 1), (0xffff, 2), (3, 4), (0x8000, 1))
        self.assertEqual(rig.device.counters()["stats_unknown"], 3)
        stats = self.get(rig.device)["stats"]
        self.assertEqual({name: value for name, value in stats.items() if value != UNKNOWN}, {"stat-minor-faults": 4})
        # a second buffer: the first comes back
        rig.front.write(BUFFER, stat(2, 77))
        rig.ring.put_desc(9, BUFFER, 10, 0, 0)
        rig.ring.offer(9)
        rig.ring.kick()
        self.assertEqual(rig.ring.wait(), (0, 0))
        self.assertEqual(self.get(rig.device)["stats"]["stat-major-faults"], 77)
        # no value at all, in a buffer to be written
        rig.ring.put_desc(0, BUFFER, 64, fe.WRITE, 0)
        rig.ring.offer(0)
        rig.ring.kick()
        self.assertEqual(rig.ring.wait(), (9, 0))
        self.assertEqual(set(self.get(rig.device)["stats"].values()), {UNKNOWN})

    def test_queue_that_stops(self):
        rig = self.driver()
        self.send(rig, (0, 1))
        rig.ring.enable(False)
        self.poll(rig.device, 1)
        self.assertIsNone(rig.ring.wait(0.2))
        rig.front.write(BUFFER, stat(0, 2))
        rig.ring.enable(True)
        # the buffer is seen again, and a second later the guest is asked
        self.assertEqual(rig.ring.wait(), (0, 0))
        self.assertEqual(self.get(rig.device)["stats"]["stat-swap-in"], 2)
        rig.front.request(fe.RESET_DEVICE)
        self.assertEqual(self.get(rig.device)["last-update"], 0)
        self.assertEqual(self.get(rig.device, "guest-stats-polling-interval"), 1)

    def test_qom(self):
        device = self.device()
        balloon = {"path": "balloon0", "property": "guest-stats-polling-interval"}
        self.refused(device, "not found", "qom-get", path="/machine/peripheral/balloon1", property="guest-stats")
        self.refused(device, "not found", "qom-get", path="balloon0", property="type")
        self.refused(device, "not found", "qom-set", path="balloon0", property="type", value=1)
        self.refused(device, "not writable", "qom-set", path="balloon0", property="guest-stats", value=1)
        self.refused(device, "missing", "qom-set", **balloon)
        self.refused(device, "expected: int", "qom-set", **balloon, value="1")
        for value in (-1, 1 << 32, 1 << 63):
            self.refused(device, "out of range", "qom-set", **balloon, value=value)
        device.qmp.execute("qom-set", **balloon, value=7)
        self.assertEqual(device.qmp.execute("qom-get", **balloon), 7)


class Hints(FeatureCase):
    """A round: the id in the configuration space, the pages, STOP; and DONE, when they may be taken back."""

    options = ("--free-page-hint",)
    feature = HINT

    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="vbb-hints-")
        self.addCleanup(folder.cleanup)
        self.file = os.path.join(folder.name, "runs")

    def cmd_id(self, rig):
        return rig.front.config(8, 4)[0]

    def start(self, rig, **arguments):
        number = rig.device.qmp.execute("x-free-page-hint", action="start", **arguments)["id"]
        self.assertEqual(rig.front.config_changes(), 1)
        self.assertEqual(self.cmd_id(rig), number)
        return number

    def say(self, rig, number):
        rig.front.write(BUFFER, struct.pack("<I", number))
        self.chain(rig, [(BUFFER, 4)])

    def ended(self, rig, number, status, **want):
        data = rig.device.qmp.wait_event("X_FREE_PAGE_HINT_END", 5)
        self.assertEqual((data["id"], data["status"]), (number, status), data)
        self.assertEqual({key: data[key] for key in want}, want)
        return data

    def lines(self):
        return [tuple(int(word, 0) for word in line.split())
                for line in pathlib.Path(self.file).read_text(encoding="ascii").splitlines() if line[0] != "#"]

    def test_round(self):
        rig = self.driver()
        first = rig.ram[2].gpa
        self.assertEqual(self.cmd_id(rig), STOP)
        for number in (FIRST_ID, FIRST_ID + 1):
            self.assertEqual(self.start(rig, file=self.file), number)
            self.refused(rig.device, "under way", "x-free-page-hint", action="start")
            self.refused(rig.device, "under way", "x-free-page-hint", action="done")
            # the stop of an earlier round is none of this one
            self.say(rig, STOP)
            self.say(rig, number)
            self.chain(rig, into=[(first, MIB)])
            self.chain(rig, into=[(first + MIB, MIB)])
            self.chain(rig, into=[(rig.ram[0].gpa + rig.ram[0].len - MIB, 2 * MIB), (first + 3 * MIB, 4096)])
            self.say(rig, STOP)
            self.ended(rig, number, "complete", hints=3, pages=1025, runs=3)
            self.assertEqual(self.lines(), [(first >> 12, 512), ((rig.ram[0].gpa + rig.ram[0].len - MIB) >> 12, 512),
                                            ((first >> 12) + 768, 1)])
            self.assertEqual(self.cmd_id(rig), STOP)
            rig.device.qmp.execute("x-free-page-hint", action="done")
            self.assertEqual(rig.front.config_changes(), 1)
            self.assertEqual(self.cmd_id(rig), DONE)
        self.assertEqual(rig.differences([]), [], "a hint is no permission to discard")
        self.assertEqual(rig.device.counters()["discard_calls"], 0)
        self.assertEqual(self.faults(rig.device), {})

    def test_stop(self):
        rig = self.driver()
        number = self.start(rig, file=self.file)
        self.say(rig, number)
        self.chain(rig, into=[(rig.ram[0].gpa, MIB)])
        rig.device.qmp.execute("x-free-page-hint", action="stop")
        self.ended(rig, number, "stopped", hints=1)
        self.assertEqual(rig.front.config_changes(), 1)
        self.assertEqual(self.cmd_id(rig), STOP)
        self.refused(rig.device, "No round", "x-free-page-hint", action="stop")
        # what is still under way is of no use, and no fault
        self.chain(rig, into=[(rig.ram[0].gpa, MIB)])
        self.say(rig, STOP)
        self.assertEqual(rig.device.counters()["hints_unwanted"], 1)
        self.assertEqual(self.faults(rig.device), {})

    def test_timeout_and_reset(self):
        rig = self.driver()
        number = self.start(rig, **{"timeout-ms": 100})
        self.ended(rig, number, "timeout", hints=0)
        self.assertEqual(self.cmd_id(rig), STOP)
        self.assertEqual(rig.front.config_changes(), 1)
        number = self.start(rig, file=self.file)
        self.say(rig, number)
        rig.front.request(fe.RESET_DEVICE)
        self.ended(rig, number, "reset")
        self.assertEqual(self.cmd_id(rig), STOP)
        self.refused(rig.device, "No guest", "x-free-page-hint", action="start")
        self.refused(rig.device, "No guest", "x-free-page-hint", action="done")

    def test_arguments(self):
        rig = self.driver()
        self.refused(rig.device, "expects", "x-free-page-hint", action="begin")
        self.refused(rig.device, "Only", "x-free-page-hint", action="stop", file="x")
        self.refused(rig.device, "Either", "x-free-page-hint", action="start", file="x", fdname="x")
        self.refused(rig.device, "Could not open", "x-free-page-hint", action="start", file="/")
        self.refused(rig.device, "range", "x-free-page-hint", action="start", **{"timeout-ms": 0})
        self.assertEqual(self.cmd_id(rig), STOP)

    def test_file_that_fails(self):
        rig = self.driver()
        number = self.start(rig, file="/dev/full")
        self.say(rig, number)
        self.chain(rig, into=[(rig.ram[0].gpa, MIB)])
        self.say(rig, STOP)
        self.ended(rig, number, "error", error="No space left on device")
        # and a pipe that nobody reads: it holds up nothing but this queue, and can be stopped
        os.mkfifo(self.file)
        reader = os.open(self.file, os.O_RDONLY | os.O_NONBLOCK)
        self.addCleanup(os.close, reader)
        number = self.start(rig, file=self.file, **{"timeout-ms": 60000})
        self.say(rig, number)
        pages = [(rig.ram[0].gpa + 8192 * i, 4096) for i in range(60)]
        while True:
            head = rig.ring.add([], pages)
            rig.ring.kick()
            used = rig.ring.wait(0.3)
            if not used:
                break
            self.assertEqual(used, (head, 0))
        self.assertEqual(rig.send(rig.inflate, bitmap([rig.ram[0].gpa >> 12]))[1], (1, OK, 12, 0))
        rig.device.qmp.execute("x-free-page-hint", action="stop")
        self.ended(rig, number, "stopped")
        self.assertEqual(rig.ring.wait(), (head, 0))

    def test_lies(self):
        rig = self.driver()
        number = self.start(rig, file=self.file)
        # not begun: nobody's pages
        self.chain(rig, into=[(rig.ram[0].gpa, MIB)])
        self.say(rig, number)
        rig.front.write(BUFFER, bytes(64))
        want = {}
        for name, out, into in (("LEN", [(BUFFER, 3)], []), ("LEN", [(BUFFER, 64)], []),
                                ("LEN", [(BUFFER, 5)], [(rig.ram[0].gpa, MIB)]),
                                ("LEN_ALIGN", [], [(rig.ram[0].gpa + 1, 4096)]),
                                ("LEN_ALIGN", [], [(rig.ram[0].gpa, 4095)]),
                                ("RING_ADDR", [], [(1 << 50, 4096)]),
                                ("RING_ADDR", [], [(rig.ram[2].gpa + rig.ram[2].len - 4096, 8192)])):
            self.chain(rig, out, into)
            want[name] = want.get(name, 0) + 1
            self.assertEqual(self.faults(rig.device), want)
        # id and pages in one chain
        rig.front.write(BUFFER, struct.pack("<I", number))
        self.chain(rig, [(BUFFER, 4)], [(rig.ram[0].gpa, 4096)])
        # another id ends the round as well
        self.say(rig, number + 1)
        self.ended(rig, number, "complete", pages=1)
        self.assertEqual(self.lines(), [(rig.ram[0].gpa >> 12, 1)])
        self.assertEqual(rig.differences([]), [])

    def test_memory_changes_in_the_middle(self):
        rig = self.driver()
        number = self.start(rig, file=self.file)
        self.say(rig, number)
        rig.front.share(rig.front.regions)
        self.chain(rig, into=[(rig.ram[1].gpa, MIB)])
        self.say(rig, STOP)
        self.ended(rig, number, "complete", pages=256)


class Reporting(FeatureCase):
    """What is reported is discarded, as far as it makes whole host pages."""

    options = ("--free-page-reporting", "--page-poison")
    feature = REPORTING

    def test_reports(self):
        rig = self.driver()
        # over the border of two regions, and single pages
        spans = [(rig.ram[0].gpa + MIB, 2 * MIB), (rig.ram[1].gpa - 4096, 8192), (rig.ram[2].gpa, 4096)]
        self.chain(rig, into=spans)
        pages = [page for gpa, length in spans for page in range(gpa >> 12, (gpa + length) >> 12)]
        self.assertEqual(rig.differences(pages), [])
        counters = rig.device.counters()
        self.assertEqual((counters["reports"], counters["pages_reported"], counters["pages_discarded"],
                          counters["pages_inflated"]), (1, len(pages), len(pages), 0))

    def test_parts_of_pages(self):
        rig = self.driver()
        gpa = rig.ram[2].gpa
        self.chain(rig, into=[(gpa + 1, 4096), (gpa + 8192 + 100, 8192), (gpa + 5 * 4096, 1)])
        self.assertEqual(rig.differences([(gpa >> 12) + 3]), [])

    def test_poison(self):
        """A page that the guest has filled with something other than zeroes is left alone."""
        rig = self.driver(features=ALL | bits(REPORTING, POISON))
        self.assertEqual(rig.front.config(12, 4), (0,))
        page = rig.ram[2].gpa
        self.chain(rig, into=[(page, 4096)])
        self.assertEqual(rig.differences([page >> 12]), [])
        rig.fill()
        rig.front.request(fe.SET_CONFIG, struct.pack("=3I", 12, 4, 0) + struct.pack("<I", 0xaaaaaaaa))
        self.assertEqual(rig.front.config(12, 4), (0xaaaaaaaa,))
        self.chain(rig, into=[(page, 4096)])
        self.assertEqual(rig.differences([]), [])
        # inflating is something else: the driver fills what it gets back
        self.assertEqual(rig.send(rig.inflate, bitmap([page >> 12]))[1], (1, OK, 12, 0))
        self.assertEqual(rig.differences([page >> 12]), [])
        # the next driver has its own
        rig.front.request(fe.RESET_DEVICE)
        self.assertEqual(rig.front.config(12, 4), (0,))

    def test_poison_that_was_not_accepted(self):
        rig = self.driver()
        rig.front.request(fe.SET_CONFIG, struct.pack("=3I", 12, 4, 0) + struct.pack("<I", 0xaaaaaaaa))
        self.assertEqual(rig.front.config(12, 4), (0,))
        self.chain(rig, into=[(rig.ram[2].gpa, 4096)])
        self.assertEqual(rig.differences([rig.ram[2].gpa >> 12]), [])

    def test_lies(self):
        rig = self.driver()
        for gpa, length in ((1 << 50, 4096), (rig.ram[2].gpa + rig.ram[2].len - 4096, 8192), ((1 << 64) - 4096, 4096)):
            self.chain(rig, into=[(rig.ram[2].gpa, 4096), (gpa, length)])
        self.assertEqual(self.faults(rig.device), {"RING_ADDR": 3})
        self.assertEqual(rig.differences([]), [], "nothing of a chain that is not whole")
        # what a driver lets us read is no report
        self.chain(rig, [(rig.ram[2].gpa, 4096)])
        self.assertEqual(rig.differences([]), [])
        self.chain(rig, [(rig.ram[2].gpa, 4096)], [(rig.ram[2].gpa + 4096, 4096)])
        self.assertEqual(rig.differences([(rig.ram[2].gpa >> 12) + 1]), [])

    def test_no_discard(self):
        rig = self.driver("--free-page-reporting", "--no-discard")
        self.chain(rig, into=[(rig.ram[2].gpa, MIB)])
        self.assertEqual(rig.differences([]), [])

    def test_control_goes_on(self):
        """A report of 4 GiB, a quarter of which takes memory."""
        memory = Memory(4 << 30)
        rig = Rig.__new__(Rig)
        rig.fill = lambda: None
        rig.__init__(self.device(*self.options), features=ALL | bits(REPORTING), ram=[Region(1 << 40, memory)])
        self.addCleanup(rig.close)
        rig.ring = rig.front.ring(3, RING, NUM)
        rig.ring.set_up()
        os.posix_fallocate(memory.fd, 0, 1 << 30)
        self.chain(rig, into=[(1 << 40, 2 << 30), ((1 << 40) + (2 << 30), 2 << 30)], wait=False)
        latencies = Latencies(rig.device)
        while not rig.ring.wait(0):
            latencies.measure()
        latencies.check(self)
        self.assertEqual(memory.host_len(), 0)


class AllAtOnce(Case):
    """Every feature offered: every queue has its own index, and the last is the one for host requests."""

    # VBB-DEV-15
    def test_indices(self):
        options = ("--must-tell-host", "--deflate-on-oom", "--free-page-hint", "--page-poison", "--free-page-reporting")
        rig = self.rig(None, *options, features=ALL | bits(0, 1, 2, 3, 4, 5, fe.HOST_REQ))
        self.assertEqual(rig.offered & bits(*range(6)), bits(*range(6)))
        rings = [rig.front.ring(index, RING + 0x4000 * index, NUM) for index in range(2, 6)]
        for ring in rings:
            ring.set_up()
        with self.assertRaises(fe.Refused):
            rig.front.ring(6, RING).set_up()
        stats, hints, reports, requests = rings
        rig.front.write(BUFFER, stat(0, 5))
        stats.add([(BUFFER, 10)])
        stats.kick()
        hints.add([], [(rig.ram[0].gpa, 4096)])
        hints.kick()
        self.assertEqual(hints.wait(), (0, 0))
        reports.add([], [(rig.ram[1].gpa, 4096)])
        reports.kick()
        self.assertEqual(reports.wait(), (0, 0))
        requests.add([], [(TABLES, 32)])
        requests.kick()
        counters = rig.device.counters
        self.wait_for(lambda: counters()["stats"] == 1)
        self.assertEqual((counters()["hints"], counters()["reports"]), (1, 1))

        def asked():
            try:
                return rig.device.qmp.execute("x-get-unused-pages")["id"]
            except QmpError:
                return None

        self.wait_for(asked)
        self.assertEqual(requests.wait(), (0, 16))
        self.assertEqual(rig.send(rig.inflate, bitmap([rig.ram[0].gpa >> 12]))[1], (1, OK, 12, 0))


if __name__ == "__main__":
    main(__name__)
