"""A child of a fork that closes what its parent has open, as it leaves a block: the file is the parent's."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

_FORKING = """
import os, sys
from pathlib import Path
from memdb.store import blocks_ahead, structure
blocks_ahead.FILE_PARTS = 1
from memdb.store.creation import create_environment
from tests.unit.store.test_blocks_ahead import CONFIG, USER_TABLES, write

environment = create_environment(Path(sys.argv[1]), USER_TABLES, CONFIG, lambda _: None)
for commit in range(6):
    write(environment, 20 * commit, 20, 100_000)

def cut(*_):
    # What the parent writes between the look at the size and this would be lost.
    os._exit(3)

def mark(*_):
    os._exit(4)

pid = os.fork()
if not pid:
    os.ftruncate = cut
    from memdb.store import file_mark
    file_mark.mark_clean = mark
    environment.close()
    os._exit(0)
_, status = os.waitpid(pid, 0)
write(environment, 200, 20, 100_000)
environment.close()
sys.exit(os.waitstatus_to_exitcode(status))
"""


def test_a_child_neither_cuts_its_parents_file_off_nor_says_it_is_closed(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _FORKING, str(tmp_path / "a")],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
