"""Milvus 2.3.5 standalone (the wheel `milvus`): embedded etcd and RocksMQ, files on the local disk.

It listens on every address whatever it is told, so it runs in a network of its own or not at all.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from milvus import MilvusServerConfig

from bench.peers.milvus_collection import MilvusCollection


class Milvus(MilvusCollection):
    """The server's own program, not its Python wrapper, which takes another port after a restart."""

    title = "Milvus standalone"
    acknowledges = "handed to its queue (RocksMQ), not synced"
    scalar_index = "STL_SORT"

    def start(self) -> None:
        binaries = Path(sys.prefix) / "server" / "bin"  # unpacked by `bench.peers.install`
        if not (self.folder / "configs").exists():
            config = MilvusServerConfig(data_dir=str(self.folder), proxy_port=self.port)
            config.resolve()
        self.run(
            [str(binaries / "milvus"), "run", "standalone"],
            environment={
                "DEPLOY_MODE": "STANDALONE",
                "MILVUS_RUN_DIR": str(self.folder / "run"),
                "MILVUSCONF": str(self.folder / "configs"),
                "LD_LIBRARY_PATH": f"{binaries}:{os.environ.get('LD_LIBRARY_PATH', '')}",
            },
            folder=self.folder,
        )
