"""From clip numbers to the clips that callers see."""

from __future__ import annotations

from typing import Final, NamedTuple

from memdb.codecs.tensors import decode_verified
from memdb.engine.state import UserState
from memdb.errors import DataLoss, NotFound, ResourceExhausted
from memdb.store import clips
from memdb.store.idents import IdKind, make_id, parse_id
from memdb.store.records import ClipRecord, CountersRecord, unpack
from memdb.store.schema import META_COUNTERS, Table
from memdb.store.transaction import Transaction
from memdb.types.arm import Arm
from memdb.types.clip import NO_GLOBAL_MEMORY, NO_LABELS, StoredClip
from memdb.types.fact import Fact
from memdb.types.labels import Labels
from memdb.types.tensor import EncodedTensor
from memdb.types.unchecked import maker

_stored_clip = maker(StoredClip)

UTTERANCE_BYTES = 32
"""About what an utterance or sound takes beside its text."""

NUMBER_BYTES = 4
"""On the wire."""

FIELDS_BYTES: Final = 48
"""What the id, numbers and times of a clip take at least, beside its names."""


class Parts(NamedTuple):
    """Which of its heavy parts a clip is read with: what is left out is neither read nor verified."""

    global_memory: bool = True
    keyframes: bool = True
    short_memory: bool = False
    raw: bool = False
    """Short-term memory as it is stored."""


USUAL: Final = Parts()


class ClipGone(Exception):
    """What a view shows was removed or changed since: the view is to be taken anew."""


def clip_no_of(state: UserState, clip_id: str, field: str = "clip_id") -> int:
    """The number behind an id; raises `NotFound` (``CLIP_NOT_FOUND``) for any id that is not this
    user's.
    """
    no = parse_id(state.id_key, IdKind.CLIP, clip_id)
    if no is None:
        raise NotFound("no such clip", reason="CLIP_NOT_FOUND", field=field, value=clip_id)
    return no


def version_record(txn: Transaction, state: UserState, clip_no: int, birth: int) -> ClipRecord:
    """The record of a version that a view shows; raises `DataLoss`, `ClipGone`."""
    record = clips.get_record(txn, clip_no, birth)
    if record is not None:
        return record
    stored = txn.get(Table.META, META_COUNTERS)
    if (
        stored is None
        or state.revision < unpack(Table.META, META_COUNTERS, stored, CountersRecord).revision
    ):
        raise ClipGone
    raise DataLoss(
        "an indexed clip is not in the store", reason="MISSING", field="clips", value=clip_no
    )


def load_clip(
    txn: Transaction,
    state: UserState,
    clip_no: int,
    birth: int,
    parts: Parts = USUAL,
) -> StoredClip:
    """One version of a clip; short-term memory, where it is asked for, is decoded to (tokens, dim) float16
    unless ``parts.raw``.  Raises `DataLoss` when a part is damaged or missing, `ClipGone`.
    """
    record = version_record(txn, state, clip_no, birth)
    vector = NO_GLOBAL_MEMORY
    if parts.global_memory:
        vector = clips.get_global_memory(txn, record.space_no, clip_no, birth)
    tensor = None
    if parts.short_memory:
        tensor = clips.short_memory_of(txn, clip_no, birth, record)
    return _stored_clip(
        seq=record.seq,
        epoch=record.epoch,
        start_ns=record.start_ns,
        end_ns=record.end_ns,
        global_memory=vector,
        short_memory=tensor if tensor is None or parts.raw else decode_verified(tensor),
        frames_per_token_row=record.frames_per_token_row,
        transcript=tuple(clips.as_utterance(utterance) for utterance in record.transcript),
        transcript_features=None,
        events=tuple(clips.as_event(event) for event in record.events),
        keyframes=clips.get_keyframes(txn, clip_no, birth, record.keyframes)
        if parts.keyframes
        else (),
        labels=Labels(record.labels) if record.labels else NO_LABELS,
        sealed=record.sealed,
        id=make_id(state.id_key, IdKind.CLIP, clip_no),
        user=state.user,
        stream=state.stream_names[record.stream_no],
        space=state.spaces[record.space_no].name,
        revision=birth,
    )


