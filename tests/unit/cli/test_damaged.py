"""Commands on a directory that is damaged: what the engine has to say is a line each."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from memdb.clock import ManualClock
from tests.forked.command import run_command
from tests.unit.engine.damaged import change, flipped_value, made

COMMANDS = {
    "verify": (),
    "users": (),
    "gaps": ("--user", "alice"),
    "export": ("--to", "out", "--user", "alice"),
}


@pytest.mark.parametrize("table", ["clips", "streams"])
@pytest.mark.parametrize("verb", COMMANDS)
def test_damage_is_told_in_lines(tmp_path: Path, verb: str, table: str) -> None:
    path = made(tmp_path, ManualClock())
    # In streams: everything hangs on it, and the user cannot be opened.
    change(path, table, 0, flipped_value)
    # In a process of its own: pytest takes what is logged.
    done = run_command("memdb.cli.main", verb, "data", *COMMANDS[verb], folder=tmp_path)
    assert done.returncode == 1
    lines = done.stderr.splitlines()
    assert [line for line in lines if not line.startswith("memdb: ")] == []
    what = {"clips": "damage was found, and is kept apart", "streams": "a user cannot be opened"}
    assert sum(line.startswith(f"memdb: {what[table]}: user alice") for line in lines) == 1
    assert len(lines) <= 2


def test_a_compaction_tells_damage_once_for_each_opening(tmp_path: Path) -> None:
    path = made(tmp_path, ManualClock())
    change(path, "clips", 0, flipped_value)
    done = run_command("memdb.cli.main", "compact", "data", "--user", "alice", folder=tmp_path)
    assert done.returncode == 0
    lines = done.stderr.splitlines()
    # Of the file as it was, and of the one that was made of it.
    assert len(lines) == 2
    assert all(line.startswith("memdb: damage was found, and is kept apart") for line in lines)


def test_a_program_that_set_up_no_logging_is_told_whom_a_warning_is_about(tmp_path: Path) -> None:
    program = """
import memdb, numpy as np
with memdb.open("data") as db:
    db.create_space("cam", dim=2)
    porch = db.user("alice").stream("porch", space="cam")
    porch.write(memdb.Clip(seq=0, start_ns=0, end_ns=1, global_memory=np.ones(2, np.float32)))
    porch.set_retention(memdb.Retention(max_age_s=60))
    db.sweep()
"""
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    (line,) = done.stderr.splitlines()
    assert line.startswith("the wall clock is ahead of what can be believed: user alice, by_s ")
