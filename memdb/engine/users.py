"""The users of a database: found, created, held open in an LRU, erased."""

from __future__ import annotations

import logging
import os
import resource
import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from memdb.clock import Clock
from memdb.config import EngineConfig
from memdb.engine import removal
from memdb.engine.memory import UserMemory
from memdb.errors import DataLoss, FailedPrecondition, NotFound, Unavailable
from memdb.store.catalog import Catalog
from memdb.store.compact import compact, sweep
from memdb.store.directory import DataDirectory
from memdb.store.environment import DATA_FILE, Environment
from memdb.store.schema import USER_TABLES
from memdb.store.system import system_errors

BARE_BYTES_MAX: Final = 64 << 20
"""Data file of a user that is read without being opened: calls on it wait for tenths of a second."""

log = logging.getLogger("memdb.engine")

CALLS_END_S: Final = 2.0
"""How long calls on a user that must be closed may go on."""

FILES_PER_USER: Final = 3
"""Descriptors of an open environment: its data, that again for synced writes, and its lock."""
_FILES_SPARE: Final = 96
"""For connections, libraries, and users that are used while many are open."""


def _room() -> int:
    """Users for which the limit on open files leaves room; at least one."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(1, (soft - _FILES_SPARE) // (FILES_PER_USER + 1))


def _stamp(path: Path) -> tuple[int, int]:
    try:
        stat = (path / DATA_FILE).stat()
    except OSError:
        return 0, 0
    return stat.st_size, stat.st_mtime_ns


@dataclass(slots=True)
class _Slot:
    """One user: opened at most once, used by any number of calls."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    memory: UserMemory | None = None
    users: int = 0
    """Calls that work with `memory` or wait for it; such a slot is not evicted."""
    working: int = 0
    """Calls that work with it and will end: who must close it waits for them."""
    failure: tuple[DataLoss, tuple[int, int]] | None = None
    """Why the user could not be opened, and the size and time of the file that was so."""


