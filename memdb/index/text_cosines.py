"""Cosines of a text's feature to those of some documents, and about what they are in a tenth of the time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from memdb.index import flat
from memdb.index.directions import unit_vector
from memdb.index.head_scores import FEW, head_scores
from memdb.index.matrix import Matrix
from memdb.types.arrays import Array

_ROUNDING: Final = 1e-6
"""More than weighing them in float32 takes or gives."""


@dataclass(frozen=True, slots=True)
class NearCosines:
    """What some cosines are, but for ``bound``."""

    cosines: Array
    """(n,) float32, NaN of documents that have no feature of the space."""
    bound: float


@dataclass(frozen=True, slots=True)
class TextCosines:
    """The features of one space."""

    matrix: Matrix
    rows: int
    """Of the matrix."""
    documents: Array
    """(rows,) int64, ascending: whose feature each is."""

    def of(self, feature: Array, wanted: Array) -> Array:
        """(n,) float32 cosines of documents ``wanted``, ascending, NaN of those that have no feature here."""
        query = unit_vector(feature)
        cosines = np.full(len(wanted), np.nan, np.float32)
        if not self.rows:
            return cosines
        if len(wanted) <= FEW:
            places = np.minimum(np.searchsorted(self.documents, wanted), self.rows - 1)
            there = self.documents[places] == wanted
            block = self.matrix.take_padded(places[there])
            cosines[there] = flat.row_scores(block, flat.padded_query(query, self.matrix.width))
            return cosines
        places = self._places(wanted)
        there = places >= 0
        if np.count_nonzero(there) > self.rows // 2:
            # To score all is sooner done than to gather most; a row's score is the same either way.
            scores = flat.all_scores(self.matrix, self.rows, query)
            cosines[there] = scores[places[there]]
        else:
            _, cosines[there] = flat.allowed_scores(
                self.matrix, self.rows, query, self._allowed(places)
            )
        return cosines

    def near(self, feature: Array, wanted: Array) -> NearCosines | None:
        """About what `of` gives; None where that is as quickly had."""
        if len(wanted) <= FEW:
            return None
        places = self._places(wanted)
        found = head_scores(self.matrix, self.rows, unit_vector(feature), self._allowed(places))
        if found is None:
            return None
        cosines = np.full(len(wanted), np.nan, np.float32)
        cosines[places >= 0] = found.scores
        return NearCosines(cosines, found.bound + _ROUNDING)

    def _places(self, wanted: Array) -> Array:
        """(n,) int64 rows of the features of documents, ascending, -1 where there is none."""
        places = np.full(int(max(wanted[-1], self.documents.max(initial=0))) + 1, -1, np.int64)
        places[self.documents] = np.arange(self.rows)
        return np.asarray(places[wanted])

    def _allowed(self, places: Array) -> Array:
        allowed = np.zeros(self.rows, bool)
        allowed[places[places >= 0]] = True
        return allowed
