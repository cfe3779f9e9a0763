"""Recalls of certain kinds, streams, times and labels, and of facts that hold at a certain time."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest

from memdb import Clip, Not, NotFound, Utterance
from memdb.types.database import Stream, User
from tests.congruence.media import SECOND_NS, T0_NS, clip, vector

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


NOON_NS = 1_752_580_800_000_000_000
"""2025-07-15, a Tuesday, at 12:00 UTC: 08:00 in New York and 17:30 in Kolkata."""


@pytest.mark.parametrize("with_feature", [False, True])
def test_hours_are_of_what_was_said(user: User, with_feature: bool) -> None:
    user.configure(text_space="clip")
    feature = vector(1)
    asked: dict[str, Any] = {
        "kinds": ["utterance"],
        "limit": 3,
        "feature": feature if with_feature else None,
    }
    for name, zone in (("york", "America/New_York"), ("kolkata", "Asia/Kolkata"), ("utc", None)):
        stream = user.stream(name, space="clip")
        stream.create(zone=zone)
        for seq in range(8):  # every three hours, from Tuesday noon on; said an hour after its clip
            begin_ns = NOON_NS + seq * 3 * HOUR_NS
            # What is asked for is said less plainly than what the hours leave out.
            words = "parcel" if seq % 2 else f"a parcel at last, number {seq}, of {name}"
            utterance = Utterance(begin_ns + HOUR_NS, begin_ns + HOUR_NS + SECOND_NS, words)
            weaker = None if seq % 2 else vector(0.2, 1)
            stream.write(
                Clip(
                    seq=seq,
                    start_ns=begin_ns,
                    end_ns=begin_ns + SECOND_NS,
                    global_memory=vector(1),
                    transcript=(utterance,),
                    transcript_features=np.stack([feature if weaker is None else weaker]),
                )
            )

    def said(**options: Any) -> list[str]:
        return sorted(
            f"{hit.clip.stream} {hit.clip.seq}"
            for hit in user.recall("parcel", **{**asked, **options}).hits
            if hit.clip is not None
        )

    # 13:00, 16:00, 19:00, 22:00, 01:00 ... UTC, by the clock of each camera: four, and nine and a half hours apart.
    assert said(hours=[("13:00", "13:01")], streams=["utc"]) == ["utc 0"]
    assert said(hours=[("09:00", "09:01")]) == ["york 0"]
    assert said(hours=[("18:30", "18:31")]) == ["kolkata 0"]
    assert said(hours=[("12:00", "14:00")], zone="UTC") == ["kolkata 0", "utc 0", "york 0"]
    # A night belongs to the day on which it begins.
    assert said(hours=[("22:00", "02:00")], weekdays=["tue"], streams=["utc"]) == ["utc 3", "utc 4"]
    assert said(hours=[("22:00", "02:00")], weekdays=["wed"], streams=["utc"]) == []
    assert said(weekdays=["wed"], streams=["utc"], limit=9) == [f"utc {seq}" for seq in range(4, 8)]
    # As of before the second clip of the first camera.
    first = user.recall("parcel", **asked, streams=["york"], hours=[("09:00", "09:01")]).hits[0]
    assert first.clip is not None
    then = {"as_of": first.clip.revision, "streams": ["york"]}
    assert said(**then) == ["york 0"] == said(**then, weekdays=[1])
    assert said(**then, weekdays=["wed"]) == []
    # Facts are of no hour.
    user.remember("the parcel is Bob's", feature=feature)
    assert texts(user, hours=[("05:00", "05:01")]) == ["the parcel is Bob's"]


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
