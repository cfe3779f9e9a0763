"""A user that is opened with a checkpoint answers as one that is rebuilt, to the last bit; and no file of
it stays with what was removed, where it may not be, or where it cannot be trusted."""

from __future__ import annotations

import logging
import shutil
import threading
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import memdb
from memdb import Clip, failpoints
from memdb.config import EngineConfig, IndexConfig
from memdb.engine import checkpoint_pace, kept_index
from memdb.engine.database import EmbeddedDatabase
from memdb.engine.restore import restore
from memdb.index.checkpoint import KeptRows
from memdb.index.directions import prepared_rows
from memdb.store.derived import (
    DERIVED_FILE,
    DERIVED_NEW,
    drop_derived,
    place_derived,
    write_derived,
)
from memdb.types.arrays import Array
from tests.unit.engine.damaged import change, flipped_value

DIM = 24
ROWS = 4
INDEX = IndexConfig(checkpoint_rows=ROWS)
SECOND_NS = 10**9


@pytest.fixture
def tmp_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """On a disk, as files of indexes are: in memory one was there anew before a test had seen that it was gone."""
    return tmp_path_factory.mktemp("kept")


def vector(seed: int) -> Array:
    dtype = np.float16 if seed % 3 else np.float32
    return np.random.default_rng(seed).standard_normal(DIM).astype(dtype)


def clip(seq: int, *, seed: int | None = None, sealed: bool = True) -> Clip:
    return Clip(
        seq=seq,
        start_ns=seq * SECOND_NS,
        end_ns=(seq + 1) * SECOND_NS,
        global_memory=vector(seq if seed is None else seed),
        short_memory=np.full((2, DIM), seq, np.float16),
        sealed=sealed,
    )


def opened(data: Path, index: IndexConfig = INDEX) -> EmbeddedDatabase:
    return EmbeddedDatabase(data, index=index, embed_texts=False)


def filled(data: Path, clips: int = 20, metric: str = "cosine") -> Path:
    """A user with a checkpoint; where it lies."""
    with opened(data) as db:
        db.create_space("s", dim=DIM, metric=metric)
        camera = db.user("u").stream("cam", space="s")
        camera.write_many([clip(seq) for seq in range(clips)])
        path = db._directory.user_path("u")
    assert (path / DERIVED_FILE).exists()
    return path


def told(db: EmbeddedDatabase, revisions: range = range(0)) -> list[object]:
    """What the user answers, to the last bit."""
    user = db.user("u")
    found: list[object] = []
    for as_of in (None, *revisions):
        for seed in (1, 2, 300):
            answer = user.ground(vector(seed).astype(np.float32), limit=50, as_of=as_of)
            found.append([(hit.clip.id, hit.clip.revision, hit.score) for hit in answer.hits])
            found.append(answer.gaps)
    return found


def used(db: EmbeddedDatabase) -> int:
    """Rows that the file of the open user keeps."""
    with db._users.use("u") as memory:
        return memory.kept._rows


def rebuilt(data: Path, tmp_path: Path, revisions: range = range(0)) -> list[object]:
    """What a copy answers that has no checkpoint."""
    copy = tmp_path / "copy"
    shutil.copytree(data, copy)
    for path in copy.rglob(DERIVED_FILE):
        path.unlink()
    with opened(copy, IndexConfig(checkpoint_rows=0)) as db:
        answers = told(db, revisions)
    shutil.rmtree(copy)
    return answers


@pytest.mark.parametrize("metric", ["cosine", "dot"])
def test_an_opening_uses_it_and_answers_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, metric: str
) -> None:
    data = tmp_path / "data"
    filled(data, metric=metric)
    expected = rebuilt(data, tmp_path)
    made: list[int] = []
    real = prepared_rows

    def counted(rows: Array, *, cosine: bool) -> Array:
        made.append(len(rows))
        return real(rows, cosine=cosine)

    monkeypatch.setattr("memdb.engine.space_rows.prepared_rows", counted)
    with opened(data) as db:
        assert told(db) == expected
        assert used(db) == 20
        assert made == [], "no row was made of its vector"
        assert db.verify().ok


