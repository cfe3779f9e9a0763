"""Late interaction where clips are damaged, removed, thinned or many."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from memdb import Retention
from memdb.clock import ManualClock
from memdb.engine import background, rerank
from memdb.engine.background import SAMPLE_CLIPS, sampled_rows
from memdb.engine.database import EmbeddedDatabase
from memdb.engine.hydrate import ClipGone
from memdb.engine.rerank import LateInteraction
from memdb.engine.user import EmbeddedUser
from memdb.index.late_interaction import best_cosines
from memdb.types.arrays import Array
from memdb.types.grounding import Grounding
from tests.unit.engine.conftest import CONFIG, DIM, SECOND_NS, clip
from tests.unit.engine.damaged import change, flipped_value

QUESTION = np.eye(DIM, dtype=np.float32)[:1]


def memory(seq: int) -> Array:
    """Eight frames of two rows; clip ``seq`` has the more of the question the higher its number."""
    rows = np.random.default_rng(seq).normal(size=(16, DIM)) * 0.01
    rows[:, 1] += 1
    rows[6, 0] += seq / 10
    return rows.astype(np.float32)


def written(db: EmbeddedDatabase, count: int, stream: str = "door", first: int = 0) -> EmbeddedUser:
    user = db.user("alice")
    user.stream(stream, space="cam").write_many(
        [
            clip(seq, short_memory=memory(seq), frames_per_token_row=0.5)
            for seq in range(first, first + count)
        ]
    )
    return user


def asked(user: EmbeddedUser, **options: object) -> Grounding:
    return user.ground(policy="tokens", question_tokens=QUESTION, **options)  # type: ignore[arg-type]


def seqs(found: Grounding) -> list[int]:
    return [hit.clip.seq for hit in found.hits]


def test_a_damaged_clip_is_told_and_the_others_answer(folder: Path, clock: ManualClock) -> None:
    with EmbeddedDatabase(folder / "data", config=CONFIG, clock=clock) as db:
        db.create_space("cam", dim=DIM)
        written(db, 6)
        path = db._directory.user_path("alice")
    change(path, "short_memory", 5, flipped_value)
    with EmbeddedDatabase(folder / "data", config=CONFIG, clock=clock) as db:
        user = db.user("alice")
        # In the sample, and not in what is asked about: nothing of the answer is missing.
        early = asked(user, end_ns=30 * SECOND_NS)
        assert (seqs(early), early.gaps) == ([2, 1, 0], ())
    with EmbeddedDatabase(folder / "data", config=CONFIG, clock=clock) as db:
        found = asked(db.user("alice"), limit=6)
        assert seqs(found) == [4, 3, 2, 1, 0]
        assert [(gap.first_seq, gap.reason) for gap in found.gaps] == [(5, "damaged")]
        again = asked(db.user("alice"), limit=6)
        assert (seqs(again), again.gaps) == (seqs(found), found.gaps)


@pytest.mark.parametrize("lost", [1, SAMPLE_CLIPS])
def test_spans_are_the_same_once_damage_of_the_sample_is_known(
    folder: Path, clock: ManualClock, lost: int
) -> None:
    random = np.random.default_rng(7)
    tokens = random.normal(size=(3, DIM)).astype(np.float32)
    with EmbeddedDatabase(folder / "data", config=CONFIG, clock=clock) as db:
        db.create_space("cam", dim=DIM)
        db.user("alice").stream("door", space="cam").write_many(
            clip(seq, short_memory=random.normal(size=(12, DIM)).astype(np.float32))
            for seq in range(40)
        )
        path = db._directory.user_path("alice")
        with db._users.use("alice") as opened:
            (partition,) = opened.view.partitions.values()
            (sample,) = sampled_rows(partition, (0,), None).values()
    for entry in sample.tolist()[:lost]:
        change(path, "short_memory", entry, flipped_value)
    with EmbeddedDatabase(folder / "data", config=CONFIG, clock=clock) as db:
        first, second = (
            [
                (hit.clip.seq, hit.score, hit.spans)
                for hit in db.user("alice").ground(
                    policy="tokens", question_tokens=tokens, limit=40
                )
            ]
            for _ in range(2)
        )
        assert len(first) == 40 - lost
        assert first == second


def test_damage_that_is_known_is_told_once(folder: Path, clock: ManualClock) -> None:
    with EmbeddedDatabase(folder / "data", config=CONFIG, clock=clock) as db:
        db.create_space("cam", dim=DIM)
        written(db, 3)
        path = db._directory.user_path("alice")
    change(path, "short_memory", 1, flipped_value)
    with EmbeddedDatabase(folder / "data", config=CONFIG, clock=clock) as db:
        for _ in range(2):
            found = db.user("alice").ground(QUESTION[0], with_short_memory=True)
            assert len(found.hits) == 2
            assert [(gap.first_seq, gap.reason) for gap in found.gaps] == [(1, "damaged")]


@pytest.mark.parametrize("options", [{}, {"weighting": "uniform"}, {"text": "cat"}])
def test_pages_go_on_behind_damaged_candidates(
    folder: Path, clock: ManualClock, options: dict[str, Any]
) -> None:
    with EmbeddedDatabase(folder / "data", config=CONFIG, clock=clock) as db:
        db.create_space("cam", dim=DIM)
        written(db, 12)
        path = db._directory.user_path("alice")
    for entry in (1, 4, 7, 10):
        change(path, "short_memory", entry, flipped_value)
    with EmbeddedDatabase(folder / "data", config=CONFIG, clock=clock) as db:
        user = db.user("alice")
        question: dict[str, Any] = {"question_tokens": QUESTION, "rerank": 9, **options}
        whole = user.ground(QUESTION[0], limit=100, **question)
        paged: list[int] = []
        cursor: str | None = ""
        while cursor is not None:
            page = user.ground(QUESTION[0], limit=2, cursor=cursor, **question)
            paged += seqs(page)
            cursor = page.next_cursor
        assert paged == seqs(whole)
        assert {0, 2, 3, 5, 6, 8, 9, 11} <= set(paged)


def test_a_clip_that_was_removed_meanwhile_is_no_damage(db: EmbeddedDatabase) -> None:
    """A reader's view may be older than what the store holds."""
    user = written(db, 4)
    with db._users.use("alice") as opened:
        before = opened.view
    user.erase_clips([asked(user).hits[0].clip.id])
    with db._users.use("alice") as opened, opened.environment.read() as txn:
        (partition,) = before.partitions.values()
        damaged: list[object] = []
        interaction = LateInteraction(
            txn,
            before,
            partition,
            None,
            QUESTION,
            "idf",
            damaged,  # type: ignore[arg-type]
        )
        with pytest.raises(ClipGone):
            interaction.rank(np.arange(4), None, "rerank", 4)
        assert (damaged, opened.view.found) == ([], [])


