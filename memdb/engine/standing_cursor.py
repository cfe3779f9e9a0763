"""How far a watch of standing questions has come, as text that its caller keeps.

::

    revision, clip u64, question u64    matches: told up to this question of this clip of this commit
    clock i64                           absences: told up to this deadline

64 hexadecimal digits, and 16 of a check that only this user's key makes: a cursor of another user, or
one that was cut, is refused.
"""

from __future__ import annotations

import hmac
import struct
from dataclasses import dataclass
from hashlib import blake2b
from typing import Final, Self

from memdb.errors import InvalidArgument

_BODY: Final = struct.Struct(">QQQq")
_CHECK_BYTES: Final = 8
ALL: Final = 2**64 - 1
"""In the place of a clip or question: all of them."""
CLOCK_MIN_NS: Final = -(2**63)


@dataclass(frozen=True, slots=True)
class Cursor:
    """A position; what is not behind it is told."""

    revision: int
    clip_no: int = ALL
    question_no: int = ALL
    clock_ns: int = CLOCK_MIN_NS

    @property
    def is_whole(self) -> bool:
        """Whether every match of its commit is told."""
        return self.clip_no == ALL

    def text(self, id_key: bytes) -> str:
        """What callers get."""
        body = _BODY.pack(self.revision, self.clip_no, self.question_no, self.clock_ns)
        return (body + _check(body, id_key)).hex()

    @classmethod
    def parse(cls, text: str, id_key: bytes) -> Self:
        """What callers gave back; raises `InvalidArgument` (``BAD_CURSOR``)."""
        try:
            raw = bytes.fromhex(text)
        except ValueError:
            raw = b""
        body, check = raw[: _BODY.size], raw[_BODY.size :]
        if len(body) != _BODY.size or not hmac.compare_digest(check, _check(body, id_key)):
            raise InvalidArgument(
                "not a cursor of this user", reason="BAD_CURSOR", field="cursor", value=text
            )
        return cls(*_BODY.unpack(body))


def _check(body: bytes, id_key: bytes) -> bytes:
    return blake2b(body, key=id_key, digest_size=_CHECK_BYTES, person=b"memdb cursor").digest()
