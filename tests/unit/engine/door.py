"""A camera at a door, and what is left of its clips."""

from __future__ import annotations

import numpy as np

from memdb import Keyframe, Utterance
from memdb.engine.database import EmbeddedDatabase
from tests.unit.engine.conftest import clip

MEMORY = np.ones((16, 8), np.float16)


def filled(db: EmbeddedDatabase, count: int) -> None:
    """Clips of ten seconds that end before the newest commit, with 256 + 4 bytes each."""
    door = db.user("alice").stream("door", space="cam")
    door.write_many(
        [
            clip(
                seq,
                short_memory=MEMORY,
                keyframes=(Keyframe(seq, b"jpeg"),),
                transcript=(Utterance(seq, seq + 1, f"word{seq}"),),
            )
            for seq in range(count)
        ]
    )


def seqs(db: EmbeddedDatabase) -> list[int]:
    return [found.seq for found in db.user("alice").clips(limit=1000)]
