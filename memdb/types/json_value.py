"""Values of the key-value store, as JSON text and back.

What is put is what is got: a key of an object that is not text is refused, since JSON would turn
it into text.  (A tuple comes back as a list.)
"""

from __future__ import annotations

import json
from typing import Any

from memdb.errors import InvalidArgument
from memdb.types.limits import VALUE_BYTES_MAX


def value_to_json(value: Any) -> str:
    """``value`` as JSON text; raises `InvalidArgument` (``BAD_VALUE``, ``TOO_LARGE``)."""
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        size = len(text.encode())
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidArgument(
            "the value is not JSON: text, finite numbers, true, false, None, and lists and dicts of them"
            " (what numpy has becomes that by .tolist())",
            reason="BAD_VALUE",
            field="value",
            value=type(value).__name__,
        ) from error
    _check_size(size)
    _check_keys(value)
    return text


def value_from_json(text: str) -> Any:
    """The value of JSON text; raises `InvalidArgument` (``BAD_VALUE``, ``TOO_LARGE``)."""
    _check_size(len(text.encode()))
    try:
        return json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise InvalidArgument(
            "the value is not JSON text", reason="BAD_VALUE", field="value", value=text
        ) from error


def _check_size(size: int) -> None:
    if size > VALUE_BYTES_MAX:
        raise InvalidArgument(
            f"the value has more than {VALUE_BYTES_MAX} bytes",
            reason="TOO_LARGE",
            field="value",
            value=size,
        )


def _check_keys(value: Any) -> None:
    """Refuse an object whose keys are not all text; ``value`` is known to be JSON, and finite."""
    left = [value]
    while left:
        item = left.pop()
        if isinstance(item, dict):
            for key in item:
                if not isinstance(key, str):
                    raise InvalidArgument(
                        "the keys of an object are text",
                        reason="BAD_VALUE",
                        field="value",
                        value=type(key).__name__,
                    )
            left.extend(item.values())
        elif isinstance(item, (list, tuple)):
            left.extend(item)


def _refuse_constant(name: str) -> None:
    raise ValueError(name)
