"""One connection to a server: its channel and the stubs of every service over it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import grpc.aio

from memdb.v1 import clip_service_pb2 as clip_pb
from memdb.v1.clip_service_pb2_grpc import ClipServiceStub
from memdb.v1.database_service_pb2_grpc import DatabaseServiceStub
from memdb.v1.grounding_service_pb2_grpc import GroundingServiceStub
from memdb.v1.memory_service_pb2_grpc import MemoryServiceStub
from memdb.v1.standing_service_pb2_grpc import StandingServiceStub
from memdb.v1.user_service_pb2_grpc import UserServiceStub
from memdb_client import _acompat as compat
from memdb_client._options import Target

STREAMS_MAX: Final = 64
"""Streams of one connection, which stay open for hours.  A server takes so many calls over a connection at once (its
``connection_streams_max``, 128) and lets all others wait; half of them are for calls that end."""


class AsyncConnection:
    """A channel, which connects with its first call."""

    def __init__(self, target: Target) -> None:
        self._channel = compat.open_channel(target)
        self.streams = 0
        """How many are open."""
        self.is_left = False
        """Whether it takes no more of them."""
        self.clips = ClipServiceStub(self._channel)
        self.ground = compat.ground_call(self._channel)
        self.databases = DatabaseServiceStub(self._channel)
        self.groundings = GroundingServiceStub(self._channel)
        self.memories = MemoryServiceStub(self._channel)
        self.standing = StandingServiceStub(self._channel)
        self.users = UserServiceStub(self._channel)

    def ingest(
        self, answered: Callable[[bytes], clip_pb.IngestClipsResponse | Exception]
    ) -> grpc.aio.StreamStreamMultiCallable[bytes, clip_pb.IngestClipsResponse | Exception]:
        """`ClipService.IngestClips` for requests that are serialised already.

        answered: called with each answer as it comes, by whoever brings it; makes what the call gives."""
        return compat.ingest_call(self._channel, answered)

    async def close(self) -> None:
        """End every call and the connection."""
        await compat.close_channel(self._channel)
