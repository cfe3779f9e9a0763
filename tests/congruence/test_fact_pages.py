"""Facts and histories in pages: by the caller, and by the client where an answer is more than a message."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from memdb import InvalidArgument, NotFound
from memdb.types.database import User

pytestmark = pytest.mark.congruence


def paged(user: User, limit: int, **options: Any) -> list[str]:
    """All facts by pages, and nothing else between two of them."""
    texts: list[str] = []
    after = None
    while page := user.facts(limit=limit, after=after, **options):
        assert len(page) <= limit
        texts += [fact.text for fact in page]
        after = page[-1].id
    return texts


def test_pages_are_the_whole(user: User) -> None:
    for number in range(10):
        user.remember(f"fact {number}", about=["even"] if number % 2 == 0 else ["odd"])
    whole = [fact.text for fact in user.facts()]

    assert paged(user, 1) == paged(user, 3) == paged(user, 10) == whole
    assert paged(user, 2, about="odd") == whole[1::2]
    last = user.facts(limit=10)[-1]
    assert user.facts(after=last.id) == []


def test_pages_are_stable_under_writes(user: User) -> None:
    facts = [user.remember(f"fact {number}") for number in range(6)]
    first = user.facts(limit=2)
    moment = user.revision()

    user.forget(facts[0].id)
    user.forget(facts[1].id)  # the one that ended the page
    user.forget(facts[4].id)
    user.revise(facts[2].id, text="revised")
    user.remember("new")

    assert [fact.text for fact in first] == ["fact 0", "fact 1"]
    second = user.facts(limit=2, after=first[-1].id)
    assert [fact.text for fact in second] == ["revised", "fact 3"]
    assert [fact.text for fact in user.facts(after=second[-1].id)] == ["fact 5", "new"]
    # Of one moment: what was forgotten is gone from every moment, what was revised is not.
    then = user.facts(after=first[-1].id, as_of=moment)
    assert [fact.text for fact in then] == ["fact 2", "fact 3", "fact 5"]


def test_pages_of_a_history(user: User) -> None:
    fact = user.remember("version 0")
    for number in range(1, 8):
        user.revise(fact.id, text=f"version {number}")
    whole = user.history(fact.id)
    assert [version.text for version in whole] == [f"version {number}" for number in range(8)]

    found: list[Any] = []
    after = None
    while page := user.history(fact.id, limit=3, after=after):
        found += page
        after = page[-1].revision
        if len(found) == 3:
            whole = [*whole[:-1], *user.history(fact.id)[-1:]]
    # The last of a page knows what replaced it.
    assert found == whole
    user.revise(fact.id, text="newest")
    assert [v.text for v in user.history(fact.id, after=whole[-1].revision)] == ["newest"]
    assert user.history(fact.id, after=user.revision()) == []


@pytest.mark.parametrize("page_bytes", [1, 100, 350])
def test_a_client_puts_pages_together(
    user: User, monkeypatch: pytest.MonkeyPatch, page_bytes: int
) -> None:
    monkeypatch.setattr("memdb.server.memory_service.PAGE_BYTES", page_bytes)
    fact = user.remember("version 0")
    for number in range(1, 10):
        user.revise(fact.id, text=f"version {number}")
        user.remember(f"fact {number} " + "x" * 50)
    user.snapshot("then")

    assert len(user.facts()) == 10
    assert [one.text[:6] for one in user.facts(limit=7)] == ["versio"] + ["fact 1", "fact 2"] + [
        f"fact {number}" for number in range(3, 7)
    ]
    assert len(user.facts(as_of="then")) == 10
    assert [v.text for v in user.history(fact.id)] == [f"version {n}" for n in range(10)]
    assert [v.text for v in user.history(fact.id, limit=4)] == [f"version {n}" for n in range(4)]
    assert user.history(fact.id)[3].superseded_revision == user.history(fact.id)[4].revision


@pytest.mark.parametrize(
    ("call", "error", "reason", "field"),
    [
        (lambda user, _: user.facts(after="0" * 32), NotFound, "FACT_NOT_FOUND", "after"),
        (lambda user, _: user.facts(after=""), InvalidArgument, "EMPTY", "after"),
        (lambda user, _: user.facts(after=5), InvalidArgument, "BAD_TEXT", "after"),
        (lambda user, fact: user.history(fact, limit=0), InvalidArgument, "OUT_OF_RANGE", "limit"),
        (
            lambda user, fact: user.history(fact, limit=1001),
            InvalidArgument,
            "OUT_OF_RANGE",
            "limit",
        ),
        (lambda user, fact: user.history(fact, after=-1), InvalidArgument, "OUT_OF_RANGE", "after"),
        (
            lambda user, fact: user.history(fact, after="x"),
            InvalidArgument,
            "OUT_OF_RANGE",
            "after",
        ),
        (
            lambda user, _: user.history("0" * 32, after=3),
            NotFound,
            "FACT_NOT_FOUND",
            "fact_id",
        ),
    ],
    ids=[
        "after unknown",
        "after empty",
        "after a number",
        "limit 0",
        "limit 1001",
        "after -1",
        "after a text",
        "no such fact",
    ],
)
def test_bad_pages(
    user: User, call: Callable[[Any, str], object], error: Any, reason: str, field: str
) -> None:
    fact = user.remember("one")
    with pytest.raises(error) as caught:
        call(user, fact.id)
    assert (caught.value.reason, caught.value.field) == (reason, field)


def test_a_fact_of_another_user_is_no_place(db: Any, user: User) -> None:
    theirs = db.user("bob").remember("theirs")
    user.remember("ours")
    with pytest.raises(NotFound) as caught:
        user.facts(after=theirs.id)
    assert caught.value.reason == "FACT_NOT_FOUND"
