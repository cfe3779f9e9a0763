"""Which clips a question without a feature is compared with."""

from __future__ import annotations

import numpy as np

from memdb.index.directions import unit_rows, unit_vector
from memdb.index.partition import PartitionView
from memdb.types.arrays import Array


def candidate_rows(
    partition: PartitionView, tokens: Array, allowed: Array | None, count: int
) -> Array:
    """Allowed rows with short-term memory: all of them in row order, or with ``count`` those nearest to
    the mean direction of the tokens by their global memory, nearest first.

    Fixed encodings of the tokens (MUVERA), which would be an index of their own, found fewer of the
    right clips (`docs/tried.md`).
    """
    has_memory = partition.columns["short_memory_bytes"] > 0
    admitted = has_memory if allowed is None else has_memory & allowed
    if not count:
        return np.flatnonzero(admitted)
    mean = unit_vector(unit_rows(tokens).mean(axis=0))
    return partition.search(mean, count, admitted)[0]
