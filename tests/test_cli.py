#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause
"""The real vbb, from outside: vectors, exit statuses, round trips, and a second decoder to compare with.

usage: test_cli.py VBB [unittest's arguments]; VBB_CASES=N: so many random messages each way (500)
"""
import hashlib
import json
import os
import pathlib
import random
import re
import struct
import subprocess
import sys
import tempfile
import unittest

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE / "oracle")]
import vbb_oracle as oracle  # noqa: E402  # pylint: disable=wrong-import-position
import vector  # noqa: E402  # pylint: disable=wrong-import-position

MANUAL = HERE.parent / "docs" / "man" / "vbb.1"
VBB = "vbb"
CASES = int(os.environ.get("VBB_CASES", "500"))
USAGE, DATA, NOINPUT, IOERR = 64, 65, 66, 74
PATTERNS = ("all", "idle", "every-second", "fragmented", "every-second-block", "density", "buddy", "clusters", "sparse",
            "mixed")
MSG_MAX = 32 + (1 << 20)


def vbb(*args, data=b"", **more):
    """Run it: the result has returncode, stdout and stderr as bytes."""
    return subprocess.run([VBB, *map(str, args)], input=data, capture_output=True, check=False, timeout=120, **more)


def parse_runs(text):
    """Lines of vbb decode to {page_shift: runs}; the first messages' page_shift stands as 0."""
    shift, runs, values = 0, {}, []
    for line in text.decode().splitlines():
        if line.startswith("# page_shift "):
            shift = int(line.split()[2])
        elif line.startswith("# value "):
            values.append(int(line.split()[2]))
        else:
            pfn, count = line.split()
            assert pfn.startswith("0x"), line
            runs.setdefault(shift, []).append((int(pfn, 16), int(count)))
    return runs, values


def as_set(runs):
    """Runs in any order, merged: the same for the same set of pages."""
    merged = []
    for pfn, count in sorted(runs):
        if merged and pfn <= merged[-1][1]:
            merged[-1][1] = max(merged[-1][1], pfn + count)
        else:
            merged.append([pfn, pfn + count])
    return merged


def lines(runs):
    """Runs as vbb encode reads them."""
    return "".join(f"{pfn} {count}\n" for pfn, count in runs).encode()


