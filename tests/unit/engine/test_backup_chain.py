"""Chains of increments: what is made can be restored, however long the chain and whatever it changes."""

from __future__ import annotations

from pathlib import Path

import pytest

from memdb import FailedPrecondition
from memdb.engine.database import EmbeddedDatabase
from memdb.engine.restore import restore
from memdb.store import archive as archives
from memdb.store import assembly
from memdb.store.schema import USER_TABLES
from memdb.types.operation import PutValue, RemoveValue


def test_an_archive_that_could_not_be_restored_is_not_made(
    db: EmbeddedDatabase, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archives, "CHAIN_MAX", 3)
    user = db.user("alice")
    user.put("n", 0)
    db.backup(folder / "a0")
    for step in (1, 2):
        user.put("n", step)
        db.backup(folder / f"a{step}", parent=folder / f"a{step - 1}")
    user.put("n", 3)
    with pytest.raises(FailedPrecondition) as refused:
        db.backup(folder / "a3", parent=folder / "a2")
    assert (refused.value.reason, refused.value.field) == ("CHAIN", "parent")
    assert not (folder / "a3").exists()
    assert restore(folder / "a2", folder / "copy").users == 1


@pytest.mark.parametrize("change", ["removed", "written again"])
def test_small_changes_all_over_a_user_are_restored(
    db: EmbeddedDatabase, folder: Path, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    """Each of them writes a page anew: much more than the delta's own bytes."""
    keys = [f"{number:06}" + "k" * 40 for number in range(6000)]
    db.user("alice").put("n", 0)
    with db._users.use("alice") as memory:
        memory.write([PutValue(key, '"value"') for key in keys])
        db.backup(folder / "a0")
        chosen = keys[::20]
        memory.write(
            [RemoveValue(key) for key in chosen]
            if change == "removed"
            else [PutValue(key, '"other"') for key in chosen]
        )
    assert db.backup(folder / "a1", parent=folder / "a0").incremental == 1
    # A user of some hundred megabytes needs no room that is there whatever its size.
    monkeypatch.setattr(assembly, "_ROOM_BYTES", 0)
    (full,) = (folder / "a0" / "users").rglob("data.mdb")
    (delta,) = (folder / "a1" / "users").rglob("delta")
    before, after = (archives.Archive(folder / name).users for name in ("a0", "a1"))
    made = folder / "made"
    made.mkdir()
    (made / "data.mdb").write_bytes(full.read_bytes())
    (name,) = after
    job = [(delta, before[name].revision, after[name].revision)]
    assert assembly._assemble(made, list(USER_TABLES), job)["entries"] == after[name].entries
