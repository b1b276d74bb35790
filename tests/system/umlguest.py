# SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause
"""Runs a User Mode Linux guest and the device that it talks to, and measures both from the host."""

import os
import pathlib
import re
import signal
import subprocess
import tempfile
import time

from harness import Child, HarnessError, LinuxGuest, MIB, Qmp


def memory_dir(need_len):
    """A folder whose file system can hold a guest's memory: tmpfs if there is room.

    A disk's file works as well, but its figures are those of the page cache.
    """
    tried = []
    for path in (os.environ.get("VBB_MEM_DIR"), "/dev/shm", tempfile.gettempdir()):
        if not path:
            continue
        try:
            vfs = os.statvfs(path)
        except OSError as error:
            tried.append(f"{path}: {error.strerror}")
            continue
        if vfs.f_flag & os.ST_NOEXEC:
            tried.append(f"{path}: mounted noexec")
        elif vfs.f_bavail * vfs.f_frsize < need_len:
            tried.append(f"{path}: {vfs.f_bavail * vfs.f_frsize // MIB} MiB free")
        else:
            return path
    raise HarnessError(f"no room for {need_len // MIB} MiB of guest memory ({'; '.join(tried)})")


class HaltError(HarnessError):
    """User Mode Linux aborted after its kernel had halted, as it sometimes does on a busy machine."""


class Guest(LinuxGuest):
    """A running guest.

    build: folder of a kernel build, initrd: the initial ramdisk, mem_mib: the guest's RAM,
    devices: sockets of balloon devices, append: more words for the kernel's command line,
    random_base: lets the host place the guest's memory, so page frame numbers begin anywhere,
    touched_mib: how much of the RAM will ever be touched, where it is less than all,
    log: where the console goes, else nowhere but to self.console.
    """

    def __init__(self, build, initrd, mem_mib=1024, devices=(), append=(), random_base=False,
                 touched_mib=None, log=None, boot_timeout=120):
        folder = tempfile.mkdtemp(prefix="vbb-guest-")
        self._mem_dir = memory_dir((touched_mib or mem_mib) * MIB)
        to_guest, commands = os.pipe()
        answers, from_guest = os.pipe()
        argv = [] if random_base else ["setarch", "-R"]
        argv += [pathlib.Path(build) / "linux", f"mem={mem_mib}M", f"initrd={initrd}",
                 "root=/dev/ram0", "rdinit=/init", f"uml_dir={folder}", "con=null",
                 "con0=null,fd:1", f"con1=fd:{to_guest},fd:{from_guest}", "vbb_tty=/dev/tty1"]
        argv += [f"virtio_uml.device={path}:5" for path in devices]
        argv += list(append)
        super().__init__(argv, folder, commands, answers, mem_mib * MIB, log, boot_timeout,
                         pass_fds=(to_guest, from_guest),
                         env={**os.environ, "TMPDIR": self._mem_dir})

    def _find_memory(self):
        """Guest memory is the one unlinked file that the kernel keeps open and that is so large."""
        for entry in pathlib.Path(f"/proc/{self.pid}/fd").iterdir():
            target = os.readlink(entry)
            if target.startswith(os.path.realpath(self._mem_dir)) \
                    and target.endswith(" (deleted)") and os.stat(entry).st_size >= self.mem_len:
                return [entry]
        return []

    def poweroff(self, timeout=60):
        try:
            super().poweroff(timeout)
        except HarnessError as error:
            if any("System halted" in line for line in self.console[-3:]):
                raise HaltError(str(error)) from None
            raise

    def preempted(self):
        """How often the host has taken the CPU away from the guest's kernel since it booted."""
        status = pathlib.Path(f"/proc/{self.pid}/status").read_text(encoding="ascii")
        return int(re.search(r"nonvoluntary_ctxt_switches:\s*(\d+)", status)[1])

    def sleep(self, state, timeout=60):
        """Sends the guest to sleep, "freeze" or "mem", and wakes it up."""
        nr_lines = len(self.console)
        command = self.start(f"write /sys/power/state {state}")
        self.wait_line("Freezing remaining freezable tasks", nr_lines, timeout)
        # Woken up too early it would not go to sleep at all.
        before, now = -1, self.cpu_seconds()
        while before != now:
            time.sleep(0.3)
            before, now = now, self.cpu_seconds()
        os.kill(self.pid, signal.SIGUSR1)
        self.finish(command, timeout)
        self.wait_line("PM: suspend exit", nr_lines, timeout)


def own_time(guest, most, action, took, tries=10):
    """A time that the guest takes for something, without what the host takes from it meanwhile.

    action() does it, and took() then says how long that took. Where the host has taken the CPU away
    the time is the host's, and it is done again. So it is where it took longer than most, up to
    three times: a hypervisor takes the CPU unseen, but not each time that the same is done. Returns
    the time, None where the host was in all of them, and in how many it was.
    """
    times, nr_preempted = [], 0
    while len(times) < 3 and nr_preempted < tries:
        before = guest.preempted()
        action()
        if guest.preempted() != before:
            nr_preempted += 1
            continue
        times.append(took())
        if times[-1] <= most:
            break
    return min(times, default=None), nr_preempted + max(len(times) - 1, 0)


class Device(Child):
    """A running device: `vbb device`, with a socket for the guest and one for QMP."""

    def __init__(self, vbb, options=(), log=None):
        folder = tempfile.mkdtemp(prefix="vbb-device-")
        self.socket = os.path.join(folder, "vhost")
        self.log = log or os.path.join(folder, "log")
        qmp = os.path.join(folder, "qmp")
        with open(self.log, "ab") as output:
            super().__init__([vbb, "device", "--socket", self.socket, "--qmp", qmp, *options],
                             folder, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
        try:
            self.qmp = Qmp(qmp)
        except (HarnessError, OSError) as error:
            said = pathlib.Path(self.log).read_text(errors="replace")
            self.kill()
            raise HarnessError(f"the device does not start: {error}\n{said}") from None

    def counters(self):
        return self.qmp.execute("x-query-balloon-counters")

    def actual_len(self):
        """Bytes that the guest has left, as the device knows it."""
        return self.qmp.execute("query-balloon")["actual"]

    def stop(self, timeout=10):
        """SIGTERM must end the device with status 0."""
        self.process.terminate()
        status = self.wait(timeout)
        said = pathlib.Path(self.log).read_text(errors="replace")
        self.kill()
        if status:
            raise HarnessError(f"the device ended with status {status}\n{said}")

    def kill(self):
        super().kill()
        if hasattr(self, "qmp"):
            self.qmp.close()
