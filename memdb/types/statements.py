"""Facts that are remembered together."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from memdb.errors import InvalidArgument
from memdb.types import limits
from memdb.types.arguments import checked_about, checked_key, checked_references
from memdb.types.arrays import as_vector
from memdb.types.checks import check_many, check_range, check_text
from memdb.types.fact import Statement
from memdb.types.operation import PutFact
from memdb.types.times import optional_ns

FIELD: Final = "statements"


def checked_statements(statements: Iterable[Statement | str], written_ns: int) -> list[PutFact]:
    """What is to be stored, in order; a text is a statement of its own.

    Raises `InvalidArgument`, naming what is wrong by its place: ``statements[3].about``; ``EMPTY`` without any,
    ``TOO_LARGE`` where they are more than one call takes, ``AMBIGUOUS`` where two have one key.
    """
    given = check_many(statements, object, FIELD, limits.STATEMENTS_MAX)
    if not given:
        raise InvalidArgument("nothing to remember", reason="EMPTY", field=FIELD)
    checked = [_checked(one, f"{FIELD}[{index}]", written_ns) for index, one in enumerate(given)]
    keys: set[str] = set()
    for index, one in enumerate(checked):
        if one.key is not None and one.key in keys:
            # Every version of a fact has a revision of its own.
            raise InvalidArgument(
                "another of these statements has that key",
                reason="AMBIGUOUS",
                field=f"{FIELD}[{index}].key",
                value=one.key,
            )
        if one.key is not None:
            keys.add(one.key)
    items = sum(len(one.about) + len(one.evidence) for one in checked)
    if items > limits.STATEMENT_ITEMS_MAX:
        raise InvalidArgument(
            f"more than {limits.STATEMENT_ITEMS_MAX} things and clips in all",
            reason="TOO_LARGE",
            field=FIELD,
            value=items,
        )
    size = sum(map(_bytes, checked))
    if size > limits.STATEMENTS_BYTES_MAX:
        raise InvalidArgument(
            f"more than {limits.STATEMENTS_BYTES_MAX} bytes in all; remember them in several calls",
            reason="TOO_LARGE",
            field=FIELD,
            value=size,
        )
    return checked


def _checked(given: object, field: str, written_ns: int) -> PutFact:
    one = Statement(given) if isinstance(given, str) else given
    if not isinstance(one, Statement):
        raise InvalidArgument(
            "expected a Statement or text",
            reason="BAD_TYPE",
            field=field,
            value=type(given).__name__,
        )
    begin, end = optional_ns(one.valid_from, f"{field}.valid_from"), None
    if one.valid_to is not None:
        end = optional_ns(one.valid_to, f"{field}.valid_to")
    if begin is not None and end is not None:
        check_range(begin, end, f"{field}.valid_to")
    return PutFact(
        check_text(one.text, f"{field}.text"),
        checked_about(one.about, f"{field}.about"),
        None if one.key is None else checked_key(one.key, f"{field}.key"),
        begin,
        end,
        checked_references(one.evidence, f"{field}.evidence", limits.EVIDENCE_MAX),
        None if one.feature is None else as_vector(one.feature, f"{field}.feature"),
        written_ns,
    )


def _bytes(one: PutFact) -> int:
    texts = (one.text, one.key or "", *one.about, *one.evidence)
    size = sum(len(text) if text.isascii() else len(text.encode()) for text in texts)
    return size + (0 if one.feature is None else one.feature.nbytes)
