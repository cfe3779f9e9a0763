"""The users of a database: found, created, held open in an LRU, erased."""

from __future__ import annotations

import os
import resource
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from memdb.clock import Clock
from memdb.config import EngineConfig
from memdb.engine import removal
from memdb.engine.clip_cache import ClipCache
from memdb.engine.memory import UserMemory
from memdb.engine.reading import WouldWait
from memdb.engine.upkeep import Upkeep
from memdb.errors import DataLoss, FailedPrecondition, MemdbError, NotFound, Unavailable
from memdb.eventlog import event_log
from memdb.store.catalog import Catalog
from memdb.store.compact import check_room, compact, sweep
from memdb.store.directory import DataDirectory
from memdb.store.environment import Environment
from memdb.store.files import leads_nowhere
from memdb.store.schema import DATA_FILE, META_ERASURE, USER_TABLES, Table
from memdb.store.shredding import KEY_FILE
from memdb.store.system import system_errors

BARE_BYTES_MAX: Final = 64 << 20
"""Data file of a user that is read without being opened: calls on it wait for tenths of a second."""

_Stamp = tuple[int, ...]

log = event_log("memdb.engine")

CALLS_END_S: Final = 5.0
"""How long calls on a user that must be closed may go on; who takes longer is told `CLOSED`."""

CHECKPOINTS_S: Final = 3.0
"""How long a database that is closed writes checkpoints; those that come after do without."""

FILES_PER_USER: Final = 3
"""Descriptors of an open environment: its data, that again for synced writes, and its lock."""
_FILES_SPARE: Final = 96
"""For connections, libraries, and users that are used while many are open."""


def _room() -> int:
    """Users for which the limit on open files leaves room; at least one."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(1, (soft - _FILES_SPARE) // (FILES_PER_USER + 1))


def _stamp(path: Path) -> _Stamp:
    """Size and time of the files that a user is opened from."""
    found: list[int] = []
    for name in (DATA_FILE, KEY_FILE):
        try:
            stat = (path / name).stat()
        except OSError:
            found += 0, 0
        else:
            found += stat.st_size, stat.st_mtime_ns
    return tuple(found)


@dataclass(slots=True)
class _Slot:
    """One user: opened at most once, used by any number of calls."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    memory: UserMemory | None = None
    users: int = 0
    """Who works with `memory` now; such a slot is not evicted."""
    calls: int = 0
    """Of those, who will be done soon: what closes the user waits for them."""
    closing: bool = False
    """Whether calls that come now wait until the user is opened anew."""
    erasing: threading.Lock = field(default_factory=threading.Lock)
    """Who erases the user, or of it."""
    listeners: dict[int, Callable[[int], None]] = field(default_factory=dict)
    """Who listens to the user, whichever memory of it is open."""
    failure: tuple[DataLoss, _Stamp] | None = None
    """Why the user could not be opened, and the stamp of its files that were so."""


