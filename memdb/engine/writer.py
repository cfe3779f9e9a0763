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


class _Submission:
    """One caller's operations."""

    __slots__ = ("error", "next", "operations", "outcomes", "size", "woken")

    def __init__(self, operations: list[Operation]) -> None:
        self.operations = operations
        self.next = 0
        self.outcomes: list[Outcome] = []
        self.error: BaseException | None = None
        self.size = sum(payload_bytes(operation) for operation in operations)
        self.woken = threading.Event()

    @property
    def done(self) -> bool:
        return self.error is not None or len(self.outcomes) == len(self.operations)


class Writer:
    """The queue of one user."""

    def __init__(self, commit: Callable[[list[Operation]], list[Outcome]]) -> None:
        self._commit = commit
        self._lock = threading.Lock()
        self._queue: deque[_Submission] = deque()
        self._queued_bytes = 0
        self._led = False
        self._closed = False
        self._idle = threading.Condition(self._lock)

    def write(self, operations: list[Operation]) -> list[Outcome]:
        """Commit ``operations`` in order; blocks until they are durable and published.

        Raises the error of a commit that failed as a whole, `ResourceExhausted` (``OVERLOADED``)
        when the queue is full and `Unavailable` (``CLOSED``).
        """
        if not operations:
            return []
        submission = _Submission(operations)
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
            lead = not self._led
            self._led = True
        while True:
            if lead:
                self._lead(submission)
                break
            submission.woken.wait()
            submission.woken.clear()
            if submission.done:
                break
            lead = True  # woken without being done: leadership was handed over
        if submission.error is not None:
            raise submission.error
        return submission.outcomes

    def close(self) -> None:
        """Refuse new writes and wait for those in flight."""
        with self._lock:
            self._closed = True
            while self._led:
                self._idle.wait()

    def _lead(self, own: _Submission) -> None:
        """Commit groups until ``own`` is done, then hand over."""
        try:
            while not own.done:
                self._commit_group()
        finally:
            with self._lock:
                if self._queue:
                    self._queue[0].woken.set()
                else:
                    self._led = False
                    self._idle.notify_all()

    def _commit_group(self) -> None:
        with self._lock:
            group = self._next_group()
        try:
            outcomes = self._commit([operation for _, operation in group])
        except BaseException as error:
            self._settle(group, None, error)
            if not isinstance(error, MemdbError):
                raise
            return
        self._settle(group, outcomes, None)

    def _next_group(self) -> list[tuple[_Submission, Operation]]:
        group: list[tuple[_Submission, Operation]] = []
        subjects: set[object] = set()
        size = 0
        for submission in self._queue:
            while submission.next < len(submission.operations):
                operation = submission.operations[submission.next]
                what = subject(operation)
                grown = size + payload_bytes(operation)
                full = len(group) >= BATCH_OPERATIONS_MAX or (group and grown > BATCH_BYTES_MAX)
                if full or (what is not None and what in subjects):
                    return group
                if what is not None:
                    subjects.add(what)
                size = grown
                group.append((submission, operation))
                submission.next += 1
        return group

    def _settle(
        self,
        group: list[tuple[_Submission, Operation]],
        outcomes: list[Outcome] | None,
        error: BaseException | None,
    ) -> None:
        finished: list[_Submission] = []
        for index, (submission, _) in enumerate(group):
            if outcomes is not None:
                submission.outcomes.append(outcomes[index])
            elif submission.error is None:
                submission.error = error
            if submission.done and submission not in finished:
                finished.append(submission)
        with self._lock:
            for submission in finished:
                self._queue.remove(submission)
                self._queued_bytes -= submission.size
        for submission in finished:
            submission.woken.set()
