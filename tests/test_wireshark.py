#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause
"""Captures of vbb, and Wireshark's dissector for them: what `vbb dump` and tshark say is the same.

usage: test_wireshark.py VBB [unittest's arguments]; without tshark nothing but vbb is tested.
"""
import json
import pathlib
import random
import shutil
import struct
import subprocess
import sys
import tempfile
import unittest

import vector
import wireshark
from wireshark import BITMAP, DONE, MESSAGE, RECORDS, Capture

GET_UNUSED_PAGES, DROP_CACHE, CANCEL = 0, 1, 2
FORMAT_BITMAP, FORMAT_RECORDS, FORMAT_VALUES = range(3)
CONT, END, UNSUPPORTED, BUSY, CANCELLED, FAILED = range(6)

HERE = pathlib.Path(__file__).resolve().parent
VBB = "vbb"


def vectors(folder="*"):
    """Every vector as a message of a capture: its name, limit, data, and what else Capture.put() is told."""
    for path in sorted((HERE / "vectors").glob(f"{folder}/*.hex")):
        v = vector.load(path)
        options = v.command[1:] + v.options
        named = dict(zip(options, options[1:] + [""]))
        kind = named.get("--format")
        how = {"modes": BITMAP if "--no-records" in options else BITMAP | RECORDS}
        if kind == "pfns":
            how["modes"] = 0
        if kind == "request" or named.get("--queue") == "host_request":
            how["role"] = "host_request"
        if kind in ("request", "result"):
            how["kind"] = DONE
        if how.get("role") == "host_request" and not v.data:
            continue    # a chain that comes back without bytes says nothing, and is no fault
        yield v, int(named.get("--max-pfn", "0"), 0), how


def split(data):
    """A vector can hold several messages."""
    while len(data) >= 32:
        length = 32 + struct.unpack_from("<Q", data, 24)[0]
        if length >= len(data):
            break
        yield data[:length]
        data = data[length:]
    yield data


def request(cmd, number, *args):
    """16 bytes, or 32 with arguments."""
    return struct.pack(f"<4HQ{len(args)}Q", cmd, 0, 0, 0, number, *args)


def answer(cmd, flag, number, *words, form=FORMAT_RECORDS, page_shift=12):
    """A page message, with words for a payload."""
    return struct.pack(f"<4H3Q{len(words)}Q", cmd, page_shift, flag, form if words else 0, number, 0, 8 * len(words), *words)


def put(capture, data, how):
    """A vector by itself: what is an answer has its request in front, and what is about a request is ended behind it.
    Returns the number of the vector's last packet."""
    cmd, number = struct.unpack_from("<H6xQ", data + bytes(16))
    talk = how.get("role") == "host_request" and len(data) >= 16
    if talk and "kind" not in how:
        capture.put(request(cmd, number), kind=DONE, role="host_request")
    packet = capture.put(data, **how)
    if talk:
        capture.put(answer(cmd, FAILED, number), role="host_request")
    return packet


class Talk:
    """What the specification says of a conversation about host requests (5, appendix A), where the device gives nothing
    up. A fault is its name, its byte and the requirement that it violates."""

    def __init__(self):
        self.open = {}      # commands by id

    def request(self, data):
        """The fault of a request, or None."""
        if len(data) < 16:
            return "LEN", 0, "VBB-DEV-17"
        cmd, *reserved, number, arg0, arg1 = struct.unpack_from("<4H3Q", data + bytes(32))
        if not number:
            return "REQ_ID", 0, "VBB-DEV-17"
        if number in self.open:
            return "REQ_OPEN", 0, "VBB-DEV-17"
        self.open[number] = cmd
        if len(data) not in (16, 32):
            return "LEN", 0, "VBB-DEV-17"
        if any(reserved):
            return "RESERVED", 0, "VBB-MSG-02"
        if len(data) == 32 and (cmd == DROP_CACHE and arg0 > 3 or cmd == CANCEL and arg1):
            return "REQ_ARG", 0, "VBB-MSG-02"
        return None

    def answer(self, data):
        """The fault of an answer whose header has none, or None."""
        cmd, _, flag, form, number, _, length = struct.unpack_from("<4H3Q", data)
        if number not in self.open:
            return "REQ_STALE", 8, "VBB-DRV-09"
        if self.open[number] != cmd:
            return "REQ_CMD", 0, "VBB-DRV-09"
        if length and cmd == CANCEL:
            return "PAYLOAD", 24, "VBB-DRV-09"
        if length and form not in ((FORMAT_VALUES,) if cmd == DROP_CACHE else (FORMAT_BITMAP, FORMAT_RECORDS)):
            return "FORMAT", 6, "VBB-DRV-09"
        if flag != CONT:
            del self.open[number]
        return None


