"""Clocks that are set wrong take nothing before its time; a clock that is right takes all in time."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memdb import Retention
from memdb.clock import ManualClock
from memdb.engine.database import EmbeddedDatabase
from memdb.engine.retention_clock import DOWNTIME_MAX_NS, MAKING_UP, TOLERANCE_NS
from tests.unit.engine.conftest import CONFIG, SECOND_NS, clip

HOUR_NS = 3600 * SECOND_NS
DAY_NS = 24 * HOUR_NS
TEN_YEARS_NS = 3653 * DAY_NS
LIMIT = Retention(max_age_s=30 * 86_400)


@contextmanager
def opened(folder: Path, clock: ManualClock) -> Iterator[EmbeddedDatabase]:
    with EmbeddedDatabase(folder / "data", config=CONFIG, clock=clock) as db:
        yield db


def filled(db: EmbeddedDatabase, end_ns: int, days: int = 20) -> None:
    """A clip of each of the last days."""
    db.create_space("cam", dim=8)
    door = db.user("alice").stream("door", space="cam")
    ends = [end_ns - day * DAY_NS for day in reversed(range(days))]
    door.write_many(
        [clip(seq, start_ns=end - SECOND_NS, end_ns=end) for seq, end in enumerate(ends)]
    )


def left(db: EmbeddedDatabase) -> int:
    return len(db.user("alice").clips(limit=1000))


def swept_daily(db: EmbeddedDatabase, clock: ManualClock, days: int) -> None:
    for _ in range(days):
        clock.advance(DAY_NS)
        db.sweep()


@pytest.mark.parametrize("jump_ns", [TEN_YEARS_NS, -TEN_YEARS_NS])
@pytest.mark.parametrize("swept_before", [True, False])
@pytest.mark.parametrize("written_since", ["nothing", "a value", "clips that are stamped alike"])
def test_a_clock_wrong_at_the_start_takes_nothing(
    folder: Path, clock: ManualClock, jump_ns: int, swept_before: bool, written_since: str
) -> None:
    with opened(folder, clock) as db:
        filled(db, clock.now_ns())
        if swept_before:
            db.user("alice").stream("door").set_retention(LIMIT)
            assert db.sweep().clips == 0
    alike = written_since == "clips that are stamped alike"
    # Where nothing was ever swept, a second life in the wrong time looks like the right one.
    for life in range(1 if alike and not swept_before else 3):
        clock.jump(0 if life else jump_ns)
        with opened(folder, clock) as db:
            user = db.user("alice")
            if written_since == "a value":
                user.put("here", clock.now_ns())
            if alike:
                now_ns = clock.now_ns()
                user.stream("door").write(clip(next_seq(db), start_ns=now_ns - 1, end_ns=now_ns))
            user.stream("door").set_retention(LIMIT)
            there = left(db)
            for _ in range(10):
                assert db.sweep().clips == 0
            assert left(db) == there
        clock.advance(SECOND_NS)


@pytest.mark.parametrize("jump_ns", [TEN_YEARS_NS, -TEN_YEARS_NS])
def test_a_clock_set_wrong_between_sweeps_takes_what_time_takes(
    folder: Path, clock: ManualClock, jump_ns: int
) -> None:
    with opened(folder, clock) as db:
        filled(db, clock.now_ns())
        db.user("alice").stream("door").set_retention(LIMIT)
        db.sweep()
        clock.jump(jump_ns)
        for _ in range(1000):
            assert db.sweep().clips == 0
        swept_daily(db, clock, 7)
        assert left(db) == 20
        clock.jump(-jump_ns)
        assert db.sweep().clips == 0
        # The oldest of the twenty days is 19 days old: thirty are over in 11 + 7.
        swept_daily(db, clock, 11)
        assert left(db) == 20 - 8
        assert db.verify().ok


def test_a_new_user_of_a_wrong_clock_keeps_what_agents_say_is_new(
    folder: Path, clock: ManualClock
) -> None:
    right_ns = clock.now_ns()
    clock.jump(TEN_YEARS_NS)
    with opened(folder, clock) as db:
        filled(db, right_ns)
        db.user("alice").stream("door").set_retention(LIMIT)
        for _ in range(48):
            clock.advance(HOUR_NS)
            assert db.sweep().clips == 0
    # Set right, it goes on as if nothing had been.
    clock.jump(-TEN_YEARS_NS)
    with opened(folder, clock) as db:
        swept_daily(db, clock, 12)
        assert left(db) == 20 - 4


@pytest.mark.parametrize("restarts", [False, True])
def test_a_right_clock_takes_everything_in_time(
    folder: Path, clock: ManualClock, restarts: bool
) -> None:
    with opened(folder, clock) as db:
        filled(db, clock.now_ns())
        db.user("alice").stream("door").set_retention(LIMIT)
        if not restarts:
            swept_daily(db, clock, 30)
            assert left(db) == 0
            return
    for day in range(30):
        clock.advance(DAY_NS)
        with opened(folder, clock) as db:
            db.sweep()
            assert left(db) == min(20, 30 - (day + 1))


def test_a_long_rest_is_made_up_for(folder: Path, clock: ManualClock) -> None:
    with opened(folder, clock) as db:
        filled(db, clock.now_ns())
        db.user("alice").stream("door").set_retention(LIMIT)
        db.sweep()
    # Off for 13 days: 12 short of what may be gone at once, of which a quarter is made up each day.
    clock.advance(13 * DAY_NS)
    with opened(folder, clock) as db:
        db.sweep()
        assert left(db) == 20
        swept_daily(db, clock, 9)
        assert left(db) == 20 - 2  # 1 + 9 + 9/4 days: of 19 and of 18 days, the others not yet
        swept_daily(db, clock, 39)
        assert left(db) == 0
        assert db.verify().ok


def test_a_mark_that_is_ahead_gives_nothing_an_age_and_counts_go_on(
    folder: Path, clock: ManualClock
) -> None:
    with opened(folder, clock) as db:
        filled(db, clock.now_ns())
        door = db.user("alice").stream("door")
        door.set_retention(Retention(max_age_s=1, max_clips=15))
        clock.jump(-TEN_YEARS_NS)
        assert db.sweep().clips == 5
        clock.jump(TEN_YEARS_NS)
        assert db.sweep().clips == 14  # all but the one that ends now


def test_a_machine_that_starts_in_1970_ages_once_it_knows_the_time(
    folder: Path, clock: ManualClock
) -> None:
    with opened(folder, clock) as db:
        filled(db, clock.now_ns())
        db.user("alice").stream("door").set_retention(LIMIT)
    for _ in range(30):
        clock.advance(DAY_NS)
        now_ns = clock.now_ns()
        clock.jump(-now_ns)
        with opened(folder, clock) as db:
            assert db.sweep().clips == 0
            clock.advance(SECOND_NS)
            clock.jump(now_ns)
            db.sweep()
            bob = db.user("bob").stream("door", space="cam")
            bob.write(clip(next_seq(db, "bob"), start_ns=now_ns - 1, end_ns=now_ns))
            bob.set_retention(Retention(max_age_s=86_400))
            clock.advance(2 * HOUR_NS)
            db.sweep()
    with opened(folder, clock) as db:
        assert left(db) == 0
        assert len(db.user("bob").clips()) <= 2


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("pass"), st.integers(0, 5 * DAY_NS)),
        st.tuples(st.just("jump"), st.integers(-2 * TEN_YEARS_NS, 2 * TEN_YEARS_NS)),
        st.tuples(st.just("right"), st.just(0)),
        st.tuples(st.just("sweep"), st.integers(1, 30)),
        st.tuples(st.just("write"), st.just(0)),
        st.tuples(st.just("put"), st.just(0)),
        st.tuples(st.just("restart"), st.integers(0, 5 * DAY_NS)),
        st.tuples(st.just("policy"), st.integers(1, 20)),
    ),
    max_size=40,
)


@given(steps=STEPS)
@settings(max_examples=60, deadline=None)
def test_nothing_goes_before_its_time_whatever_the_wall_clock_does(
    steps: list[tuple[str, int]],
) -> None:
    memory = Path("/dev/shm")
    folder = Path(tempfile.mkdtemp(prefix="memdb-", dir=memory if memory.is_dir() else None))
    clock = ManualClock()
    true_ns = clock.now_ns()
    ends: dict[int, int] = {}
    """Of the clips that are there."""
    policy = LIMIT
    starts, ran_ns = 1, 0

    def checked() -> None:
        # The whole of the promise: so much may be wrong for each start, and a quarter of the time.
        early_ns = starts * DOWNTIME_MAX_NS + ran_ns // MAKING_UP + TOLERANCE_NS
        there = {found.seq for found in db.user("alice").clips(limit=1000)}
        for seq in ends.keys() - there:
            assert policy.max_age_s is not None
            age_ns = true_ns - ends.pop(seq)
            assert age_ns >= policy.max_age_s * 10**9 - early_ns

    try:
        db = EmbeddedDatabase(folder / "data", config=CONFIG, clock=clock)
        db.create_space("cam", dim=8)
        door = db.user("alice").stream("door", space="cam")
        for step, number in (("write", 0), ("policy", 1), *steps):
            if step == "pass":
                clock.advance(number)
                true_ns, ran_ns = true_ns + number, ran_ns + number
            elif step == "jump":
                clock.jump(number)
            elif step == "right":
                clock.jump(true_ns - clock.now_ns())
            elif step == "sweep":
                for _ in range(number):
                    db.sweep()
                checked()
            elif step == "write":
                seq = next_seq(db)
                door.write(clip(seq, start_ns=true_ns - SECOND_NS, end_ns=true_ns))
                ends[seq] = true_ns
            elif step == "put":
                db.user("alice").put("key", number)
            elif step == "restart":
                db.close()
                clock.advance(number)
                true_ns, starts = true_ns + number, starts + 1
                db = EmbeddedDatabase(folder / "data", config=CONFIG, clock=clock)
                door = db.user("alice").stream("door", space="cam")
            elif step == "policy":
                policy = Retention(max_age_s=number * 86_400)
                door.set_retention(policy)
        db.close()
    finally:
        shutil.rmtree(folder)


def next_seq(db: EmbeddedDatabase, user: str = "alice") -> int:
    """One that was never written."""
    return db.user(user).stream("door").ledger().next_seq
