"""Data keys that a living user had before: an erasure of whoever had the name leaves them alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from memdb.engine.restore import restore
from memdb.store.former import FORMER_FILE
from memdb.store.shredding import KEY_FILE
from memdb.store.upgrade import upgrade
from tests.unit.engine.archives import grow
from tests.unit.engine.conftest import DIM
from tests.unit.engine.encrypted import compared, content, keys, opened
from tests.unit.engine.test_encryption import OLD


@pytest.mark.parametrize("list_of_former", ["whole", "damaged"])
def test_archives_of_who_was_made_anew_outlive_new_data_keys(
    folder: Path, list_of_former: str
) -> None:
    with opened(folder) as db:
        db.create_space("cam", dim=DIM)
        grow(db, "alice", 0)
        db.backup(folder / "a0")
        path = db._directory.user_path("alice")
    # Which key it was that the erasure destroyed, nobody can tell.
    (path / KEY_FILE).unlink()
    with opened(folder) as db:
        db.user("alice").erase()
        grow(db, "alice", 0)
        expected = {"alice": content(db, "alice")}
        db.backup(folder / "a1")
        (gone,) = restore(folder / "a0", folder / "before", keys=keys(folder)).erased
        assert gone == path.name
    upgrade(folder / "data", master_key=OLD, new_master_key=OLD)
    if list_of_former == "damaged":
        (path / FORMER_FILE).write_bytes(b"mdbf\x01" + bytes(20))
    with opened(folder) as db:
        db.backup(folder / "a2")
    for archive in ("a1", "a2"):
        report = restore(folder / archive, folder / f"of-{archive}", keys=keys(folder))
        assert (report.users, report.erased) == (1, ())
        compared(folder, f"of-{archive}", expected)
    assert restore(folder / "a0", folder / "again", keys=keys(folder)).erased == (gone,)
