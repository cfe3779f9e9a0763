"""Seed, number of cycles, and the figures of the run at its end, also where several processes share it.

``MEMDB_CRASH_CYCLES``: kills of the real server (default 12; `make crash`: 2,000).
``MEMDB_EMBEDDED_KILLS``: kills of embedded programs in each mode (default 6; `make crash`: 50).
``MEMDB_CRASH_SEED``: which moments; a new one each time.
``MEMDB_CRASH_PART``: ``k/n`` runs the k-th (from 0) of n parts of each harness (`tests.crash.full`); the sizes stay
those of the whole.
A failing test keeps its directory and says how to go there again.
"""

from __future__ import annotations

import os
import random
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.crash.part import PART

CYCLES = int(os.environ.get("MEMDB_CRASH_CYCLES", "12"))
EMBEDDED_KILLS = int(os.environ.get("MEMDB_EMBEDDED_KILLS", "6"))
SEED = int(os.environ.get("MEMDB_CRASH_SEED") or random.SystemRandom().randrange(2**31))
os.environ["MEMDB_CRASH_SEED"] = str(SEED)
"""For the processes of pytest-xdist, which are started after this."""

SIZES = (
    *("CRASH_CYCLES", "EMBEDDED_KILLS", "BACKUP_KILLS", "POWER_STATES", "SYSCALL_FAULTS"),
    *("FAILPOINT_KILLS", "DAMAGES", "ERASE_MARKERS", "BLOCK_POINTS", "CRASH_PART"),
)

_figures: list[str] = []


def _sizes() -> str:
    """How large this run is, as variables of the environment."""
    return "".join(
        f"{name}={value} "
        for name, value in sorted(os.environ.items())
        if name.startswith("MEMDB_") and name.removeprefix("MEMDB_") in SIZES
    )


def figures() -> list[str]:
    """Lines that the end of the run shows."""
    return _figures


@pytest.fixture
def report() -> Callable[[str], None]:
    """Say a figure at the end of the run."""
    return _figures.append


@pytest.fixture
def directory(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Path]:
    """A directory on disk: removed, since a hundred cycles leave much, or kept when the test failed."""
    yield tmp_path
    call = getattr(request.node, "crash_call", None)
    if call is None or not call.failed:
        shutil.rmtree(tmp_path)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    """Let fixtures know how the test ended, and say of one that failed what it leaves and how to run it again."""
    made: pytest.TestReport = yield  # type: ignore[assignment]
    if made.when == "call":
        item.crash_call = made  # type: ignore[attr-defined]
        if made.failed:
            kept = getattr(item, "funcargs", {}).get("tmp_path")
            _figures.append(
                ("" if kept is None else f"kept {kept}; ")
                + f"again: MEMDB_CRASH_SEED={SEED} {_sizes()}python -m pytest '{item.nodeid}'"
            )
    return made  # type: ignore[return-value]


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Hand the figures to the process that started this one, if one did."""
    told = getattr(session.config, "workeroutput", None)
    if told is not None:
        told["crash_figures"] = _figures


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Take the figures of a process that has ended."""
    _figures.extend(getattr(node, "workeroutput", {}).get("crash_figures", ()))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """The figures."""
    if _figures:
        terminalreporter.section(f"crash (seed {SEED}{PART})")
        for line in _figures:
            terminalreporter.write_line(line)


@pytest.fixture
def small_disk(tmp_path: Path, report: Callable[[str], None]) -> Iterator[Path]:
    """A file system of 12 MiB; skipped where one cannot be mounted."""
    mount = tmp_path / "disk"
    mount.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=12m", "memdb-test", str(mount)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True).returncode != 0:
        why = "mounting a small file system needs root, and a kernel that lets it"
        report(f"a full disk: NOT TESTED, {why}")
        pytest.skip(why)
    yield mount
    subprocess.run(["umount", "-l", str(mount)], check=True)
