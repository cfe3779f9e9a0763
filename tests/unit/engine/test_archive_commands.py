"""Commands for archives of encrypted directories: which keys they take, and when they lack one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from memdb.cli.main import main
from memdb.engine.database import EmbeddedDatabase
from memdb.store.rotation import rotate_master_key
from tests.unit.engine.conftest import CONFIG
from tests.unit.engine.encrypted import compared, content, grown
from tests.unit.engine.test_encryption import NEW, OLD, key_file


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, dict[str, Any], str]:
    status = main([str(argument) for argument in arguments])
    told = capsys.readouterr()
    return status, json.loads(told.out) if told.out else {}, told.err


@pytest.fixture
def db(folder: Path) -> Iterator[EmbeddedDatabase]:
    with grown(folder) as made:
        yield made


def test_every_command_takes_the_key_and_says_when_it_lacks(
    db: EmbeddedDatabase, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    expected = {name: content(db, name) for name in db.users()}
    db.close()
    key = ("--master-key-file", key_file(folder))
    a0 = folder / "a0"
    status, made, _ = run(capsys, "backup", folder / "data", "--to", a0, "--drill", *key)
    assert (status, made["full"], made["drill"]["ok"]) == (0, 2, True)
    assert run(capsys, "verify", a0, *key)[0] == 0
    assert run(capsys, "drill", a0, folder / "data", *key)[0] == 0
    assert run(capsys, "restore", a0, "--to", folder / "copy", *key)[0] == 0
    compared(folder, "copy", expected)
    without = [
        ("backup", folder / "data", "--to", folder / "a1"),
        ("verify", folder / "data"),
        ("verify", a0),
        ("drill", a0, folder / "data"),
        ("restore", a0, "--to", folder / "none"),
        ("export", folder / "data", "--user", "alice", "--to", folder / "none"),
        ("gaps", "--data", folder / "data", "--user", "alice"),
    ]
    for command in without:
        status, _, told = run(capsys, *command)
        assert (status, "MASTER_KEY_REQUIRED" in told) == (1, True), command
        status, _, told = run(capsys, *command, "--master-key-file", "")
        assert (status, "BAD_MASTER_KEY" in told) == (2, True), command
    with EmbeddedDatabase(folder / "plain", config=CONFIG) as plain:
        plain.user("alice").put("diet", 1)
        plain.backup(folder / "p0")
    for plain_one in (
        ("backup", folder / "plain", "--to", folder / "p1"),
        ("verify", folder / "plain"),
        ("verify", folder / "p0"),
        ("restore", folder / "p0", "--to", folder / "none"),
        ("export", folder / "plain", "--user", "alice", "--to", folder / "none"),
        ("gaps", "--data", folder / "plain", "--user", "alice"),
    ):
        status, _, told = run(capsys, *plain_one, *key)
        assert (status, "NOT_ENCRYPTED" in told) == (1, True), plain_one
    assert not (folder / "none").exists()


def test_restore_takes_former_keys_copies_elsewhere_and_losses(
    db: EmbeddedDatabase, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    db.backup(folder / "a0")
    name = db._directory.user_path("bob").name
    expected = {"alice": content(db, "alice")}
    db.close()
    rotate_master_key(folder / "data", OLD, NEW)
    (folder / "data-keys").rename(folder / "elsewhere")
    next((folder / "elsewhere").glob(f"{name}.*")).unlink()
    command = ["restore", folder / "a0", "--to", folder / "copy"]
    command += ["--master-key-file", key_file(folder, NEW)]
    for reason, option in (
        ("KEY_MISSING", []),
        ("MASTER_KEY_MISMATCH", ["--data-keys", folder / "elsewhere"]),
        ("KEY_MISSING", ["--former-key-file", key_file(folder, OLD)]),
    ):
        command += option
        status, _, told = run(capsys, *command)
        assert (status, reason in told) == (1, True)
        assert not (folder / "copy").exists()
    status, report, _ = run(capsys, *command, "--leave-out-lost")
    assert (status, report["users"], report["lost"]) == (1, 1, [name])
    compared(folder, "copy", expected, NEW)
    status, found, _ = run(capsys, "verify", folder / "a0", *command[4:])
    assert (status, [one["reason"] for one in found["damaged_files"]]) == (1, ["KEY_MISSING"])
