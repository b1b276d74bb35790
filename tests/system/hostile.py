# SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause
"""A balloon device that a test holds by the hand: it answers when and how the test says.

It speaks vhost-user to one front-end and does nothing with the pages; what it gets from the driver
waits in `chains` until the test, or `policy`, uses it, rightly or wrongly.
"""

import array
import collections
import mmap
import os
import selectors
import shutil
import socket
import struct
import tempfile
import threading

F_MUST_TELL_HOST, F_STATS_VQ, F_DEFLATE_ON_OOM = 0, 1, 2
F_FREE_PAGE_HINT, F_PAGE_POISON, F_REPORTING = 3, 4, 5
F_VERSION_1, F_PROTOCOL = 32, 30
F_PAGE_BITMAP, F_HOST_REQ_VQ, F_PAGE_RECORDS = 60, 61, 62

# vhost-user requests, and the protocol features of this device: REPLY_ACK, BACKEND_REQ, CONFIG
GET_FEATURES, SET_FEATURES, SET_MEM_TABLE = 1, 2, 5
SET_VRING_NUM, SET_VRING_ADDR, SET_VRING_BASE, GET_VRING_BASE = 8, 9, 10, 11
SET_VRING_KICK, SET_VRING_CALL, SET_VRING_ENABLE = 12, 13, 18
GET_PROTOCOL_FEATURES, SET_BACKEND_REQ_FD, GET_CONFIG, SET_CONFIG = 15, 21, 24, 25
PROTOCOL_FEATURES = 1 << 3 | 1 << 5 | 1 << 9
BACKEND_CONFIG_CHANGE = 2
VERSION, REPLY, NEED_REPLY = 1, 1 << 2, 1 << 3
NO_FD = 1 << 8

DESC_NEXT, DESC_WRITE = 1, 2

OK, PARTIAL, INHIBITED, MALFORMED = range(4)

Chain = collections.namedtuple("Chain", "queue head out room")


def result(nr_pages=0, status=PARTIAL, discard_shift=12, reserved=0):
    """A result as section 4.1 of docs/spec.md has it; PARTIAL with no page acted on is always true here."""
    return struct.pack("<QHHI", nr_pages, status, discard_shift, reserved)


class Queue:
    """What the front-end has said of one virtqueue."""

    def __init__(self):
        self.size = self.next_avail = self.next_used = 0
        self.rings = self.kick = self.call = None


