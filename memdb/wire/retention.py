"""Policies of retention, erasure of parts, and sweeps."""

from __future__ import annotations

from collections.abc import Sequence

from memdb.types.arguments import checked_clip_ids, checked_times
from memdb.types.change import ErasureReport
from memdb.types.ids import check_id
from memdb.types.retention import LIMITS, Retention, SweepReport
from memdb.types.times import Time
from memdb.v1 import database_service_pb2 as db_pb
from memdb.v1 import user_service_pb2 as pb


def retention_to_proto(retention: Retention) -> pb.Retention:
    """A policy as a message."""
    limits = {name: getattr(retention, name) for name in LIMITS}
    return pb.Retention(hold=retention.hold, **limits)


def retention_from_proto(message: pb.Retention) -> Retention:
    """The policy of a message; raises `InvalidArgument` naming ``retention.<field>``."""
    limits = {name: getattr(message, name) if message.HasField(name) else None for name in LIMITS}  # type: ignore[arg-type]  # names of fields
    return Retention(hold=message.hold, **limits)


def erase_clips_request(
    user: str,
    *,
    stream: str | None = None,
    start_ns: Time | None = None,
    end_ns: Time | None = None,
    clip_ids: Sequence[str] = (),
    whole_stream: bool = False,
) -> pb.EraseClipsRequest:
    """The request for `User.erase_clips` and `Stream.erase`; raises as the call would."""
    start, end = checked_times(start_ns, end_ns)
    return pb.EraseClipsRequest(
        user=check_id(user, "user"),
        stream=None if stream is None else check_id(stream, "stream"),
        start_ns=start,
        end_ns=end,
        clip_ids=checked_clip_ids(clip_ids) if clip_ids else (),
        whole_stream=whole_stream,
    )


def erase_clips_to_proto(report: ErasureReport) -> pb.EraseClipsResponse:
    """A report on parts of a user as a message."""
    return pb.EraseClipsResponse(
        clips=report.clips,
        bytes_removed=report.bytes_removed,
        clip_ids=report.clip_ids,
        fact_ids=report.fact_ids,
        streams=report.streams,
    )


def erase_clips_from_proto(user: str, message: pb.EraseClipsResponse) -> ErasureReport:
    """The report of a message."""
    return ErasureReport(
        user,
        message.clips,
        0,
        0,
        message.bytes_removed,
        tuple(message.clip_ids),
        tuple(message.fact_ids),
        tuple(message.streams),
    )


def sweep_to_proto(report: SweepReport) -> db_pb.SweepResponse:
    """A sweep report as a message."""
    return db_pb.SweepResponse(
        clips=report.clips,
        short_memories=report.short_memories,
        keyframes=report.keyframes,
        versions=report.versions,
        bytes_removed=report.bytes_removed,
        unswept=report.unswept,
        unswept_reasons=report.unswept_reasons,
    )


def sweep_from_proto(message: db_pb.SweepResponse) -> SweepReport:
    """The sweep report of a message."""
    return SweepReport(
        message.clips,
        message.short_memories,
        message.keyframes,
        message.versions,
        message.bytes_removed,
        message.unswept,
        tuple(message.unswept_reasons),
    )
