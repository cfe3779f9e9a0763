"""A process with little memory writes and reads much more than that."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.crash.processes import ROOT

pytestmark = pytest.mark.crash

GROUPS = Path("/sys/fs/cgroup/memory")
LIMIT_BYTES = 512 << 20
CHILD = """
import os, sys
open(sys.argv[2] + "/cgroup.procs", "w").write(str(os.getpid()))
import numpy as np, memdb
from memdb import Clip, Retention
memory = np.random.default_rng(0).standard_normal((64, 1536)).astype("f2")
vectors = np.random.default_rng(1).standard_normal((4000, 1536)).astype("f4")
with memdb.open(sys.argv[1]) as db:
    db.create_space("s", dim=1536)
    door = db.user("u").stream("door", space="s")
    with door.ingest() as writer:
        for seq in range(4000):
            writer.send(Clip(seq=seq, start_ns=seq, end_ns=seq + 1, global_memory=vectors[seq], short_memory=memory))
    for seq in range(0, 4000, 100):
        (hit,) = db.user("u").ground(vectors[seq], limit=1, with_short_memory=True).hits
        assert hit.clip.seq == seq
    door.set_retention(Retention(max_clips=2000))
    assert db.sweep().clips == 2000
with memdb.open(sys.argv[1]) as db:
    assert db.verify().ok
print("lived")
"""


@pytest.mark.timeout(120)
def test_eight_hundred_megabytes_in_a_group_of_five_hundred(
    tmp_path: Path, report: Callable[[str], None]
) -> None:
    group = GROUPS / f"memdb-test-{os.getpid()}"
    try:
        group.mkdir()
        (group / "memory.limit_in_bytes").write_text(str(LIMIT_BYTES))
    except OSError as error:
        # The kernel's and the container's to allow: there is nothing to install.
        why = f"no memory group can be made here: {error.strerror}"
        report(f"512 MB of memory: NOT TESTED, {why}")
        pytest.skip(why)
    try:
        done = subprocess.run(
            [sys.executable, "-c", CHILD, str(tmp_path / "db"), str(group)],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=110,
        )
        most = int((group / "memory.max_usage_in_bytes").read_text())
    finally:
        group.rmdir()
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout == "lived\n"
    assert most <= LIMIT_BYTES
    report(f"512 MB of memory: lived, {most >> 20} MB at most")
