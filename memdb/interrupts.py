"""Ctrl-C while a program loads what it needs.

Loading takes up to a second or two, in which nothing was begun.  `KeyboardInterrupt` would come up in
the middle of somebody's module: as a traceback, or as another error where a module of C makes one of
it.  Programs load within `loading`; what they do then they end in order.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

INTERRUPTED: Final = 130
"""Exit status of a program that SIGINT ended."""


@contextmanager
def loading() -> Iterator[None]:
    """Within it SIGINT ends the process at once, without a word.  Nothing changes outside of the main
    thread, or where somebody else handles or ignores the signal.
    """
    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return
    try:
        signal.signal(signal.SIGINT, _end)
    except ValueError:  # not the main thread, which gets the signals
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _end(_number: int, _frame: FrameType | None) -> None:
    # Not by an exception: whatever runs now would have to let it through.
    os._exit(INTERRUPTED)
