"""The standing questions of a user as they are asked: one matrix for each space, and an index of the
streams that they name.

A product of matrices says which clips may match; of clips that come one by one a search for the questions
whose thresholds they pass by most, which reads half of the bytes.  What may match is scored again, pair by
pair, in a way that does not depend on what else is scored.  So the same clip gives the same answer whenever
it is looked at: with others or alone, now or after a restart.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Final

import numpy as np

from memdb.engine.state import UserState
from memdb.index.directions import prepared_rows
from memdb.index.flat import search
from memdb.index.matrix import Matrix
from memdb.store import standing
from memdb.store.environment import Environment
from memdb.store.records import StandingCountRecord, StandingRecord
from memdb.types.arrays import Array
from memdb.types.space import Space

_ROUNDOFF: Final = 2.0**-23
SEARCHED_CLIPS_MAX: Final = 3
"""Clips that are searched for one by one; a product of more is as quick."""
SEARCHED_PROBES_MIN: Final = 1024
_THRESHOLD_MAX: Final = 1e30
_BLOCK_ROWS: Final = 1024
_SEARCH_LIMIT: Final = 64
"""Questions that one clip may match before all are scored."""


def exact_score(vector: Array, probe: Array) -> float:
    """Inner product of two (dim,) float32 vectors, the same whatever else is computed."""
    return float(np.add.reduce(vector.astype(np.float64) * probe.astype(np.float64)))


def rounding(longest: float, probe: Array) -> float:
    """How far a product in float32 of a vector no longer than that may be from `exact_score`."""
    length = float(np.sqrt(np.square(probe, dtype=np.float64).sum()))
    return len(probe) * _ROUNDOFF * longest * length


@dataclass(frozen=True, slots=True, eq=False)
class Question:
    """One standing question."""

    no: int
    record: StandingRecord
    probe: int
    """Its row in the matrix of its space."""
    then_probe: int | None

    def asks(self, stream_no: int) -> bool:
        """Whether it asks a stream of its space."""
        return self.record.stream_nos is None or stream_no in self.record.stream_nos


@dataclass(frozen=True, slots=True, eq=False)
class SpaceQuestions:
    """Those of one space."""

    questions: tuple[Question, ...]
    matrix: Array
    """(probes, dim) float32: what questions look for, and what follows; of unit length in a cosine
    space."""
    owners: Array
    """(probes,) place of the probe's question in `questions`."""
    thresholds: Array
    """(probes,) float64 scores that are needed."""
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
    margins: Matrix | None
    """(probes, dim + 1): as `matrix`, and what is needed, so that a product with (clip, -1) is by how much a
    clip passes; None where there are few."""

    def asked(self, stream_no: int) -> Array:
        """Probes of the questions that ask a stream."""
        return self.by_stream.get(stream_no, self.anywhere)

    def matches(
        self, vectors: Array, stream_no: int, births: Array, sealed: Array
    ) -> list[list[tuple[int, float]]]:
        """For each of (n, dim) clips of one stream the (probe, score) of what it matches, by probe."""
        probes = self.asked(stream_no)
        found: list[list[tuple[int, float]]] = [[] for _ in vectors]
        if not len(probes):
            return found
        if self.margins is not None and len(vectors) <= SEARCHED_CLIPS_MAX:
            some = [self._searched(vector, probes) for vector in vectors]
        else:
            some = [None]
        if all(one is not None for one in some):
            for place, one in enumerate(some):
                for probe in [] if one is None else one:
                    found[place] += self._match(
                        vectors[place], int(births[place]), bool(sealed[place]), probe
                    )
            return found
        # All of it as it lies there, unless few are asked: to pick rows out copies them.
        is_part = 2 * len(probes) < len(self.matrix)
        matrix = self.matrix[probes] if is_part else self.matrix
        with np.errstate(over="ignore", invalid="ignore"):
            products = vectors @ matrix.T
            if not is_part and len(probes) < len(self.matrix):
                products = products[:, probes]
            # Not "at least": what overflowed is looked at as well.
            may = ~(products < self._floor(vectors, probes))
        for place in np.flatnonzero(may.any(axis=1)).tolist():
            for probe in probes[may[place]].tolist():
                found[place] += self._match(
                    vectors[place], int(births[place]), bool(sealed[place]), probe
                )
        return found

    def _match(
        self, vector: Array, birth: int, is_sealed: bool, probe: int
    ) -> list[tuple[int, float]]:
        """(probe, score) of a clip that matches, nothing of one that does not."""
        if birth <= self.births[probe] or (self.sealed_only[probe] and not is_sealed):
            return []
        score = self.score(vector, probe)
        return [] if score is None else [(probe, score)]

    def _searched(self, vector: Array, probes: Array) -> list[int] | None:
        """The probes that a clip may match, ascending; None where they are too many to be searched for."""
        assert self.margins is not None, "asked before"
        rows = len(self.matrix)
        allowed = None
        if len(probes) < rows:
            allowed = np.zeros(rows, np.bool_)
            allowed[probes] = True
        query = np.append(vector, np.float32(-1))
        found, margins = search(self.margins, rows, query, _SEARCH_LIMIT, allowed)
        # Of numbers as large as the thresholds, too.
        length = np.sqrt(np.square(query, dtype=np.float64).sum())
        slack = len(query) * _ROUNDOFF * length * self.margins.norm_max
        # What overflowed is no number, or infinite.
        if not np.isfinite(margins).all() or (
            len(found) == _SEARCH_LIMIT and margins[-1] >= -slack
        ):
            return None
        return sorted(found[margins >= -slack].tolist())

    def score(self, vector: Array, probe: int) -> float | None:
        """The score of a clip that matches, None of one that does not."""
        score = exact_score(vector, self.matrix[probe])
        return score if score >= self.thresholds[probe] else None

    def first_match(self, vectors: Array, probe: int) -> int | None:
        """Place of the first of (n, dim) clips that matches."""
        with np.errstate(over="ignore", invalid="ignore"):
            products = vectors @ self.matrix[probe]
            may = ~(products < self._floor(vectors, np.array([probe])))
        for place in np.flatnonzero(may).tolist():
            if self.score(vectors[place], probe) is not None:
                return int(place)
        return None

    def first_matches(self, vectors: Array, births: Array, probes: Array) -> dict[int, int]:
        """By probe the place of the first of (n, dim) clips, born after its question, that matches."""
        with np.errstate(over="ignore", invalid="ignore"):
            products = vectors @ self.matrix[probes].T
            may = ~(products < self._floor(vectors, probes))
        may &= births[:, None] > self.births[probes]
        found: dict[int, int] = {}
        for at in np.flatnonzero(may.any(axis=0)).tolist():
            probe = int(probes[at])
            for place in np.flatnonzero(may[:, at]).tolist():
                if self.score(vectors[place], probe) is not None:
                    found[probe] = place
                    break
        return found

    def _floor(self, vectors: Array, probes: Array) -> Array:
        """(probes,) float32: a product of matrices that is less belongs to no match, however it was rounded."""
        if not len(vectors):
            return np.zeros(len(probes), np.float32)
        longest = np.sqrt(np.einsum("ij,ij->i", vectors, vectors, dtype=np.float64).max())
        slack = (vectors.shape[1] * _ROUNDOFF) * longest * self.norms[probes]
        floor = (self.thresholds[probes] - slack).astype(np.float32)
        return np.asarray(np.nextafter(floor, np.float32(-np.inf)))


