"""What the ingest streams of a user have ready, committed together.

::

    stream ──▶ ready ─┐                 ┌─▶ acknowledgement, by the thread where the edge lets it
    stream ──▶ ready ─┼─▶ one commit ───┼─▶
    stream ──▶ ready ─┘   (a thread)    └─▶ all their outcomes to the loop at once

A thread of the write pool takes what all of them have ready when it begins, not when it was asked for.  Another begins
beside it only once as much is ready as it has taken: it is made ready while the first waits for the disk.  So a crowd
of streams makes few large commits, and not a thread's turn for each stream.  A lone stream has one commit on its way,
and its clip a thread at once.

The loop gives and is told; the threads only take.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from typing import Final
from weakref import WeakValueDictionary

from memdb.engine.stream import EmbeddedStream
from memdb.engine.stream_batches import Outcomes, its_own, write_batches
from memdb.errors import MemdbError
from memdb.server.executors import Pool, Turns
from memdb.server.openings import Openings
from memdb.types.clip import Clip
from memdb.v1 import clip_service_pb2 as pb
from memdb.wire.clips import fill_ack

CLIPS_MAX: Final = 64
"""Clips that a commit takes of several streams; of one as many as it has ready."""
BYTES_MAX: Final = 16 * 1024 * 1024
"""Likewise, of their messages."""
GOING_MAX: Final = 2
"""Commits of a user's streams at once: one that waits for the disk, one that is made ready."""

Ahead = Callable[[bytes], None]
"""Sends a message at once, from any thread: see `memdb.server.edge.SendsFromThreads`."""
Told = tuple[bytes, MemdbError | None]
"""The acknowledgements of the clips before the first refused one as a message, empty for none, and its error."""


class Ready:
    """What one stream has ready; of each stream one at a time."""

    __slots__ = ("clips", "outcome", "size", "stream", "tell", "woken")

    def __init__(
        self,
        stream: Callable[[], EmbeddedStream],
        clips: list[Clip],
        size: int,
        tell: Ahead | None,
        woken: Callable[[], None] | None = None,
    ) -> None:
        """stream: called by the thread, which is told what is wrong with it; size: bytes of its messages; tell: sends
        the acknowledgements ahead; woken: called once the outcome is there, where nobody awaits it."""
        self.stream = stream
        self.clips = clips
        self.size = size
        self.tell = tell
        self.woken = woken
        self.outcome: asyncio.Future[Told] = asyncio.get_running_loop().create_future()


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

    def begin(self, ready: Ready) -> bool:
        """Have it committed, whether or not its stream goes on; False, and nothing is done, where the user is to be
        opened first."""
        if not self._openings.is_open(self._user):
            return False
        if self._going or self._waiting:
            self._put(ready, is_open=True)
        else:  # without the queue, of which its thread takes what has come meanwhile
            self._start(_Commit(self, ready), is_open=True)
        return True

    async def commit(self, ready: Ready) -> Told:
        """What became of it.  Who gives up waiting takes it back, if no thread has it.

        Raises what refuses all of it, and what prevents the opening of its user.
        """
        self._put(ready)
        try:
            return await ready.outcome
        except asyncio.CancelledError:
            self._take_back(ready)
            raise

    def take(self, first: Ready | None) -> list[Ready]:
        """What the next commit has, behind its first where that was given; for its thread."""
        taken: list[Ready] = []
        clips = size = 0
        if first is not None:
            taken.append(first)
            if not self._waiting:
                return taken
            clips, size = len(first.clips), first.size
        with self._lock:
            for ready in self._waiting:
                clips, size = clips + len(ready.clips), size + ready.size
                if taken and (clips > CLIPS_MAX or size > BYTES_MAX):
                    break
                taken.append(ready)
            # Nothing fails from here on: who is taken and in no commit would wait for ever.
            for ready in taken:
                if ready is not first:
                    self._waiting.popleft()
                    self._waiting_clips -= len(ready.clips)
        return taken

    def _put(self, ready: Ready, *, is_open: bool = False) -> None:
        with self._lock:
            self._waiting.append(ready)
            self._waiting_clips += len(ready.clips)
        self._go_on(is_open=is_open)

    def _take_back(self, ready: Ready) -> None:
        with self._lock:
            if ready in self._waiting:
                self._waiting.remove(ready)
                self._waiting_clips -= len(ready.clips)

    def _go_on(self, *, is_open: bool = False) -> None:
        """Have a thread take what waits, where it is time for one.

        is_open: whether the user is known to be."""
        if self._waiting and self._is_time():
            self._start(_Commit(self), is_open=is_open)

    def _start(self, commit: _Commit, *, is_open: bool) -> None:
        """Hand it to a thread, or to who waits for one."""
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
        if len(self._going) >= GOING_MAX:
            return False
        clips = self._going[0].clips
        return clips is not None and self._waiting_clips >= clips

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
        for index, ready in enumerate(taken):
            if ready.outcome.done():
                continue  # its stream has left
            one = told[index] if told is not None else error
            if isinstance(one, asyncio.CancelledError):
                ready.outcome.cancel()
            elif isinstance(one, MemdbError):
                ready.outcome.set_exception(one.again())
            elif isinstance(one, BaseException):
                ready.outcome.set_exception(one)
            else:
                assert one is not None, "a commit that did not fail has told"
                ready.outcome.set_result(one)
            if ready.woken is not None:
                ready.woken()
                if not ready.outcome.cancelled():
                    ready.outcome.exception()  # seen, though the stream may have ended


