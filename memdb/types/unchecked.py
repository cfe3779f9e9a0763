"""Values made of what was checked when it was written: the same value, without a second check."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from functools import cache
from typing import Any, TypeVar

T = TypeVar("T")


def unchecked(kind: Callable[..., T], *values: object) -> T:
    """A frozen slotted dataclass with its fields in order, all of them, as its checks leave them.

    For what a checksum or a server vouches for; what a caller gives goes through ``kind`` itself.
    """
    made: T = _maker(kind)(*values)
    return made


def maker(kind: Callable[..., T]) -> Callable[..., T]:
    """What `unchecked` makes values of a ``kind`` with; for who makes many."""
    made: Callable[..., T] = _maker(kind)
    return made


@cache
def _maker(kind: Any) -> Any:
    """A frozen class refuses what fills it, and the way around (`object.__setattr__`) takes 0.1 µs a field, more than
    all else of an answer.  So a class of the same shape that refuses nothing is filled, and is then said to be
    ``kind``; in code of its own, as `dataclasses` makes it, since a loop would take as long.
    """
    draft = type(
        kind.__name__,
        kind.__bases__,
        {
            "__slots__": kind.__dict__["__slots__"],
            # Both, else the class itself refuses by what it inherits.
            "__setattr__": object.__setattr__,
            "__delattr__": object.__delattr__,
        },
    )
    names = [field.name for field in fields(kind)]
    lines = [
        f"def make({', '.join(names)}):",
        " made = new(draft)",
        *(f" made.{name} = {name}" for name in names),
        " made.__class__ = kind",
        " return made",
    ]
    known: dict[str, Any] = {"new": object.__new__, "draft": draft, "kind": kind}
    exec("\n".join(lines), known)  # noqa: S102 - names of fields, and nothing that came from elsewhere
    return known["make"]
