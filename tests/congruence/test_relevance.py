"""Relevance, the answer that says no, and what it rests on."""

from __future__ import annotations

import numpy as np
import pytest

from memdb.types.arrays import Array
from memdb.types.coverage import StreamCoverage
from memdb.types.database import Database, Stream, User
from memdb.types.grounding import Grounding
from tests.congruence.media import SECOND_NS, T0_NS, clip

pytestmark = pytest.mark.congruence

DIM = 256
"""In few dimensions random directions are as close as anything."""
HOUR_NS = 3600 * SECOND_NS
T0_HOUR_NS = T0_NS // HOUR_NS * HOUR_NS


def axes(*elements: float) -> Array:
    """A (256,) float32 array, zero where nothing is given."""
    array = np.zeros(DIM, np.float32)
    array[: len(elements)] = elements
    return array


QUESTION = axes(1)


def at(cosine: float) -> Array:
    """A unit vector with that cosine to the question."""
    return axes(cosine, float(np.sqrt(1 - cosine * cosine)))


@pytest.fixture
def door(db: Database, user: User) -> Stream:
    """A camera in a space of many dimensions."""
    db.create_space("wide", dim=DIM)
    return user.stream("door", space="wide")


def noise(count: int, around: float, seed: int) -> list[Array]:
    """Clips that the question has nothing to do with, of a camera with its own level of scores."""
    rng = np.random.default_rng(seed)
    return [at(float(c)) for c in np.clip(rng.normal(around, 0.05, count), -0.99, 0.99)]


def fill(stream: Stream, memories: list[Array]) -> None:
    stream.write_many([clip(seq, memory) for seq, memory in enumerate(memories)])


def numbers(grounding: Grounding) -> list[tuple[str, int]]:
    return [(hit.clip.stream, hit.clip.seq) for hit in grounding.hits]


def test_relevance_rises_with_the_score_and_lies_between_0_and_1(user: User, door: Stream) -> None:
    fill(door, [*noise(60, 0.1, 1), at(0.9)])

    found = user.ground(QUESTION, limit=61)

    relevances = [hit.relevance for hit in found.hits]
    assert all(value is not None and 0 <= value <= 1 for value in relevances)
    assert relevances == sorted(relevances, reverse=True)  # type: ignore[type-var]
    assert found.hits[0].clip.seq == 60
    assert (found.hits[0].relevance or 0) > 0.99
    assert (found.hits[1].relevance or 0) < 0.9
    assert (found.abstained, found.coverage) == (False, ())


def test_what_is_nothing_on_one_camera_is_something_on_another(user: User, door: Stream) -> None:
    """The bright camera gives 0.6 to everything, the dark one -0.2; what the question asks for was seen by
    the dark one, at a score below that of all clips of the bright one."""
    fill(door, noise(80, 0.6, 2))
    dark = user.stream("cellar", space="wide")
    fill(dark, [*noise(80, -0.2, 3), at(0.5)])

    assert {stream for stream, _ in numbers(user.ground(QUESTION))} == {"door"}
    found = user.ground(QUESTION, min_relevance=0.5)

    # Neither among the best by score, nor found by looking at the best alone.
    assert numbers(found) == [("cellar", 80)]
    assert user.ground(QUESTION, min_relevance=0.5, streams=["door"]).abstained


def test_an_answer_says_no_and_where_it_looked(user: User, door: Stream) -> None:
    door.create(zone="Europe/Berlin")
    fill(door, noise(50, 0.1, 4))
    door.write(clip(55, at(0.1)))
    fill(user.stream("porch", space="wide"), noise(10, 0.1, 5))

    no = user.ground(QUESTION, min_relevance=0.99)

    assert (no.hits, no.abstained, no.fallback) == ((), True, "none")
    assert [(gap.first_seq, gap.last_seq) for gap in no.gaps] == [(50, 54)]
    end_ns = T0_NS + 56 * 4 * SECOND_NS
    hours = ((T0_HOUR_NS, T0_HOUR_NS + HOUR_NS),)
    assert no.coverage == (
        StreamCoverage("door", 51, "Europe/Berlin", T0_NS, end_ns, 1, hours, missing=5),
        StreamCoverage("porch", 10, "UTC", T0_NS, T0_NS + 40 * SECOND_NS, 1, hours),
    )
    recent = user.ground(QUESTION, min_relevance=0.99, fallback="recent")
    assert (recent.abstained, recent.fallback, numbers(recent)) == (True, "recent", [("door", 55)])
    assert recent.hits[0].relevance is not None
    assert recent.coverage == no.coverage


