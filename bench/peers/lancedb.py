"""LanceDB in the process: IVF_HNSW_SQ with refinement, scalar indexes on owner and time, filters before the search."""

from __future__ import annotations

from typing import Any

import lancedb
import numpy as np
import pyarrow as pa

from bench.peers.peer import Peer
from bench.peers.rows import LIMIT, Question, Rows

_NUMBERS = ("id", "user", "stream", "start")


class LanceDb(Peer):
    """One table; every insert is a commit of files of its own."""

    title = "LanceDB"
    acknowledges = "new files written, not synced"
    beams = (20, 40, 80)

    def create(self) -> Any:
        fields = [(name, pa.int64()) for name in _NUMBERS]
        schema = pa.schema(
            [*fields, ("v", pa.list_(pa.float32(), 1536)), ("tensor", pa.large_binary())]
        )
        return lancedb.connect(str(self.folder / "data")).create_table("t", schema=schema)

    def connect(self) -> Any:
        return lancedb.connect(str(self.folder / "data")).open_table("t")

    def insert(self, connection: Any, rows: Rows) -> None:
        numbers = (rows.ids, rows.users, rows.streams, rows.starts)
        vectors = pa.array(np.ascontiguousarray(rows.vectors).reshape(-1))
        columns = {
            name: pa.array(column.tolist(), pa.int64())
            for name, column in zip(_NUMBERS, numbers, strict=True)
        }
        columns["v"] = pa.FixedSizeListArray.from_arrays(vectors, 1536)
        tensors = list(rows.tensors) if rows.tensors is not None else [None] * len(rows)
        columns["tensor"] = pa.array(tensors, pa.large_binary())
        connection.add(pa.table(columns))

    def finish(self, connection: Any) -> None:
        connection.optimize()
        connection.create_index(
            metric="dot",
            num_partitions=max(2, connection.count_rows() // 8000),
            vector_column_name="v",
            index_type="IVF_HNSW_SQ",
            m=16,
            ef_construction=100,
        )
        connection.create_scalar_index("user")
        connection.create_scalar_index("start")
        connection.optimize()

    def ask(self, connection: Any, question: Question) -> list[int]:
        search = connection.search(question.vector, vector_column_name="v").distance_type("dot")
        search = search.limit(LIMIT).select(["id", "_distance"])
        search = search.nprobes(self.beam).ef(100).refine_factor(3)
        if question.kind != "big":
            which = f"user = {question.user}"
            if question.kind == "user_time":
                which += f" AND start >= {question.begin} AND start < {question.end}"
            search = search.where(which, prefilter=True)
        ids: list[int] = search.to_arrow()["id"].to_pylist()
        return ids

    def present(self, connection: Any, rows: Rows) -> int:
        ids = rows.ids.tolist()
        listed = ", ".join(str(row_id) for row_id in ids)
        return int(connection.count_rows(f"id IN ({listed})"))

    def tensor(self, connection: Any, row_id: int) -> bytes:
        found = connection.search().where(f"id = {row_id}").select(["tensor"]).limit(1).to_arrow()
        value: bytes = found["tensor"][0].as_py()
        return value
