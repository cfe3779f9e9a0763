"""The write transactions of an environment: room for each, its commit, and what becomes of one that is refused.

Invariants:

- Default sync mode, no WRITEMAP: when `write` returns, the transaction is on disk.  With
  ``durability = "relaxed"`` the meta page that makes it the newest is left to the system (LMDB's
  NOMETASYNC): its data pages are on disk, but power loss may bring back an older transaction.
- After an I/O error on write the kernel may have dropped dirty pages, so the environment refuses
  further writes until it is opened anew; reads go on.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

import lmdb

from memdb import failpoints
from memdb.config import EngineConfig
from memdb.errors import MemdbError, ResourceExhausted, Unavailable
from memdb.store import allocator
from memdb.store.blocks_ahead import BlocksAhead
from memdb.store.disk import check_disk, check_growth
from memdb.store.file_mark import FileMark
from memdb.store.mapped import MappedFile
from memdb.store.native_commit import NativeCommit, ReadyCommit, native_commit
from memdb.store.opening import translated
from memdb.store.system import told_full
from memdb.store.transaction import Transaction
from memdb.store.writeback import EarlyWriting

if TYPE_CHECKING:
    # It needs a library that is there only where something is encrypted.
    from memdb.store.cipher import Cipher

T = TypeVar("T")

SPARE_BYTES: Final = 32 << 20
"""Of the map beyond a user's quota, for what gives up room: LMDB writes a page anew to delete from it."""
_UNKNOWN: Final = "a commit that was refused"
"""Why nothing is written any more, until it is known better."""