class Users:
    """Open users, at most ``open_users_max`` beside those in use."""

    def __init__(
        self,
        directory: DataDirectory,
        catalog: Catalog,
        config: EngineConfig,
        clock: Clock,
        upkeep: Upkeep,
        checkpoint_rows: int,
    ) -> None:
        self._directory = directory
        self._catalog = catalog
        self._config = config
        self._clock = clock
        self._lock = threading.Lock()
        self._idle = threading.Condition(self._lock)
        """Told when the last call on a user is done."""
        self._slots: OrderedDict[str, _Slot] = OrderedDict()
        self._found_ns: dict[str, int | None] = {}
        """The time of a user's newest commit when this process first opened it, None of one that it
        made."""
        self._resting: set[str] = set()
        """Users that have nothing for a sweep to do, as long as nobody uses them."""
        self._upkeep = upkeep
        self._clips = ClipCache(config.clip_cache_bytes_max)
        self._checkpoint_rows = checkpoint_rows
        self._closed = False
        self._pid = os.getpid()
        self._open_max = min(config.open_users_max, _room())

    @property
    def seq_ahead_max(self) -> int:
        """`EngineConfig.seq_ahead_max`."""
        return self._config.seq_ahead_max

    @contextmanager
    def use(
        self, user: str, *, create: bool = False, lasting: bool = False
    ) -> Iterator[UserMemory]:
        """The user's memory for the length of a call; a thread uses a user once at a time.

        lasting: it is kept open without being worked with, and may be closed all the same.

        Raises `NotFound` (``USER_NOT_FOUND``) unless it exists or ``create`` is true.
        """
        with self._lock:
            self._check_open()
            slot = self._slots.setdefault(user, _Slot())
            slot.users += 1
            self._slots.move_to_end(user)
        counted = False
        try:
            with slot.lock:
                self._check_open()  # again: it may have been closed since
                if slot.memory is not None and slot.memory.to_be_opened_again:
                    try:
                        self._wait_for_calls(slot)
                    finally:
                        slot.closing = False
                    memory, slot.memory = slot.memory, None
                    memory.close()
                if slot.memory is None:
                    slot.memory = self._open_once(slot, user, create=create)
                    self._take_in(slot, slot.memory)
                self._resting.discard(user)
                memory = slot.memory
                if not lasting:
                    with self._lock:
                        slot.calls += 1
                        counted = True
            yield memory
            self._want_upkeep(memory)
        finally:
            with self._lock:
                slot.users -= 1
                if counted:
                    self._call_ended(slot)
                is_bare, are_many = slot.memory is None, len(self._slots) > self._open_max
            if is_bare:
                self._drop_if_unused(user, slot)
            if are_many:
                self._evict()

    @contextmanager
    def use_at_once(self, user: str) -> Iterator[UserMemory]:
        """`use` of a user that is open, for a call that reads nothing of the store.

        Raises `WouldWait` where the user is not there at once.
        """
        with self._lock:
            self._check_open()
            slot = self._slots.get(user)
            if slot is None or slot.closing:
                raise WouldWait
            memory = slot.memory
            # Who opens or closes the user has the slot's lock.
            if memory is None or memory.to_be_opened_again or slot.lock.locked():
                raise WouldWait
            slot.users += 1
            slot.calls += 1
            self._slots.move_to_end(user)
        try:
            self._resting.discard(user)
            yield memory
            memory.tries.succeeded()
            self._want_upkeep(memory)
        except WouldWait:
            memory.tries.failed()
            raise
        finally:
            with self._lock:
                slot.users -= 1
                self._call_ended(slot)

    def _call_ended(self, slot: _Slot) -> None:
        """One of a slot's calls is done (under the lock)."""
        slot.calls -= 1
        if not slot.calls:
            self._idle.notify_all()

    def _want_upkeep(self, memory: UserMemory) -> None:
        """Have done, in the background, what a call has shown to be due."""
        for partition in memory.view.partitions.values():
            if partition.tiers.is_due:
                self._upkeep.want(partition.tiers)
        for margins in memory.standing.due():
            self._upkeep.want(margins)
        if memory.kept.is_due:
            self._upkeep.want(memory.kept)

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
                self._check_open()
                if slot.memory is None and _data_bytes(self._directory, user) <= BARE_BYTES_MAX:
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

    def has_chores(self, user: str) -> bool:
        """Whether a sweep has to open the user: for policies, or an erasure that has not ended.

        Looked up without opening it: of ten thousand users most have nothing to do, and to open each
        would close all that are used.  Raises what keeps its environment from being read.
        """
        with self._lock:
            slot = self._slots.setdefault(user, _Slot())
            slot.users += 1
        try:
            with slot.lock, system_errors("user"):
                self._check_open()
                if slot.memory is not None or slot.failure is not None:
                    return True
                path = self._directory.user_path(user)
                if user not in self._resting and self._directory.has_user(user):
                    environment = Environment(path, USER_TABLES, self._config, self._directory.keys)
                    try:
                        with environment.read() as txn:
                            if txn.count(Table.RETENTION) or txn.holds(Table.META, META_ERASURE):
                                return True
                    finally:
                        environment.close()
                    self._resting.add(user)
                return user not in self._resting
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
        """``serving``, ``read-only`` after an I/O error, ``quarantined`` when it cannot be opened,
        ``erasure-pending`` when an erasure has begun and not ended, or ``damaged`` when parts of it
        are kept apart; without opening it.

        Raises `NotFound` (``USER_NOT_FOUND``).
        """
        path = self._directory.user_path(user)
        with self._lock:
            slot = self._slots.get(user)
            memory = None if slot is None else slot.memory
            failure = None if slot is None else slot.failure
        with system_errors("user"):
            is_there = memory is not None or self._directory.has_user(user)
            is_away = memory is None and leads_nowhere(path)
        if not is_there:
            raise NotFound("no such user", reason="USER_NOT_FOUND", field="user", value=user)
        if memory is None:
            return "serving" if failure is None and not is_away else "quarantined"
        if memory.environment.is_read_only:
            return "read-only"
        if memory.erasure_pending:
            return "erasure-pending"
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
            if slot is None or slot.memory is None or slot.closing:
                return False
            return not slot.memory.to_be_opened_again

    def tries_at_once(self, user: str) -> bool:
        """Whether to try to answer the user's next question at once."""
        with self._lock:
            slot = self._slots.get(user)
            memory = None if slot is None else slot.memory
        return memory is not None and memory.tries.begin()

    def open_memories(self) -> list[tuple[str, UserMemory]]:
        """The users that are open now."""
        with self._lock:
            return [
                (user, slot.memory) for user, slot in self._slots.items() if slot.memory is not None
            ]

    @contextmanager
    def erasing(self, user: str, *, wait: bool = True) -> Iterator[bool]:
        """Let one at a time erase the user or parts of it; whether this is the one, which without
        ``wait`` it may not be.
        """
        with self._lock:
            slot = self._slots.setdefault(user, _Slot())
            slot.users += 1
        try:
            taken = slot.erasing.acquire(blocking=wait)
            try:
                yield taken
            finally:
                if taken:
                    slot.erasing.release()
        finally:
            with self._lock:
                slot.users -= 1
            self._drop_if_unused(user, slot)

    @contextmanager
    def exclusively(
        self, user: str, check: Callable[[UserMemory], None] | None = None
    ) -> Iterator[Path]:
        """Close the user, once the calls on it are done, and keep it closed for the length of the
        block, while new calls on it wait; where its directory is.

        check: called before an open user is closed; what it raises leaves all as it is.
        """
        with self._alone(user) as slot:
            self._resting.discard(user)
            if slot.memory is not None:
                if check is not None:
                    check(slot.memory)
                memory, slot.memory = slot.memory, None
                memory.close()
            yield self._directory.user_path(user)

    def end_erasure(self, user: str) -> int:
        """Make the user's environment anew, without the bytes of what was removed, and note that the
        erasure is over, while calls on the user wait; the bytes that it shrank by.

        Raises what refuses a compaction or a commit; the user is open all the same, its erasure
        pending.
        """
        with self._alone(user) as slot, system_errors("user"):
            if slot.memory is None:
                slot.memory = self._open_bare(user)
                self._take_in(slot, slot.memory)
            memory, shrunk = self._made_anew(user, slot, slot.memory, erasure_pending=True)
            removal.end(memory)
            memory.erasure_pending = False
            return shrunk

    def shrink(self, user: str) -> int:
        """Give the file system the pages that were freed in the environment of a user, while calls on the user
        wait; the bytes that it shrank by.

        Raises what refuses to open it, or a compaction; the user is open all the same.
        """
        with self._alone(user) as slot, system_errors("user"):
            if slot.memory is None:  # closed meanwhile, to make room for another
                slot.memory = self._open_once(slot, user, create=False)
                self._take_in(slot, slot.memory)
            if slot.memory.erasure_pending:
                return 0  # what ends the erasure makes it anew
            # Before it is closed: each sweep comes here until there is room.
            check_room(self._directory.user_path(user), slot.memory.environment.live_bytes())
            return self._made_anew(user, slot, slot.memory, erasure_pending=False)[1]

    def _made_anew(
        self, user: str, slot: _Slot, memory: UserMemory, *, erasure_pending: bool
    ) -> tuple[UserMemory, int]:
        """Compact the environment of an open user; the memory that is open then, and the bytes that the file
        shrank by.
        """
        path = self._directory.user_path(user)
        slot.memory = (
            None  # first: who is interrupted while it is closed leaves no closed one behind
        )
        try:
            memory.close()
            shrunk = compact(path)
        finally:
            memory.close()  # where that was interrupted: a file is not opened a second time
            slot.memory = memory = self._open_bare(user)
            memory.erasure_pending = erasure_pending
            self._take_in(slot, memory)
        return memory, shrunk

    @contextmanager
    def _alone(self, user: str) -> Iterator[_Slot]:
        """The user's slot, with no call on it, while new ones wait."""
        with self._lock:
            if self._closed:
                raise Unavailable("the database is closed", reason="CLOSED")
            slot = self._slots.setdefault(user, _Slot())
            slot.users += 1
        try:
            with slot.lock:
                try:
                    self._wait_for_calls(slot)
                    self._check_open()
                    yield slot
                finally:
                    slot.closing = False
        finally:
            with self._lock:
                slot.users -= 1
            self._drop_if_unused(user, slot)

    def _check_open(self) -> None:
        """Asked under a slot's lock, which `close` takes: what is opened would outlive the directory's."""
        if self._closed:
            raise Unavailable("the database is closed", reason="CLOSED")
        if os.getpid() != self._pid:
            # Nor may it open what the parent has not opened: there would be two writers.
            raise FailedPrecondition(
                "a database cannot be used after fork", reason="FORKED", value=os.getpid()
            )

    def _wait_for_calls(self, slot: _Slot) -> None:
        """Let the calls on a user end that must be closed (under its slot's lock); new ones wait."""
        with self._idle:
            slot.closing = True
            self._idle.wait_for(lambda: slot.calls == 0, CALLS_END_S)

    def close(self) -> None:
        """Finish commits in flight and close every user."""
        with self._lock:
            self._closed = True
            slots = list(self._slots.values())
        self._upkeep.close()
        until = time.monotonic() + CHECKPOINTS_S
        for slot in slots:
            with slot.lock:
                if slot.memory is not None:
                    if not slot.memory.to_be_opened_again:
                        slot.memory.kept.finish(lambda: time.monotonic() >= until)
                    slot.memory.close()
                    slot.memory = None
        with self._lock:
            self._slots.clear()

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
        if self._directory.has_user(user):
            memory = self._whole(path, user)
        elif create:
            self._found_ns[user] = None
            memory = UserMemory.create(
                path, user, self._config, self._clock, self._directory.keys, self._checkpoint_rows
            )
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

    def _open_bare(self, user: str) -> UserMemory:
        """An existing user as it lies there."""
        return UserMemory.open(
            self._directory.user_path(user),
            user,
            self._config,
            self._clock,
            self._directory.keys,
            self._checkpoint_rows,
        )

    def _whole(self, path: Path, user: str) -> UserMemory:
        """An existing user, with what a crash cut short brought to its end.

        An erasure that cannot be ended now (the disk is full, a stream came under legal hold, there
        is damage) stays pending, and everything else is served.
        """
        sweep(path)
        memory = self._open_bare(user)
        self._found_ns.setdefault(user, memory.view.state.counters.time_ns or None)
        is_open = True
        try:
            record = removal.pending(memory)
            if record is None:
                return memory
            memory.erasure_pending = True
            removal.remove_begun(memory, record)
            memory.close()
            is_open = False
            with system_errors("user"):
                compact(path)
            memory = self._open_bare(user)
            is_open = memory.erasure_pending = True
            removal.end(memory)
            memory.erasure_pending = False
        except MemdbError:
            log.exception("an erasure is pending", extra={"fields": {"user": user}})
            if not is_open:
                memory = self._open_bare(user)
            memory.erasure_pending = True
        except BaseException:
            memory.close()
            raise
        return memory

    def _take_in(self, slot: _Slot, memory: UserMemory) -> None:
        """What outlasts an open user: who listens to it, and the budget of what is kept of it."""
        memory.share_listeners(slot.listeners)
        memory.keep_clips(self._clips.of_user())

    def _evict(self) -> None:
        """Close the least recently used users above the limit."""
        with self._lock:
            if len(self._slots) <= self._open_max:
                return
            # Not counted: users that cannot be opened, of which only the reason is kept.
            slots = [
                one for one in self._slots.items() if one[1].memory is not None or one[1].users
            ]
            excess = len(slots) - self._open_max
            if excess <= 0:
                return
            victims = [(user, slot) for user, slot in slots if slot.users == 0][:excess]
        for user, slot in victims:
            with slot.lock:
                with self._lock:
                    if slot.users:
                        continue
                # A call that comes now waits for the slot's lock and opens the user again.
                memory, slot.memory = slot.memory, None
                if memory is not None:
                    memory.close()
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


def _data_bytes(directory: DataDirectory, user: str) -> int:
    """Size of a user's data file, 0 when there is none: opening it says what is wrong.

    Raises `NotFound` (``USER_NOT_FOUND``).
    """
    with system_errors("user"):
        if not directory.has_user(user):
            raise NotFound("no such user", reason="USER_NOT_FOUND", field="user", value=user)
        file = directory.user_path(user) / DATA_FILE
        return file.stat().st_size if file.exists() else 0
