"""What a backup, a restore, the check of an archive and a drill report."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class BackupReport:
    """What a backup wrote."""

    path: str
    """Of the archive."""
    id: str
    """SHA-256 of the manifest: kept elsewhere, it proves the archive and those it builds upon."""
    parent: str | None
    """Id of the archive that it builds upon; None for a full backup."""
    users: int
    """Users in the archive: the three following numbers together."""
    full: int
    """Users copied whole."""
    incremental: int
    """Users of which there is what changed."""
    unchanged: int
    """Users that had not changed."""
    bytes_written: int
    """Of the archive's files."""
    damaged: tuple[str, ...] = ()
    """Users that could not be read, or hold what an archive cannot, and are not in the archive; the log says why."""


@dataclass(frozen=True, slots=True)
class RestoreReport:
    """What a restore made."""

    path: str
    """Of the data directory."""
    archive: str
    """Id of the archive."""
    users: int
    bytes_written: int
    damaged: tuple[str, ...] = ()
    """Directories of users that were damaged when the backup was made, and are not there."""
    erased: tuple[str, ...] = ()
    """Directories of users that were erased since: their data keys are destroyed, they are not there."""
    lost: tuple[str, ...] = ()
    """Directories of users whose data keys are lost otherwise, and that were left out as was asked."""


@dataclass(frozen=True, slots=True)
class ArchiveReport:
    """What the check of an archive found."""

    id: str
    kind: str
    """``full`` or ``incremental``."""
    archives: int
    """This one and those it builds upon."""
    users: int
    files: int
    bytes_checked: int
    damaged_files: tuple[tuple[str, str, str], ...]
    """(archive and file, reason, what)."""
    erased: int = 0
    """Users that were erased since: nobody can read them."""

    @property
    def ok(self) -> bool:
        """Whether every byte is what was written, and every data key there."""
        return not self.damaged_files


@dataclass(frozen=True, slots=True)
class DrillReport:
    """What a restore drill asked and compared."""

    users: int
    questions: int
    differences: tuple[tuple[str, str], ...]
    """(user, which answer)."""

    @property
    def ok(self) -> bool:
        """Whether every answer was the same to the byte."""
        return not self.differences
