# SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause
"""Tests of what the host asks of our driver; test_guest.py runs them.

Host is the host's side by the wire format's definition, without the library: it asks what it is
told to, right or wrong, and keeps what is answered.
"""

import array
import random
import re
import struct
import time

import hostile
from harness import CommandError, MIB, PAGE_LEN
from tap import Failure, alone, check, poll, safe
from umlguest import own_time

GET_UNUSED_PAGES, DROP_CACHE, CANCEL = range(3)
CONT, DONE, UNSUPPORTED, BUSY, CANCELLED, FAILED = range(6)
BITMAP, RECORDS, VALUES = range(3)

MIB_PAGES = MIB // PAGE_LEN
NR_MESSAGES = 4  # that the driver has to name pages in

FEATURES = (hostile.F_VERSION_1, hostile.F_PAGE_BITMAP, hostile.F_PAGE_RECORDS,
            hostile.F_HOST_REQ_VQ)


def ranges_of(fmt, start_pfn, payload):
    """The runs of pages that a message names."""
    if fmt == BITMAP:
        bits = int.from_bytes(payload, "little")
        return bit_ranges(bits, start_pfn, 0)
    ranges, i = [], 0
    words = struct.unpack(f"<{len(payload) // 8}Q", payload)
    while i < len(words):
        pfn, order, code = words[i] & (1 << 52) - 1, words[i] >> 52 & 63, words[i] >> 58
        i += 1
        if code == 0:
            ranges.append((pfn, 1 << order))
        elif code == 63:
            ranges.append((pfn, words[i]))
            i += 1
        else:
            bits = sum(word << 64 * k for k, word in enumerate(words[i:i + code]))
            ranges += bit_ranges(bits, pfn, order)
            i += code
    return ranges


def bit_ranges(bits, pfn, order):
    """The runs of set bits, each of which is 2^order pages."""
    ranges, at = [], 0
    while bits:
        zeros = (bits & -bits).bit_length() - 1
        bits >>= zeros
        at += zeros
        ones = (~bits & bits + 1).bit_length() - 1
        ranges.append((pfn + (at << order), ones << order))
        bits >>= ones
        at += ones
    return ranges


class Answer:
    """What the driver has said to a request so far."""

    def __init__(self, cmd, req_id):
        self.cmd, self.req_id = cmd, req_id
        self.flag = CONT
        self.ranges, self.values = [], []
        self.nr_messages = 0
        self.formats = set()

    def pages(self):
        """The pages named; none is named twice."""
        pages = set()
        for pfn, nr_pages in self.ranges:
            pages.update(range(pfn, pfn + nr_pages))
        safe(len(pages) == self.nr_pages(), "pages are named twice")
        return pages

    def nr_pages(self):
        return sum(nr_pages for _, nr_pages in self.ranges)


