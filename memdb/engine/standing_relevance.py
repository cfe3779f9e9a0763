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
from memdb.engine.standing_margins import Margins
from memdb.engine.standing_questions import (
    SEARCHED_CLIPS_MAX,
    SEARCHED_PROBES_MIN,
    Probes,
    SpaceQuestions,
    exact_score,
    exact_scores,
    vector_of,
)
from memdb.index.flat import SUM_MAX, vanishing
from memdb.index.partition import PartitionView
from memdb.store.records import StandingRecord
from memdb.types.arrays import Array

_BLOCK_ROWS: Final = 64
_SLACK: Final = 2.0**-23
_CLOSE: Final = 1e-12
"""By more the same function of one pair and of many does not differ."""
_EXPONENT_MAX: Final = 700.0
"""Beyond it `exp` overflows."""


@dataclass(frozen=True, slots=True, eq=False)
class RelevanceQuestions(SpaceQuestions):
    """Those of one space that ask for a relevance; `thresholds` are relevances."""

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
                candidates = candidates[births[place] > self.births[candidates]]
                matched, _ = self.matched(partition, int(rows[place]), candidates)
                for probe in matched.tolist():
                    found.setdefault(probe, place)
        return found

    def matched(self, partition: PartitionView, row: int, candidates: Array) -> tuple[Array, Array]:
        """(probes, float64 scores) of the candidates that a row matches."""
        if not len(candidates):
            return candidates, np.empty(0)
        null = null_at_birth(partition, row)
        scores = exact_scores(vector_of(partition, row), self.matrix, candidates)
        centres = exact_scores(null.mean, self.matrix, candidates)
        lengths: Array | float = 1.0
        if not partition.cosine:
            probes = (self.matrix[probe] for probe in candidates.tolist())
            lengths = np.sqrt([exact_score(probe, probe) for probe in probes])
        spreads = np.maximum(SPREAD_SHARE / sqrt(partition.dim) * lengths * null.length, SPREAD_MIN)
        things = THINGS_SHARE * sqrt(null.clips)
        least = self.thresholds[candidates]
        with np.errstate(over="ignore", invalid="ignore"):
            found = relevances(scores, centres, spreads, things)
        matched = found >= least
        # What rounding could decide is decided as of one pair.
        for place in np.flatnonzero(np.abs(found - least) <= _CLOSE).tolist():
            alone = relevance_at_birth(partition, row, self.matrix[candidates[place]])[1]
            matched[place] = alone >= least[place]
        return candidates[matched], scores[matched]

    def _candidates(self, partition: PartitionView, rows: Array, probes: Array) -> list[Array]:
        """For each row the probes, ascending, that it may match; it matches no other."""
        shifted = [self._shifted(partition, row) for row in rows.tolist()]
        if self.margins is not None and len(rows) <= SEARCHED_CLIPS_MAX:
            searched = [self.margins.reached(one[:-2], one[-2:], probes) for one in shifted]
            found = [one for one in searched if one is not None]
            if len(found) == len(searched):
                return found
        queries = np.stack(shifted)
        with np.errstate(over="ignore", invalid="ignore"):
            bars = queries[:, -2:] @ self.bars[probes].T.astype(np.float32)
            lengths = np.sqrt(np.square(queries, dtype=np.float64).sum(axis=1))
            norms = self.norms[probes] + np.abs(self.bars[probes]).sum(axis=1)
            # In float32, where it is rounded by less than what is taken more than enough.
            slack = (-2 * (queries.shape[1] + 2) * _SLACK * lengths).astype(np.float32)
            floor = np.outer(slack, norms.astype(np.float32))
            longest, most = float(lengths.max()), float(norms.max(initial=0.0))
            floor -= np.float32(vanishing(queries.shape[1], longest, most))
            if longest * most >= SUM_MAX:
                # What came out may as well be the wrong infinity.
                floor[np.outer(lengths, norms) >= SUM_MAX] = -np.inf
        vectors = np.ascontiguousarray(queries[:, :-2])
        return self._multiplied(vectors, probes, floor, bars)

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
    margins = Margins(probes.matrix, bars) if len(least) >= SEARCHED_PROBES_MIN else None
    return RelevanceQuestions(*probes.fields, least, margins, bars)
