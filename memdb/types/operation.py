"""Every mutation of a user's memory, as plain data.

An operation carries all that its effect depends on, times included: applying the same operations in
the same order to the same state gives the same bytes, on this machine or another.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from memdb.types.arrays import Array
from memdb.types.clip import Clip, carried_bytes
from memdb.types.label_filter import values_of
from memdb.types.plain_run import PlainRun
from memdb.types.retention import Retention
from memdb.types.space import Space
from memdb.types.standing import StandingSpec
from memdb.types.tensor import EncodedTensor


@dataclass(frozen=True, slots=True, eq=False)
class WriteClip:
    """Store one version of a clip."""

    stream: str
    space: Space | None
    """The stream's space; creates the stream when it does not exist."""
    clip: Clip
    """``clip.short_memory`` is not looked at."""
    short_memory: EncodedTensor | None
    content: bytes
    """xxh3_128 of the content."""


@dataclass(frozen=True, slots=True, eq=False)
class WriteRun:
    """Store the clips of a run, each in its first version; an outcome is a list with one for each."""

    stream: str
    space: Space | None
    """As that of a `WriteClip`."""
    run: PlainRun


@dataclass(frozen=True, slots=True)
class CreateStream:
    """Create a stream, or find it."""

    stream: str
    space: Space | None
    zone: str | None = None
    """Its time zone; None: UTC where it is created, any where it is found."""


@dataclass(frozen=True, slots=True, eq=False)
class PutFact:
    """Store a new fact, or a new version of the fact that holds ``key``."""

    text: str
    about: tuple[str, ...]
    key: str | None
    valid_from_ns: int | None
    valid_to_ns: int | None
    evidence: tuple[str, ...]
    feature: Array | None
    written_ns: int


@dataclass(frozen=True, slots=True, eq=False)
class PutFacts:
    """Store several facts, or, where one of them is refused, none; no two of one key."""

    facts: tuple[PutFact, ...]


@dataclass(frozen=True, slots=True, eq=False)
class ReviseFact:
    """Store a new version of a fact; what is None stays, and `OPEN` takes away its end."""

    fact_id: str
    text: str | None
    about: tuple[str, ...] | None
    valid_from_ns: int | None
    valid_to_ns: int | Literal["open"] | None
    evidence: tuple[str, ...] | None
    feature: Array | None
    written_ns: int


@dataclass(frozen=True, slots=True)
class ForgetFact:
    """Remove every version of a fact."""

    fact_id: str


@dataclass(frozen=True, slots=True)
class PutValue:
    """Store a JSON text under a key."""

    key: str
    json: str


@dataclass(frozen=True, slots=True)
class RemoveValue:
    """Remove every version of a value."""

    key: str


@dataclass(frozen=True, slots=True)
class PutSnapshot:
    """Name and lease the commit that this operation is part of."""

    name: str
    created_ns: int
    expires_ns: int


@dataclass(frozen=True, slots=True)
class ReleaseSnapshot:
    """End a lease."""

    name: str


@dataclass(frozen=True, slots=True)
class ConfigureUser:
    """Set the user's text space."""

    text_space: Space


@dataclass(frozen=True, slots=True)
class RemoveClips:
    """Remove every version of some clips and all that is derived of them; their numbers stay taken."""

    clip_nos: tuple[int, ...]
    is_erasure: bool
    """Whether nothing may stay that tells of them: facts lose them as evidence, the ledger their
    times.  Else they are given up for room."""


@dataclass(frozen=True, slots=True)
class ThinClips:
    """Remove the heavy parts of some clips; their global memory stays."""

    clip_nos: tuple[int, ...]
    short_memory: bool
    keyframes: bool


@dataclass(frozen=True, slots=True)
class RemoveStream:
    """Remove a stream that holds no clip any more, with its ledger."""

    stream: str


@dataclass(frozen=True, slots=True)
class SetRetention:
    """Set the policy of a stream."""

    stream: str
    retention: Retention


@dataclass(frozen=True, slots=True)
class CollectVersions:
    """Remove superseded versions of clips that were open, and the snapshots that kept some of them."""

    versions: tuple[tuple[int, int, int], ...]
    """(clip number, birth, death) each."""
    ended_ns: int | None = None
    """Snapshots whose leases had ended by then keep nothing; None: all keep what they need."""


@dataclass(frozen=True, slots=True)
class MarkSweep:
    """Note how far the clock of retention has come."""

    now_ns: int


