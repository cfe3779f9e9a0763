"""All standing questions of a user, read when somebody listens and kept until they change."""

from __future__ import annotations

import threading
from dataclasses import dataclass

from memdb.engine.standing_margins import Margins
from memdb.engine.standing_questions import Question, SpaceQuestions, score_questions
from memdb.engine.standing_relevance import relevance_questions
from memdb.engine.state import UserState
from memdb.store import standing
from memdb.store.environment import Environment
from memdb.store.records import StandingCountRecord, StandingRecord
from memdb.types.space import Space


@dataclass(frozen=True, slots=True, eq=False)
class Questions:
    """All of a user, as of one moment of the store."""

    counts: StandingCountRecord
    by_score: dict[int, SpaceQuestions]
    """By space number: those that ask for a score."""
    by_relevance: dict[int, SpaceQuestions]
    """Those that ask for a relevance."""
    absent: tuple[tuple[int, Question], ...]
    """(space number, question) of those that wait for an absence."""

    @property
    def first_birth(self) -> int | None:
        """The commit of the oldest, None where there is none."""
        every = (*self.by_score.values(), *self.by_relevance.values())
        return min((int(asked.births.min()) for asked in every), default=None)

    def of_space(self, space_no: int) -> tuple[SpaceQuestions, ...]:
        """Those of a space, in groups."""
        groups = self.by_score.get(space_no), self.by_relevance.get(space_no)
        return tuple(group for group in groups if group is not None)

    def kinds(self, space_no: int) -> frozenset[str]:
        """What those of a space wait for."""
        return frozenset().union(*(asked.kinds for asked in self.of_space(space_no)))

    def group_of(self, space_no: int, question: Question) -> SpaceQuestions:
        """Those that a question is among."""
        groups = self.by_score if question.record.min_relevance is None else self.by_relevance
        return groups[space_no]

    def due(self) -> list[Margins]:
        """What is to be made in the background for the clips to come."""
        every = (*self.by_score.values(), *self.by_relevance.values())
        return [
            asked.margins for asked in every if asked.margins is not None and asked.margins.is_due
        ]


class AskedQuestions:
    """The questions of an open user."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._newest: Questions | None = None

    @property
    def is_asked(self) -> bool:
        """Whether there may be some."""
        return self._newest is not None

    def due(self) -> list[Margins]:
        """`Questions.due` of those that were asked for last."""
        newest = self._newest
        return [] if newest is None else newest.due()

    def newest(self, environment: Environment, state: UserState) -> Questions:
        """Those that are in the store now; raises `DataLoss`."""
        with self._lock, environment.read() as txn:
            counts = standing.counted(txn)
            if self._newest is None or self._newest.counts != counts:
                records = list(standing.every(txn))
                made = _made(counts, records, state.spaces, self._newest)
                if not {record.space_no for _, record in records} <= state.spaces.keys():
                    # Some are of a space that the view does not show yet: asked for again.
                    return made
                self._newest = made
            return self._newest


def _made(
    counts: StandingCountRecord,
    records: list[tuple[int, StandingRecord]],
    spaces: dict[int, Space],
    before: Questions | None,
) -> Questions:
    groups: dict[tuple[int, bool], list[tuple[int, StandingRecord]]] = {}
    for no, record in records:
        if record.space_no in spaces:
            key = record.space_no, record.min_relevance is not None
            groups.setdefault(key, []).append((no, record))
    by_score: dict[int, SpaceQuestions] = {}
    by_relevance: dict[int, SpaceQuestions] = {}
    for (space_no, relevant), grouped in groups.items():
        cosine = spaces[space_no].metric == "cosine"
        if relevant:
            by_relevance[space_no] = relevance_questions(grouped, cosine=cosine)
            known = None if before is None else before.by_relevance.get(space_no)
        else:
            by_score[space_no] = score_questions(grouped, cosine=cosine)
            known = None if before is None else before.by_score.get(space_no)
        if known is not None:
            made = by_relevance[space_no] if relevant else by_score[space_no]
            made.go_on_from(known)
    absent = tuple(
        (space_no, question)
        for group in (by_score, by_relevance)
        for space_no, asked in group.items()
        for question in asked.questions
        if question.record.kind == "absent"
    )
    return Questions(counts, by_score, by_relevance, absent)
