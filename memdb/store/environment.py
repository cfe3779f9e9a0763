"""One open LMDB environment: what is read of it, written to it, and copied.

Its parts: the file in its map (`memdb.store.mapped`), the transactions that write (`memdb.store.writes`), and the
marker beside the file (`memdb.store.file_mark`).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import lmdb

from memdb.config import EngineConfig
from memdb.store.disk import check_disk
from memdb.store.file_mark import FileMark
from memdb.store.files import real_file
from memdb.store.live import live_bytes
from memdb.store.mapped import MappedFile
from memdb.store.native_commit import ReadyCommit
from memdb.store.opening import checked_size
from memdb.store.reading import Reading
from memdb.store.schema import DATA_FILE, Table
from memdb.store.system import code_of, system_errors
from memdb.store.transaction import Transaction
from memdb.store.writes import Writes

if TYPE_CHECKING:
    # It needs a library that is there only where something is encrypted.
    from memdb.store.keyring import KeyRing as KeyRing  # those above hand it on unseen

T = TypeVar("T")


def _nothing() -> None:
    """Nothing to do."""


class Environment:
    """An open LMDB environment.

    Threads may share it; writers are serialised by LMDB and meant to be one.
    """

    def __init__(
        self,
        path: Path,
        tables: Sequence[Table],
        config: EngineConfig,
        keys: KeyRing | None = None,
        *,
        older: bool = False,
        values_later: bool = False,
    ) -> None:
        """Open the environment in directory ``path``, encrypted where ``keys`` are given.

        older: take it also where its newest transaction was undone (`memdb.store.structure`).  values_later: look at
        the pages of values when `check_values` is called, or something is written.

        Raises `DataLoss` (``MISSING``, ``TRUNCATED``, ``ROLLED_BACK``, ``BAD_ENVIRONMENT``) when the file
        cannot be what was committed, `Unavailable` (``OPEN_FAILED``, ``IO_FAILED``) when the system refuses to
        open it, and what is wrong with its data key (`memdb.store.keyring`).
        """
        self.path = path
        self._config = config
        with system_errors(path.name):
            size = checked_size(path, encrypted=keys is not None)
            self._cipher = None if keys is None else keys.open(path)
            data_file = path / DATA_FILE
            self.disk = real_file(data_file).parent
        """A folder of the disk on which commits take room: that of the data file, which may lie behind a link."""
        self._mark = FileMark(data_file, self.disk, values_later=values_later)
        self._mapped = MappedFile(path, tables, config, older=older)
        self._writes = Writes(self._mapped, self._mark, config, self.disk, self._cipher)
        # Last: nobody would close it for one who is interrupted behind it.
        self._mapped.open(size)

    def check_values(self) -> None:
        """Look at what ``values_later`` left; raises as the opening does."""
        self._mark.check_values()

    def read(self) -> AbstractContextManager[Transaction]:
        """A read transaction; what it lends is valid inside the block only.

        Raises `DataLoss` (``CORRUPTED``) when LMDB finds its own pages damaged, `Unavailable`
        (``CLOSED``) and `ResourceExhausted` (``READERS``).
        """
        return Reading(self._mapped, self._cipher)

    def write(
        self,
        change: Callable[[Transaction], tuple[bool, T]],
        bytes_hint: int = 0,
        committing: Callable[[], None] = _nothing,
        *,
        gives_up: bool = False,
    ) -> T:
        """Run ``change`` in a write transaction; commit when it returns (True, result), roll back
        for (False, result).

        ``change`` may be run again after the map has grown, so it must not touch anything but the
        transaction.  ``committing`` is called when nothing is left but to wait for the disk.
        ``gives_up``: it makes room, and may take `memdb.store.writes.SPARE_BYTES` beyond the quota to do so, and of
        what ``disk_free_bytes_min`` keeps free.

        Raises `ResourceExhausted` (``QUOTA``, ``DISK_FULL``), `Unavailable` (``READ_ONLY``,
        ``CLOSED``) and `DataLoss` (``CORRUPTED``); nothing is written then.
        """
        return self._writes.write(change, bytes_hint, committing, gives_up=gives_up)

    def write_ready(
        self,
        ready: ReadyCommit,
        change: Callable[[Transaction], tuple[bool, None]],
        bytes_hint: int = 0,
        committing: Callable[[], None] = _nothing,
        refused: Callable[[], None] = _nothing,
        *,
        gives_up: bool = False,
    ) -> None:
        """`write`, in one call without the interpreter's lock where the native edge is installed and nothing is
        encrypted: what is sealed together is as large as all that a commit stores.

        ``change`` does the same, and says what is wrong where that refuses; it is not run otherwise.  ``refused`` is
        called before.
        """
        self._writes.write_ready(ready, change, bytes_hint, committing, refused, gives_up=gives_up)

    @property
    def may_follow(self) -> bool:
        """Whether `write_behind` may write anything."""
        return self._writes.may_follow

    def write_behind(
        self,
        ready: ReadyCommit,
        bytes_hint: int,
        before_bytes: int,
        committing: Callable[[], None],
    ) -> bool:
        """`write_ready` while another thread is in it: what is ready is written as soon as LMDB has written the other,
        where that leaves what is known.  Else, or where there may be no room, False, and nothing is written.

        before_bytes: those of the other.  Raises what the disk refuses, as `write`.
        """
        return self._writes.write_behind(ready, bytes_hint, before_bytes, committing)

    def release_pages(self) -> None:
        """Map the file anew, so that what a scan of all of it brought in stops counting as this
        process's memory; the page cache keeps it.
        """
        self._mapped.release_pages()

    def check_room(self, folder: Path, size: int) -> None:
        """Raise `ResourceExhausted` (``DISK_FULL``) unless ``size`` bytes more have room in ``folder``
        beside what has to stay free.
        """
        check_disk(folder, self._config, size)

    def copy(self, folder: Path, txn: Transaction) -> None:
        """Write ``data.mdb`` into ``folder``: what ``txn`` (a `read` of this environment) sees,
        without free pages.  It is not synced.

        Writers go on, but what they free is not used again meanwhile, and a map that has to grow
        waits.  Raises `ResourceExhausted` (``DISK_FULL``), `OSError` where the system refuses to write into
        ``folder``, and as `read`.
        """
        check_disk(folder, self._config, live_bytes(txn._txn, self._mapped.handles.values()))
        try:
            self._mapped.env.copy(str(folder), compact=True, txn=txn._txn)
        except lmdb.Error as error:
            check_disk(folder, self._config)
            number = code_of(error)
            if number > 0:
                # Of the copy: what is copied is read through its map, of which the system tells otherwise.
                raise OSError(number, os.strerror(number), str(folder)) from error
            raise

    @property
    def is_encrypted(self) -> bool:
        """Whether its values are."""
        return self._cipher is not None

    @property
    def is_read_only(self) -> bool:
        """Whether writes are refused, after an I/O error."""
        return self._writes.failed is not None

    def newest_transaction(self) -> int:
        """Number of the newest committed transaction: equal while nothing has changed."""
        return self._mapped.newest_transaction()

    @property
    def is_closed(self) -> bool:
        """Whether it was closed."""
        return self._mapped.closed

    @property
    def is_lost(self) -> bool:
        """Whether nothing can be read or written until it is opened anew."""
        return self._mapped.lost is not None

    def data_bytes(self) -> int:
        """Size of the data file; raises `Unavailable` (``IO_FAILED``)."""
        return self._mapped.data_bytes()

    def live_bytes(self) -> int:
        """Bytes of the pages that hold something: of the data file without those that were freed.

        Raises as `read`.
        """
        with self.read() as txn:
            return live_bytes(txn._txn, self._mapped.handles.values())

    def close(self) -> None:
        """Wait for transactions in flight and close."""
        with self._mapped.gate.owned():
            if not self._mapped.closed:
                # What a relaxed database or a process that was killed committed last may be on its way to the disk,
                # until a commit comes after it.
                is_on_disk = self._config.durability != "relaxed" and self._mark.knows_newest
                newest = self._mapped.close(tell_newest=is_on_disk)
                if not self.is_read_only and not self.is_lost:
                    if self._mark.is_gone:
                        self._writes.close()
                    self._mark.note_close(newest)
