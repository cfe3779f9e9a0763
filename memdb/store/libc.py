"""Functions of the C library that Python's `os` has not."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import cache
from typing import Any, Final

OFFSET: Final = ctypes.c_int64
"""``off_t`` of the systems that memdb runs on."""


@cache
def function(name: str, *arguments: Any, returns: Any = ctypes.c_int) -> Callable[..., Any] | None:
    """One that takes arguments of these types of `ctypes` and returns an int, or what is said; None where the system
    has none.
    """
    try:
        call = getattr(ctypes.CDLL(None), name)
    except (AttributeError, OSError):
        return None
    call.argtypes = arguments
    call.restype = returns
    found: Callable[..., Any] = call
    return found
