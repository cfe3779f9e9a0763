"""Data keys that we may not read: nobody is damaged, lost or given up for that."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from memdb import FailedPrecondition, Retention, Unavailable
from memdb.engine.restore import restore
from memdb.store.rotation import rotate_master_key
from memdb.store.schema import CATALOG
from tests.unit.engine.archives import grow
from tests.unit.engine.encrypted import content, grown, keys, opened
from tests.unit.engine.test_encryption import NEW, OLD


@contextmanager
def forbidden(path: Path) -> Iterator[None]:
    """Nobody may read a file; simulated, since root may read all."""
    read_bytes = Path.read_bytes

    def refused(self: Path) -> bytes:
        if self == path:
            raise PermissionError(errno.EACCES, "Permission denied", str(self))
        return read_bytes(self)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Path, "read_bytes", refused)
        yield


@pytest.fixture
def bobs(folder: Path) -> Path:
    """The data key of bob, who is under legal hold; alice is not."""
    with grown(folder) as db:
        db.user("bob").stream("door").set_retention(Retention(hold=True))
        return db._directory.user_path("bob") / "KEY"


def test_a_user_is_not_there_for_now_and_is_not_given_up(folder: Path, bobs: Path) -> None:
    with opened(folder) as db:
        with forbidden(bobs):
            for call in (db.user("bob").clips, db.user("bob").erase):
                with pytest.raises(Unavailable) as refused:
                    call()
                told = refused.value.reason, refused.value.field
                assert told == ("OPEN_FAILED", f"{bobs.parent.name}/KEY")
        with pytest.raises(FailedPrecondition) as held:
            db.user("bob").erase()
        assert held.value.reason == "LEGAL_HOLD"
        assert content(db, "bob")


def test_a_rotation_leaves_no_key_behind(folder: Path, bobs: Path) -> None:
    with forbidden(bobs), pytest.raises(Unavailable) as refused:
        rotate_master_key(folder / "data", OLD, NEW)
    assert refused.value.field == f"{bobs.parent.name}/KEY"
    assert rotate_master_key(folder / "data", OLD, NEW).lost == ()
    with opened(folder, NEW) as db:
        assert content(db, "bob")


def test_a_backup_names_its_user_and_has_the_others(folder: Path, bobs: Path) -> None:
    with opened(folder) as db:
        grow(db, "carol", 0)
        db.backup(folder / "a0")
    with opened(folder) as db:
        db.user("carol").erase()
        with forbidden(bobs):
            report = db.backup(folder / "a1", parent=folder / "a0")
        assert (report.users, report.damaged) == (1, ("bob",))
        assert len(restore(folder / "a0", folder / "of-a0", keys=keys(folder)).erased) == 1
        assert db.backup(folder / "a2", parent=folder / "a1").damaged == ()


@pytest.mark.parametrize("of", ["bob", CATALOG])
def test_a_restore_is_refused_and_leaves_nobody_out(folder: Path, bobs: Path, of: str) -> None:
    with opened(folder) as db:
        db.backup(folder / "a0")
    name = bobs.parent.name if of == "bob" else of
    (copy,) = (folder / "data-keys").glob(f"{name}.*")
    with forbidden(copy), pytest.raises(Unavailable) as refused:
        restore(folder / "a0", folder / "copy", keys=keys(folder), leave_out_lost=True)
    assert (refused.value.reason, refused.value.field) == ("OPEN_FAILED", f"data-keys/{copy.name}")
    assert not (folder / "copy").exists()
    assert restore(folder / "a0", folder / "copy", keys=keys(folder)).users == 2
