"""Which moments power goes at, and what the disk holds then: drawn from a seed.

Every moment at which something was written, synced or named is as likely as another, except that
those around names (creation, compaction, erasure), which are few, come eight times as often.
"""

from __future__ import annotations

import copy
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tests.crash.power.disk import Directory, Disk, Fate
from tests.crash.power.log import Event, Expected

_NAMES_WEIGHT: Final = 8
_AROUND: Final = 6
"""Events after one about names that count as around it: the syncs of what was named."""
_LIKELY: Final = (0.0, 0.1, 0.5, 0.9, 1.0)


@dataclass(frozen=True, slots=True)
class Recording:
    """What one run of a program asked of the file system below ``root``."""

    root: str
    events: list[Event]
    initial: Directory | None = None
    """What was there before."""
    expected: Expected = field(default_factory=Expected)
    """What was to be found there before."""


@dataclass(frozen=True, slots=True)
class Crash:
    """Power goes after so many events."""

    after: int
    fate: Fate


@dataclass(frozen=True, slots=True)
class State:
    """A disk after a crash, and what should be on it."""

    crash: Crash
    disk: Disk
    expected: Expected

    def materialise(self, where: Path) -> None:
        """Make the directory; only before the next state is asked for."""
        self.disk.materialise(where, self.crash.fate)


def draw(events: Sequence[Event], seed: int, count: int, *, begin: int = 0) -> list[Crash]:
    """So many crashes, in the order of their moments; with ``begin``, none in so many first events, and
    half of them at the end, when most rests on what may be lost.
    """
    chosen = random.Random(seed)
    weights: list[int] = []
    near = 0
    for event in events:
        near = _AROUND if event.names else near - 1
        weights.append((_NAMES_WEIGHT if near > 0 else 1) * event.changes)
    weights[:begin] = [0] * begin
    moments = chosen.choices(range(1, len(events) + 1), weights, k=count)
    if begin:
        moments[: count // 2] = [len(events)] * (count // 2)
    return [Crash(after, _fate(chosen)) for after in sorted(moments)]


def _fate(chosen: random.Random) -> Fate:
    return Fate(
        bytes_likely=chosen.choice(_LIKELY),
        names_likely=chosen.choice(_LIKELY),
        ordered=chosen.random() < 0.5,
        seed=chosen.randrange(2**31),
    )


def states(recording: Recording, crashes: Sequence[Crash]) -> Iterator[State]:
    """The state of each crash; crashes come in order."""
    disk = Disk(recording.root, recording.initial)
    expected = copy.deepcopy(recording.expected)
    done = 0
    for crash in crashes:
        for event in recording.events[done : crash.after]:
            disk.apply(event)
            if event.kind == "!":
                expected.mark(event.data)
        done = crash.after
        yield State(crash, disk, expected)
