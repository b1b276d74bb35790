# SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause
"""Runs Debian's stock kernel in QEMU, with a balloon of QEMU's, and measures from the host."""

import os
import pathlib
import re
import socket
import tempfile
import time

from harness import HarnessError, LinuxGuest, MIB, Qmp

BALLOON = "/machine/peripheral/balloon"
# In an order in which each finds what it needs.
BASE_MODULES = ("virtio_ring", "virtio", "virtio_pci_modern_dev", "virtio_pci_legacy_dev",
                "virtio_pci", "button")


class Guest(LinuxGuest):
    """A running guest.

    kernel: a folder of stock-kernel, image: vmlinux boots in half the time, but is loaded anew over
    a sleeping kernel, initrd: the initial ramdisk, files: what of the host's files the guest has,
    too (modules), mem_mib: the guest's RAM, in equal parts for each of the nodes, device: the
    balloon device and its properties, none where it is empty, append: more words for the kernel's
    command line, arguments: more for QEMU, incoming: where a guest migrates from, that is then
    continued by arrive(), accel, cpu: what runs it, and what it sees of that, in_file: whether its
    memory is a file of the host's, else it is what QEMU takes by default, log: where the console
    goes, else nowhere but to self.console.
    """

    def __init__(self, kernel, initrd, files=(), mem_mib=512, cpus=1, nodes=1,
                 device="virtio-balloon-pci", append=(), arguments=(), image="vmlinux",
                 incoming=None, qemu="qemu-system-x86_64", accel="tcg,thread=multi", cpu="max",
                 in_file=True, log=None, boot_timeout=120):
        kernel = pathlib.Path(kernel)
        self._incoming = incoming
        self._in_file = in_file
        self.qmp = None
        paths = [kernel / "modules" / f"{name}.ko" for name in BASE_MODULES]
        # a newer kernel has some of them in itself
        self._modules = [path for path in paths if path.exists()]
        folder = tempfile.mkdtemp(prefix="vbb-guest-")
        self._qmp_path = os.path.join(folder, "qmp")
        ramdisk = os.path.join(folder, "initrd")
        first = pathlib.Path(initrd).read_bytes()
        pathlib.Path(ramdisk).write_bytes(first + bytes(-len(first) % 4) +
                                          archive([*self._modules, *files]))
        ours, theirs = socket.socketpair()
        argv = [qemu, "-nodefaults", "-no-user-config", "-display", "none", "-M", "pc",
                "-accel", accel, "-cpu", cpu, "-m", f"{mem_mib}M",
                "-smp", f"{cpus},sockets={nodes}",
                "-kernel", kernel / image, "-initrd", ramdisk, "-append",
                " ".join(["console=ttyS0", "vbb_tty=/dev/ttyS1", "printk.time=0", "panic=-1",
                          "no_console_suspend", "nowatchdog",
                          # the kernel gives up where the host does not run it for some ticks
                          "no_timer_check", "rcupdate.rcu_cpu_stall_suppress=1", *append]),
                "-action", "reboot=shutdown",
                "-chardev", "stdio,id=console,signal=off", "-serial", "chardev:console",
                "-chardev", f"socket,id=agent,fd={theirs.fileno()}", "-serial", "chardev:agent",
                "-chardev", f"socket,id=qmp,path={self._qmp_path},server=on,wait=off",
                "-mon", "chardev=qmp,mode=control"]
        for node in range(nodes if in_file else 0):
            argv += ["-object", f"memory-backend-memfd,id=ram{node},share=on,"
                                f"size={mem_mib // nodes}M"]
            if nodes == 1:
                argv += ["-machine", "memory-backend=ram0"]
            else:
                first, last = cpus * node // nodes, cpus * (node + 1) // nodes - 1
                argv += ["-numa", f"node,nodeid={node},memdev=ram{node},cpus={first}-{last}"]
        if device:
            argv += ["-device", f"{device},id=balloon"]
        if incoming:
            argv += ["-incoming", incoming]
        super().__init__([*argv, *arguments], folder, os.dup(ours.fileno()), ours.detach(),
                         mem_mib * MIB, log, boot_timeout, pass_fds=(theirs.detach(),))

    def booted(self, timeout=120):
        self.qmp = self.qmp or Qmp(self._qmp_path, timeout)
        if self._incoming:
            return
        super().booted(timeout)
        for path in self._modules:
            self.insmod(path)

    def migrate(self, uri, timeout=60):
        """Migrates and returns what QEMU says of it; the guest is then stopped here."""
        self.qmp.execute("migrate", uri=uri)
        deadline = time.monotonic() + timeout
        # it is completed before it is known how long that took
        while not ((info := self.qmp.execute("query-migrate"))["status"] == "completed" and
                   info["total-time"]):
            if info["status"] == "failed" or time.monotonic() > deadline:
                raise HarnessError(f"the migration does not end: {info}")
            time.sleep(0.05)
        return info

    def arrive(self, source, timeout=60):
        """Waits until the guest that source was is here, and runs."""
        deadline = time.monotonic() + timeout
        while self.qmp.execute("query-status")["status"] != "running":
            if time.monotonic() > deadline:
                raise HarnessError("the guest does not arrive")
            time.sleep(0.05)
        self._incoming = None
        self.held_len = source.held_len

    def _find_memory(self):
        if not self._in_file:
            return None
        return [entry for entry in pathlib.Path(f"/proc/{self.pid}/fd").iterdir()
                if os.readlink(entry).startswith("/memfd:memory-backend-memfd")]

    def host_len(self):
        if self._in_file:
            return super().host_len()
        status = pathlib.Path(f"/proc/{self.pid}/status").read_text(encoding="ascii")
        return int(re.search(r"RssAnon:\s+(\d+) kB", status)[1]) << 10

    def reset(self, timeout=120):
        """Pushes the reset button and waits until the guest is there again."""
        self.qmp.execute("set-action", reboot="reset")
        self.qmp.execute("system_reset")
        self.booted(timeout)
        self.qmp.execute("set-action", reboot="shutdown")

    def sleep(self, state, timeout=60):
        """Sends the guest to sleep, "freeze" or "mem", and wakes it up."""
        nr_lines = len(self.console)
        command = self.start(f"write /sys/power/state {state}")
        if state == "mem":
            if self.qmp.wait_event("SUSPEND", timeout) is None:
                raise HarnessError(f"the guest does not suspend\n{self.tail()}")
            self.qmp.execute("system_wakeup")
        else:
            self.wait_line("Freezing remaining freezable tasks completed", nr_lines, timeout)
            # Pressed too early the button would be an argument against sleeping.
            time.sleep(1)
            self.qmp.execute("system_powerdown")
        self.finish(command, timeout)
        self.wait_line("PM: suspend exit", nr_lines, timeout)

    def actual_len(self):
        """Bytes that the guest has left, as the device knows it."""
        return self.qmp.execute("query-balloon")["actual"]

    def balloon_property(self, name, value=None):
        """Reads a property of the balloon device, or sets it."""
        if value is None:
            return self.qmp.execute("qom-get", path=BALLOON, property=name)
        return self.qmp.execute("qom-set", path=BALLOON, property=name, value=value)

    def kill(self):
        super().kill()
        if self.qmp:
            self.qmp.close()


def archive(paths):
    """A cpio archive that lays the host's files below /host."""
    def entry(name, mode, data=b""):
        name = name.encode() + b"\0"
        numbers = (0, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name), 0)
        head = b"070701" + b"".join(b"%08x" % number for number in numbers) + name
        return head + bytes(-len(head) % 4) + data + bytes(-len(data) % 4)

    files = [pathlib.Path(os.path.realpath(path)) for path in paths]
    folders = {parent for path in files for parent in path.parents}
    return b"".join((*(entry(f"host{folder}".rstrip("/"), 0o040755) for folder in sorted(folders)),
                     *(entry(f"host{path}", 0o100644, path.read_bytes()) for path in files),
                     entry("TRAILER!!!", 0)))
