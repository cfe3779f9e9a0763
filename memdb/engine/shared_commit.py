"""A commit that ingest writers of one user share."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from memdb.engine.ingest_feed import Part
from memdb.engine.lateness import Newest
from memdb.engine.prepared_clips import may_pass_in_part, write_prepared
from memdb.errors import MemdbError


class Place:
    """The right to be the next in the queue of commits, for the length of a block or until it is passed on."""

    __slots__ = ("_is_mine", "_lock")

    def __init__(self, lock: threading.Lock) -> None:
        self._lock = lock
        self._is_mine = False

    def take(self) -> None:
        """Wait for it, where it was passed on."""
        if not self._is_mine:
            self._lock.acquire()
            self._is_mine = True

    def pass_on(self) -> None:
        """What comes now comes behind."""
        if self._is_mine:
            self._is_mine = False
            self._lock.release()

    def __enter__(self) -> Self:
        self.take()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.pass_on()


def write_parts(parts: Sequence[Part], place: Place) -> None:
    """Have all of them written, in one commit where that can be, and each told what became of it; passes the place on
    as soon as they are in the queue.

    Where there is no room for all, each is tried alone: with its clips missing, where a later commit has more of its
    feed and is written by then, nobody would send them again, since the ledger says to go on behind that.  A growing
    clip is not: what came later may be its end.
    """
    refusal: MemdbError | None = None
    # The first that comes makes the user.
    if len(parts) > 1 and parts[0].feed.stream.user.is_known():
        refusal = _write_together(parts, place)
        if refusal is None:
            return
        place.take()
    for part in parts:
        if refusal is not None and part.feed.going[-1] is not part and not part.is_sealed:
            part.refuse(refusal)
            continue
        try:
            part.outcomes = part.feed.stream.write_prepared(
                part.operations,
                place.pass_on if part is parts[-1] else None,
                _on_its_way([part]),
            )
        except Exception as error:  # of its stream alone, whatever it is: no memory, say
            part.refuse(error)


def _on_its_way(parts: Sequence[Part]) -> Newest:
    """What has its place in the queue already of the feeds of some parts, and no view may have yet."""
    found: dict[tuple[str, int], int] = {}
    for part in parts:
        for before in tuple(part.feed.going):
            if before is part:
                break
            for operation in before.operations:
                key = operation.stream, operation.clip.epoch
                found[key] = max(found.get(key, -1), operation.clip.seq)
    return found


def _write_together(parts: Sequence[Part], place: Place) -> MemdbError | None:
    """What refuses them together, where some may pass alone."""
    try:
        outcomes = write_prepared(
            parts[0].feed.stream.user,
            [operation for part in parts for operation in part.operations],
            place.pass_on,
            _on_its_way(parts),
        )
    except Exception as error:  # whatever it is, they all wait to be told
        if isinstance(error, MemdbError) and may_pass_in_part(error):
            return error
        for part in parts:
            part.refuse(error)
        return None
    begin = 0
    for part in parts:
        part.outcomes = outcomes[begin : begin + part.clips]
        begin += part.clips
    return None
