"""What the questions for an absence are counted from, and which are due.

Each is counted from a *base*: when it was asked, then the end of the last match.  It is due when the user's
clock shows base + window.  What is due at the clock of the cursor or before is told; but of a question that
was asked, or of a base that came, after what the cursor says is told.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from memdb import deadline
from memdb.engine.standing_alert import alert_of
from memdb.engine.standing_asked import Questions
from memdb.engine.standing_cursor import CLOCK_MIN_NS, Cursor
from memdb.engine.standing_questions import Question, SpaceQuestions
from memdb.engine.standing_rows import looked_at
from memdb.engine.standing_step import Step
from memdb.engine.view import View
from memdb.index.columns import ALIVE
from memdb.types.arrays import Array
from memdb.types.clip_filter import ClipFilter
from memdb.types.standing import Alert

_BLOCK_ROWS: Final = 256
_NO_CLIP: Final = -1

_Alike = tuple[int, tuple[int, ...] | None, int, bool, bool, ClipFilter]
"""Space, streams, window, whether sealed clips alone, whether by relevance, and which clips: what is the same of
questions that are looked up together."""


class Absences:
    """Those of one watch."""

    def __init__(self) -> None:
        self._questions: Questions | None = None
        """Those whose bases are known."""
        self._places: dict[int, int] = {}
        """Question number -> its place in the arrays, which is that in `Questions.absent`."""
        self._probe_places: dict[int, Array] = {}
        """By the identity of questions that are asked together."""
        self._windows_ns = np.empty(0, np.int64)
        self._births = np.empty(0, np.int64)
        self._bases_ns = np.empty(0, np.int64)
        self._clip_nos = np.empty(0, np.int64)
        """The clip that the base is the end of."""
        self._fresh = np.empty(0, np.bool_)
        """Whether the question was asked after what is told."""

    @property
    def is_empty(self) -> bool:
        """Whether nobody waits for one."""
        return not self._places

    def know(self, view: View, questions: Questions, revision: int, told_ns: int) -> None:
        """Take the questions as they are now; of those that are new here the last match is looked up, as of
        a commit and as far as it is not told (the clock of the cursor) that it was long ago.
        """
        if questions is self._questions:
            return
        places = {question.no: at for at, (_, question) in enumerate(questions.absent)}
        records = [question.record for _, question in questions.absent]
        bases = np.array([record.armed_ns for record in records], np.int64)
        clip_nos = np.full(len(records), _NO_CLIP, np.int64)
        fresh = np.array([record.birth > revision for record in records], np.bool_)
        groups: dict[_Alike, list[Question]] = {}
        for at, (space_no, question) in enumerate(questions.absent):
            before = self._places.get(question.no)
            record = question.record
            if before is not None:
                bases[at], clip_nos[at] = self._bases_ns[before], self._clip_nos[before]
                fresh[at] = self._fresh[before]
            elif record.birth < revision:
                key = (
                    space_no,
                    record.stream_nos,
                    record.window_ns or 0,
                    record.sealed_only,
                    record.min_relevance is not None,
                    question.only,
                )
                groups.setdefault(key, []).append(question)
        self._questions, self._places = questions, places
        self._probe_places = {}
        self._windows_ns = np.array([record.window_ns or 0 for record in records], np.int64)
        self._births = np.array([record.birth for record in records], np.int64)
        self._bases_ns, self._clip_nos, self._fresh = bases, clip_nos, fresh
        for (space_no, _, window_ns, *_), group in groups.items():
            since_ns = max(told_ns, CLOCK_MIN_NS + window_ns) - window_ns + 1
            self._look_up(
                view, self._asked(space_no, group[0]), space_no, group, since_ns, revision
            )

    def clips_went(self, view: View, revision: int) -> None:
        """Some were erased or given up: who counts from one of them counts from the match before it."""
        if self._questions is None:
            return
        spaces = np.array([space_no for space_no, _ in self._questions.absent], np.int64)
        for space_no in set(spaces.tolist()):
            partition = view.partitions.get(space_no)
            there = np.empty(0, np.uint64)
            if partition is not None:
                column = partition.columns
                there = column["clip_no"][column["birth"] != ALIVE]
            counted = (spaces == space_no) & (self._clip_nos != _NO_CLIP)
            gone = counted & ~np.isin(self._clip_nos, there.astype(np.int64))
            for at in np.flatnonzero(gone).tolist():
                question = self._question(at)
                self._bases_ns[at], self._clip_nos[at] = question.record.armed_ns, _NO_CLIP
                asked = self._asked(space_no, question)
                self._look_up(view, asked, space_no, [question], CLOCK_MIN_NS, revision)

    def answered(self, view: View, cursor: Cursor, step: Step) -> list[Alert]:
        """The clips of a commit match: what was absent until they came, and what they leave absent that no
        clock tells any more.
        """
        missed: list[Alert] = []
        late: set[int] = set()
        for row in sorted(step.rows, key=lambda row: (row.column("start_ns"), row.clip_no)):
            start_ns, end_ns = row.column("start_ns"), row.column("end_ns")
            groups = [
                (asked, self._places_of(asked)[probes]) for asked, probes in step.answers(row)
            ]
            # It happened again, but too late; whatever the clock says.
            again = [
                at
                for _, places in groups
                for at in places[self._is_missed(places, start_ns, cursor)].tolist()
            ]
            again.sort(key=lambda at: self._question(at).no)
            missed += [self._alert(view, at, cursor, step.revision) for at in again]
            for asked, places in groups:
                bases = self._bases_ns[places]
                newer = end_ns > bases
                # It came so late that a later one may have been told, of which a watch that began since
                # does not know.
                unsure = newer & (end_ns + self._windows_ns[places] <= cursor.clock_ns)
                newer |= (end_ns == bases) & (row.clip_no > self._clip_nos[places])
                # As of the commit before: those that came with this one have their turn, and may leave it absent.
                before = step.revision - 1
                for at in places[unsure].tolist():
                    group = [self._question(at)]
                    if self._look_up(view, asked, row.space_no, group, end_ns, before):
                        continue
                    late.add(at)
                    self._bases_ns[at], self._clip_nos[at] = end_ns, row.clip_no
                sure = places[newer & ~unsure]
                self._bases_ns[sure], self._clip_nos[sure] = end_ns, row.clip_no
        # What a later clip of the same commit put off is not due.
        due = [at for at in sorted(late) if self._is_told(at, cursor)]
        return missed + [self._alert(view, at, cursor, step.revision) for at in due]

    def due(self, view: View, cursor: Cursor, revision: int, clock_ns: int) -> list[Alert]:
        """What the clock has come to and is not told, by deadline."""
        told: list[tuple[int, int, Alert]] = []
        for at in self._untold(cursor, clock_ns, revision):
            no = self._question(at).no
            told.append((self._due_ns(at), no, self._alert(view, at, cursor, revision)))
        self._fresh &= self._births > revision
        return [alert for _, _, alert in sorted(told, key=lambda one: one[:2])]

    def next_due_ns(self, cursor: Cursor) -> int | None:
        """What the clock will show when something is due, if nothing comes; None: nothing will be."""
        deadlines = self._bases_ns + self._windows_ns
        left = deadlines[(deadlines > cursor.clock_ns) | self._fresh]
        return int(left.min()) if len(left) else None

    def _untold(self, cursor: Cursor, clock_ns: int, revision: int) -> list[int]:
        deadlines = self._bases_ns + self._windows_ns
        due = (deadlines <= clock_ns) & ((deadlines > cursor.clock_ns) | self._fresh)
        places: list[int] = np.flatnonzero(due & (self._births <= revision)).tolist()
        return places

    def _places_of(self, asked: SpaceQuestions) -> Array:
        """(probes,) int64: the place of each one's question; any where it waits for no absence."""
        places = self._probe_places.get(id(asked))
        if places is None:
            places = np.array([self._places.get(question.no, 0) for question in asked.of_probe])
            self._probe_places[id(asked)] = places
        return places

    def _is_missed(self, places: Array, start_ns: int, cursor: Cursor) -> Array:
        """Of which of some a clip that begins then comes too late, and that is not told."""
        due_ns = self._bases_ns[places] + self._windows_ns[places]
        is_told = ~self._fresh[places] & (due_ns <= cursor.clock_ns)
        return np.asarray((start_ns >= due_ns) & ~is_told)

    def _is_told(self, at: int, cursor: Cursor) -> bool:
        return not self._fresh[at] and self._due_ns(at) <= cursor.clock_ns

    def _due_ns(self, at: int) -> int:
        return int(self._bases_ns[at] + self._windows_ns[at])

    def _question(self, at: int) -> Question:
        assert self._questions is not None, "they are known"
        return self._questions.absent[at][1]

    def _asked(self, space_no: int, question: Question) -> SpaceQuestions:
        assert self._questions is not None, "they are known"
        return self._questions.group_of(space_no, question)

    def _look_up(
        self,
        view: View,
        asked: SpaceQuestions,
        space_no: int,
        group: list[Question],
        since_ns: int,
        revision: int,
    ) -> bool:
        """Take the last match as of a commit as the base of each of some questions, of one group, that ask
        the same streams; whether there was any since.
        """
        found = newest_matches(view, asked, space_no, group, since_ns, revision)
        for question in group:
            base = found.get(question.no)
            at = self._places[question.no]
            if base is not None and base > (self._bases_ns[at], self._clip_nos[at]):
                self._bases_ns[at], self._clip_nos[at] = base
        return bool(found)

    def _alert(self, view: View, at: int, cursor: Cursor, revision: int) -> Alert:
        clip_no = int(self._clip_nos[at])
        return alert_of(
            view,
            self._question(at),
            cursor,
            revision=revision,
            happened_ns=self._due_ns(at),
            # By the time alone: of clips that end together any may have come first.
            about=f"absent {self._bases_ns[at]}",
            earlier_no=None if clip_no == _NO_CLIP else clip_no,
        )


