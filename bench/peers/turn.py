"""One engine's turn: the driver in its environment, apart from everything else, within a time."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.peers import isolation
from bench.peers.install import python_of
from bench.peers.registry import ALL
from bench.peers.work import Work

ROOT = Path(__file__).parents[2]
TURN_S = 1800.0
_SHOWN_CHARS = 4000
"""Of what a driver that failed has said last."""


@dataclass(frozen=True, slots=True)
class Turn:
    """What came of it."""

    name: str
    state: str
    """ran, failed or absent."""
    reason: str = ""
    figures: dict[str, float] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """As people write it."""
        return str(self.facts.get("title", self.name))


def take_turn(name: str, work: Work, folder: Path) -> Turn:
    """Let an engine do the work below ``folder``, which is gone afterwards."""
    entry = ALL[name]
    apart = isolation.prefix()
    python: Path | None = Path(sys.executable)
    paths = [str(ROOT)]
    if entry.environment is None:
        paths.append(str(ROOT / "clients" / "python"))
    else:
        python = python_of(entry.environment)
    if python is None:
        return Turn(name, "absent", f"not installed: python -m bench.peers.install {name}")
    if entry.listens_everywhere and not apart:
        return Turn(
            name, "absent", "it listens on every address, and no network apart can be made here"
        )
    folder.mkdir()
    out, log = folder.with_suffix(".json"), folder.with_suffix(".stderr")
    with log.open("wb") as said:
        driver = subprocess.Popen(
            [
                *(*apart, str(python), "-m", "bench.peers.driver"),
                *(name, str(work.folder), str(folder), str(out)),
            ],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
            stdin=subprocess.DEVNULL,
            stdout=sys.stderr,
            stderr=said,
            start_new_session=True,
        )
    try:
        turn = _result(name, driver, out)
    finally:
        _end(driver)
        shutil.rmtree(folder, ignore_errors=True)
    if turn.state == "failed":
        print(log.read_text("utf-8", "replace")[-_SHOWN_CHARS:], file=sys.stderr)
    for path in (out, log):
        path.unlink(missing_ok=True)
    return turn


def _result(name: str, driver: subprocess.Popen[bytes], out: Path) -> Turn:
    try:
        status = driver.wait(TURN_S)
    except subprocess.TimeoutExpired:
        return Turn(name, "failed", f"not done within {TURN_S:g} s")
    if not out.exists():
        return Turn(name, "failed", f"its driver ended with status {status}")
    return Turn(name=name, **json.loads(out.read_text("utf-8")))


def _end(driver: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):  # it has ended, and all that it started
        os.killpg(driver.pid, signal.SIGKILL)
    driver.wait()
