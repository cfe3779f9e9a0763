"""A commit that ingest writers of one user share."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from memdb.engine.ingest_feed import Part
from memdb.engine.lateness import Newest
from memdb.engine.passage import Passage
from memdb.engine.prepared_clips import may_pass_in_part, write_prepared
from memdb.errors import MemdbError
from memdb.types.clip import Ack


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

    Where there is no room for all, or one is behind what was refused, each is tried alone.  What another commit has of
    its feed behind that is refused with the first attempt, and tried again once this is written.
    """
    # The first that comes makes the user.
    may_share = len(parts) > 1 and parts[0].feed.stream.user.is_known()
    if may_share and _write_together(parts, place):
        return
    for part in parts:
        # Again for each: one before it may have given it away to wait, and had no use for it afterwards.
        place.take()
        try:
            _write_alone(part, place, is_last=part is parts[-1])
        except Exception as error:  # of its stream alone, whatever it is: no memory, say
            part.refuse(error)


def _write_alone(part: Part, place: Place, *, is_last: bool) -> None:
    """Raises what refuses all of it."""

    def write() -> Sequence[Ack | MemdbError]:
        return part.feed.stream.write_prepared(
            part.operations,
            place.pass_on if is_last else None,
            _on_its_way([part]),
            [_passage(part)],
        )

    try:
        part.outcomes = write()
    except Exception:  # whatever refused what is before it refuses this with it
        if part.passage.refusal() is None:
            raise
        # It was refused for what is before it, which is tried alone, and takes the place for that.
        place.pass_on()
        if not all(before.wait() for before in _before(part)):
            raise
        place.take()
        part.outcomes = write()


def _on_its_way(parts: Sequence[Part]) -> Newest:
    """What has its place in the queue already of the feeds of some parts, and no view may have yet."""
    found: dict[tuple[str, int], int] = {}
    for part in parts:
        key = part.feed.stream.name, part.operations[0].clip.epoch
        for before in _before(part):
            found[key] = max(found.get(key, -1), before.passage.reached.get(key, -1))
    return found


def _passage(part: Part) -> Passage:
    """A new one, behind all that is on its way of its feed."""
    part.passage = Passage([before.passage for before in _before(part)])
    return part.passage


def _before(part: Part) -> list[Part]:
    """What commits had of its feed before it, as far as its writer has not seen to that yet."""
    before = list(part.feed.going)
    return before[: before.index(part)]


def _write_together(parts: Sequence[Part], place: Place) -> bool:
    """False where all are refused together, and some may pass alone."""
    try:
        outcomes = list(
            write_prepared(
                parts[0].feed.stream.user,
                [operation for part in parts for operation in part.operations],
                place.pass_on,
                _on_its_way(parts),
                [_passage(part) for part in parts],
            )
        )
    except Exception as error:  # whatever it is, they all wait to be told
        if may_pass_in_part(error) or any(part.passage.refusal() for part in parts):
            return False
        for part in parts:
            part.refuse(error)
        return True
    begin = 0
    for part in parts:
        part.outcomes = outcomes[begin : begin + part.clips]
        begin += part.clips
    return True
