"""A checkpoint that was read ahead, while another process had the directory, is an answer sooner and never another."""

from __future__ import annotations

import logging
import os
import shutil
from pathlib import Path

import pytest

from memdb.config import EngineConfig
from memdb.engine import early_file
from memdb.engine.database import EmbeddedDatabase
from memdb.engine.warmed import FILES_MAX, Warmed
from memdb.index import warm_file
from memdb.index.checked_file import CheckedFile
from memdb.store.derived import DERIVED_FILE
from memdb.store.schema import DATA_FILE
from tests.unit.engine.damaged import change, flipped_value
from tests.unit.engine.early.large import (
    CLIPS,
    MANY,
    are_mapped,
    asked,
    completed,
    filled,
    memory_of,
    rebuilt,
)
from tests.unit.engine.test_kept_index import DIM, clip, opened, vector

ROOM = 1 << 30


def warmed_of(data: Path, bytes_max: int = ROOM) -> Warmed:
    warmed = Warmed(bytes_max)
    warmed.look(data / "users")
    return warmed


def opened_by(data: Path, warmed: Warmed) -> EmbeddedDatabase:
    return EmbeddedDatabase(data, index=MANY, embed_texts=False, warmed=warmed)


def never(*_: object) -> CheckedFile:
    raise AssertionError("the file was read once more")