class Writes:
    """Those of one environment."""

    def __init__(
        self,
        mapped: MappedFile,
        mark: FileMark,
        config: EngineConfig,
        disk: Path,
        cipher: Cipher | None,
    ) -> None:
        """disk: a folder of the disk on which commits take room."""
        self.failed: str | None = None
        """Why nothing more is written, after an I/O error."""
        self._mapped = mapped
        self._mark = mark
        self._config = config
        self._disk = disk
        self._cipher = cipher
        self._blocks = BlocksAhead(mapped.data_file, config)
        self._early = EarlyWriting(mapped.data_file)
        self._behind: NativeCommit | None = None
        """Who writes behind another: looked for with the first write, since who asks whether it may follow holds a
        lock, and where it is tried for the first time in a process that takes a while."""

    def write(
        self,
        change: Callable[[Transaction], tuple[bool, T]],
        bytes_hint: int,
        committing: Callable[[], None],
        *,
        gives_up: bool,
    ) -> T:
        """See `memdb.store.environment.Environment.write`."""
        once = partial(self._write_once, change, bytes_hint, committing)
        return self._write(once, bytes_hint, gives_up=gives_up)

    def write_ready(
        self,
        ready: ReadyCommit,
        change: Callable[[Transaction], tuple[bool, None]],
        bytes_hint: int,
        committing: Callable[[], None],
        refused: Callable[[], None],
        *,
        gives_up: bool,
    ) -> None:
        """See `memdb.store.environment.Environment.write_ready`."""
        at_once = self._at_once
        if at_once is None:
            return self.write(change, bytes_hint, committing, gives_up=gives_up)

        def once() -> None:
            failpoints.hit("commit.before")
            with self._early.of(bytes_hint):
                committing()  # last of all: who follows comes to LMDB behind this
                is_done = at_once.run(self._mapped.env, ready)
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
            self._mark.is_gone
            and self.failed is None
            and not self._mapped.is_to_release
            and self._behind is not None
        )

    def write_behind(
        self,
        ready: ReadyCommit,
        bytes_hint: int,
        before_bytes: int,
        committing: Callable[[], None],
    ) -> bool:
        """See `memdb.store.environment.Environment.write_behind`."""
        at_once = self._behind
        if at_once is None or not self.may_follow or not self._mapped.has_room(bytes_hint):
            return False
        try:
            # Nobody knows how much of the other is there by now.
            check_disk(self._disk, self._config, before_bytes + bytes_hint)
            check_growth(self._mapped.data_file, before_bytes + bytes_hint)
        except ResourceExhausted:
            return False  # who writes it next is told
        # Who owns the gate may wait for the other to leave it, and that one for this.
        with self._mapped.gate.passing_at_once() as is_inside:
            return is_inside and self._written_behind(at_once, ready, bytes_hint, committing)

    def _written_behind(
        self,
        at_once: NativeCommit,
        ready: ReadyCommit,
        bytes_hint: int,
        committing: Callable[[], None],
    ) -> bool:
        try:
            self._mapped.check_usable()
            self._mapped.take_room(bytes_hint)
            self._get_ready(bytes_hint)
            failpoints.hit("commit.before")
            with self._early.of(bytes_hint):
                committing()  # as above
                is_done = at_once.run(self._mapped.env, ready)
            if is_done:
                failpoints.hit("commit.after")
        except lmdb.Error as error:
            raise self._refusal(error, bytes_hint) from error
        return is_done

    def _get_ready(self, bytes_hint: int) -> None:
        """A commit of about so many bytes is going to be written."""
        allocator.learn(bytes_hint)
        self._blocks.lay_out(bytes_hint)

    def close(self) -> None:
        """The file is closed, and what was written to it is on the disk."""
        self._blocks.give_back()

    def _write(self, once: Callable[[], T], bytes_hint: int, *, gives_up: bool) -> T:
        """Run ``once``, which commits, when the disk and the map have room."""
        if self.failed is not None:
            raise Unavailable(f"writes are refused after: {self.failed}", reason="READ_ONLY")
        check_disk(self._disk, self._config, bytes_hint, gives_up=gives_up)
        if not gives_up:  # that goes into pages that were freed, where there are any
            check_growth(self._mapped.data_file, bytes_hint)
        self._mapped.grow_ahead(bytes_hint)
        self._behind = self._at_once
        self._mark.note_write()
        self._get_ready(bytes_hint)
        try:
            return self._written(once, bytes_hint, SPARE_BYTES if gives_up else 0)
        finally:
            if gives_up:
                self._mapped.give_back_spare()

    def _written(self, once: Callable[[], T], bytes_hint: int, spare: int) -> T:
        """Run ``once``, in a map that grows as it has to."""
        while True:
            try:
                with self._mapped.gate.passing():
                    self._mapped.check_usable()
                    return once()
            except lmdb.MapFullError:
                self._mapped.grow_beyond(bytes_hint, spare)
            except lmdb.Error as error:
                raise self._refusal(error, bytes_hint) from error

    def _refusal(self, error: lmdb.Error, bytes_hint: int) -> MemdbError:
        """What is told of a commit that the system refused; nothing is written any more but where it was full."""
        # LMDB would accept the next commit; we must not, see the module's invariants.  Said first: there may be no
        # memory to find out more.
        before = self.failed
        self.failed = before or _UNKNOWN
        try:
            self._check_was_full(error, bytes_hint)
        except ResourceExhausted as full:
            if before is None and self.failed is _UNKNOWN:  # else it is what refused another one
                self.failed = None
            return full
        self.failed = str(error)
        return translated(error, self._mapped.path, "READ_ONLY")

    def _check_was_full(self, error: lmdb.Error, bytes_hint: int) -> None:
        """Raise `ResourceExhausted` (``DISK_FULL``) where that is what refused a commit."""
        if told_full(error):
            # It passes when space returns, which it may have by now: nobody may ask whether there is some.
            raise ResourceExhausted(
                "the file system was full before the commit was written",
                reason="DISK_FULL",
                field=self._mapped.path.name,
            ) from error
        if os.strerror(errno.EIO) not in str(error):
            # As LMDB tells it otherwise; but a broken disk may be full as well.
            check_disk(self._disk, self._config, bytes_hint)

    def _write_once(
        self,
        change: Callable[[Transaction], tuple[bool, T]],
        bytes_hint: int,
        committing: Callable[[], None],
    ) -> T:
        txn = self._mapped.env.begin(write=True, buffers=True)
        try:
            keep, result = change(Transaction(txn, self._mapped.handles, self._cipher))
            if keep:
                failpoints.hit("commit.before")
                committing()
                with self._early.of(bytes_hint):
                    txn.commit()
                failpoints.hit("commit.after")
        finally:
            txn.abort()  # no effect after a commit
        return result
