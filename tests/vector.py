#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause
"""Test vectors: readable hexadecimal, and what vbb makes of it.

A line is one of

  # a comment, the first of which says what the vector is
  00 0c | 00*8              bytes; '|' only separates, 00*8 is eight bytes of 00
  command: dump --json      the vbb command that reads the bytes (without it: decode)
  options: --format pfns    more options for it
  expect: 0x200 512         a line of its output
  fault: message 1, ...     how its complaint begins, behind the file's name; exit status 65
  encode: --format bitmap   'vbb encode' with these options makes the same bytes of the output
  spec: VBB-MSG-12, VBB-MSG-13      the requirements of docs/spec.md that it is about; a bad one has them from the fault

Run as a program, it writes each vector's bytes into a directory: vector.py DIRECTORY VECTOR...
"""
import dataclasses
import pathlib
import re
import shlex
import sys


SPEC = pathlib.Path(__file__).resolve().parent.parent / "docs" / "spec.md"


def clauses():
    """The requirements of the specification, each a line without markup, by their numbers."""
    found = re.findall(r"^(VBB-(?:DRV|DEV|MSG)-\d+): ((?:.+\n)+)", SPEC.read_text(encoding="utf-8"), re.M)
    return {number: " ".join(re.sub(r"[`*]", "", text).split()) for number, text in found}


@dataclasses.dataclass
class Vector:
    """One file of tests/vectors."""
    name: str
    about: str = ""
    data: bytes = b""
    command: list = dataclasses.field(default_factory=lambda: ["decode"])
    options: list = dataclasses.field(default_factory=list)
    expect: list = dataclasses.field(default_factory=list)
    fault: str = ""
    encode: list | None = None
    spec: list = dataclasses.field(default_factory=list)


def parse_hex(text):
    """'00 0c | 00*8' to bytes."""
    data = b""
    for word in text.replace("|", " ").split():
        byte, _, count = word.partition("*")
        if len(byte) != 2:
            raise ValueError(f"{word}: not a byte")
        data += bytes.fromhex(byte) * int(count or "1")
    return data


def load(path):
    """A file to a Vector."""
    vector = Vector(path.stem)
    for line in path.read_text(encoding="utf-8").splitlines():
        key, colon, value = line.partition(":")
        value = value.strip()
        if line.startswith("#"):
            vector.about = vector.about or line[1:].strip()
            continue
        if not colon:
            vector.data += parse_hex(line)
        elif key in ("command", "options", "encode"):
            setattr(vector, key, shlex.split(value))
        elif key == "spec":
            vector.spec = value.split(", ")
        elif key == "expect":
            vector.expect.append(value)
        elif key == "fault":
            vector.fault = value
        else:
            raise ValueError(f"{path}: {key}: not a key")
    return vector


def main():
    """Write binaries."""
    if len(sys.argv) < 3:
        sys.exit(f"usage: {sys.argv[0]} DIRECTORY VECTOR...")
    directory = pathlib.Path(sys.argv[1])
    directory.mkdir(parents=True, exist_ok=True)
    for path in map(pathlib.Path, sys.argv[2:]):
        (directory / f"{path.stem}.bin").write_bytes(load(path).data)


if __name__ == "__main__":
    main()
