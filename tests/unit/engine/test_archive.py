"""Archives that are not what was written, or lie where something is: refused, with nothing made."""

from __future__ import annotations

import hashlib
import json
import random
from pathlib import Path

import pytest

from memdb import (
    AlreadyExists,
    DataLoss,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
)
from memdb.engine.database import EmbeddedDatabase
from memdb.engine.restore import restore, verify_archive
from memdb.store import archive as archives
from tests.unit.engine.archives import grow
from tests.unit.engine.conftest import CONFIG


def test_nothing_is_ever_overwritten(db: EmbeddedDatabase, folder: Path) -> None:
    grow(db, "alice", 0)
    db.backup(folder / "a0")
    (folder / "full").mkdir()
    (folder / "full" / "file").write_text("mine")
    (folder / "plain").write_text("mine")
    for target in ("full", "plain", "data", "a0"):
        with pytest.raises(AlreadyExists) as refused:
            restore(folder / "a0", folder / target)
        assert refused.value.reason == "PATH_EXISTS"
        with pytest.raises(AlreadyExists):
            db.backup(folder / target)
    assert (folder / "full" / "file").read_text() == "mine"
    (folder / "empty").mkdir()
    assert restore(folder / "a0", folder / "empty").users == 1


def test_what_is_no_archive_is_refused(db: EmbeddedDatabase, folder: Path) -> None:
    for path in (folder / "nothing", folder / "data"):
        with pytest.raises(NotFound) as refused:
            restore(path, folder / "copy")
        assert refused.value.reason == "NOT_AN_ARCHIVE"
    with pytest.raises(NotFound):
        db.backup(folder / "a1", parent=folder / "nothing")
    with pytest.raises(InvalidArgument) as bad:
        db.backup(folder / ".hidden")
    assert bad.value.reason == "BAD_PATH"
    db.backup(folder / "a0")
    with pytest.raises(InvalidArgument) as elsewhere:
        db.backup(folder / "deeper" / "a1", parent=folder / "a0")
    assert elsewhere.value.reason == "PARENT_ELSEWHERE"
    with (
        EmbeddedDatabase(folder / "data2", config=CONFIG) as other,
        pytest.raises(FailedPrecondition) as wrong,
    ):
        other.backup(folder / "a2", parent=folder / "a0")
    assert wrong.value.reason == "WRONG_DATABASE"


@pytest.mark.parametrize("which", ["archive", "format"])
def test_a_newer_format_is_refused(
    db: EmbeddedDatabase, folder: Path, which: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    db.backup(folder / "a0")
    name = "ARCHIVE_FORMAT" if which == "archive" else "FORMAT"
    monkeypatch.setattr(archives, name, 0)
    with pytest.raises(FailedPrecondition) as refused:
        restore(folder / "a0", folder / "copy")
    assert refused.value.reason == "FORMAT_NEWER"
    assert not (folder / "copy").exists()


def test_a_newer_archive_with_fields_of_its_own_is_refused_as_newer(
    db: EmbeddedDatabase, folder: Path
) -> None:
    db.backup(folder / "a0")
    document = json.loads((folder / "a0" / "manifest.json").read_bytes())
    body = document["body"] | {"archive": 3, "novelty": True}
    text = json.dumps(body, separators=(",", ":")).encode()
    digest = hashlib.sha256(text).hexdigest()
    (folder / "a0" / "manifest.json").write_bytes(
        b'{"body":%s,"sha256":"%s"}\n' % (text, digest.encode())
    )
    with pytest.raises(FailedPrecondition) as refused:
        restore(folder / "a0", folder / "copy")
    assert refused.value.reason == "FORMAT_NEWER"


def test_one_flipped_byte_anywhere_is_refused_before_anything_is_made(
    db: EmbeddedDatabase, folder: Path
) -> None:
    grow(db, "alice", 0)
    (db._directory.user_path("alice") / "NOTE").write_bytes(b"wrapped")
    db.backup(folder / "a0")
    grow(db, "alice", 10)
    db.backup(folder / "a1", parent=folder / "a0")
    chosen = random.Random(5)
    tried = 0
    for file in sorted(f for a in ("a0", "a1") for f in (folder / a).rglob("*") if f.is_file()):
        content = file.read_bytes()
        for place in [0, len(content) - 1, *(chosen.randrange(len(content)) for _ in range(12))]:
            damaged = bytearray(content)
            damaged[place] ^= 1 << chosen.randrange(8)
            file.write_bytes(damaged)
            with pytest.raises((DataLoss, FailedPrecondition)) as refused:
                restore(folder / "a1", folder / "copy")
            assert file.name in str(refused.value.field)
            tried += 1
        file.write_bytes(content[:-1])
        with pytest.raises(DataLoss):
            restore(folder / "a1", folder / "copy")
        file.write_bytes(content)
    assert tried > 100
    assert not (folder / "copy").exists()
    restore(folder / "a1", folder / "copy")


def test_a_file_too_much_or_too_little_is_named(db: EmbeddedDatabase, folder: Path) -> None:
    grow(db, "alice", 0)
    db.backup(folder / "a0")
    (folder / "a0" / "users" / "more").write_bytes(b"")
    found = verify_archive(folder / "a0")
    assert [name for name, _, _ in found.damaged_files] == ["a0/users/more"]
    (folder / "a0" / "users" / "more").unlink()
    (folder / "a0" / "SECRET").unlink()
    with pytest.raises(DataLoss) as refused:
        restore(folder / "a0", folder / "copy")
    assert refused.value.reason == "MISSING"
