"""Questions about hours of the day and days of the week, by the clock of each stream."""

from __future__ import annotations

from datetime import datetime, time
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from memdb import FailedPrecondition, InvalidArgument
from memdb.types.clip import Clip
from memdb.types.database import Stream, User
from memdb.types.grounding import Grounding
from tests.congruence.media import SECOND_NS, vector

pytestmark = pytest.mark.congruence

QUESTION = vector(1)


def at(seq: int, text: str, minutes: int = 1, cosine: float = 0.5) -> Clip:
    """A clip that begins at a time and lasts some minutes."""
    start_ns = int(datetime.fromisoformat(text).timestamp()) * SECOND_NS
    memory = vector(cosine, float(np.sqrt(1 - cosine * cosine)))
    return Clip(
        seq=seq, start_ns=start_ns, end_ns=start_ns + minutes * 60 * SECOND_NS, global_memory=memory
    )


def numbers(grounding: Grounding) -> list[int]:
    return sorted(hit.clip.seq for hit in grounding.hits)


def test_a_night_in_the_zone_of_its_camera(user: User, door: Stream) -> None:
    """2026-11-27 is a Friday; Berlin is an hour ahead of UTC then."""
    assert door.create(zone="Europe/Berlin").zone == "Europe/Berlin"
    door.write_many(
        [
            at(0, "2026-11-27T21:58+01:00"),  # ends before the night
            at(1, "2026-11-27T21:58+01:00", minutes=3),  # touches it
            at(2, "2026-11-27T23:30+01:00"),
            at(3, "2026-11-28T05:59+01:00"),  # Friday night, on Saturday
            at(4, "2026-11-28T06:00+01:00"),
            at(5, "2026-11-28T22:30+01:00"),  # Saturday night
            at(6, "2026-11-27T03:00+01:00"),  # Thursday night
        ]
    )

    night = user.ground(QUESTION, limit=9, hours=[("22:00", "06:00")])
    friday_night = user.ground(QUESTION, limit=9, hours=[(time(22), time(6))], weekdays=["fri"])
    friday = user.ground(QUESTION, limit=9, weekdays=[4])
    by_utc = user.ground(QUESTION, limit=9, hours=[("22:00", "00:00")], zone="UTC")
    two = user.ground(QUESTION, limit=9, hours=[("05:59", "06:00"), ("22:30", "24:00")])

    assert numbers(night) == [1, 2, 3, 5, 6]
    assert numbers(friday_night) == [1, 2, 3]
    assert numbers(friday) == [0, 1, 2, 6]
    assert numbers(by_utc) == [2]
    assert numbers(two) == [2, 3, 5]


def test_the_filter_acts_before_the_search(user: User, door: Stream) -> None:
    """The clip of the night is found behind any number of better ones by day."""
    door.write_many([at(seq, f"2026-11-27T12:{seq:02}+00:00", cosine=0.9) for seq in range(60)])
    door.write(at(60, "2026-11-28T02:00+00:00", cosine=-0.3))

    found = user.ground(QUESTION, limit=1, hours=[("22:00", "06:00")], with_coverage=True)

    assert numbers(found) == [60]
    assert [(part.stream, part.clips) for part in found.coverage] == [("door", 1)]
    none = user.ground(QUESTION, hours=[("22:00", "06:00")], weekdays=["sun"])
    assert (none.hits, none.abstained, none.coverage[0].clips) == ((), True, 0)


def test_each_stream_has_its_own_clock(user: User, door: Stream) -> None:
    door.create(zone="America/New_York")
    far = user.stream("far", space="clip")
    far.create(zone="Asia/Tokyo")
    for stream in (door, far):
        stream.write_many([at(0, "2026-06-01T12:30+00:00"), at(1, "2026-06-01T23:30+00:00")])

    morning = user.ground(QUESTION, hours=[("08:00", "09:00")])

    assert {(hit.clip.stream, hit.clip.seq) for hit in morning.hits} == {("door", 0), ("far", 1)}
    assert {info.name: info.zone for info in user.streams()} == {
        "door": "America/New_York",
        "far": "Asia/Tokyo",
    }


def test_hours_that_the_clock_shows_twice_and_never(user: User, door: Stream) -> None:
    door.create(zone="Europe/Berlin")
    door.write_many(
        [
            at(0, "2026-10-25T00:30+00:00"),  # 02:30, in summer time
            at(1, "2026-10-25T01:30+00:00"),  # 02:30 again
            at(2, "2026-10-25T02:30+00:00"),  # 03:30
            at(3, "2026-03-29T00:30+00:00"),  # 01:30
            at(4, "2026-03-29T01:00+00:00"),  # 03:00: between them the clock was put forward
            at(5, "2026-03-29T00:30+00:00", minutes=60),  # 01:30 to 03:30, and never 02:30
        ]
    )

    assert numbers(user.ground(QUESTION, hours=[("02:30", "02:31")])) == [0, 1]
    assert numbers(user.ground(QUESTION, hours=[("03:00", "03:01")])) == [4, 5]


def test_a_calendar_as_of_a_revision(user: User, door: Stream) -> None:
    door.create(zone="Asia/Kolkata")
    door.write(at(0, "2026-11-27T20:00+05:30"))
    before = user.ground(QUESTION, hours=[("20:00", "21:00")], with_coverage=True)
    door.write(at(1, "2026-11-27T20:10+05:30", cosine=0.9))

    def asked() -> Grounding:
        return user.ground(
            QUESTION, hours=[("20:00", "21:00")], as_of=before.revision, with_coverage=True
        )

    assert numbers(before) == [0]
    assert (numbers(asked()), asked().coverage) == ([0], before.coverage)
    assert numbers(user.ground(QUESTION, hours=[("20:00", "21:00")])) == [0, 1]


def test_a_stream_keeps_its_zone(user: User, door: Stream) -> None:
    created = door.create(zone="Europe/Paris")

    assert (created.zone, door.create(), door.create(zone="Europe/Paris")) == (
        "Europe/Paris",
        created,
        created,
    )
    with pytest.raises(FailedPrecondition) as caught:
        door.create(zone="UTC")
    assert (caught.value.reason, caught.value.field) == ("ZONE_MISMATCH", "zone")

    plain = user.stream("plain", space="clip")
    plain.write(at(0, "2026-11-27T20:00+00:00"))
    assert plain.create().zone == "UTC"


def test_a_zone_that_is_no_name_is_told_what_its_name_is(user: User, door: Stream) -> None:
    zone: Any = ZoneInfo("Europe/Berlin")
    for use in (
        lambda: user.stream("yard", space="clip").create(zone=zone),
        lambda: user.clips(hours=[("22:00", "06:00")], zone=zone),
    ):
        with pytest.raises(InvalidArgument, match=r"\.key") as refused:
            use()
        assert (refused.value.reason, refused.value.field) == ("BAD_ZONE", "zone")
        assert refused.value.value == "Europe/Berlin"
