"""What an acknowledgement, a creation and an open rest on, seen from outside the process."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import lmdb
import numpy as np
import pytest

import memdb
from memdb import Clip, DataLoss

CHILD = """
import os, sys
import numpy as np
import memdb
from memdb import Clip
with memdb.open(sys.argv[1]) as db:
    db.create_space("s", dim=4)
    door = db.user("u").stream("door", space="s")
    door.write(Clip(seq=0, start_ns=0, end_ns=1, global_memory=np.ones(4, "f4")))
    os.write(1, b"before\\n")
    door.write(Clip(seq=1, start_ns=1, end_ns=2, global_memory=np.ones(4, "f4")))
    os.write(1, b"acknowledged\\n")
    os._exit(0)
"""


def clip(seq: int) -> Clip:
    return Clip(seq=seq, start_ns=seq, end_ns=seq + 1, global_memory=np.ones(4, np.float32))


def test_an_acknowledgement_follows_a_sync_and_the_clip_is_there(tmp_path: Path) -> None:
    """By the system's own log of the calls of a real process that ends right after it."""
    strace = shutil.which("strace")
    if strace is None:
        assert not os.environ.get("CI"), "install strace"
        pytest.skip("strace is not installed")
    log = tmp_path / "calls"
    calls = "trace=fdatasync,fsync,pwrite64,pwritev,writev,write,openat"
    done = subprocess.run(
        [
            strace,
            "-f",
            "-y",
            "-o",
            str(log),
            "-e",
            calls,
            sys.executable,
            "-c",
            CHILD,
            str(tmp_path / "db"),
        ],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stdout == "before\nacknowledged\n", done.stderr[-2000:]
    lines = log.read_text("utf-8", "replace").splitlines()
    (first,) = [at for at, line in enumerate(lines) if '"before\\n"' in line]
    (last,) = [at for at, line in enumerate(lines) if '"acknowledged\\n"' in line]
    between = [line for line in lines[first:last] if "users" in line and "data.mdb" in line]
    synced = [at for at, line in enumerate(between) if "fdatasync(" in line]
    assert synced, "the commit was not synced before it was acknowledged"
    # LMDB's meta page follows, through a descriptor whose writes are synced.
    assert any("pwrite64(" in line or "writev(" in line for line in between[synced[-1] :])
    with memdb.open(tmp_path / "db") as db:
        assert [found.seq for found in db.user("u").clips()] == [0, 1]


@pytest.mark.parametrize("point", ["create.filling=exit@2", "create.before_rename=exit@2"])
def test_a_user_comes_into_being_by_a_rename(tmp_path: Path, point: str) -> None:
    """Until then there is nothing under its name that an open could trip over."""
    done = subprocess.run(
        [sys.executable, "-c", CHILD, str(tmp_path / "db")],
        env={**os.environ, "MEMDB_FAILPOINTS": point},  # the catalog is made first
        timeout=60,
    )
    assert done.returncode == 137
    with memdb.open(tmp_path / "db") as db:
        assert db.users() == []
        assert db.user("u").stream("door", space="s").write(clip(0)).duplicate is False
        assert db.verify().ok


def test_the_environment_is_opened_with_sync(tmp_path: Path) -> None:
    with memdb.open(tmp_path / "db") as db:
        db.create_space("s", dim=4)
        db.user("u").stream("door", space="s").write(clip(0))
        with db.user("u").memory() as memory:
            flags = memory.environment._mapped.env.flags()
    assert flags["sync"] is True
    assert flags["writemap"] is False


def test_a_page_that_would_end_the_process_is_seen_before_it_is_mapped(tmp_path: Path) -> None:
    with memdb.open(tmp_path / "db") as db:
        db.create_space("s", dim=4)
        door = db.user("u").stream("door", space="s")
        for seq in range(50):
            door.write(clip(seq))
        path = db._directory.user_path("u")
    with lmdb.open(str(path), max_dbs=32, readonly=True, lock=False) as env:
        pages = env.info()["last_pgno"] + 1
    data = bytearray((path / "data.mdb").read_bytes())
    data[2 * 4096 : pages * 4096] = bytes((pages - 2) * 4096)
    (path / "data.mdb").write_bytes(data)
    code = (
        "import memdb, sys\n"
        "db = memdb.open(sys.argv[1])\n"
        "try:\n    db.user('u').clips()\n"
        "except memdb.DataLoss as error:\n    print(error.reason)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "db")],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stdout) == (0, "CORRUPTED\n")
    with memdb.open(tmp_path / "db") as db, pytest.raises(DataLoss):
        db.user("u").clips()
