"""The memory as it stood: revisions, times, snapshots."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from memdb import FailedPrecondition, InvalidArgument, MemdbError, NotFound
from memdb.types.database import Database, Stream, User
from memdb.types.grounding import AsOf
from tests.congruence.media import clip, vector

pytestmark = pytest.mark.congruence

QUESTION = vector(1)


def test_a_revision_gives_its_answer_again(user: User, door: Stream) -> None:
    first = door.write(clip(0, vector(1, 1)))
    then = user.ground(QUESTION)
    door.write(clip(1, vector(1)))
    user.stream("porch", space="clip").write(clip(0, vector(1)))

    again = user.ground(QUESTION, as_of=first.revision)

    assert [(h.clip.id, h.score) for h in again.hits] == [(h.clip.id, h.score) for h in then.hits]
    assert again.revision == first.revision
    assert [c.seq for c in user.clips(as_of=first.revision)] == [0]
    assert user.ground(QUESTION).revision == user.revision()


def test_a_snapshot_names_a_revision(user: User, door: Stream) -> None:
    door.write(clip(0))
    snapshot = user.snapshot("speech-42", ttl_s=60)
    door.write(clip(1))

    assert snapshot.revision < user.revision()
    assert snapshot.expires_ns - snapshot.created_ns == 60 * 10**9
    assert user.snapshots() == [snapshot]
    for moment in (snapshot, "speech-42", snapshot.revision):
        assert [c.seq for c in user.clips(as_of=moment)] == [0]

    moved = user.snapshot("speech-42", ttl_s=60)
    assert moved.revision > snapshot.revision
    assert [c.seq for c in user.clips(as_of="speech-42")] == [0, 1]
    user.release("speech-42")
    assert user.snapshots() == []
    with pytest.raises(NotFound) as caught:
        user.clips(as_of="speech-42")
    assert (caught.value.reason, caught.value.field) == ("SNAPSHOT_NOT_FOUND", "as_of")


def test_a_time_names_the_newest_commit_before_it(user: User, door: Stream) -> None:
    door.write(clip(0))
    later = datetime.now(UTC)

    assert len(user.ground(QUESTION, as_of=later).hits) == 1
    assert user.clips(as_of=datetime(2001, 1, 1, tzinfo=UTC)) == []


def test_a_time_to_come_is_refused(user: User, door: Stream) -> None:
    door.write(clip(0))
    with pytest.raises(NotFound) as caught:
        user.clips(as_of=datetime.now(UTC) + timedelta(hours=1))
    assert (caught.value.reason, caught.value.field) == ("REVISION_NOT_FOUND", "as_of")


def test_values_and_facts_are_read_as_of_too(user: User) -> None:
    first = user.put("diet", {"eats": ["fish"]})
    second = user.put("diet", None)
    fact = user.remember("Alice eats fish", key="diet")
    user.remember("Alice eats nothing", key="diet")

    assert user.get("diet", "unset", as_of=first) == {"eats": ["fish"]}
    assert user.get("diet", "unset", as_of=second) is None
    assert [f.text for f in user.facts(as_of=fact.revision)] == ["Alice eats fish"]
    assert [f.text for f in user.facts()] == ["Alice eats nothing"]


def test_a_revision_to_come_is_not_found(user: User, door: Stream) -> None:
    door.write(clip(0))
    with pytest.raises(NotFound) as caught:
        user.ground(QUESTION, as_of=user.revision() + 1)
    assert (caught.value.reason, caught.value.field) == ("REVISION_NOT_FOUND", "as_of")


def test_an_unknown_snapshot_cannot_be_released(user: User, door: Stream) -> None:
    door.write(clip(0))
    with pytest.raises(NotFound) as caught:
        user.release("nope")
    assert (caught.value.reason, caught.value.value) == ("SNAPSHOT_NOT_FOUND", "nope")


MOMENTS: list[tuple[str, Callable[[User, AsOf], object]]] = [
    ("ground", lambda user, as_of: user.ground(QUESTION, as_of=as_of)),
    ("ground.cursor", lambda user, as_of: user.ground(QUESTION, cursor="", as_of=as_of)),
    ("ground_many", lambda user, as_of: user.ground_many(QUESTION[np.newaxis], as_of=as_of)),
    ("ground_stream", lambda user, as_of: list(user.ground_stream([QUESTION], as_of=as_of))),
    ("clips", lambda user, as_of: user.clips(as_of=as_of)),
    ("clip", lambda user, as_of: user.clip(user.clips()[0].id, as_of=as_of)),
    ("get_clips", lambda user, as_of: user.get_clips([], as_of=as_of)),
    ("short_memory", lambda user, as_of: user.short_memory([], as_of=as_of)),
    ("fact", lambda user, as_of: user.fact(key="mug", as_of=as_of)),
    ("recall", lambda user, as_of: user.recall("cat", as_of=as_of)),
    ("facts", lambda user, as_of: user.facts(as_of=as_of)),
    ("get", lambda user, as_of: user.get("diet", as_of=as_of)),
    ("long_term", lambda user, as_of: user.long_term(as_of=as_of)),
    ("gaps", lambda user, as_of: user.stream("door").gaps(as_of=as_of)),
    ("backtest", lambda user, as_of: user.standing.backtest(QUESTION, min_score=0.5, as_of=as_of)),
]
"""Everything that a moment can be named for."""


def _refused(user: User, as_of: AsOf) -> set[tuple[type[MemdbError], str, str | None, str | None]]:
    told = set()
    for name, asked in MOMENTS:
        try:
            asked(user, as_of)
        except MemdbError as error:
            told.add((type(error), error.reason, error.field, error.value))
        else:
            pytest.fail(f"{name} answers as of {as_of}")
    return told


def _lived(user: User) -> None:
    user.stream("door", space="clip").write(clip(0))
    user.put("diet", "fish")
    user.remember("blue", key="mug")


def test_a_snapshot_of_another_user_is_not_known(db: Database, user: User) -> None:
    bob = db.user("bob")
    _lived(user)
    _lived(bob)
    others = bob.snapshot("speech", ttl_s=60)
    assert (others.user, user.id) == ("bob", "alice")

    # Nor where the user has one of that name.
    for _ in range(2):
        assert _refused(user, others) == {(NotFound, "SNAPSHOT_NOT_FOUND", "as_of", "speech")}
        user.snapshot("speech", ttl_s=60)
    for _, asked in MOMENTS:
        asked(bob, others)


def test_a_snapshot_is_refused_as_its_name_is(user: User) -> None:
    _lived(user)
    kept, brief = user.snapshot("kept", ttl_s=60), user.snapshot("brief", ttl_s=0.001)
    time.sleep(0.01)
    for moment in (brief, "brief"):
        assert _refused(user, moment) == {
            (FailedPrecondition, "SNAPSHOT_EXPIRED", "as_of", "brief")
        }
    user.release("kept")
    for moment in (kept, "kept"):
        assert _refused(user, moment) == {(NotFound, "SNAPSHOT_NOT_FOUND", "as_of", "kept")}


def test_a_snapshot_whose_name_was_moved_stands_for_its_own_moment(
    user: User, door: Stream
) -> None:
    door.write(clip(0))
    first = user.snapshot("speech", ttl_s=60)
    door.write(clip(1))
    second = user.snapshot("speech", ttl_s=60)
    door.write(clip(2))

    assert [c.seq for c in user.clips(as_of=first)] == [0]
    assert [c.seq for c in user.clips(as_of=second)] == [0, 1]
    told = [change.snapshot for change in user.watch(follow=False) if change.snapshot]
    assert told == [first, second]
    user.release("speech")
    for moment in (first, second):
        with pytest.raises(NotFound) as caught:
            user.clips(as_of=moment)
        assert caught.value.reason == "SNAPSHOT_NOT_FOUND"


def test_a_snapshot_that_cannot_be_one_is_refused(user: User, door: Stream) -> None:
    door.write(clip(0))
    taken = user.snapshot("speech", ttl_s=60)
    for wrong in (
        replace(taken, user=""), replace(taken, name=""), replace(taken, expires_ns=2**80),
        replace(taken, created_ns=1.5),  # type: ignore[arg-type]
    ):  # fmt: skip
        with pytest.raises(InvalidArgument) as caught:
            user.clips(as_of=wrong)
        assert caught.value.field == "as_of"


def test_a_stream_that_came_later_is_told_apart_from_none(db: Database, user: User) -> None:
    user.put("diet", 1)
    user.stream("door", space="clip").write(clip(0))

    told = []
    for name, moment in (("door", 1), ("nope", None)):
        with pytest.raises(NotFound) as caught:
            user.ground(vector(1), streams=[name], as_of=moment)
        told.append((caught.value.reason, caught.value.message))

    assert told == [
        ("STREAM_NOT_FOUND", "the stream was not there at that moment"),
        ("STREAM_NOT_FOUND", "no such stream"),
    ]
