"""How well the words of a question match texts: BM25, as of the documents that are alive.

After Robertson and Zaragoza, "The Probabilistic Relevance Framework: BM25 and Beyond" (2009), section
3.4, with the idf ln(1 + (N - n + 0.5) / (n + 0.5)), and k1 = 0.9, b = 0.4 as Anserini has them for
passages, which utterances are.  N, n and the mean length count the documents alive, so a score as of a
revision does not depend on what came later.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np

from memdb.index.terms import asked_terms
from memdb.index.words import Words
from memdb.types.arrays import Array

_K1: Final = 0.9
_B: Final = 0.4


@dataclass(frozen=True, slots=True)
class WordScores:
    """What the words of one question are worth in each document."""

    scores: Array
    """(documents,) float64; 0 where no word is."""
    ceiling: float
    """What no score can reach: all words of the question, each as often as can be.  Words that no
    document has count as the rarest."""


def bm25(index: Words, question: str, alive: Array) -> WordScores:
    """Scores of the documents that are ``alive``, (documents,) bool, the first ones of ``index``."""
    documents = len(alive)
    scores = np.zeros(documents, np.float64)
    total = int(np.count_nonzero(alive))
    if total == 0:
        return WordScores(scores, 0.0)
    _, lengths = index.known(documents)
    mean = float(lengths[alive].mean()) or 1.0
    ceiling = 0.0
    for term in asked_terms(question):
        posted, counts = index.posted(term, documents)
        living = alive[posted]
        found, occurrences = posted[living], counts[living].astype(np.float64)
        idf = math.log(1.0 + (total - len(found) + 0.5) / (len(found) + 0.5))
        ceiling += idf * (_K1 + 1.0)
        if len(found) == 0:
            continue
        saturation = _K1 * (1.0 - _B + _B * lengths[found] / mean)
        scores[found] += idf * occurrences * (_K1 + 1.0) / (occurrences + saturation)
    return WordScores(scores, ceiling)
