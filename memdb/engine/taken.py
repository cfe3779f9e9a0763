"""What a group of commits has taken of those that wait, and where it ends.

A group ends at `BATCH_OPERATIONS_MAX`, at `BATCH_BYTES_MAX`, before an operation on a subject
that the group already changes, so that every version of a thing has a revision of its own, and
between what makes room and what takes it.  It has nothing of a write that is behind another
(`memdb.engine.passage`) of which a rest is left.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from queue import SimpleQueue
from typing import Final

from memdb.engine.passage import Passage
from memdb.engine.submission import Submission
from memdb.types.limits import BATCH_BYTES_MAX, BATCH_OPERATIONS_MAX
from memdb.types.operation import (
    Operation,
    WriteClip,
    WriteRun,
    clip_subject,
    makes_room,
    parts,
    subject,
)
from memdb.types.plain_run import PlainRun

SHARE_OPERATIONS_MAX: Final = 64
"""Operations that one caller puts into a group while others wait who are not behind it (`memdb.engine.passage`)."""


class Taken:
    """What a group has taken of the submissions, and what decides whether it takes more.

    Kept, not counted anew: a group that waits for the disk is looked at whenever somebody comes.
    """

    __slots__ = (
        "before",
        "entries",
        "has_ended",
        "is_counted",
        "making_room",
        "parts",
        "runs",
        "size",
        "subjects",
        "there",
    )

    def __init__(self) -> None:
        self.entries: list[tuple[Submission, Operation]] = []
        self.subjects: set[tuple[object, ...]] = set()
        self.runs: dict[tuple[str, int], list[tuple[int, int]]] = {}
        """Of those that are runs, by stream and epoch: the first and the last number of such as follow each other."""
        self.parts = 0
        """How many operations its entries count as."""
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
        self.before: threading.Lock | None = None
        """Of one that was refused: held until what was committed before it has been settled."""

    def take(self, submission: Submission) -> bool:
        """The next operation of a submission; whether it fits."""
        operation = submission.operations[submission.next]
        size, its_parts = submission.sizes[submission.next], parts(operation)
        if self.entries and (
            self.parts + its_parts > BATCH_OPERATIONS_MAX or self.size + size > BATCH_BYTES_MAX
        ):
            return False
        what = subject(operation)
        if self._changes(operation, what):
            return False
        making_room = makes_room(operation)
        if self.making_room is not making_room:
            if self.making_room is not None:
                # A write beside it would take from it the room that it may have beyond the quota.
                return False
            self.making_room = making_room
        if what is not None:
            self.subjects.add(what)
        elif type(operation) is WriteRun:
            self._add_run(operation.stream, operation.run)
        self.parts += its_parts
        self.size += size
        self.entries.append((submission, operation))
        submission.next += 1
        return True

    def _add_run(self, stream: str, run: PlainRun) -> None:
        its_runs = self.runs.setdefault((stream, run.epoch), [])
        first, last = run.first_seq, run.first_seq + len(run) - 1
        if its_runs and its_runs[-1][1] == first - 1:
            # As nearly all come: of a camera whose clips come one by one each would be compared with all before it.
            its_runs[-1] = its_runs[-1][0], last
        else:
            its_runs.append((first, last))

    def _changes(self, operation: Operation, what: tuple[object, ...] | None) -> bool:
        """Whether it has an operation already on a subject of this one, which has ``what`` for one."""
        if what is not None:
            if what in self.subjects:
                return True
            if not self.runs or type(operation) is not WriteClip:
                return False
            seq = operation.clip.seq
            of_epoch = self.runs.get((operation.stream, operation.clip.epoch), ())
            return any(first <= seq <= last for first, last in of_epoch)
        if type(operation) is not WriteRun:
            return False
        stream, run = operation.stream, operation.run
        first_seq, last_seq = run.first_seq, run.first_seq + len(run) - 1
        of_epoch = self.runs.get((stream, run.epoch), ())
        return any(first <= last_seq and first_seq <= last for first, last in of_epoch) or (
            bool(self.subjects)
            and any(
                clip_subject(stream, run.epoch, seq) in self.subjects
                for seq in range(first_seq, last_seq + 1)
            )
        )

    def take_from(self, queue: Sequence[Submission]) -> tuple[list[Operation], int]:
        """Move what fits from a queue, which nobody changes meanwhile; the operations that were moved, and their
        payload bytes.
        """
        before, size = len(self.entries), self.size
        share = BATCH_OPERATIONS_MAX if _are_one_line(queue) else SHARE_OPERATIONS_MAX
        left: set[Passage] = set()
        """Of those that have had their share, with all that is behind them."""
        for submission in queue:
            if left and submission.is_behind(left):
                # In this group it would be written before the rest of those, which may be refused yet.
                left.update(submission.passages)
                continue
            last = self.parts + share
            while not submission.taken and self.parts < last and not submission.abandoned:
                if not self.take(submission):
                    break
            else:
                if not (submission.taken or submission.abandoned):
                    left.update(submission.passages)
                continue
            break  # all that come later come behind it
        return [operation for _, operation in self.entries[before:]], self.size - size

    def submissions(self) -> list[Submission]:
        """Those of which it has something, in their order."""
        return list(dict.fromkeys(submission for submission, _ in self.entries))

    def split(self, submission: Submission) -> Taken:
        """What it has of a submission, and no more."""
        part = Taken()
        part.entries = [entry for entry in self.entries if entry[0] is submission]
        self.entries = [entry for entry in self.entries if entry[0] is not submission]
        return part


def _are_one_line(queue: Sequence[Submission]) -> bool:
    """Whether each is behind one before it: nobody waits who could go first."""
    if len(queue) == 1:
        return True
    line: set[Passage] = set()
    for submission in queue:
        if line and not submission.is_behind(line):
            return False
        line.update(submission.passages)
        if not line:
            return False  # of nobody is said what comes behind it
    return True
