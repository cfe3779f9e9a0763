"""Clips and what they carry.

A `Clip` is what a perception client writes; a `StoredClip` is the same clip as read back, with its
identity.  Values are checked when they are made (`InvalidArgument` names the field), so everything
behind the API trusts them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from memdb.errors import InvalidArgument
from memdb.types import limits
from memdb.types.arrays import Array, RowsLike, VectorLike, as_tokens, as_vector
from memdb.types.checks import (
    check_flag,
    check_int,
    check_iterable,
    check_many,
    check_number,
    check_range,
    check_text,
)
from memdb.types.labels import Labels
from memdb.types.shown import shown
from memdb.types.tensor import EncodedTensor, check_description
from memdb.types.times import Time, as_ns


@dataclass(frozen=True, slots=True)
class Utterance:
    """One stretch of recognised speech, in event time."""

    start_ns: int
    """UTC nanoseconds, as all times of values."""
    end_ns: int
    text: str
    """What was said, at most 16,384 characters."""
    speaker: str | None = None
    """Who said it, where known."""
    language: str | None = None
    """Of the text, where known."""

    if TYPE_CHECKING:
        # A field has what `__post_init__` makes of what is given; what may be given is more.
        def __init__(
            self,
            start_ns: Time,
            end_ns: Time,
            text: str,
            speaker: str | None = None,
            language: str | None = None,
        ) -> None: ...

    def __post_init__(self) -> None:
        """Raises `InvalidArgument` for times, text or names out of their limits."""
        put = object.__setattr__
        put(self, "start_ns", as_ns(self.start_ns, "utterance.start_ns"))
        put(self, "end_ns", as_ns(self.end_ns, "utterance.end_ns"))
        check_range(self.start_ns, self.end_ns, "utterance.end_ns")
        put(self, "text", check_text(self.text, "utterance.text"))
        name_max = limits.LABEL_VALUE_CHARS_MAX
        if self.speaker is not None:
            put(self, "speaker", check_text(self.speaker, "utterance.speaker", name_max))
        if self.language is not None:
            put(self, "language", check_text(self.language, "utterance.language", name_max))


@dataclass(frozen=True, slots=True)
class SoundEvent:
    """One sound that is not speech, in event time; ``score`` is the tagger's, in [0, 1]."""

    start_ns: int
    end_ns: int
    label: str
    """What was heard, at most 1,024 characters."""
    score: float

    if TYPE_CHECKING:  # as of an utterance

        def __init__(self, start_ns: Time, end_ns: Time, label: str, score: float) -> None: ...

    def __post_init__(self) -> None:
        """Raises `InvalidArgument` for times, label or score out of their limits."""
        put = object.__setattr__
        put(self, "start_ns", as_ns(self.start_ns, "event.start_ns"))
        put(self, "end_ns", as_ns(self.end_ns, "event.end_ns"))
        check_range(self.start_ns, self.end_ns, "event.end_ns")
        put(self, "label", check_text(self.label, "event.label", limits.LABEL_VALUE_CHARS_MAX))
        put(self, "score", check_number(self.score, "event.score", 0.0, 1.0))


@dataclass(frozen=True, slots=True)
class Keyframe:
    """One small JPEG of the clip and the moment it shows."""

    time_ns: int
    """UTC nanoseconds."""
    jpeg: bytes
    """At most 1 MiB."""

    if TYPE_CHECKING:  # as of an utterance

        def __init__(self, time_ns: Time, jpeg: bytes) -> None: ...

    def __post_init__(self) -> None:
        """Raises `InvalidArgument` for a bad time, an empty image or one above the limit."""
        object.__setattr__(self, "time_ns", as_ns(self.time_ns, "keyframe.time_ns"))
        if not isinstance(self.jpeg, bytes) or not self.jpeg:
            raise InvalidArgument(
                "a keyframe is non-empty JPEG bytes",
                reason="EMPTY",
                field="keyframe.jpeg",
                value=type(self.jpeg).__name__,
            )
        if len(self.jpeg) > limits.KEYFRAME_BYTES_MAX:
            raise InvalidArgument(
                f"a keyframe has at most {limits.KEYFRAME_BYTES_MAX} bytes",
                reason="TOO_LARGE",
                field="keyframe.jpeg",
                value=len(self.jpeg),
            )

    def __repr__(self) -> str:
        return shown(self)


NO_LABELS: Final = Labels()
"""Of every clip that has none."""


