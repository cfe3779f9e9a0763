"""Late interaction: how well a question's tokens match the frames of a clip's short-term memory.

MaxSim after Khattab and Zaharia, "ColBERT" (2020), section 3.2, with a weight for each question token: the
weighted mean of the best cosine of each token among the clip's rows.  Rows of one frame stand for that
frame: a token matches a frame as well as the best of its rows.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from memdb.types.arrays import Array

_PAIR_WORK: Final = 64
_ROW_WORK: Final = 32
"""Reading and decoding an element takes about as long as so many multiplications."""
CLIP_WORK: Final = 1 << 19
"""Finding a clip and its record, and what else is done once for each, likewise."""
_BLOCK_ELEMENTS: Final = 4 << 20
"""Cosines worked on at once, 16 MiB: all of them are 16 GiB for the most tokens that a question and a
clip may have."""


def match_work(tokens: int, shape: tuple[int, int]) -> int:
    """What it takes to read a (rows, dim) tensor and to match so many question tokens, in
    multiplications; what is done beside them with each cosine counts for `_PAIR_WORK`.
    """
    rows, dim = shape
    return CLIP_WORK + rows * (dim * (tokens + _ROW_WORK) + tokens * _PAIR_WORK)


def best_cosines(questions: Array, rows: Array) -> Array:
    """(n,) float32: the best cosine of each (n, dim) question token of unit length among the rows.

    rows: (rows, dim) float32 of any length, from `memdb.codecs.scaled`.
    """
    best = np.empty(len(questions), np.float32)
    lengths = _lengths(rows)
    for block in _blocks(len(questions), len(rows)):
        best[block] = _cosines(questions[block], rows, lengths).max(axis=0)
    return best


def frame_means(questions: Array, rows: Array, starts: Array) -> Array:
    """(n,) float32: what a frame has of each token, in the mean of a clip's frames.

    starts: (frames,) the first row of each frame; the rest as for `best_cosines`.
    """
    means = np.empty(len(questions), np.float32)
    lengths = _lengths(rows)
    for block in _blocks(len(questions), len(rows)):
        means[block] = _frame_cosines(questions[block], rows, lengths, starts).mean(axis=0)
    return means


def frame_scores(questions: Array, weights: Array, rows: Array, starts: Array) -> Array:
    """(frames,) float32: the weighted mean of what each frame has of the tokens.

    weights: (n,), of sum 1; the rest as for `frame_means`.
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


def _cosines(questions: Array, rows: Array, lengths: Array) -> Array:
    """(rows, n)."""
    cosines = rows @ questions.T
    cosines /= lengths
    return np.asarray(cosines)


def _frame_cosines(questions: Array, rows: Array, lengths: Array, starts: Array) -> Array:
    """(frames, n)."""
    cosines = _cosines(questions, rows, lengths)
    if len(starts) == len(rows):
        return cosines
    return np.asarray(np.maximum.reduceat(cosines, starts, axis=0))
