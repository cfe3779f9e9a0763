"""The steps of a commit, so that one group is made ready while the one before it is written.

::

    prepare(n+1)        decide and encode, reading what is committed and what n is writing
    commit(n)           one LMDB transaction: puts, then the wait for the disk
    publish(n-1)        indexes, view, listeners; then the acknowledgements

Each step is done by one thread at a time, `commit` and `publish` in one order (`memdb.engine.writer`).
A group that cannot be made ready beforehand (it asks more of the store than single keys, or the
group before it failed) is decided inside its own transaction.

With the native edge a group that is ready goes to LMDB while the one before it is still written there (`follow`), and
another one behind that: LMDB lets each in when the other is done, and no interpreter's lock is waited for in between,
while the disk would have nothing to do.  It is written only where the counters of the group that it was decided behind
are the newest there are, so that it vanishes with that one, and with it what is behind it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from memdb.clock import Clock
from memdb.engine.applied import Applied, Outcome
from memdb.engine.apply import apply
from memdb.engine.open_versions import OpenVersions
from memdb.engine.reached import Reached
from memdb.engine.state import Draft, UserState
from memdb.errors import Unavailable
from memdb.store.environment import Environment
from memdb.store.records import CountersRecord, unpack
from memdb.store.renewal import renew
from memdb.store.schema import META_COUNTERS, Table
from memdb.store.staging import Entries, NotStaged, Staged, ready_commit, write_into
from memdb.store.transaction import Transaction
from memdb.types.operation import Operation, WriteClip, WriteRun, makes_room


@dataclass(slots=True, eq=False)
class Group:
    """Operations on their way through the steps."""

    operations: list[Operation]
    size: int
    """Payload bytes."""
    time_ns: int
    base: UserState
    """What they were decided on."""
    applied: Applied | None = None
    """None until they are decided."""
    state: UserState | None = None
    """What they leave, where they change anything."""
    entries: Entries = field(default_factory=dict)
    is_followed: bool = False
    """Whether another one goes to LMDB behind it, or none may any more."""
    follower: Group | None = None
    """That other one."""
    attempted: threading.Lock | None = None
    """Of one that goes behind another: held until LMDB has written it, or has not.  Not an event: who is interrupted
    as it sets one has not.
    """

    def decide(
        self,
        txn: Transaction,
        base: UserState,
        operations: list[Operation],
        versions: OpenVersions,
        reached: Reached,
    ) -> None:
        """Apply ``operations`` on ``base`` and on what was applied before."""
        if self.applied is None:
            self.base = base
            self.applied = Applied(Draft(base, self.time_ns), versions=versions, reached=reached)
        apply(txn, self.applied, operations)
        self.state = self.applied.draft.state() if self.applied.changed else None

    @property
    def counters(self) -> bytes | None:
        """Those it stores, where it was decided ahead."""
        stored = self.entries.get(Table.META, {}).get(META_COUNTERS)
        return None if stored is None else bytes(stored)

    @property
    def gives_up(self) -> bool:
        """Whether all of them make room."""
        return all(makes_room(operation) for operation in self.operations)

    def forget(self) -> None:
        """Nothing was decided."""
        self.applied = self.state = None
        self.entries = {}


class Commits:
    """The steps of one user's commits."""

    def __init__(
        self,
        environment: Environment,
        clock: Clock,
        state: UserState,
        reached: Reached,
        show: Callable[[Applied, UserState], None],
    ) -> None:
        """reached: as of ``state``.  show: moves indexes and view to a commit, in the order of the commits."""
        self._environment = environment
        self._clock = clock
        self._show = show
        self._committed = state
        """As of the newest commit; what readers see may be behind."""
        self._shown = state
        self._versions = OpenVersions()
        self._reached = reached
        self._lock = threading.Lock()
        """For who follows whom."""
        self._under_way: tuple[Group, ...] = ()
        """The group that is being written, and those that go to LMDB behind it, each decided on what the one before
        leaves.  Replaced, never changed: who decides looks at it without the lock."""
        self._is_renewed = False
        """Whether the environment is of this release's format."""
        self._counters: bytes | None = None
        """As the newest commit stored them; None where that is not known without a look."""
        self.broken: str | None = None
        """Why the user must be opened again: what is in memory fell behind the store."""

    def prepare(self, operations: list[Operation], size: int) -> Group:
        """A group, decided ahead of its transaction where that is possible; raises `Unavailable`
        (``INDEX_BROKEN``)."""
        self._check_whole()
        group = Group([], 0, self._clock.now_ns(), self._committed)
        self.extend(group, operations, size)
        return group

    def extend(self, group: Group, operations: list[Operation], size: int) -> None:
        """Let more operations join a group that is not being written yet."""
        is_first = not group.operations
        group.operations += operations
        group.size += size
        # Looked at before the snapshot of the store is taken: what is not in it is under way.
        under_way, base = self._under_way, self._committed
        for before in under_way:
            if before.state is None or not before.entries:
                group.forget()  # nobody can tell yet what it will write
                return
            base = before.state
        if not is_first and (group.applied is None or group.base is not base):
            group.forget()
            return
        self._stage(group, base, operations, [before.entries for before in reversed(under_way)])

    def _stage(
        self,
        group: Group,
        base: UserState,
        operations: list[Operation],
        below: Sequence[Entries] = (),
    ) -> None:
        """Decide operations ahead, where that is possible; else the group is forgotten.

        below: what is on its way to LMDB, and ``base`` knows of; the newest first."""
        if not all(isinstance(operation, WriteClip | WriteRun) for operation in operations):
            group.forget()
            return
        try:
            with self._environment.read() as txn:
                staged = Staged(txn, below, group.entries)
                group.decide(staged, base, operations, self._versions, self._reached)
        except NotStaged:
            group.forget()

    def commit(self, group: Group, waiting: Callable[[], None]) -> None:
        """Write a group; ``waiting`` is called when only the disk is left to wait for.

        Raises what refuses it as a whole (`Environment.write`), and `Unavailable`
        (``INDEX_BROKEN``).
        """
        self._check_whole()
        base = self._committed
        if group.applied is None or group.base is not base:
            # Nothing is under way now, so that most can be decided here; or nothing could be decided behind it.
            self._be_alone(group)
            group.forget()
            self._stage(group, base, group.operations)
        ready = group.applied is not None
        if ready and group.state is None:
            # What it is the duplicate of may be in the store and in no index.
            with self._environment.read() as read:
                self._check_current(read, base)
            return

        def change(txn: Transaction) -> tuple[bool, None]:
            self._check_current(txn, base)
            if not self._is_renewed:
                renew(txn)
            if ready:
                write_into(txn, group.entries)
                return True, None
            # From the beginning: the transaction may be run again after the map has grown.
            group.forget()
            group.decide(txn, base, group.operations, self._versions, self._reached)
            return group.state is not None, None

        self._under_way = (group,)
        try:
            known = self._counters if ready and self._is_renewed else None
            if known is None:
                self._environment.write(change, group.size, waiting, gives_up=group.gives_up)
            else:
                self._environment.write_ready(
                    ready_commit(group.entries, known),
                    change,
                    group.size,
                    waiting,
                    lambda: self._be_alone(group),
                    gives_up=group.gives_up,
                )
        except BaseException:
            self._give_up(group)
            raise
        self._committed_is(group)

    def may_follow(self, group: Group) -> bool:
        """Whether `follow` may be tried."""
        if not self._under_way:
            return False
        before = self._under_way[-1]
        return (
            self._environment.may_follow
            and not before.is_followed
            and before.counters is not None
            and before.state is not None
            and group.state is not None
            and group.base is before.state
            and self._is_renewed
            and self.broken is None
        )

    def follow(self, group: Group, waiting: Callable[[], None]) -> bool:
        """Write a group as soon as LMDB has written those that are under way, if that is what it was decided behind.
        False where it was not written: then `commit` has to, or to say why not.

        ``waiting`` is called when nothing is left but to wait.  However it ends, `followed` must be called, once
        `commit` of the other one has.  Raises what the disk refuses.
        """
        group.attempted = threading.Lock()
        group.attempted.acquire()
        try:
            behind = self._stand_behind(group)
            if behind is None:
                return False
            known, before_bytes = behind
            return self._environment.write_behind(
                ready_commit(group.entries, known), group.size, before_bytes, waiting
            )
        finally:
            group.attempted.release()

    def _stand_behind(self, group: Group) -> tuple[bytes, int] | None:
        """Let a group be the last under way; the counters that it waits for, and the bytes of all before it.  Not those
        themselves: they are written long before it is, and who waits would hold their clips until then.
        """
        with self._lock:
            if not self.may_follow(group):
                return None
            before = self._under_way[-1]
            known = before.counters
            assert known is not None, "it was looked at"
            before_bytes = sum(one.size for one in self._under_way)
            before.is_followed, before.follower = True, group
            self._under_way = (*self._under_way, group)
            return known, before_bytes

    def followed(self, group: Group, *, is_written: bool) -> None:
        """`follow` has ended, and so has the commit of the group before; is_written: whether this one was.

        Raises `Unavailable` (``INDEX_BROKEN``)."""
        if not is_written:
            self._be_alone(group)
            return
        if group.base is not self._committed:
            # Whoever committed what it is behind was interrupted before that was known here.
            self.broken = "the commit before another one was not published"
            self._check_whole()
        self._committed_is(group)

    def _committed_is(self, group: Group) -> None:
        """A group is in the store, if it changes anything."""
        with self._lock:
            if group.state is not None:
                self._committed = group.state
                self._is_renewed = True
                self._counters = group.counters
            group.is_followed = True
            if group in self._under_way:
                # With what is before it, where whoever committed that was interrupted as it was noted.
                self._under_way = self._under_way[self._under_way.index(group) + 1 :]

    def ended(self, group: Group) -> None:
        """Nobody is going to write a group, whatever became of it; called while it has the disk.

        One that was refused, or whose caller was interrupted, would be held with all its clips until the next commit,
        and each group until then be decided behind what is never written, and so again.
        """
        with self._lock:
            if group in self._under_way:
                # It was not noted as committed: what is behind it is not written, or the user is opened anew.
                self._under_way = self._under_way[: self._under_way.index(group)]

    def _give_up(self, group: Group) -> None:
        """A group is not written."""
        try:
            self._be_alone(group)
        finally:
            self._under_way = ()

    def _be_alone(self, group: Group) -> None:
        """Have nobody go to LMDB behind a group: it is not written as it was decided, and what is written in its place
        might look like that to who follows.
        """
        behind: list[Group] = []
        with self._lock:
            group.is_followed = True
            last = group
            while last.follower is not None:
                last = last.follower
                last.is_followed = True
                behind.append(last)
            if group in self._under_way:
                self._under_way = self._under_way[: self._under_way.index(group) + 1]
        for one in behind:
            assert one.attempted is not None, "it follows"
            with one.attempted:
                pass

    def publish(self, group: Group) -> list[Outcome]:
        """Show a committed group to readers; the outcome of each of its operations."""
        assert group.applied is not None, "it was committed"
        if group.state is not None:
            if group.base is not self._shown and self.broken is None:
                # Whoever committed the one before was interrupted.
                self.broken = f"the commit before {group.state.revision} was not published"
            self._check_whole()
            try:
                self._show(group.applied, group.state)
                self._shown = group.state
                effects = group.applied.effects
                # Only now: a group is decided anew where its transaction fails.
                self._versions.forget(clip.clip_no for clip in effects.clips if clip.row.sealed)
                self._versions.forget(gone.clip_no for gone in effects.removed)
            except MemoryError as error:
                # Durable, and in no index: whoever asks next finds the user opened anew.
                self.broken = repr(error)
                self._check_whole()
            except BaseException as error:
                self.broken = repr(error)
                raise
        return group.applied.outcomes

    def _check_whole(self) -> None:
        if self.broken is not None:
            raise Unavailable(
                f"the user must be opened again after: {self.broken}", reason="INDEX_BROKEN"
            )

    def _check_current(self, txn: Transaction, state: UserState) -> None:
        """Refuse to build on a state that the store has left behind.

        A thread may be interrupted between a commit and its publication (KeyboardInterrupt, no
        memory).  The next commit would then hand out numbers a second time and write over what is
        there.
        """
        stored = txn.get(Table.META, META_COUNTERS)
        assert stored is not None, "an open user has counters"
        newest = unpack(Table.META, META_COUNTERS, stored, CountersRecord).revision
        if newest != state.revision:
            self.broken = f"commit {newest} was not published"
            self._check_whole()