class _Commit:
    """A commit on its way."""

    __slots__ = ("_gathered", "first", "taken")

    def __init__(self, gathered: Gathered, first: Ready | None = None) -> None:
        """first: what it has beside what its thread takes."""
        self._gathered = gathered
        self.first = first
        self.taken: list[Ready] | None = None
        """None until its thread has begun and taken what is ready."""

    @property
    def clips(self) -> int | None:
        """How many it has taken."""
        return None if self.taken is None else sum(len(ready.clips) for ready in self.taken)

    def make(self) -> list[Told | Exception]:
        """Take what is ready, commit it and send the acknowledgements ahead; for the thread."""
        self.taken = self._gathered.take(self.first)
        return [_alone(self.taken[0])] if len(self.taken) == 1 else _made(self.taken)

    def ended(self, outcome: asyncio.Future[list[Told | Exception]]) -> None:
        """Its outcome is there."""
        if outcome.cancelled():
            self._gathered._ended(self, asyncio.CancelledError())
        elif (error := outcome.exception()) is not None:
            self._gathered._ended(self, error)
        else:
            self._gathered._ended(self, None, outcome.result())


def _alone(ready: Ready) -> Told | Exception:
    """`_made` of one."""
    try:
        return _told(ready, ready.stream().write_batch(ready.clips))
    except Exception as error:  # of its stream alone, whatever it is: no memory, say
        return its_own(error)


def _made(taken: list[Ready]) -> list[Told | Exception]:
    """For each what its stream is told, or what refuses all of it."""
    found: list[Told | Exception] = []
    batches = []
    places = []
    for index, ready in enumerate(taken):
        try:
            batches.append((ready.stream(), ready.clips))
            places.append(index)
            found.append((b"", None))
        except Exception as error:  # of its stream alone, whatever it is: no memory, say
            found.append(its_own(error))
    for index, outcomes in zip(places, write_batches(batches), strict=True):
        if isinstance(outcomes, Exception):
            found[index] = outcomes
            continue
        try:
            found[index] = _told(taken[index], outcomes)
        except Exception as error:  # of its stream alone, whatever it is: no memory, say
            found[index] = its_own(error)
    return found


def _told(ready: Ready, outcomes: Outcomes) -> Told:
    """The answer for the clips before the first refused one, which is sent ahead, and its error."""
    response = pb.IngestClipsResponse()
    acks = response.acks.acks
    refusal: MemdbError | None = None
    for outcome in outcomes:
        if isinstance(outcome, MemdbError):
            refusal = outcome
            break
        fill_ack(acks.add(), outcome)
    told = response.SerializeToString() if acks else b""
    if told and ready.tell is not None:
        ready.tell(told)
    return told, refusal
