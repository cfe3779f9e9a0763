"""Grounding: selection policies, filters, fallback, gaps, re-ranking."""

from __future__ import annotations

import copy
import dataclasses
import math
from typing import Any

import numpy as np
import pytest

from memdb import FailedPrecondition, InvalidArgument, NotFound, Unavailable
from memdb.types.database import Database, Stream, User
from memdb.types.grounding import Grounding
from tests.congruence.media import SECOND_NS, T0_NS, clip, vector

pytestmark = pytest.mark.congruence

QUESTION = vector(1)


def at_angle(cosine: float) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    """A vector with that cosine to the question."""
    return vector(cosine, math.sqrt(1 - cosine * cosine)) * 3


@pytest.fixture
def seen(door: Stream) -> Stream:
    """Five clips with cosines 0.2, 0.9, 0.28, 0.5 and -0.4 to the question, in this order."""
    door.write_many([clip(seq, at_angle(c)) for seq, c in enumerate((0.2, 0.9, 0.28, 0.5, -0.4))])
    return door


def numbers(grounding: Grounding) -> list[int]:
    return [hit.clip.seq for hit in grounding.hits]


def test_the_best_come_first(user: User, seen: Stream) -> None:
    found = user.ground(QUESTION)

    assert numbers(found) == [1, 3, 2, 0]
    assert [hit.score for hit in found.hits] == pytest.approx([0.9, 0.5, 0.28, 0.2], abs=1e-5)
    assert (found.revision, found.fallback, found.gaps) == (user.revision(), "none", ())
    assert all(hit.clip.short_memory is None and hit.spans == () for hit in found.hits)
    assert numbers(user.ground(QUESTION, limit=2)) == [1, 3]


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        ("top", [1, 3, 2, 0]),
        ("ixc-live", [1]),
        ("ixc-gradio", [1]),
        ("ixc-offline", [1]),
        ("ixc-train", [0, 1, 2, 3]),
    ],
)
def test_policy(user: User, seen: Stream, policy: str, expected: list[int]) -> None:
    assert numbers(user.ground(QUESTION, policy=policy)) == expected


def test_min_score_and_the_fallback(user: User, seen: Stream) -> None:
    assert numbers(user.ground(QUESTION, min_score=0.4)) == [1, 3]
    nothing = user.ground(QUESTION, min_score=0.95)
    assert (nothing.hits, nothing.fallback) == ((), "none")

    recent = user.ground(QUESTION, min_score=0.95, fallback="recent")

    assert (numbers(recent), recent.fallback) == ([4], "recent")
    assert recent.hits[0].score == pytest.approx(-0.4, abs=1e-5)


def test_streams_and_times_are_filtered_before_the_search(user: User, seen: Stream) -> None:
    user.stream("porch", space="clip").write(clip(1, at_angle(0.95)))

    assert [hit.clip.stream for hit in user.ground(QUESTION, limit=1).hits] == ["porch"]
    assert numbers(user.ground(QUESTION, limit=2, streams=["door"])) == [1, 3]
    late = user.ground(QUESTION, start_ns=T0_NS + 8 * SECOND_NS, limit=2)
    assert numbers(late) == [3, 2]
    early = user.ground(QUESTION, end_ns=T0_NS + 4 * SECOND_NS)
    assert numbers(early) == [0]


def test_gaps_in_the_range_are_named(user: User, door: Stream) -> None:
    door.write_many([clip(0), clip(4), clip(9)])

    assert [(g.first_seq, g.last_seq) for g in user.ground(QUESTION).gaps] == [(1, 3), (5, 8)]
    late = user.ground(QUESTION, start_ns=T0_NS + 20 * SECOND_NS)
    assert [(g.first_seq, g.last_seq) for g in late.gaps] == [(5, 8)]


