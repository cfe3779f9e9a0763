"""``python -m bench.gpu_pack FOLDER [--architecture 90]``: FAISS's build for GPUs, made small enough to be carried.

FOLDER is what was put there, 440 MB with machine code for six kinds of GPUs, by::

    pip install --no-deps --target FOLDER faiss-gpu-cuvs libcuvs-cu13 libraft-cu13 librmm-cu13 rapids-logger

That of one architecture stays (90: H100 and H200), the place of the others is zeros, and ``tar c -C FOLDER . | xz``
makes 46 MB of it.  On a machine that reaches no package index, where there are libraries of CUDA 13 (a torch for it
brings them), that is all that `bench.gpu` needs beside numpy::

    export PYTHONPATH=FOLDER LD_LIBRARY_PATH=CUDA/lib:NCCL/lib:FOLDER/libcuvs/lib64:FOLDER/libraft/lib64:\\
    FOLDER/librmm/lib64:FOLDER/rapids_logger/lib64
"""

from __future__ import annotations

import argparse
import struct
import sys
from pathlib import Path

_SECTION = b".nv_fatbin"
_MAGIC = 0xBA55ED50
_MACHINE_CODE = 2
_ALIGNED = 8


def main(arguments: list[str] | None = None) -> int:
    """Make the libraries of a folder small; returns the exit status."""
    parser = argparse.ArgumentParser("python -m bench.gpu_pack", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--architecture", type=int, default=90)
    options = parser.parse_args(arguments)
    for path in sorted(options.folder.rglob("*.so")):
        library = bytearray(path.read_bytes())
        place = section_of(library, _SECTION)
        if place is None:
            continue
        section = library[place]
        left = keep(section, options.architecture)
        if not left:
            parser.error(f"{path} has nothing for architecture {options.architecture}")
        library[place] = section
        path.write_bytes(library)
        print(f"{path}: {left / 1e6:.1f} of {len(section) / 1e6:.1f} MB")
    return 0


def section_of(library: bytes | bytearray, name: bytes) -> slice | None:
    """Where a section of a 64-bit ELF file lies; None where it has none.  Raises `ValueError` of other files."""
    if library[:6] != b"\x7fELF\x02\x01":
        raise ValueError("not a little-endian 64-bit ELF file")
    (headers,) = struct.unpack_from("<Q", library, 40)
    size, count, names = struct.unpack_from("<HHH", library, 58)
    places = [
        struct.unpack_from("<I20xQQ", library, headers + size * number) for number in range(count)
    ]
    begin = places[names][1]
    for its_name, offset, length in places:
        end = library.index(b"\0", begin + its_name)
        if library[begin + its_name : end] == name:
            return slice(offset, offset + length)
    return None


def keep(section: bytearray, architecture: int) -> int:
    """Leave one architecture's machine code in each of the section's fat binaries, which stay where they are, and zeros
    after it; returns the bytes that are left.  Raises `ValueError` of what is laid out otherwise.
    """
    left = place = 0
    while place + 16 <= len(section):
        magic, _, head, length = struct.unpack_from("<IHHQ", section, place)
        if magic != _MAGIC:
            place += _ALIGNED
            continue
        begin, end = place + head, place + head + length
        kept = bytearray()
        at = begin
        while at < end:
            kind, its_head, size, its_architecture = struct.unpack_from("<H2xIQ12xI", section, at)
            if kind == _MACHINE_CODE and its_architecture == architecture:
                kept += section[at : at + its_head + size]
            at += its_head + size
        if at != end or end > len(section):
            raise ValueError(f"a fat binary at {place} is laid out in another way")
        if kept:
            struct.pack_into("<Q", section, place + 8, len(kept))
            section[begin:end] = kept + bytes(end - begin - len(kept))
            left += len(kept)
        place = -(-end // _ALIGNED) * _ALIGNED
    return left


if __name__ == "__main__":
    sys.exit(main())
