"""A user with a large checkpoint answers before its store was looked through, and never otherwise than after."""

from __future__ import annotations

import mmap
import shutil
import struct
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import memdb
from memdb import Clip, DataLoss
from memdb.config import EngineConfig, IndexConfig
from memdb.engine import early_rows, kept_index, memory
from memdb.engine.database import EmbeddedDatabase
from memdb.engine.memory import UserMemory
from memdb.index.checked_file import CheckedFile
from memdb.index.checkpoint import BadCheckpoint
from memdb.store.derived import DERIVED_FILE, DERIVED_NEW
from memdb.store.environment import Environment
from memdb.store.quick_structure import structure_errors
from memdb.store.schema import USER_TABLES, Table
from memdb.types.arrays import Array
from tests.unit.engine.damaged import change, flipped_value
from tests.unit.engine.test_kept_index import DIM, SECOND_NS, clip, opened, vector

CLIPS = 300
"""More than are kept whole: those are copied."""
SEEDS = (1, 2, 700)
NEVER_S = 60.0
"""Until the store is looked through, unless somebody wants that."""
PAGE = 4096
OVERFLOW = struct.Struct("<QHHI")
MANY = IndexConfig(checkpoint_rows=1 << 20)
"""None is written anew."""


@pytest.fixture(autouse=True)
def _early(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept_index, "EARLY_BYTES_MIN", 0)
    monkeypatch.setattr(memory, "ALONE_S", NEVER_S)


def filled(data: Path, metric: str = "cosine") -> Path:
    """A user with a checkpoint; where it lies."""
    with opened(data) as db:
        db.create_space("s", dim=DIM, metric=metric)
        camera = db.user("u").stream("cam", space="s")
        camera.write_many([clip(seq) for seq in range(CLIPS - 1)])
        camera.write(clip(CLIPS, sealed=False, seed=600))
        camera.write(clip(CLIPS, seed=601))
        path = db._directory.user_path("u")
    assert (path / DERIVED_FILE).exists()
    return path


def asked(db: EmbeddedDatabase) -> list[object]:
    """What the user answers, to the last bit, by questions that may be asked early."""
    user = db.user("u")
    questions: list[Array] = [vector(seed).astype(np.float32) for seed in SEEDS]
    answers = [user.ground(one, limit=50) for one in questions]
    answers += [user.ground(one, limit=9, start_ns=9 * SECOND_NS, exact=True) for one in questions]
    answers += user.ground_many(questions, limit=50, with_coverage=True)
    return [
        ([(hit.clip.id, hit.clip.revision, hit.score) for hit in one.hits], one.gaps, one.coverage)
        for one in answers
    ]


def rebuilt(data: Path, tmp_path: Path) -> list[object]:
    """What a copy answers that has no checkpoint."""
    copy = tmp_path / "copy"
    shutil.copytree(data, copy)
    with opened(copy, IndexConfig(checkpoint_rows=0)) as db:
        answers = asked(db)
        assert memory_of(db).is_whole
    shutil.rmtree(copy)
    return answers


def memory_of(db: EmbeddedDatabase) -> UserMemory:
    found = db._users._slots.memory_of("u")
    assert found is not None
    return found


def completed(found: UserMemory) -> None:
    """Wait until all was looked through and its rows are in memory."""
    found.wait_whole()
    assert found._completing is not None
    found._completing.join(20)
    assert not found._completing.is_alive()


def are_mapped(found: UserMemory) -> list[bool]:
    """Of each chunk of rows."""
    (partition,) = found.view.partitions.values()
    told = []
    for chunk in partition.matrix._chunks:
        base: object = chunk.head
        while isinstance(base, np.ndarray):
            base = base.base
        told.append(isinstance(base, memoryview) and isinstance(base.obj, mmap.mmap))
    return told


@pytest.mark.parametrize("metric", ["cosine", "dot"])
def test_it_answers_early_what_it_answers_later(tmp_path: Path, metric: str) -> None:
    data = tmp_path / "data"
    path = filled(data, metric)
    expected = rebuilt(data, tmp_path)
    (path / DERIVED_NEW).write_bytes(b"what a crash left half-made")
    with opened(data, MANY) as db:
        assert asked(db) == expected
        assert not (path / DERIVED_NEW).exists()
        early = memory_of(db)
        assert not early.is_whole
        assert any(are_mapped(early))
        assert db.verify().ok
        assert early.is_whole
        completed(early)
        assert not any(are_mapped(early))
        assert asked(db) == expected
        assert memory_of(db) is early


