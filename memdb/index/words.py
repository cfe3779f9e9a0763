"""Which terms are in which documents, counted when they are first asked for.

Splitting texts costs more than all the rest of indexing them, and most commits, and most opened
users, are never asked for words.  So texts wait as they came, and whoever asks first counts all that
wait; postings only grow, and a reader looks at no document beyond those of its view.

Postings are plain numbers one after the other: a frequent word is in most documents, and to make an
array of as many Python objects would stop every other thread for as long as that takes.
"""

from __future__ import annotations

import threading
from array import array
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Final

import numpy as np

from memdb import deadline
from memdb.index.columns import Columns
from memdb.index.terms import terms
from memdb.index.word_counts import counted
from memdb.types.arrays import Array

_COUNTED_AT_ONCE: Final = 4096
"""Texts; what was counted of them is kept together."""

Postings = dict[str, "array[int]"]
"""term -> document, occurrences, document, occurrences, ...; documents ascending."""


class Words:
    """The terms (`memdb.index.terms`) of a growing list of documents; one writer adds, any readers ask."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._texts: list[str] = []
        """One for each document; empty once it is counted."""
        self._postings: defaultdict[str, array[int]] = defaultdict(_numbers)
        self._lengths = Columns(length=np.uint32)

    def add(self, texts: Iterable[str]) -> None:
        """Documents that come next."""
        self._texts.extend(texts)

    def known(self, documents: int) -> tuple[Postings, Array]:
        """Postings, and (documents,) u32 how long each is, of at least the first
        ``documents`` documents.

        Raises `DeadlineExceeded`; what was counted by then is kept.
        """
        while True:
            # Let go in between: others ask as well, and each finds what was counted by then.
            with self._lock:
                if self._lengths.rows >= documents:
                    return self._postings, self._lengths.views()["length"][:documents]
                self._count_some(min(documents - self._lengths.rows, _COUNTED_AT_ONCE))
            deadline.check()

    def posted(self, word: str, documents: int) -> tuple[Array, Array]:
        """The documents, of the first ``documents``, that have a term, ascending, and how often; of
        what `known` has counted.
        """
        with self._lock:  # an array cannot grow while somebody looks at it
            numbers = self._postings.get(word)
            pairs = _pairs(numbers) if numbers else np.empty((0, 2), np.int64)
        count = int(np.searchsorted(pairs[:, 0], documents))
        return pairs[:count, 0], pairs[:count, 1]

    def forget(self, texts: Mapping[int, str]) -> None:
        """Lose the words of some documents (document -> its text), which nobody may be told any more; how long
        they were stays.  In the time that their own words take, not those of all.
        """
        with self._lock:
            for document, text in texts.items():
                # Both, whether it was counted or not: whoever counted it may have been interrupted.
                self._texts[document] = ""
                for word in set(terms(text)):
                    self._strike(word, document)

    def _strike(self, word: str, document: int) -> None:
        numbers = self._postings.get(word)
        if numbers is None:
            return
        place = int(np.searchsorted(_pairs(numbers)[:, 0], document))
        if 2 * place < len(numbers) and numbers[2 * place] == document:
            del numbers[2 * place : 2 * place + 2]
        if not numbers:
            del self._postings[word]

    def without(self, there: Array, places: Array) -> Words:
        """The words of the documents that are ``there``, (n,) bool, numbered anew by ``places``."""
        kept = Words()
        with self._lock:  # an array cannot grow while somebody looks at it
            # Whether anybody waits for it or not: who makes it is in the middle of a commit.
            while self._lengths.rows < len(there):
                self._count_some(min(len(there) - self._lengths.rows, _COUNTED_AT_ONCE))
            kept._lengths.append(length=self._lengths.views()["length"][: len(there)][there])
            kept._texts = [""] * kept._lengths.rows
            # All terms at once: there are about as many as documents, and most are in one or two.
            postings = self._postings
            words = list(postings)
            ends = np.cumsum([len(numbers) // 2 for numbers in postings.values()], dtype=np.int64)
            joined = b"".join(postings.values())
        pairs = np.frombuffer(joined, np.int64).reshape(-1, 2)
        stays = there[pairs[:, 0]]
        counts = np.concatenate([[0], np.cumsum(stays)])[ends]
        pairs = pairs[stays]
        pairs[:, 0] = places[pairs[:, 0]]
        left = pairs.tobytes()
        begin = 0
        for word, end in zip(words, (counts * 2 * pairs.itemsize).tolist(), strict=True):
            if end > begin:
                kept._postings[word] = array("q", left[begin:end])
            begin = end
        return kept

    def _count_some(self, count: int) -> None:
        """Count the next texts that wait.

        Whoever asks may be interrupted (Ctrl-C): they are then counted again, and what was noted of them is not
        noted twice.
        """
        first = self._lengths.rows
        texts = self._texts[first : first + count]
        assert len(texts) == count, "texts are added before anybody can ask for them"
        counts, lengths = counted(texts, first)
        for term, pairs in counts.items():
            numbers = self._postings[term]
            if numbers and numbers[-2] >= first:
                pairs = _later(pairs, numbers[-2])
            numbers.frombytes(pairs)
        self._lengths.append(length=lengths)
        # By number: what were popped in a step of its own would, interrupted before it, be taken for the next texts.
        self._texts[first : first + count] = [""] * count


def _later(pairs: bytes, document: int) -> bytes:
    """Those of later documents: a count that was interrupted had noted all of a term, or nothing."""
    numbers = np.frombuffer(pairs, np.int64).reshape(-1, 2)
    return numbers[numbers[:, 0] > document].tobytes()


def _numbers() -> array[int]:
    return array("q")


def _pairs(numbers: array[int]) -> Array:
    """(n, 2) int64, a copy."""
    return np.array(numbers, np.int64).reshape(-1, 2)
