"""From the rows of an answer to its hits: their clips are read in one transaction, as large as an answer may be; what
cannot be read whole is a gap, and the other hits are an answer all the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from memdb import deadline
from memdb.engine.hydrate import AnswerSize
from memdb.engine.reading import Reading
from memdb.engine.rerank import LateInteraction, Scored
from memdb.engine.scope import Scope
from memdb.engine.told_gaps import ToldGaps
from memdb.errors import DataLoss
from memdb.types.arrays import Array
from memdb.types.clip import StoredClip
from memdb.types.grounding import Hit
from memdb.types.stream import Gap
from memdb.types.unchecked import maker

_hit = maker(Hit)


class HitReader:
    """For one answer; used by one thread, within the reading."""

    def __init__(self, reading: Reading, scope: Scope, relevances: Mapping[int, float]) -> None:
        """relevances: of the rows that have one."""
        self._reading = reading
        self._scope = scope
        self._relevances = relevances
        self.size = AnswerSize(scope.question.answer_bytes_max)
        self.damaged: list[Gap] = []
        """What was met and could not be read."""

    def interaction(self) -> LateInteraction:
        """That of the question's tokens with the clips."""
        scope, question = self._scope, self._scope.question
        assert question.tokens is not None, "it is asked by tokens"
        return LateInteraction(
            self._reading.txn,
            scope.view,
            scope.partition,
            scope.as_of,
            question.tokens,
            question.weighting,
            self.damaged,
        )

    def plain(self, rows: Array, scores: Array) -> list[Hit]:
        """Hits of rows in their order, with the scores that they have."""
        hits: list[Hit] = []
        column = self._scope.partition.columns
        # Lists at once: to take numbers out of arrays one by one is half of what a hit costs.
        listed = rows.tolist(), column["clip_no"][rows].tolist(), column["birth"][rows].tolist()
        for row, clip_no, birth, score in zip(*listed, scores.tolist(), strict=True):
            clip = self._clip(row, clip_no, birth)
            if clip is not None:
                hits.append(_hit(self.size.add(clip), score, self._relevances.get(row), (), (), ()))
        return hits

    def matched(
        self, interaction: LateInteraction, ranked: Sequence[Scored], own: Mapping[int, float]
    ) -> list[Hit]:
        """Hits of clips that were ranked by late interaction, with the frames that matched.

        own: the score of a clip that has no short-term memory; 0 where there is none.
        """
        hits: list[Hit] = []
        column = self._scope.partition.columns
        for row, score in ((scored.row, scored.score) for scored in ranked):
            clip = self._clip(row, int(column["clip_no"][row]), int(column["birth"][row]))
            if clip is not None:
                if score is None:
                    score = own.get(row, 0.0)
                spans, weights = interaction.spans(row), interaction.token_weights(row)
                self.size.add_numbers(len(weights))
                relevance = self._relevances.get(row)
                hits.append(_hit(self.size.add(clip), score, relevance, spans, weights, ()))
        return hits

    def _clip(self, row: int, clip_no: int, birth: int) -> StoredClip | None:
        """The version of a clip that a row is of; None, and one more gap, where it cannot be read whole."""
        deadline.check()
        scope = self._scope
        try:
            return scope.view.load_clip(self._reading, clip_no, birth, scope.question.parts)
        except DataLoss as error:
            self.damaged.append(scope.view.note_damage(scope.partition, row, error))
            return None


def with_damaged(scope: Scope, damaged: Sequence[Gap]) -> ToldGaps:
    """What is missing, with the damage that was met just now, as the next question has it; that of an earlier
    question is known, also where it is among what is left out.
    """
    where, question = scope.searched, scope.question
    if not damaged:
        return where.told
    names = {stream.no: stream.name for stream in where.streams}
    known = scope.view.quarantine.gaps(names, where.revision, question.start_ns, question.end_ns)
    told = {(gap.stream, gap.epoch, gap.first_seq) for gap in known}
    met = {(gap.stream, gap.epoch, gap.first_seq): gap for gap in damaged}
    return where.told.with_more([gap for number, gap in met.items() if number not in told])


def columns(ranked: Sequence[Scored]) -> tuple[Array, Array]:
    """The rows and scores of what was ranked."""
    return (
        np.fromiter((scored.row for scored in ranked), np.int64, len(ranked)),
        np.fromiter((scored.score or 0.0 for scored in ranked), np.float64, len(ranked)),
    )
