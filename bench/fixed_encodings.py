"""Fixed dimensional encodings of sets of vectors, after Dhulipala et al., "MUVERA" (2024), section 2: one
vector for each set, so that an inner product of two estimates their Chamfer similarity (MaxSim).

Space is cut by random hyperplanes, some times over.  In each part a question's tokens are summed, a clip's
rows averaged; a part without a row takes the row whose bits differ least.  Vectors are narrowed by a random
matrix of signs.  A reference to compare candidates with; memdb does not use it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from memdb.types.arrays import Array


@dataclass(frozen=True, slots=True)
class Sizes:
    """How large encodings are."""

    repetitions: int
    planes: int
    narrowed: int
    """Dimensions of one part."""

    @property
    def dim(self) -> int:
        """Dimensions of an encoding."""
        return self.repetitions * (1 << self.planes) * self.narrowed


class FixedEncoder:
    """Encodes sets of (n, dim) unit vectors."""

    def __init__(self, dim: int, sizes: Sizes, seed: int) -> None:
        random = np.random.default_rng(seed)
        shape = (sizes.repetitions, sizes.planes, dim)
        self._sizes = sizes
        self._planes = random.normal(size=shape).astype(np.float32)
        signs = random.integers(0, 2, size=(sizes.repetitions, dim, sizes.narrowed)) * 2 - 1
        self._signs = (signs / math.sqrt(sizes.narrowed)).astype(np.float32)
        self._parts = (np.arange(1 << sizes.planes)[:, None] >> np.arange(sizes.planes)) & 1

    def question(self, tokens: Array) -> Array:
        """(sizes.dim,) of a question."""
        return self._encoded(tokens, mean=False)

    def clip(self, rows: Array) -> Array:
        """(sizes.dim,) of a clip."""
        return self._encoded(rows, mean=True)

    def _encoded(self, vectors: Array, *, mean: bool) -> Array:
        sizes = self._sizes
        out = np.zeros((sizes.repetitions, 1 << sizes.planes, sizes.narrowed), np.float32)
        for repetition, part in enumerate(out):
            bits = (vectors @ self._planes[repetition].T > 0).astype(np.int64)
            places = bits @ (1 << np.arange(sizes.planes))
            narrow = vectors @ self._signs[repetition]
            np.add.at(part, places, narrow)
            if mean:
                counts = np.bincount(places, minlength=len(part))
                part[counts > 0] /= counts[counts > 0, None]
                for empty in np.flatnonzero(counts == 0):
                    part[empty] = narrow[(bits != self._parts[empty]).sum(axis=1).argmin()]
        return out.reshape(-1)