def test_what_retention_took_is_compared_no_more(db: EmbeddedDatabase) -> None:
    user = written(db, 5)
    door = user.stream("door")
    sizes = [hit.clip for hit in asked(user, limit=5).hits]
    assert len(sizes) == 5
    door.set_retention(Retention(max_bytes=3 * 16 * DIM * 2))
    db.sweep()
    left = asked(user, limit=5)
    assert seqs(left) == sorted(seqs(left), reverse=True)
    assert 0 < len(left.hits) < 5
    # By the feature all of them are still found, those without short-term memory last.
    found = user.ground(
        QUESTION[0], question_tokens=QUESTION, rerank=5, limit=5, weighting="uniform"
    )
    assert seqs(found)[: len(left.hits)] == seqs(left)
    assert [hit.spans == () for hit in found.hits] == [False] * len(left.hits) + [True] * (
        5 - len(left.hits)
    )


def test_the_sample_is_of_the_revision_and_hardly_changes(db: EmbeddedDatabase) -> None:
    user = written(db, 40)
    then = user.revision()

    def sample(as_of: int | None) -> list[int]:
        with db._users.use("alice") as opened:
            (partition,) = opened.view.partitions.values()
            (rows,) = sampled_rows(partition, (0,), as_of).values()
            return sorted(partition.columns["clip_no"][rows].tolist())

    before = sample(None)
    assert len(before) == SAMPLE_CLIPS
    written(db, 10, first=40)
    assert sample(then) == before
    assert len(set(sample(None)) & set(before)) >= SAMPLE_CLIPS - 4


@pytest.mark.parametrize("per_clip", [0, 1, 8])
def test_the_sample_has_the_least_hashes(monkeypatch: pytest.MonkeyPatch, per_clip: int) -> None:
    """Also where hardly any hash is taken for low, which is a matter of chance alone."""
    monkeypatch.setattr(background, "_LOW_PER_CLIP", per_clip)
    random = np.random.default_rng(1)
    streams = random.choice([1, 2, 5], size=5000, p=[0.9, 0.099, 0.001]).astype(np.uint32)
    hashes = background._hashed(np.arange(5000, dtype=np.uint64))
    low = background._low(streams, hashes, 8)
    for stream in (1, 2, 5):
        of_it = np.flatnonzero(streams == stream)
        assert low[of_it[np.argsort(hashes[of_it])[:8]]].all()
    assert len(np.unique(hashes)) == 5000
    assert per_clip < 8 or np.count_nonzero(low) < 400


