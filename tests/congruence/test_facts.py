"""Long-term memory: facts, recall, values, hour and day vectors."""

from __future__ import annotations

import numpy as np
import pytest

from memdb import NotFound, Utterance
from memdb.types.database import Database, Stream, User
from tests.congruence.media import SECOND_NS, T0_NS, clip, vector

pytestmark = pytest.mark.congruence


def test_a_fact_is_remembered_with_all_it_has(user: User, door: Stream) -> None:
    seen = door.write(clip(0)).clip_id
    fact = user.remember(
        "Alice's mug is blue",
        about=["Alice", "mug"],
        valid_from=T0_NS,
        valid_to=T0_NS + SECOND_NS,
        evidence=[seen],
        key="mug",
    )

    assert (fact.user, fact.text, fact.about, fact.key) == (
        "alice",
        "Alice's mug is blue",
        ("Alice", "mug"),
        "mug",
    )
    assert (fact.valid_from_ns, fact.valid_to_ns) == (T0_NS, T0_NS + SECOND_NS)
    assert fact.evidence == (seen,)
    assert (fact.revision, fact.superseded_revision) == (user.revision(), None)
    assert user.facts() == [fact] == user.facts(about="mug")
    assert user.facts(about="Bob") == []


def test_a_key_is_taken_over_by_the_next_fact(user: User) -> None:
    first = user.remember("the mug is blue", key="mug")
    second = user.remember("the mug is red", key="mug")
    other = user.remember("the door is green")

    assert user.facts() == [second, other]
    versions = user.history(second.id)
    assert [v.text for v in versions] == ["the mug is blue", "the mug is red"]
    assert versions[0].revision == first.revision
    assert versions[0].superseded_revision == second.revision


def test_a_fact_is_revised_in_what_is_given(user: User) -> None:
    fact = user.remember("the mug is blue", about=["mug"], key="mug")
    revised = user.revise(fact.id, text="the mug is dark blue", valid_from=T0_NS)

    assert (revised.id, revised.text, revised.about, revised.key) == (
        fact.id,
        "the mug is dark blue",
        ("mug",),
        "mug",
    )
    assert revised.valid_from_ns == T0_NS
    assert user.revise(fact.id, about=[]).about == ()
    assert len(user.history(fact.id)) == 3


def test_an_end_is_taken_away_again(user: User) -> None:
    fact = user.remember("the mug is blue", about=["mug"], valid_from=T0_NS)
    ended = user.revise(fact.id, valid_to=T0_NS + 1)
    assert user.revise(fact.id, about=["cup"]).valid_to_ns == T0_NS + 1
    assert user.recall("mug").hits == ()

    again = user.revise(fact.id, valid_to="open")

    assert (again.valid_from_ns, again.valid_to_ns, again.about) == (T0_NS, None, ("cup",))
    assert [hit.fact for hit in user.recall("mug").hits] == [again]
    assert user.facts(valid_at="now") == [again]
    assert user.facts(valid_at="now", as_of=ended.revision) == []
    ends = [version.valid_to_ns for version in user.history(fact.id)]
    assert ends == [None, T0_NS + 1, T0_NS + 1, None]
    # Of one that has none it is nothing new, and it goes with a new start.
    assert user.revise(fact.id, valid_to="open", valid_from=T0_NS + 5).valid_to_ns is None


def test_a_forgotten_fact_is_gone(user: User) -> None:
    fact = user.remember("the mug is blue")
    user.forget(fact.id)

    assert user.facts() == []
    for again in (user.history, user.forget, user.revise):
        with pytest.raises(NotFound) as caught:
            again(fact.id)
        assert (caught.value.reason, caught.value.field, caught.value.value) == (
            "FACT_NOT_FOUND",
            "fact_id",
            fact.id,
        )


def test_recall_is_lexical_without_a_text_space_and_says_so(user: User, door: Stream) -> None:
    mug = user.remember("Alice's mug is blue")
    user.remember("the door is green")
    said = Utterance(T0_NS, T0_NS + SECOND_NS, "where is my mug", "alice")
    ack = door.write(clip(0, transcript=[said]))

    found = user.recall("blue mug")

    assert found.arms == ("lexical",)
    assert found.revision == user.revision()
    assert [hit.kind for hit in found.hits] == ["fact", "utterance"]
    assert found.hits[0].fact == mug
    assert (found.hits[1].utterance, found.hits[1].text) == (said, said.text)
    assert found.hits[1].clip is not None
    assert found.hits[1].clip.id == ack.clip_id
    assert all(set(hit.arms) == {"lexical"} for hit in found.hits)
    assert len(user.recall("blue mug", limit=1)) == 1
    assert user.recall("zebra").hits == ()


def test_recall_is_semantic_with_features(db: Database, user: User) -> None:
    db.create_space("text", dim=4)
    user.configure(text_space="text")
    user.remember("the mug is blue", feature=vector(1))
    far = user.remember("the door is green", feature=vector(0, 1))

    found = user.recall("what colour is the entrance?", feature=vector(0.1, 1), limit=1)

    assert set(found.arms) == {"lexical", "semantic"}
    assert found.hits[0].fact == far
    assert found.hits[0].arms["semantic"] == pytest.approx(0.995, abs=1e-3)


@pytest.mark.parametrize(
    "value", [None, 0, -1.5, "text", "grüße", [1, [2]], {"a": {"b": None}}, ""]
)
def test_values_come_back_as_they_were_put(user: User, value: object) -> None:
    revision = user.put("diet", value)

    assert user.get("diet", "unset") == value
    assert revision == user.revision()


def test_a_value_that_is_not_there_is_the_default(user: User) -> None:
    user.put("diet", 1)
    assert user.get("other") is None
    assert user.get("other", 7) == 7
    with pytest.raises(NotFound):
        user.stream("x").gaps()


def test_long_term_sums_hours_and_days(user: User, door: Stream) -> None:
    hour_ns = 3600 * SECOND_NS
    start_ns = T0_NS // hour_ns * hour_ns
    for seq, axis in enumerate((vector(1), vector(0, 1), vector(1))):
        at_ns = start_ns + (seq // 2) * hour_ns + seq * SECOND_NS
        door.write(clip(seq, axis, start_ns=at_ns, end_ns=at_ns + SECOND_NS))
    door.write(clip(3, vector(0, 0, 1), sealed=False))

    memory = user.long_term()

    assert (memory.space, memory.revision) == ("clip", user.revision())
    assert memory.tokens.shape == (len(memory.spans), 4)
    assert memory.tokens.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(memory.tokens, axis=1), 1, atol=1e-5)
    hours = [span for span in memory.spans if span.level == "hour"]
    assert [(span.start_ns, span.clips) for span in hours][:1] == [(start_ns, 2)]
    assert len(user.long_term(max_tokens=1).spans) == 1
    assert user.long_term(stream="door").spans == memory.spans


def test_long_term_of_nothing_sealed_has_no_tokens(user: User, door: Stream) -> None:
    door.write(clip(0, sealed=False))
    memory = user.long_term()
    assert (memory.tokens.shape, memory.spans) == ((0, 4), ())
