"""Qdrant's own engine in the process (qdrant-edge-py): HNSW m=16 ef_construct=100, write-ahead log on."""

from __future__ import annotations

import base64
from typing import Any

import qdrant_edge as edge

from bench.peers.peer import Peer
from bench.peers.rows import LIMIT, Question, Rows


class QdrantEdge(Peer):
    """One shard."""

    title = "Qdrant engine (qdrant-edge)"
    acknowledges = "written to its log, synced by flush() alone"
    beams = (32, 64, 128, 256, 512)

    def create(self) -> Any:
        data = self.folder / "shard"
        data.mkdir()
        vectors = edge.EdgeVectorParams(size=1536, distance=edge.Distance.Dot)
        hnsw = edge.HnswIndexConfig(m=16, ef_construct=100, full_scan_threshold=1000)
        config = edge.EdgeConfig(vectors=vectors, hnsw_config=hnsw, wal_enabled=True)
        shard = edge.EdgeShard.create(str(data), config)
        for field in ("user", "start"):
            shard.update(
                edge.UpdateOperation.create_field_index(field, edge.PayloadSchemaType.Integer)
            )
        return shard

    def connect(self) -> Any:
        return edge.EdgeShard.load(str(self.folder / "shard"))

    def disconnect(self, connection: Any) -> None:
        connection.close()

    def insert(self, connection: Any, rows: Rows) -> None:
        points = []
        for index in range(len(rows)):
            payload: dict[str, object] = {
                "user": int(rows.users[index]),
                "stream": int(rows.streams[index]),
                "start": int(rows.starts[index]),
            }
            if rows.tensors is not None:
                payload["tensor"] = base64.b64encode(rows.tensors[index]).decode()
            points.append(edge.Point(int(rows.ids[index]), rows.vectors[index].tolist(), payload))
        connection.update(edge.UpdateOperation.upsert_points(points))

    def finish(self, connection: Any) -> None:
        connection.optimize()
        connection.flush()

    def ask(self, connection: Any, question: Question) -> list[int]:
        must = []
        if question.kind != "big":
            must.append(edge.FieldCondition(key="user", match=edge.MatchValue(question.user)))
        if question.kind == "user_time":
            time_range = edge.RangeFloat(gte=float(question.begin), lt=float(question.end))
            must.append(edge.FieldCondition(key="start", range=time_range))
        request = edge.SearchRequest(
            query=edge.Query.Nearest(question.vector.tolist()),
            limit=LIMIT,
            filter=edge.Filter(must=must) if must else None,
            params=edge.SearchParams(hnsw_ef=self.beam),
        )
        return [point.id for point in connection.search(request)]

    def present(self, connection: Any, rows: Rows) -> int:
        ids = rows.ids.tolist()
        return len(connection.retrieve(ids, False, False))

    def tensor(self, connection: Any, row_id: int) -> bytes:
        (point,) = connection.retrieve([row_id], True, False)
        return base64.b64decode(point.payload["tensor"])
