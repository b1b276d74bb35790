# SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause
"""Captures: a writer of its own, and a comparison of what `vbb dump` and Wireshark's dissector say of one.

The two readers share no code: one is C, the other docs/wireshark/vbb.lua.
"""
import json
import pathlib
import shutil
import struct
import subprocess

DISSECTOR = pathlib.Path(__file__).resolve().parent.parent / "docs" / "wireshark" / "vbb.lua"
ROLES = ("unknown", "inflate", "deflate", "stats", "hint", "reporting", "host_request")
MESSAGE, DONE = 1, 2
DRIVER, DEVICE = 0, 1
BITMAP, RECORDS = 1, 2      # modes
PACKET_MAX = 131072
MESSAGE_MAX = 32 + (1 << 20)
MAX_ITEMS = 1000            # of each kind that are compared

HEADER = ("cmd", "page_shift", "flag", "format", "req_id", "start_pfn", "bmap_len")
PACKET = ("queue", "role", "from", "kind", "id", "in_len", "len")
COUNTS = ("nr_pages", "nr_runs")
ITEMS = ("record.pfn", "record.order", "word", "value", "frame")
REQUEST = ("cmd", "req_id", "arg0", "arg1")
RESULT = ("result.nr_pages", "result.status", "result.discard_shift")
OTHERS = ("off", "fault", "fault.byte", "message_frame", "done_frame", "request_frame", "answer_frame", "cancel_frame",
          "run.pfn", "run.nr_pages")
FIELDS = tuple(dict.fromkeys(PACKET + HEADER + COUNTS + ITEMS + REQUEST + RESULT + OTHERS))


def available():
    """Is there a tshark that runs Lua?"""
    if not shutil.which("tshark"):
        return False
    return ", with Lua" in subprocess.run(["tshark", "--version"], capture_output=True, text=True, check=True,
                                          timeout=60).stdout.replace("\n", " ")


class Capture:
    """A capture that grows in memory, in either byte order."""

    def __init__(self, order="<"):
        self.order = order
        self.data = bytearray(self.block(0x0a0d0d0a, self.pack("IHHq", 0x1a2b3c4d, 1, 0, -1)))
        self.data += self.block(1, self.pack("HHI", 147, 0, 0) + self.pack("HHB3x", 9, 1, 9) + self.pack("HH", 0, 0))
        self.nr_messages = 0
        self.nr_packets = 0

    def pack(self, form, *values):
        return struct.pack(self.order + form, *values)

    def block(self, kind, body):
        body += bytes(-len(body) % 4)
        length = self.pack("I", len(body) + 12)
        return self.pack("I", kind) + length + body + length

    def packet(self, data, time_ns=0):
        self.nr_packets += 1
        self.data += self.block(6, self.pack("5I", 0, time_ns >> 32, time_ns & 0xffffffff, len(data), len(data)) + data)

    def put(self, data, kind=MESSAGE, role="inflate", modes=BITMAP | RECORDS, in_len=0, length=None):
        """A message, in as many packets as it takes; each has a number of its own. Returns the number of the last packet."""
        self.nr_messages += 1
        for off in range(0, len(data[:MESSAGE_MAX]) or 1, PACKET_MAX):
            self.packet(struct.pack("<4B2H4I", 1, kind, DRIVER if kind == MESSAGE else DEVICE, ROLES.index(role), 0, modes,
                                    self.nr_messages, in_len, len(data) if length is None else length, off) +
                        data[:MESSAGE_MAX][off:off + PACKET_MAX], 1_000_000_000 + self.nr_messages)
        return self.nr_packets


def tshark(path, *options):
    """What tshark prints with our dissector; it has nothing to say on stderr but that it is root's."""
    done = subprocess.run(["tshark", "-n", "-X", f"lua_script:{DISSECTOR}", "-o", f"vbb.max_items:{MAX_ITEMS}",
                           "-r", path, *options], capture_output=True, text=True, check=False, timeout=300)
    said = [line for line in done.stderr.splitlines() if not line.startswith("Running as user")]
    return done.stdout, said


def numbers(text):
    """The numbers of a field, all its occurrences."""
    return [int(number, 0) for number in text.split(",")] if text else []