def test_what_came_since_is_told_by_the_log(tmp_path: Path) -> None:
    data = tmp_path / "data"
    filled(data)
    with opened(data, MANY) as db:
        user = db.user("u")
        camera = user.stream("cam", space="s")
        camera.write_many([clip(seq) for seq in range(CLIPS + 2, CLIPS + 30)])
        for seed in (800, 801):
            camera.write(clip(CLIPS + 1, sealed=False, seed=seed))
        user.remember("the mug is blue", key="mug")
        user.put("diet", "none")
        camera.write(clip(CLIPS + 1, seed=802))
    expected = rebuilt(data, tmp_path)
    with opened(data, MANY) as db:
        assert asked(db) == expected
        assert not memory_of(db).is_whole
        assert db.verify().ok
        camera = db.user("u").stream("cam", space="s")
        camera.write_many([clip(seq) for seq in range(CLIPS + 30, CLIPS + 40)])
        assert db.verify().ok
        assert memory_of(db).is_whole


def test_what_rows_do_not_tell_waits_for_the_rest(tmp_path: Path) -> None:
    data = tmp_path / "data"
    path = filled(data)
    with opened(data, MANY) as db:
        labelled = Clip(
            seq=CLIPS + 1,
            start_ns=(CLIPS + 1) * SECOND_NS,
            end_ns=(CLIPS + 2) * SECOND_NS,
            global_memory=vector(900),
            labels={"zone": "porch"},
            transcript=(memdb.Utterance(0, SECOND_NS, "a parcel came"),),
        )
        db.user("u").stream("cam", space="s").write(labelled)
        db.user("u").snapshot("then", ttl_s=600)
    assert (path / DERIVED_FILE).exists()

    def early(db: EmbeddedDatabase) -> None:
        asked(db)
        assert not memory_of(db).is_whole

    with opened(data, MANY) as db:
        early(db)
        (hit,) = db.user("u").ground(vector(1), labels={"zone": "porch"}).hits
        assert hit.clip.seq == CLIPS + 1
    with opened(data, MANY) as db:
        early(db)
        assert db.user("u").recall("parcel")
    with opened(data, MANY) as db:
        early(db)
        assert db.user("u").ground(text="parcel").hits[0].clip.seq == CLIPS + 1
    with opened(data, MANY) as db:
        early(db)
        assert db.user("u").ground(vector(1), as_of="then").revision == db.user("u").revision()
    with opened(data, MANY) as db:
        early(db)
        assert db.user("u").stream("cam", space="s").write(labelled).duplicate