def test_what_came_since_is_made_of_the_store(tmp_path: Path) -> None:
    data = tmp_path / "data"
    filled(data)
    with opened(data, IndexConfig(checkpoint_rows=1000)) as db:
        camera = db.user("u").stream("cam", space="s")
        camera.write_many([clip(seq) for seq in range(22, 30)])
        camera.write(clip(20, sealed=False, seed=500))
        camera.write(clip(20, sealed=False, seed=501))
        camera.write(clip(20, seed=502))
    expected = rebuilt(data, tmp_path, range(1, 5))
    with opened(data, IndexConfig(checkpoint_rows=1000)) as db:
        assert used(db) == 20
        assert told(db, range(1, 5)) == expected
        assert db.verify().ok
        # And goes on from there.
        db.user("u").stream("cam", space="s").write_many([clip(seq) for seq in range(30, 40)])
        assert db.verify().ok


def test_a_removal_leaves_no_file_with_what_was_removed(tmp_path: Path) -> None:
    data = tmp_path / "data"
    path = filled(data)
    with opened(data, IndexConfig(checkpoint_rows=25)) as db:
        user = db.user("u")
        assert used(db) == 20
        user.stream("cam", space="s").set_retention(memdb.Retention(max_clips=10))
        db.sweep()
        assert not (path / DERIVED_FILE).exists()
    with opened(data) as db:
        assert db.verify().ok
    assert (path / DERIVED_FILE).exists(), "written anew, of what is left"
    with opened(data) as db:
        assert used(db) == 10
        found = db.user("u").clips()
        db.user("u").erase_clips([found[0].id])
        assert not (path / DERIVED_FILE).exists()
        assert len(db.user("u").clips()) == 9


def outlive_a_removal(data: Path, path: Path) -> None:
    """Have the user's clips removed but for ten, and the checkpoint of before lie there all the same."""
    before = (path / DERIVED_FILE).read_bytes()
    with opened(data, IndexConfig(checkpoint_rows=1000)) as db:
        db.user("u").stream("cam", space="s").set_retention(memdb.Retention(max_clips=10))
        db.sweep()
    (path / DERIVED_FILE).write_bytes(before)


def test_a_file_that_outlived_a_removal_is_dropped_by_the_next_opening(tmp_path: Path) -> None:
    data = tmp_path / "data"
    path = filled(data)
    outlive_a_removal(data, path)
    expected = rebuilt(data, tmp_path)
    with opened(data, IndexConfig(checkpoint_rows=1000)) as db:
        assert told(db) == expected
        assert not (path / DERIVED_FILE).exists()


def test_one_that_is_being_written_while_clips_are_removed_is_not_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = tmp_path / "data"
    path = filled(data)
    real = write_derived

    with opened(data) as db:
        db._users._upkeep.close()  # nobody else writes one
        camera = db.user("u").stream("cam", space="s")
        camera.write_many([clip(seq) for seq in range(20, 40)])
        camera.set_retention(memdb.Retention(max_clips=10))

        def meanwhile(*args: object) -> object:
            made = real(*args)  # type: ignore[arg-type]
            monkeypatch.setattr(kept_index, "write_derived", real)
            db.sweep()
            return made

        monkeypatch.setattr(kept_index, "write_derived", meanwhile)
        with db._users.use("u") as memory:
            memory.kept._not_before = 0.0
            memory.kept.maintain(lambda: False)
        assert not (path / DERIVED_FILE).exists()
        assert not (path / DERIVED_NEW).exists()


def test_one_that_keeps_all_there_is_is_not_written_again(tmp_path: Path) -> None:
    data = tmp_path / "data"
    path = filled(data)
    with opened(data) as db:
        db._users._upkeep.close()
        db.user("u").stream("cam", space="s").set_retention(memdb.Retention(max_clips=5))
        db.sweep()
        with db._users.use("u") as memory:
            assert memory.kept.is_due
            memory.kept.maintain(lambda: False)
            memory.kept._not_before = 0.0
            # Rows that are gone take their places in memory for a while, and are no news.
            assert not memory.kept.is_due
            assert memory.kept._rows == 5
        assert (path / DERIVED_FILE).exists()


