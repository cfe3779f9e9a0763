"""Users that are erased while a backup runs: what was copied of them is in no archive."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from memdb.clock import ManualClock
from memdb.engine.database import EmbeddedDatabase
from memdb.engine.restore import restore, verify_archive
from memdb.store.archivekeys import KeyFiles
from tests.unit.engine.archives import grow
from tests.unit.engine.conftest import CONFIG, DIM
from tests.unit.engine.test_encryption import OLD, key_file


@pytest.fixture(params=["plain", "encrypted"])
def kept(folder: Path, request: pytest.FixtureRequest) -> str:
    """Name of the file with the master key, nothing where there is none."""
    return key_file(folder, OLD) if request.param == "encrypted" else ""


@pytest.fixture
def db(folder: Path, kept: str) -> Iterator[EmbeddedDatabase]:
    config = replace(CONFIG, master_key_file=kept)
    with EmbeddedDatabase(folder / "data", config=config, clock=ManualClock()) as made:
        made.create_space("cam", dim=DIM)
        for name in ("alice-of-the-planted-name", "bob"):
            grow(made, name, 0)
        made.user("alice-of-the-planted-name").put("secret", "planted-value")
        yield made


def stored(archive: Path) -> bytes:
    return b"".join(path.read_bytes() for path in archive.rglob("*") if path.is_file())


def test_who_is_erased_and_made_anew_meanwhile_is_not_restored_as_before(
    db: EmbeddedDatabase, folder: Path, kept: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = db._catalog.copy
    alice = db.user("alice-of-the-planted-name")

    def made_anew_first(target: Path) -> None:
        alice.erase()
        alice.put("diet", "none")
        monkeypatch.undo()
        copy(target)

    monkeypatch.setattr(db._catalog, "copy", made_anew_first)
    assert db.backup(folder / "a0").users == 1
    assert b"planted-value" not in stored(folder / "a0")
    assert db.backup(folder / "a1", parent=folder / "a0").full == 1  # she, as she is now
    for archive, users in (("a0", 1), ("a1", 2)):
        assert verify_archive(folder / archive, keys=KeyFiles(kept)).ok
        restored = restore(folder / archive, folder / f"of-{archive}", keys=KeyFiles(kept))
        assert (restored.users, restored.erased) == (users, ())
    config = replace(CONFIG, master_key_file=kept)
    with EmbeddedDatabase(folder / "of-a1", config=config) as again:
        assert again.user("alice-of-the-planted-name").keys(limit=5) == ["diet"]


def test_who_is_made_anew_before_its_copy_is_copied(
    db: EmbeddedDatabase, folder: Path, kept: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    backups = db._backups
    add = backups._add_user
    bob = db.user("bob")

    def made_anew_first(growing: Any, user: str, erased: Any) -> None:
        if user == "bob":
            bob.erase()
            bob.put("diet", "none")
        add(growing, user, erased)

    monkeypatch.setattr(backups, "_add_user", made_anew_first)
    assert db.backup(folder / "a0").users == 2
    restored = restore(folder / "a0", folder / "copy", keys=KeyFiles(kept))
    assert (restored.users, restored.erased) == (2, ())
    config = replace(CONFIG, master_key_file=kept)
    with EmbeddedDatabase(folder / "copy", config=config) as again:
        assert again.user("bob").keys(limit=5) == ["diet"]


def test_a_name_that_is_erased_while_names_are_copied_is_in_no_archive(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with EmbeddedDatabase(folder / "data", config=CONFIG) as db:
        db.create_space("cam", dim=DIM)
        for name in ("alice-of-the-planted-name", "bob"):
            grow(db, name, 0)
        copy = db._catalog.copy

        def erased_meanwhile(target: Path) -> None:
            copy(target)
            monkeypatch.undo()
            db.user("alice-of-the-planted-name").erase()

        monkeypatch.setattr(db._catalog, "copy", erased_meanwhile)
        assert db.backup(folder / "a0").users == 1
    assert b"planted-name" not in stored(folder / "a0")
    assert verify_archive(folder / "a0").ok
    assert restore(folder / "a0", folder / "copy").users == 1


def test_who_is_erased_meanwhile_is_left_out(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with EmbeddedDatabase(folder / "data", config=CONFIG) as db:
        db.create_space("cam", dim=DIM)
        grow(db, "alice", 0)
        grow(db, "bob", 0)
        copy = db._catalog.copy

        def erase_first(target: Path) -> None:
            monkeypatch.undo()
            db.user("bob").erase()
            copy(target)

        monkeypatch.setattr(db._catalog, "copy", erase_first)
        assert db.backup(folder / "a0").users == 1
        assert verify_archive(folder / "a0").ok
    restore(folder / "a0", folder / "copy")
    with EmbeddedDatabase(folder / "copy", config=CONFIG) as restored:
        assert restored.users() == ["alice"]
