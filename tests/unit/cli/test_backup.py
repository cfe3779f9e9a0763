"""``memdb backup``, ``restore``, ``verify`` of an archive and ``drill``: output and exit status."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from memdb.cli.main import main
from memdb.engine import drill as drills
from memdb.engine.database import EmbeddedDatabase
from memdb.errors import FailedPrecondition
from tests.congruence.server import ServerThread
from tests.unit.cli.conftest import CONFIG


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, dict[str, Any], str]:
    """(exit status, what is printed, stderr)."""
    status = main([str(argument) for argument in arguments])
    told = capsys.readouterr()
    return status, json.loads(told.out) if told.out else {}, told.err


def test_back_up_verify_restore_and_drill(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status, made, _ = run(capsys, "backup", data, "--to", tmp_path / "a0", "--drill")
    assert (status, made["users"], made["full"], made["drill"]["ok"]) == (0, 1, 1, True)
    with EmbeddedDatabase(data, config=CONFIG) as db:
        db.user("alice").put("diet", "none")
    status, more, _ = run(
        capsys, "backup", data, "--to", tmp_path / "a1", "--parent", tmp_path / "a0"
    )
    assert (status, more["incremental"], more["parent"]) == (0, 1, made["id"])
    status, found, _ = run(capsys, "verify", tmp_path / "a1")
    assert (status, found["ok"], found["archives"], found["archive"]) == (0, True, 2, more["id"])
    status, restored, _ = run(capsys, "restore", tmp_path / "a1", "--to", tmp_path / "copy")
    assert (status, restored["users"]) == (0, 1)
    assert run(capsys, "verify", tmp_path / "copy")[1]["ok"]
    status, told, _ = run(capsys, "drill", tmp_path / "a1", data, "--questions", 3)
    assert (status, told["ok"], told["users"]) == (0, True, 1)
    with EmbeddedDatabase(tmp_path / "copy", config=CONFIG) as copy:
        assert copy.user("alice").get("diet") == "none"


def test_commands_leave_free_what_the_environment_says(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("pyarrow", reason="the extra memdb[export] is not installed")
    assert run(capsys, "backup", data, "--to", tmp_path / "a0")[0] == 0
    commands: list[tuple[object, ...]] = [
        ("backup", data, "--to", tmp_path / "a1"),
        ("restore", tmp_path / "a0", "--to", tmp_path / "copy"),
        ("drill", tmp_path / "a0", data),
        ("export", data, "--user", "alice", "--to", tmp_path / "export"),
    ]
    monkeypatch.setenv("MEMDB_ENGINE__DISK_FREE_BYTES_MIN", str(1 << 60))
    for command in commands:
        status, _, told = run(capsys, *command)
        assert (status, "DISK_FULL" in told) == (1, True), command
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["a0", "data"]
    monkeypatch.setenv("MEMDB_ENGINE__DISK_FREE_BYTES_MIN", "0")
    for command in commands:
        assert run(capsys, *command)[0] == 0, command
    monkeypatch.setenv("MEMDB_ENGINE__DISK_FREE", "0")
    assert "UNKNOWN_KEY" in run(capsys, "verify", data)[2]


def test_an_archive_that_cannot_be_drilled_is_reported_all_the_same(
    data: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refused(*_arguments: object, **_options: object) -> None:
        raise FailedPrecondition("no key", reason="MASTER_KEY_REQUIRED")

    monkeypatch.setattr(drills, "drill", refused)
    status, made, told = run(capsys, "backup", data, "--to", tmp_path / "a0", "--drill")
    assert (status, made["users"], "drill" in made) == (1, 1, False)
    assert "MASTER_KEY_REQUIRED" in told
    assert run(capsys, "verify", tmp_path / "a0")[1]["archive"] == made["id"]


def test_over_a_server(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with ServerThread(data, backup_dir=str(tmp_path / "backups")) as server:
        where = ("--server", server.address)
        status, made, _ = run(capsys, "backup", *where, "--to", "a0", "--drill")
        assert (status, made["path"]) == (0, str(tmp_path / "backups" / "a0"))
        assert run(capsys, "drill", made["path"], *where)[0] == 0


def test_what_is_wrong_gives_a_status_and_a_line(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(capsys, "backup", data, "--to", tmp_path / "a0")[0] == 0
    status, _, told = run(capsys, "restore", tmp_path / "a0", "--to", data)
    assert (status, told.partition(":")[0]) == (1, "memdb")
    assert "PATH_EXISTS" in told
    status, _, told = run(capsys, "backup", "--to", tmp_path / "a1")
    assert (status, "BAD_USAGE" in told) == (2, True)
    secret = tmp_path / "a0" / "SECRET"
    secret.write_bytes(bytes(32))
    status, found, _ = run(capsys, "verify", tmp_path / "a0")
    assert (status, found["ok"]) == (1, False)
    assert found["damaged_files"][0]["file"] == "a0/SECRET"
    status, _, told = run(capsys, "restore", tmp_path / "a0", "--to", tmp_path / "copy")
    assert (status, "CHECKSUM" in told, "a0/SECRET" in told) == (1, True, True)


def test_a_drill_that_differs_fails(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with EmbeddedDatabase(data, config=CONFIG) as db:
        fact = db.user("alice").remember("a fact")
        db.backup(tmp_path / "a0")
        db.user("alice").forget(fact.id)
    status, told, _ = run(capsys, "drill", tmp_path / "a0", data)
    assert (status, told["ok"], told["differences"]) == (1, False, [["alice", "facts"]])