def newest_matches(
    view: View,
    asked: SpaceQuestions,
    space_no: int,
    group: list[Question],
    since_ns: int,
    revision: int,
) -> dict[int, tuple[int, int]]:
    """By question the (end, number) of the clip that ended last of those that matched as of a commit, and
    ended at ``since_ns`` or later; of questions that look at the same clips.
    """
    partition = view.partitions.get(space_no)
    if partition is None:
        return {}
    column = partition.columns
    rows = np.flatnonzero((column["end_ns"] >= since_ns) & (column["birth"] <= np.uint64(revision)))
    rows = rows[looked_at(view.state, partition, group[0], rows)]
    rows = rows[np.lexsort((column["clip_no"][rows], column["end_ns"][rows]))][::-1]
    found: dict[int, tuple[int, int]] = {}
    left = group
    for begin in range(0, len(rows), _BLOCK_ROWS):
        deadline.check()
        block = rows[begin : begin + _BLOCK_ROWS]
        probes = np.array([question.probe for question in left])
        places = asked.first_matches(partition, block, probes)
        for question in left:
            if question.probe in places:
                row = block[places[question.probe]]
                found[question.no] = int(column["end_ns"][row]), int(column["clip_no"][row])
        left = [question for question in left if question.no not in found]
        if not left:
            break
    return found
