"""Intervals of means by resampling (the bootstrap of Efron, 1979)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

RESAMPLES = 4000


def interval(values: Sequence[float], seed: int) -> tuple[float, float]:
    """The 95 % percentile interval of the mean."""
    found = np.asarray(values, np.float64)
    rng = np.random.default_rng(seed)
    means = found[rng.integers(len(found), size=(RESAMPLES, len(found)))].mean(axis=1)
    low, high = np.percentile(means, (2.5, 97.5))
    return float(low), float(high)
