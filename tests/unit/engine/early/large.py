"""A user with a large checkpoint, what it answers, and how far it was looked through."""

from __future__ import annotations

import mmap
import shutil
from pathlib import Path

import numpy as np

from memdb.config import IndexConfig
from memdb.engine.database import EmbeddedDatabase
from memdb.engine.memory import UserMemory
from memdb.store.derived import DERIVED_FILE
from memdb.types.arrays import Array
from tests.unit.engine.test_kept_index import DIM, SECOND_NS, clip, opened, vector

CLIPS = 300
"""More than are kept whole: those are copied."""
SEEDS = (1, 2, 700)
MANY = IndexConfig(checkpoint_rows=1 << 20)
"""None is written anew."""


def filled(data: Path, metric: str = "cosine") -> Path:
    """A user with a checkpoint; where it lies."""
    with opened(data) as db:
        db.create_space("s", dim=DIM, metric=metric)
        camera = db.user("u").stream("cam", space="s")
        camera.write_many([clip(seq) for seq in range(CLIPS - 1)])
        camera.write(clip(CLIPS, sealed=False, seed=600))
        camera.write(clip(CLIPS, seed=601))
        path = db._directory.user_path("u")
    assert (path / DERIVED_FILE).exists()
    return path


def asked(db: EmbeddedDatabase) -> list[object]:
    """What the user answers, to the last bit, by questions that may be asked early."""
    user = db.user("u")
    questions: list[Array] = [vector(seed).astype(np.float32) for seed in SEEDS]
    answers = [user.ground(one, limit=50) for one in questions]
    answers += [user.ground(one, limit=9, start_ns=9 * SECOND_NS, exact=True) for one in questions]
    answers += user.ground_many(questions, limit=50, with_coverage=True)
    return [
        ([(hit.clip.id, hit.clip.revision, hit.score) for hit in one.hits], one.gaps, one.coverage)
        for one in answers
    ]


def rebuilt(data: Path, tmp_path: Path) -> list[object]:
    """What a copy answers that has no checkpoint."""
    copy = tmp_path / "copy"
    shutil.copytree(data, copy)
    with opened(copy, IndexConfig(checkpoint_rows=0)) as db:
        answers = asked(db)
        assert memory_of(db).is_whole
    shutil.rmtree(copy)
    return answers


def memory_of(db: EmbeddedDatabase) -> UserMemory:
    found = db._users._slots.memory_of("u")
    assert found is not None
    return found


def completed(found: UserMemory) -> None:
    """Wait until all was looked through and its rows are in memory."""
    found.wait_whole()
    assert found._completing is not None
    found._completing.join(20)
    assert not found._completing.is_alive()


def are_mapped(found: UserMemory) -> list[bool]:
    """Of each chunk of rows."""
    (partition,) = found.view.partitions.values()
    told = []
    for chunk in partition.matrix._chunks:
        base: object = chunk.head
        while isinstance(base, np.ndarray):
            base = base.base
        told.append(isinstance(base, memoryview) and isinstance(base.obj, mmap.mmap))
    return told
