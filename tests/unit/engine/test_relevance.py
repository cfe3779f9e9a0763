"""Relevance: exact under a least one, the same after anything that keeps the clips, and sound at the extremes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from memdb import Clip, FailedPrecondition, StreamInfo
from memdb.config import EngineConfig
from memdb.engine import nulls
from memdb.engine.database import EmbeddedDatabase
from memdb.engine.nulls import Null, Nulls, even_places
from memdb.engine.user import EmbeddedUser
from memdb.types.arrays import Array
from memdb.types.grounding import Grounding
from memdb.types.operation import CreateStream

DIM = 64
CONFIG = EngineConfig(map_bytes_initial=1 << 20, disk_free_bytes_min=1 << 20)
SECOND_NS = 10**9


@pytest.fixture
def db(tmp_path: Path) -> Iterator[EmbeddedDatabase]:
    with EmbeddedDatabase(tmp_path / "data", config=CONFIG) as opened:
        opened.create_space("wide", dim=DIM)
        opened.create_space("dot", dim=DIM, metric="dot")
        yield opened


def clip(seq: int, memory: Array, **fields: bool) -> Clip:
    return Clip(
        seq=seq,
        start_ns=seq * 10 * SECOND_NS,
        end_ns=(seq + 1) * 10 * SECOND_NS,
        global_memory=memory,
        **fields,  # type: ignore[arg-type]
    )


def shown(answer: Grounding) -> list[tuple[str, int, float, float]]:
    return [(hit.clip.stream, hit.clip.seq, hit.score, hit.relevance or 0.0) for hit in answer.hits]


def fill(user: EmbeddedUser, seed: int, streams: int = 6) -> None:
    """Cameras of different sizes, each with its own level of scores to axis 0, in turns."""
    rng = np.random.default_rng(seed)
    levels = rng.uniform(-2, 4, streams)
    for turn in range(3):
        for number, level in enumerate(levels):
            count = int(rng.integers(1, 40))
            vectors = rng.standard_normal((count, DIM)).astype(np.float32)
            vectors[:, 0] += np.float32(level)
            stream = user.stream(f"s{number}", space="wide")
            first = stream.ledger().next_seq
            stream.write_many([clip(first + place, row) for place, row in enumerate(vectors)])
        if turn == 1:
            user.stream("s0").write(
                clip(user.stream("s0").ledger().next_seq, vectors[0], sealed=False)
            )


@pytest.mark.parametrize("seed", range(8))
def test_a_least_relevance_gives_the_best_of_all_that_have_it(
    db: EmbeddedDatabase, seed: int
) -> None:
    """Against every clip that there is, looked at one by one."""
    user = db.user("alice")
    fill(user, seed)
    rng = np.random.default_rng(seed)
    question = rng.standard_normal(DIM).astype(np.float32)
    question[0] += np.float32(3)
    revision = user.revision()
    for options in (
        {},
        {"as_of": revision // 2},
        {"streams": ["s1", "s3", "s4"]},
        {"start_ns": 100 * SECOND_NS, "end_ns": 300 * SECOND_NS},
    ):
        everything = shown(user.ground(question, limit=1000, **options))
        relevances = sorted({relevance for *_, relevance in everything})
        for least in (0.0, *relevances[:: max(1, len(relevances) // 7)], relevances[-1], 1.0):
            for limit in (1, 4, 50):
                found = user.ground(question, limit=limit, min_relevance=least, **options)
                expected = [hit for hit in everything if hit[3] >= least][:limit]
                assert shown(found) == expected
                assert found.abstained == (not expected)


def test_many_streams_are_looked_at_like_few(db: EmbeddedDatabase) -> None:
    user = db.user("alice")
    fill(user, 11, streams=12)
    question = np.eye(DIM, dtype=np.float32)[0]
    all_at_once = shown(user.ground(question, limit=1000))

    one_by_one = [
        hit
        for number in range(12)
        for hit in shown(user.ground(question, limit=1000, streams=[f"s{number}"]))
    ]

    assert sorted(all_at_once) == sorted(one_by_one)


def test_a_least_score_counts_as_well(db: EmbeddedDatabase) -> None:
    user = db.user("alice")
    fill(user, 3)
    question = np.eye(DIM, dtype=np.float32)[0]
    everything = shown(user.ground(question, limit=1000))
    middle = everything[len(everything) // 2]

    found = user.ground(question, limit=1000, min_relevance=middle[3], min_score=middle[2])

    assert shown(found) == [h for h in everything if h[2] >= middle[2] and h[3] >= middle[3]]


def test_a_published_policy_is_asked_first(db: EmbeddedDatabase) -> None:
    """The rule chooses as published; what it chose must have the relevance as well."""
    user = db.user("alice")
    question = np.eye(DIM, dtype=np.float32)[0]
    memory = np.zeros(DIM, np.float32)
    memory[:2] = 0.35, np.sqrt(1 - 0.35**2)
    user.stream("s0", space="wide").write_many([clip(0, memory), clip(1, question)])

    assert [seq for _, seq, *_ in shown(user.ground(question, policy="ixc-live"))] == [0]
    assert user.ground(question, policy="ixc-live", min_relevance=0.5).abstained
    assert [hit[1] for hit in shown(user.ground(question, min_relevance=0.2))] == [1]


def test_the_same_after_a_restart_and_in_another_user(tmp_path: Path) -> None:
    question = np.eye(DIM, dtype=np.float32)[0]
    with EmbeddedDatabase(tmp_path / "data", config=CONFIG) as db:
        db.create_space("wide", dim=DIM)
        fill(db.user("alice"), 1)
        fill(db.user("bob"), 1)
        before = shown(db.user("alice").ground(question, limit=1000))
        assert shown(db.user("bob").ground(question, limit=1000)) == before
    with EmbeddedDatabase(tmp_path / "data", config=CONFIG) as db:
        assert shown(db.user("alice").ground(question, limit=1000)) == before


def test_what_was_erased_counts_no_more(db: EmbeddedDatabase) -> None:
    question = np.eye(DIM, dtype=np.float32)[0]
    rng = np.random.default_rng(4)
    vectors = rng.standard_normal((90, DIM)).astype(np.float32)
    vectors[30:60, 0] += 5
    for name, kept in (("alice", range(90)), ("bob", [*range(30), *range(60, 90)])):
        db.user(name).stream("s0", space="wide").write_many([clip(s, vectors[s]) for s in kept])
    alice, bob = db.user("alice"), db.user("bob")
    assert shown(alice.ground(question, limit=5)) != shown(bob.ground(question, limit=5))

    alice.stream("s0").erase(start_ns=300 * SECOND_NS, end_ns=600 * SECOND_NS)

    assert shown(alice.ground(question, limit=90)) == shown(bob.ground(question, limit=90))


@pytest.mark.parametrize("scale", [0.0, 1e-30, 1.0, 1e15, 3e38])
def test_lengths_at_the_ends_of_what_there_is(db: EmbeddedDatabase, scale: float) -> None:
    """An inner product may vanish or overflow; a relevance is a number all the same."""
    user = db.user("alice")
    rng = np.random.default_rng(5)
    vectors = rng.uniform(-1, 1, (20, DIM)).astype(np.float32) * np.float32(scale)
    user.stream("dots", space="dot").write_many([clip(s, row) for s, row in enumerate(vectors)])

    for question in (vectors[0], np.ones(DIM, np.float32), np.full(DIM, 3e38, np.float32)):
        relevances = [hit.relevance for hit in user.ground(question, limit=20, space="dot").hits]
        assert all(value is not None and 0 <= value <= 1 for value in relevances)


def test_a_lone_clip_has_nothing_to_stand_out_of(db: EmbeddedDatabase) -> None:
    user = db.user("alice")
    question = np.eye(DIM, dtype=np.float32)[0]
    user.stream("s0", space="wide").write(clip(0, question))

    (hit,) = user.ground(question).hits

    assert 0 < (hit.relevance or 0) < 0.9


@pytest.mark.parametrize(("count", "most"), [(0, 8), (1, 8), (8, 8), (9, 8), (17, 8), (5400, 64)])
def test_even_places(count: int, most: int) -> None:
    places = even_places(count, most)

    assert len(places) == min(count, most)
    assert len(set(places.tolist())) == len(places)
    if count:
        assert places[0] == 0
        assert places[-1] < count
        steps = np.diff(places)
        assert len(steps) == 0 or steps.max() - steps.min() <= 1


def test_a_zone_that_this_machine_does_not_have(db: EmbeddedDatabase) -> None:
    """As of a directory from a machine with a newer database of zones: only what needs it is refused."""
    user = db.user("alice")
    user.commit(CreateStream("s0", db.space("wide"), "Mars/Olympus"), StreamInfo, create=True)
    question = np.eye(DIM, dtype=np.float32)[0]
    user.stream("s0").write(clip(0, question))

    with pytest.raises(FailedPrecondition) as caught:
        user.ground(question, hours=[("22:00", "06:00")])

    assert (caught.value.reason, caught.value.value) == ("ZONE_UNKNOWN", "Mars/Olympus")
    assert len(user.ground(question).hits) == 1
    assert len(user.ground(question, weekdays=["thu"], zone="UTC").hits) == 1


class Forgetful(dict[tuple[int, int | None], Null]):
    """What another question empties between two looks at it."""

    def get(self, key: object, default: object = None) -> None:  # type: ignore[override]
        return None

    def __contains__(self, key: object) -> bool:
        return True


def test_what_another_question_clears_meanwhile_is_made_again(db: EmbeddedDatabase) -> None:
    user = db.user("alice")
    fill(user, 2)
    with db._users.use("alice") as memory:
        (partition,) = memory.view.partitions.values()
    streams = np.unique(partition.columns["stream_no"]).tolist()
    expected = Nulls(partition, None).of(streams)
    found = Nulls(replace(partition, nulls=Forgetful()), None).of(streams)
    assert [null.mean.tobytes() for null in found] == [null.mean.tobytes() for null in expected]


def test_the_means_of_many_streams_and_revisions_are_not_all_remembered(
    db: EmbeddedDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    user = db.user("alice")
    fill(user, 2)
    with db._users.use("alice") as memory:
        (partition,) = memory.view.partitions.values()
    streams = np.unique(partition.columns["stream_no"]).tolist()
    assert len(streams) > 1
    expected = [null.mean.tobytes() for null in Nulls(partition, None).of(streams)]
    for room in (0, 1, len(streams)):
        monkeypatch.setattr(nulls, "KEPT_BYTES_MAX", room * 8 * partition.dim)
        view = replace(partition, nulls={})
        for as_of in (None, user.revision(), None):
            found = Nulls(view, as_of).of(streams)
            assert [null.mean.tobytes() for null in found] == expected
            assert len(view.nulls) == room


def test_nor_are_the_means_of_all_streams_held_at_once(
    db: EmbeddedDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    user = db.user("alice")
    fill(user, 2)
    question = np.eye(DIM, dtype=np.float32)[0]
    options: dict[str, Any] = {
        "question_tokens": question[None],
        "rerank": 5,
        "limit": 40,
        "min_relevance": 0.001,
    }
    expected = shown(user.ground(question, **options))
    asked: list[int] = []
    made = Nulls.of

    def counted(self: Nulls, stream_nos: list[int]) -> list[Null]:
        asked.append(len(stream_nos))
        return made(self, stream_nos)

    monkeypatch.setattr(Nulls, "of", counted)
    assert shown(user.ground(question, **options)) == expected
    assert max(asked) > 2
    asked.clear()
    monkeypatch.setattr(nulls, "KEPT_BYTES_MAX", 2 * 8 * DIM)
    assert shown(user.ground(question, **options)) == expected
    assert max(asked) == 2
