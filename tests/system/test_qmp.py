#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause
"""`vbb device` and its clients: QMP as its specification has it, and clients that do not keep to it.

usage: test_qmp.py VBB [unittest's arguments]
"""

import json
import os
import pathlib
import socket
import subprocess
import time

from devicerig import Case, main


class RawQmp:
    """A client that can misbehave."""

    def __init__(self, device, greet=True):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(10)
        self.sock.connect(os.path.join(os.path.dirname(device.socket), "qmp"))
        self.file = self.sock.makefile("rb")
        if greet:
            self.greeting = self.read()

    def read(self):
        line = self.file.readline()
        return json.loads(line) if line else None

    def ask(self, request):
        self.sock.sendall(request if isinstance(request, bytes) else json.dumps(request).encode())
        return self.read()

    def close(self):
        self.file.close()
        self.sock.close()


class QmpServer(Case):
    """QMP as its specification has it, and clients that do not keep to it."""

    def client(self, device, ready=True):
        client = RawQmp(device)
        self.addCleanup(client.close)
        if ready:
            self.assertEqual(client.ask({"execute": "qmp_capabilities"}), {"return": {}})
        return client

    def refused(self, client, request, kind, desc=None):
        answer = client.ask(request)
        self.assertEqual(answer["error"]["class"], kind, answer)
        if desc:
            self.assertIn(desc, answer["error"]["desc"])
        return answer

    def test_negotiation(self):
        client = self.client(self.device(), ready=False)
        version = client.greeting["QMP"]["version"]
        self.assertEqual(sorted(version["qemu"]), ["major", "micro", "minor"])
        self.assertEqual(client.greeting["QMP"]["capabilities"], [])
        self.refused(client, {"execute": "query-balloon"}, "CommandNotFound", "qmp_capabilities")
        self.refused(client, {"execute": "qmp_capabilities", "arguments": {"enable": ["oob"]}}, "GenericError")
        self.assertEqual(client.ask({"execute": "qmp_capabilities", "arguments": {"enable": []}, "id": 1}),
                         {"return": {}, "id": 1})
        self.refused(client, {"execute": "qmp_capabilities"}, "CommandNotFound", "already complete")

    def test_commands(self):
        device = self.device("--ram", "1G")
        client = self.client(device)
        names = [entry["name"] for entry in client.ask({"execute": "query-commands"})["return"]]
        self.assertEqual(sorted(names), ["balloon", "closefd", "getfd", "qmp_capabilities", "qom-get", "qom-set",
                                         "query-balloon", "query-commands", "quit", "x-cancel", "x-drop-cache",
                                         "x-free-page-hint", "x-get-unused-pages", "x-query-balloon-counters",
                                         "x-query-requests"])
        self.assertEqual(client.ask({"execute": "query-balloon", "id": {"a": [1, None, "x"]}}),
                         {"return": {"actual": 1 << 30}, "id": {"a": [1, None, "x"]}})
        self.refused(client, {"execute": "balloon"}, "GenericError", "'value' is missing")
        self.refused(client, {"execute": "balloon", "arguments": {"value": "1"}}, "GenericError", "'value'")
        self.refused(client, {"execute": "balloon", "arguments": {"value": 1.5}}, "GenericError", "'value'")
        self.refused(client, {"execute": "balloon", "arguments": {"value": 0}}, "GenericError")
        self.refused(client, {"execute": "balloon", "arguments": {"value": -1}}, "GenericError")
        self.refused(client, {"execute": "balloon", "arguments": {"value": 1, "x": 2}}, "GenericError", "'x'")
        self.refused(client, {"execute": "query-balloon", "arguments": {"x": 2}}, "GenericError", "'x'")
        answer = self.refused(client, {"execute": "none", "id": 5}, "CommandNotFound", "none")
        self.assertEqual(answer["id"], 5)
        for value in (1, 1 << 62, (1 << 63) - 1, 1 << 63, (1 << 64) - 1):
            self.assertEqual(client.ask({"execute": "balloon", "arguments": {"value": value}}), {"return": {}})

    def test_not_active(self):
        self.refused(self.client(self.device()), {"execute": "query-balloon"}, "DeviceNotActive")

    def test_nonsense(self):
        device = self.device()
        client = self.client(device)
        cases = (b"}\n", b"[1]\n", b"1 \n", b"null\n", b'"x"\n', b"hello\n", b"{]\n", b"\0\n",
                 b'{"execute": "query-\0commands"}\n', b"\xff\xfe\n", b'{"execute": "\xff"}\n', b'{"execute" "x"}\n',
                 b"{'execute': 'query-commands'}\n", b'{"execute": 5}\n', b'{"id": 5}\n', b'{"execute": "x", "arguments": []}\n',
                 b'{"execute": "x", "more": []}\n', b"[" * 100 + b"\n", b'{"exec-oob": "query-balloon"}\n')
        for data in cases:
            with self.subTest(data):
                self.refused(client, data, "GenericError")
        self.assertIn("return", client.ask({"execute": "query-commands"}))
        # a name of many bytes that are cut in the middle of a character
        self.refused(client, {"execute": "x" + "é" * 2000}, "CommandNotFound")

    def test_many_in_one_and_one_in_many(self):
        client = self.client(self.device("--ram", "1G"))
        request = b'{"execute": "query-balloon", "id": %d}'
        client.sock.sendall(b"".join(request % i for i in range(50)))
        for i in range(50):
            self.assertEqual(client.read()["id"], i)
        for byte in b"\r\n\t " + request % 7:
            client.sock.sendall(bytes([byte]))
        self.assertEqual(client.read()["id"], 7)

    def test_bounded_input(self):
        client = self.client(self.device())
        self.refused(client, b'{"execute": "' + b"x" * 40000 + b'"}\n', "GenericError", "limit")
        self.assertIn("return", client.ask({"execute": "query-commands"}))

    def test_bounded_output(self):
        """A client that does not read is cut off; others do not notice."""
        device = self.device("--ram", "1G")
        client = self.client(device)
        request = b'{"execute": "x-query-balloon-counters"}' * 20
        client.sock.setblocking(False)
        deadline = time.monotonic() + 20
        gone = False
        while not gone:
            self.assertLess(time.monotonic(), deadline)
            try:
                client.sock.send(request)
            except BlockingIOError:
                time.sleep(0.001)
            except (BrokenPipeError, ConnectionResetError):
                gone = True
        self.assertEqual(device.actual_len(), 1 << 30)

    def test_many_clients(self):
        device = self.device("--ram", "1G")
        clients = [self.client(device) for _ in range(7)]
        extra = RawQmp(device, greet=False)
        self.addCleanup(extra.close)
        self.assertIsNone(extra.read())
        rig = self.rig(device)
        deaf = clients.pop()
        deaf.close()
        # one that has not negotiated hears no events
        mute = self.client(device, ready=False)
        device.qmp.execute("balloon", value=(1 << 30) - 4096)
        rig.front.set_actual(1)
        for client in clients:
            event = client.read()
            self.assertEqual((event["event"], event["data"]), ("BALLOON_CHANGE", {"actual": (1 << 30) - 4096}))
            self.assertEqual(sorted(event["timestamp"]), ["microseconds", "seconds"])
        self.assertEqual(mute.ask({"execute": "qmp_capabilities"}), {"return": {}})

    def test_quit(self):
        device = self.device()
        client = self.client(device)
        self.assertEqual(client.ask({"execute": "quit"}), {"return": {}})
        self.assertEqual(device.wait(5), 0)
        self.assertEqual(os.listdir(os.path.dirname(device.socket)), ["log"])

    def test_stale_socket(self):
        """What a killed device left is taken over; what is in use is not."""
        device = self.device()
        os.kill(device.pid, 9)
        device.wait(5)
        self.assertTrue(os.path.exists(device.socket))
        folder = os.path.dirname(device.socket)
        arguments = [self.vbb, "device", "--socket", device.socket, "--qmp", os.path.join(folder, "qmp")]
        with subprocess.Popen(arguments) as again:
            try:
                self.wait_for(lambda: self.connects(device.socket))
                other = subprocess.run(arguments, capture_output=True, text=True, timeout=60, check=False)
                self.assertEqual(other.returncode, 71)
                self.assertIn(device.socket, other.stderr)
            finally:
                again.terminate()
            self.assertEqual(again.wait(5), 0)
        self.assertFalse(os.path.exists(device.socket))
        # nor is what was never a socket
        other = pathlib.Path(folder, "qmp")
        other.write_text("precious", encoding="utf-8")
        done = subprocess.run(arguments, capture_output=True, timeout=60, check=False)
        self.assertEqual(done.returncode, 71)
        self.assertEqual(other.read_text(encoding="utf-8"), "precious")
        self.assertFalse(os.path.exists(device.socket))

    @staticmethod
    def connects(path):
        with socket.socket(socket.AF_UNIX) as sock:
            return sock.connect_ex(path) == 0

    def test_usage(self):
        for arguments in ((), ("--socket", "x"), ("--qmp", "x"), ("--socket", "x", "--qmp", "y", "z"),
                          ("--socket", "x", "--qmp", "y", "--ram", "1X"), ("--socket", "x", "--qmp", "y", "--ram", "0"),
                          ("--socket", "x", "--qmp", "y", "--ram", "99999999T"), ("--what",)):
            done = subprocess.run([self.vbb, "device", *arguments], capture_output=True, timeout=60, check=False)
            self.assertEqual(done.returncode, 64, arguments)
        done = subprocess.run([self.vbb, "device", "--socket", "x" * 200, "--qmp", "y"], capture_output=True, timeout=60,
                              check=False)
        self.assertEqual(done.returncode, 71)
        done = subprocess.run([self.vbb, "device", "--help"], capture_output=True, text=True, timeout=60, check=False)
        self.assertEqual(done.returncode, 0)
        self.assertIn("--page-by-page", done.stdout)


if __name__ == "__main__":
    main(__name__)
