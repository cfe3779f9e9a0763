"""Ids that callers choose: users, streams, spaces, snapshots."""

from __future__ import annotations

from memdb.errors import InvalidArgument
from memdb.types.checks import plain
from memdb.types.limits import ID_PATTERN


def check_id(value: object, field: str) -> str:
    """``value`` if it is a well-formed id, else `InvalidArgument` (``BAD_ID``)."""
    if not isinstance(value, str) or ID_PATTERN.match(value) is None:
        raise InvalidArgument(
            "an id is 1 to 63 of A-Z a-z 0-9 _ . - and starts with a letter or digit",
            reason="BAD_ID",
            field=field,
            value=value,
        )
    return plain(value)
