"""What standing questions have to tell of a user's commits, from a cursor on.

Nothing is stored: an alert follows from the clips and from the questions that were there, so it can be
told again, with the same id, after a crash at any moment, and is gone once its clip is.  A commit does
not wait for it.

A commit is one step: its clips are scored against every question (`memdb.engine.standing_step`), then the
user's clock moves (`memdb.engine.standing_clock`) and what was absent for long enough is told
(`memdb.engine.standing_absences`).  Where nothing comes, a page moves the clock.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Final

from memdb.engine.standing_absences import Absences
from memdb.engine.standing_alert import ClipTold, alert_of
from memdb.engine.standing_asked import Questions
from memdb.engine.standing_clock import UserClock, told_commit_time
from memdb.engine.standing_cursor import ALL, TIME_UNKNOWN_NS, Cursor
from memdb.engine.standing_rows import NewRow, by_commit, new_rows
from memdb.engine.standing_step import Match, Page, Step
from memdb.engine.view import View
from memdb.store.environment import Environment
from memdb.types.standing import Alert

PAGE_S: Final = 1.0
"""After so long a page ends with the next clip: others have their turn."""


class FollowedStanding:
    """One watch: a cursor that moves over the commits of a user; used by one thread at a time."""

    def __init__(
        self, environment: Environment, view: View, questions: Questions, cursor: Cursor | None
    ) -> None:
        """cursor: None for everything that the questions have to tell."""
        if cursor is None:
            first = questions.first_birth
            cursor = Cursor(view.revision if first is None else min(first, view.revision))
        if cursor.time_ns == TIME_UNKNOWN_NS:
            cursor = replace(cursor, time_ns=_time_ns(environment, cursor.revision))
        self.cursor = cursor
        self._done = cursor.revision if cursor.is_whole else cursor.revision - 1
        """Every step up to this commit is told."""
        self._clock: UserClock | None = None
        """As of what is done; None while nobody waits for an absence."""
        self._absences = Absences()
        self._clip: tuple[NewRow, ClipTold] | None = None
        """That was told last."""
        self._removed = 0
        """Clips of the user that were erased or given up, when that was looked at last."""

    def page(
        self,
        environment: Environment,
        view: View,
        questions: Questions,
        now_ns: int,
        limit: int,
    ) -> list[Alert]:
        """What the next commits gave, be it nothing yet: at most ``limit`` matches, and what was absent besides; once
        every commit of the view is told, what is absent by now.
        """
        if self.cursor.clock_ns > now_ns:
            # The wall clock was ahead, and what it took for over was not: it is told when it is.
            self._to(replace(self.cursor, clock_ns=now_ns), self._done)
        self._absences.know(view, questions, self._done, self.cursor.clock_ns)
        counters = view.state.counters
        removed = counters.stones + counters.removed_numbers
        if removed != self._removed:
            self._removed = removed
            self._absences.clips_went(view, self._done)
        if self._absences.is_empty:
            self._clock = None
        elif self._clock is None:
            self._clock = UserClock.at(environment, view, self._done)
        found = self._advance(environment, view, questions, now_ns, limit)
        if not found and self.has_come_to(view) and self._clock is not None:
            clock_ns = self._clock.time_ns(now_ns)
            found = self._over(environment, view, view.revision, clock_ns, [])
        return found

    def has_come_to(self, view: View) -> bool:
        """Whether every commit of a view is told."""
        return self._done >= view.revision

    def next_due_ns(self) -> int | None:
        """The wall time at which something is due, if nothing comes; None: never."""
        if self._clock is None:
            return None
        due_ns = self._absences.next_due_ns(self.cursor)
        return None if due_ns is None else self._clock.wall_ns(due_ns)

    def _advance(
        self,
        environment: Environment,
        view: View,
        questions: Questions,
        now_ns: int,
        limit: int,
    ) -> list[Alert]:
        found: list[Alert] = []
        rows = new_rows(view, self._done)
        if not rows and not self.has_come_to(view):
            self._to(self._cursor(environment, view.revision, clock_ns=self.cursor.clock_ns))
        told = self.cursor.revision, self.cursor.clip_no, self.cursor.question_no
        page = Page(view, questions, rows, told)
        end_s = time.monotonic() + PAGE_S
        for revision, born in by_commit(rows):
            step = Step(page, revision, born)
            for clip_no, matches in step.clips(limit + 1):
                for match in matches:
                    if self._is_told(match, revision):
                        continue
                    if len(found) >= limit:
                        # In the middle of the commit: the next page begins it again.
                        return found
                    found.append(self._told(environment, view, match, revision))
                clock_ns = self.cursor.clock_ns
                cursor = self._cursor(environment, revision, clip_no, clock_ns=clock_ns)
                self._to(cursor, done=revision - 1)
                if time.monotonic() >= max(end_s, step.until_s):
                    return found
            found += self._ended(environment, view, step, now_ns)
        return found

    def _is_told(self, match: Match, revision: int) -> bool:
        """Whether a match was told before the commit that it came with was told to its end."""
        position = self.cursor.revision, self.cursor.clip_no, self.cursor.question_no
        return (revision, match.clip_no, match.question.no) <= position

    def _told(self, environment: Environment, view: View, match: Match, revision: int) -> Alert:
        cursor = self._cursor(
            environment, revision, match.clip_no, match.question.no, clock_ns=self.cursor.clock_ns
        )
        self._to(cursor, done=revision - 1)
        if self._clip is None or self._clip[0] is not match.row:
            self._clip = match.row, ClipTold.of(view, match.row)
        clip = self._clip[1]
        return alert_of(
            view,
            match.question,
            cursor,
            revision=revision,
            happened_ns=clip.start_ns,
            about=clip.about,
            score=match.score,
            clip=clip,
            earlier_no=match.earlier_no,
        )

    def _ended(self, environment: Environment, view: View, step: Step, now_ns: int) -> list[Alert]:
        """The matches of a step are told: what was absent until its clips came, or is by now."""
        if self._clock is None:
            self._to(self._cursor(environment, step.revision, clock_ns=self.cursor.clock_ns))
            return []
        newest_ns = max(row.column("end_ns") for row in step.rows)
        self._clock, time_ns = self._clock.with_clips(environment, newest_ns, step.revision)
        # Commits under a wall clock that was ahead are stamped later than now.
        wall_ns = None if time_ns is None else min(time_ns, now_ns)
        clock_ns = self.cursor.clock_ns if wall_ns is None else self._clock.time_ns(wall_ns)
        missed = self._absences.answered(view, self.cursor, step)
        return self._over(environment, view, step.revision, clock_ns, missed)

    def _over(
        self,
        environment: Environment,
        view: View,
        revision: int,
        clock_ns: int,
        missed: list[Alert],
    ) -> list[Alert]:
        """End a step: the absences up to a time of the clock, which it then shows.

        All but the last have the cursor of what was told before the step's end: should they not all be
        heard, all are told again, as they were known then.
        """
        # It never goes back: should the newest clip have come later than others, it waits.
        clock_ns = max(clock_ns, self.cursor.clock_ns)
        told = [*missed, *self._absences.due(view, self.cursor, revision, clock_ns)]
        self._to(self._cursor(environment, revision, clock_ns=clock_ns))
        if told:
            told[-1] = replace(told[-1], cursor=self.cursor.text(view.state.id_key))
        return told

    def _cursor(
        self,
        environment: Environment,
        revision: int,
        clip_no: int = ALL,
        question_no: int = ALL,
        *,
        clock_ns: int,
    ) -> Cursor:
        """A place in this or a later commit."""
        same = revision == self.cursor.revision
        time_ns = self.cursor.time_ns if same else _time_ns(environment, revision)
        return Cursor(revision, clip_no, question_no, clock_ns, time_ns)

    def _to(self, cursor: Cursor, done: int | None = None) -> None:
        self.cursor = cursor
        self._done = cursor.revision if done is None else done


def _time_ns(environment: Environment, revision: int) -> int:
    # Before the first commit there is nothing to tell apart.
    time_ns = told_commit_time(environment, revision) if revision else None
    return TIME_UNKNOWN_NS if time_ns is None else time_ns
