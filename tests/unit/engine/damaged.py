"""A user with something of everything, and bytes of it that are changed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import lmdb
import numpy as np

from memdb import Clip, Keyframe, Utterance
from memdb.clock import ManualClock
from memdb.config import EngineConfig
from memdb.engine.database import EmbeddedDatabase
from tests.unit.engine.conftest import CONFIG, clip

MEMORY = np.ones((16, 8), np.float16)


def rich_clip(seq: int) -> Clip:
    """A clip with something of everything."""
    return clip(
        seq,
        short_memory=MEMORY,
        keyframes=(Keyframe(seq, b"jpeg" * 20),),
        transcript=(Utterance(seq, seq + 1, f"word{seq}"),),
    )


def made(folder: Path, clock: ManualClock, config: EngineConfig = CONFIG) -> Path:
    """Six clips, two facts, a value, a snapshot; closed."""
    with EmbeddedDatabase(folder / "data", config=config, clock=clock) as db:
        db.create_space("cam", dim=8)
        for name in ("alice", "bob"):
            user = db.user(name)
            door = user.stream("door", space="cam")
            for seq in range(6):
                door.write(rich_clip(seq))
            user.remember("the mug is blue", key="mug")
            user.remember("the dog is old")
            user.put("diet", 1)
            user.snapshot("now", ttl_s=10**6)
        return db._directory.user_path("alice")


def change(
    path: Path, table: str, entry: int, alter: Callable[[bytes, bytes], tuple[bytes, bytes]]
) -> None:
    """Replace an entry of a table by what ``alter`` makes of its key and value."""
    with lmdb.open(str(path), max_dbs=32, map_size=1 << 30) as env:
        db = env.open_db(table.encode(), create=False)
        with env.begin(write=True, db=db) as txn:
            key, value = list(txn.cursor())[entry]
            new_key, new_value = alter(key, value)
            if new_key != key:
                txn.delete(key)
            txn.put(new_key, new_value)


def flipped_value(key: bytes, value: bytes) -> tuple[bytes, bytes]:
    return key, value[:-3] + bytes([value[-3] ^ 8]) + value[-2:]


def flipped_key(key: bytes, value: bytes) -> tuple[bytes, bytes]:
    return key[:-2] + bytes([key[-2] ^ 16]) + key[-1:], value


def flipped_first(key: bytes, value: bytes) -> tuple[bytes, bytes]:
    return key[:3] + bytes([key[3] ^ 16]) + key[4:], value


ALTERED = {"value": flipped_value, "key": flipped_key}
