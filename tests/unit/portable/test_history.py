"""Facts and values of an import: how much of them is held, and in which order they are written."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pytest

import memdb
from memdb import DataLoss
from memdb.engine.database import EmbeddedDatabase

pytest.importorskip("pyarrow", reason="the extra memdb[export] is not installed")
pytest.importorskip("safetensors", reason="the extra memdb[export] is not installed")

from memdb.portable.exporter import export_user
from memdb.portable.history import checked_history, write_history
from memdb.portable.importer import import_user
from memdb.portable.layout import FACTS, VALUES

VALUE_BYTES = 64 * 1024
VERSIONS = 256


def test_an_import_does_not_hold_all_values_at_once(tmp_path: Path) -> None:
    """16 MB of them, the first time and again."""
    drawn = np.random.default_rng(7)
    with memdb.open(tmp_path / "data") as db:
        assert isinstance(db, EmbeddedDatabase)
        user = db.user("alice")
        for _ in range(VERSIONS):
            user.put("picture", drawn.bytes(VALUE_BYTES // 2).hex())
        export_user(db, "alice", tmp_path / "export")
        tracemalloc.start()
        try:
            first = import_user(db, tmp_path / "export", user="bob")
            again = import_user(db, tmp_path / "export", user="bob")
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert (first.values_written, first.values_present) == (VERSIONS, 0)
        assert (again.values_written, again.values_present) == (0, VERSIONS)
        assert db.user("bob").get("picture") == user.get("picture")
    assert peak < VERSIONS * VALUE_BYTES // 2


def test_facts_are_written_in_the_order_in_which_they_were_told(tmp_path: Path) -> None:
    with memdb.open(tmp_path / "data") as db:
        assert isinstance(db, EmbeddedDatabase)
        user = db.user("alice")
        mug = user.remember("The mug is blue")
        user.remember("The cup is red")
        user.revise(mug.id, text="The mug is green")
        export_user(db, "alice", tmp_path / "export")
        report = import_user(db, tmp_path / "export", user="bob")
        told = [
            change.fact.text
            for change in db.user("bob").watch(from_revision=0, follow=False)
            if change.fact is not None
        ]
    assert report.facts_written == 3
    assert told == ["The mug is blue", "The cup is red", "The mug is green"]


@pytest.mark.parametrize("name", [FACTS, VALUES])
def test_a_file_that_is_damaged_after_it_was_checked_is_named(tmp_path: Path, name: str) -> None:
    """It is read twice more: what the libraries raise then was told as it is."""
    with memdb.open(tmp_path / "data") as db:
        assert isinstance(db, EmbeddedDatabase)
        db.user("alice").remember("The mug is blue")
        db.user("alice").put("k", 1)
        export_user(db, "alice", tmp_path / "export")
        history = checked_history(tmp_path / "export")
        (tmp_path / "export" / name).write_bytes(b"")
        with pytest.raises(DataLoss) as refused:
            write_history(db.user("bob"), history, {})
    assert (refused.value.reason, refused.value.field) == ("BAD_EXPORT", name)
