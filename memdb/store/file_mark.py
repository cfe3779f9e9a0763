"""What an open environment's file was looked at for, and what its marker says of it (`memdb.store.structure`)."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from memdb.store.files import sync_directory
from memdb.store.opening import unreadable
from memdb.store.structure import check_structure, mark_clean, mark_dirty, tells_newest
from memdb.store.system import system_errors


class FileMark:
    """Of one data file, from before it is mapped until it is closed."""

    def __init__(self, data_file: Path, disk: Path, *, values_later: bool) -> None:
        """Look at the structure of the file, which lies in ``disk``.

        values_later: at the pages of values when `check_values` is called, or something is written.

        Raises `DataLoss` (``CORRUPTED``) and `Unavailable` (``OPEN_FAILED``).
        """
        self._data_file = data_file
        self._folder = data_file.parent
        self._disk = disk
        self._is_written = False
        self._values_later = values_later
        try:
            check_structure(data_file, values=not values_later)
            self._was_told = tells_newest(data_file)
            """Whether the newest transaction is known to be on the disk, though nothing is committed here."""
        except OSError as error:
            raise unreadable(error, self._folder) from error

    def check_values(self) -> None:
        """Look at what ``values_later`` left; raises as the first look does."""
        if not self._values_later:
            return
        try:
            check_structure(self._data_file)
        except OSError as error:
            raise unreadable(error, self._folder) from error
        self._values_later = False

    def note_write(self) -> None:
        """Something is going to be written: before the first time, the marker goes, and the file's name is durable.

        Raises as `check_values`, and what the system refuses (`memdb.store.system.system_errors`).
        """
        if self._is_written:
            return
        self.check_values()
        with system_errors(self._folder.name):
            mark_dirty(self._data_file)
            # Who compacted it may have been killed, or refused, before the file's name was durable.
            for folder in {self._folder, self._disk}:
                sync_directory(folder)
        self._is_written = True

    @property
    def knows_newest(self) -> bool:
        """Whether the newest transaction is on the disk, where a commit waits for all of itself."""
        return self._is_written or self._was_told

    def note_close(self, newest: int | None) -> None:
        """It was closed in order, with its newest transaction if that is on the disk."""
        # Not where not all of it was looked at: what this process closed it does not look at again.
        if not self._values_later:
            with suppress(OSError):  # it only costs a look at the next open
                mark_clean(self._data_file, newest)
