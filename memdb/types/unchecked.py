"""Values made of what was checked when it was written: the same value, without a second check."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from functools import cache
from typing import Any, TypeVar

T = TypeVar("T")

_new = object.__new__


def unchecked(kind: Callable[..., T], *values: object) -> T:
    """A frozen slotted dataclass with its fields in order, all of them, as its checks leave them.

    For what a checksum or a server vouches for; what a caller gives goes through ``kind`` itself.
    """
    made: T = _new(kind)  # type: ignore[arg-type]  # a class, said to be what makes a T
    for put, value in zip(_setters(kind), values, strict=True):
        put(made, value)
    return made


@cache
def _setters(kind: Any) -> tuple[Callable[[Any, object], None], ...]:
    """What writes each slot; the class's own way refuses, since it is frozen."""
    return tuple(getattr(kind, field.name).__set__ for field in fields(kind))
