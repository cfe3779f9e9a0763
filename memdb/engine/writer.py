"""Group commit: callers queue operations, one of them commits for all.

There is no writer thread.  Whoever finds the writer idle becomes its leader, commits what is queued
(its own operations and whatever has joined) until its own are done, and hands leadership to a
waiting caller.  While a commit waits for the disk, the next group gathers; a lone caller pays for
exactly one commit and no thread switch.

A group ends at `BATCH_OPERATIONS_MAX`, at `BATCH_BYTES_MAX`, or before an operation on a subject
that the group already changes, so that every version of a thing has a revision of its own.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Final

from memdb.engine.applied import Outcome
from memdb.errors import MemdbError, ResourceExhausted, Unavailable
from memdb.types.limits import BATCH_BYTES_MAX, BATCH_OPERATIONS_MAX
from memdb.types.operation import Operation, payload_bytes, subject

QUEUE_BYTES_MAX: Final = 256 << 20
"""Payload bytes waiting for one user's commits; beyond it a write is refused with ``OVERLOADED``.
"""


SHARE_OPERATIONS_MAX: Final = 64
"""Operations that one caller puts into a group while others wait."""


class _Submission:
    """One caller's operations."""

    __slots__ = ("abandoned", "error", "next", "operations", "outcomes", "size", "sizes", "woken")

    def __init__(self, operations: list[Operation]) -> None:
        self.operations = operations
        self.next = 0
        """Operations that a group has taken."""
        self.outcomes: list[Outcome] = []
        self.error: BaseException | None = None
        self.abandoned = False
        """Whether its caller was interrupted while it waited."""
        self.sizes = [payload_bytes(operation) for operation in operations]
        self.size = sum(self.sizes)
        self.woken = threading.Event()

    @property
    def done(self) -> bool:
        return self.error is not None or len(self.outcomes) == len(self.operations)


class Writer:
    """The queue of one user."""

    def __init__(self, commit: Callable[[list[Operation], int], list[Outcome]]) -> None:
        self._commit = commit
        self._lock = threading.Lock()
        self._idle = threading.Condition(self._lock)
        self._queue: deque[_Submission] = deque()
        self._queued_bytes = 0
        self._leader: _Submission | None = None
        """The submission whose caller commits for all."""
        self._closed = False

    def write(self, operations: list[Operation]) -> list[Outcome]:
        """Commit ``operations`` in order; blocks until they are durable and published.

        Raises the error of a commit that failed as a whole, `ResourceExhausted` (``OVERLOADED``)
        when the queue is full and `Unavailable` (``CLOSED``).
        """
        if not operations:
            return []
        submission = _Submission(operations)
        self._enqueue(submission)
        try:
            while not submission.done:
                if self._leader is submission:
                    self._lead(submission)
                else:
                    submission.woken.wait()
                    submission.woken.clear()
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
            while self._leader is not None:
                self._idle.wait()

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
            self._queue.append(submission)
            self._queued_bytes += submission.size
            if self._leader is None:
                self._leader = submission

    def _lead(self, own: _Submission) -> None:
        """Commit groups until ``own`` is done, then hand over."""
        while not own.done:
            self._commit_group()
        with self._lock:
            self._hand_over()

    def _hand_over(self) -> None:
        """Make the next waiting caller the leader (under the lock)."""
        self._leader = self._queue[0] if self._queue else None
        if self._leader is not None:
            self._leader.woken.set()
        else:
            self._idle.notify_all()

    def _abandon(self, submission: _Submission) -> None:
        """Forget a caller that was interrupted; what a group has taken of it may be committed."""
        with self._lock:
            leads = self._leader is submission
            submission.abandoned = True
            # While another leads, a group may hold some of it: `_settle` forgets it then.
            if submission in self._queue and (leads or submission.next == 0):
                self._remove(submission)
            if leads:
                self._hand_over()

    def _remove(self, submission: _Submission) -> None:
        self._queue.remove(submission)
        self._queued_bytes -= submission.size

    def _commit_group(self) -> None:
        group: list[tuple[_Submission, Operation]] = []
        try:
            with self._lock:
                size = self._take_group(group)
            outcomes = self._commit([operation for _, operation in group], size)
        except BaseException as error:
            self._settle(group, None, error)
            if not isinstance(error, MemdbError):
                raise
            return
        self._settle(group, outcomes, None)

    def _take_group(self, group: list[tuple[_Submission, Operation]]) -> int:
        """Move what the next commit does from the queue to ``group`` (under the lock); its payload
        bytes.
        """
        subjects: set[object] = set()
        size = 0
        share = BATCH_OPERATIONS_MAX if len(self._queue) == 1 else SHARE_OPERATIONS_MAX
        for submission in self._queue:
            taken = 0
            while submission.next < len(submission.operations) and taken < share:
                operation = submission.operations[submission.next]
                what = subject(operation)
                grown = size + submission.sizes[submission.next]
                full = len(group) >= BATCH_OPERATIONS_MAX or (group and grown > BATCH_BYTES_MAX)
                if full or (what is not None and what in subjects):
                    return size
                if what is not None:
                    subjects.add(what)
                size = grown
                group.append((submission, operation))
                submission.next += 1
                taken += 1
        return size

    def _settle(
        self,
        group: list[tuple[_Submission, Operation]],
        outcomes: list[Outcome] | None,
        error: BaseException | None,
    ) -> None:
        """Give each operation its outcome and wake the callers that have all of theirs."""
        for index, (submission, _) in enumerate(group):
            if outcomes is not None:
                submission.outcomes.append(outcomes[index])
            elif submission.error is None:
                submission.error = error
        finished = list(dict.fromkeys(s for s, _ in group if s.done or s.abandoned))
        with self._lock:
            for submission in finished:
                if submission in self._queue:
                    self._remove(submission)
        for submission in finished:
            submission.woken.set()