def clip_bytes(clip: StoredClip) -> int:
    """About what a clip takes in memory and on the wire; never much less."""
    # Plain loops over what there is: it is asked of every hit.
    size: int = clip.global_memory.nbytes + FIELDS_BYTES
    size += len(clip.user) + len(clip.stream) + len(clip.space)
    short = clip.short_memory
    if short is not None:
        size += len(short.payload) if isinstance(short, EncodedTensor) else short.nbytes
    for frame in clip.keyframes:
        size += len(frame.jpeg)
    for utterance in clip.transcript:
        size += len(utterance.text) + UTTERANCE_BYTES
    for event in clip.events:
        size += len(event.label) + UTTERANCE_BYTES
    if clip.labels:
        size += sum([len(key) + len(value) for key, value in clip.labels.items()])
    return size


def fact_bytes(fact: Fact) -> int:
    """About what a fact takes in memory and on the wire; never much less."""
    return (
        len(fact.text)
        + len(fact.key or "")
        + sum(len(name) + UTTERANCE_BYTES for name in fact.about)
        + sum(len(clip_id) + UTTERANCE_BYTES for clip_id in fact.evidence)
        + UTTERANCE_BYTES
    )


def arms_bytes(arms: tuple[Arm, ...]) -> int:
    """About what the explanation of a hit takes in memory and on the wire; never much less."""
    matches = [match for arm in arms for match in arm.matches]
    terms = sum(len(term) + UTTERANCE_BYTES for match in matches for term in match.terms)
    return (2 * len(arms) + len(matches)) * UTTERANCE_BYTES + terms


class AnswerTooLarge(ResourceExhausted):
    """An answer has more bytes than may be sent (``MESSAGE_TOO_LARGE``)."""

    clips: int = 0
    """So many of its first clips, with what is told of them, are not too large."""


class AnswerSize:
    """Bytes of an answer while it is collected, so that one that is too large is never whole."""

    def __init__(self, bytes_max: int | None) -> None:
        self._bytes_max = bytes_max
        self._bytes = 0
        self._clips = 0
        self._explained = 0

    def add(self, clip: StoredClip) -> StoredClip:
        """The clip, counted; raises `AnswerTooLarge`."""
        if self._bytes_max is not None:
            self._count(clip_bytes(clip), self._bytes_max, self._clips)
            self._clips += 1
        return clip

    def add_numbers(self, count: int) -> None:
        """Count numbers beside the next clip; raises as `add`."""
        if self._bytes_max is not None:
            self._count(NUMBER_BYTES * count, self._bytes_max, self._clips)

    def add_fact(self, fact: Fact) -> Fact:
        """The fact, counted; raises as `add`."""
        if self._bytes_max is not None:
            self._count(fact_bytes(fact), self._bytes_max, self._clips)
        return fact

    def add_arms(self, arms: tuple[Arm, ...]) -> tuple[Arm, ...]:
        """What explains the next hit, once all clips are counted; raises as `add`."""
        if self._bytes_max is not None:
            # All clips fit, so half of them do with as much beside; or what was explained so far.
            fit = max(self._explained, self._clips // 2)
            self._count(arms_bytes(arms), self._bytes_max, fit)
            self._explained += 1
        return arms

    def _count(self, size: int, bytes_max: int, fit: int) -> None:
        self._bytes += size
        if self._bytes > bytes_max:
            error = AnswerTooLarge(
                f"the answer has more than {bytes_max} bytes; ask for less at once: fewer, "
                "less of each, or pages",
                reason="MESSAGE_TOO_LARGE",
                field="message",
                value=self._bytes,
            )
            error.clips = fit
            raise error
