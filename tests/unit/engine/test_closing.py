"""A database that is closed leaves what makes the next opening quick, as far as there is time for it, and is whole
without it."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import pytest

import memdb
from memdb import failpoints
from memdb.config import IndexConfig
from memdb.engine import closing, kept_index
from memdb.engine.closing import Closing
from memdb.errors import InvalidArgument
from memdb.store.derived import DERIVED_FILE, DERIVED_NEW, sync_so_far
from tests.interrupted_locks import free_after_each_interrupt
from tests.unit.engine.test_interrupted import Interrupt, entering, is_ours
from tests.unit.engine.test_kept_index import DIM, INDEX, ROWS, clip, opened, rebuilt, told, used

CLIPS = 40


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch) -> list[Callable[[], None]]:
    """What is called when the disk has another piece of a checkpoint, which it then has after each."""
    called: list[Callable[[], None]] = []

    def and_call(file: BinaryIO) -> None:
        sync_so_far(file)
        for one in called:
            one()

    monkeypatch.setattr(kept_index, "SYNCED_BYTES", 1)
    monkeypatch.setattr(kept_index, "sync_so_far", and_call)
    return called


def filled_and_closed(data: Path, index: IndexConfig = INDEX) -> Path:
    """The directory of a user that grew and was closed."""
    with opened(data, index) as db:
        db.create_space("s", dim=DIM)
        db.user("u").stream("cam", space="s").write_many([clip(seq) for seq in range(CLIPS)])
        return db._directory.user_path("u")


def test_what_came_since_is_written_piece_by_piece(
    tmp_path: Path, synced: list[Callable[[], None]]
) -> None:
    pieces: list[int] = []
    new = tmp_path / "data" / "users"
    synced.append(lambda: pieces.extend(one.stat().st_size for one in new.rglob(DERIVED_NEW)))
    path = filled_and_closed(tmp_path / "data")
    assert len(pieces) > 3
    assert pieces == sorted(pieces), "each is with the disk before the next one"
    assert (path / DERIVED_FILE).stat().st_size >= pieces[-1]
    expected = rebuilt(tmp_path / "data", tmp_path)
    with opened(tmp_path / "data") as db:
        assert told(db) == expected
        assert used(db) == CLIPS


def test_without_time_for_it_none_is_written(tmp_path: Path) -> None:
    path = filled_and_closed(tmp_path, IndexConfig(checkpoint_rows=ROWS, close_checkpoint_s=0))
    assert not (path / DERIVED_FILE).exists()


@pytest.mark.parametrize("when", ["before", "meanwhile"])
def test_who_is_in_a_hurry_waits_for_none(
    tmp_path: Path, synced: list[Callable[[], None]], when: str
) -> None:
    data = tmp_path / "data"
    db = opened(data)
    db.create_space("s", dim=DIM)
    db.user("u").stream("cam", space="s").write_many([clip(seq) for seq in range(CLIPS)])
    path = db._directory.user_path("u")
    begun, hurried = threading.Event(), threading.Event()

    def wait() -> None:
        hurried.wait(60)

    synced += [begun.set, wait]
    if when == "before":
        db.hurry()
        db.close()
        assert not begun.is_set()
    else:
        closer = threading.Thread(target=db.close)
        closer.start()
        assert begun.wait(60)
        db.hurry()
        hurried.set()
        closer.join(60)
        assert not closer.is_alive()
    synced.clear()
    assert sorted(one.name for one in path.iterdir()) == ["CLEAN", "data.mdb", "lock.mdb"]
    expected = rebuilt(data, tmp_path)
    with opened(data) as again:
        assert told(again) == expected
        assert again.verify().ok


def test_a_disk_that_fails_leaves_what_there_was(
    tmp_path: Path, synced: list[Callable[[], None]]
) -> None:
    data = tmp_path / "data"
    path = filled_and_closed(data)
    before = (path / DERIVED_FILE).read_bytes()

    def fails() -> None:
        raise OSError(5, os.strerror(5))

    synced.append(fails)
    with opened(data) as db:
        more = [clip(seq) for seq in range(CLIPS, 2 * CLIPS)]
        db.user("u").stream("cam", space="s").write_many(more)
        db._users._upkeep.close()
    assert (path / DERIVED_FILE).read_bytes() == before
    assert not (path / DERIVED_NEW).exists()
    synced.clear()
    expected = rebuilt(data, tmp_path)
    with opened(data) as db:
        assert told(db) == expected


def test_a_user_that_grew_gets_one_though_nobody_calls(tmp_path: Path) -> None:
    with opened(tmp_path) as db:
        db.create_space("s", dim=DIM)
        db.user("u").stream("cam", space="s").write_many([clip(seq) for seq in range(CLIPS)])
        path = db._directory.user_path("u")
        (_, memory) = db._users.open_memories()[0]
        db.tend()
        assert db._users._upkeep._thread is None, "it grows"
        memory.kept._not_before = 0.0
        db.tend()
        thread = db._users._upkeep._thread
        if thread is not None:
            thread.join(60)
        assert (path / DERIVED_FILE).exists()
        db.tend()
        assert db._users._upkeep._thread is None, "there is nothing to do any more"


@pytest.mark.parametrize(
    ("point", "kept"),
    [
        ("checkpoint.writing", CLIPS),
        ("checkpoint.writing@5", CLIPS),
        ("checkpoint.before_rename", CLIPS),
        ("checkpoint.after_rename", 2 * CLIPS),
    ],
)
def test_a_kill_on_the_way_leaves_the_one_before_or_the_next(
    tmp_path: Path, point: str, kept: int
) -> None:
    data = tmp_path / "data"
    path = filled_and_closed(data)
    name, _, hit = point.partition("@")
    code = f"""
