"""Checkpoints of users that are read ahead, while another process has the directory.

A server that stands by (`memdb.server.standby`) has nothing to do, and once it serves, the rows of a large user are
what its first question waits for: a tenth of a second for 100,000 clips of 1536-d.  They are derived and prove nothing:
a file is taken only where it is still the one in its user's directory, and then as `memdb.engine.early_rows` takes any.
"""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Final, NamedTuple

from memdb.engine import early_file
from memdb.eventlog import event_log
from memdb.index.checkpoint import BadCheckpoint
from memdb.index.warm_file import Stamp, WarmFile, stamp_of
from memdb.store.derived import DERIVED_FILE
from memdb.store.schema import DATA_FILE

FILES_MAX: Final = 64
"""Of users that were written to last; each is opened as soon as its directory is had."""

log = event_log("memdb.engine")


class _Found(NamedTuple):
    """A checkpoint of a user's directory."""

    written_ns: int
    """When something was last written to the user."""
    path: Path
    stamp: Stamp

    @property
    def size(self) -> int:
        """Of the file."""
        return self.stamp[2]


class Warmed:
    """Checkpoints in memory.  `look` by one thread, the rest by any."""

    def __init__(self, bytes_max: int) -> None:
        """bytes_max: of all files together."""
        self._bytes_max = bytes_max
        self._files: dict[Path, WarmFile] = {}
        """By path, those of users that were written to last first."""
        self._lock = threading.Lock()
        """For these, and whether there will be more."""
        self._has_ended = False

    def stop(self) -> None:
        """Read no more."""
        with self._lock:
            self._has_ended = True

    def forget(self) -> None:
        """Read no more, and keep nothing: who was to be opened by it is open."""
        self.stop()
        with self._lock:
            self._files = {}

    @property
    def size(self) -> int:
        """Of all files that are here, in bytes."""
        with self._lock:
            return sum(file.size for file in self._files.values())

    @property
    def folders(self) -> list[Path]:
        """Directories of the users that have one here."""
        with self._lock:
            return [path.parent for path in self._files]

    def look(self, users: Path) -> None:
        """Read what is new in the users' directories below ``users``, and forget what is there no more.

        Those of users that were written to last, as far as there is room.  What cannot be read is left out: who opens
        the user says so.
        """
        chosen: list[_Found] = []
        room = self._bytes_max
        for found in sorted(_large_files(users), reverse=True):
            if found.size <= room and len(chosen) < FILES_MAX:
                chosen.append(found)
                room -= found.size
        stamps = {found.path: found.stamp for found in chosen}
        with self._lock:  # who opens takes some meanwhile
            there = self._files.copy()
        kept = {path: file for path, file in there.items() if file.stamp == stamps.get(path)}
        self._become(kept)  # before more is read: there is room for so many, not for twice as many
        for found in chosen:
            if found.path in kept:
                continue
            try:
                kept[found.path] = WarmFile(found.path, lambda: self._has_ended)
            except (BadCheckpoint, OSError, MemoryError) as error:
                fields = {"directory": found.path.parent.name, "what": str(error)}
                log.info("a checkpoint was not read ahead", extra={"fields": fields})
            if not self._become({one.path: kept[one.path] for one in chosen if one.path in kept}):
                return

    def _become(self, files: dict[Path, WarmFile]) -> bool:
        """Whether there is to be more."""
        with self._lock:
            if not self._has_ended:
                self._files = files.copy()
            return not self._has_ended

    def take(self, path: Path) -> WarmFile | None:
        """What is kept of a file, which is forgotten here; None where nothing is, or the file is another one now."""
        with self._lock:
            file = self._files.pop(path, None)
        if file is None:
            return None
        try:
            return file if stamp_of(path.stat()) == file.stamp else None
        except OSError:
            return None


def _large_files(users: Path) -> list[_Found]:
    found: list[_Found] = []
    try:
        with os.scandir(users) as folders:
            names = [folder.name for folder in folders]
    except OSError:  # made anew, or not there yet
        return found
    for name in names:
        path = users / name / DERIVED_FILE
        try:
            stamp = stamp_of(path.stat())
            one = _Found((users / name / DATA_FILE).stat().st_mtime_ns, path, stamp)
            if one.size >= early_file.EARLY_BYTES_MIN:
                found.append(one)
        except OSError:  # most have none, and some are erased meanwhile
            continue
    return found
