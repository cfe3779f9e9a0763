"""Questions that come one after the other, and how many of them go together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from memdb.types.arrays import Array, as_vector

GROUP_MAX: Final = 64
"""Questions of a stream that are answered together at most: enough to share what they can, few enough
that the first is not kept waiting by the last."""


def group_size(question_features: object) -> int:
    """How many questions may be taken before the first is asked: of what makes them as it goes, one,
    since nobody knows how long the next will take."""
    there = isinstance(question_features, (np.ndarray, Sequence))
    return GROUP_MAX if there else 1


def checked_feature(feature: object, place: int) -> Array:
    """The (dim,) feature of the question at a place of a stream; raises `InvalidArgument`."""
    return as_vector(feature, field_of(place))


def field_of(place: int) -> str:
    """What errors call the question at a place."""
    return f"question_features[{place}]"
