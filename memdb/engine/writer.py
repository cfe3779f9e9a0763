"""Group commit: callers queue operations, one of them commits for all, and the next group is made
ready meanwhile.

There is no writer thread.  Whoever finds nobody leading becomes the leader: it takes what is queued
(its own operations and whatever has joined) and takes it through the steps of
`memdb.engine.commits`.  As its group goes to the disk it hands leadership to a waiting caller,
which prepares the next group while the disk is waited for.  A lone caller pays for exactly one
commit and no thread switch; many share commits, and the processor works while the disk does.

    leader A   prepare | write | ----- disk ----- |         publish
    leader B                   | prepare | extend | write | ----- disk -----

What comes while a group waits for the disk joins it, so the slower the disk, the larger the groups.  One that is as
large as the one that has the disk goes to LMDB at once, where it may (`Commits.follow`): it is let in when that one is
written, and has the disk then, without a thread that is woken and waits for the interpreter in between.
What holds the interpreter (preparing, writing, publishing) takes turns, and publishing waits until
the next group is on its way to the disk: nothing computes while the disk has nothing to do.

A group that has no room (on the disk, or in the user's quota) is taken apart: each caller's operations are tried
alone, so that who writes a little is not refused with who writes much.

A group ends at `BATCH_OPERATIONS_MAX`, at `BATCH_BYTES_MAX`, before an operation on a subject
that the group already changes, so that every version of a thing has a revision of its own, and
between what makes room and what takes it.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from queue import SimpleQueue
from types import TracebackType
from typing import Final, Self

from memdb.engine.applied import Outcome
from memdb.engine.commits import Commits, Group
from memdb.engine.passage import Passage
from memdb.errors import MemdbError, ResourceExhausted, Unavailable
from memdb.types.limits import BATCH_BYTES_MAX, BATCH_OPERATIONS_MAX
from memdb.types.operation import Operation, makes_room, payload_bytes, subject

QUEUE_BYTES_MAX: Final = 256 << 20
"""Payload bytes waiting for one user's commits; beyond it a write is refused with ``OVERLOADED``.
"""


SHARE_OPERATIONS_MAX: Final = 64
"""Operations that one caller puts into a group while others wait."""

FOLLOW_BYTES_MIN: Final = 1 << 20
"""Of a group that goes to LMDB while another has the disk; a smaller one waits for more."""

_NO_ROOM: Final = ("DISK_FULL", "QUOTA")
"""What refuses a group and may let a part of it pass."""


class _Submission:
    """One caller's operations."""

    __slots__ = (
        *("abandoned", "error", "next", "operations", "outcomes", "passages", "size", "sizes"),
        "woken",
    )

    def __init__(self, operations: list[Operation], passages: Sequence[Passage]) -> None:
        self.operations = operations
        self.passages = passages
        self.next = 0
        """Operations that a group has taken."""
        self.outcomes: list[Outcome] = []
        self.error: Exception | None = None
        self.abandoned = False
        """Whether its caller was interrupted while it waited."""
        self.sizes = [payload_bytes(operation) for operation in operations]
        self.size = sum(self.sizes)
        self.woken: SimpleQueue[None] = SimpleQueue()
        """Has something when there is something new for its caller: an event of C's, in a third of its time."""

    @property
    def taken(self) -> bool:
        """Whether groups have all of its operations."""
        return self.next == len(self.operations)

    @property
    def done(self) -> bool:
        return self.error is not None or len(self.outcomes) == len(self.operations)

    def refusal(self) -> Exception | None:
        """What refused something that it is behind, or what another group had of it."""
        if self.error is not None:
            return self.error
        refusals = (passage.refusal() for passage in self.passages)
        return next((error for error in refusals if error is not None), None)


class _Taken:
    """What a group has taken of the submissions, and what decides whether it takes more.

    Kept, not counted anew: a group that waits for the disk is looked at whenever somebody comes.
    """

    __slots__ = ("entries", "has_ended", "is_counted", "making_room", "size", "subjects", "there")

    def __init__(self) -> None:
        self.entries: list[tuple[_Submission, Operation]] = []
        self.subjects: set[tuple[object, ...]] = set()
        self.size = 0
        """Payload bytes."""
        self.making_room: bool | None = None
        """Whether its operations make room; None while it has none."""
        self.is_counted = False
        """Whether it is among the groups that are on their way."""
        self.has_ended = False
        """Whether who waits until there is none has been told that it is not."""
        self.there: SimpleQueue[None] = SimpleQueue()
        """Has something once it is on its way to the disk."""

    def take(self, submission: _Submission) -> bool:
        """The next operation of a submission; whether it fits."""
        operation = submission.operations[submission.next]
        size = submission.sizes[submission.next]
        if self.entries and (
            len(self.entries) >= BATCH_OPERATIONS_MAX or self.size + size > BATCH_BYTES_MAX
        ):
            return False
        what = subject(operation)
        if what is not None and what in self.subjects:
            return False
        making_room = makes_room(operation)
        if self.making_room is not making_room:
            if self.making_room is not None:
                # A write beside it would take from it the room that it may have beyond the quota.
                return False
            self.making_room = making_room
        if what is not None:
            self.subjects.add(what)
        self.size += size
        self.entries.append((submission, operation))
        submission.next += 1
        return True

    def submissions(self) -> list[_Submission]:
        """Those of which it has something, in their order."""
        return list(dict.fromkeys(submission for submission, _ in self.entries))

    def split(self, submission: _Submission) -> _Taken:
        """What it has of a submission, and no more."""
        part = _Taken()
        part.entries = [entry for entry in self.entries if entry[0] is submission]
        self.entries = [entry for entry in self.entries if entry[0] is not submission]
        return part


