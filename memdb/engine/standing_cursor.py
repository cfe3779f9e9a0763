"""How far a watch of standing questions has come, as text that its caller keeps.

::

    revision, clip u64, question u64    matches: told up to this question of this clip of this commit
    clock i64                           absences: told up to this deadline
    time i64                            when the commit was made: after a restore others have its number

80 hexadecimal digits, and 16 of a check that only this user's key makes: a cursor of another user, or
one that was cut, is refused.  Cursors of releases before have no time, and 64 digits.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final, Self

from memdb.engine.sealed_cursor import sealed, sealed_chars, unsealed

_BODY: Final = struct.Struct(">QQQqq")
_UNTIMED: Final = struct.Struct(">QQQq")
"""Of releases that did not tell commits of one number apart."""
_PERSON: Final = b"memdb cursor"
ALL: Final = 2**64 - 1
"""In the place of a clip or question: all of them."""
CLOCK_MIN_NS: Final = -(2**63)
TIME_UNKNOWN_NS: Final = -(2**63)


@dataclass(frozen=True, slots=True)
class Cursor:
    """A position; what is not behind it is told."""

    revision: int
    clip_no: int = ALL
    question_no: int = ALL
    clock_ns: int = CLOCK_MIN_NS
    time_ns: int = TIME_UNKNOWN_NS
    """When the commit of the revision was made."""

    @property
    def is_whole(self) -> bool:
        """Whether every match of its commit is told."""
        return self.clip_no == ALL

    def text(self, id_key: bytes) -> str:
        """What callers get."""
        place = self.revision, self.clip_no, self.question_no
        return sealed(_BODY.pack(*place, self.clock_ns, self.time_ns), id_key, _PERSON)

    @classmethod
    def parse(cls, text: str, id_key: bytes) -> Self:
        """What callers gave back; raises `InvalidArgument` (``BAD_CURSOR``)."""
        layout = _UNTIMED if len(text) == sealed_chars(_UNTIMED) else _BODY
        return cls(*unsealed(text, layout, id_key, _PERSON))
