"""Checks that need to know what the user has."""

from __future__ import annotations

from memdb.errors import FailedPrecondition
from memdb.types.arrays import Array, check_dim
from memdb.types.space import Space


def check_feature(text_space: Space | None, feature: Array, field_name: str) -> None:
    """Refuse a (dim,) or (n, dim) text feature that the user's text space cannot hold.

    Raises `FailedPrecondition` (``NO_TEXT_SPACE``), `InvalidArgument` (``DIM_MISMATCH``).
    """
    if text_space is None:
        raise FailedPrecondition(
            "the user has no text space", reason="NO_TEXT_SPACE", field=field_name
        )
    check_dim(feature, text_space.dim, field_name)