def _checked_labels(labels: Mapping[str, str]) -> Mapping[str, str]:
    if type(labels) is dict and not labels:
        return NO_LABELS
    if not isinstance(labels, Mapping):
        raise InvalidArgument(
            "labels are a mapping of text to text",
            reason="BAD_TYPE",
            field="clip.labels",
            value=type(labels).__name__,
        )
    if len(labels) > limits.LABELS_MAX:
        raise InvalidArgument(
            f"more than {limits.LABELS_MAX} labels",
            reason="TOO_LARGE",
            field="clip.labels",
            value=len(labels),
        )
    checked: dict[str, str] = {}
    for key, value in labels.items():
        name = check_text(key, "clip.labels", limits.LABEL_KEY_CHARS_MAX)
        checked[name] = check_text(
            value, f"clip.labels[{name}]", limits.LABEL_VALUE_CHARS_MAX, may_be_empty=True
        )
    return Labels(sorted(checked.items()))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Clip:
    """A contiguous piece ``[start_ns, end_ns)`` of a stream, numbered ``seq`` in its epoch.

    Times are UTC nanoseconds or aware datetimes.  Raises `InvalidArgument` naming the field that is
    wrong.
    """

    seq: int
    """Number of the clip in its stream and epoch, from 0 without holes; a missing number is a gap.
    """
    start_ns: int
    """UTC nanoseconds of event time, or an aware datetime."""
    end_ns: int
    """Exclusive."""
    global_memory: Array
    """(dim,) float32 or float16: what grounding searches."""
    short_memory: Array | EncodedTensor | None = None
    """(tokens, dim) float32 or float16; stored as float16.

    None when only the global memory is kept.
    """
    frames_per_token_row: float | None = None
    """Frames that one row of ``short_memory`` covers: 0.25 where a frame gives 4 rows; row r begins
    in frame ``floor(r * frames_per_token_row)``.  None when unknown.
    """
    transcript: tuple[Utterance, ...] = ()
    """What was said, at most 1,024 utterances."""
    transcript_features: Array | None = None
    """(utterances, dim) in the user's text space, one row per utterance, or None."""
    events: tuple[SoundEvent, ...] = ()
    """Sounds that are no speech, at most 1,024."""
    keyframes: tuple[Keyframe, ...] = ()
    """Small JPEGs; bare bytes are taken as a keyframe at ``start_ns``."""
    labels: Mapping[str, str] = field(default_factory=dict)
    """Text by text, at most 64."""
    sealed: bool = True
    """False while the clip is still growing; it is then revised in place by the next write of the
    same seq.
    """
    epoch: int = 0
    """The run of the ingest agent on this stream that numbered the clip."""

    if TYPE_CHECKING:  # as of an utterance

        def __init__(
            self,
            *,
            seq: int,
            start_ns: Time,
            end_ns: Time,
            global_memory: VectorLike,
            short_memory: RowsLike | EncodedTensor | None = None,
            frames_per_token_row: float | None = None,
            transcript: Iterable[Utterance] = (),
            transcript_features: RowsLike | None = None,
            events: Iterable[SoundEvent] = (),
            keyframes: Iterable[Keyframe | bytes] = (),
            labels: Mapping[str, str] = ...,
            sealed: bool = True,
            epoch: int = 0,
        ) -> None: ...

    def __post_init__(self) -> None:
        put = object.__setattr__
        # What a check gives back as it was, as of nearly every clip, is not put once more.
        seq = check_int(self.seq, "clip.seq", 0, limits.SEQ_MAX)
        if seq is not self.seq:
            put(self, "seq", seq)
        epoch = check_int(self.epoch, "clip.epoch", 0, limits.EPOCH_MAX)
        if epoch is not self.epoch:
            put(self, "epoch", epoch)
        start_ns = as_ns(self.start_ns, "clip.start_ns")
        if start_ns is not self.start_ns:
            put(self, "start_ns", start_ns)
        end_ns = as_ns(self.end_ns, "clip.end_ns")
        if end_ns is not self.end_ns:
            put(self, "end_ns", end_ns)
        check_range(start_ns, end_ns, "clip.end_ns")
        memory = as_vector(self.global_memory, "clip.global_memory")
        if memory is not self.global_memory:
            put(self, "global_memory", memory)
        if isinstance(self.short_memory, EncodedTensor):
            # Its payload is read where it is coded or stored: `memdb.codecs.tensors.check_tensor`.
            check_description(self.short_memory, "clip.short_memory")
        elif self.short_memory is not None:
            put(self, "short_memory", as_tokens(self.short_memory, "clip.short_memory"))
        if (
            self.short_memory is not None
            and self.short_memory.shape[-1] != self.global_memory.shape[0]
        ):
            raise InvalidArgument(
                f"short_memory must have the dim of global_memory, {self.global_memory.shape[0]}",
                reason="DIM_MISMATCH",
                field="clip.short_memory",
                value=self.short_memory.shape,
            )
        if self.frames_per_token_row is not None:
            ratio = check_number(
                self.frames_per_token_row, "clip.frames_per_token_row", 0.0, 1e6, above=True
            )
            put(self, "frames_per_token_row", ratio)
        if type(self.transcript) is not tuple or self.transcript:
            said = check_many(self.transcript, Utterance, "clip.transcript", limits.TRANSCRIPT_MAX)
            put(self, "transcript", said)
        if self.transcript_features is not None:
            put(
                self,
                "transcript_features",
                as_tokens(self.transcript_features, "clip.transcript_features"),
            )
            if self.transcript_features.shape[0] != len(self.transcript):
                raise InvalidArgument(
                    f"one row per utterance expected, {len(self.transcript)}",
                    reason="BAD_SHAPE",
                    field="clip.transcript_features",
                    value=self.transcript_features.shape,
                )
        if type(self.events) is not tuple or self.events:
            heard = check_many(self.events, SoundEvent, "clip.events", limits.EVENTS_MAX)
            put(self, "events", heard)
        if type(self.keyframes) is not tuple or self.keyframes:
            frames: Iterable[Any] = (
                Keyframe(self.start_ns, item) if isinstance(item, bytes) else item
                for item in check_iterable(self.keyframes, "clip.keyframes")
            )
            frames = check_many(frames, Keyframe, "clip.keyframes", limits.KEYFRAMES_MAX)
            put(self, "keyframes", frames)
        put(self, "labels", _checked_labels(self.labels))
        sealed = check_flag(self.sealed, "clip.sealed")
        if sealed is not self.sealed:
            put(self, "sealed", sealed)
        size = carried_bytes(self, self.short_memory)
        if size > limits.CLIP_BYTES_MAX:
            # Refused here, so that a clip too large for a message is too large everywhere.
            raise InvalidArgument(
                f"a clip has at most {limits.CLIP_BYTES_MAX} bytes",
                reason="TOO_LARGE",
                field="clip",
                value=size,
            )

    def __repr__(self) -> str:
        """Every field that was given, arrays and pictures by their sizes: a clip is 200 KB."""
        return shown(self)