class Host:
    """The host's end of the host_request queue of a HostileDevice."""

    def __init__(self, device, queue=2):
        self.device, self.queue = device, queue
        self.answers = {}
        self.strays = []
        self.next_id = 1
        # Which messages are read and kept, with their buffers: none, those with payload, all
        self.keeps = lambda payload: False
        self.kept = []
        self.decodes = True
        # Called with each Answer to which something came
        self.heard = lambda answer: None
        device.policy = self.arrive

    def arrive(self, chain):
        if chain.queue < 2:
            self.device.answer(chain)
        elif chain.queue == self.queue and not chain.room:
            if self.keeps(len(chain.out) > 32):
                self.kept.append(chain)
            else:
                self.device.use(chain, length=0)
            self.read(chain.out)

    def release(self):
        """Keeps nothing any more."""
        with self.device.changed:
            self.keeps = lambda payload: False
            for chain in self.kept:
                if chain in self.device.chains:
                    self.device.use(chain, length=0)
            self.kept = []

    def read(self, message):
        cmd, shift, flag, fmt, req_id, start_pfn, length = struct.unpack_from("<4H3Q", message)
        payload = message[32:]
        answer = self.answers.get(req_id)
        if answer is None or answer.cmd != cmd or answer.flag != CONT or length != len(payload) \
                or shift != 12 or bool(payload) != (flag == CONT):
            self.strays.append(message)
            return
        answer.flag = flag
        answer.nr_messages += 1
        if fmt == VALUES:
            answer.values += struct.unpack(f"<{length // 8}Q", payload)
        elif payload and self.decodes:
            answer.formats.add(fmt)
            answer.ranges += ranges_of(fmt, start_pfn, payload)
        self.heard(answer)

    def parked(self):
        return [chain for chain in self.device.chains if chain.queue == self.queue and chain.room]

    def send(self, content, length, timeout=60):
        """Uses a parked buffer with any content."""
        check(self.device.wait(self.parked, timeout), "no buffer is parked")
        with self.device.changed:
            self.device.use(self.parked()[0], content, length)

    def ask(self, cmd, arg0=0, arg1=0):
        """Makes a request and returns its Answer."""
        with self.device.changed:
            answer = Answer(cmd, self.next_id)
            self.answers[self.next_id] = answer
            self.next_id += 1
        length = 32 if arg0 or arg1 else 16
        self.send(struct.pack("<4H3Q", cmd, 0, 0, 0, answer.req_id, arg0, arg1)[:length], length)
        return answer

    def end(self, answer, timeout=60):
        """Waits for the end of a request and returns its flag; CONT where none came."""
        self.device.wait(lambda: answer.flag != CONT, timeout)
        return answer.flag

    def served(self, answer):
        """Waits until the driver is at a request, and has to wait itself."""
        self.expect(BUSY, GET_UNUSED_PAGES)
        check(answer.flag == CONT, f"it ends with {answer.flag}")

    def call(self, cmd, arg0=0, arg1=0):
        answer = self.ask(cmd, arg0, arg1)
        self.end(answer)
        return answer

    def expect(self, flag, cmd, arg0=0, arg1=0):
        answer = self.call(cmd, arg0, arg1)
        check(answer.flag == flag,
              f"request {cmd}({arg0:#x}, {arg1:#x}) ends with {answer.flag}, not {flag}")
        return answer

    def keep(self, count, *window):
        """Keeps so many of the messages that the driver has."""
        self.keeps = lambda payload: payload
        for _ in range(count):
            self.expect(DONE, GET_UNUSED_PAGES, *window)
        check(len(self.kept) == count, f"{len(self.kept)} messages for {count} answers")

    def stall(self):
        """Returns an open request for whose answer the driver has no message left."""
        self.keep(NR_MESSAGES)
        return self.ask(GET_UNUSED_PAGES)


def begin(rig, driver, features=FEATURES, hold_mib=32, **guest):
    """A guest with its driver loaded; returns the host's side."""
    offered = set(features) & {1, 3, 5}
    host = Host(rig.start_hostile(features), 2 + len(offered))
    rig.start_guest(**guest)
    rig.guest.hold(mib=hold_mib)
    rig.load(driver)
    return host


def finish(rig, host):
    """Ends a test after which the driver still works."""
    check(not host.strays, f"{len(host.strays)} stray answers: {host.strays[:3]}")
    rig.unload()
    rig.intact()
    rig.finish()


def counters(rig):
    text = rig.guest.sh(f"cat /sys/kernel/debug/{rig.driver.name}/virtio*")
    return {name: int(value) for name, value in (line.split() for line in text.splitlines())}


def nr_free(rig):
    return int(re.search(r"nr_free_pages (\d+)", rig.guest.cat("/proc/vmstat"))[1])


LRU, BUDDY, ANON, SWAPBACKED = 1 << 5, 1 << 10, 1 << 12, 1 << 14  # of /proc/kpageflags


def page_flags(rig):
    """What the kernel itself says of each page frame; User Mode Linux leaves out the last ones."""
    path = rig.log.with_suffix(".kpageflags")
    path.write_bytes(b"")
    rig.guest.sh(f"dd if=/proc/kpageflags of=/host{path.resolve()} bs=1M 2>/dev/null")
    flags = array.array("Q", path.read_bytes())
    path.unlink()
    return flags


def free_pages(flags):
    return {pfn for pfn, entry in enumerate(flags) if entry & BUDDY}


def held_pages(flags):
    """Pages of files in the guest's memory."""
    return {pfn for pfn, entry in enumerate(flags)
            if entry & (LRU | ANON | SWAPBACKED) == LRU | SWAPBACKED}


