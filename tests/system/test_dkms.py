#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause
"""The driver as DKMS builds it, in Debian's stock kernel. Prints TAP.

test_dkms.py [--qemu PROGRAM] [--filter TEXT] [--list]

All folders of DKMS's are the test's own, so that nothing of the system changes.
"""

import os
import pathlib
import re
import subprocess
import sys
import tempfile

import tap
from harness import MIB
from qemuguest import Guest
from tap import TOP, check, poll, script

MEM_MIB = 256
HOLD_MIB = 16
NAME = "virtio-balloon-bmap"


class Rig:
    def __init__(self, options, log):
        self.options, self.log = options, log
        self.guest = None
        self._folder = tempfile.TemporaryDirectory(prefix="vbb-dkms-")
        self.folder = pathlib.Path(self._folder.name)

    def dkms(self, command, *args):
        """Runs a command of DKMS's and returns what it says."""
        # Without a program that signs, no key is made for the whole system.
        result = subprocess.run(["dkms", command, "--sourcetree", self.folder, "--dkmstree", self.folder / "tree",
                                 *args], env={**os.environ, "sign_file": "/nonexistent"}, text=True, check=False,
                                stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        check(result.returncode == 0, f"dkms {command}: {result.returncode}: {result.stdout}")
        return result.stdout

    def close(self):
        if self.guest:
            self.guest.kill()
        self._folder.cleanup()


def built_and_loaded(rig):
    version = re.search(r"^  version: '(.*)',$", (TOP / "meson.build").read_text("utf-8"), re.MULTILINE)[1]
    source = rig.folder / f"{NAME}-{version}"
    source.mkdir()
    (rig.folder / "tree").mkdir()
    subprocess.run([TOP / "kernel-glue" / "export-dkms", source], check=True)
    kernel = pathlib.Path(script("stock-kernel"))
    headers = (kernel / "build").resolve()
    release = headers.name.removeprefix("linux-headers-")
    which = ("-m", NAME, "-v", version)
    rig.dkms("add", *which)
    rig.dkms("build", *which, "-k", release, "--kernelsourcedir", headers)
    status = rig.dkms("status", *which)
    check(status.startswith(f"{NAME}/{version}, {release}, ") and status.strip().endswith("built"), status)
    (module,) = (rig.folder / "tree").glob(f"{NAME}/{version}/{release}/*/module/*.ko")

    rig.guest = guest = Guest(kernel, script("guest-initramfs"), [module], mem_mib=MEM_MIB,
                              qemu=rig.options.qemu, log=rig.log)
    guest.hold(HOLD_MIB)
    guest.insmod(module)
    for target in (MEM_MIB - 64, MEM_MIB):
        guest.qmp.execute("balloon", value=target * MIB)
        poll(lambda wanted=target * MIB: guest.actual_len() == wanted, 60, f"{target} MiB")
    guest.rmmod(module.stem, 60)
    tap.intact(guest)
    check(not guest.reports(), "the kernel reports something")
    rig.dkms("remove", *which, "--all")


def main():
    parser = tap.arguments(__doc__)
    parser.add_argument("--qemu", metavar="PROGRAM", default="qemu-system-x86_64")
    options = parser.parse_args()
    return tap.run([("built and loaded", lambda log: Rig(options, log), built_and_loaded, (), {})], options)


if __name__ == "__main__":
    sys.exit(main())
