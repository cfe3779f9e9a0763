"""A usual question in one go: what the parts of a grounding make of it, to the last bit."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from memdb.engine import one_go
from memdb.engine.database import EmbeddedDatabase
from memdb.engine.user import EmbeddedUser
from memdb.errors import InvalidArgument, NotFound
from memdb.index.matrix import WHOLE_ROWS_MAX
from memdb.types.arrays import Array
from memdb.types.clip import Clip
from memdb.types.grounding import Grounding

DIM = 24
SECOND_NS = 1_000_000_000


@pytest.fixture
def db(tmp_path: Path) -> Iterator[EmbeddedDatabase]:
    with EmbeddedDatabase(tmp_path / "data") as database:
        database.create_space("cam", dim=DIM)
        database.create_space("products", dim=DIM, metric="dot")
        yield database


def vectors(seed: int, count: int) -> Array:
    rows = np.random.default_rng(seed).standard_normal((count, DIM)).astype(np.float32)
    # Several are alike, so that equal scores meet.
    rows[count // 2 :: 3] = rows[0]
    return rows


def write(user: EmbeddedUser, stream: str, seqs: range, seed: int, space: str = "cam") -> None:
    user.stream(stream, space=space).write_many(
        [
            Clip(
                seq=seq,
                start_ns=seq * SECOND_NS,
                end_ns=(seq + 1) * SECOND_NS,
                global_memory=row,
            )
            for seq, row in zip(seqs, vectors(seed, len(seqs)), strict=True)
        ]
    )


def told(answer: Grounding) -> tuple[Any, ...]:
    hits = [(hit.clip.id, hit.clip.revision, hit.score, hit.relevance) for hit in answer.hits]
    state = answer.fallback, answer.abstained, answer.approximate
    return hits, answer.revision, answer.gaps, state


def by_parts(user: EmbeddedUser, question: Array, **options: Any) -> Grounding:
    """The same answer, with more told beside: which is no usual question."""
    return user.ground(question, with_coverage=True, **options)


class Counted:
    """Answers that were given in one go."""

    def __init__(self) -> None:
        self.answer = one_go.answer
        self.given = 0

    def __call__(self, *arguments: Any) -> Grounding | None:
        answer = self.answer(*arguments)
        self.given += answer is not None
        return answer


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Counted:
    counted = Counted()
    monkeypatch.setattr(one_go, "answer", counted)
    return counted


@pytest.mark.parametrize("streams", [1, 2, 5])
def test_it_is_the_answer_of_the_parts(
    db: EmbeddedDatabase, counted: Counted, streams: int
) -> None:
    user = db.user("alice")
    for batch in range(3):  # so that the rows of a stream lie apart
        for number in range(streams):
            begin = batch * 9 + batch  # one is missing between two
            write(user, f"s{number}", range(begin, begin + 9), 10 * number + batch)
    user.erase_clips(clip_ids=[user.clips(limit=3)[2].id])

    asked = 0
    for seed in range(12):
        question = vectors(100 + seed, 2)[1] if seed else vectors(0, 9)[0]
        for limit in (1, 10, 1000):
            for times in ((None, None), (5, 21), (None, 11), (12, None), (12, 13)):
                start_ns, end_ns = (None if time is None else time * SECOND_NS for time in times)
                options: dict[str, Any] = {"limit": limit, "start_ns": start_ns, "end_ns": end_ns}
                for named in (None, ["s0"]):
                    options["streams"] = named
                    one, other = (
                        user.ground(question, **options),
                        by_parts(user, question, **options),
                    )
                    asked += 1
                    assert told(one) == told(other)
                    again = user.ground(question, **options)
                    assert told(again) == told(one)
                    past = user.ground(question, as_of=one.revision, **options)
                    assert told(past) == told(one)
    assert counted.given > asked  # but for those that find nothing


def test_so_it_is_after_each_commit(db: EmbeddedDatabase, counted: Counted) -> None:
    user = db.user("alice")
    question = vectors(7, 2)[1]
    commits = range(0, WHOLE_ROWS_MAX + 60, 20)
    for seq in commits:
        write(user, "door", range(seq, seq + 20), seq)
        assert told(user.ground(question, limit=10)) == told(by_parts(user, question, limit=10))
    assert counted.given == len(commits)


def test_a_clip_that_went_is_not_in_the_next_answer(db: EmbeddedDatabase, counted: Counted) -> None:
    user = db.user("alice")
    write(user, "door", range(20), 1)
    question = vectors(1, 20)[5]
    best = user.ground(question).hits[0].clip.id
    user.erase_clips(clip_ids=[best])

    answer = user.ground(question)

    assert best not in [hit.clip.id for hit in answer.hits]
    assert told(answer) == told(by_parts(user, question))
    assert counted.given == 2


def test_what_is_not_usual_is_refused_or_answered_as_ever(
    db: EmbeddedDatabase, counted: Counted
) -> None:
    user = db.user("alice")
    write(user, "door", range(20), 1)
    write(user, "shop", range(20), 2, "products")
    question = vectors(3, 2)[1]
    with pytest.raises(InvalidArgument, match="span several"):
        user.ground(question)
    with pytest.raises(InvalidArgument, match="dim"):
        user.ground(question[:-1], space="cam")
    with pytest.raises(InvalidArgument, match="zero vector"):
        user.ground(np.zeros(DIM, np.float32), space="cam")
    with pytest.raises(NotFound):
        user.ground(question, streams=["window"])
    unusual: list[dict[str, Any]] = [
        {"streams": ["shop"]},
        {"space": "products"},
        {"space": "cam", "text": "x"},
    ]
    for options in unusual:
        assert told(user.ground(question, **options)) == told(by_parts(user, question, **options))
    nothing = user.ground(question, space="cam", start_ns=100 * SECOND_NS)
    assert nothing.abstained
    assert not nothing.hits
    assert nothing.coverage
    assert counted.given == 0

    assert told(user.ground(question, space="cam")) == told(by_parts(user, question, space="cam"))
    assert counted.given == 1
