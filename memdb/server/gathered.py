"""What the ingest streams of a user have ready, committed together.

::

    stream ──▶ ready ─┐                 ┌─▶ acknowledgement, by the thread where the edge lets it
    stream ──▶ ready ─┼─▶ one commit ───┼─▶
    stream ──▶ ready ─┘   (a thread)    └─▶ all their outcomes to the loop at once

A thread of the write pool takes what all of them have ready when it begins, not when it was asked for.  Another begins
beside it only once as much is ready as it has taken: it is made ready while the first waits for the disk.  So a crowd
of streams makes few large commits, and not a thread's turn for each stream, and one that sends fast has its next commit
ready when the disk is.  A lone clip has a thread at once.

What a stream has ready grows until a thread takes it.  It is behind what a thread has of the same stream already: that
is in the user's queue of commits before a thread takes this, and where it was refused, this is not written.

The loop gives and is told; the threads only take, and commit (`memdb.server.clip_commits`).
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from contextlib import suppress
from typing import Final
from weakref import WeakValueDictionary

from memdb.engine.stream_batches import its_own
from memdb.errors import MemdbError
from memdb.server.clip_commits import committed_alone, committed_together
from memdb.server.executors import Pool, Turns
from memdb.server.lot import Lot
from memdb.server.openings import Openings
from memdb.server.ready_clips import Ready, Told

CLIPS_MAX: Final = 128
"""Clips that a commit takes of several streams; of one as many as it has ready."""
BYTES_MAX: Final = 16 * 1024 * 1024
"""Likewise, of their messages."""
GOING_MAX: Final = 2
"""Commits of a user's streams at once: one that waits for the disk, one that is made ready."""


class Gatherings:
    """Of all users that have streams now."""

    def __init__(self, pool: Pool, openings: Openings) -> None:
        self._pool = pool
        self._openings = openings
        self._of: WeakValueDictionary[str, Gathered] = WeakValueDictionary()

    def of(self, user: str) -> Gathered:
        """The user's, for as long as somebody has it."""
        found = self._of.get(user)
        if found is None:
            found = self._of[user] = Gathered(user, self._pool.of(user), self._openings)
        return found


class Gathered:
    """The streams of one user."""

    def __init__(self, user: str, turns: Turns, openings: Openings) -> None:
        self._user = user
        self._turns = turns
        self._openings = openings
        self._lock = threading.Lock()
        """For what waits."""
        self._waiting: deque[Ready] = deque()
        self._waiting_clips = 0
        self._going: list[_Commit] = []
        """The loop's alone."""
        self._loop = asyncio.get_running_loop()

    @property
    def is_idle(self) -> bool:
        """Whether nothing is ready, and nothing on its way."""
        return not self._going and not self._waiting

    def put(self, ready: Ready) -> None:
        """Have it committed, and its outcome told; what prevents the opening of its user too."""
        if not self._going and not self._waiting and self._openings.is_open(self._user):
            # Without the queue, of which its thread takes what has come meanwhile.
            ready.is_taken = True
            self._start(_Commit(self, ready), is_open=True)
            return
        with self._lock:
            self._waiting.append(ready)
            self._waiting_clips += ready.lot.clips
        self._go_on()

    def add(self, ready: Ready, lot: Lot) -> bool:
        """Have more of its stream committed with it; False, and nothing is done, where a thread has it."""
        with self._lock:
            if ready.is_taken:
                return False
            ready.lot.take_in(lot)
            self._waiting_clips += lot.clips
        self._go_on()
        return True

    def take_back(self, ready: Ready) -> bool:
        """Not to be committed: its stream has left; False where a thread has it, or will."""
        with self._lock:
            if ready in self._waiting:
                self._waiting.remove(ready)
                self._waiting_clips -= ready.lot.clips
                ready.is_over = True
            return ready.is_over

    def take(self, first: Ready | None) -> list[Ready]:
        """What the next commit has, behind its first where that was given; for its thread."""
        taken: list[Ready] = []
        clips = size = 0
        if first is not None:
            taken.append(first)
            if not self._waiting:
                return taken
            clips, size = first.lot.clips, first.lot.size
        with self._lock:
            for ready in self._waiting:
                if first is not None and ready.behind is first.fate:
                    break  # or what is said of its numbers would be said of those before it as well
                clips, size = clips + ready.lot.clips, size + ready.lot.size
                if taken and (clips > CLIPS_MAX or size > BYTES_MAX):
                    break
                taken.append(ready)
            # Nothing fails from here on: who is taken and in no commit would wait for ever.
            for ready in taken:
                if ready is not first:
                    self._waiting.popleft()
                    self._waiting_clips -= ready.lot.clips
                    ready.is_taken = True
        return taken

    def _go_on(self) -> None:
        """Have a thread take what waits, where it is time for one."""
        if self._waiting and self._is_time():
            self._start(_Commit(self), is_open=False)

    def _start(self, commit: _Commit, *, is_open: bool) -> None:
        """Hand it to a thread, or to who waits for one.

        is_open: whether the user is known to be."""
        self._going.append(commit)
        outcome: asyncio.Future[list[Told | Exception]] | None = None
        try:
            if is_open or self._openings.is_open(self._user):
                outcome = self._turns.begin(commit.make)
            if outcome is None:
                outcome = asyncio.ensure_future(self._in_turn(commit))
        except BaseException as error:  # of threads that have ended, say
            self._ended(commit, error)
            return
        outcome.add_done_callback(commit.ended)

    def _is_time(self) -> bool:
        if not self._going:
            return True
        return len(self._going) < GOING_MAX and self._is_time_beside(self._going[0])

    def _is_time_beside(self, commit: _Commit) -> bool:
        """Whether as much waits as a commit has, which has its place in the user's queue."""
        return commit.queued is not None and self._waiting_clips >= commit.queued

    def _is_queued(self, commit: _Commit) -> None:
        """A commit has its place; on its thread, which wakes the loop where that is for something."""
        if self._is_time_beside(commit):
            # Of a loop that is closed nobody is left to go on; where there is no memory for it, it does at the end of
            # this one: to fail here would be to leave the queue, while others take it that this is in it.
            with suppress(RuntimeError, MemoryError):
                self._loop.call_soon_threadsafe(self._go_on)

    async def _in_turn(self, commit: _Commit) -> list[Told | Exception]:
        # It may have been closed since, for others.
        await self._openings.wait(self._user)
        return await self._turns.run_in_turn(commit.make)

    def _ended(
        self,
        commit: _Commit,
        error: BaseException | None,
        told: list[Told | Exception] | None = None,
    ) -> None:
        """A commit is over; on the loop."""
        self._going.remove(commit)
        taken = commit.taken
        if taken is None:
            # It never began: as all that wait would fare.
            with self._lock:
                taken = [*((commit.first,) if commit.first else ()), *self._waiting]
                self._waiting.clear()
                self._waiting_clips = 0
        if told is None:
            for ready in taken:  # before what is behind it is taken
                ready.is_taken = True
                if isinstance(error, Exception) and ready.fate.error is None:
                    ready.fate.error = its_own(error)
        try:
            # What follows first: while its thread wakes the loop has these to tell.
            self._go_on()
        finally:
            self._tell(taken, error, told)

    def _tell(
        self,
        taken: list[Ready],
        error: BaseException | None,
        told: list[Told | Exception] | None,
    ) -> None:
        """Give each its outcome; on the loop."""
        failed: Exception | None = None
        for index, ready in enumerate(taken):
            try:
                _give(ready, told[index] if told is not None else error)
            except Exception as raised:  # no memory, say: the others wait as well
                failed = raised
        if failed is not None:
            raise failed


