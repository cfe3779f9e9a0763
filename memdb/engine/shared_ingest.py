"""What the ingest writers of a user have sent, committed together.

::

    writer ──▶ ready ─┐                 ┌─▶ done: looked at by its writer's thread when it calls next,
    writer ──▶ ready ─┼─▶ one commit ───┼─▶       which is woken only where it waits for that
    writer ──▶ ready ─┘   (a thread)    └─▶

A thread takes what all of them have ready when it begins.  Another begins beside it once as much is ready as the first
has taken: it is made ready while the first waits for the disk.  So many cameras make few large commits, a lone one that
sends as fast as it can keeps some on their way, and nobody is woken for each clip.

The threads come when there is something to do.  They end with the last writer, or when there was nothing for a while,
so that a process which forgets to close its writers writes what they sent and ends.
"""

from __future__ import annotations

import os
import threading
from contextlib import suppress
from queue import Empty, SimpleQueue
from time import monotonic
from typing import Final
from weakref import WeakValueDictionary

from memdb.engine.ingest_feed import Feed, Part
from memdb.engine.shared_commit import Place, write_parts
from memdb.errors import FailedPrecondition
from memdb.types.operation import WriteClip, payload_bytes

GROUP_CLIPS: Final = 8
"""Sealed clips, of all writers together, for which a commit begins before anybody waits for them."""
LINGER_S: Final = 0.05
"""So long the first of them waits for so many."""
CLIPS_MAX: Final = 64
"""Clips of a commit."""
BYTES_MAX: Final = 8 * 1024 * 1024
"""Of their payloads; a clip alone may be more.  LMDB has them all in memory: with twice as many the allocator gave it
back after each commit, and each page was the kernel's to make again."""
GOING_MAX: Final = 3
"""Commits at once: one that waits for the disk, one that LMDB has next, and one that is shown to readers or made ready
meanwhile."""
IN_FLIGHT_MAX: Final = 5 * CLIPS_MAX
"""Clips of all writers on their way; one that has none adds its own whatever there is.  Threads that send on and on
have the interpreter's lock, and those that commit wait for it."""
IN_FLIGHT_BYTES_MAX: Final = 4 * BYTES_MAX
"""Likewise, of their payloads."""
IDLE_S: Final = 0.2
"""So long a thread waits for something to do."""


class SharedIngests:
    """Of all users that have writers now."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._of: WeakValueDictionary[str, SharedIngest] = WeakValueDictionary()

    def enter(self, user: str) -> SharedIngest:
        """The user's, for one writer more, which will `leave` it."""
        with self._lock:
            found = self._of.get(user)
            if found is None or found.is_forked:
                found = self._of[user] = SharedIngest(user)
            found.writers += 1
            return found

    def leave(self, shared: SharedIngest) -> None:
        """One of its writers has ended; with the last one its threads have."""
        if shared.is_forked:
            return
        with self._lock:
            shared.writers -= 1
            if shared.writers:
                return
            if self._of.get(shared.user) is shared:
                del self._of[shared.user]  # who comes now gets another
        shared.end()


