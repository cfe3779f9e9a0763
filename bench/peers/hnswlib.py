"""hnswlib in the process: an HNSW index, M=16, ef_construction=128; a filter is a Python call for each candidate."""

from __future__ import annotations

from typing import Any

import hnswlib
import numpy as np

from bench.peers.peer import Peer
from bench.peers.rows import LIMIT, Question, Rows


class HnswLib(Peer):
    """Vectors and numbers; who owns which is looked up in a table that is saved beside it."""

    title = "hnswlib"
    form = "index"
    acknowledges = "nothing until save_index()"
    beams = (64, 128, 256, 512)
    tensors = False

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._owners: dict[int, tuple[int, int]] = {}

    def create(self) -> Any:
        index = hnswlib.Index(space="ip", dim=1536)
        index.init_index(max_elements=1024, M=16, ef_construction=128)
        return index

    def connect(self) -> Any:
        index = hnswlib.Index(space="ip", dim=1536)
        index.load_index(str(self.folder / "index"))
        owners = np.load(self.folder / "owners.npy").tolist()
        self._owners = {row_id: (user, start) for row_id, user, start in owners}
        return index

    def insert(self, connection: Any, rows: Rows) -> None:
        wanted = connection.get_current_count() + len(rows)
        if wanted > connection.get_max_elements():
            connection.resize_index(2 * wanted)
        connection.add_items(np.asarray(rows.vectors), rows.ids)
        columns = (rows.ids, rows.users, rows.starts)
        for row_id, user, start in zip(*(column.tolist() for column in columns), strict=True):
            self._owners[row_id] = (user, start)

    def finish(self, connection: Any) -> None:
        connection.save_index(str(self.folder / "index"))
        owners = [(row_id, user, start) for row_id, (user, start) in self._owners.items()]
        np.save(self.folder / "owners.npy", np.array(owners, np.int64))

    def set_beam(self, connection: Any, beam: int) -> None:
        super().set_beam(connection, beam)
        connection.set_ef(beam)

    def ask(self, connection: Any, question: Question) -> list[int]:
        owners = self._owners
        allowed = None
        if question.kind == "user":
            allowed = lambda row_id: owners[row_id][0] == question.user  # noqa: E731
        elif question.kind == "user_time":

            def allowed(row_id: int) -> bool:
                user, start = owners[row_id]
                return user == question.user and question.begin <= start < question.end

        try:
            found = connection.knn_query(question.vector, LIMIT, num_threads=1, filter=allowed)
        except RuntimeError:  # it found fewer than ten, and gives none then
            return []
        ids: list[int] = found[0][0].tolist()
        return ids

    def present(self, connection: Any, rows: Rows) -> int:
        ids = rows.ids.tolist()
        return len(set(ids) & set(connection.get_ids_list()))
