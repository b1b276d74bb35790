# SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause
"""Drives a balloon device of QEMU's without a guest: QEMU's test protocol plays CPU and driver.

The machine is microvm, whose virtio devices are a few registers each; its CPUs never run, so that
every byte in memory and every moment of a conversation is the test's.
"""

import base64
import os
import pathlib
import socket
import struct
import tempfile
import time

from harness import Child, HarnessError, MIB, Qmp
from tap import check, poll

BALLOON = "/machine/peripheral/balloon"
REGISTERS = 0xfeb00000
PAGE_LEN = 4096
PAGES_PER_MIB = MIB // PAGE_LEN
QUEUE_SIZE = 64
DESC_NEXT, DESC_WRITE = 1, 2
DRIVER, DRIVER_OK, FEATURES_OK = 2, 4, 8
VERSION_1, RING_RESET, PAGE_BITMAP, HOST_REQ_VQ, PAGE_RECORDS = 32, 40, 60, 61, 62
INFLATE, DEFLATE = 0, 1
GET_UNUSED_PAGES, DROP_CACHE, CANCEL = range(3)
CONT, DONE, UNSUPPORTED, BUSY, CANCELLED, FAILED = range(6)
BITMAP, RECORDS, VALUES = range(3)
OK, PARTIAL, INHIBITED, MALFORMED = range(4)

# Where rings and buffers lie; tests have the memory below.
ARENA_LEN = 8 * MIB

# The first MiB has nothing of ours; data lies from here on
DATA = 16 * PAGES_PER_MIB


def header(payload, cmd=0, flag=0, form=BITMAP, req_id=0, start_pfn=0, page_shift=12):
    return struct.pack("<HHHHQQQ", cmd, page_shift, flag, form, req_id, start_pfn,
                       len(payload)) + payload


def bitmap(start_pfn, bits, **fields):
    return header(bits, start_pfn=start_pfn, **fields)


def extents(runs, **fields):
    """A message that names runs, each a pfn and a number of pages."""
    words = b"".join(struct.pack("<QQ", 63 << 58 | pfn, nr) for pfn, nr in runs)
    return header(words, form=RECORDS, **fields)


