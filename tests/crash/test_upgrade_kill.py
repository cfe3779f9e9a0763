"""`memdb upgrade`, killed at every step: the directory is the old or the new, and the same command ends it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import memdb
from tests.crash.processes import ROOT
from tests.crash.test_embedded_kill import EXIT, master_key
from tests.crash.test_encrypted_kill import USERS, plant

pytestmark = pytest.mark.crash

POINTS = [
    *(f"before_copied=exit@{n}" for n in (1, 2, 4)),
    *(f"after_copied=exit@{n}" for n in (1, 4)),
    *("before_ready=exit", "after_ready=exit"),
    *(f"{point}=exit@{n}" for point in ("old_gone", "new_there") for n in (1, 2)),
    *("before_format=exit", "after_format=exit"),
]


def run(arguments: list[str], failpoints: str = "") -> int:
    command = [sys.executable, "-m", "memdb.cli.main", "upgrade", *arguments]
    environment = {**os.environ, "MEMDB_FAILPOINTS": failpoints}
    return subprocess.run(
        command, cwd=ROOT, env=environment, check=False, capture_output=True
    ).returncode


def check(data: Path, key: Path | None) -> None:
    with memdb.open(data, master_key_file=key) as db:
        assert db.verify().ok
        assert db.users() == list(USERS)
        for user in USERS:
            clips = db.user(user).clips(limit=9)
            assert [clip.seq for clip in clips] == [0, 1, 2, 3]
            assert len(db.user(user).short_memory([clip.id for clip in clips])) == 4


# Every other time somebody opens the directory before the command is given again.
@pytest.mark.parametrize(
    ("point", "opened_between"), [(point, bool(n % 2)) for n, point in enumerate(POINTS)]
)
def test_a_decryption_that_was_killed_goes_on(
    directory: Path, point: str, opened_between: bool
) -> None:
    key, data = master_key(directory), directory / "data"
    plant(data, key)
    arguments = [str(data), "--master-key-file", str(key), "--decrypt"]

    assert run(arguments, f"upgrade.{point}") == EXIT
    if opened_between:
        decided = not point.startswith(("before_copied", "after_copied", "before_ready"))
        check(data, None if decided else key)
    assert run(arguments) == 0

    check(data, None)
    assert list(data.rglob("KEY")) == []
    assert list((data / "trash").iterdir()) == []
    assert not (data / ".upgrade").exists()
