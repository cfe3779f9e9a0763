"""A watcher that fails is the watcher's trouble: the commit it was told of is durable."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import pytest

from memdb.engine.database import EmbeddedDatabase
from memdb.server.watch import waker


def test_a_listener_that_fails_does_not_reach_the_writer(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    heard: list[int] = []

    def failing(revision: int) -> None:
        raise RuntimeError("no more")

    with EmbeddedDatabase(tmp_path / "db") as database:
        user = database.user("u")
        user.put("x", 0)
        ends = [user.subscribe(failing), user.subscribe(heard.append)]
        with caplog.at_level(logging.ERROR, "memdb.engine"):
            revision = user.put("x", 1)
        assert user.get("x") == 1
        assert heard == [revision]
        assert [record.message for record in caplog.records] == [
            "a listener failed: user u, revision 2"
        ]
        for end in ends:
            end()


def test_a_loop_that_is_closed_is_not_woken() -> None:
    async def make() -> object:
        return waker(asyncio.Event())

    callback = asyncio.run(make())
    assert callable(callback)
    callback(1)
