"""Milvus Lite as a server (`milvus-lite server`)."""

from __future__ import annotations

from bench.peers.milvus_collection import MilvusCollection
from bench.peers.peer import beside_python


class MilvusLite(MilvusCollection):
    """On loopback; it would listen everywhere by default."""

    title = "Milvus Lite"
    acknowledges = "written to its log, not synced"

    def start(self) -> None:
        self.run(
            [
                *(beside_python("milvus-lite"), "server", "--data-dir", str(self.folder / "data")),
                *("--host", "127.0.0.1", "--port", str(self.port), "--max-workers", "32"),
            ],
            folder=self.folder,
        )
