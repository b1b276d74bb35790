#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause
"""`vbb device` and the messages of drivers: what is named is discarded, and nothing else.

usage: test_device.py VBB [unittest's arguments]
"""

import collections
import fcntl
import os
import pathlib
import struct
import subprocess
import sys
import tempfile
import time

import frontend as fe
from frontend import Memory, Refused, Region, bits
from devicerig import (ALL, BITMAP, BUFFER, BUFFER_LEN, INHIBITED, LOW_LEN, MALFORMED, OK, OLD, PARTIAL, RAM_LEN,
                       RECORDS, TABLES, Case, Latencies, Rig, bitmap, block, extent, header, main, pfns, record_mix, records)
from harness import MIB, QmpError

TESTS = pathlib.Path(__file__).resolve().parent.parent
sys.path.append(str(TESTS))
import vector  # noqa: E402  # pylint: disable=wrong-import-position
import wireshark  # noqa: E402  # pylint: disable=wrong-import-position

HUGE_LEN = 2 * MIB


class Formats(Case):
    """What is named is discarded, and nothing else, in every format."""

    def random_pages(self, rig):
        """Runs and single pages, in RAM and beside it, over its borders too."""
        pages = set()
        edges = [edge for region in rig.ram for edge in (region.gpa, region.gpa + region.len)]
        for _ in range(rig.rng.randint(1, 30)):
            first = rig.rng.choice(edges) // fe.PAGE_LEN + rig.rng.randint(-600, 600)
            pages |= set(range(first, first + rig.rng.choice((1, 1, 1, 2, 3, 70, 700))))
        low = LOW_LEN // fe.PAGE_LEN
        return sorted(page for page in pages if page >= low)

    def rounds(self, features, make, result):
        rig = self.rig(features=features)
        ram = set(rig.ram_pages())
        for _ in range(12):
            pages = self.random_pages(rig)
            named = [page for page in pages if page in ram]
            message = make(rig.rng, pages)
            cuts = [rig.rng.randrange(len(message)) for _ in range(rig.rng.randrange(6))]
            indirect = features & bits(fe.INDIRECT_DESC) and rig.rng.random() < 0.5
            used = rig.send(rig.inflate, message, cuts=cuts, indirect=indirect)
            if result:
                status = OK if len(named) == len(pages) else PARTIAL
                self.assertEqual(used, (16, (len(named), status, 12, 0)))
            else:
                self.assertEqual(used, (0, None))
            self.assertEqual(rig.differences(named), [])
            after = [memory.map[:] for memory in rig.memories]
            used = rig.send(rig.deflate, message, cuts=cuts)
            if result:
                self.assertEqual(used, (16, (len(named), status, 12, 0)))
            self.assertEqual(after[1:], [memory.map[:] for memory in rig.memories][1:], "deflate changed memory")
            rig.fill()
        self.assertEqual(self.faults(rig.device), {})

    # VBB-DEV-11
    def test_pfns(self):
        def make(rng, pages):
            pages = list(pages)
            if rng.random() < 0.5:
                rng.shuffle(pages)
            return pfns(pages)
        self.rounds(OLD, make, False)

    def test_bitmap(self):
        def make(rng, pages):
            # as one bitmap those of both ends would be too long
            return record_mix(rng, pages) if max(pages) - min(pages) >= 1 << 23 else bitmap(pages)
        self.rounds(RECORDS, make, True)

    def test_records(self):
        self.rounds(ALL, record_mix, True)

    def test_counters(self):
        rig = self.rig()
        first = rig.ram[0].gpa // fe.PAGE_LEN
        rig.send(rig.inflate, records(block(first, 4), *extent(first + 100, 7), first + 200 | 1 << 58, 5))
        rig.send(rig.inflate, bitmap([first + 300]), into=0)
        rig.send(rig.deflate, bitmap([first + 300, first + 301]))
        got = rig.device.counters()
        want = {"messages": {"pfns": 0, "bitmap": 2, "records": 1},
                "records": {"blocks": 1, "bitmaps": 1, "extents": 1},
                "bytes": 32 + 40 + 2 * 40, "runs": 4 + 1 + 1, "pages_inflated": 16 + 7 + 2 + 1,
                "pages_discarded": 26, "pages_deflated": 2, "discard_calls": 5, "discard_errors": 0,
                "results": 2, "kicks": 3, "front_ends": 1, "requests_refused": 0}
        self.assertEqual({key: got[key] for key in want}, want)
        self.assertGreater(got["cpu_ns"], 0)

    def test_counters_of_the_old_format(self):
        rig = self.rig(features=OLD)
        first = rig.ram[0].gpa // fe.PAGE_LEN
        rig.send(rig.inflate, pfns([first, first + 1, first + 5]))
        rig.send(rig.deflate, pfns([first]))
        got = rig.device.counters()
        want = {"messages": {"pfns": 2, "bitmap": 0, "records": 0}, "bytes": 16, "runs": 3, "pages_inflated": 3,
                "pages_discarded": 3, "pages_deflated": 1, "discard_calls": 2, "results": 0}
        self.assertEqual({key: got[key] for key in want}, want)

    def test_larger_unit(self):
        """Pages of 16 KiB and of 2 MiB, in part beside the RAM."""
        rig = self.rig()
        first = rig.ram[2].gpa >> 14
        self.assertEqual(rig.send(rig.inflate, bitmap([first, first + 2], page_shift=14)), (16, (2, OK, 12, 0)))
        pages = [(first << 2) + i for i in (0, 1, 2, 3, 8, 9, 10, 11)]
        self.assertEqual(rig.differences(pages), [])
        rig.fill()
        # the last of these begins in RAM only because the one before ends there
        first = rig.ram[2].gpa >> 21
        used = rig.send(rig.inflate, records(block(first + 1), block(first + 2), page_shift=21))
        self.assertEqual(used, (16, (1, PARTIAL, 12, 0)))
        self.assertEqual(rig.differences(range((first + 1) << 9, (first + 2) << 9)), [])

    def test_top_of_the_address_space(self):
        """Everything that can be named, as one extent: all of the RAM goes, and nothing wraps."""
        rig = self.rig()
        low = LOW_LEN // fe.PAGE_LEN
        used = rig.send(rig.inflate, records(*extent(low, (1 << 52) - low)))
        self.assertEqual(used, (16, (len(rig.ram_pages()), PARTIAL, 12, 0)))
        self.assertEqual(rig.differences(rig.ram_pages()), [])
        used = rig.send(rig.inflate, records(*extent((1 << 52) - 1, 1)))
        self.assertEqual(used, (16, (0, PARTIAL, 12, 0)))

    # VBB-DEV-04
    def test_pfn_of_31_bits_and_more(self):
        memory = Memory(4 * MIB)
        rig = self.rig(features=OLD, ram=[Region(0xfffff000 << 12, memory)])
        rig.send(rig.inflate, pfns([0xfffff000, 0xfffff002]))
        self.assertEqual(rig.differences([0xfffff000, 0xfffff002]), [])

    # VBB-DEV-02
    def test_result_room(self):
        """A result wants 16 bytes, in one piece or in many; with less, and in the old format, there is none."""
        rig = self.rig()
        page = [rig.ram[0].gpa // fe.PAGE_LEN]
        self.assertEqual(rig.send(rig.inflate, bitmap(page), into=0), (0, None))
        self.assertEqual(rig.send(rig.inflate, bitmap(page), into=15), (0, None))
        self.assertEqual(rig.send(rig.inflate, bitmap(page), into=(1, 2, 12)), (0, None))
        self.assertEqual(rig.send(rig.inflate, bitmap(page), into=(1, 6, 3, 30))[1], (1, OK, 12, 0))
        rig.front.close()
        old = self.rig(rig.device, features=OLD)
        self.assertEqual(old.send(old.inflate, pfns(page)), (0, None))

    # VBB-MSG-04
    def test_every_cut(self):
        """A message cut in two at each of its bytes."""
        rig = self.rig()
        first = rig.ram[0].gpa // fe.PAGE_LEN
        message = records(block(first), *extent(first + 5, 3))
        for cut in range(1, len(message)):
            self.assertEqual(rig.send(rig.inflate, message, cuts=[cut], into=(3, 13))[1], (4, OK, 12, 0))

    # VBB-DEV-06
    def test_two_messages_are_not_one(self):
        """Neighbours in two messages are two discards; in one message they are one."""
        rig = self.rig()
        first = rig.ram[0].gpa // fe.PAGE_LEN
        rig.send(rig.inflate, bitmap([first]))
        rig.send(rig.inflate, bitmap([first + 1]))
        self.assertEqual(rig.device.counters()["discard_calls"], 2)
        rig.send(rig.inflate, records(*(block(first + i) for i in reversed(range(100)))))
        self.assertEqual(rig.device.counters()["discard_calls"], 3)


class Options(Case):
    """What the command line changes."""

    # VBB-DEV-01
    def test_offers(self):
        base = bits(1, fe.VERSION_1, fe.INDIRECT_DESC, fe.EVENT_IDX, fe.PROTOCOL_FEATURES)
        everything = (fe.PAGE_BITMAP, fe.PAGE_RECORDS, fe.HOST_REQ)
        for options, more in (((), everything), (("--deflate-on-oom",), (2, *everything)),
                              (("--free-page-hint", "--free-page-reporting"), (3, 5, *everything)),
                              (("--must-tell-host", "--page-poison"), (0, 4, *everything)),
                              (("--no-records",), (fe.PAGE_BITMAP, fe.HOST_REQ)),
                              (("--no-requests",), (fe.PAGE_BITMAP, fe.PAGE_RECORDS)), (("--no-bitmap",), ())):
            rig = self.rig(None, *options, features=OLD)
            self.assertEqual(rig.offered, base | bits(*more))
        rig = self.rig(None, "--no-stats", "--no-bitmap", features=OLD)
        self.assertEqual(rig.offered, base & ~bits(1))

    def test_no_records(self):
        rig = self.rig(None, "--no-records", features=BITMAP)
        used = rig.send(rig.inflate, records(block(rig.ram[0].gpa // fe.PAGE_LEN)))
        self.assertEqual(used, (16, (0, MALFORMED, 12, 0)))
        self.assertEqual(self.faults(rig.device), {"FORMAT": 1})
        self.assertEqual(rig.differences([]), [])

    def test_page_by_page(self):
        rig = self.rig(None, "--page-by-page")
        first = rig.ram[0].gpa // fe.PAGE_LEN
        self.assertEqual(rig.send(rig.inflate, records(*extent(first + 1, 1000)))[1], (1000, OK, 12, 0))
        self.assertEqual(rig.device.counters()["discard_calls"], 1000)
        self.assertEqual(rig.differences(range(first + 1, first + 1001)), [])

    def test_no_discard(self):
        rig = self.rig(None, "--no-discard")
        first = rig.ram[0].gpa // fe.PAGE_LEN
        self.assertEqual(rig.send(rig.inflate, bitmap([first]))[1], (0, INHIBITED, 12, 0))
        self.assertEqual(rig.device.counters()["discard_calls"], 0)
        self.assertEqual(rig.differences([]), [])

    def test_discards_that_fail(self):
        """A file that must not lose pages: said, counted, and nothing else."""
        memory = Memory(4 * MIB)
        rig = self.rig(ram=[Region(0x40000000, memory)])
        fcntl.fcntl(memory.fd, 1033, 0x10)  # F_ADD_SEALS, F_SEAL_FUTURE_WRITE
        self.assertEqual(rig.send(rig.inflate, bitmap([0x40000]))[1], (0, INHIBITED, 12, 0))
        got = rig.device.counters()
        self.assertEqual((got["discard_calls"], got["discard_errors"]), (1, 1))
        self.assertEqual(rig.differences([]), [])


class HugePages(Case):
    """Host pages of 2 MiB: only those that are covered whole."""

    NR = "/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages"

    def setUp(self):
        path = pathlib.Path(self.NR)
        try:
            had = int(path.read_text())
            path.write_text(str(had + 8))
        except OSError as error:
            self.skip(f"no huge pages to be had, which only root can change: {error}")
        self.addCleanup(path.write_text, str(had))
        free = path.with_name("free_hugepages")
        if int(free.read_text()) < 8:
            self.skip("not enough memory in one piece for 8 huge pages")

    def skip(self, why):
        print(f"SKIP {self.id()}: {why}", flush=True)
        self.skipTest(why)

    # VBB-DEV-05
    def test_whole_and_part(self):
        memory = Memory(8 * HUGE_LEN, huge=True)
        # as QEMU has it: one file, a hole in the guest's addresses, and no border of huge pages at either side
        low = Region(0x40000000, memory, length=0xa0000)
        high = Region(0x40100000, memory, fd_off=0x100000, length=8 * HUGE_LEN - 0x100000)
        rig = self.rig(ram=[low, high])
        page = 0x40000
        cases = (  # runs (page, count), pages that go
            ([(page, 512)], []),  # the first huge page is not in one region
            ([(page + 512, 512)], range(page + 512, page + 1024)),
            ([(page + 513, 511), (page + 1024, 1)], []),
            ([(page + 513, 1023)], range(page + 1024, page + 1536)),
            ([(page + 600, 8 * 512)], range(page + 1024, page + 8 * 512)),
            ([(page + 512, 256), (page + 1024, 256), (page + 768, 256)], []),
        )
        for runs, gone in cases:
            words = [word for run in runs for word in extent(*run)]
            used = rig.send(rig.inflate, records(*words))
            total = sum(count for _, count in runs)
            self.assertEqual(used[1], (len(gone), OK if len(gone) == total else PARTIAL, 21, 0), runs)
            self.assertEqual(rig.differences(gone), [], runs)
            rig.fill()

    # VBB-DEV-06
    def test_two_halves_in_two_messages(self):
        memory = Memory(2 * HUGE_LEN, huge=True)
        rig = self.rig(ram=[Region(0x40000000, memory)], features=OLD)
        rig.send(rig.inflate, pfns(range(0x40000, 0x40100)))
        rig.send(rig.inflate, pfns(range(0x40100, 0x40200)))
        self.assertEqual(rig.differences([]), [])
        rig.send(rig.inflate, pfns(range(0x40000, 0x40200)))
        self.assertEqual(rig.differences(range(0x40000, 0x40200)), [])

    def test_page_by_page(self):
        memory = Memory(3 * HUGE_LEN, huge=True)
        rig = self.rig(None, "--page-by-page", ram=[Region(0x40000000, memory)])
        rig.send(rig.inflate, records(*extent(0x40000, 1024)))
        self.assertEqual(rig.device.counters()["discard_calls"], 2)
        self.assertEqual(rig.differences(range(0x40000, 0x40400)), [])


class Malformed(Case):
    """Faults of messages and of rings are told, counted under their names, and end nothing."""

    # VBB-MSG-22, VBB-DEV-03
    def test_messages(self):
        rig = self.rig()
        page = rig.ram[0].gpa // fe.PAGE_LEN
        good = block(page)
        nothing = bytes(8)
        cases = (
            ("SHORT", header(0, nothing)[:31], 0),
            ("LEN", header(0, nothing, page, bmap_len=9), 0),
            ("LEN", header(0, nothing, page, bmap_len=0), 0),
            ("LEN_MAX", header(0, nothing, page, bmap_len=(1 << 20) + 8), 0),
            ("LEN_EMPTY", header(0, b"", page), 0),
            ("LEN_ALIGN", header(1, bytes(12)), 0),
            ("CMD", header(0, nothing, page, cmd=1), 0),
            ("PAGE_SHIFT", header(0, nothing, page, page_shift=11), 0),
            ("PAGE_SHIFT", header(0, nothing, page, page_shift=0xffff), 0),
            ("FLAG", header(0, nothing, page, flag=1), 0),
            ("FORMAT", header(2, nothing), 0),
            ("FORMAT", header(3, nothing), 0),
            ("REQ_ID", header(0, nothing, page, req_id=1), 0),
            ("START_PFN", header(0, nothing, 1 << 52), 0),
            ("START_PFN", header(1, nothing, 1), 0),
            ("REC_ALIGN", records(good, block(0x201, 9)), 1),
            ("REC_ORDER", records(good, 52 << 52), 1),
            ("REC_ORDER", records(good, 63 << 58 | 1 << 52, 1), 1),
            ("REC_TRUNC", records(good, 2 << 58, 1), 1),
            ("REC_TRUNC", records(good, 63 << 58), 1),
            ("REC_COUNT", records(good, 63 << 58, 0), 1),
            ("PFN_RANGE", records(good, *extent((1 << 52) - 1, 2)), 1),
            ("PFN_RANGE", records(block(1 << 51, 51), page_shift=13), 0),
        )
        want = {}
        for name, message, acted in cases:
            want[name] = want.get(name, 0) + 1
            self.assertEqual(rig.send(rig.inflate, message)[1], (acted, MALFORMED, 12, 0), name)
            self.assertEqual(self.faults(rig.device), want)
            self.assertEqual(rig.differences([page] if acted else []), [], name)
            rig.fill()
            # and without room for a result
            want[name] += 1
            self.assertEqual(rig.send(rig.deflate, message, into=0), (0, None))
        self.assertEqual(rig.send(rig.inflate, bitmap([page]))[1], (1, OK, 12, 0))

    # VBB-MSG-24
    def test_odd_old_array(self):
        rig = self.rig(features=OLD)
        page = rig.ram[0].gpa // fe.PAGE_LEN
        rig.send(rig.inflate, pfns([page, page + 1])[:7])
        self.assertEqual(self.faults(rig.device), {"LEN_ALIGN": 1})
        self.assertEqual(rig.differences([page]), [])

    def ring_fault(self, name, damage, comes_back=True):
        """Damages a ring; the fault is counted, its descriptor signalled, and the device lives."""
        rig = self.rig()
        ring = rig.inflate
        damage(rig, ring)
        ring.kick()
        if comes_back:
            self.assertEqual(ring.wait(), (0, 0), name)
            ring.free = 0
            page = rig.ram[0].gpa // fe.PAGE_LEN
            self.assertEqual(rig.send(ring, bitmap([page]))[1], (1, OK, 12, 0))
        self.wait_for(lambda: self.faults(rig.device) == {name: 1})
        self.assertEqual(os.eventfd_read(ring.err_fd), 1)
        rig.front.close()
        self.alive(rig.device)
        self.assertEqual(self.faults(rig.device), {name: 1})

    def test_ring_loop(self):
        def damage(_, ring):
            ring.put_desc(0, BUFFER, 8, fe.NEXT, 1)
            ring.put_desc(1, BUFFER, 8, fe.NEXT, 0)
            ring.offer(0)
        self.ring_fault("RING_LOOP", damage)

    def test_ring_address(self):
        def damage(_, ring):
            ring.add([(1 << 60, 64)])
        self.ring_fault("RING_ADDR", damage)

    def test_ring_address_wraps(self):
        def damage(_, ring):
            ring.add([((1 << 64) - 32, 64)])
        self.ring_fault("RING_ADDR", damage)

    def test_ring_past_the_end(self):
        def damage(rig, ring):
            ring.add([(rig.ram[2].gpa + rig.ram[2].len - 32, 64)])
        self.ring_fault("RING_ADDR", damage)

    def test_ring_order(self):
        def damage(_, ring):
            ring.put_desc(0, BUFFER, 8, fe.NEXT | fe.WRITE, 1)
            ring.put_desc(1, BUFFER, 8, 0, 0)
            ring.offer(0)
        self.ring_fault("RING_DESC", damage)

    def test_ring_head(self):
        def damage(_, ring):
            ring.offer(300)
        self.ring_fault("RING_INDEX", damage, comes_back=False)

    def test_ring_index(self):
        def damage(rig, ring):
            rig.front.write(ring.avail + 2, struct.pack("<H", 300))
        self.ring_fault("RING_INDEX", damage, comes_back=False)

    def test_broken_until_reset(self):
        """The status says that a reset is needed, and after one it works again."""
        rig = self.rig()
        rig.inflate.offer(300)
        rig.inflate.kick()
        self.wait_for(lambda: rig.front.ask_u64(fe.GET_STATUS) == 0x40)
        self.assertEqual(rig.front.config_changes(), 1)
        rig.front.request(fe.SET_STATUS, struct.pack("=Q", 0))
        rig.front.request(fe.SET_FEATURES, struct.pack("=Q", ALL))
        rig.inflate.clear()
        rig.inflate.set_up()
        self.assertEqual(rig.send(rig.inflate, bitmap([rig.ram[0].gpa >> 12]))[1], (1, OK, 12, 0))
        self.assertEqual(rig.front.ask_u64(fe.GET_STATUS), 0)


class Work(Case):
    """Long messages do not hold up control, and can be interrupted."""

    NR = 1 << 20  # discards

    def big(self, device, pages=2 * NR):
        """A device, and RAM with nothing in it."""
        memory = Memory(pages * fe.PAGE_LEN)
        rig = Rig.__new__(Rig)
        rig.fill = lambda: None
        rig.__init__(device, ram=[Region(1 << 40, memory)])
        self.addCleanup(rig.close)
        return rig

    def start(self, rig):
        """Every second page."""
        message = header(0, b"\x55" * (2 * self.NR // 8), rig.ram[0].gpa >> 12)
        rig.front.write(BUFFER, message)
        answer = BUFFER + BUFFER_LEN - 4096
        rig.inflate.add([(BUFFER, len(message))], [(answer, 16)])
        rig.inflate.kick()
        self.wait_for(lambda: rig.device.counters()["discard_calls"] > 1000)
        return answer

    # VBB-DEV-07
    def test_control_goes_on(self):
        device = self.device()
        rig = self.big(device)
        answer = self.start(rig)
        latencies = Latencies(device)
        while rig.inflate.wait(0) is None:
            latencies.measure()
            if len(latencies.seconds) == 3:
                # the other queue goes on as well
                rig.front.write(TABLES, bitmap([rig.ram[0].gpa >> 12]))
                rig.deflate.add([(TABLES, 40)])
                rig.deflate.kick()
                self.assertEqual(rig.deflate.wait(), (0, 0))
        latencies.check(self)
        self.assertEqual(struct.unpack("<QHHI", rig.front.read(answer, 16)), (self.NR, OK, 12, 0))
        self.assertEqual(device.counters()["discard_calls"], self.NR)

    def test_stop_in_the_middle(self):
        """GET_VRING_BASE, SET_MEM_TABLE and the like come at once; what was not finished is done anew."""
        device = self.device()
        rig = self.big(device)
        self.start(rig)
        index, base = struct.unpack("=II", rig.front.ask(fe.GET_VRING_BASE, struct.pack("=II", 0, 0)))
        self.assertEqual((index, base), (0, 0), "a message that was not finished counts as not seen")
        self.assertIsNone(rig.inflate.wait(0.1))
        calls = device.counters()["discard_calls"]
        # now a short one in its place
        page = rig.ram[0].gpa >> 12
        message = bitmap([page])
        rig.front.write(BUFFER, message)
        rig.inflate.put_desc(0, BUFFER, len(message), fe.NEXT, 1)
        rig.inflate.set_up(base=base)
        self.assertEqual(rig.inflate.wait(), (0, 16))
        self.assertEqual(device.counters()["discard_calls"], calls + 1)

    # VBB-MSG-03
    def test_memory_changes_in_the_middle(self):
        device = self.device()
        rig = self.big(device)
        self.start(rig)
        rig.front.share(rig.front.regions[:1])
        self.assertEqual(rig.inflate.wait(20)[1], 16)
        result = struct.unpack("<QHHI", rig.front.read(BUFFER + BUFFER_LEN - 4096, 16))
        self.assertEqual(result, (0, PARTIAL, 12, 0))
        self.assertLess(device.counters()["discard_calls"], self.NR)

    def test_gone_in_the_middle(self):
        device = self.device()
        rig = self.big(device)
        self.start(rig)
        rig.front.close()
        self.alive(device)

    def test_memory_goes_in_the_middle(self):
        device = self.device()
        rig = self.big(device)
        self.start(rig)
        os.ftruncate(rig.low.fd, 0)
        self.assertTrue(rig.front.ended())
        self.alive(device)

    def test_sigterm_in_the_middle(self):
        device = self.device()
        self.start(self.big(device))
        device.stop(1)

    def test_long_discard_is_cut(self):
        """One run of 3 GiB: pieces of 16 MiB, whose borders are those of huge pages."""
        device = self.device()
        rig = self.big(device)
        first = (rig.ram[0].gpa >> 12) + 1
        self.assertEqual(rig.send(rig.inflate, records(*extent(first, 3 << 18)))[1], (3 << 18, OK, 12, 0))
        self.assertEqual(device.counters()["discard_calls"], 193)


class Balloon(Case):
    """Configuration space and QMP: what the host asks, and what the guest says."""

    def test_target_and_actual(self):
        device = self.device("--ram", "1G")
        rig = self.rig(device)
        self.assertEqual(rig.front.config(), (0, 0))
        self.assertEqual(device.actual_len(), 1 << 30)
        device.qmp.execute("balloon", value=(1 << 30) - 5 * 4096)
        self.assertEqual(rig.front.config_changes(), 1)
        self.assertEqual(rig.front.config(), (5, 0))
        self.assertEqual(device.counters()["last_balloon_ns"], 0)
        rig.front.set_actual(5)
        event = device.qmp.wait_event("BALLOON_CHANGE", 5)
        self.assertEqual(event, {"actual": (1 << 30) - 5 * 4096})
        self.assertEqual(device.actual_len(), (1 << 30) - 5 * 4096)
        self.assertEqual(rig.front.config(), (5, 5))
        self.assertGreater(device.counters()["last_balloon_ns"], 0)
        # more than there is: nothing to give
        device.qmp.execute("balloon", value=1 << 60)
        self.assertEqual(rig.front.config(), (0, 5))

    def test_ram_is_what_is_shared(self):
        device = self.device()
        with self.assertRaises(QmpError):
            device.actual_len()
        rig = self.rig(device)
        ram_len = sum(region.len for region in rig.front.regions)
        self.assertEqual(device.actual_len(), ram_len)
        device.qmp.execute("balloon", value=ram_len - 8 * MIB)
        self.assertEqual(rig.front.config(), (2048, 0))

    def test_events_are_few(self):
        """Soon where the target is reached, else one a second."""
        device = self.device("--ram", "1G")
        rig = self.rig(device)
        device.qmp.execute("balloon", value=(1 << 30) - 500 * 4096)
        done = lambda data: data["actual"] == (1 << 30) - 500 * 4096
        # on a busy machine it can take a second without the device's doing
        for _ in range(10):
            begin = time.monotonic()
            for nr_pages in range(1, 501):
                rig.front.set_actual(nr_pages)
            seen = []
            self.assertTrue(device.qmp.wait_event("BALLOON_CHANGE", 60, lambda data: seen.append(data) or done(data)))
            elapsed = time.monotonic() - begin
            self.assertLessEqual(len(seen), 2 + elapsed)
            if elapsed < 0.9:
                break
        self.assertLess(elapsed, 0.9)
        # one that misses the target comes, if late
        rig.front.set_actual(499)
        self.assertEqual(device.qmp.wait_event("BALLOON_CHANGE", 5), {"actual": (1 << 30) - 499 * 4096})

    def test_target_again_and_again(self):
        """A guest that reaches it all the time floods nobody."""
        device = self.device("--ram", "1G")
        rig = self.rig(device)
        device.qmp.execute("balloon", value=(1 << 30) - 9 * 4096)
        begin = time.monotonic()
        for _ in range(200):
            rig.front.set_actual(9)
            rig.front.set_actual(8)
        rig.front.set_actual(7)
        seen = []
        self.assertTrue(device.qmp.wait_event("BALLOON_CHANGE", 60, lambda data: seen.append(data) or
                                              data == {"actual": (1 << 30) - 7 * 4096}))
        self.assertLessEqual(len(seen), 2 + 10 * (time.monotonic() - begin))

    def test_there_and_back(self):
        """What returns within the second to what was told last is told all the same, by a reset too."""
        device = self.device("--ram", "1G")
        rig = self.rig(device)
        device.qmp.execute("balloon", value=(1 << 30) - 9 * 4096)
        for back in (lambda: rig.front.set_actual(0), lambda: rig.front.request(fe.RESET_DEVICE)):
            rig.front.set_actual(9)
            self.assertEqual(device.qmp.wait_event("BALLOON_CHANGE", 5), {"actual": (1 << 30) - 9 * 4096})
            rig.front.set_actual(5)
            rig.front.set_actual(9)
            # on a slow machine 5 may be told as well
            self.assertTrue(device.qmp.wait_event("BALLOON_CHANGE", 5,
                                                  lambda data: data == {"actual": (1 << 30) - 9 * 4096}))
            back()
            self.assertEqual(device.qmp.wait_event("BALLOON_CHANGE", 5), {"actual": 1 << 30})
        # nothing new is nothing to tell
        rig.front.set_actual(0)
        self.assertIsNone(device.qmp.wait_event("BALLOON_CHANGE", 1.2))

    def test_asked_before_the_guest(self):
        """The wish stays, for this guest and the next; what the guest gave does not."""
        device = self.device()
        device.qmp.execute("balloon", value=LOW_LEN)
        rig = self.rig(device)
        self.assertEqual(rig.front.config(), (RAM_LEN >> 12, 0))
        rig.front.set_actual(7)
        self.wait_for(lambda: device.actual_len() == LOW_LEN + RAM_LEN - 7 * 4096)
        rig.front.close()
        again = self.rig(device)
        self.assertEqual(again.front.config(), (RAM_LEN >> 12, 0))

    def test_config_space(self):
        rig = self.rig(None, "--ram", "1G")
        self.assertEqual(rig.front.config(0, 256), (0,) * 64)
        # only actual is the driver's
        rig.front.request(fe.SET_CONFIG, struct.pack("=3I", 0, 12, 0) + struct.pack("<3I", 7, 8, 9))
        self.assertEqual(rig.front.config(0, 12), (0, 8, 0))
        rig.front.request(fe.SET_CONFIG, struct.pack("=3I", 5, 1, 0) + b"\x01")
        self.assertEqual(rig.front.config(), (0, 0x108))
        for off, length in ((0, 257), (256, 1), (0xffffffff, 2), (250, 7)):
            payload = struct.pack("=3I", off, length, 0) + bytes(min(length, 256))
            self.assertEqual(rig.front.ask(fe.GET_CONFIG, payload), b"")
            with self.assertRaises(Refused):
                rig.front.request(fe.SET_CONFIG, payload)

    def test_reset_empties_the_balloon(self):
        for request in (lambda front: front.request(fe.RESET_DEVICE), lambda front: front.request(fe.RESET_OWNER),
                        lambda front: front.request(fe.SET_STATUS, bytes(8))):
            rig = self.rig(None, "--ram", "1G")
            rig.front.set_actual(9)
            request(rig.front)
            self.assertEqual(rig.device.actual_len(), 1 << 30)
            # the rings are the guest's again
            rig.inflate.add([(BUFFER, 64)])
            rig.inflate.kick()
            self.assertIsNone(rig.inflate.wait(0.1))


class Captures(Case):
    """What goes over the queues, in a file."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="vbb-capture-")
        self.addCleanup(folder.cleanup)
        self.path = os.path.join(folder.name, "capture.pcapng")

    def packets(self, rig):
        """What is in the file: the device writes it before it looks for questions."""
        rig.device.counters()
        packets, _, complaint = wireshark.dump(self.vbb, self.path)
        self.assertEqual(complaint, "")
        return list(packets.values())

    def test_faults(self):
        """Each message that came, and the fault that the device counted; there before the device ends."""
        rig = self.rig(None, "--capture", self.path)
        sent = [v.data for v in map(vector.load, sorted((TESTS / "vectors").glob("*/*.hex")))
                if v.command == ["decode"] and not v.options and 0 < len(v.data) < MIB]
        for data in sent:
            rig.send(rig.deflate, data, cuts=(len(data) // 3, len(data) // 2))  # which discards nothing
        packets = self.packets(rig)
        self.assertEqual([(p["len"], p["in_len"]) for p in packets[::2]], [(len(data), 16) for data in sent])
        self.assertEqual({p["role"] for p in packets}, {"deflate"})
        faults = collections.Counter(p["fault"]["name"] for p in packets if "fault" in p)
        counters = rig.device.counters()
        self.assertEqual(faults, {name: count for name, count in counters["faults"].items() if count})
        self.assertGreater(len(faults), 10)
        for message, done in zip(packets[::2], packets[1::2], strict=True):
            self.assertEqual(message["id"], done["id"])
            self.assertEqual("fault" in message, done["result"]["status"] == MALFORMED)

    def test_modes(self):
        """What the driver has accepted says how its messages are to be read."""
        for features in (OLD, BITMAP, RECORDS):
            rig = self.rig(None, "--capture", self.path, features=features)
            message = pfns([1, 2, 3]) if features == OLD else bitmap([1, 2, 3])
            rig.send(rig.deflate, message)
            rig.send(rig.inflate, records(block(5)))
            first, *_, last = (p for p in self.packets(rig) if p["kind"] == "message")
            self.assertEqual((first["role"], first["nr_pages"], first["nr_runs"]), ("deflate", 3, 1))
            self.assertEqual((last.get("fault") or {}).get("name"), "FORMAT" if features == BITMAP else None)

    def test_cut(self):
        """A chain that is too long fills no disk, and is malformed by its header."""
        rig = self.rig(None, "--capture", self.path)
        rig.front.write(BUFFER, bitmap([1]))
        head = rig.inflate.add([(BUFFER, 2 * MIB), (BUFFER, 2 * MIB)], [(BUFFER + 2 * MIB, 16)])
        rig.inflate.kick()
        self.assertEqual(rig.inflate.wait(60), (head, 16))
        message, _ = self.packets(rig)
        self.assertEqual((message["len"], message["fault"]["name"]), (4 * MIB, "LEN"))
        self.assertLess(os.path.getsize(self.path), 1.1 * MIB)

    def test_cannot_write(self):
        """No disk space: said, and the device goes on without; no such folder: it does not begin."""
        device = self.device("--capture", "/dev/full")
        rig = Rig(device)
        self.assertEqual(rig.send(rig.inflate, bitmap([rig.ram[0].gpa // fe.PAGE_LEN])), (16, (1, OK, 12, 0)))
        self.assertEqual(rig.send(rig.deflate, bitmap([rig.ram[0].gpa // fe.PAGE_LEN])), (16, (1, OK, 12, 0)))
        rig.close()
        device.process.terminate()
        self.assertEqual(device.wait(60), 74)
        said = pathlib.Path(device.log).read_text(encoding="utf-8").splitlines()
        self.assertEqual([line[:28] for line in said], ["vbb: /dev/full: cannot write"])
        with tempfile.TemporaryDirectory() as folder:
            done = subprocess.run([self.vbb, "device", "--socket", f"{folder}/a", "--qmp", f"{folder}/b", "--capture",
                                   f"{folder}/c/d"], capture_output=True, text=True, timeout=60, check=False)
            self.assertEqual((done.returncode, done.stderr), (74, f"vbb: {folder}/c/d: No such file or directory\n"))
            self.assertEqual(os.listdir(folder), [])


if __name__ == "__main__":
    main(__name__)
