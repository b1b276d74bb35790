# SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause
"""A front-end of vhost-user and a virtio driver in one, to test devices with: honest by default.

FrontEnd speaks the protocol, Ring is the driver's side of a split virtqueue, Memory is what both share
with the device. Written from the protocol's and virtio's documents alone, so that nothing of the device
checks itself here.
"""

import mmap
import os
import select
import socket
import struct
import time

# Requests
GET_FEATURES, SET_FEATURES, SET_OWNER, RESET_OWNER, SET_MEM_TABLE = 1, 2, 3, 4, 5
SET_VRING_NUM, SET_VRING_ADDR, SET_VRING_BASE, GET_VRING_BASE = 8, 9, 10, 11
SET_VRING_KICK, SET_VRING_CALL, SET_VRING_ERR = 12, 13, 14
GET_PROTOCOL_FEATURES, SET_PROTOCOL_FEATURES, GET_QUEUE_NUM, SET_VRING_ENABLE = 15, 16, 17, 18
SET_BACKEND_REQ_FD, GET_CONFIG, SET_CONFIG, RESET_DEVICE = 21, 24, 25, 34
GET_MAX_MEM_SLOTS, ADD_MEM_REG, REM_MEM_REG, SET_STATUS, GET_STATUS = 36, 37, 38, 39, 40

# Header flags
VERSION, REPLY, NEED_REPLY = 1, 4, 8

# Protocol features
MQ, REPLY_ACK, BACKEND_REQ, CONFIG, INBAND, RESET, MEM_SLOTS, STATUS = 0, 3, 5, 9, 14, 13, 15, 16

# Features
INDIRECT_DESC, EVENT_IDX, PROTOCOL_FEATURES, VERSION_1 = 28, 29, 30, 32
PAGE_BITMAP, HOST_REQ, PAGE_RECORDS = 60, 61, 62

NEXT, WRITE, INDIRECT = 1, 2, 4  # descriptor flags

PAGE_LEN = 4096


def bits(*numbers):
    return sum(1 << n for n in numbers)


class Refused(Exception):
    """The device answered a request with an error."""


class Memory:
    """Memory that can be shared: a memfd, of huge pages of 2 MiB where asked for."""

    def __init__(self, length, huge=False):
        flags = os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING | ((os.MFD_HUGETLB | os.MFD_HUGE_2MB) if huge else 0)
        self.fd = os.memfd_create("guest", flags)
        self.len = length
        os.ftruncate(self.fd, length)
        self.map = mmap.mmap(self.fd, length)

    def host_len(self):
        """Bytes that it takes on the host."""
        return os.fstat(self.fd).st_blocks * 512

    def close(self):
        self.map.close()
        os.close(self.fd)


class Region:
    """A piece of a Memory at a guest physical address."""

    def __init__(self, gpa, memory, fd_off=0, length=None, uaddr=None):
        self.gpa, self.memory, self.fd_off = gpa, memory, fd_off
        self.len = memory.len - fd_off if length is None else length
        self.uaddr = gpa + 0x7f0000000000 if uaddr is None else uaddr

    def pack(self):
        return struct.pack("=4Q", self.gpa, self.len, self.uaddr, self.fd_off)


