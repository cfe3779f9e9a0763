"""A child of a fork that closes its copy of an open database: every file, and every lock, is its parent's."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.engine.test_kept_index import opened, told

_GROWN = """
import os, sys, threading
from pathlib import Path
from memdb.engine import kept_index
from tests.unit.engine.test_kept_index import DIM, clip, opened

def files(folder):
    return sorted((one.name, one.stat().st_ino, one.stat().st_size) for one in folder.iterdir())

def closed_in_a_child(db):
    pid = os.fork()
    if not pid:
        db.close()
        db.close()
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

db = opened(Path(sys.argv[1]))
db.create_space("s", dim=DIM)
door = db.user("u").stream("cam", space="s")
door.write_many([clip(seq) for seq in range(40)])
folder = db._directory.user_path("u")
"""

_GROWN_SINCE = """
db._users._upkeep.close()  # what it wrote would be taken for the child's
for name in ("INDEX", ".new-INDEX"):
    (folder / name).unlink(missing_ok=True)
db._users.open_memories()[0][1].kept._counted = 0
before = files(folder)
assert closed_in_a_child(db) == 0
assert files(folder) == before, (before, files(folder))
"""

_WRITES_ONE = """
db._users._upkeep.close()
begun, goes_on = threading.Event(), threading.Event()

def and_wait(file):
    begun.set()
    assert goes_on.wait(60)

kept_index.SYNCED_BYTES = 1
kept_index.sync_so_far = and_wait
kept = db._users.open_memories()[0][1].kept
kept._counted, kept._not_before = 0, 0.0
writer = threading.Thread(target=kept.maintain, args=(lambda: False,))
writer.start()
assert begun.wait(60)
before = files(folder)
assert ".new-INDEX" in [name for name, *_ in before]
assert closed_in_a_child(db) == 0
assert files(folder) == before, (before, files(folder))
goes_on.set()
writer.join(60)
assert (folder / "INDEX").exists()
"""

_GOES_ON = """
door.write_many([clip(seq) for seq in range(40, 50)])
db.close()
"""

_LIVES_ON = """
is_closed, closed = os.pipe()
may_end, end = os.pipe()
pid = os.fork()
if not pid:
    os.close(end)
    db.close()
    os.write(closed, b".")
    os.read(may_end, 1)
    os._exit(0)
os.read(is_closed, 1)
db.close()
with opened(Path(sys.argv[1])) as again:
    assert again.verify().ok
os.close(end)
assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
"""


def done(program: str, folder: Path) -> None:
    """Run a program to its end."""
    ran = subprocess.run(
        [sys.executable, "-c", program, str(folder)],
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr


@pytest.mark.parametrize("meanwhile", [_GROWN_SINCE, _WRITES_ONE], ids=["grown", "writes_one"])
def test_a_child_leaves_every_file_as_it_is(tmp_path: Path, meanwhile: str) -> None:
    """A checkpoint that the parent lacks, and one that a thread of the parent is writing, whose lock nobody gives
    back in the child."""
    done(_GROWN + meanwhile + _GOES_ON, tmp_path)
    with opened(tmp_path) as db:
        assert len(db.user("u").clips(limit=100)) == 50
        assert told(db)
        assert db.verify().ok


def test_the_directory_is_free_though_a_child_that_closed_it_lives(tmp_path: Path) -> None:
    done(_GROWN + _LIVES_ON, tmp_path)
