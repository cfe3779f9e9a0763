"""The checkpoint of one open user: read when it is opened, written behind its back, dropped with what
it must not hold.

It is written when there are enough rows that it lacks (`is_due`), by the upkeep or when the database is
closed; no write and no question waits for it.  It is never the reason for an answer: what cannot be
read or written of it is logged, and the user does without.

A large one that keeps every row of the user may answer before the store was looked through (`load_early`,
`memdb.engine.early_rows`): then it is mapped at first, and read into memory soon after (`settle`).

A removal drops it before anything else may rest on it: a writer that had begun before finds that
out before it names its file.  Where a crash came first, the next opening finds rows in it that the
store does not have, and drops it then.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import BinaryIO, Final

from memdb import failpoints
from memdb.config import EngineConfig
from memdb.engine.checkpoint_pace import Written
from memdb.engine.closing import Closing
from memdb.engine.early_file import EarlyFile
from memdb.engine.state import UserState
from memdb.engine.view import View
from memdb.eventlog import event_log
from memdb.index.checkpoint import BadCheckpoint, KeptRows, KeptUser, owner_of
from memdb.index.checkpoint_reader import read_checkpoint
from memdb.index.checkpoint_writer import CheckpointWriter, file_bytes, kept_places
from memdb.index.gpu import Gpu
from memdb.index.indexed import Approximation
from memdb.index.ivf import Breadth
from memdb.index.partition import Partition
from memdb.store.derived import (
    DERIVED_FILE,
    drop_derived,
    place_derived,
    sweep_derived,
    sync_so_far,
    write_derived,
)
from memdb.store.disk import check_disk
from memdb.store.environment import Environment
from memdb.store.log_content import log_content_in
from memdb.store.schema import FORMAT
from memdb.types.space import Space

GROWTH: Final = 2
"""One is due when as much as one part in so many of what it keeps has come since."""
PAUSE_S: Final = 30.0
"""Between two of them at least, and before the first of a user that grows."""
BYTES_PER_S: Final = 4 << 20
"""More than so many are not written in the long run, however much is removed."""

FINISH_GROWTH: Final = 8
"""As `GROWTH`, of one whose user is closed in order."""

SYNCED_BYTES: Final = 32 << 20
"""So many are written before the disk has them: who closes is never far behind the time that it has, and commits
beside it wait for no more."""

Trained = tuple[int, Breadth | None]

log = event_log("memdb.engine")


class KeptIndex:
    """The checkpoint of an open user.  `maintain` by one thread at a time, the rest by any."""

    def __init__(
        self,
        environment: Environment,
        config: EngineConfig,
        rows_min: int,
        early: EarlyFile | None = None,
    ) -> None:
        """rows_min: rows without which none is written; 0: none is written, read or left.  early: of `early_file`."""
        self._folder = environment.path
        self._environment = environment
        self._config = config
        # Vectors of an encrypted user would stand there in the clear.
        self._rows_min = 0 if environment.is_encrypted else rows_min
        self._view: Callable[[], View | None] = lambda: None
        self._naming = threading.Lock()
        self._writing = threading.Lock()
        self._removals = 0
        """How often it was dropped."""
        self._rows = 0
        """That the file keeps."""
        self._counted = 0
        """Rows that there were when it was written, those that were gone already included."""
        self._trained: dict[int, Trained] = {}
        """`memdb.index.indexed.Indexed.trained` of what the file keeps, by space."""
        self._not_before = 0.0
        self._written: dict[str, Written] = {}
        """By user: of this one, unless `share_written` was called."""
        self._closed = False
        self._early = early
        """By which the user may answer before its store was looked through."""

    def load_early(self, state: UserState) -> KeptUser | None:
        """What the file keeps, its rows mapped; None where it is not one by which the user may answer early.

        Nothing of the store was compared with it: see `memdb.engine.early_rows`.
        """
        if self._early is None:
            return None
        try:
            if state.format < FORMAT:
                return None
            sweep_derived(self._folder)
            found = self._early.read(owner_of(state.id_key), state.revision)
            _check_spaces(found.spaces, state.spaces)
        except (BadCheckpoint, OSError):
            return None  # `load` says so, and removes it
        self._took(found.spaces)
        return found

    def settle(
        self, found: KeptUser, partitions: Mapping[int, Partition], stop: Callable[[], bool]
    ) -> None:
        """Have the rows that `load_early` mapped in memory instead.

        stop: asked before each hundred megabytes or so whether to leave the rest, as the user is closed.

        Raises `BadCheckpoint` and `OSError` where they are not those of before: answers since may be wrong.
        """
        early = self._early
        assert early is not None, "it was loaded"
        for space_no, rows in found.spaces.items():
            for planes in rows.planes:
                if stop():
                    return
                partitions[space_no].settle(planes, partial(early.copied, planes))
        self.end_early()

    def end_early(self) -> None:
        """Let go of the file; the rows that were mapped stay."""
        early, self._early = self._early, None
        if early is not None:
            early.close()

    def load(self, state: UserState) -> Mapping[int, KeptRows]:
        """What the file keeps, by space; nothing where there is none that can be used."""
        path = self._folder / DERIVED_FILE
        try:
            if self._rows_min == 0 or state.format < FORMAT:
                drop_derived(self._folder)
                return {}
            sweep_derived(self._folder)
            found = read_checkpoint(path, owner_of(state.id_key), state.revision)
            _check_spaces(found, state.spaces)
        except FileNotFoundError:
            return {}
        except (BadCheckpoint, OSError) as error:
            where = {"user": state.user, "what": str(error)}
            log.warning("a checkpoint is not used, and removed", extra={"fields": where})
            self.drop(durably=True)
            return {}
        self._took(found)
        return found

    def _took(self, found: Mapping[int, KeptRows]) -> None:
        self._rows = self._counted = sum(len(rows.clip_no) for rows in found.values())
        self._trained = {no: _trained_of(rows) for no, rows in found.items()}

    def check_all_there(
        self, found: Mapping[int, KeptRows], partitions: Mapping[int, Partition]
    ) -> None:
        """Drop the file where it keeps what the store does not have, or has otherwise: it may have been
        removed.
        """
        for space_no, rows in found.items():
            partition = partitions.get(space_no)
            columns = None if partition is None else partition.columns
            if not rows.are_all_in(columns):
                self.drop(durably=True)
                return

    def watch(self, view: Callable[[], View | None]) -> None:
        """Keep what ``view`` shows from now on; None where there is nothing any more."""
        self._view = view

    def share_written(self, written: dict[str, Written]) -> None:
        """Note there, by user, what is written: it outlasts the open user."""
        self._written = written

    def may_be_due(self, view: View) -> bool:
        """Whether `is_due`, or what learns from the rows, may ever have something to do for a view: not of few rows."""
        is_enough = 0 < self._rows_min <= _rows_of(view)
        return is_enough or not all(one.is_whole for one in view.partitions.values())

    @property
    def is_due(self) -> bool:
        """Whether enough came since the file was written, or other lists were made, and long enough ago."""
        return time.monotonic() >= self._not_before and self._lacks(GROWTH) and not self._rests

    @property
    def _rests(self) -> bool:
        """Whether the file was dropped too soon after it was written, and for too little."""
        view = self._view()
        if view is None or self._counted:
            return False
        written = self._written.get(view.state.user)
        return written is not None and not written.lets_another(view.state.counters.next_clip_no)

    def put_off(self) -> None:
        """Not to be written soon: it failed, or the user is new."""
        self._not_before = time.monotonic() + PAUSE_S

    def maintain(
        self,
        stop: Callable[[], bool],
        gpu: Gpu | None = None,
        approximation: Approximation | None = None,
    ) -> None:
        """Write the file anew, beside readers and the writer.

        stop: asked after each megabyte or so whether to leave it to another time.  Raises
        `ResourceExhausted` (``DISK_FULL``) and `OSError`; the file is what it was then.
        """
        with self._writing:
            if self.is_due:
                self._write(lambda _size: lambda _done: stop())

    def finish(self, closing: Closing) -> None:
        """Write it where the user is about to be closed in order, enough came since, and there is time."""
        try:
            with self._writing:
                if self._lacks(FINISH_GROWTH) and not closing.is_over:
                    self._write(closing.leaves)
        except Exception:
            # Be it that memory is short, or what nobody thought of: the user is closed all the same.
            log.exception("a checkpoint could not be written", extra={"fields": self._where()})
        except BaseException:
            closing.hurry()  # who is interrupted and closes it once more waits for no other
            raise

    def drop(self, *, durably: bool = False) -> None:
        """Remove the file, since it may hold what was removed from the user; nothing that is being
        written comes in its place.

        durably: wait for the disk; without, a power loss may bring the file back, for the next opening to
        drop.
        """
        with self._naming:
            self._removals += 1
            if self._rows_min == 0:
                return
            self._rows = self._counted = 0
            self._trained = {}
            try:
                drop_derived(self._folder, durably=durably)
            except OSError:
                # It is looked at again by whoever opens the user next, and never taken for the store.
                log.exception("a checkpoint could not be removed", extra={"fields": self._where()})

    def _where(self) -> dict[str, str]:
        """Whose it is."""
        view = self._view()
        return {"directory": self._folder.name} if view is None else {"user": view.state.user}

    def close(self) -> None:
        """Nothing is written any more once this returns."""
        self._closed = True
        with self._writing:
            pass
        self.end_early()

    def _lacks(self, growth: int) -> bool:
        view = self._view()
        if self._rows_min == 0 or view is None or self._closed:
            return False
        if not view.quarantine.is_empty or self._environment.is_read_only:
            return False
        if view.state.format < FORMAT:
            # An earlier release may still open the user, and would erase from all files but this.
            return False
        if _rows_of(view) - self._counted >= max(self._rows_min, self._counted // growth):
            return True
        return any(
            trained[0] and trained != self._trained.get(space_no)
            for space_no, trained in _trained(view).items()
        )

    def _write(self, leaves: Callable[[int], Callable[[int], bool]]) -> None:
        """leaves: of the bytes of the file, what is asked with those that are written whether to leave the rest."""
        with self._naming:
            # Not in the middle of a drop, which would take what is begun here for what was there before.
            removals, view = self._removals, self._view()
        assert view is not None, "asked for once it is loaded"
        trained = _trained(view)
        size = file_bytes(view.partitions)
        check_disk(self._folder, self._config, size)
        self._not_before = time.monotonic() + max(PAUSE_S, size / BYTES_PER_S)

        content, leave = log_content(self._environment, view.revision), leaves(size)

        def write(file: BinaryIO) -> bool:
            writer = CheckpointWriter(file, owner_of(view.state.id_key), view.revision, content)
            synced = 0
            for done in writer.write(view.partitions):
                failpoints.hit("checkpoint.writing")
                if leave(done) or self._closed or self._removals != removals:
                    return False
                if done - synced >= SYNCED_BYTES:
                    sync_so_far(file)
                    synced = done
                # Others write beside it, and each was let in by what was free then.
                check_disk(self._folder, self._config)
            return True

        if write_derived(self._folder, write) is None:
            return
        failpoints.hit("checkpoint.before_rename")
        with self._naming:
            if self._removals != removals:
                sweep_derived(self._folder)
                return
            place_derived(self._folder)
            self._written[view.state.user] = Written(
                _rows_of(view), size, view.state.counters.next_clip_no, time.monotonic()
            )
            self._rows = sum(len(kept_places(one)) for one in view.partitions.values())
            self._counted = _rows_of(view)
            self._trained = trained
        failpoints.hit("checkpoint.after_rename")


def log_content(environment: Environment, revision: int) -> int | None:
    """`KeptUser.log_content` of a revision; None where the log has no record of it."""
    with environment.read() as txn:
        return log_content_in(txn, revision)


def _rows_of(view: View) -> int:
    return sum(partition.rows for partition in view.partitions.values())


def _trained(view: View) -> dict[int, Trained]:
    return {no: one.tiers.indexed.trained for no, one in view.partitions.items()}


def _trained_of(rows: KeptRows) -> Trained:
    learned = rows.learned
    if learned is None:
        return 0, None
    return learned.trained_rows, None if learned.lists is None else learned.lists.breadth


def _check_spaces(found: Mapping[int, KeptRows], spaces: Mapping[int, Space]) -> None:
    for space_no, rows in found.items():
        space = spaces.get(space_no)
        if space is None or (rows.dim, rows.cosine) != (space.dim, space.metric == "cosine"):
            raise BadCheckpoint("of a space that the user does not have")
