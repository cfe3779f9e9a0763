"""Facts that are remembered together: all of them or none, in one commit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from memdb import Fact, MemdbError, Statement
from memdb.types.database import Database, Stream, User
from tests.congruence.media import T0_NS, clip, vector

pytestmark = pytest.mark.congruence


def told(fact: Fact) -> tuple[Any, ...]:
    return fact.text, fact.about, fact.key, fact.valid_to_ns, fact.evidence


def test_each_is_what_remember_makes_of_it(db: Database, user: User, door: Stream) -> None:
    ack = door.write(clip(0))
    user.configure(text_space="clip")
    options: list[dict[str, Any]] = [
        {"text": "the mug is blue"},
        {"text": "the café is shut", "about": ["café", "Bob"], "key": "café"},
        {"text": "it rains", "valid_from": T0_NS, "valid_to": T0_NS + 5, "evidence": [ack.clip_id]},
        {"text": "a door", "about": iter(["door"]), "feature": vector(0, 1)},
    ]
    before = user.revision()
    facts = user.remember_many([Statement(**one) for one in options])
    options[-1]["about"] = ["door"]

    assert user.revision() == before + 1 == facts[0].revision == facts[-1].revision
    assert len({fact.id for fact in facts}) == 4
    other = db.user("bob")
    there = other.stream("door", space="clip").write(clip(0))
    other.configure(text_space="clip")
    options[2]["evidence"] = [there.clip_id]
    for one, fact in zip(options, facts, strict=True):
        alone = other.remember(**one)
        assert told(alone)[:4] == told(fact)[:4]
        assert (alone.valid_from_ns == fact.valid_from_ns) == ("valid_from" in one)
    assert facts[2].evidence == (ack.clip_id,)
    assert user.facts() == facts
    (hit,) = user.recall("anything", kinds=["fact"], feature=vector(0, 1)).hits
    assert hit.text == "a door"
    assert [hit.text for hit in user.recall("cafe café", about="Bob").hits] == ["the café is shut"]


def test_a_key_is_revised(user: User) -> None:
    first = user.remember("blue", key="mug")
    second = user.remember("big", key="cup", about=["cup"])
    changed = user.remember_many([
        Statement("green", key="mug"),
        "plain",
        Statement("small", key="cup"),
        Statement("new", key="jug"),
    ])  # fmt: skip
    assert [fact.id for fact in changed[::2]] == [first.id, second.id]
    assert [fact.text for fact in user.facts()] == ["green", "small", "plain", "new"]
    assert [fact.text for fact in user.facts(as_of=second.revision)] == ["blue", "big"]
    assert [fact.text for fact in user.history(second.id)] == ["big", "small"]
    assert user.facts(about="cup") == []
    assert [change.kind for change in user.watch(follow=False)] == ["fact"] * 6


def test_the_first_of_a_user(user: User) -> None:
    assert [fact.text for fact in user.remember_many(["one", "two"])] == ["one", "two"]
    assert user.revision() == 1


WRONG: dict[str, tuple[Callable[[], Any], str, str, str | None]] = {
    "none": (list, "EMPTY", "statements", None),
    "text": (lambda: "the mug is blue", "BAD_TYPE", "statements", None),
    "number": (lambda: ["x", 5], "BAD_TYPE", "statements[1]", "int"),
    "dict": (lambda: [{"text": "x"}], "BAD_TYPE", "statements[0]", "dict"),
    "empty": (lambda: ["x", ""], "EMPTY", "statements[1].text", None),
    "many": (lambda: (f"x{n}" for n in range(10**6)), "TOO_LARGE", "statements", None),
    "about": (
        lambda: ["x", Statement("y", about="Bob")],
        "BAD_TYPE",
        "statements[1].about",
        "Bob",
    ),
    "about.empty": (
        lambda: [Statement("y", about=["Bob", ""])],
        "EMPTY",
        "statements[0].about[1]",
        None,
    ),
    "key": (
        lambda: [Statement("x", key="k"), "y", Statement("z", key="k")],
        "AMBIGUOUS",
        "statements[2].key",
        "k",
    ),
    "range": (
        lambda: ["x", Statement("y", valid_from=5, valid_to=4)],
        "TIME_RANGE",
        "statements[1].valid_to",
        "[5, 4)",
    ),
    # It has ended before it begins, which is now: the store finds that.
    "ended": (
        lambda: ["x", Statement("y", valid_to=T0_NS)],
        "TIME_RANGE",
        "statements[1].valid_to",
        None,
    ),
    "clip": (
        lambda: ["x", Statement("y", evidence=["0" * 32])],
        "CLIP_NOT_FOUND",
        "statements[1].evidence[0]",
        "0" * 32,
    ),
    "space": (
        lambda: ["x", Statement("y", feature=vector(1))],
        "NO_TEXT_SPACE",
        "statements[1].feature",
        None,
    ),
    "feature": (
        lambda: ["x", Statement("y", feature=np.full(4, np.nan, np.float32))],
        "NOT_FINITE",
        "statements[1].feature",
        None,
    ),
    "things": (
        lambda: [Statement("x", about=[f"{n}" for n in range(64)])] * 129,
        "TOO_LARGE",
        "statements",
        "8256",
    ),
    "bytes": (
        lambda: ["\u2603" * 16_384] * 256,
        "TOO_LARGE",
        "statements",
        None,
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_one_that_is_wrong_leaves_all_out(user: User, name: str) -> None:
    made, reason, field, value = WRONG[name]
    user.put("a", 1)
    with pytest.raises(MemdbError) as refused:
        user.remember_many(made())
    assert (refused.value.reason, refused.value.field) == (reason, field)
    assert value is None or refused.value.value == value
    assert (user.facts(), user.revision()) == ([], 1)


def test_as_many_as_may_be(user: User) -> None:
    statements = [
        Statement("é" * 8_000, about=[f"{n} {k}" for k in range(31)], key=f"k{n}")
        for n in range(256)
    ]
    assert len(user.remember_many(statements)) == 256
    assert len(user.facts(about="255 30")) == 1
