"""A user is opened once, whoever asks; whoever waits holds no thread."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from memdb import Clip
from memdb.config import ServerConfig
from memdb.engine import early_file
from memdb.engine import memory as engine_memory
from memdb.engine.database import EmbeddedDatabase
from memdb.engine.memory import UserMemory
from memdb.engine.opening import open_memory
from memdb.errors import DataLoss
from memdb.server.resources import Resources


class Slow:
    """Real openings, held back until the gate is open."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.opened: list[str] = []
        self.error: Exception | None = None


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> Slow:
    held = Slow()

    def opening(path: Path, user: str, *rest: Any, **named: Any) -> UserMemory:
        if user == "a":
            held.opened.append(user)
            held.gate.wait(60)
            if held.error is not None:
                raise held.error
        return open_memory(path, user, *rest, **named)

    monkeypatch.setattr("memdb.engine.opener.open_memory", opening)
    return held


@pytest.fixture
async def resources(tmp_path: Path) -> AsyncIterator[Resources]:
    with EmbeddedDatabase(tmp_path / "db") as database:
        for user in "ab":
            database.user(user).put("x", 1)
    with EmbeddedDatabase(tmp_path / "db") as database:
        made = Resources.make(database, ServerConfig(read_threads=1, open_threads=2))
        yield made
        await asyncio.to_thread(made.pools.shutdown)


async def test_one_opening_for_all_and_others_go_on(resources: Resources, slow: Slow) -> None:
    openings = resources.openings
    assert not openings.is_open("a")
    waiting = [asyncio.create_task(openings.wait("a")) for _ in range(500)]
    await asyncio.sleep(0.05)
    await asyncio.wait_for(openings.wait("b"), 30)
    assert openings.is_open("b")
    # The one read thread is free.
    assert await asyncio.wait_for(resources.pools.read.run(int), 30) == 0
    for task in waiting[:10]:
        task.cancel()
    slow.gate.set()
    await asyncio.gather(*waiting[10:])
    assert openings.is_open("a")
    assert slow.opened == ["a"]


async def test_what_prevents_an_opening_is_told_to_all(resources: Resources, slow: Slow) -> None:
    slow.error = DataLoss("gone", reason="BAD_ENVIRONMENT")
    waiting = [asyncio.create_task(resources.openings.wait("a")) for _ in range(5)]
    await asyncio.sleep(0.02)
    slow.gate.set()
    results = await asyncio.gather(*waiting, return_exceptions=True)
    assert [type(result) for result in results] == [DataLoss] * 5
    assert slow.opened == ["a"]
    slow.error = None
    with pytest.raises(DataLoss):
        await resources.openings.wait("a")
    # Tried again once its file is another one: it was restored, say.
    os.utime(resources.database._directory.user_path("a") / "data.mdb", ns=(1, 1))
    await resources.openings.wait("a")
    assert resources.openings.is_open("a")


@pytest.mark.parametrize("user", ["nobody", "", "../x", "x" * 100_000])
async def test_whom_there_is_not_is_left_to_the_call(resources: Resources, user: str) -> None:
    await resources.openings.wait(user)
    assert not resources.database.is_open(user)


async def test_who_waits_for_users_that_are_held_closed_holds_no_thread(
    resources: Resources,
) -> None:
    """As they are compacted; a third is opened meanwhile, though two threads open users."""
    database = resources.database
    database.user("c").put("x", 1)
    held, let_go = threading.Barrier(3), threading.Event()

    def hold(user: str) -> None:
        with database._users.exclusively(user):
            held.wait()
            let_go.wait()

    holders = [threading.Thread(target=hold, args=(user,)) for user in "ac"]
    for holder in holders:
        holder.start()
    try:
        await asyncio.to_thread(held.wait)
        waiting = [asyncio.create_task(resources.openings.wait(user)) for user in "ac"]
        await asyncio.sleep(0)
        await asyncio.wait_for(resources.openings.wait("b"), 30)
        assert resources.openings.is_open("b")
        assert not any(task.done() for task in waiting)
    finally:
        let_go.set()
        for holder in holders:
            holder.join()
    await asyncio.gather(*waiting)
    assert resources.openings.is_open("a")


async def test_a_question_waits_for_less_than_other_calls(
    resources: Resources, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a user with a large checkpoint."""
    database, openings = resources.database, resources.openings
    database.create_space("s", dim=8)
    clips = [
        Clip(seq=seq, start_ns=seq, end_ns=seq + 1, global_memory=np.eye(8, dtype=np.float32)[seq])
        for seq in range(8)
    ]
    database.user("large").stream("cam", space="s").write_many(clips)
    with database._users.use("large") as memory:
        memory.kept._rows_min, memory.kept._not_before = 1, 0.0
        memory.kept.maintain(lambda: False)
    monkeypatch.setattr(early_file, "EARLY_BYTES_MIN", 0)
    monkeypatch.setattr(engine_memory, "ALONE_S", 60.0)
    with database._users.exclusively("large"):
        pass
    await openings.wait("large", early=True)
    assert openings.is_open("large", early=True)
    assert not openings.is_open("large")
    assert database.user("large").ground(clips[3].global_memory, limit=1).hits[0].clip.seq == 3
    assert not openings.is_open("large")
    await asyncio.gather(*[openings.wait("large") for _ in range(5)])
    assert openings.is_open("large")
