"""What one caller gives a user's writer (`memdb.engine.writer`) to commit, and what becomes of it."""

from __future__ import annotations

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from queue import SimpleQueue

from memdb.engine.applied import Outcome
from memdb.engine.passage import Passage
from memdb.types.operation import Operation, payload_bytes


class Submission:
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
        """Whether its caller has nothing more to wait for."""
        return self.error is not None or len(self.outcomes) == len(self.operations)

    def refusal(self) -> Exception | None:
        """What refused something that it is behind, or what another group had of it."""
        if self.error is not None:
            return self.error
        refusals = (passage.refusal() for passage in self.passages)
        return next((error for error in refusals if error is not None), None)

    def is_behind(self, passages: AbstractSet[Passage]) -> bool:
        """Whether it must not be written before one of these is."""
        return any(not passages.isdisjoint(passage.behind) for passage in self.passages)
