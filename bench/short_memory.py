"""Short-term memory of the bundled pipeline, and questions to it.

The demo's two films through the bundled encoder, the clip rule and the pooled compressor, as
`memdb-ingest` does it, at a frame a second.  The films are short, so they are read at four frames a second
and every fourth frame makes one recording: four recordings of the same films, a quarter of a second apart.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final

import numpy as np

from memdb.types.arrays import Array
from perception.clips import ClipCutter
from perception.compressors.pooled import PooledCompressor
from perception.encoders.base import FrameFeatures
from perception.encoders.conse import ConseEncoder
from perception.sources.base import VideoFrame
from perception.sources.file import FileSource
from reasoner.demo.media import build_films
from reasoner.demo.script import FILMS, HELD_OUT, QUESTIONS

RECORDINGS: Final = 4
QUICK_FRAMES: Final = 12
"""Of the one film of a quick run: its first clips."""
QUICK_QUESTIONS: Final = 4
_WORD: Final = re.compile(r"\w{4,}")


@dataclass(frozen=True, slots=True, eq=False)
class Piece:
    """One clip's short-term memory."""

    recording: int
    tokens: Array
    """(rows, dim) float32, before anything is rounded."""
    coded_from: Array
    """(rows, dim) float16 or float32: what the compressor gives to memdb."""


@dataclass(frozen=True, slots=True, eq=False)
class Memory:
    """Clips and questions of one space."""

    pieces: tuple[Piece, ...]
    rows_per_frame: int
    questions: tuple[Array, ...]
    """Each (n, dim) float32: the sentence and its words of four letters and more."""


def bundled_memory(*, quick: bool) -> Memory:
    """Half a minute of one core; the films and weights are fetched where they are not cached."""
    encoder = ConseEncoder()
    recordings = 1 if quick else RECORDINGS
    films = FILMS[:1] if quick else FILMS
    most = QUICK_FRAMES if quick else None
    pieces = [
        piece
        for path in build_films(films).values()
        for piece in _pieces(encoder, str(path), recordings, most)
    ]
    texts = [question.text for question in QUESTIONS + HELD_OUT]
    if quick:
        texts = texts[:QUICK_QUESTIONS]
    else:
        texts += [f"When was a {name} on screen?" for name in encoder.class_names[::4]]
    return Memory(tuple(pieces), encoder.tokens_per_frame, _embedded(encoder, texts))


def widened(memory: Memory, dim: int, seed: int) -> Memory:
    """The same memory in more dimensions: tokens and questions times one random matrix with
    orthonormal columns.

    Every cosine stays as it was, from frame to frame, region to region and to the questions; the
    elements of a token become near-Gaussian.
    """
    narrow = memory.questions[0].shape[1]
    noise = np.random.default_rng(seed).normal(size=(dim, narrow))
    turned = np.linalg.qr(noise)[0].T.astype(np.float32)
    return Memory(
        tuple(
            Piece(piece.recording, wide, wide.astype(np.float16))
            for piece in memory.pieces
            for wide in (piece.tokens @ turned,)
        ),
        memory.rows_per_frame,
        tuple(question @ turned for question in memory.questions),
    )


def _pieces(encoder: ConseEncoder, path: str, recordings: int, most: int | None) -> list[Piece]:
    """``most``: how many frames, from the first; None: all."""
    source = FileSource(path, rate_hz=float(recordings), with_audio=False)
    try:
        frames = (item.pixels for item in source.items() if isinstance(item, VideoFrame))
        features = [encoder.encode_frames([pixels]) for pixels in islice(frames, most)]
    finally:
        source.close()
    return [
        _piece(recording, clip)
        for recording in range(recordings)
        for clip in _cut(features[recording::recordings])
    ]


def _cut(features: Sequence[FrameFeatures]) -> list[list[FrameFeatures]]:
    cutter = ClipCutter()
    clips: list[list[FrameFeatures]] = []
    for frame in features:
        if cutter.begins_clip(frame.scene_vectors[0]):
            clips.append([])
        clips[-1].append(frame)
    return clips


def _piece(recording: int, clip: list[FrameFeatures]) -> Piece:
    vectors = np.concatenate([frame.frame_vectors for frame in clip])
    tokens = np.concatenate([frame.region_tokens for frame in clip])
    made = PooledCompressor().compress(vectors, tokens)
    return Piece(recording, tokens.reshape(-1, tokens.shape[-1]), made.short_memory)


def _embedded(encoder: ConseEncoder, texts: Sequence[str]) -> tuple[Array, ...]:
    split = [(text, *_WORD.findall(text)) for text in texts]
    known = list(dict.fromkeys(part for parts in split for part in parts))
    places = {part: place for place, part in enumerate(known)}
    features = encoder.encode_texts(known)
    return tuple(features[[places[part] for part in parts]] for parts in split)
