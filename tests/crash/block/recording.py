"""The workload of `tests.crash.power.workload` on a file system on a recorded disk, and moments of crashes."""

from __future__ import annotations

import copy
import os
import random
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tests.crash.block.device import Device, Fate
from tests.crash.block.file_systems import FileSystem
from tests.crash.block.fuse import IMAGE, MARK
from tests.crash.block.log import Event, read_log
from tests.crash.block.system import loop_device, mount, unmount
from tests.crash.power.log import Expected

ROOT: Final = Path(__file__).resolve().parents[3]
_LIKELY: Final = (0.0, 0.1, 0.5, 0.9, 1.0)
_ACKNOWLEDGED_WEIGHT: Final = 4
"""How much likelier a crash is between an acknowledgement and the next flush than elsewhere."""


@dataclass(frozen=True, slots=True)
class Recording:
    """What one run asked of the disk, and the image that it began with."""

    file_system: FileSystem
    image: Path
    events: list[Event]
    expected: Expected = field(default_factory=Expected)
    """What was to be found there before."""


@dataclass(frozen=True, slots=True)
class Crash:
    """Power goes after so many events."""

    after: int
    fate: Fate


@dataclass(frozen=True, slots=True)
class State:
    """A device after a crash, and what should be on it."""

    crash: Crash
    device: Device
    expected: Expected


@contextmanager
def recorded_disk(image: Path, where: Path) -> Iterator[Path]:
    """The folder with a recorded disk and its mark; the record is ``where/log``."""
    folder = where / "fuse"
    folder.mkdir()
    server = subprocess.Popen(
        [sys.executable, "-m", "tests.crash.block.fuse", folder, image, where / "log"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
    )
    try:
        assert server.stdout is not None
        if server.stdout.readline() != b"mounted\n":
            raise RuntimeError("the FUSE file system was not mounted")
        try:
            yield folder
        finally:
            unmount(folder, lazily=True)
    finally:
        # Nothing of the record is outstanding: each answer came after it.
        server.kill()
        server.communicate()


def record(
    file_system: FileSystem,
    where: Path,
    seed: int,
    mutant: str = "",
    durability: str = "durable",
) -> Recording:
    """Run the workload on an empty file system, in a new directory."""
    where.mkdir()
    file_system.make(where / "image")
    events = _recorded(
        *(file_system, where, "workload", str(seed)),
        MEMDB_POWER_MUTANT=mutant,
        MEMDB_POWER_DURABILITY=durability,
    )
    expected = Expected(relaxed=durability == "relaxed")
    return Recording(file_system, where / "image", events, expected)


def record_recovery(recording: Recording, state: State, where: Path) -> Recording:
    """Mount what a crash has left and open the database there, in a new directory: what that did to the disk."""
    where.mkdir()
    state.device.materialise(where / "image", state.crash.fate)
    events = _recorded(recording.file_system, where, "reopen")
    expected = copy.deepcopy(state.expected)
    return Recording(recording.file_system, where / "image", events, expected)


def _recorded(
    file_system: FileSystem, where: Path, program: str, *arguments: str, **environment: str
) -> list[Event]:
    """Run a program on a file system on ``where/image``, which is left as it is."""
    live, mounted = where / "live", where / "mounted"
    subprocess.run(["cp", "--sparse=always", where / "image", live], check=True)
    mounted.mkdir()
    with recorded_disk(live, where) as folder:
        with loop_device(folder / IMAGE) as device:
            mount(device, mounted, file_system.kind, file_system.options)
        command: list[str | Path] = [sys.executable, "-m", f"tests.crash.power.{program}"]
        command += [mounted / "srv" / "data", folder / MARK, *arguments]
        environment = {**os.environ, **environment}
        ended = subprocess.run(command, cwd=ROOT, env=environment, timeout=300)
        unmount(mounted)
    assert ended.returncode == 0, f"{program} ended with {ended.returncode}"
    live.unlink()
    return read_log(where / "log")


def draw(events: Sequence[Event], seed: int, count: int) -> list[Crash]:
    """So many crashes, in the order of their moments: the likelier, the more can be lost."""
    chosen = random.Random(seed)
    weights: list[int] = []
    fresh, unflushed = False, 0
    for event in events:
        fresh = event.kind == "!" or (fresh and event.kind != "S")
        unflushed = 0 if event.kind == "S" else unflushed + (event.kind == "W")
        weights.append((1 + unflushed) * (_ACKNOWLEDGED_WEIGHT if fresh else 1))
    moments = chosen.choices(range(1, len(events) + 1), weights, k=count)
    return [Crash(after, _fate(chosen)) for after in sorted(moments)]


def _fate(chosen: random.Random) -> Fate:
    return Fate(chosen.choice(_LIKELY), chosen.random() < 0.5, chosen.randrange(2**31))


def states(recording: Recording, crashes: Sequence[Crash]) -> Iterator[State]:
    """The state of each crash, good until the next is asked for; crashes come in order."""
    device = Device.of(recording.image, recording.file_system.together)
    expected = copy.deepcopy(recording.expected)
    done = 0
    for crash in crashes:
        for event in recording.events[done : crash.after]:
            device.apply(event)
            if event.kind == "!":
                expected.mark(event.data)
        done = crash.after
        yield State(crash, device, expected)
