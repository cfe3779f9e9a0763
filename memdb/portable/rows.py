"""Rows of an export's Parquet files."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pyarrow import parquet

from memdb.errors import DataLoss
from memdb.portable.layout import BATCH, READ_ERRORS


@contextmanager
def reading(name: str) -> Iterator[None]:
    """Within, only a file of the export is read: whatever it makes the libraries raise is `DataLoss`
    (``BAD_EXPORT``) naming it.
    """
    try:
        yield
    except READ_ERRORS as error:
        raise DataLoss("it is not as the format says", reason="BAD_EXPORT", field=name) from error


def rows_of(path: Path) -> Iterator[dict[str, Any]]:
    """Each row in its order; no more than `BATCH` of them are held.

    Raises `DataLoss` (``BAD_EXPORT``) naming the file.
    """
    # Here too: what was read once to check it may be gone when it is read again.
    with reading(path.name), parquet.ParquetFile(path) as file:
        for batch in file.iter_batches(batch_size=BATCH):
            yield from batch.to_pylist()