def test_a_user_that_gives_up_a_clip_each_minute_has_it_written_for_what_came(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each removal drops it, and what is written is in proportion to what came; also where a sweep opens the user
    anew."""
    minutes, kept_clips = 300, 160
    now_s = 1e6
    for module in (kept_index, checkpoint_pace):
        monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: now_s))
    monkeypatch.setattr(checkpoint_pace, "REST_S", 1e9)
    written: list[int] = []
    place = place_derived

    def placed(folder: Path) -> None:
        written.append((folder / DERIVED_NEW).stat().st_size)
        place(folder)

    monkeypatch.setattr(kept_index, "place_derived", placed)
    with opened(tmp_path, IndexConfig(checkpoint_rows=ROWS, close_checkpoint_s=0)) as db:
        db._users._upkeep.close()
        db.create_space("s", dim=DIM)
        camera = db.user("u").stream("cam", space="s")
        camera.write_many([clip(seq) for seq in range(kept_clips)])
        camera.set_retention(memdb.Retention(max_clips=kept_clips))
        for minute in range(minutes):
            now_s += 60
            camera.write(clip(kept_clips + minute))
            db.sweep()
            if minute % 20 == 19:
                with db._users.exclusively("u"):
                    pass  # another user took its place
            with db._users.use("u") as memory:
                memory.kept.maintain(lambda: False)
        one = max(written)
        came = minutes * one / kept_clips
        assert len(written) >= minutes // (kept_clips // checkpoint_pace.SHARE) // 2
        assert sum(written) <= 2 * checkpoint_pace.SHARE * came
        # Who hardly changes has one all the same, after a while.
        monkeypatch.setattr(checkpoint_pace, "REST_S", 600.0)
        before = len(written)
        camera.write(clip(kept_clips + minutes))
        db.sweep()
        now_s += 601
        with db._users.use("u") as memory:
            memory.kept.maintain(lambda: False)
        assert len(written) == before + 1


def test_upkeep_writes_it_while_the_user_is_open(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with opened(data, IndexConfig(checkpoint_rows=0)) as db:
        db.create_space("s", dim=DIM)
        db.user("u").stream("cam", space="s").write_many([clip(seq) for seq in range(20)])
    with opened(data) as db:
        told(db)
        thread = db._users._upkeep._thread
        if thread is not None:
            thread.join(20)
        assert used(db) == 20
        assert (db._directory.user_path("u") / DERIVED_FILE).exists()


def test_too_few_rows_are_not_worth_a_file_and_a_growing_user_has_none_at_once(
    tmp_path: Path,
) -> None:
    with opened(tmp_path) as db:
        db.create_space("s", dim=DIM)
        camera = db.user("u").stream("cam", space="s")
        camera.write_many([clip(seq) for seq in range(ROWS - 1)])
        path = db._directory.user_path("u")
    assert not (path / DERIVED_FILE).exists()
    with opened(tmp_path) as db:
        db.create_space("s2", dim=DIM)
        db.user("v").stream("cam", space="s").write_many([clip(seq) for seq in range(20)])
        with db._users.use("v") as memory:
            assert not memory.kept.is_due
            memory.kept._not_before = 0.0
            assert memory.kept.is_due


def test_switched_off_none_is_written_and_what_is_there_goes(tmp_path: Path) -> None:
    path = filled(tmp_path)
    with opened(tmp_path, IndexConfig(checkpoint_rows=0)) as db:
        told(db)
    assert not (path / DERIVED_FILE).exists()


def test_an_encrypted_user_has_none(tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.touch(mode=0o600)
    key.write_bytes(b"k" * 32)
    config = EngineConfig(master_key_file=str(key))
    data = tmp_path / "data"
    with EmbeddedDatabase(data, config=config, index=INDEX, embed_texts=False) as db:
        db.create_space("s", dim=DIM)
        db.user("u").stream("cam", space="s").write_many([clip(seq) for seq in range(20)])
        path = db._directory.user_path("u")
    assert not (path / DERIVED_FILE).exists()


@pytest.mark.parametrize("what", ["cut", "bit", "empty", "noise", "other user", "newer"])
def test_what_cannot_be_trusted_is_told_once_and_the_user_rebuilt(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, what: str
) -> None:
    data = tmp_path / "data"
    path = filled(data)
    file = path / DERIVED_FILE
    content = bytearray(file.read_bytes())
    expected = rebuilt(data, tmp_path)
    match what:
        case "cut":
            content = content[:-1]
        case "bit":
            content[len(content) // 2] ^= 1
        case "empty":
            content = bytearray()
        case "noise":
            content = bytearray(np.random.default_rng(1).bytes(len(content)))
        case "other user":
            other = filled(tmp_path / "other")
            content = bytearray((other / DERIVED_FILE).read_bytes())
        case "newer":
            older = tmp_path / "older"
            shutil.copytree(path, older)
            with opened(data) as db:
                camera = db.user("u").stream("cam", space="s")
                camera.write_many([clip(seq, seed=seq + 1000) for seq in range(20, 40)])
            content = bytearray(file.read_bytes())
            shutil.copy(older / "data.mdb", path / "data.mdb")
            (path / "CLEAN").unlink(missing_ok=True)
            with opened(data, IndexConfig(checkpoint_rows=1000)) as db:
                camera = db.user("u").stream("cam", space="s")
                camera.write_many([clip(seq, seed=seq + 2000) for seq in range(20, 22)])
            expected = rebuilt(data, tmp_path)
    file.write_bytes(content)
    with caplog.at_level(logging.WARNING, "memdb.engine"):
        with opened(data, IndexConfig(checkpoint_rows=1000)) as db:
            assert told(db) == expected
        with opened(data, IndexConfig(checkpoint_rows=1000)) as db:
            assert told(db) == expected
    assert sum("checkpoint is not used" in one.message for one in caplog.records) <= 1
    assert not file.exists()


def test_a_full_disk_harms_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with opened(tmp_path) as db:
        db.create_space("s", dim=DIM)
        camera = db.user("u").stream("cam", space="s")
        camera.write_many([clip(seq) for seq in range(20)])
        path = db._directory.user_path("u")
        expected = told(db)
        failpoints.arm("checkpoint.writing=error")
        with db._users.use("u") as memory:
            memory.kept._not_before = 0.0
            with pytest.raises(failpoints.FailpointError):
                memory.kept.maintain(lambda: False)
        failpoints.arm("")
        assert not (path / DERIVED_NEW).exists(), "nothing half-made is left"
        db._users._opener._config = EngineConfig(disk_free_bytes_min=1 << 62)
        with db._users.use("u") as memory:
            memory.kept._config = EngineConfig(disk_free_bytes_min=1 << 62)
        assert told(db) == expected
    assert "could not be written" in caplog.text
    assert sorted(one.name for one in path.iterdir()) == ["CLEAN", "data.mdb", "lock.mdb"]


def test_what_is_begun_in_the_middle_of_a_drop_is_not_dropped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    errors: list[BaseException] = []
    is_written = threading.Event()

    def maintain() -> None:
        try:
            memory.kept.maintain(lambda: False)
        except OSError as error:
            errors.append(error)

    def dropping(folder: Path, *, durably: bool = True) -> None:
        """Meanwhile the upkeep comes by, and gets as far as it can."""
        upkeep.start()
        is_written.wait(0.5)
        drop_derived(folder, durably=durably)

    def hit(name: str) -> None:
        if name == "checkpoint.before_rename":
            is_written.set()

    with opened(tmp_path) as db:
        db.create_space("s", dim=DIM)
        db.user("u").stream("cam", space="s").write_many([clip(seq) for seq in range(20)])
        with db.user("u").memory() as memory:
            memory.kept._not_before = 0.0
            upkeep = threading.Thread(target=maintain)
            monkeypatch.setattr(kept_index, "drop_derived", dropping)
            monkeypatch.setattr(failpoints, "hit", hit)
            memory.kept.drop()
            upkeep.join()
            assert errors == []
            assert (memory.environment.path / DERIVED_FILE).exists()


def test_backups_carry_none_and_restores_take_none(tmp_path: Path) -> None:
    data = tmp_path / "data"
    path = filled(data)
    with opened(data) as db:
        db.backup(tmp_path / "archive")
    assert (path / DERIVED_FILE).exists()
    assert not list((tmp_path / "archive").rglob(DERIVED_FILE))
    restore(tmp_path / "archive", tmp_path / "copy")
    assert not list((tmp_path / "copy").rglob(DERIVED_FILE))


def test_rows_are_found_in_any_order() -> None:
    numbers = np.arange(5, dtype=np.uint64)
    rows = KeptRows(DIM, True, numbers, numbers + 1, numbers + 2)
    columns = {"clip_no": numbers, "birth": numbers + 1, "content": numbers + 2}
    assert rows.are_all_in(columns)
    assert rows.are_all_in({name: column[::-1] for name, column in columns.items()})
    assert not rows.are_all_in({name: column[:4] for name, column in columns.items()})
    assert not rows.are_all_in(columns | {"content": numbers})
    assert not rows.are_all_in(None)


def test_a_file_that_outlived_a_removal_is_dropped_where_there_is_damage_as_well(
    tmp_path: Path,
) -> None:
    data = tmp_path / "data"
    path = filled(data)
    outlive_a_removal(data, path)
    change(path, "vectors", -1, flipped_value)
    with opened(data) as db:
        assert len(db.user("u").clips()) == 9
        assert db.user_state("u") == "damaged"
        assert not (path / DERIVED_FILE).exists()
    assert not (path / DERIVED_FILE).exists(), "a damaged user gets none"
