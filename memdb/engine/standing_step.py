"""One commit as standing questions look at it: which of its clips are to be told.

A match is told once for a clip, with the first of its versions that matches; what it depends on beside the
clip (what came before it in time, or after) is taken as of the commit.  So a step gives the same whenever
it is taken, as long as the clips are there.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from heapq import nsmallest
from typing import Final

import numpy as np

from memdb import deadline
from memdb.engine.standing_asked import Questions
from memdb.engine.standing_cursor import ALL
from memdb.engine.standing_questions import BEGINS, ENDS, PUTS_OFF, Question, SpaceQuestions
from memdb.engine.standing_rows import NewRow, looked_at, rows_near
from memdb.engine.state import UserState
from memdb.engine.view import View
from memdb.types.arrays import Array

_BLOCK_ROWS: Final = 1024
_BLOCK_ROWS_MIN: Final = 64
"""Rows that are looked at together first: should each match much, the page ends with the first of them."""
_BLOCK_ROWS_MAX: Final = 512
_BEGUN_S: Final = 0.5
"""To begin a commit may take longer than this: then as long again is taken for its clips, and not one alone told of it
each time it is begun."""
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
        told_rows = [row for row in rows if (row.birth, row.clip_no) < told[:2]]
        self._left = [row for row in rows if (row.birth, row.clip_no) >= told[:2]]
        """Not looked at, the last one first; what is told already is looked at last, if at all."""
        self._left += [row for row in told_rows if not self._kinds[row.space_no] <= _BY_ITSELF]
        self._left.reverse()
        self._block = _BLOCK_ROWS_MIN
        self._may: dict[tuple[int, int], list[tuple[SpaceQuestions, Array]]] = {}

    @property
    def state(self) -> UserState:
        """The user's, as of the view."""
        return self._view.state

    def has(self, kind: str, row: NewRow) -> bool:
        """Whether questions of a kind may look at a row."""
        return kind in self._kinds[row.space_no]

    def is_told(self, revision: int, clip_no: int, question_no: int = ALL) -> bool:
        """Whether a match, or all of a clip, was told before this page."""
        return (revision, clip_no, question_no) <= self._told

    def matches(self, row: NewRow, part: int) -> Iterator[tuple[SpaceQuestions, Array, Array]]:
        """(questions, probes, scores) of each group, of probes of which a match is that part."""
        key = row.space_no, row.row
        while key not in self._may:
            self._look_at_more()
        for asked, candidates in self._may[key]:
            chosen = candidates[asked.parts[candidates] == part]
            if part == ENDS and (row.birth, row.clip_no) == self._told[:2]:
                chosen = chosen[asked.numbers[chosen] > np.uint64(self._told[2])]
            yield asked, *asked.matched(row.partition, row.row, chosen)

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
        self.until_s = 0.0
        """Until when a page goes on with its clips: what precedes the first is done again for each that begins with it.
        """
        self._page = page
        self._state = page.state

    def clips(self, most: int) -> Iterator[tuple[int, list[Match]]]:
        """(clip, what is to be told of it, by question), in the order of the clips, but for what is told.

        most: matches that are wanted; so many may be given, or a few clips' more, and those behind them left out.
        Nothing of a clip is computed, or kept, before it is its turn, however many match.
        """
        begin_s = time.monotonic()
        completed = self._completed_before(most)
        now_s = time.monotonic()
        if now_s - begin_s > _BEGUN_S:
            self.until_s = now_s + (now_s - begin_s)
        versions: dict[int, list[NewRow]] = {}
        for row in self.rows:
            versions.setdefault(row.clip_no, []).append(row)
        for clip_no in sorted({*completed, *versions}):
            if self._page.is_told(self.revision, clip_no):
                continue
            found = completed.get(clip_no, {})
            for row in versions.get(clip_no, ()):
                found |= {match.question.no: match for match in self._found(row)}
            yield clip_no, [found[no] for no in sorted(found)]

    def answers(self, row: NewRow) -> Iterator[tuple[SpaceQuestions, Array]]:
        """(questions, probes) of the absences that a row of this commit puts off."""
        if self._page.has("absent", row):
            for asked, probes, _ in self._page.matches(row, PUTS_OFF):
                deadline.check()
                yield asked, probes

    def _found(self, row: NewRow) -> Iterator[Match]:
        for asked, probes, scores in self._page.matches(row, ENDS):
            for probe, score in zip(probes.tolist(), scores.tolist(), strict=True):
                deadline.check()
                question = asked.of_probe[probe]
                if question.record.kind == "sequence":
                    yield from self._completed(asked, question, row, score)
                elif self._is_first(asked, question, row, probe) and self._is_quiet(
                    asked, question, row
                ):
                    yield Match(row.clip_no, question, row, score)

    def _completed_before(self, most: int) -> dict[int, dict[int, Match]]:
        """By clip and question the first ``most`` sequences whose ends came in commits before, and their begins with
        this one: what follows may have come before what it follows.
        """
        found: dict[tuple[int, int], Match] = {}
        for row in self.rows:
            if not self._page.has("sequence", row) or not self._comes_before_another(row):
                continue
            for asked, probes, _ in self._page.matches(row, BEGINS):
                for probe in probes.tolist():
                    for match in self._completed_by(asked, asked.of_probe[probe], row):
                        key = match.clip_no, match.question.no
                        if not self._page.is_told(self.revision, *key):
                            found[key] = match
                    if len(found) > 2 * most:
                        found = {key: found[key] for key in nsmallest(most, found)}
        by_clip: dict[int, dict[int, Match]] = {}
        for clip_no, no in nsmallest(most, found):
            by_clip.setdefault(clip_no, {})[no] = found[clip_no, no]
        return by_clip

    def _comes_before_another(self, row: NewRow) -> bool:
        """Whether a version of an earlier commit, which is there at this one, begins later."""
        deadline.check()
        column = row.partition.columns
        later = column["birth"] < np.uint64(self.revision)
        later &= column["death"] > np.uint64(self.revision)
        later &= column["start_ns"] > row.column("start_ns")
        return bool(later.any())

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
        # One of this commit is looked at by itself.
        later = later[row.partition.columns["birth"][later] < np.uint64(self.revision)]
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
