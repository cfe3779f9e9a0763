"""How far the server reads ahead of its commits: in clips, in bytes, and of all streams together."""

from __future__ import annotations

import asyncio
import threading
import time
from dataclasses import replace
from typing import Any

import pytest

from memdb.engine import writer
from memdb.errors import ResourceExhausted
from memdb.server import ingest
from memdb.server.budget import Budget
from memdb.server.ingest import Ingest
from memdb.types.ingest import INGEST_WINDOW, INGEST_WINDOW_MAX
from tests.unit.server.ingest.bench import Bench, Line, settled


async def test_reading_stops_at_the_window_and_goes_on_after_the_commit(bench: Bench) -> None:
    held = bench.hold()
    bench.line.start()
    for seq in range(700):
        bench.line.clip(seq)
    bench.line.end()
    running = bench.run()
    window = 1 + INGEST_WINDOW_MAX
    assert await settled(bench.line, window) == window
    assert bench.line.acks == 0
    bench.gate.set()
    await asyncio.wait_for(running, 30)
    await held
    assert bench.line.acks == 700
    # Everything that waited was taken at once.
    assert max(len(answer.acks.acks) for answer in bench.line.answers) >= INGEST_WINDOW_MAX - 1


async def test_the_window_is_counted_in_bytes_too(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ingest, "BYTES_MAX", 1_000_000)
    bench.hold()
    bench.line.start()
    for seq in range(20):
        bench.line.clip(seq, keyframes=(b"x" * 300_000,))
    bench.line.end()
    running = bench.run()
    assert await settled(bench.line, 1 + 4) == 1 + 4
    bench.gate.set()
    await asyncio.wait_for(running, 30)
    assert bench.line.acks == 20


async def test_of_clips_that_are_not_small_fewer_are_in_flight(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("memdb.types.ingest.INGEST_WINDOW_BYTES", 100 * 1000)
    held = bench.hold()
    bench.line.start()
    for seq in range(300):
        bench.line.clip(seq, keyframes=(b"x" * 1000,))
    bench.line.end()
    running = bench.run()
    # A little more than a thousand bytes each.
    assert INGEST_WINDOW < await settled(bench.line, INGEST_WINDOW) <= 1 + 100
    bench.gate.set()
    await asyncio.wait_for(running, 30)
    await held
    assert bench.line.acks == 300


async def test_streams_wait_where_calls_are_refused(bench: Bench) -> None:
    """One write thread, a queue of one: a hundred streams commit all the same."""
    held = bench.hold()
    waiting = bench.hold()
    await asyncio.sleep(0.05)
    with pytest.raises(ResourceExhausted):
        await bench.pools.write.run(int)
    lines = [Line() for _ in range(100)]
    for number, line in enumerate(lines):
        line.start(f"s{number}")
        line.clip(0)
        line.end()
    running = [bench.serve(line) for line in lines]
    await asyncio.sleep(0.2)
    assert sum(line.acks for line in lines) == 0
    bench.gate.set()
    await asyncio.wait_for(asyncio.gather(*running), 60)
    await asyncio.gather(held, waiting)
    assert [line.acks for line in lines] == [1] * 100
    assert bench.budget.used == 0


async def test_a_commit_that_the_user_is_too_busy_for_is_tried_again(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The limit on a user's queued bytes refuses a caller; a stream comes back."""
    monkeypatch.setattr(writer, "QUEUE_BYTES_MAX", 0)
    user = bench.database.user("u")
    user.put("x", 1)
    committing = threading.Event()
    with user.memory() as memory:
        commit = memory._commits.commit

        def held_back(group: Any, waiting: Any) -> Any:
            committing.set()
            bench.gate.wait(30)
            return commit(group, waiting)

        monkeypatch.setattr(memory._commits, "commit", held_back)
        other = asyncio.create_task(asyncio.to_thread(user.put, "x", 2))
        await asyncio.to_thread(committing.wait, 30)
        with pytest.raises(ResourceExhausted):
            user.put("x", 3)
        bench.line.start()
        for seq in range(3):
            bench.line.clip(seq)
        bench.line.end()
        running = bench.run()
        await asyncio.sleep(3 * ingest.BUSY_PAUSE_S)
        assert not running.done()
        bench.gate.set()
        await asyncio.wait_for(running, 30)
        await other
    assert bench.line.acks == 3


async def test_streams_stop_reading_when_the_server_holds_enough(bench: Bench) -> None:
    """Half of the budget for all streams together, three quarters of that for those of one user; then each gets
    its turn.
    """
    budget = Budget(16 * 1024 * 1024)
    resources = replace(bench.resources, budget=budget)
    held = bench.hold()
    lines = [Line() for _ in range(12)]
    for number, line in enumerate(lines):
        line.start(f"s{number}")
        for seq in range(4):
            line.clip(seq, keyframes=(b"x" * 900_000,))
        line.end()
    running = [
        asyncio.create_task(Ingest(resources).run(line.receive, line.send)) for line in lines
    ]
    deadline_s = time.monotonic() + 30
    while budget.used <= 4_000_000:
        assert time.monotonic() < deadline_s, budget.used
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.5)  # what is more than it may hold would be read meanwhile
    assert budget.used <= 6 * 1024 * 1024
    bench.gate.set()
    await asyncio.wait_for(asyncio.gather(*running), 60)
    await held
    assert [line.acks for line in lines] == [4] * 12
    assert budget.used == 0
