"""Messages of an ingest: right ones, and others by a few bytes changed.  Beside `edge/drive.py`."""

from __future__ import annotations

import random
from typing import Any, Final

import numpy as np

from memdb.types.clip import Clip, Keyframe, SoundEvent, Utterance
from memdb.wire.ingest import ingest_parts

DIM, ROWS = 32, 8


def _message(count: int, **parts: Any) -> bytes:
    clips = [
        Clip(seq=seq, start_ns=seq, end_ns=seq + 1, global_memory=np.ones(DIM, np.float32), **parts)
        for seq in range(count)
    ]
    return b"".join(bytes(piece) for clip in clips for piece in ingest_parts(clip))


RIGHT: Final = [
    _message(1),
    _message(3, short_memory=np.ones((ROWS, DIM), np.float16), frames_per_token_row=0.25),
    _message(
        2,
        short_memory=np.ones((ROWS, DIM), np.float16),
        transcript=(Utterance(0, 1, "a w\u00f6rd", "ann", "en"), Utterance(0, 1, "\U0001d11e")),
        transcript_features=np.ones((2, 3), np.float32),
        events=(SoundEvent(0, 1, "bell", 0.5),),
        keyframes=(Keyframe(0, b"jpeg"),),
        labels={"zone": "porch", "b": ""},
    ),
    _message(2, short_memory=np.ones((4000, DIM), np.float16)),
]


def odd_message(rng: random.Random) -> bytes:
    """One of them, as it is or changed in a few places."""
    data = bytearray(rng.choice(RIGHT))
    for _ in range(rng.choice((0, 1, 1, 2, 4))):
        # What stands around the payloads, more often than these.
        at = rng.randrange(min(len(data) + 1, rng.choice((200, len(data) + 1))))
        end = min(len(data), at + rng.randrange(40))
        how = rng.randrange(5)
        if how == 0 and at < len(data):
            data[at] = rng.randrange(256)
        elif how == 1 and at < len(data):
            data[at] ^= 1 << rng.randrange(8)
        elif how == 2:
            del data[at:end]
        elif how == 3:
            data[at:at] = rng.randbytes(rng.randrange(8))
        else:
            data[at:at] = data[at:end]
    return bytes(data)
