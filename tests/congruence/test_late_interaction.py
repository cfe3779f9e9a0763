"""Late interaction: which clips, which frames, and what tokens weigh."""

from __future__ import annotations

import numpy as np
import pytest

from memdb.types.arrays import Array
from memdb.types.clip import Clip
from memdb.types.database import Stream, User
from memdb.types.grounding import Grounding
from tests.congruence.media import SECOND_NS, T0_NS, clip, vector

pytestmark = pytest.mark.congruence

CAT, PORCH, RAIN = vector(1), vector(0, 1), vector(0, 0, 1)
USUAL = vector(0, 1, 0.2)
"""What the camera always sees: the porch."""


def memory(*frames: Array) -> Array:
    """Two rows a frame: the frame, and what is always there."""
    return np.stack([row for frame in frames for row in (frame, USUAL)])


def seen(seq: int, *frames: Array) -> Clip:
    return clip(seq, USUAL, short_memory=memory(*frames), frames_per_token_row=0.5)


@pytest.fixture
def porch(door: Stream) -> Stream:
    """Twelve clips of four frames, one a second.  A cat in frames 1 and 3 of clip 3; rain all along
    clip 5."""
    for seq in range(12):
        frames = [USUAL] * 4
        if seq == 3:
            frames[1] = frames[3] = CAT
        if seq == 5:
            frames = [RAIN] * 4
        door.write(seen(seq, *frames))
    return door


def numbers(found: Grounding) -> list[int]:
    return [hit.clip.seq for hit in found.hits]


def test_spans_are_the_frames_that_matched(user: User, porch: Stream) -> None:
    hit = user.ground(policy="tokens", question_tokens=CAT[None], limit=1).hits[0]

    assert hit.clip.seq == 3
    start_ns = T0_NS + 12 * SECOND_NS
    # In the second and the fourth frame; what was away for one frame was there.
    assert [(s.start_ns, s.end_ns, s.first_frame, s.last_frame) for s in hit.spans] == [
        (start_ns + SECOND_NS, start_ns + 4 * SECOND_NS, 1, 3)
    ]
    assert hit.spans[0].score == pytest.approx(1, abs=1e-3)
    assert hit.score == pytest.approx(1, abs=1e-3)
    (rain,) = user.ground(policy="tokens", question_tokens=RAIN[None], limit=1).hits
    assert [(span.first_frame, span.last_frame) for span in rain.spans] == [(0, 3)]
    assert (rain.spans[0].start_ns, rain.spans[0].end_ns) == (rain.clip.start_ns, rain.clip.end_ns)


def test_what_the_camera_always_sees_weighs_nothing(user: User, porch: Stream) -> None:
    # Clip 12 is more of a porch than any other, and no cat.
    porch.write(seen(12, *[PORCH] * 4))
    question = np.stack([PORCH, PORCH, PORCH, 0.1 * CAT])

    learned = user.ground(policy="tokens", question_tokens=question, limit=1)
    plain = user.ground(policy="tokens", question_tokens=question, limit=13, weighting="uniform")

    assert numbers(learned) == [3]
    # Of four tokens only the cat counts.
    assert learned.hits[0].token_weights == (0, 0, 0, 1)
    assert plain.hits[0].token_weights == (0.25,) * 4
    assert learned.hits[0].score == pytest.approx(1, abs=1e-3)
    assert plain.hits[0].score == pytest.approx((3 * PORCH @ USUAL / 1.0198 + 1) / 4, abs=1e-3)
    reranked = user.ground(USUAL, question_tokens=question, rerank=13, limit=2)
    assert numbers(reranked)[0] == 3


