"""How a user is opened: made, or as it lies there, with what a crash cut short brought to its end."""

from __future__ import annotations

from pathlib import Path

from memdb.clock import Clock
from memdb.config import EngineConfig
from memdb.engine import removal
from memdb.engine.memory import UserMemory
from memdb.engine.opening import create_memory, open_memory
from memdb.engine.slots import Slot, Stamp
from memdb.engine.warmed import Warmed
from memdb.errors import DataLoss, MemdbError, NotFound
from memdb.eventlog import event_log
from memdb.store.catalog import Catalog
from memdb.store.compact import compact, sweep
from memdb.store.directory import DataDirectory
from memdb.store.schema import DATA_FILE
from memdb.store.shredding import KEY_FILE
from memdb.store.system import system_errors

log = event_log("memdb.engine")


class Opener:
    """Opens the users of a database; whoever calls has the user's slot."""

    def __init__(
        self,
        directory: DataDirectory,
        catalog: Catalog,
        config: EngineConfig,
        clock: Clock,
        checkpoint_rows: int,
        warmed: Warmed | None = None,
    ) -> None:
        """warmed: checkpoints that were read ahead."""
        self._directory = directory
        self._catalog = catalog
        self._config = config
        self._clock = clock
        self._checkpoint_rows = checkpoint_rows
        self._warmed = warmed
        self._found_ns: dict[str, int | None] = {}
        """The time of a user's newest commit when this process first opened it, None of one that it
        made."""

    def found_ns(self, user: str) -> int | None:
        """When the newest commit of a user was made that is not of this process, None where there is
        none; of a user that was opened.
        """
        return self._found_ns.get(user)

    def forget(self, user: str) -> None:
        """The user was erased."""
        self._found_ns.pop(user, None)

    def once(self, slot: Slot, user: str, *, create: bool) -> UserMemory:
        """`open`; what cannot be opened is not tried again until its file is another one."""
        stamp = _stamp(self._directory.user_path(user))
        if slot.failure is not None and slot.failure[1] == stamp:
            raise slot.failure[0].again()
        slot.failure = None
        try:
            with system_errors("user"):
                return self.open(user, create=create)
        except DataLoss as error:
            slot.failure = error.again(), stamp
            log.exception("a user cannot be opened", extra={"fields": {"user": user}})
            raise

    def open(self, user: str, *, create: bool) -> UserMemory:
        """The user, listed in the catalog; raises `NotFound` (``USER_NOT_FOUND``) unless it exists or ``create`` is
        true.
        """
        path = self._directory.user_path(user)
        if self._directory.has_user(user):
            memory = self._whole(path, user)
        elif create:
            self._found_ns[user] = None
            memory = create_memory(
                path, user, self._config, self._clock, self._directory.keys, self._checkpoint_rows
            )
        else:
            raise NotFound(
                "no such user yet; the first write makes one",
                reason="USER_NOT_FOUND",
                field="user",
                value=user,
            )
        # A crash may have come between the two; a user is listed once it could have been
        # acknowledged.
        try:
            self._catalog.add_user(user)
        except BaseException:
            # Else the environment stayed open and could not be opened a second time.
            memory.close()
            raise
        return memory

    def bare(self, user: str, *, early: bool = False) -> UserMemory:
        """An existing user as it lies there; early: `open_memory`."""
        return open_memory(
            self._directory.user_path(user),
            user,
            self._config,
            self._clock,
            self._directory.keys,
            self._checkpoint_rows,
            early=early,
            warmed=self._warmed,
        )

    def _whole(self, path: Path, user: str) -> UserMemory:
        """An existing user, with what a crash cut short brought to its end.

        An erasure that cannot be ended now (the disk is full, a stream came under legal hold, there
        is damage, there is no memory) stays pending, and everything else is served.
        """
        sweep(path)
        # One of which an erasure is pending answers nothing early.
        memory = self.bare(user, early=True)
        is_open = True
        try:
            # Within: an interrupt that comes here must not leave it open with nobody to close it.
            self._found_ns.setdefault(user, memory.view.state.counters.time_ns or None)
            record = removal.pending(memory)
            if record is None:
                return memory
            memory.erasure_pending = True
            removal.remove_begun(memory, record)
            memory.close()
            is_open = False
            with system_errors("user"):
                compact(path)
            memory = self.bare(user)
            is_open = memory.erasure_pending = True
            removal.end(memory)
            memory.erasure_pending = False
        except (MemdbError, MemoryError):
            log.exception("an erasure is pending", extra={"fields": {"user": user}})
            if not is_open:
                memory = self.bare(user)
            memory.erasure_pending = True
        except BaseException:
            memory.close()
            raise
        return memory


def _stamp(path: Path) -> Stamp:
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
