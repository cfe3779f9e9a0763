"""The embedded handle on a user's standing questions: `memdb.types.database.Standing`, and what the
server needs beside it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Final

from memdb.clock import Clock
from memdb.engine.apply_standing import as_question, check_fits, not_found
from memdb.engine.one_life import OneLife
from memdb.engine.standing_asked import Questions
from memdb.engine.standing_clock import UserClock
from memdb.engine.standing_cursor import TIME_UNKNOWN_NS, Cursor
from memdb.engine.standing_follower import FollowedStanding
from memdb.engine.standing_history import backtest
from memdb.engine.undone import check_commit
from memdb.engine.view import View
from memdb.errors import FailedPrecondition, InvalidArgument, NotFound
from memdb.store import standing
from memdb.store.environment import Environment
from memdb.store.idents import IdKind, parse_id
from memdb.store.records import StandingRecord
from memdb.types.arguments import checked_as_of, checked_reference, checked_times
from memdb.types.arrays import VectorLike
from memdb.types.calendar import HourOfDay, Weekday
from memdb.types.checks import check_flag, check_int
from memdb.types.database import Standing
from memdb.types.documented import documented_by
from memdb.types.grounding import AsOf
from memdb.types.handle import Handle
from memdb.types.label_filter import WantedLabels
from memdb.types.limits import LIMIT_MAX
from memdb.types.operation import CreateStanding, RemoveStanding
from memdb.types.space import Space
from memdb.types.standing import (
    Alert,
    Backtest,
    StandingQuestion,
    StandingSpec,
    checked_cursor,
    checked_name,
    checked_standing,
    checked_thresholds,
)
from memdb.types.times import Time

if TYPE_CHECKING:
    from memdb.engine.user import EmbeddedUser

PAGE_ALERTS: Final = 1024
BACKTEST_LIMIT_DEFAULT: Final = 100
_WAIT_S: Final = 0.5
_WAIT_S_MIN: Final = 0.001


@documented_by(Standing)
class EmbeddedStanding(Handle):
    """A handle; cheap, thread-safe, valid while the database is open."""

    def __init__(self, user: EmbeddedUser, clock: Clock) -> None:
        self._user = user
        self._clock = clock

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self._user.id}>"

    def create(
        self,
        question_feature: VectorLike,
        *,
        min_score: float | None = None,
        min_relevance: float | None = None,
        kind: str = "seen",
        then_feature: VectorLike | None = None,
        window_s: float | None = None,
        streams: Sequence[str] | None = None,
        space: str | None = None,
        sealed_only: bool = True,
        text: str = "",
        name: str | None = None,
        labels: WantedLabels | None = None,
        hours: Iterable[Sequence[HourOfDay]] | None = None,
        weekdays: Iterable[Weekday] | None = None,
        zone: str | None = None,
    ) -> StandingQuestion:
        spec = checked_standing(
            question_feature,
            min_score=min_score,
            min_relevance=min_relevance,
            kind=kind,
            then_feature=then_feature,
            window_s=window_s,
            streams=streams,
            space=space,
            sealed_only=sealed_only,
            text=text,
            labels=labels,
            hours=hours,
            weekdays=weekdays,
            zone=zone,
        )
        name_of = checked_name(name)
        found = None if spec.space is None else self._user.catalog_space(spec.space)
        if not self._user.is_known() and (found is None or spec.streams is not None):
            # Before the user is made for it.
            raise NotFound(
                "no such user yet; the first write makes one"
                + ("" if found else ", and so does a question that names its space"),
                reason="USER_NOT_FOUND",
                field="user",
                value=self._user.id,
            )
        if found is not None:
            check_fits(spec, found)
        with self._user.memory(create=True) as memory:
            view = memory.view
            memory.view.quarantine.check_standing()
            now_ns = self._clock.now_ns()
            if found is None:
                space_no = view.searched_space(view.stream_nos(spec.streams), None)
                if space_no is None:
                    raise InvalidArgument(
                        "the user has no stream yet: name the space",
                        reason="SPACE_REQUIRED",
                        field="space",
                    )
                found = view.state.spaces[space_no]
            armed_ns = now_ns
            if spec.kind == "absent":
                clock = UserClock.at(memory.environment, view, view.revision)
                armed_ns = clock.time_ns(now_ns)
        operation = CreateStanding(spec, found, now_ns, armed_ns, name_of)
        return self._user.commit(operation, StandingQuestion)

    def list(self) -> list[StandingQuestion]:
        with self._user.memory() as memory:
            memory.view.quarantine.check_standing()
            with memory.environment.read() as txn:
                state = memory.view.state
                records = [
                    (no, record)
                    for no, record in standing.every(txn)
                    if record.birth <= state.revision
                ]
            return [self._question(memory.view, no, record) for no, record in records]

    def get(self, question_id: str) -> StandingQuestion:
        checked_reference(question_id, "question_id")
        with self._user.memory() as memory:
            view = memory.view
            view.quarantine.check_standing()
            no = parse_id(view.state.id_key, IdKind.STANDING, question_id)
            record = None
            if no is not None:
                with memory.environment.read() as txn:
                    record = standing.get(txn, no)
            if no is None or record is None or record.birth > view.revision:
                raise not_found(question_id)
            return self._question(view, no, record)

    def remove(self, question_id: str) -> None:
        checked_reference(question_id, "question_id")
        with self._user.memory() as memory:
            memory.view.quarantine.check_standing()
        self._user.commit(RemoveStanding(question_id), int)

    def backtest(
        self,
        question_feature: VectorLike,
        *,
        min_score: float | None = None,
        min_relevance: float | None = None,
        kind: str = "seen",
        then_feature: VectorLike | None = None,
        window_s: float | None = None,
        streams: Sequence[str] | None = None,
        space: str | None = None,
        sealed_only: bool = True,
        start_ns: Time | None = None,
        end_ns: Time | None = None,
        as_of: AsOf | None = None,
        thresholds: Sequence[float] | None = None,
        limit: int = BACKTEST_LIMIT_DEFAULT,
        labels: WantedLabels | None = None,
        hours: Iterable[Sequence[HourOfDay]] | None = None,
        weekdays: Iterable[Weekday] | None = None,
        zone: str | None = None,
    ) -> Backtest:
        spec = checked_standing(
            question_feature,
            min_score=min_score,
            min_relevance=min_relevance,
            kind=kind,
            then_feature=then_feature,
            window_s=window_s,
            streams=streams,
            space=space,
            sealed_only=sealed_only,
            text="",
            labels=labels,
            hours=hours,
            weekdays=weekdays,
            zone=zone,
        )
        times = checked_times(start_ns, end_ns)
        points = checked_thresholds(thresholds)
        limit = check_int(limit, "limit", 1, LIMIT_MAX)
        as_of = checked_as_of(as_of)
        with self._user.memory() as memory:

            def tested(view: View) -> Backtest:
                revision = memory.resolve(view, as_of)
                stream_nos = view.stream_nos(spec.streams, revision)
                named = self._user.find_space(spec.space)
                space_no = view.searched_space(stream_nos, spec.space, revision, named)
                space = named if space_no is None else view.state.spaces[space_no]
                if space is not None:
                    check_fits(spec, space)
                    _check_streams(view, spec, space)
                return backtest(
                    view, spec, stream_nos, space_no, space, revision, times, points, limit
                )

            return memory.read(tested)

    def watch(self, *, cursor: str | None = None, follow: bool = True) -> Iterator[Alert]:
        watched = self.watched(cursor)
        check_flag(follow, "follow")
        while True:
            alerts = watched.page()
            yield from alerts
            if alerts or not watched.is_at_end:
                continue
            if not follow:
                return
            # In steps, so that a closed database ends the wait.
            watched.wait(_WAIT_S)

    # -- for the server

    def watched(self, cursor: str | None = None) -> WatchedStanding:
        """A watch, page by page; raises `InvalidArgument` (``BAD_CURSOR``)."""
        return WatchedStanding(self._user, self._clock, checked_cursor(cursor))

    def _question(self, view: View, no: int, record: StandingRecord) -> StandingQuestion:
        state = view.state
        return as_question(record, no, state.user, state.id_key, state.spaces, state.stream_names)


class WatchedStanding:
    """The alerts of a user from a cursor on, page by page; used by one thread at a time."""

    def __init__(self, user: EmbeddedUser, clock: Clock, cursor: str | None) -> None:
        self._user = user
        self._clock = clock
        self._begin = cursor
        self._followed: FollowedStanding | None = None
        self._life = OneLife(user.id)
        self._user_key = b""
        self._due_ns: int | None = None
        self.is_at_end = False
        """Whether the last page came to the newest commit, and no more is due."""

    def page(self) -> list[Alert]:
        """The alerts of the next commits, of which there may be none; `is_at_end` says whether to wait.

        Raises `NotFound` (``USER_NOT_FOUND``; ``REVISION_NOT_FOUND`` of a cursor that is ahead of the
        user, or whose commit was undone), `InvalidArgument` (``BAD_CURSOR``), `DataLoss`.
        """
        with self._user.memory() as memory:
            # The view first: a question that comes after it has no clips to tell of in it.
            view = memory.view
            view.quarantine.check_standing()
            questions = memory.standing.newest(memory.environment, view.state)
            followed = self._following(memory.environment, view, questions)
            now_ns = self._clock.now_ns()
            alerts = followed.page(memory.environment, view, questions, now_ns, PAGE_ALERTS)
            self.is_at_end = not alerts and followed.has_come_to(view)
            self._due_ns = followed.next_due_ns()
            return alerts

    @property
    def cursor(self) -> str | None:
        """Where to go on; None before the first page."""
        return None if self._followed is None else self._followed.cursor.text(self._user_key)

    @property
    def revision(self) -> int:
        """The commit up to which everything is told, or is being told."""
        return 0 if self._followed is None else self._followed.cursor.revision

    def pause_s(self, longest_s: float) -> float:
        """How long to wait for a commit before the next page."""
        if self._due_ns is None:
            return longest_s
        left_s = (self._due_ns - self._clock.now_ns()) / 1e9
        return min(longest_s, max(left_s, _WAIT_S_MIN))

    def wait(self, longest_s: float) -> None:
        """Wait for the next commit or deadline."""
        self._user.wait_for_revision(self.revision, self.pause_s(longest_s))

    def _following(
        self, environment: Environment, view: View, questions: Questions
    ) -> FollowedStanding:
        id_key = view.state.id_key
        if self._followed is not None:
            self._life.check(id_key)
            return self._followed
        begin = self._begin
        cursor = None if begin is None else Cursor.parse(begin, id_key)
        if cursor is not None and cursor.revision > view.revision:
            # Of a user that was restored from before: going on would lose its alerts silently.
            raise NotFound(
                f"revisions are 0 to {view.revision}",
                reason="REVISION_NOT_FOUND",
                field="cursor",
                value=cursor.revision,
            )
        if cursor is not None and cursor.revision and cursor.time_ns != TIME_UNKNOWN_NS:
            check_commit(environment, cursor.revision, cursor.time_ns, "cursor")
        self._life.check(id_key)
        self._user_key = id_key
        self._followed = FollowedStanding(environment, view, questions, cursor)
        return self._followed


def _check_streams(view: View, spec: StandingSpec, space: Space) -> None:
    """Refuse streams of another space; raises `FailedPrecondition` (``SPACE_MISMATCH``)."""
    for name in spec.streams or ():
        actual = view.state.spaces[view.state.streams[name].space_no]
        if actual != space:
            raise FailedPrecondition(
                f"stream {name} is in space {actual.name}",
                reason="SPACE_MISMATCH",
                field="space",
                value=space.name,
            )
