"""Who waits for the first message of a stream waits for no server that stops, and leaves no task behind."""

from __future__ import annotations

import asyncio

import pytest

from memdb.errors import DeadlineExceeded, Unavailable
from memdb.server import drain as drains
from memdb.server.drain import Drain


class Peer:
    """Sends its first message when it is told to."""

    def __init__(self) -> None:
        self.sends = asyncio.Event()
        self.has_left = False

    async def receive(self) -> bytes | None:
        try:
            await self.sends.wait()
        except asyncio.CancelledError:
            self.has_left = True
            raise
        return b"start"


async def left_behind() -> set[asyncio.Task[object]]:
    """Tasks but this one, after each had its turn."""
    await asyncio.sleep(0)
    return {task for task in asyncio.all_tasks() if task is not asyncio.current_task()}


async def test_the_first_message_is_given() -> None:
    peer = Peer()
    peer.sends.set()
    assert await Drain().first(peer.receive, asyncio.Event()) == b"start"
    assert await left_behind() == set()


async def test_nobody_waits_for_a_start_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drains, "START_S", 0.05)
    peer = Peer()
    with pytest.raises(DeadlineExceeded) as refused:
        await Drain().first(peer.receive, asyncio.Event())
    assert (refused.value.reason, refused.value.field) == ("START_EXPECTED", "start")
    assert await left_behind() == set()
    assert peer.has_left


async def test_a_server_that_stops_is_not_waited_for() -> None:
    drain, peer, woken = Drain(), Peer(), asyncio.Event()
    with drain.waking(woken):
        waiting = asyncio.create_task(drain.first(peer.receive, woken))
        await asyncio.sleep(0)
        drain.begin()
        with pytest.raises(Unavailable) as refused:
            await waiting
        assert refused.value.reason == "SHUTTING_DOWN"
        with pytest.raises(Unavailable):  # nor does anybody begin to wait
            await drain.first(peer.receive, woken)
    assert await left_behind() == set()
    assert peer.has_left
