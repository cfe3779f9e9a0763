"""Standing questions about clips with certain labels, and of certain hours: what `ground` would find."""

from __future__ import annotations

from datetime import datetime, time
from typing import Any

import numpy as np
import pytest

from memdb import AlreadyExists, Clip, InvalidArgument, Not
from memdb.types.database import Database, Stream, User
from tests.congruence.media import AXES, SECOND_NS, clip

pytestmark = pytest.mark.congruence


def at(seq: int, text: str, minutes: int = 1, axis: int = 0, **fields: Any) -> Clip:
    """A clip that begins at a time and lasts some minutes."""
    start_ns = int(datetime.fromisoformat(text).timestamp()) * SECOND_NS
    end_ns = start_ns + minutes * 60 * SECOND_NS
    return clip(seq, AXES[axis], start_ns=start_ns, end_ns=end_ns, **fields)


def told(user: User, question_id: str) -> list[int]:
    """Numbers of the clips that a question is told of, by time."""
    ids = {one.id: one.seq for one in user.clips(limit=1000)}
    alerts = [one for one in user.standing.watch(follow=False) if one.question_id == question_id]
    return [ids[alert.clip_id or ""] for alert in alerts]


def found(user: User, **options: Any) -> list[int]:
    """Numbers of the clips that `ground` finds."""
    hits = user.ground(AXES[0], limit=100, min_score=0.9, **options).hits
    return sorted(hit.clip.seq for hit in hits)


def backtested(user: User, **options: Any) -> list[int]:
    """Numbers of the clips that a back-test tells of."""
    ids = {one.id: one.seq for one in user.clips(limit=1000)}
    alerts = user.standing.backtest(AXES[0], min_score=0.9, **options).alerts
    return [ids[alert.clip_id or ""] for alert in alerts]


LABELS: list[dict[str, str]] = [
    {"zone": "porch", "light": "day"},
    {"zone": "porch", "light": "night"},
    {"zone": "drive", "light": "night"},
    {"zone": "porch lamp"},
    {"light": "porch"},
    {},
]


def test_labels_are_those_of_a_question(user: User, door: Stream) -> None:
    door.create()
    filters: list[tuple[Any, list[int]]] = [
        ({"zone": "porch"}, [0, 1]),
        ({"zone": ["drive", "porch lamp", "nowhere"]}, [2, 3]),
        ({"zone": ("drive", "porch"), "light": "night"}, [1, 2]),
        ({"zone": "Porch"}, []),
        ({"zone": Not("porch", "drive")}, [3, 4, 5]),
        ({"zone": Not("porch lamp"), "light": "day"}, [0]),
        (None, [0, 1, 2, 3, 4, 5]),
    ]
    asked = [user.standing.create(AXES[0], min_score=0.9, labels=one) for one, _ in filters]
    door.write_many(clip(seq, AXES[0], labels=labels) for seq, labels in enumerate(LABELS))

    for question, (labels, expected) in zip(asked, filters, strict=True):
        assert told(user, question.id) == expected
        assert found(user, labels=labels) == expected
        assert backtested(user, labels=labels) == expected
    assert asked[0].labels == {"zone": ("porch",)}
    assert asked[2].labels == {"light": ("night",), "zone": ("drive", "porch")}
    assert asked[4].labels == {"zone": Not("drive", "porch")}
    assert asked[6].labels is None
    listed = [(one.id, one.labels, one.min_score) for one in user.standing.list()]
    assert listed == [(one.id, one.labels, 0.9) for one in asked]
    assert user.standing.get(asked[2].id).labels == asked[2].labels


