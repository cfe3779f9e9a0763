"""A large memory is searched approximately where that may be, says so, and exactly where it is asked to."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import memdb
from memdb import Clip, Grounding, InvalidArgument
from memdb.config import IndexConfig
from memdb.engine.database import EmbeddedDatabase
from memdb.index import partition
from memdb.index.tiers import Tiers
from memdb.types.arrays import Array
from memdb.types.database import Database, User
from memdb_client import connect
from tests.congruence.blocking import connect_blocking
from tests.congruence.media import SECOND_NS, T0_NS
from tests.congruence.server import ServerThread

pytestmark = pytest.mark.congruence

DIM = 256
CLIPS = 2600
INDEX = IndexConfig(device="cpu", approximate_rows_min=2500)
SCENES = np.random.default_rng(5).standard_normal((24, DIM)).astype(np.float32)
WAYS = np.random.default_rng(6).standard_normal((24, DIM)).astype(np.float32) * np.float32(0.1)


def seen(count: int, seed: int) -> Array:
    """(count, DIM) of a few scenes that come back, alike in a few ways."""
    rng = np.random.default_rng(seed)
    differ = rng.standard_normal((count, len(WAYS))).astype(np.float32) @ WAYS
    return SCENES[rng.integers(len(SCENES), size=count)] + differ


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that thousands of short vectors are worth an index."""
    monkeypatch.setattr(partition, "Tiers", partial(Tiers, bytes_min=0))


@contextmanager
def large(transport: str, directory: Path, index: IndexConfig = INDEX) -> Iterator[Database]:
    if transport == "embedded":
        with EmbeddedDatabase(directory, index=index) as embedded:
            yield embedded
        return
    with ServerThread(directory, index=index) as server:
        if transport == "sync":
            with connect(server.address) as db:
                yield db
        else:
            with connect_blocking(server.address) as db:
                yield db


def filled(db: Database) -> User:
    db.create_space("s", dim=DIM)
    user = db.user("alice")
    for number, stream in enumerate(("door", "porch")):
        vectors = seen(CLIPS // 2, number)
        clips = [
            Clip(
                seq=seq,
                start_ns=T0_NS + seq * SECOND_NS,
                end_ns=T0_NS + (seq + 1) * SECOND_NS,
                global_memory=vector,
            )
            for seq, vector in enumerate(vectors)
        ]
        camera = user.stream(stream, space="s")
        for begin in range(0, len(clips), 400):
            camera.write_many(clips[begin : begin + 400])
    return user


def told(answer: Grounding) -> list[tuple[str, float]]:
    return [(hit.clip.id, hit.score) for hit in answer.hits]


def approximate(user: User, questions: Array) -> Grounding:
    """The answer to the last question, once answers are approximate."""
    until = time.monotonic() + 300
    while True:
        for question in questions:
            answer = user.ground(question, limit=10)
        if answer.approximate:
            return answer
        assert time.monotonic() < until, "it stayed exact"
        # It is made beside these questions, on a machine that may be busy.
        time.sleep(0.3)


def test_what_is_found_approximately_and_what_exactly(transport: str, tmp_path: Path) -> None:
    questions = seen(40, 9)
    with large(transport, tmp_path / "data") as db:
        user = filled(db)
        before = user.ground(questions[-1], limit=10)
        assert not before.approximate, "nothing is approximate before it was measured"
        approximate(user, questions)

        found = sought = 0
        for question in questions:
            answer = user.ground(question, limit=10)
            exact = user.ground(question, limit=10, exact=True)
            assert answer.approximate
            assert not exact.approximate
            assert len(answer.hits) == 10
            # Whatever is missing, what is there has its exact score.
            scores = dict(told(user.ground(question, limit=1000, exact=True)))
            assert all(scores[clip] == score for clip, score in told(answer))
            found += len(dict(told(answer)).keys() & dict(told(exact)).keys())
            sought += 10
        assert found >= 0.99 * sought

        past = user.ground(questions[-1], limit=10, as_of=before.revision)
        assert not past.approximate
        assert told(past) == told(before)
        snapshot = user.snapshot("now", ttl_s=60)
        assert not user.ground(questions[0], as_of=snapshot).approximate
        assert told(user.ground(questions[0], as_of=snapshot)) == told(
            user.ground(questions[0], exact=True)
        )

        together = user.ground_many(questions[:5], limit=10)
        assert [told(one) for one in together] == [
            told(user.ground(question, limit=10)) for question in questions[:5]
        ]
        assert all(one.approximate for one in together)
        assert not any(one.approximate for one in user.ground_many(questions[:5], exact=True))
        assert all(one.approximate for one in user.ground_stream(questions[:5]))
        assert not any(one.approximate for one in user.ground_stream(questions[:5], exact=True))


@pytest.mark.parametrize(
    "options",
    [
        {"streams": ["porch"]},
        {"end_ns": T0_NS + 300 * SECOND_NS},
        {"min_relevance": 0.1},
        {"text": "somebody at the door"},
        {"policy": "ixc-offline"},
        {"limit": 100},
    ],
    ids=lambda options: next(iter(options)),
)
def test_what_is_never_approximate(tmp_path: Path, options: dict[str, Any]) -> None:
    questions = seen(40, 9)
    with large("embedded", tmp_path / "data") as db:
        user = filled(db)
        approximate(user, questions)
        for question in questions[:4]:
            answer = user.ground(question, **options)
            assert not answer.approximate
            assert told(answer) == told(user.ground(question, exact=True, **options))


def test_that_nothing_reaches_a_bar_is_said_of_all_clips(tmp_path: Path) -> None:
    """What reaches it may be found approximately."""
    questions = seen(40, 9)
    with large("embedded", tmp_path / "data") as db:
        user = filled(db)
        usual = approximate(user, questions)
        bar = usual.hits[4].score
        reached = user.ground(questions[-1], limit=10, min_score=bar)
        assert reached.approximate
        assert told(reached) == [hit for hit in told(usual) if hit[1] >= bar]
        beyond = user.ground(questions[-1], limit=10, min_score=1.5)
        assert not beyond.approximate
        assert beyond.hits == ()


def test_it_can_be_turned_off(tmp_path: Path) -> None:
    questions = seen(40, 9)
    with memdb.open(tmp_path / "data", approximate_rows_min=0) as db:
        user = filled(db)
        for _ in range(3):
            time.sleep(0.3)
            assert not any(user.ground(question).approximate for question in questions)
    with memdb.open(tmp_path / "data", approximate_rows_min=CLIPS) as db:
        approximate(db.user("alice"), questions)
    for bad in (-1, True, 0.5):
        with pytest.raises(InvalidArgument) as caught:
            memdb.open(tmp_path / "data", approximate_rows_min=bad)  # type: ignore[arg-type]
        assert (caught.value.field, caught.value.reason) == (
            "index.approximate_rows_min",
            "BAD_CONFIG",
        )