def unused(rig, driver, **guest):
    """The pages named are the kernel's free ones, and no others."""
    host = begin(rig, driver, **guest)
    for _ in range(3):
        flags, free = page_flags(rig), nr_free(rig)
        answer = host.expect(DONE, GET_UNUSED_PAGES)
        flags = [flags, page_flags(rig)]
        named = answer.pages()
        check(free * 97 // 100 <= len(named) <= free * 101 // 100,
              f"{len(named)} pages are named, {free} are free")
        check({("bitmap", "records")[fmt] for fmt in answer.formats} <= set(driver.formats),
              f"formats {answer.formats}")
        free = free_pages(flags[0]) & free_pages(flags[1])
        missed = free - named
        check(len(missed) <= 64, f"of {len(free)} free pages {len(missed)} are not named")
        held = held_pages(flags[0]) & held_pages(flags[1])
        # memory at a random place has a part of which the kernel shows no flags, as much as all that is held
        check(len(held) * PAGE_LEN > rig.guest.held_len // 2 or guest.get("random_base"),
              f"only {len(held)} pages are held")
        safe(not named & held, f"{len(named & held)} pages that a program holds are named")
        in_use = {pfn for pfn, (a, b) in enumerate(zip(*flags)) if not (a | b) & BUDDY}
        safe(len(named & in_use) <= 64, f"{len(named & in_use)} pages in use are named")
    finish(rig, host)


# VBB-DRV-21
def taken(rig, driver):
    """What is taken after one answer is not in the next; and memory is in motion meanwhile."""
    host = begin(rig, driver)
    before = host.expect(DONE, GET_UNUSED_PAGES).pages()
    rig.guest.hold(mib=300)
    held = held_pages(page_flags(rig))
    check(len(held & before) > 200 * MIB_PAGES, "the pages taken are not those named before")
    for _ in range(3):
        churn = rig.guest.start(f"fill {(rig.flavour.mem_mib - 400) // 2}")
        for _ in range(10):
            named = host.expect(DONE, GET_UNUSED_PAGES).pages()
            safe(not named & held, f"{len(named & held)} pages that a program holds are named")
        rig.guest.finish(churn, rig.timeout)
    rig.guest.hold(mib=32)
    finish(rig, host)