def conversation():
    """Packets, by hand: data, kind, and the fault as of Talk."""
    stale, cmd = ("REQ_STALE", 8, "VBB-DRV-09"), ("REQ_CMD", 0, "VBB-DRV-09")
    payload, form = ("PAYLOAD", 24, "VBB-DRV-09"), ("FORMAT", 6, "VBB-DRV-09")
    is_open, no_id = ("REQ_OPEN", 0, "VBB-DEV-17"), ("REQ_ID", 0, "VBB-DEV-17")
    big = (1 << 64) - 1

    def goes(*args, fault=None):
        return request(*args), DONE, fault

    def comes(*args, fault=None, **more):
        return answer(*args, **more), MESSAGE, fault

    return [
        # before any request; what is parked, and what comes back unused, is none
        comes(GET_UNUSED_PAGES, END, 7, fault=stale), (b"", MESSAGE, None), (b"", DONE, None),
        comes(GET_UNUSED_PAGES, END, 0, fault=stale), goes(GET_UNUSED_PAGES, 0, fault=no_id),
        comes(GET_UNUSED_PAGES, END, 0, fault=stale),
        # an answer to another id, with another cmd, of another format leaves it open; so does a malformed one
        goes(GET_UNUSED_PAGES, 7), comes(GET_UNUSED_PAGES, END, 8, fault=stale),
        comes(GET_UNUSED_PAGES, END, 7 + (1 << 32), fault=stale), comes(DROP_CACHE, END, 7, fault=cmd),
        comes(99, END, 7, fault=cmd), comes(GET_UNUSED_PAGES, END, 7, 1, form=FORMAT_VALUES, fault=form),
        comes(GET_UNUSED_PAGES, END, 7, page_shift=11, fault=("PAGE_SHIFT", 2, "VBB-MSG-06")),
        comes(GET_UNUSED_PAGES, CANCELLED, 7, 1, fault=("PAYLOAD", 24, "VBB-MSG-10")),
        (answer(GET_UNUSED_PAGES, END, 7)[:31], MESSAGE, ("SHORT", 0, "VBB-MSG-05")),
        comes(GET_UNUSED_PAGES, CONT, 7, 5), comes(GET_UNUSED_PAGES, CONT, 7, 5, form=FORMAT_BITMAP),
        # a payload that is malformed is part of an answer nevertheless, the last one here
        goes(GET_UNUSED_PAGES, 7, fault=is_open), goes(DROP_CACHE, 7, 4, 1, fault=is_open),
        comes(GET_UNUSED_PAGES, CONT, 7, 52 << 52, fault=("REC_ORDER", 32, "VBB-MSG-16")),
        comes(GET_UNUSED_PAGES, END, 7, 52 << 52, fault=("REC_ORDER", 32, "VBB-MSG-16")),
        comes(GET_UNUSED_PAGES, END, 7, fault=stale), comes(GET_UNUSED_PAGES, CONT, 7, 52 << 52, fault=stale),
        # again, of another cmd
        goes(DROP_CACHE, 7, 3, 0), comes(GET_UNUSED_PAGES, END, 7, fault=cmd), comes(DROP_CACHE, END, 7, 5, fault=form),
        comes(DROP_CACHE, END, 7, 5, form=FORMAT_BITMAP, fault=form), comes(DROP_CACHE, CONT, 7, 5, form=FORMAT_VALUES),
        # a cancel ends before what it cancels, and is open by itself
        goes(CANCEL, big, 7, 0), comes(CANCEL, END, big, 1, fault=payload), comes(CANCEL, END, big, 1, form=FORMAT_VALUES,
                                                                                  fault=payload),
        comes(CANCEL, END, 7, fault=cmd), comes(CANCEL, END, big), comes(CANCEL, END, big, fault=stale),
        comes(DROP_CACHE, CANCELLED, 7), comes(DROP_CACHE, CANCELLED, 7, fault=stale),
        # a malformed request with an id gets an end
        goes(CANCEL, 9, 7, 1, fault=("REQ_ARG", 0, "VBB-MSG-02")), comes(CANCEL, FAILED, 9),
        (request(DROP_CACHE, 9) + b"\0", DONE, ("LEN", 0, "VBB-DEV-17")), goes(DROP_CACHE, 9, fault=is_open),
        (request(DROP_CACHE, 9) + b"\0", DONE, is_open), (request(DROP_CACHE, 9)[:15], DONE, ("LEN", 0, "VBB-DEV-17")),
        comes(DROP_CACHE, FAILED, 9), (b"\1\0\1" + request(0, 9)[3:], DONE, ("RESERVED", 0, "VBB-MSG-02")),
        (b"\1\0\1" + request(0, 9)[3:], DONE, is_open), comes(DROP_CACHE, FAILED, 9), comes(DROP_CACHE, FAILED, 9, fault=stale),
        goes(99, 9), comes(99, CONT, 9, 5), comes(99, CONT, 9, 5, form=FORMAT_VALUES, fault=form), comes(99, UNSUPPORTED, 9),
        # answers of several packets
        goes(GET_UNUSED_PAGES, 10), comes(GET_UNUSED_PAGES, CONT, 10, *[5] * 40000),
        comes(GET_UNUSED_PAGES, END, 10, *[5] * 40000, form=FORMAT_VALUES, fault=form),
        comes(GET_UNUSED_PAGES, END, 10, *[5] * 40000), comes(GET_UNUSED_PAGES, END, 10, *[5] * 40000, fault=stale)]