def test_short_memory_comes_when_asked(user: User, door: Stream) -> None:
    tokens = np.arange(8, dtype=np.float32).reshape(2, 4)
    door.write(clip(0, short_memory=tokens))

    (hit,) = user.ground(QUESTION, with_short_memory=True).hits

    assert isinstance(hit.clip.short_memory, np.ndarray)
    np.testing.assert_array_equal(hit.clip.short_memory, tokens.astype(np.float16))


def test_reranking_orders_by_the_tokens_and_tells_where(user: User, door: Stream) -> None:
    wanted = np.stack([vector(0, 0, 1), vector(0, 0, 0, 1)])
    other = np.stack([vector(1), vector(0, 1)])
    door.write(clip(0, vector(1, 0.1), short_memory=other, frames_per_token_row=1.0))
    door.write(clip(1, vector(1, 0.2), short_memory=wanted, frames_per_token_row=1.0))
    assert numbers(user.ground(QUESTION)) == [0, 1]

    found = user.ground(QUESTION, question_tokens=np.stack([vector(0, 0, 1)]), rerank=2)

    assert numbers(found) == [1, 0]
    assert found.hits[0].score > found.hits[1].score
    assert found.hits[0].spans


def test_a_float16_question_is_as_good(user: User, seen: Stream) -> None:
    assert numbers(user.ground(QUESTION.astype(np.float16))) == [1, 3, 2, 0]


def test_streams_of_several_spaces_need_the_space(db: Database, user: User, seen: Stream) -> None:
    db.create_space("sound", dim=3, metric="dot")
    mic = user.stream("mic", space="sound")
    mic.write(clip(0, np.array([2, 0, 0], np.float32)))
    question = np.array([1.5, 0, 0], np.float32)

    with pytest.raises(InvalidArgument) as caught:
        user.ground(question)
    assert (caught.value.reason, caught.value.field) == ("SPACE_REQUIRED", "space")
    (hit,) = user.ground(question, space="sound").hits
    assert hit.clip.stream == "mic"
    assert hit.score == pytest.approx(3)
    assert len(user.ground(question, streams=["mic"]).hits) == 1


def test_unknown_names_are_not_found(db: Database, user: User, seen: Stream) -> None:
    with pytest.raises(NotFound) as stream:
        user.ground(QUESTION, streams=["door", "nope"])
    assert (stream.value.reason, stream.value.value) == ("STREAM_NOT_FOUND", "nope")
    with pytest.raises(NotFound) as space:
        user.ground(QUESTION, space="nope")
    assert space.value.reason == "SPACE_NOT_FOUND"
    with pytest.raises(NotFound) as nobody:
        db.user("nobody").ground(QUESTION)
    assert nobody.value.reason == "USER_NOT_FOUND"


def test_a_space_in_which_there_is_no_stream_yet_has_no_clips(
    db: Database, user: User, seen: Stream
) -> None:
    before = user.revision()
    db.create_space("sound", dim=3, metric="dot")
    question = np.array([1.5, 0, 0], np.float32)
    asked: dict[str, Any] = {"space": "sound", "with_coverage": True, "fallback": "recent"}

    def nothing(**more: Any) -> None:
        for page in (asked, asked | {"cursor": ""}):
            answer = user.ground(question, **page, **more)
            assert (answer.hits, answer.fallback, answer.abstained) == ((), "none", True)
            assert (answer.coverage, answer.gaps, answer.revision) == ((), (), before)
        together = user.ground_many(np.stack([question] * 2), **asked, **more)
        assert [(one.hits, one.coverage) for one in together] == [((), ())] * 2
        memory = user.long_term(space="sound", **more)
        assert (memory.tokens.shape, memory.spans, memory.space) == ((0, 3), (), "sound")
        assert memory.revision == before
        tested = user.standing.backtest(question, min_score=0.5, space="sound", **more)
        assert (tested.clips, tested.alerts) == (0, ())
        # Not that what the door showed is nothing like it: it was never compared.
        with pytest.raises(FailedPrecondition, match="SPACE_MISMATCH"):
            user.ground(question, **asked, streams=["door"], **more)
        with pytest.raises(InvalidArgument, match="DIM_MISMATCH"):
            user.ground(QUESTION, **asked, **more)
        with pytest.raises(InvalidArgument, match="BAD_POLICY"):
            user.ground(question, policy="ixc-live", **asked, **more)

    nothing()
    nothing(as_of=before)
    mic = user.stream("mic", space="sound")
    mic.write(clip(0, np.array([2, 0, 0], np.float32)))
    assert [hit.clip.stream for hit in user.ground(question, space="sound").hits] == ["mic"]
    # What there was before is what it was, however much comes later.
    nothing(as_of=before)
    with pytest.raises(NotFound) as unknown:
        user.ground_many(np.stack([question]), space="nope", as_of=before)
    assert (unknown.value.reason, unknown.value.value) == ("SPACE_NOT_FOUND", "nope")


