"""One commit as standing questions look at it: which of its clips are to be told.

A match is told once for a clip, with the first of its versions that matches; what it depends on beside the
clip (what came before it in time, or after) is taken as of the commit.  So a step gives the same whenever
it is taken, as long as the clips are there.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import Final

import numpy as np

from memdb import deadline
from memdb.engine.standing_asked import Questions
from memdb.engine.standing_questions import Question, SpaceQuestions
from memdb.engine.standing_rows import NewRow, looked_at, rows_near
from memdb.engine.state import UserState
from memdb.engine.view import View
from memdb.types.arrays import Array

_BLOCK_ROWS: Final = 1024
_BLOCK_ROWS_MIN: Final = 64
"""Rows that are looked at together first: should each match much, the page ends with the first of them."""
_BLOCK_ROWS_MAX: Final = 512
_BY_ITSELF: Final = frozenset({"seen"})
"""Kinds of which no other clip of a commit says anything."""


@dataclass(frozen=True, slots=True)
class Match:
    """A clip that answers a question."""

    clip_no: int
    question: Question
    row: NewRow
    score: float
    earlier_no: int | None = None
    """The clip that the sequence began with."""


class Page:
    """What the clips of some commits match: what they may match is found for many at once, and as it is asked for,
    so that a page that ends early has not looked at the others.
    """

    def __init__(
        self, view: View, questions: Questions, rows: list[NewRow], told: tuple[int, int, int]
    ) -> None:
        """told: (revision, clip, question) up to which matches are told."""
        self._view = view
        self._questions = questions
        self._kinds = {no: questions.kinds(no) for no in {row.space_no for row in rows}}
        self._told = told
        self._left = [row for row in rows if not self._is_told(row)]
        """Not looked at, the last one first."""
        self._left.reverse()
        self._block = _BLOCK_ROWS_MIN
        self._may: dict[tuple[int, int], list[tuple[SpaceQuestions, Array]]] = {}

    @property
    def state(self) -> UserState:
        """The user's, as of the view."""
        return self._view.state

    def has_sequences(self, row: NewRow) -> bool:
        """Whether what is told of a clip may be told with another."""
        return "sequence" in self._kinds[row.space_no]

    def matches(self, row: NewRow) -> Iterator[tuple[SpaceQuestions, Array, Array]]:
        """(questions, probes, scores) of each group, for rows in their order."""
        key = row.space_no, row.row
        if self._is_told(row):
            return
        while key not in self._may:
            self._look_at_more()
        for asked, candidates in self._may[key]:
            if self._is_told_in_part(row):
                candidates = candidates[asked.numbers[candidates] > np.uint64(self._told[2])]
            yield asked, *asked.matched(row.partition, row.row, candidates)

    def _is_told(self, row: NewRow) -> bool:
        """Whether all that a clip matches is told, and nothing else needs it."""
        return (
            row.birth == self._told[0]
            and row.clip_no < self._told[1]
            and self._kinds[row.space_no] <= _BY_ITSELF
        )

    def _is_told_in_part(self, row: NewRow) -> bool:
        return (row.birth, row.clip_no) == self._told[:2] and (
            self._kinds[row.space_no] <= _BY_ITSELF
        )

    def _look_at_more(self) -> None:
        groups: dict[tuple[int, int, int | None], list[NewRow]] = {}
        for _ in range(min(self._block, len(self._left))):
            row = self._left.pop()
            self._may[row.space_no, row.row] = []
            stream_no = row.column("stream_no")
            for at, asked in enumerate(self._questions.of_space(row.space_no)):
                groups.setdefault((row.space_no, at, asked.group(stream_no)), []).append(row)
        self._block = min(2 * self._block, _BLOCK_ROWS_MAX)
        for (space_no, at, _), group in groups.items():
            deadline.check()
            asked = self._questions.of_space(space_no)[at]
            places = np.array([row.row for row in group])
            partition = self._view.partitions[space_no]
            found = asked.candidates(partition, places)
            found = asked.looking(self._view.state, partition, places, found)
            for row, candidates in zip(group, found, strict=True):
                self._may[space_no, row.row].append((asked, candidates))