class _Commit:
    """A commit on its way."""

    __slots__ = ("_gathered", "first", "queued", "taken")

    def __init__(self, gathered: Gathered, first: Ready | None = None) -> None:
        """first: what it has beside what its thread takes."""
        self._gathered = gathered
        self.first = first
        self.taken: list[Ready] | None = None
        """None until its thread has begun and taken what is ready."""
        self.queued: int | None = None
        """How many clips it has taken; None until later commits can only come behind it."""

    def make(self) -> list[Told | Exception]:
        """Take what is ready, commit it and send the acknowledgements ahead; for the thread."""
        self.taken = self._gathered.take(self.first)
        if len(self.taken) == 1:
            return [committed_alone(self.taken[0], self._is_queued)]
        return committed_together(self.taken, self._is_queued)

    def ended(self, outcome: asyncio.Future[list[Told | Exception]]) -> None:
        """Its outcome is there."""
        if outcome.cancelled():
            self._gathered._ended(self, asyncio.CancelledError())
        elif (error := outcome.exception()) is not None:
            self._gathered._ended(self, error)
        else:
            self._gathered._ended(self, None, outcome.result())

    def _is_queued(self) -> None:
        assert self.taken is not None, "it was made"
        self.queued = sum(ready.lot.clips for ready in self.taken)
        self._gathered._is_queued(self)


def _give(ready: Ready, one: Told | BaseException | None) -> None:
    """Give it its outcome, and wake its stream; on the loop."""
    ready.is_over = True
    if ready.left is not None:
        ready.left()
    if ready.outcome.done():
        return  # its stream has left
    try:
        if isinstance(one, asyncio.CancelledError):
            ready.outcome.cancel()
        elif isinstance(one, MemdbError):
            ready.outcome.set_exception(one.again())
        elif isinstance(one, BaseException):
            ready.outcome.set_exception(one)
        else:
            assert one is not None, "a commit that did not fail has told"
            ready.outcome.set_result(one)
    except MemoryError as error:
        if not ready.outcome.done():
            ready.outcome.set_exception(error)
    if ready.woken is not None:
        ready.woken()
        if not ready.outcome.cancelled():
            ready.outcome.exception()  # seen, though the stream may have ended
