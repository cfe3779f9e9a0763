"""What a batch of operations gave: outcomes, effects, log entries."""

from __future__ import annotations

from dataclasses import dataclass, field

from memdb.engine.effects import Effects
from memdb.engine.open_versions import OpenVersions
from memdb.engine.reached import Reached
from memdb.engine.run_acks import RunAcks
from memdb.engine.state import Draft
from memdb.errors import MemdbError
from memdb.store.records import LogEntry
from memdb.types.clip import Ack
from memdb.types.fact import Fact
from memdb.types.snapshot import Snapshot
from memdb.types.standing import StandingQuestion
from memdb.types.stream import StreamInfo


@dataclass(frozen=True, slots=True)
class Removed:
    """What a removal took."""

    clip_nos: tuple[int, ...]
    fact_ids: tuple[str, ...]
    """Facts that lost evidence."""
    size: int
    """Bytes of short-term memory and keyframes."""


Outcome = (
    Ack
    | RunAcks
    | list[Ack | MemdbError]
    | StreamInfo
    | Fact
    | list[Fact]
    | Snapshot
    | StandingQuestion
    | Removed
    | int
    | MemdbError
)
"""What one operation gave: its value, the commit's revision, or the error that refused it."""


@dataclass(slots=True)
class Applied:
    """The result of a batch of operations."""

    draft: Draft
    outcomes: list[Outcome] = field(default_factory=list)
    effects: Effects = field(default_factory=Effects)
    entries: list[LogEntry] = field(default_factory=list)
    versions: OpenVersions = field(default_factory=OpenVersions)
    reached: Reached = field(default_factory=lambda: Reached(None))

    @property
    def changed(self) -> bool:
        """Whether there is anything to commit."""
        return bool(self.entries)
