"""Checks of arguments that only the engine takes: values, keys, lists of facts, features."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from memdb.errors import FailedPrecondition, InvalidArgument
from memdb.types import limits
from memdb.types.arrays import Array, check_dim
from memdb.types.clip import check_many, check_text
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


def encode_value(value: Any) -> str:
    """``value`` as JSON text; raises `InvalidArgument` (``BAD_VALUE``, ``TOO_LARGE``)."""
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        size = len(text.encode())
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidArgument(
            "the value is not JSON", reason="BAD_VALUE", field="value", value=type(value).__name__
        ) from error
    if size > limits.VALUE_BYTES_MAX:
        raise InvalidArgument(
            f"the value has more than {limits.VALUE_BYTES_MAX} bytes",
            reason="TOO_LARGE",
            field="value",
            value=size,
        )
    return text


def checked_key(key: str) -> str:
    check_text(key, "key", limits.KEY_CHARS_MAX)
    if len(key.encode()) > limits.KEY_CHARS_MAX:
        # LMDB keys have at most 511 bytes.
        raise InvalidArgument(
            f"a key has at most {limits.KEY_CHARS_MAX} bytes of UTF-8",
            reason="TOO_LARGE",
            field="key",
            value=key,
        )
    return key


def checked_about(about: Iterable[str]) -> tuple[str, ...]:
    if isinstance(about, str):
        raise InvalidArgument(
            "about is a list of texts", reason="BAD_TYPE", field="about", value=about
        )
    names = check_many(about, str, "about", limits.ABOUT_MAX)
    return tuple(
        check_text(name, f"about[{index}]", limits.LABEL_VALUE_CHARS_MAX)
        for index, name in enumerate(names)
    )


def checked_evidence(evidence: Iterable[str]) -> tuple[str, ...]:
    if isinstance(evidence, str):
        raise InvalidArgument(
            "evidence is a list of clip ids", reason="BAD_TYPE", field="evidence", value=evidence
        )
    return check_many(evidence, str, "evidence", limits.EVIDENCE_MAX)
