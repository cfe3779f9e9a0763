"""Standing questions as they are asked of clips: one matrix for each space, and an index of the streams that
they name.

A product of matrices says which clips may match; of clips that come one by one a search for the questions
that they reach (`memdb.engine.standing_margins`).  What may match is scored again, each pair in a way that does not
depend on what else is scored.  So the same clip gives the same answer whenever it is looked at: with others or alone,
now or after a restart.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from memdb import deadline
from memdb.engine.standing_filter import admitted
from memdb.engine.standing_margins import Margins
from memdb.engine.state import UserState
from memdb.index.directions import prepared_rows
from memdb.index.flat import SUM_MAX, vanishing
from memdb.index.partition import PartitionView
from memdb.store import standing
from memdb.store.records import StandingRecord
from memdb.types.arrays import Array
from memdb.types.clip_filter import ClipFilter

_ROUNDOFF: Final = 2.0**-23
SEARCHED_CLIPS_MAX: Final = 3
"""Clips that are searched for one by one; a product of more is as quick."""
SEARCHED_PROBES_MIN: Final = 1024
_THRESHOLD_MAX: Final = 1e30
ENDS: Final = 0
"""A clip that is told: it is seen, or ends a sequence."""
BEGINS: Final = 1
"""A clip that begins a sequence."""
PUTS_OFF: Final = 2
"""A clip that puts an absence off."""
_LESS_NEEDED: Final = np.array([-1.0], np.float32)
"""The weight of a threshold: a score less it is by how much a clip passes."""
_BLOCK_PROBES: Final = 32
"""Scored at once: what a core's nearest cache holds."""


def exact_score(vector: Array, probe: Array) -> float:
    """Inner product of two (dim,) float32 vectors, the same whatever else is computed."""
    return float(np.add.reduce(vector.astype(np.float64) * probe.astype(np.float64)))


def exact_scores(vector: Array, probes: Array, chosen: Array) -> Array:
    """(n,) float64: `exact_score` of a (dim,) vector and of the chosen ones of (probes, dim), to the last bit."""
    wide = vector.astype(np.float64)
    found = np.empty(len(chosen))
    for begin in range(0, len(chosen), _BLOCK_PROBES):
        block = chosen[begin : begin + _BLOCK_PROBES]
        # Along each contiguous row on its own, as of one row.
        np.add.reduce(probes[block] * wide, axis=1, out=found[begin : begin + len(block)])
    return found


def vector_of(partition: PartitionView, row: int) -> Array:
    """(dim,) float32 of a row."""
    return np.asarray(partition.matrix.take(np.array([row]))[0])


def rounding(longest: float, probe: Array) -> float:
    """How far a product in float32 of a vector no longer than that may be from `exact_score`."""
    length = float(np.sqrt(np.square(probe, dtype=np.float64).sum()))
    return len(probe) * _ROUNDOFF * longest * length + vanishing(len(probe), longest, length)


@dataclass(frozen=True, slots=True, eq=False)
class Question:
    """One standing question."""

    no: int
    record: StandingRecord
    probe: int
    """Its row in the matrix of its space."""
    then_probe: int | None
    only: ClipFilter
    """Which clips it looks at."""

    def asks(self, stream_no: int) -> bool:
        """Whether it asks a stream of its space."""
        return self.record.stream_nos is None or stream_no in self.record.stream_nos


