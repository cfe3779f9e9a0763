"""Rows, and indexes for them: of a real GPU (marked ``gpu``), or FAISS's own float16 rows on the CPU, which have the
same interface.
"""

from __future__ import annotations

import pytest

from memdb.types.arrays import Array
from tests.unit.index.gpu.placing import DIM, ROWS, Make, on_gpu
from tests.unit.index.gpu_twin import GPUS, flat_twin
from tests.unit.index.test_sketch import made


@pytest.fixture(
    params=[flat_twin, pytest.param(on_gpu, marks=pytest.mark.gpu)], ids=["twin", "gpu"]
)
def make(request: pytest.FixtureRequest) -> Make:
    if request.param is on_gpu and not GPUS:
        pytest.skip("no GPU here")
    maker: Make = request.param
    return maker


@pytest.fixture(scope="module")
def rows() -> Array:
    return made("scenes", ROWS, DIM, seed=1)
