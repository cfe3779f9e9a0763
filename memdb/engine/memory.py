"""One open user: its environment, its indexes, and the commit that moves both forward.

Order of a commit: LMDB transaction, then indexes, then the new view, then acknowledgements.  A
crash between the first two is healed by the next open, which rebuilds the indexes from LMDB; an
error there closes the user, so that it is rebuilt before anything is served again.

A user with a large checkpoint is opened *early*: questions are answered from the rows that the checkpoint and the
log tell (`memdb.engine.early_rows`) before the store was looked through, which a thread does then (`is_whole`).
Where it finds anything otherwise, the user is opened anew, without the checkpoint.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, replace
from functools import partial
from queue import Empty, SimpleQueue
from typing import Final, TypeVar

from memdb import failpoints
from memdb.clock import Clock
from memdb.engine import moments
from memdb.engine.applied import Applied, Outcome
from memdb.engine.at_once import Tries
from memdb.engine.clip_cache import ClipCache, KeptClips
from memdb.engine.commits import Commits
from memdb.engine.early_rows import Early, early_rows
from memdb.engine.effects import Effects
from memdb.engine.hydrate import ClipGone
from memdb.engine.indexes import Indexes, touches_texts
from memdb.engine.kept_index import KeptIndex
from memdb.engine.passage import Passage
from memdb.engine.pyramid import Pyramid
from memdb.engine.quarantine import NOTHING_DAMAGED, DamagedClip, Quarantine, heavy_part, inspect
from memdb.engine.reached import Reached
from memdb.engine.rebuild import check_early, load_partitions, load_state
from memdb.engine.standing_asked import AskedQuestions
from memdb.engine.state import UserState
from memdb.engine.text_rows import load_texts
from memdb.engine.view import View
from memdb.engine.writer import Writer
from memdb.errors import DataLoss, Unavailable
from memdb.eventlog import event_log
from memdb.index.checkpoint import BadCheckpoint, KeptUser
from memdb.index.text import TextIndex
from memdb.news import News
from memdb.store import standing
from memdb.store.environment import Environment
from memdb.store.transaction import Transaction
from memdb.store.verify import check_counts, check_lookups
from memdb.types.grounding import AsOf
from memdb.types.operation import Operation

T = TypeVar("T")

READ_TRIES: Final = 20
ALONE_S: Final = 0.25
"""So long the first questions have the interpreter for themselves, unless somebody waits for more."""
SHOWN_TIMEOUT_S: Final = 1.0

log = event_log("memdb.engine")


class UserMemory:
    """An open user.  Reads take `view`; writes go through `write`."""

    def __init__(self, environment: Environment, user: str, clock: Clock, kept: KeptIndex) -> None:
        """Rebuild the indexes of ``user`` from its environment, or let it answer early.  Raises `DataLoss`."""
        self.environment = environment
        self.kept = kept
        self.tries = Tries()
        """Of answers at once."""
        self.erasure_pending = False
        """Whether an erasure was begun and could not be ended yet."""
        self._clock = clock
        self._found: list[DamagedClip] = []
        self._listeners: dict[int, Callable[[int], None]] = {}
        self._lock = threading.RLock()
        self._changed = News(self._lock)
        self._stale = False
        self._closing = False
        self._moving = False
        """Whether the indexes are on their way to the next view."""
        self._lent: dict[object, Callable[[], None]] = {}
        """What takes back all that a borrower has."""
        self.standing = AskedQuestions()
        self._clips = KeptClips(ClipCache(0))
        self._pyramid = Pyramid()
        self._is_whole = False
        self._wanted: SimpleQueue[None] = SimpleQueue()
        """Has something where somebody waits for that: told by one call of C, which an interrupt does not come into."""
        self._completing: threading.Thread | None = None
        with environment.read() as txn:
            state = load_state(txn, user)
            told = self._load_early(txn, state)
            if told is None:
                kept.end_early()
                environment.check_values()
                self._quarantine = self._load(txn, state)
        if told is None:
            environment.release_pages()
        self.view = self._published(state, texts=True)
        # Weakly: a user that is closed to make room goes at once, with all that it has in memory, and not when
        # Python's collector comes to it, which may be hours later.
        mine = weakref.ref(self)
        # What is damaged may be in the ledger, and is not in the coverage.
        reached = Reached(self._indexes.coverage if self._quarantine.is_empty else None)
        self._commits = Commits(environment, clock, state, reached, partial(_show_in, mine))
        self._writer = Writer(self._commits)
        if told is None:
            self._is_complete()
        else:
            self._completing = threading.Thread(
                target=self._complete, args=(told,), name="memdb-opening", daemon=True
            )
            try:
                self._completing.start()
            except RuntimeError:  # no thread to be had
                self._completing = None
                self._wanted.put(None)
                self._complete(told)

    def _load_early(self, txn: Transaction, state: UserState) -> _Early | None:
        """Fill the indexes with what the checkpoint and the log tell, all but texts and names; None where they tell
        too little.
        """
        kept = self.kept.load_early(state)
        if kept is None:
            return None
        try:
            rows = early_rows(txn, state, kept)
            if rows is None:
                return None
            partitions, coverage = load_partitions(txn, state, kept=kept.spaces, early=rows)
        except DataLoss:
            return None  # it is found again by who looks at everything
        self._indexes = Indexes(partitions, coverage, TextIndex())
        self._quarantine = NOTHING_DAMAGED
        return _Early(kept, {no: one.without_vectors() for no, one in rows.items()})

    def _complete(self, told: _Early) -> None:
        """Look through the store as an opening does, and take in what was left out; on a thread of its own."""
        with suppress(Empty):
            self._wanted.get(timeout=ALONE_S)
        try:
            self._look_through(told)
            self.kept.settle(told.kept, self._indexes.partitions, lambda: self._closing)
        except Exception as error:
            # Also what nobody thought of: who waits opens the user anew, and is told.
            if not self._closing:
                fields = {"user": self.view.state.user}
                log.exception("a user that answered early is opened anew", extra={"fields": fields})
                # An end of the process or of memory says nothing of the file.
                if isinstance(error, (DataLoss, BadCheckpoint, OSError)):
                    self.kept.drop(durably=True)
            self._stale = True
        finally:
            with self._lock:
                self._note_whole()
                # What was lent since the store was looked through may rest on rows that were mapped, or are others.
                self._have_back()

    def _look_through(self, told: _Early) -> None:
        """Raises `DataLoss` for what is damaged, or otherwise than it was told."""
        self.environment.check_values()
        with self.environment.read() as txn:
            state = self.view.state
            self._check_goes_on()
            check_lookups(txn, state.counters)
            standing.check(txn)
            self._check_goes_on()
            check_early(txn, state, told.kept.spaces, told.rows)
            self._check_goes_on()
            for partition in self._indexes.partitions.values():
                partition.forget_names()
            texts = load_texts(txn, self._indexes.partitions)
        self.environment.release_pages()
        with self._lock:
            self._indexes.texts = texts
            self._have_back()
            self.view = self._published(state, texts=True)
        self._is_complete()

    def _check_goes_on(self) -> None:
        """Raise `Unavailable` where the user is about to be closed, which waits."""
        if self._closing:
            raise Unavailable("the user is closed", reason="CLOSED")

    def _is_complete(self) -> None:
        mine = weakref.ref(self)
        self.kept.watch(lambda: _view_of(mine))
        with self._lock:
            self._note_whole()

    def _note_whole(self) -> None:
        self._is_whole = True
        self._changed.notify_all()

    @property
    def is_whole(self) -> bool:
        """Whether the store was looked through, or will not be: then see `to_be_opened_again`."""
        return self._is_whole

    def wait_whole(self) -> None:
        """Return when `is_whole`."""
        if self._is_whole:
            return
        self._wanted.put(None)
        with self._lock:
            self._changed.wait_for(lambda: self._is_whole)

    def _load(self, txn: Transaction, state: UserState) -> Quarantine:
        """Fill the indexes; what had to be left out."""
        try:
            check_lookups(txn, state.counters)
            standing.check(txn)
            kept_rows = self.kept.load(state)
            partitions, coverage = load_partitions(txn, state, kept=kept_rows)
            self.kept.check_all_there(kept_rows, partitions)
            self._indexes = Indexes(partitions, coverage, load_texts(txn, partitions))
        except DataLoss as error:
            check_counts(txn, state.counters, twins=False)
            quarantine = inspect(txn)
            if quarantine.is_empty:
                raise
            log.exception(
                "damage was found, and is kept apart",
                extra={"fields": {"user": state.user, "found": len(quarantine.notes)}},
                exc_info=error,
            )
            # Nobody compares it with what is left, and it may hold what was removed before a crash.
            self.kept.drop(durably=True)
            partitions, coverage = load_partitions(txn, state, quarantine)
            texts = load_texts(txn, partitions, quarantine)
            self._indexes = Indexes(partitions, coverage, texts)
            return quarantine
        return NOTHING_DAMAGED

    def write(
        self,
        operations: list[Operation],
        queued: Callable[[], None] | None = None,
        passages: Sequence[Passage] = (),
    ) -> list[Outcome]:
        """Commit operations, sharing commits with other callers; an outcome for each, in order.

        queued, passages: see `Writer.write`.

        Raises what refused the commit as a whole: `ResourceExhausted`, `Unavailable`.
        """
        return self._writer.write(operations, queued, passages)

    def read(self, work: Callable[[View], T]) -> T:
        """The result of ``work`` on the newest view, and on a newer one when a removal came between
        the view and the store.

        Raises `Unavailable` (``REMOVING``) when that happens over and over.
        """
        for _ in range(READ_TRIES):
            view = self.view
            try:
                return work(view)
            except ClipGone:
                # The commit that removed it is in the store and about to be shown.
                self.wait_for_revision(view.revision, SHOWN_TIMEOUT_S)
            finally:
                if self._found:
                    self._keep_apart()
        raise Unavailable("clips are being removed; ask again", reason="REMOVING")

    def _keep_apart(self) -> None:
        """Take what readers found into the quarantine, so that gaps tell it."""
        with self._lock:
            self._take_found()
            self._have_back()
            self.view = replace(self.view, quarantine=self._quarantine, kept=self._clips, asked={})

    def _take_found(self) -> None:
        """With the lock held, and before another view is shown."""
        found: list[DamagedClip] = []
        while self._found:  # readers add to it meanwhile
            found.append(self._found.pop(0))
        self._quarantine = self._quarantine.with_more(found)
        # What was remembered of it did not know of the damage.
        self._clips = self._clips.successor()

    def resolve(
        self, view: View, as_of: AsOf | None, min_revision: int | None = None
    ) -> int | None:
        """The revision that ``as_of`` names, None for the view's own; see `memdb.engine.moments`."""
        now_ns = self._clock.now_ns()
        return moments.resolve(self.environment, view, as_of, min_revision, now_ns=now_ns)

    def revision_at(self, view: View, time_ns: int) -> int:
        """The newest commit at or before a time."""
        return moments.revision_at(self.environment, view, time_ns)

    def subscribe(self, listener: Callable[[int], None]) -> Callable[[], None]:
        """Call ``listener(revision)`` after each commit and when the user is closed; the returned
        function ends it."""
        token = object()
        with self._lock:
            self._listeners[id(token)] = listener

        def unsubscribe() -> None:
            with self._lock:
                self._listeners.pop(id(token), None)

        return unsubscribe

    def share_listeners(self, listeners: dict[int, Callable[[int], None]]) -> None:
        """Tell those who listen to the user, be it that they came when another memory of it was open."""
        # The same dictionary: what they unsubscribe from there is unsubscribed here.
        self._listeners = listeners

    def keep_clips(self, kept: KeptClips) -> None:
        """Where clips that answers held are kept from now on."""
        with self._lock:
            self._clips = kept
            self._have_back()
            self.view = replace(self.view, kept=kept)

    def lend(self, view: View, borrower: object, give: Callable[[], Callable[[], None]]) -> bool:
        """Give away what is of ``view`` alone; False, and nothing is given, where that is on its way out.

        give: returns what takes back all that the borrower has, which is called before there is another view.
        """
        with self._lock:
            if (
                self._moving
                or self.to_be_opened_again
                or not self.is_whole
                or self.view is not view
            ):
                return False
            # Of one that lies ready anew, over and over between two commits, one is enough.
            self._lent[borrower] = give()
            return True

    def check_lent(self) -> None:
        """Take back what was lent where the next call opens the user anew: until there is one, nobody shall be
        answered by it either."""
        if self.to_be_opened_again:
            with self._lock:
                self._have_back()

    def _have_back(self) -> None:
        """Take back what was lent; under the lock."""
        lent, self._lent = self._lent, {}
        for take_back in lent.values():
            take_back()

    def wait_for_revision(self, revision: int, timeout_s: float) -> bool:
        """Wait until a commit after ``revision`` is published."""
        with self._lock:
            return self._changed.wait_for(lambda: self.view.revision > revision, timeout_s)

    @property
    def to_be_opened_again(self) -> bool:
        """Whether the next user of it must open it anew: what is in memory fell behind the store, the
        store was lost, damage was found that only an opening keeps apart, or its end was interrupted.
        """
        return (
            self._closing
            or self._stale
            or self._commits.broken is not None
            or self.environment.is_lost
        )

    def damage_found(self, places: Sequence[str]) -> None:
        """Keep apart what was found damaged (table/key each) and is not kept apart already.

        Heavy parts of clips at once; the rest when the user is next opened, which it must be then.
        Calls that run go on: a write that is on its way is acknowledged.
        """
        view = self.view
        known = {where for where, _ in view.quarantine.notes}
        for place in places:
            part = heavy_part(place)
            if part is None:
                self._stale |= place not in known
            elif part not in view.quarantine.versions:
                error = DataLoss("a part is damaged", field=place)
                view.note_damaged_version(*part, error)
        if self._found:
            self._keep_apart()
        self.check_lent()

    def held_back(self) -> AbstractContextManager[None]:
        """No commit for the length of the block: the view shows what the store holds."""
        return self._writer.held_back()

    def close(self) -> None:
        """Finish commits in flight and close; again where that was interrupted."""
        with self._lock:
            self._closing = True
            self._have_back()
        self._wanted.put(None)
        if self._completing is not None:
            self._completing.join()
        try:
            self._writer.close()
            self.kept.close()
            self._notify(self.view.revision)
            self._clips.retire()
        finally:
            # Also where it was interrupted: a file is not opened a second time.
            self.environment.close()

    def _show(self, applied: Applied, state: UserState) -> None:
        """Move the indexes and the view to a commit; by one thread at a time, in their order."""
        with self._lock:
            # Before the indexes change: until there is another view, nobody shall see them half changed.
            self._moving = True
            self._have_back()
        failpoints.hit("index.before")
        self._indexes.advance(applied.effects, state)
        with self._lock:
            # Readers replace the view as well, when they report damage; neither may undo the other.
            assert state.revision > self.view.revision, "commits are shown in their order"
            if self._found:
                self._take_found()
            if not self._quarantine.is_empty:
                # This commit was on its way when the damage was found, or its number would have been refused.
                written = {clip.clip_no for clip in applied.effects.clips}
                self._quarantine = self._quarantine.succeeded(written, state.revision)
            if _takes_away(applied.effects):
                self._clips = self._clips.successor()
            self.view = self._published(state, texts=touches_texts(applied.effects))
            self._moving = False
        if applied.effects.removed or applied.effects.collected:
            # Once the view is without them: a file that is being written is of it, or is not named.
            self.kept.drop()
        failpoints.hit("index.after")
        self._notify(state.revision)

    def _notify(self, revision: int) -> None:
        with self._lock:
            self._changed.notify_all()
            listeners = tuple(self._listeners.values())
        for listener in listeners:
            try:
                listener(revision)
            except Exception:
                # The commit is durable: its writers must hear that, whatever ails a listener.
                fields = {"user": self.view.state.user, "revision": revision}
                log.exception("a listener failed", extra={"fields": fields})

    def _published(self, state: UserState, *, texts: bool) -> View:
        indexes = self._indexes
        return View(
            state,
            {no: partition.view() for no, partition in indexes.partitions.items()},
            indexes.texts.view() if texts else self.view.texts,
            indexes.coverage,
            self._quarantine,
            self._found,
            self._clips,
            self._pyramid,
        )


@dataclass(frozen=True, slots=True)
class _Early:
    """What a user answers from before its store was looked through."""

    kept: KeptUser
    rows: Early


def _view_of(memory: weakref.ref[UserMemory]) -> View | None:
    found = memory()
    return None if found is None else found.view


def _show_in(memory: weakref.ref[UserMemory], applied: Applied, state: UserState) -> None:
    found = memory()
    assert found is not None, "whoever writes holds it"
    found._show(applied, state)


def _takes_away(effects: Effects) -> bool:
    return bool(effects.removed or effects.thinned or effects.collected or effects.removed_streams)