@dataclass(frozen=True, slots=True, eq=False)
class SpaceQuestions:
    """Those of one space that ask for a score."""

    questions: tuple[Question, ...]
    matrix: Array
    """(probes, dim) float32: what questions look for, and what follows; of unit length in a cosine
    space."""
    norms: Array
    """(probes,) float64."""
    births: Array
    """(probes,) uint64."""
    sealed_only: Array
    """(probes,) bool."""
    anywhere: Array
    """Probes of questions that name no stream."""
    by_stream: dict[int, Array]
    """Stream number -> probes of the questions that ask it, those that name no stream included."""
    numbers: Array
    """(probes,) uint64 of the probe's question."""
    of_probe: tuple[Question, ...]
    """The question of each probe."""
    kinds: frozenset[str]
    """What they wait for."""
    parts: Array
    """(probes,) uint8: what a clip that matches one is, `ENDS`, `BEGINS` or `PUTS_OFF`."""
    filters: tuple[ClipFilter, ...]
    """By which some look at some clips alone, each once."""
    filter_of: Array
    """(probes,) int64: place among them; -1 of a question that looks at every clip."""
    thresholds: Array
    """(probes,) float64: what is needed."""
    margins: Margins | None
    """None where there are few."""

    def asked(self, stream_no: int) -> Array:
        """Probes of the questions that ask a stream."""
        return self.by_stream.get(stream_no, self.anywhere)

    def go_on_from(self, before: SpaceQuestions) -> None:
        """Take over what was made of the questions until now, of which these may be some."""
        if self.margins is not None and before.margins is not None:
            known, own = before.probe_keys(), self.probe_keys()
            places = np.minimum(np.searchsorted(known, own), len(known) - 1)
            self.margins.take_over(before.margins, np.where(known[places] == own, places, -1))

    def probe_keys(self) -> Array:
        """(probes,) uint64, ascending: what tells a probe from those of other questions, and from the question's
        other one."""
        follows = np.array(
            [question.then_probe == at for at, question in enumerate(self.of_probe)], np.uint64
        )
        return 2 * self.numbers + follows

    def group(self, stream_no: int) -> int | None:
        """What is the same of streams that the same probes ask."""
        return stream_no if stream_no in self.by_stream else None

    def candidates(self, partition: PartitionView, rows: Array) -> list[Array]:
        """For each row, all of streams of one group, the probes, ascending, that it may match; it matches no other."""
        probes = self.asked(int(partition.columns["stream_no"][rows[0]]))
        if not len(probes):
            return [probes] * len(rows)
        found = self._candidates(partition, rows, probes)
        column = partition.columns
        births, sealed = column["birth"][rows], column["sealed"][rows]
        for place, one in enumerate(found):
            may = births[place] > self.births[one]
            if not sealed[place]:
                may &= ~self.sealed_only[one]
            if not may.all():
                found[place] = one[may]
        return found

    def looking(
        self, state: UserState, partition: PartitionView, rows: Array, found: list[Array]
    ) -> list[Array]:
        """Of the probes that were ``found`` for each row those whose questions look at it.

        Each filter is asked once, about all rows that need it.  Raises `FailedPrecondition` (``ZONE_UNKNOWN``).
        """
        if not self.filters:
            return found
        # The last one stands for no filter, which is -1.
        asked = np.zeros((len(rows), len(self.filters) + 1), np.bool_)
        for place, probes in enumerate(found):
            asked[place, self.filter_of[probes]] = True
        for at in np.flatnonzero(asked[:, :-1].any(axis=0)).tolist():
            deadline.check()
            places = np.flatnonzero(asked[:, at])
            asked[places, at] = admitted(self.filters[at], state, partition, rows[places])
        return [probes[asked[place, self.filter_of[probes]]] for place, probes in enumerate(found)]

    def matched(self, partition: PartitionView, row: int, candidates: Array) -> tuple[Array, Array]:
        """(probes, float64 scores) of the candidates that a row matches."""
        if not len(candidates):
            return candidates, np.empty(0)
        scores = exact_scores(vector_of(partition, row), self.matrix, candidates)
        matched = scores >= self.thresholds[candidates]
        return candidates[matched], scores[matched]

    def _candidates(self, partition: PartitionView, rows: Array, probes: Array) -> list[Array]:
        """`candidates`, whether or not they may be told of the row."""
        vectors = partition.matrix.take(rows)
        if self.margins is not None and len(vectors) <= SEARCHED_CLIPS_MAX:
            searched = [self.margins.reached(vector, _LESS_NEEDED, probes) for vector in vectors]
            found = [one for one in searched if one is not None]
            if len(found) == len(searched):
                return found
        return self._multiplied(vectors, probes, self._floor(vectors, probes))

    def _multiplied(
        self, vectors: Array, probes: Array, floor: Array, beside: Array | None = None
    ) -> list[Array]:
        """For each of (n, dim) vectors the probes whose product, with (n, probes) numbers beside, is not below the
        floor.
        """
        # All of it as it lies there, unless few are asked: to pick rows out copies them.
        is_part = 2 * len(probes) < len(self.matrix)
        matrix = self.matrix[probes] if is_part else self.matrix
        with np.errstate(over="ignore", invalid="ignore"):
            products = vectors @ matrix.T
            if not is_part and len(probes) < len(self.matrix):
                products = products[:, probes]
            if beside is not None:
                products += beside
            # Not "at least": what overflowed is looked at as well.
            may = ~(products < floor)
        return [probes[one] for one in may]

    def score(self, partition: PartitionView, row: int, probe: int) -> float | None:
        """The score of a row that matches, None of one that does not."""
        score = exact_score(vector_of(partition, row), self.matrix[probe])
        return score if score >= self.thresholds[probe] else None

    def first_match(self, partition: PartitionView, rows: Array, probe: int) -> int | None:
        """Place of the first of some rows that matches."""
        vectors = partition.matrix.take(rows)
        with np.errstate(over="ignore", invalid="ignore"):
            products = vectors @ self.matrix[probe]
            may = ~(products < self._floor(vectors, np.array([probe])))
        for place in np.flatnonzero(may).tolist():
            if self.score(partition, int(rows[place]), probe) is not None:
                return int(place)
        return None

    def first_matches(self, partition: PartitionView, rows: Array, probes: Array) -> dict[int, int]:
        """By probe the place of the first of some rows, born after its question, that matches."""
        vectors = partition.matrix.take(rows)
        with np.errstate(over="ignore", invalid="ignore"):
            products = vectors @ self.matrix[probes].T
            may = ~(products < self._floor(vectors, probes))
        may &= partition.columns["birth"][rows][:, None] > self.births[probes]
        found: dict[int, int] = {}
        for at in np.flatnonzero(may.any(axis=0)).tolist():
            probe = int(probes[at])
            for place in np.flatnonzero(may[:, at]).tolist():
                if self.score(partition, int(rows[place]), probe) is not None:
                    found[probe] = place
                    break
        return found

    def _floor(self, vectors: Array, probes: Array) -> Array:
        """(probes,) float32: a product of matrices that is less belongs to no match, however it was rounded."""
        if not len(vectors):
            return np.zeros(len(probes), np.float32)
        dim = vectors.shape[1]
        longest = float(np.sqrt(np.einsum("ij,ij->i", vectors, vectors, dtype=np.float64).max()))
        norms = self.norms[probes]
        slack = (dim * _ROUNDOFF) * longest * norms
        slack += vanishing(dim, longest, float(norms.max(initial=0.0)))
        # Where a sum may overflow, what came out may as well be the wrong infinity.
        slack[longest * norms >= SUM_MAX] = np.inf
        with np.errstate(over="ignore"):
            floor = (self.thresholds[probes] - slack).astype(np.float32)
        return np.asarray(np.nextafter(floor, np.float32(-np.inf)))


