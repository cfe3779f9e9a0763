"""Users and gaps in pages, by the caller and by the client where there are more than an answer holds; clips by
hours and weekdays.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from memdb import FailedPrecondition, Gap, InvalidArgument, MemdbError, NotFound
from memdb.types.database import Database, Stream, User
from tests.congruence.media import clip, vector

pytestmark = pytest.mark.congruence

HOUR_NS = 3600 * 1_000_000_000


def paged_users(db: Database, limit: int) -> list[str]:
    found: list[str] = []
    after = None
    while page := db.users(limit=limit, after=after):
        assert len(page) <= limit
        found += page
        after = page[-1]
    return found


def paged_gaps(stream: Stream, limit: int, **options: Any) -> list[Gap]:
    found: list[Gap] = []
    after = None
    while page := stream.gaps(limit=limit, after=after, **options):
        assert len(page) <= limit
        found += page
        after = page[-1]
    return found


@pytest.mark.parametrize("page_users", [2, 7, 10_000])
def test_pages_of_users(db: Database, monkeypatch: pytest.MonkeyPatch, page_users: int) -> None:
    monkeypatch.setattr("memdb.server.user_service.PAGE_USERS", page_users)
    names = [f"user-{number}" for number in range(7)]
    for name in reversed(names):
        db.user(name).put("x", 1)
    assert db.users() == names
    assert paged_users(db, 1) == paged_users(db, 3) == paged_users(db, 1000) == names
    first = db.users(limit=3)
    db.user("user-2").erase()  # the one that ended the page
    db.user("user-25").put("x", 1)
    db.user("user-0a").put("x", 1)  # before it
    assert db.users(after=first[-1]) == ["user-25", *names[3:]]
    assert db.users(after="zzz") == []
    assert db.users(limit=5, after="user-25") == names[3:]


@pytest.mark.parametrize("page_gaps", [1, 3, 10_000])
def test_pages_of_gaps(
    user: User, door: Stream, monkeypatch: pytest.MonkeyPatch, page_gaps: int
) -> None:
    monkeypatch.setattr("memdb.server.clip_service.PAGE_GAPS", page_gaps)
    door.write_many([clip(seq) for seq in (0, 3, 6, 9)])
    door.write_many([clip(seq, epoch=2) for seq in (1, 4)])
    moment = user.revision()
    whole = door.gaps()
    assert [(g.epoch, g.first_seq, g.last_seq) for g in whole] == [
        *((0, 1, 2), (0, 4, 5), (0, 7, 8)),
        *((2, 0, 0), (2, 2, 3)),
    ]
    assert paged_gaps(door, 1) == paged_gaps(door, 2) == paged_gaps(door, 1000) == whole
    assert paged_gaps(door, 1, end_ns=clip(5).start_ns) == door.gaps(end_ns=clip(5).start_ns)

    door.write_many([clip(4), clip(8)])
    assert paged_gaps(door, 2, as_of=moment) == whole
    assert door.gaps(after=whole[0], as_of=moment) == whole[1:]
    assert [(g.first_seq, g.last_seq) for g in door.gaps(after=whole[0], limit=2)] == [
        *((5, 5), (7, 7))
    ]
    assert door.gaps(after=whole[-1]) == []


@pytest.mark.parametrize(
    ("call", "error", "reason", "field"),
    [
        (lambda db, door: db.users(limit=0), InvalidArgument, "OUT_OF_RANGE", "limit"),
        (lambda db, door: db.users(limit=1001), InvalidArgument, "OUT_OF_RANGE", "limit"),
        (lambda db, door: db.users(after=""), InvalidArgument, "BAD_ID", "after"),
        (lambda db, door: db.users(after="../x"), InvalidArgument, "BAD_ID", "after"),
        (lambda db, door: door.gaps(limit=0), InvalidArgument, "OUT_OF_RANGE", "limit"),
        (lambda db, door: door.gaps(limit=1001), InvalidArgument, "OUT_OF_RANGE", "limit"),
        (lambda db, door: door.gaps(after=3), InvalidArgument, "BAD_TYPE", "after"),
        (
            lambda db, door: door.gaps(after=replace(door.gaps()[0], first_seq=-1)),
            InvalidArgument,
            "OUT_OF_RANGE",
            "after.first_seq",
        ),
        (
            lambda db, door: door.gaps(after=replace(door.gaps()[0], epoch="x")),
            InvalidArgument,
            "OUT_OF_RANGE",
            "after.epoch",
        ),
        (
            lambda db, door: door.gaps(limit=1, as_of=10**6),
            NotFound,
            "REVISION_NOT_FOUND",
            "as_of",
        ),
    ],
    ids=[
        *("users: limit 0", "users: limit 1001", "users: after nothing", "users: after no id"),
        *("gaps: limit 0", "gaps: limit 1001", "gaps: after a number", "gaps: after seq -1"),
        *("gaps: after epoch x", "gaps: revision to come"),
    ],
)
def test_bad_pages(
    db: Database,
    door: Stream,
    call: Callable[[Any, Any], object],
    error: type[MemdbError],
    reason: str,
    field: str,
) -> None:
    door.write_many([clip(0), clip(2)])
    with pytest.raises(error) as caught:
        call(db, door)
    assert (caught.value.reason, caught.value.field) == (reason, field)


def test_clips_of_some_hours(user: User) -> None:
    """By the clock of each stream, as a question."""
    start_ns = 1_767_225_600 * 1_000_000_000  # Thursday, 2026-01-01, 00:00 in UTC
    for name, zone in (("door", "UTC"), ("yard", "Asia/Kathmandu")):
        stream = user.stream(name, space="clip")
        stream.create(zone=zone)
        stream.write_many(
            [
                clip(
                    n,
                    start_ns=start_ns + n * 3 * HOUR_NS,
                    end_ns=start_ns + n * 3 * HOUR_NS + HOUR_NS // 4,
                )
                for n in range(16)
            ]
        )
    moment = user.revision()
    options: dict[str, Any] = {"hours": [("05:30", "09:30")], "weekdays": ["thu"]}
    listed = user.clips(**options)
    found = user.ground(vector(1, 1, 1, 1), limit=1000, **options)
    assert {c.id for c in listed} == {hit.clip.id for hit in found.hits}
    assert [(c.stream, c.seq) for c in listed] == [
        *(("yard", 0), ("yard", 1), ("door", 2), ("door", 3)),
    ]
    assert [c.seq for c in user.clips(stream="yard", zone="UTC", **options)] == [2, 3]
    # In pages, and as of a moment.
    user.stream("door").write(
        clip(16, start_ns=start_ns + 7 * HOUR_NS, end_ns=start_ns + 7 * HOUR_NS)
    )
    first = user.clips(limit=3, as_of=moment, **options)
    rest = user.clips(limit=3, as_of=moment, after=first[-1].cursor, **options)
    assert [c.id for c in (*first, *rest)] == [c.id for c in listed]
    assert len(user.clips(**options)) == len(listed) + 1


@pytest.mark.parametrize(
    ("options", "reason", "field"),
    [
        ({"hours": [("25:00", "26:00")]}, "BAD_HOURS", "hours[0]"),
        ({"hours": []}, "EMPTY", "hours"),
        ({"weekdays": [7]}, "BAD_WEEKDAY", "weekdays[0]"),
        ({"weekdays": [1] * 10**5}, "TOO_LARGE", "weekdays"),
        ({"hours": [("01:00", "02:00")], "zone": "Nowhere"}, "BAD_ZONE", "zone"),
        ({"zone": "UTC"}, "NOT_USED", "zone"),
    ],
)
def test_bad_hours(
    user: User, door: Stream, options: dict[str, Any], reason: str, field: str
) -> None:
    door.write(clip(0))
    with pytest.raises((InvalidArgument, FailedPrecondition)) as caught:
        user.clips(**options)
    assert (caught.value.reason, caught.value.field) == (reason, field)


def test_the_last_clips_first(user: User, door: Stream) -> None:
    door.write_many([clip(n) for n in (3, 0, 1, 2)])
    yard = user.stream("yard", space="clip")
    yard.write_many([clip(n) for n in range(3)])
    moment = user.revision()
    listed = user.clips()
    assert [c.id for c in user.clips(newest_first=True)] == [c.id for c in listed[::-1]]
    # In pages, whatever comes or goes meanwhile.
    pages = [user.clips(newest_first=True, limit=2)]
    yard.write(clip(9))
    while len(pages[-1]) == 2:
        after = pages[-1][-1].cursor if len(pages) % 2 else pages[-1][-1].id
        pages.append(user.clips(newest_first=True, limit=2, after=after))
    assert [c.id for page in pages for c in page] == [c.id for c in listed[::-1]]
    assert [c.seq for c in user.clips(stream="door", newest_first=True, limit=1)] == [3]
    assert user.clips(newest_first=True, limit=1)[0].seq == 9
    past = user.clips(newest_first=True, as_of=moment)
    assert [c.id for c in past] == [c.id for c in listed[::-1]]
    with pytest.raises(InvalidArgument) as caught:
        user.clips(newest_first=1)  # type: ignore[arg-type]
    assert (caught.value.reason, caught.value.field) == ("BAD_TYPE", "newest_first")
