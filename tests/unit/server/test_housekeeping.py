"""What a server does by itself goes on after whatever went wrong once."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from memdb.server import app
from memdb.types.retention import SweepReport


class Failing:
    """A database and its server in one; the first round of each kind of work fails."""

    def __init__(self) -> None:
        self.rounds = 0
        self.second = asyncio.Event()

    def sweep(self) -> SweepReport:
        self._round()
        return SweepReport()

    def scrub(self, _bytes_max: int) -> None:
        self._round()

    async def in_writing_thread(self, work: Callable[[], Any]) -> Any:
        return work()

    async def in_reading_thread(self, work: Callable[[], Any]) -> Any:
        return work()

    def _round(self) -> None:
        self.rounds += 1
        if self.rounds == 1:
            raise OSError("too many open files")
        self.second.set()


@pytest.mark.parametrize("work", [app._sweep, app._scrub])
async def test_an_error_of_another_family_ends_nothing(
    work: Callable[..., Coroutine[Any, Any, None]],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    failing = Failing()
    sleep = asyncio.sleep
    monkeypatch.setattr(app.asyncio, "sleep", lambda _seconds: sleep(0))  # type: ignore[attr-defined]
    with caplog.at_level(logging.ERROR, "memdb.server"):
        task = asyncio.create_task(work(failing, failing, 1))
        waiting = asyncio.create_task(failing.second.wait())
        await asyncio.wait((task, waiting), timeout=30, return_when=asyncio.FIRST_COMPLETED)
        assert failing.second.is_set()
        assert not task.done()
        task.cancel()
    assert any(record.exc_info for record in caplog.records)
