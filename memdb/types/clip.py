"""Clips and what they carry.

A `Clip` is what a perception client writes; a `StoredClip` is the same clip as read back, with its
identity.  Values are checked when they are made (`InvalidArgument` names the field), so everything
behind the API trusts them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final, TypeVar

import numpy as np

from memdb.errors import InvalidArgument
from memdb.types import limits
from memdb.types.arrays import Array, as_tokens, as_vector
from memdb.types.tensor import EncodedTensor
from memdb.types.times import as_ns

_Item = TypeVar("_Item")

_SURROGATE: Final = re.compile("[\ud800-\udfff]")


def check_text(value: object, field_name: str, chars_max: int = limits.TEXT_CHARS_MAX) -> str:
    """``value`` if it is text of 1 to ``chars_max`` characters that UTF-8 can carry, else
    `InvalidArgument`.
    """
    if not isinstance(value, str):
        raise InvalidArgument(
            "expected text", reason="BAD_TEXT", field=field_name, value=type(value).__name__
        )
    if not value:
        raise InvalidArgument("text is empty", reason="EMPTY", field=field_name)
    if len(value) > chars_max:
        raise InvalidArgument(
            f"text has more than {chars_max} characters",
            reason="TOO_LARGE",
            field=field_name,
            value=len(value),
        )
    if not value.isascii() and _SURROGATE.search(value):
        raise InvalidArgument(
            "text has a lone surrogate", reason="BAD_TEXT", field=field_name, value=value
        )
    return value


def check_int(value: object, field_name: str, minimum: int, maximum: int) -> int:
    """``value`` as int if it lies in [minimum, maximum], else `InvalidArgument` (``OUT_OF_RANGE``)."""
    if (
        isinstance(value, bool)
        or not isinstance(value, (int, np.integer))
        or not minimum <= int(value) <= maximum
    ):
        raise InvalidArgument(
            f"expected an integer from {minimum} to {maximum}",
            reason="OUT_OF_RANGE",
            field=field_name,
            value=value,
        )
    return int(value)


def check_range(start_ns: int, end_ns: int, field_name: str) -> None:
    """Raise `InvalidArgument` (``TIME_RANGE``) when the end lies before the start."""
    if end_ns < start_ns:
        raise InvalidArgument(
            "end lies before start",
            reason="TIME_RANGE",
            field=field_name,
            value=f"[{start_ns}, {end_ns})",
        )


def check_many(
    values: Iterable[_Item], kind: type[_Item], field_name: str, maximum: int
) -> tuple[_Item, ...]:
    """``values`` as a tuple of at most ``maximum`` items of type ``kind``, else `InvalidArgument`."""
    items = tuple(values)
    if len(items) > maximum:
        raise InvalidArgument(
            f"more than {maximum} items", reason="TOO_LARGE", field=field_name, value=len(items)
        )
    for index, item in enumerate(items):
        if not isinstance(item, kind):
            raise InvalidArgument(
                f"expected {kind.__name__}",
                reason="BAD_TYPE",
                field=f"{field_name}[{index}]",
                value=type(item).__name__,
            )
    return items


@dataclass(frozen=True, slots=True)
class Utterance:
    """One stretch of recognised speech, in event time."""

    start_ns: int
    end_ns: int
    text: str
    speaker: str | None = None
    language: str | None = None

    def __post_init__(self) -> None:
        """Raises `InvalidArgument` for times, text or names out of their limits."""
        object.__setattr__(self, "start_ns", as_ns(self.start_ns, "utterance.start_ns"))
        object.__setattr__(self, "end_ns", as_ns(self.end_ns, "utterance.end_ns"))
        check_range(self.start_ns, self.end_ns, "utterance.end_ns")
        check_text(self.text, "utterance.text")
        for name in ("speaker", "language"):
            if getattr(self, name) is not None:
                check_text(getattr(self, name), f"utterance.{name}", limits.LABEL_VALUE_CHARS_MAX)


@dataclass(frozen=True, slots=True)
class SoundEvent:
    """One sound that is not speech, in event time; ``score`` is the tagger's, in [0, 1]."""

    start_ns: int
    end_ns: int
    label: str
    score: float

    def __post_init__(self) -> None:
        """Raises `InvalidArgument` for times, label or score out of their limits."""
        object.__setattr__(self, "start_ns", as_ns(self.start_ns, "event.start_ns"))
        object.__setattr__(self, "end_ns", as_ns(self.end_ns, "event.end_ns"))
        check_range(self.start_ns, self.end_ns, "event.end_ns")
        check_text(self.label, "event.label", limits.LABEL_VALUE_CHARS_MAX)
        if (
            isinstance(self.score, bool)
            or not isinstance(self.score, (int, float, np.floating))
            or not 0.0 <= float(self.score) <= 1.0
        ):
            raise InvalidArgument(
                "score lies in [0, 1]", reason="OUT_OF_RANGE", field="event.score", value=self.score
            )
        object.__setattr__(self, "score", float(self.score))


