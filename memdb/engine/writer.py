"""Group commit: callers queue operations, one of them commits for all, and the next group is made
ready meanwhile.

There is no writer thread.  Whoever finds nobody leading becomes the leader: it takes what is queued
(its own operations and whatever has joined) and takes it through the steps of
`memdb.engine.commits`.  As its group goes to the disk it hands leadership to a waiting caller,
which prepares the next group while the disk is waited for.  A lone caller pays for exactly one
commit and no thread switch; many share commits, and the processor works while the disk does.

    leader A   prepare | write | ----- disk ----- |         publish
    leader B                   | prepare | extend | write | ----- disk -----

What comes while a group waits for the disk joins it, so the slower the disk, the larger the groups.  One that is half
as large as the one before it goes to LMDB at once, where it may (`Commits.follow`): it is let in when that one is
written, and has the disk then, without a thread that is woken and waits for the interpreter in between.  Two may stand
there, so that LMDB has the next one while who comes from there shows what it wrote.
What holds the interpreter (preparing, writing, publishing) takes turns, and publishing waits until
the next group is on its way to the disk: nothing computes while the disk has nothing to do.

A group that has no room (on the disk, or in the user's quota) is taken apart: each caller's operations are tried
alone, so that who writes a little is not refused with who writes much.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from queue import SimpleQueue
from typing import Final

from memdb.engine.applied import Outcome
from memdb.engine.commits import Commits, Group
from memdb.engine.passage import Passage
from memdb.engine.submission import Submission
from memdb.engine.taken import Taken
from memdb.engine.turn import Turn
from memdb.errors import MemdbError, ResourceExhausted, Unavailable
from memdb.news import News
from memdb.types.operation import Operation, payload_bytes

QUEUE_BYTES_MAX: Final = 256 << 20
"""Payload bytes waiting for one user's commits; beyond it a write is refused with ``OVERLOADED``.
"""
BEHIND_MAX: Final = 2
"""Groups that go to LMDB behind the one that has the disk: whoever comes from there has to show what it wrote and make
the next ready, while the one behind it is written."""
FOLLOW_BYTES_MIN: Final = 1 << 20
"""Of a group that goes to LMDB while another has the disk; a smaller one waits for more."""
_NO_ROOM: Final = ("DISK_FULL", "QUOTA")
"""What refuses a group and may let a part of it pass."""


class Writer:
    """The queue of one user."""

    def __init__(self, commits: Commits) -> None:
        self._commits = commits
        self._turn = threading.RLock()
        """Who prepares, writes or publishes; nobody while only the disk is waited for."""
        self._newest = threading.Lock()
        """Held until the newest group that was committed has been settled."""
        self._lock = threading.RLock()
        """For all that follows."""
        self._changed = News(self._lock)
        self._queue: deque[Submission] = deque()
        self._queued_bytes = 0
        self._leader: Submission | None = None
        """The submission whose caller takes the next group."""
        self._groups = 0
        """Groups that are on their way."""
        self._disk: Taken | None = None
        """The group that has the disk: its transaction is open, or it is the next to be."""
        self._next: Taken | None = None
        """The group that waits for the disk, and takes what comes."""
        self._behind: tuple[Taken, ...] = ()
        """The groups that have the disk after that, in their order, whatever comes.  Replaced, never changed: who is
        interrupted as one is taken out of a deque has lost it.
        """
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
        submission = Submission(operations, passages)
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

    def _enqueue(self, submission: Submission) -> None:
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

    def _hand_over(self, submission: Submission) -> None:
        """Make the next caller the leader, if it is ``submission``'s that leads (under the lock)."""
        if self._leader is not submission:
            return
        waiting = (one for one in self._queue if not (one.taken or one.done or one.abandoned))
        self._leader = next(waiting, None)
        if self._leader is not None:
            self._leader.woken.put(None)
        else:
            self._changed.notify_all()

    def _abandon(self, submission: Submission) -> None:
        """Forget a caller that was interrupted; what a group has taken of it may be committed."""
        with self._lock:
            submission.abandoned = True
            # A group that is on its way may hold some of it: `_settle` forgets it then.
            if submission in self._queue and (submission.next == 0 or not self._groups):
                self._remove(submission)
            self._hand_over(submission)

    def _remove(self, submission: Submission) -> None:
        self._queued_bytes -= submission.size
        self._queue.remove(submission)

    def _commit_group(self, leader: Submission) -> None:
        """Take the next group through the steps; leadership is handed over on the way."""
        group = Taken()
        try:
            try:
                with self._lock:
                    while self._held:
                        self._changed.wait()
                    self._groups += 1
                    group.is_counted = True
                self._take_through(leader, group)
            except BaseException as error:
                try:
                    if group.before is not None:
                        # Who is told of a refusal looks where to go on: nothing of it may come to be seen afterwards.
                        with group.before:
                            pass
                finally:
                    self._settle(group, None, error)
                if not isinstance(error, MemdbError):
                    raise
            finally:
                self._end(group)
        finally:
            if not group.has_ended:  # its end was interrupted, and who closes the user waits for it
                self._end(group)

    def _end(self, group: Taken) -> None:
        """It is not on its way any more."""
        with self._lock:
            self._groups -= group.is_counted
            group.is_counted = False
            if not self._groups:
                # Who was interrupted between two groups, and is in none that would forget it.
                for left in [one for one in self._queue if one.abandoned]:
                    self._remove(left)
                self._changed.notify_all()
            group.has_ended = True

    def _take_through(self, leader: Submission, group: Taken) -> None:
        with self._turn:
            with self._lock:
                more, size = group.take_from(self._queue)
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
                        with Turn(self._turn, there) as turn:
                            self._commits.commit(prepared, partial(self._let_follow, turn))
                except ResourceExhausted as error:
                    if error.reason not in _NO_ROOM or len(group.submissions()) < 2:
                        raise
                    self._take_apart(group)
                    return
                before, self._newest = self._newest, settled
            except BaseException as error:
                group.before = self._newest
                self._refuse(group, error)  # while nobody else has the disk
                raise
            finally:
                following = self._give_disk(group, prepared)
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
                    if self._disk is group or group in self._behind:
                        # Interrupted where it was to be given, most likely as it waited for the lock.
                        self._give_disk(group, prepared)

    def _give_disk(self, group: Taken, prepared: Group) -> SimpleQueue[None] | None:
        """Let go of it, if the group has it; of the group that has it or waits for it then, None where nobody does."""
        with self._lock:
            # First: whoever is interrupted has given it and told of it, or neither, and does it again.
            self._changed.notify_all()
            self._commits.ended(prepared)
            if self._next is group:
                # It was interrupted as it waited: nobody else would let go of its clips.
                self._next = None
            following = self._next
            if group in self._behind:
                # It was interrupted before it had it.
                self._behind = tuple(one for one in self._behind if one is not group)
            if self._disk is group:
                if self._behind:
                    # No call here: an interrupt comes as one returns.
                    self._disk, self._behind = self._behind[0], self._behind[1:]
                else:
                    self._disk = None
                following = self._disk or following
            return None if following is None else following.there

    def _let_follow(self, turn: Turn) -> None:
        """Who has the disk has nothing left to do but to wait for it."""
        turn.give()
        with self._lock:
            if self._next is not None:
                self._changed.notify_all()

    def _let_follow_too(self, group: Taken) -> None:
        """`_let_follow` of who has the disk only when those before it are written."""
        group.there.put(None)
        with self._lock:
            if self._next is not None:
                self._changed.notify_all()

    def _is_refused(self, group: Taken) -> bool:
        """Whether it has something that is behind what was refused."""
        return self._was_refused and any(one.refusal() for one in group.submissions())

    def _may_follow(self, group: Taken, prepared: Group) -> bool:
        """Whether a group may go to LMDB behind those that are there (under the lock)."""
        before = self._behind[-1] if self._behind else self._disk
        return (
            len(self._behind) < BEHIND_MAX
            and before is not None
            and not before.there.empty()
            and 2 * group.parts >= before.parts
            and group.size >= FOLLOW_BYTES_MIN
            and self._commits.may_follow(prepared)
            and not self._is_refused(group)
        )

    def _follow(self, group: Taken, prepared: Group) -> bool:
        """Have a group written behind those at LMDB, and take the disk over; whether it is written."""
        is_written = False
        try:
            is_written = self._commits.follow(prepared, partial(self._let_follow_too, group))
            return is_written
        finally:
            with self._lock:
                while self._disk is not group:
                    self._changed.wait()
            self._commits.followed(prepared, is_written=is_written)

    def _refuse(self, group: Taken, error: BaseException) -> None:
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

    def _take_apart(self, group: Taken) -> None:
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
        leader: Submission,
        group: Taken,
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
                    more, size = group.take_from(self._queue)
                    if not more and self._may_follow(group, prepared):
                        self._next = None
                        self._behind = (*self._behind, group)
                        if leader.taken:
                            self._hand_over(leader)
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

    def _settle(
        self,
        group: Taken,
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
