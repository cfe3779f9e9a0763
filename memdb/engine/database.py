"""The embedded database: `memdb.types.database.Database` on a directory, in this process."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, Self

from memdb import deadline
from memdb.clock import Clock, SystemClock
from memdb.config import EngineConfig, IndexConfig
from memdb.engine.backup import Backups
from memdb.engine.clip_cache import ClipCache
from memdb.engine.closing import Closing
from memdb.engine.disk_room import frees_disk
from memdb.engine.erasure import erase_user, forget_erased, resume
from memdb.engine.hydrate import Parts
from memdb.engine.listed import Listed
from memdb.engine.prepared import Shelf
from memdb.engine.retention import sweep_user
from memdb.engine.retention_clock import RetentionClock
from memdb.engine.scrub import Scrub, ScrubReport
from memdb.engine.upkeep import Upkeep
from memdb.engine.user import EmbeddedUser
from memdb.engine.users import Users
from memdb.engine.verify import verify_user
from memdb.engine.warmed import Warmed
from memdb.errors import (
    DeadlineExceeded,
    InvalidArgument,
    MemdbError,
    NotFound,
    ResourceExhausted,
    Unavailable,
)
from memdb.eventlog import event_log
from memdb.index import faiss_later
from memdb.index.gpu_faiss import find_gpu
from memdb.index.indexed import Approximation
from memdb.index.recall import RecallCounts
from memdb.store.catalog import Catalog
from memdb.store.directory import DataDirectory
from memdb.store.directory_lock import DirectoryLock
from memdb.store.masterkey import read_master_key
from memdb.store.system import system_errors
from memdb.types.backup import BackupReport
from memdb.types.change import Discrepancy, ErasureReport, Verification
from memdb.types.checks import check_int
from memdb.types.clip import StoredClip
from memdb.types.database import Database
from memdb.types.documented import documented_by
from memdb.types.handle import Handle
from memdb.types.ids import check_id
from memdb.types.limits import LIMIT_MAX
from memdb.types.paths import check_made, checked_path
from memdb.types.retention import SweepReport
from memdb.types.space import Space

VERIFY_TRIES: Final = 20

log = event_log("memdb.engine")


@documented_by(Database)
class EmbeddedDatabase(Handle):
    """An open data directory; thread-safe, one process at a time."""

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        config: EngineConfig | None = None,
        index: IndexConfig | None = None,
        clock: Clock | None = None,
        create: bool = True,
        embed_texts: bool = True,
        warmed: Warmed | None = None,
        lock: DirectoryLock | None = None,
    ) -> None:
        """Open or create the directory.

        embed_texts: whether facts and questions that come without a feature are embedded in this
        process when an encoder is installed; the server says no, since models never enter it.  warmed: checkpoints that
        were read while another process had the directory.  lock: the directory's, where it is had already; given
        back with the database, and by the caller where this raises.

        Raises `InvalidArgument` (``BAD_PATH``), `FailedPrecondition` (``NO_DIRECTORY`` when the
        system does not let one be there, ``NO_GPU`` when ``index`` asks for one that is not there, and
        see `memdb.store.directory`), `ResourceExhausted` and
        `Unavailable` when it fails at it, `DataLoss`, and what is wrong with the file of the master
        key (`memdb.store.masterkey`).
        """
        self._config = config or EngineConfig()
        self._clock = clock or SystemClock()
        index = index or IndexConfig()
        approximation = Approximation(index.approximate_rows_min)
        self._recall = approximation.recall
        self._end = Closing(index.close_checkpoint_s)
        gpu = find_gpu(index.device, index.gpu_bytes_max, index.gpu_index)
        upkeep = Upkeep(gpu, approximation)
        key_file = self._config.master_key_file
        master_key = read_master_key(key_file) if key_file else None
        self._directory = _open_directory(path, create=create, master_key=master_key, lock=lock)
        try:
            self._catalog = Catalog(self._directory, self._config)
        except BaseException:
            self._directory.close()
            raise
        self._users = Users(
            self._directory,
            self._catalog,
            self._config,
            self._clock,
            upkeep,
            index.checkpoint_rows,
            self._end,
            warmed,
        )
        self._backups = Backups(self._directory, self._catalog, self._users, self._clock)
        self._scrub = Scrub(self._users, self._catalog, self._clock)
        self._users.when_erased(self._scrub.forget)
        self._retention_clock = RetentionClock(self._clock)
        self._users.when_erased(self._retention_clock.forget)
        self._sweeping = threading.Lock()
        self._closed = False
        self._closing = threading.Lock()
        self._given_back = False
        """Whether nothing is left to be closed."""
        self._embed_texts = embed_texts

    def when_erased(self, forget: Callable[[str], None]) -> None:
        """See `Users.when_erased`."""
        self._users.when_erased(forget)

    def create_space(
        self, name: str, *, dim: int, metric: str = "cosine", model: str = ""
    ) -> Space:
        self._check_open()
        return self._catalog.create_space(Space(name, dim, metric, model))

    def space(self, name: str) -> Space:
        self._check_open()
        return self._catalog.space(check_id(name, "space"))

    def spaces(self) -> list[Space]:
        self._check_open()
        return self._catalog.spaces()

    def user(self, user_id: str) -> EmbeddedUser:
        return EmbeddedUser(
            user_id,
            self._users,
            self._catalog,
            self._clock,
            self._erase,
            embed_texts=self._embed_texts,
        )

    @property
    def kept_clips(self) -> ClipCache:
        """Clips that answers held lately, for who sends answers."""
        return self._users.kept_clips

    def is_open(self, user_id: str, *, whole: bool = True) -> bool:
        """Whether a call for the user need not open it first, which may take long; whole: as `Users.use`."""
        return self._users.is_open(user_id, whole=whole)

    def open_user(self, user_id: str, *, whole: bool = True) -> None:
        """Have the user open; whole: as `Users.use`.  Raises what prevents it, and `NotFound`."""
        with self._users.use(check_id(user_id, "user"), whole=whole):
            pass

    def is_held_closed(self, user_id: str) -> bool:
        """Whether calls on the user wait for what has it closed: an erasure, a compaction."""
        return self._users.is_held_closed(user_id)

    def tries_at_once(self, user_id: str) -> bool:
        """Whether the user's next question is worth a try with ``at_once``; asked once for each."""
        return self._users.tries_at_once(user_id)

    def prepare(self, user_id: str, parts: Parts, shelf: Shelf) -> None:
        """Lay the user ready on a shelf, in the background, if it is one for that (`memdb.engine.prepared`)."""
        self._users.prepare(user_id, parts, shelf)

    def fetch(
        self, listed: Listed, rows: Sequence[int], give: Callable[[int, StoredClip], None]
    ) -> None:
        """Read the clips of some rows of a user that lies ready, in the background."""
        self._users.fetch(listed, rows, give)

    def touch(self, user_id: str) -> None:
        """The user was used: of the open ones it is not the next to be closed."""
        self._users.touch(user_id)

    def users(self, *, limit: int | None = None, after: str | None = None) -> list[str]:
        after = None if after is None else check_id(after, "after")
        limit = None if limit is None else check_int(limit, "limit", 1, LIMIT_MAX)
        self._check_open()
        return self._catalog.users(after, limit)

    def verify(self) -> Verification:
        self._check_open()
        catalog = self._catalog
        wrong_names = [] if catalog.mended is None else [catalog.mended]
        wrong_names += catalog.check()
        found = [Discrepancy("", where, what) for where, what in wrong_names]
        clips = values = 0
        users = self._catalog.users()
        for user in users:
            deadline.check()
            try:
                user_clips, user_values, wrong = self._verified(user)
            except NotFound:
                continue  # erased meanwhile
            except DeadlineExceeded:
                raise  # nobody waits: nothing is wrong with the user
            except MemdbError as error:
                self._check_open()
                found.append(Discrepancy(user, "environment", str(error)))
                continue
            clips, values = clips + user_clips, values + user_values
            found.extend(wrong)
        return Verification(len(users), clips, values, tuple(found))

    def _verified(self, user: str) -> tuple[int, int, list[Discrepancy]]:
        """`verify_user`, once more when the user was closed meanwhile: for an erasure, say."""
        for _ in range(VERIFY_TRIES - 1):
            try:
                with self._users.use(user) as memory:
                    return verify_user(memory)
            except Unavailable as error:
                if error.reason != "REOPENED":
                    raise
        with self._users.use(user) as memory:
            return verify_user(memory)

    def scrub(self, bytes_max: int) -> ScrubReport:
        """Check the next ``bytes_max`` bytes of stored values, going around all users; one thread at
        a time.
        """
        self._check_open()
        return self._scrub.step(bytes_max)

    def recall_counts(self) -> RecallCounts:
        """What approximate searches found since this was opened, of what exact ones find."""
        return self._recall.counts

    def user_state(self, user_id: str) -> str:
        """`memdb.engine.users.Users.state`."""
        self._check_open()
        return self._users.state(check_id(user_id, "user"))

    def sweep(self) -> SweepReport:
        self._check_open()
        with self._sweeping:
            return self._swept()

    def _swept(self) -> SweepReport:
        report = SweepReport()
        history_s = self._config.open_history_s or None
        self._end_erasures()
        for user in self._catalog.users():
            deadline.check()
            given_up: list[SweepReport] = []
            try:
                if history_s is None and not self._users.has_chores(user):
                    continue
                self._resume_erasure(user)
                self._sweep_user(user, history_s, given_up.append)
            except NotFound:
                continue  # erased meanwhile
            except DeadlineExceeded:
                raise  # what was given up stays so; the rest is for the next sweep
            except MemdbError as error:
                self._check_open()  # closed meanwhile: nobody else can be swept either
                log.exception("a user cannot be swept", extra={"fields": {"user": user}})
                report = report.plus(SweepReport(unswept=1, unswept_reasons=(error.reason,)))
            finally:
                for part in given_up:
                    report = report.plus(part)
        return report

    def _sweep_user(
        self, user: str, history_s: int | None, told: Callable[[SweepReport], None]
    ) -> None:
        """Carry out a user's policies, and give the file system what it holds no more where the disk is full.

        told: what was given up, whatever refuses the rest.

        A removal takes a little before it gives: where the disk was too full for it, what the file holds no more may be
        enough, so it is tried once more.
        """
        for is_last in (False, True):
            refused: ResourceExhausted | None = None
            with self._users.use(user) as memory:
                found_ns = self._users.found_ns(user)
                try:
                    for part in sweep_user(memory, self._retention_clock, found_ns, history_s):
                        told(part)
                        deadline.check()
                except ResourceExhausted as error:
                    refused = error
                shrinks = frees_disk(memory.environment, self._config)
            shrunk = self._shrink(user) if shrinks else 0
            if refused is None:
                return
            if is_last or not shrunk:
                raise refused

    def _shrink(self, user: str) -> int:
        """Give the file system what the user's file holds no more; the bytes that it shrank by."""
        try:
            return self._users.shrink(user)
        except ResourceExhausted:
            # Its policies were carried out, and it is written again once there is room.
            log.exception("freed pages stay in a user's file", extra={"fields": {"user": user}})
            return 0

    def backup(
        self, path: str | os.PathLike[str], *, parent: str | os.PathLike[str] | None = None
    ) -> BackupReport:
        self._check_open()
        wanted = Path(checked_path(path, "path"))
        check_made(path, "path")
        return self._backups.back_up(
            wanted, None if parent is None else Path(checked_path(parent, "parent"))
        )

    def load(self) -> None:
        """Load what the first question would: FAISS, and users whose checkpoints were read ahead.  Raises
        `ImportError`.
        """
        faiss_later.load()
        self._users.open_warmed()

    def tend(self) -> None:
        """Have done, in the background, what is due for users that nobody calls; now and then."""
        self._users.tend()

    def hurry(self) -> None:
        """Have `close`, which another thread may be at, write no checkpoint any more."""
        self._end.hurry()

    def close(self) -> None:
        """Finish commits in flight and give the directory back; idempotent.

        Who is interrupted in it (Ctrl-C) may close it once more, which goes on there.  A child of a fork only lets go
        of the directory: its parent has all the rest.
        """
        self._closed = True
        if self._users.is_forked:
            # Locks may be those of threads that there are not, and nothing of what lies there is this process's.
            if not self._given_back:
                self._given_back = True
                self._directory.close()
            return
        with self._closing:
            if not self._given_back:
                self._users.close()
                self._catalog.close()
                self._directory.close()
                self._given_back = True

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._directory.path}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def _end_erasures(self) -> None:
        """Bring erasures of whole users to their end that were refused half-way."""
        try:
            with system_errors("users"):
                self._directory.empty_trash()
                for user in self._catalog.users():
                    if not self._directory.has_user(user):
                        forget_erased(user, self._users, self._catalog, self._directory)
            self._catalog.finish()
        except MemdbError:
            self._check_open()
            log.exception("bytes or names of erased users stay for now")

    def _resume_erasure(self, user: str) -> None:
        """Try again what could not be ended."""
        try:
            resume(user, self._users)
        except NotFound:
            raise
        except MemdbError:
            # It is noted, and the policies of the user are carried out all the same.
            log.exception("an erasure is still pending", extra={"fields": {"user": user}})

    def _erase(self, user: str) -> ErasureReport:
        self._check_open()
        with system_errors("user"):
            return erase_user(user, self._users, self._catalog, self._directory)

    def _check_open(self) -> None:
        if self._closed:
            raise Unavailable("the database is closed", reason="CLOSED")
        self._users.check_open()


def _open_directory(
    path: str | os.PathLike[str],
    *,
    create: bool,
    master_key: bytes | None,
    lock: DirectoryLock | None,
) -> DataDirectory:
    if not _is_path(path):
        raise InvalidArgument(
            "expected the path of a directory", reason="BAD_PATH", field="path", value=path
        )
    check_made(path, "path")
    return DataDirectory(path, create=create, master_key=master_key, lock=lock)


def _is_path(path: object) -> bool:
    if not isinstance(path, (str, os.PathLike)):
        return False
    text = os.fspath(path)
    try:
        return isinstance(text, str) and text != "" and b"\0" not in os.fsencode(text)
    except UnicodeError:
        return False
