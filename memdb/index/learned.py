"""What the tiers of a matrix have learned of its rows: directions, codes, lists, and how many of them are enough.

It costs seconds of a processor for 50,000 rows and is the same for the same rows, so it outlasts a process in the
checkpoint of the user (`memdb.index.kept_learned`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from memdb.index.basis import Basis
from memdb.index.ivf import Breadth, lists_max
from memdb.index.lists import Centres, Lists, arranged
from memdb.index.matrix import Matrix
from memdb.index.sketch import Sketch
from memdb.types.arrays import Array


@dataclass(frozen=True, slots=True, eq=False)
class Learned:
    """As of one moment; what grows of it goes on growing."""

    sketch: Sketch
    rows: int
    """So many of the first rows have codes."""
    fitted_rows: int
    """How many there were when the directions were found."""
    trained_rows: int
    """How many there were when lists were last made, or tried to be; 0 where they never were."""
    lists: Lists | None
    breadth: Breadth | None
    """None as `lists` is."""


@dataclass(frozen=True, slots=True, eq=False)
class KeptLists:
    """What cannot be made quickly of the rest."""

    places: Array
    """(lists, directions) float32, the centres."""
    homes: Array
    """(n,) uint32, the list of each of the first rows."""
    breadth: Breadth


@dataclass(frozen=True, slots=True, eq=False)
class KeptLearned:
    """`Learned` of the first rows of some matrix, without the matrix."""

    basis: Basis
    fitted_rows: int
    trained_rows: int
    codes: Array
    """(n, code_bytes) u8, of the first n rows."""
    unbounded: Array
    """(m,) int64, those of them that are not bounded by their code."""
    lists: KeptLists | None

    def of(self, matrix: Matrix) -> Learned | None:
        """That of a matrix that begins with the same rows; None where it has so few that they are whole.

        The arrays stay in use, and nobody may change them.
        """
        lengths = matrix.chunk_lengths()
        if matrix.rows < len(self.codes) or sum(lengths) < len(self.codes):
            return None
        sketch = Sketch.of_codes(self.basis, self.codes, self.unbounded, lengths)
        lists = breadth = None
        if self.lists is not None:
            centres = Centres.of(self.lists.places)
            lists = arranged(matrix, sketch, centres, self.lists.homes)
            breadth = self.lists.breadth
            if lists is None or breadth.lists > lists_max(lists):
                lists = breadth = None
        return Learned(sketch, len(self.codes), self.fitted_rows, self.trained_rows, lists, breadth)


def is_whole(kept: KeptLearned) -> bool:
    """Whether every number in it is one of something that is there."""
    lists, unbounded = kept.lists, kept.unbounded
    if not ((unbounded >= 0) & (unbounded < len(kept.codes))).all():
        return False
    if not (kept.basis.steps > 0).all():
        return False
    if lists is None:
        return True
    is_inside = len(lists.homes) == 0 or int(lists.homes.max()) < len(lists.places)
    return (
        is_inside and len(lists.homes) <= len(kept.codes) and bool(np.isfinite(lists.places).all())
    )
