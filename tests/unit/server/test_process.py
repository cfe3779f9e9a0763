"""The allocator takes what it is told, where there is one; a process opens as many files as it may."""

from __future__ import annotations

import platform
import subprocess
import sys
from pathlib import Path

import pytest


def test_glibc_takes_every_setting() -> None:
    # In a process of its own: the settings are for life.
    code = "from memdb.server.process import keep_memory; print(keep_memory())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(platform.libc_ver()[0] == "glibc")


@pytest.mark.timeout(300)  # hundreds of commits, on a disk that others use
def test_open_users_are_bounded_by_open_files(tmp_path: Path) -> None:
    """With room for 256 files, 600 users are written and read all the same."""
    code = f"""
import resource
resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256))
import numpy as np, memdb
from memdb.engine.slots import room
from memdb.server.process import raise_file_limit
assert raise_file_limit() == 256 and room() == 40
with memdb.open({str(tmp_path / "data")!r}) as db:
    db.create_space("s", dim=4)
    for n in range(600):
        clip = memdb.Clip(seq=0, start_ns=n, end_ns=n + 1, global_memory=np.ones(4, "f4"))
        db.user(f"u{{n}}").stream("c", space="s").write(clip)
    assert all(len(db.user(f"u{{n}}").clips()) == 1 for n in range(600))
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_process_may_open_as_many_files_as_it_may_ask_for() -> None:
    code = """
import resource
from memdb.server.process import raise_file_limit
resource.setrlimit(resource.RLIMIT_NOFILE, (100, 200))
assert raise_file_limit() == 200
assert resource.getrlimit(resource.RLIMIT_NOFILE) == (200, 200)
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_what_was_loaded_is_not_looked_through_for_cycles() -> None:
    # In a process of its own: what is set aside stays so.
    code = """
import gc
from memdb.server.process import begin_collecting, collecting_later
class Link: pass
def cycle():
    one = Link()
    one.itself = one
with collecting_later():
    assert not gc.isenabled()
    begin_collecting()
    assert gc.isenabled()
    loaded = gc.get_freeze_count()
    assert loaded > 1000 and len(gc.get_objects()) < loaded
    cycle()
    assert gc.collect() > 0
with collecting_later():
    assert not gc.isenabled()
assert gc.isenabled()
gc.disable()
with collecting_later():
    pass
assert not gc.isenabled()
"""
    subprocess.run([sys.executable, "-c", code], check=True)