def score_questions(records: list[tuple[int, StandingRecord]], *, cosine: bool) -> SpaceQuestions:
    """The questions of one space that ask for a score."""
    probes = Probes.of(records, cosine=cosine)
    thresholds = np.array([record.min_score for record in probes.records], np.float64)
    margins = None
    # Beyond what float32 can compare nothing is searched for.
    if len(thresholds) >= SEARCHED_PROBES_MIN and np.abs(thresholds).max() <= _THRESHOLD_MAX:
        margins = Margins(probes.matrix, thresholds[:, None])
    return SpaceQuestions(*probes.fields, thresholds, margins)


def _part(question: Question, probe: int) -> int:
    if question.record.kind == "absent":
        return PUTS_OFF
    return ENDS if question.then_probe in (None, probe) else BEGINS


class Probes:
    """What the questions of one space look for, and what follows: a row each."""

    def __init__(self, questions: list[Question], matrix: Array, owners: list[int]) -> None:
        self.matrix = matrix
        self.records = [questions[place].record for place in owners]
        """Of each probe's question."""
        named: dict[int, list[int]] = {}
        anywhere: list[int] = []
        for probe, record in enumerate(self.records):
            if record.stream_nos is None:
                anywhere.append(probe)
            for stream_no in record.stream_nos or ():
                named.setdefault(stream_no, []).append(probe)
        self.norms = np.sqrt(np.einsum("ij,ij->i", matrix, matrix, dtype=np.float64))
        of_probe = tuple(questions[place] for place in owners)
        filters: dict[ClipFilter, int] = {}
        for question in questions:
            if not question.only.is_empty:
                filters.setdefault(question.only, len(filters))
        self.fields = (
            tuple(questions),
            matrix,
            self.norms,
            np.array([record.birth for record in self.records], np.uint64),
            np.array([record.sealed_only for record in self.records], np.bool_),
            np.array(anywhere, np.int64),
            {no: np.array(sorted([*anywhere, *own]), np.int64) for no, own in named.items()},
            np.array([question.no for question in of_probe], np.uint64),
            of_probe,
            frozenset(question.record.kind for question in questions),
            np.array([_part(question, probe) for probe, question in enumerate(of_probe)], np.uint8),
            tuple(filters),
            np.array([filters.get(question.only, -1) for question in of_probe], np.int64),
        )
        """The first of `SpaceQuestions`."""

    @classmethod
    def of(cls, records: list[tuple[int, StandingRecord]], *, cosine: bool) -> Probes:
        """Those of some questions, by number."""
        questions: list[Question] = []
        rows: list[Array] = []
        owners: list[int] = []
        for place, (no, record) in enumerate(records):
            probe, then_probe = len(rows), None
            rows.append(standing.feature(record))
            owners.append(place)
            if record.then_feature is not None:
                then_probe = len(rows)
                rows.append(standing.feature(record, then=True))
                owners.append(place)
            only = standing.clip_filter(record)
            questions.append(Question(no, record, probe, then_probe, only))
        matrix = np.empty((len(rows), len(rows[0])), np.float32)
        for place, row in enumerate(rows):
            matrix[place] = row
        return cls(questions, prepared_rows(matrix, cosine=cosine), owners)
