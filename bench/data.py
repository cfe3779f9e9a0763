"""Seeded clips and questions in the shapes of one camera: C=1536, 16 frames of 4 tokens.

Vectors are a mixture: scenes that come back, with noise around each, so that the best hits of a question are
separated from the rest as in real features.  Short-term memory is plain noise: it is stored, never searched.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from memdb import Clip, Utterance

DIM = 1536
TOKENS = 64
CLIP_NS = 16_000_000_000
"""16 frames at 1 fps."""
DAY_CLIPS = 5_400
_FIRST_NS = 1_750_000_000_000_000_000
_SCENES = 200
_NOISE = 0.7
_WORDS = (
    *("the", "parcel", "is", "on", "the", "porch", "and", "someone", "rings", "twice", "then"),
    *("a", "red", "car", "stops", "by", "the", "gate", "while", "a", "dog", "barks", "at", "two"),
    *("people", "with", "a", "ladder", "who", "ask", "for", "water", "before", "the", "rain"),
)

Vectors = npt.NDArray[np.float16]


def vectors(seed: int, count: int, dim: int = DIM, *, stream: int = 0) -> Vectors:
    """(count, dim) float16 of about unit length; other ``stream``, other noise around the same scenes."""
    scenes = np.random.default_rng(seed).standard_normal((_SCENES, dim)).astype(np.float32)
    rng = np.random.default_rng((seed, 1, stream))
    out = np.empty((count, dim), np.float16)
    for begin in range(0, count, 4096):
        end = min(begin + 4096, count)
        noise = rng.standard_normal((end - begin, dim), np.float32)
        rows = scenes[rng.integers(_SCENES, size=end - begin)] + _NOISE * noise
        out[begin:end] = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return out


def short_memories(seed: int, count: int) -> npt.NDArray[np.float16]:
    """(count, 64, 1536) float16: 196,608 bytes for each clip."""
    rng = np.random.default_rng((seed, 2))
    out = np.empty((count, TOKENS, DIM), np.float16)
    for index in range(count):
        out[index] = rng.standard_normal((TOKENS, DIM), np.float32)
    return out


def utterance(seed: int, seq: int) -> Utterance:
    """Twelve words, early in clip ``seq``."""
    rng = np.random.default_rng((seed, 3, seq))
    start_ns = start_of(seq)
    words = " ".join(_WORDS[index] for index in rng.integers(len(_WORDS), size=12))
    return Utterance(start_ns, start_ns + 5_000_000_000, words, language="en")


def start_of(seq: int) -> int:
    """When clip ``seq`` begins, UTC ns."""
    return _FIRST_NS + seq * CLIP_NS


def clips(
    seed: int,
    global_memory: Vectors,
    *,
    short_memory: npt.NDArray[np.float16] | None = None,
    first_seq: int = 0,
    transcript: bool = True,
) -> Iterator[Clip]:
    """A sealed clip for each row of ``global_memory``; row i has short-term memory i, modulo what is given."""
    for index, vector in enumerate(global_memory):
        seq = first_seq + index
        yield Clip(
            seq=seq,
            start_ns=start_of(seq),
            end_ns=start_of(seq + 1),
            global_memory=vector,
            short_memory=None if short_memory is None else short_memory[index % len(short_memory)],
            frames_per_token_row=None if short_memory is None else 0.25,
            transcript=(utterance(seed, seq),) if transcript else (),
        )
