"""Power goes below a real file system: a block device holds what was flushed to it and any part of the rest.

``MEMDB_BLOCK_POINTS``: crash points on ext4, with four sets of options in turns (default 20; `make crash`: 1,000);
where mkfs.xfs or mkfs.btrfs is installed, an eighth as many on each of them.  An eighth as many at the level
`relaxed`, a tenth after a power loss while ext4 and the database recover.
``MEMDB_CRASH_SEED``: which; a new one each time.

A FUSE file system of one file records what the loop driver hands on (`tests.crash.block.fuse`); the workload, its
expectations and the checker are those of `tests.crash.power`.  Each point is mounted, so that the file system
recovers; the database is opened, compared with all that had been acknowledged, verified and written to again; ext4
then has to pass e2fsck.  Needs root, FUSE, loop devices and namespaces.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest

from tests.crash.block.harness import Result
from tests.crash.block.run import ROOT, missing, run
from tests.crash.block.system import loop_backing
from tests.crash.conftest import SEED

pytestmark = pytest.mark.crash

T = TypeVar("T")

POINTS = int(os.environ.get("MEMDB_BLOCK_POINTS", "20"))
RECOVERIES = max(1, POINTS // 100)
KINDS = {"ext4": POINTS, "xfs": max(4, POINTS // 8), "btrfs": max(4, POINTS // 8)}


def needs(kind: str, report: Callable[[str], None]) -> None:
    """Skip the test where there is no recorded disk to be had."""
    why = missing(kind)
    if why:
        report(f"power loss of a block device, {kind}: NOT TESTED, {why}")
        pytest.skip(why)


def check(what: str, kind: str, count: int, keep: Path, *mutant: str) -> Result:
    """Crash points of a kind of file system."""
    return Result(**run(what, kind, str(count), str(SEED), str(keep), *mutant, timeout_s=7000))


def tell(result: Result, report: Callable[[str], None]) -> None:
    """Fail for any fault, saying how to look again."""
    if result.faults:
        report(f"bad points; again: MEMDB_CRASH_SEED={SEED} MEMDB_BLOCK_POINTS={POINTS}")
    for kept in result.kept:
        report(f"look again: python -m tests.crash.block.run look {kept}")
    assert not result.faults, "\n".join(result.faults[:20])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.timeout(7200)
def test_what_was_acknowledged_outlives_power_loss(
    kind: str, directory: Path, report: Callable[[str], None]
) -> None:
    needs(kind, report)
    result = check("check", kind, KINDS[kind], directory)
    report(f"power loss of a block device, {kind}: {result}")
    tell(result, report)
    assert result.unmounted <= max(1, result.points // 50), "more than the file system's own"
    assert result.acknowledged > 10 * result.points, "most points are of a database in use"


@pytest.mark.timeout(7200)
def test_what_a_relaxed_database_keeps_is_whole(
    directory: Path, report: Callable[[str], None]
) -> None:
    """See `tests.crash.test_power_loss`."""
    needs("ext4", report)
    result = check("relaxed", "ext4", max(4, POINTS // 8), directory)
    report(f"power loss of a block device, relaxed: {result}")
    tell(result, report)


@pytest.mark.timeout(7200)
def test_power_loss_while_it_recovers(directory: Path, report: Callable[[str], None]) -> None:
    """And while the file system does."""
    needs("ext4", report)
    result = check("recover", "ext4", RECOVERIES, directory)
    report(f"power loss of a block device while it recovers: {result}")
    tell(result, report)


@pytest.mark.parametrize("mutant", ["nosync", "latesync"])
@pytest.mark.timeout(600)
def test_lost_syncs_are_noticed(mutant: str, tmp_path: Path, report: Callable[[str], None]) -> None:
    needs("ext4", report)
    result = check("check", "ext4", 200, tmp_path, mutant)
    report(f"power loss of a block device, {mutant}: noticed in point {result.points}")
    assert result.bad, f"{mutant} went unnoticed in {result.points} points"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.timeout(300)
def test_the_record_has_what_was_synced_before_the_mark_that_says_so(
    kind: str, report: Callable[[str], None]
) -> None:
    needs(kind, report)
    assert run("order", kind, timeout_s=120) == []


@pytest.mark.parametrize("victim", ["asker", "inside", "disk"])
@pytest.mark.timeout(300)
def test_a_run_that_is_killed_leaves_nothing(
    victim: str, tmp_path: Path, report: Callable[[str], None]
) -> None:
    """Neither a process nor a loop device; mounts are its own, and go with it."""
    needs("ext4", report)
    keep = str(tmp_path / "keep")
    command = [sys.executable, "-m", "tests.crash.block.run", "check", "ext4", "1000", "1", keep]
    asker = subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        # While it records, so that all of it is there.
        disk, scratch = until(lambda: disk_of(keep))
        inside, _ = until(lambda: next(processes("--inside", keep), None))
        loop = until(lambda: loop_mounted_by(inside))
        backing = until(lambda: loop_backing(loop))
        os.kill({"asker": asker.pid, "inside": inside, "disk": disk}[victim], signal.SIGKILL)
        assert asker.wait(60) != 0
        until(lambda: not list(processes(scratch)))
        until(lambda: loop_backing(loop) != backing)
    finally:
        asker.kill()
        asker.wait()
    assert scratch not in Path("/proc/self/mountinfo").read_text()


def until(found: Callable[[], T | None], timeout_s: float = 60.0) -> T:
    """What is found in the end."""
    deadline_s = time.monotonic() + timeout_s
    while time.monotonic() < deadline_s:
        value = found()
        if value:
            return value
        time.sleep(0.002)
    raise AssertionError("was not to be found in time")


def processes(*arguments: str) -> Iterator[tuple[int, list[str]]]:
    """Python processes that have arguments with these texts: number and arguments."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):  # it has ended
            found = path.read_text().split("\0")
            if found[0] == sys.executable and all(
                any(wanted in argument for argument in found) for wanted in arguments
            ):
                yield int(path.parent.name), found


def disk_of(keep: str) -> tuple[int, str] | None:
    """The process that serves the recorded disk of a run, and the run's scratch directory."""
    for _, arguments in processes("--inside", keep):
        scratch = arguments[arguments.index("--inside") + 1]
        for disk, _ in processes("tests.crash.block.fuse", scratch):
            return disk, scratch
    return None


def loop_mounted_by(process: int) -> str | None:
    """The loop device that is mounted where a process is."""
    found = re.search(r" (/dev/loop\d+) ", Path(f"/proc/{process}/mountinfo").read_text())
    return found and found[1]
