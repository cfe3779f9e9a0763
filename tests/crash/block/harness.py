"""Mounts what a disk held after power went, and has the database on it checked."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from tests.crash.block.file_systems import FILE_SYSTEMS, FileSystem
from tests.crash.block.recording import Crash, Recording, State, draw, record, states
from tests.crash.block.system import loop_device, mount, unmount
from tests.crash.power.harness import Checker

OF_ONE_RECORDING: Final = 250
KEPT_MAX: Final = 5
"""Failing states of a run that are kept."""


@dataclass(slots=True)
class Result:
    """Figures over all crash points of a run."""

    points: int = 0
    bad: int = 0
    recordings: int = 0
    writes: int = 0
    flushes: int = 0
    acknowledged: int = 0
    """Steps acknowledged before the crash, over all points."""
    unflushed: int = 0
    """Writes since the last flush, over all points."""
    faults: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    processor_s: float = 0.0
    """Of this process and all that it waited for."""

    def __str__(self) -> str:
        return (
            f"crash points {self.points}  bad {self.bad}  recordings {self.recordings}  writes {self.writes}  "
            f"flushes {self.flushes}  unflushed writes {self.unflushed}  "
            f"acknowledged steps looked for {self.acknowledged}  processor {self.processor_s:.0f} s"
        )

    def to_json(self) -> dict[str, Any]:
        """For the process that asked."""
        return asdict(self)


def check_all(
    kind: str,
    count: int,
    seed: int,
    *,
    where: Path,
    keep: Path,
    mutant: str = "",
    stop_at_first: bool = False,
) -> Result:
    """So many crash points of recordings on file systems of a kind; ``where``: a place in memory."""
    result = Result()
    image, mounted = where / "crashed", where / "checked"
    mounted.mkdir()
    with closing(Checker(mounted)) as checker:
        while result.points < count and not (stop_at_first and result.bad):
            file_systems = FILE_SYSTEMS[kind]
            file_system = file_systems[(seed + result.recordings) % len(file_systems)]
            recording = record(
                file_system, where / "recording", seed + result.recordings, mutant=mutant
            )
            result.recordings += 1
            result.writes += sum(event.kind == "W" for event in recording.events)
            result.flushes += sum(event.kind == "S" for event in recording.events)
            few = min(OF_ONE_RECORDING, count - result.points)
            for state in states(recording, draw(recording.events, seed + result.recordings, few)):
                state.device.materialise(image, state.crash.fate)
                faults = faults_of(file_system, image, checker, state.expected.to_json())
                _count(result, recording, state, faults, keep)
                if stop_at_first and result.bad:
                    break
            shutil.rmtree(where / "recording")
    return result


def faults_of(
    file_system: FileSystem, image: Path, checker: Checker, expected: dict[str, Any]
) -> list[str]:
    """What is wrong with the database on an image; an image that cannot be mounted is one."""
    try:
        with _mounted(file_system, image, checker.folder):
            checker.ask(None, expected)
            faults = checker.answer()
            if faults:
                # Whatever it holds there would keep it from being unmounted.
                checker.close()
    except OSError as error:
        return [f"not mounted: {error}"]
    wrong = file_system.damage(image)
    return [*faults, f"file system: {wrong}"] if wrong else faults


@contextmanager
def _mounted(file_system: FileSystem, image: Path, mounted: Path) -> Iterator[None]:
    with loop_device(image) as device:
        mount(device, mounted, file_system.kind, file_system.options)
    try:
        yield
    finally:
        unmount(mounted)


def _count(
    result: Result, recording: Recording, state: State, faults: Sequence[str], keep: Path
) -> None:
    result.points += 1
    result.acknowledged += state.expected.acknowledged
    result.unflushed += len(state.device.pending)
    if not faults:
        return
    result.bad += 1
    result.faults += [f"{recording.file_system}, {state.crash}: {fault}" for fault in faults[:3]]
    if len(result.kept) < KEPT_MAX:
        result.kept.append(str(_keep(recording, state, keep / f"point-{result.bad}", faults)))


def _keep(recording: Recording, state: State, where: Path, faults: Sequence[str]) -> Path:
    """Make a failing image again, with what was wrong and how it came about."""
    where.mkdir(parents=True)
    state.device.materialise(where / "image", state.crash.fate)
    (where / "expected.json").write_text(json.dumps(state.expected.to_json()))
    file_system = recording.file_system
    (where / "file_system.json").write_text(json.dumps([file_system.kind, file_system.options]))
    (where / "faults.txt").write_text(
        "\n".join((str(state.crash), *faults, "", *_last(recording, state.crash)))
    )
    return where


def _last(recording: Recording, crash: Crash) -> Iterator[str]:
    """The events before the crash."""
    for event in recording.events[max(0, crash.after - 60) : crash.after]:
        if event.kind == "!":
            yield f"! {event.data[:200].decode('utf-8', 'replace').strip()}"
        else:
            yield f"{event.kind} {len(event.data)} bytes at {event.offset}"


def again(kept: Path, where: Path) -> list[str]:
    """Look at a kept point; it is left as it is."""
    kind, options = json.loads((kept / "file_system.json").read_text())
    subprocess.run(["cp", "--sparse=always", kept / "image", where / "again"], check=True)
    mounted = where / "checked"
    mounted.mkdir()
    with closing(Checker(mounted)) as checker:
        return faults_of(
            FileSystem(kind, (), 0, options),
            where / "again",
            checker,
            json.loads((kept / "expected.json").read_text()),
        )
