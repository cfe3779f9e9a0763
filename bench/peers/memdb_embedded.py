"""memdb in the process (`memdb.open`)."""

from __future__ import annotations

from typing import Any, ClassVar

import memdb
from bench.peers.memdb_clips import MemdbClips


class MemdbEmbedded(MemdbClips):
    """A thousand users."""

    title = "memdb embedded"
    kinds: ClassVar[tuple[str, ...]] = ("user", "user_time")

    def database(self) -> Any:
        return memdb.open(self.folder / "data")


class MemdbEmbeddedRelaxed(MemdbEmbedded):
    """Records with tensors alone, at the level that promises of a loss of power what Qdrant's engine does."""

    title = "memdb embedded, relaxed"
    acknowledges = "one LMDB transaction for each batch; a loss of power may undo the newest"
    synced = False
    asked = False  # as `MemdbEmbedded`

    def database(self) -> Any:
        return memdb.open(self.folder / "data", durability="relaxed")


class MemdbEmbeddedBig(MemdbEmbedded):
    """One user who has everything."""

    title = "memdb embedded, one big user"
    kinds = ("big",)
    tensors = False  # as those of `MemdbEmbedded`
    big = True
