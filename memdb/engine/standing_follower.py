"""What standing questions have to tell of a user's commits, from a cursor on.

Nothing is stored: an alert follows from the clips and from the questions that were there, so it can be
told again, with the same id, after a crash at any moment, and is gone once its clip is.  A commit does
not wait for it.

A commit is one step: its clips are scored against every question, then the clock moves.  ``absent``
counts on the user's clock: the wall clock, held back by as much as the newest clip came late (at most
`LATE_MAX_NS`, so that what is on its way may still come).  It moves with each commit, by the time of the
commit, and with `FollowedStanding.tick` where nothing comes.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import Final

import numpy as np

from memdb.engine.moments import commit_time
from memdb.engine.standing_cursor import ALL, CLOCK_MIN_NS, Cursor
from memdb.engine.standing_questions import Question, Questions, SpaceQuestions
from memdb.engine.standing_rows import NewRow, by_commit, looked_at, new_rows, rows_near
from memdb.engine.view import View
from memdb.errors import DataLoss
from memdb.index.columns import ALIVE
from memdb.store.environment import Environment
from memdb.store.idents import IdKind, make_id
from memdb.types.standing import Alert

LATE_MAX_NS: Final = 3600 * 10**9
"""Behind the wall clock by more the user's clock is never."""
_BLOCK_ROWS: Final = 1024
_START_MIN: Final = -(2**63)
_NEVER: Final = 2**80

log = logging.getLogger("memdb.engine")


@dataclass(frozen=True, slots=True)
class _Base:
    """What an absence is counted from."""

    end_ns: int
    clip_no: int | None


@dataclass(frozen=True, slots=True)
class _Newest:
    """The clip that ends last, and by how much it came late."""

    end_ns: int = _START_MIN
    late_ns: int = 0


def clock_ns(environment: Environment, view: View, now_ns: int) -> int:
    """The user's clock at a wall time."""
    return now_ns - _newest(environment, view, view.revision).late_ns


