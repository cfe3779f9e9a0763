"""A folder in memory."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def folder() -> Iterator[Path]:
    memory = Path("/dev/shm")
    made = Path(tempfile.mkdtemp(prefix="memdb-", dir=memory if memory.is_dir() else None))
    yield made
    shutil.rmtree(made)
