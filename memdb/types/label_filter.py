"""Which labels a clip must have to answer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from operator import itemgetter
from typing import Any, Final

from memdb.errors import InvalidArgument
from memdb.types.checks import check_many, check_text
from memdb.types.limits import LABEL_KEY_CHARS_MAX, LABEL_VALUE_CHARS_MAX, LABELS_MAX


@dataclass(frozen=True, slots=True, init=False)
class Not:
    """In a filter by labels: none of these values, ``labels={"zone": memdb.Not("porch", "drive")}``; a clip without a
    label of that key passes.
    """

    values: tuple[str, ...]
    """At most 64."""

    def __init__(self, *values: str) -> None:
        object.__setattr__(self, "values", values)


WantedLabels = Mapping[str, str | Iterable[str] | Not]
"""Key -> the value, those of which one will do, or those of which it is none."""
LabelFilter = tuple[tuple[str, tuple[str, ...] | Not], ...]
"""(key, values) by key, values ascending; empty: whatever their labels."""

VALUES_MAX: Final = 64
"""Values of one key that will do."""


def checked_labels(labels: object) -> LabelFilter:
    """What the option ``labels`` of a question says, empty for None.

    Raises `InvalidArgument`: ``BAD_TYPE``, ``BAD_TEXT``, ``EMPTY`` (no key, no value), ``TOO_LARGE``.
    """
    if labels is None:
        return ()
    if not isinstance(labels, Mapping):
        raise InvalidArgument(
            "expected a mapping of text to text, or to several texts",
            reason="BAD_TYPE",
            field="labels",
            value=type(labels).__name__,
        )
    if not labels:
        # None in Python would be all on the wire.
        raise InvalidArgument("name at least one, or None for all", reason="EMPTY", field="labels")
    if len(labels) > LABELS_MAX:
        raise InvalidArgument(
            f"more than {LABELS_MAX} labels", reason="TOO_LARGE", field="labels", value=len(labels)
        )
    checked: dict[str, tuple[str, ...] | Not] = {}
    for key, values in labels.items():
        name = check_text(key, "labels", LABEL_KEY_CHARS_MAX)
        field = f"labels[{name}]"
        if isinstance(values, Not):
            checked[name] = Not(*_checked_values(values.values, field))
        else:
            checked[name] = _checked_values(values, field)
    return tuple(sorted(checked.items(), key=itemgetter(0)))


def values_of(values: tuple[str, ...] | Not) -> tuple[str, ...]:
    """The values that a filter names, whether they will do or will not."""
    return values.values if isinstance(values, Not) else values


def has_labels(wanted: LabelFilter, labels: Mapping[str, str]) -> bool:
    """Whether a clip with these labels passes."""
    return all(
        (labels.get(key) in values_of(values)) != isinstance(values, Not) for key, values in wanted
    )


def _checked_values(values: Any, field: str) -> tuple[str, ...]:
    if isinstance(values, Mapping) or not any(
        hasattr(values, name) for name in ("__iter__", "__getitem__")
    ):
        raise InvalidArgument(
            "expected a text, a list of texts, or memdb.Not(...)",
            reason="BAD_TYPE",
            field=field,
            value=type(values).__name__,
        )
    listed = (values,) if isinstance(values, str) else check_many(values, object, field, VALUES_MAX)
    if not listed:
        raise InvalidArgument("name at least one value", reason="EMPTY", field=field)
    texts = {check_text(one, field, LABEL_VALUE_CHARS_MAX, may_be_empty=True) for one in listed}
    return tuple(sorted(texts))