def random_talk(rng, nr_packets):
    """Packets as those of conversation(), by chance; Talk says the faults."""
    talk = Talk()
    ids = (0, 1, 2, 1 << 32, 1 + (1 << 32), (1 << 64) - 1)
    for _ in range(nr_packets):
        number, cmd = rng.choice(ids), rng.choice((GET_UNUSED_PAGES, DROP_CACHE, CANCEL, 99))
        if rng.randrange(3) == 0:
            data = bytearray(request(cmd, number, *rng.choice(((), (0, 0), (3, 1), (4, 0)))))
            data = data[:rng.choice((32, 32, 32, 15, 17))]
            if rng.randrange(9) == 0:
                data[rng.randrange(2, 8)] = 1
            yield bytes(data), DONE, talk.request(bytes(data))
            continue
        if rng.randrange(8):
            cmd = talk.open.get(number, cmd)
        words = rng.choice(((), (), (5,), (0x30, 5), (52 << 52,)))
        flag, form = rng.choice((CONT, CONT, END, FAILED, rng.randrange(6))), rng.choice((FORMAT_BITMAP, FORMAT_RECORDS, FORMAT_VALUES))
        page_shift = rng.choice((12,) * 9 + (31,))
        data = answer(cmd, flag, number, *words, form=form, page_shift=page_shift)
        if page_shift == 31:
            fault = "PAGE_SHIFT", 2, "VBB-MSG-06"
        elif not words and flag == CONT:
            fault = "LEN_EMPTY", 24, "VBB-MSG-10"
        elif words and flag > END:
            fault = "PAYLOAD", 24, "VBB-MSG-10"
        else:
            fault = talk.answer(data)
            if not fault and words == (52 << 52,) and form == FORMAT_RECORDS:
                fault = "REC_ORDER", 32, "VBB-MSG-16"
        yield data, MESSAGE, fault


