"""Few rows are many here, and each kind of what is approximate has its turn."""

from __future__ import annotations

import pytest

from memdb.index import gpu as gpu_module
from memdb.index import gpu_flat, gpu_near, gpu_placed, ivf
from memdb.index.indexed import Approximation

KINDS = ("ivf", "cagra")


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ivf, "ALLOWED_MIN", 100)
    monkeypatch.setattr(gpu_module, "PLACE_ROWS_MIN", 100)
    monkeypatch.setattr(gpu_flat, "PLACE_ROWS_MIN", 100)
    monkeypatch.setattr(gpu_placed, "PLACE_ROWS", 64)
    monkeypatch.setattr(gpu_near, "NEAR_PLACE_ROWS", 64)
    monkeypatch.setattr(gpu_near, "LATE_MAX", 256)


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def approximation() -> Approximation:
    return Approximation(100)
