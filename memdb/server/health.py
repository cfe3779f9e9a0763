"""grpc.health.v1: whether each service answers, and each user (``memdb.v1.user/ID``).

A user is NOT_SERVING when it cannot be opened, or takes no writes after an I/O error; it is not
opened to find out.

Written here rather than taken from grpcio-health-checking, so that its messages pass the same
wrapper as every other call and its watchers end when the server stops.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Final

from google.protobuf.message import Message
from grpc_health.v1 import health_pb2

from memdb.errors import InvalidArgument, NotFound
from memdb.server.drain import Drain
from memdb.server.methods import Send

USER_PREFIX: Final = "memdb.v1.user/"
RECHECK_S: Final = 5.0
"""How often a user that is watched is looked at."""


class HealthService:
    """Every service is SERVING from start until the server begins to stop."""

    def __init__(
        self, services: Iterable[str], drain: Drain, user_state: Callable[[str], str]
    ) -> None:
        self._services = frozenset(services) | {""}
        self._drain = drain
        self._user_state = user_state

    async def check(self, request: health_pb2.HealthCheckRequest) -> health_pb2.HealthCheckResponse:
        """The state of one service; the empty name is the whole server."""
        if request.service.startswith(USER_PREFIX):
            state = await asyncio.to_thread(
                self._user_state, request.service.removeprefix(USER_PREFIX)
            )
            answers = state in ("serving", "damaged", "erasure-pending")
            return _answer(answers and not self._drain.begun)
        if request.service not in self._services:
            raise NotFound(
                "no such service",
                reason="SERVICE_NOT_FOUND",
                field="service",
                value=request.service,
            )
        return self._state(request.service)

    async def list(self, request: health_pb2.HealthListRequest) -> Message:
        """The state of every service."""
        answer: Message = health_pb2.HealthListResponse(
            statuses={name: self._state(name) for name in sorted(self._services)}
        )
        return answer

    async def watch(self, request: health_pb2.HealthCheckRequest, send: Send) -> None:
        """The state of one service now and when it changes; an unknown one may yet come."""
        stopping = asyncio.Event()
        # Nobody tells of users; they are looked at.
        pause_s = RECHECK_S if request.service.startswith(USER_PREFIX) else None
        told: health_pb2.HealthCheckResponse | None = None
        with self._drain.waking(stopping):
            while True:
                state = await self._watched(request)
                if state != told:
                    await send(state.SerializeToString())
                    told = state
                if self._drain.begun:
                    return
                with suppress(TimeoutError):
                    async with asyncio.timeout(pause_s):
                        await stopping.wait()

    async def _watched(
        self, request: health_pb2.HealthCheckRequest
    ) -> health_pb2.HealthCheckResponse:
        """What `check` says, or that there is no such service."""
        try:
            return await self.check(request)
        except (NotFound, InvalidArgument):
            kinds = health_pb2.HealthCheckResponse
            return kinds(status=kinds.SERVICE_UNKNOWN)

    def _state(self, service: str) -> health_pb2.HealthCheckResponse:
        assert service in self._services, "anything else was refused"
        return _answer(not self._drain.begun)


def _answer(is_serving: bool) -> health_pb2.HealthCheckResponse:
    kinds = health_pb2.HealthCheckResponse
    return kinds(status=kinds.SERVING if is_serving else kinds.NOT_SERVING)