class Users:
    """Open users, at most ``open_users_max`` beside those in use."""

    def __init__(
        self, directory: DataDirectory, catalog: Catalog, config: EngineConfig, clock: Clock
    ) -> None:
        self._directory = directory
        self._catalog = catalog
        self._config = config
        self._clock = clock
        self._lock = threading.Lock()
        self._left = threading.Condition(self._lock)
        self._slots: OrderedDict[str, _Slot] = OrderedDict()
        self._found_ns: dict[str, int | None] = {}
        """The time of a user's newest commit when this process first opened it, None of one that it
        made."""
        self._closed = False
        self._pid = os.getpid()
        self._open_max = min(config.open_users_max, _room())

    @contextmanager
    def use(
        self, user: str, *, create: bool = False, lasting: bool = False
    ) -> Iterator[UserMemory]:
        """The user's memory for the length of a call.

        lasting: it is kept open without being worked with, and may be closed all the same.

        Raises `NotFound` (``USER_NOT_FOUND``) unless it exists or ``create`` is true.
        """
        with self._lock:
            if self._closed:
                raise Unavailable("the database is closed", reason="CLOSED")
            if os.getpid() != self._pid:
                # Nor may it open what the parent has not opened: there would be two writers.
                raise FailedPrecondition(
                    "a database cannot be used after fork", reason="FORKED", value=os.getpid()
                )
            slot = self._slots.setdefault(user, _Slot())
            slot.users += 1
            self._slots.move_to_end(user)
        try:
            with slot.lock:
                if self._closed:
                    # Closed since the first look: opening now would outlive the directory's lock.
                    raise Unavailable("the database is closed", reason="CLOSED")
                if slot.memory is not None and slot.memory.to_be_opened_again:
                    self._close_memory(slot)
                if slot.memory is None:
                    slot.memory = self._open_once(slot, user, create=create)
                # Kept here: an erasure may empty the slot before the call is done.
                memory = slot.memory
                with self._lock:
                    slot.working += not lasting
            try:
                yield memory
            finally:
                with self._lock:
                    slot.working -= not lasting
                    self._left.notify_all()
        finally:
            with self._lock:
                slot.users -= 1
            self._drop_if_unused(user, slot)
            self._evict()

    @contextmanager
    def environment(self, user: str) -> Iterator[Environment]:
        """The user's environment for the length of a block that only reads it.

        A small user that is not open is not opened for it: no index is made, nobody else is closed
        to make room, and calls on it wait.  Raises as `use`.
        """
        path = self._directory.user_path(user)
        with self._lock:
            if self._closed:
                raise Unavailable("the database is closed", reason="CLOSED")
            slot = self._slots.setdefault(user, _Slot())
            slot.users += 1
        try:
            with slot.lock:
                if slot.memory is None and not path.exists():
                    raise NotFound(
                        "no such user", reason="USER_NOT_FOUND", field="user", value=user
                    )
                if slot.memory is None and _data_bytes(path) <= BARE_BYTES_MAX:
                    environment = Environment(path, USER_TABLES, self._config, self._directory.keys)
                    try:
                        yield environment
                    finally:
                        environment.close()
                    return
            with self.use(user) as memory:
                yield memory.environment
        finally:
            with self._lock:
                slot.users -= 1
            self._drop_if_unused(user, slot)

    def damage_found(self, user: str, places: Sequence[str]) -> None:
        """Damage was found in the store of a user: `UserMemory.damage_found` if it is open; else
        its opening or a read will find it.
        """
        with self._lock:
            slot = self._slots.get(user)
            memory = None if slot is None else slot.memory
        if memory is not None:
            memory.damage_found(places)

    def state(self, user: str) -> str:
        """``serving``, ``read-only`` after an I/O error, ``quarantined`` when it cannot be opened, or
        ``damaged`` when parts of it are kept apart; without opening it.

        Raises `NotFound` (``USER_NOT_FOUND``).
        """
        path = self._directory.user_path(user)
        with self._lock:
            slot = self._slots.get(user)
            memory = None if slot is None else slot.memory
            failure = None if slot is None else slot.failure
        if memory is None and not path.exists():
            raise NotFound("no such user", reason="USER_NOT_FOUND", field="user", value=user)
        if memory is None:
            return "serving" if failure is None else "quarantined"
        if memory.environment.is_read_only:
            return "read-only"
        return "serving" if memory.view.quarantine.is_empty else "damaged"

    def found_ns(self, user: str) -> int | None:
        """When the newest commit of a user was made that is not of this process, None where there is
        none; of a user that was opened.
        """
        return self._found_ns.get(user)

    def is_open(self, user: str) -> bool:
        """Whether `use` would give the user at once."""
        with self._lock:
            slot = self._slots.get(user)
            memory = None if slot is None else slot.memory
            return memory is not None and not memory.to_be_opened_again

    def open_memories(self) -> list[tuple[str, UserMemory]]:
        """The users that are open now."""
        with self._lock:
            return [
                (user, slot.memory) for user, slot in self._slots.items() if slot.memory is not None
            ]

    @contextmanager
    def exclusively(self, user: str) -> Iterator[Path]:
        """Close the user and keep it closed for the length of the block, while calls on it wait;
        where its directory is.
        """
        with self._lock:
            slot = self._slots.setdefault(user, _Slot())
            slot.users += 1
        try:
            with slot.lock:
                if slot.memory is not None:
                    self._close_memory(slot)
                yield self._directory.user_path(user)
        finally:
            with self._lock:
                slot.users -= 1
            self._drop_if_unused(user, slot)

    def close(self) -> None:
        """Finish commits in flight and close every user."""
        with self._lock:
            self._closed = True
            slots = list(self._slots.values())
            self._slots.clear()
        for slot in slots:
            with slot.lock:
                if slot.memory is not None:
                    slot.memory.close()
                    slot.memory = None

    def _close_memory(self, slot: _Slot) -> None:
        """Close an open user (under its slot's lock), once the calls that work with it have ended.

        One that takes longer is told that the user was closed (`Unavailable`), and may ask again.
        """
        with self._lock:
            self._left.wait_for(lambda: slot.working == 0, CALLS_END_S)
        if slot.memory is not None:
            slot.memory.close()
            slot.memory = None

    def _open_once(self, slot: _Slot, user: str, *, create: bool) -> UserMemory:
        """`_open`; what cannot be opened is not tried again until its file is another one."""
        stamp = _stamp(self._directory.user_path(user))
        if slot.failure is not None and slot.failure[1] == stamp:
            raise slot.failure[0].again()
        slot.failure = None
        try:
            with system_errors("user"):
                return self._open(user, create=create)
        except DataLoss as error:
            slot.failure = error.again(), stamp
            log.exception("a user cannot be opened", extra={"fields": {"user": user}})
            raise

    def _open(self, user: str, *, create: bool) -> UserMemory:
        path = self._directory.user_path(user)
        if path.exists():
            memory = self._whole(path, user)
        elif create:
            self._found_ns[user] = None
            memory = UserMemory.create(path, user, self._config, self._clock, self._directory.keys)
        else:
            raise NotFound("no such user", reason="USER_NOT_FOUND", field="user", value=user)
        # A crash may have come between the two; a user is listed once it could have been
        # acknowledged.
        try:
            self._catalog.add_user(user)
        except BaseException:
            # Else the environment stayed open and could not be opened a second time.
            memory.close()
            raise
        return memory

    def _whole(self, path: Path, user: str) -> UserMemory:
        """An existing user, with what a crash cut short brought to its end."""
        sweep(path)
        memory = UserMemory.open(path, user, self._config, self._clock, self._directory.keys)
        self._found_ns.setdefault(user, memory.view.state.counters.time_ns or None)
        try:
            record = removal.pending(memory)
            if record is not None:
                removal.remove_begun(memory, record)
                memory.close()
                compact(path)
                memory = UserMemory.open(
                    path, user, self._config, self._clock, self._directory.keys
                )
                removal.end(memory)
        except BaseException:
            memory.close()
            raise
        return memory

    def _evict(self) -> None:
        """Close the least recently used users above the limit."""
        with self._lock:
            excess = len(self._slots) - self._open_max
            if excess <= 0:
                return
            victims = [(user, slot) for user, slot in self._slots.items() if slot.users == 0][
                :excess
            ]
        for user, slot in victims:
            with slot.lock:
                with self._lock:
                    if slot.users:
                        continue
                # A call that comes now waits for the slot's lock and opens the user again.
                if slot.memory is not None:
                    slot.memory.close()
                    slot.memory = None
            self._drop_if_unused(user, slot)

    def _drop_if_unused(self, user: str, slot: _Slot) -> None:
        with self._lock:
            if (
                slot.users == 0
                and slot.memory is None
                and slot.failure is None
                and self._slots.get(user) is slot
            ):
                del self._slots[user]


def _data_bytes(path: Path) -> int:
    """Size of a user's data file, 0 when there is none: opening it says what is wrong."""
    file = path / DATA_FILE
    return file.stat().st_size if file.exists() else 0
