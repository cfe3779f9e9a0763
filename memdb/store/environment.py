"""One open LMDB environment: transactions, growth.

Invariants:

- Default sync mode, no WRITEMAP: when `write` returns, the transaction is on disk.  With
  ``durability = "relaxed"`` the meta page that makes it the newest is left to the system (LMDB's
  NOMETASYNC): its data pages are on disk, but power loss may bring back an older transaction.
- The map grows under an exclusive gate: LMDB forbids changing its size while a transaction is open.
- After an I/O error on write the kernel may have dropped dirty pages, so the environment refuses
  further writes until it is opened anew; reads go on.
- Where the map cannot be made anew (no memory), LMDB is left with pointers into what it unmapped:
  the environment is closed and opened again before anybody touches it.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, suppress
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Final, TypeVar

import lmdb

from memdb import failpoints
from memdb.config import EngineConfig
from memdb.errors import (
    DataLoss,
    FailedPrecondition,
    MemdbError,
    ResourceExhausted,
    Unavailable,
)
from memdb.eventlog import event_log
from memdb.store import writeback
from memdb.store.disk import check_disk, check_growth
from memdb.store.files import real_file, sync_directory
from memdb.store.gate import Gate
from memdb.store.live import live_bytes
from memdb.store.lock_file import READERS_MAX, LockFile
from memdb.store.native_commit import NativeCommit, ReadyCommit, native_commit
from memdb.store.opening import checked_size, open_lmdb, translated, unreadable
from memdb.store.schema import DATA_FILE, Table
from memdb.store.structure import (
    check_structure,
    mark_clean,
    mark_dirty,
    tells_newest,
)
from memdb.store.system import system_errors, told_full
from memdb.store.transaction import Transaction

if TYPE_CHECKING:
    # It needs a library that is there only where something is encrypted.
    from memdb.store.keyring import KeyRing as KeyRing  # those above hand it on unseen

T = TypeVar("T")

log = event_log("memdb.store")

MAPPED_BYTES_MAX: Final = 80 << 20
"""Of a file that reads brought in, at most, until it is mapped anew: each value brings in 64 KiB around it as well, and
all of that counts as this process's memory though the kernel may take it back.  A smaller file stays mapped.
"""
_MAP_BYTES_MIN: Final = 1 << 20
SPARE_BYTES: Final = 32 << 20
"""Of the map beyond a user's quota, for what gives up room: LMDB writes a page anew to delete from it."""


_UNKNOWN: Final = "a commit that was refused"
"""Why nothing is written any more, until it is known better."""


def _nothing() -> None:
    """Nothing to do."""