class FollowedStanding:
    """One watch: a cursor that moves over the commits of a user; used by one thread at a time."""

    def __init__(
        self, environment: Environment, view: View, questions: Questions, cursor: Cursor | None
    ) -> None:
        """cursor: None for everything that the questions have to tell."""
        if cursor is None:
            first = questions.first_birth
            cursor = Cursor(view.revision if first is None else min(first, view.revision))
        self._environment = environment
        self._now_ns = _NEVER
        self.cursor = cursor
        self._done = cursor.revision if cursor.is_whole else cursor.revision - 1
        self._newest: _Newest | None = None
        """None while nothing waits for an absence."""
        self._bases: dict[int, _Base] = {}
        self._fresh: dict[int, int] = {}
        """Questions, and their births, that were asked after the commits that are told."""
        self._soonest_ns: int | None = None
        """See `_soonest`; None: to be found again."""
        self._known: Questions | None = None
        """Those whose bases are known."""

    def begin(
        self, environment: Environment, view: View, questions: Questions, now_ns: int
    ) -> None:
        """What `advance` and `tick` look at from now on: a user may have been opened anew."""
        self._environment = environment
        self._now_ns = now_ns
        if self.cursor.clock_ns > now_ns:
            # The wall clock was ahead, and what it took for over was not: it is told when it is.
            self._to(replace(self.cursor, clock_ns=now_ns), self._done)
            self._soonest_ns = None
        self._know_bases(view, questions, self._done)

    def advance(self, view: View, questions: Questions, limit: int) -> list[Alert]:
        """What the next page of commits gave: at most ``limit`` matches, and what was absent besides."""
        found: list[Alert] = []
        rows = new_rows(view, self._done)
        if not rows and self._done < view.revision:
            self.matches_done(view.revision)
        page = _Page(view, questions, rows)
        for revision, born in by_commit(rows):
            step = _Step(self, view, page, revision, born)
            for alert in step.alerts():
                found.append(alert)
                if len(found) >= limit and alert.clip_id is not None:
                    # In the middle of the commit: the next call begins it again.
                    return found
        return found

    def has_come_to(self, view: View) -> bool:
        """Whether every commit of a view is told."""
        return self._done >= view.revision

    def tick(self, view: View, questions: Questions) -> list[Alert]:
        """The absences that are due by now, once every commit of the view is told."""
        if self._newest is None:
            return []
        clock = self._now_ns - self._newest.late_ns
        return self.absences(view, questions, view.revision, clock, [], {})

    def next_due_ns(self, questions: Questions) -> int | None:
        """The wall time before which `tick` has nothing to tell, if nothing comes; None: ever."""
        soonest = self._soonest(questions)
        if soonest is None or self._newest is None:
            return None
        return soonest + self._newest.late_ns

    # -- for the step

    def told(self, clip_no: int, question_no: int, revision: int) -> bool:
        """Whether a match of the commit that is under way was told before."""
        if self.cursor.revision != revision:
            return False
        return (clip_no, question_no) <= (self.cursor.clip_no, self.cursor.question_no)

    def match_at(self, revision: int, clip_no: int, question_no: int) -> None:
        """A match is told."""
        self._to(
            replace(self.cursor, revision=revision, clip_no=clip_no, question_no=question_no),
            done=revision - 1,
        )

    def matches_done(self, revision: int) -> None:
        """Every match of a commit is told."""
        self._to(replace(self.cursor, revision=revision, clip_no=ALL, question_no=ALL))

    def came(self, rows: list[NewRow], revision: int) -> int | None:
        """Clips have come with a commit; the clock, None where nothing waits for an absence."""
        if self._newest is None:
            return None
        newest = max(row.column("end_ns") for row in rows)
        time_ns = _commit_time(self._environment, revision)
        if time_ns is None:
            return self.cursor.clock_ns
        if newest >= self._newest.end_ns:
            self._newest = _Newest(newest, _late_ns(time_ns, newest))
        # Commits under a clock that was ahead are stamped later than now.
        return min(time_ns, self._now_ns) - self._newest.late_ns

    def base(self, question: Question) -> _Base:
        """What an absence is counted from now."""
        return self._bases.get(question.no) or _Base(question.record.armed_ns, None)

    def set_base(self, question: Question, end_ns: int, clip_no: int) -> None:
        """The question was answered."""
        self._bases[question.no] = _Base(end_ns, clip_no)
        if self._soonest_ns is not None:
            self._soonest_ns = min(self._soonest_ns, self.deadline_ns(question))

    def deadline_ns(self, question: Question) -> int:
        """When an absence is complete."""
        return self.base(question).end_ns + (question.record.window_ns or 0)

    def absence(self, view: View, question: Question, revision: int) -> Alert:
        """The alert of a deadline that is reached."""
        base, due_ns = self.base(question), self.deadline_ns(question)
        return _alert(
            view,
            question,
            self.cursor,
            revision=revision,
            happened_ns=due_ns,
            # By the time alone: of clips that end together any may have come first.
            about=f"absent {base.end_ns}",
            earlier_no=base.clip_no,
        )

    def absences(
        self,
        view: View,
        questions: Questions,
        revision: int,
        clock: int,
        missed: list[Alert],
        renewed: dict[int, Question],
    ) -> list[Alert]:
        """The absences up to a time of the clock, which it then is; they end the step.

        missed: those that clips of the step came too late for.
        renewed: questions that the step answered: what they are due is not told yet, whatever the clock.

        All but the last have the cursor of what was told before the step's end: should they not all be
        heard, all are told again, as they were known then.
        """
        # It never goes back: should the newest clip have come later than others, it waits.
        clock = max(clock, self.cursor.clock_ns)
        told = [*missed]
        told += [
            self.absence(view, renewed[no], revision)
            for no in sorted(renewed)
            if self.is_told(renewed[no])
        ]
        soonest = self._soonest(questions)
        if soonest is not None and soonest <= clock:
            due = [
                (due_ns, question.no, question)
                for _, question in questions.absent
                for due_ns in (self.deadline_ns(question),)
                if question.record.birth <= revision
                and due_ns <= clock
                and not self.is_told(question)
            ]
            told += [
                self.absence(view, question, revision)
                for _, _, question in sorted(due, key=lambda one: one[:2])
            ]
            self._soonest_ns = None
        self._fresh = {no: birth for no, birth in self._fresh.items() if birth > revision}
        self._to(Cursor(revision, clock_ns=clock))
        if told:
            told[-1] = replace(told[-1], cursor=self.cursor.text(view.state.id_key))
        return told

    def _soonest(self, questions: Questions) -> int | None:
        """A time before which no absence is due; None where none is at all."""
        if self._soonest_ns is None:
            # Answers put deadlines off, so what was found once stays true (`set_base`).
            dues = [
                due_ns
                for _, question in questions.absent
                for due_ns in (self.deadline_ns(question),)
                if not self.is_told(question)
            ]
            self._soonest_ns = min(dues, default=_NEVER)
        return None if self._soonest_ns == _NEVER else self._soonest_ns

    def is_told(self, question: Question) -> bool:
        """Whether the clock has passed the deadline of a question that was there already."""
        if question.no in self._fresh:
            return False
        return self.deadline_ns(question) <= self.cursor.clock_ns

    def _to(self, cursor: Cursor, done: int | None = None) -> None:
        self.cursor = cursor
        self._done = cursor.revision if done is None else done

    def _know_bases(self, view: View, questions: Questions, revision: int) -> None:
        """Look up what absences are counted from that were asked since: of a watch that goes on, the clips
        that are near enough to matter.
        """
        if questions is self._known:
            return
        self._known, self._soonest_ns = questions, None
        if not questions.absent:
            self._newest = None
        elif self._newest is None:
            self._newest = _newest(self._environment, view, revision)
        groups: dict[tuple[int, tuple[int, ...] | None, int, bool], list[Question]] = {}
        for space_no, question in questions.absent:
            record = question.record
            if question.no in self._bases:
                continue
            self._bases[question.no] = _Base(record.armed_ns, None)
            if record.birth > revision:
                self._fresh[question.no] = record.birth
            elif record.birth < revision:
                key = (space_no, record.stream_nos, record.window_ns or 0, record.sealed_only)
                groups.setdefault(key, []).append(question)
        for (space_no, _, window_ns, _), group in groups.items():
            # What ended before was told as absent already.
            since_ns = max(self.cursor.clock_ns, CLOCK_MIN_NS + window_ns) - window_ns + 1
            asked = questions.spaces[space_no]
            found = newest_matches(view, asked, space_no, group, since_ns, revision)
            for question in group:
                base = found.get(question.no)
                if base is not None and base[0] > question.record.armed_ns:
                    self.set_base(question, *base)


