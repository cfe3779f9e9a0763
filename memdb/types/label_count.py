"""Which labels a user's clips have."""

from __future__ import annotations

from dataclasses import dataclass

from memdb.errors import InvalidArgument
from memdb.types.checks import check_text
from memdb.types.limits import LABEL_KEY_CHARS_MAX, LABEL_VALUE_CHARS_MAX


@dataclass(frozen=True, slots=True)
class LabelCount:
    """One label and how many clips have it."""

    key: str
    value: str
    clips: int


def checked_label_key(key: object) -> str | None:
    """The key whose values are asked for, None for all; raises `InvalidArgument`."""
    return None if key is None else check_text(key, "key", LABEL_KEY_CHARS_MAX)


def checked_label(label: object) -> tuple[str, str] | None:
    """The label that ended the page before, None for the first page; raises `InvalidArgument`."""
    if label is None:
        return None
    if not isinstance(label, tuple) or len(label) != 2:
        raise InvalidArgument(
            "expected a key and a value",
            reason="BAD_TYPE",
            field="after",
            value=type(label).__name__,
        )
    key, value = label
    return (
        check_text(key, "after", LABEL_KEY_CHARS_MAX),
        check_text(value, "after", LABEL_VALUE_CHARS_MAX, may_be_empty=True),
    )
