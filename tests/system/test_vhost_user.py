#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause
"""`vbb device` and its front-ends: what good ones do, and what bad ones do.

usage: test_vhost_user.py VBB [unittest's arguments]; VBB_CASES=N: so many random requests (3000)
"""

import contextlib
import os
import random
import socket
import struct
import threading
import time

import frontend as fe
from frontend import FrontEnd, Memory, Refused, Region, bits
from devicerig import ALL, BUFFER, LOW_LEN, OK, OLD, PARTIAL, RAM_LEN, Case, Rig, bitmap, extent, main, records
from harness import MIB

CASES = int(os.environ.get("VBB_CASES", "3000"))


class Protocol(Case):
    """vhost-user: what front-ends do, and what bad ones do."""

    def open_fds(self, device):
        return len(os.listdir(f"/proc/{device.pid}/fd"))

    def test_slots(self):
        rig = self.rig()
        self.assertEqual(rig.front.ask_u64(fe.GET_MAX_MEM_SLOTS), 509)
        memory = Memory(2 * MIB)
        self.addCleanup(memory.close)
        memory.map[:] = b"x" * memory.len
        region = Region(0x50000000, memory)
        first = region.gpa // fe.PAGE_LEN
        self.assertEqual(rig.send(rig.inflate, bitmap([first]))[1], (0, PARTIAL, 12, 0))
        rig.front.request(fe.ADD_MEM_REG, bytes(8) + region.pack(), [memory.fd])
        self.assertEqual(rig.send(rig.inflate, bitmap([first, first + 511]))[1], (2, OK, 12, 0))
        self.assertEqual(memory.host_len(), 2 * MIB - 8192)
        with self.assertRaises(Refused):
            rig.front.request(fe.ADD_MEM_REG, bytes(8) + region.pack(), [memory.fd])
        other = Region(region.gpa, memory, length=MIB)
        with self.assertRaises(Refused):
            rig.front.request(fe.REM_MEM_REG, bytes(8) + other.pack())
        fds = self.open_fds(rig.device)
        # some send the descriptor along
        rig.front.request(fe.REM_MEM_REG, bytes(8) + region.pack(), [memory.fd])
        self.assertEqual(self.open_fds(rig.device), fds - 1)
        self.assertEqual(rig.send(rig.inflate, bitmap([first]))[1], (0, PARTIAL, 12, 0))
        self.assertEqual(rig.differences([]), [])

    def test_all_slots(self):
        rig = self.rig()
        memory = Memory(fe.PAGE_LEN)
        self.addCleanup(memory.close)
        # in no order
        slots = list(range(509 - len(rig.front.regions)))
        rig.rng.shuffle(slots)
        regions = [Region((1 << 32) + slot * 8192, memory) for slot in slots]
        for region in regions:
            rig.front.request(fe.ADD_MEM_REG, bytes(8) + region.pack(), [memory.fd])
        with self.assertRaises(Refused):
            rig.front.request(fe.ADD_MEM_REG, bytes(8) + Region(1 << 42, memory).pack(), [memory.fd])
        nr_pages = 2 * len(regions)
        self.assertEqual(rig.send(rig.inflate, records(*extent(1 << 20, nr_pages)))[1],
                         (nr_pages // 2, PARTIAL, 12, 0))
        for region in regions[::2]:
            rig.front.request(fe.REM_MEM_REG, bytes(8) + region.pack())
        self.assertEqual(rig.send(rig.inflate, records(*extent(1 << 20, nr_pages)))[1][0], len(regions) // 2)

    def test_disable_and_enable(self):
        """As Linux in user mode unloads and loads a driver: descriptors stay, the ring is new."""
        rig = self.rig()
        page = rig.ram[0].gpa >> 12
        self.assertEqual(rig.send(rig.inflate, bitmap([page]))[1], (1, OK, 12, 0))
        rig.inflate.enable(False)
        rig.inflate.add([(BUFFER, 64)])
        rig.inflate.kick()
        self.assertIsNone(rig.inflate.wait(0.1))
        rig.inflate.clear()
        rig.inflate.set_up()
        self.assertEqual(rig.send(rig.inflate, bitmap([page]))[1], (1, OK, 12, 0))
        # without a new set-up it goes on where it was, and the driver is called, in case it missed something
        rig.inflate.enable(False)
        with contextlib.suppress(BlockingIOError):
            os.eventfd_read(rig.inflate.call_fd)
        rig.inflate.enable(True)
        self.assertEqual(os.eventfd_read(rig.inflate.call_fd), 1)
        self.assertEqual(rig.send(rig.inflate, bitmap([page]))[1], (1, OK, 12, 0))
        index = struct.unpack("=II", rig.front.ask(fe.GET_VRING_BASE, struct.pack("=II", 0, 0)))
        self.assertEqual(index, (0, 2))

    def test_features_again(self):
        """As Linux in user mode does it when the driver gave up features: no word of the reset but this."""
        rig = self.rig()
        page = rig.ram[0].gpa >> 12
        self.assertEqual(rig.send(rig.inflate, bitmap([page]))[1], (1, OK, 12, 0))
        rig.front.request(fe.SET_FEATURES, struct.pack("=Q", ALL))
        rig.front.ask(fe.GET_FEATURES)
        # memory of the driver by now, which happens to look like a message
        rig.front.write(BUFFER, bitmap([page + 1]))
        rig.inflate.add([(BUFFER, 40)])
        rig.front.share([Region(0, rig.low), *rig.ram])
        self.assertIsNone(rig.inflate.wait(0.1))
        rig.inflate.clear()
        rig.inflate.set_up()
        self.assertEqual(rig.send(rig.inflate, bitmap([page]))[1], (1, OK, 12, 0))
        self.assertEqual(rig.differences([page]), [])
        self.assertEqual(self.faults(rig.device), {})

    def test_without_protocol_features(self):
        """A front-end that knows none: rings run without being enabled, nothing is acknowledged."""
        device = self.device()
        front = FrontEnd(device.socket)
        self.addCleanup(front.close)
        front.request(fe.SET_OWNER)
        front.request(fe.SET_FEATURES, struct.pack("=Q", bits(fe.VERSION_1, fe.PAGE_BITMAP)))
        memory = Memory(LOW_LEN)
        self.addCleanup(memory.close)
        front.share([Region(0, memory)])
        ring = front.ring(0, 0)
        ring.set_up(enable=False)
        front.write(BUFFER, bitmap([0x500]))
        ring.add([(BUFFER, 40)])
        ring.kick()
        self.assertEqual(ring.wait(), (0, 0))
        self.assertEqual(device.counters()["pages_discarded"], 1)

    def test_queue_wraps(self):
        """More messages than the queue and its index have numbers."""
        rig = self.rig(features=ALL & ~bits(fe.EVENT_IDX))
        ring = rig.front.ring(1, 128 * 1024, num=4)
        rig.front.write(ring.avail + 2, struct.pack("<H", 0xfffe))
        rig.front.write(ring.used + 2, struct.pack("<H", 0xfffe))
        ring.avail_idx = ring.last_used = 0xfffe
        ring.set_up(base=0xfffe)
        for _ in range(10):
            self.assertEqual(rig.send(ring, bitmap([rig.ram[0].gpa >> 12]))[1], (1, OK, 12, 0))

    def test_kick_that_closes(self):
        """A kick that is a pipe, whose end is closed: no endless wake-ups."""
        rig = self.rig()
        read, write = os.pipe()
        rig.front.request(fe.SET_VRING_KICK, struct.pack("=Q", 0), [read])
        os.close(read)
        os.write(write, struct.pack("=Q", 1))
        self.wait_for(lambda: rig.device.counters()["kicks"] == 1)
        os.close(write)
        # what was not kicked is found when the kick is replaced
        rig.front.write(BUFFER, bitmap([rig.ram[0].gpa >> 12]))
        rig.inflate.add([(BUFFER, 40)])
        other = os.eventfd(0)
        rig.front.request(fe.SET_VRING_KICK, struct.pack("=Q", 0), [other])
        os.close(other)
        self.assertEqual(rig.inflate.wait(), (0, 0))
        read, write = os.pipe()
        rig.front.request(fe.SET_VRING_KICK, struct.pack("=Q", 0), [read])
        os.close(read)
        os.close(write)
        time.sleep(0.05)
        cpu = rig.device.cpu_seconds()
        time.sleep(0.3)
        self.assertLess(rig.device.cpu_seconds() - cpu, 0.1)

    def full_pipe(self):
        """A pipe that takes no more, whose writers would wait."""
        read, write = os.pipe()
        self.addCleanup(os.close, read)
        os.set_blocking(write, False)
        with contextlib.suppress(BlockingIOError):
            while True:
                os.write(write, bytes(4096))
        os.set_blocking(write, True)
        return write

    def full_socket(self):
        """As Linux in user mode has it."""
        ours, theirs = socket.socketpair()
        self.addCleanup(ours.close)
        with contextlib.suppress(BlockingIOError):
            while True:
                theirs.send(bytes(4096), socket.MSG_DONTWAIT)
        return theirs.detach()

    @staticmethod
    def full_event():
        """The same of an event descriptor: its count is as high as it can be."""
        event = os.eventfd(0)
        os.eventfd_write(event, (1 << 64) - 2)
        return event

    def signals_to(self, make, request):
        """The device signals what is full, as the same open file that its peer has made to block again."""
        rig = self.rig(features=ALL & ~bits(fe.EVENT_IDX))
        full = make()
        self.addCleanup(os.close, full)
        rig.front.request(request, struct.pack("=Q", 0), [full])
        os.set_blocking(full, True)
        self.assertEqual(rig.send(rig.inflate, bitmap([rig.ram[0].gpa >> 12]))[1], (1, OK, 12, 0))
        # a chain that leads out of the memory
        rig.inflate.add([(1 << 60, 64)])
        rig.inflate.kick()
        self.assertEqual(rig.inflate.wait(), (0, 0))
        self.wait_for(lambda: self.faults(rig.device) == {"RING_ADDR": 1})

    def test_call_that_is_full(self):
        """A call that nobody reads: the device does not wait for it."""
        for make in (self.full_pipe, self.full_socket, self.full_event):
            self.signals_to(make, fe.SET_VRING_CALL)

    def test_err_that_is_full(self):
        for make in (self.full_pipe, self.full_socket, self.full_event):
            self.signals_to(make, fe.SET_VRING_ERR)

    def test_channel_that_is_full(self):
        """Nor for who reads none of its requests."""
        rig = self.rig()
        full = self.full_socket()
        self.addCleanup(os.close, full)
        rig.front.request(fe.SET_BACKEND_REQ_FD, b"", [full])
        os.set_blocking(full, True)
        rig.device.qmp.execute("balloon", value=LOW_LEN)
        self.assertEqual(rig.front.config(), (RAM_LEN >> 12, 0))

    def bad_requests(self, rig):
        """(what, request, payload, descriptors) that are to be refused."""
        memory = rig.memories[1]
        fd = memory.fd
        state = struct.pack
        wrap = (1 << 64) - 4096
        table = lambda *regions, nr=None: struct.pack("=II", len(regions) if nr is None else nr, 0) + b"".join(
            region.pack() for region in regions)
        good = Region(1 << 33, memory)
        return [
            ("unknown", 99, b"", []), ("unknown", 0, b"", []), ("not ours", 6, bytes(16), []),
            ("short", fe.SET_FEATURES, bytes(7), []), ("long", fe.SET_FEATURES, bytes(9), []),
            ("not offered", fe.SET_FEATURES, state("=Q", OLD | bits(63)), []),
            ("records without bitmaps", fe.SET_FEATURES, state("=Q", OLD | bits(fe.PAGE_RECORDS)), []),
            ("bitmaps without version 1", fe.SET_FEATURES, state("=Q", bits(fe.PAGE_BITMAP)), []),
            ("protocol", fe.SET_PROTOCOL_FEATURES, state("=Q", bits(fe.REPLY_ACK, fe.INBAND)), []),
            ("a descriptor too many", fe.SET_OWNER, b"", [fd]),
            ("slot without", fe.ADD_MEM_REG, bytes(8) + good.pack(), []),
            ("slot that overlaps", fe.ADD_MEM_REG, bytes(8) + Region(rig.ram[0].gpa + 4096, memory).pack(), [fd]),
            ("no such slot", fe.REM_MEM_REG, bytes(8) + good.pack(), []),
            ("no descriptor", fe.SET_MEM_TABLE, table(good), []),
            ("two descriptors", fe.SET_MEM_TABLE, table(good), [fd, fd]),
            ("9 regions", fe.SET_MEM_TABLE, table(*[good] * 8, nr=9), [fd] * 8),
            ("fewer than it says", fe.SET_MEM_TABLE, table(good, nr=2), [fd] * 2),
            ("many more than it says", fe.SET_MEM_TABLE, table(good, nr=0xffffffff), [fd]),
            ("overlap", fe.SET_MEM_TABLE, table(good, Region(good.gpa + good.len - 1, memory)), [fd] * 2),
            ("twice", fe.SET_MEM_TABLE, table(good, good), [fd] * 2),
            ("empty", fe.SET_MEM_TABLE, table(Region(0, memory, length=0)), [fd]),
            ("gpa wraps", fe.SET_MEM_TABLE, table(Region(wrap, memory, length=8192, uaddr=0)), [fd]),
            ("uaddr wraps", fe.SET_MEM_TABLE, table(Region(0, memory, length=8192, uaddr=wrap)), [fd]),
            ("offset wraps", fe.SET_MEM_TABLE, table(Region(0, memory, fd_off=wrap, length=8192)), [fd]),
            ("past the file", fe.SET_MEM_TABLE, table(Region(0, memory, fd_off=4096, length=memory.len)), [fd]),
            ("no file", fe.SET_MEM_TABLE, table(good), [rig.inflate.call_fd]),
            ("queue 8", fe.SET_VRING_NUM, state("=II", 8, 256), []),
            ("queue -1", fe.SET_VRING_NUM, state("=II", 0xffffffff, 256), []),
            ("size 0", fe.SET_VRING_NUM, state("=II", 0, 0), []),
            ("size 2048", fe.SET_VRING_NUM, state("=II", 0, 2048), []),
            ("base", fe.SET_VRING_BASE, state("=II", 0, 65536), []),
            ("enable 2", fe.SET_VRING_ENABLE, state("=II", 0, 2), []),
            ("kick of no queue", fe.SET_VRING_KICK, state("=Q", 200), [rig.inflate.kick_fd]),
            ("no kick", fe.SET_VRING_KICK, state("=Q", 0x100), []),
            ("kick missing", fe.SET_VRING_KICK, state("=Q", 0), []),
            ("kick too many", fe.SET_VRING_KICK, state("=Q", 0x100), [rig.inflate.kick_fd]),
            ("kick a file", fe.SET_VRING_KICK, state("=Q", 1), [fd]),
            ("call a file", fe.SET_VRING_CALL, state("=Q", 1), [fd]),
            ("err a file", fe.SET_VRING_ERR, state("=Q", 1), [fd]),
            ("call missing", fe.SET_VRING_CALL, state("=Q", 0), []),
            ("err of no queue", fe.SET_VRING_ERR, state("=Q", 0xff), [rig.inflate.err_fd]),
            ("channel missing", fe.SET_BACKEND_REQ_FD, b"", []),
            ("channel no socket", fe.SET_BACKEND_REQ_FD, b"", [rig.inflate.call_fd]),
            ("status", fe.SET_STATUS, state("=Q", 256), []),
            ("config short", fe.SET_CONFIG, state("=3I", 4, 4, 0), []),
        ]

    def test_bad_requests_are_refused(self):
        """Each is answered with an error, keeps no descriptor, and the front-end can go on."""
        rig = self.rig()
        cases = self.bad_requests(rig)
        for what, request, payload, fds in cases:
            with self.subTest(what), self.assertRaises(Refused):
                rig.front.request(request, payload, fds)
        rig.front.share(rig.front.regions)
        rig.inflate.set_up()
        rig.deflate.set_up()
        count = self.open_fds(rig.device)
        rig.fill()
        self.assertEqual(rig.send(rig.inflate, bitmap([rig.ram[0].gpa >> 12]))[1], (1, OK, 12, 0))
        for _, request, payload, fds in cases:
            if request != fe.SET_MEM_TABLE:
                with contextlib.suppress(Refused):
                    rig.front.request(request, payload, fds)
        rig.front.share(rig.front.regions)
        rig.inflate.set_up()
        rig.deflate.set_up()
        self.assertEqual(self.open_fds(rig.device), count)
        self.assertGreaterEqual(rig.device.counters()["requests_refused"], len(cases))

    def test_bad_requests_end_the_connection(self):
        """Without acknowledgements there is no other way to say no."""
        device = self.device()
        fds_before = self.open_fds(device)
        keep = Rig(self.device())
        self.addCleanup(keep.close)
        for what, request, payload, fds in self.bad_requests(keep):
            with self.subTest(what):
                front = FrontEnd(device.socket)
                front.request(fe.SET_OWNER)
                front.request(fe.SET_PROTOCOL_FEATURES, struct.pack(
                    "=Q", bits(fe.BACKEND_REQ, fe.CONFIG, fe.MEM_SLOTS, fe.STATUS)))
                if what == "slot that overlaps":
                    front.share(keep.front.regions)
                front.send(request, payload, fds)
                self.assertTrue(front.ended())
                front.close()
        self.alive(device)
        self.wait_for(lambda: self.open_fds(device) == fds_before)

    def test_bad_frames(self):
        rig = self.rig()
        many = [rig.low.fd] * 9
        cases = {
            "version 0": (struct.pack("=3I", 1, 0, 0), ()), "version 2": (struct.pack("=3I", 1, 2, 0), ()),
            "a reply": (struct.pack("=3I", 1, 5, 0), ()), "huge": (struct.pack("=3I", 5, 1, 0xffffffff), ()),
            "just too long": (struct.pack("=3I", 5, 1, 269), ()),
            "9 descriptors": (struct.pack("=3I", 5, 1, 8) + bytes(8), many),
            "needs what was not negotiated": (struct.pack("=3I", fe.GET_CONFIG, 1, 12) + bytes(12), ()),
        }
        device = self.device()
        fds_before = self.open_fds(device)
        for what, (data, fds) in cases.items():
            with self.subTest(what):
                front = FrontEnd(device.socket)
                if fds:
                    socket.send_fds(front.sock, [data], fds)
                else:
                    front.sock.sendall(data)
                self.assertTrue(front.ended())
                front.close()
        self.wait_for(lambda: self.open_fds(device) == fds_before)
        self.assertEqual(self.faults(device), {"FRAME": len(cases)})
        self.alive(device)

    def test_byte_by_byte(self):
        """A request that comes in single bytes, each with a descriptor, up to 8 of them."""
        device = self.device()
        front = FrontEnd(device.socket)
        self.addCleanup(front.close)
        for byte in struct.pack("=3I", fe.GET_FEATURES, 1, 0):
            front.sock.sendall(bytes([byte]))
            time.sleep(0.002)
        self.assertEqual(len(front.reply(fe.GET_FEATURES)), 8)
        keep = Memory(4096)
        self.addCleanup(keep.close)
        count = self.open_fds(device)
        with contextlib.suppress(OSError):
            for byte in struct.pack("=3I", fe.SET_OWNER, 1, 0)[:11]:
                socket.send_fds(front.sock, [bytes([byte])], [keep.fd])
        self.assertTrue(front.ended())
        self.wait_for(lambda: self.open_fds(device) < count)

    def test_half_a_request_then_gone(self):
        device = self.device()
        count = self.open_fds(device)
        for length in range(1, 20):
            front = FrontEnd(device.socket)
            memory = Memory(4096)
            socket.send_fds(front.sock, [(struct.pack("=3I", fe.SET_MEM_TABLE, 1, 40) + bytes(40))[:length]],
                            [memory.fd])
            front.close()
            memory.close()
        self.alive(device)
        self.wait_for(lambda: self.open_fds(device) == count)

    def test_replies_that_nobody_reads(self):
        device = self.device()
        front = FrontEnd(device.socket)
        self.addCleanup(front.close)
        with contextlib.suppress(ConnectionError, TimeoutError):
            for _ in range(100000):
                front.send(fe.GET_FEATURES)
        other = FrontEnd(device.socket)
        self.addCleanup(other.close)
        self.assertTrue(other.ask_u64(fe.GET_FEATURES))

    def test_one_after_the_other(self):
        """A second front-end waits until the first has gone."""
        device = self.device()
        first = FrontEnd(device.socket)
        second = FrontEnd(device.socket)
        self.addCleanup(second.close)
        self.assertTrue(first.ask_u64(fe.GET_FEATURES))
        second.send(fe.GET_FEATURES)
        second.sock.settimeout(0.1)
        with self.assertRaises(TimeoutError):
            second.reply(fe.GET_FEATURES)
        first.close()
        second.sock.settimeout(10)
        self.assertEqual(len(second.reply(fe.GET_FEATURES)), 8)

    def test_memory_that_goes_away(self):
        """The file is cut short under the rings: this front-end is let go, the device lives."""
        device = self.device()
        for features in (ALL, OLD):
            front = FrontEnd(device.socket)
            self.addCleanup(front.close)
            front.negotiate(features)
            memory = Memory(LOW_LEN)
            self.addCleanup(memory.close)
            front.share([Region(0, memory)])
            ring = front.ring(0, 0)
            ring.set_up()
            os.ftruncate(memory.fd, 0)
            ring.kick()
            self.assertTrue(front.ended())
        self.wait_for(lambda: self.faults(device).get("FRAME") == 2)
        self.alive(device)

    def test_rings_that_lie_elsewhere(self):
        rig = self.rig()
        end = rig.front.regions[0].len
        base = rig.front.uaddr(0)
        for desc, used, avail in ((1, 0x10000, 0x20000), (0, 0x10002, 0x20000), (0, 0x10000, 0x20001),
                                  (end - 4095, 0, 0), (0, end - 4, 0), (0, 0, end - 4), (end, 0, 0),
                                  ((1 << 64) - base - 16, 0, 0)):
            rig.inflate.enable(False)
            rig.front.request(fe.SET_VRING_ADDR, struct.pack("=II4Q", 0, 0, base + desc, base + used, base + avail, 0))
            with self.assertRaises(Refused):
                rig.inflate.enable(True)
        rig.inflate.enable(False)
        rig.front.request(fe.SET_VRING_NUM, struct.pack("=II", 0, 100))
        rig.front.request(fe.SET_VRING_ADDR, struct.pack("=II4Q", 0, 0, base, base + 0x10000, base + 0x20000, 0))
        with self.assertRaises(Refused):
            rig.inflate.enable(True)
        rig.inflate.clear()
        rig.inflate.set_up()
        self.assertEqual(rig.send(rig.inflate, bitmap([rig.ram[0].gpa >> 12]))[1], (1, OK, 12, 0))

    def test_chance(self):
        """Requests as chance has them, on running rings, with descriptors of all kinds."""
        device = self.device()
        rng = random.Random(3)
        good = [fe.GET_FEATURES, fe.SET_FEATURES, fe.SET_OWNER, fe.SET_VRING_NUM, fe.SET_VRING_ADDR,
                fe.SET_VRING_BASE, fe.GET_VRING_BASE, fe.SET_VRING_KICK, fe.SET_VRING_CALL, fe.SET_VRING_ERR,
                fe.SET_VRING_ENABLE, fe.SET_MEM_TABLE, fe.ADD_MEM_REG, fe.REM_MEM_REG, fe.GET_CONFIG,
                fe.SET_CONFIG, fe.SET_STATUS, fe.RESET_DEVICE, fe.SET_BACKEND_REQ_FD]
        rig, replies = None, None
        for _ in range(CASES):
            if rig is None:
                rig = Rig(device, ram=[Region(0x40000000, Memory(MIB))])
                rig.front.sock.settimeout(5)
                # whoever does not read the answers is cut off
                replies = threading.Thread(target=self.drain, args=(rig.front.sock,))
                replies.start()
            payload = self.random_payload(rng, rig)
            fds = [rng.choice((rig.low.fd, rig.memories[1].fd, rig.inflate.kick_fd, rig.deflate.call_fd))
                   for _ in range(rng.choice((0, 0, 1, 1, 2, 8)))]
            request = rng.choice(good) if rng.random() < 0.95 else rng.randrange(50)
            rig.front.write(rng.randrange(0x4000), rng.randbytes(4))
            with contextlib.suppress(OSError):
                rig.front.send(request, payload, fds, fe.VERSION | fe.NEED_REPLY if rng.random() < 0.98 else 2)
                rig.inflate.kick()
                rig.deflate.kick()
                continue
            replies.join()
            rig.close()
            rig = None
        if rig:
            rig.front.sock.shutdown(socket.SHUT_RDWR)
            replies.join()
            rig.close()
        self.alive(device)

    @staticmethod
    def drain(sock):
        with contextlib.suppress(OSError):
            while sock.recv(4096):
                pass

    @staticmethod
    def random_payload(rng, rig):
        kind = rng.randrange(6)
        if kind == 0:
            return rng.randbytes(rng.randrange(280))
        if kind == 1:
            return struct.pack("=II", rng.randrange(3), rng.choice((0, 1, 256, 1024, 0xffff)))
        if kind == 2:
            return struct.pack("=Q", rng.choice((0, 1, 2, 0x100, ALL, OLD)))
        if kind == 3:
            return struct.pack("=II4Q", rng.randrange(2), 0, *(
                rig.front.uaddr(rng.randrange(0x8000) * 8) for _ in range(4)))
        if kind == 4:
            regions = [rng.choice(rig.front.regions) for _ in range(rng.randrange(5))]
            return struct.pack("=II", len(regions), 0) + b"".join(region.pack() for region in regions)
        return bytes(8) + rng.choice(rig.front.regions).pack()


if __name__ == "__main__":
    main(__name__)
