"""A rotation that is told where copies of data keys lie: archives need the former master key no more."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from memdb import FailedPrecondition, failpoints
from memdb.cli.main import main
from memdb.engine.restore import restore, verify_archive
from memdb.failpoints import FailpointError
from memdb.store.rotation import rotate_master_key
from memdb.store.upgrade import upgrade
from tests.unit.engine.archives import grow
from tests.unit.engine.conftest import DIM
from tests.unit.engine.encrypted import compared, content, keys, opened
from tests.unit.engine.test_encryption import NEW, OLD, OTHER, key_file


@pytest.fixture
def expected(folder: Path) -> dict[str, list[object]]:
    """Content of archive ``a0``, from before an upgrade that made new data keys."""
    with opened(folder) as db:
        db.create_space("cam", dim=DIM)
        grow(db, "alice", 0)
        grow(db, "bob", 0)
        db.user("bob").erase()
        db.backup(folder / "a0")
        held = {"alice": content(db, "alice")}
    upgrade(folder / "data", master_key=OLD, new_master_key=OLD)
    with opened(folder) as db:
        db.backup(folder / "a1")
    return held


def test_archives_from_before_an_upgrade_open_with_the_new_master_key(
    folder: Path, expected: dict[str, list[object]], capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["rotate-master-key", str(folder / "data")]
    command += ["--old-key-file", key_file(folder, OLD), "--new-key-file", key_file(folder, NEW)]
    assert main([*command, "--data-keys", str(folder / "nowhere")]) == 1
    assert "NO_DIRECTORY" in capsys.readouterr().err
    with opened(folder) as db:  # nothing was begun
        assert db.users() == ["alice"]
    assert main([*command, "--data-keys", str(folder / "data-keys")]) == 0
    told = json.loads(capsys.readouterr().out)
    # Of the catalog and of alice, before and after the upgrade; of bob none was kept.
    assert (told["wrapped_anew"], told["copies_wrapped_anew"], told["lost"]) == (2, 4, [])
    for archive in ("a0", "a1"):
        assert verify_archive(folder / archive, keys=keys(folder, NEW)).ok
        restore(folder / archive, folder / f"of-{archive}", keys=keys(folder, NEW))
        compared(folder, f"of-{archive}", expected, NEW)
    with pytest.raises(FailedPrecondition) as refused:
        restore(folder / "a0", folder / "with-old", keys=keys(folder, OLD))
    assert refused.value.reason == "MASTER_KEY_MISMATCH"


def test_copies_of_which_some_were_wrapped_anew_are_gone_on_with(
    folder: Path, expected: dict[str, list[object]]
) -> None:
    copies = folder / "data-keys"
    damaged = next(path for path in copies.iterdir() if path.name.startswith("catalog"))
    whole = damaged.read_bytes()
    damaged.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    failpoints.arm("keycopies.before_write=error@2")
    with pytest.raises(FailpointError):
        rotate_master_key(folder / "data", OLD, NEW, [copies])
    failpoints.arm("")
    with opened(folder, NEW) as db:  # of the directory itself the rotation has ended
        assert db.users() == ["alice"]
    done = rotate_master_key(folder / "data", OLD, NEW, [copies])
    assert (done.wrapped_anew, done.copies_wrapped_anew) == (0, 2)
    assert damaged.read_bytes() == whole[:-1] + bytes([whole[-1] ^ 1])
    damaged.write_bytes(whole)
    assert rotate_master_key(folder / "data", OLD, NEW, [copies]).copies_wrapped_anew == 1
    # Not those of a key that is not named.
    assert rotate_master_key(folder / "data", NEW, OTHER, ()).copies_wrapped_anew == 0
    restore(folder / "a0", folder / "copy", keys=keys(folder, NEW))
    compared(folder, "copy", expected, NEW)


def test_a_folder_of_copies_that_may_not_be_looked_at_is_none(folder: Path) -> None:
    with pytest.raises(FailedPrecondition, match="File name too long") as refused:
        rotate_master_key(folder / "data", OLD, NEW, [folder / ("a" * 300)])
    assert (refused.value.reason, refused.value.field) == ("NO_DIRECTORY", "data_keys")
