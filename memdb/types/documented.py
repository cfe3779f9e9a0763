"""Docstrings of an interface, on what keeps it: ``help(user.ground)`` tells the same of every database."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def documented_by(interface: type) -> Callable[[type[T]], type[T]]:
    """Give each method and property of a class that says nothing of itself what the interface says of it.

    The interface is a `Protocol`, which classes need not inherit from, so `help` would not find it.
    """

    def documented(cls: type[T]) -> type[T]:
        for name, told in vars(interface).items():
            found = vars(cls).get(name)
            if not name.startswith("_") and found is not None and not found.__doc__:
                found.__doc__ = told.__doc__
        return cls

    return documented
