"""How long a stream keeps what it holds, and what a sweep did about it."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Final

from memdb.errors import InvalidArgument
from memdb.types.checks import check_flag, check_int

_MAX: Final = 2**62


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """What a stream gives up, and when; None gives up nothing.

    Ages count from the end of a clip.  Thinning comes first and keeps the global memory, so what is
    thinned is still found by a question, but behind what has its short-term memory where the question
    re-ranks: short-term memory goes at ``short_memory_age_s``, keyframes at ``keyframes_age_s``.  Above
    ``max_bytes`` of both, the oldest clips lose their short-term memory, then their keyframes.  Whole
    clips go at ``max_age_s`` and above ``max_clips``.  The bytes stay in freed pages of the user's file
    until they are written over, or `User.compact`.

    Raises `InvalidArgument` naming the field that is wrong.
    """

    max_age_s: int | None = None
    """Seconds after its end at which a whole clip goes."""
    max_clips: int | None = None
    """Sealed clips that stay; above it the oldest go."""
    max_bytes: int | None = None
    """Bytes of short-term memory and keyframes of sealed clips, their earlier versions included."""
    short_memory_age_s: int | None = None
    """Seconds after its end at which a clip loses its short-term memory."""
    keyframes_age_s: int | None = None
    """Seconds after its end at which a clip loses its keyframes."""
    hold: bool = False
    """Legal hold: nothing of the stream is given up or erased while it is set."""

    def __post_init__(self) -> None:
        for name in LIMITS:
            value = getattr(self, name)
            if value is not None:
                low = 0 if name == "max_bytes" else 1
                object.__setattr__(self, name, check_int(value, f"retention.{name}", low, _MAX))
        object.__setattr__(self, "hold", check_flag(self.hold, "retention.hold"))

    @property
    def is_empty(self) -> bool:
        """Whether everything is kept, by default rather than by a hold."""
        return not self.hold and all(getattr(self, name) is None for name in LIMITS)


LIMITS: Final = tuple(field.name for field in fields(Retention) if field.name != "hold")


def as_retention(value: object) -> Retention:
    """A policy, or None for none; raises `InvalidArgument`."""
    if value is None:
        return Retention()
    if not isinstance(value, Retention):
        raise InvalidArgument(
            "expected a Retention", reason="BAD_TYPE", field="retention", value=type(value).__name__
        )
    return value


@dataclass(frozen=True, slots=True)
class SweepReport:
    """What one sweep gave up."""

    clips: int = 0
    """Whole clips."""
    short_memories: int = 0
    """Clips that lost their short-term memory."""
    keyframes: int = 0
    """Clips that lost their keyframes."""
    versions: int = 0
    """Superseded versions of clips that were open."""
    bytes_removed: int = 0
    """Of short-term memory and keyframes."""
    unswept: int = 0
    """Users that could not be swept, or not to the end (what they gave up before is not counted): the log names
    them."""
    unswept_reasons: tuple[str, ...] = ()
    """Why (``DISK_FULL``, ``READ_ONLY``, ...), each reason once, in order of the alphabet."""

    def plus(self, other: SweepReport) -> SweepReport:
        """Both together."""
        return SweepReport(
            self.clips + other.clips,
            self.short_memories + other.short_memories,
            self.keyframes + other.keyframes,
            self.versions + other.versions,
            self.bytes_removed + other.bytes_removed,
            self.unswept + other.unswept,
            tuple(sorted({*self.unswept_reasons, *other.unswept_reasons})),
        )
