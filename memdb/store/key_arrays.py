"""The keys of many rows as one array.

By itself, since `memdb.store.schema` is also what a process loads that walks one environment and ends
(`memdb.store.assembly`): numpy would be most of its start.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from memdb.store.schema import bad_key

_VECTOR: Final = np.dtype([("space_no", ">u4"), ("clip_no", ">u8"), ("birth", ">u8")])
_VERSION: Final = np.dtype([("no", ">u8"), ("birth", ">u8")])


def split_vector_keys(keys: Sequence[bytes]) -> Any:
    """(n,) with fields ``clip_no`` and ``birth``, of as many `schema.vector_key`; raises `DataLoss` (``BAD_KEY``)."""
    return _split(keys, _VECTOR)


def split_version_keys(keys: Sequence[bytes]) -> Any:
    """(n,) with fields ``no`` and ``birth``, of as many `schema.version_key`; raises `DataLoss` (``BAD_KEY``)."""
    return _split(keys, _VERSION)


def _split(keys: Sequence[bytes], fields: np.dtype[Any]) -> Any:
    for key in keys:
        if len(key) != fields.itemsize:
            raise bad_key(key)
    return np.frombuffer(b"".join(keys), fields)
