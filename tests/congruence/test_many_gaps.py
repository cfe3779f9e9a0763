"""More gaps than an answer names: it names the newest and counts the rest, however it is asked."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from memdb.types.database import Stream, User
from memdb.types.grounding import Grounding
from memdb.types.limits import GAPS_TOLD_MAX
from tests.congruence.media import SECOND_NS, T0_NS, clip, vector

pytestmark = pytest.mark.congruence

QUESTION = vector(1)
EARLIER_NS = 100_000 * SECOND_NS
"""By so much the clips of the later epoch are earlier."""


def told(answer: Grounding) -> tuple[list[tuple[int, int]], int]:
    return [(gap.epoch, gap.first_seq) for gap in answer.gaps], answer.gaps_left_out


def answers(user: User, as_of: int | None = None) -> Iterator[Grounding]:
    """The same question in every way."""
    yield user.ground(QUESTION, as_of=as_of)
    yield user.ground(QUESTION, as_of=as_of, limit=2, cursor="")
    yield user.ground(QUESTION, as_of=as_of, min_score=2.0)
    yield from user.ground_many(np.stack([QUESTION, vector(0, 1)]), as_of=as_of)
    yield from user.ground_stream([QUESTION, vector(0, 1)], as_of=as_of)


def test_an_answer_names_the_newest_gaps_and_counts_the_rest(user: User, door: Stream) -> None:
    """Few, exactly as many as are named, one more; then many, of an epoch whose number says nothing about its time."""
    door.write_many([clip(2 * n + 1) for n in range(GAPS_TOLD_MAX - 1)])
    few = user.revision()
    door.write(clip(2 * GAPS_TOLD_MAX - 1))
    exactly = user.revision()
    door.write(clip(2 * GAPS_TOLD_MAX + 1))
    more = user.revision()
    early_ns = T0_NS - EARLIER_NS
    door.write_many(
        [clip(2 * n + 1, epoch=1, start_ns=early_ns + n, end_ns=early_ns + n) for n in range(500)]
    )

    named = [(0, 2 * n) for n in range(GAPS_TOLD_MAX + 1)]
    wanted = {
        few: (named[:-2], 0),
        exactly: (named[:-1], 0),
        more: (named[1:], 1),
        None: (named[1:], 501),
    }
    for as_of, expected in wanted.items():
        found = [told(answer) for answer in answers(user, as_of)]
        assert found == [expected] * len(found)
    assert len(door.gaps()) == GAPS_TOLD_MAX + 501
    nothing = user.ground(QUESTION, min_score=2.0)
    assert nothing.abstained
    assert [part.missing for part in nothing.coverage] == [GAPS_TOLD_MAX + 501]
    # Of the times that are asked about.
    early = user.ground(QUESTION, end_ns=T0_NS - 1)
    assert told(early) == ([(0, 0), *((1, 2 * n) for n in range(500))], 0)
