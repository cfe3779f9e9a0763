"""What an answer tells of gaps: the newest of any number and how many more there are, found without all of them."""

from __future__ import annotations

import random
import sys
import threading
from collections import Counter
from collections.abc import Iterable

import pytest

from memdb.engine import coverage as coverage_module
from memdb.engine import gap_rows, told_gaps
from memdb.engine.coverage import Coverage, EpochCoverage, Missing
from memdb.engine.database import EmbeddedDatabase
from memdb.engine.told_gaps import NO_GAPS
from memdb.types.stream import Gap
from tests.unit.engine.conftest import clip, vector

STREAMS = {0: "door", 1: "yard", 2: "attic"}


def told_max(monkeypatch: pytest.MonkeyPatch, most: int) -> None:
    monkeypatch.setattr(told_gaps, "GAPS_TOLD_MAX", most)
    monkeypatch.setattr(gap_rows, "GAPS_TOLD_MAX", most)


def expected(gaps: Iterable[Gap], most: int) -> tuple[list[Gap], int, dict[str, int]]:
    def age(gap: Gap) -> tuple[float, str, int, int]:
        known_ns = gap.start_ns if gap.end_ns is None else gap.end_ns
        time = float("-inf") if known_ns is None else known_ns
        return time, gap.stream, gap.epoch, gap.first_seq

    by_age = sorted(gaps, key=age, reverse=True)
    missing: Counter[str] = Counter()
    for gap in by_age:
        missing[gap.stream] += gap.last_seq - gap.first_seq + 1
    told = sorted(by_age[:most], key=lambda gap: (gap.stream, gap.epoch, gap.first_seq))
    return told, max(0, len(by_age) - most), dict(missing)


def a_life(seed: int) -> tuple[Coverage, int]:
    """Numbers that come in any order, times that follow them or not, growth and erasure."""
    draw = random.Random(seed)
    coverage, revision = Coverage(), 0
    there: dict[tuple[int, int], dict[int, tuple[int, int]]] = {}
    for _ in range(draw.randint(1, 120)):
        revision += 1
        key = draw.randrange(3), draw.randrange(3)
        epoch, clips = coverage.epoch(*key), there.setdefault(key, {})
        for _ in range(draw.randint(1, 3)):
            seq = draw.randrange(80) if draw.random() < 0.5 else epoch.newest_seq + 2
            start_ns = 10 * seq if draw.random() < 0.8 else draw.randrange(800)
            end_ns = start_ns + draw.randrange(12)
            if seq in clips:
                epoch.grow(seq, start_ns, end_ns, revision)
            else:
                epoch.arrive(seq, start_ns, end_ns, revision)
            clips[seq] = start_ns, end_ns
        if draw.random() < 0.05:
            seq = draw.choice(list(clips))
            epoch.settle({seq: draw.choice([clips[seq], (None, None)])})
    return coverage, revision


