"""Late interaction: how well a question's tokens match the rows of a clip's short-term memory, and
where.

MaxSim after Khattab and Zaharia, "ColBERT" (2020), section 3.2: the mean over question tokens of
the best cosine among the clip's rows.
"""

from __future__ import annotations

from memdb.index.directions import unit_rows
from memdb.types.arrays import Array


def max_sim(question_tokens: Array, short_memory: Array) -> tuple[float, Array]:
    """(score, (tokens,) row of the best match of each question token).

    question_tokens: (n, dim); short_memory: (rows, dim).
    """
    similarity = unit_rows(question_tokens) @ unit_rows(short_memory).T
    best = similarity.argmax(axis=1)
    return float(similarity.max(axis=1).mean()), best
