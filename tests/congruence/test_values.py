"""Values: removed at every moment, and their keys in pages."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from memdb import InvalidArgument, NotFound
from memdb.types.database import Database, User
from tests.congruence.conftest import ENCRYPTED, TRANSPORTS, opened

pytestmark = pytest.mark.congruence

KEYS = ["a", "a/1", "a/10", "a/2", "b", "z" * 256, "ä", "ä/1", "\U0001f600"]
"""As they are sorted; the store has shorter ones first, and where it is encrypted any order."""


@pytest.fixture(params=[*TRANSPORTS, ENCRYPTED])
def db(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    with opened(request.param, tmp_path / "data") as db:
        yield db


def test_a_removed_value_is_gone_from_the_past_too(db: Database, user: User) -> None:
    first = user.put("secret", "PASSWORD123")
    user.put("secret", None)
    user.put("secre", 1)
    user.put("secret2", 2)
    before = user.snapshot("before", ttl_s=600)

    removed = user.remove("secret")

    assert removed == user.revision() == before.revision + 1
    assert user.get("secret", "none") == "none"
    for moment in (first, before, "before", removed):
        assert user.get("secret", "none", as_of=moment) == "none"
        assert "secret" not in user.keys(as_of=moment)
    assert (user.get("secre"), user.get("secret2")) == (1, 2)
    assert user.keys() == ["secre", "secret2"]
    changes = list(user.watch(follow=False))
    assert [(c.kind, c.key) for c in changes if "value" in c.kind] == [
        ("value", "secret"), ("value", "secret"), ("value", "secre"), ("value", "secret2"),
        ("remove-value", "secret"),
    ]  # fmt: skip
    with pytest.raises(NotFound) as refused:
        user.remove("secret")
    error = refused.value
    assert (error.reason, error.field, error.value) == ("VALUE_NOT_FOUND", "key", "secret")
    assert user.revision() == removed
    again = user.put("secret", "new")
    assert user.get("secret", "none", as_of=removed) == "none"
    assert (user.get("secret"), user.keys("secret", as_of=again)) == ("new", ["secret", "secret2"])
    assert db.verify().ok


def test_keys_come_sorted_and_in_pages(user: User) -> None:
    shuffled = list(KEYS)
    Random(3).shuffle(shuffled)
    births = {key: user.put(key, 0) for key in shuffled}
    user.put("a", 1)

    assert user.keys() == KEYS
    for limit in (1, 2, 5):
        found: list[str] = []
        while page := user.keys(limit=limit, after=found[-1] if found else None):
            assert len(page) <= limit
            found += page
        assert found == KEYS
    assert user.keys("a") == ["a", "a/1", "a/10", "a/2"]
    assert user.keys("a/1", after="a/1") == ["a/10"]
    assert user.keys("a/", limit=1, after="a/1") == ["a/10"]
    assert user.keys("c") == []
    assert user.keys(after="aa") == KEYS[4:]  # which is not there
    half = births[shuffled[4]]
    assert user.keys(as_of=half) == sorted(shuffled[:5])
    assert user.keys(as_of=0) == []


@pytest.mark.parametrize(
    ("wanted", "reason", "field"),
    [
        ({"limit": 0}, "OUT_OF_RANGE", "limit"),
        ({"limit": 1001}, "OUT_OF_RANGE", "limit"),
        ({"after": ""}, "EMPTY", "after"),
        ({"after": "k" * 257}, "TOO_LARGE", "after"),
        ({"prefix": "é" * 200}, "TOO_LARGE", "prefix"),
        ({"prefix": 7}, "BAD_TEXT", "prefix"),
    ],
    ids=str,
)
def test_wrong_pages_are_refused(
    user: User, wanted: dict[str, object], reason: str, field: str
) -> None:
    user.put("a", 1)
    with pytest.raises(InvalidArgument) as refused:
        user.keys(**wanted)  # type: ignore[arg-type]
    assert (refused.value.reason, refused.value.field) == (reason, field)


def test_a_user_that_is_not_there_has_no_keys(user: User) -> None:
    for call in (user.keys, lambda: user.remove("a"), user.compact):
        with pytest.raises(NotFound) as refused:
            call()
        assert (refused.value.reason, refused.value.field) == ("USER_NOT_FOUND", "user")


def test_a_compaction_shrinks_the_file_and_changes_no_answer(db: Database, user: User) -> None:
    for number in range(30):
        user.put("large", ["x" * 100_000, number])
    user.put("kept", {"a": 1})
    fact = user.remember("the mug is blue")
    user.remove("large")
    before = user.revision()

    report = user.compact()

    assert report.user == "alice"
    assert report.bytes_before > 3_000_000 > 1_000_000 > report.bytes_after > 0
    assert (user.keys(), user.get("kept"), user.facts()) == (["kept"], {"a": 1}, [fact])
    kinds = [change.kind for change in user.watch(from_revision=before, follow=False)]
    assert kinds == ["begin-erasure", "end-erasure"]
    user.put("kept", 2)
    assert user.get("kept", as_of=before) == {"a": 1}
    assert user.compact().bytes_after <= report.bytes_before
    assert db.verify().ok
