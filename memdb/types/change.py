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
    """The commit that it was part of."""
    index: int
    """Place of the operation within its commit."""
    time_ns: int
    """Commit time."""
    kind: str
    """``clip``, ``stream``, ``fact``, ``forget``, ``value``, ``remove-value``, ``snapshot``, ``release``,
    ``settings``;
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
    """Key of a value that was put or removed; id of a forgotten fact, of a clip that was removed or thinned, of a
    stream that was removed (`StreamInfo.id`: its name is gone), of a standing question; name of a
    released snapshot, of the text space, or of the stream of a policy.
    """


@dataclass(frozen=True, slots=True)
class ErasureReport:
    """What an erasure removed."""

    user: str
    clips: int
    """How many clips were removed, with all their versions."""
    facts: int
    """How many facts: where the whole user was."""
    values: int
    """How many values: likewise."""
    bytes_removed: int
    """Bytes that were removed, or that the files became smaller by, whichever are more."""
    clip_ids: tuple[str, ...] = ()
    """Clips that were erased, where not the whole user was."""
    fact_ids: tuple[str, ...] = ()
    """Facts that stay and lost evidence."""
    streams: tuple[str, ...] = ()
    """Streams that were erased whole."""


@dataclass(frozen=True, slots=True)
class CompactionReport:
    """What a compaction made of a user's data file."""

    user: str
    bytes_before: int
    """Size of the file that held freed pages."""
    bytes_after: int
    """Size of the one that took its place."""


@dataclass(frozen=True, slots=True)
class Discrepancy:
    """One thing that `verify` found wrong."""

    user: str
    """Whose; empty for the catalog."""
    where: str
    """Table and key, or file."""
    what: str
    """What is wrong there, for people."""


@dataclass(frozen=True, slots=True)
class Verification:
    """The result of a verification; healthy when there is no discrepancy."""

    users: int
    """Users that were looked at."""
    clips: int
    """Clips that were looked at, damaged ones included."""
    values_checked: int
    """Stored values whose checksums were compared."""
    discrepancies: tuple[Discrepancy, ...]
    """Everything that was wrong."""

    @property
    def ok(self) -> bool:
        """Whether nothing was wrong."""
        return not self.discrepancies
