"""Clips and what they carry, as written and as read back."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypedDict

from memdb.codecs.tensors import encoded
from memdb.types.arguments import (
    checked_reference,
    checked_revision,
    checked_stream_names,
    checked_times,
)
from memdb.types.calendar import HourOfDay, Weekday, checked_calendar
from memdb.types.checks import check_flag, check_int
from memdb.types.clip import (
    NO_GLOBAL_MEMORY,
    NO_LABELS,
    Ack,
    Clip,
    Keyframe,
    SoundEvent,
    StoredClip,
    Utterance,
)
from memdb.types.grounding import AsOf
from memdb.types.ids import check_id
from memdb.types.label_filter import WantedLabels, checked_labels
from memdb.types.labels import Labels
from memdb.types.limits import LIMIT_MAX
from memdb.types.tensor import Codec, EncodedTensor
from memdb.types.times import Time
from memdb.types.unchecked import maker
from memdb.v1 import clip_service_pb2 as clip_pb
from memdb.v1 import types_pb2 as pb
from memdb.wire.arrays import (
    array_from_tensor,
    fill_matrix,
    fill_tensor,
    fill_vector,
    matrix_elements,
    tensor_from_proto,
    vector_elements,
)
from memdb.wire.calendar import calendar_arguments, calendar_to_proto
from memdb.wire.labels import labels_from_proto, labels_to_proto
from memdb.wire.moments import as_of_from_proto, as_of_to_proto

LIST_LIMIT_DEFAULT = 1000

_keyframe = maker(Keyframe)
_sound_event = maker(SoundEvent)
_stored_clip = maker(StoredClip)
_utterance = maker(Utterance)


def clip_to_proto(clip: Clip, codec: Codec = Codec.F16) -> pb.Clip:
    """A clip as a message; short-term memory that is still an array is coded."""
    message = pb.Clip()
    fill_clip(message, clip, codec)
    return message


def fill_clip(
    message: pb.Clip, clip: Clip, codec: Codec = Codec.F16, *, short_memory: bool = True
) -> None:
    """Write a clip into a new message, without its short-term memory if that goes another way.

    In place and field by field: a message that is given to another's constructor is copied, with
    its vectors, once for every level.  Fields only when they hold something: most clips of an
    answer carry little, and answers are timed.
    """
    message.seq = clip.seq
    message.epoch = clip.epoch
    message.start_ns = clip.start_ns
    message.end_ns = clip.end_ns
    message.sealed = clip.sealed
    if clip.global_memory.size:
        fill_vector(message.global_memory, clip.global_memory)
    if clip.frames_per_token_row is not None:
        message.frames_per_token_row = clip.frames_per_token_row
    tensor = encoded(clip, codec) if short_memory else None
    if tensor is not None:
        fill_tensor(message.short_memory, tensor)
    for utterance in clip.transcript:
        message.transcript.add(
            start_ns=utterance.start_ns,
            end_ns=utterance.end_ns,
            text=utterance.text,
            speaker=utterance.speaker,
            language=utterance.language,
        )
    if clip.transcript_features is not None:
        fill_matrix(message.transcript_features, clip.transcript_features)
    for event in clip.events:
        message.events.add(
            start_ns=event.start_ns, end_ns=event.end_ns, label=event.label, score=event.score
        )
    for keyframe in clip.keyframes:
        message.keyframes.add(time_ns=keyframe.time_ns, jpeg=keyframe.jpeg)
    if clip.labels:
        message.labels.update(clip.labels)


def clip_from_proto(message: pb.Clip, short_memory: EncodedTensor | None = None) -> Clip:
    """The clip of a message; its short-term memory is checked and stays coded.

    short_memory: what came beside the message, checked already.

    Raises `InvalidArgument` naming the field that is wrong, ``clip.…``.
    """
    features = None
    if message.HasField("short_memory"):
        short_memory = tensor_from_proto(message.short_memory, "clip.short_memory")
    if message.HasField("transcript_features"):
        features = matrix_elements(message.transcript_features, "clip.transcript_features")
    # Slices, as in an answer, and nothing made of lists that are empty.
    transcript, events, keyframes = message.transcript, message.events, message.keyframes
    return Clip(
        seq=message.seq,
        epoch=message.epoch,
        start_ns=message.start_ns,
        end_ns=message.end_ns,
        global_memory=vector_elements(message.global_memory, "clip.global_memory"),
        short_memory=short_memory,
        frames_per_token_row=(
            message.frames_per_token_row if message.HasField("frames_per_token_row") else None
        ),
        transcript=(
            tuple([utterance_from_proto(item) for item in transcript[:]]) if transcript else ()
        ),
        transcript_features=features,
        events=tuple(
            [SoundEvent(item.start_ns, item.end_ns, item.label, item.score) for item in events[:]]
        )
        if events
        else (),
        keyframes=(
            tuple([Keyframe(item.time_ns, item.jpeg) for item in keyframes[:]]) if keyframes else ()
        ),
        labels=dict(message.labels) if message.labels else {},
        sealed=message.sealed,
    )


def stored_clip_to_proto(clip: StoredClip) -> pb.StoredClip:
    """A clip that was read, as a message."""
    message = pb.StoredClip()
    fill_stored_clip(message, clip)
    return message


def fill_stored_clip(message: pb.StoredClip, clip: StoredClip) -> None:
    """Write a clip that was read into a new message."""
    fill_clip(message.clip, clip)
    message.id = clip.id
    message.user = clip.user
    message.stream = clip.stream
    message.space = clip.space
    message.revision = clip.revision


def stored_clip_from_proto(message: pb.StoredClip, light: bool = False) -> StoredClip:
    """The clip of an answer; short-term memory, when present, as a (tokens, dim) float16 array.

    What it carries was checked when it was written, and is not checked again.

    light: whether it was asked for without vectors and keyframes, which are not looked for then.
    """
    clip = message.clip
    # What most clips have not is looked at once and no further: each look is a call, and answers are timed.
    has = clip.HasField
    transcript, events, labels = clip.transcript, clip.events, clip.labels
    keyframes = None if light else clip.keyframes
    return _stored_clip(
        clip.seq,
        clip.start_ns,
        clip.end_ns,
        (
            vector_elements(clip.global_memory, "clip.global_memory")
            if not light and has("global_memory")
            else NO_GLOBAL_MEMORY
        ),
        array_from_tensor(clip.short_memory) if not light and has("short_memory") else None,
        clip.frames_per_token_row or None,  # above 0 where there is one
        # Slices: to walk a repeated field itself costs more than to make a list of it.
        tuple([stored_utterance_from_proto(item) for item in transcript[:]]) if transcript else (),
        (
            matrix_elements(clip.transcript_features, "clip.transcript_features")
            if transcript and has("transcript_features")  # a row for each utterance
            else None
        ),
        (
            tuple(
                [
                    _sound_event(item.start_ns, item.end_ns, item.label, item.score)
                    for item in events[:]
                ]
            )
            if events
            else ()
        ),
        tuple([_keyframe(item.time_ns, item.jpeg) for item in keyframes[:]]) if keyframes else (),
        # A message has them in any order; embedded they come by key.
        Labels(sorted(labels.items())) if labels else NO_LABELS,
        clip.sealed,
        clip.epoch,
        message.id,
        message.user,
        message.stream,
        message.space,
        message.revision,
    )


def stored_utterance_from_proto(message: pb.Utterance) -> Utterance:
    """The utterance of an answer, which was checked when it was written."""
    return _utterance(
        message.start_ns,
        message.end_ns,
        message.text,
        message.speaker if message.HasField("speaker") else None,
        message.language if message.HasField("language") else None,
    )


def utterance_to_proto(utterance: Utterance) -> pb.Utterance:
    """An utterance as a message."""
    return pb.Utterance(
        start_ns=utterance.start_ns,
        end_ns=utterance.end_ns,
        text=utterance.text,
        speaker=utterance.speaker,
        language=utterance.language,
    )


def utterance_from_proto(message: pb.Utterance) -> Utterance:
    """The utterance of a message; raises `InvalidArgument` as `Utterance` does."""
    return Utterance(
        message.start_ns,
        message.end_ns,
        message.text,
        message.speaker if message.HasField("speaker") else None,
        message.language if message.HasField("language") else None,
    )


def fill_ack(message: clip_pb.ClipAck, ack: Ack) -> None:
    """Write an acknowledgement into a new message."""
    message.clip_id = ack.clip_id
    message.revision = ack.revision
    message.duplicate = ack.duplicate


def ack_from_proto(message: clip_pb.ClipAck) -> Ack:
    """The acknowledgement of a message."""
    return Ack(message.clip_id, message.revision, message.duplicate)


class ListClipsArguments(TypedDict):
    """Options of `User.clips`."""

    stream: str | None
    streams: list[str] | None
    start_ns: Time | None
    end_ns: Time | None
    as_of: AsOf | None
    limit: int
    after: str | None
    min_revision: int | None
    hours: list[tuple[str, str]] | None
    weekdays: list[int] | None
    zone: str | None
    labels: WantedLabels | None
    with_global_memory: bool
    with_keyframes: bool
    newest_first: bool


def list_clips_request(
    user: str,
    *,
    stream: str | None = None,
    streams: Sequence[str] | None = None,
    start_ns: Time | None = None,
    end_ns: Time | None = None,
    as_of: AsOf | None = None,
    limit: int = LIST_LIMIT_DEFAULT,
    after: str | None = None,
    min_revision: int | None = None,
    hours: Iterable[Sequence[HourOfDay]] | None = None,
    weekdays: Iterable[Weekday] | None = None,
    zone: str | None = None,
    labels: WantedLabels | None = None,
    with_global_memory: bool = True,
    with_keyframes: bool = True,
    newest_first: bool = False,
) -> clip_pb.ListClipsRequest:
    """The request for `User.clips`; raises `InvalidArgument` as the call would."""
    start, end = checked_times(start_ns, end_ns)
    names = checked_stream_names(stream, streams)[0] or ()
    return clip_pb.ListClipsRequest(
        user=check_id(user, "user"),
        stream=None if stream is None else names[0],
        streams=names if stream is None else None,
        start_ns=start,
        end_ns=end,
        as_of=as_of_to_proto(as_of),
        limit=check_int(limit, "limit", 1, LIMIT_MAX),
        after=None if after is None else checked_reference(after, "after"),
        min_revision=checked_revision(min_revision),
        calendar=calendar_to_proto(checked_calendar(hours, weekdays, zone)),
        labels=labels_to_proto(checked_labels(labels)),
        without_global_memory=not check_flag(with_global_memory, "with_global_memory"),
        without_keyframes=not check_flag(with_keyframes, "with_keyframes"),
        newest_first=check_flag(newest_first, "newest_first"),
    )


def list_clips_arguments(request: clip_pb.ListClipsRequest) -> ListClipsArguments:
    """The options of `User.clips` that a request carries."""
    return ListClipsArguments(
        stream=request.stream if request.HasField("stream") else None,
        streams=list(request.streams) or None,
        start_ns=request.start_ns if request.HasField("start_ns") else None,
        end_ns=request.end_ns if request.HasField("end_ns") else None,
        as_of=as_of_from_proto(request.as_of, request.HasField("as_of")),
        limit=request.limit or LIST_LIMIT_DEFAULT,
        after=request.after if request.HasField("after") else None,
        min_revision=request.min_revision if request.HasField("min_revision") else None,
        labels=labels_from_proto(request.labels),
        with_global_memory=not request.without_global_memory,
        with_keyframes=not request.without_keyframes,
        newest_first=request.newest_first,
        **calendar_arguments(request.calendar),
    )
