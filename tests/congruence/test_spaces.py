"""Spaces, users and streams."""

from __future__ import annotations

import pytest

from memdb import AlreadyExists, FailedPrecondition, InvalidArgument, NotFound, Space, StreamInfo
from memdb.types.database import Database, Stream, User
from tests.congruence.media import clip

pytestmark = pytest.mark.congruence


def test_a_space_is_created_once_and_found(db: Database) -> None:
    space = db.create_space("text", dim=3, metric="dot", model="bundled:minilm@0123")

    assert space == Space("text", 3, "dot", "bundled:minilm@0123")
    assert db.create_space("text", dim=3, metric="dot", model="bundled:minilm@0123") == space
    assert db.space("text") == space
    assert [space.name for space in db.spaces()] == ["clip", "text"]


def test_another_definition_is_refused(db: Database) -> None:
    with pytest.raises(AlreadyExists) as caught:
        db.create_space("clip", dim=5)
    assert caught.value.reason == "SPACE_EXISTS"


def test_an_unknown_space_is_not_found(db: Database) -> None:
    with pytest.raises(NotFound) as caught:
        db.space("nope")
    assert (caught.value.reason, caught.value.value) == ("SPACE_NOT_FOUND", "nope")


def test_a_user_begins_with_its_first_write(db: Database, user: User, door: Stream) -> None:
    assert user.id == "alice"
    assert db.users() == []
    with pytest.raises(NotFound) as caught:
        user.revision()
    assert caught.value.reason == "USER_NOT_FOUND"

    ack = door.write(clip(0))

    assert db.users() == ["alice"]
    assert user.revision() == ack.revision


def test_streams_are_listed_by_name(user: User, door: Stream) -> None:
    assert door.name == "door"
    created = door.create()
    assert created == door.create()
    porch = user.stream("a-porch", space="clip").create()

    assert created == StreamInfo("door", "clip", created.revision, created.id)
    assert user.streams() == [porch, created]


def test_a_stream_stays_in_its_space(db: Database, user: User, door: Stream) -> None:
    door.create()
    db.create_space("other", dim=4)

    with pytest.raises(FailedPrecondition) as caught:
        user.stream("door", space="other").create()
    assert caught.value.reason == "SPACE_MISMATCH"
    with pytest.raises(FailedPrecondition) as written:
        user.stream("door", space="other").write(clip(0))
    assert (written.value.reason, written.value.field) == ("SPACE_MISMATCH", "space")


def test_a_new_stream_needs_a_space(user: User) -> None:
    with pytest.raises(InvalidArgument) as caught:
        user.stream("door").create()
    assert caught.value.reason == "SPACE_REQUIRED"


def test_a_text_space_is_configured(db: Database, user: User) -> None:
    text = db.create_space("text", dim=3)
    user.configure(text_space="text")

    assert user.text_space() == text
    user.put("diet", None)
    assert user.text_space() == text


def test_another_text_space_is_refused_once_there_is_one(db: Database, user: User) -> None:
    text = db.create_space("text", dim=3)
    db.create_space("other", dim=3)
    user.configure(text_space="text")
    user.configure(text_space="text")

    with pytest.raises(FailedPrecondition) as caught:
        user.configure(text_space="other")

    refused = caught.value
    assert (refused.reason, refused.field, refused.value) == (
        "TEXT_SPACE_SET",
        "text_space",
        "other",
    )
    assert user.text_space() == text


def test_without_a_text_space_there_is_none(user: User, door: Stream) -> None:
    door.create()
    assert user.text_space() is None


def test_verify_finds_a_healthy_database(db: Database, door: Stream) -> None:
    door.write_many([clip(seq) for seq in range(3)])

    found = db.verify()

    assert found.ok
    assert (found.users, found.clips) == (1, 3)