def hostile(machine):
    """A message of 4 million runs of a page each, none of which is of the driver's own rings."""
    bits = bytearray(b"\x55" * (1 << 20))
    arena = (machine.mem_len - ARENA_LEN) // PAGE_LEN // 8
    bits[arena:machine.mem_len // PAGE_LEN // 8] = bytes(ARENA_LEN // PAGE_LEN // 8)
    return bitmap(0, bytes(bits))


NR_HOSTILE = (8 * (1 << 20) - ARENA_LEN // PAGE_LEN) // 2


class Machine(Child):
    """A QEMU whose CPUs do nothing.

    device: the balloon device and its properties, backend: what its memory is, arguments: more for
    QEMU, log: where its messages go.
    """

    PLACE = ("-M", "microvm,pit=off,pic=off,rtc=off,isa-serial=off,memory-backend=ram0",
             "-global", "virtio-mmio.force-legacy=false")
    BUS = "virtio-mmio-bus.0"

    def __init__(self, qemu, device="virtio-balloon-bmap-device", mem_mib=64,
                 backend="memory-backend-memfd,share=on", arguments=(), log=None):
        folder = tempfile.mkdtemp(prefix="vbb-qtest-")
        argv = [qemu, "-nodefaults", "-no-user-config", "-display", "none", *self.PLACE,
                "-accel", "qtest", "-m", f"{mem_mib}M",
                "-object", f"{backend},id=ram0,size={mem_mib}M",
                "-qtest", f"unix:{folder}/qtest,server=on,wait=off", "-qtest-log", "none",
                "-chardev", f"socket,id=qmp,path={folder}/qmp,server=on,wait=off",
                "-mon", "chardev=qmp,mode=control",
                "-device", f"{device},id=balloon,bus={self.BUS}"]
        output = open(log, "ab") if log else None
        super().__init__([*argv, *arguments], folder, stdout=output, stderr=output)
        if output:
            output.close()
        self.mem_len = mem_mib * MIB
        self.folder = folder
        self.queues = {}
        self._arena = self.mem_len - ARENA_LEN
        try:
            self.qmp = Qmp(f"{folder}/qmp")
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self._socket.settimeout(60)
            self._socket.connect(f"{folder}/qtest")
            self._reader = self._socket.makefile("rb")
        except BaseException:
            self.kill()
            raise

    def reports(self):
        return []

    def hurry(self):
        """Lets nothing else of this host have its CPUs; False where that is not allowed."""
        try:
            for thread in os.listdir(f"/proc/{self.pid}/task"):
                os.sched_setscheduler(int(thread), os.SCHED_FIFO, os.sched_param(1))
        except PermissionError:
            return False
        return True

    # The test protocol

    def command(self, *words):
        self._socket.sendall(" ".join(map(str, words)).encode() + b"\n")
        line = self._reader.readline().decode().split()
        if not line or line[0] != "OK":
            raise HarnessError(f"qtest: {words[0]}: {line or 'QEMU is gone'}")
        return line[1] if len(line) > 1 else ""

    def read(self, addr, length):
        """Guest memory."""
        return base64.b64decode(self.command("b64read", addr, length))

    def write(self, addr, data):
        """Guest memory, as a CPU writes it: migration's log of writes sees it."""
        self.command("b64write", addr, len(data), base64.b64encode(data).decode())

    def fill(self, addr, length, value):
        self.command("memset", addr, length, value)

    def discards(self, allowed):
        """Forbids discards, as VFIO does, or allows them again."""
        self.command("discards", "on" if allowed else "off")

    def reg(self, offset):
        return int(self.command("readl", REGISTERS + offset), 16)

    def set_reg(self, offset, value):
        self.command("writel", REGISTERS + offset, value)

    # The driver

    def alloc(self, length):
        """A buffer that is never freed, at a page of its own."""
        addr = self._arena
        self._arena += -(-length // PAGE_LEN) * PAGE_LEN
        if self._arena > self.mem_len:
            raise HarnessError("the arena is full")
        return addr

    def offered(self):
        features = 0
        for word in range(2):
            self.set_reg(0x14, word)
            features |= self.reg(0x10) << 32 * word
        return features

    def start(self, accept=~0, queues=(INFLATE, DEFLATE)):
        """Resets the device and makes it ready; with host requests their queue, too."""
        self._arena = self.mem_len - ARENA_LEN
        self.set_reg(0x70, 0)
        self.set_reg(0x70, DRIVER)
        self.features = self.offered() & accept
        for word in range(2):
            self.set_reg(0x24, word)
            self.set_reg(0x20, self.features >> 32 * word & 0xffffffff)
        self.set_reg(0x70, DRIVER | FEATURES_OK)
        if not self.reg(0x70) & FEATURES_OK:
            raise HarnessError("the device does not take these features")
        self.requests = None
        self.queues = {index: Queue(self, index) for index in queues}
        if self.features >> HOST_REQ_VQ & 1:
            index = 2 + sum(self.offered() >> bit & 1 for bit in (1, 3, 5))
            self.requests = self.queues[index] = Queue(self, index)
        self.set_reg(0x70, DRIVER | FEATURES_OK | DRIVER_OK)

    def adopt(self, source):
        """Goes on with the rings of a machine that has migrated here."""
        self.queues = {index: queue.moved(self) for index, queue in source.queues.items()}
        self.requests = self.queues.get(source.requests.index) if source.requests else None
        self._arena = source._arena

    def inflate(self, message, queue=INFLATE, timeout=60):
        """Sends a message; returns nr_pages, status and discard_shift of the result."""
        result = self.alloc(16)
        self.queues[queue].put([(self.buffer(message), len(message))], [(result, 16)])
        length = self.queues[queue].get(timeout)[1]
        if length != 16:
            raise HarnessError(f"used with length {length}")
        nr_pages, status, shift, reserved = struct.unpack("<QHHI", self.read(result, 16))
        if reserved:
            raise HarnessError("a reserved field is not 0")
        return nr_pages, status, shift

    def buffer(self, data):
        addr = self.alloc(len(data))
        self.write(addr, data)
        return addr

    def property(self, name):
        for path in (BALLOON, BALLOON + "/virtio-backend"):
            try:
                return self.qmp.execute("qom-get", path=path, property=name)
            except HarnessError:
                pass
        raise HarnessError(f"no property {name}")

    def monitor(self, command):
        """A command of the human monitor, and what it prints."""
        return self.qmp.execute("human-monitor-command", **{"command-line": command})

    def memory_file(self):
        """The file that is the guest's memory."""
        for entry in pathlib.Path(f"/proc/{self.pid}/fd").iterdir():
            if os.readlink(entry).startswith("/memfd:memory-backend-memfd"):
                return entry
        raise HarnessError("the memory is no file")

    def host_len(self):
        """Bytes that the guest's memory takes on the host."""
        return os.stat(self.memory_file()).st_blocks * 512

    def populate(self):
        """Lets the host give all memory."""
        self.fill(0, self.mem_len, 0)

    def kill(self):
        for name in ("_reader", "_socket", "qmp"):
            if hasattr(self, name):
                getattr(self, name).close()
        super().kill()


class PciMachine(Machine):
    """A PC whose balloon is on PCI, where queues can be reset one by one, and which has ROM.

    The registers are those of Machine, put where PCI has them.
    """

    BUS = "pci.0,addr=4"
    ROM = 0xffffc000
    BAR, BAR_ADDR = 4, 0xe0000000
    COMMON, NOTIFY, _, DEVICE = range(1, 5)
    # the register of virtio-mmio: where it is among the common ones, and its width
    REGISTERS = {0x10: (4, "l"), 0x14: (0, "l"), 0x20: (12, "l"), 0x24: (8, "l"), 0x30: (22, "w"),
                 0x34: (24, "w"), 0x38: (24, "w"), 0x44: (28, "w"), 0x70: (20, "b"),
                 0x80: (32, "l"), 0x84: (36, "l"), 0x90: (40, "l"), 0x94: (44, "l"),
                 0xa0: (48, "l"), 0xa4: (52, "l"), 0xc0: (58, "w")}

    def __init__(self, qemu, device="virtio-balloon-bmap-pci", machine="pc", **kwargs):
        self.PLACE = ("-M", f"{machine},memory-backend=ram0")
        super().__init__(qemu, device, **kwargs)
        self._find()

    def _find(self):
        """Finds the device's registers, and lets it see memory."""
        self._at = {}
        at = self._config(0x34) & 0xff
        while at:
            head = self._config(at)
            kind = head >> 24
            if head & 0xff == 9 and kind in (self.COMMON, self.NOTIFY, self.DEVICE):
                self._at[kind] = self.BAR_ADDR + self._config(at + 8)
            at = head >> 8 & 0xff
        if len(self._at) != 3:
            raise HarnessError("no modern device on PCI")
        for offset, value in ((0x10 + 4 * self.BAR, self.BAR_ADDR), (0x14 + 4 * self.BAR, 0), (4, 6)):
            self._config(offset, value)

    def _config(self, offset, value=None):
        self.command("outl", 0xcf8, 1 << 31 | 4 << 11 | offset & ~3)
        if value is None:
            return int(self.command("inl", 0xcfc), 16)
        return self.command("outl", 0xcfc, value)

    def reg(self, offset):
        if offset >= 0x100:
            return int(self.command("readl", self._at[self.DEVICE] + offset - 0x100), 16)
        where, width = self.REGISTERS[offset]
        return int(self.command("read" + width, self._at[self.COMMON] + where), 16)

    def set_reg(self, offset, value):
        if offset >= 0x100:
            return self.command("writel", self._at[self.DEVICE] + offset - 0x100, value)
        if offset == 0x50:
            return self.command("writew", self._at[self.NOTIFY] + 4 * value, value)
        where, width = self.REGISTERS[offset]
        return self.command("write" + width, self._at[self.COMMON] + where, value)

    def unplug(self):
        self.qmp.execute("device_del", id="balloon")
        # the guest's ACPI takes slot 4 out
        self.command("outl", 0xae08, 1 << 4)
        if self.qmp.wait_event("DEVICE_DELETED", 10, lambda data: data.get("device") == "balloon") is None:
            raise HarnessError("the device does not go")

    def plug(self, driver):
        bus, slot = self.BUS.split(",addr=")
        self.qmp.execute("device_add", driver=driver, id="balloon", bus=bus, addr=slot)
        self._find()

    def reset_queue(self, index):
        """The driver takes one queue back, and makes it anew."""
        self.set_reg(0x30, index)
        self.set_reg(0xc0, 1)
        deadline = time.monotonic() + 10
        while self.reg(0xc0):
            if time.monotonic() > deadline:
                raise HarnessError(f"queue {index} is not reset")
        old, self.queues[index] = self.queues[index], Queue(self, index)
        if old is self.requests:
            self.requests = self.queues[index]
        return old


class Queue:
    """A split virtqueue of the driver's."""

    def __init__(self, machine, index):
        self.machine, self.index = machine, index
        self.desc, self.avail, self.used = (machine.alloc(n * QUEUE_SIZE + 6) for n in (16, 2, 8))
        self.next_desc = self.next_avail = self.next_used = 0
        machine.set_reg(0x30, index)
        if machine.reg(0x34) < QUEUE_SIZE:
            raise HarnessError(f"no queue {index}")
        machine.set_reg(0x38, QUEUE_SIZE)
        machine.fill(self.used, 6, 0)
        for base, register in ((self.desc, 0x80), (self.avail, 0x90), (self.used, 0xa0)):
            machine.set_reg(register, base & 0xffffffff)
            machine.set_reg(register + 4, base >> 32)
        machine.write(self.avail, bytes(4))
        machine.set_reg(0x44, 1)

    def moved(self, machine):
        queue = Queue.__new__(Queue)
        queue.__dict__.update(self.__dict__, machine=machine)
        return queue

    def put(self, out, in_=(), kick=True):
        """Makes a chain available: buffers to read, then to write. Returns its id."""
        parts = [(*part, 0) for part in out] + [(*part, DESC_WRITE) for part in in_]
        head = self.next_desc
        for number, (addr, length, flags) in enumerate(parts):
            this = (head + number) % QUEUE_SIZE
            last = number == len(parts) - 1
            self.machine.write(self.desc + 16 * this, struct.pack(
                "<QIHH", addr, length, flags | (0 if last else DESC_NEXT),
                0 if last else (this + 1) % QUEUE_SIZE))
        self.next_desc = (head + len(parts)) % QUEUE_SIZE
        self.machine.write(self.avail + 4 + 2 * (self.next_avail % QUEUE_SIZE),
                           struct.pack("<H", head))
        self.next_avail += 1
        self.machine.write(self.avail + 2, struct.pack("<H", self.next_avail & 0xffff))
        if kick:
            self.kick()
        return head

    def kick(self):
        self.machine.set_reg(0x50, self.index)

    def pending(self):
        """How many chains the device has given back that were not taken yet."""
        (index,) = struct.unpack("<H", self.machine.read(self.used + 2, 2))
        return (index - self.next_used) & 0xffff

    def given_back(self, first):
        """The ids of all chains given back from a place in the ring on."""
        count = (self.next_used + self.pending() - first) & 0xffff
        slots = (self.used + 4 + 8 * ((first + i) % QUEUE_SIZE) for i in range(count))
        return [struct.unpack("<I", self.machine.read(slot, 4))[0] for slot in slots]

    def get(self, timeout=10):
        """Takes the next chain that the device gives back: its id and length."""
        deadline = time.monotonic() + timeout
        while not self.pending():
            if time.monotonic() > deadline:
                raise HarnessError(f"queue {self.index}: nothing comes back in {timeout} s")
            time.sleep(0.001)
        slot = self.used + 4 + 8 * (self.next_used % QUEUE_SIZE)
        self.next_used += 1
        return struct.unpack("<II", self.machine.read(slot, 8))


def no_faults(machine):
    faults = machine.property("faults")
    check(not faults, f"faults: {faults}")


class Peer:
    """The driver's side of the request queue of a machine."""

    def __init__(self, machine, nr_parked=4):
        self.machine, self.queue = machine, machine.requests
        self.parked = {}
        for _ in range(nr_parked):
            self.park(machine.alloc(32))

    def park(self, addr):
        self.parked[self.queue.put([], [(addr, 32)])] = addr

    def moved(self, machine):
        peer = Peer.__new__(Peer)
        peer.__dict__.update(self.__dict__, machine=machine, queue=machine.requests)
        return peer

    def next(self, timeout=10):
        """The next request: command, id and arguments; the buffer is parked anew."""
        while True:
            head, length = self.queue.get(timeout)
            if head in self.parked:
                break
        addr = self.parked.pop(head)
        cmd, *reserved, ident, arg0, arg1 = struct.unpack("<4H3Q", self.machine.read(addr, 32))
        check(length in (16, 32) and not any(reserved), "a malformed request")
        self.park(addr)
        return (cmd, ident, arg0, arg1) if length == 32 else (cmd, ident, 0, 0)

    def none(self, seconds=0.2):
        """There is no request."""
        time.sleep(seconds)
        while self.queue.pending():
            head, _ = self.queue.get()
            check(head not in self.parked, "a request")

    def answer(self, message):
        """Answers, and waits until all that the answer says is applied."""
        first = self.queue.next_used + self.queue.pending()
        head = self.queue.put([(self.machine.buffer(message), len(message))])
        poll(lambda: head in self.queue.given_back(first), 30, "the answer is not applied")

    def unused(self, ident, runs, flag=CONT):
        self.answer(extents(runs, cmd=GET_UNUSED_PAGES, req_id=ident, flag=flag))

    def end(self, ident, flag=DONE, cmd=GET_UNUSED_PAGES):
        self.answer(header(b"", cmd=cmd, req_id=ident, flag=flag))
