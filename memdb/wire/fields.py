"""The fields of a serialised message, found and written without parsing it.

For messages that are a few small fields around a large one: protobuf copies every byte several times on
the way in and out, here the large field is only pointed at.

Encoding after the protobuf specification: a field is a varint ``number << 3 | type``; type 0 is a varint,
1 eight bytes, 2 a varint length and so many bytes, 5 four bytes.  Groups (3, 4) are not used by proto3.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Final

VARINT: Final = 0
FIXED64: Final = 1
LENGTH: Final = 2
FIXED32: Final = 5
VARINT_BYTES_MAX: Final = 10
"""Of a number of 64 bits."""


class BadFields(Exception):
    """Not a run of fields, or one that only the full parser knows what to make of."""


def fields(data: bytes, at: int, end: int) -> Iterator[tuple[int, int, int, int]]:
    """(tag, first byte of the field, first byte of its value, end) of each field between ``at`` and
    ``end``; raises `BadFields`.
    """
    # Numbers of one byte, which nearly all are, are read here: a call for each is half of the walk.
    try:
        while at < end:
            begin = at
            tag = data[at]
            if tag < 0x80:
                at += 1
            else:
                tag, at = varint(data, at)
            kind = tag & 7
            if kind == LENGTH:
                size = data[at]
                if size < 0x80:
                    at += 1
                else:
                    size, at = varint(data, at)
                stop = at + size
            elif kind == VARINT:
                stop = at + 1 if data[at] < 0x80 else varint_end(data, at)
            elif kind == FIXED64:
                stop = at + 8
            elif kind == FIXED32:
                stop = at + 4
            else:
                raise BadFields
            if stop > end:
                raise BadFields
            yield tag, begin, at, stop
            at = stop
    except IndexError:
        raise BadFields from None


def varint(data: bytes, at: int) -> tuple[int, int]:
    """The number at ``at`` and where it ends; raises `BadFields`, `IndexError`."""
    value = data[at]
    if value < 0x80:
        return value, at + 1
    value &= 0x7F
    for shift in range(7, 7 * VARINT_BYTES_MAX, 7):
        at += 1
        byte = data[at]
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at + 1
    raise BadFields


def varint_end(data: bytes, at: int) -> int:
    """Where the number at ``at`` ends; raises `BadFields`, `IndexError`."""
    for last in range(at, at + VARINT_BYTES_MAX):
        if data[last] < 0x80:
            return last + 1
    raise BadFields


def tag_of(number: int, kind: int = LENGTH) -> int:
    """The tag of a field."""
    return number << 3 | kind


@lru_cache(1024)
def head(tag: int, size: int) -> bytes:
    """What stands before a value of ``size`` bytes; remembered, since clips of one stream are much alike."""
    return varint_bytes(tag) + varint_bytes(size)


def varint_bytes(value: int) -> bytes:
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