class Vectors(unittest.TestCase):
    """Every file of tests/vectors."""

    @staticmethod
    def files(folder):
        """All vectors of a folder, with their paths."""
        paths = sorted((HERE / "vectors" / folder).glob("*.hex"))
        assert paths, folder
        return map(vector.load, paths)

    def messages(self):
        """All that are decoded, good and bad ones."""
        return [v for folder in ("good", "bad") for v in self.files(folder) if v.command == ["decode"]]

    def check(self, v):
        """What vbb says of a vector."""
        result = vbb(*v.command, *v.options, data=v.data)
        self.assertEqual(result.stdout.decode().splitlines(), v.expect)
        return result

    def test_good(self):
        for v in self.files("good"):
            with self.subTest(v.name):
                result = self.check(v)
                self.assertEqual((result.returncode, result.stderr), (0, b""))

    def test_bad(self):
        for v in self.files("bad"):
            with self.subTest(v.name):
                result = self.check(v)
                self.assertEqual(result.returncode, DATA)
                if v.command == ["decode"]:
                    self.assertRegex(result.stderr.decode(), rf"\Avbb: <stdin>: {v.fault}: [^\n]+\n\Z")

    def test_oracle(self):
        """The second decoder reads them alike, so neither is right by itself."""
        for v in self.messages():
            with self.subTest(v.name):
                messages = ask_oracle(v.data, *v.options)
                self.assertEqual(messages[-1].malformed if messages else False, bool(v.fault))
                runs, _ = parse_runs("\n".join(v.expect).encode())
                self.assertEqual(as_set(sum(runs.values(), [])), as_set(sum((m.runs for m in messages), [])))

    def test_json(self):
        """The vectors for other implementations, which the second decoder wrote: vbb agrees with every word of them."""
        document = json.loads((HERE / "vectors" / "vectors.json").read_text(encoding="ascii"))
        clauses = vector.clauses()
        for entry in document["vectors"]:
            kind, data = entry["kind"], (HERE / "vectors" / entry["file"]).read_bytes()
            self.assertEqual((len(data), hashlib.sha256(data).hexdigest()), (entry["len"], entry["sha256"]))
            options = {"messages": ["--queue", entry.get("queue")], "frames": ["--format", "pfns"]}.get(
                kind, ["--format", kind])
            options += ["--max-pfn", entry["limit_pfn"]] if "limit_pfn" in entry else []
            options += [] if entry.get("records", True) else ["--no-records"]
            with self.subTest(entry["name"]):
                self.assertEqual(bytes.fromhex(entry.get("hex", data.hex())), data)
                shown = [json.loads(line) for line in vbb("dump", "--json", "--explain", *options, data=data).stdout.splitlines()]
                parts = entry["messages"] if kind == "messages" else [entry]
                if kind == "frames":    # a long one is shown in pieces
                    shown = shown[-1:] or [{}]
                for part, told in zip(parts, shown[:len(parts)], strict=True):
                    for key in ("header", "request", "result"):
                        if part.get(key):
                            self.assertEqual({name: hex(value) for name, value in told[key].items()}, part[key])
                    fault, want = told.get("fault", {}), part.get("fault", {})
                    self.assertEqual({key: fault[key] for key in want}, want)
                    self.assertEqual(fault.get("violates"), want.get("violates"))
                    if fault:
                        self.assertEqual(fault["requirement"], clauses[fault["violates"]])
                        text = " ".join(vbb("dump", "--explain", *options, data=data).stdout.decode().split())
                        self.assertIn(f" violates {fault['violates']}: {fault['requirement']}", text)
                if kind in ("messages", "frames"):
                    runs, values = parse_runs(vbb("decode", *options, data=data).stdout)
                    want = [(int(pfn, 0), int(count, 0)) for part in parts for pfn, count in part["runs"]]
                    self.assertEqual(as_set(sum(runs.values(), [])), as_set(want))
                    self.assertEqual([hex(value) for value in values], [value for part in parts for value in part["values"]])

    def test_encode(self):
        for v in self.files("good"):
            if v.encode is not None:
                with self.subTest(v.name):
                    result = vbb("encode", *v.encode, data="\n".join(v.expect).encode())
                    self.assertEqual((result.returncode, result.stdout), (0, v.data))

    def test_pages_survive(self):
        """What a vector names is the same in every format, in large messages and in small ones."""
        for v in self.files("good"):
            runs, _ = parse_runs("\n".join(v.expect).encode()) if v.command == ["decode"] else ({}, [])
            if list(runs) != [0] or max(n for _, n in runs[0]) > 1 << 24:
                continue
            for how in ("bitmap", "records", "pfns"):
                if how == "pfns" and max(pfn + n for pfn, n in runs[0]) > 1 << 32:
                    continue
                for max_msg in (48, 1000, MSG_MAX):
                    with self.subTest(v.name, how=how, max_msg=max_msg):
                        coded = vbb("encode", "--format", how, "--max-msg", max_msg, data="\n".join(v.expect).encode())
                        self.assertEqual(coded.returncode, 0)
                        back = vbb("decode", *(["--format", how] if how == "pfns" else []), data=coded.stdout)
                        self.assertEqual(as_set(parse_runs(back.stdout)[0][0]), as_set(runs[0]))

    def test_dump(self):
        """Whatever it is, dump shows it and agrees with decode."""
        for v in self.messages():
            with self.subTest(v.name):
                status = DATA if v.fault else 0
                text = vbb("dump", *v.options, data=v.data)
                self.assertEqual((text.returncode, text.stderr), (status, b""))
                result = vbb("dump", "--json", *v.options, data=v.data)
                self.assertEqual((result.returncode, result.stderr), (status, b""))
                check_dump(self, v, [json.loads(line) for line in result.stdout.splitlines()], text.stdout)


def check_dump(test, v, messages, text):
    """The JSON of a vector, against what it must say."""
    faults = [(m["message"], m["fault"]) for m in messages if "fault" in m]
    if v.fault:
        number, fault = faults[0]
        test.assertEqual(v.fault, f"message {number}, byte {fault['byte']}: {fault['name']}")
        test.assertIn(f"byte {fault['byte']}: fault: {fault['name']}: {fault['text']}", text.decode())
    else:
        test.assertEqual(faults, [])
    test.assertEqual(b"".join(v.data[m["offset"]:m["offset"] + m["len"]] for m in messages),
                     v.data[:sum(m["len"] for m in messages)])
    for m in messages:
        if "header" in m:
            test.assertEqual(oracle.HEADER.pack(*(m["header"][key] for key in (
                "cmd", "page_shift", "flag", "format", "req_id", "start_pfn", "bmap_len"))),
                             v.data[m["offset"]:m["offset"] + 32])
        ends = [0]
        for item in m["items"]:
            at = m["offset"] + item["byte"] if "header" in m else item["byte"]
            ends.append(item["byte"] + check_item(test, item, v.data[at:at + 8 * 63]))
            test.assertGreaterEqual(item["byte"], ends[-2])
        if "header" in m and m.get("fault", {"byte": 0})["byte"] >= 32:
            test.assertTrue(m["items"][-1]["byte"] <= m["fault"]["byte"] < ends[-1], "the last one is at fault")


def check_item(test, item, data):
    """An item of dump's JSON, against what it shows. Return its length."""
    words = [int.from_bytes(data[at:at + 8], "little") for at in range(0, len(data), 8)]
    kind = item["kind"]
    if kind == "frame":
        test.assertEqual(words[0] & 0xffffffff, item["pfn"])
        return 4
    if kind in ("block", "bitmap", "extent"):
        code = {"block": 0, "bitmap": words[0] >> 58, "extent": 63}[kind]
        test.assertEqual(words[0], item["pfn"] | item["order"] << 52 | code << 58)
        if kind == "bitmap":
            test.assertEqual([int(word, 16) for word in item["words"]], words[1:1 + len(item["words"])])
            test.assertLessEqual(len(item["words"]), code)
        return {"block": 8, "bitmap": 8 + 8 * code, "extent": 16}[kind]
    test.assertEqual(words[0], int(item["word"], 16) if kind == "word" else item["value"])
    return 8