def test_a_camera_that_is_always_alike_does_not_take_all_places(user: User, porch: Stream) -> None:
    yard = user.stream("yard", space="clip")
    cat_in_the_rain = clip(
        5, vector(0.6, 0, 0.8), short_memory=memory(RAIN, CAT), frames_per_token_row=0.5
    )
    yard.write_many(
        [clip(seq, RAIN, short_memory=memory(RAIN, RAIN)) for seq in range(5)] + [cat_in_the_rain]
    )
    # A cat on the porch: of the porch every clip of the door is.
    question = vector(1, 1)

    def asked(weighting: str, **options: object) -> list[tuple[str, int]]:
        found = user.ground(
            question,
            question_tokens=CAT[None],
            rerank=2,
            limit=2,
            weighting=weighting,
            **options,  # type: ignore[arg-type]
        )
        return [(hit.clip.stream, hit.clip.seq) for hit in found.hits]

    assert asked("idf")[0] == ("yard", 5)
    assert asked("idf", as_of=user.revision())[0] == ("yard", 5)
    # As published: the most alike, whatever their camera always sees.
    assert {stream for stream, _ in asked("uniform")} == {"door"}
    assert {stream for stream, _ in asked("idf", min_score=0.5)} == {"door"}


def test_without_a_feature_filters_and_limits_hold(user: User, porch: Stream) -> None:
    user.stream("yard", space="clip").write(seen(1, CAT, CAT))
    user.stream("bare", space="clip").write(clip(1, CAT))

    def asked(**options: object) -> Grounding:
        return user.ground(policy="tokens", question_tokens=CAT[None], **options)  # type: ignore[arg-type]

    assert [hit.clip.stream for hit in asked(limit=2).hits] == ["door", "yard"]
    assert numbers(asked(streams=["yard"])) == [1]
    assert numbers(asked(streams=["bare"])) == []
    assert numbers(asked(start_ns=T0_NS + 40 * SECOND_NS, limit=9)) == [10, 11]
    assert len(asked(min_score=0.9).hits) == 2
    nothing = asked(min_score=2)
    assert (nothing.hits, nothing.fallback) == ((), "none")
    recent = asked(min_score=2, fallback="recent")
    assert (numbers(recent), recent.fallback) == ([11], "recent")
    assert recent.revision == user.revision()
    (whole,) = asked(streams=["yard"], with_short_memory=True).hits
    assert isinstance(whole.clip.short_memory, np.ndarray)
    assert whole.clip.short_memory.shape == (4, 4)


def test_a_past_answer_stays_what_it_was(user: User, porch: Stream) -> None:
    question = np.stack([PORCH, CAT, RAIN])
    then = user.revision()

    def asked() -> list[object]:
        return [
            [(hit.clip.id, hit.score, hit.spans) for hit in answer.hits]
            for answer in (
                user.ground(policy="tokens", question_tokens=question, as_of=then, limit=12),
                user.ground(USUAL, question_tokens=question, rerank=12, as_of=then, limit=12),
            )
        ]

    before = asked()
    # From now on the camera always sees the cat.
    porch.write_many([seen(seq, CAT, CAT, CAT, CAT) for seq in range(12, 60)])

    assert asked() == before
    assert numbers(user.ground(policy="tokens", question_tokens=question, limit=1)) == [5]


def test_a_clip_that_does_not_say_has_spans_in_time_alone(user: User, door: Stream) -> None:
    door.write_many(
        [
            clip(seq, USUAL, short_memory=np.stack([USUAL, CAT if seq == 1 else USUAL]))
            for seq in range(4)
        ]
    )

    (hit,) = user.ground(policy="tokens", question_tokens=CAT[None], limit=1).hits

    (span,) = hit.spans
    assert (span.first_frame, span.last_frame) == (None, None)
    assert (span.start_ns, span.end_ns) == (hit.clip.start_ns + 2 * SECOND_NS, hit.clip.end_ns)


def test_clips_without_short_memory_are_found_by_the_fallback_alone(
    user: User, door: Stream
) -> None:
    door.write(clip(0, USUAL))
    assert user.ground(policy="tokens", question_tokens=CAT[None]).hits == ()
    recent = user.ground(policy="tokens", question_tokens=CAT[None], fallback="recent")
    assert (numbers(recent), recent.hits[0].spans) == ([0], ())
    assert recent.hits[0].token_weights == ()
