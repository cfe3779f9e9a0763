"""UserService: users, their streams, snapshots and changes."""

from __future__ import annotations

from typing import Final

from memdb.engine.user import EmbeddedUser
from memdb.errors import InvalidArgument
from memdb.server.methods import Send, closed_user, commits
from memdb.server.resources import Resources
from memdb.server.watch import watch
from memdb.v1 import user_service_pb2 as pb
from memdb.wire.retention import (
    erase_clips_to_proto,
    retention_from_proto,
    retention_to_proto,
)
from memdb.wire.snapshots import snapshot_to_proto
from memdb.wire.spaces import space_to_proto
from memdb.wire.streams import stream_to_proto
from memdb.wire.users import SNAPSHOT_TTL_S_DEFAULT, compaction_to_proto, erasure_to_proto

PAGE_USERS: Final = 10_000
"""Ids of one answer, 65 bytes each at most."""


class UserService:
    """The users of a database."""

    def __init__(self, resources: Resources) -> None:
        self._resources = resources
        self._database = resources.database

    def get_user(self, request: pb.GetUserRequest) -> pb.GetUserResponse:
        """The newest commit and the settings."""
        user = self._user(request.user)
        space = user.text_space()
        return pb.GetUserResponse(
            revision=user.revision(), text_space=None if space is None else space_to_proto(space)
        )

    def list_users(self, request: pb.ListUsersRequest) -> pb.ListUsersResponse:
        """Every user."""
        users = self._database.users(
            limit=request.limit or None, after=request.after if request.HasField("after") else None
        )
        page = users[:PAGE_USERS] if request.paged else users
        return pb.ListUsersResponse(users=page, more=len(page) < len(users))

    @commits
    def configure_user(self, request: pb.ConfigureUserRequest) -> pb.ConfigureUserResponse:
        """Name the space of the user's texts."""
        user = self._user(request.user)
        user.configure(text_space=request.text_space)
        return pb.ConfigureUserResponse(revision=user.revision())

    @commits
    @closed_user
    def erase_user(self, request: pb.EraseUserRequest) -> pb.EraseUserResponse:
        """Remove a user and its memory, also one that is too damaged to open."""
        return erasure_to_proto(self._user(request.user).erase())

    @commits
    def erase_clips(self, request: pb.EraseClipsRequest) -> pb.EraseClipsResponse:
        """Remove clips or a whole stream."""
        user = self._user(request.user)
        stream = request.stream if request.HasField("stream") else None
        start_ns = request.start_ns if request.HasField("start_ns") else None
        end_ns = request.end_ns if request.HasField("end_ns") else None
        if request.whole_stream and request.clip_ids:
            # Whichever of the two was meant, the other would be erased for good.
            raise InvalidArgument(
                "name clips or a whole stream, not both", reason="AMBIGUOUS", field="clip_ids"
            )
        if request.whole_stream:
            report = user.stream(stream or "").erase(start_ns=start_ns, end_ns=end_ns)
        else:
            report = user.erase_clips(
                list(request.clip_ids) or None, stream=stream, start_ns=start_ns, end_ns=end_ns
            )
        return erase_clips_to_proto(report)

    @commits
    def compact_user(self, request: pb.CompactUserRequest) -> pb.CompactUserResponse:
        """Make a user's data file anew."""
        return compaction_to_proto(self._user(request.user).compact())

    @commits
    def set_retention(self, request: pb.SetRetentionRequest) -> pb.SetRetentionResponse:
        """Set the policy of a stream."""
        policy = retention_from_proto(request.retention)
        self._user(request.user).stream(request.stream).set_retention(policy)
        return pb.SetRetentionResponse()

    def get_retention(self, request: pb.GetRetentionRequest) -> pb.GetRetentionResponse:
        """The policy of a stream."""
        policy = self._user(request.user).stream(request.stream).retention()
        return pb.GetRetentionResponse(retention=retention_to_proto(policy))

    @commits
    def create_stream(self, request: pb.CreateStreamRequest) -> pb.CreateStreamResponse:
        """Create a stream."""
        space = request.space if request.HasField("space") else None
        zone = request.zone if request.HasField("zone") else None
        stream = self._user(request.user).stream(request.stream, space=space).create(zone=zone)
        return pb.CreateStreamResponse(stream=stream_to_proto(stream))

    def list_streams(self, request: pb.ListStreamsRequest) -> pb.ListStreamsResponse:
        """Every stream of a user."""
        streams = self._user(request.user).streams()
        return pb.ListStreamsResponse(streams=[stream_to_proto(stream) for stream in streams])

    @commits
    def create_snapshot(self, request: pb.CreateSnapshotRequest) -> pb.CreateSnapshotResponse:
        """Name and lease the newest commit."""
        snapshot = self._user(request.user).snapshot(
            request.name, ttl_s=request.ttl_s or SNAPSHOT_TTL_S_DEFAULT
        )
        return pb.CreateSnapshotResponse(snapshot=snapshot_to_proto(snapshot))

    def list_snapshots(self, request: pb.ListSnapshotsRequest) -> pb.ListSnapshotsResponse:
        """Live snapshots of a user."""
        snapshots = self._user(request.user).snapshots()
        return pb.ListSnapshotsResponse(snapshots=[snapshot_to_proto(item) for item in snapshots])

    @commits
    def release_snapshot(self, request: pb.ReleaseSnapshotRequest) -> pb.ReleaseSnapshotResponse:
        """End a lease."""
        self._user(request.user).release(request.name)
        return pb.ReleaseSnapshotResponse()

    async def watch_user(self, request: pb.WatchUserRequest, send: Send) -> None:
        """The change feed; see `memdb.server.watch`."""
        await watch(self._resources, request, send)

    def _user(self, user_id: str) -> EmbeddedUser:
        return self._database.user(user_id)
