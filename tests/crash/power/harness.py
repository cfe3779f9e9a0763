"""Records the workload, draws crashes, and has the states checked by child processes."""

from __future__ import annotations

import json
import os
import selectors
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from tests.crash.power.log import Event, read_log
from tests.crash.power.states import Crash, draw, states

ROOT: Final = Path(__file__).resolve().parents[3]
CHECK_TIMEOUT_S: Final = 60.0
KEPT_MAX: Final = 5
"""Failing states of a run that are kept."""


@dataclass(frozen=True, slots=True)
class Recording:
    """What one run of the workload asked of the file system."""

    root: str
    events: list[Event]
    seed: int


@dataclass(slots=True)
class Result:
    """Figures over all states of a run."""

    states: int = 0
    recordings: int = 0
    events: int = 0
    acknowledged: int = 0
    """Steps acknowledged before the crash, over all states."""
    bad: int = 0
    faults: list[str] = field(default_factory=list)
    kept: list[Path] = field(default_factory=list)
    began_s: float = field(default_factory=time.monotonic)

    def __str__(self) -> str:
        rate = self.states / (time.monotonic() - self.began_s)
        return (
            f"power loss: states {self.states}  bad {self.bad}  recordings {self.recordings}  "
            f"events {self.events}  acknowledged steps looked for {self.acknowledged}  "
            f"{rate:.0f} states/s"
        )


def build_recorder(where: Path) -> Path:
    """Compile `recorder.c`."""
    library = where / "recorder.so"
    source = Path(__file__).with_name("recorder.c")
    command = ["gcc", "-shared", "-fPIC", "-O2", "-o", str(library), str(source), "-lpthread"]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    return library


def record(recorder: Path, where: Path, seed: int, mutant: str = "") -> Recording:
    """Run the workload in a new directory; what it did."""
    root = where / "root"
    root.mkdir(parents=True)
    log, mark = where / "log", where / "mark"
    data = root / "srv" / "data"
    subprocess.run(
        [sys.executable, "-m", "tests.crash.power.workload", data, mark, str(seed)],
        cwd=ROOT,
        env={
            **os.environ,
            "LD_PRELOAD": str(recorder),
            "POWER_ROOT": str(root),
            "POWER_LOG": str(log),
            "POWER_MARK": str(mark),
            "MEMDB_POWER_MUTANT": mutant,
        },
        check=True,
        timeout=120,
    )
    recording = Recording(str(root), read_log(log), seed)
    shutil.rmtree(where)
    return recording


class Checker:
    """One `check.py`, started anew after a state that killed it."""

    def __init__(self, where: Path) -> None:
        self.folder = where
        self._process: subprocess.Popen[bytes] | None = None
        self.asked: Crash | None = None
        self.asked_s = 0.0

    def start(self) -> subprocess.Popen[bytes]:
        """The process."""
        if self._process is None:
            with (self.folder.parent / f"{self.folder.name}.err").open("wb") as told:
                self._process = subprocess.Popen(
                    [sys.executable, "-m", "tests.crash.power.check"],
                    cwd=ROOT,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=told,
                )
        return self._process

    def ask(self, crash: Crash, expected: dict[str, Any]) -> None:
        """Have what is in `folder` checked."""
        process = self.start()
        assert process.stdin is not None
        self.asked, self.asked_s = crash, time.monotonic()
        line = {"path": str(self.folder / "srv" / "data"), "expected": expected}
        process.stdin.write(json.dumps(line).encode() + b"\n")
        process.stdin.flush()

    def answer(self) -> list[str]:
        """The faults; a process that died or hung is one."""
        process = self.start()
        assert process.stdout is not None
        self.asked = None
        with selectors.DefaultSelector() as waiting:
            waiting.register(process.stdout, selectors.EVENT_READ)
            silent = not waiting.select(CHECK_TIMEOUT_S)
        line = b"" if silent else process.stdout.readline()
        if line:
            faults: list[str] = json.loads(line)
            return faults
        self.close()
        told = (self.folder.parent / f"{self.folder.name}.err").read_text("utf-8", "replace")
        how = "hangs" if silent else f"ended with {process.returncode}"
        return [f"the process {how}: {told[-300:].strip()}"]

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None


def check_all(
    recording: Recording,
    count: int,
    seed: int,
    *,
    scratch: Path,
    keep: Path,
    result: Result,
    checkers: int = 1,
    stop_at_first: bool = False,
) -> None:
    """Draw ``count`` crashes of a recording, and have each state checked."""
    crew = [Checker(scratch / f"state-{n}") for n in range(checkers)]
    result.recordings += 1
    result.events += len(recording.events)

    def take(checker: Checker) -> None:
        crash = checker.asked
        assert crash is not None, "it was asked"
        faults = checker.answer()
        shutil.rmtree(checker.folder, ignore_errors=True)
        result.states += 1
        if faults:
            result.bad += 1
            result.faults += [f"{crash}: {fault}" for fault in faults[:3]]
            if len(result.kept) < KEPT_MAX:
                result.kept.append(_keep(recording, crash, keep / f"state-{result.bad}", faults))

    try:
        for state in states(recording.root, recording.events, draw(recording.events, seed, count)):
            checker = _free(crew)
            if checker.asked is not None:
                take(checker)
            if stop_at_first and result.bad:
                break
            state.materialise(checker.folder)
            result.acknowledged += state.expected.acknowledged
            checker.ask(state.crash, state.expected.to_json())
        for checker in crew:
            if checker.asked is not None:
                take(checker)
    finally:
        for checker in crew:
            checker.close()


def _free(crew: Sequence[Checker]) -> Checker:
    """A checker that is free, or has answered, or was asked first."""
    for checker in crew:
        if checker.asked is None:
            return checker
    with selectors.DefaultSelector() as waiting:
        for checker in crew:
            waiting.register(checker.start().stdout or -1, selectors.EVENT_READ, checker)
        for key, _ in waiting.select(CHECK_TIMEOUT_S):
            found: Checker = key.data
            return found
    return min(crew, key=lambda checker: checker.asked_s)


def _keep(recording: Recording, crash: Crash, where: Path, faults: Sequence[str]) -> Path:
    """Make a failing state again, with what was wrong and how it came about."""
    where.mkdir(parents=True)
    for state in states(recording.root, recording.events, [crash]):
        state.materialise(where / "root")
        (where / "expected.json").write_text(json.dumps(state.expected.to_json()))
    (where / "faults.txt").write_text(
        "\n".join((str(crash), *faults, "", *_last(recording, crash)))
    )
    return where


def _last(recording: Recording, crash: Crash) -> Iterator[str]:
    """The events before the crash."""
    for event in recording.events[max(0, crash.after - 60) : crash.after]:
        size = len(event.data)
        told = event.data[:200].decode("utf-8", "replace") if event.kind == "!" else f"{size} bytes"
        yield f"{event.kind} fd {event.fd} {event.path} {event.other} at {event.offset}: {told}"
