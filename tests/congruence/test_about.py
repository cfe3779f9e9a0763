"""Facts by what they are about: listed, and recalled before the search."""

from __future__ import annotations

from typing import Any

import pytest

from memdb.types.database import Stream, User
from tests.congruence.media import T0_NS, clip
from tests.congruence.test_recall_filters import said

pytestmark = pytest.mark.congruence


def recalled(user: User, **options: Any) -> list[str]:
    return sorted(hit.text for hit in user.recall("parcel", **{"limit": 99, **options}).hits)


def listed(user: User, **options: Any) -> list[str]:
    return [fact.text for fact in user.facts(**options)]


@pytest.fixture
def filled(user: User, door: Stream) -> User:
    door.write(clip(0, transcript=[said(0, "parcel, they said")]))
    # More than are asked for would be ahead of those that the filter is for.
    for number in range(12):
        user.remember("parcel", key=f"other {number}", about=["nobody"])
    user.remember("a parcel, as it seems, for Bob", about=["Bob", "porch", "Bob"])
    user.remember("a parcel is in the café", about=["café"])
    user.remember("one parcel for both of them", about=["Carol", "Bob"])
    user.remember("a parcel of nobody")
    return user


def test_a_recall_of_facts_about_some_things(filled: User) -> None:
    bob = ["a parcel, as it seems, for Bob", "one parcel for both of them"]
    facts: dict[str, Any] = {"kinds": ["fact"], "limit": 3}
    assert recalled(filled, about="Bob", **facts) == bob
    assert recalled(filled, about=["Bob"], **facts) == bob
    assert recalled(filled, about=["Carol"], **facts) == bob[1:]
    assert recalled(filled, about=("porch", "café", "nothing"), **facts) == [
        "a parcel is in the café",
        bob[0],
    ]
    # Whole, and letter by letter.
    assert recalled(filled, about=["bob", "Bo", "Bob "], **facts) == []
    # What was said is about nothing that has a name, and stays.
    assert recalled(filled, about=["Carol"]) == [bob[1], "parcel, they said"]


def test_lists_of_facts_about_several_things(filled: User) -> None:
    bob = ["a parcel, as it seems, for Bob", "one parcel for both of them"]
    assert listed(filled, about="Bob") == listed(filled, about=["Bob"]) == bob
    assert listed(filled, about=["porch", "Carol", "Bob", "porch"]) == bob
    assert listed(filled, about=["café", "Carol"]) == ["a parcel is in the café", bob[1]]
    assert listed(filled, about=["nothing"]) == []
    whole = listed(filled, about=["nobody", "Bob"])
    assert whole == ["parcel"] * 12 + bob
    pages, after = [], None
    while page := filled.facts(about=["nobody", "Bob"], limit=3, after=after):
        pages += [fact.text for fact in page]
        after = page[-1].id
    assert pages == whole


def test_each_version_has_its_own(user: User) -> None:
    fact = user.remember("the parcel is for Bob", about=["Bob"], valid_from=T0_NS)
    later = user.revise(fact.id, text="the parcel is for Carol", about=["Carol"])
    same = user.revise(fact.id, valid_from=T0_NS - 1)
    asked: dict[str, Any] = {"kinds": ["fact"], "valid_at": "any"}

    assert recalled(user, about=["Bob"], **asked) == [] == listed(user, about="Bob")
    assert recalled(user, about=["Bob"], as_of=fact.revision, **asked) == ["the parcel is for Bob"]
    assert listed(user, about=["Bob", "x"], as_of=fact.revision) == ["the parcel is for Bob"]
    assert recalled(user, about=["Carol"], as_of=fact.revision, **asked) == []
    for moment in (later.revision, same.revision, None):
        assert recalled(user, about=["Carol"], as_of=moment, **asked) == ["the parcel is for Carol"]
        assert listed(user, about=["Carol"], as_of=moment) == ["the parcel is for Carol"]
    # Both conditions: what holds, and what it is about.
    assert recalled(user, about=["Carol"], kinds=["fact"], valid_at=T0_NS - 2) == []

    user.forget(fact.id)
    assert recalled(user, about=["Bob"], as_of=fact.revision, **asked) == []
    assert listed(user, about=["Carol"], as_of=later.revision) == []
