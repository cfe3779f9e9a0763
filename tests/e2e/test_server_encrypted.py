"""`memdb serve` of an encrypted directory: written, killed, restarted, backed up; refused without its key."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import pytest

from memdb_client import connect
from tests.e2e.serving import DIM, clip
from tests.e2e.test_server_process import memdb, refused, serve

pytestmark = pytest.mark.e2e

WORD = "a-word-in-a-label"


@pytest.fixture
def key(tmp_path: Path) -> Path:
    path = tmp_path / "master.key"
    path.touch(mode=0o600)
    path.write_text("5a" * 32)
    return path


def ran(*arguments: str | Path) -> tuple[int, dict[str, Any], str]:
    """(exit status, what is printed, stderr) of a command."""
    done = memdb(*arguments)
    return done.returncode, json.loads(done.stdout) if done.stdout else {}, done.stderr


def test_written_killed_restarted_read_and_restored(tmp_path: Path, key: Path) -> None:
    data, backups = tmp_path / "data", tmp_path / "backups"
    backups.mkdir()
    options = ("--master-key-file", key, "--backup-dir", backups)
    with serve(data, *options) as server:
        with connect(server.address) as db:
            db.create_space("cam", dim=DIM)
            door = db.user("alice").stream("door", space="cam")
            for seq in range(4):
                assert not door.write(clip(seq, labels={"said": WORD})).duplicate
            db.backup("monday")
        server.process.kill()
    files = [path for path in data.rglob("*") if path.is_file()]
    assert not any(WORD.encode() in path.read_bytes() for path in files)
    with serve(data, *options) as server:
        with connect(server.address) as db:
            user = db.user("alice")
            assert [found.labels["said"] for found in user.clips()] == [WORD] * 4
            assert user.stream("door").write(clip(0, labels={"said": WORD})).duplicate
            user.stream("door").write(clip(4))
            assert db.backup("tuesday", parent="monday").incremental == 1
        archive = backups / "tuesday"
        status, found, _ = ran(
            "drill", archive, "--server", server.address, "--master-key-file", key
        )
        assert (status, found["ok"]) == (0, True)
        assert ran("drill", archive, "--server", server.address)[0] == 1
        assert server.stop(signal.SIGTERM)[0] == 0
    assert ran("verify", data, "--master-key-file", key)[0] == 0
    copy = tmp_path / "copy"
    assert ran("restore", archive, "--to", copy, "--master-key-file", key)[0] == 0
    with serve(copy, "--master-key-file", key) as server, connect(server.address) as db:
        assert [found.seq for found in db.user("alice").clips()] == [0, 1, 2, 3, 4]


def test_it_is_refused_without_its_key(tmp_path: Path, key: Path) -> None:
    data, other = tmp_path / "data", tmp_path / "other.key"
    other.touch(mode=0o600)
    other.write_text("a5" * 32)
    with serve(data, "--master-key-file", key) as server:
        server.stop()
    with serve(tmp_path / "plain") as server:
        server.stop()
    where = ("--data", data, "--listen", "127.0.0.1:0")
    assert "MASTER_KEY_REQUIRED" in refused(*where)
    assert "MASTER_KEY_MISMATCH" in refused(*where, "--master-key-file", other)
    assert "FILE_NOT_FOUND" in refused(*where, "--master-key-file", tmp_path / "none")
    # As from a variable that is not set.
    assert "BAD_MASTER_KEY" in refused(*where, "--master-key-file", "", status=2)
    assert not (tmp_path / "new").exists()
    new = ("--data", tmp_path / "new", "--listen", "127.0.0.1:0")
    assert "BAD_MASTER_KEY" in refused(*new, "--master-key-file", "", status=2)
    assert not (tmp_path / "new").exists()
    plain = ("--data", tmp_path / "plain", "--listen", "127.0.0.1:0")
    assert "NOT_ENCRYPTED" in refused(*plain, "--master-key-file", key)
    key.chmod(0o644)
    assert "MASTER_KEY_EXPOSED" in refused(*where, "--master-key-file", key)
