"""Whatever is written, revised, removed and opened again: an opening by a checkpoint, be it an older one, is
that of a rebuild to the last bit."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from memdb import Clip, Retention
from memdb.config import EngineConfig, IndexConfig
from memdb.engine.database import EmbeddedDatabase
from memdb.index.partition import PartitionView
from memdb.store.derived import DERIVED_FILE
from memdb.types.arrays import Array
from tests.property.conftest import memory_folder

DIM = {"cosine": 20, "dot": 9}
SECOND_NS = 10**9
CONFIG = EngineConfig(map_bytes_initial=1 << 20)
INDEX = IndexConfig(checkpoint_rows=1)

metrics = st.sampled_from(sorted(DIM))
steps = st.one_of(
    st.tuples(st.just("write"), metrics, st.integers(1, 12)),
    st.tuples(st.just("revise"), metrics, st.integers(1, 3)),
    st.tuples(st.just("seal"), metrics, st.just(0)),
    st.tuples(st.just("retain"), metrics, st.integers(1, 20)),
    st.tuples(st.just("erase"), metrics, st.integers(0, 30)),
    st.tuples(st.just("keep"), metrics, st.just(0)),
    st.tuples(st.just("reopen"), metrics, st.just(0)),
    st.tuples(st.just("put back"), metrics, st.just(0)),
)


class Life:
    """One user, with a checkpoint whenever a step says so."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.made = np.random.default_rng(7)
        self.seqs = dict.fromkeys(DIM, 0)
        self.growing: dict[str, int] = {}
        self.older: list[bytes] = []
        self.db = self._open(folder / "data")
        # Only when a step says so, not when a thread comes to it.
        self.db._users._upkeep.close()
        for metric, dim in DIM.items():
            self.db.create_space(metric, dim=dim, metric=metric)
            self._camera(metric).create()
        self.file = self.db._directory.user_path("u") / DERIVED_FILE

    def _open(self, data: Path, index: IndexConfig = INDEX) -> EmbeddedDatabase:
        return EmbeddedDatabase(data, config=CONFIG, index=index, embed_texts=False)

    def _camera(self, metric: str):  # type: ignore[no-untyped-def]
        return self.db.user("u").stream(metric, space=metric)

    def clip(self, metric: str, seq: int, *, sealed: bool = True) -> Clip:
        vector: Array = self.made.standard_normal(DIM[metric])
        return Clip(
            seq=seq,
            start_ns=seq * SECOND_NS,
            end_ns=(seq + 1) * SECOND_NS,
            global_memory=vector.astype(np.float32 if seq % 2 else np.float16),
            sealed=sealed,
        )

    def step(self, what: str, metric: str, count: int) -> None:
        camera = self._camera(metric)
        match what:
            case "write":
                self.growing.pop(metric, None)
                first = self.seqs[metric]
                camera.write_many([self.clip(metric, first + n) for n in range(count)])
                self.seqs[metric] += count
            case "revise":
                if metric not in self.growing:
                    self.growing[metric] = self.seqs[metric]
                    self.seqs[metric] += 1
                for _ in range(count):
                    camera.write(self.clip(metric, self.growing[metric], sealed=False))
            case "seal":
                if metric in self.growing:
                    camera.write(self.clip(metric, self.growing.pop(metric)))
            case "retain":
                camera.set_retention(Retention(max_clips=count))
                self.db.sweep()
            case "erase":
                clips = self.db.user("u").clips(stream=metric, limit=1000)
                if clips:
                    self.db.user("u").erase_clips([clips[count % len(clips)].id])
            case "keep":
                self.keep()
            case "put back":
                if self.older:
                    self.db.close()
                    self.file.write_bytes(self.older.pop(0))
                    self.reopened()
            case "reopen":
                self.keep()
                self.db.close()
                self.reopened()

    def keep(self) -> None:
        """Write a checkpoint, whether one is due or not."""
        with self.db._users.use("u") as memory:
            if memory.view.partitions:
                memory.kept._write(lambda _size: lambda _done: False)
        if self.file.exists():
            self.older.append(self.file.read_bytes())

    def reopened(self) -> None:
        """Open it, and compare with a copy that has no checkpoint."""
        copy = self.folder / "copy"
        shutil.copytree(self.folder / "data", copy)
        with self._open(copy, IndexConfig(checkpoint_rows=0)) as db:
            expected = bits_of(db)
        shutil.rmtree(copy)
        self.db = self._open(self.folder / "data", IndexConfig(checkpoint_rows=1 << 20))
        self.db._users._upkeep.close()
        assert bits_of(self.db) == expected
        assert self.db.verify().ok


def bits_of(db: EmbeddedDatabase) -> list[object]:
    """The index of the user, and what it answers."""
    found: list[object] = []
    with db._users.use("u") as memory:
        views: dict[int, PartitionView] = memory.view.partitions
        for number, view in sorted(views.items()):
            rows = np.arange(view.rows)
            found.append((number, view.dim, view.cosine, view.matrix.take(rows).tobytes()))
            found += [(name, column.tobytes()) for name, column in view.columns.items()]
    user = db.user("u")
    newest = user.revision()
    for metric, dim in DIM.items():
        question = np.random.default_rng(dim).standard_normal(dim).astype(np.float32)
        for as_of in sorted({None, newest, max(2, newest // 2)}, key=str):
            answer = user.ground(question, limit=200, space=metric, streams=[metric], as_of=as_of)
            found.append([(one.clip.id, one.clip.revision, one.score) for one in answer.hits])
    return found


@given(st.lists(steps, min_size=3, max_size=25))
def test_an_opening_by_a_checkpoint_is_that_of_a_rebuild(drawn: list[tuple[str, str, int]]) -> None:
    folder = memory_folder()
    try:
        life = Life(folder)
        try:
            for one in drawn:
                life.step(*one)
            life.step("reopen", "cosine", 0)
        finally:
            life.db.close()
    finally:
        shutil.rmtree(folder)
