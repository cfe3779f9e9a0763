"""The content hash of a clip: what tells a clip sent again from another clip under the same number.

xxh3_128 over the msgpack of everything the sender chose, with the tensors by their bytes.
Transcript features are left out: they are derived from the transcript, and a re-computation may
differ in the last bit.  Short-term memory counts as it is coded; see `memdb.engine.resend` for the same
elements in other bytes.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import xxhash

from memdb.store.records import encode_record
from memdb.types.clip import Clip
from memdb.types.tensor import EncodedTensor

_DTYPE_NAMES: Final = {np.dtype(name): name for name in ("float16", "float32")}
"""Asking numpy for a name costs as much as hashing the vector."""


def content_hash(clip: Clip, short_memory: EncodedTensor | None) -> bytes:
    """16 bytes; equal for equal clips on every transport."""
    short = (
        None
        if short_memory is None
        else (int(short_memory.codec), short_memory.shape, short_memory.checksum)
    )
    said = encode_record(
        (
            clip.start_ns,
            clip.end_ns,
            clip.sealed,
            clip.frames_per_token_row,
            # Of most clips nothing, and a list made of nothing takes as long as one of one.
            [(u.start_ns, u.end_ns, u.text, u.speaker, u.language) for u in clip.transcript]
            if clip.transcript
            else (),
            [(e.start_ns, e.end_ns, e.label, e.score) for e in clip.events] if clip.events else (),
            dict(clip.labels),
            [(k.time_ns, k.jpeg) for k in clip.keyframes] if clip.keyframes else (),
            _DTYPE_NAMES[clip.global_memory.dtype],
            short,
        )
    )
    # In one go: a hasher that is given them one after the other takes twice as long.
    return xxhash.xxh3_128_digest(said + clip.global_memory.tobytes())
