#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause
"""`vbb ctl`: against a real device with a driver that answers, and against servers that lie, stall or go.

usage: test_ctl.py VBB [unittest's arguments]
"""

import json
import os
import pathlib
import pty
import signal
import socket
import subprocess
import tempfile
import threading
import time

from devicerig import Case, block, extent, main
from test_requests import BITMAP, BUSY, CANCEL, CONT, DONE, DROP_CACHE, FAILED, RECORDS, UNSUPPORTED, VALUES, Requests, words

USAGE, DATA, UNAVAILABLE, IOERR, TEMPFAIL = 64, 65, 69, 74, 75

GREETING = b'{"QMP": {"version": {}, "capabilities": []}}\r\n'
END = {"id": 7, "command": "get-unused-pages", "status": "done", "messages": 1, "bytes": 40, "answered-ms": 0.5,
       "total-ms": 1.25, "pages": 3, "runs": 1}


class Server:
    """A QMP server of one connection that says what a test wants; answers are functions of the request."""

    def __init__(self, answers=None, greeting=GREETING, cut=0, then=b""):
        self.folder = tempfile.TemporaryDirectory(prefix="vbb-ctl-")
        self.path = os.path.join(self.folder.name, "qmp")
        self.answers, self.greeting, self.cut, self.then = answers or {}, greeting, cut, then
        self.requests, self.files = [], []
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(self.path)
        self.listener.listen()
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    def send(self, sock, data):
        for at in range(0, len(data), self.cut or len(data) or 1):
            sock.sendall(data[at:at + (self.cut or len(data))])
            if self.cut:
                time.sleep(0.0002)

    def serve(self):
        try:
            sock, _ = self.listener.accept()
            with sock:
                self.send(sock, self.greeting)
                buffer = b""
                while True:
                    data, fds, _, _ = socket.recv_fds(sock, 1 << 16, 4)
                    self.files += [os.fdopen(fd, "wb", buffering=0) for fd in fds]
                    if not data:
                        return
                    buffer += data
                    decoder = json.JSONDecoder()
                    while buffer:
                        request, end = decoder.raw_decode(buffer.decode())
                        buffer = buffer[end:].lstrip()
                        self.requests.append(request)
                        answer = self.answers.get(request["execute"], {})
                        if callable(answer):
                            answer = answer(self, request)
                        if answer is None:
                            return
                        if not isinstance(answer, bytes):
                            answer = result(request, answer)
                        self.send(sock, answer)
        except OSError:
            pass  # the client went

    def close(self):
        self.listener.close()
        self.thread.join(20)
        for file in self.files:
            file.close()
        self.folder.cleanup()


def result(request, value):
    return json.dumps({"return": value, "id": request["id"]}).encode() + b"\r\n"


def event(name="X_HOST_REQUEST_END", **data):
    return json.dumps({"event": name, "data": data, "timestamp": {"seconds": 1, "microseconds": 2}}).encode() + b"\r\n"


def ends(**changes):
    """An answer to a request: its id, and the event that it has ended, at once."""
    return lambda server, request: result(request, {"id": 7}) + event(**{**END, **changes})


class Ctl(Case):
    """How the tool is run."""

    def ctl(self, path, *args, **more):
        return subprocess.run([self.vbb, "ctl", "--qmp", path, *map(str, args)], capture_output=True, text=True,
                              timeout=60, check=False, **more)

    def start(self, path, *args, **more):
        process = subprocess.Popen([self.vbb, "ctl", "--qmp", path, *map(str, args)], stdout=subprocess.PIPE,
                                   stderr=more.pop("stderr", subprocess.PIPE), text=True, **more)
        self.addCleanup(process.stdout.close)
        if process.stderr:
            self.addCleanup(process.stderr.close)
        self.addCleanup(process.kill)
        return process

    def server(self, answers=None, **more):
        server = Server(answers, **more)
        self.addCleanup(server.close)
        return server

    def check(self, done, status, stderr="", stdout=None):
        self.assertEqual(done.returncode, status, (done.stdout, done.stderr))
        self.assertRegex(done.stderr, stderr or r"\A\Z")
        for line in done.stderr.splitlines():
            self.assertTrue(line.startswith(("vbb: ", "Try ")), line)
            self.assertTrue(line.isascii() and line.isprintable(), line)
        if stdout is not None:
            self.assertEqual(done.stdout, stdout)


