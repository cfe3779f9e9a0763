"""Filters at their edges and the published selection rules at their thresholds."""

from __future__ import annotations

import numpy as np
import pytest

from memdb import DeadlineExceeded
from memdb.deadline import Deadline
from memdb.engine.database import EmbeddedDatabase
from memdb.engine.user import EmbeddedUser
from memdb.index import calendar_rows
from memdb.index.partition import PartitionView
from memdb.types.arrays import Array
from memdb.types.calendar import Calendar
from memdb.types.wall_clock import touches
from tests.unit.engine.conftest import DIM, SECOND_NS, clip


def at_cosine(cosine: float) -> Array:
    """A vector with this cosine to `QUESTION`."""
    made = np.zeros(DIM, np.float32)
    made[0], made[1] = cosine, np.sqrt(1 - cosine**2)
    return made


QUESTION = at_cosine(1.0)


def written(db: EmbeddedDatabase, *cosines: float) -> EmbeddedUser:
    """Clips 0, 1, 2, ... of these cosines, in order of time."""
    user = db.user("alice")
    user.stream("door", space="cam").write_many(
        [clip(seq, global_memory=at_cosine(cosine)) for seq, cosine in enumerate(cosines)]
    )
    return user


def seqs(user: EmbeddedUser, **options: object) -> list[int]:
    return [hit.clip.seq for hit in user.ground(QUESTION, **options).hits]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("start_s", "end_s", "wanted"),
    [
        (10, 20, [1]),
        (10, 21, [1, 2]),
        (9, 20, [0, 1]),
        (11, 12, [1]),
        (None, 10, [0]),
        (30, None, [3]),
        (40, None, []),
        (None, 0, []),
    ],
)
def test_a_range_admits_what_overlaps_it(
    db: EmbeddedDatabase, start_s: int | None, end_s: int | None, wanted: list[int]
) -> None:
    user = written(db, 0.9, 0.8, 0.7, 0.6)
    options = {
        "start_ns": None if start_s is None else start_s * SECOND_NS,
        "end_ns": None if end_s is None else end_s * SECOND_NS,
    }
    assert seqs(user, **options) == wanted
    assert [found.seq for found in user.clips(**options)] == wanted  # type: ignore[arg-type]


def test_a_clip_of_no_length_is_within_a_range_as_a_point(db: EmbeddedDatabase) -> None:
    user = db.user("alice")
    user.stream("door", space="cam").write(clip(0, start_ns=5, end_ns=5))
    inside = {(5, 6): True, (4, 5): False, (0, 6): True, (6, 9): False}
    for (start_ns, end_ns), found in inside.items():
        assert bool(user.clips(start_ns=start_ns, end_ns=end_ns)) is found


@pytest.mark.parametrize(
    ("policy", "cosines", "wanted"),
    [
        ("top", (0.2, 0.9, 0.5), [1, 2, 0]),
        ("ixc-live", (0.29, 0.31, 0.9), [1]),
        ("ixc-live", (0.26, 0.29), []),
        ("ixc-gradio", (0.24, 0.26, 0.9), [1]),
        ("ixc-gradio", (0.1, 0.24), []),
        ("ixc-offline", (0.9, 0.1, 0.88, 0.2), [0, 2]),
        ("ixc-offline", (0.5, 0.5, 0.5, 0.5, 0.5, 0.5), []),
        ("ixc-offline", (0.9, 0.775, 0.5), [0, 1]),
        ("ixc-offline", (0.9, 0.755, 0.5), [0]),
        ("ixc-train", (0.1, 0.9, 0.2, 0.8, 0.7, 0.05), [1, 2, 3, 4]),
        ("ixc-train", (0.9, 0.1), [0, 1]),
    ],
)
def test_the_rules(
    db: EmbeddedDatabase, policy: str, cosines: tuple[float, ...], wanted: list[int]
) -> None:
    user = written(db, *cosines)
    assert seqs(user, policy=policy, limit=10) == wanted


def test_a_filter_acts_before_the_rule(db: EmbeddedDatabase) -> None:
    """The best of the admitted, not the admitted of the best."""
    user = written(db, 0.9, 0.8, 0.7, 0.6, 0.5)
    assert seqs(user, limit=2, start_ns=30 * SECOND_NS) == [3, 4]
    # A softmax over all would leave the last two with less than the share.
    assert seqs(user, policy="ixc-offline", start_ns=30 * SECOND_NS) == [3, 4]


