"""A handle on a whole memdb."""

from __future__ import annotations

import os
from typing import Protocol, Self

from memdb.types.backup import BackupReport
from memdb.types.change import Verification
from memdb.types.database.user import User
from memdb.types.retention import SweepReport
from memdb.types.space import Space


class Database(Protocol):
    """A memdb, in this process or behind an address."""

    def create_space(
        self, name: str, *, dim: int, metric: str = "cosine", model: str = ""
    ) -> Space:
        """Create a space; the same definition again is no error, another raises `AlreadyExists`
        (``SPACE_EXISTS``).

        dim: elements of its vectors, 1 to 8,192.  metric: ``cosine``, or ``dot`` for the plain inner
        product.  model: what makes the vectors, with its hash; free text.
        """
        ...

    def space(self, name: str) -> Space:
        """One space.  Raises `NotFound` (``SPACE_NOT_FOUND``)."""
        ...

    def spaces(self) -> list[Space]:
        """Every space, by name."""
        ...

    def user(self, user_id: str) -> User:
        """A handle on a user, who need not be there yet: nothing is read or written.

        user_id: 1 to 63 of ``A-Z a-z 0-9 _ . -``, a letter or digit first, as of every name of a stream,
        space or snapshot.  Raises `InvalidArgument` (``BAD_ID``).
        """
        ...

    def users(self, *, limit: int | None = None, after: str | None = None) -> list[str]:
        """Ids of users, sorted: all, or at most ``limit`` of those behind the id ``after``, the last of the page
        before, which may have been erased since.  limit: 1 to 1,000.
        """
        ...

    def verify(self) -> Verification:
        """Check every stored value of every user and that the indexes equal the store."""
        ...

    def sweep(self) -> SweepReport:
        """Give up what the policies of all streams say, as the server does by itself.

        A user that cannot be swept keeps nobody else from it: see `SweepReport.unswept`.  Where less than 32 MiB are
        free beyond ``engine.disk_free_bytes_min``, files that hold many freed pages are made anew without them.
        """
        ...

    def backup(
        self, path: str | os.PathLike[str], *, parent: str | os.PathLike[str] | None = None
    ) -> BackupReport:
        """Write the archive ``path`` while writers go on; with ``parent``, an archive in the same
        folder, only what changed since.  Each user is consistent at one revision.

        Over an address ``path`` and ``parent`` are below the server's ``backup_dir``, on its
        machine.

        Raises `AlreadyExists` (``PATH_EXISTS``), `InvalidArgument` (``BAD_PATH``,
        ``PARENT_ELSEWHERE``), `NotFound` (``NOT_AN_ARCHIVE``), `FailedPrecondition`
        (``BACKUP_RUNNING``, ``BACKUP_DISABLED``, ``NO_DIRECTORY``, ``WRONG_DATABASE``,
        ``FORMAT_NEWER``), `ResourceExhausted` (``DISK_FULL``), `Unavailable` (``IO_FAILED``).
        """
        ...

    def close(self) -> None:
        """End; calls after it raise `Unavailable` (``CLOSED``).  Leaving the context does it too.

        A database of one's own process writes first what its next opening is quicker by, for ten seconds at most: who
        is interrupted in it (Ctrl-C) and closes it once more does not wait for that.
        """
        ...

    def __enter__(self) -> Self: ...
    def __exit__(self, *exc_info: object) -> None: ...