class Lies(Ctl):
    """Whatever a server does, the client ends, in time, and says what was wrong."""

    def test_no_server(self):
        with tempfile.TemporaryDirectory() as folder:
            self.check(self.ctl(os.path.join(folder, "none"), "requests"), UNAVAILABLE, "none: No such file")
            pathlib.Path(folder, "file").touch()
            self.check(self.ctl(os.path.join(folder, "file"), "requests"), UNAVAILABLE, "file: Connection refused")
        self.check(self.ctl("x" * 200, "requests"), UNAVAILABLE, "too long")

    def test_greeting(self):
        for greeting in (b"hello\r\n", b"[1]\r\n", b'{"no": 1}\r\n', b"\0\r\n", b"{]", b'{"QMP": "\xff"}', b"[" * 100,
                         b'{"QMP": "' + b"x" * (2 << 20), b"null\r\n", b'{"QMP": 1}' + GREETING + b"\0"):
            with self.subTest(greeting[:20]):
                server = self.server(greeting=greeting)
                self.check(self.ctl(server.path, "requests"), DATA, "qmp: ", stdout="")

    def test_silence(self):
        """No greeting; no answer; an answer that never ends; talk that never answers."""
        def babble(server, request):
            return event("NOISE") * 20000
        silent = (self.server(greeting=b""), self.server(greeting=GREETING[:9]), self.server({"query-balloon": b""}),
                  self.server({"query-balloon": b'{"return": '}), self.server({"query-balloon": babble}))
        running = [self.start(server.path, "query-balloon") for server in silent]
        for process in running:
            self.assertEqual(process.wait(60), UNAVAILABLE)
            self.assertRegex(process.stderr.read(), r"\Avbb: .*(no greeting|no answer to 'query-balloon' in 5 s)\n\Z")

    def test_gone(self):
        self.check(self.ctl(self.server({"query-balloon": None}).path, "query-balloon"), UNAVAILABLE, "the server went$")
        for half in (b"{", b'{"return": {"actual": 1}, "id": 2'):
            server = Server(greeting=GREETING + half)
            server.answers["qmp_capabilities"] = None
            self.check(self.ctl(server.path, "query-balloon"), DATA, "in the middle of a message")
            server.close()

    def test_answers(self):
        """Answers that are none."""
        for answer in (b'{"return": {}}\r\n', b'{"return": {"actual": 1}, "id": 1}\r\n',
                       b'{"return": {"actual": 1}, "id": "2"}\r\n', b'{"return": {"actual": 1}}\r\n', b'{"id": 2}\r\n',
                       b'{"return": {"actual": "1"}, "id": 2}', b'{"return": {"actual": -1}, "id": 2}',
                       b'{"return": [1], "id": 2}', b'{"return": {"actual": 1.5}, "id": 2}', b'{"error": 5, "id": 2}',
                       b'{"return": null, "id": 2}', b'{"return": {"actual": {"actual": 1}}, "id": 2}', b"[]", b"\0"):
            with self.subTest(answer):
                self.check(self.ctl(self.server({"query-balloon": answer}).path, "query-balloon"), DATA, "qmp: ", stdout="")
        for command, name in (("requests", "x-query-requests"), ("counters", "x-query-balloon-counters")):
            self.check(self.ctl(self.server({name: 5}).path, command), DATA, "not what it should be")
        self.check(self.ctl(self.server({"x-query-requests": [5]}).path, "requests"), DATA, "not what it should be")
        self.check(self.ctl(self.server({"x-get-unused-pages": {"id": "7"}}).path, "unused-pages"), DATA, "not what it should be")

    def test_no_escape(self):
        """What a server says does not reach the terminal as it is."""
        evil = "\x1b]0;owned\x07\r\n\u009b31m"
        error = json.dumps({"error": {"class": evil, "desc": evil}, "id": 2}).encode()
        self.check(self.ctl(self.server({"query-balloon": error}).path, "query-balloon"), UNAVAILABLE, "owned")
        done = self.ctl(self.server({"x-query-balloon-counters": {evil: evil, "a": {evil: 1}}}).path, "counters")
        self.assertTrue(done.stdout.replace("\n", "").isprintable() and done.stdout.isascii(), done.stdout)
        done = self.ctl(self.server({"x-get-unused-pages": ends(status="done", command=evil, error=evil)}).path, "unused-pages")
        self.assertEqual(done.returncode, 0)
        self.assertTrue(done.stdout.replace("\n", "").isprintable() and done.stdout.isascii(), done.stdout)

    def test_cut(self):
        """Byte by byte, blanks between, and several messages in one piece."""
        noise = b"\r\n\t " + event("NOISE")
        server = self.server({"x-get-unused-pages": lambda s, r: noise + result(r, {"id": 7}) + noise + event(**END)}, cut=1)
        done = self.ctl(server.path, "unused-pages")
        self.check(done, 0)
        self.assertIn("request 7, get-unused-pages: done\n  3 pages, 12 KiB, in 1 runs\n  40 bytes in 1 messages\n", done.stdout)

    def test_order(self):
        """The end can be told before the answer; that of another request is not ours."""
        server = self.server({"x-get-unused-pages": lambda s, r: event(**END) + result(r, {"id": 7})})
        self.check(self.ctl(server.path, "unused-pages"), 0)
        server = self.server({"x-get-unused-pages": lambda s, r: result(r, {"id": 7}) + event(**{**END, "id": 6, "pages": 99})
                              + event(id="7") + event() + event(**END)})
        self.assertIn("  3 pages", self.ctl(server.path, "unused-pages").stdout)

    def test_stats(self):
        """As QEMU tells them; no driver tells all of them."""
        stats = {"stat-free-memory": 1 << 30, "stat-htlb-pgfail": (1 << 64) - 1, "stat-odd": "x"}
        server = self.server({"qom-get": {"stats": stats, "last-update": 5}})
        done = self.ctl(server.path, "stats")
        self.check(done, 0)
        self.assertEqual([line.split() for line in done.stdout.splitlines()],
                         [["stat-free-memory", str(1 << 30)], ["stat-htlb-pgfail", "unknown"]])
        self.assertEqual(server.requests[-1]["arguments"], {"path": "balloon0", "property": "guest-stats"})
        for wrong in (5, None, {}, {"stats": 5}, []):
            server = self.server({"qom-get": lambda s, r, wrong=wrong: result(r, wrong)})
            self.check(self.ctl(server.path, "stats"), DATA, "not what it should be")
        server = self.server()
        self.check(self.ctl(server.path, "stats", "--interval", 2), 0, stdout="")
        self.assertEqual(server.requests[-1], {"execute": "qom-set", "id": 2, "arguments": {
            "path": "balloon0", "property": "guest-stats-polling-interval", "value": 2}})

    def test_statuses(self):
        for status, code in (("done", 0), ("unsupported", UNAVAILABLE), ("failed", UNAVAILABLE), ("busy", TEMPFAIL),
                             ("timeout", TEMPFAIL), ("reset", TEMPFAIL), ("cancelled", TEMPFAIL), ("error", DATA),
                             ("fine", DATA), (5, DATA), (None, DATA)):
            with self.subTest(status):
                done = self.ctl(self.server({"x-get-unused-pages": ends(status=status)}).path, "unused-pages")
                self.assertEqual(done.returncode, code)

    def test_no_end(self):
        done = self.ctl(self.server({"x-drop-cache": {"id": 7}}).path, "drop-cache", "--timeout-ms", 1)
        self.check(done, UNAVAILABLE, "no end of request 7 in time")

    def test_runs(self):
        """Only what are runs is written, and in order."""
        with tempfile.TemporaryDirectory() as folder:
            out = os.path.join(folder, "runs")

            def writes(text):
                def answer(server, request):
                    server.files[0].write(text)
                    return ends()(server, request)
                return {"x-get-unused-pages": answer}
            for text, error in ((b"junk\n", "NUMBER"), (b"1 0\n", "COUNT"), (b"# ram x\n", "NUMBER"), (b"1 1 1\n", "TRAILING"),
                                (b"0xfffffffffffff 2\n", "PFN_RANGE"), (b"1 1\n\0", "NUMBER")):
                with self.subTest(text):
                    self.check(self.ctl(self.server(writes(text)).path, "unused-pages", "-o", out), DATA, f"line .*: {error}: ")
                    self.assertFalse(os.path.exists(out))
            good = writes(b"# ram 0x0 512\n0x10 1\n0x5 1\n0x6 10\n0x5 1\n")
            want = "# ram 0x0 512\n0x5 12\n"
            done = self.ctl(self.server(good).path, "unused-pages", "--output", out)
            self.check(done, 0)
            self.assertEqual(pathlib.Path(out).read_text(encoding="ascii"), want)
            done = self.ctl(self.server(good).path, "unused-pages", "-o", "-")
            self.assertEqual((done.returncode, done.stdout), (0, want))
            self.assertIn("request 7", done.stderr)
            for path in ("/dev/full", "/nonexistent/file"):
                done = self.ctl(self.server(good).path, "unused-pages", "-o", path)
                self.assertEqual(done.returncode, IOERR)
                self.assertIn(f"vbb: {path}: ", done.stderr)
            with open("/dev/full", "wb") as full:
                done = subprocess.run([self.vbb, "ctl", "--qmp", self.server(good).path, "unused-pages", "-o", "-"],
                                      stdout=full, stderr=subprocess.PIPE, check=False, timeout=60)
            self.assertEqual(done.returncode, IOERR)

    def interrupted(self, answers, number=signal.SIGINT):
        """A request that is interrupted once it waits."""
        server = self.server(answers)
        process = self.start(server.path, "unused-pages", "--timeout-ms", 60000)
        self.wait_for(lambda: any(r["execute"] == "x-get-unused-pages" for r in server.requests))
        time.sleep(0.1)
        process.send_signal(number)
        return server, process

    def test_signal(self):
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            server, process = self.interrupted({
                "x-get-unused-pages": {"id": 7},
                "x-cancel": lambda s, r: result(r, {}) + event(**{**END, "status": "cancelled"})}, number)
            self.assertEqual(process.wait(60), 128 + number)
            self.assertEqual(server.requests[-1]["arguments"], {"id": 7})
            self.assertIn("cancelled", process.stdout.read())

    def test_signal_too_late(self):
        """It had ended: so it is told, as it ended."""
        error = b'{"error": {"class": "GenericError", "desc": "No such request is open"}, "id": 3}'
        _, process = self.interrupted({"x-get-unused-pages": {"id": 7}, "x-cancel": lambda s, r: event(**END) + error})
        self.assertEqual(process.wait(60), 0)

    def test_signal_unheard(self):
        """A second one ends it whatever the server does; so does time."""
        answers = {"x-get-unused-pages": {"id": 7}, "x-cancel": {}}
        server, process = self.interrupted(answers)
        self.wait_for(lambda: server.requests[-1]["execute"] == "x-cancel")
        time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        self.assertEqual(process.wait(60), -signal.SIGINT)
        _, process = self.interrupted(answers)
        self.assertEqual(process.wait(60), UNAVAILABLE)
        self.assertIn("no end of request 7", process.stderr.read())

    def test_usage(self):
        for args in ((), ("--qmp", "x"), ("--qmp", "x", "nothing"), ("requests",), ("--qmp", "x", "requests", "more"),
                     ("--qmp", "x", "requests", "--first", "1"), ("--qmp", "x", "cancel"), ("--qmp", "x", "cancel", "x"),
                     ("--qmp", "x", "cancel", "1", "2"), ("--qmp", "x", "balloon"), ("--qmp", "x", "balloon", "1X"),
                     ("--qmp", "x", "drop-cache", "--mode", "some"), ("--qmp", "x", "drop-cache", "-o", "x"),
                     ("--qmp", "x", "unused-pages", "--timeout-ms", "0"), ("--qmp", "x", "unused-pages", "--wait"),
                     ("--qmp", "x", "unused-pages", "--first", "0x10000000000000"), ("--qmp", "x", "execute"),
                     ("--nothing",), ("--qmp",)):
            with self.subTest(args):
                done = subprocess.run([self.vbb, "ctl", *args], capture_output=True, text=True, timeout=60, check=False)
                self.assertEqual((done.returncode, done.stdout), (USAGE, ""))
                self.assertIn("vbb ctl --help", done.stderr)
        self.assertTrue(subprocess.run([self.vbb, "ctl", "--help"], capture_output=True, text=True, timeout=60,
                                       check=True).stdout.startswith("Usage: vbb ctl"))
        for args in ("[1]", "x", ""):
            self.check(self.ctl(self.server().path, "execute", "x", args), USAGE, "no JSON object")


