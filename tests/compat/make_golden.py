"""Makes the golden directory of the current format, once, when a format is released; never again for the
same number.

    python -m tests.compat.make_golden DIRECTORY
"""

from __future__ import annotations

import sys

import numpy as np

from memdb import Clip, Keyframe, Retention, SoundEvent, Utterance
from memdb.clock import ManualClock
from memdb.codecs.tensors import encode_tensor
from memdb.config import EngineConfig
from memdb.engine.database import EmbeddedDatabase
from memdb.types.tensor import Codec

DIM = 8
SECOND_NS = 10**9


def clip(stream: str, seq: int, *, sealed: bool = True, length: int = 10) -> Clip:
    """Something of everything, from its numbers alone."""
    rng = np.random.default_rng([sum(stream.encode()), seq, length])
    start_ns = seq * 10 * SECOND_NS
    memory = rng.standard_normal((16, DIM)).astype(np.float16)
    return Clip(
        seq=seq,
        start_ns=start_ns,
        end_ns=start_ns + length * SECOND_NS,
        global_memory=rng.standard_normal(DIM).astype(np.float32 if seq % 2 else np.float16),
        short_memory=encode_tensor(memory, list(Codec)[seq % len(Codec)], period=4),
        frames_per_token_row=0.25,
        transcript=(Utterance(start_ns, start_ns + SECOND_NS, f"clip {seq} speaks", "anna", "en"),),
        events=(SoundEvent(start_ns, start_ns + 1, "bell", 0.5),),
        keyframes=(Keyframe(start_ns, b"not really a jpeg"),),
        labels={"zone": f"z{seq}"},
        sealed=sealed,
    )


def main() -> None:
    clock = ManualClock()
    config = EngineConfig(map_bytes_initial=1 << 20)
    with EmbeddedDatabase(sys.argv[1], config=config, clock=clock, embed_texts=False) as db:
        db.create_space("cam", dim=DIM, model="golden")
        db.create_space("texts", dim=4, model="golden-text")
        user = db.user("alice")
        user.configure(text_space="texts")
        door = user.stream("door", space="cam")
        for seq in (0, 1, 2, 3, 4, 5, 6, 9):
            door.write(clip("door", seq))
        for length in (2, 4, 6):
            door.write(clip("door", 10, sealed=False, length=length))
        fact = user.remember(
            "the mug is blue",
            about=["mug"],
            key="mug",
            evidence=[user.clips()[0].id],
            feature=np.ones(4, np.float32),
        )
        user.revise(fact.id, text="the mug is red", feature=np.ones(4, np.float32))
        user.forget(user.remember("the dog is old").id)
        user.put("diet", {"n": 1})
        user.put("diet", {"n": 2})
        user.snapshot("then", ttl_s=30 * 86_400)
        door.set_retention(Retention(max_clips=8))
        db.sweep()
        user.erase_clips([user.clips()[2].id])
        gone = user.stream("gone", space="cam")
        gone.write(clip("gone", 0))
        gone.erase()


if __name__ == "__main__":
    main()
