"""Labels and how many clips have them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypedDict

from memdb.types.arguments import checked_stream_names, checked_times
from memdb.types.checks import check_int
from memdb.types.grounding import AsOf
from memdb.types.label_count import LabelCount, checked_label, checked_label_key
from memdb.types.limits import LIMIT_MAX
from memdb.types.times import Time
from memdb.v1 import clip_service_pb2 as clip_pb
from memdb.wire.moments import as_of_from_proto, as_of_to_proto


class ListLabelsArguments(TypedDict):
    """Arguments of `User.labels`."""

    key: str | None
    stream: str | None
    streams: list[str] | None
    start_ns: int | None
    end_ns: int | None
    as_of: AsOf | None
    limit: int
    after: tuple[str, str] | None


def list_labels_request(
    user: str,
    *,
    key: str | None = None,
    stream: str | None = None,
    streams: Sequence[str] | None = None,
    start_ns: Time | None = None,
    end_ns: Time | None = None,
    as_of: AsOf | None = None,
    limit: int = LIMIT_MAX,
    after: tuple[str, str] | None = None,
) -> clip_pb.ListLabelsRequest:
    """The request for `User.labels`; raises `InvalidArgument` as the call would."""
    start, end = checked_times(start_ns, end_ns)
    names = checked_stream_names(stream, streams)[0] or ()
    behind = checked_label(after)
    return clip_pb.ListLabelsRequest(
        user=user,
        key=checked_label_key(key),
        stream=None if stream is None else names[0],
        streams=names if stream is None else None,
        start_ns=start,
        end_ns=end,
        as_of=as_of_to_proto(as_of),
        limit=check_int(limit, "limit", 1, LIMIT_MAX),
        after=None if behind is None else clip_pb.Label(key=behind[0], value=behind[1]),
    )


def list_labels_arguments(request: clip_pb.ListLabelsRequest) -> ListLabelsArguments:
    """The arguments of a request."""
    after = request.after
    return ListLabelsArguments(
        key=request.key if request.HasField("key") else None,
        stream=request.stream if request.HasField("stream") else None,
        streams=list(request.streams) or None,
        start_ns=request.start_ns if request.HasField("start_ns") else None,
        end_ns=request.end_ns if request.HasField("end_ns") else None,
        as_of=as_of_from_proto(request.as_of, request.HasField("as_of")),
        limit=request.limit or LIMIT_MAX,
        after=(after.key, after.value) if request.HasField("after") else None,
    )


def label_counts_to_proto(counts: Iterable[LabelCount]) -> clip_pb.ListLabelsResponse:
    """The answer of the call."""
    return clip_pb.ListLabelsResponse(
        labels=[
            clip_pb.LabelCount(label=clip_pb.Label(key=one.key, value=one.value), clips=one.clips)
            for one in counts
        ]
    )


def label_counts_from_proto(message: clip_pb.ListLabelsResponse) -> list[LabelCount]:
    """What an answer says."""
    return [LabelCount(one.label.key, one.label.value, one.clips) for one in message.labels]
