"""`connect` and `connect_async`."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import grpc

from memdb.types.handle import Handle
from memdb_client._async_database import AsyncDatabase
from memdb_client._database import Database
from memdb_client._options import TIMEOUT_S, Target, target


def connect(
    address: str,
    *,
    token: str | None = None,
    tls: bool | str | Path | grpc.ChannelCredentials | None = None,
    timeout_s: float = TIMEOUT_S,
) -> Database:
    """The database at ``address``; the connection is made with the first call, and one more for every 64 streams
    (`watch`, `ingest`, `ground_stream`) that are open at once.

    address: ``HOST:PORT`` (``[::1]:7700`` for IPv6), ``unix:PATH``, or what else gRPC calls by name
    (``dns:``, ``ipv4:``, ``ipv6:``).
    token: sent as ``authorization: Bearer``; without ``tls`` it travels in the clear.
    tls: True for the system's authorities, the path of a CA file (PEM), or channel credentials.
    timeout_s: deadline of a call, its retries included.  Calls that go through everything there is
    (`verify`, `sweep`, `backup`, `erase`, `erase_clips`, `compact`) take a ``timeout_s`` of their own; without one
    theirs is an hour, or this one where it is longer.  A server that is not reached for this long is not
    waited for by them either.  `ground_stream`, both `watch` and `ingest` have no deadline, for they need not end: a
    ``watch`` gives up when nobody answered for this long, a writer as `Stream.ingest` says, and a ``ground_stream``
    whose server is there and answers nothing waits until its iterator is closed.  A server that hangs while its
    connections stand (a process that was stopped, a machine that is gone) is told from one that has nothing to say by
    pings: what has no deadline, or a long one, then ends within a minute, however short this is.

    Any number of threads may use it.  A process that is forked while one of them makes a call can make none:
    it, and every call there, raises `FailedPrecondition` (``FORKED``); start processes by spawn or forkserver.

    Raises `InvalidArgument` for an argument that is wrong: ``BAD_ADDRESS``, ``BAD_TOKEN``, ``BAD_TLS``,
    ``OUT_OF_RANGE``.
    """
    return Database(target(address, token=token, tls=tls, timeout_s=timeout_s))


def connect_async(
    address: str,
    *,
    token: str | None = None,
    tls: bool | str | Path | grpc.ChannelCredentials | None = None,
    timeout_s: float = TIMEOUT_S,
) -> Connecting:
    """`connect` for asyncio: ``db = await connect_async(...)`` or ``async with connect_async(...)
    as db``.

    The database belongs to the running event loop: calls in another raise `FailedPrecondition`
    (``OTHER_LOOP``).
    """
    return Connecting(target(address, token=token, tls=tls, timeout_s=timeout_s))


class Connecting(Handle):
    """What `connect_async` gives: awaited or entered it becomes an `AsyncDatabase`."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._database: AsyncDatabase | None = None

    def __await__(self) -> Generator[None, None, AsyncDatabase]:
        return self._open().__await__()

    if not TYPE_CHECKING:  # a checker finds the fault by itself

        def __getattr__(self, name: str) -> NoReturn:
            raise AttributeError(
                f"{name}: not connected yet; `await` what connect_async gives, or enter it by `async with`",
                name=name,
                obj=self,
            )

    async def __aenter__(self) -> AsyncDatabase:
        self._database = await self._open()
        return self._database

    async def __aexit__(self, *exc_info: object) -> None:
        if self._database is not None:
            await self._database.close()

    async def _open(self) -> AsyncDatabase:
        # A coroutine, because a channel binds to the loop that runs when it is made.
        return AsyncDatabase(self._target)
