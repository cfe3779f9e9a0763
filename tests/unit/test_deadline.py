"""Long work stops between its pieces once nobody waits for it."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from memdb import DeadlineExceeded, deadline
from memdb.deadline import Deadline
from memdb.index import batch, flat
from memdb.index.matrix import Matrix


class Leaving(Deadline):
    """Whose caller leaves after some looks."""

    def __init__(self, looks: int) -> None:
        super().__init__()
        self.left = looks

    def check(self) -> None:
        self.left -= 1
        if self.left < 0:
            self.leave()
        super().check()


def matrix(rows: int = 5000, dim: int = 16) -> Matrix:
    made = Matrix(dim)
    vectors = np.random.default_rng(1).standard_normal((rows, dim)).astype(np.float32)
    for begin in range(0, rows, 100):
        made.append(vectors[begin : begin + 100])
    return made


def test_without_a_deadline_nothing_is_checked() -> None:
    deadline.check()
    Deadline().within(deadline.check)


def test_a_deadline_that_has_passed() -> None:
    with pytest.raises(DeadlineExceeded) as caught:
        Deadline(-1.0).within(deadline.check)
    assert caught.value.reason == "DEADLINE_EXCEEDED"
    Deadline(100.0).within(deadline.check)


def test_a_caller_that_has_left() -> None:
    gone = Deadline()
    gone.leave()
    with pytest.raises(DeadlineExceeded) as caught:
        gone.within(int)
    assert caught.value.reason == "CALLER_LEFT"


def test_a_deadline_is_of_its_thread_and_ends_with_its_work() -> None:
    passed = Leaving(1)

    def inner() -> None:
        thread = threading.Thread(target=deadline.check)
        thread.start()
        thread.join()
        with pytest.raises(DeadlineExceeded):
            deadline.check()

    passed.within(inner)
    deadline.check()


@pytest.mark.parametrize(
    "search",
    [
        lambda m: flat.search(m, m.rows, np.ones(16, np.float32), 3, None),
        lambda m: flat.all_scores(m, m.rows, np.ones(16, np.float32)),
        lambda m: flat.allowed_scores(m, m.rows, np.ones(16, np.float32), np.ones(m.rows, bool)),
        lambda m: batch.search_many(m, m.rows, np.ones((20, 16), np.float32), 3, None),
    ],
    ids=["search", "all_scores", "allowed_scores", "search_many"],
)
def test_a_search_stops_between_its_pieces(search: object) -> None:
    searched = matrix()
    looks = Leaving(1000)
    looks.within(search, searched)  # type: ignore[arg-type]
    pieces = 1000 - looks.left - 1
    assert pieces >= 3

    with pytest.raises(DeadlineExceeded):
        Leaving(1 + pieces // 2).within(search, searched)  # type: ignore[arg-type]
