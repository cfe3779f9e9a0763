"""Opening what is no database directory: a typed error, and nothing left behind."""

from __future__ import annotations

import gc
import threading
import time
import tracemalloc
import weakref
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import memdb
from memdb import DataLoss, FailedPrecondition, InvalidArgument, MemdbError
from memdb.cli.main import main
from memdb.engine import space_rows
from memdb.engine.database import EmbeddedDatabase
from memdb.engine.rebuild import load_partitions, load_state
from memdb.engine.slots import Slot
from tests.unit.engine.conftest import CONFIG, clip


@pytest.mark.parametrize("path", ["", None, 5, b"data", "a\0b", "\ud800"])
def test_no_path(path: Any) -> None:
    with pytest.raises(InvalidArgument) as refused:
        memdb.open(path)
    assert (refused.value.reason, refused.value.field) == ("BAD_PATH", "path")


def test_the_working_directory_is_not_taken_over_by_an_empty_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InvalidArgument):
        memdb.open("")
    assert list(tmp_path.iterdir()) == []


def test_a_home_directory_that_no_shell_has_seen_is_not_made_where_one_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for path in ("~", "~/memory", Path("~/memory")):
        with pytest.raises(InvalidArgument, match="expanduser") as refused:
            memdb.open(path)
        assert (refused.value.reason, refused.value.field) == ("BAD_PATH", "path")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "~").mkdir()
    memdb.open("~/memory").close()
    assert [each.name for each in (tmp_path / "~").iterdir()] == ["memory"]


@pytest.mark.parametrize("path", [".", "./", Path(), "./~memory"])
def test_what_begins_in_the_working_directory_is_a_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str | Path
) -> None:
    monkeypatch.chdir(tmp_path)
    memdb.open(path).close()
    assert (tmp_path / path / "FORMAT").exists()
    assert main(["verify", str(path)]) == 0


@pytest.mark.parametrize("place", ["file", "file/below", "x" * 300])
def test_no_place_for_a_directory(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(FailedPrecondition) as refused:
        memdb.open(tmp_path / place)
    assert (refused.value.reason, refused.value.field) == ("NO_DIRECTORY", "path")
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize("verb", [["verify"], ["serve", "--listen", "127.0.0.1:0", "--data"]])
def test_the_command_says_so_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], verb: list[str]
) -> None:
    (tmp_path / "file").write_text("mine")
    assert main([*verb, str(tmp_path / "file")]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("memdb: N")


def test_who_is_interrupted_while_it_waits_for_calls_leaves_the_user_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: Any) -> bool:
        raise KeyboardInterrupt

    with EmbeddedDatabase(tmp_path / "data", config=CONFIG) as db:
        db.user("alice").put("n", 1)
        with monkeypatch.context() as waiting:
            waiting.setattr(db._users._slots._idle, "wait_for", interrupt)
            with pytest.raises(KeyboardInterrupt), db._users.exclusively("alice"):
                pass
        assert db.is_open("alice")
        assert db.user("alice").get("n") == 1


def test_users_that_cannot_be_opened_take_no_place_of_others(tmp_path: Path) -> None:
    config = replace(CONFIG, open_users_max=3)
    with EmbeddedDatabase(tmp_path / "data", config=config) as db:
        for number in range(8):
            db.user(f"u{number}").put("n", number)
        paths = [db._directory.user_path(f"u{number}") for number in range(4)]
    for path in paths:
        (path / "data.mdb").write_bytes(b"x" * 9000)
    with EmbeddedDatabase(tmp_path / "data", config=config) as db:
        for number in range(4):
            with pytest.raises(DataLoss):
                db.user(f"u{number}").get("n")
        for number in range(4, 8):
            assert db.user(f"u{number}").get("n") == number
        assert [user for user, _ in db._users.open_memories()] == ["u5", "u6", "u7"]


