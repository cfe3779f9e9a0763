"""Counting the terms of many texts at once: what is alike in them is split and stemmed once.

The names of clips are the same over and over, and of what is said most words were said before.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Sequence
from itertools import chain
from typing import Final

import numpy as np

from memdb.index.terms import STOP_TERMS, stems, terms, words
from memdb.types.arrays import Array

_FEW: Final = 8
"""Texts that are counted one by one sooner than by columns, as those of one commit are."""

Counts = dict[str, bytes]
"""term -> document, occurrences, document, occurrences, ... as int64; documents ascending."""


def counted(texts: Sequence[str], first: int) -> tuple[Counts, Array]:
    """What is in some texts, the documents from ``first`` on, and (texts,) u32 how many words each has; those that
    hold sentences together do not count.
    """
    return _one_by_one(texts, first) if len(texts) <= _FEW else _by_columns(texts, first)


def _one_by_one(texts: Sequence[str], first: int) -> tuple[Counts, Array]:
    pairs: dict[str, array[int]] = {}
    lengths: list[int] = []
    for document, text in enumerate(texts, first):
        found = Counter(terms(text))
        for term, occurrences in found.items():
            pairs.setdefault(term, array("q")).extend((document, occurrences))
        lengths.append(sum(times for term, times in found.items() if term not in STOP_TERMS))
    counts = {term: numbers.tobytes() for term, numbers in pairs.items()}
    return counts, np.array(lengths, np.uint32)


def _by_columns(texts: Sequence[str], first: int) -> tuple[Counts, Array]:
    different: dict[str, int] = {}
    which = [different.setdefault(text, len(different)) for text in texts]
    split = list(map(words, different))
    every = list(chain.from_iterable(split))
    seen = list(dict.fromkeys(every))
    number: dict[str, int] = {}
    of_word = {
        word: number.setdefault(term, len(number))
        for word, term in zip(seen, stems(seen), strict=True)
    }
    codes = np.fromiter(map(of_word.__getitem__, every), np.int64, len(every))
    sizes = np.fromiter(map(len, split), np.int64, len(split))
    owners = np.repeat(np.arange(len(split)), sizes)
    weighs = np.fromiter((term not in STOP_TERMS for term in number), np.bool_, len(number))
    lengths = np.bincount(owners, weighs[codes], len(split)).astype(np.uint32)
    # By term, then by text.
    both, times = np.unique(codes * len(split) + owners, return_counts=True)
    codes, owners = np.divmod(both, len(split))
    if len(split) < len(texts):
        codes, owners, times = _repeated(codes, owners, times, np.array(which, np.int64))
        lengths = lengths[which]
    pairs = np.empty((len(owners), 2), np.int64)
    pairs[:, 0], pairs[:, 1] = first + owners, times
    ends = np.searchsorted(codes, np.arange(len(number)), "right") * pairs[:1].nbytes
    joined, counts, begin = pairs.tobytes(), Counts(), 0
    for term, end in zip(number, ends.tolist(), strict=True):
        counts[term] = joined[begin:end]
        begin = end
    return counts, lengths


def _repeated(
    codes: Array, owners: Array, times: Array, which: Array
) -> tuple[Array, Array, Array]:
    """(term, text, how often) of all texts, of which each is the one of ``owners`` that ``which`` says."""
    places = np.argsort(which, kind="stable")
    alike = np.bincount(which)
    firsts = np.cumsum(alike) - alike
    each = alike[owners]
    of_pair = np.repeat(np.arange(len(codes)), each)
    # Which of the texts that are alike.
    nth = np.arange(len(of_pair)) - np.repeat(np.cumsum(each) - each, each)
    texts = places[firsts[owners[of_pair]] + nth]
    order = np.lexsort((texts, codes[of_pair]))
    chosen = of_pair[order]
    return codes[chosen], texts[order], times[chosen]
