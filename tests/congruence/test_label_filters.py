"""Questions and lists of clips with certain labels."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from memdb import Clip, InvalidArgument, Not
from memdb.types.database import Stream, User
from memdb.types.grounding import Grounding
from memdb.types.label_filter import WantedLabels
from tests.congruence.media import clip, vector

pytestmark = pytest.mark.congruence

QUESTION = vector(1)


def at(seq: int, cosine: float = 0.5, **fields: Any) -> Clip:
    return clip(seq, vector(cosine, float(np.sqrt(1 - cosine * cosine))), **fields)


def numbers(grounding: Grounding) -> list[int]:
    return sorted(hit.clip.seq for hit in grounding.hits)


@pytest.fixture
def filled(user: User, door: Stream) -> User:
    """All that look better are labelled otherwise."""
    labels: list[dict[str, str]] = [
        {"zone": "porch", "light": "day"},
        {"zone": "porch", "light": "night"},
        {"zone": "drive", "light": "night"},
        {"zone": "porch lamp"},
        {"light": "porch"},
        {},
    ]
    door.write_many(
        at(seq, 0.1 + seq / 10, labels=mine, short_memory=np.ones((2, 4), np.float16))
        for seq, mine in enumerate(labels)
    )
    door.write_many(at(seq, 0.9) for seq in range(6, 60))
    return user


def test_a_filter_acts_before_the_search(filled: User) -> None:
    def asked(**options: Any) -> list[int]:
        return numbers(filled.ground(QUESTION, limit=9, **options))

    assert asked(labels={"zone": "porch"}) == [0, 1]
    assert asked(labels={"zone": ["drive", "porch lamp", "nowhere"]}) == [2, 3]
    assert asked(labels={"zone": ("drive", "porch"), "light": "night"}) == [1, 2]
    assert asked(labels={"zone": "porch", "light": "dusk"}) == []
    assert asked(labels={"zone": "Porch"}) == []
    assert asked(labels={"zone": "porch"}, policy="ixc-train") == [0, 1]
    assert asked(labels={"zone": "porch"}, end_ns=filled.clips(limit=1)[0].end_ns) == [0]
    assert asked(text="night", labels={"zone": "drive"}) == [2]
    tokens = np.stack([vector(1), vector(0, 1)])
    assert asked(labels={"zone": "porch"}, question_tokens=tokens, rerank=5) == [0, 1]
    by_tokens = filled.ground(
        policy="tokens", question_tokens=tokens, labels={"zone": "porch"}, limit=9
    )
    assert numbers(by_tokens) == [0, 1]


def test_all_but_what_is_labelled_so(filled: User) -> None:
    # What has no such label is among them: all that look better.
    assert numbers(filled.ground(QUESTION, limit=3, labels={"zone": Not("porch")})) == [6, 7, 8]
    wanted: WantedLabels = {"zone": Not("porch", "porch lamp"), "light": ["night", "porch"]}
    assert numbers(filled.ground(QUESTION, limit=9, labels=wanted)) == [2, 4]
    assert [clip.seq for clip in filled.clips(labels=wanted)] == [2, 4]
    assert len(filled.clips(labels={"zone": Not("roof"), "light": Not("dusk")})) == 60
    for answer in filled.ground_many(np.stack([QUESTION]), labels=wanted):
        assert numbers(answer) == [2, 4]
    for answer in filled.ground_stream(iter([QUESTION]), labels=wanted):
        assert numbers(answer) == [2, 4]
    page = filled.ground(QUESTION, labels=wanted, limit=1, cursor="")
    assert numbers(page) == [2 + 2 * (page.hits[0].clip.seq == 4)]
    (other,) = filled.ground(QUESTION, labels=wanted, limit=1, cursor=page.next_cursor).hits
    assert {page.hits[0].clip.seq, other.clip.seq} == {2, 4}
    with pytest.raises(InvalidArgument) as refused:
        filled.ground(QUESTION, labels={"light": ["night", "porch"]}, cursor=page.next_cursor)
    assert refused.value.reason == "OTHER_QUESTION"


@pytest.mark.parametrize(
    ("values", "reason"),
    [((), "EMPTY"), ((1,), "BAD_TEXT"), (("x",) * 65, "TOO_LARGE"), ((["x"],), "BAD_TEXT")],
)
def test_what_no_value_can_be_is_refused(filled: User, values: Any, reason: str) -> None:
    for ask in (filled.clips, lambda **options: filled.ground(QUESTION, **options)):
        with pytest.raises(InvalidArgument) as refused:
            ask(labels={"zone": Not(*values)})
        assert (refused.value.reason, refused.value.field) == (reason, "labels[zone]")


def test_nothing_is_labelled_so(filled: User) -> None:
    nothing = filled.ground(QUESTION, labels={"zone": "roof"}, fallback="recent")
    assert (nothing.hits, nothing.fallback, nothing.abstained) == ((), "none", True)
    assert [part.clips for part in nothing.coverage] == [0]
    least = filled.ground(QUESTION, labels={"zone": "porch"}, min_score=5.0, fallback="recent")
    assert (numbers(least), least.fallback) == ([1], "recent")


def test_many_questions_and_pages(filled: User) -> None:
    wanted = {"zone": ["drive", "porch"]}
    questions = np.stack([QUESTION, vector(0, 1)])
    for answer in filled.ground_many(questions, labels=wanted, limit=9):
        assert numbers(answer) == [0, 1, 2]
    for answer in filled.ground_stream(iter(questions), labels=wanted, limit=9):
        assert numbers(answer) == [0, 1, 2]
    first = filled.ground(QUESTION, labels=wanted, limit=2, cursor="")
    second = filled.ground(QUESTION, labels=wanted, limit=2, cursor=first.next_cursor)
    assert [hit.clip.seq for hit in (*first.hits, *second.hits)] == [2, 1, 0]
    assert [clip.seq for clip in filled.clips(labels=wanted)] == [0, 1, 2]
    assert [clip.seq for clip in filled.clips(labels={"light": "night"}, limit=1)] == [1]


def test_a_page_is_of_one_filter(filled: User) -> None:
    page = filled.ground(QUESTION, labels={"zone": "porch"}, limit=1, cursor="")
    with pytest.raises(InvalidArgument) as refused:
        filled.ground(QUESTION, labels={"zone": "drive"}, limit=1, cursor=page.next_cursor)
    assert refused.value.reason == "OTHER_QUESTION"


def test_a_version_has_its_own_labels(user: User, door: Stream) -> None:
    before = door.write(at(0, sealed=False, labels={"state": "open"}))
    door.write(at(0, labels={"state": "shut"}))

    def asked(state: str, as_of: int | None = None) -> list[int]:
        found = user.ground(QUESTION, labels={"state": state}, as_of=as_of)
        listed = user.clips(labels={"state": state}, as_of=as_of)
        assert numbers(found) == [clip.seq for clip in listed]
        return numbers(found)

    assert (asked("open"), asked("shut")) == ([], [0])
    assert (asked("open", before.revision), asked("shut", before.revision)) == ([0], [])


def test_what_was_removed_is_found_by_no_label(filled: User, door: Stream) -> None:
    assert numbers(filled.ground(QUESTION, labels={"zone": "porch"})) == [0, 1]
    first = filled.clips(labels={"zone": "porch"})[0]
    filled.erase_clips([first.id])
    assert numbers(filled.ground(QUESTION, labels={"zone": "porch"})) == [1]
    door.write(at(60, labels={"zone": "porch"}))
    assert numbers(filled.ground(QUESTION, labels={"zone": "porch"})) == [1, 60]
