# SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause
"""What every system test needs: processes that end with the test, Linux guests, and QMP.

How a guest is started, and where its memory lies on the host, is for umlguest.py and qemuguest.py.
"""

import collections
import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import threading
import time

PAGE_LEN = 4096
MIB = 1 << 20


class HarnessError(Exception):
    """Something did not do what was asked of it, in time."""


class CommandError(HarnessError):
    """The guest answered a command with an error."""


def cpu_seconds(pid):
    """CPU time that a process has used with all its threads, to the nanosecond."""
    return time.clock_gettime((~pid << 3) | 2)


class Child:
    """A process with a group of its own and a folder for its sockets.

    Both go when the object ends, or when this process does.
    """

    def __init__(self, argv, folder, **popen):
        self.argv = [str(arg) for arg in argv]
        self._folder = folder
        self.process = subprocess.Popen(self.argv, start_new_session=True, **popen)
        self.pid = self.process.pid
        # End of file on the pipe means that we are gone, whatever ended us.
        self._watchdog = subprocess.Popen(
            ["sh", "-c", 'trap "" INT TERM HUP; read -r _; kill -s KILL -- "-$0"; rm -rf "$1"',
             str(self.pid), folder], stdin=subprocess.PIPE, start_new_session=True,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def alive(self):
        return self.process.poll() is None

    def cpu_seconds(self):
        return cpu_seconds(self.pid)

    def own_len(self):
        """Bytes of memory that only the process has, but for code that it made itself."""
        sizes, counts = 0, False
        with open(f"/proc/{self.pid}/smaps", encoding="ascii", errors="replace") as smaps:
            for line in smaps:
                word, value, *_ = line.split()
                if word == "Anonymous:":
                    sizes += int(value) << 10 if counts else 0
                elif "-" in word:
                    counts = "x" not in value
        return sizes

    def wait(self, timeout):
        """Waits for the end and returns the exit status, negative for a signal."""
        try:
            return self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise HarnessError(f"{self.argv[0]} does not end") from None

    def kill(self):
        """Ends the whole group; harmless if it has ended."""
        if self._watchdog.poll() is None:
            try:
                os.killpg(self.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            self.process.wait()
            self._watchdog.kill()
        self._watchdog.stdin.close()
        self._watchdog.wait()
        shutil.rmtree(self._folder, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.kill()


# How a kernel's line begins when it has found a mistake.
REPORT = re.compile(
    r"BUG|WARNING: |Kernel panic|Oops|general protection|INFO: (task|rcu|trying|lockdep)"
    r"|list_(add|del) corruption|ODEBUG: |pagealloc: |Out of memory: |.* page allocation failure"
    r"|.* (invoked oom-killer|segfault at)|Unbalanced|DEBUG_LOCKS")


# Reports that are the 6.1 kernel's own: at boot with lockdep, and when a vhost-user device dies.
KNOWN_REPORTS = ("lib/maple_tree.c", "arch/um/drivers/virtio_uml.c")


def find_reports(lines):
    """The reports in a kernel's log, one string each, without the known ones."""
    reports = []
    i = 0
    while i < len(lines):
        if REPORT.match(lines[i]):
            # Lockdep says in the fourth line where it was.
            head = "\n".join(lines[i:i + 4])
            if not any(known in head for known in KNOWN_REPORTS):
                reports.append("\n".join(lines[i:i + 40]))
            i += 4
        else:
            i += 1
    return reports


class LinuxGuest(Child):
    """A running guest whose first process is tests/system/guest/vbb-guest.c.

    commands, answers: descriptors to write to and to read from it, closed when the guest ends,
    popen["pass_fds"]: the guest's own ends of them, closed here at once,
    mem_len: bytes of guest memory, log: where the console goes, else nowhere but to self.console.
    """

    def __init__(self, argv, folder, commands, answers, mem_len, log, boot_timeout, **popen):
        self.mem_len = mem_len
        self.console = []
        self._commands = commands
        self._answers = {}
        self._next_id = 1
        self._changed = threading.Condition()
        self._log = open(log, "ab") if log else None
        super().__init__(argv, folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                         stderr=subprocess.STDOUT, **popen)
        for fd in popen["pass_fds"]:
            os.close(fd)
        self._threads = [
            threading.Thread(target=self._read_console, daemon=True),
            threading.Thread(target=self._read_answers, args=(answers,), daemon=True)]
        for thread in self._threads:
            thread.start()
        try:
            self.booted(boot_timeout)
            self.memory_files = self._find_memory()
            if self.memory_files is not None and sum(os.stat(path).st_size for path in self.memory_files) < mem_len:
                raise HarnessError("the guest's memory is not there")
        except BaseException:
            self.kill()
            raise

    def _find_memory(self):
        """The files in /proc that are the guest's memory, None where there is no such file."""
        raise NotImplementedError

    def booted(self, timeout=120):
        """Waits until the guest takes commands; it says so each time that it boots."""
        self.finish(0, timeout)

    def _read_console(self):
        for raw in self.process.stdout:
            line = raw.decode(errors="replace").rstrip("\r\n")
            if self._log:
                self._log.write(raw)
                self._log.flush()
            with self._changed:
                self.console.append(line)
                self._changed.notify_all()

    def _read_answers(self, fd):
        # a guest that dies may leave what it was sent unread
        with os.fdopen(fd, "rb") as pipe, contextlib.suppress(ConnectionResetError):
            for raw in pipe:
                number, status, text = raw.decode().rstrip("\r\n").split(" ", 2)
                with self._changed:
                    self._answers[int(number)] = (status, unescape(text))
                    self._changed.notify_all()
        with self._changed:
            self._answers[-1] = None
            self._changed.notify_all()

    def start(self, command):
        """Sends a command and returns its id for finish()."""
        number = self._next_id
        self._next_id += 1
        try:
            os.write(self._commands, f"{number} {command}\n".encode())
        except BrokenPipeError:
            raise HarnessError(f"the guest is gone\n{self.tail()}") from None
        return number

    def finish(self, number, timeout):
        """Waits for a command's answer and returns its text."""
        with self._changed:
            if not self._changed.wait_for(
                    lambda: number in self._answers or -1 in self._answers, timeout):
                raise HarnessError(f"no answer from the guest in {timeout} s\n{self.tail()}")
            if number not in self._answers:
                raise HarnessError(f"the guest died\n{self.tail()}")
            status, text = self._answers.pop(number)
        if status != "ok":
            raise CommandError(text)
        return text

    def run(self, command, timeout=60):
        return self.finish(self.start(command), timeout)

    def sh(self, command, timeout=60):
        """Runs a shell command; jobs that it leaves behind must not keep its output open."""
        return self.run(f"sh {command}", timeout)

    def cat(self, path):
        return self.run(f"cat {path}")

    def write(self, path, text, timeout=60):
        self.run(f"write {path} {text}", timeout)

    def write_failing(self, path, nth, text, timeout=60):
        """Writes while the kernel's nth allocation fails; returns whether one did, and the errno."""
        answer = self.run(f"write-failing {path} {nth} {text}", timeout)
        values = dict(pair.split("=") for pair in answer.split())
        return values["failed"] == "1", int(values["error"])

    def insmod(self, path, params="", timeout=60):
        """Loads a module of which the guest has the host's file."""
        self.run(f"insmod /host{os.path.realpath(path)} {params}", timeout)

    def rmmod(self, name, timeout=60):
        self.run(f"rmmod {name}", timeout)

    def total_len(self):
        """Bytes of memory that the guest takes for its own."""
        match = re.search(r"MemTotal: *(\d+) kB", self.cat("/proc/meminfo"))
        return int(match[1]) * 1024

    def free_len(self):
        """Bytes that the guest's page allocator has free, those in its per-CPU lists included."""
        text = self.cat("/proc/zoneinfo")
        return PAGE_LEN * sum(map(int, re.findall(r"(?:nr_free_pages|count:) +(\d+)", text)))

    def fill(self, timeout=300):
        """Writes to all free memory and frees it."""
        self.run(f"fill {1 << 40}", timeout)
        self.populate()

    def populate(self):
        """Lets the host give memory for all that the guest has not touched, in no time."""
        for path in self.memory_files:
            fd = os.open(path, os.O_RDWR)
            try:
                os.posix_fallocate(fd, 0, os.fstat(fd).st_size)
            finally:
                os.close(fd)

    def hold(self, mib=300, seed=1, timeout=120):
        """Fills a file in the guest's memory with random data."""
        self.run(f"hold {mib} {seed}", timeout)
        self.held_len = mib * MIB

    def verify(self, timeout=120):
        """Compares every byte of the held data; returns None, or what is wrong."""
        text = self.run("verify", timeout)
        result = dict(pair.split("=") for pair in text.split())
        if int(result["bytes"]) != self.held_len or int(result["bad"]):
            return text
        return None

    def fragment(self, step=16, timeout=300):
        """Pins every step'th page frame of the free memory; returns the number of pinned pages."""
        text = self.run(f"fragment {step}", timeout)
        self.populate()
        return int(dict(pair.split("=") for pair in text.split())["pinned"])

    def scatter(self, step, mib="", timeout=300):
        """Like fragment(), of so much memory, but nobody touches more than what is pinned."""
        text = self.run(f"scatter {step} {mib}".rstrip(), timeout)
        return int(dict(pair.split("=") for pair in text.split())["pinned"])

    def occupy(self, timeout=300):
        """Takes all memory but little, until vacate(); does not touch it."""
        self.run("occupy", timeout)

    def vacate(self):
        self.run("vacate")

    def keep(self, mib):
        """Lets a program hold so much memory and write to it all the time, until unkeep()."""
        self.run(f"keep {mib}")

    def kept(self):
        """The page frames that this program holds, as (pfn, count)."""
        return [(int(pfn, 16), int(count)) for pfn, count in
                (line.split() for line in self.run("kept").splitlines())]

    def unkeep(self):
        self.run("unkeep")

    def churn(self, mib, rate=0, cache="", timeout=300):
        """Lets programs hold about so much memory of all kinds, write, check, free and use it again.

        rate: the MiB that they write in a second, as many as they can where it is 0, cache: a block
        device whose page cache is one of the kinds. Returns when so much is held.
        """
        self.run(f"churn {mib} {rate} {cache}".rstrip(), timeout)

    def churned(self):
        """What these programs did so far: pages written, checked and bad; and what was first."""
        return churn_counters(self.run("churned"))

    def settle(self, timeout=300):
        """Ends these programs, each of which looks at all that it holds; returns the same."""
        return churn_counters(self.run("settle", timeout))

    def use(self, mib, timeout=120):
        """Lets a process write to so much memory and end; returns whether the kernel ended it."""
        return self.run(f"use {mib}", timeout) == "killed=1"

    def unpin(self):
        self.run("unpin")

    def host_len(self):
        """Bytes of the host's memory that the guest's memory takes."""
        return sum(os.stat(path).st_blocks * 512 for path in self.memory_files)

    def reports(self):
        with self._changed:
            return find_reports(list(self.console))

    def wait_line(self, text, first, timeout):
        """Waits until the console has a line with the text, from its line number first on."""
        with self._changed:
            if not self._changed.wait_for(
                    lambda: any(text in line for line in self.console[first:]), timeout):
                raise HarnessError(f"no '{text}' in {timeout} s\n{self.tail()}")

    def tail(self, nr_lines=25):
        return "\n".join("    | " + line for line in self.console[-nr_lines:])

    def poweroff(self, timeout=60):
        """Shuts the guest down; its process must end with status 0."""
        self.run("poweroff")
        status = self.wait(timeout)
        self.kill()
        if status:
            raise HarnessError(f"the guest ended with status {status}\n{self.tail()}")

    def kill(self):
        super().kill()
        for thread in self._threads:
            thread.join(10)
        if self._commands >= 0:
            os.close(self._commands)
            self._commands = -1
        if self._log:
            self._log.close()
            self._log = None


def churn_counters(text):
    numbers, _, first = text.partition("; ")
    return {**{name: int(value) for name, value in (pair.split("=") for pair in numbers.split())},
            "first": first}


def unescape(text):
    """Undoes what the guest does to a text to keep it on one line."""
    return re.sub(r"\\(\\|n|x[0-9a-f]{2})", lambda m: {"\\": "\\", "n": "\n"}.get(m[1])
                  or chr(int(m[1][1:], 16)), text)


class QmpError(HarnessError):
    """The device answered a command with an error."""


class Qmp:
    """A client of the QEMU Machine Protocol on a Unix socket."""

    def __init__(self, path, timeout=10):
        deadline = time.monotonic() + timeout
        while True:
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                self._socket.connect(str(path))
                break
            except (FileNotFoundError, ConnectionRefusedError):
                self._socket.close()
                if time.monotonic() > deadline:
                    raise HarnessError(f"nobody listens on {path}") from None
                time.sleep(0.01)
        self._buffer = b""
        self.events = collections.deque()
        self.greeting = self._read(deadline)
        if "QMP" not in self.greeting:
            raise HarnessError(f"not a QMP greeting: {self.greeting}")
        self.execute("qmp_capabilities")

    def _read(self, deadline):
        while b"\n" not in self._buffer:
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError
            self._socket.settimeout(left)
            data = self._socket.recv(1 << 16)
            if not data:
                raise HarnessError("the device closed its QMP socket")
            self._buffer += data
        line, self._buffer = self._buffer.split(b"\n", 1)
        return json.loads(line)

    def execute(self, command, timeout=30, **arguments):
        """Runs a command and returns what it returns; events that arrive meanwhile are kept."""
        request = {"execute": command}
        if arguments:
            request["arguments"] = arguments
        self._socket.sendall(json.dumps(request).encode() + b"\n")
        deadline = time.monotonic() + timeout
        while True:
            try:
                message = self._read(deadline)
            except TimeoutError:
                raise HarnessError(f"no answer to '{command}' in {timeout} s") from None
            if "event" in message:
                self.events.append(message)
            elif "error" in message:
                raise QmpError(f"{command}: {message['error'].get('desc')}")
            else:
                return message["return"]

    def wait_event(self, name, timeout, accept=lambda data: True):
        """Returns the data of the next event of that name that accept() accepts, else None."""
        deadline = time.monotonic() + timeout
        while True:
            while self.events:
                message = self.events.popleft()
                if message["event"] == name and accept(message.get("data", {})):
                    return message.get("data", {})
            try:
                self.events.append(self._read(deadline))
            except TimeoutError:
                return None

    def close(self):
        self._socket.close()
