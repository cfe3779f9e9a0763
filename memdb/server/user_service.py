"""UserService: users, their streams, snapshots and changes."""

from __future__ import annotations

from memdb.engine.user import EmbeddedUser
from memdb.server.calls import Send, closed_user, commits
from memdb.server.resources import Resources
from memdb.server.watch import watch
from memdb.v1 import user_service_pb2 as pb
from memdb.wire.spaces import space_to_proto
from memdb.wire.streams import stream_to_proto
from memdb.wire.users import SNAPSHOT_TTL_S_DEFAULT, erasure_to_proto, snapshot_to_proto


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
        return pb.ListUsersResponse(users=self._database.users())

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
    def create_stream(self, request: pb.CreateStreamRequest) -> pb.CreateStreamResponse:
        """Create a stream."""
        space = request.space if request.HasField("space") else None
        stream = self._user(request.user).stream(request.stream, space=space).create()
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
