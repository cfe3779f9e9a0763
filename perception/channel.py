"""A bounded queue between two threads that also carries the end, an error, or a refusal to take
more.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from typing import Generic, TypeVar

from memdb.news import News

_Item = TypeVar("_Item")


class ChannelClosed(Exception):
    """The reading side is gone; the writing side has nothing more to do."""


class Channel(Generic[_Item]):
    """At most ``items_max`` items wait in it; a writer waits for room, a reader for items."""

    def __init__(self, items_max: int) -> None:
        self._items_max = items_max
        self._items: deque[_Item] = deque()
        # Taken by itself: who is interrupted (Ctrl-C) on the way into a condition's block may leave it taken.
        self._lock = threading.RLock()
        self._changed = News(self._lock)
        self._has_ended = False
        self._is_closed = False
        self._error: BaseException | None = None

    def put(self, item: _Item) -> None:
        """Add an item; waits for room.  Raises `ChannelClosed` once the reader has left."""
        with self._lock:
            self._changed.wait_for(lambda: self._is_closed or len(self._items) < self._items_max)
            if self._is_closed:
                raise ChannelClosed
            self._items.append(item)
            self._changed.notify_all()

    def offer(self, item: _Item, wait_s: float = 0.0) -> bool:
        """Add an item if there is room, or will be so soon; whether it was added.  Raises as `put`."""
        with self._lock:
            has_room = self._changed.wait_for(
                lambda: self._is_closed or len(self._items) < self._items_max, wait_s
            )
            if self._is_closed:
                raise ChannelClosed
            if has_room:
                self._items.append(item)
                self._changed.notify_all()
            return has_room

    @property
    def is_empty(self) -> bool:
        """Whether the reader has taken all there was."""
        with self._lock:
            return not self._items

    def end(self, error: BaseException | None = None) -> None:
        """No more items; with an error, the reader raises it after the items before it."""
        with self._lock:
            self._has_ended = True
            self._error = error
            self._changed.notify_all()

    def close(self) -> None:
        """The reader leaves: items that wait are dropped, writers are told."""
        with self._lock:
            self._is_closed = True
            self._items.clear()
            self._changed.notify_all()

    def __iter__(self) -> Iterator[_Item]:
        while True:
            with self._lock:
                self._changed.wait_for(
                    lambda: bool(self._items) or self._has_ended or self._is_closed
                )
                if not self._items:
                    if self._error is not None and not self._is_closed:
                        raise self._error
                    return
                item = self._items.popleft()
                self._changed.notify_all()
            yield item
