"""What each token of a question weighs in a stream: much where few clips have it, nothing where all do.

As the inverse document frequency of text search, over a sample of a stream's clips.  A clip of the sample
has a token when its best cosine comes near to the best of all that are compared.  How near is a share of what
the token that stands out most stands out by, so that it does not matter how wide a space spreads its
cosines::

    margin      = 0.2 * max over tokens of (top - mean of the sample)
    weight      = log((clips + 1) / (clips with best >= top - margin, + 1))
"""

from __future__ import annotations

from typing import Final

import numpy as np

from memdb.types.arrays import Array

_SHARE: Final = 0.2
"""Between 0.1 and 0.5 planted moments were found alike (`python -m bench late`)."""


def uniform_weights(tokens: int) -> Array:
    """(tokens,) float32 of sum 1."""
    return np.full(tokens, 1 / tokens, np.float32)


def idf_weights(sample: Array, top: Array) -> Array:
    """(n,) float32 of sum 1; all the same where no token tells clips apart.

    sample: (clips, n) best cosines of the clips of the sample.  top: (n,) the best of all that are
    compared.
    """
    clips, tokens = sample.shape
    if clips == 0:
        return uniform_weights(tokens)
    margin = _SHARE * float((top - sample.mean(axis=0)).max())
    if margin <= 0:
        return uniform_weights(tokens)
    having = np.count_nonzero(sample >= top - np.float32(margin), axis=0)
    weights = np.log((clips + 1) / (having + 1))
    total = weights.sum()
    return uniform_weights(tokens) if total == 0 else (weights / total).astype(np.float32)
