"""Pages of hits, while others write: together one answer, as of the revision of the first."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import memdb
from memdb import Clip, Utterance
from memdb.types.database import User
from tests.property.conftest import machine_settings, memory_folder

pytestmark = pytest.mark.property

SECOND_NS = 1_000_000_000
WORDS = ("mug", "door", "red", "cat")


def seen(seq: int, elements: tuple[int, int], version: int = 0, *, sealed: bool = True) -> Clip:
    """Few directions, so that many clips have the same score."""
    start_ns = 1_700_000_000_123_456_789 + seq * SECOND_NS
    vector = np.array([*elements, 1 + version, 0.5], np.float32)
    short = np.tile(vector, (2, 1)).astype(np.float16) if seq % 3 else None
    text = " ".join(WORDS[: 1 + seq % 4])
    return Clip(
        seq=seq,
        start_ns=start_ns,
        end_ns=start_ns + SECOND_NS,
        global_memory=vector,
        short_memory=short,
        transcript=(Utterance(start_ns, start_ns + 1, text),),
        sealed=sealed,
    )


@contextmanager
def finally_removed(folder: Path) -> Iterator[None]:
    try:
        yield
    finally:
        shutil.rmtree(folder)


def told(hit: Any) -> Any:
    return hit.clip.id, hit.clip.revision, hit.score, hit.relevance, hit.spans, hit.arms


def write_on(user: User, stop: threading.Event) -> None:
    """Every clip grows once, and is sealed with the best score there is."""
    seq = 1000
    stream = user.stream("door")
    while not stop.is_set():
        stream.write(seen(seq, (3, 3), sealed=False))
        stream.write(seen(seq, (3, 1), 1))
        seq += 1


KINDS: tuple[dict[str, Any], ...] = (
    {},
    {"min_score": 0.6},
    {"min_relevance": 0.01},
    {"text": "red door", "explain": True},
    {"question_tokens": np.eye(4, dtype=np.float32)[:2], "rerank": 7},
)


@machine_settings(10)
@given(
    vectors=st.lists(st.tuples(st.integers(-2, 3), st.integers(-2, 3)), min_size=1, max_size=40),
    limits=st.lists(st.integers(1, 9), min_size=1, max_size=5),
    kind=st.sampled_from(KINDS),
    growing=st.sets(st.integers(0, 39)),
)
def test_pages_are_one_answer_beside_writers(
    vectors: list[tuple[int, int]],
    limits: list[int],
    kind: dict[str, Any],
    growing: set[int],
) -> None:
    question = np.array([1, 0.5, 0.25, 0], np.float32)
    folder = memory_folder()
    with finally_removed(folder), memdb.open(folder / "data") as db:
        db.create_space("clip", dim=4)
        user = db.user("alice")
        stream = user.stream("door", space="clip")
        stream.write_many(
            [seen(seq, one, sealed=seq not in growing) for seq, one in enumerate(vectors)]
        )
        stop = threading.Event()
        writer = threading.Thread(target=write_on, args=(user, stop))
        writer.start()
        try:
            for seq in growing & set(range(len(vectors))):
                stream.write(seen(seq, vectors[seq], 1))  # ends a version
            hits: list[Any] = []
            cursor: str | None = ""
            turn = 0
            while cursor is not None:
                limit = limits[turn % len(limits)]
                page = user.ground(question, limit=limit, cursor=cursor, **kind)
                turn += 1
                assert len(page.hits) == limit or page.next_cursor is None
                hits += page.hits
                cursor = page.next_cursor
        finally:
            stop.set()
            writer.join()
        whole = user.ground(question, limit=1000, as_of=page.revision, **kind)
        assert [told(hit) for hit in hits] == [told(hit) for hit in whole.hits]
        assert whole.next_cursor is None
