"""A search whose caller leaves ends at the next chunk of rows: its thread is wanted by somebody else."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from memdb.deadline import Deadline
from memdb.errors import DeadlineExceeded
from memdb.index import batch, flat
from memdb.index.head_scores import head_scores
from memdb.index.matrix import Matrix
from memdb.types.arrays import Array

DIM, ROWS = 8, 3000
Search = Callable[[Matrix, Array, Array], object]
SEARCHES: dict[str, Search] = {
    "best": lambda matrix, query, _: flat.search(matrix, ROWS, query, 5, None),
    "of some": lambda matrix, query, some: flat.search(matrix, ROWS, query, 5, some),
    "all": lambda matrix, query, _: flat.all_scores(matrix, ROWS, query),
    "all of some": lambda matrix, query, some: flat.allowed_scores(matrix, ROWS, query, some),
    "heads": lambda matrix, query, some: head_scores(matrix, ROWS, query, some),
    "together": lambda matrix, query, _: batch.search_many(
        matrix, ROWS, np.stack([query] * 16), 5, None
    ),
}


class Patient(Deadline):
    """Of a caller who leaves after so many looks at whether he is there."""

    __slots__ = ("looks", "patience")

    def __init__(self, patience: int) -> None:
        super().__init__()
        self.looks, self.patience = 0, patience

    def check(self) -> None:
        self.looks += 1
        if self.looks > self.patience:
            self.leave()
        super().check()


@pytest.mark.parametrize("name", SEARCHES)
def test_a_search_ends_at_the_next_chunk_when_its_caller_leaves(name: str) -> None:
    rng = np.random.default_rng(3)
    matrix = Matrix(DIM)
    for _ in range(ROWS // 100):
        matrix.append(rng.standard_normal((100, DIM)).astype(np.float32))
    chunks = len(matrix.chunk_lengths())
    assert chunks > 2
    some = rng.random(ROWS) < 0.9
    query = rng.standard_normal(DIM).astype(np.float32)

    stays = Patient(1000)
    assert stays.within(SEARCHES[name], matrix, query, some) is not None
    assert stays.looks > chunks
    leaves = Patient(chunks - 1)
    with pytest.raises(DeadlineExceeded):
        leaves.within(SEARCHES[name], matrix, query, some)
    assert leaves.looks == chunks