@dataclass(frozen=True, slots=True, eq=False)
class Questions:
    """All of a user, as of one moment of the store."""

    counts: StandingCountRecord
    spaces: dict[int, SpaceQuestions]
    """By space number."""
    absent: tuple[tuple[int, Question], ...]
    """(space number, question) of those that wait for an absence."""

    @property
    def first_birth(self) -> int | None:
        """The commit of the oldest, None where there is none."""
        return min((int(asked.births.min()) for asked in self.spaces.values()), default=None)


class AskedQuestions:
    """The questions of an open user, read when somebody listens and kept until they change."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._newest: Questions | None = None

    def newest(self, environment: Environment, state: UserState) -> Questions:
        """Those that are in the store now; raises `DataLoss`."""
        with self._lock, environment.read() as txn:
            counts = standing.counted(txn)
            if self._newest is None or self._newest.counts != counts:
                records = list(standing.every(txn))
                spaces = _by_space(records, state.spaces)
                absent = tuple(
                    (space_no, question)
                    for space_no, asked in spaces.items()
                    for question in asked.questions
                    if question.record.kind == "absent"
                )
                if {record.space_no for _, record in records} <= spaces.keys():
                    self._newest = Questions(counts, spaces, absent)
                else:
                    # Some are of a space that the view does not show yet: asked for again.
                    return Questions(counts, spaces, absent)
            return self._newest


def _by_space(
    records: list[tuple[int, StandingRecord]], spaces: dict[int, Space]
) -> dict[int, SpaceQuestions]:
    by_space: dict[int, list[tuple[int, StandingRecord]]] = {}
    for no, record in records:
        by_space.setdefault(record.space_no, []).append((no, record))
    return {
        space_no: _made(grouped, cosine=spaces[space_no].metric == "cosine")
        for space_no, grouped in by_space.items()
        if space_no in spaces
    }


def _made(records: list[tuple[int, StandingRecord]], *, cosine: bool) -> SpaceQuestions:
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
        questions.append(Question(no, record, probe, then_probe))
    matrix = np.empty((len(rows), len(rows[0])), np.float32)
    for place, row in enumerate(rows):
        matrix[place] = row
    matrix = prepared_rows(matrix, cosine=cosine)
    owned = [questions[place].record for place in owners]
    named: dict[int, list[int]] = {}
    anywhere: list[int] = []
    for probe, record in enumerate(owned):
        if record.stream_nos is None:
            anywhere.append(probe)
        for stream_no in record.stream_nos or ():
            named.setdefault(stream_no, []).append(probe)
    return SpaceQuestions(
        tuple(questions),
        matrix,
        np.array(owners, np.int64),
        np.array([record.min_score for record in owned], np.float64),
        np.sqrt(np.einsum("ij,ij->i", matrix, matrix, dtype=np.float64)),
        np.array([record.birth for record in owned], np.uint64),
        np.array([record.sealed_only for record in owned], np.bool_),
        np.array(anywhere, np.int64),
        {no: np.array(sorted([*anywhere, *probes]), np.int64) for no, probes in named.items()},
        _margins(matrix, owned) if len(owned) >= SEARCHED_PROBES_MIN else None,
    )


def _margins(matrix: Array, owned: list[StandingRecord]) -> Matrix | None:
    """None where a threshold is beyond what float32 can compare."""
    thresholds = np.array([record.min_score for record in owned])
    if np.abs(thresholds).max() > _THRESHOLD_MAX:
        return None
    margins = Matrix(matrix.shape[1] + 1)
    for begin in range(0, len(matrix), _BLOCK_ROWS):
        rows = slice(begin, begin + _BLOCK_ROWS)
        margins.append(np.column_stack([matrix[rows], thresholds[rows].astype(np.float32)]))
    return margins
