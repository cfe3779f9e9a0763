"""Small checkpoints are large here, and nobody looks through the store unless somebody wants that."""

from __future__ import annotations

import pytest

from memdb.engine import early_file, memory

NEVER_S = 60.0
"""Until the store is looked through, unless somebody wants that."""


@pytest.fixture(autouse=True)
def _early(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(early_file, "EARLY_BYTES_MIN", 0)
    monkeypatch.setattr(memory, "ALONE_S", NEVER_S)