@dataclass(frozen=True, slots=True)
class BeginErasure:
    """Note what is going to be erased, so that a crash does not end it half-way."""

    streams: tuple[str, ...]
    """Whole streams."""
    clip_nos: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class RemoveLost:
    """Remove entries that belong to nothing that can be read (`memdb.store.lost`)."""

    versions: tuple[tuple[int, int], ...]
    """(clip number, birth) of versions of which nothing can be read."""


@dataclass(frozen=True, slots=True)
class AwaitCompaction:
    """What the erasure names is removed; its names go, and only freed pages are left to it."""


@dataclass(frozen=True, slots=True)
class EndErasure:
    """Every byte of the erasure that was begun is gone."""


@dataclass(frozen=True, slots=True, eq=False)
class CreateStanding:
    """Store a standing question."""

    spec: StandingSpec
    space: Space
    created_ns: int
    armed_ns: int
    """Event time from which an absence counts."""
    name: str = ""
    """Under which it is created once; empty for none."""


@dataclass(frozen=True, slots=True)
class RemoveStanding:
    """Remove a standing question."""

    question_id: str


Operation = (
    WriteClip
    | WriteRun
    | CreateStream
    | PutFact
    | PutFacts
    | ReviseFact
    | ForgetFact
    | PutValue
    | RemoveValue
    | PutSnapshot
    | ReleaseSnapshot
    | ConfigureUser
    | RemoveClips
    | ThinClips
    | RemoveStream
    | SetRetention
    | CollectVersions
    | MarkSweep
    | BeginErasure
    | RemoveLost
    | AwaitCompaction
    | EndErasure
    | CreateStanding
    | RemoveStanding
)


_MAKING_ROOM: Final[frozenset[type]] = frozenset({
    ForgetFact,
    RemoveValue,
    ReleaseSnapshot,
    SetRetention,
    MarkSweep,
    ThinClips,
    CollectVersions,
    BeginErasure,
    RemoveClips,
    RemoveStream,
    RemoveLost,
    AwaitCompaction,
    EndErasure,
    RemoveStanding,
})  # fmt: skip


def makes_room(operation: Operation) -> bool:
    """Whether the operation makes room, or leads to it: a user at its quota has to be able to.  One commit
    has such operations alone, or none.
    """
    return type(operation) in _MAKING_ROOM


def payload_bytes(operation: Operation) -> int:
    """Roughly what the operation adds to the store; bounds a commit."""
    if type(operation) is WriteClip:  # as nearly all are
        return carried_bytes(operation.clip, operation.short_memory) + 1024
    if type(operation) is WriteRun:
        return operation.run.payload_bytes + 1024 * len(operation.run)
    match operation:
        case PutFact(text=text) | ReviseFact(text=str(text)):
            return 4 * len(text) + 4096
        case PutFacts(facts=facts):
            return sum(map(payload_bytes, facts))
        case PutValue(json=json):
            return 4 * len(json)
        case CreateStanding(spec=spec):
            then = 0 if spec.then_feature is None else spec.then_feature.nbytes
            labels = sum(
                len(key) + sum(map(len, values_of(values))) for key, values in spec.only.labels
            )
            return spec.feature.nbytes + then + 4 * (len(spec.text) + labels) + 8192
        case _:
            return 1024


def parts(operation: Operation) -> int:
    """How many operations it counts as, where their number is bounded."""
    return len(operation.run) if type(operation) is WriteRun else 1


def subject(operation: Operation) -> tuple[object, ...] | None:
    """What the operation writes a version of; one commit holds at most one version of a subject.  A run has as many as
    it has clips: see `clip_subject`.
    """
    if type(operation) is WriteClip:  # as above
        clip = operation.clip
        return clip_subject(operation.stream, clip.epoch, clip.seq)
    match operation:
        case PutFact(key=str()) | PutFacts() | ReviseFact() | ForgetFact():
            # Which fact holds a key is known to the store only, so one commit changes at most one
            # existing fact.
            return ("fact",)
        case PutValue(key=key) | RemoveValue(key=key):
            return ("value", key)
        case PutSnapshot(name=name) | ReleaseSnapshot(name=name):
            return ("snapshot", name)
        case ConfigureUser():
            return ("settings",)
        case RemoveClips() | ThinClips() | CollectVersions() | RemoveLost():
            # Large enough for a commit of their own.
            return ("removal",)
        case _:
            return None


def clip_subject(stream: str, epoch: int, seq: int) -> tuple[object, ...]:
    """`subject` of an operation that writes a clip."""
    return ("clip", stream, epoch, seq)
