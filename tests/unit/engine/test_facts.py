"""Facts and values: versions, keys, forgetting, at every revision."""

from __future__ import annotations

import pytest

from memdb import NotFound
from memdb.clock import ManualClock
from memdb.engine.database import EmbeddedDatabase
from memdb.engine.user import EmbeddedUser
from tests.unit.engine.conftest import clip, vector


def found(user: EmbeddedUser, question: str, **options: object) -> list[tuple[str, float]]:
    hits = user.recall(question, limit=20, **options).hits  # type: ignore[arg-type]
    return [(hit.text, round(hit.score, 9)) for hit in hits]


def test_old_words_of_a_revised_fact_are_found_as_of_then_only(db: EmbeddedDatabase) -> None:
    user = db.user("alice")
    fact = user.remember("the mug is blue", key="mug")
    user.revise(fact.id, text="the mug is red")
    again = user.remember("the mug is green", key="mug")
    assert again.id == fact.id
    assert found(user, "blue red") == []
    assert [text for text, _ in found(user, "mug")] == ["the mug is green"]
    assert [text for text, _ in found(user, "mug", as_of=2)] == ["the mug is red"]
    assert [text for text, _ in found(user, "blue", as_of=1)] == ["the mug is blue"]
    assert [(f.text, f.superseded_revision) for f in user.history(fact.id)] == [
        ("the mug is blue", 2),
        ("the mug is red", 3),
        ("the mug is green", None),
    ]


def test_what_is_answered_as_of_a_revision_does_not_learn_of_later_ones(
    db: EmbeddedDatabase,
) -> None:
    user = db.user("alice")
    fact = user.remember("the mug is blue")
    before = (user.facts(), user.recall("mug").hits)
    user.revise(fact.id, text="the mug is red")
    user.remember("another mug entirely")
    assert (user.facts(as_of=1), user.recall("mug", as_of=1).hits) == before


def test_forgetting_removes_every_version_and_weighs_nothing_afterwards(
    db: EmbeddedDatabase, folder: object
) -> None:
    user = db.user("alice")
    other = db.user("bob")
    for handle in (user, other):
        handle.remember("the mug is blue")
        handle.remember("a door and a mug")
    secret = user.remember("mug mug mug secret", key="s")
    user.revise(secret.id, text="mug secret again")
    user.forget(secret.id)
    assert found(user, "secret") == []
    for revision in range(user.revision() + 1):
        assert found(user, "secret", as_of=revision) == []
    # As if it had never been: the words of others weigh what they weigh without it.
    assert found(user, "mug") == found(other, "mug")
    for call in (user.history, user.forget):
        with pytest.raises(NotFound):
            call(secret.id)
    anew = user.remember("new", key="s")
    assert anew.id != secret.id


def test_evidence_names_clips_of_this_user(db: EmbeddedDatabase) -> None:
    mine = db.user("alice").stream("door", space="cam").write(clip(0)).clip_id
    theirs = db.user("bob").stream("door", space="cam").write(clip(0)).clip_id
    assert db.user("alice").remember("seen", evidence=[mine]).evidence == (mine,)
    revision = db.user("alice").revision()
    with pytest.raises(NotFound) as refused:
        db.user("alice").remember("seen", evidence=[mine, theirs])
    assert (refused.value.reason, refused.value.field) == ("CLIP_NOT_FOUND", "evidence[1]")
    assert db.user("alice").revision() == revision


def test_values_have_versions_and_keys_do_not_mix(db: EmbeddedDatabase) -> None:
    user = db.user("alice")
    user.put("a", 1)
    user.put("ab", 2)
    user.put("a", None)
    assert [user.get("a", "none", as_of=r) for r in range(4)] == ["none", 1, 1, None]
    assert [user.get("ab", as_of=r) for r in range(4)] == [None, None, 2, 2]
    assert user.get("b", "none") == "none"


def test_time_that_goes_back_does_not_take_revisions_along(
    db: EmbeddedDatabase, clock: ManualClock
) -> None:
    user = db.user("alice")
    for number, delta_s in enumerate((0, 10, -100, 5)):
        clock.advance(delta_s * 10**9)
        user.put("n", number)
    times = [change.time_ns for change in user.watch(follow=False)]
    assert times == sorted(times)


def test_a_stream_of_another_space_created_later_does_not_change_the_past(
    db: EmbeddedDatabase,
) -> None:
    user = db.user("alice")
    ack = user.stream("door", space="cam").write(clip(0))
    db.create_space("ear", dim=3)
    user.stream("mic", space="ear").create()
    answer = user.ground(vector(0), as_of=ack.revision)
    assert [hit.clip.id for hit in answer.hits] == [ack.clip_id]
    assert len(user.long_term(as_of=ack.revision).spans) == 1
    with pytest.raises(NotFound):
        user.ground(vector(0), streams=["mic"], as_of=ack.revision)


def test_a_text_space_that_comes_later_is_none_of_an_earlier_recall(db: EmbeddedDatabase) -> None:
    user = db.user("alice")
    then = user.remember("the mug is blue").revision
    before = user.recall("mug", as_of=then)
    user.configure(text_space="cam")
    user.remember("the mug is red", feature=vector(1))
    assert user.recall("mug", as_of=then, feature=vector(1)) == before
    assert user.recall("mug", feature=vector(1)).arms == ("lexical", "semantic")
