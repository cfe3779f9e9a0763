"""Facts and questions are embedded in the client when the user's text space has an installed encoder."""

from __future__ import annotations

import pytest

from memdb.types.database import Database, User

pytestmark = [pytest.mark.congruence, pytest.mark.weights]


@pytest.fixture
def spoken_to(db: Database, user: User) -> User:
    text = pytest.importorskip("perception.encoders.text")
    weights = pytest.importorskip("perception.weights")
    try:
        weights.fetch("minilm-l6-v2")
    except weights.WeightsUnavailable as error:
        pytest.skip(str(error))
    db.create_space("bundled", dim=text.BUNDLED_DIM, model=text.BUNDLED_MODEL)
    user.configure(text_space="bundled")
    return user


def test_recall_finds_by_meaning_without_a_common_word(spoken_to: User) -> None:
    spoken_to.remember("Alice's mug is blue")
    dog = spoken_to.remember("Bob walks his dog in the park every morning")
    spoken_to.remember("The front door was repainted last week")

    found = spoken_to.recall("when does somebody exercise a pet?", limit=1)

    assert set(found.arms) == {"lexical", "semantic"}
    assert found.hits[0].fact == dog
    assert found.hits[0].arms["semantic"] > 0.2


def test_a_revised_text_is_embedded_again(spoken_to: User) -> None:
    fact = spoken_to.remember("Alice's mug is blue")
    other = spoken_to.remember("Invoices are due on Friday")
    spoken_to.revise(fact.id, text="Bob walks his dog in the park")

    found = spoken_to.recall("exercising a pet", limit=1)

    assert found.hits[0].fact is not None
    assert found.hits[0].fact.id == fact.id != other.id
