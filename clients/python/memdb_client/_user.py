# Generated from _async_user.py by clients/python/tools/unasync.py: do not edit.
# ruff: noqa: C416, RUF100, UP028 - written as asyncio needs it
"""A handle on one user behind an address."""

from __future__ import annotations

from memdb.types.stream import StreamInfo
from memdb.v1 import user_service_pb2 as user_pb
from memdb.wire.streams import stream_from_proto
from memdb_client._standing import Standing
from memdb_client._stream import Stream
from memdb_client._user_changes import UserChanges
from memdb_client._user_clips import UserClips
from memdb_client._user_erasure import UserErasure
from memdb_client._user_facts import UserFacts
from memdb_client._user_grounding import UserGrounding
from memdb_client._user_snapshots import UserSnapshots
from memdb_client._user_values import UserValues


class User(
    UserClips,
    UserGrounding,
    UserFacts,
    UserValues,
    UserSnapshots,
    UserChanges,
    UserErasure,
):
    """One user; as `memdb.types.database.User`."""

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._id}>"

    @property
    def id(self) -> str:
        """The user's id."""
        return self._id

    def revision(self) -> int:
        """The user's newest commit number."""
        return (
            self._rpc.call(self._rpc.users.GetUser, user_pb.GetUserRequest(user=self._id))
        ).revision

    def stream(self, name: str, *, space: str | None = None, codec: str | None = None) -> Stream:
        """A handle on a stream; ``space`` is needed when it does not exist yet.

        codec: how this handle codes short-term memory, see `memdb.types.database.User.stream`.
        """
        return Stream(self._rpc, self._id, name, space, codec)

    @property
    def standing(self) -> Standing:
        """The user's standing questions."""
        return Standing(self._rpc, self._id)

    def streams(self) -> list[StreamInfo]:
        """Every stream of the user, by name."""
        answer = self._rpc.call(
            self._rpc.users.ListStreams, user_pb.ListStreamsRequest(user=self._id)
        )
        return [stream_from_proto(stream) for stream in answer.streams]