def newest_matches(
    view: View,
    asked: SpaceQuestions,
    space_no: int,
    group: list[Question],
    since_ns: int,
    revision: int,
) -> dict[int, tuple[int, int]]:
    """By question the (end, number) of the clip that ended last of those that matched as of a commit, and
    ended at ``since_ns`` or later; of questions that ask the same streams.
    """
    partition = view.partitions.get(space_no)
    if partition is None:
        return {}
    column = partition.columns
    rows = np.flatnonzero((column["end_ns"] >= since_ns) & (column["birth"] <= np.uint64(revision)))
    rows = rows[looked_at(partition, group[0], rows)]
    rows = rows[np.lexsort((column["clip_no"][rows], column["end_ns"][rows]))][::-1]
    found: dict[int, tuple[int, int]] = {}
    left = group
    for begin in range(0, len(rows), _BLOCK_ROWS):
        block = rows[begin : begin + _BLOCK_ROWS]
        vectors = partition.matrix.take(block)
        births = column["birth"][block]
        for question in left:
            since = np.flatnonzero(births > np.uint64(question.record.birth))
            place = asked.first_match(vectors[since], question.probe)
            if place is not None:
                row = block[since[place]]
                found[question.no] = int(column["end_ns"][row]), int(column["clip_no"][row])
        left = [question for question in left if question.no not in found]
        if not left:
            break
    return found