class HostileDevice:
    """Listens on `socket`; the methods may be called while it runs.

    features: the feature bits that are offered, policy: called with each chain that arrives.
    """

    def __init__(self, features, policy=None):
        self.features = sum(1 << bit for bit in (*features, F_PROTOCOL))
        self.policy = policy or (lambda chain: None)
        self.accepted = None
        self.actual = self.hint_id = self.poison_val = 0
        self.chains = []
        self.changed = threading.Condition(threading.RLock())
        self._num_pages = 0
        self._regions = []
        self._queues = collections.defaultdict(Queue)
        self._backend = self._connection = None
        self._folder = tempfile.mkdtemp(prefix="vbb-hostile-")
        self.socket = os.path.join(self._folder, "vhost")
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(self.socket)
        self._listener.listen(1)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ, self._accept)
        self._wake, self._stop = os.pipe()
        self._selector.register(self._wake, selectors.EVENT_READ, None)
        self._thread = threading.Thread(target=self._loop, daemon=True)
        self._thread.start()

    def close(self):
        if self._stop is None:
            return
        os.close(self._stop)
        self._stop = None
        self._thread.join()
        self._disconnect()
        self._listener.close()
        os.close(self._wake)
        self._selector.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    # What a test does

    def set_target(self, num_pages):
        """Asks for so many pages, whatever that means to the guest."""
        with self.changed:
            self._num_pages = num_pages
            self._config_changed()

    def set_hint(self, hint_id):
        """Asks for free page hints, says STOP or DONE."""
        with self.changed:
            self.hint_id = hint_id
            self._config_changed()

    def _config_changed(self):
        if self._backend is not None:
            os.write(self._backend, struct.pack("<III", BACKEND_CONFIG_CHANGE, VERSION, 0))

    def queue_of(self, feature):
        """The number of a feature's queue: those not offered take none."""
        bring = (F_STATS_VQ, F_FREE_PAGE_HINT, F_REPORTING, F_HOST_REQ_VQ)
        offered = [bit for bit in bring if self.features >> bit & 1]
        return 2 + offered.index(feature)

    def write_gpa(self, gpa, data):
        """What a device does that has other content for a page."""
        with self.changed:
            memory, offset = self._at_gpa(gpa)
            memory[offset:offset + len(data)] = data

    def interrupt(self, index):
        """Interrupts the driver, for nothing."""
        with self.changed:
            self.set_used(index, self._queues[index].next_used)

    def wait(self, condition, timeout):
        """Waits for something that a message or a chain brings; returns whether it came."""
        with self.changed:
            return self.changed.wait_for(condition, timeout)

    def use(self, chain, answer=b"", length=None, head=None):
        """Uses a chain: with these bytes in its writable part, this length and this head."""
        with self.changed:
            if chain in self.chains:
                self.chains.remove(chain)
            queue = self._queues[chain.queue]
            for gpa, room in chain.room:
                memory, offset = self._at_gpa(gpa)
                part, answer = answer[:room], answer[room:]
                memory[offset:offset + len(part)] = part
            length = min(16, sum(room for _, room in chain.room)) if length is None else length
            memory, offset = self._at_uva(queue.rings[1])
            slot = offset + 4 + queue.next_used % queue.size * 8
            struct.pack_into("<II", memory, slot, chain.head if head is None else head, length)
            self.set_used(chain.queue, queue.next_used + 1)

    def set_used(self, index, used):
        """Claims that so many chains were used, and interrupts the driver."""
        queue = self._queues[index]
        queue.next_used = used & 0xffff
        memory, offset = self._at_uva(queue.rings[1])
        struct.pack_into("<H", memory, offset + 2, queue.next_used)
        if queue.call is not None:
            os.write(queue.call, struct.pack("<Q", 1))

    def answer(self, chain):
        """What an honest device that has no RAM of this guest would say, and asks for nothing."""
        if chain.queue < 2:
            self.use(chain, result() if chain.room else b"")

    # vhost-user

    def _loop(self):
        while True:
            for key, _ in self._selector.select():
                if key.data is None:
                    return
                with self.changed:
                    # An earlier event of this round may have closed it.
                    if key.fileobj in self._selector.get_map():
                        key.data()
                    self.changed.notify_all()

    def _accept(self):
        connection, _ = self._listener.accept()
        self._disconnect()
        self._connection = connection
        self._selector.register(connection, selectors.EVENT_READ, self._message)

    def _disconnect(self):
        for queue in self._queues.values():
            self._set_kick(queue, None)
            self._set_fd(queue, "call", None)
        self._queues.clear()
        self.chains.clear()
        self._set_fd(self, "_backend", None)
        for *_, memory in self._regions:
            memory.close()
        self._regions = []
        if self._connection:
            self._selector.unregister(self._connection)
            self._connection.close()
            self._connection = None

    @staticmethod
    def _set_fd(owner, name, fd):
        if getattr(owner, name) is not None:
            os.close(getattr(owner, name))
        setattr(owner, name, fd)

    def _set_kick(self, queue, fd, index=None):
        if queue.kick is not None:
            self._selector.unregister(queue.kick)
        self._set_fd(queue, "kick", fd)
        if fd is not None:
            self._selector.register(fd, selectors.EVENT_READ, lambda: self._kicked(index))

    def _receive(self):
        header, ancillary, _, _ = self._connection.recvmsg(12, socket.CMSG_SPACE(8 * 4))
        if len(header) < 12:
            raise ConnectionError
        fds = array.array("i")
        for _, _, data in ancillary:
            fds.frombytes(data)
        request, flags, size = struct.unpack("<III", header)
        return request, flags, self._connection.recv(size) if size else b"", list(fds)

    def _message(self):
        try:
            request, flags, payload, fds = self._receive()
            reply = self._handle(request, payload, fds)
            if reply is None and flags & NEED_REPLY:
                reply = struct.pack("<Q", 0)
            if reply is not None:
                self._connection.sendall(
                    struct.pack("<III", request, VERSION | REPLY, len(reply)) + reply)
        except ConnectionError:
            self._disconnect()

    def _handle(self, request, payload, fds):
        """Acts on a request; returns the reply's payload, or None."""
        if request == GET_FEATURES:
            return struct.pack("<Q", self.features)
        if request == GET_PROTOCOL_FEATURES:
            return struct.pack("<Q", PROTOCOL_FEATURES)
        if request == GET_CONFIG:
            offset, size, _ = struct.unpack_from("<III", payload)
            config = struct.pack("<IIII", self._num_pages, self.actual, self.hint_id,
                                 self.poison_val).ljust(offset + size, b"\0")
            return payload[:12] + config[offset:offset + size]
        if request == GET_VRING_BASE:
            index, = struct.unpack_from("<I", payload)
            self._forget(index)
            return struct.pack("<II", index, self._queues[index].next_avail)
        if request == SET_FEATURES:
            self.accepted, = struct.unpack("<Q", payload)
        elif request == SET_CONFIG:
            offset, size, _ = struct.unpack_from("<III", payload)
            if offset == 4 and size == 4:
                self.actual, = struct.unpack_from("<I", payload, 12)
            elif offset == 12 and size == 4:
                self.poison_val, = struct.unpack_from("<I", payload, 12)
        elif request == SET_MEM_TABLE:
            for i, fd in enumerate(fds):
                gpa, size, uva, offset = struct.unpack_from("<QQQQ", payload, 8 + 32 * i)
                self._regions.append((gpa, size, uva, offset, mmap.mmap(fd, size + offset)))
                os.close(fd)
        elif request == SET_VRING_NUM:
            index, size = struct.unpack("<II", payload)
            self._queues[index].size = size
        elif request == SET_VRING_ADDR:
            index, _, desc, used, avail, _ = struct.unpack("<IIQQQQ", payload)
            self._queues[index].rings = desc, used, avail
        elif request == SET_VRING_BASE:
            index, base = struct.unpack("<II", payload)
            self._queues[index].next_avail = self._queues[index].next_used = base
        elif request in (SET_VRING_KICK, SET_VRING_CALL):
            index, = struct.unpack_from("<Q", payload)
            fd = None if index & NO_FD else fds[0]
            queue = self._queues[index & 0xff]
            if request == SET_VRING_KICK:
                self._set_kick(queue, fd, index & 0xff)
            else:
                self._set_fd(queue, "call", fd)
        elif request == SET_VRING_ENABLE:
            index, enable = struct.unpack("<II", payload)
            if not enable:
                self._forget(index)
        elif request == SET_BACKEND_REQ_FD:
            self._set_fd(self, "_backend", fds[0])
        return None

    # The rings

    def _forget(self, index):
        """The driver has taken back what it had put into a queue."""
        self.chains = [chain for chain in self.chains if chain.queue != index]

    def _at_uva(self, uva):
        for _, size, base, offset, memory in self._regions:
            if base <= uva < base + size:
                return memory, uva - base + offset
        raise ValueError(f"the front-end names {uva:#x}, which it does not share")

    def _at_gpa(self, gpa):
        for base, size, _, offset, memory in self._regions:
            if base <= gpa < base + size:
                return memory, gpa - base + offset
        raise ValueError(f"the driver names {gpa:#x}, which is no shared memory")

    def _kicked(self, index):
        queue = self._queues[index]
        os.read(queue.kick, 8)
        if queue.rings is None:
            return
        memory, avail = self._at_uva(queue.rings[2])
        # A driver that goes takes its buffers back, and the index with them.
        while 0 < (struct.unpack_from("<H", memory, avail + 2)[0] - queue.next_avail
                   & 0xffff) <= queue.size:
            head, = struct.unpack_from("<H", memory, avail + 4 + queue.next_avail % queue.size * 2)
            queue.next_avail = queue.next_avail + 1 & 0xffff
            chain = self._read_chain(index, queue, head)
            self.chains.append(chain)
            self.policy(chain)

    def _read_chain(self, index, queue, head):
        memory, table = self._at_uva(queue.rings[0])
        out, room, at = b"", [], head
        while True:
            gpa, length, flags, following = struct.unpack_from("<QIHH", memory, table + 16 * at)
            if flags & DESC_WRITE:
                room.append((gpa, length))
            else:
                data, offset = self._at_gpa(gpa)
                out += data[offset:offset + length]
            if not flags & DESC_NEXT:
                return Chain(index, head, out, tuple(room))
            at = following
