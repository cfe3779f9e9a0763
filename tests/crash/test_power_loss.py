"""Power goes at any moment, and the disk holds what it had to and any part of the rest.

``MEMDB_POWER_STATES``: disks that are looked at (default 300; `make crash`: 20,000, of which a fifteenth after a
power loss while it recovers and a third after a kill; a fortieth more at the level `relaxed`).
``MEMDB_CRASH_SEED``: which; a new one each time.
See `tests.crash.power` for how they are made: `recorder`, `disk`, `states`, `check`.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.crash.conftest import SEED
from tests.crash.part import PART
from tests.crash.power.harness import (
    Result,
    build_recorder,
    check_all,
    check_recoveries,
    checkers,
    naming_steps,
    record,
    record_after_kill,
)
from tests.crash.power.log import Expected

pytestmark = pytest.mark.crash

STATES = int(os.environ.get("MEMDB_POWER_STATES", "300"))
NOTICED_FROM = 1
"""The seed of what must be noticed: no matter of luck."""
FULL = 2000
"""From so many on those after kills and of recoveries are counted in."""
OF_PROGRAM = STATES * 58 // 100 if STATES >= FULL else STATES
OF_RECOVERIES = max(3, STATES // 300), 20
"""Recordings of recoveries, and disks of each."""
OF_RELAXED = max(60, STATES // 40)
OF_KILL = max(8, STATES // 540)
"""Disks after each of some 185 kills."""
OF_ONE_RECORDING = 2000


@pytest.fixture
def scratch() -> Iterator[Path]:
    """Memory, where there is some: what is synced here need not outlive the machine."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
        yield Path(folder).resolve()


@pytest.fixture(scope="module")
def recorder() -> Iterator[Path]:
    """Of all tests: each process that the programs are forked from is started with it."""
    if shutil.which("gcc") is None:
        assert not os.environ.get("CI"), "install gcc"
        pytest.skip("needs gcc")
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
        yield build_recorder(Path(folder).resolve())


@pytest.mark.timeout(7200)
def test_what_was_acknowledged_outlives_power_loss(
    recorder: Path, scratch: Path, directory: Path, report: Callable[[str], None]
) -> None:
    result = Result()
    count = PART.share(OF_PROGRAM)
    with checkers(scratch) as crew:
        while result.states < count:
            seed = SEED + result.recordings
            check_all(
                record(recorder, scratch / "work", seed),
                min(OF_ONE_RECORDING, count - result.states),
                seed,
                crew=crew,
                keep=directory,
                result=result,
            )
    report(f"power loss: {result}")
    tell(result, report)
    assert result.acknowledged > 10 * result.states, "most states are of a database in use"


@pytest.mark.timeout(7200)
def test_power_loss_while_it_recovers(
    recorder: Path, scratch: Path, directory: Path, report: Callable[[str], None]
) -> None:
    result = Result()
    with checkers(scratch) as crew:
        check_recoveries(
            recorder,
            record(recorder, scratch / "work", SEED),
            *OF_RECOVERIES,
            SEED,
            crew=crew,
            keep=directory,
            result=result,
        )
    report(f"power loss while it recovers: {result}")
    tell(result, report)


@pytest.mark.timeout(7200)
def test_names_that_a_killed_process_left_unsynced(
    recorder: Path, scratch: Path, directory: Path, report: Callable[[str], None]
) -> None:
    """Killed between naming something and syncing the name; the next process sees the name, and makes it
    outlive a power loss before anything rests on it."""
    result = Result()
    recording = record(recorder, scratch / "work", SEED)
    steps = naming_steps(recording, all_kinds=STATES >= FULL)
    with checkers(scratch) as crew:
        for step in steps:
            check_all(
                record_after_kill(recorder, scratch / "work", recording, step),
                OF_KILL,
                SEED + step,
                crew=crew,
                keep=directory / f"killed-{step}",
                result=result,
                begin=step,
            )
    report(f"killed at {len(steps)} names, then power loss: {result}")
    tell(result, report)
    assert len(steps) >= 10


@pytest.mark.timeout(7200)
def test_what_a_relaxed_database_keeps_is_whole(
    recorder: Path, scratch: Path, directory: Path, report: Callable[[str], None]
) -> None:
    """Its newest commits may be undone, each user's to a state that it once had; erasures never are."""
    result = Result()
    with checkers(scratch) as crew:
        check_all(
            record(recorder, scratch / "work", SEED, durability="relaxed"),
            OF_RELAXED,
            SEED,
            crew=crew,
            keep=directory,
            result=result,
        )
    report(f"power loss, relaxed: {result}")
    tell(result, report)


@pytest.mark.parametrize("mutant", ["", "nosync"])
def test_a_relaxed_database_is_seen_to_lose(
    mutant: str, recorder: Path, scratch: Path, tmp_path: Path, report: Callable[[str], None]
) -> None:
    """Without syncs it is not whole; with them it is undone, which a durable one must not be."""
    result = Result()
    recording = record(recorder, scratch / "work", NOTICED_FROM, mutant, durability="relaxed")
    if not mutant:
        recording = replace(recording, expected=Expected())
    with checkers(scratch) as crew:
        check_all(
            recording,
            300,
            NOTICED_FROM,
            crew=crew,
            keep=tmp_path,
            result=result,
            stop_at_first=True,
        )
    report(f"power loss, relaxed {mutant}: noticed in state {result.states}")
    assert result.bad, f"unnoticed in {result.states} states"


@pytest.mark.parametrize("mutant", ["nosync", "latesync", "nodirsync", "nofilesync"])
def test_lost_syncs_are_noticed(
    mutant: str, recorder: Path, scratch: Path, tmp_path: Path, report: Callable[[str], None]
) -> None:
    result = Result()
    with checkers(scratch) as crew:
        check_all(
            record(recorder, scratch / "work", NOTICED_FROM, mutant),
            300,
            NOTICED_FROM,
            crew=crew,
            keep=tmp_path,
            result=result,
            stop_at_first=True,
        )
    report(f"power loss, {mutant}: noticed in state {result.states}")
    assert result.bad, f"{mutant} went unnoticed in {result.states} states"


def tell(result: Result, report: Callable[[str], None]) -> None:
    """Fail for any fault, saying how to look again."""
    if result.faults:
        report(f"bad states; again: MEMDB_CRASH_SEED={SEED} MEMDB_POWER_STATES={STATES}")
    for kept in result.kept:
        report(f"look again: python -m tests.crash.power.check {kept}")
    assert not result.faults, "\n".join(result.faults[:20])
