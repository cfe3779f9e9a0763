"""Which numbers of a stream a group has already, be it as clips or as runs of them."""

from __future__ import annotations

import random
from typing import cast

import pytest

from memdb.engine import taken as taken_module
from memdb.engine.passage import Passage
from memdb.engine.submission import Submission
from memdb.engine.taken import Taken
from memdb.types.operation import Operation, WriteClip, WriteRun
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


@pytest.mark.parametrize("seed", range(40))
def test_nothing_is_in_a_group_before_the_rest_of_what_it_is_behind(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = random.Random(seed)
    monkeypatch.setattr(taken_module, "SHARE_OPERATIONS_MAX", rng.choice([1, 3, 8]))
    newest: dict[int, Passage] = {}
    queue: list[Submission] = []
    for number in range(rng.randint(1, 12)):
        lines = rng.sample(range(4), rng.randint(0, 2))
        passages = [Passage([newest[line]] if line in newest else []) for line in lines]
        newest.update(zip(lines, passages, strict=True))
        writes: list[Operation] = [run(f"c{number}", seq) for seq in range(rng.randint(1, 20))]
        queue.append(Submission(writes, passages))
    written: list[Submission] = []
    while not all(submission.taken for submission in queue):
        group = Taken()
        group.take_from(queue)
        if rng.random() < 0.3:
            group.take_from(queue)  # as it waits for the disk
        assert group.entries, "nobody goes on"
        for place, submission in enumerate(queue):
            before = queue[:place]
            if submission.next and not all(one.taken for one in before if behind(submission, one)):
                pytest.fail("it is in a group before what it is behind")
        written += [submission for submission, _ in group.entries]
    assert len(written) == sum(len(submission.operations) for submission in queue)


def behind(submission: Submission, other: Submission) -> bool:
    return submission.is_behind(set(other.passages))
