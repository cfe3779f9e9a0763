"""The first line of a data directory: which format it is, and which programs may open it.

``DIR/FORMAT``::

    memdb NUMBER [MINIMUM]\\n

NUMBER is the format that the directory was written in, MINIMUM the oldest format whose programs may
open it all the same, because what is new adds to the old and takes nothing away; NUMBER where it is not
said.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Self

from memdb.errors import FailedPrecondition
from memdb.store.schema import FORMAT

_DIGITS_MAX: Final = 9


@dataclass(frozen=True, slots=True)
class FormatLine:
    """What ``DIR/FORMAT`` says."""

    number: int
    minimum: int | None = None

    @classmethod
    def parse(cls, text: str, directory: str) -> Self:
        """Read the line; raises `FailedPrecondition` (``NOT_A_DATABASE``)."""
        name, *numbers = text.split()[:4] or [""]
        digits = all(
            number.isascii() and number.isdigit() and len(number) <= _DIGITS_MAX
            for number in numbers
        )
        if name != "memdb" or not 1 <= len(numbers) <= 2 or not digits:
            raise FailedPrecondition(
                "FORMAT is damaged, or not memdb's: every archive of this directory has a copy",
                reason="NOT_A_DATABASE",
                field="format",
                value=directory,
            )
        return cls(*map(int, numbers))

    def line(self) -> bytes:
        """The bytes of the file."""
        numbers = f"{self.number} {self.number if self.minimum is None else self.minimum}"
        return f"memdb {numbers}\n".encode()

    def check(self) -> None:
        """Refuse what this program cannot read; raises `FailedPrecondition` (``FORMAT_NEWER``)."""
        minimum = self.number if self.minimum is None else self.minimum
        if minimum > FORMAT:
            raise FailedPrecondition(
                f"written by a newer memdb (format {self.number}, readable from {minimum} on; "
                f"this one reads up to {FORMAT})",
                reason="FORMAT_NEWER",
                field="format",
                value=self.number,
            )
