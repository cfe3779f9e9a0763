"""What Milvus and Milvus Lite share: one collection through pymilvus, HNSW M=16 efConstruction=128."""

from __future__ import annotations

import contextlib
from typing import Any, ClassVar

from pymilvus import DataType, MilvusClient
from pymilvus.exceptions import MilvusException

from bench.peers.peer import ServerPeer
from bench.peers.process import wait_until
from bench.peers.rows import LIMIT, Question, Rows

_NAME = "clips"


class MilvusCollection(ServerPeer):
    """A collection with numbers beside each vector; no field of it takes 67,584 bytes."""

    beams = (32, 64, 128, 256, 512)
    tensors = False
    scalar_index: ClassVar[str] = ""
    """Of the numbers that filters name; empty: none."""
    _loaded = False

    def answers(self) -> bool:
        MilvusClient(uri=self._uri(), timeout=5).list_collections()
        return True

    def create(self) -> Any:
        client = MilvusClient(uri=self._uri(), timeout=300)
        schema = MilvusClient.create_schema(auto_id=False)
        schema.add_field("id", DataType.INT64, is_primary=True)
        for name in ("user", "stream", "start"):
            schema.add_field(name, DataType.INT64)
        schema.add_field("v", DataType.FLOAT_VECTOR, dim=1536)
        indexes = MilvusClient.prepare_index_params()
        hnsw = {"M": 16, "efConstruction": 128}
        indexes.add_index("v", index_type="HNSW", metric_type="IP", params=hnsw)
        if self.scalar_index:
            for name in ("user", "start"):
                indexes.add_index(name, index_type=self.scalar_index)
        client.create_collection(
            _NAME, schema=schema, index_params=indexes, consistency_level="Strong"
        )
        self._loaded = True
        return client

    def connect(self) -> Any:
        client = MilvusClient(uri=self._uri(), timeout=300)
        if not self._loaded:  # it does not load what was loaded before it was stopped
            client.load_collection(_NAME)
            self._loaded = True
        return client

    def disconnect(self, connection: Any) -> None:
        with contextlib.suppress(MilvusException):  # all clients of a process share one channel
            connection.close()

    def stop(self, *arguments: Any) -> None:
        self._loaded = False
        super().stop(*arguments)

    def insert(self, connection: Any, rows: Rows) -> None:
        columns = (rows.ids, rows.users, rows.streams, rows.starts)
        numbers = zip(*(column.tolist() for column in columns), strict=True)
        connection.insert(
            _NAME,
            [
                {"id": row_id, "user": user, "stream": stream, "start": start, "v": vector}
                for (row_id, user, stream, start), vector in zip(numbers, rows.vectors, strict=True)
            ],
        )

    def finish(self, connection: Any) -> None:
        connection.flush(_NAME)

        def indexed() -> bool:
            told = connection.describe_index(_NAME, "v")
            pending = int(told.get("pending_index_rows", 0) or 0)
            return pending == 0 and told.get("state", "Finished") in ("Finished", 3, "3")

        wait_until(indexed, 900, every_s=1.0)
        connection.load_collection(_NAME)

    def ask(self, connection: Any, question: Question) -> list[int]:
        which = "" if question.kind == "big" else f"user == {question.user}"
        if question.kind == "user_time":
            which += f" and start >= {question.begin} and start < {question.end}"
        (found,) = connection.search(
            _NAME,
            data=[question.vector],
            limit=LIMIT,
            filter=which,
            search_params={"metric_type": "IP", "params": {"ef": self.beam}},
            consistency_level="Eventually",
        )
        return [hit["id"] for hit in found]

    def present(self, connection: Any, rows: Rows) -> int:
        ids = rows.ids.tolist()
        found = connection.query(
            _NAME, ids=ids, output_fields=["id"], consistency_level="Strong", timeout=300
        )
        return len(found)

    def _uri(self) -> str:
        return f"http://127.0.0.1:{self.port}"
