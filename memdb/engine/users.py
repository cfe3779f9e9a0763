"""The users of a database: found, created, held open in an LRU, erased."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar
from weakref import WeakMethod

from memdb.clock import Clock
from memdb.config import EngineConfig
from memdb.engine import removal
from memdb.engine.checkpoint_pace import Written
from memdb.engine.clip_cache import ClipCache
from memdb.engine.closing import Closing
from memdb.engine.due import want_due
from memdb.engine.hydrate import Parts
from memdb.engine.listed import ClipFetch, Listed
from memdb.engine.memory import UserMemory
from memdb.engine.opener import Opener
from memdb.engine.prepared import Preparation, Shelf
from memdb.engine.reading import WouldWait
from memdb.engine.shared_ingest import SharedIngests
from memdb.engine.slots import Slot, Slots
from memdb.engine.unopened import Unopened
from memdb.engine.upkeep import Upkeep
from memdb.engine.warmed import Warmed
from memdb.errors import DataLoss, MemdbError, NotFound, Unavailable
from memdb.index.terms import forget_words
from memdb.store.catalog import Catalog
from memdb.store.compact import check_room, compact
from memdb.store.directory import DataDirectory
from memdb.store.environment import Environment
from memdb.store.files import leads_nowhere
from memdb.store.system import system_errors
from memdb.types.clip import StoredClip

T = TypeVar("T")


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
        closing: Closing,
        warmed: Warmed | None = None,
    ) -> None:
        """warmed: checkpoints that were read ahead, see `open_warmed`."""
        self._directory = directory
        self._config = config
        self._slots = Slots(config.open_users_max)
        self._opener = Opener(directory, catalog, config, clock, checkpoint_rows, warmed)
        self._catalog = catalog
        self._warmed = warmed
        self._unopened = Unopened(directory, config)
        self._resting: set[str] = set()
        """Users that have nothing for a sweep to do, as long as nobody uses them."""
        self._upkeep = upkeep
        self._closing = closing
        self._clips = ClipCache(config.clip_cache_bytes_max)
        self.shared_ingests = SharedIngests()
        """Of those that have ingest writers."""
        self._written: dict[str, Written] = {}
        """Checkpoints that this process wrote last, by user."""
        self._forget: list[Callable[[str], object]] = [
            self._resting.discard,
            self._opener.forget,
            lambda user: self._written.pop(user, None),
        ]
        self._others_forget: list[WeakMethod[Callable[[str], None]]] = []

    @property
    def kept_clips(self) -> ClipCache:
        """Clips that answers held lately."""
        return self._clips

    @property
    def seq_ahead_max(self) -> int:
        """`EngineConfig.seq_ahead_max`."""
        return self._config.seq_ahead_max

    def open_warmed(self) -> None:
        """Open the users whose checkpoints were read ahead: somebody is likely to ask them soon."""
        if self._warmed is None:
            return
        try:
            users = {self._directory.user_path(user): user for user in self._catalog.users()}
            # Beyond those that stay open each would close the one before, which was written to later.
            for path in self._warmed.folders[: self._slots.open_max]:
                if path in users:
                    # What is wrong with one is told to who asks it.
                    with (
                        suppress(MemdbError, OSError, MemoryError),
                        self.use(users[path], whole=False),
                    ):
                        pass
        finally:
            self._warmed.forget()

    @contextmanager
    def use(
        self, user: str, *, create: bool = False, lasting: bool = False, whole: bool = True
    ) -> Iterator[UserMemory]:
        """The user's memory for the length of a call; a thread uses a user once at a time.

        lasting: it is kept open without being worked with, and may be closed all the same.  whole: False for who asks
        of rows and coverage alone, which a user has before its store was looked through (`UserMemory.is_whole`).

        Raises `NotFound` (``USER_NOT_FOUND``) unless it exists or ``create`` is true; where the block finds it
        closed, since it took long and was not waited for, `Unavailable` (``REOPENED``).
        """
        slot = self._slots.enter(user)
        is_call = False
        try:
            while True:
                with slot.lock:
                    self._slots.check_open()  # again: it may have been closed since
                    if slot.memory is not None and slot.memory.to_be_opened_again:
                        try:
                            self._slots.wait_for_calls(slot)
                        finally:
                            slot.closing = False
                        slot.close()
                    if slot.memory is None:
                        slot.memory = self._opener.once(slot, user, create=create)
                        self._take_in(slot, slot.memory)
                    memory = slot.memory
                    if memory.is_whole or not whole:
                        self._resting.discard(user)
                        if not lasting:
                            self._slots.call_begins(slot)
                            is_call = True
                        break
                memory.wait_whole()
            yield memory
            want_due(self._upkeep, memory)
        except Unavailable as error:
            self._check_reopened(user, error)
            raise
        finally:
            self._slots.leave(user, slot, is_call=is_call)

    def call(
        self,
        user: str,
        work: Callable[[UserMemory], T],
        *,
        create: bool = False,
        whole: bool = True,
    ) -> T:
        """What ``work`` makes of the user's memory, as within `use`; of a user that is open with less ado."""

        def called(memory: UserMemory) -> T:
            self._resting.discard(user)
            made = work(memory)
            want_due(self._upkeep, memory)
            return made

        with suppress(WouldWait):  # from the slots alone: the work may wait for what it reads
            try:
                made = self._slots.call(user, called, whole=whole)
            except Unavailable as error:
                self._check_reopened(user, error)
                raise
            self._slots.make_room()
            return made
        with self.use(user, create=create, whole=whole) as memory:
            return work(memory)

    def call_at_once(self, user: str, work: Callable[[UserMemory], T]) -> T:
        """`call` of a user that is open, for work that reads nothing of the store.

        Raises `WouldWait` where the user is not there at once, or the work does.
        """

        def called(memory: UserMemory) -> T:
            try:
                self._resting.discard(user)
                made = work(memory)
                memory.tries.succeeded()
                want_due(self._upkeep, memory)
                return made
            except WouldWait:
                memory.tries.failed()
                raise

        return self._slots.call(user, called)

    def _check_reopened(self, user: str, error: Unavailable) -> None:
        """Raise `Unavailable` (``REOPENED``) for one that says that the user was closed, unless the database is."""
        if error.reason == "CLOSED":
            self._slots.check_open()
            # Who hears of the database that it is closed gives up; this one is there again in a moment.
            raise Unavailable(
                "the user was closed while the call went on, for an erasure or a compaction: make it again",
                reason="REOPENED",
                field="user",
                value=user,
            ) from error

    def check_open(self) -> None:
        """Raise `Unavailable` (``CLOSED``), `FailedPrecondition` (``FORKED``)."""
        self._slots.check_open()

    @property
    def is_forked(self) -> bool:
        """Whether this process is a child of the one whose users they are."""
        return self._slots.is_forked

    @contextmanager
    def environment(self, user: str) -> Iterator[Environment]:
        """The user's environment for the length of a block that only reads it.

        A small user that is not open is not opened for it: no index is made, nobody else is closed
        to make room, and calls on it wait.  Raises as `use`.
        """
        with self._slots.held(user) as slot:
            with slot.lock:
                self._slots.check_open()
                if slot.memory is None and self._unopened.is_small(user):
                    with self._unopened.environment(user) as environment:
                        yield environment
                    return
            with self.use(user) as memory:
                yield memory.environment

    def has_chores(self, user: str) -> bool:
        """Whether a sweep has to open the user: for policies, or an erasure that has not ended.

        Looked up without opening it: of ten thousand users most have nothing to do, and to open each
        would close all that are used.  Raises what keeps its environment from being read.
        """
        with self._slots.held(user) as slot, slot.lock, system_errors("user"):
            self._slots.check_open()
            if slot.memory is not None or slot.failure is not None:
                return True
            if user not in self._resting and self._directory.has_user(user):
                if self._unopened.has_chores(user):
                    return True
                self._resting.add(user)
            return user not in self._resting

    def damage_found(self, user: str, places: Sequence[str]) -> None:
        """Damage was found in the store of a user: `UserMemory.damage_found` if it is open; else
        its opening or a read will find it.
        """
        memory = self._slots.memory_of(user)
        if memory is not None:
            memory.damage_found(places)

    def state(self, user: str) -> str:
        """``serving``, ``read-only`` after an I/O error, ``quarantined`` when it cannot be opened,
        ``erasure-pending`` when an erasure has begun and not ended, or ``damaged`` when parts of it
        are kept apart; without opening it.

        Raises `NotFound` (``USER_NOT_FOUND``).
        """
        path = self._directory.user_path(user)
        slot = self._slots.find(user)
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
        return self._opener.found_ns(user)

    def is_open(self, user: str, *, whole: bool = True) -> bool:
        """Whether `use` would give the user at once."""
        return self._slots.is_open(user, whole=whole)

    def is_held_closed(self, user: str) -> bool:
        """Whether calls on the user wait for an erasure, say, to end."""
        return self._slots.is_held_closed(user)

    def tries_at_once(self, user: str) -> bool:
        """Whether to try to answer the user's next question at once."""
        memory = self._slots.memory_of(user)
        return memory is not None and memory.tries.begin()

    def prepare(self, user: str, parts: Parts, shelf: Shelf) -> None:
        """Lay the user ready on a shelf, in the background, if it is one for that."""
        self._upkeep.want(Preparation(self, user, parts, shelf))

    def fetch(
        self, listed: Listed, rows: Sequence[int], give: Callable[[int, StoredClip], None]
    ) -> None:
        """Read the clips of some rows of a user that lies ready, in the background."""
        self._upkeep.want(ClipFetch(self, listed, rows, give))

    def touch(self, user: str) -> None:
        """The user was used by what it has lent: it is not the next to be closed to make room, and what is due is
        done.
        """
        memory = self._slots.memory_of(user)
        if memory is not None:
            memory.check_lent()

        def used(memory: UserMemory) -> None:
            self._resting.discard(user)
            want_due(self._upkeep, memory)

        with suppress(WouldWait, Unavailable):
            self._slots.call(user, used)

    def tend(self) -> None:
        """Have checkpoints written that are due and that no call has shown to be: after a user grew nobody may ask."""
        for _, memory in self._slots.open_memories():
            if memory.kept.is_due:
                self._upkeep.want(memory.kept)

    def open_memories(self) -> list[tuple[str, UserMemory]]:
        """The users that are open now."""
        return self._slots.open_memories()

    @contextmanager
    def erasing(self, user: str, *, wait: bool = True) -> Iterator[bool]:
        """Let one at a time erase the user or parts of it; whether this is the one, which without
        ``wait`` it may not be.
        """
        with self._slots.held(user) as slot:
            taken = slot.erasing.acquire(blocking=wait)
            try:
                yield taken
            finally:
                if taken:
                    slot.erasing.release()

    @contextmanager
    def exclusively(
        self, user: str, check: Callable[[UserMemory], None] | None = None
    ) -> Iterator[Path]:
        """Close the user, once the calls on it are done, and keep it closed for the length of the
        block, while new calls on it wait; where its directory is.

        check: called before the user is closed, unless it is too damaged to be opened; what it raises leaves all as it
        is, as what keeps it from being opened does.
        """
        with self._slots.alone(user) as slot:
            self._resting.discard(user)
            if check is not None:
                if slot.memory is None:  # closed since it was last looked at, and not opened again
                    with suppress(DataLoss):
                        slot.memory = self._opener.once(slot, user, create=False)
                if slot.memory is not None:
                    check(slot.memory)
            slot.close()
            yield self._directory.user_path(user)

    def when_erased(self, forget: Callable[[str], None]) -> None:
        """Have ``forget``, a method, let go of what its object remembers of a user that was erased, for as long as
        somebody else has that object: servers come and go over one database.  It raises nothing, and waits for nothing.
        """
        known = [each for each in self._others_forget if each() is not None]
        self._others_forget = [*known, WeakMethod(forget)]

    def forget(self, user: str) -> None:
        """The user was erased: nothing of it stays in memory."""
        others = [each() for each in self._others_forget]
        for forget in (*self._forget, *others):
            if forget is not None:
                forget(user)
        forget_words()

    def end_erasure(self, user: str) -> int:
        """Make the user's environment anew, without the bytes of what was removed, and note that the
        erasure is over, while calls on the user wait; the bytes that it shrank by.

        Raises what refuses a compaction or a commit; the user is open all the same, its erasure
        pending.
        """
        with self._slots.alone(user) as slot, system_errors("user"):
            if slot.memory is None:
                slot.memory = self._opener.bare(user)
                self._take_in(slot, slot.memory)
            memory, shrunk = self._made_anew(user, slot, erasure_pending=True)
            removal.end(memory)
            memory.erasure_pending = False
            forget_words()
            return shrunk

    def shrink(self, user: str) -> int:
        """Give the file system the pages that were freed in the environment of a user, while calls on the user
        wait; the bytes that it shrank by.

        Raises what refuses to open it, or a compaction; the user is open all the same.
        """
        with self._slots.alone(user) as slot, system_errors("user"):
            if slot.memory is not None and slot.memory.to_be_opened_again:
                slot.close()
            if slot.memory is None:  # closed meanwhile, to make room for another
                slot.memory = self._opener.once(slot, user, create=False)
                self._take_in(slot, slot.memory)
            if slot.memory.erasure_pending:
                return 0  # what ends the erasure makes it anew
            # Before it is closed: each sweep comes here until there is room.
            check_room(self._directory.user_path(user), slot.memory.environment.live_bytes())
            return self._made_anew(user, slot, erasure_pending=False)[1]

    def _made_anew(self, user: str, slot: Slot, *, erasure_pending: bool) -> tuple[UserMemory, int]:
        """Compact the environment of an open user; the memory that is open then, and the bytes that the file
        shrank by.
        """
        path = self._directory.user_path(user)
        try:
            slot.close()
            shrunk = compact(path)
        finally:
            slot.close()  # where that was interrupted
            slot.memory = memory = self._opener.bare(user)
            memory.erasure_pending = erasure_pending
            self._take_in(slot, memory)
        return memory, shrunk

    def close(self) -> None:
        """Finish commits in flight and close every user, with a checkpoint where there is time for it."""
        slots = self._slots.close()
        self._upkeep.close()
        self._closing.begin()
        for slot in slots:
            with slot.lock:
                if slot.memory is not None:
                    if not slot.memory.to_be_opened_again:
                        slot.memory.kept.finish(self._closing)
                    slot.close()
        self._slots.clear()

    def _take_in(self, slot: Slot, memory: UserMemory) -> None:
        """What outlasts an open user: who listens to it, the budget of what is kept of it, whether what its
        checkpoint kept of lists is to be used, and when that was written."""
        for partition in memory.view.partitions.values():
            self._upkeep.introduce(partition.tiers)
        memory.share_listeners(slot.listeners)
        memory.keep_clips(self._clips.of_user())
        memory.kept.share_written(self._written)
