"""The methods of our dataclasses made when they are first called, not while a program loads.

Before 3.13 Python compiles the text of five functions for each of our two hundred classes, which took a fourth of the
start of a server; most of them it never calls.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, Final

MAKER: Final = "_create_fn"
"""Python's own, of 3.11 and 3.12; later ones have none, and compile once a class."""
OURS: Final = "memdb"

Method = Callable[..., Any]


def make_methods_late() -> bool:
    """For classes of memdb that are made from now on, in a process that is ours alone; whether this Python has what it
    takes.

    A class is as without it, but for what introspection sees of a method before its first call.
    """
    make: Callable[..., Method] | None = getattr(dataclasses, MAKER, None)
    if make is None:
        return False
    if make is not _late:
        global _make  # noqa: PLW0603 - as Python has one
        _make = make
        setattr(dataclasses, MAKER, _late)
    return True


def _unknown(*_: Any, **__: Any) -> Method:
    raise AssertionError("Python's own is known by then")


_make: Callable[..., Method] = _unknown


def _late(name: str, args: Sequence[str], body: Sequence[str], **rest: Any) -> Method:
    """As Python's own; ``rest`` are the names that the function sees, and what it returns."""
    module = (rest.get("globals") or {}).get("__name__", "")
    if module.partition(".")[0] != OURS:
        return _make(name, args, body, **rest)
    made: Method | None = None

    def late(self: object, /, *arguments: Any, **named: Any) -> Any:
        nonlocal made
        # Two threads may make one each: they are alike.
        if made is None:
            method = _make(name, args, body, **rest)
            method.__qualname__ = late.__qualname__
            for owner in type(self).__mro__:
                if owner.__dict__.get(name) is late:
                    setattr(owner, name, method)
            made = method
        return made(self, *arguments, **named)

    late.__name__ = name
    return late
