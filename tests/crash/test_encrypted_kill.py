"""Encrypted directories, killed while they are made, while a user is erased, while the master key is
replaced.
"""

from __future__ import annotations

from pathlib import Path

import pytest

import memdb
from memdb.engine.restore import restore
from memdb.store.archivekeys import KeyFiles
from tests.crash.forked_program import run_program
from tests.crash.load import DIM, SPACE, clip_of
from tests.crash.processes import Embedded
from tests.crash.test_embedded_kill import EXIT, master_key

pytestmark = pytest.mark.crash

USERS = ("alice", "bob", "carol")
COMMAND = "memdb.cli.main"


def plant(data: Path, key: Path) -> None:
    with memdb.open(data, master_key_file=key) as db:
        db.create_space(SPACE, dim=DIM)
        for user in USERS:
            stream = db.user(user).stream("batched-0", space=SPACE)
            stream.write_many([clip_of(user, "batched-0", seq) for seq in range(4)])


@pytest.mark.parametrize(
    "point", [f"create.{s}_rename@{n}" for s in ("before", "after") for n in (1, 2)]
)
def test_it_is_made_whole_or_not_at_all(directory: Path, point: str) -> None:
    key, data = master_key(directory), directory / "data"
    name, _, hit = point.partition("@")
    options = {"MEMDB_ENGINE__MASTER_KEY_FILE": str(key), "MEMDB_FAILPOINTS": f"{name}=exit@{hit}"}
    with Embedded(data, "alice", **options) as child:
        child.rest()
        assert child.process.wait(60) == EXIT
    plant(data, key)
    with memdb.open(data, master_key_file=key) as db:
        assert db.verify().ok
        assert db.users() == list(USERS)
    folders = [data / "catalog", *(data / "users").iterdir()]
    assert all((folder / "KEY").stat().st_size == 81 for folder in folders)
    assert list(data.rglob(".new-*")) == []


@pytest.mark.parametrize("point", ["after_discard", "after_remove"])
def test_an_erasure_cut_short_leaves_no_key(directory: Path, point: str) -> None:
    key, data = master_key(directory), directory / "data"
    plant(data, key)
    with Embedded(
        data,
        "alice",
        MEMDB_FAILPOINTS=f"erase.{point}=exit",
        MEMDB_CRASH_ERASE="0.05",
        MEMDB_ENGINE__MASTER_KEY_FILE=str(key),
    ) as child:
        child.rest()
        assert child.process.wait(60) == EXIT
    with memdb.open(data, master_key_file=key) as db:
        assert db.users() == ["bob", "carol"]
        assert db.verify().ok
    assert len(list(data.rglob("KEY"))) == 3


@pytest.mark.parametrize(
    "point",
    [*(f"keycopies.before_write=exit@{n}" for n in (1, 2, 3)), "keycopies.overwritten=exit"],
)
def test_a_backup_that_was_killed_loses_no_key_and_spares_none(directory: Path, point: str) -> None:
    key, data = master_key(directory), directory / "data"
    plant(data, key)
    command = [COMMAND, "backup", str(data), "--master-key-file", str(key), "--to"]

    def run(to: str, failpoints: str = "") -> int:
        target = str(directory / "backups" / to)
        return run_program(*command, target, MEMDB_FAILPOINTS=failpoints).returncode

    if "overwritten" in point:
        assert run("before") == 0
        with memdb.open(data, master_key_file=key) as db:
            db.user("bob").erase()
    assert run("killed", point) == EXIT
    assert not (directory / "backups" / "killed").exists()
    assert run("after") == 0
    keys = KeyFiles(str(key))
    erased = 1 if "overwritten" in point else 0
    if erased:
        assert (
            len(restore(directory / "backups" / "before", directory / "b", keys=keys).erased) == 1
        )
    restore(directory / "backups" / "after", directory / "copy", keys=keys)
    with memdb.open(directory / "copy", master_key_file=key) as db:
        assert db.verify().ok
        assert len(db.users()) == 3 - erased


@pytest.mark.parametrize("point", [*(f"key=exit@{n}" for n in (1, 2, 4)), "before_end=exit"])
def test_a_rotation_that_was_killed_goes_on(directory: Path, point: str) -> None:
    key, data, new = master_key(directory), directory / "data", directory / "new.key"
    new.touch(mode=0o600)
    new.write_bytes(b"n" * 32)
    plant(data, key)
    command = [COMMAND, "rotate-master-key", str(data)]
    command += ["--old-key-file", str(key), "--new-key-file", str(new)]

    def run(failpoints: str) -> int:
        return run_program(*command, MEMDB_FAILPOINTS=failpoints).returncode

    assert run(f"rotation.{point}") == EXIT
    for half_way in (key, new):
        with pytest.raises(memdb.FailedPrecondition) as refused:
            memdb.open(data, master_key_file=half_way)
        assert refused.value.reason == "ROTATION_UNFINISHED"
    assert run("") == 0
    with memdb.open(data, master_key_file=new) as db:
        assert db.verify().ok
        assert [len(db.user(user).clips(limit=9)) for user in USERS] == [4, 4, 4]
    with pytest.raises(memdb.FailedPrecondition):
        memdb.open(data, master_key_file=key)