class _Page:
    """What the clips of some commits match, found at once."""

    def __init__(self, view: View, questions: Questions, rows: list[NewRow]) -> None:
        self.questions = questions
        self._matches: dict[tuple[int, int], list[tuple[int, float]]] = {}
        groups: dict[tuple[int, int], list[NewRow]] = {}
        for row in rows:
            groups.setdefault((row.space_no, row.column("stream_no")), []).append(row)
        for (space_no, stream_no), group in groups.items():
            asked = questions.spaces.get(space_no)
            if asked is None:
                continue
            partition = view.partitions[space_no]
            places = np.array([row.row for row in group])
            matches = asked.matches(
                partition.matrix.take(places),
                stream_no,
                partition.columns["birth"][places],
                partition.columns["sealed"][places],
            )
            for row, found in zip(group, matches, strict=True):
                self._matches[space_no, row.row] = found

    def matches(self, row: NewRow) -> list[tuple[int, float]]:
        """(probe, score) of each."""
        return self._matches.get((row.space_no, row.row), [])


class _Step:
    """One commit."""

    def __init__(
        self,
        followed: FollowedStanding,
        view: View,
        page: _Page,
        revision: int,
        rows: list[NewRow],
    ) -> None:
        self._followed = followed
        self._view = view
        self._page = page
        self._revision = revision
        self._rows = rows

    def alerts(self) -> Iterator[Alert]:
        """Matches by clip and question, then what was absent."""
        followed, revision = self._followed, self._revision
        answered: list[tuple[Question, NewRow]] = []
        for clip_no, question, row, score, earlier in sorted(
            self._found(answered), key=lambda found: (found[0], found[1].no)
        ):
            if followed.told(clip_no, question.no, revision):
                continue
            followed.match_at(revision, clip_no, question.no)
            yield _alert(
                self._view,
                question,
                followed.cursor,
                revision=revision,
                happened_ns=row.column("start_ns"),
                about=f"clip {clip_no}",
                score=score,
                row=row,
                earlier_no=earlier,
            )
        yield from self._absences(answered)

    def _found(
        self, answered: list[tuple[Question, NewRow]]
    ) -> Iterator[tuple[int, Question, NewRow, float, int | None]]:
        """(clip number, question, row, score, clip before) of each match that is to be told.

        answered: gets the matches of questions for an absence.
        """
        told: set[tuple[int, int]] = set()
        for row in self._rows:
            asked = self._page.questions.spaces.get(row.space_no)
            if asked is None:
                continue
            for probe, score in self._page.matches(row):
                question = asked.questions[asked.owners[probe]]
                if question.record.kind == "absent":
                    answered.append((question, row))
                elif question.record.kind == "seen":
                    if self._is_first(asked, question, row, probe) and self._is_quiet(
                        asked, question, row
                    ):
                        yield row.clip_no, question, row, score, None
                elif probe == question.then_probe:
                    found = self._completed(asked, question, row, score)
                    if found is not None and (row.clip_no, question.no) not in told:
                        told.add((row.clip_no, question.no))
                        yield found
                else:
                    # What follows may have come before what it follows.
                    for found in self._completed_by(asked, question, row):
                        if (found[0], question.no) not in told:
                            told.add((found[0], question.no))
                            yield found

    def _is_first(self, asked: SpaceQuestions, question: Question, row: NewRow, probe: int) -> bool:
        """Whether no earlier version of the clip matched."""
        if question.record.sealed_only:
            return True
        column = row.partition.columns
        before = np.flatnonzero(
            (column["clip_no"] == np.uint64(row.clip_no))
            & (column["birth"] < np.uint64(row.birth))
            & (column["birth"] > np.uint64(question.record.birth))
        )
        if not len(before):
            return True
        return asked.first_match(row.partition.matrix.take(before), probe) is None

    def _is_quiet(self, asked: SpaceQuestions, question: Question, row: NewRow) -> bool:
        """Whether no other clip matched in the time before."""
        window_ns = question.record.window_ns
        if window_ns is None:
            return True
        start_ns = row.column("start_ns")
        return (
            self._match_between(
                asked, question, question.probe, row, start_ns - window_ns, start_ns, self._revision
            )
            is None
        )

    def _match_between(
        self,
        asked: SpaceQuestions,
        question: Question,
        probe: int,
        row: NewRow,
        start_ns: int,
        end_ns: int,
        revision: int,
    ) -> int | None:
        """The latest row as of a commit that matches and begins in [start_ns, end_ns)."""
        partition = row.partition
        rows = rows_near(partition, question, revision, start_ns, end_ns)
        rows = rows[partition.columns["clip_no"][rows] != np.uint64(row.clip_no)]
        for begin in range(0, len(rows), _BLOCK_ROWS):
            block = rows[begin : begin + _BLOCK_ROWS]
            place = asked.first_match(partition.matrix.take(block), probe)
            if place is not None:
                return int(block[place])
        return None

    def _completed(
        self, asked: SpaceQuestions, question: Question, row: NewRow, score: float
    ) -> tuple[int, Question, NewRow, float, int | None] | None:
        """The sequence that a clip ends, unless it did with the commit before."""
        start_ns = row.column("start_ns")
        window = start_ns - (question.record.window_ns or 0), start_ns
        first = self._match_between(asked, question, question.probe, row, *window, self._revision)
        if first is None or self._was_complete(asked, question, row):
            return None
        earlier = int(row.partition.columns["clip_no"][first])
        return row.clip_no, question, row, score, earlier

    def _completed_by(
        self, asked: SpaceQuestions, question: Question, row: NewRow
    ) -> Iterator[tuple[int, Question, NewRow, float, int | None]]:
        """The sequences that a clip begins whose ends came before it."""
        assert question.then_probe is not None, "of a sequence"
        start_ns = row.column("start_ns")
        later = rows_near(
            row.partition,
            question,
            self._revision,
            start_ns + 1,
            start_ns + (question.record.window_ns or 0) + 1,
        )
        for place, vector in zip(later.tolist(), row.partition.matrix.take(later), strict=True):
            score = asked.score(vector, question.then_probe)
            if score is None:
                continue
            column = row.partition.columns
            end = NewRow(
                row.space_no,
                row.partition,
                place,
                int(column["clip_no"][place]),
                int(column["birth"][place]),
            )
            found = self._completed(asked, question, end, score)
            if found is not None:
                yield found

    def _was_complete(self, asked: SpaceQuestions, question: Question, row: NewRow) -> bool:
        """Whether the clip ended a sequence as of the commit before."""
        assert question.then_probe is not None, "of a sequence"
        revision = self._revision - 1
        column = row.partition.columns
        before = np.flatnonzero(
            (column["clip_no"] == np.uint64(row.clip_no))
            & (column["birth"] <= np.uint64(revision))
            & (column["birth"] > np.uint64(question.record.birth))
            & (column["birth"] != ALIVE)
        )
        before = before[looked_at(row.partition, question, before)]
        for place in before.tolist():
            vector = row.partition.matrix.take(np.array([place]))[0]
            if asked.score(vector, question.then_probe) is None:
                continue
            start_ns = int(column["start_ns"][place])
            window = start_ns - (question.record.window_ns or 0), start_ns
            if (
                self._match_between(asked, question, question.probe, row, *window, revision)
                is not None
            ):
                return True
        return False

    def _absences(self, answered: list[tuple[Question, NewRow]]) -> list[Alert]:
        """What was absent until a clip of this commit, or is by now."""
        followed, view = self._followed, self._view
        clock = followed.came(self._rows, self._revision)
        if clock is None:
            followed.matches_done(self._revision)
            return []
        missed: list[Alert] = []
        renewed: dict[int, Question] = {}
        answered.sort(key=lambda one: (one[1].column("start_ns"), one[1].clip_no, one[0].no))
        for question, row in answered:
            due_ns = followed.deadline_ns(question)
            if row.column("start_ns") >= due_ns and not followed.is_told(question):
                # It happened again, but too late; whatever the clock says.
                missed.append(followed.absence(view, question, self._revision))
            base, end_ns = followed.base(question), row.column("end_ns")
            window_ns = question.record.window_ns or 0
            if end_ns > base.end_ns and end_ns + window_ns <= followed.cursor.clock_ns:
                # It came so late that a later one may have been told, of which a watch that began since
                # does not know.
                later = newest_matches(
                    view,
                    self._page.questions.spaces[row.space_no],
                    row.space_no,
                    [question],
                    end_ns + 1,
                    self._revision,
                )
                if later:
                    followed.set_base(question, *later[question.no])
                    continue
            if end_ns > base.end_ns:
                renewed[question.no] = question
            if (end_ns, row.clip_no) > (base.end_ns, -1 if base.clip_no is None else base.clip_no):
                followed.set_base(question, end_ns, row.clip_no)
        return followed.absences(view, self._page.questions, self._revision, clock, missed, renewed)


