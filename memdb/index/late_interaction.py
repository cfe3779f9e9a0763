"""Late interaction: how well a question's tokens match the rows of a clip's short-term memory, and
where.

MaxSim after Khattab and Zaharia, "ColBERT" (2020), section 3.2: the mean over question tokens of
the best cosine among the clip's rows.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from memdb.index.directions import unit_rows
from memdb.types.arrays import Array

_PAIR_WORK: Final = 64
_BLOCK_ELEMENTS: Final = 4 << 20
"""Cosines worked on at once, 16 MiB: all of them are 16 GiB for the most tokens that a question and a
clip may have."""


def max_sim_work(tokens: int, shape: tuple[int, ...]) -> int:
    """What `max_sim` of so many question tokens with a (rows, dim) tensor takes, in multiplications; what
    is done beside them with each cosine counts for `_PAIR_WORK`.
    """
    rows, dim = shape
    return tokens * rows * (dim + _PAIR_WORK)


def max_sim(question_tokens: Array, short_memory: Array) -> tuple[float, Array]:
    """(score, (tokens,) row of the best match of each question token).

    question_tokens: (n, dim); short_memory: (rows, dim).
    """
    questions, rows = unit_rows(question_tokens), unit_rows(short_memory).T
    cosines = np.empty(len(questions), np.float32)
    best = np.empty(len(questions), np.int64)
    step = max(1, _BLOCK_ELEMENTS // rows.shape[1])
    for begin in range(0, len(questions), step):
        block = slice(begin, begin + step)
        similarity = questions[block] @ rows
        best[block] = similarity.argmax(axis=1)
        cosines[block] = similarity.max(axis=1)
    return float(cosines.mean()), best
