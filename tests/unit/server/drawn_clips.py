"""Messages of an ingest that are drawn: right in most of their fields, or damaged."""

from __future__ import annotations

import struct

import numpy as np
import xxhash
from hypothesis import strategies as st

from tests.unit.server.clip_bytes import DIM, PLAIN, ROWS, Field, varint


def zigzag(value: int) -> int:
    return (value << 1) ^ (value >> 63) if value >= 0 else (-value << 1) - 1


NUMBERS = st.sampled_from(
    [0, 1, 2, 5, 127, 128, 2**31, 2**32 - 1, 2**32, 2**62, 2**63 - 1, 2**63, 2**64 - 1]
)
TIMES = st.sampled_from([0, 1, 10, -10, 2**61, 2**62, 2**62 + 1, -(2**62), -(2**62) - 1]).map(
    zigzag
)
DOUBLES = st.sampled_from(
    [0.0, -0.0, 0.25, 0.5, 1.0, 1.5, -1.0, 1e6, 1e7, float("nan"), float("inf")]
).map(lambda value: struct.pack("<d", value))
TEXTS = st.one_of(
    st.text(max_size=5).map(str.encode),
    st.binary(max_size=5),
    st.sampled_from(
        [
            *(
                b"\xed\xa0\x80",
                b"\xc0\x80",
                b"\xf4\x90\x80\x80",
                b"\xe0\x80\x80",
                b"\xff",
                b"\xf0\x9f\x98\x80",
            ),
            *(b"a" * 65, b"b" * 1025, b"c" * 16_385, "é".encode() * 1024, "é".encode() * 1025),
        ]
    ),
)
FLOATS = st.sampled_from(
    [1.0, -2.5, 0.0, 65504.0, 1e5, 3e38, float("inf"), float("-inf"), float("nan")]
)


@st.composite
def vectors(draw: st.DrawFn) -> list[Field]:
    dtype = draw(st.sampled_from([np.float32, np.float16]))
    array = np.ones(draw(st.sampled_from([DIM, DIM, DIM, DIM, 0, 1, 8193])), dtype)
    if array.size and draw(st.integers(0, 3)) == 0:
        with np.errstate(over="ignore"):
            array[draw(st.integers(0, array.size - 1))] = draw(FLOATS)
    data = array.tobytes() + draw(st.sampled_from([b"", b"", b"", b"\0"]))
    return [Field(1 if dtype is np.float32 else 2, 2, data)]


@st.composite
def tensors(draw: st.DrawFn) -> list[Field]:
    rows = draw(st.sampled_from([ROWS, ROWS, 11, 7, 0, 1]))
    array = np.arange(rows * DIM, dtype=np.float16)
    if array.size and draw(st.integers(0, 3)) == 0:
        with np.errstate(over="ignore"):
            array[draw(st.integers(0, array.size - 1))] = draw(FLOATS)
    data = array.tobytes()
    checksum = xxhash.xxh3_64_intdigest(data).to_bytes(8, "little")
    return [
        Field(1, 0, draw(st.sampled_from([1, 1, 1, 1, 0, 2, 8, 2**64 - 1]))),
        Field(2, 2, varint(rows) + varint(DIM)),
        Field(3, 2, data),
        Field(4, 1, checksum),
    ]


@st.composite
def matrices(draw: st.DrawFn, rows: int) -> list[Field]:
    array = np.ones((max(0, rows + draw(st.sampled_from([0, 0, 0, 1, -1]))), 3), np.float32)
    if array.size and draw(st.integers(0, 3)) == 0:
        array[0, 1] = draw(FLOATS)
    return [Field(1, 0, array.shape[0]), Field(2, 0, 3), Field(3, 2, array.tobytes())]


UTTERANCES = st.tuples(TIMES, TIMES, TEXTS, TEXTS, TEXTS).map(
    lambda of: [
        Field(1, 0, of[0]),
        Field(2, 0, of[1]),
        *(Field(3 + n, 2, of[2 + n]) for n in (0, 1, 2)),
    ]
)
SOUNDS = st.tuples(TIMES, TIMES, TEXTS, DOUBLES).map(
    lambda of: [Field(1, 0, of[0]), Field(2, 0, of[1]), Field(3, 2, of[2]), Field(4, 1, of[3])]
)
KEYFRAMES = st.tuples(TIMES, TEXTS).map(lambda of: [Field(1, 0, of[0]), Field(2, 2, of[1])])
LABELS = st.tuples(TEXTS, TEXTS).map(lambda of: [Field(1, 2, of[0]), Field(2, 2, of[1])])


@st.composite
def clip_fields(draw: st.DrawFn) -> list[Field]:
    """A clip that is right in most of its fields."""
    ordinary = draw(st.integers(0, 2)) > 0
    start, end = (zigzag(10), zigzag(20)) if ordinary else draw(st.tuples(TIMES, TIMES))
    said = draw(st.lists(UTTERANCES, max_size=2))
    found = [
        Field(1, 0, draw(st.integers(0, 9)) if ordinary else draw(NUMBERS)),
        Field(2, 0, 0 if ordinary else draw(NUMBERS)),
        Field(3, 0, start),
        Field(4, 0, end),
        Field(5, 2, draw(vectors())),
        Field(13, 0, draw(st.sampled_from([0, 1, 1, 2]))),
    ]
    if draw(st.booleans()):
        found.append(Field(6, 2, draw(tensors())))
    if draw(st.booleans()):
        found.append(Field(7, 1, draw(DOUBLES)))
    found += [Field(8, 2, one) for one in said]
    if draw(st.booleans()):
        found.append(Field(9, 2, draw(matrices(len(said)))))
    for number, kind in ((10, SOUNDS), (11, KEYFRAMES), (12, LABELS)):
        found += [Field(number, 2, one) for one in draw(st.lists(kind, max_size=2))]
    return found


def disordered(draw: st.DrawFn, written: list[Field]) -> bytes:
    """Fields as bytes: out of their order, twice, left out, unknown, or longer than they need be."""
    inner = [
        field._replace(value=disordered(draw, field.value))
        if isinstance(field.value, list)
        else field
        for field in written
    ]
    how = draw(st.integers(0, 11))
    if how == 0:
        inner = draw(st.permutations(inner))
    elif how == 1:
        inner.append(draw(st.sampled_from(inner)))
    elif how == 2:
        inner.remove(draw(st.sampled_from(inner)))
    elif how == 3:
        kind, value = draw(st.sampled_from([(0, 1), (1, bytes(8)), (2, b""), (2, b"xy")]))
        inner.append(Field(draw(st.integers(1, 80)), kind, value))
    elif how == 4:
        stretch = draw(st.integers(1, 9))
        return b"".join(field.coded(stretch) for field in inner)
    return b"".join(field.coded() for field in inner)


@st.composite
def messages(draw: st.DrawFn) -> bytes:
    return disordered(
        draw, [Field(2, 2, one) for one in draw(st.lists(clip_fields(), min_size=1, max_size=3))]
    )


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """A message with some of its bytes changed, left out, put in, or there twice."""
    data = bytearray(draw(st.sampled_from([one for one in PLAIN.values() if len(one) < 4096])))
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(data)))
        end = min(len(data), at + draw(st.integers(0, 40)))
        how = draw(st.sampled_from(("change", "cut", "insert", "repeat")))
        if how == "change" and at < len(data):
            data[at] = draw(st.integers(0, 255))
        elif how == "cut":
            del data[at:end]
        elif how == "insert":
            data[at:at] = draw(st.binary(max_size=6))
        elif how == "repeat":
            data[at:at] = data[at:end]
    return bytes(data)
