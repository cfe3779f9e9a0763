"""The memory as it stood: revisions, times, snapshots."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from memdb import NotFound
from memdb.types.database import Stream, User
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