def carried_bytes(clip: Clip, short_memory: Array | EncodedTensor | None) -> int:
    """Bytes of everything of variable length that ``clip`` carries with ``short_memory``, as a
    message or the store holds it.
    """
    size = int(clip.global_memory.nbytes)
    if isinstance(short_memory, EncodedTensor):
        size += len(short_memory.payload)
    elif short_memory is not None:
        size += 2 * int(short_memory.size)  # float16
    if clip.transcript_features is not None:
        size += 4 * int(clip.transcript_features.size)  # float32
    if not (clip.transcript or clip.events or clip.keyframes or clip.labels):
        return size
    # Plain loops, and nothing coded that need not be: it is asked of each clip on its way to a commit.
    for utterance in clip.transcript:
        size += _coded_bytes(utterance.text)
        if utterance.speaker:
            size += _coded_bytes(utterance.speaker)
        if utterance.language:
            size += _coded_bytes(utterance.language)
    for event in clip.events:
        size += _coded_bytes(event.label)
    for frame in clip.keyframes:
        size += len(frame.jpeg)
    for key, value in clip.labels.items():
        size += _coded_bytes(key) + _coded_bytes(value)
    return size


def _coded_bytes(text: str) -> int:
    """Of a text as UTF-8."""
    return len(text) if text.isascii() else len(text.encode())


NO_GLOBAL_MEMORY: Final = np.empty(0, np.float32)
"""Stands where a clip was asked for without its global memory."""
NO_GLOBAL_MEMORY.flags.writeable = False


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class StoredClip(Clip):
    """A clip as read back.  ``short_memory`` is None unless it was asked for; with
    ``with_global_memory=False`` ``global_memory`` has no elements, with ``with_keyframes=False`` there are no
    ``keyframes``.

    Made of what was checked when it was written, so it is not checked as it is made, but when it is
    written again.
    """

    id: str
    """32 hexadecimal digits; means nothing to another user."""
    user: str
    stream: str
    """Name of its stream."""
    space: str
    """Name of the space that its vectors are of."""
    revision: int
    """The user's commit that wrote this version of the clip."""

    def __post_init__(self) -> None:
        labels = self.labels
        object.__setattr__(self, "labels", Labels(labels) if labels else NO_LABELS)

    def __repr__(self) -> str:
        # The decorator would make one of its own here, though `Clip` has one.
        return shown(self)

    @property
    def cursor(self) -> str:
        """Its place in a listing, for ``clips(after=...)``: it holds also when the clip is gone."""
        return f"{self.start_ns}:{self.id}"


_CLIP_FIELDS = tuple(item.name for item in fields(Clip))


def as_clip(clip: object) -> Clip:
    """What a caller wants written, as a checked `Clip`; raises `InvalidArgument`.

    A `StoredClip` is made anew: nobody checked what `dataclasses.replace` put into it.
    """
    if type(clip) is Clip:
        return clip
    if not isinstance(clip, Clip):
        raise InvalidArgument(
            "expected a Clip (write_many takes several)",
            reason="BAD_TYPE",
            field="clip",
            value=type(clip).__name__,
        )
    return Clip(**{name: getattr(clip, name) for name in _CLIP_FIELDS})


@dataclass(frozen=True, slots=True)
class Ack:
    """The answer to a write: the clip is durable."""

    clip_id: str
    """32 hexadecimal digits, the same for every version of the clip."""
    revision: int
    """The commit that holds the clip; for a duplicate, the earlier one."""
    duplicate: bool
    """True when the same content had been stored before; nothing was written."""
