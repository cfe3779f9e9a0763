"""One fact, by its id or by its key, now or as of a moment."""

from __future__ import annotations

from typing import Any

import pytest

from memdb import InvalidArgument, MemdbError, NotFound
from memdb.types.database import Database, Stream, User
from tests.congruence.media import T0_NS, clip

pytestmark = pytest.mark.congruence


def test_by_its_id_and_by_its_key(user: User, door: Stream) -> None:
    ack = door.write(clip(0))
    mug = user.remember(
        "blue", key="mug", about=["mug", "café"], evidence=[ack.clip_id], valid_to=T0_NS + 5,
        valid_from=T0_NS,
    )  # fmt: skip
    plain = user.remember("no key")
    cafe = user.remember("shut", key="café 1")
    # One that has ended in the world is a fact of the memory all the same.
    assert user.fact(key="mug") == user.fact(mug.id) == mug
    assert user.fact(plain.id) == plain
    assert user.fact(key="café 1") == cafe
    assert user.facts() == [user.fact(one.id) for one in (mug, plain, cafe)]


def test_as_of_a_moment_it_is_the_version_of_then(user: User) -> None:
    first = user.remember("blue", key="mug")
    user.snapshot("then", ttl_s=600)
    second = user.remember("red", key="mug")
    third = user.revise(first.id, text="green")
    assert user.fact(key="mug") == user.fact(first.id) == third
    for moment in ("then", first.revision):
        assert user.fact(key="mug", as_of=moment) == user.fact(first.id, as_of=moment)
        assert user.fact(key="mug", as_of=moment) == first
        assert [user.fact(key="mug", as_of=moment)] == user.facts(as_of=moment)
    assert user.fact(first.id, as_of=second.revision).text == "red"
    with pytest.raises(NotFound) as caught:
        user.fact(key="mug", as_of=0)
    assert (caught.value.reason, caught.value.field) == ("FACT_NOT_FOUND", "key")


def test_a_forgotten_fact_leaves_its_key_to_the_next(user: User) -> None:
    first = user.remember("blue", key="mug")
    user.forget(first.id)
    for named in ({"key": "mug"}, {"fact_id": first.id}):
        for as_of in (None, first.revision):
            with pytest.raises(NotFound) as caught:
                user.fact(**named, as_of=as_of)
            ((field, value),) = named.items()
            error = caught.value
            assert (error.reason, error.field, error.value) == ("FACT_NOT_FOUND", field, value)
    again = user.remember("red", key="mug")
    assert user.fact(key="mug") == again
    assert again.id != first.id
    with pytest.raises(NotFound):
        user.fact(key="mug", as_of=first.revision)


def test_what_is_of_others_is_not_there(db: Database, user: User) -> None:
    theirs = db.user("bob").remember("theirs", key="mug")
    with pytest.raises(NotFound, match="USER_NOT_FOUND"):
        user.fact(key="mug")
    user.remember("mine", key="cup")
    for named in ({"key": "mug"}, {"fact_id": theirs.id}, {"fact_id": "mug"}):
        with pytest.raises(NotFound, match="FACT_NOT_FOUND"):
            user.fact(**named)


@pytest.mark.parametrize(
    ("options", "reason", "field", "kind"),
    [
        ({}, "EMPTY", "fact_id", InvalidArgument),
        ({"fact_id": "0" * 32, "key": "mug"}, "AMBIGUOUS", "key", InvalidArgument),
        ({"fact_id": ""}, "EMPTY", "fact_id", InvalidArgument),
        ({"fact_id": 5}, "BAD_TEXT", "fact_id", InvalidArgument),
        ({"key": ""}, "EMPTY", "key", InvalidArgument),
        ({"key": 5}, "BAD_TEXT", "key", InvalidArgument),
        ({"key": "k" * 257}, "TOO_LARGE", "key", InvalidArgument),
        ({"key": "mug", "as_of": 99}, "REVISION_NOT_FOUND", "as_of", NotFound),
        ({"key": "mug", "as_of": "never"}, "SNAPSHOT_NOT_FOUND", "as_of", NotFound),
    ],
)
def test_what_is_wrong_is_refused(
    user: User, options: dict[str, Any], reason: str, field: str, kind: type[MemdbError]
) -> None:
    user.remember("blue", key="mug")
    with pytest.raises(kind) as refused:
        user.fact(**options)
    assert (refused.value.reason, refused.value.field) == (reason, field)
