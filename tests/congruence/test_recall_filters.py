"""Recalls of certain kinds, streams, times and labels, and of facts that hold at a certain time."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from memdb import Not, NotFound, Utterance
from memdb.types.database import Stream, User
from tests.congruence.media import SECOND_NS, T0_NS, clip

pytestmark = pytest.mark.congruence

HOUR_NS = 3600 * SECOND_NS


def said(seq: int, text: str, after_ns: int = 0) -> Utterance:
    start_ns = T0_NS + seq * 4 * SECOND_NS + after_ns
    return Utterance(start_ns, start_ns + SECOND_NS, text)


def texts(user: User, question: str = "parcel", **options: Any) -> list[str]:
    found = user.recall(question, **{"limit": 9, **options})
    return sorted(hit.text for hit in found.hits)


@pytest.fixture
def filled(user: User, door: Stream) -> User:
    """More than are asked for would be ahead of those that the filters are for."""
    yard = user.stream("yard", space="clip")
    door.write_many(clip(seq, transcript=[said(seq, "parcel")]) for seq in range(12))
    door.write(clip(12, transcript=[said(12, "a parcel by the door, said Ann")]))
    labelled = {"zone": "porch", "light": "day"}
    yard.write(clip(0, transcript=[said(0, "some parcel in the yard")], labels=labelled))
    yard.write(clip(1, transcript=[said(1, "no parcel there at night")], labels={"zone": "roof"}))
    # Said an hour after its clip.
    yard.write(clip(2, transcript=[said(2, "late parcel of all things", HOUR_NS)]))
    for number in range(12):
        user.remember("parcel", key=f"old {number}", valid_from=T0_NS, valid_to=T0_NS + HOUR_NS)
    user.remember("the parcel is for Bob, who is in Rome", valid_from=T0_NS + HOUR_NS)
    user.remember("a parcel is to come", valid_from=datetime.now(UTC) + timedelta(days=300))
    return user


def test_a_filter_acts_before_the_search(filled: User) -> None:
    talk: dict[str, Any] = {"kinds": ["utterance"]}
    yard = ["late parcel of all things", "no parcel there at night", "some parcel in the yard"]
    assert texts(filled, streams=["yard"], **talk) == yard
    assert texts(filled, labels={"zone": "porch"}, **talk) == yard[2:]
    assert texts(filled, labels={"zone": ["porch", "roof"]}, **talk) == yard[1:]
    assert texts(filled, labels={"zone": ["porch", "roof"], "light": "day"}, **talk) == yard[2:]
    assert texts(filled, labels={"zone": "porch"}, streams=["door"], **talk) == []
    assert texts(filled, labels={"zone": Not("roof")}, streams=["yard"], **talk) == yard[::2]
    # By the time it was said at, not by that of its clip.
    assert texts(filled, start_ns=T0_NS + HOUR_NS, **talk) == yard[:1]
    first: dict[str, Any] = {"start_ns": T0_NS, "end_ns": T0_NS + SECOND_NS}
    assert texts(filled, streams=["yard"], **first, **talk) == yard[2:]
    twelfth = datetime.fromtimestamp(T0_NS // SECOND_NS + 48, UTC)
    assert texts(filled, start_ns=twelfth, end_ns=T0_NS + HOUR_NS, **talk) == [
        "a parcel by the door, said Ann"
    ]
    assert {hit.kind for hit in filled.recall("parcel", limit=99, **talk).hits} == {"utterance"}


def test_facts_stay_whatever_is_asked_of_utterances(filled: User) -> None:
    known = "the parcel is for Bob, who is in Rome"
    assert texts(filled, labels={"zone": "porch"}) == ["some parcel in the yard", known]
    assert texts(filled, streams=["yard"], start_ns=T0_NS + HOUR_NS) == [
        "late parcel of all things",
        known,
    ]
    assert texts(filled, kinds=["fact"]) == [known]
    assert texts(filled, kinds=("utterance", "fact", "fact"), limit=99) == texts(filled, limit=99)


def test_facts_are_those_that_hold(filled: User) -> None:
    def known(**options: Any) -> list[str]:
        return texts(filled, kinds=["fact"], limit=99, **options)

    now = known()
    assert now == ["the parcel is for Bob, who is in Rome"] == known(valid_at="now")
    assert known(valid_at=T0_NS) == ["parcel"] * 12 == known(valid_at=T0_NS + HOUR_NS - 1)
    # The end is the first moment at which it does not hold.
    assert known(valid_at=T0_NS + HOUR_NS) == now
    assert known(valid_at=T0_NS - 1) == []
    assert known(valid_at=datetime.now(UTC) + timedelta(days=301)) == ["a parcel is to come", *now]
    assert known(valid_at="any") == ["a parcel is to come", *["parcel"] * 12, *now]

    (hit,) = filled.recall("Rome", kinds=["fact"]).hits
    assert hit.fact is not None
    assert (hit.fact.valid_from_ns, hit.fact.valid_to_ns) == (T0_NS + HOUR_NS, None)
    about = filled.recall("parcel", valid_at=T0_NS)
    assert about.valid_at_ns == T0_NS
    assert filled.recall("parcel", valid_at="any").valid_at_ns is None
    assert filled.recall("parcel", kinds=["utterance"]).valid_at_ns is None
    now_ns = filled.recall("parcel").valid_at_ns
    assert now_ns is not None
    assert abs(now_ns - time.time_ns()) < HOUR_NS


def test_as_of_a_moment_facts_are_those_that_held_then(user: User) -> None:
    then = user.remember("the mug is blue", valid_to=datetime.now(UTC) + timedelta(days=1))
    user.snapshot("then")
    user.revise(then.id, valid_to=then.valid_from_ns + 1)

    assert texts(user, "mug") == []
    assert texts(user, "mug", as_of=then.revision) == ["the mug is blue"]
    assert texts(user, "mug", as_of="then") == ["the mug is blue"]
    found = user.recall("mug", as_of=then.revision)
    assert found.valid_at_ns is not None
    assert found.valid_at_ns >= then.valid_from_ns
    assert user.recall("mug", as_of=then.revision) == found
    # What was known then, about another moment.
    late = datetime.now(UTC) + timedelta(days=2)
    assert texts(user, "mug", as_of=then.revision, valid_at=late) == []
    assert texts(user, "mug", as_of=then.revision, valid_at="now") == ["the mug is blue"]
    assert texts(user, "mug", valid_at=then.valid_from_ns) == ["the mug is blue"]


def test_filters_are_of_the_moment(user: User, door: Stream) -> None:
    opened = door.write(
        clip(0, sealed=False, transcript=[said(0, "parcel")], labels={"state": "open"})
    )
    door.write(clip(0, transcript=[said(0, "parcel")], labels={"state": "shut"}))
    user.stream("yard", space="clip").create()

    assert texts(user, labels={"state": "open"}) == []
    assert texts(user, labels={"state": "shut"}) == ["parcel"]
    assert texts(user, labels={"state": "open"}, as_of=opened.revision) == ["parcel"]
    assert texts(user, labels={"state": "shut"}, as_of=opened.revision) == []
    with pytest.raises(NotFound) as refused:
        user.recall("parcel", streams=["yard"], as_of=opened.revision)
    assert (refused.value.reason, refused.value.field, refused.value.value) == (
        "STREAM_NOT_FOUND",
        "streams",
        "yard",
    )


@pytest.mark.parametrize("page_bytes", [1, 100, 1 << 20])
def test_facts_are_listed_by_when_they_hold(
    filled: User, monkeypatch: pytest.MonkeyPatch, page_bytes: int
) -> None:
    monkeypatch.setattr("memdb.server.memory_service.PAGE_BYTES", page_bytes)

    def listed(**options: Any) -> list[str]:
        return [fact.text for fact in filled.facts(**options)]

    known = ["the parcel is for Bob, who is in Rome", "a parcel is to come"]
    assert listed() == ["parcel"] * 12 + known == listed(valid_at="any")
    assert listed(valid_at="now") == known[:1] == listed(valid_at=datetime.now(UTC))
    assert listed(valid_at=T0_NS) == ["parcel"] * 12
    assert listed(valid_at=T0_NS, limit=5) == ["parcel"] * 5
    last = filled.facts(valid_at=T0_NS, limit=5)[-1]
    assert listed(valid_at=T0_NS, after=last.id) == ["parcel"] * 7
    assert listed(valid_at=datetime.now(UTC) + timedelta(days=301)) == known
    assert listed(about="Bob", valid_at="now") == []
