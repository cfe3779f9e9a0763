"""Chroma's server (`chroma run`): HNSW with ef_construction=100, max_neighbors=16."""

from __future__ import annotations

import base64
from typing import Any

import chromadb
from chromadb.config import Settings

from bench.peers.peer import ServerPeer, beside_python
from bench.peers.rows import LIMIT, Question, Rows


class Chroma(ServerPeer):
    """One collection."""

    title = "Chroma"
    acknowledges = "SQLite transaction synced; vectors reach the index later"
    synced = True
    beams = (100, 200, 400)
    beam_of_all = True

    def start(self) -> None:
        self.run(
            [
                *(beside_python("chroma"), "run", "--path", str(self.folder / "data")),
                *("--host", "127.0.0.1", "--port", str(self.port)),
            ],
            environment={"ANONYMIZED_TELEMETRY": "False"},
            folder=self.folder,
        )

    def answers(self) -> bool:
        return bool(self._client().heartbeat())

    def create(self) -> Any:
        hnsw = {"space": "ip", "ef_construction": 100, "max_neighbors": 16, "ef_search": 100}
        return self._client().create_collection(
            "clips", configuration={"hnsw": hnsw}, embedding_function=None
        )

    def connect(self) -> Any:
        return self._client().get_collection("clips", embedding_function=None)

    def set_beam(self, connection: Any, beam: int) -> None:
        super().set_beam(connection, beam)
        connection.modify(configuration={"hnsw": {"ef_search": beam}})

    def insert(self, connection: Any, rows: Rows) -> None:
        columns = (rows.users, rows.streams, rows.starts)
        payloads: list[dict[str, Any]] = [
            {"user": user, "stream": stream, "start": start}
            for user, stream, start in zip(*(column.tolist() for column in columns), strict=True)
        ]
        if rows.tensors is not None:
            for payload, tensor in zip(payloads, rows.tensors, strict=True):
                payload["tensor"] = base64.b64encode(tensor).decode()
        connection.add(
            ids=[str(row_id) for row_id in rows.ids], embeddings=rows.vectors, metadatas=payloads
        )

    def ask(self, connection: Any, question: Question) -> list[int]:
        where: dict[str, Any] | None = None
        if question.kind == "user":
            where = {"user": question.user}
        elif question.kind == "user_time":
            where = {
                "$and": [
                    {"user": question.user},
                    {"start": {"$gte": question.begin}},
                    {"start": {"$lt": question.end}},
                ]
            }
        found = connection.query(
            query_embeddings=[question.vector], n_results=LIMIT, where=where, include=[]
        )
        return [int(row_id) for row_id in found["ids"][0]]

    def present(self, connection: Any, rows: Rows) -> int:
        ids = rows.ids.tolist()
        return sum(
            len(
                connection.get(
                    ids=[str(row_id) for row_id in ids[begin : begin + 1000]], include=[]
                )["ids"]
            )
            for begin in range(0, len(ids), 1000)
        )

    def tensor(self, connection: Any, row_id: int) -> bytes:
        found = connection.get(ids=[str(row_id)], include=["metadatas"])
        return base64.b64decode(found["metadatas"][0]["tensor"])

    def _client(self) -> Any:
        settings = Settings(anonymized_telemetry=False)
        return chromadb.HttpClient(host="127.0.0.1", port=self.port, settings=settings)
