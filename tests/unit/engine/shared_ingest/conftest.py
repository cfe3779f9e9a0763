"""No thread of a writer outlives its test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.unit.engine.shared_ingest.cameras import PATIENCE_S, threads


@pytest.fixture(autouse=True)
def nothing_left() -> Iterator[None]:
    yield
    for thread in threads():
        thread.join(PATIENCE_S)
        assert not thread.is_alive()
