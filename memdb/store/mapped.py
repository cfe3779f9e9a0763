"""The file of an open environment, in a map that grows and is made anew.

Invariants:

- The map changes under an exclusive gate: LMDB forbids that while a transaction is open.
- Where the map cannot be made anew (no memory), LMDB is left with pointers into what it unmapped: the environment is
  closed and opened again before anybody touches it.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

import lmdb

from memdb.config import EngineConfig
from memdb.errors import (
    DataLoss,
    FailedPrecondition,
    MemdbError,
    ResourceExhausted,
    Unavailable,
)
from memdb.eventlog import event_log
from memdb.store.gate import Gate
from memdb.store.lock_file import READERS_MAX, LockFile
from memdb.store.opening import open_lmdb, translated
from memdb.store.schema import DATA_FILE, Table
from memdb.store.system import system_errors
from memdb.store.transaction import Handles, Transaction

if TYPE_CHECKING:
    # It needs a library that is there only where something is encrypted.
    from memdb.store.cipher import Cipher

log = event_log("memdb.store")

MAPPED_BYTES_MAX: Final = 80 << 20
"""Of a file that reads brought in, at most, until it is mapped anew: each value brings in 64 KiB around it as well, and
all of that counts as this process's memory though the kernel may take it back.  A smaller file stays mapped.
"""
_MAP_BYTES_MIN: Final = 1 << 20


class MappedFile:
    """LMDB's environment of one file, who is inside of it, and the size of its map."""

    env: lmdb.Environment
    handles: Handles

    def __init__(
        self, path: Path, tables: Sequence[Table], config: EngineConfig, *, older: bool
    ) -> None:
        """Of directory ``path``; `open` must follow.  older: see `memdb.store.environment.Environment`."""
        self.path = path
        self.data_file = path / DATA_FILE
        self.gate = Gate()
        self.lost: str | None = None
        """Why nothing can be read or written until it is opened anew."""
        self.closed = False
        self._config = config
        self._open = partial(
            open_lmdb,
            path,
            tables,
            older=older,
            metasync=config.durability != "relaxed",
        )
        self._lock_file = LockFile(path)
        self._touched = 0
        """Bytes, since the file was last mapped.  What is lost of them in a race matters to nobody."""
        self._room = 0
        """About the bytes that commits may take before it is looked again whether the map has to grow; one for
        which it is too small all the same finds that out."""
        self._pid = os.getpid()

    def open(self, size: int) -> None:
        """Map the file, which has ``size`` bytes; raises as `memdb.store.opening.open_lmdb`."""
        config = self._config
        self.env, self.handles = self._open(
            max(min(config.map_bytes_initial, config.map_bytes_max), _MAP_BYTES_MIN, size), size
        )

    @property
    def is_ours(self) -> bool:
        """Whether this process opened it, and is no child of the one that did."""
        return os.getpid() == self._pid

    def check_usable(self) -> None:
        """Raise `Unavailable` (``OPEN_FAILED``, ``CLOSED``) or `FailedPrecondition` (``FORKED``) unless it is;
        inside the gate.
        """
        if self.lost is not None:
            raise Unavailable(
                f"the environment was lost: {self.lost}",
                reason="OPEN_FAILED",
                field=self.path.name,
            )
        if self.closed:
            raise Unavailable("the environment is closed", reason="CLOSED")
        if not self.is_ours:
            raise FailedPrecondition(
                "an environment cannot be used after fork", reason="FORKED", value=os.getpid()
            )

    def begin_read(self, cipher: Cipher | None) -> Transaction:
        """A read transaction inside the gate; `end_read` must follow."""
        inside = self.gate.enter()
        try:
            self.check_usable()
            if inside > self._lock_file.readers:
                self._lock_file.extend(inside)
            return Transaction(self.env.begin(buffers=True), self.handles, cipher)
        except lmdb.Error as error:
            self.gate.leave()
            raise self.read_error(error) from error
        except BaseException:
            self.gate.leave()
            raise

    def end_read(self, txn: Transaction) -> None:
        """End a read transaction, and let go of the pages that reads brought in once they are many."""
        try:
            txn.abort()
        finally:
            self._touched += txn.touched
            if self._touched < MAPPED_BYTES_MAX or self._is_small():
                self.gate.leave()
            else:
                self._leave_and_release()

    def _is_small(self) -> bool:
        """Whether all of the file is less than what may stay mapped of it."""
        try:
            size = self.data_file.stat().st_size
        except OSError:
            return False
        if size >= MAPPED_BYTES_MAX:
            return False
        self._touched = size
        return True

    def _leave_and_release(self) -> None:
        """Leave the gate, and let go of the pages that reads brought in, unless somebody is inside."""
        if not self.gate.leave_owning():
            return
        try:
            self._touched = 0
            if not self.closed and self.lost is None:
                self._map_anew(int(self.env.info()["map_size"]))
        except Unavailable:
            # What was read is whole all the same; whoever comes next is told, and opens it anew.
            fields = {"directory": self.path.name}
            log.exception("an environment could not be mapped anew", extra={"fields": fields})
        finally:
            self.gate.disown()

    def read_error(self, error: lmdb.Error) -> ResourceExhausted | DataLoss | Unavailable:
        """What LMDB says of a read, in our words."""
        if isinstance(error, lmdb.ReadersFullError):
            return ResourceExhausted("too many reads at once", reason="READERS", value=READERS_MAX)
        return translated(error, self.path, "READ_FAILED")

    @property
    def is_to_release(self) -> bool:
        """Whether it lets go of what reads brought in as soon as nobody is inside."""
        return self._touched >= MAPPED_BYTES_MAX

    def has_room(self, bytes_hint: int) -> bool:
        """Whether about ``bytes_hint`` more are known to have room in the map."""
        return self._room > 2 * bytes_hint

    def take_room(self, bytes_hint: int) -> bool:
        """About ``bytes_hint`` more are written; whether they are known to have room."""
        self._room -= 2 * bytes_hint
        return self._room > 0

    def grow_ahead(self, bytes_hint: int) -> None:
        """Grow the map where about ``bytes_hint`` more may have no room in it."""
        if self.take_room(bytes_hint):
            return
        with self.gate.passing():
            self.check_usable()
            info = self.env.info()
        used = (info["last_pgno"] + 1) * 4096
        self._room = info["map_size"] - used - 2 * bytes_hint
        # At the quota, room may be among the pages that were freed; a commit finds that out.
        if info["map_size"] < min(used + 2 * bytes_hint, self._config.map_bytes_max):
            self._grow(used + 2 * bytes_hint)

    def grow_beyond(self, bytes_hint: int, spare: int) -> None:
        """Grow the map, which was too small, up to ``spare`` bytes beyond the quota.

        Raises `ResourceExhausted` (``QUOTA``).
        """
        with self.gate.passing():
            self.check_usable()
            size = int(self.env.info()["map_size"])
        self._grow(size + bytes_hint, spare)

    def _grow(self, needed: int, spare: int = 0) -> None:
        with self.gate.owned():
            self.check_usable()
            size = int(self.env.info()["map_size"])
            if size >= self._config.map_bytes_max + spare:
                raise ResourceExhausted(
                    "the user's file is as large as engine.map_bytes_max allows: make room in it by a policy of"
                    " retention and a sweep, or by an erasure",
                    reason="QUOTA",
                    field="map_bytes",
                    value=size,
                )
            while size <= needed:
                size *= 2
            self._map_anew(min(size, self._config.map_bytes_max + spare))

    def give_back_spare(self) -> None:
        """Let nobody else have what was mapped beyond the quota, but for the pages that are taken."""
        # What was committed is durable, whatever becomes of the map.
        with suppress(MemdbError):
            with self.gate.passing():
                self.check_usable()
                info = self.env.info()
            wanted = max(self._config.map_bytes_max, (info["last_pgno"] + 1) * 4096)
            if info["map_size"] > wanted:
                with self.gate.owned():
                    self.check_usable()
                    self._map_anew(wanted)

    def release_pages(self) -> None:
        """Map the file anew as it is."""
        with self.gate.owned():
            self.check_usable()
            self._map_anew(int(self.env.info()["map_size"]))

    def _map_anew(self, map_size: int) -> None:
        """Map the file at a size; nobody else is inside the gate.

        Raises `Unavailable` (``OPEN_FAILED``); nothing can be read or written then.
        """
        self._room = 0
        try:
            self.env.set_mapsize(map_size)
        except lmdb.Error as error:
            self.env.close()
            try:
                with system_errors(self.path.name):
                    self.env, self.handles = self._open(map_size, self.data_bytes())
            except MemdbError as again:
                self.lost = str(error)
                raise Unavailable(
                    f"the file cannot be mapped: {error}",
                    reason="OPEN_FAILED",
                    field=self.path.name,
                ) from again

    def data_bytes(self) -> int:
        """Size of the file; raises `Unavailable` (``IO_FAILED``)."""
        with system_errors(self.path.name):
            return self.data_file.stat().st_size

    def newest_transaction(self) -> int:
        """Number of the newest committed transaction."""
        return int(self.env.info()["last_txnid"])

    def close(self, *, tell_newest: bool) -> int | None:
        """Close it, whose gate the caller owns; the number of the newest transaction, where that is to be told."""
        self.closed = True
        try:
            return self.newest_transaction() if tell_newest and not self.lost else None
        finally:
            # Also where it was interrupted: a file is not opened a second time.
            self.env.close()
            self._lock_file.close()
