"""FAISS in the process without anything around it: what an engine over it cannot be quicker than.

Each user's vectors in an `IndexFlatIP`, all of them in an `IndexHNSWFlat` (M=16, efConstruction=128).
"""

from __future__ import annotations

from typing import Any

import faiss
import numpy as np

from bench.peers.peer import Peer
from bench.peers.rows import FIRST_S, LIMIT, STEP_S, Question, Rows


class FaissLimit(Peer):
    """Indexes in memory."""

    title = "FAISS alone"
    form = "index"
    acknowledges = "nothing until it is written"
    beams = (32, 64, 128, 256, 512)
    tensors = False
    bound = True

    def create(self) -> Any:
        index = faiss.IndexHNSWFlat(1536, 16, faiss.METRIC_INNER_PRODUCT)
        index.hnsw.efConstruction = 128
        return index, {}

    def connect(self) -> Any:
        index = faiss.read_index(str(self.folder / "all"))
        vectors = index.storage.reconstruct_n(0, index.ntotal)
        users = np.load(self.folder / "users.npy")
        own = {}
        for user in np.unique(users).tolist():
            ids = np.flatnonzero(users == user)
            flat = faiss.IndexFlatIP(1536)
            flat.add(vectors[ids])
            own[user] = (flat, ids)
        faiss.omp_set_num_threads(1)
        return index, own

    def insert(self, connection: Any, rows: Rows) -> None:
        index, users = connection
        index.add(np.asarray(rows.vectors))
        users.update(zip(rows.ids.tolist(), rows.users.tolist(), strict=True))

    def finish(self, connection: Any) -> None:
        index, users = connection
        faiss.write_index(index, str(self.folder / "all"))
        np.save(self.folder / "users.npy", np.array(list(users.values()), np.int64))

    def ask(self, connection: Any, question: Question) -> list[int]:
        index, own = connection
        vector = question.vector[np.newaxis]
        if question.kind == "big":
            wide = faiss.SearchParametersHNSW(efSearch=self.beam)
            found = index.search(vector, LIMIT, params=wide)[1][0]
            return [int(row) for row in found if row >= 0]
        flat, ids = own[question.user]
        which = None
        if question.kind == "user_time":
            starts = FIRST_S + STEP_S * ids
            begin, end = np.searchsorted(starts, (question.begin, question.end)).tolist()
            which = faiss.SearchParameters(sel=faiss.IDSelectorRange(begin, end))
        found = flat.search(vector, LIMIT, params=which)[1][0]
        return [int(ids[row]) for row in found if row >= 0]
