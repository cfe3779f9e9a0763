"""When facts hold in the world, and which are asked for by that."""

from __future__ import annotations

from typing import Final, Literal

from memdb.types.checks import check_choice
from memdb.types.times import Time, as_ns

NOW: Final = "now"
"""The moment of the call, by the clock of whoever answers."""
ANY: Final = "any"
"""Facts whatever their validity: those that hold, that have ended and that are yet to begin."""

_TIME: Final = "a time (integer nanoseconds, such as time.time_ns(), or an aware datetime)"

ValidAt = Time | Literal["now", "any"]
"""What callers may pass as ``valid_at``: a time, or one of these words."""

OPEN: Final = "open"
"""Until further notice again: takes away the end that a fact has."""

ValidTo = Time | Literal["open"]
"""What callers may pass to `memdb.types.database.User.revise` as ``valid_to``: a time, or this word."""


def checked_valid_at(valid_at: object) -> int | str | None:
    """A time in UTC nanoseconds, `NOW`, `ANY`, or None.

    Raises `InvalidArgument`: ``BAD_TIME`` for another word, and as `memdb.types.times.as_ns`.
    """
    if valid_at is None:
        return None
    if isinstance(valid_at, str):
        return check_choice(valid_at, (NOW, ANY), "valid_at", "BAD_TIME", also=_TIME)
    return as_ns(valid_at, "valid_at")  # type: ignore[arg-type]  # it refuses anything else


def checked_valid_to(valid_to: object) -> int | Literal["open"] | None:
    """A time in UTC nanoseconds, `OPEN`, or None.

    Raises `InvalidArgument`: ``BAD_TIME`` for another word, and as `memdb.types.times.as_ns`.
    """
    if valid_to is None:
        return None
    if isinstance(valid_to, str):
        check_choice(valid_to, (OPEN,), "valid_to", "BAD_TIME", also=_TIME)
        return OPEN
    return as_ns(valid_to, "valid_to")  # type: ignore[arg-type]  # it refuses anything else


def holds(valid_from_ns: int, valid_to_ns: int | None, time_ns: int) -> bool:
    """Whether what is valid in ``[valid_from_ns, valid_to_ns)`` holds at a time."""
    return valid_from_ns <= time_ns and (valid_to_ns is None or time_ns < valid_to_ns)
