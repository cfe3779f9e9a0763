"""Health of services and of users, asked for and watched."""

from __future__ import annotations

import asyncio

import pytest
from grpc_health.v1 import health_pb2

from memdb.errors import NotFound
from memdb.server import health
from memdb.server.drain import Drain
from memdb.server.health import USER_PREFIX, HealthService

KINDS = health_pb2.HealthCheckResponse


class Watched:
    """A watcher of one service, over users whose states the test sets."""

    def __init__(self, service: str) -> None:
        self.states: dict[str, str] = {}
        self.drain = Drain()
        self.told: asyncio.Queue[int] = asyncio.Queue()
        request = health_pb2.HealthCheckRequest(service=service)
        made = HealthService(["memdb.v1.ClipService"], self.drain, self._state)
        self.task = asyncio.create_task(made.watch(request, self._send))

    def _state(self, user: str) -> str:
        if user not in self.states:
            raise NotFound("no such user", reason="USER_NOT_FOUND", field="user", value=user)
        return self.states[user]

    async def _send(self, data: bytes) -> None:
        self.told.put_nowait(KINDS.FromString(data).status)

    async def next(self) -> int:
        return await asyncio.wait_for(self.told.get(), 30)


async def test_a_user_is_told_when_it_comes_breaks_and_recovers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(health, "RECHECK_S", 0.01)
    watched = Watched(f"{USER_PREFIX}alice")
    assert await watched.next() == KINDS.SERVICE_UNKNOWN
    for state, status in (
        ("serving", KINDS.SERVING),
        ("quarantined", KINDS.NOT_SERVING),
        ("damaged", KINDS.SERVING),
    ):
        watched.states["alice"] = state
        assert await watched.next() == status
    await asyncio.sleep(0.05)
    assert watched.told.empty()  # only what changes
    watched.drain.begin()
    assert await watched.next() == KINDS.NOT_SERVING
    await asyncio.wait_for(watched.task, 30)


@pytest.mark.parametrize(
    ("service", "first", "last"),
    [
        ("", KINDS.SERVING, KINDS.NOT_SERVING),
        ("memdb.v1.ClipService", KINDS.SERVING, KINDS.NOT_SERVING),
        ("nobody", KINDS.SERVICE_UNKNOWN, None),
        (f"{USER_PREFIX}no id", KINDS.SERVICE_UNKNOWN, None),
    ],
)
async def test_services_are_told_until_the_server_stops(
    service: str, first: int, last: int | None
) -> None:
    watched = Watched(service)
    assert await watched.next() == first
    watched.drain.begin()
    await asyncio.wait_for(watched.task, 30)
    assert (None if watched.told.empty() else await watched.next()) == last
