"""What is left of a library with code for many kinds of GPUs is that of one, where it was."""

from __future__ import annotations

import struct
from pathlib import Path

import faiss
import pytest

from bench.gpu_pack import keep, main, section_of

CODE, ASSEMBLY = 2, 1


def entry(kind: int, architecture: int, body: bytes) -> bytes:
    """As CUDA's compiler lays it out: a head of 64 bytes."""
    return struct.pack("<HHIQ12xI32x", kind, 0x101, 64, len(body), architecture) + body


def fat(*entries: bytes) -> bytes:
    body = b"".join(entries)
    return struct.pack("<IHHQ", 0xBA55ED50, 1, 16, len(body)) + body


def library(section: bytes) -> bytes:
    """An ELF file of one section, and of one for their names."""
    names = b"\0.nv_fatbin\0"
    begin, headers = 64, 64 + len(names) + len(section)
    head = b"\x7fELF\x02\x01" + bytes(34) + struct.pack("<Q", headers) + bytes(10)
    head += struct.pack("<HHH", 64, 2, 0)
    places = [(0, begin, len(names)), (1, begin + len(names), len(section))]
    return head + names + section + b"".join(struct.pack("<I20xQQ24x", *place) for place in places)


def test_one_architecture_stays(tmp_path: Path) -> None:
    wanted = entry(CODE, 90, b"new code" * 5)
    first = fat(entry(CODE, 80, b"old code" * 7), wanted, entry(ASSEMBLY, 90, b"assembly" * 3))
    second = fat(entry(CODE, 80, b"of another"))
    padded = first + bytes(-len(first) % 8) + second + bytes(-len(second) % 8)
    path = tmp_path / "faiss" / "libfaiss.so"
    path.parent.mkdir()
    path.write_bytes(library(padded))

    assert main([str(tmp_path)]) == 0

    made = path.read_bytes()
    assert len(made) == len(library(padded))
    place = section_of(made, b".nv_fatbin")
    assert place is not None
    left = made[place]
    assert left.startswith(fat(wanted) + bytes(8))
    assert left[len(first) + -len(first) % 8 :].startswith(second), "where nothing is, all stays"
    assert keep(bytearray(left), 90) == len(wanted)


def test_what_is_laid_out_otherwise_is_told() -> None:
    broken = bytearray(fat(entry(CODE, 90, b"new code")))
    struct.pack_into("<Q", broken, 8, 70)
    with pytest.raises(ValueError, match="laid out"):
        keep(broken, 90)
    with pytest.raises(ValueError, match="ELF"):
        section_of(b"#!/bin/sh", b".text")
    (real,) = Path(faiss.__file__).parent.glob("_swigfaiss*.so")
    code = real.read_bytes()
    place = section_of(code, b".text")
    assert place is not None
    assert place.stop <= len(code)
    assert section_of(code, b".nv_fatbin") is None


def test_a_library_for_other_gpus_is_refused(tmp_path: Path) -> None:
    section = fat(entry(CODE, 80, b"old code"))
    (tmp_path / "lib.so").write_bytes(library(section))
    with pytest.raises(SystemExit):
        main([str(tmp_path)])
    assert (tmp_path / "lib.so").read_bytes() == library(section)
