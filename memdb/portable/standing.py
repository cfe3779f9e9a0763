"""Standing questions in an export: rows of them, and what they ask when they are read back.

A question has no number of its own that another database would know, so it is recognised by its name and by what
it asks.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np

from memdb.errors import DataLoss, InvalidArgument, NotFound
from memdb.types.arrays import Array
from memdb.types.clip_filter import ClipFilter
from memdb.types.database import User
from memdb.types.label_filter import Not, values_of
from memdb.types.standing import COSINE_MAX, StandingQuestion

_DTYPES = ("float32", "float16")


def standing_rows(user: User, revision: int) -> list[dict[str, Any]] | None:
    """A row for each question that was there, oldest first; None where they cannot be read."""
    try:
        questions = user.standing.list()
    except DataLoss:
        return None
    return [_row(question) for question in questions if question.revision <= revision]


def write_standing(user: User, rows: Sequence[dict[str, Any]], cosine: Collection[str] = ()) -> int:
    """Ask what the user does not ask yet; how many that are.

    cosine: names of the spaces of cosines.  Raises as `Standing.create`.
    """
    try:
        there = [_reachable(_row(question), cosine) for question in user.standing.list()]
    except NotFound as error:
        if error.reason != "USER_NOT_FOUND":
            raise
        there = []
    known = Counter((_asked(row), row["name"]) for row in there)
    written = 0
    for row in (_reachable(row, cosine) for row in rows):
        asked = _asked(row)
        if "name" in row:
            found = (asked, row["name"])
        else:  # of an earlier release: it may have had any name
            found = next((one for one in known if one[0] == asked and known[one]), (asked, None))
        if known[found]:
            known[found] -= 1
            continue
        user.standing.create(
            _array(row, "feature"),
            min_score=row["min_score"],
            min_relevance=row["min_relevance"],
            kind=row["kind"],
            then_feature=None if row["then_feature"] is None else _array(row, "then_feature"),
            window_s=row["window_s"],
            streams=row["streams"],
            space=row["space"],
            sealed_only=row["sealed_only"],
            text=row["text"],
            name=row.get("name"),
            **_only(row).options(),
        )
        written += 1
    return written


def _reachable(row: dict[str, Any], cosine: Collection[str]) -> dict[str, Any]:
    """A row of an earlier release may ask for a cosine that there is not, which is refused now: for the largest one
    that is not, which no clip scores either.
    """
    least = row["min_score"]
    if least is None or least <= COSINE_MAX or row["space"] not in cosine:
        return row
    return row | {"min_score": COSINE_MAX}


def check_rows(rows: Sequence[dict[str, Any]]) -> None:
    """Raise ValueError where the features of a row are none."""
    for row in rows:
        _array(row, "feature")
        if row["then_feature"] is not None:
            _array(row, "then_feature")
            if row["then_dtype"] is None:
                raise ValueError("a feature without a dtype")
        try:
            _only(row)
        except InvalidArgument as error:
            raise ValueError(f"{error.field}: {error}") from error


def _row(question: StandingQuestion) -> dict[str, Any]:
    then = question.then_feature
    labels = question.labels
    return {
        "kind": question.kind,
        "space": question.space,
        "streams": None if question.streams is None else sorted(question.streams),
        "min_score": question.min_score,
        "min_relevance": question.min_relevance,
        "window_s": question.window_s,
        "sealed_only": question.sealed_only,
        "text": question.text,
        "dtype": str(question.feature.dtype),
        "feature": question.feature.astype(np.float32).tolist(),
        "then_dtype": None if then is None else str(then.dtype),
        "then_feature": None if then is None else then.astype(np.float32).tolist(),
        "revision": question.revision,
        "created_ns": question.created_ns,
        "name": question.name,
        "labels": None
        if labels is None
        else [
            {"key": key, "values": list(values_of(values)), "other": isinstance(values, Not)}
            for key, values in labels.items()
        ],
        "hours": None if question.hours is None else [list(pair) for pair in question.hours],
        "weekdays": None if question.weekdays is None else list(question.weekdays),
        "zone": question.zone,
    }


def _only(row: dict[str, Any]) -> ClipFilter:
    """Which clips a row looks at; raises `InvalidArgument`.

    Of an earlier release: every one.
    """
    labels = row.get("labels")
    return ClipFilter.taken(
        None
        if labels is None
        else {
            label["key"]: Not(*label["values"]) if label["other"] else label["values"]
            for label in labels
        },
        row.get("hours"),
        row.get("weekdays"),
        row.get("zone"),
    )


def _asked(row: dict[str, Any]) -> tuple[object, ...]:
    """What a row asks, whatever its name, number and time."""
    then = row["then_feature"]
    return (
        row["kind"],
        row["space"],
        None if row["streams"] is None else tuple(sorted(row["streams"])),
        row["min_score"],
        row["min_relevance"],
        row["window_s"],
        row["sealed_only"],
        row["text"],
        row["dtype"],
        tuple(row["feature"]),
        row["then_dtype"],
        None if then is None else tuple(then),
        _only(row),
    )


def _array(row: dict[str, Any], field: str) -> Array:
    dtype = row["dtype" if field == "feature" else "then_dtype"]
    if dtype not in _DTYPES:
        raise ValueError(f"{dtype} is no dtype of a feature")
    return np.array(row[field], np.float32).astype(dtype)