def frames(path, limit=0):
    """By number of the frame, each field's text."""
    options = ["-o", f"vbb.limit_pfn:{limit}"] if limit else []
    names = ["frame.number", "frame.protocols", "_ws.expert.message"] + [f"vbb.{name}" for name in FIELDS]
    out, said = tshark(path, "-2", *options, "-T", "fields", "-E", "separator=/t", *sum((["-e", name] for name in names), []))
    assert not said, said
    result = {}
    for line in out.split("\n")[:-1]:
        values = dict(zip(names, line.split("\t")))
        result[int(values["frame.number"])] = {name.removeprefix("vbb."): value for name, value in values.items()}
    return result


def dump(vbb, path, limit=0):
    """By number of the frame, what vbb says; and its exit status and complaint."""
    done = subprocess.run([vbb, "dump", "--format", "capture", "--json", *(["--max-pfn", str(limit)] if limit else []), path],
                          capture_output=True, text=True, check=False, timeout=300)
    packets = [json.loads(line) for line in done.stdout.splitlines()]
    return {packet["packet"]: packet for packet in packets}, done.returncode, done.stderr


def items(packet, key, *kinds):
    """The first numbers of such items of a packet of vbb's."""
    found = [item[key] for item in packet.get("items", []) if item["kind"] in kinds][:MAX_ITEMS]
    return [int(value, 0) if isinstance(value, str) else value for value in found]


def words(packet):
    """The words of bitmaps, those of the format and those of the records that are shown."""
    if packet.get("header", {}).get("format") != 1:
        return items(packet, "word", "word")
    records = [item for item in packet["items"] if item["kind"] in ("block", "bitmap", "extent")][:MAX_ITEMS]
    return [int(word, 0) for item in records for word in item.get("words", [])]


def expected(packet):
    """What the dissector must say of a packet of vbb's, by field."""
    want = {name: packet[name] for name in ("queue", "id", "in_len", "len")}
    want |= {"role": ROLES.index(packet["role"]), "from": ("driver", "device").index(packet["from"]),
             "kind": {"message": MESSAGE, "done": DONE}[packet["kind"]]}
    want |= packet.get("header", {})
    want |= {name: packet[name] for name in COUNTS if name in packet}
    if "request" in packet:
        request = packet["request"]
        if packet["len"] >= 16:
            want |= {"cmd": request["cmd"], "req_id": request["id"]}
        if packet["len"] == 32 and packet.get("fault", {}).get("name") != "REQ_ID":
            want |= {"arg0": request["arg0"], "arg1": request["arg1"]}
    if "result" in packet and packet["len"] == 16:
        want |= {f"result.{name}": value for name, value in packet["result"].items()}
    want = {name: [value] for name, value in want.items()}
    want["record.pfn"] = items(packet, "pfn", "block", "bitmap", "extent")
    want["record.order"] = items(packet, "order", "block", "bitmap", "extent")
    want["word"], want["value"] = words(packet), items(packet, "value", "value")
    want["frame"] = items(packet, "pfn", "frame")
    return want


def compare(vbb, path, limit=0):
    """Raises AssertionError where the two differ in a packet. Returns vbb's packets and the dissector's frames."""
    packets, status, complaint = dump(vbb, path, limit)
    seen = frames(path, limit)
    assert not complaint and status in (0, 65), (status, complaint)
    assert packets, "no packet"
    for number, frame in seen.items():
        packet = packets.get(number)
        if packet is None:
            # a part of a message
            assert frame["frame.protocols"] == "vbb" and not frame["nr_pages"], (number, frame)
            assert not frame["_ws.expert.message"], (number, frame)
            continue
        for name, want in expected(packet).items():
            assert numbers(frame[name]) == want, (number, name, frame[name][:500], want[:20])
        fault = packet.get("fault")
        got = (frame["fault"], frame["fault.byte"], frame["_ws.expert.message"])
        want = (fault["name"], str(fault["byte"]), f"{fault['name']}: {fault['text']}") if fault else ("", "", "")
        assert got == want, (number, got, want)
    assert packets.keys() <= seen.keys()
    return packets, seen