class _Turn:
    """A lock that may be given away before the end of its block."""

    __slots__ = ("_given", "_held", "_lock")

    def __init__(self, lock: threading.RLock, given: SimpleQueue[None]) -> None:
        """lock: one that knows whose it is; given: has something once it is released."""
        self._lock = lock
        self._given = given
        self._held = False

    def __enter__(self) -> Self:
        try:
            self._lock.acquire()
            self._held = True
        except BaseException:
            with suppress(RuntimeError):  # where it was interrupted before
                self._lock.release()
            raise
        return self

    def give(self) -> None:
        """Release it now."""
        if self._held:
            self._held = False
            self._lock.release()
            self._given.put(None)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.give()


class Writer:
    """The queue of one user."""

    def __init__(self, commits: Commits) -> None:
        self._commits = commits
        self._turn = threading.RLock()
        """Who prepares, writes or publishes; nobody while only the disk is waited for."""
        self._newest = threading.Lock()
        """Held until the newest group that was committed has been settled."""
        self._lock = threading.Lock()
        """For all that follows."""
        self._changed = threading.Condition(self._lock)
        self._queue: deque[_Submission] = deque()
        self._queued_bytes = 0
        self._leader: _Submission | None = None
        """The submission whose caller takes the next group."""
        self._groups = 0
        """Groups that are on their way."""
        self._disk: _Taken | None = None
        """The group that has the disk: its transaction is open, or it is the next to be."""
        self._next: _Taken | None = None
        """The group that waits for the disk, and takes what comes."""
        self._behind: tuple[_Taken, _Submission] | None = None
        """The group that has the disk after that, whatever comes, and whose caller leads."""
        self._closed = False
        self._was_refused = False
        """Whether a group ever was: until then nothing is behind what was refused."""
        self._held = 0
        """Who holds commits back now."""

    def write(
        self,
        operations: list[Operation],
        queued: Callable[[], None] | None = None,
        passages: Sequence[Passage] = (),
    ) -> list[Outcome]:
        """Commit ``operations`` in order; blocks until they are durable and published.

        queued: called when later calls can only come behind this one; passages: of what others may come behind, or is
        behind others: refused with them.

        Raises the error of a commit that failed as a whole, `ResourceExhausted` (``OVERLOADED``)
        when the queue is full and `Unavailable` (``CLOSED``).
        """
        if not operations:
            return []
        submission = _Submission(operations, passages)
        refusal = submission.refusal()
        if refusal is not None:
            for passage in passages:
                passage.error = refusal
            raise refusal
        try:
            # Within, as what follows: who is interrupted on the way out may be in the queue, or lead it.
            self._enqueue(submission)
            if queued is not None:
                queued()
            while not submission.done:
                if self._leader is submission:
                    self._commit_group(submission)
                else:
                    submission.woken.get()
            with self._lock:
                # An earlier group may have failed with a part of it before its turn to lead came.
                self._hand_over(submission)
        except BaseException:
            # An interrupt, since errors of a commit are settled: nobody may wait for this caller.
            self._abandon(submission)
            raise
        if submission.error is not None:
            raise submission.error
        return submission.outcomes

    def close(self) -> None:
        """Refuse new writes and wait for those in flight."""
        with self._lock:
            self._closed = True
            while self._leader is not None or self._groups:
                self._changed.wait()

    @contextmanager
    def held_back(self) -> Iterator[None]:
        """No commit for the length of the block, those on their way being settled: what readers see
        is what the store holds.  Writes wait.
        """
        holds = False
        try:
            with self._lock:
                self._held += 1
                holds = True
                while self._groups:
                    self._changed.wait()
            yield
        finally:
            if holds:
                with self._lock:
                    self._let_go()

    def _let_go(self) -> None:
        self._held -= 1
        self._changed.notify_all()

    def _enqueue(self, submission: _Submission) -> None:
        with self._lock:
            if self._closed:
                raise Unavailable("the database is closed", reason="CLOSED")
            if self._queue and self._queued_bytes + submission.size > QUEUE_BYTES_MAX:
                raise ResourceExhausted(
                    "too many writes are waiting",
                    reason="OVERLOADED",
                    field="queued_bytes",
                    value=self._queued_bytes,
                )
            # Counted first, here and in `_remove`: an interrupt comes as a call returns, never between the two.
            self._queued_bytes += submission.size
            self._queue.append(submission)
            if self._leader is None:
                self._leader = submission
            elif self._next is not None:
                self._changed.notify_all()  # it may join the group that waits

    def _hand_over(self, submission: _Submission) -> None:
        """Make the next caller the leader, if it is ``submission``'s that leads (under the lock)."""
        if self._leader is not submission:
            return
        waiting = (one for one in self._queue if not (one.taken or one.done or one.abandoned))
        self._leader = next(waiting, None)
        if self._leader is not None:
            self._leader.woken.put(None)
        else:
            self._changed.notify_all()

    def _abandon(self, submission: _Submission) -> None:
        """Forget a caller that was interrupted; what a group has taken of it may be committed."""
        with self._lock:
            submission.abandoned = True
            # A group that is on its way may hold some of it: `_settle` forgets it then.
            if submission in self._queue and (submission.next == 0 or not self._groups):
                self._remove(submission)
            self._hand_over(submission)

    def _remove(self, submission: _Submission) -> None:
        self._queued_bytes -= submission.size
        self._queue.remove(submission)

    def _commit_group(self, leader: _Submission) -> None:
        """Take the next group through the steps; leadership is handed over on the way."""
        group = _Taken()
        try:
            try:
                with self._lock:
                    while self._held:
                        self._changed.wait()
                    self._groups += 1
                    group.is_counted = True
                self._take_through(leader, group)
            except BaseException as error:
                self._settle(group, None, error)
                if not isinstance(error, MemdbError):
                    raise
            finally:
                self._end(group)
        finally:
            if not group.has_ended:  # its end was interrupted, and who closes the user waits for it
                self._end(group)

    def _end(self, group: _Taken) -> None:
        """It is not on its way any more."""
        with self._lock:
            self._groups -= group.is_counted
            group.is_counted = False
            if not self._groups:
                self._changed.notify_all()
            group.has_ended = True

    def _take_through(self, leader: _Submission, group: _Taken) -> None:
        with self._turn:
            with self._lock:
                more, size = self._take(group)
            prepared = self._commits.prepare(more, size)
        # Whoever is interrupted on the way (Ctrl-C) leaves no group behind that others wait for.
        # Told by one call of C each: who is interrupted as it sets an event has not.
        there, settled = group.there, threading.Lock()
        settled.acquire()
        try:
            try:
                is_written = False
                try:
                    if not self._wait_for_disk(leader, group, prepared):
                        is_written = self._follow(group, prepared)
                    if not is_written and self._is_refused(group):
                        # The group before it waits for that until it is shown, for which this waits.
                        there.put(None)
                        self._take_apart(group)
                        return
                    if not is_written:
                        with _Turn(self._turn, there) as turn:
                            self._commits.commit(prepared, partial(self._let_follow, turn))
                except ResourceExhausted as error:
                    if error.reason not in _NO_ROOM or len(group.submissions()) < 2:
                        raise
                    self._take_apart(group)
                    return
                before, self._newest = self._newest, settled
            except BaseException as error:
                self._refuse(group, error)  # while nobody else has the disk
                raise
            finally:
                following = self._give_disk(group)
            # In the order of the commits, acknowledgements included.
            with before:
                pass
            if following is not None:
                following.get()  # publishing goes on while it waits for the disk
                following.put(None)
            with self._turn:
                outcomes = self._commits.publish(prepared)
            self._settle(group, outcomes, None)
        finally:
            try:
                settled.release()
            finally:
                try:
                    there.put(None)
                finally:
                    behind = self._behind
                    if self._disk is group or (behind is not None and behind[0] is group):
                        # Interrupted where it was to be given, most likely as it waited for the lock.
                        self._give_disk(group)

    def _give_disk(self, group: _Taken) -> SimpleQueue[None] | None:
        """Let go of it, if the group has it; of the group that has it or waits for it then, None where nobody does."""
        with self._lock:
            # First: whoever is interrupted has given it and told of it, or neither, and does it again.
            self._changed.notify_all()
            following, leader = self._next, None
            if self._behind is not None and self._behind[0] is group:
                self._behind = None  # it was interrupted before it had it
            if self._disk is group:
                self._disk = None
                if self._behind is not None:
                    (following, leader), self._behind = self._behind, None
                    self._disk = following
            if leader is not None and leader.taken:
                self._hand_over(leader)
            return None if following is None else following.there

    def _let_follow(self, turn: _Turn) -> None:
        """Who has the disk has nothing left to do but to wait for it."""
        turn.give()
        with self._lock:
            if self._next is not None:
                self._changed.notify_all()

    def _is_refused(self, group: _Taken) -> bool:
        """Whether it has something that is behind what was refused."""
        return self._was_refused and any(one.refusal() for one in group.submissions())

    def _may_follow(self, group: _Taken, prepared: Group) -> bool:
        """Whether a group may go to LMDB behind the one that has the disk (under the lock)."""
        before = self._disk
        return (
            self._behind is None
            and before is not None
            and not before.there.empty()
            and len(group.entries) >= len(before.entries)
            and group.size >= FOLLOW_BYTES_MIN
            and self._commits.may_follow(prepared)
            and not self._is_refused(group)
        )

    def _follow(self, group: _Taken, prepared: Group) -> bool:
        """Have a group written behind the one that has the disk, and take the disk over; whether it is written."""
        is_written = False
        try:
            is_written = self._commits.follow(prepared, partial(group.there.put, None))
            return is_written
        finally:
            with self._lock:
                while self._disk is not group:
                    self._changed.wait()
            self._commits.followed(prepared, is_written=is_written)

    def _refuse(self, group: _Taken, error: BaseException) -> None:
        """Nothing that is behind what a group has is to be written, the rest of it neither."""
        if not isinstance(error, Exception):
            # Of whoever led it, who raises it: nobody has interrupted the others.
            error = Unavailable(
                "a commit was interrupted, and may have been made", reason="INDEX_BROKEN"
            )
        for submission in group.submissions():
            submission.error = submission.error or error
            for passage in submission.passages:
                passage.error = error.again() if isinstance(error, MemdbError) else error
        self._was_refused = True

    def _take_apart(self, group: _Taken) -> None:
        """Commit what a group has of each submission alone, one after the other and before any later group: who
        waits for the disk goes on waiting.  What is behind something that was refused is refused with it.
        """
        with self._newest:
            pass
        for submission in group.submissions():
            part = group.split(submission)
            outcomes: list[Outcome] | None = None
            failure: BaseException | None = submission.refusal()
            try:
                if failure is not None:
                    continue
                with self._turn:
                    operations = [operation for _, operation in part.entries]
                    prepared = self._commits.prepare(
                        operations, sum(payload_bytes(operation) for operation in operations)
                    )
                    self._commits.commit(prepared, _nothing)
                    outcomes = self._commits.publish(prepared)
            except BaseException as error:
                failure = error
                if not isinstance(error, MemdbError):
                    raise
            finally:
                self._settle(part, outcomes, failure)

    def _wait_for_disk(
        self,
        leader: _Submission,
        group: _Taken,
        prepared: Group,
    ) -> bool:
        """Take the disk, and what is queued until then into the group; leadership passes on.  False where it may
        `_follow` who has it.
        """
        while True:
            with self._lock:
                more: list[Operation] = []
                while self._disk is not None and not more:
                    self._next = group
                    more, size = self._take(group)
                    if not more and self._may_follow(group, prepared):
                        self._next, self._behind = None, (group, leader)
                        return False
                    if not more:
                        self._changed.wait()
                if not more:
                    self._disk = group
                    self._next = None
                    if leader.taken:
                        self._hand_over(leader)
                    return True
            with self._turn:
                self._commits.extend(prepared, more, size)

    def _take(self, group: _Taken) -> tuple[list[Operation], int]:
        """Move what fits from the queue to ``group`` (under the lock); the operations that were
        moved, and their payload bytes.
        """
        before, size = len(group.entries), group.size
        share = BATCH_OPERATIONS_MAX if len(self._queue) == 1 else SHARE_OPERATIONS_MAX
        for submission in self._queue:
            last = min(len(submission.operations), submission.next + share)
            while submission.next < last and not submission.abandoned:
                if not group.take(submission):
                    break
            else:
                continue
            break  # all that come later come behind it
        return [operation for _, operation in group.entries[before:]], group.size - size

    def _settle(
        self,
        group: _Taken,
        outcomes: list[Outcome] | None,
        error: BaseException | None,
    ) -> None:
        """Give each operation its outcome and wake the callers that have all of theirs."""
        if error is not None:
            self._refuse(group, error)
        if outcomes is not None:
            for (submission, _), outcome in zip(group.entries, outcomes, strict=True):
                submission.outcomes.append(outcome)
        finished = [one for one in group.submissions() if one.done or one.abandoned]
        for submission in finished:
            if submission.error is None:
                for passage in submission.passages:
                    passage.pass_on()
        with self._lock:
            for submission in finished:
                if submission in self._queue:
                    self._remove(submission)
        for submission in finished:
            submission.woken.put(None)


def _nothing() -> None:
    """Nothing to do."""