def many_open(rng, nr_requests):
    """All are open at once; half of them end, and end once more."""
    numbers = list({rng.getrandbits(64) | 1 for _ in range(nr_requests)})
    yield from ((request(DROP_CACHE, number), DONE, None) for number in numbers)
    rng.shuffle(numbers)
    ended, others = numbers[:nr_requests // 2], numbers[nr_requests // 2:]
    yield from ((answer(DROP_CACHE, END, number), MESSAGE, None) for number in ended)
    yield from ((answer(DROP_CACHE, END, number), MESSAGE, ("REQ_STALE", 8, "VBB-DRV-09")) for number in ended)
    yield from ((request(DROP_CACHE, number), DONE, ("REQ_OPEN", 0, "VBB-DEV-17")) for number in others)


class Case(unittest.TestCase):
    """A folder for captures."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="vbb-wireshark-")
        self.addCleanup(folder.cleanup)
        self.path = pathlib.Path(folder.name) / "capture.pcapng"

    def write(self, capture):
        """To a file."""
        self.path.write_bytes(capture.data)
        return self.path

    def talk(self, packets, order="<"):
        """Requests and answers, each with the fault that it must have; returns the capture."""
        capture, want = Capture(order), {}
        for data, kind, fault in packets:
            want[capture.put(data, kind=kind, role="host_request")] = fault
        self.write(capture)
        done = self.dump("--json", "--explain")
        self.assertEqual((done.returncode, done.stderr), (65 if any(want.values()) else 0, ""))
        got, clauses = {}, vector.clauses()
        for packet in map(json.loads, done.stdout.splitlines()):
            fault = packet.get("fault")
            if fault:
                self.assertEqual(fault["requirement"], clauses[fault["violates"]])
            got[packet["packet"]] = (fault["name"], fault["byte"], fault["violates"]) if fault else None
        self.assertEqual(got, want)
        return capture

    def dump(self, *options):
        """What vbb says."""
        return subprocess.run([VBB, "dump", "--format", "capture", *options, self.path], capture_output=True, text=True,
                              check=False, timeout=120)


class Dump(Case):
    """vbb alone."""

    def test_text(self):
        capture = Capture()
        block = bytes.fromhex("00000c00000001000000000000000000000000000000000008000000000000000002000000009000")
        capture.put(block, in_len=16)
        capture.put(struct.pack("<QHHI", 512, 0, 12, 0), kind=DONE)
        capture.put(b"", role="host_request", in_len=32)
        capture.put(struct.pack("<4HQ", 0, 0, 0, 0, 7), kind=DONE, role="host_request")
        capture.put(b"\1\2\3", role="stats")
        capture.put(struct.pack("<II", 9, 10), role="deflate", modes=0)
        self.write(capture)
        done = self.dump()
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertEqual(done.stdout.splitlines(), [
            "packet 1: queue 0, inflate, from the driver: message 1, 40 bytes, 16 to write",
            "  cmd           0", "  page_shift    12 0xc", "  flag          0", "  format        1 RECORDS",
            "  req_id        0", "  start_pfn     0", "  bmap_len      8",
            "  byte 32: block, pfn 0x200, order 9: 512 pages", "  512 pages in 1 runs",
            "packet 2: queue 0, inflate, from the device: chain 2 comes back, 16 bytes",
            "result", "  nr_pages      512 0x200", "  status        0 OK", "  discard_shift 12 0xc",
            "packet 3: queue 0, host_request, from the driver: message 3, 0 bytes, 32 to write",
            "packet 4: queue 0, host_request, from the device: chain 4 comes back, 16 bytes",
            "request", "  cmd           0 GET_UNUSED_PAGES", "  id            7", "  arg0          0", "  arg1          0",
            "packet 5: queue 0, stats, from the driver: message 5, 3 bytes",
            "packet 6: queue 0, deflate, from the driver: message 6, 8 bytes",
            "  byte 0: frame 9 0x9", "  byte 4: frame 10 0xa", "  2 pages in 1 runs"])

    def test_byte_order(self):
        """A capture from a machine of the other byte order says the same."""
        said = []
        for order in "<>":
            capture = Capture(order)
            for v, _, how in vectors():
                put(capture, v.data, how)
            self.write(capture)
            said.append(self.dump("--json", "--explain"))
        self.assertEqual(said[0].returncode, 65)
        self.assertEqual((said[0].stdout, said[0].stderr), (said[1].stdout, said[1].stderr))
        self.assertEqual(said[0].stderr, "")

    def test_explain(self):
        """The fault of every bad vector has a clause, in captures as in files: the one that the vector names."""
        captures, names = {}, {}
        for v, limit, how in vectors("bad"):
            data = v.data if how["modes"] == 0 or "kind" in how else list(split(v.data))[-1]
            names.setdefault(limit, {})[put(captures.setdefault(limit, Capture()), data, how)] = v
        told = json.loads((HERE / "vectors" / "vectors.json").read_text(encoding="utf-8"))["vectors"]
        told = {v["name"]: v["requirements"] for v in told}
        nr_bad = 0
        for limit, capture in captures.items():
            self.write(capture)
            done = self.dump("--json", "--explain", *(["--max-pfn", str(limit)] if limit else []))
            self.assertEqual((done.returncode, done.stderr), (65, ""))
            packets = {packet["packet"]: packet for packet in map(json.loads, done.stdout.splitlines())}
            for number, v in names[limit].items():
                packet = packets[number]
                self.assertIn(packet["fault"]["violates"], told[v.name])
                self.assertTrue(packet["fault"]["requirement"], v.name)
                nr_bad += 1
        self.assertEqual(nr_bad, len(list((HERE / "vectors" / "bad").glob("*.hex"))) - 1)

    def test_talk(self):
        """Each fault that depends on what was said before; what is malformed leaves all as it was, but for requests."""
        self.talk(conversation())

    def test_random_talks(self):
        self.talk(random_talk(random.Random(4), 5000))

    def test_many_open(self):
        self.talk(many_open(random.Random(5), 50000))

    def test_talk_as_text(self):
        capture = Capture()
        capture.put(answer(DROP_CACHE, CONT, 7, 5), role="host_request")
        self.write(capture)
        said = self.dump("--explain").stdout
        self.assertTrue(said.startswith("""\
packet 1: queue 0, host_request, from the driver: message 1, 40 bytes
  cmd           1 DROP_CACHE
  page_shift    12 0xc
  flag          0 CONT
  format        1 RECORDS
  req_id        7
  start_pfn     0
  bmap_len      8
  byte 8: fault: REQ_STALE: an answer to no open request
  violates VBB-DRV-09:
    A driver MUST answer with page messages"""), said)
        self.assertTrue(said.endswith("\n  0 pages in 0 runs\n"), said)

    def test_not_captures(self):
        good = Capture()
        good.put(bytes(32))
        for data, behind in ((b"", 0), (b"\n\r\r", 0), (bytes(64), 0), (good.data[:-1], 1), (good.data + b"\n\r\r\n", 1),
                             (good.data.replace(b"\1\1\0\1", b"\2\1\0\1"), 1), (good.data[:-4] + b"\x48\0\0\0", 1)):
            self.path.write_bytes(data)
            done = self.dump()
            self.assertEqual(done.returncode, 65, data)
            self.assertRegex(done.stderr, rf"\Avbb: {self.path}: behind packet {behind}: FRAME: [^\n]+\n\Z")

    def test_cut(self):
        """What is too long for any message is told by its length; of an array there is as much as was captured."""
        capture = Capture()
        message = bytes.fromhex("00000c00") + bytes(20) + struct.pack("<Q", 1 << 20) + bytes(1 << 20)
        capture.put(message + bytes(1))
        capture.put(message, length=0xffffffff)
        capture.put(message, modes=0, length=0xfffffffd)
        self.write(capture)
        packets, status, complaint = wireshark.dump(VBB, self.path)
        self.assertEqual((status, complaint), (65, ""))
        self.assertEqual([packet.get("fault", {}).get("name") for packet in packets.values()], ["LEN", "LEN", None])
        self.assertEqual(len(packets[27]["items"]), wireshark.MESSAGE_MAX // 4)


@unittest.skipUnless(wireshark.available(), "no tshark that runs Lua")
class Dissector(Case):
    """Both."""

    def test_vectors(self):
        """Good and bad, by the limit that they set."""
        limits, names = {}, set()
        for v, limit, how in vectors():
            capture, numbers = limits.setdefault(limit, (Capture(), []))
            numbers.append(put(capture, v.data, how))
            for data in split(v.data):
                if data != v.data and how["modes"] and "kind" not in how:
                    numbers.append(put(capture, data, how))
        for limit, (capture, numbers) in limits.items():
            packets, _ = wireshark.compare(VBB, self.write(capture), limit)
            names |= {packets[number]["fault"]["name"] for number in numbers if "fault" in packets[number]}
        self.assertEqual(names, {
            "SHORT", "LEN", "LEN_MAX", "LEN_EMPTY", "LEN_ALIGN", "CMD", "PAGE_SHIFT", "FLAG", "FORMAT", "REQ_ID", "START_PFN",
            "PAYLOAD", "RESERVED", "REC_ORDER", "REC_ALIGN", "REC_TRUNC", "REC_COUNT", "PFN_RANGE", "PFN_LIMIT", "STATUS",
            "REQ_ARG"})

    def test_runs(self):
        """Runs as vbb decode gives them."""
        capture, want = Capture(), []
        for v, limit, how in vectors():
            if v.command == ["decode"] and not limit and len(v.data) < 1 << 17 and "role" not in how and v.data \
                    and (not how["modes"] or len(list(split(v.data))) == 1):
                done = subprocess.run([VBB, "decode", *v.options], input=v.data, capture_output=True, check=False, timeout=60)
                capture.put(v.data, **how)
                want.append([line.split() for line in done.stdout.decode().splitlines() if not line.startswith("#")])
        for wanted, frame in zip(want, wireshark.frames(self.write(capture)).values(), strict=True):
            got = list(zip(wireshark.numbers(frame["run.pfn"]), wireshark.numbers(frame["run.nr_pages"])))
            self.assertEqual(len(got), min(int(frame["nr_runs"]), wireshark.MAX_ITEMS))
            if len(got) == int(frame["nr_runs"]):
                self.assertEqual(sorted(got), sorted((int(pfn, 0), int(count)) for pfn, count in wanted))

    def test_mutated(self):
        """Vectors with some bytes changed, cut or doubled: the same faults, the same pages, and no Lua error."""
        rng = random.Random(1)
        capture, seeds = Capture(), [(v, how) for v, _, how in vectors() if len(v.data) < 4096]
        for _ in range(2000):
            v, how = rng.choice(seeds)
            data = bytearray(v.data)
            for _ in range(rng.randrange(4)):
                at = rng.randrange(len(data) + 1)
                action = rng.randrange(4)
                if action == 0:
                    del data[at:]
                elif action == 1:
                    data[at:at] = data[:rng.randrange(40)]
                elif at < len(data):
                    data[at] = rng.choice((0, 1, 0xff, 0x80, rng.randrange(256), data[at] ^ 1 << rng.randrange(8)))
            if rng.randrange(2) and how["modes"] and "kind" not in how and len(data) >= 32:
                data[24:32] = struct.pack("<Q", len(data) - 32)
            more = {"modes": rng.randrange(4)} if rng.randrange(4) == 0 else {}
            put(capture, bytes(data) or b"\0", {**how, **more})
        packets, _ = wireshark.compare(VBB, self.write(capture))
        self.assertGreater(sum("fault" not in packet for packet in packets.values()), 200)

    def test_hostile(self):
        """Any packets at all: no Lua error, nothing malformed, and what vbb does not take is marked."""
        rng = random.Random(2)
        capture = Capture()
        for v, _, how in vectors():
            capture.put(v.data[:70000], **how)
        data = bytearray()
        for _ in range(2000):
            head = bytearray(struct.pack("<4B2H4I", 1, rng.choice((1, 2)), rng.randrange(2), rng.randrange(7), rng.randrange(3),
                                         rng.randrange(4), rng.randrange(3), 0, 0, 0))
            body = rng.randbytes(rng.choice((0, 1, 4, 16, 31, 32, 33, 40, 64, 200)))
            struct.pack_into("<2I", head, 16, rng.choice((len(body), len(body) + 8, rng.getrandbits(32))),
                             rng.choice((0, 0, 8, rng.getrandbits(32))))
            if rng.randrange(3) == 0:
                head[rng.randrange(24)] = rng.randrange(256)
            packet = bytes(head) + body
            capture.packet(packet[:rng.choice((len(packet), len(packet), rng.randrange(len(packet) + 1)))])
        data = capture.data
        self.write(capture)
        text, said = wireshark.tshark(self.path, "-V")
        self.assertEqual(said, [])
        self.assertGreater(text.count("virtio-balloon page messages"), 1500)
        self.assertIn("FRAME", text)
        self.assertNotIn("Lua Error", text)
        self.assertNotIn("Malformed Packet", text)
        # whole files, any of whose bytes are others; tshark itself may refuse them
        for _ in range(3):
            mutated = bytearray(data[:60000])
            for _ in range(100):
                mutated[rng.randrange(60, len(mutated))] = rng.randrange(256)
            self.path.write_bytes(mutated)
            text, _ = wireshark.tshark(self.path, "-V")
            self.assertNotIn("Lua Error", text)
            self.assertIn(self.dump("--json").returncode, (0, 65))

    def test_parts(self):
        """Messages in several packets, also between those of others; those that are cut; the longest one."""
        capture = Capture()
        rng = random.Random(3)
        message = bytearray(struct.pack("<4H3Q", 0, 12, 0, 0, 0, 64, 1 << 20) + bytes(1 << 20))
        for _ in range(5000):
            message[rng.randrange(32, len(message))] = rng.randrange(256)
        message = bytes(message)
        capture.put(message)
        capture.put(message[:32] + bytes(500000) + bytes([0x55]) * ((1 << 20) - 500000))
        capture.put(message[:200000], modes=0)
        capture.put(message + b"\0")
        capture.put(message, modes=0, length=0xffffffff)
        capture.put(message[:32])
        packets, seen = wireshark.compare(VBB, self.write(capture))
        self.assertEqual([packets[n]["len"] for n in packets], [len(message), len(message), 200000, len(message) + 1, 0xffffffff, 32])
        self.assertEqual(len(seen), 9 * 4 + 2 + 1)

    def test_links(self):
        """Requests and answers by id, and what comes back by its chain; with filters."""
        capture = Capture()
        seven, eight = 7 << 60, 8
        for data, kind in ((b"", MESSAGE), (request(0, seven, 0, 100), DONE), (answer(0, 0, seven, 5), MESSAGE),
                           (request(2, eight, seven, 0), DONE), (answer(2, 1, eight), MESSAGE), (answer(0, 4, seven), MESSAGE),
                           (answer(0, 1, 9), MESSAGE)):
            capture.put(data, kind=kind, role="host_request")
        # the chain of the first buffer is that of the first request
        capture.data = capture.data.replace(struct.pack("<H4I", 3, 2, 0, 32, 0), struct.pack("<H4I", 3, 1, 0, 32, 0))
        frames = wireshark.frames(self.write(capture))
        self.assertEqual([frames[n]["request_frame"] for n in range(1, 8)], ["", "", "2", "", "4", "2", ""])
        self.assertEqual([frames[n]["answer_frame"] for n in (2, 4)], ["3,6", "5"])
        self.assertEqual([frames[n]["cancel_frame"] for n in (2, 4)], ["", "2"])
        self.assertEqual((frames[1]["done_frame"], frames[2]["message_frame"]), ("2", "1"))
        for filters, want in ((f"vbb.req_id == {seven}", "2 3 6"), ("vbb.cmd == 2", "4 5"), ("vbb.request_frame == 2", "3 6"),
                              ("vbb.flag == 4 && vbb.kind == 1", "6"), ("vbb.time", "3 5 6")):
            text, said = wireshark.tshark(self.path, "-Y", filters, "-T", "fields", "-e", "frame.number")
            self.assertEqual((text.split(), said), (want.split(), []), filters)

    def test_talk(self):
        """The same faults, whatever byte order the capture has; and an answer of several packets."""
        for order in "<>":
            capture = self.talk(conversation(), order)
            packets, _ = wireshark.compare(VBB, self.path)
            self.assertLess(len(packets), capture.nr_packets)

    def test_random_talks(self):
        names = set()
        for seed in range(3):
            self.talk(random_talk(random.Random(seed), 3000))
            packets, _ = wireshark.compare(VBB, self.path)
            names |= {packet["fault"]["name"] for packet in packets.values() if "fault" in packet}
        self.assertEqual(names, {"LEN", "REQ_ID", "REQ_OPEN", "RESERVED", "REQ_ARG", "REQ_STALE", "REQ_CMD", "PAYLOAD",
                                 "FORMAT", "PAGE_SHIFT", "LEN_EMPTY", "REC_ORDER"})

    def test_many_open(self):
        self.talk(many_open(random.Random(6), 5000))
        wireshark.compare(VBB, self.path)

    def test_others_tools(self):
        """What Wireshark's tools write, vbb reads; and they know what our captures are."""
        capture = Capture()
        for v, _, how in vectors():
            capture.put(v.data, **how)
        self.write(capture)
        before = self.dump("--json")
        again = self.path.with_name("again.pcapng")
        subprocess.run(["editcap", self.path, again], check=True, capture_output=True, timeout=60)
        shutil.move(again, self.path)
        self.assertEqual(self.dump("--json").stdout, before.stdout)
        self.assertEqual(before.stderr, "")
        subprocess.run(["editcap", "-s", "40", self.path, again], check=True, capture_output=True, timeout=60)
        shutil.move(again, self.path)
        self.assertIn("FRAME", self.dump().stderr)


def main():
    """Take the path of vbb off the arguments, and run the tests."""
    global VBB  # pylint: disable=global-statement
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    VBB = sys.argv.pop(1)
    if not wireshark.available():
        print("SKIP Wireshark's dissector: no tshark that runs Lua")
    unittest.main()


if __name__ == "__main__":
    main()
