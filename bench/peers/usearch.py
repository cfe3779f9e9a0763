"""usearch in the process: an HNSW index, connectivity 16, expansion 128; Python has no filter for it."""

from __future__ import annotations

from typing import Any

import numpy as np
from usearch.index import Index

from bench.peers.peer import Peer
from bench.peers.rows import LIMIT, Question, Rows


class USearch(Peer):
    """Vectors and numbers, nothing else."""

    title = "usearch"
    form = "index"
    acknowledges = "nothing until save()"
    beams = (64, 128, 256, 512)
    kinds = ("big",)
    tensors = False

    def create(self) -> Any:
        return Index(ndim=1536, metric="ip", dtype="f32", connectivity=16, expansion_add=128)

    def connect(self) -> Any:
        return Index.restore(str(self.folder / "index"))

    def insert(self, connection: Any, rows: Rows) -> None:
        connection.add(rows.ids.astype(np.uint64), np.asarray(rows.vectors))

    def finish(self, connection: Any) -> None:
        connection.save(str(self.folder / "index"))

    def set_beam(self, connection: Any, beam: int) -> None:
        super().set_beam(connection, beam)
        connection.expansion_search = beam

    def ask(self, connection: Any, question: Question) -> list[int]:
        ids: list[int] = connection.search(question.vector, LIMIT).keys.tolist()
        return ids

    def present(self, connection: Any, rows: Rows) -> int:
        ids = rows.ids.tolist()
        return int(np.sum(connection.contains(np.array(ids, np.uint64))))