class Ring:
    """The driver's side of a split virtqueue of a front-end, which lies at a guest physical address."""

    def __init__(self, front, index, gpa, num=256):
        self.front, self.index, self.num = front, index, num
        self.desc = gpa
        self.avail = self.desc + 16 * num
        self.used = (self.avail + 6 + 2 * num + 3) & ~3
        self.end = self.used + 6 + 8 * num
        self.kick_fd = os.eventfd(0, os.EFD_NONBLOCK)
        self.call_fd = os.eventfd(0, os.EFD_NONBLOCK)
        self.err_fd = os.eventfd(0, os.EFD_NONBLOCK)
        self.clear()

    def clear(self):
        self.front.write(self.desc, bytes(self.end - self.desc))
        self.avail_idx = self.last_used = 0
        self.free = 0

    def set_up(self, base=0, enable=True):
        """Tells the device of the queue, as Linux in user mode does it."""
        front = self.front
        front.request(SET_VRING_NUM, struct.pack("=II", self.index, self.num))
        front.request(SET_VRING_BASE, struct.pack("=II", self.index, base))
        front.request(SET_VRING_ADDR, struct.pack("=II4Q", self.index, 0, *(
            front.uaddr(gpa) for gpa in (self.desc, self.used, self.avail)), 0))
        front.request(SET_VRING_CALL, struct.pack("=Q", self.index), [self.call_fd])
        front.request(SET_VRING_ERR, struct.pack("=Q", self.index), [self.err_fd])
        front.request(SET_VRING_KICK, struct.pack("=Q", self.index), [self.kick_fd])
        if enable:
            self.enable(True)

    def enable(self, on):
        self.front.request(SET_VRING_ENABLE, struct.pack("=II", self.index, on))

    def put_desc(self, slot, gpa, length, flags, link):
        self.front.write(self.desc + 16 * slot, struct.pack("<QIHH", gpa, length, flags, link))

    def add(self, out, into=(), indirect=None):
        """Makes a chain available: pieces (gpa, len) to read, then to write. Returns its head.

        indirect: where to put a table of descriptors.
        """
        pieces = [(gpa, length, 0) for gpa, length in out] + [(gpa, length, WRITE) for gpa, length in into]
        first = 0 if indirect is not None else self.free
        table = b"".join(struct.pack(
            "<QIHH", gpa, length, flags | (NEXT if i + 1 < len(pieces) else 0),
            first + i + 1 if i + 1 < len(pieces) else 0) for i, (gpa, length, flags) in enumerate(pieces))
        head = self.free
        if indirect is not None:
            self.front.write(indirect, table)
            self.put_desc(head, indirect, len(table), INDIRECT, 0)
            self.free += 1
        else:
            self.front.write(self.desc + 16 * first, table)
            self.free += len(pieces)
        self.offer(head)
        return head

    def offer(self, head):
        self.front.write(self.avail + 4 + 2 * (self.avail_idx % self.num), struct.pack("<H", head))
        self.avail_idx = (self.avail_idx + 1) & 0xffff
        self.front.write(self.avail + 2, struct.pack("<H", self.avail_idx))

    def kick(self):
        os.eventfd_write(self.kick_fd, 1)

    def wait(self, timeout=60):
        """The next used chain: (head, bytes written); None after a time without one."""
        deadline = time.monotonic() + timeout
        while struct.unpack("<H", self.front.read(self.used + 2, 2))[0] == self.last_used:
            left = deadline - time.monotonic()
            if left <= 0:
                return None
            if select.select([self.call_fd], [], [], min(left, 0.05))[0]:
                os.eventfd_read(self.call_fd)
        entry = self.front.read(self.used + 4 + 8 * (self.last_used % self.num), 8)
        self.last_used = (self.last_used + 1) & 0xffff
        # descriptors are handed out anew once everything has come back
        if self.last_used == self.avail_idx:
            self.free = 0
        return struct.unpack("<II", entry)

    def close(self):
        for fd in (self.kick_fd, self.call_fd, self.err_fd):
            os.close(fd)