class Guests(Ctl, Requests):
    """A real device, and a driver that answers."""

    def asking(self, driver, *args, **more):
        """Starts the tool; returns it and the request that reaches the guest."""
        process = self.start(self.qmp(driver), *args, **more)
        request = driver.request()
        self.assertIsNotNone(request)
        return process, request

    @staticmethod
    def qmp(driver):
        return os.path.join(os.path.dirname(driver.rig.device.socket), "qmp")

    def test_unused_pages(self):
        driver = self.driver()
        first = driver.rig.ram[0].gpa >> 12
        process, request = self.asking(driver, "unused-pages", "-o", self.file, "--first", first, "--pages", "0x400")
        self.assertEqual(request[2:], (first, 0x400, 32))
        length = driver.answer(request, CONT, RECORDS, words(block(first + 64, 4)))
        length += driver.answer(request, CONT, BITMAP, words(3), start_pfn=first)
        length += driver.answer(request, DONE, RECORDS, words(*extent(first + 2, 5)))
        self.assertEqual(process.wait(60), 0)
        said = process.stdout.read()
        self.assertRegex(said, rf"\Arequest {request.id}, get-unused-pages: done\n  23 pages, 92 KiB, in 2 runs\n"
                         rf"  {length} bytes in 3 messages\n  \d+\.\d\d\d ms until .*\n  \d+\.\d\d\d ms in all\n\Z")
        notes, got = self.lines()
        self.assertEqual(got, [(first, 7), (first + 64, 16)])
        merged = self.ram_notes(driver)
        self.assertEqual(notes, merged)
        picture = subprocess.run([self.vbb, "map", "--ascii", self.file], capture_output=True, text=True, check=True, timeout=60)
        self.assertTrue(picture.stdout.startswith("92 KiB of "), picture.stdout)

    @staticmethod
    def ram_notes(driver):
        """The lines that name the memory, in order and merged."""
        blocks = []
        for gpa, length in sorted((region.gpa >> 12, region.len >> 12) for region in driver.rig.front.regions):
            if blocks and blocks[-1][0] + blocks[-1][1] == gpa:
                blocks[-1][1] += length
            else:
                blocks.append([gpa, length])
        return [f"# ram 0x{pfn:x} {count}" for pfn, count in blocks]

    def test_ends(self):
        for flag, status in ((UNSUPPORTED, UNAVAILABLE), (FAILED, UNAVAILABLE), (BUSY, TEMPFAIL)):
            driver = self.driver()
            process, request = self.asking(driver, "unused-pages")
            driver.answer(request, flag)
            self.assertEqual(process.wait(60), status)
        driver = self.driver()
        process, request = self.asking(driver, "unused-pages", "--timeout-ms", 50)
        self.assertEqual(process.wait(60), TEMPFAIL)
        self.assertIn("timeout", process.stdout.read())

    def test_drop_cache(self):
        driver = self.driver()
        process, request = self.asking(driver, "drop-cache", "--mode", "slab", "--limit", 1000)
        self.assertEqual((request.cmd, *request[2:]), (DROP_CACHE, 2, 1000, 32))
        driver.answer(request, DONE, VALUES, words(768))
        self.assertEqual(process.wait(60), 0)
        self.assertIn("  768 pages freed, 3 MiB\n", process.stdout.read())

    def test_json(self):
        driver = self.driver()
        process, request = self.asking(driver, "--json", "unused-pages")
        driver.answer(request, DONE, RECORDS, words(block(5)))
        self.assertEqual(process.wait(60), 0)
        data = json.loads(process.stdout.read())
        self.assertEqual((data["id"], data["status"], data["pages"]), (request.id, "done", 1))
        done = self.ctl(self.qmp(driver), "requests", "--json")
        self.assertEqual(json.loads(done.stdout), [data])
        done = self.ctl(self.qmp(driver), "requests")
        self.assertTrue(done.stdout.startswith(f"request {request.id}, get-unused-pages: done\n  1 pages, 4 KiB, in 1 runs\n"))
        done = self.ctl(self.qmp(driver), "counters", "--json")
        self.assertEqual(json.loads(done.stdout)["host_requests"]["asked"], 1)
        self.assertRegex(self.ctl(self.qmp(driver), "counters").stdout, r"(?m)^host_requests\.asked +1$")
        done = self.ctl(self.qmp(driver), "execute", "x-query-requests", "{}")
        self.assertEqual(json.loads(done.stdout), [data])

    def test_interrupt(self):
        """Ctrl-C stops what goes on in the guest, not only the looking at it."""
        driver = self.driver()
        process, request = self.asking(driver, "unused-pages", "-o", self.file)
        driver.answer(request, CONT, RECORDS, words(*extent(100, 5), block(8)))
        process.send_signal(signal.SIGINT)
        cancel = driver.request()
        self.assertEqual((cancel.cmd, cancel.arg0), (CANCEL, request.id))
        driver.answer(cancel)
        driver.answer(request, 4)
        self.assertEqual(process.wait(60), 128 + signal.SIGINT)
        self.assertIn("cancelled", process.stdout.read())
        self.assertFalse(os.path.exists(self.file), "a part could be taken for all of it")

    def test_cancel(self):
        """From another shell."""
        driver = self.driver()
        process, request = self.asking(driver, "unused-pages")
        self.assertIn(": open\n", self.ctl(self.qmp(driver), "requests").stdout)
        self.check(self.ctl(self.qmp(driver), "cancel", request.id), 0, stdout="")
        cancel = driver.request()
        driver.answer(cancel)
        driver.answer(request, 4)
        self.assertEqual(process.wait(60), TEMPFAIL)
        self.check(self.ctl(self.qmp(driver), "cancel", request.id), UNAVAILABLE, "No such request")

    def test_no_guest(self):
        device = self.device()
        path = os.path.join(os.path.dirname(device.socket), "qmp")
        self.check(self.ctl(path, "unused-pages"), UNAVAILABLE, "DeviceNotActive", stdout="")
        self.check(self.ctl(path, "query-balloon"), UNAVAILABLE, "DeviceNotActive", stdout="")
        self.check(self.ctl(path, "execute", "quit"), 0, stdout="{}\n")
        self.assertEqual(device.wait(5), 0)

    def test_progress(self):
        """On a terminal, and nowhere else."""
        driver = self.driver()
        ours, theirs = pty.openpty()
        try:
            process, request = self.asking(driver, "unused-pages", stderr=theirs)
            driver.answer(request, CONT, RECORDS, words(*extent(100, 5), *extent(200, 6)))
            seen = b""
            while b"5 pages, 64 bytes" not in seen:
                seen += os.read(ours, 1000)
            driver.answer(request)
            self.assertEqual(process.wait(60), 0)
            self.assertNotIn("\r", process.stdout.read())
            while not seen.endswith(b"\r\x1b[K"):
                seen += os.read(ours, 1000)
        finally:
            os.close(ours)
            os.close(theirs)

    def test_balloon(self):
        driver = self.driver("--ram", "1G")
        front = driver.rig.front
        path = self.qmp(driver)
        self.check(self.ctl(path, "query-balloon"), 0, stdout="1073741824 bytes, 1 GiB\n")
        self.check(self.ctl(path, "query-balloon", "--json"), 0, stdout='{"actual":1073741824}\n')
        self.check(self.ctl(path, "balloon", "768M"), 0, stdout="")
        self.assertEqual(front.config()[0], 65536)
        self.check(self.ctl(path, "balloon", "768M", "--wait", "--timeout-ms", 10), TEMPFAIL, "the time is over", stdout="")
        process = self.start(path, "balloon", "512M", "--wait")
        self.wait_for(lambda: front.config()[0] == 131072)
        front.set_actual(131072)
        self.assertEqual(process.wait(60), 0)
        self.assertEqual(process.stdout.read(), "536870912 bytes, 512 MiB\n")


if __name__ == "__main__":
    main(__name__)
