"""Commits of an environment that were made ready, in one call of the native edge: without the interpreter's lock, and
without the interpreter between one and the next.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

import lmdb

from memdb import failpoints
from memdb.errors import ResourceExhausted
from memdb.store import writeback
from memdb.store.disk import check_disk, check_growth
from memdb.store.environment import MAPPED_BYTES_MAX, Environment
from memdb.store.native_commit import Baton, Came, NativeCommit, ReadyCommit, native_commit
from memdb.store.transaction import Transaction

LOOK_S: Final = 0.1
"""How long it is taken for known what is free on the disk, where one commit waits behind another, and is called back
over and over: a look lets go of the interpreter's lock.
"""


def _nothing() -> None:
    """Nothing to do."""


class ReadyWrites:
    """Those of one environment, of which it is a part."""

    def __init__(self, environment: Environment) -> None:
        self._environment = environment
        self._free_bytes = 0
        """On the disk, when it was looked at last, without what was to be written since."""
        self._look_s = 0.0
        """When it is to be looked at again."""

    def write(
        self,
        ready: ReadyCommit,
        change: Callable[[Transaction], tuple[bool, None]],
        bytes_hint: int = 0,
        committing: Callable[[], None] = _nothing,
        *,
        gives_up: bool = False,
        baton: Baton | None = None,
    ) -> None:
        """`Environment.write`, in one call without the interpreter's lock where the native edge is installed and
        nothing is encrypted: what is sealed together is as large as all that a commit stores.

        ``change`` does the same, and says what is wrong where that refuses; it is not run otherwise.  ``baton``: one of
        `baton`, which who waits in `write_behind` is handed.
        """
        environment, at_once = self._environment, self._at_once()
        if at_once is None:
            return environment.write(change, bytes_hint, committing, gives_up=gives_up)

        def once() -> None:
            failpoints.hit("commit.before")
            committing()
            with writeback.early(environment._data_file, bytes_hint):
                is_done = at_once.run(environment._env, ready, baton)
            if is_done:
                failpoints.hit("commit.after")
            else:
                environment._write_once(change, bytes_hint, committing)

        return environment._write(once, bytes_hint, gives_up=gives_up)

    def baton(self) -> Baton | None:
        """For one `write`; None where nobody can wait behind it."""
        at_once = self._at_once()
        return None if at_once is None else at_once.baton()

    def write_behind(
        self,
        ready: ReadyCommit,
        bytes_hint: int,
        committing: Callable[[], None],
        batons: tuple[Baton, Baton],
        bytes_before: int,
    ) -> Came:
        """`write` of what rests on a commit that is under way: begun by the edge as soon as that has succeeded.

        batons: its own, and that commit's; bytes_before: that commit's.  ``ENDED`` also where it may not be written
        unless something is done for it, or looked at, once that commit is over.

        Raises `Unavailable` (``READ_ONLY``, ``CLOSED``) and `DataLoss` (``CORRUPTED``).
        """
        environment, at_once = self._environment, self._at_once()
        if at_once is None or not self._has_room(bytes_hint, bytes_before):
            return Came.ENDED
        own, behind = batons
        try:
            with environment._gate.passing():
                environment._check_usable()
                failpoints.hit("commit.before")
                committing()
                with writeback.early(environment._data_file, bytes_hint, behind.wait_for_end):
                    came = at_once.run_behind(environment._env, ready, own, behind)
                if came is Came.MADE:
                    environment._room -= 2 * bytes_hint
                    failpoints.hit("commit.after")
                return came
        except lmdb.Error as error:
            raise environment._write_error(error, bytes_hint) from error

    def _at_once(self) -> NativeCommit | None:
        return None if self._environment.is_encrypted else native_commit()

    def _has_room(self, bytes_hint: int, bytes_before: int) -> bool:
        """Whether disk and map have room for both, and nothing else is to be done first."""
        environment = self._environment
        if environment.is_read_only or not environment._marked:
            return False
        if 2 * bytes_hint >= environment._room:
            return False
        if environment._touched >= MAPPED_BYTES_MAX:
            return (
                False  # or the gate were never empty, and what reads brought in would stay mapped
            )
        size = bytes_hint + bytes_before
        now = time.monotonic()
        try:
            self._free_bytes -= size
            if self._free_bytes < 0 or now > self._look_s:
                free = check_disk(environment.disk, environment._config, size)
                self._free_bytes = size if free is None else free
                self._look_s = now + LOOK_S
            check_growth(environment._data_file, size)
        except ResourceExhausted:
            return False
        return True
