"""Who takes part, by name: where its class is and which environment runs it."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module

from bench.peers.peer import Peer


@dataclass(frozen=True, slots=True)
class Entry:
    """One participant."""

    module: str
    kind: str
    """Name of the class."""
    environment: str | None = None
    """Below ``bench/.peers``; None: the one that runs the benchmark."""
    listens_everywhere: bool = False
    """Whether it cannot be told to listen on 127.0.0.1 alone."""

    def load(self) -> type[Peer]:
        """The class; raises `ImportError` outside its environment."""
        found: type[Peer] = getattr(import_module(f"bench.peers.{self.module}"), self.kind)
        return found


OURS = {
    "memdb_embedded": Entry("memdb_embedded", "MemdbEmbedded"),
    "memdb_grpc": Entry("memdb_server", "MemdbServer"),
    "memdb_embedded_relaxed": Entry("memdb_embedded", "MemdbEmbeddedRelaxed"),
    "memdb_embedded_big": Entry("memdb_embedded", "MemdbEmbeddedBig"),
    "memdb_grpc_big": Entry("memdb_server", "MemdbServerBig"),
    "faiss": Entry("faiss_limit", "FaissLimit"),
}
"""What every run has: ourselves, and the bound that FAISS alone is; the gRPC echo runs beside `memdb_grpc`."""

PEERS = {
    "milvus": Entry("milvus", "Milvus", "milvus", listens_everywhere=True),
    "milvus_lite": Entry("milvus_lite", "MilvusLite", "milvus_lite"),
    "chroma": Entry("chroma", "Chroma", "chroma"),
    "redis": Entry("redis", "Redis", "redis"),
    "pgvector": Entry("pgvector", "PgVector", "pgvector"),
    "qdrant_edge": Entry("qdrant_edge", "QdrantEdge", "qdrant_edge"),
    "lancedb": Entry("lancedb", "LanceDb", "lancedb"),
    "sqlite_vec": Entry("sqlite_vec", "SqliteVec", "sqlite_vec"),
    "usearch": Entry("usearch", "USearch", "usearch"),
    "hnswlib": Entry("hnswlib", "HnswLib", "hnswlib"),
}

ALL = {**OURS, **PEERS}