def windows(rig, driver):
    """An answer keeps to the window, at both ends and to the page."""
    host = begin(rig, driver)
    first, nr_pages = max(host.expect(DONE, GET_UNUSED_PAGES).ranges, key=lambda run: run[1])
    # away from the ends, where the kernel takes pages from it
    first, nr_pages = first + nr_pages // 4, nr_pages // 2
    generator = random.Random(1)
    tries = [(first, nr_pages), (first + 1, nr_pages - 2), (first + 1023, 2), (first + 77, 1)]
    tries += [(first + generator.randrange(nr_pages // 2), generator.randrange(1, nr_pages // 2))
              for _ in range(50)]
    for start, count in tries:
        got = sorted(host.expect(DONE, GET_UNUSED_PAGES, start, count).ranges)
        check(got == [(start, count)], f"window {start}+{count}: {got[:10]}")
    top = (1 << 64) - 1
    for start, count in ((1 << 52, 0), (top, 0), (top, top), (1 << 63, 1 << 63), (rig.mem_len, 1)):
        got = host.expect(DONE, GET_UNUSED_PAGES, start, count).ranges
        check(not got, f"window {start}+{count}: {got[:10]}")
    whole = host.expect(DONE, GET_UNUSED_PAGES).nr_pages()
    for start, count in ((0, top), (0, top // PAGE_LEN)):
        got = host.expect(DONE, GET_UNUSED_PAGES, start, count).nr_pages()
        check(abs(got - whole) < 512, f"window {start}+{count}: {got} pages, not {whole}")
    rest = host.expect(DONE, GET_UNUSED_PAGES, first).ranges
    check(min(rest)[0] == first, f"from {first} on: {sorted(rest)[:3]}")
    # a window inside a block in use, and one across many of both
    for start in range(0, rig.mem_len // PAGE_LEN, 40009):
        got = host.expect(DONE, GET_UNUSED_PAGES, start, 40009).ranges
        check(all(start <= pfn and pfn + count <= start + 40009 for pfn, count in got),
              f"window {start}+40009: {got[:3]}")
    finish(rig, host)


# VBB-DRV-10
def waiting_drop(host):
    """A request to drop caches that waits, as they were dropped a moment ago."""
    for _ in range(10):
        host.expect(DONE, DROP_CACHE, 1, 1)
        answer = host.ask(DROP_CACHE, 3)
        if host.call(GET_UNUSED_PAGES).flag == BUSY and answer.flag == CONT:
            return answer
        # on a busy machine a second goes by quickly
        host.end(answer)
    raise Failure("no drop has to wait")


def busy(rig, driver):
    """One request at a time; a CANCEL at any time; each ends once."""
    host = begin(rig, driver)
    begin_time = time.monotonic()
    for _ in range(2):
        host.expect(DONE, DROP_CACHE, 1, 1)
    check(time.monotonic() - begin_time > 0.9, "caches are dropped twice in a second")
    cancel = None
    while cancel is None or cancel.flag == FAILED:
        first = waiting_drop(host)
        cancel = host.call(CANCEL, first.req_id)
    check(host.end(first) == CANCELLED, f"what was cancelled ends with {first.flag}")
    host.expect(FAILED, CANCEL, first.req_id)

    second = host.stall()
    host.served(second)
    host.expect(BUSY, DROP_CACHE, 3)
    host.expect(FAILED, CANCEL, 1 << 63)
    host.send(struct.pack("<4H3Q", GET_UNUSED_PAGES, 0, 0, 0, second.req_id, 0, 0), 16)
    host.expect(DONE, CANCEL, second.req_id)
    check(host.end(second) == CANCELLED, f"what was cancelled ends with {second.flag}")
    host.release()
    host.expect(DONE, GET_UNUSED_PAGES)
    now = counters(rig)
    flags = [answer.flag for answer in host.answers.values()]
    for flag, name in ((DONE, "done"), (BUSY, "busy"), (CANCELLED, "cancelled"), (FAILED, "failed")):
        check(now[f"answers_{name}"] == flags.count(flag), f"{flags.count(flag)} {name}: {now}")
    check(now["request_fault_REQ_OPEN"] == 1 and now["requests_cancel"] == 2, f"counters {now}")
    finish(rig, host)


def stalled(rig, driver):
    """A host that keeps all messages: the walk waits, and goes on when one comes back."""
    host = begin(rig, driver)
    answer = host.stall()
    host.served(answer)
    check(not answer.ranges, "there was a message left")
    host.release()
    check(host.end(answer) == DONE, f"it ends with {answer.flag}")
    check(answer.nr_pages() > nr_free(rig) * 97 // 100, f"{answer.nr_pages()} pages are named")
    finish(rig, host)


def request(cmd=GET_UNUSED_PAGES, reserved=(0, 0, 0), req_id=1000, arg0=0, arg1=0):
    return struct.pack("<4H3Q", cmd, *reserved, req_id, arg0, arg1)


# VBB-DRV-07, VBB-DRV-08, VBB-DRV-19
def malformed(rig, driver):
    """Whatever a buffer holds, it is parked anew, counted, and answered if it has an id."""
    host = begin(rig, driver)
    bad_len, bad_id = "request_fault_LEN", "request_fault_REQ_ID"
    top = (1 << 32) - 1
    tries = [(request(), length, FAILED, bad_len) for length in (17, 24, 31, 33, 4096, 1 << 31, top)]
    tries += [(request(), length, None, bad_len) for length in (0, 1, 8, 15)]
    tries += [(request(req_id=0), length, None, bad_id) for length in (16, 32)]
    tries += [(request(reserved=words), length, FAILED, "request_fault_RESERVED")
              for words in ((1, 0, 0), (0, 1 << 15, 0), (0, 0, 1)) for length in (16, 32)]
    tries += [(request(cmd), length, UNSUPPORTED, "requests_unknown")
              for cmd in (3, 4, 0x100, 0xffff) for length in (16, 32)]
    tries += [(request(DROP_CACHE, arg0=mode), 32, FAILED, "request_fault_REQ_ARG")
              for mode in (4, 7, 1 << 63)]
    tries += [(request(CANCEL, arg0=1, arg1=1), 32, FAILED, "request_fault_REQ_ARG"),
              (request(CANCEL), 16, FAILED, "requests_cancel_none")]
    random.Random(1).shuffle(tries)
    expected = {}
    for content, length, flag, name in tries:
        answer = Answer(struct.unpack_from("<H", content)[0], 1000)
        host.answers = {1000: answer} if flag else {}
        expected[name] = expected.get(name, 0) + 1
        host.send(content, length)
        if flag:
            check(host.end(answer) == flag, f"{content.hex(' ')}, {length} bytes: {answer.flag}")
        host.answers = {}
        host.expect(DONE, GET_UNUSED_PAGES, 0, 1)
    now = counters(rig)
    check(all(now.get(name) == count for name, count in expected.items()),
          f"the counters say {now}, not {expected}")
    check(host.device.wait(lambda: len(host.parked()) == 4, 10), "a buffer is not parked anew")
    finish(rig, host)


# VBB-DRV-07, VBB-DRV-08, VBB-DRV-13
def thousand(rig, driver):
    """A thousand requests, each the moment that there is a buffer for it; each field is as chance has it.

    On the debug kernel allocations fail meanwhile.
    """
    host = begin(rig, driver)
    generator = random.Random(1)
    top = (1 << 64) - 1
    numbers = (0, 1, 2, 3, 0x1000, 1 << 31, 1 << 32, 1 << 51, 1 << 52, 1 << 63, top - 1, top)
    sent = 0

    def more(_=None):
        """Called with the device's lock held."""
        nonlocal sent
        for _ in host.parked()[:1000 - sent]:
            pick = lambda: generator.choice((generator.choice(numbers), generator.getrandbits(64)))
            reserved = generator.choice(((0, 0, 0), (0, 0, 0), (pick() & 0xffff, 0, 1)))
            content = request(generator.choice((0, 0, 1, 2, 2, 3, pick() & 0xffff)), reserved, pick(), pick(), pick())
            sent += 1
            host.device.use(host.parked()[0], content,
                            generator.choice((16, 32, 32, 32, generator.randrange(64), pick() & 0xffffffff)))

    def arrive(chain):
        """Takes each answer at once, and asks anew."""
        if chain.queue < 2:
            host.device.answer(chain)
            return
        if not chain.room:
            host.device.use(chain, length=0)
        more()

    if rig.flavour.name == "debug":
        rig.inject("failslab", times=-1)
        rig.inject("fail_page_alloc", **{"ignore-gfp-highmem": "N", "min-order": 0, "times": -1})
        fail_often(rig, 20)
    with host.device.changed:
        host.device.policy = arrive
        more()
    check(host.device.wait(lambda: sent == 1000, rig.timeout), f"the driver stops after {sent} requests")
    check(host.device.wait(lambda: len(host.parked()) == 4, rig.timeout), "a buffer is not parked anew")
    rig.lives()
    if rig.flavour.name == "debug":
        fail_often(rig, 0)
    host.device.policy = host.arrive
    # an id that none has; whatever is still open ends
    host.next_id = 1 << 40
    poll(lambda: host.call(GET_UNUSED_PAGES).flag == DONE, rig.timeout, "a request is served")
    now = counters(rig)
    faults = {name: count for name, count in now.items() if name.startswith("request_fault_") and count}
    check(len(faults) >= 4 and sum(faults.values()) < 1000, f"the driver counts {faults}")
    host.strays.clear()
    finish(rig, host)


# VBB-DRV-06
def ring_lies(rig, driver):
    """The device's half of the request queue is nonsense: the driver gives up, and goes when told to."""
    host = begin(rig, driver)
    device = host.device
    for lie in ("a head that is not outstanding", "a head past the ring", "one buffer twice", "an index that runs ahead",
                "an answer that was never sent"):
        host.expect(DONE, GET_UNUSED_PAGES)
        device.wait(lambda: len(host.parked()) == 4, rig.timeout)
        content = request(CANCEL, req_id=host.next_id, arg0=1)
        with device.changed:
            chain = host.parked()[0]
            if lie == "a head that is not outstanding":
                device.use(chain, content, 32, head=200)
            elif lie == "a head past the ring":
                device.use(chain, content, 32, head=0xfffffff0)
            elif lie == "one buffer twice":
                device.use(chain, content, 32)
                device.use(chain, content, 32)
            elif lie == "an index that runs ahead":
                device.set_used(host.queue, 1000)
            else:
                device.use(chain, b"", 0, head=(chain.head + 7) % 64)
        rig.lives()
        # the balloon has queues of its own
        device.set_target(16 * MIB_PAGES)
        check(device.wait(lambda: device.actual == 16 * MIB_PAGES, rig.timeout), f"{lie}: the balloon stays")
        device.set_target(0)
        check(device.wait(lambda: device.actual == 0, rig.timeout), f"{lie}: the balloon stays")
        rig.rmmod()
        rig.expect_returned(f"after {lie}")
        host.answers.clear()
        rig.insmod()
    host.expect(DONE, GET_UNUSED_PAGES)
    host.strays.clear()
    finish(rig, host)


# VBB-DRV-13
def flood(rig, driver):
    """A host that asks, and takes no answer: the driver forgets none, and reads no further."""
    host = begin(rig, driver)
    host.keeps = lambda payload: True
    answers = []
    while host.device.wait(host.parked, 2):
        answers.append(host.ask(CANCEL, 1 << 40))
        check(len(answers) <= 64, "the driver reads on and on")
    ended = sum(answer.flag == FAILED for answer in answers)
    check(len(answers) >= 8 and 0 < ended < len(answers), f"{ended} of {len(answers)} ended")
    host.release()
    for answer in answers:
        check(host.end(answer) == FAILED, f"a CANCEL ends with {answer.flag}")
    host.expect(DONE, GET_UNUSED_PAGES)
    finish(rig, host)


def storm(rig, driver):
    """Requests of all kinds as fast as can be, while the driver goes and comes."""
    host = begin(rig, driver)
    generator = random.Random(1)

    def again(_):
        """Called with the device's lock held; uses what is parked at once."""
        for _ in host.parked():
            cmd = generator.choice((GET_UNUSED_PAGES, GET_UNUSED_PAGES, DROP_CACHE, CANCEL, 9))
            arg0 = generator.choice((1, 3)) if cmd == DROP_CACHE else 0
            if cmd == CANCEL:
                arg0 = host.next_id - generator.randrange(1, 4)
            host.ask(cmd, arg0, 1 if cmd == DROP_CACHE else 0)

    host.heard = again
    for turn in range(12):
        host.device.wait(lambda: len(host.parked()) > 1, rig.timeout)
        seen = host.next_id
        with host.device.changed:
            again(None)
        check(host.device.wait(lambda: host.next_id > seen + 50, rig.timeout), "the storm ends")
        if turn % 2:
            rig.unbind()
            rig.guest.write(f"/sys/bus/virtio/drivers/{driver.name}/bind", "virtio0")
        else:
            rig.rmmod()
            rig.insmod()
        # What was open is closed by the reset, and its answers never come.
        host.answers.clear()
    host.heard = lambda answer: None
    host.device.wait(lambda: len(host.parked()) == 4, rig.timeout)
    host.strays.clear()
    host.expect(DONE, GET_UNUSED_PAGES)
    finish(rig, host)


# VBB-DRV-20
def goes(rig, driver, how, doing):
    """The driver, or its device, goes in the middle of a walk or a drop; or the guest sleeps."""
    host = begin(rig, driver)
    if doing == "walk":
        # an answer is on its way, and more is owed that there is no message for
        rig.guest.scatter(32)
        whole = host.expect(DONE, GET_UNUSED_PAGES)
        check(whole.nr_messages > 2, "all pages are named in one message")
    for state in how:
        if doing == "walk":
            host.keep(NR_MESSAGES - 1, whole.ranges[len(whole.ranges) // 2][0], 4096)
            answer = host.ask(GET_UNUSED_PAGES)
            check(host.device.wait(lambda: answer.nr_messages, rig.timeout), "no page is named")
            host.served(answer)
        else:
            answer = waiting_drop(host)
        nr_messages = answer.nr_messages
        if state == "death":
            rig.device.close()
            rig.guest.unpin()
            rig.gone()
            return
        if state == "rmmod":
            rig.guest.unpin()
            rig.rmmod()
            rig.expect_returned("with the module unloaded")
            rig.insmod()
        elif state == "rebind":
            rig.unbind()
            rig.guest.write(f"/sys/bus/virtio/drivers/{driver.name}/bind", "virtio0")
        else:
            rig.guest.sleep(state)
        host.kept = []
        host.release()
        host.expect(DONE, GET_UNUSED_PAGES)
        check(answer.nr_messages == nr_messages or doing == "drop", "an answer of before")
    rig.guest.unpin()
    finish(rig, host)


# VBB-DRV-18
def queues(rig, driver):
    """Where the queue is depends on what the device offers."""
    for choice in range(8):
        offered = [bit for i, bit in enumerate((1, 3, 5)) if choice >> i & 1]
        host = begin(rig, driver, (*FEATURES, *offered))
        host.expect(DONE, GET_UNUSED_PAGES)
        rig.rmmod()
        rig.finish()
        host.device.close()


# VBB-DRV-11
def poison(rig, driver, append, flag):
    """A kernel that relies on what free pages contain names none."""
    host = begin(rig, driver, append=[append])
    for _ in range(3):
        answer = host.expect(flag, GET_UNUSED_PAGES)
        check(bool(answer.ranges) == (flag == DONE), f"{len(answer.ranges)} runs are named")
    # which is no reason to refuse anything else
    host.expect(DONE, DROP_CACHE, 1)
    rig.unload()
    rig.finish()


@alone
@alone
def pressure(rig, driver):
    """Requests are served while the guest has hardly any memory, and while it gets none."""
    host = begin(rig, driver)
    rig.guest.hold(rig.guest.free_len() // MIB + 32 - 48, timeout=rig.timeout)
    churn = rig.guest.start("fill 64")
    for _ in range(20):
        host.expect(DONE, GET_UNUSED_PAGES)
    rig.guest.finish(churn, rig.timeout)
    rig.intact()
    short_locks(rig, host, 128)
    rig.guest.hold(32)
    if rig.flavour.name == "debug":
        rig.inject("failslab", times=-1)
        rig.inject("fail_page_alloc", **{"ignore-gfp-highmem": "N", "min-order": 0, "times": -1})
        fail_often(rig, 50)
        for _ in range(50):
            host.expect(DONE, GET_UNUSED_PAGES)
            host.expect(FAILED, CANCEL, 1)
        fail_often(rig, 0)
    finish(rig, host)


def fail_often(rig, percent):
    """So many of the kernel's allocations fail; saying so needs memory, too."""
    def said(what):
        try:
            rig.guest.write(f"/sys/kernel/debug/{what}/probability", str(percent))
            return True
        except CommandError:
            return False

    for what in ("fail_page_alloc", "failslab"):
        poll(lambda what=what: said(what), 60, f"{what} at {percent} %")


def short_locks(rig, host, mib):
    """No zone's lock is held long.

    All memory is walked, in windows of so many MiB: as large as they may be for the host to leave
    the guest its CPU meanwhile.
    """
    most_ns, longest_ns, nr_counted, nr_not = 200000, 0, 0, 0
    nr_pages = mib * MIB_PAGES
    for first in range(0, rig.mem_len // PAGE_LEN, nr_pages):
        lock_ns, nr = own_time(
            rig.guest, most_ns, lambda: host.expect(DONE, GET_UNUSED_PAGES, first, nr_pages),
            lambda: counters(rig)["walk_last_lock_ns_max"])
        nr_not += nr
        if lock_ns is not None:
            longest_ns = max(longest_ns, lock_ns)
            nr_counted += 1
    print(f"# the longest lock of {nr_counted} walks: {longest_ns / 1000:.0f} us; {nr_not} with the "
          "host's time in them are not counted", flush=True)
    if rig.flavour.name == "release":
        check(nr_counted, "the host leaves the guest no time")
        check(longest_ns <= most_ns, f"{longest_ns} ns under a lock")


def cancelled_walking(rig, host, whole):
    """A CANCEL with the first message: the walk ends within a step, and no page is named after.

    whole: the answer to a walk that came to its end.
    """
    # Of four messages two are kept, so that the walk cannot come to its end unheard.
    check(whole.nr_messages > 3, f"a walk needs {whole.nr_messages} messages only")
    for _ in range(10):
        heard = []

        def cancel(answer):
            heard.append((answer.cmd, answer.flag))
            if len(heard) == 1:
                host.ask(CANCEL, answer.req_id)

        host.keep(2, *max(whole.ranges, key=lambda run: run[1]))
        host.heard = cancel
        host.expect(CANCELLED, GET_UNUSED_PAGES)
        check(host.device.wait(lambda: (CANCEL, DONE) in heard, 10), "the CANCEL is not answered")
        host.heard = lambda answer: None
        host.release()
        heard = heard[heard.count((GET_UNUSED_PAGES, CONT)):]
        check(sorted(heard) == [(GET_UNUSED_PAGES, CANCELLED), (CANCEL, DONE)],
              f"with the CANCEL come {heard}")
    late = counters(rig)["walk_steps_late_max"]
    check(late <= 1, f"{late} steps ended after a CANCEL")


@alone
def fragmented(rig, driver):
    """Hundreds of thousands of free blocks: no lock is held long, and a CANCEL is heard at once."""
    release = rig.flavour.name == "release"
    rig.mem_len = (2048 if release else 1024) * MIB
    host = begin(rig, driver)
    rig.guest.fragment(2 if release else 8)
    free = nr_free(rig)
    answer = host.expect(DONE, GET_UNUSED_PAGES)
    check(free * 97 // 100 <= answer.nr_pages() <= free * 101 // 100,
          f"{answer.nr_pages()} pages are named, {free} are free")
    check(len(answer.ranges) > (200000 if release else 20000), f"only {len(answer.ranges)} runs")

    # What is named is not looked at here: the guest needs the CPU.
    host.decodes = False
    short_locks(rig, host, 128)
    if release:
        cancelled_walking(rig, host, answer)
    rig.guest.unpin()
    finish(rig, host)


# VBB-DRV-17
def drop(rig, driver):
    """The page cache is dropped to the page; the answer says how much that was."""
    host = begin(rig, driver)
    path = rig.log.with_suffix(".cached")
    path.write_bytes(bytes(20 * MIB))
    # this file system forgets a file that nobody has open
    rig.guest.sh(f"(exec 3</host{path.resolve()}; cat <&3; touch /tmp/read; sleep 9999)"
                 " >/dev/null 2>&1 &")
    poll(lambda: "read" in rig.guest.sh("ls /tmp"), rig.timeout, "the guest reads a file")
    path.unlink()

    def cached():
        return int(re.search(r"nr_file_pages (\d+)", rig.guest.cat("/proc/vmstat"))[1])

    at = cached()
    check(at > 48 * MIB_PAGES, f"only {at} pages are cached")
    for mode, limit in ((1, 1), (1, 1000), (3, 4097), (1, 0), (1, 0)):
        values = host.expect(DONE, DROP_CACHE, mode, limit).values
        before, at = at, cached()
        check(len(values) == 1 and abs(before - at - values[0]) < 64,
              f"the answer is {values}, {before - at} pages less are cached")
        check(values[0] == limit or not limit, f"{values[0]} pages are freed, not {limit}")
    # what is held is no cache
    check(at < 44 * MIB_PAGES, f"{at} pages are still cached")
    # There is no way to free only some of the slabs.
    host.expect(UNSUPPORTED, DROP_CACHE, 2, 1)
    check(len(host.expect(DONE, DROP_CACHE, 2).values) == 1, "nothing is said of slabs")
    rig.guest.sh("killall sleep")
    rig.unload()
    rig.finish()


def cases(flavour, driver):
    """All tests of a flavour: (name, function, arguments, what a guest needs)."""
    release = flavour.name == "release"
    for each in (driver, *(each for each in flavour.formats if each.formats != ("pfns",))):
        yield f"requests, {each.label}, unused", unused, (each,), {}
    yield ("requests, unused, memory at a random place", unused, (driver,),
           {"random_base": True})
    for test in (taken, windows, busy, stalled, malformed, thousand, ring_lies, flood, storm, queues, pressure,
                 fragmented, drop):
        yield f"requests, {test.__name__}", test, (driver,), {}
    for how in (("rmmod",), ("rebind",), ("death",), ("freeze", "mem")):
        for doing in ("walk", "drop"):
            yield f"requests, {', '.join(how)} in a {doing}", goes, (driver, how, doing), {}
    yield "requests, init_on_alloc=1", poison, (driver, "init_on_alloc=1", DONE), {}
    yield "requests, init_on_free=1", poison, (driver, "init_on_free=1", UNSUPPORTED), {}
    if not release:
        yield "requests, page_poison=1", poison, (driver, "page_poison=1", UNSUPPORTED), {}