def test_coverage_when_asked_for(user: User, door: Stream) -> None:
    day = [
        clip(seq, at(0.1), start_ns=T0_NS + seq * HOUR_NS, end_ns=T0_NS + seq * HOUR_NS + 1)
        for seq in range(24)
    ]
    door.write_many([one for one in day if one.seq not in (5, 6, 11)])

    (all_of_it,) = user.ground(QUESTION, with_coverage=True).coverage
    (some,) = user.ground(
        QUESTION, with_coverage=True, start_ns=T0_NS + 4 * HOUR_NS, end_ns=T0_NS + 10 * HOUR_NS
    ).coverage

    def hour(number: int) -> int:
        return T0_HOUR_NS + number * HOUR_NS

    assert (all_of_it.clips, all_of_it.hours, all_of_it.missing) == (21, 21, 3)
    assert all_of_it.stretches == ((hour(0), hour(5)), (hour(7), hour(11)), (hour(12), hour(24)))
    assert (some.clips, some.hours, some.missing) == (4, 4, 2)
    assert some.stretches == ((hour(4), hour(5)), (hour(7), hour(10)))


def test_a_clip_over_several_hours_counts_in_each(user: User, door: Stream) -> None:
    long = clip(0, at(0.1), start_ns=T0_HOUR_NS + 1, end_ns=T0_HOUR_NS + 3 * HOUR_NS)
    point = clip(1, at(0.1), start_ns=T0_HOUR_NS + 5 * HOUR_NS, end_ns=T0_HOUR_NS + 5 * HOUR_NS)
    door.write_many([long, point])

    (found,) = user.ground(QUESTION, with_coverage=True).coverage

    assert found.stretches == (
        (T0_HOUR_NS, T0_HOUR_NS + 3 * HOUR_NS),
        (T0_HOUR_NS + 5 * HOUR_NS, T0_HOUR_NS + 6 * HOUR_NS),
    )
    assert found.hours == 4


def test_nothing_seen_at_all(user: User, door: Stream) -> None:
    door.create()

    nothing = user.ground(QUESTION)

    assert (nothing.hits, nothing.abstained) == ((), True)
    assert nothing.coverage == (StreamCoverage("door", 0),)


def test_relevance_as_of_a_revision_stays_as_it_was(user: User, door: Stream) -> None:
    fill(door, noise(40, 0.1, 6))
    before = user.ground(QUESTION, with_coverage=True)
    no = user.ground(QUESTION, min_relevance=0.99)

    user.stream("later", space="wide").create()
    fill(user.stream("porch", space="wide"), noise(40, 0.5, 7))
    door.write_many([clip(seq, memory) for seq, memory in enumerate(noise(40, 0.4, 8), 40)])

    def shown(answer: Grounding) -> list[object]:
        hits = [(hit.clip.id, hit.score, hit.relevance) for hit in answer.hits]
        return [hits, answer.coverage, answer.abstained]

    assert shown(user.ground(QUESTION, with_coverage=True, as_of=before.revision)) == shown(before)
    assert shown(user.ground(QUESTION, min_relevance=0.99, as_of=no.revision)) == shown(no)
    assert shown(user.ground(QUESTION, with_coverage=True)) != shown(before)


def test_filters_do_not_change_a_relevance(user: User, door: Stream) -> None:
    fill(door, [*noise(60, 0.1, 9), at(0.6)])
    whole = {hit.clip.seq: hit.relevance for hit in user.ground(QUESTION, limit=61).hits}

    late = user.ground(QUESTION, start_ns=T0_NS + 59 * 4 * SECOND_NS, limit=9)

    assert {hit.clip.seq: hit.relevance for hit in late.hits} == {
        hit.clip.seq: whole[hit.clip.seq] for hit in late.hits
    }
    assert len(late.hits) == 2


def test_reranked_hits_keep_the_relevance_of_the_question_feature(user: User, door: Stream) -> None:
    door.write_many(
        [
            clip(seq, memory, short_memory=np.ones((2, DIM), np.float16))
            for seq, memory in enumerate(noise(9, 0.1, 10))
        ]
    )
    plain = {hit.clip.id: hit.relevance for hit in user.ground(QUESTION, limit=9).hits}

    ranked = user.ground(QUESTION, limit=9, rerank=9, question_tokens=np.ones((1, DIM), np.float32))

    assert {hit.clip.id: hit.relevance for hit in ranked.hits} == plain
    assert len(plain) == 9


def test_other_metrics_are_calibrated_too(db: Database, user: User) -> None:
    """An inner product has no natural bound, and all scores may be alike."""
    db.create_space("dot", dim=DIM, metric="dot")
    camera = user.stream("dots", space="dot")
    camera.write_many([clip(seq, axes(seq % 3, 100 + seq % 5)) for seq in range(30)])
    camera.write(clip(30, axes(900)))

    found = user.ground(QUESTION, space="dot", limit=31)

    assert found.hits[0].clip.seq == 30
    assert (found.hits[0].relevance or 0) > 0.99
    assert all(0 <= (hit.relevance or 0) < 0.9 for hit in found.hits[1:])