class _Reading:
    """`Environment.read`, written out: every answer passes here, and generators cost it twice."""

    __slots__ = ("_environment", "_txn")

    def __init__(self, environment: Environment) -> None:
        self._environment = environment
        self._txn: Transaction | None = None

    def __enter__(self) -> Transaction:
        self._txn = self._environment._begin_read()
        return self._txn

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._txn is not None, "entered before"
        self._environment._end_read(self._txn)
        if isinstance(error, lmdb.Error):
            raise self._environment._read_error(error) from error


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
        self._open = partial(
            open_lmdb,
            path,
            tables,
            older=older,
            metasync=config.durability != "relaxed",
        )
        self._gate = Gate()
        self._lock_file = LockFile(path)
        self._touched = 0
        """Bytes, since the file was last mapped.  What is lost of them in a race matters to nobody."""
        self._room = 0
        """About the bytes that commits may take before it is looked again whether the map has to grow; one for
        which it is too small all the same finds that out."""
        self._failed: str | None = None
        self._lost: str | None = None
        self._pid = os.getpid()
        self._closed = False
        with system_errors(path.name):
            size = checked_size(path, encrypted=keys is not None)
            self._cipher = None if keys is None else keys.open(path)
        self._data_file = path / DATA_FILE
        self.disk = real_file(self._data_file).parent
        """A folder of the disk on which commits take room: that of the data file, which may lie behind a link."""
        self._marked = False
        self._values_later = values_later
        try:
            check_structure(self._data_file, values=not values_later)
            self._was_told = tells_newest(self._data_file)
            """Whether the newest transaction is known to be on the disk, though nothing is committed here."""
        except OSError as error:
            raise unreadable(error, self.path) from error
        self._env, self._handles = self._open(
            max(min(config.map_bytes_initial, config.map_bytes_max), _MAP_BYTES_MIN, size), size
        )

    def check_values(self) -> None:
        """Look at what ``values_later`` left; raises as the opening does."""
        if not self._values_later:
            return
        try:
            check_structure(self._data_file)
        except OSError as error:
            raise unreadable(error, self.path) from error
        self._values_later = False

    def read(self) -> AbstractContextManager[Transaction]:
        """A read transaction; what it lends is valid inside the block only.

        Raises `DataLoss` (``CORRUPTED``) when LMDB finds its own pages damaged, `Unavailable`
        (``CLOSED``) and `ResourceExhausted` (``READERS``).
        """
        return _Reading(self)

    def _begin_read(self) -> Transaction:
        """A transaction inside the gate; `_end_read` must follow."""
        inside = self._gate.enter()
        try:
            self._check_usable()
            if inside > self._lock_file.readers:
                self._lock_file.extend(inside)
            return Transaction(self._env.begin(buffers=True), self._handles, self._cipher)
        except lmdb.Error as error:
            self._gate.leave()
            raise self._read_error(error) from error
        except BaseException:
            self._gate.leave()
            raise

    def _end_read(self, txn: Transaction) -> None:
        try:
            txn.abort()
        finally:
            self._touched += txn.touched
            if self._touched < MAPPED_BYTES_MAX or self._is_small():
                self._gate.leave()
            else:
                self._leave_and_release()

    def _is_small(self) -> bool:
        """Whether all of the file is less than what may stay mapped of it."""
        try:
            size = self._data_file.stat().st_size
        except OSError:
            return False
        if size >= MAPPED_BYTES_MAX:
            return False
        self._touched = size
        return True

    def _leave_and_release(self) -> None:
        """Leave the gate, and let go of the pages that reads brought in, unless somebody is inside."""
        if not self._gate.leave_owning():
            return
        try:
            self._touched = 0
            if not self._closed and self._lost is None:
                self._map_anew(int(self._env.info()["map_size"]))
        except Unavailable:
            # What was read is whole all the same; whoever comes next is told, and opens it anew.
            fields = {"directory": self.path.name}
            log.exception("an environment could not be mapped anew", extra={"fields": fields})
        finally:
            self._gate.disown()

    def _read_error(self, error: lmdb.Error) -> ResourceExhausted | DataLoss | Unavailable:
        if isinstance(error, lmdb.ReadersFullError):
            return ResourceExhausted("too many reads at once", reason="READERS", value=READERS_MAX)
        return translated(error, self.path, "READ_FAILED")

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
        ``gives_up``: it makes room, and may take `SPARE_BYTES` beyond the quota to do so, and of what
        ``disk_free_bytes_min`` keeps free.

        Raises `ResourceExhausted` (``QUOTA``, ``DISK_FULL``), `Unavailable` (``READ_ONLY``,
        ``CLOSED``) and `DataLoss` (``CORRUPTED``); nothing is written then.
        """
        once = partial(self._write_once, change, bytes_hint, committing)
        return self._write(once, bytes_hint, gives_up=gives_up)

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
        at_once = self._at_once
        if at_once is None:
            return self.write(change, bytes_hint, committing, gives_up=gives_up)

        def once() -> None:
            failpoints.hit("commit.before")
            with writeback.early(self._data_file, bytes_hint):
                committing()  # last of all: who follows comes to LMDB behind this
                is_done = at_once.run(self._env, ready)
            if is_done:
                failpoints.hit("commit.after")
            else:
                refused()
                self._write_once(change, bytes_hint, committing)

        return self._write(once, bytes_hint, gives_up=gives_up)

    @property
    def _at_once(self) -> NativeCommit | None:
        return None if self._cipher is not None else native_commit()

    @property
    def may_follow(self) -> bool:
        """Whether `write_behind` may write anything.  Once the file is to be mapped anew it does not: somebody would be
        inside the gate all the time.
        """
        return (
            self._marked
            and self._failed is None
            and self._touched < MAPPED_BYTES_MAX
            and self._at_once is not None
        )

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
        at_once = self._at_once
        if at_once is None or not self.may_follow or self._room <= 2 * bytes_hint:
            return False
        try:
            # Nobody knows how much of the other is there by now.
            check_disk(self.disk, self._config, before_bytes + bytes_hint)
            check_growth(self._data_file, before_bytes + bytes_hint)
        except ResourceExhausted:
            return False  # who writes it next is told
        # Who owns the gate may wait for the other to leave it, and that one for this.
        with self._gate.passing_at_once() as is_inside:
            return is_inside and self._written_behind(at_once, ready, bytes_hint, committing)

    def _written_behind(
        self,
        at_once: NativeCommit,
        ready: ReadyCommit,
        bytes_hint: int,
        committing: Callable[[], None],
    ) -> bool:
        try:
            self._check_usable()
            self._room -= 2 * bytes_hint
            failpoints.hit("commit.before")
            committing()
            with writeback.early(self._data_file, bytes_hint):
                is_done = at_once.run(self._env, ready)
            if is_done:
                failpoints.hit("commit.after")
        except lmdb.Error as error:
            raise self._refusal(error, bytes_hint) from error
        return is_done

    def _write(self, once: Callable[[], T], bytes_hint: int, *, gives_up: bool) -> T:
        """Run ``once``, which commits, when the disk and the map have room."""
        if self._failed is not None:
            raise Unavailable(f"writes are refused after: {self._failed}", reason="READ_ONLY")
        check_disk(self.disk, self._config, bytes_hint, gives_up=gives_up)
        if not gives_up:  # that goes into pages that were freed, where there are any
            check_growth(self._data_file, bytes_hint)
        self._grow_ahead(bytes_hint)
        if not self._marked:
            self.check_values()
            with system_errors(self.path.name):
                mark_dirty(self._data_file)
                # Who compacted it may have been killed, or refused, before the file's name was durable.
                for folder in {self.path, self.disk}:
                    sync_directory(folder)
            self._marked = True
        try:
            return self._written(once, bytes_hint, SPARE_BYTES if gives_up else 0)
        finally:
            if gives_up:
                self._give_back_spare()

    def _written(self, once: Callable[[], T], bytes_hint: int, spare: int) -> T:
        """Run ``once``, in a map that grows as it has to."""
        while True:
            try:
                with self._gate.passing():
                    self._check_usable()
                    return once()
            except lmdb.MapFullError:
                self._grow_beyond(bytes_hint, spare)
            except lmdb.Error as error:
                raise self._refusal(error, bytes_hint) from error

    def _refusal(self, error: lmdb.Error, bytes_hint: int) -> MemdbError:
        """What is told of a commit that the system refused; nothing is written any more but where it was full."""
        # LMDB would accept the next commit; we must not, see the module's invariants.  Said first: there may be no
        # memory to find out more.
        before = self._failed
        self._failed = before or _UNKNOWN
        try:
            self._check_was_full(error, bytes_hint)
        except ResourceExhausted as full:
            if before is None and self._failed is _UNKNOWN:  # else it is what refused another one
                self._failed = None
            return full
        self._failed = str(error)
        return translated(error, self.path, "READ_ONLY")

    def _check_was_full(self, error: lmdb.Error, bytes_hint: int) -> None:
        """Raise `ResourceExhausted` (``DISK_FULL``) where that is what refused a commit."""
        if told_full(error):
            # It passes when space returns, which it may have by now: nobody may ask whether there is some.
            raise ResourceExhausted(
                "the file system was full before the commit was written",
                reason="DISK_FULL",
                field=self.path.name,
            ) from error
        if os.strerror(errno.EIO) not in str(error):
            # As LMDB tells it otherwise; but a broken disk may be full as well.
            check_disk(self.disk, self._config, bytes_hint)

    def _write_once(
        self,
        change: Callable[[Transaction], tuple[bool, T]],
        bytes_hint: int,
        committing: Callable[[], None],
    ) -> T:
        txn = self._env.begin(write=True, buffers=True)
        try:
            keep, result = change(Transaction(txn, self._handles, self._cipher))
            if keep:
                failpoints.hit("commit.before")
                committing()
                with writeback.early(self._data_file, bytes_hint):
                    txn.commit()
                failpoints.hit("commit.after")
        finally:
            txn.abort()  # no effect after a commit
        return result

    def _check_usable(self) -> None:
        if self._lost is not None:
            raise Unavailable(
                f"the environment was lost: {self._lost}",
                reason="OPEN_FAILED",
                field=self.path.name,
            )
        if self._closed:
            raise Unavailable("the environment is closed", reason="CLOSED")
        if os.getpid() != self._pid:
            raise FailedPrecondition(
                "an environment cannot be used after fork", reason="FORKED", value=os.getpid()
            )

    def _grow_ahead(self, bytes_hint: int) -> None:
        self._room -= 2 * bytes_hint
        if self._room > 0:
            return
        with self._gate.passing():
            self._check_usable()
            info = self._env.info()
        used = (info["last_pgno"] + 1) * 4096
        self._room = info["map_size"] - used - 2 * bytes_hint
        # At the quota, room may be among the pages that were freed; a commit finds that out.
        if info["map_size"] < min(used + 2 * bytes_hint, self._config.map_bytes_max):
            self._grow(used + 2 * bytes_hint)

    def _grow_beyond(self, bytes_hint: int, spare: int) -> None:
        with self._gate.passing():
            self._check_usable()
            size = int(self._env.info()["map_size"])
        self._grow(size + bytes_hint, spare)

    def _grow(self, needed: int, spare: int = 0) -> None:
        with self._gate.owned():
            self._check_usable()
            size = int(self._env.info()["map_size"])
            if size >= self._config.map_bytes_max + spare:
                raise ResourceExhausted(
                    "the user's map is full", reason="QUOTA", field="map_bytes", value=size
                )
            while size <= needed:
                size *= 2
            self._map_anew(min(size, self._config.map_bytes_max + spare))

    def _give_back_spare(self) -> None:
        """Let nobody else have what was mapped beyond the quota, but for the pages that are taken."""
        # What was committed is durable, whatever becomes of the map.
        with suppress(MemdbError):
            with self._gate.passing():
                self._check_usable()
                info = self._env.info()
            wanted = max(self._config.map_bytes_max, (info["last_pgno"] + 1) * 4096)
            if info["map_size"] > wanted:
                with self._gate.owned():
                    self._check_usable()
                    self._map_anew(wanted)

    def release_pages(self) -> None:
        """Map the file anew, so that what a scan of all of it brought in stops counting as this
        process's memory; the page cache keeps it.
        """
        with self._gate.owned():
            self._check_usable()
            self._map_anew(int(self._env.info()["map_size"]))

    def _map_anew(self, map_size: int) -> None:
        """Map the file at a size; nobody else is inside the gate.

        Raises `Unavailable` (``OPEN_FAILED``); nothing can be read or written then.
        """
        self._room = 0
        try:
            self._env.set_mapsize(map_size)
        except lmdb.Error as error:
            self._env.close()
            try:
                with system_errors(self.path.name):
                    self._env, self._handles = self._open(map_size, self.data_bytes())
            except MemdbError as again:
                self._lost = str(error)
                raise Unavailable(
                    f"the file cannot be mapped: {error}",
                    reason="OPEN_FAILED",
                    field=self.path.name,
                ) from again

    def check_room(self, folder: Path, size: int) -> None:
        """Raise `ResourceExhausted` (``DISK_FULL``) unless ``size`` bytes more have room in ``folder``
        beside what has to stay free.
        """
        check_disk(folder, self._config, size)

    def copy(self, folder: Path, txn: Transaction) -> None:
        """Write ``data.mdb`` into ``folder``: what ``txn`` (a `read` of this environment) sees,
        without free pages.  It is not synced.

        Writers go on, but what they free is not used again meanwhile, and a map that has to grow
        waits.  Raises `ResourceExhausted` (``DISK_FULL``), and as `read`.
        """
        check_disk(folder, self._config, live_bytes(txn._txn, self._handles.values()))
        try:
            self._env.copy(str(folder), compact=True, txn=txn._txn)
        except lmdb.Error as error:
            check_disk(folder, self._config)
            if told_full(error):
                raise ResourceExhausted(
                    "the file system was full before the copy was written",
                    reason="DISK_FULL",
                    field=self.path.name,
                ) from error
            raise

    @property
    def is_encrypted(self) -> bool:
        """Whether its values are."""
        return self._cipher is not None

    @property
    def is_read_only(self) -> bool:
        """Whether writes are refused, after an I/O error."""
        return self._failed is not None

    def newest_transaction(self) -> int:
        """Number of the newest committed transaction: equal while nothing has changed."""
        return int(self._env.info()["last_txnid"])

    @property
    def is_closed(self) -> bool:
        """Whether it was closed."""
        return self._closed

    @property
    def is_lost(self) -> bool:
        """Whether nothing can be read or written until it is opened anew."""
        return self._lost is not None

    def data_bytes(self) -> int:
        """Size of the data file; raises `Unavailable` (``IO_FAILED``)."""
        with system_errors(self.path.name):
            return (self.path / DATA_FILE).stat().st_size

    def live_bytes(self) -> int:
        """Bytes of the pages that hold something: of the data file without those that were freed.

        Raises as `read`.
        """
        with self.read() as txn:
            return live_bytes(txn._txn, self._handles.values())

    def close(self) -> None:
        """Wait for transactions in flight and close."""
        with self._gate.owned():
            if not self._closed:
                self._closed = True
                # What a relaxed database or a process that was killed committed last may be on its way to the disk,
                # until a commit comes after it.
                is_on_disk = self._config.durability != "relaxed" and (
                    self._marked or self._was_told
                )
                try:
                    newest = self.newest_transaction() if is_on_disk and not self._lost else None
                finally:
                    # Also where it was interrupted: a file is not opened a second time.
                    self._env.close()
                    self._lock_file.close()
                # Nor where not all of it was looked at: what this process closed it does not look at again.
                if self._failed is None and self._lost is None and not self._values_later:
                    with suppress(OSError):  # it only costs a look at the next open
                        mark_clean(self._data_file, newest)