class Statuses(unittest.TestCase):
    """How it exits, and what it says then."""

    def check(self, status, args, data=b"", stderr=r"\A\Z", stdout=None):
        """Run it and look at all that it says."""
        with self.subTest(args=args, data=data):
            result = vbb(*args, data=data)
            self.assertEqual(result.returncode, status, result.stderr)
            self.assertRegex(result.stderr.decode(), stderr)
            if stdout is not None:
                self.assertEqual(result.stdout, stdout)

    def test_help(self):
        for command in ([], ["encode"], ["decode"], ["dump"], ["gen"]):
            result = vbb(*command, "--help")
            self.assertEqual((result.returncode, result.stderr), (0, b""))
            self.assertTrue(result.stdout.startswith(" ".join(["Usage: vbb", *command]).encode()))
        self.assertRegex(vbb("--version").stdout.decode(), r"\Avbb \d+\.\d+\.\d+\n\Z")

    def test_manual(self):
        """The manual has every command, and each option that a command's help has; and lists no others."""
        parts = re.split(r"^\.S[hs] (.*)\n", MANUAL.read_text(encoding="ascii"), flags=re.M)
        sections = {name.removeprefix("vbb "): text for name, text in zip(parts[1::2], parts[2::2])}
        commands = re.findall(r"^  ([a-z]+) ", vbb("--help").stdout.decode(), re.M)
        self.assertIn("decode", commands)
        for command in commands:
            told = set(re.findall(r"(?<![\w-])--([a-z][a-z-]*)", vbb(command, "--help").stdout.decode()))
            with self.subTest(command):
                listed, named = (set(re.findall(r"(?:Fl |, )-([a-z][a-z-]+)", text)) for text in (
                    "\n".join(re.findall(r"^\.It .*", sections[command], re.M)), sections[command]))
                self.assertEqual(listed - told, set())
                self.assertEqual(told - named, {"help"} - named)

    def test_usage(self):
        for args in ([], ["nothing"], ["--nothing"], ["decode", "--nothing"], ["decode", "a", "b"],
                     ["decode", "--format", "bitmap"], ["decode", "--queue", "deflate"], ["decode", "--max-pfn", "0"],
                     ["decode", "--max-pfn"], ["decode", "--max-pfn", "12junk"], ["decode", "--max-pfn", "-1"],
                     ["decode", "--max-pfn", "18446744073709551616"], ["dump", "--format", "bitmap"],
                     ["encode", "--format", "values"], ["encode", "--page-shift", "11"],
                     ["encode", "--page-shift", "31"], ["encode", "--flag", "6"], ["encode", "--cmd", "65536"],
                     ["encode", "--max-msg", "47"], ["encode", "--max-msg", MSG_MAX + 1], ["encode", "--req-id", ""],
                     ["encode", "--format", "pfns", "--page-shift", "13"],
                     ["encode", "--format", "pfns", "--req-id", "1"], ["encode", "a", "b"], ["gen"],
                     ["gen", "--pattern", "none"], ["gen", "--pattern", "all", "--from-kpageflags"],
                     ["gen", "--pattern", "all", "file"], ["gen", "--pattern", "density", "--density", "0"],
                     ["gen", "--pattern", "density", "--density", "1.000000001"],
                     ["gen", "--pattern", "density", "--density", "0.5x"], ["gen", "--pattern", "all", "--pages", "0"],
                     ["gen", "--pattern", "all", "--order", "21"], ["bench", "--case", "none"], ["bench", "--reps", "0"],
                     ["bench", "--ram", "32T"], ["bench", "--curve", "17T"], ["bench", "file"],
                     ["gen", "--pattern", "all", "--first", "0xfffffffffffff", "--pages", "2"]):
            self.check(USAGE, args, stderr=r"vbb", stdout=b"")

    def test_cannot_read(self):
        for command in ("encode", "decode", "dump"):
            self.check(NOINPUT, [command, "/nonexistent/file"], stderr=r"\Avbb: /nonexistent/file: No such file")
            self.check(NOINPUT, [command, "/"], stderr=r"\Avbb: /: ")
        self.check(NOINPUT, ["dump", "--format", "request", "/"], stderr=r"\Avbb: /: ")

    def test_cannot_write(self):
        message = vbb("encode", data=b"1 1\n").stdout
        for args, data in ((["encode"], b"1 1\n"), (["decode"], message), (["dump"], message),
                           (["dump", "--json"], message), (["gen", "--pattern", "idle"], b""), (["--help"], b""),
                           (["decode", "--help"], b""), (["decode"], message + b"x")):
            with self.subTest(args=args), open("/dev/full", "wb") as full:
                result = subprocess.run([VBB, *args], input=data, stdout=full, stderr=subprocess.PIPE, check=False)
                self.assertEqual(result.returncode, IOERR)
                self.assertIn(b"vbb: <stdout>: cannot write", result.stderr)
        self.check(IOERR, ["encode", "-o", "/dev/full"], b"1 1\n", stderr=r"\Avbb: /dev/full: cannot write")
        self.check(IOERR, ["encode", "-o", "/nonexistent/file"], b"1 1\n", stderr=r"\Avbb: /nonexistent/file: ")

    def test_lines(self):
        for data, where in ((b"1", "1: NUMBER"), (b"\n\n1 x", "3: NUMBER"), (b"-1 1", "1: NUMBER"),
                            (b"1 -1", "1: NUMBER"), (b"+1 1", "1: NUMBER"), (b"1 1 1", "1: TRAILING"),
                            (b"1 1x", "1: TRAILING"), (b"1,1", "1: NUMBER"), (b"0x 1", "1: NUMBER"),
                            (b"0xg 1", "1: NUMBER"), (b"1x 1", "1: NUMBER"), (b"1\0 1", "1: NUMBER"),
                            (b"1 1\n# ok\n2 0\n", "3: COUNT"), (b"18446744073709551616 1", "1: OVERFLOW"),
                            (b"0x10000000000000000 1", "1: OVERFLOW"), (b"1 18446744073709551616", "1: OVERFLOW"),
                            (b"18446744073709551615 18446744073709551615", "1: PFN_RANGE"),
                            (b"0x10000000000000 1", "1: PFN_RANGE"), (b"0xfffffffffffff 2", "1: PFN_RANGE"),
                            (b"1 0xffffffffffffffff", "1: PFN_RANGE")):
            self.check(DATA, ["encode"], data, stderr=rf"\Avbb: <stdin>: line {where}: [^\n]+\n\Z", stdout=b"")
        self.check(DATA, ["encode", "--page-shift", "30"], b"0x3ffffffff 2", stderr=r"PFN_RANGE")
        self.check(DATA, ["encode", "--format", "pfns"], b"0xffffffff 2", stderr=r"PFN_RANGE")
        good = b"# all of these are fine\n\n \t \r\n0x10 2 # 16, 17\n\t010 1\r\n0XAb 0x1"
        self.assertEqual(vbb("decode", data=vbb("encode", data=good).stdout).stdout, b"0xa 1\n0x10 2\n0xab 1\n")

    def test_no_output_file_for_bad_input(self):
        with tempfile.TemporaryDirectory() as tmp:
            path = pathlib.Path(tmp, "out")
            self.check(DATA, ["encode", "-o", path], b"junk", stderr="NUMBER")
            self.assertFalse(path.exists())
            self.check(0, ["encode", "--output", path, "-"], b"1 1")
            self.assertEqual(vbb("decode", path).stdout, b"0x1 1\n")
            path.write_bytes(path.read_bytes()[:-1])
            self.check(DATA, ["decode", path], stderr=rf"\Avbb: {path}: message 1, byte 24: LEN: [^\n]+\n\Z")

    def test_memory_is_bounded(self):
        """However long the input, and wherever the pipe cuts it."""
        message = vbb("encode", "--format", "bitmap", data=b"0 8388608\n").stdout
        for command, data in ((["decode"], message), (["dump"], message),
                              (["decode", "--format", "pfns"], bytes(MSG_MAX))):
            small, large = peak_kib(command, data, 1), peak_kib(command, data, 100)
            self.assertLess(large - small, 2048, command)


