"""Late interaction: how well a question's tokens match the frames of a clip's short-term memory.

MaxSim after Khattab and Zaharia, "ColBERT" (2020), section 3.2, with a weight for each question token: the
weighted mean of the best cosine of each token among the clip's rows.  Rows of one frame stand for that
frame: a token matches a frame as well as the best of its rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from memdb.types.arrays import Array

_PAIR_WORK: Final = 64
_ROW_WORK: Final = 32
"""Reading and decoding an element takes about as long as so many multiplications."""
_BLOCK_ELEMENTS: Final = 4 << 20
"""Cosines worked on at once, 16 MiB: all of them are 16 GiB for the most tokens that a question and a
clip may have."""


@dataclass(frozen=True, slots=True, eq=False)
class Matched:
    """What a clip has of each question token."""

    best: Array
    """(n,) float32: the best cosine of each token in the clip."""
    mean: Array
    """(n,) float32: what a frame of the clip has of each token, in the mean."""


def match_work(tokens: int, shape: tuple[int, int]) -> int:
    """What it takes to read a (rows, dim) tensor and to match so many question tokens, in
    multiplications; what is done beside them with each cosine counts for `_PAIR_WORK`.
    """
    rows, dim = shape
    return rows * (dim * (tokens + _ROW_WORK) + tokens * _PAIR_WORK)


def match(questions: Array, rows: Array, starts: Array) -> Matched:
    """How the frames of a clip match (n, dim) question tokens of unit length.

    rows: (rows, dim) float32 of any length, from `memdb.codecs.scaled`.  starts: (frames,) the first row
    of each frame.
    """
    best = np.empty(len(questions), np.float32)
    mean = np.empty(len(questions), np.float32)
    lengths = _lengths(rows)
    for block in _blocks(len(questions), len(rows)):
        frames = _frame_cosines(questions[block], rows, lengths, starts)
        best[block] = frames.max(axis=0)
        mean[block] = frames.mean(axis=0)
    return Matched(best, mean)


def frame_scores(questions: Array, weights: Array, rows: Array, starts: Array) -> Array:
    """(frames,) float32: the weighted mean of what each frame has of the tokens.

    weights: (n,), of sum 1; the rest as for `match`.
    """
    scores = np.zeros(len(starts), np.float32)
    lengths = _lengths(rows)
    for block in _blocks(len(questions), len(rows)):
        scores += _frame_cosines(questions[block], rows, lengths, starts) @ weights[block]
    return scores


def _blocks(tokens: int, rows: int) -> list[slice]:
    step = max(1, _BLOCK_ELEMENTS // rows)
    return [slice(begin, begin + step) for begin in range(0, tokens, step)]


def _lengths(rows: Array) -> Array:
    """(rows, 1) float32; 1 for a row of zeros, which matches nothing."""
    lengths = np.sqrt(np.einsum("ij,ij->i", rows, rows))
    lengths[lengths == 0] = 1
    return np.asarray(lengths[:, None])


def _frame_cosines(questions: Array, rows: Array, lengths: Array, starts: Array) -> Array:
    """(frames, n)."""
    cosines = rows @ questions.T
    cosines /= lengths
    if len(starts) == len(rows):
        return cosines
    return np.asarray(np.maximum.reduceat(cosines, starts, axis=0))
