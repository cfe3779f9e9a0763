"""Users: requests for snapshots, the change feed, erasure."""

from __future__ import annotations

from memdb.types.arguments import checked_ttl_s
from memdb.types.change import Change, CompactionReport, ErasureReport
from memdb.types.checks import check_int
from memdb.types.ids import check_id
from memdb.types.limits import LIMIT_MAX
from memdb.v1 import user_service_pb2 as user_pb
from memdb.wire.clips import stored_clip_from_proto, stored_clip_to_proto
from memdb.wire.facts import fact_from_proto, fact_to_proto
from memdb.wire.snapshots import snapshot_from_proto, snapshot_to_proto
from memdb.wire.streams import stream_from_proto, stream_to_proto

SNAPSHOT_TTL_S_DEFAULT = 600.0


def list_users_request(*, limit: int | None, after: str | None) -> user_pb.ListUsersRequest:
    """The request for `Database.users`, a page at a time; raises `InvalidArgument` as the call would."""
    return user_pb.ListUsersRequest(
        limit=0 if limit is None else check_int(limit, "limit", 1, LIMIT_MAX),
        after=None if after is None else check_id(after, "after"),
        paged=True,
    )


def snapshot_request(
    user: str, name: str, *, ttl_s: float = SNAPSHOT_TTL_S_DEFAULT
) -> user_pb.CreateSnapshotRequest:
    """The request for `User.snapshot`; raises `InvalidArgument` as the call would."""
    return user_pb.CreateSnapshotRequest(
        user=check_id(user, "user"), name=check_id(name, "snapshot"), ttl_s=checked_ttl_s(ttl_s)
    )


def change_to_proto(change: Change) -> user_pb.Change:
    """A change as a message."""
    return user_pb.Change(
        revision=change.revision,
        index=change.index,
        time_ns=change.time_ns,
        kind=change.kind,
        clip=None if change.clip is None else stored_clip_to_proto(change.clip),
        fact=None if change.fact is None else fact_to_proto(change.fact),
        stream=None if change.stream is None else stream_to_proto(change.stream),
        snapshot=None if change.snapshot is None else snapshot_to_proto(change.snapshot),
        key=change.key,
    )


def change_from_proto(message: user_pb.Change, user: str = "") -> Change:
    """The change of a message; ``user`` as in `snapshot_from_proto`."""
    return Change(
        message.revision,
        message.index,
        message.time_ns,
        message.kind,
        stored_clip_from_proto(message.clip) if message.HasField("clip") else None,
        fact_from_proto(message.fact) if message.HasField("fact") else None,
        stream_from_proto(message.stream) if message.HasField("stream") else None,
        snapshot_from_proto(message.snapshot, user) if message.HasField("snapshot") else None,
        message.key if message.HasField("key") else None,
    )


def erasure_to_proto(report: ErasureReport) -> user_pb.EraseUserResponse:
    """An erasure report as a message."""
    return user_pb.EraseUserResponse(
        clips=report.clips,
        facts=report.facts,
        values=report.values,
        bytes_removed=report.bytes_removed,
    )


def erasure_from_proto(user: str, message: user_pb.EraseUserResponse) -> ErasureReport:
    """The erasure report of a message."""
    return ErasureReport(user, message.clips, message.facts, message.values, message.bytes_removed)


def compaction_to_proto(report: CompactionReport) -> user_pb.CompactUserResponse:
    """A compaction report as a message."""
    return user_pb.CompactUserResponse(
        bytes_before=report.bytes_before, bytes_after=report.bytes_after
    )


def compaction_from_proto(user: str, message: user_pb.CompactUserResponse) -> CompactionReport:
    """The compaction report of a message."""
    return CompactionReport(user, message.bytes_before, message.bytes_after)
