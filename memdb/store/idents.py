"""Ids that the database hands out: a number and a check that only this user's key can make.

::

    32 hexadecimal digits = kind u8 (1 clip, 2 fact, 3 stream, 4 standing question) | number u56 | first 8 bytes
    of BLAKE2b(key, kind | number)

An id of another user, or a guessed one, fails the check exactly as a missing one does, and needs no
table.
"""

from __future__ import annotations

import hmac
from enum import IntEnum
from hashlib import blake2b
from typing import Final

_DIGITS: Final = 32
_CHECK_BYTES: Final = 8


class IdKind(IntEnum):
    """What an id names."""

    CLIP = 1
    FACT = 2
    STREAM = 3
    STANDING = 4


def make_id(key: bytes, kind: IdKind, no: int) -> str:
    """The id of thing ``no``."""
    body = ((kind << 56) | no).to_bytes(8, "big")
    return (body + blake2b(body, key=key, digest_size=_CHECK_BYTES).digest()).hex()


def make_ids(key: bytes, kind: IdKind, first: int, count: int) -> list[str]:
    """`make_id` of ``count`` numbers from ``first`` on."""
    keyed = blake2b(key=key, digest_size=_CHECK_BYTES)
    made: list[str] = []
    for no in range((kind << 56) | first, ((kind << 56) | first) + count):
        body = no.to_bytes(8, "big")
        check = keyed.copy()
        check.update(body)
        made.append((body + check.digest()).hex())
    return made


def parse_id(key: bytes, kind: IdKind, text: str) -> int | None:
    """The number behind an id, None unless this user's key made it for this kind."""
    if (
        not isinstance(text, str)
        or len(text) != _DIGITS
        or not text.isascii()
        or not text.isalnum()
        or text != text.lower()
    ):
        return None
    try:
        raw = bytes.fromhex(text)
    except ValueError:
        return None
    body, check = raw[:8], raw[8:]
    if (
        not hmac.compare_digest(check, blake2b(body, key=key, digest_size=_CHECK_BYTES).digest())
        or body[0] != kind
    ):
        return None
    return int.from_bytes(body[1:], "big")
