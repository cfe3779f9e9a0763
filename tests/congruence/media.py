"""Clips for the tests: four-dimensional, four seconds each, made from their number."""

from __future__ import annotations

from typing import Any

import numpy as np

from memdb.types.arrays import Array
from memdb.types.clip import Clip

SECOND_NS = 1_000_000_000
T0_NS = 1_700_000_000 * SECOND_NS + 123_456_789  # no whole second: those survive as floats
AXES = np.eye(4, dtype=np.float32)


def vector(*elements: float) -> Array:
    """A (4,) float32 array, zero where nothing is given."""
    array = np.zeros(4, np.float32)
    array[: len(elements)] = elements
    return array


def clip(seq: int, memory: Array | None = None, **fields: Any) -> Clip:
    """Clip ``seq``: four seconds that follow clip ``seq - 1``, pointing along axis ``seq % 4``."""
    start_ns = T0_NS + seq * 4 * SECOND_NS
    given: dict[str, Any] = {"start_ns": start_ns, "end_ns": start_ns + 4 * SECOND_NS, **fields}
    return Clip(seq=seq, global_memory=AXES[seq % 4] if memory is None else memory, **given)