def peak_kib(command, data, count):
    """The most memory that vbb has, fed so many times."""
    with subprocess.Popen([VBB, *command], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as process:
        for _ in range(count):
            process.stdin.write(data)
        process.stdin.close()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, command
    return usage.ru_maxrss


class Encode(unittest.TestCase):
    """Messages that it writes, read by the second decoder."""

    def check(self, runs, how, max_msg=MSG_MAX, shift=12, flag=0, cmd=0, req_id=0):
        """Encode, and look at every message."""
        result = vbb("encode", "--format", how, "--max-msg", max_msg, "--page-shift", shift, "--flag", flag,
                     "--cmd", cmd, "--req-id", req_id, data=lines(runs))
        self.assertEqual((result.returncode, result.stderr), (0, b""))
        data, heads = result.stdout, []
        if how == "pfns":
            messages = oracle.decode_pfns(data)
        else:
            messages = oracle.decode_stream(data, "host_request" if flag or cmd or req_id else "inflate")
            while data:
                heads.append(oracle.HEADER.unpack_from(data))
                if heads[-1][3] == oracle.BITMAP and heads[-1][6]:    # VBB-MSG-14
                    bitmap = data[32:32 + heads[-1][6]]
                    self.assertTrue(len(bitmap) % 8 == 0 and any(bitmap[:8]) and any(bitmap[-8:]), heads[-1])
                data = data[32 + heads[-1][6]:]
        self.assertFalse(any(m.malformed for m in messages))
        self.assertEqual(as_set(sum((m.runs for m in messages), [])), as_set(runs))
        for number, head in enumerate(heads, 1):
            self.assertEqual((head[0], head[1], head[4]), (cmd, shift, req_id))
            self.assertEqual(head[2], flag if number == len(heads) else 0)
            self.assertLessEqual(32 + head[6], max_msg)
            if how in ("bitmap", "records"):
                self.assertEqual(head[3], how == "records")
        queue = ["--queue", "host_request"] if flag or cmd or req_id else []
        back = vbb("decode", *(["--format", "pfns"] if how == "pfns" else queue), data=result.stdout)
        self.assertEqual(back.stdout.decode(), "".join(f"0x{a:x} {b - a}\n" for a, b in as_set(runs)))
        self.assertEqual((back.returncode, back.stderr), (0, b""))
        return result.stdout, heads

    def test_patterns(self):
        """Every pattern, in every format and small and large messages."""
        for pattern in PATTERNS:
            more = ["--pages", 1 << 22] if pattern == "sparse" else ["--pages", 40000]
            text = vbb("gen", "--pattern", pattern, "--first", 12345, *more).stdout
            runs = parse_runs(text)[0][0]
            for how in ("bitmap", "records", "auto", "quick", "pfns"):
                for max_msg in (48, 56, 333, 4096, MSG_MAX):
                    with self.subTest(pattern=pattern, how=how, max_msg=max_msg):
                        self.check(runs, how, max_msg)

    def test_auto_is_the_shorter(self):
        for pattern in PATTERNS:
            with self.subTest(pattern):
                text = vbb("gen", "--pattern", pattern, "--pages", 100000).stdout
                size = {how: len(vbb("encode", "--format", how, data=text).stdout)
                        for how in ("auto", "bitmap", "records")}
                self.assertEqual(size["auto"], min(size["bitmap"], size["records"]))

    def test_auto_of_equals(self):
        """A receiver without records can read a bitmap."""
        _, heads = self.check([(64, 1)], "auto")
        self.assertEqual(heads[0][3], oracle.BITMAP)

    def test_auto_of_terabytes(self):
        """The other format would take longer than anyone waits."""
        data, _ = self.check([(0, 1 << 50), ((1 << 52) - 1, 1)], "auto")
        self.assertLess(len(data), 100)

    def test_flags(self):
        """All messages but the last go on; what cannot carry pages comes behind them."""
        runs = [(3 * i, 1 + i % 2) for i in range(500)]
        for flag in range(6):
            for how in ("auto", "quick", "bitmap", "records"):
                for max_msg in (48, MSG_MAX):
                    with self.subTest(flag=flag, how=how, max_msg=max_msg):
                        _, heads = self.check(runs, how, max_msg, 12, flag, 0, 99)
                        self.assertEqual(heads[-1][6] == 0, flag > 1)
                        self.assertGreater(len(heads), 1 if max_msg == 48 else flag > 1)

    def test_nothing(self):
        for how in ("auto", "quick", "bitmap", "records", "pfns"):
            self.assertEqual(self.check([], how)[0], b"")
        for flag in range(1, 6):
            data, heads = self.check([], "auto", flag=flag, cmd=7, req_id=1 << 63)
            self.assertEqual((len(data), len(heads)), (32, 1))

    def test_random(self):
        """Lines in no order that overlap and touch."""
        rng = random.Random(1)
        for case in range(CASES // 4):
            how = rng.choice(("auto", "quick", "bitmap", "records", "pfns"))
            shift = 12 if how == "pfns" else rng.randint(12, 30)
            wide = how in ("auto", "quick", "records")
            end = min(1 << 52, 1 << 64 - shift) if wide else 1 << 32
            space = 1 << rng.randint(4, 52 if wide else 16)
            first = rng.randrange(max(1, end - space + 1)) if rng.random() < .8 else max(0, end - space)
            runs = []
            for _ in range(rng.randint(1, 200)):
                pfn = first + rng.randrange(min(space, end - first))
                runs.append((pfn, rng.randint(1, min(1 << rng.randint(0, 50 if how == "records" else 8), end - pfn))))
            with self.subTest(case=case):
                flag = 0 if how == "pfns" else rng.choice((0, 0, 1))
                max_msg = rng.choice((48, 64, 100, 1000, MSG_MAX))
                data, _ = self.check(runs, how, max_msg, shift, flag)
                ordered = [(pfn, end - pfn) for pfn, end in as_set(runs)]
                self.assertEqual(self.check(ordered, how, max_msg, shift, flag)[0], data)


class Bench(unittest.TestCase):
    """What vbb bench compares is compared; how long it takes is nobody's promise."""

    def test_quick(self):
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "bench.json"
            result = vbb("bench", "--quick", "--json", path)
            self.assertEqual((result.returncode, result.stderr), (0, b""))
            data = json.loads(path.read_text(encoding="utf-8"))
        for line in result.stdout.decode().splitlines():
            if line.startswith("SKIP "):
                print(line, flush=True)
        self.assertEqual(len(data["scans"]), 4)
        names = {case["name"] for case in data["cases"]}
        self.assertTrue(names >= {"full", "idle", "fragmented-64", "fragmented-16", "fragmented-2", "random-0.5", "2m-blocks",
                                  "curve"}, names)
        for case in data["cases"]:
            with self.subTest(case["name"], pages=case["pages"]):
                ways = {way["name"]: way for way in case["ways"]}
                self.assertTrue(ways.keys() >= {"plan", "bitmap", "records", "old-format", "frames", "bit-by-bit",
                                                "find-next-bit"}, ways.keys())
                for way in ways.values():
                    for what in ("encode_ns", "decode_ns", "read_ns"):
                        self.assertEqual(len(way[what]), data["reps"])
                for way in ("old-format", "frames"):
                    self.assertEqual(ways[way]["bytes"], 4 * case["free_pages"])
                self.assertEqual(ways["bit-by-bit"]["bytes"], ways["find-next-bit"]["bytes"])
                self.assertEqual(ways["plan"]["memory"], ways["bitmap"]["memory"])
                self.assertLessEqual(ways["plan"]["bytes"], 1.1 * ways["bitmap"]["bytes"] + 16)

    def test_one_case(self):
        result = vbb("bench", "--quick", "--case", "2m-blocks", "--ram", "8M", "--reps", 1)
        self.assertEqual(result.returncode, 0)
        self.assertNotIn(b"idle", result.stdout)
        self.assertIn(b"2m-blocks, 8 MiB: every second block of 2 MiB\n  1024 pages are free, in 2 runs\n", result.stdout)

    def test_cannot_write(self):
        self.assertEqual(vbb("bench", "--quick", "--case", "full", "--json", "/none/none").returncode, 74)


class Gen(unittest.TestCase):
    """What vbb gen writes."""

    def test_same_everywhere(self):
        """A seed stands for one guest, on every machine: these are fixed."""
        golden = json.loads((HERE / "vectors" / "gen.json").read_text(encoding="utf-8"))
        self.assertEqual(sorted(golden), sorted(PATTERNS))
        for pattern, digest in golden.items():
            with self.subTest(pattern):
                text = vbb("gen", "--pattern", pattern, "--pages", 100000, "--seed", 7).stdout
                self.assertEqual(hashlib.sha256(text).hexdigest(), digest)

    def test_lines(self):
        """Ascending, apart from each other, and inside the guest."""
        for pattern in PATTERNS:
            for args in ((), ("--order", 3, "--density", "0.01"), ("--density", "1"), ("--seed", 5, "--order", 0)):
                with self.subTest(pattern, args=args):
                    result = vbb("gen", "--pattern", pattern, "--first", 1000, "--pages", 9999, *args)
                    self.assertEqual(result.returncode, 0)
                    end = 999
                    for pfn, count in parse_runs(result.stdout)[0].get(0, []):
                        self.assertGreater(pfn, end)
                        end = pfn + count
                    self.assertLessEqual(end, 10999)

    def test_density(self):
        for pattern in ("density", "clusters", "buddy"):
            for density in ("0.001", ".1", "0.5", "0.9"):
                with self.subTest(pattern, density=density):
                    text = vbb("gen", "--pattern", pattern, "--density", density, "--order", 4).stdout
                    share = sum(count for _, count in parse_runs(text)[0][0]) / (1 << 20)
                    self.assertAlmostEqual(share / float(density), 1, delta=0.15)

    def test_kpageflags(self):
        """The kernel counts its free pages in another way too."""
        if not os.access("/proc/kpageflags", os.R_OK):
            print("SKIP vbb gen --from-kpageflags: /proc/kpageflags cannot be read", flush=True)
            self.skipTest("/proc/kpageflags cannot be read")
        for _ in range(10):    # both move while they are read
            result = vbb("gen", "--from-kpageflags")
            self.assertEqual(result.returncode, 0, result.stderr)
            found = sum(count for _, count in parse_runs(result.stdout)[0][0])
            if abs(found / buddyinfo_pages() - 1) < 0.05:
                break
        else:
            self.fail("not what /proc/buddyinfo says")
        self.assertEqual(vbb("decode", data=vbb("encode", data=result.stdout).stdout).stdout, result.stdout)


def buddyinfo_pages():
    """Free pages of 4 KiB, as the allocator counts them."""
    free = 0
    for line in pathlib.Path("/proc/buddyinfo").read_text(encoding="ascii").splitlines():
        free += sum(int(count) << order for order, count in enumerate(line.split()[4:]))
    return free * (os.sysconf("SC_PAGESIZE") // 4096)


def ask_oracle(data, *options):
    """The second decoder, told the same as vbb."""
    values = [option for option in options if option != "--no-records"]
    named = dict(zip(values[::2], values[1::2]))
    limit = int(named.get("--max-pfn", "0"), 0)
    if named.get("--format") == "pfns":
        return oracle.decode_pfns(data, limit)
    return oracle.decode_stream(data, named.get("--queue", "inflate"), limit, "--no-records" not in options)


class Maker:
    """Messages of all kinds, most of them legal."""

    def __init__(self, seed):
        self.rng = random.Random(seed)

    def rare(self, share=0.02):
        """Now and then."""
        return self.rng.random() < share

    def pfn(self, order=0):
        """A page, often at the end of what can be named."""
        end = 1 << self.rng.choice((8, 20, 34, 52, 52))
        pfn = end - self.rng.randint(1, 300) if self.rare(0.2) else self.rng.randrange(end)
        return max(0, pfn) if self.rare() else max(0, pfn) >> order << order

    def word(self):
        """Some bits."""
        kind = self.rng.randrange(5)
        if kind == 0:
            return 0
        if kind == 1:
            return 1 << self.rng.randrange(64)
        if kind == 2:
            return (1 << 64) - 1
        bits = self.rng.getrandbits(64)
        return bits & self.rng.getrandbits(64) if kind == 3 else bits

    def record(self):
        """One record, as words."""
        order = self.rng.choice((0, 0, 1, 9, self.rng.randint(0, 51), self.rng.randint(0, 63)))
        code = self.rng.choice((0, 0, 63, 1, 2, self.rng.randint(1, 62)))
        if code == 63 and not self.rare():
            order = 0
        words = [self.pfn(order) | order << 52 | code << 58]
        if code == 63:
            words.append(self.rng.choice((1, 7, 1 << 20, 1 << 51, 1 << 52, self.rng.getrandbits(20) + 1)))
            if self.rare():
                words[1] = self.rng.choice((0, (1 << 52) + 1, (1 << 64) - 1))
        elif code:
            words += [self.word() for _ in range(code)]
        return words

    def message(self, queue):
        """A message with a header that is right but for a few."""
        answer = queue == "host_request"
        fmt = self.rng.choice((0, 1, 1, 1, 2 if answer else 1))
        flag = self.rng.choice((0, 1, self.rng.randint(0, 5))) if answer else 0
        payload, start = b"", 0
        if fmt == 0:
            start = self.pfn()
            payload = b"".join(struct.pack("<Q", self.word()) for _ in range(self.rng.randint(0, 20)))
            payload = payload[:len(payload) - self.rng.choice((0, 0, self.rng.randrange(9)))]
        else:
            for _ in range(self.rng.randint(0, 6)):
                payload += b"".join(struct.pack("<Q", word) for word in self.record())
        if flag > 1 and not self.rare(0.1):
            payload = b""
        head = [self.rng.randrange(3) if answer else 0, self.rng.choice((12, 12, 12, 21, 30)), flag, fmt,
                self.rng.getrandbits(64) if answer else 0, start, len(payload)]
        return oracle.HEADER.pack(*head) + payload

    def mutate(self, data):
        """Hurt it in one place or a few."""
        data = bytearray(data)
        for _ in range(self.rng.choice((1, 1, 2, 5))):
            at = self.rng.randrange(len(data)) if data else 0
            kind = self.rng.randrange(6)
            if not data or kind == 0:
                data[at:at] = self.rng.randbytes(self.rng.choice((1, 4, 8)))
            elif kind == 1:
                data[at] ^= 1 << self.rng.randrange(8)
            elif kind == 2:
                data[at] = self.rng.choice((0, 1, 12, 127, 128, 255))
            elif kind == 3:
                del data[at:at + self.rng.choice((1, 4, 8, len(data)))]
            elif kind == 4 and len(data) >= 32:
                field = self.rng.choice(((0, 2), (2, 2), (4, 2), (6, 2), (8, 8), (16, 8), (24, 8)))
                value = self.rng.choice((0, 1, 2, 3, 6, 11, 12, 30, 31, len(data) - 32, self.rng.getrandbits(64)))
                data[field[0]:sum(field)] = (value & (1 << 8 * field[1]) - 1).to_bytes(field[1], "little")
            else:
                at = at // 8 * 8
                data[at:at + 8], data[-8:] = data[-8:], data[at:at + 8]
        return bytes(data)


class Differential(unittest.TestCase):
    """Two decoders, one opinion: the same pages, and the same messages refused."""

    def check(self, data, *options):
        """Return whether the message is legal."""
        messages = ask_oracle(data, *options)
        malformed = bool(messages) and messages[-1].malformed
        result = vbb("decode", *options, data=data)
        self.assertEqual(result.returncode, DATA if malformed else 0, (result.stderr, messages))
        printed, values = parse_runs(result.stdout)
        found, named = {}, {}
        for m in messages:
            named.setdefault(m.page_shift, []).extend(m.runs)
        for shift, runs in printed.items():
            found.setdefault(shift or messages[0].page_shift, []).extend(runs)
        self.assertEqual({s: as_set(r) for s, r in found.items()}, {s: as_set(r) for s, r in named.items() if r})
        self.assertEqual(values, sum((m.values for m in messages), []))
        if malformed:
            where = re.fullmatch(r"vbb: <stdin>: message (\d+), byte (\d+): ([A-Z_]+): [^\n]+\n", result.stderr.decode())
            self.assertTrue(where, result.stderr)
            fault = messages[-1].fault
            self.assertEqual((int(where[1]), int(where[2]), where[3]), (len(messages), fault.byte, fault.name))
        return not malformed

    def check_dump(self, data, *options):
        """vbb dump tells the same as the other two."""
        messages = ask_oracle(data, *options)
        for number, line in enumerate(vbb("dump", "--json", *options, data=data).stdout.splitlines()[:len(messages)]):
            told, m = json.loads(line), messages[number]
            fault = m.fault and {"byte": m.fault.byte, "name": m.fault.name}
            self.assertEqual(told.get("fault", None) and {key: told["fault"][key] for key in ("byte", "name")}, fault)
            self.assertEqual(told.get("header"), m.header)
            self.assertEqual([item["value"] for item in told["items"] if item["kind"] == "value"], m.values)
            # a page that is named twice may count twice, or once where the two touch
            self.assertLessEqual(told["nr_pages"], sum(count for _, count in m.runs))
            self.assertGreaterEqual(told["nr_pages"], sum(b - a for a, b in as_set(m.runs)))

    def run_cases(self, seed, make, share):
        """So many cases; at least a share of them must be legal, and a share not."""
        maker, legal = Maker(seed), 0
        for case in range(CASES):
            data, options = make(maker)
            with self.subTest(case=case, options=options, data=data.hex()):
                legal += self.check(data, *options)
                if case % 5 == 0:
                    self.check_dump(data, *options)
        self.assertGreater(legal, CASES * share)
        self.assertGreater(CASES - legal, CASES * share)

    @staticmethod
    def options(maker):
        """A queue, and sometimes a limit."""
        options = ["--queue", maker.rng.choice(("inflate", "host_request"))]
        if maker.rare(0.3):
            options += ["--max-pfn", str(maker.pfn() + 1)]
        return options

    def test_made(self):
        def make(maker):
            options = self.options(maker)
            return b"".join(maker.message(options[1]) for _ in range(maker.rng.randint(1, 3))), options
        self.run_cases(2, make, 0.1)

    def test_mutated(self):
        """Of what vbb itself writes, hurt."""
        samples = [vbb("encode", *args, data=vbb("gen", "--pattern", pattern, "--pages", 2000).stdout).stdout
                   for pattern in PATTERNS[:-1]
                   for args in (["--format", "bitmap"], ["--format", "records", "--max-msg", "200"],
                                ["--flag", "1", "--req-id", "5"])]

        def make(maker):
            return maker.mutate(maker.rng.choice(samples)), self.options(maker)
        self.run_cases(3, make, 0.01)

    def test_encoded(self):
        """What the second encoder writes, and all that vbb says of it is that these are the pages."""
        rng = random.Random(5)
        for case in range(CASES // 10):
            shift = rng.randint(12, 30)
            fmt, end = rng.choice((oracle.BITMAP, oracle.RECORDS)), min(1 << 52, 1 << 64 - shift)
            answer = rng.choice((0, 1))
            encoder = oracle.Encoder(rng.choice, shift, 0, answer * rng.getrandbits(64), answer)
            data, want = b"", []
            for _ in range(20):
                first = rng.choice((0, end - 40000, rng.randrange(end - 40000)))
                runs = []
                for _ in range(rng.randint(1, 12)):
                    pfn = first + rng.randrange(39000) >> rng.choice((0, 0, 3, 9)) << rng.choice((0, 0, 3, 9))
                    if first <= pfn < first + 39000:
                        runs.append((pfn, rng.choice((1, rng.randint(1, 999), 512))))
                if fmt == oracle.RECORDS and rng.random() < 0.2:
                    runs.append((first, end - first))
                if runs:
                    data, want = data + encoder.encode(runs, fmt), want + runs
            queue = "host_request" if answer else "inflate"
            with self.subTest(case=case):
                self.assertTrue(self.check(data, "--queue", queue))
                printed = parse_runs(vbb("decode", "--queue", queue, data=data).stdout)[0]
                self.assertEqual(as_set(sum(printed.values(), [])), as_set(want))

    def test_pfns(self):
        def make(maker):
            data = maker.rng.randbytes(maker.rng.choice((0, 4, 40, 400, 401)))
            if maker.rare(0.5):
                first = maker.rng.getrandbits(31)
                data += b"".join((first + i).to_bytes(4, "little") for i in range(maker.rng.randint(1, 20)))
            options = ["--format", "pfns"]
            if maker.rare(0.5):
                options += ["--max-pfn", str(maker.rng.getrandbits(33) + 1)]
            return data, options
        self.run_cases(4, make, 0.1)


def main():
    """Take the path of vbb off the arguments."""
    global VBB  # pylint: disable=global-statement
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    VBB = sys.argv.pop(1)
    unittest.main()


if __name__ == "__main__":
    main()
