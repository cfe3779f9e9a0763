"""Functions of the C library that Python's `os` has not."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import cache
from typing import Any, Final

OFFSET: Final = ctypes.c_int64
"""``off_t`` of the systems that memdb runs on."""


@cache
def function(name: str, *arguments: Any) -> Callable[..., int] | None:
    """One that takes arguments of these types of `ctypes` and returns an int; None where the system has none."""
    try:
        call = getattr(ctypes.CDLL(None), name)
    except (AttributeError, OSError):
        return None
    call.argtypes = arguments
    call.restype = ctypes.c_int
    found: Callable[..., int] = call
    return found
