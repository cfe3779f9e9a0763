"""Which labels clips have, and how many have each."""

from __future__ import annotations

from memdb import deadline
from memdb.engine.view import View
from memdb.index.partition import Filter
from memdb.types.label_count import LabelCount

_AT_ONCE = 256
"""Labels, between two looks at the deadline."""


def label_counts(
    view: View,
    which: Filter,
    as_of: int | None,
    key: str | None,
    after: tuple[str, str] | None,
    limit: int,
) -> list[LabelCount]:
    """The first ``limit`` labels, by key and value, of the clips that a filter admits, behind ``after``."""
    parts = [
        (partition.names.labelled, partition.rows, partition.allowed(which, as_of))
        for partition in view.partitions.values()
    ]
    labels = {label for labelled, rows, _ in parts for label in labelled.labels(rows)}
    found: list[LabelCount] = []
    wanted = [
        label
        for label in labels
        if (key is None or label[0] == key) and (after is None or label > after)
    ]
    for place, label in enumerate(sorted(wanted)):
        if place % _AT_ONCE == 0:
            deadline.check()
        clips = sum(labelled.count(label, rows, allowed) for labelled, rows, allowed in parts)
        if clips:
            found.append(LabelCount(*label, clips))
            if len(found) == limit:
                break
    return found