def test_hours_are_those_of_the_camera(db: Database, user: User, door: Stream) -> None:
    """2026-11-27 is a Friday; Berlin is an hour ahead of UTC then, and India five and a half."""
    door.create(zone="Europe/Berlin")
    far = user.stream("far", space="clip")
    far.create(zone="Asia/Kolkata")
    filters: list[tuple[dict[str, Any], list[int]]] = [
        ({"hours": [("22:00", "06:00")]}, [1, 2, 3, 5, 6, 10, 11]),
        ({"hours": [(time(22), time(6))], "weekdays": ["fri"]}, [1, 2, 3, 11]),
        ({"weekdays": [4]}, [0, 1, 2, 6, 11]),
        ({"hours": [("22:00", "00:00")], "zone": "UTC"}, [2, 10]),
        ({"hours": [("22:00", "06:00")], "labels": {"kind": "cat"}}, [3, 5]),
    ]
    asked = [user.standing.create(AXES[0], min_score=0.9, **one) for one, _ in filters]
    night: dict[str, Any] = {"labels": {"kind": "cat"}}
    door.write_many(
        [
            at(0, "2026-11-27T21:58+01:00", **night),  # ends before the night
            at(1, "2026-11-27T21:58+01:00", minutes=3),  # touches it
            at(2, "2026-11-27T23:30+01:00"),
            at(3, "2026-11-28T05:59+01:00", **night),  # Friday night, on Saturday
            at(4, "2026-11-28T06:00+01:00", **night),
            at(5, "2026-11-28T22:30+01:00", **night),  # Saturday night
            at(6, "2026-11-27T03:00+01:00"),  # Thursday night
            at(7, "2026-11-27T23:31+01:00", axis=1),  # something else
        ]
    )
    far.write_many([at(10, "2026-11-28T22:30+00:00"), at(11, "2026-11-27T22:30+05:30")])

    for question, (only, expected) in zip(asked, filters, strict=True):
        assert sorted(told(user, question.id)) == expected
        assert found(user, **only) == expected
        assert sorted(backtested(user, **only)) == expected
    assert asked[1].hours == (("22:00", "06:00"),)
    assert (asked[1].weekdays, asked[1].zone) == ((4,), None)
    assert (asked[3].hours, asked[3].zone) == ((("22:00", "24:00"),), "UTC")
    assert [one.hours for one in user.standing.list()] == [one.hours for one in asked]
    assert db.verify().ok


def test_a_night_when_the_clock_is_turned(user: User, door: Stream) -> None:
    """In Berlin 02:30 is there twice on 2026-10-25, and not at all on 2026-03-29."""
    door.create(zone="Europe/Berlin")
    half = user.standing.create(AXES[0], min_score=0.9, hours=[("02:30", "02:31")])
    door.write_many(
        [
            at(0, "2026-03-29T00:00+00:00", minutes=180),  # 01:00 to 05:00
            at(1, "2026-10-25T00:30+00:00"),
            at(2, "2026-10-25T01:30+00:00"),
            at(3, "2026-10-25T02:30+00:00"),
        ]
    )

    assert told(user, half.id) == [1, 2] == found(user, hours=[("02:30", "02:31")])


def test_a_sequence_is_of_clips_that_it_looks_at(user: User, door: Stream) -> None:
    door.create()
    ask: dict[str, Any] = {
        "min_score": 0.9,
        "kind": "sequence",
        "then_feature": AXES[1],
        "window_s": 8,
    }
    only: dict[str, Any] = {"labels": {"zone": "porch"}}
    question = user.standing.create(AXES[0], **ask, **only)
    porch, drive = {"zone": "porch"}, {"zone": "drive"}
    for seq, (axis, labels) in enumerate(
        [(0, drive), (1, porch), (2, porch), (0, porch), (1, drive), (1, porch), (2, {})]
    ):
        door.write(clip(seq, AXES[axis], labels=labels))

    assert told(user, question.id) == [5]
    (alert,) = user.standing.backtest(AXES[0], **ask, **only).alerts
    ids = {one.id: one.seq for one in user.clips(limit=10)}
    assert (ids[alert.clip_id or ""], ids[alert.earlier_clip_id or ""]) == (5, 3)


def test_a_quiet_time_is_one_of_clips_that_it_looks_at(user: User, door: Stream) -> None:
    door.create()
    quiet = user.standing.create(
        AXES[0], min_score=0.9, window_s=8, labels={"zone": "porch"}, sealed_only=False
    )
    for seq, zone in enumerate(["porch", "drive", "drive", "porch", "porch"]):
        door.write(clip(seq, AXES[0], labels={"zone": zone}))
    # A growing clip is told with the first of its versions that the question looks at.
    door.write(clip(9, AXES[0], sealed=False))
    last = door.write(clip(9, AXES[0], labels={"zone": "porch"}, sealed=False))
    door.write(clip(9, AXES[0], labels={"zone": "porch"}))

    assert told(user, quiet.id) == [0, 3, 9]
    alerts = [one for one in user.standing.watch(follow=False) if one.clip_id == last.clip_id]
    assert [one.revision for one in alerts] == [last.revision]