@dataclass(frozen=True, slots=True)
class Keyframe:
    """One small JPEG of the clip and the moment it shows."""

    time_ns: int
    jpeg: bytes

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


def _checked_labels(labels: Mapping[str, str]) -> Mapping[str, str]:
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
    for key, value in labels.items():
        check_text(key, "clip.labels", limits.LABEL_KEY_CHARS_MAX)
        if value != "":
            check_text(value, f"clip.labels[{key}]", limits.LABEL_VALUE_CHARS_MAX)
    return MappingProxyType(dict(sorted(labels.items())))


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
    end_ns: int
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
    transcript_features: Array | None = None
    """(utterances, dim) in the user's text space, one row per utterance, or None."""
    events: tuple[SoundEvent, ...] = ()
    keyframes: tuple[Keyframe, ...] = ()
    """Small JPEGs; bare bytes are taken as a keyframe at ``start_ns``."""
    labels: Mapping[str, str] = field(default_factory=dict)
    sealed: bool = True
    """False while the clip is still growing; it is then revised in place by the next write of the
    same seq.
    """
    epoch: int = 0
    """The run of the ingest agent on this stream that numbered the clip."""

    def __post_init__(self) -> None:
        put = object.__setattr__
        put(self, "seq", check_int(self.seq, "clip.seq", 0, limits.SEQ_MAX))
        put(self, "epoch", check_int(self.epoch, "clip.epoch", 0, limits.EPOCH_MAX))
        put(self, "start_ns", as_ns(self.start_ns, "clip.start_ns"))
        put(self, "end_ns", as_ns(self.end_ns, "clip.end_ns"))
        check_range(self.start_ns, self.end_ns, "clip.end_ns")
        put(self, "global_memory", as_vector(self.global_memory, "clip.global_memory"))
        if self.short_memory is not None and not isinstance(self.short_memory, EncodedTensor):
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
            ratio = self.frames_per_token_row
            if (
                isinstance(ratio, bool)
                or not isinstance(ratio, (int, float, np.floating))
                or not 0.0 < float(ratio) <= 1e6
            ):
                raise InvalidArgument(
                    "a positive number of frames",
                    reason="OUT_OF_RANGE",
                    field="clip.frames_per_token_row",
                    value=ratio,
                )
            put(self, "frames_per_token_row", float(ratio))
        put(
            self,
            "transcript",
            check_many(self.transcript, Utterance, "clip.transcript", limits.TRANSCRIPT_MAX),
        )
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
        put(self, "events", check_many(self.events, SoundEvent, "clip.events", limits.EVENTS_MAX))
        frames: Iterable[Any] = self.keyframes
        frames = (
            Keyframe(self.start_ns, item) if isinstance(item, bytes) else item for item in frames
        )
        put(self, "keyframes", check_many(frames, Keyframe, "clip.keyframes", limits.KEYFRAMES_MAX))
        put(self, "labels", _checked_labels(self.labels))
        if not isinstance(self.sealed, bool):
            raise InvalidArgument(
                "sealed is true or false", reason="BAD_TYPE", field="clip.sealed", value=self.sealed
            )
        size = _payload_bytes(self)
        if size > limits.CLIP_BYTES_MAX:
            # Refused here, so that a clip too large for a message is too large everywhere.
            raise InvalidArgument(
                f"a clip has at most {limits.CLIP_BYTES_MAX} bytes",
                reason="TOO_LARGE",
                field="clip",
                value=size,
            )


def _payload_bytes(clip: Clip) -> int:
    """Bytes of everything of variable length, as a message carries it."""
    size = int(clip.global_memory.nbytes)
    if isinstance(clip.short_memory, EncodedTensor):
        size += len(clip.short_memory.payload)
    elif clip.short_memory is not None:
        size += 2 * int(clip.short_memory.size)  # float16
    if clip.transcript_features is not None:
        size += 4 * int(clip.transcript_features.size)  # float32
    for utterance in clip.transcript:
        texts = (utterance.text, utterance.speaker or "", utterance.language or "")
        size += sum(len(text.encode()) for text in texts)
    size += sum(len(event.label.encode()) for event in clip.events)
    size += sum(len(frame.jpeg) for frame in clip.keyframes)
    return size + sum(len(k.encode()) + len(v.encode()) for k, v in clip.labels.items())


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class StoredClip(Clip):
    """A clip as read back.  ``short_memory`` is None unless it was asked for.

    Made of what was checked when it was written, so it is not checked again.
    """

    id: str
    """32 hexadecimal digits; means nothing to another user."""
    user: str
    stream: str
    space: str
    revision: int
    """The user's commit that wrote this version of the clip."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "labels", MappingProxyType(dict(self.labels)))


@dataclass(frozen=True, slots=True)
class Ack:
    """The answer to a write: the clip is durable."""

    clip_id: str
    revision: int
    """The commit that holds the clip; for a duplicate, the earlier one."""
    duplicate: bool
    """True when the same content had been stored before; nothing was written."""
