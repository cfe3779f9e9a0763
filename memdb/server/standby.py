"""A server that stands by: loaded, while another process has the directory, and serving as soon as that is gone.

::

    DIR/LOCK is another's ──▶ load all that a question needs ──▶ wait for the lock
                          ──▶ it is gone ──▶ open; the address is free ──▶ bind, serve

The system lets go of a lock when its process ends, however it does, and not before: so nothing is opened that anybody
still writes to.  Of a start two thirds are Python loading modules, which is done by then, and what the first question
to a large user waits for is read ahead (`memdb.engine.warmed`).  Whoever waits for the lock is woken by the system, and
looks for nothing: it has the lock then.  Several may stand by; one of them comes first, and the others wait on.
"""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, NoReturn

from memdb.config import ServerConfig
from memdb.engine.database import EmbeddedDatabase
from memdb.engine.warmed import Warmed
from memdb.errors import FailedPrecondition
from memdb.eventlog import event_log
from memdb.index import faiss_later
from memdb.server.edges import load_edge
from memdb.server.listener import check_bindable
from memdb.store.directory import USERS
from memdb.store.directory_lock import DirectoryLock
from memdb.store.system import unusable
from memdb.types.paths import checked_text

READ_AHEAD_S: Final = 30.0
"""How often it is looked which checkpoints are new."""
FREE_S: Final = 5.0
"""How long the address may be taken once the directory is free: a process that ends lets go of one after the other."""
LOOK_S: Final = 0.002
"""How often it is looked whether it is."""

log = event_log("memdb.server")


class _Ended(BaseException):
    """SIGTERM, before there is anything to stop in order; nothing that a handler of errors may take for its own."""


def opened_in_turn(
    config: ServerConfig, opened: Callable[[Warmed, DirectoryLock | None], EmbeddedDatabase]
) -> EmbeddedDatabase | None:
    """The database, once no other process has it; None where SIGTERM came first.

    Says by a JSON line on stdout that it stands by, where it does.  Raises as ``opened`` and `check_bindable`, but not
    for a directory that another process has.
    """
    waiting = _Waiting(config)
    try:
        with _ended_by_sigterm():
            while True:
                lock = _wait(Path(checked_text(config.data, "server.data")), waiting.begin)
                waiting.end()
                try:
                    database = opened(waiting.warmed, lock)
                except BaseException as error:
                    if lock is not None:
                        lock.close()
                    elif _is_locked(error):
                        continue  # there was no directory, and another process has made it meanwhile
                    raise
                try:
                    # Only by who has the directory: to look takes the address, for a moment, from who is about to bind.
                    _wait_bindable(config)
                except BaseException:
                    database.close()
                    raise
                return database
    except _Ended:
        return None
    finally:
        waiting.end()


class _Waiting:
    """What is done meanwhile: load what a start loads later, and read what the first questions want."""

    def __init__(self, config: ServerConfig) -> None:
        self._config = config
        self.warmed = Warmed(config.standby_bytes_max)
        self._over = threading.Event()

    def begin(self, owner: str) -> None:
        """Another process has the directory, of this number."""
        load_edge(self._config)
        faiss_later.load()
        self.warmed, self._over = Warmed(self._config.standby_bytes_max), threading.Event()
        args = self.warmed, Path(self._config.data) / USERS, self._over
        with suppress(RuntimeError):  # no thread to be had: it is read when it is asked for
            threading.Thread(
                target=_read_ahead, args=args, name="memdb-standby", daemon=True
            ).start()
        held_by = int(owner) if owner.isdecimal() else None
        told = {"data": self._config.data, "held_by": held_by}
        log.info("standing by", extra={"fields": told})
        # Last: who reads it may end this process at once, or the other.
        print(json.dumps({"event": "standing_by", **told, "pid": os.getpid()}), flush=True)

    def end(self) -> None:
        """None has."""
        self._over.set()
        self.warmed.stop()


def _read_ahead(warmed: Warmed, users: Path, over: threading.Event) -> None:
    told = -1
    while not over.is_set():
        warmed.look(users)
        if warmed.size != told and not over.is_set():
            told = warmed.size
            log.info("read ahead", extra={"fields": {"bytes": told}})
        over.wait(READ_AHEAD_S)


def _wait(path: Path, waiting: Callable[[str], None]) -> DirectoryLock | None:
    try:
        return DirectoryLock.wait(path, waiting)
    except OSError as error:
        raise unusable(error, str(path)) from error


def _is_locked(error: BaseException) -> bool:
    return isinstance(error, FailedPrecondition) and error.reason == "DIRECTORY_LOCKED"


def _wait_bindable(config: ServerConfig) -> None:
    """Return once the address is free; raises as `check_bindable` where it is not soon."""
    until_s = time.monotonic() + FREE_S
    while True:
        try:
            check_bindable(config)
            return
        except FailedPrecondition as error:
            if error.reason != "ADDRESS_IN_USE" or time.monotonic() > until_s:
                raise
        time.sleep(LOOK_S)


@contextmanager
def _ended_by_sigterm() -> Iterator[None]:
    """Within it SIGTERM raises `_Ended`."""

    def end(_number: int, _frame: object) -> NoReturn:
        raise _Ended

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
