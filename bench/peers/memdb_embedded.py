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


class MemdbEmbeddedBig(MemdbEmbedded):
    """One user who has everything."""

    title = "memdb embedded, one big user"
    kinds = ("big",)
    tensors = False  # as those of `MemdbEmbedded`
    big = True
