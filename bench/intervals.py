"""Intervals of means by resampling (the bootstrap of Efron, 1979)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

RESAMPLES = 4000


def interval_of_groups(
    values: Sequence[float], groups: Sequence[int], seed: int
) -> tuple[float, float]:
    """The 95 % percentile interval of the mean, where values of one group belong together: groups are drawn, then
    values within each.
    """
    found, of = np.asarray(values, np.float64), np.asarray(groups)
    parts = [found[of == group] for group in np.unique(of)]
    rng = np.random.default_rng(seed)
    means = np.empty(RESAMPLES)
    for place in range(RESAMPLES):
        drawn = [parts[group] for group in rng.integers(len(parts), size=len(parts))]
        means[place] = np.concatenate(
            [part[rng.integers(len(part), size=len(part))] for part in drawn]
        ).mean()
    low, high = np.percentile(means, (2.5, 97.5))
    return float(low), float(high)
