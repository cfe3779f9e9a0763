"""Standing questions: the same answers over every transport."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from memdb import (
    Alert,
    AlreadyExists,
    FailedPrecondition,
    InvalidArgument,
    MemdbError,
    NotFound,
    StandingQuestion,
)
from memdb.types.database import Database, Stream, User
from tests.congruence.media import AXES, SECOND_NS, T0_NS, clip, vector

pytestmark = pytest.mark.congruence


def told(user: User, cursor: str | None = None) -> list[Alert]:
    """All that there is to tell after a cursor."""
    return list(user.standing.watch(cursor=cursor, follow=False))


def same(one: StandingQuestion, other: StandingQuestion) -> bool:
    """Whether two values say the same."""
    return repr(one) == repr(other) and np.array_equal(one.feature, other.feature)


def test_a_score_is_kept_to_the_bit(user: User, door: Stream) -> None:
    """Of a zero its sign as well."""
    door.write(clip(0))
    made = user.standing.create(AXES[0], min_score=-0.0)
    assert str(made.min_score) == "-0.0"
    assert same(user.standing.get(made.id), made)


def test_it_is_kept_until_it_is_removed(db: Database, user: User, door: Stream) -> None:
    door.write(clip(0))
    first = user.standing.create(AXES[0], min_score=0.5, text="the mug", window_s=2.5)
    second = user.standing.create(
        AXES[0].astype(np.float16),
        min_score=0.25,
        kind="sequence",
        then_feature=AXES[1],
        window_s=60,
        streams=["door"],
        sealed_only=False,
    )

    assert (first.kind, first.text, first.window_s, first.streams) == ("seen", "the mug", 2.5, None)
    assert (first.user, first.space, first.min_score) == ("alice", "clip", 0.5)
    assert first.sealed_only
    assert (second.streams, second.window_s, second.sealed_only) == (("door",), 60.0, False)
    assert second.feature.dtype == np.float16
    assert second.then_feature is not None
    listed = user.standing.list()
    assert [same(*pair) for pair in zip(listed, (first, second), strict=True)] == [True, True]
    assert same(user.standing.get(second.id), second)

    user.standing.remove(first.id)

    assert [one.id for one in user.standing.list()] == [second.id]
    for call in (user.standing.get, user.standing.remove):
        with pytest.raises(NotFound) as caught:
            call(first.id)
        assert caught.value.reason == "STANDING_NOT_FOUND"
    kinds = [change.kind for change in user.watch(from_revision=2, follow=False)]
    assert kinds == ["standing", "remove-standing"]
    assert db.verify().ok


def test_it_tells_of_clips_that_come(user: User, door: Stream) -> None:
    door.write(clip(0))
    question = user.standing.create(AXES[0], min_score=0.9)
    for seq in range(1, 9):
        door.write(clip(seq))

    alerts = told(user)

    assert [alert.start_ns for alert in alerts] == [T0_NS + seq * 4 * SECOND_NS for seq in (4, 8)]
    first = alerts[0]
    found = user.clip(first.clip_id or "")
    assert (first.question_id, first.kind, first.stream) == (question.id, "seen", "door")
    assert (first.start_ns, first.end_ns) == (found.start_ns, found.end_ns)
    assert (first.happened_ns, first.revision) == (found.start_ns, found.revision)
    assert first.score == pytest.approx(1.0)
    assert first.earlier_clip_id is None
    assert told(user) == alerts
    assert told(user, first.cursor) == alerts[1:]
    assert told(user, alerts[1].cursor) == []


def test_it_asks_the_streams_that_it_names(user: User, door: Stream) -> None:
    yard = user.stream("yard", space="clip")
    yard.create()
    door.create()
    named = user.standing.create(AXES[0], min_score=0.9, streams=["yard"])
    anywhere = user.standing.create(AXES[0], min_score=0.9)
    door.write(clip(0))
    yard.write(clip(0))

    found = [(alert.question_id, alert.stream) for alert in told(user)]

    assert found == [(anywhere.id, "door"), (named.id, "yard"), (anywhere.id, "yard")]


def test_a_growing_clip_is_told_once(user: User, door: Stream) -> None:
    door.create()
    sealed = user.standing.create(AXES[0], min_score=0.9)
    growing = user.standing.create(AXES[0], min_score=0.9, sealed_only=False)
    door.write(clip(0, AXES[1], sealed=False))
    for length in (5, 6):
        end_ns = T0_NS + length * SECOND_NS
        door.write(clip(0, AXES[0], sealed=False, end_ns=end_ns))
    last = door.write(clip(0, AXES[0], end_ns=T0_NS + 7 * SECOND_NS))

    alerts = told(user)

    assert [(alert.question_id, alert.revision) for alert in alerts] == [
        (growing.id, last.revision - 2),
        (sealed.id, last.revision),
    ]


def test_a_sequence_is_told_once_in_whatever_order_it_comes(user: User, door: Stream) -> None:
    yard = user.stream("yard", space="clip")
    yard.create()
    door.create()
    question = user.standing.create(
        AXES[0], min_score=0.9, kind="sequence", then_feature=AXES[1], window_s=10
    )
    door.write(clip(1))  # what follows comes first
    door.write(clip(5))  # too late after what is to come
    earlier = yard.write(clip(0))
    yard.write(clip(1, AXES[0]))  # not before it, and the sequence is told already

    (alert,) = told(user)

    assert (alert.question_id, alert.stream) == (question.id, "door")
    assert alert.earlier_clip_id == earlier.clip_id
    assert (alert.happened_ns, alert.revision) == (T0_NS + 4 * SECOND_NS, earlier.revision)


def test_a_quiet_time_makes_one_of_many(user: User, door: Stream) -> None:
    door.create()
    user.standing.create(AXES[0], min_score=0.9, window_s=8)
    for seq, axis in enumerate((0, 0, 1, 0, 1, 1, 0)):
        door.write(clip(seq, AXES[axis]))

    starts = [alert.start_ns for alert in told(user)]

    assert starts == [T0_NS, T0_NS + 24 * SECOND_NS]


def test_what_does_not_happen_is_told(user: User, door: Stream) -> None:
    now_ns = time.time_ns()
    door.write(clip(0, AXES[1], start_ns=now_ns - SECOND_NS, end_ns=now_ns))
    question = user.standing.create(AXES[0], min_score=0.9, kind="absent", window_s=0.3)
    before = told(user)
    assert before == [] or time.time_ns() >= question.armed_ns + 300_000_000

    watched = user.standing.watch()
    alert = next(watched)
    watched.close()  # type: ignore[attr-defined] # a generator

    assert (alert.question_id, alert.kind, alert.clip_id) == (question.id, "absent", None)
    assert alert.happened_ns == question.armed_ns + 300_000_000
    # The clock has gone on, and nothing else.
    assert [replace(one, cursor="") for one in told(user)] == [replace(alert, cursor="")]
    assert told(user, alert.cursor) == []
    start_ns = time.time_ns()
    again = door.write(clip(1, AXES[0], start_ns=start_ns, end_ns=start_ns + 1))
    time.sleep(0.5)
    (second,) = told(user, alert.cursor)
    assert second.earlier_clip_id == again.clip_id
    assert second.happened_ns == start_ns + 1 + 300_000_000
    assert second.id != alert.id


def test_a_watch_hears_what_comes(user: User, door: Stream) -> None:
    door.create()
    user.standing.create(AXES[0], min_score=0.9)
    seen: list[int | None] = []

    def watch() -> None:
        alerts = user.standing.watch()
        for alert in alerts:
            seen.append(alert.start_ns)
            if len(seen) == 3:
                break
        alerts.close()  # type: ignore[attr-defined] # a generator

    watcher = threading.Thread(target=watch)
    watcher.start()
    for seq in range(9):
        time.sleep(0.01)
        door.write(clip(seq))
    watcher.join(10)

    assert not watcher.is_alive()
    assert seen == [T0_NS + seq * 4 * SECOND_NS for seq in (0, 4, 8)]


def test_what_is_erased_is_told_no_more(user: User, door: Stream) -> None:
    yard = user.stream("yard", space="clip")
    yard.create()
    door.create()
    anywhere = user.standing.create(AXES[0], min_score=0.9)
    only = user.standing.create(AXES[0], min_score=0.9, streams=["yard"])
    both = user.standing.create(AXES[0], min_score=0.9, streams=["yard", "door"])
    gone = door.write(clip(0))
    door.write(clip(4))
    yard.write(clip(0))

    user.erase_clips([gone.clip_id])
    yard.erase()

    assert {alert.question_id for alert in told(user)} == {anywhere.id, both.id}
    assert [alert.start_ns for alert in told(user)] == [T0_NS + 16 * SECOND_NS] * 2
    assert [(one.id, one.streams) for one in user.standing.list()] == [
        (anywhere.id, None),
        (both.id, ("door",)),
    ]
    with pytest.raises(NotFound):
        user.standing.get(only.id)


@pytest.mark.parametrize(
    ("arguments", "reason", "field"),
    [
        ({"kind": "maybe"}, "BAD_KIND", "kind"),
        ({"kind": "sequence", "window_s": 1}, "THEN_REQUIRED", "then_feature"),
        ({"then_feature": AXES[1]}, "NOT_OF_KIND", "then_feature"),
        ({"kind": "absent"}, "WINDOW_REQUIRED", "window_s"),
        ({"window_s": 0}, "OUT_OF_RANGE", "window_s"),
        ({"window_s": float("nan")}, "OUT_OF_RANGE", "window_s"),
        ({"window_s": 1e30}, "OUT_OF_RANGE", "window_s"),
        ({"min_score": float("nan")}, "OUT_OF_RANGE", "min_score"),
        ({"min_score": 1.01, "space": "clip"}, "OUT_OF_RANGE", "min_score"),
        ({"min_score": 5, "streams": ["door"]}, "OUT_OF_RANGE", "min_score"),
        ({"streams": []}, "EMPTY", "streams"),
        ({"streams": ["nowhere"]}, "STREAM_NOT_FOUND", "streams"),
        ({"streams": ["ear"]}, "DIM_MISMATCH", "question_feature"),
        ({"streams": ["ear"], "space": "clip"}, "SPACE_MISMATCH", "space"),
        ({}, "SPACE_REQUIRED", "space"),
        ({"space": "nowhere"}, "SPACE_NOT_FOUND", "space"),
        ({"space": "clip", "question_feature": np.zeros(4, np.float32)}, "ZERO_VECTOR", None),
        ({"space": "clip", "question_feature": np.ones(3, np.float32)}, "DIM_MISMATCH", None),
        ({"space": "clip", "question_feature": np.full(4, np.nan)}, "BAD_DTYPE", None),
        ({"space": "clip", "sealed_only": "yes"}, "BAD_TYPE", "sealed_only"),
    ],
)
@pytest.mark.parametrize("call", ["create", "backtest"])
def test_what_makes_no_sense_is_refused(
    db: Database,
    user: User,
    door: Stream,
    call: str,
    arguments: dict[str, Any],
    reason: str,
    field: str | None,
) -> None:
    db.create_space("sound", dim=3)
    door.write(clip(0))
    user.stream("ear", space="sound").create()
    before = user.revision()
    given: dict[str, Any] = {"question_feature": AXES[0], "min_score": 0.5, **arguments}

    with pytest.raises(MemdbError) as caught:
        getattr(user.standing, call)(given.pop("question_feature"), **given)

    assert caught.value.reason == reason
    assert field is None or caught.value.field == field
    assert isinstance(caught.value, (InvalidArgument, NotFound, FailedPrecondition))
    assert user.revision() == before


def test_a_cursor_is_of_one_user(db: Database, user: User, door: Stream) -> None:
    door.create()
    user.standing.create(AXES[0], min_score=0.9)
    door.write(clip(0))
    (alert,) = told(user)
    other = db.user("bob")
    other.put("a", 1)

    for who, cursor in ((other, alert.cursor), (user, "00"), (user, "no"), (user, "zz" * 48)):
        with pytest.raises(InvalidArgument) as caught:
            told(who, cursor)
        assert (caught.value.reason, caught.value.field) == ("BAD_CURSOR", "cursor")
    with pytest.raises(InvalidArgument):
        told(user, "")


def test_a_user_that_never_wrote_has_none(db: Database) -> None:
    nobody = db.user("nobody")
    for call in (
        nobody.standing.list,
        lambda: told(nobody),
        lambda: nobody.standing.get("0" * 32),
        lambda: nobody.standing.remove("0" * 32),
        lambda: nobody.standing.create(AXES[0], min_score=0.5),
        lambda: nobody.standing.backtest(AXES[0], min_score=0.5),
    ):
        with pytest.raises(NotFound) as caught:
            call()
        assert caught.value.reason == "USER_NOT_FOUND"
    assert db.users() == []


def test_it_may_come_before_the_first_stream(db: Database, user: User, door: Stream) -> None:
    question = user.standing.create(AXES[0], min_score=0.9, space="clip")
    door.write(clip(0))

    assert [alert.question_id for alert in told(user)] == [question.id]
    assert db.verify().ok


def test_it_may_ask_for_a_relevance(db: Database, user: User, door: Stream) -> None:
    door.create()
    question = user.standing.create(AXES[0], min_relevance=0.05)
    assert (question.min_score, question.min_relevance) == (None, 0.05)
    assert same(user.standing.get(question.id), question)
    for seq in range(5):
        door.write(clip(seq, AXES[1 + seq % 2]))
    door.write(clip(5, AXES[0]))

    alerts = told(user)

    relevances = [
        next(
            hit.relevance or 0.0
            for hit in user.ground(AXES[0], as_of=one.revision, limit=10).hits
            if hit.clip.id == one.id
        )
        for one in user.clips(limit=10)
    ]
    assert 0.05 <= relevances[5] < 0.9
    relevant = [
        one.id for one, has in zip(user.clips(limit=10), relevances, strict=True) if has >= 0.05
    ]
    assert [alert.clip_id for alert in alerts] == relevant
    test = user.standing.backtest(AXES[0], min_relevance=0.05, thresholds=[0.05, 0.999])
    assert [(p.threshold, p.alerts) for p in test.curve] == [(0.05, len(relevant)), (0.999, 0)]
    assert [one.clip_id for one in test.alerts] == relevant
    assert len(user.standing.backtest(AXES[0], min_relevance=0.05).curve) == 21


@pytest.mark.parametrize(
    ("bars", "reason", "field"),
    [
        ({}, "BAR_REQUIRED", "min_score"),
        ({"min_score": 0.5, "min_relevance": 0.5}, "TWO_BARS", "min_relevance"),
        ({"min_relevance": 0.0}, "OUT_OF_RANGE", "min_relevance"),
        ({"min_relevance": 1.0}, "OUT_OF_RANGE", "min_relevance"),
        ({"min_relevance": float("nan")}, "OUT_OF_RANGE", "min_relevance"),
        ({"min_relevance": "much"}, "OUT_OF_RANGE", "min_relevance"),
        ({"min_score": 0.5, "name": ""}, "BAD_ID", "name"),
        ({"min_score": 0.5, "name": 7}, "BAD_ID", "name"),
    ],
)
def test_a_bar_or_a_name_that_is_none_is_refused(
    db: Database, user: User, door: Stream, bars: dict[str, Any], reason: str, field: str
) -> None:
    door.create()
    with pytest.raises(InvalidArgument) as refused:
        user.standing.create(AXES[0], **bars)
    assert (refused.value.reason, refused.value.field) == (reason, field)
    if "name" not in bars:
        with pytest.raises(InvalidArgument) as refused:
            user.standing.backtest(AXES[0], **bars)
        assert (refused.value.reason, refused.value.field) == (reason, field)
    assert user.standing.list() == []


def test_a_score_is_refused_that_nothing_can_have(db: Database, user: User, door: Stream) -> None:
    """Where scores are cosines; 1 itself, and what rounding makes of it, may be asked for."""
    door.create()
    same = vector(*np.random.default_rng(0).standard_normal(4))
    question = user.standing.create(same, min_score=0.99)
    door.write(clip(0, 3 * same))
    (alert,) = told(user)
    assert alert.score == pytest.approx(1)
    for least in (1, alert.score, float(np.nextafter(np.float32(1), np.float32(2))), -7):
        assert user.standing.create(same, min_score=least).min_score == least
        assert user.standing.backtest(same, min_score=least).clips == 1
    for call in (user.standing.create, user.standing.backtest):
        with pytest.raises(InvalidArgument) as refused:
            call(same, min_score=1.5)
        assert (refused.value.reason, refused.value.value) == ("OUT_OF_RANGE", "1.5")
    # A back-test counts at any threshold: one beyond says that there is nothing.
    test = user.standing.backtest(same, min_score=0.99, thresholds=[2])
    assert [point.alerts for point in test.curve] == [0]
    db.create_space("dot", dim=4, metric="dot")
    user.stream("ear", space="dot").create()
    loud = user.standing.create(same, min_score=1.5, space="dot")
    user.stream("ear", space="dot").write(clip(0, 9 * same))
    found = [one.question_id for one in told(user) if one.stream == "ear"]
    assert found == [loud.id]
    assert question.id not in found


def test_under_a_name_it_is_asked_once(db: Database, user: User, door: Stream) -> None:
    door.create()
    ask: dict[str, Any] = {"min_score": 0.5, "window_s": 2.5, "text": "the mug"}
    first = user.standing.create(AXES[0], **ask, name="mug")
    revision = user.revision()

    assert same(user.standing.create(AXES[0], **ask, name="mug"), first)
    assert user.revision() == revision
    assert first.name == "mug"
    assert [one.name for one in user.standing.list()] == ["mug"]
    assert user.standing.get(first.id).name == "mug"
    changes = ({"min_score": 0.6}, {"window_s": None}, {"text": ""}, {"streams": ["door"]})
    for change in changes:
        with pytest.raises(AlreadyExists) as refused:
            user.standing.create(AXES[0], **(ask | change), name="mug")
        assert (refused.value.reason, refused.value.field) == ("NAME_TAKEN", "name")
        assert refused.value.value == "mug"
    for feature in (AXES[1], AXES[0].astype(np.float16)):
        with pytest.raises(AlreadyExists):
            user.standing.create(feature, **ask, name="mug")
    assert [one.id for one in user.standing.list()] == [first.id]

    other = user.standing.create(AXES[0], **ask, name="another-mug")
    unnamed = user.standing.create(AXES[0], **ask)
    assert len({first.id, other.id, unnamed.id}) == 3
    assert [one.name for one in user.standing.list()] == ["mug", "another-mug", None]
    user.standing.remove(first.id)
    again = user.standing.create(AXES[1], min_relevance=0.5, name="mug")
    assert again.id not in (first.id, other.id, unnamed.id)