from pathlib import Path
from tests.unit.engine.test_closing import CLIPS, clip, opened
with opened(Path({str(data)!r})) as db:
    db._users._upkeep.close()  # before there is something to write: it is quick at times
    more = [clip(seq) for seq in range(CLIPS, 2 * CLIPS)]
    db.user("u").stream("cam", space="s").write_many(more)
    from memdb import failpoints
    failpoints.arm("{name}=exit@{hit or 1}")
"""
    root = Path(__file__).parents[3]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, timeout=100, check=False)
    assert done.returncode == 137
    assert (path / DERIVED_NEW).exists() == (kept == CLIPS)
    expected = rebuilt(data, tmp_path)
    with opened(data, IndexConfig(checkpoint_rows=1 << 20)) as db:  # it is not written anew
        assert told(db) == expected
        assert used(db) == kept
        assert not (path / DERIVED_NEW).exists()
        assert db.verify().ok


def test_one_that_will_not_be_whole_in_time_is_left_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    end = Closing(10.0)
    assert end.is_over, "nothing is written before"
    end.begin()
    assert not end.is_over
    leave = end.leaves(1000)
    now += closing.JUDGED_S / 2
    assert not leave(1), "too early to tell"
    now += closing.JUDGED_S / 2
    assert not leave(101)
    assert leave(99)
    now = 1009.0
    end.begin()
    assert not leave(900), "the second second of the last tenth"
    assert leave(899)
    now = 1010.0
    assert leave(999)
    assert end.is_over


def test_a_time_that_is_none_is_refused() -> None:
    wrong: Any
    for wrong in (-1.0, 3601.0, float("nan"), "10", True):
        with pytest.raises(InvalidArgument, match="close_checkpoint_s"):
            IndexConfig(close_checkpoint_s=wrong)


def test_who_opens_it_says_for_how_long(tmp_path: Path) -> None:
    for seconds, is_there in ((0, False), (None, True), (2.5, True)):
        with memdb.open(tmp_path / str(seconds), close_checkpoint_s=seconds) as db:
            db.create_space("s", dim=DIM)
            user = db.user("u")
            user.stream("cam", space="s").write_many([clip(seq) for seq in range(600)])
            path = tmp_path / str(seconds)
        assert bool(list(path.rglob(DERIVED_FILE))) == is_there


def test_a_large_user_is_no_exception(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept_index, "file_bytes", lambda _: 600 << 20)
    assert (filled_and_closed(tmp_path) / DERIVED_FILE).exists()


def test_who_is_interrupted_and_closes_it_once_more_waits_for_none(
    tmp_path: Path, synced: list[Callable[[], None]]
) -> None:
    data = tmp_path / "data"
    db = opened(data)
    db.create_space("s", dim=DIM)
    for name in ("u", "v"):
        db.user(name).stream("cam", space="s").write_many([clip(seq) for seq in range(CLIPS)])
    paths = [db._directory.user_path(name) for name in ("u", "v")]

    def interrupt() -> None:
        raise KeyboardInterrupt

    synced.append(interrupt)
    with pytest.raises(KeyboardInterrupt):
        db.close()
    synced.clear()
    db.close()
    for path in paths:
        assert sorted(one.name for one in path.iterdir()) == ["CLEAN", "data.mdb", "lock.mdb"]
    with opened(data) as again:
        assert again.verify().ok


def test_who_is_interrupted_as_it_says_so_may_say_so_again() -> None:
    end = Closing(10.0)
    free_after_each_interrupt(end.hurry, end.hurry)
    assert end.is_over


def test_who_is_interrupted_twice_closes_it_once_more(
    tmp_path: Path, synced: list[Callable[[], None]]
) -> None:
    db = opened(tmp_path)
    db.create_space("s", dim=DIM)
    db.user("u").stream("cam", space="s").write_many([clip(seq) for seq in range(CLIPS)])

    def interrupt() -> None:
        raise KeyboardInterrupt

    synced.append(interrupt)
    again = entering(Closing.hurry)
    with again.within():
        db.close()
    assert again.came
    synced.clear()

    def close() -> None:
        db.hurry()
        db.close()

    closer = threading.Thread(target=close, daemon=True)
    closer.start()
    closer.join(60)
    assert not closer.is_alive(), "it hangs"
    with opened(tmp_path) as found:
        assert found.verify().ok
        assert len(found.user("u").clips(limit=100)) == CLIPS


@pytest.mark.parametrize("times", range(5, 300, 29))
def test_who_is_interrupted_anywhere_closes_it_once_more(tmp_path: Path, times: int) -> None:
    db = opened(tmp_path)
    db.create_space("s", dim=DIM)
    for name in ("u", "v"):
        db.user(name).stream("cam", space="s").write_many([clip(seq) for seq in range(CLIPS)])
    interrupt = Interrupt(is_ours, times)
    with interrupt.within():
        db.close()
    assert interrupt.came
    closer = threading.Thread(target=db.close, daemon=True)
    closer.start()
    closer.join(60)
    assert not closer.is_alive(), "it hangs"
    with opened(tmp_path) as again:
        assert again.verify().ok
        assert all(len(again.user(name).clips(limit=100)) == CLIPS for name in ("u", "v"))


@pytest.mark.parametrize("point", ["checkpoint.writing", "checkpoint.before_rename"])
def test_what_nobody_thought_of_keeps_nothing_from_being_closed(tmp_path: Path, point: str) -> None:
    data = tmp_path / "data"
    db = opened(data)
    db.create_space("s", dim=DIM)
    db.user("u").stream("cam", space="s").write_many([clip(seq) for seq in range(CLIPS)])
    failpoints.arm(f"{point}=error")
    try:
        db.close()
    finally:
        failpoints.arm("")
    expected = rebuilt(data, tmp_path)
    with opened(data) as again:
        assert told(again) == expected
        assert again.verify().ok