class Step:
    """One commit."""

    def __init__(self, page: Page, revision: int, rows: list[NewRow]) -> None:
        self.revision = revision
        self.rows = rows
        self.answers: list[tuple[Question, NewRow]] = []
        """Matches of questions for an absence; complete once the matches are gone through."""
        self._page = page
        self._state = page.state

    def matches(self) -> Iterator[Match]:
        """What is to be told, by clip and question."""
        self.answers = []
        if any(map(self._page.has_sequences, self.rows)):
            # A clip may end a sequence that another began which came with it, and for two reasons.
            found = {
                (match.clip_no, match.question.no): match
                for row in self.rows
                for match in self._found(row)
            }
            yield from (found[key] for key in sorted(found))
            return
        for _, versions in groupby(self.rows, key=lambda row: row.clip_no):
            of_clip = {match.question.no: match for row in versions for match in self._found(row)}
            yield from (of_clip[no] for no in sorted(of_clip))

    def _found(self, row: NewRow) -> Iterator[Match]:
        for asked, probes, scores in self._page.matches(row):
            deadline.check()
            for probe, score in zip(probes.tolist(), scores.tolist(), strict=True):
                question = asked.of_probe[probe]
                if question.record.kind == "absent":
                    self.answers.append((question, row))
                elif question.record.kind == "seen":
                    if self._is_first(asked, question, row, probe) and self._is_quiet(
                        asked, question, row
                    ):
                        yield Match(row.clip_no, question, row, score)
                elif probe == question.then_probe:
                    yield from self._completed(asked, question, row, score)
                else:
                    # What follows may have come before what it follows.
                    yield from self._completed_by(asked, question, row)

    def _is_first(self, asked: SpaceQuestions, question: Question, row: NewRow, probe: int) -> bool:
        """Whether no earlier version of the clip matched."""
        if question.record.sealed_only:
            return True
        deadline.check()
        column = row.partition.columns
        before = np.flatnonzero(
            (column["clip_no"] == np.uint64(row.clip_no))
            & (column["birth"] < np.uint64(row.birth))
            & (column["birth"] > np.uint64(question.record.birth))
        )
        before = before[looked_at(self._state, row.partition, question, before)]
        if not len(before):
            return True
        return asked.first_match(row.partition, before, probe) is None

    def _is_quiet(self, asked: SpaceQuestions, question: Question, row: NewRow) -> bool:
        """Whether no other clip matched in the time before."""
        window_ns = question.record.window_ns
        if window_ns is None:
            return True
        start_ns = row.column("start_ns")
        return (
            self._match_between(
                asked, question, question.probe, row, start_ns - window_ns, start_ns
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
        revisions: tuple[int, int] | None = None,
    ) -> int | None:
        """The latest row of another clip that matches and begins in [start_ns, end_ns), as of this commit or
        of any from the first to the last.
        """
        partition = row.partition
        deadline.check()
        as_of = (self.revision, self.revision) if revisions is None else revisions
        rows = rows_near(self._state, partition, question, as_of, start_ns, end_ns)
        rows = rows[partition.columns["clip_no"][rows] != np.uint64(row.clip_no)]
        for begin in range(0, len(rows), _BLOCK_ROWS):
            block = rows[begin : begin + _BLOCK_ROWS]
            place = asked.first_match(partition, block, probe)
            if place is not None:
                return int(block[place])
        return None

    def _completed(
        self, asked: SpaceQuestions, question: Question, row: NewRow, score: float
    ) -> Iterator[Match]:
        """The sequence that a clip ends, unless it did before."""
        start_ns = row.column("start_ns")
        window = start_ns - (question.record.window_ns or 0), start_ns
        first = self._match_between(asked, question, question.probe, row, *window)
        if first is not None and not self._was_complete(asked, question, row):
            earlier = int(row.partition.columns["clip_no"][first])
            yield Match(row.clip_no, question, row, score, earlier)

    def _completed_by(
        self, asked: SpaceQuestions, question: Question, row: NewRow
    ) -> Iterator[Match]:
        """The sequences that a clip begins whose ends came before it."""
        assert question.then_probe is not None, "of a sequence"
        start_ns = row.column("start_ns")
        later = rows_near(
            self._state,
            row.partition,
            question,
            (self.revision, self.revision),
            start_ns + 1,
            start_ns + (question.record.window_ns or 0) + 1,
        )
        for place in later.tolist():
            score = asked.score(row.partition, place, question.then_probe)
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
            yield from self._completed(asked, question, end, score)

    def _was_complete(self, asked: SpaceQuestions, question: Question, row: NewRow) -> bool:
        """Whether the clip ended a sequence as of any commit before: then it was told, be it that a version
        that had a part in it was superseded since.
        """
        assert question.then_probe is not None, "of a sequence"
        last = self.revision - 1
        column = row.partition.columns
        before = np.flatnonzero(
            (column["clip_no"] == np.uint64(row.clip_no))
            & (column["birth"] <= np.uint64(last))
            & (column["birth"] > np.uint64(question.record.birth))
        )
        before = before[looked_at(self._state, row.partition, question, before)]
        for place in before.tolist():
            if asked.score(row.partition, place, question.then_probe) is None:
                continue
            start_ns = int(column["start_ns"][place])
            window = start_ns - (question.record.window_ns or 0), start_ns
            lived = int(column["birth"][place]), min(int(column["death"][place]) - 1, last)
            first = self._match_between(asked, question, question.probe, row, *window, lived)
            if first is not None:
                return True
        return False