@pytest.mark.parametrize("seed", range(60))
def test_the_newest_of_all_gaps_are_told_and_all_are_counted(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However they are found, at every revision and time."""
    coverage, newest = a_life(seed)
    draw = random.Random(seed)
    for few in (0, 64):
        monkeypatch.setattr(coverage_module, "_FEW", few)
        for _ in range(12):
            most = draw.choice([1, 3, 10, 1000])
            told_max(monkeypatch, most)
            streams = {no: STREAMS[no] for no in draw.sample(sorted(STREAMS), draw.randint(0, 3))}
            revision = draw.choice([newest, draw.randint(0, newest)])
            start_ns = draw.choice([None, draw.randrange(-10, 800)])
            end_ns = draw.choice([None, draw.randrange(-10, 800)])
            told = coverage.told_gaps(streams, revision, start_ns, end_ns)
            whole = coverage.gaps(streams, revision, start_ns, end_ns)
            assert (list(told.gaps), told.left_out, dict(told.missing)) == expected(whole, most)


def test_a_view_tells_the_same_while_the_writer_goes_on() -> None:
    """New gaps, gaps that are parted and closed, neighbours that grow: none of it is of the view's revision."""
    coverage = Coverage()
    epoch = coverage.epoch(0, 0)
    for seq in range(1, 2001, 2):
        epoch.arrive(seq, 10 * seq, 10 * seq + 5, 1)
    wanted = coverage.told_gaps(STREAMS, 1)
    assert len(wanted.gaps) == 1000
    differing: list[int] = []
    read = 0
    done = threading.Event()

    def reader() -> None:
        nonlocal read
        while not done.is_set() or not read:
            read += 1
            if coverage.told_gaps(STREAMS, 1) != wanted:
                differing.append(1)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    thread = threading.Thread(target=reader)
    try:
        thread.start()
        for birth, seq in enumerate(range(0, 400, 2), 2):
            epoch.arrive(epoch.newest_seq + 2, 10**6 + birth, 10**6 + birth, birth)
            epoch.arrive(seq, 10 * seq, 10 * seq + 5, birth)
            epoch.grow(1999 - seq, 10 * (1999 - seq), 10 * (1999 - seq) + 8, birth)
    finally:
        done.set()
        thread.join(30)
        sys.setswitchinterval(interval)
    assert not differing
    assert coverage.told_gaps(STREAMS, 1) == wanted
    told = coverage.told_gaps(STREAMS, 201)
    assert (list(told.gaps), told.left_out) == (coverage.gaps(STREAMS, 201), 0)


@pytest.mark.parametrize("page_max", [None, 1, 7, 40])
def test_pages_of_gaps_gather_no_epoch_behind_them(
    db: EmbeddedDatabase, monkeypatch: pytest.MonkeyPatch, page_max: int | None
) -> None:
    door = db.user("alice").stream("door", space="cam")
    for epoch in range(5):
        door.write_many([clip(2 * n + 1, epoch=epoch) for n in range(9)])
    whole = door.gaps()
    looked: list[EpochCoverage] = []
    missing_at = EpochCoverage.missing_at

    def counted(self: EpochCoverage, revision: int) -> list[Missing]:
        looked.append(self)
        return missing_at(self, revision)

    monkeypatch.setattr(EpochCoverage, "missing_at", counted)
    for limit in (1, 9, 10, 1000):
        most = min(limit, page_max or limit)
        paged: list[Gap] = []
        while page := door.gaps(limit=limit, after=paged[-1] if paged else None, page_max=page_max):
            assert page == whole[len(paged) : len(paged) + most]
            # What it has of two epochs it may need a third one for, to begin with.
            assert len(looked) <= 2 + most // 9
            paged += page
            looked.clear()
        assert paged == whole
        looked.clear()
    door.ledger(epoch=3)
    assert len(looked) == 1


def test_numbers_up_to_the_last_are_counted() -> None:
    coverage = Coverage()
    for epoch in range(70):
        coverage.epoch(0, epoch).arrive(2**63 - 1, 0, 1, 1)
    told = coverage.told_gaps(STREAMS, 1)
    assert told.missing == {"door": 70 * (2**63 - 1)}
    assert told.gaps[0] == Gap("door", 0, 0, 2**63 - 2, None, 0)


def test_a_gap_is_made_of_what_is_told_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """And no gap is looked at again while those of its epoch stay as they are."""
    told_max(monkeypatch, 100)
    coverage = Coverage()
    for epoch in range(20):
        for seq in range(1, 1001, 2):
            coverage.epoch(0, epoch).arrive(seq, 10 * seq, 10 * seq + 10, 1)
    made: list[Gap] = []
    rows: list[int] = []

    def counted(*values: object) -> Gap:
        made.append(Gap(*values))  # type: ignore[arg-type]
        return made[-1]

    def counted_rows(gaps: list[Missing]) -> object:
        rows.append(len(gaps))
        return gap_rows.gap_rows(gaps)

    monkeypatch.setattr(gap_rows, "Gap", counted)
    monkeypatch.setattr(coverage_module, "Gap", counted)
    monkeypatch.setattr(coverage_module, "gap_rows", counted_rows)

    told = coverage.told_gaps(STREAMS, 1)

    assert (len(told.gaps), told.left_out, told.missing) == (100, 20 * 500 - 100, {"door": 10_000})
    assert (len(made), sum(rows)) == (100, 20 * 500)
    coverage.epoch(0, 3).arrive(1001, 10_010, 10_020, 2)  # in turn
    coverage.told_gaps(STREAMS, 2, 5000, None)
    assert sum(rows) == 20 * 500 + 501
    coverage.epoch(0, 3).arrive(1002, 10_020, 10_030, 3)
    coverage.told_gaps(STREAMS, 3)
    assert sum(rows) == 20 * 500 + 501
    coverage.epoch(0, 4).arrive(0, 0, 10, 4)
    assert coverage.told_gaps(STREAMS, 3).missing == {"door": 10_001}
    assert coverage.told_gaps(STREAMS, 4).missing == {"door": 10_000}


def test_the_newest_of_two_lots_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    told_max(monkeypatch, 2)
    gaps = [Gap("door", 0, seq, seq, 10 * seq, 10 * seq + 10) for seq in (2, 4, 6)]
    damaged = Gap("door", 0, 5, 5, 50, 60, "damaged")

    told = NO_GAPS.with_more(gaps).with_more([damaged])

    assert (told.gaps, told.left_out) == ((damaged, gaps[2]), 2)
    assert told.missing == {"door": 4}


def test_a_view_remembers_what_it_tells_of_any_number(
    db: EmbeddedDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    told_max(monkeypatch, 5)
    user = db.user("alice")
    user.stream("door", space="cam").write_many([clip(2 * n + 1) for n in range(100)])

    answer = user.ground(vector(0), limit=1)

    assert [gap.first_seq for gap in answer.gaps] == [190, 192, 194, 196, 198]
    assert answer.gaps_left_out == 95
    assert len(user.stream("door").gaps()) == 100
    (covered,) = user.ground(vector(0), with_coverage=True).coverage
    assert covered.missing == 100
    with user.memory() as memory:
        assert all(parts < 100 for _, parts in memory.view.asked.values())
