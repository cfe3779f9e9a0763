"""A user with a large checkpoint answers before its store was looked through, and never otherwise than after."""

from __future__ import annotations

import shutil
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import memdb
from memdb import Clip
from memdb.config import IndexConfig
from memdb.engine import early_rows, kept_index
from memdb.engine.database import EmbeddedDatabase
from memdb.index.checkpoint import BadCheckpoint
from memdb.store.derived import DERIVED_FILE, DERIVED_NEW
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
from tests.unit.engine.test_kept_index import DIM, SECOND_NS, clip, opened, vector


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
