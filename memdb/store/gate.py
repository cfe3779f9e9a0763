"""The gate before an environment: transactions pass it, and whoever changes the map owns it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from memdb.news import News


class Gate:
    """Many passers or one owner, who waits for them; nobody passes meanwhile."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._changed = News(self._lock)
        self._inside = 0
        self._owned = False

    def enter(self) -> int:
        """Pass, once nobody owns it; how many are inside."""
        is_inside = False
        try:
            with self._lock:
                while self._owned:
                    self._changed.wait()
                self._inside += 1
                is_inside = True
                return self._inside
        except BaseException:
            if is_inside:  # interrupted on its way out: nobody would leave for it
                self.leave()
            raise

    def leave(self) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0 and self._owned:  # else nobody waits for it
                self._changed.notify_all()

    def leave_owning(self) -> bool:
        """Leave, and own the gate where nobody else is inside or waits to own it; whether it is so, and
        `disown` must follow.
        """
        with self._lock:
            self._inside -= 1
            if self._owned:
                if self._inside == 0:
                    self._changed.notify_all()
                return False
            self._owned = self._inside == 0
            return self._owned

    def disown(self) -> None:
        """Let others pass again."""
        with self._lock:
            self._owned = False
            self._changed.notify_all()

    @contextmanager
    def passing(self) -> Iterator[None]:
        self.enter()
        try:
            yield
        finally:
            self.leave()

    @contextmanager
    def passing_at_once(self) -> Iterator[bool]:
        """False, and outside, where somebody owns it or waits to."""
        is_inside = False
        try:
            with self._lock:
                if not self._owned:
                    self._inside += 1
                    is_inside = True
            yield is_inside
        finally:
            if is_inside:
                self.leave()

    @contextmanager
    def owned(self) -> Iterator[None]:
        is_mine = False
        try:
            # Within: who is interrupted, be it while it waits, must not leave the gate shut.
            with self._lock:
                while self._owned:
                    self._changed.wait()
                self._owned = is_mine = True
                while self._inside:
                    self._changed.wait()
            yield
        finally:
            if is_mine:
                self.disown()
