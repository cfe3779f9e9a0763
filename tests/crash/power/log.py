"""The log of `recorder.c`, read."""

from __future__ import annotations

import json
import os
import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

_HEAD: Final = struct.Struct("<ciiQIII")


@dataclass(frozen=True, slots=True)
class Event:
    """One call; see `recorder.c`."""

    kind: str
    fd: int
    aux: int
    offset: int
    path: str
    other: str
    data: bytes = field(repr=False)

    @property
    def changes(self) -> bool:
        """Whether a crash after it may leave another state than a crash before it."""
        return self.kind in "WTASRUMD" or (self.kind == "O" and bool(self.aux & os.O_CREAT))

    @property
    def names(self) -> bool:
        """Whether it is about names rather than bytes."""
        return self.kind in "RUMD"


def read_log(path: Path) -> list[Event]:
    """All events in order; raises `ValueError` for one that the model knows nothing of."""
    content = path.read_bytes()
    events = []
    at = 0
    opened: dict[int, str] = {}
    while at < len(content):
        kind, fd, aux, offset, *sizes = _HEAD.unpack_from(content, at)
        at += _HEAD.size
        parts = []
        for size in sizes:
            parts.append(content[at : at + size])
            at += size
        event = Event(
            kind.decode(), fd, aux, offset, os.fsdecode(parts[0]), os.fsdecode(parts[1]), parts[2]
        )
        if event.kind == "O":
            opened[fd] = event.path
        if event.kind == "X":
            if event.path == "mmap" and opened[fd].endswith("/lock.mdb"):
                continue  # LMDB's table of readers, made anew by whoever opens first
            raise ValueError(f"not modelled: {event}")
        events.append(event)
    return events


@dataclass(slots=True)
class Expected:
    """What the workload's marks up to some moment say must be there."""

    now: dict[str, str] = field(default_factory=dict)
    next: dict[str, str | None] = field(default_factory=dict)
    """What the step in flight changes; empty when none is."""
    whole: bool = False
    """The step in flight is all or nothing."""
    markers: set[str] = field(default_factory=set)
    resend: list[Any] | None = None
    archives: list[str] = field(default_factory=list)
    """Names of backups that were acknowledged."""
    acknowledged: int = 0
    """Steps that changed something."""
    relaxed: bool = False
    """The newest commits of a user may be undone."""
    steps: list[tuple[dict[str, str | None], bool]] = field(default_factory=list)
    """If so: what each acknowledged step changed, and whether it was all or nothing."""

    def mark(self, line: bytes) -> None:
        """Take a mark in."""
        told = json.loads(line)
        if "archived" in told:
            self.archives.append(told["archived"])
            return
        if "found" in told:
            self.now, self.next, self.whole = told["found"], {}, False
            self.steps = [(dict(self.now), True)]
            return
        if "next" in told:
            self.next = told["next"]
            self.whole = told.get("whole", False)
            return
        self.acknowledged += bool(self.next)
        if self.relaxed and self.next:
            self.steps.append((self.next, self.whole))
        for name, value in self.next.items():
            if value is None:
                self.now.pop(name, None)
            else:
                self.now[name] = value
        self.next = {}
        self.whole = False
        self.markers |= set(told["markers"])
        if told["resend"] is not None:
            self.resend = told["resend"]

    def to_json(self) -> dict[str, Any]:
        """For the checker."""
        return {
            "now": self.now,
            "next": self.next,
            "whole": self.whole,
            "markers": sorted(self.markers),
            "resend": self.resend,
            "archives": self.archives,
            "steps": self.steps if self.relaxed else None,
        }