class SharedIngest:
    """The writers of one user."""

    def __init__(self, user: str) -> None:
        self.user = user
        self.writers = 0
        """How many there are, under the lock of `SharedIngests`."""
        self._pid = os.getpid()
        self._turn = threading.Lock()
        """Whose is the `Place`: taken in one order and queued in another, clips of a stream would change theirs."""
        self._lock = threading.Lock()
        """For all that follows."""
        self._waiting: dict[Feed, None] = {}
        """Feeds that have something ready, in the order of their turns."""
        self._ready = 0
        """Clips that they have."""
        self._ready_bytes = 0
        self._in_flight = 0
        """Clips that are ready or going."""
        self._in_flight_bytes = 0
        self._due = 0.0
        """When what is ready has waited long enough."""
        self._is_hurried = False
        """Whether what is ready waits for no others."""
        self._going: list[int] = []
        """The clips of each commit on its way, the oldest first."""
        self._awaited: dict[Feed, int] = {}
        """Feeds whose writers wait until so few of their clips are on their way."""
        self._for_room: dict[Feed, None] = {}
        """Feeds whose writers wait until there is less in flight."""
        self._threads: set[threading.Thread] = set()
        self._idle: list[SimpleQueue[None]] = []
        """Of threads that have nothing to do; who wakes one takes it out."""
        self._has_ended = False

    @property
    def is_forked(self) -> bool:
        """Whether its threads are another process's."""
        return os.getpid() != self._pid

    # -- for writers

    def put(self, feed: Feed, operation: WriteClip, *, hurry: bool) -> None:
        """Have a clip written behind what the feed has; not where one of that was refused.

        hurry: to wait for no others.  Raises `FailedPrecondition` (``FORKED``), and `RuntimeError` where there is no
        thread to be had.
        """
        self._check_forked()
        entry = (operation, payload_bytes(operation))
        due = monotonic() + LINGER_S
        with self._lock:
            if feed.is_refused:
                return
            if not self._threads:
                self._start()
            is_first = not self._waiting
            # No call from here on: an interrupt comes as one returns, never between these.
            if is_first:
                self._due = due
            self._is_hurried |= hurry
            self._ready += 1
            self._ready_bytes += entry[1]
            self._in_flight += 1
            self._in_flight_bytes += entry[1]
            feed.on_their_way += 1
            feed.ready += (entry,)
            self._waiting[feed] = None
            self._see_to_it(is_first=is_first)

    def wait(self, feed: Feed, at_most: int) -> None:
        """Return once at most so many of a feed's clips are on their way; raises as `put`."""
        self._check_forked()
        while True:
            with self._lock:
                if feed.on_their_way <= at_most:
                    self._awaited.pop(feed, None)
                    return
                self._awaited[feed] = at_most
                self._hurry(is_hurried=bool(feed.ready))
            feed.woken.get()

    def wait_for_room(self, feed: Feed) -> None:
        """Return once the feed has nothing on its way, or all together have no more than they may; raises as `put`."""
        if not self._is_full():
            return
        self._check_forked()
        while True:
            with self._lock:
                if not (self._is_full() and feed.on_their_way):
                    self._for_room.pop(feed, None)
                    return
                self._for_room[feed] = None
                self._hurry(is_hurried=True)
            feed.woken.get()

    def drop(self, feed: Feed) -> int:
        """Write nothing more of what a feed has ready; how many clips that were."""
        if self.is_forked:
            return len(feed.ready)
        with self._lock:
            return self._drop(feed)

    def end(self) -> None:
        """Return when the threads have ended, since there is no writer any more."""
        with self._lock:
            self._has_ended = True
            for idle in self._idle:
                idle.put(None)
            self._idle.clear()
            threads = list(self._threads)
        for thread in threads:
            thread.join()

    def _is_full(self, part: int = 1) -> bool:
        """Whether there is as much on its way as there may be, or that part of it."""
        return (
            part * self._in_flight >= IN_FLIGHT_MAX
            or part * self._in_flight_bytes >= IN_FLIGHT_BYTES_MAX
        )

    def _check_forked(self) -> None:
        if self.is_forked:
            raise FailedPrecondition(
                "a database cannot be used after fork", reason="FORKED", value=os.getpid()
            )

    # -- under the lock

    def _hurry(self, *, is_hurried: bool) -> None:
        """Somebody waits; is_hurried: for what is ready."""
        if not self._threads:
            self._start()
        self._is_hurried |= is_hurried and bool(self._waiting)
        self._see_to_it()

    def _drop(self, feed: Feed) -> int:
        size = sum(its for _, its in feed.ready)
        dropped = len(feed.ready)
        feed.ready = []
        feed.on_their_way -= dropped
        self._ready -= dropped
        self._ready_bytes -= size
        self._in_flight -= dropped
        self._in_flight_bytes -= size
        self._waiting.pop(feed, None)
        return dropped

    def _is_time(self) -> bool:
        """Whether a commit is to begin."""
        if not self._waiting:
            return False
        enough = self._going[0] if self._going else GROUP_CLIPS
        if self._ready >= enough or self._ready_bytes >= BYTES_MAX:
            return len(self._going) < GOING_MAX
        return not self._going and (self._is_hurried or monotonic() >= self._due)

    def _see_to_it(self, *, is_first: bool = False) -> None:
        """Have a thread begin a commit where it is time, or wait until it is where it is the first that is ready."""
        is_time = self._is_time()
        if not is_time and (self._going or not is_first):
            return
        if len(self._threads) - len(self._idle) > len(self._going):
            return  # one is about to look
        if self._idle:
            self._idle.pop().put(None)
        elif len(self._threads) < GOING_MAX:
            with suppress(RuntimeError):  # the other does it all
                self._start()

    def _start(self) -> None:
        """Raises `RuntimeError` where there is no thread to be had."""
        thread = threading.Thread(target=self._run, name=f"memdb-ingest-{self.user}")
        self._threads.add(thread)
        try:
            thread.start()
        except BaseException:
            self._threads.discard(thread)  # interrupted it may run all the same, and adds itself
            raise

    # -- for the threads

    def _run(self) -> None:
        me, woken = threading.current_thread(), SimpleQueue[None]()
        with self._lock:
            self._threads.add(me)
        try:
            while self._is_wanted(me, woken):
                self._commit()
        finally:
            with self._lock:
                if me in self._threads:  # it fails, and others begin where it was
                    self._threads.discard(me)
                    for feed in (*self._awaited, *self._for_room):
                        feed.woken.put(None)

    def _is_wanted(self, me: threading.Thread, woken: SimpleQueue[None]) -> bool:
        """Return when it is time for a commit; False where the thread is to end, and is counted no more."""
        is_idle = False
        while True:
            with self._lock:
                if self._is_time():
                    return True
                if self._has_ended or (is_idle and not self._waiting):
                    self._threads.discard(me)
                    return False
                lingers = self._waiting and not self._going
                timeout = max(0.0, self._due - monotonic()) if lingers else IDLE_S
                self._idle.append(woken)
            try:
                woken.get(timeout=timeout)
                is_idle = False
            except Empty:
                with self._lock:
                    is_idle = woken in self._idle
                    if is_idle:
                        self._idle.remove(woken)

    def _commit(self) -> None:
        """Commit what is ready, if it still is time."""
        with Place(self._turn) as place:
            parts, size = self._take()
            if not parts:
                return
            try:
                with self._lock:
                    self._see_to_it()
                write_parts(parts, place)
            finally:
                self._settle(parts, size)

    def _take(self) -> tuple[list[Part], int]:
        """What the next commit has, and its bytes."""
        parts: list[Part] = []
        clips = size = 0
        with self._lock:
            if not self._is_time():
                return parts, size
            for feed in self._waiting:
                operations: list[WriteClip] = []
                for operation, its_size in feed.ready[: feed.share]:
                    if clips == CLIPS_MAX or (clips and size + its_size > BYTES_MAX):
                        break
                    operations.append(operation)
                    clips, size = clips + 1, size + its_size
                if not operations:
                    break
                parts.append(Part(feed, operations))
            self._going.append(clips)
            self._ready -= clips
            self._ready_bytes -= size
            for part in parts:
                feed = part.feed
                del feed.ready[: part.clips], self._waiting[feed]
                if feed.ready:
                    self._waiting[feed] = None  # behind the others
                feed.going.append(part)
            self._is_hurried &= bool(self._waiting)
        return parts, size

    def _settle(self, parts: list[Part], size: int) -> None:
        """Their writers can have what became of them."""
        failed: BaseException | None = None
        with self._lock:
            clips = sum(part.clips for part in parts)
            self._going.remove(clips)
            self._in_flight -= clips
            self._in_flight_bytes -= size
            for part in parts:
                part.feed.on_their_way -= part.clips
                try:
                    self._end(part)
                except BaseException as error:  # no memory, say: the others are waited for as well
                    failed = error
                    if not part.is_done:
                        part.break_off()
                    if not part.is_written:
                        self._refuse(part.feed)
            if self._for_room and not self._is_full(2):
                for feed in self._for_room:
                    feed.woken.put(None)
                self._for_room.clear()
        if failed is not None:
            raise failed  # the thread's end wakes who waits

    def _end(self, part: Part) -> None:
        """A part is done."""
        feed = part.feed
        if not part.end():
            self._refuse(feed)
        if feed.on_their_way <= self._awaited.get(feed, -1):
            del self._awaited[feed]
            feed.woken.put(None)
        if not feed.on_their_way and feed in self._for_room:
            # Others may fill what there is for ever.
            del self._for_room[feed]
            feed.woken.put(None)

    def _refuse(self, feed: Feed) -> None:
        """Write nothing behind a clip that was refused."""
        feed.is_refused = True
        self._drop(feed)
