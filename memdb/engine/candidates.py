"""Which clips a question without a feature is compared with."""

from __future__ import annotations

import numpy as np

from memdb.index.partition import PartitionView
from memdb.types.arrays import Array


def candidate_rows(
    partition: PartitionView, tokens: Array, allowed: Array | None, count: int
) -> Array:
    """Every allowed row with short-term memory, in row order."""
    has_memory = partition.columns["short_memory_bytes"] > 0
    return np.flatnonzero(has_memory if allowed is None else has_memory & allowed)
