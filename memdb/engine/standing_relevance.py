"""Standing questions that ask for a relevance: each clip against what its camera showed when it came.

A clip matches when its relevance (`memdb.engine.relevance`), as of the commit that brought it, is at least what the
question wants: what `ground` says of it as of that commit.  The null distribution of a camera changes with each
clip, so there is no score that would do for all.  But the bar is linear in the question:

    relevance >= r   is   (clip - 0.7 mean) . question  >=  spread * z,    z = -log(expm1(-log(r) / things)) / k

so one product with the *shifted* clip looks at all questions, as one with the clip does for scores.  z is split into
a part of the camera and one of the question, since -log(expm1(x)) is -log(x) less something that has a bound:

    z  >=  (log(things) - most) / k  -  log(-log r) / k

What passes that is computed as `ground` computes it, pair by pair.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import expm1, isnan, log, sqrt
from typing import Final

import numpy as np

from memdb.engine.nulls import Null, Nulls
from memdb.engine.relevance import (
    CENTRE_SHARE,
    LOGISTIC,
    SPREAD_MIN,
    SPREAD_SHARE,
    THINGS_SHARE,
    relevances,
)
from memdb.engine.standing_questions import (
    SEARCHED_CLIPS_MAX,
    SEARCHED_PROBES_MIN,
    Probes,
    SpaceQuestions,
    exact_score,
    margin_rows,
    vector_of,
)
from memdb.index.partition import PartitionView
from memdb.store.records import StandingRecord
from memdb.types.arrays import Array

_BLOCK_ROWS: Final = 64
_SLACK: Final = 2.0**-23
_EXPONENT_MAX: Final = 700.0
"""Beyond it `exp` overflows."""


@dataclass(frozen=True, slots=True, eq=False)
class RelevanceQuestions(SpaceQuestions):
    """Those of one space that ask for a relevance; `thresholds` are relevances, `margins` (probes, dim + 2)."""

    bars: Array
    """(probes, 2) float64: the question's part of the bar, and what the camera's is multiplied by."""

    def score(self, partition: PartitionView, row: int, probe: int) -> float | None:
        """The score of a row that matches, None of one that does not."""
        found = relevance_at_birth(partition, row, self.matrix[probe])
        return found[0] if found[1] >= self.thresholds[probe] else None

    def first_match(self, partition: PartitionView, rows: Array, probe: int) -> int | None:
        """Place of the first of some rows that matches."""
        for place, row in enumerate(rows.tolist()):
            if self.score(partition, row, probe) is not None:
                return place
        return None

    def first_matches(self, partition: PartitionView, rows: Array, probes: Array) -> dict[int, int]:
        """By probe the place of the first of some rows, born after its question, that matches."""
        found: dict[int, int] = {}
        births = partition.columns["birth"][rows]
        for begin in range(0, len(rows), _BLOCK_ROWS):
            left = np.array([probe for probe in probes.tolist() if probe not in found], np.int64)
            if not len(left):
                break
            block = rows[begin : begin + _BLOCK_ROWS]
            for place, candidates in enumerate(self._candidates(partition, block, left), begin):
                for probe in candidates:
                    if (
                        probe not in found
                        and births[place] > self.births[probe]
                        and self.score(partition, int(rows[place]), probe) is not None
                    ):
                        found[probe] = place
        return found

    def _candidates(self, partition: PartitionView, rows: Array, probes: Array) -> list[list[int]]:
        """For each row the probes, ascending, that it may match; it matches no other."""
        shifted = [self._shifted(partition, row) for row in rows.tolist()]
        if self.margins is not None and len(rows) <= SEARCHED_CLIPS_MAX:
            searched = [self.searched(query, probes) for query in shifted]
            if all(one is not None for one in searched):
                return [one or [] for one in searched]
        queries = np.stack(shifted)
        vectors = np.ascontiguousarray(queries[:, :-2])
        with np.errstate(over="ignore", invalid="ignore"):
            bars = queries[:, -2:].astype(np.float64) @ self.bars[probes].T
            lengths = np.sqrt(np.square(queries, dtype=np.float64).sum(axis=1))
            norms = self.norms[probes] + np.abs(self.bars[probes]).sum(axis=1)
            slack = (queries.shape[1] + 2) * _SLACK * np.outer(lengths, norms)
            floor = np.nextafter((-bars - slack).astype(np.float32), np.float32(-np.inf))
        return self.may_match(vectors, probes, floor)

    def _shifted(self, partition: PartitionView, row: int) -> Array:
        """(dim + 2,) float32: the clip less what its camera always shows, and the camera's part of the bar."""
        null = null_at_birth(partition, row)
        most = float(self.thresholds.min())
        things = THINGS_SHARE * sqrt(null.clips)
        largest = min(-log(most) / things, _EXPONENT_MAX)
        camera = (log(things) - log(expm1(largest) / largest)) / LOGISTIC
        vector = vector_of(partition, row) - CENTRE_SHARE * null.mean
        return np.append(vector, (null.length, -null.length * camera)).astype(np.float32)


def null_at_birth(partition: PartitionView, row: int) -> Null:
    """What the camera of a row showed as of the commit that brought it, the row included."""
    column = partition.columns
    (null,) = Nulls(partition, int(column["birth"][row])).of([int(column["stream_no"][row])])
    return null


def relevance_at_birth(partition: PartitionView, row: int, probe: Array) -> tuple[float, float]:
    """(score, relevance) of a row as of the commit that brought it, the same whatever else is computed.

    probe: (dim,) float32, of unit length in a cosine space.
    """
    null = null_at_birth(partition, row)
    score = exact_score(vector_of(partition, row), probe)
    centre = exact_score(null.mean, probe)
    length = 1.0 if partition.cosine else sqrt(exact_score(probe, probe))
    spread = max(SPREAD_SHARE / sqrt(partition.dim) * length * null.length, SPREAD_MIN)
    with np.errstate(over="ignore", invalid="ignore"):
        # Of one element, always: of more the same function may round otherwise.
        found = relevances(np.array([score]), centre, spread, THINGS_SHARE * sqrt(null.clips))
    relevance = float(found[0])
    # Where scores overflowed there is nothing to compare.
    return score, 0.0 if isnan(relevance) else relevance


def relevance_questions(
    records: list[tuple[int, StandingRecord]], *, cosine: bool
) -> RelevanceQuestions:
    """The questions of one space that ask for a relevance."""
    probes = Probes.of(records, cosine=cosine)
    least = np.array([record.min_relevance for record in probes.records], np.float64)
    unit = SPREAD_SHARE / sqrt(probes.matrix.shape[1]) * probes.norms
    bars = np.column_stack([unit * np.log(-np.log(least)) / LOGISTIC, unit])
    margins = margin_rows(probes.matrix, bars) if len(least) >= SEARCHED_PROBES_MIN else None
    return RelevanceQuestions(*probes.fields, least, margins, bars)
