"""Damage to what a user answers by before its store was looked through is found, and costs what is damaged."""

from __future__ import annotations

import struct
import threading
from pathlib import Path

import numpy as np
import pytest

from memdb import DataLoss
from memdb.config import EngineConfig
from memdb.engine import memory
from memdb.index.checked_file import CheckedFile
from memdb.store.derived import DERIVED_FILE
from memdb.store.environment import Environment
from memdb.store.quick_structure import structure_errors
from memdb.store.schema import USER_TABLES, Table
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
from tests.unit.engine.test_kept_index import clip, opened, vector

PAGE = 4096
OVERFLOW = struct.Struct("<QHHI")


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