class FrontEnd:
    """A connection to a device. Each request asks for an acknowledgement where that was negotiated."""

    def __init__(self, path, timeout=60):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.connect(path)
        self.sock.settimeout(timeout)
        self.protocol = 0
        self.regions = []
        self.rings = []
        self.backend = None

    # The protocol

    def send(self, request, payload=b"", fds=(), flags=VERSION):
        message = struct.pack("=3I", request, flags, len(payload)) + payload
        if fds:
            socket.send_fds(self.sock, [message], fds)
        else:
            self.sock.sendall(message)

    def receive(self, length):
        data = b""
        while len(data) < length:
            piece = self.sock.recv(length - len(data))
            if not piece:
                raise ConnectionResetError("the device closed the connection")
            data += piece
        return data

    def reply(self, request):
        got, flags, length = struct.unpack("=3I", self.receive(12))
        payload = self.receive(length)
        assert (got, flags) == (request, VERSION | REPLY), (got, flags)
        return payload

    def ended(self):
        """Waits for the device to end the connection."""
        try:
            return not self.sock.recv(1)
        except ConnectionResetError:
            return True

    def request(self, request, payload=b"", fds=()):
        """A request without an answer of its own."""
        acked = self.protocol & bits(REPLY_ACK)
        self.send(request, payload, fds, VERSION | (NEED_REPLY if acked else 0))
        if acked and struct.unpack("=Q", self.reply(request))[0]:
            raise Refused(request)

    def ask(self, request, payload=b""):
        """A request with an answer of its own."""
        self.send(request, payload)
        return self.reply(request)

    def ask_u64(self, request):
        return struct.unpack("=Q", self.ask(request))[0]

    def negotiate(self, features, protocol=bits(REPLY_ACK, BACKEND_REQ, CONFIG, RESET, MEM_SLOTS, STATUS)):
        """Returns what the device offered."""
        self.request(SET_OWNER)
        offered = self.ask_u64(GET_FEATURES)
        protocol &= self.ask_u64(GET_PROTOCOL_FEATURES)
        self.request(SET_PROTOCOL_FEATURES, struct.pack("=Q", protocol))
        self.protocol = protocol
        if protocol & bits(BACKEND_REQ):
            self.backend, theirs = socket.socketpair()
            self.backend.setblocking(False)
            with theirs:
                self.request(SET_BACKEND_REQ_FD, b"", [theirs.fileno()])
        self.request(SET_FEATURES, struct.pack("=Q", features))
        return offered

    def share(self, regions):
        self.regions = list(regions)
        self.request(SET_MEM_TABLE, struct.pack("=II", len(regions), 0) + b"".join(
            region.pack() for region in regions), [region.memory.fd for region in regions])

    def config(self, off=0, length=8):
        """The configuration space: (num_pages, actual) by default."""
        data = self.ask(GET_CONFIG, struct.pack("=3I", off, length, 0) + bytes(length))
        assert len(data) == 12 + length, len(data)
        return struct.unpack(f"<{length // 4}I", data[12:])

    def set_actual(self, nr_pages):
        self.request(SET_CONFIG, struct.pack("=3I", 4, 4, 0) + struct.pack("<I", nr_pages))

    def config_changes(self, timeout=60):
        """How often the device has told of a change, at least once within the time."""
        if not select.select([self.backend], [], [], timeout)[0]:
            return 0
        data = self.backend.recv(1 << 16)
        assert len(data) % 12 == 0 and data == struct.pack("=3I", 2, VERSION, 0) * (len(data) // 12), data
        return len(data) // 12

    # Guest memory

    def _find(self, gpa):
        for region in self.regions:
            if region.gpa <= gpa < region.gpa + region.len:
                return region, gpa - region.gpa
        raise KeyError(hex(gpa))

    def uaddr(self, gpa):
        region, off = self._find(gpa)
        return region.uaddr + off

    def write(self, gpa, data):
        region, off = self._find(gpa)
        region.memory.map[region.fd_off + off:region.fd_off + off + len(data)] = data

    def read(self, gpa, length):
        region, off = self._find(gpa)
        return region.memory.map[region.fd_off + off:region.fd_off + off + length]

    def ring(self, index, gpa, num=256):
        ring = Ring(self, index, gpa, num)
        self.rings.append(ring)
        return ring

    def close(self):
        self.sock.close()
        if self.backend:
            self.backend.close()
        for ring in self.rings:
            ring.close()
        self.rings = []
