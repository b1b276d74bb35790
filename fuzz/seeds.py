#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause
"""seeds.py DIRECTORY: first inputs of the fuzz targets, from the test vectors and a few patterns."""
import pathlib
import random
import struct
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "tests"))
import vector  # noqa: E402  pylint: disable=wrong-import-position

ANSWER, RECORDS, PFNS, LIMIT = 1, 2, 4, 8     # fuzz/message.h
BITMAP, RECORD, AUTO, OLD, VALUES = range(5)  # fuzz/roundtrip.c


def prefix(flags, budget=255, cuts=(0, 0, 0), limit_pfn=0):
    """In front of a message: who receives it, how, and where it is cut."""
    return struct.pack("<BB3HQ", flags, budget, *cuts, limit_pfn)


def messages(data):
    """The messages that stand one behind the other, the last as long as it comes."""
    while data:
        length = len(data)
        if length >= 32:
            length = min(length, 32 + struct.unpack_from("<Q", data, 24)[0])
        yield data[:length]
        data = data[length:]


def message_seeds():
    """Name and bytes for the targets decode and cuts."""
    for path in sorted((HERE.parent / "tests/vectors").glob("*/*.hex")):
        v = vector.load(path)
        old = "pfns" in v.options
        flags = PFNS if old else RECORDS
        if "host_request" in v.options:
            flags |= ANSWER
        limit = 0
        if "--max-pfn" in v.options:
            flags |= LIMIT
            limit = int(v.options[v.options.index("--max-pfn") + 1], 0)
        for i, data in enumerate([v.data] if old else messages(v.data[:4096])):
            yield f"{path.stem}-{i}", prefix(flags, i + 1, (33, 40, 7), limit) + data


def roundtrip_seeds():
    """Name and bytes for the target roundtrip: each format with runs near and far, lists, blocks, bitmaps."""
    rand = random.Random(1)
    for fmt in (BITMAP, RECORD, AUTO, OLD, VALUES):
        for kind in range(8):
            ops = b""
            for _ in range(40):
                op = rand.choice((0, 1, 1, kind, kind))
                size = {0: 2, 1: 2, 2: 9, 3: 4, 4: 1, 5: 10, 6: 9, 7: 2}[op]
                ops += bytes([op + 8 * rand.randrange(12)]) + rand.randbytes(size)
            head = struct.pack("<BBBHH", fmt, kind, kind % 2, rand.choice((0, 16, 200, 2000)), rand.randrange(48))
            yield f"format-{fmt}-kind-{kind}", head + ops


def main():
    """Write them."""
    if len(sys.argv) != 2:
        sys.exit(f"usage: {sys.argv[0]} DIRECTORY")
    for folder, seeds in (("message", message_seeds()), ("roundtrip", roundtrip_seeds())):
        directory = pathlib.Path(sys.argv[1]) / folder
        directory.mkdir(parents=True, exist_ok=True)
        for name, data in seeds:
            (directory / name).write_bytes(data)


if __name__ == "__main__":
    main()