def test_users_do_not_see_each_other(db: Database, user: User, seen: Stream) -> None:
    bob = db.user("bob")
    bob.stream("door", space="clip").write(clip(0, at_angle(0.99)))

    assert numbers(user.ground(QUESTION)) == [1, 3, 2, 0]
    (hit,) = bob.ground(QUESTION).hits
    with pytest.raises(NotFound):
        user.clip(hit.clip.id)


def test_a_revision_that_is_not_reached_is_unavailable(user: User, seen: Stream) -> None:
    newest = user.revision()
    assert user.ground(QUESTION, min_revision=newest).revision == newest

    with pytest.raises(Unavailable) as caught:
        user.ground(QUESTION, min_revision=newest + 1)
    assert (caught.value.reason, caught.value.field) == ("BEHIND", "min_revision")


def test_what_is_answered_can_be_copied_and_taken_apart(user: User, door: Stream) -> None:
    door.write(clip(0, at_angle(0.9), labels={"zone": "porch"}, keyframes=(b"\xff\xd8",)))
    answer = user.ground(QUESTION, text="porch", explain=True, with_short_memory=True)
    (hit,) = answer.hits

    (copied,) = copy.deepcopy(answer).hits
    assert (copied.clip.id, copied.score) == (hit.clip.id, hit.score)
    assert copied.clip.labels == {"zone": "porch"}
    np.testing.assert_array_equal(copied.clip.global_memory, hit.clip.global_memory)
    told = dataclasses.asdict(hit)
    assert told["clip"]["labels"] == {"zone": "porch"}
    assert told["clip"]["seq"] == 0
    assert dataclasses.asdict(clip(1, labels={"zone": "porch"}))["labels"] == {"zone": "porch"}
    with pytest.raises(TypeError):
        hit.clip.labels["zone"] = "drive"  # type: ignore[index]


def test_what_is_no_direction_is_refused_before_there_is_a_clip(
    db: Database, user: User, door: Stream
) -> None:
    """As with one, now and as of the moment before it: what is wrong with it does not depend on what there is."""
    door.create()
    db.create_space("far", dim=4)
    before = user.revision()
    zero = np.zeros(4, np.float32)

    def refused(**more: Any) -> None:
        names: list[dict[str, Any]] = [{}, {"space": "clip"}, {"space": "far"}]
        for named in names:
            with pytest.raises(InvalidArgument) as feature:
                user.ground(zero, **named, **more)
            assert (feature.value.reason, feature.value.field) == (
                "ZERO_VECTOR",
                "question_feature",
            )
            with pytest.raises(InvalidArgument) as tokens:
                user.ground(policy="tokens", question_tokens=zero[None], **named, **more)
            assert (tokens.value.reason, tokens.value.field) == ("ZERO_VECTOR", "question_tokens")
            with pytest.raises(InvalidArgument) as together:
                user.ground_many(np.stack([QUESTION, zero]), **named, **more)
            assert together.value.field == "question_features[1]"

    refused()
    refused(as_of=before)
    door.write(clip(0))
    refused()
    refused(as_of=before)
    # Where products are no cosines it is a question like any other.
    db.create_space("sound", dim=3, metric="dot")
    assert user.ground(zero[:3], space="sound").abstained
