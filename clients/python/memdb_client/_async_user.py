"""A handle on one user behind an address."""

from __future__ import annotations

from memdb.types.stream import StreamInfo
from memdb.v1 import user_service_pb2 as user_pb
from memdb.wire.streams import stream_from_proto
from memdb_client._async_standing import AsyncStanding
from memdb_client._async_stream import AsyncStream
from memdb_client._async_user_changes import AsyncUserChanges
from memdb_client._async_user_clips import AsyncUserClips
from memdb_client._async_user_erasure import AsyncUserErasure
from memdb_client._async_user_facts import AsyncUserFacts
from memdb_client._async_user_grounding import AsyncUserGrounding
from memdb_client._async_user_snapshots import AsyncUserSnapshots
from memdb_client._async_user_values import AsyncUserValues


class AsyncUser(
    AsyncUserClips,
    AsyncUserGrounding,
    AsyncUserFacts,
    AsyncUserValues,
    AsyncUserSnapshots,
    AsyncUserChanges,
    AsyncUserErasure,
):
    """One user; as `memdb.types.database.User`."""

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._id}>"

    @property
    def id(self) -> str:
        """The user's id."""
        return self._id

    async def revision(self) -> int:
        """The user's newest commit number."""
        return (
            await self._rpc.call(self._rpc.users.GetUser, user_pb.GetUserRequest(user=self._id))
        ).revision

    def stream(
        self, name: str, *, space: str | None = None, codec: str | None = None
    ) -> AsyncStream:
        """A handle on a stream; ``space`` is needed when it does not exist yet.

        codec: how this handle codes short-term memory, see `memdb.types.database.User.stream`.
        """
        return AsyncStream(self._rpc, self._id, name, space, codec)

    @property
    def standing(self) -> AsyncStanding:
        """The user's standing questions."""
        return AsyncStanding(self._rpc, self._id)

    async def streams(self) -> list[StreamInfo]:
        """Every stream of the user, by name."""
        answer = await self._rpc.call(
            self._rpc.users.ListStreams, user_pb.ListStreamsRequest(user=self._id)
        )
        return [stream_from_proto(stream) for stream in answer.streams]
