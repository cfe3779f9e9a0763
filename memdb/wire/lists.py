"""How long the lists of a message with clips or questions are, looked at before it is parsed.

An item takes two bytes on the wire and fifty times as many once it is parsed, which is done in one piece
and stops everything else meanwhile.  So a message that has more of them than may be is refused unparsed;
the look ends at the first item too many.
"""

from __future__ import annotations

from typing import Final

from google.protobuf.message import Message

from memdb.errors import InvalidArgument
from memdb.types import limits
from memdb.v1 import clip_service_pb2 as clip_pb
from memdb.v1 import grounding_service_pb2 as grounding_pb
from memdb.v1 import types_pb2 as pb
from memdb.wire.fields import BadFields, fields, tag_of

SMALL_BYTES: Final = 4096
"""Up to this size the items are too few to matter."""

_CLIPS: Final[dict[type, int]] = {
    clip_pb.WriteClipsRequest: tag_of(clip_pb.WriteClipsRequest.CLIPS_FIELD_NUMBER),
    clip_pb.IngestClipsRequest: tag_of(clip_pb.IngestClipsRequest.CLIPS_FIELD_NUMBER),
}
_CLIP_LISTS: Final = {
    tag_of(pb.Clip.TRANSCRIPT_FIELD_NUMBER): ("clip.transcript", limits.TRANSCRIPT_MAX),
    tag_of(pb.Clip.EVENTS_FIELD_NUMBER): ("clip.events", limits.EVENTS_MAX),
    tag_of(pb.Clip.KEYFRAMES_FIELD_NUMBER): ("clip.keyframes", limits.KEYFRAMES_MAX),
    tag_of(pb.Clip.LABELS_FIELD_NUMBER): ("clip.labels", limits.LABELS_MAX),
}
CLIP_FIELDS_MAX: Final = sum(maximum for _, maximum in _CLIP_LISTS.values()) + 64
_PART_FIELDS_MAX: Final = 64
"""Of an utterance, a tensor, a start: they have a handful."""
_OTHER_FIELDS_MAX: Final = 64
"""Of a message beside its list: it has a handful, and those that a later release adds.  Each that is not known is an
object once somebody asks which they are."""
_ITEMS: Final = {"clips": "clips", "message": "fields beside its list"}
"""What there is too much of, by the name of the field at fault."""
_START: Final = tag_of(clip_pb.IngestClipsRequest.START_FIELD_NUMBER)
_SHORT_MEMORY: Final = tag_of(pb.Clip.SHORT_MEMORY_FIELD_NUMBER)
_SHAPE: Final = tag_of(pb.Tensor.SHAPE_FIELD_NUMBER)
_QUESTION_LISTS: Final[dict[type, dict[int, tuple[str, int]]]] = {
    grounding_pb.GroundManyRequest: {
        tag_of(grounding_pb.GroundManyRequest.QUESTION_TOKENS_FIELD_NUMBER): (
            "question_tokens",
            limits.QUESTIONS_MAX,
        )
    },
    grounding_pb.GroundStreamRequest: {
        tag_of(grounding_pb.GroundStreamRequest.QUESTIONS_FIELD_NUMBER): (
            "questions",
            limits.QUESTIONS_MAX,
        )
    },
}


def check_lists(kind: type[Message], data: bytes) -> None:
    """Refuse a message of that kind whose lists are too long.

    Raises `InvalidArgument` (``TOO_LARGE`` naming the list; ``BAD_MESSAGE`` for what is no run of
    fields).
    """
    clips, questions = _CLIPS.get(kind), _QUESTION_LISTS.get(kind)
    if (clips is None and questions is None) or len(data) <= SMALL_BYTES:
        return
    try:
        if questions is not None:
            _check_counts(data, 0, len(data), questions)
            return
        count = others = 0
        for tag, _, begin, end in fields(data, 0, len(data)):
            if tag == clips:
                count += 1
                check_clip_count(count)
                check_clip_lists(data, begin, end)
            else:
                others += 1
                _check_others(others)
                # The one message among them: what else is large there is a text.
                if tag == _START and kind is clip_pb.IngestClipsRequest:
                    _check_part(data, begin, end, name="start")
    except BadFields as error:
        raise InvalidArgument(
            f"not a {kind.DESCRIPTOR.full_name} message",
            reason="BAD_MESSAGE",
            field="message",
        ) from error


def check_clip_count(count: int) -> None:
    """Refuse more clips than one commit takes; raises `InvalidArgument` (``TOO_LARGE``)."""
    if count > limits.BATCH_OPERATIONS_MAX:
        raise _too_many("clips", limits.BATCH_OPERATIONS_MAX, count)


def check_clip_lists(data: bytes, begin: int, end: int) -> None:
    """`check_lists` of the clip between ``begin`` and ``end``; raises `BadFields` too."""
    counts = dict.fromkeys(_CLIP_LISTS, 0)
    for count, (tag, _, first, last) in enumerate(fields(data, begin, end), 1):
        _count(tag, counts, _CLIP_LISTS)
        if count > CLIP_FIELDS_MAX:
            raise _too_many("clip", CLIP_FIELDS_MAX, count)
        # All that is large in a clip is a message of a few fields.
        if last - first > SMALL_BYTES:
            _check_part(data, first, last, is_tensor=tag == _SHORT_MEMORY)


def _check_part(
    data: bytes, begin: int, end: int, *, is_tensor: bool = False, name: str = "clip"
) -> None:
    """Refuse a part of a clip, or a start, with more fields, or a tensor with more axes, than any has.

    name: of the field at fault.
    """
    for count, (tag, _, first, last) in enumerate(fields(data, begin, end), 1):
        if is_tensor and tag == _SHAPE and last - first > _PART_FIELDS_MAX:
            raise InvalidArgument(
                "a tensor has two axes",
                reason="BAD_SHAPE",
                field="clip.short_memory",
                value=f"more than {_PART_FIELDS_MAX} axes",
            )
        if count > _PART_FIELDS_MAX:
            raise _too_many(name, _PART_FIELDS_MAX, count)


def _check_counts(data: bytes, begin: int, end: int, lists: dict[int, tuple[str, int]]) -> None:
    counts = dict.fromkeys(lists, 0)
    others = 0
    for tag, *_ in fields(data, begin, end):
        if tag in lists:
            _count(tag, counts, lists)
        else:
            others += 1
            _check_others(others)


def _check_others(count: int) -> None:
    """Refuse more fields beside the lists than a message has; raises `InvalidArgument` (``TOO_LARGE``)."""
    if count > _OTHER_FIELDS_MAX:
        raise _too_many("message", _OTHER_FIELDS_MAX, count)


def _count(tag: int, counts: dict[int, int], lists: dict[int, tuple[str, int]]) -> None:
    """One more field; raises `InvalidArgument` where it is an item too many."""
    if tag in counts:
        counts[tag] += 1
        name, maximum = lists[tag]
        if counts[tag] > maximum:
            raise _too_many(name, maximum, counts[tag])


def _too_many(name: str, maximum: int, count: int) -> InvalidArgument:
    return InvalidArgument(
        f"more than {maximum} {_ITEMS.get(name, 'items')}",
        reason="TOO_LARGE",
        field=name,
        value=count,
    )