def test_what_it_does_not_look_at_ends_no_absence(user: User, door: Stream) -> None:
    for seq, zone in enumerate(["porch", "drive", "porch", "drive", "drive", "drive", "porch"]):
        door.write(clip(seq, AXES[0], labels={"zone": zone}))
    ask: dict[str, Any] = {"min_score": 0.9, "kind": "absent", "window_s": 10}

    assert user.standing.backtest(AXES[0], **ask).alerts == ()
    (absent,) = user.standing.backtest(AXES[0], **ask, labels={"zone": "porch"}).alerts

    assert absent.earlier_clip_id == user.clips(limit=10)[2].id


def test_a_relevance_is_that_of_ground(user: User, door: Stream) -> None:
    door.create()
    only: dict[str, Any] = {"labels": {"zone": "porch"}}
    question = user.standing.create(AXES[0], min_relevance=0.05, **only)
    for seq in range(5):
        door.write(clip(seq, AXES[1 + seq % 2]))
    door.write(clip(5, AXES[0]))
    door.write(clip(6, AXES[0], labels={"zone": "porch"}))

    assert told(user, question.id) == [6]
    hits = user.ground(AXES[0], min_relevance=0.05, **only).hits
    assert [hit.clip.seq for hit in hits] == [6]
    assert question.min_relevance == 0.05
    assert user.standing.get(question.id).min_relevance == 0.05
    test = user.standing.backtest(AXES[0], min_relevance=0.05, thresholds=[0.05], **only)
    assert [point.alerts for point in test.curve] == [1]


def test_under_a_name_they_are_part_of_the_question(user: User, door: Stream) -> None:
    door.create()
    ask: dict[str, Any] = {"min_score": 0.5, "name": "mug"}
    only: dict[str, Any] = {"labels": {"zone": ["b", "a"]}, "hours": [("22:00", "06:00")]}
    first = user.standing.create(AXES[0], **ask, **only)

    same: dict[str, Any] = {"labels": {"zone": ("a", "b", "a")}, "hours": [(time(22), "06:00")]}
    assert user.standing.create(AXES[0], **ask, **same).id == first.id
    others: list[dict[str, Any]] = [
        {},
        only | {"labels": {"zone": "a"}},
        only | {"hours": [("22:00", "06:01")]},
        only | {"weekdays": ["mon"]},
        only | {"zone": "UTC"},
    ]
    for other in others:
        with pytest.raises(AlreadyExists):
            user.standing.create(AXES[0], **ask, **other)


@pytest.mark.parametrize(
    ("arguments", "reason", "field"),
    [
        ({"labels": {}}, "EMPTY", "labels"),
        ({"labels": {"zone": []}}, "EMPTY", "labels[zone]"),
        ({"labels": "porch"}, "BAD_TYPE", "labels"),
        ({"labels": {f"{n}": "x" for n in range(65)}}, "TOO_LARGE", "labels"),
        (
            {"labels": {"zone": [f"{n:04}" + "x" * 1020 for n in range(16)]}},
            "TOO_LARGE",
            "labels",
        ),
        ({"hours": []}, "EMPTY", "hours"),
        ({"hours": [("22:00", "22:00")]}, "BAD_HOURS", "hours[0]"),
        ({"weekdays": ["friday"]}, "BAD_WEEKDAY", "weekdays[0]"),
        ({"hours": [("22:00", "06:00")], "zone": "Nowhere"}, "BAD_ZONE", "zone"),
        ({"zone": "UTC"}, "NOT_USED", "zone"),
    ],
)
@pytest.mark.parametrize("call", ["create", "backtest"])
def test_what_makes_no_sense_is_refused(
    user: User, door: Stream, call: str, arguments: dict[str, Any], reason: str, field: str
) -> None:
    door.create()
    with pytest.raises(InvalidArgument) as refused:
        getattr(user.standing, call)(np.ones(4, np.float32), min_score=0.5, **arguments)
    assert (refused.value.reason, refused.value.field) == (reason, field)
    assert user.standing.list() == []
