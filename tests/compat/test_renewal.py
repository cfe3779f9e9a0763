"""A user of format 1 is read as it is, and becomes one of this format with its first commit."""

from __future__ import annotations

import shutil
from pathlib import Path

import lmdb
import numpy as np
import pytest

from memdb import FailedPrecondition
from memdb.clock import ManualClock
from memdb.config import IndexConfig
from memdb.engine import rebuild
from memdb.engine.database import EmbeddedDatabase
from memdb.store.derived import DERIVED_FILE
from memdb.store.records import UserRecord, unpack
from memdb.store.schema import FORMAT, META_USER, Table
from memdb.store.upgrade import upgrade
from tests.compat.make_golden import clip

HERE = Path(__file__).parent


@pytest.fixture
def data(tmp_path: Path) -> Path:
    copy = tmp_path / "data"
    shutil.copytree(HERE / "format-1", copy)
    (copy / "answers.json").unlink()
    return copy


def opened(data: Path) -> EmbeddedDatabase:
    return EmbeddedDatabase(data, clock=ManualClock(), embed_texts=False)


def stored(data: Path) -> tuple[int, int]:
    """(format of the user, entries of its pyramid) on disk."""
    (folder,) = (data / "users").iterdir()
    with lmdb.open(str(folder), max_dbs=32, readonly=True, lock=False) as env:
        meta, sums = (env.open_db(name, create=False) for name in (b"meta", b"pyramid"))
        with env.begin() as txn:
            value = txn.get(META_USER, db=meta) or b""
            record = unpack(Table.META, META_USER, value, UserRecord)
            return record.format, int(txn.stat(sums)["entries"])


def test_who_only_reads_changes_nothing(data: Path) -> None:
    before = stored(data)
    assert before == (1, 2)
    with opened(data) as db:
        assert len(db.user("alice").long_term().tokens)
        assert db.user("alice").stream("door").write(clip("door", 9)).duplicate
        assert db.verify().ok
    assert stored(data) == before


def test_the_first_commit_renews_the_user(data: Path) -> None:
    with opened(data) as db:
        user = db.user("alice")
        before = user.long_term()
        user.put("diet", 1)
        assert np.array_equal(user.long_term().tokens, before.tokens)
        assert db.verify().ok
    assert stored(data) == (FORMAT, 0)
    with opened(data) as db:
        assert np.array_equal(db.user("alice").long_term().tokens, before.tokens)
        db.user("alice").stream("door").write(clip("door", 11))
        assert db.verify().ok
    assert stored(data) == (FORMAT, 0)


def test_no_checkpoint_lies_beside_what_an_earlier_release_may_open(data: Path) -> None:
    """Which would erase from all files but that one."""
    (folder,) = (data / "users").iterdir()
    index = IndexConfig(checkpoint_rows=1)
    with EmbeddedDatabase(data, index=index, embed_texts=False) as db:
        assert db.user("alice").clips()
    assert not (folder / DERIVED_FILE).exists()
    with EmbeddedDatabase(data, index=index, embed_texts=False) as db:
        db.user("alice").put("diet", 1)
    assert (folder / DERIVED_FILE).exists()


def test_a_commit_that_is_killed_renews_nothing(data: Path) -> None:
    from memdb import failpoints
    from memdb.failpoints import FailpointError

    with opened(data) as db:
        failpoints.arm("commit.before=error")
        try:
            with pytest.raises(FailpointError):
                db.user("alice").put("diet", 1)
        finally:
            failpoints.arm("")
    assert stored(data) == (1, 2)


def test_an_earlier_release_refuses_it_then(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with opened(data) as db:
        db.user("alice").put("diet", 1)
    monkeypatch.setattr(rebuild, "FORMAT", 1)
    with opened(data) as db, pytest.raises(FailedPrecondition) as refused:
        db.user("alice").clips()
    assert refused.value.reason == "FORMAT_NEWER"


def test_a_directory_that_is_made_anew_is_renewed_as_a_whole(data: Path) -> None:
    with opened(data) as db:
        before = db.user("alice").long_term()
    report = upgrade(data)
    assert report.format == FORMAT
    assert (data / "FORMAT").read_text() == f"memdb {FORMAT} {FORMAT}\n"
    assert stored(data) == (FORMAT, 0)
    with opened(data) as db:
        assert np.array_equal(db.user("alice").long_term().tokens, before.tokens)
        assert db.verify().ok


def test_a_backup_after_it_goes_on_from_one_before(data: Path, tmp_path: Path) -> None:
    with opened(data) as db:
        db.backup(tmp_path / "monday")
        db.user("alice").put("diet", 1)
        report = db.backup(tmp_path / "tuesday", parent=tmp_path / "monday")
        assert not report.damaged
        before = db.user("alice").long_term()
    from memdb.engine.restore import restore

    restore(tmp_path / "tuesday", tmp_path / "restored")
    assert stored(tmp_path / "restored") == (FORMAT, 0)
    with opened(tmp_path / "restored") as db:
        assert np.array_equal(db.user("alice").long_term().tokens, before.tokens)
        assert db.user("alice").get("diet") == 1
        assert db.verify().ok


def test_a_scrub_finds_nothing_wrong_with_what_nobody_reads(data: Path) -> None:
    with opened(data) as db:
        assert db.scrub(1 << 30).damaged == []
        assert db.user_state("alice") == "serving"
    assert stored(data) == (1, 2)
