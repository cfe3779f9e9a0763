"""Hits in pages: together the whole answer as of the first page, whatever is written meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from memdb import FailedPrecondition, InvalidArgument, MemdbError, NotFound, SoundEvent, Utterance
from memdb.types.database import Stream, User
from tests.congruence.conftest import opened
from tests.congruence.media import T0_NS, clip, vector

pytestmark = pytest.mark.congruence

QUESTION = vector(1, 0.2)
TOKENS = np.array([[1, 0, 0, 0], [0, 1, 0, 0]], np.float32)


def memory_of(seq: int) -> Any:
    """Several clips have the same score to the last bit."""
    angle = (seq % 7) * 0.3
    return vector(np.cos(angle), np.sin(angle), 0.1)


def seen(seq: int, **fields: Any) -> Any:
    start_ns = T0_NS + seq * 4_000_000_000
    short = np.full((2, 4), 0.1, np.float16)
    short[0, seq % 4] = 1
    given: dict[str, Any] = {
        "transcript": (Utterance(start_ns, start_ns + 1, "the mug " * (1 + seq % 3)),),
        "events": (SoundEvent(start_ns, start_ns + 1, "door", 0.5),) if seq % 2 else (),
        "short_memory": short if seq % 5 else None,
        **fields,
    }
    return clip(seq, memory_of(seq), **given)


def filled(door: Stream, clips: int = 23) -> None:
    door.write_many([seen(seq) for seq in range(clips)])


def told(hit: Any) -> Any:
    return (
        *(hit.clip.id, hit.clip.revision, hit.score, hit.relevance, hit.spans),
        *(hit.token_weights, hit.arms),
    )


def paged(
    user: User, feature: Any, limit: int, between: Callable[[], object] = int, **options: Any
) -> tuple[list[Any], int]:
    """All hits by pages, with what ``between`` does before each but the first, and as of when."""
    hits: list[Any] = []
    cursor: str | None = ""
    revisions = set()
    while cursor is not None:
        page = user.ground(feature, limit=limit, cursor=cursor, **options)
        assert len(page.hits) == limit or (page.next_cursor is None and len(page.hits) <= limit)
        hits += page.hits
        revisions.add(page.revision)
        cursor = page.next_cursor
        between()
    (revision,) = revisions
    return hits, revision


KINDS: dict[str, dict[str, Any]] = {
    "feature": {},
    "min score": {"min_score": 0.5},
    "relevance": {"min_relevance": 0.0},
    "time": {"start_ns": T0_NS + 20_000_000_000, "end_ns": T0_NS + 60_000_000_000},
    "words": {"text": "mug door", "explain": True},
    "re-ranked": {"question_tokens": TOKENS, "rerank": 9},
    "tokens": {"feature": None, "policy": "tokens", "question_tokens": TOKENS},
    "explained": {"explain": True, "with_coverage": True},
}


@pytest.mark.parametrize("kind", KINDS)
def test_pages_are_the_whole_whatever_is_written_meanwhile(
    user: User, door: Stream, kind: str
) -> None:
    filled(door)
    options = dict(KINDS[kind])
    feature = options.pop("feature", QUESTION)
    whole = user.ground(feature, limit=1000, **options)
    assert whole.next_cursor is None
    assert len(whole.hits) > 4
    written = iter(range(23, 10_000))

    def write() -> None:
        door.write(seen(next(written)))

    for limit in (3, len(whole.hits), 1000):
        hits, moment = paged(user, feature, limit, write, **options)
        then = user.ground(feature, limit=1000, as_of=moment, **options)
        assert [told(hit) for hit in hits] == [told(hit) for hit in then.hits], limit
        hits, moment = paged(user, feature, limit, write, as_of=whole.revision, **options)
        assert [told(hit) for hit in hits] == [told(hit) for hit in whole.hits], limit
        assert moment == whole.revision


def test_before_the_first_commit_a_page_has_nothing(user: User, door: Stream) -> None:
    filled(door, 9)
    for as_of in (0, datetime(2001, 1, 1, tzinfo=UTC)):
        whole = user.ground(QUESTION, as_of=as_of)
        page = user.ground(QUESTION, as_of=as_of, cursor="")
        assert (page.hits, page.revision, page.next_cursor) == ((), 0, None)
        assert page == whole


def test_a_page_is_as_of_the_first(user: User, door: Stream) -> None:
    filled(door, 9)
    first = user.ground(QUESTION, limit=4, cursor="")
    whole = user.ground(QUESTION, limit=1000)
    door.write(seen(9))  # of the best score there is

    second = user.ground(QUESTION, limit=100, cursor=first.next_cursor)

    assert second.revision == first.revision == whole.revision
    assert second.next_cursor is None
    assert [told(h) for h in (*first.hits, *second.hits)] == [told(h) for h in whole.hits]
    assert user.ground(QUESTION, limit=4).next_cursor is None  # who asks for no page is given none


def test_no_hits_are_one_page(user: User, door: Stream) -> None:
    filled(door, 3)
    page = user.ground(QUESTION, min_score=2.0, cursor="", fallback="recent")
    assert (page.abstained, page.fallback, len(page.hits)) == (True, "recent", 1)
    assert page.next_cursor is None
    whole = user.ground(QUESTION, limit=3, cursor="")
    assert (len(whole.hits), whole.next_cursor) == (3, None)


def test_what_is_erased_is_missing_and_moves_no_other(user: User, door: Stream) -> None:
    filled(door, 20)
    whole = [hit.clip.id for hit in user.ground(QUESTION, limit=1000).hits]
    first = user.ground(QUESTION, limit=8, cursor="")

    user.erase_clips([whole[0], whole[7], whole[10]])  # 7 ended the page

    second = user.ground(QUESTION, limit=100, cursor=first.next_cursor)
    assert [hit.clip.id for hit in second.hits] == [*whole[8:10], *whole[11:]]


@pytest.mark.parametrize("kind", ["words", "re-ranked", "tokens"])
def test_an_order_that_lost_its_place_is_told(user: User, door: Stream, kind: str) -> None:
    filled(door, 20)
    options = dict(KINDS[kind])
    feature = options.pop("feature", QUESTION)
    first = user.ground(feature, limit=4, cursor="", **options)
    user.erase_clips([first.hits[-1].clip.id])
    with pytest.raises(FailedPrecondition) as caught:
        user.ground(feature, limit=4, cursor=first.next_cursor, **options)
    assert (caught.value.reason, caught.value.field) == ("CURSOR_GONE", "cursor")


def test_a_cursor_outlives_a_restart(transport: str, tmp_path: Path) -> None:
    directory = tmp_path / "data"
    with opened(transport, directory) as db:
        db.create_space("clip", dim=4)
        filled(db.user("alice").stream("door", space="clip"))
        whole = db.user("alice").ground(QUESTION, limit=1000)
        first = db.user("alice").ground(QUESTION, limit=5, cursor="")
    with opened(transport, directory) as db:
        user = db.user("alice")
        user.stream("door").write(seen(23))
        rest = user.ground(QUESTION, limit=1000, cursor=first.next_cursor)
        assert [told(h) for h in (*first.hits, *rest.hits)] == [told(h) for h in whole.hits]


def test_a_snapshot_holds_its_pages(user: User, door: Stream) -> None:
    filled(door, 9)
    snapshot = user.snapshot("then", ttl_s=60)
    door.write(seen(9))
    first = user.ground(QUESTION, limit=4, cursor="", as_of="then")
    assert first.revision == snapshot.revision
    again = user.ground(QUESTION, limit=4, cursor=first.next_cursor, as_of=snapshot)
    assert [told(h) for h in again.hits] == [
        told(h) for h in user.ground(QUESTION, limit=4, cursor=first.next_cursor).hits
    ]


@pytest.mark.parametrize(
    ("change", "error", "reason", "field"),
    [
        ({"cursor": "00" * 64}, InvalidArgument, "BAD_CURSOR", "cursor"),
        ({"cursor": "ü"}, InvalidArgument, "BAD_CURSOR", "cursor"),
        ({"cursor": "0" * 300}, InvalidArgument, "TOO_LARGE", "cursor"),
        ({"cursor": 5}, InvalidArgument, "BAD_TEXT", "cursor"),
        ({"feature": vector(1, 0.3)}, InvalidArgument, "OTHER_QUESTION", "cursor"),
        ({"min_score": 0.1}, InvalidArgument, "OTHER_QUESTION", "cursor"),
        ({"streams": ["door"]}, InvalidArgument, "OTHER_QUESTION", "cursor"),
        ({"hours": [("01:00", "02:00")]}, InvalidArgument, "OTHER_QUESTION", "cursor"),
        ({"text": "mug"}, InvalidArgument, "OTHER_QUESTION", "cursor"),
        ({"as_of": 1}, InvalidArgument, "OTHER_MOMENT", "cursor"),
        ({"as_of": 10**6}, NotFound, "REVISION_NOT_FOUND", "as_of"),
        ({"policy": "ixc-live"}, InvalidArgument, "BAD_POLICY", "policy"),
        ({"limit": 0}, InvalidArgument, "OUT_OF_RANGE", "limit"),
        ({"limit": 1001}, InvalidArgument, "OUT_OF_RANGE", "limit"),
    ],
)
def test_bad_pages(
    user: User,
    door: Stream,
    change: dict[str, Any],
    error: type[MemdbError],
    reason: str,
    field: str,
) -> None:
    for seq in range(5):
        door.write(seen(seq))
    first = user.ground(QUESTION, limit=2, cursor="")
    options: dict[str, Any] = {"cursor": first.next_cursor, "limit": 2, **change}
    feature = options.pop("feature", QUESTION)
    with pytest.raises(error) as caught:
        user.ground(feature, **options)
    assert (caught.value.reason, caught.value.field) == (reason, field)


def test_a_cursor_is_of_one_user(db: Any, user: User, door: Stream) -> None:
    filled(door, 5)
    bob = db.user("bob")
    filled(bob.stream("door", space="clip"), 5)
    theirs = bob.ground(QUESTION, limit=2, cursor="").next_cursor
    with pytest.raises(InvalidArgument) as caught:
        user.ground(QUESTION, limit=2, cursor=theirs)
    assert caught.value.reason == "BAD_CURSOR"


def test_questions_together_have_no_pages(user: User, door: Stream) -> None:
    filled(door, 5)
    with pytest.raises(TypeError):
        user.ground_many(np.stack([QUESTION]), cursor="")  # type: ignore[call-arg]
