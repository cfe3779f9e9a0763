"""Ids that the database hands out: a number and a check that only this user's key can make.

::

    32 hexadecimal digits = kind u8 (1 clip, 2 fact, 3 stream, 4 standing question) | number u56 | first 8 bytes
    of BLAKE2b(key, kind | number)

An id of another user, or a guessed one, fails the check exactly as a missing one does, and needs no
table.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable
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


def numbered(kind: IdKind, no: int) -> int:
    """A number with what it is of before it: the first 8 bytes of an id."""
    return (kind << 56) | no


def make_id(key: bytes, kind: IdKind, no: int) -> str:
    """The id of thing ``no``."""
    body = numbered(kind, no).to_bytes(8, "big")
    return (body + blake2b(body, key=key, digest_size=_CHECK_BYTES).digest()).hex()


_made_by: Callable[[bytes, int, int], list[str]] | None = None


def ids_by(make: Callable[[bytes, int, int], list[str]] | None) -> None:
    """Have it make ids from now on, of a key, the first number (`numbered`) and how many; None for nobody."""
    global _made_by  # noqa: PLW0603 - one for the process
    _made_by = make


def make_ids(key: bytes, kind: IdKind, first: int, count: int) -> list[str]:
    """`make_id` of ``count`` numbers from ``first`` on."""
    if _made_by is not None:
        return _made_by(key, numbered(kind, first), count)
    keyed = blake2b(key=key, digest_size=_CHECK_BYTES)
    made: list[str] = []
    for no in range(numbered(kind, first), numbered(kind, first) + count):
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