@pytest.mark.parametrize("metric", ["cosine", "dot"])
def test_it_answers_what_was_read_ahead_as_it_answers_later(
    tmp_path: Path, metric: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = tmp_path / "data"
    path = filled(data, metric)
    expected = rebuilt(data, tmp_path)
    warmed = warmed_of(data)
    assert warmed.folders == [path]
    assert warmed.size == (path / DERIVED_FILE).stat().st_size
    monkeypatch.setattr(early_file, "CheckedFile", never)
    with opened_by(data, warmed) as db:
        assert asked(db) == expected
        early = memory_of(db)
        assert not early.is_whole
        assert not any(are_mapped(early))
        assert warmed.folders == []
        assert db.verify().ok
        completed(early)
        assert asked(db) == expected
        assert memory_of(db) is early


def test_users_that_were_read_ahead_are_open_before_anybody_asks(tmp_path: Path) -> None:
    data = tmp_path / "data"
    filled(data)
    with opened(data) as db:
        camera = db.user("small").stream("cam", space="s")
        camera.write(clip(0))
        damaged = db.user("damaged").stream("cam", space="s")
        damaged.write_many([clip(seq) for seq in range(20)])
        path = db._directory.user_path("damaged")
    warmed = warmed_of(data)
    assert path in warmed.folders
    (path / DATA_FILE).write_bytes(b"")
    with opened_by(data, warmed) as db:
        db.load()
        assert db.is_open("u", whole=False)
        assert not db.is_open("small", whole=False)
        assert not db.is_open("damaged", whole=False)
        assert warmed.size == 0, "nothing is kept that nobody will take"
        assert db.user("small").ground(vector(0).astype("f4"), limit=1).hits


def test_no_more_users_are_opened_than_stay_open(tmp_path: Path) -> None:
    """Each further one closed the one before, which was written to later, and is likelier to be asked."""
    data = tmp_path / "data"
    with opened(data) as db:
        db.create_space("s", dim=DIM, metric="cosine")
        for user in ("first", "second", "third"):
            camera = db.user(user).stream("cam", space="s")
            camera.write_many([clip(seq) for seq in range(CLIPS)])
    for place, user in enumerate(("third", "second", "first")):
        with opened(data) as db:
            path = db._directory.user_path(user)
        os.utime(path / DATA_FILE, ns=(place * 10**9, place * 10**9))
    warmed = warmed_of(data)
    assert len(warmed.folders) == 3
    config = EngineConfig(open_users_max=2)
    with EmbeddedDatabase(data, config=config, index=MANY, embed_texts=False, warmed=warmed) as db:
        db.load()
        assert [user for user in ("first", "second", "third") if db.is_open(user, whole=False)] == [
            "first",
            "second",
        ]


def test_what_came_since_is_there(tmp_path: Path) -> None:
    data = tmp_path / "data"
    filled(data)
    warmed = warmed_of(data)
    with opened(data, MANY) as db:
        camera = db.user("u").stream("cam", space="s")
        camera.write_many([clip(seq) for seq in range(CLIPS + 2, CLIPS + 30)])
        camera.write(clip(CLIPS + 1, sealed=False, seed=800))
    expected = rebuilt(data, tmp_path)
    with opened_by(data, warmed) as db:
        assert asked(db) == expected
        assert not are_mapped(memory_of(db))[0], "those of the file"


def test_what_was_removed_since_is_not_there(tmp_path: Path) -> None:
    data = tmp_path / "data"
    path = filled(data)
    warmed = warmed_of(data)
    with opened(data, MANY) as db:
        db.user("u").stream("cam", space="s").erase(start_ns=0, end_ns=10**10)
    assert not (path / DERIVED_FILE).exists()
    expected = rebuilt(data, tmp_path)
    with opened_by(data, warmed) as db:
        assert asked(db) == expected
        assert memory_of(db).is_whole


def test_the_file_of_another_life_of_the_user_is_not_taken(tmp_path: Path) -> None:
    """Even under the stamp of the one that was read."""
    data, other = tmp_path / "data", tmp_path / "other"
    path = filled(data)
    shutil.copytree(data, other)
    with opened(data) as db:
        db.user("u").erase()
    filled(data)
    expected = rebuilt(data, tmp_path)
    warmed = warmed_of(other)
    (file,) = warmed._files.values()
    file.stamp = warm_file.stamp_of((path / DERIVED_FILE).stat())  # type: ignore[misc]
    warmed._files = {path / DERIVED_FILE: file}
    with opened_by(data, warmed) as db:
        assert asked(db) == expected
        assert memory_of(db).is_whole


def test_a_file_that_was_replaced_is_read_again(tmp_path: Path) -> None:
    data = tmp_path / "data"
    path = filled(data) / DERIVED_FILE
    warmed = warmed_of(data)
    copy = path.with_name(".copy")
    shutil.copy(path, copy)
    copy.rename(path)
    with opened_by(data, warmed) as db:
        asked(db)
        assert any(are_mapped(memory_of(db)))


def test_a_look_takes_the_new_and_forgets_the_old(tmp_path: Path) -> None:
    data = tmp_path / "data"
    path = filled(data)
    warmed = warmed_of(data)
    (first,) = warmed._files.values()
    warmed.look(data / "users")
    assert list(warmed._files.values()) == [first], "it was not read again"
    copy = path / ".copy"
    shutil.copy(path / DERIVED_FILE, copy)
    copy.rename(path / DERIVED_FILE)
    warmed.look(data / "users")
    (second,) = warmed._files.values()
    assert second.stamp != first.stamp
    (path / DERIVED_FILE).unlink()
    warmed.look(data / "users")
    assert warmed.folders == []
    shutil.rmtree(data / "users")
    warmed.look(data / "users")
    assert warmed.size == 0


def test_those_written_to_last_come_first_as_far_as_there_is_room(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with opened(data) as db:
        db.create_space("s", dim=24)
        for user in "abc":
            db.user(user).stream("cam", space="s").write_many([clip(seq) for seq in range(20)])
        paths = {user: db._directory.user_path(user) for user in "abc"}
    for second, user in enumerate("bca"):
        os.utime(paths[user] / DATA_FILE, (second, second))
    size = (paths["a"] / DERIVED_FILE).stat().st_size
    assert warmed_of(data).folders == [paths["a"], paths["c"], paths["b"]]
    assert warmed_of(data, 2 * size).folders == [paths["a"], paths["c"]]
    assert warmed_of(data, 0).folders == []
    assert FILES_MAX > 2


def test_a_damaged_file_is_left_out_and_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    data = tmp_path / "data"
    path = filled(data)
    expected = rebuilt(data, tmp_path)
    held = bytearray((path / DERIVED_FILE).read_bytes())
    held[len(held) // 2] ^= 1
    (path / DERIVED_FILE).write_bytes(held)
    with caplog.at_level(logging.INFO, "memdb.engine"):
        warmed = warmed_of(data)
    assert warmed.folders == []
    assert "does not match its checksum" in caplog.text
    with opened_by(data, warmed) as db:
        assert asked(db) == expected


def test_damage_to_the_store_is_found_all_the_same(tmp_path: Path) -> None:
    data = tmp_path / "data"
    path = filled(data)
    warmed = warmed_of(data)
    change(path, "vectors", 7, flipped_value)
    with opened_by(data, warmed) as db:
        asked(db)
        assert not db.verify().ok


def test_nothing_is_read_any_more_once_it_was_stopped(tmp_path: Path) -> None:
    """Nor what it is in the midst of, which whoever opens the user would wait beside."""
    data = tmp_path / "data"
    path = filled(data)
    warmed = Warmed(ROOM)
    warmed.stop()
    warmed.look(data / "users")
    assert warmed.folders == []
    before = warmed_of(data)
    before.stop()
    (path / DERIVED_FILE).unlink()
    before.look(data / "users")
    assert before.folders == [path], "who opens it looks whether it is still there"
    assert before.take(path / DERIVED_FILE) is None
