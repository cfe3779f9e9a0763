"""Gaps: born when a number is skipped, split and closed as the missing arrive, at every revision."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator

import pytest

from memdb.engine.coverage import Coverage, EpochCoverage, Missing


def numbers(epoch: EpochCoverage, revision: int) -> list[tuple[int, int]]:
    return [(gap.first_seq, gap.last_seq) for gap in epoch.missing_at(revision)]


def test_a_gap_is_born_split_and_closed() -> None:
    epoch = EpochCoverage()
    for birth, seq in enumerate((0, 9, 4, 1, 2, 3), 1):
        epoch.arrive(seq, 10 * seq, 10 * seq + 10, birth)
    assert [numbers(epoch, revision) for revision in range(7)] == [
        [],
        [],
        [(1, 8)],
        [(1, 3), (5, 8)],
        [(2, 3), (5, 8)],
        [(3, 3), (5, 8)],
        [(5, 8)],
    ]
    (gap,) = epoch.missing_at(6)
    assert (gap.start_ns, gap.end_ns) == (50, 90)


def test_numbers_missing_before_the_first_that_came_are_a_gap_without_a_beginning() -> None:
    epoch = EpochCoverage()
    epoch.arrive(3, 30, 40, 1)
    (gap,) = epoch.missing_at(1)
    assert (gap.first_seq, gap.last_seq, gap.start_ns, gap.end_ns) == (0, 2, None, 30)
    assert gap.touches(None, 1)
    assert not gap.touches(30, None)


def test_a_gap_between_clips_out_of_order_has_no_times_and_may_be_anywhere() -> None:
    coverage = Coverage()
    epoch = coverage.epoch(0, 0)
    epoch.arrive(0, 100, 110, 1)
    epoch.arrive(9, 0, 10, 2)
    epoch.arrive(5, 120, 130, 3)
    told = [(gap.first_seq, gap.start_ns, gap.end_ns) for gap in coverage.gaps({0: "door"}, 3)]
    assert told == [(1, 110, 120), (6, None, None)]
    for start_ns in (-50, 0, 105, 500):
        (gap,) = coverage.gaps({0: "door"}, 2, start_ns, start_ns + 1)
        assert (gap.start_ns, gap.end_ns) == (None, None)


def test_a_gap_lies_between_the_clips_beside_it_as_they_are_at_the_revision() -> None:
    coverage = Coverage()
    epoch = coverage.epoch(0, 0)
    epoch.arrive(0, 0, 10, 1)
    epoch.grow(0, 0, 50, 2)
    epoch.arrive(2, 90, 100, 3)
    epoch.grow(0, 0, 80, 4)
    epoch.grow(2, 85, 120, 5)
    epoch.grow(2, 85, 130, 6)  # which moves nothing
    epoch.arrive(4, 140, 150, 7)
    epoch.grow(2, 85, 140, 8)

    def told(revision: int) -> list[tuple[int, int | None, int | None]]:
        return [(g.first_seq, g.start_ns, g.end_ns) for g in coverage.gaps({0: "a"}, revision)]

    assert [told(revision) for revision in range(1, 9)] == [
        [],
        [],
        [(1, 50, 90)],
        [(1, 80, 90)],
        [(1, 80, 85)],
        [(1, 80, 85)],
        [(1, 80, 85), (3, 130, 140)],
        [(1, 80, 85), (3, 140, 140)],
    ]


def test_a_gap_between_clips_that_follow_at_once_is_a_point() -> None:
    epoch = EpochCoverage()
    epoch.arrive(0, 0, 50, 1)
    epoch.arrive(2, 50, 60, 1)
    (gap,) = epoch.missing_at(1)
    assert gap.touches(50, 60)
    assert gap.touches(40, 51)
    assert not gap.touches(40, 50)
    assert not gap.touches(51, 60)


def test_one_commit_may_skip_and_fill() -> None:
    epoch = EpochCoverage()
    for seq in (5, 0, 2, 1):
        epoch.arrive(seq, seq, seq, 1)
    assert numbers(epoch, 1) == [(3, 4)]
    assert epoch.closed_gaps == []


def test_a_past_revision_answers_alike_while_the_writer_fills_gaps() -> None:
    coverage = Coverage()
    epoch = coverage.epoch(0, 0)
    for seq in range(0, 2000, 2):
        epoch.arrive(seq, seq, seq + 1, 1)
    wanted = coverage.gaps({0: "door"}, 1)
    differing: list[int] = []
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            if coverage.gaps({0: "door"}, 1) != wanted:
                differing.append(1)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        reader = threading.Thread(target=read)
        reader.start()
        for birth, seq in enumerate(range(1, 1999, 2), 2):
            epoch.arrive(seq, seq, seq + 1, birth)
        done.set()
        reader.join(30)
    finally:
        sys.setswitchinterval(interval)
    assert differing == []
    assert coverage.gaps({0: "door"}, 1) == wanted
    assert coverage.gaps({0: "door"}, 10**6) == []


@pytest.mark.parametrize("known", [{}, {1: "other"}])
def test_gaps_are_told_of_the_streams_asked_for(known: dict[int, str]) -> None:
    coverage = Coverage()
    coverage.epoch(0, 0).arrive(4, 0, 1, 1)
    assert coverage.gaps(known, 1) == []


def test_what_came_late_long_ago_costs_nothing_now() -> None:
    looked: list[int] = []

    class Counted(list[Missing]):
        def __iter__(self) -> Iterator[Missing]:
            looked.append(len(self))
            return super().__iter__()

        def __reversed__(self) -> Iterator[Missing]:
            for gap in super().__reversed__():
                looked.append(1)
                yield gap

    epoch = EpochCoverage()
    for birth, seq in enumerate(range(0, 2000, 2), 1):
        epoch.arrive(seq + 1, 0, 1, 2 * birth)
        epoch.arrive(seq, 0, 1, 2 * birth + 1)
    epoch.closed_gaps = Counted(epoch.closed_gaps)
    assert len(epoch.closed_gaps) == 1000
    assert numbers(epoch, 2001) == []
    assert sum(looked) <= 1
    assert numbers(epoch, 1000) == [(998, 998)]
