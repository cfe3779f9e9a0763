"""Which numbers of a stream a group has already, be it as clips or as runs of them."""

from __future__ import annotations

import random
from typing import cast

import pytest

from memdb.engine.submission import Submission
from memdb.engine.taken import Taken
from memdb.types.operation import WriteClip, WriteRun
from memdb.types.plain_run import PlainRun
from tests.unit.engine.conftest import clip


class Run:
    """So many clips from a number on, and no more of them than that."""

    payload_bytes = 1

    def __init__(self, first_seq: int, count: int = 1, epoch: int = 0) -> None:
        self.first_seq, self.count, self.epoch = first_seq, count, epoch

    def __len__(self) -> int:
        return self.count


def run(stream: str, first_seq: int, count: int = 1, epoch: int = 0) -> WriteRun:
    return WriteRun(stream, None, cast(PlainRun, Run(first_seq, count, epoch)))


def test_runs_that_follow_each_other_are_looked_at_as_one() -> None:
    """A camera whose clips come one by one has 256 of them in a group: each was compared with all before it."""
    taken = Taken()
    taken.take_from([Submission([run("door", seq) for seq in range(256)], ())])
    assert taken.parts == 256
    assert taken.runs == {("door", 0): [(0, 255)]}


@pytest.mark.parametrize("seed", range(20))
def test_a_group_ends_before_a_number_that_it_has(seed: int) -> None:
    rng = random.Random(seed)
    taken = Taken()
    has: set[tuple[str, int, int]] = set()
    for _ in range(60):
        stream, epoch = rng.choice(["door", "gate"]), rng.randrange(2)
        first, count = rng.randrange(80), rng.randrange(1, 5)
        if rng.random() < 0.3:
            count = 1
            operation = WriteClip(stream, None, clip(first, epoch=epoch), None, b"")
            submission = Submission([operation], ())
        else:
            submission = Submission([run(stream, first, count, epoch)], ())
        numbers = {(stream, epoch, seq) for seq in range(first, first + count)}
        assert taken.take(submission) is has.isdisjoint(numbers)
        if submission.taken:
            has |= numbers
