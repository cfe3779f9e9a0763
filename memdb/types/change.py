"""What a watcher sees, what an erasure reports, what a verification finds."""

from __future__ import annotations

from dataclasses import dataclass

from memdb.types.clip import StoredClip
from memdb.types.fact import Fact
from memdb.types.snapshot import Snapshot
from memdb.types.stream import StreamInfo


@dataclass(frozen=True, slots=True)
class Change:
    """One operation of one commit.  The field that ``kind`` names is set, and no other; a fact, clip
    or stream that was forgotten or removed since is None, and so is a clip or fact that is damaged.
    Of a stream that was removed ``key`` is the id.
    """

    revision: int
    index: int
    """Place of the operation within its commit."""
    time_ns: int
    """Commit time."""
    kind: str
    """``clip``, ``stream``, ``fact``, ``forget``, ``value``, ``snapshot``, ``release``, ``settings``;
    ``erase``, ``expire`` and ``thin`` of a clip; ``retention`` of a stream; ``standing`` and
    ``remove-standing`` of a standing question; and what keeps house:
    ``remove-stream``, ``collect``, ``sweep``, ``begin-erasure``, ``remove-lost``,
    ``await-compaction``, ``end-erasure``.
    """
    clip: StoredClip | None = None
    fact: Fact | None = None
    stream: StreamInfo | None = None
    snapshot: Snapshot | None = None
    key: str | None = None
    """Key of a changed value; id of a forgotten fact, of a clip that was removed or thinned, of a
    stream that was removed (`StreamInfo.id`: its name is gone), of a standing question; name of a
    released snapshot, of the text space, or of the stream of a policy.
    """


@dataclass(frozen=True, slots=True)
class ErasureReport:
    """What an erasure removed."""

    user: str
    clips: int
    facts: int
    values: int
    bytes_removed: int
    clip_ids: tuple[str, ...] = ()
    """Clips that were erased, where not the whole user was."""
    fact_ids: tuple[str, ...] = ()
    """Facts that stay and lost evidence."""
    streams: tuple[str, ...] = ()
    """Streams that were erased whole."""


@dataclass(frozen=True, slots=True)
class Discrepancy:
    """One thing that `verify` found wrong."""

    user: str
    where: str
    """Table and key, or file."""
    what: str


@dataclass(frozen=True, slots=True)
class Verification:
    """The result of a verification; healthy when there is no discrepancy."""

    users: int
    clips: int
    values_checked: int
    discrepancies: tuple[Discrepancy, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing was wrong."""
        return not self.discrepancies