def _late_ns(time_ns: int, end_ns: int) -> int:
    return min(max(time_ns - end_ns, 0), LATE_MAX_NS)


def _newest(environment: Environment, view: View, revision: int) -> _Newest:
    """The clip that ended last as of a commit."""
    found: tuple[int, int] | None = None
    for partition in view.partitions.values():
        column = partition.columns
        rows = np.flatnonzero(column["birth"] <= np.uint64(revision))
        if not len(rows):
            continue
        # Of equal ones the latest, as commits come.
        row = rows[np.lexsort((column["birth"][rows], column["end_ns"][rows]))[-1]]
        one = int(column["end_ns"][row]), int(column["birth"][row])
        found = one if found is None else max(found, one)
    if found is None:
        return _Newest()
    end_ns, birth = found
    time_ns = _commit_time(environment, birth)
    return _Newest(end_ns, 0 if time_ns is None else _late_ns(time_ns, end_ns))


def _commit_time(environment: Environment, revision: int) -> int | None:
    """When a commit was made; None where its record is damaged, or was emptied by an erasure: who waits
    for an absence waits a little longer, and `verify` tells the damage.
    """
    try:
        with environment.read() as txn:
            return commit_time(txn, revision)
    except DataLoss as error:
        log.warning("a commit's time cannot be told", extra={"fields": {"where": error.field}})
        return None


def _alert(
    view: View,
    question: Question,
    cursor: Cursor,
    *,
    revision: int,
    happened_ns: int,
    about: str,
    score: float | None = None,
    row: NewRow | None = None,
    earlier_no: int | None = None,
) -> Alert:
    state = view.state
    body = f"{question.no} {about}".encode()
    return Alert(
        blake2b(body, key=state.id_key, digest_size=16, person=b"memdb alert").hexdigest(),
        make_id(state.id_key, IdKind.STANDING, question.no),
        question.record.kind,
        revision,
        happened_ns,
        score,
        None if row is None else make_id(state.id_key, IdKind.CLIP, row.clip_no),
        None if row is None else state.stream_names[row.column("stream_no")],
        None if row is None else row.column("start_ns"),
        None if row is None else row.column("end_ns"),
        None if earlier_no is None else make_id(state.id_key, IdKind.CLIP, earlier_no),
        cursor.text(state.id_key),
    )
