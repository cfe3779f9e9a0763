"""How values that carry arrays and pictures are shown: by their sizes.

A traceback, a log line and an interactive prompt show the values that they come by.  Elements of a
vector and bytes of a JPEG tell nobody anything there, and cost seconds and screens.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from enum import Enum
from typing import Any, Final

import numpy as np

ITEMS_MAX: Final = 3
"""Items of a list, and entries of a mapping, that are shown before the rest is only counted."""
TEXT_CHARS_MAX: Final = 80
"""Characters of a text that are shown."""


def shown(value: Any) -> str:
    """A dataclass in short: what still has its default is left out, arrays are shown as shape and
    dtype, long lists and texts by their beginning and their size.
    """
    parts = [
        f"{field.name}={_item(item)}"
        for field in fields(value)
        for item in (getattr(value, field.name),)
        if not _is_default(field, item)
    ]
    return f"{type(value).__name__}({', '.join(parts)})"


def _item(value: Any) -> str:
    if isinstance(value, np.ndarray):
        shape = "x".join(str(length) for length in value.shape)
        return f"<{shape} {value.dtype.name}>"
    if isinstance(value, (bytes, bytearray, memoryview)):
        return f"<{memoryview(value).nbytes} bytes>"
    if isinstance(value, Enum):
        return value.name
    if isinstance(value, str):
        return repr(value) if len(value) <= TEXT_CHARS_MAX else f"{value[:TEXT_CHARS_MAX]!r}…"
    if isinstance(value, tuple):
        items = [_item(item) for item in value[:ITEMS_MAX]]
        if len(value) > ITEMS_MAX:
            items.append(f"… {len(value)} in all")
        return f"({', '.join(items)}{',' if len(value) == 1 else ''})"
    if isinstance(value, Mapping):
        entries = [f"{key!r}: {_item(item)}" for key, item in list(value.items())[:ITEMS_MAX]]
        if len(value) > ITEMS_MAX:
            entries.append(f"… {len(value)} in all")
        return f"{{{', '.join(entries)}}}"
    return shown(value) if is_dataclass(value) else repr(value)


def _is_default(field: Field[Any], value: Any) -> bool:
    """Whether a field has what it has when nobody says otherwise; never compares arrays."""
    if isinstance(value, np.ndarray):
        return False
    if field.default is not MISSING:
        return bool(type(value) is type(field.default) and value == field.default)
    return field.default_factory is not MISSING and not value
