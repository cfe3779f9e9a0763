"""How many clips there are."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from memdb.types.arguments import checked_revision, checked_streams, checked_times
from memdb.types.calendar import HourOfDay, Weekday, checked_calendar
from memdb.types.grounding import AsOf
from memdb.types.ids import check_id
from memdb.types.label_filter import WantedLabels, checked_labels
from memdb.types.times import Time
from memdb.v1 import clip_service_pb2 as clip_pb
from memdb.wire.calendar import CalendarArguments, calendar_arguments, calendar_to_proto
from memdb.wire.labels import labels_from_proto, labels_to_proto
from memdb.wire.moments import as_of_from_proto, as_of_to_proto


class CountClipsArguments(CalendarArguments):
    """Arguments of `User.count_clips`."""

    streams: Sequence[str] | None
    start_ns: int | None
    end_ns: int | None
    as_of: AsOf | None
    min_revision: int | None
    labels: WantedLabels | None


def count_clips_request(
    user: str,
    *,
    streams: Sequence[str] | None = None,
    start_ns: Time | None = None,
    end_ns: Time | None = None,
    as_of: AsOf | None = None,
    min_revision: int | None = None,
    labels: WantedLabels | None = None,
    hours: Iterable[Sequence[HourOfDay]] | None = None,
    weekdays: Iterable[Weekday] | None = None,
    zone: str | None = None,
) -> clip_pb.CountClipsRequest:
    """The request for `User.count_clips`; raises `InvalidArgument` as the call would."""
    start, end = checked_times(start_ns, end_ns)
    return clip_pb.CountClipsRequest(
        user=check_id(user, "user"),
        streams=checked_streams(streams),
        start_ns=start,
        end_ns=end,
        as_of=as_of_to_proto(as_of),
        min_revision=checked_revision(min_revision),
        labels=labels_to_proto(checked_labels(labels)),
        calendar=calendar_to_proto(checked_calendar(hours, weekdays, zone)),
    )


def count_clips_arguments(request: clip_pb.CountClipsRequest) -> CountClipsArguments:
    """The arguments of a request."""
    return CountClipsArguments(
        streams=list(request.streams) or None,
        start_ns=request.start_ns if request.HasField("start_ns") else None,
        end_ns=request.end_ns if request.HasField("end_ns") else None,
        as_of=as_of_from_proto(request.as_of, request.HasField("as_of")),
        min_revision=request.min_revision if request.HasField("min_revision") else None,
        labels=labels_from_proto(request.labels),
        **calendar_arguments(request.calendar),
    )
