"""A camera of an ingest agent, and what became of it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Final

from perception.ingest_options import IngestOptions
from perception.pipeline import Progress

EARLIER_MAX: Final = 100
"""Epochs of one camera that a report has: one that comes and goes for months has many."""


@dataclass(frozen=True, slots=True)
class Camera:
    """A stream and where its pictures come from, or its sound where there are none."""

    name: str
    address: str
    """As it was given: see `perception.sources.address`."""
    options: IngestOptions | None = field(default=None, compare=False)
    """Of this camera alone; None for those of its agent."""

    def chosen(self, common: IngestOptions) -> IngestOptions:
        """Its options; ``common``, its agent's, where it has none of its own."""
        return common if self.options is None else self.options


@dataclass(slots=True)
class CameraReport:
    """What became of one camera; written by its thread, read by whoever shows it."""

    camera: str
    epoch: int = 0
    resumed_from_seq: int = 0
    start_ns: int = 0
    """Event time of media time 0."""
    held_until_ns: int | None = None
    """Event time at which the clips end that the epoch held before; None where it held none."""
    note: str | None = None
    """What the caller should know although it is no error."""
    progress: Progress = field(default_factory=Progress)
    wall_s: float = 0.0
    error: BaseException | None = None
    earlier: list[CameraReport] = field(default_factory=list)
    """Of the epochs before this one, where a live source went away and came back: the newest
    `EARLIER_MAX`, oldest first.
    """

    def keep(self) -> None:
        """What it says now is of an earlier epoch; another one begins."""
        self.earlier = [*self.earlier, replace(self, earlier=[])][-EARLIER_MAX:]
        self.progress, self.error = Progress(), None