def test_the_fallback_gives_the_newest_admitted_and_says_so(db: EmbeddedDatabase) -> None:
    user = written(db, 0.2, 0.1)
    user.stream("door").write(clip(2, global_memory=at_cosine(0.0), sealed=False))
    answer = user.ground(QUESTION, min_score=0.5, fallback="recent")
    assert ([hit.clip.seq for hit in answer.hits], answer.fallback) == ([2], "recent")
    earlier = user.ground(QUESTION, min_score=0.5, fallback="recent", end_ns=20 * SECOND_NS)
    assert [hit.clip.seq for hit in earlier.hits] == [1]
    nothing = user.ground(QUESTION, min_score=0.5, fallback="recent", start_ns=10**15)
    assert (nothing.hits, nothing.fallback) == ((), "none")
    passed = user.ground(QUESTION, min_score=0.15, fallback="recent")
    assert ([hit.clip.seq for hit in passed.hits], passed.fallback) == ([0], "none")


def test_equal_scores_are_told_in_the_order_of_writing(db: EmbeddedDatabase) -> None:
    assert seqs(written(db, 0.5, 0.5, 0.9, 0.5), limit=3) == [2, 0, 1]


@pytest.mark.parametrize("scale", [1e-30, 1e-6, 1.0, 1e6, 1e30])
def test_a_cosine_does_not_depend_on_length(db: EmbeddedDatabase, scale: float) -> None:
    user = db.user("alice")
    made = (at_cosine(0.6) * np.float32(scale)).astype(np.float32)
    user.stream("door", space="cam").write(clip(0, global_memory=made))
    (hit,) = user.ground((QUESTION * np.float32(scale)).astype(np.float32)).hits
    assert hit.score == pytest.approx(0.6, abs=1e-5)
    assert np.linalg.norm(user.long_term().tokens[0]) == pytest.approx(1.0, abs=1e-5)
    assert db.verify().ok


def test_a_least_score_is_not_rounded(db: EmbeddedDatabase) -> None:
    user = written(db, 0.9, 0.7, 0.3)
    for hit in user.ground(QUESTION).hits:
        assert hit.clip.seq in seqs(user, min_score=hit.score)
        assert hit.clip.seq not in seqs(user, min_score=float(np.nextafter(hit.score, 2)))
    assert seqs(user, min_score=1e300) == []


@pytest.mark.parametrize("fallback", ["none", "recent"])
def test_that_nothing_reaches_a_least_score_is_said_of_all_clips(
    db: EmbeddedDatabase, monkeypatch: pytest.MonkeyPatch, fallback: str
) -> None:
    """An approximate search may miss the only clip that does."""
    user = written(db, 0.7, 0.9, 0.3)

    def missing_the_best(
        view: PartitionView, query: Array, limit: int, allowed: Array | None
    ) -> tuple[Array, Array]:
        rows, scores = view.search(query, limit + 1, allowed)
        return rows[1:], scores[1:]

    monkeypatch.setattr(PartitionView, "near", missing_the_best)
    answer = user.ground(QUESTION, min_score=0.8, fallback=fallback)
    assert [hit.clip.seq for hit in answer.hits] == [1]
    assert (answer.approximate, answer.abstained, answer.fallback) == (False, False, "none")
    nothing = user.ground(QUESTION, min_score=0.95)
    assert (nothing.hits, nothing.approximate, nothing.abstained) == ((), False, True)
    some = user.ground(QUESTION, min_score=0.6)
    assert ([hit.clip.seq for hit in some.hits], some.approximate) == ([0], True)


def test_the_newest_is_scored_as_a_search_scores_it(db: EmbeddedDatabase) -> None:
    rng = np.random.default_rng(5)
    db.create_space("wide", dim=771)
    user = db.user("bob")
    door = user.stream("door", space="wide")
    for seq in range(20):
        memory, question = rng.standard_normal((2, 771)).astype(np.float32)
        door.write(clip(seq, global_memory=memory))
        start_ns = seq * 10 * SECOND_NS
        (found,) = user.ground(question, limit=1, start_ns=start_ns).hits
        fallen = user.ground(question, limit=1, min_score=2, fallback="recent")
        assert fallen.fallback == "recent"
        assert (fallen.hits[0].score, fallen.hits[0].relevance) == (found.score, found.relevance)


def test_hours_of_many_zones_are_left_when_the_caller_leaves(
    db: EmbeddedDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    user = db.user("alice")
    for place, zone in enumerate(("Europe/Berlin", "Asia/Tokyo", "UTC")):
        stream = user.stream(f"camera-{place}", space="cam")
        stream.create(zone=zone)
        stream.write(clip(0))
    deadline = Deadline()
    looked: list[str] = []

    def touched(calendar: Calendar, zone: str, start_ns: Array, end_ns: Array) -> Array:
        looked.append(zone)
        deadline.leave()
        return touches(calendar, zone, start_ns, end_ns)

    monkeypatch.setattr(calendar_rows, "touches", touched)
    with pytest.raises(DeadlineExceeded):
        deadline.within(user.ground, QUESTION, weekdays=[0])
    assert len(looked) == 1