def test_a_user_that_is_closed_to_make_room_is_let_go_at_once(tmp_path: Path) -> None:
    """Not when Python's collector comes to it: in a server that is hours later, and each has its vectors."""
    config = replace(CONFIG, open_users_max=1)
    with EmbeddedDatabase(tmp_path / "data", config=config) as db:
        db.create_space("cam", dim=8)
        gc.collect()
        gc.disable()
        try:
            for name in ("alice", "bob"):
                user = db.user(name)
                user.stream("door", space="cam").write(clip(0))
                user.ground(clip(0).global_memory, limit=1)
                user.recall("mug")
                (opened,) = (one for who, one in db._users.open_memories() if who == name)
                gone = weakref.ref(opened)
                del opened
            assert gone() is not None
            db.user("carol").put("n", 1)
            assert gone() is None
        finally:
            gc.enable()


@pytest.mark.parametrize("why", ["damage", "erasure"])
def test_who_listens_to_a_user_hears_it_after_it_was_opened_anew(tmp_path: Path, why: str) -> None:
    with EmbeddedDatabase(tmp_path / "data", config=CONFIG) as db:
        db.create_space("cam", dim=8)
        user = db.user("alice")
        user.stream("door", space="cam").create()
        heard: list[int] = []
        end = user.subscribe(heard.append)
        for _ in range(2):
            if why == "damage":
                db._users.damage_found("alice", ["values/00"])
            else:
                user.stream("door", space="cam").create()
                user.stream("door").erase()
            revision = user.put("k", 1)
            assert heard[-1] == revision
        end()
        user.put("k", 2)
        assert heard[-1] == revision


def test_nothing_is_opened_once_the_database_is_closed(tmp_path: Path) -> None:
    with EmbeddedDatabase(tmp_path / "data", config=CONFIG) as db:
        db.user("alice").put("n", 1)
    with EmbeddedDatabase(tmp_path / "data", config=CONFIG) as db:
        lock = db._users._slots._slots.setdefault("alice", Slot()).lock
        refused: list[str] = []

        def look() -> None:
            try:
                with db._users.environment("alice"):
                    refused.append("opened")
            except MemdbError as error:
                refused.append(error.reason)

        thread = threading.Thread(target=look)
        with lock:
            thread.start()
            while not db._users._slots._slots["alice"].users:
                time.sleep(0.001)  # until it waits for the slot
            db._users._slots._closed = True  # as `close` does first
        thread.join()
        assert refused == ["CLOSED"]


def test_opening_a_user_takes_little_more_memory_than_having_it_open(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(space_rows, "_BLOCK_ROWS", 256)
    dim, count = 1024, 6000
    vectors = np.random.default_rng(0).standard_normal((64, dim)).astype(np.float16)
    with EmbeddedDatabase(folder / "data", config=CONFIG) as db:
        db.create_space("wide", dim=dim)
        door = db.user("alice").stream("door", space="wide")
        door.write_many([clip(seq, global_memory=vectors[seq % 64]) for seq in range(count)])
        with db.user("alice").memory() as memory, memory.environment.read() as txn:
            state = load_state(txn, "alice")
            tracemalloc.start()
            partitions, _ = load_partitions(txn, state)
            _, peak = tracemalloc.get_traced_memory()
            tracemalloc.stop()
    assert [partition.view().rows for partition in partitions.values()] == [count]
    # As they are read, and as they are searched with room for more.
    assert peak < 2.8 * count * dim * 4


def test_a_directory_in_the_place_of_anothers_does_not_tell_whose_it_is(tmp_path: Path) -> None:
    with EmbeddedDatabase(tmp_path / "data", config=CONFIG) as db:
        for name in ("alice", "bob"):
            db.user(name).put("n", 1)
        mine, others = (db._directory.user_path(name) for name in ("alice", "bob"))
    mine.rename(tmp_path / "aside")
    others.rename(mine)
    with EmbeddedDatabase(tmp_path / "data", config=CONFIG) as db:
        with pytest.raises(DataLoss) as refused:
            db.user("alice").get("n")
        assert refused.value.reason == "WRONG_USER"
        assert "bob" not in f"{refused.value} {refused.value.value}"
