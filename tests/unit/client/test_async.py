"""What only asyncio can get wrong: cancellation, closing under a call, iterators left alone."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from memdb.errors import FailedPrecondition, Unavailable
from memdb_client import AsyncDatabase, connect_async
from tests.unit.client.peer import Peer, Script
from tests.unit.client.test_ingest import clip


async def until(is_true: Any) -> None:
    deadline_s = time.monotonic() + 30
    while not is_true() and time.monotonic() < deadline_s:
        await asyncio.sleep(0.01)
    assert is_true()


async def test_connect_async_is_awaited_or_entered(peer: Peer) -> None:
    db = await connect_async(peer.address)
    assert isinstance(db, AsyncDatabase)
    assert await db.user("alice").put("a", 1) == 1
    await db.close()

    async with connect_async(peer.address) as entered:
        assert await entered.user("alice").put("a", 1) == 1
    with pytest.raises(Unavailable) as caught:
        await entered.spaces()
    assert caught.value.reason == "CLOSED"


async def test_what_is_not_awaited_says_so(peer: Peer) -> None:
    connecting: Any = connect_async(peer.address)
    with pytest.raises(AttributeError, match="user: not connected yet; `await`"):
        connecting.user("alice")
    await (await connecting).close()


async def test_a_cancelled_watch_lets_its_call_go(peer: Peer, script: Script) -> None:
    async with connect_async(peer.address) as db:
        seen: list[str | None] = []

        async def watch() -> None:
            async for change in db.user("alice").watch():
                seen.append(change.key)  # noqa: PERF401 - looked at while it grows

        task = asyncio.create_task(watch())
        await until(lambda: len(seen) == 10)
        assert script.live_watches == 1
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await until(lambda: script.live_watches == 0)


async def test_leaving_the_loop_lets_its_call_go(peer: Peer, script: Script) -> None:
    async with connect_async(peer.address) as db:

        async def first_key() -> str | None:
            async for change in db.user("alice").watch():
                return change.key
            return None

        assert await first_key() == "1.0"
        await until(lambda: script.live_watches == 0)


async def test_closing_the_database_ends_a_watch_with_an_error(peer: Peer) -> None:
    db = await connect_async(peer.address)
    seen: list[str | None] = []

    async def watch() -> None:
        async for change in db.user("alice").watch():
            seen.append(change.key)  # noqa: PERF401 - looked at while it grows

    task = asyncio.create_task(watch())
    await until(lambda: len(seen) == 10)
    await db.close()

    with pytest.raises(Unavailable) as caught:
        await asyncio.wait_for(task, 30)
    assert caught.value.reason == "CLOSED"


async def test_closing_the_database_ends_an_ingest_with_an_error(
    peer: Peer, script: Script
) -> None:
    db = await connect_async(peer.address)
    script.hold.set()
    writer = db.user("alice").stream("door").ingest()
    await writer.send(clip(0))
    flushing = asyncio.create_task(writer.flush())
    await asyncio.sleep(0.05)
    await db.close()

    with pytest.raises(Unavailable) as caught:
        await asyncio.wait_for(flushing, 30)
    assert caught.value.reason == "CLOSED"
    script.hold.clear()


async def test_a_cancelled_sender_leaves_no_task_behind(peer: Peer, script: Script) -> None:
    script.hold.set()
    before = asyncio.all_tasks()

    async def send_forever(db: AsyncDatabase) -> None:
        async with db.user("alice").stream("door").ingest(window=2) as writer:
            for seq in range(100):
                await writer.send(clip(seq))

    async with connect_async(peer.address) as db:
        task = asyncio.create_task(send_forever(db))
        await until(lambda: len(script.received) >= 1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    script.hold.clear()
    await until(lambda: asyncio.all_tasks() <= before)


async def test_a_writer_that_was_never_opened_can_be_closed(peer: Peer) -> None:
    async with connect_async(peer.address) as db:
        writer = db.user("alice").stream("door").ingest()
        await writer.close()
        with pytest.raises(FailedPrecondition):
            await writer.send(clip(0))


async def test_calls_run_side_by_side(peer: Peer, script: Script) -> None:
    async with connect_async(peer.address) as db:
        user = db.user("alice")
        assert await asyncio.gather(*(user.put("a", n) for n in range(50))) == [1] * 50
    assert script.calls == 50


async def test_another_loop_is_told(peer: Peer) -> None:
    """Not with what asyncio says of tasks and futures, and not by waiting."""
    async with connect_async(peer.address) as db:
        writer = db.user("alice").stream("cam").ingest()

        async def elsewhere() -> None:
            for call in (db.user("alice").put("a", 1), writer.open(), anext(db.user("a").watch())):
                with pytest.raises(FailedPrecondition) as caught:
                    await call
                assert caught.value.reason == "OTHER_LOOP"

        await asyncio.to_thread(asyncio.run, elsewhere())
        assert await db.user("alice").put("a", 1) == 1
