"""Mounts what a disk held after power went, and has the database on it checked."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from tests.crash.block.file_systems import FILE_SYSTEMS, FileSystem
from tests.crash.block.recording import (
    Crash,
    Recording,
    State,
    draw,
    record,
    record_recovery,
    states,
)
from tests.crash.block.system import loop_device, mount, unmount
from tests.crash.power.harness import Checker

OF_ONE_RECORDING: Final = 250
RECOVERIES_OF_ONE_RECORDING: Final = 10
BAD_MAX: Final = 50
"""From so many on it is known that it is bad."""
KEPT_MAX: Final = 5
"""Failing states of a run that are kept."""


@dataclass(slots=True)
class Result:
    """Figures over all crash points of a run."""

    points: int = 0
    bad: int = 0
    unmounted: int = 0
    """Points at which a file system that does not always come back (`FileSystem.may_be_lost`) did not: nothing can be
    said of what it held."""
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
            f"crash points {self.points}  bad {self.bad}  not mounted {self.unmounted}  "
            f"recordings {self.recordings}  writes {self.writes}  "
            f"flushes {self.flushes}  unflushed writes {self.unflushed}  "
            f"acknowledged steps looked for {self.acknowledged}  processor {self.processor_s:.0f} s"
        )


class NotMounted(Exception):
    """The file system of an image cannot be mounted."""


class Harness:
    """Records and looks, in a place in memory; failing images are kept elsewhere."""

    def __init__(
        self, kind: str, seed: int, *, where: Path, keep: Path, stop_at_first: bool
    ) -> None:
        self.result = Result()
        self._file_systems = FILE_SYSTEMS[kind]
        self._seed = seed
        self._where = where
        self._keep = keep
        self._stop_at_first = stop_at_first
        mounted = where / "checked"
        mounted.mkdir()
        self._checker = Checker(mounted)

    def close(self) -> None:
        """End the process that looks."""
        self._checker.close()

    def check(self, count: int, mutant: str = "", durability: str = "durable") -> None:
        """So many crash points of as many recordings as that takes."""
        while self.result.points < count and not self._enough():
            with self._recording(mutant, durability) as (recording, seed):
                few = min(OF_ONE_RECORDING, count - self.result.points)
                self._look(recording, draw(recording.events, seed, few))

    def check_recoveries(self, count: int, of_each: int) -> None:
        """Power goes, and goes again while file system and database recover from ``count`` of the crashes."""
        done = 0
        while done < count and not self._enough():
            with self._recording() as (recording, seed):
                few = min(RECOVERIES_OF_ONE_RECORDING, count - done)
                for state in states(recording, draw(recording.events, seed, few)):
                    with _scratch(self._where / "recovery") as folder:
                        recovery = record_recovery(recording, state, folder)
                        crashes = draw(recovery.events, state.crash.fate.seed, of_each)
                        self._look(recovery, crashes)
                done += few

    @contextmanager
    def _recording(
        self, mutant: str = "", durability: str = "durable"
    ) -> Iterator[tuple[Recording, int]]:
        """The next, and its seed."""
        result, seed = self.result, self._seed + self.result.recordings
        file_system = self._file_systems[seed % len(self._file_systems)]
        with _scratch(self._where / "recording") as folder:
            recording = record(file_system, folder, seed, mutant, durability)
            result.recordings += 1
            yield recording, seed

    def _look(self, recording: Recording, crashes: Sequence[Crash]) -> None:
        """Have each state checked."""
        self.result.writes += sum(event.kind == "W" for event in recording.events)
        self.result.flushes += sum(event.kind == "S" for event in recording.events)
        image = self._where / "crashed"
        for state in states(recording, crashes):
            state.device.materialise(image, state.crash.fate)
            expected = state.expected.to_json()
            try:
                faults = faults_of(recording.file_system, image, self._checker, expected)
            except NotMounted as error:
                self._count_unmounted(recording, state, error)
            else:
                self._count(recording, state, faults)
            if self._enough():
                break

    def _enough(self) -> bool:
        return self.result.bad >= (1 if self._stop_at_first else BAD_MAX)

    def _count_unmounted(self, recording: Recording, state: State, error: NotMounted) -> None:
        if not recording.file_system.may_be_lost:
            self._count(recording, state, [str(error)])
            return
        self.result.points += 1
        self.result.unmounted += 1

    def _count(self, recording: Recording, state: State, faults: Sequence[str]) -> None:
        result = self.result
        result.points += 1
        result.acknowledged += state.expected.acknowledged
        result.unflushed += len(state.device.pending)
        if not faults:
            return
        result.bad += 1
        told = f"{recording.file_system}, {state.crash}"
        result.faults += [f"{told}: {fault}" for fault in faults[:3]]
        if len(result.kept) < KEPT_MAX:
            kept = _keep(recording, state, self._keep / f"point-{result.bad}", faults)
            result.kept.append(str(kept))


@contextmanager
def _scratch(folder: Path) -> Iterator[Path]:
    """A name for a new directory, which is removed after the block."""
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def faults_of(
    file_system: FileSystem, image: Path, checker: Checker, expected: dict[str, Any]
) -> list[str]:
    """What is wrong with the database on an image; raises `NotMounted`."""
    try:
        with _mounted(file_system, image, checker.folder):
            checker.ask(None, expected)
            faults = checker.answer()
            if faults:
                # Whatever it holds there would keep it from being unmounted.
                checker.close()
    except NotMounted:
        raise
    except OSError as error:
        return [f"{error}"]
    wrong = file_system.damage(image)
    return [*faults, f"file system: {wrong}"] if wrong else faults


@contextmanager
def _mounted(file_system: FileSystem, image: Path, mounted: Path) -> Iterator[None]:
    with loop_device(image) as device:
        try:
            mount(device, mounted, file_system.kind, file_system.options)
        except OSError as error:
            raise NotMounted(f"{error}") from error
    try:
        yield
    finally:
        unmount(mounted)


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
