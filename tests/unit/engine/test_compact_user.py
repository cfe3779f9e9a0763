"""A compaction of a user: what it needs, what it waits for, and what it leaves alone."""

from __future__ import annotations

import shutil
import threading
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from memdb import MemdbError, ResourceExhausted, Retention
from memdb.clock import ManualClock
from memdb.engine.database import EmbeddedDatabase
from memdb.types.operation import BeginErasure
from tests.unit.engine.conftest import CONFIG
from tests.unit.engine.planted import CLIPS, all_of, found, made, planted

pytestmark = pytest.mark.timeout(60)


def opened(folder: Path, clock: ManualClock) -> EmbeddedDatabase:
    return EmbeddedDatabase(folder / "data", config=CONFIG, clock=clock)


def test_a_full_disk_refuses_it_before_it_begins(
    folder: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    made(folder, clock)
    with opened(folder, clock) as db:
        user = db.user("alice")
        before = user.revision()
        with monkeypatch.context() as full:
            full.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=100))
            with pytest.raises(ResourceExhausted) as refused:
                user.compact()
        assert refused.value.reason == "DISK_FULL"
        assert user.revision() == before
        assert db.user_state("alice") == "serving"
        assert user.compact().bytes_after > 0


def test_what_is_held_stays(folder: Path, clock: ManualClock) -> None:
    made(folder, clock)
    with opened(folder, clock) as db:
        user = db.user("alice")
        user.stream("door").set_retention(Retention(hold=True))
        user.compact()
        assert len(user.clips()) == 2 * CLIPS
        assert user.stream("door").retention().hold
        assert db.verify().ok


def test_an_erasure_that_is_pending_is_ended_by_it(folder: Path, clock: ManualClock) -> None:
    made(folder, clock)
    with opened(folder, clock) as db:
        user = db.user("alice")
        with db._users.use("alice") as memory:
            (outcome,) = memory.write([BeginErasure(("door",), ())])
            assert isinstance(outcome, int)
        user.compact()
        assert db.user_state("alice") == "serving"
        assert [info.name for info in user.streams()] == ["yard"]
    assert found(folder) == all_of("yard", list(range(CLIPS)))


def test_calls_meanwhile_wait_and_none_fails(folder: Path, clock: ManualClock) -> None:
    made(folder, clock)
    failed: list[MemdbError] = []
    over = threading.Event()
    with opened(folder, clock) as db:
        user = db.user("alice")

        def ask(number: int) -> None:
            try:
                while not over.is_set():
                    user.put(f"key{number}", user.get(f"key{number}", 0) + 1)
                    assert len(user.clips()) == 2 * CLIPS
            except MemdbError as error:
                failed.append(error)

        threads = [threading.Thread(target=ask, args=(number,)) for number in range(3)]
        for thread in threads:
            thread.start()
        for _ in range(5):
            user.compact()
        over.set()
        for thread in threads:
            thread.join(30)
        assert failed == []
        assert user.stream("yard").write(planted("yard", CLIPS)).duplicate is False
        counted = [user.get(key) for key in user.keys("key")]
        # No put is lost: of each key as many versions as its value says.
        puts = [change.key for change in user.watch(follow=False) if change.kind == "value"]
        assert counted == [puts.count(key) for key in user.keys("key")]
        assert db.verify().ok


def test_a_user_at_its_quota_removes_values_and_is_written_again(
    folder: Path, clock: ManualClock
) -> None:
    config = replace(CONFIG, map_bytes_max=4 << 20)
    with EmbeddedDatabase(folder / "data", config=config, clock=clock) as db:
        user = db.user("alice")

        def fill(size: int) -> None:
            number = 0
            while True:
                user.put(f"large{size}/{number}", "x" * size)
                number += 1

        for size in (100_000, 10_000, 1_000, 1):  # to the last page
            with pytest.raises(ResourceExhausted) as full:
                fill(size)
            assert full.value.reason == "QUOTA"
        for key in user.keys("large"):
            user.remove(key)
        for number in range(10):
            user.put(f"small{number}", "x" * 100_000)
        assert len(user.keys()) == 10
        assert db.verify().ok
