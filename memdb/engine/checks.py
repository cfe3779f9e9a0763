"""Checks that need to know what the user has."""

from __future__ import annotations

from memdb.errors import FailedPrecondition, NotFound
from memdb.types.arrays import Array, check_dim
from memdb.types.space import Space


def check_feature(text_space: Space | None, feature: Array, field_name: str) -> None:
    """Refuse a (dim,) or (n, dim) text feature that the user's text space cannot hold.

    Raises `FailedPrecondition` (``NO_TEXT_SPACE``), `InvalidArgument` (``DIM_MISMATCH``).
    """
    if text_space is None:
        raise no_text_space(field_name)
    check_dim(feature, text_space.dim, field_name)


def no_text_space(field_name: str) -> FailedPrecondition:
    """A text feature came where nothing says what made it."""
    return FailedPrecondition(
        "the user has no text space; user.configure(text_space=...) names one",
        reason="NO_TEXT_SPACE",
        field=field_name,
    )


def no_such_fact(fact_id: str, field_name: str = "fact_id") -> NotFound:
    """Nothing has the id of a fact; a key is taken for one easily."""
    return NotFound(
        "no such fact; a fact is named by its Fact.id, not by its key, which `user.fact(key=...)` takes",
        reason="FACT_NOT_FOUND",
        field=field_name,
        value=fact_id,
    )


def no_such_key(key: str) -> NotFound:
    """No fact has the key; a value is taken for one easily."""
    return NotFound(
        "no fact has this key; what was stored by put has one of its own",
        reason="FACT_NOT_FOUND",
        field="key",
        value=key,
    )
