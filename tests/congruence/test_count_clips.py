"""How many clips there are: as many as somebody would count who lists them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from memdb import MemdbError, Not, NotFound, Unavailable
from memdb.types.database import Database, Stream, User
from tests.congruence.media import SECOND_NS, T0_NS, clip

pytestmark = pytest.mark.congruence

HOUR_NS = 3600 * SECOND_NS


def listed(user: User, streams: list[str] | None, **options: Any) -> int:
    names = [None] if streams is None else streams
    return sum(len(user.clips(stream=name, **options)) for name in names)


def test_as_many_as_are_listed(db: Database, user: User, door: Stream) -> None:
    db.create_space("other", dim=6)
    random = np.random.default_rng(5)
    yard = user.stream("yard", space="other")
    yard.create(zone="Asia/Kolkata")
    moments = [user.revision()]
    for seq in range(30):
        zone = {"zone": str(random.choice(["porch", "roof"]))}
        door.write(clip(seq, sealed=False))
        if seq % 3:
            door.write(clip(seq, labels=zone))
        if seq % 4 == 0:
            start_ns = T0_NS + seq * HOUR_NS
            fields: dict[str, Any] = {"start_ns": start_ns, "end_ns": start_ns + SECOND_NS}
            yard.write(clip(seq, np.ones(6, np.float32), labels=zone, **fields))
        moments.append(user.revision())
    filters: list[dict[str, Any]] = [
        {},
        {"start_ns": T0_NS + 20 * SECOND_NS},
        {"end_ns": T0_NS + 20 * SECOND_NS},
        {"start_ns": T0_NS + 20 * SECOND_NS, "end_ns": T0_NS + 5 * HOUR_NS},
        {"labels": {"zone": "porch"}},
        {"labels": {"zone": Not("porch")}, "end_ns": T0_NS + 40 * SECOND_NS},
        {"hours": [("22:00", "06:00")]},
        {"hours": [("22:00", "06:00")], "weekdays": ["wed"], "zone": "UTC"},
        {"labels": {"zone": ["porch", "roof"]}, "weekdays": [1, 2]},
    ]
    for only in filters:
        for moment in (None, *moments[::7]):
            for streams in (None, ["door"], ["yard"], ["yard", "door"]):
                if moment is not None and moment < 2 and streams not in (None, ["yard"]):
                    continue  # there was no such stream then
                wanted = listed(user, streams, as_of=moment, **only)
                assert user.count_clips(streams=streams, as_of=moment, **only) == wanted
    assert user.count_clips() == 38
    # Twice the same stream is one.
    assert user.count_clips(streams=["yard", "yard"]) == 8


def test_what_went_is_not_counted(user: User, door: Stream) -> None:
    with pytest.raises(NotFound, match="USER_NOT_FOUND"):
        user.count_clips()
    door.create()
    assert user.count_clips() == 0 == user.count_clips(streams=["door"])
    acks = door.write_many([clip(seq) for seq in range(5)])
    user.erase_clips([acks[1].clip_id])
    assert user.count_clips() == 4 == user.count_clips(as_of=user.revision())


@pytest.mark.parametrize(
    ("options", "reason", "kind"),
    [
        ({"streams": ["nowhere"]}, "STREAM_NOT_FOUND", NotFound),
        ({"streams": []}, "EMPTY", MemdbError),
        ({"streams": "door"}, "BAD_TYPE", MemdbError),
        ({"start_ns": 5, "end_ns": 4}, "TIME_RANGE", MemdbError),
        ({"labels": {}}, "EMPTY", MemdbError),
        ({"hours": [("1", "2")]}, "BAD_HOURS", MemdbError),
        ({"zone": "UTC"}, "NOT_USED", MemdbError),
        ({"as_of": 99}, "REVISION_NOT_FOUND", NotFound),
        ({"as_of": "then"}, "SNAPSHOT_NOT_FOUND", NotFound),
        ({"min_revision": 99}, "BEHIND", Unavailable),
    ],
)
def test_what_is_wrong_is_refused(
    user: User, door: Stream, options: dict[str, Any], reason: str, kind: type[MemdbError]
) -> None:
    door.write(clip(0))
    with pytest.raises(kind) as refused:
        user.count_clips(**options)
    assert refused.value.reason == reason
