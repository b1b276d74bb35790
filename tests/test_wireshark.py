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
                capture.put(v.data, **how)
            self.write(capture)
            said.append(self.dump("--json", "--explain"))
        self.assertEqual(said[0].returncode, 65)
        self.assertEqual((said[0].stdout, said[0].stderr), (said[1].stdout, said[1].stderr))
        self.assertEqual(said[0].stderr, "")

    def test_explain(self):
        """The fault of every bad vector has a clause, in captures as in files: the one that the vector names."""
        captures, names = {}, {}
        for v, limit, how in vectors("bad"):
            captures.setdefault(limit, Capture()).put(v.data if how["modes"] == 0 or "kind" in how else list(split(v.data))[-1],
                                                      **how)
            names.setdefault(limit, []).append(v)
        told = json.loads((HERE / "vectors" / "vectors.json").read_text(encoding="utf-8"))["vectors"]
        told = {v["name"]: v["requirements"] for v in told}
        nr_bad = 0
        for limit, capture in captures.items():
            self.write(capture)
            done = self.dump("--json", "--explain", *(["--max-pfn", str(limit)] if limit else []))
            self.assertEqual((done.returncode, done.stderr), (65, ""))
            packets = [json.loads(line) for line in done.stdout.splitlines()]
            for v, packet in zip(names[limit], packets, strict=True):
                self.assertIn(packet["fault"]["violates"], told[v.name])
                self.assertTrue(packet["fault"]["requirement"], v.name)
                nr_bad += 1
        self.assertEqual(nr_bad, len(list((HERE / "vectors" / "bad").glob("*.hex"))) - 1)

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
            limits.setdefault(limit, Capture()).put(v.data, **how)
            for data in split(v.data):
                if data != v.data and how["modes"] and "kind" not in how:
                    limits[limit].put(data, **how)
        for limit, capture in limits.items():
            packets, _ = wireshark.compare(VBB, self.write(capture), limit)
            names |= {packet["fault"]["name"] for packet in packets.values() if "fault" in packet}
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
            capture.put(bytes(data) or b"\0", **{**how, **more})
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
        def request(cmd, number, *args):
            return struct.pack(f"<4HQ{len(args)}Q", cmd, 0, 0, 0, number, *args)

        def answer(cmd, flag, number, *words):
            return struct.pack(f"<4H3Q{len(words)}Q", cmd, 12, flag, 1 if words else 0, number, 0, 8 * len(words), *words)

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
