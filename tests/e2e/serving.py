"""A real server in this process, on a thread of its own, over a real database."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import numpy as np
from grpc_health.v1.health_pb2 import HealthCheckRequest
from grpc_health.v1.health_pb2_grpc import HealthStub

from memdb.config import EngineConfig, ServerConfig
from memdb.engine.database import EmbeddedDatabase
from memdb.errors import MemdbError
from memdb.server.app import Server
from memdb.types.arrays import Array
from memdb.types.clip import Clip
from memdb.v1.clip_service_pb2_grpc import ClipServiceStub
from memdb.v1.database_service_pb2_grpc import DatabaseServiceStub
from memdb.v1.grounding_service_pb2_grpc import GroundingServiceStub
from memdb.v1.memory_service_pb2_grpc import MemoryServiceStub
from memdb.v1.user_service_pb2_grpc import UserServiceStub
from memdb.wire.status import error_from_call

DIM = 8
SECOND_NS = 1_000_000_000
MESSAGE_BYTES_MAX = 64 * 1024 * 1024
"""The test client sends what the server must refuse."""


class Served:
    """A server, its database and a channel to it."""

    def __init__(self, database: EmbeddedDatabase, server: Server, address: str) -> None:
        self.database = database
        self.server = server
        self.address = address
        self.channel = grpc.insecure_channel(
            address,
            options=[
                ("grpc.max_send_message_length", MESSAGE_BYTES_MAX),
                ("grpc.max_receive_message_length", MESSAGE_BYTES_MAX),
            ],
        )
        self.clips: Any = ClipServiceStub(self.channel)
        self.grounding: Any = GroundingServiceStub(self.channel)
        self.memory: Any = MemoryServiceStub(self.channel)
        self.users: Any = UserServiceStub(self.channel)
        self.databases: Any = DatabaseServiceStub(self.channel)
        self._health: Any = HealthStub(self.channel)

    def hears(self) -> None:
        """Return once the server knows what this channel has told it, that a caller left for one: this call comes
        behind it on the same connection, and needs no thread that somebody may hold."""
        self._health.Check(HealthCheckRequest(), timeout=30)


@contextmanager
def serving(path: Path, engine: EngineConfig | None = None, /, **options: Any) -> Iterator[Served]:
    """Serve the database at ``path``; it is closed at the end."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    async def begin(database: EmbeddedDatabase) -> tuple[Server, str]:
        server = Server(database, ServerConfig(**({"listen": "127.0.0.1:0"} | options)))
        return server, await server.start()

    try:
        with EmbeddedDatabase(path, config=engine) as database:
            server, address = asyncio.run_coroutine_threadsafe(begin(database), loop).result(30)
            served = Served(database, server, address)
            try:
                yield served
            finally:
                # Or a test that failed left a server, which other tests fail at.
                served.channel.close()
                asyncio.run_coroutine_threadsafe(server.stop(1.0), loop).result(30)
    finally:
        asyncio.run_coroutine_threadsafe(loop.shutdown_default_executor(), loop).result(30)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def error_of(error: grpc.RpcError) -> MemdbError:
    """The memdb error behind a failed call of the sync stub."""
    call: Any = error
    return error_from_call(call.code(), call.details(), call.trailing_metadata() or ())


def vector(seed: int, dim: int = DIM) -> Array:
    """A random unit vector."""
    made = np.random.default_rng(seed).standard_normal(dim).astype(np.float32)
    unit: Array = made / np.linalg.norm(made)
    return unit


def clip(seq: int, **changes: Any) -> Clip:
    """A sealed clip of ten seconds."""
    fields: dict[str, Any] = {
        "seq": seq,
        "start_ns": seq * 10 * SECOND_NS,
        "end_ns": (seq + 1) * 10 * SECOND_NS,
        "global_memory": vector(seq),
        "short_memory": np.full((4, DIM), seq, np.float16),
    }
    return Clip(**(fields | changes))