def test_spaces_that_came_since_and_blocks_at_any_place(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with opened(data) as db:
        for name, dim in (("s", DIM), ("wide", 40)):
            db.create_space(name, dim=dim)
            clips = [
                replace(clip(seq), global_memory=np.resize(vector(seq), dim), short_memory=None)
                for seq in range(CLIPS + len(name))
            ]
            db.user("u").stream(name, space=name).write_many(clips)
    with opened(data, MANY) as db:
        db.create_space("new", dim=8)
        db.user("u").stream("new", space="new").write(
            replace(clip(0), global_memory=np.ones(8, np.float32), short_memory=None)
        )

    def answers(db: EmbeddedDatabase) -> list[object]:
        return [
            [(hit.clip.id, hit.score) for hit in answer.hits]
            for name, dim in (("s", DIM), ("wide", 40), ("new", 8))
            for answer in [db.user("u").ground(np.ones(dim, np.float32), space=name, limit=30)]
        ]

    with opened(data, MANY) as db:
        early = answers(db)
        assert not memory_of(db).is_whole
        assert db.verify().ok
        completed(memory_of(db))
        assert answers(db) == early
    with opened(data, IndexConfig(checkpoint_rows=0)) as db:
        assert answers(db) == early


@pytest.mark.parametrize(
    "what", ["thinned", "removed", "another life", "a longer file", "erasure", "much since"]
)
def test_it_is_looked_through_first_where_the_log_does_not_tell_all(
    tmp_path: Path, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = tmp_path / "data"
    path = filled(data)
    index = (path / DERIVED_FILE).read_bytes()
    before = tmp_path / "before"
    shutil.copytree(path, before)
    with opened(data, MANY) as db:
        camera = db.user("u").stream("cam", space="s")
        match what:
            case "thinned":
                camera.set_retention(memdb.Retention(short_memory_age_s=1))
                db.sweep()
            case "removed":
                camera.set_retention(memdb.Retention(max_clips=CLIPS - 10))
                db.sweep()
            case "erasure":
                db.user("u").erase_clips([db.user("u").clips()[0].id])
            case "another life":
                camera.write(clip(CLIPS + 1))
            case "much since":
                monkeypatch.setattr(early_rows, "SINCE_MIN", 3)
                for number in range(CLIPS):
                    db.user("u").put("n", number)
    if what == "another life":
        with opened(data) as db:
            camera = db.user("u").stream("cam", space="s")
            camera.write_many([clip(seq, seed=seq + 1000) for seq in range(CLIPS + 2, 2 * CLIPS)])
        index = (path / DERIVED_FILE).read_bytes()
        shutil.rmtree(path)
        shutil.copytree(before, path)
        with opened(data, MANY) as db:
            camera = db.user("u").stream("cam", space="s")
            camera.write(clip(CLIPS + 1))
            camera.write_many([clip(seq, seed=seq + 2000) for seq in range(CLIPS + 2, 2 * CLIPS)])
    if what == "a longer file":
        index += b"more"
    expected = rebuilt(data, tmp_path)
    (path / DERIVED_FILE).write_bytes(index)
    with opened(data, MANY) as db:
        assert asked(db) == expected
        assert memory_of(db).is_whole
        assert memory_of(db)._completing is None


def test_damage_to_the_store_is_found_soon_and_costs_a_clip(tmp_path: Path) -> None:
    data = tmp_path / "data"
    path = filled(data)
    change(path, "vectors", 7, flipped_value)
    expected = rebuilt(data, tmp_path)
    with opened(data, MANY) as db:
        asked(db)
        early = memory_of(db)
        assert not early.is_whole
        # Its vector is read from the store, which says what is wrong.
        answer = db.user("u").ground(vector(7).astype(np.float32), limit=3)
        assert ("damaged", 7) in [(gap.reason, gap.first_seq) for gap in answer.gaps]
        assert 7 not in [hit.clip.seq for hit in answer.hits]
        found = db.verify()
        assert not found.ok
        assert memory_of(db) is not early, "it was opened anew"
        assert asked(db) == expected
        assert not (path / DERIVED_FILE).exists()


def test_a_file_that_is_changed_while_it_is_mapped_is_found_when_its_rows_are_read(
    tmp_path: Path,
) -> None:
    data = tmp_path / "data"
    path = filled(data)
    expected = rebuilt(data, tmp_path)
    with opened(data, MANY) as db:
        asked(db)
        early = memory_of(db)
        assert any(are_mapped(early))
        # Nobody of ours does so: as a disk may that gives a page back otherwise.
        with (path / DERIVED_FILE).open("r+b") as file:
            file.seek((path / DERIVED_FILE).stat().st_size // 3)
            file.write(bytes(64))
        completed(early)
        assert early.to_be_opened_again
        assert asked(db) == expected
        assert memory_of(db) is not early
        assert not (path / DERIVED_FILE).exists()


@pytest.mark.parametrize("at", [0.3, 0.6, 0.9, 0.999, 1])
def test_a_damaged_file_answers_nothing(tmp_path: Path, at: float) -> None:
    data = tmp_path / "data"
    path = filled(data)
    expected = rebuilt(data, tmp_path)
    content = bytearray((path / DERIVED_FILE).read_bytes())
    content[int(at * (len(content) - 1))] ^= 1
    (path / DERIVED_FILE).write_bytes(content)
    with opened(data, MANY) as db:
        assert asked(db) == expected
        assert memory_of(db)._completing is None
        assert not (path / DERIVED_FILE).exists()


def test_whoever_waits_for_the_rest_opens_the_user_anew_where_that_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = tmp_path / "data"
    filled(data)
    expected = rebuilt(data, tmp_path)
    told: list[str] = []

    def fails(*_: object) -> None:
        told.append("looked")
        raise DataLoss("as found", reason="MISSING", field="vectors")

    with opened(data, MANY) as db:
        asked(db)
        early = memory_of(db)
        monkeypatch.setattr(memory, "check_early", fails)
        camera = db.user("u").stream("cam", space="s")
        writers = [
            threading.Thread(target=camera.write, args=(clip(seq),))
            for seq in range(CLIPS + 1, CLIPS + 4)
        ]
        for one in writers:
            one.start()
        for one in writers:
            one.join(20)
        assert told == ["looked"]
        assert memory_of(db) is not early
        assert len(db.user("u").clips()) > 0
        assert db.verify().ok
        assert asked(db) != expected, "three clips more"


def test_a_user_that_is_closed_early_ends_what_was_begun(tmp_path: Path) -> None:
    data = tmp_path / "data"
    path = filled(data)
    with opened(data, MANY) as db:
        asked(db)
        early = memory_of(db)
        assert not early.is_whole
    assert early._completing is not None
    assert not early._completing.is_alive()
    assert (path / DERIVED_FILE).exists(), "the end of the user says nothing of its file"


def test_a_block_that_no_thread_looked_at_is_not_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = tmp_path / "data"
    filled(data)
    expected = rebuilt(data, tmp_path)

    def ends(self: CheckedFile) -> None:
        self._unchecked.clear()

    monkeypatch.setattr(CheckedFile, "_check", ends)
    with opened(data, MANY) as db:
        assert asked(db) == expected
        assert memory_of(db)._completing is None


def hit_heads(data_file: Path) -> int:
    """Damage the header of each value that has pages of its own; how many there are."""
    content = bytearray(data_file.read_bytes())
    hit = 0
    for at in range(2 * PAGE, len(content), PAGE):
        number, _, flags, _ = OVERFLOW.unpack_from(content, at)
        if (number, flags) == (at // PAGE, 4):
            content[at + 12] ^= 0x40  # pages that it says it has
            hit += 1
    data_file.write_bytes(content)
    return hit


def test_pages_of_values_are_looked_at_before_anything_is_written(tmp_path: Path) -> None:
    data = tmp_path / "data"
    path = filled(data)
    with opened(data, MANY) as db:
        db.user("u").remember("word " * 1000)
    expected = rebuilt(data, tmp_path)
    assert hit_heads(path / "data.mdb")
    assert structure_errors(path / "data.mdb")
    assert not structure_errors(path / "data.mdb", values=False)
    with opened(data, MANY) as db:
        assert asked(db) == expected
        assert not memory_of(db).is_whole
        for _ in range(2):
            with pytest.raises(DataLoss) as refused:
                db.user("u").stream("cam", space="s").write(clip(CLIPS + 1))
            assert refused.value.reason == "CORRUPTED"
    with opened(data, MANY) as db, pytest.raises(DataLoss):
        db.user("u").revision()


def test_an_environment_looks_at_what_it_left_before_it_writes(tmp_path: Path) -> None:
    data = tmp_path / "data"
    path = filled(data)
    with opened(data, MANY) as db:
        db.user("u").remember("word " * 1000)
    hit_heads(path / "data.mdb")
    environment = Environment(path, USER_TABLES, EngineConfig(), values_later=True)
    try:
        with environment.read() as txn:
            assert txn.count(Table.CLIPS)
        with pytest.raises(DataLoss, match="structure"):
            environment.write(lambda txn: (True, txn.delete(Table.VALUES, b"key")))
    finally:
        environment.close()


@pytest.mark.parametrize("name", ["memdb-opening", "memdb-checkpoint"])
def test_without_a_thread_it_is_looked_through_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    data = tmp_path / "data"
    filled(data)
    expected = rebuilt(data, tmp_path)
    start = threading.Thread.start

    def refused(thread: threading.Thread) -> None:
        if thread.name == name:
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", refused)
    with opened(data, MANY) as db:
        assert asked(db) == expected
        assert memory_of(db).is_whole
        assert not memory_of(db).to_be_opened_again
        assert not any(are_mapped(memory_of(db)))


@pytest.mark.parametrize("fails", [False, True])
def test_what_was_lent_before_its_rows_were_in_memory_is_taken_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: bool
) -> None:
    """Who answers by it would go on to read the mapped file, which nobody checks again."""
    data = tmp_path / "data"
    filled(data)
    settle = kept_index.KeptIndex.settle
    told: list[str] = []

    def lent_before(kept: kept_index.KeptIndex, *rest: Any) -> None:
        early = memory_of(db)
        assert are_mapped(early) == [True]
        assert early.lend(early.view, data, lambda: lambda: told.append("back"))
        if fails:
            raise BadCheckpoint("other rows than before")
        settle(kept, *rest)

    monkeypatch.setattr(kept_index.KeptIndex, "settle", lent_before)
    with opened(data, MANY) as db:
        asked(db)
        early = memory_of(db)
        completed(early)
        assert told == ["back"]
        assert early.to_be_opened_again == fails