def test_many_streams_share_the_sample(db: EmbeddedDatabase) -> None:
    for number in range(70):
        written(db, 4, stream=f"cam{number}")
    with db._users.use("alice") as opened:
        (partition,) = opened.view.partitions.values()
        every = sampled_rows(partition, tuple(range(70)), None)
        assert {len(rows) for rows in every.values()} == {3}
        assert all((partition.columns["stream_no"][rows] == no).all() for no, rows in every.items())


def test_candidates_are_taken_by_their_global_memory(
    db: EmbeddedDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    user = db.user("alice")
    near, far = np.zeros((2, DIM), np.float32)
    near[0] = far[1] = 1
    user.stream("door", space="cam").write_many(
        [
            clip(seq, global_memory=near if seq < 3 else far, short_memory=memory(seq))
            for seq in range(6)
        ]
    )
    read: list[int] = []

    def counting(questions: Array, rows: Array) -> Array:
        read.append(len(rows))
        return best_cosines(questions, rows)

    assert seqs(asked(user, limit=2)) == [5, 4]
    monkeypatch.setattr("memdb.engine.background.SAMPLE_CLIPS", 2)
    monkeypatch.setattr(rerank, "best_cosines", counting)
    assert seqs(asked(user, limit=2, rerank=3)) == [2, 1]
    assert len(read) <= 5


def test_clips_without_short_term_memory_take_no_candidates_place(db: EmbeddedDatabase) -> None:
    user = written(db, 3)
    user.stream("door").write_many(clip(seq, global_memory=QUESTION[0]) for seq in range(3, 9))
    assert sorted(seqs(asked(user, rerank=3))) == [0, 1, 2]
    assert sorted(seqs(asked(user, rerank=3, streams=["door"]))) == [0, 1, 2]


def test_the_most_tokens_that_a_question_may_have_are_matched(db: EmbeddedDatabase) -> None:
    user = written(db, 1)
    tokens = np.ones((65_536, DIM), np.float32)
    found = user.ground(policy="tokens", question_tokens=tokens)
    assert seqs(found) == [0]
    assert found.hits[0].spans


@pytest.mark.parametrize("seed", range(4))
def test_answers_of_every_revision_stay(folder: Path, clock: ManualClock, seed: int) -> None:
    """Weights, scores and spans, whatever is written after it, and when everything is read anew."""
    random = np.random.default_rng(seed)
    tokens = random.normal(size=(3, DIM)).astype(np.float32)

    def answers(db: EmbeddedDatabase, as_of: int) -> list[object]:
        user = db.user("alice")
        return [
            [(hit.clip.id, hit.score, hit.spans, hit.token_weights) for hit in found.hits]
            for found in (
                user.ground(policy="tokens", question_tokens=tokens, as_of=as_of, limit=50),
                user.ground(tokens[0], question_tokens=tokens, rerank=20, as_of=as_of, limit=20),
                user.ground(policy="tokens", question_tokens=tokens, as_of=as_of, rerank=3),
            )
        ]

    kept: dict[int, list[object]] = {}
    with EmbeddedDatabase(folder / "data", config=CONFIG, clock=clock) as db:
        db.create_space("cam", dim=DIM)
        growing: dict[str, int] = {"door": 0, "yard": 0}
        for _ in range(40):
            stream = str(random.choice(["door", "yard"]))
            sealed = bool(random.random() < 0.6)
            seq = growing[stream]
            rows = random.normal(size=(int(random.integers(1, 12)), DIM)).astype(np.float32)
            memory_there = None if random.random() < 0.2 else rows
            written_clip = clip(
                seq,
                global_memory=random.normal(size=DIM).astype(np.float32),
                short_memory=memory_there,
                frames_per_token_row=float(random.choice([0.5, 1.0, 1.5])),
                sealed=sealed,
            )
            codec = str(random.choice(["plain", "int8", "delta"]))
            handle = db.user("alice").stream(stream, space="cam", codec=codec)
            revision = handle.write(written_clip).revision
            growing[stream] += sealed
            kept[revision] = answers(db, revision)
        for revision, expected in kept.items():
            assert answers(db, revision) == expected
    with EmbeddedDatabase(folder / "data", config=CONFIG, clock=clock) as db:
        for revision, expected in kept.items():
            assert answers(db, revision) == expected
